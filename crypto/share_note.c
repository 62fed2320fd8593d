#include "crypto/share_note.h"

#include <string.h>

#include "base/wire.h"
#include "crypto/hash.h"

enum { SHARE_NOTE_VERSION = 1, SHARE_NOTE_SIG = 1 };

static const char note_magic[] = "KSN1";

static bool note_page_ok(const struct share_note_page *page)
{
	return page->revision > 0 && page->epoch > 0;
}

static void note_page_read(struct wire *w, struct share_note_page *page)
{
	page->page_no = wire_u64(w);
	page->revision = wire_u64(w);
	page->epoch = wire_u32(w);
	wire_copy(w, page->page_hash, HASH_BYTES);
	wire_copy(w, page->packet_id, ID_BYTES);
}

bool share_note_page_next(struct bytes *pages, struct share_note_page *ret_page)
{
	struct wire w = wire_of(*pages);
	struct share_note_page page;

	note_page_read(&w, &page);
	if (!wire_ok(&w)) {
		return false;
	}
	*pages = w.left;
	*ret_page = page;
	return true;
}

static int note_check_form(const struct share_note *n, struct err *e)
{
	struct bytes pages = n->pages;
	struct share_note_page page;
	bool ok = (n->kind == SHARE_NOTE_FILE && n->n_pages <= SHARE_NOTE_PAGES_MAX) ||
		  (n->kind == SHARE_NOTE_ITEM && n->n_pages == 1);

	while (ok && share_note_page_next(&pages, &page)) {
		ok = note_page_ok(&page);
	}
	return ok && n->expires_ms > n->unix_ms ? 0
						: err_set(e, KLUIS_EINVAL, "share note: malformed");
}

static void note_read_header(struct wire *w, struct share_note *n, uint8_t *sig)
{
	*sig = wire_u8(w);
	n->kind = wire_u8(w);
	wire_zeros(w, 1);
	wire_copy(w, n->share_id, ID_BYTES);
	wire_copy(w, n->sender_user, ID_BYTES);
	wire_copy(w, n->sender_kid, KID_BYTES);
	wire_copy(w, n->rcpt_user, ID_BYTES);
	wire_copy(w, n->vault_id, ID_BYTES);
	n->unix_ms = wire_u64(w);
	n->expires_ms = wire_u64(w);
	n->n_pages = wire_u32(w);
}

int share_note_parse(struct bytes encoded, struct share_note *ret_note, struct err *e)
{
	struct wire w = wire_of(encoded);
	struct share_note n = {.kind = 0};
	uint8_t version, sig;
	struct bytes is_signed;
	int rc;

	(void)wire_match(&w, note_magic);
	version = wire_u8(&w);
	if (wire_ok(&w) && version != SHARE_NOTE_VERSION) {
		return err_set(e, KLUIS_EVERSION, "share note: unknown version %u", version);
	}
	note_read_header(&w, &n, &sig);
	if (!wire_ok(&w) || encoded.len > SHARE_NOTE_BYTES_MAX ||
		n.n_pages > SHARE_NOTE_PAGES_MAX) {
		return err_set(e, KLUIS_EINVAL, "share note: malformed");
	}
	if (sig != SHARE_NOTE_SIG) {
		return err_set(e, KLUIS_ESUITE, "share note: unknown signature %u", sig);
	}
	n.pages = wire_bytes(&w, n.n_pages * SHARE_NOTE_PAGE_BYTES);
	n.body = wire_lp32(&w, SHARE_NOTE_BODY_BYTES_MAX);
	is_signed = bytes_of(encoded.data, encoded.len - w.left.len);
	n.signature = wire_lp16(&w, SIGN_BYTES_MAX);
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_EINVAL, "share note: malformed");
	}
	HASH_TH(n.message, "kluis/v1/share-note", is_signed);
	rc = note_check_form(&n, e);
	if (rc == 0) {
		*ret_note = n;
	}
	return rc;
}

int share_note_verify(const struct share_note *note, const struct key_pub *sender, struct err *e)
{
	if (memcmp(note->sender_kid, key_pub_kid(sender), KID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "share note: by another key of its sender");
	}
	return sign_verify(sender, bytes_of(note->message, HASH_BYTES), note->signature, e);
}

static void note_put(const struct share_note *fields, const struct share_note_page *pages, size_t n,
	const uint8_t kid[KID_BYTES], struct buf *to)
{
	buf_put_str(to, note_magic);
	buf_put_u8(to, SHARE_NOTE_VERSION);
	buf_put_u8(to, SHARE_NOTE_SIG);
	buf_put_u8(to, fields->kind);
	buf_put_u8(to, 0);
	buf_append(to, fields->share_id, ID_BYTES);
	buf_append(to, fields->sender_user, ID_BYTES);
	buf_append(to, kid, KID_BYTES);
	buf_append(to, fields->rcpt_user, ID_BYTES);
	buf_append(to, fields->vault_id, ID_BYTES);
	buf_put_u64(to, fields->unix_ms);
	buf_put_u64(to, fields->expires_ms);
	buf_put_u32(to, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		buf_put_u64(to, pages[i].page_no);
		buf_put_u64(to, pages[i].revision);
		buf_put_u32(to, pages[i].epoch);
		buf_append(to, pages[i].page_hash, HASH_BYTES);
		buf_append(to, pages[i].packet_id, ID_BYTES);
	}
	buf_put_lp32(to, fields->body);
}

int share_note_make(const struct share_note *fields, const struct share_note_page *pages, size_t n,
	const struct key *sender, struct buf *ret_note, struct err *e)
{
	_cleanup_(buf_release) struct buf note = BUF_INIT, signature = BUF_INIT;
	struct share_note made;
	uint8_t message[HASH_BYTES];
	int rc;

	if (n > SHARE_NOTE_PAGES_MAX || fields->body.len > SHARE_NOTE_BODY_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "share note: %zu pages, at most %d", n,
			SHARE_NOTE_PAGES_MAX);
	}
	note_put(fields, pages, n, key_pub_kid(key_public(sender)), &note);
	HASH_TH(message, "kluis/v1/share-note", buf_bytes(&note));
	rc = sign_make(sender, bytes_of(message, sizeof message), &signature, e);
	if (rc != 0) {
		return rc;
	}
	buf_put_lp16(&note, buf_bytes(&signature));
	rc = share_note_parse(buf_bytes(&note), &made, e);
	if (rc == 0) {
		buf_append_bytes(ret_note, buf_bytes(&note));
	}
	return rc;
}
