/* The user's editor on a file that is in memory alone: private, on a tmpfs, overwritten before it
 * is removed. Blocking. */
#ifndef KLUIS_CLI_VAULT_EDITOR_H
#define KLUIS_CLI_VAULT_EDITOR_H

#include "base/buf.h"
#include "base/err.h"

enum { EDITOR_BYTES_MAX = 1 << 20 };

struct editor {
	char *dir, *path;
};

/* Writes content to a new file called `name` in a directory of its own. KLUIS_EINVAL: no editor is
 * named by VISUAL or EDITOR, or there is no tmpfs to put it on. */
KLUIS_MUST_CHECK int editor_open(
	struct editor *editor, const char *name, struct bytes content, struct err *e);
/* Runs the editor and waits for it; what the file holds then is appended to ret_content, which the
 * caller clears. A signal from the keyboard is the editor's alone. */
KLUIS_MUST_CHECK int editor_run(
	const struct editor *editor, struct buf *ret_content, struct err *e);
/* Overwrites and removes all that lies in the directory: also what the editor left there. */
void editor_close(struct editor *editor);
/* Leaves the file where it is, for the user to take up again; gives its path, which the caller
 * frees. */
char *editor_keep(struct editor *editor);

#endif
