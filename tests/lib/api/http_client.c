#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/err.h"
#include "tests/lib/api/http_client.h"

enum { WAIT_MS = 60000, READ_BYTES = 65536 };

void answer_release(struct answer *answer)
{
	buf_release(&answer->head);
	buf_release(&answer->body);
	json_decref(answer->json);
	answer->json = NULL;
}

const char *answer_field(struct answer *answer, const char *name)
{
	static char value[1024];
	const char *line = buf_str(&answer->head);
	size_t len = strlen(name);

	while ((line = strstr(line, "\r\n")) != NULL) {
		line += 2;
		if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
			size_t n = strcspn(line + len + 2, "\r");

			assert_true(n < sizeof value);
			memcpy(value, line + len + 2, n);
			value[n] = '\0';
			return value;
		}
	}
	return "";
}

const char *answer_text(struct answer *answer, const char *name)
{
	const json_t *value = json_object_get(answer->json, name);

	if (!json_is_string(value)) {
		fail_msg("no text '%s' in: %s", name, buf_str(&answer->body));
	}
	return json_string_value(value);
}

json_int_t answer_number(struct answer *answer, const char *name)
{
	const json_t *value = json_object_get(answer->json, name);

	if (!json_is_integer(value)) {
		fail_msg("no number '%s' in: %s", name, buf_str(&answer->body));
	}
	return json_integer_value(value);
}

void answer_expect(struct answer answer, int status, const char *code)
{
	if (answer.status != status) {
		fail_msg("%d, wanted %d: %s", answer.status, status, buf_str(&answer.body));
	}
	if (code != NULL) {
		assert_string_equal(answer_text(&answer, "code"), code);
	}
	answer_release(&answer);
}

static uint64_t deadline(void)
{
	return clock_monotonic_ms(&clock_system) + WAIT_MS;
}

void http_client_send(struct http_client *client, struct bytes bytes)
{
	struct err e = {0};
	int rc = tls_client_write(client->tls, bytes, deadline(), &e);

	/* A server that refuses what comes may close before it has all. */
	if (rc != 0 && rc != KLUIS_ECLOSED && rc != KLUIS_EIO) {
		fail_msg("%s", e.text);
	}
}

/* More input; false at the end of the connection. */
static bool fill(struct http_client *client)
{
	uint8_t *to = buf_extend(&client->in, READ_BYTES);
	struct err e = {0};
	size_t n = 0;
	int rc = tls_client_read(client->tls, to, READ_BYTES, deadline(), &n, &e);

	client->in.len -= READ_BYTES - (rc == 0 ? n : 0);
	if (rc == KLUIS_ETIMEOUT) {
		fail_msg("no answer in time");
	}
	return rc == 0 && n > 0;
}

bool http_client_take(struct http_client *client, size_t n, struct buf *to)
{
	while (client->in.len < n) {
		if (!fill(client)) {
			return false;
		}
	}
	buf_append(to, client->in.data, n);
	buf_consume(&client->in, n);
	return true;
}

static bool take_line(struct http_client *client, struct buf *to)
{
	for (;;) {
		const uint8_t *end = client->in.len < 2
					     ? NULL
					     : memmem(client->in.data, client->in.len, "\r\n", 2);

		if (end != NULL) {
			return http_client_take(client, (size_t)(end - client->in.data) + 2, to);
		}
		if (!fill(client)) {
			return false;
		}
	}
}

static void take_chunks(struct http_client *client, struct answer *answer)
{
	for (;;) {
		struct buf line = BUF_INIT;
		size_t n;

		assert_true(take_line(client, &line));
		n = strtoul(buf_str(&line), NULL, 16);
		buf_release(&line);
		assert_true(http_client_take(client, n, &answer->body));
		assert_true(take_line(client, &line));
		buf_release(&line);
		if (n == 0) {
			return;
		}
	}
}

struct answer http_client_receive(struct http_client *client, bool head_only)
{
	struct answer answer = {0};
	const char *type;

	do {
		answer_release(&answer);
		do {
			if (!take_line(client, &answer.head)) {
				return answer;
			}
		} while (answer.head.len < 4 ||
			 memcmp(answer.head.data + answer.head.len - 4, "\r\n\r\n", 4) != 0);
		assert_memory_equal(answer.head.data, "HTTP/1.1 ", 9);
		answer.status = (int)strtol((char *)answer.head.data + 9, NULL, 10);
	} while (answer.status == 100);
	if (!head_only && answer.status != 101 && answer.status != 204 && answer.status != 304) {
		if (strcmp(answer_field(&answer, "transfer-encoding"), "chunked") == 0) {
			take_chunks(client, &answer);
		} else {
			size_t n = strtoul(answer_field(&answer, "content-length"), NULL, 10);

			assert_true(http_client_take(client, n, &answer.body));
		}
	}
	type = answer_field(&answer, "content-type");
	if (strstr(type, "json") != NULL && answer.body.len > 0) {
		answer.json = json_loadb(
			(char *)answer.body.data, answer.body.len, JSON_REJECT_DUPLICATES, NULL);
		assert_non_null(answer.json);
	}
	return answer;
}

struct answer http_client_call(struct http_client *client, const char *verb, const char *target,
	const char *fields, struct bytes body)
{
	struct buf text = BUF_INIT;

	buf_printf(&text, "%s %s HTTP/1.1\r\nHost: node\r\n", verb, target);
	if (client->token[0] != '\0') {
		buf_printf(&text, "Authorization: Bearer %s\r\n", client->token);
	}
	if (body.data != NULL) {
		buf_printf(&text, "Content-Length: %zu\r\n", body.len);
	}
	buf_printf(&text, "%s\r\n", fields);
	buf_append_bytes(&text, body);
	http_client_send(client, buf_bytes(&text));
	buf_release(&text);
	return http_client_receive(client, strcmp(verb, "HEAD") == 0);
}

struct answer http_client_json(struct http_client *client, const char *verb, const char *target,
	const char *fields, const char *json)
{
	struct buf all = BUF_INIT;
	struct answer answer;

	buf_printf(&all, "Content-Type: application/json\r\n%s", fields);
	answer = http_client_call(client, verb, target, buf_str(&all), bytes_str(json));
	buf_release(&all);
	return answer;
}

bool http_client_closed(struct http_client *client)
{
	return client->in.len == 0 && !fill(client);
}

void http_client_release(struct http_client *client)
{
	tls_client_free(client->tls);
	buf_release(&client->in);
}
