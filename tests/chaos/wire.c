#include "tests/chaos/wire.h"

#include <assert.h>
#include <string.h>

#include "base/random.h"
#include "base/text.h"

enum {
	IP_HEADER_BYTES = 20,
	IP_PROTOCOL_TCP = 6,
	TCP_HEADER_BYTES = 20,
	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4,
	TCP_ACK = 16,
	RESET_BYTES = IP_HEADER_BYTES + TCP_HEADER_BYTES,
	WORDS_MAX = 16,
};
static const uint8_t network[3] = {10, 77, 0};

struct packet {
	struct packet *next;
	uint64_t due_us;
	size_t len;
	uint8_t bytes[];
};

struct setting {
	uint64_t cut, reset, loss, delay, jitter, rate;
};

struct wire_link {
	struct setting set;
	struct packet *first, **end; /* By due_us: a link never reorders. */
	size_t bytes;
	uint64_t last_due_us;
	uint64_t sent_us; /* When a slow link will have sent what it was given. */
	struct wire_count count;
};

struct wire {
	unsigned ports;
	size_t head; /* Bytes ahead of each IP header. */
	struct random_seeded random;
	struct wire_link links[WIRE_PORTS_MAX + 1][WIRE_PORTS_MAX + 1]; /* From, to; from 1. */
	struct packet *given;						/* By wire_output(). */
};

/* --- Links ------------------------------------------------------------------------------------ */

static struct packet *link_take(struct wire_link *link)
{
	struct packet *packet = link->first;

	link->first = packet->next;
	if (link->first == NULL) {
		link->end = &link->first;
	}
	assert(link->bytes >= packet->len);
	link->bytes -= packet->len;
	return packet;
}

static void link_drop_all(struct wire_link *link)
{
	while (link->first != NULL) {
		free(link_take(link));
		link->count.cut++;
	}
}

static void link_put(struct wire_link *link, struct bytes bytes, uint64_t due_us)
{
	struct packet *packet = x_malloc(sizeof *packet + bytes.len);

	due_us = due_us < link->last_due_us ? link->last_due_us : due_us;
	*packet = (struct packet){.due_us = due_us, .len = bytes.len};
	memcpy(packet->bytes, bytes.data, bytes.len);
	*link->end = packet;
	link->end = &packet->next;
	link->bytes += bytes.len;
	link->last_due_us = due_us;
}

struct wire *wire_new(unsigned ports, uint64_t seed, size_t head)
{
	struct wire *wire = x_calloc(1, sizeof *wire);

	assert(ports >= 2 && ports <= WIRE_PORTS_MAX && head <= WIRE_HEAD_BYTES_MAX);
	wire->ports = ports;
	wire->head = head;
	random_seeded_init(&wire->random, seed);
	for (unsigned from = 1; from <= ports; from++) {
		for (unsigned to = 1; to <= ports; to++) {
			wire->links[from][to].end = &wire->links[from][to].first;
		}
	}
	return wire;
}

void wire_free(struct wire *wire)
{
	if (wire == NULL) {
		return;
	}
	for (unsigned from = 1; from <= wire->ports; from++) {
		for (unsigned to = 1; to <= wire->ports; to++) {
			link_drop_all(&wire->links[from][to]);
		}
	}
	free(wire->given);
	free(wire);
}

/* --- Commands --------------------------------------------------------------------------------- */

static int setting_parse(const char *word, struct setting *set, struct err *e)
{
	const struct {
		const char *name;
		uint64_t *value, max;
	} rows[] = {{"cut=", &set->cut, 1}, {"reset=", &set->reset, 1}, {"loss=", &set->loss, 100},
		{"delay=", &set->delay, 60000}, {"jitter=", &set->jitter, 60000},
		{"rate=", &set->rate, 10000000}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t len = strlen(rows[i].name);

		if (strncmp(word, rows[i].name, len) == 0 &&
			u64_parse(bytes_str(word + len), rows[i].max, rows[i].value) == 0) {
			return 0;
		}
	}
	return err_set(e, KLUIS_EINVAL, "'%s' is no setting of a link", word);
}

/* A port, or all of them: from *ret_low to *ret_high. */
static int ports_parse(const struct wire *wire, const char *word, unsigned *ret_low,
	unsigned *ret_high, struct err *e)
{
	uint64_t port;

	if (strcmp(word, "*") == 0) {
		*ret_low = 1;
		*ret_high = wire->ports;
		return 0;
	}
	if (u64_parse(bytes_str(word), wire->ports, &port) != 0 || port == 0) {
		return err_set(e, KLUIS_EINVAL, "'%s' is no port", word);
	}
	*ret_low = *ret_high = (unsigned)port;
	return 0;
}

static void links_set(
	struct wire *wire, const unsigned from[2], const unsigned to[2], const struct setting *set)
{
	for (unsigned i = from[0]; i <= from[1]; i++) {
		for (unsigned k = to[0]; k <= to[1]; k++) {
			struct wire_link *link = &wire->links[i][k];

			link->set = *set;
			link->sent_us = 0;
			if (set->cut || set->reset) {
				link_drop_all(link);
			}
		}
	}
}

int wire_command(struct wire *wire, const char *line, struct err *e)
{
	_cleanup_(x_freep) char *copy = x_strdup(line);
	char *words[WORDS_MAX], *rest = copy;
	struct setting set = {0};
	unsigned from[2], to[2];
	size_t n = 0;
	int rc;

	while (n < WORDS_MAX && (words[n] = strsep(&rest, " ")) != NULL) {
		n++;
	}
	if (n < 3 || n == WORDS_MAX || strcmp(words[0], "set") != 0) {
		return err_set(e, KLUIS_EINVAL, "a command is 'set FROM TO [KEY=VALUE]...'");
	}
	rc = ports_parse(wire, words[1], &from[0], &from[1], e);
	rc = rc != 0 ? rc : ports_parse(wire, words[2], &to[0], &to[1], e);
	for (size_t i = 3; i < n && rc == 0; i++) {
		rc = setting_parse(words[i], &set, e);
	}
	if (rc == 0) {
		links_set(wire, from, to, &set);
	}
	return rc;
}

/* --- Packets ---------------------------------------------------------------------------------- */

static uint16_t get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)get_u16(p) << 16 | get_u16(p + 2);
}

static void put_u16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static void put_u32(uint8_t *p, uint32_t value)
{
	put_u16(p, value >> 16);
	put_u16(p + 2, value & 0xffff);
}

/* RFC 1071, on top of an earlier sum; len even. */
static uint32_t sum_words(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i += 2) {
		sum += get_u16(p + i);
	}
	return sum;
}

static unsigned sum_fold(uint32_t sum)
{
	while (sum >> 16 != 0) {
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return ~sum & 0xffff;
}

/* Bytes of the IP header, if this is a whole TCP segment that can be reset; else 0. */
static size_t tcp_offset(struct bytes packet)
{
	size_t ip_len = (size_t)(packet.data[0] & 15) * 4;

	if (packet.data[9] != IP_PROTOCOL_TCP || ip_len < IP_HEADER_BYTES ||
		packet.len < ip_len + TCP_HEADER_BYTES) {
		return 0;
	}
	return packet.data[ip_len + 13] & TCP_RST ? 0 : ip_len; /* A reset is never answered. */
}

/* RFC 9293 section 3.10.7.1: what a host says of a segment to a connection that it does not have.
 */
static void tcp_refuse(
	const uint8_t *ip, const uint8_t *tcp, size_t payload, uint8_t reply[RESET_BYTES])
{
	uint8_t flags = tcp[13], *out = reply + IP_HEADER_BYTES;

	memset(reply, 0, RESET_BYTES);
	reply[0] = 0x45;
	put_u16(reply + 2, RESET_BYTES);
	reply[8] = 64;
	reply[9] = IP_PROTOCOL_TCP;
	memcpy(reply + 12, ip + 16, 4);
	memcpy(reply + 16, ip + 12, 4);
	put_u16(reply + 10, sum_fold(sum_words(reply, IP_HEADER_BYTES, 0)));
	memcpy(out, tcp + 2, 2);
	memcpy(out + 2, tcp, 2);
	out[12] = TCP_HEADER_BYTES / 4 << 4;
	if (flags & TCP_ACK) {
		memcpy(out + 4, tcp + 8, 4);
		out[13] = TCP_RST;
	} else {
		put_u32(out + 8, get_u32(tcp + 4) + (uint32_t)payload + ((flags & TCP_SYN) != 0) +
					 ((flags & TCP_FIN) != 0));
		out[13] = TCP_RST | TCP_ACK;
	}
	put_u16(out + 16,
		sum_fold(sum_words(reply + 12, 8,
			sum_words(out, TCP_HEADER_BYTES, IP_PROTOCOL_TCP + TCP_HEADER_BYTES))));
}

static void link_refuse(struct wire_link *back, size_t head, struct bytes packet, uint64_t now_us)
{
	uint8_t reply[WIRE_HEAD_BYTES_MAX + RESET_BYTES] = {0};
	size_t ip_len = tcp_offset(packet), tcp_len;

	if (ip_len == 0) {
		return;
	}
	tcp_len = (size_t)(packet.data[ip_len + 12] >> 4) * 4;
	if (tcp_len < TCP_HEADER_BYTES || packet.len < ip_len + tcp_len) {
		return;
	}
	tcp_refuse(packet.data, packet.data + ip_len, packet.len - ip_len - tcp_len, reply + head);
	link_put(back, bytes_of(reply, head + RESET_BYTES), now_us);
}

/* When a packet that comes now will have left a link of this rate; false: its queue is full. */
static bool link_slow(struct wire_link *link, size_t len, uint64_t now_us, uint64_t *ret_sent_us)
{
	uint64_t begin_us = link->sent_us < now_us ? now_us : link->sent_us;

	if (link->set.rate == 0) {
		*ret_sent_us = now_us;
		return true;
	}
	if (begin_us > now_us + WIRE_RATE_MS_MAX * 1000) {
		return false;
	}
	link->sent_us = begin_us + len * 8 * 1000 / link->set.rate;
	*ret_sent_us = link->sent_us;
	return true;
}

static void link_pass(
	struct wire *wire, struct wire_link *link, struct bytes packet, uint64_t now_us)
{
	const struct setting *set = &link->set;
	uint64_t sent_us, late_us;

	if (set->loss > 0 && random_below(&wire->random.random, 100) < set->loss) {
		link->count.lost++;
		return;
	}
	if (link->bytes + packet.len > WIRE_LINK_BYTES_MAX ||
		!link_slow(link, packet.len, now_us, &sent_us)) {
		link->count.full++;
		return;
	}
	late_us = set->delay * 1000;
	late_us += set->jitter == 0 ? 0 : random_below(&wire->random.random, set->jitter * 1000);
	link->count.passed++;
	link_put(link, packet, sent_us + late_us);
}

void wire_input(struct wire *wire, unsigned from, struct bytes packet, uint64_t now_us)
{
	struct wire_link *link;
	struct bytes ip;
	unsigned to;

	assert(from >= 1 && from <= wire->ports);
	if (packet.len < wire->head + IP_HEADER_BYTES) {
		return;
	}
	ip = bytes_of(packet.data + wire->head, packet.len - wire->head);
	if (ip.data[0] >> 4 != 4 || memcmp(ip.data + 16, network, sizeof network) != 0) {
		return;
	}
	to = ip.data[19];
	if (to == 0 || to > wire->ports || to == from) {
		return;
	}
	link = &wire->links[from][to];
	if (link->set.cut) {
		link->count.cut++;
	} else if (link->set.reset) {
		link->count.reset++;
		link_refuse(&wire->links[to][from], wire->head, ip, now_us);
	} else {
		link_pass(wire, link, packet, now_us);
	}
}

static struct wire_link *wire_first(const struct wire *wire, unsigned *ret_to)
{
	const struct wire_link *first = NULL;

	for (unsigned from = 1; from <= wire->ports; from++) {
		for (unsigned to = 1; to <= wire->ports; to++) {
			const struct wire_link *link = &wire->links[from][to];

			if (link->first != NULL &&
				(first == NULL || link->first->due_us < first->first->due_us)) {
				first = link;
				*ret_to = to;
			}
		}
	}
	return (struct wire_link *)first;
}

bool wire_output(struct wire *wire, uint64_t now_us, unsigned *ret_to, struct bytes *ret_packet)
{
	unsigned to;
	struct wire_link *link = wire_first(wire, &to);

	free(wire->given);
	wire->given = NULL;
	if (link == NULL || link->first->due_us > now_us) {
		return false;
	}
	wire->given = link_take(link);
	*ret_to = to;
	*ret_packet = bytes_of(wire->given->bytes, wire->given->len);
	return true;
}

uint64_t wire_next_us(const struct wire *wire)
{
	unsigned to;
	const struct wire_link *link = wire_first(wire, &to);

	return link == NULL ? UINT64_MAX : link->first->due_us;
}

void wire_count(const struct wire *wire, unsigned from, unsigned to, struct wire_count *ret_count)
{
	assert(from >= 1 && from <= wire->ports && to >= 1 && to <= wire->ports);
	*ret_count = wire->links[from][to].count;
}
