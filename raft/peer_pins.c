#include "raft/peer_pins.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

enum {
	PIN_BYTES = 48,
	PINS_JOINS = 1,
	PIN_FOUNDER = 1,
	PIN_KNOWN = 2,
	PIN_AGREED = 4,
	PIN_FLAGS = 7
};
static const char pins_magic[] = "KLPR";

/* --- bytes --- */

static void pin_encode(const struct peer_pin *pin, struct buf *to)
{
	assert(pin->known || !pin->agreed);
	buf_put_u64(to, pin->id);
	buf_append(to, pin->incarnation, INCARNATION_BYTES);
	buf_put_u64(to, pin->starts);
	buf_put_u64(to, pin->boot);
	buf_put_u8(to, (uint8_t)((pin->founder ? PIN_FOUNDER : 0) | (pin->known ? PIN_KNOWN : 0) |
				 (pin->agreed ? PIN_AGREED : 0)));
	buf_put_zeros(to, 7);
}

void peer_pins_encode(const struct peer_pins *pins, uint8_t to[PEER_PINS_PAYLOAD_BYTES])
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;

	assert(pins->n <= PEER_PINS_MAX && pins->node_id != 0);
	buf_append(&b, pins->incarnation, INCARNATION_BYTES);
	buf_put_u64(&b, pins->node_id);
	buf_put_u64(&b, pins->starts);
	buf_put_u16(&b, (uint16_t)pins->n);
	buf_put_u8(&b, pins->joins ? PINS_JOINS : 0);
	buf_put_zeros(&b, 5);
	for (unsigned i = 0; i < pins->n; i++) {
		pin_encode(&pins->pin[i], &b);
	}
	buf_put_zeros(&b, PEER_PINS_PAYLOAD_BYTES - b.len);
	memcpy(to, b.data, PEER_PINS_PAYLOAD_BYTES);
}

static bool incarnation_is_zero(const uint8_t incarnation[INCARNATION_BYTES])
{
	static const uint8_t zero[INCARNATION_BYTES];

	return memcmp(incarnation, zero, INCARNATION_BYTES) == 0;
}

static int pin_decode(struct wire *w, uint64_t above, uint64_t self, struct peer_pin *pin)
{
	uint8_t flags;

	pin->id = wire_u64(w);
	wire_copy(w, pin->incarnation, INCARNATION_BYTES);
	pin->starts = wire_u64(w);
	pin->boot = wire_u64(w);
	flags = wire_u8(w);
	wire_zeros(w, 7);
	pin->founder = (flags & PIN_FOUNDER) != 0;
	pin->known = (flags & PIN_KNOWN) != 0;
	pin->agreed = (flags & PIN_AGREED) != 0;
	if (!wire_ok(w) || (flags & ~PIN_FLAGS) != 0 || pin->id <= above || pin->id == self ||
		(pin->agreed && !pin->known) ||
		pin->known == incarnation_is_zero(pin->incarnation) ||
		(!pin->known && (pin->starts != 0 || pin->boot != 0))) {
		return KLUIS_ECORRUPT;
	}
	return 0;
}

int peer_pins_decode(const uint8_t from[PEER_PINS_PAYLOAD_BYTES], struct peer_pins *pins)
{
	struct wire w = wire_of(bytes_of(from, PEER_PINS_PAYLOAD_BYTES));
	struct peer_pins got = {.slots = pins->slots};
	uint8_t flags;

	wire_copy(&w, got.incarnation, INCARNATION_BYTES);
	got.node_id = wire_u64(&w);
	got.starts = wire_u64(&w);
	got.n = wire_u16(&w);
	flags = wire_u8(&w);
	got.joins = (flags & PINS_JOINS) != 0;
	wire_zeros(&w, 5);
	if (got.node_id == 0 || got.n > PEER_PINS_MAX || (flags & ~PINS_JOINS) != 0 ||
		incarnation_is_zero(got.incarnation)) {
		return KLUIS_ECORRUPT;
	}
	for (unsigned i = 0; i < got.n; i++) {
		int rc = pin_decode(&w, i == 0 ? 0 : got.pin[i - 1].id, got.node_id, &got.pin[i]);

		if (rc != 0) {
			return rc;
		}
	}
	wire_zeros(&w, w.left.len);
	if (!wire_end(&w)) {
		return KLUIS_ECORRUPT;
	}
	*pins = got;
	return 0;
}

/* --- the table --- */

/* Where the peer's row is; n: there is none. */
static unsigned pins_at(const struct peer_pins *pins, uint64_t peer)
{
	unsigned at = 0;

	while (at < pins->n && pins->pin[at].id != peer) {
		at++;
	}
	return at;
}

const struct peer_pin *peer_pins_find(const struct peer_pins *pins, uint64_t peer)
{
	unsigned at = pins_at(pins, peer);

	return at < pins->n ? &pins->pin[at] : NULL;
}

/* A new row in its place; NULL: there is no room. */
static struct peer_pin *pins_add(struct peer_pins *pins, uint64_t peer)
{
	unsigned at = pins->n;

	assert(peer != 0 && pins_at(pins, peer) == pins->n);
	if (pins->n == PEER_PINS_MAX) {
		return NULL;
	}
	for (; at > 0 && pins->pin[at - 1].id > peer; at--) {
		pins->pin[at] = pins->pin[at - 1];
	}
	pins->n++;
	pins->pin[at] = (struct peer_pin){.id = peer};
	return &pins->pin[at];
}

static void pins_store(struct peer_pins *pins)
{
	uint8_t payload[PEER_PINS_PAYLOAD_BYTES];

	peer_pins_encode(pins, payload);
	slot_file_write(&pins->slots, payload);
}

/* The peer's row, pinned to this incarnation if it was not pinned before; not stored yet. */
static int pins_claim(struct peer_pins *pins, uint64_t peer,
	const uint8_t incarnation[INCARNATION_BYTES], struct peer_pin **ret_pin)
{
	unsigned at = pins_at(pins, peer);
	struct peer_pin *pin = at < pins->n ? &pins->pin[at] : pins_add(pins, peer);

	assert(peer != pins->node_id && !incarnation_is_zero(incarnation));
	if (pin == NULL) {
		return KLUIS_ETOOLARGE;
	}
	if (pin->known && memcmp(pin->incarnation, incarnation, INCARNATION_BYTES) != 0) {
		return KLUIS_ECONFLICT;
	}
	pin->known = true;
	memcpy(pin->incarnation, incarnation, INCARNATION_BYTES);
	*ret_pin = pin;
	return 0;
}

int peer_pins_meet(struct peer_pins *pins, uint64_t peer,
	const uint8_t incarnation[INCARNATION_BYTES], uint64_t starts, uint64_t boot)
{
	struct peer_pin *pin;
	int rc = pins_claim(pins, peer, incarnation, &pin);

	assert(starts > 0);
	if (rc != 0) {
		return rc;
	}
	if (starts < pin->starts || (starts == pin->starts && boot != pin->boot)) {
		return KLUIS_EBEHIND;
	}
	if (starts > pin->starts) {
		pin->starts = starts;
		pin->boot = boot;
		pins_store(pins);
	}
	return 0;
}

int peer_pins_agree(
	struct peer_pins *pins, uint64_t peer, const uint8_t incarnation[INCARNATION_BYTES])
{
	struct peer_pin *pin;
	int rc = pins_claim(pins, peer, incarnation, &pin);

	if (rc == 0 && !pin->agreed) {
		pin->agreed = true;
		pins_store(pins);
	}
	return rc;
}

void peer_pins_adopt(
	struct peer_pins *pins, uint64_t peer, const uint8_t incarnation[INCARNATION_BYTES])
{
	unsigned at = pins_at(pins, peer);
	struct peer_pin *pin = at < pins->n ? &pins->pin[at] : pins_add(pins, peer);

	assert(peer != pins->node_id && !incarnation_is_zero(incarnation));
	if (pin == NULL ||
		(pin->known && memcmp(pin->incarnation, incarnation, INCARNATION_BYTES) == 0)) {
		return; /* No room: whoever comes is held against the cluster's row all the same. */
	}
	*pin = (struct peer_pin){.id = peer, .founder = pin->founder, .known = true};
	memcpy(pin->incarnation, incarnation, INCARNATION_BYTES);
	pins_store(pins);
}

void peer_pins_joined(struct peer_pins *pins)
{
	assert(pins->joins);
	pins->joins = false;
	pins_store(pins);
}

void peer_pins_forget(struct peer_pins *pins, uint64_t peer)
{
	unsigned at = pins_at(pins, peer);

	if (at == pins->n) {
		return;
	}
	pins->n--;
	memmove(&pins->pin[at], &pins->pin[at + 1], (pins->n - at) * sizeof pins->pin[0]);
	pins_store(pins);
}

bool peer_pins_begun(const struct peer_pins *pins)
{
	for (unsigned i = 0; i < pins->n; i++) {
		if (pins->pin[i].founder && !pins->pin[i].agreed) {
			return false;
		}
	}
	return true;
}

/* --- the file --- */

int peer_pins_create(const char *path, const uint8_t incarnation[INCARNATION_BYTES],
	uint64_t node_id, const uint64_t *founders, unsigned n, struct err *e)
{
	struct peer_pins pins = {.node_id = node_id, .joins = n == 0};
	uint8_t payload[PEER_PINS_PAYLOAD_BYTES];

	assert(node_id != 0 && !incarnation_is_zero(incarnation));
	memcpy(pins.incarnation, incarnation, INCARNATION_BYTES);
	for (unsigned i = 0; i < n; i++) {
		struct peer_pin *pin;

		if (founders[i] == node_id) {
			continue;
		}
		if (founders[i] == 0 || pins_at(&pins, founders[i]) < pins.n) {
			return err_set(e, KLUIS_EINVAL, "node %llu is 0 or stands there twice",
				(unsigned long long)founders[i]);
		}
		pin = pins_add(&pins, founders[i]);
		if (pin == NULL) {
			return err_set(e, KLUIS_ETOOLARGE, "more than %d nodes", PEER_PINS_MAX);
		}
		pin->founder = true;
	}
	peer_pins_encode(&pins, payload);
	return slot_file_create(path, pins_magic, bytes_of(payload, sizeof payload), e);
}

int peer_pins_open(struct peer_pins *pins, const char *path,
	const uint8_t incarnation[INCARNATION_BYTES], uint64_t node_id, struct err *e)
{
	uint8_t payload[PEER_PINS_PAYLOAD_BYTES];
	int rc;

	*pins = (struct peer_pins){.n = 0};
	rc = slot_file_open(&pins->slots, path, pins_magic, payload, sizeof payload, e);
	if (rc == 0 && peer_pins_decode(payload, pins) != 0) {
		rc = err_set(e, KLUIS_ECORRUPT, "'%s' holds no possible pins; " REPLACE_NODE, path);
	}
	if (rc == 0 && (memcmp(pins->incarnation, incarnation, INCARNATION_BYTES) != 0 ||
			       pins->node_id != node_id)) {
		rc = err_set(e, KLUIS_ECORRUPT,
			"'%s' belongs to another log or node: it was copied here, or the log was "
			"made anew; " REPLACE_NODE,
			path);
	}
	if (rc != 0) {
		peer_pins_close(pins);
	}
	return rc;
}

void peer_pins_close(struct peer_pins *pins)
{
	slot_file_close(&pins->slots);
}

void peer_pins_start(struct peer_pins *pins)
{
	assert(pins->starts < UINT64_MAX);
	pins->starts++;
	pins_store(pins);
}
