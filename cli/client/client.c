#include "cli/client/client.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "cli/client/problem.h"
#include "crypto/secret.h"

enum { CLIENT_INDEX_CHARS_MAX = HEX_LEN(ID_BYTES) + 1 + 20, CLIENT_QUERY_CHARS_MAX = 64 };

struct client_idle {
	struct http_conn *conn;
	size_t endpoint;
};

struct client {
	struct tls_ctx *tls; /* NULL: sockets. */
	char *addresses[CLIENT_ENDPOINTS_MAX];
	size_t n_addresses;
	uint64_t call_ms, give_up_ms;
	int (*dial)(const void *dial_arg, int *ret_fd, struct err *e);
	const void *dial_arg;
	int (*login)(void *arg, struct client *client, struct err *e);
	void *login_arg;
	pthread_mutex_t login_lock; /* Held while one thread signs in. */
	pthread_mutex_t lock;	    /* Guards what follows. */
	size_t preferred;	    /* End point that answered last. */
	struct client_idle idle[CLIENT_IDLE_MAX];
	size_t n_idle;
	char token[CLIENT_TOKEN_BYTES_MAX + 1];
	uint64_t token_generation; /* Grows with every token set. */
	bool lineage_pinned;
	uint8_t lineage[ID_BYTES];
	enum client_level level;
	unsigned wait_ms;
	char seen[CLIENT_INDEX_CHARS_MAX + 1]; /* Newest Kluis-Index. */
	uint64_t seen_index, staleness_ms;
};

int client_endpoint_address(const char *url, char **ret_address, struct err *e)
{
	static const char scheme[] = "https://";
	const char *host = url + sizeof scheme - 1, *bracket, *colon;
	size_t len;

	if (strncmp(url, scheme, sizeof scheme - 1) != 0) {
		return err_set(e, KLUIS_EINVAL, "end point '%s' does not begin with https://", url);
	}
	len = strcspn(host, "/?#@ ");
	if (len == 0 || (host[len] != 0 && strcmp(host + len, "/") != 0)) {
		return err_set(e, KLUIS_EINVAL, "end point '%s' is no https://host:port", url);
	}
	bracket = memrchr(host, ']', len);
	colon = memrchr(host, ':', len);
	*ret_address = colon != NULL && (bracket == NULL || colon > bracket)
			       ? x_strndup(host, len)
			       : x_asprintf("%.*s:443", (int)len, host);
	return 0;
}

static int client_add_addresses(
	struct client *client, const struct client_config *config, struct err *e)
{
	client->dial = config->dial;
	client->dial_arg = config->dial_arg;
	if (config->dial != NULL) {
		client->addresses[client->n_addresses++] = x_strdup("localhost");
		return 0;
	}
	if (config->socket_path != NULL) {
		client->addresses[client->n_addresses++] = x_strdup(config->socket_path);
		return 0;
	}
	if (config->n_endpoints == 0 || config->n_endpoints > CLIENT_ENDPOINTS_MAX) {
		return err_set(e, KLUIS_EINVAL, "%zu end points; 1 to %d can be given",
			config->n_endpoints, CLIENT_ENDPOINTS_MAX);
	}
	for (size_t i = 0; i < config->n_endpoints; i++) {
		int rc = client_endpoint_address(config->endpoints[i], &client->addresses[i], e);

		if (rc != 0) {
			return rc;
		}
		client->n_addresses++;
	}
	return 0;
}

int client_new(const struct client_config *config, struct client **ret_client, struct err *e)
{
	static const char *const alpn[] = {TLS_ALPN_HTTP1};
	struct client *client = x_calloc(1, sizeof *client);
	int rc;

	client->call_ms = config->call_ms == 0 ? CLIENT_CALL_MS : config->call_ms;
	client->give_up_ms = config->give_up_ms == 0 ? CLIENT_GIVE_UP_MS : config->give_up_ms;
	(void)pthread_mutex_init(&client->lock, NULL); /* Cannot fail with default attributes. */
	(void)pthread_mutex_init(&client->login_lock, NULL);
	rc = client_add_addresses(client, config, e);
	if (rc == 0 && config->socket_path == NULL && config->dial == NULL) {
		rc = tls_ctx_new_client(config->ca_pem, alpn, ARRAY_SIZE(alpn), &client->tls, e);
	}
	if (rc != 0) {
		client_free(client);
		return rc;
	}
	*ret_client = client;
	return 0;
}

void client_free(struct client *client)
{
	if (client == NULL) {
		return;
	}
	for (size_t i = 0; i < client->n_idle; i++) {
		http_conn_free(client->idle[i].conn);
	}
	for (size_t i = 0; i < client->n_addresses; i++) {
		free(client->addresses[i]);
	}
	tls_ctx_unref(client->tls);
	(void)pthread_mutex_destroy(&client->lock);
	(void)pthread_mutex_destroy(&client->login_lock);
	secret_clear(client, sizeof *client);
	free(client);
}

void client_set_login(struct client *client,
	int (*login)(void *arg, struct client *client, struct err *e), void *arg)
{
	client->login = login;
	client->login_arg = arg;
}

void client_set_token(struct client *client, const char *token)
{
	assert(token == NULL || strlen(token) <= CLIENT_TOKEN_BYTES_MAX);
	(void)pthread_mutex_lock(&client->lock);
	secret_clear(client->token, sizeof client->token);
	(void)snprintf(client->token, sizeof client->token, "%s", token == NULL ? "" : token);
	client->token_generation++;
	(void)pthread_mutex_unlock(&client->lock);
}

void client_token(struct client *client, char to[CLIENT_TOKEN_BYTES_MAX + 1])
{
	(void)pthread_mutex_lock(&client->lock);
	memcpy(to, client->token, sizeof client->token);
	(void)pthread_mutex_unlock(&client->lock);
}

void client_set_lineage(struct client *client, const uint8_t lineage[ID_BYTES])
{
	(void)pthread_mutex_lock(&client->lock);
	client->lineage_pinned = lineage != NULL;
	if (lineage != NULL) {
		memcpy(client->lineage, lineage, ID_BYTES);
	}
	(void)pthread_mutex_unlock(&client->lock);
}

void client_set_level(struct client *client, enum client_level level, unsigned wait_ms)
{
	(void)pthread_mutex_lock(&client->lock);
	client->level = level;
	client->wait_ms = wait_ms;
	client->staleness_ms = 0;
	(void)pthread_mutex_unlock(&client->lock);
}

uint64_t client_staleness_ms(struct client *client)
{
	uint64_t ms;

	(void)pthread_mutex_lock(&client->lock);
	ms = client->staleness_ms;
	(void)pthread_mutex_unlock(&client->lock);
	return ms;
}

/* What a session read must not be older than, and how old a stale one is. */
static void client_note_index(struct client *client, const struct http_answer *answer)
{
	struct bytes index = http_answer_header(answer, "Kluis-Index");
	struct bytes staleness = http_answer_header(answer, "Kluis-Staleness-Ms");
	uint64_t number, ms = 0;

	if (index.len <= HEX_LEN(ID_BYTES) + 1 || index.len > CLIENT_INDEX_CHARS_MAX ||
		u64_parse(bytes_of(index.data + HEX_LEN(ID_BYTES) + 1,
				  index.len - HEX_LEN(ID_BYTES) - 1),
			UINT64_MAX, &number) != 0) {
		return;
	}
	(void)pthread_mutex_lock(&client->lock);
	if (memcmp(client->seen, index.data, HEX_LEN(ID_BYTES)) != 0 ||
		number >= client->seen_index) {
		memcpy(client->seen, index.data, index.len);
		client->seen[index.len] = 0;
		client->seen_index = number;
	}
	if (staleness.len > 0 && u64_parse(staleness, UINT64_MAX, &ms) == 0) {
		client->staleness_ms = ms;
	}
	(void)pthread_mutex_unlock(&client->lock);
}

/* The level into a read: a new target, or NULL when it stays as it is. seen: room for the value of
 * Kluis-Min-Index. */
static char *client_level_target(struct client *client, const struct client_request *r,
	struct http_request *wire, char seen[CLIENT_INDEX_CHARS_MAX + 1])
{
	static const char *const names[] = {"linearizable", "session", "stale"};
	char wait[CLIENT_QUERY_CHARS_MAX] = "";
	enum client_level level;
	size_t n = 0;

	(void)pthread_mutex_lock(&client->lock);
	/* Nothing seen yet: as fresh as can be. */
	level = client->level == CLIENT_SESSION && client->seen[0] == 0 ? CLIENT_LINEARIZABLE
									: client->level;
	memcpy(seen, client->seen, sizeof client->seen);
	if (client->wait_ms > 0) {
		(void)snprintf(wait, sizeof wait, "&wait_ms=%u", client->wait_ms);
	}
	(void)pthread_mutex_unlock(&client->lock);
	if (!(r->flags & CLIENT_READ) || level == CLIENT_LINEARIZABLE) {
		return NULL;
	}
	while (n < HTTP_REQUEST_FIELDS_MAX && wire->fields[n].name != NULL) {
		n++;
	}
	if (level == CLIENT_SESSION) {
		assert(n < HTTP_REQUEST_FIELDS_MAX);
		wire->fields[n] = (struct http_field){"Kluis-Min-Index", seen};
	}
	return x_asprintf("%s%sconsistency=%s%s", r->target,
		strchr(r->target, '?') == NULL ? "?" : "&", names[level], wait);
}

static int client_connect(
	struct client *client, size_t endpoint, struct http_conn **ret_conn, struct err *e)
{
	uint64_t deadline_ms = clock_monotonic_ms(&clock_system) + client->call_ms / 3;
	int fd, rc;

	if (client->dial == NULL) {
		return http_conn_open(
			client->addresses[endpoint], client->tls, deadline_ms, ret_conn, e);
	}
	rc = client->dial(client->dial_arg, &fd, e);
	return rc != 0 ? rc : http_conn_adopt(fd, ret_conn, e);
}

/* An idle connection to this end point, or NULL. */
static struct http_conn *client_take_idle(struct client *client, size_t endpoint)
{
	struct http_conn *conn = NULL;

	(void)pthread_mutex_lock(&client->lock);
	for (size_t i = client->n_idle; i-- > 0;) {
		if (client->idle[i].endpoint == endpoint) {
			conn = client->idle[i].conn;
			client->idle[i] = client->idle[--client->n_idle];
			break;
		}
	}
	(void)pthread_mutex_unlock(&client->lock);
	return conn;
}

static void client_give_back(struct client *client, struct http_conn *conn, size_t endpoint)
{
	(void)pthread_mutex_lock(&client->lock);
	if (http_conn_usable(conn) && client->n_idle < CLIENT_IDLE_MAX) {
		client->idle[client->n_idle++] = (struct client_idle){conn, endpoint};
		conn = NULL;
	}
	(void)pthread_mutex_unlock(&client->lock);
	http_conn_free(conn);
}

static size_t client_preferred(struct client *client)
{
	size_t preferred;

	(void)pthread_mutex_lock(&client->lock);
	preferred = client->preferred;
	(void)pthread_mutex_unlock(&client->lock);
	return preferred;
}

static void client_prefer(struct client *client, size_t endpoint)
{
	(void)pthread_mutex_lock(&client->lock);
	client->preferred = endpoint;
	(void)pthread_mutex_unlock(&client->lock);
}

/* KLUIS_ELINEAGE when the answer says it comes from another lineage than the pinned one. */
static int client_check_lineage(
	struct client *client, const struct http_answer *answer, struct err *e)
{
	struct bytes index = http_answer_header(answer, "Kluis-Index");
	char text[HEX_LEN(ID_BYTES) + 1], pinned[HEX_LEN(ID_BYTES) + 1];
	bool watch;

	(void)pthread_mutex_lock(&client->lock);
	watch = client->lineage_pinned;
	hex_encode(bytes_of(client->lineage, ID_BYTES), pinned);
	(void)pthread_mutex_unlock(&client->lock);
	if (!watch || index.len < HEX_LEN(ID_BYTES)) {
		return 0;
	}
	memcpy(text, index.data, HEX_LEN(ID_BYTES));
	text[HEX_LEN(ID_BYTES)] = 0;
	if (strcmp(text, pinned) == 0) {
		return 0;
	}
	return err_set(e, KLUIS_ELINEAGE,
		"the cluster was restored from a snapshot: lineage '%.8s' became '%.8s'", pinned,
		text);
}

/* One call's way through its attempts. */
struct client_try {
	struct client *client;
	const struct client_request *request;
	struct http_answer *answer;
	uint64_t deadline_ms;
	size_t endpoint, refused; /* refused: end points with an untrusted certificate, in a row. */
	size_t read_only;	  /* End points that take no writes. */
	size_t strange;		  /* Answers that no node gives. */
	unsigned round;		  /* Attempts so far. */
	bool signed_in;
	uint64_t wait_ms; /* Before the next attempt. */
};

enum try_next { TRY_DONE, TRY_AGAIN, TRY_ELSEWHERE };

/* What one end point says for good may be its own trouble, or its lie: each is asked once. */
static enum try_next try_each_once(struct client_try *t, size_t *refusals)
{
	bool fixed = t->request->endpoint != NULL && *t->request->endpoint != CLIENT_ANY_ENDPOINT;

	(*refusals)++;
	return fixed || (t->request->flags & CLIENT_ONCE) || *refusals >= t->client->n_addresses
		       ? TRY_DONE
		       : TRY_ELSEWHERE;
}

static enum try_next try_request(
	struct client_try *t, struct http_conn *conn, bool fresh, int *ret_rc, struct err *e)
{
	struct client *client = t->client;
	const struct client_request *r = t->request;
	struct http_request wire = {.method = r->method,
		.target = r->target,
		.host = client->tls == NULL ? "localhost" : client->addresses[t->endpoint],
		.type = r->type,
		.body = r->body,
		.answer_max = r->answer_max == 0 ? CLIENT_ANSWER_BYTES_MAX : r->answer_max};
	uint64_t attempt_ms = clock_monotonic_ms(&clock_system) + client->call_ms;
	char token[CLIENT_TOKEN_BYTES_MAX + 1], seen[CLIENT_INDEX_CHARS_MAX + 1];
	_cleanup_(x_freep) char *levelled = NULL;
	int rc;

	memcpy(wire.fields, r->fields, sizeof wire.fields);
	levelled = client_level_target(client, r, &wire, seen);
	wire.target = levelled == NULL ? r->target : levelled;
	if (r->flags & CLIENT_AUTH) {
		client_token(client, token);
		wire.bearer = token;
	}
	rc = http_conn_call(conn, &wire, attempt_ms, t->answer, e);
	secret_clear(token, sizeof token);
	client_give_back(client, conn, t->endpoint);
	*ret_rc = rc;
	if (rc == 0) {
		client_note_index(client, t->answer);
		client_prefer(client, t->endpoint);
		return TRY_DONE;
	}
	if (rc == KLUIS_ETOOLARGE) { /* Nobody asked for so much. */
		struct err why = *e;

		*ret_rc = err_set(e, KLUIS_EPROTO, "%s", why.text);
		return try_each_once(t, &t->strange);
	}
	if (r->flags & CLIENT_ONCE) {
		return TRY_DONE;
	}
	/* A kept-alive connection that the server closed meanwhile says nothing about it; one on
	 * which it was silent does. */
	return fresh || rc == KLUIS_ETIMEOUT ? TRY_ELSEWHERE : TRY_AGAIN;
}

static enum try_next try_connect(struct client_try *t, int *ret_rc, struct err *e)
{
	struct client *client = t->client;
	struct http_conn *conn = client_take_idle(client, t->endpoint);
	bool fresh = conn == NULL;
	int rc;

	if (fresh) {
		rc = client_connect(client, t->endpoint, &conn, e);
		if (rc != 0) {
			t->refused = rc == KLUIS_EVERIFY ? t->refused + 1 : 0;
			*ret_rc = rc;
			if (client->tls == NULL) { /* A socket of this machine: now or not. */
				return TRY_DONE;
			}
			/* Waiting makes no certificate better. */
			return t->refused >= client->n_addresses ? TRY_DONE : TRY_ELSEWHERE;
		}
	}
	t->refused = 0;
	return try_request(t, conn, fresh, ret_rc, e);
}

/* Signs in unless another thread did since `generation`. */
static int client_sign_in(struct client *client, uint64_t generation, struct err *e)
{
	uint64_t now;
	int rc = 0;

	if (client->login == NULL) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "not signed in");
	}
	(void)pthread_mutex_lock(&client->login_lock);
	(void)pthread_mutex_lock(&client->lock);
	now = client->token_generation;
	(void)pthread_mutex_unlock(&client->lock);
	if (now == generation) {
		rc = client->login(client->login_arg, client, e);
	}
	(void)pthread_mutex_unlock(&client->login_lock);
	return rc;
}

/* The answer came: is it the last word? */
static enum try_next try_judge(
	struct client_try *t, uint64_t generation, int *ret_rc, struct err *e)
{
	int status = t->answer->status;
	struct problem problem;

	if (!(t->request->flags & CLIENT_ANY_LINEAGE)) {
		*ret_rc = client_check_lineage(t->client, t->answer, e);
		if (*ret_rc != 0) {
			return TRY_DONE;
		}
	}
	if (status / 100 == 2 || status == 304) {
		*ret_rc = 0;
		return TRY_DONE;
	}
	if (status / 100 == 3) {
		*ret_rc = err_set(e, KLUIS_EPROTO,
			"the node at '%s' answers with a redirect (HTTP %d), as no node of Kluis "
			"does: it is not followed",
			t->client->addresses[t->endpoint], status);
		return try_each_once(t, &t->strange);
	}
	problem = problem_of(t->answer, e);
	*ret_rc = problem.code;
	if (status == 401 && (t->request->flags & CLIENT_AUTH) && !t->signed_in) {
		t->signed_in = true;
		*ret_rc = client_sign_in(t->client, generation, e);
		return *ret_rc == 0 ? TRY_AGAIN : TRY_DONE;
	}
	if (problem.code == KLUIS_EREADONLY) {
		/* The disk of that site is full, or all take no writes. */
		return try_each_once(t, &t->read_only);
	}
	if ((status != 503 && status != 504 && status != 429) ||
		(t->request->flags & CLIENT_ONCE)) {
		return TRY_DONE;
	}
	t->wait_ms = problem.retry_after_ms;
	return TRY_ELSEWHERE;
}

static void sleep_ms(uint64_t ms)
{
	struct timespec time = {
		.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

	(void)nanosleep(&time, NULL); /* Cut short by a signal: only an earlier attempt. */
}

/* Moves to the next end point, and waits once all had their turn. False: time is up. */
static bool try_move(struct client_try *t)
{
	uint64_t now_ms = clock_monotonic_ms(&clock_system), wait_ms = t->wait_ms;
	bool fixed = t->request->endpoint != NULL && *t->request->endpoint != CLIENT_ANY_ENDPOINT;
	unsigned turn;

	t->wait_ms = 0;
	t->round++;
	if (!fixed) {
		t->endpoint = (t->endpoint + 1) % t->client->n_addresses;
	}
	turn = t->round / (fixed ? 1 : (unsigned)t->client->n_addresses);
	if (wait_ms == 0 && (fixed || t->round % t->client->n_addresses == 0)) {
		wait_ms = turn > 6 ? CLIENT_BACKOFF_MAX_MS
				   : (uint64_t)CLIENT_BACKOFF_MIN_MS << (turn - 1);
		/* Spread, so that many clients do not come back at the same instant. */
		wait_ms += random_below(&random_system, wait_ms / 2 + 1);
	}
	wait_ms = wait_ms > CLIENT_BACKOFF_MAX_MS ? CLIENT_BACKOFF_MAX_MS : wait_ms;
	if (now_ms + wait_ms >= t->deadline_ms) {
		return false;
	}
	sleep_ms(wait_ms);
	return true;
}

static uint64_t client_generation(struct client *client, bool *ret_has_token)
{
	uint64_t generation;

	(void)pthread_mutex_lock(&client->lock);
	generation = client->token_generation;
	*ret_has_token = client->token[0] != 0;
	(void)pthread_mutex_unlock(&client->lock);
	return generation;
}

static int try_all(struct client_try *t, struct err *e)
{
	int rc = 0;

	for (;;) {
		bool has_token;
		uint64_t generation = client_generation(t->client, &has_token);
		enum try_next next;

		if ((t->request->flags & CLIENT_AUTH) && !has_token) {
			if (t->signed_in) {
				return err_set(e, KLUIS_EUNAUTHENTICATED, "not signed in");
			}
			t->signed_in = true;
			rc = client_sign_in(t->client, generation, e);
			if (rc != 0) {
				return rc;
			}
			continue;
		}
		next = try_connect(t, &rc, e);
		if (next == TRY_DONE && rc == 0) {
			next = try_judge(t, generation, &rc, e);
		}
		if (next == TRY_DONE || (next == TRY_ELSEWHERE && !try_move(t))) {
			return rc;
		}
	}
}

int client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e)
{
	struct client_try t = {.client = client,
		.request = request,
		.answer = answer,
		.deadline_ms = clock_monotonic_ms(&clock_system) + client->give_up_ms};
	struct err local = {0};
	int rc;

	t.endpoint = request->endpoint != NULL && *request->endpoint != CLIENT_ANY_ENDPOINT
			     ? *request->endpoint
			     : client_preferred(client);
	assert(t.endpoint < client->n_addresses);
	rc = try_all(&t, &local);
	if (request->endpoint != NULL) {
		*request->endpoint = t.endpoint;
	}
	if (rc != 0 && e != NULL) {
		*e = local;
	}
	return rc;
}
