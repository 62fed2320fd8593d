/* One entry of the replicated log: immutable, counted, shared without copying by the driver, the
 * log writer, the links and the state machine. */
#ifndef KLUIS_RAFT_ENTRY_H
#define KLUIS_RAFT_ENTRY_H

#include <stdatomic.h>

#include "base/buf.h"

/* Values are stored in the log and travel in messages (docs/format-raft-messages.md). */
enum entry_type {
	ENTRY_COMMAND = 1,	 /* data is for the state machine. */
	ENTRY_BARRIER = 2,	 /* No data: a leader's first entry of its term. */
	ENTRY_CONFIGURATION = 3, /* data is what configuration_encode() wrote. */
};

/* index, term, type and data are written by whoever made the entry before anybody else sees it;
 * from then on only refs changes. */
struct entry {
	atomic_uint refs;
	uint32_t len; /* At most ENTRY_BYTES_MAX. */
	uint64_t index, term;
	uint8_t type; /* enum entry_type */
	uint8_t data[];
};

/* One reference, the caller's. len is at most ENTRY_BYTES_MAX (checked before it gets here when it
 * came from a peer or a disk); data is uninitialised. Any thread. */
struct entry *entry_new(uint64_t index, uint64_t term, enum entry_type type, size_t len);
/* As entry_new() with a copy of data. */
struct entry *entry_copy(uint64_t index, uint64_t term, enum entry_type type, struct bytes data);
/* One reference more; returns entry. Any thread that holds one. */
struct entry *entry_ref(struct entry *entry);
/* Gives one reference back; the last one frees. NULL is allowed. Any thread. */
void entry_unref(struct entry *entry);
/* The data, valid as long as a reference is held. */
struct bytes entry_bytes(const struct entry *entry);
bool entry_type_valid(unsigned type);

#endif
