#include "storage/page_store.h"

#include <assert.h>
#include <string.h>

#include "crypto/hash.h"
#include "storage/index_store.h"
#include "storage/row.h"
#include "storage/upkeep_store.h"

static struct row_key page_key(enum key_family family, const uint8_t vault_id[16])
{
	struct row_key key = row_key_begin(family);

	row_key_put_id(&key, vault_id);
	return key;
}

static struct row_key page_number_key(const uint8_t vault_id[16], uint64_t page_no)
{
	struct row_key key = page_key(KEY_PAGE, vault_id);

	row_key_put_u64(&key, page_no);
	return key;
}

static struct row_key version_key(const uint8_t vault_id[16], uint64_t page_no, uint64_t revision)
{
	struct row_key key = page_key(KEY_VERSION, vault_id);

	row_key_put_u64(&key, page_no);
	row_key_put_u64(&key, revision);
	return key;
}

static struct row_key page_hash_key(
	enum key_family family, const uint8_t vault_id[16], const uint8_t hash[32])
{
	struct row_key key = page_key(family, vault_id);

	row_key_put_hash(&key, hash);
	return key;
}

void page_row_encode(const struct page_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->page_no);
	buf_put_u64(to, row->revision);
	buf_put_u32(to, row->key_epoch);
	buf_put_u8(to, row->flags);
	buf_put_u8(to, row->kind);
	buf_put_u8(to, row->sym);
	buf_put_u8(to, row->bucket);
	buf_put_u32(to, row->bytes);
	buf_append(to, row->hash, 32);
	buf_append(to, row->leaf, 32);
	buf_append(to, row->device_id, 16);
	buf_put_u64(to, row->seq);
	buf_put_u64(to, row->committed_ms);
	buf_put_u64(to, row->expires_ms);
	if (row->seq == 0) {
		buf_append(to, row->user_id, 16);
	}
}

int page_row_decode(struct bytes value, struct page_row *ret_row, struct err *e)
{
	struct wire w = row_wire(value);
	struct page_row row = {0};
	int rc;

	row.page_no = wire_u64(&w);
	row.revision = wire_u64(&w);
	row.key_epoch = wire_u32(&w);
	row.flags = wire_u8(&w);
	row.kind = wire_u8(&w);
	row.sym = wire_u8(&w);
	row.bucket = wire_u8(&w);
	row.bytes = wire_u32(&w);
	wire_copy(&w, row.hash, 32);
	wire_copy(&w, row.leaf, 32);
	wire_copy(&w, row.device_id, 16);
	row.seq = wire_u64(&w);
	row.committed_ms = wire_u64(&w);
	row.expires_ms = wire_u64(&w);
	if (row.seq == 0) {
		wire_copy(&w, row.user_id, 16);
	}
	rc = row_end(NULL, &w, KEY_PAGE, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

static int page_row_get(const struct kv_view *view, const struct row_key *key,
	struct page_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	int rc = row_get(view, key, &value, e);

	return rc == 0 ? page_row_decode(buf_bytes(&value), ret_row, e) : rc;
}

int page_store_get(const struct kv_view *view, const uint8_t vault_id[16], uint64_t page_no,
	struct page_row *ret_row, struct err *e)
{
	struct row_key key = page_number_key(vault_id, page_no);

	return page_row_get(view, &key, ret_row, e);
}

int page_store_revision(const struct kv_view *view, const uint8_t vault_id[16], uint64_t page_no,
	uint64_t revision, struct page_row *ret_row, struct err *e)
{
	struct row_key key = version_key(vault_id, page_no, revision);
	struct page_row row;
	int rc = page_store_get(view, vault_id, page_no, &row, e);

	if (rc == 0 && row.revision != revision) {
		return page_row_get(view, &key, ret_row, e);
	}
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

static int version_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	(void)key;
	return page_row_decode(value, to, e);
}

/* The older revisions that may be kept behind `current`, ascending. Begins where the first of them
 * can be: below lie only deleted rows, more with every commit, and a scan would step over each. */
static int version_list(const struct kv_view *view, const uint8_t vault_id[16], uint64_t page_no,
	uint64_t current, struct page_row rows[PAGE_VERSIONS_MAX + 1], size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = page_key(KEY_VERSION, vault_id),
		.max = PAGE_VERSIONS_MAX + 1,
		.decode = version_list_decode,
		.stride = sizeof *rows};
	uint8_t after[8];

	row_key_put_u64(&list.prefix, page_no);
	if (current > PAGE_VERSIONS_MAX + 2) {
		store_u64(after, current - PAGE_VERSIONS_MAX - 2);
		list.after = bytes_of(after, sizeof after);
	}
	return row_list(view, &list, rows, ret_n, e);
}

int page_store_versions(const struct kv_view *view, const uint8_t vault_id[16], uint64_t page_no,
	struct page_row ret_rows[PAGE_VERSIONS_MAX + 1], size_t *ret_n, struct err *e)
{
	struct page_row older[PAGE_VERSIONS_MAX + 1], current;
	size_t n = 0;
	int rc = page_store_get(view, vault_id, page_no, &current, e);

	if (rc == 0) {
		rc = version_list(view, vault_id, page_no, current.revision, older, &n, e);
	}
	if (rc == 0 && n > PAGE_VERSIONS_MAX) {
		rc = err_set(e, KLUIS_ECORRUPT, "a page has too many revisions");
	}
	if (rc != 0) {
		return rc;
	}
	ret_rows[0] = current;
	for (size_t i = 0; i < n; i++) {
		ret_rows[1 + i] = older[n - 1 - i];
	}
	*ret_n = n + 1;
	return 0;
}

/* The hash is taken only where the disk may be read: what lies in the cache has passed the store's
 * own checksum on its way there. */
static bool page_bytes_right(
	const struct kv_view *view, const struct page_row *row, struct bytes page)
{
	uint8_t hash[32];

	if (page.len != row->bytes || kv_view_cache_only(view)) {
		return page.len == row->bytes;
	}
	hash_sha256(page, hash);
	return memcmp(hash, row->hash, sizeof hash) == 0;
}

int page_store_bytes(const struct kv_view *view, const uint8_t vault_id[16],
	const struct page_row *row, struct buf *to, struct err *e)
{
	struct row_key key = page_hash_key(KEY_BYTES, vault_id, row->hash);
	size_t before = to->len;
	int rc = row_get(view, &key, to, e);

	if (rc == KLUIS_ENOTFOUND) {
		return err_set(e, KLUIS_ECORRUPT, "the bytes of a page are missing");
	}
	if (rc == 0 &&
		!page_bytes_right(view, row, bytes_of(to->data + before, to->len - before))) {
		to->len = before;
		rc = err_set(e, KLUIS_ECORRUPT, "the bytes of a page are not those it had");
	}
	return rc;
}

static int staged_get(const struct kv_view *view, const uint8_t vault_id[16],
	const uint8_t hash[32], struct page_row *ret_row, struct err *e)
{
	struct row_key key = page_hash_key(KEY_STAGED, vault_id, hash);

	return page_row_get(view, &key, ret_row, e);
}

int page_store_staged(const struct kv_view *view, const uint8_t vault_id[16],
	const uint8_t hash[32], uint64_t now_ms, struct page_row *ret_row, struct err *e)
{
	struct page_row row;
	int rc = staged_get(view, vault_id, hash, &row, e);

	if (rc == 0 && now_ms >= row.expires_ms) {
		return err_set(e, KLUIS_ENOTFOUND, "the staged page has expired");
	}
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

/* A row that counts: gone when there is nothing to count, so 0 is no count. */
static int count_get(
	const struct kv_view *view, const struct row_key *key, uint64_t *ret_count, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	enum key_family family = (enum key_family)key->data[0];
	struct wire w;
	uint64_t count;
	int rc = row_get(view, key, &value, e);

	if (rc == KLUIS_ENOTFOUND) {
		*ret_count = 0;
		return 0;
	}
	if (rc != 0) {
		return rc;
	}
	w = row_wire(buf_bytes(&value));
	count = wire_u64(&w);
	if (count == 0) {
		wire_fail(&w);
	}
	rc = row_end(NULL, &w, family, e);
	if (rc == 0) {
		*ret_count = count;
	}
	return rc;
}

static void count_put(struct txn *txn, const struct row_key *key, uint64_t count)
{
	struct buf value = row_begin();

	buf_put_u64(&value, count);
	row_put(txn, key, &value);
}

int page_store_refs(const struct kv_view *view, const uint8_t vault_id[16], const uint8_t hash[32],
	uint64_t *ret_refs, struct err *e)
{
	struct row_key refs_key = page_hash_key(KEY_REFS, vault_id, hash);
	struct row_key bytes_key = page_hash_key(KEY_BYTES, vault_id, hash);
	struct index_row index;
	uint64_t counted;
	int rc = index_store_of(view, row_key_bytes(&bytes_key), &index, e); /* Not the bytes. */

	if (rc == KLUIS_ENOTFOUND || (rc == 0 && index.deleted)) {
		*ret_refs = 0;
		return 0;
	}
	if (rc == 0) {
		rc = count_get(view, &refs_key, &counted, e);
	}
	if (rc == 0) {
		*ret_refs = counted == 0 ? 1 : counted;
	}
	return rc;
}

/* The bytes alone are one reference: most pages never have another. */
static void page_put_refs(
	struct txn *txn, const uint8_t vault_id[16], const uint8_t hash[32], uint64_t refs)
{
	struct row_key key = page_hash_key(KEY_REFS, vault_id, hash);

	assert(refs > 0);
	if (refs > 1) {
		count_put(txn, &key, refs);
	} else {
		row_delete(txn, &key);
	}
}

/* One reference more; the bytes come with the first. */
static int page_ref(struct txn *txn, const uint8_t vault_id[16], const uint8_t hash[32],
	struct bytes page, struct err *e)
{
	struct row_key key = page_hash_key(KEY_BYTES, vault_id, hash);
	uint64_t refs;
	int rc = page_store_refs(txn_view(txn), vault_id, hash, &refs, e);

	if (rc != 0) {
		return rc;
	}
	if (refs == 0) {
		txn_put_borrowed(txn, row_key_bytes(&key), page, hash);
	} else {
		page_put_refs(txn, vault_id, hash, refs + 1);
	}
	return 0;
}

int page_store_unref(
	struct txn *txn, const uint8_t vault_id[16], const uint8_t hash[32], struct err *e)
{
	struct row_key bytes_key = page_hash_key(KEY_BYTES, vault_id, hash);
	uint64_t refs;
	int rc = page_store_refs(txn_view(txn), vault_id, hash, &refs, e);

	if (rc == 0 && refs == 0) {
		rc = err_set(e, KLUIS_ECORRUPT, "a page's bytes are counted too low");
	}
	if (rc != 0) {
		return rc;
	}
	if (refs > 1) {
		page_put_refs(txn, vault_id, hash, refs - 1);
	} else {
		row_delete(txn, &bytes_key);
	}
	return 0;
}

struct expiry_row page_staged_expiry(const uint8_t vault_id[16], const struct page_row *row)
{
	struct expiry_row expiry = {.expires_ms = row->expires_ms, .kind = EXPIRY_STAGED};

	memcpy(expiry.subject, vault_id, 16);
	memcpy(expiry.subject + 16, row->hash, 32);
	expiry.subject_bytes = 48;
	return expiry;
}

struct expiry_row page_version_expiry(const uint8_t vault_id[16], const struct page_row *row)
{
	struct expiry_row expiry = {.expires_ms = row->expires_ms, .kind = EXPIRY_VERSION};

	memcpy(expiry.subject, vault_id, 16);
	store_u64(expiry.subject + 16, row->page_no);
	store_u64(expiry.subject + 24, row->revision);
	expiry.subject_bytes = 32;
	return expiry;
}

static void page_put(struct txn *txn, const struct row_key *key, const struct page_row *row)
{
	struct buf value = BUF_INIT;

	page_row_encode(row, &value);
	row_put(txn, key, &value);
}

static struct row_key staged_use_key(const uint8_t user_id[16])
{
	struct row_key key = row_key_begin(KEY_STAGED_USE);

	row_key_put_id(&key, user_id);
	return key;
}

int page_store_staged_use(
	const struct kv_view *view, const uint8_t user_id[16], uint64_t *ret_bytes, struct err *e)
{
	struct row_key key = staged_use_key(user_id);

	return count_get(view, &key, ret_bytes, e);
}

static void staged_use_put(struct txn *txn, const uint8_t user_id[16], uint64_t bytes)
{
	struct row_key key = staged_use_key(user_id);

	if (bytes == 0) {
		row_delete(txn, &key);
	} else {
		count_put(txn, &key, bytes);
	}
}

static int staged_use_add(struct txn *txn, const struct page_row *row, struct err *e)
{
	uint64_t bytes;
	int rc = page_store_staged_use(txn_view(txn), row->user_id, &bytes, e);

	if (rc == 0 && bytes + row->bytes > STAGED_USER_BYTES_MAX) {
		rc = err_set(e, KLUIS_EQUOTA, "%llu bytes are staged, at most %llu may be",
			(unsigned long long)bytes, (unsigned long long)STAGED_USER_BYTES_MAX);
	}
	if (rc == 0) {
		staged_use_put(txn, row->user_id, bytes + row->bytes);
	}
	return rc;
}

int page_store_unuse(struct txn *txn, const struct page_row *row, struct err *e)
{
	uint64_t bytes;
	int rc = page_store_staged_use(txn_view(txn), row->user_id, &bytes, e);

	if (rc == 0 && bytes < row->bytes) {
		rc = err_set(e, KLUIS_ECORRUPT, "staged bytes are counted too low");
	}
	if (rc == 0) {
		staged_use_put(txn, row->user_id, bytes - row->bytes);
	}
	return rc;
}

/* The one that was staged before, under the same bytes, makes room for a later one. */
static int staged_replace(
	struct txn *txn, const uint8_t vault_id[16], const struct page_row *old, struct err *e)
{
	struct expiry_row expiry = page_staged_expiry(vault_id, old);

	expiry_store_delete(txn, &expiry);
	return page_store_unuse(txn, old, e);
}

int page_store_stage(struct txn *txn, const uint8_t vault_id[16], const struct page_row *row,
	struct bytes page, struct err *e)
{
	struct row_key key = page_hash_key(KEY_STAGED, vault_id, row->hash);
	struct expiry_row expiry;
	struct page_row old;
	int rc = staged_get(txn_view(txn), vault_id, row->hash, &old, e);

	assert(row->seq == 0);
	if (rc == 0) {
		rc = staged_replace(txn, vault_id, &old, e);
	} else if (rc == KLUIS_ENOTFOUND) {
		rc = page_ref(txn, vault_id, row->hash, page, e);
	}
	if (rc == 0) {
		rc = staged_use_add(txn, row, e);
	}
	if (rc != 0) {
		return rc;
	}
	page_put(txn, &key, row);
	expiry = page_staged_expiry(vault_id, row);
	expiry_store_put(txn, &expiry);
	return 0;
}

/* The staged row goes, its reference stays: for whoever takes it over. */
static int staged_take(
	struct txn *txn, const uint8_t vault_id[16], const uint8_t hash[32], struct err *e)
{
	struct row_key key = page_hash_key(KEY_STAGED, vault_id, hash);
	struct expiry_row expiry;
	struct page_row row;
	int rc = staged_get(txn_view(txn), vault_id, hash, &row, e);

	if (rc == KLUIS_ENOTFOUND) {
		return err_set(e, KLUIS_ECORRUPT, "a staged page is missing");
	}
	if (rc == 0) {
		expiry = page_staged_expiry(vault_id, &row);
		expiry_store_delete(txn, &expiry);
		row_delete(txn, &key);
		rc = page_store_unuse(txn, &row, e);
	}
	return rc;
}

int page_store_drop_staged(
	struct txn *txn, const uint8_t vault_id[16], const uint8_t hash[32], struct err *e)
{
	int rc = staged_take(txn, vault_id, hash, e);

	return rc == 0 ? page_store_unref(txn, vault_id, hash, e) : rc;
}

static int version_drop(
	struct txn *txn, const uint8_t vault_id[16], const struct page_row *row, struct err *e)
{
	struct row_key key = version_key(vault_id, row->page_no, row->revision);
	struct expiry_row expiry = page_version_expiry(vault_id, row);

	expiry_store_delete(txn, &expiry);
	row_delete(txn, &key);
	return page_store_unref(txn, vault_id, row->hash, e);
}

int page_store_drop_version(struct txn *txn, const uint8_t vault_id[16], uint64_t page_no,
	uint64_t revision, struct err *e)
{
	struct row_key key = version_key(vault_id, page_no, revision);
	struct page_row row;
	int rc = page_row_get(txn_view(txn), &key, &row, e);

	return rc == 0 ? version_drop(txn, vault_id, &row, e) : rc;
}

/* All older revisions behind `current` go. */
static int version_purge(struct txn *txn, const uint8_t vault_id[16], uint64_t page_no,
	uint64_t current, struct err *e)
{
	struct page_row rows[PAGE_VERSIONS_MAX + 1];
	size_t n = 0;
	int rc = version_list(txn_view(txn), vault_id, page_no, current, rows, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = version_drop(txn, vault_id, &rows[i], e);
	}
	return rc;
}

/* The one revision that falls out of the last PAGE_VERSIONS_MAX goes, unless it went before. */
static int version_trim(struct txn *txn, const uint8_t vault_id[16], uint64_t page_no,
	uint64_t current, struct err *e)
{
	int rc;

	if (current <= PAGE_VERSIONS_MAX + 1) {
		return 0;
	}
	rc = page_store_drop_version(txn, vault_id, page_no, current - PAGE_VERSIONS_MAX - 1, e);
	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

static void version_keep(struct txn *txn, const uint8_t vault_id[16], const struct page_row *row)
{
	struct row_key key = version_key(vault_id, row->page_no, row->revision);
	struct expiry_row expiry = page_version_expiry(vault_id, row);

	page_put(txn, &key, row);
	expiry_store_put(txn, &expiry);
}

int page_store_commit(struct txn *txn, const uint8_t vault_id[16], const struct page_row *current,
	const struct page_row *row, struct bytes page, uint64_t versions_expire_ms, bool purge,
	struct err *e)
{
	struct row_key key = page_number_key(vault_id, row->page_no);
	struct page_row old = *current;
	int rc = page.len == 0 ? staged_take(txn, vault_id, row->hash, e)
			       : page_ref(txn, vault_id, row->hash, page, e);

	if (rc != 0) {
		return rc;
	}
	assert(row->revision == old.revision + 1);
	page_put(txn, &key, row);
	if (old.revision == 0) {
		return 0;
	}
	old.expires_ms = versions_expire_ms;
	version_keep(txn, vault_id, &old);
	return purge ? version_purge(txn, vault_id, row->page_no, row->revision, e)
		     : version_trim(txn, vault_id, row->page_no, row->revision, e);
}

void page_store_keep_version(struct txn *txn, const uint8_t vault_id[16],
	const struct page_row *row, uint64_t expires_ms)
{
	struct expiry_row expiry = page_version_expiry(vault_id, row);
	struct page_row later = *row;

	expiry_store_delete(txn, &expiry);
	later.expires_ms = expires_ms;
	version_keep(txn, vault_id, &later);
}
