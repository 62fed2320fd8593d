#include "cli/client/ring.h"

#include <assert.h>
#include <string.h>

#include "base/random.h"
#include "crypto/inbox.h"

struct ring_of_mine {
	struct ring ring;
	struct keyring keyring;
};

void ring_free(struct ring *ring)
{
	if (ring != NULL) {
		ring->free(ring);
	}
}

int ring_open(struct bytes object, const uint8_t user_id[ID_BYTES], struct bytes krk,
	struct keyring *ret_keyring, struct err *e)
{
	struct keyring_view view;
	int rc = keyring_parse(object, &view, e);

	return rc != 0 ? rc : keyring_open(&view, user_id, krk, ret_keyring, e);
}

int ring_change_object(const uint8_t user_id[ID_BYTES], struct bytes krk, struct bytes object,
	const struct ring_change *changes, size_t n, uint64_t unix_ms, struct buf *ret_object,
	struct err *e)
{
	_cleanup_(keyring_release) struct keyring keyring = {0};
	int rc = ring_open(object, user_id, krk, &keyring, e);

	assert(n <= RING_CHANGES_MAX);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = keyring_put_entry(&keyring, changes[i].type, changes[i].object_id,
			changes[i].epoch, changes[i].value, &random_system, e);
	}
	return rc != 0 ? rc : keyring_seal(&keyring, unix_ms, &random_system, ret_object, e);
}

int ring_place_compare(const void *a, const void *b)
{
	const struct ring_place *one = a, *other = b;
	int order = memcmp(one->object_id, other->object_id, ID_BYTES);

	return order != 0 ? order : (one->epoch > other->epoch) - (one->epoch < other->epoch);
}

void ring_places(
	const struct keyring *keyring, unsigned type, struct ring_place **ret_places, size_t *ret_n)
{
	struct ring_place *places = x_calloc(keyring->n_entries + 1, sizeof *places);
	size_t n = 0;

	for (size_t i = 0; i < keyring->n_entries; i++) {
		const struct keyring_entry *entry = &keyring->entries[i];

		if (entry->type == type) {
			memcpy(places[n].object_id, entry->object_id, ID_BYTES);
			places[n++].epoch = entry->epoch;
		}
	}
	qsort(places, n, sizeof *places, ring_place_compare);
	*ret_places = places;
	*ret_n = n;
}

/* A value that an agent does not let go of is empty: that it is there has to do. */
struct kept_entry {
	unsigned type;
	struct ring_place place;
	struct secret value;
};
struct ring_kept {
	size_t n;
	struct kept_entry entries[];
};

void ring_kept_free(struct ring_kept *kept)
{
	for (size_t i = 0; kept != NULL && i < kept->n; i++) {
		secret_release(&kept->entries[i].value);
	}
	free(kept);
}

static int kept_value(struct ring *ring, unsigned type, const struct ring_place *place,
	struct secret *ret_value, struct err *e)
{
	struct err why = {0};
	int rc = ring->get(ring, type, place->object_id, place->epoch, ret_value, &why);

	return rc == 0 || rc == KLUIS_EFORBIDDEN ? 0 : err_set(e, rc, "%s", why.text);
}

static int keep_type(struct ring *ring, unsigned type, struct ring_kept **kept, struct err *e)
{
	_cleanup_(x_freep) struct ring_place *places = NULL;
	size_t n = 0;
	int rc = ring->list(ring, type, &places, &n, e);

	if (rc != 0) {
		return rc;
	}
	*kept = x_realloc(*kept, sizeof **kept + ((*kept)->n + n) * sizeof *(*kept)->entries);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct kept_entry *entry = &(*kept)->entries[(*kept)->n++];

		*entry =
			(struct kept_entry){.type = type, .place = places[i], .value = SECRET_INIT};
		rc = kept_value(ring, type, &entry->place, &entry->value, e);
	}
	return rc;
}

int ring_keep(struct ring *ring, struct ring_kept **ret_kept, struct err *e)
{
	static const unsigned types[] = {
		KEYRING_VAULT_KEY, KEYRING_GROUP_KEY, KEYRING_CONTACT_PIN, KEYRING_VAULT_PIN};
	struct ring_kept *kept = x_calloc(1, sizeof *kept);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(types); i++) {
		rc = keep_type(ring, types[i], &kept, e);
	}
	if (rc != 0) {
		ring_kept_free(kept);
		return rc;
	}
	*ret_kept = kept;
	return 0;
}

int ring_forgotten(
	struct ring *ring, const uint8_t vault_id[ID_BYTES], bool *ret_forgotten, struct err *e)
{
	_cleanup_(secret_release) struct secret pin = SECRET_INIT;
	struct err why = {0};
	int rc = ring->get(ring, KEYRING_VAULT_PIN, vault_id, 0, &pin, &why);

	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return err_set(e, rc, "%s", why.text);
	}
	*ret_forgotten = rc == 0 && keyring_pin_forgets(secret_bytes(&pin));
	return 0;
}

/* An entry that is not there: only a key of a vault that its owner gave up may be gone. */
static int kept_gone(struct ring *ring, const struct kept_entry *entry, struct err *e)
{
	bool forgotten = false;
	int rc = entry->type != KEYRING_VAULT_KEY
			 ? 0
			 : ring_forgotten(ring, entry->place.object_id, &forgotten, e);

	return rc != 0 || forgotten ? rc : keyring_lost(entry->type, e);
}

static int check_entry(struct ring *ring, const struct kept_entry *entry, struct err *e)
{
	_cleanup_(secret_release) struct secret value = SECRET_INIT;
	struct err why = {0};
	int rc = kept_value(ring, entry->type, &entry->place, &value, &why);

	if (rc == KLUIS_ENOTFOUND) {
		return kept_gone(ring, entry, e);
	}
	if (rc == 0 && value.len > 0 &&
		!keyring_value_kept(
			entry->type, secret_bytes(&entry->value), secret_bytes(&value))) {
		return keyring_lost(entry->type, e);
	}
	return rc == 0 ? 0 : err_set(e, rc, "%s", why.text);
}

int ring_check_kept(struct ring *ring, const struct ring_kept *kept, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < kept->n; i++) {
		rc = check_entry(ring, &kept->entries[i], e);
	}
	return rc;
}

static struct ring_of_mine *mine_of(struct ring *ring)
{
	return CONTAINER_OF(ring, struct ring_of_mine, ring);
}

static int mine_load(struct ring *ring, struct bytes object, struct err *e)
{
	struct keyring *mine = &mine_of(ring)->keyring;
	struct keyring fresh = {0};
	int rc = ring_open(object, mine->user_id, secret_bytes(&mine->krk), &fresh, e);

	if (rc == 0) {
		keyring_release(mine);
		*mine = fresh;
	}
	return rc;
}

static int mine_change(struct ring *ring, struct bytes object, const struct ring_change *changes,
	size_t n, uint64_t unix_ms, struct buf *ret_object, struct err *e)
{
	const struct keyring *mine = &mine_of(ring)->keyring;

	return ring_change_object(mine->user_id, secret_bytes(&mine->krk), object, changes, n,
		unix_ms, ret_object, e);
}

static int mine_get(struct ring *ring, unsigned type, const uint8_t object_id[ID_BYTES],
	uint32_t epoch, struct secret *ret_value, struct err *e)
{
	const struct keyring_entry *entry =
		keyring_entry(&mine_of(ring)->keyring, type, object_id, epoch);

	if (entry == NULL) {
		return err_set(e, KLUIS_ENOTFOUND, "the keyring has no such entry");
	}
	secret_set(ret_value, secret_bytes(&entry->value));
	return 0;
}

static int mine_list(struct ring *ring, unsigned type, struct ring_place **ret_places,
	size_t *ret_n, struct err *e)
{
	(void)e; /* Another ring may fail. */
	ring_places(&mine_of(ring)->keyring, type, ret_places, ret_n);
	return 0;
}

static int mine_take(struct ring *ring, struct bytes object, const struct ring_packet *packets,
	size_t n, uint64_t unix_ms, struct buf *ret_object, struct err *e)
{
	const struct keyring *mine = &mine_of(ring)->keyring;

	return ring_take_object(mine->user_id, secret_bytes(&mine->krk), object, packets, n,
		unix_ms, ret_object, e);
}

static int mine_inbox(struct ring *ring, struct bytes stub, struct secret *ret_key, struct err *e)
{
	const struct keyring *mine = &mine_of(ring)->keyring;
	struct inbox_document document;
	int rc = inbox_parse(stub, &document, e);

	return rc != 0 ? rc
		       : inbox_open_key(&document, mine->user_id, mine->user_id, mine->transfer,
				 ret_key, e);
}

static int mine_open(struct ring *ring, bool device, struct bytes packet, struct secret *ret_secret,
	struct err *e)
{
	const struct keyring *mine = &mine_of(ring)->keyring;
	struct keypacket parsed;
	int rc = device ? err_set(e, KLUIS_EUNAUTHENTICATED,
				  "the device's key is not in the keyring")
			: keypacket_parse(packet, &parsed, e);

	return rc != 0 ? rc
		       : keypacket_open(&parsed, mine->user_id,
				 keyring_recipient(mine, parsed.rcpt_kid), ret_secret, e);
}

static int mine_notify(
	struct ring *ring, struct bytes payload, struct secret *ret_content, struct err *e)
{
	(void)ring;
	(void)payload;
	(void)ret_content;
	return err_set(e, KLUIS_EUNAUTHENTICATED, "the device's key is not in the keyring");
}

static int mine_transfer(struct ring *ring, bool rsa, struct key_pub **ret_pub, struct err *e)
{
	const struct keyring *mine = &mine_of(ring)->keyring;
	const struct key *key = rsa ? mine->rsa : mine->transfer;
	const struct key_pub *pub;

	if (key == NULL) {
		return err_set(e, KLUIS_ENOTFOUND, "the keyring has no such key");
	}
	pub = key_public(key);
	return key_pub_decode(key_pub_alg(pub), key_pub_bytes(pub), ret_pub, e);
}

static int mine_group(struct ring *ring, const uint8_t group_id[ID_BYTES], uint32_t epoch,
	struct key_pub **ret_pub, struct secret *ret_name_key, struct err *e)
{
	_cleanup_(secret_release) struct secret value = SECRET_INIT;
	int rc = mine_get(ring, KEYRING_GROUP_KEY, group_id, epoch, &value, e);

	return rc != 0 ? rc
		       : ring_group_key(secret_bytes(&value), group_id, ret_pub, ret_name_key, e);
}

static int mine_give(struct ring *ring, const struct ring_gift *gift, const struct key *signing,
	struct buf *ret_packet, struct err *e)
{
	_cleanup_(secret_release) struct secret value = SECRET_INIT;
	int rc = mine_get(ring, gift->type, gift->place.object_id, gift->place.epoch, &value, e);

	return rc != 0 ? rc
		       : ring_gift_seal(gift, mine_of(ring)->keyring.user_id, secret_bytes(&value),
				 signing, ret_packet, e);
}

static void mine_free(struct ring *ring)
{
	struct ring_of_mine *mine = mine_of(ring);

	keyring_release(&mine->keyring);
	free(mine);
}

struct ring *ring_local_new(struct keyring *keyring)
{
	struct ring_of_mine *mine = x_calloc(1, sizeof *mine);

	mine->ring = (struct ring){.load = mine_load,
		.change = mine_change,
		.get = mine_get,
		.list = mine_list,
		.take = mine_take,
		.open = mine_open,
		.inbox = mine_inbox,
		.notify = mine_notify,
		.transfer = mine_transfer,
		.group = mine_group,
		.give = mine_give,
		.free = mine_free};
	mine->keyring = *keyring;
	*keyring = (struct keyring){0};
	return &mine->ring;
}

struct keyring *ring_local(struct ring *ring)
{
	return ring != NULL && ring->load == mine_load ? &mine_of(ring)->keyring : NULL;
}
