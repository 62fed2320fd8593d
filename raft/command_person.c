#include <string.h>

#include "raft/command_body.h"
#include "storage/policy_store.h"
#include "storage/session_store.h"

/* Slot ids strictly ascending: none twice, and one form only. */
static void codec_shares(struct codec *c, struct command_credentials *body)
{
	codec_u8(c, &body->n_shares, 1, UNLOCK_SHARES_MAX);
	for (unsigned i = 0; i < body->n_shares && i < UNLOCK_SHARES_MAX; i++) {
		struct command_share *share = &body->share[i];

		codec_fixed(c, share->slot_id, sizeof share->slot_id);
		codec_fixed(c, share->share, sizeof share->share);
		codec_need(c, i == 0 || memcmp(share[-1].slot_id, share->slot_id, 16) < 0);
	}
}

static void codec_credentials(struct codec *c, struct command_credentials *body)
{
	codec_u8(c, &body->group, SRP_GROUP_2048, SRP_GROUP_6144);
	codec_fixed(c, body->salt, sizeof body->salt);
	codec_fixed(c, body->kdf, sizeof body->kdf);
	codec_u8(c, &body->pepper_id, 0, UINT8_MAX);
	codec_run(c, &body->verifier, 1, VERIFIER_SEALED_BYTES_MAX);
	codec_fixed(c, body->recovery_key, sizeof body->recovery_key);
	codec_shares(c, body);
}

static void codec_keyring(struct codec *c, struct bytes *keyring)
{
	codec_run(c, keyring, 1, KEYRING_BYTES_MAX);
}

static void codec_statement(struct codec *c, struct bytes *statement)
{
	codec_run(c, statement, 1, STATEMENT_BYTES_MAX);
}

static void codec_actor(struct codec *c, struct bytes *actor)
{
	codec_text(c, actor, COMMAND_ACTOR_BYTES_MAX);
}

static void codec_proof(struct codec *c, struct command_proof *proof)
{
	codec_bool(c, &proof->given);
	if (proof->given) {
		codec_fixed(c, proof->mfa_id, sizeof proof->mfa_id);
		codec_u64(c, &proof->number, 0);
	}
}

void body_person_register(struct codec *c, struct command_person_register *body)
{
	codec_name(c, &body->name);
	codec_run(c, &body->invite, 0, 32);
	codec_need(c, body->invite.len == 0 || body->invite.len == 32);
	codec_credentials(c, &body->credentials);
	codec_statement(c, &body->identity);
	codec_statement(c, &body->device);
	codec_keyring(c, &body->keyring);
}

void body_person_login(struct codec *c, struct command_person_login *body)
{
	codec_fixed(c, body->user_id, sizeof body->user_id);
	codec_fixed(c, body->device_id, sizeof body->device_id);
	codec_u64(c, &body->credential, 1);
	codec_fixed(c, body->token_hash, sizeof body->token_hash);
	codec_u32(c, &body->ttl_ms, 1, SESSION_MS_MAX);
	codec_bool(c, &body->elsewhere);
}

void body_login_failed(struct codec *c, struct command_login_failed *body)
{
	codec_u8(c, &body->kind, GUARD_PASSWORD, GUARD_DEVICE);
	codec_need(c, body->kind != GUARD_CODE);
	codec_fixed(c, body->id, sizeof body->id);
	codec_fixed(c, body->user_id, sizeof body->user_id);
}

void body_session_upgrade(struct codec *c, struct command_session_upgrade *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->mfa_id, sizeof body->mfa_id);
	codec_u64(c, &body->number, 0);
	codec_u32(c, &body->ttl_ms, 1, SESSION_MS_MAX);
	codec_u32(c, &body->delay_ms, 0, SESSION_MS_MAX);
	codec_need(c, body->delay_ms < body->ttl_ms);
}

void body_code_failed(struct codec *c, struct command_code_failed *body)
{
	codec_session(c, &body->session);
}

void body_keyring_put(struct codec *c, struct command_keyring_put *body)
{
	codec_session(c, &body->session);
	codec_keyring(c, &body->keyring);
}

void body_password_change(struct codec *c, struct command_password_change *body)
{
	codec_session(c, &body->session);
	codec_credentials(c, &body->credentials);
	codec_keyring(c, &body->keyring);
}

void body_recovery_begin(struct codec *c, struct command_recovery_begin *body)
{
	codec_fixed(c, body->user_id, sizeof body->user_id);
	codec_u64(c, &body->credential, 1);
	codec_fixed(c, body->token_hash, sizeof body->token_hash);
	codec_u32(c, &body->ttl_ms, 1, SESSION_MS_MAX);
	codec_u32(c, &body->delay_ms, 0, SESSION_MS_MAX);
	codec_need(c, body->delay_ms < body->ttl_ms);
	codec_bool(c, &body->elsewhere);
}

void body_recovery_cancel(struct codec *c, struct command_recovery_cancel *body)
{
	codec_session(c, &body->session);
}

void body_mfa_add(struct codec *c, struct command_mfa_add *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->mfa_id, sizeof body->mfa_id);
	codec_u8(c, &body->method, MFA_TOTP, MFA_LOCATION);
	codec_u8(c, &body->pepper_id, 0, UINT8_MAX);
	codec_run(c, &body->secret, 0, MFA_SECRET_BYTES_MAX);
	codec_run(c, &body->params, 0, MFA_PARAMS_BYTES_MAX);
	codec_text(c, &body->label, MFA_LABEL_BYTES_MAX);
	codec_u64(c, &body->next, 0);
	codec_proof(c, &body->proof);
}

void body_mfa_confirm(struct codec *c, struct command_mfa_confirm *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->mfa_id, sizeof body->mfa_id);
	codec_u64(c, &body->number, 0);
}

void body_mfa_remove(struct codec *c, struct command_mfa_remove *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->mfa_id, sizeof body->mfa_id);
	codec_proof(c, &body->proof);
}

void body_device_pend(struct codec *c, struct command_device_pend *body)
{
	codec_session(c, &body->session);
	codec_statement(c, &body->statement);
}

void body_device_refuse(struct codec *c, struct command_device_refuse *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->device_id, sizeof body->device_id);
}

void body_account_delete(struct codec *c, struct command_account_delete *body)
{
	codec_session(c, &body->session);
}

void body_access_note(struct codec *c, struct command_access_note *body)
{
	codec_session(c, &body->session);
	codec_u8(c, &body->event, ACCESS_UNLOCKED, ACCESS_EXPORTED);
	codec_need(c, body->event == ACCESS_UNLOCKED || body->event == ACCESS_EXPORTED);
	codec_fixed(c, body->object, sizeof body->object);
}

void body_invite_create(struct codec *c, struct command_invite_create *body)
{
	codec_actor(c, &body->actor);
	codec_fixed(c, body->token_hash, sizeof body->token_hash);
	codec_u32(c, &body->uses, 1, INVITE_USES_MAX);
	codec_u32(c, &body->ttl_ms, 1, SESSION_MS_MAX);
	codec_text(c, &body->note, INVITE_NOTE_BYTES_MAX);
}

void body_invite_delete(struct codec *c, struct command_invite_delete *body)
{
	codec_actor(c, &body->actor);
	codec_fixed(c, body->token_hash, sizeof body->token_hash);
}

void body_person_rule(struct codec *c, struct command_person_rule *body)
{
	codec_actor(c, &body->actor);
	codec_name(c, &body->name);
	codec_u8(c, &body->what, PERSON_DISABLE, PERSON_MFA_RESET);
}

void body_session_device(struct codec *c, struct command_session_device *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->device_id, sizeof body->device_id);
	codec_fixed(c, body->token_hash, sizeof body->token_hash);
}

void body_person_quota(struct codec *c, struct command_person_quota *body)
{
	codec_actor(c, &body->actor);
	codec_name(c, &body->name);
	codec_u32(c, &body->vaults_max, 0, PERSON_VAULTS_MAX);
	codec_u32(c, &body->pages_max, 0, UINT32_MAX);
	codec_u64(c, &body->bytes_max, 0);
	codec_u64(c, &body->all_pages_max, 0);
}

void body_policy_announce(struct codec *c, struct command_policy_announce *body)
{
	codec_u64(c, &body->node, 1);
	codec_u8(c, &body->registration, POLICY_CLOSED, POLICY_OPEN);
	codec_u32(c, &body->recovery_delay_ms, 0, SESSION_MS_MAX);
	codec_u64(c, &body->bytes_max, 0);
	codec_u64(c, &body->pages_max, 0);
}
