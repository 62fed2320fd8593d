/* Events: tickets for WebSockets (node/event_socket.h), and requests that wait for news. */
#include <assert.h>
#include <string.h>

#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/cursor.h"
#include "node/event_socket.h"

int event_ticket_read(struct api_call *call)
{
	call_json(call, 201, json_object()); /* Filled once nothing can refuse it any more. */
	return 0;
}

void event_ticket_finish(struct api_call *call)
{
	struct api *api = call->api;
	struct handshake *ticket = handshake_new(api->config.random);
	char text[API_TOKEN_CHARS + 1];
	uint8_t hash[HASH_BYTES];
	json_t *body = json_object();

	api_token_make(api->config.random, "kev_", text, hash);
	memcpy(ticket->id, hash, sizeof ticket->id);
	memcpy(ticket->user_id, call->session.user_id, sizeof ticket->user_id);
	memcpy(ticket->device_id, call->session.device_id, sizeof ticket->device_id);
	memcpy(ticket->challenge, call->token_hash, sizeof ticket->challenge);
	handshake_put(api->event_tickets, ticket, handshake_user_key(call->session.user_id),
		api_now(api));
	json_put(body, "ticket", json_make_text(text));
	json_put(body, "expires_ms", json_make_number(call->now_ms + EVENT_TICKET_MS));
	buf_clear(&call->body);
	call_json(call, 201, body);
}

/* A request that waits. */
struct event_wait {
	struct event_subscriber sub;
	struct api_call *call;
	json_t *items;
	uint64_t cursor;
};

int event_poll_parse(struct api_call *call)
{
	uint64_t since;
	int rc;

	if (call->since.len == 0) {
		return 0;
	}
	rc = lineage_index_parse(buf_bytes(&call->since), call->api->config.lineage, &since);
	if (rc == KLUIS_ELINEAGE) {
		return call_fail(call, rc, "'since' is of the cluster before it was restored");
	}
	call->number = since;
	return rc == 0 ? 0 : call_fail(call, rc, "query parameter 'since' is malformed");
}

static void wait_end(struct event_wait *wait, int rc)
{
	struct api_call *call = wait->call;

	event_hub_leave(&wait->sub);
	call->gone = NULL;
	call_resume(call, rc);
}

static void wait_gone(struct api_call *call)
{
	wait_end(call->extra, KLUIS_ECLOSED);
}

static void wait_news_cb(struct event_subscriber *sub)
{
	struct event_wait *wait = CONTAINER_OF(sub, struct event_wait, sub);
	struct call_signal *signal;
	struct event event;

	if (sub->rc != 0) {
		wait_end(wait, call_fail(wait->call, sub->rc, "%s", err_text(sub->rc)));
		return;
	}
	while (event_subscriber_take(sub, &event)) {
		(void)json_array_append_new(wait->items, event_json(wait->call->api, &event));
	}
	while ((signal = event_subscriber_take_signal(sub)) != NULL) {
		(void)json_array_append_new(wait->items,
			call_signal_json(wait->call->api, signal, event_subscriber_cursor(sub)));
		call_signal_unref(signal);
	}
	if (json_array_size(wait->items) > 0 ||
		clock_monotonic_ms(&clock_system) >= sub->deadline_ms) {
		wait->cursor = event_subscriber_cursor(sub);
		wait_end(wait, 0);
	}
}

static void wait_release(void *extra)
{
	json_decref(((struct event_wait *)extra)->items);
}

int event_poll_begin(struct api_call *call)
{
	struct event_wait *wait = call_extra(call, sizeof *wait);
	struct event_subscriber *sub = &wait->sub;
	int rc;

	call->extra_release = wait_release;
	wait->call = call;
	wait->items = json_array();
	memcpy(sub->token_hash, call->token_hash, sizeof sub->token_hash);
	memcpy(sub->user_id, call->session.user_id, sizeof sub->user_id);
	memcpy(sub->device_id, call->session.device_id, sizeof sub->device_id);
	sub->has_since = call->since.len > 0;
	sub->since = call->number;
	sub->poll = true;
	sub->deadline_ms = clock_monotonic_ms(&clock_system) + call->wait_ms;
	sub->news_cb = wait_news_cb;
	if (call->req->over) {
		return call_fail(call, KLUIS_ECLOSED, "nobody waits for it any more");
	}
	rc = event_hub_join(call->api->events, sub, &call->e);
	if (rc == 0) {
		call->req->waits = true;
		call->gone = wait_gone;
	}
	return rc;
}

void event_poll_finish(struct api_call *call)
{
	struct event_wait *wait = call->extra;
	_cleanup_(buf_release) struct buf cursor = BUF_INIT;
	json_t *body = json_object();

	lineage_index_format(call->api->config.lineage, wait->cursor, &cursor);
	json_put(body, "items", wait->items);
	wait->items = NULL;
	json_put(body, "cursor", json_make_text(buf_str(&cursor)));
	call_json(call, 200, body);
}
