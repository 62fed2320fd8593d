#include "node/network.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum { NETWORK_BITS_MAX = 128, NETWORK_V4_BITS = 96, NETWORK_TEXT_MAX = 64 };

static const uint8_t network_v4[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool network_is_v4(const uint8_t address[16])
{
	return memcmp(address, network_v4, sizeof network_v4) == 0;
}

int network_host(const char *host, uint8_t ret_address[16])
{
	uint8_t address[16];

	if (inet_pton(AF_INET6, host, address) != 1) {
		memcpy(address, network_v4, sizeof network_v4);
		if (inet_pton(AF_INET, host, address + sizeof network_v4) != 1) {
			return KLUIS_EINVAL;
		}
	}
	memcpy(ret_address, address, sizeof address);
	return 0;
}

/* The byte's bits that the prefix covers. */
static uint8_t network_mask(unsigned bits, unsigned byte)
{
	unsigned covered = bits > 8 * byte ? bits - 8 * byte : 0;

	return (uint8_t)(covered >= 8 ? 0xffU : 0xff00U >> covered);
}

int network_decode(unsigned bits, const uint8_t address[16], struct network *ret_network)
{
	if (bits > NETWORK_BITS_MAX) {
		return KLUIS_EINVAL;
	}
	for (unsigned i = 0; i < 16; i++) {
		if ((address[i] & ~network_mask(bits, i) & 0xff) != 0) {
			return KLUIS_EINVAL;
		}
	}
	ret_network->bits = (uint8_t)bits;
	memcpy(ret_network->address, address, sizeof ret_network->address);
	return 0;
}

int network_parse(const char *text, struct network *ret_network)
{
	char host[NETWORK_TEXT_MAX];
	const char *slash = strchr(text, '/');
	size_t len = slash == NULL ? strlen(text) : (size_t)(slash - text);
	uint64_t bits = NETWORK_BITS_MAX;
	uint8_t address[16];
	bool v4;

	if (len >= sizeof host) {
		return KLUIS_EINVAL;
	}
	memcpy(host, text, len);
	host[len] = '\0';
	if (network_host(host, address) != 0) {
		return KLUIS_EINVAL;
	}
	v4 = strchr(host, ':') == NULL;
	if (slash != NULL && u64_parse(bytes_str(slash + 1), v4 ? 32 : 128, &bits) != 0) {
		return KLUIS_EINVAL;
	}
	bits += slash != NULL && v4 ? NETWORK_V4_BITS : 0;
	return network_decode((unsigned)bits, address, ret_network);
}

void network_format(const struct network *network, char to[NETWORK_CHARS_MAX + 1])
{
	bool v4 = network->bits >= NETWORK_V4_BITS && network_is_v4(network->address);
	char host[INET6_ADDRSTRLEN];
	const char *done;

	assert(network->bits <= NETWORK_BITS_MAX);
	done = v4 ? inet_ntop(AF_INET, network->address + 12, host, sizeof host)
		  : inet_ntop(AF_INET6, network->address, host, sizeof host);
	assert(done != NULL);
	(void)done;
	(void)snprintf(to, NETWORK_CHARS_MAX + 1, "%.45s/%u", host,
		(unsigned)(uint8_t)(network->bits - (v4 ? NETWORK_V4_BITS : 0)));
}

bool network_has_address(const struct network *network, const uint8_t address[16])
{
	for (unsigned i = 0; i < 16; i++) {
		if (((network->address[i] ^ address[i]) & network_mask(network->bits, i)) != 0) {
			return false;
		}
	}
	return true;
}

bool network_has(const struct network *network, const char *host)
{
	uint8_t address[16];

	return network_host(host, address) == 0 && network_has_address(network, address);
}
