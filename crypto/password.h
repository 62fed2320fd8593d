/* From a password to the secrets of an account (docs/format-crypto.md, "Password to keys"): on the
 * client alone; a node sees none of this. */
#ifndef KLUIS_CRYPTO_PASSWORD_H
#define KLUIS_CRYPTO_PASSWORD_H

#include "crypto/kdf.h"
#include "crypto/secret.h"

enum {
	PASSWORD_BYTES_MIN = 12, /* Of UTF-8, prepared. */
	PASSWORD_BYTES_MAX = 1024,
	PASSWORD_TYPED_BYTES_MAX = 4096, /* Before preparation. */
	ACCOUNT_KEY_BYTES = 32,
	UNLOCK_SHARE_BYTES = 32,
	KEK_BYTES = 64,
	SRP_PASSWORD_BYTES = 64, /* P_srp: lower-case hex. */
};

/* RFC 8265 OpaqueString as the format narrows it: every space character (category Zs) becomes
 * U+0020, then NFC. KLUIS_EINVAL when the text is no UTF-8, when it holds a control character or
 * surrogate (Cc, Cs), or when it is not PASSWORD_BYTES_MIN .. PASSWORD_BYTES_MAX long then. The
 * error text says nothing of the password. Any thread. */
KLUIS_MUST_CHECK int password_prepare(
	struct bytes typed, struct secret *ret_prepared, struct err *e);

/* Whether it may be chosen: KLUIS_EINVAL when it, or it without what stands before its first and
 * after its last letter, or that with look-alikes (0 1 3 4 5 7 @ $) replaced, is one of the 10,000
 * most common passwords (crypto/bloom.h). prepared: by password_prepare(). Any thread. */
KLUIS_MUST_CHECK int password_check(struct bytes prepared, struct err *e);

/* The two stages of PBKDF2-HMAC-SHA-256, and R = HKDF-Extract(account_key, T_K). */
struct password_keys {
	struct secret login;   /* T_L, 32 bytes: never sent, kept for tests of the chain alone. */
	struct secret keyring; /* T_K, 32 bytes. */
	struct secret root;    /* R, 32 bytes: the input of password_kek(). */
	struct secret srp;     /* P_srp, SRP_PASSWORD_BYTES: the password of crypto/srp. */
};
/* Zeroes without releasing: before first use. */
void password_keys_init(struct password_keys *keys);
/* Clears; usable again. For _cleanup_. */
void password_keys_release(struct password_keys *keys);

/* prepared: by password_prepare(). user: the account name. kdf: by kdf_decode(), which is where
 * floors are held, and past kdf_check_pin(). account_key: ACCOUNT_KEY_BYTES when kdf has
 * KDF_ACCOUNT_KEY, else of length 0. Takes about a second, never on a loop thread. KLUIS_EINVAL: a
 * name that identity_name_valid() refuses, an account key missing or not asked for. Any thread. */
KLUIS_MUST_CHECK int password_derive(struct bytes prepared, struct bytes user,
	const struct kdf *kdf, struct bytes account_key, struct password_keys *ret_keys,
	struct err *e);

/* KEK = HKDF(unlock_share, HKDF-Expand(root, "kluis/v1/kek-in" | user_id), "kluis/v1/kek" | user_id
 * | slot_id, 64): opens a slot of the keyring. root: 32 bytes, R, or for a slot of type 4 the PRF
 * output of a WebAuthn key. unlock_share: UNLOCK_SHARE_BYTES from the node. Any thread. */
void password_kek(struct bytes root, struct bytes unlock_share, const uint8_t user_id[ID_BYTES],
	const uint8_t slot_id[ID_BYTES], struct secret *ret_kek);

#endif
