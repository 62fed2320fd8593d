/* Requests that two readers could read as different ones (RFC 9112 sections 2.2, 5, 6, 7 and 11.2;
 * CL and TE, folds, bare line ends, chunks): one answer that refuses them, then the end of the
 * connection, whatever stands behind them and in whatever pieces it comes. */
#include "tests/lib/test.h"

#include <string.h>

#include "base/limits.h"
#include "tests/lib/api/node.h"

#define LINE   "POST /v1/logout HTTP/1.1\r\n"
#define POST   LINE "Host: a\r\n"
#define BEHIND "GET /v1/version HTTP/1.1\r\nHost: a\r\n\r\n"

/* The status of the first answer and how many came at all; the connection must end. */
static int exchange(struct api_node *node, struct bytes text, bool singly, unsigned *ret_answers)
{
	struct http_client client;
	int status = 0;

	*ret_answers = 0;
	api_node_connect(node, "http/1.1", &client);
	for (size_t i = 0; singly && i < text.len; i++) {
		http_client_send(&client, bytes_of(text.data + i, 1));
	}
	if (!singly) {
		http_client_send(&client, text);
	}
	for (;;) {
		struct answer answer = http_client_receive(&client, false);
		bool last = answer.status == 0 ||
			    strcmp(answer_field(&answer, "connection"), "close") == 0;

		*ret_answers += answer.status != 0;
		status = status == 0 ? answer.status : status;
		if (last && answer.status != 0) {
			assert_true(http_client_closed(&client));
		}
		answer_release(&answer);
		if (last) {
			break;
		}
	}
	http_client_release(&client);
	return status;
}

static void refused(struct api_node *node, const void *data, size_t len)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	buf_append(&text, data, len);
	buf_append_bytes(&text, bytes_str(BEHIND));
	for (unsigned singly = 0; singly < 2; singly++) {
		unsigned answers;
		int status = exchange(node, buf_bytes(&text), singly != 0, &answers);

		if (status != 400 || answers != 1) {
			fail_msg("%d, %u answers to: %.*s", status, answers, (int)len,
				(const char *)data);
		}
	}
}

static void test_heads(void **state)
{
	static const char *const inputs[] = {
		/* Length and coding. */
		POST "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		POST "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
		POST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		POST "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}",
		POST "Transfer-Encoding: identity\r\n\r\n",
		POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
		POST "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
		POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
		POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
		POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
		POST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
		POST "Transfer-Encoding: \x0b"
		     "chunked\r\n\r\n0\r\n\r\n",
		POST "Transfer-Encoding:\r\n\r\n",
		POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		POST " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		POST "\tTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		POST "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
		POST "Transfer-Encoding\r\n: chunked\r\n\r\n0\r\n\r\n",
		POST "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		POST "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		/* Lengths. */
		POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		POST "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
		POST "Content-Length: 2, 2\r\n\r\nab",
		POST "Content-Length: 2 2\r\n\r\nab",
		POST "Content-Length: +2\r\n\r\nab",
		POST "Content-Length: -1\r\n\r\nab",
		POST "Content-Length: 0x2\r\n\r\nab",
		POST "Content-Length: 2.0\r\n\r\nab",
		POST "Content-Length: 2e0\r\n\r\nab",
		POST "Content-Length: \r\n\r\nab",
		POST "Content-Length: 2\x0b\r\n\r\nab",
		POST "Content-Length: 18446744073709551618\r\n\r\nab",
		POST "Content-Length: 9223372036854775808\r\n\r\nab",
		POST "Content-Length : 2\r\n\r\nab",
		POST "Content-Length\t: 2\r\n\r\nab",
		POST "Content-Length:\r\n 2\r\n\r\nab",
		/* Lines and fields. */
		"GET /healthz HTTP/1.1\nHost: a\n\n",
		"GET /healthz HTTP/1.1\r\nHost: a\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: a\r\n\n",
		"GET /healthz HTTP/1.1\rHost: a\r\r",
		"GET /healthz HTTP/1.1\r\r\nHost: a\r\n\r\n",
		"\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: a\r\nX(y): z\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: a\r\nX\x80: z\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n",
		"GET /healthz HTTP/1.1\r\n Host: a\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
		"GET /healthz HTTP/1.1\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: a, b\r\n\r\n",
		"GET http://b/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
		/* Request lines. */
		"GET /healthz HTTP/1.1 \r\nHost: a\r\n\r\n",
		"GET  /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /healthz  HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET\t/healthz\tHTTP/1.1\r\nHost: a\r\n\r\n",
		" GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /healthz HTTP/1.1 X: y\r\nHost: a\r\n\r\n",
		"GET /healthz http/1.1\r\nHost: a\r\n\r\n",
		"GET /healthz HTTP/1.10\r\nHost: a\r\n\r\n",
		"GET /healthz HTTP/01.1\r\nHost: a\r\n\r\n",
		"GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n",
		"GET /healthz HTTP/0.9\r\nHost: a\r\n\r\n",
		"GET /healthz\r\n\r\n",
		"GET\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"BREW /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
		"\x16\x03\x01\x02\r\n\r\n",
		/* HTTP/1.0 does not know codings. */
		"POST /v1/logout HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST /v1/logout HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: "
		"2\r\n\r\nab",
	};

	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		refused(*state, inputs[i], strlen(inputs[i]));
	}
	refused(*state, "GET /healthz HTTP/1.1\r\nHost: a\r\nX: \0y\r\n\r\n", 41);
	refused(*state, "GET /heal\0thz HTTP/1.1\r\nHost: a\r\n\r\n", 35);
}

/* The head is fine, the chunks are not. */
static void test_chunks(void **state)
{
	static const char *const inputs[] = {
		"0x2\r\nab\r\n0\r\n\r\n",
		"+2\r\nab\r\n0\r\n\r\n",
		"-2\r\nab\r\n0\r\n\r\n",
		" 2\r\nab\r\n0\r\n\r\n",
		"2 \r\nab\r\n0\r\n\r\n",
		"2\nab\r\n0\r\n\r\n",
		"2\r\nab\n0\r\n\r\n",
		"2\r\nab0\r\n\r\n",
		"2\r\nabc\r\n0\r\n\r\n",
		"2\r\nab\r\n0\n\r\n",
		"2\r\nab\r\n0\r\n\n",
		"2\r\nab\r\n\r\n\r\n",
		"\r\nab\r\n0\r\n\r\n",
		";x\r\nab\r\n0\r\n\r\n",
		"2;x\ny\r\nab\r\n0\r\n\r\n",
		"2;x\ry\r\nab\r\n0\r\n\r\n",
		"2;\x01\r\nab\r\n0\r\n\r\n",
		"2\r\rab\r\n0\r\n\r\n",
		"g\r\nab\r\n0\r\n\r\n",
		"100000000\r\nab\r\n0\r\n\r\n",
		"10000000000000002\r\nab\r\n0\r\n\r\n",
		"000000002\r\nab\r\n0\r\n\r\n",
		"ffffffffffffffff\r\nab\r\n0\r\n\r\n",
		"2\r\nab\r\n0\r\nX: y\n\r\n",
		"2\r\nab\r\n0\r\nX: y\r\r\n\r\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;

		buf_printf(&text,
			"POST /v1/login/device/start HTTP/1.1\r\nHost: a\r\nContent-Type: "
			"application/json\r\nTransfer-Encoding: chunked\r\n\r\n%s",
			inputs[i]);
		refused(*state, text.data, text.len);
	}
}

/* Extensions and trailers without end. */
static void test_chunk_overflow(void **state)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	for (unsigned trailer = 0; trailer < 2; trailer++) {
		buf_clear(&text);
		buf_printf(&text,
			"POST /v1/login/device/start HTTP/1.1\r\nHost: a\r\nContent-Type: "
			"application/json\r\nTransfer-Encoding: chunked\r\n\r\n%s",
			trailer != 0 ? "2\r\n{}\r\n0\r\nX: " : "2;x=");
		memset(buf_extend(&text, 5000), 'x', 5000);
		buf_printf(&text, "\r\n{}\r\n0\r\n\r\n");
		refused(*state, text.data, text.len);
	}
	/* Many small ones. */
	buf_clear(&text);
	buf_printf(&text, "POST /v1/login/device/start HTTP/1.1\r\nHost: a\r\nContent-Type: "
			  "application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (unsigned i = 0; i < 1000; i++) {
		buf_printf(&text, "1;extension\r\n{\r\n");
	}
	buf_printf(&text, "0\r\n\r\n");
	refused(*state, text.data, text.len);
}

/* A body that is not wanted is never read as the next request. */
static void test_unread_bodies(void **state)
{
	static const struct {
		const char *head;
		int status;
	} rows[] = {
		{"GET /healthz HTTP/1.1\r\nHost: a\r\n", 413},
		{"POST /v1/logout HTTP/1.1\r\nHost: a\r\n", 401},
		{"POST /nowhere HTTP/1.1\r\nHost: a\r\n", 404},
		{"DELETE /healthz HTTP/1.1\r\nHost: a\r\n", 405},
		{"POST /v1/login/device/start HTTP/1.1\r\nHost: a\r\n", 415},
		{"POST /v1/logout HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n", 401},
		{"GET /healthz HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, "
		 "HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
			413},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (unsigned chunked = 0; chunked < 2; chunked++) {
			_cleanup_(buf_release) struct buf text = BUF_INIT;
			unsigned answers;
			int status;

			buf_printf(&text,
				chunked != 0 ? "%sTransfer-Encoding: chunked\r\n\r\n"
					     : "%sContent-Length: %zu\r\n\r\n",
				rows[i].head, strlen(BEHIND));
			buf_printf(&text, chunked != 0 ? "%zx\r\n" BEHIND "\r\n0\r\n\r\n" : BEHIND,
				strlen(BEHIND));
			status = exchange(*state, buf_bytes(&text), false, &answers);
			if (status != rows[i].status || answers != 1) {
				fail_msg("%d, %u answers to: %s", status, answers, buf_str(&text));
			}
		}
	}
}

/* What is odd but has one meaning stays allowed. */
static void test_allowed(void **state)
{
	static const struct {
		const char *text;
		int status;
		unsigned answers;
	} rows[] = {
		{"GET /healthz HTTP/1.1\r\nhOsT:a\r\nX:\r\nY: \t z \t\r\nConnection: "
		 "close\r\n\r\n",
			200, 1},
		{"POST /v1/login/device/start HTTP/1.1\r\nHost: a\r\nContent-Type: "
		 "application/json\r\nTransfer-Encoding: \tCHUNKED \r\n\r\n1;a=\"b\"\r\n{\r\n"
		 "00000001\r\n}\r\n0\r\nContent-Length: 7\r\nX: y\r\n\r\nGET /healthz "
		 "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			400, 2},
		{"GET /healthz HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, websocket\r\nConnection: "
		 "Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nGET "
		 "/healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			200, 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned answers;
		int status = exchange(*state, bytes_str(rows[i].text), false, &answers);

		if (status != rows[i].status || answers != rows[i].answers) {
			fail_msg("%d, %u answers to: %s", status, answers, rows[i].text);
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_heads, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(test_chunks, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(
			test_chunk_overflow, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(
			test_unread_bodies, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(test_allowed, api_node_setup, api_node_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
