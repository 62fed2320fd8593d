/* The program `kluis`: what its commands share. */
#ifndef KLUIS_CLI_VAULT_APP_H
#define KLUIS_CLI_VAULT_APP_H

#include "cli/client/session.h"
#include "cli/client/tree.h"
#include "cli/ui/command.h"

extern const struct program kluis_program;

/* An open profile and its client, for the time of one command. */
struct app {
	struct invocation *inv;
	struct profile *profile;
	struct client *client;
};

/* Opens both, finishes what an earlier run left half done, and runs body. When the cluster turns
 * out to have been restored, shows the operator's signed record, asks, and runs body again on the
 * restored state. body must be able to run twice. */
int app_run(struct invocation *inv, int (*body)(struct app *k));
/* --profile, KLUIS_PROFILE, XDG_DATA_HOME/kluis or ~/.local/share/kluis; the caller frees it. NULL
 * with inv->err set. */
char *app_profile_dir(struct invocation *inv);

/* --timeout; 0 when it was not given. */
KLUIS_MUST_CHECK int app_give_up_ms(struct invocation *inv, uint64_t *ret_ms);

/* "NAME:/path" (or "NAME:" for the root). KLUIS_EINVAL. Both are the caller's. */
KLUIS_MUST_CHECK int app_split(
	struct invocation *inv, const char *text, char **ret_vault, char **ret_path);
/* Whether the text names a place in a vault rather than a local file. */
bool app_is_remote(const char *text);
/* Opens and syncs the vault. */
KLUIS_MUST_CHECK int app_open_vault(struct app *k, const char *name, struct vault **ret_vault);
/* "dir/name" in a vault: one slash between them. The caller frees it. */
char *app_join(const char *folder, const char *name);
const char *app_base_name(const char *path);

int app_enrol(struct invocation *inv);
int app_logout(struct invocation *inv);
int app_vault_create(struct invocation *inv);
int app_vault_list(struct invocation *inv);
int app_put(struct invocation *inv);
int app_rm(struct invocation *inv);
int app_get(struct invocation *inv);
int app_cat(struct invocation *inv);
int app_ls(struct invocation *inv);
int app_verify(struct invocation *inv);

#endif
