/* The text decoders: hex, base64url, base32, numbers, UTF-8; what decodes must encode back to the
 * same bytes. */
#include <assert.h>

#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(buf_release) struct buf raw = BUF_INIT;
	_cleanup_(buf_release) struct buf again = BUF_INIT;
	struct bytes text = bytes_of(data, size);
	uint64_t number;

	(void)utf8_valid(text); /* Only that it stays within bounds. */
	if (base64_decode(text, 1 << 20, &raw) == 0) {
		base64_append(&again, buf_bytes(&raw));
		assert(bytes_equal(buf_bytes(&again), text));
	}
	buf_clear(&raw);
	buf_clear(&again);
	if (base32_decode(text, 1 << 20, &raw) == 0) {
		base32_append(&again, buf_bytes(&raw));
		assert(again.len == text.len);
		for (size_t i = 0; i < text.len; i++) { /* Letters of either case are one. */
			assert(((again.data[i] ^ text.data[i]) & 0xdf) == 0);
		}
	}
	buf_clear(&raw);
	if (hex_decode_buf(text, 1 << 20, &raw) == 0) {
		assert(raw.len == size / 2);
	}
	if (u64_parse(text, UINT64_MAX, &number) == 0) {
		buf_clear(&again);
		buf_printf(&again, "%llu", (unsigned long long)number);
		assert(bytes_equal(buf_bytes(&again), text));
	}
	return 0;
}
