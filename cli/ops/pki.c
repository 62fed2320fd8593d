/* kluisctl pki init|issue, ssh keys: what a cluster needs before its first start. */
#include "crypto/pki.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "backup/ssh_host_key.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/random.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/ops/node_config.h"
#include "cli/ops/ops.h"
#include "crypto/pem.h"

enum { PKI_DAYS_MAX = 3650 };

static char *pki_path(const char *dir, const char *name)
{
	return x_asprintf("%s/%s", dir, name);
}

static int pki_make(struct invocation *inv, const char *dir, const char *name,
	const char *common_name, enum pki_algorithm algorithm)
{
	_cleanup_(pki_identity_release) struct pki_identity ca = {.cert_pem = BUF_INIT};
	_cleanup_(x_freep) char *cert = x_asprintf("%s/%s.pem", dir, name);
	_cleanup_(x_freep) char *key = x_asprintf("%s/%s.key", dir, name);
	struct pki_spec spec = {.algorithm = algorithm,
		.common_name = common_name,
		.wall_ms = clock_wall_ms(&clock_system),
		.days = PKI_CA_DAYS};
	int rc = pki_make_ca(&spec, &ca, &inv->err);

	return rc != 0 ? rc : pki_write(&ca, cert, key, &inv->err);
}

/* The key that signs restore records: its private half belongs offline. */
static int pki_restore_key(struct invocation *inv, const char *dir)
{
	_cleanup_(x_freep) char *private_path = pki_path(dir, "restore.key");
	_cleanup_(x_freep) char *public_path = pki_path(dir, "restore.pub");
	_cleanup_(secret_buf_release) struct buf private_pem = BUF_INIT;
	_cleanup_(buf_release) struct buf public_pem = BUF_INIT;
	_cleanup_(key_freep) struct key *key = NULL;
	int rc = key_generate(KEY_ECDSA_P256, 0, &key, &inv->err);

	rc = rc != 0 ? rc : pem_write_private(key, &private_pem, &inv->err);
	rc = rc != 0 ? rc : pem_write_public(key_public(key), &public_pem, &inv->err);
	rc = rc != 0 ? rc : file_create(private_path, buf_bytes(&private_pem), 0400, &inv->err);
	return rc != 0 ? rc : file_create(public_path, buf_bytes(&public_pem), 0644, &inv->err);
}

static int pki_cluster_id(
	struct invocation *inv, const char *dir, char ret_text[HEX_LEN(ID_BYTES) + 1])
{
	_cleanup_(x_freep) char *path = pki_path(dir, "cluster-id");
	_cleanup_(x_freep) char *line = NULL;
	uint8_t id[ID_BYTES];

	random_fill(&random_system, id, ID_BYTES);
	hex_encode(bytes_of(id, ID_BYTES), ret_text);
	line = x_asprintf("%s\n", ret_text);
	return file_create(path, bytes_str(line), 0644, &inv->err);
}

static int pki_show_ca(struct invocation *inv, const char *dir, const char *cluster_id)
{
	static const struct output_column columns[] = {{"cluster_id", "Cluster", OUTPUT_TEXT},
		{"dir", "Directory", OUTPUT_TEXT}, {"provider_ca", "Provider CA", OUTPUT_TEXT},
		{"provider_ca_pin", "Its pin, for users", OUTPUT_TEXT}};
	_cleanup_(x_freep) char *cert = pki_path(dir, "provider-ca.pem");
	_cleanup_(buf_release) struct buf pem = BUF_INIT;
	struct pki_info info;
	json_t *record;
	int rc = file_read(cert, PKI_PEM_BYTES_MAX, &pem, &inv->err);

	rc = rc != 0 ? rc : pki_info(buf_bytes(&pem), &info, &inv->err);
	if (rc != 0) {
		return rc;
	}
	record = json_pack("{s:s, s:s, s:s, s:o}", "cluster_id", cluster_id, "dir", dir,
		"provider_ca", info.key, "provider_ca_pin",
		json_base64(bytes_of(info.spki_sha256, HASH_BYTES)));
	output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
	output_note(&inv->out,
		"Keep restore.key, provider-ca.key and node-ca.key offline: no node needs them.");
	return 0;
}

/* What is made, and before it a file that says so: who finds that finds what a run left that was
 * cut off, and nobody has used yet. */
#define PKI_UNFINISHED "pki-init.unfinished"
static const char *const pki_files[] = {"provider-ca.key", "provider-ca.pem", "node-ca.key",
	"node-ca.pem", "restore.key", "restore.pub", "cluster-id"};

/* The file that says so at last. */
static int pki_remove(const char *dir, struct err *e)
{
	for (size_t i = 0; i <= ARRAY_SIZE(pki_files); i++) {
		_cleanup_(x_freep) char *path =
			pki_path(dir, i < ARRAY_SIZE(pki_files) ? pki_files[i] : PKI_UNFINISHED);

		if (unlink(path) != 0 && errno != ENOENT) {
			return err_set_errno(e, errno, "remove '%s'", path);
		}
	}
	return file_sync_dir(dir, e);
}

static int pki_begin(struct invocation *inv, const char *dir)
{
	_cleanup_(x_freep) char *unfinished = pki_path(dir, PKI_UNFINISHED);
	int rc = 0;

	if (file_exists(unfinished)) {
		output_note(
			&inv->out, "'%s' has what a run that was cut off left: begun anew.", dir);
		rc = pki_remove(dir, &inv->err);
	}
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(pki_files); i++) {
		_cleanup_(x_freep) char *path = pki_path(dir, pki_files[i]);

		if (file_exists(path)) {
			rc = err_set(&inv->err, KLUIS_EEXIST, "'%s' is there already", path);
		}
	}
	return rc != 0 ? rc
		       : file_create(unfinished,
				 bytes_str("kluisctl pki init is at work here, or was cut off\n"),
				 0644, &inv->err);
}

static int pki_end(struct invocation *inv, const char *dir, int rc)
{
	_cleanup_(x_freep) char *unfinished = pki_path(dir, PKI_UNFINISHED);
	struct err ignored;

	if (rc != 0) {
		(void)!pki_remove(dir, &ignored); /* The next run does it. */
		return rc;
	}
	if (unlink(unfinished) != 0) {
		return err_set_errno(&inv->err, errno, "remove '%s'", unfinished);
	}
	return file_sync_dir(dir, &inv->err);
}

static int pki_make_all(struct invocation *inv, const char *dir, char cluster_id[])
{
	bool ec = invocation_value(inv, "ec") != NULL;
	int rc = pki_make(
		inv, dir, "provider-ca", "Kluis provider CA", ec ? PKI_EC_P384 : PKI_RSA_4096);

	rc = rc != 0 ? rc : pki_make(inv, dir, "node-ca", "Kluis node CA", PKI_EC_P384);
	rc = rc != 0 ? rc : pki_restore_key(inv, dir);
	return rc != 0 ? rc : pki_cluster_id(inv, dir, cluster_id);
}

int ops_pki_init(struct invocation *inv)
{
	_cleanup_(x_closep) int lock_fd = -1; /* What is unfinished may be another one's. */
	char cluster_id[HEX_LEN(ID_BYTES) + 1];
	const char *dir;
	int rc = ops_needed(inv, "dir", &dir);

	rc = rc != 0 ? rc : file_make_dirs(dir, 0700, &inv->err);
	rc = rc != 0 ? rc : lock_dir(dir, &lock_fd, &inv->err);
	rc = rc != 0 ? rc : pki_begin(inv, dir);
	rc = rc != 0 ? rc : pki_end(inv, dir, pki_make_all(inv, dir, cluster_id));
	return rc != 0 ? rc : pki_show_ca(inv, dir, cluster_id);
}

static int pki_load_ca(
	struct invocation *inv, const char *dir, const char *name, struct pki_identity *ret_ca)
{
	_cleanup_(x_freep) char *cert = x_asprintf("%s/%s.pem", dir, name);
	_cleanup_(x_freep) char *key = x_asprintf("%s/%s.key", dir, name);

	return pki_read(cert, key, ret_ca, &inv->err);
}

static int pki_load_cluster_id(struct invocation *inv, const char *dir, uint8_t ret_id[ID_BYTES])
{
	_cleanup_(x_freep) char *path = pki_path(dir, "cluster-id");
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	int rc = file_read(path, HEX_LEN(ID_BYTES) + 1, &text, &inv->err);

	if (rc == 0 && text.len > 0 && text.data[text.len - 1] == '\n') {
		text.len--;
	}
	if (rc == 0 && hex_decode(buf_str(&text), ret_id, ID_BYTES) != 0) {
		rc = err_set(&inv->err, KLUIS_ECORRUPT, "'%s' is no cluster id", path);
	}
	return rc;
}

/* Names and addresses apart, as a certificate wants them. */
struct issue_hosts {
	const char *dns[PKI_NAMES_MAX], *ip[PKI_NAMES_MAX];
	size_t n_dns, n_ip;
};

static bool host_is_address(const char *host)
{
	return strchr(host, ':') != NULL || strspn(host, "0123456789.") == strlen(host);
}

static int issue_hosts(struct invocation *inv, struct issue_hosts *h)
{
	const char *host;

	for (size_t n = 0; (host = invocation_value_at(inv, "host", n)) != NULL; n++) {
		if (n == PKI_NAMES_MAX) {
			return err_set(
				&inv->err, KLUIS_EINVAL, "more than %d --host", PKI_NAMES_MAX);
		}
		if (host_is_address(host)) {
			h->ip[h->n_ip++] = host;
		} else {
			h->dns[h->n_dns++] = host;
		}
	}
	return h->n_dns + h->n_ip > 0
		       ? 0
		       : err_set(&inv->err, KLUIS_EINVAL,
				 "--host is needed: what clients reach this node by");
}

/* The next `pki init` would remove the CA that has issued. */
static int issue_finished(struct invocation *inv, const char *dir)
{
	_cleanup_(x_freep) char *unfinished = pki_path(dir, PKI_UNFINISHED);

	return !file_exists(unfinished) ? 0
					: err_set(&inv->err, KLUIS_EBUSY,
						  "'%s' is unfinished: run pki init there", dir);
}

static int issue_write(struct invocation *inv, const struct pki_identity *identity, const char *out,
	const char *name)
{
	_cleanup_(x_freep) char *cert = x_asprintf("%s/%s.pem", out, name);
	_cleanup_(x_freep) char *key = x_asprintf("%s/%s.key", out, name);

	return pki_write(identity, cert, key, &inv->err);
}

static int issue_api(struct invocation *inv, const char *dir, const char *out, unsigned days)
{
	_cleanup_(pki_identity_release) struct pki_identity ca = {.cert_pem = BUF_INIT};
	_cleanup_(pki_identity_release) struct pki_identity api = {.cert_pem = BUF_INIT};
	struct issue_hosts hosts = {.n_dns = 0};
	struct pki_spec spec = {
		.algorithm = PKI_EC_P256, .wall_ms = clock_wall_ms(&clock_system), .days = days};
	int rc = issue_hosts(inv, &hosts);

	rc = rc != 0 ? rc : pki_load_ca(inv, dir, "provider-ca", &ca);
	if (rc != 0) {
		return rc;
	}
	spec.common_name = hosts.n_dns > 0 ? hosts.dns[0] : hosts.ip[0];
	spec.dns = hosts.dns;
	spec.n_dns = hosts.n_dns;
	spec.ip = hosts.ip;
	spec.n_ip = hosts.n_ip;
	rc = pki_issue_server(&ca, &spec, &api, &inv->err);
	return rc != 0 ? rc : issue_write(inv, &api, out, "api");
}

static int issue_link(
	struct invocation *inv, const char *dir, const char *out, uint64_t node, unsigned days)
{
	_cleanup_(pki_identity_release) struct pki_identity ca = {.cert_pem = BUF_INIT};
	_cleanup_(pki_identity_release) struct pki_identity link = {.cert_pem = BUF_INIT};
	uint8_t cluster_id[ID_BYTES];
	int rc = pki_load_cluster_id(inv, dir, cluster_id);

	rc = rc != 0 ? rc : pki_load_ca(inv, dir, "node-ca", &ca);
	rc = rc != 0 ? rc
		     : pki_issue_node(&ca, cluster_id, node, clock_wall_ms(&clock_system), days,
			       &link, &inv->err);
	return rc != 0 ? rc : issue_write(inv, &link, out, "link");
}

int ops_pki_issue(struct invocation *inv)
{
	static const struct output_column columns[] = {
		{"node", "Node", OUTPUT_TEXT}, {"dir", "Directory", OUTPUT_TEXT}};
	const char *dir, *out;
	uint64_t node = 0, days = 0;
	json_t *record;
	int rc = ops_needed(inv, "dir", &dir);

	rc = rc != 0 ? rc : ops_needed(inv, "out", &out);
	rc = rc != 0 ? rc : invocation_number(inv, "node", 0, UINT32_MAX, &node);
	rc = rc != 0 ? rc : invocation_number(inv, "days", PKI_LEAF_DAYS, PKI_DAYS_MAX, &days);
	if (rc == 0 && (node == 0 || days == 0)) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "--node is needed, a number from 1 on");
	}
	rc = rc != 0 ? rc : issue_finished(inv, dir);
	rc = rc != 0 ? rc : file_make_dirs(out, 0700, &inv->err);
	rc = rc != 0 ? rc : issue_api(inv, dir, out, (unsigned)days);
	rc = rc != 0 ? rc : issue_link(inv, dir, out, node, (unsigned)days);
	if (rc != 0) {
		return rc;
	}
	record = json_pack("{s:I, s:s}", "node", (json_int_t)node, "dir", out);
	output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
	return 0;
}

static json_t *text_or_null(const char *text)
{
	return text == NULL ? json_null() : json_string(text);
}

/* As the site's operator reads it out: ssh-keygen -lf ssh_host_ed25519_key.pub. */
static json_t *fingerprint_or_null(const char *line)
{
	_cleanup_(buf_release) struct buf wire = BUF_INIT;
	char text[SSH_FINGERPRINT_BYTES];

	if (line == NULL || ssh_host_key_parse(line, &wire) != 0) {
		return json_null();
	}
	ssh_host_key_fingerprint(buf_bytes(&wire), text);
	return json_string(text);
}

int ops_ssh_keys(struct invocation *inv)
{
	static const struct output_column columns[] = {{"site", "SITE", OUTPUT_TEXT},
		{"node", "NODE", OUTPUT_TEXT}, {"ssh", "ADDRESS", OUTPUT_TEXT},
		{"user", "USER", OUTPUT_TEXT}, {"path", "PATH", OUTPUT_TEXT},
		{"fingerprint", "PINNED HOST KEY", OUTPUT_TEXT}};
	_cleanup_(node_config_freep) struct node_config *config = NULL;
	_cleanup_(json_dropp) json_t *rows = json_array();
	_cleanup_(buf_release) struct buf own = BUF_INIT;
	const char *file;
	int rc = ops_needed(inv, "config", &file);

	rc = rc != 0 ? rc : node_config_load(file, &config, &inv->err);
	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; i < config->n_sites; i++) {
		const struct node_config_site *site = &config->sites[i];

		(void)json_array_append_new(rows,
			json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o}", "site", site->name, "node",
				(json_int_t)site->id, "ssh", text_or_null(site->ssh), "user",
				text_or_null(site->ssh_user), "path", text_or_null(site->ssh_path),
				"host_key", text_or_null(site->ssh_host_key), "fingerprint",
				fingerprint_or_null(site->ssh_host_key)));
	}
	output_rows(&inv->out, columns, ARRAY_SIZE(columns), rows);
	if (config->ssh_key != NULL) {
		_cleanup_(x_freep) char *path = x_asprintf("%s.pub", config->ssh_key);
		struct err ignored = {0};

		if (file_read(path, 4096, &own, &ignored) == 0) {
			const char *line = buf_str(&own);

			output_note(&inv->out,
				"This node's line in authorized_keys at the other sites: "
				"restrict,command=\"internal-sftp\" %.*s",
				(int)strcspn(line, "\n"), line);
		}
	}
	return 0;
}
