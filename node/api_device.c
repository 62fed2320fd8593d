/* A person's devices and the statements that her identity chain is made of. A statement is verified
 * here against the whole chain; apply holds it against the chain's end. */
#include <assert.h>
#include <string.h>

#include "crypto/identity.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "storage/pending_store.h"
#include "storage/person_store.h"

/* Chains. */

int call_identity(struct api_call *call, const uint8_t user_id[16], struct identity *identity)
{
	struct user_row user;
	int rc = user_store_get(call->view, user_id, &user, &call->e);

	for (uint64_t seq = 1; rc == 0 && seq <= user.chain_seq; seq++) {
		_cleanup_(buf_release) struct buf statement = BUF_INIT;

		rc = statement_store_get(call->view, user_id, seq, &statement, &call->e);
		if (rc == 0 && identity_append(identity, buf_bytes(&statement), &call->e) != 0) {
			rc = err_wrap(&call->e, call->e.code = KLUIS_EINTERNAL, "stored chain");
		}
	}
	return rc;
}

struct appending {
	struct buf bytes;
	struct statement statement; /* Points into bytes. */
	bool pends;		    /* The device waits for approval. */
	struct pending_row pending; /* Which is approved. */
};

static void appending_release(void *extra)
{
	struct appending *a = extra;

	buf_release(&a->bytes);
}

/* types: what it may be, BIT() of each. */
static int appending_parse(struct api_call *call, unsigned types)
{
	struct appending *a = call_extra(call, sizeof *a);
	struct json_in reader;
	int rc;

	call->extra_release = appending_release;
	json_in_begin(&reader, call_body(call), &call->e);
	json_in_binary(&reader, "statement", STATEMENT_BYTES_MAX, &a->bytes);
	rc = json_in_end(&reader);
	if (rc != 0) {
		return rc;
	}
	rc = statement_parse(CHAIN_IDENTITY, buf_bytes(&a->bytes), &a->statement, &call->e);
	if (rc != 0) {
		return call_refusal(call, rc, "statement");
	}
	return a->statement.type < 32 && (types & BIT(a->statement.type)) != 0
		       ? 0
		       : call_fail(call, KLUIS_EINVAL, "a statement of another kind");
}

/* A statement of a device, whose id its body begins with. */
static int appending_parse_device(struct api_call *call, unsigned types)
{
	int rc = appending_parse(call, types);
	const struct appending *a = call->extra;

	return rc != 0 || a->statement.body.len >= ID_BYTES
		       ? rc
		       : call_fail(call, KLUIS_EINVAL, "a statement of another kind");
}

/* Its place in the chain and its signature. Sent again it is the chain's last one. */
static int appending_verify(struct api_call *call)
{
	const struct appending *a = call->extra;
	const struct statement *s = &a->statement;
	struct identity identity;
	int rc;

	identity_init(&identity);
	rc = call_identity(call, call->session.user_id, &identity);
	if (rc == 0 && (s->seq != identity.seq || memcmp(s->hash, identity.head_hash, 32) != 0)) {
		if (s->seq != identity.seq + 1 ||
			memcmp(s->prev_hash, identity.head_hash, HASH_BYTES) != 0) {
			rc = call_fail(call, KLUIS_EPRECONDITION, "the identity chain has moved");
		} else {
			rc = identity_append(&identity, buf_bytes(&a->bytes), &call->e);
			rc = rc != 0 ? call_refusal(call, rc, "statement") : 0;
		}
	}
	identity_release(&identity);
	return rc;
}

static void appending_propose(struct api_call *call)
{
	const struct appending *a = call->extra;
	struct command command = {.type = COMMAND_IDENTITY_APPEND};

	command.identity_append.session = call_session(call);
	command.identity_append.statement = buf_bytes(&a->bytes);
	call_propose(call, &command);
}

/* Adding. */

int device_add_parse(struct api_call *call)
{
	return appending_parse_device(call, BIT(IDENTITY_DEVICE_ADD));
}

static int has_active_device(struct api_call *call, bool *ret_active)
{
	_cleanup_(x_freep) struct device_row *rows = x_calloc(LIST_LIMIT_MAX, sizeof *rows);
	const uint8_t *after = NULL;
	uint8_t last[16];
	size_t n = 0;

	*ret_active = false;
	do {
		int rc = device_store_list(call->view, call->session.user_id, after, rows,
			LIST_LIMIT_MAX, &n, &call->e);

		if (rc != 0) {
			return rc;
		}
		for (size_t i = 0; i < n; i++) {
			*ret_active = *ret_active || !rows[i].revoked;
		}
		if (n > 0) {
			memcpy(last, rows[n - 1].device_id, sizeof last);
			after = last;
		}
	} while (n == LIST_LIMIT_MAX && !*ret_active);
	return 0;
}

/* A session without a device asks one that is enrolled, where there is one to ask. */
int device_add_read(struct api_call *call)
{
	struct appending *a = call->extra;
	struct person_row person;
	int rc = call_own_person(call, &person);

	a->pends = false;
	if (rc != 0 || session_has_device(&call->session) ||
		call->now_ms < person.recovered_until_ms) {
		return rc;
	}
	return has_active_device(call, &a->pends);
}

int device_add_check(struct api_call *call)
{
	const struct appending *a = call->extra;
	struct command command = {.type = COMMAND_DEVICE_PEND};
	int rc = appending_verify(call);

	if (rc != 0) {
		return rc;
	}
	if (!a->pends) {
		appending_propose(call);
		return 0;
	}
	command.device_pend.session = call_session(call);
	command.device_pend.statement = buf_bytes(&a->bytes);
	call_propose(call, &command);
	return 0;
}

static int device_reply(struct api_call *call, int status, const uint8_t id[16])
{
	const struct appending *a = call->extra;
	json_t *body;

	if (call->rc != 0) {
		return call_fail(call, call->rc, "the identity chain has moved");
	}
	body = json_object();
	json_put(body, "id", json_make_id(id));
	json_put(body, "state", json_make_text(a->pends ? "pending" : "active"));
	call_json(call, status, body);
	return 0;
}

int device_add_applied(struct api_call *call)
{
	const struct appending *a = call->extra;

	return device_reply(call, a->pends ? 202 : 201, a->statement.body.data);
}

/* Approving and refusing. */

int device_id_parse(struct api_call *call)
{
	return call_param_id(call, 0, call->device_id);
}

int device_approve_parse(struct api_call *call)
{
	int rc = device_id_parse(call);

	return rc != 0 ? rc : appending_parse_device(call, BIT(IDENTITY_DEVICE_ADD));
}

/* The approver speaks of exactly the keys that wait. */
static bool approves(const struct statement *s, const struct pending_row *pending)
{
	const struct device_row *device = &pending->device;
	struct wire w = wire_of(s->body);
	struct bytes id = wire_bytes(&w, ID_BYTES);
	struct bytes sign = wire_lp16(&w, UINT16_MAX), hpke = wire_lp16(&w, UINT16_MAX);

	return wire_ok(&w) && bytes_equal(id, bytes_of(device->device_id, ID_BYTES)) &&
	       bytes_equal(sign, bytes_of(device->sign_key, sizeof device->sign_key)) &&
	       bytes_equal(hpke, bytes_of(device->hpke_key, device->hpke_key_bytes));
}

int device_approve_read(struct api_call *call)
{
	struct appending *a = call->extra;
	struct device_row device;
	struct user_row user;
	int rc = call_need_device(call);

	rc = rc != 0 ? rc : user_store_get(call->view, call->session.user_id, &user, &call->e);
	if (rc != 0) {
		return rc;
	}
	rc = pending_store_get(
		call->view, call->session.user_id, call->device_id, &a->pending, &call->e);
	if (rc == 0 && call->now_ms >= a->pending.expires_ms) {
		rc = call_fail(call, KLUIS_ENOTFOUND, "it asked too long ago");
	}
	if (rc == KLUIS_ENOTFOUND && memcmp(user.chain_hash, a->statement.hash, 32) == 0) {
		/* Approved by this very statement: the first answer was lost, perhaps. */
		return device_store_get(
			call->view, call->session.user_id, call->device_id, &device, &call->e);
	}
	if (rc == 0 && !approves(&a->statement, &a->pending)) {
		rc = call_fail(call, KLUIS_EINVAL,
			"the statement is not of the keys that wait for approval");
	}
	return rc;
}

int device_append_check(struct api_call *call)
{
	int rc = appending_verify(call);

	if (rc == 0) {
		appending_propose(call);
	}
	return rc;
}

int device_approve_applied(struct api_call *call)
{
	return device_reply(call, 200, call->device_id);
}

int device_refuse_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_DEVICE_REFUSE};
	struct pending_row pending;
	int rc = pending_store_get(
		call->view, call->session.user_id, call->device_id, &pending, &call->e);

	if (rc != 0) {
		return rc;
	}
	command.device_refuse.session = call_session(call);
	memcpy(command.device_refuse.device_id, call->device_id, 16);
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}

/* Revoking. */

int device_revoke_parse(struct api_call *call)
{
	const struct appending *a;
	int rc = device_id_parse(call);

	rc = rc != 0 ? rc
		     : appending_parse_device(
			       call, BIT(IDENTITY_DEVICE_REVOKE) | BIT(IDENTITY_DEVICE_VOUCH));
	if (rc != 0) {
		return rc;
	}
	a = call->extra;
	return memcmp(a->statement.body.data, call->device_id, 16) == 0
		       ? 0
		       : call_fail(call, KLUIS_EINVAL, "the statement is of another device");
}

int device_revoke_read(struct api_call *call)
{
	struct device_row device;

	return device_store_get(
		call->view, call->session.user_id, call->device_id, &device, &call->e);
}

int device_revoke_applied(struct api_call *call)
{
	if (call->rc != 0) {
		return call_fail(call, call->rc,
			call->rc == KLUIS_EINVAL
				? "not all nodes know such a statement yet"
				: "the identity chain has moved, or the device has "
				  "signed something since");
	}
	call_no_content(call);
	return 0;
}

/* Listing. */

static json_t *device_json(const struct device_row *row, const char *state, uint64_t expires_ms)
{
	json_t *device = json_object();

	json_put(device, "id", json_make_id(row->device_id));
	json_put(device, "name", json_make_text(row->name));
	json_put(device, "state", json_make_text(state));
	json_put(device, "sign", json_make_base64(bytes_of(row->sign_key, sizeof row->sign_key)));
	json_put(device, "hpke", json_make_base64(bytes_of(row->hpke_key, row->hpke_key_bytes)));
	json_put(device, "added", json_make_number(row->added_ms));
	json_put(device, "expires", expires_ms == 0 ? json_null() : json_make_number(expires_ms));
	return device;
}

int call_devices(struct api_call *call, const uint8_t user_id[16], json_t *to)
{
	_cleanup_(x_freep) struct device_row *rows = x_calloc(LIST_LIMIT_MAX, sizeof *rows);
	uint8_t last[16] = {0};
	size_t n = 0;

	do {
		int rc = device_store_list(call->view, user_id,
			json_array_size(to) == 0 ? NULL : last, rows, LIST_LIMIT_MAX, &n, &call->e);

		if (rc != 0) {
			return rc;
		}
		for (size_t i = 0; i < n; i++) {
			(void)json_array_append_new(to,
				device_json(&rows[i], rows[i].revoked ? "revoked" : "active", 0));
			memcpy(last, rows[i].device_id, sizeof last);
		}
	} while (n == LIST_LIMIT_MAX);
	return 0;
}

static int pending_devices(struct api_call *call, json_t *to)
{
	_cleanup_(x_freep) struct pending_row *rows = x_calloc(PENDING_DEVICES_MAX, sizeof *rows);
	size_t n = 0;
	int rc = pending_store_list(call->view, call->session.user_id, rows, &n, &call->e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (rows[i].expires_ms > call->now_ms) {
			json_t *device =
				device_json(&rows[i].device, "pending", rows[i].expires_ms);

			json_put(device, "statement",
				json_make_base64(
					bytes_of(rows[i].statement, rows[i].statement_bytes)));
			(void)json_array_append_new(to, device);
		}
	}
	return rc;
}

int device_list_read(struct api_call *call)
{
	json_t *all = json_array();
	int rc = call_devices(call, call->session.user_id, all);

	rc = rc != 0 ? rc : pending_devices(call, all);
	if (rc != 0) {
		json_decref(all);
		return rc;
	}
	return call_list_all(call, all);
}

/* Policy, signing key and the transfer keys: statements, too. */

int account_patch_parse(struct api_call *call)
{
	return appending_parse(call, BIT(IDENTITY_POLICY) | BIT(IDENTITY_ROTATE) |
					     BIT(IDENTITY_TRANSFER_ADD) |
					     BIT(IDENTITY_TRANSFER_REVOKE));
}

int account_patch_read(struct api_call *call)
{
	const struct appending *a = call->extra;
	struct person_row person;
	int rc = call_own_person(call, &person);

	/* Who finds a device unlocked must not be able to have her given keys that are his. */
	return rc != 0 || a->statement.type == IDENTITY_POLICY ||
			       a->statement.type == IDENTITY_TRANSFER_REVOKE
		       ? rc
		       : call_need_fresh(call);
}

/* The key of a curve stays: without one nobody could give her anything. */
static int patch_check_revoke(struct api_call *call, const struct statement *s)
{
	const struct key_pub *rsa;
	struct identity identity;
	int rc;

	identity_init(&identity);
	rc = call_identity(call, call->session.user_id, &identity);
	rsa = rc == 0 ? identity_transfer(&identity, KEY_KEM_RSA) : NULL;
	if (rc == 0 && s->seq > identity.seq &&
		(rsa == NULL || !bytes_equal(s->body, bytes_of(key_pub_kid(rsa), KID_BYTES)))) {
		rc = call_fail(call, KLUIS_EINVAL, "no transfer key but the RSA key is revoked");
	}
	identity_release(&identity);
	return rc;
}

int account_patch_check(struct api_call *call)
{
	const struct appending *a = call->extra;
	int rc = a->statement.type == IDENTITY_TRANSFER_REVOKE
			 ? patch_check_revoke(call, &a->statement)
			 : 0;

	return rc != 0 ? rc : device_append_check(call);
}
