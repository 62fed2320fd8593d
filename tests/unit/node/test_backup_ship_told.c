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
	backup_ship_tell(s, BACKUP_SHIP_CYCLE, KLUIS_ENOSPACE, "full");
	for (unsigned minute = 0; minute < 3; minute++) {
		backup_ship_tell(s, BACKUP_SHIP_JOURNAL, 0, "");
		assert_told(job, KLUIS_ENOSPACE, "full");
	}
	backup_ship_tell(s, BACKUP_SHIP_JOURNAL, KLUIS_ECONNECT, "gone");
	assert_told(job, KLUIS_ENOSPACE, "full");
	backup_ship_tell(s, BACKUP_SHIP_CYCLE, 0, "");
	assert_told(job, KLUIS_ECONNECT, "gone");
	backup_ship_tell(s, BACKUP_SHIP_JOURNAL, 0, "");
	assert_told(job, 0, "");
}

/* What is owed no more has not failed; another node may be the one that ships it now. */
static void test_nothing_owed(void **state)
{
	struct backup_job *job = *state;
	struct backup_shipment *s = &job->shipment[0];

	backup_ship_tell(s, BACKUP_SHIP_JOURNAL, KLUIS_ECONNECT, "gone");
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

		backup_ship_tell(s, other, KLUIS_ENOSPACE, "full");
		backup_ship_tell(s, this, KLUIS_EPIN, "changed");
		assert_told(job, KLUIS_EPIN, "changed");
		backup_ship_settled(s, this);
		assert_told(job, KLUIS_EPIN, "changed");
		backup_ship_tell(s, other, 0, "");
		assert_told(job, 0, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_room_for_a_cycle, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_owed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_host_key, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
