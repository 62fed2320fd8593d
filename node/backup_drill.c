/* A drill that a node does by itself when it is its turn (backup/proof.h): `kluisd drill`, a
 * process of its own. */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backup/proof.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "node/backup_parts.h"
#include "node/drill.h"

/* --- the process ----------------------------------------------------------------------------- */

/* Exit code of a copy that no restore will work with. */
enum { DRILL_FAILED = 14 };

static void drill_closed_cb(uv_handle_t *handle)
{
	struct backup_job *job = handle->data;

	if (--job->drill.open_handles == 0) {
		job->drill.running = false;
		job->drill.next_ms = backup_job_now() + PROOF_RETRY_MS;
		backup_job_ended(job);
	}
}

static void drill_close(struct backup_drill *drill)
{
	uv_close((uv_handle_t *)&drill->out, drill_closed_cb);
	uv_close((uv_handle_t *)&drill->process, drill_closed_cb);
}

/* One that was killed leaves a copy of the store behind, and its next turn may be weeks away. */
void backup_drill_clear(const struct backup_job *job)
{
	_cleanup_(x_freep) char *scratch = x_asprintf("%s/drill", job->config->data_dir);
	struct err e = {0};

	if (drill_sweep(scratch, &e) != 0) {
		log_err("op=backup_drill error=\"%s\", left behind", e.text);
	}
}

static void drill_say(struct backup_job *job, char *to, size_t bytes, const char *text)
{
	(void)pthread_mutex_lock(&job->lock);
	(void)snprintf(to, bytes, "%s", text);
	(void)pthread_mutex_unlock(&job->lock);
}

static void drill_trouble(struct backup_job *job, const char *text)
{
	log_err("op=backup_drill error=\"%s\", retrying", text);
	drill_say(job, job->drill.trouble, sizeof job->drill.trouble, text);
}

void backup_drill_keys(struct backup_job *job, const struct key_pub *pub)
{
	const struct config *c = job->config;
	const char *files[] = {c->backup_drill_key_file, c->backup_drill_key_old_file};
	struct backup_key_set keys = {.n = 0};
	const struct key *key;
	struct err e = {0};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(files); i++) {
		rc = files[i] == NULL ? 0 : backup_key_set_load(&keys, files[i], &e);
	}
	if (rc == 0 && keys.n > 0) {
		rc = backup_key_set_find(&keys, key_pub_kid(pub), &key, &e);
	}
	rc = rc == 0 ? 0 : err_wrap(&e, rc, "[backup] 'drill_key'");
	backup_key_set_release(&keys);
	drill_say(
		job, job->drill.key_trouble, sizeof job->drill.key_trouble, rc == 0 ? "" : e.text);
}

/* Journal increments go when a later cycle is confirmed, also while one is restored. */
static bool drill_overtaken(const struct backup_job *job)
{
	return job->drill.minute != 0 &&
	       job->watch.summary.newest.index >= job->drill.minute; /* Of this thread. */
}

static void drill_found(struct backup_job *job, bool good)
{
	struct backup_drill *drill = &job->drill;
	_cleanup_(x_freep) char *text =
		drill->minute == 0 ? x_strdup(drill->text)
				   : x_asprintf("journal increment of index %llu: %s",
					     (unsigned long long)drill->minute, drill->text);

	drill->overtaken = !good && drill_overtaken(job);
	if (drill->overtaken) {
		log_warn("op=backup_drill state=overtaken error=\"%s\", retrying", text);
		return;
	}
	drill_say(job, drill->trouble, sizeof drill->trouble, "");
	backup_watch_found(job, drill->hash, CHECK_LEVEL_DRILL, good, text);
	log_info("op=backup_drill state=%s", good ? "good" : "bad");
}

/* It has ended and all that it said was read. What ends in another way says nothing of the
 * snapshot: no room, no key. */
static void drill_ended(struct backup_job *job)
{
	struct backup_drill *drill = &job->drill;
	bool good = drill->status == 0, bad = drill->status == DRILL_FAILED;

	if (drill->signal == 0 && (good || bad)) {
		drill_found(job, good);
	} else if (!job->closing) {
		_cleanup_(x_freep) char *text = x_asprintf("status %lld, signal %d: %s",
			(long long)drill->status, drill->signal, drill->text);

		drill_trouble(job, text);
	}
	if (drill->signal != 0) {
		backup_drill_clear(job);
	}
	drill_close(drill);
}

static void drill_exit_cb(uv_process_t *process, int64_t status, int signal_number)
{
	struct backup_job *job = process->data;

	job->drill.status = status;
	job->drill.signal = signal_number;
	job->drill.exited = true;
	if (job->drill.read_all) {
		drill_ended(job);
	}
}

static void drill_alloc_cb(uv_handle_t *handle, size_t wanted, uv_buf_t *buf)
{
	struct backup_job *job = handle->data;

	(void)wanted;
	*buf = uv_buf_init(job->drill.chunk, sizeof job->drill.chunk);
}

/* Of the last line, which says why it failed, the beginning is enough. */
static void drill_keep(struct backup_drill *drill, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (drill->line_ended) {
			drill->text_len = 0;
			memset(drill->text, 0, sizeof drill->text);
		}
		drill->line_ended = text[i] == '\n';
		if (!drill->line_ended && drill->text_len < sizeof drill->text - 1) {
			drill->text[drill->text_len++] = text[i];
		}
	}
}

static void drill_read_cb(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct backup_job *job = stream->data;
	struct backup_drill *drill = &job->drill;

	if (n > 0) {
		drill_keep(drill, buf->base, (size_t)n);
	}
	if (n < 0) {
		(void)uv_read_stop(stream); /* Always 0. */
		drill->read_all = true;
		if (drill->exited) {
			drill_ended(job);
		}
	}
}

static int drill_spawn(struct backup_job *job)
{
	const struct config *c = job->config;
	char hash[HEX_LEN(HASH_BYTES) + 1];
	const char *older = c->backup_drill_key_old_file;
	char parent[16];
	const char *words[] = {"kluisd", "drill", "--config", c->file, "--snapshot", hash,
		"--key-file", c->backup_drill_key_file, "--parent", parent,
		older == NULL ? NULL : "--key-file", older, NULL};
	uv_stdio_container_t stdio[] = {{.flags = UV_IGNORE}, {.flags = UV_IGNORE},
		{.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
			.data.stream = (uv_stream_t *)&job->drill.out}};
	uv_process_options_t options = {.file = "/proc/self/exe",
		.args = (char **)(uintptr_t)words,
		.stdio = stdio,
		.stdio_count = 3,
		.exit_cb = drill_exit_cb};

	hex_encode(bytes_of(job->drill.point, HASH_BYTES), hash);
	(void)snprintf(parent, sizeof parent, "%d", (int)getpid());
	return uv_spawn(job->timer.loop, &job->drill.process, &options);
}

void backup_drill_start(struct backup_job *job)
{
	struct backup_drill *drill = &job->drill;
	int rv = uv_pipe_init(job->timer.loop, &drill->out, 0);

	assert(rv == 0 && !drill->running); /* It allocates nothing. */
	drill->line_ended = true;
	drill->text[0] = 0;
	drill->exited = drill->read_all = false;
	drill->running = true;
	drill->open_handles = 2;
	drill->out.data = drill->process.data = job;
	rv = drill_spawn(job);
	if (rv != 0) {
		drill_trouble(job, uv_strerror(rv));
		drill_close(drill);
		return;
	}
	log_info("op=backup_drill state=begun minute=%llu", (unsigned long long)drill->minute);
	(void)uv_read_start(
		(uv_stream_t *)&drill->out, drill_alloc_cb, drill_read_cb); /* A pipe. */
}

void backup_drill_close(struct backup_job *job)
{
	assert(job->closing);
	if (job->drill.running && uv_is_active((uv_handle_t *)&job->drill.process)) {
		(void)uv_process_kill(
			&job->drill.process, SIGKILL); /* It may have ended just now. */
	}
}

/* --- when ------------------------------------------------------------------------------------ */

/* A restored store lies beside this node's own, whose disk is not to become full by it. */
static bool drill_has_room(
	struct backup_job *job, const struct replica_status *status, struct kv *kv)
{
	_cleanup_(x_freep) char *text = NULL;
	struct kv_stats stats;
	uint64_t wanted;

	kv_stats(kv, &stats);
	wanted = stats.data_bytes + stats.data_bytes / 4 + status->floor_bytes;
	if (status->free_bytes >= wanted) {
		return true;
	}
	text = x_asprintf("no room for a second store: %llu MiB are free, it takes %llu",
		(unsigned long long)(status->free_bytes >> 20), (unsigned long long)(wanted >> 20));
	drill_trouble(job, text);
	return false;
}

static bool drill_is_due(const struct backup_job *job, const struct proof_facts *facts)
{
	bool again = job->drill.trouble[0] != 0; /* Written by this thread. */

	return again ? proof_snapshot(facts, job->config->id) != NULL
		     : proof_due(facts, job->config->id);
}

void backup_drill_choose(struct backup_job *job, const struct snapshot_row *row)
{
	const struct journal_row *journal = &job->journal.row;
	struct backup_drill *drill = &job->drill;
	bool minute = !drill->overtaken && proof_minute(journal, row, job->config->id);

	memcpy(drill->hash, row->manifest_hash, HASH_BYTES);
	memcpy(drill->point, minute ? journal->confirmed_hash : row->manifest_hash, HASH_BYTES);
	drill->minute = minute ? journal->confirmed_index : 0;
}

void backup_drill_look(struct backup_job *job, struct kv *kv, const struct replica_status *status,
	const struct snapshot_row *rows, size_t n)
{
	struct backup_drill *drill = &job->drill;
	const struct backup_summary *known = &job->watch.summary; /* Written by this thread. */
	const struct proof_facts facts = {.rows = rows,
		.n_rows = n,
		.checks = known->checks,
		.n_checks = known->n_checks,
		.nodes = known->nodes,
		.n_nodes = known->n_nodes,
		.now_ms = status->cluster_now_ms};

	if (drill->running || job->config->backup_drill_key_file == NULL || !job->watch.known ||
		status->quarantined || backup_job_now() < drill->next_ms ||
		!drill_is_due(job, &facts)) {
		return;
	}
	drill->next_ms = backup_job_now() + PROOF_RETRY_MS;
	if (drill_has_room(job, status, kv)) {
		backup_drill_choose(job, proof_snapshot(&facts, job->config->id));
		backup_drill_start(job);
	}
}
