/* kluisctl backup drill: restores a snapshot into a scratch directory and boots it there, which is
 * kluisd's part, and has the cluster remember that it worked. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/ops/offline.h"
#include "cli/ops/ops.h"
#include "cli/ui/progress.h"

enum { DRILL_WORDS_MAX = 16 + 2 * BACKUP_KEYS_MAX, DRILL_TEXT_BYTES_MAX = 4096 };
enum { DRILL_BUSY = 11, DRILL_BAD = 14 }; /* kluisd's exit codes. */
enum { DRILL_BY_SIGNAL = 128 };		  /* Ours, and the number, as a shell has it. */

extern char **environ;

static const struct output_column drill_columns[] = {{"id", "Snapshot", OUTPUT_TEXT},
	{"index", "Index", OUTPUT_TEXT}, {"snapshots", "Snapshots in the point", OUTPUT_TEXT},
	{"rows", "Rows", OUTPUT_TEXT}, {"compared", "Compared in the booted node", OUTPUT_TEXT},
	{"bytes", "Bytes", OUTPUT_BYTES}, {"ms", "Took", OUTPUT_MS},
	{"recorded", "Recorded in the cluster", OUTPUT_TEXT},
	{"unrecorded", "Why not", OUTPUT_TEXT}};

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

/* --- signals ----------------------------------------------------------------------------------
 */

/* Who ends us means the drill, too, which then ends by itself and leaves nothing; we stay until it
 * has. */
static const int drill_signals[] = {SIGINT, SIGTERM, SIGHUP};
static volatile sig_atomic_t drill_child, drill_signalled;

static void drill_forward(int number)
{
	int before = errno;

	drill_signalled = number;
	if (drill_child > 0) {
		(void)kill(drill_child, number);
	}
	errno = before;
}

/* What is ignored, as under nohup, stays so. Blocked until it is known whom to tell. *ret_before:
 * as it was. */
static void drill_catch(struct sigaction old[ARRAY_SIZE(drill_signals)], sigset_t *ret_before)
{
	const struct sigaction action = {.sa_handler = drill_forward, .sa_flags = SA_RESTART};
	sigset_t blocked;

	drill_child = drill_signalled = 0;
	(void)sigemptyset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(drill_signals); i++) {
		(void)sigaddset(&blocked, drill_signals[i]);
		(void)sigaction(drill_signals[i], NULL, &old[i]);
		if (old[i].sa_handler != SIG_IGN) {
			(void)sigaction(drill_signals[i], &action, NULL);
		}
	}
	(void)sigprocmask(SIG_BLOCK, &blocked, ret_before);
}

static void drill_release(const struct sigaction old[ARRAY_SIZE(drill_signals)])
{
	drill_child = 0;
	for (size_t i = 0; i < ARRAY_SIZE(drill_signals); i++) {
		(void)sigaction(drill_signals[i], &old[i], NULL);
	}
}

/* --- the process ------------------------------------------------------------------------------
 */

/* Its standard output comes back, errors go where ours go. mask: of its signals. */
static int drill_spawn(const char *const *words, int out, const sigset_t *mask, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int rv = posix_spawn_file_actions_init(&actions);

	if (rv != 0) {
		return rv;
	}
	rv = posix_spawnattr_init(&attributes);
	if (rv == 0) {
		rv = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
		rv = rv != 0 ? rv : posix_spawnattr_setsigmask(&attributes, mask);
		rv = rv != 0 ? rv : posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
		rv = rv != 0 ? rv
			     : posix_spawnp(ret_pid, words[0], &actions, &attributes,
				       (char *const *)(uintptr_t)words, environ);
		(void)posix_spawnattr_destroy(&attributes);
	}
	(void)posix_spawn_file_actions_destroy(&actions);
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
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;

	if (drill_signalled != 0) {
		inv->exit_code = DRILL_BY_SIGNAL + drill_signalled;
		return err_set(&inv->err, KLUIS_ECLOSED, "the drill was stopped by signal %d",
			(int)drill_signalled);
	}
	if (code == DRILL_BUSY) {
		return err_set(&inv->err, KLUIS_EBUSY,
			"there is no drill: kluisd says above who is at it (--scratch names "
			"another directory)");
	}
	return err_set(&inv->err, code == DRILL_BAD ? KLUIS_EVERIFY : KLUIS_EIO,
		"the drill has failed: kluisd says why above");
}

/* Its exit status, and what it wrote; < 0: it could not be run. */
static int drill_follow(struct invocation *inv, const char *const *words, struct buf *text)
{
	struct sigaction old[ARRAY_SIZE(drill_signals)];
	sigset_t before;
	int fds[2], status = 0, rv;
	pid_t pid = 0;

	if (pipe2(fds, O_CLOEXEC) != 0) {
		return err_set_errno(&inv->err, errno, "pipe");
	}
	drill_catch(old, &before);
	rv = drill_spawn(words, fds[1], &before, &pid);
	drill_child = rv == 0 ? pid : 0;
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	(void)close(fds[1]);
	if (rv == 0) {
		drill_read(fds[0], text);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
		}
	}
	drill_release(old);
	(void)close(fds[0]);
	return rv == 0 ? status : err_set_errno(&inv->err, rv, "run '%s'", words[0]);
}

static int drill_exec(struct invocation *inv, const char *const *words, json_t **ret_report)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	int status = drill_follow(inv, words, &text);

	if (status != 0) {
		return status < 0 ? status : drill_failed(inv, status);
	}
	*ret_report = json_loadb((const char *)text.data, text.len, 0, NULL);
	return json_is_object(*ret_report)
		       ? 0
		       : err_set(&inv->err, KLUIS_EPROTO, "kluisd drill: no report");
}

/* --- the cluster's record ---------------------------------------------------------------------
 */

/* What is drilled, and whether the cluster is told. */
struct drill {
	struct invocation *inv;
	struct offline offline;
	struct offline_snapshot snapshot;
	bool own;	  /* The very directory that the node of the settings has. */
	char *unrecorded; /* Why the cluster is not told; NULL: it is. */
};

static bool drill_is_own(const struct offline *o)
{
	struct stat drilled, own;

	return o->config->repository != NULL &&
	       stat(repository_path(o->repository), &drilled) == 0 &&
	       stat(o->config->repository, &own) == 0 && drilled.st_dev == own.st_dev &&
	       drilled.st_ino == own.st_ino;
}

static void drill_say_unrecorded(struct drill *d)
{
	output_warning(&d->inv->out, "this drill is not recorded: %s", d->unrecorded);
}

/* The node that is asked writes it down as found at its site: so the copies must be its own, or
 * taken from there. */
static int drill_ask(struct drill *d)
{
	struct invocation *inv = d->inv;
	const struct offline *o = &d->offline;
	uint64_t of, node;
	json_t *status = NULL;
	int rc;

	d->own = drill_is_own(o);
	of = o->node != 0 ? o->node : d->own ? o->config->node : 0;
	if (of == 0) {
		d->unrecorded = x_asprintf("whose copies '%s' has is not known, for no node of the "
					   "settings has signed a deletion journal there",
			repository_path(o->repository));
		return 0;
	}
	rc = ops_call(inv, "GET", "/v1/sys/status", NULL, &status);
	if (rc != 0) {
		return err_wrap(&inv->err, rc,
			"the node that is to record the drill (--no-record: it need not be)");
	}
	node = (uint64_t)json_integer_value(json_object_get(status, "node"));
	json_decref(status);
	if (node != of) {
		d->unrecorded = x_asprintf("the copies in '%s' are those of node %llu, the node "
					   "that was asked is %llu",
			repository_path(o->repository), (unsigned long long)of,
			(unsigned long long)node);
	}
	return 0;
}

/* Good or bad; only of the very snapshot that the cluster knows by this number. */
static int drill_record(struct drill *d, bool ok)
{
	const struct offline_snapshot *snapshot = &d->snapshot;
	_cleanup_(x_freep) char *target = x_asprintf(
		"/v1/sys/snapshots/%llu/checks", (unsigned long long)snapshot->manifest.id);
	json_t *answer = NULL;
	int rc;

	if (!ok && !d->own && d->unrecorded == NULL) {
		d->unrecorded = x_strdup("it was a copy of the site's, which may have been damaged "
					 "since it was made");
		drill_say_unrecorded(d);
	}
	if (d->unrecorded != NULL) {
		return 0;
	}
	rc = ops_call(d->inv, "POST", target,
		json_pack("{s:i, s:b, s:o, s:s}", "level", 4, "ok", ok, "manifest_hash",
			json_hex(bytes_of(snapshot->hash, HASH_BYTES)), "text",
			ok ? "" : "a drill has failed: kluisctl backup drill said why"),
		&answer);
	json_decref(answer);
	return rc;
}

static void drill_print(const struct drill *d, json_t *report, bool recorded)
{
	(void)json_object_set_new(report, "recorded", json_boolean(recorded));
	if (d->unrecorded != NULL) {
		(void)json_object_set_new(report, "unrecorded", json_string(d->unrecorded));
	}
	output_record(&d->inv->out, drill_columns, ARRAY_SIZE(drill_columns), report);
}

static int drill_run(struct drill *d)
{
	_cleanup_(json_dropp) json_t *report = NULL;
	_cleanup_(x_freep) char *kluisd = drill_kluisd(d->inv);
	struct invocation *inv = d->inv;
	char hash[HEX_LEN(HASH_BYTES) + 1];
	const char *words[DRILL_WORDS_MAX];
	struct progress progress;
	struct err found;
	int rc, recorded = 0;

	hex_encode(bytes_of(d->snapshot.hash, HASH_BYTES), hash);
	drill_words(inv, &d->offline, kluisd, hash, words);
	progress_init_waiting(&progress, &inv->out, "drill");
	rc = drill_exec(inv, words, &report);
	progress_release(&progress);
	found = inv->err;
	if (rc == 0 || rc == KLUIS_EVERIFY) {
		recorded = drill_record(d, rc == 0);
	}
	if (report != NULL) {
		drill_print(d, report, recorded == 0 && d->unrecorded == NULL);
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

static int drill_begin(struct drill *d)
{
	struct invocation *inv = d->inv;
	int rc = 0;

	if (invocation_value(inv, "no-record") != NULL) {
		d->unrecorded = x_strdup("--no-record");
		return 0;
	}
	rc = drill_ask(d);
	if (rc == 0 && d->unrecorded != NULL) {
		drill_say_unrecorded(d);
	}
	return rc;
}

int ops_backup_drill(struct invocation *inv)
{
	struct drill d = {.inv = inv};
	const char *key;
	int rc = ops_needed(inv, "key-file", &key);

	rc = rc != 0 ? rc : offline_open(inv, &d.offline);
	if (rc != 0) {
		return rc;
	}
	rc = offline_find(inv, &d.offline, inv->n_args > 0 ? inv->args[0] : NULL, &d.snapshot);
	if (rc == 0) {
		rc = drill_begin(&d);
		rc = rc != 0 ? rc : drill_run(&d);
		backup_manifest_release(&d.snapshot.manifest);
	}
	free(d.unrecorded);
	offline_release(&d.offline);
	return rc;
}
