#include "cli/load/page_load.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/client/vault.h"
#include "crypto/member.h"
#include "crypto/merkle.h"
#include "crypto/page.h"

enum { PAGE_KEY_CHARS = 32, PAGE_HEAD_BYTES_MAX = 1024, PAGE_VAULTS_LISTED_MAX = 100000 };

/* One put: the header block, then the page. */
struct page_put {
	uint8_t *bytes;
	size_t head_len;
};

struct page_client {
	uint8_t vault_id[ID_BYTES];
	struct secret vk;
	struct buf create; /* The request that makes the vault. */
	bool asked;	   /* It was handed out. */
	struct head head;  /* Of the last put prepared. */
	struct merkle *tree;
	struct page_put *puts; /* Put i writes page i, revision 1. */
	unsigned n_puts, cap_puts, sent, done;
	struct buf get; /* The get under way. */
	unsigned get_page;
	uint64_t budget;
};

struct page_load {
	struct profile *profile;
	char *host, *token;
	unsigned clients, bucket, read_percent;
	bool staged;
	enum page_consistency consistency;
	struct random_seeded random;
	uint8_t *content;
	size_t page_bytes;
	uint64_t held_bytes;
	struct page_load_cost cost;
	struct page_client *of;
};

static void page_fields(const struct page_load *p, struct buf *to)
{
	buf_printf(to, "Host: %s\r\nAuthorization: Bearer %s\r\n", p->host, p->token);
}

/* --- Vaults ----------------------------------------------------------------------------------- */

static void create_request(
	struct page_load *p, struct page_client *c, struct bytes create, struct bytes head)
{
	_cleanup_(secret_buf_release) struct buf body = BUF_INIT;
	uint8_t raw[PAGE_KEY_CHARS / 2];
	char key[PAGE_KEY_CHARS + 1];

	random_fill(&random_system, raw, sizeof raw);
	hex_encode(bytes_of(raw, sizeof raw), key);
	json_take_text(json_pack("{s:o, s:o, s:o}", "create", json_base64(create), "head",
			       json_base64(head), "label", json_base64(bytes_str(PAGE_LOAD_LABEL))),
		&body);
	buf_printf(&c->create, "POST /v1/vaults HTTP/1.1\r\n");
	page_fields(p, &c->create);
	buf_printf(&c->create,
		"Idempotency-Key: %s\r\nContent-Type: application/json\r\nContent-Length: "
		"%zu\r\n\r\n",
		key, body.len);
	buf_append_bytes(&c->create, buf_bytes(&body));
}

static int client_init(struct page_load *p, struct page_client *c, struct err *e)
{
	_cleanup_(buf_release) struct buf create = BUF_INIT;
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	int rc;

	random_fill(&random_system, c->vault_id, ID_BYTES);
	secret_random(&c->vk, PAGE_KEY_BYTES, &random_system);
	c->tree = merkle_new();
	rc = members_create(c->vault_id, MEMBER_OBJECT_VAULT, p->profile->user_id, NULL,
		p->profile->device, clock_wall_ms(&clock_system), &create, e);
	rc = rc != 0 ? rc
		     : vault_first_head(p->profile, c->vault_id, buf_bytes(&create), &encoded, e);
	rc = rc != 0 ? rc : head_parse(buf_bytes(&encoded), &c->head, e);
	if (rc == 0) {
		create_request(p, c, buf_bytes(&create), buf_bytes(&encoded));
	}
	return rc;
}

static bool create_next(void *arg, unsigned client, struct load_request *ret_request)
{
	struct page_load *p = arg;
	struct page_client *c = &p->of[client];

	if (c->asked) {
		return false;
	}
	c->asked = true;
	*ret_request = (struct load_request){.kind = LOAD_PUT, .head = buf_bytes(&c->create)};
	return true;
}

const struct load_workload page_load_create = {create_next, NULL};

/* --- Puts ------------------------------------------------------------------------------------- */

/* Appends the next page and the leaf of it. */
static int put_seal(struct page_load *p, struct page_client *c, struct buf *to, struct err *e)
{
	struct page_spec spec = {.place = {.page_no = c->n_puts, .revision = 1, .key_epoch = 1},
		.sym = SYM_AES_256,
		.kind = PAGE_CHUNK};
	uint64_t begin_ns = uv_hrtime();
	uint8_t hash[HASH_BYTES], leaf[HASH_BYTES];
	size_t before = to->len;
	int rc;

	memcpy(spec.place.vault_id, c->vault_id, ID_BYTES);
	memcpy(spec.device_id, p->profile->device_id, ID_BYTES);
	rc = page_seal(secret_bytes(&c->vk), &spec,
		bytes_of(p->content, ((size_t)1 << p->bucket) - 4), &random_system, to, e);
	if (rc != 0) {
		return rc;
	}
	assert(to->len - before == p->page_bytes);
	hash_sha256(bytes_of(to->data + before, p->page_bytes), hash);
	page_leaf(&spec.place, hash, leaf);
	merkle_set(c->tree, c->n_puts, leaf);
	p->cost.seal_ns += uv_hrtime() - begin_ns;
	return 0;
}

static int put_sign(struct page_load *p, struct page_client *c, struct buf *to, struct err *e)
{
	struct head head = c->head;
	uint64_t begin_ns = uv_hrtime();
	int rc;

	head.seq++;
	head.page_count = merkle_count(c->tree);
	head.unix_ms = clock_wall_ms(&clock_system);
	memcpy(head.prev_hash, c->head.hash, HASH_BYTES);
	merkle_root(c->tree, head.merkle_root);
	rc = head_sign(&head, p->profile->device, to, e);
	rc = rc != 0 ? rc : head_parse(buf_bytes(to), &c->head, e);
	p->cost.sign_ns += uv_hrtime() - begin_ns;
	return rc;
}

static void staged_header(
	const struct page_load *p, const struct page_client *c, struct bytes page, struct buf *to)
{
	char id[HEX_LEN(ID_BYTES) + 1], name[HEX_LEN(HASH_BYTES) + 1];
	uint8_t hash[HASH_BYTES];

	hash_sha256(page, hash);
	hex_encode(bytes_of(hash, sizeof hash), name);
	hex_encode(bytes_of(c->vault_id, ID_BYTES), id);
	buf_printf(to, "PUT /v1/vaults/%s/staged/%s HTTP/1.1\r\n", id, name);
	page_fields(p, to);
	buf_printf(to, "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n",
		p->page_bytes);
}

static void put_header(
	const struct page_load *p, const struct page_client *c, struct bytes head, struct buf *to)
{
	char id[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(c->vault_id, ID_BYTES), id);
	buf_printf(to, "PUT /v1/vaults/%s/pages/%u HTTP/1.1\r\n", id, c->n_puts);
	page_fields(p, to);
	buf_printf(
		to, "Content-Type: application/octet-stream\r\nIf-None-Match: *\r\nKluis-Head: ");
	base64_append(to, head);
	buf_printf(to, "\r\nContent-Length: %zu\r\n\r\n", p->page_bytes);
}

static int client_prepare(struct page_load *p, struct page_client *c, struct err *e)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	_cleanup_(buf_release) struct buf head = BUF_INIT;
	struct buf whole = BUF_INIT;
	size_t head_len;
	int rc = put_seal(p, c, &page, e);

	rc = rc != 0 || p->staged ? rc : put_sign(p, c, &head, e);
	if (rc != 0) {
		return rc;
	}
	buf_reserve(&whole, PAGE_HEAD_BYTES_MAX + p->page_bytes);
	if (p->staged) {
		staged_header(p, c, buf_bytes(&page), &whole);
	} else {
		put_header(p, c, buf_bytes(&head), &whole);
	}
	head_len = whole.len;
	buf_append_bytes(&whole, buf_bytes(&page));
	if (c->n_puts == c->cap_puts) {
		c->cap_puts = c->cap_puts == 0 ? 64 : 2 * c->cap_puts;
		c->puts = x_realloc(c->puts, c->cap_puts * sizeof *c->puts);
	}
	c->puts[c->n_puts++] = (struct page_put){whole.data, head_len};
	p->cost.requests++;
	return 0;
}

static uint64_t prepared_bytes(const struct page_load *p, unsigned n)
{
	return (uint64_t)n * p->clients * (p->page_bytes + PAGE_HEAD_BYTES_MAX);
}

unsigned page_load_room(const struct page_load *p)
{
	return (unsigned)((PAGE_LOAD_BYTES_MAX - p->held_bytes) / prepared_bytes(p, 1));
}

int page_load_prepare(struct page_load *p, unsigned n, struct err *e)
{
	uint64_t more = prepared_bytes(p, n);

	if (p->held_bytes + more > PAGE_LOAD_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE,
			"%" PRIu64 " MiB of requests; at most %llu fit in memory: ask for fewer",
			(p->held_bytes + more) >> 20, PAGE_LOAD_BYTES_MAX >> 20);
	}
	p->held_bytes += more;
	for (unsigned i = 0; i < p->clients; i++) {
		for (unsigned k = 0; k < n; k++) {
			int rc = client_prepare(p, &p->of[i], e);

			if (rc != 0) {
				return rc;
			}
		}
	}
	return 0;
}

static void put_request(
	const struct page_load *p, struct page_client *c, struct load_request *ret_request)
{
	const struct page_put *put = &c->puts[c->sent++];

	*ret_request = (struct load_request){.kind = LOAD_PUT,
		.head = bytes_of(put->bytes, put->head_len),
		.body = bytes_of(put->bytes + put->head_len, p->page_bytes),
		.payload_bytes = p->page_bytes};
}

/* --- Gets ------------------------------------------------------------------------------------- */

static void get_request(
	struct page_load *p, struct page_client *c, struct load_request *ret_request)
{
	char id[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(c->vault_id, ID_BYTES), id);
	c->get_page = (unsigned)random_below(&p->random.random, c->done);
	buf_clear(&c->get);
	buf_printf(&c->get, "GET /v1/vaults/%s/pages/%u?consistency=%s HTTP/1.1\r\n", id,
		c->get_page, p->consistency == PAGE_LINEARIZABLE ? "linearizable" : "stale");
	page_fields(p, &c->get);
	buf_printf(&c->get, "\r\n");
	*ret_request = (struct load_request){
		.kind = LOAD_GET, .head = buf_bytes(&c->get), .payload_bytes = p->page_bytes};
}

static bool mix_next(void *arg, unsigned client, struct load_request *ret_request)
{
	struct page_load *p = arg;
	struct page_client *c = &p->of[client];
	bool get = random_below(&p->random.random, 100) < p->read_percent;

	if (c->budget == 0) {
		return false;
	}
	c->budget -= c->budget == UINT64_MAX ? 0 : 1;
	if (get && c->done > 0) {
		get_request(p, c, ret_request);
		return true;
	}
	if (get || c->sent == c->n_puts) {
		return false;
	}
	put_request(p, c, ret_request);
	return true;
}

static int mix_answered(void *arg, unsigned client, const struct load_request *request,
	const struct load_answer *answer, struct err *e)
{
	struct page_load *p = arg;
	struct page_client *c = &p->of[client];
	const struct page_put *put;

	if (request->kind == LOAD_PUT) {
		assert(c->done < c->sent);
		c->done++;
		return 0;
	}
	put = &c->puts[c->get_page];
	return bytes_equal(answer->body, bytes_of(put->bytes + put->head_len, p->page_bytes))
		       ? 0
		       : err_set(e, KLUIS_EVERIFY, "page %u came with other bytes than were put",
				 c->get_page);
}

static bool fill_next(void *arg, unsigned client, struct load_request *ret_request)
{
	struct page_load *p = arg;
	struct page_client *c = &p->of[client];

	if (c->sent == c->n_puts) {
		return false;
	}
	put_request(p, c, ret_request);
	return true;
}

const struct load_workload page_load_fill = {fill_next, mix_answered};
const struct load_workload page_load_mix = {mix_next, mix_answered};

/* --- Life ------------------------------------------------------------------------------------- */

int page_load_new(
	const struct page_load_config *config, struct page_load **ret_pages, struct err *e)
{
	struct page_load *p = x_calloc(1, sizeof *p);
	int rc = 0;

	assert(config->bucket >= PAGE_BUCKET_MIN && config->bucket <= PAGE_BUCKET_MAX);
	assert(config->clients > 0 && config->read_percent <= 100);
	p->profile = config->profile;
	p->host = x_strdup(config->host);
	p->token = x_strdup(config->token);
	p->clients = config->clients;
	p->bucket = config->bucket;
	p->read_percent = config->read_percent;
	p->staged = config->staged;
	p->consistency = config->consistency;
	p->page_bytes = ((size_t)1 << p->bucket) + PAGE_HEADER_BYTES + PAGE_TAG_BYTES;
	random_seeded_init(&p->random, config->seed);
	p->content = x_malloc((size_t)1 << p->bucket);
	random_fill(&p->random.random, p->content, (size_t)1 << p->bucket);
	p->of = x_calloc(p->clients, sizeof *p->of);
	page_load_set_budget(p, UINT64_MAX);
	for (unsigned i = 0; rc == 0 && i < p->clients; i++) {
		rc = client_init(p, &p->of[i], e);
	}
	if (rc != 0) {
		page_load_free(p);
		return rc;
	}
	*ret_pages = p;
	return 0;
}

static void client_release(struct page_client *c)
{
	secret_release(&c->vk);
	secret_buf_release(&c->create); /* The token is in it, and in what follows. */
	secret_buf_release(&c->get);
	merkle_free(c->tree);
	for (unsigned i = 0; i < c->n_puts; i++) {
		secret_clear(c->puts[i].bytes, c->puts[i].head_len);
		free(c->puts[i].bytes);
	}
	free(c->puts);
}

void page_load_free(struct page_load *p)
{
	if (p == NULL) {
		return;
	}
	for (unsigned i = 0; i < p->clients; i++) {
		client_release(&p->of[i]);
	}
	secret_clear(p->token, strlen(p->token));
	free(p->token);
	free(p->host);
	free(p->content);
	free(p->of);
	free(p);
}

void page_load_set_budget(struct page_load *p, uint64_t requests)
{
	for (unsigned i = 0; i < p->clients; i++) {
		p->of[i].budget = requests;
	}
}

size_t page_load_page_bytes(const struct page_load *p)
{
	return p->page_bytes;
}

const struct page_load_cost *page_load_cost(const struct page_load *p)
{
	return &p->cost;
}

/* Whether a listed vault is one of ours, and what its deletion needs. */
static int remove_one(struct client *client, const json_t *item, struct err *e)
{
	_cleanup_(buf_release) struct buf label = BUF_INIT;
	struct json_reader r = json_reader_of(item);
	uint8_t id[ID_BYTES];
	const char *etag;
	int rc;

	json_reader_hex(&r, "id", id, ID_BYTES);
	json_reader_base64(&r, "label", API_LABEL_BYTES_MAX, &label);
	etag = json_reader_string(&r, "etag");
	rc = json_reader_end(&r, "vault", e);
	if (rc == 0 && strpbrk(etag, "\r\n") != NULL) {
		rc = err_set(e, KLUIS_EPROTO, "vault: malformed etag");
	}
	if (rc != 0 || !bytes_equal(buf_bytes(&label), bytes_str(PAGE_LOAD_LABEL))) {
		return rc;
	}
	rc = api_vault_delete(client, id, etag, e);
	/* A lost answer's retry finds it gone already. */
	return rc == KLUIS_ENOTFOUND || rc == KLUIS_EGONE ? 0 : rc;
}

int page_load_remove(struct client *client, struct err *e)
{
	json_t *items;
	int rc = api_list(client, "/v1/vaults", CLIENT_AUTH, PAGE_VAULTS_LISTED_MAX, &items, e);

	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		rc = remove_one(client, json_array_get(items, i), e);
	}
	json_decref(items);
	return rc == 0 ? 0 : err_wrap(e, rc, "remove the vaults labelled '%s'", PAGE_LOAD_LABEL);
}
