/* What stands inside a keyring whose seals are right: a core and one entry of any content. The
 * first two bytes of the input are the entry's type. */
#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/keyring_impl.h"

enum { TYPE_BYTES = 2, INPUT_BYTES_MAX = 64 * 1024 };

static const uint8_t krk[KEYRING_KRK_BYTES], user_id[ID_BYTES];

/* The keys of the core, if it has any: what entries are sealed under. */
static struct bytes core_key(struct bytes core, unsigned type)
{
	struct wire w = wire_of(core);

	while (wire_ok(&w) && w.left.len > 0) {
		unsigned at = wire_u16(&w);
		struct bytes value = wire_lp32(&w, INPUT_BYTES_MAX);

		if (at == type && value.len > 0) {
			return value;
		}
	}
	return bytes_of(krk, SEAL_KEY_BYTES);
}

static void make_object(struct bytes core, unsigned type, struct buf *object)
{
	_cleanup_(buf_release) struct buf ctx = BUF_INIT;
	struct keyring_entry entry = {.type = (uint16_t)type};
	struct keyring_view v = {.sym = SYM_AES_256, .revision = 1, .n_entries = 1};
	struct random_seeded random;
	uint8_t tag[HMAC_BYTES];

	random_seeded_init(&random, 1);
	secret_set(&entry.value, bytes_of(core.data, core.len < 100 ? core.len : 100));
	v.core_len = (uint32_t)(core.len + SEAL_OVERHEAD_BYTES);
	keyring_put_header(&v, object);
	buf_put_str(&ctx, "core");
	buf_append(&ctx, user_id, ID_BYTES);
	buf_put_u64(&ctx, v.revision);
	seal_make(bytes_of(krk, SEAL_KEY_BYTES), buf_bytes(&ctx), core, &random.random, object);
	keyring_entry_seal(core_key(core, KEYRING_K1), core_key(core, KEYRING_K2), &entry,
		&random.random, object);
	hash_hmac(bytes_of(krk + SEAL_KEY_BYTES, HMAC_BYTES),
		(struct bytes[]){bytes_str("kluis/v1/keyring"), buf_bytes(object)}, 2, tag);
	buf_append(object, tag, sizeof tag);
	secret_release(&entry.value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(keyring_release) struct keyring keyring = {0};
	_cleanup_(buf_release) struct buf object = BUF_INIT, again = BUF_INIT;
	struct keyring_slot slot = {.type = KEYRING_SLOT_RECOVERY, .sym = SYM_AES_256};
	struct keyring_view view;

	if (size < TYPE_BYTES || size > INPUT_BYTES_MAX) {
		return 0;
	}
	make_object(bytes_of(data + TYPE_BYTES, size - TYPE_BYTES), load_u16(data), &object);
	if (keyring_parse(buf_bytes(&object), &view, NULL) != 0 ||
		keyring_open(&view, user_id, bytes_of(krk, sizeof krk), &keyring, NULL) != 0) {
		return 0;
	}
	/* What opens can be sealed and opened again. */
	keyring_put_slot(&keyring, &slot, bytes_of(krk, sizeof krk), &random_system);
	assert(keyring_seal(&keyring, 1, &random_system, &again, NULL) == 0);
	keyring_sealed(&keyring, buf_bytes(&again));
	assert(keyring_parse(buf_bytes(&again), &view, NULL) == 0);
	assert(keyring_open(&view, user_id, bytes_of(krk, sizeof krk), &keyring, NULL) == 0);
	return 0;
}
