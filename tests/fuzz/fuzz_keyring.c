/* A keyring as the node sees it, and as its owner does before the tag is known to be wrong. */
#include <assert.h>

#include "crypto/keyring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t krk[KEYRING_KRK_BYTES];
	_cleanup_(keyring_release) struct keyring keyring = {0};
	struct keyring_view view;
	struct keyring_slot slot, found;
	size_t n = 0;

	if (keyring_parse(bytes_of(data, size), &view, NULL) != 0) {
		return 0;
	}
	assert(size <= KEYRING_BYTES_MAX && view.revision > 0);
	assert(view.tag.data + view.tag.len == data + size);
	for (unsigned type = KEYRING_SLOT_PASSWORD; type <= KEYRING_SLOT_PRF; type++) {
		n += keyring_view_count(&view, type);
	}
	assert(n == view.n_slots);
	for (size_t i = 0; i < view.n_slots && i < 8; i++) {
		struct bytes bytes = keyring_view_slot(&view, i, &slot);

		assert(keyring_view_find(&view, slot.type, slot.slot_id, &found).data ==
			bytes.data);
		assert(keyring_slot_open(bytes, view.user_id, bytes_of(krk, sizeof krk),
			       &keyring.krk, NULL) == KLUIS_EVERIFY);
	}
	assert(keyring_open(&view, view.user_id, bytes_of(krk, sizeof krk), &keyring, NULL) ==
		KLUIS_EVERIFY);
	return 0;
}
