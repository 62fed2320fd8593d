/* The proof of a second factor as a client sends it - a code, or an authenticator's assertion - and
 * whether it is right. Private to node/. */
#ifndef KLUIS_NODE_MFA_PROOF_H
#define KLUIS_NODE_MFA_PROOF_H

#include "node/api_call.h"
#include "node/factor.h"
#include "node/handshake.h"

/* What is kept of a request's authenticator: challenge and bytes. */
struct mfa_answer {
	struct handshake *asked; /* The challenge, taken out of the table. */
	struct buf client_data, auth_data, signature;
};
void mfa_answer_release(struct mfa_answer *answer);
/* Takes the members handshake, client_data, auth_data and, when it is of get(), signature. On the
 * loop. KLUIS_EUNAUTHENTICATED: the challenge is used, too old or of another node. */
KLUIS_MUST_CHECK int mfa_answer_read(
	struct api_call *call, struct json_in *reader, bool signature, struct mfa_answer *answer);

struct mfa_proof {
	bool given;
	unsigned method; /* MFA_TOTP .. MFA_FIDO2 */
	bool has_id;
	uint8_t id[16];
	struct buf code;
	struct mfa_answer answer;
};
void mfa_proof_release(struct mfa_proof *proof);
/* Takes method, id (if there) and code or assertion; errors of form are the reader's. On the loop.
 * As mfa_answer_read(). */
KLUIS_MUST_CHECK int mfa_proof_read(
	struct api_call *call, struct json_in *reader, struct mfa_proof *proof);
/* Takes the member `proof`, an object, if it is there. */
KLUIS_MUST_CHECK int mfa_proof_read_member(
	struct api_call *call, struct json_in *reader, struct mfa_proof *proof);

/* What a factor holds, as a row's parameters say. KLUIS_EINTERNAL. */
KLUIS_MUST_CHECK int mfa_factor(
	struct api_call *call, const struct mfa_row *row, struct factor *ret_factor);
/* Looks for the factor that the proof is of, among rows of the session's user that are pending, or
 * that count: its id and the number (TOTP step, HOTP counter, signCount) to be spent by a command.
 * KLUIS_ENOTFOUND: none of this method or id; KLUIS_EVERIFY: wrong, or used. On pool_db. */
KLUIS_MUST_CHECK int mfa_proof_check(struct api_call *call, const struct mfa_proof *proof,
	const struct mfa_row *rows, size_t n, bool pending, uint8_t ret_id[16],
	uint64_t *ret_number);

#endif
