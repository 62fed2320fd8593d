#include "crypto/slip39.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/hash.h"
#include "crypto/kdf.h"
#include "crypto/slip39_words.h"

enum {
	WORD_BITS = 10,
	HEAD_WORDS = 4, /* id 15, extendable 1, exponent 4, five fields of 4 bits. */
	CHECK_WORDS = 3,
	WORDS_MIN = HEAD_WORDS + 13 + CHECK_WORDS,
	WORDS_MAX = HEAD_WORDS + 26 + CHECK_WORDS,
	ID_BITS_MASK = 0x7fff,
	ROUNDS = 4,
	BASE_ROUNDS = 2500, /* 10,000 in four rounds. */
	SECRET_X = 255,
	DIGEST_X = 254,
	DIGEST_BYTES = 4,
};

static_assert(SLIP39_TEXT_MAX == WORDS_MAX * SLIP39_WORD_BYTES, "the longest share");

void slip39_share_clear(struct slip39_share *share)
{
	secret_clear(share, sizeof *share);
}

/* --- GF(256) of AES ----------------------------------------------------------------------------
 */

/* Without a table or a branch: both would tell of a and b. */
static uint8_t gf_mul(uint8_t a, uint8_t b)
{
	unsigned sum = 0, x = a;

	for (unsigned i = 0; i < 8; i++) {
		sum ^= x & (0U - ((unsigned)(b >> i) & 1U));
		x = (x << 1) ^ (0x11bU & (0U - ((x >> 7) & 1U)));
	}
	return (uint8_t)sum;
}

/* a^254: all others but 0 are a's inverse to the power 255. */
static uint8_t gf_inverse(uint8_t a)
{
	uint8_t power = a, result = 1;

	for (unsigned bit = 1; bit < 8; bit++) {
		power = gf_mul(power, power);
		result = gf_mul(result, power);
	}
	return result;
}

/* A point of the polynomials, one for each byte. */
struct point {
	uint8_t x;
	uint8_t y[SLIP39_SECRET_MAX];
};

/* The value at x of the polynomials through n points (Lagrange). The x are no secret. */
static void interpolate(
	const struct point *points, size_t n, size_t len, uint8_t x, uint8_t ret[SLIP39_SECRET_MAX])
{
	uint8_t sum[SLIP39_SECRET_MAX] = {0};

	for (size_t i = 0; i < n; i++) {
		uint8_t up = 1, down = 1;

		for (size_t k = 0; k < n; k++) {
			if (k != i) {
				up = gf_mul(up, x ^ points[k].x);
				down = gf_mul(down, points[i].x ^ points[k].x);
			}
		}
		assert(down != 0); /* No x stands there twice. */
		up = gf_mul(up, gf_inverse(down));
		for (size_t at = 0; at < len; at++) {
			sum[at] ^= gf_mul(up, points[i].y[at]);
		}
	}
	memcpy(ret, sum, sizeof sum);
	secret_clear(sum, sizeof sum);
}

static void digest_of(
	const uint8_t *secret, const uint8_t *digest, size_t len, uint8_t ret[DIGEST_BYTES])
{
	const struct bytes message = bytes_of(secret, len);
	uint8_t hmac[HMAC_BYTES];

	hash_hmac(bytes_of(digest + DIGEST_BYTES, len - DIGEST_BYTES), &message, 1, hmac);
	memcpy(ret, hmac, DIGEST_BYTES);
	secret_clear(hmac, sizeof hmac);
}

/* count points of polynomials of degree threshold - 1 that pass through the secret and its digest.
 */
static void points_split(const uint8_t *secret, size_t len, unsigned threshold, unsigned count,
	struct random *random, struct point ret[SLIP39_SHARES_MAX])
{
	struct point base[SLIP39_SHARES_MAX] = {{0}};
	uint8_t *digest = base[threshold - 1].y;

	assert(threshold > 1 && threshold <= count && count <= SLIP39_SHARES_MAX);
	for (unsigned i = 0; i + 2 < threshold; i++) {
		base[i].x = (uint8_t)i;
		random_fill(random, base[i].y, len);
	}
	base[threshold - 2].x = SECRET_X;
	memcpy(base[threshold - 2].y, secret, len);
	base[threshold - 1].x = DIGEST_X;
	random_fill(random, digest + DIGEST_BYTES, len - DIGEST_BYTES);
	digest_of(secret, digest, len, digest);
	for (unsigned i = 0; i < count; i++) {
		ret[i].x = (uint8_t)i;
		interpolate(base, threshold, len, (uint8_t)i, ret[i].y);
	}
	secret_clear(base, sizeof base);
}

/* From n >= threshold points; *ret_bad is the first of those behind the threshold that does not
 * fit, or n. False: they are not of one split. */
static bool points_join(const struct point *points, size_t n, unsigned threshold, size_t len,
	uint8_t ret[SLIP39_SECRET_MAX], size_t *ret_bad)
{
	uint8_t digest[SLIP39_SECRET_MAX] = {0}, told[SLIP39_SECRET_MAX], want[DIGEST_BYTES];
	bool good = true;

	*ret_bad = n;
	interpolate(points, threshold, len, SECRET_X, ret);
	if (threshold > 1) {
		interpolate(points, threshold, len, DIGEST_X, digest);
		digest_of(ret, digest, len, want);
		good = secret_equal(bytes_of(want, sizeof want), bytes_of(digest, sizeof want));
	}
	for (size_t i = threshold; good && i < n; i++) {
		interpolate(points, threshold, len, points[i].x, told);
		good = secret_equal(bytes_of(told, len), bytes_of(points[i].y, len));
		*ret_bad = good ? n : i;
	}
	secret_clear(digest, sizeof digest);
	secret_clear(told, sizeof told);
	return good;
}

/* --- encryption --------------------------------------------------------------------------------
 */

/* The Feistel cipher of the standard, in place: four rounds upwards encrypt, downwards decrypt. */
static void feistel(
	const struct slip39_share *share, struct bytes passphrase, bool decrypt, uint8_t *data)
{
	size_t half = share->len / 2;
	uint8_t left[SLIP39_SECRET_MAX / 2], right[SLIP39_SECRET_MAX / 2];
	uint8_t out[SLIP39_SECRET_MAX / 2];
	_cleanup_(secret_buf_release) struct buf password = BUF_INIT, salt = BUF_INIT;

	memcpy(left, data, half);
	memcpy(right, data + half, half);
	buf_reserve(&password, passphrase.len + 1);
	buf_reserve(&salt, 8 + sizeof right);
	for (unsigned i = 0; i < ROUNDS; i++) {
		buf_clear(&password);
		buf_put_u8(&password, decrypt ? ROUNDS - 1 - i : i);
		buf_append_bytes(&password, passphrase);
		buf_clear(&salt);
		if (!share->extendable) {
			buf_put_str(&salt, "shamir");
			buf_put_u16(&salt, share->id);
		}
		buf_append(&salt, right, half);
		kdf_pbkdf2(buf_bytes(&password), buf_bytes(&salt),
			(uint32_t)BASE_ROUNDS << share->exponent, out, half);
		for (size_t at = 0; at < half; at++) {
			out[at] ^= left[at];
		}
		memcpy(left, right, half);
		memcpy(right, out, half);
	}
	memcpy(data, right, half);
	memcpy(data + half, left, half);
	secret_clear(left, sizeof left);
	secret_clear(right, sizeof right);
	secret_clear(out, sizeof out);
}

int slip39_split(struct bytes secret, struct bytes passphrase, unsigned exponent,
	unsigned threshold, unsigned count, struct random *random,
	struct slip39_share ret_shares[SLIP39_SHARES_MAX], struct err *e)
{
	struct slip39_share share = {.groups = 1, .group_threshold = 1, .threshold = threshold};
	struct point points[SLIP39_SHARES_MAX];
	uint8_t id[2];

	assert(threshold > 1 && threshold <= count && count <= SLIP39_SHARES_MAX);
	assert(exponent <= SLIP39_EXPONENT_MAX);
	if (secret.len < SLIP39_SECRET_MIN || secret.len > SLIP39_SECRET_MAX ||
		secret.len % 2 != 0) {
		return err_set(
			e, KLUIS_EINVAL, "a secret of %zu bytes cannot be split", secret.len);
	}
	random_fill(random, id, sizeof id);
	share.id = load_u16(id) & ID_BITS_MASK;
	share.exponent = exponent;
	share.len = secret.len;
	memcpy(share.value, secret.data, secret.len);
	feistel(&share, passphrase, false, share.value);
	points_split(share.value, share.len, threshold, count, random, points);
	for (unsigned i = 0; i < count; i++) {
		share.member = i;
		memcpy(share.value, points[i].y, share.len);
		ret_shares[i] = share;
	}
	slip39_share_clear(&share);
	secret_clear(points, sizeof points);
	return 0;
}

/* --- combining ---------------------------------------------------------------------------------
 */

static int share_fits(
	const struct slip39_share *share, const struct slip39_share *first, struct err *e)
{
	if (share->id != first->id) {
		return err_set(e, KLUIS_ECONFLICT, "of another split (identifier %u, not %u)",
			share->id, first->id);
	}
	if (share->extendable != first->extendable || share->exponent != first->exponent ||
		share->groups != first->groups ||
		share->group_threshold != first->group_threshold || share->len != first->len) {
		return err_set(e, KLUIS_ECONFLICT, "of another split, of the same identifier");
	}
	if (share->group == first->group && share->threshold != first->threshold) {
		return err_set(e, KLUIS_ECONFLICT, "says that %u are needed, not %u",
			share->threshold, first->threshold);
	}
	return 0;
}

/* Each fits all those before it. */
static int shares_check(const struct slip39_share *shares, size_t n, size_t *ret_bad, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < i; k++) {
			int rc = share_fits(&shares[i], &shares[k], e);

			if (rc == 0 && shares[i].group == shares[k].group &&
				shares[i].member == shares[k].member) {
				rc = err_set(
					e, KLUIS_ECONFLICT, "the same one as share %zu", k + 1);
			}
			if (rc != 0) {
				*ret_bad = i;
				return rc;
			}
		}
	}
	*ret_bad = n;
	return 0;
}

/* The shares of one group as points; *ret_place says which shares they are. */
static size_t group_points(const struct slip39_share *shares, size_t n, unsigned group,
	struct point ret[SLIP39_SHARES_MAX], size_t ret_place[SLIP39_SHARES_MAX],
	unsigned *ret_threshold)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++) {
		if (shares[i].group == group) {
			assert(found < SLIP39_SHARES_MAX); /* Members differ, and have 4 bits. */
			ret[found].x = (uint8_t)shares[i].member;
			memcpy(ret[found].y, shares[i].value, sizeof ret[found].y);
			ret_place[found++] = i;
			*ret_threshold = shares[i].threshold;
		}
	}
	return found;
}

static int group_join(const struct slip39_share *shares, size_t n, unsigned group,
	struct point *ret_point, size_t *ret_bad, struct err *e)
{
	struct point points[SLIP39_SHARES_MAX] = {{0}};
	size_t place[SLIP39_SHARES_MAX], bad;
	unsigned threshold = 0;
	size_t found = group_points(shares, n, group, points, place, &threshold);
	int rc = 0;

	if (found < threshold) {
		rc = err_set(e, KLUIS_EINVAL, "%zu of these shares, %u are needed: %zu more", found,
			threshold, threshold - found);
	} else if (!points_join(points, found, threshold, shares[0].len, ret_point->y, &bad)) {
		*ret_bad = bad < found ? place[bad] : n;
		rc = err_set(e, KLUIS_ECONFLICT, "%s",
			bad < found ? "does not lie with the others"
				    : "the shares do not lie together: one of them at least is of "
				      "another split");
	}
	ret_point->x = (uint8_t)group;
	secret_clear(points, sizeof points);
	return rc;
}

int slip39_combine(const struct slip39_share *shares, size_t n, struct bytes passphrase,
	struct secret *ret_secret, size_t *ret_bad, struct err *e)
{
	struct point groups[SLIP39_SHARES_MAX] = {{0}};
	struct slip39_share whole;
	unsigned seen = 0;
	size_t found = 0, bad;
	int rc;

	assert(n >= 1 && n <= SLIP39_GIVEN_MAX);
	rc = shares_check(shares, n, ret_bad, e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if ((seen & 1U << shares[i].group) == 0) {
			seen |= 1U << shares[i].group;
			rc = group_join(shares, n, shares[i].group, &groups[found++], ret_bad, e);
		}
	}
	whole = shares[0];
	if (rc == 0 && found < whole.group_threshold) {
		rc = err_set(e, KLUIS_EINVAL, "shares of %zu groups, %u are needed", found,
			whole.group_threshold);
	}
	if (rc == 0 &&
		!points_join(groups, found, whole.group_threshold, whole.len, whole.value, &bad)) {
		rc = err_set(e, KLUIS_ECONFLICT, "the groups' shares do not lie together");
	}
	if (rc == 0) {
		feistel(&whole, passphrase, true, whole.value);
		secret_set(ret_secret, bytes_of(whole.value, whole.len));
	}
	slip39_share_clear(&whole);
	secret_clear(groups, sizeof groups);
	return rc;
}

/* --- words -------------------------------------------------------------------------------------
 */

/* RS1024: a Reed-Solomon code over GF(1024), three words. Without a branch on the words. */
static uint32_t rs1024(bool extendable, const uint16_t *words, size_t n)
{
	static const uint32_t generator[WORD_BITS] = {0xe0e040, 0x1c1c080, 0x3838100, 0x7070200,
		0xe0e0009, 0x1c0c2412, 0x38086c24, 0x3090fc48, 0x21b1f890, 0x3f3f120};
	const char *custom = extendable ? "shamir_extendable" : "shamir";
	size_t n_custom = strlen(custom);
	uint32_t sum = 1;

	for (size_t i = 0; i < n_custom + n; i++) {
		uint32_t top = sum >> 20;

		sum = (sum & 0xfffff) << WORD_BITS;
		sum ^= i < n_custom ? (uint32_t)(unsigned char)custom[i] : words[i - n_custom];
		for (unsigned bit = 0; bit < WORD_BITS; bit++) {
			sum ^= generator[bit] & (0U - ((top >> bit) & 1U));
		}
	}
	return sum;
}

void slip39_format(const struct slip39_share *share, struct buf *to)
{
	uint16_t words[WORDS_MAX];
	size_t n = HEAD_WORDS, at = 0;
	uint32_t head =
		(uint32_t)share->id << 5 | (uint32_t)share->extendable << 4 | share->exponent;
	uint32_t fields = share->group << 16 | (share->group_threshold - 1) << 12 |
			  (share->groups - 1) << 8 | share->member << 4 | (share->threshold - 1);
	uint32_t waiting = 0, check;
	/* Zero bits in front, so that the last word ends with the last byte. */
	unsigned bits = (unsigned)(WORD_BITS - share->len * 8 % WORD_BITS) % WORD_BITS;

	assert(share->len >= SLIP39_SECRET_MIN && share->len <= SLIP39_SECRET_MAX);
	words[0] = (uint16_t)(head >> 10);
	words[1] = head & 0x3ff;
	words[2] = (uint16_t)(fields >> 10);
	words[3] = fields & 0x3ff;
	while (at < share->len) {
		waiting = waiting << 8 | share->value[at++];
		bits += 8;
		while (bits >= WORD_BITS) {
			bits -= WORD_BITS;
			words[n++] = waiting >> bits & 0x3ff;
		}
	}
	assert(bits == 0 && n + CHECK_WORDS <= WORDS_MAX);
	memset(words + n, 0, CHECK_WORDS * sizeof *words);
	check = rs1024(share->extendable, words, n + CHECK_WORDS) ^ 1;
	for (unsigned i = 0; i < CHECK_WORDS; i++) {
		words[n++] = check >> (CHECK_WORDS - 1 - i) * WORD_BITS & 0x3ff;
	}
	buf_reserve(to, SLIP39_TEXT_MAX); /* A move would leave a copy behind. */
	for (size_t i = 0; i < n; i++) {
		buf_put_str(to, i == 0 ? "" : " ");
		buf_put_str(to, slip39_words[words[i]]);
	}
	secret_clear(words, sizeof words);
}

/* The next word in lower case; 0 at the end, its length else, SLIP39_WORD_BYTES when too long. */
static size_t word_next(struct bytes text, size_t *at, char ret[SLIP39_WORD_BYTES])
{
	size_t n = 0;

	while (*at < text.len && isspace(text.data[*at])) {
		(*at)++;
	}
	while (*at < text.len && !isspace(text.data[*at])) {
		if (n < SLIP39_WORD_BYTES - 1) {
			ret[n] = (char)tolower(text.data[*at]);
		}
		n = n < SLIP39_WORD_BYTES ? n + 1 : n;
		(*at)++;
	}
	ret[n < SLIP39_WORD_BYTES ? n : SLIP39_WORD_BYTES - 1] = 0;
	return n;
}

/* Its place in the list, or SLIP39_WORDS. */
static unsigned word_find(const char *word)
{
	unsigned low = 0, high = SLIP39_WORDS;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		int order = strcmp(word, slip39_words[middle]);

		if (order == 0) {
			return middle;
		}
		if (order < 0) {
			high = middle;
		} else {
			low = middle + 1;
		}
	}
	return SLIP39_WORDS;
}

static int words_parse(
	struct bytes text, uint16_t ret_words[WORDS_MAX], size_t *ret_n, struct err *e)
{
	char word[SLIP39_WORD_BYTES];
	size_t at = 0, n = 0, len;

	while ((len = word_next(text, &at, word)) > 0) {
		unsigned number = len < SLIP39_WORD_BYTES ? word_find(word) : SLIP39_WORDS;

		if (number == SLIP39_WORDS) {
			secret_clear(word, sizeof word);
			return err_set(e, KLUIS_ECORRUPT, "word %zu is none of the list's", n + 1);
		}
		if (n == WORDS_MAX) {
			return err_set(e, KLUIS_ETOOLARGE, "more than %d words", WORDS_MAX);
		}
		ret_words[n++] = (uint16_t)number;
	}
	secret_clear(word, sizeof word);
	*ret_n = n;
	return 0;
}

/* The share's value; its zero bits in front are looked at. */
static int value_parse(const uint16_t *words, size_t n, struct slip39_share *share, struct err *e)
{
	unsigned spare = (unsigned)(n * WORD_BITS % 16), bits = 0;
	uint32_t waiting = 0;

	if (spare > 8) {
		return err_set(
			e, KLUIS_ECORRUPT, "no share has %zu words", n + HEAD_WORDS + CHECK_WORDS);
	}
	if (words[0] >> (WORD_BITS - spare) != 0) {
		return err_set(e, KLUIS_ECORRUPT, "not padded by zeros");
	}
	bits = 0;
	for (size_t i = 0; i < n; i++) {
		waiting = waiting << WORD_BITS | words[i];
		bits += i == 0 ? WORD_BITS - spare : WORD_BITS;
		while (bits >= 8) {
			bits -= 8;
			share->value[share->len++] = (uint8_t)(waiting >> bits);
		}
	}
	assert(bits == 0 && share->len <= SLIP39_SECRET_MAX);
	return 0;
}

static int share_parse(
	const uint16_t *words, size_t n, struct slip39_share *ret_share, struct err *e)
{
	uint32_t head = (uint32_t)words[0] << WORD_BITS | words[1];
	uint32_t fields = (uint32_t)words[2] << WORD_BITS | words[3];
	struct slip39_share share = {.id = head >> 5,
		.extendable = (head >> 4 & 1) != 0,
		.exponent = head & 15,
		.group = fields >> 16,
		.group_threshold = (fields >> 12 & 15) + 1,
		.groups = (fields >> 8 & 15) + 1,
		.member = fields >> 4 & 15,
		.threshold = (fields & 15) + 1};
	int rc;

	if (rs1024(share.extendable, words, n) != 1) {
		return err_set(e, KLUIS_ECORRUPT,
			"its words do not fit each other: one at least is wrong");
	}
	if (share.group_threshold > share.groups || share.group >= share.groups) {
		return err_set(e, KLUIS_ECORRUPT, "more groups are needed than there are");
	}
	if (share.exponent > SLIP39_EXPONENT_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "iteration exponent %u", share.exponent);
	}
	rc = value_parse(words + HEAD_WORDS, n - HEAD_WORDS - CHECK_WORDS, &share, e);
	if (rc == 0) {
		*ret_share = share;
	}
	slip39_share_clear(&share);
	return rc;
}

int slip39_parse(struct bytes text, struct slip39_share *ret_share, struct err *e)
{
	uint16_t words[WORDS_MAX] = {0};
	size_t n = 0;
	int rc = words_parse(text, words, &n, e);

	if (rc == 0 && n < WORDS_MIN) {
		rc = err_set(e, KLUIS_ECORRUPT, "%zu words, a share has %d at least", n, WORDS_MIN);
	}
	if (rc == 0) {
		rc = share_parse(words, n, ret_share, e);
	}
	secret_clear(words, sizeof words);
	return rc;
}
