#include "node/preflight.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backup/keys.h"
#include "base/file.h"
#include "crypto/pem.h"
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

	if (rc != 0) {
		return err_wrap(e, rc, "[api]");
	}
	rc = link_files_load(&link, config->cluster_id, config->id, wall_ms, &ctx, e);
	if (rc != 0) {
		return err_wrap(e, rc, "[link]");
	}
	if (ret_certificates != NULL) {
		ret_certificates[0] = (struct expiry_certificate){"api", loaded.cert.not_after_ms};
		ret_certificates[1] =
			(struct expiry_certificate){"link", tls_ctx_not_after_ms(ctx)};
	}
	tls_ctx_unref(ctx);
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

static int preflight_directory(const char *setting, const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) != 0) {
		return err_set_errno(e, errno, "%s: directory '%s'", setting, path);
	}
	if (!S_ISDIR(st.st_mode)) {
		return err_set(e, KLUIS_EINVAL, "%s: '%s' is no directory", setting, path);
	}
	return access(path, R_OK | W_OK | X_OK) == 0
		       ? 0
		       : err_set_errno(e, errno, "%s: directory '%s'", setting, path);
}

/* A wrong setting; that nothing is there may be the disk's answer. */
static int preflight_no_file(const char *setting, const char *path, struct err *e)
{
	struct stat st;

	return stat(path, &st) != 0 || S_ISDIR(st.st_mode)
		       ? 0
		       : err_set(e, KLUIS_EINVAL, "[backup] '%s': '%s' is no directory", setting,
				 path);
}

/* A drill in a week or two is late to find that a key is none. */
static int preflight_drill_keys(const struct config *config, struct err *e)
{
	const char *files[] = {config->backup_drill_key_file, config->backup_drill_key_old_file};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(files); i++) {
		_cleanup_(key_freep) struct key *key = NULL;

		if (files[i] != NULL) {
			rc = backup_key_load(files[i], BACKUP_KEY_SEAL, &key, e);
		}
	}
	return rc == 0 ? 0 : err_wrap(e, rc, "[backup] 'drill_key'");
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
	rc = rc != 0 ? rc : preflight_drill_keys(config, e);
	if (rc == 0 && !file_exists(config->backup_ssh_key_file)) {
		rc = err_set(e, KLUIS_ENOTFOUND, "[backup] 'ssh_key': no file '%s'",
			config->backup_ssh_key_file);
	}
	rc = rc != 0 ? rc : preflight_no_file("drop", config->backup_drop_dir, e);
	return rc != 0 ? rc : preflight_no_file("repository", config->backup_repository_dir, e);
}

int preflight_drop(const struct config *config, struct err *e)
{
	/* Not made by itself: where a disk is not mounted the others' snapshots would pile up. */
	return config->backup_public_key_file == NULL
		       ? 0
		       : preflight_directory("[backup] 'drop'", config->backup_drop_dir, e);
}

int preflight_restore_key(const struct config *config, struct buf *to, struct err *e)
{
	_cleanup_(buf_release) struct buf pem = BUF_INIT;
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	int rc;

	if (config->restore_key_file == NULL) {
		return 0;
	}
	rc = file_read(config->restore_key_file, PKI_PEM_BYTES_MAX, &pem, e);
	rc = rc != 0 ? rc : pem_public_key(buf_bytes(&pem), KEY_ECDSA_P256, &pub, e);
	if (rc != 0) {
		return err_wrap(e, rc, "[cluster] 'restore_key' '%s'", config->restore_key_file);
	}
	buf_append_bytes(to, key_pub_bytes(pub));
	return 0;
}

int preflight_turn_secret(const struct config *config, struct buf *to, struct err *e)
{
	int rc;

	if (config->turn_uris == NULL) {
		return 0;
	}
	if (config->turn_secret_file == NULL) {
		return err_set(e, KLUIS_EINVAL, "[calls] 'turn_uris' without 'turn_secret_file'");
	}
	rc = file_read(config->turn_secret_file, TURN_SECRET_BYTES_MAX + 1, to, e);
	if (rc != 0) {
		return err_wrap(e, rc, "[calls] 'turn_secret_file' '%s'", config->turn_secret_file);
	}
	if (to->len > 0 && to->data[to->len - 1] == '\n') {
		to->len--;
	}
	return to->len >= TURN_SECRET_BYTES_MIN && to->len <= TURN_SECRET_BYTES_MAX
		       ? 0
		       : err_set(e, KLUIS_EINVAL,
				 "[calls] 'turn_secret_file': not of %d to %d bytes",
				 TURN_SECRET_BYTES_MIN, TURN_SECRET_BYTES_MAX);
}

int preflight_config(const struct config *config, uint64_t wall_ms,
	struct expiry_certificate ret_certificates[EXPIRY_CERTIFICATES_MAX], struct err *e)
{
	_cleanup_(buf_release) struct buf restore_key = BUF_INIT;
	_cleanup_(secret_buf_release) struct buf turn_secret = BUF_INIT;
	int rc = preflight_certificates(config, wall_ms, ret_certificates, e);

	rc = rc != 0 ? rc : preflight_backup(config, e);
	rc = rc != 0 ? rc : preflight_turn_secret(config, &turn_secret, e);
	return rc != 0 ? rc : preflight_restore_key(config, &restore_key, e);
}

/* Any port of it can be listened on: whether the one that is wanted is free is only known by
 * taking it. */
static int preflight_address(const char *setting, const struct address *address, struct err *e)
{
	struct address any = *address;
	struct address_found found;
	int fd, rc = 0;

	any.port = 0;
	if (address_numeric(&any, &found) != 0) {
		return err_set(e, KLUIS_EINVAL, "%s: '%s' is no IP address", setting, any.host);
	}
	fd = socket(found.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&found.storage, found.len) != 0) {
		rc = err_set_errno(e, errno, "%s: cannot listen on '%s'", setting, any.host);
	}
	if (fd >= 0) {
		(void)close(fd);
	}
	return rc;
}

static int preflight_socket(const char *path, struct err *e)
{
	_cleanup_(x_freep) char *dir = x_strdup(path);
	char *slash = strrchr(dir, '/');

	assert(slash != NULL); /* config_load() put a directory before it. */
	if (strlen(path) >= sizeof((struct sockaddr_un *)NULL)->sun_path) {
		return err_set(e, KLUIS_EINVAL, "[admin] 'socket': '%s' is longer than %zu bytes",
			path, sizeof((struct sockaddr_un *)NULL)->sun_path - 1);
	}
	slash[slash == dir ? 1 : 0] = 0;
	return preflight_directory("[admin] 'socket'", dir, e);
}

int preflight_places(const struct config *config, struct err *e)
{
	int rc = preflight_address("[api] 'listen'", &config->api_listen, e);

	rc = rc != 0 ? rc : preflight_address("[link] 'listen'", &config->link_listen, e);
	if (rc == 0 && config->metrics_listen.port != 0) {
		rc = preflight_address("[metrics] 'listen'", &config->metrics_listen, e);
	}
	return rc != 0 ? rc : preflight_socket(config->admin_socket, e);
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

int preflight_identity(
	const struct config *config, struct node_identity *ret_identity, struct err *e)
{
	struct node_identity identity;
	int rc = node_identity_read(config->data_dir, &identity, e);

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
