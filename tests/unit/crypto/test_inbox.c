/* Inbox documents and notifications: what anybody can seal, and one can open. */
#include "tests/lib/test.h"

#include <string.h>

#include "base/limits.h"
#include "base/wire.h"
#include "crypto/inbox.h"
#include "crypto/notify.h"

static const uint8_t inbox_id[ID_BYTES] = {1}, owner_id[ID_BYTES] = {2};
static const unsigned kems[] = {KEY_KEM_P256, KEY_KEM_P384, KEY_KEM_X25519};

static struct key *new_key(unsigned kem)
{
	struct key *key;

	assert_int_equal(hpke_generate_key(kem, &random_system, &key, NULL), 0);
	return key;
}

static struct inbox_document fields_of(void)
{
	struct inbox_document d = {.sender_class = INBOX_PROVIDER,
		.aead = AEAD_AES_256_GCM,
		.doc_id = {3},
		.unix_ms = 1800000000000ULL,
		.content_type = INBOX_MIME};

	memcpy(d.inbox_id, inbox_id, ID_BYTES);
	memcpy(d.owner_id, owner_id, ID_BYTES);
	return d;
}

static int open_document(struct bytes encoded, const struct key *key, struct secret *ret)
{
	struct inbox_document d;
	int rc = inbox_parse(encoded, &d, NULL);

	return rc != 0 ? rc : inbox_open(&d, inbox_id, owner_id, key, ret, NULL);
}

static void test_every_kem(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(kems); i++) {
		_cleanup_(key_freep) struct key *key = new_key(kems[i / 2]);
		_cleanup_(key_freep) struct key *other = new_key(kems[i / 2]);
		_cleanup_(buf_release) struct buf b = BUF_INIT;
		_cleanup_(secret_release) struct secret got = SECRET_INIT;
		struct inbox_document d = fields_of(), parsed;

		d.aead = (uint16_t)(1 + i % 2);
		assert_int_equal(inbox_seal(&d, key_public(key), bytes_str("an invoice"),
					 &random_system, &b, NULL),
			0);
		assert_int_equal(open_document(buf_bytes(&b), key, &got), 0);
		assert_true(bytes_equal(secret_bytes(&got), bytes_str("an invoice")));
		assert_int_equal(open_document(buf_bytes(&b), other, &got), KLUIS_EVERIFY);
		assert_int_equal(inbox_parse(buf_bytes(&b), &parsed, NULL), 0);
		assert_int_equal(parsed.kem, kems[i / 2]);
		assert_int_equal(parsed.content_type, INBOX_MIME);
		assert_int_equal(parsed.unix_ms, d.unix_ms);
		assert_int_equal(
			inbox_open(&parsed, owner_id, owner_id, key, &got, NULL), KLUIS_EVERIFY);
		assert_int_equal(
			inbox_open(&parsed, inbox_id, inbox_id, key, &got, NULL), KLUIS_EVERIFY);
	}
}

static void test_document_forms(void **state)
{
	static const struct {
		size_t at;
		uint8_t flip;
		int rc;
	} bad[] = {{0, 1, KLUIS_EINVAL}, {4, 3, KLUIS_EVERSION}, {5, 2, KLUIS_EINVAL},
		{6, 0x80, KLUIS_ESUITE}, {7, 0x01, KLUIS_EINVAL}, {9, 2, KLUIS_ESUITE},
		{11, 1, KLUIS_ESUITE}, {87, 1, KLUIS_EINVAL}};
	_cleanup_(key_freep) struct key *key = new_key(KEY_KEM_P256);
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	_cleanup_(secret_release) struct secret got = SECRET_INIT;
	struct inbox_document d = fields_of(), parsed;

	(void)state;
	assert_int_equal(
		inbox_seal(&d, key_public(key), bytes_of(NULL, 0), &random_system, &b, NULL), 0);
	assert_int_equal(open_document(buf_bytes(&b), key, &got), 0);
	assert_int_equal(got.len, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		b.data[bad[i].at] ^= bad[i].flip;
		assert_int_equal(inbox_parse(buf_bytes(&b), &parsed, NULL), bad[i].rc);
		b.data[bad[i].at] ^= bad[i].flip;
	}
	for (size_t i = 0; i < b.len; i++) {
		b.data[i] ^= 0x20;
		assert_int_not_equal(open_document(buf_bytes(&b), key, &got), 0);
		b.data[i] ^= 0x20;
		assert_int_not_equal(open_document(bytes_of(b.data, i), key, &got), 0);
	}
}

static void test_document_limits(void **state)
{
	_cleanup_(key_freep) struct key *key = new_key(KEY_KEM_P384);
	_cleanup_(buf_release) struct buf b = BUF_INIT, content = BUF_INIT;
	_cleanup_(secret_release) struct secret got = SECRET_INIT;
	struct inbox_document d = fields_of(), parsed;

	(void)state;
	memset(buf_extend(&content, INBOX_CONTENT_BYTES_MAX + 1), 7, INBOX_CONTENT_BYTES_MAX + 1);
	assert_int_equal(
		inbox_seal(&d, key_public(key), buf_bytes(&content), &random_system, &b, NULL),
		KLUIS_ETOOLARGE);
	assert_int_equal(b.len, 0);
	content.len--;
	assert_int_equal(
		inbox_seal(&d, key_public(key), buf_bytes(&content), &random_system, &b, NULL), 0);
	assert_int_equal(b.len, INBOX_DOCUMENT_BYTES_MAX);
	assert_int_equal(open_document(buf_bytes(&b), key, &got), 0);
	assert_int_equal(got.len, INBOX_CONTENT_BYTES_MAX);
	buf_put_u8(&b, 0);
	assert_int_equal(inbox_parse(buf_bytes(&b), &parsed, NULL), KLUIS_ETOOLARGE);
	d.sender_class = 3;
	assert_int_equal(inbox_seal(&d, key_public(key), bytes_str("x"), &random_system, &b, NULL),
		KLUIS_EINVAL);
	d.sender_class = 0;
	d.aead = 3;
	assert_int_equal(inbox_seal(&d, key_public(key), bytes_str("x"), &random_system, &b, NULL),
		KLUIS_ESUITE);
}

static void test_no_transfer_key(void **state)
{
	_cleanup_(key_freep) struct key *key = NULL;
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct inbox_document d = fields_of();

	(void)state;
	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &key, NULL), 0);
	assert_int_equal(inbox_seal(&d, key_public(key), bytes_str("x"), &random_system, &b, NULL),
		KLUIS_ESUITE);
	assert_int_equal(
		notify_seal(owner_id, key_public(key), 1, bytes_str("x"), &random_system, &b, NULL),
		KLUIS_ESUITE);
	assert_int_equal(b.len, 0);
}

static int open_notification(
	struct bytes encoded, const uint8_t device_id[ID_BYTES], const struct key *key)
{
	_cleanup_(secret_release) struct secret got = SECRET_INIT;
	struct notify n;
	int rc = notify_parse(encoded, &n, NULL);

	rc = rc != 0 ? rc : notify_open(&n, device_id, key, &got, NULL);
	if (rc == 0) {
		assert_int_equal(n.unix_ms, 77);
		assert_true(bytes_equal(secret_bytes(&got), bytes_str("one new message")));
	}
	return rc;
}

static void test_notification(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kems); i++) {
		_cleanup_(key_freep) struct key *key = new_key(kems[i]), *other = new_key(kems[i]);
		_cleanup_(buf_release) struct buf b = BUF_INIT;

		assert_int_equal(notify_seal(owner_id, key_public(key), 77,
					 bytes_str("one new message"), &random_system, &b, NULL),
			0);
		assert_int_equal(open_notification(buf_bytes(&b), owner_id, key), 0);
		assert_int_equal(open_notification(buf_bytes(&b), inbox_id, key), KLUIS_EVERIFY);
		assert_int_equal(open_notification(buf_bytes(&b), owner_id, other), KLUIS_EVERIFY);
		for (size_t at = 0; at < b.len; at++) {
			b.data[at] ^= 0x08;
			assert_int_not_equal(open_notification(buf_bytes(&b), owner_id, key), 0);
			b.data[at] ^= 0x08;
			assert_int_not_equal(
				open_notification(bytes_of(b.data, at), owner_id, key), 0);
		}
	}
}

static void test_notification_limits(void **state)
{
	_cleanup_(key_freep) struct key *key = new_key(KEY_KEM_P384);
	_cleanup_(buf_release) struct buf b = BUF_INIT, content = BUF_INIT;
	struct notify n;

	(void)state;
	memset(buf_extend(&content, NOTIFY_CONTENT_BYTES_MAX + 1), 7, NOTIFY_CONTENT_BYTES_MAX + 1);
	assert_int_equal(notify_seal(owner_id, key_public(key), 1, buf_bytes(&content),
				 &random_system, &b, NULL),
		KLUIS_ETOOLARGE);
	content.len--;
	assert_int_equal(notify_seal(owner_id, key_public(key), 1, buf_bytes(&content),
				 &random_system, &b, NULL),
		0);
	assert_int_equal(b.len, NOTIFY_BYTES_MAX);
	assert_int_equal(notify_parse(buf_bytes(&b), &n, NULL), 0);
	b.data[4] = 2;
	assert_int_equal(notify_parse(buf_bytes(&b), &n, NULL), KLUIS_EVERSION);
	b.data[4] = 1;
	buf_put_u8(&b, 0);
	assert_int_equal(notify_parse(buf_bytes(&b), &n, NULL), KLUIS_ETOOLARGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_kem),
		cmocka_unit_test(test_document_forms),
		cmocka_unit_test(test_document_limits),
		cmocka_unit_test(test_no_transfer_key),
		cmocka_unit_test(test_notification),
		cmocka_unit_test(test_notification_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
