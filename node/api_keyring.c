/* A person's keyring, opaque here but for its header and slots; what unlocks it; and the change of
 * the password, which makes both anew. */
#include <string.h>

#include "crypto/keyring.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/credentials.h"
#include "node/pepper.h"
#include "storage/keyring_store.h"

int call_own_person(struct api_call *call, struct person_row *ret_person)
{
	int rc = person_store_get(call->view, call->session.user_id, ret_person, &call->e);

	return rc == KLUIS_ENOTFOUND
		       ? call_fail(call, KLUIS_EFORBIDDEN, "this account is a service's")
		       : rc;
}

int call_need_device(struct api_call *call)
{
	return session_has_device(&call->session)
		       ? 0
		       : call_fail(call, KLUIS_EFORBIDDEN, "this session is of no enrolled device");
}

int call_need_fresh(struct api_call *call)
{
	return call->now_ms - call->session.created_ms <= FRESH_LOGIN_MS
		       ? 0
		       : call_fail(call, KLUIS_EFORBIDDEN,
				 "this needs a session of the last five minutes: sign in again");
}

int call_keyring(struct api_call *call, const struct person_row *person, struct buf *to)
{
	struct keyring_row row;

	return keyring_store_get(
		call->view, person->user_id, person->keyring_revision, &row, to, &call->e);
}

/* Unlock. */

struct unlocking {
	struct person_row person;
	struct unlock_row row;
	uint8_t slot[KEYRING_SLOT_BYTES];
	uint64_t revision;
};

/* The slot, of the password unless the request names one. */
static int unlock_slot(struct api_call *call, struct bytes keyring, struct unlocking *unlocking)
{
	struct keyring_view view;
	struct keyring_slot slot;
	struct bytes found;

	if (keyring_parse(keyring, &view, &call->e) != 0) {
		return err_set(&call->e, KLUIS_EINTERNAL, "stored keyring is malformed");
	}
	found = keyring_view_find(&view, call->has_slot ? 0 : KEYRING_SLOT_PASSWORD,
		call->has_slot ? call->id : NULL, &slot);
	if (found.len == 0) {
		return call_fail(call, KLUIS_ENOTFOUND, "the keyring has no such slot");
	}
	memcpy(unlocking->slot, found.data, found.len);
	unlocking->revision = view.revision;
	return unlock_store_get(
		call->view, call->session.user_id, slot.slot_id, &unlocking->row, &call->e);
}

int unlock_get_read(struct api_call *call)
{
	struct unlocking *unlocking = call->extra;

	if (unlocking == NULL) { /* The view may be read twice. */
		unlocking = call_extra(call, sizeof *unlocking);
	}
	return call_own_person(call, &unlocking->person);
}

/* That it was asked for stands in the access log. */
int unlock_get_check(struct api_call *call)
{
	_cleanup_(buf_release) struct buf keyring = BUF_INIT;
	struct command command = {.type = COMMAND_ACCESS_NOTE};
	struct unlocking *unlocking = call->extra;
	int rc = call_keyring(call, &unlocking->person, &keyring);

	rc = rc != 0 ? rc : unlock_slot(call, buf_bytes(&keyring), unlocking);
	if (rc != 0) {
		return rc;
	}
	command.access_note.session = call_session(call);
	command.access_note.event = ACCESS_UNLOCKED;
	memcpy(command.access_note.object, unlocking->row.slot_id, 16);
	call_propose(call, &command);
	return 0;
}

int unlock_get_applied(struct api_call *call)
{
	const struct unlocking *unlocking = call->extra;
	const struct unlock_row *row = &unlocking->row;
	const struct sealed_place place = {row->user_id, "unlock", row->slot_id};
	_cleanup_(secret_release) struct secret share = SECRET_INIT;
	json_t *body;
	int rc = call->rc != 0 ? call->rc
			       : call_unseal(call, &place, row->pepper_id,
					 bytes_of(row->share, sizeof row->share), &share);

	if (rc != 0) {
		return rc;
	}
	body = json_object();
	json_put(body, "slot_id", json_make_id(row->slot_id));
	json_put(body, "unlock_share", json_make_base64(secret_bytes(&share)));
	json_put(body, "slot", json_make_base64(bytes_of(unlocking->slot, sizeof unlocking->slot)));
	json_put(body, "revision", json_make_number(unlocking->revision));
	call_json(call, 200, body);
	return 0;
}

/* The object. */

static int keyring_reply(struct api_call *call, uint64_t revision)
{
	_cleanup_(buf_release) struct buf keyring = BUF_INIT;
	struct keyring_row row;
	int rc = keyring_store_get(
		call->view, call->session.user_id, revision, &row, &keyring, &call->e);

	if (rc != 0) {
		return rc;
	}
	etag_format(row.revision, row.hash, call->etag);
	return call_octets(call, &keyring);
}

int keyring_get_read(struct api_call *call)
{
	struct person_row person;
	int rc = call_own_person(call, &person);

	return rc != 0 ? rc : keyring_reply(call, person.keyring_revision);
}

int keyring_version_parse(struct api_call *call)
{
	return call_param_u64(call, 0, &call->revision);
}

int keyring_version_get_read(struct api_call *call)
{
	struct person_row person;
	int rc = call_own_person(call, &person);

	return rc != 0 ? rc : keyring_reply(call, call->revision);
}

int keyring_version_list_read(struct api_call *call)
{
	struct keyring_row rows[KEYRING_VERSIONS_MAX];
	struct person_row person;
	char etag[ETAG_CHARS_MAX + 1];
	json_t *all;
	size_t n = 0;
	int rc = call_own_person(call, &person);

	rc = rc != 0 ? rc
		     : keyring_store_list(call->view, call->session.user_id, rows, &n, &call->e);
	if (rc != 0) {
		return rc;
	}
	all = json_array();
	while (n-- > 0) { /* Newest first. */
		json_t *item = json_object();

		etag_format(rows[n].revision, rows[n].hash, etag);
		json_put(item, "revision", json_make_number(rows[n].revision));
		json_put(item, "bytes", json_make_number(rows[n].bytes));
		json_put(item, "sha256", json_make_hash(rows[n].hash));
		json_put(item, "written", json_make_number(rows[n].committed_ms));
		json_put(item, "etag", json_make_text(etag));
		(void)json_array_append_new(all, item);
	}
	return call_list_all(call, all);
}

/* Changes. */

int call_keyring_follows(
	struct api_call *call, const struct keyring_view *view, const struct person_row *stored)
{
	int rc = keyring_follows(
		view, stored->user_id, stored->keyring_revision, stored->keyring_hash, &call->e);

	if (rc != KLUIS_EPRECONDITION) {
		return rc == 0 ? 0 : call_refusal(call, rc, "keyring");
	}
	if (view->revision == stored->keyring_revision &&
		memcmp(view->hash, stored->keyring_hash, HASH_BYTES) == 0) {
		call->e = (struct err){0};
		return 0; /* The same again: the first answer was lost, perhaps. */
	}
	etag_format(stored->keyring_revision, stored->keyring_hash, call->current_etag);
	return rc;
}

static int keyring_changed(struct api_call *call)
{
	struct person_row person;
	json_t *body;
	int rc = person_store_get(call->view, call->session.user_id, &person, &call->e);

	if (rc != 0) {
		return rc;
	}
	if (call->rc != 0) {
		etag_format(person.keyring_revision, person.keyring_hash, call->current_etag);
		return call_fail(call, call->rc, "the keyring has changed");
	}
	etag_format(person.keyring_revision, person.keyring_hash, call->etag);
	body = json_object();
	json_put(body, "revision", json_make_number(person.keyring_revision));
	json_put(body, "sha256", json_make_hash(person.keyring_hash));
	call_json(call, 200, body);
	return 0;
}

/* What a password, the recovery code or an authenticator opens changes with /v1/password alone:
 * their shares and the recovery key go with them. */
static int check_slots_kept(
	struct api_call *call, const struct keyring_view *fresh, struct bytes stored)
{
	struct keyring_view old;
	struct keyring_slot slot;

	if (keyring_parse(stored, &old, &call->e) != 0) {
		return err_set(&call->e, KLUIS_EINTERNAL, "stored keyring is malformed");
	}
	for (unsigned type = KEYRING_SLOT_PASSWORD; type <= KEYRING_SLOT_PRF; type++) {
		if (type != KEYRING_SLOT_DEVICE &&
			keyring_view_count(fresh, type) != keyring_view_count(&old, type)) {
			return call_fail(call, KLUIS_EINVAL,
				"slots of type %u change with the password alone", type);
		}
	}
	for (size_t i = 0; i < old.n_slots; i++) {
		struct bytes bytes = keyring_view_slot(&old, i, &slot);

		if (slot.type != KEYRING_SLOT_DEVICE &&
			!bytes_equal(bytes, keyring_view_find(fresh, slot.type, slot.slot_id,
						    &(struct keyring_slot){0}))) {
			return call_fail(call, KLUIS_EINVAL,
				"slots of type %u change with the password alone", slot.type);
		}
	}
	return 0;
}

int keyring_put_read(struct api_call *call)
{
	struct person_row *person = call->extra;
	int rc;

	if (person == NULL) { /* The view may be read twice. */
		person = call_extra(call, sizeof *person);
	}
	rc = call_own_person(call, person);
	return rc != 0 ? rc : call_need_device(call);
}

int keyring_put_check(struct api_call *call)
{
	_cleanup_(buf_release) struct buf stored = BUF_INIT;
	struct command command = {.type = COMMAND_KEYRING_PUT};
	const struct person_row *person = call->extra;
	char etag[ETAG_CHARS_MAX + 1];
	struct keyring_view view;
	int rc = keyring_parse(call_body(call), &view, &call->e);

	if (rc != 0) {
		return call_refusal(call, rc, "keyring");
	}
	etag_format(person->keyring_revision, person->keyring_hash, etag);
	rc = call_if_match(call, etag);
	if (rc == KLUIS_EPRECONDITION && view.revision == person->keyring_revision &&
		memcmp(view.hash, person->keyring_hash, HASH_BYTES) == 0) {
		rc = 0; /* The same again, with the tag of what it took the place of. */
	}
	rc = rc != 0 ? rc : call_keyring_follows(call, &view, person);
	rc = rc != 0 ? rc : call_keyring(call, person, &stored);
	rc = rc != 0 ? rc : check_slots_kept(call, &view, buf_bytes(&stored));
	if (rc != 0) {
		return rc;
	}
	command.keyring_put.session = call_session(call);
	command.keyring_put.keyring = call_body(call);
	call_propose(call, &command);
	return 0;
}

int keyring_put_applied(struct api_call *call)
{
	return keyring_changed(call);
}

/* The password. */

struct password_change {
	struct credentials credentials;
	struct person_row person;
};

static void change_release(void *extra)
{
	struct password_change *change = extra;

	credentials_release(&change->credentials);
}

int password_set_parse(struct api_call *call)
{
	struct password_change *change = call_extra(call, sizeof *change);
	struct json_in reader;
	int rc;

	call->extra_release = change_release;
	json_in_begin(&reader, call_body(call), &call->e);
	credentials_read(&reader, &change->credentials);
	credentials_read_shares(&reader, &change->credentials);
	rc = json_in_end(&reader);
	return rc != 0 ? rc : credentials_check(call, &change->credentials);
}

int password_set_read(struct api_call *call)
{
	struct password_change *change = call->extra;
	int rc = call_own_person(call, &change->person);

	if (rc != 0 || call->session.level == SESSION_RECOVERY) {
		return rc;
	}
	rc = call_need_device(call);
	return rc != 0 ? rc : call_need_fresh(call);
}

int password_set_check(struct api_call *call)
{
	struct password_change *change = call->extra;
	struct command command = {.type = COMMAND_PASSWORD_CHANGE};
	struct command_password_change *c = &command.password_change;
	int rc = credentials_check_next(call, &change->credentials, &change->person);

	if (rc != 0) {
		return rc;
	}
	c->session = call_session(call);
	credentials_seal(call, &change->credentials, change->person.user_id, &c->credentials);
	c->keyring = buf_bytes(&change->credentials.keyring);
	call_propose(call, &command);
	return 0;
}

int password_set_applied(struct api_call *call)
{
	return keyring_changed(call);
}
