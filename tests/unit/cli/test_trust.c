/* First contact with a cluster, and somebody on the way who shows a CA of his own beside it. */
#include "tests/lib/certs.h"
#include "tests/lib/fake_node/fake_node.h"
#include "tests/lib/test.h"

#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/vault/trust.h"

enum { ANSWERS = 2 };

/* The `ca` of each answer of /.well-known/kluis.json in turn; NULL: as the node gives it. */
static const char *shown[ANSWERS];
static size_t answers;

int __real_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e);
int __wrap_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e);

int __wrap_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e)
{
	int rc = __real_client_call(client, request, answer, e);
	const char *ca = answers < ANSWERS ? shown[answers] : NULL;
	json_t *object;

	answers++;
	if (rc != 0 || ca == NULL) {
		return rc;
	}
	object = json_loadb((const char *)answer->body.data, answer->body.len, 0, NULL);
	assert_non_null(object);
	(void)json_object_set_new(object, "ca", json_string(ca));
	buf_clear(&answer->body);
	json_take_text(object, &answer->body);
	return rc;
}

struct fixture {
	struct fake_node *node;
	struct pki_identity evil, server; /* Its own CA, and a certificate of that. */
	struct bytes ca;
	char *dir;
	struct buf both, swapped; /* The CA and the evil one, in either order. */
};

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	f->node = fake_node_new();
	f->ca = fake_node_ca(f->node);
	certs_ca(&f->evil);
	certs_server(&f->evil, &f->server);
	f->dir = scratch_new("trust");
	buf_append_bytes(&f->both, f->ca);
	buf_append_bytes(&f->both, buf_bytes(&f->evil.cert_pem));
	buf_append_bytes(&f->swapped, buf_bytes(&f->evil.cert_pem));
	buf_append_bytes(&f->swapped, f->ca);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fake_node_free(f->node);
	pki_identity_release(&f->evil);
	pki_identity_release(&f->server);
	scratch_free(f->dir);
	buf_release(&f->both);
	buf_release(&f->swapped);
	free(f);
	return 0;
}

/* As the command line would have it: the site, one option, and "yes" to whatever is asked. */
static int judge(struct fixture *f, const char *option, const char *value, const char *first,
	const char *second, struct trust *trust)
{
	static struct command_option endpoints = {.name = "endpoints"}, given;
	static struct invocation inv;

	memset(&inv, 0, sizeof inv);
	given.name = option;
	inv.yes = true;
	inv.values[inv.n_values++] = (struct invocation_value){&endpoints, fake_node_url(f->node)};
	if (option != NULL) {
		inv.values[inv.n_values++] = (struct invocation_value){&given, value};
	}
	shown[0] = first;
	shown[1] = second;
	answers = 0;
	*trust = (struct trust){.inv = &inv};
	return trust_cluster(trust);
}

static void pin_of(struct bytes ca, char to[BASE64_LEN(HASH_BYTES) + 1])
{
	struct pki_info info;

	assert_int_equal(pki_info(ca, &info, NULL), 0);
	base64_encode(bytes_of(info.spki_sha256, HASH_BYTES), to);
}

static void assert_pinned(const struct fixture *f, const struct trust *trust)
{
	assert_true(bytes_equal(buf_bytes(&trust->cluster.ca_pem), f->ca));
	assert_int_equal(pki_count(buf_bytes(&trust->cluster.ca_pem)), 1);
}

static void test_honest(void **state)
{
	struct fixture *f = *state;
	_cleanup_(x_freep) char *path = x_asprintf("%s/ca.pem", f->dir);
	char pin[BASE64_LEN(HASH_BYTES) + 1], other[BASE64_LEN(HASH_BYTES) + 1];
	struct trust trust;

	pin_of(f->ca, pin);
	pin_of(buf_bytes(&f->evil.cert_pem), other);
	assert_int_equal(judge(f, NULL, NULL, NULL, NULL, &trust), 0);
	assert_string_equal(trust.pin, pin);
	assert_pinned(f, &trust);
	trust_release(&trust);
	assert_int_equal(judge(f, "ca-pin", pin, NULL, NULL, &trust), 0);
	assert_pinned(f, &trust);
	trust_release(&trust);
	assert_int_equal(judge(f, "ca-pin", other, NULL, NULL, &trust), KLUIS_EPIN);
	trust_release(&trust);
	assert_int_equal(judge(f, "ca-pin", "no pin", NULL, NULL, &trust), KLUIS_EPIN);
	trust_release(&trust);
	assert_int_equal(file_write(path, f->ca, 0600, NULL), 0);
	assert_int_equal(judge(f, "ca", path, NULL, NULL, &trust), 0);
	assert_pinned(f, &trust);
	trust_release(&trust);
}

/* Two CAs under the right pin: the one that has it is trusted, and pinned, alone. */
static void test_bundle(void **state)
{
	struct fixture *f = *state;
	const char *const bundles[] = {buf_str(&f->both), buf_str(&f->swapped)};
	char pin[BASE64_LEN(HASH_BYTES) + 1];
	struct trust trust;

	pin_of(f->ca, pin);
	for (size_t i = 0; i < ARRAY_SIZE(bundles); i++) {
		assert_int_equal(judge(f, "ca-pin", pin, bundles[i], bundles[i], &trust), 0);
		assert_pinned(f, &trust);
		trust_release(&trust);
		/* Nobody can judge two by one question. */
		assert_int_equal(
			judge(f, NULL, NULL, bundles[i], bundles[i], &trust), KLUIS_EINVAL);
		trust_release(&trust);
	}
}

/* What was judged is pinned, whatever the second answer says. */
static void test_second_answer(void **state)
{
	struct fixture *f = *state;
	_cleanup_(x_freep) char *path = x_asprintf("%s/ca.pem", f->dir);
	const char *evil = buf_str(&f->evil.cert_pem), *both = buf_str(&f->both);
	char pin[BASE64_LEN(HASH_BYTES) + 1];
	struct trust trust;

	pin_of(f->ca, pin);
	assert_int_equal(file_write(path, f->ca, 0600, NULL), 0);
	assert_int_equal(judge(f, "ca-pin", pin, NULL, evil, &trust), KLUIS_EPIN);
	trust_release(&trust);
	assert_int_equal(judge(f, "ca-pin", pin, NULL, both, &trust), 0);
	assert_pinned(f, &trust);
	trust_release(&trust);
	assert_int_equal(judge(f, "ca", path, evil, NULL, &trust), KLUIS_EPIN);
	trust_release(&trust);
	assert_int_equal(judge(f, "ca", path, both, NULL, &trust), 0);
	assert_pinned(f, &trust);
	trust_release(&trust);
}

/* A server's certificate is no anchor. */
static void test_no_ca(void **state)
{
	struct fixture *f = *state;
	char pin[BASE64_LEN(HASH_BYTES) + 1];
	struct trust trust;

	pin_of(buf_bytes(&f->server.cert_pem), pin);
	assert_int_equal(
		judge(f, "ca-pin", pin, buf_str(&f->server.cert_pem), NULL, &trust), KLUIS_EINVAL);
	trust_release(&trust);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_honest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bundle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_ca, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
