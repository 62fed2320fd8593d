/* Who was taken out of a conversation, and who came back, by what a cluster does and what it says.
 */
#include "tests/lib/cli_fixture/fake_chat.h"

#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/wire.h"
#include "crypto/keypacket.h"

int __wrap_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e);
int __wrap_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e)
{
	return fake_chat_call(client, request, answer, e);
}

static void set_member(struct fake_chat *f, size_t user, bool in)
{
	struct conversation *c = fake_chat_open(f, 0);
	const uint8_t *id = fake_chat_user_id(f, user);

	assert_int_equal(
		in ? conversation_add(c, id, &f->err) : conversation_remove(c, id, &f->err), 0);
	conversation_close(c);
}

static void accept(struct fake_chat *f, size_t user)
{
	struct conversation *c;

	fake_chat_reopen(f, user);
	c = fake_chat_open(f, user);
	assert_int_equal(conversation_accept(c, &f->err), 0);
	conversation_close(c);
}

/* Who was removed finds it by its title still, and is told; who never was in it is told nothing. */
static void test_removed_is_told(void **state)
{
	struct fake_chat *f = *state;
	struct conversation *c;
	uint8_t id[ID_BYTES];

	fake_chat_begin(f, 2);
	set_member(f, 1, false);
	for (size_t i = 1; i <= 2; i++) {
		fake_chat_reopen(f, i);
	}
	assert_int_equal(conversation_find(f->users[1].people, "plans", id, &f->err), 0);
	assert_memory_equal(id, f->id, ID_BYTES);
	assert_int_equal(conversation_open(f->users[1].people, id, &c, &f->err), KLUIS_EFORBIDDEN);
	assert_non_null(strstr(f->err.text, "no member of this conversation any more"));
	assert_int_equal(
		conversation_find(f->users[2].people, "plans", id, &f->err), KLUIS_ENOTFOUND);
	assert_int_equal(
		conversation_open(f->users[2].people, f->id, &c, &f->err), KLUIS_ENOTFOUND);
}

static int nothing_cb(void *arg, const struct conversation_item *item, struct err *e)
{
	(void)arg;
	(void)item;
	(void)e;
	return 0;
}

/* While it is open. */
static void test_removed_meanwhile(void **state)
{
	struct fake_chat *f = *state;
	const struct conversation_read reader = {.each = nothing_cb};
	struct conversation *theirs;
	uint64_t seq;
	size_t n;

	fake_chat_begin(f, 2);
	theirs = fake_chat_open(f, 1);
	set_member(f, 1, false);
	assert_int_equal(conversation_send(theirs, CHAT_TEXT, bytes_str("x"), &seq, &f->err),
		KLUIS_EFORBIDDEN);
	assert_int_equal(conversation_read(theirs, &reader, &n, &f->err), KLUIS_EFORBIDDEN);
	conversation_close(theirs);
	assert_int_equal(f->n_messages, 1);
}

/* Of what was said while carol was out some is left. */
static void show_rest(struct fake_chat *f, size_t user, struct fake_message *messages, size_t *n)
{
	(void)f;
	if (user == 2) {
		*n -= 2;
		memmove(&messages[2], &messages[4], (*n - 2) * sizeof *messages);
	}
}

static void begin_out_and_back(struct fake_chat *f)
{
	fake_chat_begin(f, 3);
	assert_int_equal(fake_chat_send(f, 0, "all three"), 0);
	fake_chat_expect(f, 2, "all three\n");
	set_member(f, 2, false);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(fake_chat_send(f, i % 2, "between us"), 0);
	}
	f->show = show_rest;
	set_member(f, 2, true);
	accept(f, 2);
}

/* Who was out and came back is not told of a lie: what was said meanwhile was not for her. */
static void test_out_and_back(void **state)
{
	struct fake_chat *f = *state;

	begin_out_and_back(f);
	assert_int_equal(fake_chat_send(f, 1, "welcome back"), 0);
	fake_chat_expect(f, 2, "-\n-\nwelcome back\n");
	assert_int_equal(fake_chat_send(f, 0, "how are you"), 0);
	fake_chat_expect(f, 2, "how are you\n");
}

/* She speaks first, and so has the new keys before she reads. */
static void test_back_and_speaks_first(void **state)
{
	struct fake_chat *f = *state;

	begin_out_and_back(f);
	assert_int_equal(fake_chat_send(f, 2, "here I am"), 0);
	fake_chat_expect(f, 2, "-\n-\nhere I am\n");
	fake_chat_expect(
		f, 0, "all three\nbetween us\nbetween us\nbetween us\nbetween us\nhere I am\n");
}

static void show_without_third(
	struct fake_chat *f, size_t user, struct fake_message *messages, size_t *n)
{
	(void)f;
	if (user == 2) {
		(*n)--;
		memmove(&messages[2], &messages[3], (*n - 2) * sizeof *messages);
	}
}

/* Nor is she of what was said before she was out, and is gone in part. */
static void test_back_and_unread(void **state)
{
	struct fake_chat *f = *state;

	fake_chat_begin(f, 3);
	assert_int_equal(fake_chat_send(f, 0, "is left"), 0);
	assert_int_equal(fake_chat_send(f, 1, "is gone"), 0);
	assert_int_equal(fake_chat_send(f, 0, "is left"), 0);
	assert_int_equal(fake_chat_send(f, 1, "is left"), 0);
	set_member(f, 2, false);
	f->show = show_without_third;
	set_member(f, 2, true);
	accept(f, 2);
	assert_int_equal(fake_chat_send(f, 1, "welcome back"), 0);
	fake_chat_expect(f, 2, "is left\nis left\nis left\nwelcome back\n");
}

static void show_all_but_last_two(
	struct fake_chat *f, size_t user, struct fake_message *messages, size_t *n)
{
	show_rest(f, user, messages, n);
	if (user == 2) {
		*n -= 1;
		messages[*n - 1] = messages[*n];
	}
}

/* ... but from then on she is told as all others are. */
static void test_back_and_lied_to(void **state)
{
	struct fake_chat *f = *state;
	struct fake_seen seen = {.n = 0};

	begin_out_and_back(f);
	assert_int_equal(fake_chat_send(f, 1, "welcome back"), 0);
	fake_chat_expect(f, 2, "-\n-\nwelcome back\n");
	assert_int_equal(fake_chat_send(f, 1, "withheld"), 0);
	assert_int_equal(fake_chat_send(f, 1, "shown"), 0);
	f->show = show_all_but_last_two;
	assert_int_equal(fake_chat_read(f, 2, &seen), 0);
	assert_int_equal(seen.problems & CHAT_GAP, CHAT_GAP);
	buf_release(&seen.texts);
}

/* A message in the new epoch that does not open is one of those that should. */
static void test_back_and_shut_out(void **state)
{
	struct fake_chat *f = *state;
	struct fake_seen seen = {.n = 0};

	begin_out_and_back(f);
	assert_int_equal(fake_chat_send(f, 1, "welcome back"), 0);
	fake_chat_expect(f, 2, "-\n-\nwelcome back\n");
	f->stale = true;
	assert_int_equal(fake_chat_send(f, 0, "in another epoch"), 0);
	for (size_t i = 0; i < f->n_packets; i++) { /* Its key is withheld. */
		buf_release(&f->packets[i].bytes);
	}
	assert_int_equal(fake_chat_read(f, 2, &seen), 0);
	assert_int_equal(seen.problems, CHAT_CLOSED);
	buf_release(&seen.texts);
}

/* Who made an epoch is taken out before the others have its key: it was theirs to make. */
static void test_epoch_by_one_who_is_out(void **state)
{
	struct fake_chat *f = *state;

	fake_chat_begin(f, 3);
	f->stale = true;
	assert_int_equal(fake_chat_send(f, 2, "in a new epoch"), 0);
	set_member(f, 2, false);
	assert_int_equal(fake_chat_send(f, 0, "without carol"), 0);
	fake_chat_expect(f, 1, "in a new epoch\nwithout carol\n");
}

/* With the time that the maker's clock shows. */
static void packet_at(struct fake_chat *f, size_t from, size_t to, const struct chat_epoch_key *key,
	uint64_t unix_ms)
{
	_cleanup_(secret_release) struct secret plaintext = SECRET_INIT;
	const struct identity_device *device = &f->users[to].profile->identity.devices[0];
	struct keypacket fields = {.aead = AEAD_AES_256_GCM,
		.purpose = KEYPACKET_CHAT,
		.epoch = key->epoch,
		.unix_ms = unix_ms,
		.expires_ms = UINT64_MAX};
	struct fake_packet p = {.bytes = BUF_INIT};

	random_fill(&random_system, fields.packet_id, ID_BYTES);
	memcpy(fields.sender_user, fake_chat_user_id(f, from), ID_BYTES);
	memcpy(fields.rcpt_id, device->device_id, ID_BYTES);
	memcpy(fields.object_id, f->id, ID_BYTES);
	chat_epoch_key_encode(key, &plaintext);
	assert_int_equal(
		keypacket_seal(&fields, device->hpke, secret_bytes(&plaintext),
			f->users[from].profile->signing, &random_system, &p.bytes, &f->err),
		0);
	assert_int_equal(keypacket_parse(buf_bytes(&p.bytes), &p.parsed, &f->err), 0);
	f->packets = x_realloc(f->packets, (f->n_packets + 1) * sizeof *f->packets);
	f->packets[f->n_packets++] = p;
}

static void packet_by(struct fake_chat *f, size_t from, size_t to, const struct chat_epoch_key *key)
{
	packet_at(f, from, to, key, clock_wall_ms(&clock_system));
}

/* A new epoch for the members as they are. */
static void key_make(const struct fake_chat *f, struct chat_epoch_key *key)
{
	*key = (struct chat_epoch_key){.epoch = f->epoch + 1};
	secret_random(&key->secret, CHAT_KEY_BYTES, &random_system);
	memcpy(key->members_hash, f->members.hash, HASH_BYTES);
}

/* ... but none is hers to make for the members that came after her. */
static void test_epoch_after_being_out(void **state)
{
	struct fake_chat *f = *state;
	struct chat_epoch_key key;
	struct conversation *c;

	fake_chat_begin(f, 3);
	set_member(f, 2, false);
	key_make(f, &key);
	packet_by(f, 2, 1, &key);
	c = fake_chat_open(f, 1);
	assert_int_equal(conversation_take_epoch(c, 2, &f->err), 0);
	assert_false(chat_state_holds(&c->state, 2));
	conversation_close(c);
	packet_by(f, 0, 1, &key);
	c = fake_chat_open(f, 1);
	assert_int_equal(conversation_take_epoch(c, 2, &f->err), 0);
	assert_true(chat_state_holds(&c->state, 2));
	conversation_close(c);
	chat_epoch_key_release(&key);
}

/* Also where the cluster shows who they are only behind her packet. */
static void test_epoch_before_its_members(void **state)
{
	struct fake_chat *f = *state;
	struct chat_epoch_key key;
	struct conversation *c;

	fake_chat_begin(f, 3);
	c = fake_chat_open(f, 1);
	set_member(f, 2, false);
	key_make(f, &key);
	packet_by(f, 2, 1, &key);
	assert_int_equal(c->members->members.seq, 3);
	assert_int_equal(conversation_take_epoch(c, 2, &f->err), 0);
	assert_int_equal(c->members->members.seq, 4);
	assert_false(chat_state_holds(&c->state, 2));
	assert_non_null(strstr(c->key_refused.text, "no member then"));
	/* It keeps nobody else's from being taken. */
	packet_by(f, 0, 1, &key);
	c->keys_fetched = false;
	assert_int_equal(conversation_take_epoch(c, 2, &f->err), 0);
	assert_true(chat_state_holds(&c->state, 2));
	conversation_close(c);
	chat_epoch_key_release(&key);
}

/* By a clock that is ahead: it is of now, as far as it is used, and nothing before it is over. */
static void test_epoch_of_tomorrow(void **state)
{
	static const uint64_t year_ms = 365 * 24 * 3600 * 1000ULL;
	struct fake_chat *f = *state;
	struct chat_epoch_key key;
	struct conversation *c;
	uint64_t now_ms;

	fake_chat_begin(f, 2);
	f->stale = true;
	assert_int_equal(fake_chat_send(f, 0, "in the second"), 0);
	c = fake_chat_open(f, 1);
	assert_int_equal(conversation_take_epoch(c, 2, &f->err), 0);
	key_make(f, &key);
	packet_at(f, 0, 1, &key, clock_wall_ms(&clock_system) + year_ms);
	c->keys_fetched = false;
	assert_int_equal(conversation_take_epoch(c, 3, &f->err), 0);
	now_ms = clock_wall_ms(&clock_system);
	assert_true(chat_state_current(&c->state)->epoch == 3);
	assert_true(chat_state_current(&c->state)->made_ms <= now_ms);
	assert_true(chat_state_due(&c->state, key.members_hash, now_ms + CHAT_EPOCH_MS + 1));
	assert_true(chat_state_holds(&c->state, 1) && chat_state_holds(&c->state, 2));
	conversation_close(c);
	fake_chat_expect(f, 1, "in the second\n");
	chat_epoch_key_release(&key);
}

/* While a message is read its writer's chain grows: what is handed out is of the chain as it is. */
static void test_chain_grows_meanwhile(void **state)
{
	static const uint8_t policy[4];
	struct fake_chat *f = *state;
	struct fake_user *bob = &f->users[1];

	fake_chat_begin(f, 2);
	assert_int_equal(identity_make(&bob->profile->identity, IDENTITY_POLICY,
				 bytes_of(policy, sizeof policy), bob->profile->signing,
				 1700000000000ULL, &bob->statement, &f->err),
		0);
	f->stale = true;
	assert_int_equal(fake_chat_send(f, 1, "in a new epoch"), 0);
	fake_chat_expect(f, 0, "in a new epoch\n");
}

static unsigned role_of(struct fake_chat *f, size_t viewer, size_t user)
{
	struct conversation *c = fake_chat_open(f, viewer);
	unsigned role =
		membership_role(c->members, fake_chat_user_id(f, user), c->members->members.seq);

	conversation_close(c);
	return role;
}

static int set_role(struct fake_chat *f, size_t by, size_t user, unsigned role)
{
	struct conversation *c = fake_chat_open(f, by);
	int rc = conversation_set_role(c, fake_chat_user_id(f, user), role, &f->err);

	conversation_close(c);
	return rc;
}

static int hand_over(struct fake_chat *f, size_t by, size_t user, unsigned role)
{
	struct conversation *c = fake_chat_open(f, by);
	int rc = conversation_transfer(c, fake_chat_user_id(f, user), role, &f->err);

	conversation_close(c);
	return rc;
}

/* By its admins alone; one remains, in the one command that hands over as well. */
static void test_roles(void **state)
{
	struct fake_chat *f = *state;
	struct conversation *c;

	fake_chat_begin(f, 2);
	assert_int_equal(set_role(f, 1, 1, MEMBER_ADMIN), KLUIS_EFORBIDDEN);
	assert_non_null(strstr(f->err.text, "no admin of this conversation"));
	assert_int_equal(set_role(f, 0, 2, MEMBER_READ), KLUIS_ENOTFOUND);
	assert_int_equal(set_role(f, 0, 0, MEMBER_WRITE), KLUIS_EFORBIDDEN);
	assert_non_null(strstr(f->err.text, "nobody could manage"));
	c = fake_chat_open(f, 0);
	assert_int_equal(
		conversation_remove(c, fake_chat_user_id(f, 0), &f->err), KLUIS_EFORBIDDEN);
	conversation_close(c);
	assert_int_equal(set_role(f, 0, 1, MEMBER_ADMIN), 0);
	assert_int_equal(role_of(f, 1, 1), MEMBER_ADMIN);
	assert_int_equal(set_role(f, 1, 0, MEMBER_WRITE), 0);
	assert_int_equal(role_of(f, 0, 0), MEMBER_WRITE);
	/* And back. */
	assert_int_equal(hand_over(f, 1, 1, MEMBER_WRITE), KLUIS_EINVAL);
	assert_int_equal(hand_over(f, 1, 0, MEMBER_ADMIN), KLUIS_EINVAL);
	assert_int_equal(hand_over(f, 1, 2, MEMBER_WRITE), KLUIS_ENOTFOUND);
	assert_int_equal(hand_over(f, 1, 0, MEMBER_WRITE), 0);
	assert_int_equal(role_of(f, 1, 1), MEMBER_WRITE);
}

static void test_hand_over(void **state)
{
	struct fake_chat *f = *state;
	size_t before;

	fake_chat_begin(f, 2);
	set_member(f, 2, true);
	assert_int_equal(hand_over(f, 0, 2, MEMBER_WRITE), KLUIS_EPRECONDITION);
	before = f->n_statements;
	assert_int_equal(hand_over(f, 0, 1, MEMBER_READ), 0);
	assert_int_equal(f->n_statements, before + 2);
	assert_int_equal(role_of(f, 1, 1), MEMBER_ADMIN);
	assert_int_equal(role_of(f, 1, 0), MEMBER_READ);
}

/* Who may only read says nothing, reads all that the others say, and writes again when she may. */
static void test_reader(void **state)
{
	struct fake_chat *f = *state;

	fake_chat_begin(f, 2);
	assert_int_equal(set_role(f, 0, 1, MEMBER_READ), 0);
	assert_int_equal(fake_chat_send(f, 1, "not mine to say"), KLUIS_EFORBIDDEN);
	assert_non_null(strstr(f->err.text, "only read"));
	assert_int_equal(f->posts, 1); /* The title's. */
	assert_int_equal(fake_chat_send(f, 0, "hear me"), 0);
	fake_chat_expect(f, 1, "hear me\n");
	assert_int_equal(set_role(f, 0, 1, MEMBER_WRITE), 0);
	assert_int_equal(fake_chat_send(f, 1, "at last"), 0);
	fake_chat_expect(f, 0, "hear me\nat last\n");
}

/* A node takes what bob says, whom alice lets only read: nobody is shown it. */
static void test_reader_writes(void **state)
{
	struct fake_chat *f = *state;
	struct fake_seen seen = {.n = 0};
	struct conversation *c;
	uint64_t seq;

	fake_chat_begin(f, 3);
	assert_int_equal(set_role(f, 0, 1, MEMBER_READ), 0);
	assert_int_equal(fake_chat_send(f, 0, "from here on"), 0);
	fake_chat_expect(f, 1, "from here on\n");
	c = fake_chat_open(f, 1);
	for (size_t i = 0; i < c->members->members.count; i++) { /* A client of his own making. */
		c->members->members.member[i].role = MEMBER_ADMIN;
	}
	assert_int_equal(conversation_send(c, CHAT_TEXT, bytes_str("I write"), &seq, &f->err), 0);
	conversation_close(c);
	for (size_t i = 0; i < 3; i += 2) {
		f->err = (struct err){0};
		assert_int_equal(fake_chat_read(f, i, &seen), KLUIS_EVERIFY);
		assert_non_null(strstr(f->err.text, "let only read"));
		assert_null(seen.texts.len == 0 ? NULL : strstr(buf_str(&seen.texts), "I write"));
	}
	buf_release(&seen.texts);
}

static struct fake_message stranger;

static void show_stranger(
	struct fake_chat *f, size_t user, struct fake_message *messages, size_t *n)
{
	(void)f;
	(void)user;
	messages[(*n)++] = stranger;
}

/* The cluster shows what an account signed that never was in it. */
static void test_stranger_writes(void **state)
{
	static const uint8_t key[CHAT_KEY_BYTES] = {7};
	struct fake_chat *f = *state;
	const struct profile *carol = f->users[2].profile;
	struct chat_spec spec = {
		.sym = SYM_AES_256, .type = CHAT_TEXT, .payload = bytes_str("let me in")};
	struct fake_seen seen = {.n = 0};

	fake_chat_begin(f, 2);
	spec.place.epoch = f->epoch;
	memcpy(spec.place.conv_id, f->id, ID_BYTES);
	memcpy(spec.place.user_id, carol->user_id, ID_BYTES);
	memcpy(spec.place.device_id, carol->device_id, ID_BYTES);
	stranger = (struct fake_message){.seq = f->n_messages + 1, .time_ms = f->now_ms};
	assert_int_equal(chat_seal(key, &spec, carol->device, &stranger.bytes, &f->err), 0);
	f->show = show_stranger;
	for (size_t i = 0; i < 2; i++) {
		f->err = (struct err){0};
		assert_int_equal(fake_chat_read(f, i, &seen), KLUIS_EVERIFY);
		assert_non_null(strstr(f->err.text, "let not in"));
	}
	f->show = NULL;
	buf_release(&stranger.bytes);
	assert_int_equal(fake_chat_read(f, 1, &seen), 0);
	buf_release(&seen.texts);
}

/* A change of roles by somebody who gives none: the node takes it, and who reads the chain does
 * not. */
static void test_role_by_a_member(void **state)
{
	struct fake_chat *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct membership *m = NULL;
	struct buf *to;

	fake_chat_begin(f, 2);
	f->statements = x_realloc(f->statements, (f->n_statements + 1) * sizeof *f->statements);
	to = &f->statements[f->n_statements];
	*to = BUF_INIT;
	buf_append(&body, fake_chat_user_id(f, 1), ID_BYTES);
	buf_put_u16(&body, MEMBER_ADMIN);
	assert_int_equal(members_make(&f->members, MEMBER_ROLE, buf_bytes(&body),
				 f->users[1].profile->device, 1700000000000ULL, to, &f->err),
		0);
	f->n_statements++;
	f->members.seq++; /* By the node's word. */
	people_ask_again(f->users[0].people);
	assert_int_equal(
		membership_load(f->users[0].people, MEMBER_OBJECT_CONVERSATION, f->id, &m, &f->err),
		KLUIS_EVERIFY);
	assert_non_null(strstr(f->err.text, "signed by an unknown device"));
}

#define CHAT_TEST(fn) cmocka_unit_test_setup_teardown(fn, fake_chat_setup, fake_chat_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CHAT_TEST(test_removed_is_told),
		CHAT_TEST(test_removed_meanwhile),
		CHAT_TEST(test_out_and_back),
		CHAT_TEST(test_back_and_speaks_first),
		CHAT_TEST(test_back_and_unread),
		CHAT_TEST(test_back_and_lied_to),
		CHAT_TEST(test_back_and_shut_out),
		CHAT_TEST(test_epoch_by_one_who_is_out),
		CHAT_TEST(test_epoch_after_being_out),
		CHAT_TEST(test_epoch_before_its_members),
		CHAT_TEST(test_epoch_of_tomorrow),
		CHAT_TEST(test_chain_grows_meanwhile),
		CHAT_TEST(test_roles),
		CHAT_TEST(test_hand_over),
		CHAT_TEST(test_reader),
		CHAT_TEST(test_reader_writes),
		CHAT_TEST(test_stranger_writes),
		CHAT_TEST(test_role_by_a_member),
	};

	return cmocka_run_group_tests(tests, fake_chat_accounts, fake_chat_accounts_free);
}
