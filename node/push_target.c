#include "node/push_target.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/wire.h"
#include "node/network.h"

enum { PUSH_TARGET_VERSION = 1, PUSH_APNS_TOKEN_MIN = 64, PUSH_HTTPS_PORT = 443 };

static const char *const push_kinds[] = {
	[PUSH_WEB] = "web", [PUSH_FCM] = "fcm", [PUSH_APNS] = "apns"};

const char *push_kind_name(unsigned kind)
{
	return kind < ARRAY_SIZE(push_kinds) ? push_kinds[kind] : NULL;
}

int push_kind_parse(struct bytes name, uint8_t *ret_kind)
{
	for (uint8_t kind = PUSH_WEB; kind <= PUSH_APNS; kind++) {
		if (bytes_equal(name, bytes_str(push_kinds[kind]))) {
			*ret_kind = kind;
			return 0;
		}
	}
	return KLUIS_EINVAL;
}

static const char push_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static bool push_all_of(const char *text, const char *more)
{
	for (; *text != 0; text++) {
		if (strchr(push_letters, *text) == NULL && strchr(more, *text) == NULL) {
			return false;
		}
	}
	return true;
}

static int push_check_token(const struct push_target *target, struct err *e)
{
	size_t len = strlen(target->text);
	bool hex = strspn(target->text, "0123456789abcdefABCDEF") == len;

	if (len == 0 || len > PUSH_TOKEN_BYTES_MAX || !push_all_of(target->text, "-_:.") ||
		(target->kind == PUSH_APNS && (!hex || len < PUSH_APNS_TOKEN_MIN))) {
		return err_set(e, KLUIS_EINVAL, "no device token");
	}
	return 0;
}

int push_target_check(const struct push_target *target, struct err *e)
{
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	struct push_url url;
	int rc;

	if (push_kind_name(target->kind) == NULL) {
		return err_set(e, KLUIS_EINVAL, "no such kind of push service");
	}
	if (target->kind != PUSH_WEB) {
		return push_check_token(target, e);
	}
	rc = push_url_parse(target->text, &url, e);
	if (rc == 0) {
		rc = key_pub_decode(KEY_KEM_P256,
			bytes_of(target->public_key, sizeof target->public_key), &pub, e);
	}
	return rc;
}

void push_target_encode(const struct push_target *target, struct buf *to)
{
	buf_put_u8(to, PUSH_TARGET_VERSION);
	buf_put_u8(to, target->kind);
	buf_put_lp16(to, bytes_str(target->text));
	if (target->kind == PUSH_WEB) {
		buf_append(to, target->public_key, sizeof target->public_key);
		buf_append(to, target->auth, sizeof target->auth);
	}
}

int push_target_decode(struct bytes encoded, struct push_target *ret_target, struct err *e)
{
	struct wire w = wire_of(encoded);
	struct push_target target = {.kind = 0};
	struct bytes text;
	unsigned version = wire_u8(&w);
	int rc;

	target.kind = wire_u8(&w);
	text = wire_lp16(&w, PUSH_ENDPOINT_BYTES_MAX);
	if (wire_ok(&w) && target.kind == PUSH_WEB) {
		wire_copy(&w, target.public_key, sizeof target.public_key);
		wire_copy(&w, target.auth, sizeof target.auth);
	}
	if (!wire_end(&w) || version != PUSH_TARGET_VERSION ||
		(text.len > 0 && memchr(text.data, 0, text.len) != NULL)) {
		return err_set(e, KLUIS_EINVAL, "malformed push subscription");
	}
	if (text.len > 0) {
		memcpy(target.text, text.data, text.len);
	}
	rc = push_target_check(&target, e);
	if (rc == 0) {
		*ret_target = target;
	}
	return rc;
}

/* Of host or host:port; a default port when there is none. */
static int push_authority(struct bytes authority, struct address *ret_address)
{
	char text[ADDRESS_TEXT_BYTES_MAX + 1];
	bool port = memchr(authority.data, ':', authority.len) != NULL;
	int len;

	if (authority.len == 0 || authority.len > PUSH_HOST_BYTES_MAX - 8) {
		return KLUIS_EINVAL;
	}
	len = snprintf(text, sizeof text, "%.*s%s", (int)authority.len,
		(const char *)authority.data, port ? "" : ":443");
	assert(len > 0 && (size_t)len < sizeof text);
	for (char *at = text; *at != 0; at++) {
		*at = (char)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at);
	}
	return address_parse(text, ret_address, NULL);
}

int push_url_parse(const char *url, struct push_url *ret_url, struct err *e)
{
	static const char scheme[] = "https://";
	struct push_url u = {.path = "/"};
	const char *host = url + sizeof scheme - 1, *path;
	size_t len = strlen(url);

	if (len > PUSH_ENDPOINT_BYTES_MAX || strncmp(url, scheme, sizeof scheme - 1) != 0 ||
		!push_all_of(url, "-._~:/?[]!$&'()*+,;=%")) {
		return err_set(e, KLUIS_EINVAL, "no https address of a push service");
	}
	path = host + strcspn(host, "/?");
	if (push_authority(bytes_of(host, (size_t)(path - host)), &u.address) != 0 ||
		u.address.port == 0 || !push_all_of(u.address.host, "-.:")) {
		return err_set(e, KLUIS_EINVAL, "no https address of a push service");
	}
	if (*path != 0) {
		(void)snprintf(u.path, sizeof u.path, "%s%s", *path == '/' ? "" : "/", path);
	}
	if (u.address.port == PUSH_HTTPS_PORT) {
		(void)snprintf(u.origin, sizeof u.origin, "https://%s", u.address.host);
	} else {
		(void)snprintf(
			u.origin, sizeof u.origin, "https://%s:%u", u.address.host, u.address.port);
	}
	*ret_url = u;
	return 0;
}

bool push_host_allowed(const char *hosts, const char *host)
{
	size_t host_bytes = strlen(host);

	while (*hosts != 0) {
		size_t len = strcspn(hosts, " ");
		const char *end = host + host_bytes - len;

		if (len > 0 && len <= host_bytes && memcmp(end, hosts, len) == 0 &&
			(len == host_bytes || end[-1] == '.')) {
			return true;
		}
		hosts += len;
		hosts += *hosts == ' ';
	}
	return false;
}

/* The special-purpose networks of RFC 6890 and its registries. What lies outside of 2000::/3 and of
 * these is nothing that anybody listens at. */
static const char *const push_no_networks[] = {"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10",
	"127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	"224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"};

static bool push_in(const char *network, const uint8_t address[16])
{
	struct network parsed;
	int rc = network_parse(network, &parsed);

	assert(rc == 0);
	return rc == 0 && network_has_address(&parsed, address);
}

bool push_address_public(const struct sockaddr *address)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	uint8_t bytes[16] = {0};

	if (address->sa_family == AF_INET) {
		memcpy(bytes, mapped, sizeof mapped);
		memcpy(bytes + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr,
			4);
	} else if (address->sa_family == AF_INET6) {
		memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
	} else {
		return false;
	}
	if (memcmp(bytes, mapped, sizeof mapped) != 0 && !push_in("2000::/3", bytes)) {
		return false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(push_no_networks); i++) {
		if (push_in(push_no_networks[i], bytes)) {
			return false;
		}
	}
	return true;
}
