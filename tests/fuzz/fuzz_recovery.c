/* A recovery code as somebody types it: what is accepted is the code that its text gives back. */
#include <assert.h>
#include <string.h>

#include "crypto/recovery.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(secret_release) struct secret secret = SECRET_INIT, again = SECRET_INIT;
	char text[RECOVERY_TEXT_CHARS + 1];

	if (recovery_parse(bytes_of(data, size), &secret, NULL) != 0) {
		assert(secret.len == 0);
		return 0;
	}
	recovery_text(secret_bytes(&secret), text);
	assert(recovery_parse(bytes_str(text), &again, NULL) == 0);
	assert(secret_equal(secret_bytes(&secret), secret_bytes(&again)));
	return 0;
}
