/* Rows of the store: u8 kind | u8 key length | key | value. What is taken encodes to the value it
 * was read from. */
#include <assert.h>

#include "base/err.h"
#include "tests/lib/fixture/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(buf_release) struct buf again = BUF_INIT;
	struct bytes key, value;
	int rc;

	if (size < 2 || data[0] >= FIXTURE_ROW_KINDS || data[1] > size - 2) {
		return 0;
	}
	key = bytes_of(data + 2, data[1]);
	value = bytes_of(data + 2 + data[1], size - 2 - data[1]);
	rc = fixture_rows[data[0]].decode(key, value, &again);
	assert(rc == KLUIS_ECORRUPT || (rc == 0 && bytes_equal(buf_bytes(&again), value)));
	(void)rc;
	return 0;
}
