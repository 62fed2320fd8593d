/* A person's own identity chain in her profile: verified from genesis, and held against what was
 * seen of it. */
#include <string.h>

#include "base/wire.h"
#include "cli/client/person.h"

bool person_device_active(const struct profile *profile)
{
	const struct identity_device *device =
		identity_device(&profile->identity, profile->device_id);

	return device != NULL && !device->revoked;
}

int person_parse_chain(struct profile *profile, struct bytes payload, struct err *e)
{
	struct wire w = wire_of(payload);

	identity_release(&profile->identity);
	identity_init(&profile->identity);
	while (wire_ok(&w) && w.left.len > 0) {
		int rc = identity_append(&profile->identity, wire_lp32(&w, STATEMENT_BYTES_MAX), e);

		if (rc != 0) {
			return err_wrap(e, rc, "identity");
		}
	}
	if (!wire_end(&w) || profile->identity.seq == 0 ||
		memcmp(profile->identity.user_id, profile->user_id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_ECORRUPT, "identity: malformed, or of another user");
	}
	buf_clear(&profile->person->chain);
	buf_append_bytes(&profile->person->chain, payload);
	return 0;
}

/* The hash of the nth statement, from 1; false when there are fewer. */
static bool chain_hash(struct bytes chain, uint64_t seq, uint8_t ret_hash[HASH_BYTES])
{
	struct wire w = wire_of(chain);
	struct statement statement;

	for (uint64_t at = 1; wire_ok(&w) && w.left.len > 0; at++) {
		struct bytes encoded = wire_lp32(&w, STATEMENT_BYTES_MAX);

		if (at == seq && statement_parse(CHAIN_IDENTITY, encoded, &statement, NULL) == 0) {
			memcpy(ret_hash, statement.hash, HASH_BYTES);
			return true;
		}
	}
	return false;
}

/* Whether a verified chain goes through what another device of hers has seen of it. */
static int chain_passes(
	const struct identity *identity, struct bytes chain, struct bytes pin, struct err *e)
{
	uint8_t genesis[HASH_BYTES], head[HASH_BYTES], at[HASH_BYTES];
	struct wire w = wire_of(pin);
	uint64_t seq;

	wire_copy(&w, genesis, HASH_BYTES);
	wire_copy(&w, head, HASH_BYTES);
	seq = wire_u64(&w);
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_ECORRUPT, "the pin of your identity is malformed");
	}
	if (memcmp(genesis, identity->genesis_hash, HASH_BYTES) == 0 &&
		chain_hash(chain, seq, at) && memcmp(head, at, HASH_BYTES) == 0) {
		return 0;
	}
	return err_set(e, KLUIS_EPIN,
		"the cluster shows an identity chain of yours that lacks what another device of "
		"yours "
		"has seen (statement %llu): a device that was revoked may be hidden",
		(unsigned long long)seq);
}

int person_check_chain(const struct profile *profile, struct bytes pin, struct err *e)
{
	return chain_passes(&profile->identity, buf_bytes(&profile->person->chain), pin, e);
}

/* By the pin in the keyring, once that is open. */
static int chain_check_ring(const struct profile *profile, const struct identity *identity,
	struct bytes chain, struct err *e)
{
	struct ring *ring = profile->person->ring;
	_cleanup_(secret_release) struct secret pin = SECRET_INIT;
	struct err why = {0};
	int rc;

	if (ring == NULL || person_is_restored(profile)) {
		return 0;
	}
	rc = ring->get(ring, KEYRING_CONTACT_PIN, profile->user_id, 0, &pin, &why);
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : err_set(e, rc, "%s", why.text);
	}
	return chain_passes(identity, chain, secret_bytes(&pin), e);
}

static int chain_verify(const struct profile *profile, const struct bytes *statements, size_t n,
	struct identity *identity, struct buf *chain, struct err *e)
{
	const struct identity *known = &profile->identity;
	const struct bytes known_chain = buf_bytes(&profile->person->chain);
	bool passed = known->seq == 0;
	struct err why = {0};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = identity_append(identity, statements[i], &why);
		buf_put_lp32(chain, statements[i]);
		passed = passed ||
			 (rc == 0 && identity->seq == known->seq &&
				 memcmp(identity->head_hash, known->head_hash, HASH_BYTES) == 0);
	}
	if (rc != 0) {
		return err_set(e, rc == KLUIS_EINVAL ? KLUIS_EVERIFY : rc,
			"your identity chain: %s", why.text);
	}
	if (memcmp(identity->user_id, profile->user_id, ID_BYTES) != 0 ||
		strcmp(identity->name, profile->account) != 0) {
		return err_set(e, KLUIS_EVERIFY, "the cluster sent the identity of another user");
	}
	/* A restored cluster may have an earlier part of it, but no other. */
	if (!passed && person_is_restored(profile) && chain->len <= known_chain.len &&
		memcmp(chain->data, known_chain.data, chain->len) == 0) {
		return 0;
	}
	if (!passed) {
		return err_set(e, KLUIS_EPIN,
			"the cluster shows another identity chain than this profile has seen");
	}
	return chain_check_ring(profile, identity, buf_bytes(chain), e);
}

int person_take_chain(
	struct profile *profile, const struct bytes *statements, size_t n, struct err *e)
{
	_cleanup_(buf_release) struct buf chain = BUF_INIT;
	struct identity identity;
	int rc;

	identity_init(&identity);
	rc = n == 0 ? err_set(e, KLUIS_EVERIFY, "the cluster sent no identity")
		    : chain_verify(profile, statements, n, &identity, &chain, e);
	if (rc != 0) {
		identity_release(&identity);
		return rc;
	}
	identity_release(&profile->identity);
	profile->identity = identity;
	buf_release(&profile->person->chain);
	profile->person->chain = chain;
	chain = BUF_INIT;
	profile->enrolled = person_device_active(profile);
	return 0;
}
