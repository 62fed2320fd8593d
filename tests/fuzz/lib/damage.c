#include "tests/fuzz/lib/damage.h"

#include <assert.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum { FILE_BYTES_MAX = 8 << 20, OPEN_MAX_NFTW = 16, DIRS_MAX = 4 };

enum change { FLIP, WRITE, ZERO, CUT, GROW, REMOVE, STALE, SWAP, CHANGES };

static char dirs[DIRS_MAX][128];
static unsigned n_dirs;

static void damage_exit(void)
{
	while (n_dirs > 0) {
		(void)(file_remove_tree(dirs[--n_dirs], NULL) == 0);
	}
}

void damage_init(struct damage *damage, const char *name)
{
	(void)snprintf(damage->dir, sizeof damage->dir, "%s/kluis-fuzz-%s-%d",
		access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", name, (int)getpid());
	assert(n_dirs < DIRS_MAX);
	if (n_dirs == 0) {
		(void)atexit(damage_exit);
	}
	memcpy(dirs[n_dirs++], damage->dir, sizeof dirs[0]);
}

/* nftw() has no argument for its callback. */
static struct {
	struct damage *damage;
	unsigned state;
	const char *const *prefixes;
} walk;

static int keep_cb(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	struct damage *d = walk.damage;
	struct damage_file *file = &d->file[walk.state][d->n[walk.state]];
	int rc;

	(void)st;
	for (const char *const *p = walk.prefixes; *p != NULL; p++) {
		if (strncmp(path + ftw->base, *p, strlen(*p)) == 0) {
			return 0;
		}
	}
	if (type != FTW_F) {
		return 0;
	}
	assert(d->n[walk.state] < DAMAGE_FILES_MAX);
	d->n[walk.state]++;
	file->name = x_strdup(path + strlen(d->dir) + 1);
	rc = file_read(path, FILE_BYTES_MAX, &file->bytes, NULL);
	assert(rc == 0);
	file->used = file->bytes.len;
	while (file->used > 0 && file->bytes.data[file->used - 1] == 0) {
		file->used--;
	}
	return 0;
}

static int file_compare(const void *a, const void *b)
{
	return strcmp(((const struct damage_file *)a)->name, ((const struct damage_file *)b)->name);
}

void damage_keep(struct damage *d, unsigned state, const char *const *prefixes)
{
	int rc;

	walk.damage = d;
	walk.state = state;
	walk.prefixes = prefixes;
	rc = nftw(d->dir, keep_cb, OPEN_MAX_NFTW, FTW_PHYS);
	assert(rc == 0 && d->n[state] > 0);
	qsort(d->file[state], d->n[state], sizeof d->file[state][0], file_compare);
}

/* --- changes ---------------------------------------------------------------------------------- */

static void change_bytes(
	struct buf *bytes, size_t used, unsigned what, struct wire *w, uint32_t number)
{
	/* Mostly where something is written. */
	size_t room = (number & 7) == 7 || used > bytes->len ? bytes->len : used;
	size_t at = room == 0 ? 0 : (number >> 3) % room;

	if (bytes->len == 0) {
		return;
	}
	if (what == FLIP) {
		bytes->data[at] ^= (uint8_t)(1U << (number >> 29));
	} else if (what == ZERO) {
		size_t n = bytes->len - at < 512 ? bytes->len - at : 512;

		memset(bytes->data + at, 0, n);
	} else if (what == CUT) {
		bytes->len = at;
	} else if (what == GROW) {
		memset(buf_extend(bytes, at + 1), 0, at + 1);
	} else {
		struct bytes piece = wire_bytes(w, wire_u8(w));
		size_t n = bytes->len - at < piece.len ? bytes->len - at : piece.len;

		if (wire_ok(w) && n > 0) {
			memcpy(bytes->data + at, piece.data, n);
		}
	}
}

static void change_replace(struct buf *bytes, const struct damage_file *by)
{
	buf_clear(bytes);
	buf_append_bytes(bytes, buf_bytes(&by->bytes));
}

static void change_file(const struct damage *d, unsigned states, const struct damage_file *file,
	unsigned state, unsigned what, struct wire *w, uint32_t number, struct buf *bytes)
{
	const struct damage_file *other = d->file[number % states];

	if (what == STALE) { /* The same file as of another time. */
		for (unsigned k = 0; k < d->n[number % states]; k++) {
			if (strcmp(other[k].name, file->name) == 0) {
				change_replace(bytes, &other[k]);
			}
		}
	} else if (what == SWAP) { /* Another file under this one's name. */
		change_replace(bytes, &d->file[state][number % d->n[state]]);
	} else {
		change_bytes(bytes, file->used, what, w, number);
	}
}

static int clear_cb(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (type == FTW_F) {
		(void)unlink(path);
	}
	return 0;
}

static void file_put(
	const struct damage *d, const struct damage_file *file, const struct buf *bytes)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", d->dir, file->name);
	_cleanup_(x_closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || file_write_all(fd, buf_bytes(bytes)) != 0) {
		abort();
	}
}

bool damage_make(struct damage *d, unsigned states, unsigned state, struct wire *w)
{
	static struct buf bytes[DAMAGE_FILES_MAX];
	bool there[DAMAGE_FILES_MAX], changed = false;
	unsigned n = d->n[state];
	int rc;

	assert(n > 0);
	for (unsigned i = 0; i < n; i++) {
		there[i] = true;
		change_replace(&bytes[i], &d->file[state][i]);
	}
	for (unsigned k = 0; k < DAMAGE_CHANGES_MAX && w->left.len >= 6; k++) {
		unsigned what = wire_u8(w) % CHANGES, i = wire_u8(w) % n;
		uint32_t number = wire_u32(w);

		if (what == REMOVE) {
			there[i] = false;
		} else {
			change_file(
				d, states, &d->file[state][i], state, what, w, number, &bytes[i]);
		}
	}
	rc = nftw(d->dir, clear_cb, OPEN_MAX_NFTW, FTW_PHYS);
	assert(rc == 0);
	for (unsigned i = 0; i < n; i++) {
		changed = changed || !there[i] ||
			  !bytes_equal(buf_bytes(&bytes[i]), buf_bytes(&d->file[state][i].bytes));
		if (there[i]) {
			file_put(d, &d->file[state][i], &bytes[i]);
		}
	}
	return changed;
}
