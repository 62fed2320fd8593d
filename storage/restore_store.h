/* The operator's signed records of the restores this store went through (docs/format-crypto.md,
 * "Restore record"): rows like any other, so that every node shows the same ones to clients,
 * whichever way it came to its store, and the next restore brings them along. */
#ifndef KLUIS_STORAGE_RESTORE_STORE_H
#define KLUIS_STORAGE_RESTORE_STORE_H

#include "base/limits.h"
#include "crypto/restore_record.h"
#include "storage/kv.h"
#include "storage/txn.h"

struct restore_row {
	uint64_t number; /* From 1, dense, in the order of the restores. */
	uint8_t record[RESTORE_RECORD_BYTES];
};
void restore_row_encode(const struct restore_row *row, struct buf *to);
/* KLUIS_ECORRUPT unless it holds a well-formed record; the signature is not checked. */
KLUIS_MUST_CHECK int restore_row_decode(
	struct bytes key, struct bytes value, struct restore_row *ret_row, struct err *e);
/* All of them, oldest first. */
KLUIS_MUST_CHECK int restore_store_list(const struct kv_view *view,
	struct restore_row ret_rows[RESTORE_RECORDS_MAX], size_t *ret_n, struct err *e);
/* Behind the newest one; the oldest goes when there are RESTORE_RECORDS_MAX already. */
KLUIS_MUST_CHECK int restore_store_add(
	struct txn *txn, const uint8_t record[RESTORE_RECORD_BYTES], struct err *e);

#endif
