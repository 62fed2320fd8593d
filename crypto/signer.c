#include <string.h>

#include "crypto/identity.h"

/* The nth device of one identity with this key; lowers *nth by those passed over. */
static const struct identity_device *signer_nth(
	const struct identity *identity, const uint8_t kid[KID_BYTES], size_t *nth)
{
	for (size_t i = 0; i < identity->device_count; i++) {
		const struct identity_device *device = &identity->devices[i];

		if (memcmp(key_pub_kid(device->sign), kid, KID_BYTES) == 0 && (*nth)-- == 0) {
			return device;
		}
	}
	return NULL;
}

static bool signer_identities_find(const struct signer_table *table, const uint8_t kid[KID_BYTES],
	size_t nth, struct signer *ret_signer)
{
	const struct signer_identities *signers =
		CONTAINER_OF(table, struct signer_identities, table);

	for (size_t i = 0; i < signers->count; i++) {
		const struct identity_device *device =
			signer_nth(signers->identities[i], kid, &nth);

		if (device != NULL) {
			memcpy(ret_signer->user_id, signers->identities[i]->user_id, ID_BYTES);
			ret_signer->device = device;
			return true;
		}
	}
	return false;
}

void signer_identities_init(
	struct signer_identities *signers, const struct identity *const *identities, size_t count)
{
	signers->table.find = signer_identities_find;
	signers->identities = identities;
	signers->count = count;
}

bool signer_vouched(const struct signer *signer, const uint8_t object_id[ID_BYTES],
	const uint8_t hash[HASH_BYTES])
{
	const struct identity_device *device = signer->device;

	return !device->revoked ||
	       revoke_rows_have(device->rows, device->row_count, object_id, hash);
}
