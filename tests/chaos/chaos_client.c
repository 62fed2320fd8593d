#include "tests/chaos/chaos_client.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "crypto/page.h"

enum {
	PATIENT_MS = 12000, /* Longer than a node's own patience: its answer is seen. */
	EASY_EACH = 5,	    /* One of so many clients is easily satisfied, see client_is_easy(). */
};

struct level {
	const char *name, *query;
};
static const struct level levels[] = {
	{"lin", ""}, {"ses", "?consistency=session"}, {"stale", "?consistency=stale"}};

void chaos_client_init(
	struct chaos_client *client, struct chaos_world *world, unsigned number, uint64_t seed)
{
	*client = (struct chaos_client){.world = world, .number = number};
	random_seeded_init(&client->random, seed * CHAOS_CLIENTS_MAX + number);
	client->attempt_ms = number % 4 == 3 ? PATIENT_MS : world->attempt_ms;
	client->at = number % (unsigned)world->n_addresses;
}

void chaos_client_release(struct chaos_client *client)
{
	for (size_t i = 0; i < CLIENT_ENDPOINTS_MAX; i++) {
		http_conn_free(client->conns[i]);
	}
	for (size_t i = 0; i < CHAOS_VAULTS_MAX; i++) {
		free(client->views[i].cursor);
	}
	buf_release(&client->line);
}

/* --- Reads ------------------------------------------------------------------------------------ */

/* Reads only, and only what needs no quorum: it does not get stuck at a node that is cut off, and
 * sees what that one still says. */
static bool client_is_easy(const struct chaos_client *client)
{
	return client->number % EASY_EACH == EASY_EACH - 1;
}

static const struct level *read_level(struct chaos_client *client)
{
	uint64_t chance = random_below(&client->random.random, 100);

	if (client_is_easy(client)) {
		return &levels[chance < 25 && client->seen_index > 0 ? 1 : 2];
	}
	if (chance < 55 || client->seen_index == 0) {
		return &levels[0];
	}
	return chance < 85 ? &levels[1] : &levels[2];
}

/* Room for the value of Kluis-Min-Index. */
struct read_index {
	char text[HEX_LEN(ID_BYTES) + 32];
	uint64_t asked;
};

static void read_condition(struct chaos_client *client, const struct level *level,
	struct chaos_call *call, struct read_index *index)
{
	char lineage[HEX_LEN(ID_BYTES) + 1];

	index->asked = 0;
	if (level != &levels[1]) {
		return;
	}
	index->asked = client->seen_index;
	hex_encode(bytes_of(client->world->profile->lineage, ID_BYTES), lineage);
	(void)snprintf(index->text, sizeof index->text, "%s:%" PRIu64, lineage, index->asked);
	call->fields[0] = (struct http_field){"Kluis-Min-Index", index->text};
}

/* One page of the record; a view that was waiting for its hash learns it. False: no such page. */
static bool read_page_record(struct chaos_client *client, unsigned vault, unsigned page_no,
	struct bytes page, bool first)
{
	struct chaos_page *view = &client->views[vault].pages[page_no];
	struct page_header header = {0};
	uint8_t hash[HASH_BYTES] = {0};
	struct err ignored = {0};

	if (page.len > 0 && page_parse(page, &header, &ignored) != 0) {
		return false;
	}
	if (page.len > 0) {
		hash_sha256(page, hash);
	}
	buf_printf(&client->line, "%s[%u,%" PRIu64 ",", first ? "" : ",", page_no,
		header.place.revision);
	history_hash(&client->line, hash);
	buf_printf(&client->line, "]");
	if (header.place.revision > 0 && header.place.revision == view->revision) {
		memcpy(view->hash, hash, HASH_BYTES);
		view->hash_known = true;
	}
	return true;
}

static bool read_pages_record(
	struct chaos_client *client, unsigned vault, struct bytes body, unsigned n)
{
	struct wire w = wire_of(body);

	for (unsigned i = 0; i < n; i++) {
		if (!read_page_record(client, vault, i, wire_lp32(&w, PAGE_BYTES_MAX), i == 0)) {
			return false;
		}
	}
	return wire_end(&w);
}

static void read_record(struct chaos_client *client, unsigned vault, struct chaos_call *call,
	const struct level *level, const struct read_index *index, int page_no)
{
	struct buf *line = &client->line;
	bool ok = call->state == CALL_ANSWERED && call->rc == 0;
	bool missing = call->state == CALL_ANSWERED && call->rc == KLUIS_ENOTFOUND;

	chaos_call_record(client, call, "r", vault, ok || missing ? "ok" : "no");
	buf_printf(line, ",\"l\":\"%s\"", level->name);
	if (index->asked > 0) {
		buf_printf(line, ",\"m\":%" PRIu64, index->asked);
	}
	if (ok || missing) {
		buf_printf(line, ",\"st\":%" PRIu64 ",\"ps\":[", call->staleness_ms);
		ok = page_no >= 0 ? read_page_record(client, vault, (unsigned)page_no,
					    buf_bytes(&call->answer.body), true)
				  : read_pages_record(client, vault, buf_bytes(&call->answer.body),
					    client->world->n_pages);
		buf_printf(line, "%s]", ok ? "" : "[0,0,\"malformed\"]");
	}
	buf_printf(line, "}");
	history_append(client->world->history, line);
}

static void read_one(struct chaos_client *client, unsigned vault)
{
	const struct level *level = read_level(client);
	unsigned page_no = (unsigned)random_below(&client->random.random, client->world->n_pages);
	struct chaos_call call = {.method = "GET", .answer_max = PAGE_BYTES_MAX};
	struct read_index index;

	chaos_call_target(&call, client, vault, "pages/%u%s", page_no, level->query);
	read_condition(client, level, &call, &index);
	chaos_call_run(client, &call);
	if (call.rc == KLUIS_ENOTFOUND) {
		buf_clear(&call.answer.body); /* What it says of that is no page. */
	}
	read_record(client, vault, &call, level, &index, (int)page_no);
	chaos_call_release(&call);
}

/* All pages, of one state. */
static void read_all(struct chaos_client *client, unsigned vault)
{
	const struct level *level = read_level(client);
	struct chaos_call call = {.method = "POST",
		.type = "application/json",
		.answer_max = CHAOS_PAGES_MAX * (PAGE_BYTES_MAX + 4)};
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct read_index index;

	for (unsigned i = 0; i < client->world->n_pages; i++) {
		buf_printf(&body, "%s%u", i == 0 ? "{\"pages\":[" : ",", i);
	}
	buf_printf(&body, "]}");
	call.body = buf_bytes(&body);
	chaos_call_target(&call, client, vault, "pages:get%s", level->query);
	read_condition(client, level, &call, &index);
	chaos_call_run(client, &call);
	read_record(client, vault, &call, level, &index, -1);
	chaos_call_release(&call);
}

void chaos_client_step(struct chaos_client *client)
{
	struct random *random = &client->random.random;
	unsigned n = client->world->n_vaults, vault = client->number % n;
	struct chaos_view *view;

	if (random_below(random, 3) == 0) { /* Mostly its own, shared with few. */
		vault = (unsigned)random_below(random, n);
	}
	view = &client->views[vault];
	if (!client_is_easy(client) && random_below(random, 100) < 50) {
		/* Now and then on an old state, so that the cluster has something to refuse. */
		bool bold = view->known && random_below(random, 10) == 0;

		if (bold || view->current || chaos_view_refresh(client, vault)) {
			chaos_write(client, vault);
		}
	} else if (random_below(random, 3) > 0) {
		read_one(client, vault);
	} else {
		read_all(client, vault);
	}
}
