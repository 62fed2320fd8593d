/* Receipts: nobody is trusted here, so none is believed. */
#include <assert.h>

#include "backup/receipt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct backup_trust nobody = {0};
	struct receipt receipt;
	int rc = receipt_open(bytes_of(data, size), &nobody, &receipt, NULL);

	assert(rc == KLUIS_ECORRUPT || (rc == KLUIS_EVERIFY && size == RECEIPT_BYTES));
	return 0;
}
