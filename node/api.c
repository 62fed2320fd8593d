#include "node/api.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "crypto/pki.h"
#include "crypto/secret.h"
#include "node/api_call.h"
#include "node/api_core.h"
#include "node/api_tls.h"
#include "node/cursor.h"
#include "node/event_socket.h"
#include "node/problem.h"

enum { STOP_TICK_MS = 10, LOGIN_BURST = 4, REQUEST_BURST = 2 };

uint64_t api_now(const struct api *api)
{
	return clock_monotonic_ms(api->config.clock);
}

uint64_t api_cluster_now(const struct api *api)
{
	return api->cluster_ms == 0 ? 0 : api->cluster_ms + (api_now(api) - api->cluster_seen_ms);
}

void api_put_fields(struct api *api, struct http_request *req, uint64_t index)
{
	struct buf at = BUF_INIT;
	uint64_t heard_ms;

	if (index == 0) {
		index = api->config.backend->applied(api->config.backend, &heard_ms);
	}
	lineage_index_format(api->config.lineage, index, &at);
	http_reply_field(req, "request-id", "%s", req->id);
	http_reply_field(req, "kluis-node", "%llu", (unsigned long long)api->config.node_id);
	http_reply_field(req, "kluis-site", "%s", api->config.site);
	http_reply_field(req, "kluis-index", "%s", buf_str(&at));
	http_reply_field(
		req, "strict-transport-security", "max-age=63072000; includeSubDomains; preload");
	http_reply_field(req, "x-content-type-options", "nosniff");
	http_reply_field(req, "cache-control", "no-store");
	buf_release(&at);
}

/* Requests. */

void api_refuse(struct http_request *req, const struct problem *problem)
{
	api_put_fields(http_server_data(req->server), req, 0);
	problem_reply(req, problem);
}

static void refuse_method(struct http_request *req, unsigned verbs)
{
	struct buf allow = BUF_INIT;

	for (enum http_verb verb = VERB_GET; verb < VERB_MAX; verb++) {
		if ((verbs & BIT(verb)) != 0) {
			buf_printf(
				&allow, "%s%s", allow.len == 0 ? "" : ", ", http_verb_name(verb));
		}
	}
	http_reply_field(req, "allow", "%s", buf_str(&allow));
	buf_release(&allow);
	api_refuse(req, &(struct problem){.code = KLUIS_EMETHOD});
}

static bool over_rate(struct api *api, struct http_request *req, const struct route *route,
	uint64_t *ret_retry_ms)
{
	uint64_t key = req->address_key;
	bool login = route->dear ||
		     (route->auth == ROUTE_OPEN && route->verb == VERB_POST && !route->paid);

	if (req->admin) {
		return false;
	}
	return !ratelimit_take(api->request_limit, key, api_now(api), ret_retry_ms) ||
	       (login && !ratelimit_take(api->login_limit, key, api_now(api), ret_retry_ms));
}

static int check_media(const struct http_request *req, const struct route *route)
{
	struct bytes value = {0};
	unsigned n = http_fields_get(&req->fields, "content-type", &value);
	const uint8_t *end = n == 0 ? NULL : memchr(value.data, ';', value.len);
	struct bytes type = bytes_trim(
		bytes_of(value.data, end == NULL ? value.len : (size_t)(end - value.data)));

	switch (route->body) {
	case ROUTE_JSON:
		return n == 1 && bytes_is_nocase(type, "application/json") ? 0 : KLUIS_EMEDIA;
	case ROUTE_OCTETS:
		return n == 1 && bytes_is_nocase(type, "application/octet-stream") ? 0
										   : KLUIS_EMEDIA;
	default:
		return 0;
	}
}

static void head_cb(struct http_request *req)
{
	struct api *api = http_server_data(req->server);
	struct route_match match;
	uint8_t token_hash[32];
	uint64_t retry_ms = 0;
	bool inbox;
	int rc = req->metrics && !bytes_is(req->path, "/metrics")
			 ? KLUIS_ENOTFOUND
			 : route_find(api_routes, api_routes_count, req->verb, req->path,
				   req->admin, &match);

	if (rc == KLUIS_EMETHOD) {
		refuse_method(req, match.verbs);
		return;
	}
	if (rc == 0 && over_rate(api, req, match.route, &retry_ms)) {
		api_refuse(req, &(struct problem){.code = KLUIS_ERATE, .retry_after_ms = retry_ms});
		return;
	}
	/* Before the body: a stranger's is not even read. */
	if (rc == 0 && route_has_token(match.route) && !event_socket_wanted(req)) {
		rc = call_route_token(req, match.route, token_hash, &inbox);
	}
	if (rc == 0) {
		rc = check_media(req, match.route);
	}
	if (rc != 0) {
		api_refuse(req, &(struct problem){.code = rc});
		return;
	}
	req->body_max = match.route->body_max;
	req->private_body = match.route->body == ROUTE_JSON;
}

static void body_cb(struct http_request *req)
{
	struct api *api = http_server_data(req->server);
	struct route_match match;
	int rc = route_find(api_routes, api_routes_count, req->verb, req->path, req->admin, &match);

	assert(rc == 0); /* head_cb() found it. */
	if (api->stopping || api->calls >= API_CALLS_MAX) {
		/* While it stops, another site is the better one to ask: not "slow down". */
		api_refuse(
			req, &(struct problem){.code = api->stopping ? KLUIS_ECONNECT : KLUIS_EBUSY,
				     .detail = api->stopping ? "this node is stopping" : NULL});
		return;
	}
	if (event_socket_wanted(req)) {
		event_socket_start(api, req);
		return;
	}
	req->routed = true;
	call_start(api, req, &match);
}

static void fail_cb(struct http_request *req, int code, const char *detail)
{
	api_refuse(req, &(struct problem){.code = code,
				.detail = detail,
				.limit = code == KLUIS_ETOOLARGE ? req->body_max : 0});
}

static void done_cb(struct http_request *req)
{
	struct api *api = http_server_data(req->server);

	if (req->data != NULL) {
		call_gone(req->data);
	}
	if (!req->routed) {
		api_metrics_add(&api->metrics, api_routes_count, req->status, 0);
	}
}

static const struct http_app api_app = {
	.head_cb = head_cb, .body_cb = body_cb, .fail_cb = fail_cb, .done_cb = done_cb};

/* Life. */

static char *copy_or_null(const char *text)
{
	return text == NULL ? NULL : x_strdup(text);
}

static struct bytes copy_bytes(struct bytes bytes)
{
	return bytes_of(bytes.len == 0 ? NULL : x_memdup(bytes.data, bytes.len), bytes.len);
}

static const struct fido_site no_fido;

static void config_copy(struct api_config *to, const struct api_config *from)
{
	struct api_setting *settings = x_calloc(from->n_settings + 1, sizeof *settings);

	*to = *from;
	to->clock = from->clock == NULL ? &clock_system : from->clock;
	to->random = from->random == NULL ? &random_system : from->random;
	to->site = x_strdup(from->site);
	to->url = copy_or_null(from->url);
	to->listen_host = copy_or_null(from->listen_host);
	to->cert_path = copy_or_null(from->cert_path);
	to->key_path = copy_or_null(from->key_path);
	to->ca_path = copy_or_null(from->ca_path);
	to->metrics_host = copy_or_null(from->metrics_host);
	to->admin_path = copy_or_null(from->admin_path);
	to->restore_key = copy_bytes(from->restore_key);
	to->turn_uris = copy_or_null(from->turn_uris);
	to->turn_secret = copy_bytes(from->turn_secret);
	to->turn_ttl_ms = from->turn_ttl_ms == 0 ? TURN_TTL_S_DEFAULT * 1000 : from->turn_ttl_ms;
	for (size_t i = 0; i < from->n_settings; i++) {
		settings[i].name = x_strdup(from->settings[i].name);
		settings[i].value = x_strdup(from->settings[i].value);
	}
	to->settings = settings;
	to->session_ms = from->session_ms == 0 ? API_SESSION_MS : from->session_ms;
	if (to->session_ms > SESSION_MS_MAX) {
		to->session_ms = SESSION_MS_MAX;
	}
	to->fido = from->fido == NULL ? &no_fido : from->fido;
	to->srp_group = from->srp_group == 0 ? SRP_GROUP_DEFAULT : from->srp_group;
	to->aes = from->aes == 0 ? SYM_AES_256 : from->aes;
	to->rsa_bits = from->rsa_bits == 0 ? KEY_RSA_BITS : from->rsa_bits;
	to->curve = from->curve == 0 ? KEY_KEM_P256 : from->curve;
	to->stale_ms = from->stale_ms == 0 ? API_STALE_MS_DEFAULT : from->stale_ms;
	to->login_rate = from->login_rate == 0 ? API_LOGIN_PER_SECOND : from->login_rate;
	to->request_rate = from->request_rate == 0 ? API_REQUESTS_PER_SECOND : from->request_rate;
}

static void free_const(const void *ptr)
{
	free((void *)(uintptr_t)ptr);
}

static void config_release(struct api_config *config)
{
	free_const(config->site);
	free_const(config->url);
	free_const(config->listen_host);
	free_const(config->cert_path);
	free_const(config->key_path);
	free_const(config->ca_path);
	free_const(config->metrics_host);
	free_const(config->admin_path);
	free_const(config->restore_key.data);
	free_const(config->turn_uris);
	secret_clear((void *)(uintptr_t)config->turn_secret.data, config->turn_secret.len);
	free_const(config->turn_secret.data);
	for (size_t i = 0; i < config->n_settings; i++) {
		free_const(config->settings[i].name);
		free_const(config->settings[i].value);
	}
	free_const(config->settings);
}

static struct api *api_new(const struct api_config *config)
{
	struct api *api = x_calloc(1, sizeof *api);

	config_copy(&api->config, config);
	assert(config->secrets != NULL);
	api->started_ms = api_now(api);
	api->handshakes = handshake_table_new(API_HANDSHAKE_MS, API_HANDSHAKES_PER_ADDRESS_MAX);
	api->device_logins = handshake_table_new(API_CHALLENGE_MS, API_HANDSHAKES_PER_ADDRESS_MAX);
	api->recoveries = handshake_table_new(API_CHALLENGE_MS, API_HANDSHAKES_PER_ADDRESS_MAX);
	api->fido_challenges = handshake_table_new(API_CHALLENGE_MS, API_CHALLENGES_PER_USER_MAX);
	api->event_tickets = handshake_table_new(EVENT_TICKET_MS, EVENT_TICKETS_USER_MAX);
	api->dummies = login_dummies_new(api->config.secrets, api->config.random);
	api->login_limit =
		ratelimit_new(api->config.login_rate, api->config.login_rate * LOGIN_BURST);
	api->signal_limit = ratelimit_new(CALL_SIGNALS_PER_SECOND, CALL_SIGNALS_BURST);
	api->request_limit =
		ratelimit_new(api->config.request_rate, api->config.request_rate * REQUEST_BURST);
	api->sessions = session_cache_new();
	api->tickets = tls_tickets_new(api->config.clock);
	(void)pthread_mutex_init(&api->ca_lock, NULL);
	api->device_keys = key_cache_new();
	return api;
}

/* After the loop has ended. */
static void api_free(struct api *api)
{
	int rc = uv_loop_close(&api->loop);

	assert(rc == 0);
	push_free(api->push);
	tls_tickets_free(api->tickets);
	session_cache_free(api->sessions);
	ratelimit_free(api->request_limit);
	ratelimit_free(api->signal_limit);
	ratelimit_free(api->login_limit);
	handshake_table_free(api->handshakes);
	handshake_table_free(api->device_logins);
	handshake_table_free(api->recoveries);
	handshake_table_free(api->fido_challenges);
	handshake_table_free(api->event_tickets);
	event_hub_free(api->events);
	login_dummies_free(api->dummies);
	key_cache_free(api->device_keys);
	(void)pthread_mutex_destroy(&api->ca_lock);
	free(api->ca_pem);
	config_release(&api->config);
	free(api);
}

static void http_closed_cb(void *data)
{
	struct api *api = data;

	api->http_closed = true;
	api->http = NULL;
}

static void stop_tick_cb(uv_timer_t *timer)
{
	struct api *api = timer->data;

	if (api->http != NULL && !api->closing_http &&
		((http_server_running(api->http) == 0 && api->calls == 0) ||
			clock_monotonic_ms(&clock_system) >= api->stop_at_ms)) {
		api->closing_http = true;
		http_server_close(api->http, http_closed_cb);
	}
	/* Calls end by their own deadlines; their memory is the replica's until then. */
	if (api->http_closed && api->calls == 0 && event_hub_idle(api->events)) {
		op_queue_close(&api->ops, NULL);
		mailbox_close(&api->mailbox, NULL);
		uv_close((uv_handle_t *)timer, NULL);
	}
}

static void stop_begin(struct api *api)
{
	api->stopping = true;
	event_hub_stop(api->events);
	if (api->http == NULL) {
		api->http_closed = true;
	} else {
		http_server_drain(api->http);
	}
	(void)uv_timer_start(&api->stop_timer, stop_tick_cb, 0, STOP_TICK_MS);
}

static void stop_mail_cb(struct mail *mail)
{
	stop_begin(CONTAINER_OF(mail, struct api, stop_mail));
}

static void api_run(void *data)
{
	struct api *api = data;

	(void)uv_run(&api->loop, UV_RUN_DEFAULT); /* Until stop_tick_cb() closed everything. */
}

static int api_listen(struct api *api, struct err *e)
{
	const struct api_config *config = &api->config;
	int rc;

	if (config->listen_host != NULL) {
		rc = api_tls_load(api, e);
		if (rc != 0) {
			return rc;
		}
		rc = http_server_listen(
			api->http, config->listen_host, config->listen_port, &api->port, e);
		if (rc != 0) {
			return rc;
		}
	}
	if (config->metrics_host != NULL) {
		rc = http_server_listen_metrics(api->http, config->metrics_host,
			config->metrics_port, &api->metrics_port, e);
		if (rc != 0) {
			return rc;
		}
	}
	return config->admin_path == NULL ? 0
					  : http_server_listen_unix(api->http, config->admin_path,
						    config->admin_group, e);
}

static int api_open(struct api *api, struct err *e)
{
	struct http_config http = {
		.loop = &api->loop,
		.clock = api->config.clock,
		.random = api->config.random,
		.app = &api_app,
		.data = api,
		.connections_max = api->config.connections_max,
		.per_address_max = api->config.per_address_max,
		.answer_bytes_max = api->config.answer_bytes_max,
	};
	int rc = http_server_new(&http, &api->http, e);

	if (rc == 0) {
		rc = api_listen(api, e);
	}
	if (rc == 0 && uv_thread_create(&api->thread, api_run, api) != 0) {
		rc = err_set(e, KLUIS_EINTERNAL, "no thread for the API");
	}
	return rc;
}

static uint64_t api_cluster_now_cb(void *data)
{
	return api_cluster_now(data);
}

static void api_watch(struct api *api)
{
	const struct event_hub_config config = {.loop = &api->loop,
		.home = &api->mailbox,
		.pool = api->config.pool_db,
		.backend = api->config.backend,
		.stale_ms = api->config.stale_ms,
		.cluster_now = api_cluster_now_cb,
		.data = api};

	api->events = event_hub_new(&config);
}

int api_start(const struct api_config *config, struct api **ret_api, struct err *e)
{
	struct api *api = api_new(config);
	int rc = uv_loop_init(&api->loop);

	/* These need memory and one descriptor each; without them no node can run. */
	rc = rc == 0 ? mailbox_init(&api->mailbox, &api->loop) : rc;
	rc = rc == 0 ? op_queue_init(&api->ops, &api->loop, &api->mailbox) : rc;
	rc = rc == 0 ? uv_timer_init(&api->loop, &api->stop_timer) : rc;
	assert(rc == 0);
	api->stop_timer.data = api;
	api_watch(api);
	if (config->push != NULL) {
		api->push = push_new(config->push, 0, api_push_gone_cb, api);
	}
	rc = api_open(api, e);
	if (rc != 0) {
		push_stop(api->push);
		stop_begin(api);
		api_run(api);
		api_free(api);
		return err_wrap(e, rc, "start of the API");
	}
	*ret_api = api;
	return 0;
}

void api_stop(struct api *api, unsigned drain_ms)
{
	if (api == NULL) {
		return;
	}
	push_stop(api->push); /* Its threads send to the mailbox. */
	api->stop_at_ms = clock_monotonic_ms(&clock_system) + drain_ms;
	api->stop_mail.deliver_cb = stop_mail_cb;
	mailbox_send(&api->mailbox, &api->stop_mail);
	(void)uv_thread_join(&api->thread);
	api_free(api);
}

unsigned api_port(const struct api *api)
{
	return api->port;
}

unsigned api_metrics_port(const struct api *api)
{
	return api->metrics_port;
}
