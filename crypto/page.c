#include "crypto/page.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/evp.h"
#include "crypto/inflate.h"

enum {
	PAGE_VERSION = 1,
	PAGE_KEYED_BYTES = 64, /* The part of the header that enters the key derivation. */
	PAGE_USED_BYTES = 4,
	PAGE_ITEM_BYTES = 16 + 8 + 2 + 4,
};

static const char page_magic[] = "KPG1";

static int page_check_form(const struct page_header *h, struct err *e)
{
	bool tombstone = h->flags == PAGE_TOMBSTONE;

	if (h->sym != SYM_AES_128 && h->sym != SYM_AES_256) {
		return err_set(e, KLUIS_ESUITE, "page: unknown suite %u", h->sym);
	}
	if (h->flags > PAGE_TOMBSTONE || h->kind > PAGE_CHUNK) {
		return err_set(e, KLUIS_EINVAL, "page: unknown flag or kind");
	}
	if (h->place.revision == 0 || h->place.key_epoch == 0) {
		return err_set(e, KLUIS_EINVAL, "page: revision or epoch 0");
	}
	if (tombstone && (h->kind != PAGE_ITEMS || h->bucket != 0 || h->ct_bytes != 0)) {
		return err_set(e, KLUIS_EINVAL, "page: a tombstone with content");
	}
	if (!tombstone && (h->bucket < PAGE_BUCKET_MIN || h->bucket > PAGE_BUCKET_MAX ||
				  h->ct_bytes != BIT(h->bucket))) {
		return err_set(e, KLUIS_EINVAL, "page: length is no bucket");
	}
	return 0;
}

int page_parse(struct bytes page, struct page_header *ret_header, struct err *e)
{
	struct wire w = wire_of(page);
	struct page_header h = {0};
	uint8_t version;
	int rc;

	(void)wire_match(&w, page_magic);
	version = wire_u8(&w);
	if (wire_ok(&w) && version != PAGE_VERSION) {
		return err_set(e, KLUIS_EVERSION, "page: unknown version %u", version);
	}
	h.sym = wire_u8(&w);
	h.flags = wire_u8(&w);
	h.bucket = wire_u8(&w);
	wire_copy(&w, h.place.vault_id, ID_BYTES);
	h.place.page_no = wire_u64(&w);
	h.place.revision = wire_u64(&w);
	h.place.key_epoch = wire_u32(&w);
	h.ct_bytes = wire_u32(&w);
	wire_copy(&w, h.device_id, ID_BYTES);
	wire_copy(&w, h.salt, SEAL_SALT_BYTES);
	h.kind = wire_u8(&w);
	wire_zeros(&w, 15);
	if (!wire_ok(&w)) {
		return err_set(e, KLUIS_EINVAL, "page: malformed header");
	}
	rc = page_check_form(&h, e);
	if (rc != 0) {
		return rc;
	}
	(void)wire_bytes(&w, h.ct_bytes + (size_t)PAGE_TAG_BYTES);
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_EINVAL, "page: wrong length");
	}
	*ret_header = h;
	return 0;
}

static void page_put_header(const struct page_header *h, uint8_t to[PAGE_HEADER_BYTES])
{
	memset(to, 0, PAGE_HEADER_BYTES);
	memcpy(to, page_magic, 4);
	to[4] = PAGE_VERSION;
	to[5] = h->sym;
	to[6] = h->flags;
	to[7] = h->bucket;
	memcpy(to + 8, h->place.vault_id, ID_BYTES);
	store_u64(to + 24, h->place.page_no);
	store_u64(to + 32, h->place.revision);
	store_u32(to + 40, h->place.key_epoch);
	store_u32(to + 44, h->ct_bytes);
	memcpy(to + 48, h->device_id, ID_BYTES);
	memcpy(to + 64, h->salt, SEAL_SALT_BYTES);
	to[96] = h->kind;
}

static void page_leaf_hash(const struct page_place *place, const uint8_t page_hash[HASH_BYTES],
	uint8_t ret_leaf[HASH_BYTES])
{
	static const char prefix[] = "\0kluis/v1/leaf";
	uint8_t numbers[20];

	store_u64(numbers, place->page_no);
	store_u64(numbers + 8, place->revision);
	store_u32(numbers + 16, place->key_epoch);
	hash_sha256_parts(
		(const struct bytes[]){bytes_of(prefix, sizeof prefix - 1),
			bytes_of(place->vault_id, ID_BYTES), bytes_of(numbers, sizeof numbers),
			bytes_of(page_hash, HASH_BYTES)},
		4, ret_leaf);
}

void page_leaf(const struct page_place *place, const uint8_t page_hash[HASH_BYTES],
	uint8_t ret_leaf[HASH_BYTES])
{
	assert(place->revision > 0 && place->key_epoch > 0);
	page_leaf_hash(place, page_hash, ret_leaf);
}

void page_leaf_unwritten(
	const uint8_t vault_id[ID_BYTES], uint64_t page_no, uint8_t ret_leaf[HASH_BYTES])
{
	struct page_place place = {.page_no = page_no};
	uint8_t empty[HASH_BYTES];

	memcpy(place.vault_id, vault_id, ID_BYTES);
	hash_sha256(bytes_of(NULL, 0), empty);
	page_leaf_hash(&place, empty, ret_leaf);
}

static void page_derive(
	struct bytes vk, const uint8_t header[PAGE_HEADER_BYTES], struct sym_keys *ret_keys)
{
	const struct bytes info[] = {
		bytes_str("kluis/v1/page"), bytes_of(header, PAGE_KEYED_BYTES)};

	assert(vk.len == PAGE_KEY_BYTES);
	sym_derive(header[5], bytes_of(header + 64, SEAL_SALT_BYTES), vk, info, ARRAY_SIZE(info),
		ret_keys);
}

static void page_tag(const struct sym_keys *keys, struct bytes tagged, uint8_t ret_tag[HMAC_BYTES])
{
	hash_hmac(sym_mac_key(keys), &tagged, 1, ret_tag);
}

static uint8_t page_bucket(size_t payload_bytes)
{
	uint8_t bucket = PAGE_BUCKET_MIN;

	while (((size_t)1 << bucket) < payload_bytes + PAGE_USED_BYTES) {
		bucket++;
	}
	assert(bucket <= PAGE_BUCKET_MAX);
	return bucket;
}

static int page_make_header(const struct page_spec *spec, size_t payload_bytes,
	struct random *random, struct page_header *ret_header, struct err *e)
{
	bool tombstone = spec->flags == PAGE_TOMBSTONE;
	struct page_header h = {
		.place = spec->place, .sym = spec->sym, .flags = spec->flags, .kind = spec->kind};
	int rc;

	if (payload_bytes > PAGE_CONTENT_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "page: %zu bytes of content, at most %d",
			payload_bytes, PAGE_CONTENT_BYTES_MAX);
	}
	if (tombstone && payload_bytes > 0) {
		return err_set(e, KLUIS_EINVAL, "page: a tombstone with content");
	}
	memcpy(h.device_id, spec->device_id, ID_BYTES);
	h.bucket = tombstone ? 0 : page_bucket(payload_bytes);
	h.ct_bytes = tombstone ? 0 : (uint32_t)BIT(h.bucket);
	rc = page_check_form(&h, e);
	if (rc != 0) {
		return rc;
	}
	random_fill(random, h.salt, SEAL_SALT_BYTES);
	*ret_header = h;
	return 0;
}

/* Encrypts used | payload | zeros to `to`, straight from where the payload lies (it may lie where
 * it goes). */
static void page_encrypt(
	const struct sym_keys *keys, struct bytes payload, uint8_t *to, size_t ct_bytes)
{
	EVP_CIPHER_CTX *ctx = evp_ctr_begin(sym_enc_key(keys), sym_iv(keys).data);
	size_t end = PAGE_USED_BYTES + payload.len;

	store_u32(to, (uint32_t)payload.len);
	memset(to + end, 0, ct_bytes - end);
	evp_ctr_update(ctx, bytes_of(to, PAGE_USED_BYTES), to);
	evp_ctr_update(ctx, payload, to + PAGE_USED_BYTES);
	evp_ctr_update(ctx, bytes_of(to + end, ct_bytes - end), to + end);
	evp_ctr_end(ctx);
}

static int page_seal_payload(struct bytes vk, const struct page_spec *spec, struct bytes payload,
	struct random *random, struct buf *ret_page, struct err *e)
{
	struct page_header h = {.ct_bytes = 0};
	struct sym_keys keys;
	uint8_t *page;
	int rc = page_make_header(spec, payload.len, random, &h, e);

	if (rc != 0) {
		return rc;
	}
	page = buf_extend(ret_page, PAGE_HEADER_BYTES + h.ct_bytes + (size_t)PAGE_TAG_BYTES);
	page_put_header(&h, page);
	page_derive(vk, page, &keys);
	if (h.ct_bytes > 0) {
		page_encrypt(&keys, payload, page + PAGE_HEADER_BYTES, h.ct_bytes);
	}
	page_tag(&keys, bytes_of(page, PAGE_HEADER_BYTES + h.ct_bytes),
		page + PAGE_HEADER_BYTES + h.ct_bytes);
	sym_keys_clear(&keys);
	return 0;
}

static int page_check_items(struct bytes content, struct err *e)
{
	struct page_item item;

	while (content.len > 0) {
		if (page_item_next(&content, &item) != 0) {
			return err_set(e, KLUIS_EINVAL, "page: malformed items");
		}
	}
	return 0;
}

int page_seal_deflated(struct bytes vk, const struct page_spec *spec, struct bytes stream,
	struct random *random, struct buf *ret_page, struct err *e)
{
	if (spec->flags != PAGE_ZLIB) {
		return err_set(e, KLUIS_EINVAL, "page: a zlib stream needs its flag");
	}
	return page_seal_payload(vk, spec, stream, random, ret_page, e);
}

int page_seal(struct bytes vk, const struct page_spec *spec, struct bytes content,
	struct random *random, struct buf *ret_page, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf stream = BUF_INIT;
	int rc = spec->kind == PAGE_ITEMS ? page_check_items(content, e) : 0;

	if (rc != 0) {
		return rc;
	}
	if (spec->flags != PAGE_ZLIB) {
		return page_seal_payload(vk, spec, content, random, ret_page, e);
	}
	if (content.len > PAGE_INFLATED_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "page: %zu bytes before compression, at most %d",
			content.len, PAGE_INFLATED_BYTES_MAX);
	}
	rc = deflate_append(content, PAGE_CONTENT_BYTES_MAX, &stream, e);
	return rc != 0 ? rc : page_seal_payload(vk, spec, buf_bytes(&stream), random, ret_page, e);
}

static bool page_place_equal(const struct page_place *a, const struct page_place *b)
{
	return memcmp(a->vault_id, b->vault_id, ID_BYTES) == 0 && a->page_no == b->page_no &&
	       a->revision == b->revision && a->key_epoch == b->key_epoch;
}

/* Decrypts what is left of a page behind the payload; false when a byte of it is not zero. */
static bool page_padding_ok(EVP_CIPHER_CTX *ctx, struct bytes padding)
{
	uint8_t plain[4096], any = 0;

	while (padding.len > 0) {
		size_t step = padding.len < sizeof plain ? padding.len : sizeof plain;

		evp_ctr_update(ctx, bytes_of(padding.data, step), plain);
		for (size_t i = 0; i < step; i++) {
			any |= plain[i];
		}
		padding = bytes_of(padding.data + step, padding.len - step);
	}
	return any == 0;
}

/* Appends the payload: used bytes. */
static int page_decrypt(
	const struct sym_keys *keys, struct bytes ct, struct buf *ret_payload, struct err *e)
{
	EVP_CIPHER_CTX *ctx = evp_ctr_begin(sym_enc_key(keys), sym_iv(keys).data);
	uint8_t head[PAGE_USED_BYTES];
	uint32_t used;
	bool ok;

	assert(ct.len >= BIT(PAGE_BUCKET_MIN));
	evp_ctr_update(ctx, bytes_of(ct.data, sizeof head), head);
	used = load_u32(head);
	ok = used <= ct.len - PAGE_USED_BYTES;
	if (ok) {
		const uint8_t *payload = ct.data + PAGE_USED_BYTES;

		evp_ctr_update(ctx, bytes_of(payload, used), buf_extend(ret_payload, used));
		ok = page_padding_ok(
			ctx, bytes_of(payload + used, ct.len - PAGE_USED_BYTES - used));
	}
	evp_ctr_end(ctx);
	return ok ? 0 : err_set(e, KLUIS_EVERIFY, "page: wrong length or padding");
}

static int page_open_zlib(
	const struct sym_keys *keys, struct bytes ct, struct buf *ret_content, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf stream = BUF_INIT;
	int rc = page_decrypt(keys, ct, &stream, e);

	if (rc == 0) {
		rc = inflate_append(buf_bytes(&stream), PAGE_INFLATED_BYTES_MAX, ret_content, e);
	}
	return rc == 0 ? 0 : KLUIS_EVERIFY;
}

/* A page whose header and tag are right. */
static int page_open_content(const struct page_header *h, const struct sym_keys *keys,
	struct bytes page, struct buf *ret_content, struct err *e)
{
	struct bytes ct = bytes_of(page.data + PAGE_HEADER_BYTES, h->ct_bytes);
	size_t before = ret_content->len;
	int rc;

	if (h->flags == PAGE_TOMBSTONE) {
		return 0;
	}
	rc = h->flags == PAGE_ZLIB ? page_open_zlib(keys, ct, ret_content, e)
				   : page_decrypt(keys, ct, ret_content, e);
	if (rc == 0 && h->kind == PAGE_ITEMS) {
		rc = page_check_items(
			bytes_of(ret_content->data + before, ret_content->len - before), e);
	}
	if (rc != 0) {
		ret_content->len = before;
		return err_set(e, KLUIS_EVERIFY, "page: authentic, but malformed inside");
	}
	return 0;
}

/* The header of a page that is the one asked for. */
static int page_expect(struct bytes page, const struct page_place *place,
	struct page_header *ret_header, struct err *e)
{
	int rc = page_parse(page, ret_header, e);

	if (rc != 0) {
		return rc == KLUIS_EINVAL ? err_set(e, KLUIS_EVERIFY, "page: malformed") : rc;
	}
	return page_place_equal(&ret_header->place, place)
		       ? 0
		       : err_set(e, KLUIS_EVERIFY, "page: not the one asked for");
}

static int page_open_keyed(const struct page_header *h, const struct sym_keys *keys,
	struct bytes page, struct buf *ret_content, struct err *e)
{
	uint8_t tag[PAGE_TAG_BYTES];

	page_tag(keys, bytes_of(page.data, page.len - PAGE_TAG_BYTES), tag);
	/* Nothing is decrypted before this holds. */
	return secret_equal(bytes_of(tag, sizeof tag),
		       bytes_of(page.data + page.len - PAGE_TAG_BYTES, PAGE_TAG_BYTES))
		       ? page_open_content(h, keys, page, ret_content, e)
		       : err_set(e, KLUIS_EVERIFY, "page: tag does not verify");
}

int page_open(struct bytes vk, struct bytes page, const struct page_place *place,
	struct buf *ret_content, struct err *e)
{
	struct page_header h;
	struct sym_keys keys;
	int rc = page_expect(page, place, &h, e);

	if (rc != 0) {
		return rc;
	}
	page_derive(vk, page.data, &keys);
	rc = page_open_keyed(&h, &keys, page, ret_content, e);
	sym_keys_clear(&keys);
	return rc;
}

static size_t page_okm_bytes(const struct sym_keys *keys)
{
	return keys->enc_bytes + SYM_IV_BYTES + HMAC_BYTES;
}

int page_gift(struct bytes vk, struct bytes page, struct secret *ret_gift, struct err *e)
{
	struct page_header h;
	struct sym_keys keys;
	int rc = page_parse(page, &h, e);

	if (rc == 0 && h.flags == PAGE_TOMBSTONE) {
		rc = err_set(e, KLUIS_EINVAL, "page: a tombstone has no content to give");
	}
	if (rc != 0) {
		return rc;
	}
	page_derive(vk, page.data, &keys);
	secret_init(ret_gift, 16 + page_okm_bytes(&keys));
	store_u64(ret_gift->data, h.place.page_no);
	store_u64(ret_gift->data + 8, h.place.revision);
	memcpy(ret_gift->data + 16, keys.okm, page_okm_bytes(&keys));
	sym_keys_clear(&keys);
	return 0;
}

int page_open_gift(struct bytes gift, struct bytes page, const struct page_place *place,
	struct buf *ret_content, struct err *e)
{
	struct page_header h;
	struct sym_keys keys;
	int rc = page_expect(page, place, &h, e);

	if (rc != 0) {
		return rc;
	}
	keys.enc_bytes = h.sym == SYM_AES_128 ? 16 : 32;
	if (gift.len != 16 + page_okm_bytes(&keys) || load_u64(gift.data) != place->page_no ||
		load_u64(gift.data + 8) != place->revision) {
		return err_set(e, KLUIS_EVERIFY, "page: the key is another page's");
	}
	memcpy(keys.okm, gift.data + 16, page_okm_bytes(&keys));
	rc = page_open_keyed(&h, &keys, page, ret_content, e);
	sym_keys_clear(&keys);
	return rc;
}

void page_item_append(struct buf *content, const struct page_item *item)
{
	buf_append(content, item->item_id, ID_BYTES);
	buf_put_u64(content, item->item_rev);
	buf_put_u16(content, item->type);
	buf_put_lp32(content, item->body);
}

int page_item_next(struct bytes *content, struct page_item *ret_item)
{
	struct wire w = wire_of(*content);
	struct page_item item;

	wire_copy(&w, item.item_id, ID_BYTES);
	item.item_rev = wire_u64(&w);
	item.type = wire_u16(&w);
	item.body = wire_lp32(&w, content->len);
	if (!wire_ok(&w)) {
		return KLUIS_EINVAL;
	}
	assert(w.left.len + PAGE_ITEM_BYTES + item.body.len == content->len);
	*content = w.left;
	*ret_item = item;
	return 0;
}
