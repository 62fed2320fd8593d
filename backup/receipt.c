#include "backup/receipt.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

enum { BODY_BYTES = RECEIPT_BYTES - SIGN_ED25519_BYTES };

struct receipt receipt_of(const struct backup_manifest *manifest, const uint8_t manifest_hash[32],
	uint64_t node, uint64_t received_ms)
{
	struct receipt r = {.index = manifest->index,
		.cycle = manifest->cycle,
		.node = node,
		.received_ms = received_ms,
		.bytes = backup_manifest_bytes(manifest)};

	memcpy(r.cluster_id, manifest->cluster_id, ID_BYTES);
	memcpy(r.lineage, manifest->lineage, ID_BYTES);
	memcpy(r.manifest_hash, manifest_hash, HASH_BYTES);
	return r;
}

int receipt_encode(const struct receipt *receipt, const struct key *signer,
	uint8_t ret_bytes[RECEIPT_BYTES], struct err *e)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	uint8_t th[HASH_BYTES];
	int rc;

	assert(key_pub_alg(key_public(signer)) == KEY_ED25519);
	buf_put_str(&b, "KBR1");
	buf_put_u8(&b, 1);
	buf_put_zeros(&b, 3);
	buf_append(&b, receipt->cluster_id, ID_BYTES);
	buf_append(&b, receipt->lineage, ID_BYTES);
	buf_append(&b, receipt->manifest_hash, HASH_BYTES);
	buf_put_u64(&b, receipt->index);
	buf_put_u32(&b, receipt->cycle);
	buf_put_zeros(&b, 4);
	buf_put_u64(&b, receipt->node);
	buf_put_u64(&b, receipt->received_ms);
	buf_put_u64(&b, receipt->bytes);
	assert(b.len == BODY_BYTES);
	HASH_TH(th, "kluis/v1/backup-receipt", buf_bytes(&b));
	rc = sign_make(signer, bytes_of(th, sizeof th), &b, e);
	if (rc != 0) {
		return err_wrap(e, rc, "sign receipt");
	}
	assert(b.len == RECEIPT_BYTES);
	memcpy(ret_bytes, b.data, RECEIPT_BYTES);
	return 0;
}

static bool receipt_parse(struct bytes bytes, struct receipt *r)
{
	struct wire w = wire_of(bytes);

	if (bytes.len != RECEIPT_BYTES || !wire_match(&w, "KBR1") || wire_u8(&w) != 1) {
		return false;
	}
	wire_zeros(&w, 3);
	wire_copy(&w, r->cluster_id, ID_BYTES);
	wire_copy(&w, r->lineage, ID_BYTES);
	wire_copy(&w, r->manifest_hash, HASH_BYTES);
	r->index = wire_u64(&w);
	r->cycle = wire_u32(&w);
	wire_zeros(&w, 4);
	r->node = wire_u64(&w);
	r->received_ms = wire_u64(&w);
	r->bytes = wire_u64(&w);
	return wire_ok(&w);
}

int receipt_open(struct bytes bytes, const struct backup_trust *trust, struct receipt *ret_receipt,
	struct err *e)
{
	uint8_t th[HASH_BYTES];
	struct receipt r = {0};

	if (!receipt_parse(bytes, &r)) {
		return err_set(e, KLUIS_ECORRUPT, "not a receipt of version 1");
	}
	HASH_TH(th, "kluis/v1/backup-receipt", bytes_of(bytes.data, BODY_BYTES));
	if (backup_trust_check(trust, r.node, bytes_of(th, sizeof th),
		    bytes_of(bytes.data + BODY_BYTES, SIGN_ED25519_BYTES)) == SIGNED_BY_NONE) {
		return err_set(e, KLUIS_EVERIFY, "the receipt's signature is not node %llu's",
			(unsigned long long)r.node);
	}
	*ret_receipt = r;
	return 0;
}
