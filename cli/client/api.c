#include "cli/client/api.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/json_reader.h"
#include "crypto/pki.h"

enum { API_KEY_CHARS = 32, API_EMPTY_ANSWERS_MAX = 64 };
static const char api_json_type[] = "application/json";

void api_target(char to[API_TARGET_MAX], const char *collection, const uint8_t id[ID_BYTES],
	const char *fmt, ...)
{
	char hex[HEX_LEN(ID_BYTES) + 1];
	va_list args;
	int len;

	hex_encode(bytes_of(id, ID_BYTES), hex);
	len = snprintf(to, API_TARGET_MAX, "/v1/%s/%s", collection, hex);
	assert(len > 0 && len < API_TARGET_MAX);
	va_start(args, fmt);
	(void)vsnprintf(to + len, API_TARGET_MAX - (size_t)len, fmt, args);
	va_end(args);
}

/* *ret_bytes (may be NULL): how long the answer was, also when it is not taken. */
static int api_call_bytes(struct client *client, struct client_request *request, json_t *body,
	json_t **ret_object, size_t *ret_bytes, struct err *e)
{
	_cleanup_(http_answer_release) struct http_answer answer = {0};
	_cleanup_(secret_buf_release) struct buf text = BUF_INIT; /* May hold a token. */
	json_t *object;
	int rc;

	if (body != NULL) {
		json_take_text(body, &text);
		request->type = api_json_type;
		request->body = buf_bytes(&text);
	}
	rc = client_call(client, request, &answer, e);
	if (ret_bytes != NULL) {
		*ret_bytes = answer.body.len;
	}
	if (rc != 0 || ret_object == NULL) {
		return rc;
	}
	if (answer.status == 204 || answer.status == 304) {
		*ret_object = json_object();
		return 0;
	}
	rc = json_object_parse(buf_bytes(&answer.body), &object, e);
	if (rc != 0) {
		return err_wrap(e, rc, "answer to %s %s", request->method, request->target);
	}
	*ret_object = object;
	return 0;
}

static int api_call_json(struct client *client, struct client_request *request, json_t *body,
	json_t **ret_object, struct err *e)
{
	return api_call_bytes(client, request, body, ret_object, NULL, e);
}

int api_json(struct client *client, const char *method, const char *target, json_t *body,
	unsigned flags, json_t **ret_object, struct err *e)
{
	struct client_request request = {.method = method, .target = target, .flags = flags};

	return api_call_json(client, &request, body, ret_object, e);
}

int api_get(struct client *client, const char *target, json_t **ret_object, struct err *e)
{
	return api_json(client, "GET", target, NULL, CLIENT_AUTH | CLIENT_READ, ret_object, e);
}

static void api_fresh_key(char key[API_KEY_CHARS + 1])
{
	uint8_t raw[API_KEY_CHARS / 2];

	random_fill(&random_system, raw, sizeof raw);
	hex_encode(bytes_of(raw, sizeof raw), key);
}

int api_create(struct client *client, const char *target, json_t *body, unsigned flags,
	json_t **ret_object, struct err *e)
{
	char key[API_KEY_CHARS + 1];
	struct client_request request = {.method = "POST",
		.target = target,
		.flags = flags,
		.fields = {{"Idempotency-Key", key}}};

	api_fresh_key(key);
	return api_call_json(client, &request, body, ret_object, e);
}

bool api_cursor_valid(const char *cursor)
{
	size_t len = strlen(cursor);

	return len > 0 && len <= API_CURSOR_BYTES_MAX &&
	       strspn(cursor,
		       "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:~") ==
		       len;
}

/* Appends one answer's items to `items`; *ret_next is a new string or NULL at the end. The answer's
 * bytes go off *left: what a list may be in memory is bounded by what it was on the way. */
static int list_step(struct client *client, const char *target, const char *cursor, unsigned flags,
	size_t *left, json_t *items, char **ret_next, struct err *e)
{
	_cleanup_(x_freep) char *whole = x_asprintf("%s%slimit=%d%s%s", target,
		strchr(target, '?') == NULL ? "?" : "&", LIST_LIMIT_MAX,
		cursor == NULL ? "" : "&cursor=", cursor == NULL ? "" : cursor);
	struct client_request request = {.method = "GET", .target = whole, .flags = flags};
	json_t *object;
	struct json_reader r;
	const char *next;
	size_t bytes;
	int rc = api_call_bytes(client, &request, NULL, &object, &bytes, e);

	if (rc != 0) {
		return rc;
	}
	if (bytes > *left) {
		json_decref(object);
		return err_set(
			e, KLUIS_EPROTO, "%s: more than %d MiB", target, API_LIST_BYTES_MAX >> 20);
	}
	*left -= bytes;
	r = json_reader_of(object);
	next = json_reader_bool(&r, "done") ? NULL : json_reader_string(&r, "next");
	(void)json_array_extend(items, (json_t *)json_reader_array(&r, "items"));
	rc = json_reader_end(&r, target, e);
	if (rc == 0 && next != NULL && !api_cursor_valid(next)) {
		rc = err_set(e, KLUIS_EPROTO, "%s: malformed cursor", target);
	}
	if (rc == 0) {
		*ret_next = next == NULL ? NULL : x_strdup(next);
	}
	json_decref(object);
	return rc;
}

int api_list(struct client *client, const char *target, unsigned flags, size_t most,
	json_t **ret_items, struct err *e)
{
	json_t *items = json_array();
	char *cursor = NULL;
	size_t left = API_LIST_BYTES_MAX;
	unsigned empty = 0; /* Answers in a row: of one, a node may have left all items out. */
	int rc;

	do {
		size_t before = json_array_size(items);
		char *next = NULL;

		rc = list_step(client, target, cursor, flags, &left, items, &next, e);
		free(cursor);
		cursor = next;
		if (rc == 0 && json_array_size(items) > most) {
			rc = err_set(e, KLUIS_EPROTO, "%s: more than %zu items", target, most);
		}
		empty = json_array_size(items) > before ? 0 : empty + 1;
		if (rc == 0 && empty > API_EMPTY_ANSWERS_MAX) {
			rc = err_set(e, KLUIS_EPROTO, "%s: no progress", target);
		}
	} while (rc == 0 && cursor != NULL);
	free(cursor);
	if (rc != 0) {
		json_decref(items);
		return rc;
	}
	*ret_items = items;
	return 0;
}

void api_cluster_release(struct api_cluster *cluster)
{
	buf_release(&cluster->ca_pem);
	json_decref(cluster->sites);
	*cluster = (struct api_cluster){0};
}

static void cluster_restore(struct json_reader *r, struct api_cluster *cluster)
{
	const json_t *records = json_reader_array(r, "records"), *record;
	size_t i;

	if (!json_is_null(json_object_get(r->object, "key"))) {
		json_reader_base64_exact(r, "key", cluster->restore_key, API_KEY_BYTES);
		cluster->has_restore_key = true;
	}
	if (json_array_size(records) > RESTORE_RECORDS_MAX) {
		r->failed = "records";
		return;
	}
	json_array_foreach(records, i, record)
	{
		const char *text = json_is_string(record) ? json_string_value(record) : "";

		if (base64_decode_exact(
			    bytes_str(text), cluster->records[i], RESTORE_RECORD_BYTES) != 0) {
			r->failed = "records";
			return;
		}
	}
	cluster->n_records = json_array_size(records);
}

int api_well_known(struct client *client, struct api_cluster *ret_cluster, struct err *e)
{
	struct api_cluster cluster = {0};
	struct json_reader r, restore;
	json_t *object;
	int rc = api_json(
		client, "GET", "/.well-known/kluis.json", NULL, CLIENT_ANY_LINEAGE, &object, e);

	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	json_reader_hex(&r, "cluster_id", cluster.cluster_id, ID_BYTES);
	json_reader_hex(&r, "lineage", cluster.lineage, ID_BYTES);
	buf_append_bytes(&cluster.ca_pem, bytes_str(json_reader_string(&r, "ca")));
	json_reader_base64_exact(&r, "ca_spki_sha256", cluster.ca_spki, HASH_BYTES);
	cluster.sites = json_incref((json_t *)json_reader_array(&r, "sites"));
	restore = json_reader_of(json_reader_object(&r, "restore"));
	cluster_restore(&restore, &cluster);
	rc = suites_read(json_object_get(object, "policy"), &cluster.suites, e);
	rc = rc != 0 ? rc : json_reader_end(&r, "kluis.json", e);
	rc = rc != 0 ? rc : json_reader_end(&restore, "kluis.json: restore", e);
	json_decref(object);
	if (rc != 0 || cluster.ca_pem.len > API_PEM_BYTES_MAX) {
		api_cluster_release(&cluster);
		return rc != 0 ? rc : err_set(e, KLUIS_EPROTO, "kluis.json: 'ca' is too large");
	}
	*ret_cluster = cluster;
	return 0;
}

int api_cluster_pin_ca(struct api_cluster *cluster, struct bytes judged, struct err *e)
{
	if (!pki_shares(judged, buf_bytes(&cluster->ca_pem))) {
		return err_set(e, KLUIS_EPIN,
			"the cluster names another CA as its own than the one it was reached by");
	}
	buf_clear(&cluster->ca_pem);
	buf_append_bytes(&cluster->ca_pem, judged);
	return 0;
}

int api_service_enrol(struct client *client, const struct api_enrol *enrol, struct err *e)
{
	json_t *body = json_pack("{s:s, s:s, s:o, s:o, s:o}", "token", enrol->token, "account",
		enrol->account, "identity", json_base64(enrol->identity), "device",
		json_base64(enrol->device), "proof", json_base64(enrol->proof));

	return api_json(client, "POST", "/v1/services/enrol", body, CLIENT_ANY_LINEAGE, NULL, e);
}

int api_login_start(struct client *client, const uint8_t user_id[ID_BYTES],
	const uint8_t device_id[ID_BYTES], struct api_challenge *ret_challenge, struct err *e)
{
	struct api_challenge challenge = {.endpoint = CLIENT_ANY_ENDPOINT};
	struct client_request request = {.method = "POST",
		.target = "/v1/login/device/start",
		.endpoint = &challenge.endpoint};
	json_t *body = json_pack("{s:o, s:o}", "user_id", json_hex(bytes_of(user_id, ID_BYTES)),
		"device_id", json_hex(bytes_of(device_id, ID_BYTES)));
	json_t *object;
	struct json_reader r;
	uint8_t handshake[ID_BYTES];
	int rc = api_call_json(client, &request, body, &object, e);

	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	json_reader_hex(&r, "handshake", handshake, ID_BYTES);
	json_reader_base64_exact(&r, "challenge", challenge.challenge, PROOF_CHALLENGE_BYTES);
	rc = json_reader_end(&r, "login", e);
	json_decref(object);
	if (rc == 0) {
		hex_encode(bytes_of(handshake, ID_BYTES), challenge.handshake);
		*ret_challenge = challenge;
	}
	return rc;
}

int api_login_finish(struct client *client, const struct api_challenge *challenge,
	struct bytes signature, unsigned flags, struct api_session *ret_session, struct err *e)
{
	size_t endpoint = challenge->endpoint;
	struct client_request request = {.method = "POST",
		.target = "/v1/login/device/finish",
		.flags = CLIENT_ONCE | flags,
		.endpoint = &endpoint};
	json_t *body = json_pack("{s:s, s:o}", "handshake", challenge->handshake, "signature",
		json_base64(signature));
	json_t *object;
	struct json_reader r;
	const char *token;
	int rc = api_call_json(client, &request, body, &object, e);

	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	token = json_reader_string(&r, "token");
	if (strlen(token) > CLIENT_TOKEN_BYTES_MAX || strncmp(token, "kst_", 4) != 0 ||
		!api_cursor_valid(token)) {
		r.failed = "token";
	}
	(void)snprintf(
		ret_session->token, sizeof ret_session->token, "%s", r.failed == NULL ? token : "");
	ret_session->expires_ms = json_reader_u64(&r, "expires");
	ret_session->full = strcmp(json_reader_string_or(&r, "level", "full"), "full") == 0;
	rc = json_reader_end(&r, "login", e);
	json_decref(object);
	return rc;
}

int api_logout(struct client *client, struct err *e)
{
	return api_json(client, "POST", "/v1/logout", NULL, CLIENT_AUTH, NULL, e);
}

void api_vault_release(struct api_vault *vault)
{
	buf_release(&vault->label);
	buf_release(&vault->create);
	*vault = (struct api_vault){0};
}

int api_vault_parse(const json_t *object, struct api_vault *ret_vault, struct err *e)
{
	struct json_reader r = json_reader_of(object);
	struct api_vault vault = {0};
	const char *etag;
	int rc;

	json_reader_hex(&r, "id", vault.id, ID_BYTES);
	(void)snprintf(vault.role, sizeof vault.role, "%s", json_reader_string(&r, "role"));
	vault.created_ms = json_reader_u64(&r, "created");
	vault.revision = json_reader_u64(&r, "revision");
	vault.seq = json_reader_u64(&r, "seq");
	etag = json_reader_string(&r, "etag");
	if (strlen(etag) > API_ETAG_BYTES_MAX) {
		r.failed = "etag";
	}
	(void)snprintf(vault.etag, sizeof vault.etag, "%s", etag);
	vault.page_count = json_reader_u64(&r, "page_count");
	json_reader_hex(&r, "head_hash", vault.head_hash, HASH_BYTES);
	json_reader_base64(&r, "label", API_LABEL_BYTES_MAX, &vault.label);
	if (json_object_get(object, "create") != NULL) {
		json_reader_base64(&r, "create", API_STATEMENT_BYTES_MAX, &vault.create);
	}
	rc = json_reader_end(&r, "vault", e);
	if (rc != 0) {
		api_vault_release(&vault);
		return rc;
	}
	*ret_vault = vault;
	return 0;
}

int api_vault_create(struct client *client, struct bytes create, struct bytes head,
	struct bytes label, const char *key, struct err *e)
{
	struct client_request request = {.method = "POST",
		.target = "/v1/vaults",
		.flags = CLIENT_AUTH,
		.fields = {{"Idempotency-Key", key}}};
	json_t *body = json_pack("{s:o, s:o, s:o}", "create", json_base64(create), "head",
		json_base64(head), "label", json_base64(label));

	return api_call_json(client, &request, body, NULL, e);
}

int api_vault_get(struct client *client, const uint8_t vault_id[ID_BYTES],
	struct api_vault *ret_vault, struct err *e)
{
	char target[API_TARGET_MAX];
	json_t *object;
	int rc;

	api_target(target, "vaults", vault_id, "%s", "");
	rc = api_get(client, target, &object, e);
	if (rc == 0) {
		rc = api_vault_parse(object, ret_vault, e);
		json_decref(object);
	}
	return rc;
}

int api_vault_patch(struct client *client, const uint8_t vault_id[ID_BYTES], struct bytes label,
	const char *etag, struct err *e)
{
	char target[API_TARGET_MAX];
	struct client_request request = {.method = "PATCH",
		.target = target,
		.flags = CLIENT_AUTH,
		.fields = {{"If-Match", etag}}};

	api_target(target, "vaults", vault_id, "%s", "");
	return api_call_json(
		client, &request, json_pack("{s:o}", "label", json_base64(label)), NULL, e);
}

int api_vault_delete(
	struct client *client, const uint8_t vault_id[ID_BYTES], const char *etag, struct err *e)
{
	char target[API_TARGET_MAX];
	struct client_request request = {.method = "DELETE",
		.target = target,
		.flags = CLIENT_AUTH,
		.fields = {{"If-Match", etag}}};

	api_target(target, "vaults", vault_id, "%s", "");
	return api_call_json(client, &request, NULL, NULL, e);
}
