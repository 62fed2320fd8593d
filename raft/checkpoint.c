/* Checkpoints that this node, as leader, gives to those that are too far behind for its log. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "base/wire.h"
#include "crypto/hash.h"
#include "raft/file_message.h"
#include "raft/replica_impl.h"

enum {
	CHECKPOINT_READS_MAX = 4 * CATCH_UP_CHUNKS_MAX, /* Of one peer, asked for and not sent. */
	CHECKPOINT_HASH_BYTES = 256 * 1024,
};

/* One piece of a file on its way to a peer. */
struct checkpoint_send {
	struct pool_work work;
	struct checkpoint_send *next;
	struct replica *replica;
	uint64_t peer;
	struct file_request request;
	char *path;
	struct entry *data; /* So that the link takes it without a copy. */
	bool read;
};

struct checkpoint {
	struct checkpoint *next;
	struct replica *replica;
	struct replica_work make;
	struct pool_work hash;
	char *dir;
	struct manifest manifest;
	struct buf encoded;
	struct driver_snapshot snapshot;
	bool ready, busy; /* busy: its works run. */
	int rc;
	uint64_t used_ms;
	uint64_t waiting[SITES_MAX]; /* Peers that asked for the manifest. */
	unsigned n_waiting;
};

/* --- making one --- */

static void checkpoint_free(struct checkpoint *c)
{
	manifest_release(&c->manifest);
	buf_release(&c->encoded);
	free(c->dir);
	free(c);
}

static void checkpoint_unlink(struct checkpoint *c)
{
	struct checkpoint **at = &c->replica->checkpoint;

	while (*at != c) {
		at = &(*at)->next;
	}
	*at = c->next;
}

/* Answers all that wait and, after a failure, forgets it. */
static void checkpoint_answer(struct checkpoint *c, int rc)
{
	struct replica *r = c->replica;
	unsigned n = c->n_waiting;

	c->n_waiting = 0;
	if (rc != 0) {
		checkpoint_unlink(c);
	}
	for (unsigned i = 0; i < n && !r->stopping; i++) {
		driver_manifest(r->driver, c->waiting[i], rc, &c->snapshot, buf_bytes(&c->encoded));
	}
	if (rc != 0) {
		struct err e = {0};

		if (file_remove_tree(c->dir, &e) != 0) {
			log_warn("op=checkpoint msg=\"%s, ignoring\"", e.text);
		}
		checkpoint_free(c);
	}
}

static int checkpoint_hash_file(struct checkpoint *c, const char *name, struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", c->dir, name);
	_cleanup_(x_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_(x_freep) uint8_t *chunk = x_malloc(CHECKPOINT_HASH_BYTES);
	_cleanup_(hash_release) struct hash hash = {NULL};
	uint8_t sum[HASH_BYTES];
	uint64_t bytes = 0;
	ssize_t n;

	if (fd < 0) {
		return err_set_errno(e, errno, "open '%s'", path);
	}
	hash_init(&hash);
	while ((n = read(fd, chunk, CHECKPOINT_HASH_BYTES)) > 0) {
		hash_update(&hash, bytes_of(chunk, (size_t)n));
		bytes += (uint64_t)n;
	}
	if (n < 0) {
		return err_set_errno(e, errno, "read '%s'", path);
	}
	hash_final(&hash, sum);
	manifest_add(&c->manifest, name, bytes, sum);
	return 0;
}

static int checkpoint_hash_all(struct checkpoint *c, struct err *e)
{
	DIR *dir = opendir(c->dir);
	struct dirent *found;
	int rc = 0;

	if (dir == NULL) {
		return err_set_errno(e, errno, "open directory '%s'", c->dir);
	}
	while (rc == 0 && (found = readdir(dir)) != NULL) {
		if (found->d_name[0] == '.') {
			continue;
		}
		if (!manifest_name_valid(found->d_name, strlen(found->d_name))) {
			rc = err_set(e, KLUIS_EINTERNAL, "a file named '%s'", found->d_name);
		} else {
			rc = checkpoint_hash_file(c, found->d_name, e);
		}
	}
	(void)closedir(dir); /* Only read. */
	return rc == 0 ? manifest_encode(&c->manifest, &c->encoded) : rc;
}

static int checkpoint_hash_work(struct pool_work *work)
{
	struct checkpoint *c = CONTAINER_OF(work, struct checkpoint, hash);
	struct err e = {0};
	int rc = checkpoint_hash_all(c, &e);

	if (rc != 0) {
		log_warn("op=checkpoint dir=%s rc=%s msg=\"%s, retrying\"", c->dir, err_name(rc),
			e.text);
	}
	return rc;
}

static void checkpoint_hashed_cb(struct pool_work *work, int rc)
{
	struct checkpoint *c = CONTAINER_OF(work, struct checkpoint, hash);

	c->busy = false;
	c->ready = rc == 0;
	c->used_ms = replica_now(c->replica);
	if (rc == 0) {
		log_info("op=checkpoint index=%llu files=%u bytes=%llu",
			(unsigned long long)c->snapshot.index, c->manifest.n,
			(unsigned long long)manifest_bytes(&c->manifest));
	}
	checkpoint_answer(c, rc);
}

/* On the apply thread. */
static int checkpoint_make_work(struct replica_work *work, struct fsm *fsm)
{
	struct checkpoint *c = CONTAINER_OF(work, struct checkpoint, make);
	uint64_t index, term;
	struct err e = {0};
	int rc = fsm_checkpoint(fsm, c->dir, &index, &term, &e);

	if (rc != 0) {
		log_warn("op=checkpoint dir=%s rc=%s msg=\"%s, retrying\"", c->dir, err_name(rc),
			e.text);
		return rc;
	}
	c->snapshot.index = index;
	return 0;
}

static void checkpoint_made_cb(struct replica_work *work, int rc)
{
	struct checkpoint *c = CONTAINER_OF(work, struct checkpoint, make);
	struct replica *r = c->replica;

	if (rc == 0) {
		rc = r->stopping ? KLUIS_ECLOSED
				 : driver_snapshot_at(r->driver, c->snapshot.index, &c->snapshot);
	}
	if (rc == 0) {
		rc = pool_submit(r->give_pool, &c->hash, &r->mailbox, checkpoint_hash_work,
			checkpoint_hashed_cb);
	}
	if (rc != 0) {
		c->busy = false;
		checkpoint_answer(c, rc);
	}
}

static struct checkpoint *checkpoint_new(struct replica *r)
{
	_cleanup_(x_freep) char *top = replica_path(r, "checkpoints");
	struct checkpoint *c = x_calloc(1, sizeof *c);
	char name[HEX_LEN(MANIFEST_ID_BYTES) + 1];
	struct err e = {0};

	random_fill(r->random, c->manifest.id, MANIFEST_ID_BYTES);
	hex_encode(bytes_of(c->manifest.id, MANIFEST_ID_BYTES), name);
	c->replica = r;
	c->dir = x_asprintf("%s/%s", top, name);
	c->busy = true;
	c->next = r->checkpoint;
	r->checkpoint = c;
	if (file_make_dirs(top, 0700, &e) != 0) {
		log_warn("op=checkpoint msg=\"%s, retrying\"", e.text);
	}
	replica_work_start(&c->make, r, &r->mailbox, checkpoint_make_work, checkpoint_made_cb);
	return c;
}

/* Tells the driver in a later turn: an io function must not call it. */
struct checkpoint_tell {
	struct mail mail;
	struct replica *replica;
	uint64_t peer;
	uint8_t id[MANIFEST_ID_BYTES];
};

static struct checkpoint *checkpoint_find(struct replica *r, const uint8_t *id)
{
	struct checkpoint *c = r->checkpoint;

	while (c != NULL && memcmp(c->manifest.id, id, MANIFEST_ID_BYTES) != 0) {
		c = c->next;
	}
	return c;
}

static void checkpoint_tell_cb(struct mail *mail)
{
	struct checkpoint_tell *tell = CONTAINER_OF(mail, struct checkpoint_tell, mail);
	struct replica *r = tell->replica;
	struct checkpoint *c = checkpoint_find(r, tell->id);

	if (c != NULL && !r->stopping) {
		driver_manifest(r->driver, tell->peer, 0, &c->snapshot, buf_bytes(&c->encoded));
	}
	free(tell);
}

static void checkpoint_tell(struct checkpoint *c, uint64_t peer)
{
	struct checkpoint_tell *tell = x_calloc(1, sizeof *tell);

	tell->mail.deliver_cb = checkpoint_tell_cb;
	tell->replica = c->replica;
	tell->peer = peer;
	memcpy(tell->id, c->manifest.id, MANIFEST_ID_BYTES);
	c->used_ms = replica_now(c->replica);
	mailbox_send(&c->replica->mailbox, &tell->mail);
}

static void checkpoint_wait(struct checkpoint *c, uint64_t peer)
{
	for (unsigned i = 0; i < c->n_waiting; i++) {
		if (c->waiting[i] == peer) {
			return;
		}
	}
	assert(c->n_waiting < SITES_MAX);
	c->waiting[c->n_waiting++] = peer;
}

int checkpoint_manifest(struct replica *r, uint64_t peer, uint64_t min_index)
{
	if (atomic_load(&r->quarantined) || atomic_load(&r->doubted)) {
		return 0; /* Not from a store that is wrong or damaged: another one is asked. */
	}
	for (struct checkpoint *c = r->checkpoint; c != NULL; c = c->next) {
		if (c->ready && c->snapshot.index >= min_index) {
			checkpoint_tell(c, peer);
			return 0;
		}
		if (!c->ready) {
			checkpoint_wait(c, peer); /* What it will stand at is not below. */
			return 0;
		}
	}
	checkpoint_wait(checkpoint_new(r), peer);
	return 0;
}

/* --- giving its files --- */

static void checkpoint_send_free(struct checkpoint_send *send)
{
	struct checkpoint_send **at = &send->replica->checkpoint_sends;

	while (*at != send) {
		at = &(*at)->next;
	}
	*at = send->next;
	entry_unref(send->data);
	free(send->path);
	free(send);
}

static int checkpoint_read_work(struct pool_work *work)
{
	struct checkpoint_send *send = CONTAINER_OF(work, struct checkpoint_send, work);
	_cleanup_(x_closep) int fd = open(send->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t done = 0;

	send->data = entry_new(0, 0, ENTRY_COMMAND, send->request.len);
	while (fd >= 0 && done < send->request.len) {
		ssize_t n = pread(fd, send->data->data + done, send->request.len - done,
			(off_t)(send->request.offset + done));

		if (n <= 0) {
			break;
		}
		done += (size_t)n;
	}
	return done == send->request.len ? 0 : KLUIS_EIO;
}

/* In the order in which they were asked for: one that is not read yet holds up those behind it. */
static void checkpoint_flush(struct replica *r, uint64_t peer)
{
	struct checkpoint_send *send, *next;

	for (send = r->checkpoint_sends; send != NULL; send = next) {
		_cleanup_(buf_release) struct buf head = BUF_INIT;
		int rc;

		next = send->next;
		if (send->peer != peer) {
			continue;
		}
		if (!send->read) {
			return;
		}
		file_chunk_encode(&send->request, &head);
		rc = links_send(r->links, peer, LINK_FILE, buf_bytes(&head), &send->data, 1);
		if (rc == KLUIS_EAGAIN || rc == KLUIS_EBUSY) {
			return; /* checkpoint_room() comes. */
		}
		checkpoint_send_free(send); /* Sent, or the link is down and the peer asks again. */
	}
}

static void checkpoint_gone(struct replica *r, uint64_t peer, const uint8_t *id)
{
	_cleanup_(buf_release) struct buf message = BUF_INIT;
	int rc;

	file_gone_encode(id, &message);
	rc = links_send(r->links, peer, LINK_FILE, buf_bytes(&message), NULL, 0);
	(void)rc; /* Lost: the peer asks again or gives up. */
}

static void checkpoint_read_cb(struct pool_work *work, int rc)
{
	struct checkpoint_send *send = CONTAINER_OF(work, struct checkpoint_send, work);
	struct replica *r = send->replica;
	uint64_t peer = send->peer;

	send->read = true;
	if (r->stopping) {
		return; /* checkpoint_stop() frees. */
	}
	if (rc != 0) {
		log_warn("op=checkpoint_read path=%s rc=%s", send->path, err_name(rc));
		checkpoint_gone(r, peer, send->request.id);
		checkpoint_send_free(send);
	}
	checkpoint_flush(r, peer);
}

static unsigned checkpoint_sends(const struct replica *r, uint64_t peer)
{
	unsigned n = 0;

	for (const struct checkpoint_send *s = r->checkpoint_sends; s != NULL; s = s->next) {
		n += s->peer == peer;
	}
	return n;
}

static void checkpoint_request(
	struct replica *r, uint64_t peer, struct checkpoint *c, const struct file_request *request)
{
	const struct manifest_file *file = &c->manifest.files[request->file];
	struct checkpoint_send **at = &r->checkpoint_sends;
	struct checkpoint_send *send;

	send = x_calloc(1, sizeof *send);
	send->replica = r;
	send->peer = peer;
	send->request = *request;
	send->path = x_asprintf("%s/%s", c->dir, file->name);
	while (*at != NULL) {
		at = &(*at)->next;
	}
	*at = send;
	c->used_ms = replica_now(r);
	if (pool_submit(r->give_pool, &send->work, &r->mailbox, checkpoint_read_work,
		    checkpoint_read_cb) != 0) {
		checkpoint_send_free(send); /* The peer asks again. */
	}
}

void checkpoint_receive(struct replica *r, uint64_t peer, struct bytes message)
{
	struct file_request request;
	struct checkpoint *c;

	links_credit(r->links, peer, message.len);
	if (file_request_decode(message, &request) != 0) {
		log_warn("op=checkpoint_receive peer=%llu msg=\"malformed, ignoring\"",
			(unsigned long long)peer);
		return;
	}
	c = checkpoint_find(r, request.id);
	if (c == NULL || !c->ready) {
		checkpoint_gone(r, peer, request.id);
		return;
	}
	if (request.file >= c->manifest.n || request.len == 0 ||
		request.offset > c->manifest.files[request.file].bytes ||
		request.len > c->manifest.files[request.file].bytes - request.offset ||
		checkpoint_sends(r, peer) >= CHECKPOINT_READS_MAX) {
		return; /* Not what our own requests look like. */
	}
	checkpoint_request(r, peer, c, &request);
}

void checkpoint_room(struct replica *r, uint64_t peer)
{
	checkpoint_flush(r, peer);
}

void checkpoint_peer_down(struct replica *r, uint64_t peer)
{
	struct checkpoint_send *send, *next;

	for (send = r->checkpoint_sends; send != NULL; send = next) {
		next = send->next;
		if (send->peer == peer && send->read) {
			checkpoint_send_free(send);
		}
	}
}

static int checkpoint_remove_work(struct pool_work *work)
{
	struct checkpoint *c = CONTAINER_OF(work, struct checkpoint, hash);
	struct err e = {0};

	if (file_remove_tree(c->dir, &e) != 0) {
		log_warn("op=checkpoint_remove msg=\"%s, ignoring\"", e.text);
	}
	return 0;
}

static void checkpoint_removed_cb(struct pool_work *work, int rc)
{
	struct checkpoint *c = CONTAINER_OF(work, struct checkpoint, hash);

	(void)rc;
	checkpoint_free(c);
}

void checkpoint_tick(struct replica *r)
{
	uint64_t now_ms = replica_now(r);
	struct checkpoint *c, *next;

	for (c = r->checkpoint; c != NULL; c = next) {
		next = c->next;
		if (c->busy || now_ms - c->used_ms < CHECKPOINT_IDLE_MS) {
			continue;
		}
		if (pool_submit(r->give_pool, &c->hash, &r->mailbox, checkpoint_remove_work,
			    checkpoint_removed_cb) == 0) {
			checkpoint_unlink(c);
		}
	}
}

/* No work runs any more. */
void checkpoint_stop(struct replica *r)
{
	while (r->checkpoint_sends != NULL) {
		struct checkpoint_send *first = r->checkpoint_sends;

		checkpoint_send_free(first);
		assert(r->checkpoint_sends != first);
	}
	while (r->checkpoint != NULL) {
		struct checkpoint *c = r->checkpoint;

		r->checkpoint = c->next;
		(void)checkpoint_remove_work(&c->hash);
		checkpoint_free(c);
	}
}
