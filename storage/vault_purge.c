#include <assert.h>

#include "storage/page_store.h"
#include "storage/row.h"
#include "storage/vault_store.h"

enum { PURGE_KEYS_MAX = 512 };

/* Some keys of one family of the vault; values are read only where `rows` asks for them: the large
 * ones never. */
struct purge {
	struct row_key key[PURGE_KEYS_MAX];
	struct page_row row[PURGE_KEYS_MAX];
	size_t n;
};

static int purge_collect(const struct kv_view *view, enum key_family family,
	const uint8_t vault_id[16], size_t max, bool rows, struct purge *purge, struct err *e)
{
	struct row_key prefix = row_key_begin(family), end;
	struct kv_iter *iter;
	int rc = 0;

	row_key_put_id(&prefix, vault_id);
	end = row_key_after_prefix(&prefix);
	iter = kv_iter_new(view, row_key_bytes(&prefix), row_key_bytes(&end));
	purge->n = 0;
	while (rc == 0 && purge->n < max && kv_iter_next(iter)) {
		struct row_key *key = &purge->key[purge->n];

		key->len = 0;
		row_key_put_tail(key, kv_iter_key(iter));
		if (rows) {
			rc = page_row_decode(kv_iter_value(iter), &purge->row[purge->n], e);
		}
		purge->n++;
	}
	if (rc == 0) {
		rc = kv_iter_status(iter, e);
	}
	kv_iter_free(iter);
	return rc;
}

/* Iterating over the bytes themselves would read them all. */
static bool purge_has_bytes(enum key_family family)
{
	return family == KEY_STAGED || family == KEY_VERSION || family == KEY_PAGE;
}

static int purge_one(struct txn *txn, enum key_family family, const uint8_t vault_id[16],
	const struct row_key *key, const struct page_row *row, struct err *e)
{
	struct expiry_row expiry;
	int rc = family == KEY_STAGED ? page_store_unuse(txn, row, e) : 0;

	if (family == KEY_STAGED || family == KEY_VERSION) {
		expiry = family == KEY_STAGED ? page_staged_expiry(vault_id, row)
					      : page_version_expiry(vault_id, row);
		expiry_store_delete(txn, &expiry);
	}
	/* Counted down row by row: others of the vault may expire before their turn comes here. */
	if (rc == 0 && purge_has_bytes(family)) {
		rc = page_store_unref(txn, vault_id, row->hash, e);
	}
	row_delete(txn, key);
	return rc;
}

int vault_store_purge(
	struct txn *txn, const uint8_t vault_id[16], size_t max, size_t *ret_n, struct err *e)
{
	static const enum key_family families[] = {
		KEY_STAGED, KEY_VERSION, KEY_PAGE, KEY_HEAD, KEY_MEMBER_STATEMENT};
	_cleanup_(x_freep) struct purge *purge = x_malloc(sizeof *purge);
	size_t n = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(families) && n < max; i++) {
		size_t room = max - n < PURGE_KEYS_MAX ? max - n : PURGE_KEYS_MAX;
		bool rows = purge_has_bytes(families[i]);

		rc = purge_collect(txn_view(txn), families[i], vault_id, room, rows, purge, e);
		for (size_t j = 0; rc == 0 && j < purge->n; j++) {
			rc = purge_one(
				txn, families[i], vault_id, &purge->key[j], &purge->row[j], e);
		}
		n += purge->n;
	}
	if (rc == 0) {
		*ret_n = n;
	}
	return rc;
}
