/* A small record that is replaced durably and often: two slots, each written and synced before the
 * other is touched (docs/format-log.md). */
#ifndef KLUIS_RAFT_SLOT_FILE_H
#define KLUIS_RAFT_SLOT_FILE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* What to do when log, vote or pins are damaged: this node has promised what it does not know any
 * more. For the end of an error's text. */
#define REPLACE_NODE "replace this node by one of a new id ('kluisctl member replace')"

enum {
	SLOT_PAYLOAD_BYTES_MAX = 2048,
	SLOT_STRIDE_BYTES = 4096, /* A torn block takes one slot, never both. */
	SLOT_FILE_BYTES = 2 * SLOT_STRIDE_BYTES,
};

struct slot_file {
	int fd; /* -1: not open. */
	char *path;
	char magic[5];
	size_t payload_bytes;
	uint64_t sequence;
};

/* Creates the file with this payload as its first; KLUIS_EEXIST when there is one. Blocking. */
KLUIS_MUST_CHECK int slot_file_create(
	const char *path, const char *magic, struct bytes payload, struct err *e);
/* Opens and reads the newest payload (exactly payload_bytes). Where a crash left the slots unequal
 * they are made equal first. KLUIS_ENOTFOUND: no such file; KLUIS_ECORRUPT: no slot is good.
 * Blocking. */
KLUIS_MUST_CHECK int slot_file_open(struct slot_file *file, const char *path, const char *magic,
	uint8_t *payload, size_t payload_bytes, struct err *e);
/* Replaces the payload in both slots, one after the other, each synced: on return no single damaged
 * slot can bring the old one back. Any failure ends the process (fail_stop.h). Blocking. */
void slot_file_write(struct slot_file *file, const uint8_t *payload);
void slot_file_close(struct slot_file *file); /* A zeroed or closed one is fine. */

/* One slot's bytes, for tests and tools: KLUIS_ECORRUPT or KLUIS_EVERSION when it is not good. */
KLUIS_MUST_CHECK int slot_decode(struct bytes slot, const char *magic, size_t payload_bytes,
	uint64_t *ret_sequence, uint8_t *payload);

#endif
