#include "cli/client/delivery.h"

#include <string.h>

#include "base/file.h"
#include "base/random.h"
#include "base/wire.h"
#include "cli/client/api_account.h"
#include "cli/client/inbox.h"
#include "cli/client/json_reader.h"

enum { DELIVERY_VERSION = 1 };

void delivery_release(struct delivery *delivery)
{
	for (size_t i = 0; i < delivery->n_endpoints; i++) {
		free(delivery->endpoints[i]);
	}
	buf_release(&delivery->ca_pem);
	secret_release(&delivery->doc_key);
	secret_clear(delivery->token, sizeof delivery->token);
	*delivery = (struct delivery){.n_endpoints = 0};
}

static json_t *delivery_json(
	const struct profile *profile, const struct api_inbox_token *token, struct bytes doc_key)
{
	json_t *endpoints = json_array();

	for (size_t i = 0; i < profile->n_endpoints; i++) {
		(void)json_array_append_new(endpoints, json_string(profile->endpoints[i]));
	}
	return json_pack("{s:i, s:o, s:s, s:o, s:o, s:s, s:o}", "version", DELIVERY_VERSION,
		"endpoints", endpoints, "ca", buf_str((struct buf *)&profile->ca_pem), "user_id",
		json_hex(bytes_of(profile->user_id, ID_BYTES)), "genesis_hash",
		json_hex(bytes_of(profile->identity.genesis_hash, HASH_BYTES)), "token",
		token->token, "doc_key", json_base64(doc_key));
}

int delivery_create(const struct profile *profile, struct client *client,
	const struct delivery_terms *terms, const char *path, uint8_t ret_token_id[ID_BYTES],
	struct err *e)
{
	_cleanup_(secret_buf_release) struct buf text = BUF_INIT;
	_cleanup_(secret_release) struct secret doc_key = SECRET_INIT;
	struct api_inbox_token token;
	int rc;

	if (file_exists(path)) { /* Before there is a token that nobody would have. */
		return err_set(e, KLUIS_EEXIST, "'%s' is there already", path);
	}
	rc = api_inbox_token_create(
		client, terms->label, terms->expires_ms, terms->docs, &token, e);
	if (rc != 0) {
		return rc;
	}
	secret_random(&doc_key, DELIVERY_KEY_BYTES, &random_system);
	buf_reserve(&text, DELIVERY_FILE_BYTES_MAX);
	json_take_text(delivery_json(profile, &token, secret_bytes(&doc_key)), &text);
	buf_put_str(&text, "\n");
	rc = file_create(path, buf_bytes(&text), 0600, e);
	memcpy(ret_token_id, token.token_id, ID_BYTES);
	secret_clear(&token, sizeof token);
	return rc;
}

static void delivery_endpoints(struct json_reader *r, struct delivery *d)
{
	const json_t *list = json_reader_array(r, "endpoints"), *item;
	size_t i;

	if (json_array_size(list) == 0 || json_array_size(list) > CLIENT_ENDPOINTS_MAX) {
		r->failed = "endpoints";
		return;
	}
	json_array_foreach(list, i, item)
	{
		if (!json_is_string(item)) {
			r->failed = "endpoints";
			return;
		}
		d->endpoints[d->n_endpoints++] = x_strdup(json_string_value(item));
	}
}

int delivery_parse(struct bytes text, struct delivery *ret_delivery, struct err *e)
{
	_cleanup_(json_dropp) json_t *object = NULL;
	uint8_t doc_key[DELIVERY_KEY_BYTES];
	struct delivery *d = ret_delivery;
	struct json_reader r;
	const char *token;

	*d = (struct delivery){.n_endpoints = 0};
	if (json_object_parse(text, &object, NULL) != 0) {
		return err_set(e, KLUIS_EINVAL, "that is no delivery file");
	}
	r = json_reader_of(object);
	if (json_reader_u64(&r, "version") != DELIVERY_VERSION && r.failed == NULL) {
		r.failed = "version";
	}
	delivery_endpoints(&r, d);
	buf_append_bytes(&d->ca_pem, bytes_str(json_reader_string(&r, "ca")));
	json_reader_hex(&r, "user_id", d->owner_id, ID_BYTES);
	json_reader_hex(&r, "genesis_hash", d->genesis_hash, HASH_BYTES);
	json_reader_base64_exact(&r, "doc_key", doc_key, sizeof doc_key);
	token = json_reader_string(&r, "token");
	if (r.failed == NULL &&
		(strncmp(token, "kin_", 4) != 0 || strlen(token) > API_INBOX_TOKEN_CHARS_MAX)) {
		r.failed = "token";
	}
	if (r.failed != NULL) {
		return err_set(
			e, KLUIS_EINVAL, "delivery file: '%s' is missing or malformed", r.failed);
	}
	memcpy(d->token, token, strlen(token) + 1);
	secret_set(&d->doc_key, bytes_of(doc_key, sizeof doc_key));
	secret_clear(doc_key, sizeof doc_key);
	return 0;
}

int delivery_read(const char *path, struct delivery *ret_delivery, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf text = BUF_INIT;
	int rc;

	*ret_delivery = (struct delivery){.n_endpoints = 0};
	buf_reserve(&text, DELIVERY_FILE_BYTES_MAX + 1);
	rc = file_read(path, DELIVERY_FILE_BYTES_MAX, &text, e);
	rc = rc != 0 ? rc : delivery_parse(buf_bytes(&text), ret_delivery, e);
	return rc != 0 ? err_wrap(e, rc, "'%s'", path) : 0;
}

static int delivery_client(
	const struct delivery *d, uint64_t give_up_ms, struct client **ret_client, struct err *e)
{
	const struct client_config config = {.endpoints = (const char *const *)d->endpoints,
		.n_endpoints = d->n_endpoints,
		.ca_pem = buf_bytes(&d->ca_pem),
		.give_up_ms = give_up_ms};
	int rc = config.ca_pem.len > 0
			 ? client_new(&config, ret_client, e)
			 : err_set(e, KLUIS_EINVAL, "delivery file: 'ca' is missing or malformed");

	if (rc == 0) {
		client_set_token(*ret_client, d->token);
	}
	return rc;
}

/* The owner as it is now, from the genesis that the file names. */
static int delivery_owner(
	const struct delivery *d, struct client *client, struct identity *owner, struct err *e)
{
	_cleanup_(buf_release) struct buf chain = BUF_INIT;
	struct wire w;
	int rc = api_identity(client, d->owner_id, &chain, e);

	w = wire_of(buf_bytes(&chain));
	while (rc == 0 && w.left.len > 0 && wire_ok(&w)) {
		rc = identity_append(owner, wire_lp32(&w, STATEMENT_BYTES_MAX), e);
		if (rc != 0) {
			return err_wrap(e, KLUIS_EVERIFY, "the identity of the inbox's owner");
		}
	}
	if (rc == 0 && (owner->seq == 0 || memcmp(owner->user_id, d->owner_id, ID_BYTES) != 0 ||
			       memcmp(owner->genesis_hash, d->genesis_hash, HASH_BYTES) != 0)) {
		rc = err_set(e, KLUIS_EPIN,
			"the cluster shows somebody else as the owner of the inbox: nothing is "
			"left there");
	}
	return rc;
}

/* The same content again, after an answer that was lost, is the same document: nobody without the
 * file can tell from the id what is in it. */
static void delivery_doc_id(
	const struct delivery *d, struct bytes content, uint8_t ret_id[ID_BYTES])
{
	uint8_t mac[HMAC_BYTES];

	hash_hmac(secret_bytes(&d->doc_key), &content, 1, mac);
	memcpy(ret_id, mac, ID_BYTES);
}

/* Sealed anew it has other bytes; by its id it is the one that lies there. */
static int delivery_put(
	const struct delivery *d, struct client *client, struct bytes document, struct err *e)
{
	struct err why = {0};
	int rc = api_inbox_put(client, d->owner_id, document, &why);

	return rc == 0 || rc == KLUIS_ECONFLICT ? 0 : err_set(e, rc, "%s", why.text);
}

int delivery_send(const struct delivery *delivery, unsigned sender_class, unsigned content_type,
	struct bytes content, uint64_t give_up_ms, struct err *e)
{
	_cleanup_(buf_release) struct buf document = BUF_INIT;
	struct client *client = NULL;
	struct identity owner;
	uint8_t doc_id[ID_BYTES];
	int rc;

	if (content.len > INBOX_CONTENT_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "a document holds at most %d bytes",
			INBOX_CONTENT_BYTES_MAX);
	}
	identity_init(&owner);
	rc = delivery_client(delivery, give_up_ms, &client, e);
	rc = rc != 0 ? rc : delivery_owner(delivery, client, &owner, e);
	delivery_doc_id(delivery, content, doc_id);
	rc = rc != 0 ? rc
		     : inbox_make(
			       &owner, sender_class, content_type, doc_id, content, &document, e);
	rc = rc != 0 ? rc : delivery_put(delivery, client, buf_bytes(&document), e);
	identity_release(&owner);
	client_free(client);
	return rc;
}
