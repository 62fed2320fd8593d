/* The newest confirmed snapshot: how old it may be, what failed since, and who holds it; as alarms,
 * as metrics and to who asks. */
#include "tests/lib/test.h"

#include <string.h>

#include "node/backup_summary.h"
#include "tests/lib/api/node.h"
#include "tests/lib/stepped_clock.h"

enum { HOUR_MS = 3600 * 1000, LIMIT_H = 8 };

struct world {
	struct api_node node;
	struct stepped_clock clock;
	uint64_t age_ms; /* Of the newest; 0: there is none. */
	unsigned failed;
	uint64_t holder[4]; /* Node ids; 0: none. */
};

static bool summary(void *data, struct backup_summary *ret_summary)
{
	const struct world *w = data;
	struct snapshot_row *newest = &ret_summary->newest;

	*ret_summary = (struct backup_summary){.failed = w->failed};
	if (w->age_ms != 0) {
		newest->id = 7;
		newest->created_ms = clock_wall_ms(&clock_system) - w->age_ms;
	}
	for (size_t i = 0; i < ARRAY_SIZE(w->holder) && w->holder[i] != 0; i++) {
		newest->confirmation[newest->n_confirmations++].node = w->holder[i];
	}
	memcpy(ret_summary->trouble.error, "no room", sizeof "no room");
	return true;
}

/* A node with one other beside it, number 2, that it has a link to. */
static void world_open(struct world *w, uint64_t interval_ms)
{
	memset(w, 0, sizeof *w);
	stepped_clock_init(&w->clock);
	w->holder[0] = 2;
	api_node_prepare(&w->node);
	w->node.config.clock = &w->clock.clock;
	w->node.config.schedule.interval_ms = interval_ms;
	w->node.config.backup_copies = 2;
	w->node.config.hooks.summary = summary;
	w->node.config.hooks.data = w;
	api_node_run(&w->node);
}

static void world_close(struct world *w)
{
	api_node_stop(&w->node);
}

/* By a connection of its own: the clock was moved. */
static char *get(struct world *w, const char *target)
{
	struct http_client admin;
	struct answer answer;
	char *text;

	api_node_admin(&w->node, &admin);
	answer = http_client_call(&admin, "GET", target, "", bytes_of(NULL, 0));
	text = x_strdup(buf_str(&answer.body));
	answer_release(&answer);
	http_client_release(&admin);
	return text;
}

/* severity NULL: there is no such alarm. */
static void assert_alarm(struct world *w, const char *name, const char *severity, const char *text,
	const char *about)
{
	_cleanup_(x_freep) char *alarms = get(w, "/v1/sys/alarms");
	_cleanup_(x_freep) char *key = x_asprintf("\"name\":\"%s\"", name);
	_cleanup_(x_freep) char *row =
		x_asprintf("%s,\"severity\":\"%s\",\"text\":\"%s\",\"about\":[%s]}", key,
			severity == NULL ? "" : severity, text == NULL ? "" : text,
			about == NULL ? "" : about);

	if (severity == NULL && strstr(alarms, key) != NULL) {
		fail_msg("'%s' in %s", key, alarms);
	}
	if (severity != NULL && strstr(alarms, row) == NULL) {
		fail_msg("no '%s' in %s", row, alarms);
	}
}

/* Just below and just above hours; seconds apart, for time goes on meanwhile. */
static void assert_old_from(struct world *w, uint64_t hours, const char *below, const char *above)
{
	_cleanup_(x_freep) char *text = x_asprintf(
		"the newest confirmed snapshot is %llu hours old", (unsigned long long)hours);
	_cleanup_(x_freep) char *younger = x_asprintf(
		"the newest confirmed snapshot is %llu hours old", (unsigned long long)hours - 1);

	w->age_ms = hours * HOUR_MS - 1000 * 1000;
	assert_alarm(w, "backup", below, younger, NULL);
	w->age_ms = hours * HOUR_MS + 1000;
	assert_alarm(w, "backup", above, text, NULL);
}

/* Two intervals, and never less than eight hours; three times that is critical. */
static void test_age(void **state)
{
	static const struct {
		uint64_t interval_ms, limit_h;
	} cases[] = {{0, LIMIT_H}, {4 * HOUR_MS, LIMIT_H}, {60000, LIMIT_H}, {24ULL * HOUR_MS, 48},
		{168ULL * HOUR_MS, 336}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t limit_h = cases[i].limit_h;
		_cleanup_(x_freep) char *metric =
			x_asprintf("\nkluis_backup_newest_age_limit_seconds %llu.000\n",
				(unsigned long long)limit_h * 3600);
		_cleanup_(x_freep) char *field = x_asprintf(
			"\"newest_age_limit_ms\":%llu,", (unsigned long long)limit_h * HOUR_MS);
		_cleanup_(x_freep) char *metrics = NULL, *backups = NULL;
		struct world w;

		world_open(&w, cases[i].interval_ms);
		assert_old_from(&w, limit_h, NULL, "warning");
		assert_old_from(&w, 3 * limit_h, "warning", "critical");
		metrics = get(&w, "/v1/sys/metrics");
		assert_non_null(strstr(metrics, metric));
		backups = get(&w, "/v1/sys/backups");
		assert_non_null(strstr(backups, field));
		world_close(&w);
	}
}

/* A node that has just been started in a new cluster waits as long as a snapshot may be old. */
static void test_never(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, 24ULL * HOUR_MS);
	assert_alarm(&w, "backup", NULL, NULL, NULL);
	stepped_clock_step(&w.clock, 47ULL * HOUR_MS);
	assert_alarm(&w, "backup", NULL, NULL, NULL);
	stepped_clock_step(&w.clock, 1ULL * HOUR_MS);
	assert_alarm(&w, "backup", "critical", "no snapshot was ever confirmed", NULL);
	assert_alarm(&w, "holders", NULL, NULL, NULL); /* Of what is not there. */
	w.age_ms = HOUR_MS;
	assert_alarm(&w, "backup", NULL, NULL, NULL);
	world_close(&w);
}

static void test_failed(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, 0);
	w.age_ms = HOUR_MS;
	assert_alarm(&w, "backup", NULL, NULL, NULL);
	w.failed = 3;
	assert_alarm(&w, "backup", "warning",
		"3 snapshots have failed since the newest confirmed one, the last: no room", NULL);
	w.age_ms = 25ULL * HOUR_MS; /* The worse first. */
	assert_alarm(
		&w, "backup", "critical", "the newest confirmed snapshot is 25 hours old", NULL);
	world_close(&w);
}

/* What sites confirmed counts while this node has a link to them. */
static void test_holders(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, 0);
	w.age_ms = HOUR_MS;
	w.holder[1] = 1; /* Itself. */
	assert_alarm(&w, "holders", NULL, NULL, NULL);
	w.holder[0] = 0;
	assert_alarm(
		&w, "holders", "warning", "0 sites of 2 hold the newest confirmed snapshot", NULL);
	w.holder[0] = 3;
	w.holder[1] = 1;
	w.holder[2] = 4;
	assert_alarm(&w, "holders", "warning",
		"1 sites of 2 hold the newest confirmed snapshot: site ams; away: node 3, node 4",
		"\"node 3\",\"node 4\"");
	w.holder[2] = 2;
	assert_alarm(&w, "holders", NULL, NULL, NULL);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_never),
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_holders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
