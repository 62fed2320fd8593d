/* A vault that others share: who its members are, which of them may have written a head, and under
 * which key is written now. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/wire.h"
#include "cli/client/packets.h"
#include "cli/client/person.h"
#include "cli/client/vault.h"

enum { FLOOR_BYTES = 8 + 4 };

static void groups_release(struct vault *vault)
{
	for (size_t i = 0; i < vault->n_groups; i++) {
		membership_free(vault->groups[i]);
	}
	for (size_t i = 0; i < vault->n_withheld; i++) {
		membership_free(vault->withheld[i]);
	}
	free(vault->groups);
	free(vault->withheld);
	vault->groups = NULL;
	vault->withheld = NULL;
	vault->n_groups = 0;
	vault->n_withheld = 0;
}

void vault_members_release(struct vault *vault)
{
	groups_release(vault);
	membership_free(vault->membership);
	people_free(vault->people);
	vault->membership = NULL;
	vault->people = NULL;
}

/* It is of this vault, and begins with the statement that made it. */
static int members_check(const struct vault *vault, const struct membership *m, struct err *e)
{
	struct statement create;
	int rc = statement_parse(CHAIN_MEMBERS, buf_bytes(&vault->create), &create, e);

	if (rc == 0 && (memcmp(m->members.object_id, vault->id, ID_BYTES) != 0 ||
			       m->members.kind != MEMBER_OBJECT_VAULT ||
			       memcmp(m->steps[0].hash, create.hash, HASH_BYTES) != 0)) {
		rc = err_set(e, KLUIS_EVERIFY, "the create statement is of another object");
	}
	if (rc == 0 && m->members.loose) {
		rc = err_set(e, KLUIS_EVERIFY,
			"vault '%s': its list of members rests on a device that was revoked",
			vault->name);
	}
	return rc;
}

static void members_set(struct vault *vault, struct membership *m)
{
	membership_free(vault->membership);
	vault->membership = m;
	vault->members_rev = (uint32_t)m->members.seq;
	memcpy(vault->members_hash, m->members.hash, HASH_BYTES);
}

/* A group whose chain is not shown lets nobody write: what its members wrote is then refused. Who
 * was taken out of it, as this profile has seen, is out of it all the same. */
static int group_load(
	struct vault *vault, const uint8_t group_id[ID_BYTES], bool known, struct err *e)
{
	struct membership *group = NULL;
	bool denied = false;
	int rc = 0;

	if (!known) {
		rc = membership_load(vault->people, MEMBER_OBJECT_GROUP, group_id, &group, e);
		denied = vault_denied(rc);
	}
	if (known || denied) {
		rc = membership_load_known(vault->people, MEMBER_OBJECT_GROUP, group_id, &group, e);
	}
	if (rc == 0 && denied) {
		vault->withheld[vault->n_withheld++] = group;
	} else if (rc == 0) {
		vault->groups[vault->n_groups++] = group;
	}
	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

static int groups_load(struct vault *vault, bool known, struct err *e)
{
	const struct members *members = &vault->membership->members;
	int rc = 0;

	groups_release(vault);
	vault->groups = x_calloc(members->count + 1, sizeof(struct membership *));
	vault->withheld = x_calloc(members->count + 1, sizeof(struct membership *));
	for (size_t i = 0; rc == 0 && i < members->count; i++) {
		struct err why = {0};

		if (members->member[i].kind != MEMBER_GROUP) {
			continue;
		}
		rc = group_load(vault, members->member[i].id, known, &why);
		rc = rc == 0 ? 0
			     : err_set(e, rc, "vault '%s': a group of it: %s", vault->name,
				       why.text);
	}
	return rc;
}

/* What loading them came to: *m is taken when it is this vault's. */
static int members_take(struct vault *vault, int rc, const struct err *why, struct membership **m,
	bool known, struct err *e)
{
	rc = rc == 0 ? members_check(vault, *m, e)
		     : err_set(e, rc, "vault '%s': %s", vault->name, why->text);
	if (rc != 0) {
		return rc;
	}
	members_set(vault, *m);
	*m = NULL;
	return groups_load(vault, known, e);
}

int vault_check_create(struct vault *vault, struct err *e)
{
	_cleanup_(membership_freep) struct membership *m = NULL;
	struct err why = {0};
	int rc;

	if (vault->people == NULL) {
		vault->people = people_new(vault->profile, vault->client);
	}
	rc = membership_load_known(vault->people, MEMBER_OBJECT_VAULT, vault->id, &m, &why);
	if (rc == KLUIS_ENOTFOUND) {
		m = membership_new();
		rc = membership_extend(
			m, buf_bytes(&vault->create), people_source(vault->people), false, &why);
	}
	return members_take(vault, rc, &why, &m, true, e);
}

int vault_members_refresh(struct vault *vault, struct err *e)
{
	_cleanup_(membership_freep) struct membership *m = NULL;
	struct err why = {0};
	int rc = vault->offline ? vault_refuse_offline(vault, e) : 0;

	if (rc != 0) {
		return rc;
	}
	rc = membership_load(vault->people, MEMBER_OBJECT_VAULT, vault->id, &m, &why);
	return members_take(vault, rc, &why, &m, false, e);
}

bool vault_is_shared(const struct vault *vault)
{
	return vault->membership->members.count > 1;
}

unsigned vault_role(const struct vault *vault)
{
	const struct membership *m = vault->membership;
	const uint8_t *me = vault->profile->user_id;
	unsigned best = membership_role(m, me, m->members.seq);

	for (size_t i = 0; i < vault->n_groups; i++) {
		const struct membership *group = vault->groups[i];
		unsigned role = membership_role(m, group->members.object_id, m->members.seq);

		if (membership_role(group, me, group->members.seq) != 0 && role > best) {
			best = role;
		}
	}
	return best;
}

/* The chain's, or what was written under ahead of it before the vault was shared. */
static uint32_t epoch_used(const struct vault *vault)
{
	uint32_t epoch = vault->membership->members.epoch;

	return vault->head.key_epoch > epoch ? vault->head.key_epoch : epoch;
}

const struct vault_key *vault_write_key(const struct vault *vault)
{
	uint32_t epoch = epoch_used(vault);

	/* Of one that nobody else was ever in a new password makes a key that the chain does not
	 * name. */
	if (vault->members_rev == 1 && vault->n_keys > 0) {
		return &vault->keys[vault->n_keys - 1];
	}
	for (size_t i = vault->n_keys; i > 0; i--) {
		if (vault->keys[i - 1].epoch == epoch) {
			return &vault->keys[i - 1];
		}
	}
	return NULL;
}

static int rekeyed_refused(const struct vault *vault, struct err *e)
{
	return err_set(e, KLUIS_EVERIFY,
		"vault '%s' has no new key since somebody was taken out of a group in it: nothing "
		"is written that they could read, until one of its admins re-keys it ('kluis vault "
		"rekey')",
		vault->name);
}

/* An admin who takes somebody out of a group re-keys its vaults in the same command: one that was
 * hidden from her, or left out of it, is still open to who was taken out. A group that the cluster
 * does not show any more is as this profile has seen it. */
static int check_rekeyed(const struct vault *vault, struct err *e)
{
	for (size_t i = 0; i < vault->n_groups; i++) {
		if (!membership_rekeyed(vault->membership, vault->groups[i])) {
			return rekeyed_refused(vault, e);
		}
	}
	for (size_t i = 0; i < vault->n_withheld; i++) {
		if (!membership_rekeyed(vault->membership, vault->withheld[i])) {
			return rekeyed_refused(vault, e);
		}
	}
	return 0;
}

int vault_check_key(const struct vault *vault, struct err *e)
{
	int rc = check_rekeyed(vault, e);

	if (rc != 0) {
		return rc;
	}
	if (vault_role(vault) < MEMBER_WRITE) {
		return err_set(e, KLUIS_EFORBIDDEN, "you may read vault '%s', not write to it",
			vault->name);
	}
	return vault_write_key(vault) != NULL
		       ? 0
		       : err_set(e, KLUIS_EFORBIDDEN,
				 "vault '%s': its key of epoch %" PRIu32
				 " has not reached you: one of its admins has to send it",
				 vault->name, vault->membership->members.epoch);
}

static bool has_epoch(const struct vault *vault, uint32_t epoch)
{
	for (size_t i = 0; i < vault->n_keys; i++) {
		if (vault->keys[i].epoch == epoch) {
			return true;
		}
	}
	return false;
}

static void keys_drop(struct vault *vault)
{
	for (size_t i = 0; i < vault->n_keys; i++) {
		secret_release(&vault->keys[i].vk);
	}
	vault->n_keys = 0;
}

/* The key of a group in it, before what was sent to the group. */
static int group_take(struct vault *vault, const struct membership *group, struct err *e)
{
	struct ring *ring = vault->profile->person->ring;
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	_cleanup_(secret_release) struct secret name_key = SECRET_INIT;
	struct packets_taken taken = {.taken = 0};
	const struct members *members = &group->members;
	struct err why = {0};
	int rc;

	if (membership_role(group, vault->profile->user_id, members->seq) == 0) {
		return 0;
	}
	rc = ring->group(ring, members->object_id, members->epoch, &pub, &name_key, &why);
	return rc != KLUIS_ENOTFOUND ? 0
				     : packets_take(vault->people, members->object_id, &taken, e);
}

int vault_take_keys(struct vault *vault, struct err *e)
{
	uint32_t epoch = vault->membership->members.epoch;
	struct packets_taken taken = {.taken = 0};
	int rc = 0;

	if (vault->profile->person == NULL || vault->profile->person->ring == NULL ||
		has_epoch(vault, epoch)) {
		return 0;
	}
	for (size_t i = 0; rc == 0 && i < vault->n_groups; i++) {
		rc = group_take(vault, vault->groups[i], e);
	}
	rc = rc != 0 ? rc : packets_take(vault->people, vault->id, &taken, e);
	if (rc != 0) {
		return rc;
	}
	if (taken.taken > 0 || taken.held > 0) {
		keys_drop(vault);
		rc = vault_person_keys(vault, e);
	}
	if (rc == 0 && !has_epoch(vault, epoch) && taken.refused > 0) {
		rc = err_set(e, KLUIS_EVERIFY,
			"vault '%s': the key that the cluster brings for it does not hold: %s",
			vault->name, taken.why.text);
	}
	return rc;
}

/* By what is known, and once more by what the cluster has now: a group may have new members. */
static int head_check(struct vault *vault, uint64_t min_rev, const struct head *head,
	bool *refreshed, struct err *e)
{
	struct err why = {0};
	int rc = membership_check_head(
		vault->membership, vault->groups, vault->n_groups, min_rev, head, &why);

	if (rc != 0 && !*refreshed && !vault->offline) {
		*refreshed = true;
		struct err ignored = why;

		rc = vault_members_refresh(vault, &ignored);
		if (rc != 0 && !vault_denied(rc)) {
			return err_set(e, rc, "%s", ignored.text);
		}
		rc = membership_check_head(
			vault->membership, vault->groups, vault->n_groups, min_rev, head, &why);
	}
	return rc == 0 ? 0 : err_set(e, rc, "vault '%s': %s", vault->name, why.text);
}

int vault_check_head_members(
	struct vault *vault, uint64_t min_rev, const struct head *head, struct err *e)
{
	bool refreshed = false;

	return head_check(vault, min_rev, head, &refreshed, e);
}

int vault_head_writer(struct vault *vault, const struct head *head,
	const struct identity **ret_identity, struct err *e)
{
	struct err why = {0};
	bool mine = memcmp(head->user_id, vault->profile->user_id, ID_BYTES) == 0;
	int rc = people_get(vault->people, head->user_id, !vault->offline, ret_identity, &why);

	if (rc != 0) {
		return err_set(e, rc, "vault '%s': head %" PRIu64 ": %s", vault->name, head->seq,
			why.text);
	}
	if (identity_device(*ret_identity, head->device_id) != NULL) {
		return 0;
	}
	return err_set(e, KLUIS_EVERIFY,
		"vault '%s': head %" PRIu64 " is by %s, which that identity does not name: nothing "
		"newer than head %" PRIu64 " is taken",
		vault->name, head->seq,
		mine ? "another device of this account" : "a device of another member",
		vault->head.seq);
}

/* Who wrote the heads of a run. */
struct writers {
	const struct identity **identities;
	size_t n;
};

static void writers_note(struct writers *writers, const struct identity *identity)
{
	for (size_t i = 0; i < writers->n; i++) {
		if (writers->identities[i] == identity) {
			return;
		}
	}
	writers->identities =
		x_realloc(writers->identities, (writers->n + 1) * sizeof(const struct identity *));
	writers->identities[writers->n++] = identity;
}

static int run_check(struct vault *vault, const struct head *heads, size_t n, uint64_t min_rev,
	struct writers *writers, struct err *e)
{
	bool refreshed = false;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		const struct identity *writer;
		uint64_t least = heads[i].seq > vault->floor_seq && vault->floor_rev > min_rev
					 ? vault->floor_rev
					 : min_rev;

		rc = head_check(vault, least, &heads[i], &refreshed, e);
		rc = rc != 0 ? rc : vault_head_writer(vault, &heads[i], &writer, e);
		if (rc == 0) {
			writers_note(writers, writer);
		}
		min_rev = heads[i].members_rev;
	}
	return rc;
}

int vault_verify_run(struct vault *vault, const struct bytes *run, const struct head *heads,
	size_t n, uint64_t min_rev, struct head *ret_last, struct err *e)
{
	struct writers writers = {.n = 0};
	struct signer_identities signers;
	int rc = run_check(vault, heads, n, min_rev, &writers, e);

	if (rc == 0) {
		signer_identities_init(&signers, writers.identities, writers.n);
		rc = head_verify_run(run, n, &signers.table, ret_last, e);
		rc = rc == 0 ? 0 : err_wrap(e, rc, "vault '%s'", vault->name);
	}
	free(writers.identities);
	return rc;
}

/* u64 seq | u32 members_rev: heads after seq were written when that list was known already. */
int vault_load_floor(struct vault *vault, struct err *e)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "floor");
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	struct err why = {0};
	int rc = profile_read(
		vault->profile, name, PROFILE_FLOOR, PROFILE_FILE_BYTES_MAX, &payload, &why);

	if (rc == KLUIS_ENOTFOUND) {
		return 0;
	}
	if (rc != 0 || payload.len != FLOOR_BYTES) {
		return err_set(e, rc != 0 ? rc : KLUIS_ECORRUPT, "vault '%s': 'floor': %s",
			vault->name, why.text);
	}
	vault->floor_seq = load_u64(payload.data);
	vault->floor_rev = load_u32(payload.data + 8);
	return 0;
}

int vault_store_floor(struct vault *vault, uint32_t rev, struct err *e)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "floor");
	uint8_t payload[FLOOR_BYTES];

	if (rev <= vault->floor_rev || rev <= 1) {
		return 0;
	}
	vault->floor_seq = vault->head.seq;
	vault->floor_rev = rev;
	store_u64(payload, vault->floor_seq);
	store_u32(payload + 8, rev);
	return profile_write(
		vault->profile, name, PROFILE_FLOOR, bytes_of(payload, sizeof payload), e);
}

int vault_drop_floor(struct vault *vault, struct err *e)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "floor");

	vault->floor_seq = 0;
	vault->floor_rev = 0;
	return profile_remove(vault->profile, name, e);
}
