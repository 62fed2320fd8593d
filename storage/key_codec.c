#include "storage/key_codec.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/hash.h"

static uint8_t *key_extend(struct row_key *key, size_t len)
{
	uint8_t *end = key->data + key->len;

	assert(len <= sizeof key->data - key->len);
	key->len += len;
	return end;
}

struct row_key row_key_begin(enum key_family family)
{
	struct row_key key;

	key.len = 0;
	row_key_put_u8(&key, (uint8_t)family);
	return key;
}

void row_key_put_u8(struct row_key *key, uint8_t value)
{
	*key_extend(key, 1) = value;
}

void row_key_put_u32(struct row_key *key, uint32_t value)
{
	store_u32(key_extend(key, 4), value);
}

void row_key_put_u64(struct row_key *key, uint64_t value)
{
	store_u64(key_extend(key, 8), value);
}

void row_key_put_id(struct row_key *key, const uint8_t id[16])
{
	memcpy(key_extend(key, 16), id, 16);
}

void row_key_put_hash(struct row_key *key, const uint8_t hash[32])
{
	memcpy(key_extend(key, 32), hash, 32);
}

void row_key_put_tail(struct row_key *key, struct bytes tail)
{
	if (tail.len > 0) {
		memcpy(key_extend(key, tail.len), tail.data, tail.len);
	}
}

struct bytes row_key_bytes(const struct row_key *key)
{
	return bytes_of(key->data, key->len);
}

struct row_key row_key_after_prefix(const struct row_key *key)
{
	struct row_key after = *key;

	while (after.len > 0 && after.data[after.len - 1] == 0xff) {
		after.len--;
	}
	assert(after.len > 0); /* No family is 0xff. */
	after.data[after.len - 1]++;
	return after;
}

const char *row_key_family_name(uint8_t family)
{
	switch (family) {
#define X(symbol, value, name) \
	case value:            \
		return name;
		KEY_FAMILIES(X)
#undef X
	default:
		return "?";
	}
}

bool row_key_is_row(struct bytes key)
{
	return key.len > 0 && key.len <= KEY_ROW_BYTES_MAX && key.data[0] < KEY_DERIVED_FIRST;
}

unsigned row_key_slice(struct bytes key)
{
	uint8_t hash[HASH_BYTES];

	hash_sha256(key, hash);
	return load_u32(hash) % KEY_SLICES;
}
