/* The wire between the nodes of a chaos run: takes IPv4 packets at one port and gives them out at
 * another, late, fewer or not at all, as each of its directed links is told to. No I/O and no clock
 * of its own: wire_main.c puts it between network namespaces. One thread. */
#ifndef KLUIS_TESTS_CHAOS_WIRE_H
#define KLUIS_TESTS_CHAOS_WIRE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
	WIRE_PORTS_MAX = 8,
	WIRE_HEAD_BYTES_MAX = 16,
	WIRE_PACKET_BYTES_MAX = 64 * 1024 + 64, /* With its head. */
	WIRE_COMMAND_BYTES_MAX = 512,
	WIRE_LINK_BYTES_MAX = 8 << 20, /* Under way on one link; more is lost. */
	WIRE_RATE_MS_MAX = 400,	       /* A slow link's queue: what would wait longer is lost. */
};

struct wire;

/* Port i (from 1) is where packets to 10.77.0.i go. seed: of losses and jitter. head: so many bytes
 * ahead of each IP header travel with the packet; they are 0 in what the wire makes itself. */
struct wire *wire_new(unsigned ports, uint64_t seed, size_t head);
void wire_free(struct wire *wire); /* NULL is fine. */

/* One command; FROM and TO are ports or '*':
 *   set FROM TO [cut=0|1] [reset=0|1] [loss=PERCENT] [delay=MS] [jitter=MS] [rate=KBIT]
 * What is not named is as at first: nothing lost, no delay, no limit. cut: packets vanish, also
 * those under way. reset: TCP is answered with RST, as by a host that does not know the connection,
 * and everything vanishes. KLUIS_EINVAL says what is wrong; nothing is changed then. */
KLUIS_MUST_CHECK int wire_command(struct wire *wire, const char *line, struct err *e);

/* Takes a packet that came from `from`. What is no IPv4 packet to another port is dropped. */
void wire_input(struct wire *wire, unsigned from, struct bytes packet, uint64_t now_us);
/* The next packet that is due, and the port it goes to; false: none. The bytes live until the next
 * call. */
bool wire_output(struct wire *wire, uint64_t now_us, unsigned *ret_to, struct bytes *ret_packet);
/* When that will be; UINT64_MAX: nothing is under way. */
uint64_t wire_next_us(const struct wire *wire);

/* Packets of one link so far. */
struct wire_count {
	uint64_t passed, cut, reset, lost, full;
};
void wire_count(const struct wire *wire, unsigned from, unsigned to, struct wire_count *ret_count);

#endif
