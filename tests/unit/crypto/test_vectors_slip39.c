/* SLIP-0039: the standard's own vectors, shares of ours in every choice, and what no share is. */
#include "tests/lib/test.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "crypto/slip39.h"
#include "crypto/slip39_words.h"

#define VECTORS KLUIS_SOURCE_DIR "/tests/vectors/slip39.json"

/* What one vector's shares give. */
static int vector_run(const json_t *vector, struct bytes passphrase, struct secret *ret_secret)
{
	struct slip39_share shares[SLIP39_SHARES_MAX];
	const json_t *text;
	size_t i, n = 0, bad;
	struct err e = {0};

	json_array_foreach(json_object_get(vector, "shares"), i, text)
	{
		int rc = slip39_parse(bytes_str(json_string_value(text)), &shares[n++], &e);

		if (rc != 0) {
			assert_true(rc == KLUIS_ECORRUPT && e.text[0] != 0);
			return rc;
		}
	}
	return slip39_combine(shares, n, passphrase, ret_secret, &bad, &e);
}

static void test_vectors(void **state)
{
	json_t *file = json_load_file(VECTORS, 0, NULL);
	const char *passphrase = json_string_value(json_object_get(file, "passphrase"));
	const json_t *vector;
	size_t i, good = 0, refused = 0;

	(void)state;
	assert_non_null(file);
	json_array_foreach(json_object_get(file, "vectors"), i, vector)
	{
		_cleanup_(secret_release) struct secret secret = SECRET_INIT;
		const char *want = json_string_value(json_object_get(vector, "secret"));
		int rc = vector_run(vector, bytes_str(passphrase), &secret);
		_cleanup_(buf_release) struct buf hex = BUF_INIT;

		if (rc == 0) {
			hex_append(&hex, secret_bytes(&secret));
		}
		if (strcmp(buf_str(&hex), want) != 0) {
			print_message("'%s': %d, '%s'\n",
				json_string_value(json_object_get(vector, "name")), rc,
				buf_str(&hex));
		}
		assert_string_equal(buf_str(&hex), want);
		good += rc == 0;
		refused += rc != 0;
	}
	assert_true(good == 13 && refused == 19);
	json_decref(file);
}

static void test_words(void **state)
{
	(void)state;
	for (unsigned i = 1; i < SLIP39_WORDS; i++) {
		assert_true(strcmp(slip39_words[i - 1], slip39_words[i]) < 0);
		assert_true(strncmp(slip39_words[i - 1], slip39_words[i], 4) != 0);
	}
	assert_string_equal(slip39_words[0], "academic");
	assert_string_equal(slip39_words[1023], "zero");
}

static const uint8_t plain[32] = "thirty-two bytes of a secret....";

/* Every choice of `threshold` shares out of count gives the secret. */
static void try_all(unsigned threshold, unsigned count, size_t len)
{
	struct slip39_share shares[SLIP39_SHARES_MAX], chosen[SLIP39_SHARES_MAX];
	struct random_seeded random;

	random_seeded_init(&random, threshold * 100 + count);
	assert_int_equal(slip39_split(bytes_of(plain, len), bytes_str("pass"), 0, threshold, count,
				 &random.random, shares, NULL),
		0);
	for (unsigned mask = 0; mask < 1U << count; mask++) {
		_cleanup_(secret_release) struct secret secret = SECRET_INIT;
		size_t n = 0, bad = 0;
		struct err e = {0};
		int rc;

		for (unsigned i = 0; i < count; i++) {
			if ((mask >> i & 1) != 0) {
				_cleanup_(buf_release) struct buf text = BUF_INIT;

				slip39_format(&shares[i], &text);
				assert_int_equal(
					slip39_parse(buf_bytes(&text), &chosen[n++], NULL), 0);
			}
		}
		if (n == 0 || n > threshold + 1 || n + 1 < threshold) {
			continue;
		}
		rc = slip39_combine(chosen, n, bytes_str("pass"), &secret, &bad, &e);
		assert_int_equal(rc, n >= threshold ? 0 : KLUIS_EINVAL);
		if (rc == 0) {
			assert_true(bytes_equal(secret_bytes(&secret), bytes_of(plain, len)));
		} else {
			assert_non_null(strstr(e.text, "1 more"));
			assert_int_equal(bad, n);
		}
	}
}

static void test_choices(void **state)
{
	(void)state;
	try_all(2, 2, 16);
	try_all(2, 3, 32);
	try_all(3, 5, 32);
	try_all(4, 4, 20);
}

/* As many as there can be, all needed. */
static void test_sixteen(void **state)
{
	struct slip39_share shares[SLIP39_SHARES_MAX];
	_cleanup_(secret_release) struct secret secret = SECRET_INIT;
	size_t bad;

	(void)state;
	assert_int_equal(slip39_split(bytes_of(plain, 32), bytes_of(NULL, 0), 1, 16, 16,
				 &random_system, shares, NULL),
		0);
	assert_int_equal(
		slip39_combine(shares, 15, bytes_of(NULL, 0), &secret, &bad, NULL), KLUIS_EINVAL);
	assert_int_equal(slip39_combine(shares, 16, bytes_of(NULL, 0), &secret, &bad, NULL), 0);
	assert_true(bytes_equal(secret_bytes(&secret), bytes_of(plain, 32)));
}

static void test_lengths(void **state)
{
	struct slip39_share shares[SLIP39_SHARES_MAX];
	uint8_t bytes[40] = {0};

	(void)state;
	for (size_t len = 0; len < sizeof bytes; len++) {
		int rc = slip39_split(bytes_of(bytes, len), bytes_of(NULL, 0), 0, 2, 2,
			&random_system, shares, NULL);

		assert_int_equal(rc, len >= 16 && len <= 32 && len % 2 == 0 ? 0 : KLUIS_EINVAL);
	}
}

/* Which share is to blame is said. */
static void test_blame(void **state)
{
	struct slip39_share a[SLIP39_SHARES_MAX], b[SLIP39_SHARES_MAX], mixed[4];
	_cleanup_(secret_release) struct secret secret = SECRET_INIT;
	struct random_seeded random;
	struct err e = {0};
	size_t bad = 9;

	(void)state;
	random_seeded_init(&random, 1);
	assert_int_equal(slip39_split(bytes_of(plain, 32), bytes_of(NULL, 0), 0, 2, 4,
				 &random.random, a, NULL),
		0);
	assert_int_equal(slip39_split(bytes_of(plain, 32), bytes_of(NULL, 0), 0, 2, 4,
				 &random.random, b, NULL),
		0);
	assert_int_not_equal(a[0].id, b[0].id);
	mixed[0] = a[0];
	mixed[1] = b[1];
	assert_int_equal(
		slip39_combine(mixed, 2, bytes_of(NULL, 0), &secret, &bad, &e), KLUIS_ECONFLICT);
	assert_true(bad == 1 && strstr(e.text, "another split") != NULL);
	mixed[1] = a[0];
	assert_int_equal(
		slip39_combine(mixed, 2, bytes_of(NULL, 0), &secret, &bad, &e), KLUIS_ECONFLICT);
	assert_true(bad == 1 && strstr(e.text, "share 1") != NULL);
	/* The same identifier by chance or malice: only the digest tells, and it cannot say which.
	 */
	b[1].id = a[0].id;
	mixed[1] = b[1];
	assert_int_equal(
		slip39_combine(mixed, 2, bytes_of(NULL, 0), &secret, &bad, &e), KLUIS_ECONFLICT);
	assert_int_equal(bad, 2);
	/* With one more than needed it can. */
	mixed[1] = a[2];
	mixed[2] = b[1];
	assert_int_equal(
		slip39_combine(mixed, 3, bytes_of(NULL, 0), &secret, &bad, &e), KLUIS_ECONFLICT);
	assert_int_equal(bad, 2);
	mixed[2] = a[1];
	mixed[2].threshold = 3;
	assert_int_equal(
		slip39_combine(mixed, 3, bytes_of(NULL, 0), &secret, &bad, &e), KLUIS_ECONFLICT);
	assert_int_equal(bad, 2);
	assert_null(secret.data);
}

/* Fewer shares than needed are independent of the secret: from the same random bytes all but the
 * last `1` shares of two secrets are the same. */
static void test_fewer_say_nothing(void **state)
{
	static const uint8_t other[32] = {1};
	struct slip39_share a[SLIP39_SHARES_MAX], b[SLIP39_SHARES_MAX];
	struct random_seeded random;

	(void)state;
	random_seeded_init(&random, 7);
	assert_int_equal(slip39_split(bytes_of(plain, 32), bytes_of(NULL, 0), 0, 5, 6,
				 &random.random, a, NULL),
		0);
	random_seeded_init(&random, 7);
	assert_int_equal(slip39_split(bytes_of(other, 32), bytes_of(NULL, 0), 0, 5, 6,
				 &random.random, b, NULL),
		0);
	for (unsigned i = 0; i < 3; i++) {
		assert_memory_equal(a[i].value, b[i].value, 32);
	}
	assert_memory_not_equal(a[3].value, b[3].value, 32);
}

static void flip(struct buf *text, size_t at, const char *word, struct buf *to)
{
	const char *from = buf_str(text);
	size_t n = 0;

	buf_clear(to);
	while (*from != 0) {
		size_t len = strcspn(from, " ");

		buf_put_str(to, n == 0 ? "" : " ");
		if (n++ == at) {
			buf_put_str(to, word);
		} else {
			buf_append(to, from, len);
		}
		from += len + (from[len] == ' ');
	}
}

/* A wrong word at any place, and an exchange of two neighbours, are noticed. */
static void test_damage(void **state)
{
	struct slip39_share shares[SLIP39_SHARES_MAX], share;
	_cleanup_(buf_release) struct buf text = BUF_INIT, bad = BUF_INIT;
	struct random_seeded random;
	struct err e = {0};

	(void)state;
	random_seeded_init(&random, 3);
	assert_int_equal(slip39_split(bytes_of(plain, 32), bytes_of(NULL, 0), 0, 2, 2,
				 &random.random, shares, NULL),
		0);
	slip39_format(&shares[0], &text);
	for (size_t at = 0; at < 33; at++) {
		for (unsigned k = 0; k < 3; k++) {
			flip(&text, at, slip39_words[random_below(&random.random, 1024)], &bad);
			if (!bytes_equal(buf_bytes(&bad), buf_bytes(&text))) {
				assert_int_equal(
					slip39_parse(buf_bytes(&bad), &share, &e), KLUIS_ECORRUPT);
			}
		}
		flip(&text, at, "kluis", &bad);
		assert_int_equal(slip39_parse(buf_bytes(&bad), &share, &e), KLUIS_ECORRUPT);
		flip(&text, at, "abcdefghijklmnop", &bad);
		assert_int_equal(slip39_parse(buf_bytes(&bad), &share, &e), KLUIS_ECORRUPT);
	}
	flip(&text, 4, "kluis", &bad);
	assert_int_equal(slip39_parse(buf_bytes(&bad), &share, &e), KLUIS_ECORRUPT);
	assert_non_null(strstr(e.text, "word 5 "));
	for (size_t len = 0; len < text.len; len++) {
		assert_int_not_equal(slip39_parse(bytes_of(text.data, len), &share, NULL), 0);
	}
	buf_put_str(&text, " zero");
	assert_int_equal(slip39_parse(buf_bytes(&text), &share, NULL), KLUIS_ETOOLARGE);
}

static void test_typed(void **state)
{
	static const char text[] =
		"\n  DUCKLING enlarge\tacademic academic agency result length solution fridge\r\n"
		"kidney coal piece deal husband erode duke ajar critical decision keyboard \n\n";
	struct slip39_share share;

	(void)state;
	assert_int_equal(slip39_parse(bytes_str(text), &share, NULL), 0);
	assert_true(share.id == 7945 && !share.extendable && share.threshold == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_choices),
		cmocka_unit_test(test_sixteen),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_blame),
		cmocka_unit_test(test_fewer_say_nothing),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_typed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
