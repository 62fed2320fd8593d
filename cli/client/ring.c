#include "cli/client/ring.h"

#include <assert.h>
#include <string.h>

#include "base/random.h"

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
		.free = mine_free};
	mine->keyring = *keyring;
	*keyring = (struct keyring){0};
	return &mine->ring;
}

struct keyring *ring_local(struct ring *ring)
{
	return ring != NULL && ring->load == mine_load ? &mine_of(ring)->keyring : NULL;
}
