/* Where a device wants to be notified: a subscription as its owner gave it, and which addresses of
 * the network a node lets itself be sent to. Pure: any thread. */
#ifndef KLUIS_NODE_PUSH_TARGET_H
#define KLUIS_NODE_PUSH_TARGET_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/address.h"
#include "base/buf.h"
#include "base/err.h"
#include "crypto/webpush.h"

enum push_kind { PUSH_WEB = 1, PUSH_FCM = 2, PUSH_APNS = 3 };
enum {
	PUSH_ENDPOINT_BYTES_MAX = 1024, /* A web push URL. */
	PUSH_TOKEN_BYTES_MAX = 512,	/* FCM: a registration token; APNs: hex digits. */
	PUSH_TARGET_BYTES_MAX =
		2 + 2 + PUSH_ENDPOINT_BYTES_MAX + WEBPUSH_PUBLIC_BYTES + WEBPUSH_AUTH_BYTES,
	PUSH_HOST_BYTES_MAX = 253,
};

struct push_target {
	uint8_t kind; /* enum push_kind */
	/* PUSH_WEB: the endpoint's URL; else the token. */
	char text[PUSH_ENDPOINT_BYTES_MAX + 1];
	uint8_t public_key[WEBPUSH_PUBLIC_BYTES], auth[WEBPUSH_AUTH_BYTES]; /* PUSH_WEB alone. */
};

/* "web", "fcm", "apns"; NULL for none of them. */
const char *push_kind_name(unsigned kind);
/* KLUIS_EINVAL. */
KLUIS_MUST_CHECK int push_kind_parse(struct bytes name, uint8_t *ret_kind);

/* Whether the text is one that its kind can have: an https URL of a named host, without user,
 * fragment or anything but printing ASCII; a token's letters. Web: that the key is a point on
 * P-256. KLUIS_EINVAL, e says which. */
KLUIS_MUST_CHECK int push_target_check(const struct push_target *target, struct err *e);
/* The bytes that are sealed for the row (docs/format-storage.md): u8 version | u8 kind | lp16 text
 * | key65 | auth16, the last two of PUSH_WEB alone. */
void push_target_encode(const struct push_target *target, struct buf *to);
/* As push_target_check(); KLUIS_EINVAL. */
KLUIS_MUST_CHECK int push_target_decode(
	struct bytes encoded, struct push_target *ret_target, struct err *e);

/* A URL in its parts. */
struct push_url {
	struct address address;			/* Lower case. */
	char path[PUSH_ENDPOINT_BYTES_MAX + 1]; /* With query; at least "/". */
	/* https://host[:port], as a token's audience has it. */
	char origin[PUSH_HOST_BYTES_MAX + 32];
};
KLUIS_MUST_CHECK int push_url_parse(const char *url, struct push_url *ret_url, struct err *e);
/* Whether the host is one of `hosts` (names with blanks between them), or a part of one:
 * "push.example" has a.push.example, and not xpush.example. */
bool push_host_allowed(const char *hosts, const char *host);
/* Whether the address is one of the public Internet: not of this machine, a private, link-local,
 * shared, documentation, tunnelled, multicast or reserved network (RFC 6890). */
bool push_address_public(const struct sockaddr *address);

#endif
