/* kluisctl restore vault: one vault out of a snapshot, as a copy that its owner can check and take
 * up. The rows are read twice: which pages there are, then their bytes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/client/vault_copy.h"
#include "cli/ops/restore_parts.h"
#include "crypto/page.h"
#include "storage/page_store.h"
#include "storage/vault_store.h"

/* A current page of the vault. */
struct taken_page {
	uint8_t hash[HASH_BYTES];
	uint64_t page_no, revision;
	uint32_t epoch;
	uint8_t leaf[HASH_BYTES];
};

struct taking {
	struct restore r;
	struct point *point;
	uint8_t vault_id[ID_BYTES];
	struct vault_row vault;
	bool found;
	struct vault_copy copy;
	uint64_t head_seq;
	struct taken_page *pages;
	size_t n_pages, pages_cap;
	uint64_t written, bytes;
	const char *out;
	char *part; /* <out>.part until it is whole. */
};

static void taking_release(struct taking *t)
{
	restore_release(&t->r);
	point_free(t->point);
	vault_copy_release(&t->copy);
	free(t->pages);
	free(t->part);
}

/* Whether the key is of a row of this family and vault. */
static bool row_is(const struct taking *t, enum key_family family, struct bytes key)
{
	return key.len >= 1 + ID_BYTES && key.data[0] == family &&
	       memcmp(key.data + 1, t->vault_id, ID_BYTES) == 0;
}

/* --- first reading: what there is ------------------------------------------------------------ */

static int take_head(struct taking *t, struct bytes key, struct bytes value)
{
	struct head_row row;
	int rc = head_row_decode(key, value, &row, &t->r.inv->err);

	if (rc != 0 || row.seq <= t->head_seq) {
		return rc;
	}
	if (row.signed_head.len != HEAD_BYTES) {
		return err_set(&t->r.inv->err, KLUIS_ECORRUPT, "a head of another length");
	}
	memcpy(t->copy.head_bytes, row.signed_head.data, HEAD_BYTES);
	t->head_seq = row.seq;
	return 0;
}

static int take_page_row(struct taking *t, struct bytes value)
{
	struct taken_page *page;
	struct page_row row;
	int rc = page_row_decode(value, &row, &t->r.inv->err);

	if (rc != 0) {
		return rc;
	}
	if (t->n_pages == VAULT_PAGES_MAX) {
		return err_set(&t->r.inv->err, KLUIS_ECORRUPT, "more pages than can be");
	}
	if (t->n_pages == t->pages_cap) {
		t->pages_cap = t->pages_cap == 0 ? 1024 : 2 * t->pages_cap;
		t->pages = x_realloc(t->pages, t->pages_cap * sizeof *t->pages);
	}
	page = &t->pages[t->n_pages++];
	*page = (struct taken_page){
		.page_no = row.page_no, .revision = row.revision, .epoch = row.key_epoch};
	memcpy(page->hash, row.hash, HASH_BYTES);
	memcpy(page->leaf, row.leaf, HASH_BYTES);
	return 0;
}

static int take_row(struct taking *t, struct point_rows *rows, const struct index_entry *entry)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct err *e = &t->r.inv->err;
	bool vault = row_is(t, KEY_VAULT, entry->key), head = row_is(t, KEY_HEAD, entry->key),
	     page = row_is(t, KEY_PAGE, entry->key);
	int rc;

	if (!vault && !head && !page) {
		return 0;
	}
	rc = point_rows_value(rows, &value, e);
	if (rc != 0) {
		return rc;
	}
	if (head) {
		return take_head(t, entry->key, buf_bytes(&value));
	}
	if (page) {
		return take_page_row(t, buf_bytes(&value));
	}
	rc = vault_row_decode(entry->key, buf_bytes(&value), &t->vault, e);
	t->found = rc == 0;
	return rc;
}

/* --- second reading: the bytes --------------------------------------------------------------- */

static int page_compare(const void *a, const void *b)
{
	return memcmp(a, b, HASH_BYTES); /* The hash comes first. */
}

/* Whether these are the bytes of a current page, and of which. */
static const struct taken_page *take_wanted(const struct taking *t, struct bytes key)
{
	if (!row_is(t, KEY_BYTES, key) || key.len != 1 + ID_BYTES + HASH_BYTES || t->n_pages == 0) {
		return NULL;
	}
	return bsearch(
		key.data + 1 + ID_BYTES, t->pages, t->n_pages, sizeof *t->pages, page_compare);
}

/* Not synced one by one: all are before the directory gets its name. */
static int take_store(struct taking *t, uint64_t page_no, struct bytes page)
{
	_cleanup_(x_freep) char *path = vault_copy_page(t->part, page_no);
	_cleanup_(x_closep) int fd =
		open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || file_write_all(fd, page) != 0) {
		return err_set_errno(&t->r.inv->err, errno, "write '%s'", path);
	}
	t->written++;
	t->bytes += page.len;
	return 0;
}

static int take_sync(struct taking *t)
{
	_cleanup_(x_closep) int fd = open(t->part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && syncfs(fd) == 0
		       ? 0
		       : err_set_errno(&t->r.inv->err, errno, "sync '%s'", t->part);
}

static int take_bytes(struct taking *t, struct point_rows *rows, const struct index_entry *entry)
{
	const struct taken_page *page = take_wanted(t, entry->key);
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct err *e = &t->r.inv->err;
	struct page_place place;
	uint8_t leaf[HASH_BYTES];
	int rc;

	if (page == NULL) {
		return 0;
	}
	rc = point_rows_value(rows, &value, e);
	if (rc != 0) {
		return rc;
	}
	place = (struct page_place){
		.page_no = page->page_no, .revision = page->revision, .key_epoch = page->epoch};
	memcpy(place.vault_id, t->vault_id, ID_BYTES);
	page_leaf(&place, entry->value_hash, leaf); /* A bytes row is the page itself. */
	if (memcmp(leaf, page->leaf, HASH_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "page %llu is not the one its row names",
			(unsigned long long)page->page_no);
	}
	return take_store(t, page->page_no, buf_bytes(&value));
}

/* --- both ------------------------------------------------------------------------------------ */

static int take_scan(struct taking *t,
	int (*each)(struct taking *t, struct point_rows *rows, const struct index_entry *entry))
{
	struct err *e = &t->r.inv->err;
	struct point_rows *rows = NULL;
	struct index_entry entry;
	bool more = true;
	uint64_t done = 0;
	_cleanup_(x_freep) char *scratch = offline_scratch(&t->r.offline);
	int rc = point_rows_new(t->point, &t->r.keys, scratch, &rows, e);

	while (rc == 0) {
		rc = point_rows_next(rows, &entry, &more, e);
		if (rc != 0 || !more) {
			break;
		}
		rc = each(t, rows, &entry);
		if (++done % 1024 == 0) {
			progress_set(&t->r.progress, done, point_rows_live(rows));
		}
	}
	point_rows_free(rows);
	return rc;
}

/* Of the pages by number: what the head names. */
static int take_leaves(struct taking *t)
{
	struct vault_copy *copy = &t->copy;
	struct err *e = &t->r.inv->err;
	int rc = head_parse(bytes_of(copy->head_bytes, HEAD_BYTES), &copy->head, e);

	if (rc == 0 &&
		(copy->head.seq != t->vault.seq || copy->head.page_count > VAULT_PAGES_MAX)) {
		rc = err_set(e, KLUIS_ECORRUPT, "the snapshot lacks the vault's head");
	}
	if (rc != 0) {
		return rc;
	}
	copy->leaves = x_calloc((size_t)copy->head.page_count + 1, sizeof *copy->leaves);
	for (uint64_t i = 0; i < copy->head.page_count; i++) {
		page_leaf_unwritten(t->vault_id, i, copy->leaves[i].leaf);
	}
	for (size_t i = 0; i < t->n_pages; i++) {
		const struct taken_page *page = &t->pages[i];
		struct vault_copy_leaf *leaf;

		if (page->page_no >= copy->head.page_count) {
			return err_set(e, KLUIS_ECORRUPT, "a page beyond what the head names");
		}
		leaf = &copy->leaves[page->page_no];
		leaf->revision = page->revision;
		leaf->epoch = page->epoch;
		memcpy(leaf->leaf, page->leaf, HASH_BYTES);
	}
	return 0;
}

/* What a client will check, checked before it is handed out. */
static int take_encode(struct taking *t, struct buf *to)
{
	struct vault_copy *copy = &t->copy, again;
	int rc;

	memcpy(copy->cluster_id, t->r.plan.cluster_id, ID_BYTES);
	memcpy(copy->lineage, t->r.plan.lineage, ID_BYTES);
	memcpy(copy->manifest_hash, t->r.snapshot.hash, HASH_BYTES);
	copy->index = t->r.plan.index;
	copy->time_ms = t->r.plan.cluster_time_ms;
	vault_copy_encode(copy, to);
	rc = vault_copy_parse(buf_bytes(to), &again, &t->r.inv->err);
	if (rc == 0) {
		vault_copy_release(&again);
	}
	return rc;
}

static bool take_deleted(const uint8_t (*ids)[ID_BYTES], size_t n, const uint8_t id[ID_BYTES])
{
	for (size_t i = 0; i < n; i++) {
		if (memcmp(ids[i], id, ID_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

static int take_check(struct taking *t)
{
	struct err *e = &t->r.inv->err;

	if (!t->found || t->vault.state != VAULT_ACTIVE) {
		return err_set(e, KLUIS_ENOTFOUND, "the snapshot has no such vault%s",
			t->found ? ": it was deleted before" : "");
	}
	if (take_deleted(t->r.deletions.vaults, t->r.deletions.n_vaults, t->vault_id) ||
		(t->vault.counted && take_deleted(t->r.deletions.persons, t->r.deletions.n_persons,
					     t->vault.founder))) {
		return err_set(e, KLUIS_EGONE,
			"the vault, or who founded it, was deleted after the snapshot: nothing "
			"undoes that");
	}
	return take_leaves(t);
}

static int take_write(struct taking *t)
{
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	_cleanup_(x_freep) char *path = vault_copy_file(t->part);
	struct err *e = &t->r.inv->err;
	int rc = take_encode(t, &encoded);

	if (rc == 0 && t->n_pages > 0) {
		qsort(t->pages, t->n_pages, sizeof *t->pages, page_compare);
	}
	rc = rc != 0 ? rc : file_remove_tree(t->part, e); /* Of a run that was interrupted. */
	rc = rc != 0 ? rc : file_make_dirs(t->part, 0700, e);
	rc = rc != 0 ? rc : take_scan(t, take_bytes);
	if (rc == 0 && t->written != t->n_pages) {
		rc = err_set(e, KLUIS_ECORRUPT, "the snapshot lacks pages of the vault");
	}
	rc = rc != 0 ? rc : file_create(path, buf_bytes(&encoded), 0600, e);
	rc = rc != 0 ? rc : take_sync(t);
	if (rc == 0 && rename(t->part, t->out) != 0) {
		rc = err_set_errno(e, errno, "rename to '%s'", t->out);
	}
	if (rc != 0) {
		(void)!file_remove_tree(t->part, NULL); /* The next run does, too. */
	}
	return rc;
}

static void take_print(const struct taking *t)
{
	static const struct output_column columns[] = {{"vault", "Vault", OUTPUT_TEXT},
		{"id", "Snapshot", OUTPUT_TEXT}, {"head", "As of head", OUTPUT_TEXT},
		{"written", "Signed", OUTPUT_TIME}, {"pages", "Pages", OUTPUT_TEXT},
		{"bytes", "Bytes", OUTPUT_BYTES}, {"copy", "Copy", OUTPUT_TEXT}};
	json_t *record = json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:s}", "vault",
		json_hex(bytes_of(t->vault_id, ID_BYTES)), "id",
		json_sprintf("%llu", (unsigned long long)t->r.snapshot.manifest.id), "head",
		(json_int_t)t->copy.head.seq, "written", (json_int_t)t->copy.head.unix_ms, "pages",
		(json_int_t)t->written, "bytes", (json_int_t)t->bytes, "copy", t->out);

	output_record(&t->r.inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
	output_note(&t->r.inv->out, "Its owner takes it up: kluis vault restore VAULT %s", t->out);
}

static int take_open(struct taking *t)
{
	struct invocation *inv = t->r.inv;
	int rc = ops_needed(inv, "out", &t->out);

	if (rc == 0 && hex_decode(inv->args[0], t->vault_id, ID_BYTES) != 0) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "'%s' is no vault's id", inv->args[0]);
	}
	if (rc == 0 && file_exists(t->out)) {
		rc = err_set(&inv->err, KLUIS_EEXIST, "'%s' is there already", t->out);
	}
	rc = rc != 0 ? rc : restore_open(&t->r);
	rc = rc != 0 ? rc : ops_key_files(inv, &t->r.keys);
	rc = rc != 0 ? rc : restore_collect(&t->r);
	return rc != 0 ? rc
		       : point_open(t->r.offline.repository, t->r.snapshot.hash,
				 &t->r.offline.trust, &t->point, &inv->err);
}

int ops_restore_vault(struct invocation *inv)
{
	_cleanup_(taking_release) struct taking t = {.r = {.inv = inv}};
	int rc = take_open(&t);

	if (rc != 0) {
		return rc;
	}
	t.part = x_asprintf("%s.part", t.out);
	progress_init(&t.r.progress, &inv->out, "restore");
	rc = take_scan(&t, take_row);
	rc = rc != 0 ? rc : take_check(&t);
	rc = rc != 0 ? rc : take_write(&t);
	progress_release(&t.r.progress);
	if (rc == 0) {
		take_print(&t);
	}
	return rc;
}
