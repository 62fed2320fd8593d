#include "crypto/restore_record.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

enum { RESTORE_VERSION = 1 };

static const char restore_magic[] = "KRR1";

int restore_record_parse(struct bytes encoded, struct restore_record *ret_record, struct err *e)
{
	struct wire w = wire_of(encoded);
	struct restore_record r;
	unsigned version;

	(void)wire_match(&w, restore_magic);
	version = wire_u8(&w);
	if (wire_ok(&w) && version != RESTORE_VERSION) {
		return err_set(e, KLUIS_EVERSION, "restore record: unknown version %u", version);
	}
	wire_zeros(&w, 3);
	wire_copy(&w, r.cluster_id, ID_BYTES);
	wire_copy(&w, r.old_lineage, ID_BYTES);
	wire_copy(&w, r.new_lineage, ID_BYTES);
	r.raft_index = wire_u64(&w);
	r.unix_ms = wire_u64(&w);
	wire_copy(&w, r.manifest_hash, HASH_BYTES);
	wire_copy(&w, r.signature, SIGN_ECDSA_BYTES);
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_EINVAL, "restore record: malformed");
	}
	*ret_record = r;
	return 0;
}

static void restore_record_encode(const struct restore_record *r, struct buf *b)
{
	size_t before = b->len;

	buf_put_str(b, restore_magic);
	buf_put_u8(b, RESTORE_VERSION);
	buf_put_zeros(b, 3);
	buf_append(b, r->cluster_id, ID_BYTES);
	buf_append(b, r->old_lineage, ID_BYTES);
	buf_append(b, r->new_lineage, ID_BYTES);
	buf_put_u64(b, r->raft_index);
	buf_put_u64(b, r->unix_ms);
	buf_append(b, r->manifest_hash, HASH_BYTES);
	assert(b->len - before == RESTORE_RECORD_FIXED_BYTES);
}

static void restore_record_message(const struct restore_record *r, uint8_t ret[HASH_BYTES])
{
	_cleanup_(buf_release) struct buf fixed = BUF_INIT;

	restore_record_encode(r, &fixed);
	HASH_TH(ret, "kluis/v1/restore", buf_bytes(&fixed));
}

int restore_record_verify(
	const struct restore_record *record, const struct key_pub *operator_key, struct err *e)
{
	uint8_t message[HASH_BYTES];

	if (key_pub_alg(operator_key) != KEY_ECDSA_P256) {
		return err_set(e, KLUIS_ESUITE, "restore record: not a P-256 key");
	}
	restore_record_message(record, message);
	return sign_verify(operator_key, bytes_of(message, HASH_BYTES),
		bytes_of(record->signature, SIGN_ECDSA_BYTES), e);
}

int restore_record_sign(const struct restore_record *record, const struct key *operator_key,
	struct buf *ret_encoded, struct err *e)
{
	_cleanup_(buf_release) struct buf signature = BUF_INIT;
	uint8_t message[HASH_BYTES];
	int rc;

	assert(key_pub_alg(key_public(operator_key)) == KEY_ECDSA_P256);
	restore_record_message(record, message);
	rc = sign_make(operator_key, bytes_of(message, HASH_BYTES), &signature, e);
	if (rc == 0) {
		restore_record_encode(record, ret_encoded);
		buf_append_bytes(ret_encoded, buf_bytes(&signature));
	}
	return rc;
}
