/* Between the files of `kluis chat`. */
#ifndef KLUIS_CLI_VAULT_CHAT_H
#define KLUIS_CLI_VAULT_CHAT_H

#include "cli/client/conversation_archive.h"
#include "cli/vault/app.h"

/* An open conversation for the time of a command. */
struct chat_app {
	struct app *app;
	struct people *people;
	struct conversation *c;
	void *arg;
};
/* name: a title, or the beginning of an id. */
KLUIS_MUST_CHECK int chat_with(
	struct app *k, const char *name, int (*body)(struct chat_app *a), void *arg);

/* KLUIS_EFORBIDDEN: it is an invitation, which opens nothing. */
KLUIS_MUST_CHECK int chat_accepted(const struct chat_app *a);
/* Tells what became of the history. What a command ends with, rc so far: where it does not hold,
 * that; else it is told, and no more. */
KLUIS_MUST_CHECK int chat_history_end(struct invocation *inv, const struct conversation *c, int rc);
/* What a command that goes on has told of histories. Zero it before use. */
struct chat_told {
	struct err verdict; /* What it ends with; code 0: nothing. */
	bool noted[KLUIS_ERROR_MAX];
};
/* Tells of c->archive_trouble, which goes, what was not told: what does not hold, and, once for
 * each kind, what is no more than to be known. */
void chat_history_tell(struct invocation *inv, struct conversation *c, struct chat_told *told);
/* "on" or "off" where somebody switched it; NULL: nobody has. */
const char *chat_history_switched(const struct conversation *c);

/* What `read` and `follow` print of a message. */
json_t *chat_item_json(const struct conversation_item *item);

/* The worst that a command met. */
struct chat_problems {
	int code;
	uint64_t seq;
	char text[200];
};
void chat_problems_note(struct chat_problems *problems, const struct conversation_item *item);
/* What the command ends with. */
KLUIS_MUST_CHECK int chat_problems_end(
	struct invocation *inv, const struct chat_problems *problems);

#endif
