/* The calls beneath: kluis_api.h, over the same functions that kluis and libkluis use. */
#include "cli/client/kluis_api.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/client/kluis_impl.h"

enum { API_SESSIONS_MAX = 1024, API_VAULTS_MAX = 100000 };

/* The public numbers are our own. */
#define SAME(public, own) static_assert((int)(public) == (int)(own), #public)
SAME(KLUIS_ID_BYTES, ID_BYTES);
SAME(KLUIS_HASH_BYTES, HASH_BYTES);
SAME(KLUIS_HEAD_BYTES, HEAD_BYTES);
SAME(KLUIS_PAGE_BYTES_MAX, PAGE_BYTES_MAX);
SAME(KLUIS_RESTORE_RECORD_BYTES, RESTORE_RECORD_BYTES);
SAME(KLUIS_RESTORE_KEY_BYTES, API_KEY_BYTES);
SAME(KLUIS_PAGES_GET_MAX, PAGES_GET_MAX);
SAME(KLUIS_COMMIT_ENTRIES_MAX, COMMIT_ENTRIES_MAX);
SAME(KLUIS_ETAG_BYTES_MAX, API_ETAG_BYTES_MAX);
SAME(KLUIS_LINEARIZABLE, CLIENT_LINEARIZABLE);
SAME(KLUIS_SESSION, CLIENT_SESSION);
SAME(KLUIS_STALE, CLIENT_STALE);

void kluis_free(void *memory)
{
	free(memory);
}

void kluis_api_set_level(struct kluis *k, enum kluis_level level, unsigned wait_ms)
{
	k->level = level == KLUIS_SESSION || level == KLUIS_STALE ? (enum client_level)level
								  : CLIENT_LINEARIZABLE;
	k->wait_ms = wait_ms;
}

uint64_t kluis_api_staleness_ms(const struct kluis *k)
{
	return k->staleness_ms;
}

struct client *kluis_api_begin(struct kluis *k)
{
	client_set_level(k->client, k->level, k->wait_ms);
	return k->client;
}

int kluis_api_end(struct kluis *k, int rc, const struct err *e, struct kluis_failure *error)
{
	k->staleness_ms = client_staleness_ms(k->client);
	client_set_level(k->client, CLIENT_LINEARIZABLE, 0);
	return kluis_give(rc, e, error);
}

struct cluster_memory {
	struct kluis_cluster cluster; /* First: what the caller has. */
	struct api_cluster from;
	struct kluis_site *sites;
	const char **endpoints; /* Of all sites, one after the other. */
};

void kluis_cluster_free(struct kluis_cluster *cluster)
{
	struct cluster_memory *m = (struct cluster_memory *)cluster;

	if (m != NULL) {
		api_cluster_release(&m->from);
		free(m->sites);
		free(m->endpoints);
		free(m);
	}
}

static void cluster_sites(struct cluster_memory *m, struct json_reader *failed)
{
	size_t n = json_array_size(m->from.sites), at = 0, i, k;
	const json_t *object, *endpoint;

	m->sites = x_calloc(n + 1, sizeof *m->sites);
	m->endpoints = x_calloc(n * CLIENT_ENDPOINTS_MAX + 1, sizeof *m->endpoints);
	json_array_foreach(m->from.sites, i, object)
	{
		struct json_reader r = json_reader_of(object);
		const json_t *list = json_reader_array(&r, "endpoints");

		m->sites[i] = (struct kluis_site){.node = json_reader_u64(&r, "node"),
			.name = json_reader_string(&r, "site"),
			.endpoints = m->endpoints + at,
			.n_endpoints = json_array_size(list)};
		if (r.failed != NULL || json_array_size(list) > CLIENT_ENDPOINTS_MAX) {
			failed->failed = "sites";
			return;
		}
		json_array_foreach(list, k, endpoint)
		{
			m->endpoints[at++] = json_string_value(endpoint);
			failed->failed = json_is_string(endpoint) ? failed->failed : "sites";
		}
	}
	m->cluster.sites = m->sites;
	m->cluster.n_sites = n;
}

int kluis_api_cluster(
	struct kluis *k, struct kluis_cluster **ret_cluster, struct kluis_failure *error)
{
	struct cluster_memory *m = x_calloc(1, sizeof *m);
	struct json_reader r = {NULL, NULL};
	struct err e = {0};
	int rc = api_well_known(kluis_api_begin(k), &m->from, &e);

	if (rc == 0) {
		cluster_sites(m, &r);
		rc = json_reader_end(&r, "kluis.json", &e);
	}
	if (rc != 0) {
		kluis_cluster_free(&m->cluster);
		return kluis_api_end(k, rc, &e, error);
	}
	memcpy(m->cluster.id, m->from.cluster_id, ID_BYTES);
	memcpy(m->cluster.lineage, m->from.lineage, ID_BYTES);
	memcpy(m->cluster.ca_spki_sha256, m->from.ca_spki, HASH_BYTES);
	memcpy(m->cluster.restore_key, m->from.restore_key, API_KEY_BYTES);
	m->cluster.has_restore_key = m->from.has_restore_key;
	m->cluster.ca_pem = buf_str(&m->from.ca_pem);
	m->cluster.restore_records =
		(const unsigned char(*)[KLUIS_RESTORE_RECORD_BYTES])m->from.records;
	m->cluster.n_restore_records = m->from.n_records;
	*ret_cluster = &m->cluster;
	return kluis_api_end(k, 0, &e, error);
}

/* GET of an object that needs no session. */
static int open_get(struct kluis *k, const char *target, json_t **ret_object,
	struct json_reader *ret_reader, struct err *e)
{
	int rc = api_json(kluis_api_begin(k), "GET", target, NULL, 0, ret_object, e);

	if (rc == 0) {
		*ret_reader = json_reader_of(*ret_object);
	}
	return rc;
}

int kluis_api_limits(struct kluis *k, struct kluis_limits *ret_limits, struct kluis_failure *error)
{
	struct kluis_limits l;
	const struct {
		const char *name;
		uint64_t *to;
	} rows[] = {
		{"page_bytes", &l.page_bytes},
		{"commit_inline_bytes", &l.commit_inline_bytes},
		{"commit_entries", &l.commit_entries},
		{"request_body_bytes", &l.request_body_bytes},
		{"keyring_bytes", &l.keyring_bytes},
		{"message_bytes", &l.message_bytes},
		{"inbox_document_bytes", &l.inbox_document_bytes},
		{"header_bytes", &l.header_bytes},
		{"target_bytes", &l.target_bytes},
		{"label_bytes", &l.label_bytes},
		{"pages_get", &l.pages_get},
		{"list_default", &l.list_default},
		{"list_max", &l.list_max},
		{"wait_ms", &l.wait_ms},
		{"stale_ms", &l.stale_ms},
		{"staged_kept_ms", &l.staged_kept_ms},
		{"versions_kept", &l.versions_kept},
		{"versions_kept_ms", &l.versions_kept_ms},
		{"idempotency_kept_ms", &l.idempotency_kept_ms},
		{"idempotency_key_bytes", &l.idempotency_key_bytes},
	};
	struct json_reader r;
	struct err e = {0};
	json_t *object;
	int rc = open_get(k, "/v1/limits", &object, &r, &e);

	if (rc == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			*rows[i].to = json_reader_u64(&r, rows[i].name);
		}
		rc = json_reader_end(&r, "limits", &e);
		json_decref(object);
	}
	if (rc == 0) {
		*ret_limits = l;
	}
	return kluis_api_end(k, rc, &e, error);
}

/* A short string member; a longer one fails the reader. */
static void api_name(struct json_reader *r, const char *key, char *to, size_t size)
{
	const char *text = json_reader_string(r, key);

	if (strlen(text) >= size) {
		r->failed = key;
		text = "";
	}
	(void)snprintf(to, size, "%s", text);
}

int kluis_api_version(
	struct kluis *k, struct kluis_node_version *ret_version, struct kluis_failure *error)
{
	struct kluis_node_version version;
	struct json_reader r;
	struct err e = {0};
	json_t *object;
	int rc = open_get(k, "/v1/version", &object, &r, &e);

	if (rc == 0) {
		api_name(&r, "version", version.version, sizeof version.version);
		version.feature_level = json_reader_u64(&r, "feature_level");
		rc = json_reader_end(&r, "version", &e);
		json_decref(object);
	}
	if (rc == 0) {
		*ret_version = version;
	}
	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_ready(struct kluis *k, struct kluis_ready *ret_ready, struct kluis_failure *error)
{
	struct kluis_ready ready;
	struct json_reader r;
	struct err e = {0};
	json_t *object;
	int rc = open_get(k, "/readyz", &object, &r, &e);

	if (rc == 0) {
		api_name(&r, "role", ready.role, sizeof ready.role);
		ready.leader = json_reader_u64(&r, "leader");
		ready.applied_index = json_reader_u64(&r, "applied_index");
		rc = json_reader_end(&r, "readyz", &e);
		json_decref(object);
	}
	if (rc == 0) {
		*ret_ready = ready;
	}
	return kluis_api_end(k, rc, &e, error);
}

static int session_parse(const json_t *object, struct kluis_session *ret_session, struct err *e)
{
	struct json_reader r = json_reader_of(object);
	struct kluis_session session = {.created_ms = json_reader_u64(&r, "created"),
		.expires_ms = json_reader_u64(&r, "expires"),
		.current = json_reader_bool(&r, "current")};
	int rc;

	json_reader_hex(&r, "id", session.id, ID_BYTES);
	json_reader_hex(&r, "device_id", session.device_id, ID_BYTES);
	api_name(&r, "level", session.level, sizeof session.level);
	rc = json_reader_end(&r, "session", e);
	if (rc == 0) {
		*ret_session = session;
	}
	return rc;
}

int kluis_api_sessions(
	struct kluis *k, kluis_session_fn *each, void *arg, struct kluis_failure *error)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	struct kluis_session session;
	struct err e = {0};
	int rc = api_list(kluis_api_begin(k), "/v1/sessions", CLIENT_AUTH | CLIENT_READ,
		API_SESSIONS_MAX, &items, &e);

	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		rc = session_parse(json_array_get(items, i), &session, &e);
		if (rc == 0) {
			each(arg, &session);
		}
	}
	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_session(struct kluis *k, const unsigned char *id, struct kluis_session *ret_session,
	struct kluis_failure *error)
{
	struct err e = {0};
	char target[API_TARGET_MAX];
	json_t *object;
	int rc;

	api_target(target, "sessions", id, "%s", "");
	rc = api_get(kluis_api_begin(k), target, &object, &e);
	if (rc == 0) {
		rc = session_parse(object, ret_session, &e);
		json_decref(object);
	}
	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_session_end(struct kluis *k, const unsigned char *id, struct kluis_failure *error)
{
	struct err e = {0};
	char target[API_TARGET_MAX];
	int rc;

	api_target(target, "sessions", id, "%s", "");
	rc = api_json(kluis_api_begin(k), "DELETE", target, NULL, CLIENT_AUTH, NULL, &e);
	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_sessions_end_others(struct kluis *k, struct kluis_failure *error)
{
	struct err e = {0};
	int rc =
		api_json(kluis_api_begin(k), "DELETE", "/v1/sessions", NULL, CLIENT_AUTH, NULL, &e);

	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_logout(struct kluis *k, struct kluis_failure *error)
{
	struct err e = {0};
	int rc = session_end(k->profile, kluis_api_begin(k), &e);

	return kluis_api_end(k, rc, &e, error);
}

static void vault_show(const struct api_vault *from, kluis_vault_fn *each, void *arg)
{
	struct kluis_vault vault = {.created_ms = from->created_ms,
		.revision = from->revision,
		.seq = from->seq,
		.page_count = from->page_count,
		.label = from->label.data,
		.label_len = from->label.len,
		.create = from->create.data,
		.create_len = from->create.len};

	static_assert(sizeof vault.role == sizeof from->role, "roles");
	static_assert(sizeof vault.etag == sizeof from->etag, "etags");
	memcpy(vault.id, from->id, ID_BYTES);
	memcpy(vault.head_hash, from->head_hash, HASH_BYTES);
	memcpy(vault.role, from->role, sizeof vault.role);
	memcpy(vault.etag, from->etag, sizeof vault.etag);
	each(arg, &vault);
}

int kluis_api_vaults(struct kluis *k, kluis_vault_fn *each, void *arg, struct kluis_failure *error)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	struct err e = {0};
	int rc = api_list(kluis_api_begin(k), "/v1/vaults", CLIENT_AUTH | CLIENT_READ,
		API_VAULTS_MAX, &items, &e);

	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		struct api_vault vault;

		rc = api_vault_parse(json_array_get(items, i), &vault, &e);
		if (rc == 0) {
			vault_show(&vault, each, arg);
			api_vault_release(&vault);
		}
	}
	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_vault(struct kluis *k, const unsigned char *id, kluis_vault_fn *each, void *arg,
	struct kluis_failure *error)
{
	struct api_vault vault;
	struct err e = {0};
	int rc = api_vault_get(kluis_api_begin(k), id, &vault, &e);

	if (rc == 0) {
		vault_show(&vault, each, arg);
		api_vault_release(&vault);
	}
	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_field(const char *text, struct err *e)
{
	for (const char *at = text; *at != 0; at++) {
		if (*at <= 0x20 || *at >= 0x7f) {
			return err_set(e, KLUIS_EINVAL, "a field holds other than visible ASCII");
		}
	}
	return 0;
}

int kluis_api_vault_create(struct kluis *k, const void *create, size_t create_len, const void *head,
	const void *label, size_t label_len, const char *key, struct kluis_failure *error)
{
	struct err e = {0};
	int rc = kluis_api_field(key, &e);

	rc = rc != 0 ? rc
		     : api_vault_create(kluis_api_begin(k), bytes_of(create, create_len),
			       bytes_of(head, HEAD_BYTES), bytes_of(label, label_len), key, &e);
	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_vault_set_label(struct kluis *k, const unsigned char *id, const char *etag,
	const void *label, size_t label_len, struct kluis_failure *error)
{
	struct err e = {0};
	int rc = kluis_api_field(etag, &e);

	rc = rc != 0 ? rc
		     : api_vault_patch(
			       kluis_api_begin(k), id, bytes_of(label, label_len), etag, &e);
	return kluis_api_end(k, rc, &e, error);
}

int kluis_api_vault_delete(
	struct kluis *k, const unsigned char *id, const char *etag, struct kluis_failure *error)
{
	struct err e = {0};
	int rc = kluis_api_field(etag, &e);

	rc = rc != 0 ? rc : api_vault_delete(kluis_api_begin(k), id, etag, &e);
	/* Else it would be missed. */
	rc = rc != 0 ? rc : vault_give_up(k->profile, k->client, id, &e);
	return kluis_api_end(k, rc, &e, error);
}
