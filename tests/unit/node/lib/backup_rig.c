#include "tests/unit/node/lib/backup_rig.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/keys.h"
#include "backup/repository.h"
#include "backup/verify.h"
#include "base/file.h"
#include "base/text.h"
#include "node/backup_parts.h"
#include "storage/report_store.h"
#include "tests/lib/certs.h"
#include "tests/lib/test.h"

const char *const backup_rig_names[BACKUP_RIG_NODES] = {"ams", "ber", "cph"};

/* The drop of each other sender, with the owner and mode of the one that the sshd came with. */
static void make_drops(struct test_sshd *sshd)
{
	struct stat st;

	assert_int_equal(stat(sshd->drop, &st), 0);
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		_cleanup_(x_freep) char *drop =
			x_asprintf("%s/files/%s/incoming", sshd->dir, backup_rig_names[i]);

		assert_int_equal(file_make_dirs(drop, 0755, NULL), 0);
		assert_int_equal(chown(drop, st.st_uid, st.st_gid), 0);
		assert_int_equal(chmod(drop, st.st_mode & 07777), 0);
	}
}

/* All senders sign in with the key that came with the first sshd. */
static void share_key(struct backup_rig *w)
{
	_cleanup_(x_freep) char *first = x_asprintf("%s/authorized_keys", w->sshd[0]->dir);
	_cleanup_(buf_release) struct buf line = BUF_INIT;

	assert_int_equal(file_read(first, 4096, &line, NULL), 0);
	for (unsigned i = 1; i < BACKUP_RIG_NODES; i++) {
		_cleanup_(x_freep) char *path = x_asprintf("%s/authorized_keys", w->sshd[i]->dir);

		assert_int_equal(file_write(path, buf_bytes(&line), 0644, NULL), 0);
	}
}

static void fill_site(struct backup_rig *w, struct config_site *site, unsigned i)
{
	(void)snprintf(
		site->name, sizeof site->name, "%s", backup_rig_names[i]); /* Three letters. */
	(void)snprintf(site->ssh.host, sizeof site->ssh.host, "127.0.0.1");
	site->id = i + 1;
	site->ssh.port = (uint16_t)w->sshd[i]->port;
	site->ssh_user = w->sshd[i]->user;
	site->ssh_host_key = w->sshd[i]->host_key;
	site->ssh_path = x_asprintf("%s/files", w->sshd[i]->dir);
	memcpy(site->backup_key, key_pub_bytes(key_public(w->signer[i])).data, 32);
}

static void fill_config(struct backup_rig *w, unsigned i)
{
	struct config *c = &w->config[i];

	c->id = i + 1;
	(void)snprintf(c->site, sizeof c->site, "%s", backup_rig_names[i]); /* As above. */
	c->data_dir = replica_rig_path(&w->rig, i, "data");
	c->backup_public_key_file = w->backup_public;
	c->backup_sign_key_file = replica_rig_path(&w->rig, i, "sign.key");
	c->backup_ssh_key_file = w->sshd[0]->key_path;
	c->backup_repository_dir = replica_rig_path(&w->rig, i, "repository");
	c->backup_drop_dir = x_asprintf("%s/files", w->sshd[i]->dir);
	c->backup_copies = 2;
	c->backup_keep_s = BACKUP_KEPT_MS / 1000;
	c->backup_rehash_s = 2; /* A week is too long for a test. */
	c->backup_haste = 10;
	assert_int_equal(
		backup_key_save(w->signer[i], BACKUP_KEY_NODE, c->backup_sign_key_file, NULL), 0);
	for (unsigned k = 0; k < BACKUP_RIG_NODES; k++) {
		fill_site(w, &c->sites[c->n_sites++], k);
	}
}

void backup_rig_start_job(struct backup_rig *w, unsigned i)
{
	char trouble[256];
	struct err e = {0};

	if (backup_job_start(&w->job[i], &w->config[i], &w->identity, w->rig.node[i], w->pool[i],
		    &w->rig.loop, &w->rig.mailbox, &e) != 0) {
		fail_msg("%s", e.text);
	}
	for (unsigned waited = 0; backup_open_trouble(w->job[i], trouble) && trouble[0] == 0;
		waited += 5) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 5);
	}
}

static void closed_cb(void *data)
{
	((struct backup_rig *)data)->closed++;
}

void backup_rig_close_job(struct backup_rig *w, unsigned i)
{
	unsigned before = w->closed;

	backup_job_close(w->job[i], closed_cb, w);
	w->job[i] = NULL;
	for (unsigned waited = 0; w->closed == before && waited < RIG_WAIT_MS; waited += 20) {
		replica_rig_run(&w->rig, 20);
	}
	assert_int_equal(w->closed, before + 1);
}

void backup_rig_propose(struct backup_rig *w, const struct command *command, uint64_t *ret_index)
{
	struct buf bytes = BUF_INIT;

	command_encode(command, &bytes);
	assert_int_equal(replica_rig_propose(&w->rig, replica_rig_leader(&w->rig), &bytes,
				 RIG_WAIT_MS, ret_index),
		0);
}

static void announce_all(struct backup_rig *w)
{
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		struct command c = {.type = COMMAND_NODE_ANNOUNCE,
			.node_announce = {.node = i + 1, .feature_level = FEATURE_LEVEL}};

		memcpy(c.node_announce.backup_key, key_pub_bytes(key_public(w->signer[i])).data,
			32);
		backup_rig_propose(w, &c, NULL);
	}
}

static void begin_cluster(struct backup_rig *w)
{
	struct command command = {
		.type = COMMAND_CLUSTER_INIT, .cluster_init = {.n_nodes = BACKUP_RIG_NODES}};

	memcpy(command.cluster_init.cluster_id, certs_cluster, 16);
	memcpy(command.cluster_init.lineage, w->identity.lineage, 16);
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		command.cluster_init.node[i] = i + 1;
	}
	backup_rig_propose(w, &command, NULL);
	replica_rig_wait_clock(&w->rig, 0);
	announce_all(w);
}

int backup_rig_set_up(void **state)
{
	struct backup_rig *w = x_calloc(1, sizeof *w);

	*state = w;
	replica_rig_init(&w->rig, BACKUP_RIG_NODES, BACKUP_RIG_NODES);
	memcpy(w->identity.cluster_id, certs_cluster, 16);
	memset(w->identity.lineage, 0x77, 16);
	w->backup_public = x_asprintf("%s/backup.pub", w->rig.dir);
	assert_int_equal(key_generate(KEY_KEM_P256, 0, &w->keys.keys[0], NULL), 0);
	w->keys.n = 1;
	assert_int_equal(backup_key_save_public(key_public(w->keys.keys[0]), BACKUP_KEY_SEAL,
				 w->backup_public, NULL),
		0);
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		w->sshd[i] = test_sshd_start(false);
		make_drops(w->sshd[i]);
		w->pool[i] = pool_new("ship", BACKUP_JOB_THREADS(BACKUP_RIG_NODES - 1), 64);
		assert_int_equal(key_generate(KEY_ED25519, 0, &w->signer[i], NULL), 0);
	}
	share_key(w);
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		fill_config(w, i);
	}
	replica_rig_start_all(&w->rig);
	(void)replica_rig_leader(&w->rig);
	begin_cluster(w);
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		backup_rig_start_job(w, i);
	}
	return 0;
}

int backup_rig_tear_down(void **state)
{
	struct backup_rig *w = *state;

	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		struct config *c = &w->config[i];

		if (w->job[i] != NULL) {
			backup_rig_close_job(w, i);
		}
		pool_free(w->pool[i]);
		key_free(w->signer[i]);
		free(c->data_dir);
		free(c->backup_sign_key_file);
		free(c->backup_repository_dir);
		free(c->backup_drop_dir);
		for (unsigned k = 0; k < BACKUP_RIG_NODES; k++) {
			free(c->sites[k].ssh_path);
		}
	}
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		test_sshd_stop(w->sshd[i]);
	}
	replica_rig_release(&w->rig);
	backup_key_set_release(&w->keys);
	free(w->backup_public);
	free(w);
	return 0;
}

uint64_t backup_rig_claim(struct backup_rig *w, uint64_t node, bool manual)
{
	struct command command = {.type = COMMAND_SNAPSHOT_CLAIM};
	uint64_t id = 0;

	command.snapshot_claim.node = node;
	command.snapshot_claim.kind = manual ? SNAPSHOT_MANUAL : SNAPSHOT_INCREMENT;
	command.snapshot_claim.slot = manual ? 0 : ++w->slot;
	command.snapshot_claim.ttl_ms = 600000;
	command.snapshot_claim.actor = manual ? bytes_str("operator") : bytes_of(NULL, 0);
	backup_rig_propose(w, &command, &id);
	return id;
}

struct snapshot_row backup_rig_row(struct backup_rig *w, uint64_t id)
{
	struct snapshot_row row = {0};
	struct kv *kv = NULL;
	struct kv_view *view;

	assert_int_equal(replica_read_begin(w->rig.node[0], &kv), 0);
	view = kv_view_new(kv);
	(void)!snapshot_store_get(view, id, &row, NULL);
	kv_view_free(view);
	replica_read_end(w->rig.node[0]);
	return row;
}

/* Until both other sites confirmed it. */
struct snapshot_row backup_rig_wait_confirmed(struct backup_rig *w, uint64_t id)
{
	struct snapshot_row row = {0};

	for (unsigned waited = 0; waited < RIG_WAIT_MS; waited += 20) {
		row = backup_rig_row(w, id);
		assert_int_not_equal(row.state, SNAPSHOT_FAILED);
		if (row.state == SNAPSHOT_CONFIRMED &&
			row.n_confirmations == BACKUP_RIG_NODES - 1) {
			return row;
		}
		replica_rig_run(&w->rig, 20);
	}
	fail_msg("snapshot %llu is in state %u with %u confirmations", (unsigned long long)id,
		row.state, row.n_confirmations);
	return row;
}

struct snapshot_row backup_rig_wait_first(struct backup_rig *w, uint64_t id)
{
	struct snapshot_row row = backup_rig_row(w, id);

	for (unsigned waited = 0; row.n_confirmations == 0; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
		row = backup_rig_row(w, id);
	}
	assert_int_equal(row.n_confirmations, 1);
	return row;
}

/* Each site's own copy, down to the state root. */
void backup_rig_assert_at_every_site(struct backup_rig *w, const struct snapshot_row *row)
{
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		struct backup_trust trust = {0};
		struct repository *repository = NULL;
		struct verify_report report;
		struct api_verify verified;
		struct err e = {0};

		for (unsigned k = 0; k < BACKUP_RIG_NODES; k++) {
			struct key_pub *pub = (struct key_pub *)(uintptr_t)key_public(w->signer[k]);

			assert_int_equal(
				backup_trust_add(&trust, k + 1, backup_rig_names[k], pub, NULL), 0);
		}
		assert_int_equal(
			repository_open(w->config[i].backup_repository_dir, &repository, NULL), 0);
		if (verify_snapshot(repository, row->manifest_hash, &trust, 3, &w->keys, w->rig.dir,
			    &report, &e) != 0) {
			fail_msg("site %s: %s", backup_rig_names[i], e.text);
		}
		assert_true(report.rows > 0);
		assert_int_equal(
			backup_job_verify(w->job[i], row->manifest_hash, 2, &verified, NULL), 0);
		assert_true(verified.ok);
		assert_true(verified.objects == row->objects && verified.bytes == row->bytes);
		repository_close(repository);
		backup_trust_release(&trust);
	}
}

struct api_shipment backup_rig_shipment(struct backup_rig *w, unsigned from, const char *site)
{
	struct api_shipment rows[SITES_MAX];
	size_t n = backup_job_shipments(w->job[from], rows);

	assert_int_equal(n, BACKUP_RIG_NODES - 1);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(rows[i].site, site) == 0) {
			return rows[i];
		}
	}
	fail_msg("no site '%s'", site);
	return rows[0];
}

void backup_rig_assert_agreed(
	struct backup_rig *w, enum key_family family, const struct snapshot_row *row)
{
	struct report_row reports[SITES_MAX];
	size_t n = 0;

	for (unsigned waited = 0; n < BACKUP_RIG_NODES && waited < RIG_WAIT_MS; waited += 20) {
		struct kv *kv = NULL;
		struct kv_view *view;

		replica_rig_run(&w->rig, 20);
		assert_int_equal(replica_read_begin(w->rig.node[0], &kv), 0);
		view = kv_view_new(kv);
		assert_int_equal(
			report_store_at(view, family, row->index, reports, SITES_MAX, &n, NULL), 0);
		kv_view_free(view);
		replica_read_end(w->rig.node[0]);
	}
	assert_int_equal(n, BACKUP_RIG_NODES);
	for (size_t i = 0; i < n; i++) {
		assert_memory_equal(reports[i].hash, reports[0].hash, HASH_BYTES);
	}
}

char *backup_rig_manifest_path(struct backup_rig *w, unsigned node, const struct snapshot_row *row)
{
	struct manifest_name name = {.index = row->index};
	char text[MANIFEST_NAME_BYTES];

	memcpy(name.lineage, w->identity.lineage, ID_BYTES);
	memcpy(name.hash, row->manifest_hash, HASH_BYTES);
	manifest_name_format(&name, text);
	return x_asprintf("%s/manifests/%s", w->config[node].backup_repository_dir, text);
}

char *backup_rig_object_path(struct backup_rig *w, unsigned node, const struct snapshot_row *row)
{
	_cleanup_(x_freep) char *manifest = backup_rig_manifest_path(w, node, row);
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	uint8_t hash[HASH_BYTES];
	char hex[HEX_LEN(HASH_BYTES) + 1];

	assert_int_equal(file_read(manifest, BACKUP_MANIFEST_BYTES_MAX, &bytes, NULL), 0);
	assert_int_equal(backup_manifest_parse(buf_bytes(&bytes), &m, hash, NULL), 0);
	hex_encode(bytes_of(m.objects[0].hash, HASH_BYTES), hex);
	return x_asprintf("%s/objects/%.2s/%s", w->config[node].backup_repository_dir, hex, hex);
}
