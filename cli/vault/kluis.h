/* The program `kluis`: what its commands share. */
#ifndef KLUIS_CLI_VAULT_KLUIS_H
#define KLUIS_CLI_VAULT_KLUIS_H

#include "cli/client/session.h"
#include "cli/client/tree.h"
#include "cli/ui/command.h"

extern const struct program kluis_program;

/* An open profile and its client, for the time of one command. */
struct kluis {
	struct invocation *inv;
	struct profile *profile;
	struct client *client;
};

/* Opens both, finishes what an earlier run left half done, and runs body. When the cluster turns
 * out to have been restored, shows the operator's signed record, asks, and runs body again on the
 * restored state. body must be able to run twice. */
int kluis_run(struct invocation *inv, int (*body)(struct kluis *k));
/* --profile, KLUIS_PROFILE, XDG_DATA_HOME/kluis or ~/.local/share/kluis; the caller frees it. NULL
 * with inv->err set. */
char *kluis_profile_dir(struct invocation *inv);

/* "NAME:/path" (or "NAME:" for the root). KLUIS_EINVAL. Both are the caller's. */
KLUIS_MUST_CHECK int kluis_split(
	struct invocation *inv, const char *text, char **ret_vault, char **ret_path);
/* Whether the text names a place in a vault rather than a local file. */
bool kluis_is_remote(const char *text);
/* Opens and syncs the vault. */
KLUIS_MUST_CHECK int kluis_open_vault(struct kluis *k, const char *name, struct vault **ret_vault);
/* "dir/name" in a vault: one slash between them. The caller frees it. */
char *kluis_join(const char *folder, const char *name);
const char *kluis_base_name(const char *path);

int kluis_enrol(struct invocation *inv);
int kluis_logout(struct invocation *inv);
int kluis_vault_create(struct invocation *inv);
int kluis_vault_list(struct invocation *inv);
int kluis_put(struct invocation *inv);
int kluis_rm(struct invocation *inv);
int kluis_get(struct invocation *inv);
int kluis_cat(struct invocation *inv);
int kluis_ls(struct invocation *inv);
int kluis_verify(struct invocation *inv);

#endif
