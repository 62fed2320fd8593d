#include "node/api_call.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "crypto/secret.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/call_input.h"
#include "node/pepper.h"
#include "node/problem.h"
#include "storage/inbox_store.h"

enum {
	CALL_START,
	CALL_INDEXED,
	CALL_VIEW,
	CALL_VIEWED,
	CALL_BEGUN,
	CALL_APPLIED,
	CALL_REPLY,
	CALL_MORE,
	CALL_DONE,
};

static struct api_call *call_of(struct op *op)
{
	return OP_OF(op, struct api_call);
}

/* Deadlines of the replica are by the system's clock, whatever clock the API has. */
static uint64_t deadline_in(uint64_t ms)
{
	return clock_monotonic_ms(&clock_system) + ms;
}

int call_fail(struct api_call *call, int code, const char *fmt, ...)
{
	char text[sizeof call->e.text];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	return err_set(&call->e, code, "%s", text);
}

void *call_extra(struct api_call *call, size_t size)
{
	assert(call->extra == NULL);
	call->extra = x_calloc(1, size);
	call->extra_bytes = size;
	return call->extra;
}

void call_propose(struct api_call *call, const struct command *command)
{
	buf_clear(&call->command);
	command_encode(command, &call->command);
	assert(call->command.len > 0);
}

/* What a run that is repeated must not find from the one before. */
static void call_reset(struct api_call *call)
{
	buf_clear(&call->body);
	buf_clear(&call->command);
	buf_clear(&call->location);
	buf_clear(&call->content_range);
	call->status = 0;
	call->etag[0] = call->current_etag[0] = '\0';
	call->e = (struct err){0};
}

/* The view. */

/* Reads authorise at the index they read at. The cache is the loop thread's. */
static int view_authorise(struct api_call *call)
{
	struct inbox_token_row token;
	int rc = 0;

	if (call->by_inbox_token) {
		return inbox_token_store_check(
			call->view, call->token_hash, call->id, call->now_ms, &token, &call->e);
	}
	if (call->again || !session_cache_get(call->api->sessions, call->token_hash,
				   call->position.index, call->now_ms, &call->session)) {
		rc = session_store_check(
			call->view, call->token_hash, call->now_ms, &call->session, &call->e);
		call->authorised = rc == 0;
	}
	return rc == 0 ? call_session_permits(call) : rc;
}

static int view_run(struct api_call *call)
{
	const struct route *route = call->route;
	int rc = position_get(call->view, &call->position, &call->e);

	if (rc != 0) {
		return rc;
	}
	call->now_ms = call->position.cluster_time_ms > call->now_hint_ms
			       ? call->position.cluster_time_ms
			       : call->now_hint_ms;
	if (call->phase == CALL_PHASE_APPLIED) {
		return route->applied(call);
	}
	if (call->phase == CALL_PHASE_MORE) {
		return route->more(call);
	}
	if (route_has_token(route)) {
		rc = view_authorise(call);
	}
	if (rc == 0 && call->input_rc != 0) {
		rc = call->input_rc;
		call->e = call->input_e;
	}
	if (rc == 0 && route->sealed) {
		rc = call_pepper(call);
	}
	if (rc == 0 && route->read != NULL) {
		rc = route->read(call);
	}
	return rc;
}

static int view_work(struct op *op)
{
	struct api_call *call = call_of(op);
	int rc = 0;

	kv_view_set_cache_only(call->view, false);
	if (call->again) {
		call_reset(call);
		rc = view_run(call);
	}
	if (rc == 0 && call->phase == CALL_PHASE_READ && call->route->check != NULL) {
		rc = call->route->check(call);
	}
	return rc;
}

/* What a node says of itself stays in sight: an operator needs it now. */
static bool view_shut(const struct api_call *call)
{
	struct api_backend *backend = call->api->config.backend;

	return call->route->state != ROUTE_LOCAL && backend->quarantined(backend);
}

static int view_open(struct api_call *call)
{
	struct api *api = call->api;
	struct kv *kv;
	int rc;

	if (view_shut(call)) {
		return call_fail(
			call, KLUIS_EBEHIND, "this node's state is not that of the others");
	}
	rc = api->config.backend->read_begin(api->config.backend, &kv);
	if (rc != 0) {
		return call_fail(call, rc, "the store is being replaced");
	}
	call->has_kv = true;
	call->view = kv_view_new(kv);
	kv_view_set_cache_only(call->view, true);
	call->now_hint_ms = api_cluster_now(api);
	return 0;
}

static void view_close(struct api_call *call)
{
	struct api *api = call->api;

	kv_view_free(call->view);
	call->view = NULL;
	if (call->has_kv) {
		call->has_kv = false;
		api->config.backend->read_end(api->config.backend);
	}
	if (call->position.cluster_time_ms > api->cluster_ms) {
		api->cluster_ms = call->position.cluster_time_ms;
		api->cluster_seen_ms = api_now(api);
	}
}

static unsigned step_view(struct op *op)
{
	struct api_call *call = call_of(op);
	struct api *api = call->api;
	bool check = call->phase == CALL_PHASE_READ && call->route->check != NULL;

	op->rc = view_open(call);
	if (op->rc != 0) {
		return CALL_VIEWED;
	}
	call->again = call->authorised = false;
	op->rc = view_run(call);
	call->again = op->rc == KLUIS_EAGAIN;
	if (call->again || (op->rc == 0 && check)) {
		return op_work(op, api->config.pool_db, view_work, CALL_VIEWED);
	}
	return CALL_VIEWED;
}

/* Indexes. */

static void read_index_cb(struct read_index *req, int rc)
{
	op_wake(&CONTAINER_OF(req, struct api_call, read_index)->op, rc);
}

static void applied_wait_cb(struct applied_wait *req, int rc)
{
	op_wake(&CONTAINER_OF(req, struct api_call, applied_wait)->op, rc);
}

static unsigned call_stale(struct api_call *call)
{
	struct api_backend *backend = call->api->config.backend;
	uint64_t heard_ms, now_ms = clock_monotonic_ms(&clock_system);

	(void)backend->applied(backend, &heard_ms); /* The view says which index it is. */
	call->staleness_ms = now_ms > heard_ms ? now_ms - heard_ms : 0;
	if (heard_ms == 0 || call->staleness_ms > call->api->config.stale_ms) {
		call->rc = call_fail(
			call, KLUIS_EBEHIND, "this node has heard of no leader for too long");
		return CALL_REPLY;
	}
	call->stale = true;
	return CALL_VIEW;
}

static unsigned call_index(struct api_call *call)
{
	struct api_backend *backend = call->api->config.backend;
	struct mailbox *home = &call->api->mailbox;

	switch (call->consistency) {
	case CALL_STALE:
		return call_stale(call);
	case CALL_SESSION:
		backend->applied_wait(backend, &call->applied_wait, home, call->min_index,
			deadline_in(call->wait_ms), applied_wait_cb);
		break;
	default:
		backend->read_index(
			backend, &call->read_index, home, deadline_in(API_READ_MS), read_index_cb);
	}
	return op_wait(&call->op, CALL_INDEXED);
}

static unsigned step_indexed(struct op *op)
{
	struct api_call *call = call_of(op);

	call->rc = op->rc;
	return op->rc == 0 ? CALL_VIEW : CALL_REPLY;
}

/* Steps. */

static unsigned call_begin(struct api_call *call)
{
	if (call->route->begin == NULL) {
		return CALL_REPLY;
	}
	call->rc = call->route->begin(call);
	if (call->rc > 0) {
		call->rc = 0;
		return CALL_REPLY;
	}
	return call->rc == 0 ? op_wait(&call->op, CALL_BEGUN) : CALL_REPLY;
}

static unsigned step_start(struct op *op)
{
	struct api_call *call = call_of(op);

	call->rc = call_input(call);
	if (call->rc == 0 && call->route->parse != NULL) {
		call->rc = call->route->parse(call);
	}
	if (call->rc != 0 && !call->has_token) {
		return CALL_REPLY;
	}
	/* Who asks comes before what is asked: strangers learn nothing about their bodies. */
	call->input_rc = call->rc;
	call->input_e = call->e;
	switch (call->route->state) {
	case ROUTE_NONE:
		return call_begin(call);
	case ROUTE_READ:
	case ROUTE_FRESH:
		return call_index(call);
	default:
		return CALL_VIEW;
	}
}

static void propose_cb(struct propose *req, int rc)
{
	op_wake(&CONTAINER_OF(req, struct api_call, propose)->op, rc);
}

static unsigned call_propose_start(struct api_call *call)
{
	struct api_backend *backend = call->api->config.backend;

	backend->propose(backend, &call->propose, &call->api->mailbox, &call->command,
		deadline_in(API_PROPOSE_MS), propose_cb);
	return op_wait(&call->op, CALL_APPLIED);
}

/* What a state that is a little behind may say though it is not so any more. */
static bool refusal_may_be_old(int rc)
{
	return rc == KLUIS_EUNAUTHENTICATED || rc == KLUIS_ENOTFOUND || rc == KLUIS_EFORBIDDEN ||
	       rc == KLUIS_EPRECONDITION || rc == KLUIS_ECONFLICT || rc == KLUIS_EMFA;
}

static unsigned viewed_read(struct api_call *call, int rc)
{
	call->index = call->position.index;
	if (call->authorised) {
		session_cache_put(call->api->sessions, call->position.index, &call->session);
	}
	if (rc == 0) {
		call->rc = 0;
		return call->command.len > 0 ? call_propose_start(call) : call_begin(call);
	}
	if (call->route->state == ROUTE_WRITE && !call->linearized && refusal_may_be_old(rc)) {
		call->linearized = true;
		call->consistency = CALL_LINEARIZABLE;
		call_reset(call);
		return call_index(call);
	}
	call->rc = rc;
	return CALL_REPLY;
}

static unsigned viewed_more(struct api_call *call, int rc)
{
	struct http_request *req = call->req;

	if (rc != 0) {
		log_warn("op=%s/%llu more failed rc=%s text=\"%s\"", call->route->name,
			(unsigned long long)call->op.id, err_name(rc), call->e.text);
		http_reply_abort(req);
		return CALL_DONE;
	}
	http_reply_write(req, &call->body, call->last);
	if (call->last || req->over) {
		return CALL_DONE;
	}
	call->waiting_more = true;
	return op_wait(&call->op, CALL_MORE);
}

/* What the store does not give back as it was written is never shown; another site has it. That is
 * for storage/ to find. What a value means to us - a pepper that differs, a key that is none - is
 * no damage of this disk: it stands so in every store, and whoever put it there must not have them
 * all doubted. */
static int view_doubt(struct api_call *call, int rc)
{
	struct api_backend *backend = call->api->config.backend;

	if (rc != KLUIS_ECORRUPT && rc != KLUIS_EIO) {
		return rc;
	}
	if (call->view != NULL) {
		backend->doubt(backend, call->e.text);
	}
	return call_fail(call, KLUIS_EBEHIND, "this node cannot read its store");
}

static unsigned step_viewed(struct op *op)
{
	struct api_call *call = call_of(op);
	int rc = view_doubt(call, op->rc);

	view_close(call);
	switch (call->phase) {
	case CALL_PHASE_READ:
		return viewed_read(call, rc);
	case CALL_PHASE_MORE:
		return viewed_more(call, rc);
	default:
		call->rc = rc;
		return CALL_REPLY;
	}
}

static unsigned step_begun(struct op *op)
{
	call_of(op)->rc = op->rc;
	return CALL_REPLY;
}

void call_resume(struct api_call *call, int rc)
{
	op_wake(&call->op, rc);
}

static unsigned step_applied(struct op *op)
{
	struct api_call *call = call_of(op);
	int rc = call->propose.rc;

	if (call->propose.index > call->index) {
		call->index = call->propose.index;
	}
	call->rc = rc;
	call->e = (struct err){0}; /* Of before: the refusal is another's. */
	if (view_shut(call)) {
		/* What this state machine made of the command is not what the others did. */
		call->rc = KLUIS_EUNKNOWN_OUTCOME;
		return CALL_REPLY;
	}
	if (rc == 0 && call->route->answered != NULL) {
		call_reset(call);
		if (call->route->answered(call)) {
			return CALL_REPLY;
		}
	}
	if (call->route->applied != NULL &&
		(rc == 0 || rc == KLUIS_EPRECONDITION || rc == KLUIS_ECONFLICT ||
			(rc == KLUIS_EQUOTA && call->route->metered))) {
		call_reset(call);
		call->phase = CALL_PHASE_APPLIED;
		return CALL_VIEW;
	}
	return CALL_REPLY; /* As route->read left it. */
}

static void more_cb(struct http_request *req)
{
	struct api_call *call = req->data;

	if (call != NULL && call->waiting_more) {
		call->waiting_more = false;
		op_wake(&call->op, 0);
	}
}

void call_gone(struct api_call *call)
{
	if (call->gone != NULL) {
		call->gone(call);
		return;
	}
	if (call->waiting_more) {
		call->waiting_more = false;
		op_wake(&call->op, KLUIS_ECLOSED);
	}
}

/* The state machine's word on what it refused, where nothing was found out since. */
static void reply_reason(struct api_call *call)
{
	struct bytes reason = call->propose.reason;

	if (call->e.text[0] == '\0' && call->rc == call->propose.rc && reason.len > 0) {
		call->rc = err_set(
			&call->e, call->rc, "%.*s", (int)reason.len, (const char *)reason.data);
	}
}

static void reply_problem(struct api_call *call)
{
	struct problem problem = {
		.code = call->rc,
		.detail = call->e.text,
		.current_etag = call->current_etag,
		.limit = call->problem_limit,
		.retry_after_ms = call->problem_retry_ms,
	};
	struct buf min_index = BUF_INIT;

	reply_reason(call);
	if (call->rc == KLUIS_EBEHIND && call->has_min_index) {
		lineage_index_format(call->api->config.lineage, call->min_index, &min_index);
		problem.min_index = buf_str(&min_index);
	}
	if (err_http_status(call->rc) == 500) {
		log_err("op=%s/%llu request=%s rc=%s text=\"%s\"", call->route->name,
			(unsigned long long)call->op.id, call->req->id, err_name(call->rc),
			call->e.text);
	}
	problem_reply(call->req, &problem);
	buf_release(&min_index);
}

static void reply_fields(struct api_call *call)
{
	struct http_request *req = call->req;

	api_put_fields(call->api, req, call->index);
	if (call->stale) {
		http_reply_field(
			req, "kluis-staleness-ms", "%llu", (unsigned long long)call->staleness_ms);
	}
	if (call->content_range.len > 0 && (call->rc == 0 || call->rc == KLUIS_ERANGE)) {
		http_reply_field(req, "content-range", "%s", buf_str(&call->content_range));
	}
	if (call->rc != 0) {
		return;
	}
	if (call->etag[0] != '\0') {
		http_reply_field(req, "etag", "%s", call->etag);
	}
	if (call->location.len > 0) {
		http_reply_field(req, "location", "%s", buf_str(&call->location));
	}
	if (call->accept_ranges) {
		http_reply_field(req, "accept-ranges", "bytes");
	}
}

static unsigned step_reply(struct op *op)
{
	struct api_call *call = call_of(op);
	struct http_request *req = call->req;

	if (call->rc == 0 && call->route->finish != NULL) {
		call->route->finish(call);
	}
	if (req->over) {
		return CALL_DONE;
	}
	reply_fields(call);
	if (call->rc != 0) {
		reply_problem(call);
		return CALL_DONE;
	}
	assert(call->status != 0);
	if (call->route->more != NULL) {
		http_reply_begin(req, call->status, call->content_type, call->length);
		req->more_cb = more_cb;
		call->phase = CALL_PHASE_MORE;
		return CALL_VIEW;
	}
	http_reply(req, call->status, call->content_type,
		call->content_type == NULL ? NULL : &call->body);
	return CALL_DONE;
}

static unsigned step_more(struct op *op)
{
	return op->rc == 0 ? CALL_VIEW : CALL_DONE;
}

static const struct op_step call_steps[] = {
	[CALL_START] = {"start", step_start,
		BIT(CALL_INDEXED) | BIT(CALL_VIEW) | BIT(CALL_BEGUN) | BIT(CALL_REPLY)},
	[CALL_INDEXED] = {"indexed", step_indexed, BIT(CALL_VIEW) | BIT(CALL_REPLY)},
	[CALL_VIEW] = {"view", step_view, BIT(CALL_VIEWED)},
	[CALL_VIEWED] = {"viewed", step_viewed,
		BIT(CALL_INDEXED) | BIT(CALL_VIEW) | BIT(CALL_APPLIED) | BIT(CALL_BEGUN) |
			BIT(CALL_REPLY) | BIT(CALL_MORE) | BIT(CALL_DONE)},
	[CALL_BEGUN] = {"begun", step_begun, BIT(CALL_REPLY)},
	[CALL_APPLIED] = {"applied", step_applied, BIT(CALL_VIEW) | BIT(CALL_REPLY)},
	[CALL_REPLY] = {"reply", step_reply, BIT(CALL_VIEW) | BIT(CALL_DONE)},
	[CALL_MORE] = {"more", step_more, BIT(CALL_VIEW) | BIT(CALL_DONE)},
};
static const struct op_def call_def = {"call", CALL_DONE, call_steps};

static void call_done(struct op *op)
{
	struct api_call *call = call_of(op);
	struct api *api = call->api;
	uint64_t ms = api_now(api) - call->started_ms;

	assert(api->calls > 0 && call->view == NULL && !call->has_kv);
	api->calls--;
	api_metrics_add(&api->metrics, (size_t)(call->route - api_routes), call->req->status, ms);
	log_debug("op=%s/%llu state=done request=%s rc=%s status=%d ms=%llu", call->route->name,
		(unsigned long long)op->id, call->req->id, call->rc == 0 ? "0" : err_name(call->rc),
		call->req->status, (unsigned long long)ms);
	call->req->data = NULL;
	call->req->more_cb = NULL;
	http_request_unref(call->req);
	for (size_t i = 0; i < ARRAY_SIZE(call->text); i++) {
		if (!call->text_is_open) {
			secret_clear(call->text[i].data, call->text[i].cap);
		}
		buf_release(&call->text[i]);
	}
	buf_release(&call->cursor);
	buf_release(&call->since);
	buf_release(&call->once_key);
	buf_release(&call->command);
	if (call->content_type != NULL && strcmp(call->content_type, "application/json") == 0) {
		secret_buf_release(&call->body); /* It was not sent. */
	}
	buf_release(&call->body);
	buf_release(&call->location);
	buf_release(&call->content_range);
	if (call->extra != NULL) {
		if (call->extra_release != NULL) {
			call->extra_release(call->extra);
		}
		secret_clear(call->extra, call->extra_bytes);
		free(call->extra);
	}
	free(call);
}

void call_start(struct api *api, struct http_request *req, const struct route_match *match)
{
	struct api_call *call = x_calloc(1, sizeof *call);

	assert(req->data == NULL && match->route != NULL);
	call->api = api;
	call->req = http_request_ref(req);
	call->route = match->route;
	call->started_ms = api_now(api);
	req->data = call;
	api->calls++;
	op_start(&call->op, &call_def, &api->ops, call_done);
}
