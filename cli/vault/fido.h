/* FIDO2 and U2F keys as a second factor: client data is made by cli/client/ceremony, the key is
 * spoken with by a program of its own (docs/format-fido-helper.md): `kluis-fido` beside this one,
 * or what KLUIS_FIDO_HELPER names. */
#ifndef KLUIS_CLI_VAULT_FIDO_H
#define KLUIS_CLI_VAULT_FIDO_H

#include <jansson.h>

#include "cli/client/profile.h"
#include "cli/ui/command.h"

/* Asks the cluster for a challenge and a key for a new credential. *ret_body: what POST
 * /v1/mfa/fido2 takes; the caller's. KLUIS_ENOTFOUND: no key is plugged in. KLUIS_EEXIST: it is
 * enrolled already. KLUIS_EFORBIDDEN: not touched in time, or no PIN. */
KLUIS_MUST_CHECK int fido_enrol(struct invocation *inv, const struct profile *profile,
	struct client *client, json_t **ret_body);
/* The same for an assertion. factor: by this one alone, and named in the proof; NULL: by any.
 * *ret_proof: a proof of method fido2 for /v1/mfa/verify or as a member `proof`. KLUIS_ENOTFOUND
 * also when no key that is plugged in is one of the account's. */
KLUIS_MUST_CHECK int fido_prove(struct invocation *inv, const struct profile *profile,
	struct client *client, const char *factor, json_t **ret_proof);
/* A proof by a key where the account has keys (`keys`), one of them is plugged in and no
 * --code-file or --code-fd was given; else by a code of this method (NULL: it has none). */
KLUIS_MUST_CHECK int fido_or_code(struct invocation *inv, const struct profile *profile,
	struct client *client, bool keys, const char *code_method, json_t **ret_proof);
/* Whether a code was given on the command line: then nobody is asked. */
bool fido_code_given(struct invocation *inv);

#endif
