/* A device is revoked while it goes on, and at a cluster that withholds, denies and shows others
 * instead. */
#include "tests/lib/account_rig/account_three.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/client/account_impl.h"
#include "cli/client/json_reader.h"
#include "cli/client/share.h"
#include "crypto/member.h"

static int revoke_second(struct fixture *f, const struct account_revocation *revocation)
{
	uint8_t device_id[ID_BYTES]; /* It may be opened anew meanwhile. */

	memcpy(device_id, f->second.profile->device_id, ID_BYTES);
	f->err = (struct err){0};
	return account_device_revoke(
		f->first.profile, f->first.client, device_id, revocation, &f->err);
}

/* What the user says of vaults that cannot be vouched for. */
struct answers {
	bool yes;
	unsigned asked;
	unsigned kind;
	uint64_t seq;
	int why;
};

static bool answer(void *arg, const struct account_unvouched *vault)
{
	struct answers *a = arg;

	a->asked++;
	a->kind = vault->kind;
	a->seq = vault->seq;
	a->why = vault->why->code;
	return a->yes;
}

/* A vault that only the lost device knows is denied just then: it is not given up without a
 * question, as it would be lost. */
static void test_revoke_never_seen(void **state)
{
	struct fixture *f = *state;
	struct answers answers = {.yes = false};
	const struct account_revocation ask = {answer, &answers};
	char target[API_TARGET_MAX];
	uint8_t id[ID_BYTES];

	put_note(f, &f->first, "diary");
	add_second(f);
	MUST(f, vault_create(f->second.profile, f->second.client, "letters", id, &f->err));
	api_target(target, "vaults", id, "%s", "");
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_ENOTFOUND};
	assert_int_equal(revoke_second(f, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(revoke_second(f, &ask), KLUIS_ENOTFOUND);
	assert_int_equal(answers.asked, 1);
	assert_int_equal(answers.seq, 0);
	/* Once its first head was seen and pinned for all devices, that is a lie. */
	MUST(f, vault_person_store_pins(f->second.profile, f->second.client, &f->err));
	assert_int_equal(revoke_second(f, &ask), KLUIS_EPIN);
	assert_int_equal(answers.why, KLUIS_EPIN);
	lie_end();
	MUST(f, revoke_second(f, &ask));
	assert_int_equal(answers.asked, 2);
	MUST(f, sync_named(f, &f->first, "letters"));
}

/* Its sessions end while it is being revoked; whoever has it has the password, too. */
static void second_is_in(struct fixture *f)
{
	int rc = account_refresh(f->second.profile, f->second.client, &f->err);

	if (rc == KLUIS_EUNAUTHENTICATED) {
		device_reopen(f, &f->second);
		rc = enter(f, &f->second, old_password, bytes_of(NULL, 0));
	}
	MUST(f, rc);
}

static void second_writes(void *of)
{
	struct fixture *f = of;

	second_is_in(f);
	put_text(f, &f->second, "letters", "in the same moment");
}

static void second_creates(void *of)
{
	struct fixture *f = of;

	put_note(f, &f->second, "late");
	MUST(f, account_refresh(f->second.profile, f->second.client, &f->err));
}

static void revoke_while(struct fixture *f, void (*meanwhile)(void *of), unsigned times)
{
	lie = (struct lie){.target = "/v1/devices/",
		.kind = LIE_MEANWHILE,
		.meanwhile = meanwhile,
		.of = f,
		.times = times};
}

/* What the device writes between the looking through and the revocation is vouched for, too. */
static void test_revoke_while_it_writes(void **state)
{
	struct fixture *f = *state;

	add_second(f);
	put_note(f, &f->second, "letters");
	revoke_while(f, second_writes, 2);
	MUST(f, revoke_second(f, NULL));
	lie_end();
	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, old_password, bytes_of(NULL, 0)));
	MUST(f, sync_named(f, &f->first, "letters"));
}

static void test_revoke_while_it_creates(void **state)
{
	struct fixture *f = *state;

	add_second(f);
	revoke_while(f, second_creates, 1);
	MUST(f, revoke_second(f, NULL));
	lie_end();
	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, old_password, bytes_of(NULL, 0)));
	MUST(f, sync_named(f, &f->first, "late"));
}

static uint8_t club[ID_BYTES];

static void make_club(struct fixture *f)
{
	struct people *people;

	second_is_in(f);
	people = people_new(f->second.profile, f->second.client);
	MUST(f, share_group_create(people, "club", club, &f->err));
	people_free(people);
}

static void second_creates_club(void *of)
{
	make_club(of);
}

static void second_rekeys_club(void *of)
{
	struct fixture *f = of;
	struct people *people;
	size_t vaults;

	second_is_in(f);
	people = people_new(f->second.profile, f->second.client);
	MUST(f, share_group_remove(people, club, NULL, &vaults, &f->err));
	people_free(people);
}

static void second_rekeys_letters(void *of)
{
	struct fixture *f = of;
	struct vault *vault;

	second_is_in(f);
	MUST(f, vault_open(f->second.profile, f->second.client, "letters", &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	MUST(f, share_remove(vault, NULL, &f->err));
	vault_close(vault);
}

static int load_club(struct fixture *f)
{
	struct people *people = people_new(f->first.profile, f->first.client);
	struct membership *m = NULL;
	int rc;

	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, old_password, bytes_of(NULL, 0)));
	people_free(people);
	people = people_new(f->first.profile, f->first.client);
	rc = membership_load(people, MEMBER_OBJECT_GROUP, club, &m, &f->err);
	membership_free(m);
	people_free(people);
	return rc;
}

/* What the device changes of members meanwhile is vouched for as what it writes is. */
static void test_revoke_while_it_changes_members(void **state)
{
	static void (*const meanwhile[])(void *) = {
		second_rekeys_club, second_rekeys_letters, second_creates_club};
	struct fixture *f = *state;

	add_second(f);
	for (size_t i = 0; i < ARRAY_SIZE(meanwhile); i++) {
		_cleanup_(x_freep) char *name = x_asprintf("phone %zu", i);

		if (i > 0) {
			device_close(&f->second);
			add_second_by(f, old_password, name);
		}
		make_club(f);
		if (i == 0) {
			put_note(f, &f->second, "letters");
		}
		revoke_while(f, meanwhile[i], 2);
		MUST(f, revoke_second(f, NULL));
		lie_end();
		MUST(f, load_club(f));
		MUST(f, sync_named(f, &f->first, "letters"));
	}
}

static void expect_asked_of_club(const struct answers *answers, unsigned asked, int why)
{
	assert_int_equal(answers->asked, asked);
	assert_int_equal(answers->kind, MEMBER_OBJECT_GROUP);
	assert_int_equal(answers->why, why);
}

/* One that never stops changing them does not keep itself in the account either. */
static void test_revoke_of_one_that_changes_on(void **state)
{
	struct fixture *f = *state;
	struct answers answers = {.yes = false};
	const struct account_revocation ask = {answer, &answers};

	add_second(f);
	make_club(f);
	revoke_while(f, second_rekeys_club, 0);
	assert_int_equal(revoke_second(f, NULL), KLUIS_EPRECONDITION);
	assert_int_equal(revoke_second(f, &ask), KLUIS_EPRECONDITION);
	expect_asked_of_club(&answers, 1, KLUIS_EPRECONDITION);
	answers.yes = true;
	MUST(f, revoke_second(f, &ask));
	lie_end();
	assert_int_equal(load_club(f), KLUIS_EVERIFY);
}

/* Nor in a vault that another device wrote last. */
static void test_revoke_of_one_that_rekeys_on(void **state)
{
	struct fixture *f = *state;
	struct answers answers = {.yes = true};
	const struct account_revocation ask = {answer, &answers};

	put_note(f, &f->first, "letters");
	add_second(f);
	revoke_while(f, second_rekeys_letters, 0);
	MUST(f, revoke_second(f, &ask));
	lie_end();
	assert_int_equal(answers.asked, 1);
	assert_int_equal(answers.kind, MEMBER_OBJECT_VAULT);
	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, old_password, bytes_of(NULL, 0)));
	assert_int_equal(sync_named(f, &f->first, "letters"), KLUIS_EVERIFY);
}

/* Nor is a group that is denied just then given up without a question. */
static void test_revoke_denied_group(void **state)
{
	struct fixture *f = *state;
	struct answers answers = {.yes = false};
	const struct account_revocation ask = {answer, &answers};
	char target[API_TARGET_MAX];

	add_second(f);
	make_club(f);
	api_target(target, "groups", club, "/");
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_ENOQUORUM};
	assert_int_equal(revoke_second(f, NULL), KLUIS_ENOQUORUM);
	assert_int_equal(revoke_second(f, &ask), KLUIS_ENOQUORUM);
	expect_asked_of_club(&answers, 1, KLUIS_ENOQUORUM);
	assert_int_equal(answers.seq, 0);
	lie_end();
	/* What was seen of it is vouched for, and does. */
	MUST(f, load_club(f));
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_ENOQUORUM};
	MUST(f, revoke_second(f, NULL));
	lie_end();
	MUST(f, load_club(f));
}

static unsigned sent; /* Revocations that the cluster was asked for. */

static void count(void *of)
{
	(void)of;
	sent++;
}

/* The cluster's list of groups: the club, so often, in this state; and its revocations count. */
static void list_club(const char *state, size_t times, struct buf *text)
{
	json_t *items = json_array();

	for (size_t i = 0; i < times; i++) {
		(void)json_array_append_new(
			items, json_pack("{s:o, s:s}", "id", json_hex(bytes_of(club, ID_BYTES)),
				       "state", state));
	}
	json_take_text(json_pack("{s:o, s:b}", "items", items, "done", 1), text);
	lie = (struct lie){.target = "/v1/groups?", .kind = LIE_INVENT, .instead = buf_bytes(text)};
	sent = 0;
	more_lies[0] =
		(struct lie){.target = "/v1/devices/", .kind = LIE_MEANWHILE, .meanwhile = count};
}

/* The site that refuses the members of a group may be the one that lets the revocation pass which
 * is silent on it. */
static void test_revoke_denied_at_first(void **state)
{
	struct fixture *f = *state;
	struct answers answers = {.yes = false};
	const struct account_revocation ask = {answer, &answers};
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	char target[API_TARGET_MAX];

	add_second(f);
	memset(club, 7, sizeof club);
	api_target(target, "groups", club, "/");
	list_club("accepted", 1, &text);
	more_lies[1] = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_ENOQUORUM};
	assert_int_equal(revoke_second(f, &ask), KLUIS_ENOQUORUM);
	expect_asked_of_club(&answers, 1, KLUIS_ENOQUORUM);
	assert_int_equal(sent, 0);
	answers.yes = true;
	MUST(f, revoke_second(f, &ask));
	assert_int_equal(sent, 1);
	lie_end();
}

/* The cluster shows one statement for the club, which proves nothing: not its founder signed. */
static int revoke_beside_dead(struct fixture *f, struct key *signer)
{
	static const uint8_t kid[KID_BYTES] = {1}, founder[ID_BYTES] = {2};
	_cleanup_(buf_release) struct buf text = BUF_INIT, chain = BUF_INIT, create = BUF_INIT;
	char target[API_TARGET_MAX];
	int rc;

	MUST(f, members_create(
			club, MEMBER_OBJECT_GROUP, founder, kid, signer, 1, &create, &f->err));
	json_take_text(json_pack("{s:[{s:o}], s:b}", "items", "statement",
			       json_base64(buf_bytes(&create)), "done", 1),
		&chain);
	api_target(target, "groups", club, "/");
	list_club("accepted", 1, &text);
	more_lies[1] =
		(struct lie){.target = target, .kind = LIE_INVENT, .instead = buf_bytes(&chain)};
	rc = revoke_second(f, NULL);
	lie.struck = more_lies[0].struck = 1;
	lie_end();
	return rc;
}

/* Nobody can know why others' statements do not hold; where none is the device's, that is no matter
 * of its revocation. */
static void test_revoke_beside_a_dead_group(void **state)
{
	struct fixture *f = *state;
	_cleanup_(key_freep) struct key *forger = NULL;

	add_second(f);
	memset(club, 7, sizeof club);
	MUST(f, key_generate(KEY_ECDSA_P256, 0, &forger, &f->err));
	assert_int_equal(revoke_beside_dead(f, f->second.profile->device), KLUIS_EVERIFY);
	assert_int_equal(sent, 0);
	MUST(f, revoke_beside_dead(f, forger));
	assert_int_equal(sent, 1);
}

/* Strangers may invite her to what they will, and as often. */
static void test_revoke_beside_invitations(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	add_second(f);
	memset(club, 7, sizeof club);
	list_club("invited", IDENTITY_REVOKE_ROWS_MAX + 1, &text);
	MUST(f, revoke_second(f, NULL));
	assert_int_equal(sent, 1);
	lie_end();
}

/* Of what is listed twice a statement has one row. */
static void test_revoke_listed_twice(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	add_second(f);
	make_club(f);
	list_club("accepted", 2, &text);
	MUST(f, revoke_second(f, NULL));
	lie_end();
	MUST(f, load_club(f));
}

/* Of a vault that is left out the members are gone on from as they were seen. */
static void test_revoke_left_out_but_known(void **state)
{
	struct fixture *f = *state;
	struct answers answers = {.yes = true};
	const struct account_revocation ask = {answer, &answers};
	char target[API_TARGET_MAX];
	const struct identity_device *device;
	struct membership *m;
	struct people *people;
	unsigned vouched = 0;
	uint8_t id[ID_BYTES];

	put_note(f, &f->first, "diary");
	add_second(f);
	MUST(f, vault_create(f->second.profile, f->second.client, "letters", id, &f->err));
	people = people_new(f->first.profile, f->first.client);
	MUST(f, membership_load(people, MEMBER_OBJECT_VAULT, id, &m, &f->err));
	people_free(people);
	api_target(target, "vaults", id, "%s", "");
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_ENOTFOUND};
	MUST(f, revoke_second(f, &ask));
	lie_end();
	assert_int_equal(answers.asked, 1);
	device = identity_device(&f->first.profile->identity, f->second.profile->device_id);
	for (size_t i = 0; i < device->row_count; i++) {
		vouched += memcmp(device->rows[i].object_id, id, ID_BYTES) == 0 &&
			   memcmp(device->rows[i].hash, m->members.hash, HASH_BYTES) == 0;
	}
	assert_int_equal(vouched, 1);
	membership_free(m);
}

/* It has no password, only what was unlocked when it was lost. */
static void second_creates_if_it_can(void *of)
{
	struct fixture *f = of;
	struct people *people = people_new(f->second.profile, f->second.client);
	uint8_t id[ID_BYTES];
	struct err why = {0};
	int rc = share_group_create(people, "another", id, &why);

	sent++;
	assert_true(rc == 0 || rc == KLUIS_EUNAUTHENTICATED);
	people_free(people);
}

/* A device that makes something new each time is first without sessions. */
static void test_revoke_of_one_that_creates_on(void **state)
{
	struct fixture *f = *state;

	add_second(f);
	sent = 0;
	revoke_while(f, second_creates_if_it_can, 0);
	MUST(f, revoke_second(f, NULL));
	lie_end();
	assert_int_equal(sent, 2);
}

/* A device that never stops does not keep itself in the account. */
static void test_revoke_of_one_that_writes_on(void **state)
{
	struct fixture *f = *state;
	struct answers answers = {.yes = false};
	const struct account_revocation ask = {answer, &answers};

	add_second(f);
	put_note(f, &f->second, "letters");
	revoke_while(f, second_writes, 0);
	assert_int_equal(revoke_second(f, NULL), KLUIS_EPRECONDITION);
	assert_int_equal(revoke_second(f, &ask), KLUIS_EPRECONDITION);
	assert_int_equal(answers.asked, 1);
	assert_int_equal(answers.why, KLUIS_EPRECONDITION);
	answers.yes = true;
	MUST(f, revoke_second(f, &ask));
	lie_end();
	assert_int_equal(answers.asked, 2);
	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, old_password, bytes_of(NULL, 0)));
	assert_int_equal(sync_named(f, &f->first, "letters"), KLUIS_EVERIFY);
}

/* A vault that is denied, or was deleted, does not keep a stolen device in the account: what this
 * profile verified of it is vouched for. */
static void test_revoke_denied(void **state)
{
	static const int refusals[] = {KLUIS_ENOTFOUND, KLUIS_EGONE, KLUIS_ENOQUORUM};
	struct fixture *f = *state;
	struct answers answers = {.yes = false};
	const struct account_revocation ask = {answer, &answers};
	char target[API_TARGET_MAX];
	_cleanup_(x_freep) char *cut = profile_path(f->first.profile, "vaults");
	_cleanup_(x_freep) char *dir = NULL;
	struct vault *vault;
	uint8_t id[ID_BYTES];

	add_second(f);
	MUST(f, vault_create(f->second.profile, f->second.client, "letters", id, &f->err));
	put_note(f, &f->second, "notes");
	MUST(f, account_refresh(f->first.profile, f->first.client, &f->err));
	MUST(f, sync_named(f, &f->first, "letters"));
	/* What a cut creation leaves. */
	dir = x_asprintf("%s/000102030405060708090a0b0c0d0e0f", cut);
	MUST(f, file_make_dirs(dir, 0700, &f->err));
	api_target(target, "vaults", id, "%s", "");
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = refusals[i]};
		assert_int_not_equal(revoke_second(f, &ask), 0);
		assert_int_equal(answers.asked, i + 1);
		assert_int_equal(answers.seq, 1);
		lie_end();
	}
	lie = (struct lie){.target = target, .kind = LIE_REFUSE, .rc = KLUIS_EGONE};
	answers.yes = true;
	MUST(f, revoke_second(f, &ask));
	lie_end();
	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, old_password, bytes_of(NULL, 0)));
	MUST(f, vault_open(f->first.profile, f->first.client, "letters", &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	vault_close(vault);
	MUST(f, sync_named(f, &f->first, "notes"));
}

/* The profile knows a group that the second device made: what the cluster has of it is not asked
 * for. */
static void know_group(struct fixture *f, struct people *people, struct revoke_row *row)
{
	static const uint8_t kid[KID_BYTES] = {1};
	struct profile *profile = f->first.profile;
	_cleanup_(buf_release) struct buf create = BUF_INIT, payload = BUF_INIT, file = BUF_INIT;
	_cleanup_(membership_freep) struct membership *m = membership_new();
	_cleanup_(x_freep) char *name = NULL, *path = NULL;
	char id[HEX_LEN(ID_BYTES) + 1];
	int fd;

	MUST(f, members_create(row->object_id, MEMBER_OBJECT_GROUP, profile->user_id, kid,
			f->second.profile->device, 1, &create, &f->err));
	MUST(f, membership_extend(m, buf_bytes(&create), people_source(people), false, &f->err));
	memcpy(row->hash, m->members.hash, HASH_BYTES);
	buf_append(&payload, profile->lineage, ID_BYTES);
	buf_append_bytes(&payload, buf_bytes(&m->chain));
	profile_frame(PROFILE_MEMBERS, buf_bytes(&payload), &file);
	hex_encode(bytes_of(row->object_id, ID_BYTES), id);
	name = x_asprintf("members/%s", id);
	path = profile_path(profile, name);
	/* So many are not synced to the disk one by one. */
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, buf_bytes(&file)), 0);
	assert_int_equal(close(fd), 0);
}

/* Of more than a statement has room for all that the device signed is vouched for. */
static void test_revoke_of_many(void **state)
{
	enum { MANY = 2001 };
	struct fixture *f = *state;
	_cleanup_(x_freep) struct revoke_row *rows = x_calloc(MANY, sizeof *rows);
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct people *people;
	struct signer signer;
	json_t *items = json_array();

	add_second(f);
	people = people_new(f->first.profile, f->first.client);
	MUST(f, profile_make_dir(f->first.profile, "members", &f->err));
	for (unsigned i = 0; i < MANY; i++) {
		store_u64(rows[i].object_id, i + 1);
		know_group(f, people, &rows[i]);
		(void)json_array_append_new(
			items, json_pack("{s:o, s:s}", "id",
				       json_hex(bytes_of(rows[i].object_id, ID_BYTES)), "state",
				       "accepted"));
	}
	people_free(people);
	json_take_text(json_pack("{s:o, s:b}", "items", items, "done", 1), &text);
	lie = (struct lie){
		.target = "/v1/groups?", .kind = LIE_INVENT, .instead = buf_bytes(&text)};
	more_lies[0] =
		(struct lie){.target = "/v1/groups/", .kind = LIE_REFUSE, .rc = KLUIS_ENOQUORUM};
	MUST(f, revoke_second(f, NULL));
	lie_end();
	signer.device = identity_device(&f->first.profile->identity, f->second.profile->device_id);
	assert_true(signer.device->revoked);
	for (unsigned i = 0; i < MANY; i++) {
		assert_true(signer_vouched(&signer, rows[i].object_id, rows[i].hash));
	}
}

/* A chain of more bytes than a client takes in one answer comes in several. */
static void test_long_chain(void **state)
{
	enum { LONG = 70, ROWS = 1000 };
	struct fixture *f = *state;
	struct profile *profile = f->first.profile;
	_cleanup_(x_freep) struct revoke_row *rows = x_calloc(ROWS, sizeof *rows);
	uint64_t seq = 0;

	add_second(f);
	for (unsigned i = 0; i < ROWS; i++) {
		store_u64(rows[i].object_id, i);
	}
	for (unsigned i = 0; i < LONG; i++) {
		_cleanup_(buf_release) struct buf body = BUF_INIT, statement = BUF_INIT;
		const uint8_t *id = f->second.profile->device_id;

		identity_body_vouch(&body, id, 1, rows, ROWS);
		MUST(f, account_statement(profile, IDENTITY_DEVICE_VOUCH, buf_bytes(&body),
				&statement, &f->err));
		MUST(f, api_device_delete(f->first.client, id, buf_bytes(&statement), &f->err));
		MUST(f, identity_append(&profile->identity, buf_bytes(&statement), &f->err));
		seq = profile->identity.seq;
	}
	assert_true((size_t)LONG * ROWS * sizeof *rows / 3 * 4 > CLIENT_ANSWER_BYTES_MAX);
	MUST(f, account_chain_again(profile, f->first.client, &f->err));
	assert_true(profile->identity.seq == seq);
}

/* An identity chain that its owner's clients would not take any more could never be mended. */
static void test_chain_is_full(void **state)
{
	struct fixture *f = *state;
	struct profile *profile = f->first.profile;
	_cleanup_(buf_release) struct buf body = BUF_INIT, statement = BUF_INIT;
	size_t len = profile->person->chain.len;

	buf_put_u32(&body, 0);
	buf_put_zeros(
		&profile->person->chain, IDENTITY_CHAIN_BYTES_MAX - STATEMENT_BYTES_MAX - len);
	MUST(f, account_statement(profile, IDENTITY_POLICY, buf_bytes(&body), &statement, &f->err));
	buf_put_u8(&profile->person->chain, 0);
	assert_int_equal(
		account_statement(profile, IDENTITY_POLICY, buf_bytes(&body), &statement, &f->err),
		KLUIS_ETOOLARGE);
	profile->person->chain.len = len;
}

static void rekey_club(struct fixture *f, struct device *d)
{
	struct people *people = people_new(d->profile, d->client);
	size_t vaults;

	MUST(f, share_group_remove(people, club, NULL, &vaults, &f->err));
	people_free(people);
}

static void second_rekeys_club_and_bob_does(void *of)
{
	struct fixture *f = of;

	second_is_in(f);
	rekey_club(f, &f->second);
	rekey_club(f, &bob);
}

static void make_club_with_bob(struct fixture *f)
{
	struct share_with with;
	struct people *people;

	make_club(f);
	people = people_new(f->second.profile, f->second.client);
	MUST(f, share_resolve(people, "bob", &with, &f->err));
	MUST(f, share_group_add(people, club, &with, MEMBER_ADMIN, &f->err));
	people_free(people);
	people = people_new(bob.profile, bob.client);
	MUST(f, share_answer(people, MEMBER_OBJECT_GROUP, club, true, &f->err));
	people_free(people);
}

/* Nor does an accomplice keep it in who is admin by it, and always signs after it. */
static void test_revoke_beside_an_accomplice(void **state)
{
	struct fixture *f = *state;
	struct answers answers = {.yes = false};
	const struct account_revocation ask = {answer, &answers};

	three_open(f);
	add_second(f);
	make_club_with_bob(f);
	revoke_while(f, second_rekeys_club_and_bob_does, 0);
	assert_int_equal(revoke_second(f, &ask), KLUIS_EPRECONDITION);
	expect_asked_of_club(&answers, 1, KLUIS_EPRECONDITION);
	answers.yes = true;
	MUST(f, revoke_second(f, &ask));
	lie_end();
	expect_asked_of_club(&answers, 2, KLUIS_EPRECONDITION);
	/* By what is vouched for he is admin: he goes on. */
	MUST(f, load_club(f));
	device_close(&bob);
	device_close(&carol);
}

/* What it signed long ago is not asked about because it goes on elsewhere. */
static void test_revoke_asks_of_what_goes_on(void **state)
{
	struct fixture *f = *state;
	struct answers answers = {.yes = true};
	const struct account_revocation ask = {answer, &answers};

	add_second(f);
	put_note(f, &f->second, "letters");
	put_note(f, &f->second, "diary");
	make_club(f);
	revoke_while(f, second_writes, 0);
	MUST(f, revoke_second(f, &ask));
	lie_end();
	assert_int_equal(answers.asked, 1);
	assert_int_equal(answers.kind, MEMBER_OBJECT_VAULT);
	MUST(f, load_club(f));
	MUST(f, sync_named(f, &f->first, "diary"));
	assert_int_equal(sync_named(f, &f->first, "letters"), KLUIS_EVERIFY);
}

int main(void)
{
#define REVOKE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		REVOKE_TEST(test_revoke_never_seen),
		REVOKE_TEST(test_revoke_denied),
		REVOKE_TEST(test_revoke_while_it_writes),
		REVOKE_TEST(test_revoke_while_it_creates),
		REVOKE_TEST(test_revoke_of_one_that_writes_on),
		REVOKE_TEST(test_revoke_while_it_changes_members),
		REVOKE_TEST(test_revoke_of_one_that_changes_on),
		REVOKE_TEST(test_revoke_of_one_that_rekeys_on),
		REVOKE_TEST(test_revoke_denied_group),
		REVOKE_TEST(test_revoke_denied_at_first),
		REVOKE_TEST(test_revoke_beside_a_dead_group),
		REVOKE_TEST(test_revoke_beside_invitations),
		REVOKE_TEST(test_revoke_listed_twice),
		REVOKE_TEST(test_revoke_left_out_but_known),
		REVOKE_TEST(test_revoke_of_one_that_creates_on),
		REVOKE_TEST(test_revoke_of_many),
		REVOKE_TEST(test_long_chain),
		REVOKE_TEST(test_chain_is_full),
		REVOKE_TEST(test_revoke_beside_an_accomplice),
		REVOKE_TEST(test_revoke_asks_of_what_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
