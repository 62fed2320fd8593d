/* A person signs herself up: names, keys and statements are checked here, what proves her later is
 * sealed before the command carries it. */
#include <string.h>

#include "crypto/identity.h"
#include "crypto/keyring.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/credentials.h"
#include "storage/invite_store.h"
#include "storage/person_store.h"
#include "storage/policy_store.h"

struct registration {
	char name[ACCOUNT_NAME_BYTES_MAX + 1];
	uint8_t user_id[16];
	struct credentials credentials;
	struct buf identity, device;
	bool invited;
	uint8_t invite[32]; /* SHA-256 of the token. */
};

static void registration_release(void *extra)
{
	struct registration *r = extra;

	credentials_release(&r->credentials);
	buf_release(&r->identity);
	buf_release(&r->device);
}

int call_name(struct api_call *call, struct bytes name, char to[ACCOUNT_NAME_BYTES_MAX + 1])
{
	if (!identity_name_valid(name)) {
		return call_fail(call, KLUIS_EINVAL,
			"a user name is 1 to 64 of a-z, 0-9, '.', '_', '@', '+' and '-'");
	}
	memcpy(to, name.data, name.len);
	to[name.len] = '\0';
	return 0;
}

static int read_invite(struct api_call *call, struct registration *r, struct bytes token)
{
	if (token.len == 0) {
		return call->api->config.registration == REGISTRATION_INVITE
			       ? call_fail(call, KLUIS_EFORBIDDEN, "it takes an invitation")
			       : 0;
	}
	r->invited = true;
	return api_token_hash(token, "kiv_", r->invite) == 0
		       ? 0
		       : call_fail(call, KLUIS_EINVAL, "'invite' is no invitation");
}

int register_parse(struct api_call *call)
{
	_cleanup_(buf_release) struct buf name = BUF_INIT;
	_cleanup_(secret_buf_release) struct buf invite = BUF_INIT;
	struct registration *r = call_extra(call, sizeof *r);
	struct json_in reader;
	int rc;

	call->extra_release = registration_release;
	if (call->api->config.registration == REGISTRATION_CLOSED) {
		return call_fail(call, KLUIS_EFORBIDDEN, "registration is closed");
	}
	json_in_begin(&reader, call_body(call), &call->e);
	json_in_string(&reader, "user", ACCOUNT_NAME_BYTES_MAX, &name);
	json_in_hex(&reader, "user_id", r->user_id, sizeof r->user_id);
	credentials_read(&reader, &r->credentials);
	credentials_read_share(&reader, &r->credentials);
	json_in_binary(&reader, "identity", STATEMENT_BYTES_MAX, &r->identity);
	json_in_binary(&reader, "device", STATEMENT_BYTES_MAX, &r->device);
	if (json_in_has(&reader, "invite")) {
		json_in_string(&reader, "invite", API_TOKEN_CHARS, &invite);
	}
	rc = json_in_end(&reader);
	rc = rc != 0 ? rc : call_name(call, buf_bytes(&name), r->name);
	rc = rc != 0 ? rc : credentials_check(call, &r->credentials);
	return rc != 0 ? rc : read_invite(call, r, buf_bytes(&invite));
}

static int read_invitation(struct api_call *call, const struct registration *r)
{
	struct invite_row invite;
	int rc = invite_store_get(call->view, r->invite, &invite, &call->e);

	return rc == KLUIS_ENOTFOUND || (rc == 0 && call->now_ms >= invite.expires_ms)
		       ? call_fail(call, KLUIS_EFORBIDDEN,
				 "the invitation is not good, or not any more")
		       : rc;
}

/* What the strictest node asks, whatever this one's settings say. */
static int read_policy(struct api_call *call, const struct registration *r)
{
	struct policy policy;
	int rc = policy_store_get(call->view, &policy, &call->e);

	if (rc == 0 && policy.registration == POLICY_CLOSED) {
		rc = call_fail(call, KLUIS_EFORBIDDEN, "registration is closed");
	} else if (rc == 0 && policy.registration == POLICY_INVITE && !r->invited) {
		rc = call_fail(call, KLUIS_EFORBIDDEN, "it takes an invitation");
	}
	return rc;
}

/* Whether that user was born by the very statement that is sent. Ids are no secret. */
static int register_is_own(struct api_call *call, const struct registration *r,
	const uint8_t user_id[16], bool *ret_own)
{
	struct statement genesis;
	struct user_row user;
	int rc = user_store_get(call->view, user_id, &user, &call->e);

	if (rc == KLUIS_ENOTFOUND) { /* Deleted. */
		*ret_own = false;
		return 0;
	}
	*ret_own = rc == 0 &&
		   statement_parse(CHAIN_IDENTITY, buf_bytes(&r->identity), &genesis, NULL) == 0 &&
		   memcmp(genesis.hash, user.genesis_hash, sizeof user.genesis_hash) == 0;
	return rc;
}

/* Early, to spare the work; apply decides. Who has no invitation learns of no name. */
int register_read(struct api_call *call)
{
	const struct registration *r = call->extra;
	struct person_name_row name;
	bool taken;
	int rc = read_policy(call, r);

	if (rc != 0) {
		return rc;
	}
	rc = person_name_store_get(call->view, r->name, &name, &call->e);
	taken = rc == 0;

	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	if (taken) {
		bool own = false;

		rc = register_is_own(call, r, name.user_id, &own);
		if (rc != 0 || own) {
			return rc; /* The first answer was lost, perhaps. */
		}
	}
	rc = r->invited ? read_invitation(call, r) : 0;
	return rc == 0 && taken ? call_fail(call, KLUIS_EEXIST, "the name is taken") : rc;
}

static int check_identity(struct api_call *call, const struct registration *r)
{
	struct identity identity;
	int rc;

	identity_init(&identity);
	rc = identity_append(&identity, buf_bytes(&r->identity), &call->e);
	rc = rc != 0 ? rc : identity_append(&identity, buf_bytes(&r->device), &call->e);
	if (rc != 0) {
		rc = call_refusal(call, rc, "statement");
	} else if (identity.device_count != 1 || strcmp(identity.name, r->name) != 0 ||
		   memcmp(identity.user_id, r->user_id, 16) != 0) {
		rc = call_fail(call, KLUIS_EINVAL,
			"the statements are not of this user and a device of hers");
	}
	identity_release(&identity);
	return rc;
}

int register_check(struct api_call *call)
{
	struct registration *r = call->extra;
	struct command command = {.type = COMMAND_PERSON_REGISTER};
	struct command_person_register *c = &command.person_register;
	int rc = check_identity(call, r);

	rc = rc != 0 ? rc : credentials_check_first(call, &r->credentials, r->user_id);
	if (rc != 0) {
		return rc;
	}
	c->name = bytes_str(r->name);
	c->invite = bytes_of(r->invite, r->invited ? sizeof r->invite : 0);
	credentials_seal(call, &r->credentials, r->user_id, &c->credentials);
	c->identity = buf_bytes(&r->identity);
	c->device = buf_bytes(&r->device);
	c->keyring = buf_bytes(&r->credentials.keyring);
	call_propose(call, &command);
	return 0;
}

int register_applied(struct api_call *call)
{
	struct command_reply reply;
	json_t *body;
	int rc = call_reply(call, &reply);

	if (rc != 0) {
		return rc;
	}
	body = json_object();
	json_put(body, "user_id", json_make_id(reply.id));
	json_put(body, "device_id", json_make_id(reply.second_id));
	call_json(call, 202, body);
	return 0;
}
