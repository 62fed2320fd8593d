#include "cli/client/vault_copy.h"

#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/wire.h"
#include "cli/client/vault.h"

enum {
	COPY_LEAF_BYTES = 8 + 4 + HASH_BYTES,
	COPY_FIXED_BYTES = 8 + 2 * ID_BYTES + 2 * 8 + HASH_BYTES + HEAD_BYTES + 8,
};

char *vault_copy_file(const char *dir)
{
	return x_asprintf("%s/copy", dir);
}

char *vault_copy_page(const char *dir, uint64_t page_no)
{
	return x_asprintf("%s/page-%" PRIu64, dir, page_no);
}

void vault_copy_release(struct vault_copy *copy)
{
	free(copy->leaves);
	*copy = (struct vault_copy){.leaves = NULL};
}

void vault_copy_encode(const struct vault_copy *copy, struct buf *to)
{
	buf_put_str(to, "KVC1");
	buf_put_u8(to, 1);
	buf_put_zeros(to, 3);
	buf_append(to, copy->cluster_id, ID_BYTES);
	buf_append(to, copy->lineage, ID_BYTES);
	buf_put_u64(to, copy->index);
	buf_put_u64(to, copy->time_ms);
	buf_append(to, copy->manifest_hash, HASH_BYTES);
	buf_append(to, copy->head_bytes, HEAD_BYTES);
	buf_put_u64(to, copy->head.page_count);
	for (uint64_t i = 0; i < copy->head.page_count; i++) {
		buf_put_u64(to, copy->leaves[i].revision);
		buf_put_u32(to, copy->leaves[i].epoch);
		buf_append(to, copy->leaves[i].leaf, HASH_BYTES);
	}
}

/* The bytes behind the version; count: what they say of the leaves. */
static int copy_fixed(struct wire *w, struct vault_copy *copy, struct err *e)
{
	uint64_t count;

	wire_zeros(w, 3);
	wire_copy(w, copy->cluster_id, ID_BYTES);
	wire_copy(w, copy->lineage, ID_BYTES);
	copy->index = wire_u64(w);
	copy->time_ms = wire_u64(w);
	wire_copy(w, copy->manifest_hash, HASH_BYTES);
	wire_copy(w, copy->head_bytes, HEAD_BYTES);
	count = wire_u64(w);
	if (!wire_ok(w) ||
		head_parse(bytes_of(copy->head_bytes, HEAD_BYTES), &copy->head, NULL) != 0 ||
		count != copy->head.page_count || count > VAULT_PAGES_MAX ||
		w->left.len != count * COPY_LEAF_BYTES) {
		return err_set(e, KLUIS_ECORRUPT, "not a copy of a vault");
	}
	return 0;
}

static int copy_leaves(struct wire *w, struct vault_copy *copy, struct err *e)
{
	struct merkle *tree = merkle_new();
	uint8_t root[HASH_BYTES];

	copy->leaves = x_calloc((size_t)copy->head.page_count + 1, sizeof *copy->leaves);
	for (uint64_t i = 0; i < copy->head.page_count; i++) {
		struct vault_copy_leaf *leaf = &copy->leaves[i];

		leaf->revision = wire_u64(w);
		leaf->epoch = wire_u32(w);
		wire_copy(w, leaf->leaf, HASH_BYTES);
		merkle_set(tree, i, leaf->leaf);
	}
	merkle_root(tree, root);
	merkle_free(tree);
	return wire_end(w) && memcmp(root, copy->head.merkle_root, HASH_BYTES) == 0
		       ? 0
		       : err_set(e, KLUIS_EVERIFY,
				 "the copy's table of pages is not the one its head names");
}

int vault_copy_parse(struct bytes bytes, struct vault_copy *ret_copy, struct err *e)
{
	struct wire w = wire_of(bytes);
	struct vault_copy copy = {.leaves = NULL};
	bool named = wire_match(&w, "KVC1");
	unsigned version = wire_u8(&w);
	int rc;

	if (named && wire_ok(&w) && version != 1) {
		return err_set(e, KLUIS_EVERSION, "a copy of a vault of version %u", version);
	}
	rc = copy_fixed(&w, &copy, e);
	rc = rc != 0 ? rc : copy_leaves(&w, &copy, e);
	if (rc != 0) {
		vault_copy_release(&copy);
		return rc;
	}
	*ret_copy = copy;
	return 0;
}

int vault_copy_read(const char *dir, struct vault_copy *ret_copy, struct err *e)
{
	const size_t max = COPY_FIXED_BYTES + (size_t)VAULT_PAGES_MAX * COPY_LEAF_BYTES;
	_cleanup_(x_freep) char *path = vault_copy_file(dir);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	int rc = file_read(path, max, &bytes, e);

	rc = rc != 0 ? rc : vault_copy_parse(buf_bytes(&bytes), ret_copy, e);
	return rc == 0 ? 0 : err_wrap(e, rc, "copy '%s'", dir);
}

/* --- a vault that is read from one ----------------------------------------------------------- */

static int copy_check(struct vault *vault, const struct vault_copy *copy, struct err *e)
{
	struct head head;

	if (memcmp(copy->head.vault_id, vault->id, ID_BYTES) != 0 ||
		memcmp(copy->cluster_id, vault->profile->cluster_id, ID_BYTES) != 0) {
		return err_set(
			e, KLUIS_EVERIFY, "vault '%s': the copy is of another vault", vault->name);
	}
	return vault_prove_head(vault, copy->head_bytes, &head, e);
}

static int copy_table(struct vault *vault, const struct vault_copy *copy, struct err *e)
{
	for (uint64_t i = 0; i < copy->head.page_count; i++) {
		const struct vault_copy_leaf *leaf = &copy->leaves[i];
		uint8_t unwritten[HASH_BYTES];

		page_leaf_unwritten(vault->id, i, unwritten);
		/* The root proves the leaf, not that it is a written page's. */
		if ((leaf->revision == 0) != (memcmp(unwritten, leaf->leaf, HASH_BYTES) == 0)) {
			return err_set(e, KLUIS_EVERIFY, "vault '%s': the copy's table is wrong",
				vault->name);
		}
		vault_set_leaf(vault, i,
			(struct vault_leaf){.revision = leaf->revision,
				.epoch = leaf->epoch,
				.proven = leaf->revision == 0},
			leaf->leaf);
	}
	return 0;
}

int vault_open_copy(struct vault *vault, const char *dir, struct err *e)
{
	_cleanup_(vault_copy_release) struct vault_copy copy = {.leaves = NULL};
	int rc = vault_copy_read(dir, &copy, e);

	rc = rc != 0 ? rc : copy_check(vault, &copy, e);
	if (rc != 0) {
		return rc;
	}
	vault->copy = x_strdup(dir); /* From here on nothing of it goes into the profile. */
	vault->offline = true;
	vault_drop_leaves(vault);
	vault->tree = merkle_new();
	vault_set_head(vault, &copy.head, copy.head_bytes);
	return copy_table(vault, &copy, e);
}
