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
/* The method of a factor of codes that counts. KLUIS_EMFA: there is none. */
KLUIS_MUST_CHECK int kluis_code_method(
	struct kluis *k, char ret_method[KLUIS_METHOD_BYTES], struct err *e);
/* KLUIS_EINVAL unless the handle is a person's. */
KLUIS_MUST_CHECK int kluis_person_check(const struct kluis *k, struct err *e);

#endif
