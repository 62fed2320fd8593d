/* Making vaults, and moving their pins after a restore. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/person.h"
#include "cli/client/vault.h"
#include "crypto/member.h"

enum { CREATE_KEY_CHARS = 32 };

/* What POST /v1/vaults takes, kept until it was answered. */
struct creating {
	char key[CREATE_KEY_CHARS + 1]; /* Idempotency-Key. */
	struct bytes create, head, label;
};

int vault_first_head(const struct profile *profile, const uint8_t id[ID_BYTES], struct bytes create,
	struct buf *ret_head, struct err *e)
{
	struct statement statement;
	struct head head = {.seq = 1,
		.key_epoch = 1,
		.members_rev = 1,
		.unix_ms = clock_wall_ms(&clock_system)};
	int rc = statement_parse(CHAIN_MEMBERS, create, &statement, e);

	if (rc != 0) {
		return rc;
	}
	memcpy(head.vault_id, id, ID_BYTES);
	hash_sha256(bytes_of(NULL, 0), head.merkle_root);
	memcpy(head.members_hash, statement.hash, HASH_BYTES);
	memcpy(head.user_id, profile->user_id, ID_BYTES);
	memcpy(head.device_id, profile->device_id, ID_BYTES);
	return head_sign(&head, profile->device, ret_head, e);
}

static void create_label(const uint8_t id[ID_BYTES], const struct secret *vk, const char *name,
	struct buf *ret_label)
{
	_cleanup_(buf_release) struct buf ctx = BUF_INIT;

	buf_put_str(&ctx, "label");
	buf_append(&ctx, id, ID_BYTES);
	seal_make(secret_bytes(vk), buf_bytes(&ctx), bytes_str(name), &random_system, ret_label);
}

static int creating_parse(struct bytes payload, struct creating *ret, struct err *e)
{
	struct wire w = wire_of(payload);
	uint8_t raw[CREATE_KEY_CHARS / 2];

	wire_copy(&w, raw, sizeof raw);
	hex_encode(bytes_of(raw, sizeof raw), ret->key);
	ret->create = wire_lp32(&w, STATEMENT_BYTES_MAX);
	ret->head = wire_lp32(&w, HEAD_BYTES);
	ret->label = wire_lp32(&w, API_LABEL_BYTES_MAX);
	return wire_end(&w) && ret->head.len == HEAD_BYTES
		       ? 0
		       : err_set(e, KLUIS_ECORRUPT, "the vault being created: malformed");
}

/* Pin first, then the keys: a vault without them is none. */
int vault_store_files(const struct vault *vault, struct bytes head, struct err *e)
{
	const struct profile *profile = vault->profile;
	_cleanup_(x_freep) char *dir = vault_file(vault, "");
	_cleanup_(x_freep) char *keys_name = vault_file(vault, "vault");
	_cleanup_(x_freep) char *pin_name = vault_file(vault, "pin");
	_cleanup_(secret_buf_release) struct buf keys = BUF_INIT;
	_cleanup_(buf_release) struct buf pin = BUF_INIT;
	size_t n = profile->person == NULL ? vault->n_keys : 0; /* A person's: in the keyring. */
	int rc;

	buf_reserve(&keys, 64 * 1024);
	buf_append(&keys, vault->id, ID_BYTES);
	buf_put_lp16(&keys, bytes_str(vault->name));
	buf_put_u16(&keys, (unsigned)n);
	for (size_t i = 0; i < n; i++) {
		buf_put_u32(&keys, vault->keys[i].epoch);
		buf_append_bytes(&keys, secret_bytes(&vault->keys[i].vk));
	}
	buf_put_lp32(&keys, buf_bytes(&vault->create));
	buf_append(&pin, profile->lineage, ID_BYTES);
	buf_append_bytes(&pin, head);
	dir[strlen(dir) - 1] = 0;
	rc = profile_make_dir(profile, dir, e);
	rc = rc != 0 ? rc : profile_write(profile, pin_name, PROFILE_PIN, buf_bytes(&pin), e);
	return rc != 0 ? rc : profile_write(profile, keys_name, PROFILE_VAULT, buf_bytes(&keys), e);
}

/* What is to be sent, then keys and pin: whatever is there can be gone on with. */
static int create_store(const struct profile *profile, const struct vault *vault, struct bytes head,
	struct bytes label, struct err *e)
{
	_cleanup_(x_freep) char *dir = vault_file(vault, "");
	_cleanup_(x_freep) char *creating_name = vault_file(vault, "creating");
	_cleanup_(buf_release) struct buf creating = BUF_INIT;
	int rc;

	random_fill(
		&random_system, buf_extend(&creating, CREATE_KEY_CHARS / 2), CREATE_KEY_CHARS / 2);
	buf_put_lp32(&creating, buf_bytes(&vault->create));
	buf_put_lp32(&creating, head);
	buf_put_lp32(&creating, label);
	dir[strlen(dir) - 1] = 0;
	rc = profile_make_dir(profile, dir, e);
	/* `creating` stands before the keys: a vault without it counts as the cluster's. */
	rc = rc != 0 ? rc
		     : profile_write(
			       profile, creating_name, PROFILE_CREATING, buf_bytes(&creating), e);
	return rc != 0 ? rc : vault_store_files(vault, head, e);
}

static int create_send(
	struct profile *profile, struct client *client, const uint8_t id[ID_BYTES], struct err *e)
{
	struct vault place = {.profile = profile};
	_cleanup_(x_freep) char *name = NULL;
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	struct creating creating;
	int rc;

	memcpy(place.id, id, ID_BYTES);
	name = vault_file(&place, "creating");
	rc = profile_read(profile, name, PROFILE_CREATING, PROFILE_FILE_BYTES_MAX, &payload, e);
	rc = rc != 0 ? rc : creating_parse(buf_bytes(&payload), &creating, e);
	if (rc != 0) {
		return rc;
	}
	rc = api_vault_create(
		client, creating.create, creating.head, creating.label, creating.key, e);
	if (rc == 0) {
		return profile_remove(profile, name, e);
	}
	/* Refused for good: no such vault will ever be; its key has opened nothing. */
	if (rc == KLUIS_EINVAL || rc == KLUIS_EFORBIDDEN || rc == KLUIS_EQUOTA ||
		rc == KLUIS_ECONFLICT) {
		struct err why = {0};

		if (vault_forget(profile, id, &why) != 0) {
			return err_wrap(e, rc, "%s", why.text);
		}
	}
	return rc;
}

int vault_finish_creating(struct profile *profile, struct client *client, struct err *e)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	size_t n;
	int rc = vault_local_ids(profile, &ids, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = create_send(profile, client, ids[i], e);
		if (rc == KLUIS_ENOTFOUND) { /* No `creating`: the usual case, and no error. */
			*e = (struct err){0};
			rc = 0;
		}
	}
	return rc;
}

/* KLUIS_EEXIST unless the name can be given. */
static int create_check(
	struct profile *profile, struct client *client, const char *name, struct err *e)
{
	struct vault *other = NULL;
	uint8_t raw_id[ID_BYTES];
	int rc;

	if (!vault_name_valid(name) || hex_decode(name, raw_id, ID_BYTES) == 0) {
		return err_set(e, KLUIS_EINVAL,
			"'%s' is no name for a vault: 1 to %d bytes of UTF-8 without '/' and ':'",
			name, VAULT_NAME_BYTES_MAX);
	}
	rc = vault_may_write(profile, e);
	rc = rc != 0 ? rc : vault_open(profile, client, name, &other, e);
	if (rc == 0) {
		vault_close(other);
		return err_set(e, KLUIS_EEXIST, "there is a vault '%s' already", name);
	}
	/* One that is withheld or broken is said elsewhere, and keeps no other from being made. */
	return rc == KLUIS_ENOTFOUND || rc == KLUIS_EPIN || rc == KLUIS_EVERIFY ? 0 : rc;
}

/* A person's is in the keyring before anything is written under it; one that a run which was cut
 * put there is taken. */
static int create_key(
	struct vault *vault, struct profile *profile, struct client *client, struct err *e)
{
	struct ring *ring = profile->person == NULL ? NULL : profile->person->ring;

	vault->keys[0].epoch = 1;
	if (ring != NULL &&
		ring->get(ring, KEYRING_VAULT_KEY, vault->id, 1, &vault->keys[0].vk, NULL) == 0) {
		return 0;
	}
	secret_random(&vault->keys[0].vk, PAGE_KEY_BYTES, &random_system);
	return profile->person == NULL ? 0 : vault_person_store_key(vault, profile, client, e);
}

int vault_create_as(struct profile *profile, struct client *client, const char *name,
	const uint8_t id[ID_BYTES], struct err *e)
{
	struct vault vault = {.profile = profile, .n_keys = 1};
	_cleanup_(buf_release) struct buf head = BUF_INIT;
	_cleanup_(buf_release) struct buf label = BUF_INIT;
	int rc = create_check(profile, client, name, e);

	if (rc != 0) {
		return rc;
	}
	memcpy(vault.id, id, ID_BYTES);
	memcpy(vault.name, name, strlen(name) + 1);
	rc = create_key(&vault, profile, client, e);
	if (rc != 0) {
		secret_release(&vault.keys[0].vk);
		return rc;
	}
	rc = members_create(id, MEMBER_OBJECT_VAULT, profile->user_id, NULL, profile->device,
		clock_wall_ms(&clock_system), &vault.create, e);
	rc = rc != 0 ? rc : vault_first_head(profile, id, buf_bytes(&vault.create), &head, e);
	if (rc == 0) {
		create_label(id, &vault.keys[0].vk, name, &label);
		rc = create_store(profile, &vault, buf_bytes(&head), buf_bytes(&label), e);
	}
	secret_release(&vault.keys[0].vk);
	buf_release(&vault.create);
	return rc != 0 ? rc : create_send(profile, client, id, e);
}

int vault_create(struct profile *profile, struct client *client, const char *name,
	uint8_t ret_id[ID_BYTES], struct err *e)
{
	uint8_t id[ID_BYTES];
	int rc;

	random_fill(&random_system, id, ID_BYTES);
	rc = vault_create_as(profile, client, name, id, e);
	if (rc == 0) {
		memcpy(ret_id, id, ID_BYTES);
	}
	return rc;
}

/* The records that lead from the pinned lineage to the cluster's, each by the pinned key. */
static int restore_follow(const struct profile *profile, const struct api_cluster *cluster,
	const struct key_pub *key, struct vault_restore *restore, struct err *e)
{
	memcpy(restore->lineage, profile->lineage, ID_BYTES);
	for (size_t i = 0; i < cluster->n_records; i++) {
		struct restore_record record;

		if (restore_record_parse(bytes_of(cluster->records[i], RESTORE_RECORD_BYTES),
			    &record, NULL) != 0 ||
			memcmp(record.cluster_id, profile->cluster_id, ID_BYTES) != 0 ||
			memcmp(record.old_lineage, restore->lineage, ID_BYTES) != 0) {
			continue;
		}
		if (restore_record_verify(&record, key, NULL) != 0) {
			return err_set(e, KLUIS_EPIN,
				"the cluster shows a restore record that the operator restore key "
				"of this profile did not sign");
		}
		memcpy(restore->lineage, record.new_lineage, ID_BYTES);
		restore->records[restore->n++] = record;
	}
	if (memcmp(restore->lineage, cluster->lineage, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EPIN,
			"the cluster began anew, and no restore record signed by its operator "
			"explains it: do not go on, ask the operator");
	}
	return 0;
}

int vault_restore_check(struct profile *profile, struct client *client,
	struct vault_restore *ret_restore, struct err *e)
{
	_cleanup_(api_cluster_release) struct api_cluster cluster = {0};
	struct vault_restore restore = {.n = 0};
	struct key_pub *key = NULL;
	int rc = api_well_known(client, &cluster, e);

	if (rc != 0) {
		return rc;
	}
	if (memcmp(cluster.cluster_id, profile->cluster_id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EPIN, "this is another cluster than the pinned one");
	}
	if (!profile->has_restore_key) {
		return err_set(e, KLUIS_EPIN,
			"the cluster began anew, and this profile pins no operator restore key "
			"that could explain it");
	}
	rc = key_pub_decode(KEY_ECDSA_P256, bytes_of(profile->restore_key, API_KEY_BYTES), &key, e);
	rc = rc != 0 ? rc : restore_follow(profile, &cluster, key, &restore, e);
	key_pub_free(key);
	if (rc == 0) {
		*ret_restore = restore;
	}
	return rc;
}

int vault_restore_accept(struct profile *profile, struct client *client,
	const struct vault_restore *restore, struct err *e)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	size_t n;
	int rc = vault_local_ids(profile, &ids, &n, e);

	/* Marks first: a crash in between leaves the old lineage, and all is asked again. */
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct vault place = {.profile = profile};
		_cleanup_(x_freep) char *name = NULL;
		_cleanup_(x_freep) char *path = NULL;

		memcpy(place.id, ids[i], ID_BYTES);
		name = vault_file(&place, "restored");
		path = profile_path(profile, name);
		rc = file_write(path, bytes_of(restore->lineage, ID_BYTES), 0600, e);
	}
	rc = rc != 0 || profile->person == NULL
		     ? rc
		     : person_accept_restore(profile, restore->lineage, e);
	rc = rc != 0 ? rc : profile_set_lineage(profile, restore->lineage, e);
	rc = rc != 0 ? rc : profile_remove(profile, "session", e);
	if (rc == 0) {
		client_set_lineage(client, restore->lineage);
		client_set_token(client, NULL);
	}
	return rc;
}
