/* Second factors: enrolled, proven and removed by their owner. What was accepted once is spent by a
 * command, on all sites together. */
#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "crypto/secret.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/mfa_proof.h"
#include "node/place.h"
#include "node/sealed.h"
#include "storage/guard_store.h"

/* Every request about second factors: the proof in it, the user's factors and her delay. */
struct mfa_call {
	struct mfa_proof proof;
	uint64_t blocked_ms;
	bool failed; /* The proof was wrong: that is what was proposed. */
	size_t n;
	struct mfa_row *rows; /* From the view on: nothing is made for a stranger. */
	/* Of a new one. */
	struct factor factor;
	struct mfa_answer answer;
	struct buf label, sealed, params;
	struct secret seed;
	uint8_t id[16];
	uint64_t next;
	char user[ACCOUNT_NAME_BYTES_MAX + 1];
};

static void mfa_call_release(void *extra)
{
	struct mfa_call *m = extra;

	free(m->rows);
	mfa_proof_release(&m->proof);
	mfa_answer_release(&m->answer);
	buf_release(&m->label);
	buf_release(&m->sealed);
	buf_release(&m->params);
	secret_release(&m->seed);
}

static struct mfa_call *mfa_call_new(struct api_call *call)
{
	struct mfa_call *m = call_extra(call, sizeof *m);

	call->extra_release = mfa_call_release;
	return m;
}

int mfa_rows_read(struct api_call *call)
{
	struct mfa_call *m = call->extra;
	struct user_row user;
	uint8_t guard[16];
	int rc;

	guard_code_id(call->session.user_id, call->session.device_id, guard);
	rc = call_blocked_ms(call, GUARD_CODE, guard, &m->blocked_ms);
	if (m->rows == NULL) {
		m->rows = x_calloc(MFA_PER_USER_MAX, sizeof *m->rows);
	}
	rc = rc != 0 ? rc
		     : mfa_store_list(call->view, call->session.user_id, m->rows, &m->n, &call->e);
	rc = rc != 0 ? rc : user_store_get(call->view, call->session.user_id, &user, &call->e);
	if (rc == 0) {
		static_assert(sizeof user.name == sizeof m->user, "names are of one length");
		memcpy(m->user, user.name, sizeof m->user);
	}
	return rc;
}

/* Counts a wrong proof, as the command of this request. */
static void mfa_fail(struct api_call *call, struct mfa_call *m)
{
	struct command command = {.type = COMMAND_CODE_FAILED};

	m->failed = true;
	command.code_failed.session = call_session(call);
	call_propose(call, &command);
}

/* What apply said; a proof that was wrong is told once it was counted. */
static int mfa_settle(struct api_call *call, struct command_reply *ret_reply)
{
	const struct mfa_call *m = call->extra;
	int rc = call_reply(call, ret_reply);

	if (rc != 0 || !m->failed) {
		return rc;
	}
	if (ret_reply->number > call->now_ms) {
		call->problem_retry_ms = ret_reply->number - call->now_ms;
	}
	return call_fail(
		call, KLUIS_EUNAUTHENTICATED, "the code or assertion is wrong, too late or used");
}

/* Looks at the proof. 1: it was wrong, and that is proposed. */
static int mfa_prove(struct api_call *call, struct mfa_call *m, bool pending, uint8_t ret_id[16],
	uint64_t *ret_number)
{
	int rc;

	/* Nobody guesses an assertion: wrong codes of somebody else must not hold back a right one.
	 */
	if (m->blocked_ms > 0 && m->proof.method != MFA_FIDO2) {
		return call_login_blocked(call, m->blocked_ms);
	}
	rc = mfa_proof_check(call, &m->proof, m->rows, m->n, pending, ret_id, ret_number);
	if (rc == KLUIS_EVERIFY) {
		mfa_fail(call, m);
		return 1;
	}
	return rc;
}

/* The proof inside a request for something else. 1: as mfa_prove(). */
static int mfa_prove_member(
	struct api_call *call, struct mfa_call *m, struct command_proof *ret_proof)
{
	ret_proof->given = m->proof.given;
	return m->proof.given ? mfa_prove(call, m, false, ret_proof->mfa_id, &ret_proof->number)
			      : 0;
}

/* Where no factor counts a fresh login stands for the proof; apply asks for what else is missing.
 */
static int mfa_need_fresh(struct api_call *call, const struct mfa_call *m)
{
	bool counts = m->proof.given;

	for (size_t i = 0; i < m->n; i++) {
		counts |= mfa_counts(&m->rows[i]);
	}
	return counts ? 0 : call_need_fresh(call);
}

/* --- list ------------------------------------------------------------------------------------ */

static json_t *factor_lists(const struct factor *factor)
{
	json_t *list = json_array();
	char text[NETWORK_CHARS_MAX + 1];

	for (size_t i = 0; i < factor->n; i++) {
		if (factor->method == MFA_IP) {
			network_format(&factor->network[i], text);
		}
		(void)json_array_append_new(
			list, json_make_text(factor->method == MFA_IP ? text : factor->place[i]));
	}
	return list;
}

/* The parts that are no secret. */
static void factor_put(const struct factor *factor, json_t *body)
{
	switch (factor->method) {
	case MFA_TOTP:
	case MFA_HOTP:
		json_put(body, "algorithm", json_make_text(otp_hash_name(factor->otp.hash)));
		json_put(body, "digits", json_make_number(factor->otp.digits));
		break;
	case MFA_FIDO2:
		json_put(body, "credential_id",
			json_make_base64(bytes_of(factor->fido.id, factor->fido.id_bytes)));
		break;
	default:
		json_put(body, factor->method == MFA_IP ? "networks" : "places",
			factor_lists(factor));
	}
}

static int mfa_row_json(struct api_call *call, const struct mfa_row *row, json_t *items)
{
	_cleanup_(x_freep) struct factor *factor = x_malloc(sizeof *factor);
	json_t *body;
	int rc = mfa_factor(call, row, factor);

	if (rc != 0) {
		return rc;
	}
	body = json_object();
	json_put(body, "id", json_make_id(row->mfa_id));
	json_put(body, "method", json_make_text(factor_method_name(row->method)));
	json_put(body, "label", json_make_text(row->label));
	json_put(body, "pending", json_boolean(row->pending));
	json_put(body, "created", json_make_number(row->created_ms));
	if (row->pending) {
		json_put(body, "expires", json_make_number(row->expires_ms));
	}
	factor_put(factor, body);
	(void)json_array_append_new(items, body);
	return 0;
}

int mfa_list_read(struct api_call *call)
{
	_cleanup_(x_freep) struct mfa_row *rows = x_calloc(MFA_PER_USER_MAX, sizeof *rows);
	json_t *items = json_array();
	size_t n = 0;
	int rc = mfa_store_list(call->view, call->session.user_id, rows, &n, &call->e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = mfa_row_json(call, &rows[i], items);
	}
	if (rc != 0) {
		json_decref(items);
		return rc;
	}
	return call_list_all(call, items);
}

/* --- FIDO2: challenge ------------------------------------------------------------------------ */

int mfa_challenge_parse(struct api_call *call)
{
	(void)mfa_call_new(call);
	return call->api->config.fido->rp_id != NULL
		       ? 0
		       : call_fail(call, KLUIS_ESUITE, "this cluster has no name for FIDO2");
}

int mfa_challenge_read(struct api_call *call)
{
	call->status = 200; /* The body waits for the loop's turn: the table is the loop's. */
	return mfa_rows_read(call);
}

void mfa_challenge_finish(struct api_call *call)
{
	struct mfa_call *m = call->extra;
	struct api *api = call->api;
	struct handshake *made = handshake_new(api->config.random);
	json_t *body = json_object(), *credentials = json_array();

	memcpy(made->user_id, call->session.user_id, sizeof made->user_id);
	call_challenge(made, "handshake", body);
	handshake_put(api->fido_challenges, made, handshake_user_key(made->user_id), api_now(api));
	json_put(body, "rp_id", json_make_text(api->config.fido->rp_id));
	for (size_t i = 0; i < m->n; i++) {
		struct factor *factor = &m->factor;
		json_t *one;

		if (m->rows[i].method != MFA_FIDO2 || mfa_factor(call, &m->rows[i], factor) != 0) {
			continue;
		}
		one = json_object();
		json_put(one, "id", json_make_id(m->rows[i].mfa_id));
		factor_put(factor, one);
		(void)json_array_append_new(credentials, one);
	}
	json_put(body, "credentials", credentials);
	call_json(call, 200, body);
}

/* --- add ------------------------------------------------------------------------------------- */

static void add_label(struct json_in *reader, struct mfa_call *m)
{
	if (json_in_has(reader, "label")) {
		json_in_string(reader, "label", MFA_LABEL_BYTES_MAX, &m->label);
	}
}

/* The end of every body: label and proof. */
static int add_end(struct api_call *call, struct json_in *reader, struct mfa_call *m, int rc)
{
	int ended;

	add_label(reader, m);
	rc = rc != 0 ? rc : mfa_proof_read_member(call, reader, &m->proof);
	ended = json_in_end(reader);
	return rc != 0 ? rc : ended;
}

static int add_seed(struct api_call *call, struct json_in *reader, struct mfa_call *m)
{
	_cleanup_(secret_buf_release) struct buf text = BUF_INIT, seed = BUF_INIT;

	if (!json_in_has(reader, "secret")) {
		secret_random(&m->seed, OTP_SECRET_BYTES, call->api->config.random);
		return 0;
	}
	buf_reserve(&text, BASE32_LEN(OTP_SECRET_BYTES_MAX));
	json_in_string(reader, "secret", BASE32_LEN(OTP_SECRET_BYTES_MAX), &text);
	if (reader->rc != 0) {
		return 0;
	}
	if (base32_decode(buf_bytes(&text), OTP_SECRET_BYTES_MAX, &seed) != 0 ||
		seed.len < OTP_SECRET_BYTES_MIN) {
		return call_fail(call, KLUIS_EINVAL, "'secret' is not %d to %d bytes of base32",
			OTP_SECRET_BYTES_MIN, OTP_SECRET_BYTES_MAX);
	}
	secret_set(&m->seed, buf_bytes(&seed));
	return 0;
}

static int add_otp_parse(struct api_call *call, unsigned method)
{
	_cleanup_(buf_release) struct buf algorithm = BUF_INIT;
	struct mfa_call *m = mfa_call_new(call);
	struct otp *otp = &m->factor.otp;
	struct json_in reader;
	int rc;

	m->factor.method = method;
	*otp = (struct otp){OTP_SHA1, 6}; /* What every app takes. */
	json_in_begin(&reader, call_body(call), &call->e);
	if (json_in_has(&reader, "algorithm")) {
		json_in_string(&reader, "algorithm", 16, &algorithm);
		if (reader.rc == 0 && !otp_hash_parse(buf_bytes(&algorithm), &otp->hash)) {
			otp->hash = (enum otp_hash)0;
		}
	}
	if (json_in_has(&reader, "digits")) {
		otp->digits = (unsigned)json_in_u64(&reader, "digits", 6, 8);
	}
	if (method == MFA_HOTP && json_in_has(&reader, "counter")) {
		m->next = json_in_u64(&reader, "counter", 0, INT64_MAX);
	}
	rc = add_seed(call, &reader, m);
	rc = add_end(call, &reader, m, rc);
	if (rc == 0 && !otp_valid(otp)) {
		rc = call_fail(call, KLUIS_EINVAL,
			"'algorithm' is sha1, sha256 or sha512, 'digits' 6 or 8");
	}
	return rc;
}

int mfa_totp_parse(struct api_call *call)
{
	return add_otp_parse(call, MFA_TOTP);
}

int mfa_hotp_parse(struct api_call *call)
{
	return add_otp_parse(call, MFA_HOTP);
}

int mfa_fido_parse(struct api_call *call)
{
	struct mfa_call *m = mfa_call_new(call);
	struct json_in reader;
	int rc;

	m->factor.method = MFA_FIDO2;
	json_in_begin(&reader, call_body(call), &call->e);
	rc = mfa_answer_read(call, &reader, false, &m->answer);
	rc = add_end(call, &reader, m, rc);
	return rc == 0 && call->api->config.fido->rp_id == NULL
		       ? call_fail(call, KLUIS_ESUITE, "this cluster has no name for FIDO2")
		       : rc;
}

static int add_text(struct api_call *call, struct factor *factor, const char *text)
{
	struct bytes label = bytes_str(text);

	if (factor->method == MFA_IP) {
		return network_parse(text, &factor->network[factor->n++]) == 0
			       ? 0
			       : call_fail(call, KLUIS_EINVAL, "'networks' holds no network");
	}
	if (!location_label_valid(label)) {
		return call_fail(call, KLUIS_EINVAL, "'places' holds no place");
	}
	memcpy(factor->place[factor->n], text, label.len + 1);
	factor->n++;
	return 0;
}

/* Whether the request itself comes from where logins shall come from: else its sender would lock
 * herself out. */
static int add_here(struct api_call *call, const struct factor *factor)
{
	struct place here = {.host = call->req->host};

	if (factor->method == MFA_LOCATION) {
		place_of(call, &here);
	}
	return place_allows(&here, factor)
		       ? 0
		       : call_fail(call, KLUIS_EINVAL,
				 "it would refuse the address that this request comes from");
}

static int add_list_parse(struct api_call *call, unsigned method, const char *name)
{
	_cleanup_(buf_release) struct buf texts = BUF_INIT;
	struct mfa_call *m = mfa_call_new(call);
	struct json_in reader;
	size_t n, at = 0;
	int rc = 0;

	static_assert((int)FACTOR_NETWORKS_MAX == (int)FACTOR_PLACES_MAX, "one bound for both");
	m->factor.method = method;
	json_in_begin(&reader, call_body(call), &call->e);
	n = json_in_texts(&reader, name, FACTOR_NETWORKS_MAX, NETWORK_CHARS_MAX, &texts);
	for (size_t i = 0; i < n && rc == 0; i++) {
		const char *text = (const char *)texts.data + at;

		at += strlen(text) + 1;
		rc = add_text(call, &m->factor, text);
	}
	rc = add_end(call, &reader, m, rc);
	return rc;
}

int mfa_ip_parse(struct api_call *call)
{
	return add_list_parse(call, MFA_IP, "networks");
}

int mfa_location_parse(struct api_call *call)
{
	return add_list_parse(call, MFA_LOCATION, "places");
}

/* The credential of an authenticator. 1: wrong, and that is proposed. */
static int add_fido_check(struct api_call *call, struct mfa_call *m)
{
	const struct fido_answer answer = {
		.client_data = buf_bytes(&m->answer.client_data),
		.auth_data = buf_bytes(&m->answer.auth_data),
	};
	uint32_t count = 0;
	int rc;

	if (memcmp(m->answer.asked->user_id, call->session.user_id, 16) != 0) {
		return call_fail(
			call, KLUIS_EUNAUTHENTICATED, "the challenge was given to somebody else");
	}
	rc = fido_check_new(call->api->config.fido, m->answer.asked->challenge, &answer,
		&m->factor.fido, &count, &call->e);
	m->next = count == 0 ? 0 : (uint64_t)count + 1;
	return rc == 0 ? 0 : call_refusal(call, rc, "credential");
}

int mfa_add_check(struct api_call *call)
{
	struct mfa_call *m = call->extra;
	struct command command = {.type = COMMAND_MFA_ADD};
	struct command_mfa_add *c = &command.mfa_add;
	const struct secrets *secrets = call->api->config.secrets;
	int rc = 0;

	if (m->factor.method == MFA_FIDO2) {
		rc = add_fido_check(call, m);
	} else if (m->factor.method == MFA_IP || m->factor.method == MFA_LOCATION) {
		rc = add_here(call, &m->factor);
	}
	rc = rc != 0 ? rc : mfa_need_fresh(call, m);
	rc = rc != 0 ? rc : mfa_prove_member(call, m, &c->proof);
	if (rc != 0) {
		return rc > 0 ? 0 : rc;
	}
	if (m->seed.len > 0) {
		const struct sealed_place place = {.user_id = call->session.user_id,
			.field = factor_method_name(m->factor.method)};

		sealed_make(secrets, &place, secret_bytes(&m->seed), call->api->config.random,
			&m->sealed);
	}
	factor_encode(&m->factor, &m->params);
	random_fill(call->api->config.random, m->id, sizeof m->id);
	c->session = call_session(call);
	memcpy(c->mfa_id, m->id, sizeof c->mfa_id);
	c->method = (uint8_t)m->factor.method;
	c->pepper_id = secrets->pepper_id;
	c->secret = buf_bytes(&m->sealed);
	c->params = buf_bytes(&m->params);
	c->label = buf_bytes(&m->label);
	c->next = m->next;
	call_propose(call, &command);
	return 0;
}

/* What an app needs of a new seed: shown once, here. */
static void add_put_seed(struct api_call *call, const struct mfa_call *m, json_t *body)
{
	_cleanup_(secret_buf_release) struct buf text = BUF_INIT, uri = BUF_INIT;
	const char *rp_id = call->api->config.fido->rp_id;

	base32_append(&text, secret_bytes(&m->seed));
	otp_uri(&m->factor.otp, m->factor.method == MFA_TOTP, secret_bytes(&m->seed),
		rp_id == NULL ? "Kluis" : rp_id, m->user, m->next, &uri);
	json_put(body, "secret", json_stringn((const char *)text.data, text.len));
	json_put(body, "uri", json_stringn((const char *)uri.data, uri.len));
}

int mfa_add_applied(struct api_call *call)
{
	struct mfa_call *m = call->extra;
	struct command_reply reply;
	json_t *body;
	int rc = mfa_settle(call, &reply);

	if (rc != 0) {
		return rc;
	}
	body = json_object();
	json_put(body, "id", json_make_id(m->id));
	json_put(body, "method", json_make_text(factor_method_name(m->factor.method)));
	json_put(body, "pending", json_boolean(reply.number != 0));
	if (reply.number != 0) {
		json_put(body, "expires", json_make_number(reply.number));
	}
	factor_put(&m->factor, body);
	if (m->seed.len > 0) {
		add_put_seed(call, m, body);
	}
	call_json(call, 201, body);
	return 0;
}

/* --- verify ---------------------------------------------------------------------------------- */

int mfa_verify_parse(struct api_call *call)
{
	struct mfa_call *m = mfa_call_new(call);
	struct json_in reader;
	int rc, ended;

	json_in_begin(&reader, call_body(call), &call->e);
	rc = mfa_proof_read(call, &reader, &m->proof);
	ended = json_in_end(&reader);
	return rc != 0 ? rc : ended;
}

static bool mfa_session_waits(const struct api_call *call)
{
	return call->session.level == SESSION_LOGIN ||
	       call->session.level == SESSION_RECOVERY_LOGIN;
}

/* Of a session that waits for it: it rises. Of a full one: the pending factor counts from now on.
 */
int mfa_verify_check(struct api_call *call)
{
	struct mfa_call *m = call->extra;
	bool waits = mfa_session_waits(call);
	struct command command = {.type = waits ? COMMAND_SESSION_UPGRADE : COMMAND_MFA_CONFIRM};
	uint8_t id[16] = {0};
	uint64_t number = 0;
	int rc;

	if (!waits && call->session.level != SESSION_FULL) {
		return call_fail(call, KLUIS_EFORBIDDEN,
			"a recovery fetches the keyring and sets a password");
	}
	if (!waits && !m->proof.has_id) {
		return call_fail(call, KLUIS_ECONFLICT, "the session has its second factor");
	}
	rc = mfa_prove(call, m, !waits, id, &number);
	if (rc != 0) {
		return rc > 0 ? 0 : rc;
	}
	if (waits) {
		command.session_upgrade.session = call_session(call);
		call_session_life(call, call->session.level == SESSION_RECOVERY_LOGIN,
			&command.session_upgrade.ttl_ms, &command.session_upgrade.delay_ms);
		memcpy(command.session_upgrade.mfa_id, id, sizeof id);
		command.session_upgrade.number = number;
	} else {
		command.mfa_confirm.session = call_session(call);
		memcpy(command.mfa_confirm.mfa_id, id, sizeof id);
		command.mfa_confirm.number = number;
	}
	call_propose(call, &command);
	return 0;
}

int mfa_verify_applied(struct api_call *call)
{
	struct command_reply reply;
	json_t *body;
	int rc = mfa_settle(call, &reply);

	if (rc != 0) {
		return rc;
	}
	body = json_object();
	rc = call_session_reply(call, call->token_hash, body);
	if (rc != 0) {
		json_decref(body);
		return rc;
	}
	call_json(call, 200, body);
	return 0;
}

/* --- remove ---------------------------------------------------------------------------------- */

int mfa_remove_parse(struct api_call *call)
{
	struct mfa_call *m = mfa_call_new(call);
	struct json_in reader;
	int rc, ended;

	json_in_begin(&reader, call_body(call), &call->e);
	rc = mfa_proof_read_member(call, &reader, &m->proof);
	ended = json_in_end(&reader);
	rc = rc != 0 ? rc : ended;
	return rc != 0 ? rc : call_param_id(call, 0, call->id);
}

int mfa_remove_check(struct api_call *call)
{
	struct mfa_call *m = call->extra;
	struct command command = {.type = COMMAND_MFA_REMOVE};
	bool pending = false;
	int rc;

	for (size_t i = 0; i < m->n; i++) {
		pending |= m->rows[i].pending && memcmp(m->rows[i].mfa_id, call->id, 16) == 0;
	}
	rc = pending ? 0 : mfa_need_fresh(call, m);
	rc = rc != 0 ? rc : mfa_prove_member(call, m, &command.mfa_remove.proof);

	if (rc != 0) {
		return rc > 0 ? 0 : rc;
	}
	command.mfa_remove.session = call_session(call);
	memcpy(command.mfa_remove.mfa_id, call->id, 16);
	call_propose(call, &command);
	return 0;
}

int mfa_remove_applied(struct api_call *call)
{
	struct command_reply reply;
	int rc = mfa_settle(call, &reply);

	if (rc == 0) {
		call_no_content(call);
	}
	return rc;
}
