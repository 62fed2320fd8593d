/* What an authenticator's answer could be: { lp16 client data | lp16 authenticator data | signature
 * }. Nothing that was not signed verifies; a credential that is taken has a key and an id. */
#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "node/fido.h"

static char rp_id[] = "vault.example.org", origin[] = "https://vault.example.org";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t challenge[FIDO_CHALLENGE_BYTES];
	const struct fido_site site = {rp_id, {origin}, ""};
	struct fido_credential credential = {.id_bytes = 1};
	struct wire w = wire_of(bytes_of(data, size));
	struct fido_answer answer;
	uint32_t count;
	int rc;

	answer.client_data = wire_lp16(&w, UINT16_MAX);
	answer.auth_data = wire_lp16(&w, UINT16_MAX);
	answer.signature = wire_rest(&w);
	if (!wire_ok(&w)) {
		return 0;
	}
	if (fido_check_new(&site, challenge, &answer, &credential, &count, NULL) == 0) {
		assert(credential.id_bytes > 0);
		assert(credential.id_bytes <= FIDO_CREDENTIAL_ID_BYTES_MAX);
	}
	/* No point of the curve: nothing is signed by it. */
	memset(credential.key, 0, sizeof credential.key);
	rc = fido_check_assertion(&site, challenge, &credential, &answer, &count, NULL);
	assert(rc != 0);
	return 0;
}
