/* What a second factor is beyond its row: the parameters that a row carries as bytes
 * (docs/format-node.md, "Second factors"). Pure: any thread. */
#ifndef KLUIS_NODE_FACTOR_H
#define KLUIS_NODE_FACTOR_H

#include "crypto/otp.h"
#include "node/fido.h"
#include "node/location.h"
#include "node/network.h"
#include "storage/mfa_store.h"

enum { FACTOR_NETWORKS_MAX = 32, FACTOR_PLACES_MAX = 32 };

struct factor {
	unsigned method;	     /* enum mfa_method; the member of it counts. */
	struct otp otp;		     /* TOTP, HOTP */
	struct fido_credential fido; /* FIDO2 */
	size_t n;		     /* Of the lists. */
	struct network network[FACTOR_NETWORKS_MAX];
	char place[FACTOR_PLACES_MAX][LOCATION_LABEL_CHARS_MAX + 1];
};

/* Appends the parameters; never more than MFA_PARAMS_BYTES_MAX. */
void factor_encode(const struct factor *factor, struct buf *to);
/* KLUIS_EVERSION, KLUIS_EINTERNAL. */
KLUIS_MUST_CHECK int factor_decode(
	unsigned method, struct bytes params, struct factor *ret_factor, struct err *e);

/* "totp", "hotp", "fido2", "ip", "location"; and back: false for anything else. */
const char *factor_method_name(unsigned method);
bool factor_method_parse(struct bytes name, unsigned *ret_method);

#endif
