#include "storage/root_walk.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "crypto/hash.h"
#include "storage/key_codec.h"

struct root_walk {
	const struct kv_view *view;
	unsigned slice;
	struct index_iter *iter;
	struct index_root *root;
	struct buf value;
	struct root_found found;
	bool done;
};

struct root_walk *root_walk_new(const struct kv_view *view, unsigned slice)
{
	struct root_walk *walk = x_calloc(1, sizeof *walk);

	assert(slice <= KEY_SLICES);
	walk->view = view;
	walk->slice = slice;
	walk->iter = index_iter_new(view, 0, UINT64_MAX);
	walk->root = index_root_new();
	return walk;
}

/* Whichever of the two rotted, the value or its hash: no row has the hash zero. */
static void walk_bad(struct root_walk *walk, struct index_row *row, const char *what)
{
	memset(row->hash, 0, HASH_BYTES);
	if (walk->found.bad++ == 0) {
		(void)snprintf(walk->found.text, sizeof walk->found.text,
			"the %s row changed at %llu.%u %s", row_key_family_name(row->key.data[0]),
			(unsigned long long)row->at.index, row->at.ordinal, what);
	}
}

static int walk_value(struct root_walk *walk, struct index_row *row, struct err *e)
{
	uint8_t hash[HASH_BYTES];
	int rc;

	buf_clear(&walk->value);
	rc = kv_get(walk->view, row->key, &walk->value, e);
	walk->found.values++;
	if (rc == KLUIS_ENOTFOUND) {
		walk_bad(walk, row, "is gone");
	} else if (rc == KLUIS_ECORRUPT) {
		walk_bad(walk, row, "cannot be read");
	} else if (rc != 0) {
		return rc;
	} else {
		hash_sha256(buf_bytes(&walk->value), hash);
		if (memcmp(hash, row->hash, HASH_BYTES) != 0) {
			walk_bad(walk, row, "is not what was written");
		}
	}
	return 0;
}

static int walk_row(struct root_walk *walk, struct index_row *row, struct err *e)
{
	int rc = 0;

	if (row->deleted) {
		return 0;
	}
	if (walk->slice == KEY_SLICES || row_key_slice(row->key) == walk->slice) {
		rc = walk_value(walk, row, e);
	}
	index_root_add(walk->root, row);
	walk->found.rows++;
	return rc;
}

int root_walk_step(struct root_walk *walk, unsigned rows, bool *ret_more, struct err *e)
{
	struct index_row row;
	int rc = 0;

	assert(!walk->done && rows > 0);
	for (unsigned i = 0; rc == 0 && i < rows; i++) {
		if (!index_iter_next(walk->iter, &row)) {
			rc = index_iter_status(walk->iter, e);
			walk->done = rc == 0;
			break;
		}
		rc = walk_row(walk, &row, e);
	}
	if (rc == 0) {
		*ret_more = !walk->done;
	}
	return rc;
}

void root_walk_end(struct root_walk *walk, struct root_found *ret_found)
{
	assert(ret_found == NULL || walk->done);
	index_root_end(walk->root, walk->found.root);
	if (ret_found != NULL) {
		*ret_found = walk->found;
	}
	index_iter_free(walk->iter);
	buf_release(&walk->value);
	free(walk);
}
