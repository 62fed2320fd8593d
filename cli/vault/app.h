/* The program `kluis`: what its commands share. */
#ifndef KLUIS_CLI_VAULT_APP_H
#define KLUIS_CLI_VAULT_APP_H

#include "cli/client/put.h"
#include "cli/client/session.h"
#include "cli/ui/command.h"

extern const struct program kluis_program;

/* An open profile and its client, for the time of one command. */
struct app {
	struct invocation *inv;
	struct profile *profile;
	struct client *client;
	struct agent *agent; /* Of a person's profile, which it has unlocked; else NULL. */
	void *arg;	     /* Of app_run_with(). */
	/* Why keyring and identity could not be brought up to date, else code 0: without them
	 * nobody knows which devices and heads still count, so nothing but the cache is believed.
	 */
	struct err unrefreshed;
};

/* Opens both, finishes what an earlier run left half done, and runs body. When the cluster turns
 * out to have been restored, shows the operator's signed record, asks, and runs body again on the
 * restored state. body must be able to run twice. */
int app_run(struct invocation *inv, int (*body)(struct app *k));
int app_run_with(struct invocation *inv, int (*body)(struct app *k), void *arg);
/* After KLUIS_ELINEAGE: shows the record and asks. 0: accepted, what failed can be tried again. */
KLUIS_MUST_CHECK int app_restored(struct app *k);
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
/* Brings what is unlocked to what other devices did. Of a person; 0 also when no site could answer,
 * or none would: see app.unrefreshed. */
KLUIS_MUST_CHECK int app_refresh(struct app *k);
/* The error of that; 0: keyring and identity are as the cluster has them. For commands that rest on
 * them without opening a vault. */
KLUIS_MUST_CHECK int app_fresh(struct app *k);
/* The same, but that --offline is refused: for what only the cluster can answer. */
KLUIS_MUST_CHECK int app_online(struct app *k);
/* Puts what was seen of vaults, and of the own chain, into the keyring for the other devices, at
 * the end of a command. That it could not be is said, and is no error. */
KLUIS_MUST_CHECK int app_store_pins(struct app *k);
/* Whether this says that no site could answer, or none would. */
bool app_out_of_reach(int rc);
/* Opens and syncs the vault, or fails: for what the cache cannot do, or must not answer for.
 * KLUIS_ECONNECT with --offline. */
KLUIS_MUST_CHECK int app_open_vault(struct app *k, const char *name, struct vault **ret_vault);
/* As app_open_vault(), for reading: with --offline, or when the sites cannot be reached or cannot
 * answer and there is no --online, as of the last sync, with a sentence that says so and why. */
KLUIS_MUST_CHECK int app_read_vault(struct app *k, const char *name, struct vault **ret_vault);
/* A vault, its tree and the place in it that "VAULT[:/PATH]" names, for reading. Release it also
 * after a failure. */
struct place {
	char *vault_name, *path;
	struct vault *vault;
	struct tree *tree;
	struct tree_item *item; /* NULL: the root. */
};
KLUIS_MUST_CHECK int app_open_place(struct app *k, const char *text, struct place *ret_place);
void app_close_place(struct place *place);
/* The same for writing; `put` belongs to the place. What met another device's changes is told. */
struct writing {
	struct app *k;
	char *vault_name, *path;
	struct vault *vault;
	struct put *put;
};
KLUIS_MUST_CHECK int app_open_writing(struct app *k, const char *text, struct writing *ret_writing);
void app_close_writing(struct writing *writing);
/* For put_config.notice, with the struct invocation as its arg: one sentence to the user. */
void app_notice(struct invocation *inv, const struct change_notice *notice);
/* "dir/name" in a vault: one slash between them. The caller frees it. */
char *app_join(const char *folder, const char *name);
const char *app_base_name(const char *path);

/* To stdout: on a terminal nothing that it would act on, into a pipe or file as it is. */
KLUIS_MUST_CHECK int app_show_text(const char *text, struct err *e);

struct people;
struct membership;
/* KLUIS_EINVAL: a service account's profile, which does not share. */
KLUIS_MUST_CHECK int app_need_person(struct app *k);
/* --role (MEMBER_READ ...); otherwise, when it was not given. */
KLUIS_MUST_CHECK int app_role(struct invocation *inv, unsigned otherwise, unsigned *ret_role);
KLUIS_MUST_CHECK int app_role_of(struct invocation *inv, const char *text, unsigned *ret_role);
/* --role, of who hands something over: MEMBER_READ or MEMBER_WRITE, which it is by itself. */
KLUIS_MUST_CHECK int app_role_kept(struct invocation *inv, unsigned *ret_role);
/* An invitation as lists and `follow` show it. */
struct share_invitation;
json_t *app_invitation_json(const struct share_invitation *invitation);
/* The members of a vault or group by its chain, and what the cluster says of them. */
KLUIS_MUST_CHECK int app_show_members(
	struct app *k, struct people *people, const struct membership *membership);

/* What `device list` and `mfa list` show, for who shows it beside something else. */
struct account_device;
json_t *app_device_rows(const struct account_device *devices, size_t n);
void app_show_devices(const struct output *out, const json_t *rows);
KLUIS_MUST_CHECK int app_factors(struct client *client, json_t **ret_items, struct err *e);
void app_show_factors(const struct output *out, json_t *items);

/* --lock-after, in milliseconds; otherwise_ms when it was not given. */
KLUIS_MUST_CHECK int app_idle_ms(struct invocation *inv, uint64_t otherwise_ms, uint64_t *ret_ms);

int app_register(struct invocation *inv);
int app_login(struct invocation *inv);
int app_passwd(struct invocation *inv);
int app_recover(struct invocation *inv);
int app_device_list(struct invocation *inv);
int app_device_approve(struct invocation *inv);
int app_device_revoke(struct invocation *inv);
int app_mfa_list(struct invocation *inv);
int app_mfa_add(struct invocation *inv);
int app_mfa_confirm(struct invocation *inv);
int app_mfa_remove(struct invocation *inv);
int app_account_show(struct invocation *inv);
int app_account_sheet(struct invocation *inv);
int app_account_sessions(struct invocation *inv);
int app_account_log(struct invocation *inv);
int app_account_export(struct invocation *inv);
int app_account_policy(struct invocation *inv);
int app_account_revoke_rsa(struct invocation *inv);
int app_account_delete(struct invocation *inv);
int app_contact_verify(struct invocation *inv);
int app_agent(struct invocation *inv);
int app_agent_lock(struct invocation *inv);
int app_agent_stop(struct invocation *inv);
int app_agent_status(struct invocation *inv);
int app_enrol(struct invocation *inv);
int app_logout(struct invocation *inv);
int app_vault_create(struct invocation *inv);
int app_vault_list(struct invocation *inv);
int app_vault_restore(struct invocation *inv);
int app_vault_delete(struct invocation *inv);
int app_vault_forget(struct invocation *inv);
int app_push_services(struct invocation *inv);
int app_push_add(struct invocation *inv);
int app_push_list(struct invocation *inv);
int app_push_remove(struct invocation *inv);
int app_push_open(struct invocation *inv);
int app_share(struct invocation *inv);
int app_unshare(struct invocation *inv);
int app_shared_list(struct invocation *inv);
int app_shared_get(struct invocation *inv);
int app_chat_new(struct invocation *inv);
int app_chat_list(struct invocation *inv);
int app_chat_accept(struct invocation *inv);
int app_chat_leave(struct invocation *inv);
int app_chat_role(struct invocation *inv);
int app_chat_transfer(struct invocation *inv);
int app_chat_members(struct invocation *inv);
int app_chat_send(struct invocation *inv);
int app_chat_read(struct invocation *inv);
int app_chat_follow(struct invocation *inv);
int app_chat_history(struct invocation *inv);
int app_inbox_list(struct invocation *inv);
int app_inbox_read(struct invocation *inv);
int app_inbox_take(struct invocation *inv);
int app_inbox_delete(struct invocation *inv);
int app_inbox_leave(struct invocation *inv);
int app_inbox_token_create(struct invocation *inv);
int app_inbox_token_list(struct invocation *inv);
int app_inbox_token_end(struct invocation *inv);
int app_inbox_deliver(struct invocation *inv);
int app_vault_share(struct invocation *inv);
int app_vault_unshare(struct invocation *inv);
int app_vault_members(struct invocation *inv);
int app_vault_rekey(struct invocation *inv);
int app_vault_transfer(struct invocation *inv);
int app_vault_invitations(struct invocation *inv);
int app_vault_accept(struct invocation *inv);
int app_vault_decline(struct invocation *inv);
int app_group_create(struct invocation *inv);
int app_group_list(struct invocation *inv);
int app_group_add(struct invocation *inv);
int app_group_role(struct invocation *inv);
int app_group_transfer(struct invocation *inv);
int app_group_remove(struct invocation *inv);
int app_group_members(struct invocation *inv);
int app_group_rekey(struct invocation *inv);
int app_group_delete(struct invocation *inv);
int app_follow(struct invocation *inv);
int app_put(struct invocation *inv);
int app_rm(struct invocation *inv);
int app_get(struct invocation *inv);
int app_cat(struct invocation *inv);
int app_ls(struct invocation *inv);
int app_verify(struct invocation *inv);
int app_note_add(struct invocation *inv);
int app_note_edit(struct invocation *inv);
int app_note_list(struct invocation *inv);
int app_item_add(struct invocation *inv);
int app_item_show(struct invocation *inv);
int app_item_edit(struct invocation *inv);
int app_item_list(struct invocation *inv);
int app_edit(struct invocation *inv);
int app_mv(struct invocation *inv);
int app_search(struct invocation *inv);
int app_sync(struct invocation *inv);
int app_history(struct invocation *inv);
int app_restore(struct invocation *inv);
int app_export(struct invocation *inv);

#endif
