#include "node/init.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "crypto/hash.h"
#include "crypto/pki.h"
#include "node/identity.h"
#include "node/preflight.h"
#include "node/secrets.h"
#include "raft/replica.h"
#include "storage/cluster_store.h"
#include "storage/server_store.h"

static int init_secrets_open(const struct config *config, const struct init_options *options,
	struct bytes text, struct secrets *ret_secrets, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf key = BUF_INIT;
	int rc;

	if (options->keys != NULL) {
		return secrets_open_offline(text, options->keys, ret_secrets, e);
	}
	rc = file_read(config->link_key_file, PKI_PEM_BYTES_MAX, &key, e);
	return rc != 0 ? rc : secrets_open(text, buf_bytes(&key), ret_secrets, e);
}

static int init_secrets_from(const struct config *config, const struct init_options *options,
	struct secrets *ret_secrets, struct err *e)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	int rc = file_read(options->sealed_file, 2 * SECRETS_SEALED_BYTES_MAX, &text, e);

	rc = rc != 0 ? rc : init_secrets_open(config, options, buf_bytes(&text), ret_secrets, e);
	if (rc != 0) {
		return err_wrap(e, rc, "secrets of '%s'", options->sealed_file);
	}
	if (memcmp(ret_secrets->cluster_id, config->cluster_id, SECRETS_CLUSTER_BYTES) != 0) {
		secrets_release(ret_secrets);
		rc = err_set(e, KLUIS_EINVAL, "'%s' holds the secrets of another cluster",
			options->sealed_file);
	}
	return rc;
}

/* Those that stand already, of an init that did not end, are as good when they are the same. */
static int init_secrets_put(const struct config *config, const struct secrets *secrets,
	const struct init_options *options, struct err *e)
{
	struct secrets there;
	bool same;

	if (options->new_secrets || !file_exists(config->secrets_file) ||
		secrets_read(config->secrets_file, config->cluster_id, &there, NULL) != 0) {
		return secrets_write(secrets, config->secrets_file, e);
	}
	same = secrets_equal(secrets, &there);
	secrets_release(&there);
	return same ? 0
		    : err_set(e, KLUIS_EEXIST,
			      "the secrets file '%s' is there and is not that of '%s': look which "
			      "is the cluster's, and move the other one away",
			      config->secrets_file, options->sealed_file);
}

/* Sees to it that the secrets file stands and can be read. */
static int init_secrets(
	const struct config *config, const struct init_options *options, struct err *e)
{
	struct secrets secrets;
	int rc = 0;

	if (options->new_secrets) {
		secrets_make(config->cluster_id, &random_system, &secrets);
	} else if (options->sealed_file != NULL) {
		rc = init_secrets_from(config, options, &secrets, e);
	} else {
		rc = secrets_read(config->secrets_file, config->cluster_id, &secrets, e);
		if (rc == KLUIS_ENOTFOUND) {
			return err_set(e, rc,
				"no secrets at '%s': --new-secrets at the cluster's first site, "
				"--secrets FILE elsewhere",
				config->secrets_file);
		}
	}
	if (rc == 0) {
		if (options->new_secrets || options->sealed_file != NULL) {
			rc = init_secrets_put(config, &secrets, options, e);
		}
		secrets_release(&secrets);
	}
	return rc;
}

static void init_servers(const struct config *config, struct replica_server servers[SITES_MAX])
{
	for (size_t i = 0; i < config->n_sites; i++) {
		const struct config_site *site = &config->sites[i];

		servers[i] = (struct replica_server){
			.id = site->id, .vote = site->standby ? REPLICA_STANDBY : REPLICA_VOTER};
		address_format(&site->link, servers[i].address);
	}
}

/* The lineage that the restored store carries. */
static int init_restored_lineage(
	const struct config *config, uint8_t ret_lineage[IDENTITY_ID_BYTES], struct err *e)
{
	_cleanup_(x_freep) char *dir = x_asprintf("%s/db", config->data_dir);
	const struct kv_options options = {.read_only = true};
	struct cluster_row row;
	struct kv_view *view;
	struct kv *kv;
	int rc = kv_rocksdb_open(dir, &options, &kv, e);

	if (rc != 0) {
		return err_wrap(e, rc, "no restored store in '%s'", config->data_dir);
	}
	view = kv_view_new(kv);
	rc = cluster_store_get(view, &row, e);
	kv_view_free(view);
	kv_close(kv);
	if (rc == 0 && memcmp(row.cluster_id, config->cluster_id, sizeof row.cluster_id) != 0) {
		rc = err_set(e, KLUIS_EINVAL, "the restored store in '%s' is of another cluster",
			config->data_dir);
	}
	if (rc == 0) {
		memcpy(ret_lineage, row.lineage, IDENTITY_ID_BYTES);
	}
	return rc;
}

/* The log that the node begins with. */
static int init_log(const struct config *config, const struct init_options *options, struct err *e)
{
	struct replica_server servers[SITES_MAX];
	_cleanup_(x_freep) char *log_dir = x_asprintf("%s/log", config->data_dir);
	_cleanup_(x_freep) char *peers = x_asprintf("%s/peers", config->data_dir);
	/* Of an init that did not end: there is no identity yet. */
	int rc = file_remove_tree(log_dir, e);

	rc = rc != 0 ? rc : file_remove_tree(peers, e);
	init_servers(config, servers);
	if (rc != 0) {
		return rc;
	}
	if (options->join) {
		return replica_bootstrap_joining(config->data_dir, config->id, e);
	}
	if (options->restored) {
		return replica_bootstrap_restored(
			config->data_dir, config->id, servers, (unsigned)config->n_sites, e);
	}
	return replica_bootstrap(
		config->data_dir, config->id, servers, (unsigned)config->n_sites, e);
}

static int init_joined_lineage(
	const char *lineage, uint8_t ret_lineage[IDENTITY_ID_BYTES], struct err *e)
{
	return hex_decode(lineage, ret_lineage, IDENTITY_ID_BYTES) == 0
		       ? 0
		       : err_set(e, KLUIS_EINVAL, "--lineage must be 32 hex digits");
}

int init_print_add(const struct config *config, struct err *e)
{
	_cleanup_(buf_release) struct buf hex = BUF_INIT;
	uint8_t incarnation[SERVER_INCARNATION_BYTES];
	char link[ADDRESS_TEXT_BYTES_MAX + 1];
	int rc = replica_incarnation(config->data_dir, config->id, incarnation, e);

	if (rc != 0) {
		return rc;
	}
	hex_append(&hex, bytes_of(incarnation, sizeof incarnation));
	address_format(&config_self(config)->link, link);
	(void)printf("kluisctl member add %llu --site %s --link %s --incarnation %s\n",
		(unsigned long long)config->id, config->site, link, buf_str(&hex));
	return 0;
}

int init_run(const struct config *config, const struct init_options *options, struct err *e)
{
	struct node_identity identity = {
		.node_id = config->id, .development = options->development};
	struct node_identity old;
	uint8_t first[HASH_BYTES];
	int rc = node_identity_read(config->data_dir, &old, NULL);

	/* A node whose secrets file was lost, or was another's and is moved away. */
	if (rc == 0 && options->sealed_file != NULL && !file_exists(config->secrets_file)) {
		return init_secrets(config, options, e);
	}
	if (rc != KLUIS_ENOTFOUND) {
		return err_set(e, rc == 0 ? KLUIS_EEXIST : rc,
			"'%s' is a node's data directory already", config->data_dir);
	}
	rc = options->development ? preflight_loopback(config, e) : 0;
	rc = rc != 0 ? rc : file_make_dirs(config->data_dir, 0700, e);
	rc = rc != 0 ? rc : init_secrets(config, options, e);
	memcpy(identity.cluster_id, config->cluster_id, IDENTITY_ID_BYTES);
	/* All first sites make the same one by themselves; a restore brings a random one. */
	HASH_TH(first, "kluis/v1/first-lineage", bytes_of(config->cluster_id, IDENTITY_ID_BYTES));
	memcpy(identity.lineage, first, IDENTITY_ID_BYTES);
	if (rc == 0 && options->join && options->lineage != NULL) {
		rc = init_joined_lineage(options->lineage, identity.lineage, e);
	}
	if (rc == 0 && options->restored) {
		rc = init_restored_lineage(config, identity.lineage, e);
	}
	rc = rc != 0 ? rc : init_log(config, options, e);
	return rc != 0 ? rc : node_identity_write(config->data_dir, &identity, e);
}
