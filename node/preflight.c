#include "node/preflight.h"

#include <string.h>

#include "backup/keys.h"
#include "base/file.h"
#include "raft/link_files.h"

static int preflight_certificates(const struct config *config, uint64_t wall_ms,
	struct expiry_certificate ret_certificates[EXPIRY_CERTIFICATES_MAX], struct err *e)
{
	struct pki_files api = {
		config->api_certificate_file, config->api_key_file, config->api_ca_file};
	struct pki_files link = {
		config->link_certificate_file, config->link_key_file, config->link_ca_file};
	_cleanup_(pki_loaded_release) struct pki_loaded loaded = {0};
	struct tls_ctx *ctx = NULL;
	int rc = pki_load(&api, PKI_SERVER, wall_ms, &loaded, e);

	rc = rc != 0 ? rc
		     : link_files_load(&link, config->cluster_id, config->id, wall_ms, &ctx, e);
	if (rc == 0 && ret_certificates != NULL) {
		ret_certificates[0] = (struct expiry_certificate){"api", loaded.cert.not_after_ms};
		ret_certificates[1] =
			(struct expiry_certificate){"link", tls_ctx_not_after_ms(ctx)};
	}
	tls_ctx_unref(ctx);
	return rc;
}

/* The node signs its snapshots with the key that the others were told of. */
static int preflight_sign_key(const struct config *config, struct err *e)
{
	const struct config_site *self = config_self(config);
	_cleanup_(key_freep) struct key *signer = NULL;
	struct bytes told = bytes_of(self->backup_key, sizeof self->backup_key);
	int rc = backup_key_load(config->backup_sign_key_file, BACKUP_KEY_NODE, &signer, e);

	if (rc == 0 && !bytes_equal(key_pub_bytes(key_public(signer)), told)) {
		rc = err_set(e, KLUIS_EINVAL,
			"[site %s] 'backup_key' is not the public half of '%s'", self->name,
			config->backup_sign_key_file);
	}
	return rc;
}

static int preflight_backup(const struct config *config, struct err *e)
{
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	int rc;

	if (config->backup_public_key_file == NULL) {
		return 0;
	}
	rc = backup_key_load_public(config->backup_public_key_file, BACKUP_KEY_SEAL, &pub, e);
	rc = rc != 0 ? rc : preflight_sign_key(config, e);
	if (rc == 0 && !file_exists(config->backup_ssh_key_file)) {
		rc = err_set(e, KLUIS_ENOTFOUND, "[backup] 'ssh_key': no file '%s'",
			config->backup_ssh_key_file);
	}
	return rc;
}

int preflight_config(const struct config *config, uint64_t wall_ms,
	struct expiry_certificate ret_certificates[EXPIRY_CERTIFICATES_MAX], struct err *e)
{
	int rc = preflight_certificates(config, wall_ms, ret_certificates, e);

	rc = rc != 0 ? rc : preflight_backup(config, e);
	if (rc == 0 && config->restore_key_file != NULL && !file_exists(config->restore_key_file)) {
		rc = err_set(e, KLUIS_ENOTFOUND, "[cluster] 'restore_key': no file '%s'",
			config->restore_key_file);
	}
	return rc;
}

int preflight_loopback(const struct config *config, struct err *e)
{
	if (!address_is_loopback(&config->api_listen) ||
		!address_is_loopback(&config->link_listen)) {
		return err_set(e, KLUIS_EINVAL,
			"'%s' was made for development and serves on loopback only, not on '%s' "
			"and '%s'",
			config->data_dir, config->api_listen.host, config->link_listen.host);
	}
	return 0;
}

int preflight_identity(const struct config *config, struct identity *ret_identity, struct err *e)
{
	struct identity identity;
	int rc = identity_read(config->data_dir, &identity, e);

	if (rc != 0) {
		return rc;
	}
	if (identity.node_id != config->id ||
		memcmp(identity.cluster_id, config->cluster_id, sizeof identity.cluster_id) != 0) {
		return err_set(e, KLUIS_EINVAL,
			"'%s' belongs to node %llu%s, not to this node %llu", config->data_dir,
			(unsigned long long)identity.node_id,
			identity.node_id == config->id ? " of another cluster" : "",
			(unsigned long long)config->id);
	}
	rc = identity.development ? preflight_loopback(config, e) : 0;
	if (rc == 0) {
		*ret_identity = identity;
	}
	return rc;
}
