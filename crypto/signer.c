#include <string.h>

#include "crypto/identity.h"

static bool signer_identities_find(
	const struct signer_table *table, const uint8_t kid[KID_BYTES], struct signer *ret_signer)
{
	const struct signer_identities *signers =
		CONTAINER_OF(table, struct signer_identities, table);

	for (size_t i = 0; i < signers->count; i++) {
		const struct identity_device *device =
			identity_device_by_kid(signers->identities[i], kid);

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

	for (size_t i = 0; device->revoked && i < device->row_count; i++) {
		if (memcmp(device->rows[i].object_id, object_id, ID_BYTES) == 0 &&
			memcmp(device->rows[i].hash, hash, HASH_BYTES) == 0) {
			return true;
		}
	}
	return !device->revoked;
}
