/* What goes into the history: kept by the profile until a commit of the vault has it. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/limits.h"
#include "cli/client/chat_store.h"
#include "cli/client/conversation_archive_impl.h"
#include "cli/client/put_impl.h"

enum {
	ARCHIVE_TRIES_MAX = 8,
	ARCHIVE_PAGES_MAX = 16, /* Of one commit. */
	ARCHIVE_PAGE_EXTRA = 4096,
	ARCHIVE_LAZY_MESSAGES = 64,
	ARCHIVE_LAZY_BYTES = CHAT_BACKLOG_BYTES_MAX / 2,
};

/* Room in one that is empty, as commit_has_room() counts: without it none would ever get on. */
static_assert(2 * (CHAT_SEGMENTS_MAX * (int)sizeof(struct chat_index_row) + ARCHIVE_PAGE_EXTRA) +
			      CHAT_SEGMENT_BYTES_MAX + 2 * ARCHIVE_PAGE_EXTRA <
		      COMMIT_INLINE_BYTES_MAX,
	"a full index and a segment go with one commit");

/* One commit: the index, when it changes, and segments in order of their pages. */
struct archive_commit {
	struct conversation *c;
	struct chat_index *index; /* As it will be. */
	bool index_dirty;
	struct api_entry entries[ARCHIVE_PAGES_MAX];
	struct buf pages[ARCHIVE_PAGES_MAX];
	size_t n, bytes;
	size_t done; /* Of the backlog. */
	uint64_t next_page;
};

static void commit_release(struct archive_commit *commit)
{
	for (size_t i = 0; i < commit->n; i++) {
		buf_release(&commit->pages[i]);
	}
	free(commit->index);
	free(commit);
}
static void commit_releasep(struct archive_commit **commit)
{
	commit_release(*commit);
}

static struct archive_commit *commit_new(
	struct conversation *c, const struct conversation_archive *archive)
{
	struct archive_commit *commit = x_calloc(1, sizeof *commit);

	commit->c = c;
	commit->index = x_memdup(archive->index, sizeof *archive->index);
	commit->next_page = put_first_page(archive->vault);
	return commit;
}

static int commit_page(struct archive_commit *commit, struct vault *vault, uint64_t page_no,
	unsigned kind, struct bytes content, struct err *e)
{
	struct api_entry *entry = &commit->entries[commit->n];
	struct buf *page = &commit->pages[commit->n];
	const struct vault_key *key = vault_write_key(vault);
	uint8_t plain[HASH_BYTES];
	int rc = vault_next_revision(vault, page_no, &entry->revision, e);

	assert(commit->n < ARCHIVE_PAGES_MAX);
	hash_sha256(content, plain);
	buf_reserve(page, content.len + ARCHIVE_PAGE_EXTRA);
	rc = rc != 0 ? rc
		     : vault_seal_page(
			       vault, page_no, entry->revision, kind, 0, content, plain, page, e);
	if (rc != 0) {
		buf_release(page);
		return rc;
	}
	assert(key != NULL); /* Sealed under it. */
	entry->page_no = page_no;
	entry->epoch = key->epoch;
	entry->page = buf_bytes(page);
	hash_sha256(entry->page, entry->page_hash);
	commit->bytes += page->len;
	commit->n++;
	return 0;
}

static int entry_compare(const void *a, const void *b)
{
	const struct api_entry *x = a, *y = b;

	return x->page_no < y->page_no ? -1 : x->page_no > y->page_no;
}

/* The index goes with what it names. */
static int commit_send(
	struct archive_commit *commit, struct conversation_archive *archive, struct err *e)
{
	struct vault *vault = archive->vault;
	int rc = 0;

	if (commit->index_dirty) {
		_cleanup_(buf_release) struct buf content = BUF_INIT;

		chat_index_encode(commit->index, commit->c->id, &content);
		rc = commit_page(
			commit, vault, CHAT_INDEX_PAGE, PAGE_CHUNK, buf_bytes(&content), e);
	}
	if (rc != 0 || commit->n == 0) {
		return rc;
	}
	qsort(commit->entries, commit->n, sizeof commit->entries[0], entry_compare);
	rc = vault_commit(vault, commit->entries, commit->n, e);
	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; i < commit->n; i++) {
		vault_cache_page(vault, commit->entries[i].page_no, commit->entries[i].page);
	}
	*archive->index = *commit->index;
	return 0;
}

int archive_begin(
	struct conversation *c, struct conversation_archive *archive, bool history, struct err *e)
{
	_cleanup_(commit_releasep) struct archive_commit *commit = commit_new(c, archive);
	int rc = commit_page(commit, archive->vault, 0, PAGE_ITEMS, bytes_of(NULL, 0), e);

	commit->index->history = history;
	commit->index_dirty = true;
	return rc != 0 ? rc : commit_send(commit, archive, e);
}

int archive_set_history(struct conversation *c, bool on, struct err *e)
{
	struct conversation_archive *archive = c->archive;
	int rc = KLUIS_ECONFLICT;

	for (unsigned turn = 0; rc == KLUIS_ECONFLICT && turn < ARCHIVE_TRIES_MAX; turn++) {
		_cleanup_(commit_releasep) struct archive_commit *commit = NULL;

		rc = archive_read_index(c, archive, e);
		commit = commit_new(c, archive);
		commit->index_dirty = commit->index->history != on;
		commit->index->history = on;
		rc = rc != 0 ? rc : commit_send(commit, archive, e);
	}
	if (rc == 0) {
		c->state.archive = on;
	}
	return rc;
}

/* Room for one segment more, however large, and the index. */
static bool commit_has_room(const struct archive_commit *commit)
{
	size_t index_bytes = commit->index->n * sizeof(struct chat_index_row);

	return commit->n + 2 < ARCHIVE_PAGES_MAX &&
	       commit->bytes + 2 * (index_bytes + ARCHIVE_PAGE_EXTRA) + CHAT_SEGMENT_BYTES_MAX +
			       2 * ARCHIVE_PAGE_EXTRA <
		       COMMIT_INLINE_BYTES_MAX;
}

/* One that has that number already is another: who archived it lies, or the cluster did to one of
 * us. */
static void commit_other(struct conversation *c, uint64_t seq)
{
	(void)err_set(&c->archive_trouble, KLUIS_EPIN,
		"the history has another message %" PRIu64
		" than was shown here: a member who archives, or the cluster, shows different "
		"histories; ask the others by another way",
		seq);
}

/* No segment is put between two: it would have a number that lies in the one before. */
static void commit_full(struct conversation *c, uint64_t seq)
{
	struct err why = {0};

	(void)err_set(&why, KLUIS_EQUOTA,
		"it has no room for message %" PRIu64 " where that belongs, and a gap there", seq);
	archive_trouble(c, &why);
}

/* The backlog's next messages into a segment; *ret_dirty: something of it is new. Ends at `end`,
 * where another segment begins, and where it is full. */
static void commit_fill(
	struct archive_commit *commit, struct chat_segment *segment, uint64_t end, bool *ret_dirty)
{
	const struct chat_segment *backlog = &commit->c->backlog;

	while (commit->done < backlog->n && backlog->records[commit->done].seq < end) {
		const struct chat_record *record = &backlog->records[commit->done];
		bool behind = segment->n == 0 || record->seq > segment->records[segment->n - 1].seq;
		bool grows = behind && end == UINT64_MAX; /* Else nothing can follow in another. */
		enum chat_merge merge = chat_segment_take(
			segment, record, grows ? CHAT_SEGMENT_BYTES : CHAT_SEGMENT_BYTES_MAX);

		if (merge == CHAT_MERGE_FULL && grows) {
			return;
		}
		if (merge == CHAT_MERGE_FULL) {
			commit_full(commit->c, record->seq);
		}
		if (merge == CHAT_MERGE_OTHER) {
			commit_other(commit->c, record->seq);
		}
		*ret_dirty = *ret_dirty || merge == CHAT_MERGE_TAKEN;
		commit->done++;
	}
}

static int commit_segment(struct archive_commit *commit, struct vault *vault, size_t row,
	const struct chat_segment *segment, struct err *e)
{
	struct chat_index_row *place = &commit->index->rows[row];
	_cleanup_(secret_buf_release) struct buf content = BUF_INIT;

	if (place->first_seq != segment->records[0].seq) {
		place->first_seq = segment->records[0].seq;
		commit->index_dirty = true;
	}
	buf_reserve(&content, segment->bytes);
	chat_segment_encode(segment, commit->c->id, &content);
	return commit_page(commit, vault, place->page_no, PAGE_CHUNK, buf_bytes(&content), e);
}

/* Into the segments that are there. */
static int commit_old(
	struct archive_commit *commit, struct conversation_archive *archive, struct err *e)
{
	const struct chat_segment *backlog = &commit->c->backlog;
	int rc = 0;

	while (rc == 0 && commit->done < backlog->n && commit->index->n > 0 &&
		commit_has_room(commit)) {
		size_t row = chat_index_find(commit->index, backlog->records[commit->done].seq);
		bool last = row + 1 == commit->index->n, dirty = false;
		size_t before = commit->done;

		rc = archive_read_segment(commit->c, archive, row, e);
		if (rc != 0) {
			return rc;
		}
		archive->revision = 0; /* It is changed here. */
		commit_fill(commit, &archive->segment,
			last ? UINT64_MAX : commit->index->rows[row + 1].first_seq, &dirty);
		rc = dirty ? commit_segment(commit, archive->vault, row, &archive->segment, e) : 0;
		if (last || commit->done == before) {
			return rc;
		}
	}
	return rc;
}

/* Behind the last one. */
static int commit_new_segments(
	struct archive_commit *commit, struct conversation_archive *archive, struct err *e)
{
	const struct chat_segment *backlog = &commit->c->backlog;
	int rc = 0;

	while (rc == 0 && commit->done < backlog->n && commit_has_room(commit)) {
		struct chat_index *index = commit->index;
		struct chat_segment segment = {.n = 0};
		bool dirty = false;

		if (index->n == CHAT_SEGMENTS_MAX) {
			return err_set(e, KLUIS_ETOOLARGE, "the history is full");
		}
		index->rows[index->n++] = (struct chat_index_row){.page_no = commit->next_page++};
		commit_fill(commit, &segment, UINT64_MAX, &dirty);
		rc = commit_segment(commit, archive->vault, index->n - 1, &segment, e);
		chat_segment_release(&segment);
	}
	return rc;
}

/* Whether what follows in the backlog lies behind all that is archived. */
static bool commit_at_end(
	const struct archive_commit *commit, const struct conversation_archive *archive)
{
	const struct chat_segment *backlog = &commit->c->backlog;

	return commit->done < backlog->n &&
	       (commit->index->n == 0 ||
		       (archive->row + 1 == commit->index->n && archive->segment.n > 0 &&
			       backlog->records[commit->done].seq >
				       archive->segment.records[archive->segment.n - 1].seq));
}

static int backlog_done(struct conversation *c, size_t n, struct err *e)
{
	struct chat_segment left = {.n = 0};

	for (size_t i = n; i < c->backlog.n; i++) {
		(void)chat_segment_take(&left, &c->backlog.records[i], SIZE_MAX);
	}
	chat_segment_release(&c->backlog);
	c->backlog = left;
	c->backlog_dirty = false;
	return chat_store_save_backlog(conversation_profile(c), c->id, &c->backlog, e);
}

/* As much as one commit takes. */
static int flush_once(struct conversation *c, struct err *e)
{
	struct conversation_archive *archive = c->archive;
	_cleanup_(commit_releasep) struct archive_commit *commit = commit_new(c, archive);
	int rc = commit_old(commit, archive, e);

	if (rc == 0 && commit_at_end(commit, archive)) {
		rc = commit_new_segments(commit, archive, e);
	}
	rc = rc != 0 ? rc : commit_send(commit, archive, e);
	return rc != 0 ? rc : backlog_done(c, commit->done, e);
}

/* Who was taken out of the conversation may be in its vault for a moment still. */
static bool flush_members_fit(const struct conversation *c)
{
	const struct members *in_vault = &c->archive->vault->membership->members;

	for (size_t i = 0; i < in_vault->count; i++) {
		if (members_find(&c->members->members, in_vault->member[i].id) == NULL) {
			return false;
		}
	}
	return true;
}

static bool flush_due(const struct conversation *c)
{
	return c->backlog.n >= ARCHIVE_LAZY_MESSAGES || c->backlog.bytes > ARCHIVE_LAZY_BYTES;
}

static int flush_all(struct conversation *c, struct err *e)
{
	unsigned turn = 0;
	int rc = 0;

	while (rc == 0 && c->backlog.n > 0) {
		rc = flush_once(c, e);
		if (rc == 0) {
			turn = 0;
		} else if ((rc == KLUIS_ECONFLICT || rc == KLUIS_EAGAIN) &&
			   turn++ < ARCHIVE_TRIES_MAX) {
			*e = (struct err){0};
			rc = archive_read_index(c, c->archive, e);
		}
	}
	return rc;
}

/* Where nothing is archived, whether somebody has switched that. */
static bool flush_looks(const struct conversation *c, bool lazy)
{
	static const uint8_t none[ID_BYTES];

	return !lazy && !c->state.archive && c->n_shown > 0 &&
	       memcmp(c->state.vault_id, none, ID_BYTES) != 0;
}

int conversation_archive_flush(struct conversation *c, bool lazy, struct err *e)
{
	struct err why = {0};
	int rc;

	if (!flush_looks(c, lazy) && (c->backlog.n == 0 || (lazy && !flush_due(c)))) {
		return 0;
	}
	rc = conversation_archive_open(c, e);
	if (rc != 0 || c->archive == NULL || c->backlog.n == 0) {
		return rc;
	}
	if (!c->archive->index->history) {
		return backlog_done(c, c->backlog.n, e);
	}
	if (vault_role(c->archive->vault) < MEMBER_WRITE || !flush_members_fit(c)) {
		return 0; /* Later. */
	}
	rc = flush_all(c, &why);
	if (rc != 0) {
		archive_trouble(c, &why);
	}
	return 0;
}

void conversation_archive_note(struct conversation *c, const struct chat_record *record)
{
	enum chat_merge merge = chat_segment_take(&c->backlog, record, CHAT_BACKLOG_BYTES_MAX);

	if (merge == CHAT_MERGE_FULL && c->archive_trouble.code == 0) {
		(void)err_set(&c->archive_trouble, KLUIS_EQUOTA,
			"history of the conversation: it could not be written for long, and has "
			"gaps from here");
	}
	c->backlog_dirty = c->backlog_dirty || merge == CHAT_MERGE_TAKEN;
}
