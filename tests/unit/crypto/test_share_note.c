#include "tests/lib/test.h"

#include <string.h>

#include "base/wire.h"
#include "crypto/share_note.h"

struct fixture {
	struct key *key, *other;
	struct share_note fields;
	struct share_note_page pages[2];
	struct buf note;
};

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &f->key, NULL), 0);
	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &f->other, NULL), 0);
	f->fields = (struct share_note){.kind = SHARE_NOTE_FILE,
		.share_id = {1},
		.sender_user = {2},
		.rcpt_user = {3},
		.vault_id = {4},
		.unix_ms = 5,
		.expires_ms = 6,
		.body = bytes_str("{}")};
	f->pages[0] = (struct share_note_page){7, 1, 1, {8}, {9}};
	f->pages[1] = (struct share_note_page){3, 2, 1, {10}, {11}};
	assert_int_equal(share_note_make(&f->fields, f->pages, 2, f->key, &f->note, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	key_free(f->key);
	key_free(f->other);
	buf_release(&f->note);
	free(f);
	return 0;
}

static void test_there_and_back(void **state)
{
	struct fixture *f = *state;
	struct share_note note;
	struct share_note_page page;
	struct bytes run;

	assert_int_equal(share_note_parse(buf_bytes(&f->note), &note, NULL), 0);
	assert_int_equal(share_note_verify(&note, key_public(f->key), NULL), 0);
	assert_int_equal(share_note_verify(&note, key_public(f->other), NULL), KLUIS_EVERIFY);
	assert_int_equal(note.n_pages, 2);
	assert_true(bytes_equal(note.body, bytes_str("{}")));
	run = note.pages;
	for (size_t i = 0; i < 2; i++) {
		assert_true(share_note_page_next(&run, &page));
		assert_int_equal(page.page_no, f->pages[i].page_no);
		assert_int_equal(page.revision, f->pages[i].revision);
		assert_memory_equal(page.page_hash, f->pages[i].page_hash, HASH_BYTES);
		assert_memory_equal(page.packet_id, f->pages[i].packet_id, ID_BYTES);
	}
	assert_false(share_note_page_next(&run, &page));
}

/* Each byte counts: it is refused, or the signature is not good. */
static void test_each_byte(void **state)
{
	struct fixture *f = *state;
	struct share_note note;

	for (size_t i = 0; i < f->note.len; i++) {
		f->note.data[i] ^= 1;
		if (share_note_parse(buf_bytes(&f->note), &note, NULL) == 0) {
			assert_int_equal(
				share_note_verify(&note, key_public(f->key), NULL), KLUIS_EVERIFY);
		}
		f->note.data[i] ^= 1;
		assert_int_not_equal(share_note_parse(bytes_of(f->note.data, i), &note, NULL), 0);
	}
	buf_put_u8(&f->note, 0);
	assert_int_equal(share_note_parse(buf_bytes(&f->note), &note, NULL), KLUIS_EINVAL);
}

static void assert_not_made(struct fixture *f, size_t n, int rc)
{
	struct buf note = BUF_INIT;

	assert_int_equal(share_note_make(&f->fields, f->pages, n, f->key, &note, NULL), rc);
	assert_int_equal(note.len, 0);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	struct share_note note;

	f->fields.kind = SHARE_NOTE_ITEM;
	assert_not_made(f, 2, KLUIS_EINVAL);
	assert_not_made(f, 0, KLUIS_EINVAL);
	f->fields.kind = 3;
	assert_not_made(f, 1, KLUIS_EINVAL);
	f->fields.kind = SHARE_NOTE_FILE;
	assert_not_made(f, SHARE_NOTE_PAGES_MAX + 1, KLUIS_ETOOLARGE);
	f->fields.expires_ms = f->fields.unix_ms;
	assert_not_made(f, 1, KLUIS_EINVAL);
	f->fields.expires_ms++;
	f->pages[1].revision = 0;
	assert_not_made(f, 2, KLUIS_EINVAL);
	f->note.data[4] = 2;
	assert_int_equal(share_note_parse(buf_bytes(&f->note), &note, NULL), KLUIS_EVERSION);
	f->note.data[4] = 1;
	f->note.data[5] = 3;
	assert_int_equal(share_note_parse(buf_bytes(&f->note), &note, NULL), KLUIS_ESUITE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_there_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
