/* kluisctl ssh trust|check|rotate: who may ship to whom. Keys come as files that operators carried
 * from site to site; nothing is taken from the network, and nothing is trusted because it answered.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backup/sftp.h"
#include "backup/ssh_host_key.h"
#include "base/address.h"
#include "base/file.h"
#include "cli/ops/node_config.h"
#include "cli/ops/ops.h"

extern char **environ;

enum {
	TRUST_FILE_BYTES_MAX = 4096,
	TRUST_LINES_MAX = 2, /* Of a shipping key: the old one and the new one. */
	TRUST_KEYS_MAX = 3 * SITES_MAX,
	CHECK_TIMEOUT_S = 10,
};

/* A key that was read: its line without the comment, and whose it is. */
struct trust_key {
	char line[SSH_HOST_KEY_BYTES_MAX];
	char fingerprint[SSH_FINGERPRINT_BYTES];
	const char *site;
	bool host; /* Else one that ships. */
};

struct trust {
	struct invocation *inv;
	struct node_config *config;
	const char *keys; /* The directory they are in. */
	struct trust_key all[TRUST_KEYS_MAX];
	size_t n;
};

/* "ssh-ed25519 AAAA..." of a line that may have a comment; KLUIS_EINVAL for any other. */
static int trust_line(const char *line, struct trust_key *ret_key)
{
	static const char type[] = "ssh-ed25519 ";
	_cleanup_(buf_release) struct buf wire = BUF_INIT;
	size_t len;

	if (ssh_host_key_parse(line, &wire) != 0 || wire.len != 51) {
		return KLUIS_EINVAL;
	}
	len = sizeof type - 1 + strcspn(line + sizeof type - 1, " \n");
	if (len >= sizeof ret_key->line) {
		return KLUIS_EINVAL;
	}
	memcpy(ret_key->line, line, len);
	ret_key->line[len] = 0;
	ssh_host_key_fingerprint(buf_bytes(&wire), ret_key->fingerprint);
	return 0;
}

/* One key with two meanings would let one site stand for another. */
static int trust_add(struct trust *trust, const struct trust_key *key)
{
	for (size_t i = 0; i < trust->n; i++) {
		const struct trust_key *other = &trust->all[i];

		if (strcmp(other->fingerprint, key->fingerprint) == 0) {
			return err_set(&trust->inv->err, KLUIS_ECONFLICT,
				"%s is the %s key of site '%s' and the %s key of site '%s'",
				key->fingerprint, other->host ? "host" : "shipping", other->site,
				key->host ? "host" : "shipping", key->site);
		}
	}
	trust->all[trust->n++] = *key;
	return 0;
}

/* NAME.host.pub has one line, NAME.ship.pub one or, while it is changed, two. */
static int trust_read(struct trust *trust, const char *site, bool host)
{
	_cleanup_(x_freep) char *path =
		x_asprintf("%s/%s.%s.pub", trust->keys, site, host ? "host" : "ship");
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct trust_key key = {.site = site, .host = host};
	struct err *e = &trust->inv->err;
	unsigned lines = 0, most = host ? 1 : TRUST_LINES_MAX;
	int rc = file_read(path, TRUST_FILE_BYTES_MAX, &text, e);

	for (const char *at = buf_str(&text); rc == 0 && *at != 0;
		at += strcspn(at, "\n"), at += *at == '\n') {
		if (*at == '\n' || *at == '#') {
			continue;
		}
		if (++lines > most || trust_line(at, &key) != 0) {
			return err_set(e, KLUIS_EINVAL, "'%s': not %s ssh-ed25519", path,
				host ? "one line of" : "one or two lines of");
		}
		rc = trust_add(trust, &key);
	}
	if (rc == 0 && lines == 0) {
		rc = err_set(e, KLUIS_EINVAL, "'%s': no key", path);
	}
	return rc;
}

static const struct trust_key *trust_of(
	const struct trust *trust, const char *site, bool host, unsigned nth)
{
	for (size_t i = 0; i < trust->n; i++) {
		const struct trust_key *key = &trust->all[i];

		if (key->host == host && strcmp(key->site, site) == 0 && nth-- == 0) {
			return key;
		}
	}
	return NULL;
}

/* What the settings say of a site's host key now. */
static const char *trust_pinned(const struct node_config_site *site, const struct trust_key *host)
{
	struct trust_key pinned;

	if (site->ssh_host_key == NULL) {
		return "no";
	}
	return trust_line(site->ssh_host_key, &pinned) == 0 &&
			       strcmp(pinned.fingerprint, host->fingerprint) == 0
		       ? "yes"
		       : "another";
}

static void trust_show(const struct trust *trust)
{
	static const struct output_column columns[] = {{"site", "SITE", OUTPUT_TEXT},
		{"host_key", "HOST KEY", OUTPUT_TEXT}, {"pinned", "PINNED", OUTPUT_TEXT},
		{"ship_key", "SHIPPING KEY", OUTPUT_TEXT}, {"other_ship_key", "AND", OUTPUT_TEXT}};
	_cleanup_(json_dropp) json_t *rows = json_array();

	for (size_t i = 0; i < trust->config->n_sites; i++) {
		const struct node_config_site *site = &trust->config->sites[i];
		const struct trust_key *host = trust_of(trust, site->name, true, 0),
				       *ship = trust_of(trust, site->name, false, 0),
				       *other = trust_of(trust, site->name, false, 1);

		(void)json_array_append_new(
			rows, json_pack("{s:s, s:s, s:s, s:s, s:s?}", "site", site->name,
				      "host_key", host->fingerprint, "pinned",
				      trust_pinned(site, host), "ship_key", ship->fingerprint,
				      "other_ship_key", other == NULL ? NULL : other->fingerprint));
	}
	output_rows(&trust->inv->out, columns, ARRAY_SIZE(columns), rows);
}

/* What sshd of every other site reads for the user that this site signs in as. */
static int trust_write_site(const struct trust *trust, const char *site, const char *dir)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/authorized_keys/kluis-%s", dir, site);
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	const struct trust_key *key;

	for (unsigned i = 0; (key = trust_of(trust, site, false, i)) != NULL; i++) {
		buf_printf(&text, "restrict,command=\"internal-sftp\" %s %s\n", key->line, site);
	}
	return file_write(path, buf_bytes(&text), 0644, &trust->inv->err);
}

static bool trust_is_gone(const struct trust *trust, const char *name)
{
	static const char prefix[] = "kluis-";

	if (strncmp(name, prefix, sizeof prefix - 1) != 0) {
		return false;
	}
	for (size_t i = 0; i < trust->config->n_sites; i++) {
		if (strcmp(trust->config->sites[i].name, name + sizeof prefix - 1) == 0) {
			return false;
		}
	}
	return true;
}

/* Sites that the settings no longer name: receivers that are given this directory shut them out. */
static int trust_remove_gone(const struct trust *trust, const char *keys)
{
	struct err *e = &trust->inv->err;
	struct dirent *entry;
	DIR *dir = opendir(keys);
	int rc = dir == NULL ? err_set_errno(e, errno, "open directory '%s'", keys) : 0;

	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		if (trust_is_gone(trust, entry->d_name) &&
			unlinkat(dirfd(dir), entry->d_name, 0) != 0) {
			rc = err_set_errno(e, errno, "remove '%s/%s'", keys, entry->d_name);
		}
	}
	if (dir != NULL) {
		(void)closedir(dir); /* Only read. */
	}
	return rc;
}

static int trust_write(const struct trust *trust, const char *dir)
{
	_cleanup_(x_freep) char *lines = x_asprintf("%s/sites.ini", dir);
	_cleanup_(x_freep) char *keys = x_asprintf("%s/authorized_keys", dir);
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct err *e = &trust->inv->err;
	int rc = file_make_dirs(keys, 0755, e);

	rc = rc != 0 ? rc : trust_remove_gone(trust, keys);
	for (size_t i = 0; rc == 0 && i < trust->config->n_sites; i++) {
		const char *site = trust->config->sites[i].name;

		buf_printf(&text, "[site %s]\nssh_host_key = %s\n", site,
			trust_of(trust, site, true, 0)->line);
		rc = trust_write_site(trust, site, dir);
	}
	rc = rc != 0 ? rc : file_write(lines, buf_bytes(&text), 0644, e);
	if (rc == 0) {
		output_note(&trust->inv->out,
			"'%s': lines for the settings of every site. '%s': for every receiver "
			"(receiver-setup --trust %s).",
			lines, keys, dir);
	}
	return rc;
}

int ops_ssh_trust(struct invocation *inv)
{
	_cleanup_(node_config_freep) struct node_config *config = NULL;
	_cleanup_(x_freep) struct trust *trust = x_calloc(1, sizeof *trust);
	const char *file, *out = invocation_value(inv, "out");
	int rc = ops_needed(inv, "config", &file);

	rc = rc != 0 ? rc : ops_needed(inv, "keys", &trust->keys);
	rc = rc != 0 ? rc : node_config_load(file, &config, &inv->err);
	trust->inv = inv;
	trust->config = config;
	for (size_t i = 0; rc == 0 && i < config->n_sites; i++) {
		rc = trust_read(trust, config->sites[i].name, true);
		rc = rc != 0 ? rc : trust_read(trust, config->sites[i].name, false);
	}
	if (rc != 0) {
		return rc;
	}
	trust_show(trust);
	return out == NULL ? 0 : trust_write(trust, out);
}

/* --- check ------------------------------------------------------------------------------------ */

static const struct node_config_site *check_self(const struct node_config *config)
{
	for (size_t i = 0; i < config->n_sites; i++) {
		if (config->sites[i].id == config->node) {
			return &config->sites[i];
		}
	}
	return NULL;
}

/* Signs in as a shipment would, and looks into the drop. Nothing is left there. */
static int check_site(const struct node_config_site *self, const struct node_config_site *site,
	const char *key_path, unsigned timeout_ms, struct err *e)
{
	_cleanup_(x_freep) char *path = NULL;
	_cleanup_(x_freep) struct sftp_entry *entries = NULL;
	struct sftp_target target = {.user = site->ssh_user,
		.host_key = site->ssh_host_key,
		.key_path = key_path,
		.timeout_ms = timeout_ms};
	struct address address;
	struct sftp *sftp = NULL;
	size_t n = 0;
	int rc;

	if (site->ssh_user == NULL || site->ssh_host_key == NULL || site->ssh_path == NULL) {
		return err_set(e, KLUIS_EINVAL,
			"[site %s] has no ssh_user, ssh_host_key or ssh_path", site->name);
	}
	rc = address_parse(site->ssh, &address, e);
	if (rc != 0) {
		return rc;
	}
	path = x_asprintf("%s/%s/incoming", site->ssh_path, self->name);
	target.host = address.host;
	target.port = address.port;
	target.path = path;
	rc = sftp_open(&target, &sftp, e);
	rc = rc != 0 ? rc : sftp_list(sftp, &entries, &n, e);
	sftp_close(sftp);
	return rc;
}

/* Every other site with a receiver, as a row; the first failure is returned, a changed host key
 * before any other. */
static int check_all(struct invocation *inv, const struct node_config *config, const char *key_path)
{
	static const struct output_column columns[] = {{"site", "SITE", OUTPUT_TEXT},
		{"ssh", "ADDRESS", OUTPUT_TEXT}, {"result", "RESULT", OUTPUT_TEXT}};
	_cleanup_(json_dropp) json_t *rows = json_array();
	const struct node_config_site *self = check_self(config);
	uint64_t seconds;
	size_t asked = 0, failed = 0;
	int rc = invocation_number(inv, "timeout", CHECK_TIMEOUT_S, 600, &seconds), worst = 0;

	if (rc == 0 && self == NULL) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "the settings name no site of this node");
	}
	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; i < config->n_sites; i++) {
		const struct node_config_site *site = &config->sites[i];
		struct err why = {0};

		if (site == self || site->ssh == NULL) {
			continue;
		}
		rc = check_site(self, site, key_path, (unsigned)seconds * 1000, &why);
		asked++;
		failed += rc != 0;
		worst = worst == 0 || rc == KLUIS_EPIN ? rc : worst;
		(void)json_array_append_new(
			rows, json_pack("{s:s, s:s, s:s}", "site", site->name, "ssh", site->ssh,
				      "result", rc == 0 ? "ok" : why.text));
	}
	output_rows(&inv->out, columns, ARRAY_SIZE(columns), rows);
	return worst == 0 ? 0
			  : err_set(&inv->err, worst, "%zu of %zu sites take no snapshots of ours",
				    failed, asked);
}

static int check_load(struct invocation *inv, struct node_config **ret_config)
{
	const char *file;
	int rc = ops_needed(inv, "config", &file);

	rc = rc != 0 ? rc : node_config_load(file, ret_config, &inv->err);
	if (rc == 0 && (*ret_config)->ssh_key == NULL) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "'%s': no [backup] ssh_key", file);
	}
	return rc;
}

int ops_ssh_check(struct invocation *inv)
{
	_cleanup_(node_config_freep) struct node_config *config = NULL;
	const char *key = invocation_value(inv, "key");
	int rc = check_load(inv, &config);

	return rc != 0 ? rc : check_all(inv, config, key == NULL ? config->ssh_key : key);
}

/* --- rotate ----------------------------------------------------------------------------------- */

/* The new key belongs to whom the old one does. */
static int rotate_own(const char *path, const char *like, struct err *e)
{
	struct stat st;

	if (stat(like, &st) != 0) {
		return err_set_errno(e, errno, "'%s'", like);
	}
	if (chmod(path, 0400) != 0 || chown(path, st.st_uid, st.st_gid) != 0) {
		return err_set_errno(e, errno, "give '%s' to the owner of '%s'", path, like);
	}
	return 0;
}

static int rotate_keygen(const char *path, const char *comment, struct err *e)
{
	const char *const words[] = {
		"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path, NULL};
	char *argv[ARRAY_SIZE(words)];
	int status = 0, rv;
	pid_t pid;

	memcpy(argv, words, sizeof argv); /* posix_spawn() changes none of them. */
	rv = posix_spawnp(&pid, "ssh-keygen", NULL, NULL, argv, environ);
	if (rv != 0) {
		return err_set(e, KLUIS_EIO, "run ssh-keygen: %s", strerrordesc_np(rv));
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR) {
			return err_set_errno(e, errno, "ssh-keygen");
		}
	}
	return status == 0 ? 0 : err_set(e, KLUIS_EIO, "ssh-keygen failed");
}

static int rotate_begin(
	struct invocation *inv, const struct node_config *config, const char *path, const char *pub)
{
	const struct node_config_site *self = check_self(config);
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	int rc = 0;

	if (!file_exists(path)) {
		rc = rotate_keygen(path, self == NULL ? "kluis" : self->name, &inv->err);
	}
	rc = rc != 0 ? rc : rotate_own(path, config->ssh_key, &inv->err);
	rc = rc != 0 ? rc : file_read(pub, TRUST_FILE_BYTES_MAX, &text, &inv->err);
	if (rc == 0) {
		output_note(&inv->out,
			"'%s' is the new key, not yet in use. Put its line beside the old one "
			"(NAME.ship.pub, 'kluisctl ssh trust'), bring that to all receivers, then "
			"'ssh rotate --finish'.",
			path);
		output_note(&inv->out, "%.*s", (int)strcspn(buf_str(&text), "\n"), buf_str(&text));
	}
	return rc;
}

/* Of a file. The caller frees. */
static char *rotate_dir(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? x_strdup(".") : x_asprintf("%.*s", (int)(slash - path + 1), path);
}

/* Only a key that every site takes comes into use; the next shipment signs in with it. */
static int rotate_finish(
	struct invocation *inv, const struct node_config *config, const char *path, const char *pub)
{
	_cleanup_(x_freep) char *own_pub = x_asprintf("%s.pub", config->ssh_key);
	_cleanup_(x_freep) char *dir = rotate_dir(config->ssh_key);
	int rc;

	if (!file_exists(path)) {
		return err_set(&inv->err, KLUIS_ENOTFOUND,
			"no '%s': 'ssh rotate' without --finish makes it", path);
	}
	rc = check_all(inv, config, path);
	if (rc != 0) {
		return err_wrap(&inv->err, rc, "the old key stays in use");
	}
	/* The private one last: stopped in between, this is done again, without the other. */
	if ((rename(pub, own_pub) != 0 && errno != ENOENT) || rename(path, config->ssh_key) != 0) {
		return err_set_errno(&inv->err, errno, "rename '%s'", path);
	}
	rc = file_sync_dir(dir, &inv->err);
	if (rc == 0) {
		output_note(&inv->out,
			"'%s' is the new key. Now take the old line out of NAME.ship.pub, and "
			"bring that to all receivers: until then the old key still opens them.",
			config->ssh_key);
	}
	return rc;
}

int ops_ssh_rotate(struct invocation *inv)
{
	_cleanup_(node_config_freep) struct node_config *config = NULL;
	_cleanup_(x_freep) char *path = NULL;
	_cleanup_(x_freep) char *pub = NULL;
	int rc = check_load(inv, &config);

	if (rc != 0) {
		return rc;
	}
	path = x_asprintf("%s.new", config->ssh_key);
	pub = x_asprintf("%s.pub", path);
	return invocation_value(inv, "finish") == NULL ? rotate_begin(inv, config, path, pub)
						       : rotate_finish(inv, config, path, pub);
}
