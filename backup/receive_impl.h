/* For the files of the receiver alone. */
#ifndef KLUIS_BACKUP_RECEIVE_IMPL_H
#define KLUIS_BACKUP_RECEIVE_IMPL_H

#include "backup/drop.h"
#include "backup/publisher.h"
#include "backup/receive.h"

enum {
	RECEIVE_IN_VAIN_MAX = 16, /* Objects read in vain in one scan; the rest waits. */
	RECEIVE_JOURNALS_MAX = JOURNAL_SEEN + 1 + JOURNAL_CHAIN_MAX,
};

struct receive {
	const struct receive_config *config;
	struct drop drop;
	uint64_t sender, wall_ms;
	uint64_t newest_cycle; /* That the log knows. */
	struct receive_report *report;
	/* By drop entry: a manifest that was checked and waits, once, and what it names. */
	bool *wanted;
	struct pace *pace; /* Of what is being copied; may be NULL. */
	unsigned in_vain;  /* Objects read that were not what their names say. */
	/* What the sender took and this site lacks, by the log: it may come beside the quota. */
	struct drop_quota awaited;
	bool expected; /* That, or the sender is at a snapshot. */
	/* Hashes of the journal increments that the log stands for: what it named, then what those
	 * are built on. */
	uint8_t journals[RECEIVE_JOURNALS_MAX][HASH_BYTES];
	size_t n_journals;
};

/* Copies one upload and believes only what it copied: the sender may still hold the file open.
 * KLUIS_EVERIFY: not what its name says. */
KLUIS_MUST_CHECK int receive_take(struct receive *rx, const struct drop_entry *entry,
	struct publisher *publisher, struct err *e);
/* Whether this site's repository has it, with this size. */
bool receive_held(struct receive *rx, const struct manifest_object *object);

/* While the log says that something comes from this sender, its objects are copied as they come and
 * not all at once behind the last one, and what was copied need not reach the drop's disk. Only the
 * names are believed, which are the hashes of what is copied: it counts nowhere before a manifest
 * asks for it, and goes after a day. */
KLUIS_MUST_CHECK int receive_early(struct receive *rx, struct err *e);

/* A sender cannot remove an upload that was cut, nor write to it again: each try is one more name,
 * of which it has SHIP_NAMES_MAX, and takes its room. So one that has not grown for BACKUP_CUT_MS
 * goes when another of the same object or manifest was written later, unless a manifest that waits
 * asks for it. The newest stays, which may be under way, or whole and waiting for its manifest. */
KLUIS_MUST_CHECK int receive_cut(struct receive *rx, struct err *e);

#endif
