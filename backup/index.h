/* The index of a snapshot: which rows it holds, by modification index, and where their values lie
 * (docs/format-backup.md section 3). Entry codec, and a reader over the index objects in turn. */
#ifndef KLUIS_BACKUP_INDEX_H
#define KLUIS_BACKUP_INDEX_H

#include <stdbool.h>

#include "backup/seal.h"
#include "base/wire.h"

enum { INDEX_HEADER_BYTES = 4, INDEX_ENTRY_BYTES_MAX = 59 + BACKUP_KEY_BYTES_MAX };

/* A row's modification index. */
struct row_index {
	uint64_t index;
	uint32_t ordinal;
};
int row_index_compare(struct row_index a, struct row_index b); /* <0, 0, >0 */

struct index_entry {
	bool tombstone;
	struct row_index at;
	struct bytes key;
	uint32_t pack, offset, length; /* 0 for a tombstone. */
	uint8_t value_hash[32];	       /* Zero for a tombstone. */
};

void index_header_put(struct buf *b);
void index_entry_put(struct buf *b, const struct index_entry *entry);
/* Takes one entry off w; entry->key points into w's bytes. false: malformed, or cut (then
 * wire_ok(w) is false). */
KLUIS_MUST_CHECK bool index_entry_take(struct wire *w, struct index_entry *ret_entry);

/* What every reader holds a run of entries to: ascending, packs without holes. Pure. */
struct index_rules {
	uint64_t from, to; /* S', S: no entry above S; tombstones and unsliced rows above S'. */
	unsigned slice;	   /* SLICE_NONE: none. */
	bool full;
	uint32_t n_packs;
	bool any;
	struct row_index last;
	uint32_t pack;
	uint64_t pack_at; /* Bytes of the current pack that were named. */
	uint64_t live, tombstones, value_bytes;
};
/* KLUIS_ECORRUPT: the entry may not follow. */
KLUIS_MUST_CHECK int index_rules_check(
	struct index_rules *rules, const struct index_entry *entry, struct err *e);

/* First 4 bytes of SHA-256(key), mod BACKUP_SLICES. */
unsigned backup_slice(struct bytes key);

/* One index object's entries in turn. */
struct index_reader;
/* Takes `object`, freed with the reader. */
KLUIS_MUST_CHECK int index_reader_new(
	struct seal_reader *object, struct index_reader **ret_reader, struct err *e);
/* 1: *ret_entry is set (its key lives until the next call); 0: the end; KLUIS_ECORRUPT or
 * KLUIS_EVERIFY. Order and places are the caller's to hold against index_rules. */
KLUIS_MUST_CHECK int index_reader_next(
	struct index_reader *reader, struct index_entry *ret_entry, struct err *e);
void index_reader_free(struct index_reader *reader);

#endif
