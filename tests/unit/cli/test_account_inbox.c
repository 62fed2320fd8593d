/* A person's inbox at the API of a real node: what a delivery file leaves, read and taken into a
 * vault. */
#include "tests/lib/account_rig/account_rig.h"

#include <string.h>

#include "cli/client/delivery.h"
#include "cli/client/inbox.h"
#include "cli/client/json_reader.h"
#include "cli/client/put.h"

static char *delivery_file(struct fixture *f, uint64_t docs, uint8_t ret_token_id[ID_BYTES])
{
	const struct delivery_terms terms = {.label = "mail",
		.expires_ms = f->node.machine.now_ms + 24 * 3600 * 1000,
		.docs = docs};
	char *path = x_asprintf("%s/delivery", f->dir);

	MUST(f, delivery_create(
			f->first.profile, f->first.client, &terms, path, ret_token_id, &f->err));
	return path;
}

static int deliver(struct fixture *f, const char *path, const char *text)
{
	struct delivery d;
	int rc = delivery_read(path, &d, &f->err);

	rc = rc != 0 ? rc
		     : delivery_send(&d, INBOX_PROVIDER, INBOX_MIME, bytes_str(text), 0, &f->err);
	delivery_release(&d);
	return rc;
}

static size_t list(struct fixture *f, struct api_inbox_row **ret_rows)
{
	size_t n = 0;

	MUST(f, api_inbox(f->first.client, ret_rows, &n, &f->err));
	return n;
}

static void test_delivered(void **state)
{
	struct fixture *f = *state;
	struct api_inbox_row *rows;
	struct inbox_opened opened;
	uint8_t token_id[ID_BYTES];
	_cleanup_(x_freep) char *path = delivery_file(f, 2, token_id);

	MUST(f, deliver(f, path, "From: bank\n\nhello"));
	MUST(f, deliver(f, path, "From: bank\n\nhello")); /* The mail system comes again. */
	assert_int_equal(list(f, &rows), 1);
	assert_int_equal(rows[0].sender_class, INBOX_PROVIDER);
	assert_int_equal(rows[0].content_type, INBOX_MIME);
	assert_false(rows[0].has_sender);
	MUST(f, inbox_read(f->first.profile, f->first.client, rows[0].doc_id, &opened, &f->err));
	assert_true(bytes_equal(secret_bytes(&opened.content), bytes_str("From: bank\n\nhello")));
	secret_release(&opened.content);
	MUST(f, api_inbox_delete(f->first.client, rows[0].doc_id, &f->err));
	free(rows);
	assert_int_equal(list(f, &rows), 0);
	free(rows);
}

static void test_token_ends(void **state)
{
	struct fixture *f = *state;
	_cleanup_(json_dropp) json_t *items = NULL;
	uint8_t token_id[ID_BYTES];
	_cleanup_(x_freep) char *path = delivery_file(f, 2, token_id);

	MUST(f, deliver(f, path, "one"));
	MUST(f, api_inbox_tokens(f->first.client, &items, &f->err));
	assert_int_equal(json_array_size(items), 1);
	MUST(f, api_inbox_token_end(f->first.client, token_id, &f->err));
	assert_int_equal(deliver(f, path, "two"), KLUIS_EUNAUTHENTICATED);
}

/* In one of the two at any time. */
static void test_taken(void **state)
{
	static const char content[] = "From: bank\n\ninvoice";
	const struct put_config config = {.force = false};
	struct fixture *f = *state;
	struct api_inbox_row *rows;
	struct put_result result;
	struct vault *vault;
	struct put *put;
	uint8_t token_id[ID_BYTES], vault_id[ID_BYTES];
	_cleanup_(x_freep) char *path = delivery_file(f, 2, token_id);
	char claims[HEX_LEN(ID_BYTES) + 1];
	bool is_local;

	MUST(f, deliver(f, path, content));
	assert_int_equal(list(f, &rows), 1);
	hex_encode(bytes_of(rows[0].doc_id, ID_BYTES), claims);
	free(rows);
	MUST(f, vault_create(f->first.profile, f->first.client, "mail", vault_id, &f->err));
	MUST(f, vault_open(f->first.profile, f->first.client, "mail", &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	MUST(f, put_new(vault, &config, &put, &f->err));
	MUST(f, put_from(put, put_source_of(bytes_str(content), "/invoice", 0600), NULL, &is_local,
			&f->err));
	vault->claims = claims;
	MUST(f, put_finish(put, &result, &f->err));
	assert_int_equal(result.files, 1);
	put_free(put);
	vault_close(vault);
	assert_int_equal(list(f, &rows), 0);
	free(rows);
}

#define INBOX_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		INBOX_TEST(test_delivered),
		INBOX_TEST(test_token_ends),
		INBOX_TEST(test_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
