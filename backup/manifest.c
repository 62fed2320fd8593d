#include "backup/manifest.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

enum { FLAG_MANUAL = 1 };

static const uint8_t zero32[HASH_BYTES];

void backup_manifest_release(struct backup_manifest *manifest)
{
	free(manifest->objects);
	manifest->objects = NULL;
	manifest->n_index = manifest->n_packs = 0;
}

uint64_t backup_manifest_bytes(const struct backup_manifest *manifest)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < manifest->n_index + manifest->n_packs; i++) {
		sum += manifest->objects[i].bytes;
	}
	return sum;
}

static int manifest_object_compare(const void *a, const void *b)
{
	return memcmp(*(const uint8_t *const *)a, *(const uint8_t *const *)b, HASH_BYTES);
}

static bool manifest_objects_differ(const struct backup_manifest *m)
{
	size_t n = (size_t)m->n_index + m->n_packs;
	_cleanup_(x_freep) const uint8_t **hashes = x_calloc(n, sizeof *hashes);

	for (size_t i = 0; i < n; i++) {
		hashes[i] = m->objects[i].hash;
	}
	qsort(hashes, n, sizeof *hashes, manifest_object_compare);
	for (size_t i = 1; i < n; i++) {
		if (memcmp(hashes[i - 1], hashes[i], HASH_BYTES) == 0) {
			return false;
		}
	}
	return true;
}

static bool manifest_kind_valid(const struct backup_manifest *m)
{
	bool based = memcmp(m->base, zero32, HASH_BYTES) != 0;

	if ((m->type == MANIFEST_JOURNAL) != (m->number != 0)) {
		return false;
	}
	if (m->type == MANIFEST_FULL) {
		return m->manual == (m->cycle == 0) && m->slice == SLICE_NONE && m->from == 0 &&
		       !based && m->tombstones == 0;
	}
	if (!based || m->from == 0 || m->cycle == 0) {
		return false;
	}
	if (m->type == MANIFEST_JOURNAL) {
		return !m->manual && m->slice == SLICE_NONE && m->id == m->index &&
		       memcmp(m->state_root, zero32, HASH_BYTES) == 0;
	}
	if (m->type != MANIFEST_INCREMENT) {
		return false;
	}
	return m->slice == (m->manual ? SLICE_NONE : m->cycle % BACKUP_SLICES);
}

/* Every rule that one manifest can break alone. */
static bool manifest_valid(const struct backup_manifest *m)
{
	if (m->id <= m->from || m->id > m->index || m->node == 0 || m->n_index == 0 ||
		!manifest_kind_valid(m) || (m->live == 0) != (m->n_packs == 0)) {
		return false;
	}
	for (uint32_t i = 0; i < m->n_index + m->n_packs; i++) {
		if (m->objects[i].bytes == 0 || m->objects[i].bytes > BACKUP_OBJECT_BYTES_MAX) {
			return false;
		}
	}
	return manifest_objects_differ(m);
}

static void manifest_put(const struct backup_manifest *m, struct buf *b)
{
	buf_put_str(b, "KBM1");
	buf_put_u8(b, 1);
	buf_put_u8(b, (unsigned)m->type);
	buf_put_u8(b, m->manual ? FLAG_MANUAL : 0);
	buf_put_u8(b, m->slice);
	buf_append(b, m->cluster_id, ID_BYTES);
	buf_append(b, m->lineage, ID_BYTES);
	buf_put_u64(b, m->index);
	buf_put_u64(b, m->term);
	buf_put_u64(b, m->from);
	buf_put_u32(b, m->cycle);
	buf_put_u32(b, m->number);
	buf_append(b, m->base, HASH_BYTES);
	buf_append(b, m->state_root, HASH_BYTES);
	buf_append(b, m->state_hash, HASH_BYTES);
	buf_put_u64(b, m->cluster_time_ms);
	buf_put_u64(b, m->wall_ms);
	buf_put_u64(b, m->live);
	buf_put_u64(b, m->tombstones);
	buf_put_u64(b, m->value_bytes);
	buf_put_u64(b, m->node);
	buf_put_u64(b, m->id);
	buf_append(b, m->kid, KID_BYTES);
	buf_put_u32(b, m->n_index);
	buf_put_u32(b, m->n_packs);
	for (uint32_t i = 0; i < m->n_index + m->n_packs; i++) {
		buf_append(b, m->objects[i].hash, HASH_BYTES);
		buf_put_u64(b, m->objects[i].bytes);
	}
}

static void manifest_th(struct bytes body, uint8_t ret[HASH_BYTES])
{
	HASH_TH(ret, "kluis/v1/backup-manifest", body);
}

int backup_manifest_encode(const struct backup_manifest *manifest, const struct key *signer,
	struct buf *to, uint8_t ret_hash[32], struct err *e)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	uint8_t th[HASH_BYTES], hash[HASH_BYTES];
	int rc;

	assert(key_pub_alg(key_public(signer)) == KEY_ED25519);
	if ((uint64_t)manifest->n_index + manifest->n_packs > BACKUP_OBJECTS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more than %d objects", BACKUP_OBJECTS_MAX);
	}
	if (!manifest_valid(manifest)) {
		return err_set(e, KLUIS_EINVAL, "no manifest can say that");
	}
	manifest_put(manifest, &b);
	assert(b.len == MANIFEST_HEADER_BYTES + (size_t)MANIFEST_OBJECT_BYTES *
							(manifest->n_index + manifest->n_packs));
	HASH_TH(hash, "kluis/v1/backup-manifest-hash", buf_bytes(&b));
	manifest_th(buf_bytes(&b), th);
	rc = sign_make(signer, bytes_of(th, sizeof th), &b, e);
	if (rc != 0) {
		return err_wrap(e, rc, "sign manifest");
	}
	buf_append_bytes(to, buf_bytes(&b));
	memcpy(ret_hash, hash, HASH_BYTES);
	return 0;
}

/* Up to the counts; flags and reserved bytes fail w. */
static void manifest_take(struct wire *w, struct backup_manifest *m)
{
	unsigned flags;

	flags = wire_u8(w);
	if ((flags & ~(unsigned)FLAG_MANUAL) != 0) {
		wire_fail(w);
	}
	m->manual = (flags & FLAG_MANUAL) != 0;
	m->slice = wire_u8(w);
	wire_copy(w, m->cluster_id, ID_BYTES);
	wire_copy(w, m->lineage, ID_BYTES);
	m->index = wire_u64(w);
	m->term = wire_u64(w);
	m->from = wire_u64(w);
	m->cycle = wire_u32(w);
	m->number = wire_u32(w);
	wire_copy(w, m->base, HASH_BYTES);
	wire_copy(w, m->state_root, HASH_BYTES);
	wire_copy(w, m->state_hash, HASH_BYTES);
	m->cluster_time_ms = wire_u64(w);
	m->wall_ms = wire_u64(w);
	m->live = wire_u64(w);
	m->tombstones = wire_u64(w);
	m->value_bytes = wire_u64(w);
	m->node = wire_u64(w);
	m->id = wire_u64(w);
	wire_copy(w, m->kid, KID_BYTES);
	m->n_index = wire_u32(w);
	m->n_packs = wire_u32(w);
}

/* Counts are checked against what is left before anything is allocated. */
static bool manifest_objects_take(struct wire *w, struct backup_manifest *m)
{
	uint64_t n = (uint64_t)m->n_index + m->n_packs;

	if (!wire_ok(w) || n > BACKUP_OBJECTS_MAX ||
		w->left.len != n * MANIFEST_OBJECT_BYTES + SIGN_ED25519_BYTES) {
		m->n_index = m->n_packs = 0;
		return false;
	}
	m->objects = x_calloc(n == 0 ? 1 : n, sizeof *m->objects);
	for (uint64_t i = 0; i < n; i++) {
		wire_copy(w, m->objects[i].hash, HASH_BYTES);
		m->objects[i].bytes = wire_u64(w);
	}
	return true;
}

int backup_manifest_parse(struct bytes bytes, struct backup_manifest *ret_manifest,
	uint8_t ret_hash[32], struct err *e)
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	struct wire w = wire_of(bytes);
	unsigned version, type;

	if (!wire_match(&w, "KBM1") || bytes.len > BACKUP_MANIFEST_BYTES_MAX) {
		return err_set(e, KLUIS_ECORRUPT, "bytes 0 to 3 are not a manifest's");
	}
	version = wire_u8(&w);
	type = wire_u8(&w);
	if (wire_ok(&w) && (version != 1 || type > MANIFEST_JOURNAL)) {
		return err_set(e, KLUIS_EVERSION,
			"bytes 4 and 5 are version %u, type %u of manifests", version, type);
	}
	m.type = (enum manifest_type)type;
	manifest_take(&w, &m);
	if (!manifest_objects_take(&w, &m)) {
		return err_set(e, KLUIS_ECORRUPT,
			"its %zu bytes are not what bytes 240 to 247 count", bytes.len);
	}
	if (!manifest_valid(&m)) {
		return err_set(e, KLUIS_ECORRUPT, "it contradicts itself in bytes 5 to %zu",
			bytes.len - SIGN_ED25519_BYTES - 1);
	}
	HASH_TH(ret_hash, "kluis/v1/backup-manifest-hash",
		bytes_of(bytes.data, bytes.len - SIGN_ED25519_BYTES));
	*ret_manifest = m;
	m.objects = NULL;
	return 0;
}

/* Parses and says by whose key it is signed; `least` of them is good enough. */
static int manifest_open(struct bytes bytes, const struct backup_trust *trust,
	enum backup_signed least, struct backup_manifest *ret_manifest, uint8_t ret_hash[32],
	enum backup_signed *ret_signed, struct err *e)
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	uint8_t th[HASH_BYTES], hash[HASH_BYTES];
	enum backup_signed by;
	struct bytes body;
	int rc = backup_manifest_parse(bytes, &m, hash, e);

	if (rc != 0) {
		return rc;
	}
	if (!backup_trust_knows(trust, m.node)) {
		return err_set(e, KLUIS_EVERIFY, "signed by node %llu, which is not trusted",
			(unsigned long long)m.node);
	}
	body = bytes_of(bytes.data, bytes.len - SIGN_ED25519_BYTES);
	manifest_th(body, th);
	by = backup_trust_check(trust, m.node, bytes_of(th, sizeof th),
		bytes_of(body.data + body.len, SIGN_ED25519_BYTES));
	if (by < least) {
		return err_set(e, KLUIS_EVERIFY,
			by == SIGNED_BY_NONE ? "the manifest's signature is not node %llu's"
					     : "signed with a former key of node %llu",
			(unsigned long long)m.node);
	}
	memcpy(ret_hash, hash, HASH_BYTES);
	*ret_signed = by;
	*ret_manifest = m;
	m.objects = NULL;
	return 0;
}

int backup_manifest_open(struct bytes bytes, const struct backup_trust *trust,
	struct backup_manifest *ret_manifest, uint8_t ret_hash[32], struct err *e)
{
	enum backup_signed by;

	return manifest_open(bytes, trust, SIGNED_BY_NODE, ret_manifest, ret_hash, &by, e);
}

int backup_manifest_open_held(struct bytes bytes, const struct backup_trust *trust,
	struct backup_manifest *ret_manifest, uint8_t ret_hash[32], bool *ret_former, struct err *e)
{
	enum backup_signed by;
	int rc = manifest_open(bytes, trust, SIGNED_BY_FORMER, ret_manifest, ret_hash, &by, e);

	if (rc == 0 && ret_former != NULL) {
		*ret_former = by == SIGNED_BY_FORMER;
	}
	return rc;
}
