/* A site's deletion journal: the vaults and persons that were deleted, the devices that were
 * revoked and the members who were removed, so that no restore brings them back
 * (docs/format-backup.md section 8). It lies in the backup repository and not in the data
 * directory, whose loss it is there for. Blocking; one writer at a time. */
#ifndef KLUIS_BACKUP_DELETIONS_H
#define KLUIS_BACKUP_DELETIONS_H

#include "backup/keys.h"
#include "crypto/hash.h"

enum deletion_kind {
	DELETION_VAULT = 1,
	DELETION_PERSON = 2,
	DELETION_DEVICE = 3,
	DELETION_MEMBER = 4,
	DELETION_KINDS
};
enum { DELETION_BYTES = 88, DELETION_MARK_BYTES = 176 };

struct deletion {
	enum deletion_kind kind;
	uint64_t index, time_ms; /* Of the log entry that deleted it; cluster time. */
	uint8_t lineage[ID_BYTES], id[ID_BYTES];
};

/* The writer's signed word for how far its journal goes: each deletion of that lineage up to that
 * index is among the records. */
struct deletion_mark {
	uint8_t cluster_id[ID_BYTES], lineage[ID_BYTES];
	uint64_t node, count, index, cluster_time_ms, wall_ms;
	uint8_t chain[HASH_BYTES]; /* Of record `count`; zero when that is 0. */
};

/* <repository>/deletions; the caller frees it. */
char *deletion_journal_dir(const char *repository);

/* What opening for writing needs; all but dir outlive the journal. */
struct deletion_journal_config {
	const char *dir;
	const uint8_t *cluster_id;
	uint64_t node;
	const struct key *signer; /* KEY_ED25519 */
	uint64_t wall_ms;
};
struct deletion_journal;
/* Makes what is missing, cuts off what a crash left behind the mark. A journal that is damaged, or
 * another node's, is set aside under another name (*ret_aside) and a new one begun: the store has
 * every deletion of its lineage. */
KLUIS_MUST_CHECK int deletion_journal_open(const struct deletion_journal_config *config,
	struct deletion_journal **ret_journal, bool *ret_aside, struct err *e);
void deletion_journal_free(struct deletion_journal *journal); /* NULL is fine. */
/* The mark as it was written last; count 0 and index 0 in a new journal. */
const struct deletion_mark *deletion_journal_mark(const struct deletion_journal *journal);
/* The last record of a kind if that is of this lineage, else NULL. */
const struct deletion *deletion_journal_last(const struct deletion_journal *journal,
	enum deletion_kind kind, const uint8_t lineage[ID_BYTES]);

struct deletion_batch {
	const struct deletion *items;
	size_t n;
	/* What the mark then says; index: up to which all deletions of this lineage are there. */
	const uint8_t *lineage;
	uint64_t index, cluster_time_ms, wall_ms;
};
/* Records, synced, then the mark, synced. On failure the journal is as before. */
KLUIS_MUST_CHECK int deletion_journal_append(
	struct deletion_journal *journal, const struct deletion_batch *batch, struct err *e);

/* The mark alone: the lineage that the site lived in last. Errors as below. */
KLUIS_MUST_CHECK int deletion_journal_read_mark(const char *dir, const struct backup_trust *trust,
	const uint8_t cluster_id[ID_BYTES], struct deletion_mark *ret_mark, struct err *e);
/* Reads the journal in dir, of any node in trust, up to its mark: each() for every record, oldest
 * first; what it returns other than 0 ends it. KLUIS_ENOTFOUND: there is none; KLUIS_EVERIFY,
 * KLUIS_ECORRUPT, KLUIS_EVERSION: signed by nobody in trust, cut, changed, of another cluster;
 * records may have been given to each() by then. */
KLUIS_MUST_CHECK int deletion_journal_read(const char *dir, const struct backup_trust *trust,
	const uint8_t cluster_id[ID_BYTES],
	int (*each)(void *data, const struct deletion *deletion), void *data,
	struct deletion_mark *ret_mark, struct err *e);

/* So many records lie there, by the file's size; 0: none that can be read. */
uint64_t deletion_journal_count(const char *dir);

/* One record behind another: chain is that of the record before (zero at first) and moves.
 * KLUIS_ECORRUPT, KLUIS_EVERSION; KLUIS_EVERIFY when the record does not follow. Pure. */
void deletion_encode(
	const struct deletion *deletion, uint8_t chain[HASH_BYTES], uint8_t to[DELETION_BYTES]);
KLUIS_MUST_CHECK int deletion_decode(const uint8_t from[DELETION_BYTES], uint8_t chain[HASH_BYTES],
	struct deletion *ret_deletion, struct err *e);
/* Pure. pub_of the node is looked up in trust. KLUIS_ECORRUPT, KLUIS_EVERSION, KLUIS_EVERIFY. */
KLUIS_MUST_CHECK int deletion_mark_encode(const struct deletion_mark *mark,
	const struct key *signer, uint8_t to[DELETION_MARK_BYTES], struct err *e);
KLUIS_MUST_CHECK int deletion_mark_open(struct bytes bytes, const struct backup_trust *trust,
	struct deletion_mark *ret_mark, struct err *e);

#endif
