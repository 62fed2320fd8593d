/* A push subscription as it comes out of its seal, and the URL in it: { u8 which | bytes }. */
#include <assert.h>
#include <string.h>

#include "node/push_target.h"

static void fuzz_url(struct bytes text)
{
	char url[2 * PUSH_ENDPOINT_BYTES_MAX];
	struct push_url got;

	if (text.len >= sizeof url) {
		return;
	}
	if (text.len > 0) {
		memcpy(url, text.data, text.len);
	}
	url[text.len] = 0;
	if (push_url_parse(url, &got, NULL) == 0) {
		/* It goes into a request and into JSON as it is. */
		assert(strpbrk(got.path, " \"\\\r\n\t") == NULL && got.path[0] == '/');
		assert(strpbrk(got.origin, " \"\\\r\n\t@") == NULL);
		assert(got.address.port > 0 && got.address.host[0] != 0);
		(void)push_host_allowed(url, got.address.host);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(buf_release) struct buf again = BUF_INIT;
	struct push_target target;

	if (size > 0 && (data[0] & 1) == 0) {
		fuzz_url(bytes_of(data + 1, size - 1));
	} else if (size > 0 &&
		   push_target_decode(bytes_of(data + 1, size - 1), &target, NULL) == 0) {
		push_target_encode(&target, &again);
		assert(bytes_equal(buf_bytes(&again), bytes_of(data + 1, size - 1)));
	}
	return 0;
}
