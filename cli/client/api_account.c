#include "cli/client/api_account.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/wire.h"
#include "cli/client/json_reader.h"

enum { ACCOUNT_TARGET_MAX = 256, ACCOUNT_STATEMENTS_MAX = 65536 };
static const char account_json[] = "application/json",
		  account_octets[] = "application/octet-stream";

/* A request with a JSON body (dropped) and a JSON object as the answer. */
static int account_call(struct client *client, struct client_request *request, json_t *body,
	json_t **ret_object, struct err *e)
{
	_cleanup_(http_answer_release) struct http_answer answer = {0};
	_cleanup_(secret_buf_release) struct buf text = BUF_INIT;
	int rc;

	json_take_text(body, &text);
	request->method = "POST";
	request->type = account_json;
	request->body = buf_bytes(&text);
	rc = client_call(client, request, &answer, e);
	return rc != 0 ? rc : json_object_parse(buf_bytes(&answer.body), ret_object, e);
}

static json_t *id_json(const uint8_t id[ID_BYTES])
{
	return json_hex(bytes_of(id, ID_BYTES));
}

/* The members that both take. */
static json_t *credentials_json(const struct api_credentials *c)
{
	return json_pack("{s:{s:I, s:o, s:o}, s:o, s:{s:o}, s:o}", "srp", "group",
		(json_int_t)c->group, "salt", json_base64(bytes_of(c->salt, SRP_SALT_BYTES)),
		"verifier", json_base64(c->verifier), "kdf",
		json_base64(bytes_of(c->kdf, KDF_BYTES)), "recovery", "public",
		json_base64(c->recovery_key), "keyring", json_base64(c->keyring));
}

void api_register_text(const struct api_register *request, struct buf *to)
{
	json_t *body = credentials_json(&request->credentials);

	(void)json_object_set_new(body, "user", json_string(request->user));
	(void)json_object_set_new(body, "user_id", id_json(request->user_id));
	(void)json_object_set_new(
		body, "unlock_share", json_base64(request->credentials.unlock_share));
	(void)json_object_set_new(body, "identity", json_base64(request->identity));
	(void)json_object_set_new(body, "device", json_base64(request->device));
	json_take_text(body, to);
}

int api_register(struct client *client, struct bytes text, const char *invite, struct err *e)
{
	json_t *body;
	int rc = json_object_parse(text, &body, e);

	if (rc != 0) {
		return rc;
	}
	if (invite != NULL) {
		(void)json_object_set_new(body, "invite", json_string(invite));
	}
	return api_json(client, "POST", "/v1/register", body, CLIENT_ANY_LINEAGE, NULL, e);
}

int api_password(struct client *client, const struct api_credentials *credentials, struct err *e)
{
	json_t *body = credentials_json(credentials);
	json_t *share = json_pack("{s:o, s:o}", "slot_id", id_json(credentials->slot_id),
		"unlock_share", json_base64(credentials->unlock_share));

	(void)json_object_set_new(body, "unlock_shares", json_pack("[o]", share));
	return api_json(client, "POST", "/v1/password", body, CLIENT_AUTH, NULL, e);
}

static void read_handshake(struct json_reader *r, const char *key, char to[HEX_LEN(ID_BYTES) + 1])
{
	uint8_t id[ID_BYTES];

	json_reader_hex(r, key, id, ID_BYTES);
	hex_encode(bytes_of(id, ID_BYTES), to);
}

static void read_b(struct json_reader *r, struct api_srp *srp)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;

	read_handshake(r, "handshake", srp->handshake);
	json_reader_base64(r, "B", SRP_PUBLIC_BYTES_MAX, &b);
	srp->b_len = b.len;
	if (b.len > 0) {
		memcpy(srp->b_public, b.data, b.len);
	}
}

int api_srp_start(struct client *client, const char *user, unsigned group, struct bytes a_public,
	struct api_srp *ret_srp, struct err *e)
{
	struct api_srp srp = {.endpoint = CLIENT_ANY_ENDPOINT};
	struct client_request request = {.target = "/v1/login/start", .endpoint = &srp.endpoint};
	json_t *body = json_pack("{s:s, s:o, s:I}", "user", user, "A", json_base64(a_public),
		"group", (json_int_t)group);
	json_t *object;
	struct json_reader r;
	uint64_t answered;
	int rc = account_call(client, &request, body, &object, e);

	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	json_reader_base64_exact(&r, "salt", srp.salt, SRP_SALT_BYTES);
	json_reader_base64_exact(&r, "kdf", srp.kdf, KDF_BYTES);
	answered = json_reader_u64(&r, "group");
	srp.group = answered <= UINT8_MAX ? (unsigned)answered : 0;
	srp.begun = json_object_get(object, "handshake") != NULL;
	if (srp.begun) {
		read_b(&r, &srp);
	}
	rc = json_reader_end(&r, "login", e);
	if (rc == 0 && srp.begun != (srp.group == group)) {
		rc = err_set(e, KLUIS_EVERIFY,
			"the cluster answers SRP group %u with %u, %s handshake", group, srp.group,
			srp.begun ? "and a" : "without a");
	}
	json_decref(object);
	if (rc == 0) {
		*ret_srp = srp;
	}
	return rc;
}

static void read_methods(struct json_reader *r, struct api_grant *grant)
{
	const json_t *list = json_reader_array(r, "mfa"), *item;
	size_t i;

	if (json_array_size(list) > API_MFA_METHODS_MAX) {
		r->failed = "mfa";
		return;
	}
	json_array_foreach(list, i, item)
	{
		const char *name = json_is_string(item) ? json_string_value(item) : "";
		size_t len = strlen(name);

		if (len == 0 || len > API_METHOD_CHARS_MAX) {
			r->failed = "mfa";
			return;
		}
		memcpy(grant->methods[grant->n_methods++], name, len + 1);
	}
}

static void read_grant(struct json_reader *r, struct api_grant *grant)
{
	const char *token = json_reader_string(r, "token");
	const char *level = json_reader_string(r, "level");

	/* A recovery's own level is all that it needs. */
	grant->full = strcmp(level, "full") == 0 || strcmp(level, "recovery") == 0;
	json_reader_hex(r, "user_id", grant->user_id, ID_BYTES);
	grant->expires_ms = json_reader_u64(r, "expires");
	read_methods(r, grant);
	if (r->failed == NULL && !grant->full && strcmp(level, "login") != 0) {
		r->failed = "level";
	}
	if (r->failed == NULL &&
		(strlen(token) > CLIENT_TOKEN_BYTES_MAX || strncmp(token, "kst_", 4) != 0 ||
			!api_cursor_valid(token))) {
		r->failed = "token";
	}
	(void)snprintf(grant->token, sizeof grant->token, "%s", r->failed == NULL ? token : "");
}

int api_srp_finish(struct client *client, const struct api_srp *srp,
	const uint8_t m1[SRP_PROOF_BYTES], const uint8_t *device_id, struct bytes device_signature,
	struct api_grant *ret_grant, struct err *e)
{
	size_t endpoint = srp->endpoint;
	struct client_request request = {
		.target = "/v1/login/finish", .flags = CLIENT_ONCE, .endpoint = &endpoint};
	json_t *body = json_pack("{s:s, s:o}", "handshake", srp->handshake, "M1",
		json_base64(bytes_of(m1, SRP_PROOF_BYTES)));
	json_t *object;
	struct api_grant grant = {.full = false};
	struct json_reader r;
	int rc;

	if (device_id != NULL) {
		(void)json_object_set_new(body, "device_id", id_json(device_id));
		(void)json_object_set_new(body, "device_sig", json_base64(device_signature));
	}
	rc = account_call(client, &request, body, &object, e);
	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	json_reader_base64_exact(&r, "M2", grant.m2, SRP_PROOF_BYTES);
	json_reader_base64_exact(&r, "token_mac", grant.token_mac, SRP_TOKEN_MAC_BYTES);
	read_grant(&r, &grant);
	rc = json_reader_end(&r, "login", e);
	json_decref(object);
	if (rc == 0) {
		*ret_grant = grant;
	}
	secret_clear(&grant, sizeof grant);
	return rc;
}

int api_unlock(struct client *client, struct api_unlock *ret_unlock, struct err *e)
{
	json_t *object;
	struct api_unlock unlock = {.share = SECRET_INIT};
	struct json_reader r;
	int rc = api_json(client, "GET", "/v1/unlock", NULL, CLIENT_AUTH, &object, e);

	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	secret_init(&unlock.share, UNLOCK_SHARE_BYTES);
	json_reader_hex(&r, "slot_id", unlock.slot_id, ID_BYTES);
	json_reader_base64_exact(&r, "unlock_share", unlock.share.data, UNLOCK_SHARE_BYTES);
	json_reader_base64_exact(&r, "slot", unlock.slot, KEYRING_SLOT_BYTES);
	unlock.revision = json_reader_u64(&r, "revision");
	rc = json_reader_end(&r, "unlock", e);
	json_decref(object);
	if (rc != 0) {
		secret_release(&unlock.share);
		return rc;
	}
	*ret_unlock = unlock;
	return 0;
}

int api_keyring(struct client *client, struct buf *ret_object,
	char ret_etag[API_ETAG_BYTES_MAX + 1], struct err *e)
{
	_cleanup_(http_answer_release) struct http_answer answer = {0};
	struct client_request request = {.method = "GET",
		.target = "/v1/keyring",
		.flags = CLIENT_AUTH | CLIENT_READ,
		.answer_max = KEYRING_BYTES_MAX};
	struct bytes etag;
	int rc = client_call(client, &request, &answer, e);

	if (rc != 0) {
		return rc;
	}
	etag = http_answer_header(&answer, "ETag");
	if (etag.len == 0 || etag.len > API_ETAG_BYTES_MAX) {
		return err_set(e, KLUIS_EPROTO, "keyring: no etag");
	}
	memcpy(ret_etag, etag.data, etag.len);
	ret_etag[etag.len] = 0;
	buf_append_bytes(ret_object, buf_bytes(&answer.body));
	return 0;
}

int api_keyring_version(
	struct client *client, uint64_t revision, struct buf *ret_object, struct err *e)
{
	_cleanup_(http_answer_release) struct http_answer answer = {0};
	char target[ACCOUNT_TARGET_MAX];
	struct client_request request = {.method = "GET",
		.target = target,
		.flags = CLIENT_AUTH | CLIENT_READ,
		.answer_max = KEYRING_BYTES_MAX};
	int rc;

	(void)snprintf(target, sizeof target, "/v1/keyring/versions/%" PRIu64, revision);
	rc = client_call(client, &request, &answer, e);
	if (rc == 0) {
		buf_append_bytes(ret_object, buf_bytes(&answer.body));
	}
	return rc;
}

int api_keyring_put(struct client *client, struct bytes object, const char *etag, struct err *e)
{
	_cleanup_(http_answer_release) struct http_answer answer = {0};
	struct client_request request = {.method = "PUT",
		.target = "/v1/keyring",
		.type = account_octets,
		.body = object,
		.flags = CLIENT_AUTH,
		.fields = {{"If-Match", etag}}};

	return client_call(client, &request, &answer, e);
}

int api_identity(struct client *client, const uint8_t user_id[ID_BYTES], struct buf *ret_chain,
	struct err *e)
{
	char target[API_TARGET_MAX];
	const json_t *item;
	json_t *items;
	size_t i;
	int rc;

	api_target(target, "users", user_id, "/identity");
	rc = api_list(client, target, CLIENT_AUTH | CLIENT_READ, ACCOUNT_STATEMENTS_MAX, &items, e);
	if (rc != 0) {
		return rc;
	}
	json_array_foreach(items, i, item)
	{
		_cleanup_(buf_release) struct buf statement = BUF_INIT;
		struct json_reader r = json_reader_of(item);

		json_reader_base64(&r, "statement", API_STATEMENT_BYTES_MAX, &statement);
		rc = json_reader_end(&r, "identity", e);
		if (rc != 0) {
			break;
		}
		buf_put_lp32(ret_chain, buf_bytes(&statement));
	}
	json_decref(items);
	return rc;
}

int api_recovery_start(
	struct client *client, const char *user, struct api_recovery *ret_recovery, struct err *e)
{
	struct api_recovery recovery = {.endpoint = CLIENT_ANY_ENDPOINT};
	struct client_request request = {
		.target = "/v1/recovery/start", .endpoint = &recovery.endpoint};
	json_t *object;
	struct json_reader r;
	int rc = account_call(client, &request, json_pack("{s:s}", "user", user), &object, e);

	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	read_handshake(&r, "recovery", recovery.recovery);
	json_reader_base64_exact(&r, "challenge", recovery.challenge, RECOVERY_CHALLENGE_BYTES);
	json_reader_hex(&r, "user_id", recovery.user_id, ID_BYTES);
	rc = json_reader_end(&r, "recovery", e);
	json_decref(object);
	if (rc == 0) {
		*ret_recovery = recovery;
	}
	return rc;
}

int api_recovery_finish(struct client *client, const struct api_recovery *recovery,
	struct bytes signature, struct api_grant *ret_grant, struct err *e)
{
	size_t endpoint = recovery->endpoint;
	struct client_request request = {
		.target = "/v1/recovery/finish", .flags = CLIENT_ONCE, .endpoint = &endpoint};
	json_t *body = json_pack(
		"{s:s, s:o}", "recovery", recovery->recovery, "signature", json_base64(signature));
	struct api_grant grant = {.full = false};
	json_t *object;
	struct json_reader r;
	int rc = account_call(client, &request, body, &object, e);

	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	read_grant(&r, &grant);
	rc = json_reader_end(&r, "recovery", e);
	json_decref(object);
	if (rc == 0) {
		*ret_grant = grant;
	}
	secret_clear(&grant, sizeof grant);
	return rc;
}

static void device_target(char to[ACCOUNT_TARGET_MAX], const uint8_t *device_id, const char *rest)
{
	char id[HEX_LEN(ID_BYTES) + 1] = "";

	if (device_id != NULL) {
		hex_encode(bytes_of(device_id, ID_BYTES), id);
	}
	(void)snprintf(to, ACCOUNT_TARGET_MAX, "/v1/devices%s%s%s", device_id == NULL ? "" : "/",
		id, rest);
}

int api_device_post(struct client *client, const uint8_t *device_id, struct bytes statement,
	bool *ret_active, struct err *e)
{
	char target[ACCOUNT_TARGET_MAX];
	json_t *object;
	struct json_reader r;
	bool active;
	int rc;

	device_target(target, device_id, device_id == NULL ? "" : "/approve");
	rc = api_json(client, "POST", target,
		json_pack("{s:o}", "statement", json_base64(statement)), CLIENT_AUTH, &object, e);
	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	active = strcmp(json_reader_string(&r, "state"), "active") == 0;
	rc = json_reader_end(&r, "device", e);
	json_decref(object);
	if (rc == 0) {
		*ret_active = active;
	}
	return rc;
}

int api_device_delete(struct client *client, const uint8_t device_id[ID_BYTES],
	struct bytes statement, struct err *e)
{
	char target[ACCOUNT_TARGET_MAX];

	device_target(target, device_id, "");
	return api_json(client, "DELETE", target,
		json_pack("{s:o}", "statement", json_base64(statement)), CLIENT_AUTH, NULL, e);
}
