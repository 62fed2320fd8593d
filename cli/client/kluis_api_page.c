/* kluis_api.h: heads, changes, pages, commits. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "cli/client/kluis_api.h"
#include "cli/client/kluis_impl.h"

int kluis_api_head(struct kluis *k, const unsigned char *vault_id,
	unsigned char ret_head[KLUIS_HEAD_BYTES], struct kluis_failure *error)
{
	struct err e = {0};
	int rc = api_head(kluis_api_begin(k), vault_id, ret_head, &e);

	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_heads(struct kluis *k, const unsigned char *vault_id, uint64_t since,
	unsigned char **ret_heads, size_t *ret_n, int *ret_done, struct kluis_failure *error)
{
	struct buf heads = BUF_INIT;
	struct err e = {0};
	bool done;
	int rc = api_heads(kluis_api_begin(k), vault_id, since, &heads, &done, &e);

	if (rc == 0) {
		*ret_heads = x_memdup(heads.data, heads.len);
		*ret_n = heads.len / HEAD_BYTES;
		*ret_done = done;
	}
	buf_release(&heads);
	return kluis_api_end(k, rc, &e, error);
}

static struct kluis_change *changes_copy(const struct api_change *from, size_t n)
{
	struct kluis_change *to = x_calloc(n + 1, sizeof *to);

	for (size_t i = 0; i < n; i++) {
		to[i] = (struct kluis_change){.seq = from[i].seq,
			.page_no = from[i].page_no,
			.revision = from[i].revision,
			.epoch = from[i].epoch};
		memcpy(to[i].leaf, from[i].leaf, HASH_BYTES);
	}
	return to;
}

int kluis_api_changes(struct kluis *k, const unsigned char *vault_id, const char *since,
	struct kluis_change **ret_changes, size_t *ret_n, char **ret_next, int *ret_done,
	struct kluis_failure *error)
{
	char first[HEX_LEN(ID_BYTES) + 3];
	struct api_change *changes;
	struct err e = {0};
	bool done;
	int rc;

	if (since == NULL) {
		hex_encode(bytes_of(k->profile->lineage, ID_BYTES), first);
		memcpy(first + HEX_LEN(ID_BYTES), ":0", 3);
		since = first;
	}
	if (!api_cursor_valid(since)) {
		return kluis_give(
			err_set(&e, KLUIS_EINVAL, "'since' is not what an answer gave as its next"),
			&e, error);
	}
	rc = api_changes(kluis_api_begin(k), vault_id, since, &changes, ret_n, ret_next, &done, &e);
	if (rc == 0) {
		*ret_changes = changes_copy(changes, *ret_n);
		*ret_done = done;
		free(changes);
	}
	return kluis_api_end(k, rc, &e, error);
}

/* Hands out what a buffer holds. */
static void page_give(struct buf *page, int rc, void **ret_page, size_t *ret_len)
{
	if (rc == 0) {
		*ret_page = x_memdup(page->data, page->len);
		*ret_len = page->len;
	}
	buf_release(page);
}

int kluis_api_page(struct kluis *k, const unsigned char *vault_id, uint64_t page_no,
	void **ret_page, size_t *ret_len, struct kluis_failure *error)
{
	struct buf page = BUF_INIT;
	struct err e = {0};
	int rc = api_page(kluis_api_begin(k), vault_id, page_no, &page, &e);

	page_give(&page, rc, ret_page, ret_len);
	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_pages(struct kluis *k, const unsigned char *vault_id, const uint64_t *page_nos,
	size_t n, kluis_page_fn *each, void *arg, struct kluis_failure *error)
{
	struct bytes pages[PAGES_GET_MAX];
	struct buf body = BUF_INIT;
	struct err e = {0};
	int rc;

	if (n == 0 || n > PAGES_GET_MAX) {
		return kluis_give(
			err_set(&e, KLUIS_EINVAL, "1 to %d pages can be asked for", PAGES_GET_MAX),
			&e, error);
	}
	rc = api_pages(kluis_api_begin(k), vault_id, page_nos, n, &body, pages, &e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		each(arg, page_nos[i], pages[i].data, pages[i].len);
	}
	buf_release(&body);
	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_page_put(struct kluis *k, const unsigned char *vault_id, uint64_t page_no,
	const void *page, size_t len, const void *head, const char *etag,
	struct kluis_failure *error)
{
	struct err e = {0};
	int rc = etag == NULL ? 0 : kluis_api_field(etag, &e);

	rc = rc != 0 ? rc
		     : api_page_put(kluis_api_begin(k), vault_id, page_no, bytes_of(page, len),
			       bytes_of(head, HEAD_BYTES), etag, &e);
	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_versions(struct kluis *k, const unsigned char *vault_id, uint64_t page_no,
	struct kluis_page_version **ret_versions, size_t *ret_n, struct kluis_failure *error)
{
	struct api_version_row from[LIST_LIMIT_MAX];
	struct kluis_page_version *to;
	struct err e = {0};
	size_t n;
	int rc = api_versions(kluis_api_begin(k), vault_id, page_no, from, &n, &e);

	if (rc != 0) {
		return kluis_api_end(k, rc, &e, error);
	}
	to = x_calloc(n + 1, sizeof *to);
	for (size_t i = 0; i < n; i++) {
		to[i] = (struct kluis_page_version){.revision = from[i].revision,
			.bytes = from[i].bytes,
			.written_ms = from[i].written_ms,
			.epoch = from[i].epoch};
		memcpy(to[i].sha256, from[i].sha256, HASH_BYTES);
	}
	*ret_versions = to;
	*ret_n = n;
	return kluis_api_end(k, 0, &e, error);
}

int kluis_api_version_page(struct kluis *k, const unsigned char *vault_id, uint64_t page_no,
	uint64_t revision, void **ret_page, size_t *ret_len, struct kluis_failure *error)
{
	struct buf page = BUF_INIT;
	struct err e = {0};
	int rc = api_version(kluis_api_begin(k), vault_id, page_no, revision, &page, &e);

	page_give(&page, rc, ret_page, ret_len);
	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_staged_put(struct kluis *k, const unsigned char *vault_id,
	const unsigned char *sha256, const void *page, size_t len, struct kluis_failure *error)
{
	struct err e = {0};
	int rc = api_staged_put(kluis_api_begin(k), vault_id, sha256, bytes_of(page, len), &e);

	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_staged_there(struct kluis *k, const unsigned char *vault_id,
	const unsigned char *sha256, int *ret_there, struct kluis_failure *error)
{
	struct err e = {0};
	bool there;
	int rc = api_staged_there(kluis_api_begin(k), vault_id, sha256, &there, &e);

	if (rc == 0) {
		*ret_there = there;
	}
	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_commit(struct kluis *k, const unsigned char *vault_id, const void *head,
	const struct kluis_commit_entry *entries, size_t n, int purge, struct kluis_failure *error)
{
	_cleanup_(x_freep) struct api_entry *list = NULL;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct err e = {0};
	size_t inline_bytes = 0;
	int rc;

	if (n == 0 || n > COMMIT_ENTRIES_MAX) {
		return kluis_give(
			err_set(&e, KLUIS_EINVAL, "1 to %d pages in a commit", COMMIT_ENTRIES_MAX),
			&e, error);
	}
	list = x_calloc(n, sizeof *list);
	for (size_t i = 0; i < n; i++) {
		list[i] = (struct api_entry){.page_no = entries[i].page_no,
			.revision = entries[i].revision,
			.staged = entries[i].page_len == 0,
			.page = bytes_of(entries[i].page, entries[i].page_len)};
		memcpy(list[i].page_hash, entries[i].sha256, HASH_BYTES);
		if (entries[i].page_len > COMMIT_INLINE_BYTES_MAX - inline_bytes) {
			return kluis_give(
				err_set(&e, KLUIS_ETOOLARGE, "more than %d bytes of pages inline",
					COMMIT_INLINE_BYTES_MAX),
				&e, error);
		}
		inline_bytes += entries[i].page_len;
	}
	api_commit_body(bytes_of(head, HEAD_BYTES), list, n, &body);
	rc = api_commit(kluis_api_begin(k), vault_id, buf_bytes(&body), purge != 0, &e);
	return kluis_api_end(k, rc, &e, error);
}
