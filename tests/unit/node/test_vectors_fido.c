/* What others' authenticators and browsers sent: the test vectors of W3C WebAuthn level 3, and the
 * virtual authenticators of a browser, as tests/vectors/record_webauthn.py recorded them. */
#include "tests/lib/test.h"

#include <jansson.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "node/fido.h"

struct ceremony {
	uint8_t challenge[FIDO_CHALLENGE_BYTES];
	struct buf client_data, auth_data, signature;
};

static void ceremony_release(struct ceremony *c)
{
	buf_release(&c->client_data);
	buf_release(&c->auth_data);
	buf_release(&c->signature);
}

static void take(const json_t *object, const char *name, struct buf *to)
{
	const char *text = json_string_value(json_object_get(object, name));

	assert_non_null(text);
	assert_int_equal(base64_decode(bytes_str(text), 4096, to), 0);
}

static void ceremony_take(const json_t *object, struct ceremony *c)
{
	_cleanup_(buf_release) struct buf challenge = BUF_INIT;

	memset(c, 0, sizeof *c);
	take(object, "challenge", &challenge);
	assert_int_equal(challenge.len, sizeof c->challenge);
	memcpy(c->challenge, challenge.data, sizeof c->challenge);
	take(object, "client_data", &c->client_data);
	take(object, "auth_data", &c->auth_data);
	if (json_object_get(object, "signature") != NULL) {
		take(object, "signature", &c->signature);
	}
}

static struct fido_answer ceremony_answer(const struct ceremony *c)
{
	return (struct fido_answer){
		buf_bytes(&c->client_data), buf_bytes(&c->auth_data), buf_bytes(&c->signature)};
}

/* Every bit of what was signed, and another challenge: refused. */
static void check_changed(
	const struct fido_site *site, const struct fido_credential *credential, struct ceremony *c)
{
	struct buf *const parts[] = {&c->client_data, &c->auth_data, &c->signature};
	struct fido_answer answer = ceremony_answer(c);
	uint32_t count;

	for (size_t part = 0; part < ARRAY_SIZE(parts); part++) {
		for (size_t bit = 0; bit < parts[part]->len * 8; bit += 7) {
			uint8_t *byte = parts[part]->data + bit / 8;

			*byte ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(fido_check_assertion(site, c->challenge, credential,
						 &answer, &count, NULL),
				KLUIS_EVERIFY);
			*byte ^= (uint8_t)(1 << bit % 8);
		}
	}
	c->challenge[0] ^= 1;
	assert_int_equal(
		fido_check_assertion(site, c->challenge, credential, &answer, &count, NULL),
		KLUIS_EVERIFY);
	c->challenge[0] ^= 1;
}

static void check_get(const struct fido_site *site, const struct fido_credential *credential,
	const json_t *object, bool accepted)
{
	struct fido_answer answer;
	struct ceremony c;
	uint32_t count = 0;
	int rc;

	ceremony_take(object, &c);
	answer = ceremony_answer(&c);
	rc = fido_check_assertion(site, c.challenge, credential, &answer, &count, NULL);
	assert_int_equal(rc, accepted ? 0 : KLUIS_EVERIFY);
	if (accepted) {
		assert_int_equal(count, load_u32(c.auth_data.data + 33));
		check_changed(site, credential, &c);
	}
	ceremony_release(&c);
}

/* A row that is refused is one of another origin's frame or another algorithm: nothing of it is
 * taken, and its assertions say nothing under the key of a row that was. */
static void check_row(const json_t *row, const struct fido_credential *other,
	struct fido_credential *ret_credential)
{
	_cleanup_(buf_release) struct buf id = BUF_INIT;
	_cleanup_(x_freep) char *rp_id = x_strdup(json_string_value(json_object_get(row, "rp_id")));
	_cleanup_(x_freep) char *origin =
		x_strdup(json_string_value(json_object_get(row, "origin")));
	const struct fido_site site = {rp_id, {origin}, ""};
	const json_t *assertion, *assertions = json_object_get(row, "assertions");
	bool accepted = json_is_true(json_object_get(row, "accepted"));
	struct fido_answer answer;
	struct ceremony c;
	uint32_t count = 0;
	size_t i;
	int rc;

	take(row, "credential_id", &id);
	ceremony_take(json_object_get(row, "registration"), &c);
	answer = ceremony_answer(&c);
	*ret_credential = *other;
	rc = fido_check_new(&site, c.challenge, &answer, ret_credential, &count, NULL);
	if (!accepted) {
		assert_int_equal(rc, json_integer_value(json_object_get(row, "algorithm")) == -7
					     ? KLUIS_EVERIFY
					     : KLUIS_ESUITE);
	} else {
		assert_int_equal(rc, 0);
		assert_int_equal(ret_credential->id_bytes, id.len);
		assert_memory_equal(ret_credential->id, id.data, id.len);
	}
	ceremony_release(&c);
	assert_true(json_array_size(assertions) > 0);
	json_array_foreach(assertions, i, assertion)
	{
		check_get(&site, ret_credential, assertion, accepted);
		if (accepted && other->id_bytes > 0) { /* The key of another row. */
			check_get(&site, other, assertion, false);
		}
	}
}

static void check_file(const char *name, size_t accepted_want, size_t refused_want)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/tests/vectors/%s", KLUIS_SOURCE_DIR, name);
	json_t *file = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	const json_t *row, *rows = json_object_get(file, "rows");
	struct fido_credential last = {0}, next;
	size_t i, accepted = 0;

	json_array_foreach(rows, i, row)
	{
		check_row(row, &last, &next);
		accepted += json_is_true(json_object_get(row, "accepted")) ? 1 : 0;
		last = next;
	}
	assert_int_equal(accepted, accepted_want);
	assert_int_equal(json_array_size(rows) - accepted, refused_want);
	json_decref(file);
}

static void test_w3c(void **state)
{
	(void)state;
	check_file("webauthn-w3c.json", 4, 2);
}

static void test_chromium(void **state)
{
	(void)state;
	check_file("webauthn-chromium.json", 3, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_w3c),
		cmocka_unit_test(test_chromium),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
