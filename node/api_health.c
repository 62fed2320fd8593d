/* What anybody may ask a node. */
#include <string.h>

#include "base/text.h"
#include "crypto/kdf.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "storage/cluster_store.h"
#include "storage/policy_store.h"
#include "storage/restore_store.h"
#include "storage/server_store.h"

int health_live_parse(struct api_call *call)
{
	json_t *body = json_object();

	json_put(body, "status", json_make_text("ok"));
	call_json(call, 200, body);
	return 0;
}

static const char *role_name(const struct replica_status *status)
{
	if (status->role == REPLICA_LEADER) {
		return "leader";
	}
	switch (status->vote) {
	case REPLICA_VOTER:
		return "voter";
	case REPLICA_STANDBY:
		return "standby";
	default:
		return "spare";
	}
}

/* A new cluster begins when all its members have met: says who is missing. */
static int health_not_begun(struct api_call *call, const struct replica_status *status)
{
	_cleanup_(buf_release) struct buf missing = BUF_INIT;

	if (status->joining) {
		return call_fail(call, KLUIS_ENOQUORUM,
			"this node joins: it waits to be added (kluisctl member add), and for the "
			"data");
	}
	for (unsigned i = 0; i < status->n_peers; i++) {
		if (status->peers[i].id != status->node_id && !status->peers[i].met) {
			buf_printf(&missing, "%s%llu", missing.len == 0 ? "" : ", ",
				(unsigned long long)status->peers[i].id);
		}
	}
	return call_fail(call, KLUIS_ENOQUORUM,
		"the cluster begins when all its nodes have met; not met yet: %s",
		missing.len == 0 ? "none" : buf_str(&missing));
}

/* Whether an operator is about to stop this node. */
static int health_drained(struct api_call *call, bool *ret_drained)
{
	struct server_row row;
	int rc = server_store_get(call->view, call->api->config.node_id, &row, &call->e);

	*ret_drained = rc == 0 && row.wish == SERVER_DRAINED;
	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

int health_ready_read(struct api_call *call)
{
	struct api_backend *backend = call->api->config.backend;
	struct replica_status status;
	bool read_only, drained;
	json_t *body;
	int rc = health_drained(call, &drained);

	if (rc != 0) {
		return rc;
	}
	rc = cluster_store_read_only(call->view, &read_only, &call->e);
	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	backend->status(backend, &status);
	if (!status.begun) {
		return health_not_begun(call, &status);
	}
	if (status.quarantined) {
		return call_fail(call, KLUIS_EBEHIND,
			status.rebuilding ? "this node's store is being replaced by a peer's"
					  : "this node's state is not that of the others");
	}
	if (rc == KLUIS_ENOTFOUND) {
		return call_fail(call, KLUIS_ENOQUORUM, "the cluster has not begun yet");
	}
	if (!status.ready) {
		return call_fail(call, KLUIS_ENOQUORUM, "this node is in touch with no leader");
	}
	if (drained) {
		return call_fail(call, KLUIS_EBEHIND, "this node is drained: go to another site");
	}
	if (status.cluster_time_ms < CLUSTER_TIME_MS_MIN) {
		/* Sessions made before it jumps to the clocks of the nodes would expire at once. */
		return call_fail(call, KLUIS_ENOQUORUM, "the cluster's clock is not set yet");
	}
	if (status.read_only) {
		return call_fail(call, KLUIS_EREADONLY, "this node's disk is nearly full");
	}
	if (read_only) {
		return call_fail(call, KLUIS_EREADONLY, "the cluster takes no new writes");
	}
	body = json_object();
	json_put(body, "status", json_make_text("ready"));
	json_put(body, "role", json_make_text(role_name(&status)));
	json_put(body, "leader", json_make_number(status.leader_id));
	json_put(body, "applied_index", json_make_number(status.applied_index));
	call_json(call, 200, body);
	return 0;
}

int limits_parse(struct api_call *call)
{
	static const struct {
		const char *name;
		uint64_t value;
	} limits[] = {
		{"page_bytes", PAGE_BYTES_MAX},
		{"commit_inline_bytes", COMMIT_INLINE_BYTES_MAX},
		{"commit_entries", COMMIT_ENTRIES_MAX},
		{"request_body_bytes", REQUEST_BODY_BYTES_MAX},
		{"keyring_bytes", KEYRING_BYTES_MAX},
		{"message_bytes", CHAT_MESSAGE_BYTES_MAX},
		{"inbox_document_bytes", INBOX_DOCUMENT_BYTES_MAX},
		{"header_bytes", HTTP_HEADER_BYTES_MAX},
		{"target_bytes", HTTP_TARGET_BYTES_MAX},
		{"inbox_docs", INBOX_DOCS_MAX},
		{"inbox_bytes", INBOX_BYTES_MAX},
		{"inbox_kept_ms", INBOX_KEPT_MS},
		{"inbox_tokens", INBOX_TOKENS_MAX},
		{"inbox_claims", INBOX_DOCS_PER_COMMAND_MAX},
		{"label_bytes", VAULT_LABEL_BYTES_MAX},
		{"pages_get", PAGES_GET_MAX},
		{"list_default", LIST_LIMIT_DEFAULT},
		{"list_max", LIST_LIMIT_MAX},
		{"wait_ms", API_WAIT_MS_MAX},
		{"event_wait_ms", EVENT_WAIT_MS_MAX},
		{"event_user_subscribers", EVENT_USER_MAX},
		{"staged_kept_ms", STAGED_KEPT_MS},
		{"staged_user_bytes", STAGED_USER_BYTES_MAX},
		{"audit_kept_ms", AUDIT_KEPT_MS},
		{"versions_kept", PAGE_VERSIONS_MAX},
		{"versions_kept_ms", VERSIONS_KEPT_MS},
		{"idempotency_kept_ms", IDEMPOTENCY_KEPT_MS},
		{"idempotency_key_bytes", IDEMPOTENCY_KEY_BYTES_MAX},
	};
	json_t *body = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		json_put(body, limits[i].name, json_make_number(limits[i].value));
	}
	json_put(body, "stale_ms", json_make_number(call->api->config.stale_ms));
	call_json(call, 200, body);
	return 0;
}

static json_t *api_versions(void)
{
	json_t *versions = json_array();

	(void)json_array_append_new(versions, json_make_text("v1"));
	return versions;
}

/* Before the cluster was begun there is no row: level 0. */
static int feature_level(struct api_call *call, uint32_t *ret_level)
{
	struct cluster_row row;
	int rc = cluster_store_get(call->view, &row, &call->e);

	if (rc == 0 || rc == KLUIS_ENOTFOUND) {
		*ret_level = rc == 0 ? row.feature_level : 0;
		return 0;
	}
	return rc;
}

int version_read(struct api_call *call)
{
	uint32_t level;
	int rc = feature_level(call, &level);
	json_t *body;

	if (rc != 0) {
		return rc;
	}
	body = json_object();
	json_put(body, "version", json_make_text(KLUIS_VERSION));
	json_put(body, "api_versions", api_versions());
	json_put(body, "feature_level", json_make_number(level));
	call_json(call, 200, body);
	return 0;
}

static json_t *well_known_site(const struct api_config *config, const struct node_row *row)
{
	json_t *site = json_object(), *endpoints = json_array();
	bool self = row->node == config->node_id;
	const char *url = row->api[0] != '\0' || !self ? row->api : config->url;

	if (url != NULL && url[0] != '\0') {
		(void)json_array_append_new(endpoints, json_make_text(url));
	}
	json_put(site, "node", json_make_number(row->node));
	json_put(site, "site",
		json_make_text(row->site[0] == '\0' && self ? config->site : row->site));
	json_put(site, "endpoints", endpoints);
	return site;
}

static int well_known_sites(struct api_call *call, json_t *sites)
{
	const struct api_config *config = &call->api->config;
	struct node_row rows[SITES_MAX], self = {.node = config->node_id};
	size_t n;
	int rc = node_store_list(call->view, 0, rows, SITES_MAX, &n, &call->e);
	bool found = false;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		found = found || rows[i].node == config->node_id;
		(void)json_array_append_new(sites, well_known_site(config, &rows[i]));
	}
	if (rc == 0 && !found) {
		(void)json_array_append_new(sites, well_known_site(config, &self));
	}
	return rc;
}

/* This node's settings, or stricter ones of another. */
static json_t *well_known_policy(const struct api_config *config, const struct policy *in_force)
{
	struct policy own = {.registration = (uint8_t)config->registration,
		.recovery_delay_ms = (uint32_t)config->recovery_delay_ms};
	json_t *policy = json_object();

	policy_tighten(&own, in_force);
	json_put(policy, "register",
		json_make_text(
			config_registration_name((enum config_registration)own.registration)));
	json_put(policy, "web_login", json_true());
	json_put(policy, "srp_group", json_integer(config->srp_group));
	json_put(policy, "aes_bits", json_integer(config->aes == SYM_AES_128 ? 128 : 256));
	json_put(policy, "rsa_bits", json_integer(config->rsa_bits));
	json_put(policy, "curve", json_make_text(config_choice_name(config_curve, config->curve)));
	json_put(policy, "recovery_delay_ms", json_make_number(own.recovery_delay_ms));
	json_put(policy, "mfa_required", json_false());
	json_put(policy, "kdf_login_min", json_integer(KDF_LOGIN_MIN));
	json_put(policy, "kdf_keyring_min", json_integer(2 * KDF_LOGIN_MIN));
	return policy;
}

static int well_known_restore(struct api_call *call, json_t *restore)
{
	const struct api_config *config = &call->api->config;
	struct restore_row rows[RESTORE_RECORDS_MAX];
	json_t *records = json_array();
	size_t n = 0;
	int rc = restore_store_list(call->view, rows, &n, &call->e);

	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(
			records, json_make_base64(bytes_of(rows[i].record, sizeof rows[i].record)));
	}
	json_put(restore, "key",
		config->restore_key.len == 0 ? json_null() : json_make_base64(config->restore_key));
	json_put(restore, "records", records);
	return rc;
}

static json_t *well_known_body(
	struct api *api, const struct policy *in_force, json_t *sites, json_t *restore)
{
	json_t *body = json_object();

	json_put(body, "cluster_id", json_make_id(api->config.cluster_id));
	json_put(body, "lineage", json_make_id(api->config.lineage));
	json_put(body, "sites", sites);
	(void)pthread_mutex_lock(&api->ca_lock);
	json_put(body, "ca", json_make_text(api->ca_pem == NULL ? "" : api->ca_pem));
	json_put(body, "ca_spki_sha256",
		json_make_base64(bytes_of(api->ca_spki, sizeof api->ca_spki)));
	(void)pthread_mutex_unlock(&api->ca_lock);
	json_put(body, "api_versions", api_versions());
	json_put(body, "policy", well_known_policy(&api->config, in_force));
	json_put(body, "restore", restore);
	return body;
}

int well_known_read(struct api_call *call)
{
	json_t *sites, *restore;
	struct cluster_row row;
	struct policy in_force;
	int rc = cluster_store_get(call->view, &row, &call->e);

	if (rc == KLUIS_ENOTFOUND) {
		/* A node that has yet to fetch its store could not show the restore records. */
		return call_fail(call, KLUIS_ENOQUORUM, "the cluster has not begun yet");
	}
	sites = json_array();
	restore = json_object();
	rc = rc != 0 ? rc : well_known_sites(call, sites);
	rc = rc != 0 ? rc : well_known_restore(call, restore);
	rc = rc != 0 ? rc : policy_store_get(call->view, &in_force, &call->e);
	if (rc != 0) {
		json_decref(sites);
		json_decref(restore);
		return rc;
	}
	call_json(call, 200, well_known_body(call->api, &in_force, sites, restore));
	return 0;
}
