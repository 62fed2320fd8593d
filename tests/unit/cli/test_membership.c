/* Membership chains and KeyPackets against a dishonest cluster: what it adds, keeps on, swaps and
 * serves stale (docs/format-crypto.md, "Members", "KeyPacket"). Real keys, no network. */
#include "tests/lib/test.h"

#include <string.h>

#include "base/random.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/packets.h"

enum { ALICE, BOB, CAROL, MALLORY, USERS };
static const char *const names[] = {"alice", "bob", "carol", "mallory"};
static const uint8_t vault_id[ID_BYTES] = {0xaa}, group_id[ID_BYTES] = {0xbb};
static const uint8_t vk[32] = {0x33};

struct user {
	uint8_t id[ID_BYTES];
	struct key *signing, *transfer, *device;
	struct identity identity;
};

/* Made once: RSA keys take their time. */
static struct user keys[USERS];

struct club {
	struct people_source source;
	struct user users[USERS];
	bool hide_fresh;      /* No user is shown as of now. */
	struct membership *m; /* Of the vault, founded by alice. */
	struct err err;
};

static int club_get(struct people_source *source, const uint8_t user_id[ID_BYTES], bool fresh,
	const struct identity **ret_identity, struct err *e)
{
	struct club *club = CONTAINER_OF(source, struct club, source);

	for (size_t i = 0; i < USERS && !(fresh && club->hide_fresh); i++) {
		if (memcmp(club->users[i].id, user_id, ID_BYTES) == 0) {
			*ret_identity = &club->users[i].identity;
			return 0;
		}
	}
	return err_set(e, KLUIS_EVERIFY, "nobody");
}

static void statement(struct user *user, unsigned type, const struct buf *body)
{
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;

	assert_int_equal(identity_make(&user->identity, type, buf_bytes(body), user->signing, 2,
				 &encoded, NULL),
		0);
	assert_int_equal(identity_append(&user->identity, buf_bytes(&encoded), NULL), 0);
}

static void user_init(struct user *user, unsigned i)
{
	_cleanup_(buf_release) struct buf genesis = BUF_INIT, body = BUF_INIT;
	const uint8_t device_id[ID_BYTES] = {0xd0, (uint8_t)i};

	*user = keys[i];
	user->id[0] = (uint8_t)(i + 1);
	identity_init(&user->identity);
	assert_int_equal(identity_genesis(user->id, names[i], user->signing,
				 key_public(user->transfer), 1, &genesis, NULL),
		0);
	assert_int_equal(identity_append(&user->identity, buf_bytes(&genesis), NULL), 0);
	identity_body_device(
		&body, device_id, key_public(user->device), key_public(user->transfer), "laptop");
	statement(user, IDENTITY_DEVICE_ADD, &body);
}

static void revoke(struct user *user)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	identity_body_revoke(&body, user->identity.devices[0].device_id, NULL, 0);
	statement(user, IDENTITY_DEVICE_REVOKE, &body);
}

/* What somebody signs as the next statement of a chain. */
static void make_at(const struct membership *m, const struct user *by, unsigned type,
	const struct buf *body, uint64_t unix_ms, struct buf *encoded)
{
	assert_int_equal(members_make(&m->members, type, buf_bytes(body), by->device, unix_ms,
				 encoded, NULL),
		0);
}

static int extend(struct club *club, struct membership *m, const struct user *by, unsigned type,
	const struct buf *body, uint64_t unix_ms)
{
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;

	make_at(m, by, type, body, unix_ms, &encoded);
	return membership_extend(m, buf_bytes(&encoded), &club->source, true, &club->err);
}

static int add(struct club *club, struct membership *m, unsigned by, const uint8_t *id,
	unsigned kind, unsigned role)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	buf_append(&body, id, ID_BYTES);
	buf_put_u8(&body, kind);
	buf_put_u16(&body, role);
	return extend(club, m, &club->users[by], MEMBER_ADD, &body, 10);
}

static int take_out(
	struct club *club, struct membership *m, unsigned by, const uint8_t *id, uint64_t unix_ms)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	buf_append(&body, id, ID_BYTES);
	return extend(club, m, &club->users[by], MEMBER_REMOVE, &body, unix_ms);
}

static int rotate(
	struct club *club, struct membership *m, unsigned by, const uint8_t *kid, uint64_t unix_ms)
{
	static const uint8_t none[KID_BYTES];
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	buf_put_u32(&body, m->members.epoch + 1);
	buf_append(&body, kid == NULL ? none : kid, KID_BYTES);
	return extend(club, m, &club->users[by], MEMBER_ROTATE, &body, unix_ms);
}

static struct membership *found(
	struct club *club, const uint8_t *id, unsigned kind, const uint8_t *group_kid)
{
	_cleanup_(buf_release) struct buf create = BUF_INIT;
	struct membership *m = membership_new();

	assert_int_equal(members_create(id, kind, club->users[ALICE].id, group_kid,
				 club->users[ALICE].device, 5, &create, NULL),
		0);
	assert_int_equal(
		membership_extend(m, buf_bytes(&create), &club->source, true, &club->err), 0);
	return m;
}

static int setup(void **state)
{
	struct club *club = calloc(1, sizeof *club);

	club->source.get = club_get;
	for (unsigned i = 0; i < USERS; i++) {
		user_init(&club->users[i], i);
	}
	club->m = found(club, vault_id, MEMBER_OBJECT_VAULT, NULL);
	*state = club;
	return 0;
}

static int teardown(void **state)
{
	struct club *club = *state;

	for (unsigned i = 0; i < USERS; i++) {
		identity_release(&club->users[i].identity);
	}
	membership_free(club->m);
	free(club);
	return 0;
}

static void assert_says(const struct club *club, const char *words)
{
	if (strstr(club->err.text, words) == NULL) {
		fail_msg("'%s' lacks '%s'", club->err.text, words);
	}
}

static void test_roles_over_time(void **state)
{
	struct club *club = *state;
	const uint8_t *bob = club->users[BOB].id;
	uint8_t hash[HASH_BYTES];

	assert_int_equal(add(club, club->m, ALICE, bob, MEMBER_USER, MEMBER_WRITE), 0);
	assert_int_equal(take_out(club, club->m, ALICE, bob, 20), 0);
	assert_int_equal(rotate(club, club->m, ALICE, NULL, 20), 0);
	assert_int_equal(membership_role(club->m, bob, 1), 0);
	assert_int_equal(membership_role(club->m, bob, 2), MEMBER_WRITE);
	assert_int_equal(membership_role(club->m, bob, 3), 0);
	assert_int_equal(membership_role(club->m, club->users[ALICE].id, 4), MEMBER_ADMIN);
	assert_int_equal(club->m->members.epoch, 2);
	assert_int_equal(club->m->steps[2].epoch, 1);
	assert_true(membership_signed(
		club->m, key_pub_kid(key_public(club->users[ALICE].device)), hash));
	assert_memory_equal(hash, club->m->members.hash, HASH_BYTES);
	assert_false(
		membership_signed(club->m, key_pub_kid(key_public(club->users[BOB].device)), hash));
}

/* A stored chain is read back to the same state, and no other bytes are. */
static void test_stored(void **state)
{
	struct club *club = *state;
	_cleanup_(membership_freep) struct membership *back = membership_new();
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	const uint8_t wanted[ID_BYTES] = {9};
	uint8_t lineage[ID_BYTES];

	assert_int_equal(
		add(club, club->m, ALICE, club->users[BOB].id, MEMBER_USER, MEMBER_READ), 0);
	buf_append(&payload, wanted, ID_BYTES);
	buf_append_bytes(&payload, buf_bytes(&club->m->chain));
	assert_int_equal(
		membership_parse(back, buf_bytes(&payload), &club->source, lineage, NULL), 0);
	assert_memory_equal(lineage, wanted, ID_BYTES);
	assert_memory_equal(back->members.hash, club->m->members.hash, HASH_BYTES);
	assert_int_equal(back->members.count, 2);
	for (size_t cut = 0; cut < payload.len; cut++) {
		_cleanup_(membership_freep) struct membership *bad = membership_new();
		size_t create = ID_BYTES + 4 + load_u32(payload.data + ID_BYTES);

		assert_true((membership_parse(bad, bytes_of(payload.data, cut), &club->source,
				     lineage, NULL) == 0) == (cut == create));
		cut += cut % 7 == 0 ? 0 : 6; /* Each costs signatures. */
	}
}

/* The cluster cannot add anybody: it has no device of an admin. */
static void test_server_adds_a_member(void **state)
{
	struct club *club = *state;
	const uint8_t *mallory = club->users[MALLORY].id;

	assert_int_equal(
		add(club, club->m, MALLORY, mallory, MEMBER_USER, MEMBER_READ), KLUIS_EVERIFY);
	assert_says(club, "proves nothing");
	assert_int_equal(
		add(club, club->m, ALICE, club->users[BOB].id, MEMBER_USER, MEMBER_WRITE), 0);
	/* Nor can a member who is no admin. */
	assert_int_equal(add(club, club->m, BOB, mallory, MEMBER_USER, MEMBER_READ), KLUIS_EVERIFY);
	assert_int_equal(club->m->members.seq, 2);
	assert_int_equal(membership_role(club->m, mallory, 2), 0);
}

/* Who signs as founder what another one founded. */
static void test_server_founds(void **state)
{
	struct club *club = *state;
	_cleanup_(membership_freep) struct membership *m = membership_new();
	_cleanup_(buf_release) struct buf create = BUF_INIT;

	assert_int_equal(members_create(vault_id, MEMBER_OBJECT_VAULT, club->users[ALICE].id, NULL,
				 club->users[MALLORY].device, 5, &create, NULL),
		0);
	assert_int_equal(membership_extend(m, buf_bytes(&create), &club->source, true, &club->err),
		KLUIS_EVERIFY);
}

/* A statement of another vault's chain, one twice, one left out. */
static void test_server_reorders(void **state)
{
	struct club *club = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT, second = BUF_INIT, third = BUF_INIT;
	_cleanup_(membership_freep) struct membership *other =
		found(club, group_id, MEMBER_OBJECT_CONVERSATION, NULL);

	buf_append(&body, club->users[BOB].id, ID_BYTES);
	buf_put_u8(&body, MEMBER_USER);
	buf_put_u16(&body, MEMBER_READ);
	make_at(club->m, &club->users[ALICE], MEMBER_ADD, &body, 10, &second);
	assert_int_equal(
		membership_extend(club->m, buf_bytes(&second), &club->source, true, NULL), 0);
	assert_int_equal(
		membership_extend(club->m, buf_bytes(&second), &club->source, true, &club->err),
		KLUIS_EVERIFY);
	assert_int_equal(
		membership_extend(other, buf_bytes(&second), &club->source, true, &club->err),
		KLUIS_EVERIFY);
	body.data[0] = 0x77;
	make_at(club->m, &club->users[ALICE], MEMBER_ADD, &body, 10, &third);
	assert_int_equal(membership_extend(other, buf_bytes(&third), &club->source, true, NULL),
		KLUIS_EVERIFY);
	for (size_t i = 0; i < third.len; i += 3) {
		third.data[i] ^= 1;
		assert_int_equal(
			membership_extend(club->m, buf_bytes(&third), &club->source, true, NULL),
			KLUIS_EVERIFY);
		third.data[i] ^= 1;
	}
	assert_int_equal(
		membership_extend(club->m, buf_bytes(&third), &club->source, true, NULL), 0);
}

/* A revoked device's statement leaves the chain loose until an admin goes on from it. */
static void test_revoked_admin(void **state)
{
	struct club *club = *state;

	assert_int_equal(
		add(club, club->m, ALICE, club->users[BOB].id, MEMBER_USER, MEMBER_ADMIN), 0);
	revoke(&club->users[BOB]);
	assert_int_equal(
		add(club, club->m, BOB, club->users[MALLORY].id, MEMBER_USER, MEMBER_ADMIN), 0);
	assert_true(club->m->members.loose);
	/* The accomplice cannot vouch for it. */
	assert_int_equal(
		add(club, club->m, MALLORY, club->users[CAROL].id, MEMBER_USER, MEMBER_READ), 0);
	assert_true(club->m->members.loose);
	assert_int_equal(take_out(club, club->m, ALICE, club->users[MALLORY].id, 20), 0);
	assert_false(club->m->members.loose);
}

/* An identity that the cluster withholds proves nothing. */
static void test_withheld_identity(void **state)
{
	struct club *club = *state;

	club->hide_fresh = true;
	assert_int_equal(add(club, club->m, ALICE, club->users[BOB].id, MEMBER_USER, MEMBER_READ),
		KLUIS_EVERIFY);
	assert_int_equal(club->m->members.seq, 1);
}

static struct head head_by(const struct club *club, unsigned by, uint32_t rev, uint32_t epoch)
{
	struct head head = {.seq = 7, .members_rev = rev, .key_epoch = epoch};

	memcpy(head.user_id, club->users[by].id, ID_BYTES);
	if (rev >= 1 && rev <= club->m->members.seq) {
		memcpy(head.members_hash, club->m->steps[rev - 1].hash, HASH_BYTES);
	}
	return head;
}

static int check(struct club *club, unsigned by, uint32_t rev, uint32_t epoch, uint64_t min_rev)
{
	struct head head = head_by(club, by, rev, epoch);

	return membership_check_head(club->m, NULL, 0, min_rev, &head, &club->err);
}

static void test_heads(void **state)
{
	struct club *club = *state;
	const uint8_t *bob = club->users[BOB].id;
	struct head head;

	assert_int_equal(add(club, club->m, ALICE, bob, MEMBER_USER, MEMBER_WRITE), 0);
	assert_int_equal(
		add(club, club->m, ALICE, club->users[CAROL].id, MEMBER_USER, MEMBER_READ), 0);
	assert_int_equal(check(club, ALICE, 1, 1, 0), 0);
	assert_int_equal(check(club, BOB, 2, 1, 1), 0);
	assert_int_equal(check(club, BOB, 3, 1, 2), 0);
	assert_int_equal(check(club, BOB, 1, 1, 0), KLUIS_EVERIFY);   /* Not a member yet. */
	assert_int_equal(check(club, CAROL, 3, 1, 2), KLUIS_EVERIFY); /* Who only reads. */
	assert_says(club, "may not write");
	assert_int_equal(check(club, MALLORY, 3, 1, 2), KLUIS_EVERIFY);
	assert_int_equal(take_out(club, club->m, ALICE, bob, 20), 0);
	assert_int_equal(rotate(club, club->m, ALICE, NULL, 20), 0);
	assert_int_equal(check(club, BOB, 5, 2, 5), KLUIS_EVERIFY); /* Kept on the list. */
	assert_int_equal(check(club, BOB, 3, 1, 3), 0);		    /* Before she was removed. */
	assert_int_equal(check(club, BOB, 3, 1, 5), KLUIS_EVERIFY); /* After: by an old list. */
	assert_says(club, "removed since");
	assert_int_equal(check(club, ALICE, 5, 1, 5), KLUIS_EVERIFY); /* Under a stale key. */
	assert_says(club, "epoch");
	assert_int_equal(check(club, ALICE, 5, 3, 5), 0); /* Ahead, as after a new password. */
	assert_int_equal(check(club, ALICE, 6, 2, 5), KLUIS_EVERIFY); /* A list nobody shows. */
	assert_says(club, "withheld");
	assert_int_equal(check(club, ALICE, 0, 2, 0), KLUIS_EVERIFY);
	head = head_by(club, ALICE, 5, 2);
	head.members_hash[0] ^= 1;
	assert_int_equal(
		membership_check_head(club->m, NULL, 0, 0, &head, &club->err), KLUIS_EVERIFY);
}

/* By a group: until it lost the writer and the vault was re-keyed for that. */
static void test_heads_of_a_group(void **state)
{
	struct club *club = *state;
	const uint8_t kid[KID_BYTES] = {1}, next[KID_BYTES] = {2};
	const uint8_t *bob = club->users[BOB].id;
	struct membership *group = found(club, group_id, MEMBER_OBJECT_GROUP, kid);
	struct head before, after;

	assert_int_equal(add(club, club->m, ALICE, group_id, MEMBER_GROUP, MEMBER_WRITE), 0);
	before = head_by(club, BOB, 2, 1);
	assert_int_equal(
		membership_check_head(club->m, &group, 1, 0, &before, &club->err), KLUIS_EVERIFY);
	assert_int_equal(add(club, group, ALICE, bob, MEMBER_USER, MEMBER_WRITE), 0);
	assert_int_equal(membership_check_head(club->m, &group, 1, 0, &before, &club->err), 0);
	assert_int_equal(
		membership_check_head(club->m, NULL, 0, 0, &before, &club->err), KLUIS_EVERIFY);
	assert_int_equal(take_out(club, group, ALICE, bob, 30), 0);
	/* The vault's part of that is withheld. */
	assert_int_equal(
		membership_check_head(club->m, &group, 1, 0, &before, &club->err), KLUIS_EVERIFY);
	assert_int_equal(rotate(club, group, ALICE, next, 30), 0);
	assert_int_equal(rotate(club, club->m, ALICE, NULL, 30), 0);
	assert_int_equal(membership_check_head(club->m, &group, 1, 0, &before, &club->err), 0);
	after = head_by(club, BOB, 3, 2);
	assert_int_equal(
		membership_check_head(club->m, &group, 1, 3, &after, &club->err), KLUIS_EVERIFY);
	membership_free(group);
}

/* A packet from `by` to bob of the vault's key. */
static void seal(const struct club *club, unsigned by, unsigned to, uint32_t epoch,
	uint64_t expires_ms, struct buf *packet)
{
	struct keypacket fields = {.aead = AEAD_AES_256_GCM,
		.purpose = KEYPACKET_VAULT,
		.role = MEMBER_WRITE,
		.epoch = epoch,
		.unix_ms = 10,
		.expires_ms = expires_ms};

	random_fill(&random_system, fields.packet_id, ID_BYTES);
	memcpy(fields.sender_user, club->users[by].id, ID_BYTES);
	memcpy(fields.rcpt_id, club->users[to].id, ID_BYTES);
	memcpy(fields.object_id, vault_id, ID_BYTES);
	assert_int_equal(keypacket_seal(&fields, key_public(club->users[to].transfer),
				 bytes_of(vk, sizeof vk), club->users[by].signing, &random_system,
				 packet, NULL),
		0);
}

static int check_packet(struct club *club, unsigned by, unsigned to, uint32_t epoch,
	unsigned reader, uint64_t now_ms)
{
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	struct keypacket packet;

	seal(club, by, to, epoch, 1000, &encoded);
	assert_int_equal(keypacket_parse(buf_bytes(&encoded), &packet, NULL), 0);
	return packets_check(
		&packet, club->m, NULL, club->users[reader].id, &club->source, now_ms, &club->err);
}

static void test_packets(void **state)
{
	struct club *club = *state;

	assert_int_equal(check_packet(club, ALICE, BOB, 1, BOB, 20), KLUIS_EVERIFY);
	assert_says(club, "no member");
	assert_int_equal(
		add(club, club->m, ALICE, club->users[BOB].id, MEMBER_USER, MEMBER_WRITE), 0);
	assert_int_equal(
		add(club, club->m, ALICE, club->users[CAROL].id, MEMBER_USER, MEMBER_ADMIN), 0);
	assert_int_equal(check_packet(club, ALICE, BOB, 1, BOB, 20), 0);
	assert_int_equal(check_packet(club, CAROL, BOB, 1, BOB, 20), 0);
	/* The cluster's own, one by a member who is no admin, an epoch nobody announced. */
	assert_int_equal(check_packet(club, MALLORY, BOB, 1, BOB, 20), KLUIS_EVERIFY);
	assert_says(club, "'mallory'");
	assert_int_equal(check_packet(club, BOB, CAROL, 1, CAROL, 20), KLUIS_EVERIFY);
	assert_int_equal(check_packet(club, ALICE, BOB, 2, BOB, 20), KLUIS_EVERIFY);
	assert_int_equal(check_packet(club, ALICE, BOB, 1, BOB, 1000), KLUIS_EVERIFY); /* Late. */
	/* Who was an admin gives keys of then, not of later. */
	assert_int_equal(take_out(club, club->m, ALICE, club->users[CAROL].id, 30), 0);
	assert_int_equal(rotate(club, club->m, ALICE, NULL, 30), 0);
	assert_int_equal(check_packet(club, CAROL, BOB, 1, BOB, 40), 0);
	assert_int_equal(check_packet(club, CAROL, BOB, 2, BOB, 40), KLUIS_EVERIFY);
	assert_int_equal(check_packet(club, ALICE, CAROL, 2, CAROL, 40), KLUIS_EVERIFY);
}

/* One sender's packet under another's name; a changed byte. */
static void test_packets_swapped(void **state)
{
	struct club *club = *state;
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	struct keypacket packet;

	assert_int_equal(
		add(club, club->m, ALICE, club->users[BOB].id, MEMBER_USER, MEMBER_WRITE), 0);
	seal(club, MALLORY, BOB, 1, 1000, &encoded);
	assert_int_equal(keypacket_parse(buf_bytes(&encoded), &packet, NULL), 0);
	memcpy(packet.sender_user, club->users[ALICE].id, ID_BYTES);
	assert_int_equal(packets_check(&packet, club->m, NULL, club->users[BOB].id, &club->source,
				 20, &club->err),
		KLUIS_EVERIFY);
	buf_clear(&encoded);
	seal(club, ALICE, BOB, 1, 1000, &encoded);
	encoded.data[encoded.len - 400] ^= 1;
	if (keypacket_parse(buf_bytes(&encoded), &packet, NULL) == 0) {
		assert_int_equal(packets_check(&packet, club->m, NULL, club->users[BOB].id,
					 &club->source, 20, &club->err),
			KLUIS_EVERIFY);
	}
}

/* A keyring of bob's, sealed. */
static void make_ring(const struct club *club, struct keyring *ring, struct buf *object)
{
	const struct keyring_slot slot = {
		.slot_id = {1}, .type = KEYRING_SLOT_RECOVERY, .sym = SYM_AES_256};
	static const uint8_t kek[KEYRING_KEK_BYTES];
	const struct user *bob = &club->users[BOB];

	assert_int_equal(keyring_make(bob->id, SYM_AES_256, bob->signing, bob->transfer,
				 bytes_of(NULL, 0), &random_system, ring, NULL),
		0);
	keyring_put_slot(ring, &slot, bytes_of(kek, sizeof kek), &random_system);
	assert_int_equal(keyring_seal(ring, 1, &random_system, object, NULL), 0);
}

static int take(const struct club *club, const struct keyring *ring, struct bytes object,
	const struct ring_packet *packets, size_t n, struct buf *next)
{
	buf_clear(next);
	return ring_take_object(club->users[BOB].id, secret_bytes(&ring->krk), object, packets, n,
		2, next, (struct err *)&club->err);
}

/* A group's key to bob. */
static void seal_group(const struct club *club, const struct key *key, struct buf *packet)
{
	struct keypacket fields = {.aead = AEAD_AES_256_GCM,
		.purpose = KEYPACKET_GROUP,
		.epoch = 1,
		.unix_ms = 10,
		.expires_ms = 1000};
	_cleanup_(secret_release) struct secret private = SECRET_INIT;
	_cleanup_(buf_release) struct buf plain = BUF_INIT;

	key_encode(key, &private);
	buf_put_u16(&plain, KEY_KEM_P256);
	buf_append_bytes(&plain, secret_bytes(&private));
	memcpy(fields.sender_user, club->users[ALICE].id, ID_BYTES);
	memcpy(fields.rcpt_id, club->users[BOB].id, ID_BYTES);
	memcpy(fields.object_id, group_id, ID_BYTES);
	assert_int_equal(
		keypacket_seal(&fields, key_public(club->users[BOB].transfer), buf_bytes(&plain),
			club->users[ALICE].signing, &random_system, packet, NULL),
		0);
}

/* To the group, of the vault's key. */
static void seal_to_group(const struct club *club, const struct key *key, struct buf *packet)
{
	struct keypacket fields = {.aead = AEAD_AES_256_GCM,
		.purpose = KEYPACKET_VAULT,
		.role = MEMBER_WRITE,
		.epoch = 1,
		.unix_ms = 10,
		.expires_ms = 1000};

	memcpy(fields.sender_user, club->users[ALICE].id, ID_BYTES);
	memcpy(fields.rcpt_id, group_id, ID_BYTES);
	memcpy(fields.object_id, vault_id, ID_BYTES);
	assert_int_equal(keypacket_seal(&fields, key_public(key), bytes_of(vk, sizeof vk),
				 club->users[ALICE].signing, &random_system, packet, NULL),
		0);
}

static void ring_packet_of(
	const struct buf *encoded, const uint8_t *kid, struct ring_packet *ret_packet)
{
	*ret_packet = (struct ring_packet){.packet = buf_bytes(encoded)};
	if (kid != NULL) {
		memcpy(ret_packet->kid, kid, KID_BYTES);
	}
}

/* A group's key, then the vault's key that came to the group, in one step; a swapped group key, one
 * to somebody else and another key of a held epoch are refused. */
static void test_take(void **state)
{
	struct club *club = *state;
	_cleanup_(buf_release) struct buf object = BUF_INIT, next = BUF_INIT, group = BUF_INIT,
					  vault = BUF_INIT, other = BUF_INIT;
	_cleanup_(keyring_release) struct keyring ring = {0}, opened = {0};
	_cleanup_(key_freep) struct key *key = NULL, *swapped = NULL;
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	_cleanup_(secret_release) struct secret name_key = SECRET_INIT;
	struct ring_packet packets[2];
	const struct keyring_entry *entry;

	assert_int_equal(key_generate(KEY_KEM_P256, 0, &key, NULL), 0);
	assert_int_equal(key_generate(KEY_KEM_P256, 0, &swapped, NULL), 0);
	make_ring(club, &ring, &object);
	seal_group(club, key, &group);
	seal_to_group(club, key, &vault);
	ring_packet_of(&group, key_pub_kid(key_public(key)), &packets[0]);
	ring_packet_of(&vault, NULL, &packets[1]);
	/* Without the group's key the vault's does not open. */
	assert_int_equal(
		take(club, &ring, buf_bytes(&object), &packets[1], 1, &next), KLUIS_EVERIFY);
	assert_int_equal(take(club, &ring, buf_bytes(&object), packets, 2, &next), 0);
	assert_int_equal(ring_open(buf_bytes(&next), club->users[BOB].id, secret_bytes(&ring.krk),
				 &opened, NULL),
		0);
	entry = keyring_entry(&opened, KEYRING_VAULT_KEY, vault_id, 1);
	assert_non_null(entry);
	assert_memory_equal(entry->value.data, vk, sizeof vk);
	entry = keyring_entry(&opened, KEYRING_GROUP_KEY, group_id, 1);
	assert_non_null(entry);
	assert_int_equal(
		ring_group_key(secret_bytes(&entry->value), group_id, &pub, &name_key, NULL), 0);
	assert_true(key_pub_equal(pub, key_public(key)));
	assert_int_equal(name_key.len, SEAL_KEY_BYTES);
	/* The chain names another key: a swapped or stale one. */
	seal_group(club, swapped, &other);
	ring_packet_of(&other, key_pub_kid(key_public(key)), &packets[0]);
	assert_int_equal(take(club, &ring, buf_bytes(&object), packets, 1, &next), KLUIS_EVERIFY);
	assert_says(club, "another key");
	/* And another key of the epoch that is held takes nothing's place. */
	ring_packet_of(&other, key_pub_kid(key_public(swapped)), &packets[0]);
	assert_int_equal(take(club, &ring, buf_bytes(&object), packets, 1, &next), 0);
	ring_packet_of(&group, key_pub_kid(key_public(key)), &packets[1]);
	assert_int_equal(take(club, &ring, buf_bytes(&object), packets, 2, &next), KLUIS_ECONFLICT);
}

static int setup_keys(void **state)
{
	(void)state;
	for (unsigned i = 0; i < USERS; i++) {
		assert_int_equal(key_generate(KEY_RSA_PSS, 2048, &keys[i].signing, NULL), 0);
		assert_int_equal(key_generate(KEY_KEM_P256, 0, &keys[i].transfer, NULL), 0);
		assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &keys[i].device, NULL), 0);
	}
	return 0;
}

static int teardown_keys(void **state)
{
	(void)state;
	for (unsigned i = 0; i < USERS; i++) {
		key_free(keys[i].signing);
		key_free(keys[i].transfer);
		key_free(keys[i].device);
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_roles_over_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stored, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_adds_a_member, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_founds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_reorders, setup, teardown),
		cmocka_unit_test_setup_teardown(test_revoked_admin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_withheld_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_heads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_heads_of_a_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packets_swapped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_take, setup, teardown),
	};

	return cmocka_run_group_tests(tests, setup_keys, teardown_keys);
}
