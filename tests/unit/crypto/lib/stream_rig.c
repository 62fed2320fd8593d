#include "tests/unit/crypto/lib/stream_rig.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/test.h"

uint8_t pattern_at(uint64_t at)
{
	return (uint8_t)(at * 2654435761U >> 13);
}

static void end_take(struct end *end, struct bytes bytes)
{
	if (!end->check) {
		buf_append_bytes(&end->got, bytes);
		return;
	}
	for (size_t i = 0; i < bytes.len; i++) {
		if (bytes.data[i] != pattern_at(end->checked + i)) {
			fail_msg("byte %zu differs", (size_t)end->checked + i);
		}
	}
	end->checked += bytes.len;
}

void end_produce(struct end *end)
{
	static uint8_t piece[40000];

	while (end->produce_len > 0 && tls_stream_writable(end->stream)) {
		size_t len = 1 + (size_t)(end->produced * 7919 % sizeof piece);

		len = len < end->produce_len ? len : end->produce_len;
		for (size_t i = 0; i < len; i++) {
			piece[i] = pattern_at(end->produced + i);
		}
		tls_stream_write(end->stream, bytes_of(piece, len));
		end->produced += len;
		end->produce_len -= len;
		if (tls_stream_unsent(end->stream) > end->unsent_max) {
			end->unsent_max = tls_stream_unsent(end->stream);
		}
	}
	tls_stream_flush(end->stream);
}

static void end_ready_cb(struct tls_stream *stream)
{
	struct end *end = tls_stream_data(stream);

	assert_ptr_equal(end->stream, stream);
	end->readies++;
	if (end->abort_in == ABORT_READY) {
		tls_stream_abort(stream);
		return;
	}
	end_produce(end);
}

static size_t end_read_cb(struct tls_stream *stream, struct bytes bytes)
{
	struct end *end = tls_stream_data(stream);
	size_t len = end->take_max == 0 || bytes.len < end->take_max ? bytes.len : end->take_max;

	assert_true(bytes.len > 0);
	assert_int_equal(end->readies, 1);
	assert_int_equal(end->ends, 0);
	if (end->abort_in == ABORT_READ) {
		tls_stream_abort(stream);
		return 0;
	}
	if (end->quiet) {
		return 0;
	}
	end_take(end, bytes_of(bytes.data, len));
	return len;
}

static void end_drain_cb(struct tls_stream *stream)
{
	struct end *end = tls_stream_data(stream);

	end->drains++;
	assert_true(tls_stream_unsent(stream) <= TLS_STREAM_LOW_BYTES);
	if (end->abort_in == ABORT_DRAIN) {
		tls_stream_abort(stream);
		return;
	}
	end_produce(end);
}

static void end_end_cb(struct tls_stream *stream, int rc, const struct err *e)
{
	struct end *end = tls_stream_data(stream);

	end->ends++;
	end->end_rc = rc;
	assert_int_equal(e == NULL, rc == 0);
	if (end->last_words != NULL) {
		tls_stream_write(stream, bytes_str(end->last_words));
	}
	(void)snprintf(end->why, sizeof end->why, "%s", e == NULL ? "" : e->text);
	if (end->abort_in == ABORT_END) {
		tls_stream_abort(stream);
	} else if (end->close_at_end) {
		tls_stream_close(stream);
	}
}

static void end_closed_cb(struct tls_stream *stream)
{
	struct end *end = tls_stream_data(stream);

	end->closes++;
	end->stream = NULL;
}

static const struct tls_stream_handler end_handler = {
	end_ready_cb, end_read_cb, end_drain_cb, end_end_cb, end_closed_cb};

void fixture_accept_cb(uv_stream_t *listener, int status)
{
	struct fixture *f = listener->data;
	struct err e;

	assert_int_equal(status, 0);
	assert_null(f->server.stream);
	assert_int_equal(tls_stream_accept(listener, f->server_ctx, &end_handler, &f->server,
				 &f->server.stream, &e),
		0);
	assert_int_equal(f->server.readies, 0);
}

int fixture_setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	assert_int_equal(uv_loop_init(&f->loop), 0);
	f->port = loop_listen(&f->loop, &f->listener.tcp, fixture_accept_cb);
	f->listener.tcp.data = f;
	certs_ca(&f->ca);
	certs_server(&f->ca, &f->server_identity);
	*state = f;
	return 0;
}

void fixture_tls(struct fixture *f)
{
	f->server_ctx = certs_api_ctx(&f->server_identity, NULL);
	f->client_ctx = certs_client_ctx(&f->ca, "h2");
}

void fixture_dial(struct fixture *f, const char *name)
{
	struct sockaddr_in address;
	struct err e;

	assert_int_equal(uv_ip4_addr("127.0.0.1", (int)f->port, &address), 0);
	assert_int_equal(tls_stream_dial(&f->loop, (const struct sockaddr *)&address, f->client_ctx,
				 name, &end_handler, &f->client, &f->client.stream, &e),
		0);
}

bool both_ready(void *arg)
{
	struct fixture *f = arg;

	return f->client.readies == 1 && f->server.readies == 1;
}

bool both_closed(void *arg)
{
	struct fixture *f = arg;

	return f->client.closes == 1 && f->server.closes == 1;
}

void fixture_connect(struct fixture *f)
{
	fixture_dial(f, "127.0.0.1");
	loop_until(&f->loop, both_ready, f, "both ready");
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	if (f->server.stream != NULL) {
		tls_stream_abort(f->server.stream);
	}
	if (f->client.stream != NULL) {
		tls_stream_abort(f->client.stream);
	}
	uv_close((uv_handle_t *)&f->listener, NULL);
	loop_end(&f->loop);
	assert_null(f->server.stream);
	assert_null(f->client.stream);
	tls_ctx_unref(f->server_ctx);
	tls_ctx_unref(f->client_ctx);
	buf_release(&f->server.got);
	buf_release(&f->client.got);
	pki_identity_release(&f->ca);
	pki_identity_release(&f->server_identity);
	free(f);
	return 0;
}

bool server_ended(void *arg)
{
	struct fixture *f = arg;

	return f->server.ends == 1;
}

bool client_ended(void *arg)
{
	struct fixture *f = arg;

	return f->client.ends == 1;
}

bool client_closed(void *arg)
{
	struct fixture *f = arg;

	return f->client.closes == 1;
}
