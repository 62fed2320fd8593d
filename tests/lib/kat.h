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
	const char *malformed; /* The first input that was not of the form asked for; NULL: none. */
};

/* 0, or a negative KLUIS_E* when the input must not be accepted. */
typedef int kat_fn(struct kat_run *run);
struct kat_op {
	const char *name;
	kat_fn *fn; /* NULL: known, but not part of this version. */
};

/* Runs every case and every negative row of the file; prints each failure, the counts and what was
 * not run. Returns the number of failures: results that differ, inputs accepted that must not be,
 * ops and sections that are unknown, and, of a whole file, ops of the table without a case. */
unsigned kat_run_file(const char *path, const struct kat_op *ops, size_t count, bool whole);

/* Input, by name. A value of another form than asked for makes the run one that is refused: what
 * they give then means nothing. */
void kat_malformed(struct kat_run *run, const char *what);
struct bytes kat_hex(struct kat_run *run, const json_t *value);
struct bytes kat_bytes(struct kat_run *run, const char *name);
uint64_t kat_number(struct kat_run *run, const char *name);
uint64_t kat_number_max(struct kat_run *run, const char *name, uint64_t max);
/* Exactly len bytes; zeros when they are not so many. */
void kat_fixed(struct kat_run *run, struct bytes bytes, void *to, size_t len);
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
	struct kat_run *run;
	struct bytes left;
};
void kat_random_init(struct kat_random *source, struct kat_run *run, struct bytes bytes);

/* KLUIS_VECTORS names a directory of vectors. */
bool kat_foreign(void);
/* <KLUIS_VECTORS or `fallback`>/name, on the heap. */
char *kat_path(const char *fallback, const char *name);

#endif
