#include "raft/fsm.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "raft/fsm_apply.h"

struct fsm {
	struct kv *kv;
	struct txn *txn;
	uint64_t node;
	struct position position; /* As stored. */
	bool quarantined;
	unsigned report_entries; /* HASH_REPORT_ENTRIES */
	struct fsm_report
		past[FSM_PAST_ENTRIES]; /* The newest entries, at index mod their number. */
	/* What every command asks for first, of the cluster's row and its nodes'. */
	struct cluster_row cluster;
	bool cluster_known, read_only;
	struct servers servers;
	void (*mark_cb)(void *data, struct fsm *fsm, const struct fsm_mark *mark);
	void *mark_data;
};

struct bytes fsm_results_reply(const struct fsm_results *results, const struct fsm_result *result)
{
	assert(result->reply_at + result->reply_len <= results->replies.len);
	return bytes_of(results->replies.data + result->reply_at, result->reply_len);
}

struct bytes fsm_results_reason(const struct fsm_results *results, const struct fsm_result *result)
{
	assert(result->reply_at + result->reason_len <= results->replies.len);
	return bytes_of(results->replies.data + result->reply_at, result->reason_len);
}

void fsm_results_release(struct fsm_results *results)
{
	free(results->result);
	buf_release(&results->replies);
	event_list_release(&results->events);
	*results = (struct fsm_results){0};
}

static void fsm_results_clear(struct fsm_results *results)
{
	results->n = 0;
	buf_clear(&results->replies);
	event_list_clear(&results->events);
	results->report_due = results->past_due = false;
	results->servers_changed = false;
}

static struct fsm_result *fsm_results_add(struct fsm_results *results)
{
	if (results->n == results->cap) {
		results->cap = results->cap == 0 ? 64 : 2 * results->cap;
		results->result =
			x_realloc(results->result, results->cap * sizeof *results->result);
	}
	results->result[results->n] = (struct fsm_result){.reply_at = results->replies.len};
	return &results->result[results->n++];
}

static void fsm_remember(struct fsm *fsm, const struct position *p)
{
	struct fsm_report *past = &fsm->past[p->index % FSM_PAST_ENTRIES];

	past->index = p->index;
	memcpy(past->hash, p->state_hash, sizeof past->hash);
}

static int fsm_read_quarantine(struct fsm *fsm, struct err *e)
{
	struct node_row row;
	int rc = node_store_get(txn_view(fsm->txn), fsm->node, &row, e);

	if (rc == 0 || rc == KLUIS_ENOTFOUND) {
		fsm->quarantined = rc == 0 && row.quarantined;
		return 0;
	}
	return rc;
}

int fsm_new(struct kv *kv, uint64_t node, struct fsm **ret_fsm, struct err *e)
{
	struct fsm *fsm = x_calloc(1, sizeof *fsm);
	struct kv_view *view = kv_view_new(kv);
	int rc = position_get(view, &fsm->position, e);

	rc = rc != 0 ? rc : servers_load(view, &fsm->servers, e);
	kv_view_free(view);
	fsm->kv = kv;
	fsm->node = node;
	fsm->report_entries = HASH_REPORT_ENTRIES;
	fsm_remember(fsm, &fsm->position);
	if (rc == 0) {
		fsm->txn = txn_new(kv, &fsm->position);
		rc = fsm_read_quarantine(fsm, e);
	}
	if (rc != 0) {
		fsm_free(fsm);
		return rc;
	}
	*ret_fsm = fsm;
	return 0;
}

void fsm_set_report_entries(struct fsm *fsm, unsigned entries)
{
	assert(entries > 0);
	fsm->report_entries = entries;
}

void fsm_set_mark_cb(struct fsm *fsm,
	void (*mark_cb)(void *data, struct fsm *fsm, const struct fsm_mark *mark), void *data)
{
	fsm->mark_cb = mark_cb;
	fsm->mark_data = data;
}

void fsm_free(struct fsm *fsm)
{
	if (fsm != NULL) {
		txn_free(fsm->txn);
		free(fsm);
	}
}

const struct position *fsm_position(const struct fsm *fsm)
{
	return &fsm->position;
}

const struct servers *fsm_servers(const struct fsm *fsm)
{
	return &fsm->servers;
}

bool fsm_quarantined(const struct fsm *fsm)
{
	return fsm->quarantined;
}

struct kv *fsm_kv(const struct fsm *fsm)
{
	return fsm->kv;
}

bool apply_is_fatal(int rc)
{
	return rc == KLUIS_EIO || rc == KLUIS_ECORRUPT || rc == KLUIS_ENOSPACE ||
	       rc == KLUIS_EINTERNAL || rc == KLUIS_EAGAIN;
}

static uint32_t fsm_command_level(enum command_type type)
{
	switch (type) {
#define X(symbol, value, name, member, level) \
	case symbol:                          \
		return level;
		COMMANDS(X)
#undef X
	}
	return UINT32_MAX;
}

static int fsm_dispatch(struct apply *a, const struct command *command)
{
	switch (command->type) {
#define X(symbol, value, name, member, level) \
	case symbol:                          \
		return apply_##member(a, &command->member);
		COMMANDS(X)
#undef X
	}
	return KLUIS_EINVAL;
}

/* What fsm_servers() shows. */
static bool fsm_servers_moved(const struct fsm *fsm)
{
	return txn_changed(fsm->txn, KEY_CLUSTER) || txn_changed(fsm->txn, KEY_SERVERS) ||
	       txn_changed(fsm->txn, KEY_SERVER) || txn_changed(fsm->txn, KEY_NODE);
}

static int fsm_reload_servers(struct fsm *fsm, struct fsm_results *results, struct err *e)
{
	struct servers servers;
	int rc = servers_load(txn_view(fsm->txn), &servers, e);

	if (rc == 0) {
		fsm->servers = servers;
		results->servers_changed = true;
	}
	return rc;
}

/* KLUIS_ENOTFOUND before the cluster is initialised. */
static int fsm_know_cluster(struct fsm *fsm, struct apply *a)
{
	int rc = 0;

	if (!fsm->cluster_known) {
		rc = cluster_store_get(a->view, &fsm->cluster, a->e);
		if (rc == 0) {
			rc = cluster_store_read_only(a->view, &fsm->read_only, a->e);
		}
		fsm->cluster_known = rc == 0;
	}
	if (rc == 0) {
		a->cluster = fsm->cluster;
		a->read_only = fsm->read_only;
	}
	return rc;
}

/* What holds for every command, then the command's own handler. */
static int fsm_handle(struct fsm *fsm, struct apply *a, const struct command *command)
{
	int rc = fsm_know_cluster(fsm, a);

	if (rc == KLUIS_ENOTFOUND && command->type != COMMAND_CLUSTER_INIT) {
		return err_set(a->e, KLUIS_ECONFLICT, "the cluster is not initialised");
	}
	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	if (rc == 0 && fsm_command_level(command->type) > a->cluster.feature_level) {
		return err_set(a->e, KLUIS_ECONFLICT, "not all nodes know this command");
	}
	return fsm_dispatch(a, command);
}

/* What an entry's commands were. */
struct fsm_seen {
	bool more;	      /* Than what reports bring about. */
	bool ask;	      /* All are to report. */
	uint64_t report_at;   /* ... as of this entry before it; 0: no. */
	struct fsm_mark mark; /* The last one of the entry. */
};

/* Returns < 0 only when the process must end; a refusal is in result->rc. */
static int fsm_apply_command(struct fsm *fsm, const struct command *command,
	struct fsm_result *result, struct buf *replies, struct fsm_seen *seen, struct err *e)
{
	struct err refusal = {0};
	struct apply a = {.txn = fsm->txn,
		.view = txn_view(fsm->txn),
		.e = &refusal,
		.index = result->index,
		.now_ms = txn_position(fsm->txn)->cluster_time_ms};
	int rc;

	txn_command_begin(fsm->txn);
	rc = fsm_handle(fsm, &a, command);
	if (rc != 0) {
		txn_command_abort(fsm->txn);
		result->rc = rc;
		if (apply_is_fatal(rc)) {
			return err_set(e, rc, "%s", refusal.text);
		}
		/* One that was set on the way, and turned into another one, is not of this. */
		result->reason_len =
			refusal.code == rc ? strnlen(refusal.text, FSM_REASON_BYTES_MAX) : 0;
		buf_append(replies, refusal.text, result->reason_len);
		return 0;
	}
	rc = txn_command_commit(fsm->txn, e);
	fsm->cluster_known &=
		!txn_changed(fsm->txn, KEY_CLUSTER) && !txn_changed(fsm->txn, KEY_NODE);
	if (rc == 0) {
		seen->report_at = a.report_at != 0 ? a.report_at : seen->report_at;
		seen->mark = a.mark.id != 0 ? a.mark : seen->mark;
		command_reply_encode(&a.reply, replies);
		result->reply_len = replies->len - result->reply_at;
	}
	return rc;
}

/* One command of an entry: what cannot be decoded is refused alike on all nodes, but a command of a
 * later version stops the node: skipping it would make its state another one. */
static int fsm_apply_item(struct fsm *fsm, const struct payload_item *item,
	struct fsm_result *result, struct fsm_results *results, struct fsm_seen *seen,
	struct err *e)
{
	struct command command;
	int rc = command_decode(item->command, &command, e);

	result->origin = item->origin;
	result->nonce = item->nonce;
	result->seq = item->seq;
	if (rc == KLUIS_EVERSION) {
		return err_wrap(e, rc, "entry %llu", (unsigned long long)result->index);
	}
	if (rc != 0) {
		result->rc = rc;
		return 0;
	}
	seen->more |= command.type != COMMAND_HASH_REPORT && command.type != COMMAND_HASH_ASK;
	rc = fsm_apply_command(fsm, &command, result, &results->replies, seen, e);
	seen->ask |= (command.type == COMMAND_HASH_ASK || command.type == COMMAND_SNAPSHOT_MARK) &&
		     result->rc == 0;
	if (rc == 0 && result->rc == 0 && txn_changed(fsm->txn, KEY_NODE)) {
		rc = fsm_read_quarantine(fsm, e);
	}
	if (rc == 0 && result->rc == 0 && fsm_servers_moved(fsm)) {
		rc = fsm_reload_servers(fsm, results, e);
	}
	return rc;
}

/* Reports stand at indexes that do not depend on the state: a node whose state differs may refuse
 * what others accept, and is found only by a report at the same index. */
static void fsm_note_report(
	struct fsm *fsm, const struct fsm_seen *seen, struct fsm_results *results)
{
	struct position *p = txn_position(fsm->txn);

	if (seen->more) {
		p->report_index = p->index;
		memcpy(p->report_hash, p->state_hash, sizeof p->report_hash);
	}
	if (seen->ask || p->index % fsm->report_entries == 0) {
		results->report_due = true;
		results->report.index = p->index;
		memcpy(results->report.hash, p->state_hash, sizeof results->report.hash);
	}
	if (seen->report_at != 0) {
		const struct fsm_report *past = &fsm->past[seen->report_at % FSM_PAST_ENTRIES];

		/* A node that started since, or came by a checkpoint, does not know it. */
		if (past->index == seen->report_at) {
			results->past_due = true;
			results->past = *past;
		}
	}
}

static int fsm_apply_entry(struct fsm *fsm, const struct entry *entry, struct fsm_results *results,
	struct fsm_mark *ret_mark, struct err *e)
{
	struct position *p = txn_position(fsm->txn);
	struct payload payload;
	struct payload_item item;
	struct fsm_seen seen = {.report_at = 0};
	int rc;

	txn_entry_begin(fsm->txn, entry->index, entry->term);
	if (entry->type != ENTRY_COMMAND) {
		return 0;
	}
	rc = payload_decode(entry_bytes(entry), &payload);
	if (rc == KLUIS_EVERSION) {
		return err_set(e, rc, "entry %llu is of a newer version",
			(unsigned long long)entry->index);
	}
	if (rc != 0) {
		log_err("op=apply index=%llu state=malformed, ignoring",
			(unsigned long long)entry->index);
		return 0;
	}
	if (payload.cluster_time_ms > p->cluster_time_ms &&
		payload.cluster_time_ms <= CLUSTER_TIME_MAX_MS) {
		p->cluster_time_ms = payload.cluster_time_ms;
	}
	for (uint32_t i = 0; rc == 0 && payload_next(&payload, &item); i++) {
		struct fsm_result *result = fsm_results_add(results);

		result->index = entry->index;
		result->ordinal = i;
		rc = fsm_apply_item(fsm, &item, result, results, &seen, e);
	}
	if (rc == 0) {
		fsm_note_report(fsm, &seen, results);
		*ret_mark = seen.mark;
	}
	return rc;
}

/* Everything applied, as one batch; what it told is in results. */
static int fsm_store(struct fsm *fsm, struct fsm_results *results, struct err *e)
{
	const struct event_list *events = txn_events(fsm->txn);
	int rc = txn_store(fsm->txn, e);

	if (rc != 0) {
		return rc;
	}
	fsm->position = *txn_position(fsm->txn);
	for (size_t i = 0; i < events->n; i++) {
		event_list_add(&results->events, &events->event[i]);
	}
	return 0;
}

int fsm_apply(struct fsm *fsm, struct entry *const *entries, size_t n, struct fsm_results *results,
	struct err *e)
{
	int rc = 0;

	fsm_results_clear(results);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		uint64_t applied = txn_position(fsm->txn)->index;
		struct fsm_mark mark = {.id = 0};

		if (entries[i]->index <= applied) {
			continue; /* Replayed after a restart. */
		}
		if (entries[i]->index != applied + 1) {
			return err_set(e, KLUIS_EINTERNAL, "entry %llu comes behind %llu",
				(unsigned long long)entries[i]->index, (unsigned long long)applied);
		}
		rc = fsm_apply_entry(fsm, entries[i], results, &mark, e);
		fsm_remember(fsm, txn_position(fsm->txn));
		if (rc == 0 && mark.id != 0 && fsm->mark_cb != NULL) {
			rc = fsm_store(fsm, results, e);
			if (rc == 0) {
				fsm->mark_cb(fsm->mark_data, fsm, &mark);
			}
		}
	}
	if (rc == 0 && txn_position(fsm->txn)->index > fsm->position.index) {
		rc = fsm_store(fsm, results, e);
	}
	if (rc != 0) {
		return rc;
	}
	results->quarantined = fsm->quarantined;
	return 0;
}

int fsm_flush(struct fsm *fsm, uint64_t *ret_index, struct err *e)
{
	int rc = kv_flush(fsm->kv, e);

	if (rc == 0) {
		*ret_index = fsm->position.index;
	}
	return rc;
}

int fsm_reclaim(struct fsm *fsm, bool hurry, struct err *e)
{
	return kv_reclaim(fsm->kv, hurry, e);
}

int fsm_checkpoint(
	struct fsm *fsm, const char *dir, uint64_t *ret_index, uint64_t *ret_term, struct err *e)
{
	int rc = kv_checkpoint(fsm->kv, dir, e);

	if (rc == 0) {
		*ret_index = fsm->position.index;
		*ret_term = fsm->position.term;
	}
	return rc;
}
