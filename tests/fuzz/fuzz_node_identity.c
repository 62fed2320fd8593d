/* The file that says whose a data directory is: what is taken is what was written. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "node/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct node_identity identity;
	uint8_t again[IDENTITY_FILE_BYTES];
	int rc = node_identity_decode(data, size, &identity);

	if (rc == 0) {
		node_identity_encode(&identity, again);
		if (size != sizeof again || memcmp(again, data, size) != 0) {
			abort();
		}
	} else if (rc != KLUIS_ECORRUPT && rc != KLUIS_EVERSION) {
		abort();
	}
	return 0;
}
