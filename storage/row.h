/* What the files that hold one family of rows have in common. Only for storage/. */
#ifndef KLUIS_STORAGE_ROW_H
#define KLUIS_STORAGE_ROW_H

#include "base/wire.h"
#include "storage/key_codec.h"
#include "storage/txn.h"

enum { ROW_FORMAT = 1 };

/* A cursor behind the format byte; failed when that is not ROW_FORMAT. */
struct wire row_wire(struct bytes value);
/* A cursor over the fields of a key; failed when it is of another family. */
struct wire row_key_wire(struct bytes key, enum key_family family);
/* 0 if both ended exactly, else KLUIS_ECORRUPT naming the family. key may be NULL. */
int row_end(
	const struct wire *key, const struct wire *value, enum key_family family, struct err *e);
/* A new value with its format byte. */
struct buf row_begin(void);
bool row_bool(struct wire *w); /* Fails on anything but 0 and 1. */
/* lp16 text without NUL into a NUL-terminated field of max + 1 bytes. */
void row_text(struct wire *w, char *to, size_t max);

int row_get(
	const struct kv_view *view, const struct row_key *key, struct buf *value, struct err *e);
/* Of a row whose value is the format byte and opaque bytes: appends those. */
int row_get_raw(const struct kv_view *view, const struct row_key *key, enum key_family family,
	struct buf *to, struct err *e);
void row_put_raw(struct txn *txn, const struct row_key *key, struct bytes bytes);
/* Puts and releases the value. */
void row_put(struct txn *txn, const struct row_key *key, struct buf *value);
void row_delete(struct txn *txn, const struct row_key *key);

/* An iterator with the first failure of whoever decodes what it stands on. */
struct row_iter {
	struct kv_iter *iter;
	struct err err;
	int rc;
};
bool row_iter_next(struct row_iter *iter); /* False at the end and after a failure. */
int row_iter_status(const struct row_iter *iter, struct err *e);

/* A bounded list: rows whose key begins with prefix and is behind `after`. */
struct row_list {
	struct row_key prefix;
	struct bytes
		after; /* What follows the prefix in the last key known; empty: from the first. */
	size_t max;
	int (*decode)(struct bytes key, struct bytes value, void *to, struct err *e);
	size_t stride; /* Bytes of one element of `rows`. */
};
int row_list(const struct kv_view *view, const struct row_list *list, void *rows, size_t *ret_n,
	struct err *e);

#endif
