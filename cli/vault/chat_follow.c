/* kluis chat follow: prints what comes, a JSON object a line. The profile is locked only while
 * something is read, so that other commands of the same user go on. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/client/session.h"
#include "cli/vault/chat.h"

enum {
	FOLLOW_WAIT_MS = 25 * 1000,
	FOLLOW_POLL_MS = 1000,
	FOLLOW_ARCHIVE_MS = 60 * 1000,
	FOLLOW_SECONDS_MAX = 365 * 86400
};

struct follow {
	struct invocation *inv;
	struct client *waiter; /* Asks for events, without the profile. */
	uint8_t id[ID_BYTES];
	char *cursor;
	uint64_t seen_seq, end_ms; /* 0: no end. */
	uint64_t archived_ms;
	bool no_events;
	struct chat_problems problems;
};

static int follow_item_cb(void *arg, const struct conversation_item *item, struct err *e)
{
	struct follow *f = arg;
	json_t *row = chat_item_json(item);
	FILE *out = f->inv->out.data;
	int bad = json_dumpf(row, out, JSON_COMPACT);

	json_decref(row);
	bad |= fputc('\n', out) == EOF;
	bad |= fflush(out) != 0; /* Before it counts as read. */
	if (bad != 0) {
		return err_set_errno(e, errno, "write to stdout");
	}
	chat_problems_note(&f->problems, item);
	return 0;
}

/* Another connection with the same session, which outlives the time that the profile is open. */
static int follow_waiter(struct follow *f, struct app *k)
{
	const struct profile *p = k->profile;
	const char *endpoints[CLIENT_ENDPOINTS_MAX];
	const struct client_config config = {.endpoints = endpoints,
		.n_endpoints =
			session_endpoints(p, invocation_value(f->inv, "endpoint"), endpoints),
		.ca_pem = buf_bytes(&p->ca_pem),
		.call_ms = FOLLOW_WAIT_MS + CLIENT_CALL_MS};
	char token[CLIENT_TOKEN_BYTES_MAX + 1];
	int rc = 0;

	if (f->waiter == NULL) {
		rc = client_new(&config, &f->waiter, &f->inv->err);
	}
	if (rc == 0) {
		client_set_lineage(f->waiter, p->lineage);
		client_token(k->client, token);
		client_set_token(f->waiter, token[0] == 0 ? NULL : token);
		secret_clear(token, sizeof token);
	}
	return rc;
}

/* Whether what was read need not be archived now: once a minute will do. */
static bool follow_archived(struct follow *f)
{
	uint64_t now_ms = clock_monotonic_ms(&clock_system);

	if (f->archived_ms != 0 && now_ms - f->archived_ms < FOLLOW_ARCHIVE_MS) {
		return true;
	}
	f->archived_ms = now_ms;
	return false;
}

static int follow_read(struct chat_app *a)
{
	struct follow *f = a->arg;
	const struct conversation_read reader = {.each = follow_item_cb,
		.arg = f,
		.lazy = follow_archived(f),
		.quiet = invocation_value(f->inv, "no-receipt") != NULL};
	size_t n;
	int rc = follow_waiter(f, a->app);

	if (rc == 0 && strcmp(a->c->info.state, "invited") == 0) {
		rc = err_set(&f->inv->err, KLUIS_EFORBIDDEN,
			"you are invited to this conversation: 'kluis chat accept' first");
	}
	memcpy(f->id, a->c->id, ID_BYTES);
	rc = rc != 0 ? rc : conversation_read(a->c, &reader, &n, &f->inv->err);
	rc = rc != 0 ? rc : conversation_flush(a->c, &f->inv->err);
	f->seen_seq = a->c->state.last_seq;
	return rc;
}

static int follow_body(struct app *k)
{
	struct follow *f = k->arg;

	return chat_with(k, k->inv->args[0], follow_read, f);
}

/* At most so long. */
static unsigned follow_left(const struct follow *f, unsigned ms)
{
	uint64_t now_ms = clock_monotonic_ms(&clock_system);

	if (f->end_ms == 0) {
		return ms;
	}
	return now_ms >= f->end_ms	 ? 0
	       : f->end_ms - now_ms < ms ? (unsigned)(f->end_ms - now_ms)
					 : ms;
}

static void follow_sleep(const struct follow *f)
{
	unsigned ms = follow_left(f, FOLLOW_POLL_MS);
	struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L};

	(void)nanosleep(&pause, NULL); /* An early wake only asks once more. */
}

/* Whether one of these says that there may be something to read. */
static bool follow_concerns(const struct follow *f, const struct api_event *events, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(events[i].type, "resync") == 0 || !events[i].has_object ||
			memcmp(events[i].object, f->id, ID_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

/* By events, or, where a node has none, by looking. What fails is found out by the next reading. */
static bool follow_wait(struct follow *f)
{
	_cleanup_(x_freep) struct api_event *events = NULL;
	struct err why = {0};
	char *cursor = NULL;
	size_t n = 0;
	int rc;

	if (f->waiter == NULL) { /* The profile was not open yet. */
		return true;
	}
	if (f->no_events) {
		follow_sleep(f);
		return true;
	}
	rc = api_events(f->waiter, f->cursor == NULL ? "" : f->cursor,
		follow_left(f, FOLLOW_WAIT_MS), &events, &n, &cursor, &why);
	if (rc != 0) {
		f->no_events = rc == KLUIS_ENOTFOUND || rc == KLUIS_EMETHOD;
		free(f->cursor);
		f->cursor = NULL;
		follow_sleep(f);
		return true;
	}
	/* The first answer only says from where on: what came before it is read once more. */
	n = f->cursor == NULL || follow_concerns(f, events, n);
	free(f->cursor);
	f->cursor = cursor;
	return n > 0;
}

static bool follow_survives(int rc)
{
	return app_out_of_reach(rc) || rc == KLUIS_EBUSY || rc == KLUIS_ERATE ||
	       rc == KLUIS_ECLOSED || rc == KLUIS_EUNKNOWN_OUTCOME;
}

int app_chat_follow(struct invocation *inv)
{
	struct follow f = {.inv = inv};
	uint64_t seconds;
	int rc = invocation_number(inv, "for", 0, FOLLOW_SECONDS_MAX, &seconds);

	if (rc != 0) {
		return rc;
	}
	f.end_ms = seconds == 0 ? 0 : clock_monotonic_ms(&clock_system) + seconds * 1000;
	for (;;) {
		rc = app_run_with(inv, follow_body, &f);
		/* At first a site that is not reached is said and ends it; another command of the
		 * same user does not. */
		if (follow_survives(rc) && (f.waiter != NULL || rc == KLUIS_EBUSY)) {
			output_note(&inv->out, "%s, retrying", inv->err.text);
			inv->err = (struct err){0};
			rc = 0;
			follow_sleep(&f);
		}
		if (rc != 0 || (f.end_ms != 0 && follow_left(&f, 1) == 0)) {
			break;
		}
		while (!follow_wait(&f) && follow_left(&f, 1) > 0) {
		}
	}
	client_free(f.waiter);
	free(f.cursor);
	return rc != 0 ? rc : chat_problems_end(inv, &f.problems);
}
