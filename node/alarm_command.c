#include "node/alarm_command.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/wire.h"
#include "crypto/hash.h"
#include "node/json.h"

enum { NAME_BYTES_MAX = 31, TEXT_BYTES_MAX = 383 };

struct alarm {
	char name[NAME_BYTES_MAX + 1];
	char text[TEXT_BYTES_MAX + 1];
	bool critical;
	unsigned seen;	 /* Looks in a row that saw it. */
	bool raised;	 /* Two did: it was logged. */
	bool pending;	 /* To be told by the program. */
	unsigned tries;	 /* That failed. */
	uint64_t change; /* Number of the last one that is to be told. */
	/* What it has been about since it began: the first bytes of a hash of each. */
	uint64_t about[ALARM_ABOUT_MAX];
	size_t n_about;
	uint64_t since_ms; /* Unix. */
	uint64_t told_ms;  /* Monotonic. */
};

struct alarm_command {
	struct alarm_command_config config;
	struct mailbox *home;
	struct pool *pool;
	struct alarm alarms[ALARMS_MAX];
	size_t n;

	uv_timer_t timer;
	struct pool_work look;
	bool looking, closing;
	json_t *items;
	struct err err;
	uint64_t look_ms, run_ms; /* Monotonic: the next look, the next run. */

	uv_process_t process;
	uv_pipe_t in;
	uv_write_t write;
	bool running, killed;
	unsigned open_handles; /* Of the process. */
	uint64_t kill_ms;
	struct buf line;
	char told[NAME_BYTES_MAX + 1]; /* What runs is about, */
	uint64_t told_change, changes; /* ... as of this change, of so many. */
	bool told_ok;
	uv_loop_t *loop;

	void (*closed_cb)(void *data);
	void *closed_data;
};

static uint64_t command_now(void)
{
	return clock_monotonic_ms(&clock_system);
}

/* --- what there is -----------------------------------------------------------------------------
 */

static struct alarm *alarm_find(struct alarm_command *c, const char *name)
{
	for (size_t i = 0; i < c->n; i++) {
		if (strcmp(c->alarms[i].name, name) == 0) {
			return &c->alarms[i];
		}
	}
	return NULL;
}

static void alarm_log(const struct alarm *alarm, const char *state)
{
	log_warn("op=alarm name=%s severity=%s state=%s text=\"%s\"", alarm->name,
		alarm->critical ? "critical" : "warning", state, alarm->text);
}

static const char *item_text(const json_t *item, const char *name)
{
	const char *text = json_string_value(json_object_get(item, name));

	return text == NULL ? "" : text;
}

/* Keeps it in mind; whether it was not there. What there is no room for is no news: it would be at
 * every look. */
static bool alarm_learn(struct alarm *alarm, const char *about)
{
	uint8_t hash[HASH_BYTES];
	uint64_t id;

	hash_sha256(bytes_str(about), hash);
	id = load_u64(hash);
	for (size_t i = 0; i < alarm->n_about; i++) {
		if (alarm->about[i] == id) {
			return false;
		}
	}
	if (alarm->n_about == ALARM_ABOUT_MAX) {
		return false;
	}
	alarm->about[alarm->n_about++] = id;
	return true;
}

/* Whether it is about a site or a snapshot that it was not about before. */
static bool alarm_spreads(struct alarm *alarm, const json_t *item)
{
	const json_t *about;
	bool more = false;
	size_t i;

	json_array_foreach(json_object_get(item, "about"), i, about)
	{
		more = alarm_learn(alarm, json_string_value(about)) || more;
	}
	return more;
}

static void alarm_tell(struct alarm_command *c, struct alarm *alarm, const char *state)
{
	alarm->pending = true;
	alarm->tries = 0;
	alarm->change = ++c->changes;
	alarm_log(alarm, state);
}

/* Seen by a look: raised by the second in a row, told again when it became worse or is about more,
 * or when it lasts. */
static void alarm_see(struct alarm_command *c, const json_t *item)
{
	const char *name = item_text(item, "name");
	bool critical = strcmp(item_text(item, "severity"), "critical") == 0;
	struct alarm *alarm = alarm_find(c, name);
	bool worse, more;

	if (alarm == NULL) {
		if (c->n == ALARMS_MAX || strlen(name) > NAME_BYTES_MAX || name[0] == 0) {
			return;
		}
		alarm = &c->alarms[c->n++];
		*alarm = (struct alarm){.since_ms = clock_wall_ms(&clock_system)};
		(void)snprintf(alarm->name, sizeof alarm->name, "%s", name);
	}
	worse = alarm->raised && critical && !alarm->critical;
	more = alarm_spreads(alarm, item) && alarm->raised;
	alarm->critical = critical;
	(void)snprintf(alarm->text, sizeof alarm->text, "%s", item_text(item, "text"));
	alarm->seen++;
	if ((alarm->seen >= 2 && !alarm->raised) || worse || more) {
		alarm->raised = true;
		alarm_tell(c, alarm, worse ? "worse" : more ? "more" : "raised");
	} else if (alarm->raised && !alarm->pending &&
		   command_now() >= alarm->told_ms + c->config.repeat_ms) {
		alarm->pending = true;
		alarm->tries = 0;
	}
}

/* Not seen any more: it ends, and is told of if its beginning was, or was to be. */
static void alarm_miss(struct alarm_command *c, struct alarm *alarm)
{
	if (alarm->raised) {
		alarm->raised = false;
		alarm_tell(c, alarm, "ended");
	}
	alarm->seen = 0;
	alarm->n_about = 0;
}

static bool items_have(const json_t *items, const char *name)
{
	const json_t *item;
	size_t i;

	json_array_foreach(items, i, item)
	{
		if (strcmp(item_text(item, "name"), name) == 0) {
			return true;
		}
	}
	return false;
}

static void alarms_compare(struct alarm_command *c, const json_t *items)
{
	const json_t *item;
	size_t i, left = 0;

	json_array_foreach(items, i, item)
	{
		alarm_see(c, item);
	}
	for (i = 0; i < c->n; i++) {
		struct alarm *alarm = &c->alarms[i];

		if (!items_have(items, alarm->name)) {
			alarm_miss(c, alarm);
		}
		if (c->config.path == NULL) {
			alarm->pending = false;
		}
		if (alarm->seen > 0 || alarm->pending) {
			c->alarms[left++] = *alarm;
		}
	}
	c->n = left;
}

/* --- the program -------------------------------------------------------------------------------
 */

static void command_ended(struct alarm_command *c);

/* Both handles are closed: the next one can run. */
static void run_closed_cb(uv_handle_t *handle)
{
	struct alarm_command *c = handle->data;
	struct alarm *alarm = alarm_find(c, c->told);

	if (--c->open_handles > 0) {
		return;
	}
	c->running = false;
	buf_release(&c->line);
	c->run_ms = command_now() + c->config.pause_ms;
	if (alarm != NULL && alarm->change == c->told_change) {
		alarm->told_ms = command_now();
		alarm->tries += !c->told_ok;
		alarm->pending = !c->told_ok && alarm->tries < ALARM_TRIES;
	}
	command_ended(c);
}

static void run_close_in(struct alarm_command *c)
{
	if (!uv_is_closing((uv_handle_t *)&c->in)) {
		uv_close((uv_handle_t *)&c->in, run_closed_cb);
	}
}

static void run_exit_cb(uv_process_t *process, int64_t status, int signal_number)
{
	struct alarm_command *c = process->data;

	c->told_ok = status == 0 && signal_number == 0;
	if (!c->told_ok) {
		log_err("op=alarm_command name=%s status=%lld signal=%d%s", c->told,
			(long long)status, signal_number,
			c->killed ? " msg=\"took too long\"" : "");
	}
	run_close_in(c);
	uv_close((uv_handle_t *)process, run_closed_cb);
}

/* The program sees the end of its input. That it may not want to read is its own affair. */
static void run_written_cb(uv_write_t *write, int status)
{
	(void)status;
	run_close_in(write->data);
}

static struct buf run_line(const struct alarm_command *c, const struct alarm *alarm)
{
	json_t *object = json_object();
	struct buf line = BUF_INIT;

	json_put(object, "time", json_make_number(clock_wall_ms(&clock_system)));
	json_put(object, "site", json_make_text(c->config.site));
	json_put(object, "node", json_make_number(c->config.node));
	json_put(object, "name", json_make_text(alarm->name));
	json_put(object, "state", json_make_text(alarm->raised ? "raised" : "ended"));
	json_put(object, "severity", json_make_text(alarm->critical ? "critical" : "warning"));
	json_put(object, "since", json_make_number(alarm->since_ms));
	json_put(object, "text", json_make_text(alarm->text));
	json_finish(object, &line);
	buf_put_str(&line, "\n");
	return line;
}

/* The program, with a session of its own, so that its children can be killed, too, and none of our
 * environment. */
static int run_spawn(struct alarm_command *c)
{
	char *args[] = {(char *)(uintptr_t)c->config.path, NULL};
	char *env[] = {(char *)(uintptr_t) "PATH=/usr/local/bin:/usr/bin:/bin",
		(char *)(uintptr_t) "LC_ALL=C.UTF-8", NULL};
	uv_stdio_container_t stdio[] = {
		{.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&c->in},
		{.flags = UV_IGNORE}, {.flags = UV_INHERIT_FD, .data.fd = 2}};
	uv_process_options_t options = {.file = c->config.path,
		.args = args,
		.env = env,
		.cwd = "/",
		.stdio = stdio,
		.stdio_count = 3,
		.flags = UV_PROCESS_DETACHED,
		.exit_cb = run_exit_cb};

	return uv_spawn(c->loop, &c->process, &options);
}

static void run_start(struct alarm_command *c, struct alarm *alarm)
{
	uv_buf_t buf;
	int rv = uv_pipe_init(c->loop, &c->in, 0);

	assert(rv == 0 && !c->running); /* It allocates nothing. */
	c->in.data = c->process.data = c->write.data = c;
	c->running = true;
	c->killed = c->told_ok = false;
	c->told_change = alarm->change;
	memcpy(c->told, alarm->name, sizeof c->told);
	c->kill_ms = command_now() + c->config.run_ms;
	c->line = run_line(c, alarm);
	c->open_handles = 2;
	rv = run_spawn(c);
	if (rv != 0) {
		log_err("op=alarm_command name=%s error=\"%s\"", c->told, uv_strerror(rv));
		run_close_in(c);
		uv_close((uv_handle_t *)&c->process, run_closed_cb); /* uv_spawn() made it one. */
		return;
	}
	buf = uv_buf_init((char *)c->line.data, (unsigned)c->line.len);
	if (uv_write(&c->write, (uv_stream_t *)&c->in, &buf, 1, run_written_cb) != 0) {
		run_close_in(c);
	}
}

static void run_kill(struct alarm_command *c)
{
	c->killed = true;
	if (uv_is_active((uv_handle_t *)&c->process)) {
		(void)kill(-c->process.pid, SIGKILL);	     /* What it left behind, too. */
		(void)uv_process_kill(&c->process, SIGKILL); /* When it has left its group. */
	}
}

static void run_next(struct alarm_command *c)
{
	if (c->running && !c->killed && command_now() >= c->kill_ms) {
		run_kill(c);
	}
	for (size_t i = 0; !c->running && command_now() >= c->run_ms && i < c->n; i++) {
		if (c->alarms[i].pending) {
			run_start(c, &c->alarms[i]);
		}
	}
}

/* --- life --------------------------------------------------------------------------------------
 */

static int look_work(struct pool_work *work)
{
	struct alarm_command *c = CONTAINER_OF(work, struct alarm_command, look);

	memset(&c->err, 0, sizeof c->err);
	return c->config.alarms(c->config.data, &c->items, &c->err);
}

static void look_done_cb(struct pool_work *work, int rc)
{
	struct alarm_command *c = CONTAINER_OF(work, struct alarm_command, look);

	c->looking = false;
	c->look_ms = command_now() + c->config.look_ms;
	if (rc == 0 && !c->closing) {
		alarms_compare(c, c->items);
	} else if (rc != 0 && !err_retryable(rc)) {
		log_warn("op=alarm rc=%s error=\"%s\", retrying", err_name(rc), c->err.text);
	}
	json_decref(c->items);
	c->items = NULL;
	command_ended(c);
}

static void command_timer_cb(uv_timer_t *timer)
{
	struct alarm_command *c = timer->data;

	if (c->closing) {
		return;
	}
	if (!c->looking && command_now() >= c->look_ms) {
		c->looking = pool_submit(c->pool, &c->look, c->home, look_work, look_done_cb) == 0;
	}
	run_next(c);
}

static void command_closed_cb(uv_handle_t *handle)
{
	struct alarm_command *c = handle->data;
	void (*closed_cb)(void *data) = c->closed_cb;
	void *data = c->closed_data;

	free(c);
	closed_cb(data);
}

static void command_ended(struct alarm_command *c)
{
	if (c->closing && !c->looking && !c->running && !uv_is_closing((uv_handle_t *)&c->timer)) {
		uv_close((uv_handle_t *)&c->timer, command_closed_cb);
	}
}

int alarm_command_start(struct alarm_command **ret_command,
	const struct alarm_command_config *config, uv_loop_t *loop, struct mailbox *home,
	struct pool *pool, struct err *e)
{
	struct alarm_command *c = x_calloc(1, sizeof *c);
	uint64_t tick_ms = config->look_ms < 1000 ? config->look_ms : 1000;

	assert(config->alarms != NULL && config->look_ms > 0);
	c->config = *config;
	c->loop = loop;
	c->home = home;
	c->pool = pool;
	if (uv_timer_init(loop, &c->timer) != 0) {
		free(c);
		return err_set(e, KLUIS_EIO, "cannot make a timer");
	}
	c->timer.data = c;
	(void)uv_timer_start(&c->timer, command_timer_cb, tick_ms, tick_ms); /* Never fails. */
	*ret_command = c;
	return 0;
}

void alarm_command_close(struct alarm_command *c, void (*closed_cb)(void *data), void *data)
{
	assert(!c->closing);
	c->closing = true;
	c->closed_cb = closed_cb;
	c->closed_data = data;
	if (c->running) {
		run_kill(c);
	}
	command_ended(c);
}
