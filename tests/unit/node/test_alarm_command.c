/* Alarms told by a real program: once each, in order, again when they last, never two at a time;
 * programs that fail, hang or are not there. */
#include "tests/lib/test.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "node/alarm_command.h"
#include "node/json.h"
#include "tests/lib/loop.h"

struct world {
	uv_loop_t loop;
	struct mailbox home;
	struct pool *pool;
	char *dir, *program, *out;
	struct alarm_command *command;
	json_t *now; /* What there is; under the loop's and the pool's one thread each. */
	pthread_mutex_t lock;
	bool closed;
};

static int alarms_now(void *data, json_t **ret_items, struct err *e)
{
	struct world *w = data;

	(void)e;
	(void)pthread_mutex_lock(&w->lock);
	*ret_items = json_deep_copy(w->now);
	(void)pthread_mutex_unlock(&w->lock);
	return 0;
}

static void set_now(struct world *w, json_t *items)
{
	(void)pthread_mutex_lock(&w->lock);
	json_decref(w->now);
	w->now = items;
	(void)pthread_mutex_unlock(&w->lock);
}

static json_t *alarm_item(const char *name, const char *severity)
{
	return json_pack("{s:s, s:s, s:s}", "name", name, "severity", severity, "text", "why");
}

/* The program appends what it is told to `out`, then does the rest. */
static void program(struct world *w, const char *rest)
{
	_cleanup_(x_freep) char *text = x_asprintf("#!/bin/sh\ncat >>'%s'\n%s\n", w->out, rest);

	assert_int_equal(file_write(w->program, bytes_str(text), 0755, NULL), 0);
}

static void world_open(struct world *w)
{
	memset(w, 0, sizeof *w);
	(void)pthread_mutex_init(&w->lock, NULL);
	assert_int_equal(uv_loop_init(&w->loop), 0);
	assert_int_equal(mailbox_init(&w->home, &w->loop), 0);
	w->pool = pool_new("test", 1, 8);
	w->dir = scratch_new("alarms");
	w->program = x_asprintf("%s/program", w->dir);
	w->out = x_asprintf("%s/out", w->dir);
	w->now = json_array();
	program(w, "");
}

static void start(struct world *w, uint64_t repeat_ms, uint64_t run_ms)
{
	const struct alarm_command_config config = {.path = w->program,
		.site = "ams",
		.node = 7,
		.look_ms = 10,
		.run_ms = run_ms,
		.pause_ms = 20,
		.repeat_ms = repeat_ms,
		.alarms = alarms_now,
		.data = w};

	assert_int_equal(
		alarm_command_start(&w->command, &config, &w->loop, &w->home, w->pool, NULL), 0);
}

static void closed_cb(void *data)
{
	((struct world *)data)->closed = true;
}

static bool is_closed(void *data)
{
	return ((struct world *)data)->closed;
}

static void world_close(struct world *w)
{
	alarm_command_close(w->command, closed_cb, w);
	loop_until(&w->loop, is_closed, w, "close");
	mailbox_close(&w->home, NULL);
	loop_end(&w->loop);
	pool_free(w->pool);
	json_decref(w->now);
	scratch_free(w->dir);
	free(w->program);
	free(w->out);
}

/* How many lines there are, and the nth. */
static size_t lines(struct world *w, size_t n, json_t **ret_line)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	size_t count = 0;

	if (file_read(w->out, 1 << 20, &text, NULL) != 0) {
		return 0;
	}
	for (const char *at = buf_str(&text); *at != 0; count++) {
		size_t len = strcspn(at, "\n");

		if (count == n && ret_line != NULL) {
			*ret_line = json_loadb(at, len, 0, NULL);
		}
		at += len + (at[len] == '\n');
	}
	return count;
}

struct want {
	struct world *w;
	size_t n;
};

static bool has_lines(void *data)
{
	struct want *want = data;

	return lines(want->w, 0, NULL) >= want->n;
}

static void wait_lines(struct world *w, size_t n)
{
	struct want want = {w, n};

	loop_until(&w->loop, has_lines, &want, "lines");
}

static void assert_line(
	struct world *w, size_t n, const char *name, const char *state, const char *severity)
{
	json_t *line = NULL;

	assert_true(lines(w, n, &line) > n);
	assert_non_null(line);
	assert_string_equal(json_string_value(json_object_get(line, "name")), name);
	assert_string_equal(json_string_value(json_object_get(line, "state")), state);
	assert_string_equal(json_string_value(json_object_get(line, "severity")), severity);
	assert_string_equal(json_string_value(json_object_get(line, "site")), "ams");
	assert_string_equal(json_string_value(json_object_get(line, "text")), "why");
	assert_int_equal(json_integer_value(json_object_get(line, "node")), 7);
	assert_true(json_integer_value(json_object_get(line, "since")) > 0);
	json_decref(line);
}

static void test_raised_worse_ended(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	set_now(&w, json_pack("[o, o]", alarm_item("disk", "warning"),
			    alarm_item("peers", "critical")));
	start(&w, 3600 * 1000, 60000);
	wait_lines(&w, 2);
	assert_line(&w, 0, "disk", "raised", "warning");
	assert_line(&w, 1, "peers", "raised", "critical");
	loop_for(&w.loop, 200); /* It lasts: nothing more. */
	assert_int_equal(lines(&w, 0, NULL), 2);
	set_now(&w, json_pack("[o]", alarm_item("disk", "critical")));
	wait_lines(&w, 4);
	assert_line(&w, 2, "disk", "raised", "critical");
	assert_line(&w, 3, "peers", "ended", "critical");
	set_now(&w, json_array());
	wait_lines(&w, 5);
	assert_line(&w, 4, "disk", "ended", "critical");
	world_close(&w);
}

static json_t *alarm_about(const char *number, const char *one, const char *two)
{
	_cleanup_(x_freep) char *text = x_asprintf("%s hours", number);
	json_t *about = two == NULL ? json_pack("[s]", one) : json_pack("[s, s]", one, two);

	return json_pack("[{s:s, s:s, s:s, s:o}]", "name", "verify", "severity", "critical", "text",
		text, "about", about);
}

static void assert_text(struct world *w, size_t n, const char *text)
{
	json_t *line = NULL;

	assert_true(lines(w, n, &line) > n);
	assert_string_equal(json_string_value(json_object_get(line, "text")), text);
	assert_string_equal(json_string_value(json_object_get(line, "state")), "raised");
	json_decref(line);
}

/* Another site or snapshot is news, another number is none; one that was told is none, either,
 * until the alarm has ended. */
static void test_spreads(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	set_now(&w, alarm_about("1", "site ber", NULL));
	start(&w, 3600 * 1000, 60000);
	wait_lines(&w, 1);
	assert_text(&w, 0, "1 hours");
	set_now(&w, alarm_about("2", "site ber", NULL));
	loop_for(&w.loop, 200);
	assert_int_equal(lines(&w, 0, NULL), 1);
	set_now(&w, alarm_about("3", "site ber", "site cph"));
	wait_lines(&w, 2);
	assert_text(&w, 1, "3 hours");
	set_now(&w, alarm_about("4", "site cph", NULL));
	loop_for(&w.loop, 100);
	set_now(&w, alarm_about("5", "site ber", NULL));
	loop_for(&w.loop, 100);
	assert_int_equal(lines(&w, 0, NULL), 2);
	set_now(&w, json_array());
	wait_lines(&w, 3);
	set_now(&w, alarm_about("6", "site cph", NULL));
	wait_lines(&w, 4);
	assert_text(&w, 3, "6 hours");
	set_now(&w, alarm_about("7", "site ber", "site cph")); /* Told before that end. */
	wait_lines(&w, 5);
	assert_text(&w, 4, "7 hours");
	world_close(&w);
}

/* News that come while the program is told the old ones are told, too. */
static void test_spreads_meanwhile(void **state)
{
	_cleanup_(x_freep) char *rest = NULL;
	struct world w;

	(void)state;
	world_open(&w);
	rest = x_asprintf("while [ ! -e '%s/go' ]; do sleep 0.01; done", w.dir);
	program(&w, rest);
	set_now(&w, alarm_about("1", "site ber", NULL));
	start(&w, 3600 * 1000, 60000);
	wait_lines(&w, 1);
	set_now(&w, alarm_about("2", "site ber", "site cph"));
	loop_for(&w.loop, 200);
	assert_int_equal(lines(&w, 0, NULL), 1);
	free(rest);
	rest = x_asprintf("%s/go", w.dir);
	assert_int_equal(file_create(rest, bytes_str("x"), 0600, NULL), 0);
	wait_lines(&w, 2);
	assert_text(&w, 1, "2 hours");
	world_close(&w);
}

/* However much it is about, what is kept in mind has a bound. */
static void test_spreads_far(void **state)
{
	json_t *items = alarm_about("1", "site ber", NULL), *about;
	struct world w;

	(void)state;
	about = json_object_get(json_array_get(items, 0), "about");
	for (unsigned i = 0; i < 3 * ALARM_ABOUT_MAX; i++) {
		_cleanup_(x_freep) char *text = x_asprintf("snapshot %u", i);

		assert_int_equal(json_array_append_new(about, json_string(text)), 0);
	}
	world_open(&w);
	set_now(&w, items);
	start(&w, 3600 * 1000, 60000);
	wait_lines(&w, 1);
	loop_for(&w.loop, 200);
	assert_int_equal(lines(&w, 0, NULL), 1);
	world_close(&w);
}

static void test_told_again(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	set_now(&w, json_pack("[o]", alarm_item("disk", "warning")));
	start(&w, 50, 60000);
	wait_lines(&w, 3);
	assert_line(&w, 2, "disk", "raised", "warning");
	world_close(&w);
}

/* A program that fails is tried again, and not for ever. */
static void test_program_fails(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	program(&w, "exit 1");
	set_now(&w, json_pack("[o]", alarm_item("disk", "warning")));
	start(&w, 3600 * 1000, 60000);
	wait_lines(&w, ALARM_TRIES);
	loop_for(&w.loop, 300);
	assert_int_equal(lines(&w, 0, NULL), ALARM_TRIES);
	world_close(&w);
}

/* One that hangs is killed with its children; the next alarm is told. */
static void test_program_hangs(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	program(&w, "sleep 1000 & wait");
	set_now(&w,
		json_pack("[o, o]", alarm_item("disk", "warning"), alarm_item("peers", "warning")));
	start(&w, 3600 * 1000, 1000);
	wait_lines(&w, ALARM_TRIES + 1);
	world_close(&w); /* While one runs, perhaps. */
}

/* One that is not there, or reads nothing, harms nobody. */
static void test_no_program(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	assert_int_equal(unlink(w.program), 0);
	set_now(&w, json_pack("[o]", alarm_item("disk", "warning")));
	start(&w, 50, 60000);
	loop_for(&w.loop, 200);
	assert_int_equal(
		file_write(w.program, bytes_str("#!/bin/sh\nexec <&-\nexit 0\n"), 0755, NULL), 0);
	loop_for(&w.loop, 200);
	program(&w, "");
	wait_lines(&w, 1);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_raised_worse_ended),
		cmocka_unit_test(test_told_again),
		cmocka_unit_test(test_spreads),
		cmocka_unit_test(test_spreads_meanwhile),
		cmocka_unit_test(test_spreads_far),
		cmocka_unit_test(test_program_fails),
		cmocka_unit_test(test_program_hangs),
		cmocka_unit_test(test_no_program),
	};

	(void)signal(SIGPIPE, SIG_IGN); /* As kluisd does. */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
