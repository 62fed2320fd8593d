#include "tests/lib/test.h"

#include <string.h>

#include "base/wire.h"
#include "crypto/inbox.h"
#include "storage/inbox_store.h"
#include "storage/key_codec.h"
#include "storage/session_store.h"
#include "storage/vault_store.h"
#include "tests/unit/raft/lib/person_rig.h"

/* Sealed documents that are left for others, and how their owners take them. */

enum { SMALL = 100, DAY = 24 * 3600 * 1000 };

static const uint8_t key_one[32] = {0xa1}, key_two[32] = {0xa2};

/* A document to that owner, as long as `bytes` says, well-formed and sealed by nobody. */
static void document(
	const uint8_t owner[16], uint16_t id, unsigned sender_class, size_t bytes, struct buf *to)
{
	uint8_t doc_id[16] = {(uint8_t)(id >> 8), (uint8_t)id};
	size_t ct = bytes - INBOX_HEADER_BYTES - 2 - 65 - 4;

	buf_clear(to);
	buf_put_str(to, "KIB1");
	buf_put_u8(to, 1);
	buf_put_u8(to, sender_class);
	buf_put_u16(to, KEY_KEM_P256);
	buf_put_u16(to, 1);
	buf_put_u16(to, 2);
	buf_put_zeros(to, 16);
	buf_append(to, owner, 16);
	buf_put_zeros(to, 16);
	buf_append(to, doc_id, 16);
	buf_put_u64(to, 1700000000000ULL);
	buf_put_u16(to, INBOX_TEXT);
	buf_put_u16(to, 65);
	buf_put_u8(to, 4);
	buf_put_zeros(to, 64);
	buf_put_u32(to, ct);
	buf_put_zeros(to, ct);
	assert_int_equal(to->len, bytes);
}

enum { LEAST = INBOX_HEADER_BYTES + 2 + 65 + 4 + 16 };

static struct command put(
	const uint8_t owner[16], const struct buf *d, unsigned by, const uint8_t secret[32])
{
	struct command command = {.type = COMMAND_INBOX_PUT,
		.inbox_put = {.by = (uint8_t)by, .document = buf_bytes(d)}};

	memcpy(command.inbox_put.owner, owner, 16);
	memcpy(command.inbox_put.secret, secret, 32);
	return command;
}

/* q leaves document `id` in p's inbox. */
static struct command put_by_q(struct person_rig *w, uint16_t id, struct buf *d)
{
	document(w->p.user_id, id, INBOX_USER, LEAST, d);
	return put(w->p.user_id, d, INBOX_BY_SESSION, w->q.token_hash);
}

static struct command put_by_token(
	struct person_rig *w, uint16_t id, const uint8_t token[32], struct buf *d)
{
	document(w->p.user_id, id, INBOX_ANONYMOUS, LEAST, d);
	return put(w->p.user_id, d, INBOX_BY_TOKEN, token);
}

static struct command token_create(struct person_rig *w, const uint8_t token[32], uint32_t docs)
{
	struct command command = {.type = COMMAND_INBOX_TOKEN_CREATE,
		.inbox_token_create = {.session = fixture_token(TOKEN_P),
			.expires_ms = w->m.now_ms + DAY,
			.docs = docs,
			.label = bytes_str("mail gateway")}};

	memcpy(command.inbox_token_create.token_hash, token, 32);
	return command;
}

static struct inbox_use use_of(struct person_rig *w, const uint8_t owner[16])
{
	struct kv_view *view = person_view(w);
	struct inbox_use use;

	assert_int_equal(inbox_store_use(view, owner, &use, NULL), 0);
	kv_view_free(view);
	return use;
}

static int get(struct person_rig *w, uint16_t id, struct inbox_row *row, struct buf *to)
{
	uint8_t doc_id[16] = {(uint8_t)(id >> 8), (uint8_t)id};
	struct kv_view *view = person_view(w);
	int rc = inbox_store_document(view, w->p.user_id, doc_id, row, to, NULL);

	kv_view_free(view);
	return rc;
}

static void test_left_and_read(void **state)
{
	_cleanup_(buf_release) struct buf d = BUF_INIT, back = BUF_INIT;
	struct person_rig *w = *state;
	struct command command = put_by_q(w, 7, &d);
	struct inbox_row row;

	for (unsigned turn = 0; turn < 2; turn++) { /* Again is the same. */
		w->m.now_ms += turn;
		person_expect(w, &command, 0);
		assert_true(person_reply(w).id[1] == 7);
		assert_true(person_reply(w).number == w->m.now_ms - turn + INBOX_KEPT_MS);
	}
	assert_int_equal(get(w, 7, &row, &back), 0);
	assert_true(bytes_equal(buf_bytes(&d), buf_bytes(&back)));
	assert_memory_equal(row.sender, w->q.user_id, 16);
	assert_int_equal(row.sender_class, INBOX_USER);
	assert_int_equal(row.content_type, INBOX_TEXT);
	assert_int_equal(row.bytes, d.len);
	assert_int_equal(use_of(w, w->p.user_id).docs, 1);
	assert_int_equal(use_of(w, w->p.user_id).session_docs, 1);
	assert_true(use_of(w, w->p.user_id).bytes == d.len);
	assert_int_equal(use_of(w, w->q.user_id).docs, 0);
	d.data[d.len - 1] ^= 1;
	person_expect(w, &command, KLUIS_EEXIST);
}

static void test_what_is_refused(void **state)
{
	static const uint8_t nobody[16] = {9}, wrong[32] = {9};
	_cleanup_(buf_release) struct buf d = BUF_INIT;
	struct person_rig *w = *state;
	struct command command = put_by_q(w, 7, &d);
	struct command disable = {.type = COMMAND_PERSON_RULE,
		.person_rule = {.actor = bytes_str("op"),
			.name = bytes_str(w->p.name),
			.what = PERSON_DISABLE}};

	command.inbox_put.document.len--;
	person_expect(w, &command, KLUIS_EINVAL);
	command = put(w->q.user_id, &d, INBOX_BY_SESSION, w->q.token_hash); /* Of another owner. */
	person_expect(w, &command, KLUIS_EINVAL);
	command = put(w->p.user_id, &d, INBOX_BY_SESSION, wrong);
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	document(nobody, 7, INBOX_USER, LEAST, &d);
	command = put(nobody, &d, INBOX_BY_SESSION, w->q.token_hash);
	person_expect(w, &command, KLUIS_ENOTFOUND);
	d.data[0] = 'X';
	person_expect(w, &command, KLUIS_ENOTFOUND); /* Who asks for nobody learns no more. */
	person_expect(w, &disable, 0);
	command = put_by_q(w, 7, &d);
	person_expect(w, &command, KLUIS_ENOTFOUND);
}

/* Nobody can call himself what he is not. */
static void test_classes(void **state)
{
	_cleanup_(buf_release) struct buf d = BUF_INIT;
	struct person_rig *w = *state;
	const struct {
		unsigned by;
		const uint8_t *secret;
		int rc[3]; /* Anonymous, provider, user. */
	} rows[] = {
		{INBOX_BY_SESSION, w->q.token_hash, {KLUIS_EINVAL, KLUIS_EINVAL, 0}},
		{INBOX_BY_SESSION, w->service.token_hash, {KLUIS_EINVAL, 0, 0}},
		{INBOX_BY_TOKEN, key_one, {0, 0, KLUIS_EINVAL}},
	};
	struct command command = token_create(w, key_one, 100);

	person_expect(w, &command, 0);
	for (uint16_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (uint16_t class = INBOX_ANONYMOUS; class <= INBOX_USER; class ++) {
			document(w->p.user_id, (uint16_t)(10 * i + class), class, LEAST, &d);
			command = put(w->p.user_id, &d, rows[i].by, rows[i].secret);
			person_expect(w, &command, rows[i].rc[class]);
		}
	}
}

static void test_tokens(void **state)
{
	_cleanup_(buf_release) struct buf d = BUF_INIT;
	struct person_rig *w = *state;
	struct command command = put_by_token(w, 1, key_one, &d);
	struct command end = {
		.type = COMMAND_INBOX_TOKEN_END, .inbox_token_end.session = fixture_token(TOKEN_P)};

	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	command = token_create(w, key_one, 2);
	person_expect(w, &command, 0);
	inbox_token_id_of(key_one, end.inbox_token_end.token_id);
	assert_memory_equal(person_reply(w).id, end.inbox_token_end.token_id, 16);
	assert_true(person_reply(w).number == w->m.now_ms + DAY);
	person_expect(w, &command, KLUIS_EEXIST);
	for (uint16_t id = 1; id <= 3; id++) {
		command = put_by_token(w, id, key_one, &d);
		person_expect(w, &command, id <= 2 ? 0 : KLUIS_EQUOTA);
	}
	command = put_by_token(w, 2, key_one, &d); /* What was taken is answered again. */
	person_expect(w, &command, 0);
	assert_int_equal(use_of(w, w->p.user_id).session_docs, 0);
	document(w->q.user_id, 4, INBOX_ANONYMOUS, LEAST, &d);
	command = put(w->q.user_id, &d, INBOX_BY_TOKEN, key_one); /* Another inbox. */
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	end.inbox_token_end.session = fixture_token(TOKEN_Q);
	person_expect(w, &end, KLUIS_ENOTFOUND);
	end.inbox_token_end.session = fixture_token(TOKEN_P);
	person_expect(w, &end, 0);
	person_expect(w, &end, KLUIS_ENOTFOUND);
	command = put_by_token(w, 2, key_one, &d);
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	assert_int_equal(person_events(w, &w->p, ACCESS_INBOX_TOKEN_CREATED), 1);
	assert_int_equal(person_events(w, &w->p, ACCESS_INBOX_TOKEN_ENDED), 1);
}

static void test_tokens_that_cannot_be(void **state)
{
	struct person_rig *w = *state;
	struct command command = fixture_login(&w->p, 10, false);
	uint8_t token[32] = {1};

	person_expect(w, &command, 0);
	command = token_create(w, key_one, 1);
	command.inbox_token_create.session = fixture_token(10); /* Of no device. */
	person_expect(w, &command, KLUIS_EFORBIDDEN);
	command = token_create(w, key_one, 1);
	command.inbox_token_create.expires_ms = w->m.now_ms;
	person_expect(w, &command, KLUIS_EINVAL);
	command.inbox_token_create.expires_ms = w->m.now_ms + INBOX_TOKEN_MS_MAX + 1;
	person_expect(w, &command, KLUIS_EINVAL);
	command.inbox_token_create.label = bytes_str("\x1b[2J");
	command.inbox_token_create.expires_ms = w->m.now_ms + INBOX_TOKEN_MS_MAX;
	person_expect(w, &command, KLUIS_EINVAL); /* A terminal would act on it. */
	for (unsigned i = 0; i <= INBOX_TOKENS_MAX; i++) {
		token[1] = (uint8_t)i;
		command = token_create(w, token, 1);
		person_expect(w, &command, i < INBOX_TOKENS_MAX ? 0 : KLUIS_EQUOTA);
	}
}

/* A token is told once: who asks again with the same key does not get another one. */
static void test_token_once(void **state)
{
	struct person_rig *w = *state;
	struct command command = token_create(w, key_one, 1);

	command.inbox_token_create.once.key = bytes_str("key");
	person_expect(w, &command, 0);
	memcpy(command.inbox_token_create.token_hash, key_two, 32);
	person_expect(w, &command, KLUIS_ECONFLICT);
}

/* Who has an account fills half of an inbox, and no more. */
static void test_docs_quota(void **state)
{
	_cleanup_(buf_release) struct buf d = BUF_INIT;
	struct person_rig *w = *state;
	struct command command = token_create(w, key_one, INBOX_TOKEN_DOCS_MAX);

	person_expect(w, &command, 0);
	for (uint16_t id = 0; id <= INBOX_SESSION_DOCS_MAX; id++) {
		command = put_by_q(w, id, &d);
		person_expect(w, &command, id < INBOX_SESSION_DOCS_MAX ? 0 : KLUIS_EQUOTA);
	}
	for (uint16_t id = INBOX_SESSION_DOCS_MAX; id <= INBOX_DOCS_MAX; id++) {
		command = put_by_token(w, id, key_one, &d);
		person_expect(w, &command, id < INBOX_DOCS_MAX ? 0 : KLUIS_EQUOTA);
	}
	command = put_by_q(w, 0, &d); /* What is there is answered all the same. */
	person_expect(w, &command, 0);
}

static void test_bytes_quota(void **state)
{
	enum { FULL = INBOX_SESSION_BYTES_MAX / INBOX_DOCUMENT_BYTES_MAX };
	_cleanup_(buf_release) struct buf d = BUF_INIT;
	struct person_rig *w = *state;
	struct command command = token_create(w, key_one, INBOX_TOKEN_DOCS_MAX);
	uint16_t id = 0;

	person_expect(w, &command, 0);
	for (; id < FULL; id++) {
		document(w->p.user_id, id, INBOX_USER, INBOX_DOCUMENT_BYTES_MAX, &d);
		command = put(w->p.user_id, &d, INBOX_BY_SESSION, w->q.token_hash);
		person_expect(w, &command, 0);
	}
	command = put_by_q(w, id, &d);
	person_expect(w, &command, KLUIS_EQUOTA);
	for (; id < 2 * FULL; id++) {
		document(w->p.user_id, id, INBOX_PROVIDER, INBOX_DOCUMENT_BYTES_MAX, &d);
		command = put(w->p.user_id, &d, INBOX_BY_TOKEN, key_one);
		person_expect(w, &command, 0);
	}
	command = put_by_token(w, id, key_one, &d);
	person_expect(w, &command, KLUIS_EQUOTA);
}

static struct command inbox_delete(unsigned token, const uint8_t *docs, size_t n)
{
	return (struct command){.type = COMMAND_INBOX_DELETE,
		.inbox_delete = {.session = fixture_token(token), .docs = bytes_of(docs, 16 * n)}};
}

static void test_deleted(void **state)
{
	static const uint8_t docs[4][16] = {{0, 1}, {0, 2}, {0, 3}, {0, 4}};
	_cleanup_(buf_release) struct buf d = BUF_INIT;
	struct person_rig *w = *state;
	struct command command = fixture_login(&w->p, 10, false);

	person_expect(w, &command, 0);
	for (uint16_t id = 1; id <= 3; id++) {
		command = put_by_q(w, id, &d);
		person_expect(w, &command, 0);
	}
	command = inbox_delete(10, docs[0], 1); /* Of no device. */
	person_expect(w, &command, KLUIS_EFORBIDDEN);
	command = inbox_delete(TOKEN_Q, docs[0], 1); /* Of another owner. */
	person_expect(w, &command, KLUIS_ENOTFOUND);
	command = inbox_delete(TOKEN_P, docs[0], 4); /* One is not there: none goes. */
	person_expect(w, &command, KLUIS_ENOTFOUND);
	assert_int_equal(use_of(w, w->p.user_id).docs, 3);
	command = inbox_delete(TOKEN_P, docs[0], 2);
	person_expect(w, &command, 0);
	assert_int_equal(use_of(w, w->p.user_id).docs, 1);
	command = inbox_delete(TOKEN_P, docs[2], 1);
	person_expect(w, &command, 0);
	assert_true(use_of(w, w->p.user_id).bytes == 0);
}

static void test_expired(void **state)
{
	_cleanup_(buf_release) struct buf d = BUF_INIT;
	struct person_rig *w = *state;
	struct command command = token_create(w, key_one, 9);
	struct command delete;
	uint8_t doc[16] = {0, 2};

	person_expect(w, &command, 0);
	command = put_by_token(w, 1, key_one, &d);
	person_expect(w, &command, 0);
	w->m.now_ms += DAY - 1;
	command = put_by_token(w, 2, key_one, &d);
	person_expect(w, &command, 0);
	w->m.now_ms++;
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED); /* Swept or not. */
	person_expire(w, 0);
	person_expire(w, INBOX_KEPT_MS - DAY);
	assert_int_equal(use_of(w, w->p.user_id).docs, 1);
	command = fixture_login(&w->p, 10, true);
	person_expect(w, &command, 0);
	delete = inbox_delete(10, doc, 1);
	person_expect(w, &delete, 0);
}

static unsigned rows_of(struct person_rig *w, enum key_family family)
{
	struct row_key first = row_key_begin(family), end = row_key_after_prefix(&first);
	struct kv_view *view = person_view(w);
	struct kv_iter *iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	unsigned n = 0;

	while (kv_iter_next(iter)) {
		n++;
	}
	kv_iter_free(iter);
	kv_view_free(view);
	return n;
}

/* With its owner all of it goes, in as many steps as that takes. */
static void test_owner_goes(void **state)
{
	static const enum key_family families[] = {
		KEY_INBOX, KEY_INBOX_BYTES, KEY_INBOX_TOKEN, KEY_INBOX_USE, KEY_INBOX_TOKEN_OF};
	_cleanup_(buf_release) struct buf d = BUF_INIT;
	struct person_rig *w = *state;
	struct command command = {
		.type = COMMAND_ACCOUNT_DELETE, .account_delete.session = fixture_token(TOKEN_P)};
	struct command create = token_create(w, key_one, INBOX_DOCS_MAX);

	person_expect(w, &create, 0);
	create = token_create(w, key_two, 1);
	person_expect(w, &create, 0);
	for (uint16_t id = 0; id < INBOX_DOCS_MAX; id++) {
		struct command leave = put_by_token(w, id, key_one, &d);

		person_expect(w, &leave, 0);
	}
	document(w->q.user_id, 1, INBOX_PROVIDER, LEAST, &d);
	create = put(w->q.user_id, &d, INBOX_BY_SESSION, w->service.token_hash);
	person_expect(w, &create, 0);
	person_expect(w, &command, 0);
	create = put_by_token(w, 1, key_one, &d);
	person_expect(w, &create, KLUIS_ENOTFOUND); /* At once. */
	person_expire(w, 0);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		bool token = families[i] == KEY_INBOX_TOKEN || families[i] == KEY_INBOX_TOKEN_OF;

		assert_int_equal(rows_of(w, families[i]), token ? 0 : 1); /* q's. */
	}
}

/* What became pages goes with the commit that made them. */
static void test_claimed(void **state)
{
	static const uint8_t docs[2][16] = {{0, 1}, {0, 2}};
	_cleanup_(buf_release) struct buf d = BUF_INIT, bytes = BUF_INIT, head = BUF_INIT,
					  entries = BUF_INIT;
	struct person_rig *w = *state;
	struct fixture_client c;
	struct command command, claim = {.type = COMMAND_COMMIT_CLAIM};
	struct command_commit *commit = &claim.commit_claim.commit;

	fixture_client_init(&c, 7);
	memcpy(c.user_id, w->p.user_id, 16);
	memcpy(c.device_id, w->p.device_id, 16);
	memcpy(c.token_hash, w->p.token_hash, 32);
	fixture_vault_create(&c, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
	fixture_committed(&c, bytes_of(NULL, 0));
	command = put_by_q(w, 1, &d);
	person_expect(w, &command, 0);
	fixture_entry(&c, 0, 1, 12, 5, false, &entries);
	fixture_head(&c, 1, &head);
	commit->session = fixture_token(TOKEN_P);
	memcpy(commit->vault_id, c.vault_id, 16);
	commit->head = buf_bytes(&head);
	commit->entries = buf_bytes(&entries);
	claim.commit_claim.docs = bytes_of(docs[0], 32);
	person_expect(w, &claim, KLUIS_ENOTFOUND); /* One is not there: no commit. */
	claim.commit_claim.docs.len = 16;
	for (unsigned turn = 0; turn < 2; turn++) { /* The identical head again, too. */
		person_expect(w, &claim, 0);
		assert_true(person_reply(w).number == 2);
		assert_memory_equal(person_reply(w).hash, c.next_hash, 32);
		assert_int_equal(use_of(w, w->p.user_id).docs, 0);
	}
}

static void test_read_only(void **state)
{
	static const uint8_t doc[16] = {0, 1};
	_cleanup_(buf_release) struct buf d = BUF_INIT;
	struct person_rig *w = *state;
	struct command command = put_by_q(w, 1, &d);
	struct command on = {
		.type = COMMAND_READONLY, .readonly = {.on = true, .actor = bytes_str("op")}};

	person_expect(w, &command, 0);
	person_expect(w, &on, 0);
	command = put_by_q(w, 2, &d);
	person_expect(w, &command, KLUIS_EREADONLY);
	command = token_create(w, key_one, 1);
	person_expect(w, &command, KLUIS_EREADONLY);
	command = put_by_q(w, 1, &d);
	person_expect(w, &command, 0); /* It is there. */
	command = inbox_delete(TOKEN_P, doc, 1);
	person_expect(w, &command, 0);
}

/* Not before all nodes know it. */
static void test_before_the_level(void **state)
{
	_cleanup_(buf_release) struct buf d = BUF_INIT;
	struct fixture_machine m;
	struct fixture_client c;
	struct command command;

	(void)state;
	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	document(c.user_id, 1, INBOX_PROVIDER, LEAST, &d);
	command = put(c.user_id, &d, INBOX_BY_SESSION, c.token_hash);
	for (uint64_t node = 1; node <= 6; node++) {
		struct command announce = {.type = COMMAND_NODE_ANNOUNCE,
			.node_announce = {.node = node, .feature_level = FEATURE_LEVEL_SHARING}};

		announce.node_announce.feature_level -= node == 3;
		assert_int_equal(fixture_machine_do(&m, &announce), 0);
	}
	assert_int_equal(fixture_machine_do(&m, &command), KLUIS_ECONFLICT);
	fixture_machine_level(&m);
	assert_int_equal(fixture_machine_do(&m, &command), 0);
	fixture_machine_release(&m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, person_rig_setup, person_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_left_and_read),
		T(test_what_is_refused),
		T(test_classes),
		T(test_tokens),
		T(test_tokens_that_cannot_be),
		T(test_token_once),
		T(test_docs_quota),
		T(test_bytes_quota),
		T(test_deleted),
		T(test_expired),
		T(test_owner_goes),
		T(test_claimed),
		T(test_read_only),
		cmocka_unit_test(test_before_the_level),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
