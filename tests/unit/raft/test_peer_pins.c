/* What a node remembers of the others: the first word counts, a torn or flipped file is refused,
 * and a node whose memory was lost never takes part again while one is left that knew it. */
#include "tests/lib/test.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "base/random.h"
#include "base/wire.h"
#include "raft/peer_pins.h"

static const uint64_t founders[] = {5, 1, 9, 3};
static const uint8_t own[16] = {0x33}, one[16] = {1}, five[16] = {5}, nine[16] = {9},
		     other[16] = {7};

struct place {
	char *dir, *path;
	struct peer_pins pins;
};

static int setup(void **state)
{
	struct place *p = x_calloc(1, sizeof *p);

	p->dir = scratch_new("pins");
	p->path = x_asprintf("%s/peers", p->dir);
	assert_int_equal(peer_pins_create(p->path, own, 3, founders, 4, NULL), 0);
	assert_int_equal(peer_pins_open(&p->pins, p->path, own, 3, NULL), 0);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	peer_pins_close(&p->pins);
	scratch_free(p->dir);
	free(p->path);
	free(p);
	return 0;
}

static void reopen(struct place *p)
{
	struct err e = {0};

	peer_pins_close(&p->pins);
	if (peer_pins_open(&p->pins, p->path, own, 3, &e) != 0) {
		fail_msg("%s", e.text);
	}
}

static int open_again(struct place *p, struct err *e)
{
	struct peer_pins pins;
	int rc = peer_pins_open(&pins, p->path, own, 3, e);

	if (rc == 0) {
		peer_pins_close(&pins);
	}
	return rc;
}

/* --- the rules --- */

static void test_the_first_word_counts(void **state)
{
	struct place *p = *state;
	uint8_t before[PEER_PINS_PAYLOAD_BYTES], after[PEER_PINS_PAYLOAD_BYTES];

	assert_int_equal(peer_pins_meet(&p->pins, 5, five, 4, 77), 0);
	assert_int_equal(peer_pins_meet(&p->pins, 5, five, 4, 77), 0); /* It dials again. */
	reopen(p);
	peer_pins_encode(&p->pins, before);
	assert_int_equal(peer_pins_meet(&p->pins, 5, other, 5, 78), KLUIS_ECONFLICT);
	assert_int_equal(peer_pins_agree(&p->pins, 5, other), KLUIS_ECONFLICT);
	peer_pins_encode(&p->pins, after);
	assert_memory_equal(before, after, sizeof before);
	reopen(p);
	assert_int_equal(peer_pins_meet(&p->pins, 5, other, 9, 78), KLUIS_ECONFLICT);
	assert_memory_equal(peer_pins_find(&p->pins, 5)->incarnation, five, 16);
	assert_null(peer_pins_find(&p->pins, 4));
	/* What an answer said is as good as a hello. */
	assert_int_equal(peer_pins_agree(&p->pins, 9, nine), 0);
	reopen(p);
	assert_int_equal(peer_pins_meet(&p->pins, 9, other, 1, 1), KLUIS_ECONFLICT);
	assert_int_equal(peer_pins_meet(&p->pins, 9, nine, 1, 1), 0);
}

static void test_an_old_copy_is_known_by_its_starts(void **state)
{
	struct place *p = *state;

	assert_int_equal(peer_pins_meet(&p->pins, 5, five, 4, 77), 0);
	reopen(p);
	/* A copy made while it was stopped: its next start has the same number, but not the same
	 * boot. */
	assert_int_equal(peer_pins_meet(&p->pins, 5, five, 4, 78), KLUIS_EBEHIND);
	assert_int_equal(peer_pins_meet(&p->pins, 5, five, 3, 77), KLUIS_EBEHIND);
	assert_int_equal(peer_pins_meet(&p->pins, 5, five, 5, 79), 0);
	reopen(p);
	assert_int_equal(peer_pins_meet(&p->pins, 5, five, 4, 77), KLUIS_EBEHIND);
	assert_int_equal(peer_pins_meet(&p->pins, 5, five, 5, 79), 0);
}

static void test_begun_when_all_founders_agreed(void **state)
{
	struct place *p = *state;

	assert_false(peer_pins_begun(&p->pins));
	assert_int_equal(peer_pins_agree(&p->pins, 5, five), 0);
	assert_int_equal(peer_pins_agree(&p->pins, 1, one), 0);
	/* To know it is not enough: it must know us. */
	assert_int_equal(peer_pins_meet(&p->pins, 9, nine, 1, 1), 0);
	/* And somebody who came later does not count in its place. */
	assert_int_equal(peer_pins_agree(&p->pins, 12, other), 0);
	assert_false(peer_pins_begun(&p->pins));
	reopen(p);
	assert_false(peer_pins_begun(&p->pins));
	assert_int_equal(peer_pins_agree(&p->pins, 9, nine), 0);
	assert_true(peer_pins_begun(&p->pins));
	reopen(p);
	assert_true(peer_pins_begun(&p->pins));
	/* One more who comes later changes nothing. */
	assert_int_equal(peer_pins_meet(&p->pins, 13, own, 1, 1), 0);
	assert_true(peer_pins_begun(&p->pins));
}

static void test_starts_are_counted(void **state)
{
	struct place *p = *state;

	assert_int_equal(p->pins.starts, 0);
	for (uint64_t i = 1; i <= 3; i++) {
		peer_pins_start(&p->pins);
		reopen(p);
		assert_int_equal(p->pins.starts, i);
	}
}

static void test_the_table_is_bounded(void **state)
{
	struct place *p = *state;
	uint64_t id = 100;

	while (p->pins.n < PEER_PINS_MAX) {
		assert_int_equal(peer_pins_meet(&p->pins, id++, other, 1, 1), 0);
	}
	assert_int_equal(peer_pins_meet(&p->pins, id, other, 1, 1), KLUIS_ETOOLARGE);
	assert_int_equal(peer_pins_agree(&p->pins, id, other), KLUIS_ETOOLARGE);
	reopen(p);
	assert_int_equal(p->pins.n, PEER_PINS_MAX);
	assert_int_equal(peer_pins_meet(&p->pins, 1, one, 1, 1), 0); /* Its place was kept. */
}

/* The cluster's word stands above the first word: it is about the same log on every node. */
static void test_the_clusters_row_wins(void **state)
{
	struct place *p = *state;

	assert_int_equal(peer_pins_meet(&p->pins, 12, other, 7, 77), 0);
	peer_pins_adopt(&p->pins, 12, other); /* It was right. */
	assert_int_equal(peer_pins_find(&p->pins, 12)->starts, 7);
	peer_pins_adopt(&p->pins, 12, nine);
	peer_pins_adopt(&p->pins, 13, five); /* Not met yet. */
	reopen(p);
	assert_int_equal(peer_pins_meet(&p->pins, 12, other, 8, 78), KLUIS_ECONFLICT);
	assert_int_equal(peer_pins_meet(&p->pins, 12, nine, 1, 1), 0);
	assert_int_equal(peer_pins_meet(&p->pins, 13, other, 1, 1), KLUIS_ECONFLICT);
	assert_int_equal(peer_pins_meet(&p->pins, 13, five, 1, 1), 0);
	assert_false(peer_pins_begun(&p->pins));
}

/* A removed one makes room, and a new one may have it. */
static void test_a_removed_peer_is_forgotten(void **state)
{
	struct place *p = *state;

	for (uint64_t id = 100; p->pins.n < PEER_PINS_MAX; id++) {
		assert_int_equal(peer_pins_meet(&p->pins, id, other, 1, 1), 0);
	}
	peer_pins_forget(&p->pins, 105);
	peer_pins_forget(&p->pins, 105);
	peer_pins_forget(&p->pins, 99);
	reopen(p);
	assert_int_equal(p->pins.n, PEER_PINS_MAX - 1);
	assert_null(peer_pins_find(&p->pins, 105));
	assert_non_null(peer_pins_find(&p->pins, 104));
	assert_non_null(peer_pins_find(&p->pins, 106));
	assert_int_equal(peer_pins_meet(&p->pins, 200, nine, 1, 1), 0);
	assert_int_equal(peer_pins_meet(&p->pins, 201, nine, 1, 1), KLUIS_ETOOLARGE);
}

/* Made to join: it waits for nobody to meet, and says so in its file. */
static void test_one_that_joins(void **state)
{
	struct place *p = *state;
	_cleanup_(x_freep) char *path = x_asprintf("%s/joins", p->dir);
	struct peer_pins pins;

	assert_false(p->pins.joins);
	assert_int_equal(peer_pins_create(path, nine, 9, NULL, 0, NULL), 0);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(peer_pins_open(&pins, path, nine, 9, NULL), 0);
		assert_true(pins.joins);
		assert_int_equal(pins.n, (unsigned)again);
		assert_int_equal(peer_pins_meet(&pins, 5, five, 1, 1), 0);
		peer_pins_close(&pins);
	}
	assert_int_equal(peer_pins_open(&pins, path, nine, 9, NULL), 0);
	peer_pins_joined(&pins); /* It was let in, and stays in. */
	peer_pins_close(&pins);
	assert_int_equal(peer_pins_open(&pins, path, nine, 9, NULL), 0);
	assert_true(!pins.joins && peer_pins_begun(&pins));
	peer_pins_close(&pins);
}

static void test_creation(void **state)
{
	struct place *p = *state;
	_cleanup_(x_freep) char *path = x_asprintf("%s/2", p->dir);
	static const uint64_t twice[] = {1, 2, 1}, zero[] = {1, 0};
	struct peer_pins pins;
	struct err e = {0};

	assert_int_equal(peer_pins_create(p->path, own, 3, founders, 4, &e), KLUIS_EEXIST);
	assert_int_equal(peer_pins_create(path, own, 3, twice, 3, &e), KLUIS_EINVAL);
	assert_int_equal(peer_pins_create(path, own, 3, zero, 2, &e), KLUIS_EINVAL);
	assert_false(file_exists(path));
	/* Alone: there is nobody to wait for. */
	assert_int_equal(peer_pins_create(path, own, 1, zero, 1, &e), 0);
	assert_int_equal(peer_pins_open(&pins, path, own, 1, &e), 0);
	assert_true(peer_pins_begun(&pins));
	peer_pins_close(&pins);
}

/* --- the file --- */

static void test_not_of_this_log_or_node(void **state)
{
	struct place *p = *state;
	struct peer_pins pins;
	struct err e = {0};

	assert_int_equal(peer_pins_open(&pins, p->path, other, 3, &e), KLUIS_ECORRUPT);
	assert_non_null(strstr(e.text, "another log"));
	assert_int_equal(peer_pins_open(&pins, p->path, own, 4, &e), KLUIS_ECORRUPT);
	assert_int_equal(unlink(p->path), 0);
	assert_int_equal(peer_pins_open(&pins, p->path, own, 3, &e), KLUIS_ENOTFOUND);
}

static void test_torn_flipped_and_cut_files(void **state)
{
	struct place *p = *state;
	_cleanup_(buf_release) struct buf good = BUF_INIT, bad = BUF_INIT;
	struct err e = {0};

	assert_int_equal(peer_pins_agree(&p->pins, 5, five), 0);
	peer_pins_close(&p->pins);
	assert_int_equal(file_read(p->path, SLOT_FILE_BYTES, &good, &e), 0);
	for (size_t at = 0; at < SLOT_STRIDE_BYTES; at += at < 200 ? 7 : 211) {
		/* One slot damaged: the other one serves, and both are good again. */
		buf_clear(&bad);
		buf_append_bytes(&bad, buf_bytes(&good));
		bad.data[at] ^= 0x10;
		if (at != 4) { /* Of another version. */
			assert_int_equal(file_write(p->path, buf_bytes(&bad), 0600, &e), 0);
			assert_int_equal(open_again(p, &e), 0);
			buf_clear(&bad);
			assert_int_equal(file_read(p->path, SLOT_FILE_BYTES, &bad, &e), 0);
			assert_memory_equal(
				bad.data, bad.data + SLOT_STRIDE_BYTES, SLOT_STRIDE_BYTES);
		}
		/* Both: refused, and nothing is taken for a new node's file. */
		buf_clear(&bad);
		buf_append_bytes(&bad, buf_bytes(&good));
		bad.data[at] ^= 0x10;
		bad.data[SLOT_STRIDE_BYTES + at] ^= 0x10;
		assert_int_equal(file_write(p->path, buf_bytes(&bad), 0600, &e), 0);
		assert_int_equal(open_again(p, &e), KLUIS_ECORRUPT);
	}
	for (size_t len = 0; len < good.len; len += 127) {
		assert_int_equal(file_write(p->path, bytes_of(good.data, len), 0600, &e), 0);
		assert_int_equal(open_again(p, &e), KLUIS_ECORRUPT);
	}
}

static void test_another_version(void **state)
{
	struct place *p = *state;
	_cleanup_(buf_release) struct buf file = BUF_INIT;
	uint32_t crc;
	struct err e = {0};

	assert_int_equal(file_read(p->path, SLOT_FILE_BYTES, &file, &e), 0);
	for (size_t slot = 0; slot < 2; slot++) {
		uint8_t *at = file.data + slot * SLOT_STRIDE_BYTES;

		at[4] = 2;
		crc = crc32c(0, bytes_of(at, 16 + PEER_PINS_PAYLOAD_BYTES));
		store_u32(at + 16 + PEER_PINS_PAYLOAD_BYTES, crc);
	}
	assert_int_equal(file_write(p->path, buf_bytes(&file), 0600, &e), 0);
	assert_int_equal(open_again(p, &e), KLUIS_EVERSION);
}

/* Right CRC, impossible content. */
static void test_every_field_is_checked(void **state)
{
	struct place *p = *state;
	uint8_t good[PEER_PINS_PAYLOAD_BYTES], bad[PEER_PINS_PAYLOAD_BYTES];
	enum { ROW = 40, FLAGS = 40 };
	static const struct {
		size_t at;
		uint8_t value;
	} wrong[] = {
		{0, 0},		      /* No incarnation of our own (of 0x33 0 0 ..). */
		{23, 0},	      /* Node 0. */
		{33, 33},	      /* More rows than there can be. */
		{33, 1},	      /* Fewer than there are. */
		{34, 2},	      /* An unknown flag. */
		{35, 1},	      /* Not zero. */
		{ROW + 7, 0},	      /* Peer 0. */
		{ROW + 7, 3},	      /* Itself. */
		{ROW + 7, 5},	      /* Twice. */
		{ROW + 7, 8},	      /* Not ascending. */
		{ROW + 8, 0},	      /* Known, without incarnation. */
		{ROW + FLAGS, 8},     /* An unknown flag. */
		{ROW + FLAGS, 5},     /* Agreed and not known. */
		{ROW + FLAGS + 1, 1}, /* Not zero. */
		{ROW + 48 + 31, 1},   /* Starts of a peer that is not known. */
		{ROW + 48 + 39, 1},   /* Its boot. */
		{ROW + 3 * 48, 1},    /* Behind the last row. */
		{sizeof good - 1, 1},
	};

	assert_int_equal(peer_pins_agree(&p->pins, 1, one), 0);
	peer_pins_encode(&p->pins, good);
	assert_int_equal(peer_pins_decode(good, &p->pins), 0);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		memcpy(bad, good, sizeof bad);
		assert_int_not_equal(bad[wrong[i].at], wrong[i].value);
		bad[wrong[i].at] = wrong[i].value;
		if (peer_pins_decode(bad, &p->pins) != KLUIS_ECORRUPT) {
			fail_msg("offset %zu, value %u was taken", wrong[i].at, wrong[i].value);
		}
	}
	peer_pins_encode(&p->pins, bad);
	assert_memory_equal(good, bad, sizeof good); /* Refusals change nothing. */
}

/* --- a cluster of such nodes --- */

enum { NODES = 4, EVENTS = 700, LIVES_MAX = 200 };

struct life {
	bool begun;
	uint8_t pinned[NODES][16]; /* When it began: who the others were. */
};

struct member {
	char *path;
	unsigned lives; /* How often it was made; the incarnation says node and life. */
	uint64_t boot;
	struct peer_pins pins;
	struct life life[LIVES_MAX];
};

/* A yes that is still under way. */
struct yes {
	bool set;
	unsigned from, to, life;
	uint64_t boot;
	uint8_t incarnation[16];
};

struct model {
	char *dir;
	struct yes late;
	struct random_seeded random;
	struct member node[NODES];
	unsigned refused, begun, begun_again;
};

static void model_incarnation(unsigned node, unsigned life, uint8_t to[16])
{
	memset(to, 0, 16);
	to[0] = (uint8_t)(node + 1);
	to[1] = (uint8_t)life;
}

static void model_boot(struct model *m, unsigned i)
{
	struct member *node = &m->node[i];
	uint8_t incarnation[16];

	model_incarnation(i, node->lives, incarnation);
	assert_int_equal(peer_pins_open(&node->pins, node->path, incarnation, i + 1, NULL), 0);
	peer_pins_start(&node->pins);
	node->boot++;
}

static void model_wipe(struct model *m, unsigned i)
{
	static const uint64_t ids[NODES] = {1, 2, 3, 4};
	struct member *node = &m->node[i];
	uint8_t incarnation[16];

	peer_pins_close(&node->pins);
	(void)unlink(node->path);
	node->lives++;
	assert_true(node->lives < LIVES_MAX);
	model_incarnation(i, node->lives, incarnation);
	assert_int_equal(peer_pins_create(node->path, incarnation, i + 1, ids, NODES, NULL), 0);
	model_boot(m, i);
}

/* It takes part now. Was there an earlier life that did, then all others must have lost their
 * memory of that. */
static void model_begins(struct model *m, unsigned i)
{
	struct member *node = &m->node[i];
	struct life *life = &node->life[node->lives];

	life->begun = true;
	m->begun++;
	for (unsigned j = 0; j < NODES; j++) {
		if (j != i) {
			memcpy(life->pinned[j], peer_pins_find(&node->pins, j + 1)->incarnation,
				16);
		}
	}
	for (unsigned k = 0; k < node->lives; k++) {
		const struct life *before = &node->life[k];

		for (unsigned j = 0; j < NODES && before->begun; j++) {
			if (j != i && memcmp(before->pinned[j], life->pinned[j], 16) == 0) {
				fail_msg("node %u takes part again, and %u knew it", i + 1, j + 1);
			}
		}
		m->begun_again += before->begun;
	}
}

/* The one that dialled may be dead by now. */
static void model_answer(struct model *m, const struct yes *yes)
{
	struct member *a = &m->node[yes->from];
	int rc;

	if (!yes->set || a->lives != yes->life || a->boot != yes->boot) {
		return;
	}
	rc = peer_pins_agree(&a->pins, yes->to + 1, yes->incarnation);
	m->refused += rc == KLUIS_ECONFLICT;
	assert_true(rc == 0 || rc == KLUIS_ECONFLICT);
	if (peer_pins_begun(&a->pins) && !a->life[a->lives].begun) {
		model_begins(m, yes->from);
	}
}

/* from dials to; the answer may be late, or be lost. */
static void model_dial(struct model *m, unsigned from, unsigned to)
{
	struct member *a = &m->node[from], *b = &m->node[to];
	struct yes yes = {true, from, to, a->lives, a->boot, {0}}, late = m->late;
	int rc = peer_pins_meet(&b->pins, from + 1, a->pins.incarnation, a->pins.starts, a->boot);

	m->refused += rc == KLUIS_ECONFLICT;
	assert_true(rc == 0 || rc == KLUIS_ECONFLICT);
	if (rc != 0) {
		return;
	}
	memcpy(yes.incarnation, b->pins.incarnation, 16);
	if (random_below(&m->random.random, 4) == 0) {
		m->late = yes; /* The one before it comes now. */
		model_answer(m, &late);
	} else {
		model_answer(m, &yes);
	}
}

static void model_step(struct model *m)
{
	unsigned a = (unsigned)random_below(&m->random.random, NODES);
	unsigned b = (unsigned)random_below(&m->random.random, NODES);
	unsigned what = (unsigned)random_below(&m->random.random, 100);

	if (what < 6) {
		model_wipe(m, a);
	} else if (what < 7) { /* All at once: a new cluster. */
		for (unsigned i = 0; i < NODES; i++) {
			model_wipe(m, i);
		}
	} else if (what < 15) {
		peer_pins_close(&m->node[a].pins);
		model_boot(m, a);
	} else if (a != b) {
		model_dial(m, a, b);
	}
}

static void test_no_node_takes_part_twice(void **state)
{
	struct model *m = x_calloc(1, sizeof *m);

	(void)state;
	m->dir = scratch_new("pins-model");
	random_seeded_init(&m->random, 20);
	for (unsigned i = 0; i < NODES; i++) {
		m->node[i].path = x_asprintf("%s/%u", m->dir, i);
		model_wipe(m, i);
	}
	for (unsigned i = 0; i < EVENTS; i++) {
		model_step(m);
	}
	print_message("%u refused, %u began, %u after an earlier life\n", m->refused, m->begun,
		m->begun_again);
	assert_true(m->refused > 100 && m->begun > 5 && m->begun_again > 0);
	for (unsigned i = 0; i < NODES; i++) {
		peer_pins_close(&m->node[i].pins);
		free(m->node[i].path);
	}
	scratch_free(m->dir);
	free(m);
}

#define PINS_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PINS_TEST(test_the_first_word_counts),
		PINS_TEST(test_an_old_copy_is_known_by_its_starts),
		PINS_TEST(test_begun_when_all_founders_agreed),
		PINS_TEST(test_starts_are_counted),
		PINS_TEST(test_the_table_is_bounded),
		PINS_TEST(test_the_clusters_row_wins),
		PINS_TEST(test_a_removed_peer_is_forgotten),
		PINS_TEST(test_one_that_joins),
		PINS_TEST(test_creation),
		PINS_TEST(test_not_of_this_log_or_node),
		PINS_TEST(test_torn_flipped_and_cut_files),
		PINS_TEST(test_another_version),
		PINS_TEST(test_every_field_is_checked),
		cmocka_unit_test(test_no_node_takes_part_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
