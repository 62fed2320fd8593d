/* What needs no key of the keyring: the view of an object, and the slots. */
#include "crypto/keyring.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/keyring_impl.h"

enum {
	KEYRING_VERSION = 1,
	SLOT_SALT_AT = KEYRING_SLOT_FIXED_BYTES,
	SLOT_CT_AT = SLOT_SALT_AT + SEAL_SALT_BYTES,
	SLOT_TAG_AT = SLOT_CT_AT + KEYRING_KRK_BYTES,
	SLOT_END = SLOT_TAG_AT + HMAC_BYTES,
	SLOT_ZEROS = 40,
};
static_assert((int)SLOT_END + (int)SLOT_ZEROS == (int)KEYRING_SLOT_BYTES, "slot");

const char keyring_magic[] = "KKR1";
static const uint8_t keyring_zeros[HASH_BYTES];

static bool all_zero(const uint8_t *data, size_t len)
{
	assert(len <= sizeof keyring_zeros);
	return memcmp(data, keyring_zeros, len) == 0;
}

static bool sym_known(unsigned sym)
{
	return sym == SYM_AES_128 || sym == SYM_AES_256;
}

static bool slot_type_known(unsigned type)
{
	return type >= KEYRING_SLOT_PASSWORD && type <= KEYRING_SLOT_PRF;
}

/* kdf for passwords alone, ref for devices and authenticators alone. */
static bool slot_fields_valid(const struct keyring_slot *s)
{
	bool has_ref = s->type == KEYRING_SLOT_DEVICE || s->type == KEYRING_SLOT_PRF;

	return slot_type_known(s->type) &&
	       (s->type == KEYRING_SLOT_PASSWORD || all_zero(s->kdf, sizeof s->kdf)) &&
	       (has_ref || all_zero(s->ref, sizeof s->ref));
}

int keyring_slot_parse(struct bytes encoded, struct keyring_slot *ret_slot, struct err *e)
{
	struct wire w = wire_of(encoded);
	struct keyring_slot s;

	wire_copy(&w, s.slot_id, ID_BYTES);
	s.type = wire_u8(&w);
	s.sym = wire_u8(&w);
	wire_zeros(&w, 2);
	wire_copy(&w, s.kdf, sizeof s.kdf);
	wire_copy(&w, s.ref, sizeof s.ref);
	wire_zeros(&w, 4);
	if (s.type == KEYRING_SLOT_DEVICE) {
		wire_zeros(&w, SLOT_END - KEYRING_SLOT_FIXED_BYTES);
	} else {
		(void)wire_bytes(&w, SLOT_END - KEYRING_SLOT_FIXED_BYTES);
	}
	wire_zeros(&w, SLOT_ZEROS);
	if (!wire_end(&w) || !slot_fields_valid(&s)) {
		return err_set(e, KLUIS_EINVAL, "keyring slot: malformed");
	}
	if (!sym_known(s.sym)) {
		return err_set(e, KLUIS_ESUITE, "keyring slot: unknown suite %u", s.sym);
	}
	*ret_slot = s;
	return 0;
}

static void slot_derive(unsigned sym, const uint8_t *slot, const uint8_t user_id[ID_BYTES],
	struct bytes kek, struct sym_keys *ret_keys)
{
	const struct bytes info[] = {bytes_str("kluis/v1/slot"), bytes_of(user_id, ID_BYTES),
		bytes_of(slot, KEYRING_SLOT_FIXED_BYTES)};

	assert(kek.len == KEYRING_KEK_BYTES);
	sym_derive(sym, bytes_of(slot + SLOT_SALT_AT, SEAL_SALT_BYTES), kek, info, ARRAY_SIZE(info),
		ret_keys);
}

static void slot_tag(const struct sym_keys *keys, const uint8_t *slot, uint8_t ret[HMAC_BYTES])
{
	const struct bytes whole = bytes_of(slot, SLOT_TAG_AT);

	hash_hmac(sym_mac_key(keys), &whole, 1, ret);
}

void keyring_slot_seal(const struct keyring_slot *fields, const uint8_t user_id[ID_BYTES],
	struct bytes kek, struct bytes krk, struct random *random, struct buf *ret_encoded)
{
	uint8_t *slot = buf_extend(ret_encoded, KEYRING_SLOT_BYTES);
	struct sym_keys keys;

	assert(slot_fields_valid(fields) && sym_known(fields->sym));
	memset(slot, 0, KEYRING_SLOT_BYTES);
	memcpy(slot, fields->slot_id, ID_BYTES);
	slot[ID_BYTES] = fields->type;
	slot[ID_BYTES + 1] = fields->sym;
	memcpy(slot + 20, fields->kdf, sizeof fields->kdf);
	memcpy(slot + 52, fields->ref, sizeof fields->ref);
	if (fields->type == KEYRING_SLOT_DEVICE) {
		return;
	}
	assert(krk.len == KEYRING_KRK_BYTES);
	random_fill(random, slot + SLOT_SALT_AT, SEAL_SALT_BYTES);
	slot_derive(fields->sym, slot, user_id, kek, &keys);
	sym_ctr(&keys, krk, slot + SLOT_CT_AT);
	slot_tag(&keys, slot, slot + SLOT_TAG_AT);
	sym_keys_clear(&keys);
}

int keyring_slot_open(struct bytes encoded, const uint8_t user_id[ID_BYTES], struct bytes kek,
	struct secret *ret_krk, struct err *e)
{
	struct secret krk = SECRET_INIT;
	struct keyring_slot fields;
	struct sym_keys keys;
	uint8_t tag[HMAC_BYTES];
	bool ok;
	int rc = keyring_slot_parse(encoded, &fields, e);

	if (rc != 0) {
		return rc;
	}
	if (fields.type == KEYRING_SLOT_DEVICE) {
		return err_set(e, KLUIS_EVERIFY, "a device slot opens by its KeyPacket alone");
	}
	slot_derive(fields.sym, encoded.data, user_id, kek, &keys);
	slot_tag(&keys, encoded.data, tag);
	ok = secret_equal(
		bytes_of(tag, sizeof tag), bytes_of(encoded.data + SLOT_TAG_AT, HMAC_BYTES));
	if (ok) {
		secret_init(&krk, KEYRING_KRK_BYTES);
		sym_ctr(&keys, bytes_of(encoded.data + SLOT_CT_AT, KEYRING_KRK_BYTES), krk.data);
		secret_move(ret_krk, &krk);
	}
	sym_keys_clear(&keys);
	return ok ? 0 : err_set(e, KLUIS_EVERIFY, "the keyring slot does not open with this key");
}

struct bytes keyring_entry_next(struct wire *w)
{
	struct wire ahead = *w;
	uint32_t ct_len;

	(void)wire_bytes(&ahead, KEYRING_ENTRY_FIXED_BYTES - 4);
	ct_len = wire_u32(&ahead);
	if (!wire_ok(&ahead)) {
		wire_fail(w);
	}
	return wire_bytes(w, KEYRING_ENTRY_FIXED_BYTES + SEAL_OVERHEAD_BYTES + (size_t)ct_len);
}

int keyring_entry_parse(struct bytes encoded, struct keyring_entry *entry, struct err *e)
{
	struct wire w = wire_of(encoded);
	uint32_t ct_len;

	wire_copy(&w, entry->entry_id, ID_BYTES);
	entry->type = wire_u16(&w);
	wire_zeros(&w, 2);
	wire_copy(&w, entry->object_id, ID_BYTES);
	entry->epoch = wire_u32(&w);
	ct_len = wire_u32(&w);
	(void)wire_bytes(&w, (size_t)ct_len + SEAL_OVERHEAD_BYTES);
	if (!wire_end(&w) || entry->type < KEYRING_VAULT_KEY || entry->type > KEYRING_CHAT_EPOCH) {
		return err_set(e, KLUIS_EINVAL, "keyring entry: malformed");
	}
	return 0;
}

struct bytes keyring_view_slot(
	const struct keyring_view *view, size_t n, struct keyring_slot *ret_slot)
{
	struct bytes slot;
	int rc;

	assert(n < view->n_slots);
	slot = bytes_of(view->slots.data + n * KEYRING_SLOT_BYTES, KEYRING_SLOT_BYTES);
	rc = keyring_slot_parse(slot, ret_slot, NULL);
	assert(rc == 0); /* keyring_parse() has been through them. */
	return slot;
}

struct bytes keyring_view_find(const struct keyring_view *view, unsigned type,
	const uint8_t *slot_id, struct keyring_slot *ret_slot)
{
	for (size_t i = 0; i < view->n_slots; i++) {
		struct keyring_slot slot;
		struct bytes bytes = keyring_view_slot(view, i, &slot);

		if ((type == 0 || slot.type == type) &&
			(slot_id == NULL || memcmp(slot.slot_id, slot_id, ID_BYTES) == 0)) {
			*ret_slot = slot;
			return bytes;
		}
	}
	return bytes_of(NULL, 0);
}

size_t keyring_view_count(const struct keyring_view *view, unsigned type)
{
	size_t n = 0;

	for (size_t i = 0; i < view->n_slots; i++) {
		struct keyring_slot slot;

		(void)keyring_view_slot(view, i, &slot);
		n += slot.type == type;
	}
	return n;
}

/* Each well formed, and no id twice. At most 1,092 fit. */
static int slots_check(const struct keyring_view *v, struct err *e)
{
	for (size_t i = 0; i < v->n_slots; i++) {
		const uint8_t *slot = v->slots.data + i * KEYRING_SLOT_BYTES;
		struct keyring_slot fields;
		int rc = keyring_slot_parse(bytes_of(slot, KEYRING_SLOT_BYTES), &fields, e);

		if (rc != 0) {
			return rc;
		}
		for (size_t j = 0; j < i; j++) {
			if (memcmp(slot, v->slots.data + j * KEYRING_SLOT_BYTES, ID_BYTES) == 0) {
				return err_set(e, KLUIS_EINVAL, "keyring: a slot id twice");
			}
		}
	}
	return 0;
}

static int entries_check(const struct keyring_view *v, struct err *e)
{
	struct wire w = wire_of(v->entries);

	for (uint32_t i = 0; i < v->n_entries; i++) {
		struct keyring_entry fields;
		int rc = keyring_entry_parse(keyring_entry_next(&w), &fields, e);

		if (rc != 0) {
			return rc;
		}
	}
	return wire_end(&w) ? 0 : err_set(e, KLUIS_EINVAL, "keyring: malformed");
}

static int header_check(const struct keyring_view *v, struct err *e)
{
	bool first = v->revision == 1;

	if (!sym_known(v->sym)) {
		return err_set(e, KLUIS_ESUITE, "keyring: unknown suite %u", v->sym);
	}
	if (v->revision == 0 || first != all_zero(v->prev_hash, HASH_BYTES)) {
		return err_set(e, KLUIS_EINVAL, "keyring: revision and previous hash");
	}
	return 0;
}

int keyring_parse(struct bytes object, struct keyring_view *ret_view, struct err *e)
{
	struct wire w = wire_of(object);
	struct keyring_view v = {.object = object};
	unsigned version;
	int rc;

	if (object.len > KEYRING_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "keyring of %zu bytes", object.len);
	}
	(void)wire_match(&w, keyring_magic);
	version = wire_u8(&w);
	if (wire_ok(&w) && version != KEYRING_VERSION) {
		return err_set(e, KLUIS_EVERSION, "keyring: unknown version %u", version);
	}
	v.sym = wire_u8(&w);
	v.n_slots = wire_u16(&w);
	wire_copy(&w, v.user_id, ID_BYTES);
	v.revision = wire_u64(&w);
	v.core_len = wire_u32(&w);
	v.n_entries = wire_u32(&w);
	v.min_n_l = wire_u32(&w);
	v.min_n_k = wire_u32(&w);
	wire_copy(&w, v.prev_hash, HASH_BYTES);
	v.unix_ms = wire_u64(&w);
	wire_zeros(&w, 8);
	v.slots = wire_bytes(&w, (size_t)v.n_slots * KEYRING_SLOT_BYTES);
	v.core = wire_bytes(&w, v.core_len);
	if (!wire_ok(&w) || v.core_len < SEAL_OVERHEAD_BYTES || w.left.len < HMAC_BYTES) {
		return err_set(e, KLUIS_EINVAL, "keyring: malformed");
	}
	v.entries = wire_bytes(&w, w.left.len - HMAC_BYTES);
	v.tag = wire_bytes(&w, HMAC_BYTES);
	rc = header_check(&v, e);
	rc = rc != 0 ? rc : slots_check(&v, e);
	rc = rc != 0 ? rc : entries_check(&v, e);
	if (rc == 0) {
		hash_sha256(object, v.hash);
		*ret_view = v;
	}
	return rc;
}

int keyring_follows(const struct keyring_view *view, const uint8_t user_id[ID_BYTES],
	uint64_t stored_revision, const uint8_t stored_hash[HASH_BYTES], struct err *e)
{
	const uint8_t *prev = stored_revision == 0 ? keyring_zeros : stored_hash;

	if (memcmp(view->user_id, user_id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EINVAL, "keyring: of another user");
	}
	if (stored_revision == UINT64_MAX || view->revision != stored_revision + 1 ||
		memcmp(view->prev_hash, prev, HASH_BYTES) != 0) {
		return err_set(e, KLUIS_EPRECONDITION, "keyring: not the next after revision %llu",
			(unsigned long long)stored_revision);
	}
	return 0;
}

void keyring_put_header(const struct keyring_view *v, struct buf *to)
{
	size_t before = to->len;

	buf_put_str(to, keyring_magic);
	buf_put_u8(to, KEYRING_VERSION);
	buf_put_u8(to, v->sym);
	buf_put_u16(to, v->n_slots);
	buf_append(to, v->user_id, ID_BYTES);
	buf_put_u64(to, v->revision);
	buf_put_u32(to, v->core_len);
	buf_put_u32(to, v->n_entries);
	buf_put_u32(to, v->min_n_l);
	buf_put_u32(to, v->min_n_k);
	buf_append(to, v->prev_hash, HASH_BYTES);
	buf_put_u64(to, v->unix_ms);
	buf_put_zeros(to, 8);
	assert(to->len - before == KEYRING_HEADER_BYTES);
}
