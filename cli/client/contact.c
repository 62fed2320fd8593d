#include "cli/client/contact.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "cli/client/api_account.h"
#include "cli/client/json_reader.h"

enum { CONTACT_TARGET_BYTES = 128 };

void contact_release(struct contact *contact)
{
	identity_release(&contact->identity);
}

static struct safety_party party_of(const struct identity *identity)
{
	struct safety_party party;

	memcpy(party.user_id, identity->user_id, ID_BYTES);
	memcpy(party.genesis_hash, identity->genesis_hash, HASH_BYTES);
	memcpy(party.head_hash, identity->head_hash, HASH_BYTES);
	return party;
}

void contact_number(const struct profile *profile, const struct contact *contact,
	char ret_text[SAFETY_CHARS + 1])
{
	struct safety_party mine = party_of(&profile->identity);
	struct safety_party theirs = party_of(&contact->identity);

	identity_safety_number(&mine, &theirs, ret_text);
}

static void digits_of(const char *text, char to[SAFETY_CHARS + 2])
{
	size_t n = 0;

	for (; *text != 0 && n <= SAFETY_CHARS; text++) {
		if (*text >= '0' && *text <= '9') {
			to[n++] = *text;
		}
	}
	to[n] = 0;
}

bool contact_number_is(const char *number, const char *typed)
{
	char mine[SAFETY_CHARS + 2], theirs[SAFETY_CHARS + 2];

	digits_of(number, mine);
	digits_of(typed, theirs);
	return strcmp(mine, theirs) == 0;
}

bool contact_current(const struct contact *contact)
{
	return contact->pinned && contact->pin_seq == contact->identity.seq;
}

/* Names go into a target: only what a name may hold does. */
static int contact_find(
	struct client *client, const char *name, uint8_t ret_id[ID_BYTES], struct err *e)
{
	_cleanup_(json_dropp) json_t *user = NULL;
	char target[CONTACT_TARGET_BYTES];
	struct json_reader r;
	int rc;

	if (!identity_name_valid(bytes_str(name))) {
		return err_set(e, KLUIS_EINVAL, "'%s' is no user's name", name);
	}
	(void)snprintf(target, sizeof target, "/v1/users/%s", name);
	rc = api_get(client, target, &user, e);
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? err_set(e, rc, "there is no user '%s'", name) : rc;
	}
	r = json_reader_of(user);
	json_reader_hex(&r, "user_id", ret_id, ID_BYTES);
	return json_reader_end(&r, "user", e);
}

static int contact_pin(const struct profile *profile, struct contact *c, struct err *e)
{
	struct ring *ring = profile->person == NULL ? NULL : profile->person->ring;
	_cleanup_(secret_release) struct secret value = SECRET_INIT;
	struct err why = {0};
	struct wire w;
	int rc = ring == NULL ? KLUIS_ENOTFOUND /* A service account has compared no numbers. */
			      : ring->get(ring, KEYRING_CONTACT_PIN, c->user_id, 0, &value, &why);

	if (rc == KLUIS_ENOTFOUND) {
		return 0;
	}
	if (rc != 0) {
		return err_set(e, rc, "pin of a contact: %s", why.text);
	}
	w = wire_of(secret_bytes(&value));
	wire_copy(&w, c->pin.genesis_hash, HASH_BYTES);
	wire_copy(&w, c->pin.head_hash, HASH_BYTES);
	c->pin_seq = wire_u64(&w);
	c->pinned = wire_end(&w);
	return c->pinned ? 0 : err_set(e, KLUIS_ECORRUPT, "a pin is malformed");
}

/* Whether the chain is now where it was pinned. */
static bool contact_at_pin(const struct contact *c)
{
	return c->identity.seq == c->pin_seq &&
	       memcmp(c->identity.head_hash, c->pin.head_hash, HASH_BYTES) == 0 &&
	       memcmp(c->identity.genesis_hash, c->pin.genesis_hash, HASH_BYTES) == 0;
}

/* Verifies the whole chain from its genesis, and that it goes through what was pinned. who: for
 * messages. */
static int contact_verify(struct contact *c, const char *who, struct bytes chain, struct err *e)
{
	struct wire w = wire_of(chain);
	bool through = !c->pinned;
	int rc = 0;

	while (rc == 0 && w.left.len > 0 && wire_ok(&w)) {
		rc = identity_append(&c->identity, wire_lp32(&w, STATEMENT_BYTES_MAX), e);
		through = through || (rc == 0 && contact_at_pin(c));
	}
	if (rc != 0) {
		return err_wrap(e, KLUIS_EVERIFY, "the identity of '%s'", who);
	}
	if (!wire_end(&w) || c->identity.seq == 0 ||
		memcmp(c->identity.user_id, c->user_id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY,
			"the cluster shows the identity of somebody else for '%s'", who);
	}
	return through ? 0
		       : err_set(e, KLUIS_EPIN,
				 "'%s' is not who was verified: the identity that the cluster "
				 "shows does not go on from that one",
				 who);
}

static int contact_fetch(struct client *client, struct contact *c, const char *who, struct err *e)
{
	_cleanup_(buf_release) struct buf chain = BUF_INIT;
	int rc = api_identity(client, c->user_id, &chain, e);

	if (rc == 0 && chain.len > IDENTITY_CHAIN_BYTES_MAX) {
		rc = err_set(e, KLUIS_EPROTO, "the identity of '%s' is too long", who);
	}
	return rc != 0 ? rc : contact_verify(c, who, buf_bytes(&chain), e);
}

/* Somebody who was verified must not be of this name: it is given once, so who has it now would be
 * another one under it. */
static int contact_differs(const struct profile *profile, struct client *client,
	const uint8_t user_id[ID_BYTES], const char *name, struct err *e)
{
	struct contact other = {.pinned = false};
	char id[HEX_LEN(ID_BYTES) + 1];
	int rc;

	identity_init(&other.identity);
	memcpy(other.user_id, user_id, ID_BYTES);
	hex_encode(bytes_of(user_id, ID_BYTES), id);
	rc = contact_pin(profile, &other, e);
	rc = rc != 0 ? rc : contact_fetch(client, &other, id, e);
	if (rc == KLUIS_ENOTFOUND || rc == KLUIS_EGONE || rc == KLUIS_EFORBIDDEN) {
		rc = err_set(e, KLUIS_EVERIFY,
			"the cluster denies %s, whom you verified: it cannot be told whether that "
			"is '%s'",
			id, name);
	} else if (rc == 0 && strcmp(other.identity.name, name) == 0) {
		rc = err_set(
			e, KLUIS_EPIN, "'%s' is not who was verified: that was user %s", name, id);
	}
	contact_release(&other);
	return rc;
}

/* A name that is new to this keyring: nobody in it may have it. */
static int contact_is_new(struct profile *profile, struct client *client, const struct contact *c,
	const char *name, struct err *e)
{
	struct ring *ring = profile->person == NULL ? NULL : profile->person->ring;
	_cleanup_(x_freep) struct ring_place *places = NULL;
	size_t n = 0;
	int rc = ring == NULL ? 0 : ring->list(ring, KEYRING_CONTACT_PIN, &places, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		const uint8_t *id = places[i].object_id;

		/* The owner's own is the pin of her own chain. */
		if (memcmp(id, profile->user_id, ID_BYTES) != 0 &&
			memcmp(id, c->user_id, ID_BYTES) != 0) {
			rc = contact_differs(profile, client, id, name, e);
		}
	}
	return rc;
}

int contact_load(struct profile *profile, struct client *client, const char *name,
	struct contact *ret_contact, struct err *e)
{
	struct contact *c = ret_contact;
	int rc;

	*c = (struct contact){.pinned = false};
	identity_init(&c->identity);
	rc = contact_find(client, name, c->user_id, e);
	if (rc == 0 && memcmp(c->user_id, profile->user_id, ID_BYTES) == 0 &&
		strcmp(name, profile->account) != 0) {
		rc = err_set(e, KLUIS_EVERIFY, "the cluster says that '%s' is you", name);
	}
	rc = rc != 0 ? rc : contact_pin(profile, c, e);
	rc = rc != 0 ? rc : contact_fetch(client, c, name, e);
	if (rc == 0 && strcmp(c->identity.name, name) != 0) {
		rc = err_set(e, KLUIS_EVERIFY,
			"the cluster shows the identity of somebody else for '%s'", name);
	}
	return rc != 0 || c->pinned ? rc : contact_is_new(profile, client, c, name, e);
}

int contact_store(struct profile *profile, struct client *client, const struct contact *contact,
	struct err *e)
{
	_cleanup_(buf_release) struct buf pin = BUF_INIT;
	struct ring_change change = {.type = KEYRING_CONTACT_PIN};

	buf_append(&pin, contact->identity.genesis_hash, HASH_BYTES);
	buf_append(&pin, contact->identity.head_hash, HASH_BYTES);
	buf_put_u64(&pin, contact->identity.seq);
	memcpy(change.object_id, contact->user_id, ID_BYTES);
	change.value = buf_bytes(&pin);
	return account_put_entries(profile, client, &change, 1, e);
}
