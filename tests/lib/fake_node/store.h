/* The fake node's memory: vaults, heads, pages. Called with the node's lock held. */
#ifndef KLUIS_TESTS_LIB_FAKE_NODE_STORE_H
#define KLUIS_TESTS_LIB_FAKE_NODE_STORE_H

#include "base/err.h"
#include "base/limits.h"
#include "crypto/head.h"
#include "crypto/page.h"

enum { STORE_HEADS_MAX = 4096, STORE_VAULTS_MAX = 8 };

struct store_page {
	uint64_t page_no, revision, seq;
	uint32_t epoch;
	uint8_t leaf[HASH_BYTES];
	struct buf bytes;
};

struct store_vault {
	uint8_t id[ID_BYTES];
	struct buf create, label;
	uint8_t heads[STORE_HEADS_MAX][HEAD_BYTES];
	struct head parsed[STORE_HEADS_MAX];
	size_t n_heads;
	struct store_page *pages; /* Every revision, in order of commit. */
	size_t n_pages;
};

struct store_staged {
	uint8_t sha256[HASH_BYTES];
	struct buf bytes;
};

struct store {
	struct store_vault *vaults[STORE_VAULTS_MAX];
	size_t n_vaults;
	struct store_staged *staged;
	size_t n_staged;
	struct {
		uint64_t seq;
		uint8_t hash[HASH_BYTES];
	} sent[STORE_HEADS_MAX];
	size_t n_sent;
};

void store_release(struct store *store);
struct store_vault *store_vault(struct store *store, const uint8_t id[ID_BYTES]);
int store_create(struct store *store, struct bytes create, struct bytes head, struct bytes label);
/* The newest revision, or the oldest. */
const struct store_page *store_page(const struct store_vault *vault, uint64_t page_no, bool oldest);
void store_stage(struct store *store, const uint8_t sha256[HASH_BYTES], struct bytes page);
const struct store_staged *store_staged(
	const struct store *store, const uint8_t sha256[HASH_BYTES]);
/* device: the enrolled device's key. KLUIS_E* as a node. */
int store_commit(struct store *store, struct store_vault *vault, struct bytes body,
	const struct key_pub *device);
void store_rollback(struct store_vault *vault, uint64_t seq);
void store_note_head(struct store *store, struct bytes body);

#endif
