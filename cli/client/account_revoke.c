/* A device is revoked by another one of its owner's, which vouches for what it has signed. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/client/account_impl.h"
#include "cli/client/json_reader.h"
#include "cli/client/vault.h"
#include "crypto/member.h"

enum {
	REVOKE_TRIES = 6, /* While the device writes in between, or the own chain moves. */
	/* Groups or conversations of one list: anybody may invite her. */
	VOUCH_LISTED_MAX = 65536,
	/* A statement of so many rows is, as base64, within what the route takes. */
	VOUCH_PART_ROWS = 1000,
	VOUCH_ROWS_MAX = (1 + IDENTITY_REVOKE_PARTS_MAX) * VOUCH_PART_ROWS,
};

/* The rows of a revoke statement in the making. */
struct vouching {
	const struct identity_device *device;
	const struct account_revocation *revocation; /* NULL: nothing is left out. */
	struct revoke_row *rows, *before;	     /* before: of the try before. */
	size_t n, n_before;
	bool again; /* The cluster knows of something that was not answered for. */
	bool last;  /* The device does not stop: what it has signed since is to be left out. */
};

/* Of what is left out: it vouches for nothing. A row of what is known may stand beside it. */
static const uint8_t vouch_none[HASH_BYTES];

/* Whether the device has changed the members since the try before, also when others, such as an
 * accomplice of whoever has it, changed them after it. */
static bool changed_since(const struct vouching *v, const struct membership *m)
{
	uint8_t hash[HASH_BYTES];

	return membership_signed(m, key_pub_kid(v->device->sign), hash) &&
	       !revoke_rows_have(v->before, v->n_before, m->members.object_id, hash);
}

static bool wrote_since(const struct vouching *v, const struct vault *vault)
{
	return changed_since(v, vault->membership) ||
	       (memcmp(vault->head.device_id, v->device->device_id, ID_BYTES) == 0 &&
		       !revoke_rows_have(v->before, v->n_before, vault->id, vault->head.hash));
}

/* Once: a cluster may list an object twice. */
static int vouch_row(struct vouching *v, const uint8_t id[ID_BYTES], const uint8_t hash[HASH_BYTES],
	struct err *e)
{
	struct revoke_row row;

	memcpy(row.object_id, id, ID_BYTES);
	memcpy(row.hash, hash, HASH_BYTES);
	for (size_t i = 0; i < v->n; i++) {
		if (revoke_row_compare(&v->rows[i], &row) == 0) {
			return 0;
		}
	}
	if (v->n >= VOUCH_ROWS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more than one revocation can vouch for");
	}
	v->rows = x_realloc(v->rows, (v->n + 1) * sizeof *v->rows);
	v->rows[v->n++] = row;
	return 0;
}

/* The last that the device signed of these members. */
static int vouch_signed(struct vouching *v, const struct membership *m, struct err *e)
{
	uint8_t hash[HASH_BYTES];

	return membership_signed(m, key_pub_kid(v->device->sign), hash)
		       ? vouch_row(v, m->members.object_id, hash, e)
		       : 0;
}

/* What the device signed last in a vault, when nobody wrote after it: the head, and of the changes
 * of its members. */
static int vouch_vault(struct vouching *v, const struct vault *vault, struct err *e)
{
	int rc = vouch_signed(v, vault->membership, e);

	return rc != 0 || memcmp(vault->head.device_id, v->device->device_id, ID_BYTES) != 0
		       ? rc
		       : vouch_row(v, vault->id, vault->head.hash, e);
}

/* Who is at fault here is not the vault. */
static bool vouch_hopeless(int rc)
{
	return rc == KLUIS_ELINEAGE || rc == KLUIS_EUNAUTHENTICATED || rc == KLUIS_EMFA;
}

/* What cannot be vouched for is left out when the user says so; or why. The cluster takes no
 * revocation that is silent on what the device wrote or changed last. */
static int vouch_leave_out(
	struct vouching *v, int rc, const struct account_unvouched *left, struct err *e)
{
	return !vouch_hopeless(rc) && v->revocation != NULL &&
			       v->revocation->leave_out(v->revocation->arg, left)
		       ? vouch_row(v, left->id, vouch_none, e)
		       : err_set(e, rc, "vouch for what the device signed: %s", left->why->text);
}

/* What is vouched for is what this profile verified: synced, or, when that cannot be and the user
 * knows it, as of its pin. A vault that it never opened is adopted for that. */
static int vouch_one(struct profile *profile, struct client *client, const uint8_t id[ID_BYTES],
	struct vouching *v, struct err *e)
{
	struct account_unvouched left = {.id = id, .kind = MEMBER_OBJECT_VAULT};
	struct vault *vault = NULL;
	struct err why = {0};
	int rc = vault_open_id(profile, client, id, &vault, &why);

	hex_encode(bytes_of(id, ID_BYTES), left.name);
	if (rc == 0) {
		memcpy(left.name, vault->name, sizeof vault->name);
		left.seq = vault->head.seq;
		rc = vault_sync(vault, &why);
	}
	if (rc == 0) { /* Its heads do not tell of members who were added since. */
		rc = vault_members_refresh(vault, &why);
		rc = vault_denied(rc) ? 0 : rc;
	}
	if (rc == 0 && v->last && wrote_since(v, vault)) {
		rc = err_set(
			&why, KLUIS_EPRECONDITION, "the device goes on writing to '%s'", left.name);
	}
	left.why = &why;
	rc = rc != 0 ? vouch_leave_out(v, rc, &left, e) : 0;
	if (vault != NULL) {
		rc = rc != 0 ? rc : vouch_vault(v, vault, e);
		vault_close(vault);
	}
	return rc;
}

/* What the members of a group or a conversation are for the revocation. */
struct vouch_object {
	struct account_unvouched left;
	struct membership *m; /* NULL: not even known to this profile. */
	int rc;		      /* Of loading it; if not 0, m is as it was known. */
	struct err why;
};

/* What cannot be had is asked about, unless what was seen of it can be vouched for, which at first
 * will do: mostly the device changed nothing since. Nor is a chain which does not hold asked about,
 * for another's fault, when the device is nowhere in it. */
static bool vouch_must_ask(
	struct people *people, const struct vouching *v, const struct vouch_object *o)
{
	const uint8_t *kid = key_pub_kid(v->device->sign);
	uint8_t hash[HASH_BYTES];
	struct err ignored = {0};
	bool any;

	if (o->rc == 0 || v->again) {
		return o->rc != 0;
	}
	if (o->m != NULL && membership_signed(o->m, kid, hash)) {
		return false;
	}
	return o->rc != KLUIS_EVERIFY ||
	       membership_shows_signer(people, o->left.kind, o->left.id, kid, &any, &ignored) !=
		       0 ||
	       any;
}

static int vouch_members_loaded(
	struct people *people, struct vouching *v, struct vouch_object *o, struct err *e)
{
	int rc;

	assert(o->rc != 0 || o->m != NULL);
	hex_encode(bytes_of(o->left.id, ID_BYTES), o->left.name);
	o->left.seq = o->m == NULL ? 0 : o->m->members.seq;
	o->left.why = &o->why;
	if (o->rc == 0 && v->last && changed_since(v, o->m)) {
		o->rc = err_set(&o->why, KLUIS_EPRECONDITION,
			"the device goes on changing the members of the %s '%s'",
			membership_kind_name(o->left.kind), o->left.name);
	}
	rc = vouch_must_ask(people, v, o) ? vouch_leave_out(v, o->rc, &o->left, e) : 0;
	return rc != 0 || o->m == NULL ? rc : vouch_signed(v, o->m, e);
}

static int vouch_members(struct people *people, unsigned kind, const uint8_t id[ID_BYTES],
	struct vouching *v, struct err *e)
{
	struct vouch_object o = {.left = {.id = id, .kind = kind}};
	struct err ignored = {0};
	int rc;

	o.rc = membership_load(people, kind, id, &o.m, &o.why);
	if (vouch_hopeless(o.rc)) {
		return err_set(e, o.rc, "%s", o.why.text);
	}
	if (o.rc != 0 && membership_load_known(people, kind, id, &o.m, &ignored) != 0) {
		o.m = NULL;
	}
	rc = vouch_members_loaded(people, v, &o, e);
	membership_free(o.m);
	return rc;
}

/* Whether something of it is vouched for: of what is left out nothing is. */
static bool vouch_has(const struct vouching *v, const uint8_t id[ID_BYTES])
{
	for (size_t i = 0; i < v->n; i++) {
		if (memcmp(v->rows[i].object_id, id, ID_BYTES) == 0 &&
			memcmp(v->rows[i].hash, vouch_none, HASH_BYTES) != 0) {
			return true;
		}
	}
	return false;
}

/* What its owner is out of, or gave up, and nobody lists: who is still in it goes on from what the
 * device signed of it, such as that another one is admin now. As far as there is room. */
static int vouch_unlisted(struct people *people, struct vouching *v, struct err *e)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	size_t n = 0;
	int rc = profile_ids(people_profile(people), "members", &ids, &n, e);

	for (size_t i = 0; rc == 0 && i < n && v->n < VOUCH_ROWS_MAX; i++) {
		_cleanup_(membership_freep) struct membership *m = NULL;
		struct err ignored = {0};

		for (unsigned kind = MEMBER_OBJECT_VAULT;
			m == NULL && kind <= MEMBER_OBJECT_CONVERSATION && !vouch_has(v, ids[i]);
			kind++) {
			if (membership_load_known(people, kind, ids[i], &m, &ignored) != 0) {
				m = NULL;
			}
		}
		rc = m == NULL ? 0 : vouch_signed(v, m, e);
	}
	return rc;
}

/* What she has not accepted is none of hers: another's fault, or a lie, would stand in her way. */
static int vouch_listed(
	struct people *people, unsigned kind, const json_t *item, struct vouching *v, struct err *e)
{
	const char *state = json_string_value(json_object_get(item, "state"));
	struct json_reader r = json_reader_of(item);
	uint8_t id[ID_BYTES];
	int rc;

	json_reader_hex(&r, "id", id, ID_BYTES);
	rc = json_reader_end(&r, membership_kind_path(kind), e);
	return rc != 0 || (state != NULL && strcmp(state, "invited") == 0)
		       ? rc
		       : vouch_members(people, kind, id, v, e);
}

/* A cluster of an older version has none. */
static int vouch_kind(struct people *people, unsigned kind, struct vouching *v, struct err *e)
{
	_cleanup_(x_freep) char *target = x_asprintf("/v1/%s", membership_kind_path(kind));
	_cleanup_(json_dropp) json_t *items = NULL;
	struct err why = {0};
	int rc = api_list(people_client(people), target, CLIENT_AUTH | CLIENT_READ,
		VOUCH_LISTED_MAX, &items, &why);

	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : err_set(e, rc, "%s", why.text);
	}
	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		rc = vouch_listed(people, kind, json_array_get(items, i), v, e);
	}
	return rc;
}

static int vouch(struct profile *profile, struct client *client, struct vouching *v, struct err *e)
{
	struct people *people = people_new(profile, client);
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	size_t n_ids;
	/* What the cluster lists beyond what is known, when that was not enough. */
	int rc = v->again ? vault_all_ids(profile, client, &ids, &n_ids, e)
			  : vault_known_ids(profile, &ids, &n_ids, e);

	if (rc != 0) {
		people_free(people);
		return rc;
	}
	for (size_t i = 0; rc == 0 && i < n_ids; i++) {
		rc = vouch_one(profile, client, ids[i], v, e);
	}
	rc = rc != 0 ? rc : vouch_kind(people, MEMBER_OBJECT_GROUP, v, e);
	rc = rc != 0 ? rc : vouch_kind(people, MEMBER_OBJECT_CONVERSATION, v, e);
	rc = rc != 0 ? rc : vouch_unlisted(people, v, e);
	people_free(people);
	if (v->n > 0) {
		qsort(v->rows, v->n, sizeof *v->rows, revoke_row_compare);
	}
	return rc;
}

static int revoke_post(struct profile *profile, struct client *client,
	const uint8_t device_id[ID_BYTES], unsigned type, const struct buf *body, struct err *e)
{
	_cleanup_(buf_release) struct buf statement = BUF_INIT;
	int rc = account_statement(profile, type, buf_bytes(body), &statement, e);

	return rc != 0 ? rc : api_device_delete(client, device_id, buf_bytes(&statement), e);
}

/* What one statement has no room for goes ahead of it, in parts. */
static int revoke_send(struct profile *profile, struct client *client,
	const uint8_t device_id[ID_BYTES], const struct vouching *v, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	const struct revoke_row *rows = v->rows;
	size_t n = v->n;
	int rc = 0;

	for (unsigned part = 1; rc == 0 && n > VOUCH_PART_ROWS; part++) {
		buf_clear(&body);
		identity_body_vouch(&body, device_id, part, rows, VOUCH_PART_ROWS);
		rc = revoke_post(profile, client, device_id, IDENTITY_DEVICE_VOUCH, &body, e);
		rc = rc != 0 ? rc : account_chain_again(profile, client, e);
		rows += VOUCH_PART_ROWS;
		n -= VOUCH_PART_ROWS;
	}
	if (rc != 0) {
		return rc;
	}
	buf_clear(&body);
	identity_body_revoke(&body, device_id, rows, n);
	return revoke_post(profile, client, device_id, IDENTITY_DEVICE_REVOKE, &body, e);
}

/* A device that writes on, or makes something new each time, writes no more without the password.
 * Where that cannot be done, the revocation says what is wrong. */
static void revoke_end_sessions(struct client *client, const uint8_t device_id[ID_BYTES])
{
	_cleanup_(json_dropp) json_t *items = NULL;
	char device[HEX_LEN(ID_BYTES) + 1];
	struct err ignored = {0};
	int rc = account_sessions(client, &items, &ignored);

	hex_encode(bytes_of(device_id, ID_BYTES), device);
	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		const json_t *item = json_array_get(items, i);
		const char *of = json_string_value(json_object_get(item, "device_id"));
		const char *id = json_string_value(json_object_get(item, "id"));

		if (of != NULL && id != NULL && strcmp(of, device) == 0) {
			rc = account_session_end(client, id, &ignored);
			rc = rc == KLUIS_ENOTFOUND ? 0 : rc;
		}
	}
}

static int revoke_try(struct profile *profile, struct client *client,
	const uint8_t device_id[ID_BYTES], struct vouching *v, struct err *e)
{
	/* The keyring, too: it names the vaults. */
	int rc = account_refresh(profile, client, e);

	if (rc != 0) {
		return rc;
	}
	v->device = identity_device(&profile->identity, device_id);
	if (v->device == NULL || v->device->revoked) {
		return err_set(e, KLUIS_ENOTFOUND, "no such device");
	}
	rc = vouch(profile, client, v, e);
	return rc != 0 ? rc : revoke_send(profile, client, device_id, v, e);
}

int account_device_revoke(struct profile *profile, struct client *client,
	const uint8_t device_id[ID_BYTES], const struct account_revocation *revocation,
	struct err *e)
{
	struct vouching v = {.revocation = revocation};
	int rc = KLUIS_EPRECONDITION;

	for (unsigned try = 1; rc == KLUIS_EPRECONDITION && try <= REVOKE_TRIES; try++) {
		free(v.before);
		v.before = v.rows;
		v.n_before = v.n;
		v.rows = NULL;
		v.n = 0;
		v.again = try > 2;
		v.last = try == REVOKE_TRIES;
		if (try > 1) {
			revoke_end_sessions(client, device_id);
		}
		rc = revoke_try(profile, client, device_id, &v, e);
	}
	free(v.before);
	free(v.rows);
	return rc != 0 ? rc : account_chain_again(profile, client, e);
}
