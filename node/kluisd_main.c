/* kluisd: one node of a cluster, and the few things that are done to a node before it runs. */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/text.h"
#include "crypto/pki.h"
#include "crypto/secret.h"
#include "node/config.h"
#include "node/backup_job.h"
#include "node/daemon.h"
#include "node/drill.h"
#include "node/init.h"
#include "node/json.h"
#include "node/preflight.h"
#include "node/secrets.h"
#include "raft/replica.h"

enum {
	OPT_NEW_SECRETS = 256,
	OPT_SECRETS,
	OPT_RESTORED,
	OPT_JOIN,
	OPT_LINEAGE,
	OPT_DEVELOPMENT,
	OPT_FOR,
	OPT_FOR_BACKUP_KEY,
	OPT_REPOSITORY,
	OPT_SNAPSHOT,
	OPT_KEY_FILE,
	OPT_SCRATCH,
	OPT_PARENT
};
enum { DRILL_NICE = 10 };

struct kluisd_args {
	const char *command; /* NULL: run. */
	const char *config_path, *certificate, *backup_key;
	const char *repository, *snapshot, *scratch;
	const char *key_files[BACKUP_KEYS_MAX];
	size_t n_key_files;
	uint64_t parent; /* Process id; 0: any. */
	struct init_options init;
};

const char *argp_program_version = "kluisd " KLUIS_VERSION;

static const struct argp_option kluisd_options[] = {
	{"config", 'c', "FILE", 0, "settings of this node (default /etc/kluis/kluisd.ini)", 0},
	{"new-secrets", OPT_NEW_SECRETS, NULL, 0,
		"init: make the cluster's secrets (at its first site)", 1},
	{"secrets", OPT_SECRETS, "FILE", 0,
		"init: take the secrets that seal-secrets printed (also of a node that is made but "
		"has no secrets file); of the offline copy with --key-file",
		1},
	{"restored", OPT_RESTORED, NULL, 0, "init: begin with the store that kluisctl restore made",
		1},
	{"join", OPT_JOIN, NULL, 0, "init: a new member of a cluster that runs, to be added there",
		1},
	{"lineage", OPT_LINEAGE, "HEX", 0,
		"init --join: the cluster's lineage, if it was ever restored (kluisctl status -o "
		"json)",
		1},
	{"development", OPT_DEVELOPMENT, NULL, 0,
		"init: a directory that only ever serves on loopback", 1},
	{"for", OPT_FOR, "CERT", 0, "seal-secrets: the link certificate of the node they are for",
		2},
	{"for-backup-key", OPT_FOR_BACKUP_KEY, "FILE", 0,
		"seal-secrets: instead the offline copy, sealed to this public backup key "
		"(backup.pub)",
		2},
	{"snapshot", OPT_SNAPSHOT, "HASH", 0, "drill: the hash of its manifest, 64 digits", 3},
	{"key-file", OPT_KEY_FILE, "FILE", 0,
		"drill, init --secrets: a private backup key; may be given again", 3},
	{"repository", OPT_REPOSITORY, "DIR", 0,
		"drill: where the copies are (default: the settings')", 3},
	{"scratch", OPT_SCRATCH, "DIR", 0,
		"drill: new, made for it and removed (default 'drill' in the data directory)", 3},
	{"parent", OPT_PARENT, "PID", 0, "drill: started by this process, it does not live longer",
		3},
	{0},
};

static error_t kluisd_parse(int key, char *arg, struct argp_state *state)
{
	struct kluisd_args *args = state->input;

	switch (key) {
	case 'c':
		args->config_path = arg;
		return 0;
	case OPT_NEW_SECRETS:
		args->init.new_secrets = true;
		return 0;
	case OPT_SECRETS:
		args->init.sealed_file = arg;
		return 0;
	case OPT_RESTORED:
		args->init.restored = true;
		return 0;
	case OPT_JOIN:
		args->init.join = true;
		return 0;
	case OPT_LINEAGE:
		args->init.lineage = arg;
		return 0;
	case OPT_DEVELOPMENT:
		args->init.development = true;
		return 0;
	case OPT_FOR:
		args->certificate = arg;
		return 0;
	case OPT_FOR_BACKUP_KEY:
		args->backup_key = arg;
		return 0;
	case OPT_PARENT:
		if (u64_parse(bytes_str(arg), INT32_MAX, &args->parent) != 0 || args->parent == 0) {
			argp_error(state, "--parent: '%s' is no process id", arg);
		}
		return 0;
	case OPT_REPOSITORY:
		args->repository = arg;
		return 0;
	case OPT_SNAPSHOT:
		args->snapshot = arg;
		return 0;
	case OPT_SCRATCH:
		args->scratch = arg;
		return 0;
	case OPT_KEY_FILE:
		if (args->n_key_files == BACKUP_KEYS_MAX) {
			argp_error(state, "more than %d backup keys", BACKUP_KEYS_MAX);
		}
		args->key_files[args->n_key_files++] = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (args->command != NULL) {
			argp_error(
				state, "one command at a time: '%s' and '%s'", args->command, arg);
		}
		args->command = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int args_load_keys(
	const struct kluisd_args *args, struct backup_key_set *keys, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < args->n_key_files; i++) {
		rc = backup_key_set_load(keys, args->key_files[i], e);
	}
	return rc;
}

static const struct argp kluisd_argp = {kluisd_options, kluisd_parse, "[COMMAND]",
	"Run one node of a Kluis cluster, or prepare it.\v"
	"Commands:\n"
	"  (none)         run until SIGTERM (hands leadership over); SIGHUP reloads certificates "
	"and log level\n"
	"  init           make the data directory this node's\n"
	"  join-command   print the kluisctl command that lets in a node made by init --join\n"
	"  check-config   say whether the configuration would work\n"
	"  rebuild        give up a store that is damaged or in doubt: the next start has it made "
	"anew\n                 from a peer; refused unless the log is whole\n"
	"  drill          restore a snapshot into a scratch directory, boot it alone, compare, "
	"leave "
	"nothing\n                 (kluisctl backup drill runs it)\n"
	"  seal-secrets   print the cluster's secrets, sealed to another node's certificate or, "
	"as\n                 the offline copy that a restore begins with, to the backup key\n\n"
	"Exit status: 0 done, 1 failed, 2 usage, 70 a write to disk failed, 78 the other "
	"nodes\nrefuse this one: it was removed, or its directory was made anew or is an old "
	"copy (do not start it again).",
	NULL, NULL, NULL};

/* What `kluisd init` made, once it did: a configuration is checked before that, too. */
static int kluisd_check_node(const struct config *config, struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/identity", config->data_dir);
	struct node_identity identity;
	struct secrets secrets;
	int rc;

	if (!file_exists(path)) {
		(void)printf(
			"data directory '%s': not made yet, run kluisd init\n", config->data_dir);
		return 0;
	}
	rc = preflight_identity(config, &identity, e);
	rc = rc != 0 ? rc : secrets_read(config->secrets_file, config->cluster_id, &secrets, e);
	if (rc == 0) {
		secrets_release(&secrets);
	}
	return rc;
}

/* This runs before each start of the unit, too: what the disk of the backups answers keeps no node
 * from serving. */
static void kluisd_check_drop(const struct config *config)
{
	struct err e = {0};

	if (preflight_drop(config, &e) != 0) {
		(void)printf("warning: %s: no backups at this node until that is mended\n", e.text);
	}
}

static int kluisd_check(const struct config *config, struct err *e)
{
	struct expiry_certificate certificates[EXPIRY_CERTIFICATES_MAX];
	uint64_t wall_ms = clock_wall_ms(&clock_system);
	int rc = preflight_config(config, wall_ms, certificates, e);

	rc = rc != 0 ? rc : preflight_places(config, e);
	rc = rc != 0 ? rc : kluisd_check_node(config, e);
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(certificates); i++) {
		(void)printf("certificate of %s: %llu days left\n", certificates[i].name,
			(unsigned long long)expiry_days_left(
				certificates[i].not_after_ms, wall_ms));
	}
	if (rc == 0) {
		kluisd_check_drop(config);
		(void)printf("configuration of node %llu '%s': ok\n",
			(unsigned long long)config->id, config->site);
	}
	return rc;
}

static int kluisd_rebuild(const struct config *config, struct err *e)
{
	struct node_identity identity;
	int rc = preflight_identity(config, &identity, e);

	rc = rc != 0 ? rc : replica_give_up_store(config->data_dir, config->id, e);
	if (rc == 0) {
		(void)printf("the store of node %llu '%s' is given up; log and votes are whole and "
			     "stay: start kluisd, which fetches a peer's\n",
			(unsigned long long)config->id, config->site);
	}
	return rc;
}

static int seal_secrets_to(const struct kluisd_args *args, const struct secrets *secrets,
	struct buf *ret_text, struct err *e)
{
	_cleanup_(buf_release) struct buf cert = BUF_INIT;
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	int rc;

	if (args->certificate != NULL) {
		rc = file_read(args->certificate, PKI_PEM_BYTES_MAX, &cert, e);
		return rc != 0 ? rc
			       : secrets_seal(
					 secrets, buf_bytes(&cert), &random_system, ret_text, e);
	}
	rc = backup_key_load_public(args->backup_key, BACKUP_KEY_SEAL, &pub, e);
	return rc != 0 ? rc : secrets_seal_offline(secrets, pub, &random_system, ret_text, e);
}

static int kluisd_seal_secrets(
	const struct kluisd_args *args, const struct config *config, struct err *e)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct secrets secrets;
	int rc;

	if ((args->certificate == NULL) == (args->backup_key == NULL)) {
		return err_set(
			e, KLUIS_EINVAL, "seal-secrets needs --for CERT or --for-backup-key FILE");
	}
	rc = secrets_read(config->secrets_file, config->cluster_id, &secrets, e);
	if (rc != 0) {
		return rc;
	}
	rc = seal_secrets_to(args, &secrets, &text, e);
	secrets_release(&secrets);
	if (rc == 0 && (fputs(buf_str(&text), stdout) == EOF || fflush(stdout) != 0)) {
		rc = err_set(e, KLUIS_EIO, "cannot write to standard output");
	}
	return rc;
}

static int drill_print(const struct drill_report *report, struct err *e)
{
	int written = printf("{\"id\":\"%llu\",\"index\":%llu,\"snapshots\":%u,\"rows\":%llu,"
			     "\"compared\":%llu,\"bytes\":%llu,\"ms\":%llu}\n",
		(unsigned long long)report->id, (unsigned long long)report->index,
		report->snapshots, (unsigned long long)report->rows,
		(unsigned long long)report->compared, (unsigned long long)report->bytes,
		(unsigned long long)report->ms);

	return written > 0 && fflush(stdout) == 0
		       ? 0
		       : err_set(e, KLUIS_EIO, "cannot write to standard output");
}

/* It holds a private key: a node that is killed must not leave it running. */
static int drill_follow(uint64_t parent, struct err *e)
{
	if (parent == 0) {
		return 0;
	}
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
		return err_set_errno(
			e, errno, "cannot follow process %llu", (unsigned long long)parent);
	}
	return (uint64_t)getppid() == parent
		       ? 0
		       : err_set(e, KLUIS_ECLOSED, "process %llu, which started this, is gone",
				 (unsigned long long)parent);
}

static int kluisd_drill(const struct kluisd_args *args, const struct config *config, struct err *e)
{
	_cleanup_(backup_key_set_release) struct backup_key_set keys = {.n = 0};
	_cleanup_(backup_trust_release) struct backup_trust trust = {.n = 0};
	_cleanup_(x_freep) char *scratch = args->scratch != NULL
						   ? x_strdup(args->scratch)
						   : x_asprintf("%s/drill", config->data_dir);
	const char *dir =
		args->repository != NULL ? args->repository : config->backup_repository_dir;
	struct repository *repository = NULL;
	struct drill_report report;
	uint8_t hash[HASH_BYTES];
	struct drill_config drill = {.trust = &trust,
		.keys = &keys,
		.manifest_hash = hash,
		.scratch = scratch,
		.node_dir = config->data_dir,
		.node_runs = args->parent != 0, /* It ends with it. */
		.busy_bytes_per_second = config->backup_busy_kib * 1024,
		.leftover = args->scratch == NULL};
	int rc = drill_follow(args->parent, e);

	if (rc == 0 && args->n_key_files == 0) {
		rc = err_set(e, KLUIS_EINVAL, "drill needs --key-file FILE");
	}
	rc = rc != 0 ? rc : args_load_keys(args, &keys, e);
	if (rc == 0 &&
		(args->snapshot == NULL || hex_decode(args->snapshot, hash, sizeof hash) != 0)) {
		rc = err_set(e, KLUIS_EINVAL, "drill needs --snapshot HASH, 64 digits");
	}
	if (rc == 0 && dir == NULL) {
		rc = err_set(e, KLUIS_EINVAL, "--repository is needed: the settings name none");
	}
	rc = rc != 0 ? rc : backup_job_trust(config, &trust, e);
	rc = rc != 0 ? rc : repository_open(dir, &repository, e);
	if (rc == 0) {
		log_init("drill", LOG_LEVEL_WARN);
		/* It is in no hurry; a node beside it is. Refused, it is only less polite. */
		(void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + DRILL_NICE);
		drill.repository = repository;
		drill.cancel = drill_stop_by_signals();
		rc = drill_run(&drill, &report, e);
	}
	repository_close(repository);
	return rc != 0 ? rc : drill_print(&report, e);
}

static int kluisd_init(const struct kluisd_args *args, const struct config *config, struct err *e)
{
	_cleanup_(backup_key_set_release) struct backup_key_set keys = {.n = 0};
	struct init_options options = args->init;
	int rc = preflight_config(config, clock_wall_ms(&clock_system), NULL, e);

	rc = rc != 0 ? rc : preflight_drop(config, e);
	if (rc == 0 && options.join && (options.restored || options.new_secrets)) {
		rc = err_set(e, KLUIS_EINVAL,
			"--join: a cluster that runs has its secrets and its data");
	}
	if (rc == 0 && args->n_key_files > 0 && options.sealed_file == NULL) {
		rc = err_set(e, KLUIS_EINVAL,
			"init: --key-file opens the offline copy that --secrets FILE names");
	}
	rc = rc != 0 ? rc : args_load_keys(args, &keys, e);
	options.keys = keys.n > 0 ? &keys : NULL;
	rc = rc != 0 ? rc : init_run(config, &options, e);
	return rc != 0 || !options.join ? rc : init_print_add(config, e);
}

static int kluisd_dispatch(
	const struct kluisd_args *args, const struct config *config, struct err *e)
{
	if (args->command == NULL) {
		return daemon_run(config, args->config_path, e);
	}
	if (strcmp(args->command, "init") == 0) {
		return kluisd_init(args, config, e);
	}
	if (strcmp(args->command, "join-command") == 0) {
		return init_print_add(config, e);
	}
	if (strcmp(args->command, "check-config") == 0) {
		return kluisd_check(config, e);
	}
	if (strcmp(args->command, "rebuild") == 0) {
		return kluisd_rebuild(config, e);
	}
	if (strcmp(args->command, "seal-secrets") == 0) {
		return kluisd_seal_secrets(args, config, e);
	}
	if (strcmp(args->command, "drill") == 0) {
		return kluisd_drill(args, config, e);
	}
	return err_set(e, KLUIS_EINVAL, "no command '%s': kluisd --help", args->command);
}

int main(int argc, char **argv)
{
	struct kluisd_args args = {.config_path = "/etc/kluis/kluisd.ini"};
	struct config *config = NULL;
	struct err e = {0};
	int rc;

	argp_err_exit_status = err_exit_code(KLUIS_EINVAL);
	(void)argp_parse(&kluisd_argp, argc, argv, 0, NULL, &args); /* Exits on a usage error. */
	(void)umask(0077);
	secret_forbid_dumps();
	json_clear_freed();
	rc = config_load(&config, args.config_path, &e);
	rc = rc != 0 ? rc : kluisd_dispatch(&args, config, &e);
	config_free(config);
	if (rc != 0) {
		(void)fprintf(stderr, "kluisd: %s\n", e.text);
	}
	if (args.command != NULL && strcmp(args.command, "drill") == 0) {
		return err_exit_code(rc); /* As kluisctl's, which passes it on. */
	}
	return err_exit_code(rc) == 0 ? 0 : err_exit_code(rc) == 2 ? 2 : 1;
}
