/* Identity and membership chains made by our own builders, and what hangs on them: who may sign a
 * head. */
#include "tests/lib/test.h"

#include <string.h>

#include "base/wire.h"
#include "crypto/head.h"
#include "crypto/member.h"

static const uint8_t alice[ID_BYTES] = {0xa1}, bob[ID_BYTES] = {0xb0}, vault[ID_BYTES] = {0x77};

/* One user with a key, a transfer key and two devices. */
struct user {
	struct identity identity;
	struct key *signing, *transfer, *device[2];
	struct buf genesis;
};

static void take_in(struct identity *identity, const struct buf *encoded)
{
	struct err e = {0};

	if (identity_append(identity, buf_bytes(encoded), &e) != 0) {
		fail_msg("%s", e.text);
	}
}

static void add_device(struct user *user, unsigned i)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, encoded = BUF_INIT;
	uint8_t device_id[ID_BYTES] = {(uint8_t)(i + 1)};

	memcpy(device_id + 1, user->identity.user_id, ID_BYTES - 1);
	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &user->device[i], NULL), 0);
	identity_body_device(&body, device_id, key_public(user->device[i]),
		key_public(user->transfer), "laptop");
	assert_int_equal(identity_make(&user->identity, IDENTITY_DEVICE_ADD, buf_bytes(&body),
				 user->signing, 2, &encoded, NULL),
		0);
	take_in(&user->identity, &encoded);
}

static void user_init(struct user *user, const uint8_t id[ID_BYTES], const char *name)
{
	*user = (struct user){.signing = NULL};
	identity_init(&user->identity);
	assert_int_equal(key_generate(KEY_RSA_PSS, 2048, &user->signing, NULL), 0);
	assert_int_equal(key_generate(KEY_KEM_P256, 0, &user->transfer, NULL), 0);
	assert_int_equal(identity_genesis(id, name, user->signing, key_public(user->transfer), 1,
				 &user->genesis, NULL),
		0);
	take_in(&user->identity, &user->genesis);
	add_device(user, 0);
	add_device(user, 1);
}

static void user_release(struct user *user)
{
	identity_release(&user->identity);
	key_free(user->signing);
	key_free(user->transfer);
	key_free(user->device[0]);
	key_free(user->device[1]);
	buf_release(&user->genesis);
}

/* The next statement of the chain, with any body. */
static void make(struct user *user, unsigned type, const struct buf *body, struct buf *encoded)
{
	buf_clear(encoded);
	assert_int_equal(identity_make(&user->identity, type, buf_bytes(body), user->signing, 3,
				 encoded, NULL),
		0);
}

static void revoke_device(struct user *user, unsigned i, const struct revoke_row *row)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, encoded = BUF_INIT;

	identity_body_revoke(&body, user->identity.devices[i].device_id, row, row == NULL ? 0 : 1);
	make(user, IDENTITY_DEVICE_REVOKE, &body, &encoded);
	take_in(&user->identity, &encoded);
}

static void test_identity_grows(void **state)
{
	_cleanup_(user_release) struct user user;
	const struct identity_device *device;

	(void)state;
	user_init(&user, alice, "alice");
	assert_string_equal(user.identity.name, "alice");
	assert_int_equal(user.identity.seq, 3);
	device = identity_device_by_kid(&user.identity, key_pub_kid(key_public(user.device[1])));
	assert_non_null(device);
	assert_string_equal(device->name, "laptop");
	assert_ptr_equal(device, identity_device(&user.identity, device->device_id));
	assert_true(key_pub_equal(
		identity_transfer(&user.identity, KEY_KEM_P256), key_public(user.transfer)));
	assert_null(identity_transfer(&user.identity, KEY_KEM_P384));
	assert_int_equal(user.identity.signing_seq, 1);
	revoke_device(&user, 1, NULL);
	assert_true(user.identity.devices[1].revoked);
	assert_int_equal(user.identity.revoked_seq, 4);
}

static void test_rotation(void **state)
{
	_cleanup_(user_release) struct user user;
	_cleanup_(buf_release) struct buf body = BUF_INIT, encoded = BUF_INIT, old = BUF_INIT;
	struct key *fresh = NULL;

	(void)state;
	user_init(&user, alice, "alice");
	assert_int_equal(key_generate(KEY_RSA_PSS, 2048, &fresh, NULL), 0);
	assert_int_equal(identity_body_rotate(&body, &user.identity, fresh, NULL), 0);
	make(&user, IDENTITY_ROTATE, &body, &encoded);
	take_in(&user.identity, &encoded);
	assert_true(key_pub_equal(user.identity.signing, key_public(fresh)));
	assert_int_equal(user.identity.signing_seq, 4);
	assert_int_equal(user.identity.revoked_seq, 0);
	/* The old key signs no more: identity_make() asserts so, a thief's program does not. */
	buf_clear(&body);
	buf_put_u32(&body, IDENTITY_POLICY_NO_WEB);
	{
		struct statement s = {.chain = CHAIN_IDENTITY,
			.type = IDENTITY_POLICY,
			.seq = user.identity.seq + 1,
			.body = buf_bytes(&body)};

		memcpy(s.object_id, alice, ID_BYTES);
		memcpy(s.prev_hash, user.identity.head_hash, HASH_BYTES);
		assert_int_equal(statement_sign(&s, user.signing, &old, NULL), 0);
	}
	assert_int_equal(identity_append(&user.identity, buf_bytes(&old), NULL), KLUIS_EVERIFY);
	assert_int_equal(user.identity.policy, 0);
	key_free(user.signing);
	user.signing = fresh;
	make(&user, IDENTITY_POLICY, &body, &encoded);
	take_in(&user.identity, &encoded);
	assert_int_equal(user.identity.policy, IDENTITY_POLICY_NO_WEB);
}

/* Every bit of a statement that is refused leaves the identity as it was. */
static void test_refused_changes_nothing(void **state)
{
	_cleanup_(user_release) struct user user;
	_cleanup_(buf_release) struct buf body = BUF_INIT, encoded = BUF_INIT;
	uint8_t head_hash[HASH_BYTES];
	uint64_t seq;
	uint8_t device_id[ID_BYTES] = {0xdd};

	(void)state;
	user_init(&user, alice, "alice");
	seq = user.identity.seq;
	memcpy(head_hash, user.identity.head_hash, HASH_BYTES);
	identity_body_device(
		&body, device_id, key_public(user.device[0]), key_public(user.transfer), "x");
	make(&user, IDENTITY_DEVICE_ADD, &body, &encoded);
	for (size_t i = 0; i < encoded.len; i++) {
		encoded.data[i] ^= 0x08;
		assert_int_not_equal(identity_append(&user.identity, buf_bytes(&encoded), NULL), 0);
		encoded.data[i] ^= 0x08;
		assert_int_not_equal(
			identity_append(&user.identity, bytes_of(encoded.data, i), NULL), 0);
	}
	assert_int_equal(user.identity.seq, seq);
	assert_int_equal(user.identity.device_count, 2);
	assert_memory_equal(user.identity.head_hash, head_hash, HASH_BYTES);
	take_in(&user.identity, &encoded);
	assert_int_equal(user.identity.device_count, 3);
	/* And once only. */
	assert_int_equal(identity_append(&user.identity, buf_bytes(&encoded), NULL), KLUIS_EVERIFY);
}

static void test_bodies_refused(void **state)
{
	_cleanup_(user_release) struct user user;
	_cleanup_(buf_release) struct buf body = BUF_INIT, encoded = BUF_INIT;
	const struct revoke_row rows[2] = {{.object_id = {1}}, {.object_id = {2}}};

	(void)state;
	user_init(&user, alice, "alice");
	/* A device id that was used. */
	identity_body_device(&body, user.identity.devices[0].device_id, key_public(user.device[0]),
		key_public(user.transfer), "x");
	make(&user, IDENTITY_DEVICE_ADD, &body, &encoded);
	assert_int_equal(identity_append(&user.identity, buf_bytes(&encoded), NULL), KLUIS_EINVAL);
	/* Rows that do not ascend. */
	buf_clear(&body);
	identity_body_revoke(&body, user.identity.devices[0].device_id, rows, 2);
	memcpy(body.data + 18, &rows[1], sizeof rows[1]);
	make(&user, IDENTITY_DEVICE_REVOKE, &body, &encoded);
	assert_int_equal(identity_append(&user.identity, buf_bytes(&encoded), NULL), KLUIS_EINVAL);
	/* A name that is not UTF-8. */
	buf_clear(&body);
	identity_body_device(&body, (const uint8_t[ID_BYTES]){0xee}, key_public(user.device[0]),
		key_public(user.transfer), "x");
	body.data[body.len - 1] = 0xff;
	make(&user, IDENTITY_DEVICE_ADD, &body, &encoded);
	assert_int_equal(identity_append(&user.identity, buf_bytes(&encoded), NULL), KLUIS_EINVAL);
	/* A revoked transfer key that comes back. */
	buf_clear(&body);
	buf_append(&body, key_pub_kid(key_public(user.transfer)), KID_BYTES);
	make(&user, IDENTITY_TRANSFER_REVOKE, &body, &encoded);
	take_in(&user.identity, &encoded);
	assert_null(identity_transfer(&user.identity, KEY_KEM_P256));
	buf_clear(&body);
	identity_body_transfer(&body, key_public(user.transfer));
	make(&user, IDENTITY_TRANSFER_ADD, &body, &encoded);
	assert_int_equal(identity_append(&user.identity, buf_bytes(&encoded), NULL), KLUIS_EINVAL);
}

static void test_revoked_once(void **state)
{
	_cleanup_(user_release) struct user user;
	_cleanup_(buf_release) struct buf body = BUF_INIT, encoded = BUF_INIT;

	(void)state;
	user_init(&user, alice, "alice");
	revoke_device(&user, 0, NULL);
	identity_body_revoke(&body, user.identity.devices[0].device_id, NULL, 0);
	make(&user, IDENTITY_DEVICE_REVOKE, &body, &encoded);
	assert_int_equal(identity_append(&user.identity, buf_bytes(&encoded), NULL), KLUIS_EINVAL);
	buf_clear(&body);
	identity_body_device(&body, user.identity.devices[0].device_id, key_public(user.device[0]),
		key_public(user.transfer), "back");
	make(&user, IDENTITY_DEVICE_ADD, &body, &encoded);
	assert_int_equal(identity_append(&user.identity, buf_bytes(&encoded), NULL), KLUIS_EINVAL);
}

static int append_part(struct user *user, unsigned i, unsigned part, const struct revoke_row *row)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, encoded = BUF_INIT;

	identity_body_vouch(
		&body, user->identity.devices[i].device_id, part, row, row == NULL ? 0 : 1);
	make(user, IDENTITY_DEVICE_VOUCH, &body, &encoded);
	return identity_append(&user->identity, buf_bytes(&encoded), NULL);
}

static bool counts(const struct user *user, unsigned i, const struct revoke_row *row)
{
	const struct signer signer = {.device = &user->identity.devices[i]};

	return signer_vouched(&signer, row->object_id, row->hash);
}

/* What one statement has no room for stands in those before it. */
static void test_revoked_in_parts(void **state)
{
	static const struct revoke_row rows[] = {
		{{9}, {1}}, {{5}, {2}}, {{5}, {1}}, {{7}, {3}}, {{7}, {4}}};
	_cleanup_(user_release) struct user user;

	(void)state;
	user_init(&user, alice, "alice");
	for (unsigned part = 1; part <= IDENTITY_REVOKE_PARTS_MAX; part++) {
		assert_int_equal(
			append_part(&user, 0, part, part <= 3 ? &rows[part - 1] : NULL), 0);
		assert_true(counts(&user, 0, &rows[4])); /* It is none yet. */
	}
	revoke_device(&user, 0, &rows[3]);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(counts(&user, 0, &rows[i]));
	}
	assert_false(counts(&user, 0, &rows[4]));
	assert_int_equal(user.identity.devices[0].row_count, 4);
	/* Nothing of it is another one's. */
	revoke_device(&user, 1, NULL);
	assert_false(counts(&user, 1, &rows[0]));
}

/* Parts that no revocation of their device follows are of no effect. */
static void test_parts_dropped(void **state)
{
	static const struct revoke_row row = {{9}, {1}};
	_cleanup_(buf_release) struct buf body = BUF_INIT, encoded = BUF_INIT;
	_cleanup_(user_release) struct user user;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		user_init(&user, alice, "alice");
		assert_int_equal(append_part(&user, 0, 1, &row), 0);
		if (i == 0) {
			assert_int_equal(append_part(&user, 0, 1, NULL), 0);
		} else if (i == 1) {
			assert_int_equal(append_part(&user, 1, 1, &row), 0);
		} else {
			buf_clear(&body);
			buf_put_u32(&body, 0);
			make(&user, IDENTITY_POLICY, &body, &encoded);
			take_in(&user.identity, &encoded);
			assert_int_equal(append_part(&user, 0, 2, NULL), KLUIS_EINVAL);
		}
		revoke_device(&user, 0, NULL);
		assert_false(counts(&user, 0, &row));
		if (i < 2) {
			user_release(&user);
		}
	}
}

static void test_parts_refused(void **state)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, encoded = BUF_INIT;
	static const struct revoke_row row = {{9}, {1}};
	_cleanup_(user_release) struct user user;
	uint64_t seq;

	(void)state;
	user_init(&user, alice, "alice");
	assert_int_equal(append_part(&user, 0, 2, NULL), KLUIS_EINVAL);
	assert_int_equal(append_part(&user, 0, 1, &row), 0);
	seq = user.identity.seq;
	assert_int_equal(append_part(&user, 0, 3, NULL), KLUIS_EINVAL);
	assert_int_equal(append_part(&user, 1, 2, NULL), KLUIS_EINVAL);
	identity_body_vouch(&body, user.identity.devices[0].device_id, 2, &row, 1);
	for (unsigned part = 0; part < 2; part++) {
		body.data[17] = part == 0 ? 0 : IDENTITY_REVOKE_PARTS_MAX + 1;
		make(&user, IDENTITY_DEVICE_VOUCH, &body, &encoded);
		assert_int_equal(identity_append(&user.identity, buf_bytes(&encoded), NULL),
			part == 0 ? KLUIS_EINVAL : KLUIS_ETOOLARGE);
	}
	body.data[17] = 2;
	body.data[19] = 2; /* Rows, of which there is one. */
	make(&user, IDENTITY_DEVICE_VOUCH, &body, &encoded);
	assert_int_equal(identity_append(&user.identity, buf_bytes(&encoded), NULL), KLUIS_EINVAL);
	assert_true(user.identity.seq == seq);
	/* What was refused has not ended it. */
	revoke_device(&user, 0, NULL);
	assert_true(counts(&user, 0, &row));
	assert_int_equal(append_part(&user, 0, 1, &row), KLUIS_EINVAL);
}

static void test_names(void **state)
{
	static const char *const bad[] = {"", "Alice", "al ice", "a/b",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	_cleanup_(user_release) struct user user;
	_cleanup_(buf_release) struct buf b = BUF_INIT;

	(void)state;
	user_init(&user, alice, "a-z0.9_@+");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(identity_genesis(alice, bad[i], user.signing,
					 key_public(user.transfer), 1, &b, NULL),
			KLUIS_EINVAL);
	}
	assert_false(identity_name_valid(bytes_of("a\0b", 3)));
}

static void test_empty_chains(void **state)
{
	struct identity identity;
	struct members members;
	struct signer_identities signers;
	struct head head;

	(void)state;
	identity_init(&identity);
	members_init(&members);
	signer_identities_init(&signers, NULL, 0);
	assert_int_equal(identity_verify(&identity, NULL, 0, NULL), KLUIS_EVERIFY);
	assert_int_equal(members_verify(&members, NULL, 0, &signers.table, NULL), KLUIS_EVERIFY);
	assert_int_equal(head_verify_run(NULL, 0, &signers.table, &head, NULL), KLUIS_EVERIFY);
}

/* Two heads by alice's first device; the second one's hash goes to ret_hash. */
static void two_heads(struct user *user, struct buf heads[2], uint8_t ret_hash[HASH_BYTES])
{
	struct head head = {.key_epoch = 1, .members_rev = 1}, parsed;

	memcpy(head.vault_id, vault, ID_BYTES);
	memcpy(head.user_id, alice, ID_BYTES);
	memcpy(head.device_id, user->identity.devices[0].device_id, ID_BYTES);
	for (unsigned i = 0; i < 2; i++) {
		head.seq = i + 1;
		assert_int_equal(head_sign(&head, user->device[0], &heads[i], NULL), 0);
		assert_int_equal(head_parse(buf_bytes(&heads[i]), &parsed, NULL), 0);
		memcpy(head.prev_hash, parsed.hash, HASH_BYTES);
	}
	memcpy(ret_hash, parsed.hash, HASH_BYTES);
}

static void test_heads_of_revoked_devices(void **state)
{
	_cleanup_(user_release) struct user gone, vouched;
	const struct identity *who = &gone.identity;
	struct signer_identities signers;
	struct buf heads[2] = {BUF_INIT, BUF_INIT};
	struct bytes run[2];
	struct revoke_row row = {.object_id = {0x77}};
	struct head last;

	(void)state;
	user_init(&gone, alice, "alice");
	two_heads(&gone, heads, row.hash);
	run[0] = buf_bytes(&heads[0]);
	run[1] = buf_bytes(&heads[1]);
	signer_identities_init(&signers, &who, 1);
	assert_int_equal(head_verify_run(run, 2, &signers.table, &last, NULL), 0);
	assert_int_equal(last.seq, 2);
	revoke_device(&gone, 0, NULL);
	assert_int_equal(head_verify_run(run, 2, &signers.table, &last, NULL), KLUIS_EVERIFY);
	buf_clear(&heads[0]);
	buf_clear(&heads[1]);
	user_init(&vouched, alice, "alice");
	two_heads(&vouched, heads, row.hash);
	revoke_device(&vouched, 0, &row);
	who = &vouched.identity;
	assert_int_equal(head_verify_run(run, 2, &signers.table, &last, NULL), 0);
	/* The listed head is the last one good. */
	assert_int_equal(head_verify_run(run, 1, &signers.table, &last, NULL), KLUIS_EVERIFY);
	/* A gap. */
	assert_int_equal(head_verify_run(&run[1], 1, &signers.table, &last, NULL), 0);
	run[0] = run[1];
	assert_int_equal(head_verify_run(run, 2, &signers.table, &last, NULL), KLUIS_EVERIFY);
	buf_release(&heads[0]);
	buf_release(&heads[1]);
}

/* A vault that alice founded, and what a body of this type by this device does to it. */
struct club {
	struct user alice, bob;
	const struct identity *identities[2];
	struct signer_identities signers;
	struct members members;
};

static void club_init(struct club *club)
{
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;

	user_init(&club->alice, alice, "alice");
	user_init(&club->bob, bob, "bob");
	club->identities[0] = &club->alice.identity;
	club->identities[1] = &club->bob.identity;
	signer_identities_init(&club->signers, club->identities, 2);
	members_init(&club->members);
	assert_int_equal(members_create(vault, MEMBER_OBJECT_VAULT, alice, NULL,
				 club->alice.device[0], 1, &encoded, NULL),
		0);
	assert_int_equal(
		members_append(&club->members, buf_bytes(&encoded), &club->signers.table, NULL), 0);
}

static void club_release(struct club *club)
{
	user_release(&club->alice);
	user_release(&club->bob);
	members_release(&club->members);
}

static int club_do(struct club *club, const struct key *device, unsigned type, struct buf *body)
{
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	struct members before = club->members;
	int rc;

	assert_int_equal(
		members_make(&club->members, type, buf_bytes(body), device, 2, &encoded, NULL), 0);
	buf_clear(body);
	rc = members_append(&club->members, buf_bytes(&encoded), &club->signers.table, NULL);
	if (rc != 0) {
		assert_memory_equal(&before, &club->members, sizeof before);
	}
	return rc;
}

static void put_member(struct buf *body, const uint8_t *id, int kind, unsigned role)
{
	buf_append(body, id, ID_BYTES);
	if (kind >= 0) {
		buf_put_u8(body, (unsigned)kind);
	}
	if (role > 0) {
		buf_put_u16(body, role);
	}
}

static void test_members(void **state)
{
	_cleanup_(club_release) struct club club;
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	(void)state;
	club_init(&club);
	assert_int_equal(members_find(&club.members, alice)->role, MEMBER_ADMIN);
	put_member(&body, bob, MEMBER_USER, MEMBER_WRITE);
	assert_int_equal(club_do(&club, club.bob.device[0], MEMBER_ADD, &body), KLUIS_EFORBIDDEN);
	put_member(&body, bob, MEMBER_USER, MEMBER_WRITE);
	assert_int_equal(club_do(&club, club.alice.device[1], MEMBER_ADD, &body), 0);
	put_member(&body, bob, MEMBER_USER, MEMBER_READ);
	assert_int_equal(club_do(&club, club.alice.device[0], MEMBER_ADD, &body), KLUIS_EINVAL);
	put_member(&body, alice, -1, 0);
	assert_int_equal(
		club_do(&club, club.alice.device[0], MEMBER_REMOVE, &body), KLUIS_EFORBIDDEN);
	put_member(&body, alice, -1, MEMBER_READ);
	assert_int_equal(
		club_do(&club, club.alice.device[0], MEMBER_ROLE, &body), KLUIS_EFORBIDDEN);
	put_member(&body, bob, -1, MEMBER_ADMIN);
	assert_int_equal(club_do(&club, club.alice.device[0], MEMBER_ROLE, &body), 0);
	put_member(&body, alice, -1, 0);
	assert_int_equal(club_do(&club, club.bob.device[0], MEMBER_REMOVE, &body), 0);
	assert_null(members_find(&club.members, alice));
	put_member(&body, alice, MEMBER_USER, MEMBER_ADMIN);
	assert_int_equal(club_do(&club, club.alice.device[0], MEMBER_ADD, &body), KLUIS_EFORBIDDEN);
	buf_put_u32(&body, 2);
	buf_put_zeros(&body, KID_BYTES);
	assert_int_equal(club_do(&club, club.bob.device[0], MEMBER_ROTATE, &body), 0);
	assert_int_equal(club.members.epoch, 2);
	assert_false(club.members.loose);
}

/* A thief with a revoked device adds an accomplice, who then vouches for the thief. */
static void test_no_accomplice(void **state)
{
	_cleanup_(club_release) struct club club;
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	(void)state;
	club_init(&club);
	revoke_device(&club.alice, 1, NULL);
	put_member(&body, bob, MEMBER_USER, MEMBER_ADMIN);
	assert_int_equal(club_do(&club, club.alice.device[1], MEMBER_ADD, &body), 0);
	assert_true(club.members.loose);
	put_member(&body, vault, MEMBER_USER, MEMBER_READ);
	assert_int_equal(club_do(&club, club.bob.device[0], MEMBER_ADD, &body), 0);
	assert_true(club.members.loose);
	put_member(&body, vault, -1, 0);
	/* Alice herself, with a device that is hers still, makes it good. */
	assert_int_equal(club_do(&club, club.alice.device[0], MEMBER_REMOVE, &body), 0);
	assert_false(club.members.loose);
}

/* Bob lists alice's device key as his own, and his chain is looked at first: what she signs stays
 * hers. */
static void test_claimed_key(void **state)
{
	_cleanup_(club_release) struct club club;
	_cleanup_(buf_release) struct buf body = BUF_INIT, encoded = BUF_INIT;
	struct buf heads[2] = {BUF_INIT, BUF_INIT};
	struct bytes run[2];
	uint8_t hash[HASH_BYTES];
	struct head last;

	(void)state;
	club_init(&club);
	identity_body_device(&body, (const uint8_t[ID_BYTES]){0xcc},
		key_public(club.alice.device[0]), key_public(club.bob.transfer), "mine");
	make(&club.bob, IDENTITY_DEVICE_ADD, &body, &encoded);
	take_in(&club.bob.identity, &encoded);
	club.identities[0] = &club.bob.identity;
	club.identities[1] = &club.alice.identity;
	buf_clear(&body);
	put_member(&body, bob, MEMBER_USER, MEMBER_READ);
	assert_int_equal(club_do(&club, club.alice.device[0], MEMBER_ADD, &body), 0);
	two_heads(&club.alice, heads, hash);
	run[0] = buf_bytes(&heads[0]);
	run[1] = buf_bytes(&heads[1]);
	assert_int_equal(head_verify_run(run, 2, &club.signers.table, &last, NULL), 0);
	buf_release(&heads[0]);
	buf_release(&heads[1]);
}

static void test_founder_signs(void **state)
{
	_cleanup_(club_release) struct club club;
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	struct members members;

	(void)state;
	club_init(&club);
	members_init(&members);
	assert_int_equal(members_create(vault, MEMBER_OBJECT_VAULT, alice, NULL, club.bob.device[0],
				 1, &encoded, NULL),
		0);
	assert_int_equal(members_append(&members, buf_bytes(&encoded), &club.signers.table, NULL),
		KLUIS_EFORBIDDEN);
	assert_int_equal(members.seq, 0);
	members_release(&members);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity_grows),
		cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_refused_changes_nothing),
		cmocka_unit_test(test_bodies_refused),
		cmocka_unit_test(test_revoked_once),
		cmocka_unit_test(test_revoked_in_parts),
		cmocka_unit_test(test_parts_dropped),
		cmocka_unit_test(test_parts_refused),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_empty_chains),
		cmocka_unit_test(test_heads_of_revoked_devices),
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_no_accomplice),
		cmocka_unit_test(test_claimed_key),
		cmocka_unit_test(test_founder_signs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
