#include "cli/vault/waiter.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"

enum { WAITER_WAIT_MS = 25 * 1000, WAITER_PAUSE_MS = 1000, WAITER_SECONDS_MAX = 365 * 86400 };

int waiter_init(struct waiter *w, struct invocation *inv)
{
	uint64_t seconds;
	int rc = invocation_number(inv, "for", 0, WAITER_SECONDS_MAX, &seconds);

	*w = (struct waiter){.inv = inv};
	if (rc == 0 && seconds > 0) {
		w->end_ms = clock_monotonic_ms(&clock_system) + seconds * 1000;
	}
	return rc;
}

void waiter_release(struct waiter *w)
{
	client_free(w->client);
	free(w->cursor);
}

int waiter_attach(struct waiter *w, struct app *k)
{
	const struct profile *p = k->profile;
	const char *endpoints[CLIENT_ENDPOINTS_MAX];
	const struct client_config config = {.endpoints = endpoints,
		.n_endpoints =
			session_endpoints(p, invocation_value(w->inv, "endpoint"), endpoints),
		.ca_pem = buf_bytes(&p->ca_pem),
		.call_ms = WAITER_WAIT_MS + CLIENT_CALL_MS};
	char token[CLIENT_TOKEN_BYTES_MAX + 1];
	int rc = 0;

	if (w->client == NULL) {
		rc = client_new(&config, &w->client, &w->inv->err);
	}
	if (rc == 0) {
		client_set_lineage(w->client, p->lineage);
		client_token(k->client, token);
		client_set_token(w->client, token[0] == 0 ? NULL : token);
		secret_clear(token, sizeof token);
	}
	return rc;
}

/* At most so long. */
static unsigned waiter_left(const struct waiter *w, unsigned ms)
{
	uint64_t now_ms = clock_monotonic_ms(&clock_system);

	if (w->end_ms == 0) {
		return ms;
	}
	return now_ms >= w->end_ms	 ? 0
	       : w->end_ms - now_ms < ms ? (unsigned)(w->end_ms - now_ms)
					 : ms;
}

bool waiter_over(const struct waiter *w)
{
	return waiter_left(w, 1) == 0;
}

static void pause_ms(const struct waiter *w, unsigned most_ms)
{
	unsigned ms = waiter_left(w, most_ms);
	struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L};

	(void)nanosleep(&pause, NULL); /* An early wake only asks once more. */
}

void waiter_pause(const struct waiter *w)
{
	pause_ms(w, WAITER_PAUSE_MS);
}

void waiter_look(struct waiter *w)
{
	uint64_t since_ms = clock_monotonic_ms(&clock_system) - w->looked_ms;

	if (since_ms < WAITER_PAUSE_MS) {
		pause_ms(w, (unsigned)(WAITER_PAUSE_MS - since_ms));
	}
	w->looked_ms = clock_monotonic_ms(&clock_system);
}

int waiter_events(struct waiter *w, struct api_event **ret_events, size_t *ret_n, struct err *e)
{
	char *cursor = NULL;
	int rc = api_events(w->client, w->cursor == NULL ? "" : w->cursor,
		waiter_left(w, WAITER_WAIT_MS), ret_events, ret_n, &cursor, e);

	w->no_events = rc == KLUIS_ENOTFOUND || rc == KLUIS_EMETHOD;
	if (rc == 0 || rc == KLUIS_ELINEAGE || rc == KLUIS_EGONE) {
		free(w->cursor);
		w->cursor = cursor;
	}
	return rc;
}

bool waiter_survives(int rc)
{
	return app_out_of_reach(rc) || rc == KLUIS_EBUSY || rc == KLUIS_ERATE ||
	       rc == KLUIS_ECLOSED || rc == KLUIS_EUNKNOWN_OUTCOME;
}

int waiter_print(struct waiter *w, json_t *row, struct err *e)
{
	FILE *out = w->inv->out.data;
	bool whole = output_json(out, row, JSON_COMPACT);

	json_decref(row);
	whole = fputc('\n', out) != EOF && whole;
	whole = fflush(out) == 0 && whole;
	w->unread = !whole && errno == EPIPE;
	return whole ? 0 : err_set_errno(e, errno, "write to stdout");
}
