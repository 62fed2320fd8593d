/* One request on its way: an op whose steps are the same for every route (node/route.h says what
 * each does in them), and what the handlers in api_*.c use. Private to node/. */
#ifndef KLUIS_NODE_API_CALL_H
#define KLUIS_NODE_API_CALL_H

#include "base/op.h"
#include "node/api.h"
#include "node/etag.h"
#include "node/http.h"
#include "node/json.h"
#include "node/route.h"
#include "raft/command.h"
#include "storage/kv.h"
#include "storage/position.h"
#include "storage/session_store.h"

enum call_consistency { CALL_LINEARIZABLE, CALL_SESSION, CALL_STALE };
enum call_phase { CALL_PHASE_READ, CALL_PHASE_APPLIED, CALL_PHASE_MORE };

struct api_call {
	struct op op;
	struct api *api;
	struct http_request *req; /* A reference. */
	const struct route *route;
	char param[ROUTE_PARAMS_MAX][API_PARAM_BYTES_MAX + 1]; /* Decoded segments. */

	/* What every route may carry. */
	bool has_token, by_inbox_token; /* The latter: token_hash is of a token, not a session. */
	uint8_t token_hash[32];
	enum call_consistency consistency;
	bool has_min_index, has_cursor, has_slot, has_object, purge; /* slot, object: in id. */
	uint64_t min_index, wait_ms, since_seq, since_page;
	struct buf since; /* Decoded text. */
	unsigned limit;
	struct buf cursor; /* Key behind which a list goes on. */
	struct buf once_key;
	char actor[COMMAND_ACTOR_BYTES_MAX]; /* Admin: "uid 1000". */

	/* What a route's parse leaves for its later steps. */
	uint8_t vault_id[16], id[16], device_id[16], hash[32];
	uint64_t page_no, revision, number;
	struct buf text[4]; /* Cleared with the call ... */
	bool text_is_open;  /* ... unless it holds what everybody may see: large ciphertext. */
	void *extra;	    /* From call_extra(). */
	size_t extra_bytes;
	void (*extra_release)(void *extra); /* Of what it points to; NULL: nothing. */

	/* During read, check, applied, more. */
	struct kv_view *view;
	struct position position;   /* Where the view stands. */
	uint64_t now_ms;	    /* Cluster time. */
	struct session_row session; /* Of the token. */

	struct buf command; /* To be proposed. */
	struct propose propose;

	/* The reply. */
	int rc;
	struct err e;
	int status;
	const char *content_type;
	struct buf body;
	uint64_t length; /* Of a reply in pieces. */
	bool last;
	uint64_t index; /* What Kluis-Index says; 0: what is applied now. */
	char etag[ETAG_CHARS_MAX + 1], current_etag[ETAG_CHARS_MAX + 1];
	struct buf location, content_range;
	bool accept_ranges;
	uint64_t problem_limit, problem_retry_ms;

	/* Of a route->begin: the request is over, nobody waits for the answer. May call
	 * call_resume(). NULL: it ends by itself. */
	void (*gone)(struct api_call *call);

	/* Private to api_call.c. */
	enum call_phase phase;
	int input_rc; /* What was wrong with the request, told once its sender is known. */
	struct err input_e;
	bool linearized, has_kv, waiting_more, again, authorised, stale;
	uint64_t staleness_ms, now_hint_ms, started_ms;
	union {
		struct read_index read_index;
		struct applied_wait applied_wait;
		struct replica_transfer transfer;
		struct pool_work work;
	};
};

/* Creates the call of a request whose body is there, and starts it. match is of req's path. */
void call_start(struct api *api, struct http_request *req, const struct route_match *match);
/* The request is over: a reply in pieces that waits for the client ends. */
void call_gone(struct api_call *call);

/* The hash of a bearer token with this prefix ("kst_"): SHA-256 of its ASCII bytes.
 * KLUIS_EUNAUTHENTICATED: none, or malformed. */
KLUIS_MUST_CHECK int call_token(
	const struct http_request *req, const char prefix[4], uint8_t ret_hash[32]);
/* The token that a route asks for. *ret_inbox: it is an inbox token. */
KLUIS_MUST_CHECK int call_route_token(const struct http_request *req, const struct route *route,
	uint8_t ret_hash[32], bool *ret_inbox);

/* For route->begin: the asynchronous part ended. On the loop. */
void call_resume(struct api_call *call, int rc);
/* The handler's own part of the call, of zeros; cleared and freed with it: it may hold a token. */
void *call_extra(struct api_call *call, size_t size);
/* Sets call->e; returns code. */
int call_fail(struct api_call *call, int code, const char *fmt, ...) KLUIS_PRINTF(3, 4);

/* Segments of the path. KLUIS_EINVAL. */
KLUIS_MUST_CHECK int call_param_id(struct api_call *call, unsigned i, uint8_t to[16]);
KLUIS_MUST_CHECK int call_param_hash(struct api_call *call, unsigned i, uint8_t to[32]);
KLUIS_MUST_CHECK int call_param_u64(struct api_call *call, unsigned i, uint64_t *to);

struct bytes call_body(const struct api_call *call);
struct command_session call_session(const struct api_call *call);
struct bytes call_actor(const struct api_call *call);
/* body_hash is of the request's body. */
struct command_once call_once(const struct api_call *call);
/* Encodes into call->command. */
void call_propose(struct api_call *call, const struct command *command);
/* The state machine's answer, for route->applied; call->rc when it refused. */
KLUIS_MUST_CHECK int call_reply(struct api_call *call, struct command_reply *ret_reply);

/* 200 with this JSON (taken), or another status. */
void call_json(struct api_call *call, int status, json_t *body);
void call_no_content(struct api_call *call);
/* A list whose last row has `key`; key.len 0: it is done. items is taken. */
void call_list(struct api_call *call, json_t *items, struct bytes key);
/* Its body, for a list with members beside items. */
json_t *call_list_make(const struct api_call *call, json_t *items, struct bytes key);
/* A list that is short enough to be made as a whole (taken): its part that limit and cursor name.
 */
KLUIS_MUST_CHECK int call_list_all(struct api_call *call, json_t *all);
/* Key of a cursor of exactly len bytes; NULL without one. KLUIS_EINVAL. */
KLUIS_MUST_CHECK int call_cursor(struct api_call *call, size_t len, const uint8_t **ret_key);

/* GET's If-None-Match against call->etag: true when the reply is 304 (then it is made). */
KLUIS_MUST_CHECK int call_not_modified(struct api_call *call, bool *ret_not_modified);
/* If-Match against `current` (NULL: no such object): KLUIS_EPRECONDITION_REQUIRED,
 * KLUIS_EPRECONDITION (current_etag is set). */
KLUIS_MUST_CHECK int call_if_match(struct api_call *call, const char *current);
/* Bytes (taken) as octet-stream with call->etag, honouring Range and If-None-Match. */
KLUIS_MUST_CHECK int call_octets(struct api_call *call, struct buf *bytes);

#endif
