/* What the profile keeps of a vault: keys, pin, seen heads, the leaf table. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/person.h"
#include "cli/client/vault.h"

enum { SEEN_ROW_BYTES = 8 + HASH_BYTES + 4, LEAF_ROW_BYTES = 8 + 4 + 1 + HASH_BYTES };

bool vault_name_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > VAULT_NAME_BYTES_MAX || !utf8_valid(bytes_str(name))) {
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f || strchr("/:", name[i])) {
			return false;
		}
	}
	return true;
}

char *vault_file(const struct vault *vault, const char *name)
{
	char id[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(vault->id, ID_BYTES), id);
	return x_asprintf("vaults/%s/%s", id, name);
}

static int keys_parse(struct vault *vault, struct wire *w)
{
	uint16_t n = wire_u16(w);

	/* A person's stand in the keyring. */
	if ((n == 0) != (vault->profile->person != NULL) || n > VAULT_EPOCHS_MAX) {
		return KLUIS_ECORRUPT;
	}
	for (uint16_t i = 0; i < n && wire_ok(w); i++) {
		struct vault_key *key = &vault->keys[vault->n_keys];
		uint32_t epoch = wire_u32(w);
		struct bytes vk = wire_bytes(w, PAGE_KEY_BYTES);

		if (!wire_ok(w) || epoch == 0 || (i > 0 && epoch <= key[-1].epoch)) {
			return KLUIS_ECORRUPT;
		}
		key->epoch = epoch;
		secret_set(&key->vk, vk);
		vault->n_keys++;
	}
	return 0;
}

static int vault_parse(struct vault *vault, struct bytes payload, struct err *e)
{
	struct wire w = wire_of(payload);
	uint8_t id[ID_BYTES];
	struct bytes name, create;

	wire_copy(&w, id, ID_BYTES);
	name = wire_lp16(&w, VAULT_NAME_BYTES_MAX);
	if (keys_parse(vault, &w) != 0) {
		return err_set(e, KLUIS_ECORRUPT, "vault keys: malformed");
	}
	create = wire_lp32(&w, STATEMENT_BYTES_MAX);
	if (!wire_end(&w) || memcmp(id, vault->id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_ECORRUPT, "vault keys: malformed, or of another vault");
	}
	memcpy(vault->name, name.data, name.len);
	vault->name[name.len] = 0;
	if (!vault_name_valid(vault->name)) {
		return err_set(e, KLUIS_ECORRUPT, "vault keys: malformed name");
	}
	buf_append_bytes(&vault->create, create);
	return vault_check_create(vault, e);
}

static int vault_load_keys(struct vault *vault, struct err *e)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "vault");
	_cleanup_(secret_buf_release) struct buf payload = BUF_INIT;
	int rc;

	buf_reserve(&payload, 128 * 1024);
	rc = profile_read(vault->profile, name, PROFILE_VAULT, PROFILE_FILE_BYTES_MAX, &payload, e);
	rc = rc != 0 ? rc : vault_parse(vault, buf_bytes(&payload), e);
	return rc != 0 || vault->profile->person == NULL ? rc : vault_person_keys(vault, e);
}

int vault_read_pin(const struct profile *profile, const uint8_t id[ID_BYTES], struct head *ret_head,
	uint8_t ret_bytes[HEAD_BYTES], struct err *e)
{
	struct vault place = {.profile = (struct profile *)profile};
	_cleanup_(x_freep) char *name = NULL;
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	int rc;

	memcpy(place.id, id, ID_BYTES);
	name = vault_file(&place, "pin");
	rc = profile_read(profile, name, PROFILE_PIN, PROFILE_FILE_BYTES_MAX, &payload, e);
	if (rc != 0) {
		return rc;
	}
	if (payload.len != ID_BYTES + HEAD_BYTES ||
		head_parse(bytes_of(payload.data + ID_BYTES, HEAD_BYTES), ret_head, NULL) != 0 ||
		memcmp(ret_head->vault_id, id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_ECORRUPT, "profile file '%s': no pin of this vault", name);
	}
	memcpy(ret_bytes, payload.data + ID_BYTES, HEAD_BYTES);
	return 0;
}

static int vault_load_pin(struct vault *vault, struct err *e)
{
	uint8_t bytes[HEAD_BYTES];
	struct head head;
	int rc = vault_read_pin(vault->profile, vault->id, &head, bytes, e);

	if (rc == 0) {
		vault_set_head(vault, &head, bytes);
	}
	return rc;
}

void vault_set_head(struct vault *vault, const struct head *head, const uint8_t *bytes)
{
	vault->head = *head;
	memcpy(vault->head_bytes, bytes, HEAD_BYTES);
}

/* Torn rows are skipped when read. */
int vault_note_seen(
	const struct vault *vault, uint64_t seq, const uint8_t hash[HASH_BYTES], struct err *e)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "seen");
	_cleanup_(x_freep) char *path = profile_path(vault->profile, name);
	_cleanup_(x_closep) int fd =
		open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	uint8_t row[SEEN_ROW_BYTES];

	if (fd < 0) {
		return err_set_errno(e, errno, "open '%s'", path);
	}
	store_u64(row, seq);
	memcpy(row + 8, hash, HASH_BYTES);
	store_u32(row + 8 + HASH_BYTES, crc32c(0, bytes_of(row, 8 + HASH_BYTES)));
	return file_write_all(fd, bytes_of(row, sizeof row)) == 0
		       ? 0
		       : err_set_errno(e, errno, "write '%s'", path);
}

bool vault_seen_head(const struct vault *vault, uint64_t seq, uint8_t ret_hash[HASH_BYTES])
{
	_cleanup_(x_freep) char *name = vault_file(vault, "seen");
	_cleanup_(x_freep) char *path = profile_path(vault->profile, name);
	_cleanup_(x_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t row[SEEN_ROW_BYTES];
	off_t at = fd < 0 ? 0 : lseek(fd, 0, SEEK_END) / SEEN_ROW_BYTES * SEEN_ROW_BYTES;

	/* From the end: after a restore a seq may be there twice, and the later one counts. */
	while (at >= SEEN_ROW_BYTES) {
		at -= SEEN_ROW_BYTES;
		if (pread(fd, row, sizeof row, at) != (ssize_t)sizeof row) {
			return false;
		}
		if (load_u32(row + 8 + HASH_BYTES) == crc32c(0, bytes_of(row, 8 + HASH_BYTES)) &&
			load_u64(row) == seq) {
			memcpy(ret_hash, row + 8, HASH_BYTES);
			return true;
		}
	}
	return false;
}

int vault_store_pin(struct vault *vault, struct err *e)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "pin");
	uint8_t payload[ID_BYTES + HEAD_BYTES];
	int rc;

	memcpy(payload, vault->profile->lineage, ID_BYTES);
	memcpy(payload + ID_BYTES, vault->head_bytes, HEAD_BYTES);
	rc = profile_write(vault->profile, name, PROFILE_PIN, bytes_of(payload, sizeof payload), e);
	return rc != 0 ? rc : vault_note_seen(vault, vault->head.seq, vault->head.hash, e);
}

void vault_set_leaf(struct vault *vault, uint64_t page_no, struct vault_leaf state,
	const uint8_t leaf[HASH_BYTES])
{
	assert(page_no <= merkle_count(vault->tree));
	if (page_no >= vault->leaves_cap) {
		vault->leaves_cap = vault->leaves_cap == 0 ? 1024 : 2 * vault->leaves_cap;
		vault->leaves = x_realloc(vault->leaves, vault->leaves_cap * sizeof *vault->leaves);
	}
	assert(page_no < vault->leaves_cap);
	vault->leaves[page_no] = state;
	merkle_set(vault->tree, page_no, leaf);
	vault->leaves_dirty = true;
}

void vault_drop_leaves(struct vault *vault)
{
	merkle_free(vault->tree);
	free(vault->leaves);
	vault->tree = NULL;
	vault->leaves = NULL;
	vault->leaves_cap = 0;
	vault->leaves_dirty = false;
}

/* Fills an empty tree; false when the bytes are not a table of the pinned head. */
static bool leaves_parse(struct vault *vault, struct bytes payload)
{
	struct wire w = wire_of(payload);
	uint8_t hash[HASH_BYTES], root[HASH_BYTES];
	uint64_t n;

	wire_copy(&w, hash, HASH_BYTES);
	n = wire_u64(&w);
	if (!wire_ok(&w) || memcmp(hash, vault->head.hash, HASH_BYTES) != 0 ||
		n != vault->head.page_count || w.left.len / LEAF_ROW_BYTES != n ||
		w.left.len % LEAF_ROW_BYTES != 0) {
		return false;
	}
	for (uint64_t i = 0; i < n; i++) {
		struct vault_leaf state = {.revision = wire_u64(&w)};

		state.epoch = wire_u32(&w);
		state.proven = wire_u8(&w) != 0;
		vault_set_leaf(vault, i, state, wire_bytes(&w, HASH_BYTES).data);
	}
	merkle_root(vault->tree, root);
	return memcmp(root, vault->head.merkle_root, HASH_BYTES) == 0;
}

/* A cache: whatever is wrong with it only means asking the cluster again. */
int vault_load_leaves(struct vault *vault, struct err *e)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "leaves");
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	struct err why = {0};
	int rc;

	if (vault->tree != NULL) {
		return 0;
	}
	vault->tree = merkle_new();
	rc = profile_read(
		vault->profile, name, PROFILE_LEAVES, PROFILE_LEAVES_BYTES_MAX, &payload, &why);
	if (rc == 0 && leaves_parse(vault, buf_bytes(&payload))) {
		vault->leaves_dirty = false;
		return 0;
	}
	vault_drop_leaves(vault);
	return err_set(e, KLUIS_EAGAIN, "no page table for the pinned head");
}

static int leaves_store(const struct vault *vault, struct err *e)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "leaves");
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	uint64_t n = merkle_count(vault->tree);

	buf_reserve(&payload, (size_t)n * LEAF_ROW_BYTES + 64);
	buf_append(&payload, vault->head.hash, HASH_BYTES);
	buf_put_u64(&payload, n);
	for (uint64_t i = 0; i < n; i++) {
		buf_put_u64(&payload, vault->leaves[i].revision);
		buf_put_u32(&payload, vault->leaves[i].epoch);
		buf_put_u8(&payload, vault->leaves[i].proven);
		buf_append(&payload, merkle_leaf(vault->tree, i), HASH_BYTES);
	}
	return profile_write(vault->profile, name, PROFILE_LEAVES, buf_bytes(&payload), e);
}

void vault_close(struct vault *vault)
{
	struct err ignored = {0};

	if (vault == NULL) {
		return;
	}
	if (vault->tree != NULL && vault->leaves_dirty && vault->copy == NULL &&
		merkle_count(vault->tree) == vault->head.page_count &&
		leaves_store(vault, &ignored) != 0) {
		vault->leaves_dirty = true; /* A cache: the next run asks the cluster. */
	}
	vault_drop_leaves(vault);
	vault_members_release(vault);
	for (size_t i = 0; i < vault->n_keys; i++) {
		secret_release(&vault->keys[i].vk);
	}
	buf_release(&vault->create);
	free(vault->copy);
	free(vault);
}

int vault_local_ids(
	const struct profile *profile, uint8_t (**ret_ids)[ID_BYTES], size_t *ret_n, struct err *e)
{
	return profile_ids(profile, "vaults", ret_ids, ret_n, e);
}

bool vault_has_file(const struct profile *profile, const uint8_t id[ID_BYTES], const char *file)
{
	struct vault place = {.profile = (struct profile *)profile};
	_cleanup_(x_freep) char *name = NULL;
	_cleanup_(x_freep) char *path = NULL;

	memcpy(place.id, id, ID_BYTES);
	name = vault_file(&place, file);
	path = profile_path(profile, name);
	return file_exists(path);
}

bool vault_whole(const struct profile *profile, const uint8_t id[ID_BYTES])
{
	return vault_has_file(profile, id, "vault");
}

bool vault_id_among(uint8_t (*ids)[ID_BYTES], size_t n, const uint8_t id[ID_BYTES])
{
	for (size_t i = 0; i < n; i++) {
		if (memcmp(ids[i], id, ID_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

/* Of a locked profile there is no keyring to ask. */
static int known_by_ring(
	const struct profile *profile, struct ring_place **ret_places, size_t *ret_n, struct err *e)
{
	struct ring *ring = profile->person == NULL ? NULL : profile->person->ring;

	*ret_places = NULL;
	*ret_n = 0;
	return ring == NULL ? 0 : ring->list(ring, KEYRING_VAULT_KEY, ret_places, ret_n, e);
}

int vault_known_ids(
	const struct profile *profile, uint8_t (**ret_ids)[ID_BYTES], size_t *ret_n, struct err *e)
{
	uint8_t(*ids)[ID_BYTES] = NULL;
	_cleanup_(x_freep) struct ring_place *places = NULL;
	size_t n_dirs, n_places = 0, n = 0;
	int rc = vault_local_ids(profile, &ids, &n_dirs, e);

	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; i < n_dirs; i++) {
		if (vault_whole(profile, ids[i])) {
			memmove(ids[n++], ids[i], ID_BYTES);
		}
	}
	rc = known_by_ring(profile, &places, &n_places, e);
	if (rc != 0) {
		free(ids);
		return rc;
	}
	ids = x_realloc(ids, (n + n_places + 1) * sizeof *ids);
	for (size_t i = 0; i < n_places; i++) { /* A vault's epochs follow each other. */
		if (!vault_id_among(ids, n, places[i].object_id)) {
			memcpy(ids[n++], places[i].object_id, ID_BYTES);
		}
	}
	*ret_ids = ids;
	*ret_n = n;
	return 0;
}

int vault_known_seq(
	const struct profile *profile, const uint8_t id[ID_BYTES], uint64_t *ret_seq, struct err *e)
{
	uint8_t bytes[HEAD_BYTES], hash[HASH_BYTES];
	struct head head = {.seq = 0};
	uint64_t seq = 0;
	int rc = vault_whole(profile, id) ? vault_read_pin(profile, id, &head, bytes, e) : 0;

	if (rc == 0 && profile->person != NULL && profile->person->ring != NULL) {
		rc = vault_person_pin(profile, id, &seq, hash, e);
	}
	if (rc == 0) {
		*ret_seq = head.seq > seq ? head.seq : seq;
	}
	return rc;
}

int vault_open_local(struct profile *profile, struct client *client, const uint8_t id[ID_BYTES],
	struct vault **ret_vault, struct err *e)
{
	struct vault *vault = x_calloc(1, sizeof *vault);
	int rc;

	vault->profile = profile;
	vault->client = client;
	memcpy(vault->id, id, ID_BYTES);
	rc = vault_load_keys(vault, e);
	rc = rc != 0 ? rc : vault_load_pin(vault, e);
	rc = rc != 0 ? rc : vault_load_floor(vault, e);
	if (rc != 0) {
		vault_close(vault);
		return rc;
	}
	*ret_vault = vault;
	return 0;
}

int vault_open_id(struct profile *profile, struct client *client, const uint8_t id[ID_BYTES],
	struct vault **ret_vault, struct err *e)
{
	int rc = 0;

	if (profile->person != NULL && !vault_whole(profile, id)) {
		rc = vault_person_adopt_one(profile, client, id, e);
	}
	return rc != 0 ? rc : vault_open_local(profile, client, id, ret_vault, e);
}

/* One that does not open does not keep others from being found; it may be the one that is meant. */
static int open_by_name(struct profile *profile, struct client *client, const char *name,
	struct vault **ret_vault, struct err *e)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	struct err first = {0};
	size_t n;
	int rc = vault_local_ids(profile, &ids, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct vault *vault = NULL;
		struct err why = {0};
		int opened = vault_open_local(profile, client, ids[i], &vault, &why);

		if (opened == 0 && strcmp(vault->name, name) == 0) {
			*ret_vault = vault;
			return 0;
		}
		if (opened == 0) {
			vault_close(vault);
		} else if (opened != KLUIS_ENOTFOUND && first.code == 0) {
			first = why; /* Not a directory that a cut creation left. */
		}
	}
	if (rc == 0 && first.code != 0) {
		return err_set(e, first.code, "%s", first.text);
	}
	return rc != 0 ? rc : err_set(e, KLUIS_ENOTFOUND, "no vault '%s' in this profile", name);
}

bool vault_name_taken(struct profile *profile, struct client *client, const char *name)
{
	struct err ignored = {0};
	struct vault *vault = NULL;
	bool taken = open_by_name(profile, client, name, &vault, &ignored) == 0;

	vault_close(vault);
	return taken;
}

int vault_open(struct profile *profile, struct client *client, const char *name,
	struct vault **ret_vault, struct err *e)
{
	struct err why = {0};
	uint8_t id[ID_BYTES];
	bool by_id = hex_decode(name, id, ID_BYTES) == 0;
	int rc = by_id ? vault_open_local(profile, client, id, ret_vault, e)
		       : open_by_name(profile, client, name, ret_vault, e),
	    adopted = 0;

	/* By its name it may be another one than what does not open. */
	if ((rc == KLUIS_ENOTFOUND || (rc != 0 && !by_id)) && profile->person != NULL) {
		adopted = vault_person_adopt(profile, client, &why);
		rc = by_id ? vault_open_local(profile, client, id, ret_vault, e)
			   : open_by_name(profile, client, name, ret_vault, e);
	}
	if (rc == KLUIS_ENOTFOUND) {
		return adopted != 0 ? err_set(e, adopted, "%s", why.text)
				    : err_set(e, rc, "no vault '%s' in this profile", name);
	}
	return rc;
}
