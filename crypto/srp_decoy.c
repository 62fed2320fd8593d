#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/srp.h"
#include "crypto/srp_group.h"

enum { DECOY_EXTRA_BYTES = 16 /* So that v mod N has no bias to speak of. */ };

const struct srp_sample srp_sample_default = {1000000, SRP_GROUP_3072, KDF_ACCOUNT_KEY};

/* Another key for each purpose and name. */
static void decoy_expand(
	struct bytes enum_key, const char *label, struct bytes user, uint8_t *ret, size_t len)
{
	const struct bytes parts[] = {bytes_str(label), user};
	uint8_t prk[HMAC_BYTES];

	hash_hmac(enum_key, parts, ARRAY_SIZE(parts), prk);
	hkdf_expand(prk, NULL, 0, ret, len);
	secret_clear(prk, sizeof prk);
}

static bool sample_ok(const struct srp_sample *row)
{
	return row->login_count >= KDF_LOGIN_MIN && row->login_count <= KDF_SUM_MAX / 3 &&
	       srp_group(row->group) != NULL && (row->flags & ~(unsigned)KDF_ACCOUNT_KEY) == 0;
}

/* The first of 6, 5, 4 and 3 bits of `pick` that names a row: as the sample grows, few names move.
 */
static const struct srp_sample *decoy_row(uint8_t pick, const struct srp_sample *rows, size_t count,
	const struct srp_sample *fallback)
{
	unsigned mask = SRP_SAMPLE_MAX - 1;

	if (count < SRP_SAMPLE_MIN) {
		return fallback;
	}
	while ((pick & mask) >= count) {
		mask >>= 1;
	}
	assert(mask >= SRP_SAMPLE_MIN - 1);
	return &rows[pick & mask];
}

static void decoy_verifier(struct bytes enum_key, struct bytes user, const struct srp_group *group,
	struct secret *ret_verifier)
{
	uint8_t wide[SRP_PUBLIC_BYTES_MAX + DECOY_EXTRA_BYTES];
	size_t len = srp_math_bytes(group->math);

	decoy_expand(enum_key, "kluis/v1/enum-v", user, wide, len + DECOY_EXTRA_BYTES);
	secret_init(ret_verifier, len);
	srp_math_reduce(group->math, bytes_of(wide, len + DECOY_EXTRA_BYTES), ret_verifier->data);
	secret_clear(wide, sizeof wide);
}

int srp_decoy_make(struct bytes enum_key, struct bytes user, const struct srp_sample *rows,
	size_t count, const struct srp_sample *fallback, struct srp_decoy *ret_decoy, struct err *e)
{
	uint8_t drawn[KDF_SALT_BYTES + SRP_SALT_BYTES + 1];
	const struct srp_sample *row;
	struct kdf kdf = {0};

	assert(enum_key.len == SRP_ENUM_KEY_BYTES);
	if (count > SRP_SAMPLE_MAX) {
		return err_set(e, KLUIS_EINVAL, "more than %d sample rows", SRP_SAMPLE_MAX);
	}
	decoy_expand(enum_key, "kluis/v1/enum-salt", user, drawn, sizeof drawn);
	row = decoy_row(drawn[sizeof drawn - 1], rows, count, fallback);
	if (!sample_ok(row)) {
		return err_set(e, KLUIS_EINVAL, "a sample row that no account can have");
	}
	kdf.flags = row->flags;
	kdf.login_count = row->login_count;
	kdf.keyring_count = 2 * row->login_count;
	memcpy(kdf.salt, drawn, sizeof kdf.salt);
	kdf_encode(&kdf, ret_decoy->kdf);
	memcpy(ret_decoy->salt, drawn + sizeof kdf.salt, sizeof ret_decoy->salt);
	ret_decoy->group = row->group;
	decoy_verifier(enum_key, user, srp_group(row->group), &ret_decoy->verifier);
	return 0;
}

void srp_decoy_release(struct srp_decoy *decoy)
{
	secret_release(&decoy->verifier);
}
