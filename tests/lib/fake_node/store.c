#include "tests/lib/fake_node/store.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/merkle.h"
#include "crypto/statement.h"

static void vault_free(struct store_vault *vault)
{
	for (size_t i = 0; i < vault->n_pages; i++) {
		buf_release(&vault->pages[i].bytes);
	}
	free(vault->pages);
	buf_release(&vault->create);
	buf_release(&vault->label);
	free(vault);
}

void store_release(struct store *store)
{
	for (size_t i = 0; i < store->n_vaults; i++) {
		vault_free(store->vaults[i]);
	}
	for (size_t i = 0; i < store->n_staged; i++) {
		buf_release(&store->staged[i].bytes);
	}
	free(store->staged);
}

struct store_vault *store_vault(struct store *store, const uint8_t id[ID_BYTES])
{
	for (size_t i = 0; i < store->n_vaults; i++) {
		if (memcmp(store->vaults[i]->id, id, ID_BYTES) == 0) {
			return store->vaults[i];
		}
	}
	return NULL;
}

int store_create(struct store *store, struct bytes create, struct bytes head, struct bytes label)
{
	struct statement statement;
	struct store_vault *vault;
	struct head parsed;

	if (statement_parse(CHAIN_MEMBERS, create, &statement, NULL) != 0 ||
		head_parse(head, &parsed, NULL) != 0 || parsed.seq != 1) {
		return KLUIS_EINVAL;
	}
	if (store_vault(store, statement.object_id) != NULL) {
		return 0; /* The identical request again. */
	}
	assert(store->n_vaults < STORE_VAULTS_MAX);
	vault = x_calloc(1, sizeof *vault);
	memcpy(vault->id, statement.object_id, ID_BYTES);
	buf_append_bytes(&vault->create, create);
	buf_append_bytes(&vault->label, label);
	memcpy(vault->heads[0], head.data, HEAD_BYTES);
	vault->parsed[0] = parsed;
	vault->n_heads = 1;
	store->vaults[store->n_vaults++] = vault;
	return 0;
}

const struct store_page *store_page(const struct store_vault *vault, uint64_t page_no, bool oldest)
{
	const struct store_page *found = NULL;

	for (size_t i = 0; i < vault->n_pages; i++) {
		if (vault->pages[i].page_no == page_no && (found == NULL || !oldest)) {
			found = &vault->pages[i];
		}
	}
	return found;
}

void store_stage(struct store *store, const uint8_t sha256[HASH_BYTES], struct bytes page)
{
	struct store_staged *staged;

	if (store_staged(store, sha256) != NULL) {
		return;
	}
	store->staged = x_realloc(store->staged, (store->n_staged + 1) * sizeof *store->staged);
	staged = &store->staged[store->n_staged++];
	staged->bytes = BUF_INIT;
	memcpy(staged->sha256, sha256, HASH_BYTES);
	buf_append_bytes(&staged->bytes, page);
}

const struct store_staged *store_staged(const struct store *store, const uint8_t sha256[HASH_BYTES])
{
	for (size_t i = 0; i < store->n_staged; i++) {
		if (memcmp(store->staged[i].sha256, sha256, HASH_BYTES) == 0) {
			return &store->staged[i];
		}
	}
	return NULL;
}

void store_note_head(struct store *store, struct bytes body)
{
	struct wire w = wire_of(body);
	struct bytes bytes = wire_lp32(&w, HEAD_BYTES);
	struct head head;

	if (!wire_ok(&w) || head_parse(bytes, &head, NULL) != 0) {
		return;
	}
	for (size_t i = 0; i < store->n_sent; i++) {
		if (store->sent[i].seq == head.seq &&
			memcmp(store->sent[i].hash, head.hash, HASH_BYTES) == 0) {
			return;
		}
	}
	assert(store->n_sent < STORE_HEADS_MAX);
	store->sent[store->n_sent].seq = head.seq;
	memcpy(store->sent[store->n_sent++].hash, head.hash, HASH_BYTES);
}

static int commit_entry(struct store *store, struct store_vault *vault, struct wire *w,
	const struct head *head, struct store_page *ret)
{
	uint64_t page_no = wire_u64(w), revision = wire_u64(w);
	unsigned how = wire_u8(w);
	struct bytes bytes = wire_lp32(w, PAGE_BYTES_MAX);
	const struct store_page *old = store_page(vault, page_no, false);
	struct page_header header;
	uint8_t hash[HASH_BYTES];

	if (!wire_ok(w) || how > 1) {
		return KLUIS_EINVAL;
	}
	if (how == 1) {
		const struct store_staged *staged =
			bytes.len == HASH_BYTES ? store_staged(store, bytes.data) : NULL;

		if (staged == NULL) {
			return KLUIS_ENOTFOUND;
		}
		bytes = buf_bytes(&staged->bytes);
	}
	if (page_parse(bytes, &header, NULL) != 0 || header.place.page_no != page_no ||
		header.place.revision != revision || page_no >= head->page_count ||
		memcmp(header.place.vault_id, vault->id, ID_BYTES) != 0) {
		return KLUIS_EINVAL;
	}
	if (revision != (old == NULL ? 1 : old->revision + 1)) {
		return KLUIS_ECONFLICT;
	}
	*ret = (struct store_page){.page_no = page_no,
		.revision = revision,
		.seq = head->seq,
		.epoch = header.place.key_epoch};
	hash_sha256(bytes, hash);
	page_leaf(&header.place, hash, ret->leaf);
	buf_append_bytes(&ret->bytes, bytes);
	return 0;
}

/* A real node cannot afford this; it shows here that the client's root is the right one. */
static bool commit_root(const struct store_vault *vault, const struct head *head)
{
	struct merkle *tree = merkle_new();
	uint8_t leaf[HASH_BYTES], root[HASH_BYTES];

	for (uint64_t i = 0; i < head->page_count; i++) {
		page_leaf_unwritten(vault->id, i, leaf);
		merkle_set(tree, i, leaf);
	}
	for (size_t i = 0; i < vault->n_pages; i++) {
		merkle_set(tree, vault->pages[i].page_no, vault->pages[i].leaf);
	}
	merkle_root(tree, root);
	merkle_free(tree);
	return memcmp(root, head->merkle_root, HASH_BYTES) == 0;
}

int store_commit(struct store *store, struct store_vault *vault, struct bytes body,
	const struct key_pub *device)
{
	struct wire w = wire_of(body);
	struct bytes head_bytes = wire_lp32(&w, HEAD_BYTES);
	const struct head *last = &vault->parsed[vault->n_heads - 1];
	size_t before = vault->n_pages;
	struct head head;
	int rc = 0;

	if (!wire_ok(&w) || head_parse(head_bytes, &head, NULL) != 0 ||
		head_verify(&head, device, NULL) != 0) {
		return KLUIS_EINVAL;
	}
	if (head.seq <= last->seq) {
		return memcmp(vault->parsed[head.seq - 1].hash, head.hash, HASH_BYTES) == 0
			       ? 0
			       : KLUIS_EPRECONDITION;
	}
	if (head_follows(&head, last->seq, last->hash, NULL) != 0) {
		return KLUIS_EPRECONDITION;
	}
	while (rc == 0 && w.left.len > 0) {
		vault->pages = x_realloc(vault->pages, (vault->n_pages + 1) * sizeof *vault->pages);
		rc = commit_entry(store, vault, &w, &head, &vault->pages[vault->n_pages]);
		vault->n_pages += rc == 0;
	}
	if (rc == 0 && !commit_root(vault, &head)) {
		rc = KLUIS_EINVAL;
	}
	if (rc != 0) {
		while (vault->n_pages > before) {
			buf_release(&vault->pages[--vault->n_pages].bytes);
		}
		return rc;
	}
	assert(vault->n_heads < STORE_HEADS_MAX);
	memcpy(vault->heads[vault->n_heads], head_bytes.data, HEAD_BYTES);
	vault->parsed[vault->n_heads++] = head;
	return 0;
}

void store_rollback(struct store_vault *vault, uint64_t seq)
{
	assert(seq >= 1 && seq <= vault->n_heads);
	vault->n_heads = (size_t)seq;
	while (vault->n_pages > 0 && vault->pages[vault->n_pages - 1].seq > seq) {
		buf_release(&vault->pages[--vault->n_pages].bytes);
	}
}
