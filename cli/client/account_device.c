/* Devices of a person: asked for by one, and approved by another. */
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "cli/client/account_impl.h"
#include "cli/client/json_reader.h"

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
