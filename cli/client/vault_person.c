/* Vaults of a person: their keys and pins stand in the keyring, so that another device of hers
 * finds them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "cli/client/account.h"
#include "cli/client/json_reader.h"
#include "cli/client/vault.h"
#include "crypto/seal.h"

enum { ADOPT_VAULTS_MAX = 10000, ADOPT_SUFFIX_CHARS = 8 };

static int person_ring(const struct profile *profile, struct ring **ret_ring, struct err *e)
{
	*ret_ring = profile->person->ring;
	return *ret_ring != NULL ? 0
				 : err_set(e, KLUIS_EUNAUTHENTICATED,
					   "the profile of '%s' is locked", profile->account);
}

int vault_person_keys(struct vault *vault, struct err *e)
{
	_cleanup_(x_freep) struct ring_place *places = NULL;
	struct ring *ring;
	size_t n = 0;
	int rc = person_ring(vault->profile, &ring, e);

	rc = rc != 0 ? rc : ring->list(ring, KEYRING_VAULT_KEY, &places, &n, e);
	for (size_t i = 0; rc == 0 && i < n; i++) { /* By epoch within a vault. */
		struct vault_key *key = &vault->keys[vault->n_keys];

		if (memcmp(places[i].object_id, vault->id, ID_BYTES) != 0) {
			continue;
		}
		if (vault->n_keys == VAULT_EPOCHS_MAX || places[i].epoch == 0) {
			return err_set(e, KLUIS_ECORRUPT, "the keyring's keys of a vault");
		}
		key->epoch = places[i].epoch;
		rc = ring->get(ring, KEYRING_VAULT_KEY, vault->id, places[i].epoch, &key->vk, e);
		vault->n_keys += rc == 0;
	}
	if (rc == 0 && vault->n_keys == 0) {
		rc = err_set(e, KLUIS_ENOTFOUND, "the keyring has no key of this vault");
	}
	return rc;
}

int vault_person_store_key(
	const struct vault *vault, struct profile *profile, struct client *client, struct err *e)
{
	struct ring_change change = {.type = KEYRING_VAULT_KEY,
		.epoch = vault->keys[0].epoch,
		.value = secret_bytes(&vault->keys[0].vk)};
	struct ring *ring;
	int rc = person_ring(profile, &ring, e);

	memcpy(change.object_id, vault->id, ID_BYTES);
	return rc != 0 ? rc : account_put_entries(profile, client, &change, 1, e);
}

int vault_person_pin(const struct profile *profile, const uint8_t vault_id[ID_BYTES],
	uint64_t *ret_seq, uint8_t ret_hash[HASH_BYTES], struct err *e)
{
	_cleanup_(secret_release) struct secret value = SECRET_INIT;
	struct err why = {0};
	struct ring *ring;
	int rc = person_ring(profile, &ring, e);

	*ret_seq = 0;
	rc = rc != 0 ? rc : ring->get(ring, KEYRING_VAULT_PIN, vault_id, 0, &value, &why);
	if (rc == KLUIS_ENOTFOUND) {
		return 0;
	}
	if (rc != 0 || value.len != KEYRING_VAULT_PIN_BYTES) {
		return err_set(e, rc != 0 ? rc : KLUIS_ECORRUPT, "pin of a vault: %s", why.text);
	}
	if (!keyring_pin_forgets(secret_bytes(&value))) {
		*ret_seq = load_u64(value.data);
		memcpy(ret_hash, value.data + 8, HASH_BYTES);
	}
	return 0;
}

static int pin_forked(const struct vault *vault, uint64_t seq, struct err *e)
{
	return err_set(e, KLUIS_EPIN,
		"vault '%s': the cluster shows another head %" PRIu64
		" than another device of yours has seen (fork)",
		vault->name, seq);
}

/* Takes the heads of one answer after `at`, each on the one before from head `seq` on, up to the
 * pin of this profile. */
static int pin_walk(const struct vault *vault, struct bytes heads, uint64_t seq, struct head *at,
	uint8_t ret_hash[HASH_BYTES], struct err *e)
{
	size_t n = heads.len / HEAD_BYTES;

	for (size_t i = 0; i < n && at->seq < vault->head.seq; i++) {
		struct head head;

		if (head_parse(bytes_of(heads.data + i * HEAD_BYTES, HEAD_BYTES), &head, NULL) !=
				0 ||
			memcmp(head.vault_id, vault->id, ID_BYTES) != 0 ||
			head.seq != at->seq + 1) {
			return err_set(e, KLUIS_EVERIFY, "vault '%s': malformed head", vault->name);
		}
		if (head.seq > seq && head_follows(&head, at->seq, at->hash, NULL) != 0) {
			return pin_forked(vault, at->seq, e);
		}
		if (head.seq == seq) {
			memcpy(ret_hash, head.hash, HASH_BYTES);
		}
		*at = head;
	}
	return 0;
}

/* The hash of a head behind this profile's pin, from the heads that lead from there to the pin:
 * they hang together by their hashes. */
static int pin_fetch(
	const struct vault *vault, uint64_t seq, uint8_t ret_hash[HASH_BYTES], struct err *e)
{
	struct head at = {.seq = seq - 1};
	bool done = false;
	int rc = 0;

	while (rc == 0 && at.seq < vault->head.seq) {
		_cleanup_(buf_release) struct buf heads = BUF_INIT;
		uint64_t before = at.seq;

		rc = api_heads(vault->client, vault->id, at.seq, &heads, &done, e);
		rc = rc != 0 ? rc : pin_walk(vault, buf_bytes(&heads), seq, &at, ret_hash, e);
		if (rc == 0 && at.seq == before) {
			rc = err_set(e, KLUIS_EVERIFY, "vault '%s': the cluster withholds heads",
				vault->name);
		}
	}
	if (rc == 0 && memcmp(at.hash, vault->head.hash, HASH_BYTES) != 0) {
		rc = pin_forked(vault, at.seq, e);
	}
	return rc;
}

/* The hash of head `seq` in the history that ends with newest, whose last heads are given. */
static int pin_in_history(const struct vault *vault, const struct head *newest, struct bytes heads,
	uint64_t seq, const uint8_t wanted[HASH_BYTES], uint8_t ret_hash[HASH_BYTES], struct err *e)
{
	uint64_t first = newest->seq - heads.len / HEAD_BYTES + 1;
	struct head at = *newest;
	int rc;

	if (seq < newest->seq && seq >= first) {
		rc = head_parse(
			bytes_of(heads.data + (seq - first) * HEAD_BYTES, HEAD_BYTES), &at, e);
		memcpy(ret_hash, at.hash, HASH_BYTES);
		return rc;
	}
	if (seq >= vault->head.seq) {
		memcpy(ret_hash, seq == newest->seq ? newest->hash : vault->head.hash, HASH_BYTES);
		return 0;
	}
	/* What was seen may be of before a restore: then the cluster has to show it. */
	return vault_seen_head(vault, seq, ret_hash) && memcmp(ret_hash, wanted, HASH_BYTES) == 0
		       ? 0
		       : pin_fetch(vault, seq, ret_hash, e);
}

int vault_person_check_pin(
	const struct vault *vault, const struct head *newest, struct bytes heads, struct err *e)
{
	uint8_t hash[HASH_BYTES], ours[HASH_BYTES];
	uint64_t seq;
	int rc = vault_person_pin(vault->profile, vault->id, &seq, hash, e);

	if (rc != 0 || seq == 0) {
		return rc;
	}
	if (newest->seq < seq) {
		return err_set(e, KLUIS_EPIN,
			"vault '%s' was rolled back: the cluster shows head %" PRIu64
			", another device of yours has seen head %" PRIu64
			". Ask the operator what was lost, and why; 'kluis --offline' there still "
			"reads what that device has",
			vault->name, newest->seq, seq);
	}
	rc = pin_in_history(vault, newest, heads, seq, hash, ours, e);
	if (rc == 0 && memcmp(ours, hash, HASH_BYTES) != 0) {
		rc = pin_forked(vault, seq, e);
	}
	return rc;
}

int vault_person_note_pin(const struct vault *vault, struct err *e)
{
	uint8_t hash[HASH_BYTES], seen[HASH_BYTES];
	uint64_t seq;
	int rc = vault_person_pin(vault->profile, vault->id, &seq, hash, e);

	if (rc != 0 || seq == 0 ||
		(vault_seen_head(vault, seq, seen) && memcmp(seen, hash, HASH_BYTES) == 0)) {
		return rc;
	}
	return vault_note_seen(vault, seq, hash, e);
}

/* What is newer here than in the keyring; at most RING_CHANGES_MAX. */
struct pins {
	struct ring_change changes[RING_CHANGES_MAX];
	uint8_t values[RING_CHANGES_MAX][KEYRING_CONTACT_PIN_BYTES];
	size_t n;
};

static uint8_t *pins_add(
	struct pins *pins, unsigned type, const uint8_t object_id[ID_BYTES], size_t len)
{
	uint8_t *value = pins->values[pins->n];
	struct ring_change *change = &pins->changes[pins->n++];

	*change = (struct ring_change){.type = type, .value = bytes_of(value, len)};
	memcpy(change->object_id, object_id, ID_BYTES);
	return value;
}

/* The pin of another device is taken over only after a sync has found it in this profile's history:
 * it may be the only evidence that the two are shown different ones. */
static int pins_take(
	struct profile *profile, const uint8_t id[ID_BYTES], struct pins *pins, struct err *e)
{
	struct vault place = {.profile = profile};
	uint8_t hash[HASH_BYTES], seen[HASH_BYTES], bytes[HEAD_BYTES], *value;
	struct err why = {0};
	struct head head;
	uint64_t seq;
	int rc = vault_person_pin(profile, id, &seq, hash, e);

	memcpy(place.id, id, ID_BYTES);
	if (rc != 0 || !vault_whole(profile, id) ||
		vault_read_pin(profile, id, &head, bytes, &why) != 0) {
		return rc; /* A vault that was never begun has no pin. */
	}
	if (head.seq <= seq || (seq > 0 && (!vault_seen_head(&place, seq, seen) ||
						   memcmp(seen, hash, HASH_BYTES) != 0))) {
		return 0;
	}
	value = pins_add(pins, KEYRING_VAULT_PIN, id, KEYRING_VAULT_PIN_BYTES);
	store_u64(value, head.seq);
	memcpy(value + 8, head.hash, HASH_BYTES);
	return 0;
}

/* The own identity chain, for devices that have not seen it. */
static int pins_take_own(struct profile *profile, struct pins *pins, struct err *e)
{
	const struct identity *me = &profile->identity;
	struct ring *ring = profile->person->ring;
	_cleanup_(secret_release) struct secret held = SECRET_INIT;
	struct err why = {0};
	uint8_t *value;
	int rc = ring->get(ring, KEYRING_CONTACT_PIN, profile->user_id, 0, &held, &why);

	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return err_set(e, rc, "%s", why.text);
	}
	if (rc == 0 && load_u64(held.data + 2 * HASH_BYTES) >= me->seq) {
		return 0; /* The chain was held against it. */
	}
	value = pins_add(pins, KEYRING_CONTACT_PIN, profile->user_id, KEYRING_CONTACT_PIN_BYTES);
	memcpy(value, me->genesis_hash, HASH_BYTES);
	memcpy(value + HASH_BYTES, me->head_hash, HASH_BYTES);
	store_u64(value + 2 * HASH_BYTES, me->seq);
	return 0;
}

int vault_may_write(const struct profile *profile, struct err *e)
{
	return profile->person == NULL ? 0 : person_ready(profile, e);
}

int vault_person_store_pins(struct profile *profile, struct client *client, struct err *e)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	struct pins *pins = x_calloc(1, sizeof *pins);
	struct ring *ring;
	size_t n;
	int rc = person_ring(profile, &ring, e);

	rc = rc != 0 ? rc : pins_take_own(profile, pins, e);
	rc = rc != 0 ? rc : vault_local_ids(profile, &ids, &n, e);
	for (size_t i = 0; rc == 0 && i < n && pins->n < RING_CHANGES_MAX; i++) {
		rc = pins_take(profile, ids[i], pins, e);
	}
	if (rc == 0 && pins->n > 0) {
		rc = account_put_entries(profile, client, pins->changes, pins->n, e);
	}
	free(pins);
	return rc;
}

/* Another device made this vault. Its name is under its key. */
static void adopt_name(struct vault *vault, struct bytes label)
{
	_cleanup_(secret_release) struct secret name = SECRET_INIT;
	_cleanup_(buf_release) struct buf ctx = BUF_INIT;

	hex_encode(bytes_of(vault->id, ID_BYTES), vault->name);
	buf_put_str(&ctx, "label");
	buf_append(&ctx, vault->id, ID_BYTES);
	for (size_t i = 0; i < vault->n_keys; i++) {
		char text[VAULT_NAME_BYTES_MAX + 1] = "";

		if (seal_open(secret_bytes(&vault->keys[i].vk), buf_bytes(&ctx), label, &name,
			    NULL) != 0 ||
			name.len > VAULT_NAME_BYTES_MAX) {
			continue;
		}
		memcpy(text, name.data, name.len);
		if (strlen(text) == name.len && vault_name_valid(text)) {
			memcpy(vault->name, text, name.len + 1);
		}
	}
}

/* Who shares a vault chose its name without a look at what else its members have. */
static void adopt_other_name(struct vault *vault)
{
	char id[HEX_LEN(ID_BYTES) + 1];
	size_t len = strlen(vault->name);

	hex_encode(bytes_of(vault->id, ID_BYTES), id);
	if (vault_name_taken(vault->profile, vault->client, vault->name) &&
		len + 1 + ADOPT_SUFFIX_CHARS <= VAULT_NAME_BYTES_MAX) {
		(void)snprintf(vault->name + len, sizeof vault->name - len, "-%.*s",
			ADOPT_SUFFIX_CHARS, id);
	}
}

/* The first head, to follow the others from: by a device of hers, over the create statement. */
static int adopt_head(struct vault *vault, struct buf *ret_head, struct err *e)
{
	_cleanup_(buf_release) struct buf heads = BUF_INIT;
	bool done;
	int rc = api_heads(vault->client, vault->id, 0, &heads, &done, e);

	if (rc == 0 && heads.len < HEAD_BYTES) {
		rc = err_set(e, KLUIS_EVERIFY, "vault '%s': the cluster withholds its heads",
			vault->name);
	}
	if (rc == 0) {
		buf_append(ret_head, heads.data, HEAD_BYTES);
	}
	return rc;
}

/* What somebody shared comes by KeyPackets; what is not in the list of members any more has none.
 */
static int adopt_keys(struct vault *vault, struct err *e)
{
	struct err why = {0};
	int rc = vault_person_keys(vault, &why);

	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return err_set(e, rc, "%s", why.text);
	}
	if (rc == 0 && memcmp(vault->membership->steps[0].member_id, vault->profile->user_id,
			       ID_BYTES) == 0) {
		return 0; /* One's own: its heads tell whether anything changed. */
	}
	rc = vault_members_refresh(vault, e);
	rc = rc != 0 ? rc : vault_take_keys(vault, e);
	return rc == 0 && vault->n_keys == 0
		       ? err_set(e, KLUIS_ENOTFOUND, "vault '%s': its key has not reached you",
				 vault->name)
		       : rc;
}

static int adopt_fetched(struct vault *vault, struct api_vault *fetched, struct err *e)
{
	_cleanup_(buf_release) struct buf head = BUF_INIT;
	int rc;

	buf_append_bytes(&vault->create, buf_bytes(&fetched->create));
	rc = vault_check_create(vault, e);
	rc = rc != 0 ? rc : adopt_keys(vault, e);
	if (rc != 0) {
		return rc;
	}
	adopt_name(vault, buf_bytes(&fetched->label));
	adopt_other_name(vault);
	rc = rc != 0 ? rc : adopt_head(vault, &head, e);
	rc = rc != 0 ? rc : vault_check_first(vault, buf_bytes(&head), e);
	return rc != 0 ? rc : vault_store_files(vault, buf_bytes(&head), e);
}

int vault_person_adopt_one(
	struct profile *profile, struct client *client, const uint8_t id[ID_BYTES], struct err *e)
{
	struct vault *vault = x_calloc(1, sizeof *vault);
	struct api_vault fetched = {0};
	uint64_t seq = 0;
	int rc;

	vault->profile = profile;
	vault->client = client;
	memcpy(vault->id, id, ID_BYTES);
	hex_encode(bytes_of(id, ID_BYTES), vault->name);
	rc = api_vault_get(client, id, &fetched, e);
	if (vault_denied(rc)) {
		int known = vault_known_seq(profile, id, &seq, e);

		rc = known != 0 ? known : seq > 0 ? vault_withheld(vault, seq, e) : rc;
	} else if (rc == 0) {
		rc = adopt_fetched(vault, &fetched, e);
	}
	api_vault_release(&fetched);
	vault_close(vault);
	return rc;
}

int vault_listed_ids(
	struct client *client, uint8_t (**ret_ids)[ID_BYTES], size_t *ret_n, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	uint8_t(*ids)[ID_BYTES];
	size_t n = 0;
	int rc = api_list(
		client, "/v1/vaults", CLIENT_AUTH | CLIENT_READ, ADOPT_VAULTS_MAX, &items, e);

	ids = x_calloc(json_array_size(items) + 1, sizeof *ids);
	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		const json_t *item = json_array_get(items, i);
		const char *state = json_string_value(json_object_get(item, "state"));
		struct json_reader r = json_reader_of(item);

		json_reader_hex(&r, "id", ids[n], ID_BYTES);
		rc = json_reader_end(&r, "vault", e);
		n += rc == 0 && (state == NULL || strcmp(state, "accepted") == 0);
	}
	if (rc != 0) {
		free(ids);
		return rc;
	}
	*ret_ids = ids;
	*ret_n = n;
	return 0;
}

int vault_all_ids(const struct profile *profile, struct client *client,
	uint8_t (**ret_ids)[ID_BYTES], size_t *ret_n, struct err *e)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	_cleanup_(x_freep) uint8_t(*more)[ID_BYTES] = NULL;
	size_t n = 0, n_more = 0;
	int rc = vault_known_ids(profile, &ids, &n, e);

	rc = rc != 0 ? rc : vault_listed_ids(client, &more, &n_more, e);
	if (rc != 0) {
		return rc;
	}
	ids = x_realloc(ids, (n + n_more + 1) * sizeof *ids);
	for (size_t i = 0; i < n_more; i++) {
		if (!vault_id_among(ids, n, more[i])) {
			memcpy(ids[n++], more[i], ID_BYTES);
		}
	}
	*ret_ids = ids;
	*ret_n = n;
	ids = NULL;
	return 0;
}

/* What others share is not in the keyring before it was opened first: the cluster lists it. */
static int adopt_shared(struct profile *profile, struct client *client, uint8_t (*known)[ID_BYTES],
	size_t n_known, struct err *first, struct err *e)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	size_t n = 0;
	int rc = vault_listed_ids(client, &ids, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct err why = {0};
		int taken = vault_id_among(known, n_known, ids[i])
				    ? 0
				    : vault_person_adopt_one(profile, client, ids[i], &why);

		if (taken != 0 && !vault_denied(taken) && first->code == 0) {
			*first = why;
		}
	}
	return rc;
}

int vault_person_adopt(struct profile *profile, struct client *client, struct err *e)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	struct err first = {0};
	size_t n;
	int rc = vault_known_ids(profile, &ids, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct err why = {0};
		int taken = vault_whole(profile, ids[i])
				    ? 0
				    : vault_person_adopt_one(profile, client, ids[i], &why);

		/* Denied, and seen by nobody: its creation never came through. */
		if (taken != 0 && !vault_denied(taken) && first.code == 0) {
			first = why;
		}
	}
	rc = rc != 0 ? rc : adopt_shared(profile, client, ids, n, &first, e);
	return rc != 0 || first.code == 0 ? rc : err_set(e, first.code, "%s", first.text);
}
