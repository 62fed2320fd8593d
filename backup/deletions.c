#include "backup/deletions.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/wire.h"

enum {
	HASHED_BYTES = DELETION_BYTES - HASH_BYTES,
	MARK_BODY_BYTES = DELETION_MARK_BYTES - SIGN_ED25519_BYTES,
	READ_RECORDS = 512,
};

/* --- bytes ----------------------------------------------------------------------------------- */

static void deletion_chain(uint8_t chain[HASH_BYTES], const uint8_t record[DELETION_BYTES])
{
	HASH_TH(chain, "kluis/v1/deletion", bytes_of(chain, HASH_BYTES),
		bytes_of(record, HASHED_BYTES));
}

void deletion_encode(
	const struct deletion *d, uint8_t chain[HASH_BYTES], uint8_t to[DELETION_BYTES])
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;

	assert(d->kind > 0 && d->kind < DELETION_KINDS);
	buf_put_u8(&b, 1);
	buf_put_u8(&b, d->kind);
	buf_put_zeros(&b, 6);
	buf_append(&b, d->lineage, ID_BYTES);
	buf_put_u64(&b, d->index);
	buf_put_u64(&b, d->time_ms);
	buf_append(&b, d->id, ID_BYTES);
	assert(b.len == HASHED_BYTES);
	memcpy(to, b.data, HASHED_BYTES);
	deletion_chain(chain, to);
	memcpy(to + HASHED_BYTES, chain, HASH_BYTES);
}

int deletion_decode(const uint8_t from[DELETION_BYTES], uint8_t chain[HASH_BYTES],
	struct deletion *ret_deletion, struct err *e)
{
	struct wire w = wire_of(bytes_of(from, HASHED_BYTES));
	struct deletion d = {0};
	uint8_t next[HASH_BYTES];
	unsigned version = wire_u8(&w), kind = wire_u8(&w);

	wire_zeros(&w, 6);
	wire_copy(&w, d.lineage, ID_BYTES);
	d.index = wire_u64(&w);
	d.time_ms = wire_u64(&w);
	wire_copy(&w, d.id, ID_BYTES);
	memcpy(next, chain, HASH_BYTES);
	deletion_chain(next, from);
	/* The hash first: what a disk changed is damage, whatever it looks like. */
	if (memcmp(next, from + HASHED_BYTES, HASH_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "a deletion does not follow the one before it");
	}
	if (version != 1 || kind == 0 || kind >= DELETION_KINDS) {
		return err_set(
			e, KLUIS_EVERSION, "a deletion of version %u and kind %u", version, kind);
	}
	if (!wire_end(&w) || d.index == 0) {
		return err_set(e, KLUIS_ECORRUPT, "not a deletion");
	}
	d.kind = (enum deletion_kind)kind;
	memcpy(chain, next, HASH_BYTES);
	*ret_deletion = d;
	return 0;
}

int deletion_mark_encode(const struct deletion_mark *m, const struct key *signer,
	uint8_t to[DELETION_MARK_BYTES], struct err *e)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	uint8_t th[HASH_BYTES];
	int rc;

	assert(key_pub_alg(key_public(signer)) == KEY_ED25519);
	buf_put_str(&b, "KDM1");
	buf_put_u8(&b, 1);
	buf_put_zeros(&b, 3);
	buf_append(&b, m->cluster_id, ID_BYTES);
	buf_append(&b, m->lineage, ID_BYTES);
	buf_put_u64(&b, m->node);
	buf_put_u64(&b, m->count);
	buf_put_u64(&b, m->index);
	buf_put_u64(&b, m->cluster_time_ms);
	buf_put_u64(&b, m->wall_ms);
	buf_append(&b, m->chain, HASH_BYTES);
	assert(b.len == MARK_BODY_BYTES);
	HASH_TH(th, "kluis/v1/deletion-mark", buf_bytes(&b));
	rc = sign_make(signer, bytes_of(th, sizeof th), &b, e);
	if (rc != 0) {
		return err_wrap(e, rc, "sign deletion mark");
	}
	assert(b.len == DELETION_MARK_BYTES);
	memcpy(to, b.data, DELETION_MARK_BYTES);
	return 0;
}

static int mark_parse(struct bytes bytes, struct deletion_mark *ret_mark, struct err *e)
{
	struct wire w = wire_of(bytes);
	struct deletion_mark m = {.node = 0};
	bool named = wire_match(&w, "KDM1");
	unsigned version = wire_u8(&w);

	if (named && wire_ok(&w) && version != 1) {
		return err_set(e, KLUIS_EVERSION, "a deletion mark of version %u", version);
	}
	wire_zeros(&w, 3);
	wire_copy(&w, m.cluster_id, ID_BYTES);
	wire_copy(&w, m.lineage, ID_BYTES);
	m.node = wire_u64(&w);
	m.count = wire_u64(&w);
	m.index = wire_u64(&w);
	m.cluster_time_ms = wire_u64(&w);
	m.wall_ms = wire_u64(&w);
	wire_copy(&w, m.chain, HASH_BYTES);
	(void)wire_bytes(&w, SIGN_ED25519_BYTES);
	if (!wire_end(&w) || m.count > INT64_MAX / DELETION_BYTES) {
		return err_set(e, KLUIS_ECORRUPT, "not a deletion mark");
	}
	*ret_mark = m;
	return 0;
}

/* pub may be NULL: a node that nobody knows. */
static int mark_verify(struct bytes bytes, const struct deletion_mark *mark,
	const struct key_pub *pub, struct err *e)
{
	uint8_t th[HASH_BYTES];

	HASH_TH(th, "kluis/v1/deletion-mark", bytes_of(bytes.data, MARK_BODY_BYTES));
	if (pub == NULL ||
		sign_verify(pub, bytes_of(th, sizeof th),
			bytes_of(bytes.data + MARK_BODY_BYTES, SIGN_ED25519_BYTES), NULL) != 0) {
		return err_set(e, KLUIS_EVERIFY, "the deletion mark's signature is not node %llu's",
			(unsigned long long)mark->node);
	}
	return 0;
}

int deletion_mark_open(struct bytes bytes, const struct backup_trust *trust,
	struct deletion_mark *ret_mark, struct err *e)
{
	const struct backup_trusted *node;
	struct deletion_mark mark;
	int rc = mark_parse(bytes, &mark, e);

	if (rc != 0) {
		return rc;
	}
	node = backup_trust_node(trust, mark.node);
	rc = mark_verify(bytes, &mark, node == NULL ? NULL : node->pub, e);
	if (rc == 0) {
		*ret_mark = mark;
	}
	return rc;
}

/* --- reading --------------------------------------------------------------------------------- */

char *deletion_journal_dir(const char *repository)
{
	return x_asprintf("%s/deletions", repository);
}

static char *mark_path(const char *dir)
{
	return x_asprintf("%s/mark", dir);
}

static char *journal_path(const char *dir)
{
	return x_asprintf("%s/journal", dir);
}

static int journal_read_some(int fd, uint8_t *to, size_t len, struct err *e)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = read(fd, to + got, len - got);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return err_set_errno(e, errno, "read deletions");
		}
		if (n == 0) {
			return err_set(e, KLUIS_EVERIFY,
				"the deletion journal is shorter than its mark says");
		}
		got += (size_t)n;
	}
	return 0;
}

/* From the file's beginning to the mark's count, against the mark's chain. */
static int journal_scan(int fd, const struct deletion_mark *mark,
	int (*each)(void *data, const struct deletion *deletion), void *data, struct err *e)
{
	_cleanup_(x_freep) uint8_t *records = x_malloc(READ_RECORDS * DELETION_BYTES);
	uint8_t chain[HASH_BYTES] = {0};
	struct deletion deletion;

	for (uint64_t at = 0; at < mark->count;) {
		size_t n =
			(size_t)(mark->count - at < READ_RECORDS ? mark->count - at : READ_RECORDS);
		int rc = journal_read_some(fd, records, n * DELETION_BYTES, e);

		for (size_t i = 0; rc == 0 && i < n; i++) {
			rc = deletion_decode(records + i * DELETION_BYTES, chain, &deletion, e);
			rc = rc != 0 ? rc : each(data, &deletion);
		}
		if (rc != 0) {
			return rc;
		}
		at += n;
	}
	return memcmp(chain, mark->chain, HASH_BYTES) == 0
		       ? 0
		       : err_set(e, KLUIS_EVERIFY, "the deletions are not those of their mark");
}

uint64_t deletion_journal_count(const char *dir)
{
	_cleanup_(x_freep) char *path = journal_path(dir);
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_size / DELETION_BYTES : 0;
}

int deletion_journal_read_mark(const char *dir, const struct backup_trust *trust,
	const uint8_t cluster_id[ID_BYTES], struct deletion_mark *ret_mark, struct err *e)
{
	_cleanup_(x_freep) char *path = mark_path(dir);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct deletion_mark mark;
	int rc = file_read(path, DELETION_MARK_BYTES, &bytes, e);

	rc = rc != 0 ? rc : deletion_mark_open(buf_bytes(&bytes), trust, &mark, e);
	if (rc == 0 && memcmp(mark.cluster_id, cluster_id, ID_BYTES) != 0) {
		rc = err_set(e, KLUIS_EVERIFY, "deletions of another cluster");
	}
	if (rc == 0) {
		*ret_mark = mark;
	}
	return rc;
}

int deletion_journal_read(const char *dir, const struct backup_trust *trust,
	const uint8_t cluster_id[ID_BYTES],
	int (*each)(void *data, const struct deletion *deletion), void *data,
	struct deletion_mark *ret_mark, struct err *e)
{
	_cleanup_(x_freep) char *path = journal_path(dir);
	_cleanup_(x_closep) int fd = -1;
	struct deletion_mark mark;
	int rc = deletion_journal_read_mark(dir, trust, cluster_id, &mark, e);

	if (rc != 0) {
		return rc;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		return errno == ENOENT ? err_set(e, KLUIS_EVERIFY, "'%s' is missing", path)
				       : err_set_errno(e, errno, "open '%s'", path);
	}
	rc = journal_scan(fd, &mark, each, data, e);
	if (rc == 0) {
		*ret_mark = mark;
	}
	return rc;
}

/* --- writing --------------------------------------------------------------------------------- */

struct deletion_journal {
	struct deletion_journal_config config;
	char *dir;
	int fd;
	struct deletion_mark mark;
	struct deletion last[DELETION_KINDS]; /* Index 0: none. */
};

const struct deletion_mark *deletion_journal_mark(const struct deletion_journal *journal)
{
	return &journal->mark;
}

const struct deletion *deletion_journal_last(const struct deletion_journal *journal,
	enum deletion_kind kind, const uint8_t lineage[ID_BYTES])
{
	const struct deletion *last = &journal->last[kind];

	return last->index != 0 && memcmp(last->lineage, lineage, ID_BYTES) == 0 ? last : NULL;
}

void deletion_journal_free(struct deletion_journal *journal)
{
	if (journal != NULL) {
		if (journal->fd >= 0) {
			(void)close(journal->fd); /* What counts was synced. */
		}
		free(journal->dir);
		free(journal);
	}
}

static int journal_note(void *data, const struct deletion *deletion)
{
	struct deletion_journal *journal = data;

	journal->last[deletion->kind] = *deletion;
	return 0;
}

/* Our own mark; KLUIS_ENOTFOUND when there is none. */
static int journal_load_mark(struct deletion_journal *journal, struct err *e)
{
	const struct deletion_journal_config *c = &journal->config;
	_cleanup_(x_freep) char *path = mark_path(journal->dir);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct deletion_mark mark;
	int rc = file_read(path, DELETION_MARK_BYTES, &bytes, e);

	rc = rc != 0 ? rc : mark_parse(buf_bytes(&bytes), &mark, e);
	rc = rc != 0 ? rc : mark_verify(buf_bytes(&bytes), &mark, key_public(c->signer), e);
	if (rc == 0 &&
		(mark.node != c->node || memcmp(mark.cluster_id, c->cluster_id, ID_BYTES) != 0)) {
		rc = err_set(e, KLUIS_EVERIFY, "the deletion journal is another node's");
	}
	if (rc == 0) {
		journal->mark = mark;
	}
	return rc;
}

static int journal_open_file(struct deletion_journal *journal, struct err *e)
{
	_cleanup_(x_freep) char *path = journal_path(journal->dir);

	journal->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	return journal->fd >= 0 ? 0 : err_set_errno(e, errno, "open '%s'", path);
}

/* A crash between records and mark leaves records that nobody signed. */
static int journal_cut(struct deletion_journal *journal, struct err *e)
{
	off_t bytes = (off_t)(journal->mark.count * DELETION_BYTES);

	return ftruncate(journal->fd, bytes) == 0 ? 0 : err_set_errno(e, errno, "cut deletions");
}

/* Neither file: a new journal. */
static int journal_load(struct deletion_journal *journal, struct err *e)
{
	_cleanup_(x_freep) char *path = journal_path(journal->dir);
	bool there = file_exists(path);
	int rc = journal_load_mark(journal, e);

	if (rc == KLUIS_ENOTFOUND) {
		struct stat st;

		/* The first mark had not been written: nothing was promised yet. */
		rc = there && (stat(path, &st) != 0 || st.st_size > 0)
			     ? err_set(e, KLUIS_EVERIFY, "deletions without a mark")
			     : 0;
	} else if (rc == 0 && !there) {
		rc = err_set(e, KLUIS_EVERIFY, "'%s' is missing", path);
	}
	rc = rc != 0 ? rc : journal_open_file(journal, e);
	rc = rc != 0 ? rc : journal_scan(journal->fd, &journal->mark, journal_note, journal, e);
	return rc != 0 ? rc : journal_cut(journal, e);
}

static void journal_reset(struct deletion_journal *journal)
{
	if (journal->fd >= 0) {
		(void)close(journal->fd); /* Only read so far. */
	}
	journal->fd = -1;
	memset(&journal->mark, 0, sizeof journal->mark);
	memset(journal->last, 0, sizeof journal->last);
}

static int journal_make_dir(struct deletion_journal *journal, struct err *e)
{
	_cleanup_(x_freep) char *parent = x_asprintf("%s/..", journal->dir);
	int rc = file_make_dirs(journal->dir, 0700, e);

	return rc != 0 ? rc : file_sync_dir(parent, e);
}

/* For whoever restores with the older one: it is still whole up to somewhere. */
static int journal_aside(struct deletion_journal *journal, struct err *e)
{
	_cleanup_(x_freep) char *to =
		x_asprintf("%s.%llu", journal->dir, (unsigned long long)journal->config.wall_ms);

	journal_reset(journal);
	if (rename(journal->dir, to) != 0) {
		return err_set_errno(e, errno, "rename to '%s'", to);
	}
	return journal_make_dir(journal, e);
}

int deletion_journal_open(const struct deletion_journal_config *config,
	struct deletion_journal **ret_journal, bool *ret_aside, struct err *e)
{
	struct deletion_journal *journal = x_calloc(1, sizeof *journal);
	bool aside = false;
	int rc;

	journal->config = *config;
	journal->config.dir = NULL;
	journal->dir = x_strdup(config->dir);
	journal->fd = -1;
	rc = journal_make_dir(journal, e);
	rc = rc != 0 ? rc : journal_load(journal, e);
	if (rc == KLUIS_EVERIFY || rc == KLUIS_ECORRUPT || rc == KLUIS_EVERSION ||
		rc == KLUIS_ETOOLARGE) {
		aside = true;
		rc = journal_aside(journal, e);
		rc = rc != 0 ? rc : journal_load(journal, e);
	}
	if (rc != 0) {
		deletion_journal_free(journal);
		return err_wrap(e, rc, "deletion journal '%s'", config->dir);
	}
	*ret_aside = aside;
	*ret_journal = journal;
	return 0;
}

static int journal_write(struct deletion_journal *journal, const struct buf *records, struct err *e)
{
	int rc = journal_cut(journal, e); /* What a failed append left. */

	if (rc == 0 && FAULT_POINT("backup.deletions.write")) {
		rc = err_set(e, KLUIS_EIO, "the records cannot be written");
	}
	if (rc == 0 && file_write_all(journal->fd, buf_bytes(records)) != 0) {
		rc = err_set_errno(e, errno, "write deletions");
	}
	if (rc == 0 && fsync(journal->fd) != 0) {
		rc = err_set_errno(e, errno, "fsync deletions");
	}
	return rc != 0 ? rc : file_sync_dir(journal->dir, e);
}

static int journal_write_mark(
	struct deletion_journal *journal, const struct deletion_mark *mark, struct err *e)
{
	_cleanup_(x_freep) char *path = mark_path(journal->dir);
	uint8_t bytes[DELETION_MARK_BYTES];
	int rc = deletion_mark_encode(mark, journal->config.signer, bytes, e);

	if (rc == 0 && FAULT_POINT("backup.deletions.mark")) {
		rc = err_set(e, KLUIS_EIO, "the mark cannot be written");
	}
	return rc != 0 ? rc : file_write(path, bytes_of(bytes, sizeof bytes), 0600, e);
}

int deletion_journal_append(
	struct deletion_journal *journal, const struct deletion_batch *batch, struct err *e)
{
	_cleanup_(buf_release) struct buf records = BUF_INIT;
	struct deletion_mark mark = {.node = journal->config.node,
		.count = journal->mark.count + batch->n,
		.index = batch->index,
		.cluster_time_ms = batch->cluster_time_ms,
		.wall_ms = batch->wall_ms};
	int rc = 0;

	memcpy(mark.cluster_id, journal->config.cluster_id, ID_BYTES);
	memcpy(mark.lineage, batch->lineage, ID_BYTES);
	memcpy(mark.chain, journal->mark.chain, HASH_BYTES);
	for (size_t i = 0; i < batch->n; i++) {
		deletion_encode(&batch->items[i], mark.chain, buf_extend(&records, DELETION_BYTES));
	}
	if (batch->n > 0) {
		rc = journal_write(journal, &records, e);
	}
	rc = rc != 0 ? rc : journal_write_mark(journal, &mark, e);
	if (rc != 0) {
		return err_wrap(e, rc, "deletion journal '%s'", journal->dir);
	}
	journal->mark = mark;
	for (size_t i = 0; i < batch->n; i++) {
		journal->last[batch->items[i].kind] = batch->items[i];
	}
	return 0;
}
