#include "cli/client/people.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "cli/client/api_account.h"
#include "cli/client/contact.h"

/* One user that was asked for. */
struct people_row {
	uint8_t user_id[ID_BYTES];
	struct identity identity;
	struct buf chain;	   /* lp32 of each statement; empty: never seen. */
	uint8_t lineage[ID_BYTES]; /* Of the cluster when it was seen. */
	bool asked;		   /* It is as the cluster has it now. */
};

struct people {
	struct people_source source;
	struct profile *profile;
	struct client *client;
	struct people_row **rows; /* Their addresses last: identities are handed out. */
	size_t n;
};

static int source_get(struct people_source *source, const uint8_t user_id[ID_BYTES], bool fresh,
	const struct identity **ret_identity, struct err *e)
{
	return people_get(
		CONTAINER_OF(source, struct people, source), user_id, fresh, ret_identity, e);
}

struct people *people_new(struct profile *profile, struct client *client)
{
	struct people *people = x_calloc(1, sizeof *people);

	people->source.get = source_get;
	people->profile = profile;
	people->client = client;
	return people;
}

static void row_free(struct people_row *row)
{
	identity_release(&row->identity);
	buf_release(&row->chain);
	free(row);
}

void people_free(struct people *people)
{
	if (people == NULL) {
		return;
	}
	for (size_t i = 0; i < people->n; i++) {
		row_free(people->rows[i]);
	}
	free(people->rows);
	free(people);
}

struct people_source *people_source(struct people *people)
{
	return &people->source;
}

struct profile *people_profile(struct people *people)
{
	return people->profile;
}

struct client *people_client(struct people *people)
{
	return people->client;
}

static char *row_file(const uint8_t user_id[ID_BYTES])
{
	char id[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(user_id, ID_BYTES), id);
	return x_asprintf("people/%s", id);
}

/* What to call a user in a message: the name, once that is known. */
static void row_who(const struct people_row *row, char to[HEX_LEN(ID_BYTES) + 16])
{
	char id[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(row->user_id, ID_BYTES), id);
	(void)snprintf(to, HEX_LEN(ID_BYTES) + 16, "user %s", id);
}

/* Appends each statement of a chain to an identity; *ret_through: it passed statement `seq` with
 * this hash (seq 0: it always does). */
static int chain_replay(struct bytes chain, const uint8_t user_id[ID_BYTES], uint64_t seq,
	const uint8_t *hash, struct identity *identity, bool *ret_through, struct err *e)
{
	struct wire w = wire_of(chain);
	int rc = 0;

	*ret_through = seq == 0;
	while (rc == 0 && w.left.len > 0 && wire_ok(&w)) {
		rc = identity_append(identity, wire_lp32(&w, STATEMENT_BYTES_MAX), e);
		*ret_through =
			*ret_through || (rc == 0 && identity->seq == seq &&
						memcmp(identity->head_hash, hash, HASH_BYTES) == 0);
	}
	if (rc != 0) {
		return rc;
	}
	return wire_end(&w) && identity->seq > 0 &&
			       memcmp(identity->user_id, user_id, ID_BYTES) == 0
		       ? 0
		       : err_set(e, KLUIS_EVERIFY, "it is malformed, or of another user");
}

/* lineage16 | lp32 of each statement. */
static int row_load(struct people *people, struct people_row *row, struct err *e)
{
	_cleanup_(x_freep) char *name = row_file(row->user_id);
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	struct err why = {0};
	bool through;
	int rc = profile_read(people->profile, name, PROFILE_IDENTITY_SEEN,
		IDENTITY_CHAIN_BYTES_MAX, &payload, &why);

	if (rc == KLUIS_ENOTFOUND) {
		return 0;
	}
	if (rc != 0 || payload.len <= ID_BYTES) {
		return err_set(
			e, rc != 0 ? rc : KLUIS_ECORRUPT, "profile file '%s': %s", name, why.text);
	}
	memcpy(row->lineage, payload.data, ID_BYTES);
	buf_append(&row->chain, payload.data + ID_BYTES, payload.len - ID_BYTES);
	rc = chain_replay(
		buf_bytes(&row->chain), row->user_id, 0, NULL, &row->identity, &through, &why);
	return rc == 0 ? 0 : err_set(e, KLUIS_ECORRUPT, "profile file '%s': %s", name, why.text);
}

static int row_store(const struct people *people, const struct people_row *row, struct err *e)
{
	_cleanup_(x_freep) char *name = row_file(row->user_id);
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	int rc = profile_make_dir(people->profile, "people", e);

	buf_append(&payload, row->lineage, ID_BYTES);
	buf_append_bytes(&payload, buf_bytes(&row->chain));
	return rc != 0 ? rc
		       : profile_write(people->profile, name, PROFILE_IDENTITY_SEEN,
				 buf_bytes(&payload), e);
}

static int row_find(struct people *people, const uint8_t user_id[ID_BYTES],
	struct people_row **ret_row, struct err *e)
{
	struct people_row *row;
	int rc;

	for (size_t i = 0; i < people->n; i++) {
		if (memcmp(people->rows[i]->user_id, user_id, ID_BYTES) == 0) {
			*ret_row = people->rows[i];
			return 0;
		}
	}
	if (people->n == PEOPLE_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more than %d users at once", PEOPLE_MAX);
	}
	row = x_calloc(1, sizeof *row);
	identity_init(&row->identity);
	memcpy(row->user_id, user_id, ID_BYTES);
	rc = row_load(people, row, e);
	if (rc != 0) {
		row_free(row);
		return rc;
	}
	people->rows = x_realloc(people->rows, (people->n + 1) * sizeof(struct people_row *));
	people->rows[people->n++] = row;
	*ret_row = row;
	return 0;
}

/* Whether what the restored cluster has may be an earlier part of what was seen. */
static bool row_was_restored(const struct people *people, const struct people_row *row)
{
	return memcmp(row->lineage, people->profile->lineage, ID_BYTES) != 0;
}

/* The contact pin of the keyring; value.len 0: none. */
static int row_pin(const struct people *people, const uint8_t user_id[ID_BYTES],
	struct secret *ret_value, struct err *e)
{
	struct ring *ring = people->profile->person == NULL ? NULL : people->profile->person->ring;
	struct err why = {0};
	int rc = ring == NULL ? KLUIS_ENOTFOUND
			      : ring->get(ring, KEYRING_CONTACT_PIN, user_id, 0, ret_value, &why);

	if (rc == KLUIS_ENOTFOUND) {
		return 0;
	}
	return rc == 0 && ret_value->len == KEYRING_CONTACT_PIN_BYTES
		       ? 0
		       : err_set(e, rc != 0 ? rc : KLUIS_ECORRUPT, "pin of a contact: %s",
				 why.text);
}

static int row_check_pin(const struct people *people, const struct people_row *row,
	struct bytes chain, struct err *e)
{
	_cleanup_(secret_release) struct secret pin = SECRET_INIT;
	char who[HEX_LEN(ID_BYTES) + 16];
	struct identity identity;
	bool through = true;
	int rc = row_pin(people, row->user_id, &pin, e);

	if (rc != 0 || pin.len == 0) {
		return rc;
	}
	identity_init(&identity);
	rc = chain_replay(chain, row->user_id, load_u64(pin.data + 2 * HASH_BYTES),
		pin.data + HASH_BYTES, &identity, &through, e);
	identity_release(&identity);
	row_who(row, who);
	return rc != 0 || through
		       ? rc
		       : err_set(e, KLUIS_EPIN,
				 "%s is not who was verified: the identity that the cluster shows "
				 "does not go on from that one. Do not share anything with it; "
				 "compare safety numbers again ('kluis contact verify')",
				 who);
}

static bool chain_is_part(struct bytes part, struct bytes whole)
{
	return part.len <= whole.len && memcmp(part.data, whole.data, part.len) == 0;
}

/* What the cluster shows is what was seen or goes on from it. Takes it over. */
static int row_take(struct people *people, struct people_row *row, struct buf *chain, struct err *e)
{
	char who[HEX_LEN(ID_BYTES) + 16];
	struct identity identity;
	struct err why = {0};
	bool through;
	int rc;

	row_who(row, who);
	identity_init(&identity);
	rc = chain_replay(buf_bytes(chain), row->user_id, row->identity.seq,
		row->identity.head_hash, &identity, &through, &why);
	if (rc != 0) {
		rc = err_set(e, KLUIS_EVERIFY, "the identity that the cluster shows of %s: %s", who,
			why.text);
	} else if (!through && !(row_was_restored(people, row) &&
				       chain_is_part(buf_bytes(chain), buf_bytes(&row->chain)))) {
		rc = err_set(e, KLUIS_EPIN,
			"'%s' (%s) is not who this device has seen: the identity that the cluster "
			"shows does not go on from that one. Ask them, and the operator, what "
			"happened before you share anything",
			row->identity.name, who);
	}
	rc = rc != 0 ? rc : row_check_pin(people, row, buf_bytes(chain), e);
	if (rc != 0) {
		identity_release(&identity);
		return rc;
	}
	/* Only what is new is exchanged: identities were handed out. */
	if (chain->len != row->chain.len || row_was_restored(people, row)) {
		identity_release(&row->identity);
		row->identity = identity;
		buf_release(&row->chain);
		row->chain = *chain;
		*chain = BUF_INIT;
		memcpy(row->lineage, people->profile->lineage, ID_BYTES);
		return row_store(people, row, e);
	}
	identity_release(&identity);
	return 0;
}

/* An account that was deleted has no chain to show any more: what was seen of it stands. */
static bool identity_denied(int rc)
{
	return rc == KLUIS_ENOTFOUND || rc == KLUIS_EGONE || rc == KLUIS_EFORBIDDEN;
}

static int row_denied(const struct people_row *row, struct err *e)
{
	char who[HEX_LEN(ID_BYTES) + 16];

	row_who(row, who);
	return err_set(e, KLUIS_EVERIFY,
		"the cluster denies %s, whom it names: nothing that is said to be by that user can "
		"be verified",
		who);
}

static int row_ask(struct people *people, struct people_row *row, struct err *e)
{
	_cleanup_(buf_release) struct buf chain = BUF_INIT;
	char who[HEX_LEN(ID_BYTES) + 16];
	struct err why = {0};
	int rc;

	row_who(row, who);
	if (people->client == NULL) {
		return err_set(e, KLUIS_ECONNECT, "the identity of %s was never seen here", who);
	}
	rc = api_identity(people->client, row->user_id, &chain, &why);
	if (identity_denied(rc)) {
		row->asked = true;
		return row->identity.seq > 0 ? 0 : row_denied(row, e);
	}
	if (rc == 0 && chain.len > IDENTITY_CHAIN_BYTES_MAX) {
		rc = err_set(&why, KLUIS_EPROTO, "it is too long");
	}
	if (rc != 0) {
		return err_set(e, rc, "the identity of %s: %s", who, why.text);
	}
	rc = row_take(people, row, &chain, e);
	row->asked = rc == 0;
	return rc;
}

int people_get(struct people *people, const uint8_t user_id[ID_BYTES], bool fresh,
	const struct identity **ret_identity, struct err *e)
{
	struct people_row *row;
	int rc;

	if (memcmp(user_id, people->profile->user_id, ID_BYTES) == 0) {
		*ret_identity = &people->profile->identity;
		return 0;
	}
	rc = row_find(people, user_id, &row, e);
	if (rc == 0 && !row->asked &&
		(row->identity.seq == 0 || (fresh && people->client != NULL))) {
		rc = row_ask(people, row, e);
	}
	if (rc == 0 && row->identity.seq == 0) {
		rc = row_denied(row, e);
	}
	if (rc == 0) {
		*ret_identity = &row->identity;
	}
	return rc;
}

void people_ask_again(struct people *people)
{
	for (size_t i = 0; i < people->n; i++) {
		people->rows[i]->asked = false;
	}
}

/* Nobody else whom this profile has seen is of that name. */
static int name_check_seen(
	struct people *people, const uint8_t user_id[ID_BYTES], const char *name, struct err *e)
{
	_cleanup_(x_freep) char *path = profile_path(people->profile, "people");
	DIR *dir = opendir(path);
	struct dirent *entry;
	int rc = 0;

	if (dir == NULL) {
		return errno == ENOENT ? 0 : err_set_errno(e, errno, "open '%s'", path);
	}
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		struct people_row *row;
		uint8_t id[ID_BYTES];

		if (hex_decode(entry->d_name, id, ID_BYTES) != 0 ||
			memcmp(id, user_id, ID_BYTES) == 0) {
			continue;
		}
		rc = row_find(people, id, &row, e);
		if (rc == 0 && strcmp(row->identity.name, name) == 0) {
			rc = err_set(e, KLUIS_EPIN,
				"'%s' is not who this device knows by that name: that was user %s, "
				"and a name is given once. The cluster answers with another "
				"user's keys",
				name, entry->d_name);
		}
	}
	(void)closedir(dir);
	return rc;
}

int people_by_name(struct people *people, const char *name, const struct identity **ret_identity,
	struct err *e)
{
	struct contact contact;
	uint8_t user_id[ID_BYTES];
	int rc;

	if (people->profile->person != NULL && people->profile->person->ring == NULL) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "the profile of '%s' is locked",
			people->profile->account);
	}
	rc = contact_load(people->profile, people->client, name, &contact, e);
	memcpy(user_id, contact.user_id, ID_BYTES);
	contact_release(&contact);
	rc = rc != 0 ? rc : name_check_seen(people, user_id, name, e);
	return rc != 0 ? rc : people_get(people, user_id, true, ret_identity, e);
}

int people_is_verified(
	struct people *people, const uint8_t user_id[ID_BYTES], bool *ret_verified, struct err *e)
{
	_cleanup_(secret_release) struct secret pin = SECRET_INIT;
	int rc = row_pin(people, user_id, &pin, e);

	if (rc == 0) {
		*ret_verified =
			pin.len > 0 || memcmp(user_id, people->profile->user_id, ID_BYTES) == 0;
	}
	return rc;
}

int people_keeping_key(
	const struct identity *identity, const struct key_pub **ret_key, struct err *e)
{
	const struct key_pub *rsa = identity_transfer(identity, KEY_KEM_RSA);

	if (rsa == NULL) {
		return people_transfer_key(identity, ret_key, e);
	}
	*ret_key = rsa;
	return 0;
}

int people_transfer_key(
	const struct identity *identity, const struct key_pub **ret_key, struct err *e)
{
	static const unsigned kems[] = {KEY_KEM_P256, KEY_KEM_X25519, KEY_KEM_P384};

	for (size_t i = 0; i < ARRAY_SIZE(kems); i++) {
		const struct key_pub *key = identity_transfer(identity, kems[i]);

		if (key != NULL) {
			*ret_key = key;
			return 0;
		}
	}
	return err_set(e, KLUIS_EVERIFY, "'%s' has no key that anything could be given to",
		identity->name);
}
