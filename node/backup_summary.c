#include "node/backup_summary.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "backup/proof.h"

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

static int summary_recovery(const struct kv_view *view, struct backup_summary *s, struct err *e)
{
	int rc = journal_store_get(view, &s->journal, e);

	if (rc != 0 || s->newest.id == 0) {
		return rc;
	}
	s->recovery_index = s->newest.index;
	s->recovery_ms = s->newest.created_ms;
	if (s->journal.confirmed_index > s->recovery_index) {
		s->recovery_index = s->journal.confirmed_index;
		s->recovery_ms = s->journal.confirmed_time_ms;
	}
	return journal_changed(view, s->recovery_index, &s->exposed, e);
}

int backup_summary_read(const struct kv_view *view, const struct snapshot_row *rows, size_t n,
	struct backup_summary *ret_summary, struct err *e)
{
	struct backup_summary s = {0};
	int rc = check_store_list(view, s.checks, &s.n_checks, e);

	rc = rc != 0 ? rc : node_backup_store_list(view, s.nodes, &s.n_nodes, e);
	rc = rc != 0 ? rc : root_summary_read(view, rows, n, &s.roots, e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		assert(i == 0 || rows[i - 1].id < rows[i].id);
		summary_add(&s, &rows[i]);
	}
	rc = rc != 0 ? rc : summary_recovery(view, &s, e);
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

unsigned backup_summary_drills(const struct backup_summary *s)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->n_nodes; i++) {
		n += s->nodes[i].drills;
	}
	return n;
}

static uint64_t summary_unproven_ms(
	const struct backup_summary *s, uint64_t now_ms, uint64_t *ret_proven_ms)
{
	const struct proof_facts facts = {.checks = s->checks,
		.n_checks = s->n_checks,
		.nodes = s->nodes,
		.n_nodes = s->n_nodes,
		.now_ms = now_ms};

	return proof_late_ms(&facts, ret_proven_ms);
}

uint64_t backup_summary_unproven_ms(const struct backup_summary *s, uint64_t now_ms)
{
	uint64_t proven_ms;

	return summary_unproven_ms(s, now_ms, &proven_ms);
}

bool backup_summary_unproven(
	const struct backup_summary *s, uint64_t now_ms, char *text, size_t text_bytes)
{
	uint64_t proven_ms;

	if (summary_unproven_ms(s, now_ms, &proven_ms) == 0) {
		return false;
	}
	if (proven_ms == 0) {
		(void)snprintf(text, text_bytes, "no restore was ever proven by a drill");
	} else {
		(void)snprintf(text, text_bytes, "the last restore was proven %llu days ago",
			(unsigned long long)((now_ms - proven_ms) / 86400000));
	}
	return true;
}

static const char *summary_difference(
	const struct node_backup_row *a, const struct node_backup_row *b)
{
	return a->interval_s != b->interval_s ? "interval_s"
	       : a->offset_s != b->offset_s   ? "offset_s"
	       : a->keep_s != b->keep_s	      ? "keep_s"
	       : a->copies != b->copies	      ? "copies"
					      : NULL;
}

bool backup_summary_differs(
	const struct backup_summary *s, uint64_t node, uint64_t *ret_node, const char **ret_setting)
{
	const struct node_backup_row *own = NULL;

	for (size_t i = 0; i < s->n_nodes; i++) {
		own = s->nodes[i].node == node ? &s->nodes[i] : own;
	}
	for (size_t i = 0; own != NULL && i < s->n_nodes; i++) {
		const char *setting = summary_difference(own, &s->nodes[i]);

		if (setting != NULL) {
			*ret_node = s->nodes[i].node;
			*ret_setting = setting;
			return true;
		}
	}
	return false;
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

uint64_t backup_summary_exposed_ms(const struct backup_summary *s, uint64_t now_ms)
{
	uint64_t since_ms = s->recovery_ms > s->clean_ms ? s->recovery_ms : s->clean_ms;

	if (s->recovery_index == 0) {
		return UINT64_MAX;
	}
	if (!s->exposed) {
		return 0;
	}
	return now_ms > since_ms ? now_ms - since_ms : 1; /* By a clock that is behind, too. */
}

uint64_t backup_summary_late_ms(uint64_t every_ms)
{
	if (every_ms == 0) {
		return UINT64_MAX;
	}
	return every_ms > JOURNAL_LATE_MS / 10 ? 10 * every_ms : JOURNAL_LATE_MS;
}

bool backup_summary_late(const struct backup_summary *s, uint64_t now_ms, uint64_t every_ms)
{
	return s->recovery_index != 0 &&
	       backup_summary_exposed_ms(s, now_ms) > backup_summary_late_ms(every_ms);
}
