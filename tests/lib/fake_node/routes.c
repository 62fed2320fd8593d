#include "tests/lib/fake_node/routes.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "base/wire.h"

static void answer_json(struct fake_request *r, int status, json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT);

	r->status = status;
	r->type = "application/json";
	buf_put_str(&r->out, text);
	free(text);
	json_decref(value);
}

void fake_problem(struct fake_request *r, int code)
{
	answer_json(r, err_http_status(code),
		json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:b, s:s}", "type", "about:blank",
			"title", err_text(code), "status", err_http_status(code), "detail",
			err_text(code), "instance", "urn:x", "code", err_api_code(code),
			"retryable", err_retryable(code), "request_id", "fake"));
}

static json_t *text_hex(struct bytes bytes)
{
	struct buf b = BUF_INIT;
	json_t *value;

	hex_append(&b, bytes);
	value = json_string(buf_str(&b));
	buf_release(&b);
	return value;
}

static json_t *text_base64(struct bytes bytes)
{
	struct buf b = BUF_INIT;
	json_t *value;

	base64_append(&b, bytes);
	value = json_string(buf_str(&b));
	buf_release(&b);
	return value;
}

static void take_base64(const json_t *object, const char *key, struct buf *to)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (text == NULL || base64_decode(bytes_str(text), 1 << 20, to) != 0) {
		buf_clear(to);
	}
}

static void do_well_known(struct fake_node *n, struct fake_request *r)
{
	json_t *records = json_array();
	struct pki_info info;
	int rc = pki_info(buf_bytes(&n->ca.cert_pem), &info, NULL);

	assert(rc == 0);
	(void)rc;
	for (size_t i = 0; i < n->n_records; i++) {
		(void)json_array_append_new(
			records, text_base64(bytes_of(n->records[i], RESTORE_RECORD_BYTES)));
	}
	answer_json(r, 200,
		json_pack("{s:o, s:o, s:[], s:s, s:o, s:[s], s:{}, s:{s:o, s:o}}", "cluster_id",
			text_hex(bytes_of(n->cluster_id, ID_BYTES)), "lineage",
			text_hex(bytes_of(n->lineage, ID_BYTES)), "sites", "ca",
			buf_str(&n->ca.cert_pem), "ca_spki_sha256",
			text_base64(bytes_of(info.spki_sha256, HASH_BYTES)), "api_versions", "v1",
			"policy", "restore", "key",
			text_base64(key_pub_bytes(key_public(n->restore_key))), "records",
			records));
}

static void do_enrol(struct fake_node *n, struct fake_request *r, const json_t *body)
{
	struct buf identity = BUF_INIT, device = BUF_INIT, signature = BUF_INIT;
	struct proof_enrol proof = {0};
	const char *token = json_string_value(json_object_get(body, "token"));
	const char *account = json_string_value(json_object_get(body, "account"));
	struct identity chain;
	int rc;

	take_base64(body, "identity", &identity);
	take_base64(body, "device", &device);
	take_base64(body, "proof", &signature);
	identity_init(&chain);
	rc = token == NULL || strcmp(token, "ket_good") != 0 ? KLUIS_EUNAUTHENTICATED : 0;
	rc = rc != 0 ? rc : identity_append(&chain, buf_bytes(&identity), NULL);
	memcpy(proof.genesis_hash, chain.head_hash, HASH_BYTES);
	rc = rc != 0 ? rc : identity_append(&chain, buf_bytes(&device), NULL);
	memcpy(proof.device_hash, chain.head_hash, HASH_BYTES);
	memcpy(proof.cluster_id, n->cluster_id, ID_BYTES);
	if (rc == 0) {
		proof.token = bytes_str(token);
		proof.account = bytes_str(account);
		rc = proof_enrol_verify(&proof, chain.devices[0].sign, buf_bytes(&signature), NULL);
	}
	if (rc == 0) {
		identity_release(&n->identity);
		n->identity = chain;
		answer_json(r, 201, json_pack("{s:s}", "account", account));
	} else {
		identity_release(&chain);
		fake_problem(r, rc);
	}
	buf_release(&identity);
	buf_release(&device);
	buf_release(&signature);
}

static void do_login(struct fake_node *n, struct fake_request *r, const json_t *body, bool finish)
{
	struct buf signature = BUF_INIT;
	struct proof_login proof;
	char token[64];

	if (!finish) {
		random_fill(&random_system, n->challenge, sizeof n->challenge);
		answer_json(r, 200,
			json_pack("{s:s, s:o, s:i}", "handshake",
				"00112233445566778899aabbccddeeff", "challenge",
				text_base64(bytes_of(n->challenge, sizeof n->challenge)),
				"expires_in_ms", 1000));
		return;
	}
	take_base64(body, "signature", &signature);
	memcpy(proof.cluster_id, n->cluster_id, ID_BYTES);
	memcpy(proof.challenge, n->challenge, sizeof n->challenge);
	memcpy(proof.user_id, n->identity.user_id, ID_BYTES);
	if (n->identity.device_count == 0) {
		fake_problem(r, KLUIS_EUNAUTHENTICATED);
		return;
	}
	memcpy(proof.device_id, n->identity.devices[0].device_id, ID_BYTES);
	if (proof_login_verify(&proof, n->identity.devices[0].sign, buf_bytes(&signature), NULL) !=
		0) {
		fake_problem(r, KLUIS_EUNAUTHENTICATED);
	} else {
		n->token++;
		(void)snprintf(token, sizeof token, "kst_%043u", n->token);
		answer_json(r, 200,
			json_pack("{s:s, s:I}", "token", token, "expires",
				(json_int_t)clock_wall_ms(&clock_system) + 3600000));
	}
	buf_release(&signature);
}

static json_t *vault_object(const struct store_vault *v)
{
	const struct head *head = &v->parsed[v->n_heads - 1];

	return json_pack("{s:o, s:s, s:i, s:i, s:o, s:I, s:o, s:I, s:s, s:o}", "id",
		text_hex(bytes_of(v->id, ID_BYTES)), "role", "admin", "created", 1, "revision", 1,
		"label", text_base64(buf_bytes(&v->label)), "seq", (json_int_t)head->seq,
		"head_hash", text_hex(bytes_of(head->hash, HASH_BYTES)), "page_count",
		(json_int_t)head->page_count, "etag", "\"1\"", "create",
		text_base64(buf_bytes(&v->create)));
}

static void do_vaults(
	struct fake_node *n, struct fake_request *r, const json_t *body, enum fake_fault fault)
{
	if (strcmp(r->method, "POST") == 0) {
		struct buf create = BUF_INIT, head = BUF_INIT, label = BUF_INIT;
		int rc;

		take_base64(body, "create", &create);
		take_base64(body, "head", &head);
		take_base64(body, "label", &label);
		rc = store_create(
			&n->store, buf_bytes(&create), buf_bytes(&head), buf_bytes(&label));
		if (rc == 0) {
			answer_json(r, 201, json_object());
		} else {
			fake_problem(r, rc);
		}
		buf_release(&create);
		buf_release(&head);
		buf_release(&label);
		return;
	}
	if (fault == FAKE_ENDLESS) {
		answer_json(
			r, 200, json_pack("{s:[], s:s, s:b}", "items", "next", "on", "done", 0));
		return;
	}
	{
		json_t *items = json_array();

		for (size_t i = 0; i < n->store.n_vaults; i++) {
			(void)json_array_append_new(items, vault_object(n->store.vaults[i]));
		}
		answer_json(
			r, 200, json_pack("{s:o, s:n, s:b}", "items", items, "next", "done", 1));
	}
}

static json_t *head_object(const struct store_vault *v, size_t i, enum fake_fault fault)
{
	enum { SEQ_LOW_BYTE = 31 }; /* Of the head: CRYPTO section 10. */
	uint8_t head[HEAD_BYTES];

	memcpy(head, v->heads[i], HEAD_BYTES);
	head[SEQ_LOW_BYTE] ^= fault == FAKE_NEW_HEAD ? 0x40 : 0;
	return json_pack("{s:I, s:o, s:o}", "seq", (json_int_t)v->parsed[i].seq, "head_hash",
		text_hex(bytes_of(v->parsed[i].hash, HASH_BYTES)), "head",
		text_base64(bytes_of(head, HEAD_BYTES)));
}

static uint64_t query_u64(const char *target, const char *key)
{
	const char *at = strstr(target, key);

	return at == NULL ? 0 : strtoull(at + strlen(key), NULL, 10);
}

static void do_heads(
	struct fake_request *r, const struct store_vault *v, enum fake_fault fault, bool list)
{
	size_t n = v->n_heads - (fault == FAKE_OLD_HEAD && v->n_heads > 1);
	uint64_t since = query_u64(buf_str(&r->target), "since=");
	uint64_t limit = query_u64(buf_str(&r->target), "limit=");
	json_t *items;
	size_t at;

	if (!list) {
		answer_json(r, 200, head_object(v, n - 1, fault));
		return;
	}
	items = json_array();
	for (at = (size_t)since; at < n && fault != FAKE_NO_HEADS; at++) {
		if (json_array_size(items) >= limit) {
			break;
		}
		(void)json_array_append_new(items, head_object(v, at, FAKE_HONEST));
	}
	answer_json(r, 200,
		json_pack("{s:o, s:n, s:b}", "items", items, "next", "done",
			at >= n || fault == FAKE_NO_HEADS));
}

static void do_changes(struct fake_node *n, struct fake_request *r, const struct store_vault *v,
	enum fake_fault fault)
{
	const char *colon = strchr(strstr(buf_str(&r->target), "since="), ':');
	uint64_t since = colon == NULL ? 0 : strtoull(colon + 1, NULL, 10);
	json_t *items = json_array();
	char next[128], lineage[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(n->lineage, ID_BYTES), lineage);
	(void)snprintf(next, sizeof next, "%s:%zu", lineage,
		fault == FAKE_ENDLESS ? (size_t)n->struck : v->n_heads);
	since = fault == FAKE_ENDLESS ? 1 : since;
	for (size_t i = 0; i < v->n_pages && fault != FAKE_NO_CHANGES; i++) {
		const struct store_page *p = &v->pages[i];
		uint8_t leaf[HASH_BYTES];

		memcpy(leaf, p->leaf, HASH_BYTES);
		leaf[0] ^= fault == FAKE_BAD_LEAF;
		if (p->seq > since) {
			(void)json_array_append_new(items,
				json_pack("{s:I, s:I, s:I, s:i, s:o}", "seq", (json_int_t)p->seq,
					"page", (json_int_t)p->page_no, "revision",
					fault == FAKE_UNWRITTEN
						? 0
						: (json_int_t)p->revision +
							  (fault == FAKE_REVISION ? 5 : 0),
					"epoch", (int)p->epoch, "leaf",
					text_hex(bytes_of(leaf, HASH_BYTES))));
		}
	}
	answer_json(r, 200,
		json_pack("{s:o, s:s, s:b}", "items", items, "next", next, "done",
			fault != FAKE_ENDLESS));
}

static void do_versions(struct fake_request *r, const struct store_vault *v, uint64_t page_no)
{
	json_t *items = json_array();

	for (size_t i = v->n_pages; i-- > 0;) {
		const struct store_page *p = &v->pages[i];
		uint8_t sha256[HASH_BYTES];

		if (p->page_no == page_no) {
			hash_sha256(buf_bytes(&p->bytes), sha256);
			(void)json_array_append_new(
				items, json_pack("{s:I, s:i, s:I, s:o, s:i, s:s}", "revision",
					       (json_int_t)p->revision, "epoch", (int)p->epoch,
					       "bytes", (json_int_t)p->bytes.len, "sha256",
					       text_hex(bytes_of(sha256, HASH_BYTES)), "written", 1,
					       "etag", "\"1\""));
		}
	}
	answer_json(r, 200, json_pack("{s:o, s:n, s:b}", "items", items, "next", "done", 1));
}

/* One of them; of another page when the node lies. */
static void do_version(struct fake_request *r, const struct store_vault *v, uint64_t page_no,
	uint64_t revision, enum fake_fault fault)
{
	for (size_t i = 0; i < v->n_pages; i++) {
		const struct store_page *p = &v->pages[i];

		if (p->page_no == (fault == FAKE_OTHER_PAGE ? page_no ^ 1 : page_no) &&
			p->revision == revision) {
			r->status = 200;
			r->type = "application/octet-stream";
			buf_append_bytes(&r->out, buf_bytes(&p->bytes));
			return;
		}
	}
	fake_problem(r, KLUIS_ENOTFOUND);
}

static const struct store_page *lying_page(
	const struct store_vault *v, uint64_t page_no, enum fake_fault fault)
{
	return store_page(
		v, fault == FAKE_OTHER_PAGE ? page_no ^ 1 : page_no, fault == FAKE_OLD_PAGE);
}

static void do_page(struct fake_request *r, const struct store_vault *v, const char *rest,
	enum fake_fault fault)
{
	const struct store_page *page = lying_page(v, strtoull(rest, NULL, 10), fault);

	if (page == NULL) {
		fake_problem(r, KLUIS_ENOTFOUND);
		return;
	}
	r->status = 200;
	r->type = "application/octet-stream";
	buf_append_bytes(&r->out, buf_bytes(&page->bytes));
}

static void do_pages(struct fake_request *r, const struct store_vault *v, const json_t *body,
	enum fake_fault fault)
{
	const json_t *list = json_object_get(body, "pages"), *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		const struct store_page *page =
			lying_page(v, (uint64_t)json_integer_value(entry), fault);

		buf_put_lp32(&r->out, page == NULL ? bytes_of(NULL, 0) : buf_bytes(&page->bytes));
	}
	r->status = 200;
	r->type = "application/octet-stream";
}

static void do_staged(struct fake_node *n, struct fake_request *r, const char *name)
{
	uint8_t sha256[HASH_BYTES], real[HASH_BYTES];

	if (hex_decode(name, sha256, HASH_BYTES) != 0) {
		fake_problem(r, KLUIS_EINVAL);
	} else if (strcmp(r->method, "HEAD") == 0) {
		r->status = store_staged(&n->store, sha256) == NULL ? 404 : 200;
		r->type = "application/octet-stream";
	} else {
		hash_sha256(buf_bytes(&r->body), real);
		if (memcmp(real, sha256, HASH_BYTES) != 0) {
			fake_problem(r, KLUIS_EINVAL);
			return;
		}
		store_stage(&n->store, sha256, buf_bytes(&r->body));
		answer_json(r, 200, json_object());
	}
}

static void do_commit(struct fake_node *n, struct fake_request *r, struct store_vault *v)
{
	bool claims = r->claims.len > 0;
	int rc = claims && n->claims_gone ? KLUIS_ENOTFOUND
					  : store_commit(&n->store, v, buf_bytes(&r->body),
						    n->identity.devices[0].sign);

	n->claimed += rc == 0 && claims;
	if (rc == 0) {
		answer_json(r, 200, json_object());
	} else {
		fake_problem(r, rc);
	}
}

static void do_vault(struct fake_node *n, struct fake_request *r, const char *rest,
	const json_t *body, enum fake_fault fault)
{
	char hex[HEX_LEN(ID_BYTES) + 1];
	uint8_t id[ID_BYTES];
	struct store_vault *v = NULL;

	if (strlen(rest) >= HEX_LEN(ID_BYTES)) {
		memcpy(hex, rest, HEX_LEN(ID_BYTES));
		hex[HEX_LEN(ID_BYTES)] = 0;
		v = hex_decode(hex, id, ID_BYTES) == 0 ? store_vault(&n->store, id) : NULL;
		rest += HEX_LEN(ID_BYTES);
	}
	if (v == NULL) {
		fake_problem(r, KLUIS_ENOTFOUND);
	} else if (rest[0] == 0) {
		answer_json(r, 200, vault_object(v));
	} else if (strncmp(rest, "/heads", 6) == 0) {
		do_heads(r, v, fault, true);
	} else if (strncmp(rest, "/head", 5) == 0) {
		do_heads(r, v, fault, false);
	} else if (strncmp(rest, "/changes", 8) == 0) {
		do_changes(n, r, v, fault);
	} else if (strncmp(rest, "/pages:get", 10) == 0) {
		do_pages(r, v, body, fault);
	} else if (strncmp(rest, "/pages/", 7) == 0 && strstr(rest, "/versions?") != NULL) {
		do_versions(r, v, strtoull(rest + 7, NULL, 10));
	} else if (strncmp(rest, "/pages/", 7) == 0 && strstr(rest, "/versions/") != NULL) {
		do_version(r, v, strtoull(rest + 7, NULL, 10),
			strtoull(strstr(rest, "/versions/") + 10, NULL, 10), fault);
	} else if (strncmp(rest, "/pages/", 7) == 0) {
		do_page(r, v, rest + 7, fault);
	} else if (strncmp(rest, "/staged/", 8) == 0) {
		do_staged(n, r, rest + 8);
	} else if (strncmp(rest, "/commits", 8) == 0) {
		do_commit(n, r, v);
	} else {
		fake_problem(r, KLUIS_ENOTFOUND);
	}
}

static bool signed_in(const struct fake_node *n, struct fake_request *r)
{
	char wanted[80];

	(void)snprintf(wanted, sizeof wanted, "Bearer kst_%043u", n->token);
	return n->token != 0 && strcmp(buf_str(&r->auth), wanted) == 0;
}

void fake_dispatch(struct fake_node *n, struct fake_request *r, enum fake_fault fault)
{
	const char *t = buf_str(&r->target);
	json_t *body = json_loadb((const char *)r->body.data, r->body.len, 0, NULL);

	if (strcmp(t, "/.well-known/kluis.json") == 0) {
		do_well_known(n, r);
	} else if (strcmp(t, "/v1/services/enrol") == 0) {
		do_enrol(n, r, body);
	} else if (strncmp(t, "/v1/login/device/", 17) == 0) {
		do_login(n, r, body, strcmp(t + 17, "finish") == 0);
	} else if (!signed_in(n, r)) {
		fake_problem(r, KLUIS_EUNAUTHENTICATED);
	} else if (strncmp(t, "/v1/vaults/", 11) == 0) {
		do_vault(n, r, t + 11, body, fault);
	} else if (strncmp(t, "/v1/vaults", 10) == 0) {
		do_vaults(n, r, body, fault);
	} else if (strcmp(t, "/v1/logout") == 0) {
		n->token = 0;
		r->status = 204;
	} else {
		fake_problem(r, KLUIS_ENOTFOUND);
	}
	json_decref(body);
}
