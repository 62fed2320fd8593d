/* A taker is no member any more: who has confirmed what it took brings it to node 2 in its place.
 */
#include "tests/lib/test.h"

#include <string.h>

#include "base/clock.h"
#include "tests/unit/backup/lib/pair.h"

enum { STAND_IN = 3 };

static struct receive_report receive_of(struct backup_pair *w, uint64_t sender)
{
	struct receive_report report;
	struct err e = {0};

	if (receive_scan(&w->receiver, w->sshd->drop, sender, clock_wall_ms(&clock_system), &report,
		    &e) != 0) {
		fail_msg("%s", e.text);
	}
	return report;
}

static void assert_refused(struct backup_pair *w, uint64_t sender, const char *reason)
{
	struct receive_report report = receive_of(w, sender);

	assert_int_equal(report.n_accepted, 0);
	assert_int_equal(report.refused, 1);
	assert_string_equal(report.reason, reason);
	receive_report_release(&report);
}

/* Node 1 is replaced by node 7 under another key; its copy of node 3 is what lies in the drop. */
static void replace_taker(struct backup_pair *w)
{
	backup_sites_change_signer(&w->sites, 1);
	w->sites.trust.nodes[0].node = 7;
	w->receiver.members = (struct ship_members){.nodes = {2, 3, 7}, .n = 3};
}

static void confirm(struct backup_pair *w, uint64_t node)
{
	struct snapshot_row *row = &w->records[0];

	row->confirmation[row->n_confirmations++].node = node;
}

static void test_brought(void **state)
{
	struct backup_pair *w = *state;
	struct receive_report report;
	uint8_t hash[HASH_BYTES];

	pair_take(w, 5, 1000, hash);
	replace_taker(w);
	pair_carry(w, hash, UINT32_MAX);
	assert_refused(w, STAND_IN, "a manifest of node 1 in the drop of node 3");
	confirm(w, STAND_IN);
	pair_carry(w, hash, UINT32_MAX);
	assert_refused(w, 7, "a manifest of node 1 in the drop of node 7");
	pair_carry(w, hash, UINT32_MAX);
	report = receive_of(w, STAND_IN);
	assert_int_equal(report.n_accepted, 1);
	assert_memory_equal(report.accepted[0].manifest_hash, hash, HASH_BYTES);
	receive_report_release(&report);
	backup_model_assert(&w->model, &w->sites, w->sites.repository[1], hash);
}

/* As long as it is a member it brings its own, signed with the key that it has now. */
static void test_of_a_member(void **state)
{
	struct backup_pair *w = *state;
	uint8_t hash[HASH_BYTES];

	pair_take(w, 5, 1000, hash);
	confirm(w, STAND_IN);
	w->receiver.members = (struct ship_members){.nodes = {1, 2, 3}, .n = 3};
	pair_carry(w, hash, UINT32_MAX);
	assert_refused(w, STAND_IN, "a manifest of node 1 in the drop of node 3");
	backup_sites_change_signer(&w->sites, 1);
	pair_carry(w, hash, UINT32_MAX);
	assert_refused(w, 1, "signed with a former key of node 1");
}

/* Beside the quota lies what the log says that a stand-in brings. */
static void test_quota(void **state)
{
	struct backup_pair *w = *state;
	struct receive_report report;
	uint8_t hash[HASH_BYTES];

	pair_take(w, 5, 1000, hash);
	replace_taker(w);
	confirm(w, STAND_IN);
	pair_carry(w, hash, UINT32_MAX);
	w->receiver.quota = (struct drop_quota){.bytes = 1, .files = 1};
	report = receive_of(w, STAND_IN);
	assert_false(report.over_quota);
	assert_int_equal(report.n_accepted, 1);
	receive_report_release(&report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_brought, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_of_a_member, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_quota, pair_set_up, pair_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
