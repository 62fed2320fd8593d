/* Random changes of members, whole and incomplete ones, by those who may and those who may not:
 * whatever was taken, everybody who is in has the current key, and nobody is in without one. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "crypto/keypacket.h"
#include "storage/object_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/person.h"
#include "tests/lib/fixture/sharing.h"

enum { ACTORS = 5, VAULTS = 3, GROUPS = 2, OBJECTS = VAULTS + GROUPS, STEPS = 1200, EPOCHS = 1024 };

/* An object, and who was ever given which of its keys. */
struct model {
	struct fixture_object o;
	bool actor[EPOCHS][ACTORS];
	/* Which key of the group it was sealed to; 0: none. */
	uint32_t group[EPOCHS][GROUPS];
};

struct world {
	struct fixture_machine m;
	struct fixture_client actor[ACTORS];
	struct model object[OBJECTS]; /* Vaults, then groups. */
	struct random_seeded random;
	unsigned taken, refused;
};

static unsigned below(struct world *w, unsigned n)
{
	return (unsigned)random_below(&w->random.random, n);
}

static int actor_of(const struct world *w, const uint8_t id[16])
{
	for (int i = 0; i < ACTORS; i++) {
		if (memcmp(w->actor[i].user_id, id, 16) == 0) {
			return i;
		}
	}
	return -1;
}

static int group_of(const struct world *w, const uint8_t id[16])
{
	for (int i = 0; i < GROUPS; i++) {
		if (memcmp(w->object[VAULTS + i].o.id, id, 16) == 0) {
			return i;
		}
	}
	return -1;
}

/* One change while it is put together. */
struct draft {
	struct fixture_section section[1 + VAULTS];
	struct fixture_section *list[1 + VAULTS];
	int object[1 + VAULTS];
	bool rotated[1 + VAULTS], added[1 + VAULTS];
	uint8_t added_id[1 + VAULTS][16];
	size_t n;
	unsigned signer;
	bool spoiled; /* Something is left out. */
};

static struct fixture_section *draft_section(struct world *w, struct draft *d, int object)
{
	struct fixture_section *s = &d->section[d->n];

	fixture_section_begin(s, &w->object[object].o);
	d->object[d->n] = object;
	d->list[d->n] = s;
	d->n++;
	return s;
}

/* Leaves out one of eight. */
static bool draft_keeps(struct world *w, struct draft *d)
{
	bool keeps = below(w, 8) != 0;

	d->spoiled |= !keeps;
	return keeps;
}

static void draft_give(struct world *w, struct draft *d, size_t i, const uint8_t id[16])
{
	int group = group_of(w, id);

	if (draft_keeps(w, d)) {
		fixture_give(d->list[i], w->actor[d->signer].user_id, id,
			group < 0 ? NULL : &w->object[VAULTS + group].o,
			w->object[d->object[i]].o.epoch);
	}
}

/* What the rows say of the object's members; an answer may follow, no change. */
static size_t members_of(struct world *w, int object, struct member_row rows[ACTORS + GROUPS])
{
	struct kv_view *view = kv_view_new(w->m.kv);
	size_t n = 0;

	assert_int_equal(member_store_list(view, w->object[object].o.id, NULL, rows,
				 ACTORS + GROUPS, &n, NULL),
		0);
	kv_view_free(view);
	return n;
}

static void draft_rotate(struct draft *d, size_t i)
{
	fixture_rotate(d->list[i]);
	d->rotated[i] = true;
}

/* The packets of the section's rotate, for who is left. */
static void draft_keys(struct world *w, struct draft *d, size_t i, const uint8_t *removed)
{
	struct member_row rows[ACTORS + GROUPS];
	size_t n = members_of(w, d->object[i], rows);

	for (size_t j = 0; j < n && d->rotated[i]; j++) {
		bool gone = removed != NULL && memcmp(rows[j].member_id, removed, 16) == 0;

		if (!gone && rows[j].state != MEMBER_DECLINED) {
			draft_give(w, d, i, rows[j].member_id);
		}
	}
	if (d->added[i]) {
		draft_give(w, d, i, d->added_id[i]);
	}
}

/* Each vault of the group gets a new key, too. */
static void draft_vaults(struct world *w, struct draft *d, int object)
{
	for (int v = 0; v < VAULTS; v++) {
		struct member_row rows[ACTORS + GROUPS];
		size_t n = members_of(w, v, rows);

		for (size_t j = 0; j < n; j++) {
			if (memcmp(rows[j].member_id, w->object[object].o.id, 16) == 0 &&
				draft_keeps(w, d)) {
				(void)draft_section(w, d, v);
				draft_rotate(d, d->n - 1);
			}
		}
	}
}

static const uint8_t *draft_subject(struct world *w, int object)
{
	unsigned i = below(w, ACTORS + (object < VAULTS ? GROUPS : 0));

	return i < ACTORS ? w->actor[i].user_id : w->object[VAULTS + i - ACTORS].o.id;
}

static void draft_add(struct world *w, struct draft *d)
{
	const uint8_t *id = draft_subject(w, d->object[0]);
	bool group = group_of(w, id) >= 0;

	fixture_add(
		d->list[0], id, group ? MEMBER_GROUP : MEMBER_USER, 1 + below(w, group ? 2 : 3));
	d->added[0] = true;
	memcpy(d->added_id[0], id, 16);
}

static void draft_make(struct world *w, struct draft *d)
{
	int object = (int)below(w, OBJECTS);
	const uint8_t *removed = NULL;

	d->signer = below(w, 3) == 0 ? below(w, ACTORS) : (unsigned)object % VAULTS % ACTORS;
	(void)draft_section(w, d, object);
	switch (below(w, 5)) {
	case 0:
	case 1:
		draft_add(w, d);
		break;
	case 2:
		removed = draft_subject(w, object);
		fixture_remove(d->list[0], removed);
		if (draft_keeps(w, d)) {
			draft_rotate(d, 0);
		}
		break;
	case 3:
		fixture_role(d->list[0], draft_subject(w, object), 1 + below(w, 3));
		break;
	default:
		draft_rotate(d, 0);
	}
	if (object >= VAULTS && d->rotated[0]) {
		draft_vaults(w, d, object);
	}
	for (size_t i = 0; i < d->n; i++) {
		draft_keys(w, d, i, i == 0 ? removed : NULL);
	}
}

/* What a change that was taken gave: each packet, and everything to its maker. */
static void model_take(struct world *w, const struct draft *d)
{
	for (size_t i = 0; i < d->n; i++) {
		struct model *m = &w->object[d->object[i]];
		struct bytes packets = buf_bytes(&d->list[i]->packets), encoded;
		struct keypacket p;

		assert_true(m->o.epoch < EPOCHS);
		m->actor[m->o.epoch][d->signer] |= d->rotated[i];
		while (members_item_next(&packets, &encoded)) {
			int actor, group;

			assert_int_equal(keypacket_parse(encoded, &p, NULL), 0);
			actor = actor_of(w, p.rcpt_id);
			group = group_of(w, p.rcpt_id);
			if (actor >= 0) {
				m->actor[p.epoch][actor] = true;
			} else {
				m->group[p.epoch][group] = w->object[VAULTS + group].o.epoch;
			}
		}
	}
}

static void check_object(struct world *w, int object)
{
	const struct model *m = &w->object[object];
	struct member_row rows[ACTORS + GROUPS];
	size_t n = members_of(w, object, rows);
	unsigned admins = 0;

	for (size_t i = 0; i < n; i++) {
		int actor = actor_of(w, rows[i].member_id);
		int group = group_of(w, rows[i].member_id);

		admins += rows[i].role == MEMBER_ADMIN && rows[i].state == MEMBER_ACCEPTED;
		if (rows[i].state == MEMBER_DECLINED) {
			continue;
		}
		if (actor >= 0 && !m->actor[m->o.epoch][actor]) {
			fail_msg("actor %d has no key %u of object %d", actor, m->o.epoch, object);
		}
		if (group >= 0 &&
			m->group[m->o.epoch][group] != w->object[VAULTS + group].o.epoch) {
			fail_msg("group %d has no key %u of vault %d", group, m->o.epoch, object);
		}
	}
	assert_true(admins > 0);
}

static void step_change(struct world *w)
{
	_cleanup_(buf_release) struct buf space = BUF_INIT;
	struct fixture_object before[OBJECTS];
	struct draft d = {.n = 0};
	struct command command;
	int rc;

	for (int i = 0; i < OBJECTS; i++) {
		before[i] = w->object[i].o;
	}
	draft_make(w, &d);
	command = fixture_change(&w->actor[d.signer], d.list, d.n, &space);
	rc = fixture_machine_do(&w->m, &command);
	if (rc == 0) {
		model_take(w, &d);
		w->taken++;
	} else {
		for (int i = 0; i < OBJECTS; i++) {
			w->object[i].o = before[i];
		}
		w->refused++;
	}
	for (size_t i = 0; i < d.n; i++) {
		fixture_section_release(d.list[i]);
	}
	for (int i = 0; i < OBJECTS; i++) {
		check_object(w, i);
	}
}

/* A commit is taken from exactly those who may write. */
static void step_commit(struct world *w)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	unsigned v = below(w, VAULTS), who = below(w, ACTORS);
	struct fixture_client writer = w->actor[v];
	struct vault_access access = {.role = 0};
	struct kv_view *view = kv_view_new(w->m.kv);
	int rc = vault_access_get(view, writer.vault_id, w->actor[who].user_id, &access, NULL);

	assert_true(rc == 0 || rc == KLUIS_ENOTFOUND);
	kv_view_free(view);
	writer.members_rev = (uint32_t)w->object[v].o.seq;
	writer.key_epoch = w->object[v].o.epoch;
	memcpy(writer.members_hash, w->object[v].o.hash, 32);
	memcpy(writer.user_id, w->actor[who].user_id, 16);
	memcpy(writer.device_id, w->actor[who].device_id, 16);
	memcpy(writer.token_hash, w->actor[who].token_hash, 32);
	fixture_commit(&writer, bytes_of(NULL, 0), writer.page_count, false, &bytes);
	rc = fixture_machine_run(&w->m, buf_bytes(&bytes));
	assert_int_equal(rc == 0, access.role >= MEMBER_WRITE);
	if (rc == 0) {
		fixture_committed(&writer, bytes_of(NULL, 0));
		w->actor[v].seq = writer.seq;
		memcpy(w->actor[v].head_hash, writer.head_hash, 32);
	}
}

static void step_answer(struct world *w)
{
	int object = (int)below(w, OBJECTS);
	struct command command = fixture_answer(
		&w->actor[below(w, ACTORS)], w->object[object].o.id, below(w, 4) != 0);

	(void)fixture_machine_do(&w->m, &command); /* Mostly nobody asked. */
	check_object(w, object);
}

static void begin(struct world *w, uint64_t seed)
{
	_cleanup_(buf_release) struct buf space = BUF_INIT;

	random_seeded_init(&w->random, seed);
	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->actor[0]);
	for (unsigned i = 1; i < ACTORS; i++) {
		fixture_machine_join(&w->m, &w->actor[i], i + 1);
	}
	fixture_machine_level(&w->m);
	for (unsigned i = 0; i < VAULTS; i++) {
		fixture_object_vault(&w->object[i].o, &w->actor[i]);
		w->object[i].actor[1][i] = true;
	}
	for (unsigned i = 0; i < GROUPS; i++) {
		struct model *m = &w->object[VAULTS + i];
		struct fixture_section s, *list[] = {&s};
		struct command command;

		fixture_object_init(&m->o, MEMBER_OBJECT_GROUP, i + 1);
		fixture_section_begin(&s, &m->o);
		fixture_create(&s, w->actor[i].user_id);
		command = fixture_change(&w->actor[i], list, 1, &space);
		assert_int_equal(fixture_machine_do(&w->m, &command), 0);
		fixture_section_release(&s);
		m->actor[1][i] = true;
	}
}

static void run(uint64_t seed)
{
	struct world *w = x_calloc(1, sizeof *w);
	struct err e = {0};

	begin(w, seed);
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned what = below(w, 10);

		if (what < 6) {
			step_change(w);
		} else if (what < 9) {
			step_answer(w);
		} else {
			step_commit(w);
		}
	}
	printf("seed %llu: %u changes taken, %u refused\n", (unsigned long long)seed, w->taken,
		w->refused);
	assert_true(w->taken > STEPS / 20 && w->refused > STEPS / 20);
	if (fixture_check_store(w->m.kv, &e) != 0) {
		fail_msg("%s", e.text);
	}
	fixture_machine_release(&w->m);
	free(w);
}

static void test_random_changes(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		run(seed);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_changes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
