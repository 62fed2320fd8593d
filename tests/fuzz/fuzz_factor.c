/* Parameters of a second factor: { u8 method | bytes }. What decodes encodes back to the same. */
#include <assert.h>

#include "node/factor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(buf_release) struct buf again = BUF_INIT;
	static struct factor factor;
	struct bytes params = bytes_of(data + 1, size - 1);
	unsigned method;

	if (size == 0) {
		return 0;
	}
	method = MFA_TOTP + data[0] % MFA_LOCATION;
	if (factor_decode(method, params, &factor, NULL) == 0) {
		factor_encode(&factor, &again);
		assert(bytes_equal(buf_bytes(&again), params));
	}
	return 0;
}
