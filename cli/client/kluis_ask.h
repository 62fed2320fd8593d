/* Between the files of kluis_account.h. */
#ifndef KLUIS_CLI_CLIENT_KLUIS_ASK_H
#define KLUIS_CLI_CLIENT_KLUIS_ASK_H

#include "cli/client/kluis_impl.h"

enum { KLUIS_FACTOR_CODE_BYTES_MAX = 16 };

/* At most max bytes, from the caller's function. KLUIS_EUNAUTHENTICATED: not given. */
KLUIS_MUST_CHECK int kluis_ask(struct kluis *k, enum kluis_secret which, const char *method,
	size_t max, struct secret *ret_secret, struct err *e);
/* A code of a second factor, with NUL behind. */
KLUIS_MUST_CHECK int kluis_ask_code(
	struct kluis *k, const char *method, struct secret *ret_code, struct err *e);
/* By what a second factor can be proven. */
struct kluis_proving {
	char code[KLUIS_METHOD_BYTES]; /* The method of codes; "" none. */
	bool key; /* An authenticator of the account's, and the program can reach one. */
	bool any; /* Some factor that asks for a proof counts. */
};
/* Of the factors that count, as the cluster lists them. */
KLUIS_MUST_CHECK int kluis_proving(
	struct kluis *k, struct kluis_proving *ret_proving, struct err *e);
/* A proof for /v1/mfa/verify or a member `proof`, the caller's: by an authenticator, or, where none
 * is at hand, by a code that is asked for. id: by this factor, named in it; NULL: by any.
 * KLUIS_EMFA: neither can be had. */
KLUIS_MUST_CHECK int kluis_prove(struct kluis *k, const struct kluis_proving *proving,
	const char *id, json_t **ret_proof, struct err *e);
/* The authenticator's part of it. KLUIS_ENOTFOUND: none is at hand. */
KLUIS_MUST_CHECK int kluis_key_proof(
	struct kluis *k, const char *id, json_t **ret_proof, struct err *e);
/* The new factor's id and, of codes (ret_uri not NULL), the line for the authenticator app. */
KLUIS_MUST_CHECK int kluis_factor_made(
	json_t *answer, char ret_id[KLUIS_FACTOR_ID_BYTES], const char **ret_uri, struct err *e);
/* Body with a label that may be NULL; NULL with the error set. */
json_t *kluis_factor_body(const char *label, struct err *e);
/* KLUIS_EINVAL unless the handle is a person's. */
KLUIS_MUST_CHECK int kluis_person_check(const struct kluis *k, struct err *e);

#endif
