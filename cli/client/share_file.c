/* Giving a file or a page, and ending that. */
#include "cli/client/share_file.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "cli/client/download.h"
#include "cli/client/inbox.h"
#include "cli/client/json_reader.h"
#include "cli/client/share_impl.h"

enum { GIVE_BATCH = 256 }; /* Pages of one call. */
static const uint64_t give_day_ms = 24ull * 3600 * 1000;

/* One call of POST /v1/packets. */
struct sending {
	json_t *packets, *grants;
	size_t n_packets, n_grants;
};

static void sending_begin(struct sending *s)
{
	*s = (struct sending){.packets = json_array(), .grants = json_array()};
}

static void sending_release(struct sending *s)
{
	json_decref(s->packets);
	json_decref(s->grants);
}

static void sending_packet(struct sending *s, struct bytes packet)
{
	(void)json_array_append_new(s->packets, json_base64(packet));
	s->n_packets++;
}

static void sending_grant(struct sending *s, const uint8_t user_id[ID_BYTES],
	const uint8_t vault_id[ID_BYTES], const struct share_note_page *page)
{
	(void)json_array_append_new(s->grants,
		json_pack("{s:o, s:o, s:I, s:I}", "user", json_hex(bytes_of(user_id, ID_BYTES)),
			"vault", json_hex(bytes_of(vault_id, ID_BYTES)), "page",
			(json_int_t)page->page_no, "revision", (json_int_t)page->revision));
	s->n_grants++;
}

/* Takes what was collected; another call begins. */
static int sending_flush(struct sending *s, struct client *client, struct err *e)
{
	json_t *body;
	int rc = 0;

	if (s->n_packets > 0) {
		body = json_pack("{s:O, s:O}", "packets", s->packets, "grants", s->grants);
		rc = api_create(client, "/v1/packets", body, CLIENT_AUTH, NULL, e);
	}
	sending_release(s);
	sending_begin(s);
	return rc;
}

/* No page ever has it: a key under it goes alone, and nothing is shown that could be closed. */
static const uint64_t no_revision = INT64_MAX;

/* Pages of a vault that its recipient goes on seeing by other shares when one of them ends. A grant
 * is one for all shares of a page, and ends as the last of them said. */
struct kept_page {
	uint64_t page_no, revision;
	uint64_t unix_ms, expires_ms; /* Of the latest share that has it. */
};
struct kept {
	struct kept_page *pages; /* Ascending. */
	size_t n;
	bool unknown; /* What the other shares are could not be had. */
};

static void kept_release(struct kept *kept)
{
	free(kept->pages);
}

static int kept_same(const void *left, const void *right)
{
	const struct kept_page *a = left, *b = right;

	if (a->page_no != b->page_no) {
		return a->page_no < b->page_no ? -1 : 1;
	}
	return a->revision < b->revision ? -1 : a->revision > b->revision;
}

static int kept_compare(const void *left, const void *right)
{
	const struct kept_page *a = left, *b = right;
	int order = kept_same(a, b);

	return order != 0 ? order : a->unix_ms < b->unix_ms ? -1 : a->unix_ms > b->unix_ms;
}

static struct kept_page *kept_find(const struct kept *kept, const struct share_note_page *page)
{
	const struct kept_page at = {.page_no = page->page_no, .revision = page->revision};

	return kept->n == 0 ? NULL : bsearch(&at, kept->pages, kept->n, sizeof at, kept_same);
}

/* Only what the giver left with herself: whom she gave it could leave her the note of what is over.
 */
static bool kept_by(const struct shared_file *file, const struct share_note *ending)
{
	const struct share_note *note = &file->note;

	return file->problem.code == 0 && file->mine && file->left &&
	       note->expires_ms > clock_wall_ms(&clock_system) &&
	       memcmp(note->share_id, ending->share_id, ID_BYTES) != 0 &&
	       memcmp(note->rcpt_user, ending->rcpt_user, ID_BYTES) == 0 &&
	       memcmp(note->vault_id, ending->vault_id, ID_BYTES) == 0;
}

/* Of each page the latest share. */
static void kept_sort(struct kept *kept)
{
	size_t n = 0;

	if (kept->n > 0) {
		qsort(kept->pages, kept->n, sizeof *kept->pages, kept_compare);
	}
	for (size_t i = 0; i < kept->n; i++) {
		if (n == 0 || kept_same(&kept->pages[n - 1], &kept->pages[i]) != 0) {
			n++;
		}
		kept->pages[n - 1] = kept->pages[i];
	}
	kept->n = n;
}

/* files: what the giver has given, by her notes. */
static void kept_fill(struct kept *kept, const struct shared_file *files, size_t n,
	const struct share_note *ending)
{
	for (size_t i = 0; i < n; i++) {
		const struct share_note *note = &files[i].note;
		struct bytes run = note->pages;
		struct share_note_page page;

		if (!kept_by(&files[i], ending)) {
			continue;
		}
		kept->pages =
			x_realloc(kept->pages, (kept->n + note->n_pages) * sizeof *kept->pages);
		while (share_note_page_next(&run, &page)) {
			kept->pages[kept->n++] = (struct kept_page){
				page.page_no, page.revision, note->unix_ms, note->expires_ms};
		}
	}
	kept_sort(kept);
}

/* Of a page that another share gives as well its key in this one goes alone. While those are not
 * known none is closed: to whom nobody gave its key an open page says nothing. */
static uint64_t end_revision(const struct kept *kept, const struct share_note_page *page)
{
	return kept->unknown || kept_find(kept, page) != NULL ? no_revision : page->revision;
}

/* Takes back what a share opened, whatever room its recipient has left. */
static int end_pages(struct client *client, const struct share_note *note,
	const struct share_note_page *pages, size_t n, const struct kept *kept, struct err *e)
{
	char target[API_TARGET_MAX];
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(
			list, json_pack("{s:I, s:I, s:o}", "page", (json_int_t)pages[i].page_no,
				      "revision", (json_int_t)end_revision(kept, &pages[i]),
				      "packet", json_hex(bytes_of(pages[i].packet_id, ID_BYTES))));
	}
	api_target(target, "vaults", note->vault_id, "/pages:unshare");
	return api_json(client, "POST", target,
		json_pack("{s:o, s:o}", "user", json_hex(bytes_of(note->rcpt_user, ID_BYTES)),
			"pages", list),
		CLIENT_AUTH, NULL, e);
}

/* A share in the making. */
struct giving {
	struct vault *vault;
	const struct share_file_terms *terms;
	const struct key_pub *rcpt;
	struct share_note note;
	struct share_note_page pages[SHARE_NOTE_PAGES_MAX];
	size_t n, n_sent;
	uint8_t docs[2][ID_BYTES]; /* Notes that were left: the giver's own first. */
	size_t n_docs;
	struct sending sending;
};

static int give_check(struct giving *g, struct err *e)
{
	const struct share_with *with = g->terms->with;
	struct vault *vault = g->vault;
	const struct identity *identity;
	int rc = person_ready(vault->profile, e);

	if (rc == 0 && (with->kind != MEMBER_USER ||
			       memcmp(with->id, vault->profile->user_id, ID_BYTES) == 0)) {
		rc = err_set(e, KLUIS_EINVAL, "a file or page is given to one other user");
	}
	if (rc == 0 && (g->terms->days == 0 || g->terms->days > SHARE_FILE_DAYS_MAX)) {
		rc = err_set(e, KLUIS_EINVAL, "for 1 to %d days", SHARE_FILE_DAYS_MAX);
	}
	rc = rc != 0 ? rc : vault_members_refresh(vault, e);
	rc = rc != 0 ? rc : share_check_admin(vault->membership, vault->profile, vault->name, e);
	rc = rc != 0 ? rc : share_check_verified(vault, with, e);
	rc = rc != 0 ? rc : people_get(vault->people, with->id, true, &identity, e);
	return rc != 0 ? rc : people_transfer_key(identity, &g->rcpt, e);
}

static void give_begin(struct giving *g)
{
	struct share_note *note = &g->note;

	note->unix_ms = clock_wall_ms(&clock_system);
	note->expires_ms = note->unix_ms + g->terms->days * give_day_ms;
	random_fill(&random_system, note->share_id, ID_BYTES);
	memcpy(note->sender_user, g->vault->profile->user_id, ID_BYTES);
	memcpy(note->rcpt_user, g->terms->with->id, ID_BYTES);
	memcpy(note->vault_id, g->vault->id, ID_BYTES);
	sending_begin(&g->sending);
}

/* What was sent may have come, unless it was refused. */
static int give_flush(struct giving *g, struct err *e)
{
	int rc = sending_flush(&g->sending, g->vault->client, e);

	if (rc != KLUIS_EQUOTA && rc != KLUIS_EFORBIDDEN) {
		g->n_sent = g->n;
	}
	return rc;
}

/* The KeyPacket of one page that was checked; its id goes into the note. */
static int give_key(struct giving *g, const struct page_header *header, struct bytes page,
	struct share_note_page *to, struct err *e)
{
	const struct vault_key *key = vault_epoch_key(g->vault, header->place.key_epoch);
	_cleanup_(secret_release) struct secret gift = SECRET_INIT;
	_cleanup_(buf_release) struct buf packet = BUF_INIT;
	struct packets_gift fields = {.purpose = KEYPACKET_PAGE,
		.object_id = g->vault->id,
		.rcpt_id = g->terms->with->id,
		.epoch = header->place.key_epoch,
		.rcpt = g->rcpt,
		.expires_ms = g->note.expires_ms};
	struct keypacket parsed;
	int rc = key == NULL ? err_set(e, KLUIS_EFORBIDDEN,
				       "the key of page %" PRIu64 " is not here", to->page_no)
			     : page_gift(secret_bytes(&key->vk), page, &gift, e);

	fields.secret = secret_bytes(&gift);
	rc = rc != 0 ? rc : packets_seal(g->vault->profile, &fields, &packet, e);
	rc = rc != 0 ? rc : keypacket_parse(buf_bytes(&packet), &parsed, e);
	if (rc == 0) {
		memcpy(to->packet_id, parsed.packet_id, ID_BYTES);
		sending_packet(&g->sending, buf_bytes(&packet));
	}
	return rc;
}

static int give_page(struct giving *g, uint64_t page_no, struct bytes page, struct err *e)
{
	struct share_note_page *to = &g->pages[g->n];
	struct page_header header;
	int rc = page_parse(page, &header, e);

	if (rc == 0 && g->note.kind == SHARE_NOTE_ITEM && header.kind != PAGE_ITEMS) {
		rc = err_set(e, KLUIS_EINVAL, "page %" PRIu64 " is a part of a file: share that",
			page_no);
	}
	if (rc != 0) {
		return rc;
	}
	*to = (struct share_note_page){.page_no = page_no,
		.revision = header.place.revision,
		.epoch = header.place.key_epoch};
	hash_sha256(page, to->page_hash);
	rc = give_key(g, &header, page, to, e);
	if (rc == 0) {
		sending_grant(&g->sending, g->terms->with->id, g->vault->id, to);
		g->n++;
	}
	if (rc == 0 && g->sending.n_packets == GIVE_BATCH) {
		rc = give_flush(g, e);
	}
	return rc;
}

/* Each is the leaf that the verified head names. */
static int give_pages(
	struct giving *g, const uint64_t *page_nos, size_t n, bool *ret_moved, struct err *e)
{
	struct download *download;
	int rc = 0;

	if (n > SHARE_NOTE_PAGES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE,
			"it has %zu pages, and alone at most %d can be shared: share its vault", n,
			SHARE_NOTE_PAGES_MAX);
	}
	download = download_new(g->vault, page_nos, n);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct bytes page;

		rc = download_next(download, &page, e);
		if (rc != 0 || vault_check_page(g->vault, page_nos[i], page, e) != 0) {
			rc = vault_judge_page(
				g->vault, page_nos[i], rc != 0 ? rc : KLUIS_EVERIFY, ret_moved, e);
			rc = rc != 0 ? rc
				     : err_set(e, KLUIS_ECONFLICT,
					       "vault '%s' changed while it was read",
					       g->vault->name);
		}
		rc = rc != 0 ? rc : give_page(g, page_nos[i], page, e);
	}
	download_free(download);
	return rc != 0 ? rc : give_flush(g, e);
}

/* One for her, and one for oneself, to know of it on all devices. */
static int give_note(struct giving *g, json_t *body, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf text = BUF_INIT;
	_cleanup_(buf_release) struct buf note = BUF_INIT;
	const struct profile *profile = g->vault->profile;
	const uint8_t *owners[] = {profile->user_id, g->terms->with->id};
	int rc;

	json_take_text(body, &text);
	g->note.body = buf_bytes(&text);
	rc = share_note_make(&g->note, g->pages, g->n, profile->signing, &note, e);
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(owners); i++) {
		const struct identity *owner;

		rc = people_get(g->vault->people, owners[i], false, &owner, e);
		rc = rc != 0 ? rc
			     : inbox_leave(g->vault->people, owner, INBOX_SHARE, buf_bytes(&note),
				       g->docs[g->n_docs], e);
		g->n_docs += rc == 0;
	}
	return rc;
}

/* --- what failed on its way is taken back: without its notes nobody could end it. What cannot be
 * taken back either ends by itself --- */

/* A grant comes with a packet, and ends as that does. This one is in no note, and is taken back. */
static int restore_packet(
	struct giving *g, uint64_t expires_ms, struct share_note_page *ret_packet, struct err *e)
{
	_cleanup_(secret_release) struct secret nothing = SECRET_INIT;
	_cleanup_(buf_release) struct buf packet = BUF_INIT;
	struct packets_gift fields = {.purpose = KEYPACKET_PAGE,
		.object_id = g->vault->id,
		.rcpt_id = g->terms->with->id,
		.epoch = g->pages[0].epoch,
		.rcpt = g->rcpt,
		.expires_ms = expires_ms};
	struct keypacket parsed;
	int rc;

	secret_random(&nothing, HASH_BYTES, &random_system);
	fields.secret = secret_bytes(&nothing);
	rc = packets_seal(g->vault->profile, &fields, &packet, e);
	rc = rc != 0 ? rc : keypacket_parse(buf_bytes(&packet), &parsed, e);
	if (rc == 0) {
		*ret_packet = (struct share_note_page){.revision = no_revision};
		memcpy(ret_packet->packet_id, parsed.packet_id, ID_BYTES);
		sending_packet(&g->sending, buf_bytes(&packet));
	}
	return rc;
}

/* Those pages from the nth on that ended as it did, as many as one call takes. */
static int restore_some(struct giving *g, struct kept *kept, size_t nth, struct err *e)
{
	uint64_t expires_ms = kept_find(kept, &g->pages[nth])->expires_ms;
	struct share_note_page packet;
	int rc;

	sending_begin(&g->sending);
	rc = restore_packet(g, expires_ms, &packet, e);
	for (size_t i = nth; i < g->n_sent && g->sending.n_grants < GIVE_BATCH; i++) {
		struct kept_page *page = kept_find(kept, &g->pages[i]);

		if (page != NULL && page->expires_ms == expires_ms) {
			sending_grant(&g->sending, g->terms->with->id, g->vault->id, &g->pages[i]);
			page->expires_ms = 0; /* Restored. */
		}
	}
	rc = rc != 0 ? rc : sending_flush(&g->sending, g->vault->client, e);
	rc = rc != 0 ? rc : end_pages(g->vault->client, &g->note, &packet, 1, kept, e);
	sending_release(&g->sending);
	return rc;
}

/* By the giver's own notes. */
static void kept_look(struct kept *kept, const struct giving *g)
{
	struct shared_file *files = NULL;
	struct err ignored = {0};
	size_t n = 0;

	if (shared_files(g->vault->people, &files, &n, &ignored) != 0) {
		kept->unknown = true;
		return;
	}
	kept_fill(kept, files, n, &g->note);
	shared_files_free(files, n);
}

static void give_undo(struct giving *g)
{
	_cleanup_(kept_release) struct kept kept = {.n = 0};
	struct client *client = g->vault->client;
	struct err ignored = {0};
	int rc = g->n_docs == 0 ? 0 : api_inbox_delete(client, g->docs[0], &ignored);

	if (rc != 0 || g->n_sent == 0) {
		return;
	}
	kept_look(&kept, g);
	for (size_t i = 0; rc == 0 && i < g->n_sent; i += GIVE_BATCH) {
		size_t left = g->n_sent - i;

		rc = end_pages(client, &g->note, &g->pages[i],
			left < GIVE_BATCH ? left : GIVE_BATCH, &kept, &ignored);
	}
	for (size_t i = 0; rc == 0 && i < g->n_sent; i++) {
		const struct kept_page *page = kept_find(&kept, &g->pages[i]);

		if (page != NULL && page->expires_ms != 0) {
			rc = restore_some(g, &kept, i, &ignored);
		}
	}
}

static int give_finish(struct giving *g, int rc, uint8_t ret_id[ID_BYTES])
{
	sending_release(&g->sending);
	if (rc == 0) {
		memcpy(ret_id, g->note.share_id, ID_BYTES);
	} else {
		give_undo(g);
	}
	return rc;
}

static int give_file(struct giving *g, struct tree *tree, const struct tree_item *item,
	bool *ret_moved, struct err *e)
{
	struct tree_file file;
	int rc = tree_file_of(tree, item, &file, e);

	if (rc != 0) {
		return rc;
	}
	g->note.kind = SHARE_NOTE_FILE;
	rc = give_pages(g, file.pages, file.n_pages, ret_moved, e);
	rc = rc != 0 ? rc
		     : give_note(g,
			       json_pack("{s:s, s:I, s:o}", "name", item->name, "size",
				       (json_int_t)file.size, "sha256",
				       json_hex(bytes_of(file.sha256, HASH_BYTES))),
			       e);
	tree_file_release(&file);
	return rc;
}

int share_file_give(struct tree *tree, const char *path, const struct share_file_terms *terms,
	uint8_t ret_id[ID_BYTES], bool *ret_moved, struct err *e)
{
	_cleanup_(x_freep) struct giving *g = x_calloc(1, sizeof *g);
	struct tree_item *item;
	int rc;

	*ret_moved = false;
	*g = (struct giving){.vault = tree->vault, .terms = terms};
	rc = tree_find(tree, path, &item, e);
	if (rc == 0 && (item == NULL || item->type != ITEM_FILE)) {
		rc = err_set(e, KLUIS_EINVAL,
			"'%s' is no file: what else there is can be shared with its vault, or "
			"with its page",
			path);
	}
	rc = rc != 0 ? rc : give_check(g, e);
	if (rc != 0) {
		return rc;
	}
	give_begin(g);
	return give_finish(g, give_file(g, tree, item, ret_moved, e), ret_id);
}

int share_page_give(struct vault *vault, uint64_t page_no, const struct share_file_terms *terms,
	uint8_t ret_id[ID_BYTES], bool *ret_moved, struct err *e)
{
	_cleanup_(x_freep) struct giving *g = x_calloc(1, sizeof *g);
	_cleanup_(x_freep) char *name = x_asprintf("%s page %" PRIu64, vault->name, page_no);
	int rc = 0;

	*ret_moved = false;
	*g = (struct giving){.vault = vault, .terms = terms};
	if (page_no >= vault->head.page_count || !vault_page_written(vault, page_no)) {
		rc = err_set(e, KLUIS_ENOTFOUND, "vault '%s' has no page %" PRIu64, vault->name,
			page_no);
	}
	rc = rc != 0 ? rc : give_check(g, e);
	if (rc != 0) {
		return rc;
	}
	give_begin(g);
	g->note.kind = SHARE_NOTE_ITEM;
	rc = give_pages(g, &page_no, 1, ret_moved, e);
	rc = rc != 0 ? rc : give_note(g, json_pack("{s:s}", "name", name), e);
	return give_finish(g, rc, ret_id);
}

/* --- its end --- */

static int end_given(struct client *client, const struct share_note *note, const struct kept *kept,
	struct err *e)
{
	struct share_note_page pages[GIVE_BATCH];
	struct bytes run = note->pages;
	size_t n;
	int rc = 0;

	do {
		for (n = 0; n < GIVE_BATCH && share_note_page_next(&run, &pages[n]); n++) {
		}
		rc = n == 0 ? 0 : end_pages(client, note, pages, n, kept, e);
	} while (rc == 0 && n == GIVE_BATCH);
	return rc;
}

static int end_got(struct people *people, const struct share_note *note, struct err *e)
{
	struct bytes run = note->pages;
	struct share_note_page page;
	int rc = 0;

	while (rc == 0 && share_note_page_next(&run, &page)) {
		rc = packets_ack(people_client(people), page.packet_id, e);
	}
	return rc;
}

int shared_file_end(struct people *people, const struct shared_file *files, size_t n,
	const struct shared_file *file, struct err *e)
{
	_cleanup_(kept_release) struct kept kept = {.n = 0};
	int rc;

	assert(file->problem.code == 0);
	if (file->mine) {
		kept_fill(&kept, files, n, &file->note);
	}
	rc = file->mine ? end_given(people_client(people), &file->note, &kept, e)
			: end_got(people, &file->note, e);
	return rc != 0 ? rc : api_inbox_delete(people_client(people), file->doc_id, e);
}
