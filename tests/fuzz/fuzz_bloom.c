/* The file of common passwords: changed in its header (the first bytes of the input, behind a u32
 * of the length to keep), it is refused or says the same of a word. */
#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/bloom.h"
#include "crypto/common_passwords.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t file[BLOOM_BYTES];
	struct wire w = wire_of(bytes_of(data, size));
	size_t keep = wire_u32(&w);
	struct bloom bloom;

	memcpy(file, common_passwords().data, sizeof file);
	for (size_t i = 0; i < w.left.len && i < BLOOM_HEADER_BYTES; i++) {
		file[i] ^= w.left.data[i];
	}
	if (bloom_parse(bytes_of(file, keep > sizeof file ? sizeof file : keep), &bloom, NULL) ==
		0) {
		assert(keep >= sizeof file);
		assert(bloom_has(&bloom, bytes_str("password")));
	}
	(void)bloom_has(bloom_common(), bytes_of(data, size));
	return 0;
}
