/* The deletion journal on a real disk, and the list that a restore makes of several. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/deletion_list.h"
#include "backup/sorter.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/wire.h"
#include "tests/unit/backup/lib/site.h"

static const uint8_t first_lineage[ID_BYTES] = {1}, second_lineage[ID_BYTES] = {2};

struct world {
	struct backup_sites sites;
	char *dir[BACKUP_SITES];
	struct deletion_journal *journal[BACKUP_SITES];
	bool aside;
};

static void open_journal(struct world *w, unsigned i)
{
	const struct deletion_journal_config config = {.dir = w->dir[i],
		.cluster_id = w->sites.cluster_id,
		.node = i + 1,
		.signer = w->sites.signer[i],
		.wall_ms = 77};
	struct err e = {0};

	if (deletion_journal_open(&config, &w->journal[i], &w->aside, &e) != 0) {
		fail_msg("%s", e.text);
	}
}

static void close_journal(struct world *w, unsigned i)
{
	deletion_journal_free(w->journal[i]);
	w->journal[i] = NULL;
}

static int set_up(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	*state = w;
	backup_sites_init(&w->sites, KEY_KEM_X25519);
	for (unsigned i = 0; i < BACKUP_SITES; i++) {
		w->dir[i] = deletion_journal_dir(repository_path(w->sites.repository[i]));
	}
	open_journal(w, 0);
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	fault_disarm();
	for (unsigned i = 0; i < BACKUP_SITES; i++) {
		close_journal(w, i);
		free(w->dir[i]);
	}
	backup_sites_release(&w->sites);
	free(w);
	return 0;
}

static struct deletion deletion_of(
	enum deletion_kind kind, const uint8_t lineage[ID_BYTES], uint64_t index, uint8_t id)
{
	struct deletion d = {.kind = kind, .index = index, .time_ms = 1000 * index, .id = {id}};

	memcpy(d.lineage, lineage, ID_BYTES);
	return d;
}

/* One batch; the mark says `upto`. */
static int append(struct world *w, unsigned i, const struct deletion *items, size_t n,
	const uint8_t lineage[ID_BYTES], uint64_t upto)
{
	const struct deletion_batch batch = {.items = items,
		.n = n,
		.lineage = lineage,
		.index = upto,
		.cluster_time_ms = 1000 * upto,
		.wall_ms = 2000 * upto};

	return deletion_journal_append(w->journal[i], &batch, NULL);
}

static void append_one(struct world *w, unsigned i, enum deletion_kind kind,
	const uint8_t lineage[ID_BYTES], uint64_t index, uint8_t id)
{
	struct deletion d = deletion_of(kind, lineage, index, id);

	assert_int_equal(append(w, i, &d, 1, lineage, index), 0);
}

struct seen {
	struct deletion items[8192];
	size_t n;
};

static int see(void *data, const struct deletion *d)
{
	struct seen *seen = data;

	assert_true(seen->n < ARRAY_SIZE(seen->items));
	seen->items[seen->n++] = *d;
	return 0;
}

static int read_journal(struct world *w, unsigned i, struct seen *seen, struct deletion_mark *mark)
{
	seen->n = 0;
	return deletion_journal_read(
		w->dir[i], &w->sites.trust, w->sites.cluster_id, see, seen, mark, NULL);
}

static void test_append_and_read(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) struct seen *seen = x_calloc(1, sizeof *seen);
	struct deletion_mark mark;

	assert_int_equal(read_journal(w, 0, seen, &mark), KLUIS_ENOTFOUND);
	assert_null(deletion_journal_last(w->journal[0], DELETION_VAULT, first_lineage));
	assert_int_equal(append(w, 0, NULL, 0, first_lineage, 3), 0);
	assert_int_equal(read_journal(w, 0, seen, &mark), 0);
	assert_true(seen->n == 0 && mark.index == 3 && mark.count == 0 && mark.node == 1);
	append_one(w, 0, DELETION_VAULT, first_lineage, 5, 50);
	append_one(w, 0, DELETION_PERSON, first_lineage, 4, 40);
	assert_int_equal(read_journal(w, 0, seen, &mark), 0);
	assert_true(seen->n == 2 && seen->items[0].id[0] == 50 && seen->items[1].id[0] == 40);
	assert_int_equal(seen->items[1].kind, DELETION_PERSON);
	close_journal(w, 0);
	open_journal(w, 0);
	assert_false(w->aside);
	assert_true(
		deletion_journal_last(w->journal[0], DELETION_VAULT, first_lineage)->index == 5);
	assert_true(
		deletion_journal_last(w->journal[0], DELETION_PERSON, first_lineage)->index == 4);
	/* After a restore it goes on with the new lineage's, from their first. */
	assert_null(deletion_journal_last(w->journal[0], DELETION_VAULT, second_lineage));
	append_one(w, 0, DELETION_VAULT, second_lineage, 2, 60);
	assert_int_equal(read_journal(w, 0, seen, &mark), 0);
	assert_true(seen->n == 3 && mark.index == 2);
	assert_memory_equal(mark.lineage, second_lineage, ID_BYTES);
}

/* More than one read of the file. */
static void test_many(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) struct seen *seen = x_calloc(1, sizeof *seen);
	_cleanup_(x_freep) struct deletion *items = x_calloc(1500, sizeof *items);
	struct deletion_mark mark;

	for (unsigned i = 0; i < 1500; i++) {
		items[i] = deletion_of(DELETION_VAULT, first_lineage, 1 + i, (uint8_t)i);
	}
	assert_int_equal(append(w, 0, items, 1000, first_lineage, 1000), 0);
	assert_int_equal(append(w, 0, items + 1000, 500, first_lineage, 1500), 0);
	close_journal(w, 0);
	open_journal(w, 0);
	assert_int_equal(read_journal(w, 0, seen, &mark), 0);
	assert_int_equal(seen->n, 1500);
	assert_memory_equal(seen->items, items, 1500 * sizeof *items);
}

/* What failed half way leaves what was there, and the same comes again. */
static void test_failures(void **state)
{
	static const char *const points[] = {"backup.deletions.write", "backup.deletions.mark"};
	struct world *w = *state;
	_cleanup_(x_freep) struct seen *seen = x_calloc(1, sizeof *seen);
	struct deletion d = deletion_of(DELETION_PERSON, first_lineage, 9, 90);
	struct deletion_mark mark;

	append_one(w, 0, DELETION_VAULT, first_lineage, 5, 50);
	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		fault_arm(points[i], 1, false);
		assert_int_equal(append(w, 0, &d, 1, first_lineage, 9), KLUIS_EIO);
		fault_disarm();
		assert_int_equal(read_journal(w, 0, seen, &mark), 0);
		assert_true(seen->n == 1 && mark.index == 5);
		if (i == 1) { /* As after a crash between records and mark. */
			close_journal(w, 0);
			open_journal(w, 0);
			assert_false(w->aside);
		}
		assert_null(deletion_journal_last(w->journal[0], DELETION_PERSON, first_lineage));
	}
	assert_int_equal(append(w, 0, &d, 1, first_lineage, 9), 0);
	assert_int_equal(read_journal(w, 0, seen, &mark), 0);
	assert_true(seen->n == 2 && mark.count == 2);
}

static void put_file(const char *path, struct bytes bytes)
{
	assert_int_equal(file_write(path, bytes, 0600, NULL), 0);
}

/* Any byte of either file, and any length: no deletion of it is believed. */
static void test_damage(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) struct seen *seen = x_calloc(1, sizeof *seen);
	static const char *const names[] = {"journal", "mark"};
	struct deletion_mark mark;

	append_one(w, 0, DELETION_VAULT, first_lineage, 5, 50);
	append_one(w, 0, DELETION_PERSON, first_lineage, 6, 60);
	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		_cleanup_(x_freep) char *path = x_asprintf("%s/%s", w->dir[0], names[k]);
		_cleanup_(buf_release) struct buf good = BUF_INIT;

		assert_int_equal(file_read(path, 4096, &good, NULL), 0);
		for (size_t i = 0; i < good.len; i++) {
			good.data[i] ^= 0x10;
			put_file(path, buf_bytes(&good));
			assert_int_not_equal(read_journal(w, 0, seen, &mark), 0);
			good.data[i] ^= 0x10;
			put_file(path, bytes_of(good.data, i));
			assert_int_not_equal(read_journal(w, 0, seen, &mark), 0);
		}
		put_file(path, buf_bytes(&good));
		assert_int_equal(read_journal(w, 0, seen, &mark), 0);
	}
}

/* A journal that is no good is kept for who may need it, and a new one begun. */
static void test_set_aside(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) struct seen *seen = x_calloc(1, sizeof *seen);
	_cleanup_(x_freep) char *path = x_asprintf("%s/journal", w->dir[0]);
	_cleanup_(x_freep) char *kept = x_asprintf("%s.77/journal", w->dir[0]);
	struct deletion_mark mark;

	append_one(w, 0, DELETION_VAULT, first_lineage, 5, 50);
	close_journal(w, 0);
	assert_int_equal(truncate(path, DELETION_BYTES - 1), 0);
	open_journal(w, 0);
	assert_true(w->aside);
	assert_true(file_exists(kept));
	assert_null(deletion_journal_last(w->journal[0], DELETION_VAULT, first_lineage));
	append_one(w, 0, DELETION_VAULT, first_lineage, 5, 50);
	assert_int_equal(read_journal(w, 0, seen, &mark), 0);
	assert_int_equal(seen->n, 1);
}

/* The journal that another node left in this directory; a reader of another cluster. */
static void test_others(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) struct seen *seen = x_calloc(1, sizeof *seen);
	struct backup_trust nobody = {.n = 0};
	uint8_t other[ID_BYTES] = {9};
	struct deletion_mark mark;

	append_one(w, 0, DELETION_VAULT, first_lineage, 5, 50);
	close_journal(w, 0);
	assert_int_equal(
		deletion_journal_read(w->dir[0], &w->sites.trust, other, see, seen, &mark, NULL),
		KLUIS_EVERIFY);
	assert_int_equal(deletion_journal_read(
				 w->dir[0], &nobody, w->sites.cluster_id, see, seen, &mark, NULL),
		KLUIS_EVERIFY);
	assert_int_equal(rename(w->dir[0], w->dir[1]), 0);
	open_journal(w, 1);
	assert_true(w->aside);
	assert_int_equal(read_journal(w, 1, seen, &mark), KLUIS_ENOTFOUND);
}

/* --- the list -------------------------------------------------------------------------------- */

static int collect(struct world *w, const uint8_t lineage[ID_BYTES], uint64_t index, struct buf *to,
	struct deletion_list *list)
{
	struct deletion_source sources[BACKUP_SITES];
	const struct deletion_point point = {w->sites.cluster_id, lineage, index};
	uint8_t nonce[ID_BYTES] = {7};
	int rc;

	for (unsigned i = 0; i < BACKUP_SITES; i++) {
		sources[i] = (struct deletion_source){.dir = w->dir[i]};
	}
	buf_clear(to);
	rc = deletion_list_collect(
		sources, BACKUP_SITES, &w->sites.trust, &point, w->sites.dir, nonce, to, NULL);
	if (rc == 0) {
		assert_true(sources[0].found && sources[1].found && !sources[2].found);
		assert_int_equal(deletion_list_parse(buf_bytes(to), list, NULL), 0);
	}
	return rc;
}

static void test_collect(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf to = BUF_INIT, again = BUF_INIT;
	struct deletion_list list;

	open_journal(w, 1);
	append_one(w, 0, DELETION_VAULT, first_lineage, 5, 50);
	append_one(w, 0, DELETION_PERSON, first_lineage, 8, 80);
	append_one(w, 0, DELETION_DEVICE, first_lineage, 8, 80); /* Another kind of id. */
	append_one(w, 1, DELETION_DEVICE, first_lineage, 6, 60);
	append_one(w, 1, DELETION_MEMBER, first_lineage, 6, 60);
	append_one(w, 1, DELETION_VAULT, first_lineage, 5, 50);
	append_one(w, 1, DELETION_VAULT, first_lineage, 7, 70);
	append_one(w, 1, DELETION_VAULT, first_lineage, 9, 49);
	/* The store at 5 knows the first; sites that were away add up. */
	assert_int_equal(collect(w, first_lineage, 5, &to, &list), 0);
	assert_true(list.n_vaults == 2 && list.n_persons == 1);
	assert_true(list.vaults[0][0] == 49 && list.vaults[1][0] == 70);
	assert_true(list.persons[0][0] == 80 && list.n_devices == 2);
	assert_true(list.devices[0][0] == 60 && list.devices[1][0] == 80);
	assert_true(list.n_members == 1 && list.members[0][0] == 60);
	assert_int_equal(collect(w, first_lineage, 9, &to, &list), 0);
	assert_true(list.n_vaults == 0 && list.n_persons == 0 && list.n_devices == 0 &&
		    list.n_members == 0);
	/* A later lineage repeated 50 and added 90: of a point of the first all that is new counts,
	 * of one of the second what the second does not know. */
	append_one(w, 0, DELETION_VAULT, second_lineage, 6, 50);
	append_one(w, 0, DELETION_VAULT, second_lineage, 7, 90);
	assert_int_equal(collect(w, first_lineage, 9, &to, &list), 0);
	assert_true(list.n_vaults == 1 && list.vaults[0][0] == 90);
	assert_int_equal(collect(w, second_lineage, 6, &to, &list), 0);
	assert_true(list.n_vaults == 3 && list.n_persons == 1);
	assert_true(list.vaults[0][0] == 49 && list.vaults[1][0] == 70 && list.vaults[2][0] == 90);
	assert_int_equal(collect(w, second_lineage, 6, &again, &list), 0);
	assert_true(bytes_equal(buf_bytes(&to), buf_bytes(&again)));
}

/* What clients can bring about in a fortnight is no reason to refuse a restore: more removals of
 * members than used to have room, each of which two sites tell of. */
static void test_very_many(void **state)
{
	enum { MANY = (1 << 20) + 1000, STEP = 1 << 16 };
	struct world *w = *state;
	struct deletion *items = x_calloc(STEP, sizeof *items);
	const struct deletion_point point = {w->sites.cluster_id, first_lineage, 5};
	struct deletion_source source = {.dir = w->dir[0]};
	_cleanup_(buf_release) struct buf to = BUF_INIT;
	uint8_t nonce[ID_BYTES] = {7};
	struct err e = {0};
	struct deletion_list list;

	open_journal(w, 1);
	append_one(w, 1, DELETION_MEMBER, first_lineage, 3, 1); /* The point has it. */
	for (uint32_t done = 0; done < MANY;) {
		size_t n = 0;

		for (; n < STEP && done < MANY; n++, done++) {
			items[n] = deletion_of(DELETION_MEMBER, first_lineage, 10 + done, 0);
			store_u32(items[n].id, done * 2654435761U); /* In any order, none twice. */
		}
		assert_int_equal(append(w, 0, items, n, first_lineage, 10 + done), 0);
	}
	assert_int_equal(append(w, 1, items, 1000, first_lineage, 10 + MANY), 0);
	free(items);
	assert_int_equal(collect(w, first_lineage, 5, &to, &list), 0);
	assert_int_equal(list.n_members, MANY);
	assert_int_equal(list.n_vaults + list.n_persons + list.n_devices, 0);
	fault_arm("backup.sort.", 1, true); /* All of them are to come, of 18 bytes each. */
	assert_int_equal(deletion_list_collect(
				 &source, 1, &w->sites.trust, &point, w->sites.dir, nonce, &to, &e),
		KLUIS_ENOSPACE);
	fault_disarm();
	assert_non_null(strstr(e.text, "needs room for 19 MiB"));
}

/* What does not fit into memory is sorted where it was said; without room there, who can help hears
 * where, and how much is needed. */
static void test_sorted_on_disk(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf to = BUF_INIT;
	const struct deletion_point point = {w->sites.cluster_id, first_lineage, 5};
	struct deletion_source source = {.dir = w->dir[0]};
	uint8_t nonce[ID_BYTES] = {7};
	struct deletion_list list;
	struct err e = {0};

	open_journal(w, 1);
	for (uint8_t i = 0; i < 20; i++) {
		append_one(w, 0, DELETION_VAULT, first_lineage, 6 + i, (uint8_t)(100 - i));
		append_one(w, 1, DELETION_VAULT, first_lineage, 6 + i, (uint8_t)(100 - i));
	}
	fault_arm("backup.sort.full", 1, true);
	assert_int_equal(collect(w, first_lineage, 5, &to, &list), 0);
	assert_int_equal(list.n_vaults, 20);
	assert_true(list.vaults[0][0] == 81 && list.vaults[19][0] == 100);
	fault_arm("backup.sort.", 1, true);
	assert_int_equal(deletion_list_collect(
				 &source, 1, &w->sites.trust, &point, w->sites.dir, nonce, &to, &e),
		KLUIS_ENOSPACE);
	assert_non_null(strstr(e.text, w->sites.dir));
	assert_non_null(strstr(e.text, "needs room for 1 MiB"));
	/* A directory that is none is no journal that is none. */
	fault_arm("backup.sort.full", 1, true);
	assert_int_equal(deletion_list_collect(
				 &source, 1, &w->sites.trust, &point, w->dir[2], nonce, &to, &e),
		KLUIS_EIO);
	fault_disarm();
}

/* Where there was once room for fewer: what is needed is said of all that is to come. */
static void test_room_for_a_sort(void **state)
{
	enum { RECORDS = 100, EXPECTED = 1 << 20, RECORD_BYTES = 16 };
	struct world *w = *state;
	_cleanup_(x_freep) char *nowhere = x_asprintf("%s/nowhere", w->sites.dir);
	struct sorter *sorter = sorter_new(RECORD_BYTES, RECORDS * RECORD_BYTES, nowhere);
	uint8_t record[RECORD_BYTES] = {0};
	struct err e = {0};

	sorter_expect(sorter, EXPECTED);
	for (unsigned i = 0; i < RECORDS; i++) {
		assert_int_equal(sorter_add(sorter, record, NULL), 0);
	}
	assert_int_equal(sorter_add(sorter, record, &e), KLUIS_EIO);
	assert_non_null(strstr(e.text, nowhere));
	assert_non_null(strstr(e.text, "needs room for 17 MiB"));
	sorter_free(sorter);
}

/* Of each kind what one has and the other has not, wherever it stands. */
static void test_list_lacks(void **state)
{
	static const uint8_t ids[][ID_BYTES] = {{1}, {2}, {3}, {4}, {5}},
			     odd[][ID_BYTES] = {{1}, {3}};
	const struct deletion_list all = {.vaults = ids,
		.n_vaults = 5,
		.persons = ids,
		.n_persons = 4,
		.devices = ids + 1,
		.n_devices = 3,
		.members = ids,
		.n_members = 1};
	const struct deletion_list some = {.vaults = odd,
		.n_vaults = 2,
		.persons = ids + 1,
		.n_persons = 4,
		.members = ids + 4,
		.n_members = 1};
	const struct deletion_list none = {.n_vaults = 0};

	(void)state;
	assert_int_equal(deletion_list_lacks(&all, &all), 0);
	assert_int_equal(deletion_list_lacks(&all, &none), 0);
	assert_int_equal(deletion_list_lacks(&none, &all), 13);
	assert_int_equal(deletion_list_lacks(&some, &all), 3 + 1 + 3 + 1);
	assert_int_equal(deletion_list_lacks(&all, &some), 0 + 1 + 0 + 1);
}

static void test_list_damage(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf to = BUF_INIT;
	_cleanup_(x_freep) char *path = x_asprintf("%s/journal", w->dir[1]);
	uint8_t lineage[ID_BYTES], other[ID_BYTES];
	struct deletion_list list;

	open_journal(w, 1);
	append_one(w, 0, DELETION_VAULT, first_lineage, 5, 50);
	append_one(w, 1, DELETION_VAULT, first_lineage, 6, 60);
	assert_int_equal(collect(w, first_lineage, 4, &to, &list), 0);
	deletion_list_lineage(buf_bytes(&to), lineage);
	for (size_t i = 0; i < to.len; i++) {
		assert_int_not_equal(deletion_list_parse(bytes_of(to.data, i), &list, NULL), 0);
		to.data[i] ^= 0xff; /* Another list, if it is one at all: of another lineage. */
		deletion_list_lineage(buf_bytes(&to), other);
		assert_memory_not_equal(lineage, other, ID_BYTES);
		to.data[i] ^= 0xff;
	}
	to.data[DELETION_LIST_FIXED_BYTES] = 61; /* Not ascending any more. */
	assert_int_equal(deletion_list_parse(buf_bytes(&to), &list, NULL), KLUIS_ECORRUPT);
	memcpy(to.data + DELETION_LIST_FIXED_BYTES, to.data + DELETION_LIST_FIXED_BYTES + ID_BYTES,
		ID_BYTES);
	assert_int_equal(deletion_list_parse(buf_bytes(&to), &list, NULL), KLUIS_ECORRUPT);
	/* A damaged journal is not passed over. */
	assert_int_equal(truncate(path, 3), 0);
	assert_int_equal(collect(w, first_lineage, 4, &to, &list), KLUIS_EVERIFY);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_append_and_read),
		T(test_many),
		T(test_failures),
		T(test_damage),
		T(test_set_aside),
		T(test_others),
		T(test_collect),
		T(test_very_many),
		T(test_sorted_on_disk),
		T(test_room_for_a_sort),
		T(test_list_lacks),
		T(test_list_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
