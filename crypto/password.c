#include "crypto/password.h"

#include <assert.h>
#include <string.h>
#include <unictype.h>
#include <unistr.h>

#include "base/text.h"
#include "crypto/bloom.h"
#include "crypto/identity.h"
#include "crypto/nfc.h"

enum { STAGE_BYTES = HASH_BYTES };

/* What OpaqueString maps before NFC; a space takes no more bytes than what it stands for. Returns
 * the length. */
static size_t password_map(struct bytes typed, uint8_t *to)
{
	size_t len = 0;

	for (size_t at = 0, step; at < typed.len; at += step) {
		ucs4_t c = 0;

		step = (size_t)u8_mbtouc_unsafe(&c, typed.data + at, typed.len - at);
		assert(step > 0 && at + step <= typed.len);
		if (uc_is_general_category(c, UC_CATEGORY_Zs)) {
			to[len++] = ' ';
		} else {
			memcpy(to + len, typed.data + at, step);
			len += step;
		}
	}
	return len;
}

/* Category Cc is U+0000..U+001F and U+007F..U+009F, in every version of Unicode; Cs is no UTF-8. */
static bool password_has_control(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		if (c < 0x20 || c == 0x7f ||
			(c == 0xc2 && i + 1 < text.len && text.data[i + 1] < 0xa0)) {
			return true;
		}
	}
	return false;
}

int password_prepare(struct bytes typed, struct secret *ret_prepared, struct err *e)
{
	_cleanup_(secret_release) struct secret mapped = SECRET_INIT, normal = SECRET_INIT;
	size_t len;

	if (typed.len > PASSWORD_TYPED_BYTES_MAX) {
		return err_set(e, KLUIS_EINVAL, "the password is longer than %d bytes",
			PASSWORD_BYTES_MAX);
	}
	if (!utf8_valid(typed) || password_has_control(typed)) {
		return err_set(e, KLUIS_EINVAL,
			"the password is not UTF-8 text without control characters");
	}
	secret_init(&mapped, typed.len);
	len = password_map(typed, mapped.data);
	nfc_normalize(bytes_of(mapped.data, len), &normal);
	if (normal.len < PASSWORD_BYTES_MIN || normal.len > PASSWORD_BYTES_MAX) {
		return err_set(e, KLUIS_EINVAL, "the password is not %d to %d bytes long",
			PASSWORD_BYTES_MIN, PASSWORD_BYTES_MAX);
	}
	secret_move(ret_prepared, &normal);
	return 0;
}

int password_check(struct bytes prepared, struct err *e)
{
	if (bloom_refuses(bloom_common(), prepared)) {
		return err_set(e, KLUIS_EINVAL,
			"the password is, or is built on, one of the 10,000 most common ones");
	}
	return 0;
}

void password_keys_init(struct password_keys *keys)
{
	*keys = (struct password_keys){SECRET_INIT, SECRET_INIT, SECRET_INIT, SECRET_INIT};
}

void password_keys_release(struct password_keys *keys)
{
	secret_release(&keys->login);
	secret_release(&keys->keyring);
	secret_release(&keys->root);
	secret_release(&keys->srp);
}

/* One stage: PBKDF2(input, TH("kluis/v1/pw", stage, I, salt16), rounds, 32). */
static void password_stage(struct bytes input, const char *stage, struct bytes user,
	const struct kdf *kdf, uint32_t rounds, struct secret *ret)
{
	uint8_t salt[HASH_BYTES];

	HASH_TH(salt, "kluis/v1/pw", bytes_str(stage), user, bytes_of(kdf->salt, KDF_SALT_BYTES));
	secret_init(ret, STAGE_BYTES);
	kdf_pbkdf2(input, bytes_of(salt, sizeof salt), rounds, ret->data, STAGE_BYTES);
}

/* P_srp = lower-hex(HKDF-Expand(R, "kluis/v1/srp-p" | I, 32)). */
static void password_srp(const struct secret *root, struct bytes user, struct secret *ret_srp)
{
	const struct bytes info[] = {bytes_str("kluis/v1/srp-p"), user};
	uint8_t expanded[SRP_PASSWORD_BYTES / 2];
	char text[SRP_PASSWORD_BYTES + 1];

	hkdf_expand(root->data, info, ARRAY_SIZE(info), expanded, sizeof expanded);
	hex_encode(bytes_of(expanded, sizeof expanded), text);
	secret_set(ret_srp, bytes_of(text, SRP_PASSWORD_BYTES));
	secret_clear(expanded, sizeof expanded);
	secret_clear(text, sizeof text);
}

int password_derive(struct bytes prepared, struct bytes user, const struct kdf *kdf,
	struct bytes account_key, struct password_keys *ret_keys, struct err *e)
{
	bool wanted = (kdf->flags & KDF_ACCOUNT_KEY) != 0;

	assert(prepared.len >= PASSWORD_BYTES_MIN && prepared.len <= PASSWORD_BYTES_MAX);
	if (!identity_name_valid(user)) {
		return err_set(e, KLUIS_EINVAL, "no user name");
	}
	if (account_key.len != (wanted ? ACCOUNT_KEY_BYTES : 0)) {
		return err_set(e, KLUIS_EINVAL,
			wanted ? "the account key is needed" : "the account has no account key");
	}
	password_stage(prepared, "L", user, kdf, kdf->login_count, &ret_keys->login);
	password_stage(secret_bytes(&ret_keys->login), "K", user, kdf, kdf->keyring_count,
		&ret_keys->keyring);
	secret_init(&ret_keys->root, HASH_BYTES);
	hkdf_extract(account_key, secret_bytes(&ret_keys->keyring), ret_keys->root.data);
	password_srp(&ret_keys->root, user, &ret_keys->srp);
	return 0;
}

void password_kek(struct bytes root, struct bytes unlock_share, const uint8_t user_id[ID_BYTES],
	const uint8_t slot_id[ID_BYTES], struct secret *ret_kek)
{
	const struct bytes user = bytes_of(user_id, ID_BYTES);
	const struct bytes in[] = {bytes_str("kluis/v1/kek-in"), user};
	const struct bytes info[] = {bytes_str("kluis/v1/kek"), user, bytes_of(slot_id, ID_BYTES)};
	uint8_t ikm[HASH_BYTES];

	assert(root.len == HASH_BYTES && unlock_share.len == UNLOCK_SHARE_BYTES);
	hkdf_expand(root.data, in, ARRAY_SIZE(in), ikm, sizeof ikm);
	secret_init(ret_kek, KEK_BYTES);
	hkdf(unlock_share, bytes_of(ikm, sizeof ikm), info, ARRAY_SIZE(info), ret_kek->data,
		KEK_BYTES);
	secret_clear(ikm, sizeof ikm);
}
