#include "storage/inbox_store.h"

#include <assert.h>
#include <string.h>

#include "crypto/hash.h"
#include "storage/row.h"
#include "storage/upkeep_store.h"

static struct row_key inbox_prefix(enum key_family family, const uint8_t owner[16])
{
	struct row_key key = row_key_begin(family);

	row_key_put_id(&key, owner);
	return key;
}

static struct row_key inbox_key(
	enum key_family family, const uint8_t owner[16], const uint8_t id[16])
{
	struct row_key key = inbox_prefix(family, owner);

	row_key_put_id(&key, id);
	return key;
}

void inbox_row_encode(const struct inbox_row *row, struct buf *to)
{
	assert(row->bytes > 0 && row->bytes <= INBOX_DOCUMENT_BYTES_MAX);
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->time_ms);
	buf_put_u64(to, row->expires_ms);
	buf_put_u8(to, row->sender_class);
	buf_put_u16(to, row->content_type);
	buf_put_u32(to, row->bytes);
	buf_append(to, row->sender, sizeof row->sender);
	buf_append(to, row->token_id, sizeof row->token_id);
}

int inbox_row_decode(struct bytes key, struct bytes value, struct inbox_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_INBOX), w = row_wire(value);
	struct inbox_row row;
	int rc;

	wire_copy(&k, row.owner, sizeof row.owner);
	wire_copy(&k, row.doc_id, sizeof row.doc_id);
	row.time_ms = wire_u64(&w);
	row.expires_ms = wire_u64(&w);
	row.sender_class = wire_u8(&w);
	row.content_type = wire_u16(&w);
	row.bytes = wire_u32(&w);
	wire_copy(&w, row.sender, sizeof row.sender);
	wire_copy(&w, row.token_id, sizeof row.token_id);
	if (row.bytes == 0 || row.bytes > INBOX_DOCUMENT_BYTES_MAX) {
		wire_fail(&w);
	}
	rc = row_end(&k, &w, KEY_INBOX, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int inbox_store_get(const struct kv_view *view, const uint8_t owner[16], const uint8_t doc_id[16],
	struct inbox_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = inbox_key(KEY_INBOX, owner, doc_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? inbox_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

int inbox_store_document(const struct kv_view *view, const uint8_t owner[16],
	const uint8_t doc_id[16], struct inbox_row *ret_row, struct buf *to, struct err *e)
{
	struct row_key key = inbox_key(KEY_INBOX_BYTES, owner, doc_id);
	size_t before = to->len;
	struct inbox_row row;
	int rc = inbox_store_get(view, owner, doc_id, &row, e);

	if (rc != 0) {
		return rc;
	}
	rc = row_get_raw(view, &key, KEY_INBOX_BYTES, to, e);
	if (rc == KLUIS_ENOTFOUND || (rc == 0 && to->len - before != row.bytes)) {
		to->len = before;
		return err_set(e, KLUIS_ECORRUPT, "a document is not as its row says");
	}
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

static int inbox_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return inbox_row_decode(key, value, to, e);
}

int inbox_store_list(const struct kv_view *view, const uint8_t owner[16], const uint8_t *after,
	struct inbox_row *ret_rows, size_t max, size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = inbox_prefix(KEY_INBOX, owner),
		.after = bytes_of(after, after == NULL ? 0 : 16),
		.max = max,
		.decode = inbox_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

void inbox_use_encode(const struct inbox_use *use, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u32(to, use->docs);
	buf_put_u64(to, use->bytes);
	buf_put_u32(to, use->session_docs);
	buf_put_u64(to, use->session_bytes);
}

int inbox_use_decode(struct bytes key, struct bytes value, struct inbox_use *ret_use, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_INBOX_USE), w = row_wire(value);
	struct inbox_use use;
	int rc;

	(void)wire_bytes(&k, 16);
	use.docs = wire_u32(&w);
	use.bytes = wire_u64(&w);
	use.session_docs = wire_u32(&w);
	use.session_bytes = wire_u64(&w);
	rc = row_end(&k, &w, KEY_INBOX_USE, e);
	if (rc == 0) {
		*ret_use = use;
	}
	return rc;
}

int inbox_store_use(const struct kv_view *view, const uint8_t owner[16], struct inbox_use *ret_use,
	struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = inbox_prefix(KEY_INBOX_USE, owner);
	int rc = row_get(view, &key, &value, e);

	if (rc == KLUIS_ENOTFOUND) {
		*ret_use = (struct inbox_use){0};
		return 0;
	}
	return rc == 0 ? inbox_use_decode(row_key_bytes(&key), buf_bytes(&value), ret_use, e) : rc;
}

static void inbox_use_put(struct txn *txn, const uint8_t owner[16], const struct inbox_use *use)
{
	struct row_key key = inbox_prefix(KEY_INBOX_USE, owner);
	struct buf value = BUF_INIT;

	if (use->docs == 0) {
		assert(use->bytes == 0 && use->session_docs == 0 && use->session_bytes == 0);
		row_delete(txn, &key);
		return;
	}
	inbox_use_encode(use, &value);
	row_put(txn, &key, &value);
}

static bool inbox_by_session(const struct inbox_row *row)
{
	static const uint8_t nobody[16];

	return memcmp(row->sender, nobody, sizeof nobody) != 0;
}

static struct expiry_row inbox_expiry(const struct inbox_row *row)
{
	struct expiry_row expiry = {
		.expires_ms = row->expires_ms, .kind = EXPIRY_INBOX, .subject_bytes = 32};

	memcpy(expiry.subject, row->owner, 16);
	memcpy(expiry.subject + 16, row->doc_id, 16);
	return expiry;
}

int inbox_store_put(
	struct txn *txn, const struct inbox_row *row, struct bytes document, struct err *e)
{
	struct row_key key = inbox_key(KEY_INBOX, row->owner, row->doc_id);
	struct row_key bytes_key = inbox_key(KEY_INBOX_BYTES, row->owner, row->doc_id);
	struct expiry_row expiry = inbox_expiry(row);
	struct buf value = BUF_INIT;
	struct inbox_use use;
	int rc = inbox_store_use(txn_view(txn), row->owner, &use, e);

	assert(document.len == row->bytes);
	if (rc != 0) {
		return rc;
	}
	use.docs++;
	use.bytes += row->bytes;
	if (inbox_by_session(row)) {
		use.session_docs++;
		use.session_bytes += row->bytes;
	}
	inbox_use_put(txn, row->owner, &use);
	inbox_row_encode(row, &value);
	row_put(txn, &key, &value);
	row_put_raw(txn, &bytes_key, document);
	expiry_store_put(txn, &expiry);
	return 0;
}

static bool inbox_use_less(struct inbox_use *use, const struct inbox_row *row)
{
	bool session = inbox_by_session(row);

	if (use->docs == 0 || use->bytes < row->bytes ||
		(session && (use->session_docs == 0 || use->session_bytes < row->bytes))) {
		return false;
	}
	use->docs--;
	use->bytes -= row->bytes;
	if (session) {
		use->session_docs--;
		use->session_bytes -= row->bytes;
	}
	return true;
}

int inbox_store_delete(struct txn *txn, const struct inbox_row *row, struct err *e)
{
	struct row_key key = inbox_key(KEY_INBOX, row->owner, row->doc_id);
	struct row_key bytes_key = inbox_key(KEY_INBOX_BYTES, row->owner, row->doc_id);
	struct expiry_row expiry = inbox_expiry(row);
	struct inbox_use use;
	int rc = inbox_store_use(txn_view(txn), row->owner, &use, e);

	if (rc == 0 && !inbox_use_less(&use, row)) {
		rc = err_set(e, KLUIS_ECORRUPT, "what an inbox holds is counted wrong");
	}
	if (rc != 0) {
		return rc;
	}
	inbox_use_put(txn, row->owner, &use);
	row_delete(txn, &key);
	row_delete(txn, &bytes_key);
	expiry_store_delete(txn, &expiry);
	return 0;
}

/* At most 16 of them at a time: a row is small, a step's stack is, too. */
enum { PURGE_DOCS = 16 };

static int purge_docs(
	struct txn *txn, const uint8_t owner[16], size_t max, size_t *ret_n, struct err *e)
{
	struct inbox_row rows[PURGE_DOCS];
	size_t n = 0, got = PURGE_DOCS;
	int rc = 0;

	while (rc == 0 && got == PURGE_DOCS && n < max) {
		rc = inbox_store_list(txn_view(txn), owner, NULL, rows, PURGE_DOCS, &got, e);
		for (size_t i = 0; rc == 0 && i < got; i++) {
			rc = inbox_store_delete(txn, &rows[i], e);
		}
		n += got;
	}
	if (rc == 0) {
		*ret_n = n;
	}
	return rc;
}

int inbox_store_purge(
	struct txn *txn, const uint8_t owner[16], size_t max, size_t *ret_n, struct err *e)
{
	struct inbox_token_row *tokens;
	size_t n = 0, n_tokens = 0;
	int rc = purge_docs(txn, owner, max, &n, e);

	if (rc != 0 || n >= max) {
		*ret_n = n;
		return rc;
	}
	tokens = x_calloc(INBOX_TOKENS_MAX, sizeof *tokens);
	rc = inbox_token_store_list(txn_view(txn), owner, tokens, &n_tokens, e);
	for (size_t i = 0; rc == 0 && i < n_tokens; i++) {
		inbox_token_store_delete(txn, &tokens[i]);
	}
	free(tokens);
	if (rc == 0) {
		*ret_n = n + n_tokens;
	}
	return rc;
}
