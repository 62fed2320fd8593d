/* One request of a client, to the node where it stands. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/client/problem.h"
#include "tests/chaos/chaos_client.h"

enum { CALL_CONNECT_MS = 1500 };

void chaos_call_release(struct chaos_call *call)
{
	http_answer_release(&call->answer);
}

void chaos_call_target(struct chaos_call *call, const struct chaos_client *client, unsigned vault,
	const char *fmt, ...)
{
	char id[HEX_LEN(ID_BYTES) + 1];
	va_list args;
	int len;

	hex_encode(bytes_of(client->world->vaults[vault].id, ID_BYTES), id);
	len = snprintf(call->target, sizeof call->target, "/v1/vaults/%s/", id);
	va_start(args, fmt);
	len += vsnprintf(call->target + len, sizeof call->target - (size_t)len, fmt, args);
	va_end(args);
	assert((size_t)len < sizeof call->target);
}

/* "<lineage>:<index>" */
static uint64_t answer_index(const struct http_answer *answer)
{
	struct bytes value = http_answer_header(answer, "Kluis-Index");
	const uint8_t *colon = value.len == 0 ? NULL : memchr(value.data, ':', value.len);
	uint64_t index;

	if (colon == NULL ||
		u64_parse(bytes_of(colon + 1, (size_t)(value.data + value.len - colon - 1)),
			UINT64_MAX, &index) != 0) {
		return 0;
	}
	return index;
}

static void call_take_answer(struct chaos_client *client, struct chaos_call *call)
{
	struct bytes staleness = http_answer_header(&call->answer, "Kluis-Staleness-Ms");
	struct err ignored = {0};

	call->state = CALL_ANSWERED;
	call->rc = call->answer.status / 100 == 2 ? 0 : problem_of(&call->answer, &ignored).code;
	call->index = answer_index(&call->answer);
	if (call->rc == 0 && call->index > client->seen_index) {
		client->seen_index = call->index;
	}
	if (staleness.len > 0 && u64_parse(staleness, UINT64_MAX, &call->staleness_ms) != 0) {
		call->staleness_ms = UINT64_MAX;
	}
	if (call->rc == KLUIS_EUNAUTHENTICATED &&
		api_json(client->world->session, "GET", "/v1/sessions", NULL, CLIENT_AUTH, NULL,
			&ignored) != 0) {
		return; /* Not signed in again: the next call is refused, too, and tries again. */
	}
}

/* Elsewhere next time: after trouble, and now and then without. */
static void client_move(struct chaos_client *client)
{
	client->at = (unsigned)random_below(&client->random.random, client->world->n_addresses);
}

void chaos_call_run(struct chaos_client *client, struct chaos_call *call)
{
	struct chaos_world *world = client->world;
	struct http_conn **conn = &client->conns[client->at];
	char token[CLIENT_TOKEN_BYTES_MAX + 1];
	struct http_request request = {.method = call->method,
		.target = call->target,
		.host = world->addresses[client->at],
		.bearer = token,
		.type = call->type,
		.body = call->body,
		.answer_max = call->answer_max};
	struct err e = {0};

	memcpy(request.fields, call->fields, sizeof call->fields);
	call->state = CALL_NOT_SENT;
	call->rc = 0;
	if (*conn == NULL) {
		call->rc = http_conn_open(request.host, world->tls,
			clock_monotonic_ms(&clock_system) + CALL_CONNECT_MS, conn, &e);
	}
	call->begin_ns = history_now_ns();
	if (call->rc == 0) {
		client_token(world->session, token);
		call->rc = http_conn_call(*conn, &request,
			clock_monotonic_ms(&clock_system) + client->attempt_ms, &call->answer, &e);
		secret_clear(token, sizeof token);
		call->state = CALL_LOST;
	}
	call->end_ns = history_now_ns();
	if (call->rc == 0) {
		call_take_answer(client, call);
	}
	if (*conn != NULL && !http_conn_usable(*conn)) {
		http_conn_free(*conn);
		*conn = NULL;
	}
}

void chaos_call_record(struct chaos_client *client, const struct chaos_call *call, const char *op,
	unsigned vault, const char *outcome)
{
	struct buf *line = &client->line;

	buf_clear(line);
	buf_printf(line, "{\"o\":\"%s\",\"c\":%u,\"v\":%u,\"e\":%u,\"t\":[%llu,%llu],\"x\":\"%s\"",
		op, client->number, vault, client->at + 1, (unsigned long long)call->begin_ns,
		(unsigned long long)call->end_ns, outcome);
	if (call->rc != 0) {
		buf_printf(line, ",\"k\":\"%s\"", err_name(call->rc));
	} else {
		buf_printf(line, ",\"i\":%llu", (unsigned long long)call->index);
	}
	if (call->rc != 0 || random_below(&client->random.random, 8) == 0) {
		client_move(client);
	}
}
