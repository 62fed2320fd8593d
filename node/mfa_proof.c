#include "node/mfa_proof.h"

#include <assert.h>
#include <string.h>

#include "crypto/secret.h"
#include "node/api_core.h"
#include "node/pepper.h"

void mfa_answer_release(struct mfa_answer *answer)
{
	handshake_free(answer->asked);
	buf_release(&answer->client_data);
	buf_release(&answer->auth_data);
	buf_release(&answer->signature);
}

int mfa_answer_read(
	struct api_call *call, struct json_in *reader, bool signature, struct mfa_answer *answer)
{
	uint8_t handshake[16];

	json_in_hex(reader, "handshake", handshake, sizeof handshake);
	json_in_binary(reader, "client_data", FIDO_CLIENT_DATA_BYTES_MAX, &answer->client_data);
	json_in_binary(reader, "auth_data", FIDO_AUTH_DATA_BYTES_MAX, &answer->auth_data);
	if (signature) {
		json_in_binary(reader, "signature", FIDO_SIGNATURE_BYTES_MAX, &answer->signature);
	}
	if (reader->rc != 0) {
		return 0; /* The reader says so at its end. */
	}
	/* Gone from the table now: a challenge is worth one answer, right or wrong. */
	answer->asked = handshake_take(call->api->fido_challenges, handshake, api_now(call->api));
	return answer->asked != NULL ? 0
				     : call_fail(call, KLUIS_EUNAUTHENTICATED,
					       "the challenge is used or too old");
}

void mfa_proof_release(struct mfa_proof *proof)
{
	secret_buf_release(&proof->code);
	mfa_answer_release(&proof->answer);
}

static int proof_method(struct api_call *call, struct json_in *reader, unsigned *ret_method)
{
	_cleanup_(buf_release) struct buf method = BUF_INIT;

	json_in_string(reader, "method", 16, &method);
	if (reader->rc == 0 &&
		(!factor_method_parse(buf_bytes(&method), ret_method) || *ret_method > MFA_FIDO2)) {
		return call_fail(call, KLUIS_EINVAL, "'method' is none of totp, hotp and fido2");
	}
	return 0;
}

int mfa_proof_read(struct api_call *call, struct json_in *reader, struct mfa_proof *proof)
{
	struct json_in inner;
	int rc = proof_method(call, reader, &proof->method);

	if (rc != 0 || reader->rc != 0) {
		return rc;
	}
	proof->given = true;
	proof->has_id = json_in_has(reader, "id");
	if (proof->has_id) {
		json_in_hex(reader, "id", proof->id, sizeof proof->id);
	}
	if (proof->method != MFA_FIDO2) {
		buf_reserve(&proof->code, OTP_DIGITS_MAX);
		json_in_string(reader, "code", OTP_DIGITS_MAX, &proof->code);
		return 0;
	}
	json_in_enter(reader, "assertion", &inner);
	rc = mfa_answer_read(call, &inner, true, &proof->answer);
	json_in_leave(reader, &inner);
	return rc;
}

int mfa_proof_read_member(struct api_call *call, struct json_in *reader, struct mfa_proof *proof)
{
	struct json_in inner;
	int rc;

	if (!json_in_has(reader, "proof")) {
		return 0;
	}
	json_in_enter(reader, "proof", &inner);
	rc = mfa_proof_read(call, &inner, proof);
	json_in_leave(reader, &inner);
	return rc;
}

int mfa_factor(struct api_call *call, const struct mfa_row *row, struct factor *ret_factor)
{
	return factor_decode(
		row->method, bytes_of(row->params, row->params_bytes), ret_factor, &call->e);
}

static int code_check(struct api_call *call, const struct mfa_row *row, const struct otp *otp,
	struct bytes code, uint64_t *ret_number)
{
	_cleanup_(secret_release) struct secret secret = SECRET_INIT;
	const struct sealed_place place = {
		.user_id = row->user_id, .field = factor_method_name(row->method)};
	int rc = call_unseal(
		call, &place, row->pepper_id, bytes_of(row->secret, row->secret_bytes), &secret);

	if (rc != 0) {
		return rc;
	}
	if (row->method == MFA_HOTP) {
		return otp_hotp_check(
			otp, secret_bytes(&secret), row->next, code, ret_number, NULL);
	}
	return otp_totp_check(otp, secret_bytes(&secret), call->now_ms,
		row->next == 0 ? 0 : row->next - 1, code, ret_number, NULL);
}

static int assertion_check(struct api_call *call, const struct mfa_answer *given,
	const struct fido_credential *credential, uint64_t *ret_number)
{
	const struct fido_answer answer = {buf_bytes(&given->client_data),
		buf_bytes(&given->auth_data), buf_bytes(&given->signature)};
	uint32_t count = 0;
	int rc;

	/* A challenge is this user's: another's session would be its relay. */
	if (memcmp(given->asked->user_id, call->session.user_id, 16) != 0 ||
		call->api->config.fido->rp_id == NULL) {
		return KLUIS_EVERIFY;
	}
	rc = fido_check_assertion(
		call->api->config.fido, given->asked->challenge, credential, &answer, &count, NULL);
	if (rc == 0) {
		*ret_number = count;
	}
	return rc;
}

static int row_check(struct api_call *call, const struct mfa_proof *proof,
	const struct mfa_row *row, uint64_t *ret_number)
{
	_cleanup_(x_freep) struct factor *factor = x_malloc(sizeof *factor);
	uint64_t next;
	int rc = mfa_factor(call, row, factor);

	if (rc == 0) {
		rc = row->method == MFA_FIDO2
			     ? assertion_check(call, &proof->answer, &factor->fido, ret_number)
			     : code_check(call, row, &factor->otp, buf_bytes(&proof->code),
				       ret_number);
	}
	return rc == 0 && !mfa_accepts(row, *ret_number, &next) ? KLUIS_EVERIFY : rc;
}

int mfa_proof_check(struct api_call *call, const struct mfa_proof *proof,
	const struct mfa_row *rows, size_t n, bool pending, uint8_t ret_id[16],
	uint64_t *ret_number)
{
	int rc = KLUIS_ENOTFOUND;

	assert(proof->given && n <= MFA_PER_USER_MAX);
	for (size_t i = 0; i < n; i++) {
		const struct mfa_row *row = &rows[i];

		if (row->method != proof->method || (pending ? !row->pending : !mfa_counts(row)) ||
			(proof->has_id && memcmp(row->mfa_id, proof->id, 16) != 0)) {
			continue;
		}
		rc = row_check(call, proof, row, ret_number);
		if (rc != KLUIS_EVERIFY) {
			memcpy(ret_id, row->mfa_id, 16);
			return rc;
		}
	}
	return rc == KLUIS_ENOTFOUND ? call_fail(call, rc, "no second factor of this method and id")
				     : rc;
}
