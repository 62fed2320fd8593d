/* The handlers that the route table names; each is documented by docs/openapi.yaml under its
 * route's name. Private to node/. */
#ifndef KLUIS_NODE_API_HANDLERS_H
#define KLUIS_NODE_API_HANDLERS_H

#include "crypto/identity.h"
#include "crypto/keyring.h"
#include "node/api_call.h"
#include "node/handshake.h"
#include "storage/person_store.h"
#include "storage/vault_store.h"

/* The body {member: handshake, signature} of an answer to a challenge, which goes out of the table
 * now: a challenge is worth one answer, right or wrong, the caller's from now on. KLUIS_ENOTFOUND,
 * with no text: there is none (any more), and the caller says so in its own words. */
KLUIS_MUST_CHECK int call_take_challenge(struct api_call *call, struct handshake_table *table,
	const char *member, struct handshake **ret_handshake,
	uint8_t ret_signature[SIGN_ECDSA_BYTES]);

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

int push_services_read(struct api_call *call);
int push_list_read(struct api_call *call);
int push_add_parse(struct api_call *call);
int push_add_read(struct api_call *call);
int push_add_applied(struct api_call *call);
int push_delete_parse(struct api_call *call);
int push_delete_read(struct api_call *call);
int push_send_parse(struct api_call *call);
int push_send_read(struct api_call *call);
void push_send_finish(struct api_call *call);

int logout_read(struct api_call *call);
int session_list_read(struct api_call *call);
int session_end_others_read(struct api_call *call);
int session_id_parse(struct api_call *call);
int session_get_read(struct api_call *call);
int session_end_read(struct api_call *call);

/* For every route below a vault; also below a group or conversation, whose id it is then. */
int vault_id_parse(struct api_call *call);
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
int sys_schedule_read(struct api_call *call);
int sys_snapshot_list_read(struct api_call *call);
int sys_snapshot_save_parse(struct api_call *call);
int sys_snapshot_save_read(struct api_call *call);
int sys_snapshot_save_applied(struct api_call *call);
void sys_snapshot_save_finish(struct api_call *call);
int sys_snapshot_get_read(struct api_call *call);
int sys_snapshot_verify_parse(struct api_call *call);
int sys_snapshot_verify_read(struct api_call *call);
int sys_snapshot_verify_begin(struct api_call *call);
int sys_snapshot_check_parse(struct api_call *call);
int sys_snapshot_check_read(struct api_call *call);
int sys_snapshot_pin_read(struct api_call *call);
int sys_snapshot_unpin_read(struct api_call *call);

int register_parse(struct api_call *call);
int register_read(struct api_call *call);
int register_check(struct api_call *call);
int register_applied(struct api_call *call);
int password_start_parse(struct api_call *call);
int password_start_read(struct api_call *call);
int password_start_check(struct api_call *call);
void password_start_finish(struct api_call *call);
int password_finish_parse(struct api_call *call);
int password_finish_read(struct api_call *call);
int password_finish_check(struct api_call *call);
int password_finish_applied(struct api_call *call);
int unlock_get_read(struct api_call *call);
int unlock_get_check(struct api_call *call);
int unlock_get_applied(struct api_call *call);
int keyring_get_read(struct api_call *call);
int keyring_put_read(struct api_call *call);
int keyring_put_check(struct api_call *call);
int keyring_put_applied(struct api_call *call);
int keyring_version_list_read(struct api_call *call);
int keyring_version_parse(struct api_call *call);
int keyring_version_get_read(struct api_call *call);
int password_set_parse(struct api_call *call);
int password_set_read(struct api_call *call);
int password_set_check(struct api_call *call);
int password_set_applied(struct api_call *call);
int recovery_start_parse(struct api_call *call);
int recovery_start_read(struct api_call *call);
void recovery_start_finish(struct api_call *call);
int recovery_finish_parse(struct api_call *call);
int recovery_finish_read(struct api_call *call);
int recovery_finish_check(struct api_call *call);
int recovery_finish_applied(struct api_call *call);
int recovery_cancel_read(struct api_call *call);

int device_list_read(struct api_call *call);
int device_add_parse(struct api_call *call);
int device_add_read(struct api_call *call);
int device_add_check(struct api_call *call);
int device_add_applied(struct api_call *call);
int device_id_parse(struct api_call *call);
int device_approve_parse(struct api_call *call);
int device_approve_read(struct api_call *call);
int device_append_check(struct api_call *call);
int device_approve_applied(struct api_call *call);
int device_refuse_read(struct api_call *call);
int device_revoke_parse(struct api_call *call);
int device_revoke_read(struct api_call *call);
int device_revoke_applied(struct api_call *call);

int mfa_list_read(struct api_call *call);
int mfa_challenge_parse(struct api_call *call);
int mfa_challenge_read(struct api_call *call);
void mfa_challenge_finish(struct api_call *call);
int mfa_totp_parse(struct api_call *call);
int mfa_hotp_parse(struct api_call *call);
int mfa_fido_parse(struct api_call *call);
int mfa_ip_parse(struct api_call *call);
int mfa_location_parse(struct api_call *call);
int mfa_rows_read(struct api_call *call); /* Of those that add, verify and remove. */
int mfa_add_check(struct api_call *call);
int mfa_add_applied(struct api_call *call);
int mfa_verify_parse(struct api_call *call);
int mfa_verify_check(struct api_call *call);
int mfa_verify_applied(struct api_call *call);
int mfa_remove_parse(struct api_call *call);
int mfa_remove_check(struct api_call *call);
int mfa_remove_applied(struct api_call *call);

int account_get_read(struct api_call *call);
int account_patch_parse(struct api_call *call);
int account_patch_read(struct api_call *call);
int account_patch_check(struct api_call *call);
int account_patch_applied(struct api_call *call);
int account_delete_read(struct api_call *call);
int account_usage_read(struct api_call *call);
int account_export_read(struct api_call *call);
int account_export_applied(struct api_call *call);
int access_log_read(struct api_call *call);
int user_get_parse(struct api_call *call);
int user_get_read(struct api_call *call);
int user_get_check(struct api_call *call);
int user_identity_parse(struct api_call *call);
int user_identity_read(struct api_call *call);

int call_ice_read(struct api_call *call);
int call_signal_parse(struct api_call *call);
int call_signal_read(struct api_call *call);
int call_signal_begin(struct api_call *call);
int event_ticket_read(struct api_call *call);
void event_ticket_finish(struct api_call *call);
int event_poll_parse(struct api_call *call);
int event_poll_begin(struct api_call *call);
void event_poll_finish(struct api_call *call);

int member_list_read(struct api_call *call); /* Of the object of the path, as the next. */
int member_chain_parse(struct api_call *call);
int member_chain_read(struct api_call *call);
int members_change_parse(struct api_call *call);
int members_change_read(struct api_call *call);
int members_change_check(struct api_call *call); /* Of object_create, too. */
int members_change_applied(struct api_call *call);
int member_accept_read(struct api_call *call);
int member_decline_read(struct api_call *call);

int object_list_read(struct api_call *call); /* Groups or conversations, as the next. */
int object_get_read(struct api_call *call);
int object_create_parse(struct api_call *call);
int object_create_read(struct api_call *call);
int object_create_applied(struct api_call *call);
int object_delete_read(struct api_call *call);

int epoch_send_parse(struct api_call *call);
int epoch_send_read(struct api_call *call);
int epoch_send_check(struct api_call *call);
bool epoch_send_answered(struct api_call *call);
int message_send_parse(struct api_call *call);
int message_send_read(struct api_call *call);
int message_send_check(struct api_call *call);
bool message_send_answered(struct api_call *call);
int message_list_read(struct api_call *call);
int receipt_send_parse(struct api_call *call);
int receipt_send_read(struct api_call *call);
int receipt_list_read(struct api_call *call);

int packet_list_read(struct api_call *call);
int packet_send_parse(struct api_call *call);
int packet_send_read(struct api_call *call);
int packet_send_check(struct api_call *call);
int pages_unshare_parse(struct api_call *call);
int pages_unshare_read(struct api_call *call);
int packet_ack_parse(struct api_call *call);
int packet_ack_read(struct api_call *call);

int deposit_parse(struct api_call *call);
int deposit_read(struct api_call *call);
bool deposit_answered(struct api_call *call);
int inbox_list_read(struct api_call *call);
int inbox_id_parse(struct api_call *call);
int inbox_get_read(struct api_call *call);
int inbox_delete_read(struct api_call *call);
int inbox_token_list_read(struct api_call *call);
int inbox_token_create_parse(struct api_call *call);
int inbox_token_create_read(struct api_call *call);
int inbox_token_create_applied(struct api_call *call);
int inbox_token_end_read(struct api_call *call);

int sys_user_list_read(struct api_call *call);
int sys_user_get_read(struct api_call *call);
int sys_user_disable_read(struct api_call *call);
int sys_user_enable_read(struct api_call *call);
int sys_user_delete_read(struct api_call *call);
int sys_user_quota_parse(struct api_call *call);
int sys_user_quota_read(struct api_call *call);
int sys_user_sessions_read(struct api_call *call);
int sys_user_sessions_end_read(struct api_call *call);
int sys_user_mfa_reset_read(struct api_call *call);
int sys_invite_list_read(struct api_call *call);
int sys_invite_create_parse(struct api_call *call);
int sys_invite_create_read(struct api_call *call);
int sys_invite_create_applied(struct api_call *call);
int sys_invite_revoke_parse(struct api_call *call);
int sys_invite_revoke_read(struct api_call *call);

/* Shared by those of one family. */

/* A token: prefix and 43 characters of base64url, and SHA-256 of all 47. */
enum { API_TOKEN_CHARS = 4 + 43 };
void api_token_make(struct random *random, const char prefix[4], char to[API_TOKEN_CHARS + 1],
	uint8_t ret_hash[32]);
/* Of such a token that somebody sent: KLUIS_EINVAL unless it has this form. */
KLUIS_MUST_CHECK int api_token_hash(struct bytes token, const char prefix[4], uint8_t ret_hash[32]);
/* What a client did wrong, not a fault of this node: `what` stands before call's text. */
int call_refusal(struct api_call *call, int rc, const char *what);
/* KLUIS_EINVAL unless it can be an account's. */
KLUIS_MUST_CHECK int call_name(
	struct api_call *call, struct bytes name, char to[ACCOUNT_NAME_BYTES_MAX + 1]);
/* Whether a session of this level may use the route: KLUIS_EMFA, KLUIS_EFORBIDDEN. On call->view.
 */
KLUIS_MUST_CHECK int call_session_permits(struct api_call *call);
/* The reply: a list of this user's sessions. */
KLUIS_MUST_CHECK int call_sessions(struct api_call *call, const uint8_t user_id[16]);
/* Members session_id, user_id, level, mfa and expires of a session that was just made. */
/* How long a session lives from now on, and of a recovery how long it has to wait. */
void call_session_life(
	const struct api_call *call, bool recovery, uint32_t *ret_ttl_ms, uint32_t *ret_delay_ms);
KLUIS_MUST_CHECK int call_session_reply(
	struct api_call *call, const uint8_t token_hash[32], json_t *body);
/* Appends the names of the user's second factors, each method once: those that a login needs a
 * proof of, or all that count. */
KLUIS_MUST_CHECK int call_mfa_names(
	struct api_call *call, const uint8_t user_id[16], bool proofs, json_t *names);
/* The person of this name, or the id that a name which nobody has always gets, by as much work. */
KLUIS_MUST_CHECK int call_person(struct api_call *call, const char *name, uint8_t ret_id[16],
	struct person_row *ret_person, bool *ret_known);
/* The session's person. KLUIS_EFORBIDDEN: it is a service's. */
KLUIS_MUST_CHECK int call_own_person(struct api_call *call, struct person_row *ret_person);
/* Appends the person's current keyring. */
KLUIS_MUST_CHECK int call_keyring(
	struct api_call *call, const struct person_row *person, struct buf *to);
/* KLUIS_EFORBIDDEN unless its user signed in within FRESH_LOGIN_MS. */
KLUIS_MUST_CHECK int call_need_fresh(struct api_call *call);
/* KLUIS_EFORBIDDEN unless the session is of an enrolled device. */
KLUIS_MUST_CHECK int call_need_device(struct api_call *call);
/* What its client has to sign: the handshake's id under id_name, challenge, expires_in_ms. */
void call_challenge(const struct handshake *made, const char *id_name, json_t *body);
/* The same answer whatever was wrong with a login; KLUIS_EUNAUTHENTICATED. */
int call_login_refused(struct api_call *call);
/* For how long failures hold back the next try (storage/guard_store.h); and KLUIS_ERATE that says
 * so. */
KLUIS_MUST_CHECK int call_blocked_ms(
	struct api_call *call, unsigned kind, const uint8_t id[16], uint64_t *ret_ms);
int call_login_blocked(struct api_call *call, uint64_t for_ms);
/* After a command that a quota refused: KLUIS_EQUOTA, saying what the session's user has and may
 * have; KLUIS_EAGAIN. */
KLUIS_MUST_CHECK int call_quota_told(struct api_call *call);
/* As keyring_follows(), the stored one again included; on KLUIS_EPRECONDITION current_etag is set.
 */
KLUIS_MUST_CHECK int call_keyring_follows(
	struct api_call *call, const struct keyring_view *view, const struct person_row *stored);
/* The user's whole chain, verified, into an identity of identity_init(), which the caller releases.
 * On pool_db: 0.1 ms a statement. */
KLUIS_MUST_CHECK int call_identity(
	struct api_call *call, const uint8_t user_id[16], struct identity *identity);
/* Appends all devices of the user. */
KLUIS_MUST_CHECK int call_devices(struct api_call *call, const uint8_t user_id[16], json_t *to);
/* The vault of the path, for this session's user with at least this role. */
KLUIS_MUST_CHECK int call_vault(
	struct api_call *call, unsigned role_min, struct vault_row *ret_row, unsigned *ret_role);
/* Members of a conversation's JSON: its last seq, and what the session's device has. */
KLUIS_MUST_CHECK int call_chat_state(struct api_call *call, const uint8_t conv_id[16], json_t *to);
/* The sign key of the session's device. KLUIS_EUNAUTHENTICATED when it is revoked,
 * KLUIS_EFORBIDDEN when the session has none. */
KLUIS_MUST_CHECK int call_device_key(struct api_call *call, uint8_t ret_key[65]);
void head_etag(const struct vault_row *row, char to[ETAG_CHARS_MAX + 1]);

#endif
