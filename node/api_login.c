/* Service accounts sign themselves up with an operator's token and sign in by their device key. */
#include <string.h>

#include "base/text.h"
#include "crypto/identity.h"
#include "crypto/proof.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/place.h"
#include "storage/person_store.h"

struct enrol {
	char token[API_TOKEN_CHARS + 1];
	uint8_t token_hash[32];
	uint8_t proof[SIGN_ECDSA_BYTES];
};
enum { ENROL_ACCOUNT, ENROL_IDENTITY, ENROL_DEVICE, ENROL_TOKEN }; /* In call->text. */

void api_token_make(struct random *random, const char prefix[4], char to[API_TOKEN_CHARS + 1],
	uint8_t ret_hash[32])
{
	uint8_t raw[32];

	random_fill(random, raw, sizeof raw);
	memcpy(to, prefix, 4);
	base64_encode(bytes_of(raw, sizeof raw), to + 4);
	hash_sha256(bytes_of(to, API_TOKEN_CHARS), ret_hash);
	secret_clear(raw, sizeof raw);
}

int api_token_hash(struct bytes token, const char prefix[4], uint8_t ret_hash[32])
{
	uint8_t raw[32];
	int rc;

	if (token.len != API_TOKEN_CHARS || memcmp(token.data, prefix, 4) != 0) {
		return KLUIS_EINVAL;
	}
	rc = base64_decode_exact(bytes_of(token.data + 4, API_TOKEN_CHARS - 4), raw, sizeof raw);
	secret_clear(raw, sizeof raw);
	if (rc == 0) {
		hash_sha256(token, ret_hash);
	}
	return rc;
}

static int enrol_read_token(struct api_call *call, struct enrol *enrol)
{
	const struct buf *token = &call->text[ENROL_TOKEN];

	if (api_token_hash(buf_bytes(token), "ket_", enrol->token_hash) != 0) {
		return call_fail(call, KLUIS_EINVAL, "'token' is no enrolment token");
	}
	memcpy(enrol->token, token->data, API_TOKEN_CHARS);
	return 0;
}

int service_enrol_parse(struct api_call *call)
{
	struct enrol *enrol = call_extra(call, sizeof *enrol);
	struct json_in reader;
	int rc;

	json_in_begin(&reader, call_body(call), &call->e);
	json_in_string(&reader, "token", API_TOKEN_CHARS, &call->text[ENROL_TOKEN]);
	json_in_string(&reader, "account", ACCOUNT_NAME_BYTES_MAX, &call->text[ENROL_ACCOUNT]);
	json_in_binary(&reader, "identity", STATEMENT_BYTES_MAX, &call->text[ENROL_IDENTITY]);
	json_in_binary(&reader, "device", STATEMENT_BYTES_MAX, &call->text[ENROL_DEVICE]);
	json_in_binary_exact(&reader, "proof", enrol->proof, sizeof enrol->proof);
	rc = json_in_end(&reader);
	if (rc == 0 && !identity_name_valid(buf_bytes(&call->text[ENROL_ACCOUNT]))) {
		rc = call_fail(call, KLUIS_EINVAL, "'account' is no account name");
	}
	return rc == 0 ? enrol_read_token(call, enrol) : rc;
}

/* Whatever is wrong with account and token, the answer is the same. */
int service_enrol_read(struct api_call *call)
{
	const struct enrol *enrol = call->extra;
	struct account_row row;
	int rc = account_store_get(call->view, buf_str(&call->text[ENROL_ACCOUNT]), &row, &call->e);

	if (rc == 0 &&
		secret_equal(bytes_of(row.enrol_hash, 32), bytes_of(enrol->token_hash, 32))) {
		return 0; /* Expiry and state are apply's to judge. */
	}
	return rc == 0 || rc == KLUIS_ENOTFOUND
		       ? call_fail(call, KLUIS_EUNAUTHENTICATED, "account or token is wrong")
		       : rc;
}

int call_refusal(struct api_call *call, int rc, const char *what)
{
	if (rc == KLUIS_EVERIFY || rc == KLUIS_ETOOLARGE) {
		call->e.code = rc = KLUIS_EINVAL;
	}
	return err_wrap(&call->e, rc, "%s", what);
}

static int enrol_verify(struct api_call *call, struct identity *identity)
{
	const struct enrol *enrol = call->extra;
	const struct bytes account = buf_bytes(&call->text[ENROL_ACCOUNT]);
	struct proof_enrol proof = {
		.token = bytes_of(enrol->token, API_TOKEN_CHARS), .account = account};
	int rc = identity_append(identity, buf_bytes(&call->text[ENROL_IDENTITY]), &call->e);

	if (rc == 0) {
		rc = identity_append(identity, buf_bytes(&call->text[ENROL_DEVICE]), &call->e);
	}
	if (rc != 0) {
		return call_refusal(call, rc, "statement");
	}
	if (identity->device_count != 1 || !bytes_equal(bytes_str(identity->name), account)) {
		return call_fail(
			call, KLUIS_EINVAL, "the statements are not of this account's device");
	}
	memcpy(proof.cluster_id, call->api->config.cluster_id, sizeof proof.cluster_id);
	memcpy(proof.genesis_hash, identity->genesis_hash, sizeof proof.genesis_hash);
	memcpy(proof.device_hash, identity->head_hash, sizeof proof.device_hash);
	rc = proof_enrol_verify(&proof, identity->devices[0].sign,
		bytes_of(enrol->proof, sizeof enrol->proof), &call->e);
	return rc == KLUIS_EVERIFY
		       ? call_fail(call, KLUIS_EUNAUTHENTICATED, "account or token is wrong")
		       : rc;
}

int service_enrol_check(struct api_call *call)
{
	const struct enrol *enrol = call->extra;
	struct command command = {.type = COMMAND_SERVICE_ENROL};
	struct identity identity;
	int rc;

	identity_init(&identity);
	rc = enrol_verify(call, &identity);
	identity_release(&identity);
	if (rc != 0) {
		return rc;
	}
	command.service_enrol.name = buf_bytes(&call->text[ENROL_ACCOUNT]);
	memcpy(command.service_enrol.enrol_hash, enrol->token_hash, 32);
	command.service_enrol.identity = buf_bytes(&call->text[ENROL_IDENTITY]);
	command.service_enrol.device = buf_bytes(&call->text[ENROL_DEVICE]);
	call_propose(call, &command);
	return 0;
}

int service_enrol_applied(struct api_call *call)
{
	struct command_reply reply;
	json_t *body;
	int rc = call_reply(call, &reply);

	if (rc != 0) {
		return rc;
	}
	body = json_object();
	json_put(body, "account", json_make_text(buf_str(&call->text[ENROL_ACCOUNT])));
	json_put(body, "user_id", json_make_id(reply.id));
	json_put(body, "device_id", json_make_id(reply.second_id));
	call_json(call, 201, body);
	return 0;
}

void call_challenge(const struct handshake *made, const char *id_name, json_t *body)
{
	json_put(body, id_name, json_make_id(made->id));
	json_put(body, "challenge",
		json_make_base64(bytes_of(made->challenge, sizeof made->challenge)));
	json_put(body, "expires_in_ms", json_make_number(API_CHALLENGE_MS));
}

int login_start_parse(struct api_call *call)
{
	struct api *api = call->api;
	struct handshake *made = handshake_new(api->config.random);
	struct json_in reader;
	json_t *body;
	int rc;

	json_in_begin(&reader, call_body(call), &call->e);
	json_in_hex(&reader, "user_id", made->user_id, sizeof made->user_id);
	json_in_hex(&reader, "device_id", made->device_id, sizeof made->device_id);
	rc = json_in_end(&reader);
	if (rc != 0) {
		handshake_free(made);
		return rc;
	}
	body = json_object();
	call_challenge(made, "handshake", body);
	handshake_put(api->device_logins, made, call->req->address_key, api_now(api));
	call_json(call, 200, body);
	return 0;
}

struct login {
	struct handshake *handshake;
	uint8_t signature[SIGN_ECDSA_BYTES];
	uint8_t sign_key[65];
	/* A person's: the session that goes on as the device's. */
	bool person, has_session;
	uint8_t session_hash[32];
	char token[API_TOKEN_CHARS + 1];
	uint8_t token_hash[32];
};

static void login_release(void *extra)
{
	struct login *login = extra;

	handshake_free(login->handshake);
}

static int login_refused(struct api_call *call)
{
	return call_fail(call, KLUIS_EUNAUTHENTICATED, "user, device or signature is wrong");
}

int call_take_challenge(struct api_call *call, struct handshake_table *table, const char *member,
	struct handshake **ret_handshake, uint8_t ret_signature[SIGN_ECDSA_BYTES])
{
	uint8_t id[16];
	struct json_in reader;
	int rc;

	json_in_begin(&reader, call_body(call), &call->e);
	json_in_hex(&reader, member, id, sizeof id);
	json_in_binary_exact(&reader, "signature", ret_signature, SIGN_ECDSA_BYTES);
	rc = json_in_end(&reader);
	if (rc != 0) {
		return rc;
	}
	*ret_handshake = handshake_take(table, id, api_now(call->api));
	return *ret_handshake != NULL ? 0 : KLUIS_ENOTFOUND;
}

int login_finish_parse(struct api_call *call)
{
	struct login *login = call_extra(call, sizeof *login);
	int rc;

	call->extra_release = login_release;
	login->has_session = call_token(call->req, "kst_", login->session_hash) == 0;
	rc = call_take_challenge(
		call, call->api->device_logins, "handshake", &login->handshake, login->signature);
	return rc == KLUIS_ENOTFOUND ? login_refused(call) : rc;
}

/* A device's key is no password: a person has signed in before, and it makes that session its own.
 */
static int login_read_person(struct api_call *call, struct login *login)
{
	struct person_row person;
	struct session_row session;
	int rc = person_store_get(call->view, login->handshake->user_id, &person, &call->e);

	login->person = rc == 0;
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	if (!login->has_session) {
		return login_refused(call);
	}
	rc = session_store_check(call->view, login->session_hash, call->now_ms, &session, &call->e);
	if (rc == KLUIS_EUNAUTHENTICATED ||
		(rc == 0 && (session_of_recovery(&session) ||
				    memcmp(session.user_id, person.user_id, 16) != 0))) {
		return login_refused(call);
	}
	return rc;
}

int login_finish_read(struct api_call *call)
{
	struct login *login = call->extra;
	const struct handshake *handshake = login->handshake;
	struct user_row user;
	struct device_row device;
	int rc = user_store_get(call->view, handshake->user_id, &user, &call->e);

	if (rc == 0) {
		rc = device_store_get(
			call->view, handshake->user_id, handshake->device_id, &device, &call->e);
	}
	if (rc == KLUIS_ENOTFOUND || (rc == 0 && (user.disabled || device.revoked))) {
		return login_refused(call);
	}
	if (rc == 0) {
		memcpy(login->sign_key, device.sign_key, sizeof login->sign_key);
		rc = login_read_person(call, login);
	}
	return rc;
}

static int login_verify(struct api_call *call, const struct login *login)
{
	_cleanup_(key_pub_freep) struct key_pub *key = NULL;
	struct proof_login proof;
	int rc = key_pub_decode(
		KEY_ECDSA_P256, bytes_of(login->sign_key, sizeof login->sign_key), &key, &call->e);

	if (rc != 0) {
		return err_set(&call->e, KLUIS_EINTERNAL, "stored device key is malformed");
	}
	memcpy(proof.cluster_id, call->api->config.cluster_id, sizeof proof.cluster_id);
	memcpy(proof.challenge, login->handshake->challenge, sizeof proof.challenge);
	memcpy(proof.user_id, login->handshake->user_id, sizeof proof.user_id);
	memcpy(proof.device_id, login->handshake->device_id, sizeof proof.device_id);
	rc = proof_login_verify(
		&proof, key, bytes_of(login->signature, sizeof login->signature), &call->e);
	return rc == KLUIS_EVERIFY ? login_refused(call) : rc;
}

static void login_propose_service(struct api_call *call, const struct login *login)
{
	struct command command = {.type = COMMAND_SESSION_CREATE};
	struct command_session_create *c = &command.session_create;

	memcpy(c->user_id, login->handshake->user_id, sizeof c->user_id);
	memcpy(c->device_id, login->handshake->device_id, sizeof c->device_id);
	/* A service has no second factor: its key is the one it has. */
	c->level = SESSION_FULL;
	c->ttl_ms = (uint32_t)call->api->config.session_ms;
	memcpy(c->token_hash, login->token_hash, sizeof c->token_hash);
	call_propose(call, &command);
}

static void login_propose_person(struct api_call *call, const struct login *login)
{
	struct command command = {.type = COMMAND_SESSION_DEVICE};
	struct command_session_device *c = &command.session_device;

	memcpy(c->session.token_hash, login->session_hash, sizeof c->session.token_hash);
	memcpy(c->device_id, login->handshake->device_id, sizeof c->device_id);
	memcpy(c->token_hash, login->token_hash, sizeof c->token_hash);
	call_propose(call, &command);
}

int login_finish_check(struct api_call *call)
{
	struct login *login = call->extra;
	bool here = false;
	int rc = login_verify(call, login);

	rc = rc != 0 ? rc : place_check(call, login->handshake->user_id, &here);
	if (rc != 0 || !here) {
		return rc != 0 ? rc : place_refused(call);
	}
	api_token_make(call->api->config.random, "kst_", login->token, login->token_hash);
	(login->person ? login_propose_person : login_propose_service)(call, login);
	return 0;
}

int login_finish_applied(struct api_call *call)
{
	struct login *login = call->extra;
	struct command_reply reply;
	json_t *body;
	int rc = call_reply(call, &reply);

	if (rc != 0) {
		return rc;
	}
	body = json_object();
	json_put(body, "token", json_make_text(login->token));
	rc = call_session_reply(call, login->token_hash, body);
	if (rc != 0) {
		json_decref(body);
		return rc;
	}
	call_json(call, 200, body);
	return 0;
}
