/* Known-answer files of the form of tests/vectors/kluis-kat.json: cases {id, op, in, out} and
 * negative rows that change one input of a case. In `in` and `out` every string is hex, except
 * under a key that ends in
 * "_text". Run by a table from op to runner. */
#ifndef KLUIS_TESTS_LIB_KAT_H
#define KLUIS_TESTS_LIB_KAT_H

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/random.h"

enum { KAT_BUFS_MAX = 4096 };

/* One run: what an op reads, and what it gives. */
struct kat_run {
	const json_t *in;
	json_t *out;
	struct buf bufs[KAT_BUFS_MAX]; /* What kat_hex() decoded; freed after the run. */
	size_t buf_count;
};

/* 0, or a negative KLUIS_E* when the input must not be accepted. */
typedef int kat_fn(struct kat_run *run);
struct kat_op {
	const char *name;
	kat_fn *fn; /* NULL: known, but not part of this version. */
};

/* Runs every case and every negative row of the file; prints each failure and the counts. Returns
 * the number of failures: results that differ, inputs accepted that must not be, ops that the table
 * does not know, ops of the table that the file does not have. */
unsigned kat_run_file(const char *path, const struct kat_op *ops, size_t count);

/* Input, by name. A value of another type than asked for ends the test program: the file is broken.
 */
struct bytes kat_hex(struct kat_run *run, const json_t *value);
struct bytes kat_bytes(struct kat_run *run, const char *name);
uint64_t kat_number(struct kat_run *run, const char *name);
const char *kat_text(struct kat_run *run, const char *name);
/* A list of hex strings; ret_count elements, valid during the run. */
const struct bytes *kat_list(struct kat_run *run, const char *name, size_t *ret_count);
const json_t *kat_value(struct kat_run *run, const char *name);

/* Output. */
json_t *kat_hex_json(struct bytes bytes);
void kat_put(struct kat_run *run, const char *name, json_t *value);
void kat_put_bytes(struct kat_run *run, const char *name, struct bytes bytes);
void kat_put_number(struct kat_run *run, const char *name, uint64_t value);

/* A random source that gives these bytes, once. */
struct kat_random {
	struct random random;
	struct bytes left;
};
void kat_random_init(struct kat_random *source, struct bytes bytes);

/* <KLUIS_VECTORS or `fallback`>/name, on the heap. */
char *kat_path(const char *fallback, const char *name);

#endif
