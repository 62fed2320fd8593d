/* kluisd: one node of a cluster, and the few things that are done to a node before it runs. */
#include <argp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/fault.h"
#include "crypto/pki.h"
#include "crypto/secret.h"
#include "node/config.h"
#include "node/daemon.h"
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
	OPT_FOR
};

struct kluisd_args {
	const char *command; /* NULL: run. */
	const char *config_path, *certificate;
	struct init_options init;
};

const char *argp_program_version = "kluisd " KLUIS_VERSION;

static const struct argp_option kluisd_options[] = {
	{"config", 'c', "FILE", 0, "settings of this node (default /etc/kluis/kluisd.ini)", 0},
	{"new-secrets", OPT_NEW_SECRETS, NULL, 0,
		"init: make the cluster's secrets (at its first site)", 1},
	{"secrets", OPT_SECRETS, "FILE", 0, "init: take the secrets that seal-secrets printed", 1},
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
	"  seal-secrets   print the cluster's secrets, sealed to another node's certificate\n\n"
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

static int kluisd_seal_secrets(const struct config *config, const char *certificate, struct err *e)
{
	_cleanup_(buf_release) struct buf cert = BUF_INIT;
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct secrets secrets;
	int rc;

	if (certificate == NULL) {
		return err_set(e, KLUIS_EINVAL, "seal-secrets needs --for CERT");
	}
	rc = secrets_read(config->secrets_file, config->cluster_id, &secrets, e);
	if (rc != 0) {
		return rc;
	}
	rc = file_read(certificate, PKI_PEM_BYTES_MAX, &cert, e);
	rc = rc != 0 ? rc : secrets_seal(&secrets, buf_bytes(&cert), &random_system, &text, e);
	secrets_release(&secrets);
	if (rc == 0 && fputs(buf_str(&text), stdout) == EOF) {
		rc = err_set(e, KLUIS_EIO, "cannot write to standard output");
	}
	return rc;
}

static int kluisd_dispatch(
	const struct kluisd_args *args, const struct config *config, struct err *e)
{
	if (args->command == NULL) {
		return daemon_run(config, args->config_path, e);
	}
	if (strcmp(args->command, "init") == 0) {
		int rc = preflight_config(config, clock_wall_ms(&clock_system), NULL, e);

		if (rc == 0 && args->init.join && (args->init.restored || args->init.new_secrets)) {
			rc = err_set(e, KLUIS_EINVAL,
				"--join: a cluster that runs has its secrets and its data");
		}
		rc = rc != 0 ? rc : init_run(config, &args->init, e);
		return rc != 0 || !args->init.join ? rc : init_print_add(config, e);
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
		return kluisd_seal_secrets(config, args->certificate, e);
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
	return err_exit_code(rc) == 0 ? 0 : err_exit_code(rc) == 2 ? 2 : 1;
}
