#include "tests/lib/cli_fixture/cli_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/random.h"
#include "cli/client/json_reader.h"

static void must(int rc, const struct err *e)
{
	if (rc != 0) {
		print_error("%s: %s\n", err_name(rc), e->text);
		abort();
	}
}

/* Making an RSA key takes longer than a test: the first profile's keys serve all of the program,
 * under the settings of each test's own node. */
static struct buf fixture_keys;
static json_t *fixture_settings;

static void fixture_first(struct cli_fixture *f, const struct api_cluster *cluster)
{
	_cleanup_(x_freep) char *keys = x_asprintf("%s/keys", f->profile_dir);
	_cleanup_(x_freep) char *settings = x_asprintf("%s/settings.json", f->profile_dir);
	const char *url = fake_node_url(f->node);

	must(profile_make(f->profile_dir, cluster, "bob", "laptop", &url, 1, &f->profile, &f->err),
		&f->err);
	must(profile_save(f->profile, &f->err), &f->err);
	must(file_read(keys, 1 << 20, &fixture_keys, &f->err), &f->err);
	fixture_settings = json_load_file(settings, 0, NULL);
}

static void fixture_again(struct cli_fixture *f, const struct api_cluster *cluster)
{
	_cleanup_(x_freep) char *keys = x_asprintf("%s/keys", f->profile_dir);
	_cleanup_(x_freep) char *settings = x_asprintf("%s/settings.json", f->profile_dir);
	json_t *value = json_deep_copy(fixture_settings), *endpoints = json_array();
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct buf ca = cluster->ca_pem;

	(void)json_array_append_new(endpoints, json_string(fake_node_url(f->node)));
	(void)json_object_set_new(value, "endpoints", endpoints);
	(void)json_object_set_new(
		value, "cluster_id", json_hex(bytes_of(cluster->cluster_id, ID_BYTES)));
	(void)json_object_set_new(value, "lineage", json_hex(bytes_of(cluster->lineage, ID_BYTES)));
	(void)json_object_set_new(
		value, "restore_key", json_base64(bytes_of(cluster->restore_key, API_KEY_BYTES)));
	(void)json_object_set_new(value, "ca", json_stringn((char *)ca.data, ca.len));
	json_take_text(value, &text);
	must(file_make_dirs(f->profile_dir, 0700, &f->err), &f->err);
	must(file_write(keys, buf_bytes(&fixture_keys), 0600, &f->err), &f->err);
	must(file_write(settings, buf_bytes(&text), 0600, &f->err), &f->err);
	must(profile_open(f->profile_dir, &f->profile, &f->err), &f->err);
}

static void fixture_enrol(struct cli_fixture *f)
{
	const char *url = fake_node_url(f->node);
	struct client_config config = {
		.endpoints = &url, .n_endpoints = 1, .ca_pem = fake_node_ca(f->node)};
	struct api_cluster cluster;
	struct client *client;

	must(client_new(&config, &client, &f->err), &f->err);
	must(api_well_known(client, &cluster, &f->err), &f->err);
	if (fixture_settings == NULL) {
		fixture_first(f, &cluster);
	} else {
		fixture_again(f, &cluster);
	}
	must(session_enrol(f->profile, client, "ket_good", &f->err), &f->err);
	api_cluster_release(&cluster);
	client_free(client);
}

int cli_fixture_setup(void **state)
{
	struct cli_fixture *f = x_calloc(1, sizeof *f);
	uint8_t id[ID_BYTES];

	f->node = fake_node_new();
	f->dir = scratch_new("cli");
	f->profile_dir = x_asprintf("%s/profile", f->dir);
	fixture_enrol(f);
	must(session_client(f->profile, NULL, CLI_FIXTURE_GIVE_UP_MS, &f->client, &f->err),
		&f->err);
	must(vault_create(f->profile, f->client, "v", id, &f->err), &f->err);
	*state = f;
	return 0;
}

int cli_fixture_teardown(void **state)
{
	struct cli_fixture *f = *state;

	client_free(f->client);
	profile_close(f->profile);
	fake_node_free(f->node);
	scratch_free(f->dir);
	free(f->profile_dir);
	free(f);
	return 0;
}

void cli_fixture_reopen(struct cli_fixture *f)
{
	client_free(f->client);
	profile_close(f->profile);
	f->client = NULL;
	f->profile = NULL;
	must(profile_open(f->profile_dir, &f->profile, &f->err), &f->err);
	must(session_client(f->profile, NULL, CLI_FIXTURE_GIVE_UP_MS, &f->client, &f->err),
		&f->err);
}

int cli_fixture_sync(struct cli_fixture *f, uint64_t *ret_seq)
{
	struct vault *vault;
	int rc;

	f->err = (struct err){0};
	rc = vault_open(f->profile, f->client, "v", &vault, &f->err);
	if (rc != 0) {
		return rc;
	}
	rc = vault_sync(vault, &f->err);
	*ret_seq = vault->head.seq;
	vault_close(vault);
	return rc;
}

static int fixture_put(
	struct cli_fixture *f, struct vault *vault, const char *local, const char *path)
{
	struct put_config config = {.force = true};
	struct put_result result;
	struct put *put;
	bool is_local;
	int rc = vault_sync(vault, &f->err);

	rc = rc != 0 ? rc : put_new(vault, &config, &put, &f->err);
	if (rc != 0) {
		return rc;
	}
	rc = put_file(put, local, path, &is_local, &f->err);
	rc = rc != 0 ? rc : put_finish(put, &result, &f->err);
	put_free(put);
	return rc;
}

int cli_fixture_put(struct cli_fixture *f, const char *name, struct bytes content)
{
	_cleanup_(x_freep) char *local = x_asprintf("%s/in-%s", f->dir, name);
	_cleanup_(x_freep) char *path = x_asprintf("/%s", name);
	struct vault *vault;
	int rc;

	f->err = (struct err){0};
	rc = file_write(local, content, 0600, &f->err);
	rc = rc != 0 ? rc : vault_open(f->profile, f->client, "v", &vault, &f->err);
	if (rc != 0) {
		return rc;
	}
	rc = fixture_put(f, vault, local, path);
	vault_close(vault);
	return rc;
}

static int fixture_write(void *arg, struct bytes bytes, struct err *e)
{
	(void)e;
	buf_append_bytes(arg, bytes);
	return 0;
}

int cli_fixture_get(struct cli_fixture *f, const char *name, struct buf *to)
{
	_cleanup_(x_freep) char *path = x_asprintf("/%s", name);
	const struct get_config config = {.write = fixture_write, .arg = to};
	struct tree *tree = NULL;
	struct tree_item *item;
	struct vault *vault;
	bool moved;
	int rc;

	f->err = (struct err){0};
	rc = vault_open(f->profile, f->client, "v", &vault, &f->err);
	if (rc != 0) {
		return rc;
	}
	rc = vault_sync(vault, &f->err);
	rc = rc != 0 ? rc : tree_load(vault, &tree, &f->err);
	rc = rc != 0 ? rc : tree_find(tree, path, &item, &f->err);
	rc = rc != 0 ? rc : get_file(tree, item, &config, &moved, &f->err);
	tree_free(tree);
	vault_close(vault);
	return rc;
}

struct buf cli_fixture_bytes(size_t size, uint64_t seed)
{
	struct random_seeded random;
	struct buf b = BUF_INIT;

	random_seeded_init(&random, seed);
	random_fill(&random.random, buf_extend(&b, size), size);
	return b;
}

static bool digest_skips(const char *name)
{
	return strcmp(name, "session") == 0 || strcmp(name, "lock") == 0 ||
	       strcmp(name, "leaves") == 0 || strncmp(name, "page-", 5) == 0;
}

static void digest_dir(struct hash *hash, const char *path)
{
	struct dirent **names;
	int n = scandir(path, &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;
		_cleanup_(x_freep) char *child = x_asprintf("%s/%s", path, name);
		_cleanup_(buf_release) struct buf bytes = BUF_INIT;
		struct err e = {0};

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || digest_skips(name)) {
			free(names[i]);
			continue;
		}
		hash_update(hash, bytes_str(name));
		if (names[i]->d_type == DT_DIR) {
			digest_dir(hash, child);
		} else {
			must(file_read(child, 1 << 24, &bytes, &e), &e);
			hash_update(hash, buf_bytes(&bytes));
		}
		free(names[i]);
	}
	if (n >= 0) {
		free(names);
	}
}

void cli_fixture_digest(const struct cli_fixture *f, uint8_t ret[HASH_BYTES])
{
	struct hash hash;

	hash_init(&hash);
	digest_dir(&hash, f->profile_dir);
	hash_final(&hash, ret);
	hash_release(&hash);
}

void cli_fixture_copy(const char *from, const char *to)
{
	struct dirent **names;
	int n = scandir(from, &names, NULL, alphasort);
	struct err e = {0};

	must(file_make_dirs(to, 0700, &e), &e);
	for (int i = 0; i < n; i++) {
		_cleanup_(x_freep) char *here = x_asprintf("%s/%s", from, names[i]->d_name);
		_cleanup_(x_freep) char *there = x_asprintf("%s/%s", to, names[i]->d_name);
		_cleanup_(buf_release) struct buf bytes = BUF_INIT;
		bool dots = names[i]->d_name[0] == '.';

		if (!dots && names[i]->d_type == DT_DIR) {
			cli_fixture_copy(here, there);
		} else if (!dots) {
			must(file_read(here, 1 << 24, &bytes, &e), &e);
			must(file_write(there, buf_bytes(&bytes), 0600, &e), &e);
		}
		free(names[i]);
	}
	if (n >= 0) {
		free(names);
	}
}
