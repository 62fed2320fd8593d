/* What is told of shipments to a site: a cycle and the minutes between cycles, neither in the way
 * of the other. */
#include "tests/lib/test.h"

#include <string.h>

#include "node/backup_parts.h"

static int set_up(void **state)
{
	static const struct config_site site;
	struct backup_job *job = x_calloc(1, sizeof *job);

	(void)pthread_mutex_init(&job->lock, NULL);
	job->n_shipments = 1;
	job->shipment[0].job = job;
	job->shipment[0].site = &site;
	*state = job;
	return 0;
}

static int tear_down(void **state)
{
	struct backup_job *job = *state;

	(void)pthread_mutex_destroy(&job->lock);
	free(job);
	return 0;
}

static void assert_told(struct backup_job *job, int rc, const char *text)
{
	struct api_shipment rows[SITES_MAX];

	assert_int_equal(backup_job_shipments(job, rows), 1);
	assert_int_equal(rows[0].rc, rc);
	assert_string_equal(rows[0].text, text);
}

/* Room for minutes, none for a cycle: one failure that lasts, however often a minute comes. */
static void test_no_room_for_a_cycle(void **state)
{
	struct backup_job *job = *state;
	struct backup_shipment *s = &job->shipment[0];

	assert_told(job, 0, "");
	backup_ship_tell(s, BACKUP_SHIP_CYCLE, KLUIS_ENOSPACE, false, "full");
	for (unsigned minute = 0; minute < 3; minute++) {
		backup_ship_tell(s, BACKUP_SHIP_JOURNAL, 0, true, "");
		assert_told(job, KLUIS_ENOSPACE, "full");
	}
	backup_ship_tell(s, BACKUP_SHIP_JOURNAL, KLUIS_ECONNECT, false, "gone");
	assert_told(job, KLUIS_ENOSPACE, "full");
	backup_ship_tell(s, BACKUP_SHIP_CYCLE, 0, true, "");
	assert_told(job, KLUIS_ECONNECT, "gone");
	backup_ship_tell(s, BACKUP_SHIP_JOURNAL, 0, true, "");
	assert_told(job, 0, "");
}

/* What is owed no more has not failed; another node may be the one that ships it now. */
static void test_nothing_owed(void **state)
{
	struct backup_job *job = *state;
	struct backup_shipment *s = &job->shipment[0];

	backup_ship_tell(s, BACKUP_SHIP_JOURNAL, KLUIS_ECONNECT, false, "gone");
	backup_ship_settled(s, BACKUP_SHIP_CYCLE);
	assert_told(job, KLUIS_ECONNECT, "gone");
	assert_false(backup_journal_ship(s, NULL, 0));
	assert_told(job, 0, "");
}

/* A changed host key comes first, and ends with the first thing that is brought through that door.
 */
static void test_host_key(void **state)
{
	struct backup_job *job = *state;
	struct backup_shipment *s = &job->shipment[0];

	for (unsigned kind = 0; kind < BACKUP_SHIP_KINDS; kind++) {
		enum backup_ship_kind this = (enum backup_ship_kind)kind,
				      other = (enum backup_ship_kind)(1 - kind);

		backup_ship_tell(s, other, KLUIS_ENOSPACE, false, "full");
		backup_ship_tell(s, this, KLUIS_EPIN, false, "changed");
		assert_told(job, KLUIS_EPIN, "changed");
		backup_ship_settled(s, this);
		assert_told(job, KLUIS_EPIN, "changed");
		backup_ship_tell(s, other, 0, true, "");
		assert_told(job, 0, "");
	}
}

/* It lasts until the pinned key is shown: whatever fails before is no word on that. */
static void test_host_key_stays(void **state)
{
	static const struct {
		int rc;
		bool let_in, shown;
	} cases[] = {{KLUIS_ECONNECT, false, false}, {KLUIS_ETIMEOUT, false, false},
		{KLUIS_ECORRUPT, false, false}, {KLUIS_EUNAUTHENTICATED, false, true},
		{KLUIS_ENOSPACE, true, true}, {KLUIS_ECONNECT, true, true}, {0, true, true}};
	struct backup_job *job = *state;
	struct backup_shipment *s = &job->shipment[0];

	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		int rc = cases[i / 2].rc;

		backup_ship_tell(s, BACKUP_SHIP_CYCLE, 0, true, "");
		backup_ship_tell(s, BACKUP_SHIP_JOURNAL, 0, true, "");
		assert_false(s->unseen);
		backup_ship_tell(s, (enum backup_ship_kind)(i % 2), KLUIS_EPIN, false, "changed");
		assert_true(s->unseen);
		backup_ship_tell(s, BACKUP_SHIP_CYCLE, rc, cases[i / 2].let_in, "new");
		if (cases[i / 2].shown) {
			assert_told(job, rc, rc == 0 ? "" : "new");
		} else {
			assert_told(job, KLUIS_EPIN, "changed");
		}
		assert_int_equal(s->unseen, !cases[i / 2].shown);
	}
	s->unseen = true; /* After a start. */
	backup_ship_tell(s, BACKUP_SHIP_CYCLE, KLUIS_ECONNECT, false, "gone");
	assert_true(s->unseen);
	backup_ship_tell(s, BACKUP_SHIP_CYCLE, KLUIS_EUNAUTHENTICATED, false, "no");
	assert_false(s->unseen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_room_for_a_cycle, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_owed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_host_key, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_host_key_stays, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
