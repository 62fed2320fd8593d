/* The KDF block: what is taken encodes back to the same bytes and keeps to floor and cap. */
#include <assert.h>

#include "crypto/kdf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes block = bytes_of(data, size);
	uint8_t again[KDF_BYTES];
	struct kdf kdf;

	if (kdf_decode(block, &kdf, NULL) == 0) {
		kdf_encode(&kdf, again);
		assert(bytes_equal(bytes_of(again, sizeof again), block));
		assert(kdf.login_count >= KDF_LOGIN_MIN);
		assert(kdf.keyring_count / 2 >= kdf.login_count);
		assert(kdf.login_count + kdf.keyring_count <= KDF_SUM_MAX);
	}
	return 0;
}
