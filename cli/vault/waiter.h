/* Waiting for events, at whatever site answers, for `follow` and `chat follow`: on a connection of
 * its own, so that the profile is locked only while something is read. */
#ifndef KLUIS_CLI_VAULT_WAITER_H
#define KLUIS_CLI_VAULT_WAITER_H

#include "cli/client/api_chat.h"
#include "cli/vault/app.h"

/* Zero but for inv before use. */
struct waiter {
	struct invocation *inv;
	struct client *client; /* NULL: the profile was not open yet. */
	char *cursor;	       /* NULL: from now on. */
	uint64_t end_ms;       /* 0: no end. */
	uint64_t looked_ms;    /* waiter_look(); 0: never. */
	bool no_events;	       /* The cluster tells nobody: one has to look. */
	bool unread;	       /* Nobody reads stdout any more. */
};
/* --for counts from here. */
KLUIS_MUST_CHECK int waiter_init(struct waiter *w, struct invocation *inv);
void waiter_release(struct waiter *w);
/* The session of the open profile. */
KLUIS_MUST_CHECK int waiter_attach(struct waiter *w, struct app *k);
bool waiter_over(const struct waiter *w);
/* Before something that failed is tried again. */
void waiter_pause(const struct waiter *w);
/* Before the cluster is asked for everything: once a second at most, for a node may say without end
 * that all has changed. */
void waiter_look(struct waiter *w);
/* What happened behind the cursor, which moves; waits a while for something to happen. The caller
 * frees *ret_events (api_events_free()). After a failure the cursor is where it was, unless the
 * cluster was restored since it was given. */
KLUIS_MUST_CHECK int waiter_events(
	struct waiter *w, struct api_event **ret_events, size_t *ret_n, struct err *e);
/* Whether waiting a while may help. */
bool waiter_survives(int rc);
/* One object a line to stdout (row is dropped), out of this process when it returns. */
KLUIS_MUST_CHECK int waiter_print(struct waiter *w, json_t *row, struct err *e);

#endif
