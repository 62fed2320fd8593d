/* Vaults given by RSA-OAEP to who has an RSA key, against the API of a real node. */
#include "tests/lib/account_rig/account_share.h"

#include <string.h>

#include "cli/client/account_impl.h"

/* How the key of this object is sealed that waits for her. */
static unsigned waiting_mode(struct fixture *f, struct device *d, const uint8_t object_id[ID_BYTES])
{
	unsigned mode = 0;
	json_t *items;

	MUST(f, api_list(
			d->client, "/v1/packets", CLIENT_AUTH | CLIENT_READ, 100, &items, &f->err));
	for (size_t i = 0; i < json_array_size(items); i++) {
		_cleanup_(buf_release) struct buf bytes = BUF_INIT;
		const json_t *text = json_object_get(json_array_get(items, i), "packet");
		struct keypacket packet;

		assert_int_equal(base64_decode(bytes_str(json_string_value(text)),
					 KEYPACKET_BYTES_MAX, &bytes),
			0);
		MUST(f, keypacket_parse(buf_bytes(&bytes), &packet, &f->err));
		if (memcmp(packet.object_id, object_id, ID_BYTES) == 0) {
			mode = packet.mode;
		}
	}
	json_decref(items);
	return mode;
}

/* Whoever has made an RSA key is given vaults by it (mode 3 of docs/format-crypto.md,
 * "KeyPackets"). */
static void test_rsa_key(void **state)
{
	static const char next[] = "another kettle of fog and violins";
	struct fixture *f = *state;
	struct account_terms terms = cheap();
	struct account_new_keys made = {.rsa = false};
	uint8_t id[ID_BYTES];

	terms.rsa_key = true;
	terms.made = &made;
	MUST(f, account_passwd(
			carol.profile, carol.client, bytes_str(next), &terms, &f->code, &f->err));
	assert_true(made.rsa);
	assert_non_null(identity_transfer(&carol.profile->identity, KEY_KEM_RSA));
	put_note(f, &f->first, "by rsa");
	put_text(f, &f->first, "by rsa", "one");
	id_of(f, &f->first, "by rsa", id);
	MUST(f, share(f, &f->first, "by rsa", "carol", MEMBER_WRITE));
	assert_int_equal(waiting_mode(f, &carol, id), KEYPACKET_RSA);
	MUST(f, answer(f, &carol, MEMBER_OBJECT_VAULT, id, true));
	read_all(f, &carol, "by rsa");
	put_text(f, &carol, "by rsa", "two");
	read_all(f, &f->first, "by rsa");
	/* Again: the same key stays. */
	made.rsa = false;
	MUST(f, account_passwd(carol.profile, carol.client,
			bytes_of(old_password, strlen(old_password)), &terms, &f->code, &f->err));
	assert_false(made.rsa);
	read_all(f, &carol, "by rsa");
}

/* A new vault with a text, given to her; how its key is sealed. */
static unsigned given(
	struct fixture *f, struct device *d, const char *name, uint8_t ret_id[ID_BYTES])
{
	put_note(f, &f->first, name);
	put_text(f, &f->first, name, name);
	id_of(f, &f->first, name, ret_id);
	MUST(f, share(f, &f->first, name, d->profile->account, MEMBER_READ));
	return waiting_mode(f, d, ret_id);
}

static void taken(struct fixture *f, struct device *d, const char *name, const uint8_t id[ID_BYTES])
{
	MUST(f, answer(f, d, MEMBER_OBJECT_VAULT, id, true));
	read_all(f, d, name);
}

static const struct key_pub *rsa_named(const struct device *d)
{
	return identity_transfer(&d->profile->identity, KEY_KEM_RSA);
}

/* Made with the account, revoked, another one made: what was given by the one that was revoked
 * opens, and nobody gives by it. */
static void test_rsa_key_revoked(void **state)
{
	struct fixture *f = *state;
	struct account_registration r = {.password = bytes_of(old_password, strlen(old_password)),
		.device_name = "laptop",
		.terms = cheap()};
	uint8_t before[ID_BYTES], after[ID_BYTES], later[ID_BYTES], kid[KID_BYTES];
	struct device dora;

	device_open_as(f, &dora, "dora", "dora");
	r.terms.rsa_key = true;
	MUST(f, account_register(dora.profile, dora.client, &r, &f->code, &f->err));
	assert_non_null(rsa_named(&dora));
	memcpy(kid, key_pub_kid(rsa_named(&dora)), KID_BYTES);
	assert_int_equal(given(f, &dora, "before", before), KEYPACKET_RSA);
	MUST(f, account_revoke_rsa(dora.profile, dora.client, &f->err));
	assert_int_equal(account_revoke_rsa(dora.profile, dora.client, &f->err), KLUIS_ENOTFOUND);
	f->err = (struct err){0};
	assert_int_equal(given(f, &dora, "after", after), KEYPACKET_HPKE);
	taken(f, &dora, "before", before);
	taken(f, &dora, "after", after);
	MUST(f, enter(f, &dora, old_password, bytes_of(NULL, 0))); /* It does not bring it back. */
	MUST(f, account_finish_keys(dora.profile, dora.client, &f->err));
	assert_null(rsa_named(&dora));
	MUST(f, account_passwd(dora.profile, dora.client, r.password, &r.terms, &f->code, &f->err));
	assert_non_null(rsa_named(&dora));
	assert_memory_not_equal(key_pub_kid(rsa_named(&dora)), kid, KID_BYTES);
	assert_int_equal(given(f, &dora, "later", later), KEYPACKET_RSA);
	taken(f, &dora, "later", later);
	read_all(f, &dora, "before");
	device_close(&dora);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rsa_key), cmocka_unit_test(test_rsa_key_revoked)};

	return cmocka_run_group_tests(tests, setup_three, teardown_three);
}
