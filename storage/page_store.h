/* Pages: the bytes once under (vault, SHA-256) with a count of references; current, older and
 * staged pages are small rows that refer to them. A commit of a staged page, history and purges
 * move references, never bytes; the bytes go with their last reference. */
#ifndef KLUIS_STORAGE_PAGE_STORE_H
#define KLUIS_STORAGE_PAGE_STORE_H

#include "base/limits.h"
#include "storage/kv.h"
#include "storage/txn.h"
#include "storage/upkeep_store.h"

/* What is known of one revision of a page without its bytes. */
struct page_row {
	uint64_t page_no, revision;
	uint32_t key_epoch;
	uint8_t flags, kind, sym, bucket; /* As in the page's header. */
	uint32_t bytes;			  /* Of the whole page: 144 for a tombstone. */
	uint8_t hash[32];		  /* SHA-256 of the whole page. */
	uint8_t leaf[32];
	uint8_t device_id[16]; /* Writer. */
	uint64_t seq;	       /* Head of the commit that brought it; 0 while staged. */
	uint64_t committed_ms; /* Cluster time; when it was staged, while staged. */
	uint64_t expires_ms;   /* Cluster time: of a staged page or an older revision; else 0. */
	uint8_t user_id[16];   /* Whose quota it is on while staged; zero once committed. */
};
void page_row_encode(const struct page_row *row, struct buf *to);
KLUIS_MUST_CHECK int page_row_decode(struct bytes value, struct page_row *ret_row, struct err *e);

/* The current revision. KLUIS_ENOTFOUND: never written. */
KLUIS_MUST_CHECK int page_store_get(const struct kv_view *view, const uint8_t vault_id[16],
	uint64_t page_no, struct page_row *ret_row, struct err *e);
/* Any kept revision, the current one included. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int page_store_revision(const struct kv_view *view, const uint8_t vault_id[16],
	uint64_t page_no, uint64_t revision, struct page_row *ret_row, struct err *e);
/* Kept revisions, newest first, the current one included: at most PAGE_VERSIONS_MAX + 1. */
KLUIS_MUST_CHECK int page_store_versions(const struct kv_view *view, const uint8_t vault_id[16],
	uint64_t page_no, struct page_row ret_rows[PAGE_VERSIONS_MAX + 1], size_t *ret_n,
	struct err *e);
/* Appends the page's bytes. KLUIS_ECORRUPT when a row refers to bytes that are not there, or when
 * what was read from the disk is not what the row says. */
KLUIS_MUST_CHECK int page_store_bytes(const struct kv_view *view, const uint8_t vault_id[16],
	const struct page_row *row, struct buf *to, struct err *e);
/* Whether a page with this SHA-256 is staged in the vault and has not expired at now_ms (cluster
 * time). KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int page_store_staged(const struct kv_view *view, const uint8_t vault_id[16],
	const uint8_t hash[32], uint64_t now_ms, struct page_row *ret_row, struct err *e);
/* Bytes that the user has staged in all vaults; 0 when there are none. */
KLUIS_MUST_CHECK int page_store_staged_use(
	const struct kv_view *view, const uint8_t user_id[16], uint64_t *ret_bytes, struct err *e);
/* References to the bytes; 0 when there are none. */
KLUIS_MUST_CHECK int page_store_refs(const struct kv_view *view, const uint8_t vault_id[16],
	const uint8_t hash[32], uint64_t *ret_refs, struct err *e);

/* The rows of the expiry queue that belong to a staged page and to an older revision. */
struct expiry_row page_staged_expiry(const uint8_t vault_id[16], const struct page_row *row);
struct expiry_row page_version_expiry(const uint8_t vault_id[16], const struct page_row *row);

/* --- the state machine's side; rows must be checked already --- */

/* Stages page (whose row this is): bytes and a reference if it is new, a later expiry if not.
 * KLUIS_EQUOTA: row->user_id would have more than STAGED_USER_BYTES_MAX. */
KLUIS_MUST_CHECK int page_store_stage(struct txn *txn, const uint8_t vault_id[16],
	const struct page_row *row, struct bytes page, struct err *e);
/* Makes *row the current revision, behind *current (revision 0: there was none). page: its bytes,
 * or an empty run when they are staged (their reference moves). The one before becomes a version
 * that is kept until versions_expire_ms; the version that falls out of the last PAGE_VERSIONS_MAX
 * goes, with purge all of them go. */
KLUIS_MUST_CHECK int page_store_commit(struct txn *txn, const uint8_t vault_id[16],
	const struct page_row *current, const struct page_row *row, struct bytes page,
	uint64_t versions_expire_ms, bool purge, struct err *e);
/* One older revision or staged page less; its bytes go with the last reference. */
KLUIS_MUST_CHECK int page_store_drop_version(struct txn *txn, const uint8_t vault_id[16],
	uint64_t page_no, uint64_t revision, struct err *e);
/* Keeps an older revision (as page_store_revision() gave it) until another time. */
void page_store_keep_version(struct txn *txn, const uint8_t vault_id[16],
	const struct page_row *row, uint64_t expires_ms);
/* For whoever deletes a page's, a version's or a staged row by other means: one reference less to
 * the bytes, which go with the last, and one staged page less in the user's count. KLUIS_ECORRUPT:
 * the count does not have it. */
KLUIS_MUST_CHECK int page_store_unref(
	struct txn *txn, const uint8_t vault_id[16], const uint8_t hash[32], struct err *e);
KLUIS_MUST_CHECK int page_store_unuse(struct txn *txn, const struct page_row *row, struct err *e);
KLUIS_MUST_CHECK int page_store_drop_staged(
	struct txn *txn, const uint8_t vault_id[16], const uint8_t hash[32], struct err *e);

#endif
