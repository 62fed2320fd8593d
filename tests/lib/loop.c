#include "tests/lib/loop.h"

#include <arpa/inet.h>
#include <signal.h>

#include "base/mem.h"
#include "tests/lib/test.h"

/* Of a machine under load and a build with checks; what never comes is told all the same. */
enum { LOOP_PATIENCE_MS = 60000 };

/* On the heap: it is gone only when the loop has closed it. */
struct loop_bell {
	uv_timer_t timer;
	bool rang;
};

static void loop_bell_cb(uv_timer_t *timer)
{
	((struct loop_bell *)timer->data)->rang = true;
}

static void loop_bell_closed_cb(uv_handle_t *handle)
{
	free(handle->data);
}

static struct loop_bell *loop_bell_new(uv_loop_t *loop, uint64_t ms)
{
	struct loop_bell *bell = x_calloc(1, sizeof *bell);

	assert_int_equal(uv_timer_init(loop, &bell->timer), 0);
	bell->timer.data = bell;
	uv_update_time(loop);
	assert_int_equal(uv_timer_start(&bell->timer, loop_bell_cb, ms, 0), 0);
	return bell;
}

static void loop_bell_free(struct loop_bell *bell)
{
	uv_close((uv_handle_t *)&bell->timer, loop_bell_closed_cb);
}

void loop_until(uv_loop_t *loop, bool (*is_true)(void *arg), void *arg, const char *what)
{
	struct loop_bell *bell = loop_bell_new(loop, LOOP_PATIENCE_MS);

	while (!is_true(arg)) {
		if (bell->rang) {
			fail_msg("waited in vain: %s", what);
		}
		(void)uv_run(loop, UV_RUN_ONCE);
	}
	loop_bell_free(bell);
}

void loop_for(uv_loop_t *loop, uint64_t ms)
{
	struct loop_bell *bell = loop_bell_new(loop, ms);

	while (!bell->rang) {
		(void)uv_run(loop, UV_RUN_ONCE);
	}
	loop_bell_free(bell);
}

void loop_end(uv_loop_t *loop)
{
	struct loop_bell *bell = loop_bell_new(loop, LOOP_PATIENCE_MS);

	uv_unref((uv_handle_t *)&bell->timer);
	while (uv_run(loop, UV_RUN_ONCE) != 0) {
		if (bell->rang) {
			uv_print_all_handles(loop, stderr);
			fail_msg("the loop does not end");
		}
	}
	loop_bell_free(bell);
	(void)uv_run(loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(loop), 0);
}

unsigned loop_listen(uv_loop_t *loop, uv_tcp_t *listener, uv_connection_cb cb)
{
	struct sockaddr_in address;
	int len = sizeof address;

	(void)signal(SIGPIPE, SIG_IGN); /* As every program with streams does. */
	assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &address), 0);
	assert_int_equal(uv_tcp_init(loop, listener), 0);
	assert_int_equal(uv_tcp_bind(listener, (const struct sockaddr *)&address, 0), 0);
	assert_int_equal(uv_listen((uv_stream_t *)listener, 128, cb), 0);
	assert_int_equal(uv_tcp_getsockname(listener, (struct sockaddr *)&address, &len), 0);
	return ntohs(address.sin_port);
}
