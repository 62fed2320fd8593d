#include "crypto/kdf.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/evp.h"
#include "crypto/secret.h"

enum {
	KDF_VERSION = 1,
	KDF_PROBE_ROUNDS = 10000,
	KDF_PROBE_MS = 50,
};

static bool kdf_counts_ok(const struct kdf *kdf, uint32_t login_min)
{
	uint64_t login = kdf->login_count, keyring = kdf->keyring_count;

	return login >= login_min && login > 0 && keyring >= 2 * login &&
	       login + keyring <= KDF_SUM_MAX;
}

void kdf_encode(const struct kdf *kdf, uint8_t ret_block[KDF_BYTES])
{
	assert(kdf_counts_ok(kdf, 0) && (kdf->flags & ~(unsigned)KDF_ACCOUNT_KEY) == 0);
	memset(ret_block, 0, KDF_BYTES);
	ret_block[0] = KDF_VERSION;
	ret_block[1] = KDF_PBKDF2_SHA256;
	store_u16(ret_block + 2, kdf->flags);
	store_u32(ret_block + 4, kdf->login_count);
	store_u32(ret_block + 8, kdf->keyring_count);
	memcpy(ret_block + 16, kdf->salt, KDF_SALT_BYTES);
}

int kdf_decode(struct bytes block, struct kdf *ret_kdf, struct err *e)
{
	return kdf_decode_floor(block, KDF_LOGIN_MIN, ret_kdf, e);
}

int kdf_decode_floor(struct bytes block, uint32_t login_min, struct kdf *ret_kdf, struct err *e)
{
	struct wire w = wire_of(block);
	unsigned version = wire_u8(&w), suite = wire_u8(&w);
	struct kdf kdf = {.flags = wire_u16(&w)};

	kdf.login_count = wire_u32(&w);
	kdf.keyring_count = wire_u32(&w);
	wire_zeros(&w, 4);
	wire_copy(&w, kdf.salt, sizeof kdf.salt);
	if (block.len == KDF_BYTES && version != KDF_VERSION) {
		return err_set(e, KLUIS_EVERSION, "kdf block: unknown version %u", version);
	}
	if (block.len == KDF_BYTES && suite != KDF_PBKDF2_SHA256) {
		return err_set(e, KLUIS_ESUITE, "kdf block: unknown kdf %u", suite);
	}
	if (!wire_end(&w) || (kdf.flags & ~(unsigned)KDF_ACCOUNT_KEY) != 0) {
		return err_set(e, KLUIS_EINVAL, "malformed kdf block");
	}
	if (!kdf_counts_ok(&kdf, login_min)) {
		return err_set(e, KLUIS_EINVAL,
			"kdf counts %u and %u: the first must be %u or more, the second twice the "
			"first, their sum at most %u",
			kdf.login_count, kdf.keyring_count, login_min, KDF_SUM_MAX);
	}
	*ret_kdf = kdf;
	return 0;
}

int kdf_check_pin(const struct kdf *kdf, uint32_t login_pin, uint32_t keyring_pin, struct err *e)
{
	if (kdf->login_count < login_pin || kdf->keyring_count < keyring_pin) {
		return err_set(e, KLUIS_EPIN, "kdf counts %u and %u are below the pinned %u and %u",
			kdf->login_count, kdf->keyring_count, login_pin, keyring_pin);
	}
	return 0;
}

void kdf_pbkdf2(struct bytes password, struct bytes salt, uint32_t rounds, uint8_t *ret, size_t len)
{
	assert(password.len <= INT_MAX && salt.len <= INT_MAX && len <= INT_MAX);
	assert(rounds > 0 && rounds <= KDF_SUM_MAX);
	evp_must(PKCS5_PBKDF2_HMAC((const char *)password.data, (int)password.len, salt.data,
		(int)salt.len, (int)rounds, evp_algs()->sha256, (int)len, ret));
}

uint32_t kdf_round(uint64_t count)
{
	static const uint32_t steps[] = {
		KDF_LOGIN_MIN, 800000, 1000000, 1500000, 2000000, 3000000, 5000000, 8000000};
	uint32_t best = steps[0];

	for (size_t i = 1; i < ARRAY_SIZE(steps); i++) {
		best = count >= steps[i] ? steps[i] : best;
	}
	return best;
}

bool kdf_usual(const struct kdf *kdf)
{
	return kdf->login_count == kdf_round(kdf->login_count) &&
	       kdf->keyring_count == 2 * (uint64_t)kdf->login_count;
}

uint32_t kdf_calibrate(const struct clock *clock, uint64_t target_ms)
{
	uint64_t start = clock_monotonic_ms(clock), took = 0, rounds = 0;
	uint8_t key[HASH_BYTES];

	/* Bounded by the rounds, too: a clock need not move. */
	while (took < KDF_PROBE_MS && rounds < KDF_SUM_MAX) {
		kdf_pbkdf2(bytes_str("calibration"), bytes_str("calibration"), KDF_PROBE_ROUNDS,
			key, sizeof key);
		rounds += KDF_PROBE_ROUNDS;
		took = clock_monotonic_ms(clock) - start;
	}
	/* Of all the rounds a third is the first stage. */
	return kdf_round(rounds * target_ms / (took == 0 ? 1 : took) / 3);
}
