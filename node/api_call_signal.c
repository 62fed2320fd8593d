/* Calls between clients: what they say to each other while they set one up, passed on and never
 * kept; and what they need to find a way to each other: credentials of the operator's TURN servers,
 * good for a while (coturn's use-auth-secret; draft-uberti-behave-turn-rest-00). */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "crypto/hash.h"
#include "crypto/secret.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "storage/object_store.h"

enum { TURN_NAME_BYTES = 8, TURN_USER_BYTES_MAX = 64 };

static json_t *turn_uris(const char *text)
{
	json_t *uris = json_array();

	while (*(text += strspn(text, " ")) != '\0') {
		size_t len = strcspn(text, " ");
		_cleanup_(x_freep) char *uri = x_strndup(text, len);

		(void)json_array_append_new(uris, json_make_text(uri));
		text += len;
	}
	return uris;
}

static json_t *turn_json(
	const char *uris, const char *username, const char *credential, uint64_t ttl_s)
{
	json_t *body = json_object();

	json_put(body, "uris", turn_uris(uris));
	json_put(body, "username", json_make_text(username));
	json_put(body, "credential", json_make_text(credential));
	json_put(body, "ttl_s", json_make_number(ttl_s));
	return body;
}

/* A name that is the same for the same user, so that the server can count what it uses, and says
 * to nobody else who that is. */
static void turn_name(const struct api_config *config, const uint8_t user_id[16],
	char to[HEX_LEN(TURN_NAME_BYTES) + 1])
{
	const struct bytes parts[] = {bytes_str("kluis/v1/turn-name"), bytes_of(user_id, 16)};
	uint8_t hash[HMAC_BYTES];

	hash_hmac(config->turn_secret, parts, ARRAY_SIZE(parts), hash);
	hex_encode(bytes_of(hash, TURN_NAME_BYTES), to);
}

int call_ice_read(struct api_call *call)
{
	const struct api_config *config = &call->api->config;
	_cleanup_(secret_buf_release) struct buf credential = BUF_INIT;
	char name[HEX_LEN(TURN_NAME_BYTES) + 1], user[TURN_USER_BYTES_MAX];
	uint8_t mac[HASH_SHA1_BYTES];

	if (config->turn_uris == NULL) {
		call_json(call, 200, turn_json("", "", "", 0));
		return 0;
	}
	turn_name(config, call->session.user_id, name);
	/* The server holds it against its own clock, not the cluster's. */
	(void)snprintf(user, sizeof user, "%llu:%s",
		(unsigned long long)(clock_wall_ms(config->clock) + config->turn_ttl_ms) / 1000,
		name);
	hash_hmac_sha1(config->turn_secret, bytes_str(user), mac);
	base64_plain_append(&credential, bytes_of(mac, sizeof mac));
	call_json(call, 200,
		turn_json(
			config->turn_uris, user, buf_str(&credential), config->turn_ttl_ms / 1000));
	return 0;
}

int call_signal_parse(struct api_call *call)
{
	if (call_body(call).len == 0) {
		return call_fail(call, KLUIS_EINVAL, "an empty body");
	}
	return call_param_id(call, 0, call->id);
}

int call_signal_read(struct api_call *call)
{
	struct object_row object;
	struct member_row member;

	return object_store_check(call->view, MEMBER_OBJECT_CONVERSATION, call->id,
		call->session.user_id, MEMBER_READ, false, &object, &member, &call->e);
}

int call_signal_begin(struct api_call *call)
{
	struct api *api = call->api;
	struct buf message = BUF_INIT;
	struct call_signal *signal;

	if (!ratelimit_take(api->signal_limit, handshake_user_key(call->session.user_id),
		    api_now(api), &call->problem_retry_ms)) {
		return call_fail(
			call, KLUIS_ERATE, "at most %d signals a second", CALL_SIGNALS_PER_SECOND);
	}
	signal = call_signal_new(
		call->id, call->session.user_id, call->session.device_id, call_body(call));
	call_signal_encode(signal, &message);
	event_hub_signal(api->events, signal);
	api->config.backend->relay(api->config.backend, &message);
	call_signal_unref(signal);
	call->status = 202;
	call->content_type = NULL;
	return 1;
}
