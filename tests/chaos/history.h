/* The history of a chaos run: one JSON object a line, appended whole, by this program and beside it
 * by tests/chaos/run. docs/reliability.md says what the members are. Any thread. */
#ifndef KLUIS_TESTS_CHAOS_HISTORY_H
#define KLUIS_TESTS_CHAOS_HISTORY_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "crypto/hash.h"

struct history;

KLUIS_MUST_CHECK int history_open(const char *path, struct history **ret_history, struct err *e);
void history_close(struct history *history); /* NULL is fine. */
/* Appends the line, with a newline behind, and empties it. A failed write ends the program: a hole
 * would be taken for lost operations. */
void history_append(struct history *history, struct buf *line);

/* Nanoseconds of CLOCK_MONOTONIC, which all processes of the machine share. */
uint64_t history_now_ns(void);

enum { HISTORY_HASH_BYTES = 8 };
/* Appends the first HISTORY_HASH_BYTES as a JSON string. */
void history_hash(struct buf *line, const uint8_t hash[HASH_BYTES]);

#endif
