/* Networks as operators and people write them ("192.0.2.0/24", "2001:db8::/32", "192.0.2.7"), and
 * whether an address lies in one. Pure: any thread. */
#ifndef KLUIS_NODE_NETWORK_H
#define KLUIS_NODE_NETWORK_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

enum { NETWORK_CHARS_MAX = 45 + 4 };

struct network {
	uint8_t bits;	     /* 0 .. 128; IPv4 is ::ffff:0:0/96. */
	uint8_t address[16]; /* Zero behind `bits`. */
};

/* An address without prefix is one host. KLUIS_EINVAL: malformed, or with bits behind the prefix.
 */
KLUIS_MUST_CHECK int network_parse(const char *text, struct network *ret_network);
/* From u8 bits | address16: KLUIS_EINVAL as network_parse(). */
KLUIS_MUST_CHECK int network_decode(
	unsigned bits, const uint8_t address[16], struct network *ret_network);
void network_format(const struct network *network, char to[NETWORK_CHARS_MAX + 1]);
/* host: a numeric address; anything else is in no network. An IPv4 address and its IPv6 form are
 * one. */
bool network_has(const struct network *network, const char *host);
/* The 16 bytes of a numeric host; KLUIS_EINVAL. */
KLUIS_MUST_CHECK int network_host(const char *host, uint8_t ret_address[16]);
/* Whether the host of network_host() lies in it. */
bool network_has_address(const struct network *network, const uint8_t address[16]);

#endif
