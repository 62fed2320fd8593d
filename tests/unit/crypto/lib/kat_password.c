#include "tests/unit/crypto/lib/kat_password.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/bloom.h"
#include "crypto/password.h"

/* With what stands behind a NUL. */
static struct bytes text_of(const json_t *value)
{
	assert(json_is_string(value));
	return bytes_of(json_string_value(value), json_string_length(value));
}

int kat_opaque(struct kat_run *run)
{
	_cleanup_(secret_release) struct secret prepared = SECRET_INIT;
	int rc = password_prepare(text_of(kat_value(run, "password_text")), &prepared, NULL);

	if (rc == 0) {
		kat_put_bytes(run, "P", secret_bytes(&prepared));
	}
	return rc;
}

int kat_kdf(struct kat_run *run)
{
	struct bytes block = kat_bytes(run, "kdf");
	uint8_t again[KDF_BYTES];
	struct kdf kdf;
	int rc = kdf_decode(block, &kdf, NULL);

	if (rc == 0) {
		rc = kdf_check_pin(&kdf, (uint32_t)kat_number_max(run, "pin_l", UINT32_MAX),
			(uint32_t)kat_number_max(run, "pin_k", UINT32_MAX), NULL);
	}
	if (rc == 0) {
		kdf_encode(&kdf, again);
		assert(bytes_equal(bytes_of(again, sizeof again), block));
		kat_put_number(run, "flags", kdf.flags);
		kat_put_number(run, "n_l", kdf.login_count);
		kat_put_number(run, "n_k", kdf.keyring_count);
		kat_put_bytes(run, "salt", bytes_of(kdf.salt, sizeof kdf.salt));
	}
	return rc;
}

static void put_kek(struct kat_run *run, struct bytes root)
{
	_cleanup_(secret_release) struct secret kek = SECRET_INIT;
	uint8_t user_id[ID_BYTES], slot_id[ID_BYTES];

	kat_fixed(run, kat_bytes(run, "user_id"), user_id, sizeof user_id);
	kat_fixed(run, kat_bytes(run, "slot_id"), slot_id, sizeof slot_id);
	password_kek(root, kat_bytes(run, "unlock_share"), user_id, slot_id, &kek);
	kat_put_bytes(run, "KEK", secret_bytes(&kek));
}

int kat_kek_prf(struct kat_run *run)
{
	put_kek(run, kat_bytes(run, "prf"));
	return 0;
}

int kat_password(struct kat_run *run)
{
	_cleanup_(secret_release) struct secret prepared = SECRET_INIT;
	_cleanup_(password_keys_release) struct password_keys keys;
	const json_t *key = kat_value(run, "account_key");
	struct kdf kdf;
	int rc;

	password_keys_init(&keys);
	rc = password_prepare(text_of(kat_value(run, "password_text")), &prepared, NULL);
	if (rc == 0) {
		rc = kdf_decode_floor(kat_bytes(run, "kdf"),
			(uint32_t)kat_number_max(run, "floor", UINT32_MAX), &kdf, NULL);
	}
	if (rc == 0) {
		rc = password_derive(secret_bytes(&prepared), text_of(kat_value(run, "user_text")),
			&kdf, json_is_null(key) ? bytes_of(NULL, 0) : kat_hex(run, key), &keys,
			NULL);
	}
	if (rc == 0) {
		kat_put_bytes(run, "P", secret_bytes(&prepared));
		kat_put_bytes(run, "T_L", secret_bytes(&keys.login));
		kat_put_bytes(run, "T_K", secret_bytes(&keys.keyring));
		kat_put_bytes(run, "R", secret_bytes(&keys.root));
		kat_put_bytes(run, "P_srp", secret_bytes(&keys.srp));
		put_kek(run, secret_bytes(&keys.root));
	}
	return rc;
}

/* --- filter ---------------------------------------------------------------------------------- */

static void lower(struct bytes word, struct buf *ret)
{
	buf_clear(ret);
	buf_append_bytes(ret, word);
	for (size_t i = 0; i < ret->len; i++) {
		if (ret->data[i] >= 'A' && ret->data[i] <= 'Z') {
			ret->data[i] = (uint8_t)(ret->data[i] + ('a' - 'A'));
		}
	}
}

/* A filter of the list, as the generator makes one; the lists of the vectors are in NFC and hold a
 * repeat. */
static void build(const json_t *list, struct buf *ret_file)
{
	_cleanup_(buf_release) struct buf ranked = BUF_INIT, word = BUF_INIT;
	json_t *seen = json_object();
	uint32_t indexes[BLOOM_HASHES];
	uint8_t *bits;
	const json_t *one;
	size_t i;

	buf_put_str(ret_file, "KBF1");
	buf_put_u8(ret_file, 1);
	buf_put_u8(ret_file, BLOOM_HASHES);
	buf_put_u16(ret_file, 0);
	buf_put_u32(ret_file, BLOOM_BITS);
	buf_put_zeros(ret_file, BLOOM_BYTES - 12);
	bits = ret_file->data + BLOOM_HEADER_BYTES;
	json_array_foreach(list, i, one)
	{
		lower(text_of(one), &word);
		if (json_object_get(seen, buf_str(&word)) != NULL) {
			continue;
		}
		(void)json_object_set_new(seen, buf_str(&word), json_true());
		buf_append_bytes(&ranked, buf_bytes(&word));
		buf_put_u8(&ranked, '\n');
		bloom_indexes(buf_bytes(&word), indexes);
		for (size_t k = 0; k < BLOOM_HASHES; k++) {
			bits[indexes[k] >> 3] |= (uint8_t)(1U << (indexes[k] & 7));
		}
	}
	store_u32(ret_file->data + 12, (uint32_t)json_object_size(seen));
	hash_sha256(buf_bytes(&ranked), ret_file->data + 16);
	json_decref(seen);
}

static void load(struct kat_run *run, struct buf *file, struct bloom *ret_bloom)
{
	int rc;

	build(kat_value(run, "list_text"), file);
	rc = bloom_parse(buf_bytes(file), ret_bloom, NULL);
	assert(rc == 0);
	(void)rc;
}

int kat_bloom(struct kat_run *run)
{
	_cleanup_(buf_release) struct buf file = BUF_INIT;
	json_t *all = json_array(), *member = json_array();
	uint8_t hash[HASH_BYTES];
	struct bloom bloom;
	const json_t *probe;
	size_t i;

	load(run, &file, &bloom);
	hash_sha256(buf_bytes(&file), hash);
	kat_put_bytes(run, "header", bytes_of(file.data, BLOOM_HEADER_BYTES));
	kat_put_bytes(run, "filter_sha256", bytes_of(hash, sizeof hash));
	json_array_foreach(kat_value(run, "probes_text"), i, probe)
	{
		uint32_t indexes[BLOOM_HASHES];
		json_t *row = json_array();

		bloom_indexes(text_of(probe), indexes);
		for (size_t k = 0; k < BLOOM_HASHES; k++) {
			(void)json_array_append_new(row, json_integer(indexes[k]));
		}
		(void)json_array_append_new(all, row);
		(void)json_array_append_new(
			member, json_integer(bloom_has(&bloom, text_of(probe))));
	}
	kat_put(run, "indexes", all);
	kat_put(run, "member", member);
	return 0;
}

static json_t *questions_json(struct bytes prepared)
{
	struct secret questions[BLOOM_QUESTIONS] = {SECRET_INIT, SECRET_INIT, SECRET_INIT};
	json_t *asked = json_array();

	bloom_questions(prepared, questions);
	for (size_t i = 0; i < BLOOM_QUESTIONS; i++) {
		if (questions[i].len > 0) {
			(void)json_array_append_new(asked,
				json_stringn((const char *)questions[i].data, questions[i].len));
		}
		secret_release(&questions[i]);
	}
	return asked;
}

int kat_password_check(struct kat_run *run)
{
	_cleanup_(buf_release) struct buf file = BUF_INIT;
	json_t *asked = json_array(), *refused = json_array();
	struct bloom bloom;
	const json_t *one;
	size_t i;

	load(run, &file, &bloom);
	json_array_foreach(kat_value(run, "passwords_text"), i, one)
	{
		_cleanup_(secret_release) struct secret prepared = SECRET_INIT;
		int rc = password_prepare(text_of(one), &prepared, NULL);

		assert(rc == 0);
		(void)rc;
		(void)json_array_append_new(asked, questions_json(secret_bytes(&prepared)));
		(void)json_array_append_new(
			refused, json_integer(bloom_refuses(&bloom, secret_bytes(&prepared))));
	}
	kat_put(run, "asked_text", asked);
	kat_put(run, "refused", refused);
	return 0;
}
