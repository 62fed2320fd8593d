#include <assert.h>
#include <string.h>

#include "crypto/kdf.h"
#include "raft/fsm_apply.h"
#include "storage/chat_store.h"
#include "storage/deletion_store.h"
#include "storage/policy_store.h"
#include "storage/use_store.h"

/* Persons come, are ruled by operators, and go. */

struct registration {
	const struct command_person_register *c;
	char name[ACCOUNT_NAME_BYTES_MAX + 1];
	struct identity_birth birth;
	struct keyring_view keyring;
	struct person_row person;
};

static int register_parse(struct apply *a, struct registration *m)
{
	int rc = apply_birth_parse(a, m->name, m->c->identity, m->c->device, &m->birth);

	if (rc != 0) {
		return rc;
	}
	memcpy(m->person.user_id, m->birth.genesis.object_id, 16);
	rc = keyring_parse(m->c->keyring, &m->keyring, a->e);
	if (rc != 0) {
		return apply_refusal(rc);
	}
	rc = keyring_follows(&m->keyring, m->person.user_id, 0, m->person.keyring_hash, a->e);
	if (rc != 0) {
		return err_set(a->e, KLUIS_EINVAL, "no first keyring of this person");
	}
	return apply_check_credentials(a, &m->c->credentials, &m->keyring);
}

/* 1: this very person is there already. 0: not. */
static int register_is_retry(struct apply *a, const struct registration *m, bool *ret_taken)
{
	struct person_name_row name;
	struct account_row account;
	struct keyring_row first;
	_cleanup_(buf_release) struct buf keyring = BUF_INIT;
	bool same = false;
	int rc = person_name_store_get(a->view, m->name, &name, a->e);

	*ret_taken = rc == 0;
	if (rc == KLUIS_ENOTFOUND) {
		rc = account_store_get(a->view, m->name, &account, a->e);
		*ret_taken = rc == 0;
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	if (rc != 0 || name.gone || memcmp(name.user_id, m->person.user_id, 16) != 0) {
		return rc;
	}
	rc = apply_birth_is(a, name.user_id, &m->birth, &same);
	if (rc != 0 || !same) {
		return rc;
	}
	rc = keyring_store_get(a->view, name.user_id, 1, &first, &keyring, a->e);
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	return memcmp(first.hash, m->keyring.hash, 32) == 0;
}

static int register_spend_invite(struct apply *a, struct bytes token_hash)
{
	struct invite_row row;
	struct policy policy;
	int rc = policy_store_get(a->view, &policy, a->e);

	if (rc == 0 && (policy.registration == POLICY_CLOSED ||
			       (policy.registration == POLICY_INVITE && token_hash.len == 0))) {
		rc = err_set(a->e, KLUIS_EFORBIDDEN, "a node's settings do not let her in");
	}
	if (rc != 0 || token_hash.len == 0) {
		return rc;
	}
	assert(token_hash.len == 32);
	rc = invite_store_get(a->view, token_hash.data, &row, a->e);
	if (rc == KLUIS_ENOTFOUND || (rc == 0 && a->now_ms >= row.expires_ms)) {
		return err_set(a->e, KLUIS_EFORBIDDEN, "the invitation is of no use");
	}
	if (rc == 0 && --row.uses_left == 0) {
		invite_store_delete(a->txn, &row);
	} else if (rc == 0) {
		invite_store_put(a->txn, &row);
	}
	return rc;
}

static int register_sample(struct apply *a, const struct command_credentials *c)
{
	struct samples_row samples;
	struct kdf kdf;
	int rc = samples_store_get(a->view, &samples, a->e);

	if (rc != 0 || samples.n == SRP_SAMPLE_MAX) {
		return rc;
	}
	rc = kdf_decode(bytes_of(c->kdf, sizeof c->kdf), &kdf, a->e);
	if (rc != 0) {
		return apply_refusal(rc);
	}
	samples.sample[samples.n++] = (struct srp_sample){
		.login_count = kdf.login_count, .group = c->group, .flags = kdf.flags};
	samples_store_put(a->txn, &samples);
	return 0;
}

static int register_log(struct apply *a, const struct registration *m)
{
	struct session_row session = {.level = SESSION_FULL};
	int rc;

	memcpy(session.user_id, m->person.user_id, 16);
	memcpy(session.device_id, m->birth.device.device_id, 16);
	rc = apply_access(a, &session, ACCESS_REGISTERED, bytes_of(m->birth.genesis.hash, 32));
	return rc != 0 ? rc
		       : apply_audit_user(
				 a, COMMAND_PERSON_REGISTER, m->person.user_id, bytes_str(m->name));
}

static int register_write(struct apply *a, struct registration *m)
{
	struct person_name_row name = {.gone = false};
	int rc = apply_birth_write(a, m->name, &m->birth, m->c->identity, m->c->device);

	rc = rc != 0 ? rc : apply_put_credentials(a, &m->c->credentials, &m->person);
	rc = rc != 0 ? rc : apply_put_keyring(a, &m->keyring, &m->person);
	rc = rc != 0 ? rc : register_sample(a, &m->c->credentials);
	if (rc != 0) {
		return rc;
	}
	memcpy(name.name, m->name, sizeof name.name);
	memcpy(name.user_id, m->person.user_id, 16);
	person_name_store_put(a->txn, &name);
	person_store_put(a->txn, &m->person);
	use_store_begin(a->txn, m->person.user_id);
	return register_log(a, m);
}

int apply_person_register(struct apply *a, const struct command_person_register *c)
{
	struct registration m = {.c = c};
	bool taken = false;
	int rc;

	apply_name(c->name, m.name);
	rc = register_parse(a, &m);
	rc = rc != 0 ? rc : register_is_retry(a, &m, &taken);
	if (rc == 0) {
		rc = apply_writable(a);
		/* Before the name: who was not invited learns nothing of names. */
		rc = rc != 0 ? rc : register_spend_invite(a, c->invite);
		rc = rc == 0 && taken ? err_set(a->e, KLUIS_EEXIST, "the name is taken") : rc;
		rc = rc != 0 ? rc : register_write(a, &m);
	}
	a->reply = (struct command_reply){.number = 0};
	memcpy(a->reply.id, m.person.user_id, 16);
	memcpy(a->reply.second_id, m.birth.device.device_id, 16);
	return rc > 0 ? 0 : rc;
}

int apply_access_note(struct apply *a, const struct command_access_note *c)
{
	static const uint8_t none[16];
	struct session_row session;
	int rc = apply_session(a, &c->session, &session);

	if (rc != 0) {
		return rc;
	}
	return apply_access(a, &session, (enum access_event)c->event,
		bytes_of(c->object, memcmp(c->object, none, 16) == 0 ? 0 : 16));
}

int apply_delete_person(struct apply *a, const uint8_t user_id[16])
{
	int rc = apply_end_sessions(a, user_id, NULL, NULL);

	return rc != 0 ? rc : deletion_person(a->txn, user_id, a->index, a->now_ms, a->e);
}

int apply_account_delete(struct apply *a, const struct command_account_delete *c)
{
	struct session_row session;
	struct person_row person;
	int rc = apply_fresh_session(a, &c->session, &session);

	if (rc == 0) {
		rc = person_store_get(a->view, session.user_id, &person, a->e);
		if (rc == KLUIS_ENOTFOUND) {
			rc = err_set(a->e, KLUIS_EFORBIDDEN, "not a person's account");
		}
	}
	rc = rc != 0 ? rc : apply_delete_person(a, session.user_id);
	return rc != 0 ? rc
		       : apply_audit_user(a, COMMAND_ACCOUNT_DELETE, session.user_id,
				 bytes_of(session.user_id, 16));
}

int apply_invite_create(struct apply *a, const struct command_invite_create *c)
{
	struct invite_row row = {
		.created_ms = a->now_ms, .expires_ms = a->now_ms + c->ttl_ms, .uses_left = c->uses};
	struct invite_row old;
	int rc = apply_writable(a);

	rc = rc != 0 ? rc : invite_store_get(a->view, c->token_hash, &old, a->e);
	if (rc != KLUIS_ENOTFOUND) {
		return rc != 0 ? rc : err_set(a->e, KLUIS_EEXIST, "the invitation is there");
	}
	memcpy(row.token_hash, c->token_hash, 32);
	if (c->note.len > 0) {
		memcpy(row.note, c->note.data, c->note.len);
	}
	invite_store_put(a->txn, &row);
	a->reply.number = row.expires_ms;
	return apply_audit(a, COMMAND_INVITE_CREATE, c->actor, bytes_of(c->token_hash, 8));
}

int apply_invite_delete(struct apply *a, const struct command_invite_delete *c)
{
	struct invite_row row;
	int rc = invite_store_get(a->view, c->token_hash, &row, a->e);

	if (rc != 0) {
		return rc;
	}
	invite_store_delete(a->txn, &row);
	return apply_audit(a, COMMAND_INVITE_DELETE, c->actor, bytes_of(c->token_hash, 8));
}

/* The person of that name. */
static int rule_find(struct apply *a, struct bytes name, struct person_row *ret_person)
{
	char text[ACCOUNT_NAME_BYTES_MAX + 1];
	struct person_name_row row;
	int rc;

	apply_name(name, text);
	rc = person_name_store_get(a->view, text, &row, a->e);
	if (rc == 0 && row.gone) {
		return err_set(a->e, KLUIS_EGONE, "the account was deleted");
	}
	if (rc != 0) {
		return rc;
	}
	rc = person_store_get(a->view, row.user_id, ret_person, a->e);
	return rc == KLUIS_ENOTFOUND ? err_set(a->e, KLUIS_ECORRUPT, "a name has no person") : rc;
}

/* An operator did it, on nobody's behalf but his own: the owner reads his name. */
static int rule_log(
	struct apply *a, const uint8_t user_id[16], struct bytes actor, enum access_event event)
{
	struct access_row row = {.event = (uint8_t)event};

	memcpy(row.user_id, user_id, 16);
	assert(actor.len <= ACCESS_BEHALF_BYTES_MAX);
	if (actor.len > 0) {
		memcpy(row.behalf, actor.data, actor.len);
	}
	return apply_access_row(a, &row);
}

static int rule_disable(
	struct apply *a, const uint8_t user_id[16], struct bytes actor, bool disabled)
{
	struct user_row user;
	int rc = user_store_get(a->view, user_id, &user, a->e);

	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? err_set(a->e, KLUIS_ECORRUPT, "a person has no user")
					     : rc;
	}
	if (user.disabled == disabled) {
		return 0;
	}
	user.disabled = disabled;
	user_store_put(a->txn, &user);
	rc = chat_store_stale(a->txn, user_id, a->e);
	rc = rc == 0 && disabled ? apply_end_sessions(a, user_id, NULL, NULL) : rc;
	return rc != 0 ? rc
		       : rule_log(a, user_id, actor, disabled ? ACCESS_DISABLED : ACCESS_ENABLED);
}

static int rule_end_sessions(struct apply *a, const uint8_t user_id[16], struct bytes actor)
{
	int rc = apply_end_sessions(a, user_id, NULL, NULL);

	return rc != 0 ? rc : rule_log(a, user_id, actor, ACCESS_SESSIONS_ENDED);
}

/* For who has lost her factors, or was given some by a thief, who shall not stay in either. */
static int rule_mfa_reset(struct apply *a, const uint8_t user_id[16], struct bytes actor)
{
	_cleanup_(x_freep) struct mfa_row *rows = x_calloc(MFA_PER_USER_MAX, sizeof *rows);
	size_t n = 0;
	int rc = mfa_store_list(a->view, user_id, rows, &n, a->e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		mfa_store_delete(a->txn, &rows[i]);
	}
	rc = rc != 0 ? rc : guard_store_clear(a->txn, GUARD_CODE, user_id, a->e);
	rc = rc != 0 ? rc : apply_end_sessions(a, user_id, NULL, NULL);
	return rc != 0 ? rc : rule_log(a, user_id, actor, ACCESS_MFA_RESET);
}

int apply_person_rule(struct apply *a, const struct command_person_rule *c)
{
	struct person_row person;
	int rc = rule_find(a, c->name, &person);

	if (rc != 0) {
		return rc;
	}
	switch (c->what) {
	case PERSON_DISABLE:
	case PERSON_ENABLE:
		rc = rule_disable(a, person.user_id, c->actor, c->what == PERSON_DISABLE);
		break;
	case PERSON_DELETE:
		rc = apply_delete_person(a, person.user_id);
		break;
	case PERSON_MFA_RESET:
		rc = rule_mfa_reset(a, person.user_id, c->actor);
		break;
	default:
		assert(c->what == PERSON_END_SESSIONS);
		rc = rule_end_sessions(a, person.user_id, c->actor);
		break;
	}
	return rc != 0 ? rc : apply_audit(a, COMMAND_PERSON_RULE, c->actor, c->name);
}

int apply_person_quota(struct apply *a, const struct command_person_quota *c)
{
	struct person_row person;
	int rc = rule_find(a, c->name, &person);

	if (rc != 0) {
		return rc;
	}
	person.vaults_max = c->vaults_max;
	person.pages_max = c->pages_max;
	person.bytes_max = c->bytes_max;
	person.all_pages_max = c->all_pages_max;
	person_store_put(a->txn, &person);
	rc = rule_log(a, person.user_id, c->actor, ACCESS_QUOTA_CHANGED);
	return rc != 0 ? rc : apply_audit(a, COMMAND_PERSON_QUOTA, c->actor, c->name);
}
