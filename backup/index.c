#include "backup/index.h"

#include <assert.h>
#include <string.h>

enum { TYPE_LIVE = 1, TYPE_TOMBSTONE = 2, INDEX_CHUNK_BYTES = 64 * 1024 };

static int index_compare(uint64_t a_index, uint32_t a_ordinal, uint64_t b_index, uint32_t b_ordinal)
{
	if (a_index != b_index) {
		return a_index < b_index ? -1 : 1;
	}
	return a_ordinal < b_ordinal ? -1 : a_ordinal > b_ordinal;
}

int index_entry_compare(const struct index_entry *a, const struct index_entry *b)
{
	return index_compare(a->index, a->ordinal, b->index, b->ordinal);
}

void index_header_put(struct buf *b)
{
	buf_put_u8(b, 1);
	buf_put_zeros(b, INDEX_HEADER_BYTES - 1);
}

bool index_header_take(struct wire *w)
{
	unsigned version = wire_u8(w);

	wire_zeros(w, INDEX_HEADER_BYTES - 1);
	return wire_ok(w) && version == 1;
}

void index_entry_put(struct buf *b, const struct index_entry *entry)
{
	assert(entry->key.len > 0 && entry->key.len <= BACKUP_KEY_BYTES_MAX);
	buf_put_u8(b, entry->tombstone ? TYPE_TOMBSTONE : TYPE_LIVE);
	buf_put_u64(b, entry->index);
	buf_put_u32(b, entry->ordinal);
	buf_put_lp16(b, entry->key);
	buf_put_u32(b, entry->pack);
	buf_put_u32(b, entry->offset);
	buf_put_u32(b, entry->length);
	buf_append(b, entry->value_hash, HASH_BYTES);
}

/* What the bytes of one entry must hold by themselves. */
static bool index_entry_valid(unsigned type, const struct index_entry *entry)
{
	static const uint8_t zero[HASH_BYTES];

	if (entry->key.len == 0) {
		return false;
	}
	if (type == TYPE_TOMBSTONE) {
		return entry->pack == 0 && entry->offset == 0 && entry->length == 0 &&
		       memcmp(entry->value_hash, zero, HASH_BYTES) == 0;
	}
	return type == TYPE_LIVE && entry->length <= BACKUP_VALUE_BYTES_MAX &&
	       entry->offset <= BACKUP_PLAINTEXT_BYTES_MAX - entry->length;
}

int index_entry_take(struct wire *w, struct index_entry *ret_entry)
{
	struct wire at = *w;
	struct index_entry entry = {0};
	unsigned type = wire_u8(&at);

	entry.tombstone = type == TYPE_TOMBSTONE;
	entry.index = wire_u64(&at);
	entry.ordinal = wire_u32(&at);
	if (wire_ok(&at) && at.left.len >= 2 && load_u16(at.left.data) > BACKUP_KEY_BYTES_MAX) {
		return KLUIS_ECORRUPT;
	}
	entry.key = wire_lp16(&at, BACKUP_KEY_BYTES_MAX);
	entry.pack = wire_u32(&at);
	entry.offset = wire_u32(&at);
	entry.length = wire_u32(&at);
	wire_copy(&at, entry.value_hash, HASH_BYTES);
	if (!wire_ok(&at)) {
		return KLUIS_EAGAIN;
	}
	if (!index_entry_valid(type, &entry)) {
		return KLUIS_ECORRUPT;
	}
	*ret_entry = entry;
	*w = at;
	return 0;
}

unsigned backup_slice(struct bytes key)
{
	uint8_t hash[HASH_BYTES];

	hash_sha256(key, hash);
	return load_u32(hash) % BACKUP_SLICES;
}

bool index_wanted(const struct backup_manifest *manifest, uint64_t index, struct bytes key)
{
	if (manifest->type == MANIFEST_FULL || index > manifest->from) {
		return true;
	}
	return manifest->slice != SLICE_NONE && backup_slice(key) == manifest->slice;
}

void index_rules_init(struct index_rules *rules, const struct backup_manifest *manifest)
{
	memset(rules, 0, sizeof *rules);
	rules->manifest = manifest;
}

/* A live entry lies right behind the one before it, or begins the next pack. */
static bool index_rules_place(struct index_rules *rules, const struct index_entry *entry)
{
	bool same = entry->pack == rules->pack && entry->offset == rules->pack_bytes;
	bool next = rules->live > 0 && entry->pack == rules->pack + 1 && entry->offset == 0;

	if (entry->pack >= rules->manifest->n_packs || (!same && !next)) {
		return false;
	}
	rules->pack = entry->pack;
	rules->pack_bytes = (uint64_t)entry->offset + entry->length;
	return true;
}

int index_rules_add(struct index_rules *rules, const struct index_entry *entry, struct err *e)
{
	const struct backup_manifest *m = rules->manifest;
	bool belongs;

	if (rules->any &&
		index_compare(rules->index, rules->ordinal, entry->index, entry->ordinal) >= 0) {
		return err_set(e, KLUIS_ECORRUPT, "index out of order at %llu.%u",
			(unsigned long long)entry->index, entry->ordinal);
	}
	rules->any = true;
	rules->index = entry->index;
	rules->ordinal = entry->ordinal;
	if (entry->tombstone) {
		belongs = m->type != MANIFEST_FULL && entry->index > m->from;
		rules->tombstones++;
	} else {
		belongs = index_wanted(m, entry->index, entry->key);
		belongs = belongs && index_rules_place(rules, entry);
		rules->live++;
		rules->value_bytes += entry->length;
	}
	if (!belongs || entry->index > m->index) {
		return err_set(e, KLUIS_ECORRUPT,
			"index entry %llu.%u has no place in this snapshot",
			(unsigned long long)entry->index, entry->ordinal);
	}
	return 0;
}

int index_rules_end(const struct index_rules *rules, struct err *e)
{
	const struct backup_manifest *m = rules->manifest;
	uint32_t packs = rules->live == 0 ? 0 : rules->pack + 1;

	if (rules->live != m->live || rules->tombstones != m->tombstones ||
		rules->value_bytes != m->value_bytes || packs != m->n_packs) {
		return err_set(
			e, KLUIS_ECORRUPT, "the index does not hold what the manifest counts");
	}
	return 0;
}

struct index_reader {
	struct object_reader *object;
	uint64_t at; /* Of the object's plaintext, read into `bytes`. */
	struct buf bytes;
	size_t used; /* Of bytes: entries given out. */
};

static int index_reader_fill(struct index_reader *r, struct err *e)
{
	uint64_t left = object_reader_bytes(r->object) - r->at;
	size_t n = left < INDEX_CHUNK_BYTES ? (size_t)left : INDEX_CHUNK_BYTES;
	int rc;

	buf_consume(&r->bytes, r->used);
	r->used = 0;
	rc = object_reader_read(r->object, r->at, n, buf_extend(&r->bytes, n), e);
	if (rc == 0) {
		r->at += n;
	}
	return rc;
}

int index_reader_new(struct object_reader *object, struct index_reader **ret_reader, struct err *e)
{
	struct index_reader *r = x_calloc(1, sizeof *r);
	struct wire w;
	int rc;

	r->object = object;
	rc = index_reader_fill(r, e);
	w = wire_of(buf_bytes(&r->bytes));
	if (rc == 0 && !index_header_take(&w)) {
		rc = err_set(e, KLUIS_EVERSION, "not an index of version 1");
	}
	if (rc != 0) {
		index_reader_free(r);
		return rc;
	}
	r->used = INDEX_HEADER_BYTES;
	*ret_reader = r;
	return 0;
}

int index_reader_next(
	struct index_reader *r, struct index_entry *ret_entry, bool *ret_more, struct err *e)
{
	for (;;) {
		struct wire w = wire_of(bytes_of(r->bytes.data + r->used, r->bytes.len - r->used));
		bool whole = r->at == object_reader_bytes(r->object);
		int rc;

		if (whole && w.left.len == 0) {
			*ret_more = false;
			return 0;
		}
		rc = index_entry_take(&w, ret_entry);
		if (rc == 0) {
			r->used = r->bytes.len - wire_rest(&w).len;
			*ret_more = true;
			return 0;
		}
		if (rc != KLUIS_EAGAIN || whole) {
			return err_set(e, KLUIS_ECORRUPT, "bad index entry at byte %llu",
				(unsigned long long)(r->at - (r->bytes.len - r->used)));
		}
		rc = index_reader_fill(r, e);
		if (rc != 0) {
			return rc;
		}
	}
}

void index_reader_free(struct index_reader *r)
{
	if (r != NULL) {
		object_reader_free(r->object);
		secret_buf_release(&r->bytes);
		free(r);
	}
}
