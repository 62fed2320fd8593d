#include "backup/sorter.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fault.h"
#include "base/file.h"

enum { RUN_BUFFER_BYTES = 32 * 1024 };

/* One sorted run on disk and the piece of it that is in memory. */
struct sorter_run {
	uint64_t at, end; /* Bytes of the file not read yet. */
	uint8_t *buffer;
	size_t used, have;
};

struct sorter {
	size_t record_bytes, room, allocated, n; /* n records in memory. */
	char *scratch;
	uint8_t *records;
	uint64_t count, expected;
	size_t given; /* Of the records in memory. */
	bool finished;
	int fd;
	uint64_t file_bytes;
	struct sorter_run *runs;
	unsigned n_runs;
	unsigned *heap; /* Runs with something left, by their first record. */
	unsigned heap_n;
	bool advance; /* The first of the heap was given out and is to be moved on. */
};

struct sorter *sorter_new(size_t record_bytes, size_t memory_bytes, const char *scratch)
{
	struct sorter *s = x_calloc(1, sizeof *s);

	assert(record_bytes > 0 && record_bytes <= SORTER_RECORD_BYTES_MAX);
	assert(memory_bytes >= record_bytes);
	s->record_bytes = record_bytes;
	s->room = memory_bytes / record_bytes;
	s->scratch = x_strdup(scratch);
	s->fd = -1;
	return s;
}

void sorter_free(struct sorter *s)
{
	if (s == NULL) {
		return;
	}
	if (s->fd >= 0) {
		(void)close(s->fd); /* Has no name: its bytes go with it. */
	}
	for (unsigned i = 0; i < s->n_runs; i++) {
		free(s->runs[i].buffer);
	}
	free(s->runs);
	free(s->heap);
	free(s->records);
	free(s->scratch);
	free(s);
}

void sorter_expect(struct sorter *s, uint64_t records)
{
	s->expected = records;
}

/* Errno says why. That there is no scratch is nothing that a caller could have asked for. */
static int sorter_no_room(const struct sorter *s, const char *what, struct err *e)
{
	uint64_t records = s->count > s->expected ? s->count : s->expected;
	int rc = err_set_errno(e, errno, "%s a sort file in '%s', which needs room for %llu MiB",
		what, s->scratch,
		(unsigned long long)(records * s->record_bytes / (1024 * 1024) + 1));

	rc = rc == KLUIS_ENOSPACE ? rc : KLUIS_EIO;
	if (e != NULL) {
		e->code = rc;
	}
	return rc;
}

static int sorter_compare(const void *a, const void *b, void *size)
{
	return memcmp(a, b, *(const size_t *)size);
}

static void sorter_sort(struct sorter *s)
{
	if (s->n > 1) {
		qsort_r(s->records, s->n, s->record_bytes, sorter_compare, &s->record_bytes);
	}
}

/* A file without a name, so that a crash leaves nothing. */
static int sorter_file(struct sorter *s, struct err *e)
{
	if (s->fd >= 0) {
		return 0;
	}
	s->fd = open(s->scratch, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return s->fd >= 0 ? 0 : sorter_no_room(s, "create", e);
}

static int sorter_spill(struct sorter *s, struct err *e)
{
	size_t bytes = s->n * s->record_bytes;
	int rc = sorter_file(s, e);

	if (rc != 0) {
		return rc;
	}
	if (s->n_runs == SORTER_RUNS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more rows than can be sorted");
	}
	sorter_sort(s);
	if (FAULT_POINT("backup.sort.write")) {
		errno = ENOSPC;
		return sorter_no_room(s, "write", e);
	}
	if (file_write_all(s->fd, bytes_of(s->records, bytes)) != 0) {
		return sorter_no_room(s, "write", e);
	}
	s->runs = x_realloc(s->runs, (s->n_runs + 1) * sizeof *s->runs);
	s->runs[s->n_runs++] =
		(struct sorter_run){.at = s->file_bytes, .end = s->file_bytes + bytes};
	s->file_bytes += bytes;
	s->n = 0;
	return 0;
}

int sorter_add(struct sorter *s, const void *record, struct err *e)
{
	assert(!s->finished);
	if (s->n == s->room || (s->n > 0 && FAULT_POINT("backup.sort.full"))) {
		int rc = sorter_spill(s, e);

		if (rc != 0) {
			return rc;
		}
	}
	if (s->n == s->allocated) { /* By doubling: small sorts stay small. */
		s->allocated = s->n == 0 ? 64 : 2 * s->n;
		s->allocated = s->allocated < s->room ? s->allocated : s->room;
		s->records = x_realloc(s->records, s->allocated * s->record_bytes);
	}
	memcpy(s->records + s->n * s->record_bytes, record, s->record_bytes);
	s->n++;
	s->count++;
	return 0;
}

static const uint8_t *sorter_first(const struct sorter *s, unsigned at)
{
	const struct sorter_run *run = &s->runs[s->heap[at]];

	return run->buffer + run->used;
}

static void sorter_sink(struct sorter *s, unsigned at)
{
	assert(s->heap_n <= s->n_runs);
	for (;;) {
		unsigned least = at, child = 2 * at + 1;

		for (unsigned i = child; i < child + 2 && i < s->heap_n; i++) {
			if (memcmp(sorter_first(s, i), sorter_first(s, least), s->record_bytes) <
				0) {
				least = i;
			}
		}
		if (least == at) {
			return;
		}
		child = s->heap[at];
		s->heap[at] = s->heap[least];
		s->heap[least] = child;
		at = least;
	}
}

/* The next piece of a run; have 0: its end. */
static int sorter_fill(struct sorter *s, struct sorter_run *run, struct err *e)
{
	size_t piece = RUN_BUFFER_BYTES / s->record_bytes * s->record_bytes, want, done = 0;

	want = run->end - run->at < piece ? (size_t)(run->end - run->at) : piece;
	while (done < want) {
		ssize_t n = pread(s->fd, run->buffer + done, want - done, (off_t)(run->at + done));

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return err_set_errno(e, n == 0 ? EIO : errno, "read a sort file");
		}
		done += (size_t)n;
	}
	run->at += want;
	run->used = 0;
	run->have = want;
	return 0;
}

int sorter_finish(struct sorter *s, struct err *e)
{
	int rc = 0;

	assert(!s->finished);
	s->finished = true;
	if (s->n_runs == 0) {
		sorter_sort(s);
		return 0;
	}
	rc = sorter_spill(s, e);
	free(s->records);
	s->records = NULL;
	s->heap = x_calloc(s->n_runs, sizeof *s->heap);
	for (unsigned i = 0; rc == 0 && i < s->n_runs; i++) {
		s->runs[i].buffer = x_malloc(RUN_BUFFER_BYTES);
		rc = sorter_fill(s, &s->runs[i], e);
		s->heap[s->heap_n++] = i;
	}
	for (unsigned i = s->heap_n; rc == 0 && i > 0; i--) {
		sorter_sink(s, i - 1);
	}
	return rc;
}

static int sorter_advance(struct sorter *s, struct err *e)
{
	struct sorter_run *run = &s->runs[s->heap[0]];

	run->used += s->record_bytes;
	if (run->used == run->have) {
		int rc = sorter_fill(s, run, e);

		if (rc != 0) {
			return rc;
		}
		if (run->have == 0) {
			s->heap[0] = s->heap[--s->heap_n];
		}
	}
	if (s->heap_n > 0) {
		sorter_sink(s, 0);
	}
	return 0;
}

int sorter_next(struct sorter *s, const uint8_t **ret_record, struct err *e)
{
	assert(s->finished);
	if (s->n_runs == 0) {
		*ret_record = s->given == s->n ? NULL : s->records + s->given++ * s->record_bytes;
		return 0;
	}
	if (s->advance) {
		int rc = sorter_advance(s, e);

		if (rc != 0) {
			return rc;
		}
	}
	s->advance = s->heap_n > 0;
	*ret_record = s->heap_n == 0 ? NULL : sorter_first(s, 0);
	return 0;
}
