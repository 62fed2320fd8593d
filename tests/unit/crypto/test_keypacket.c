#include "tests/lib/test.h"

#include <jansson.h>
#include <string.h>

#include "base/text.h"
#include "crypto/keypacket.h"

static struct key *sender, *other_sender, *rsa;
static const uint8_t rcpt_id[ID_BYTES] = {3};

/* An RSA-4096 key takes seconds to find; the known answers hold one. */
static struct key *rsa_from_vectors(void)
{
	json_t *file = json_load_file(
		KLUIS_SOURCE_DIR "/tests/vectors/kluis-kat.json", JSON_ALLOW_NUL, NULL);
	const json_t *row;
	struct key *key = NULL;
	size_t i;

	json_array_foreach(json_object_get(file, "cases"), i, row)
	{
		const char *id = json_string_value(json_object_get(row, "id"));

		if (strcmp(id, "kp-8001-2") == 0) {
			const json_t *text =
				json_object_get(json_object_get(row, "in"), "rcpt_private");
			struct buf raw = BUF_INIT;

			assert_int_equal(
				hex_decode_buf(bytes_str(json_string_value(text)), 8192, &raw), 0);
			assert_int_equal(key_decode(KEY_KEM_RSA, buf_bytes(&raw), &key, NULL), 0);
			buf_release(&raw);
		}
	}
	json_decref(file);
	assert_non_null(key);
	return key;
}

static int make_keys(void **state)
{
	(void)state;
	rsa = rsa_from_vectors();
	return key_generate(KEY_RSA_PSS, 2048, &sender, NULL) ||
	       key_generate(KEY_RSA_PSS, 2048, &other_sender, NULL);
}

static int free_keys(void **state)
{
	(void)state;
	key_free(sender);
	key_free(other_sender);
	key_free(rsa);
	return 0;
}

static struct keypacket fields_of(void)
{
	struct keypacket fields = {.aead = AEAD_AES_256_GCM,
		.purpose = KEYPACKET_VAULT,
		.role = 2,
		.packet_id = {1},
		.sender_user = {2},
		.object_id = {4},
		.epoch = 1,
		.unix_ms = 1000,
		.expires_ms = 2000};

	memcpy(fields.rcpt_id, rcpt_id, ID_BYTES);
	return fields;
}

/* All that needs no state of the receiver. */
static int open_packet(struct bytes encoded, const struct key *rcpt, struct secret *secret)
{
	struct keypacket p;
	int rc = keypacket_parse(encoded, &p, NULL);

	if (rc == 0) {
		rc = keypacket_verify(&p, key_public(sender), NULL);
	}
	return rc != 0 ? rc : keypacket_open(&p, rcpt_id, rcpt, secret, NULL);
}

static void expect_packet(const struct key *rcpt, unsigned aead)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	_cleanup_(secret_release) struct secret got = SECRET_INIT;
	struct keypacket fields = fields_of();

	fields.aead = (uint16_t)aead;
	assert_int_equal(
		keypacket_seal(&fields, key_public(rcpt), bytes_str("32 bytes of a vault key"),
			sender, &random_system, &b, NULL),
		0);
	assert_int_equal(open_packet(buf_bytes(&b), rcpt, &got), 0);
	assert_true(bytes_equal(secret_bytes(&got), bytes_str("32 bytes of a vault key")));
	for (size_t i = 0; i < b.len; i++) {
		b.data[i] ^= 0x40;
		assert_int_not_equal(open_packet(buf_bytes(&b), rcpt, &got), 0);
		b.data[i] ^= 0x40;
		assert_int_not_equal(open_packet(bytes_of(b.data, i), rcpt, &got), 0);
	}
}

static void test_every_kem(void **state)
{
	static const unsigned kems[] = {KEY_KEM_P256, KEY_KEM_P384, KEY_KEM_X25519};

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		_cleanup_(key_freep) struct key *rcpt = NULL;

		assert_int_equal(hpke_generate_key(kems[i / 2], &random_system, &rcpt, NULL), 0);
		expect_packet(rcpt, 1 + i % 2);
	}
	expect_packet(rsa, AEAD_AES_256_GCM);
}

static void test_wrong_people(void **state)
{
	_cleanup_(key_freep) struct key *rcpt = NULL, *other = NULL;
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	_cleanup_(secret_release) struct secret got = SECRET_INIT;
	struct keypacket fields = fields_of(), p;
	uint8_t other_id[ID_BYTES] = {99};

	(void)state;
	assert_int_equal(hpke_generate_key(KEY_KEM_P256, &random_system, &rcpt, NULL), 0);
	assert_int_equal(hpke_generate_key(KEY_KEM_P256, &random_system, &other, NULL), 0);
	assert_int_equal(keypacket_seal(&fields, key_public(rcpt), bytes_str("key"), sender,
				 &random_system, &b, NULL),
		0);
	assert_int_equal(keypacket_parse(buf_bytes(&b), &p, NULL), 0);
	assert_int_equal(keypacket_verify(&p, key_public(other_sender), NULL), KLUIS_EVERIFY);
	assert_int_equal(keypacket_open(&p, other_id, rcpt, &got, NULL), KLUIS_EVERIFY);
	assert_int_equal(keypacket_open(&p, rcpt_id, other, &got, NULL), KLUIS_EVERIFY);
	assert_int_equal(keypacket_open(&p, rcpt_id, rsa, &got, NULL), KLUIS_EVERIFY);
	assert_null(got.data);
}

static void test_fresh(void **state)
{
	static const uint32_t held[] = {1, 3};
	struct keypacket p = fields_of();
	bool current = false;

	(void)state;
	p.epoch = 4;
	assert_int_equal(keypacket_fresh(&p, 1999, held, 2, &current, NULL), 0);
	assert_true(current);
	assert_int_equal(keypacket_fresh(&p, 2000, held, 2, &current, NULL), KLUIS_EVERIFY);
	p.epoch = 2; /* History: welcome, but not current. */
	assert_int_equal(keypacket_fresh(&p, 1999, held, 2, &current, NULL), 0);
	assert_false(current);
	p.epoch = 3;
	assert_int_equal(keypacket_fresh(&p, 1999, held, 2, &current, NULL), KLUIS_EVERIFY);
	p.purpose = KEYPACKET_PAGE;
	assert_int_equal(keypacket_fresh(&p, 1999, held, 2, &current, NULL), 0);
}

/* What a node sees: the header's fields, before any signature. */
static void test_parse_alone(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		int rc;
	} bad[] = {{4, 2, KLUIS_EVERSION}, {5, 2, KLUIS_ESUITE}, {5, 3, KLUIS_ESUITE},
		{7, 0x12, KLUIS_ESUITE}, {9, 2, KLUIS_ESUITE}, {11, 3, KLUIS_ESUITE},
		{12, 0, KLUIS_EINVAL}, {12, 7, KLUIS_EINVAL}, {13, 2, KLUIS_ESUITE},
		{15, 4, KLUIS_EINVAL}, {119, 1, KLUIS_EINVAL}, {136, 1, KLUIS_EINVAL},
		{167, 1, KLUIS_EINVAL}};
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	_cleanup_(key_freep) struct key *rcpt = NULL;
	struct keypacket fields = fields_of(), p;

	(void)state;
	assert_int_equal(hpke_generate_key(KEY_KEM_P256, &random_system, &rcpt, NULL), 0);
	assert_int_equal(keypacket_seal(&fields, key_public(rcpt), bytes_str("k"), sender,
				 &random_system, &b, NULL),
		0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t was = b.data[bad[i].at];

		b.data[bad[i].at] = bad[i].value;
		assert_int_equal(keypacket_parse(buf_bytes(&b), &p, NULL), bad[i].rc);
		b.data[bad[i].at] = was;
	}
	assert_int_equal(keypacket_parse(buf_bytes(&b), &p, NULL), 0);
}

static void test_fields_refused(void **state)
{
	struct keypacket bad[4] = {fields_of(), fields_of(), fields_of(), fields_of()};
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	_cleanup_(key_freep) struct key *rcpt = NULL;

	(void)state;
	assert_int_equal(hpke_generate_key(KEY_KEM_P256, &random_system, &rcpt, NULL), 0);
	bad[0].aead = 3;
	bad[1].purpose = 0;
	bad[2].purpose = 7;
	bad[3].role = 4;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_not_equal(keypacket_seal(&bad[i], key_public(rcpt), bytes_str("k"),
					     sender, &random_system, &b, NULL),
			0);
		assert_int_equal(b.len, 0);
	}
	bad[0] = fields_of();
	assert_int_equal(keypacket_seal(&bad[0], key_public(sender), bytes_str("k"), sender,
				 &random_system, &b, NULL),
		KLUIS_ESUITE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_kem),
		cmocka_unit_test(test_wrong_people),
		cmocka_unit_test(test_fresh),
		cmocka_unit_test(test_parse_alone),
		cmocka_unit_test(test_fields_refused),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
