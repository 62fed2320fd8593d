/* From the files of a directory to a state machine, a log and a driver that agree. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "raft/fail_stop.h"
#include "raft/replica_impl.h"

char *replica_path(const struct replica *r, const char *name)
{
	return x_asprintf("%s/%s", r->dir, name);
}

/* --- the first log --- */

/* A loop for the time of one blocking piece of work on a log. */
struct boot_log {
	uv_loop_t loop;
	struct mailbox mailbox;
	struct entry_log *log;
	uint64_t persisted;
	bool closed;
};

static void boot_persisted_cb(void *user, uint64_t seq)
{
	struct boot_log *b = user;

	b->persisted = seq;
}

static void boot_closed_cb(void *user)
{
	struct boot_log *b = user;

	b->closed = true;
}

static void boot_log_end(struct boot_log *b)
{
	mailbox_close(&b->mailbox, NULL);
	(void)uv_run(&b->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&b->loop); /* Nothing is left in it. */
}

static int boot_log_open(struct boot_log *b, const char *dir, struct err *e)
{
	_cleanup_(x_freep) char *log_dir = x_asprintf("%s/log", dir);
	struct entry_log_config config = {.dir = log_dir,
		.home = &b->mailbox,
		.random = &random_system,
		.persisted_cb = boot_persisted_cb,
		.user = b};
	int rc;

	*b = (struct boot_log){.persisted = 0};
	if (uv_loop_init(&b->loop) != 0 || mailbox_init(&b->mailbox, &b->loop) != 0) {
		return err_set(e, KLUIS_EIO, "make an event loop");
	}
	rc = entry_log_open(&config, &b->log, e);
	if (rc != 0) {
		boot_log_end(b);
	}
	return rc;
}

static void boot_log_close(struct boot_log *b)
{
	entry_log_close(b->log, boot_closed_cb);
	while (!b->closed) {
		(void)uv_run(&b->loop, UV_RUN_ONCE);
	}
	boot_log_end(b);
}

/* The log is in its first state: what its node knows of the others is made, too. */
static int boot_log_end_new(struct boot_log *b, const char *dir, uint64_t node_id,
	const struct configuration *members, struct err *e)
{
	uint8_t log_id[LOG_ID_BYTES];

	memcpy(log_id, entry_log_id(b->log), sizeof log_id);
	boot_log_close(b);
	return replica_meet_create(dir, log_id, node_id, members, e);
}

static void boot_log_wait(struct boot_log *b, uint64_t seq)
{
	while (b->persisted < seq) {
		(void)uv_run(&b->loop, UV_RUN_ONCE);
	}
}

static int boot_configuration(const struct replica_server *servers, unsigned n, uint64_t node_id,
	struct configuration *ret, struct err *e)
{
	struct configuration configuration = {.n = 0};

	for (unsigned i = 0; i < n; i++) {
		char site[NODE_NAME_BYTES_MAX + 1];
		int rc;

		(void)snprintf(site, sizeof site, "node-%" PRIu64, servers[i].id);
		if (servers[i].site[0] != 0) {
			(void)snprintf(site, sizeof site, "%s", servers[i].site);
		}
		rc = configuration_clash(&configuration, site, servers[i].address) != 0
			     ? KLUIS_EEXIST
			     : configuration_add(&configuration, servers[i].id,
				       servers[i].vote == REPLICA_VOTER ? MEMBER_VOTER
									: MEMBER_STANDBY,
				       site, servers[i].address);
		if (rc != 0) {
			return err_set(e, rc, "server %" PRIu64 " ('%s')", servers[i].id,
				servers[i].address);
		}
	}
	if (node_id != 0 && configuration_find(&configuration, node_id) == NULL) {
		return err_set(e, KLUIS_EINVAL,
			"node %" PRIu64 " is not among the servers of the cluster", node_id);
	}
	*ret = configuration;
	return 0;
}

static int boot_log_open_new(struct boot_log *b, const char *dir, struct err *e)
{
	int rc = boot_log_open(b, dir, e);

	if (rc == 0 && (entry_log_last(b->log) > 0 || entry_log_snapshot(b->log).len > 0 ||
			       entry_log_vote_term(b->log) > 0)) {
		boot_log_close(b);
		return err_set(e, KLUIS_EEXIST, "'%s' has a log already", dir);
	}
	return rc;
}

int replica_bootstrap(const char *dir, uint64_t node_id, const struct replica_server *servers,
	unsigned n_servers, struct err *e)
{
	struct configuration configuration;
	struct boot_log b;
	struct entry *first;
	int rc = boot_configuration(servers, n_servers, node_id, &configuration, e);

	if (rc == 0 && configuration_voters(&configuration) == 0) {
		rc = err_set(e, KLUIS_EINVAL, "a cluster without voters");
	}
	if (rc == 0) {
		rc = boot_log_open_new(&b, dir, e);
	}
	if (rc != 0) {
		return rc;
	}
	if (configuration_votes(&configuration, node_id)) {
		first = driver_bootstrap(&configuration);
		entry_log_set_vote(b.log, first->term, 0);
		entry_log_append(b.log, 1, &first, 1);
		entry_unref(first);
		boot_log_wait(&b, 1);
	}
	return boot_log_end_new(&b, dir, node_id, &configuration, e);
}

int replica_bootstrap_joining(const char *dir, uint64_t node_id, struct err *e)
{
	const struct configuration none = {.n = 0};
	struct boot_log b;
	int rc = boot_log_open_new(&b, dir, e);

	return rc != 0 ? rc : boot_log_end_new(&b, dir, node_id, &none, e);
}

int replica_incarnation(
	const char *dir, uint64_t node_id, uint8_t ret_incarnation[16], struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/peers", dir);
	_cleanup_(x_freep) char *state = x_asprintf("%s/log/state", dir);
	struct peer_pins pins;
	struct boot_log b;
	int rc;

	if (!file_exists(path) || !file_exists(state)) { /* Opening a log would make one. */
		return err_set(e, KLUIS_ENOTFOUND, "'%s' is no node's data directory", dir);
	}
	rc = boot_log_open(&b, dir, e);
	if (rc != 0) {
		return rc;
	}
	rc = peer_pins_open(&pins, path, entry_log_id(b.log), node_id, e);
	if (rc == 0) {
		memcpy(ret_incarnation, pins.incarnation, INCARNATION_BYTES);
		peer_pins_close(&pins);
	}
	boot_log_close(&b);
	return rc;
}

int replica_stored_position(const char *db, struct position *ret_position, struct err *e)
{
	const struct kv_options options = {.read_only = true};
	struct kv_view *view;
	struct kv *kv;
	int rc = kv_rocksdb_open(db, &options, &kv, e);

	if (rc != 0) {
		return rc;
	}
	view = kv_view_new(kv);
	rc = position_get(view, ret_position, e);
	kv_view_free(view);
	kv_close(kv);
	return rc;
}

int replica_bootstrap_restored(const char *dir, uint64_t node_id,
	const struct replica_server *servers, unsigned n_servers, struct err *e)
{
	_cleanup_(x_freep) char *db = x_asprintf("%s/db", dir);
	_cleanup_(buf_release) struct buf record = BUF_INIT;
	struct driver_snapshot snapshot = {.index = 0};
	struct position position;
	struct boot_log b;
	int rc = boot_configuration(servers, n_servers, node_id, &snapshot.configuration, e);

	if (rc == 0) {
		rc = replica_stored_position(db, &position, e);
	}
	if (rc == 0 && position.index == 0) {
		rc = err_set(e, KLUIS_ENOTFOUND, "the store in '%s' is empty", db);
	}
	if (rc == 0) {
		rc = boot_log_open_new(&b, dir, e);
	}
	if (rc != 0) {
		return rc;
	}
	snapshot.index = snapshot.configuration_index = position.index;
	snapshot.term = position.term == 0 ? 1 : position.term;
	snapshot_record_encode(&snapshot, &record);
	entry_log_set_vote(b.log, snapshot.term, 0);
	entry_log_reset(b.log, 1, snapshot.index + 1, buf_bytes(&record));
	boot_log_wait(&b, 1);
	return boot_log_end_new(&b, dir, node_id, &snapshot.configuration, e);
}

/* --- an existing directory --- */

int replica_open_store(struct replica *r, struct err *e)
{
	_cleanup_(x_freep) char *dir = replica_path(r, "db");
	const struct kv_options options = {.create = true,
		.write_buffer_bytes = replica_staggered(r, r->store_write_buffer_bytes),
		.cache_bytes = r->store_cache_bytes};
	int rc = file_make_dirs(dir, 0700, e);

	if (rc == 0) {
		rc = kv_rocksdb_open(dir, &options, &r->applier.kv, e);
	}
	if (rc == 0) {
		rc = fsm_new(r->applier.kv, r->node_id, &r->applier.fsm, e);
		if (rc != 0) {
			kv_close(r->applier.kv);
			r->applier.kv = NULL;
		}
	}
	if (rc == 0) {
		fsm_set_mark_cb(r->applier.fsm, applier_marked_cb, r);
		(void)atomic_fetch_add(&r->stores, 1);
	}
	if (rc == KLUIS_ECORRUPT || rc == KLUIS_EIO) {
		return err_wrap(e, rc, "open the store ('kluisd rebuild' replaces it by a peer's)");
	}
	return rc == 0 ? 0 : err_wrap(e, rc, "open the store");
}

static int boot_open_log(struct replica *r, struct err *e)
{
	_cleanup_(x_freep) char *dir = replica_path(r, "log");
	struct entry_log_config config = {.dir = dir,
		.home = &r->mailbox,
		.random = r->random,
		.persisted_cb = replica_persisted,
		.user = r};

	return entry_log_open(&config, &r->log, e);
}

/* Whether the log already begins behind the snapshot, or behind a later one. */
static bool boot_log_is_behind(
	const struct entry_log *log, struct bytes record, const struct driver_snapshot *snapshot)
{
	struct driver_snapshot known;

	if (bytes_equal(entry_log_snapshot(log), record)) {
		return entry_log_first(log) == snapshot->index + 1;
	}
	return snapshot_record_decode(entry_log_snapshot(log), &known, NULL) == 0 &&
	       known.index > snapshot->index;
}

static int boot_begin_log(struct replica *r, struct bytes record, struct err *e)
{
	struct driver_snapshot snapshot;
	struct boot_log b;
	int rc = snapshot_record_decode(record, &snapshot, e);

	if (rc == 0) {
		rc = boot_log_open(&b, r->dir, e);
	}
	if (rc != 0) {
		return rc;
	}
	if (!boot_log_is_behind(b.log, record, &snapshot)) {
		entry_log_reset(b.log, 1, snapshot.index + 1, record);
		boot_log_wait(&b, 1);
	}
	boot_log_close(&b);
	return 0;
}

/* An install that a crash cut short after it was decided: put the store in place, and begin the log
 * behind it. Both may have been done, and then the record is the first to go. */
static int boot_finish_install(struct replica *r, struct err *e)
{
	_cleanup_(x_freep) char *install = replica_path(r, "install");
	_cleanup_(x_freep) char *path = replica_path(r, "install/snapshot");
	_cleanup_(x_freep) char *db = replica_path(r, "install/db");
	_cleanup_(buf_release) struct buf record = BUF_INIT;
	int rc;

	if (!file_exists(install)) {
		return 0;
	}
	log_warn("op=replica_start msg=\"an install was cut short, going on with it\"");
	if (!file_exists(path) && !file_exists(db)) {
		return file_remove_tree(install, e);
	}
	rc = file_read(path, LOG_SNAPSHOT_BYTES_MAX, &record, e);
	if (rc == 0) {
		rc = catch_up_move_store(r, "install", e);
	}
	if (rc == 0) {
		rc = boot_begin_log(r, buf_bytes(&record), e);
	}
	return rc == 0 ? catch_up_end_install(r, e) : err_wrap(e, rc, "'%s'", install);
}

/* Log and store stand in one directory, but only their numbers say that they belong together. */
static int boot_check(const struct replica *r, struct err *e)
{
	uint64_t applied = r->position.index, first = entry_log_first(r->log),
		 last = entry_log_last(r->log);

	if (applied > last) {
		return err_set(e, KLUIS_ECORRUPT,
			"the log in '%s/log' ends at %" PRIu64
			", but the store has applied %" PRIu64
			": the log is an old copy; " REPLACE_NODE,
			r->dir, last, applied);
	}
	if (applied + 1 < first) {
		return err_set(e, KLUIS_ECORRUPT,
			"the log in '%s/log' begins at %" PRIu64
			", but the store has applied only %" PRIu64
			": the store is an old copy; 'kluisd rebuild' replaces it by a peer's",
			r->dir, first, applied);
	}
	return 0;
}

int replica_boot(struct replica *r, struct err *e)
{
	int rc = replica_meet_check(r, e);

	if (rc == 0) {
		rc = boot_finish_install(r, e);
	}
	if (rc == 0) {
		rc = rebuild_boot(r, e);
	}
	if (rc == 0) {
		rc = boot_open_log(r, e);
	}
	if (rc == 0) {
		rc = replica_meet_open(r, e);
	}
	if (rc == 0) {
		rc = replica_open_store(r, e);
	}
	if (rc != 0) {
		return rc;
	}
	r->position = *fsm_position(r->applier.fsm);
	atomic_store(&r->applied, r->position.index);
	rebuild_judged(r, fsm_quarantined(r->applier.fsm));
	rc = r->without_data ? 0 : boot_check(r, e);
	if (rc == 0) {
		peer_pins_start(&r->pins); /* Nobody else has the directory: the log is locked. */
		replica_members_set(r, fsm_servers(r->applier.fsm));
	}
	return rc;
}

/* --- a store that is given up --- */

/* Whether what this node promised is all there: its log, its vote, its pins. */
static int boot_check_promises(const struct replica *r, struct err *e)
{
	_cleanup_(x_freep) char *path = replica_path(r, "peers");
	struct peer_pins pins = {.n = 0};
	struct boot_log b;
	int rc = replica_meet_check(r, e);

	if (rc == 0) {
		rc = boot_log_open(&b, r->dir, e);
	}
	if (rc == 0) {
		rc = peer_pins_open(&pins, path, entry_log_id(b.log), r->node_id, e);
		peer_pins_close(&pins);
		boot_log_close(&b);
	}
	return rc;
}

int replica_give_up_store(const char *dir, uint64_t node_id, struct err *e)
{
	struct replica r = {.dir = (char *)(uintptr_t)dir, .node_id = node_id};
	_cleanup_(x_freep) char *marker = replica_path(&r, REBUILD_MARKER);
	_cleanup_(x_freep) char *db = replica_path(&r, "db");
	int rc = boot_check_promises(&r, e);

	if (rc == 0) {
		rc = file_write(marker, bytes_str(REBUILD_MARKER_TEXT), 0600, e);
	}
	return rc == 0 ? file_remove_tree(db, e) : rc;
}

/* --- the driver --- */

static void boot_release_entries(struct driver_log_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		entry_unref(entries[i].entry);
	}
	free(entries);
}

static int boot_entries(
	struct replica *r, struct driver_log_entry *entries, size_t n, struct err *e)
{
	uint64_t first = entry_log_first(r->log);

	for (size_t i = 0; i < n; i++) {
		entries[i].term = entry_log_term(r->log, first + i);
		entries[i].type = (uint8_t)entry_log_type(r->log, first + i);
		if (entries[i].type == ENTRY_CONFIGURATION) {
			int rc = entry_log_load(r->log, first + i, &entries[i].entry, e);

			if (rc != 0) {
				return rc;
			}
		}
	}
	return 0;
}

int replica_boot_driver(struct replica *r, struct err *e)
{
	struct driver_snapshot snapshot;
	struct driver_start start = {.term = entry_log_vote_term(r->log),
		.vote = entry_log_vote(r->log),
		.first_index = entry_log_first(r->log),
		.n = (size_t)(entry_log_last(r->log) + 1 - entry_log_first(r->log)),
		.applied = r->position.index};
	struct driver_log_entry *entries = x_calloc(start.n + 1, sizeof *entries);
	int rc = boot_entries(r, entries, start.n, e);

	start.entries = entries;
	if (rc == 0 && entry_log_snapshot(r->log).len > 0) {
		rc = snapshot_record_decode(entry_log_snapshot(r->log), &snapshot, e);
		start.snapshot = &snapshot;
	}
	if (rc == 0 && r->without_data) {
		start.rebuild = true;
		start.applied = start.snapshot == NULL ? 0 : snapshot.index;
	}
	if (rc == 0) {
		rc = driver_start(r->driver, &start, e);
	}
	boot_release_entries(entries, start.n);
	return rc;
}

int replica_boot_members(struct replica *r, const struct replica_config *config, struct err *e)
{
	return boot_configuration(config->servers, config->n_servers, 0, &r->members, e);
}
