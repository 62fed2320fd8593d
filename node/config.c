#include "node/config.h"

#include <assert.h>
#include <ini.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "crypto/key.h"
#include "crypto/seal.h"

enum config_type {
	CONFIG_TEXT,	/* char *, copied */
	CONFIG_PATH,	/* char *, made absolute by the file's directory */
	CONFIG_NAME,	/* char[NODE_NAME_BYTES_MAX + 1] */
	CONFIG_NUMBER,	/* uint64_t within low..high */
	CONFIG_CHOICE,	/* uint64_t, by one of `choices` */
	CONFIG_HEX16,	/* uint8_t[16] */
	CONFIG_HEX32,	/* uint8_t[32] */
	CONFIG_ADDRESS, /* struct address */
	CONFIG_LEVEL,	/* enum log_level */
	CONFIG_ROLE,	/* bool: standby */
	CONFIG_WHO,	/* enum config_registration */
	CONFIG_FORMER,	/* struct backup_formers, one more with each line */
};

struct config_key {
	const char *section, *name;
	enum config_type type;
	size_t offset;
	bool required;
	uint64_t low, high;
	const struct config_choice *choices; /* Up to one without a name. */
};

const struct config_choice config_aes[] = {{"128", SYM_AES_128}, {"256", SYM_AES_256}, {NULL, 0}};
const struct config_choice config_rsa[] = {
	{"2048", 2048}, {"3072", 3072}, {"4096", 4096}, {NULL, 0}};
const struct config_choice config_curve[] = {
	{"p256", KEY_KEM_P256}, {"p384", KEY_KEM_P384}, {"x25519", KEY_KEM_X25519}, {NULL, 0}};

static const struct config_choice config_no_yes[] = {{"no", 0}, {"yes", 1}, {NULL, 0}};

#define KEY(section, name, type, member, required)                                         \
	{                                                                                  \
		section, name, type, offsetof(struct config, member), required, 0, 0, NULL \
	}
#define NUMBER(section, name, member, required, low, high)                                    \
	{                                                                                     \
		section, name, CONFIG_NUMBER, offsetof(struct config, member), required, low, \
			high, NULL                                                            \
	}
#define CHOICE(section, name, member, choices)                                              \
	{                                                                                   \
		section, name, CONFIG_CHOICE, offsetof(struct config, member), false, 0, 0, \
			choices                                                             \
	}
#define SITE(name, type, member, required)                                                     \
	{                                                                                      \
		"site", name, type, offsetof(struct config_site, member), required, 0, 0, NULL \
	}

static const struct config_key config_keys[] = {
	NUMBER("node", "id", id, true, 1, UINT32_MAX),
	KEY("node", "site", CONFIG_NAME, site, true),
	KEY("node", "data", CONFIG_PATH, data_dir, true),
	KEY("node", "secrets", CONFIG_PATH, secrets_file, true),
	KEY("node", "log_level", CONFIG_LEVEL, log_level, false),
	KEY("cluster", "id", CONFIG_HEX16, cluster_id, true),
	KEY("cluster", "restore_key", CONFIG_PATH, restore_key_file, false),
	NUMBER("cluster", "gone_after_s", gone_after_s, false, 2, 86400),
	KEY("api", "listen", CONFIG_ADDRESS, api_listen, true),
	KEY("api", "certificate", CONFIG_PATH, api_certificate_file, true),
	KEY("api", "key", CONFIG_PATH, api_key_file, true),
	KEY("api", "ca", CONFIG_PATH, api_ca_file, true),
	NUMBER("api", "stale_ms", api_stale_ms, false, API_STALE_MS_MIN, API_STALE_MS_MAX),
	KEY("accounts", "registration", CONFIG_WHO, registration, false),
	NUMBER("accounts", "recovery_delay_s", recovery_delay_s, false, 0, RECOVERY_DELAY_S_MAX),
	NUMBER("accounts", "quota_bytes", quota_bytes, false, 0, INT64_MAX),
	NUMBER("accounts", "quota_pages", quota_pages, false, 0, INT64_MAX),
	NUMBER("accounts", "srp_group", srp_group, false, 2, 5),
	CHOICE("accounts", "aes_bits", aes, config_aes),
	CHOICE("accounts", "rsa_bits", rsa_bits, config_rsa),
	CHOICE("accounts", "curve", curve, config_curve),
	KEY("mfa", "rp_id", CONFIG_TEXT, rp_id, false),
	KEY("mfa", "origins", CONFIG_TEXT, origins, false),
	KEY("mfa", "country_database", CONFIG_PATH, country_file, false),
	KEY("mfa", "asn_database", CONFIG_PATH, number_file, false),
	KEY("mfa", "location_table", CONFIG_PATH, location_table, false),
	KEY("push", "contact", CONFIG_TEXT, push_contact, false),
	KEY("push", "hosts", CONFIG_TEXT, push_hosts, false),
	KEY("push", "ca", CONFIG_PATH, push_ca_file, false),
	KEY("push", "fcm_account", CONFIG_PATH, push_fcm_account_file, false),
	KEY("push", "fcm_url", CONFIG_TEXT, push_fcm_url, false),
	KEY("push", "apns_key", CONFIG_PATH, push_apns_key_file, false),
	KEY("push", "apns_key_id", CONFIG_TEXT, push_apns_key_id, false),
	KEY("push", "apns_team", CONFIG_TEXT, push_apns_team, false),
	KEY("push", "apns_topic", CONFIG_TEXT, push_apns_topic, false),
	KEY("push", "apns_url", CONFIG_TEXT, push_apns_url, false),
	CHOICE("push", "private_addresses", push_private, config_no_yes),
	KEY("calls", "turn_uris", CONFIG_TEXT, turn_uris, false),
	KEY("calls", "turn_secret_file", CONFIG_PATH, turn_secret_file, false),
	NUMBER("calls", "ttl_s", turn_ttl_s, false, TURN_TTL_S_MIN, TURN_TTL_S_MAX),
	KEY("link", "listen", CONFIG_ADDRESS, link_listen, true),
	KEY("link", "certificate", CONFIG_PATH, link_certificate_file, true),
	KEY("link", "key", CONFIG_PATH, link_key_file, true),
	KEY("link", "ca", CONFIG_PATH, link_ca_file, true),
	KEY("admin", "socket", CONFIG_PATH, admin_socket, true),
	KEY("metrics", "listen", CONFIG_ADDRESS, metrics_listen, false),
	KEY("alarms", "command", CONFIG_PATH, alarm_command, false),
	NUMBER("alarms", "pause_s", alarm_pause_s, false, 1, 3600),
	NUMBER("alarms", "repeat_s", alarm_repeat_s, false, 60, 7 * 86400),
	NUMBER("storage", "write_buffer_mib", write_buffer_mib, false, 8, 4096),
	NUMBER("storage", "cache_mib", cache_mib, false, 8, 65536),
	NUMBER("storage", "disk_floor_mib", disk_floor_mib, false, 64, 1 << 20),
	NUMBER("storage", "disk_floor_percent", disk_floor_percent, false, 1, 50),
	KEY("backup", "public_key", CONFIG_PATH, backup_public_key_file, false),
	KEY("backup", "sign_key", CONFIG_PATH, backup_sign_key_file, false),
	KEY("backup", "ssh_key", CONFIG_PATH, backup_ssh_key_file, false),
	KEY("backup", "drill_key", CONFIG_PATH, backup_drill_key_file, false),
	KEY("backup", "drill_key_old", CONFIG_PATH, backup_drill_key_old_file, false),
	KEY("backup", "former_key", CONFIG_FORMER, backup_formers, false),
	KEY("backup", "repository", CONFIG_PATH, backup_repository_dir, false),
	KEY("backup", "drop", CONFIG_PATH, backup_drop_dir, false),
	NUMBER("backup", "copies", backup_copies, false, 1, SITES_MAX),
	NUMBER("backup", "bandwidth_kib", backup_bandwidth_kib, false, 0, 1 << 30),
	NUMBER("backup", "busy_kib", backup_busy_kib, false, 0, 1 << 30),
	NUMBER("backup", "interval_s", backup_interval_s, false, 0, SCHEDULE_INTERVAL_S_MAX),
	NUMBER("backup", "offset_s", backup_offset_s, false, 0, SCHEDULE_INTERVAL_S_MAX - 1),
	NUMBER("backup", "journal_s", backup_journal_s, false, 0, JOURNAL_S_MAX),
	NUMBER("backup", "keep_s", backup_keep_s, false, BACKUP_KEEP_S_MIN, BACKUP_KEEP_S_MAX),
	NUMBER("backup", "drop_quota_mib", backup_drop_quota_mib, false, 0, 1 << 30),
	NUMBER("backup", "drop_quota_files", backup_drop_quota_files, false, 100,
		BACKUP_DROP_FILES_MAX),
	NUMBER("backup", "rehash_s", backup_rehash_s, false, 3600, 30 * 24 * 3600),
	{"site", "id", CONFIG_NUMBER, offsetof(struct config_site, id), true, 1, UINT32_MAX, NULL},
	SITE("link", CONFIG_ADDRESS, link, true),
	SITE("role", CONFIG_ROLE, standby, false),
	SITE("url", CONFIG_TEXT, url, false),
	SITE("ssh", CONFIG_ADDRESS, ssh, false),
	SITE("ssh_user", CONFIG_TEXT, ssh_user, false),
	SITE("ssh_host_key", CONFIG_TEXT, ssh_host_key, false),
	SITE("ssh_path", CONFIG_TEXT, ssh_path, false),
	SITE("backup_key", CONFIG_HEX32, backup_key, false),
};
enum { CONFIG_KEYS = ARRAY_SIZE(config_keys), CONFIG_LINE_BYTES_MAX = 190 /* libinih: 199 */ };

/* What is carried through the parser. */
struct config_read {
	struct config *config;
	const char *path;
	struct err *e;
	bool failed;
	char complaint[80];
	char failure[200]; /* Of the first setting that is wrong: without file and line. */
	bool seen[SITES_MAX + 1][CONFIG_KEYS]; /* Row 0: the plain sections; then one a site. */
};

/* SSH writes base64 with '+' and '/' and padding (RFC 4253 section 6.6 keys in RFC 4648 section 4
 * text). */
static void config_ssh_to_url(char *text)
{
	for (; *text != 0; text++) {
		if (*text == '+') {
			*text = '-';
		} else if (*text == '/') {
			*text = '_';
		} else if (*text == '=' || *text == ' ') {
			*text = 0; /* Padding, or a comment behind the key. */
			return;
		}
	}
}

int config_ssh_key_parse(const char *text, uint8_t ret_wire[CONFIG_SSH_KEY_BYTES])
{
	static const char kind[] = "ssh-ed25519 ";
	static const uint8_t head[] = "\0\0\0\x0bssh-ed25519\0\0\0\x20";
	_cleanup_(x_freep) char *copy = NULL;
	uint8_t wire[CONFIG_SSH_KEY_BYTES];

	if (strncmp(text, kind, sizeof kind - 1) != 0) {
		return KLUIS_EINVAL;
	}
	copy = x_strdup(text + sizeof kind - 1);
	config_ssh_to_url(copy);
	if (base64_decode_exact(bytes_str(copy), wire, sizeof wire) != 0 ||
		memcmp(wire, head, sizeof head - 1) != 0) {
		return KLUIS_EINVAL;
	}
	memcpy(ret_wire, wire, sizeof wire);
	return 0;
}

static bool config_name_valid(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= NODE_NAME_BYTES_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len && name[0] != '-';
}

static int config_level_parse(const char *value, enum log_level *ret_level)
{
	static const struct {
		const char *name;
		enum log_level level;
	} rows[] = {{"err", LOG_LEVEL_ERR}, {"warn", LOG_LEVEL_WARN}, {"info", LOG_LEVEL_INFO},
		{"debug", LOG_LEVEL_DEBUG}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (strcmp(value, rows[i].name) == 0) {
			*ret_level = rows[i].level;
			return 0;
		}
	}
	return KLUIS_EINVAL;
}

const char *config_registration_name(enum config_registration registration)
{
	static const char *const names[] = {[REGISTRATION_CLOSED] = "closed",
		[REGISTRATION_INVITE] = "invite",
		[REGISTRATION_OPEN] = "open"};

	assert((size_t)registration < ARRAY_SIZE(names));
	return names[registration];
}

static int config_registration_parse(const char *value, enum config_registration *ret_registration)
{
	for (enum config_registration i = REGISTRATION_CLOSED; i <= REGISTRATION_OPEN; i++) {
		if (strcmp(value, config_registration_name(i)) == 0) {
			*ret_registration = i;
			return 0;
		}
	}
	return KLUIS_EINVAL;
}

static void config_set_text(char **to, char *value)
{
	free(*to);
	*to = value;
}

static const char *config_range(struct config_read *read, const struct config_key *key)
{
	(void)snprintf(read->complaint, sizeof read->complaint,
		"must be a number from %llu to %llu", (unsigned long long)key->low,
		(unsigned long long)key->high);
	return read->complaint;
}

const char *config_choice_name(const struct config_choice *choices, uint64_t value)
{
	while (choices->name != NULL && choices->value != value) {
		choices++;
	}
	assert(choices->name != NULL);
	return choices->name;
}

static const char *config_choose(struct config_read *read, const struct config_choice *choices,
	uint64_t *to, const char *value)
{
	size_t len = (size_t)snprintf(read->complaint, sizeof read->complaint, "must be one of");

	for (; choices->name != NULL; choices++) {
		if (strcmp(value, choices->name) == 0) {
			*to = choices->value;
			return NULL;
		}
		len += (size_t)snprintf(
			read->complaint + len, sizeof read->complaint - len, " %s", choices->name);
		assert(len < sizeof read->complaint);
	}
	return read->complaint;
}

static const char *config_former(
	struct config_read *read, struct backup_formers *to, const char *value)
{
	int rc = backup_formers_parse(to, value);

	(void)snprintf(read->complaint, sizeof read->complaint, "stands more than %d times",
		BACKUP_FORMER_MAX);
	return rc == 0		       ? NULL
	       : rc == KLUIS_ETOOLARGE ? read->complaint
				       : "must be a node's number and 64 hex digits";
}

/* What the value must be, or NULL when it was taken. */
static const char *config_store(
	struct config_read *read, const struct config_key *key, void *to, const char *value)
{
	switch (key->type) {
	case CONFIG_TEXT:
		config_set_text(to, x_strdup(value));
		return value[0] != 0 ? NULL : "must not be empty";
	case CONFIG_PATH:
		config_set_text(to, value[0] == '/' ? x_strdup(value)
						    : x_asprintf("%s%s", read->config->dir, value));
		return value[0] != 0 ? NULL : "must not be empty";
	case CONFIG_NAME:
		if (!config_name_valid(value)) {
			return "must be 1 to 63 characters of a-z, 0-9 and '-'";
		}
		memcpy(to, value, strlen(value) + 1);
		return NULL;
	case CONFIG_NUMBER:
		return u64_parse(bytes_str(value), key->high, to) == 0 &&
				       *(uint64_t *)to >= key->low
			       ? NULL
			       : config_range(read, key);
	case CONFIG_CHOICE:
		return config_choose(read, key->choices, to, value);
	case CONFIG_HEX16:
		return hex_decode(value, to, 16) == 0 ? NULL : "must be 32 hex digits";
	case CONFIG_HEX32:
		return hex_decode(value, to, 32) == 0 ? NULL : "must be 64 hex digits";
	case CONFIG_ADDRESS:
		return address_parse(value, to, NULL) == 0 ? NULL : "must be host:port";
	case CONFIG_LEVEL:
		return config_level_parse(value, to) == 0 ? NULL
							  : "must be err, warn, info or debug";
	case CONFIG_WHO:
		return config_registration_parse(value, to) == 0 ? NULL
								 : "must be open, invite or closed";
	case CONFIG_FORMER:
		return config_former(read, to, value);
	case CONFIG_ROLE:
		*(bool *)to = strcmp(value, "standby") == 0;
		return *(bool *)to || strcmp(value, "voter") == 0 ? NULL
								  : "must be voter or standby";
	}
	return "is of no known type";
}

/* The row of `name`, made if new; SIZE_MAX when there is no room or the name is bad. */
static size_t config_site_of(struct config *config, const char *name)
{
	size_t i;

	for (i = 0; i < config->n_sites; i++) {
		if (strcmp(config->sites[i].name, name) == 0) {
			return i;
		}
	}
	if (config->n_sites == SITES_MAX || !config_name_valid(name)) {
		return SIZE_MAX;
	}
	memcpy(config->sites[i].name, name, strlen(name) + 1);
	config->n_sites++;
	return i;
}

static const char *config_take(
	struct config_read *read, const char *section, const char *name, const char *value)
{
	bool in_site = strncmp(section, "site ", 5) == 0;
	size_t site = in_site ? config_site_of(read->config, section + 5) : 0;
	char *base = (char *)read->config;
	bool known = false;

	if (site == SIZE_MAX) {
		return "is a site too many, or one with a name that is not a-z, 0-9 and '-'";
	}
	if (in_site) {
		base = (char *)&read->config->sites[site];
		section = "site";
	}
	for (size_t i = 0; i < CONFIG_KEYS; i++) {
		const struct config_key *key = &config_keys[i];
		bool *seen = &read->seen[in_site ? site + 1 : 0][i];

		/* "[site]" without a name is no site, and no section either. */
		if (strcmp(key->section, section) != 0 ||
			(strcmp(key->section, "site") == 0) != in_site) {
			continue;
		}
		known = true;
		if (strcmp(key->name, name) == 0) {
			if (*seen && key->type != CONFIG_FORMER) {
				return "stands twice";
			}
			*seen = true;
			return config_store(read, key, base + key->offset, value);
		}
	}
	return known	       ? "is not a setting"
	       : *section == 0 ? "stands in no section"
			       : "stands in a section that is not known";
}

static int config_handle(void *user, const char *section, const char *name, const char *value)
{
	struct config_read *read = user;
	const char *complaint;

	if (read->failed) {
		return 0;
	}
	complaint = config_take(read, section, name, value);
	if (complaint != NULL) {
		read->failed = true;
		(void)snprintf(read->failure, sizeof read->failure, "[%.70s] '%.40s' %.80s",
			section, name, complaint);
		return 0;
	}
	return 1;
}

/* libinih goes on behind a line that it does not understand, cuts long ones and takes an indented
 * one for more of the value before: what it would do with such a line is said here first. */
static const char *config_line_complaint(struct bytes line)
{
	struct bytes text = bytes_of(line.data, line.len);
	const uint8_t *equals, *close;

	while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
		text = bytes_of(text.data + 1, text.len - 1);
	}
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < 0x20 && text.data[i] != '\t') {
			return "has a control character";
		}
	}
	if (text.len == 0 || text.data[0] == '#' || text.data[0] == ';') {
		return NULL;
	}
	if (line.len > CONFIG_LINE_BYTES_MAX) {
		return "is longer than 190 bytes";
	}
	if (text.len < line.len) {
		return "begins with a blank: a value ends with its line";
	}
	if (text.data[0] == '[') {
		close = memchr(text.data, ']', text.len);
		return close == NULL ? "opens a section and does not close it with ']'" : NULL;
	}
	equals = memchr(text.data, '=', text.len);
	return equals == NULL || equals == text.data ? "is not 'key = value'" : NULL;
}

static int config_check_lines(const char *path, struct bytes text, struct err *e)
{
	if (text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0) {
		text = bytes_of(
			text.data + 3, text.len - 3); /* A byte order mark, as editors put. */
	}
	for (unsigned number = 1; text.len > 0; number++) {
		const uint8_t *end = memchr(text.data, '\n', text.len);
		size_t len = end == NULL ? text.len : (size_t)(end - text.data);
		struct bytes line = bytes_of(text.data, len);
		const char *complaint;

		if (line.len > 0 && line.data[line.len - 1] == '\r') {
			line.len--;
		}
		complaint = config_line_complaint(line);
		if (complaint != NULL) {
			return err_set(e, KLUIS_EINVAL, "'%s' line %u %s: '%.*s'", path, number,
				complaint, line.len < 40 ? (int)line.len : 40,
				(const char *)line.data);
		}
		len += end == NULL ? 0 : 1;
		text = bytes_of(text.data + len, text.len - len);
	}
	return 0;
}

static int config_check_required(const struct config_read *read)
{
	for (size_t row = 0; row <= read->config->n_sites; row++) {
		for (size_t i = 0; i < CONFIG_KEYS; i++) {
			bool of_site = strcmp(config_keys[i].section, "site") == 0;

			if (of_site != (row > 0) || !config_keys[i].required ||
				read->seen[row][i]) {
				continue;
			}
			return err_set(read->e, KLUIS_EINVAL, "'%s': [%s%s%s] '%s' is missing",
				read->path, config_keys[i].section, row > 0 ? " " : "",
				row > 0 ? read->config->sites[row - 1].name : "",
				config_keys[i].name);
		}
	}
	return 0;
}

const struct config_site *config_self(const struct config *config)
{
	for (size_t i = 0; i < config->n_sites; i++) {
		if (config->sites[i].id == config->id) {
			return &config->sites[i];
		}
	}
	return NULL;
}

static int config_check_sites(struct config *config, const char *path, struct err *e)
{
	const struct config_site *self = config_self(config);
	size_t voters = 0;

	for (size_t i = 0; i < config->n_sites; i++) {
		struct config_site *site = &config->sites[i];

		if (site->ssh_host_key != NULL &&
			config_ssh_key_parse(site->ssh_host_key, site->ssh_host_key_wire) != 0) {
			return err_set(e, KLUIS_EINVAL,
				"'%s': [site %s] 'ssh_host_key' is no ssh-ed25519 key", path,
				site->name);
		}
		voters += config->sites[i].standby ? 0 : 1;
		for (size_t k = 0; k < i; k++) {
			if (config->sites[i].id == config->sites[k].id) {
				return err_set(e, KLUIS_EINVAL,
					"'%s': sites '%s' and '%s' have the same id", path,
					config->sites[k].name, config->sites[i].name);
			}
		}
	}
	if (self == NULL || strcmp(self->name, config->site) != 0) {
		return err_set(e, KLUIS_EINVAL, "'%s': no [site %s] with id %llu, this node's own",
			path, config->site, (unsigned long long)config->id);
	}
	if (voters != 1 && voters < VOTERS_MIN) {
		return err_set(e, KLUIS_EINVAL,
			"'%s': %zu voters: it takes at least %d (or one alone)", path, voters,
			VOTERS_MIN);
	}
	return 0;
}

static int config_check_listen(const struct config *config, const char *path, struct err *e)
{
	const struct {
		const char *section;
		const struct address *address;
	} rows[] = {{"api", &config->api_listen}, {"link", &config->link_listen},
		{"metrics", &config->metrics_listen}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].address->host[0] != 0 && !rows[i].address->numeric) {
			return err_set(e, KLUIS_EINVAL,
				"'%s': [%s] 'listen' must be an IP address with a port, not "
				"'%.60s'",
				path, rows[i].section, rows[i].address->host);
		}
	}
	if (config->metrics_listen.port != 0 && !address_is_loopback(&config->metrics_listen)) {
		return err_set(e, KLUIS_EINVAL,
			"'%s': [metrics] 'listen' must be a loopback address: it asks for no "
			"password",
			path);
	}
	return 0;
}

static int config_check_schedule(const struct config *config, const char *path, struct err *e)
{
	uint64_t interval_s = config->backup_interval_s;

	if (interval_s == 0) {
		return 0;
	}
	if (config->backup_offset_s >= interval_s) {
		return err_set(e, KLUIS_EINVAL,
			"'%s': [backup] 'offset_s' must be below interval_s, %llu", path,
			(unsigned long long)interval_s);
	}
	if (config->backup_keep_s / interval_s > CONFIG_KEEP_CYCLES_MAX) {
		return err_set(e, KLUIS_EINVAL,
			"'%s': [backup] 'keep_s' is %llu times 'interval_s': at most %d, for the "
			"cluster has records of no more snapshots",
			path, (unsigned long long)(config->backup_keep_s / interval_s),
			CONFIG_KEEP_CYCLES_MAX);
	}
	return 0;
}

static int config_check_backup(const struct config *config, const char *path, struct err *e)
{
	if (config->backup_public_key_file == NULL) {
		return 0;
	}
	if (config->backup_sign_key_file == NULL || config->backup_repository_dir == NULL ||
		config->backup_drop_dir == NULL || config->backup_ssh_key_file == NULL) {
		return err_set(e, KLUIS_EINVAL,
			"'%s': [backup] 'public_key' needs sign_key, ssh_key, repository and "
			"drop",
			path);
	}
	return config_check_schedule(config, path, e);
}

static struct config *config_new(const char *path)
{
	const char *slash = strrchr(path, '/');
	struct config *config = x_calloc(1, sizeof *config);

	config->dir =
		slash == NULL ? x_strdup("./") : x_asprintf("%.*s", (int)(slash - path + 1), path);
	config->file = x_strdup(path);
	config->log_level = LOG_LEVEL_INFO;
	config->api_stale_ms = API_STALE_MS_DEFAULT;
	config->write_buffer_mib = 192;
	config->cache_mib = 256;
	config->disk_floor_mib = 2048;
	config->disk_floor_percent = 10;
	config->gone_after_s = MEMBER_GONE_MS / 1000;
	config->backup_copies = 3;
	config->backup_busy_kib = 32768;
	config->backup_interval_s = SCHEDULE_INTERVAL_S;
	config->backup_keep_s = BACKUP_KEPT_MS / 1000;
	config->backup_journal_s = JOURNAL_S;
	config->alarm_pause_s = ALARM_PAUSE_S;
	config->turn_ttl_s = TURN_TTL_S_DEFAULT;
	config->alarm_repeat_s = ALARM_REPEAT_S;
	config->backup_drop_quota_files = BACKUP_DROP_FILES_DEFAULT;
	config->backup_rehash_s = BACKUP_REHASH_S_DEFAULT;
	config->registration = REGISTRATION_INVITE;
	config->srp_group = 3;
	config->aes = SYM_AES_256;
	config->rsa_bits = KEY_RSA_BITS;
	config->curve = KEY_KEM_P256;
	config->push_hosts = x_strdup(CONFIG_PUSH_HOSTS);
	config->push_ca_file = x_strdup("/etc/ssl/certs/ca-certificates.crt");
	config->push_fcm_url = x_strdup("https://fcm.googleapis.com");
	config->push_apns_url = x_strdup("https://api.push.apple.com");
	return config;
}

static void config_freep(struct config **config)
{
	config_free(*config);
}

int config_load(struct config **ret_config, const char *path, struct err *e)
{
	_cleanup_(config_freep) struct config *config = config_new(path);
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	_cleanup_(x_freep) struct config_read *read = x_calloc(1, sizeof *read);
	int rc = file_read(path, CONFIG_BYTES_MAX, &text, e);
	int line;

	if (rc != 0) {
		return rc;
	}
	if (!utf8_valid(buf_bytes(&text))) {
		return err_set(e, KLUIS_EINVAL, "'%s' is not UTF-8 text", path);
	}
	rc = config_check_lines(path, buf_bytes(&text), e);
	if (rc != 0) {
		return rc;
	}
	*read = (struct config_read){.config = config, .path = path, .e = e};
	line = ini_parse_string(buf_str(&text), config_handle, read);
	if (line != 0) {
		return err_set(e, KLUIS_EINVAL, "'%s' line %d: %s", path, line,
			read->failed ? read->failure : "is not 'key = value'");
	}
	rc = config_check_required(read);
	rc = rc != 0 ? rc : config_check_sites(config, path, e);
	rc = rc != 0 ? rc : config_check_listen(config, path, e);
	rc = rc != 0 ? rc : config_check_backup(config, path, e);
	if (rc == 0) {
		*ret_config = config;
		config = NULL;
	}
	return rc;
}

static bool config_text_equal(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool config_formers_equal(const struct backup_formers *a, const struct backup_formers *b)
{
	bool equal = a->n == b->n;

	for (size_t i = 0; equal && i < a->n; i++) {
		equal = a->rows[i].node == b->rows[i].node &&
			memcmp(a->rows[i].key, b->rows[i].key, sizeof a->rows[i].key) == 0;
	}
	return equal;
}

static bool config_value_equal(const struct config_key *key, const void *a, const void *b)
{
	switch (key->type) {
	case CONFIG_TEXT:
	case CONFIG_PATH:
		return config_text_equal(*(char *const *)a, *(char *const *)b);
	case CONFIG_NAME:
		return config_text_equal(a, b);
	case CONFIG_NUMBER:
	case CONFIG_CHOICE:
		return *(const uint64_t *)a == *(const uint64_t *)b;
	case CONFIG_HEX16:
		return memcmp(a, b, 16) == 0;
	case CONFIG_HEX32:
		return memcmp(a, b, 32) == 0;
	case CONFIG_ADDRESS:
		return ((const struct address *)a)->port == ((const struct address *)b)->port &&
		       config_text_equal(((const struct address *)a)->host,
			       ((const struct address *)b)->host);
	case CONFIG_ROLE:
		return *(const bool *)a == *(const bool *)b;
	case CONFIG_WHO:
		return *(const enum config_registration *)a == *(const enum config_registration *)b;
	case CONFIG_FORMER:
		return config_formers_equal(a, b);
	case CONFIG_LEVEL:
		break;
	}
	return true; /* Taken by a reload. */
}

/* Of one site, or of all that is no site's. */
static bool config_rows_differ(
	const void *a, const void *b, const char *site, char ret_name[CONFIG_SETTING_BYTES])
{
	for (size_t i = 0; i < CONFIG_KEYS; i++) {
		const struct config_key *key = &config_keys[i];

		if ((strcmp(key->section, "site") == 0) == (site != NULL) &&
			!config_value_equal(key, (const char *)a + key->offset,
				(const char *)b + key->offset)) {
			(void)snprintf(ret_name, CONFIG_SETTING_BYTES, "[%s%s%s] %s", key->section,
				site == NULL ? "" : " ", site == NULL ? "" : site, key->name);
			return true;
		}
	}
	return false;
}

bool config_difference(
	const struct config *a, const struct config *b, char ret_name[CONFIG_SETTING_BYTES])
{
	if (config_rows_differ(a, b, NULL, ret_name)) {
		return true;
	}
	for (size_t i = 0; i < a->n_sites || i < b->n_sites; i++) {
		const char *name = i < a->n_sites ? a->sites[i].name : b->sites[i].name;

		if (i >= a->n_sites || i >= b->n_sites || strcmp(name, b->sites[i].name) != 0) {
			(void)snprintf(ret_name, CONFIG_SETTING_BYTES, "[site %s]", name);
			return true;
		}
		if (config_rows_differ(&a->sites[i], &b->sites[i], name, ret_name)) {
			return true;
		}
	}
	return false;
}

bool config_setting_at(size_t n, struct config_setting *ret_setting)
{
	const struct config_key *key = &config_keys[n < CONFIG_KEYS ? n : 0];

	if (n >= CONFIG_KEYS) {
		return false;
	}
	*ret_setting = (struct config_setting){key->section, key->name, key->required,
		key->type == CONFIG_NUMBER, key->low, key->high};
	return true;
}

static void config_free_texts(char *base, bool of_site)
{
	for (size_t i = 0; i < CONFIG_KEYS; i++) {
		const struct config_key *key = &config_keys[i];

		if ((strcmp(key->section, "site") == 0) == of_site &&
			(key->type == CONFIG_TEXT || key->type == CONFIG_PATH)) {
			x_freep(base + key->offset);
		}
	}
}

void config_free(struct config *config)
{
	if (config == NULL) {
		return;
	}
	for (size_t i = 0; i < config->n_sites; i++) {
		config_free_texts((char *)&config->sites[i], true);
	}
	config_free_texts((char *)config, false);
	free(config->file);
	free(config->dir);
	free(config);
}
