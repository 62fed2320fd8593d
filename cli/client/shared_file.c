/* What was given, alone, by one and to one. */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "cli/client/inbox.h"
#include "cli/client/json_reader.h"
#include "cli/client/person.h"
#include "cli/client/share_file.h"

void shared_files_free(struct shared_file *files, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		secret_buf_release(&files[i].bytes);
	}
	free(files);
}

static int file_body(struct shared_file *file, struct err *e)
{
	_cleanup_(json_dropp) json_t *body = NULL;
	struct json_reader r;
	const char *name;
	int rc = json_object_parse(file->note.body, &body, e);

	if (rc != 0) {
		return err_set(e, KLUIS_EVERIFY, "it is malformed inside");
	}
	r = json_reader_of(body);
	name = json_reader_string(&r, "name");
	if (file->note.kind == SHARE_NOTE_FILE) {
		file->size = json_reader_u64(&r, "size");
		json_reader_hex(&r, "sha256", file->sha256, HASH_BYTES);
	}
	if (r.failed != NULL || !item_name_valid(name) ||
		(file->note.kind == SHARE_NOTE_FILE &&
			file->note.n_pages != (file->size + PAGE_CONTENT_BYTES_MAX - 1) /
						      PAGE_CONTENT_BYTES_MAX)) {
		return err_set(e, KLUIS_EVERIFY, "it is malformed inside");
	}
	memcpy(file->name, name, strlen(name) + 1);
	return 0;
}

/* By a signing key that was the owner's before ('kluis passwd --new-keys'), as her own chain proves
 * it: what she gave does not end with it. Who stole that key cannot leave it with her. */
static int file_verify_former(
	const struct profile *profile, const struct shared_file *file, struct err *e)
{
	struct wire w = wire_of(buf_bytes(&profile->person->chain));
	struct identity then;
	struct err why = {0};
	int rc = KLUIS_EVERIFY;

	identity_init(&then);
	while (rc != 0 && file->left && w.left.len > 0 &&
		identity_append(&then, wire_lp32(&w, STATEMENT_BYTES_MAX), &why) == 0) {
		rc = share_note_verify(&file->note, then.signing, &why);
	}
	identity_release(&then);
	return rc == 0 ? 0 : err_set(e, rc, "it is not signed by you");
}

/* Signed by who it says, and by her to the profile's owner, or by the owner. */
static int file_verify(struct people *people, struct shared_file *file, struct err *e)
{
	const struct profile *profile = people_profile(people);
	const struct share_note *note = &file->note;
	const struct identity *sender, *other;
	struct err why = {0};
	int rc = share_note_parse(buf_bytes(&file->bytes), &file->note, e);

	if (rc != 0) {
		return err_set(e, KLUIS_EVERIFY, "it is malformed");
	}
	file->mine = memcmp(note->sender_user, profile->user_id, ID_BYTES) == 0;
	if (!file->mine && memcmp(note->rcpt_user, profile->user_id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "it is for somebody else");
	}
	rc = people_get(people, note->sender_user, true, &sender, e);
	if (rc != 0) {
		return rc;
	}
	rc = share_note_verify(note, sender->signing, &why);
	rc = rc == KLUIS_EVERIFY && file->mine ? file_verify_former(profile, file, &why) : rc;
	if (rc != 0) {
		return err_set(e, rc, "%s", why.text);
	}
	rc = people_get(people, file->mine ? note->rcpt_user : note->sender_user, false, &other, e);
	if (rc == 0) {
		memcpy(file->who, other->name, sizeof other->name);
		rc = file_body(file, e);
	}
	return rc;
}

static int file_read(struct people *people, const struct api_inbox_row *row,
	struct shared_file *file, struct err *e)
{
	const struct profile *profile = people_profile(people);
	struct inbox_opened opened = {.content = SECRET_INIT};
	int rc = inbox_read(profile, people_client(people), row->doc_id, &opened, e);

	memcpy(file->doc_id, row->doc_id, ID_BYTES);
	file->left = row->has_sender && memcmp(row->sender_id, profile->user_id, ID_BYTES) == 0;
	if (rc == 0) {
		buf_append_bytes(&file->bytes, secret_bytes(&opened.content));
		rc = opened.content_type == INBOX_SHARE
			     ? file_verify(people, file, e)
			     : err_set(e, KLUIS_EVERIFY, "it is another document than was listed");
	}
	secret_release(&opened.content);
	return rc;
}

/* What does not hold is somebody's lie, and hides no other; nor does what nobody here can read. 0:
 * it says nothing about this one. */
static int file_verdict(int rc)
{
	switch (rc) {
	case KLUIS_EVERIFY:
	case KLUIS_EPIN:
	case KLUIS_ENOTFOUND:
	case KLUIS_EGONE:
		return rc;
	case KLUIS_EPROTO:
	case KLUIS_ESUITE:
	case KLUIS_EVERSION:
	case KLUIS_EINVAL:
		return KLUIS_EVERIFY;
	default:
		return 0;
	}
}

int shared_files(
	struct people *people, struct shared_file **ret_files, size_t *ret_n, struct err *e)
{
	_cleanup_(x_freep) struct api_inbox_row *rows = NULL;
	struct shared_file *files;
	size_t n_rows = 0, n = 0;
	int rc = api_inbox(people_client(people), &rows, &n_rows, e);

	files = x_calloc(n_rows + 1, sizeof *files);
	for (size_t i = 0; rc == 0 && i < n_rows; i++) {
		struct shared_file *file = &files[n];

		if (rows[i].content_type != INBOX_SHARE) {
			continue;
		}
		n++;
		rc = file_read(people, &rows[i], file, &file->problem);
		if (rc != 0 && file_verdict(rc) != 0) {
			file->problem.code = file_verdict(rc);
			rc = 0;
		} else if (rc != 0) {
			*e = file->problem;
		}
	}
	if (rc != 0) {
		shared_files_free(files, n);
		return rc;
	}
	*ret_files = files;
	*ret_n = n;
	return 0;
}

/* Whoever was given something may leave its note with who gave it, or others under its id: of those
 * the owner's own is meant, and the one that she left herself. */
static unsigned find_rank(const struct shared_file *file)
{
	return file->mine ? 1 + file->left : 0;
}

static bool find_begins(const struct shared_file *file, const char *prefix)
{
	char hex[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(file->note.share_id, ID_BYTES), hex);
	return file->problem.code == 0 && strncmp(hex, prefix, strlen(prefix)) == 0;
}

int shared_file_find(const struct shared_file *files, size_t n, const char *prefix,
	const struct shared_file **ret_file, struct err *e)
{
	const struct shared_file *found = NULL;
	bool several = false, others = false; /* Under one id; under another one. */

	for (size_t i = 0; i < n && prefix[0] != 0; i++) {
		const struct shared_file *file = &files[i];

		if (!find_begins(file, prefix)) {
			continue;
		}
		others = others || (found != NULL && memcmp(found->note.share_id,
							     file->note.share_id, ID_BYTES) != 0);
		if (found == NULL || find_rank(file) > find_rank(found)) {
			found = file;
			several = false;
		} else {
			several = several || (find_rank(file) == find_rank(found) && !file->mine);
		}
	}
	if (found == NULL) {
		return err_set(e, KLUIS_ENOTFOUND, "nothing is shared alone under '%s'", prefix);
	}
	if (several || others) {
		return err_set(e, KLUIS_ECONFLICT, "several ids begin with '%s'", prefix);
	}
	*ret_file = found;
	return 0;
}

/* A fetch under way. */
struct fetching {
	struct people *people;
	const struct shared_file *file;
	const struct get_config *config;
	uint8_t ids[SHARE_NOTE_PAGES_MAX][ID_BYTES];
	struct share_note_page pages[SHARE_NOTE_PAGES_MAX];
	struct buf packets[SHARE_NOTE_PAGES_MAX];
	size_t n;
	struct hash hash;
};

/* Of somebody who may give keys of that vault, by its own chain. */
static int fetch_packets(struct fetching *f, struct err *e)
{
	const struct share_note *note = &f->file->note;
	_cleanup_(membership_freep) struct membership *vault = NULL;
	struct bytes run = note->pages;
	int rc;

	for (f->n = 0; share_note_page_next(&run, &f->pages[f->n]); f->n++) {
		memcpy(f->ids[f->n], f->pages[f->n].packet_id, ID_BYTES);
	}
	if (f->n == 0) {
		return 0;
	}
	rc = membership_load(f->people, MEMBER_OBJECT_VAULT, note->vault_id, &vault, e);
	return rc != 0 ? rc
		       : packets_fetch_pages(
				 f->people, vault, note->sender_user, f->ids, f->n, f->packets, e);
}

static int fetch_page(struct fetching *f, size_t i, struct buf *ret_content, struct err *e)
{
	const struct share_note_page *at = &f->pages[i];
	_cleanup_(secret_release) struct secret gift = SECRET_INIT;
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	struct page_place place = {
		.page_no = at->page_no, .revision = at->revision, .key_epoch = at->epoch};
	uint8_t page_hash[HASH_BYTES];
	int rc;

	if (f->packets[i].len == 0) {
		return err_set(e, KLUIS_ENOTFOUND,
			"the cluster has no key of it for you any more, or withholds it");
	}
	memcpy(place.vault_id, f->file->note.vault_id, ID_BYTES);
	rc = packets_open(f->people, buf_bytes(&f->packets[i]), &gift, e);
	rc = rc != 0 ? rc
		     : api_version(people_client(f->people), place.vault_id, at->page_no,
			       at->revision, &page, e);
	if (rc != 0) {
		return rc;
	}
	hash_sha256(buf_bytes(&page), page_hash);
	if (memcmp(page_hash, at->page_hash, HASH_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "page %" PRIu64 " is not the one that '%s' gave",
			at->page_no, f->file->who);
	}
	return page_open_gift(secret_bytes(&gift), buf_bytes(&page), &place, ret_content, e);
}

/* Whoever shows it takes item after item. */
static int fetch_check_items(struct bytes content, uint64_t page_no, struct err *e)
{
	struct page_item item;
	int rc = 0;

	while (rc == 0 && content.len > 0) {
		rc = page_item_next(&content, &item);
	}
	return rc == 0 ? 0
		       : err_set(e, KLUIS_EVERIFY, "page %" PRIu64 " is malformed: no items",
				 page_no);
}

static size_t fetch_chunk_bytes(const struct fetching *f, size_t i)
{
	uint64_t left = f->file->size - (uint64_t)i * PAGE_CONTENT_BYTES_MAX;

	return left < PAGE_CONTENT_BYTES_MAX ? (size_t)left : PAGE_CONTENT_BYTES_MAX;
}

static int fetch_pages(struct fetching *f, struct err *e)
{
	bool is_file = f->file->note.kind == SHARE_NOTE_FILE;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < f->n; i++) {
		_cleanup_(secret_buf_release) struct buf content = BUF_INIT;

		rc = fetch_page(f, i, &content, e);
		if (rc == 0 && is_file && content.len != fetch_chunk_bytes(f, i)) {
			rc = err_set(e, KLUIS_EVERIFY, "page %" PRIu64 " is no chunk of it",
				f->pages[i].page_no);
		}
		if (rc == 0 && !is_file) {
			rc = fetch_check_items(buf_bytes(&content), f->pages[i].page_no, e);
		}
		if (rc == 0) {
			hash_update(&f->hash, buf_bytes(&content));
			rc = f->config->write == NULL
				     ? 0
				     : f->config->write(f->config->arg, buf_bytes(&content), e);
		}
		if (rc == 0 && f->config->progress != NULL) {
			f->config->progress(f->config->arg, content.len);
		}
	}
	return rc;
}

int shared_file_get(struct people *people, const struct shared_file *file,
	const struct get_config *config, struct err *e)
{
	_cleanup_(x_freep) struct fetching *f = x_calloc(1, sizeof *f);
	uint8_t sha256[HASH_BYTES];
	int rc;

	f->people = people;
	f->file = file;
	f->config = config;
	hash_init(&f->hash);
	rc = fetch_packets(f, e);
	rc = rc != 0 ? rc : fetch_pages(f, e);
	hash_final(&f->hash, sha256);
	hash_release(&f->hash);
	if (rc == 0 && file->note.kind == SHARE_NOTE_FILE &&
		memcmp(sha256, file->sha256, HASH_BYTES) != 0) {
		rc = err_set(e, KLUIS_EVERIFY, "its SHA-256 is not the one that its note names");
	}
	for (size_t i = 0; i < f->n; i++) {
		buf_release(&f->packets[i]);
	}
	return rc == 0 ? 0 : err_wrap(e, rc, "'%s'", file->name);
}
