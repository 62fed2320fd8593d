#include "crypto/statement.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

enum { STATEMENT_VERSION = 1 };

static const struct statement_form {
	const char *magic, *label;
} statement_forms[] = {
	[CHAIN_IDENTITY] = {"KID1", "kluis/v1/ident"},
	[CHAIN_MEMBERS] = {"KGR1", "kluis/v1/member"},
};

/* hash and message; unsigned_bytes: all before the signature's length. */
static void statement_hashes(enum statement_chain chain, struct bytes unsigned_bytes,
	uint8_t ret_hash[HASH_BYTES], uint8_t ret_message[HASH_BYTES])
{
	HASH_TH(ret_hash, "kluis/v1/stmt-hash", unsigned_bytes);
	HASH_TH(ret_message, statement_forms[chain].label, unsigned_bytes);
}

int statement_parse(enum statement_chain chain, struct bytes encoded,
	struct statement *ret_statement, struct err *e)
{
	struct wire w = wire_of(encoded);
	struct statement s = {.chain = chain};
	unsigned version;
	size_t unsigned_len;

	(void)wire_match(&w, statement_forms[chain].magic);
	version = wire_u8(&w);
	if (wire_ok(&w) && version != STATEMENT_VERSION) {
		return err_set(e, KLUIS_EVERSION, "statement: unknown version %u", version);
	}
	s.type = wire_u8(&w);
	wire_copy(&w, s.object_id, ID_BYTES);
	s.seq = wire_u64(&w);
	wire_copy(&w, s.prev_hash, HASH_BYTES);
	s.unix_ms = wire_u64(&w);
	s.body = wire_lp16(&w, STATEMENT_BODY_BYTES_MAX);
	s.sig = wire_u8(&w);
	wire_copy(&w, s.kid, KID_BYTES);
	unsigned_len = encoded.len - w.left.len;
	s.signature = wire_lp16(&w, SIGN_BYTES_MAX);
	if (!wire_end(&w) || s.seq == 0 || encoded.len > STATEMENT_BYTES_MAX) {
		return err_set(e, KLUIS_EINVAL, "statement: malformed");
	}
	if (s.sig != KEY_RSA_PSS && s.sig != KEY_ECDSA_P256) {
		return err_set(e, KLUIS_ESUITE, "statement: unknown signature suite %u", s.sig);
	}
	statement_hashes(chain, bytes_of(encoded.data, unsigned_len), s.hash, s.message);
	*ret_statement = s;
	return 0;
}

int statement_follows(const struct statement *s, unsigned type_max, uint64_t prev_seq,
	const uint8_t prev_hash[HASH_BYTES], const uint8_t object_id[ID_BYTES], struct err *e)
{
	if (s->type == 0 || s->type > type_max) {
		return err_set(e, KLUIS_EINVAL, "statement: unknown type %u", s->type);
	}
	if (prev_seq >= CHAIN_STATEMENTS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "statement: the chain is full");
	}
	/* Genesis and create have type 1, and stand only at the beginning. */
	if (s->seq != prev_seq + 1 || (s->type == 1) != (s->seq == 1) ||
		memcmp(s->prev_hash, prev_hash, HASH_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "statement: does not follow the one before");
	}
	if (prev_seq > 0 && memcmp(s->object_id, object_id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "statement: of another chain");
	}
	return 0;
}

int statement_verify(const struct statement *statement, const struct key_pub *signer, struct err *e)
{
	if (key_pub_alg(signer) != statement->sig ||
		memcmp(statement->kid, key_pub_kid(signer), KID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "statement: names another key");
	}
	return sign_verify(
		signer, bytes_of(statement->message, HASH_BYTES), statement->signature, e);
}

int statement_sign(
	const struct statement *s, const struct key *key, struct buf *ret_encoded, struct err *e)
{
	_cleanup_(buf_release) struct buf signature = BUF_INIT, b = BUF_INIT;
	const struct key_pub *pub = key_public(key);
	uint8_t hash[HASH_BYTES], message[HASH_BYTES];
	int rc;

	assert(s->seq > 0 && s->body.len <= STATEMENT_BODY_BYTES_MAX);
	assert(key_pub_alg(pub) ==
		(s->chain == CHAIN_IDENTITY ? (unsigned)KEY_RSA_PSS : (unsigned)KEY_ECDSA_P256));
	buf_put_str(&b, statement_forms[s->chain].magic);
	buf_put_u8(&b, STATEMENT_VERSION);
	buf_put_u8(&b, s->type);
	buf_append(&b, s->object_id, ID_BYTES);
	buf_put_u64(&b, s->seq);
	buf_append(&b, s->prev_hash, HASH_BYTES);
	buf_put_u64(&b, s->unix_ms);
	buf_put_lp16(&b, s->body);
	buf_put_u8(&b, key_pub_alg(pub));
	buf_append(&b, key_pub_kid(pub), KID_BYTES);
	statement_hashes(s->chain, buf_bytes(&b), hash, message);
	rc = sign_make(key, bytes_of(message, HASH_BYTES), &signature, e);
	if (rc != 0) {
		return rc;
	}
	buf_put_lp16(&b, buf_bytes(&signature));
	if (b.len > STATEMENT_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "statement: %zu bytes", b.len);
	}
	buf_append_bytes(ret_encoded, buf_bytes(&b));
	return 0;
}
