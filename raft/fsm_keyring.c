#include <assert.h>
#include <string.h>

#include "crypto/kdf.h"
#include "crypto/seal.h"
#include "raft/fsm_apply.h"

/* Keyrings, and the credentials that open them. The object is opaque but for its header and the
 * list of its slots. */

static int keyring_read(struct apply *a, struct bytes object, const struct person_row *person,
	struct keyring_view *v)
{
	int rc = keyring_parse(object, v, a->e);

	rc = rc != 0 ? apply_refusal(rc)
		     : keyring_follows(v, person->user_id, person->keyring_revision,
			       person->keyring_hash, a->e);
	return rc;
}

/* The stored one again: the first answer was lost. */
static bool keyring_is_stored(const struct person_row *person, struct bytes object)
{
	uint8_t hash[HASH_BYTES];

	hash_sha256(object, hash);
	return memcmp(hash, person->keyring_hash, sizeof hash) == 0;
}

static void keyring_reply(struct apply *a, const struct person_row *person)
{
	a->reply.number = person->keyring_revision;
	memcpy(a->reply.hash, person->keyring_hash, sizeof a->reply.hash);
}

int apply_put_keyring(
	struct apply *a, const struct keyring_view *keyring, struct person_row *person)
{
	struct keyring_row row = {.revision = keyring->revision,
		.committed_ms = a->now_ms,
		.bytes = (uint32_t)keyring->object.len};
	struct keyring_row kept[KEYRING_VERSIONS_MAX];
	size_t n = 0;
	int rc = keyring_store_list(a->view, person->user_id, kept, &n, a->e);

	if (rc != 0) {
		return rc;
	}
	if (n == KEYRING_VERSIONS_MAX) {
		keyring_store_delete(a->txn, person->user_id, kept[0].revision);
	}
	memcpy(row.hash, keyring->hash, sizeof row.hash);
	keyring_store_put(a->txn, person->user_id, &row, keyring->object);
	person->keyring_revision = keyring->revision;
	memcpy(person->keyring_hash, keyring->hash, sizeof person->keyring_hash);
	keyring_reply(a, person);
	return 0;
}

static int credentials_check_slots(
	struct apply *a, const struct command_credentials *c, const struct keyring_view *v)
{
	size_t password = keyring_view_count(v, KEYRING_SLOT_PASSWORD);
	bool held = password == 1 && keyring_view_count(v, KEYRING_SLOT_RECOVERY) == 1 &&
		    password + keyring_view_count(v, KEYRING_SLOT_PRF) == c->n_shares;

	for (unsigned i = 0; held && i < c->n_shares; i++) {
		struct keyring_slot slot;

		held = keyring_view_find(v, 0, c->share[i].slot_id, &slot).len > 0 &&
		       (slot.type == KEYRING_SLOT_PASSWORD || slot.type == KEYRING_SLOT_PRF);
	}
	return held ? 0
		    : err_set(a->e, KLUIS_EINVAL,
			      "the shares are not those of the keyring's slots");
}

int apply_check_credentials(
	struct apply *a, const struct command_credentials *c, const struct keyring_view *keyring)
{
	struct kdf kdf;
	int rc = kdf_decode(bytes_of(c->kdf, sizeof c->kdf), &kdf, a->e);

	if (rc != 0) {
		return apply_refusal(rc);
	}
	if (!kdf_usual(&kdf)) {
		return err_set(a->e, KLUIS_EINVAL, "KDF counts that no client uses");
	}
	if (c->verifier.len != srp_group_bytes(c->group) + SEAL_OVERHEAD_BYTES) {
		return err_set(a->e, KLUIS_EINVAL, "the verifier is not of this group");
	}
	if (c->recovery_key[0] != 4) {
		return err_set(a->e, KLUIS_EINVAL, "the recovery key is no uncompressed point");
	}
	return credentials_check_slots(a, c, keyring);
}

static int credentials_drop_shares(struct apply *a, const uint8_t user_id[16])
{
	struct unlock_row old[UNLOCK_SHARES_MAX];
	size_t n = 0;
	int rc = unlock_store_list(a->view, user_id, old, &n, a->e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		unlock_store_delete(a->txn, user_id, old[i].slot_id);
	}
	return rc;
}

int apply_put_credentials(
	struct apply *a, const struct command_credentials *c, struct person_row *person)
{
	int rc = credentials_drop_shares(a, person->user_id);

	if (rc != 0) {
		return rc;
	}
	person->credential++;
	person->changed_ms = a->now_ms;
	person->group = c->group;
	memcpy(person->salt, c->salt, sizeof person->salt);
	memcpy(person->kdf, c->kdf, sizeof person->kdf);
	person->pepper_id = c->pepper_id;
	person->verifier_bytes = (uint16_t)c->verifier.len;
	memset(person->verifier, 0, sizeof person->verifier);
	memcpy(person->verifier, c->verifier.data, c->verifier.len);
	memcpy(person->recovery_key, c->recovery_key, sizeof person->recovery_key);
	for (unsigned i = 0; i < c->n_shares; i++) {
		struct unlock_row row = {.pepper_id = c->pepper_id};

		memcpy(row.user_id, person->user_id, 16);
		memcpy(row.slot_id, c->share[i].slot_id, 16);
		memcpy(row.share, c->share[i].share, sizeof row.share);
		unlock_store_put(a->txn, &row);
	}
	return 0;
}

/* The person of the session. 1: this very keyring is stored, and the first answer stands. 0: go on.
 */
static int keyring_begin(struct apply *a, const struct session_row *session, struct bytes object,
	struct person_row *ret_person)
{
	int rc = person_store_get(a->view, session->user_id, ret_person, a->e);

	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND
			       ? err_set(a->e, KLUIS_EFORBIDDEN, "not a person's account")
			       : rc;
	}
	if (!keyring_is_stored(ret_person, object)) {
		return 0;
	}
	keyring_reply(a, ret_person);
	return 1;
}

int apply_keyring_put(struct apply *a, const struct command_keyring_put *c)
{
	struct keyring_view keyring;
	struct session_row session;
	struct person_row person;
	int rc = apply_device_session(a, &c->session, &session);

	rc = rc != 0 ? rc : keyring_begin(a, &session, c->keyring, &person);
	if (rc != 0) {
		return rc > 0 ? 0 : rc;
	}
	rc = keyring_read(a, c->keyring, &person, &keyring);
	rc = rc != 0 ? rc : apply_writable(a);
	rc = rc != 0 ? rc : apply_put_keyring(a, &keyring, &person);
	if (rc != 0) {
		return rc;
	}
	person_store_put(a->txn, &person);
	return apply_access(a, &session, ACCESS_KEYRING_CHANGED, bytes_of(keyring.hash, 32));
}

/* Whose password may be changed by it: a device's that signed in just now, or a recovery whose wait
 * is over. */
static int password_session(
	struct apply *a, const struct command_session *s, struct session_row *ret_session)
{
	struct recovery_row recovery;
	int rc = session_store_check(a->view, s->token_hash, a->now_ms, ret_session, a->e);

	if (rc != 0 || ret_session->level != SESSION_RECOVERY) {
		if (rc == 0 && ret_session->level == SESSION_RECOVERY_LOGIN) {
			return err_set(a->e, KLUIS_EMFA, "the session lacks its second factor");
		}
		rc = rc != 0 ? rc : apply_device_session(a, s, ret_session);
		return rc != 0 ? rc : apply_fresh_session(a, s, ret_session);
	}
	rc = recovery_store_get(a->view, ret_session->user_id, &recovery, a->e);
	if (rc == KLUIS_ENOTFOUND ||
		(rc == 0 && memcmp(recovery.session_id, ret_session->session_id, 16) != 0)) {
		return err_set(a->e, KLUIS_EFORBIDDEN, "the recovery was stopped");
	}
	if (rc == 0 && a->now_ms < recovery.open_from_ms) {
		rc = err_set(a->e, KLUIS_EFORBIDDEN, "the recovery has to wait");
	}
	return rc;
}

/* Devices that asked over the old password's sessions ask again. */
static int password_drop_pending(struct apply *a, const uint8_t user_id[16])
{
	struct pending_row pending[PENDING_DEVICES_MAX];
	size_t n = 0;
	int rc = pending_store_list(a->view, user_id, pending, &n, a->e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		pending_store_delete(a->txn, &pending[i]);
	}
	return rc;
}

/* Whatever the old password had opened or slowed down. */
static int password_clean(struct apply *a, const struct session_row *session, bool recovered)
{
	struct recovery_row recovery;
	int rc = recovery_store_get(a->view, session->user_id, &recovery, a->e);

	if (rc == 0) {
		recovery_store_delete(a->txn, &recovery);
	}
	rc = rc == KLUIS_ENOTFOUND ? 0 : rc;
	rc = rc != 0 ? rc : password_drop_pending(a, session->user_id);
	rc = rc != 0 ? rc : guard_store_clear(a->txn, GUARD_CODE, session->user_id, a->e);
	rc = rc != 0 ? rc : guard_store_clear(a->txn, GUARD_PASSWORD, session->user_id, a->e);
	return rc != 0 ? rc
		       : apply_end_sessions(
				 a, session->user_id, recovered ? NULL : session->session_id, NULL);
}

static int password_run(struct apply *a, const struct command_password_change *c,
	const struct session_row *session, struct person_row *person)
{
	bool recovered = session->level == SESSION_RECOVERY;
	struct keyring_view keyring;
	int rc = keyring_read(a, c->keyring, person, &keyring);

	rc = rc != 0 ? rc : apply_check_credentials(a, &c->credentials, &keyring);
	rc = rc != 0 ? rc : apply_put_credentials(a, &c->credentials, person);
	rc = rc != 0 ? rc : apply_put_keyring(a, &keyring, person);
	if (rc != 0) {
		return rc;
	}
	person->recovered_until_ms = recovered ? a->now_ms + RECOVERED_MS : 0;
	person_store_put(a->txn, person);
	rc = password_clean(a, session, recovered);
	rc = rc != 0 ? rc
		     : apply_access(a, session,
			       recovered ? ACCESS_RECOVERED : ACCESS_PASSWORD_CHANGED,
			       bytes_of(session->session_id, 16));
	return rc != 0 ? rc
		       : apply_audit_user(a, COMMAND_PASSWORD_CHANGE, person->user_id,
				 bytes_of(session->session_id, 16));
}

int apply_password_change(struct apply *a, const struct command_password_change *c)
{
	struct session_row session;
	struct person_row person;
	int rc = password_session(a, &c->session, &session);

	rc = rc != 0 ? rc : keyring_begin(a, &session, c->keyring, &person);
	if (rc != 0) {
		return rc > 0 ? 0 : rc;
	}
	return password_run(a, c, &session, &person);
}
