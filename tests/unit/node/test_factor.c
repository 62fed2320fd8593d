/* What rows of second factors hold as bytes. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "node/factor.h"

static void fill(unsigned method, struct factor *ret)
{
	memset(ret, 0, sizeof *ret);
	ret->method = method;
	switch (method) {
	case MFA_TOTP:
	case MFA_HOTP:
		ret->otp = (struct otp){OTP_SHA256, 8};
		break;
	case MFA_FIDO2:
		memset(ret->fido.key, 7, sizeof ret->fido.key);
		memset(ret->fido.id, 9, sizeof ret->fido.id);
		ret->fido.id_bytes = sizeof ret->fido.id;
		break;
	case MFA_IP:
		for (ret->n = 0; ret->n < FACTOR_NETWORKS_MAX; ret->n++) {
			char text[32];

			(void)snprintf(text, sizeof text, "10.%zu.0.0/16", ret->n);
			assert_int_equal(network_parse(text, &ret->network[ret->n]), 0);
		}
		break;
	default:
		for (ret->n = 0; ret->n < FACTOR_PLACES_MAX; ret->n++) {
			memset(ret->place[ret->n], 'a', LOCATION_LABEL_CHARS_MAX);
		}
	}
}

static void test_round_trip(void **state)
{
	struct factor *in = x_malloc(sizeof *in), *out = x_malloc(sizeof *out);

	(void)state;
	for (unsigned method = MFA_TOTP; method <= MFA_LOCATION; method++) {
		_cleanup_(buf_release) struct buf params = BUF_INIT, again = BUF_INIT;

		fill(method, in);
		factor_encode(in, &params);
		assert_true(params.len <= MFA_PARAMS_BYTES_MAX);
		assert_int_equal(factor_decode(method, buf_bytes(&params), out, NULL), 0);
		factor_encode(out, &again);
		assert_true(bytes_equal(buf_bytes(&params), buf_bytes(&again)));
		for (size_t len = 0; len < params.len; len++) {
			assert_int_equal(
				factor_decode(method, bytes_of(params.data, len), out, NULL),
				KLUIS_EINTERNAL);
		}
		*buf_extend(&params, 1) = 0;
		assert_int_equal(
			factor_decode(method, buf_bytes(&params), out, NULL), KLUIS_EINTERNAL);
		params.len--;
		params.data[0] = 2;
		assert_int_equal(
			factor_decode(method, buf_bytes(&params), out, NULL), KLUIS_EVERSION);
	}
	free(in);
	free(out);
}

static void test_refused(void **state)
{
	static const struct {
		unsigned method;
		size_t len;
		uint8_t bytes[24];
	} rows[] = {
		{MFA_TOTP, 3, {1, 0, 6}},
		{MFA_TOTP, 3, {1, 4, 6}},
		{MFA_HOTP, 3, {1, 1, 7}},
		{MFA_IP, 2, {1, 0}},
		{MFA_IP, 19, {1, 1, 129}},
		{MFA_IP, 19, {1, 1, 8, 0, 1}},
		{MFA_LOCATION, 2, {1, 0}},
		{MFA_LOCATION, 4, {1, 1, 0, 0}},
		{MFA_LOCATION, 5, {1, 1, 0, 1, '.'}},
	};
	struct factor *out = x_malloc(sizeof *out);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(factor_decode(rows[i].method, bytes_of(rows[i].bytes, rows[i].len),
					 out, NULL),
			KLUIS_EINTERNAL);
	}
	free(out);
}

static void test_names(void **state)
{
	unsigned got = 0;

	(void)state;
	for (unsigned method = MFA_TOTP; method <= MFA_LOCATION; method++) {
		assert_true(factor_method_parse(bytes_str(factor_method_name(method)), &got));
		assert_int_equal(got, method);
	}
	assert_false(factor_method_parse(bytes_str("TOTP"), &got));
	assert_false(factor_method_parse(bytes_str(""), &got));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
