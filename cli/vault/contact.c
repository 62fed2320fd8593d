/* kluis contact verify|list */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "cli/client/account.h"
#include "cli/client/api_account.h"
#include "cli/client/json_reader.h"
#include "cli/vault/app.h"

enum { CONTACT_CHAIN_BYTES_MAX = 4 << 20, CONTACT_TARGET_BYTES = 128 };

/* Somebody else, by the chain that the cluster shows. */
struct contact {
	uint8_t user_id[ID_BYTES];
	struct identity identity;
	bool pinned; /* As it was when its safety number was last compared: */
	struct safety_party pin;
	uint64_t pin_seq;
};

/* Names go into a target: only what a name may hold does. */
static int contact_find(struct app *k, const char *name, uint8_t ret_id[ID_BYTES])
{
	struct invocation *inv = k->inv;
	_cleanup_(json_dropp) json_t *user = NULL;
	char target[CONTACT_TARGET_BYTES];
	struct json_reader r;
	int rc;

	if (!identity_name_valid(bytes_str(name))) {
		return err_set(&inv->err, KLUIS_EINVAL, "'%s' is no user's name", name);
	}
	(void)snprintf(target, sizeof target, "/v1/users/%s", name);
	rc = api_json(k->client, "GET", target, NULL, CLIENT_AUTH | CLIENT_READ, &user, &inv->err);
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? err_set(&inv->err, rc, "there is no user '%s'", name)
					     : rc;
	}
	r = json_reader_of(user);
	json_reader_hex(&r, "user_id", ret_id, ID_BYTES);
	return json_reader_end(&r, "user", &inv->err);
}

static int contact_pin(struct app *k, struct contact *c)
{
	struct ring *ring = k->profile->person->ring;
	_cleanup_(secret_release) struct secret value = SECRET_INIT;
	struct wire w;
	int rc = ring->get(ring, KEYRING_CONTACT_PIN, c->user_id, 0, &value, &k->inv->err);

	if (rc == KLUIS_ENOTFOUND) {
		k->inv->err = (struct err){0};
		return 0;
	}
	if (rc != 0) {
		return rc;
	}
	w = wire_of(secret_bytes(&value));
	wire_copy(&w, c->pin.genesis_hash, HASH_BYTES);
	wire_copy(&w, c->pin.head_hash, HASH_BYTES);
	c->pin_seq = wire_u64(&w);
	c->pinned = wire_end(&w);
	return c->pinned ? 0 : err_set(&k->inv->err, KLUIS_ECORRUPT, "a pin is malformed");
}

/* Verifies the whole chain from its genesis, and that it goes through what was pinned. */
static int contact_chain(struct app *k, const char *name, struct bytes chain, struct contact *c)
{
	struct err *e = &k->inv->err;
	struct wire w = wire_of(chain);
	bool through = !c->pinned;
	int rc = 0;

	while (rc == 0 && w.left.len > 0 && wire_ok(&w)) {
		rc = identity_append(&c->identity, wire_lp32(&w, STATEMENT_BYTES_MAX), e);
		through =
			through ||
			(rc == 0 && c->identity.seq == c->pin_seq &&
				memcmp(c->identity.head_hash, c->pin.head_hash, HASH_BYTES) == 0 &&
				memcmp(c->identity.genesis_hash, c->pin.genesis_hash, HASH_BYTES) ==
					0);
	}
	if (rc != 0) {
		return err_wrap(e, rc, "the identity of '%s'", name);
	}
	if (!wire_end(&w) || c->identity.seq == 0 || strcmp(c->identity.name, name) != 0 ||
		memcmp(c->identity.user_id, c->user_id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY,
			"the cluster shows the identity of somebody else for '%s'", name);
	}
	return through ? 0
		       : err_set(e, KLUIS_EPIN,
				 "'%s' is not who was verified: the identity that the cluster "
				 "shows does not go on from that one",
				 name);
}

static int contact_load(struct app *k, const char *name, struct contact *c)
{
	_cleanup_(buf_release) struct buf chain = BUF_INIT;
	int rc = contact_find(k, name, c->user_id);

	rc = rc != 0 ? rc : contact_pin(k, c);
	rc = rc != 0 ? rc : api_identity(k->client, c->user_id, &chain, &k->inv->err);
	if (rc == 0 && chain.len > CONTACT_CHAIN_BYTES_MAX) {
		rc = err_set(
			&k->inv->err, KLUIS_ETOOLARGE, "the identity of '%s' is too long", name);
	}
	return rc != 0 ? rc : contact_chain(k, name, buf_bytes(&chain), c);
}

static struct safety_party party_of(const struct identity *identity)
{
	struct safety_party party;

	memcpy(party.user_id, identity->user_id, ID_BYTES);
	memcpy(party.genesis_hash, identity->genesis_hash, HASH_BYTES);
	memcpy(party.head_hash, identity->head_hash, HASH_BYTES);
	return party;
}

static int contact_store(struct app *k, const struct contact *c)
{
	_cleanup_(buf_release) struct buf pin = BUF_INIT;
	struct ring_change change = {.type = KEYRING_CONTACT_PIN};

	buf_append(&pin, c->identity.genesis_hash, HASH_BYTES);
	buf_append(&pin, c->identity.head_hash, HASH_BYTES);
	buf_put_u64(&pin, c->identity.seq);
	memcpy(change.object_id, c->user_id, ID_BYTES);
	change.value = buf_bytes(&pin);
	return account_put_entries(k->profile, k->client, &change, 1, &k->inv->err);
}

/* Whether that was what was compared already. */
static bool contact_current(const struct contact *c)
{
	return c->pinned && c->pin_seq == c->identity.seq;
}

static int contact_compare(struct app *k, const char *name, struct contact *c)
{
	static const struct output_column columns[] = {{"user", "User", OUTPUT_TEXT},
		{"user_id", "Id", OUTPUT_TEXT}, {"safety_number", "Safety number", OUTPUT_TEXT},
		{"verified", "Verified before", OUTPUT_TEXT}};
	struct invocation *inv = k->inv;
	struct safety_party mine = party_of(&k->profile->identity);
	struct safety_party theirs = party_of(&c->identity);
	char number[SAFETY_CHARS + 1];
	json_t *record;

	identity_safety_number(&mine, &theirs, number);
	record = json_pack("{s:s, s:o, s:s, s:b}", "user", name, "user_id",
		json_hex(bytes_of(c->user_id, ID_BYTES)), "safety_number", number, "verified",
		contact_current(c));
	output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
	if (contact_current(c)) {
		return 0;
	}
	(void)fflush(inv->out.data); /* The question is about it. */
	return invocation_confirm(inv, "Ask them, by voice or in person, what their 'kluis contact "
				       "verify' shows for you. Is it the same number?")
		       ? contact_store(k, c)
		       : inv->err.code;
}

static int contact_verify_body(struct app *k)
{
	const char *name = k->inv->args[0];
	struct contact c = {.pinned = false};
	int rc;

	if (k->profile->person == NULL) {
		return err_set(&k->inv->err, KLUIS_EINVAL, "a service account has no contacts");
	}
	identity_init(&c.identity);
	rc = contact_load(k, name, &c);
	rc = rc != 0 ? rc : contact_compare(k, name, &c);
	identity_release(&c.identity);
	return rc;
}

int app_contact_verify(struct invocation *inv)
{
	return app_run(inv, contact_verify_body);
}
