/* Of what kinds new keys, verifiers and pages are, as a deployment asks for it: some of those that
 * the formats allow (docs/format-crypto.md, "Suites"), so that a cluster that lies can choose, not
 * weaken. */
#ifndef KLUIS_CLI_CLIENT_SUITES_H
#define KLUIS_CLI_CLIENT_SUITES_H

#include <jansson.h>

#include "base/err.h"

struct suites {
	unsigned group;	   /* SRP. */
	unsigned sym;	   /* SYM_AES_*. */
	unsigned rsa_bits; /* Of signing keys. */
	unsigned kem;	   /* KEY_KEM_* of transfer keys, a curve. */
};
/* The policy of /.well-known/kluis.json; what it does not name is the default. KLUIS_EVERIFY: it
 * asks for what no client takes. */
KLUIS_MUST_CHECK int suites_read(const json_t *policy, struct suites *ret_suites, struct err *e);

#endif
