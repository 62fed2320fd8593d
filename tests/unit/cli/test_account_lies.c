/* The same against a node that lies. */
#include "tests/lib/account_rig/account_rig.h"

#include <string.h>

#include "base/wire.h"
#include "cli/client/json_reader.h"

/* Each of these would let a node fool the client; each ends in a named error, and the profile is as
 * it was. */
#define GROUP_LIE(n)                                    \
	"{\"salt\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"kdf\":" \
	"\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"group\":" #n "}"
static void test_lies_at_login(void **state)
{
	static const struct {
		const char *target, *member;
		size_t at;
		int rc;
	} lies[] = {
		{"/v1/login/finish", "M2", 0, KLUIS_EVERIFY},
		{"/v1/login/finish", "M2", 31, KLUIS_EVERIFY},
		{"/v1/login/finish", "token_mac", 0, KLUIS_EVERIFY},
		{"/v1/login/start", "kdf", 4, KLUIS_EVERIFY}, /* More rounds than can be. */
		{"/v1/unlock", "slot", 100, KLUIS_EVERIFY},
		{"/v1/unlock", "unlock_share", 0, KLUIS_EVERIFY},
	};
	/* Groups that there are not, one that changes for ever, and ours without a handshake. */
	static const char *const groups[] = {
		GROUP_LIE(0), GROUP_LIE(9), GROUP_LIE(2), GROUP_LIE(3)};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		device_reopen(f, &f->first);
		lie = (struct lie){.target = lies[i].target,
			.member = lies[i].member,
			.kind = LIE_FLIP,
			.at = lies[i].at};
		assert_int_equal(enter(f, &f->first, old_password, bytes_of(NULL, 0)), lies[i].rc);
		assert_null(f->first.profile->person->ring);
		lie_end();
	}
	device_reopen(f, &f->first);
	lie = (struct lie){.target = "/v1/login/finish",
		.member = "token",
		.kind = LIE_TEXT,
		.text = "kst_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
	assert_int_equal(enter(f, &f->first, old_password, bytes_of(NULL, 0)), KLUIS_EVERIFY);
	lie_end();
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		device_reopen(f, &f->first);
		lie = (struct lie){.target = "/v1/login/start",
			.kind = LIE_REPLACE,
			.instead = bytes_str(groups[i])};
		assert_int_equal(
			enter(f, &f->first, old_password, bytes_of(NULL, 0)), KLUIS_EVERIFY);
		lie_end();
	}
	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, old_password, bytes_of(NULL, 0)));
}

/* The node says that this account's password is alone: it would get a proof to guess at without the
 * account key. Nothing is sent, whoever holds the key: the profile, or the person who typed it. */
static void test_account_key_left_out(void **state)
{
	struct fixture *f = *state;
	char text[BASE64_LEN(KDF_BYTES) + 1];
	unsigned before = derived;

	kdf_text(0, text);
	device_reopen(f, &f->first);
	device_open(f, &f->second, "second");
	lie = (struct lie){
		.target = "/v1/login/start", .member = "kdf", .kind = LIE_TEXT, .text = text};
	assert_int_equal(enter(f, &f->first, old_password, bytes_of(NULL, 0)), KLUIS_EPIN);
	assert_int_equal(enter(f, &f->second, old_password, account_key(f)), KLUIS_EPIN);
	/* Whoever wants no such account is stretched nothing for, either. */
	secret_release(&f->first.profile->person->account_key);
	assert_int_equal(enter(f, &f->first, old_password, bytes_of(NULL, 0)), KLUIS_EPIN);
	assert_int_equal(derived, before);
	lie_end();
}

/* Group, salt and B of another exchange: no proof comes of it that anybody could use. */
static void test_lies_about_srp(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	const struct lie lies[] = {
		{.member = "group", .kind = LIE_NUMBER, .number = 2},
		{.member = "group", .kind = LIE_NUMBER, .number = 9},
		{.member = "salt", .kind = LIE_FLIP, .at = 3},
		{.member = "B", .kind = LIE_FLIP, .at = 100},
		{.member = "B", .kind = LIE_TEXT, .text = ""},
		{.member = "B", .kind = LIE_TEXT},
	};
	const int wanted[] = {KLUIS_EVERIFY, KLUIS_EVERIFY, KLUIS_EUNAUTHENTICATED,
		KLUIS_EUNAUTHENTICATED, KLUIS_EVERIFY, KLUIS_EVERIFY};

	memset(buf_extend(&b, srp_group_bytes(SRP_GROUP_DEFAULT)), 0,
		srp_group_bytes(SRP_GROUP_DEFAULT));
	base64_append(&text, buf_bytes(&b));
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		device_reopen(f, &f->first);
		lie = lies[i];
		lie.target = "/v1/login/start";
		if (lie.kind == LIE_TEXT && lie.text == NULL) {
			lie.text = buf_str(&text);
		}
		assert_int_equal(enter(f, &f->first, old_password, bytes_of(NULL, 0)), wanted[i]);
		assert_null(f->first.profile->person->ring);
		lie_end();
	}
}

/* Another slot of the same keyring at the unlock, and a login by another block than the slot's. */
static void test_lies_about_slots(void **state)
{
	struct fixture *f = *state;
	struct account_login in = {.root = SECRET_INIT};
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct keyring_view view;
	struct keyring_slot slot;
	struct bytes encoded;

	MUST(f, keyring_parse(buf_bytes(&f->first.profile->person->keyring), &view, &f->err));
	encoded = keyring_view_find(&view, KEYRING_SLOT_RECOVERY, NULL, &slot);
	assert_int_equal(encoded.len, KEYRING_SLOT_BYTES);
	json_take_text(json_pack("{s:o, s:o, s:o, s:I}", "slot_id",
			       json_hex(bytes_of(slot.slot_id, ID_BYTES)), "unlock_share",
			       json_base64(bytes_of(view.hash, UNLOCK_SHARE_BYTES)), "slot",
			       json_base64(encoded), "revision", (json_int_t)1),
		&text);
	lie = (struct lie){
		.target = "/v1/unlock", .kind = LIE_REPLACE, .instead = buf_bytes(&text)};
	assert_int_equal(enter(f, &f->first, old_password, bytes_of(NULL, 0)), KLUIS_EVERIFY);
	lie_end();
	MUST(f, login(f, &f->first, old_password, bytes_of(NULL, 0), &in));
	in.kdf[KDF_BYTES - 1] ^= 1;
	assert_int_equal(
		account_unlock(f->first.profile, f->first.client, &in, &f->err), KLUIS_EVERIFY);
	account_login_release(&in);
}

/* An identity that never ends: given up before it fills the memory. */
static void test_endless_chain(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	const size_t filling = 3 << 20;

	buf_printf(&text, "{\"done\":false,\"next\":\"1:1\",\"items\":[{\"statement\":\"");
	memset(buf_extend(&text, filling), 'A', filling);
	buf_printf(&text, "\"}]}");
	lie = (struct lie){.target = "/v1/users/", .kind = LIE_INVENT, .instead = buf_bytes(&text)};
	assert_int_equal(account_refresh(f->first.profile, f->first.client, &f->err), KLUIS_EPROTO);
	assert_in_range(lie.struck, 1, (64 << 20) / filling + 1);
	lie_end();
}

static const uint8_t pending_id[ID_BYTES] = {9};

/* The node's list of devices: one waits, asked for by a statement of this key. The caller frees. */
static void pending_text(
	struct fixture *f, struct key *signer, const char *name, struct bytes *ret_text)
{
	const struct profile *p = f->first.profile;
	_cleanup_(buf_release) struct buf body = BUF_INIT, statement = BUF_INIT;
	_cleanup_(key_freep) struct key *sign = NULL, *hpke = NULL;
	struct buf text = BUF_INIT;
	struct statement s = {
		.chain = CHAIN_IDENTITY, .type = IDENTITY_DEVICE_ADD, .seq = 3, .unix_ms = 1};

	MUST(f, key_generate(KEY_ECDSA_P256, 0, &sign, &f->err));
	MUST(f, key_generate(KEY_KEM_P256, 0, &hpke, &f->err));
	identity_body_device(&body, pending_id, key_public(sign), key_public(hpke), name);
	memcpy(s.object_id, p->user_id, ID_BYTES);
	memcpy(s.prev_hash, p->identity.head_hash, HASH_BYTES);
	s.body = buf_bytes(&body);
	MUST(f, statement_sign(&s, signer, &statement, &f->err));
	json_take_text(
		json_pack("{s:[{s:o, s:s, s:s, s:o}], s:b}", "items", "id",
			json_hex(bytes_of(pending_id, ID_BYTES)), "name", "phone", "state",
			"pending", "statement", json_base64(buf_bytes(&statement)), "done", 1),
		&text);
	*ret_text = buf_bytes(&text); /* Its memory goes to the caller. */
}

/* Who has the password asks for a device whose name would paint over the id that is compared, and
 * the cluster shows it as honest nodes do not. */
static void test_device_names(void **state)
{
	static const char *const names[] = {"\x1b[2K\rphone", "a\nb", "\x7f",
		"\xc2\x9b"
		"2J"};
	struct fixture *f = *state;
	struct profile *p = f->first.profile;
	enum account_device_state added;
	struct account_device *devices;
	uint8_t kid[KID_BYTES];
	size_t n;

	device_open(f, &f->second, "second");
	MUST(f, enter(f, &f->second, old_password, account_key(f)));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(account_device_add(f->second.profile, f->second.client, names[i],
					 &added, NULL),
			KLUIS_EINVAL);
		lie = (struct lie){.target = "/v1/devices", .kind = LIE_INVENT};
		pending_text(f, p->signing, names[i], &lie.instead);
		assert_int_equal(
			account_devices(p, f->first.client, &devices, &n, &f->err), KLUIS_EVERIFY);
		free((void *)lie.instead.data);
		lie_end();
	}
	MUST(f, account_device_add(f->second.profile, f->second.client, "phone", &added, &f->err));
	memcpy(kid, key_pub_kid(key_public(f->second.profile->device)), KID_BYTES);
	MUST(f, account_devices(p, f->first.client, &devices, &n, &f->err));
	assert_int_equal(n, 2);
	assert_memory_equal(devices[1].kid, kid, KID_BYTES);
	/* Approved is the key that was compared, not what the cluster shows then. */
	lie = (struct lie){.target = "/v1/devices", .kind = LIE_INVENT};
	pending_text(f, p->signing, "phone", &lie.instead);
	assert_int_equal(
		account_device_approve(p, f->first.client, pending_id, devices[1].kid, &f->err),
		KLUIS_EVERIFY);
	free((void *)lie.instead.data);
	lie_end();
	account_devices_free(devices, n);
}

/* The chain goes on with this, by whoever has the signing key, and the keyring does not. */
static void expect_own_chain_refused(
	struct fixture *f, unsigned type, const struct buf *body, const char *words)
{
	struct profile *p = f->first.profile;
	_cleanup_(buf_release) struct buf statement = BUF_INIT, text = BUF_INIT;
	struct wire w = wire_of(buf_bytes(&p->person->chain));
	json_t *items = json_array();

	MUST(f, identity_make(
			&p->identity, type, buf_bytes(body), p->signing, 1, &statement, &f->err));
	while (w.left.len > 0) {
		(void)json_array_append_new(
			items, json_pack("{s:o}", "statement", json_base64(wire_lp32(&w, 65536))));
	}
	(void)json_array_append_new(
		items, json_pack("{s:o}", "statement", json_base64(buf_bytes(&statement))));
	json_take_text(json_pack("{s:o, s:b}", "items", items, "done", 1), &text);
	lie = (struct lie){.target = "/v1/users/", .kind = LIE_INVENT, .instead = buf_bytes(&text)};
	assert_int_equal(account_refresh(p, f->first.client, &f->err), KLUIS_EVERIFY);
	assert_non_null(strstr(f->err.text, words));
	lie_end();
	f->err = (struct err){0};
	/* Nothing of it was stored. */
	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, old_password, bytes_of(NULL, 0)));
}

static void test_own_key_changed(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	_cleanup_(key_freep) struct key *fresh = NULL;

	MUST(f, key_generate(KEY_RSA_PSS, 2048, &fresh, &f->err));
	MUST(f, identity_body_rotate(&body, &f->first.profile->identity, fresh, &f->err));
	expect_own_chain_refused(f, IDENTITY_ROTATE, &body, "another signing key");
}

/* Of its kind the only one, or in the place of hers: what others give her somebody else would get.
 */
static void test_own_transfer_key_changed(void **state)
{
	static const unsigned kems[] = {KEY_KEM_P256, KEY_KEM_P384};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(kems); i++) {
		_cleanup_(buf_release) struct buf body = BUF_INIT;
		_cleanup_(key_freep) struct key *fresh = NULL;

		MUST(f, key_generate(kems[i], 0, &fresh, &f->err));
		identity_body_transfer(&body, key_public(fresh));
		expect_own_chain_refused(f, IDENTITY_TRANSFER_ADD, &body, "give to you by");
	}
}

/* The cluster shows a device that waits, as nobody asked for it. */
static void test_invented_device(void **state)
{
	struct fixture *f = *state;
	struct profile *p = f->first.profile;
	_cleanup_(key_freep) struct key *forger = NULL;
	const uint8_t kid[KID_BYTES] = {0};
	struct account_device *devices;
	size_t n;

	MUST(f, key_generate(KEY_RSA_PSS, 2048, &forger, &f->err));
	lie = (struct lie){.target = "/v1/devices", .kind = LIE_INVENT};
	pending_text(f, forger, "phone", &lie.instead);
	assert_int_equal(account_devices(p, f->first.client, &devices, &n, &f->err), KLUIS_EVERIFY);
	assert_int_equal(account_device_approve(p, f->first.client, pending_id, kid, &f->err),
		KLUIS_EVERIFY);
	free((void *)lie.instead.data);
	lie_end();
	assert_int_equal(account_device_approve(p, f->first.client, pending_id, kid, &f->err),
		KLUIS_ENOTFOUND);
}

/* Counts above the floor, but below those of the keyring. */
static void test_lowered_rounds(void **state)
{
	struct fixture *f = *state;
	struct account_terms terms = {.login_count = 800000};
	char text[BASE64_LEN(KDF_BYTES) + 1];

	MUST(f, account_passwd(f->first.profile, f->first.client,
			bytes_of(new_password, strlen(new_password)), &terms, &f->code, &f->err));
	kdf_text(KDF_ACCOUNT_KEY, text);
	device_reopen(f, &f->first);
	lie = (struct lie){
		.target = "/v1/login/start", .member = "kdf", .kind = LIE_TEXT, .text = text};
	assert_int_equal(enter(f, &f->first, new_password, bytes_of(NULL, 0)), KLUIS_EPIN);
	lie_end();
}

static void test_old_keyring(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf old = BUF_INIT;

	buf_append_bytes(&old, buf_bytes(&f->first.profile->person->keyring));
	put_note(f, &f->first, "diary");
	lie = (struct lie){
		.target = "/v1/keyring", .kind = LIE_REPLACE, .instead = buf_bytes(&old)};
	assert_int_equal(account_refresh(f->first.profile, f->first.client, &f->err), KLUIS_EPIN);
	lie_end();
	lie = (struct lie){.target = "/v1/keyring", .kind = LIE_FLIP, .at = 2000};
	assert_int_equal(account_refresh(f->first.profile, f->first.client, &f->err), KLUIS_EPIN);
	lie_end();
	MUST(f, account_refresh(f->first.profile, f->first.client, &f->err));
}

int main(void)
{
#define ACCOUNT_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		ACCOUNT_TEST(test_lies_at_login),
		ACCOUNT_TEST(test_account_key_left_out),
		ACCOUNT_TEST(test_lies_about_srp),
		ACCOUNT_TEST(test_lies_about_slots),
		ACCOUNT_TEST(test_endless_chain),
		ACCOUNT_TEST(test_own_key_changed),
		ACCOUNT_TEST(test_own_transfer_key_changed),
		ACCOUNT_TEST(test_device_names),
		ACCOUNT_TEST(test_invented_device),
		ACCOUNT_TEST(test_lowered_rounds),
		ACCOUNT_TEST(test_old_keyring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
