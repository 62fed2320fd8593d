/* What a client believes of a vault, and the commits it builds on that. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/client/json_reader.h"
#include "crypto/merkle.h"
#include "crypto/page.h"
#include "tests/chaos/chaos_client.h"

enum { REFRESH_TRIES = 4, WRITE_CONTENT_BYTES = 256, WRITE_PAGES_MAX = 3, ANSWER_BYTES = 1 << 20 };

/* --- The view --------------------------------------------------------------------------------- */

/* The tree over the view's pages; those below `count` that were never written have a leaf, too. */
static void view_root(const struct chaos_view *view, const uint8_t id[ID_BYTES], uint64_t count,
	uint8_t ret_root[HASH_BYTES])
{
	struct merkle *tree = merkle_new();

	assert(count <= CHAOS_PAGES_MAX);
	for (uint64_t i = 0; i < count; i++) {
		uint8_t leaf[HASH_BYTES];

		if (view->pages[i].revision == 0) {
			page_leaf_unwritten(id, i, leaf);
		} else {
			memcpy(leaf, view->pages[i].leaf, HASH_BYTES);
		}
		merkle_set(tree, i, leaf);
	}
	merkle_root(tree, ret_root);
	merkle_free(tree);
}

static bool change_take(struct chaos_view *view, const json_t *item)
{
	struct json_reader r = json_reader_of(item);
	uint64_t page = json_reader_u64(&r, "page"), revision = json_reader_u64(&r, "revision");
	uint8_t leaf[HASH_BYTES];

	json_reader_hex(&r, "leaf", leaf, HASH_BYTES);
	if (r.failed != NULL || page >= CHAOS_PAGES_MAX) {
		return false;
	}
	if (revision != view->pages[page].revision ||
		memcmp(leaf, view->pages[page].leaf, HASH_BYTES) != 0) {
		view->pages[page].revision = revision;
		view->pages[page].hash_known = false;
		memcpy(view->pages[page].leaf, leaf, HASH_BYTES);
	}
	return true;
}

/* One answer of the list of changes; *ret_done: it was the last. */
static bool changes_take(struct chaos_view *view, const struct http_answer *answer, bool *ret_done)
{
	_cleanup_(json_dropp) json_t *object = NULL;
	struct err ignored = {0};
	struct json_reader r;
	const json_t *items;
	const char *next;

	if (json_object_parse(buf_bytes(&answer->body), &object, &ignored) != 0) {
		return false;
	}
	r = json_reader_of(object);
	items = json_reader_array(&r, "items");
	next = json_reader_string(&r, "next");
	*ret_done = json_reader_bool(&r, "done");
	if (r.failed != NULL || !api_cursor_valid(next)) {
		return false;
	}
	for (size_t i = 0; i < json_array_size(items); i++) {
		if (!change_take(view, json_array_get(items, i))) {
			return false;
		}
	}
	free(view->cursor);
	view->cursor = x_strdup(next);
	return true;
}

static bool refresh_changes(struct chaos_client *client, unsigned vault)
{
	struct chaos_view *view = &client->views[vault];
	bool done = false, ok = true;

	while (ok && !done) {
		struct chaos_call call = {.method = "GET", .answer_max = ANSWER_BYTES};
		char lineage[HEX_LEN(ID_BYTES) + 1];

		hex_encode(bytes_of(client->world->profile->lineage, ID_BYTES), lineage);
		chaos_call_target(&call, client, vault, "changes?limit=500&since=%s%s",
			view->cursor == NULL ? lineage : view->cursor,
			view->cursor == NULL ? ":0" : "");
		chaos_call_run(client, &call);
		ok = call.state == CALL_ANSWERED && call.rc == 0 &&
		     changes_take(view, &call.answer, &done);
		if (!ok) {
			chaos_call_record(client, &call, "c", vault, "no");
			buf_printf(&client->line, "}");
			history_append(client->world->history, &client->line);
		}
		chaos_call_release(&call);
	}
	return ok;
}

static bool head_take(const struct http_answer *answer, struct head *ret_head)
{
	_cleanup_(json_dropp) json_t *object = NULL;
	struct err ignored = {0};
	uint8_t encoded[HEAD_BYTES];
	struct json_reader r;

	if (json_object_parse(buf_bytes(&answer->body), &object, &ignored) != 0) {
		return false;
	}
	r = json_reader_of(object);
	json_reader_base64_exact(&r, "head", encoded, HEAD_BYTES);
	return r.failed == NULL &&
	       head_parse(bytes_of(encoded, HEAD_BYTES), ret_head, &ignored) == 0;
}

static bool refresh_head(struct chaos_client *client, unsigned vault)
{
	struct chaos_view *view = &client->views[vault];
	struct chaos_call call = {.method = "GET", .answer_max = ANSWER_BYTES};
	bool ok;

	chaos_call_target(&call, client, vault, "head");
	chaos_call_run(client, &call);
	ok = call.state == CALL_ANSWERED && call.rc == 0 && head_take(&call.answer, &view->head);
	chaos_call_record(client, &call, "h", vault, ok ? "ok" : "no");
	buf_printf(&client->line, ",\"l\":\"lin\"");
	if (ok) {
		buf_printf(&client->line, ",\"q\":%" PRIu64 ",\"h\":", view->head.seq);
		history_hash(&client->line, view->head.hash);
	}
	buf_printf(&client->line, "}");
	history_append(client->world->history, &client->line);
	chaos_call_release(&call);
	return ok;
}

/* A head that does not name the pages that the same node listed: nobody may ever see that. */
static void view_check_root(struct chaos_client *client, unsigned vault)
{
	struct chaos_view *view = &client->views[vault];
	uint8_t root[HASH_BYTES];

	view_root(view, client->world->vaults[vault].id, view->head.page_count, root);
	if (memcmp(root, view->head.merkle_root, HASH_BYTES) != 0) {
		buf_clear(&client->line);
		buf_printf(&client->line,
			"{\"o\":\"bad\",\"c\":%u,\"v\":%u,\"e\":%u,\"why\":\"head %" PRIu64
			" does not name the pages that were listed\"}",
			client->number, vault, client->at + 1, view->head.seq);
		history_append(client->world->history, &client->line);
	}
}

bool chaos_view_refresh(struct chaos_client *client, unsigned vault)
{
	struct chaos_view *view = &client->views[vault];

	view->current = view->known = false;
	for (unsigned i = 0; i < REFRESH_TRIES; i++) {
		char seq[32];

		if (!refresh_changes(client, vault) || !refresh_head(client, vault)) {
			return false;
		}
		(void)snprintf(seq, sizeof seq, ":%" PRIu64, view->head.seq);
		if (view->cursor != NULL && strcmp(strrchr(view->cursor, ':'), seq) == 0) {
			view_check_root(client, vault);
			view->current = view->known = true;
			return true;
		}
	}
	return false;
}

/* --- A commit --------------------------------------------------------------------------------- */

struct write {
	struct chaos_view next; /* The view once it is done. */
	unsigned n, pages[WRITE_PAGES_MAX];
	struct buf bytes[WRITE_PAGES_MAX], head, body;
};

static void write_release(struct write *w)
{
	for (unsigned i = 0; i < w->n; i++) {
		buf_release(&w->bytes[i]);
	}
	buf_release(&w->head);
	buf_release(&w->body);
}

/* Pages in ascending order. */
static void write_choose(struct write *w, struct chaos_client *client)
{
	struct random *random = &client->random.random;
	unsigned most = random_below(random, 5) == 0 ? WRITE_PAGES_MAX : 1;
	unsigned first = (unsigned)random_below(random, client->world->n_pages);

	for (unsigned i = 0; i < most && first + i < client->world->n_pages; i++) {
		w->pages[w->n++] = first + i;
	}
}

static void write_seal(struct write *w, unsigned i, struct chaos_client *client, unsigned vault)
{
	const struct chaos_vault *of = &client->world->vaults[vault];
	struct chaos_page *page = &w->next.pages[w->pages[i]];
	struct page_spec spec = {
		.place = {.page_no = w->pages[i], .revision = page->revision + 1, .key_epoch = 1},
		.sym = SYM_AES_256,
		.kind = PAGE_CHUNK};
	uint8_t content[WRITE_CONTENT_BYTES];
	struct err e = {0};
	int rc;

	memcpy(spec.place.vault_id, of->id, ID_BYTES);
	memcpy(spec.device_id, client->world->profile->device_id, ID_BYTES);
	random_fill(&client->random.random, content, sizeof content);
	rc = page_seal(secret_bytes(&of->key), &spec, bytes_of(content, sizeof content),
		&random_system, &w->bytes[i], &e);
	assert(rc == 0);
	page->revision++;
	page->hash_known = true;
	hash_sha256(buf_bytes(&w->bytes[i]), page->hash);
	page_leaf(&spec.place, page->hash, page->leaf);
}

static void write_sign(struct write *w, struct chaos_client *client, unsigned vault)
{
	const struct profile *profile = client->world->profile;
	struct head head = w->next.head;
	struct err e = {0};
	int rc;

	head.seq++;
	memcpy(head.prev_hash, w->next.head.hash, HASH_BYTES);
	if (head.page_count < w->pages[w->n - 1] + 1) {
		head.page_count = w->pages[w->n - 1] + 1;
	}
	head.unix_ms = clock_wall_ms(&clock_system);
	view_root(&w->next, client->world->vaults[vault].id, head.page_count, head.merkle_root);
	rc = head_sign(&head, profile->device, &w->head, &e);
	rc = rc != 0 ? rc : head_parse(buf_bytes(&w->head), &w->next.head, &e);
	assert(rc == 0);
}

/* As a PUT with a condition, for which the page's present hash must be known. */
static void write_as_put(struct write *w, const struct chaos_page *before,
	struct chaos_client *client, unsigned vault, struct chaos_call *call, char etag[64])
{
	char hex[HEX_LEN(8) + 1];

	call->method = "PUT";
	call->body = buf_bytes(&w->bytes[0]);
	chaos_call_target(call, client, vault, "pages/%u", w->pages[0]);
	base64_append(&w->body, buf_bytes(&w->head));
	call->fields[0] = (struct http_field){"Kluis-Head", buf_str(&w->body)};
	if (before->revision == 0) {
		call->fields[1] = (struct http_field){"If-None-Match", "*"};
	} else {
		hex_encode(bytes_of(before->hash, 8), hex);
		(void)snprintf(etag, 64, "\"%" PRIu64 "-%s\"", before->revision, hex);
		call->fields[1] = (struct http_field){"If-Match", etag};
	}
}

static void write_as_commit(
	struct write *w, struct chaos_client *client, unsigned vault, struct chaos_call *call)
{
	struct api_entry entries[WRITE_PAGES_MAX] = {0};

	for (unsigned i = 0; i < w->n; i++) {
		entries[i] = (struct api_entry){.page_no = w->pages[i],
			.revision = w->next.pages[w->pages[i]].revision,
			.page = buf_bytes(&w->bytes[i])};
	}
	api_commit_body(buf_bytes(&w->head), entries, w->n, &w->body);
	call->method = "POST";
	call->body = buf_bytes(&w->body);
	chaos_call_target(call, client, vault, "commits");
}

static void write_record(struct write *w, struct chaos_client *client, unsigned vault,
	const struct chaos_call *call, const char *outcome)
{
	struct buf *line = &client->line;

	chaos_call_record(client, call, "w", vault, outcome);
	buf_printf(line, ",\"q\":%" PRIu64 ",\"h\":", w->next.head.seq);
	history_hash(line, w->next.head.hash);
	buf_printf(line, ",\"b\":");
	history_hash(line, w->next.head.prev_hash);
	buf_printf(line, ",\"ps\":[");
	for (unsigned i = 0; i < w->n; i++) {
		const struct chaos_page *page = &w->next.pages[w->pages[i]];

		buf_printf(
			line, "%s[%u,%" PRIu64 ",", i == 0 ? "" : ",", w->pages[i], page->revision);
		history_hash(line, page->hash);
		buf_printf(line, "]");
	}
	buf_printf(line, "]}");
	history_append(client->world->history, line);
}

/* What the answer says of the write; docs/openapi.yaml and raft/propose.h: only outcome-unknown
 * and internal errors leave it open. */
static const char *write_outcome(const struct chaos_call *call)
{
	if (call->state == CALL_NOT_SENT) {
		return "no";
	}
	if (call->state == CALL_LOST || call->rc == KLUIS_EUNKNOWN_OUTCOME ||
		err_http_status(call->rc) == 500) {
		return "un";
	}
	return call->rc == 0 ? "ok" : "no";
}

void chaos_write(struct chaos_client *client, unsigned vault)
{
	struct chaos_view *view = &client->views[vault];
	struct chaos_call call = {.type = "application/octet-stream", .answer_max = ANSWER_BYTES};
	struct write w = {.next = *view};
	const char *outcome;
	char etag[64];

	assert(view->known);
	write_choose(&w, client);
	for (unsigned i = 0; i < w.n; i++) {
		write_seal(&w, i, client, vault);
	}
	write_sign(&w, client, vault);
	if (w.n == 1 &&
		(view->pages[w.pages[0]].revision == 0 || view->pages[w.pages[0]].hash_known)) {
		write_as_put(&w, &view->pages[w.pages[0]], client, vault, &call, etag);
	} else {
		write_as_commit(&w, client, vault, &call);
	}
	chaos_call_run(client, &call);
	outcome = write_outcome(&call);
	if (call.state != CALL_NOT_SENT) {
		write_record(&w, client, vault, &call, outcome);
	} else {
		chaos_call_record(client, &call, "c", vault, "no"); /* Moves on. */
		buf_printf(&client->line, "}");
		history_append(client->world->history, &client->line);
	}
	if (call.state == CALL_ANSWERED && call.rc == 0) {
		w.next.cursor = view->cursor;
		*view = w.next;
	} else if (call.state != CALL_NOT_SENT) {
		view->current = false;
	}
	chaos_call_release(&call);
	write_release(&w);
}
