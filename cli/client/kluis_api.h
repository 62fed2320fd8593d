/* libkluis, the calls beneath: one function for each route of docs/openapi.yaml about the cluster,
 * sessions, vaults and pages; kluis_call() asks for any other. kluis.h is what most programs want;
 * these are for what it has no function for: other clients, tools that look at a vault, tests.
 *
 * What the cluster answers is checked for its form alone. NOTHING here is verified against a pin or
 * a signature, nothing is decrypted: that is kluis.h. Signing in, failover, retries and the watch
 * over the cluster's lineage (KLUIS_RESTORED) are those of the handle.
 *
 * Ownership: memory that a function gives is one block, freed by the function its comment names, by
 * kluis_free() otherwise; what a callback is handed lives until it returns. All that is passed in
 * is borrowed for the call. Out-parameters are untouched on failure. Threads and errors: as
 * kluis.h.
 *
 * Ids have KLUIS_ID_BYTES bytes, hashes (SHA-256) KLUIS_HASH_BYTES. Times are Unix milliseconds of
 * the cluster's clock. An etag is a string as the cluster gave it, quotes included. */
#ifndef KLUIS_API_H
#define KLUIS_API_H

#include "kluis.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
	KLUIS_ID_BYTES = 16,
	KLUIS_HASH_BYTES = 32,
	KLUIS_HEAD_BYTES = 290, /* A vault head with its signature. */
	KLUIS_RESTORE_KEY_BYTES = 65,
	KLUIS_RESTORE_RECORD_BYTES = 168,
	KLUIS_PAGE_BYTES_MAX = 262288,
	KLUIS_PAGES_GET_MAX = 64,
	KLUIS_COMMIT_ENTRIES_MAX = 1024,
	KLUIS_ETAG_BYTES_MAX = 127,
};

KLUIS_API_FREE void kluis_free(void *memory); /* NULL is fine. */

/* How fresh the reads below have to be; does not touch the functions of kluis.h. LINEARIZABLE (the
 * default): no write acknowledged before is missed. SESSION: at least what this handle has seen.
 * STALE: what the asked node has, some seconds old at most. wait_ms: how long a node may wait to be
 * fresh enough, 0 for its default. */
enum kluis_level { KLUIS_LINEARIZABLE, KLUIS_SESSION, KLUIS_STALE };
KLUIS_API_FREE void kluis_api_set_level(
	struct kluis *kluis, enum kluis_level level, unsigned wait_ms);
/* Of the last call below, if it was at STALE: how far behind its answer may be; else 0. */
KLUIS_API_FREE uint64_t kluis_api_staleness_ms(const struct kluis *kluis);

/* GET /.well-known/kluis.json */
struct kluis_site {
	uint64_t node;
	const char *name;
	const char *const *endpoints;
	size_t n_endpoints;
};
struct kluis_cluster {
	unsigned char id[KLUIS_ID_BYTES], lineage[KLUIS_ID_BYTES];
	const char *ca_pem; /* With NUL behind. */
	unsigned char ca_spki_sha256[KLUIS_HASH_BYTES];
	int has_restore_key;
	unsigned char restore_key[KLUIS_RESTORE_KEY_BYTES]; /* SEC1 point on P-256. */
	const unsigned char (*restore_records)[KLUIS_RESTORE_RECORD_BYTES]; /* Oldest first. */
	size_t n_restore_records;
	const struct kluis_site *sites;
	size_t n_sites;
};
KLUIS_API int kluis_api_cluster(
	struct kluis *kluis, struct kluis_cluster **ret_cluster, struct kluis_failure *error);
KLUIS_API_FREE void kluis_cluster_free(struct kluis_cluster *cluster);

/* GET /v1/limits: bytes, counts and milliseconds. */
struct kluis_limits {
	uint64_t page_bytes, commit_inline_bytes, commit_entries, request_body_bytes, keyring_bytes,
		message_bytes, inbox_document_bytes, header_bytes, target_bytes, label_bytes,
		pages_get, list_default, list_max, wait_ms, stale_ms, staged_kept_ms, versions_kept,
		versions_kept_ms, idempotency_kept_ms, idempotency_key_bytes;
};
KLUIS_API int kluis_api_limits(
	struct kluis *kluis, struct kluis_limits *ret_limits, struct kluis_failure *error);

/* GET /v1/version */
struct kluis_node_version {
	char version[32];
	uint64_t feature_level;
};
KLUIS_API int kluis_api_version(
	struct kluis *kluis, struct kluis_node_version *ret_version, struct kluis_failure *error);

/* GET /readyz, which is what the first node that can be reached says of itself. KLUIS_NO_QUORUM:
 * none is ready; KLUIS_READ_ONLY. */
struct kluis_ready {
	char role[16]; /* leader, voter, standby, spare */
	uint64_t leader, applied_index;
};
KLUIS_API int kluis_api_ready(
	struct kluis *kluis, struct kluis_ready *ret_ready, struct kluis_failure *error);

/* Sessions of the account. Enrolment is kluis_enrol(); signing in happens by itself. */
struct kluis_session {
	unsigned char id[KLUIS_ID_BYTES], device_id[KLUIS_ID_BYTES];
	char level[16]; /* login, full */
	uint64_t created_ms, expires_ms;
	int current; /* This handle's. */
};
typedef void kluis_session_fn(void *arg, const struct kluis_session *session);
KLUIS_API int kluis_api_sessions(
	struct kluis *kluis, kluis_session_fn *each, void *arg, struct kluis_failure *error);
KLUIS_API int kluis_api_session(struct kluis *kluis, const unsigned char *id,
	struct kluis_session *ret_session, struct kluis_failure *error);
KLUIS_API int kluis_api_session_end(
	struct kluis *kluis, const unsigned char *id, struct kluis_failure *error);
KLUIS_API int kluis_api_sessions_end_others(struct kluis *kluis, struct kluis_failure *error);
/* Ends this profile's session; the next call signs in again. */
KLUIS_API int kluis_api_logout(struct kluis *kluis, struct kluis_failure *error);

/* Vaults in which the account has a role. */
struct kluis_vault {
	unsigned char id[KLUIS_ID_BYTES], head_hash[KLUIS_HASH_BYTES];
	char role[16]; /* read, write, admin */
	char etag[KLUIS_ETAG_BYTES_MAX + 1];
	uint64_t created_ms, revision, seq, page_count;
	const unsigned char *label, *create; /* Sealed by a client; the create statement. */
	size_t label_len, create_len;	     /* create: 0 in lists. */
};
typedef void kluis_vault_fn(void *arg, const struct kluis_vault *vault);
KLUIS_API int kluis_api_vaults(
	struct kluis *kluis, kluis_vault_fn *each, void *arg, struct kluis_failure *error);
/* each: called once. */
KLUIS_API int kluis_api_vault(struct kluis *kluis, const unsigned char *id, kluis_vault_fn *each,
	void *arg, struct kluis_failure *error);
/* create: the statement; head: KLUIS_HEAD_BYTES, seq 1. key: the Idempotency-Key, 1 to 128 visible
 * characters; with the same one the same request may be sent again. */
KLUIS_API int kluis_api_vault_create(struct kluis *kluis, const void *create, size_t create_len,
	const void *head, const void *label, size_t label_len, const char *key,
	struct kluis_failure *error);
/* KLUIS_PRECONDITION when etag is not the current one. */
KLUIS_API int kluis_api_vault_set_label(struct kluis *kluis, const unsigned char *id,
	const char *etag, const void *label, size_t label_len, struct kluis_failure *error);
/* The profile forgets it, too, and so does a person's keyring. */
KLUIS_API int kluis_api_vault_delete(struct kluis *kluis, const unsigned char *id, const char *etag,
	struct kluis_failure *error);

/* The newest head. */
KLUIS_API int kluis_api_head(struct kluis *kluis, const unsigned char *vault_id,
	unsigned char ret_head[KLUIS_HEAD_BYTES], struct kluis_failure *error);
/* Those after seq `since`, ascending, one answer's worth: *ret_n times KLUIS_HEAD_BYTES.
 * *ret_done: no more. */
KLUIS_API int kluis_api_heads(struct kluis *kluis, const unsigned char *vault_id, uint64_t since,
	unsigned char **ret_heads, size_t *ret_n, int *ret_done, struct kluis_failure *error);

struct kluis_change {
	uint64_t seq, page_no, revision;
	uint32_t epoch;
	unsigned char leaf[KLUIS_HASH_BYTES];
};
/* What changed after `since`, one answer's worth, ascending by seq and page. since: NULL for the
 * beginning, else what the last answer gave as *ret_next (still to be freed). */
KLUIS_API int kluis_api_changes(struct kluis *kluis, const unsigned char *vault_id,
	const char *since, struct kluis_change **ret_changes, size_t *ret_n, char **ret_next,
	int *ret_done, struct kluis_failure *error);

/* A page as it is stored: encrypted. KLUIS_NOT_FOUND: never written. */
KLUIS_API int kluis_api_page(struct kluis *kluis, const unsigned char *vault_id, uint64_t page_no,
	void **ret_page, size_t *ret_len, struct kluis_failure *error);
/* n <= KLUIS_PAGES_GET_MAX pages of one state, in the order asked for; len 0: never written. */
typedef void kluis_page_fn(void *arg, uint64_t page_no, const void *page, size_t len);
KLUIS_API int kluis_api_pages(struct kluis *kluis, const unsigned char *vault_id,
	const uint64_t *page_nos, size_t n, kluis_page_fn *each, void *arg,
	struct kluis_failure *error);
/* A commit of one page. etag NULL: it is new. */
KLUIS_API int kluis_api_page_put(struct kluis *kluis, const unsigned char *vault_id,
	uint64_t page_no, const void *page, size_t len, const void *head, const char *etag,
	struct kluis_failure *error);

/* The kept revisions of a page, newest first, the current one included. */
struct kluis_page_version {
	uint64_t revision, bytes, written_ms;
	uint32_t epoch;
	unsigned char sha256[KLUIS_HASH_BYTES];
};
KLUIS_API int kluis_api_versions(struct kluis *kluis, const unsigned char *vault_id,
	uint64_t page_no, struct kluis_page_version **ret_versions, size_t *ret_n,
	struct kluis_failure *error);
KLUIS_API int kluis_api_version_page(struct kluis *kluis, const unsigned char *vault_id,
	uint64_t page_no, uint64_t revision, void **ret_page, size_t *ret_len,
	struct kluis_failure *error);

/* A page ahead of its commit; kept for a day. */
KLUIS_API int kluis_api_staged_put(struct kluis *kluis, const unsigned char *vault_id,
	const unsigned char *sha256, const void *page, size_t len, struct kluis_failure *error);
KLUIS_API int kluis_api_staged_there(struct kluis *kluis, const unsigned char *vault_id,
	const unsigned char *sha256, int *ret_there, struct kluis_failure *error);

/* A page of a commit: staged before (page_len 0, sha256 names it) or inline. */
struct kluis_commit_entry {
	uint64_t page_no, revision;
	const void *page;
	size_t page_len;
	unsigned char sha256[KLUIS_HASH_BYTES]; /* Of the page. */
};
/* Pages (page_no ascending) and the head that names them, all or nothing. purge: the pages' older
 * revisions go at once. Signing two heads for one seq forks the vault: keep the head until a head
 * of its seq shows what became of it. KLUIS_PRECONDITION: the head moved; KLUIS_CONFLICT: a page's
 * revision is not the next one. */
KLUIS_API int kluis_api_commit(struct kluis *kluis, const unsigned char *vault_id, const void *head,
	const struct kluis_commit_entry *entries, size_t n, int purge, struct kluis_failure *error);

#ifdef __cplusplus
}
#endif

#endif
