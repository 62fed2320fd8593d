#include "node/backup_summary.h"

#include <assert.h>
#include <string.h>

static void summary_add(struct backup_summary *s, const struct snapshot_row *row)
{
	s->records++;
	switch (row->state) {
	case SNAPSHOT_CONFIRMED:
		s->confirmed++;
		if (s->newest.id == 0 || row->index >= s->newest.index) {
			s->newest = *row;
			s->failed = 0;
			s->trouble = (struct snapshot_row){0};
		}
		break;
	case SNAPSHOT_FAILED:
		s->failed++;
		s->trouble = *row;
		break;
	default:
		s->running = row->id;
		break;
	}
}

int backup_summary_read(const struct kv_view *view, const struct snapshot_row *rows, size_t n,
	struct backup_summary *ret_summary, struct err *e)
{
	struct backup_summary s = {0};
	int rc = check_store_list(view, s.checks, &s.n_checks, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		assert(i == 0 || rows[i - 1].id < rows[i].id);
		summary_add(&s, &rows[i]);
	}
	if (rc == 0) {
		*ret_summary = s;
	}
	return rc;
}

const struct check_row *backup_summary_proven(const struct backup_summary *s)
{
	const struct check_row *last = NULL;

	for (size_t i = 0; i < s->n_checks; i++) {
		const struct check_row *row = &s->checks[i];

		if (row->level == CHECK_LEVEL_DRILL && row->good_ms != 0 &&
			(last == NULL || row->good_ms > last->good_ms)) {
			last = row;
		}
	}
	return last;
}

const struct check_row *backup_summary_bad(const struct backup_summary *s)
{
	const struct check_row *bad = NULL;

	for (size_t i = 0; i < s->n_checks; i++) {
		if (!s->checks[i].ok && (bad == NULL || s->checks[i].time_ms > bad->time_ms)) {
			bad = &s->checks[i];
		}
	}
	return bad;
}

uint64_t backup_summary_age_ms(const struct backup_summary *s, uint64_t now_ms)
{
	if (s->newest.id == 0) {
		return UINT64_MAX;
	}
	return now_ms > s->newest.created_ms ? now_ms - s->newest.created_ms : 0;
}
