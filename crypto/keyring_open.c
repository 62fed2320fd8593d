/* The open keyring: core, entries, the next revision. */
#include <assert.h>
#include <string.h>

#include "crypto/keyring_impl.h"

enum {
	KRK_ENC_BYTES = SEAL_KEY_BYTES,
	KRK_MAC_BYTES = HMAC_BYTES,
	FIELD_HEADER_BYTES = 6,
	KEY_128_BYTES = 16,
	KEY_256_BYTES = 32,
};
static_assert((int)KRK_ENC_BYTES + (int)KRK_MAC_BYTES == (int)KEYRING_KRK_BYTES, "KRK");

static size_t sym_key_bytes(unsigned sym)
{
	return sym == SYM_AES_128 ? KEY_128_BYTES : KEY_256_BYTES;
}

static void keyring_free_fields(struct keyring *k)
{
	for (size_t i = 0; i < k->n_fields; i++) {
		secret_release(&k->fields[i].value);
	}
	free(k->fields);
	k->fields = NULL;
	k->n_fields = 0;
}

void keyring_release(struct keyring *k)
{
	for (size_t i = 0; i < k->n_entries; i++) {
		secret_release(&k->entries[i].value);
	}
	free(k->entries);
	keyring_free_fields(k);
	secret_release(&k->krk);
	buf_release(&k->slots);
	key_free(k->signing);
	key_free(k->transfer);
	key_free(k->rsa);
	*k = (struct keyring){0};
}

/* Where a field of this type is, or belongs. */
static size_t field_place(const struct keyring *k, unsigned type, bool *ret_there)
{
	size_t i = 0;

	while (i < k->n_fields && k->fields[i].type < type) {
		i++;
	}
	*ret_there = i < k->n_fields && k->fields[i].type == type;
	return i;
}

static void field_put(struct keyring *k, unsigned type, struct bytes value)
{
	bool there;
	size_t i = field_place(k, type, &there);

	assert(type > 0 && type <= UINT16_MAX);
	if (!there) {
		k->fields = x_realloc(k->fields, (k->n_fields + 1) * sizeof *k->fields);
		memmove(k->fields + i + 1, k->fields + i, (k->n_fields - i) * sizeof *k->fields);
		k->fields[i] = (struct keyring_field){.type = (uint16_t)type};
		k->n_fields++;
	}
	secret_set(&k->fields[i].value, value);
}

struct bytes keyring_field(const struct keyring *keyring, unsigned type)
{
	bool there;
	size_t i = field_place(keyring, type, &there);

	return there ? secret_bytes(&keyring->fields[i].value) : bytes_of(NULL, 0);
}

void keyring_set_field(struct keyring *keyring, unsigned type, struct bytes value)
{
	assert(type > KEYRING_RSA_PUB || (type > KEYRING_K3 && type < KEYRING_SIGNING));
	assert(value.len <= KEYRING_VALUE_BYTES_MAX);
	field_put(keyring, type, value);
}

/* A new local key before those that were. */
static void local_key_add(struct keyring *k, struct random *random)
{
	_cleanup_(secret_release) struct secret keys = SECRET_INIT;
	struct bytes old = keyring_field(k, KEYRING_LOCAL_KEYS);
	const size_t kept_max = (KEYRING_LOCAL_KEYS_MAX - 1) * KEYRING_LOCAL_KEY_BYTES;
	size_t kept = old.len > kept_max ? kept_max : old.len - old.len % KEYRING_LOCAL_KEY_BYTES;

	secret_init(&keys, KEYRING_LOCAL_KEY_BYTES + kept);
	random_fill(random, keys.data, KEYRING_LOCAL_KEY_BYTES);
	if (kept > 0) {
		memcpy(keys.data + KEYRING_LOCAL_KEY_BYTES, old.data, kept);
	}
	field_put(k, KEYRING_LOCAL_KEYS, secret_bytes(&keys));
}

struct bytes keyring_local_key(const struct keyring *keyring, size_t n)
{
	struct bytes keys = keyring_field(keyring, KEYRING_LOCAL_KEYS);
	size_t count = keys.len / KEYRING_LOCAL_KEY_BYTES;

	if (n < count) {
		return bytes_of(keys.data + n * KEYRING_LOCAL_KEY_BYTES, KEYRING_LOCAL_KEY_BYTES);
	}
	return n == count ? keyring_field(keyring, KEYRING_K3) : bytes_of(NULL, 0);
}

static void field_random(struct keyring *k, unsigned type, struct random *random)
{
	_cleanup_(secret_release) struct secret key = SECRET_INIT;

	secret_random(&key, sym_key_bytes(k->sym), random);
	field_put(k, type, secret_bytes(&key));
}

static void field_pair(struct keyring *k, unsigned type, const struct key *key)
{
	_cleanup_(secret_release) struct secret encoded = SECRET_INIT;

	key_encode(key, &encoded);
	field_put(k, type, secret_bytes(&encoded));
	field_put(k, type + 1, key_pub_bytes(key_public(key)));
}

/* The private key of a pair in the core, which must be that of the public one beside it. */
static int core_pair(
	const struct keyring *k, unsigned type, unsigned alg, struct key **ret_key, struct err *e)
{
	_cleanup_(key_freep) struct key *key = NULL;
	struct bytes pub = keyring_field(k, type + 1);
	int rc = key_decode(alg, keyring_field(k, type), &key, e);

	if (rc != 0) {
		return err_wrap(e, rc, "keyring: key %u", type);
	}
	if (!bytes_equal(key_pub_bytes(key_public(key)), pub)) {
		return err_set(
			e, KLUIS_EVERIFY, "keyring: key %u is not that of its public key", type);
	}
	*ret_key = key;
	key = NULL;
	return 0;
}

static int core_keys(struct keyring *k, struct err *e)
{
	unsigned kem = key_kem_of_length(keyring_field(k, KEYRING_TRANSFER_PUB).len);
	bool has_rsa = keyring_field(k, KEYRING_RSA).data != NULL;
	int rc = core_pair(k, KEYRING_SIGNING, KEY_RSA_PSS, &k->signing, e);

	if (rc == 0 && kem == 0) {
		rc = err_set(e, KLUIS_EINVAL, "keyring: transfer key of no known kind");
	}
	rc = rc != 0 ? rc : core_pair(k, KEYRING_TRANSFER, kem, &k->transfer, e);
	if (rc == 0 && has_rsa != (keyring_field(k, KEYRING_RSA_PUB).data != NULL)) {
		rc = err_set(e, KLUIS_EINVAL, "keyring: half of an RSA transfer pair");
	}
	if (rc == 0 && has_rsa) {
		rc = core_pair(k, KEYRING_RSA, KEY_KEM_RSA, &k->rsa, e);
	}
	return rc;
}

const struct key *keyring_recipient(const struct keyring *keyring, const uint8_t kid[KID_BYTES])
{
	const struct key *rsa = keyring->rsa;

	return rsa != NULL && memcmp(key_pub_kid(key_public(rsa)), kid, KID_BYTES) == 0
		       ? rsa
		       : keyring->transfer;
}

void keyring_set_rsa(struct keyring *keyring, struct key *rsa)
{
	assert(key_pub_alg(key_public(rsa)) == KEY_KEM_RSA);
	field_pair(keyring, KEYRING_RSA, rsa);
	key_free(keyring->rsa);
	keyring->rsa = rsa;
}

void keyring_set_next_signing(struct keyring *keyring, const struct key *fresh)
{
	_cleanup_(secret_release) struct secret encoded = SECRET_INIT;

	assert(keyring_field(keyring, KEYRING_NEXT_SIGNING).data == NULL);
	assert(key_pub_alg(key_public(fresh)) == KEY_RSA_PSS);
	key_encode(fresh, &encoded);
	field_put(keyring, KEYRING_NEXT_SIGNING, secret_bytes(&encoded));
}

int keyring_next_signing(const struct keyring *keyring, struct key **ret_key, struct err *e)
{
	struct bytes encoded = keyring_field(keyring, KEYRING_NEXT_SIGNING);
	int rc;

	if (encoded.data == NULL) {
		return err_set(e, KLUIS_ENOTFOUND, "the keyring has no next signing key");
	}
	rc = key_decode(KEY_RSA_PSS, encoded, ret_key, e);
	return rc == 0 ? 0 : err_wrap(e, rc, "keyring: the next signing key");
}

static void field_drop(struct keyring *k, unsigned type)
{
	bool there;
	size_t i = field_place(k, type, &there);

	assert(there);
	secret_release(&k->fields[i].value);
	k->n_fields--;
	memmove(k->fields + i, k->fields + i + 1, (k->n_fields - i) * sizeof *k->fields);
}

int keyring_take_next_signing(struct keyring *keyring, struct err *e)
{
	struct key *next = NULL;
	int rc = keyring_next_signing(keyring, &next, e);

	if (rc != 0) {
		return rc;
	}
	field_pair(keyring, KEYRING_SIGNING, next);
	field_drop(keyring, KEYRING_NEXT_SIGNING);
	key_free(keyring->signing);
	keyring->signing = next;
	return 0;
}

/* Fields strictly ascending; unknown types stay. */
static int core_parse(struct keyring *k, struct bytes tlv, struct err *e)
{
	struct wire w = wire_of(tlv);
	unsigned last = 0;

	while (wire_ok(&w) && w.left.len > 0) {
		unsigned type = wire_u16(&w);
		struct bytes value = wire_lp32(&w, KEYRING_BYTES_MAX);

		if (!wire_ok(&w) || type <= last) {
			return err_set(e, KLUIS_EINVAL, "keyring: core out of order");
		}
		field_put(k, type, value);
		last = type;
	}
	for (unsigned type = KEYRING_K1; type <= KEYRING_K3; type++) {
		if (keyring_field(k, type).len != sym_key_bytes(k->sym)) {
			return err_set(e, KLUIS_EINVAL, "keyring: key K%u of a wrong size", type);
		}
	}
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_EINVAL, "keyring: malformed core");
	}
	return core_keys(k, e);
}

static void core_context(const struct keyring *k, uint64_t revision, struct buf *ctx)
{
	buf_put_str(ctx, "core");
	buf_append(ctx, k->user_id, ID_BYTES);
	buf_put_u64(ctx, revision);
}

static struct bytes krk_enc(struct bytes krk)
{
	return bytes_of(krk.data, KRK_ENC_BYTES);
}

static void keyring_tag(struct bytes krk, struct bytes untagged, uint8_t ret_tag[HMAC_BYTES])
{
	const struct bytes parts[] = {bytes_str("kluis/v1/keyring"), untagged};

	assert(krk.len == KEYRING_KRK_BYTES);
	hash_hmac(bytes_of(krk.data + KRK_ENC_BYTES, KRK_MAC_BYTES), parts, ARRAY_SIZE(parts),
		ret_tag);
}

static void entry_key(struct bytes k1, struct bytes k2, struct secret *ret_key)
{
	_cleanup_(secret_release) struct secret both = SECRET_INIT;
	const struct bytes info = bytes_str("kluis/v1/entry");

	assert(k1.data != NULL && k2.data != NULL);
	secret_init(&both, k1.len + k2.len);
	memcpy(both.data, k1.data, k1.len);
	memcpy(both.data + k1.len, k2.data, k2.len);
	secret_init(ret_key, SEAL_KEY_BYTES);
	hkdf(bytes_of(NULL, 0), secret_bytes(&both), &info, 1, ret_key->data, ret_key->len);
}

static void entry_put(struct bytes key, const struct keyring_entry *entry, struct random *random,
	struct buf *ret_encoded)
{
	uint8_t fixed[KEYRING_ENTRY_FIXED_BYTES] = {0};

	memcpy(fixed, entry->entry_id, ID_BYTES);
	store_u16(fixed + 16, entry->type);
	memcpy(fixed + 20, entry->object_id, ID_BYTES);
	store_u32(fixed + 36, entry->epoch);
	store_u32(fixed + 40, (uint32_t)entry->value.len);
	buf_append(ret_encoded, fixed, sizeof fixed);
	seal_make(key, bytes_of(fixed, sizeof fixed), secret_bytes(&entry->value), random,
		ret_encoded);
}

void keyring_entry_seal(struct bytes k1, struct bytes k2, const struct keyring_entry *entry,
	struct random *random, struct buf *ret_encoded)
{
	_cleanup_(secret_release) struct secret key = SECRET_INIT;

	entry_key(k1, k2, &key);
	entry_put(secret_bytes(&key), entry, random, ret_encoded);
}

static int entry_take(
	struct bytes key, struct bytes encoded, struct keyring_entry *ret_entry, struct err *e)
{
	struct keyring_entry entry = {.value = SECRET_INIT};
	int rc = keyring_entry_parse(encoded, &entry, e);

	rc = rc != 0 ? rc
		     : seal_open(key, bytes_of(encoded.data, KEYRING_ENTRY_FIXED_BYTES),
			       bytes_of(encoded.data + KEYRING_ENTRY_FIXED_BYTES,
				       encoded.len - KEYRING_ENTRY_FIXED_BYTES),
			       &entry.value, e);
	if (rc == 0 && !keyring_entry_valid(entry.type, entry.value.len)) {
		secret_release(&entry.value);
		rc = err_set(e, KLUIS_EINVAL, "keyring entry: a value of a wrong length");
	}
	if (rc == 0) {
		*ret_entry = entry;
	}
	return rc;
}

int keyring_entry_open(struct bytes k1, struct bytes k2, struct bytes encoded,
	struct keyring_entry *ret_entry, struct err *e)
{
	_cleanup_(secret_release) struct secret key = SECRET_INIT;

	entry_key(k1, k2, &key);
	return entry_take(secret_bytes(&key), encoded, ret_entry, e);
}

static int entries_open(struct keyring *k, const struct keyring_view *view, struct err *e)
{
	_cleanup_(secret_release) struct secret key = SECRET_INIT;
	struct wire w = wire_of(view->entries);
	int rc = 0;

	entry_key(keyring_field(k, KEYRING_K1), keyring_field(k, KEYRING_K2), &key);
	k->entries = x_calloc((size_t)view->n_entries + 1, sizeof *k->entries);
	for (uint32_t i = 0; rc == 0 && i < view->n_entries; i++) {
		rc = entry_take(
			secret_bytes(&key), keyring_entry_next(&w), &k->entries[k->n_entries], e);
		k->n_entries += rc == 0;
	}
	return rc;
}

static int keyring_open_parts(struct keyring *k, const struct keyring_view *view, struct err *e)
{
	_cleanup_(secret_release) struct secret core = SECRET_INIT;
	_cleanup_(buf_release) struct buf ctx = BUF_INIT;
	int rc;

	core_context(k, view->revision, &ctx);
	rc = seal_open(krk_enc(secret_bytes(&k->krk)), buf_bytes(&ctx), view->core, &core, e);
	rc = rc != 0 ? rc : core_parse(k, secret_bytes(&core), e);
	return rc != 0 ? rc : entries_open(k, view, e);
}

int keyring_open(const struct keyring_view *view, const uint8_t user_id[ID_BYTES], struct bytes krk,
	struct keyring *ret_keyring, struct err *e)
{
	struct keyring k = {.sym = view->sym,
		.revision = view->revision,
		.min_n_l = view->min_n_l,
		.min_n_k = view->min_n_k};
	uint8_t tag[HMAC_BYTES];
	int rc;

	if (memcmp(view->user_id, user_id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "keyring: of another user");
	}
	keyring_tag(krk, bytes_of(view->object.data, view->object.len - HMAC_BYTES), tag);
	if (!secret_equal(bytes_of(tag, sizeof tag), view->tag)) {
		return err_set(
			e, KLUIS_EVERIFY, "the keyring was changed, or is under another key");
	}
	memcpy(k.user_id, user_id, ID_BYTES);
	memcpy(k.hash, view->hash, HASH_BYTES);
	secret_set(&k.krk, krk);
	buf_append_bytes(&k.slots, view->slots);
	rc = keyring_open_parts(&k, view, e);
	if (rc != 0) {
		keyring_release(&k);
		return rc;
	}
	keyring_release(ret_keyring);
	*ret_keyring = k;
	return 0;
}

int keyring_make(const uint8_t user_id[ID_BYTES], unsigned sym, const struct key *signing,
	const struct key *transfer, struct bytes account_key, struct random *random,
	struct keyring *ret_keyring, struct err *e)
{
	struct keyring k = {.sym = (uint8_t)sym};
	int rc;

	assert(sym == SYM_AES_128 || sym == SYM_AES_256);
	assert(account_key.len == 0 || account_key.len == SEAL_KEY_BYTES);
	memcpy(k.user_id, user_id, ID_BYTES);
	secret_random(&k.krk, KEYRING_KRK_BYTES, random);
	for (unsigned type = KEYRING_K1; type <= KEYRING_K3; type++) {
		field_random(&k, type, random);
	}
	local_key_add(&k, random);
	field_pair(&k, KEYRING_SIGNING, signing);
	field_pair(&k, KEYRING_TRANSFER, transfer);
	if (account_key.len > 0) {
		field_put(&k, KEYRING_ACCOUNT_KEY, account_key);
	}
	rc = core_keys(&k, e);
	if (rc != 0) {
		keyring_release(&k);
		return rc;
	}
	keyring_release(ret_keyring);
	*ret_keyring = k;
	return 0;
}

static size_t slots_count(const struct keyring *k)
{
	return k->slots.len / KEYRING_SLOT_BYTES;
}

static struct keyring_slot slot_at(const struct keyring *k, size_t i)
{
	struct keyring_slot slot;
	int rc = keyring_slot_parse(
		bytes_of(k->slots.data + i * KEYRING_SLOT_BYTES, KEYRING_SLOT_BYTES), &slot, NULL);

	assert(rc == 0); /* Parsed, or made, before it came here. */
	return slot;
}

static void slot_remove(struct keyring *k, size_t i)
{
	uint8_t *at = k->slots.data + i * KEYRING_SLOT_BYTES;

	assert(i < slots_count(k));
	memmove(at, at + KEYRING_SLOT_BYTES, k->slots.len - (i + 1) * (size_t)KEYRING_SLOT_BYTES);
	k->slots.len -= KEYRING_SLOT_BYTES;
}

void keyring_put_slot(struct keyring *keyring, const struct keyring_slot *fields, struct bytes kek,
	struct random *random)
{
	for (size_t i = 0; i < slots_count(keyring); i++) {
		if (memcmp(slot_at(keyring, i).slot_id, fields->slot_id, ID_BYTES) == 0) {
			slot_remove(keyring, i--);
		}
	}
	keyring_slot_seal(fields, keyring->user_id, kek, secret_bytes(&keyring->krk), random,
		&keyring->slots);
}

size_t keyring_drop_slots(struct keyring *keyring, unsigned type, const uint8_t *ref)
{
	size_t before = slots_count(keyring), i = 0;

	while (i < slots_count(keyring)) {
		struct keyring_slot slot = slot_at(keyring, i);

		if (slot.type == type && (ref == NULL || memcmp(slot.ref, ref, ID_BYTES) == 0)) {
			slot_remove(keyring, i);
		} else {
			i++;
		}
	}
	return before - slots_count(keyring);
}

void keyring_rotate(struct keyring *keyring, struct random *random)
{
	secret_random(&keyring->krk, KEYRING_KRK_BYTES, random);
	field_random(keyring, KEYRING_K1, random);
	field_random(keyring, KEYRING_K2, random);
	local_key_add(keyring, random);
	buf_clear(&keyring->slots);
}

static void core_encode(const struct keyring *k, struct secret *ret_tlv)
{
	size_t len = 0, at = 0;

	for (size_t i = 0; i < k->n_fields; i++) {
		len += FIELD_HEADER_BYTES + k->fields[i].value.len;
	}
	secret_init(ret_tlv, len);
	for (size_t i = 0; i < k->n_fields; i++) {
		struct bytes value = secret_bytes(&k->fields[i].value);

		store_u16(ret_tlv->data + at, k->fields[i].type);
		store_u32(ret_tlv->data + at + 2, (uint32_t)value.len);
		if (value.len > 0) {
			memcpy(ret_tlv->data + at + FIELD_HEADER_BYTES, value.data, value.len);
		}
		at += FIELD_HEADER_BYTES + value.len;
	}
	assert(at == len);
}

static void keyring_seal_body(
	const struct keyring *k, struct keyring_view *v, struct random *random, struct buf *to)
{
	_cleanup_(secret_release) struct secret tlv = SECRET_INIT, key = SECRET_INIT;
	_cleanup_(buf_release) struct buf ctx = BUF_INIT;

	core_encode(k, &tlv);
	v->core_len = (uint32_t)(tlv.len + SEAL_OVERHEAD_BYTES);
	keyring_put_header(v, to);
	buf_append_bytes(to, buf_bytes(&k->slots));
	core_context(k, v->revision, &ctx);
	seal_make(krk_enc(secret_bytes(&k->krk)), buf_bytes(&ctx), secret_bytes(&tlv), random, to);
	entry_key(keyring_field(k, KEYRING_K1), keyring_field(k, KEYRING_K2), &key);
	for (size_t i = 0; i < k->n_entries; i++) {
		entry_put(secret_bytes(&key), &k->entries[i], random, to);
	}
}

/* What the next object will need, so that nothing is sealed that cannot be stored. */
size_t keyring_object_bytes(const struct keyring *k)
{
	size_t len = KEYRING_HEADER_BYTES + k->slots.len + SEAL_OVERHEAD_BYTES + HMAC_BYTES;

	for (size_t i = 0; i < k->n_fields; i++) {
		len += FIELD_HEADER_BYTES + k->fields[i].value.len;
	}
	for (size_t i = 0; i < k->n_entries; i++) {
		len += KEYRING_ENTRY_FIXED_BYTES + SEAL_OVERHEAD_BYTES + k->entries[i].value.len;
	}
	return len;
}

int keyring_seal(const struct keyring *k, uint64_t unix_ms, struct random *random,
	struct buf *ret_object, struct err *e)
{
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	struct keyring_view v = {.sym = k->sym,
		.n_slots = (uint16_t)slots_count(k),
		.revision = k->revision + 1,
		.n_entries = (uint32_t)k->n_entries,
		.min_n_l = k->min_n_l,
		.min_n_k = k->min_n_k,
		.unix_ms = unix_ms};
	uint8_t tag[HMAC_BYTES];

	assert(k->slots.len > 0);
	if (keyring_object_bytes(k) > KEYRING_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "the keyring would be larger than %d bytes",
			KEYRING_BYTES_MAX);
	}
	memcpy(v.user_id, k->user_id, ID_BYTES);
	memcpy(v.prev_hash, k->hash, HASH_BYTES); /* Zero when there was none. */
	keyring_seal_body(k, &v, random, &object);
	keyring_tag(secret_bytes(&k->krk), buf_bytes(&object), tag);
	buf_append(&object, tag, sizeof tag);
	assert(object.len == keyring_object_bytes(k));
	buf_append_bytes(ret_object, buf_bytes(&object));
	return 0;
}

void keyring_sealed(struct keyring *keyring, struct bytes object)
{
	keyring->revision++;
	hash_sha256(object, keyring->hash);
}
