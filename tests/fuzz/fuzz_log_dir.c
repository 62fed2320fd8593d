/* A whole log directory as a disk, a crash or a hand may leave it: { u8 which log | operations },
 * each operation a change of one file. It is refused with a reason, or every entry in it is one
 * that was written there, and it can be appended to and opened again. */
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/wire.h"
#include "tests/unit/raft/lib/log_rig.h"

enum {
	SEGMENT = 16 * 1024,
	STATES = 3, /* Of one log: early, as a crash leaves it, after a clean end. */
	FILES_MAX = 16,
	OPERATIONS_MAX = 16,
	ENTRY_BYTES = 700,
};

struct image {
	char name[32];
	struct buf bytes;
	size_t used; /* Up to the last byte that is not zero. */
};

static struct image images[STATES][FILES_MAX];
static unsigned n_images[STATES];
static char dir[128];

static char *path_of(const char *name)
{
	return x_asprintf("%s/%s", dir, name);
}

static void dir_clear(void)
{
	DIR *stream = opendir(dir);
	struct dirent *entry;

	while (stream != NULL && (entry = readdir(stream)) != NULL) {
		_cleanup_(x_freep) char *path = path_of(entry->d_name);

		if (entry->d_name[0] != '.') {
			(void)unlink(path);
		}
	}
	if (stream != NULL) {
		(void)closedir(stream);
	}
}

static void dir_remove(void)
{
	dir_clear();
	(void)rmdir(dir);
}

static void dir_keep(unsigned state)
{
	DIR *stream = opendir(dir);
	struct dirent *entry;

	assert(stream != NULL);
	while ((entry = readdir(stream)) != NULL) {
		_cleanup_(x_freep) char *path = path_of(entry->d_name);
		struct image *image = &images[state][n_images[state]];
		int rc;

		/* Free segments mean nothing, and how many there are is a matter of time. */
		if (entry->d_name[0] == '.' || strncmp(entry->d_name, "free-", 5) == 0 ||
			strncmp(entry->d_name, "prepare", 7) == 0) {
			continue;
		}
		assert(++n_images[state] < FILES_MAX && strlen(entry->d_name) < sizeof image->name);
		(void)snprintf(image->name, sizeof image->name, "%.31s", entry->d_name);
		rc = file_read(path, 1 << 20, &image->bytes, NULL);
		assert(rc == 0);
		image->used = image->bytes.len;
		while (image->used > 0 && image->bytes.data[image->used - 1] == 0) {
			image->used--;
		}
	}
	(void)closedir(stream);
}

static int image_compare(const void *a, const void *b)
{
	return strcmp(((const struct image *)a)->name, ((const struct image *)b)->name);
}

/* A log with several segments, a front that was cut off, and entries that were written twice. */
static void base_make(void)
{
	struct log_rig rig;
	struct err e;
	int rc;

	(void)snprintf(dir, sizeof dir, "%s/kluis-fuzz-log-%d",
		access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
	(void)atexit(dir_remove);
	log_init("fuzz", LOG_LEVEL_ERR);
	rc = log_rig_open(&rig, dir, SEGMENT, &e);
	assert(rc == 0);
	log_rig_append(&rig, 1, 20, 1, ENTRY_BYTES);
	log_rig_wait(&rig);
	dir_keep(0);
	log_rig_append(&rig, 21, 10, 1, ENTRY_BYTES);
	log_rig_append(&rig, 28, 8, 2, ENTRY_BYTES);
	log_rig_wait(&rig);
	entry_log_trim(rig.log, 12, bytes_str("snapshot at 12"));
	log_rig_append(&rig, 36, 2, 3, ENTRY_BYTES);
	log_rig_wait(&rig);
	log_rig_append(&rig, 38, 1, 3, ENTRY_BYTES);
	log_rig_wait(&rig);
	dir_keep(1);
	log_rig_close(&rig);
	dir_keep(2);
	for (unsigned i = 0; i < STATES; i++) {
		qsort(images[i], n_images[i], sizeof images[i][0], image_compare);
	}
}

/* --- changes ---------------------------------------------------------------------------------- */

enum change { FLIP, WRITE, ZERO, CUT, GROW, REMOVE, STALE, SWAP, CHANGES };

static struct buf file[FILES_MAX];
static bool there[FILES_MAX];

static void change_bytes(
	struct buf *bytes, size_t used, unsigned what, struct wire *w, uint32_t number)
{
	/* Mostly where something is written. */
	size_t room = (number & 7) == 7 ? bytes->len : used;
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

static void change_file(unsigned state, unsigned i, unsigned what, struct wire *w, uint32_t number)
{
	const struct image *other;

	switch (what) {
	case REMOVE:
		there[i] = false;
		break;
	case STALE: /* The same file as of another time. */
		other = &images[number % STATES][0];
		for (unsigned k = 0; k < n_images[number % STATES]; k++) {
			if (strcmp(other[k].name, images[state][i].name) == 0) {
				buf_clear(&file[i]);
				buf_append_bytes(&file[i], buf_bytes(&other[k].bytes));
			}
		}
		break;
	case SWAP: /* Another file under this one's name. */
		other = &images[state][number % n_images[state]];
		buf_clear(&file[i]);
		buf_append_bytes(&file[i], buf_bytes(&other->bytes));
		break;
	default:
		change_bytes(&file[i], images[state][i].used, what, w, number);
	}
}

static void dir_make(unsigned state, struct wire *w)
{
	for (unsigned i = 0; i < n_images[state]; i++) {
		buf_clear(&file[i]);
		buf_append_bytes(&file[i], buf_bytes(&images[state][i].bytes));
		there[i] = true;
	}
	for (unsigned n = 0; n < OPERATIONS_MAX && w->left.len >= 6; n++) {
		unsigned what = wire_u8(w) % CHANGES, i = wire_u8(w) % n_images[state];

		change_file(state, i, what, w, wire_u32(w));
	}
	dir_clear();
	for (unsigned i = 0; i < n_images[state]; i++) {
		_cleanup_(x_freep) char *path = path_of(images[state][i].name);
		int fd = there[i] ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;

		if (there[i]) {
			assert(fd >= 0);
			if (file_write_all(fd, buf_bytes(&file[i])) != 0) {
				abort();
			}
			(void)close(fd);
		}
	}
}

/* --- what must hold --------------------------------------------------------------------------- */

/* Which terms were ever written at an index. */
static bool term_possible(uint64_t index, uint64_t term)
{
	return (term == 1 && index <= 30) || (term == 2 && index >= 28 && index <= 35) ||
	       (term == 3 && index >= 36 && index <= 38) || (term == 9 && index <= 39);
}

static uint64_t log_check(struct log_rig *rig)
{
	uint64_t first = entry_log_first(rig->log), last = entry_log_last(rig->log), before = 0;

	for (uint64_t i = first; i <= last; i++) {
		uint64_t term = entry_log_term(rig->log, i);
		struct entry *entry = NULL;
		struct err e;
		int rc = entry_log_load(rig->log, i, &entry, &e);

		if (rc != 0 || !term_possible(i, term) || term < before ||
			!log_rig_entry_good(entry, i, term, ENTRY_BYTES)) {
			(void)fprintf(stderr, "entry %llu of term %llu: %d\n",
				(unsigned long long)i, (unsigned long long)term, rc);
			abort();
		}
		before = term;
		entry_unref(entry);
	}
	assert(entry_log_vote_term(rig->log) >= before);
	return last;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire w = wire_of(bytes_of(data, size));
	struct log_rig rig;
	struct err e = {0};
	unsigned state;
	uint64_t last;
	int rc;

	if (size == 0) {
		return 0;
	}
	if (n_images[0] == 0) {
		base_make();
	}
	state = wire_u8(&w) % STATES;
	dir_make(state, &w);
	rc = log_rig_open(&rig, dir, SEGMENT, &e);
	if (rc != 0) {
		assert((rc == KLUIS_ECORRUPT || rc == KLUIS_EVERSION || rc == KLUIS_ETOOLARGE) &&
			e.text[0] != '\0');
		return 0;
	}
	last = log_check(&rig);
	if (last < 39) {
		log_rig_append(&rig, last + 1, 1, 9, ENTRY_BYTES);
		log_rig_wait(&rig);
		last++;
	}
	log_rig_close(&rig);
	rc = log_rig_open(&rig, dir, SEGMENT, &e);
	if (rc != 0 || log_check(&rig) != last) {
		(void)fprintf(stderr, "again: %s\n", rc == 0 ? "another log" : e.text);
		abort();
	}
	log_rig_close(&rig);
	return 0;
}
