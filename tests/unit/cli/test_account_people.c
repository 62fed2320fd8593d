/* What a cluster that lies shows of others, their chains and their KeyPackets, on its way into the
 * client of a real node. */
#include "tests/lib/account_rig/account_three.h"

#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "base/wire.h"
#include "cli/client/json_reader.h"
#include "cli/client/packets.h"

static void assert_says(const struct fixture *f, const char *words)
{
	if (strstr(f->err.text, words) == NULL) {
		fail_msg("'%s' lacks '%s'", f->err.text, words);
	}
}

/* Answers that the test writes: a list of these runs, in base64. */
static char *list_of(const char *member, const struct bytes *items, size_t n)
{
	json_t *array = json_array();
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	for (size_t i = 0; i < n; i++) {
		json_t *item = json_base64(items[i]);

		(void)json_array_append_new(
			array, member == NULL ? item : json_pack("{s:o}", member, item));
	}
	json_take_text(json_pack("{s:o, s:n, s:b}", "items", array, "next", "done", 1), &text);
	return x_strndup((const char *)text.data, text.len);
}

static void invent(struct lie *to, const char *target, const char *text)
{
	*to = (struct lie){.target = target, .kind = LIE_INVENT, .instead = bytes_str(text)};
}

/* A vault's chain as alice signs it. */
struct story {
	uint8_t id[ID_BYTES];
	struct membership *m;
	struct people *people; /* Alice's. */
};

static void tell(struct fixture *f, struct story *s, struct device *by, unsigned type,
	const struct buf *body, struct buf *ret)
{
	MUST(f, members_make(&s->m->members, type, buf_bytes(body), by->profile->device, 7, ret,
			&f->err));
}

static void story_begin(struct fixture *f, struct story *s, struct buf *create)
{
	const struct profile *alice = f->first.profile;

	random_fill(&random_system, s->id, ID_BYTES);
	s->m = membership_new();
	s->people = people_new(f->first.profile, f->first.client);
	MUST(f, members_create(s->id, MEMBER_OBJECT_VAULT, alice->user_id, NULL, alice->device, 5,
			create, &f->err));
	MUST(f, membership_extend(
			s->m, buf_bytes(create), people_source(s->people), false, &f->err));
}

static void story_add(struct fixture *f, struct story *s, struct device *by,
	const struct device *whom, struct buf *ret)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	buf_append(&body, whom->profile->user_id, ID_BYTES);
	buf_put_u8(&body, MEMBER_USER);
	buf_put_u16(&body, MEMBER_WRITE);
	tell(f, s, by, MEMBER_ADD, &body, ret);
}

static void story_go_on(struct fixture *f, struct story *s, const struct buf *statement)
{
	MUST(f, membership_extend(
			s->m, buf_bytes(statement), people_source(s->people), false, &f->err));
}

static void story_end(struct story *s)
{
	memset(&lie, 0, sizeof lie);
	memset(more_lies, 0, sizeof more_lies);
	membership_free(s->m);
	people_free(s->people);
}

/* What bob makes of a chain that the cluster shows. */
static int shown(struct fixture *f, const struct story *s, const struct bytes *items, size_t n,
	uint64_t *ret_seq)
{
	_cleanup_(x_freep) char *text = list_of(NULL, items, n);
	_cleanup_(membership_freep) struct membership *m = NULL;
	struct people *people = people_new(bob.profile, bob.client);
	int rc;

	f->err = (struct err){0};
	invent(&lie, "/v1/vaults/", text);
	rc = membership_load(people, MEMBER_OBJECT_VAULT, s->id, &m, &f->err);
	*ret_seq = rc == 0 ? m->members.seq : 0;
	people_free(people);
	memset(&lie, 0, sizeof lie);
	return rc;
}

static void test_chain_pinned(void **state)
{
	struct fixture *f = *state;
	struct story s;
	_cleanup_(buf_release) struct buf create = BUF_INIT, add = BUF_INIT, other = BUF_INIT,
					  by_bob = BUF_INIT, last = BUF_INIT;
	struct bytes items[3];
	uint64_t seq;

	story_begin(f, &s, &create);
	story_add(f, &s, &f->first, &bob, &add);
	story_add(f, &s, &f->first, &carol, &other);
	items[0] = buf_bytes(&create);
	items[1] = buf_bytes(&add);
	assert_int_equal(shown(f, &s, items, 0, &seq), KLUIS_EVERIFY);
	MUST(f, shown(f, &s, items, 2, &seq));
	assert_int_equal(seq, 2);
	story_go_on(f, &s, &add);
	/* An older list; another one; more, by somebody who is no admin. */
	assert_int_equal(shown(f, &s, items, 0, &seq), KLUIS_EPIN);
	assert_says(f, "rolled back");
	items[0] = buf_bytes(&other);
	assert_int_equal(shown(f, &s, items, 1, &seq), KLUIS_EPIN);
	assert_says(f, "fork");
	story_add(f, &s, &bob, &carol, &by_bob);
	items[0] = buf_bytes(&add);
	items[1] = buf_bytes(&by_bob);
	assert_int_equal(shown(f, &s, items, 2, &seq), KLUIS_EVERIFY);
	assert_says(f, "change 3");
	/* What does go on from it is taken, and pinned. */
	story_add(f, &s, &f->first, &carol, &last);
	items[1] = buf_bytes(&last);
	MUST(f, shown(f, &s, items, 2, &seq));
	assert_int_equal(seq, 3);
	assert_int_equal(shown(f, &s, items, 1, &seq), KLUIS_EPIN);
	story_end(&s);
}

/* A vault's key from `by` to bob, as the cluster hands it out. */
static void give(struct fixture *f, const struct story *s, const struct device *by, uint32_t epoch,
	uint8_t fill, struct buf *ret)
{
	uint8_t vk[32];
	struct packets_gift gift = {.purpose = KEYPACKET_VAULT,
		.role = MEMBER_WRITE,
		.object_id = s->id,
		.rcpt_id = bob.profile->user_id,
		.epoch = epoch,
		.secret = bytes_of(vk, sizeof vk)};

	memset(vk, fill, sizeof vk);
	MUST(f, people_transfer_key(&bob.profile->identity, &gift.rcpt, &f->err));
	MUST(f, packets_seal(by->profile, &gift, ret, &f->err));
}

static int taken(struct fixture *f, const struct story *s, const struct buf *packet,
	struct packets_taken *ret_taken)
{
	const struct bytes item = buf_bytes(packet);
	_cleanup_(x_freep) char *text = list_of("packet", &item, 1);
	struct people *people = people_new(bob.profile, bob.client);
	int rc;

	f->err = (struct err){0};
	invent(&lie, "/v1/packets", text);
	rc = packets_take(people, s->id, ret_taken, &f->err);
	people_free(people);
	return rc;
}

static void test_packets_taken(void **state)
{
	struct fixture *f = *state;
	struct ring *ring = bob.profile->person->ring;
	_cleanup_(buf_release) struct buf create = BUF_INIT, add = BUF_INIT, good = BUF_INIT,
					  bad = BUF_INIT, again = BUF_INIT, early = BUF_INIT;
	_cleanup_(secret_release) struct secret key = SECRET_INIT;
	_cleanup_(x_freep) char *chain = NULL;
	struct packets_taken result;
	struct bytes items[2];
	struct story s;

	story_begin(f, &s, &create);
	story_add(f, &s, &f->first, &bob, &add);
	items[0] = buf_bytes(&create);
	items[1] = buf_bytes(&add);
	chain = list_of(NULL, items, 2);
	invent(&more_lies[0], "/v1/vaults/", chain);
	give(f, &s, &f->first, 1, 0x11, &good);
	give(f, &s, &carol, 1, 0x22, &bad);
	give(f, &s, &f->first, 1, 0x33, &again);
	give(f, &s, &f->first, 2, 0x44, &early);
	/* Carol is nobody here; there is no epoch 2. */
	MUST(f, taken(f, &s, &bad, &result));
	assert_int_equal(result.taken, 0);
	assert_int_equal(result.refused, 1);
	assert_non_null(strstr(result.why.text, "'carol'"));
	{ /* The chain is pinned by now: only its last statement is asked for. */
		_cleanup_(x_freep) char *tail = list_of(NULL, &items[1], 1);

		more_lies[0].instead = bytes_str(tail);
		MUST(f, taken(f, &s, &early, &result));
		assert_int_equal(result.refused, 1);
		MUST(f, taken(f, &s, &good, &result));
		assert_int_equal(result.taken, 1);
		MUST(f, ring->get(ring, KEYRING_VAULT_KEY, s.id, 1, &key, &f->err));
		assert_int_equal(key.data[0], 0x11);
		/* Another key of a held epoch takes nothing's place. */
		MUST(f, taken(f, &s, &again, &result));
		assert_int_equal(result.held, 1);
		MUST(f, ring->get(ring, KEYRING_VAULT_KEY, s.id, 1, &key, &f->err));
		assert_int_equal(key.data[0], 0x11);
	}
	story_end(&s);
}

/* Other users' keys under a name, a chain cut short, a chain withheld. */
static void test_people(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(f->first.profile, f->first.client);
	_cleanup_(x_freep) char *none = list_of(NULL, NULL, 0);
	const struct identity *identity;
	uint8_t bob_id[ID_BYTES];
	char answer_text[256], hex[HEX_LEN(ID_BYTES) + 1];

	MUST(f, people_by_name(people, "bob", &identity, &f->err));
	memcpy(bob_id, identity->user_id, ID_BYTES);
	assert_memory_equal(bob_id, bob.profile->user_id, ID_BYTES);
	assert_string_equal(identity->name, "bob");
	MUST(f, people_by_name(people, "carol", &identity, &f->err));
	/* Carol's id for bob's name. */
	hex_encode(bytes_of(carol.profile->user_id, ID_BYTES), hex);
	(void)snprintf(answer_text, sizeof answer_text, "{\"user_id\":\"%s\"}", hex);
	invent(&lie, "/v1/users/bob", answer_text);
	f->err = (struct err){0};
	assert_int_equal(people_by_name(people, "bob", &identity, &f->err), KLUIS_EVERIFY);
	assert_says(f, "somebody else");
	memset(&lie, 0, sizeof lie);
	/* Of one that was seen no chain at all. */
	people_ask_again(people);
	invent(&lie, "/v1/users/", none);
	f->err = (struct err){0};
	assert_int_equal(people_get(people, bob_id, true, &identity, &f->err), KLUIS_EVERIFY);
	memset(&lie, 0, sizeof lie);
	/* Known, without the cluster. */
	people_free(people);
	people = people_new(f->first.profile, NULL);
	MUST(f, people_get(people, bob_id, true, &identity, &f->err));
	assert_string_equal(identity->name, "bob");
	people_free(people);
}

/* A genesis of this name under keys of the cluster's own. */
static void impostor(const uint8_t id[ID_BYTES], const char *name, struct buf *ret_genesis)
{
	_cleanup_(key_freep) struct key *signing = NULL, *transfer = NULL;

	assert_int_equal(key_generate(KEY_RSA_PSS, 2048, &signing, NULL), 0);
	assert_int_equal(key_generate(KEY_KEM_P256, 0, &transfer, NULL), 0);
	assert_int_equal(
		identity_genesis(id, name, signing, key_public(transfer), 1, ret_genesis, NULL), 0);
}

/* Who was seen under a name stays who is meant by it, though no number was compared. */
static void test_first_sight(void **state)
{
	struct fixture *f = *state;
	struct people *people = people_new(f->first.profile, f->first.client);
	const uint8_t other_id[ID_BYTES] = {0x77};
	_cleanup_(buf_release) struct buf other = BUF_INIT, same = BUF_INIT;
	_cleanup_(x_freep) char *other_chain = NULL;
	_cleanup_(x_freep) char *same_chain = NULL;
	const struct identity *identity;
	char target[128], user[128], hex[HEX_LEN(ID_BYTES) + 1];
	struct bytes item;

	MUST(f, people_by_name(people, "bob", &identity, &f->err));
	impostor(other_id, "bob", &other);
	impostor(bob.profile->user_id, "bob", &same);
	item = buf_bytes(&other);
	other_chain = list_of("statement", &item, 1);
	item = buf_bytes(&same);
	same_chain = list_of("statement", &item, 1);
	/* Another id, with a chain of its own. */
	hex_encode(bytes_of(other_id, ID_BYTES), hex);
	(void)snprintf(user, sizeof user, "{\"user_id\":\"%s\"}", hex);
	(void)snprintf(target, sizeof target, "/v1/users/%s", hex);
	invent(&lie, "/v1/users/bob", user);
	invent(&more_lies[0], target, other_chain);
	f->err = (struct err){0};
	assert_int_equal(people_by_name(people, "bob", &identity, &f->err), KLUIS_EPIN);
	assert_says(f, "not who this device knows");
	lie_end();
	/* Other keys under the same id. */
	people_ask_again(people);
	hex_encode(bytes_of(bob.profile->user_id, ID_BYTES), hex);
	(void)snprintf(target, sizeof target, "/v1/users/%s", hex);
	invent(&lie, target, same_chain);
	f->err = (struct err){0};
	assert_int_equal(people_by_name(people, "bob", &identity, &f->err), KLUIS_EPIN);
	assert_says(f, "not who this device has seen");
	lie_end();
	people_ask_again(people);
	MUST(f, people_by_name(people, "bob", &identity, &f->err));
	people_free(people);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_people),
		cmocka_unit_test(test_first_sight), cmocka_unit_test(test_chain_pinned),
		cmocka_unit_test(test_packets_taken)};

	return cmocka_run_group_tests(tests, setup_three, teardown_three);
}
