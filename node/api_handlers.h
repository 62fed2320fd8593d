/* The handlers that the route table names; each is documented by docs/openapi.yaml under its
 * route's name. Private to node/. */
#ifndef KLUIS_NODE_API_HANDLERS_H
#define KLUIS_NODE_API_HANDLERS_H

#include "node/api_call.h"
#include "storage/vault_store.h"

int health_live_parse(struct api_call *call);
int health_ready_read(struct api_call *call);
int limits_parse(struct api_call *call);
int version_read(struct api_call *call);
int well_known_read(struct api_call *call);

int service_enrol_parse(struct api_call *call);
int service_enrol_read(struct api_call *call);
int service_enrol_check(struct api_call *call);
int service_enrol_applied(struct api_call *call);
int login_start_parse(struct api_call *call);
int login_finish_parse(struct api_call *call);
int login_finish_read(struct api_call *call);
int login_finish_check(struct api_call *call);
int login_finish_applied(struct api_call *call);

int logout_read(struct api_call *call);
int session_list_read(struct api_call *call);
int session_end_others_read(struct api_call *call);
int session_id_parse(struct api_call *call);
int session_get_read(struct api_call *call);
int session_end_read(struct api_call *call);

int vault_id_parse(struct api_call *call); /* For every route below a vault. */
int vault_list_read(struct api_call *call);
int vault_create_parse(struct api_call *call);
int vault_create_read(struct api_call *call);
int vault_create_check(struct api_call *call);
int vault_get_read(struct api_call *call);
int vault_patch_parse(struct api_call *call);
int vault_patch_read(struct api_call *call);
int vault_delete_read(struct api_call *call);
int vault_applied(struct api_call *call); /* Of create and patch. */

int head_get_read(struct api_call *call);
int head_list_parse(struct api_call *call);
int head_list_read(struct api_call *call);
int change_list_parse(struct api_call *call);
int change_list_read(struct api_call *call);

int page_parse_path(struct api_call *call);
int page_get_read(struct api_call *call);
int version_list_read(struct api_call *call);
int version_parse_path(struct api_call *call);
int version_get_read(struct api_call *call);
int pages_get_parse(struct api_call *call);
int pages_get_read(struct api_call *call);
int pages_get_more(struct api_call *call);

int page_put_parse(struct api_call *call);
int page_put_read(struct api_call *call);
bool page_put_answered(struct api_call *call);
int page_put_applied(struct api_call *call);
int commit_parse(struct api_call *call);
int commit_read(struct api_call *call);
int commit_check(struct api_call *call); /* Of page_put, too. */
bool commit_answered(struct api_call *call);
int commit_applied(struct api_call *call);
int staged_put_parse(struct api_call *call);
int staged_put_read(struct api_call *call);
int staged_put_check(struct api_call *call);
int staged_put_applied(struct api_call *call);
int staged_head_parse(struct api_call *call);
int staged_head_read(struct api_call *call);

int sys_status_read(struct api_call *call);
int sys_members_read(struct api_call *call);
int sys_member_add_parse(struct api_call *call);
int sys_member_add_read(struct api_call *call);
int sys_member_wish_read(struct api_call *call);
int sys_member_weight_parse(struct api_call *call);
int sys_member_weight_read(struct api_call *call);
int sys_voters_parse(struct api_call *call);
int sys_voters_read(struct api_call *call);
int sys_leader_read(struct api_call *call);
int sys_transfer_parse(struct api_call *call);
int sys_transfer_read(struct api_call *call);
int sys_transfer_begin(struct api_call *call);
int sys_health_read(struct api_call *call);
int sys_metrics_parse(struct api_call *call);
int sys_alarms_read(struct api_call *call);
int sys_config_parse(struct api_call *call);
int sys_audit_read(struct api_call *call);
int sys_reload_begin(struct api_call *call);
int sys_readonly_parse(struct api_call *call);
int sys_readonly_read(struct api_call *call);
int sys_service_list_read(struct api_call *call);
int sys_service_create_parse(struct api_call *call);
int sys_service_create_read(struct api_call *call);
int sys_service_create_applied(struct api_call *call);
int sys_service_disable_read(struct api_call *call);
int sys_backups_read(struct api_call *call);
int sys_snapshot_list_read(struct api_call *call);
int sys_snapshot_save_parse(struct api_call *call);
int sys_snapshot_save_read(struct api_call *call);
int sys_snapshot_save_applied(struct api_call *call);
void sys_snapshot_save_finish(struct api_call *call);
int sys_snapshot_get_read(struct api_call *call);
int sys_snapshot_verify_parse(struct api_call *call);
int sys_snapshot_verify_read(struct api_call *call);
int sys_snapshot_verify_begin(struct api_call *call);

/* Shared by those of one family. */

/* A token: prefix and 43 characters of base64url, and SHA-256 of all 47. */
enum { API_TOKEN_CHARS = 4 + 43 };
void api_token_make(struct random *random, const char prefix[4], char to[API_TOKEN_CHARS + 1],
	uint8_t ret_hash[32]);
/* The vault of the path, for this session's user with at least this role. */
KLUIS_MUST_CHECK int call_vault(
	struct api_call *call, unsigned role_min, struct vault_row *ret_row, unsigned *ret_role);
/* The sign key of the session's device. KLUIS_EUNAUTHENTICATED when it is revoked. */
KLUIS_MUST_CHECK int call_device_key(struct api_call *call, uint8_t ret_key[65]);
void head_etag(const struct vault_row *row, char to[ETAG_CHARS_MAX + 1]);

#endif
