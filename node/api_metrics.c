#include "node/api_metrics.h"

#include <assert.h>

#include "node/route.h"

static const unsigned bucket_ms[METRICS_BUCKETS] = {
	1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000};

static unsigned class_of(int status)
{
	return status >= 100 && status < 600 ? (unsigned)status / 100 - 1 : METRICS_CLASSES - 1;
}

void api_metrics_add(struct api_metrics *metrics, size_t route, int status, uint64_t ms)
{
	unsigned bucket = 0;

	assert(route <= api_routes_count && api_routes_count <= METRICS_ROUTES_MAX);
	if (route == api_routes_count) {
		metrics->refused[class_of(status)]++;
		return;
	}
	metrics->requests[route][class_of(status)]++;
	while (bucket < METRICS_BUCKETS && ms > bucket_ms[bucket]) {
		bucket++;
	}
	metrics->bucket[bucket]++;
	metrics->sum_ms += ms;
	metrics->count++;
}

static void print_head(struct buf *to, const char *name, const char *type, const char *help)
{
	buf_printf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_one(
	struct buf *to, const char *name, const char *type, const char *help, uint64_t value)
{
	print_head(to, name, type, help);
	buf_printf(to, "%s %llu\n", name, (unsigned long long)value);
}

static void print_seconds(
	struct buf *to, const char *name, const char *type, const char *help, uint64_t ms)
{
	print_head(to, name, type, help);
	buf_printf(
		to, "%s %llu.%03u\n", name, (unsigned long long)ms / 1000, (unsigned)(ms % 1000));
}

static void print_requests(const struct api_metrics *metrics, struct buf *to)
{
	print_head(to, "kluis_http_requests_total", "counter", "Requests answered.");
	for (size_t i = 0; i < api_routes_count; i++) {
		for (unsigned c = 0; c < METRICS_CLASSES; c++) {
			if (metrics->requests[i][c] > 0) {
				buf_printf(to,
					"kluis_http_requests_total{route=\"%s\",code=\"%uxx\"} "
					"%llu\n",
					api_routes[i].name, c + 1,
					(unsigned long long)metrics->requests[i][c]);
			}
		}
	}
	for (unsigned c = 0; c < METRICS_CLASSES; c++) {
		if (metrics->refused[c] > 0) {
			buf_printf(to,
				"kluis_http_requests_total{route=\"none\",code=\"%uxx\"} %llu\n",
				c + 1, (unsigned long long)metrics->refused[c]);
		}
	}
}

static void print_latency(const struct api_metrics *metrics, struct buf *to)
{
	static const char name[] = "kluis_http_request_seconds";
	uint64_t sum = 0;

	print_head(to, name, "histogram", "From the whole request to the answer.");
	for (unsigned i = 0; i < METRICS_BUCKETS; i++) {
		sum += metrics->bucket[i];
		buf_printf(to, "%s_bucket{le=\"%u.%03u\"} %llu\n", name, bucket_ms[i] / 1000,
			bucket_ms[i] % 1000, (unsigned long long)sum);
	}
	buf_printf(to, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %llu.%03llu\n%s_count %llu\n", name,
		(unsigned long long)metrics->count, name,
		(unsigned long long)metrics->sum_ms / 1000,
		(unsigned long long)metrics->sum_ms % 1000, name,
		(unsigned long long)metrics->count);
}

static void print_http(const struct http_counters *http, struct buf *to)
{
	print_one(to, "kluis_http_connections", "gauge", "Open now.", http->connections);
	print_one(to, "kluis_http_accepted_total", "counter", "Connections.", http->accepted);
	print_one(to, "kluis_http_refused_total", "counter", "Connections over a limit.",
		http->refused);
	print_one(to, "kluis_http_evicted_total", "counter",
		"Idle connections closed to make room for others.", http->evicted);
	print_one(to, "kluis_http_accept_errors_total", "counter", "Failed accepts.",
		http->accept_errors);
	print_one(to, "kluis_http_handshakes_total", "counter", "Finished handshakes.",
		http->handshakes);
	print_one(to, "kluis_http_timeouts_total", "counter",
		"Connections and streams closed by a time limit.", http->timeouts);
	print_one(to, "kluis_http_malformed_total", "counter", "Requests refused by the server.",
		http->malformed);
	print_one(to, "kluis_http_body_bytes", "gauge", "Request bodies in memory.",
		http->body_bytes);
	print_one(to, "kluis_http_answer_bytes", "gauge", "Answers made and not yet sent.",
		http->answer_bytes);
	print_one(to, "kluis_http_received_bytes_total", "counter", "Bodies.", http->bytes_in);
	print_one(to, "kluis_http_sent_bytes_total", "counter", "Bodies.", http->bytes_out);
}

static void print_peers(const struct replica_status *replica, struct buf *to)
{
	print_head(to, "kluis_peer_connected", "gauge", "The link to it is up.");
	for (unsigned i = 0; i < replica->n_peers; i++) {
		buf_printf(to, "kluis_peer_connected{node=\"%llu\"} %d\n",
			(unsigned long long)replica->peers[i].id, replica->peers[i].connected);
	}
	print_head(to, "kluis_peer_refused", "gauge",
		"1: initialised anew under its old id; 2: an old copy of its directory.");
	for (unsigned i = 0; i < replica->n_peers; i++) {
		buf_printf(to, "kluis_peer_refused{node=\"%llu\"} %d\n",
			(unsigned long long)replica->peers[i].id, (int)replica->peers[i].trouble);
	}
	print_head(to, "kluis_peer_match_index", "gauge", "On its disk; 0 unless this node leads.");
	for (unsigned i = 0; i < replica->n_peers; i++) {
		buf_printf(to, "kluis_peer_match_index{node=\"%llu\"} %llu\n",
			(unsigned long long)replica->peers[i].id,
			(unsigned long long)replica->peers[i].match_index);
	}
}

static void print_replica(const struct replica_status *replica, struct buf *to)
{
	print_one(to, "kluis_raft_is_leader", "gauge", "This node leads.",
		replica->role == REPLICA_LEADER);
	print_one(to, "kluis_raft_has_leader", "gauge", "A leader is known.",
		replica->leader_id != 0);
	print_one(to, "kluis_raft_begun", "gauge", "All members have met: this node takes part.",
		replica->begun);
	print_one(to, "kluis_raft_ready", "gauge", "In touch with a leader.", replica->ready);
	print_one(to, "kluis_raft_voters", "gauge", "In the configuration.", replica->voters);
	print_one(to, "kluis_raft_voters_wanted", "gauge", "By the operators; 0: not said yet.",
		replica->voters_wanted);
	print_one(to, "kluis_raft_term", "gauge", "Current term.", replica->term);
	print_one(to, "kluis_raft_commit_index", "gauge", "Committed.", replica->commit_index);
	print_one(to, "kluis_raft_applied_index", "gauge", "Applied.", replica->applied_index);
	print_one(to, "kluis_raft_last_index", "gauge", "In the log.", replica->last_index);
	print_one(to, "kluis_raft_log_bytes", "gauge", "Of the log on disk.", replica->log_bytes);
	print_one(to, "kluis_raft_proposals_waiting", "gauge", "Queued commands.",
		replica->proposals_waiting);
	print_one(
		to, "kluis_store_read_only", "gauge", "Below the disk floor.", replica->read_only);
	print_one(to, "kluis_store_quarantined", "gauge", "A majority disagrees with our state.",
		replica->quarantined);
	print_one(to, "kluis_store_damaged", "gauge",
		"What was read back was not what was written.", replica->damage[0] != 0);
	print_one(to, "kluis_disk_free_bytes", "gauge", "Of the data disk.", replica->free_bytes);
	print_peers(replica, to);
}

static void print_checks(const struct backup_summary *backup, uint64_t wall_ms, struct buf *to)
{
	print_head(to, "kluis_backup_check_ok", "gauge",
		"The last check of a site at a level (4: drill) found nothing wrong.");
	for (size_t i = 0; i < backup->n_checks; i++) {
		const struct check_row *row = &backup->checks[i];

		buf_printf(to, "kluis_backup_check_ok{node=\"%llu\",level=\"%u\"} %d\n",
			(unsigned long long)row->node, row->level, row->ok);
	}
	print_head(to, "kluis_backup_check_age_seconds", "gauge", "Since it was last good.");
	for (size_t i = 0; i < backup->n_checks; i++) {
		const struct check_row *row = &backup->checks[i];

		if (row->good_ms != 0) {
			buf_printf(to,
				"kluis_backup_check_age_seconds{node=\"%llu\",level=\"%u\"} "
				"%llu\n",
				(unsigned long long)row->node, row->level,
				(unsigned long long)(wall_ms > row->good_ms
							     ? (wall_ms - row->good_ms) / 1000
							     : 0));
		}
	}
}

static void print_roots(const struct backup_summary *backup, uint64_t wall_ms, struct buf *to)
{
	static const enum root_state bad[] = {ROOT_DIFFERS, ROOT_LATE};
	static const char *const name[] = {
		"kluis_backup_state_root_differs", "kluis_backup_state_root_late"};
	static const char *const help[] = {
		"At the newest snapshot its state root was not the majority's.",
		"It has not told the state root of a snapshot for half an hour."};

	for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
		print_head(to, name[k], "gauge", help[k]);
		for (size_t i = 0; i < backup->roots.n; i++) {
			const struct root_site *site = &backup->roots.site[i];

			buf_printf(to, "%s{node=\"%llu\"} %d\n", name[k],
				(unsigned long long)site->node,
				root_site_state(site, wall_ms) == bad[k]);
		}
	}
}

/* Never is +Inf: a rule about age holds for it, too. */
static void print_age(struct buf *to, const char *name, const char *help, bool any,
	uint64_t since_ms, uint64_t wall_ms)
{
	if (any) {
		print_seconds(to, name, "gauge", help, wall_ms > since_ms ? wall_ms - since_ms : 0);
	} else {
		print_head(to, name, "gauge", help);
		buf_printf(to, "%s +Inf\n", name);
	}
}

static void print_recovery(const struct api_metrics_state *state, struct buf *to)
{
	const struct backup_summary *backup = state->backup;
	uint64_t wall_ms = state->wall_ms,
		 limit_ms = backup_summary_late_ms(state->backup_journal_ms);
	bool any = backup->recovery_index != 0;

	print_age(to, "kluis_backup_recovery_age_seconds",
		"For how long something has changed that is in no confirmed point.", any,
		any ? wall_ms - backup_summary_exposed_ms(backup, wall_ms) : 0, wall_ms);
	print_age(to, "kluis_backup_recovery_age_limit_seconds",
		"How long that may be so; +Inf: no journal increments are taken.",
		limit_ms != UINT64_MAX, 0, limit_ms);
	print_seconds(to, "kluis_backup_deletions_lag_seconds", "gauge",
		"How far this site's journal of deletions is behind.", backup->deletions_lag_ms);
	print_one(to, "kluis_backup_journal_copies", "gauge",
		"Sites beside the taker that hold journal increments of the newest cycle.",
		backup->journal.n_holders);
}

/* The log has who confirmed it, also when that site is away or lost since. */
static void print_holders(
	const struct snapshot_row *newest, const struct replica_status *replica, struct buf *to)
{
	unsigned n = 0;

	for (unsigned i = 0; i < newest->n_confirmations; i++) {
		n += replica_status_reaches(replica, newest->confirmation[i].node);
	}
	print_one(to, "kluis_backup_newest_copies", "gauge", "Sites beside the taker that hold it.",
		newest->n_confirmations);
	print_one(to, "kluis_backup_newest_copies_reachable", "gauge",
		"Those of them that this node has a link to, or is.", n);
}

/* By this machine's clock: cluster time stands still when the cluster does. */
static void print_backup(const struct api_metrics_state *state, struct buf *to)
{
	const struct backup_summary *backup = state->backup;
	const struct check_row *proven = backup_summary_proven(backup);
	const char *setting;
	uint64_t node;

	print_one(to, "kluis_backup_snapshots", "gauge", "Records of snapshots.", backup->records);
	print_one(to, "kluis_backup_confirmed", "gauge", "Those that enough sites hold.",
		backup->confirmed);
	print_age(to, "kluis_backup_newest_age_seconds", "Of the newest confirmed snapshot.",
		backup->newest.id != 0, backup->newest.created_ms, state->wall_ms);
	print_seconds(to, "kluis_backup_newest_age_limit_seconds", "gauge",
		"How old it may be: two intervals, and never less than eight hours.",
		state->backup_age_limit_ms);
	print_recovery(state, to);
	print_holders(&backup->newest, state->replica, to);
	print_one(to, "kluis_backup_copies_needed", "gauge", "That make a snapshot count.",
		state->backup_copies);
	print_one(to, "kluis_backup_failed_snapshots", "gauge",
		"That failed since the newest confirmed one.", backup->failed);
	print_one(to, "kluis_backup_running", "gauge", "A snapshot is under way.",
		backup->running != 0);
	print_age(to, "kluis_backup_proven_age_seconds", "Since a drill last proved a restore.",
		proven != NULL, proven == NULL ? 0 : proven->good_ms, state->wall_ms);
	print_seconds(to, "kluis_backup_proof_late_seconds", "gauge",
		"How much longer than it may be no drill proved a restore; 0: not longer.",
		backup_summary_unproven_ms(backup, state->wall_ms));
	print_one(to, "kluis_backup_drill_sites", "gauge", "That drill by themselves.",
		backup_summary_drills(backup));
	print_one(to, "kluis_backup_settings_differ", "gauge",
		"A site's [backup] settings are not this one's.",
		backup_summary_differs(backup, state->replica->node_id, &node, &setting));
	print_checks(backup, state->wall_ms, to);
	print_roots(backup, state->wall_ms, to);
}

static void print_events(const struct event_counters *events, struct buf *to)
{
	print_one(to, "kluis_event_subscribers", "gauge", "WebSockets and requests that wait.",
		events->subscribers);
	print_one(to, "kluis_event_polls", "gauge", "Of them requests that wait.", events->polls);
	print_one(to, "kluis_events_total", "counter", "Changes that were news to somebody or not.",
		events->fed);
	print_one(to, "kluis_events_told_total", "counter", "Given to subscribers.", events->told);
	print_one(to, "kluis_event_resyncs_total", "counter",
		"Subscribers told to fetch everything.", events->resyncs);
	print_one(to, "kluis_event_looks_total", "counter",
		"Readings of the store for subscribers.", events->looks);
}

static void print_certificate(
	struct buf *to, const char *name, uint64_t not_after_ms, uint64_t wall_ms)
{
	if (not_after_ms != 0) {
		buf_printf(to, "kluis_certificate_seconds_left{certificate=\"%s\"} %llu\n", name,
			(unsigned long long)(not_after_ms > wall_ms
						     ? (not_after_ms - wall_ms) / 1000
						     : 0));
	}
}

/* One line a sender: name{site="ams"} value. */
static void print_drops(struct buf *to, const struct api_copies *copies, const char *name,
	const char *type, const char *help, uint64_t (*value)(const struct api_drop *drop))
{
	print_head(to, name, type, help);
	for (size_t i = 0; i < copies->n_drops; i++) {
		buf_printf(to, "%s{site=\"%s\"} %llu\n", name, copies->drops[i].site,
			(unsigned long long)value(&copies->drops[i]));
	}
}

static void print_shipments(const struct api_metrics_state *state, struct buf *to)
{
	static const struct {
		const char *name, *help;
		bool pin;
	} rows[] = {{"kluis_ship_failed", "The last shipment to the site failed.", false},
		{"kluis_ship_host_key_changed", "Its SSH host key is not the pinned one.", true}};

	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		print_head(to, rows[k].name, "gauge", rows[k].help);
		for (size_t i = 0; i < state->n_shipments; i++) {
			int rc = state->shipments[i].rc;

			buf_printf(to, "%s{site=\"%s\"} %d\n", rows[k].name,
				state->shipments[i].site, rows[k].pin ? rc == KLUIS_EPIN : rc != 0);
		}
	}
}

static uint64_t drop_bytes_of(const struct api_drop *drop)
{
	return drop->bytes;
}

static uint64_t drop_files_of(const struct api_drop *drop)
{
	return drop->files;
}

static uint64_t drop_accepted_of(const struct api_drop *drop)
{
	return drop->accepted;
}

static uint64_t drop_refused_of(const struct api_drop *drop)
{
	return drop->refused;
}

static uint64_t drop_over_of(const struct api_drop *drop)
{
	return drop->over_quota;
}

static void print_copies(const struct api_copies *copies, uint64_t wall_ms, struct buf *to)
{
	uint64_t since_ms = copies->ended_ms == 0 ? copies->began_ms : copies->ended_ms;

	print_one(to, "kluis_backup_stopped", "gauge",
		"The disk of repository or drops keeps this node from any backup.",
		copies->stopped[0] != 0);
	print_one(to, "kluis_backup_drill_trouble", "gauge",
		"This site's last drill could not be made, or its key is another one than "
		"snapshots are "
		"sealed to.",
		copies->drill_text[0] != 0);
	if (copies->period_ms == 0) {
		return; /* Not read again, or not open yet. */
	}
	print_one(to, "kluis_copies_damaged", "gauge", "Snapshots here that are not whole.",
		copies->damaged);
	print_one(to, "kluis_copies_damaged_files_total", "counter",
		"Files found damaged by reading them again.", copies->found);
	print_one(to, "kluis_copies_read_bytes_total", "counter", "Read and hashed again.",
		copies->bytes);
	print_one(to, "kluis_copies_read_objects_total", "counter", "Read and hashed again.",
		copies->objects);
	print_seconds(to, "kluis_copies_round_age_seconds", "gauge",
		"Since all copies were last read again; in the first round, since it began.",
		since_ms == 0 || since_ms > wall_ms ? 0 : wall_ms - since_ms);
	print_one(to, "kluis_copies_round_period_seconds", "gauge", "How often that should be.",
		copies->period_ms / 1000);
	print_seconds(to, "kluis_copies_prune_age_seconds", "gauge",
		"Since what is too old was last forgotten; before the first time, since the start.",
		copies->prune_age_ms);
	print_drops(to, copies, "kluis_drop_bytes", "gauge", "In a sender's drop.", drop_bytes_of);
	print_drops(to, copies, "kluis_drop_files", "gauge", "The same in files.", drop_files_of);
	print_drops(to, copies, "kluis_drop_accepted_total", "counter",
		"Snapshots found whole, again at each time they are sent.", drop_accepted_of);
	print_drops(to, copies, "kluis_drop_refused_total", "counter",
		"Files removed as rubbish, leftovers or beyond the quota.", drop_refused_of);
	print_drops(to, copies, "kluis_drop_over_quota", "gauge", "It was when last looked at.",
		drop_over_of);
}

static void print_pushes(struct buf *to, const struct push_counts *push, const char *name,
	const char *help, uint64_t (*of)(const struct push_kind_counts *counts))
{
	print_head(to, name, "counter", help);
	for (unsigned kind = PUSH_WEB; kind <= PUSH_APNS; kind++) {
		buf_printf(to, "%s{kind=\"%s\"} %llu\n", name, push_kind_name(kind),
			(unsigned long long)of(&push->kind[kind]));
	}
}

static uint64_t push_sent_of(const struct push_kind_counts *counts)
{
	return counts->sent;
}

static uint64_t push_retried_of(const struct push_kind_counts *counts)
{
	return counts->retried;
}

static uint64_t push_failed_of(const struct push_kind_counts *counts)
{
	return counts->lost;
}

static uint64_t push_removed_of(const struct push_kind_counts *counts)
{
	return counts->gone;
}

static uint64_t push_refused_of(const struct push_kind_counts *counts)
{
	return counts->refused;
}

void api_metrics_push(const struct push_counts *push, struct buf *to)
{
	print_one(to, "kluis_push_waiting", "gauge", "Notifications to be sent, or sent again.",
		push->waiting);
	print_pushes(to, push, "kluis_push_sent_total", "Taken by a push service.", push_sent_of);
	print_pushes(to, push, "kluis_push_retried_total", "Attempts that are made again later.",
		push_retried_of);
	print_pushes(to, push, "kluis_push_failed_total", "Given up.", push_failed_of);
	print_pushes(to, push, "kluis_push_removed_total",
		"Subscriptions that their push service knows no more.", push_removed_of);
	print_pushes(to, push, "kluis_push_refused_total", "Not taken: no room in the queue.",
		push_refused_of);
}

void api_metrics_print(
	const struct api_metrics *metrics, const struct api_metrics_state *state, struct buf *to)
{
	print_head(to, "kluis_build_info", "gauge", "Version and place.");
	buf_printf(to, "kluis_build_info{version=\"%s\",site=\"%s\",node=\"%llu\"} 1\n",
		KLUIS_VERSION, state->site, (unsigned long long)state->replica->node_id);
	print_seconds(
		to, "kluis_uptime_seconds", "gauge", "Since the API started.", state->uptime_ms);
	print_seconds(to, "kluis_wall_clock_seconds", "gauge", "What this machine's clock says.",
		state->wall_ms);
	print_one(to, "kluis_api_calls", "gauge", "Requests being worked on.", state->calls);
	print_one(to, "kluis_login_handshakes", "gauge", "Password logins half way.",
		state->login_handshakes);
	print_events(state->events, to);
	print_head(to, "kluis_certificate_seconds_left", "gauge", "Until it expires; 0: it has.");
	print_certificate(to, "api", state->api_not_after_ms, state->wall_ms);
	print_certificate(to, "link", state->replica->certificate_not_after_ms, state->wall_ms);
	print_one(to, "kluis_store_bytes", "gauge", "Live data, estimated.", state->store_bytes);
	print_one(to, "kluis_store_garbage_bytes", "gauge", "Dead bytes in blob files.",
		state->store_garbage_bytes);
	print_one(to, "kluis_store_memory_bytes", "gauge", "Memtables and table readers.",
		state->store_memory_bytes);
	print_requests(metrics, to);
	print_latency(metrics, to);
	print_http(state->http, to);
	print_replica(state->replica, to);
	if (state->backup != NULL) {
		print_backup(state, to);
	}
	if (state->n_shipments > 0) {
		print_shipments(state, to);
	}
	if (state->copies->kept) {
		print_copies(state->copies, state->wall_ms, to);
	}
}
