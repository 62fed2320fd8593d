/* A person signs in by her password: SRP-6a in two requests to the same node, and the proof of an
 * enrolled device beside it. Who does not exist is answered by the same work. */
#include <assert.h>
#include <string.h>

#include "crypto/identity.h"
#include "crypto/proof.h"
#include "crypto/srp.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/handshake.h"
#include "node/place.h"
#include "node/pepper.h"
#include "storage/guard_store.h"
#include "storage/person_store.h"

/* Users. */

/* The id of a name that nobody has: HMAC(enum_key, "kluis/v1/enum-user" | I), first 16 bytes. */
static void stranger_id(const struct api *api, const char *name, uint8_t ret_id[16])
{
	const struct bytes parts[] = {bytes_str("kluis/v1/enum-user"), bytes_str(name)};
	uint8_t hash[HMAC_BYTES];

	hash_hmac(secret_bytes(&api->config.secrets->enum_key), parts, ARRAY_SIZE(parts), hash);
	memcpy(ret_id, hash, 16);
}

int call_person(struct api_call *call, const char *name, uint8_t ret_id[16],
	struct person_row *ret_person, bool *ret_known)
{
	struct person_name_row row;
	int rc = person_name_store_get(call->view, name, &row, &call->e);
	bool named = rc == 0 && !row.gone;

	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	stranger_id(call->api, name, ret_id);
	if (named) {
		memcpy(ret_id, row.user_id, 16);
	}
	/* Read for nobody, too, as the same work; whoever chose a made-up id as hers is not meant.
	 */
	rc = person_store_get(call->view, ret_id, ret_person, &call->e);
	if (rc == 0 || rc == KLUIS_ENOTFOUND) {
		*ret_known = rc == 0 && named;
		call->e = (struct err){0};
		return 0;
	}
	return rc;
}

/* Start. */

struct opening {
	char name[ACCOUNT_NAME_BYTES_MAX + 1];
	unsigned group;
	struct buf a_public;
	uint8_t user_id[16];
	bool known;
	struct person_row person;
	struct samples_row samples;
	struct handshake *handshake; /* Until it is in the table. */
};

static void opening_release(void *extra)
{
	struct opening *opening = extra;

	buf_release(&opening->a_public);
	handshake_free(opening->handshake);
}

int password_start_parse(struct api_call *call)
{
	_cleanup_(buf_release) struct buf name = BUF_INIT;
	struct opening *opening = call_extra(call, sizeof *opening);
	struct json_in reader;
	int rc;

	call->extra_release = opening_release;
	json_in_begin(&reader, call_body(call), &call->e);
	json_in_string(&reader, "user", ACCOUNT_NAME_BYTES_MAX, &name);
	json_in_binary(&reader, "A", SRP_PUBLIC_BYTES_MAX, &opening->a_public);
	opening->group = (unsigned)json_in_u64(&reader, "group", SRP_GROUP_2048, SRP_GROUP_6144);
	rc = json_in_end(&reader);
	rc = rc != 0 ? rc : call_name(call, buf_bytes(&name), opening->name);
	return rc != 0 ? rc
		       : srp_check_public(opening->group, buf_bytes(&opening->a_public), &call->e);
}

int password_start_read(struct api_call *call)
{
	struct opening *opening = call->extra;
	int rc = call_person(
		call, opening->name, opening->user_id, &opening->person, &opening->known);

	return rc != 0 ? rc : samples_store_get(call->view, &opening->samples, &call->e);
}

static int opening_decoy(
	struct api_call *call, const struct opening *opening, struct srp_decoy *ret_decoy)
{
	const struct api_config *config = &call->api->config;
	struct srp_sample fallback = srp_sample_default;

	fallback.group = config->srp_group;
	return srp_decoy_make(secret_bytes(&config->secrets->enum_key), bytes_str(opening->name),
		opening->samples.sample, opening->samples.n, &fallback, ret_decoy, &call->e);
}

/* The verifier: the person's, or the decoy's behind an unsealing that takes as long. */
static int opening_unseal(struct api_call *call, const struct opening *opening,
	const struct srp_decoy *decoy, struct secret *ret_verifier)
{
	_cleanup_(secret_release) struct secret opened = SECRET_INIT;
	const struct api *api = call->api;
	static const uint8_t nobody[16];
	const struct sealed_place place = {opening->known ? opening->user_id : nobody, "v", NULL};
	const struct person_row *person = &opening->person;
	struct bytes sealed = opening->known ? bytes_of(person->verifier, person->verifier_bytes)
					     : buf_bytes(&api->dummies->verifier[decoy->group]);
	int rc = call_unseal(call, &place,
		opening->known ? person->pepper_id : api->config.secrets->pepper_id, sealed,
		&opened);

	if (rc == 0) {
		secret_set(ret_verifier, secret_bytes(opening->known ? &opened : &decoy->verifier));
	}
	return rc;
}

static int opening_handshake(struct api_call *call, struct opening *opening,
	const struct srp_terms *terms, const struct srp_decoy *decoy, json_t *body)
{
	_cleanup_(secret_release) struct secret verifier = SECRET_INIT;
	struct handshake *handshake;
	struct kdf kdf;
	int rc = kdf_decode(bytes_of(terms->kdf, sizeof terms->kdf), &kdf, &call->e);

	if (rc != 0) {
		return err_set(&call->e, KLUIS_EINTERNAL, "a stored kdf is malformed");
	}
	rc = opening_unseal(call, opening, decoy, &verifier);
	if (rc != 0) {
		return rc;
	}
	handshake = opening->handshake = handshake_new(call->api->config.random);
	rc = srp_server_new(terms, secret_bytes(&verifier), buf_bytes(&opening->a_public),
		call->api->config.random, &handshake->srp, &call->e);
	if (rc != 0) {
		return rc;
	}
	memcpy(handshake->user_id, opening->user_id, 16);
	handshake->known = opening->known;
	handshake->guarded = (kdf.flags & KDF_ACCOUNT_KEY) == 0; /* Of a decoy as of a person. */
	handshake->credential = opening->known ? opening->person.credential : 1;
	json_put(body, "handshake", json_make_id(handshake->id));
	json_put(body, "B", json_make_base64(srp_server_public(handshake->srp)));
	return 0;
}

static void opening_terms(struct api_call *call, const struct opening *opening,
	const struct srp_decoy *decoy, struct srp_terms *ret_terms)
{
	const struct person_row *person = &opening->person;

	*ret_terms = (struct srp_terms){.user = bytes_str(opening->name)};
	ret_terms->group = opening->known ? person->group : decoy->group;
	memcpy(ret_terms->salt, opening->known ? person->salt : decoy->salt, SRP_SALT_BYTES);
	memcpy(ret_terms->kdf, opening->known ? person->kdf : decoy->kdf, KDF_BYTES);
	memcpy(ret_terms->cluster_id, call->api->config.cluster_id, ID_BYTES);
}

int password_start_check(struct api_call *call)
{
	struct opening *opening = call->extra;
	_cleanup_(srp_decoy_release) struct srp_decoy decoy = {0};
	struct srp_terms terms;
	json_t *body;
	int rc = opening_decoy(call, opening, &decoy);

	if (rc != 0) {
		return err_set(
			&call->e, KLUIS_EINTERNAL, "the sample for unknown users is malformed");
	}
	opening_terms(call, opening, &decoy, &terms);
	body = json_object();
	json_put(body, "group", json_make_number(terms.group));
	json_put(body, "salt", json_make_base64(bytes_of(terms.salt, sizeof terms.salt)));
	json_put(body, "kdf", json_make_base64(bytes_of(terms.kdf, sizeof terms.kdf)));
	if (terms.group == opening->group) {
		rc = opening_handshake(call, opening, &terms, &decoy, body);
	}
	if (rc != 0) {
		json_decref(body);
		return rc;
	}
	call_json(call, 200, body);
	return 0;
}

void password_start_finish(struct api_call *call)
{
	struct opening *opening = call->extra;
	struct api *api = call->api;

	if (opening->handshake != NULL) {
		handshake_put(
			api->handshakes, opening->handshake, call->req->address_key, api_now(api));
		opening->handshake = NULL;
	}
}

struct login_dummies *login_dummies_new(const struct secrets *secrets, struct random *random)
{
	struct login_dummies *dummies = x_calloc(1, sizeof *dummies);
	static const uint8_t nobody[16], zeros[SRP_PUBLIC_BYTES_MAX];
	const struct sealed_place place = {.user_id = nobody, .field = "v"};

	for (unsigned group = SRP_GROUP_2048; group <= SRP_GROUP_6144; group++) {
		sealed_make(secrets, &place, bytes_of(zeros, srp_group_bytes(group)), random,
			&dummies->verifier[group]);
	}
	return dummies;
}

void login_dummies_free(struct login_dummies *dummies)
{
	for (unsigned group = 0; dummies != NULL && group <= SRP_GROUP_6144; group++) {
		buf_release(&dummies->verifier[group]);
	}
	free(dummies);
}

/* Finish. */

struct closing {
	struct handshake *handshake;
	uint8_t m1[SRP_PROOF_BYTES], m2[SRP_PROOF_BYTES];
	bool has_device, device_found, by_device, failed;
	uint8_t device_id[16], device_sig[SIGN_ECDSA_BYTES], device_key[65];
	uint64_t blocked_ms; /* Wrong passwords before: for so long none is looked at. */
	char token[API_TOKEN_CHARS + 1];
	uint8_t token_hash[32], token_mac[SRP_TOKEN_MAC_BYTES];
};

static void closing_release(void *extra)
{
	struct closing *closing = extra;

	handshake_free(closing->handshake);
}

int call_login_refused(struct api_call *call)
{
	return call_fail(call, KLUIS_EUNAUTHENTICATED,
		"user, password, device or handshake is wrong, or "
		"the account takes no login without a device, or from here");
}

int call_login_blocked(struct api_call *call, uint64_t for_ms)
{
	call->problem_retry_ms = for_ms;
	return call_fail(call, KLUIS_ERATE, "too many failures: wait before the next try");
}

int password_finish_parse(struct api_call *call)
{
	struct closing *closing = call_extra(call, sizeof *closing);
	uint8_t id[16];
	struct json_in reader;
	int rc;

	call->extra_release = closing_release;
	json_in_begin(&reader, call_body(call), &call->e);
	json_in_hex(&reader, "handshake", id, sizeof id);
	json_in_binary_exact(&reader, "M1", closing->m1, sizeof closing->m1);
	closing->has_device =
		json_in_has(&reader, "device_id") || json_in_has(&reader, "device_sig");
	if (closing->has_device) {
		json_in_hex(&reader, "device_id", closing->device_id, sizeof closing->device_id);
		json_in_binary_exact(
			&reader, "device_sig", closing->device_sig, sizeof closing->device_sig);
	}
	rc = json_in_end(&reader);
	if (rc != 0) {
		return rc;
	}
	/* Gone from the table now: a handshake is worth one answer, right or wrong. */
	closing->handshake = handshake_take(call->api->handshakes, id, api_now(call->api));
	return closing->handshake != NULL ? 0 : call_login_refused(call);
}

static int closing_read_device(struct api_call *call, struct closing *closing)
{
	struct device_row device;
	int rc = device_store_get(
		call->view, closing->handshake->user_id, closing->device_id, &device, &call->e);

	if (rc == KLUIS_ENOTFOUND) {
		return 0;
	}
	closing->device_found = rc == 0 && !device.revoked;
	if (closing->device_found) {
		memcpy(closing->device_key, device.sign_key, sizeof closing->device_key);
	}
	return rc;
}

int call_blocked_ms(struct api_call *call, unsigned kind, const uint8_t id[16], uint64_t *ret_ms)
{
	uint64_t until_ms = 0;
	int rc = guard_store_check(call->view, kind, id, call->now_ms, &until_ms, &call->e);

	if (rc != 0 && rc != KLUIS_ERATE) {
		return rc;
	}
	*ret_ms = rc == KLUIS_ERATE && until_ms > call->now_ms ? until_ms - call->now_ms : 0;
	return 0;
}

int password_finish_read(struct api_call *call)
{
	struct closing *closing = call->extra;
	const uint8_t *user_id = closing->handshake->user_id;
	int rc = call_blocked_ms(call, GUARD_PASSWORD, user_id, &closing->blocked_ms);

	closing->device_found = false;
	return rc != 0 || !closing->has_device ? rc : closing_read_device(call, closing);
}

/* Whether an enrolled device signed M1. */
static bool closing_device_good(struct api_call *call, const struct closing *closing)
{
	_cleanup_(key_pub_freep) struct key_pub *key = NULL;
	struct proof_device proof;

	if (!closing->device_found ||
		key_cache_get(call->api->device_keys,
			bytes_of(closing->device_key, sizeof closing->device_key), &key,
			NULL) != 0) {
		return false;
	}
	memcpy(proof.cluster_id, call->api->config.cluster_id, sizeof proof.cluster_id);
	memcpy(proof.m1, closing->m1, sizeof proof.m1);
	memcpy(proof.user_id, closing->handshake->user_id, sizeof proof.user_id);
	memcpy(proof.device_id, closing->device_id, sizeof proof.device_id);
	return proof_device_verify(&proof, key,
		       bytes_of(closing->device_sig, sizeof closing->device_sig), NULL) == 0;
}

/* Counted against the user, or against the device that made itself known. */
static void closing_fail(struct api_call *call, struct closing *closing)
{
	struct command command = {.type = COMMAND_LOGIN_FAILED};
	struct command_login_failed *c = &command.login_failed;

	closing->failed = true;
	c->kind = closing->by_device ? GUARD_DEVICE : GUARD_PASSWORD;
	memcpy(c->id, closing->by_device ? closing->device_id : closing->handshake->user_id, 16);
	memcpy(c->user_id, closing->handshake->user_id, 16);
	call_propose(call, &command);
}

/* Also when it is from elsewhere: what the right password is told is for apply to say, or it could
 * be guessed beside the guard. */
static void closing_succeed(
	struct api_call *call, struct closing *closing, struct secret *session, bool here)
{
	struct command command = {.type = COMMAND_PERSON_LOGIN};
	struct command_person_login *c = &command.person_login;

	api_token_make(call->api->config.random, "kst_", closing->token, closing->token_hash);
	srp_token_mac(secret_bytes(session), bytes_of(closing->token, API_TOKEN_CHARS),
		closing->token_mac);
	memcpy(c->user_id, closing->handshake->user_id, 16);
	memcpy(c->device_id, closing->device_id, 16);
	c->credential = closing->handshake->credential;
	memcpy(c->token_hash, closing->token_hash, 32);
	c->ttl_ms = (uint32_t)call->api->config.session_ms;
	c->elsewhere = !here;
	call_propose(call, &command);
}

int password_finish_check(struct api_call *call)
{
	struct closing *closing = call->extra;
	const struct handshake *handshake = closing->handshake;
	_cleanup_(secret_release) struct secret session = SECRET_INIT;
	bool blocked, here = false;
	int rc;

	closing->by_device = closing->has_device && closing_device_good(call, closing);
	blocked = !closing->by_device && closing->blocked_ms > 0;
	if (blocked && handshake->guarded) {
		return call_login_blocked(call, closing->blocked_ms);
	}
	rc = srp_server_finish(handshake->srp, bytes_of(closing->m1, sizeof closing->m1),
		closing->m2, &session, &call->e);
	if (rc != 0 && rc != KLUIS_EVERIFY) {
		return rc;
	}
	call->e = (struct err){0};
	if (rc == KLUIS_EVERIFY || !handshake->known || closing->has_device != closing->by_device) {
		if (blocked) {
			return call_login_blocked(call, closing->blocked_ms);
		}
		closing_fail(call, closing);
		return 0;
	}
	rc = place_check(call, handshake->user_id, &here);
	if (rc == 0) {
		closing_succeed(call, closing, &session, here);
	}
	return rc;
}

int password_finish_applied(struct api_call *call)
{
	struct closing *closing = call->extra;
	struct command_reply reply;
	json_t *body;
	int rc;

	if (closing->failed) {
		return call->rc != 0 ? call->rc : call_login_refused(call);
	}
	rc = call_reply(call, &reply);
	if (rc != 0) {
		return rc;
	}
	if (reply.hash[0] == 0) { /* The device's owner, and nobody else, hears why. */
		return closing->by_device ? place_refused(call) : call_login_refused(call);
	}
	body = json_object();
	json_put(body, "M2", json_make_base64(bytes_of(closing->m2, sizeof closing->m2)));
	json_put(body, "token", json_make_text(closing->token));
	json_put(body, "token_mac",
		json_make_base64(bytes_of(closing->token_mac, sizeof closing->token_mac)));
	rc = call_session_reply(call, closing->token_hash, body);
	if (rc != 0) {
		json_decref(body);
		return rc;
	}
	call_json(call, 200, body);
	return 0;
}
