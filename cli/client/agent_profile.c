/* Between an agent and the profile of a person. */
#include <string.h>

#include "cli/client/agent.h"
#include "cli/client/person.h"

enum { TAKE_KEYS = 4, TAKE_ITEMS = TAKE_KEYS + 3 };

/* What is handed over; the encodings live until it was sent. */
struct take {
	struct secret encoded[TAKE_KEYS];
	struct agent_item items[TAKE_ITEMS];
	size_t n;
};

static void take_value(struct take *take, unsigned kind, struct bytes value)
{
	if (value.len > 0) {
		take->items[take->n++] = (struct agent_item){.kind = kind, .value = value};
	}
}

/* Of the usual algorithm each; a transfer key of another curve the agent has from the keyring. */
static void take_key(struct take *take, unsigned kind, unsigned alg, const struct key *key)
{
	struct secret *encoded = &take->encoded[kind - AGENT_DEVICE_KEY];

	if (key != NULL && key_pub_alg(key_public(key)) == alg) {
		key_encode(key, encoded);
		take_value(take, kind, secret_bytes(encoded));
	}
}

int agent_take_over(struct agent *agent, const struct profile *profile, struct client *client,
	uint64_t idle_ms, struct err *e)
{
	const struct keyring *keyring = ring_local(profile->person->ring);
	struct agent_unlock unlock = {.idle_ms = idle_ms, .account = profile->account};
	struct take take = {.n = 0};
	char token[CLIENT_TOKEN_BYTES_MAX + 1];
	int rc;

	if (keyring == NULL) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "the profile is locked");
	}
	take_value(&take, AGENT_KRK, secret_bytes(&keyring->krk));
	take_key(&take, AGENT_SIGNING_KEY, KEY_RSA_PSS, profile->signing);
	take_key(&take, AGENT_TRANSFER_KEY, KEY_KEM_P256, keyring->transfer);
	memcpy(unlock.user_id, profile->user_id, ID_BYTES);
	if (profile->enrolled) {
		take_key(&take, AGENT_DEVICE_KEY, KEY_ECDSA_P256, profile->device);
		take_key(&take, AGENT_DEVICE_HPKE_KEY, KEY_KEM_P256, profile->device_hpke);
		take_value(&take, AGENT_SALT_KEY, secret_bytes(&profile->salt_key));
		memcpy(unlock.device_id, profile->device_id, ID_BYTES);
	}
	client_token(client, token);
	take_value(&take, AGENT_TOKEN, bytes_str(token));
	unlock.items = take.items;
	unlock.n_items = take.n;
	rc = agent_unlock(agent, &unlock, e);
	for (size_t i = 0; i < TAKE_KEYS; i++) {
		secret_release(&take.encoded[i]);
	}
	secret_clear(token, sizeof token);
	return rc;
}

static int attach_check(struct agent *agent, const struct profile *profile, struct err *e)
{
	static const uint8_t none[ID_BYTES];
	const uint8_t *device_id = profile->enrolled ? profile->device_id : none;
	struct agent_status status;
	int rc = agent_status(agent, &status, e);

	if (rc == KLUIS_ENOTFOUND || (rc == 0 && !status.unlocked)) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "'%s' is locked: 'kluis login'",
			profile->account);
	}
	if (rc == 0 && (memcmp(status.user_id, profile->user_id, ID_BYTES) != 0 ||
			       memcmp(status.device_id, device_id, ID_BYTES) != 0)) {
		return err_set(e, KLUIS_EUNAUTHENTICATED,
			"the agent holds the keys of another person or device: 'kluis login'");
	}
	return rc;
}

bool agent_device(struct agent *agent, struct profile *profile)
{
	if (!profile->enrolled || profile->device != NULL ||
		attach_check(agent, profile, NULL) != 0) {
		return false;
	}
	return agent_key(agent, AGENT_DEVICE_KEY, &profile->device, NULL) == 0;
}

/* Also after a failure the caller releases *held. */
static int attach_hold(
	struct agent *agent, const struct profile *profile, struct person_held *held, struct err *e)
{
	int rc = agent_key(agent, AGENT_SIGNING_KEY, &held->signing, e);

	if (rc == 0 && profile->enrolled) {
		rc = agent_key(agent, AGENT_DEVICE_KEY, &held->device, e);
		rc = rc != 0 ? rc : agent_get(agent, AGENT_SALT_KEY, &held->salt_key, e);
	}
	if (rc == 0) {
		held->ring = agent_ring_new(agent);
		rc = held->ring->load(held->ring, buf_bytes(&profile->person->keyring), e);
	}
	return rc;
}

static void held_release(struct person_held *held)
{
	key_free(held->device);
	key_free(held->signing);
	secret_release(&held->salt_key);
	ring_free(held->ring);
}

static int attach_session(struct agent *agent, struct client *client, struct err *e)
{
	_cleanup_(secret_release) struct secret token = SECRET_INIT;
	char text[CLIENT_TOKEN_BYTES_MAX + 1];
	int rc = agent_get(agent, AGENT_TOKEN, &token, e);

	if (rc != 0) {
		return rc;
	}
	if (token.len > CLIENT_TOKEN_BYTES_MAX) {
		return err_set(e, KLUIS_EPROTO, "the agent holds no token");
	}
	memcpy(text, token.data, token.len);
	text[token.len] = 0;
	client_set_token(client, text);
	secret_clear(text, sizeof text);
	return 0;
}

int agent_attach(struct agent *agent, struct profile *profile, struct client *client, struct err *e)
{
	struct person_held held = {.salt_key = SECRET_INIT};
	int rc = attach_check(agent, profile, e);

	rc = rc != 0 ? rc : attach_hold(agent, profile, &held, e);
	if (rc != 0) {
		held_release(&held);
		return rc;
	}
	rc = person_attach(profile, &held, e);
	return rc != 0 ? rc : attach_session(agent, client, e);
}
