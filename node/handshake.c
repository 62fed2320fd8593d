#include "node/handshake.h"

#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "base/wire.h"
#include "crypto/hash.h"

enum { HANDSHAKE_BUCKETS = 1 << 14, ADDRESS_BUCKETS = 1 << 10 };

struct handshake_address {
	struct handshake_address *next;
	uint64_t key;
	size_t n; /* At least one, once its first is in. */
	struct handshake *oldest, *newest;
	struct handshake_address *peer_before, *peer_after; /* Of those that have as many. */
};

/* Addresses with the same number of handshakes, in the order in which they came to have it. */
struct handshake_peers {
	struct handshake_address *first, *last;
};

struct handshake_table {
	uint64_t life_ms;
	size_t per_key_max;
	size_t n;
	struct handshake *oldest, *newest; /* Each lives equally long: also the first to expire. */
	struct handshake *bucket[HANDSHAKE_BUCKETS];
	struct handshake_address *address[ADDRESS_BUCKETS];
	struct handshake_peers peers[API_HANDSHAKES_PER_ADDRESS_MAX + 1];
	size_t most; /* No address has more. */
};

struct handshake *handshake_new(struct random *random)
{
	struct handshake *handshake = x_calloc(1, sizeof *handshake);

	random_fill(random, handshake->id, sizeof handshake->id);
	random_fill(random, handshake->challenge, sizeof handshake->challenge);
	return handshake;
}

void handshake_free(struct handshake *handshake)
{
	if (handshake == NULL) {
		return;
	}
	assert(handshake->address == NULL);
	srp_server_free(handshake->srp);
	secret_clear(handshake, sizeof *handshake);
	free(handshake);
}

struct handshake_table *handshake_table_new(uint64_t life_ms, size_t per_key_max)
{
	struct handshake_table *table = x_calloc(1, sizeof *table);

	assert(per_key_max > 0 && per_key_max <= API_HANDSHAKES_PER_ADDRESS_MAX);
	table->life_ms = life_ms;
	table->per_key_max = per_key_max;
	return table;
}

uint64_t handshake_user_key(const uint8_t user_id[ID_BYTES])
{
	uint8_t hash[HASH_BYTES];

	hash_sha256(bytes_of(user_id, ID_BYTES), hash);
	return load_u64(hash);
}

/* Ids are random: their first bytes are as good as a hash. */
static struct handshake **bucket_of(struct handshake_table *table, const uint8_t id[ID_BYTES])
{
	return &table->bucket[load_u32(id) % HANDSHAKE_BUCKETS];
}

/* Where the address stands, or would. */
static struct handshake_address **address_of(struct handshake_table *table, uint64_t key)
{
	/* Fibonacci hashing: neighbouring addresses go to different chains. */
	struct handshake_address **at =
		&table->address[(key * 0x9e3779b97f4a7c15ULL >> 32) % ADDRESS_BUCKETS];

	while (*at != NULL && (*at)->key != key) {
		at = &(*at)->next;
	}
	return at;
}

static void leave_peers(struct handshake_table *table, struct handshake_address *a)
{
	struct handshake_peers *peers = &table->peers[a->n];

	*(a->peer_before == NULL ? &peers->first : &a->peer_before->peer_after) = a->peer_after;
	*(a->peer_after == NULL ? &peers->last : &a->peer_after->peer_before) = a->peer_before;
}

static void join_peers(struct handshake_table *table, struct handshake_address *a)
{
	struct handshake_peers *peers = &table->peers[a->n];

	a->peer_before = peers->last;
	a->peer_after = NULL;
	*(peers->last == NULL ? &peers->first : &peers->last->peer_after) = a;
	peers->last = a;
	table->most = a->n > table->most ? a->n : table->most;
}

static void leave_address(struct handshake_table *table, struct handshake *h)
{
	struct handshake_address *address = h->address;

	*(h->own_older == NULL ? &address->oldest : &h->own_older->own_newer) = h->own_newer;
	*(h->own_newer == NULL ? &address->newest : &h->own_newer->own_older) = h->own_older;
	h->address = NULL;
	assert(address->n > 0);
	leave_peers(table, address);
	if (--address->n == 0) {
		*address_of(table, address->key) = address->next;
		free(address);
	} else {
		join_peers(table, address);
	}
}

static void take_out(struct handshake_table *table, struct handshake *h)
{
	struct handshake **at = bucket_of(table, h->id);

	assert(table->n > 0 && h->address != NULL);
	while (*at != h) {
		at = &(*at)->bucket_next;
	}
	*at = h->bucket_next;
	*(h->older == NULL ? &table->oldest : &h->older->newer) = h->newer;
	*(h->newer == NULL ? &table->newest : &h->newer->older) = h->older;
	leave_address(table, h);
	table->n--;
}

static void forget(struct handshake_table *table, struct handshake *h)
{
	take_out(table, h);
	handshake_free(h);
}

void handshake_table_free(struct handshake_table *table)
{
	if (table == NULL) {
		return;
	}
	while (table->oldest != NULL) {
		forget(table, table->oldest);
	}
	free(table);
}

static void forget_late(struct handshake_table *table, uint64_t now_ms)
{
	while (table->oldest != NULL && now_ms >= table->oldest->expires_ms) {
		forget(table, table->oldest);
	}
}

/* Among the addresses that have most, the one that has had as many for longest gives its oldest: it
 * is another one each time. */
static struct handshake *of_most(struct handshake_table *table)
{
	while (table->peers[table->most].first == NULL) {
		assert(table->most > 0);
		table->most--;
	}
	return table->peers[table->most].first->oldest;
}

/* Room for one more of this address. */
static struct handshake_address *make_room(
	struct handshake_table *table, uint64_t key, uint64_t now_ms)
{
	struct handshake_address **at;

	forget_late(table, now_ms);
	at = address_of(table, key);
	if (*at != NULL && (*at)->n >= table->per_key_max) {
		forget(table, (*at)->oldest);
	} else if (table->n >= API_HANDSHAKES_MAX) {
		forget(table, of_most(table));
	}
	at = address_of(table, key);
	if (*at == NULL) {
		*at = x_calloc(1, sizeof **at);
		(*at)->key = key;
	}
	return *at;
}

void handshake_put(
	struct handshake_table *table, struct handshake *h, uint64_t key, uint64_t now_ms)
{
	struct handshake_address *address = make_room(table, key, now_ms);
	struct handshake **bucket = bucket_of(table, h->id);

	assert(h->address == NULL && table->n < API_HANDSHAKES_MAX);
	h->expires_ms = now_ms + table->life_ms;
	h->bucket_next = *bucket;
	*bucket = h;
	h->older = table->newest;
	h->newer = NULL;
	*(table->newest == NULL ? &table->oldest : &table->newest->newer) = h;
	table->newest = h;
	h->address = address;
	h->own_older = address->newest;
	h->own_newer = NULL;
	*(address->newest == NULL ? &address->oldest : &address->newest->own_newer) = h;
	address->newest = h;
	if (address->n > 0) {
		leave_peers(table, address);
	}
	address->n++;
	join_peers(table, address);
	table->n++;
}

struct handshake *handshake_take(
	struct handshake_table *table, const uint8_t id[ID_BYTES], uint64_t now_ms)
{
	struct handshake *h;

	forget_late(table, now_ms);
	h = *bucket_of(table, id);
	while (h != NULL && memcmp(h->id, id, ID_BYTES) != 0) {
		h = h->bucket_next;
	}
	if (h != NULL) {
		take_out(table, h);
	}
	return h;
}

size_t handshake_count(struct handshake_table *table, uint64_t now_ms)
{
	forget_late(table, now_ms);
	return table->n;
}
