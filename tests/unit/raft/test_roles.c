/* What the leader does about its members: the decision alone, then on a driver. */
#include "tests/lib/test.h"

#include <string.h>

#include "raft/roles.h"
#include "tests/unit/raft/lib/driver_rig.h"

/* --- the decision --- */

struct cast {
	struct roles_seen seen[2 * SITES_MAX];
	unsigned n, wanted;
};

/* Nodes 1 .. voters vote, the rest up to n stand by; all are well, node 1 leads. */
static struct cast cast_of(unsigned n, unsigned voters)
{
	struct cast cast = {.n = n, .wanted = voters};

	for (unsigned i = 0; i < n; i++) {
		cast.seen[i] = (struct roles_seen){.id = i + 1,
			.member = true,
			.votes = i < voters,
			.self = i == 0,
			.steady = true,
			.settled = true,
			.current = true,
			.weight = SERVER_WEIGHT_DEFAULT};
	}
	return cast;
}

static struct roles_seen *of(struct cast *cast, uint64_t id)
{
	return &cast->seen[id - 1];
}

static void lose(struct cast *cast, uint64_t id)
{
	struct roles_seen *s = of(cast, id);

	s->gone = true;
	s->steady = s->settled = s->current = false;
}

static void wants(const struct cast *cast, enum roles_move_kind kind, uint64_t id)
{
	struct roles_move move = roles_decide(cast->seen, cast->n, cast->wanted);

	assert_int_equal(move.kind, kind);
	assert_int_equal(move.id, id);
}

/* Does what is decided until nothing is left to do; at most `steps`. */
static unsigned settle(struct cast *cast, unsigned steps)
{
	for (unsigned i = 0; i < steps; i++) {
		struct roles_move move = roles_decide(cast->seen, cast->n, cast->wanted);

		if (move.kind == ROLES_NOTHING) {
			return i;
		}
		switch (move.kind) {
		case ROLES_ADD:
			of(cast, move.id)->member = true;
			break;
		case ROLES_PROMOTE:
			of(cast, move.id)->votes = true;
			break;
		case ROLES_DEMOTE:
			of(cast, move.id)->votes = false;
			break;
		case ROLES_REMOVE:
			of(cast, move.id)->member = false;
			break;
		case ROLES_FORGET:
			of(cast, move.id)->wish = SERVER_STANDBY; /* A row no more: as if away. */
			of(cast, move.id)->member = true;
			of(cast, move.id)->votes = false;
			break;
		default:
			for (unsigned k = 0; k < cast->n; k++) {
				cast->seen[k].self = cast->seen[k].id == move.id;
			}
			break;
		}
	}
	fail_msg("no end after %u steps", steps);
	return 0;
}

static unsigned voters_of(const struct cast *cast, bool live)
{
	unsigned n = 0;

	for (unsigned i = 0; i < cast->n; i++) {
		n += cast->seen[i].member && cast->seen[i].votes && !(live && cast->seen[i].gone);
	}
	return n;
}

static void test_nothing_to_do(void **state)
{
	struct cast cast = cast_of(6, 5);

	(void)state;
	wants(&cast, ROLES_NOTHING, 0);
	lose(&cast, 6); /* One that stands by. */
	wants(&cast, ROLES_NOTHING, 0);
}

static void test_a_lost_voter_is_replaced(void **state)
{
	struct cast cast = cast_of(6, 5);

	(void)state;
	lose(&cast, 3);
	wants(&cast, ROLES_PROMOTE, 6); /* First the one ... */
	of(&cast, 6)->votes = true;
	wants(&cast, ROLES_DEMOTE, 3); /* ... then the other. */
	of(&cast, 3)->votes = false;
	wants(&cast, ROLES_NOTHING, 0);
	of(&cast, 3)->gone = false; /* It comes back: it stands by now. */
	of(&cast, 3)->steady = of(&cast, 3)->current = true;
	wants(&cast, ROLES_NOTHING, 0);
}

static void test_who_stands_by_is_fit(void **state)
{
	struct cast cast = cast_of(6, 5);

	(void)state;
	lose(&cast, 3);
	of(&cast, 6)->current = false;
	wants(&cast, ROLES_DEMOTE, 3);
	of(&cast, 6)->current = true;
	of(&cast, 6)->steady = false;
	wants(&cast, ROLES_DEMOTE, 3);
	of(&cast, 6)->steady = of(&cast, 6)->trouble = true;
	wants(&cast, ROLES_DEMOTE, 3);
	of(&cast, 6)->trouble = false;
	of(&cast, 6)->wish = SERVER_STANDBY;
	wants(&cast, ROLES_DEMOTE, 3);
}

/* One after the other: whatever is configured, one more loss is survived, until three are left. */
static void test_losses_one_after_the_other(void **state)
{
	struct cast cast = cast_of(6, 5);

	(void)state;
	for (uint64_t id = 6; id >= 3; id--) {
		lose(&cast, id);
		(void)settle(&cast, 4);
		assert_true(2 * voters_of(&cast, true) > voters_of(&cast, false));
		assert_true(voters_of(&cast, false) >= VOTERS_MIN);
	}
	assert_int_equal(voters_of(&cast, false), 3);
	assert_int_equal(voters_of(&cast, true), 2);
	/* They come back, one by one, and vote again up to the number that is wanted. */
	for (uint64_t id = 3; id <= 6; id++) {
		of(&cast, id)->gone = false;
		of(&cast, id)->steady = of(&cast, id)->current = true;
		(void)settle(&cast, 4);
	}
	assert_int_equal(voters_of(&cast, true), 5);
	assert_int_equal(voters_of(&cast, false), 5);
}

static void test_never_below_three(void **state)
{
	struct cast cast = cast_of(4, 3);

	(void)state;
	of(&cast, 4)->wish = SERVER_STANDBY;
	lose(&cast, 3);
	wants(&cast, ROLES_NOTHING, 0);
	of(&cast, 2)->wish = SERVER_GONE;
	wants(&cast, ROLES_NOTHING, 0);
}

static void test_demote_and_drain(void **state)
{
	struct cast cast = cast_of(6, 5);

	(void)state;
	of(&cast, 2)->wish = SERVER_DRAINED;
	wants(&cast, ROLES_PROMOTE, 6);
	of(&cast, 6)->votes = true;
	wants(&cast, ROLES_DEMOTE, 2);
	of(&cast, 2)->votes = false;
	wants(&cast, ROLES_NOTHING, 0);
	of(&cast, 1)->wish = SERVER_STANDBY; /* The leader itself: another one does it. */
	wants(&cast, ROLES_HAND_OVER, 3);
	of(&cast, 3)->trouble = true;
	wants(&cast, ROLES_HAND_OVER, 4);
	of(&cast, 1)->settled = false; /* It was not taken a moment ago: other things go on. */
	wants(&cast, ROLES_NOTHING, 0);
	lose(&cast, 5);
	wants(&cast, ROLES_DEMOTE, 5);
	of(&cast, 5)->gone = false;
	of(&cast, 5)->steady = of(&cast, 5)->current = of(&cast, 1)->settled = true;
	of(&cast, 1)->self = false;
	of(&cast, 4)->self = true;
	wants(&cast, ROLES_DEMOTE, 1);
}

/* A leader that has just begun has not seen yet who could take a place: what is not urgent waits.
 */
static void test_promote_first(void **state)
{
	struct cast cast = cast_of(6, 5);

	(void)state;
	of(&cast, 1)->steady = of(&cast, 6)->steady = false;
	of(&cast, 2)->wish = SERVER_GONE;
	wants(&cast, ROLES_NOTHING, 0);
	of(&cast, 6)->steady = true;
	wants(&cast, ROLES_PROMOTE, 6);
	of(&cast, 6)->steady = false;
	lose(&cast, 3);
	wants(&cast, ROLES_DEMOTE, 3);
	of(&cast, 3)->votes = false;
	wants(&cast, ROLES_NOTHING, 0);
	of(&cast, 1)->steady = true;
	wants(&cast, ROLES_DEMOTE, 2);
}

/* Whom an operator names votes; the number that is wanted stays. */
static void test_promote(void **state)
{
	struct cast cast = cast_of(6, 5);

	(void)state;
	of(&cast, 6)->wish = SERVER_VOTER;
	of(&cast, 2)->weight = 10;
	wants(&cast, ROLES_PROMOTE, 6);
	of(&cast, 6)->votes = true;
	wants(&cast, ROLES_DEMOTE, 2); /* The one that weighs least. */
	of(&cast, 2)->votes = false;
	wants(&cast, ROLES_NOTHING, 0);
	cast.wanted = 3;
	(void)settle(&cast, 4);
	assert_int_equal(voters_of(&cast, false), 3);
	assert_true(of(&cast, 6)->votes && of(&cast, 1)->votes);
	for (uint64_t id = 1; id <= 6; id++) {
		of(&cast, id)->wish = SERVER_VOTER;
	}
	wants(&cast, ROLES_NOTHING, 0); /* Nobody is there who could go for another. */
	cast.wanted = 6;
	(void)settle(&cast, 4);
	assert_int_equal(voters_of(&cast, false), 6);
}

static void test_remove(void **state)
{
	struct cast cast = cast_of(6, 5);

	(void)state;
	of(&cast, 3)->wish = SERVER_GONE;
	wants(&cast, ROLES_PROMOTE, 6);
	of(&cast, 6)->votes = true;
	wants(&cast, ROLES_DEMOTE, 3);
	of(&cast, 3)->votes = false;
	wants(&cast, ROLES_REMOVE, 3);
	of(&cast, 3)->member = false;
	wants(&cast, ROLES_FORGET, 3);
}

static void test_add(void **state)
{
	struct cast cast = cast_of(7, 5);

	(void)state;
	*of(&cast, 7) = (struct roles_seen){.id = 7, .weight = 1};
	wants(&cast, ROLES_ADD, 7);
	of(&cast, 7)->member = true;
	wants(&cast, ROLES_NOTHING, 0);
	lose(&cast, 3);
	of(&cast, 7)->steady = of(&cast, 7)->current = true;
	wants(&cast, ROLES_PROMOTE, 6); /* It weighs more ... */
	of(&cast, 7)->succeeds = true;
	wants(&cast, ROLES_PROMOTE, 7); /* ... but somebody waits for this one. */
}

static void test_weight(void **state)
{
	struct cast cast = cast_of(6, 5);

	(void)state;
	of(&cast, 4)->weight = 200;
	of(&cast, 6)->weight = 300; /* Does not vote. */
	wants(&cast, ROLES_PREFER, 4);
	of(&cast, 4)->settled = false;
	wants(&cast, ROLES_NOTHING, 0);
	of(&cast, 4)->settled = true;
	of(&cast, 4)->trouble = true;
	wants(&cast, ROLES_NOTHING, 0);
	of(&cast, 4)->trouble = false;
	lose(&cast, 5); /* First what keeps the cluster going. */
	wants(&cast, ROLES_PROMOTE, 6);
}

/* Whatever the members are like: it ends, never goes below three voters, and votes that are good
 * become no fewer than they were, up to what is wanted. */
static void test_any_cast_comes_to_an_end(void **state)
{
	struct random_seeded random;

	(void)state;
	random_seeded_init(&random, 11);
	for (unsigned round = 0; round < 20000; round++) {
		unsigned n = 3 + (unsigned)random_below(&random.random, 6);
		struct cast cast = cast_of(n, 3 + (unsigned)random_below(&random.random, n - 2));

		cast.wanted = 3 + (unsigned)random_below(&random.random, 5);
		for (unsigned i = 0; i < n; i++) {
			struct roles_seen *s = &cast.seen[i];

			s->wish = (enum server_wish)random_below(&random.random, 5);
			s->weight = (uint32_t)random_below(&random.random, 3);
			s->succeeds = random_below(&random.random, 8) == 0;
			s->trouble = random_below(&random.random, 8) == 0;
			s->member = s->votes || random_below(&random.random, 4) != 0;
			s->votes = s->votes && s->member;
			if (!s->self && random_below(&random.random, 3) == 0) {
				lose(&cast, i + 1);
			}
		}
		(void)settle(&cast, 60);
		assert_true(voters_of(&cast, false) >= VOTERS_MIN);
	}
}

/* --- on a driver --- */

struct stage {
	struct driver_rig *rig;
	struct roles roles;
	struct servers servers;
	struct command command;
};

static void stage_init(struct stage *stage, unsigned voters)
{
	struct rig_disk disk = {.voters = voters, .term = 1, .last = 1, .applied = 1};
	struct roles_options options = roles_options_default();

	*stage = (struct stage){.rig = rig_new(&disk, DRIVER_GUARD_MAX, 0)};
	roles_init(&stage->roles, &options, RIG_ME);
	stage->servers = (struct servers){.highest_id = 6, .voters = voters, .n = 6};
	for (unsigned i = 0; i < 6; i++) {
		stage->servers.server[i].row = (struct server_row){
			.id = i + 1, .incarnation = {1}, .weight = SERVER_WEIGHT_DEFAULT};
	}
}

/* Time passes; all but those answer (`dead`: BIT(id)s), and what comes out is done. */
static unsigned stage_run(struct stage *stage, uint64_t ms, uint32_t dead)
{
	struct driver_rig *rig = stage->rig;
	unsigned commands = 0;

	for (uint64_t at = 0; at < ms; at += 100) {
		rig_tick(rig, 100);
		rig_persist(rig);
		for (uint64_t peer = 2; peer <= 7; peer++) {
			struct configuration now;

			driver_configuration(rig->driver, &now);
			if ((dead & BIT(peer)) == 0 && configuration_member(&now, peer) != NULL) {
				rig_result(rig, peer, 0, rig->log_last);
			}
		}
		if (rig->applied > driver_status(rig->driver).applied) {
			driver_applied(rig->driver, rig->applied, 0);
		}
		commands += roles_step(
			&stage->roles, rig->driver, &stage->servers, rig->now_ms, &stage->command);
		rig_forget(rig);
	}
	return commands;
}

static enum member_role role_of(struct stage *stage, uint64_t id)
{
	struct configuration now;

	driver_configuration(stage->rig->driver, &now);
	assert_non_null(configuration_member(&now, id));
	return configuration_member(&now, id)->role;
}

static void test_thirty_seconds(void **state)
{
	struct stage stage;

	(void)state;
	stage_init(&stage, 5);
	assert_int_equal(stage_run(&stage, 1000, 0), 0); /* It does not lead. */
	assert_int_equal(driver_status(stage.rig->driver).role, DRIVER_FOLLOWER);
	rig_lead(stage.rig);
	(void)stage_run(&stage, 20000, 0);
	(void)stage_run(&stage, MEMBER_GONE_MS - 1000, BIT(3));
	assert_int_equal(role_of(&stage, 3), MEMBER_VOTER);
	assert_int_equal(role_of(&stage, 6), MEMBER_STANDBY);
	(void)stage_run(&stage, 3000, BIT(3));
	assert_int_equal(role_of(&stage, 3), MEMBER_STANDBY);
	assert_int_equal(role_of(&stage, 6), MEMBER_VOTER);
	rig_free(stage.rig);
}

/* A leader that has just begun has heard of nobody: its own time counts. */
static void test_a_new_leader_waits_first(void **state)
{
	struct stage stage;

	(void)state;
	stage_init(&stage, 5);
	rig_lead(stage.rig);
	(void)stage_run(&stage, MEMBER_GONE_MS - 1000, BIT(5));
	assert_int_equal(role_of(&stage, 5), MEMBER_VOTER);
	(void)stage_run(&stage, 5000, BIT(5));
	assert_int_equal(role_of(&stage, 5), MEMBER_STANDBY);
	rig_free(stage.rig);
}

static void test_rows_become_the_configuration(void **state)
{
	struct stage stage;
	struct server_row *row;

	(void)state;
	stage_init(&stage, 5);
	rig_lead(stage.rig);
	row = &stage.servers.server[stage.servers.n++].row;
	*row = (struct server_row){.id = 7, .site = "new", .address = "new:7"};
	stage.servers.highest_id = 7;
	(void)stage_run(&stage, 5000, 0);
	assert_int_equal(role_of(&stage, 7), MEMBER_STANDBY);
	(void)stage_run(&stage, 2000, BIT(7));
	stage.servers.server[1].row.wish = SERVER_GONE;
	stage.servers.server[1].row.successor = 7;
	(void)stage_run(&stage, 5000, BIT(7)); /* It has not all data: nothing is done. */
	assert_int_equal(role_of(&stage, 2), MEMBER_VOTER);
	assert_true(stage_run(&stage, 10000, 0) > 0);
	assert_int_equal(role_of(&stage, 7), MEMBER_VOTER);
	assert_int_equal(stage.command.type, COMMAND_SERVER_FORGET);
	assert_int_equal(stage.command.server_forget.id, 2);
	rig_free(stage.rig);
}

/* Until all that it had committed before is applied the rows are older than the configuration. */
static void test_nothing_before_the_rows_are_known(void **state)
{
	struct stage stage;

	(void)state;
	stage_init(&stage, 5);
	rig_lead(stage.rig);
	stage.servers.voters = 0;
	stage.servers.n = 0;
	(void)stage_run(&stage, 2 * MEMBER_GONE_MS, BIT(4));
	assert_int_equal(role_of(&stage, 4), MEMBER_VOTER);
	rig_free(stage.rig);
}

static void test_leadership_goes_by_weight(void **state)
{
	struct stage stage;
	struct message message;

	(void)state;
	stage_init(&stage, 5);
	rig_lead(stage.rig);
	stage.servers.server[3].row.weight = 500;
	(void)stage_run(&stage, LEADER_STEADY_MS - 1000, 0);
	assert_int_equal(driver_status(stage.rig->driver).transferee, 0);
	for (unsigned i = 0; i < 30 && rig_count(stage.rig, 4, MESSAGE_TIMEOUT_NOW) == 0; i++) {
		rig_tick(stage.rig, 100);
		for (uint64_t peer = 2; peer <= 6; peer++) {
			rig_result(stage.rig, peer, 0, stage.rig->log_last);
		}
		assert_false(roles_step(&stage.roles, stage.rig->driver, &stage.servers,
			stage.rig->now_ms, &stage.command));
	}
	assert_true(rig_last(stage.rig, 4, MESSAGE_TIMEOUT_NOW, &message));
	rig_free(stage.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_to_do),
		cmocka_unit_test(test_a_lost_voter_is_replaced),
		cmocka_unit_test(test_who_stands_by_is_fit),
		cmocka_unit_test(test_losses_one_after_the_other),
		cmocka_unit_test(test_never_below_three),
		cmocka_unit_test(test_demote_and_drain),
		cmocka_unit_test(test_promote_first),
		cmocka_unit_test(test_promote),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_weight),
		cmocka_unit_test(test_any_cast_comes_to_an_end),
		cmocka_unit_test(test_thirty_seconds),
		cmocka_unit_test(test_a_new_leader_waits_first),
		cmocka_unit_test(test_rows_become_the_configuration),
		cmocka_unit_test(test_nothing_before_the_rows_are_known),
		cmocka_unit_test(test_leadership_goes_by_weight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
