/* Bodies of membership statements behind a right signature: a run of {type, length, body}. */
#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/member.h"

enum { FUZZ_STATEMENTS_MAX = 8 };

static const uint8_t founder[ID_BYTES] = {0xf0};
static struct key *device;
static struct identity_device known;

static bool fuzz_find(const struct signer_table *table, const uint8_t kid[KID_BYTES], size_t nth,
	struct signer *ret_signer)
{
	(void)table;
	memcpy(ret_signer->user_id, founder, ID_BYTES);
	ret_signer->device = &known;
	return nth == 0 && memcmp(kid, key_pub_kid(known.sign), KID_BYTES) == 0;
}

static void fuzz_check(const struct members *members)
{
	size_t admins = 0;

	for (size_t i = 0; i < members->count; i++) {
		const struct member *m = &members->member[i];

		assert(i == 0 || memcmp(members->member[i - 1].id, m->id, ID_BYTES) < 0);
		assert(m->kind == MEMBER_USER || m->role < MEMBER_ADMIN);
		admins += m->role == MEMBER_ADMIN;
	}
	assert(admins > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct signer_table table = {.find = fuzz_find};
	_cleanup_(members_release) struct members members;
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	struct wire w = wire_of(bytes_of(data, size));
	int rc;

	if (device == NULL) {
		rc = key_generate(KEY_ECDSA_P256, 0, &device, NULL);
		assert(rc == 0);
		rc = key_pub_decode(
			KEY_ECDSA_P256, key_pub_bytes(key_public(device)), &known.sign, NULL);
		assert(rc == 0);
	}
	members_init(&members);
	rc = members_create(founder, MEMBER_OBJECT_VAULT, founder, NULL, device, 1, &encoded, NULL);
	assert(rc == 0);
	rc = members_append(&members, buf_bytes(&encoded), &table, NULL);
	assert(rc == 0);
	for (int i = 0; i < FUZZ_STATEMENTS_MAX && wire_ok(&w) && w.left.len > 0; i++) {
		uint8_t type = wire_u8(&w);
		struct bytes body = wire_bytes(&w, wire_u8(&w));

		buf_clear(&encoded);
		rc = members_make(&members, type, body, device, 2, &encoded, NULL);
		assert(rc == 0);
		rc = members_append(&members, buf_bytes(&encoded), &table, NULL);
		/* Signature and order are right; only a second create cannot stand here. */
		assert(rc != KLUIS_EVERIFY || type == MEMBER_CREATE);
		fuzz_check(&members);
	}
	return 0;
}
