/* Signed heads and what their commits changed. */
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "crypto/member.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/cursor.h"

void head_etag(const struct vault_row *row, char to[ETAG_CHARS_MAX + 1])
{
	etag_format(row->seq, row->head_hash, to);
}

static json_t *head_json(const struct head_row *row)
{
	json_t *head = json_object();

	json_put(head, "seq", json_make_number(row->seq));
	json_put(head, "head_hash", json_make_hash(row->hash));
	json_put(head, "head", json_make_base64(row->signed_head));
	return head;
}

int head_get_read(struct api_call *call)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct vault_row vault;
	struct head_row head;
	unsigned role;
	bool not_modified = false;
	int rc = call_vault(call, MEMBER_READ, &vault, &role);

	if (rc == 0) {
		head_etag(&vault, call->etag);
		rc = call_not_modified(call, &not_modified);
	}
	if (rc != 0 || not_modified) {
		return rc;
	}
	rc = head_store_get(call->view, call->vault_id, vault.seq, &value, &head, &call->e);
	if (rc == 0) {
		call_json(call, 200, head_json(&head));
	}
	return rc;
}

int head_list_parse(struct api_call *call)
{
	int rc = vault_id_parse(call);

	if (rc == 0 && call->since.len > 0 &&
		u64_parse(buf_bytes(&call->since), INT64_MAX, &call->since_seq) != 0) {
		rc = call_fail(call, KLUIS_EINVAL, "query parameter 'since' is no number");
	}
	return rc;
}

/* At most limit heads behind `after`; *ret_more: there is one more. */
static int head_list_items(
	struct api_call *call, uint64_t after, json_t *items, uint64_t *ret_last, bool *ret_more)
{
	struct head_iter *iter = head_iter_new(call->view, call->vault_id, after);
	struct head_row row;
	int rc;

	while (!*ret_more && head_iter_next(iter, &row)) {
		*ret_more = json_array_size(items) == call->limit;
		if (!*ret_more) {
			*ret_last = row.seq;
			(void)json_array_append_new(items, head_json(&row));
		}
	}
	rc = *ret_more ? 0 : head_iter_status(iter, &call->e);
	head_iter_free(iter);
	return rc;
}

int head_list_read(struct api_call *call)
{
	uint8_t key[8];
	const uint8_t *cursor;
	struct vault_row vault;
	unsigned role;
	uint64_t last = 0;
	bool more = false;
	json_t *items;
	int rc = call_vault(call, MEMBER_READ, &vault, &role);

	if (rc == 0) {
		rc = call_cursor(call, sizeof key, &cursor);
	}
	if (rc != 0) {
		return rc;
	}
	items = json_array();
	rc = head_list_items(
		call, cursor == NULL ? call->since_seq : load_u64(cursor), items, &last, &more);
	if (rc != 0) {
		json_decref(items);
		return rc;
	}
	store_u64(key, last);
	call_list(call, items, bytes_of(key, more ? sizeof key : 0));
	return 0;
}

int change_list_parse(struct api_call *call)
{
	int rc = vault_id_parse(call);

	if (rc != 0) {
		return rc;
	}
	rc = since_parse(buf_bytes(&call->since), call->api->config.lineage, &call->since_seq,
		&call->since_page);
	if (rc == KLUIS_ELINEAGE) {
		return call_fail(call, rc, "'since' is of the cluster before it was restored");
	}
	return rc == 0 ? 0 : call_fail(call, rc, "query parameter 'since' is missing or malformed");
}

static json_t *change_json(const struct change *change)
{
	json_t *item = json_object();

	json_put(item, "seq", json_make_number(change->seq));
	json_put(item, "page", json_make_number(change->page.page_no));
	json_put(item, "revision", json_make_number(change->page.revision));
	json_put(item, "epoch", json_make_number(change->page.key_epoch));
	json_put(item, "leaf", json_make_hash(change->page.leaf));
	return item;
}

int change_list_read(struct api_call *call)
{
	_cleanup_(x_freep) struct change *changes = x_calloc(call->limit, sizeof *changes);
	_cleanup_(buf_release) struct buf next = BUF_INIT;
	struct change_cursor cursor = {call->since_seq, call->since_page};
	struct vault_row vault;
	unsigned role;
	size_t n;
	bool done;
	json_t *list, *items;
	int rc = call_vault(call, MEMBER_READ, &vault, &role);

	if (rc == 0) {
		rc = head_store_changes(call->view, call->vault_id, &cursor, changes, call->limit,
			&n, &done, &call->e);
	}
	if (rc != 0) {
		return rc;
	}
	items = json_array();
	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(items, change_json(&changes[i]));
	}
	since_format(call->api->config.lineage, done ? vault.seq : cursor.seq,
		done ? UINT64_MAX : cursor.page_no, &next);
	list = json_make_list(items, buf_str(&next));
	json_put(list, "done", json_boolean(done));
	call_json(call, 200, list);
	return 0;
}
