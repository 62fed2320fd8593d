/* Sorting more fixed-size records than memory should hold: runs sorted in memory, spilled to one
 * unlinked file, merged (Knuth, TAOCP vol. 3, 5.4). Blocking, one thread. */
#ifndef KLUIS_BACKUP_SORTER_H
#define KLUIS_BACKUP_SORTER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SORTER_RECORD_BYTES_MAX = 64, SORTER_RUNS_MAX = 1024 };

struct sorter;

/* Records of record_bytes, ordered as memcmp() does. memory_bytes: of records held at once.
 * scratch: an existing directory, copied; written to only when that much is not enough. */
struct sorter *sorter_new(size_t record_bytes, size_t memory_bytes, const char *scratch);
void sorter_free(struct sorter *sorter); /* NULL is fine. */
/* So many records will come, about: what an error says of the room that they need. */
void sorter_expect(struct sorter *sorter, uint64_t records);
/* KLUIS_ETOOLARGE beyond SORTER_RUNS_MAX times memory_bytes; KLUIS_ENOSPACE, KLUIS_EIO: e names
 * scratch and the room that is needed there. */
KLUIS_MUST_CHECK int sorter_add(struct sorter *sorter, const void *record, struct err *e);
/* No more sorter_add() from here. */
KLUIS_MUST_CHECK int sorter_finish(struct sorter *sorter, struct err *e);
/* The next record in *ret_record, valid until the next call; NULL behind the last. */
KLUIS_MUST_CHECK int sorter_next(struct sorter *sorter, const uint8_t **ret_record, struct err *e);

#endif
