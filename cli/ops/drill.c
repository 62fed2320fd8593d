/* kluisctl backup drill: restores a snapshot into a scratch directory and boots it there, which is
 * kluisd's part, and has the cluster remember that it worked. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/ops/offline.h"
#include "cli/ops/ops.h"
#include "cli/ui/progress.h"

enum { DRILL_WORDS_MAX = 16 + 2 * BACKUP_KEYS_MAX, DRILL_TEXT_BYTES_MAX = 4096 };
enum { DRILL_BUSY = 11, DRILL_BAD = 14 }; /* kluisd's exit codes. */

extern char **environ;

static const struct output_column drill_columns[] = {{"id", "Snapshot", OUTPUT_TEXT},
	{"index", "Index", OUTPUT_TEXT}, {"snapshots", "Snapshots in the point", OUTPUT_TEXT},
	{"rows", "Rows", OUTPUT_TEXT}, {"compared", "Compared in the booted node", OUTPUT_TEXT},
	{"bytes", "Bytes", OUTPUT_BYTES}, {"ms", "Took", OUTPUT_MS},
	{"recorded", "Recorded in the cluster", OUTPUT_TEXT}};

/* The one that was named, or kluisd beside this program, as it is installed. */
static char *drill_kluisd(const struct invocation *inv)
{
	const char *named = invocation_value(inv, "kluisd");
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	const char *slash;
	char *beside;

	if (named != NULL) {
		return x_strdup(named);
	}
	if (n <= 0) {
		return x_strdup("kluisd");
	}
	path[n] = 0;
	slash = strrchr(path, '/');
	beside = x_asprintf("%.*s/kluisd", slash == NULL ? 0 : (int)(slash - path), path);
	if (access(beside, X_OK) == 0) {
		return beside;
	}
	free(beside);
	return x_strdup("kluisd");
}

static void drill_words(struct invocation *inv, const struct offline *o, const char *kluisd,
	const char *hash, const char *words[DRILL_WORDS_MAX])
{
	const char *key, *scratch = invocation_value(inv, "scratch");
	size_t n = 0;

	words[n++] = kluisd;
	words[n++] = "drill";
	words[n++] = "--config";
	words[n++] = invocation_value(inv, "config");
	words[n++] = "--repository";
	words[n++] = repository_path(o->repository);
	words[n++] = "--snapshot";
	words[n++] = hash;
	if (scratch != NULL) {
		words[n++] = "--scratch";
		words[n++] = scratch;
	}
	for (size_t i = 0;
		i < BACKUP_KEYS_MAX && (key = invocation_value_at(inv, "key-file", i)) != NULL;
		i++) {
		words[n++] = "--key-file";
		words[n++] = key;
	}
	words[n] = NULL;
}

/* Its standard output comes back, errors go where ours go. */
static int drill_spawn(const char *const *words, int out, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	int rv = posix_spawn_file_actions_init(&actions);

	if (rv == 0) {
		rv = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
		rv = rv != 0 ? rv
			     : posix_spawnp(ret_pid, words[0], &actions, NULL,
				       (char *const *)(uintptr_t)words, environ);
		(void)posix_spawn_file_actions_destroy(&actions);
	}
	return rv;
}

static void drill_read(int fd, struct buf *to)
{
	char chunk[512];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof chunk)) != 0) {
		if (n < 0 && errno != EINTR) {
			return;
		}
		if (n > 0 && to->len + (size_t)n <= DRILL_TEXT_BYTES_MAX) {
			buf_append(to, chunk, (size_t)n);
		}
	}
}

static int drill_failed(struct invocation *inv, int status)
{
	if (status == DRILL_BUSY) {
		return err_set(&inv->err, KLUIS_EBUSY,
			"there is no drill: kluisd says above who is at it (--scratch names "
			"another directory)");
	}
	return err_set(&inv->err, status == DRILL_BAD ? KLUIS_EVERIFY : KLUIS_EIO,
		"the drill has failed: kluisd says why above");
}

static int drill_exec(struct invocation *inv, const char *const *words, json_t **ret_report)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	int fds[2], status, rv;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0) {
		return err_set_errno(&inv->err, errno, "pipe");
	}
	rv = drill_spawn(words, fds[1], &pid);
	(void)close(fds[1]);
	if (rv != 0) {
		(void)close(fds[0]);
		return err_set_errno(&inv->err, rv, "run '%s'", words[0]);
	}
	drill_read(fds[0], &text);
	(void)close(fds[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		return drill_failed(inv, WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	*ret_report = json_loadb((const char *)text.data, text.len, 0, NULL);
	return json_is_object(*ret_report)
		       ? 0
		       : err_set(&inv->err, KLUIS_EPROTO, "kluisd drill: no report");
}

/* Good or bad; only of the very snapshot that the cluster knows by this number. */
static int drill_record(struct invocation *inv, const struct offline_snapshot *snapshot, bool ok)
{
	_cleanup_(x_freep) char *target = x_asprintf(
		"/v1/sys/snapshots/%llu/checks", (unsigned long long)snapshot->manifest.id);
	json_t *answer = NULL;
	int rc = ops_call(inv, "POST", target,
		json_pack("{s:i, s:b, s:o, s:s}", "level", 4, "ok", ok, "manifest_hash",
			json_hex(bytes_of(snapshot->hash, HASH_BYTES)), "text",
			ok ? "" : "a drill has failed: kluisctl backup drill said why"),
		&answer);

	json_decref(answer);
	return rc;
}

static int drill_run(
	struct invocation *inv, const struct offline *o, const struct offline_snapshot *snapshot)
{
	_cleanup_(json_dropp) json_t *report = NULL;
	_cleanup_(x_freep) char *kluisd = drill_kluisd(inv);
	char hash[HEX_LEN(HASH_BYTES) + 1];
	const char *words[DRILL_WORDS_MAX];
	struct progress progress;
	struct err found;
	int rc, recorded = 0;

	hex_encode(bytes_of(snapshot->hash, HASH_BYTES), hash);
	drill_words(inv, o, kluisd, hash, words);
	progress_init_waiting(&progress, &inv->out, "drill");
	rc = drill_exec(inv, words, &report);
	progress_release(&progress);
	found = inv->err;
	if (invocation_value(inv, "no-record") == NULL && (rc == 0 || rc == KLUIS_EVERIFY)) {
		recorded = drill_record(inv, snapshot, rc == 0);
	}
	if (report != NULL) {
		(void)json_object_set_new(report, "recorded",
			json_boolean(recorded == 0 && invocation_value(inv, "no-record") == NULL));
		output_record(&inv->out, drill_columns, ARRAY_SIZE(drill_columns), report);
	}
	if (rc != 0) {
		inv->err = found;
		return rc;
	}
	return recorded == 0 ? 0
			     : err_wrap(&inv->err, recorded,
				       "the drill was good, but is not recorded (--no-record: it "
				       "need not be)");
}

int ops_backup_drill(struct invocation *inv)
{
	_cleanup_(offline_release) struct offline o = {.config = NULL};
	struct offline_snapshot found;
	const char *key;
	int rc = ops_needed(inv, "key-file", &key);

	rc = rc != 0 ? rc : offline_open(inv, &o);
	rc = rc != 0 ? rc : offline_find(inv, &o, inv->n_args > 0 ? inv->args[0] : NULL, &found);
	if (rc != 0) {
		return rc;
	}
	rc = drill_run(inv, &o, &found);
	backup_manifest_release(&found.manifest);
	return rc;
}
