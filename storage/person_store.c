#include "storage/person_store.h"

#include <assert.h>
#include <string.h>

#include "storage/row.h"

static struct row_key name_key(const char *name)
{
	struct row_key key = row_key_begin(KEY_PERSON_NAME);

	row_key_put_tail(&key, bytes_str(name));
	return key;
}

void person_name_row_encode(const struct person_name_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u8(to, row->gone);
	buf_append(to, row->user_id, 16);
}

int person_name_row_decode(
	struct bytes key, struct bytes value, struct person_name_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_PERSON_NAME), w = row_wire(value);
	struct bytes name = wire_rest(&k);
	struct person_name_row row = {.name = ""};
	int rc;

	if (name.len == 0 || name.len > ACCOUNT_NAME_BYTES_MAX ||
		memchr(name.data, 0, name.len) != NULL) {
		wire_fail(&k);
	} else {
		memcpy(row.name, name.data, name.len);
	}
	row.gone = row_bool(&w);
	wire_copy(&w, row.user_id, 16);
	rc = row_end(&k, &w, KEY_PERSON_NAME, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int person_name_store_get(const struct kv_view *view, const char *name,
	struct person_name_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = name_key(name);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? person_name_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e)
		       : rc;
}

static int name_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return person_name_row_decode(key, value, to, e);
}

int person_name_store_list(const struct kv_view *view, const char *after,
	struct person_name_row *ret_rows, size_t max, size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = row_key_begin(KEY_PERSON_NAME),
		.after = bytes_str(after),
		.max = max,
		.decode = name_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

void person_name_store_put(struct txn *txn, const struct person_name_row *row)
{
	struct row_key key = name_key(row->name);
	struct buf value = BUF_INIT;

	person_name_row_encode(row, &value);
	row_put(txn, &key, &value);
}

static struct row_key person_key(const uint8_t user_id[16])
{
	struct row_key key = row_key_begin(KEY_PERSON);

	row_key_put_id(&key, user_id);
	return key;
}

void person_row_encode(const struct person_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->credential);
	buf_put_u64(to, row->changed_ms);
	buf_put_u8(to, row->group);
	buf_append(to, row->salt, sizeof row->salt);
	buf_append(to, row->kdf, sizeof row->kdf);
	buf_put_u8(to, row->pepper_id);
	buf_put_lp16(to, bytes_of(row->verifier, row->verifier_bytes));
	buf_append(to, row->recovery_key, sizeof row->recovery_key);
	buf_put_u32(to, row->policy);
	buf_put_u64(to, row->recovered_until_ms);
	buf_put_u64(to, row->keyring_revision);
	buf_append(to, row->keyring_hash, sizeof row->keyring_hash);
	buf_put_u32(to, row->vaults_max);
	buf_put_u32(to, row->pages_max);
	buf_put_u64(to, row->bytes_max);
	buf_put_u64(to, row->all_pages_max);
}

static void person_take_verifier(struct wire *w, struct person_row *row)
{
	struct bytes verifier = wire_lp16(w, VERIFIER_SEALED_BYTES_MAX);

	row->verifier_bytes = (uint16_t)verifier.len;
	if (verifier.len > 0) {
		memcpy(row->verifier, verifier.data, verifier.len);
	}
}

int person_row_decode(
	struct bytes key, struct bytes value, struct person_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_PERSON), w = row_wire(value);
	struct person_row row = {0};
	int rc;

	wire_copy(&k, row.user_id, 16);
	row.credential = wire_u64(&w);
	row.changed_ms = wire_u64(&w);
	row.group = wire_u8(&w);
	wire_copy(&w, row.salt, sizeof row.salt);
	wire_copy(&w, row.kdf, sizeof row.kdf);
	row.pepper_id = wire_u8(&w);
	person_take_verifier(&w, &row);
	wire_copy(&w, row.recovery_key, sizeof row.recovery_key);
	row.policy = wire_u32(&w);
	row.recovered_until_ms = wire_u64(&w);
	row.keyring_revision = wire_u64(&w);
	wire_copy(&w, row.keyring_hash, sizeof row.keyring_hash);
	row.vaults_max = wire_u32(&w);
	row.pages_max = wire_u32(&w);
	row.bytes_max = wire_u64(&w);
	row.all_pages_max = wire_u64(&w);
	if (srp_group_bytes(row.group) == 0 || row.credential == 0) {
		wire_fail(&w);
	}
	rc = row_end(&k, &w, KEY_PERSON, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int person_store_get(const struct kv_view *view, const uint8_t user_id[16],
	struct person_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = person_key(user_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? person_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

void person_store_put(struct txn *txn, const struct person_row *row)
{
	struct row_key key = person_key(row->user_id);
	struct buf value = BUF_INIT;

	assert(row->verifier_bytes <= VERIFIER_SEALED_BYTES_MAX);
	person_row_encode(row, &value);
	row_put(txn, &key, &value);
}

void person_store_delete(struct txn *txn, const uint8_t user_id[16])
{
	struct row_key key = person_key(user_id);

	row_delete(txn, &key);
}

static struct row_key unlock_prefix(const uint8_t user_id[16])
{
	struct row_key key = row_key_begin(KEY_UNLOCK);

	row_key_put_id(&key, user_id);
	return key;
}

static struct row_key unlock_key(const uint8_t user_id[16], const uint8_t slot_id[16])
{
	struct row_key key = unlock_prefix(user_id);

	row_key_put_id(&key, slot_id);
	return key;
}

void unlock_row_encode(const struct unlock_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u8(to, row->pepper_id);
	buf_append(to, row->share, sizeof row->share);
}

int unlock_row_decode(
	struct bytes key, struct bytes value, struct unlock_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_UNLOCK), w = row_wire(value);
	struct unlock_row row;
	int rc;

	wire_copy(&k, row.user_id, 16);
	wire_copy(&k, row.slot_id, 16);
	row.pepper_id = wire_u8(&w);
	wire_copy(&w, row.share, sizeof row.share);
	rc = row_end(&k, &w, KEY_UNLOCK, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int unlock_store_get(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t slot_id[16], struct unlock_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = unlock_key(user_id, slot_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? unlock_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

static int unlock_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return unlock_row_decode(key, value, to, e);
}

int unlock_store_list(const struct kv_view *view, const uint8_t user_id[16],
	struct unlock_row ret_rows[UNLOCK_SHARES_MAX], size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = unlock_prefix(user_id),
		.max = UNLOCK_SHARES_MAX,
		.decode = unlock_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

void unlock_store_put(struct txn *txn, const struct unlock_row *row)
{
	struct row_key key = unlock_key(row->user_id, row->slot_id);
	struct buf value = BUF_INIT;

	unlock_row_encode(row, &value);
	row_put(txn, &key, &value);
}

void unlock_store_delete(struct txn *txn, const uint8_t user_id[16], const uint8_t slot_id[16])
{
	struct row_key key = unlock_key(user_id, slot_id);

	row_delete(txn, &key);
}

void samples_row_encode(const struct samples_row *row, struct buf *to)
{
	assert(row->n <= SRP_SAMPLE_MAX);
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u8(to, row->n);
	for (unsigned i = 0; i < row->n; i++) {
		buf_put_u32(to, row->sample[i].login_count);
		buf_put_u8(to, row->sample[i].group);
		buf_put_u16(to, row->sample[i].flags);
	}
}

int samples_row_decode(struct bytes value, struct samples_row *ret_row, struct err *e)
{
	struct wire w = row_wire(value);
	struct samples_row row = {.n = wire_u8(&w)};
	int rc;

	if (row.n > SRP_SAMPLE_MAX) {
		wire_fail(&w);
	}
	for (unsigned i = 0; wire_ok(&w) && i < row.n; i++) {
		row.sample[i].login_count = wire_u32(&w);
		row.sample[i].group = wire_u8(&w);
		row.sample[i].flags = wire_u16(&w);
	}
	rc = row_end(NULL, &w, KEY_SAMPLES, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int samples_store_get(const struct kv_view *view, struct samples_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_SAMPLES);
	int rc = row_get(view, &key, &value, e);

	if (rc == KLUIS_ENOTFOUND) {
		*ret_row = (struct samples_row){0};
		return 0;
	}
	return rc == 0 ? samples_row_decode(buf_bytes(&value), ret_row, e) : rc;
}

void samples_store_put(struct txn *txn, const struct samples_row *row)
{
	struct row_key key = row_key_begin(KEY_SAMPLES);
	struct buf value = BUF_INIT;

	samples_row_encode(row, &value);
	row_put(txn, &key, &value);
}
