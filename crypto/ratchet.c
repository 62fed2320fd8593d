#include "crypto/ratchet.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

enum {
	RATCHET_VERSION = 1,
	RATCHET_SENDS = 1, /* Flags. */
	RATCHET_LINK_KNOWN = 2,
};

static const char ratchet_magic[] = "KCR1";

void ratchet_init(struct ratchet *r, bool sends, const struct chat_place *place,
	struct bytes epoch_secret, const uint8_t before[HASH_BYTES])
{
	assert(before != NULL || !sends);
	*r = (struct ratchet){.place = *place, .sends = sends, .link_known = before != NULL};
	if (before != NULL) {
		memcpy(r->link, before, HASH_BYTES);
	}
	chat_chain_key(epoch_secret, place->conv_id, place->epoch, place->device_id, &r->chain);
}

void ratchet_release(struct ratchet *r)
{
	secret_release(&r->chain);
	secret_release(&r->skipped);
}

int ratchet_seal(struct ratchet *r, const struct chat_spec *spec, const struct key *device,
	struct buf *ret_message, struct err *e)
{
	_cleanup_(secret_release) struct secret chain = SECRET_INIT;
	uint8_t key[CHAT_KEY_BYTES];
	struct chat_spec own = *spec;
	size_t before = ret_message->len;
	int rc;

	assert(r->sends && r->link_known);
	if (r->next == UINT32_MAX) {
		return err_set(e, KLUIS_EQUOTA, "chat message: the epoch is used up");
	}
	own.place = r->place;
	own.index = r->next;
	memcpy(own.prev_own, r->link, HASH_BYTES);
	secret_set(&chain, secret_bytes(&r->chain));
	chat_step(&chain, key);
	rc = chat_seal(key, &own, device, ret_message, e);
	secret_clear(key, sizeof key);
	if (rc == 0) {
		hash_sha256(bytes_of(ret_message->data + before,
				    ret_message->len - before - SIGN_ECDSA_BYTES),
			r->link);
		r->next++;
		secret_move(&r->chain, &chain);
	}
	return rc;
}

size_t ratchet_skipped(const struct ratchet *r)
{
	return r->skipped.len / RATCHET_SKIPPED_BYTES;
}

/* NULL when there is no key of this index. */
static uint8_t *ratchet_find(const struct ratchet *r, uint32_t index)
{
	size_t low = 0, high = ratchet_skipped(r);

	while (low < high) {
		size_t middle = (low + high) / 2;
		uint8_t *at = r->skipped.data + middle * RATCHET_SKIPPED_BYTES;
		uint32_t there = load_u32(at);

		if (there == index) {
			return at;
		}
		if (there < index) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return NULL;
}

/* A key that was used leaves no copy: not behind the last one either. */
static void ratchet_remove(struct ratchet *r, const uint8_t *at)
{
	size_t before = (size_t)(at - r->skipped.data);
	size_t behind = r->skipped.len - before - RATCHET_SKIPPED_BYTES;
	struct secret left = SECRET_INIT;

	assert(before % RATCHET_SKIPPED_BYTES == 0);
	if (before + behind > 0) {
		secret_init(&left, before + behind);
		memcpy(left.data, r->skipped.data, before);
		memcpy(left.data + before, at + RATCHET_SKIPPED_BYTES, behind);
	}
	secret_move(&r->skipped, &left);
}

static int ratchet_open_late(struct ratchet *r, const struct chat_message *message,
	struct ratchet_opened *opened, struct err *e)
{
	uint8_t *at = ratchet_find(r, message->index);
	int rc;

	if (at == NULL) {
		return err_set(e, KLUIS_EVERIFY, "chat message: replayed");
	}
	rc = chat_open(at + 4, message, &opened->type, &opened->payload, e);
	if (rc == 0) {
		memcpy(opened->key, at + 4, CHAT_KEY_BYTES);
		ratchet_remove(r, at);
	}
	return rc;
}

/* Walks the chain to index: the keys passed over go behind those in skipped, the key of index to
 * ret_key. */
static void ratchet_walk(const struct ratchet *r, uint32_t index, struct secret *ret_chain,
	struct secret *ret_skipped, uint8_t ret_key[CHAT_KEY_BYTES])
{
	size_t held = r->skipped.len, passed = index - r->next;
	uint8_t *to;

	secret_set(ret_chain, secret_bytes(&r->chain));
	secret_init(ret_skipped, held + passed * RATCHET_SKIPPED_BYTES);
	to = ret_skipped->data; /* NULL when there will be none. */
	if (held > 0) {
		memcpy(to, r->skipped.data, held);
		to += held;
	}
	for (uint32_t i = r->next; i < index; i++) {
		store_u32(to, i);
		chat_step(ret_chain, to + 4);
		to += RATCHET_SKIPPED_BYTES;
	}
	chat_step(ret_chain, ret_key);
}

static int ratchet_open_next(struct ratchet *r, const struct chat_message *message,
	struct ratchet_opened *opened, struct err *e)
{
	_cleanup_(secret_release) struct secret chain = SECRET_INIT, skipped = SECRET_INIT;
	uint8_t key[CHAT_KEY_BYTES];
	int rc;

	/* At the index's last value there would be no next one. */
	if (message->index == UINT32_MAX ||
		message->index - r->next > RATCHET_SKIPPED_MAX - ratchet_skipped(r)) {
		return err_set(e, KLUIS_EVERIFY, "chat message: too many are missing before it");
	}
	ratchet_walk(r, message->index, &chain, &skipped, key);
	rc = chat_open(key, message, &opened->type, &opened->payload, e);
	if (rc == 0) {
		memcpy(opened->key, key, CHAT_KEY_BYTES);
	}
	secret_clear(key, sizeof key);
	if (rc != 0) {
		return rc;
	}
	opened->forked = message->index == r->next && r->link_known &&
			 memcmp(message->prev_own, r->link, HASH_BYTES) != 0;
	secret_move(&r->chain, &chain);
	secret_move(&r->skipped, &skipped);
	r->next = message->index + 1;
	r->link_known = true;
	memcpy(r->link, message->link, HASH_BYTES);
	return 0;
}

int ratchet_open(struct ratchet *r, const struct chat_message *message,
	const struct key_pub *device, struct ratchet_opened *ret_opened, struct err *e)
{
	struct ratchet_opened opened = {.payload = SECRET_INIT};
	int rc;

	assert(!r->sends && r->chain.len == CHAT_KEY_BYTES);
	if (!chat_place_equal(&message->place, &r->place)) {
		return err_set(e, KLUIS_EVERIFY, "chat message: of another chain");
	}
	/* First: who is not its sender cannot make anybody walk a chain. */
	rc = chat_verify(message, device, e);
	if (rc != 0) {
		return rc;
	}
	rc = message->index < r->next ? ratchet_open_late(r, message, &opened, e)
				      : ratchet_open_next(r, message, &opened, e);
	if (rc == 0) {
		*ret_opened = opened;
	}
	secret_clear(opened.key, sizeof opened.key);
	return rc;
}

void ratchet_encode(const struct ratchet *r, struct secret *ret_encoded)
{
	uint8_t *to;

	assert(r->chain.len == CHAT_KEY_BYTES && r->place.epoch > 0);
	assert(ratchet_skipped(r) <= RATCHET_SKIPPED_MAX && (!r->sends || r->skipped.len == 0));
	secret_init(ret_encoded, RATCHET_FIXED_BYTES + r->skipped.len);
	to = ret_encoded->data;
	memcpy(to, ratchet_magic, 4);
	to[4] = RATCHET_VERSION;
	to[5] = (uint8_t)((r->sends ? RATCHET_SENDS : 0) |
			  (r->link_known ? RATCHET_LINK_KNOWN : 0));
	memcpy(to + 8, r->place.conv_id, ID_BYTES);
	store_u32(to + 24, r->place.epoch);
	memcpy(to + 28, r->place.user_id, ID_BYTES);
	memcpy(to + 44, r->place.device_id, ID_BYTES);
	store_u32(to + 60, r->next);
	memcpy(to + 64, r->link, HASH_BYTES);
	memcpy(to + 96, r->chain.data, CHAT_KEY_BYTES);
	store_u16(to + 128, (unsigned)ratchet_skipped(r));
	if (r->skipped.len > 0) {
		memcpy(to + RATCHET_FIXED_BYTES, r->skipped.data, r->skipped.len);
	}
}

static bool ratchet_skipped_ok(struct bytes skipped, uint32_t next)
{
	struct wire w = wire_of(skipped);
	uint64_t least = 0;

	while (wire_ok(&w) && w.left.len > 0) {
		uint32_t index = wire_u32(&w);

		(void)wire_bytes(&w, CHAT_KEY_BYTES);
		if (index < least || index >= next) {
			return false;
		}
		least = (uint64_t)index + 1;
	}
	return wire_ok(&w);
}

int ratchet_decode(struct bytes encoded, struct ratchet *ret_ratchet, struct err *e)
{
	struct wire w = wire_of(encoded);
	struct ratchet r = {.next = 0};
	struct bytes chain, skipped;
	unsigned version, flags;
	size_t count;

	(void)wire_match(&w, ratchet_magic);
	version = wire_u8(&w);
	if (wire_ok(&w) && version != RATCHET_VERSION) {
		return err_set(e, KLUIS_EVERSION, "chat state: unknown version %u", version);
	}
	flags = wire_u8(&w);
	wire_zeros(&w, 2);
	wire_copy(&w, r.place.conv_id, ID_BYTES);
	r.place.epoch = wire_u32(&w);
	wire_copy(&w, r.place.user_id, ID_BYTES);
	wire_copy(&w, r.place.device_id, ID_BYTES);
	r.next = wire_u32(&w);
	wire_copy(&w, r.link, HASH_BYTES);
	chain = wire_bytes(&w, CHAT_KEY_BYTES);
	count = wire_u16(&w);
	skipped = wire_bytes(&w, count * RATCHET_SKIPPED_BYTES);
	r.sends = (flags & RATCHET_SENDS) != 0;
	r.link_known = (flags & RATCHET_LINK_KNOWN) != 0;
	if (!wire_end(&w) || flags > (RATCHET_SENDS | RATCHET_LINK_KNOWN) || r.place.epoch == 0 ||
		count > RATCHET_SKIPPED_MAX || (r.sends && (count > 0 || !r.link_known)) ||
		!ratchet_skipped_ok(skipped, r.next)) {
		return err_set(e, KLUIS_EINVAL, "chat state: malformed");
	}
	secret_set(&r.chain, chain);
	secret_set(&r.skipped, skipped);
	*ret_ratchet = r;
	return 0;
}
