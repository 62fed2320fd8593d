/* One function for each call of docs/openapi.yaml that clients make: builds the request, checks
 * the answer's form. What the answer claims is not verified here (cli/client/vault does that).
 * Errors are those of client_call(), and KLUIS_EPROTO for an answer of another form. Any thread. */
#ifndef KLUIS_CLI_CLIENT_API_H
#define KLUIS_CLI_CLIENT_API_H

#include <jansson.h>

#include "base/limits.h"
#include "base/text.h"
#include "cli/client/client.h"
#include "cli/client/suites.h"
#include "crypto/head.h"
#include "crypto/proof.h"
#include "crypto/restore_record.h"

enum {
	API_PEM_BYTES_MAX = 65536,
	API_STATEMENT_BYTES_MAX = 65536,
	API_LABEL_BYTES_MAX = 1024,
	API_ETAG_BYTES_MAX = 127,
	API_CURSOR_BYTES_MAX = 255,
	API_LIST_BYTES_MAX = 64 << 20, /* All answers of one list. */
	API_KEY_BYTES = 65,	       /* Operator restore key: SEC1 point on P-256. */
	API_TARGET_MAX = 512,
};

/* "/v1/<collection>/<id in hex>" and what follows, by printf; cut at API_TARGET_MAX. */
void api_target(char to[API_TARGET_MAX], const char *collection, const uint8_t id[ID_BYTES],
	const char *fmt, ...) KLUIS_PRINTF(4, 5);

/* Any call: a JSON body (dropped here; NULL for none), a JSON object as the answer. ret_object may
 * be NULL; 204 gives an empty object. The caller drops it. */
KLUIS_MUST_CHECK int api_json(struct client *client, const char *method, const char *target,
	json_t *body, unsigned flags, json_t **ret_object, struct err *e);
/* ... a GET by the session that changes nothing. */
KLUIS_MUST_CHECK int api_get(
	struct client *client, const char *target, json_t **ret_object, struct err *e);
/* As api_json() for POSTs that create something, under one fresh Idempotency-Key. */
KLUIS_MUST_CHECK int api_create(struct client *client, const char *target, json_t *body,
	unsigned flags, json_t **ret_object, struct err *e);
/* All items of a list, however many answers it takes (at most `most` items and API_LIST_BYTES_MAX:
 * KLUIS_EPROTO). target has no cursor yet; *ret_items is a new array. */
KLUIS_MUST_CHECK int api_list(struct client *client, const char *target, unsigned flags,
	size_t most, json_t **ret_items, struct err *e);

/* GET /.well-known/kluis.json */
struct api_cluster {
	uint8_t cluster_id[ID_BYTES], lineage[ID_BYTES];
	struct buf ca_pem;
	uint8_t ca_spki[HASH_BYTES];
	bool has_restore_key;
	uint8_t restore_key[API_KEY_BYTES];
	uint8_t records[RESTORE_RECORDS_MAX][RESTORE_RECORD_BYTES]; /* Oldest first. */
	size_t n_records;
	json_t *sites; /* As it came: array of {node, site, endpoints}. */
	struct suites suites;
};
void api_cluster_release(struct api_cluster *cluster);
KLUIS_MUST_CHECK int api_well_known(
	struct client *client, struct api_cluster *ret_cluster, struct err *e);
/* cluster->ca_pem becomes `judged`, the CAs that the connection was held against: what an answer
 * says of its CA is pinned by nobody. KLUIS_EPIN when the answer names none of them. */
KLUIS_MUST_CHECK int api_cluster_pin_ca(
	struct api_cluster *cluster, struct bytes judged, struct err *e);
/* GET /healthz, /readyz, /v1/limits, /v1/version by api_json(). */

/* POST /v1/services/enrol */
struct api_enrol {
	const char *token, *account;
	struct bytes identity, device; /* The two statements. */
	struct bytes proof;
};
KLUIS_MUST_CHECK int api_service_enrol(
	struct client *client, const struct api_enrol *enrol, struct err *e);

/* POST /v1/login/device/start and finish. The challenge lives on one node: pass *ret_endpoint on.
 */
struct api_challenge {
	char handshake[HEX_LEN(ID_BYTES) + 1];
	uint8_t challenge[PROOF_CHALLENGE_BYTES];
	size_t endpoint;
};
struct api_session {
	char token[CLIENT_TOKEN_BYTES_MAX + 1]; /* The caller clears it. */
	uint64_t expires_ms;
	bool full; /* No second factor is still to be proven. */
};
KLUIS_MUST_CHECK int api_login_start(struct client *client, const uint8_t user_id[ID_BYTES],
	const uint8_t device_id[ID_BYTES], struct api_challenge *ret_challenge, struct err *e);
/* flags: CLIENT_AUTH for a person, whose session goes on as the device's under the new token. */
KLUIS_MUST_CHECK int api_login_finish(struct client *client, const struct api_challenge *challenge,
	struct bytes signature, unsigned flags, struct api_session *ret_session, struct err *e);
/* POST /v1/logout; GET and DELETE /v1/sessions[/{id}] by api_json() and api_list(). */
KLUIS_MUST_CHECK int api_logout(struct client *client, struct err *e);

/* One vault as the node describes it. */
struct api_vault {
	uint8_t id[ID_BYTES];
	char role[16];
	char etag[API_ETAG_BYTES_MAX + 1];
	uint64_t created_ms, revision, seq, page_count;
	uint8_t head_hash[HASH_BYTES];
	struct buf label;  /* Sealed by a client, or empty. */
	struct buf create; /* The create statement; empty in lists. */
};
void api_vault_release(struct api_vault *vault);
KLUIS_MUST_CHECK int api_vault_parse(
	const json_t *object, struct api_vault *ret_vault, struct err *e);
/* create: the statement; head: HEAD_BYTES; label may be empty. key: the Idempotency-Key, kept by
 * the caller over a restart so that the same vault is not made twice. */
KLUIS_MUST_CHECK int api_vault_create(struct client *client, struct bytes create, struct bytes head,
	struct bytes label, const char *key, struct err *e);
KLUIS_MUST_CHECK int api_vault_get(struct client *client, const uint8_t vault_id[ID_BYTES],
	struct api_vault *ret_vault, struct err *e);
/* etag: the vault's (If-Match). */
KLUIS_MUST_CHECK int api_vault_patch(struct client *client, const uint8_t vault_id[ID_BYTES],
	struct bytes label, const char *etag, struct err *e);
KLUIS_MUST_CHECK int api_vault_delete(
	struct client *client, const uint8_t vault_id[ID_BYTES], const char *etag, struct err *e);

/* GET head: HEAD_BYTES, unverified. */
KLUIS_MUST_CHECK int api_head(struct client *client, const uint8_t vault_id[ID_BYTES],
	uint8_t ret_head[HEAD_BYTES], struct err *e);
/* GET heads: those after `since`, HEAD_BYTES each, appended; one answer's worth. *ret_done when
 * there are no more. */
KLUIS_MUST_CHECK int api_heads(struct client *client, const uint8_t vault_id[ID_BYTES],
	uint64_t since, struct buf *ret_heads, bool *ret_done, struct err *e);

struct api_change {
	uint64_t seq, page_no, revision;
	uint32_t epoch;
	uint8_t leaf[HASH_BYTES];
};
/* Whether the text can be a cursor: it goes into a target as it is. */
bool api_cursor_valid(const char *cursor);
/* GET changes: one answer's worth; cursor: "<lineage>:<seq>" or what came before. *ret_changes is a
 * new array, *ret_next a new string, both the caller's. */
KLUIS_MUST_CHECK int api_changes(struct client *client, const uint8_t vault_id[ID_BYTES],
	const char *cursor, struct api_change **ret_changes, size_t *ret_n, char **ret_next,
	bool *ret_done, struct err *e);

/* GET pages/{n}: appends the page, at most PAGE_BYTES_MAX. */
KLUIS_MUST_CHECK int api_page(struct client *client, const uint8_t vault_id[ID_BYTES],
	uint64_t page_no, struct buf *ret_page, struct err *e);
/* POST pages:get for n <= PAGES_GET_MAX pages: the whole answer into ret_body, and where in it each
 * page lies (n runs; empty for one never written). */
KLUIS_MUST_CHECK int api_pages(struct client *client, const uint8_t vault_id[ID_BYTES],
	const uint64_t *page_nos, size_t n, struct buf *ret_body, struct bytes *ret_pages,
	struct err *e);
/* PUT pages/{n}: a commit of one page. etag NULL: a new page. */
KLUIS_MUST_CHECK int api_page_put(struct client *client, const uint8_t vault_id[ID_BYTES],
	uint64_t page_no, struct bytes page, struct bytes head, const char *etag, struct err *e);
/* GET pages/{n}/versions: the newest, at most LIST_LIMIT_MAX (more than are kept). */
struct api_version_row {
	uint64_t revision, bytes, written_ms;
	uint32_t epoch;
	uint8_t sha256[HASH_BYTES];
};
KLUIS_MUST_CHECK int api_versions(struct client *client, const uint8_t vault_id[ID_BYTES],
	uint64_t page_no, struct api_version_row ret_versions[LIST_LIMIT_MAX], size_t *ret_n,
	struct err *e);
/* One of them: */
KLUIS_MUST_CHECK int api_version(struct client *client, const uint8_t vault_id[ID_BYTES],
	uint64_t page_no, uint64_t revision, struct buf *ret_page, struct err *e);

/* PUT and HEAD staged/{sha256}. */
KLUIS_MUST_CHECK int api_staged_put(struct client *client, const uint8_t vault_id[ID_BYTES],
	const uint8_t sha256[HASH_BYTES], struct bytes page, struct err *e);
KLUIS_MUST_CHECK int api_staged_there(struct client *client, const uint8_t vault_id[ID_BYTES],
	const uint8_t sha256[HASH_BYTES], bool *ret_there, struct err *e);
/* A page of a commit. */
struct api_entry {
	uint64_t page_no, revision;
	uint32_t epoch; /* For the writer's own leaf table; not sent. */
	bool staged;
	uint8_t page_hash[HASH_BYTES];
	struct bytes page; /* Not staged: the page. Borrowed. */
};
/* The body of POST commits. */
void api_commit_body(struct bytes head, const struct api_entry *entries, size_t n, struct buf *to);
/* POST commits with a ready body. KLUIS_EPRECONDITION when the head moved, KLUIS_ECONFLICT when a
 * page's revision is not the next. */
KLUIS_MUST_CHECK int api_commit(struct client *client, const uint8_t vault_id[ID_BYTES],
	struct bytes body, bool purge, struct err *e);
/* A commit that made pages of these documents of the user's inbox (ids with commas between), which
 * go with it. KLUIS_ENOTFOUND: one is not there, and nothing was committed. */
KLUIS_MUST_CHECK int api_commit_claiming(struct client *client, const uint8_t vault_id[ID_BYTES],
	struct bytes body, const char *claims, struct err *e);

#endif
