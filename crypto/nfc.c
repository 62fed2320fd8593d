#include "crypto/nfc.h"

#include <assert.h>
#include <stdlib.h>
#include <uninorm.h>

#include "base/text.h"

/* UAX #15: a string in UTF-8 grows by a factor of three at most. */
enum { NFC_GROWTH = 3 };

void nfc_normalize(struct bytes text, struct secret *ret_normal)
{
	_cleanup_(secret_release) struct secret room = SECRET_INIT;
	size_t len = text.len * NFC_GROWTH;
	uint8_t *normal;

	assert(text.len <= NFC_BYTES_MAX && utf8_valid(text));
	if (text.len == 0) {
		secret_release(ret_normal);
		return;
	}
	/* With room enough the library keeps no copy on the heap. */
	secret_init(&room, len);
	normal = u8_normalize(UNINORM_NFC, text.data, text.len, room.data, &len);
	if (normal == NULL) {
		abort(); /* No memory: the text is well formed. */
	}
	assert(normal == room.data && len <= room.len);
	secret_set(ret_normal, bytes_of(normal, len));
}
