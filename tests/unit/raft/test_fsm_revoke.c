#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "crypto/member.h"
#include "storage/object_store.h"
#include "tests/lib/fixture/machine.h"
#include "tests/lib/fixture/person.h"
#include "tests/lib/fixture/sharing.h"

/* What the statement that revokes a device answers for. */

static struct revoke_row row_of(const uint8_t object_id[16], const uint8_t hash[32])
{
	struct revoke_row row;

	memcpy(row.object_id, object_id, 16);
	memcpy(row.hash, hash, 32);
	return row;
}

/* c revokes its own device; rows, of objects and hashes, in any order. */
static int revoke_with(
	struct fixture_machine *m, struct fixture_client *c, struct revoke_row *rows, size_t n)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, command = BUF_INIT;
	struct fixture_client kept = *c;
	int rc;

	qsort(rows, n, sizeof *rows, revoke_row_compare);
	identity_body_revoke(&body, c->device_id, rows, n);
	fixture_identity_append(c, IDENTITY_DEVICE_REVOKE, buf_bytes(&body), &command);
	rc = fixture_machine_run(m, buf_bytes(&command));
	if (rc != 0) {
		*c = kept;
	}
	return rc;
}

static int revoke_of_writer(
	struct fixture_machine *m, struct fixture_client *c, const uint8_t *hash)
{
	static const uint8_t none[32];
	struct revoke_row row = row_of(c->vault_id, hash == NULL ? none : hash);

	return revoke_with(m, c, &row, hash != NULL);
}

/* The vault whose last head the device wrote is vouched for as it is, or named as left out. */
static void revoke_writer(bool leave_out, unsigned level)
{
	static const uint8_t none[32], other[32] = {1};
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	struct fixture_machine m;
	struct fixture_client c;
	uint8_t before[32];
	int silent = level >= FEATURE_LEVEL_VOUCHED ? KLUIS_EPRECONDITION : 0;

	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	if (level > 1) {
		fixture_machine_level(&m);
	}
	memcpy(before, c.head_hash, sizeof before);
	fixture_entry(&c, 1, 1, 12, 1, false, &entries);
	fixture_commit(&c, buf_bytes(&entries), 2, false, &command);
	assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), 0);
	fixture_committed(&c, buf_bytes(&entries));
	if (silent != 0) {
		assert_int_equal(revoke_of_writer(&m, &c, NULL), silent);
		assert_int_equal(revoke_of_writer(&m, &c, before), silent);
		assert_int_equal(revoke_of_writer(&m, &c, other), silent);
	}
	assert_int_equal(revoke_of_writer(&m, &c,
				 silent == 0 ? NULL
				 : leave_out ? none
					     : c.head_hash),
		0);
	fixture_machine_release(&m);
}

static void test_revoke_writer(void **state)
{
	(void)state;
	revoke_writer(false, FEATURE_LEVEL);
	revoke_writer(true, FEATURE_LEVEL);
	revoke_writer(false, 1);
}

/* The kid of the key that fixture_device_body() names. */
static void signer_kid(const struct fixture_client *c, uint8_t ret_kid[KID_BYTES])
{
	uint8_t key[65];

	fixture_made_up("key", c->device_id[0], key, sizeof key);
	key_kid(KEY_ECDSA_P256, bytes_of(key, sizeof key), ret_kid);
}

static void change_by(struct fixture_machine *m, const struct fixture_client *c,
	struct fixture_object *o, void (*make)(struct fixture_section *, const uint8_t *))
{
	_cleanup_(buf_release) struct buf space = BUF_INIT;
	struct fixture_section s, *const sections[] = {&s};
	struct command command;

	fixture_section_begin(&s, o);
	make(&s, c->user_id);
	command = fixture_change(c, sections, 1, &space);
	assert_int_equal(fixture_machine_do(m, &command), 0);
	fixture_section_release(&s);
}

static void rotate(struct fixture_section *s, const uint8_t *user_id)
{
	(void)user_id;
	fixture_rotate(s);
}

/* Whoever has changed the members last is answered for as whoever has written last. */
static void revoke_signer(unsigned kind, bool leave_out, unsigned level)
{
	static const uint8_t none[32], other[32] = {1};
	bool vault = kind == MEMBER_OBJECT_VAULT;
	int silent = level >= FEATURE_LEVEL_CHANGED ? KLUIS_EPRECONDITION : 0;
	struct fixture_machine m;
	struct fixture_client c;
	struct fixture_object o;
	struct revoke_row rows[2];

	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	fixture_machine_level_to(&m, level);
	if (vault) {
		fixture_object_vault(&o, &c);
	} else {
		fixture_object_init(&o, kind, 1);
	}
	signer_kid(&c, o.signer_kid);
	change_by(&m, &c, &o, vault ? rotate : fixture_create);
	for (unsigned step = silent == 0 ? 1 : 0; step < 2; step++) {
		/* Her vault's first head is the device's, too. */
		rows[0] = row_of(c.vault_id, c.head_hash);
		rows[1] = row_of(o.id, step == 0 || silent == 0 ? other
				       : leave_out		? none
								: o.hash);
		assert_int_equal(revoke_with(&m, &c, rows, 2), step == 0 ? silent : 0);
	}
	fixture_machine_release(&m);
}

static void test_revoke_signer(void **state)
{
	(void)state;
	for (unsigned kind = MEMBER_OBJECT_VAULT; kind <= MEMBER_OBJECT_CONVERSATION; kind++) {
		revoke_signer(kind, false, FEATURE_LEVEL_CHANGED);
		revoke_signer(kind, true, FEATURE_LEVEL_CHANGED);
		revoke_signer(kind, false, FEATURE_LEVEL_VOUCHED);
	}
}

static int revoke_row(struct fixture_machine *m, struct fixture_client *c,
	const struct fixture_object *o, const uint8_t *hash)
{
	/* Her vault's first head is the device's, too. */
	struct revoke_row rows[] = {
		row_of(c->vault_id, c->head_hash), row_of(o->id, hash == NULL ? o->hash : hash)};

	return revoke_with(m, c, rows, hash == NULL ? 1 : 2);
}

/* Others who are admins by what the device signed go on: all of that rests on the device. */
static void test_revoke_signed_before(void **state)
{
	static const uint8_t bobs[KID_BYTES] = {0xb0};
	uint8_t by_device[32];
	struct fixture_machine m;
	struct fixture_client c;
	struct fixture_object o;

	(void)state;
	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	fixture_machine_level(&m);
	fixture_object_vault(&o, &c);
	signer_kid(&c, o.signer_kid);
	change_by(&m, &c, &o, rotate);
	memcpy(by_device, o.hash, sizeof by_device);
	memcpy(o.signer_kid, bobs, KID_BYTES);
	change_by(&m, &c, &o, rotate);
	assert_int_equal(revoke_row(&m, &c, &o, NULL), KLUIS_EPRECONDITION);
	assert_int_equal(revoke_row(&m, &c, &o, o.hash), KLUIS_EPRECONDITION);
	assert_int_equal(revoke_row(&m, &c, &o, by_device), 0);
	fixture_machine_release(&m);
}

static const uint8_t *guest; /* Who comes and goes. */

static void let_in(struct fixture_section *s, const uint8_t *user_id)
{
	fixture_add(s, guest, MEMBER_USER, MEMBER_READ);
	if (s->object->kind == MEMBER_OBJECT_VAULT) {
		fixture_give(s, user_id, guest, NULL, s->object->epoch);
	}
}

static void let_out(struct fixture_section *s, const uint8_t *user_id)
{
	(void)user_id;
	fixture_remove(s, guest);
}

/* Not the whole of a long chain is looked at: 256 statements, of which the device's is the oldest,
 * are, and with one more it is not. */
static void test_revoke_looks_back(void **state)
{
	enum { BACK = 256 };
	static const uint8_t bobs[KID_BYTES] = {0xb0};
	struct fixture_machine m;
	struct fixture_client c, other;
	struct fixture_object o;

	(void)state;
	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	fixture_machine_join(&m, &other, 2);
	fixture_machine_level(&m);
	guest = other.user_id;
	fixture_object_init(&o, MEMBER_OBJECT_CONVERSATION, 1);
	signer_kid(&c, o.signer_kid);
	change_by(&m, &c, &o, fixture_create);
	memcpy(o.signer_kid, bobs, KID_BYTES);
	while (o.seq < BACK) {
		change_by(&m, &c, &o, o.seq % 2 == 1 ? let_in : let_out);
	}
	assert_int_equal(revoke_row(&m, &c, &o, NULL), KLUIS_EPRECONDITION);
	change_by(&m, &c, &o, let_out);
	assert_int_equal(revoke_row(&m, &c, &o, NULL), 0);
	fixture_machine_release(&m);
}

static void revoke_invited(bool vault, bool accepted)
{
	struct fixture_machine m;
	struct fixture_client c, other;
	struct fixture_object o;
	struct command accept;

	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	fixture_machine_join(&m, &other, 2);
	fixture_machine_level(&m);
	if (vault) {
		fixture_object_vault(&o, &other);
	} else {
		fixture_object_init(&o, MEMBER_OBJECT_CONVERSATION, 1);
	}
	signer_kid(&c, o.signer_kid);
	change_by(&m, &other, &o, vault ? rotate : fixture_create);
	guest = c.user_id;
	change_by(&m, &other, &o, let_in);
	accept = fixture_answer(&c, o.id, true);
	assert_int_equal(accepted ? fixture_machine_do(&m, &accept) : 0, 0);
	assert_int_equal(revoke_row(&m, &c, &o, NULL), accepted ? KLUIS_EPRECONDITION : 0);
	fixture_machine_release(&m);
}

/* What others invite her to asks nothing of her before she accepts. */
static void test_revoke_invited(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		revoke_invited(i / 2 == 1, i % 2 == 1);
	}
}

/* What a store of c's holds: too much to be made by commands. */
struct crowd {
	bool vaults;		/* At level 5, where nothing was asked about groups: */
	unsigned invited;	/* Groups (or vaults) that others invite her to, ... */
	unsigned accepted;	/* ... and that she is in, ... */
	uint64_t statements;	/* ... with so many by others in each. */
	uint64_t behind;	/* So many behind the device's, in the last one. */
	uint8_t kid[KID_BYTES]; /* Of the device. */
};

static void statement_by(const uint8_t kid[KID_BYTES], struct buf *to)
{
	struct fixture_object o;
	struct fixture_section s;
	struct bytes statements, encoded;

	fixture_object_init(&o, MEMBER_OBJECT_GROUP, 1);
	memcpy(o.signer_kid, kid, KID_BYTES);
	fixture_section_begin(&s, &o);
	fixture_create(&s, o.id);
	statements = buf_bytes(&s.statements);
	assert_true(members_item_next(&statements, &encoded));
	buf_append_bytes(to, encoded);
	fixture_section_release(&s);
}

static void put_member(struct txn *txn, const struct fixture_client *c, const uint8_t id[16],
	unsigned kind, enum member_state state)
{
	struct member_row row = {.kind = MEMBER_USER, .state = (uint8_t)state, .role = MEMBER_READ};

	memcpy(row.object_id, id, 16);
	memcpy(row.member_id, c->user_id, 16);
	member_store_put(txn, kind, &row);
}

static void put_group(struct txn *txn, const struct fixture_client *c, const uint8_t id[16],
	uint64_t statements, const struct buf *first, const struct buf *others)
{
	struct object_row row = {.kind = MEMBER_OBJECT_GROUP,
		.state = OBJECT_ACTIVE,
		.epoch = 1,
		.group_key_bytes = 65,
		.members_rev = (uint32_t)statements};

	memcpy(row.object_id, id, 16);
	object_store_put(txn, &row);
	put_member(txn, c, id, MEMBER_OBJECT_GROUP, MEMBER_ACCEPTED);
	for (uint64_t seq = 1; seq <= statements; seq++) {
		member_statement_put(txn, id, seq, buf_bytes(seq == 1 ? first : others));
	}
}

static void put_crowd(struct txn *txn, const struct fixture_client *c, const struct crowd *crowd)
{
	static const uint8_t bobs[KID_BYTES] = {0xb0};
	_cleanup_(buf_release) struct buf his = BUF_INIT, others = BUF_INIT;
	uint8_t id[16] = {0};

	statement_by(crowd->kid, &his);
	statement_by(bobs, &others);
	for (unsigned i = 0; i <= crowd->invited + crowd->accepted; i++) {
		id[0] = 1;
		id[1] = (uint8_t)(i >> 8);
		id[2] = (uint8_t)i;
		if (i < crowd->invited) {
			put_member(txn, c, id,
				crowd->vaults ? MEMBER_OBJECT_VAULT : MEMBER_OBJECT_GROUP,
				MEMBER_INVITED);
		} else if (i < crowd->invited + crowd->accepted) {
			put_group(txn, c, id, crowd->statements, &others, &others);
		} else {
			put_group(txn, c, id, 1 + crowd->behind, &his, &others);
		}
	}
}

static int revoke_in_crowd(struct crowd crowd)
{
	struct fixture_machine m;
	struct fixture_client c;
	struct position position;
	struct txn *txn;
	int rc;

	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	fixture_machine_level_to(&m, crowd.vaults ? FEATURE_LEVEL_VOUCHED : FEATURE_LEVEL);
	signer_kid(&c, crowd.kid);
	position = *fsm_position(m.fsm);
	fsm_free(m.fsm); /* It knows rows that it has read. */
	txn = txn_new(m.kv, &position);
	txn_entry_begin(txn, position.index + 1, 1);
	txn_command_begin(txn);
	put_crowd(txn, &c, &crowd);
	assert_int_equal(txn_command_commit(txn, NULL), 0);
	assert_int_equal(txn_store(txn, NULL), 0);
	txn_free(txn);
	assert_int_equal(fsm_new(m.kv, 1, &m.fsm, NULL), 0);
	rc = revoke_of_writer(&m, &c, crowd.vaults ? NULL : c.head_hash);
	fixture_machine_release(&m);
	return rc;
}

/* Invitations do not hide what she has accepted, and the work is bounded. */
static void test_revoke_bounds(void **state)
{
	(void)state;
	assert_int_equal(revoke_in_crowd((struct crowd){.invited = 20479}), KLUIS_EPRECONDITION);
	assert_int_equal(revoke_in_crowd((struct crowd){.invited = 20480}), 0);
	assert_int_equal(revoke_in_crowd((struct crowd){.vaults = true, .invited = 4095}),
		KLUIS_EPRECONDITION);
	assert_int_equal(revoke_in_crowd((struct crowd){.vaults = true, .invited = 4096}), 0);
	assert_int_equal(revoke_in_crowd((struct crowd){.accepted = 4095, .statements = 1}),
		KLUIS_EPRECONDITION);
	assert_int_equal(revoke_in_crowd((struct crowd){.accepted = 4096, .statements = 1}), 0);
	/* 257 times 255 behind the newest: one more is looked at. */
	assert_int_equal(
		revoke_in_crowd((struct crowd){.accepted = 257, .statements = 256, .behind = 1}),
		KLUIS_EPRECONDITION);
	assert_int_equal(
		revoke_in_crowd((struct crowd){.accepted = 257, .statements = 256, .behind = 2}),
		0);
}

/* A statement of c's, with any body. */
static int append(
	struct fixture_machine *m, struct fixture_client *c, unsigned type, struct bytes body)
{
	_cleanup_(buf_release) struct buf command = BUF_INIT;
	struct fixture_client kept = *c;
	int rc;

	fixture_identity_append(c, type, body, &command);
	rc = fixture_machine_run(m, buf_bytes(&command));
	if (rc != 0) {
		*c = kept;
	}
	return rc;
}

/* A part of a device's revocation; row NULL: without any. */
static int vouch_for(struct fixture_machine *m, struct fixture_client *c,
	const uint8_t device_id[16], unsigned part, const struct revoke_row *row)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	identity_body_vouch(&body, device_id, part, row, row != NULL);
	return append(m, c, IDENTITY_DEVICE_VOUCH, buf_bytes(&body));
}

static int vouch(struct fixture_machine *m, struct fixture_client *c, unsigned part,
	const struct revoke_row *row)
{
	return vouch_for(m, c, c->device_id, part, row);
}

/* c, whose device wrote to her vault last, at this level; *ret_row vouches for that. */
static void begin_parts(struct fixture_machine *m, struct fixture_client *c, unsigned level,
	struct revoke_row *ret_row)
{
	fixture_machine_init(m, NULL);
	fixture_machine_begin(m, c);
	fixture_machine_level_to(m, level);
	*ret_row = row_of(c->vault_id, c->head_hash);
}

static const uint8_t other_device[16] = {0x77};

static void add_other(struct fixture_machine *m, struct fixture_client *c)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	fixture_device_body(other_device, &body);
	assert_int_equal(append(m, c, IDENTITY_DEVICE_ADD, buf_bytes(&body)), 0);
}

/* What one statement has no room for is listed by those right before it. */
static void test_revoke_in_parts(void **state)
{
	static const uint8_t none[32];
	struct fixture_machine m;
	struct fixture_client c;
	struct revoke_row row;

	(void)state;
	for (unsigned at = 1; at <= IDENTITY_REVOKE_PARTS_MAX; at++) {
		begin_parts(&m, &c, FEATURE_LEVEL, &row);
		if (at % 2 == 0) {
			memcpy(row.hash, none, sizeof none); /* Left out. */
		}
		for (unsigned part = 1; part <= IDENTITY_REVOKE_PARTS_MAX; part++) {
			assert_int_equal(vouch(&m, &c, part, part == at ? &row : NULL), 0);
		}
		assert_int_equal(revoke_of_writer(&m, &c, NULL), 0);
		fixture_machine_release(&m);
	}
}

/* Parts count for the revocation that follows, of their device, and for no other. */
static void test_revoke_other_parts(void **state)
{
	static const uint8_t flags[4];
	struct fixture_machine m;
	struct fixture_client c;
	struct revoke_row row;

	(void)state;
	begin_parts(&m, &c, FEATURE_LEVEL, &row);
	add_other(&m, &c);
	assert_int_equal(revoke_of_writer(&m, &c, NULL), KLUIS_EPRECONDITION);
	assert_int_equal(vouch(&m, &c, 1, &row), 0);
	assert_int_equal(append(&m, &c, IDENTITY_POLICY, bytes_of(flags, sizeof flags)), 0);
	assert_int_equal(revoke_of_writer(&m, &c, NULL), KLUIS_EPRECONDITION);
	assert_int_equal(vouch(&m, &c, 1, &row), 0);
	assert_int_equal(vouch(&m, &c, 1, NULL), 0); /* Begun anew. */
	assert_int_equal(revoke_of_writer(&m, &c, NULL), KLUIS_EPRECONDITION);
	assert_int_equal(vouch_for(&m, &c, other_device, 1, &row), 0);
	assert_int_equal(revoke_of_writer(&m, &c, NULL), KLUIS_EPRECONDITION);
	assert_int_equal(vouch(&m, &c, 1, &row), 0);
	assert_int_equal(revoke_of_writer(&m, &c, NULL), 0);
	fixture_machine_release(&m);
}

/* One after the other, from the first. */
static void test_parts_in_order(void **state)
{
	static const uint8_t flags[4], unknown[16] = {0x78};
	struct fixture_machine m;
	struct fixture_client c;
	struct revoke_row row;

	(void)state;
	begin_parts(&m, &c, FEATURE_LEVEL, &row);
	add_other(&m, &c);
	assert_int_equal(vouch(&m, &c, 2, NULL), KLUIS_EINVAL);
	assert_int_equal(vouch(&m, &c, 1, NULL), 0);
	assert_int_equal(vouch(&m, &c, 3, NULL), KLUIS_EINVAL);
	assert_int_equal(vouch_for(&m, &c, other_device, 2, NULL), KLUIS_EINVAL);
	assert_int_equal(vouch(&m, &c, 2, NULL), 0);
	assert_int_equal(vouch(&m, &c, 2, NULL), KLUIS_EINVAL);
	assert_int_equal(append(&m, &c, IDENTITY_POLICY, bytes_of(flags, sizeof flags)), 0);
	assert_int_equal(vouch(&m, &c, 3, NULL), KLUIS_EINVAL);
	assert_int_equal(vouch_for(&m, &c, unknown, 1, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(
		append(&m, &c, IDENTITY_DEVICE_REVOKE, bytes_of((uint8_t[18]){0x77}, 18)), 0);
	assert_int_equal(vouch_for(&m, &c, other_device, 1, NULL), KLUIS_EINVAL);
	fixture_machine_release(&m);
}

static void test_parts_refused(void **state)
{
	enum { ROWS = IDENTITY_REVOKE_ROWS_MAX, HEAD = 20 };
	_cleanup_(x_freep) struct revoke_row *rows = x_calloc(ROWS + 1, sizeof *rows);
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct fixture_machine m;
	struct fixture_client c;

	(void)state;
	begin_parts(&m, &c, FEATURE_LEVEL, &rows[0]);
	for (unsigned i = 0; i <= ROWS; i++) {
		store_u64(rows[i].object_id, i);
	}
	identity_body_vouch(&body, c.device_id, IDENTITY_REVOKE_PARTS_MAX, rows, ROWS);
	body.data[17] = 0; /* The part. */
	assert_int_equal(append(&m, &c, IDENTITY_DEVICE_VOUCH, buf_bytes(&body)), KLUIS_EINVAL);
	for (uint8_t part = 1; part <= IDENTITY_REVOKE_PARTS_MAX + 1; part++) {
		body.data[17] = part;
		assert_int_equal(append(&m, &c, IDENTITY_DEVICE_VOUCH, buf_bytes(&body)),
			part <= IDENTITY_REVOKE_PARTS_MAX ? 0 : KLUIS_EINVAL);
	}
	body.data[17] = 1;
	assert_int_equal(append(&m, &c, IDENTITY_DEVICE_VOUCH, bytes_of(body.data, body.len - 1)),
		KLUIS_EINVAL);
	body.data[HEAD + 7] = 1; /* The first row is as the second. */
	assert_int_equal(append(&m, &c, IDENTITY_DEVICE_VOUCH, buf_bytes(&body)), KLUIS_EINVAL);
	body.data[HEAD + 7] = 0;
	buf_append(&body, &rows[ROWS], sizeof rows[ROWS]);
	body.data[19] = 1; /* 1,025 */
	assert_int_equal(append(&m, &c, IDENTITY_DEVICE_VOUCH, buf_bytes(&body)), KLUIS_EINVAL);
	fixture_machine_release(&m);
}

/* A node of an earlier version knows none. */
static void test_parts_from_their_level(void **state)
{
	struct fixture_machine m;
	struct fixture_client c;
	struct revoke_row row;

	(void)state;
	begin_parts(&m, &c, FEATURE_LEVEL_PARTS - 1, &row);
	assert_int_equal(vouch(&m, &c, 1, &row), KLUIS_EINVAL);
	fixture_machine_level_to(&m, FEATURE_LEVEL_PARTS);
	assert_int_equal(vouch(&m, &c, 1, &row), 0);
	fixture_machine_release(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_revoke_writer),
		cmocka_unit_test(test_revoke_signer),
		cmocka_unit_test(test_revoke_signed_before),
		cmocka_unit_test(test_revoke_looks_back),
		cmocka_unit_test(test_revoke_invited),
		cmocka_unit_test(test_revoke_bounds),
		cmocka_unit_test(test_revoke_in_parts),
		cmocka_unit_test(test_revoke_other_parts),
		cmocka_unit_test(test_parts_in_order),
		cmocka_unit_test(test_parts_refused),
		cmocka_unit_test(test_parts_from_their_level),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
