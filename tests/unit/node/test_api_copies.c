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
	copies->period_ms = 1000;
	copies->began_ms = copies->ended_ms = clock_wall_ms(&clock_system);
	copies->damaged = 2;
	copies->found = 3;
	copies->bytes = 12345;
	memcpy(copies->text, "objects/ab", sizeof "objects/ab");
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
		"\nkluis_drop_bytes{site=\"ams\"} 77\n",
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
					      "objects/ab\""));
	assert_non_null(strstr(buf_str(&answer.body),
		"\"name\":\"drops\",\"severity\":\"warning\",\"text\":\"from site 'ber', over its "
		"quota: rubbish\""));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copies_and_drops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
