/* The entries of an open keyring: which one takes another's place, and which may be gone. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/keyring_impl.h"

enum { VAULT_KEY_BYTES = 32 };

/* No head has this number: nothing moves the pin on. */
static const uint64_t forgotten_seq = UINT64_MAX;

bool keyring_entry_valid(unsigned type, size_t len)
{
	switch (type) {
	case KEYRING_VAULT_KEY:
		return len == VAULT_KEY_BYTES;
	case KEYRING_GROUP_KEY:
		return len > 2 && len <= 2 + KEY_PRIVATE_BYTES_MAX;
	case KEYRING_CONTACT_PIN:
		return len == KEYRING_CONTACT_PIN_BYTES;
	case KEYRING_VAULT_PIN:
		return len == KEYRING_VAULT_PIN_BYTES;
	default:
		return type == KEYRING_CHAT_EPOCH;
	}
}

static bool entry_is_pin(unsigned type)
{
	return type == KEYRING_CONTACT_PIN || type == KEYRING_VAULT_PIN;
}

static struct keyring_entry *entry_find(
	const struct keyring *k, unsigned type, const uint8_t object_id[ID_BYTES], uint32_t epoch)
{
	for (size_t i = 0; i < k->n_entries; i++) {
		struct keyring_entry *entry = &k->entries[i];

		if (entry->type == type && entry->epoch == epoch &&
			memcmp(entry->object_id, object_id, ID_BYTES) == 0) {
			return entry;
		}
	}
	return NULL;
}

const struct keyring_entry *keyring_entry(const struct keyring *keyring, unsigned type,
	const uint8_t object_id[ID_BYTES], uint32_t epoch)
{
	return entry_find(keyring, type, object_id, epoch);
}

/* Whose pin it is (genesis, of a contact), which statement or head it names, and by what hash. */
struct pin_parts {
	struct bytes whose, hash;
	uint64_t seq;
};

static struct pin_parts pin_parts(unsigned type, struct bytes value)
{
	if (type == KEYRING_VAULT_PIN) {
		return (struct pin_parts){
			.hash = bytes_of(value.data + 8, HASH_BYTES), .seq = load_u64(value.data)};
	}
	return (struct pin_parts){.whose = bytes_of(value.data, HASH_BYTES),
		.hash = bytes_of(value.data + HASH_BYTES, HASH_BYTES),
		.seq = load_u64(value.data + 2 * HASH_BYTES)};
}

/* Pins move forward: who was overtaken by another device changes nothing. */
static int pin_move(struct keyring_entry *entry, struct bytes value, struct err *e)
{
	struct pin_parts held = pin_parts(entry->type, secret_bytes(&entry->value));
	struct pin_parts fresh = pin_parts(entry->type, value);

	if (!bytes_equal(held.whose, fresh.whose) ||
		(held.seq == fresh.seq && !bytes_equal(held.hash, fresh.hash))) {
		return err_set(e, KLUIS_EPIN,
			"the keyring has another pin of that object (number %" PRIu64
			"): another device of yours was shown something else (fork)",
			held.seq);
	}
	if (held.seq < fresh.seq) {
		secret_set(&entry->value, value);
	}
	return 0;
}

static int entry_again(struct keyring_entry *entry, struct bytes value, struct err *e)
{
	if (entry_is_pin(entry->type)) {
		return pin_move(entry, value, e);
	}
	return secret_equal(secret_bytes(&entry->value), value)
		       ? 0
		       : err_set(e, KLUIS_ECONFLICT, "the keyring holds another key of that epoch");
}

void keyring_forget_pin(uint8_t ret_value[KEYRING_VAULT_PIN_BYTES])
{
	memset(ret_value, 0, KEYRING_VAULT_PIN_BYTES);
	store_u64(ret_value, forgotten_seq);
}

bool keyring_pin_forgets(struct bytes value)
{
	uint8_t pin[KEYRING_VAULT_PIN_BYTES];

	keyring_forget_pin(pin);
	return bytes_equal(value, bytes_of(pin, sizeof pin));
}

bool keyring_forgotten(const struct keyring *keyring, const uint8_t vault_id[ID_BYTES])
{
	const struct keyring_entry *pin = keyring_entry(keyring, KEYRING_VAULT_PIN, vault_id, 0);

	return pin != NULL && keyring_pin_forgets(secret_bytes(&pin->value));
}

/* Drops an object's entries of this type, or all (0); how many there were. */
static size_t entries_drop(
	struct keyring *keyring, unsigned type, const uint8_t object_id[ID_BYTES])
{
	size_t kept = 0, before = keyring->n_entries;

	for (size_t i = 0; i < before; i++) {
		struct keyring_entry *entry = &keyring->entries[i];

		if ((type == 0 || entry->type == type) &&
			memcmp(entry->object_id, object_id, ID_BYTES) == 0) {
			secret_release(&entry->value);
		} else {
			keyring->entries[kept++] = *entry;
		}
	}
	keyring->n_entries = kept;
	return before - kept;
}

static void entry_add(struct keyring *keyring, unsigned type, const uint8_t object_id[ID_BYTES],
	uint32_t epoch, struct bytes value, struct random *random)
{
	struct keyring_entry *entry;

	keyring->entries =
		x_realloc(keyring->entries, (keyring->n_entries + 1) * sizeof *keyring->entries);
	entry = &keyring->entries[keyring->n_entries++];
	*entry = (struct keyring_entry){.type = (uint16_t)type, .epoch = epoch};
	random_fill(random, entry->entry_id, ID_BYTES);
	memcpy(entry->object_id, object_id, ID_BYTES);
	secret_set(&entry->value, value);
}

int keyring_put_entry(struct keyring *keyring, unsigned type, const uint8_t object_id[ID_BYTES],
	uint32_t epoch, struct bytes value, struct random *random, struct err *e)
{
	struct keyring_entry *entry = entry_find(keyring, type, object_id, epoch);
	int rc = 0;

	assert(keyring_entry_valid(type, value.len) && value.len <= KEYRING_VALUE_BYTES_MAX);
	if (type == KEYRING_VAULT_KEY && keyring_forgotten(keyring, object_id)) {
		return err_set(e, KLUIS_EGONE, "the keyring has given up that vault");
	}
	if (entry == NULL) {
		entry_add(keyring, type, object_id, epoch, value, random);
	} else {
		rc = entry_again(entry, value, e);
	}
	if (rc == 0 && type == KEYRING_VAULT_PIN && keyring_pin_forgets(value)) {
		(void)entries_drop(keyring, KEYRING_VAULT_KEY, object_id); /* None is fine. */
	}
	return rc;
}

bool keyring_value_kept(unsigned type, struct bytes was, struct bytes is)
{
	struct pin_parts old, now;

	if (!entry_is_pin(type)) {
		return secret_equal(was, is);
	}
	old = pin_parts(type, was);
	now = pin_parts(type, is);
	return bytes_equal(old.whose, now.whose) &&
	       (old.seq < now.seq || (old.seq == now.seq && bytes_equal(old.hash, now.hash)));
}

int keyring_lost(unsigned type, struct err *e)
{
	return err_set(e, KLUIS_EPIN,
		"the cluster shows a keyring that lacks %s which this profile has seen in it: "
		"another history of it (fork)",
		entry_is_pin(type) ? "a pin" : "a key");
}

static bool entry_kept(const struct keyring_entry *was, const struct keyring *now)
{
	const struct keyring_entry *is = keyring_entry(now, was->type, was->object_id, was->epoch);

	if (was->type == KEYRING_CHAT_EPOCH) {
		return true;
	}
	if (is == NULL) {
		return was->type == KEYRING_VAULT_KEY && keyring_forgotten(now, was->object_id);
	}
	return keyring_value_kept(was->type, secret_bytes(&was->value), secret_bytes(&is->value));
}

int keyring_keeps(const struct keyring *old, const struct keyring *now, struct err *e)
{
	for (size_t i = 0; i < old->n_entries; i++) {
		const struct keyring_entry *was = &old->entries[i];

		if (!entry_kept(was, now)) {
			return keyring_lost(was->type, e);
		}
	}
	return 0;
}

size_t keyring_drop_entries(struct keyring *keyring, const uint8_t object_id[ID_BYTES])
{
	return entries_drop(keyring, 0, object_id);
}
