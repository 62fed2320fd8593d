/* The hello of a link: what reads must write back to the same bytes. */
#include <assert.h>
#include <string.h>

#include "raft/hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t bytes[HELLO_BYTES] = {0}, again[HELLO_BYTES];
	struct hello hello;

	memcpy(bytes, data, size < HELLO_BYTES ? size : HELLO_BYTES);
	if (hello_read(bytes, &hello) == 0) {
		hello_write(&hello, again);
		assert(memcmp(bytes, again, HELLO_BYTES) == 0);
	}
	return 0;
}
