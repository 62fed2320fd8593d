/* "host:port" as people write it, and what it means to the socket calls. */
#ifndef KLUIS_BASE_ADDRESS_H
#define KLUIS_BASE_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/mem.h"

enum {
	ADDRESS_HOST_BYTES_MAX = 246,
	/* So that "[host]:port" fits. */ ADDRESS_TEXT_BYTES_MAX = 255,
	ADDRESS_FOUND_MAX = 16
};

struct address {
	char host[ADDRESS_HOST_BYTES_MAX + 1]; /* Without brackets. */
	unsigned port;			       /* 0 .. 65535 */
	bool numeric;			       /* host is an IPv4 or IPv6 address. */
};

struct address_found {
	struct sockaddr_storage storage;
	socklen_t len;
};

/* "name:port", "192.0.2.1:443", "[2001:db8::1]:443"; else KLUIS_EINVAL. Any thread. */
KLUIS_MUST_CHECK int address_parse(const char *text, struct address *ret_address, struct err *e);
/* The inverse: at most ADDRESS_TEXT_BYTES_MAX bytes, NUL-terminated. */
void address_format(const struct address *address, char to[ADDRESS_TEXT_BYTES_MAX + 1]);
/* Numeric, and of this machine alone (127.0.0.0/8, ::1). */
bool address_is_loopback(const struct address *address);
/* A numeric address without asking anybody; KLUIS_EINVAL if it is a name. Any thread. */
KLUIS_MUST_CHECK int address_numeric(
	const struct address *address, struct address_found *ret_found);
/* All TCP addresses that the name has, at most max and at least one; KLUIS_ECONNECT if none. Blocks
 * on the resolver unless numeric: never on a loop thread. */
KLUIS_MUST_CHECK int address_resolve(const struct address *address, struct address_found *to,
	size_t max, size_t *ret_n, struct err *e);

#endif
