#include "node/preflight.h"

#include <string.h>

#include "backup/keys.h"
#include "base/file.h"
#include "base/log.h"
#include "crypto/pki.h"

enum { PREFLIGHT_EXPIRY_WARN_DAYS = 30 };

/* Certificate and key belong together, and a CA of ca_path vouches for them in that role now. */
static int preflight_certificate(const char *cert_path, const char *key_path, const char *ca_path,
	enum pki_role role, uint64_t wall_ms, struct pki_info *ret_info, struct err *e)
{
	struct pki_identity identity = {0};
	_cleanup_(buf_release) struct buf ca = BUF_INIT;
	int rc = pki_read(cert_path, key_path, &identity, e);

	rc = rc != 0 ? rc : file_read(ca_path, PKI_PEM_BYTES_MAX, &ca, e);
	rc = rc != 0 ? rc
		     : pki_verify(buf_bytes(&identity.cert_pem), buf_bytes(&ca), role, wall_ms, e);
	rc = rc != 0 ? rc : pki_info(buf_bytes(&identity.cert_pem), ret_info, e);
	pki_identity_release(&identity);
	return rc == 0 ? 0 : err_wrap(e, rc, "certificate '%s'", cert_path);
}

static void preflight_warn_expiry(const char *path, const struct pki_info *info, uint64_t wall_ms)
{
	uint64_t days = (info->not_after_ms - wall_ms) / (24ULL * 3600 * 1000);

	if (days < PREFLIGHT_EXPIRY_WARN_DAYS) {
		log_warn("op=preflight certificate=%s expires_in_days=%llu", path,
			(unsigned long long)days);
	}
}

static int preflight_certificates(const struct config *config, uint64_t wall_ms, struct err *e)
{
	struct pki_info api, link;
	int rc = preflight_certificate(config->api_certificate_file, config->api_key_file,
		config->api_ca_file, PKI_SERVER, wall_ms, &api, e);

	rc = rc != 0 ? rc
		     : preflight_certificate(config->link_certificate_file, config->link_key_file,
			       config->link_ca_file, PKI_NODE, wall_ms, &link, e);
	if (rc != 0) {
		return rc;
	}
	if (!link.is_node || link.node_id != config->id ||
		memcmp(link.cluster_id, config->cluster_id, sizeof link.cluster_id) != 0) {
		return err_set(e, KLUIS_EINVAL,
			"certificate '%s' is not that of node %llu of this cluster",
			config->link_certificate_file, (unsigned long long)config->id);
	}
	preflight_warn_expiry(config->api_certificate_file, &api, wall_ms);
	preflight_warn_expiry(config->link_certificate_file, &link, wall_ms);
	return 0;
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

int preflight_config(const struct config *config, uint64_t wall_ms, struct err *e)
{
	int rc = preflight_certificates(config, wall_ms, e);

	rc = rc != 0 ? rc : preflight_backup(config, e);
	if (rc == 0 && config->restore_key_file != NULL && !file_exists(config->restore_key_file)) {
		rc = err_set(e, KLUIS_ENOTFOUND, "[cluster] 'restore_key': no file '%s'",
			config->restore_key_file);
	}
	return rc;
}

static bool preflight_is_loopback(const struct address *address)
{
	return strncmp(address->host, "127.", 4) == 0 || strcmp(address->host, "::1") == 0;
}

int preflight_loopback(const struct config *config, struct err *e)
{
	if (!preflight_is_loopback(&config->api_listen) ||
		!preflight_is_loopback(&config->link_listen)) {
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
