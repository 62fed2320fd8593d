/* Heads, restore records and service proofs: everything a P-256 key signs but chains. */
#include "tests/lib/test.h"

#include <string.h>

#include "crypto/head.h"
#include "crypto/proof.h"
#include "crypto/restore_record.h"

static struct key *device, *other;

static int make_keys(void **state)
{
	(void)state;
	return key_generate(KEY_ECDSA_P256, 0, &device, NULL) ||
	       key_generate(KEY_ECDSA_P256, 0, &other, NULL);
}

static int free_keys(void **state)
{
	(void)state;
	key_free(device);
	key_free(other);
	return 0;
}

static struct head head_of(uint64_t seq)
{
	struct head head = {.vault_id = {1},
		.seq = seq,
		.key_epoch = 1,
		.members_rev = 1,
		.page_count = 77,
		.merkle_root = {2},
		.members_hash = {3},
		.user_id = {4},
		.device_id = {5},
		.unix_ms = 1800000000000ULL};

	head.prev_hash[0] = seq == 1 ? 0 : 9;
	return head;
}

static int check_head(struct bytes encoded)
{
	struct head head;
	int rc = head_parse(encoded, &head, NULL);

	return rc != 0 ? rc : head_verify(&head, key_public(device), NULL);
}

static void test_head_round_trip(void **state)
{
	(void)state;
	for (uint64_t seq = 1; seq < 4; seq++) {
		_cleanup_(buf_release) struct buf b = BUF_INIT;
		struct head made = head_of(seq), got;

		assert_int_equal(head_sign(&made, device, &b, NULL), 0);
		assert_int_equal(b.len, HEAD_BYTES);
		assert_int_equal(head_parse(buf_bytes(&b), &got, NULL), 0);
		assert_int_equal(head_verify(&got, key_public(device), NULL), 0);
		assert_int_equal(head_verify(&got, key_public(other), NULL), KLUIS_EVERIFY);
		/* All up to kid is ours. */
		assert_memory_equal(&made, &got, offsetof(struct head, kid));
	}
}

static void test_head_every_bit_and_length(void **state)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct head made = head_of(2);

	(void)state;
	assert_int_equal(head_sign(&made, device, &b, NULL), 0);
	for (size_t bit = 0; bit < 8 * b.len; bit++) {
		b.data[bit / 8] ^= (uint8_t)BIT(bit % 8);
		assert_int_not_equal(check_head(buf_bytes(&b)), 0);
		b.data[bit / 8] ^= (uint8_t)BIT(bit % 8);
	}
	for (size_t n = 0; n < b.len; n++) {
		assert_int_equal(check_head(bytes_of(b.data, n)), KLUIS_EINVAL);
	}
	*buf_extend(&b, 1) = 0;
	assert_int_equal(check_head(buf_bytes(&b)), KLUIS_EINVAL);
}

static void test_head_fields_refused(void **state)
{
	struct head bad[4] = {head_of(1), head_of(2), head_of(2), head_of(2)};
	_cleanup_(buf_release) struct buf b = BUF_INIT;

	(void)state;
	bad[0].prev_hash[31] = 1; /* A first head has no parent. */
	memset(bad[1].prev_hash, 0, HASH_BYTES);
	bad[2].seq = 0;
	bad[3].key_epoch = 0;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(head_sign(&bad[i], device, &b, NULL), KLUIS_EINVAL);
		assert_int_equal(b.len, 0);
	}
}

/* Reserved bytes and flags are refused before any signature is looked at. */
static void test_reserved_bytes(void **state)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT, r = BUF_INIT;
	struct head made = head_of(1), head;
	struct restore_record record = {.raft_index = 1};

	(void)state;
	assert_int_equal(head_sign(&made, device, &b, NULL), 0);
	for (size_t i = 6; i < HEAD_FIXED_BYTES; i = i == 7 ? 184 : i + 1) {
		b.data[i] ^= 1;
		assert_int_equal(head_parse(buf_bytes(&b), &head, NULL), KLUIS_EINVAL);
		b.data[i] ^= 1;
	}
	assert_int_equal(head_parse(buf_bytes(&b), &head, NULL), 0);
	assert_int_equal(restore_record_sign(&record, device, &r, NULL), 0);
	for (size_t i = 5; i < 8; i++) {
		r.data[i] ^= 1;
		assert_int_equal(restore_record_parse(buf_bytes(&r), &record, NULL), KLUIS_EINVAL);
		r.data[i] ^= 1;
	}
	r.data[4] = 2;
	assert_int_equal(restore_record_parse(buf_bytes(&r), &record, NULL), KLUIS_EVERSION);
}

static void test_head_suites(void **state)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct head made = head_of(1);

	(void)state;
	assert_int_equal(head_sign(&made, device, &b, NULL), 0);
	b.data[4] = 2;
	assert_int_equal(check_head(buf_bytes(&b)), KLUIS_EVERSION);
	b.data[4] = 1;
	b.data[5] = 3; /* Reserved, accepted nowhere. */
	assert_int_equal(check_head(buf_bytes(&b)), KLUIS_ESUITE);
}

static void test_head_follows(void **state)
{
	struct head head = head_of(3);
	uint8_t prev[HASH_BYTES] = {9};

	(void)state;
	assert_int_equal(head_follows(&head, 2, prev, NULL), 0);
	assert_int_equal(head_follows(&head, 1, prev, NULL), KLUIS_EVERIFY);
	assert_int_equal(head_follows(&head, 3, prev, NULL), KLUIS_EVERIFY);
	prev[0] ^= 1;
	assert_int_equal(head_follows(&head, 2, prev, NULL), KLUIS_EVERIFY);
}

static int check_record(struct bytes encoded, const struct key *key)
{
	struct restore_record record;
	int rc = restore_record_parse(encoded, &record, NULL);

	return rc != 0 ? rc : restore_record_verify(&record, key_public(key), NULL);
}

static void test_restore_record(void **state)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct restore_record made = {.cluster_id = {1},
				      .old_lineage = {2},
				      .new_lineage = {3},
				      .raft_index = 1000,
				      .unix_ms = 5,
				      .manifest_hash = {6}},
			      got;

	(void)state;
	assert_int_equal(restore_record_sign(&made, device, &b, NULL), 0);
	assert_int_equal(b.len, RESTORE_RECORD_BYTES);
	assert_int_equal(check_record(buf_bytes(&b), device), 0);
	assert_int_equal(check_record(buf_bytes(&b), other), KLUIS_EVERIFY);
	assert_int_equal(restore_record_parse(buf_bytes(&b), &got, NULL), 0);
	assert_memory_equal(&made, &got, offsetof(struct restore_record, signature));
	for (size_t bit = 0; bit < 8 * b.len; bit++) {
		b.data[bit / 8] ^= (uint8_t)BIT(bit % 8);
		assert_int_not_equal(check_record(buf_bytes(&b), device), 0);
		b.data[bit / 8] ^= (uint8_t)BIT(bit % 8);
	}
	for (size_t n = 0; n < b.len; n++) {
		assert_int_equal(check_record(bytes_of(b.data, n), device), KLUIS_EINVAL);
	}
	*buf_extend(&b, 1) = 0;
	assert_int_equal(check_record(buf_bytes(&b), device), KLUIS_EINVAL);
}

/* The message is TH("kluis/v1/restore", the 104 bytes), nothing less. */
static void test_restore_record_message(void **state)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct restore_record made = {.cluster_id = {1}};
	uint8_t message[HASH_BYTES];

	(void)state;
	assert_int_equal(restore_record_sign(&made, device, &b, NULL), 0);
	HASH_TH(message, "kluis/v1/restore", bytes_of(b.data, 104));
	assert_int_equal(sign_verify(key_public(device), bytes_of(message, HASH_BYTES),
				 bytes_of(b.data + 104, 64), NULL),
		0);
}

static void test_proof_login(void **state)
{
	struct proof_login proof = {
		.cluster_id = {1}, .challenge = {2}, .user_id = {3}, .device_id = {4}};
	uint8_t *const fields[] = {
		proof.cluster_id, proof.challenge, proof.user_id, proof.device_id};
	_cleanup_(buf_release) struct buf sig = BUF_INIT;
	uint8_t message[HASH_BYTES];

	(void)state;
	assert_int_equal(proof_login_sign(&proof, device, &sig, NULL), 0);
	HASH_TH(message, "kluis/v1/service-login", bytes_of(proof.cluster_id, 16),
		bytes_of(proof.challenge, 32), bytes_of(proof.user_id, 16),
		bytes_of(proof.device_id, 16));
	assert_int_equal(sign_verify(key_public(device), bytes_of(message, HASH_BYTES),
				 buf_bytes(&sig), NULL),
		0);
	assert_int_equal(proof_login_verify(&proof, key_public(device), buf_bytes(&sig), NULL), 0);
	assert_int_equal(proof_login_verify(&proof, key_public(other), buf_bytes(&sig), NULL),
		KLUIS_EVERIFY);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		fields[i][15] ^= 1;
		assert_int_equal(
			proof_login_verify(&proof, key_public(device), buf_bytes(&sig), NULL),
			KLUIS_EVERIFY);
		fields[i][15] ^= 1;
	}
}

static void test_proof_enrol(void **state)
{
	struct proof_enrol proof = {.cluster_id = {1},
		.token = bytes_str("one-time token"),
		.account = bytes_str("backup-bot"),
		.genesis_hash = {2},
		.device_hash = {3}};
	struct proof_enrol changed[5] = {proof, proof, proof, proof, proof};
	_cleanup_(buf_release) struct buf sig = BUF_INIT;

	(void)state;
	assert_int_equal(proof_enrol_sign(&proof, device, &sig, NULL), 0);
	assert_int_equal(proof_enrol_verify(&proof, key_public(device), buf_bytes(&sig), NULL), 0);
	assert_int_equal(proof_enrol_verify(&proof, key_public(other), buf_bytes(&sig), NULL),
		KLUIS_EVERIFY);
	changed[0].cluster_id[0] ^= 1;
	changed[1].token = bytes_str("one-time tokem");
	changed[2].account = bytes_str("backup-bos");
	changed[3].genesis_hash[0] ^= 1;
	changed[4].device_hash[0] ^= 1;
	for (size_t i = 0; i < ARRAY_SIZE(changed); i++) {
		assert_int_equal(
			proof_enrol_verify(&changed[i], key_public(device), buf_bytes(&sig), NULL),
			KLUIS_EVERIFY);
	}
}

/* A proof for one purpose is none for another: the labels differ. */
static void test_proofs_do_not_mix(void **state)
{
	struct proof_login login = {.cluster_id = {1}};
	struct proof_enrol enrol = {.cluster_id = {1}};
	_cleanup_(buf_release) struct buf sig = BUF_INIT;

	(void)state;
	assert_int_equal(proof_login_sign(&login, device, &sig, NULL), 0);
	assert_int_equal(proof_enrol_verify(&enrol, key_public(device), buf_bytes(&sig), NULL),
		KLUIS_EVERIFY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_head_round_trip),
		cmocka_unit_test(test_head_every_bit_and_length),
		cmocka_unit_test(test_head_fields_refused),
		cmocka_unit_test(test_reserved_bytes),
		cmocka_unit_test(test_head_suites),
		cmocka_unit_test(test_head_follows),
		cmocka_unit_test(test_restore_record),
		cmocka_unit_test(test_restore_record_message),
		cmocka_unit_test(test_proof_login),
		cmocka_unit_test(test_proof_enrol),
		cmocka_unit_test(test_proofs_do_not_mix),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
