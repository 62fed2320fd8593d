/* Events by WebSocket: GET /v1/events?ticket=...&since=..., each text one event. Private to node/.
 */
#ifndef KLUIS_NODE_EVENT_SOCKET_H
#define KLUIS_NODE_EVENT_SOCKET_H

#include <jansson.h>

#include "node/event_hub.h"
#include "node/handshake.h"
#include "node/http.h"

struct api;

/* Whether the request asks for one. */
bool event_socket_wanted(const struct http_request *req);
/* Answers the request, which was received: 101, or a problem. */
void event_socket_start(struct api *api, struct http_request *req);

/* A signal of a call as clients see it; cursor: where to go on from. */
json_t *call_signal_json(const struct api *api, const struct call_signal *signal, uint64_t cursor);
/* An event as clients see it. */
json_t *event_json(const struct api *api, const struct event *event);
/* A ticket's name in the table: SHA-256 of its text, so that nobody learns by timing how much of
 * one is right. */
enum { EVENT_TICKET_CHARS = 4 + 43 };
KLUIS_MUST_CHECK int event_ticket_id(struct bytes ticket, uint8_t ret_id[ID_BYTES]);

#endif
