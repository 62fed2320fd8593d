/* A receiver's signed word that it holds a whole snapshot (docs/format-backup.md section 5). Pure.
 */
#ifndef KLUIS_BACKUP_RECEIPT_H
#define KLUIS_BACKUP_RECEIPT_H

#include "backup/manifest.h"

enum { RECEIPT_BYTES = 176 };

struct receipt {
	uint8_t cluster_id[16], lineage[16], manifest_hash[32];
	uint64_t index;
	uint32_t cycle;
	uint64_t node, received_ms, bytes;
};

/* Receipt of this manifest at `node`, received_ms by that node's clock. */
struct receipt receipt_of(const struct backup_manifest *manifest, const uint8_t manifest_hash[32],
	uint64_t node, uint64_t received_ms);
KLUIS_MUST_CHECK int receipt_encode(const struct receipt *receipt, const struct key *signer,
	uint8_t ret_bytes[RECEIPT_BYTES], struct err *e);
/* KLUIS_ECORRUPT: malformed; KLUIS_EVERIFY: not signed by the node it names, with the key of now or
 * of before, or not trusted. */
KLUIS_MUST_CHECK int receipt_open(struct bytes bytes, const struct backup_trust *trust,
	struct receipt *ret_receipt, struct err *e);

#endif
