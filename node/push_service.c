#include "node/push_service.h"

#include <assert.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "crypto/hpke.h"
#include "crypto/jwt.h"
#include "crypto/notify.h"
#include "crypto/pem.h"
#include "node/json.h"

enum {
	PUSH_FILE_BYTES_MAX = 1 << 20, /* A CA bundle is a few hundred KiB. */
	PUSH_VAPID_S = 12 * 3600,      /* At most 24 hours (RFC 8292 section 2). */
	PUSH_APNS_S = 45 * 60,	       /* Apple wants 20 to 60 minutes. */
	PUSH_OAUTH_S = 3600,
	PUSH_OAUTH_EARLY_S = 120,
	PUSH_OAUTH_BYTES_MAX = 4096,
	PUSH_TOKENS_LIFE_MAX_S = 86400,
};

/* A token that is used again until it is nearly over. */
struct push_token {
	char *text;
	uint64_t until_ms; /* Monotonic. */
};

struct push_fcm {
	struct key *key;
	struct push_url api, tokens;
	char *email, *key_id, *project;
};

struct push_apns {
	struct key *key;
	struct push_url api;
	char *key_id, *team, *topic;
};

struct push_service {
	struct push_http http;
	struct random *random;
	char *contact, *web_hosts; /* NULL: no web push. */
	struct key *vapid;
	char vapid_text[BASE64_LEN(WEBPUSH_PUBLIC_BYTES) + 1];
	struct push_fcm *fcm; /* NULL: not spoken. */
	struct push_apns *apns;
	pthread_mutex_t lock; /* Of the two tokens. */
	struct push_token fcm_token, apns_token;
};

_Static_assert((int)PUSH_PADDED_BYTES >= (int)NOTIFY_BYTES_MAX &&
		       (int)PUSH_PADDED_BYTES <= (int)WEBPUSH_PLAINTEXT_BYTES_MAX,
	"every payload fits");

static uint64_t push_unix_s(void)
{
	return clock_wall_ms(&clock_system) / 1000;
}

/* --- settings ----------------------------------------------------------------------------------
 */

static void push_fcm_free(struct push_fcm *fcm)
{
	if (fcm != NULL) {
		key_free(fcm->key);
		free(fcm->email);
		free(fcm->key_id);
		free(fcm->project);
		free(fcm);
	}
}

static void push_apns_free(struct push_apns *apns)
{
	if (apns != NULL) {
		key_free(apns->key);
		free(apns->key_id);
		free(apns->team);
		free(apns->topic);
		free(apns);
	}
}

static void push_token_drop(struct push_token *token)
{
	if (token->text != NULL) {
		secret_clear(token->text, strlen(token->text));
	}
	free(token->text);
	*token = (struct push_token){NULL, 0};
}

void push_service_free(struct push_service *service)
{
	if (service == NULL) {
		return;
	}
	tls_ctx_unref(service->http.ctx);
	free(service->contact);
	free(service->web_hosts);
	key_free(service->vapid);
	push_fcm_free(service->fcm);
	push_apns_free(service->apns);
	push_token_drop(&service->fcm_token);
	push_token_drop(&service->apns_token);
	(void)pthread_mutex_destroy(&service->lock);
	free(service);
}

/* One key for all sites and for ever, since browsers bind a subscription to it: derived of what
 * they share (docs/format-node.md, "VAPID key"). */
static int push_vapid_make(
	struct push_service *service, const struct secrets *secrets, struct err *e)
{
	const struct bytes info[] = {bytes_str("kluis/v1/vapid"),
		bytes_of(secrets->cluster_id, sizeof secrets->cluster_id)};
	_cleanup_(key_freep) struct key *derived = NULL;
	_cleanup_(secret_release) struct secret ikm = SECRET_INIT, scalar = SECRET_INIT;
	int rc;

	secret_init(&ikm, HASH_BYTES);
	hkdf(bytes_of(NULL, 0), secret_bytes(&secrets->enum_key), info, ARRAY_SIZE(info), ikm.data,
		ikm.len);
	rc = hpke_derive_key(KEY_KEM_P256, secret_bytes(&ikm), &derived, e);
	if (rc != 0) {
		return rc;
	}
	key_encode(derived, &scalar);
	rc = key_decode(KEY_ECDSA_P256, secret_bytes(&scalar), &service->vapid, e);
	if (rc == 0) {
		base64_encode(key_pub_bytes(key_public(service->vapid)), service->vapid_text);
	}
	return rc;
}

static const char *push_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text == NULL ? "" : text;
}

static int push_fcm_read(const json_t *account, struct push_fcm *fcm, struct err *e)
{
	const char *project = push_text(account, "project_id");
	int rc = pem_private_key(
		bytes_str(push_text(account, "private_key")), KEY_RSA_PSS, &fcm->key, e);

	fcm->email = x_strdup(push_text(account, "client_email"));
	fcm->key_id = x_strdup(push_text(account, "private_key_id"));
	fcm->project = x_strdup(project);
	rc = rc != 0 ? rc : push_url_parse(push_text(account, "token_uri"), &fcm->tokens, e);
	/* They go into a path and into JSON as they are. */
	if (rc == 0 &&
		(fcm->email[0] == 0 || strpbrk(fcm->email, "\"\\") != NULL || project[0] == 0 ||
			strspn(project, "abcdefghijklmnopqrstuvwxyz0123456789-") !=
				strlen(project))) {
		rc = err_set(e, KLUIS_EINVAL, "'client_email' or 'project_id' is missing");
	}
	return rc;
}

static int push_fcm_new(const struct push_config *config, struct push_fcm **ret_fcm, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf text = BUF_INIT;
	struct push_fcm *fcm = x_calloc(1, sizeof *fcm);
	json_t *account = NULL;
	int rc = file_read(config->fcm_account_path, PUSH_FILE_BYTES_MAX, &text, e);

	rc = rc != 0 ? rc : push_url_parse(config->fcm_url, &fcm->api, e);
	if (rc == 0) {
		account =
			json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
		rc = json_is_object(account) ? push_fcm_read(account, fcm, e)
					     : err_set(e, KLUIS_EINVAL, "not a JSON object");
	}
	json_decref(account);
	if (rc != 0) {
		push_fcm_free(fcm);
		return err_wrap(e, rc, "[push] fcm_account");
	}
	*ret_fcm = fcm;
	return 0;
}

static bool push_word(const char *text, const char *more)
{
	size_t len = text == NULL ? 0 : strlen(text);

	for (size_t i = 0; i < len; i++) {
		bool alnum = (text[i] >= 'a' && text[i] <= 'z') ||
			     (text[i] >= 'A' && text[i] <= 'Z') ||
			     (text[i] >= '0' && text[i] <= '9');

		if (!alnum && strchr(more, text[i]) == NULL) {
			return false;
		}
	}
	return len > 0;
}

static int push_apns_new(
	const struct push_config *config, struct push_apns **ret_apns, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf pem = BUF_INIT;
	struct push_apns *apns;
	int rc = file_read(config->apns_key_path, PUSH_FILE_BYTES_MAX, &pem, e);

	if (rc == 0 && (!push_word(config->apns_key_id, "") || !push_word(config->apns_team, "") ||
			       !push_word(config->apns_topic, ".-"))) {
		rc = err_set(
			e, KLUIS_EINVAL, "'apns_key_id', 'apns_team' and 'apns_topic' go with it");
	}
	if (rc != 0) {
		return err_wrap(e, rc, "[push] apns_key");
	}
	apns = x_calloc(1, sizeof *apns);
	apns->key_id = x_strdup(config->apns_key_id);
	apns->team = x_strdup(config->apns_team);
	apns->topic = x_strdup(config->apns_topic);
	rc = pem_private_key(buf_bytes(&pem), KEY_ECDSA_P256, &apns->key, e);
	rc = rc != 0 ? rc : push_url_parse(config->apns_url, &apns->api, e);
	if (rc != 0) {
		push_apns_free(apns);
		return err_wrap(e, rc, "[push] apns_key");
	}
	*ret_apns = apns;
	return 0;
}

static int push_web_new(
	const struct push_config *config, struct push_service *service, struct err *e)
{
	bool ok = strncmp(config->contact, "mailto:", 7) == 0 ||
		  strncmp(config->contact, "https:", 6) == 0;

	if (!ok || !text_printable(bytes_str(config->contact)) ||
		strpbrk(config->contact, "\"\\") != NULL) {
		return err_set(e, KLUIS_EINVAL, "[push] contact: must be mailto: or https:");
	}
	service->contact = x_strdup(config->contact);
	service->web_hosts = x_strdup(config->web_hosts == NULL ? "" : config->web_hosts);
	return 0;
}

static int push_tls_new(
	const struct push_config *config, struct push_service *service, struct err *e)
{
	static const char *const alpn[] = {TLS_ALPN_H2, TLS_ALPN_HTTP1};
	_cleanup_(buf_release) struct buf pem = BUF_INIT;
	int rc = file_read(config->ca_path, PUSH_FILE_BYTES_MAX, &pem, e);

	/* A context of no CAs would verify nobody. */
	if (rc == 0 && pem.len == 0) {
		rc = err_set(e, KLUIS_EINVAL, "the file is empty");
	}
	rc = rc != 0 ? rc
		     : tls_ctx_new_client(
			       buf_bytes(&pem), alpn, ARRAY_SIZE(alpn), &service->http.ctx, e);
	return rc == 0 ? 0 : err_wrap(e, rc, "[push] ca");
}

int push_service_new(
	const struct push_config *config, struct push_service **ret_service, struct err *e)
{
	struct push_service *service = x_calloc(1, sizeof *service);
	bool any = config->contact != NULL || config->fcm_account_path != NULL ||
		   config->apns_key_path != NULL;
	int rc = push_vapid_make(service, config->secrets, e);

	(void)pthread_mutex_init(&service->lock, NULL);
	service->random = config->random == NULL ? &random_system : config->random;
	service->http.private_addresses = config->private_addresses;
	if (rc == 0 && any) {
		rc = push_tls_new(config, service, e);
	}
	if (rc == 0 && config->contact != NULL) {
		rc = push_web_new(config, service, e);
	}
	if (rc == 0 && config->fcm_account_path != NULL) {
		rc = push_fcm_new(config, &service->fcm, e);
	}
	if (rc == 0 && config->apns_key_path != NULL) {
		rc = push_apns_new(config, &service->apns, e);
	}
	if (rc != 0) {
		push_service_free(service);
		return rc;
	}
	*ret_service = service;
	return 0;
}

bool push_service_speaks(const struct push_service *service, enum push_kind kind)
{
	return (kind == PUSH_WEB && service->contact != NULL) ||
	       (kind == PUSH_FCM && service->fcm != NULL) ||
	       (kind == PUSH_APNS && service->apns != NULL);
}

struct bytes push_service_vapid(const struct push_service *service)
{
	return key_pub_bytes(key_public(service->vapid));
}

int push_service_takes(
	const struct push_service *service, const struct push_target *target, struct err *e)
{
	struct push_url url;
	int rc;

	if (!push_service_speaks(service, (enum push_kind)target->kind)) {
		return err_set(e, KLUIS_ESUITE, "this cluster does not speak to that push service");
	}
	if (target->kind != PUSH_WEB) {
		return 0;
	}
	rc = push_url_parse(target->text, &url, e);
	if (rc != 0) {
		return rc;
	}
	if (!push_host_allowed(service->web_hosts, url.address.host) ||
		(url.address.port != 443 && !service->http.private_addresses)) {
		return err_set(e, KLUIS_EFORBIDDEN,
			"'%.64s' is no push service that this cluster sends to", url.origin);
	}
	return 0;
}

/* --- web push ----------------------------------------------------------------------------------
 */

static int push_web_send(struct push_service *service, const struct push_target *target,
	struct bytes payload, uint64_t deadline_ms, struct push_answer *ret_answer, struct err *e)
{
	_cleanup_(key_pub_freep) struct key_pub *agent = NULL;
	_cleanup_(buf_release) struct buf claims = BUF_INIT, body = BUF_INIT,
					  authorization = BUF_INIT;
	char ttl[16];
	struct push_url url;
	int rc = push_url_parse(target->text, &url, e);

	rc = rc != 0 ? rc
		     : key_pub_decode(KEY_KEM_P256,
			       bytes_of(target->public_key, sizeof target->public_key), &agent, e);
	if (rc != 0) {
		return rc;
	}
	buf_printf(&claims, "{\"aud\":\"%s\",\"exp\":%llu,\"sub\":\"%s\"}", url.origin,
		(unsigned long long)(push_unix_s() + PUSH_VAPID_S), service->contact);
	buf_printf(&authorization, "vapid t=");
	rc = jwt_make(service->vapid, NULL, buf_bytes(&claims), &authorization, e);
	buf_printf(&authorization, ", k=%s", service->vapid_text);
	rc = rc != 0 ? rc
		     : webpush_seal(agent, target->auth, payload, PUSH_PADDED_BYTES,
			       service->random, &body, e);
	if (rc != 0) {
		return rc;
	}
	(void)snprintf(ttl, sizeof ttl, "%d", PUSH_TTL_S);
	return push_http_post(&service->http,
		&(struct push_request){.address = &url.address,
			.path = url.path,
			.fields = {{"ttl", ttl}, {"urgency", "high"},
				{"content-type", "application/octet-stream"},
				{"content-encoding", "aes128gcm"},
				{"authorization", buf_str(&authorization)}},
			.body = buf_bytes(&body)},
		deadline_ms, ret_answer, e);
}

/* --- tokens ------------------------------------------------------------------------------------
 */

/* A copy of a token that still lives, or NULL. */
static char *push_token_copy(struct push_service *service, struct push_token *token)
{
	char *copy = NULL;

	(void)pthread_mutex_lock(&service->lock);
	if (token->text != NULL && clock_monotonic_ms(&clock_system) < token->until_ms) {
		copy = x_strdup(token->text);
	}
	(void)pthread_mutex_unlock(&service->lock);
	return copy;
}

static void push_token_keep(
	struct push_service *service, struct push_token *token, const char *text, uint64_t life_s)
{
	(void)pthread_mutex_lock(&service->lock);
	push_token_drop(token);
	token->text = x_strdup(text);
	token->until_ms = clock_monotonic_ms(&clock_system) + life_s * 1000;
	(void)pthread_mutex_unlock(&service->lock);
}

/* It was refused: the next attempt makes another one. */
static void push_token_refused(struct push_service *service, struct push_token *token)
{
	(void)pthread_mutex_lock(&service->lock);
	push_token_drop(token);
	(void)pthread_mutex_unlock(&service->lock);
}

/* --- Firebase ----------------------------------------------------------------------------------
 */

/* The answer of a token end point (RFC 6749 section 5.1). */
static int push_oauth_take(struct push_service *service, const struct push_answer *answer,
	char **ret_token, struct err *e)
{
	json_t *body = json_loadb(
		(const char *)answer->body.data, answer->body.len, JSON_REJECT_DUPLICATES, NULL);
	const char *token = push_text(body, "access_token");
	json_int_t life = json_integer_value(json_object_get(body, "expires_in"));
	size_t len = strlen(token);
	int rc = 0;

	if (answer->status != 200 || len == 0 || len > PUSH_OAUTH_BYTES_MAX ||
		!text_printable(bytes_str(token))) {
		rc = err_set(e, KLUIS_EPROTO, "no access token: status %d", answer->status);
	} else {
		life = life > PUSH_TOKENS_LIFE_MAX_S ? PUSH_TOKENS_LIFE_MAX_S : life;
		life = life > PUSH_OAUTH_EARLY_S ? life - PUSH_OAUTH_EARLY_S : 0;
		push_token_keep(service, &service->fcm_token, token, (uint64_t)life);
		*ret_token = x_strdup(token);
	}
	json_decref(body);
	return rc;
}

/* RFC 7523: an assertion of the service account for an access token. */
static int push_oauth(
	struct push_service *service, uint64_t deadline_ms, char **ret_token, struct err *e)
{
	const struct push_fcm *fcm = service->fcm;
	_cleanup_(buf_release) struct buf claims = BUF_INIT;
	_cleanup_(secret_buf_release) struct buf body = BUF_INIT;
	_cleanup_(push_answer_release) struct push_answer answer = {.status = 0};
	uint64_t now = push_unix_s();
	int rc;

	buf_printf(&claims,
		"{\"iss\":\"%s\",\"scope\":\"https://www.googleapis.com/auth/firebase.messaging\","
		"\"aud\":\"%s%s\",\"iat\":%llu,\"exp\":%llu}",
		fcm->email, fcm->tokens.origin, fcm->tokens.path, (unsigned long long)now,
		(unsigned long long)(now + PUSH_OAUTH_S));
	buf_printf(&body,
		"grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type%%3Ajwt-bearer&assertion=");
	rc = jwt_make(
		fcm->key, fcm->key_id[0] == 0 ? NULL : fcm->key_id, buf_bytes(&claims), &body, e);
	rc = rc != 0 ? rc
		     : push_http_post(&service->http,
			       &(struct push_request){.address = &fcm->tokens.address,
				       .path = fcm->tokens.path,
				       .fields = {{"content-type",
					       "application/x-www-form-urlencoded"}},
				       .body = buf_bytes(&body)},
			       deadline_ms, &answer, e);
	return rc == 0 ? push_oauth_take(service, &answer, ret_token, e) : rc;
}

static void push_free_token(char **token)
{
	if (*token != NULL) {
		secret_clear(*token, strlen(*token));
	}
	free(*token);
}

static int push_bearer_post(struct push_service *service, const struct push_url *api,
	struct push_request *request, const char *token, uint64_t deadline_ms,
	struct push_answer *ret_answer, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf authorization = BUF_INIT;

	buf_printf(&authorization, "bearer %s", token);
	request->address = &api->address;
	request->fields[0] = (struct push_field){"authorization", buf_str(&authorization)};
	request->fields[1] = (struct push_field){"content-type", "application/json"};
	return push_http_post(&service->http, request, deadline_ms, ret_answer, e);
}

static int push_fcm_send(struct push_service *service, const struct push_target *target,
	struct bytes payload, uint64_t deadline_ms, struct push_answer *ret_answer, struct err *e)
{
	_cleanup_(push_free_token) char *token = push_token_copy(service, &service->fcm_token);
	_cleanup_(buf_release) struct buf path = BUF_INIT, body = BUF_INIT;
	struct push_request request = {.address = NULL};
	int rc = token != NULL ? 0 : push_oauth(service, deadline_ms, &token, e);

	if (rc != 0) {
		return rc;
	}
	buf_printf(&path, "/v1/projects/%s/messages:send", service->fcm->project);
	buf_printf(&body, "{\"message\":{\"token\":\"%s\",\"data\":{\"kluis\":\"", target->text);
	base64_append(&body, payload);
	buf_printf(&body, "\"},\"android\":{\"priority\":\"HIGH\",\"ttl\":\"%ds\"}}}", PUSH_TTL_S);
	request.path = buf_str(&path);
	request.body = buf_bytes(&body);
	return push_bearer_post(
		service, &service->fcm->api, &request, token, deadline_ms, ret_answer, e);
}

/* --- APNs --------------------------------------------------------------------------------------
 */

static int push_apns_token(struct push_service *service, char **ret_token, struct err *e)
{
	const struct push_apns *apns = service->apns;
	_cleanup_(buf_release) struct buf claims = BUF_INIT, token = BUF_INIT;
	int rc;

	buf_printf(&claims, "{\"iss\":\"%s\",\"iat\":%llu}", apns->team,
		(unsigned long long)push_unix_s());
	rc = jwt_make(apns->key, apns->key_id, buf_bytes(&claims), &token, e);
	if (rc == 0) {
		push_token_keep(service, &service->apns_token, buf_str(&token), PUSH_APNS_S);
		*ret_token = x_strdup(buf_str(&token));
	}
	return rc;
}

static int push_apns_send(struct push_service *service, const struct push_target *target,
	struct bytes payload, uint64_t deadline_ms, struct push_answer *ret_answer, struct err *e)
{
	_cleanup_(push_free_token) char *token = push_token_copy(service, &service->apns_token);
	_cleanup_(buf_release) struct buf path = BUF_INIT, body = BUF_INIT;
	char expires[24];
	struct push_request request = {.fields = {[2] = {"apns-topic", service->apns->topic},
					       [3] = {"apns-push-type", "alert"},
					       [4] = {"apns-priority", "10"},
					       [5] = {"apns-expiration", expires}}};
	int rc = token != NULL ? 0 : push_apns_token(service, &token, e);

	if (rc != 0) {
		return rc;
	}
	(void)snprintf(
		expires, sizeof expires, "%llu", (unsigned long long)(push_unix_s() + PUSH_TTL_S));
	buf_printf(&path, "/3/device/%s", target->text);
	/* The app's extension opens it and puts the text in the place of this one. */
	buf_printf(&body,
		"{\"aps\":{\"alert\":{\"loc-key\":\"KLUIS_NOTIFY\"},\"mutable-content\":1},"
		"\"kluis\":\"");
	base64_append(&body, payload);
	buf_printf(&body, "\"}");
	request.path = buf_str(&path);
	request.body = buf_bytes(&body);
	return push_bearer_post(
		service, &service->apns->api, &request, token, deadline_ms, ret_answer, e);
}

/* --- one attempt -------------------------------------------------------------------------------
 */

static bool push_says(const struct push_answer *answer, const char *word)
{
	return answer->body.len > 0 &&
	       memmem(answer->body.data, answer->body.len, word, strlen(word)) != NULL;
}

/* Apps' services have words for it: a 404 of theirs can be a setting of ours that is wrong, and
 * must not cost everybody's subscriptions. */
static bool push_is_gone(const struct push_target *target, const struct push_answer *answer)
{
	int status = answer->status;

	if (target->kind == PUSH_FCM) {
		return status == 404 && push_says(answer, "UNREGISTERED");
	}
	if (target->kind == PUSH_APNS) {
		return status == 410 || (status == 400 && push_says(answer, "BadDeviceToken"));
	}
	return status == 404 || status == 410; /* RFC 8030 section 7.3. */
}

static enum push_outcome push_judge(struct push_service *service, const struct push_target *target,
	const struct push_answer *answer, struct err *e)
{
	int status = answer->status;

	if (status >= 200 && status < 300) {
		return PUSH_SENT;
	}
	(void)err_set(e, KLUIS_EPROTO, "the push service answered %d", status);
	if (push_is_gone(target, answer)) {
		return PUSH_GONE;
	}
	if ((status == 401 || status == 403) && target->kind != PUSH_WEB) {
		push_token_refused(service,
			target->kind == PUSH_FCM ? &service->fcm_token : &service->apns_token);
		return PUSH_RETRY;
	}
	return status == 408 || status == 425 || status == 429 || status >= 500 ? PUSH_RETRY
										: PUSH_LOST;
}

enum push_outcome push_service_send(struct push_service *service, const struct push_target *target,
	struct bytes payload, uint64_t *ret_after_s, struct err *e)
{
	_cleanup_(push_answer_release) struct push_answer answer = {.status = 0};
	uint64_t deadline_ms = clock_monotonic_ms(&clock_system) + PUSH_ATTEMPT_MS;
	int rc = push_service_takes(service, target, e);

	assert(payload.len <= NOTIFY_BYTES_MAX);
	*ret_after_s = 0;
	if (rc != 0) {
		return PUSH_LOST; /* The settings are others than when it was subscribed. */
	}
	if (target->kind == PUSH_WEB) {
		rc = push_web_send(service, target, payload, deadline_ms, &answer, e);
	} else if (target->kind == PUSH_FCM) {
		rc = push_fcm_send(service, target, payload, deadline_ms, &answer, e);
	} else {
		rc = push_apns_send(service, target, payload, deadline_ms, &answer, e);
	}
	if (rc != 0) {
		return rc == KLUIS_EFORBIDDEN || rc == KLUIS_EINVAL ? PUSH_LOST : PUSH_RETRY;
	}
	*ret_after_s = answer.retry_after_s;
	return push_judge(service, target, &answer, e);
}
