/* Devices of a person: asked for by one, approved and revoked by another. */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/account_impl.h"
#include "cli/client/json_reader.h"
#include "cli/client/vault.h"
#include "crypto/member.h"

enum {
	REVOKE_TRIES = 6, /* While the device writes in between, or the own chain moves. */
	/* Groups or conversations of one list: anybody may invite her. */
	VOUCH_LISTED_MAX = 65536,
};

int account_device_name_check(const char *name, struct err *e)
{
	return strlen(name) <= IDENTITY_DEVICE_NAME_BYTES_MAX && text_printable(bytes_str(name))
		       ? 0
		       : err_set(e, KLUIS_EINVAL,
				 "a device's name is at most %d bytes of printable UTF-8",
				 IDENTITY_DEVICE_NAME_BYTES_MAX);
}

void account_devices_free(struct account_device *devices, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		buf_release(&devices[i].statement);
	}
	free(devices);
}

/* The body of a device-add statement. */
struct device_body {
	uint8_t device_id[ID_BYTES];
	struct bytes sign, hpke, name;
};

static int body_parse(struct bytes bytes, struct device_body *ret, struct err *e)
{
	struct wire w = wire_of(bytes);

	wire_copy(&w, ret->device_id, ID_BYTES);
	ret->sign = wire_lp16(&w, KEY_PUB_BYTES_MAX);
	ret->hpke = wire_lp16(&w, KEY_PUB_BYTES_MAX);
	ret->name = wire_lp16(&w, IDENTITY_DEVICE_NAME_BYTES_MAX);
	return wire_end(&w) && text_printable(ret->name)
		       ? 0
		       : err_set(e, KLUIS_EVERIFY, "a device's statement is malformed");
}

/* Whether this user's key asked for the device: whatever else, the cluster cannot make that. */
static int asked_for(const struct profile *profile, struct bytes encoded,
	struct device_body *ret_body, struct err *e)
{
	struct statement s;
	int rc = statement_parse(CHAIN_IDENTITY, encoded, &s, e);

	if (rc != 0 || s.type != IDENTITY_DEVICE_ADD ||
		memcmp(s.object_id, profile->user_id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "a device waits that no statement asks for");
	}
	rc = statement_verify(&s, profile->identity.signing, e);
	return rc != 0 ? err_wrap(e, rc, "a device that waits") : body_parse(s.body, ret_body, e);
}

static void device_of_chain(const struct profile *profile, const struct identity_device *from,
	struct account_device *to)
{
	memcpy(to->device_id, from->device_id, ID_BYTES);
	memcpy(to->name, from->name, sizeof to->name);
	memcpy(to->kid, key_pub_kid(from->sign), KID_BYTES);
	to->state = from->revoked ? ACCOUNT_DEVICE_REVOKED : ACCOUNT_DEVICE_ACTIVE;
	to->mine = memcmp(from->device_id, profile->device_id, ID_BYTES) == 0;
}

static int device_of_item(
	const struct profile *profile, const json_t *item, struct account_device *to, struct err *e)
{
	struct json_reader r = json_reader_of(item);
	_cleanup_(key_pub_freep) struct key_pub *sign = NULL;
	struct device_body body;
	uint8_t id[ID_BYTES];
	int rc;

	json_reader_hex(&r, "id", id, ID_BYTES);
	json_reader_base64(&r, "statement", API_STATEMENT_BYTES_MAX, &to->statement);
	rc = json_reader_end(&r, "device", e);
	rc = rc != 0 ? rc : asked_for(profile, buf_bytes(&to->statement), &body, e);
	if (rc == 0 && memcmp(id, body.device_id, ID_BYTES) != 0) {
		rc = err_set(e, KLUIS_EVERIFY, "a device waits under another's statement");
	}
	rc = rc != 0 ? rc : key_pub_decode(KEY_ECDSA_P256, body.sign, &sign, e);
	if (rc != 0) {
		buf_release(&to->statement);
		return rc;
	}
	memcpy(to->device_id, id, ID_BYTES);
	memcpy(to->name, body.name.data, body.name.len);
	to->name[body.name.len] = 0;
	memcpy(to->kid, key_pub_kid(sign), KID_BYTES);
	to->state = ACCOUNT_DEVICE_PENDING;
	to->mine = memcmp(id, profile->device_id, ID_BYTES) == 0;
	return 0;
}

static bool item_waits(const json_t *item)
{
	const char *state = json_string_value(json_object_get(item, "state"));

	return state != NULL && strcmp(state, "pending") == 0;
}

int account_devices(struct profile *profile, struct client *client,
	struct account_device **ret_devices, size_t *ret_n, struct err *e)
{
	struct account_device *devices;
	const json_t *item;
	json_t *items;
	size_t n = 0, i;
	int rc = account_fetch_chain(profile, client, e);

	rc = rc != 0 ? rc
		     : api_list(client, "/v1/devices", CLIENT_AUTH | CLIENT_READ,
			       2 * ACCOUNT_DEVICES_MAX, &items, e);
	if (rc != 0) {
		return rc;
	}
	devices = x_calloc(
		profile->identity.device_count + json_array_size(items) + 1, sizeof *devices);
	for (i = 0; i < profile->identity.device_count; i++) {
		device_of_chain(profile, &profile->identity.devices[i], &devices[n++]);
	}
	json_array_foreach(items, i, item)
	{
		if (rc == 0 && item_waits(item)) {
			rc = device_of_item(profile, item, &devices[n], e);
			n += rc == 0;
		}
	}
	json_decref(items);
	if (rc != 0) {
		account_devices_free(devices, n);
		return rc;
	}
	*ret_devices = devices;
	*ret_n = n;
	return 0;
}

static int add_begin(struct profile *profile, struct client *client, struct err *e)
{
	int rc = account_chain_again(profile, client, e);

	if (rc != 0) {
		return rc;
	}
	if (profile->enrolled) {
		return err_set(
			e, KLUIS_EEXIST, "this device is one of '%s' already", profile->account);
	}
	if (profile->person->local_key.len == 0) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "adding a device takes the password");
	}
	return profile->device != NULL ? 0 : person_make_device(profile, e);
}

int account_device_add(struct profile *profile, struct client *client, const char *name,
	enum account_device_state *ret_state, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, statement = BUF_INIT;
	bool active = false;
	int rc;

	rc = account_device_name_check(name, e);
	rc = rc != 0 ? rc : add_begin(profile, client, e);
	if (rc != 0) {
		return rc;
	}
	identity_body_device(&body, profile->device_id, key_public(profile->device),
		key_public(profile->device_hpke), name);
	rc = account_statement(profile, IDENTITY_DEVICE_ADD, buf_bytes(&body), &statement, e);
	rc = rc != 0 ? rc : api_device_post(client, NULL, buf_bytes(&statement), &active, e);
	rc = rc != 0 || !active ? rc : account_device_begin(profile, client, e);
	if (rc == 0) {
		*ret_state = active ? ACCOUNT_DEVICE_ACTIVE : ACCOUNT_DEVICE_PENDING;
	}
	return rc;
}

int account_device_begin(struct profile *profile, struct client *client, struct err *e)
{
	int rc = account_chain_again(profile, client, e);

	if (rc == 0 && (!profile->enrolled || profile->device == NULL)) {
		rc = err_set(e, KLUIS_EAGAIN, "this device waits to be approved");
	}
	return rc != 0 ? rc : account_device_session(profile, client, e);
}

static int approve_device(struct profile *profile, struct client *client,
	const struct account_device *device, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, statement = BUF_INIT;
	_cleanup_(key_pub_freep) struct key_pub *sign = NULL, *hpke = NULL;
	struct device_body asked;
	bool active;
	int rc = asked_for(profile, buf_bytes(&device->statement), &asked, e);

	rc = rc != 0 ? rc : key_pub_decode(KEY_ECDSA_P256, asked.sign, &sign, e);
	rc = rc != 0 ? rc : key_pub_decode(key_kem_of_length(asked.hpke.len), asked.hpke, &hpke, e);
	if (rc != 0) {
		return rc;
	}
	identity_body_device(&body, device->device_id, sign, hpke, device->name);
	rc = account_statement(profile, IDENTITY_DEVICE_ADD, buf_bytes(&body), &statement, e);
	rc = rc != 0 ? rc
		     : api_device_post(
			       client, device->device_id, buf_bytes(&statement), &active, e);
	return rc != 0 ? rc : account_chain_again(profile, client, e);
}

int account_device_approve(struct profile *profile, struct client *client,
	const uint8_t device_id[ID_BYTES], const uint8_t kid[KID_BYTES], struct err *e)
{
	struct account_device *devices;
	size_t n;
	int rc = account_devices(profile, client, &devices, &n, e);

	if (rc != 0) {
		return rc;
	}
	rc = KLUIS_ENOTFOUND;
	for (size_t i = 0; i < n && rc == KLUIS_ENOTFOUND; i++) {
		if (devices[i].state == ACCOUNT_DEVICE_PENDING &&
			memcmp(devices[i].device_id, device_id, ID_BYTES) == 0) {
			rc = memcmp(devices[i].kid, kid, KID_BYTES) == 0
				     ? approve_device(profile, client, &devices[i], e)
				     : err_set(e, KLUIS_EVERIFY,
					       "the cluster shows another key of this device than "
					       "was compared");
		}
	}
	account_devices_free(devices, n);
	return rc == KLUIS_ENOTFOUND ? err_set(e, rc, "no such device waits") : rc;
}

/* The rows of a revoke statement in the making. */
struct vouching {
	const struct identity_device *device;
	const struct account_revocation *revocation; /* NULL: nothing is left out. */
	struct revoke_row *rows;
	size_t n;
	bool again; /* The cluster knows of something that was not answered for. */
	bool last;  /* The device does not stop: what it signed last is to be left out. */
};

/* Of what is left out: it vouches for nothing. A row of what is known may stand beside it. */
static const uint8_t vouch_none[HASH_BYTES];

/* Whether the last change of the members is by the device. */
static bool changed_last(const struct vouching *v, const struct membership *m)
{
	return memcmp(m->steps[m->members.seq - 1].signer_kid, key_pub_kid(v->device->sign),
		       KID_BYTES) == 0;
}

static bool wrote_last(const struct vouching *v, const struct vault *vault)
{
	return memcmp(vault->head.device_id, v->device->device_id, ID_BYTES) == 0 ||
	       changed_last(v, vault->membership);
}

static int row_compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct revoke_row));
}

/* Once: a cluster may list an object twice. */
static int vouch_row(struct vouching *v, const uint8_t id[ID_BYTES], const uint8_t hash[HASH_BYTES],
	struct err *e)
{
	struct revoke_row row;

	memcpy(row.object_id, id, ID_BYTES);
	memcpy(row.hash, hash, HASH_BYTES);
	for (size_t i = 0; i < v->n; i++) {
		if (row_compare(&v->rows[i], &row) == 0) {
			return 0;
		}
	}
	if (v->n >= IDENTITY_REVOKE_ROWS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more than one statement can vouch for");
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
	if (rc == 0 && v->last && wrote_last(v, vault)) {
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
	if (o->rc == 0 && v->last && changed_last(v, o->m)) {
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

	for (size_t i = 0; rc == 0 && i < n && v->n < IDENTITY_REVOKE_ROWS_MAX; i++) {
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
		qsort(v->rows, v->n, sizeof *v->rows, row_compare);
	}
	return rc;
}

static int revoke_send(
	struct profile *profile, struct client *client, const struct vouching *v, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, statement = BUF_INIT;
	const uint8_t *id = v->device->device_id;
	int rc;

	identity_body_revoke(&body, id, v->rows, v->n);
	rc = account_statement(profile, IDENTITY_DEVICE_REVOKE, buf_bytes(&body), &statement, e);
	return rc != 0 ? rc : api_device_delete(client, id, buf_bytes(&statement), e);
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
	return rc != 0 ? rc : revoke_send(profile, client, v, e);
}

int account_device_revoke(struct profile *profile, struct client *client,
	const uint8_t device_id[ID_BYTES], const struct account_revocation *revocation,
	struct err *e)
{
	struct vouching v = {.revocation = revocation};
	int rc = KLUIS_EPRECONDITION;

	for (unsigned try = 1; rc == KLUIS_EPRECONDITION && try <= REVOKE_TRIES; try++) {
		free(v.rows);
		v.rows = NULL;
		v.n = 0;
		v.again = try > 2;
		v.last = try == REVOKE_TRIES;
		if (try > 1) {
			revoke_end_sessions(client, device_id);
		}
		rc = revoke_try(profile, client, device_id, &v, e);
	}
	free(v.rows);
	return rc != 0 ? rc : account_chain_again(profile, client, e);
}

int account_policy(struct profile *profile, struct client *client, uint32_t flags, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, statement = BUF_INIT;
	int rc = account_chain_again(profile, client, e);

	buf_put_u32(&body, flags);
	rc = rc != 0 ? rc
		     : account_statement(profile, IDENTITY_POLICY, buf_bytes(&body), &statement, e);
	rc = rc != 0 ? rc : account_patch(client, buf_bytes(&statement), e);
	return rc != 0 ? rc : account_chain_again(profile, client, e);
}
