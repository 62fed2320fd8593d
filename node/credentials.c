#include "node/credentials.h"

#include <assert.h>
#include <string.h>

#include "node/api_core.h"
#include "node/api_handlers.h"
#include "node/sealed.h"

void credentials_release(struct credentials *c)
{
	secret_buf_release(&c->verifier);
	buf_release(&c->keyring);
	buf_release(&c->sealed);
	secret_clear(c->share, sizeof c->share);
}

void credentials_read(struct json_in *reader, struct credentials *c)
{
	struct json_in inner;

	json_in_enter(reader, "srp", &inner);
	c->group = (unsigned)json_in_u64(&inner, "group", SRP_GROUP_2048, SRP_GROUP_6144);
	json_in_binary_exact(&inner, "salt", c->salt, sizeof c->salt);
	/* At once: no copy of it is left behind by growing. */
	buf_reserve(&c->verifier, SRP_PUBLIC_BYTES_MAX);
	json_in_binary(&inner, "verifier", SRP_PUBLIC_BYTES_MAX, &c->verifier);
	json_in_leave(reader, &inner);
	json_in_binary_exact(reader, "kdf", c->kdf, sizeof c->kdf);
	json_in_enter(reader, "recovery", &inner);
	json_in_binary_exact(&inner, "public", c->recovery_key, sizeof c->recovery_key);
	json_in_leave(reader, &inner);
	json_in_binary(reader, "keyring", KEYRING_BYTES_MAX, &c->keyring);
}

void credentials_read_share(struct json_in *reader, struct credentials *c)
{
	c->n_shares = 1;
	json_in_binary_exact(reader, "unlock_share", c->share[0].share, UNLOCK_SHARE_BYTES);
}

void credentials_read_shares(struct json_in *reader, struct credentials *c)
{
	c->n_shares = json_in_objects(reader, "unlock_shares", UNLOCK_SHARES_MAX);
	for (size_t i = 0; i < c->n_shares; i++) {
		struct json_in inner;

		json_in_enter_nth(reader, "unlock_shares", i, &inner);
		json_in_hex(&inner, "slot_id", c->share[i].slot_id, 16);
		json_in_binary_exact(&inner, "unlock_share", c->share[i].share, UNLOCK_SHARE_BYTES);
		json_in_leave(reader, &inner);
	}
}

int credentials_check(struct api_call *call, const struct credentials *c)
{
	struct kdf kdf;
	int rc = srp_check_public(c->group, buf_bytes(&c->verifier), &call->e);

	if (rc != 0) {
		return call_fail(call, rc, "'verifier' is none of this SRP group");
	}
	rc = kdf_decode(bytes_of(c->kdf, sizeof c->kdf), &kdf, &call->e);
	if (rc == KLUIS_EINVAL) {
		call->problem_limit = KDF_LOGIN_MIN;
	}
	if (rc == 0 && !kdf_usual(&kdf)) {
		rc = call_fail(call, KLUIS_EINVAL,
			"the first count is none of 0.6, 0.8, 1, 1.5, 2, 3, 5, 8 million, or the "
			"second is not twice the first");
	}
	return rc == 0 ? 0 : err_wrap(&call->e, rc, "'kdf'");
}

static int share_order(const void *a, const void *b)
{
	const struct credentials_share *one = a, *other = b;

	return memcmp(one->slot_id, other->slot_id, 16);
}

/* One share for each slot that a share opens, and no other. */
static int check_shares(
	struct api_call *call, struct credentials *c, const struct keyring_view *view)
{
	size_t n = 0;

	qsort(c->share, c->n_shares, sizeof c->share[0], share_order);
	for (size_t i = 0; i < view->n_slots; i++) {
		struct keyring_slot slot;
		struct credentials_share wanted;

		(void)keyring_view_slot(view, i, &slot);
		if (slot.type != KEYRING_SLOT_PASSWORD && slot.type != KEYRING_SLOT_PRF) {
			continue;
		}
		memcpy(wanted.slot_id, slot.slot_id, 16);
		if (bsearch(&wanted, c->share, c->n_shares, sizeof wanted, share_order) == NULL) {
			return call_fail(call, KLUIS_EINVAL, "a slot has no unlock share");
		}
		n++;
	}
	return n == c->n_shares ? 0 : call_fail(call, KLUIS_EINVAL, "an unlock share has no slot");
}

/* What every keyring that comes with credentials must be. */
static int check_keyring(
	struct api_call *call, const struct credentials *c, const struct keyring_view *view)
{
	_cleanup_(key_pub_freep) struct key_pub *key = NULL;
	struct keyring_slot slot;
	int rc;

	if (keyring_view_count(view, KEYRING_SLOT_PASSWORD) != 1 ||
		keyring_view_count(view, KEYRING_SLOT_RECOVERY) != 1) {
		return call_fail(call, KLUIS_EINVAL,
			"'keyring' has not one slot of the password and one of the recovery code");
	}
	(void)keyring_view_find(view, KEYRING_SLOT_PASSWORD, NULL, &slot);
	if (memcmp(slot.kdf, c->kdf, sizeof c->kdf) != 0) {
		return call_fail(call, KLUIS_EINVAL, "'keyring' names another KDF than 'kdf'");
	}
	rc = key_pub_decode(
		KEY_ECDSA_P256, bytes_of(c->recovery_key, sizeof c->recovery_key), &key, &call->e);
	return rc == 0 ? 0 : call_fail(call, KLUIS_EINVAL, "'recovery' is no P-256 key");
}

int credentials_check_first(struct api_call *call, struct credentials *c, const uint8_t user_id[16])
{
	static const uint8_t none[HASH_BYTES];
	struct keyring_view view;
	struct keyring_slot slot;
	int rc = keyring_parse(buf_bytes(&c->keyring), &view, &call->e);

	rc = rc != 0 ? rc : keyring_follows(&view, user_id, 0, none, &call->e);
	if (rc != 0) {
		return call_refusal(call, rc == KLUIS_EPRECONDITION ? KLUIS_EINVAL : rc, "keyring");
	}
	rc = check_keyring(call, c, &view);
	if (rc != 0) {
		return rc;
	}
	assert(c->n_shares == 1);
	(void)keyring_view_find(&view, KEYRING_SLOT_PASSWORD, NULL, &slot);
	memcpy(c->share[0].slot_id, slot.slot_id, 16);
	return check_shares(call, c, &view);
}

int credentials_check_next(
	struct api_call *call, struct credentials *c, const struct person_row *stored)
{
	struct keyring_view view;
	int rc = keyring_parse(buf_bytes(&c->keyring), &view, &call->e);

	if (rc != 0) {
		return call_refusal(call, rc, "keyring");
	}
	rc = call_keyring_follows(call, &view, stored);
	rc = rc != 0 ? rc : check_keyring(call, c, &view);
	return rc != 0 ? rc : check_shares(call, c, &view);
}

void credentials_seal(struct api_call *call, struct credentials *c, const uint8_t user_id[16],
	struct command_credentials *ret_command)
{
	const struct api_config *config = &call->api->config;
	struct sealed_place place = {.user_id = user_id, .field = "v"};
	_cleanup_(buf_release) struct buf share = BUF_INIT;

	buf_clear(&c->sealed);
	sealed_make(config->secrets, &place, buf_bytes(&c->verifier), config->random, &c->sealed);
	*ret_command = (struct command_credentials){.group = (uint8_t)c->group,
		.pepper_id = config->secrets->pepper_id,
		.verifier = buf_bytes(&c->sealed),
		.n_shares = (uint8_t)c->n_shares};
	memcpy(ret_command->salt, c->salt, sizeof c->salt);
	memcpy(ret_command->kdf, c->kdf, sizeof c->kdf);
	memcpy(ret_command->recovery_key, c->recovery_key, sizeof c->recovery_key);
	for (size_t i = 0; i < c->n_shares; i++) {
		place = (struct sealed_place){user_id, "unlock", c->share[i].slot_id};
		buf_clear(&share);
		sealed_make(config->secrets, &place,
			bytes_of(c->share[i].share, UNLOCK_SHARE_BYTES), config->random, &share);
		assert(share.len == UNLOCK_SEALED_BYTES);
		memcpy(ret_command->share[i].slot_id, c->share[i].slot_id, 16);
		memcpy(ret_command->share[i].share, share.data, UNLOCK_SEALED_BYTES);
	}
}
