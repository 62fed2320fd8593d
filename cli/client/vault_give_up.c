/* Vaults that are no more: the owner deletes one, or gives up one that the cluster denies. Nobody
 * can prove a deletion, so it is hers to say: in the keyring, where her other devices see it. */
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/client/account.h"

int vault_forget(const struct profile *profile, const uint8_t id[ID_BYTES], struct err *e)
{
	struct vault place = {.profile = (struct profile *)profile};
	_cleanup_(x_freep) char *dir = NULL;
	_cleanup_(x_freep) char *path = NULL;

	memcpy(place.id, id, ID_BYTES);
	dir = vault_file(&place, "");
	path = profile_path(profile, dir);
	path[strlen(path) - 1] = 0;
	return file_remove_tree(path, e);
}

static int give_up_keys(
	struct profile *profile, struct client *client, const uint8_t id[ID_BYTES], struct err *e)
{
	uint8_t pin[KEYRING_VAULT_PIN_BYTES];
	struct ring_change change = {.type = KEYRING_VAULT_PIN, .value = bytes_of(pin, sizeof pin)};
	bool done = false;
	int rc = ring_forgotten(profile->person->ring, id, &done, e);

	keyring_forget_pin(pin);
	memcpy(change.object_id, id, ID_BYTES);
	return rc != 0 || done ? rc : account_put_entries(profile, client, &change, 1, e);
}

int vault_give_up(
	struct profile *profile, struct client *client, const uint8_t id[ID_BYTES], struct err *e)
{
	int rc = vault_may_write(profile, e);

	if (rc == 0 && profile->person != NULL) {
		rc = give_up_keys(profile, client, id, e);
	}
	return rc != 0 ? rc : vault_forget(profile, id, e);
}

int vault_delete(struct vault *vault, struct err *e)
{
	struct api_vault fetched = {0};
	int rc = vault_may_write(vault->profile, e);

	rc = rc != 0 ? rc : api_vault_get(vault->client, vault->id, &fetched, e);
	rc = rc != 0 ? rc : api_vault_delete(vault->client, vault->id, fetched.etag, e);
	api_vault_release(&fetched);
	/* Perhaps by the request whose answer was lost: but that is a guess. */
	if (rc == KLUIS_ENOTFOUND || rc == KLUIS_EGONE) {
		return vault_withheld(vault, vault->head.seq, e);
	}
	rc = rc != 0 ? rc : vault_give_up(vault->profile, vault->client, vault->id, e);
	vault->leaves_dirty = vault->leaves_dirty && rc != 0; /* There is no place for them. */
	return rc;
}

int vault_check_denied(struct client *client, const uint8_t id[ID_BYTES], struct err *e)
{
	struct api_vault fetched = {0};
	struct err why = {0};
	int rc = api_vault_get(client, id, &fetched, &why);

	api_vault_release(&fetched);
	if (vault_denied(rc)) {
		return 0;
	}
	return rc != 0 ? err_set(e, rc, "%s", why.text)
		       : err_set(e, KLUIS_EEXIST,
				 "the cluster has that vault: delete it, if nobody needs it");
}

static int find_id(
	const struct profile *profile, const uint8_t id[ID_BYTES], const char *name, struct err *e)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	size_t n = 0;
	int rc = vault_known_ids(profile, &ids, &n, e);

	return rc != 0 || vault_id_among(ids, n, id)
		       ? rc
		       : err_set(e, KLUIS_ENOTFOUND, "no vault '%s' in this profile", name);
}

int vault_find(struct profile *profile, struct client *client, const char *name,
	uint8_t ret_id[ID_BYTES], struct err *e)
{
	uint8_t id[ID_BYTES];
	struct vault *vault;
	int rc;

	if (hex_decode(name, id, ID_BYTES) == 0) {
		rc = find_id(profile, id, name, e);
	} else {
		rc = vault_open(profile, client, name, &vault, e);
		if (rc == 0) {
			memcpy(id, vault->id, ID_BYTES);
			vault_close(vault);
		}
	}
	if (rc == 0) {
		memcpy(ret_id, id, ID_BYTES);
	}
	return rc;
}

static bool place_among(const struct ring_place *places, size_t n, const uint8_t id[ID_BYTES])
{
	for (size_t i = 0; i < n; i++) {
		if (memcmp(places[i].object_id, id, ID_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

int vault_person_follow(struct profile *profile, struct err *e)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	_cleanup_(x_freep) struct ring_place *places = NULL;
	struct ring *ring = profile->person->ring;
	size_t n = 0, n_places = 0;
	int rc = vault_local_ids(profile, &ids, &n, e);

	rc = rc != 0 || n == 0 ? rc : ring->list(ring, KEYRING_VAULT_KEY, &places, &n_places, e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		bool forgotten = false;

		if (!place_among(places, n_places, ids[i])) {
			rc = ring_forgotten(ring, ids[i], &forgotten, e);
		}
		rc = rc == 0 && forgotten ? vault_forget(profile, ids[i], e) : rc;
	}
	return rc;
}
