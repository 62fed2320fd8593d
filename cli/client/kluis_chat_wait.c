/* Waiting for news of a conversation, for libkluis. */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/client/conversation.h"
#include "cli/client/kluis_chat.h"
#include "cli/client/kluis_impl.h"

enum { WAIT_ROUND_MS = 20 * 1000, WAIT_POLL_MS = 500 };

/* Where nothing tells: what the conversation's last number is. */
static int wait_look(
	struct client *client, const uint8_t id[ID_BYTES], uint64_t *ret_last, struct err *e)
{
	struct api_conversation info;
	int rc = api_conversation(client, id, &info, e);

	if (rc == 0) {
		*ret_last = info.last_seq;
	}
	return rc;
}

static bool wait_concerns(const struct api_event *events, size_t n, const uint8_t id[ID_BYTES])
{
	for (size_t i = 0; i < n; i++) {
		if (!events[i].has_object || memcmp(events[i].object, id, ID_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

/* One round of at most ms. *cursor is owned by the caller. */
static int wait_round(struct client *client, const uint8_t id[ID_BYTES], unsigned ms, char **cursor,
	bool *ret_news, struct err *e)
{
	struct api_event *events = NULL;
	struct timespec pause = {.tv_nsec = WAIT_POLL_MS * 1000000L};
	struct err why = {0};
	char *next = NULL;
	size_t n = 0;
	int rc = api_events(client, *cursor == NULL ? "" : *cursor, *cursor == NULL ? 0 : ms,
		&events, &n, &next, &why);

	if (rc == KLUIS_ENOTFOUND || rc == KLUIS_EMETHOD) { /* A node without events. */
		(void)nanosleep(&pause, NULL); /* An early wake only looks once more. */
		return 0;
	}
	if (rc != 0) {
		return err_set(e, rc, "%s", why.text);
	}
	free(*cursor);
	*cursor = next;
	*ret_news = wait_concerns(events, n, id);
	api_events_free(events, n);
	return 0;
}

/* Events tell when to look; the number tells whether there is something. */
static int wait_for(struct client *client, const uint8_t id[ID_BYTES], uint64_t seen,
	uint64_t end_ms, bool *ret_news, struct err *e)
{
	_cleanup_(x_freep) char *cursor = NULL;
	uint64_t last = 0, now_ms;
	int rc = 0;

	for (;;) {
		bool news = false;

		if (cursor == NULL) { /* From here on events tell. */
			rc = wait_round(client, id, 0, &cursor, &news, e);
		}
		rc = rc != 0 ? rc : wait_look(client, id, &last, e);
		now_ms = clock_monotonic_ms(&clock_system);
		if (rc != 0 || last > seen || now_ms >= end_ms) {
			break;
		}
		if (cursor != NULL) {
			uint64_t left = end_ms - now_ms;

			rc = wait_round(client, id,
				left < WAIT_ROUND_MS ? (unsigned)left : WAIT_ROUND_MS, &cursor,
				&news, e);
		}
		if (rc != 0) {
			break;
		}
	}
	*ret_news = rc == 0 && last > seen;
	return rc;
}

int kluis_chat_wait(struct kluis *k, const char *chat, unsigned wait_ms, int *ret_news,
	struct kluis_failure *error)
{
	uint64_t end_ms = clock_monotonic_ms(&clock_system) + wait_ms;
	struct people *people = NULL;
	struct conversation *c = NULL;
	uint8_t id[ID_BYTES];
	struct err e = {0};
	uint64_t seen = 0;
	bool news = false;
	int rc = kluis_refresh(k, &e);

	if (rc == 0) {
		people = people_new(k->profile, k->client);
		rc = conversation_find(people, chat, id, &e);
		rc = rc != 0 ? rc : conversation_open(people, id, &c, &e);
		seen = rc == 0 ? c->state.last_seq : 0;
	}
	conversation_close(c);
	people_free(people);
	rc = rc != 0 ? rc : wait_for(k->client, id, seen, end_ms, &news, &e);
	if (rc == 0) {
		*ret_news = news;
	}
	return kluis_give(rc, &e, error);
}
