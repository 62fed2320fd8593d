#include "node/http_crowd.h"

#include <assert.h>
#include <string.h>
#include <uv.h>

#include "base/mem.h"

uint64_t http_crowd_key(const char *host)
{
	uint8_t raw[16] = {0};
	uint64_t key;

	if (uv_inet_pton(AF_INET, host, raw) == 0) {
		memmove(raw + 4, raw, 4);
		memset(raw, 0xff, 4);
	} else if (uv_inet_pton(AF_INET6, host, raw) != 0) {
		return 0;
	}
	memcpy(&key, raw, sizeof key); /* Of IPv6 the /64: one customer has a whole one. */
	return key;
}

static struct http_address **crowd_place(struct http_crowd *crowd, uint64_t key)
{
	/* Fibonacci hashing: neighbouring addresses go to different buckets. */
	size_t i = (size_t)(key * 0x9e3779b97f4a7c15ULL >> 32) % HTTP_CROWD_BUCKETS;
	struct http_address **at = &crowd->bucket[i];

	while (*at != NULL && (*at)->key != key) {
		at = &(*at)->next;
	}
	return at;
}

void http_crowd_enter(struct http_crowd *crowd, struct http_guest *guest, uint64_t key)
{
	struct http_address **at = crowd_place(crowd, key);

	assert(guest->address == NULL);
	if (*at == NULL) {
		*at = x_calloc(1, sizeof **at);
		(*at)->key = key;
	}
	guest->address = *at;
	guest->address->connections++;
	http_crowd_idle(crowd, guest);
}

void http_crowd_leave(struct http_crowd *crowd, struct http_guest *guest)
{
	struct http_address *address = guest->address, **at;

	if (address == NULL) {
		return;
	}
	http_crowd_busy(crowd, guest);
	guest->address = NULL;
	assert(address->connections > 0);
	if (--address->connections == 0) {
		assert(address->body_bytes == 0 && address->requests == 0);
		at = crowd_place(crowd, address->key);
		assert(*at == address);
		*at = address->next;
		free(address);
	}
}

void http_crowd_busy(struct http_crowd *crowd, struct http_guest *guest)
{
	if (!guest->idle) {
		return;
	}
	guest->idle = false;
	*(guest->prev == NULL ? &crowd->first : &guest->prev->next) = guest->next;
	*(guest->next == NULL ? &crowd->last : &guest->next->prev) = guest->prev;
	guest->next = guest->prev = NULL;
}

void http_crowd_idle(struct http_crowd *crowd, struct http_guest *guest)
{
	assert(guest->address != NULL);
	if (guest->idle) {
		return;
	}
	guest->idle = true;
	guest->prev = crowd->last;
	*(crowd->last == NULL ? &crowd->first : &crowd->last->next) = guest;
	crowd->last = guest;
}

struct http_guest *http_crowd_surplus(struct http_crowd *crowd, struct http_guest *newcomer)
{
	struct http_guest *surplus = newcomer, *at = crowd->first;

	assert(newcomer->address != NULL);
	for (unsigned i = 0; at != NULL && i < HTTP_CROWD_LOOKED_AT; i++, at = at->next) {
		if (at->address->connections > surplus->address->connections) {
			surplus = at;
		}
	}
	return surplus;
}
