#include "crypto/identity.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"

/* The order of identity->transfer. */
static const unsigned identity_kems[IDENTITY_TRANSFER_MAX] = {
	KEY_KEM_P256, KEY_KEM_P384, KEY_KEM_X25519, KEY_KEM_RSA};

/* What one statement would change, complete and checked before anything is. Owned until
 * identity_take(). */
struct identity_change {
	struct key_pub *signing;  /* Genesis, rotation. */
	struct key_pub *transfer; /* Genesis, add. */
	size_t transfer_at;	  /* Of add and revoke. */
	struct identity_device device;
	struct identity_device *revoked; /* Of revocation, and of its parts. */
	unsigned part;
	uint32_t policy;
	char name[IDENTITY_NAME_BYTES_MAX + 1];
};

static void identity_device_release(struct identity_device *device)
{
	key_pub_free(device->sign);
	key_pub_free(device->hpke);
	free(device->rows);
}

static void identity_change_release(struct identity_change *change)
{
	key_pub_free(change->signing);
	key_pub_free(change->transfer);
	identity_device_release(&change->device);
}

int revoke_row_compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct revoke_row));
}

bool revoke_rows_have(const struct revoke_row *rows, size_t count,
	const uint8_t object_id[ID_BYTES], const uint8_t hash[HASH_BYTES])
{
	struct revoke_row row;

	memcpy(row.object_id, object_id, ID_BYTES);
	memcpy(row.hash, hash, HASH_BYTES);
	return count > 0 && bsearch(&row, rows, count, sizeof row, revoke_row_compare) != NULL;
}

void identity_init(struct identity *identity)
{
	*identity = (struct identity){.seq = 0};
}

void identity_release(struct identity *identity)
{
	key_pub_free(identity->signing);
	for (size_t i = 0; i < IDENTITY_TRANSFER_MAX; i++) {
		key_pub_free(identity->transfer[i]);
	}
	for (size_t i = 0; i < identity->device_count; i++) {
		identity_device_release(&identity->devices[i]);
	}
	free(identity->devices);
	free(identity->revoked_keys);
	free(identity->parts.rows);
	identity_init(identity);
}

bool identity_name_valid(struct bytes name)
{
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

		if (!letter && (c == 0 || strchr("._@+-", c) == NULL)) {
			return false;
		}
	}
	return name.len >= 1 && name.len <= IDENTITY_NAME_BYTES_MAX;
}

const struct identity_device *identity_device(
	const struct identity *identity, const uint8_t device_id[ID_BYTES])
{
	for (size_t i = 0; i < identity->device_count; i++) {
		if (memcmp(identity->devices[i].device_id, device_id, ID_BYTES) == 0) {
			return &identity->devices[i];
		}
	}
	return NULL;
}

const struct identity_device *identity_device_by_kid(
	const struct identity *identity, const uint8_t kid[KID_BYTES])
{
	for (size_t i = 0; i < identity->device_count; i++) {
		if (memcmp(key_pub_kid(identity->devices[i].sign), kid, KID_BYTES) == 0) {
			return &identity->devices[i];
		}
	}
	return NULL;
}

const struct key_pub *identity_transfer(const struct identity *identity, unsigned kem)
{
	for (size_t i = 0; i < IDENTITY_TRANSFER_MAX; i++) {
		if (identity_kems[i] == kem) {
			return identity->transfer[i];
		}
	}
	return NULL;
}

bool identity_key_revoked(const struct identity *identity, const uint8_t kid[KID_BYTES])
{
	for (size_t i = 0; i < identity->revoked_key_count; i++) {
		if (memcmp(identity->revoked_keys[i], kid, KID_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

/* u16 kem | lp16 pub: of genesis (EC alone) and of add. */
static int identity_read_transfer(const struct identity *identity, struct wire *w, bool genesis,
	struct identity_change *change, struct err *e)
{
	unsigned kem = wire_u16(w);
	struct bytes pub = wire_lp16(w, KEY_PUB_BYTES_MAX);
	int rc;

	if (!wire_end(w)) {
		return err_set(e, KLUIS_EINVAL, "identity: malformed transfer key");
	}
	while (change->transfer_at < IDENTITY_TRANSFER_MAX &&
		identity_kems[change->transfer_at] != kem) {
		change->transfer_at++;
	}
	if (change->transfer_at == IDENTITY_TRANSFER_MAX || (genesis && kem == KEY_KEM_RSA)) {
		return err_set(e, KLUIS_ESUITE, "identity: kem %u is not allowed", kem);
	}
	rc = key_pub_decode(kem, pub, &change->transfer, e);
	if (rc == 0 && identity_key_revoked(identity, key_pub_kid(change->transfer))) {
		return err_set(e, KLUIS_EINVAL, "identity: a revoked key comes back");
	}
	return rc;
}

static int identity_read_genesis(const struct identity *identity, const struct statement *s,
	struct identity_change *change, struct err *e)
{
	struct wire w = wire_of(s->body);
	struct bytes name = wire_lp16(&w, IDENTITY_NAME_BYTES_MAX);
	struct bytes signing = wire_lp16(&w, KEY_PUB_BYTES_MAX);
	int rc;

	if (!wire_ok(&w) || !identity_name_valid(name)) {
		return err_set(e, KLUIS_EINVAL, "identity: malformed genesis");
	}
	rc = key_pub_decode(KEY_RSA_PSS, signing, &change->signing, e);
	if (rc != 0) {
		return rc;
	}
	memcpy(change->name, name.data, name.len); /* change is zeroed: NUL follows. */
	return identity_read_transfer(identity, &w, true, change, e);
}

static int identity_read_add(const struct identity *identity, const struct statement *s,
	struct identity_change *change, struct err *e)
{
	struct wire w = wire_of(s->body);

	return identity_read_transfer(identity, &w, false, change, e);
}

static int identity_read_revoke(const struct identity *identity, const struct statement *s,
	struct identity_change *change, struct err *e)
{
	if (s->body.len != KID_BYTES) {
		return err_set(e, KLUIS_EINVAL, "identity: malformed revocation");
	}
	if (identity->revoked_key_count >= IDENTITY_REVOKED_KEYS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "identity: too many revoked keys");
	}
	for (size_t i = 0; i < IDENTITY_TRANSFER_MAX; i++) {
		const struct key_pub *pub = identity->transfer[i];

		if (pub != NULL && memcmp(key_pub_kid(pub), s->body.data, KID_BYTES) == 0) {
			change->transfer_at = i;
			return 0;
		}
	}
	return err_set(e, KLUIS_EINVAL, "identity: no such transfer key");
}

static int identity_read_device(const struct identity *identity, const struct statement *s,
	struct identity_change *change, struct err *e)
{
	struct wire w = wire_of(s->body);
	struct identity_device *device = &change->device;
	struct bytes sign, hpke, name;
	int rc;

	wire_copy(&w, device->device_id, ID_BYTES);
	sign = wire_lp16(&w, KEY_PUB_BYTES_MAX);
	hpke = wire_lp16(&w, KEY_PUB_BYTES_MAX);
	name = wire_lp16(&w, IDENTITY_DEVICE_NAME_BYTES_MAX);
	if (!wire_end(&w) || !text_printable(name)) {
		return err_set(e, KLUIS_EINVAL, "identity: malformed device");
	}
	if (identity->device_count >= IDENTITY_DEVICES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "identity: too many devices");
	}
	if (identity_device(identity, device->device_id) != NULL) {
		return err_set(e, KLUIS_EINVAL, "identity: a device id is used twice");
	}
	rc = key_pub_decode(KEY_ECDSA_P256, sign, &device->sign, e);
	if (rc == 0) {
		rc = key_pub_decode(key_kem_of_length(hpke.len), hpke, &device->hpke, e);
	}
	if (name.len > 0) {
		memcpy(device->name, name.data, name.len);
	}
	return rc;
}

static int identity_read_rows(struct wire *w, struct identity_device *ret_device, struct err *e)
{
	size_t count = wire_u16(w);

	if (!wire_ok(w) || w->left.len != count * sizeof(struct revoke_row)) {
		return err_set(e, KLUIS_EINVAL, "identity: malformed device revocation");
	}
	if (count > IDENTITY_REVOKE_ROWS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "identity: too many rows in a revocation");
	}
	ret_device->rows = x_calloc(count + 1, sizeof *ret_device->rows);
	ret_device->row_count = count;
	for (size_t i = 0; i < count; i++) {
		struct revoke_row *row = &ret_device->rows[i];

		wire_copy(w, row, sizeof *row);
		if (i > 0 && memcmp(row - 1, row, sizeof *row) >= 0) {
			return err_set(e, KLUIS_EINVAL, "identity: rows do not ascend");
		}
	}
	return 0;
}

static int identity_read_revoked(const struct identity *identity, struct wire *w,
	struct identity_change *change, struct err *e)
{
	uint8_t device_id[ID_BYTES];
	const struct identity_device *device;

	static_assert(sizeof(struct revoke_row) == ID_BYTES + HASH_BYTES, "rows as on the wire");
	wire_copy(w, device_id, ID_BYTES);
	device = wire_ok(w) ? identity_device(identity, device_id) : NULL;
	if (device == NULL || device->revoked) {
		return err_set(e, KLUIS_EINVAL, "identity: no such device to revoke");
	}
	change->revoked = &identity->devices[device - identity->devices];
	return 0;
}

static int identity_read_device_revoke(const struct identity *identity, const struct statement *s,
	struct identity_change *change, struct err *e)
{
	struct wire w = wire_of(s->body);
	int rc = identity_read_revoked(identity, &w, change, e);

	return rc != 0 ? rc : identity_read_rows(&w, &change->device, e);
}

/* The number of the last part of this device's revocation; 0: there is none. */
static unsigned identity_part(const struct identity *identity, const struct identity_device *device)
{
	return memcmp(identity->parts.device_id, device->device_id, ID_BYTES) == 0
		       ? identity->parts.number
		       : 0;
}

static int identity_read_device_vouch(const struct identity *identity, const struct statement *s,
	struct identity_change *change, struct err *e)
{
	struct wire w = wire_of(s->body);
	int rc = identity_read_revoked(identity, &w, change, e);

	if (rc != 0) {
		return rc;
	}
	change->part = wire_u16(&w);
	if (change->part > IDENTITY_REVOKE_PARTS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "identity: too many parts of a revocation");
	}
	if (change->part != 1 && change->part != identity_part(identity, change->revoked) + 1) {
		return err_set(e, KLUIS_EINVAL, "identity: not the next part of a revocation");
	}
	return identity_read_rows(&w, &change->device, e);
}

static void identity_rotate_message(
	const struct identity *identity, struct bytes fresh, uint8_t ret_message[HASH_BYTES])
{
	uint8_t seq[8];

	store_u64(seq, identity->seq + 1);
	HASH_TH(ret_message, "kluis/v1/ident-rotate", bytes_of(identity->user_id, ID_BYTES),
		bytes_of(seq, sizeof seq), bytes_of(identity->head_hash, HASH_BYTES), fresh);
}

static int identity_read_rotate(const struct identity *identity, const struct statement *s,
	struct identity_change *change, struct err *e)
{
	struct wire w = wire_of(s->body);
	struct bytes fresh = wire_lp16(&w, KEY_PUB_BYTES_MAX);
	struct bytes signature = wire_lp16(&w, SIGN_BYTES_MAX);
	uint8_t message[HASH_BYTES];
	int rc;

	if (!wire_end(&w)) {
		return err_set(e, KLUIS_EINVAL, "identity: malformed rotation");
	}
	rc = key_pub_decode(KEY_RSA_PSS, fresh, &change->signing, e);
	if (rc != 0) {
		return rc;
	}
	identity_rotate_message(identity, fresh, message);
	return sign_verify(change->signing, bytes_of(message, HASH_BYTES), signature, e);
}

static int identity_read_policy(const struct identity *identity, const struct statement *s,
	struct identity_change *change, struct err *e)
{
	struct wire w = wire_of(s->body);

	(void)identity;
	change->policy = wire_u32(&w);
	if (!wire_end(&w) || (change->policy & ~(uint32_t)(IDENTITY_POLICY_NO_WEB |
							   IDENTITY_POLICY_DEVICE_SIG)) != 0) {
		return err_set(e, KLUIS_EINVAL, "identity: malformed policy");
	}
	return 0;
}

typedef int identity_read_fn(const struct identity *identity, const struct statement *s,
	struct identity_change *change, struct err *e);
static identity_read_fn *const identity_readers[] = {
	[IDENTITY_GENESIS] = identity_read_genesis,
	[IDENTITY_TRANSFER_ADD] = identity_read_add,
	[IDENTITY_TRANSFER_REVOKE] = identity_read_revoke,
	[IDENTITY_DEVICE_ADD] = identity_read_device,
	[IDENTITY_DEVICE_REVOKE] = identity_read_device_revoke,
	[IDENTITY_ROTATE] = identity_read_rotate,
	[IDENTITY_POLICY] = identity_read_policy,
	[IDENTITY_DEVICE_VOUCH] = identity_read_device_vouch,
};

static void identity_set_key(struct key_pub **slot, struct key_pub **taken)
{
	key_pub_free(*slot);
	*slot = *taken;
	*taken = NULL;
}

static void identity_take_revoked_key(struct identity *identity, size_t at)
{
	size_t count = identity->revoked_key_count;

	identity->revoked_keys =
		x_realloc(identity->revoked_keys, (count + 1) * sizeof *identity->revoked_keys);
	memcpy(identity->revoked_keys[count], key_pub_kid(identity->transfer[at]), KID_BYTES);
	identity->revoked_key_count++;
	key_pub_free(identity->transfer[at]);
	identity->transfer[at] = NULL;
}

static void identity_take_device(struct identity *identity, struct identity_device *device)
{
	identity->devices = x_realloc(
		identity->devices, (identity->device_count + 1) * sizeof *identity->devices);
	identity->devices[identity->device_count++] = *device;
	*device = (struct identity_device){.sign = NULL};
}

static void identity_drop_parts(struct identity *identity)
{
	free(identity->parts.rows);
	identity->parts = (struct identity_parts){.number = 0};
}

/* Behind those that are there. */
static void identity_add_rows(
	struct revoke_row **rows, size_t *count, const struct revoke_row *more, size_t more_count)
{
	if (more_count > 0) {
		*rows = x_realloc(*rows, (*count + more_count) * sizeof **rows);
		memcpy(*rows + *count, more, more_count * sizeof **rows);
		*count += more_count;
	}
}

static void identity_take_device_vouch(
	struct identity *identity, const struct identity_change *change)
{
	struct identity_parts *parts = &identity->parts;

	if (change->part == 1) {
		identity_drop_parts(identity);
	}
	memcpy(parts->device_id, change->revoked->device_id, ID_BYTES);
	parts->number = change->part;
	identity_add_rows(
		&parts->rows, &parts->row_count, change->device.rows, change->device.row_count);
}

static void identity_take_device_revoke(struct identity *identity, struct identity_change *change)
{
	const struct identity_parts *parts = &identity->parts;
	struct identity_device *device = change->revoked;

	device->revoked = true;
	device->rows = change->device.rows;
	device->row_count = change->device.row_count;
	change->device.rows = NULL;
	if (identity_part(identity, device) > 0) {
		identity_add_rows(&device->rows, &device->row_count, parts->rows, parts->row_count);
		qsort(device->rows, device->row_count, sizeof *device->rows, revoke_row_compare);
	}
}

/* Cannot fail: all was checked. */
static void identity_take(
	struct identity *identity, const struct statement *s, struct identity_change *change)
{
	switch (s->type) {
	case IDENTITY_GENESIS:
		memcpy(identity->user_id, s->object_id, ID_BYTES);
		memcpy(identity->name, change->name, sizeof identity->name);
		memcpy(identity->genesis_hash, s->hash, HASH_BYTES);
		identity_set_key(&identity->signing, &change->signing);
		identity->signing_seq = s->seq;
		identity_set_key(&identity->transfer[change->transfer_at], &change->transfer);
		break;
	case IDENTITY_TRANSFER_ADD:
		identity_set_key(&identity->transfer[change->transfer_at], &change->transfer);
		break;
	case IDENTITY_TRANSFER_REVOKE:
		identity_take_revoked_key(identity, change->transfer_at);
		break;
	case IDENTITY_DEVICE_ADD:
		identity_take_device(identity, &change->device);
		break;
	case IDENTITY_DEVICE_REVOKE:
		identity_take_device_revoke(identity, change);
		identity->revoked_seq = s->seq;
		break;
	case IDENTITY_DEVICE_VOUCH:
		identity_take_device_vouch(identity, change);
		break;
	case IDENTITY_ROTATE:
		identity_set_key(&identity->signing, &change->signing);
		identity->signing_seq = s->seq;
		break;
	default:
		assert(s->type == IDENTITY_POLICY);
		identity->policy = change->policy;
	}
	if (s->type != IDENTITY_DEVICE_VOUCH) {
		identity_drop_parts(identity);
	}
	identity->seq = s->seq;
	memcpy(identity->head_hash, s->hash, HASH_BYTES);
}

int identity_append(struct identity *identity, struct bytes encoded, struct err *e)
{
	_cleanup_(identity_change_release) struct identity_change change = {.signing = NULL};
	struct statement s;
	int rc = statement_parse(CHAIN_IDENTITY, encoded, &s, e);

	if (rc == 0) {
		rc = statement_follows(&s, IDENTITY_DEVICE_VOUCH, identity->seq,
			identity->head_hash, identity->user_id, e);
	}
	/* A genesis must be read before its signature can be checked: the key stands inside. Of all
	 * others not a byte of the body counts before. */
	if (rc == 0 && s.type != IDENTITY_GENESIS) {
		rc = statement_verify(&s, identity->signing, e);
	}
	if (rc == 0) {
		rc = identity_readers[s.type](identity, &s, &change, e);
	}
	if (rc == 0 && s.type == IDENTITY_GENESIS) {
		rc = statement_verify(&s, change.signing, e);
	}
	if (rc == 0) {
		identity_take(identity, &s, &change);
	}
	return rc;
}

int identity_verify(
	struct identity *identity, const struct bytes *encoded, size_t count, struct err *e)
{
	if (count == 0) {
		return err_set(e, KLUIS_EVERIFY, "identity: empty chain");
	}
	for (size_t i = 0; i < count; i++) {
		int rc = identity_append(identity, encoded[i], e);

		if (rc != 0) {
			return rc;
		}
	}
	return 0;
}

int identity_genesis(const uint8_t user_id[ID_BYTES], const char *name, const struct key *signing,
	const struct key_pub *transfer, uint64_t unix_ms, struct buf *ret_encoded, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct statement s = {
		.chain = CHAIN_IDENTITY, .type = IDENTITY_GENESIS, .seq = 1, .unix_ms = unix_ms};

	if (!identity_name_valid(bytes_str(name))) {
		return err_set(e, KLUIS_EINVAL, "'%.64s' is no user name", name);
	}
	buf_put_lp16(&body, bytes_str(name));
	buf_put_lp16(&body, key_pub_bytes(key_public(signing)));
	identity_body_transfer(&body, transfer);
	memcpy(s.object_id, user_id, ID_BYTES);
	s.body = buf_bytes(&body);
	return statement_sign(&s, signing, ret_encoded, e);
}

int identity_make(const struct identity *identity, unsigned type, struct bytes body,
	const struct key *signing, uint64_t unix_ms, struct buf *ret_encoded, struct err *e)
{
	struct statement s = {.chain = CHAIN_IDENTITY,
		.type = (uint8_t)type,
		.seq = identity->seq + 1,
		.unix_ms = unix_ms,
		.body = body};

	assert(identity->seq > 0 && key_pub_equal(key_public(signing), identity->signing));
	memcpy(s.object_id, identity->user_id, ID_BYTES);
	memcpy(s.prev_hash, identity->head_hash, HASH_BYTES);
	return statement_sign(&s, signing, ret_encoded, e);
}

void identity_body_device(struct buf *body, const uint8_t device_id[ID_BYTES],
	const struct key_pub *sign, const struct key_pub *hpke, const char *name)
{
	assert(key_pub_alg(sign) == KEY_ECDSA_P256 &&
		strlen(name) <= IDENTITY_DEVICE_NAME_BYTES_MAX);
	buf_append(body, device_id, ID_BYTES);
	buf_put_lp16(body, key_pub_bytes(sign));
	buf_put_lp16(body, key_pub_bytes(hpke));
	buf_put_lp16(body, bytes_str(name));
}

static void identity_put_rows(struct buf *body, const struct revoke_row *rows, size_t count)
{
	assert(count <= IDENTITY_REVOKE_ROWS_MAX);
	buf_put_u16(body, (unsigned)count);
	for (size_t i = 0; i < count; i++) {
		assert(i == 0 || memcmp(&rows[i - 1], &rows[i], sizeof rows[i]) < 0);
		buf_append(body, &rows[i], sizeof rows[i]);
	}
}

void identity_body_revoke(struct buf *body, const uint8_t device_id[ID_BYTES],
	const struct revoke_row *rows, size_t count)
{
	buf_append(body, device_id, ID_BYTES);
	identity_put_rows(body, rows, count);
}

void identity_body_vouch(struct buf *body, const uint8_t device_id[ID_BYTES], unsigned part,
	const struct revoke_row *rows, size_t count)
{
	assert(part >= 1 && part <= IDENTITY_REVOKE_PARTS_MAX);
	buf_append(body, device_id, ID_BYTES);
	buf_put_u16(body, part);
	identity_put_rows(body, rows, count);
}

void identity_body_transfer(struct buf *body, const struct key_pub *transfer)
{
	buf_put_u16(body, key_pub_alg(transfer));
	buf_put_lp16(body, key_pub_bytes(transfer));
}

int identity_body_rotate(
	struct buf *body, const struct identity *identity, const struct key *fresh, struct err *e)
{
	_cleanup_(buf_release) struct buf signature = BUF_INIT;
	struct bytes pub = key_pub_bytes(key_public(fresh));
	uint8_t message[HASH_BYTES];
	int rc;

	assert(key_pub_alg(key_public(fresh)) == KEY_RSA_PSS);
	identity_rotate_message(identity, pub, message);
	rc = sign_make(fresh, bytes_of(message, HASH_BYTES), &signature, e);
	if (rc == 0) {
		buf_put_lp16(body, pub);
		buf_put_lp16(body, buf_bytes(&signature));
	}
	return rc;
}
