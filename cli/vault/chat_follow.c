/* kluis chat follow: prints what comes, a JSON object a line. The profile is locked only while
 * something is read, so that other commands of the same user go on. */
#include <string.h>

#include "base/clock.h"
#include "cli/vault/chat.h"
#include "cli/vault/waiter.h"

enum { FOLLOW_ARCHIVE_MS = 60 * 1000 };

struct follow {
	struct invocation *inv;
	struct waiter waiter;
	uint8_t id[ID_BYTES];
	uint64_t archived_ms;
	struct chat_problems problems;
	struct chat_told told;
};

static int follow_item_cb(void *arg, const struct conversation_item *item, struct err *e)
{
	struct follow *f = arg;
	/* Before it counts as read. */
	int rc = waiter_print(&f->waiter, chat_item_json(item), e);

	if (rc == 0) {
		chat_problems_note(&f->problems, item);
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

static int follow_switched(struct follow *f, const struct conversation *c, struct err *e)
{
	const char *switched = chat_history_switched(c);

	return switched == NULL ? 0
				: waiter_print(&f->waiter,
					  json_pack("{s:s, s:s}", "kind", "history",
						  "history_switched", switched),
					  e);
}

static int follow_read(struct chat_app *a)
{
	struct follow *f = a->arg;
	const struct conversation_read reader = {.each = follow_item_cb,
		.arg = f,
		.lazy = follow_archived(f),
		.keep = true,
		.quiet = invocation_value(f->inv, "no-receipt") != NULL};
	size_t n;
	int rc = waiter_attach(&f->waiter, a->app);

	if (rc == 0 && strcmp(a->c->info.state, "invited") == 0) {
		rc = err_set(&f->inv->err, KLUIS_EFORBIDDEN,
			"you are invited to this conversation: 'kluis chat accept' first");
	}
	memcpy(f->id, a->c->id, ID_BYTES);
	rc = rc != 0 ? rc : conversation_read(a->c, &reader, &n, &f->inv->err);
	rc = rc != 0 ? rc : conversation_flush(a->c, &f->inv->err);
	chat_history_tell(f->inv, a->c, &f->told);
	return rc != 0 ? rc : follow_switched(f, a->c, &f->inv->err);
}

static int follow_body(struct app *k)
{
	struct follow *f = k->arg;

	return chat_with(k, k->inv->args[0], follow_read, f);
}

/* Whether one of these says that there may be something to read; *ret_all: by saying so of
 * everything. */
static bool follow_concerns(
	const struct follow *f, const struct api_event *events, size_t n, bool *ret_all)
{
	bool about = false;

	*ret_all = false;
	for (size_t i = 0; i < n; i++) {
		*ret_all |= strcmp(events[i].type, "resync") == 0 || !events[i].has_object;
		about |= events[i].has_object && memcmp(events[i].object, f->id, ID_BYTES) == 0;
	}
	return about || *ret_all;
}

/* By events, or, where a node has none, by looking. What fails is found out by the next reading. */
static bool follow_wait(struct follow *f)
{
	struct waiter *w = &f->waiter;
	struct api_event *events = NULL;
	bool news, all, first = w->cursor == NULL;
	struct err why = {0};
	size_t n = 0;

	if (w->client == NULL) { /* The profile was not open yet. */
		return true;
	}
	if (w->no_events || waiter_events(w, &events, &n, &why) != 0) {
		waiter_pause(w);
		return true;
	}
	/* The first answer only says from where on: what came before it is read once more. */
	news = follow_concerns(f, events, n, &all) || first;
	api_events_free(events, n);
	if (all) {
		waiter_look(w);
	}
	return news;
}

int app_chat_follow(struct invocation *inv)
{
	struct follow f = {.inv = inv};
	int rc = waiter_init(&f.waiter, inv);

	while (rc == 0) {
		rc = app_run_with(inv, follow_body, &f);
		/* At first a site that is not reached is said and ends it; another command of the
		 * same user does not. */
		if (waiter_survives(rc) && (f.waiter.client != NULL || rc == KLUIS_EBUSY)) {
			output_note(&inv->out, "%s, retrying", inv->err.text);
			inv->err = (struct err){0};
			rc = 0;
			waiter_pause(&f.waiter);
		}
		if (rc != 0 || waiter_over(&f.waiter)) {
			break;
		}
		while (!follow_wait(&f) && !waiter_over(&f.waiter)) {
		}
	}
	waiter_release(&f.waiter);
	rc = rc != 0 ? rc : chat_problems_end(inv, &f.problems);
	return rc != 0 || f.told.verdict.code == 0
		       ? rc
		       : err_set(&inv->err, f.told.verdict.code, "%s", f.told.verdict.text);
}
