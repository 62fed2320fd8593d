/* Earlier states of what lies in a vault, from the versions of pages that the cluster keeps (the
 * last ten of a page, for 30 days). Each is authentic: sealed under the vault's key for that page
 * and an earlier revision than the one that the signed head names. That none is withheld cannot be
 * proven. */
#ifndef KLUIS_CLI_CLIENT_HISTORY_H
#define KLUIS_CLI_CLIENT_HISTORY_H

#include "cli/client/put.h"

enum { HISTORY_VERSION_CHARS = 48 };

/* An item as a version of its page shows it first. */
struct history_row {
	uint64_t page_no, page_revision; /* Which version: "page.revision". */
	uint64_t written_ms;		 /* As the cluster says. */
	uint8_t device_id[ID_BYTES];	 /* Who wrote that page. */
	uint8_t id[ID_BYTES], state[HASH_BYTES];
	uint64_t rev;
	uint16_t type;
	json_t *body;
	char *path;   /* Where it lay then. */
	bool current; /* It is like this now. */
	bool removed; /* The item is not there any more. */
};
/* Newest first. */
struct history {
	struct history_row *rows;
	size_t n;
};
void history_release(struct history *history);

struct history_config {
	bool all; /* All pages: also what lay there before and was removed. */
	void (*progress)(void *arg, uint64_t done, uint64_t total); /* Pages; may be NULL. */
	void *arg;
};
/* What lay at this path, and what the item that is there now was. The vault is synced and not
 * offline. KLUIS_EVERIFY: a version is none of a valid writer's. */
KLUIS_MUST_CHECK int history_load(struct tree *tree, const char *path,
	const struct history_config *config, struct history *ret_history, struct err *e);
/* "12.3" of a row. */
void history_version(const struct history_row *row, char to[HISTORY_VERSION_CHARS]);
/* The row with this version; NULL when there is none. */
const struct history_row *history_find(const struct history *history, const char *version);

/* The bytes of a file as a row has it, to be put again: read from the versions of its chunk pages,
 * and held against its SHA-256 at the end. The vault outlives the source. KLUIS_ENOTFOUND: its
 * chunks are not kept any more. */
KLUIS_MUST_CHECK int history_source(struct tree *tree, const struct history_row *row,
	const char *path, struct put_source **ret_source, struct err *e);
/* Puts the item of a row again as it was, over what is there now; where it is now, or at path when
 * it is gone. KLUIS_EEXIST: it is like that. */
KLUIS_MUST_CHECK int put_version(
	struct put *put, const struct history_row *row, const char *path, struct err *e);

#endif
