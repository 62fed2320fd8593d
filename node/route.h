/* The one table of what the API serves, and finding a request's row in it. */
#ifndef KLUIS_NODE_ROUTE_H
#define KLUIS_NODE_ROUTE_H

#include "node/http_message.h"

struct api_call;

enum route_auth {
	ROUTE_OPEN,	/* Anybody. */
	ROUTE_LOGIN,	/* A bearer token of whatever level: second factors, and the way out. */
	ROUTE_RECOVERY, /* As ROUTE_SESSION, or one that a recovery code made, after its delay. */
	ROUTE_SESSION,	/* A bearer token of full level. */
	ROUTE_ADMIN,	/* The Unix socket alone; on the client port it does not exist. */
};
enum route_body { ROUTE_NO_BODY, ROUTE_JSON, ROUTE_OCTETS };
/* Which state of the store it works on. */
enum route_state {
	ROUTE_NONE,  /* None. */
	ROUTE_LOCAL, /* This node's, as it is. */
	ROUTE_READ,  /* As `consistency` says. */
	ROUTE_FRESH, /* Linearizable, and no word about it in the request. */
	/* This node's to prepare the command, once more at a linearizable one when that refuses:
	 * apply checks everything again. */
	ROUTE_WRITE,
};

/* Query parameters beyond consistency and wait_ms, which every ROUTE_READ takes. */
enum {
	QUERY_LIMIT = 1,
	QUERY_CURSOR = 2,
	QUERY_SINCE = 4,
	QUERY_PURGE = 8,
	QUERY_SLOT = 16,
	QUERY_NEWS = 32, /* wait_ms up to EVENT_WAIT_MS_MAX. */
	QUERY_OBJECT = 64,
	QUERY_AFTER = 128,
	QUERY_LIST = QUERY_LIMIT | QUERY_CURSOR,
};

/* Steps of a call (node/api_call.h), in this order; NULL: nothing to do there. Each returns 0 or
 * KLUIS_E* with the text in call->e. */
struct route {
	enum http_verb verb;
	const char *pattern; /* Segments that are {name} take one segment each. */
	const char *name;    /* As operationId in docs/openapi.yaml. */
	enum route_auth auth;
	enum route_body body;
	size_t body_max;
	bool once;    /* Idempotency-Key is required. */
	bool paid;    /* The request that began it was counted as a login. */
	bool dear;    /* Counted as a login, too: each is a command. */
	bool metered; /* A quota may refuse it: `applied` is asked then, too. */
	bool sealed;  /* What lies under the cluster's pepper is opened or made: not by a node that
			 has  another. */
	bool inbox;   /* An inbox token of the path's user is as good as a session. */
	enum route_state state;
	unsigned query;
	/* On the loop: the request's own parts. */
	int (*parse)(struct api_call *call);
	/* On call->view, on the loop or (after KLUIS_EAGAIN: from the start) on pool_db: makes the
	 * reply, or call->command. Must not keep what the view gave. */
	int (*read)(struct api_call *call);
	/* On pool_db: what takes the processor long (signatures). */
	int (*check)(struct api_call *call);
	/* On the loop: begins something asynchronous that is no command; call_resume() ends it. 1:
	 * nothing is to be waited for, the reply is made. */
	int (*begin)(struct api_call *call);
	/* After call->command was applied with success. True: the reply is made from the state
	 * machine's answer alone, and `applied` is not asked. */
	bool (*answered)(struct api_call *call);
	/* On a new view, as read, after call->command was applied: call->propose.rc says how. */
	int (*applied)(struct api_call *call);
	/* On the loop, once, when all went well and before the reply. */
	void (*finish)(struct api_call *call);
	/* As read, for a reply in pieces: fills call->body, sets call->last. */
	int (*more)(struct api_call *call);
};

/* Whether it asks for a bearer token. */
bool route_has_token(const struct route *route);

extern const struct route api_routes[];
extern const size_t api_routes_count;

enum { ROUTE_PARAMS_MAX = 3 };
struct route_match {
	const struct route *route;
	unsigned n_params;
	struct bytes param[ROUTE_PARAMS_MAX]; /* Still percent-encoded. */
	unsigned verbs;			      /* BIT()s of those that the path knows. */
};

/* KLUIS_ENOTFOUND: no such path (for this kind of listener); KLUIS_EMETHOD: ret_match->verbs says
 * what is there. HEAD finds GET's row where it has none of its own. */
KLUIS_MUST_CHECK int route_find(const struct route *routes, size_t n, enum http_verb verb,
	struct bytes path, bool admin, struct route_match *ret_match);

#endif
