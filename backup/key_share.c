#include "backup/key_share.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"

enum { WORDS_LINE = 11 };

static const char label[] = "kluis-share ";

void key_share_clear(struct key_share *share)
{
	secret_clear(share, sizeof *share);
}

/* Rows of eleven words: 33 make three of them. */
static void share_put_words(const struct slip39_share *share, struct buf *to)
{
	_cleanup_(secret_buf_release) struct buf words = BUF_INIT;
	unsigned n = 0;

	buf_reserve(&words, SLIP39_TEXT_MAX);
	slip39_format(share, &words);
	for (size_t i = 0; i < words.len; i++) {
		bool blank = words.data[i] == ' ';

		n += blank;
		buf_put_u8(to, blank && n % WORDS_LINE == 0 ? '\n' : words.data[i]);
	}
	buf_put_u8(to, '\n');
}

void key_share_format(const struct key_share *share, struct buf *to)
{
	char kid[HEX_LEN(KID_BYTES) + 1];

	assert(share->labelled && share->share.groups == 1);
	hex_encode(bytes_of(share->kid, KID_BYTES), kid);
	buf_reserve(to, KEY_SHARE_BYTES_MAX); /* A move would leave a copy behind. */
	buf_printf(to, "%s1 %04x %s share %u of %u needs %u\n", label, share->alg, kid,
		share->share.member + 1, share->count, share->share.threshold);
	share_put_words(&share->share, to);
}

/* "kluis-share 1 ALG KID share N of COUNT needs T", held to what the words say. */
static int share_parse_label(struct bytes line, struct key_share *share, struct err *e)
{
	_cleanup_(x_freep) char *text = x_strndup((const char *)line.data, line.len);
	_cleanup_(x_freep) char *want = NULL;
	const char *of = strstr(text, " of ");
	uint8_t alg[2];
	uint64_t count;

	if (strncmp(text + strlen(label), "1 ", 2) != 0) {
		return err_set(e, KLUIS_EVERSION, "a share of another version");
	}
	if (line.len < strlen(label) + 7 + HEX_LEN(KID_BYTES) || of == NULL ||
		u64_parse(bytes_of(of + 4, strspn(of + 4, "0123456789")), SLIP39_SHARES_MAX,
			&count) != 0) {
		return err_set(e, KLUIS_ECORRUPT, "its first line is not that of a share");
	}
	text[strlen(label) + 6] = 0;
	if (hex_decode(text + strlen(label) + 2, alg, sizeof alg) != 0) {
		return err_set(e, KLUIS_ECORRUPT, "its first line names no algorithm");
	}
	text[strlen(label) + 6] = ' ';
	share->alg = (unsigned)alg[0] << 8 | alg[1];
	share->count = (unsigned)count;
	want = x_strndup(text + strlen(label) + 7, HEX_LEN(KID_BYTES));
	if (hex_decode(want, share->kid, KID_BYTES) != 0) {
		return err_set(e, KLUIS_ECORRUPT, "its first line names no key");
	}
	share->labelled = true;
	return 0;
}

/* The line that we would write for these words must be the one there. */
static int share_check_label(const struct key_share *share, struct bytes line, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf again = BUF_INIT;

	if (share->alg != KEY_KEM_P256 && share->alg != KEY_KEM_X25519) {
		return err_set(e, KLUIS_ECORRUPT, "unknown algorithm %04x", share->alg);
	}
	if (share->share.groups != 1) {
		return err_set(e, KLUIS_ECORRUPT, "its first line is not that of its words");
	}
	key_share_format(share, &again);
	if (again.len <= line.len || again.data[line.len] != '\n' ||
		memcmp(again.data, line.data, line.len) != 0) {
		return err_set(e, KLUIS_ECORRUPT,
			"its first line is not that of its words: both must be of one share");
	}
	return 0;
}

int key_share_parse(struct bytes text, struct key_share *ret_share, struct err *e)
{
	struct key_share share = {.labelled = false};
	struct bytes line = {text.data, 0};
	int rc = 0;

	if (text.len > KEY_SHARE_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more than %d bytes", KEY_SHARE_BYTES_MAX);
	}
	if (text.len >= strlen(label) && memcmp(text.data, label, strlen(label)) == 0) {
		while (line.len < text.len && text.data[line.len] != '\n') {
			line.len++;
		}
		rc = share_parse_label(line, &share, e);
	}
	if (rc == 0) {
		rc = slip39_parse(
			bytes_of(text.data + line.len, text.len - line.len), &share.share, e);
	}
	if (rc == 0 && share.labelled) {
		rc = share_check_label(&share, line, e);
	}
	if (rc == 0) {
		*ret_share = share;
	}
	key_share_clear(&share);
	return rc;
}

int key_share_split(const struct key *key, unsigned needed, unsigned count, struct random *random,
	struct key_share ret_shares[SLIP39_SHARES_MAX], struct err *e)
{
	_cleanup_(secret_release) struct secret encoded = SECRET_INIT;
	struct slip39_share shares[SLIP39_SHARES_MAX];
	unsigned alg = key_pub_alg(key_public(key));
	int rc;

	assert(needed >= 2 && needed <= count && count <= SLIP39_SHARES_MAX);
	assert(alg == KEY_KEM_P256 || alg == KEY_KEM_X25519);
	key_encode(key, &encoded);
	/* No passphrase: one that is forgotten or mistyped would be a loss nobody notices. */
	rc = slip39_split(
		secret_bytes(&encoded), bytes_of(NULL, 0), 0, needed, count, random, shares, e);
	for (unsigned i = 0; rc == 0 && i < count; i++) {
		ret_shares[i] = (struct key_share){
			.labelled = true, .alg = alg, .count = count, .share = shares[i]};
		memcpy(ret_shares[i].kid, key_pub_kid(key_public(key)), KID_BYTES);
	}
	secret_clear(shares, sizeof shares);
	return rc;
}

/* Labels first: they name the odd one out better than the words can. */
static int combine_check_labels(const struct key_share *shares, size_t n,
	const struct key_share **ret_label, size_t *ret_bad, struct err *e)
{
	*ret_label = NULL;
	for (size_t i = 0; i < n; i++) {
		if (!shares[i].labelled) {
			continue;
		}
		if (*ret_label != NULL &&
			((*ret_label)->alg != shares[i].alg ||
				memcmp((*ret_label)->kid, shares[i].kid, KID_BYTES) != 0)) {
			*ret_bad = i;
			return err_set(e, KLUIS_ECONFLICT, "of another key than those before it");
		}
		*ret_label = *ret_label == NULL ? &shares[i] : *ret_label;
	}
	return 0;
}

static int combine_check_key(const struct key *key, const struct key_share *labelled,
	const struct key_pub *expected, struct err *e)
{
	const uint8_t *kid = key_pub_kid(key_public(key));

	if (labelled != NULL && memcmp(labelled->kid, kid, KID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY,
			"the shares do not make the key that they are said to be of");
	}
	if (expected != NULL && !key_pub_equal(key_public(key), expected)) {
		return err_set(e, KLUIS_EVERIFY, "the shares make another key than the public one");
	}
	return 0;
}

int key_share_combine(const struct key_share *given, size_t n, const struct key_pub *expected,
	struct key **ret_key, size_t *ret_bad, struct err *e)
{
	_cleanup_(secret_release) struct secret encoded = SECRET_INIT;
	struct slip39_share shares[SLIP39_GIVEN_MAX];
	const struct key_share *labelled;
	struct key *key = NULL;
	unsigned alg;
	int rc;

	assert(n >= 1 && n <= SLIP39_GIVEN_MAX);
	*ret_bad = n;
	for (size_t i = 0; i < n; i++) {
		shares[i] = given[i].share;
	}
	rc = combine_check_labels(given, n, &labelled, ret_bad, e);
	rc = rc != 0 ? rc : slip39_combine(shares, n, bytes_of(NULL, 0), &encoded, ret_bad, e);
	secret_clear(shares, n * sizeof *shares);
	if (rc != 0) {
		return rc;
	}
	alg = labelled != NULL	 ? labelled->alg
	      : expected != NULL ? key_pub_alg(expected)
				 : KEY_KEM_P256;
	if (key_decode(alg, secret_bytes(&encoded), &key, e) != 0) {
		return err_set(e, KLUIS_EVERIFY, "what the shares make is no private key");
	}
	rc = combine_check_key(key, labelled, expected, e);
	if (rc != 0) {
		key_free(key);
		return rc;
	}
	*ret_key = key;
	return 0;
}
