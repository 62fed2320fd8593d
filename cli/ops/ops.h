/* The program `kluisctl`: what its commands share. */
#ifndef KLUIS_CLI_OPS_OPS_H
#define KLUIS_CLI_OPS_OPS_H

#include "backup/keys.h"
#include "cli/client/api.h"
#include "cli/client/json_reader.h"
#include "cli/ui/command.h"

#define OPS_SOCKET_DEFAULT "/run/kluis/admin.sock"
enum { OPS_SOCKETS_MAX = 16, OPS_LIST_MAX = 100000 };

extern const struct program ops_program;

/* The nth --ssh or --socket, or the default socket as the only one; NULL behind the last. */
const char *ops_socket(const struct invocation *inv, size_t n);
/* A client of one node's admin socket, here or (when --ssh was given) behind that ssh, for as long
 * as --timeout says. `socket` outlives it. */
KLUIS_MUST_CHECK int ops_client(
	struct invocation *inv, const char *socket, struct client **ret_client);
/* As ops_client(), but each call is tried once. */
KLUIS_MUST_CHECK int ops_client_once(
	struct invocation *inv, const char *socket, struct client **ret_client);
/* A connected socket to the admin socket of another machine: host is user@host as ssh takes it.
 * For client_config. KLUIS_EINVAL, KLUIS_ECONNECT. */
KLUIS_MUST_CHECK int ops_ssh_dial(const void *host, int *ret_fd, struct err *e);
/* One call to the first socket; what api_json() does. */
KLUIS_MUST_CHECK int ops_call(struct invocation *inv, const char *method, const char *target,
	json_t *body, json_t **ret_object);
/* All of a list. */
KLUIS_MUST_CHECK int ops_list(struct invocation *inv, const char *target, json_t **ret_items);
/* The number of a node given by number or site. */
KLUIS_MUST_CHECK int ops_node_of(struct invocation *inv, const char *text, uint64_t *ret_node);
/* A text that may stand in a target as one part of a path. */
bool ops_part_valid(const char *text);
/* As invocation_value(), or KLUIS_EINVAL with the reason when it was not given. */
KLUIS_MUST_CHECK int ops_needed(struct invocation *inv, const char *option, const char **ret_value);

/* The private backup keys of --key-file, one at least. Release set, whatever this returns. */
KLUIS_MUST_CHECK int ops_key_files(struct invocation *inv, struct backup_key_set *set);

/* Writes the answer's token to a new file of mode 0600; the answer then names the file in its
 * place. */
KLUIS_MUST_CHECK int ops_token_to_file(struct invocation *inv, json_t *answer, const char *path);

int ops_status(struct invocation *inv);
int ops_member_list(struct invocation *inv);
int ops_member_add(struct invocation *inv);
int ops_member_replace(struct invocation *inv);
int ops_member_remove(struct invocation *inv);
int ops_member_promote(struct invocation *inv);
int ops_member_demote(struct invocation *inv);
int ops_member_drain(struct invocation *inv);
int ops_member_auto(struct invocation *inv);
int ops_member_weight(struct invocation *inv);
int ops_member_voters(struct invocation *inv);
int ops_service_create(struct invocation *inv);
int ops_service_list(struct invocation *inv);
int ops_service_disable(struct invocation *inv);
int ops_user_list(struct invocation *inv);
int ops_user_show(struct invocation *inv);
int ops_user_disable(struct invocation *inv);
int ops_user_enable(struct invocation *inv);
int ops_user_delete(struct invocation *inv);
int ops_user_sessions(struct invocation *inv);
int ops_user_quota(struct invocation *inv);
int ops_user_mfa_reset(struct invocation *inv);
int ops_invite_create(struct invocation *inv);
int ops_invite_list(struct invocation *inv);
int ops_invite_revoke(struct invocation *inv);
int ops_leader_show(struct invocation *inv);
int ops_leader_transfer(struct invocation *inv);
int ops_diagnose(struct invocation *inv);
int ops_bench(struct invocation *inv);
int ops_snapshot_save(struct invocation *inv);
int ops_snapshot_list(struct invocation *inv);
int ops_snapshot_inspect(struct invocation *inv);
int ops_snapshot_verify(struct invocation *inv);
int ops_snapshot_pin(struct invocation *inv);
int ops_snapshot_unpin(struct invocation *inv);
int ops_backup_schedule(struct invocation *inv);
int ops_backup_run(struct invocation *inv);
int ops_restore_plan(struct invocation *inv);
int ops_restore_cluster(struct invocation *inv);
int ops_restore_vault(struct invocation *inv);
int ops_pki_init(struct invocation *inv);
int ops_pki_issue(struct invocation *inv);
int ops_backup_status(struct invocation *inv);
int ops_backup_drill(struct invocation *inv);
int ops_backup_keys_init(struct invocation *inv);
int ops_backup_keys_rotate(struct invocation *inv);
int ops_backup_keys_split(struct invocation *inv);
int ops_backup_keys_combine(struct invocation *inv);
int ops_backup_keys_sign(struct invocation *inv);
int ops_ssh_keys(struct invocation *inv);
int ops_ssh_trust(struct invocation *inv);
int ops_ssh_check(struct invocation *inv);
int ops_ssh_rotate(struct invocation *inv);
int ops_admin_proxy(struct invocation *inv);

#endif
