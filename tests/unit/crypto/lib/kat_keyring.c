#include "tests/unit/crypto/lib/kat_keyring.h"

#include <stdio.h>
#include <string.h>

#include "crypto/keyring_impl.h"
#include "crypto/recovery.h"
#include "crypto/sign.h"

static void take(struct kat_run *run, const char *name, void *to, size_t len)
{
	kat_fixed(run, kat_bytes(run, name), to, len);
}

static struct bytes take_exact(struct kat_run *run, const char *name, size_t len)
{
	struct bytes bytes = kat_bytes(run, name);

	if (bytes.len != len) {
		kat_malformed(run, name);
	}
	return bytes;
}

static void put_okm(struct kat_run *run, const struct sym_keys *keys)
{
	kat_put_bytes(run, "kE", sym_enc_key(keys));
	kat_put_bytes(run, "IV", sym_iv(keys));
	kat_put_bytes(run, "kM", sym_mac_key(keys));
}

int kat_slot_seal(struct kat_run *run)
{
	_cleanup_(buf_release) struct buf slot = BUF_INIT;
	struct bytes kek = kat_bytes(run, "kek"), salt = kat_bytes(run, "salt");
	struct keyring_slot fields = {.type = (uint8_t)kat_number_max(run, "type", UINT8_MAX),
		.sym = (uint8_t)kat_number_max(run, "sym", UINT8_MAX)};
	uint8_t user_id[ID_BYTES];
	struct kat_random source;
	struct sym_keys keys;

	take(run, "user_id", user_id, ID_BYTES);
	take(run, "slot_id", fields.slot_id, ID_BYTES);
	take(run, "kdf", fields.kdf, KEYRING_KDF_BYTES);
	take(run, "ref", fields.ref, ID_BYTES);
	kat_random_init(&source, run, salt);
	keyring_slot_seal(&fields, user_id, kek, kat_bytes(run, "krk"), &source.random, &slot);
	kat_put_bytes(run, "slot", buf_bytes(&slot));
	if (fields.type != KEYRING_SLOT_DEVICE) {
		const struct bytes info[] = {bytes_str("kluis/v1/slot"),
			bytes_of(user_id, ID_BYTES), bytes_of(slot.data, KEYRING_SLOT_FIXED_BYTES)};

		sym_derive(fields.sym, salt, kek, info, ARRAY_SIZE(info), &keys);
		put_okm(run, &keys);
	}
	return 0;
}

int kat_slot_open(struct kat_run *run)
{
	_cleanup_(secret_release) struct secret krk = SECRET_INIT;
	uint8_t user_id[ID_BYTES];
	int rc;

	take(run, "user_id", user_id, ID_BYTES);
	rc = keyring_slot_open(kat_bytes(run, "slot"), user_id,
		take_exact(run, "kek", KEYRING_KEK_BYTES), &krk, NULL);
	if (rc == 0) {
		kat_put_bytes(run, "krk", secret_bytes(&krk));
	}
	return rc;
}

int kat_entry_seal(struct kat_run *run)
{
	_cleanup_(buf_release) struct buf sealed = BUF_INIT;
	struct bytes k1 = kat_bytes(run, "k1"), k2 = kat_bytes(run, "k2");
	struct keyring_entry entry = {.type = (uint16_t)kat_number_max(run, "type", UINT16_MAX),
		.epoch = (uint32_t)kat_number_max(run, "epoch", UINT32_MAX)};
	const struct bytes info = bytes_str("kluis/v1/entry");
	uint8_t both[64], key[SEAL_KEY_BYTES];
	struct kat_random source;

	take(run, "entry_id", entry.entry_id, ID_BYTES);
	take(run, "object_id", entry.object_id, ID_BYTES);
	secret_set(&entry.value, kat_bytes(run, "plaintext"));
	kat_random_init(&source, run, kat_bytes(run, "salt"));
	keyring_entry_seal(k1, k2, &entry, &source.random, &sealed);
	memcpy(both, k1.data, k1.len);
	memcpy(both + k1.len, k2.data, k2.len);
	hkdf(bytes_of(NULL, 0), bytes_of(both, k1.len + k2.len), &info, 1, key, sizeof key);
	kat_put_bytes(run, "key", bytes_of(key, sizeof key));
	kat_put_bytes(run, "entry", buf_bytes(&sealed));
	secret_release(&entry.value);
	return 0;
}

int kat_entry_open(struct kat_run *run)
{
	struct keyring_entry entry = {.value = SECRET_INIT};
	int rc = keyring_entry_open(
		kat_bytes(run, "k1"), kat_bytes(run, "k2"), kat_bytes(run, "entry"), &entry, NULL);

	if (rc == 0) {
		kat_put_bytes(run, "entry_id", bytes_of(entry.entry_id, ID_BYTES));
		kat_put_number(run, "type", entry.type);
		kat_put_bytes(run, "object_id", bytes_of(entry.object_id, ID_BYTES));
		kat_put_number(run, "epoch", entry.epoch);
		kat_put_bytes(run, "plaintext", secret_bytes(&entry.value));
		secret_release(&entry.value);
	}
	return rc;
}

static void put_view(struct kat_run *run, const struct keyring_view *v)
{
	json_t *slots = json_array(), *entries = json_array();
	struct wire w = wire_of(v->entries);

	for (size_t i = 0; i < v->n_slots; i++) {
		struct keyring_slot slot;

		(void)json_array_append_new(slots, kat_hex_json(keyring_view_slot(v, i, &slot)));
	}
	for (uint32_t i = 0; i < v->n_entries; i++) {
		(void)json_array_append_new(entries, kat_hex_json(keyring_entry_next(&w)));
	}
	kat_put_number(run, "sym", v->sym);
	kat_put_number(run, "n_slots", v->n_slots);
	kat_put_bytes(run, "user_id", bytes_of(v->user_id, ID_BYTES));
	kat_put_number(run, "revision", v->revision);
	kat_put_number(run, "core_len", v->core_len);
	kat_put_number(run, "n_entries", v->n_entries);
	kat_put_number(run, "min_l", v->min_n_l);
	kat_put_number(run, "min_k", v->min_n_k);
	kat_put_bytes(run, "prev_hash", bytes_of(v->prev_hash, HASH_BYTES));
	kat_put_number(run, "unix_ms", v->unix_ms);
	kat_put(run, "slots", slots);
	kat_put_bytes(run, "core", v->core);
	kat_put(run, "entries", entries);
	kat_put_bytes(run, "tag", v->tag);
	kat_put_bytes(run, "hash", bytes_of(v->hash, HASH_BYTES));
}

int kat_keyring_parse(struct kat_run *run)
{
	struct keyring_view view;
	int rc = keyring_parse(kat_bytes(run, "keyring"), &view, NULL);

	if (rc == 0) {
		put_view(run, &view);
	}
	return rc;
}

static void put_keyring(struct kat_run *run, const struct keyring *k)
{
	_cleanup_(buf_release) struct buf tlv = BUF_INIT;
	json_t *fields = json_object(), *entries = json_array();

	for (size_t i = 0; i < k->n_fields; i++) {
		struct bytes value = secret_bytes(&k->fields[i].value);
		char name[16];

		(void)snprintf(name, sizeof name, "%u", k->fields[i].type);
		(void)json_object_set_new(fields, name, kat_hex_json(value));
		buf_put_u16(&tlv, k->fields[i].type);
		buf_put_lp32(&tlv, value);
	}
	for (size_t i = 0; i < k->n_entries; i++) {
		(void)json_array_append_new(
			entries, kat_hex_json(secret_bytes(&k->entries[i].value)));
	}
	kat_put_bytes(run, "core_tlv", buf_bytes(&tlv));
	kat_put(run, "fields", fields);
	kat_put(run, "entries", entries);
}

int kat_keyring_open(struct kat_run *run)
{
	_cleanup_(keyring_release) struct keyring keyring = {0};
	struct keyring_view view;
	uint8_t user_id[ID_BYTES];
	int rc = keyring_parse(kat_bytes(run, "keyring"), &view, NULL);

	take(run, "user_id", user_id, ID_BYTES);
	rc = rc != 0 ? rc
		     : keyring_open(&view, user_id, take_exact(run, "krk", KEYRING_KRK_BYTES),
			       &keyring, NULL);
	if (rc == 0) {
		put_keyring(run, &keyring);
	}
	return rc;
}

int kat_keyring_next(struct kat_run *run)
{
	struct keyring_view old, fresh;
	int rc = keyring_parse(kat_bytes(run, "old"), &old, NULL);

	rc = rc != 0 ? rc : keyring_parse(kat_bytes(run, "new"), &fresh, NULL);
	return rc != 0 ? rc : keyring_follows(&fresh, old.user_id, old.revision, old.hash, NULL);
}

int kat_keyring_rotated(struct kat_run *run)
{
	struct keyring_view fresh;
	uint8_t user_id[ID_BYTES];
	int rc;

	take(run, "user_id", user_id, ID_BYTES);
	rc = keyring_rotated(kat_bytes(run, "old"), take_exact(run, "old_krk", KEYRING_KRK_BYTES),
		kat_bytes(run, "new"), take_exact(run, "new_krk", KEYRING_KRK_BYTES), user_id,
		NULL);
	rc = rc != 0 ? rc : keyring_parse(kat_bytes(run, "new"), &fresh, NULL);
	if (rc == 0) {
		kat_put_number(run, "revision", fresh.revision);
	}
	return rc;
}

int kat_recovery_code(struct kat_run *run)
{
	char text[RECOVERY_TEXT_CHARS + 1];

	recovery_text(take_exact(run, "secret", RECOVERY_SECRET_BYTES), text);
	kat_put(run, "code_text", json_string(text));
	return 0;
}

int kat_recovery_parse(struct kat_run *run)
{
	_cleanup_(secret_release) struct secret secret = SECRET_INIT;
	int rc = recovery_parse(bytes_str(kat_text(run, "code_text")), &secret, NULL);

	if (rc == 0) {
		kat_put_bytes(run, "secret", secret_bytes(&secret));
	}
	return rc;
}

int kat_recovery_keys(struct kat_run *run)
{
	_cleanup_(recovery_release) struct recovery recovery = {.r_rec = SECRET_INIT};
	_cleanup_(secret_release) struct secret private = SECRET_INIT;
	uint8_t user_id[ID_BYTES];

	take(run, "user_id", user_id, ID_BYTES);
	recovery_derive(take_exact(run, "secret", RECOVERY_SECRET_BYTES), user_id, &recovery);
	key_encode(recovery.auth, &private);
	kat_put_bytes(run, "R_rec", secret_bytes(&recovery.r_rec));
	kat_put_bytes(run, "KEK", secret_bytes(&recovery.kek));
	kat_put_bytes(run, "private", secret_bytes(&private));
	kat_put_bytes(run, "public", key_pub_bytes(key_public(recovery.auth)));
	return 0;
}

int kat_recover(struct kat_run *run)
{
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	struct recovery_proof proof;
	uint8_t message[HASH_BYTES];
	int rc = key_pub_decode(KEY_ECDSA_P256, kat_bytes(run, "pub"), &pub, NULL);

	take(run, "cluster_id", proof.cluster_id, ID_BYTES);
	take(run, "user_id", proof.user_id, ID_BYTES);
	take(run, "challenge", proof.challenge, RECOVERY_CHALLENGE_BYTES);
	rc = rc != 0 ? rc : recovery_verify(&proof, pub, kat_bytes(run, "sig"), NULL);
	if (rc == 0) {
		HASH_TH(message, "kluis/v1/recover", bytes_of(proof.cluster_id, ID_BYTES),
			bytes_of(proof.user_id, ID_BYTES),
			bytes_of(proof.challenge, RECOVERY_CHALLENGE_BYTES));
		kat_put_bytes(run, "msg", bytes_of(message, sizeof message));
	}
	return rc;
}
