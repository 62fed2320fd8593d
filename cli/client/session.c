#include "cli/client/session.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/wire.h"

enum { SESSION_SPARE_MS = 60 * 1000 }; /* A token about to expire is not begun with. */

static int session_store(
	const struct profile *profile, const struct api_session *session, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf payload = BUF_INIT;

	buf_reserve(&payload, 1024);
	buf_append(&payload, profile->lineage, ID_BYTES);
	buf_put_u64(&payload, session->expires_ms);
	buf_put_lp16(&payload, bytes_str(session->token));
	return profile_write(profile, "session", PROFILE_SESSION, buf_bytes(&payload), e);
}

/* A stored token that is still good goes into the client; anything else means signing in anew. */
static void session_load(const struct profile *profile, struct client *client)
{
	_cleanup_(secret_buf_release) struct buf payload = BUF_INIT;
	char token[CLIENT_TOKEN_BYTES_MAX + 1];
	struct err ignored = {0};
	struct bytes lineage, text;
	uint64_t expires_ms;
	struct wire w;

	buf_reserve(&payload, 1024);
	if (profile_read(profile, "session", PROFILE_SESSION, PROFILE_FILE_BYTES_MAX, &payload,
		    &ignored) != 0) {
		return;
	}
	w = wire_of(buf_bytes(&payload));
	lineage = wire_bytes(&w, ID_BYTES);
	expires_ms = wire_u64(&w);
	text = wire_lp16(&w, CLIENT_TOKEN_BYTES_MAX);
	if (!wire_end(&w) || memcmp(lineage.data, profile->lineage, ID_BYTES) != 0 ||
		expires_ms < clock_wall_ms(&clock_system) + SESSION_SPARE_MS) {
		return;
	}
	memcpy(token, text.data, text.len);
	token[text.len] = 0;
	client_set_token(client, token);
	secret_clear(token, sizeof token);
}

static int session_sign(const struct profile *profile, const struct api_challenge *challenge,
	struct buf *ret_signature, struct err *e)
{
	struct proof_login proof = {0};

	memcpy(proof.cluster_id, profile->cluster_id, ID_BYTES);
	memcpy(proof.challenge, challenge->challenge, PROOF_CHALLENGE_BYTES);
	memcpy(proof.user_id, profile->user_id, ID_BYTES);
	memcpy(proof.device_id, profile->device_id, ID_BYTES);
	return proof_login_sign(&proof, profile->device, ret_signature, e);
}

static int session_login(void *arg, struct client *client, struct err *e)
{
	struct profile *profile = arg;
	_cleanup_(buf_release) struct buf signature = BUF_INIT;
	struct api_challenge challenge;
	struct api_session session = {0};
	int rc;

	rc = api_login_start(client, profile->user_id, profile->device_id, &challenge, e);
	rc = rc != 0 ? rc : session_sign(profile, &challenge, &signature, e);
	rc = rc != 0 ? rc
		     : api_login_finish(client, &challenge, buf_bytes(&signature), 0, &session, e);
	if (rc == 0) {
		client_set_token(client, session.token);
		rc = session_store(profile, &session, e);
	}
	secret_clear(&session, sizeof session);
	return rc == 0 ? 0 : err_wrap(e, rc, "sign in as '%s'", profile->account);
}

size_t session_endpoints(const struct profile *profile, const char *first,
	const char *ret_endpoints[CLIENT_ENDPOINTS_MAX])
{
	size_t n = 0;

	if (first != NULL) {
		ret_endpoints[n++] = first;
	}
	for (size_t i = 0; i < profile->n_endpoints; i++) {
		if ((first == NULL || strcmp(first, profile->endpoints[i]) != 0) &&
			n < CLIENT_ENDPOINTS_MAX) {
			ret_endpoints[n++] = profile->endpoints[i];
		}
	}
	return n;
}

int session_client(struct profile *profile, const char *first, uint64_t give_up_ms,
	struct client **ret_client, struct err *e)
{
	const char *endpoints[CLIENT_ENDPOINTS_MAX];
	struct client_config config = {.endpoints = endpoints,
		.ca_pem = buf_bytes(&profile->ca_pem),
		.give_up_ms = give_up_ms};
	struct client *client;
	int rc;

	if (profile->ca_pem.len == 0) { /* It would switch all checks off. */
		return err_set(e, KLUIS_ECORRUPT, "the profile pins no CA");
	}
	config.n_endpoints = session_endpoints(profile, first, endpoints);
	rc = client_new(&config, &client, e);
	if (rc != 0) {
		return err_wrap(e, rc, "profile '%s'", profile->dir);
	}
	client_set_lineage(client, profile->lineage);
	if (profile->person == NULL) {
		client_set_login(client, session_login, profile);
		session_load(profile, client);
	}
	*ret_client = client;
	return 0;
}

static int enrol_proof(
	const struct profile *profile, const char *token, struct buf *ret_proof, struct err *e)
{
	struct proof_enrol proof = {
		.token = bytes_str(token), .account = bytes_str(profile->account)};

	memcpy(proof.cluster_id, profile->cluster_id, ID_BYTES);
	memcpy(proof.genesis_hash, profile->identity.genesis_hash, HASH_BYTES);
	memcpy(proof.device_hash, profile->identity.head_hash, HASH_BYTES);
	return proof_enrol_sign(&proof, profile->device, ret_proof, e);
}

int session_enrol(struct profile *profile, struct client *client, const char *token, struct err *e)
{
	_cleanup_(buf_release) struct buf proof = BUF_INIT;
	struct api_enrol enrol = {.token = token,
		.account = profile->account,
		.identity = buf_bytes(&profile->genesis),
		.device = buf_bytes(&profile->device_statement)};
	int rc = enrol_proof(profile, token, &proof, e);

	rc = rc != 0 ? rc : profile_save(profile, e);
	if (rc != 0) {
		return rc;
	}
	enrol.proof = buf_bytes(&proof);
	rc = api_service_enrol(client, &enrol, e);
	return rc != 0 ? rc : profile_set_enrolled(profile, e);
}

int session_end(struct profile *profile, struct client *client, struct err *e)
{
	int rc = api_logout(client, e);

	client_set_token(client, NULL);
	return rc != 0 ? rc : profile_remove(profile, "session", e);
}
