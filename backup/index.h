/* The index of a snapshot: which rows it holds, by modification index, and where their values lie
 * (docs/format-backup.md section 3). Entry codec and rules (pure), and a reader of one object. */
#ifndef KLUIS_BACKUP_INDEX_H
#define KLUIS_BACKUP_INDEX_H

#include <stdbool.h>

#include "backup/manifest.h"
#include "backup/object.h"
#include "base/wire.h"

enum {
	INDEX_HEADER_BYTES = 4,
	INDEX_ENTRY_FIXED_BYTES = 59, /* All but the key. */
	INDEX_ENTRY_BYTES_MAX = INDEX_ENTRY_FIXED_BYTES + BACKUP_KEY_BYTES_MAX,
};

struct index_entry {
	bool tombstone;
	uint64_t index; /* Modification index: raft index, then ordinal. */
	uint32_t ordinal;
	struct bytes key;
	uint32_t pack, offset, length;	/* 0 for a tombstone. */
	uint8_t value_hash[HASH_BYTES]; /* Zero for a tombstone. */
};
/* By modification index: < 0, 0, > 0. */
int index_entry_compare(const struct index_entry *a, const struct index_entry *b);

void index_header_put(struct buf *b);
/* false: not an index plaintext of version 1. */
KLUIS_MUST_CHECK bool index_header_take(struct wire *w);
void index_entry_put(struct buf *b, const struct index_entry *entry);
/* Takes one entry off w; entry->key points into w's bytes. KLUIS_EAGAIN: cut short, more bytes
 * could complete it (w is untouched); KLUIS_ECORRUPT. */
KLUIS_MUST_CHECK int index_entry_take(struct wire *w, struct index_entry *ret_entry);

/* What the entries of one snapshot are held to, from its first index object to its last. */
struct index_rules {
	const struct backup_manifest *manifest;
	bool any;
	uint64_t index; /* The entry before. */
	uint32_t ordinal;
	uint32_t pack;
	uint64_t pack_bytes; /* Of the current pack, named by entries so far. */
	uint64_t live, tombstones, value_bytes;
};
void index_rules_init(struct index_rules *rules, const struct backup_manifest *manifest);
/* KLUIS_ECORRUPT: the entry may not follow the ones before, or does not belong into this snapshot.
 */
KLUIS_MUST_CHECK int index_rules_add(
	struct index_rules *rules, const struct index_entry *entry, struct err *e);
/* KLUIS_ECORRUPT: counts differ from the manifest's. */
KLUIS_MUST_CHECK int index_rules_end(const struct index_rules *rules, struct err *e);
/* Whether a live row belongs into the snapshot. */
bool index_wanted(const struct backup_manifest *manifest, uint64_t index, struct bytes key);

/* First 4 bytes of SHA-256(key), mod BACKUP_SLICES. */
unsigned backup_slice(struct bytes key);

/* One index object's entries in turn; memory is one segment and one entry. Blocking. */
struct index_reader;
/* Takes `object`, whatever happens. */
KLUIS_MUST_CHECK int index_reader_new(
	struct object_reader *object, struct index_reader **ret_reader, struct err *e);
/* *ret_more false: the end, *ret_entry untouched. Else the next entry, its key valid until the next
 * call. KLUIS_ECORRUPT or KLUIS_EVERIFY. Rules are the caller's. */
KLUIS_MUST_CHECK int index_reader_next(
	struct index_reader *reader, struct index_entry *ret_entry, bool *ret_more, struct err *e);
void index_reader_free(struct index_reader *reader); /* NULL is fine. */

#endif
