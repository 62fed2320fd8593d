/* Who has lost the password shows the recovery code: a signature by the key that follows from it
 * gives a session that may fetch the keyring and set a new password, after the operator's delay. */
#include <string.h>

#include "crypto/recovery.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/place.h"
#include "storage/guard_store.h"
#include "storage/person_store.h"

struct asking {
	char name[ACCOUNT_NAME_BYTES_MAX + 1];
	uint8_t user_id[16];
	bool known;
};

int recovery_start_parse(struct api_call *call)
{
	_cleanup_(buf_release) struct buf name = BUF_INIT;
	struct asking *asking = call_extra(call, sizeof *asking);
	struct json_in reader;
	int rc;

	json_in_begin(&reader, call_body(call), &call->e);
	json_in_string(&reader, "user", ACCOUNT_NAME_BYTES_MAX, &name);
	rc = json_in_end(&reader);
	return rc != 0 ? rc : call_name(call, buf_bytes(&name), asking->name);
}

int recovery_start_read(struct api_call *call)
{
	struct asking *asking = call->extra;
	struct person_row person;

	call->status = 200; /* The body waits for the loop's turn: the table is the loop's. */
	return call_person(call, asking->name, asking->user_id, &person, &asking->known);
}

void recovery_start_finish(struct api_call *call)
{
	const struct asking *asking = call->extra;
	struct api *api = call->api;
	struct handshake *made = handshake_new(api->config.random);
	json_t *body = json_object();

	memcpy(made->user_id, asking->user_id, sizeof made->user_id);
	made->known = asking->known;
	call_challenge(made, "recovery", body);
	handshake_put(api->recoveries, made, call->req->address_key, api_now(api));
	json_put(body, "user_id", json_make_id(asking->user_id));
	call_json(call, 200, body);
}

struct recovering {
	struct handshake *handshake;
	uint8_t signature[SIGN_ECDSA_BYTES];
	uint8_t key[RECOVERY_KEY_BYTES];
	uint64_t credential;
	bool known;
	char token[API_TOKEN_CHARS + 1];
	uint8_t token_hash[32];
};

static void recovering_release(void *extra)
{
	struct recovering *r = extra;

	handshake_free(r->handshake);
}

static int recovery_refused(struct api_call *call)
{
	return call_fail(call, KLUIS_EUNAUTHENTICATED, "user, recovery or signature is wrong");
}

int recovery_finish_parse(struct api_call *call)
{
	struct recovering *r = call_extra(call, sizeof *r);
	int rc;

	call->extra_release = recovering_release;
	rc = call_take_challenge(
		call, call->api->recoveries, "recovery", &r->handshake, r->signature);
	return rc == KLUIS_ENOTFOUND ? recovery_refused(call) : rc;
}

/* A point like any other (the generator of P-256): what is tried for nobody. */
static const uint8_t recovery_nobody[RECOVERY_KEY_BYTES] = {0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1,
	0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81,
	0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42,
	0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce,
	0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};

int recovery_finish_read(struct api_call *call)
{
	struct recovering *r = call->extra;
	struct person_row person;
	int rc = person_store_get(call->view, r->handshake->user_id, &person, &call->e);

	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	/* By the name that was asked for: a made-up id may be somebody's. */
	r->known = rc == 0 && r->handshake->known;
	r->credential = r->known ? person.credential : 1;
	memcpy(r->key, r->known ? person.recovery_key : recovery_nobody, sizeof r->key);
	call->e = (struct err){0};
	return 0;
}

static bool recovery_signed(struct api_call *call, const struct recovering *r)
{
	_cleanup_(key_pub_freep) struct key_pub *key = NULL;
	struct recovery_proof proof;

	if (key_pub_decode(KEY_ECDSA_P256, bytes_of(r->key, sizeof r->key), &key, NULL) != 0) {
		return false;
	}
	memcpy(proof.cluster_id, call->api->config.cluster_id, sizeof proof.cluster_id);
	memcpy(proof.user_id, r->handshake->user_id, sizeof proof.user_id);
	memcpy(proof.challenge, r->handshake->challenge, sizeof proof.challenge);
	return recovery_verify(&proof, key, bytes_of(r->signature, sizeof r->signature), NULL) == 0;
}

/* Nobody guesses the key that signs: there is no delay, and a wrong signature is not counted. It
 * would only be a way to keep the owner out. */
int recovery_finish_check(struct api_call *call)
{
	struct recovering *r = call->extra;
	const struct api_config *config = &call->api->config;
	struct command command = {.type = COMMAND_RECOVERY_BEGIN};
	struct command_recovery_begin *c = &command.recovery_begin;
	bool here = false;
	int rc;

	if (!recovery_signed(call, r) || !r->known) {
		return recovery_refused(call);
	}
	rc = place_check(call, r->handshake->user_id, &here);
	if (rc != 0) {
		return rc;
	}
	api_token_make(config->random, "kst_", r->token, r->token_hash);
	memcpy(c->user_id, r->handshake->user_id, sizeof c->user_id);
	c->credential = r->credential;
	memcpy(c->token_hash, r->token_hash, sizeof c->token_hash);
	call_session_life(call, true, &c->ttl_ms, &c->delay_ms);
	c->elsewhere = !here;
	call_propose(call, &command);
	return 0;
}

int recovery_finish_applied(struct api_call *call)
{
	const struct recovering *r = call->extra;
	struct command_reply reply;
	json_t *body;
	int rc = call_reply(call, &reply);

	if (rc != 0) {
		return rc;
	}
	if (reply.hash[0] == 0) {
		return place_refused(call);
	}
	body = json_object();
	json_put(body, "token", json_make_text(r->token));
	rc = call_session_reply(call, r->token_hash, body);
	if (rc != 0) {
		json_decref(body);
		return rc;
	}
	call_json(call, 200, body);
	return 0;
}

/* The owner stops what somebody began with the code. */
int recovery_cancel_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_RECOVERY_CANCEL};

	command.recovery_cancel.session = call_session(call);
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}
