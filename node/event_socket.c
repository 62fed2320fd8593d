#include "node/event_socket.h"

#include <assert.h>
#include <string.h>

#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/cursor.h"
#include "node/problem.h"
#include "node/websocket.h"

enum { QUERY_VALUE_BYTES_MAX = 128 };

struct event_socket {
	struct api *api;
	struct websocket *ws;
	struct event_subscriber sub;
};

bool event_socket_wanted(const struct http_request *req)
{
	return bytes_is(req->path, "/v1/events") && websocket_wanted(req);
}

json_t *event_json(const struct api *api, const struct event *event)
{
	_cleanup_(buf_release) struct buf cursor = BUF_INIT;
	json_t *body = json_object();

	lineage_index_format(api->config.lineage, event->index, &cursor);
	json_put(body, "cursor", json_make_text(buf_str(&cursor)));
	json_put(body, "type", json_make_text(event_type_name(event->type)));
	if (event->type != EVENT_OF_RESYNC) {
		json_put(body, "object", json_make_id(event->object));
	}
	if (event->has_seq) {
		json_put(body, "seq", json_make_number(event->seq));
	}
	return body;
}

json_t *call_signal_json(const struct api *api, const struct call_signal *signal, uint64_t cursor)
{
	_cleanup_(buf_release) struct buf place = BUF_INIT;
	json_t *body = json_object();

	lineage_index_format(api->config.lineage, cursor, &place);
	json_put(body, "cursor", json_make_text(buf_str(&place)));
	json_put(body, "type", json_make_text("call"));
	json_put(body, "object", json_make_id(signal->conversation_id));
	json_put(body, "user", json_make_id(signal->user_id));
	json_put(body, "device", json_make_id(signal->device_id));
	json_put(body, "data", json_make_base64(bytes_of(signal->data, signal->bytes)));
	return body;
}

int event_ticket_id(struct bytes ticket, uint8_t ret_id[ID_BYTES])
{
	uint8_t hash[HASH_BYTES];
	int rc = api_token_hash(ticket, "kev_", hash);

	if (rc == 0) {
		memcpy(ret_id, hash, ID_BYTES);
	}
	return rc;
}

/* --- its two sides --- */

static void socket_pump(struct event_socket *socket)
{
	struct call_signal *signal;
	struct event event;

	while (websocket_room(socket->ws) && event_subscriber_take(&socket->sub, &event)) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;

		json_finish(event_json(socket->api, &event), &text);
		websocket_text(socket->ws, buf_bytes(&text));
	}
	while (websocket_room(socket->ws) &&
		(signal = event_subscriber_take_signal(&socket->sub)) != NULL) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;

		json_finish(call_signal_json(
				    socket->api, signal, event_subscriber_cursor(&socket->sub)),
			&text);
		call_signal_unref(signal);
		websocket_text(socket->ws, buf_bytes(&text));
	}
}

static unsigned socket_code(int rc)
{
	switch (rc) {
	case KLUIS_EUNAUTHENTICATED:
		return WEBSOCKET_SESSION_ENDED;
	case KLUIS_ECONNECT:
		return WEBSOCKET_GOING_AWAY;
	case KLUIS_ETOOLARGE:
		return WEBSOCKET_POLICY;
	default:
		return WEBSOCKET_TRY_LATER;
	}
}

static void socket_news_cb(struct event_subscriber *sub)
{
	struct event_socket *socket = CONTAINER_OF(sub, struct event_socket, sub);

	if (sub->rc != 0) {
		event_hub_leave(sub);
		websocket_close(socket->ws, socket_code(sub->rc));
	} else {
		socket_pump(socket);
	}
}

static void socket_room_cb(struct websocket *ws)
{
	socket_pump(websocket_data(ws));
}

static void socket_gone_cb(struct websocket *ws)
{
	struct event_socket *socket = websocket_data(ws);

	event_hub_leave(&socket->sub);
	free(socket);
}

static const struct websocket_handler socket_handler = {
	.room_cb = socket_room_cb, .gone_cb = socket_gone_cb};

/* --- the request --- */

/* The session's user that this ticket, now spent, was given to. */
static int socket_ticket(
	struct api *api, struct event_subscriber *sub, struct bytes text, struct err *e)
{
	struct handshake *ticket = NULL;
	uint8_t id[ID_BYTES];

	if (event_ticket_id(text, id) == 0) {
		ticket = handshake_take(api->event_tickets, id, api_now(api));
	}
	if (ticket == NULL) {
		return err_set(e, KLUIS_EUNAUTHENTICATED,
			"the ticket is not one of this node's, used or too old");
	}
	memcpy(sub->user_id, ticket->user_id, sizeof sub->user_id);
	memcpy(sub->device_id, ticket->device_id, sizeof sub->device_id);
	memcpy(sub->token_hash, ticket->challenge, sizeof sub->token_hash);
	handshake_free(ticket);
	return 0;
}

static int socket_since(
	struct api *api, struct event_subscriber *sub, struct bytes text, struct err *e)
{
	int rc = lineage_index_parse(text, api->config.lineage, &sub->since);

	sub->has_since = rc == 0;
	if (rc == KLUIS_ELINEAGE) {
		return err_set(e, rc, "'since' is of the cluster before it was restored");
	}
	return rc == 0 ? 0 : err_set(e, KLUIS_EINVAL, "query parameter 'since' is malformed");
}

static int socket_query(
	struct api *api, struct http_request *req, struct event_subscriber *sub, struct err *e)
{
	struct bytes query = req->query, name, value;
	_cleanup_(buf_release) struct buf ticket = BUF_INIT, since = BUF_INIT;
	int rc = 0;

	while (rc == 0 && http_query_next(&query, &name, &value)) {
		struct buf *to = bytes_is(name, "ticket")  ? &ticket
				 : bytes_is(name, "since") ? &since
							   : NULL;

		if (to == NULL || to->len > 0 || value.len == 0 ||
			http_percent_decode(value, QUERY_VALUE_BYTES_MAX, to) != 0) {
			rc = err_set(e, KLUIS_EINVAL,
				"query has an unknown, repeated or malformed parameter");
		}
	}
	if (rc == 0 && since.len > 0) {
		rc = socket_since(api, sub, buf_bytes(&since), e);
	}
	return rc == 0 ? socket_ticket(api, sub, buf_bytes(&ticket), e) : rc;
}

void event_socket_start(struct api *api, struct http_request *req)
{
	struct event_socket *socket = x_calloc(1, sizeof *socket);
	struct err e = {0};
	int rc = websocket_check(req, &e);

	if (rc == KLUIS_EVERSION) {
		http_reply_field(req, "sec-websocket-version", "13");
		rc = KLUIS_EINVAL;
	}
	socket->api = api;
	socket->sub.news_cb = socket_news_cb;
	rc = rc == 0 ? socket_query(api, req, &socket->sub, &e) : rc;
	rc = rc == 0 ? event_hub_join(api->events, &socket->sub, &e) : rc;
	if (rc != 0) {
		free(socket);
		api_refuse(req, &(struct problem){.code = rc, .detail = e.text});
		return;
	}
	socket->ws = websocket_new(&socket_handler, socket);
	api_put_fields(api, req, 0);
	websocket_upgrade(socket->ws, req);
}
