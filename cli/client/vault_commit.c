/* Writing: pages sealed so that a retry makes the same bytes, and heads that are on disk before
 * they leave, so that no seq is ever signed twice. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/limits.h"
#include "base/wire.h"
#include "cli/client/vault.h"

enum { PENDING_BYTES_MAX = REQUEST_BODY_BYTES_MAX + 64 * 1024 };

/* A random that gives one salt: page_seal() asks for nothing else. */
struct salt_source {
	struct random random;
	uint8_t salt[SEAL_SALT_BYTES];
};

static void salt_fill(struct random *random, void *to, size_t len)
{
	const struct salt_source *source = CONTAINER_OF(random, struct salt_source, random);

	assert(len == sizeof source->salt);
	memcpy(to, source->salt, len);
}

/* Salt = HMAC(salt_key, place, kind, flags, SHA-256(content)): as good as random to anybody
 * without the key, another one for any other place or content, and the same for a retry, so that a
 * staged upload finds its pages again. */
static void salt_derive(const struct vault *vault, const struct page_spec *spec,
	const uint8_t plain_hash[HASH_BYTES], uint8_t ret_salt[SEAL_SALT_BYTES])
{
	uint8_t place[ID_BYTES + 8 + 8 + 4 + 3];
	struct bytes parts[] = {bytes_of(place, sizeof place), bytes_of(plain_hash, HASH_BYTES)};

	memcpy(place, spec->place.vault_id, ID_BYTES);
	store_u64(place + 16, spec->place.page_no);
	store_u64(place + 24, spec->place.revision);
	store_u32(place + 32, spec->place.key_epoch);
	place[36] = spec->kind;
	place[37] = spec->flags;
	place[38] = spec->sym;
	hash_hmac(secret_bytes(&vault->profile->salt_key), parts, ARRAY_SIZE(parts), ret_salt);
}

int vault_seal_page(const struct vault *vault, uint64_t page_no, uint64_t revision, unsigned kind,
	unsigned flags, struct bytes content, const uint8_t plain_hash[HASH_BYTES],
	struct buf *ret_page, struct err *e)
{
	const struct vault_key *key;
	struct salt_source source = {.random = {salt_fill}};
	struct page_spec spec = {.place = {.page_no = page_no, .revision = revision},
		.sym = vault->profile->aes_128 ? SYM_AES_128 : SYM_AES_256,
		.flags = (uint8_t)flags,
		.kind = (uint8_t)kind};
	int rc = vault_check_key(vault, e);

	assert(revision > 0);
	if (rc != 0) {
		return rc;
	}
	key = vault_write_key(vault);
	spec.place.key_epoch = key->epoch;
	memcpy(spec.place.vault_id, vault->id, ID_BYTES);
	memcpy(spec.device_id, vault->profile->device_id, ID_BYTES);
	salt_derive(vault, &spec, plain_hash, source.salt);
	return page_seal(secret_bytes(&key->vk), &spec, content, &source.random, ret_page, e);
}

/* The body of a commit, stored as it was sent: lineage | u64 seq | hash32 | lp32 body. */
struct pending {
	uint64_t seq;
	uint8_t lineage[ID_BYTES], hash[HASH_BYTES];
	struct bytes body;
};

static int pending_parse(struct bytes payload, struct pending *ret, struct err *e)
{
	struct wire w = wire_of(payload);

	wire_copy(&w, ret->lineage, ID_BYTES);
	ret->seq = wire_u64(&w);
	wire_copy(&w, ret->hash, HASH_BYTES);
	ret->body = wire_lp32(&w, REQUEST_BODY_BYTES_MAX);
	return wire_end(&w) && ret->seq > 0
		       ? 0
		       : err_set(e, KLUIS_ECORRUPT, "the pending commit is malformed");
}

static int pending_store(
	struct vault *vault, const struct head *head, struct bytes body, struct err *e)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "pending");
	_cleanup_(buf_release) struct buf payload = BUF_INIT;

	buf_append(&payload, vault->profile->lineage, ID_BYTES);
	buf_put_u64(&payload, head->seq);
	buf_append(&payload, head->hash, HASH_BYTES);
	buf_put_lp32(&payload, body);
	return profile_write(vault->profile, name, PROFILE_PENDING, buf_bytes(&payload), e);
}

/* It names members that the list, as admins signed it, has left behind: no cluster that follows its
 * rules will ever take it. */
static bool pending_outdated(const struct vault *vault, const struct pending *pending)
{
	struct wire w = wire_of(pending->body);
	struct head head;

	return head_parse(wire_lp32(&w, HEAD_BYTES), &head, NULL) == 0 &&
	       head.members_rev < vault->members_rev;
}

static int pending_drop(struct vault *vault, struct err *e)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "pending");

	return profile_remove(vault->profile, name, e);
}

/* The cluster says that another head came first. */
static bool commit_conflicts(int rc)
{
	return rc == KLUIS_EPRECONDITION || rc == KLUIS_ECONFLICT;
}

/* A commit that did not get through. Also a refusal leaves it pending: a cluster that refuses a
 * head and shows it to others later would have two of ours for one seq. */
static int commit_stuck(struct vault *vault, uint64_t seq, struct err *e)
{
	(void)err_wrap(e, e->code,
		"vault '%s': head %" PRIu64 " has to get through before anything else is written",
		vault->name, seq);
	vault->stuck = *e;
	return e->code;
}

static int pending_send(
	struct vault *vault, const struct pending *pending, bool *ret_sent, struct err *e)
{
	struct err why = {0};
	int rc = api_commit(vault->client, vault->id, pending->body, false, &why);

	/* Whose head came first is not taken from the answer: the heads have to show it. */
	if (rc == 0 || commit_conflicts(rc)) {
		*ret_sent = true;
		return 0;
	}
	if (rc == KLUIS_ELINEAGE) {
		*e = why;
		return rc;
	}
	(void)commit_stuck(vault, pending->seq, &why);
	return 0;
}

int vault_settle_pending(struct vault *vault, bool *sent, struct err *e)
{
	_cleanup_(x_freep) char *name = vault_file(vault, "pending");
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	struct pending pending;
	struct err why = {0};
	int rc = profile_read(
		vault->profile, name, PROFILE_PENDING, PENDING_BYTES_MAX, &payload, &why);

	vault->stuck = (struct err){0};
	if (rc == KLUIS_ENOTFOUND) {
		return 0;
	}
	rc = rc != 0 ? rc : pending_parse(buf_bytes(&payload), &pending, &why);
	if (rc != 0) {
		*e = why;
		return err_wrap(e, rc, "vault '%s'", vault->name);
	}
	/* Its head belongs to what was restored away, or the chain has a head with that seq. */
	if (memcmp(pending.lineage, vault->profile->lineage, ID_BYTES) != 0 ||
		vault->head.seq >= pending.seq || pending_outdated(vault, &pending)) {
		return pending_drop(vault, e);
	}
	if (vault->head.seq + 1 != pending.seq) { /* Files of two profiles. */
		why.code = KLUIS_ECORRUPT;
		(void)commit_stuck(vault, pending.seq, &why);
		return 0;
	}
	if (*sent) {
		return err_set(e, KLUIS_EVERIFY,
			"vault '%s': the cluster neither takes head %" PRIu64
			" nor shows another one in its place",
			vault->name, pending.seq);
	}
	return pending_send(vault, &pending, sent, e);
}

/* What the table said before, so that a commit that failed leaves no trace. */
struct commit_undo {
	uint64_t count;
	struct vault_leaf *states;
	uint8_t (*leaves)[HASH_BYTES];
};

static void commit_apply(
	struct vault *vault, const struct api_entry *entries, size_t n, struct commit_undo *undo)
{
	undo->count = merkle_count(vault->tree);
	undo->states = x_calloc(n, sizeof *undo->states);
	undo->leaves = x_calloc(n, sizeof *undo->leaves);
	for (size_t i = 0; i < n; i++) {
		struct page_place place = {.page_no = entries[i].page_no,
			.revision = entries[i].revision,
			.key_epoch = entries[i].epoch};
		uint8_t leaf[HASH_BYTES];

		assert(i == 0 || entries[i].page_no > entries[i - 1].page_no);
		if (entries[i].page_no < undo->count) {
			undo->states[i] = vault->leaves[entries[i].page_no];
			memcpy(undo->leaves[i], merkle_leaf(vault->tree, entries[i].page_no),
				HASH_BYTES);
		}
		memcpy(place.vault_id, vault->id, ID_BYTES);
		page_leaf(&place, entries[i].page_hash, leaf);
		vault_set_leaf(vault, entries[i].page_no,
			(struct vault_leaf){entries[i].revision, entries[i].epoch, true}, leaf);
	}
}

static void commit_undo(
	struct vault *vault, const struct api_entry *entries, size_t n, struct commit_undo *undo)
{
	if (merkle_count(vault->tree) > undo->count) {
		merkle_truncate(vault->tree, undo->count);
	}
	for (size_t i = 0; i < n; i++) {
		if (entries[i].page_no < undo->count) {
			vault_set_leaf(vault, entries[i].page_no, undo->states[i], undo->leaves[i]);
		}
	}
}

static int commit_sign(
	struct vault *vault, struct head *ret_head, struct buf *ret_bytes, struct err *e)
{
	struct head head = {.seq = vault->head.seq + 1,
		.key_epoch = vault_write_key(vault)->epoch,
		.members_rev = vault->members_rev,
		.page_count = merkle_count(vault->tree),
		.unix_ms = clock_wall_ms(&clock_system)};
	int rc;

	memcpy(head.vault_id, vault->id, ID_BYTES);
	merkle_root(vault->tree, head.merkle_root);
	memcpy(head.prev_hash, vault->head.hash, HASH_BYTES);
	memcpy(head.members_hash, vault->members_hash, HASH_BYTES);
	memcpy(head.user_id, vault->profile->user_id, ID_BYTES);
	memcpy(head.device_id, vault->profile->device_id, ID_BYTES);
	rc = head_sign(&head, vault->profile->device, ret_bytes, e);
	return rc != 0 ? rc : head_parse(buf_bytes(ret_bytes), ret_head, e);
}

/* A signed head has to get through: it does so without claims, too. */
static int commit_post(const struct vault *vault, struct bytes body, struct err *e)
{
	struct err why = {0};

	if (vault->claims != NULL) {
		int rc = api_commit_claiming(vault->client, vault->id, body, vault->claims, &why);

		if (rc != KLUIS_ENOTFOUND) {
			return rc == 0 ? 0 : err_set(e, rc, "%s", why.text);
		}
	}
	return api_commit(vault->client, vault->id, body, false, e);
}

static int commit_send(struct vault *vault, struct head *head, struct buf *bytes,
	const struct api_entry *entries, size_t n, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	int rc = commit_sign(vault, head, bytes, e);

	if (rc != 0) {
		return rc;
	}
	api_commit_body(buf_bytes(bytes), entries, n, &body);
	rc = pending_store(vault, head, buf_bytes(&body), e);
	if (rc != 0) {
		return rc;
	}
	if (FAULT_POINT("vault.pending_stored")) {
		return err_set(e, KLUIS_ECLOSED, "stopped before the commit was sent");
	}
	rc = commit_post(vault, buf_bytes(&body), e);
	return rc == 0 || rc == KLUIS_ELINEAGE || err_retryable(rc) || commit_conflicts(rc)
		       ? rc
		       : commit_stuck(vault, head->seq, e);
}

/* The cluster's word is that our head is not the next one. While no verified head stands in its
 * place ours stays pending: signing another one on that word would give a lying cluster two heads
 * for one seq. Ours may also be in the chain, when an attempt whose answer was lost got through. */
static int commit_conflict(struct vault *vault, const struct head *ours, struct err *e)
{
	struct buf heads = BUF_INIT;
	struct head at;
	bool done, taken = false;
	int rc = vault_sync(vault, e);

	if (rc == 0 && vault->head.seq > ours->seq) {
		rc = api_heads(vault->client, vault->id, ours->seq - 1, &heads, &done, e);
		if (rc == 0 && heads.len >= HEAD_BYTES) {
			taken = head_parse(bytes_of(heads.data, HEAD_BYTES), &at, NULL) == 0 &&
				memcmp(at.hash, ours->hash, HASH_BYTES) == 0;
		}
	} else if (rc == 0) {
		taken = memcmp(vault->head.hash, ours->hash, HASH_BYTES) == 0;
	}
	buf_release(&heads);
	if (rc != 0 || taken) {
		return rc;
	}
	return err_set(e, KLUIS_ECONFLICT, "vault '%s': another writer was first", vault->name);
}

/* Nothing is signed while an earlier commit is pending. It is tried once more: what it lacked, such
 * as a staged page that had expired, may be there again. */
static int commit_make_way(struct vault *vault, struct err *e)
{
	bool sent = false;
	int rc;

	if (vault->offline) {
		return err_set(
			e, KLUIS_ECONNECT, "vault '%s': nothing is written offline", vault->name);
	}
	rc = vault_settle_pending(vault, &sent, e);
	if (rc == 0 && sent) {
		rc = vault_sync(vault, e);
		rc = rc != 0 ? rc
			     : err_set(e, KLUIS_ECONFLICT,
				       "vault '%s': an earlier commit came first", vault->name);
	}
	if (rc == 0 && vault->stuck.code != 0) {
		*e = vault->stuck;
		rc = e->code;
	}
	return rc;
}

/* The members may have changed since the pages were sealed: nothing new goes under an old key. */
static int commit_check_epochs(
	const struct vault *vault, const struct api_entry *entries, size_t n, struct err *e)
{
	uint32_t epoch = vault_write_key(vault)->epoch;

	for (size_t i = 0; i < n; i++) {
		if (entries[i].epoch < epoch) {
			return err_set(e, KLUIS_ECONFLICT,
				"vault '%s': its members changed meanwhile, and its key with them",
				vault->name);
		}
	}
	return 0;
}

int vault_commit(struct vault *vault, const struct api_entry *entries, size_t n, struct err *e)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct commit_undo undo;
	struct head head = {0};
	int rc;

	assert(vault->tree != NULL);
	assert(n > 0 && n <= COMMIT_ENTRIES_MAX);
	rc = vault_may_write(vault->profile, e);
	rc = rc != 0 ? rc : commit_make_way(vault, e);
	rc = rc != 0 ? rc : vault_check_key(vault, e);
	rc = rc != 0 ? rc : commit_check_epochs(vault, entries, n, e);
	if (rc != 0) {
		return rc;
	}
	if (entries[n - 1].page_no >= VAULT_PAGES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "vault '%s': it can hold %d pages", vault->name,
			VAULT_PAGES_MAX);
	}
	commit_apply(vault, entries, n, &undo);
	rc = commit_send(vault, &head, &bytes, entries, n, e);
	if (rc == 0) {
		vault_set_head(vault, &head, bytes.data);
		rc = vault_store_pin(vault, e);
		rc = rc != 0 ? rc : pending_drop(vault, e);
	} else {
		commit_undo(vault, entries, n, &undo);
		if (commit_conflicts(rc)) {
			rc = commit_conflict(vault, &head, e);
		}
	}
	free(undo.states);
	free(undo.leaves);
	return rc;
}
