/* The inbox from the clients' side: what is left by a session and by a delivery file, and opened by
 * its owner alone. */
#include "tests/lib/cli_fixture/fake_chat.h"

#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/client/delivery.h"

int __wrap_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e);
int __wrap_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e)
{
	return fake_chat_call(client, request, answer, e);
}

static const struct identity *identity_of(struct fake_chat *f, size_t owner, size_t as)
{
	const struct identity *identity = NULL;

	assert_int_equal(people_get(f->users[as].people, fake_chat_user_id(f, owner), true,
				 &identity, &f->err),
		0);
	return identity;
}

static void expect(
	struct fake_chat *f, size_t user, const uint8_t *doc_id, unsigned type, const char *text)
{
	struct inbox_opened opened;

	if (inbox_read(f->users[user].profile, f->users[user].client, doc_id, &opened, &f->err) !=
		0) {
		fail_msg("%s", f->err.text);
	}
	assert_int_equal(opened.content_type, type);
	assert_true(bytes_equal(secret_bytes(&opened.content), bytes_str(text)));
	secret_release(&opened.content);
}

static void test_leave(void **state)
{
	struct fake_chat *f = *state;
	struct inbox_opened opened;
	struct api_inbox_row *rows;
	uint8_t id[ID_BYTES];
	size_t n;

	assert_int_equal(inbox_leave(f->users[1].people, identity_of(f, 0, 1), INBOX_TEXT,
				 bytes_str("for alice"), id, &f->err),
		0);
	assert_int_equal(api_inbox(f->users[0].client, &rows, &n, &f->err), 0);
	assert_int_equal(n, 1);
	assert_memory_equal(rows[0].doc_id, id, ID_BYTES);
	assert_int_equal(rows[0].sender_class, INBOX_PROVIDER); /* A service. */
	free(rows);
	expect(f, 0, id, INBOX_TEXT, "for alice");
	/* Shown to somebody else it does not open. */
	f->documents[0].owner = 2;
	assert_int_equal(inbox_read(f->users[2].profile, f->users[2].client, id, &opened, &f->err),
		KLUIS_EVERIFY);
	f->documents[0].owner = 0;
	f->documents[0].bytes.data[f->documents[0].bytes.len - 1] ^= 1;
	assert_int_equal(inbox_read(f->users[0].profile, f->users[0].client, id, &opened, &f->err),
		KLUIS_EVERIFY);
}

/* As an agent does it: what it is given has no content, and what it gives opens no other. */
static void test_two_steps(void **state)
{
	struct fake_chat *f = *state;
	const struct profile *p = f->users[0].profile;
	struct buf encoded = BUF_INIT, other = BUF_INIT, stub = BUF_INIT;
	struct inbox_document document, second, stubbed;
	struct secret key = SECRET_INIT, content = SECRET_INIT;
	const struct identity *owner = identity_of(f, 0, 1);

	assert_int_equal(inbox_make(owner, INBOX_PROVIDER, INBOX_TEXT, p->user_id, bytes_str("one"),
				 &encoded, &f->err),
		0);
	assert_int_equal(inbox_make(owner, INBOX_PROVIDER, INBOX_TEXT, p->user_id, bytes_str("two"),
				 &other, &f->err),
		0);
	assert_int_equal(inbox_parse(buf_bytes(&encoded), &document, &f->err), 0);
	assert_int_equal(inbox_parse(buf_bytes(&other), &second, &f->err), 0);
	inbox_stub(&document, &stub);
	assert_true(stub.len <= INBOX_STUB_BYTES_MAX);
	assert_int_equal(inbox_parse(buf_bytes(&stub), &stubbed, &f->err), 0);
	assert_int_equal(
		inbox_open_key(&stubbed, p->user_id, p->user_id, p->transfer, &key, &f->err), 0);
	assert_int_equal(inbox_open_with(&document, secret_bytes(&key), &content, &f->err), 0);
	assert_true(bytes_equal(secret_bytes(&content), bytes_str("one")));
	assert_int_equal(
		inbox_open_with(&second, secret_bytes(&key), &content, &f->err), KLUIS_EVERIFY);
	key.len--;
	assert_int_equal(
		inbox_open_with(&document, secret_bytes(&key), &content, &f->err), KLUIS_EVERIFY);
	key.len++;
	assert_int_equal(inbox_open_key(&stubbed, p->user_id, p->user_id,
				 f->users[1].profile->transfer, &key, &f->err),
		KLUIS_EVERIFY);
	secret_release(&key);
	secret_release(&content);
	buf_release(&encoded);
	buf_release(&other);
	buf_release(&stub);
}

static char *delivery_file(struct fake_chat *f, uint64_t docs)
{
	const struct delivery_terms terms = {.label = "mail", .expires_ms = 1, .docs = docs};
	char *path = x_asprintf("%s/delivery", f->dir);
	uint8_t id[ID_BYTES];

	assert_int_equal(
		delivery_create(f->users[0].profile, f->users[0].client, &terms, path, id, &f->err),
		0);
	assert_int_equal(id[ID_BYTES - 1], 1);
	return path;
}

static int deliver(struct fake_chat *f, const char *path, const char *text)
{
	struct delivery d;
	int rc = delivery_read(path, &d, &f->err);

	rc = rc != 0 ? rc
		     : delivery_send(&d, INBOX_PROVIDER, INBOX_MIME, bytes_str(text), 0, &f->err);
	delivery_release(&d);
	return rc;
}

static void test_delivery(void **state)
{
	struct fake_chat *f = *state;
	_cleanup_(x_freep) char *path = delivery_file(f, 3);
	const struct delivery_terms terms = {.label = ""};
	struct inbox_document parsed;
	struct stat st;
	uint8_t id[ID_BYTES];

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(
		delivery_create(f->users[0].profile, f->users[0].client, &terms, path, id, &f->err),
		KLUIS_EEXIST);
	assert_int_equal(deliver(f, path, "From: x\n\nhello"), 0);
	assert_int_equal(inbox_parse(buf_bytes(&f->documents[0].bytes), &parsed, NULL), 0);
	expect(f, 0, parsed.doc_id, INBOX_MIME, "From: x\n\nhello");
	/* The answer was lost: the mail system comes again. */
	f->lose = "/inbox";
	assert_int_equal(deliver(f, path, "second"), KLUIS_EUNKNOWN_OUTCOME);
	assert_int_equal(deliver(f, path, "second"), 0);
	assert_int_equal(f->n_documents, 2);
	assert_int_equal(deliver(f, path, "third"), KLUIS_EUNAUTHENTICATED);
	f->fail = "/identity";
	assert_int_equal(deliver(f, path, "third"), KLUIS_ECONNECT);
}

/* The cluster shows another owner under that id: what is left would open for them. */
static void test_delivery_to_another(void **state)
{
	struct fake_chat *f = *state;
	_cleanup_(x_freep) char *path = delivery_file(f, 3);
	struct buf genesis = f->users[0].profile->genesis;

	f->users[0].profile->genesis = f->users[1].profile->genesis;
	assert_int_equal(deliver(f, path, "x"), KLUIS_EVERIFY);
	f->users[0].profile->genesis = genesis;
	{
		struct delivery d;

		assert_int_equal(delivery_read(path, &d, &f->err), 0);
		d.genesis_hash[0] ^= 1;
		assert_int_equal(
			delivery_send(&d, INBOX_PROVIDER, INBOX_MIME, bytes_str("x"), 0, &f->err),
			KLUIS_EPIN);
		delivery_release(&d);
	}
	assert_int_equal(f->n_documents, 0);
}

static void test_delivery_file(void **state)
{
	struct fake_chat *f = *state;
	_cleanup_(x_freep) char *path = delivery_file(f, 3);
	struct buf text = BUF_INIT;
	struct delivery d;

	assert_int_equal(file_read(path, DELIVERY_FILE_BYTES_MAX, &text, &f->err), 0);
	for (size_t len = 0; len + 2 < text.len; len += 7) {
		assert_int_equal(delivery_parse(bytes_of(text.data, len), &d, NULL), KLUIS_EINVAL);
		delivery_release(&d);
	}
	assert_int_equal(delivery_parse(buf_bytes(&text), &d, &f->err), 0);
	assert_int_equal(d.n_endpoints, 1);
	delivery_release(&d);
	assert_int_equal(delivery_parse(bytes_str("{\"version\": 2}"), &d, NULL), KLUIS_EINVAL);
	delivery_release(&d);
	buf_release(&text);
}

#define INBOX_TEST(fn) cmocka_unit_test_setup_teardown(fn, fake_chat_setup, fake_chat_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		INBOX_TEST(test_leave),
		INBOX_TEST(test_two_steps),
		INBOX_TEST(test_delivery),
		INBOX_TEST(test_delivery_to_another),
		INBOX_TEST(test_delivery_file),
	};

	return cmocka_run_group_tests(tests, fake_chat_accounts, fake_chat_accounts_free);
}
