#include "tests/lib/test.h"

#include <string.h>

#include "crypto/identity.h"
#include "crypto/member.h"
#include "storage/deletion_store.h"
#include "storage/object_store.h"
#include "storage/session_store.h"
#include "tests/lib/fixture/sharing.h"
#include "tests/unit/raft/lib/person_rig.h"

/* Devices ask, are approved by others, and are revoked. */

static const uint8_t phone[16] = {0x77};

static struct command web_login(struct person_rig *w, unsigned token)
{
	struct command command = fixture_login(&w->p, token, false);

	person_expect(w, &command, 0);
	return command;
}

/* The request of a session to enrol that device. */
static struct command ask(struct person_rig *w, unsigned token, const uint8_t device_id[16])
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct command append, command = {.type = COMMAND_DEVICE_PEND};

	fixture_device_body(device_id, &body);
	append = fixture_append(&w->p, token, IDENTITY_DEVICE_ADD, buf_bytes(&body));
	command.device_pend.session = append.identity_append.session;
	command.device_pend.statement = append.identity_append.statement;
	return command;
}

static struct command add(struct person_rig *w, unsigned token, const uint8_t device_id[16])
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	fixture_device_body(device_id, &body);
	return fixture_append(&w->p, token, IDENTITY_DEVICE_ADD, buf_bytes(&body));
}

static struct command revoke(struct person_rig *w, unsigned token, const uint8_t device_id[16])
{
	uint8_t body[18] = {0};

	memcpy(body, device_id, 16);
	return fixture_append(&w->p, token, IDENTITY_DEVICE_REVOKE, bytes_of(body, sizeof body));
}

static void test_approved(void **state)
{
	struct person_rig *w = *state;
	struct command command;
	struct pending_row pending;
	struct device_row device;
	struct kv_view *view;

	(void)web_login(w, 10);
	command = add(w, 10, phone);
	person_expect(w, &command, KLUIS_EFORBIDDEN); /* Not by itself. */
	command = ask(w, 10, phone);
	person_expect(w, &command, 0);
	assert_memory_equal(person_reply(w).id, phone, 16);
	assert_true(person_reply(w).number == w->m.now_ms + PENDING_DEVICE_MS);
	person_expect(w, &command, 0); /* Again. */
	view = person_view(w);
	assert_int_equal(pending_store_get(view, w->p.user_id, phone, &pending, NULL), 0);
	/* Who approves checks the statement itself. */
	assert_true(bytes_equal(bytes_of(pending.statement, pending.statement_bytes),
		command.device_pend.statement));
	assert_int_equal(
		device_store_get(view, w->p.user_id, phone, &device, NULL), KLUIS_ENOTFOUND);
	kv_view_free(view);
	command = add(w, TOKEN_P, phone);
	person_expect(w, &command, 0);
	fixture_appended(&w->p);
	view = person_view(w);
	assert_int_equal(
		pending_store_get(view, w->p.user_id, phone, &pending, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(device_store_get(view, w->p.user_id, phone, &device, NULL), 0);
	kv_view_free(view);
	command = ask(w, 10, phone);
	person_expect(w, &command, KLUIS_EEXIST);
	assert_int_equal(person_events(w, &w->p, ACCESS_DEVICE_ASKED), 1);
	assert_int_equal(person_events(w, &w->p, ACCESS_DEVICE_ADDED), 1);
}

/* What is approved is the keys that asked: a session in between cannot put its own there. */
static void test_other_keys(void **state)
{
	struct person_rig *w = *state;
	struct command command;
	size_t key_at, name_at;

	(void)web_login(w, 10);
	command = ask(w, 10, phone);
	person_expect(w, &command, 0);
	command = add(w, TOKEN_P, phone);
	key_at = 72 + 16 + 2; /* Statement head with the body's length, device id, length. */
	w->p.statement.data[key_at + 7] ^= 1;
	person_expect(w, &command, KLUIS_EINVAL);
	w->p.statement.data[key_at + 7] ^= 1;
	command = ask(w, 10, phone);
	w->p.statement.data[key_at + 7] ^= 1;
	person_expect(w, &command, KLUIS_EEXIST);
	command = ask(w, TOKEN_Q, phone);
	person_expect(w, &command, KLUIS_EFORBIDDEN); /* A statement of another. */
	command = ask(w, 10, phone);
	command.device_pend.statement.len--;
	person_expect(w, &command, KLUIS_EINVAL);
	command = ask(w, 10, phone);
	name_at = key_at + 65 + 2 + 65 + 2;
	w->p.statement.data[name_at] = 0x1b;
	person_expect(w, &command, KLUIS_EINVAL); /* A name that a terminal would act on. */
	command = revoke(w, 10, phone);
	command.type = COMMAND_DEVICE_PEND;
	person_expect(w, &command, KLUIS_EINVAL); /* No device-add. */
}

static void test_refused_and_expired(void **state)
{
	struct person_rig *w = *state;
	struct command command, refuse = {.type = COMMAND_DEVICE_REFUSE,
					.device_refuse.session = fixture_token(TOKEN_P)};

	memcpy(refuse.device_refuse.device_id, phone, 16);
	(void)web_login(w, 10);
	person_expect(w, &refuse, KLUIS_ENOTFOUND);
	command = ask(w, 10, phone);
	person_expect(w, &command, 0);
	person_expect(w, &refuse, 0);
	person_expect(w, &refuse, KLUIS_ENOTFOUND);
	person_expect(w, &command, 0);
	person_expire(w, PENDING_DEVICE_MS);
	command = fixture_login(&w->p, 11, true);
	person_expect(w, &command, 0);
	refuse.device_refuse.session = fixture_token(11);
	person_expect(w, &refuse, KLUIS_ENOTFOUND);
}

/* What has expired is gone, whether the clean-up has come or not. */
static void test_expired_is_gone(void **state)
{
	struct person_rig *w = *state;
	struct command command;
	struct pending_row row;
	struct kv_view *view;
	uint8_t device[16] = {0x78};

	(void)web_login(w, 10);
	for (unsigned i = 0; i < PENDING_DEVICES_MAX; i++) {
		device[15] = (uint8_t)i;
		command = ask(w, 10, device);
		person_expect(w, &command, 0);
	}
	w->m.now_ms += PENDING_DEVICE_MS;
	command = fixture_login(&w->p, 11, false);
	person_expect(w, &command, 0);
	command = fixture_login(&w->p, 12, true);
	person_expect(w, &command, 0);
	command = ask(w, 11, device); /* Again, and there is room for it. */
	person_expect(w, &command, 0);
	assert_true(person_reply(w).number == w->m.now_ms + PENDING_DEVICE_MS);
	device[15] = 0;
	view = person_view(w);
	assert_int_equal(
		pending_store_get(view, w->p.user_id, device, &row, NULL), KLUIS_ENOTFOUND);
	kv_view_free(view);
	device[15] = PENDING_DEVICES_MAX - 1;
	w->m.now_ms += PENDING_DEVICE_MS;
	command = fixture_login(&w->p, 13, true);
	person_expect(w, &command, 0);
	/* Its keys bind nobody any more. */
	command = add(w, 13, device);
	w->p.statement.data[72 + 16 + 2 + 7] ^= 1;
	person_expect(w, &command, 0);
	fixture_appended(&w->p);
}

static void test_eight_ask(void **state)
{
	struct person_rig *w = *state;
	struct command command;

	(void)web_login(w, 10);
	for (uint8_t i = 1; i <= PENDING_DEVICES_MAX + 1; i++) {
		uint8_t device[16] = {i};

		command = ask(w, 10, device);
		person_expect(w, &command, i <= PENDING_DEVICES_MAX ? 0 : KLUIS_EQUOTA);
	}
}

/* Who has no device left enrols one at once; revoking ends the device's sessions. */
static void test_revoked(void **state)
{
	static const uint8_t none[16];
	struct person_rig *w = *state;
	struct command command;

	(void)web_login(w, 10);
	command = revoke(w, 10, w->p.device_id);
	person_expect(w, &command, KLUIS_EFORBIDDEN);
	command = revoke(w, TOKEN_P, w->p.device_id);
	person_expect(w, &command, 0);
	fixture_appended(&w->p);
	person_level(w, TOKEN_P, 0);
	person_level(w, 10, SESSION_FULL);
	command = fixture_login(&w->p, 11, true);
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	command = add(w, 10, w->p.device_id);
	person_expect(w, &command, KLUIS_EEXIST); /* Never used twice. */
	command = add(w, 10, none);
	person_expect(w, &command, KLUIS_EINVAL); /* The id of no device. */
	command = add(w, 10, phone);
	person_expect(w, &command, 0);
	fixture_appended(&w->p);
	assert_int_equal(person_events(w, &w->p, ACCESS_DEVICE_REVOKED), 1);
}

static size_t revocations(struct person_rig *w, struct deletion_note ret_notes[4])
{
	struct kv_view *view = person_view(w);
	size_t n = 0;

	assert_int_equal(deletion_notes(view, KEY_DEVICE_LEDGER, NULL, ret_notes, 4, &n, NULL), 0);
	kv_view_free(view);
	return n;
}

/* A ledger knows of each device that was revoked, once, so that no restore brings it back. */
static void test_revocation_is_noted(void **state)
{
	struct person_rig *w = *state;
	struct deletion_note notes[4];
	struct command command = add(w, TOKEN_P, phone);
	uint8_t id[16];

	person_expect(w, &command, 0);
	fixture_appended(&w->p);
	assert_int_equal(revocations(w, notes), 0);
	for (unsigned i = 0; i < 2; i++) { /* Nothing forbids to say it again. */
		command = revoke(w, TOKEN_P, phone);
		person_expect(w, &command, 0);
		fixture_appended(&w->p);
		assert_int_equal(revocations(w, notes), 1);
	}
	deletion_device_id(w->p.user_id, phone, id);
	assert_memory_equal(notes[0].id, id, sizeof id);
	assert_true(notes[0].time_ms == w->m.now_ms);
}

static void test_revoke_rows(void **state)
{
	struct person_rig *w = *state;
	uint8_t body[18 + 96] = {0};
	struct command command;

	memcpy(body, w->p.device_id, 16);
	body[17] = 2;
	body[18] = 2; /* Rows must ascend. */
	body[66] = 1;
	command =
		fixture_append(&w->p, TOKEN_P, IDENTITY_DEVICE_REVOKE, bytes_of(body, sizeof body));
	person_expect(w, &command, KLUIS_EINVAL);
	body[66] = 2;
	command =
		fixture_append(&w->p, TOKEN_P, IDENTITY_DEVICE_REVOKE, bytes_of(body, sizeof body));
	person_expect(w, &command, KLUIS_EINVAL); /* Twice. */
	body[66] = 3;
	command = fixture_append(
		&w->p, TOKEN_P, IDENTITY_DEVICE_REVOKE, bytes_of(body, sizeof body - 1));
	person_expect(w, &command, KLUIS_EINVAL);
	command =
		fixture_append(&w->p, TOKEN_P, IDENTITY_DEVICE_REVOKE, bytes_of(body, sizeof body));
	person_expect(w, &command, 0);
}

static int row_compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct revoke_row));
}

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

	qsort(rows, n, sizeof *rows, row_compare);
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

/* What is stricter from level 3 on is taken before: a node of an earlier version takes it, too. */
static void test_before_the_level(void **state)
{
	static const uint8_t flags[4] = {0, 0, 0, 0x80}, none[16];
	_cleanup_(buf_release) struct buf body = BUF_INIT, command = BUF_INIT;
	uint8_t rows[18 + 96] = {0};
	struct fixture_machine m;
	struct fixture_client c, kept;

	(void)state;
	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	fixture_device_body(none, &body);
	rows[17] = 2; /* Of the zero id, with a row twice. */
	for (unsigned level = 1; level <= FEATURE_LEVEL; level += FEATURE_LEVEL - 1) {
		int rc = level == 1 ? 0 : KLUIS_EINVAL;

		kept = c;
		fixture_identity_append(&c, IDENTITY_POLICY, bytes_of(flags, 4), &command);
		assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), rc);
		c = rc == 0 ? c : kept;
		fixture_identity_append(&c, IDENTITY_DEVICE_ADD, buf_bytes(&body), &command);
		assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), rc);
		c = rc == 0 ? c : kept;
		fixture_identity_append(
			&c, IDENTITY_DEVICE_REVOKE, bytes_of(rows, sizeof rows), &command);
		assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), rc);
		fixture_machine_level(&m);
	}
	fixture_machine_release(&m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, person_rig_setup, person_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_approved),
		T(test_other_keys),
		T(test_refused_and_expired),
		T(test_expired_is_gone),
		T(test_eight_ask),
		T(test_revoked),
		T(test_revocation_is_noted),
		T(test_revoke_rows),
		cmocka_unit_test(test_revoke_writer),
		cmocka_unit_test(test_revoke_signer),
		cmocka_unit_test(test_revoke_signed_before),
		cmocka_unit_test(test_revoke_looks_back),
		cmocka_unit_test(test_revoke_invited),
		cmocka_unit_test(test_revoke_bounds),
		cmocka_unit_test(test_before_the_level),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
