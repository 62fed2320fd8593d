#include "base/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum { ADDRESS_PORT_MAX = 65535 };

static bool address_is_numeric(const char *host)
{
	uint8_t raw[16];

	return inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1;
}

static bool address_host_valid(struct bytes host, bool bracketed)
{
	if (host.len == 0 || host.len > ADDRESS_HOST_BYTES_MAX) {
		return false;
	}
	for (size_t i = 0; i < host.len; i++) {
		uint8_t c = host.data[i];
		bool alnum =
			(c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

		if (!alnum && c != '.' && (bracketed ? c != ':' : c != '-' && c != '_')) {
			return false;
		}
	}
	return true;
}

int address_parse(const char *text, struct address *ret_address, struct err *e)
{
	struct address parsed = {0};
	const char *colon = strrchr(text, ':');
	bool bracketed = text[0] == '[';
	struct bytes host;
	uint64_t port;

	if (colon == NULL || strlen(text) > ADDRESS_TEXT_BYTES_MAX ||
		u64_parse(bytes_str(colon + 1), ADDRESS_PORT_MAX, &port) != 0) {
		return err_set(e, KLUIS_EINVAL, "'%.64s' is not 'host:port'", text);
	}
	host = bytes_of(text, (size_t)(colon - text));
	if (bracketed) {
		if (host.len < 2 || host.data[host.len - 1] != ']') {
			return err_set(e, KLUIS_EINVAL, "'%.64s' is not '[address]:port'", text);
		}
		host = bytes_of(host.data + 1, host.len - 2);
	}
	if (!address_host_valid(host, bracketed)) {
		return err_set(e, KLUIS_EINVAL, "'%.64s' names no host", text);
	}
	memcpy(parsed.host, host.data, host.len);
	parsed.port = (unsigned)port;
	parsed.numeric = address_is_numeric(parsed.host);
	if (bracketed && !parsed.numeric) {
		return err_set(e, KLUIS_EINVAL, "'%.64s' is not '[address]:port'", text);
	}
	*ret_address = parsed;
	return 0;
}

void address_format(const struct address *address, char to[ADDRESS_TEXT_BYTES_MAX + 1])
{
	bool bracketed = strchr(address->host, ':') != NULL;

	(void)snprintf(to, ADDRESS_TEXT_BYTES_MAX + 1, "%s%s%s:%u", bracketed ? "[" : "",
		address->host, bracketed ? "]" : "", (unsigned)(uint16_t)address->port);
}

static int address_lookup(const struct address *address, int flags, struct addrinfo **ret_list)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = flags | AI_NUMERICSERV};
	char port[8];

	(void)snprintf(port, sizeof port, "%u", address->port);
	return getaddrinfo(address->host, port, &hints, ret_list);
}

static size_t address_collect(const struct addrinfo *list, struct address_found *to, size_t max)
{
	size_t n = 0;

	for (; list != NULL && n < max; list = list->ai_next) {
		if (list->ai_addrlen <= sizeof to[n].storage) {
			memset(&to[n], 0, sizeof to[n]);
			memcpy(&to[n].storage, list->ai_addr, list->ai_addrlen);
			to[n].len = list->ai_addrlen;
			n++;
		}
	}
	return n;
}

int address_numeric(const struct address *address, struct address_found *ret_found)
{
	struct addrinfo *list = NULL;
	size_t n;

	if (!address->numeric || address_lookup(address, AI_NUMERICHOST, &list) != 0) {
		return KLUIS_EINVAL;
	}
	n = address_collect(list, ret_found, 1);
	freeaddrinfo(list);
	return n == 1 ? 0 : KLUIS_EINVAL;
}

int address_resolve(const struct address *address, struct address_found *to, size_t max,
	size_t *ret_n, struct err *e)
{
	struct addrinfo *list = NULL;
	int status = address_lookup(address, address->numeric ? AI_NUMERICHOST : 0, &list);
	size_t n;

	if (status != 0) {
		return err_set(
			e, KLUIS_ECONNECT, "look up '%s': %s", address->host, gai_strerror(status));
	}
	n = address_collect(list, to, max);
	freeaddrinfo(list);
	if (n == 0) {
		return err_set(e, KLUIS_ECONNECT, "'%s' has no address", address->host);
	}
	*ret_n = n;
	return 0;
}

bool address_is_loopback(const struct address *address)
{
	return address->numeric &&
	       (strncmp(address->host, "127.", 4) == 0 || strcmp(address->host, "::1") == 0);
}
