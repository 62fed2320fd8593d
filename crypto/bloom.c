#include "crypto/bloom.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "crypto/common_passwords.h"
#include "crypto/nfc.h"

enum { BLOOM_VERSION = 1 };

static pthread_once_t bloom_once = PTHREAD_ONCE_INIT;
static struct bloom bloom_embedded;

int bloom_parse(struct bytes file, struct bloom *ret_bloom, struct err *e)
{
	struct wire w = wire_of(file);
	struct bloom bloom;
	unsigned version, hashes, bits;

	if (!wire_match(&w, "KBF1")) {
		return err_set(e, KLUIS_EINVAL, "no filter of common passwords");
	}
	version = wire_u8(&w);
	hashes = wire_u8(&w);
	wire_zeros(&w, 2);
	bits = wire_u32(&w);
	bloom.words = wire_u32(&w);
	wire_copy(&w, bloom.list_hash, sizeof bloom.list_hash);
	bloom.bits = wire_bytes(&w, BLOOM_BITS / 8).data;
	if (wire_ok(&w) && version != BLOOM_VERSION) {
		return err_set(
			e, KLUIS_EVERSION, "filter of common passwords: version %u", version);
	}
	if (!wire_end(&w) || hashes != BLOOM_HASHES || bits != BLOOM_BITS) {
		return err_set(e, KLUIS_EINVAL, "malformed filter of common passwords");
	}
	*ret_bloom = bloom;
	return 0;
}

static void bloom_load(void)
{
	int rc = bloom_parse(common_passwords(), &bloom_embedded, NULL);

	assert(rc == 0); /* The build embeds what the tests have checked. */
	(void)rc;
}

const struct bloom *bloom_common(void)
{
	(void)pthread_once(&bloom_once, bloom_load); /* Fails for an invalid argument alone. */
	assert(bloom_embedded.bits != NULL);
	return &bloom_embedded;
}

static void bloom_normalize(struct bytes text, struct secret *ret_normal)
{
	if (text.len <= NFC_BYTES_MAX && utf8_valid(text)) {
		nfc_normalize(text, ret_normal);
	} else {
		secret_set(ret_normal, text);
	}
	for (size_t i = 0; i < ret_normal->len; i++) {
		uint8_t c = ret_normal->data[i];

		ret_normal->data[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
	}
}

void bloom_indexes(struct bytes text, uint32_t ret_indexes[BLOOM_HASHES])
{
	_cleanup_(secret_release) struct secret normal = SECRET_INIT;
	static const uint8_t zero[1];
	uint8_t hash[HASH_BYTES];
	uint32_t a, b;

	bloom_normalize(text, &normal);
	hash_sha256_parts((const struct bytes[]){bytes_str("kluis/v1/bloom"), bytes_of(zero, 1),
				  secret_bytes(&normal)},
		3, hash);
	a = load_u32(hash);
	b = load_u32(hash + 4) | 1;
	for (uint32_t i = 0; i < BLOOM_HASHES; i++) {
		/* m divides 2^32: that a + i b wraps does not matter. */
		ret_indexes[i] = (a + i * b) % BLOOM_BITS;
	}
	secret_clear(hash, sizeof hash);
}

bool bloom_has(const struct bloom *bloom, struct bytes text)
{
	uint32_t indexes[BLOOM_HASHES];
	bool all = true;

	bloom_indexes(text, indexes);
	for (size_t i = 0; i < BLOOM_HASHES; i++) {
		all = all && (bloom->bits[indexes[i] >> 3] >> (indexes[i] & 7) & 1) != 0;
	}
	secret_clear(indexes, sizeof indexes);
	return all;
}

static bool bloom_letter(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c >= 0x80;
}

static struct bytes bloom_core(struct bytes text)
{
	while (text.len > 0 && !bloom_letter(text.data[0])) {
		text = bytes_of(text.data + 1, text.len - 1);
	}
	while (text.len > 0 && !bloom_letter(text.data[text.len - 1])) {
		text.len--;
	}
	return text;
}

static uint8_t bloom_look_alike(uint8_t c)
{
	static const char digits[] = "013457@$", letters[] = "oleastas";
	const char *at = c == 0 ? NULL : strchr(digits, c);

	return at == NULL ? c : (uint8_t)letters[at - digits];
}

void bloom_questions(struct bytes prepared, struct secret ret_questions[BLOOM_QUESTIONS])
{
	struct bytes core = bloom_core(prepared);

	secret_set(&ret_questions[0], prepared);
	secret_set(&ret_questions[1], core);
	secret_set(&ret_questions[2], core);
	for (size_t i = 0; i < core.len; i++) {
		ret_questions[2].data[i] = bloom_look_alike(core.data[i]);
	}
}

bool bloom_refuses(const struct bloom *bloom, struct bytes prepared)
{
	struct secret questions[BLOOM_QUESTIONS] = {SECRET_INIT, SECRET_INIT, SECRET_INIT};
	bool hit = false;

	bloom_questions(prepared, questions);
	for (size_t i = 0; i < BLOOM_QUESTIONS; i++) {
		hit = hit ||
		      (questions[i].len > 0 && bloom_has(bloom, secret_bytes(&questions[i])));
		secret_release(&questions[i]);
	}
	return hit;
}
