#include "tests/lib/cli_fixture/fake_chat.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "cli/client/json_reader.h"
#include "cli/client/packets.h"
#include "storage/chat_store.h"
#include "tests/lib/certs.h"
#include "tests/lib/cli_fixture/cli_fixture.h"

struct fake_chat *fake_chat;
static char *accounts_dir;

static struct profile *account_make(size_t i, const char *dir)
{
	static const char *const endpoints[] = {"https://127.0.0.1:1"};
	static const char *const names[] = {"alice", "bob", "carol"};
	struct api_cluster cluster = {.cluster_id = {7}, .lineage = {8}};
	struct pki_identity ca = {0};
	struct profile *profile;
	struct err e = {0};

	certs_ca(&ca); /* Nobody is connected to. */
	buf_append_bytes(&cluster.ca_pem, buf_bytes(&ca.cert_pem));
	pki_identity_release(&ca);
	assert_int_equal(
		profile_make(dir, &cluster, names[i], "laptop", endpoints, 1, &profile, &e), 0);
	profile->enrolled = true;
	assert_int_equal(profile_save(profile, &e), 0);
	api_cluster_release(&cluster);
	return profile;
}

int fake_chat_accounts(void **state)
{
	(void)state;
	accounts_dir = scratch_new("accounts");
	for (size_t i = 0; i < FAKE_CHAT_USERS; i++) {
		_cleanup_(x_freep) char *dir = x_asprintf("%s/%zu", accounts_dir, i);

		profile_close(account_make(i, dir));
	}
	return 0;
}

int fake_chat_accounts_free(void **state)
{
	(void)state;
	scratch_free(accounts_dir);
	return 0;
}

static void user_open(struct fake_chat *f, size_t i)
{
	static const char *const endpoints[] = {"https://127.0.0.1:1"};
	const struct client_config config = {.endpoints = endpoints, .n_endpoints = 1};
	struct fake_user *u = &f->users[i];

	assert_int_equal(profile_open(u->dir, &u->profile, &f->err), 0);
	assert_int_equal(client_new(&config, &u->client, &f->err), 0);
	u->people = people_new(u->profile, u->client);
}

static void user_close(struct fake_user *u)
{
	people_free(u->people);
	client_free(u->client);
	profile_close(u->profile);
}

void fake_chat_reopen(struct fake_chat *f, size_t user)
{
	user_close(&f->users[user]);
	user_open(f, user);
}

int fake_chat_setup(void **state)
{
	struct fake_chat *f = x_calloc(1, sizeof *f);

	fake_chat = f;
	f->dir = scratch_new("chat");
	f->now_ms = 1700000000000ULL;
	members_init(&f->members);
	for (size_t i = 0; i < FAKE_CHAT_USERS; i++) {
		_cleanup_(x_freep) char *from = x_asprintf("%s/%zu", accounts_dir, i);

		f->users[i].dir = x_asprintf("%s/%zu", f->dir, i);
		cli_fixture_copy(from, f->users[i].dir);
		user_open(f, i);
	}
	*state = f;
	return 0;
}

int fake_chat_teardown(void **state)
{
	struct fake_chat *f = *state;

	for (size_t i = 0; i < FAKE_CHAT_USERS; i++) {
		user_close(&f->users[i]);
		free(f->users[i].dir);
		buf_release(&f->users[i].statement);
	}
	for (size_t i = 0; i < f->n_statements; i++) {
		buf_release(&f->statements[i]);
	}
	for (size_t i = 0; i < f->n_messages; i++) {
		buf_release(&f->messages[i].bytes);
	}
	for (size_t i = 0; i < f->n_packets; i++) {
		buf_release(&f->packets[i].bytes);
	}
	for (size_t i = 0; i < f->n_documents; i++) {
		buf_release(&f->documents[i].bytes);
	}
	free(f->statements);
	free(f->messages);
	free(f->packets);
	free(f->documents);
	members_release(&f->members);
	scratch_free(f->dir);
	free(f);
	return 0;
}

const uint8_t *fake_chat_user_id(const struct fake_chat *f, size_t user)
{
	return f->users[user].profile->user_id;
}

static size_t user_of(const struct fake_chat *f, const uint8_t id[ID_BYTES])
{
	for (size_t i = 0; i < FAKE_CHAT_USERS; i++) {
		if (memcmp(fake_chat_user_id(f, i), id, ID_BYTES) == 0) {
			return i;
		}
	}
	return FAKE_CHAT_USERS;
}

/* The routes. */

static json_t *statement_list(const struct buf *statements, size_t from, size_t n)
{
	json_t *items = json_array();

	for (size_t i = from; i < n; i++) {
		(void)json_array_append_new(items,
			json_pack("{s:o}", "statement", json_base64(buf_bytes(&statements[i]))));
	}
	return json_pack("{s:o, s:n, s:b}", "items", items, "next", "done", 1);
}

static json_t *route_identity(struct fake_chat *f, size_t i)
{
	struct buf statements[] = {f->users[i].profile->genesis,
		f->users[i].profile->device_statement, f->users[i].statement};

	return statement_list(statements, 0, statements[2].len > 0 ? 3 : 2);
}

static uint64_t last_seq(const struct fake_chat *f)
{
	return f->n_messages == 0 ? 0 : f->messages[f->n_messages - 1].seq;
}

static json_t *conversation_json(const struct fake_chat *f, size_t user)
{
	const struct member *m = members_find(&f->members, fake_chat_user_id(f, user));
	static const char *const roles[] = {"none", "read", "write", "admin"};

	return json_pack("{s:o, s:s, s:s, s:I, s:I, s:o, s:I, s:b, s:I}", "id",
		json_hex(bytes_of(f->id, ID_BYTES)), "role", roles[m == NULL ? 0 : m->role],
		"state", f->states[user], "created_ms", (json_int_t)f->now_ms, "members_rev",
		(json_int_t)f->members.seq, "members_hash",
		json_hex(bytes_of(f->members.hash, HASH_BYTES)), "chat_epoch", (json_int_t)f->epoch,
		"chat_stale", f->stale, "last_seq", (json_int_t)last_seq(f));
}

static int members_take(struct fake_chat *f, struct bytes statement)
{
	const struct identity *identities[FAKE_CHAT_USERS];
	struct signer_identities signers;

	for (size_t i = 0; i < FAKE_CHAT_USERS; i++) {
		identities[i] = &f->users[i].profile->identity;
	}
	signer_identities_init(&signers, identities, FAKE_CHAT_USERS);
	return members_append(&f->members, statement, &signers.table, &f->err);
}

static int take_statement(struct fake_chat *f, const char *text)
{
	struct buf *to;
	int rc;

	f->statements = x_realloc(f->statements, (f->n_statements + 1) * sizeof *f->statements);
	to = &f->statements[f->n_statements];
	*to = BUF_INIT;
	assert_int_equal(base64_decode(bytes_str(text), STATEMENT_BYTES_MAX, to), 0);
	rc = members_take(f, buf_bytes(to));
	if (rc != 0) {
		buf_release(to);
		return KLUIS_EPRECONDITION;
	}
	f->n_statements++;
	f->stale = true;
	for (size_t i = 0; i < FAKE_CHAT_USERS; i++) {
		bool is = members_find(&f->members, fake_chat_user_id(f, i)) != NULL;

		if (is && f->states[i][0] == 0) {
			(void)snprintf(f->states[i], sizeof f->states[i], "%s",
				f->n_statements == 1 ? "accepted" : "invited");
		} else if (!is) {
			f->states[i][0] = 0;
		}
	}
	return 0;
}

static int take_statements(struct fake_chat *f, const json_t *list)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
		rc = take_statement(f, json_string_value(json_array_get(list, i)));
	}
	return rc;
}

static int route_create(struct fake_chat *f, const json_t *body)
{
	int rc = take_statement(f, json_string_value(json_object_get(body, "create")));

	memcpy(f->id, f->members.object_id, ID_BYTES);
	f->made = true;
	return rc != 0 ? rc : take_statements(f, json_object_get(body, "statements"));
}

static json_t *members_json(const struct fake_chat *f)
{
	json_t *items = json_array();

	for (size_t i = 0; i < FAKE_CHAT_USERS; i++) {
		if (f->states[i][0] != 0) {
			(void)json_array_append_new(items,
				json_pack("{s:o, s:s, s:s, s:s}", "id",
					json_hex(bytes_of(fake_chat_user_id(f, i), ID_BYTES)),
					"kind", "user", "role", "write", "state", f->states[i]));
		}
	}
	return json_pack("{s:o, s:n, s:b}", "items", items, "next", "done", 1);
}

/* Exactly one for each device of who is in it. */
static int epoch_packets(struct fake_chat *f, const json_t *list, uint32_t epoch)
{
	size_t want = 0, got = 0;

	for (size_t i = 0; i < FAKE_CHAT_USERS; i++) {
		want += f->states[i][0] != 0 && strcmp(f->states[i], "declined") != 0;
	}
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct fake_packet p = {.bytes = BUF_INIT};

		assert_int_equal(
			base64_decode(bytes_str(json_string_value(json_array_get(list, i))),
				KEYPACKET_BYTES_MAX, &p.bytes),
			0);
		assert_int_equal(keypacket_parse(buf_bytes(&p.bytes), &p.parsed, &f->err), 0);
		assert_int_equal(p.parsed.epoch, epoch);
		f->packets = x_realloc(f->packets, (f->n_packets + 1) * sizeof *f->packets);
		f->packets[f->n_packets++] = p;
		got++;
	}
	return got == want ? 0 : KLUIS_EPRECONDITION;
}

static int route_epoch(struct fake_chat *f, const json_t *body)
{
	struct json_reader r = json_reader_of(body);
	uint64_t epoch = json_reader_u64(&r, "epoch");
	uint8_t hash[HASH_BYTES];
	int rc;

	json_reader_hex(&r, "members_hash", hash, HASH_BYTES);
	assert_null(r.failed);
	if (epoch <= f->epoch || epoch - f->epoch > CHAT_EPOCHS_SKIPPED_MAX ||
		memcmp(hash, f->members.hash, HASH_BYTES) != 0) {
		return KLUIS_EPRECONDITION;
	}
	rc = epoch_packets(f, json_object_get(body, "packets"), (uint32_t)epoch);
	if (rc == 0) {
		f->epoch = (uint32_t)epoch;
		f->stale = false;
	}
	return rc;
}

static int route_message(struct fake_chat *f, size_t user, struct bytes bytes, json_t **ret)
{
	struct fake_message m = {.time_ms = ++f->now_ms, .seq = last_seq(f) + f->unseen + 1};
	struct fake_message *to = NULL;

	f->posts++;
	buf_append_bytes(&m.bytes, bytes);
	assert_int_equal(chat_parse(buf_bytes(&m.bytes), &m.parsed, &f->err), 0);
	assert_memory_equal(m.parsed.place.user_id, fake_chat_user_id(f, user), ID_BYTES);
	for (size_t i = 0; i < f->n_messages; i++) {
		const struct chat_message *other = &f->messages[i].parsed;

		if (memcmp(other->link, m.parsed.link, HASH_BYTES) == 0) {
			to = &f->messages[i];
		} else if (chat_place_equal(&other->place, &m.parsed.place) &&
			   other->index >= m.parsed.index) {
			buf_release(&m.bytes);
			return KLUIS_EPRECONDITION;
		}
	}
	if (to == NULL && (f->stale || m.parsed.place.epoch != f->epoch || f->full)) {
		buf_release(&m.bytes);
		return f->full ? KLUIS_EQUOTA : KLUIS_ECONFLICT;
	}
	if (to == NULL) {
		f->unseen = 0;
		f->messages = x_realloc(f->messages, (f->n_messages + 1) * sizeof *f->messages);
		to = &f->messages[f->n_messages++];
		*to = m;
	} else {
		buf_release(&m.bytes);
	}
	*ret = json_pack(
		"{s:I, s:I}", "seq", (json_int_t)to->seq, "time_ms", (json_int_t)to->time_ms);
	return 0;
}

static json_t *route_messages(struct fake_chat *f, size_t user, const char *target)
{
	unsigned long long after = strtoull(strstr(target, "after=") + 6, NULL, 10);
	_cleanup_(x_freep) struct fake_message *copy = x_calloc(f->n_messages + 2, sizeof *copy);
	size_t n = f->n_messages;
	json_t *items = json_array();

	memcpy(copy, f->messages, n * sizeof *copy);
	if (f->show != NULL) {
		f->show(f, user, copy, &n);
	}
	for (size_t i = 0; i < n; i++) {
		if (copy[i].seq > after) {
			(void)json_array_append_new(
				items, json_pack("{s:I, s:I, s:o}", "seq", (json_int_t)copy[i].seq,
					       "time_ms", (json_int_t)copy[i].time_ms, "message",
					       json_base64(buf_bytes(&copy[i].bytes))));
		}
	}
	return json_pack("{s:o, s:n, s:b}", "items", items, "next", "done", 1);
}

static json_t *route_packets(const struct fake_chat *f, size_t user)
{
	json_t *items = json_array();

	for (size_t i = 0; i < f->n_packets; i++) {
		if (f->packets[i].bytes.len > 0 &&
			memcmp(f->packets[i].parsed.rcpt_id, f->users[user].profile->device_id,
				ID_BYTES) == 0) {
			(void)json_array_append_new(
				items, json_pack("{s:o}", "packet",
					       json_base64(buf_bytes(&f->packets[i].bytes))));
		}
	}
	return json_pack("{s:o, s:n, s:b}", "items", items, "next", "done", 1);
}

static int route_ack(struct fake_chat *f, const char *target)
{
	char hex[HEX_LEN(ID_BYTES) + 1] = "";
	uint8_t id[ID_BYTES];

	memcpy(hex, target + strlen("/v1/packets/"), HEX_LEN(ID_BYTES));
	assert_int_equal(hex_decode(hex, id, ID_BYTES), 0);
	for (size_t i = 0; i < f->n_packets; i++) {
		if (f->packets[i].bytes.len > 0 &&
			memcmp(f->packets[i].parsed.packet_id, id, ID_BYTES) == 0) {
			buf_release(&f->packets[i].bytes);
			return 0;
		}
	}
	return KLUIS_ENOTFOUND;
}

static json_t *route_receipts(const struct fake_chat *f)
{
	json_t *items = json_array();

	for (size_t i = 0; i < FAKE_CHAT_USERS; i++) {
		const struct profile *p = f->users[i].profile;

		(void)json_array_append_new(items,
			json_pack("{s:o, s:o, s:I, s:I}", "user",
				json_hex(bytes_of(p->user_id, ID_BYTES)), "device",
				json_hex(bytes_of(p->device_id, ID_BYTES)), "delivered",
				(json_int_t)f->delivered[i], "read", (json_int_t)f->read[i]));
	}
	return json_pack("{s:o, s:n, s:b}", "items", items, "next", "done", 1);
}

static bool ends(const char *text, const char *end)
{
	size_t len = strlen(text), n = strlen(end);

	return len >= n && strcmp(text + len - n, end) == 0;
}

static int route_user(struct fake_chat *f, const char *target, json_t **ret)
{
	char hex[HEX_LEN(ID_BYTES) + 1] = "";
	uint8_t id[ID_BYTES];
	size_t i;

	if (strstr(target, "/identity?") != NULL) {
		memcpy(hex, target + strlen("/v1/users/"), HEX_LEN(ID_BYTES));
		assert_int_equal(hex_decode(hex, id, ID_BYTES), 0);
		i = user_of(f, id);
		if (i == FAKE_CHAT_USERS) {
			return KLUIS_ENOTFOUND;
		}
		*ret = route_identity(f, i);
		return 0;
	}
	for (i = 0; i < FAKE_CHAT_USERS; i++) {
		if (strcmp(f->users[i].profile->account, target + strlen("/v1/users/")) == 0) {
			*ret = json_pack("{s:o}", "user_id",
				json_hex(bytes_of(fake_chat_user_id(f, i), ID_BYTES)));
			return 0;
		}
	}
	return KLUIS_ENOTFOUND;
}

static int route_answer(struct fake_chat *f, size_t user, bool accept)
{
	(void)snprintf(
		f->states[user], sizeof f->states[user], "%s", accept ? "accepted" : "declined");
	f->stale = f->stale || !accept;
	return 0;
}

static int route_receipt(struct fake_chat *f, size_t user, const json_t *body)
{
	f->delivered[user] = (uint64_t)json_integer_value(json_object_get(body, "delivered"));
	f->read[user] = (uint64_t)json_integer_value(json_object_get(body, "read"));
	return 0;
}

static int route_inbox_delete(struct fake_chat *f, size_t user, const char *target)
{
	for (size_t i = 0; i < f->n_documents; i++) {
		char hex[HEX_LEN(ID_BYTES) + 1];
		struct inbox_document d;

		assert_int_equal(inbox_parse(buf_bytes(&f->documents[i].bytes), &d, NULL), 0);
		hex_encode(bytes_of(d.doc_id, ID_BYTES), hex);
		if (f->documents[i].owner == user && strstr(target, hex) != NULL) {
			buf_release(&f->documents[i].bytes);
			f->documents[i] = f->documents[--f->n_documents];
			return 0;
		}
	}
	return KLUIS_ENOTFOUND;
}

static const char fake_token[] = "kin_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ";

static int route_deposit(struct fake_chat *f, size_t user, const struct client_request *request)
{
	struct fake_document d = {.bytes = BUF_INIT};
	struct inbox_document parsed, other;
	char hex[HEX_LEN(ID_BYTES) + 1] = "";
	uint8_t id[ID_BYTES];

	memcpy(hex, request->target + strlen("/v1/users/"), HEX_LEN(ID_BYTES));
	assert_int_equal(hex_decode(hex, id, ID_BYTES), 0);
	assert_int_equal(inbox_parse(request->body, &parsed, &f->err), 0);
	assert_memory_equal(parsed.owner_id, id, ID_BYTES);
	assert_int_equal(parsed.sender_class == INBOX_USER, 0);
	d.owner = user_of(f, id);
	if (user == FAKE_CHAT_USERS && f->token_docs-- == 0) {
		f->token_docs = 0;
		return KLUIS_EUNAUTHENTICATED;
	}
	for (size_t i = 0; i < f->n_documents; i++) {
		assert_int_equal(inbox_parse(buf_bytes(&f->documents[i].bytes), &other, NULL), 0);
		if (memcmp(other.doc_id, parsed.doc_id, ID_BYTES) == 0) {
			return bytes_equal(request->body, buf_bytes(&f->documents[i].bytes))
				       ? 0
				       : KLUIS_ECONFLICT;
		}
	}
	buf_append_bytes(&d.bytes, request->body);
	f->documents = x_realloc(f->documents, (f->n_documents + 1) * sizeof *f->documents);
	f->documents[f->n_documents++] = d;
	return 0;
}

static int route_inbox(struct fake_chat *f, size_t user, const char *target, json_t **ret,
	struct http_answer *answer)
{
	json_t *items = json_array();
	char hex[HEX_LEN(ID_BYTES) + 1];

	for (size_t i = 0; i < f->n_documents; i++) {
		struct inbox_document d;

		if (f->documents[i].owner != user) {
			continue;
		}
		assert_int_equal(inbox_parse(buf_bytes(&f->documents[i].bytes), &d, NULL), 0);
		hex_encode(bytes_of(d.doc_id, ID_BYTES), hex);
		if (strstr(target, hex) != NULL) {
			json_decref(items);
			answer->status = 200;
			buf_append_bytes(&answer->body, buf_bytes(&f->documents[i].bytes));
			return 0;
		}
		(void)json_array_append_new(items,
			json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:n, s:n}", "doc", hex, "time_ms",
				(json_int_t)f->now_ms, "expires_ms", (json_int_t)f->now_ms + 1,
				"class", (json_int_t)d.sender_class, "content_type",
				(json_int_t)d.content_type, "bytes",
				(json_int_t)f->documents[i].bytes.len, "sender", "token"));
	}
	*ret = json_pack("{s:o, s:n, s:b}", "items", items, "next", "done", 1);
	return strncmp(target, "/v1/inbox?", 10) == 0 ? 0 : KLUIS_ENOTFOUND;
}

static int route_post(struct fake_chat *f, size_t user, const struct client_request *request,
	const json_t *body, json_t **ret)
{
	const char *target = request->target;

	if (ends(target, "/inbox")) {
		return route_deposit(f, user, request);
	}
	if (strcmp(target, "/v1/inbox/tokens") == 0) {
		f->token_docs = (unsigned)json_integer_value(json_object_get(body, "docs"));
		*ret = json_pack("{s:s, s:s, s:I, s:I}", "id", "00000000000000000000000000000001",
			"token", fake_token, "expires_ms", (json_int_t)1, "docs",
			(json_int_t)f->token_docs);
		return 0;
	}
	if (strcmp(target, "/v1/conversations") == 0) {
		return route_create(f, body);
	}
	if (ends(target, "/members")) {
		return take_statements(f, json_object_get(body, "statements"));
	}
	if (ends(target, "/accept") || ends(target, "/decline")) {
		return route_answer(f, user, ends(target, "/accept"));
	}
	if (ends(target, "/epochs")) {
		return route_epoch(f, body);
	}
	if (ends(target, "/messages") && f->states[user][0] != 0) {
		return route_message(f, user, request->body, ret);
	}
	if (ends(target, "/receipts")) {
		return route_receipt(f, user, body);
	}
	return ends(target, "/ack") ? route_ack(f, target) : KLUIS_ENOTFOUND;
}

static int route_get(struct fake_chat *f, size_t user, const char *target, json_t **ret)
{
	if (strncmp(target, "/v1/users/", 10) == 0) {
		return route_user(f, target, ret);
	}
	if (strncmp(target, "/v1/events", 10) == 0) { /* A node without them. */
		return KLUIS_ENOTFOUND;
	}
	if (strncmp(target, "/v1/packets", 11) == 0) {
		*ret = route_packets(f, user);
	} else if (strncmp(target, "/v1/conversations?", 18) == 0) {
		json_t *items = json_array();

		if (f->states[user][0] != 0 && strcmp(f->states[user], "declined") != 0) {
			(void)json_array_append_new(items, conversation_json(f, user));
		}
		*ret = json_pack("{s:o, s:n, s:b}", "items", items, "next", "done", 1);
	} else if (f->states[user][0] == 0) {
		return KLUIS_ENOTFOUND;
	} else if (strstr(target, "/members/chain?since=") != NULL) {
		*ret = statement_list(f->statements,
			(size_t)strtoull(strstr(target, "since=") + 6, NULL, 10), f->n_statements);
	} else if (strstr(target, "/members") != NULL) {
		*ret = members_json(f);
	} else if (strstr(target, "/messages?") != NULL) {
		*ret = route_messages(f, user, target);
	} else if (strstr(target, "/receipts") != NULL) {
		*ret = route_receipts(f);
	} else {
		*ret = conversation_json(f, user);
	}
	return 0;
}

/* The target without what list calls append. */
static bool hits(const char *match, const char *target)
{
	return match != NULL && strstr(target, match) != NULL;
}

static int dispatch(struct fake_chat *f, size_t user, const struct client_request *request,
	json_t **ret, struct http_answer *answer)
{
	_cleanup_(json_dropp) json_t *body = NULL;

	if (strcmp(request->method, "GET") == 0 && strncmp(request->target, "/v1/inbox", 9) == 0) {
		return route_inbox(f, user, request->target, ret, answer);
	}
	if (strcmp(request->method, "GET") == 0) {
		return route_get(f, user, request->target, ret);
	}
	if (strcmp(request->method, "DELETE") == 0) {
		return route_inbox_delete(f, user, request->target);
	}
	if (request->type != NULL && strcmp(request->type, "application/json") == 0) {
		assert_int_equal(json_object_parse(request->body, &body, &f->err), 0);
	}
	return route_post(f, user, request, body, ret);
}

int fake_chat_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e)
{
	struct fake_chat *f = fake_chat;
	json_t *object = NULL;
	size_t user = 0;
	int rc;

	while (user < FAKE_CHAT_USERS && f->users[user].client != client) {
		user++;
	}
	if (user == FAKE_CHAT_USERS) { /* Somebody who has a token for an inbox. */
		char token[CLIENT_TOKEN_BYTES_MAX + 1];

		client_token(client, token);
		assert_string_equal(token, fake_token);
	}
	if (f->before != NULL && strcmp(request->method, "POST") == 0) {
		void (*before)(struct fake_chat *, const char *) = f->before;

		f->before = NULL;
		before(f, request->target);
	}
	if (hits(f->fail, request->target)) {
		return err_set(e, KLUIS_ECONNECT, "no site is reached");
	}
	rc = dispatch(f, user, request, &object, answer);
	if (rc == 0 && hits(f->lose, request->target)) {
		f->lose = NULL;
		json_decref(object);
		return err_set(e, KLUIS_EUNKNOWN_OUTCOME, "the answer was lost");
	}
	if (rc != 0) {
		json_decref(object);
		return err_set(e, rc, "%s %s", request->method, request->target);
	}
	answer->status = object == NULL && answer->body.len == 0 ? 204 : 200;
	if (object != NULL) {
		json_take_text(object, &answer->body);
	}
	return 0;
}

/* What tests do. */

struct conversation *fake_chat_open(struct fake_chat *f, size_t user)
{
	struct conversation *c = NULL;

	if (conversation_open(f->users[user].people, f->id, &c, &f->err) != 0) {
		fail_msg("%s", f->err.text);
	}
	return c;
}

void fake_chat_begin(struct fake_chat *f, size_t n)
{
	uint8_t ids[FAKE_CHAT_USERS][ID_BYTES];
	struct conversation *c;

	for (size_t i = 1; i < n; i++) {
		memcpy(ids[i - 1], fake_chat_user_id(f, i), ID_BYTES);
	}
	if (conversation_create(f->users[0].people, "plans", (const uint8_t(*)[ID_BYTES])ids, n - 1,
		    &c, &f->err) != 0) {
		fail_msg("%s", f->err.text);
	}
	conversation_close(c);
	for (size_t i = 1; i < n; i++) {
		c = fake_chat_open(f, i);
		assert_int_equal(conversation_accept(c, &f->err), 0);
		conversation_close(c);
	}
	for (size_t i = 0; i < n; i++) {
		fake_chat_expect(f, i, "plans\n");
	}
}

void fake_chat_restore(struct fake_chat *f, size_t n_statements, size_t n_messages, uint32_t epoch)
{
	while (f->n_messages > n_messages) {
		buf_release(&f->messages[--f->n_messages].bytes);
	}
	for (size_t i = 0; i < f->n_packets; i++) {
		if (f->packets[i].parsed.epoch > epoch) {
			buf_release(&f->packets[i].bytes);
		}
	}
	while (f->n_statements > n_statements) {
		buf_release(&f->statements[--f->n_statements]);
	}
	members_release(&f->members);
	members_init(&f->members);
	for (size_t i = 0; i < n_statements; i++) {
		assert_int_equal(members_take(f, buf_bytes(&f->statements[i])), 0);
	}
	f->epoch = epoch;
	f->stale = false;
	for (size_t i = 0; i < FAKE_CHAT_USERS; i++) {
		struct profile *profile = f->users[i].profile;
		uint8_t lineage[ID_BYTES] = {(uint8_t)(profile->lineage[0] + 1)};

		if (members_find(&f->members, profile->user_id) == NULL) {
			f->states[i][0] = 0;
		}
		assert_int_equal(profile_set_lineage(profile, lineage, &f->err), 0);
		fake_chat_reopen(f, i);
	}
}

int fake_chat_send(struct fake_chat *f, size_t user, const char *text)
{
	struct conversation *c;
	uint64_t seq;
	int rc;

	fake_chat_reopen(f, user);
	c = fake_chat_open(f, user);
	rc = conversation_send(c, CHAT_TEXT, bytes_str(text), &seq, &f->err);
	conversation_close(c);
	return rc;
}

static int seen_cb(void *arg, const struct conversation_item *item, struct err *e)
{
	struct fake_seen *seen = arg;

	(void)e;
	assert_ptr_equal(item->device, identity_device(item->user, item->device->device_id));
	seen->problems |= item->problems;
	seen->shown++;
	buf_printf(&seen->texts, "%s\n", item->content.text == NULL ? "-" : item->content.text);
	return 0;
}

int fake_chat_read(struct fake_chat *f, size_t user, struct fake_seen *seen)
{
	const struct conversation_read reader = {.each = seen_cb, .arg = seen};
	struct conversation *c;
	size_t n = 0;
	int rc;

	fake_chat_reopen(f, user);
	c = fake_chat_open(f, user);
	rc = conversation_read(c, &reader, &n, &f->err);
	seen->n += n;
	conversation_close(c);
	return rc;
}

void fake_chat_expect(struct fake_chat *f, size_t user, const char *lines)
{
	struct fake_seen seen = {.n = 0};

	if (fake_chat_read(f, user, &seen) != 0) {
		fail_msg("%s", f->err.text);
	}
	assert_string_equal(seen.texts.len == 0 ? "" : buf_str(&seen.texts), lines);
	assert_int_equal(seen.problems, 0);
	buf_release(&seen.texts);
}
