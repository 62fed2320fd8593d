/* Following a vault's heads from the pinned one, and what that proves about its pages. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/vault.h"

bool vault_restored(const struct profile *profile, const uint8_t id[ID_BYTES])
{
	return vault_has_file(profile, id, "restored");
}

/* The pin of a profile whose cluster was restored: it may move back, but only to what it was. */
static bool vault_rebasing(const struct vault *vault)
{
	return vault_restored(vault->profile, vault->id);
}

static int sync_head_parse(
	const struct vault *vault, const uint8_t *bytes, struct head *ret_head, struct err *e)
{
	int rc = head_parse(bytes_of(bytes, HEAD_BYTES), ret_head, e);

	if (rc != 0) {
		return err_set(e, KLUIS_EVERIFY, "vault '%s': malformed head", vault->name);
	}
	if (ret_head->page_count > VAULT_PAGES_MAX) {
		return err_set(e, KLUIS_EVERIFY, "vault '%s': more pages than can be", vault->name);
	}
	if (memcmp(ret_head->vault_id, vault->id, ID_BYTES) != 0) {
		return err_set(
			e, KLUIS_EVERIFY, "vault '%s': the head of another vault", vault->name);
	}
	return 0;
}

/* All heads after `since` up to that of `newest`, HEAD_BYTES each. */
static int sync_fetch_heads(struct vault *vault, uint64_t since, const struct head *newest,
	struct buf *ret_heads, struct err *e)
{
	bool done = false;

	while (!done && ret_heads->len / HEAD_BYTES < newest->seq - since) {
		size_t before = ret_heads->len;
		int rc = api_heads(
			vault->client, vault->id, since + before / HEAD_BYTES, ret_heads, &done, e);

		if (rc != 0) {
			return rc;
		}
		if (ret_heads->len == before ||
			ret_heads->len / HEAD_BYTES > VAULT_HEADS_PER_SYNC_MAX) {
			break;
		}
	}
	if (ret_heads->len / HEAD_BYTES < newest->seq - since) {
		return err_set(
			e, KLUIS_EVERIFY, "vault '%s': the cluster withholds heads", vault->name);
	}
	ret_heads->len = (size_t)(newest->seq - since) * HEAD_BYTES;
	return 0;
}

/* The run is by who might write, each head on the one before it. min_rev: which list of members the
 * head before it names. */
static int sync_verify_heads(struct vault *vault, struct bytes heads, uint64_t seq,
	const uint8_t *prev_hash, uint64_t min_rev, struct head *ret_last, struct err *e)
{
	_cleanup_(x_freep) struct bytes *run = NULL;
	_cleanup_(x_freep) struct head *parsed = NULL;
	size_t n = heads.len / HEAD_BYTES;
	int rc = 0;

	run = x_calloc(n, sizeof *run);
	parsed = x_calloc(n, sizeof *parsed);
	for (size_t i = 0; i < n && rc == 0; i++) {
		run[i] = bytes_of(heads.data + i * HEAD_BYTES, HEAD_BYTES);
		rc = sync_head_parse(vault, run[i].data, &parsed[i], e);
		if (rc == 0 && i == 0 && prev_hash != NULL &&
			head_follows(&parsed[i], seq, prev_hash, NULL) != 0) {
			rc = err_set(e, KLUIS_EPIN,
				"vault '%s': the cluster shows another history than this profile "
				"has seen (fork after head %" PRIu64 ")",
				vault->name, seq);
		}
	}
	return rc != 0 ? rc : vault_verify_run(vault, run, parsed, n, min_rev, ret_last, e);
}

/* The signature alone: that the device is revoked by now does not matter to those after it, which
 * vault_sync() judges as a run. */
int vault_check_first(struct vault *vault, struct bytes bytes, struct err *e)
{
	const struct identity *writer;
	const struct identity_device *device;
	struct head first;
	int rc = sync_head_parse(vault, bytes.data, &first, e);

	rc = rc != 0 ? rc : vault_check_head_members(vault, 0, &first, e);
	rc = rc != 0 ? rc : vault_head_writer(vault, &first, &writer, e);
	if (rc == 0 && (first.seq != 1 || first.page_count != 0)) {
		rc = err_set(
			e, KLUIS_EVERIFY, "vault '%s': that is not its first head", vault->name);
	}
	if (rc != 0) {
		return rc;
	}
	device = identity_device(writer, first.device_id);
	rc = head_verify(&first, device->sign, e);
	return rc == 0 ? 0 : err_wrap(e, rc, "vault '%s'", vault->name);
}

/* The heads behind it, each on the one before, end in the pinned one. */
static int sync_descend(struct vault *vault, const struct head *head, struct err *e)
{
	_cleanup_(buf_release) struct buf heads = BUF_INIT;
	struct head last;
	int rc = sync_fetch_heads(vault, head->seq, &vault->head, &heads, e);

	rc = rc != 0 ? rc
		     : sync_verify_heads(vault, buf_bytes(&heads), head->seq, head->hash,
			       head->members_rev, &last, e);
	if (rc == 0 && memcmp(last.hash, vault->head.hash, HASH_BYTES) != 0) {
		rc = err_set(e, KLUIS_EPIN,
			"vault '%s': the cluster shows another history than this profile has seen",
			vault->name);
	}
	return rc;
}

int vault_prove_head(
	struct vault *vault, const uint8_t *bytes, struct head *ret_head, struct err *e)
{
	uint8_t seen[HASH_BYTES];
	struct head head;
	const struct identity *writer;
	int rc = sync_head_parse(vault, bytes, &head, e);

	rc = rc != 0 ? rc : vault_check_head_members(vault, 0, &head, e);
	rc = rc != 0 ? rc : vault_head_writer(vault, &head, &writer, e);
	if (rc != 0) {
		return rc;
	}
	if (head.seq == vault->head.seq || vault_seen_head(vault, head.seq, seen)) {
		const uint8_t *known = head.seq == vault->head.seq ? vault->head.hash : seen;

		rc = memcmp(known, head.hash, HASH_BYTES) == 0
			     ? 0
			     : err_set(e, KLUIS_EPIN,
				       "vault '%s': that is another head %" PRIu64
				       " than this profile has seen",
				       vault->name, head.seq);
	} else if (head.seq > vault->head.seq || vault->offline) {
		rc = err_set(e, KLUIS_EVERIFY,
			"vault '%s': nothing here says that head %" PRIu64 " ever was one of it",
			vault->name, head.seq);
	} else {
		rc = sync_descend(vault, &head, e);
	}
	if (rc == 0) {
		*ret_head = head;
	}
	return rc;
}

/* Where a list of changes has come to: it ascends by seq and page, which bounds it. */
struct sync_place {
	uint64_t seq, next_page;
	size_t entries; /* Of this seq. */
};

static int sync_step(
	struct vault *vault, struct sync_place *at, const struct api_change *c, struct err *e)
{
	if (c->seq > at->seq) {
		*at = (struct sync_place){.seq = c->seq};
	}
	if (c->seq < at->seq || c->page_no < at->next_page || at->entries == COMMIT_ENTRIES_MAX) {
		return err_set(e, KLUIS_EVERIFY,
			"vault '%s': the cluster's list of changes is out of order", vault->name);
	}
	at->next_page = c->page_no + 1;
	at->entries++;
	return 0;
}

/* Fills the table up to page_no, exclusive, with pages never written. */
static void sync_fill(struct vault *vault, uint64_t page_no)
{
	const struct vault_leaf unwritten = {.proven = true};
	uint8_t leaf[HASH_BYTES];

	while (merkle_count(vault->tree) < page_no) {
		uint64_t gap = merkle_count(vault->tree);

		page_leaf_unwritten(vault->id, gap, leaf);
		vault_set_leaf(vault, gap, unwritten, leaf);
	}
}

/* One answer's changes into the table, up to those of `last`: the others wait for the next sync,
 * and *ret_past says that they begin. */
static int sync_apply(struct vault *vault, const struct head *last, struct sync_place *at,
	const struct api_change *changes, size_t n, bool *ret_past, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct api_change *c = &changes[i];
		int rc;

		if (c->seq > last->seq) {
			*ret_past = true;
			return 0;
		}
		rc = sync_step(vault, at, c, e);
		if (rc != 0) {
			return rc;
		}
		if (c->page_no >= last->page_count) {
			return err_set(e, KLUIS_EVERIFY,
				"vault '%s': a page beyond what its head names", vault->name);
		}
		/* The root proves the leaf, not that it is a written page's. */
		if (c->revision == 0 || c->epoch == 0) {
			return err_set(e, KLUIS_EVERIFY,
				"vault '%s': a changed page that was never written", vault->name);
		}
		sync_fill(vault, c->page_no);
		vault_set_leaf(vault, c->page_no,
			(struct vault_leaf){.revision = c->revision, .epoch = c->epoch}, c->leaf);
	}
	return 0;
}

static int sync_changes(struct vault *vault, uint64_t since, const struct head *last, struct err *e)
{
	char lineage[HEX_LEN(ID_BYTES) + 1];
	struct sync_place at = {.seq = since + 1};
	char *cursor;
	bool done = false;
	int rc = 0;

	hex_encode(bytes_of(vault->profile->lineage, ID_BYTES), lineage);
	cursor = x_asprintf("%s:%" PRIu64, lineage, since);
	while (rc == 0 && !done) {
		struct api_change *changes = NULL;
		char *next = NULL;
		size_t n = 0;
		bool past = false;

		rc = api_changes(vault->client, vault->id, cursor, &changes, &n, &next, &done, e);
		rc = rc != 0 ? rc : sync_apply(vault, last, &at, changes, n, &past, e);
		done = done || past;
		if (rc == 0 && !done && (n == 0 || strcmp(next, cursor) == 0)) {
			rc = err_set(e, KLUIS_EPROTO, "changes: no progress");
		}
		free(changes);
		free(cursor);
		cursor = next;
	}
	free(cursor);
	return rc;
}

/* The table is that of `last`, or KLUIS_EVERIFY. */
static int sync_check_root(struct vault *vault, const struct head *last, struct err *e)
{
	uint8_t root[HASH_BYTES];

	sync_fill(vault, last->page_count);
	merkle_root(vault->tree, root);
	if (memcmp(root, last->merkle_root, HASH_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY,
			"vault '%s': the cluster's table of pages is not the one its head names "
			"(a page was withheld, swapped or changed)",
			vault->name);
	}
	return 0;
}

/* Loads or extends the table to `last`. On failure the table is dropped: it may be half new. */
static int sync_table(struct vault *vault, const struct head *last, struct err *e)
{
	uint64_t since = vault->head.seq;
	struct err why = {0};
	int rc;

	if (vault_load_leaves(vault, &why) != 0) {
		vault->tree = merkle_new();
		since = 0;
	}
	rc = since == last->seq ? 0 : sync_changes(vault, since, last, e);
	rc = rc != 0 ? rc : sync_check_root(vault, last, e);
	if (rc != 0) {
		vault_drop_leaves(vault);
	}
	return rc;
}

static int sync_forward(struct vault *vault, const struct head *newest, struct err *e)
{
	_cleanup_(buf_release) struct buf heads = BUF_INIT;
	struct head last;
	int rc = sync_fetch_heads(vault, vault->head.seq, newest, &heads, e);

	rc = rc != 0 ? rc
		     : sync_verify_heads(vault, buf_bytes(&heads), vault->head.seq,
			       vault->head.hash, vault->head.members_rev, &last, e);
	rc = rc != 0 || vault->profile->person == NULL
		     ? rc
		     : vault_person_check_pin(vault, &last, buf_bytes(&heads), e);
	rc = rc != 0 ? rc : sync_table(vault, &last, e);
	if (rc != 0) {
		return rc;
	}
	vault_set_head(vault, &last, heads.data + heads.len - HEAD_BYTES);
	rc = vault_store_pin(vault, e);
	return rc != 0 || vault->profile->person == NULL ? rc : vault_person_note_pin(vault, e);
}

static int rebase_forked(const struct vault *vault, uint64_t seq, struct err *e)
{
	return err_set(e, KLUIS_EPIN,
		"vault '%s': the restored cluster shows another head %" PRIu64
		" than this profile saw: do not go on, unless its writer and the operator "
		"confirm it; then enrol a new profile",
		vault->name, seq);
}

/* After a restore that the user accepted: the whole chain from its first head, which must pass
 * through what this profile once saw. */
static int sync_rebase(struct vault *vault, const struct head *newest, struct err *e)
{
	_cleanup_(buf_release) struct buf heads = BUF_INIT;
	_cleanup_(x_freep) char *name = vault_file(vault, "restored");
	uint8_t seen[HASH_BYTES];
	struct head last;
	int rc;

	if (vault_seen_head(vault, newest->seq, seen) &&
		memcmp(seen, newest->hash, HASH_BYTES) != 0) {
		return rebase_forked(vault, newest->seq, e);
	}
	rc = sync_fetch_heads(vault, 0, newest, &heads, e);
	rc = rc != 0 ? rc : vault_drop_floor(vault, e); /* It was of what is gone. */
	rc = rc != 0 ? rc : sync_verify_heads(vault, buf_bytes(&heads), 0, NULL, 0, &last, e);
	if (rc != 0) {
		return rc;
	}
	if (newest->seq >= vault->head.seq) { /* Nothing of ours was lost: it must be in there. */
		struct head at;

		rc = sync_head_parse(
			vault, heads.data + (vault->head.seq - 1) * HEAD_BYTES, &at, e);
		if (rc == 0 && memcmp(at.hash, vault->head.hash, HASH_BYTES) != 0) {
			rc = rebase_forked(vault, vault->head.seq, e);
		}
	}
	if (rc != 0) {
		return rc;
	}
	vault_drop_leaves(vault);
	vault->tree = merkle_new();
	rc = sync_changes(vault, 0, &last, e);
	rc = rc != 0 ? rc : sync_check_root(vault, &last, e);
	if (rc != 0) {
		vault_drop_leaves(vault);
		return rc;
	}
	vault_set_head(vault, &last, heads.data + heads.len - HEAD_BYTES);
	rc = vault_store_pin(vault, e);
	return rc != 0 ? rc : profile_remove(vault->profile, name, e);
}

/* The cluster's newest head is the pinned one, or an older or another one: say which. */
static int sync_same_seq(struct vault *vault, const struct head *newest, struct err *e)
{
	int rc;

	if (newest->seq < vault->head.seq) {
		return err_set(e, KLUIS_EPIN,
			"vault '%s' was rolled back: the cluster shows head %" PRIu64
			", this profile has seen head %" PRIu64
			". Ask the operator what was lost, and why; 'kluis --offline' still reads "
			"what this device has",
			vault->name, newest->seq, vault->head.seq);
	}
	if (memcmp(newest->hash, vault->head.hash, HASH_BYTES) != 0) {
		return err_set(e, KLUIS_EPIN,
			"vault '%s': the cluster shows another head %" PRIu64
			" than this profile has seen (fork)",
			vault->name, newest->seq);
	}
	if (vault->profile->person == NULL) {
		return sync_table(vault, &vault->head, e);
	}
	rc = vault_person_check_pin(vault, newest, bytes_of(NULL, 0), e);
	rc = rc != 0 ? rc : sync_table(vault, &vault->head, e);
	return rc != 0 ? rc : vault_person_note_pin(vault, e);
}

bool vault_denied(int rc)
{
	return rc == KLUIS_ENOTFOUND || rc == KLUIS_EGONE || rc == KLUIS_EFORBIDDEN;
}

int vault_withheld(const struct vault *vault, uint64_t seq, struct err *e)
{
	/* Who shared it may take it back, which who is out is not shown. */
	if (vault->membership != NULL && memcmp(vault->membership->steps[0].member_id,
						 vault->profile->user_id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EFORBIDDEN,
			"vault '%s': you are not in it any more, it was deleted, or it is "
			"withheld: "
			"ask who shared it ('kluis vault forget' drops it)",
			vault->name);
	}
	return err_set(e, KLUIS_EPIN,
		"vault '%s': the cluster denies it, but head %" PRIu64
		" of it was seen: it was deleted, or is withheld (if you deleted it: 'kluis vault "
		"forget')",
		vault->name, seq);
}

/* A list of members that is denied tells nothing new: the heads tell what there is to it, and that
 * the vault itself is denied. */
static int sync_members(struct vault *vault, struct err *e)
{
	struct err why = {0};
	int rc = vault_members_refresh(vault, &why);

	return rc == 0 || rc == KLUIS_ENOTFOUND || rc == KLUIS_EGONE
		       ? 0
		       : err_set(e, rc, "%s", why.text);
}

static int sync_cluster(struct vault *vault, struct err *e)
{
	uint8_t bytes[HEAD_BYTES];
	uint32_t rev;
	struct head newest;
	int rc;

	people_ask_again(vault->people);
	/* Of one that is not shared the heads tell when that changes. */
	rc = vault->members_rev == 1 || vault_rebasing(vault) ? 0 : sync_members(vault, e);
	rev = vault->members_rev;
	rc = rc != 0 ? rc : api_head(vault->client, vault->id, bytes, e);
	/* That it is forbidden may well be true; and a restore that was accepted may have lost it.
	 */
	if ((rc == KLUIS_ENOTFOUND || rc == KLUIS_EGONE) && !vault_rebasing(vault)) {
		return vault_withheld(vault, vault->head.seq, e);
	}
	rc = rc != 0 ? rc : sync_head_parse(vault, bytes, &newest, e);
	if (rc != 0) {
		return rc;
	}
	if (vault_rebasing(vault)) {
		rc = sync_members(vault, e);
		return rc != 0 ? rc : sync_rebase(vault, &newest, e);
	}
	rc = newest.seq > vault->head.seq ? sync_forward(vault, &newest, e)
					  : sync_same_seq(vault, &newest, e);
	rc = rc != 0 ? rc : vault_store_floor(vault, rev, e);
	return rc != 0 ? rc : vault_take_keys(vault, e);
}

/* Heads first: only a verified one says what became of a pending commit. */
int vault_sync(struct vault *vault, struct err *e)
{
	bool sent = false;
	int rc = vault->offline ? vault_refuse_offline(vault, e) : sync_cluster(vault, e);

	rc = rc != 0 ? rc : vault_settle_pending(vault, &sent, e);
	if (rc == 0 && sent) {
		/* Also the members may have changed under it. */
		rc = sync_members(vault, e);
		rc = rc != 0 ? rc : sync_cluster(vault, e);
		rc = rc != 0 ? rc : vault_settle_pending(vault, &sent, e);
	}
	if (rc == 0) {
		vault_stamp(vault);
	}
	return rc;
}

bool vault_page_written(const struct vault *vault, uint64_t page_no)
{
	assert(page_no < vault->head.page_count);
	return vault->leaves[page_no].revision != 0;
}

/* The leaf holds the revision with the page's hash: a version that gives the leaf is the page. */
static bool page_proven_by(
	const struct vault *vault, uint64_t page_no, const struct api_version_row *version)
{
	struct page_place place = {
		.page_no = page_no, .revision = version->revision, .key_epoch = version->epoch};
	uint8_t leaf[HASH_BYTES];

	memcpy(place.vault_id, vault->id, ID_BYTES);
	page_leaf(&place, version->sha256, leaf);
	return memcmp(leaf, merkle_leaf(vault->tree, page_no), HASH_BYTES) == 0;
}

void vault_set_proven(struct vault *vault, uint64_t page_no, uint64_t revision, uint32_t epoch)
{
	struct vault_leaf *leaf = &vault->leaves[page_no];

	vault->leaves_dirty = vault->leaves_dirty || !leaf->proven;
	*leaf = (struct vault_leaf){revision, epoch, true};
}

static int page_prove(struct vault *vault, uint64_t page_no, struct err *e)
{
	struct api_version_row versions[LIST_LIMIT_MAX];
	uint64_t seq = vault->head.seq;
	size_t n;
	int rc = api_versions(vault->client, vault->id, page_no, versions, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (page_proven_by(vault, page_no, &versions[i])) {
			vault_set_proven(vault, page_no, versions[i].revision, versions[i].epoch);
			return 0;
		}
	}
	rc = rc != 0 ? rc : vault_sync(vault, e);
	if (rc != 0) {
		return rc;
	}
	return vault->head.seq != seq
		       ? err_set(e, KLUIS_ECONFLICT, "vault '%s': another writer was first",
				 vault->name)
		       : err_set(e, KLUIS_EVERIFY,
				 "vault '%s': no revision of page %" PRIu64
				 " that the cluster names is the one in its signed head",
				 vault->name, page_no);
}

int vault_next_revision(
	struct vault *vault, uint64_t page_no, uint64_t *ret_revision, struct err *e)
{
	int rc = 0;

	if (page_no >= merkle_count(vault->tree)) {
		*ret_revision = 1;
		return 0;
	}
	if (!vault->leaves[page_no].proven) {
		rc = page_prove(vault, page_no, e);
	}
	if (rc == 0) {
		*ret_revision = vault->leaves[page_no].revision + 1;
	}
	return rc;
}

int vault_check_page(const struct vault *vault, uint64_t page_no, struct bytes page, struct err *e)
{
	uint8_t hash[HASH_BYTES], leaf[HASH_BYTES];
	struct page_header header;

	if (page_no >= merkle_count(vault->tree)) {
		return err_set(e, KLUIS_EVERIFY, "vault '%s': page %" PRIu64 " does not exist",
			vault->name, page_no);
	}
	if (page_parse(page, &header, NULL) == 0 && header.place.page_no == page_no &&
		memcmp(header.place.vault_id, vault->id, ID_BYTES) == 0) {
		hash_sha256(page, hash);
		page_leaf(&header.place, hash, leaf);
		if (memcmp(leaf, merkle_leaf(vault->tree, page_no), HASH_BYTES) == 0) {
			return 0;
		}
	}
	return err_set(e, KLUIS_EVERIFY,
		"vault '%s': page %" PRIu64
		" is not the one its signed head names (swapped, changed or rolled back)",
		vault->name, page_no);
}

const struct vault_key *vault_epoch_key(const struct vault *vault, uint32_t epoch)
{
	for (size_t i = 0; i < vault->n_keys; i++) {
		if (vault->keys[i].epoch == epoch) {
			return &vault->keys[i];
		}
	}
	return NULL;
}

int vault_open_page(const struct vault *vault, uint64_t page_no, struct bytes page,
	struct buf *ret_content, struct err *e)
{
	const struct vault_key *key = NULL;
	struct page_header header;
	int rc = vault_check_page(vault, page_no, page, e);

	rc = rc != 0 ? rc : page_parse(page, &header, e);
	if (rc == 0) {
		key = vault_epoch_key(vault, header.place.key_epoch);
	}
	if (key != NULL) {
		return page_open(secret_bytes(&key->vk), page, &header.place, ret_content, e);
	}
	return rc != 0 ? rc
		       : err_set(e, KLUIS_EFORBIDDEN,
				 "vault '%s': page %" PRIu64 " is of epoch %" PRIu32
				 ", whose key has not reached you, or is withheld: one of its "
				 "admins has to send it",
				 vault->name, page_no, header.place.key_epoch);
}
