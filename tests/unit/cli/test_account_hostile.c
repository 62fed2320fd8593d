/* A cluster that withholds, denies, forks and shows others instead: what her devices have seen is
 * what they are held to. */
#include "tests/lib/account_rig/account_rig.h"

#include <stdio.h>
#include <string.h>

#include "base/wire.h"
#include "cli/client/contact.h"
#include "cli/client/json_reader.h"
/* The state machine has a struct of this name as well. */
#define command cli_command
#include "cli/vault/app.h"
#undef command

static char *vault_target(const uint8_t id[ID_BYTES])
{
	char hex[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(id, ID_BYTES), hex);
	return x_asprintf("/v1/vaults/%s", hex);
}

/* A vault that the keyring knows and the cluster denies is an error wherever it is looked for, and
 * no other vault is harmed by it. */
static void test_withheld(void **state)
{
	struct fixture *f = *state;
	_cleanup_(x_freep) char *target = NULL;
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	uint8_t id[ID_BYTES], spare[ID_BYTES];
	uint64_t seq;
	size_t n;

	MUST(f, vault_create(f->first.profile, f->first.client, "diary", id, &f->err));
	put_note(f, &f->first, "letters");
	MUST(f, vault_person_store_pins(f->first.profile, f->first.client, &f->err));
	add_second(f);
	target = vault_target(id);
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_ENOTFOUND};
	MUST(f, sync_named(f, &f->second, "letters"));
	assert_int_equal(sync_named(f, &f->second, "diary"), KLUIS_EPIN);
	assert_int_equal(sync_named(f, &f->first, "diary"), KLUIS_EPIN);
	assert_int_equal(
		vault_person_adopt(f->second.profile, f->second.client, &f->err), KLUIS_EPIN);
	MUST(f, vault_known_ids(f->second.profile, &ids, &n, &f->err));
	assert_int_equal(n, 2);
	assert_true(vault_id_among(ids, n, id));
	MUST(f, vault_known_seq(f->second.profile, id, &seq, &f->err));
	assert_int_equal(seq, 1);
	MUST(f, vault_create(f->second.profile, f->second.client, "more", spare, &f->err));
	lie_end();
	MUST(f, sync_named(f, &f->second, "diary"));
}

/* The answers of a cluster that shows a chain of its own making under this name. */
struct forged {
	uint8_t id[ID_BYTES];
	char target[64];
	struct buf user, chain;
};

static void forge(struct forged *f, const struct profile *by, const char *name, uint8_t first)
{
	_cleanup_(buf_release) struct buf genesis = BUF_INIT;
	_cleanup_(key_freep) struct key *signing = NULL;
	char id[HEX_LEN(ID_BYTES) + 1];

	memset(f->id, first, ID_BYTES);
	hex_encode(bytes_of(f->id, ID_BYTES), id);
	(void)snprintf(f->target, sizeof f->target, "/v1/users/%s", id);
	assert_int_equal(key_generate(KEY_RSA_PSS, 2048, &signing, NULL), 0);
	assert_int_equal(
		identity_genesis(f->id, name, signing, key_public(by->transfer), 1, &genesis, NULL),
		0);
	json_take_text(json_pack("{s:s}", "user_id", id), &f->user);
	json_take_text(json_pack("{s:[{s:i, s:o}], s:b}", "items", "seq", 1, "statement",
			       json_base64(buf_bytes(&genesis)), "done", 1),
		&f->chain);
}

static void forged_tell(struct forged *f, const char *name_target)
{
	lie = (struct lie){
		.target = name_target, .kind = LIE_INVENT, .instead = buf_bytes(&f->user)};
	more_lies[0] = (struct lie){
		.target = f->target, .kind = LIE_INVENT, .instead = buf_bytes(&f->chain)};
}

static void forged_release(struct forged *f)
{
	buf_release(&f->user);
	buf_release(&f->chain);
}

static int find(struct fixture *f, const char *name, struct contact *ret)
{
	f->err = (struct err){0};
	return contact_load(f->first.profile, f->first.client, name, ret, &f->err);
}

static int find_rc(struct fixture *f, const char *name)
{
	struct contact c;
	int rc = find(f, name, &c);

	contact_release(&c);
	return rc;
}

static void person_open(struct fixture *f, struct device *d, const char *name)
{
	device_open_as(f, d, name, name);
	MUST(f, registration(f, d, old_password));
}

static char *identity_target(const struct profile *profile)
{
	char id[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(profile->user_id, ID_BYTES), id);
	return x_asprintf("/v1/users/%s", id);
}

/* Who was verified stays who she is: by her chain, and by her name. */
static void test_contact(void **state)
{
	struct fixture *f = *state;
	struct device bob = {0};
	struct contact c;
	struct forged other = {.user = BUF_INIT}, carol = {.user = BUF_INIT};
	char mine[SAFETY_CHARS + 1], theirs[SAFETY_CHARS + 1];
	_cleanup_(x_freep) char *target = NULL;

	person_open(f, &bob, "bob");
	target = identity_target(bob.profile);
	forge(&other, f->first.profile, "bob", 0x55);
	forge(&carol, f->first.profile, "carol", 0x66);
	MUST(f, find(f, "bob", &c));
	assert_false(c.pinned);
	contact_number(f->first.profile, &c, mine);
	MUST(f, contact_store(f->first.profile, f->first.client, &c, &f->err));
	contact_release(&c);
	MUST(f, contact_load(bob.profile, bob.client, "alice", &c, &f->err));
	contact_number(bob.profile, &c, theirs);
	contact_release(&c);
	assert_string_equal(mine, theirs);
	MUST(f, find(f, "bob", &c));
	assert_true(contact_current(&c));
	contact_release(&c);
	/* Another id under that name. */
	forged_tell(&other, "/v1/users/bob");
	assert_int_equal(find_rc(f, "bob"), KLUIS_EPIN);
	lie_end();
	/* Somebody new is held against all who were verified, and is fine; not if one is denied. */
	forged_tell(&carol, "/v1/users/carol");
	assert_int_equal(find_rc(f, "carol"), 0);
	more_lies[1] = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_ENOTFOUND};
	assert_int_equal(find_rc(f, "carol"), KLUIS_EVERIFY);
	lie_end();
	forged_tell(&other, "/v1/users/carol"); /* A chain of another name. */
	assert_int_equal(find_rc(f, "carol"), KLUIS_EVERIFY);
	lie_end();
	/* Her chain goes on: to be compared anew, and from then on no part of it may be missing. */
	MUST(f, account_policy(bob.profile, bob.client, IDENTITY_POLICY_NO_WEB, &f->err));
	MUST(f, find(f, "bob", &c));
	assert_true(c.pinned && !contact_current(&c));
	MUST(f, contact_store(f->first.profile, f->first.client, &c, &f->err));
	contact_release(&c);
	buf_clear(&other.chain);
	json_take_text(
		json_pack("{s:[{s:i, s:o}], s:b}", "items", "seq", 1, "statement",
			json_base64(wire_lp32(
				&(struct wire){.left = buf_bytes(&bob.profile->person->chain)},
				STATEMENT_BYTES_MAX)),
			"done", 1),
		&other.chain);
	lie = (struct lie){
		.target = target, .kind = LIE_REPLACE, .instead = buf_bytes(&other.chain)};
	assert_int_equal(find_rc(f, "bob"), KLUIS_EPIN);
	lie_end();
	forged_release(&other);
	forged_release(&carol);
	device_close(&bob);
}

/* A cluster that shows vaults but neither keyring nor identity: nothing that it shows is believed,
 * as nobody knows which devices and heads still count. */
static void test_unrefreshed(void **state)
{
	static const char *const targets[] = {"/v1/keyring", "/v1/users/"};
	static const int refusals[] = {KLUIS_ENOQUORUM, KLUIS_EBEHIND};
	struct fixture *f = *state;
	_cleanup_(x_freep) char *told = NULL;
	size_t told_len;
	FILE *notes = open_memstream(&told, &told_len);
	struct invocation inv = {.out = {.data = stdout, .notes = notes}};
	struct app k = {.inv = &inv, .profile = f->first.profile, .client = f->first.client};
	struct vault *vault;

	put_note(f, &f->first, "diary");
	put_text(f, &f->first, "diary", "dear diary");
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		lie = (struct lie){.target = targets[i], .kind = LIE_REFUSE, .rc = refusals[i]};
		MUST(f, app_refresh(&k));
		assert_int_equal(k.unrefreshed.code, refusals[i]);
		assert_int_equal(app_open_vault(&k, "diary", &vault), refusals[i]);
		assert_int_equal(app_fresh(&k), refusals[i]);
		MUST(f, app_read_vault(&k, "diary", &vault));
		assert_true(vault->offline);
		vault_close(vault);
		MUST(f, app_store_pins(&k));
		lie_end();
		MUST(f, app_refresh(&k));
		assert_int_equal(k.unrefreshed.code, 0);
		MUST(f, app_read_vault(&k, "diary", &vault));
		assert_false(vault->offline);
		vault_close(vault);
	}
	/* Pins that the cluster does not take are missed by the user. */
	lie = (struct lie){.target = "/v1/keyring", .kind = LIE_REFUSE, .rc = KLUIS_ENOQUORUM};
	(void)fflush(notes);
	assert_null(strstr(told, "did not reach your keyring"));
	MUST(f, app_store_pins(&k));
	(void)fflush(notes);
	assert_non_null(strstr(told, "did not reach your keyring"));
	lie_end();
	(void)fclose(notes);
}

/* As another device would: that it saw this head. */
static void pin_put(
	struct fixture *f, const uint8_t id[ID_BYTES], uint64_t seq, const uint8_t hash[HASH_BYTES])
{
	uint8_t value[KEYRING_VAULT_PIN_BYTES];
	struct ring_change change = {
		.type = KEYRING_VAULT_PIN, .value = bytes_of(value, sizeof value)};

	memcpy(change.object_id, id, ID_BYTES);
	store_u64(value, seq);
	memcpy(value + 8, hash, HASH_BYTES);
	MUST(f, account_put_entries(f->first.profile, f->first.client, &change, 1, &f->err));
}

static uint64_t pin_seq(struct fixture *f, const uint8_t id[ID_BYTES])
{
	uint8_t hash[HASH_BYTES];
	uint64_t seq;

	MUST(f, vault_person_pin(f->first.profile, id, &seq, hash, &f->err));
	return seq;
}

/* The pins of another device: a head that this one never saw is missed all the same. */
static void test_pin_of_another(void **state)
{
	static const uint8_t other[HASH_BYTES] = {1};
	struct fixture *f = *state;
	uint8_t id[ID_BYTES], second[ID_BYTES];
	struct vault *vault;

	MUST(f, vault_create(f->first.profile, f->first.client, "diary", id, &f->err));
	MUST(f, vault_open(f->first.profile, f->first.client, "diary", &vault, &f->err));
	pin_put(f, id, 1, vault->head.hash);
	MUST(f, vault_sync(vault, &f->err));
	pin_put(f, id, 2, other); /* A second head, which the cluster does not show. */
	assert_int_equal(vault_sync(vault, &f->err), KLUIS_EPIN);
	vault_close(vault);
	MUST(f, vault_create(f->first.profile, f->first.client, "letters", second, &f->err));
	pin_put(f, second, 1, other); /* Another first head. */
	assert_int_equal(sync_named(f, &f->first, "letters"), KLUIS_EPIN);
}

/* A head of one vault, as the cluster has it. */
static void head_of(
	struct fixture *f, const uint8_t id[ID_BYTES], uint64_t seq, uint8_t ret_hash[HASH_BYTES])
{
	_cleanup_(buf_release) struct buf heads = BUF_INIT;
	struct head head;
	bool done;

	MUST(f, api_heads(f->first.client, id, seq - 1, &heads, &done, &f->err));
	MUST(f, head_parse(bytes_of(heads.data, HEAD_BYTES), &head, &f->err));
	memcpy(ret_hash, head.hash, HASH_BYTES);
}

/* Two devices are shown different histories, and each is ahead of what the other saw: the evidence
 * lies behind the own pin, and is not written over. */
static void test_fork_behind(void **state)
{
	static const uint8_t other[HASH_BYTES] = {1};
	struct fixture *f = *state;
	uint8_t id[ID_BYTES], honest[ID_BYTES], hash[HASH_BYTES];
	_cleanup_(x_freep) char *target = NULL;

	MUST(f, vault_create(f->first.profile, f->first.client, "diary", id, &f->err));
	MUST(f, vault_create(f->first.profile, f->first.client, "letters", honest, &f->err));
	for (unsigned i = 0; i < 3; i++) {
		char text[] = {'a', (char)('0' + i), 0};

		put_text(f, &f->first, "diary", text);
		put_text(f, &f->first, "letters", text);
	}
	/* Heads that this profile has not noted: only the ends of its syncs are. */
	{
		struct vault place = {.profile = f->first.profile};
		_cleanup_(x_freep) char *name = NULL, *other_name = NULL;

		memcpy(place.id, id, ID_BYTES);
		name = vault_file(&place, "seen");
		memcpy(place.id, honest, ID_BYTES);
		other_name = vault_file(&place, "seen");
		MUST(f, profile_remove(f->first.profile, name, &f->err));
		MUST(f, profile_remove(f->first.profile, other_name, &f->err));
	}
	pin_put(f, id, 2, other);
	/* Before a sync has found it in the history it stays. */
	head_of(f, honest, 2, hash);
	pin_put(f, honest, 2, hash);
	MUST(f, vault_person_store_pins(f->first.profile, f->first.client, &f->err));
	assert_int_equal(pin_seq(f, id), 2);
	assert_int_equal(pin_seq(f, honest), 2);
	assert_int_equal(sync_named(f, &f->first, "diary"), KLUIS_EPIN);
	target = vault_target(honest);
	lie = (struct lie){.target = x_asprintf("%s/heads", target),
		.kind = LIE_REFUSE,
		.rc = KLUIS_ENOQUORUM};
	assert_int_equal(sync_named(f, &f->first, "letters"), KLUIS_ENOQUORUM);
	free((void *)lie.target);
	lie.target = "";
	lie_end();
	MUST(f, sync_named(f, &f->first, "letters"));
	MUST(f, vault_person_store_pins(f->first.profile, f->first.client, &f->err));
	assert_int_equal(pin_seq(f, id), 2);
	assert_int_equal(pin_seq(f, honest), 4);
}

/* Who lost a race for the keyring does not put older pins over newer ones. */
static void test_pins_race(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES], hash[HASH_BYTES];

	MUST(f, vault_create(f->first.profile, f->first.client, "diary", id, &f->err));
	put_text(f, &f->first, "diary", "a");
	head_of(f, id, 2, hash);
	pin_put(f, id, 2, hash);
	head_of(f, id, 1, hash);
	pin_put(f, id, 1, hash);
	assert_int_equal(pin_seq(f, id), 2);
}

static void entry_put(struct fixture *f, struct device *d, uint8_t object)
{
	uint8_t value[KEYRING_CONTACT_PIN_BYTES] = {1};
	struct ring_change change = {.type = KEYRING_CONTACT_PIN,
		.object_id = {object},
		.value = bytes_of(value, sizeof value)};

	MUST(f, account_put_entries(d->profile, d->client, &change, 1, &f->err));
}

/* Keyrings between the known one and the newest are looked at, each the next of the one before. */
static void test_keyrings_between(void **state)
{
	struct fixture *f = *state;
	struct profile *p = f->first.profile;
	struct keyring_view view;
	uint64_t before;

	add_second(f);
	for (uint8_t i = 1; i <= 3; i++) {
		entry_put(f, &f->second, i);
	}
	MUST(f, keyring_parse(buf_bytes(&p->person->keyring), &view, &f->err));
	before = view.revision;
	lie = (struct lie){.target = "/v1/keyring/versions/", .kind = LIE_FLIP, .at = 2000};
	assert_int_equal(account_refresh(p, f->first.client, &f->err), KLUIS_EPIN);
	lie_end();
	lie = (struct lie){
		.target = "/v1/keyring/versions/", .kind = LIE_REFUSE, .rc = KLUIS_ENOTFOUND};
	assert_int_equal(account_refresh(p, f->first.client, &f->err), KLUIS_EVERIFY);
	lie_end();
	MUST(f, account_refresh(p, f->first.client, &f->err));
	MUST(f, keyring_parse(buf_bytes(&p->person->keyring), &view, &f->err));
	assert_int_equal(view.revision, before + 3);
	/* Further than versions are kept: what it holds has to do. */
	for (uint8_t i = 4; i <= 15; i++) {
		entry_put(f, &f->second, i);
	}
	MUST(f, account_refresh(p, f->first.client, &f->err));
}

/* A consent to a restore does not outlive the next refresh, whether anything had moved or not. */
static void test_restore_consent(void **state)
{
	struct fixture *f = *state;
	struct profile *p = f->first.profile;

	MUST(f, person_accept_restore(p, p->lineage, &f->err));
	assert_true(person_is_restored(p));
	MUST(f, account_refresh(p, f->first.client, &f->err));
	assert_false(person_is_restored(p));
}

/* A new device is shown the own chain without its last statement, which may have revoked a device:
 * the others have put what they saw into the keyring. */
static void test_own_chain_cut(void **state)
{
	struct fixture *f = *state;
	struct profile *p = f->first.profile;
	_cleanup_(x_freep) char *target = identity_target(p);
	_cleanup_(buf_release) struct buf cut = BUF_INIT;
	json_t *items = json_array();
	struct wire w;

	MUST(f, account_policy(p, f->first.client, 0, &f->err));
	MUST(f, vault_person_store_pins(p, f->first.client, &f->err));
	w = wire_of(buf_bytes(&p->person->chain));
	for (unsigned i = 1; i < p->identity.seq; i++) {
		(void)json_array_append_new(
			items, json_pack("{s:i, s:o}", "seq", (int)i, "statement",
				       json_base64(wire_lp32(&w, STATEMENT_BYTES_MAX))));
	}
	json_take_text(json_pack("{s:o, s:b}", "items", items, "done", 1), &cut);
	device_open(f, &f->second, "second");
	lie = (struct lie){.target = target, .kind = LIE_INVENT, .instead = buf_bytes(&cut)};
	assert_int_equal(enter(f, &f->second, old_password, account_key(f)), KLUIS_EPIN);
	assert_null(f->second.profile->person->ring);
	lie_end();
	device_close(&f->second); /* Nothing of it was kept. */
	device_open(f, &f->second, "third");
	MUST(f, enter(f, &f->second, old_password, account_key(f)));
	/* The first device has nothing to put a second time. */
	lie = (struct lie){.target = "/v1/keyring", .kind = LIE_REFUSE, .rc = KLUIS_ENOQUORUM};
	MUST(f, vault_person_store_pins(p, f->first.client, &f->err));
	lie.struck = 1;
	lie_end();
}

int main(void)
{
#define HOSTILE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		HOSTILE_TEST(test_withheld),
		HOSTILE_TEST(test_contact),
		HOSTILE_TEST(test_unrefreshed),
		HOSTILE_TEST(test_pin_of_another),
		HOSTILE_TEST(test_fork_behind),
		HOSTILE_TEST(test_pins_race),
		HOSTILE_TEST(test_keyrings_between),
		HOSTILE_TEST(test_restore_consent),
		HOSTILE_TEST(test_own_chain_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
