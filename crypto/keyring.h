/* The keyring of a person (docs/format-crypto.md, "Keyring"): one object at the cluster, opaque to
 * it, that holds the person's private keys and one entry for each vault key, group key and pin. A
 * random key KRK opens it; each slot gives KRK to who has a password, the recovery code, a device
 * key or an authenticator. Pure: no I/O, time and randomness come from the caller. */
#ifndef KLUIS_CRYPTO_KEYRING_H
#define KLUIS_CRYPTO_KEYRING_H

#include "base/limits.h"
#include "crypto/key.h"
#include "crypto/keypacket.h"
#include "crypto/seal.h"

enum {
	KEYRING_HEADER_BYTES = 96,
	KEYRING_SLOT_BYTES = 240,
	KEYRING_SLOT_FIXED_BYTES = 72, /* Before its salt: what the slot's MAC binds. */
	KEYRING_ENTRY_FIXED_BYTES = 44,
	KEYRING_KDF_BYTES = 32,
	KEYRING_KRK_BYTES = 64,		/* KRK.enc32 | KRK.mac32. */
	KEYRING_KEK_BYTES = 64,		/* What opens a slot of type 1, 2 or 4. */
	KEYRING_VALUE_BYTES_MAX = 8192, /* Of one core field or entry that this program makes. */
	KEYRING_LOCAL_KEY_BYTES = 32,
	KEYRING_LOCAL_KEYS_MAX = 64, /* Changes of the password that a device may miss. */
};

enum keyring_slot_type {
	KEYRING_SLOT_PASSWORD = 1,
	KEYRING_SLOT_RECOVERY = 2,
	KEYRING_SLOT_DEVICE = 3, /* KRK travels in a KeyPacket (purpose 5). */
	KEYRING_SLOT_PRF = 4,	 /* WebAuthn PRF. */
};

/* Fields of the core. 1..3, 10..13 are always there. */
enum keyring_field_type {
	KEYRING_K1 = 1, /* Storage: entries. */
	KEYRING_K2 = 2, /* Storage MAC. */
	KEYRING_K3 = 3, /* Local cache; outlives a rotation. */
	KEYRING_SIGNING = 10,
	KEYRING_SIGNING_PUB = 11,
	KEYRING_TRANSFER = 12,
	KEYRING_TRANSFER_PUB = 13,
	KEYRING_RSA = 14, /* The optional RSA-4096 transfer pair. */
	KEYRING_RSA_PUB = 15,
	KEYRING_ACCOUNT_KEY = 20,
	/* Of ours alone: others keep them as they are. */
	KEYRING_LOCAL_KEYS = 100,   /* KEYRING_LOCAL_KEY_BYTES each, the newest first. */
	KEYRING_NEXT_SIGNING = 101, /* PKCS#8: the signing key that the chain is to name next. */
};

enum keyring_entry_type {
	KEYRING_VAULT_KEY = 1,	 /* VK32; epoch. */
	KEYRING_GROUP_KEY = 2,	 /* u16 kem | private key; epoch. */
	KEYRING_CONTACT_PIN = 3, /* genesis_hash32 | head_hash32 | u64 seq; epoch 0. */
	KEYRING_VAULT_PIN = 4,	 /* u64 seq | head_hash32; epoch 0. Or: it was given up. */
	KEYRING_CHAT_EPOCH = 5,	 /* Reserved. */
	KEYRING_CONTACT_PIN_BYTES = 2 * HASH_BYTES + 8,
	KEYRING_VAULT_PIN_BYTES = 8 + HASH_BYTES,
};

/* One slot, without a key. */
struct keyring_slot {
	uint8_t slot_id[ID_BYTES];
	uint8_t type, sym;
	uint8_t kdf[KEYRING_KDF_BYTES]; /* Type 1 only, else zero; crypto/password reads it. */
	uint8_t ref[ID_BYTES]; /* Type 3: device id; type 4: of the credential; else zero. */
};
/* Exactly KEYRING_SLOT_BYTES. KLUIS_EINVAL, KLUIS_ESUITE. */
KLUIS_MUST_CHECK int keyring_slot_parse(
	struct bytes encoded, struct keyring_slot *ret_slot, struct err *e);
/* Appends the slot that gives krk to who has kek (KEYRING_KEK_BYTES; not looked at for a device
 * slot, which holds nothing). fields must be of their form (asserted). */
void keyring_slot_seal(const struct keyring_slot *fields, const uint8_t user_id[ID_BYTES],
	struct bytes kek, struct bytes krk, struct random *random, struct buf *ret_encoded);
/* KLUIS_EVERIFY: another kek, user or a changed byte, or a device slot. The tag is compared first.
 */
KLUIS_MUST_CHECK int keyring_slot_open(struct bytes encoded, const uint8_t user_id[ID_BYTES],
	struct bytes kek, struct secret *ret_krk, struct err *e);

/* What anybody sees of a keyring, the node above all. Runs point into the object. */
struct keyring_view {
	uint8_t sym;
	uint16_t n_slots;
	uint8_t user_id[ID_BYTES];
	uint64_t revision;
	uint32_t core_len, n_entries;
	uint32_t min_n_l, min_n_k; /* PBKDF2 counts below these are refused by the owner. */
	uint8_t prev_hash[HASH_BYTES];
	uint64_t unix_ms;
	struct bytes object, slots, core, entries, tag;
	uint8_t hash[HASH_BYTES]; /* SHA-256 of the object. */
};
/* All that needs no key: at most KEYRING_BYTES_MAX, magic, version, suites, exact lengths, form of
 * every slot and entry, slot ids that differ, prev_hash zero if and only if revision is 1. Does not
 * allocate. KLUIS_ETOOLARGE, KLUIS_EVERSION, KLUIS_ESUITE, KLUIS_EINVAL. */
KLUIS_MUST_CHECK int keyring_parse(
	struct bytes object, struct keyring_view *ret_view, struct err *e);
/* Whether `view` is of this owner and the next after the stored one (stored_revision 0: there is
 * none, stored_hash not looked at). KLUIS_EINVAL another owner; KLUIS_EPRECONDITION not the next.
 */
KLUIS_MUST_CHECK int keyring_follows(const struct keyring_view *view,
	const uint8_t user_id[ID_BYTES], uint64_t stored_revision,
	const uint8_t stored_hash[HASH_BYTES], struct err *e);
/* The nth slot of a view, n < n_slots, and its bytes within the object. */
struct bytes keyring_view_slot(
	const struct keyring_view *view, size_t n, struct keyring_slot *ret_slot);
/* The first slot of this type (0: any), and of this id unless NULL; its bytes, or an empty run. */
struct bytes keyring_view_find(const struct keyring_view *view, unsigned type,
	const uint8_t *slot_id, struct keyring_slot *ret_slot);
size_t keyring_view_count(const struct keyring_view *view, unsigned type); /* Slots of a type. */

struct keyring_field {
	uint16_t type;
	struct secret value;
};
struct keyring_entry {
	uint8_t entry_id[ID_BYTES];
	uint16_t type;
	uint8_t object_id[ID_BYTES]; /* Vault, group or the contact's user id. */
	uint32_t epoch;		     /* 0 where there is none. */
	struct secret value;
};

/* An open keyring. Zeroed before keyring_make() or keyring_open(); keyring_release() clears and
 * frees. Read the fields, change them by the functions below. One thread. */
struct keyring {
	uint8_t sym;
	uint8_t user_id[ID_BYTES];
	uint64_t revision; /* Of the object it was opened from or last sealed as; 0: of none yet. */
	uint8_t hash[HASH_BYTES]; /* Of that object. */
	uint32_t min_n_l, min_n_k;
	struct secret krk;
	struct buf slots;	      /* KEYRING_SLOT_BYTES each, sealed. */
	struct keyring_field *fields; /* Types strictly ascending; unknown ones are kept. */
	size_t n_fields;
	struct keyring_entry *entries;
	size_t n_entries;
	struct key *signing, *transfer; /* Of the core; KEY_RSA_PSS and an EC kem. */
	struct key *rsa;		/* The optional pair, KEY_KEM_RSA; NULL: none. */
};
void keyring_release(struct keyring *keyring);
/* Which of the transfer keys a KeyPacket to this kid is opened with: transfer when it is neither's.
 */
const struct key *keyring_recipient(const struct keyring *keyring, const uint8_t kid[KID_BYTES]);
/* The optional pair, in place of one that is there. Takes the key, a KEY_KEM_RSA. */
void keyring_set_rsa(struct keyring *keyring, struct key *rsa);

/* A keyring of no revision, no slots and no entries under fresh keys (KRK, K1..K3). account_key:
 * SEAL_KEY_BYTES, or empty for an account without one. The keys are copied. sym: SYM_AES_*. */
KLUIS_MUST_CHECK int keyring_make(const uint8_t user_id[ID_BYTES], unsigned sym,
	const struct key *signing, const struct key *transfer, struct bytes account_key,
	struct random *random, struct keyring *ret_keyring, struct err *e);
/* Opens a parsed object: owner, tag, then core and entries; every private key must be that of the
 * public one beside it. KLUIS_EVERIFY: another owner or KRK, a changed byte, a pair that does not
 * belong together; KLUIS_EINVAL: sealed well, but malformed inside. */
KLUIS_MUST_CHECK int keyring_open(const struct keyring_view *view, const uint8_t user_id[ID_BYTES],
	struct bytes krk, struct keyring *ret_keyring, struct err *e);

/* A field of the core; an empty run when there is none. Valid until the next change. */
struct bytes keyring_field(const struct keyring *keyring, unsigned type);
/* Adds or replaces one; for types other than the key pairs and K1..K3 (asserted). */
void keyring_set_field(struct keyring *keyring, unsigned type, struct bytes value);
/* The keys that the owner's devices seal their local files under: 0 is the current one, after it
 * those before, then K3 (of files from before there were others); then an empty run. With each
 * rotation there is a new one: who has an old keyring opens no later file by it. */
struct bytes keyring_local_key(const struct keyring *keyring, size_t n);
/* The signing key that is to follow the current one. It stands here before the identity chain names
 * it, so that it cannot be lost between the two. There must be none yet (asserted). */
void keyring_set_next_signing(struct keyring *keyring, const struct key *fresh);
/* KLUIS_ENOTFOUND: there is none. KLUIS_EINVAL: malformed. */
KLUIS_MUST_CHECK int keyring_next_signing(
	const struct keyring *keyring, struct key **ret_key, struct err *e);
/* The chain names it: it takes the current one's place. Errors as keyring_next_signing(). */
KLUIS_MUST_CHECK int keyring_take_next_signing(struct keyring *keyring, struct err *e);
/* Bytes of the object that keyring_seal() would make. */
size_t keyring_object_bytes(const struct keyring *keyring);

/* NULL when there is none. Valid until the next change. */
const struct keyring_entry *keyring_entry(const struct keyring *keyring, unsigned type,
	const uint8_t object_id[ID_BYTES], uint32_t epoch);
/* Adds an entry. A pin of this object is replaced by one of a higher number alone: a lower one
 * changes nothing, and another hash under the same number, or another genesis, is KLUIS_EPIN. A key
 * of this object and epoch is not replaced: the same key again is fine, another is KLUIS_ECONFLICT.
 * A pin that gives a vault up (keyring_forget_pin()) takes its keys away, and no key of it is taken
 * from then on (KLUIS_EGONE). value has the type's length (asserted). */
KLUIS_MUST_CHECK int keyring_put_entry(struct keyring *keyring, unsigned type,
	const uint8_t object_id[ID_BYTES], uint32_t epoch, struct bytes value,
	struct random *random, struct err *e);
/* The value of the vault pin that says that the owner gave the vault up, and whether a value is
 * that. It outlasts every other pin: who held a key of the vault sees by it that the key was
 * dropped by the owner, whose keys alone make a keyring, and was not hidden by the cluster. */
void keyring_forget_pin(uint8_t ret_value[KEYRING_VAULT_PIN_BYTES]);
bool keyring_pin_forgets(struct bytes value);
bool keyring_forgotten(const struct keyring *keyring, const uint8_t vault_id[ID_BYTES]);
/* KLUIS_EPIN unless `now` has what `old` has: each key but those of vaults that were given up, and
 * each pin or a later one of it. */
KLUIS_MUST_CHECK int keyring_keeps(
	const struct keyring *old, const struct keyring *now, struct err *e);
/* The same of one entry; both values have the type's length. And the error of one that is lost. */
bool keyring_value_kept(unsigned type, struct bytes was, struct bytes is);
int keyring_lost(unsigned type, struct err *e);
/* Drops all entries of an object; how many there were. */
size_t keyring_drop_entries(struct keyring *keyring, const uint8_t object_id[ID_BYTES]);

/* Adds a slot for kek (see keyring_slot_seal()); one with this id is replaced. */
void keyring_put_slot(struct keyring *keyring, const struct keyring_slot *fields, struct bytes kek,
	struct random *random);
/* Drops the slots of this type with this ref (NULL: all of the type); how many there were. */
size_t keyring_drop_slots(struct keyring *keyring, unsigned type, const uint8_t *ref);

/* At every change of the password and every recovery: a new KRK, K1, K2 and local key, and no
 * slots; the caller puts new ones. K3 stays, for what other clients cache under it. */
void keyring_rotate(struct keyring *keyring, struct random *random);

/* Seals the next revision under new salts and appends it. The keyring does not move: a caller
 * whom the cluster answered so calls keyring_sealed(). KLUIS_ETOOLARGE. At least one slot
 * (asserted: nobody could open it). */
KLUIS_MUST_CHECK int keyring_seal(const struct keyring *keyring, uint64_t unix_ms,
	struct random *random, struct buf *ret_object, struct err *e);
/* The cluster holds this object now, made by keyring_seal() of the keyring as it is. */
void keyring_sealed(struct keyring *keyring, struct bytes object);
/* KLUIS_EVERIFY unless `fresh` follows `old` as a rotation: the next revision, another KRK, K1 and
 * K2, and no salt of the old object. Both are opened with their KRKs. */
KLUIS_MUST_CHECK int keyring_rotated(struct bytes old, struct bytes old_krk, struct bytes fresh,
	struct bytes fresh_krk, const uint8_t user_id[ID_BYTES], struct err *e);

/* The KeyPacket (purpose 5) that gives KRK to a device of the same user for the slot of type 3 that
 * `slot` describes: object = slot id, epoch = low 32 bits of the revision the next keyring_seal()
 * makes. Appends it. Signed by the keyring's own signing key. */
KLUIS_MUST_CHECK int keyring_device_packet(const struct keyring *keyring,
	const struct keyring_slot *slot, const struct key_pub *device_hpke, uint64_t unix_ms,
	uint64_t expires_ms, struct random *random, struct buf *ret_packet, struct err *e);
/* KRK from such a packet. signing: the user's own key by a verified chain. KLUIS_EVERIFY when it is
 * not for this device and slot, of a later revision, not by oneself, or expired. */
KLUIS_MUST_CHECK int keyring_device_open(struct bytes packet, const struct keyring_view *view,
	const struct keyring_slot *slot, const struct key *device_hpke,
	const struct key_pub *signing, uint64_t now_ms, struct secret *ret_krk, struct err *e);

/* The formats of core and entry alone, for tests. entry: appends one sealed under K1 and K2. */
void keyring_entry_seal(struct bytes k1, struct bytes k2, const struct keyring_entry *entry,
	struct random *random, struct buf *ret_encoded);
KLUIS_MUST_CHECK int keyring_entry_open(struct bytes k1, struct bytes k2, struct bytes encoded,
	struct keyring_entry *ret_entry, struct err *e);

#endif
