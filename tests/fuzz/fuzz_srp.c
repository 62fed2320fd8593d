/* Both ends of SRP against what a stranger sends: { u8 which | bytes }. bit 0: A to the server, or
 * B to the client; bits 1 and 2: the group. No number without the password makes either end believe
 * the other. */
#include <assert.h>
#include <string.h>

#include "crypto/srp.h"

#define PASSWORD "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void to_server(const struct srp_terms *terms, struct bytes value)
{
	static struct secret verifiers[SRP_GROUP_6144 + 1];
	_cleanup_(srp_server_freep) struct srp_server *server = NULL;
	_cleanup_(secret_release) struct secret session = SECRET_INIT;
	uint8_t m1[SRP_PROOF_BYTES] = {0}, m2[SRP_PROOF_BYTES];
	struct random_seeded random;
	int rc;

	random_seeded_init(&random, 1);
	if (verifiers[terms->group].len == 0) {
		srp_verifier(terms, bytes_str(PASSWORD), &verifiers[terms->group]);
	}
	rc = srp_server_new(terms, secret_bytes(&verifiers[terms->group]), value, &random.random,
		&server, NULL);
	assert((rc == 0) == (srp_check_public(terms->group, value, NULL) == 0));
	if (rc == 0) {
		memcpy(m1, value.data, sizeof m1);
		rc = srp_server_finish(server, bytes_of(m1, sizeof m1), m2, &session, NULL);
		assert(rc == KLUIS_EVERIFY && session.len == 0);
	}
}

static void to_client(const struct srp_terms *terms, struct bytes value)
{
	_cleanup_(srp_client_freep) struct srp_client *client = NULL;
	_cleanup_(secret_release) struct secret session = SECRET_INIT;
	uint8_t m1[SRP_PROOF_BYTES];
	struct random_seeded random;
	int rc;

	random_seeded_init(&random, 1);
	rc = srp_client_new(terms->group, &random.random, &client, NULL);
	assert(rc == 0);
	rc = srp_client_answer(client, terms, bytes_str(PASSWORD), value, m1, NULL);
	assert((rc == 0) == (srp_check_public(terms->group, value, NULL) == 0));
	if (rc == 0) {
		rc = srp_client_finish(
			client, bytes_of(value.data, SRP_PROOF_BYTES), &session, NULL);
		assert(rc == KLUIS_EVERIFY && session.len == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct srp_terms terms = {.user = bytes_str("alice")};

	if (size == 0) {
		return 0;
	}
	terms.group = SRP_GROUP_2048 + (data[0] >> 1 & 3);
	if ((data[0] & 1) != 0) {
		to_server(&terms, bytes_of(data + 1, size - 1));
	} else {
		to_client(&terms, bytes_of(data + 1, size - 1));
	}
	return 0;
}
