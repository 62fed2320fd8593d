/* A node that is too far behind for the leader's log fetches a checkpoint's files, checks each, and
 * swaps its store for them (docs/format-catch-up.md). */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "crypto/hash.h"
#include "raft/file_message.h"
#include "raft/catch_up_impl.h"

enum { CATCH_UP_STALLS_MAX = 12, CATCH_UP_READ_BYTES = 256 * 1024 };

/* One chunk on its way to the disk. */
struct catch_up_write {
	struct pool_work work;
	struct catch_up *catch_up;
	struct file_request place;
	uint8_t data[];
};

void catch_up_free(struct catch_up *c)
{
	if (c->fd >= 0) {
		(void)close(c->fd); /* Not finished: fetched again. */
		hash_release(&c->hash);
	}
	manifest_release(&c->manifest);
	free(c->have);
	free(c->partial);
	free(c->dir);
	free(c);
}

/* The driver hears of it; a later offer begins anew, and finds on disk what has come so far. */
static void catch_up_give_up(struct catch_up *c, int rc, bool tell)
{
	struct replica *r = c->replica;

	log_warn("op=catch_up peer=%llu rc=%s fetched=%llu msg=\"given up, retrying\"",
		(unsigned long long)c->peer, err_name(rc), (unsigned long long)c->fetched);
	if (r->catch_up == c) {
		r->catch_up = NULL;
	}
	c->state = CATCH_UP_GIVEN_UP;
	if (c->works == 0) {
		catch_up_free(c);
	}
	if (tell && !r->stopping) {
		driver_fetched(r->driver, rc);
		rebuild_failed(r, rc);
	}
}

/* A work of c came back. False: c is gone or about to be. */
static bool catch_up_work_done(struct catch_up *c)
{
	assert(c->works > 0);
	c->works--;
	if (c->state != CATCH_UP_GIVEN_UP) {
		return !c->replica->stopping;
	}
	if (c->works == 0) {
		catch_up_free(c);
	}
	return false;
}

static int catch_up_submit(struct catch_up *c, struct pool_work *work,
	int (*fn)(struct pool_work *work), void (*done_cb)(struct pool_work *work, int rc))
{
	int rc = pool_submit(c->replica->take_pool, work, &c->replica->mailbox, fn, done_cb);

	if (rc == 0) {
		c->works++;
	}
	return rc;
}

static char *catch_up_path(const struct catch_up *c, uint32_t file)
{
	return x_asprintf("%s/db/%s", c->dir, c->manifest.files[file].name);
}

/* --- on the pool's thread: what stands there already --- */

/* Feeds the first `bytes` bytes of fd to hash. */
static int catch_up_hash_file(int fd, uint64_t bytes, struct hash *hash)
{
	_cleanup_(x_freep) uint8_t *chunk = x_malloc(CATCH_UP_READ_BYTES);
	uint64_t at = 0;

	while (at < bytes) {
		size_t want = bytes - at < CATCH_UP_READ_BYTES ? (size_t)(bytes - at)
							       : CATCH_UP_READ_BYTES;
		ssize_t n = pread(fd, chunk, want, (off_t)at);

		if (n <= 0) {
			return KLUIS_EIO;
		}
		hash_update(hash, bytes_of(chunk, (size_t)n));
		at += (uint64_t)n;
	}
	return 0;
}

static bool catch_up_file_good(const char *path, const struct manifest_file *file)
{
	_cleanup_(x_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_(hash_release) struct hash hash = {NULL};
	uint8_t sum[HASH_BYTES];

	if (fd < 0) {
		return false;
	}
	hash_init(&hash);
	if (catch_up_hash_file(fd, file->bytes, &hash) != 0) {
		return false;
	}
	hash_final(&hash, sum);
	/* Its bytes may be in the page cache only: a killed process wrote them before its sync. */
	return memcmp(sum, file->hash, HASH_BYTES) == 0 && !FAULT_POINT("catch_up.sync_found") &&
	       fdatasync(fd) == 0;
}

static void catch_up_look_at(struct catch_up *c, uint32_t i)
{
	_cleanup_(x_freep) char *path = catch_up_path(c, i);
	const struct manifest_file *file = &c->manifest.files[i];
	struct stat st;

	if (lstat(path, &st) != 0) {
		return;
	}
	if (S_ISREG(st.st_mode) && st.st_size == (off_t)file->bytes &&
		catch_up_file_good(path, file)) {
		c->have[i] = true;
	} else if (S_ISREG(st.st_mode) && st.st_size < (off_t)file->bytes) {
		c->partial[i] = (uint64_t)st.st_size;
	} else {
		(void)unlink(path); /* Fetched again; the open below fails if it stays. */
	}
}

/* Files of an earlier, unfinished fetch: used again if name and bytes are the same. */
static void catch_up_reuse(struct catch_up *c, const char *other)
{
	for (uint32_t i = 0; i < c->manifest.n; i++) {
		const struct manifest_file *file = &c->manifest.files[i];
		_cleanup_(x_freep) char *from = x_asprintf("%s/db/%s", other, file->name);
		_cleanup_(x_freep) char *to = catch_up_path(c, i);
		struct stat st;

		if (lstat(to, &st) != 0 && lstat(from, &st) == 0 && S_ISREG(st.st_mode) &&
			st.st_size == (off_t)file->bytes) {
			(void)rename(from, to); /* Else it is fetched. */
		}
	}
}

static int catch_up_clear_others(struct catch_up *c, struct err *e)
{
	_cleanup_(x_freep) char *top = replica_path(c->replica, "catchup");
	const char *own = strrchr(c->dir, '/') + 1;
	DIR *dir = opendir(top);
	struct dirent *found;
	int rc = 0;

	if (dir == NULL) {
		return err_set_errno(e, errno, "open directory '%s'", top);
	}
	while (rc == 0 && (found = readdir(dir)) != NULL) {
		_cleanup_(x_freep) char *other = x_asprintf("%s/%s", top, found->d_name);

		if (found->d_name[0] != '.' && strcmp(found->d_name, own) != 0) {
			catch_up_reuse(c, other);
			rc = file_remove_tree(other, e);
		}
	}
	(void)closedir(dir); /* Only read. */
	return rc;
}

static int catch_up_prepare(struct catch_up *c, struct err *e)
{
	_cleanup_(x_freep) char *db = x_asprintf("%s/db", c->dir);
	int rc = file_make_dirs(db, 0700, e);

	if (rc == 0) {
		rc = catch_up_clear_others(c, e);
	}
	for (uint32_t i = 0; rc == 0 && i < c->manifest.n; i++) {
		catch_up_look_at(c, i);
	}
	return rc;
}

static int catch_up_prepare_work(struct pool_work *work)
{
	struct catch_up *c = CONTAINER_OF(work, struct catch_up, work);
	struct err e = {0};
	int rc = catch_up_prepare(c, &e);

	if (rc != 0) {
		log_warn("op=catch_up msg=\"%s\"", e.text);
	}
	return rc;
}

/* --- on the pool's thread: a chunk --- */

static int catch_up_open_file(struct catch_up *c, const struct file_request *place)
{
	_cleanup_(x_freep) char *path = catch_up_path(c, place->file);
	int rc;

	c->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->fd < 0) {
		return KLUIS_EIO;
	}
	hash_init(&c->hash);
	rc = catch_up_hash_file(c->fd, place->offset, &c->hash);
	return rc;
}

static int catch_up_end_file(struct catch_up *c, uint32_t i)
{
	uint8_t sum[HASH_BYTES];
	int rc = FAULT_POINT("catch_up.sync") || fdatasync(c->fd) != 0 ? KLUIS_EIO : 0;

	hash_final(&c->hash, sum);
	hash_release(&c->hash);
	(void)close(c->fd); /* Synced. */
	c->fd = -1;
	if (rc == 0 && memcmp(sum, c->manifest.files[i].hash, HASH_BYTES) != 0) {
		_cleanup_(x_freep) char *path = catch_up_path(c, i);

		(void)unlink(path); /* Fetched again from its first byte. */
		rc = KLUIS_EVERIFY;
	}
	return rc;
}

static int catch_up_write_work(struct pool_work *work)
{
	struct catch_up_write *w = CONTAINER_OF(work, struct catch_up_write, work);
	struct catch_up *c = w->catch_up;
	const struct manifest_file *file = &c->manifest.files[w->place.file];
	size_t done = 0;
	int rc = c->fd < 0 ? catch_up_open_file(c, &w->place) : 0;

	while (rc == 0 && done < w->place.len) {
		ssize_t n = FAULT_POINT("catch_up.write")
				    ? -1
				    : pwrite(c->fd, w->data + done, w->place.len - done,
					      (off_t)(w->place.offset + done));

		if (n <= 0) {
			return KLUIS_EIO;
		}
		done += (size_t)n;
	}
	if (rc == 0) {
		hash_update(&c->hash, bytes_of(w->data, w->place.len));
		if (w->place.offset + w->place.len == file->bytes) {
			rc = catch_up_end_file(c, w->place.file);
		}
	}
	return rc;
}

/* --- on the pool's thread: the end --- */

static int catch_up_check_position(const struct catch_up *c, const char *db, struct err *e)
{
	struct position position;
	int rc = replica_stored_position(db, &position, e);

	if (rc == 0 && position.index != c->snapshot.index) {
		rc = err_set(e, KLUIS_EVERIFY, "the store fetched stands at %llu, not at %llu",
			(unsigned long long)position.index, (unsigned long long)c->snapshot.index);
	}
	return rc;
}

static int catch_up_finish(struct catch_up *c, struct err *e)
{
	_cleanup_(x_freep) char *db = x_asprintf("%s/db", c->dir);
	_cleanup_(x_freep) char *path = x_asprintf("%s/snapshot", c->dir);
	_cleanup_(buf_release) struct buf record = BUF_INIT;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < c->manifest.n; i++) {
		_cleanup_(x_freep) char *file = catch_up_path(c, i);

		if (c->manifest.files[i].bytes == 0 && !file_exists(file)) {
			rc = file_create(file, (struct bytes){NULL, 0}, 0600, e);
		}
	}
	if (rc == 0) {
		rc = file_sync_dir(db, e);
	}
	if (rc == 0) {
		rc = catch_up_check_position(c, db, e);
	}
	if (rc == 0) {
		snapshot_record_encode(&c->snapshot, &record);
		rc = file_write(path, buf_bytes(&record), 0600, e);
	}
	return rc;
}

static int catch_up_finish_work(struct pool_work *work)
{
	struct catch_up *c = CONTAINER_OF(work, struct catch_up, work);
	struct err e = {0};
	int rc = catch_up_finish(c, &e);

	if (rc != 0) {
		log_warn("op=catch_up msg=\"%s\"", e.text);
	}
	return rc;
}

/* --- on the core thread --- */

static void catch_up_finished_cb(struct pool_work *work, int rc)
{
	struct catch_up *c = CONTAINER_OF(work, struct catch_up, work);

	if (!catch_up_work_done(c)) {
		return;
	}
	if (rc != 0) {
		catch_up_give_up(c, rc, true);
		return;
	}
	log_info("op=catch_up index=%llu bytes=%llu msg=\"fetched\"",
		(unsigned long long)c->snapshot.index, (unsigned long long)c->total);
	c->state = CATCH_UP_READY;
	driver_fetched(c->replica->driver, 0);
}

/* Past files that are there. */
static void catch_up_skip(const struct catch_up *c, struct catch_up_place *place)
{
	while (place->file < c->manifest.n &&
		(c->have[place->file] || c->manifest.files[place->file].bytes == 0)) {
		place->file++;
	}
	if (place->file < c->manifest.n && place->offset < c->partial[place->file]) {
		place->offset = c->partial[place->file];
	}
}

static struct file_request catch_up_piece(
	const struct catch_up *c, const struct catch_up_place *place)
{
	uint64_t left = c->manifest.files[place->file].bytes - place->offset;
	struct file_request piece = {.file = place->file,
		.offset = place->offset,
		.len = left < LINK_FILE_CHUNK_BYTES ? (uint32_t)left : LINK_FILE_CHUNK_BYTES};

	memcpy(piece.id, c->manifest.id, MANIFEST_ID_BYTES);
	return piece;
}

static void catch_up_step(const struct catch_up *c, struct catch_up_place *place, uint32_t len)
{
	place->offset += len;
	if (place->offset == c->manifest.files[place->file].bytes) {
		*place = (struct catch_up_place){place->file + 1, 0};
		catch_up_skip(c, place);
	}
}

static bool catch_up_may_ask(const struct catch_up *c)
{
	return c->ask.file < c->manifest.n && c->asked < CATCH_UP_CHUNKS_MAX &&
	       c->works < 2 * CATCH_UP_CHUNKS_MAX;
}

static void catch_up_ask(struct catch_up *c)
{
	while (catch_up_may_ask(c)) {
		struct file_request piece = catch_up_piece(c, &c->ask);
		_cleanup_(buf_release) struct buf message = BUF_INIT;

		file_request_encode(&piece, &message);
		if (links_send(c->replica->links, c->peer, LINK_FILE, buf_bytes(&message), NULL,
			    0) != 0) {
			return; /* Asked again at the next tick. */
		}
		catch_up_step(c, &c->ask, piece.len);
		c->asked++;
	}
}

static void catch_up_ask_again(struct catch_up *c)
{
	c->ask = c->got;
	c->asked = 0;
	c->progress_ms = replica_now(c->replica);
	catch_up_ask(c);
}

static void catch_up_end_if_all(struct catch_up *c)
{
	int rc;

	if (c->got.file < c->manifest.n || c->works > 0) {
		return;
	}
	c->state = CATCH_UP_FINISHING;
	rc = catch_up_submit(c, &c->work, catch_up_finish_work, catch_up_finished_cb);
	if (rc != 0) {
		catch_up_give_up(c, rc, true);
	}
}

static void catch_up_prepared_cb(struct pool_work *work, int rc)
{
	struct catch_up *c = CONTAINER_OF(work, struct catch_up, work);

	if (!catch_up_work_done(c)) {
		return;
	}
	for (uint32_t i = 0; i < c->manifest.n; i++) {
		c->fetched += c->have[i] ? c->manifest.files[i].bytes : c->partial[i];
	}
	if (rc == 0 && c->total - c->fetched + c->replica->floor_bytes > c->replica->free_bytes) {
		rc = KLUIS_ENOSPACE;
	}
	if (rc != 0) {
		catch_up_give_up(c, rc, true);
		return;
	}
	c->state = CATCH_UP_FETCHING;
	catch_up_skip(c, &c->got);
	catch_up_ask_again(c);
	catch_up_end_if_all(c);
}

int catch_up_fetch(struct replica *r, uint64_t peer, const struct driver_snapshot *snapshot,
	struct bytes manifest)
{
	char name[HEX_LEN(MANIFEST_ID_BYTES) + 1];
	struct catch_up *c = x_calloc(1, sizeof *c);
	struct err e = {0};

	if (r->catch_up != NULL) {
		catch_up_give_up(r->catch_up, KLUIS_EGONE, false);
	}
	c->replica = r;
	c->peer = peer;
	c->snapshot = *snapshot;
	c->fd = -1;
	c->progress_ms = replica_now(r);
	r->catch_up = c;
	if (manifest_decode(manifest, &c->manifest, &e) != 0) {
		/* Told at the next tick: an io function must not call the driver. */
		log_warn("op=catch_up peer=%llu msg=\"%s\"", (unsigned long long)peer, e.text);
		c->stalls = CATCH_UP_STALLS_MAX;
		return 0;
	}
	c->have = x_calloc(c->manifest.n, sizeof *c->have);
	c->partial = x_calloc(c->manifest.n, sizeof *c->partial);
	c->total = manifest_bytes(&c->manifest);
	hex_encode(bytes_of(c->manifest.id, MANIFEST_ID_BYTES), name);
	c->dir = x_asprintf("%s/catchup/%s", r->dir, name);
	log_info("op=catch_up peer=%llu index=%llu files=%u bytes=%llu", (unsigned long long)peer,
		(unsigned long long)snapshot->index, c->manifest.n, (unsigned long long)c->total);
	if (catch_up_submit(c, &c->work, catch_up_prepare_work, catch_up_prepared_cb) != 0) {
		c->stalls = CATCH_UP_STALLS_MAX;
	}
	return 0;
}

static void catch_up_written_cb(struct pool_work *work, int rc)
{
	struct catch_up_write *w = CONTAINER_OF(work, struct catch_up_write, work);
	struct catch_up *c = w->catch_up;
	uint64_t peer = c->peer;

	if (!c->replica->stopping) {
		links_credit(c->replica->links, peer, w->place.len);
	}
	c->fetched += w->place.len;
	free(w);
	if (!catch_up_work_done(c)) {
		return;
	}
	if (rc != 0) {
		catch_up_give_up(c, rc, true);
		return;
	}
	catch_up_ask(c);
	catch_up_end_if_all(c);
}

/* True: the chunk's bytes are on their way to the disk, and its credit is given later. */
static bool catch_up_take_chunk(
	struct catch_up *c, const struct file_request *place, struct bytes data)
{
	struct catch_up_write *w;

	/* When all have come, got.file is the number behind the last file's. */
	if (c->state != CATCH_UP_FETCHING ||
		memcmp(place->id, c->manifest.id, MANIFEST_ID_BYTES) != 0 ||
		place->file != c->got.file || place->offset != c->got.offset ||
		!manifest_has(&c->manifest, place->file, place->offset, place->len)) {
		return false; /* Of an earlier asking. */
	}
	w = x_malloc(sizeof *w + data.len);
	w->catch_up = c;
	w->place = *place;
	memcpy(w->data, data.data, data.len);
	if (catch_up_submit(c, &w->work, catch_up_write_work, catch_up_written_cb) != 0) {
		free(w);
		return false; /* Asked for again after the stall. */
	}
	catch_up_step(c, &c->got, place->len);
	c->asked -= c->asked > 0;
	c->progress_ms = replica_now(c->replica);
	c->stalls = 0;
	return true;
}

static void catch_up_receive_chunk(struct replica *r, uint64_t peer, struct bytes message)
{
	struct file_request place;
	struct bytes data;

	if (file_chunk_decode(message, &place, &data) != 0) {
		log_warn("op=catch_up_receive peer=%llu msg=\"malformed, ignoring\"",
			(unsigned long long)peer);
	} else if (r->catch_up != NULL && r->catch_up->peer == peer &&
		   catch_up_take_chunk(r->catch_up, &place, data)) {
		links_credit(r->links, peer, message.len - place.len);
		return;
	}
	links_credit(r->links, peer, message.len);
}

void catch_up_receive(struct replica *r, uint64_t peer, struct bytes message)
{
	uint8_t id[MANIFEST_ID_BYTES];
	struct catch_up *c = r->catch_up;

	if (file_message_type(message) == FILE_CHUNK) {
		catch_up_receive_chunk(r, peer, message);
		return;
	}
	links_credit(r->links, peer, message.len);
	if (file_gone_decode(message, id) == 0 && c != NULL && c->peer == peer &&
		c->state == CATCH_UP_FETCHING &&
		memcmp(id, c->manifest.id, MANIFEST_ID_BYTES) == 0) {
		catch_up_give_up(c, KLUIS_EGONE, true);
	}
}

void catch_up_peer_down(struct replica *r, uint64_t peer)
{
	if (r->catch_up != NULL && r->catch_up->peer == peer) {
		r->catch_up->progress_ms = 0; /* Ask again as soon as it is back. */
	}
}

static int catch_up_clear_work(struct pool_work *work)
{
	struct replica *r = CONTAINER_OF(work, struct replica, clear_work);
	_cleanup_(x_freep) char *top = replica_path(r, "catchup");
	struct err e = {0};
	int rc = 0;

	if (file_exists(top)) {
		rc = file_remove_tree(top, &e);
		log_info("op=catch_up msg=\"what was fetched and is not needed is removed\" rc=%s",
			err_name(rc));
	}
	return rc;
}

static void catch_up_clear_done_cb(struct pool_work *work, int rc)
{
	struct replica *r = CONTAINER_OF(work, struct replica, clear_work);

	r->clear_busy = false;
	r->cleared = r->cleared || rc == 0;
}

/* A node that caught up by the log after all does not need what it has fetched, now or before its
 * last restart. It follows when it has applied an entry of the leader's term; the time besides is
 * for one whose own log had such an entry, and who is offered a checkpoint again soon. */
static void catch_up_clear(struct replica *r)
{
	struct driver_status status = driver_status(r->driver);

	if (r->cleared || r->clear_busy || status.leader == 0 || r->term_seen != status.term ||
		replica_now(r) - r->catch_up_ms < CATCH_UP_KEPT_MS) {
		return;
	}
	/* Behind what is under way on the one thread of that pool, and before a new fetch. */
	r->clear_busy = pool_submit(r->take_pool, &r->clear_work, &r->mailbox, catch_up_clear_work,
				catch_up_clear_done_cb) == 0;
}

/* Ready, and of no use any more: the log came that far by itself. */
static void catch_up_drop(struct replica *r)
{
	struct driver_status status = driver_status(r->driver);

	if (r->catch_up != NULL && r->catch_up->state == CATCH_UP_READY && !status.fetched) {
		assert(r->catch_up->works == 0);
		catch_up_free(r->catch_up);
		r->catch_up = NULL;
	}
}

void catch_up_tick(struct replica *r)
{
	struct catch_up *c;

	catch_up_drop(r);
	c = r->catch_up;
	if (c != NULL) {
		r->catch_up_ms = replica_now(r);
		r->cleared = false;
	} else {
		catch_up_clear(r);
	}
	if (c == NULL || (c->state != CATCH_UP_FETCHING && c->stalls < CATCH_UP_STALLS_MAX)) {
		return;
	}
	if (c->stalls >= CATCH_UP_STALLS_MAX) {
		catch_up_give_up(c, KLUIS_ETIMEOUT, true);
	} else if (replica_now(r) - c->progress_ms >= CATCH_UP_STALL_MS) {
		c->stalls++;
		catch_up_ask_again(c);
	} else {
		catch_up_ask(c);
	}
}

void catch_up_progress(const struct replica *r, uint64_t *ret_bytes, uint64_t *ret_total)
{
	*ret_bytes = r->catch_up == NULL ? 0 : r->catch_up->fetched;
	*ret_total = r->catch_up == NULL ? 0 : r->catch_up->total;
}

/* No work runs any more. */
void catch_up_stop(struct replica *r)
{
	if (r->catch_up != NULL) {
		catch_up_free(r->catch_up);
		r->catch_up = NULL;
	}
}
