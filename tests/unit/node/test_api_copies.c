/* What operators are told of the copies that a node holds, and of what the other sites put in. */
#include "tests/lib/test.h"

#include <string.h>

#include "tests/lib/api/node.h"

static struct answer get(struct http_client *client, const char *target)
{
	return http_client_call(client, "GET", target, "", bytes_of(NULL, 0));
}

static void damaged_copies(void *data, struct api_copies *copies)
{
	(void)data;
	memset(copies, 0, sizeof *copies);
	copies->kept = true;
	copies->period_ms = 1000;
	copies->began_ms = copies->ended_ms = clock_wall_ms(&clock_system);
	copies->damaged = 2;
	memset(copies->last, 0xab, sizeof copies->last);
	copies->found = 3;
	copies->bytes = 12345;
	memcpy(copies->text, "objects/ab", sizeof "objects/ab");
	memcpy(copies->drill_text, "no key", sizeof "no key");
	copies->n_drops = 2;
	memcpy(copies->drops[0].site, "ams", sizeof "ams");
	memcpy(copies->drops[1].site, "ber", sizeof "ber");
	copies->drops[0].bytes = 77;
	copies->drops[1].over_quota = true;
	copies->drops[1].refused = 9;
	memcpy(copies->drops[1].text, "rubbish", sizeof "rubbish");
}

static void late_copies(void *data, struct api_copies *copies)
{
	damaged_copies(data, copies);
	copies->damaged = 0;
	copies->ended_ms -= 2 * copies->period_ms + 1;
	copies->drops[1].over_quota = false;
}

/* Damaged copies and rubbish in a drop are alarms and metrics, each where it is; and copies that
 * are not read again as often as they should be. */
static void test_copies_and_drops(void **state)
{
	static const char *const metrics[] = {"\nkluis_copies_damaged 2\n",
		"\nkluis_copies_damaged_files_total 3\n", "\nkluis_copies_read_bytes_total 12345\n",
		"\nkluis_copies_round_period_seconds 1\n", "\nkluis_copies_round_age_seconds 0.",
		"\nkluis_copies_prune_age_seconds 0.000\n", "\nkluis_backup_stopped 0\n",
		"\nkluis_backup_drill_trouble 1\n", "\nkluis_drop_bytes{site=\"ams\"} 77\n",
		"\nkluis_drop_over_quota{site=\"ams\"} 0\n",
		"\nkluis_drop_over_quota{site=\"ber\"} 1\n",
		"\nkluis_drop_refused_total{site=\"ber\"} 9\n"};
	struct api_node node;
	struct http_client admin;
	struct answer answer;

	(void)state;
	api_node_prepare(&node);
	node.config.hooks.copies = damaged_copies;
	api_node_run(&node);
	api_node_admin(&node, &admin);
	answer = get(&admin, "/v1/sys/alarms");
	assert_non_null(
		strstr(buf_str(&answer.body), "\"name\":\"copies\",\"severity\":\"critical\","
					      "\"text\":\"2 damaged snapshots here: "
					      "objects/ab\","
					      "\"about\":[\"snapshot abababababababab\"]"));
	assert_non_null(strstr(buf_str(&answer.body),
		"\"name\":\"drops\",\"severity\":\"warning\",\"text\":\"from site 'ber', over its "
		"quota: rubbish\",\"about\":[\"site ber\"]"));
	assert_non_null(strstr(buf_str(&answer.body),
		"\"name\":\"proof\",\"severity\":\"warning\",\"text\":\"no drill can be made "
		"here: no key\""));
	assert_null(strstr(buf_str(&answer.body), "\"name\":\"repository\""));
	answer_release(&answer);
	answer = get(&admin, "/v1/sys/metrics");
	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++) {
		assert_non_null(strstr(buf_str(&answer.body), metrics[i]));
	}
	answer_release(&answer);
	http_client_release(&admin);
	api_stop(node.api, 1000);
	node.config.hooks.copies = late_copies;
	api_node_run(&node);
	api_node_admin(&node, &admin);
	answer = get(&admin, "/v1/sys/alarms");
	assert_non_null(
		strstr(buf_str(&answer.body), "\"name\":\"copies\",\"severity\":\"warning\","
					      "\"text\":\"the copies here are not read "
					      "again: it takes too long\""));
	assert_null(strstr(buf_str(&answer.body), "\"name\":\"drops\""));
	answer_release(&answer);
	http_client_release(&admin);
	api_node_stop(&node);
}

static void unforgotten_copies(void *data, struct api_copies *copies)
{
	damaged_copies(data, copies);
	copies->damaged = 0;
	copies->period_ms = 86400000;
	copies->prune_age_ms = 7200000;
	memcpy(copies->prune_text, "manifest x", sizeof "manifest x");
}

static void slow_copies(void *data, struct api_copies *copies)
{
	unforgotten_copies(data, copies);
	copies->prune_age_ms = 5 * 3600000ULL;
	copies->prune_text[0] = 0;
}

static void claimed(void *data, uint64_t snapshot_id)
{
	(void)data;
	(void)snapshot_id;
	fail_msg("claimed");
}

static void no_copies(void *data, struct api_copies *copies)
{
	(void)data;
	memset(copies, 0, sizeof *copies);
	copies->kept = true;
	memcpy(copies->stopped, "read-only", sizeof "read-only");
}

static void assert_says(
	struct api_node *node, const char *target, const char *text, const char * not )
{
	struct http_client admin;
	struct answer answer;

	api_node_run(node);
	api_node_admin(node, &admin);
	answer = get(&admin, target);
	if (strstr(buf_str(&answer.body), text) == NULL) {
		fail_msg("'%s' without '%s'", buf_str(&answer.body), text);
	}
	assert_true(not == NULL || strstr(buf_str(&answer.body), not ) == NULL);
	answer_release(&answer);
	http_client_release(&admin);
	api_stop(node->api, 1000);
}

/* Old snapshots that do not go fill the disk; a disk that does not work stops all of it. */
static void test_not_forgotten_and_stopped(void **state)
{
	struct http_client admin;
	struct answer answer;
	struct api_node node;

	(void)state;
	api_node_prepare(&node);
	node.config.hooks.copies = unforgotten_copies;
	assert_says(&node, "/v1/sys/alarms",
		"\"name\":\"copies\",\"severity\":\"warning\",\"text\":\"what is too old is not "
		"forgotten here for 2 hours: manifest x\"",
		NULL);
	assert_says(&node, "/v1/sys/metrics", "\nkluis_copies_prune_age_seconds 7200.000\n", NULL);
	assert_says(&node, "/v1/sys/backups", "\"stopped\":null", NULL);
	node.config.hooks.copies = slow_copies;
	assert_says(&node, "/v1/sys/alarms", "forgotten here for 5 hours: it takes too long", NULL);
	node.config.hooks.copies = no_copies;
	assert_says(&node, "/v1/sys/alarms",
		"\"name\":\"repository\",\"severity\":\"critical\",\"text\":\"this node takes part "
		"in no backups: read-only\"",
		"\"name\":\"copies\"");
	assert_says(&node, "/v1/sys/status", "in no backups: read-only", NULL);
	assert_says(&node, "/v1/sys/backups", "\"stopped\":\"read-only\"", NULL);
	assert_says(&node, "/v1/sys/metrics", "\nkluis_backup_stopped 1\n", "kluis_copies");
	node.config.hooks.snapshot_claimed = claimed;
	api_node_run(&node);
	api_node_admin(&node, &admin);
	answer = http_client_json(
		&admin, "POST", "/v1/sys/snapshots", "Idempotency-Key: s\r\n", "{}");
	assert_int_equal(answer.status, 503);
	assert_non_null(strstr(buf_str(&answer.body), "in no backups: read-only"));
	answer_release(&answer);
	http_client_release(&admin);
	api_node_stop(&node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copies_and_drops),
		cmocka_unit_test(test_not_forgotten_and_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
