/* A KeyPacket as a node, and as its recipient sees it before the signature is known to be wrong. */
#include <assert.h>

#include "crypto/keypacket.h"

static struct key *rcpt;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t ikm[32] = {1};
	_cleanup_(secret_release) struct secret shared = SECRET_INIT;
	struct keypacket p;
	bool current;
	int rc;

	if (rcpt == NULL) {
		rc = hpke_derive_key(KEY_KEM_P256, bytes_of(ikm, sizeof ikm), &rcpt, NULL);
		assert(rc == 0);
	}
	if (keypacket_parse(bytes_of(data, size), &p, NULL) != 0) {
		return 0;
	}
	assert(p.signature.data + p.signature.len == data + size);
	assert(p.purpose >= KEYPACKET_VAULT && p.purpose <= KEYPACKET_CALL);
	rc = keypacket_fresh(&p, 1, NULL, 0, &current, NULL);
	assert(rc == 0 || (rc == KLUIS_EVERIFY && p.expires_ms <= 1));
	/* Any enc must be met with an error or a secret, on or off the curve. */
	rc = p.mode == KEYPACKET_HPKE ? keypacket_shared(&p, rcpt, &shared, NULL) : KLUIS_EVERIFY;
	assert(rc == 0 || rc == KLUIS_EVERIFY);
	return 0;
}
