/* Bodies of identity statements behind a right signature: a type byte, then the body. */
#include <assert.h>
#include <string.h>

#include "crypto/identity.h"

static struct key *signing, *device, *transfer;
static struct buf genesis = BUF_INIT;

static void fuzz_start(void)
{
	static const uint8_t user_id[ID_BYTES] = {1};
	int rc = key_generate(KEY_RSA_PSS, 2048, &signing, NULL);

	rc = rc != 0 ? rc : key_generate(KEY_ECDSA_P256, 0, &device, NULL);
	rc = rc != 0 ? rc : key_generate(KEY_KEM_P256, 0, &transfer, NULL);
	rc = rc != 0 ? rc
		     : identity_genesis(
			       user_id, "fuzz", signing, key_public(transfer), 1, &genesis, NULL);
	assert(rc == 0);
}

/* An identity with one device, 00 01 02 .. 0f. */
static void fuzz_identity(struct identity *identity)
{
	static const uint8_t device_id[ID_BYTES] = {
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	_cleanup_(buf_release) struct buf body = BUF_INIT, encoded = BUF_INIT;
	int rc = identity_append(identity, buf_bytes(&genesis), NULL);

	assert(rc == 0);
	identity_body_device(&body, device_id, key_public(device), key_public(transfer), "d");
	rc = identity_make(
		identity, IDENTITY_DEVICE_ADD, buf_bytes(&body), signing, 1, &encoded, NULL);
	assert(rc == 0);
	rc = identity_append(identity, buf_bytes(&encoded), NULL);
	assert(rc == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(identity_release) struct identity identity;
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	uint64_t seq;
	int rc;

	identity_init(&identity);
	if (size == 0 || size > 4096) {
		return 0;
	}
	if (signing == NULL) {
		fuzz_start();
	}
	fuzz_identity(&identity);
	seq = identity.seq;
	rc = identity_make(
		&identity, data[0], bytes_of(data + 1, size - 1), signing, 2, &encoded, NULL);
	assert(rc == 0);
	rc = identity_append(&identity, buf_bytes(&encoded), NULL);
	assert(identity.seq == (rc == 0 ? seq + 1 : seq));
	assert(rc != 0 || data[0] != IDENTITY_GENESIS);
	return 0;
}
