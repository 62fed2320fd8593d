#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "crypto/proof.h"
#include "tests/lib/api/account_client.h"

static void must(int rc, const struct err *e)
{
	if (rc != 0) {
		fail_msg("%s: %s", err_name(rc), e->text);
	}
}

static void put_hex(struct buf *to, const char *name, const uint8_t id[16])
{
	buf_printf(to, "\"%s\":\"", name);
	hex_append(to, bytes_of(id, 16));
	buf_printf(to, "\"");
}

static void put_binary(struct buf *to, const char *name, struct bytes bytes)
{
	buf_printf(to, "\"%s\":\"", name);
	base64_append(to, bytes);
	buf_printf(to, "\"");
}

/* New slots of password and code, and the object that they are in. */
static void seal_keyring(struct account_client *c)
{
	struct keyring_slot slot = {.type = KEYRING_SLOT_PASSWORD, .sym = SYM_AES_256};
	struct err e = {0};

	random_fill(&random_system, c->slot_id, 16);
	random_fill(&random_system, c->share, sizeof c->share);
	random_fill(&random_system, c->kek, sizeof c->kek);
	memcpy(slot.slot_id, c->slot_id, 16);
	memcpy(slot.kdf, c->kdf, sizeof slot.kdf);
	keyring_put_slot(&c->keyring, &slot, bytes_of(c->kek, sizeof c->kek), &random_system);
	secret_random(&c->code, RECOVERY_SECRET_BYTES, &random_system);
	recovery_release(&c->recovery);
	recovery_derive(secret_bytes(&c->code), c->person.user_id, &c->recovery);
	slot = (struct keyring_slot){.type = KEYRING_SLOT_RECOVERY, .sym = SYM_AES_256};
	random_fill(&random_system, slot.slot_id, 16);
	keyring_put_slot(&c->keyring, &slot, secret_bytes(&c->recovery.kek), &random_system);
	buf_clear(&c->keyring_object);
	must(keyring_seal(&c->keyring, 1000, &random_system, &c->keyring_object, &e), &e);
	keyring_sealed(&c->keyring, buf_bytes(&c->keyring_object));
}

static void new_password(struct account_client *c)
{
	struct kdf kdf = {.login_count = KDF_LOGIN_MIN, .keyring_count = 2 * KDF_LOGIN_MIN};

	random_fill(&random_system, c->password, sizeof c->password);
	random_fill(&random_system, c->salt, sizeof c->salt);
	random_fill(&random_system, kdf.salt, sizeof kdf.salt);
	kdf_encode(&kdf, c->kdf);
}

void account_client_init(struct account_client *c, struct api_node *node, const char *name)
{
	account_client_init_as(c, node, name, NULL);
}

void account_client_init_as(
	struct account_client *c, struct api_node *node, const char *name, const uint8_t *user_id)
{
	struct err e = {0};

	memset(c, 0, sizeof *c);
	person_init_as(&c->person, name, user_id);
	memcpy(c->cluster_id, node->config.cluster_id, 16);
	c->group = SRP_GROUP_3072;
	new_password(c);
	must(keyring_make(c->person.user_id, SYM_AES_256, c->person.signing, c->person.transfer,
		     bytes_of(NULL, 0), &random_system, &c->keyring, &e),
		&e);
	seal_keyring(c);
}

void account_client_use_account_key(struct account_client *c)
{
	struct err e = {0};

	store_u16(c->kdf + 2, KDF_ACCOUNT_KEY);
	keyring_release(&c->keyring);
	must(keyring_make(c->person.user_id, SYM_AES_256, c->person.signing, c->person.transfer,
		     bytes_of(NULL, 0), &random_system, &c->keyring, &e),
		&e);
	seal_keyring(c);
}

void account_client_release(struct account_client *c)
{
	keyring_release(&c->keyring);
	recovery_release(&c->recovery);
	secret_release(&c->code);
	buf_release(&c->keyring_object);
	person_release(&c->person);
}

static struct srp_terms terms_of(const struct account_client *c)
{
	struct srp_terms terms = {.group = c->group, .user = bytes_str(c->person.name)};

	memcpy(terms.salt, c->salt, sizeof terms.salt);
	memcpy(terms.kdf, c->kdf, sizeof terms.kdf);
	memcpy(terms.cluster_id, c->cluster_id, sizeof terms.cluster_id);
	return terms;
}

void account_client_credentials(const struct account_client *c, struct buf *to)
{
	_cleanup_(secret_release) struct secret verifier = SECRET_INIT;
	struct srp_terms terms = terms_of(c);

	srp_verifier(&terms, bytes_of(c->password, sizeof c->password), &verifier);
	buf_printf(to, "\"srp\":{\"group\":%u,", c->group);
	put_binary(to, "salt", bytes_of(c->salt, sizeof c->salt));
	buf_printf(to, ",");
	put_binary(to, "verifier", secret_bytes(&verifier));
	buf_printf(to, "},");
	put_binary(to, "kdf", bytes_of(c->kdf, sizeof c->kdf));
	buf_printf(to, ",\"recovery\":{");
	put_binary(to, "public", key_pub_bytes(key_public(c->recovery.auth)));
	buf_printf(to, "},");
	put_binary(to, "keyring", buf_bytes(&c->keyring_object));
}

void account_client_registration(struct account_client *c, const char *invite, struct buf *to)
{
	buf_printf(to, "{\"user\":\"%s\",", c->person.name);
	put_hex(to, "user_id", c->person.user_id);
	buf_printf(to, ",");
	account_client_credentials(c, to);
	buf_printf(to, ",");
	put_binary(to, "unlock_share", bytes_of(c->share, sizeof c->share));
	buf_printf(to, ",");
	put_binary(to, "identity", buf_bytes(&c->person.genesis));
	buf_printf(to, ",");
	put_binary(to, "device", buf_bytes(&c->person.device_statement));
	if (invite != NULL) {
		buf_printf(to, ",\"invite\":\"%s\"", invite);
	}
	buf_printf(to, "}");
}

void account_client_change(struct account_client *c, struct buf *to)
{
	new_password(c);
	keyring_rotate(&c->keyring, &random_system);
	seal_keyring(c);
	buf_printf(to, "{");
	account_client_credentials(c, to);
	buf_printf(to, ",\"unlock_shares\":[{");
	put_hex(to, "slot_id", c->slot_id);
	buf_printf(to, ",");
	put_binary(to, "unlock_share", bytes_of(c->share, sizeof c->share));
	buf_printf(to, "}]}");
}

void account_client_register(struct account_client *c, struct http_client *http)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct answer answer;

	account_client_registration(c, NULL, &body);
	answer = http_client_json(http, "POST", "/v1/register", "", buf_str(&body));
	if (answer.status != 202) {
		fail_msg("%d %s", answer.status, buf_str(&answer.body));
	}
	answer_release(&answer);
}

struct answer account_client_start(
	struct account_client *c, struct http_client *http, struct srp_client **ret_srp)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct err e = {0};

	must(srp_client_new(c->group, &random_system, ret_srp, &e), &e);
	buf_printf(&body, "{\"user\":\"%s\",\"group\":%u,", c->person.name, c->group);
	put_binary(&body, "A", srp_client_public(*ret_srp));
	buf_printf(&body, "}");
	return http_client_json(http, "POST", "/v1/login/start", "", buf_str(&body));
}

void account_client_m1(struct account_client *c, struct srp_client *srp, struct answer *start,
	uint8_t ret_m1[SRP_PROOF_BYTES])
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct srp_terms terms = terms_of(c);
	struct err e = {0};

	must(base64_decode_exact(
		     bytes_str(answer_text(start, "salt")), terms.salt, sizeof terms.salt),
		&e);
	must(base64_decode_exact(bytes_str(answer_text(start, "kdf")), terms.kdf, sizeof terms.kdf),
		&e);
	must(base64_decode(bytes_str(answer_text(start, "B")), SRP_PUBLIC_BYTES_MAX, &b), &e);
	must(srp_client_answer(srp, &terms, bytes_of(c->password, sizeof c->password),
		     buf_bytes(&b), ret_m1, &e),
		&e);
}

void account_client_finish_body(struct account_client *c, struct answer *start,
	const uint8_t m1[SRP_PROOF_BYTES], const struct key *device, struct buf *to)
{
	_cleanup_(buf_release) struct buf signature = BUF_INIT;
	struct proof_device proof;
	struct err e = {0};

	buf_printf(to, "{\"handshake\":\"%s\",", answer_text(start, "handshake"));
	put_binary(to, "M1", bytes_of(m1, SRP_PROOF_BYTES));
	if (device != NULL) {
		memcpy(proof.cluster_id, c->cluster_id, 16);
		memcpy(proof.m1, m1, sizeof proof.m1);
		memcpy(proof.user_id, c->person.user_id, 16);
		memcpy(proof.device_id, c->person.device_id, 16);
		must(proof_device_sign(&proof, device, &signature, &e), &e);
		buf_printf(to, ",");
		put_hex(to, "device_id", c->person.device_id);
		buf_printf(to, ",");
		put_binary(to, "device_sig", buf_bytes(&signature));
	}
	buf_printf(to, "}");
}

/* What a client holds against the node before it uses the token. */
static void check_session(struct srp_client *srp, struct answer *finish)
{
	_cleanup_(secret_release) struct secret session = SECRET_INIT;
	uint8_t m2[SRP_PROOF_BYTES], mac[SRP_TOKEN_MAC_BYTES];
	struct err e = {0};

	must(base64_decode_exact(bytes_str(answer_text(finish, "M2")), m2, sizeof m2), &e);
	must(base64_decode_exact(bytes_str(answer_text(finish, "token_mac")), mac, sizeof mac), &e);
	must(srp_client_finish(srp, bytes_of(m2, sizeof m2), &session, &e), &e);
	must(srp_token_check(secret_bytes(&session), bytes_str(answer_text(finish, "token")),
		     bytes_of(mac, sizeof mac), &e),
		&e);
}

struct answer account_client_login(
	struct account_client *c, struct http_client *http, bool with_device)
{
	_cleanup_(srp_client_freep) struct srp_client *srp = NULL;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct answer start = account_client_start(c, http, &srp), finish;
	uint8_t m1[SRP_PROOF_BYTES];

	assert_int_equal(start.status, 200);
	account_client_m1(c, srp, &start, m1);
	account_client_finish_body(c, &start, m1, with_device ? c->person.device : NULL, &body);
	finish = http_client_json(http, "POST", "/v1/login/finish", "", buf_str(&body));
	if (finish.status == 200) {
		check_session(srp, &finish);
		(void)snprintf(
			http->token, sizeof http->token, "%s", answer_text(&finish, "token"));
	}
	answer_release(&start);
	return finish;
}

struct answer account_client_recover(struct account_client *c, struct http_client *http)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, signature = BUF_INIT;
	struct recovery_proof proof;
	struct answer start, finish;
	struct err e = {0};

	buf_printf(&body, "{\"user\":\"%s\"}", c->person.name);
	start = http_client_json(http, "POST", "/v1/recovery/start", "", buf_str(&body));
	assert_int_equal(start.status, 200);
	memcpy(proof.cluster_id, c->cluster_id, 16);
	must(hex_decode(answer_text(&start, "user_id"), proof.user_id, 16), &e);
	must(base64_decode_exact(bytes_str(answer_text(&start, "challenge")), proof.challenge,
		     sizeof proof.challenge),
		&e);
	must(recovery_sign(&proof, c->recovery.auth, &signature, &e), &e);
	buf_clear(&body);
	buf_printf(&body, "{\"recovery\":\"%s\",", answer_text(&start, "recovery"));
	put_binary(&body, "signature", buf_bytes(&signature));
	buf_printf(&body, "}");
	finish = http_client_json(http, "POST", "/v1/recovery/finish", "", buf_str(&body));
	if (finish.status == 200) {
		(void)snprintf(
			http->token, sizeof http->token, "%s", answer_text(&finish, "token"));
	}
	answer_release(&start);
	return finish;
}

void account_client_begin(struct account_client *alice, struct api_node *node,
	struct http_client *http, bool registered)
{
	api_node_run(node);
	account_client_init(alice, node, "alice");
	api_node_connect(node, "http/1.1", http);
	if (registered) {
		account_client_register(alice, http);
	}
}

void account_client_end(
	struct account_client *alice, struct api_node *node, struct http_client *http)
{
	http_client_release(http);
	account_client_release(alice);
	api_node_stop(node);
}
