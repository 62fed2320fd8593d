#include <assert.h>
#include <string.h>

#include "crypto/head.h"
#include "crypto/member.h"
#include "crypto/page.h"
#include "raft/fsm_apply.h"
#include "storage/page_store.h"
#include "storage/use_store.h"
#include "storage/vault_store.h"

/* The row of a page from its own bytes: header fields, hash and leaf. */
static int page_row_of(struct apply *a, struct bytes page, struct page_row *ret_row,
	struct page_header *ret_header)
{
	struct page_header h;
	int rc = page_parse(page, &h, a->e);

	if (rc != 0) {
		rc = apply_refusal(rc);
		assert(rc != 0);
		return rc;
	}
	*ret_row = (struct page_row){.page_no = h.place.page_no,
		.revision = h.place.revision,
		.key_epoch = h.place.key_epoch,
		.flags = h.flags,
		.kind = h.kind,
		.sym = h.sym,
		.bucket = h.bucket,
		.bytes = (uint32_t)page.len};
	hash_sha256(page, ret_row->hash);
	page_leaf(&h.place, ret_row->hash, ret_row->leaf);
	memcpy(ret_row->device_id, h.device_id, 16);
	*ret_header = h;
	return 0;
}

int apply_stage_page(struct apply *a, const struct command_stage_page *c)
{
	struct session_row session;
	struct vault_row vault;
	struct page_header header;
	struct page_row row;
	unsigned role;
	int rc = apply_device_session(a, &c->session, &session);

	if (rc == 0) {
		rc = vault_store_check(
			a->view, c->vault_id, session.user_id, MEMBER_WRITE, &vault, &role, a->e);
	}
	if (rc == 0) {
		rc = apply_writable(a);
	}
	if (rc == 0) {
		rc = page_row_of(a, c->page, &row, &header);
	}
	if (rc != 0) {
		return rc;
	}
	if (memcmp(row.hash, c->hash, 32) != 0 ||
		memcmp(header.place.vault_id, c->vault_id, 16) != 0 ||
		memcmp(header.device_id, session.device_id, 16) != 0 ||
		row.page_no >= VAULT_PAGES_MAX) {
		return err_set(a->e, KLUIS_EINVAL, "the page is not what the request says");
	}
	row.committed_ms = a->now_ms;
	row.expires_ms = a->now_ms + STAGED_KEPT_MS;
	memcpy(row.user_id, session.user_id, sizeof row.user_id);
	memcpy(a->reply.hash, row.hash, 32);
	return page_store_stage(a->txn, c->vault_id, &row, c->page, a->e);
}

/* A commit on its way: what its entries are held against. */
struct commit {
	const struct command_commit *c;
	struct bytes claims; /* Documents of the user's inbox that became its pages. */
	struct session_row session;
	struct vault_row vault;
	struct use was; /* What the vault took before. */
	struct head head;
	struct buf pages; /* The head row's list. */
};

static int commit_begin(struct apply *a, struct commit *m)
{
	unsigned role;
	int rc = apply_device_session(a, &m->c->session, &m->session);

	if (rc == 0) {
		rc = vault_store_check(a->view, m->c->vault_id, m->session.user_id, MEMBER_WRITE,
			&m->vault, &role, a->e);
	}
	if (rc != 0) {
		return rc;
	}
	m->was = (struct use){m->vault.bytes, m->vault.page_count};
	rc = head_parse(m->c->head, &m->head, a->e);
	if (rc != 0) {
		return apply_refusal(rc);
	}
	if (memcmp(m->head.vault_id, m->c->vault_id, 16) != 0) {
		return err_set(a->e, KLUIS_EINVAL, "the head is of another vault");
	}
	if (memcmp(m->head.user_id, m->session.user_id, 16) != 0 ||
		memcmp(m->head.device_id, m->session.device_id, 16) != 0) {
		return err_set(a->e, KLUIS_EFORBIDDEN, "the head is by another device");
	}
	return 0;
}

/* 1: this very head is stored already and the first answer stands. 0: it is not. */
static int commit_is_retry(struct apply *a, const struct commit *m)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct head_row row;
	int rc;

	if (m->head.seq > m->vault.seq) {
		return 0;
	}
	rc = head_store_get(a->view, m->c->vault_id, m->head.seq, &value, &row, a->e);
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? err_set(a->e, KLUIS_ECORRUPT, "a head is missing")
					     : rc;
	}
	return memcmp(row.hash, m->head.hash, 32) == 0;
}

static int commit_check_head(struct apply *a, const struct commit *m)
{
	static const struct bytes nothing;
	const struct head *head = &m->head;
	uint8_t empty[HASH_BYTES];

	if (head->seq != m->vault.seq + 1 || memcmp(head->prev_hash, m->vault.head_hash, 32) != 0) {
		return err_set(a->e, KLUIS_EPRECONDITION, "the vault's head moved");
	}
	if (head->members_rev != m->vault.members_rev ||
		memcmp(head->members_hash, m->vault.members_hash, 32) != 0) {
		return err_set(a->e, KLUIS_EPRECONDITION, "the vault's members changed");
	}
	/* Where a vault is, or was, shared, a new key is the membership chain's to make: else the
	 * others would lack it. */
	if (m->vault.members_rev > 1 && head->key_epoch != m->vault.key_epoch) {
		return err_set(a->e, KLUIS_EINVAL, "another key epoch than the vault's");
	}
	/* A key may be made, and never used before the next one; but a writer could burn all epochs
	 * at once. */
	if (head->key_epoch < m->vault.key_epoch ||
		head->key_epoch - m->vault.key_epoch >= VAULT_EPOCHS_MAX) {
		return err_set(a->e, KLUIS_EINVAL, "key epoch out of order");
	}
	if (head->page_count < m->vault.page_count || head->page_count > VAULT_PAGES_MAX) {
		return err_set(a->e, KLUIS_EINVAL, "page count out of range");
	}
	hash_sha256(nothing, empty);
	if (head->page_count == 0 && memcmp(head->merkle_root, empty, 32) != 0) {
		return err_set(a->e, KLUIS_EINVAL, "the root of no pages is another one");
	}
	return 0;
}

/* Looked at only when the vault grows: few commits of many. */
static int commit_check_quota(struct apply *a, const struct commit *m)
{
	struct person_row person;
	int rc;

	if (m->head.page_count <= m->vault.page_count) {
		return 0;
	}
	rc = person_store_get(a->view, m->session.user_id, &person, a->e);
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	return person.pages_max != 0 && m->head.page_count > person.pages_max
		       ? err_set(a->e, KLUIS_EQUOTA, "as many pages as are allowed")
		       : 0;
}

static int commit_staged_row(struct apply *a, const struct commit *m,
	const struct commit_entry *entry, struct page_row *ret_row)
{
	int rc = page_store_staged(
		a->view, m->c->vault_id, entry->bytes.data, a->now_ms, ret_row, a->e);

	return rc == KLUIS_ENOTFOUND ? err_set(a->e, rc, "page %llu is not staged",
					       (unsigned long long)entry->page_no)
				     : rc;
}

static int commit_inline_row(struct apply *a, const struct commit *m,
	const struct commit_entry *entry, struct page_row *ret_row)
{
	struct page_header header;
	int rc = page_row_of(a, entry->bytes, ret_row, &header);

	if (rc == 0 && memcmp(header.place.vault_id, m->c->vault_id, 16) != 0) {
		rc = err_set(a->e, KLUIS_EINVAL, "a page of another vault");
	}
	return rc;
}

static int commit_check_page(struct apply *a, const struct commit *m,
	const struct commit_entry *entry, const struct page_row *row, struct page_row *ret_current)
{
	int rc = page_store_get(a->view, m->c->vault_id, entry->page_no, ret_current, a->e);

	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	if (row->page_no != entry->page_no || row->revision != entry->revision ||
		row->key_epoch != m->head.key_epoch ||
		memcmp(row->device_id, m->head.device_id, 16) != 0 ||
		entry->page_no >= m->head.page_count) {
		return err_set(a->e, KLUIS_EINVAL, "page %llu is not what the commit says",
			(unsigned long long)entry->page_no);
	}
	if (entry->revision != ret_current->revision + 1) {
		return err_set(a->e, KLUIS_ECONFLICT, "page %llu has another revision",
			(unsigned long long)entry->page_no);
	}
	return 0;
}

/* What the vault's pages take, as far as it is counted. */
static int commit_count(struct apply *a, struct commit *m, uint64_t was, uint64_t is)
{
	if (!m->vault.counted) {
		return 0;
	}
	if (m->vault.bytes < was) {
		return err_set(a->e, KLUIS_ECORRUPT, "a vault's bytes are counted wrong");
	}
	m->vault.bytes += is - was;
	return 0;
}

static int commit_page(struct apply *a, struct commit *m, const struct commit_entry *entry)
{
	bool staged = entry->how == COMMIT_STAGED;
	struct head_page listed;
	struct page_row row, current = {.revision = 0};
	int rc = staged ? commit_staged_row(a, m, entry, &row)
			: commit_inline_row(a, m, entry, &row);

	if (rc == 0) {
		rc = commit_check_page(a, m, entry, &row, &current);
	}
	if (rc == 0) {
		rc = commit_count(a, m, current.bytes, row.bytes);
	}
	if (rc != 0) {
		return rc;
	}
	row.seq = m->head.seq;
	row.committed_ms = a->now_ms;
	row.expires_ms = 0;
	memset(row.user_id, 0, sizeof row.user_id);
	listed = (struct head_page){
		.page_no = row.page_no, .revision = row.revision, .key_epoch = row.key_epoch};
	memcpy(listed.leaf, row.leaf, 32);
	head_page_encode(&listed, &m->pages);
	if (m->c->n_entries == 1) {
		command_reply_set_page_hash(&a->reply, row.hash);
	}
	return page_store_commit(a->txn, m->c->vault_id, &current, &row,
		staged ? bytes_of(NULL, 0) : entry->bytes, a->now_ms + VERSIONS_KEPT_MS,
		m->c->purge, a->e);
}

/* What grows must fit into the founder's quota; what does not grow passes, or nobody beyond it
 * could make room. */
static int commit_hold_quota(struct apply *a, const struct commit *m, const struct use *is)
{
	struct quota quota;
	int rc;

	if (is->bytes <= m->was.bytes && is->pages <= m->was.pages) {
		return 0;
	}
	rc = quota_get(a->view, m->vault.founder, &quota, a->e);
	if (rc != 0) {
		return rc;
	}
	if ((is->bytes > m->was.bytes && quota.max.bytes != 0 &&
		    quota.used.bytes > quota.max.bytes) ||
		(is->pages > m->was.pages && quota.max.pages != 0 &&
			quota.used.pages > quota.max.pages)) {
		rc = err_set(a->e, KLUIS_EQUOTA, "as much as is allowed");
	}
	return rc;
}

static int commit_charge(struct apply *a, const struct commit *m)
{
	const struct use is = {m->vault.bytes, m->head.page_count};
	int rc;

	if (!m->vault.counted || (is.bytes == m->was.bytes && is.pages == m->was.pages)) {
		return 0;
	}
	rc = use_store_move(a->txn, m->vault.founder, &m->was, &is, NULL, a->e);
	rc = rc != 0 ? rc : commit_hold_quota(a, m, &is);
	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

static void commit_move_head(struct apply *a, struct commit *m)
{
	struct head_row row = {.seq = m->head.seq,
		.committed_ms = a->now_ms,
		.signed_head = m->c->head,
		.n_pages = m->c->n_entries,
		.pages = buf_bytes(&m->pages)};

	memcpy(row.hash, m->head.hash, 32);
	head_store_put(a->txn, m->c->vault_id, &row);
	m->vault.seq = m->head.seq;
	m->vault.key_epoch = m->head.key_epoch;
	m->vault.page_count = m->head.page_count;
	memcpy(m->vault.head_hash, m->head.hash, 32);
	vault_store_put(a->txn, &m->vault);
}

/* What makes room passes while new writes are refused: tombstones, and with them the page of the
 * folder that listed what is deleted. */
static bool commit_makes_room(const struct apply *a, struct bytes entries)
{
	return commit_only_tombstones(entries) ||
	       (a->cluster.feature_level >= FEATURE_LEVEL_DELETIONS &&
		       commit_is_deletion(entries, DELETION_PAGE_BYTES_MAX));
}

static int commit_run(struct apply *a, struct commit *m)
{
	struct bytes entries = m->c->entries;
	struct commit_entry entry;
	int rc = commit_begin(a, m);

	if (rc == 0) {
		rc = commit_is_retry(a, m);
	}
	if (rc != 0) {
		return rc > 0 ? 0 : rc;
	}
	rc = commit_check_head(a, m);
	rc = rc != 0 ? rc : commit_check_quota(a, m);
	if (rc == 0 && !commit_makes_room(a, m->c->entries)) {
		rc = apply_writable(a);
	}
	while (rc == 0 && commit_entry_next(&entries, &entry)) {
		rc = commit_page(a, m, &entry);
	}
	rc = rc != 0 ? rc : commit_charge(a, m);
	rc = rc != 0 ? rc : apply_claim(a, m->session.user_id, m->claims);
	if (rc == 0) {
		commit_move_head(a, m);
	}
	return rc;
}

static int commit_apply(struct apply *a, const struct command_commit *c, struct bytes claims)
{
	struct commit m = {.c = c, .claims = claims};
	int rc = commit_run(a, &m);

	if (rc == 0) {
		a->reply.number = m.head.seq;
		memcpy(a->reply.hash, m.head.hash, 32);
	}
	buf_release(&m.pages);
	return rc;
}

int apply_commit(struct apply *a, const struct command_commit *c)
{
	static const struct bytes none;

	return commit_apply(a, c, none);
}

int apply_commit_claim(struct apply *a, const struct command_commit_claim *c)
{
	return commit_apply(a, &c->commit, c->docs);
}
