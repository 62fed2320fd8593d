#include "tests/lib/test.h"

#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "node/config.h"

static const char config_good[] =
	"[node]\nid = 2\nsite = rtd\ndata = data\nsecrets = /etc/kluis/secrets\n"
	"[cluster]\nid = 000102030405060708090a0b0c0d0e0f\n"
	"[api]\nlisten = 127.0.0.1:7002\ncertificate = a.pem\nkey = a.key\nca = ca.pem\n"
	"[link]\nlisten = [::1]:7102\ncertificate = l.pem\nkey = l.key\nca = nca.pem\n"
	"[admin]\nsocket = admin.sock\n"
	"[storage]\ncache_mib = 64\n"
	"[site ams]\nid = 1\nlink = a.example:7101\n"
	"[site rtd]\nid = 2\nlink = b.example:7102\nssh = b.example:22\nssh_user = bk\n"
	"ssh_host_key = ssh-ed25519 "
	"AAAAC3NzaC1lZDI1NTE5AAAAIHk0rP/+0dNyuIDWQfG2lS7bT+8qzV5mZC3eBvQWqXfF c\n"
	"[site utr]\nid = 3\nlink = c.example:7103\n"
	"[site gro]\nid = 4\nlink = d.example:7104\nrole = standby\n"
	"[accounts]\nregistration = open\nrecovery_delay_s = 3600\n"
	"[mfa]\nrp_id = vault.example.org\nlocation_table = places\n"
	"[push]\ncontact = mailto:ops@example.org\nprivate_addresses = yes\n"
	"[calls]\nturn_uris = turn:a.example turns:b.example\nturn_secret_file = turn\nttl_s = "
	"600\n";

#define BACKUP_SETTINGS \
	"[backup]\npublic_key = p\nsign_key = s\nssh_key = k\nrepository = r\ndrop = d\n"

#define FORMER_KEY "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"

static int load_in(const char *dir, const char *text, struct config **ret_config, struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/kluisd.ini", dir);

	assert_int_equal(file_write(path, bytes_str(text), 0600, e), 0);
	return config_load(ret_config, path, e);
}

static int load(const char *text, struct config **ret_config, struct err *e)
{
	char *dir = scratch_new("config");
	int rc = load_in(dir, text, ret_config, e);

	scratch_free(dir);
	return rc;
}

static void test_good(void **state)
{
	char address[ADDRESS_TEXT_BYTES_MAX + 1];
	struct config *config = NULL;
	struct err e = {0};

	(void)state;
	assert_int_equal(load(config_good, &config, &e), 0);
	assert_int_equal(config->n_sites, 4);
	assert_string_equal(config_self(config)->ssh_user, "bk");
	assert_int_equal(config_self(config)->ssh_host_key_wire[19], 0x79);
	address_format(&config->link_listen, address);
	assert_string_equal(address, "[::1]:7102");
	assert_true(config->sites[3].standby);
	assert_string_equal(config->link_listen.host, "::1");
	assert_int_equal(config->link_listen.port, 7102);
	assert_int_equal(config->cluster_id[15], 15);
	assert_string_equal(config->secrets_file, "/etc/kluis/secrets");
	assert_string_equal(config->data_dir + strlen(config->dir), "data");
	assert_string_equal(config->rp_id, "vault.example.org");
	assert_string_equal(config->push_contact, "mailto:ops@example.org");
	assert_string_equal(config->push_hosts, CONFIG_PUSH_HOSTS);
	assert_int_equal(config->push_private, 1);
	assert_string_equal(config->location_table + strlen(config->dir), "places");
	assert_int_equal(config->cache_mib, 64);
	assert_int_equal(config->backup_copies, 3);
	assert_int_equal(config->backup_busy_kib, 32768);
	assert_int_equal(config->backup_interval_s, 4 * 3600);
	assert_int_equal(config->backup_offset_s, 0);
	assert_int_equal(config->backup_journal_s, 60);
	assert_int_equal(config->backup_keep_s, 14 * 86400);
	assert_int_equal(config->api_stale_ms, 10000);
	assert_int_equal(config->registration, REGISTRATION_OPEN);
	assert_int_equal(config->recovery_delay_s, 3600);
	assert_string_equal(config->turn_uris, "turn:a.example turns:b.example");
	assert_string_equal(config->turn_secret_file + strlen(config->dir), "turn");
	assert_int_equal(config->turn_ttl_s, 600);
	assert_int_equal(config->srp_group, 3);
	assert_string_equal(config_choice_name(config_aes, config->aes), "256");
	assert_int_equal(config->rsa_bits, 3072);
	assert_string_equal(config_choice_name(config_curve, config->curve), "p256");
	config_free(config);
}

static void test_backup(void **state)
{
	_cleanup_(x_freep) char *text = x_asprintf(
		"%s%sinterval_s = 60\nkeep_s = 14459\noffset_s = 59\n"
		"drill_key = b.key\ndrill_key_old = /k/old.key\n"
		"former_key = 9 " FORMER_KEY "\nformer_key = 4294967295 " FORMER_KEY "\n",
		config_good, BACKUP_SETTINGS);
	struct config *config = NULL;
	struct err e = {0};

	(void)state;
	assert_int_equal(load(text, &config, &e), 0);
	assert_string_equal(config->backup_public_key_file + strlen(config->dir), "p");
	assert_string_equal(config->backup_drill_key_file + strlen(config->dir), "b.key");
	assert_string_equal(config->backup_drill_key_old_file, "/k/old.key");
	assert_string_equal(config->file + strlen(config->dir), "kluisd.ini");
	assert_int_equal(config->backup_offset_s, 59);
	assert_int_equal(config->backup_keep_s, 14459);
	assert_int_equal(config->backup_formers.n, 2);
	assert_int_equal(config->backup_formers.rows[0].node, 9);
	assert_int_equal(config->backup_formers.rows[1].node, UINT32_MAX);
	assert_int_equal(config->backup_formers.rows[1].key[0], 0xd7);
	config_free(config);
}

/* Each row replaces one piece of the good file and must be refused with a text that names the
 * thing. */
static void test_bad(void **state)
{
	static const struct {
		const char *from, *to, *said;
	} rows[] = {
		{"id = 2\nsite", "id = 0\nsite",
			"line 2: [node] 'id' must be a number from 1 to 4294967295"},
		{"id = 2\nsite", "id = 9\nsite", "[site rtd] with id 9"},
		{"site = rtd", "site = R_D", "'site' must be 1 to 63"},
		{"listen = 127.0.0.1:7002", "listen = 127.0.0.1", "'listen' must be host:port"},
		{"listen = 127.0.0.1:7002", "listen = ::1:7002", "'listen' must be host:port"},
		{"listen = 127.0.0.1:7002", "listen = h:70000", "'listen' must be host:port"},
		{"0e0f", "0e", "'id' must be 32 hex digits"},
		{"cache_mib = 64", "disk_floor_percent = 0",
			"'disk_floor_percent' must be a number from 1 to 50"},
		{"[storage]\ncache_mib", "[storage]\ncash", "'cash' is not a setting"},
		{"cache_mib = 64", "cache_mib = 1", "'cache_mib' must be a number from 8 to 65536"},
		{"key = a.key", "key = a.key\nstale_ms = 999", "from 1000 to 600000"},
		{"key = a.key", "key = a.key\nstale_ms = 600001", "from 1000 to 600000"},
		{"= open", "= Open", "'registration' must be open, invite or closed"},
		{"delay_s = 3600", "delay_s = 1209601", "from 0 to 1209600"},
		{"recovery_delay_s = 3600", "srp_group = 1", "from 2 to 5"},
		{"ttl_s = 600", "ttl_s = 59", "from 60 to 86400"},
		{"recovery_delay_s = 3600", "aes_bits = 192", "must be one of 128 256"},
		{"recovery_delay_s = 3600", "rsa_bits = 1024", "must be one of 2048 3072 4096"},
		{"recovery_delay_s = 3600", "curve = P256", "must be one of p256 p384 x25519"},
		{"key = a.key\n", "", "[api] 'key' is missing"},
		{"link = a.example:7101\n", "", "[site ams] 'link' is missing"},
		{"[site utr]\nid = 3", "[site utr]\nid = 1", "'ams' and 'utr' have the same id"},
		{"role = standby", "role = king", "'role' must be voter or standby"},
		{"[site utr]\nid = 3", "[site UTR]\nid = 3", "a site too many"},
		{"ca = ca.pem", "ca = ca.pem\nca = b.pem", "'ca' stands twice"},
		{"[storage]", "[storage]\nrubbish", "line 21 is not 'key = value': 'rubbish'"},
		{"[node]", "[node",
			"line 1 opens a section and does not close it with ']': '[node'"},
		{"[site utr]", "[site utr", "does not close it with ']': '[site utr'"},
		{"[node]\n", "", "line 1: [] 'id' stands in no section"},
		{"[storage]\n", "[storage]\n = 7\n", "line 21 begins with a blank"},
		{"[storage]\n", "[storage]\n= 7\n", "line 21 is not 'key = value'"},
		{"site = rtd", "site = r\n  td", "line 4 begins with a blank"},
		{"site = rtd", "site = rtd\x01", "line 3 has a control character"},
		{"[storage]", "[store]",
			"[store] 'cache_mib' stands in a section that is not known"},
		{"[site utr]", "[site]", "[site] 'id' stands in a section that is not known"},
		{"site = rtd", "site : rtd", "line 3 is not 'key = value'"},
		{"listen = 127.0.0.1:7002", "listen = localhost:7002",
			"[api] 'listen' must be an IP address with a port, not 'localhost'"},
		{"[storage]", "[metrics]\nlisten = 0.0.0.0:1\n[storage]", "must be a loopback"},
		{"secrets = /etc/kluis/secrets",
			"secrets = "
			"/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789"
			"/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789"
			"/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789",
			"line 5 is longer than 190 bytes"},
		{"[site utr]\nid = 3\nlink = c.example:7103\n", "", "2 voters"},
		{"[storage]", "[backup]\npublic_key = p\n[storage]", "needs sign_key"},
		{"[storage]", "[backup]\ninterval_s = 604801\n[storage]", "from 0 to 604800"},
		{"[storage]", "[backup]\noffset_s = 604800\n[storage]", "from 0 to 604799"},
		{"[storage]", "[backup]\njournal_s = 3601\n[storage]", "from 0 to 3600"},
		{"[storage]", "[backup]\nkeep_s = 59\n[storage]", "from 60 to 316224000"},
		{"[storage]", BACKUP_SETTINGS "interval_s = 60\noffset_s = 60\n[storage]",
			"'offset_s' must be below interval_s, 60"},
		{"[storage]", BACKUP_SETTINGS "interval_s = 3600\n[storage]",
			"'keep_s' is 336 times 'interval_s': at most 240"},
		{"[storage]", BACKUP_SETTINGS "interval_s = 60\nkeep_s = 14460\n[storage]",
			"'keep_s' is 241 times 'interval_s': at most 240"},
		{"[storage]", "[alarms]\npause_s = 0\n[storage]", "from 1 to 3600"},
		{"[storage]", "[alarms]\nrepeat_s = 59\n[storage]", "from 60 to 604800"},
		{"ssh-ed25519", "ssh-rsa", "'ssh_host_key' is no ssh-ed25519 key"},
		{"AAAAC3Nz", "AAAAC3Nx", "'ssh_host_key' is no ssh-ed25519 key"},
		{"AAAAC3Nz", "AAAAAC3Nz", "'ssh_host_key' is no ssh-ed25519 key"},
		{"[storage]", "[backup]\nformer_key = " FORMER_KEY "\n[storage]",
			"'former_key' must be a node's number and 64 hex digits"},
		{"ssh_user = bk", "backup_key = 00", "'backup_key' must be 64 hex digits"},
		{"site = rtd", "site = \xff\xfe", "not UTF-8"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;
		const char *at = strstr(config_good, rows[i].from);
		struct config *config = NULL;
		struct err e = {0};

		assert_non_null(at);
		buf_append(&text, config_good, (size_t)(at - config_good));
		buf_printf(&text, "%s%s", rows[i].to, at + strlen(rows[i].from));
		assert_int_equal(load(buf_str(&text), &config, &e), KLUIS_EINVAL);
		assert_null(config);
		if (strstr(e.text, rows[i].said) == NULL) {
			fail_msg("row %zu: '%s' does not say '%s'", i, e.text, rows[i].said);
		}
	}
}

/* What a reload must tell, because it only counts after a restart. */
static void test_difference(void **state)
{
	static const struct {
		const char *from, *to, *name; /* NULL: none. */
	} rows[] = {
		{"[storage]", "[storage]", NULL},
		{"site = rtd", "site = rtd\nlog_level = debug", NULL},
		{"cache_mib = 64", "cache_mib = 65", "[storage] cache_mib"},
		{"key = a.key", "key = b.key", "[api] key"},
		{"[storage]", "[alarms]\ncommand = a\n[storage]", "[alarms] command"},
		{"127.0.0.1:7002", "127.0.0.1:7003", "[api] listen"},
		{"c.example:7103", "e.example:7103", "[site utr] link"},
		{"= open", "= invite", "[accounts] registration"},
		{"ssh_user = bk", "ssh_user = bl", "[site rtd] ssh_user"},
		{"role = standby", "role = voter", "[site gro] role"},
		{"[site utr]", "[site utx]", "[site utr]"},
		{"[storage]", "[backup]\nformer_key = 9 " FORMER_KEY "\n[storage]",
			"[backup] former_key"},
		{"[storage]", "[cluster]\nrestore_key = r\n[storage]", "[cluster] restore_key"},
	};
	char *dir = scratch_new("config");
	struct config *before = NULL;
	struct err e = {0};

	(void)state;
	assert_int_equal(load_in(dir, config_good, &before, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;
		const char *at = strstr(config_good, rows[i].from);
		char name[CONFIG_SETTING_BYTES] = "";
		struct config *after = NULL;

		buf_append(&text, config_good, (size_t)(at - config_good));
		buf_printf(&text, "%s%s", rows[i].to, at + strlen(rows[i].from));
		assert_int_equal(load_in(dir, buf_str(&text), &after, &e), 0);
		assert_int_equal(config_difference(before, after, name), rows[i].name != NULL);
		assert_string_equal(name, rows[i].name == NULL ? "" : rows[i].name);
		config_free(after);
	}
	config_free(before);
	scratch_free(dir);
}

#define EXAMPLE KLUIS_SOURCE_DIR "/deploy/kluisd.ini.example"

/* Where a setting's line begins behind `from`, set (mark "") or as a default (mark "#"). */
static const char *example_line(
	const char *from, const char *end, const char *mark, const char *name)
{
	_cleanup_(x_freep) char *line = x_asprintf("\n%s%s = ", mark, name);
	const char *at = strstr(from, line);

	return at == NULL || at >= end ? NULL : at + 1;
}

/* Of the line before `at`, which begins a line behind the text's first. */
static const char *example_line_before(const char *text, const char *at)
{
	for (at--; at > text && at[-1] != '\n'; at--) {
	}
	return at;
}

/* The comment above a setting, or above the settings that share it. */
static char *example_comment(const char *text, const char *line)
{
	const char *begin, *end = line;

	while (end > text && strncmp(example_line_before(text, end), "# ", 2) != 0) {
		end = example_line_before(text, end);
	}
	for (begin = end;
		begin > text && strncmp(example_line_before(text, begin), "# ", 2) == 0;) {
		begin = example_line_before(text, begin);
	}
	return x_asprintf("%.*s", (int)(end - begin), begin);
}

static void check_example_setting(const char *text, const struct config_setting *s)
{
	_cleanup_(x_freep) char *head =
		x_asprintf(strcmp(s->section, "site") == 0 ? "\n[%s " : "\n[%s]", s->section);
	const char *section = strstr(text, head), *end, *line;
	_cleanup_(x_freep) char *comment = NULL, *limits = NULL;

	print_message("[%s] %s\n", s->section, s->name);
	assert_non_null(section);
	end = strstr(section + 1, "\n[");
	end = end == NULL ? section + strlen(section) : end;
	line = example_line(section, end, "", s->name);
	if (line == NULL) {
		assert_false(s->required);
		line = example_line(section, end, "#", s->name);
	}
	assert_non_null(line);
	comment = example_comment(text, line);
	assert_non_null(strstr(comment, s->required ? "Needed." : "Default"));
	if (s->number) {
		limits = x_asprintf(
			"%llu to %llu", (unsigned long long)s->low, (unsigned long long)s->high);
		assert_non_null(strstr(comment, limits));
	}
}

/* The example that is installed has every setting there is, with what it must say of each. */
static void test_example_is_complete(void **state)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct config_setting setting;
	struct err e = {0};
	size_t n;

	(void)state;
	assert_int_equal(file_read(EXAMPLE, CONFIG_BYTES_MAX, &text, &e), 0);
	for (n = 0; config_setting_at(n, &setting); n++) {
		check_example_setting(buf_str(&text), &setting);
	}
	assert_true(n > 30);
}

/* A setting that is shown as a default; what it says of one without is an example. */
static bool example_is_default(const char *text, const char *at)
{
	_cleanup_(x_freep) char *comment = NULL;

	if (at[0] != '#' || at[1] < 'a' || at[1] > 'z' || strncmp(at, "#listen", 7) == 0) {
		return false;
	}
	comment = example_comment(text, at);
	return strstr(comment, "Default none") == NULL;
}

/* What it shows as a default is one: with those lines set nothing changes but what has none. */
static void test_example_tells_the_defaults(void **state)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT, set = BUF_INIT;
	struct config *as_is = NULL, *with_defaults = NULL;
	char name[CONFIG_SETTING_BYTES] = "";
	char *dir = scratch_new("config");
	struct err e = {0};

	(void)state;
	assert_int_equal(file_read(EXAMPLE, CONFIG_BYTES_MAX, &text, &e), 0);
	for (const char *at = buf_str(&text); *at != '\0';) {
		size_t len = strcspn(at, "\n") + 1;

		if (example_is_default(buf_str(&text), at)) {
			at++;
			len--;
		}
		buf_append(&set, at, len);
		at += len;
	}
	assert_true(set.len < text.len);
	assert_int_equal(load_in(dir, buf_str(&text), &as_is, &e), 0);
	assert_int_equal(load_in(dir, buf_str(&set), &with_defaults, &e), 0);
	assert_int_equal(as_is->log_level, with_defaults->log_level);
	(void)config_difference(as_is, with_defaults, name);
	assert_string_equal(name, "");
	config_free(as_is);
	config_free(with_defaults);
	scratch_free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_good),
		cmocka_unit_test(test_backup), cmocka_unit_test(test_bad),
		cmocka_unit_test(test_difference), cmocka_unit_test(test_example_is_complete),
		cmocka_unit_test(test_example_tells_the_defaults)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
