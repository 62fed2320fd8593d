/* Everything in a repository is read again within a period, evenly, whatever the clock does; what
 * is damaged is found, set aside, kept in mind over restarts, and forgotten when it is whole again.
 */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/rehash.h"
#include "backup/verify.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/text.h"
#include "tests/unit/backup/lib/site.h"

enum { STEP_MS = 60000, WEEK_MS = 7 * 24 * 3600 * 1000, SNAPSHOTS = 4 };
static const uint64_t start_ms = 1800000000000;

/* What was learnt of whole snapshots. */
struct said {
	unsigned good, bad;
	uint8_t manifest_hash[HASH_BYTES]; /* Of the last. */
	char text[REHASH_TEXT_BYTES];
};

struct world {
	struct backup_sites sites;
	struct backup_model model;
	struct rehash_config config;
	struct rehash_state state;
	uint8_t hash[SNAPSHOTS][HASH_BYTES];
	struct manifest_name held[SNAPSHOTS]; /* All of them, unless a test says otherwise. */
	struct said said;
};

static void checked_cb(void *data, const uint8_t manifest_hash[32], bool ok, const char *text)
{
	struct said *said = data;

	said->good += ok;
	said->bad += !ok;
	memcpy(said->manifest_hash, manifest_hash, HASH_BYTES);
	(void)snprintf(said->text, sizeof said->text, "%s", text); /* Fits. */
	assert_true(ok == (text[0] == 0));
}

static int set_up(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	backup_sites_init(&w->sites, KEY_KEM_X25519);
	backup_model_init(&w->model, 3);
	for (unsigned i = 0; i < SNAPSHOTS; i++) {
		backup_model_change(&w->model, 20, 20, 1000);
		backup_model_snapshot(&w->model, &w->sites, 1, false, w->hash[i]);
		assert_int_equal(
			repository_find(w->sites.repository[0], w->hash[i], &w->held[i], NULL), 0);
	}
	w->config = (struct rehash_config){.repository = w->sites.repository[0],
		.trust = &w->sites.trust,
		.signer = w->sites.signer[0],
		.node = 1,
		.period_ms = WEEK_MS,
		.step_ms = STEP_MS,
		.held = w->held,
		.n_held = SNAPSHOTS,
		.checked_cb = checked_cb,
		.data = &w->said};
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	backup_model_release(&w->model);
	backup_sites_release(&w->sites);
	free(w);
	return 0;
}

static void step(struct world *w, uint64_t wall_ms)
{
	struct err e = {0};

	if (rehash_step(&w->config, &w->state, wall_ms, &e) != 0) {
		fail_msg("%s", e.text);
	}
}

/* A whole round in a few steps. */
static uint64_t round_from(struct world *w, uint64_t from_ms)
{
	uint64_t ended_ms = w->state.ended_ms, at = from_ms;

	w->config.step_ms = WEEK_MS / 8;
	for (unsigned i = 0; w->state.ended_ms == ended_ms; i++) {
		assert_true(i < 20);
		at += w->config.step_ms;
		step(w, at);
	}
	return at;
}

/* A week of minutes: each step reads its share and no more, the last ends the round. */
static void test_even(void **state)
{
	struct world *w = *state;
	uint64_t upto, reached = 0, at_ms = 0;

	for (unsigned i = 0; i <= WEEK_MS / STEP_MS; i++) {
		w->state.reached = reached;
		w->state.reached_ms = at_ms;
		at_ms = rehash_due(&w->config, &w->state, start_ms + (uint64_t)i * STEP_MS, &upto);
		assert_int_equal(at_ms, start_ms + (uint64_t)i * STEP_MS);
		assert_true(upto - reached <= REHASH_ALL / (WEEK_MS / STEP_MS) + 1);
		reached = upto;
	}
	assert_true(REHASH_ALL - reached < WEEK_MS / STEP_MS); /* Rounding. */
}

/* After a month off, a week is due, in four times the pace; a clock that was set back or forward
 * makes no burst and no pause. */
static void test_clock(void **state)
{
	struct world *w = *state;
	const uint64_t day_ms = 24 * 3600 * 1000;
	uint64_t upto, at_ms, share = REHASH_ALL / (WEEK_MS / STEP_MS);

	w->state.reached_ms = start_ms;
	at_ms = rehash_due(&w->config, &w->state, start_ms + 30 * day_ms, &upto);
	assert_int_equal(at_ms, start_ms + 23 * day_ms + REHASH_CATCH_UP * STEP_MS);
	assert_in_range(upto, REHASH_CATCH_UP * share - 4, REHASH_CATCH_UP * share + 4);
	at_ms = rehash_due(&w->config, &w->state, start_ms - day_ms, &upto);
	assert_int_equal(at_ms, start_ms - day_ms);
	assert_int_equal(upto, 0);
	w->state.reached_ms = at_ms;
	(void)rehash_due(&w->config, &w->state, start_ms - day_ms + STEP_MS, &upto);
	assert_in_range(upto, share - 1, share + 1);
	w->state.reached = REHASH_ALL - 1;
	(void)rehash_due(&w->config, &w->state, start_ms - day_ms + STEP_MS, &upto);
	assert_int_equal(upto, REHASH_ALL);
}

/* Each object once in a round. */
static void test_round(void **state)
{
	struct world *w = *state;
	uint64_t objects = 0, bytes = 0, at;

	for (unsigned i = 0; i < SNAPSHOTS; i++) {
		_cleanup_(backup_manifest_release) struct backup_manifest m = {0};

		assert_int_equal(point_manifest(w->sites.repository[0], w->hash[i], &w->sites.trust,
					 &m, NULL),
			0);
		objects += m.n_index + m.n_packs;
		bytes += backup_manifest_bytes(&m);
	}
	step(w, start_ms);
	assert_int_equal(w->state.objects, 0);
	at = round_from(w, start_ms);
	assert_int_equal(w->state.objects, objects);
	assert_int_equal(w->state.bytes, bytes);
	assert_int_equal(w->state.n_damaged, 0);
	assert_int_equal(w->state.ended_ms, at);
	assert_int_equal(w->said.good, 1);
	assert_memory_equal(w->said.manifest_hash, w->hash[SNAPSHOTS - 1], HASH_BYTES);
	(void)round_from(w, at);
	assert_int_equal(w->state.objects, 2 * objects);
	assert_int_equal(w->said.good, 2);
	assert_int_equal(w->said.bad, 0);
}

/* A round says that a snapshot is whole only of one that was here when it began, so that all of it
 * was read: neither of a younger one nor of one that was forgotten meanwhile. */
static void test_witness(void **state)
{
	struct world *w = *state;
	uint64_t freed, at;

	w->config.n_held = 0;
	step(w, start_ms);
	w->config.step_ms = WEEK_MS / 8;
	step(w, start_ms + w->config.step_ms); /* Begun without any. */
	w->config.n_held = SNAPSHOTS;
	at = round_from(w, start_ms + w->config.step_ms);
	assert_int_equal(w->said.good, 0);
	w->config.n_held = 2;
	at += w->config.step_ms;
	step(w, at);
	w->config.n_held = SNAPSHOTS;
	at = round_from(w, at);
	assert_int_equal(w->said.good, 1);
	assert_memory_equal(w->said.manifest_hash, w->hash[1], HASH_BYTES);
	w->config.n_held = 1;
	at += w->config.step_ms;
	step(w, at);
	w->config.n_held = 0;
	assert_int_equal(
		repository_prune(w->sites.repository[0], &w->held[0], 1, at, 0, &freed, NULL), 0);
	(void)round_from(w, at);
	assert_int_equal(w->said.good, 1);
	assert_int_equal(w->said.bad, 0);
}

/* The log says that it is here, and there is nothing that could be read: found at the first step,
 * and kept in mind as long as the log says so. */
static void test_lost_manifest(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *path = NULL;
	char text[MANIFEST_NAME_BYTES];

	manifest_name_format(&w->held[1], text);
	path = x_asprintf("%s/manifests/%s", repository_path(w->sites.repository[0]), text);
	assert_int_equal(unlink(path), 0);
	for (unsigned i = 0; i < 3; i++) {
		step(w, start_ms + i);
		assert_int_equal(w->state.n_damaged, 1);
		assert_int_equal(w->state.found, 1);
		assert_non_null(rehash_damage_of(&w->state, w->hash[1]));
	}
	assert_int_equal(w->said.bad, 1);
	assert_string_equal(w->said.text, w->state.damaged[0].text);
	w->config.held = &w->held[2];
	w->config.n_held = 2;
	step(w, start_ms + 3);
	assert_int_equal(w->state.n_damaged, 0);
	assert_int_equal(w->said.good, 1); /* Not of what is gone. */
	assert_memory_equal(w->said.manifest_hash, w->held[3].hash, HASH_BYTES);
}

static char *object_path(struct world *w, unsigned snapshot, unsigned object)
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	char hex[HEX_LEN(HASH_BYTES) + 1];

	assert_int_equal(point_manifest(w->sites.repository[0], w->hash[snapshot], &w->sites.trust,
				 &m, NULL),
		0);
	assert_true(object < m.n_index + m.n_packs);
	hex_encode(bytes_of(m.objects[object].hash, HASH_BYTES), hex);
	return x_asprintf("%s/objects/%.2s/%s", repository_path(w->sites.repository[0]), hex, hex);
}

static struct rehash_state *loaded(struct world *w)
{
	static struct rehash_state state;

	rehash_load(w->sites.repository[0], &state);
	return &state;
}

/* Found, named, out of the way, remembered by the next process; whole again with the file back. */
static void test_changed_object(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *path = object_path(w, 1, 1);
	_cleanup_(x_freep) char *aside = x_asprintf(
		"%s/damaged%s", repository_path(w->sites.repository[0]), strrchr(path, '/'));
	uint64_t at;

	step(w, start_ms);
	backup_flip(path, 200);
	at = round_from(w, start_ms);
	assert_int_equal(w->state.n_damaged, 1);
	assert_int_equal(w->state.found, 1);
	assert_non_null(rehash_damage_of(&w->state, w->hash[1]));
	assert_null(rehash_damage_of(&w->state, w->hash[0]));
	assert_non_null(strstr(rehash_damage_of(&w->state, w->hash[1]), "objects/"));
	assert_false(file_exists(path));
	assert_true(file_exists(aside));
	assert_string_equal(
		rehash_damage_of(loaded(w), w->hash[1]), rehash_damage_of(&w->state, w->hash[1]));
	step(w, at + 1); /* Still missing. */
	assert_int_equal(w->state.n_damaged, 1);
	assert_int_equal(w->said.bad, 1);
	assert_int_equal(w->said.good, 0);
	assert_string_equal(w->said.text, rehash_damage_of(&w->state, w->hash[1]));
	backup_flip(aside, 200);
	assert_int_equal(rename(aside, path), 0);
	step(w, at + 2);
	assert_int_equal(w->state.n_damaged, 0);
	assert_int_equal(loaded(w)->n_damaged, 0);
	assert_int_equal(w->said.good, 1);
	assert_memory_equal(w->said.manifest_hash, w->hash[1], HASH_BYTES);
}

/* What the disk cannot read is out of the way of a good one, as what was changed is. */
static void test_unreadable_object(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *path = object_path(w, 0, 0);

	w->config.suspect = w->hash[0];
	fault_arm("verify.read", 1, false);
	step(w, start_ms);
	fault_disarm();
	w->config.suspect = NULL;
	assert_int_equal(w->state.n_damaged, 1);
	assert_non_null(strstr(rehash_damage_of(&w->state, w->hash[0]), "cannot read"));
	assert_false(file_exists(path));
}

static void test_missing_and_short_objects(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *missing = object_path(w, 0, 0);
	_cleanup_(x_freep) char *cut = object_path(w, 2, 1);
	struct stat st;

	step(w, start_ms);
	assert_int_equal(unlink(missing), 0);
	assert_int_equal(stat(cut, &st), 0);
	assert_int_equal(truncate(cut, st.st_size - 1), 0);
	(void)round_from(w, start_ms);
	assert_int_equal(w->state.n_damaged, 2);
	assert_non_null(strstr(rehash_damage_of(&w->state, w->hash[0]), "missing"));
	assert_non_null(strstr(rehash_damage_of(&w->state, w->hash[2]), "bytes"));
}

/* A manifest is damaged in its body or in its signature; it stays where it is. */
static void test_changed_manifest(void **state)
{
	struct world *w = *state;
	struct manifest_name name;

	step(w, start_ms);
	backup_flip_manifest(w->sites.repository[0], w->hash[0], 110);
	backup_flip_manifest(w->sites.repository[0], w->hash[1], -1);
	(void)round_from(w, start_ms);
	assert_int_equal(w->state.n_damaged, 2);
	assert_non_null(strstr(rehash_damage_of(&w->state, w->hash[0]), "manifests/"));
	assert_non_null(strstr(rehash_damage_of(&w->state, w->hash[1]), "manifests/"));
	assert_int_equal(repository_find(w->sites.repository[0], w->hash[0], &name, NULL), 0);
}

/* A receipt that is no longer its own word is made anew, with the time of then; others stay. */
static void test_changed_receipt(void **state)
{
	struct world *w = *state;
	struct repository *repository = w->sites.repository[0];
	uint64_t at;

	for (unsigned i = 0; i < 3; i++) {
		_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
		_cleanup_(x_freep) char *path = NULL;
		struct receipt receipt;
		uint8_t bytes[RECEIPT_BYTES];
		char hex[HEX_LEN(HASH_BYTES) + 1];

		assert_int_equal(
			point_manifest(repository, w->hash[i], &w->sites.trust, &m, NULL), 0);
		receipt = receipt_of(&m, w->hash[i], 1, start_ms);
		assert_int_equal(receipt_encode(&receipt, w->sites.signer[0], bytes, NULL), 0);
		assert_int_equal(repository_put_receipt(
					 repository, &receipt, bytes_of(bytes, sizeof bytes), NULL),
			0);
		hex_encode(bytes_of(w->hash[i], HASH_BYTES), hex);
		path = x_asprintf("%s/receipts/%s-%016x", repository_path(repository), hex, 1);
		if (i == 1) {
			backup_flip(path, RECEIPT_BYTES / 2);
		} else if (i == 2) {
			assert_int_equal(truncate(path, 5), 0);
		}
	}
	step(w, start_ms);
	at = round_from(w, start_ms);
	for (unsigned i = 0; i < 3; i++) {
		_cleanup_(buf_release) struct buf bytes = BUF_INIT;
		struct receipt receipt;

		assert_int_equal(
			repository_get_receipt(repository, w->hash[i], 1, &bytes, NULL), 0);
		assert_int_equal(
			receipt_open(buf_bytes(&bytes), &w->sites.trust, &receipt, NULL), 0);
		assert_true(i == 0 ? receipt.received_ms == start_ms
				   : receipt.received_ms > start_ms && receipt.received_ms <= at);
	}
	assert_int_equal(w->state.found, 2);
	assert_int_equal(w->state.n_damaged, 0);
}

/* One that is suspected is read whole, whatever is due. */
static void test_suspect(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *path = object_path(w, 1, 0);

	backup_flip(path, 50);
	step(w, start_ms);
	w->config.suspect = w->hash[0];
	step(w, start_ms);
	assert_int_equal(w->state.n_damaged, 0);
	w->config.suspect = w->hash[1];
	step(w, start_ms);
	assert_int_equal(w->state.n_damaged, 1);
	assert_non_null(rehash_damage_of(&w->state, w->hash[1]));
	assert_int_equal(w->state.reached, 0);
}

/* The node that took them has another key now: nothing of it is damaged. */
static void test_former_key(void **state)
{
	struct world *w = *state;
	uint64_t at;

	step(w, start_ms);
	backup_sites_change_signer(&w->sites, 1);
	w->config.signer = w->sites.signer[0];
	at = round_from(w, start_ms);
	assert_int_equal(w->state.n_damaged, 0);
	assert_int_equal(w->said.bad, 0);
	key_pub_free(w->sites.trust.former[--w->sites.trust.n_former].pub);
	(void)round_from(w, at);
	assert_int_equal(w->state.n_damaged, SNAPSHOTS); /* As of a stranger. */
}

/* Its taker was replaced: by its former key a signature is looked at as any other. */
static void test_replaced_taker(void **state)
{
	struct world *w = *state;

	step(w, start_ms);
	backup_sites_change_signer(&w->sites, 1);
	w->sites.trust.nodes[0].node = 9;
	backup_flip_manifest(w->sites.repository[0], w->hash[1], -1);
	(void)round_from(w, start_ms);
	assert_int_equal(w->said.bad, 1);
	assert_memory_equal(w->said.manifest_hash, w->hash[1], HASH_BYTES);
}

/* What was pruned by its age is not damaged, and no longer kept in mind. */
static void test_forgotten(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *missing = object_path(w, 3, 0);
	struct manifest_name name;
	uint64_t freed, at;

	step(w, start_ms);
	assert_int_equal(unlink(missing), 0);
	at = round_from(w, start_ms);
	assert_int_equal(w->state.n_damaged, 1);
	assert_int_equal(repository_find(w->sites.repository[0], w->hash[3], &name, NULL), 0);
	assert_int_equal(
		repository_prune(w->sites.repository[0], &name, 1, at, 0, &freed, NULL), 0);
	w->config.n_held = 3;
	step(w, at + 1);
	assert_int_equal(w->state.n_damaged, 0);
}

/* A byte of its head costs the round; any other one some of what it says, at most. */
static void test_state_flipped(struct world *w, const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size > 8);
	for (off_t at = 0; at < st.st_size; at++) {
		backup_flip(path, at);
		assert_true(at >= 8 || loaded(w)->reached_ms == 0);
		backup_flip(path, at);
	}
	assert_int_not_equal(loaded(w)->reached_ms, 0);
}

/* Damaged itself, it costs a round and nothing else. */
static void test_state_on_disk(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *path =
		x_asprintf("%s/rehash", repository_path(w->sites.repository[0]));
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct rehash_state *again = x_calloc(1, sizeof *again);

	assert_int_equal(loaded(w)->reached_ms, 0); /* None yet. */
	step(w, start_ms);
	w->state.n_damaged = 1;
	memcpy(w->state.damaged[0].manifest_hash, w->hash[0], HASH_BYTES);
	(void)snprintf(
		w->state.damaged[0].text, REHASH_TEXT_BYTES, "objects/ab: wrong"); /* Fits. */
	w->state.reached = 77;
	memcpy(w->state.witness, w->hash[1], HASH_BYTES);
	rehash_state_encode(&w->state, &bytes);
	assert_int_equal(rehash_state_decode(buf_bytes(&bytes), again, NULL), 0);
	assert_int_equal(again->reached, 77);
	assert_int_equal(again->n_damaged, 1);
	assert_string_equal(again->damaged[0].text, "objects/ab: wrong");
	assert_memory_equal(again->witness, w->hash[1], HASH_BYTES);
	for (size_t len = 0; len < bytes.len; len++) {
		assert_int_equal(rehash_state_decode(bytes_of(bytes.data, len), again, NULL),
			KLUIS_ECORRUPT);
	}
	bytes.data[bytes.len - 1] = '\n'; /* It would go into logs and commands. */
	assert_int_equal(rehash_state_decode(buf_bytes(&bytes), again, NULL), KLUIS_ECORRUPT);
	bytes.data[bytes.len - 1] = 'g';
	assert_int_equal(rehash_state_decode(buf_bytes(&bytes), again, NULL), 0);
	buf_put_u8(&bytes, 0);
	assert_int_equal(rehash_state_decode(buf_bytes(&bytes), again, NULL), KLUIS_ECORRUPT);
	bytes.data[4] = 2;
	assert_int_equal(rehash_state_decode(buf_bytes(&bytes), again, NULL), KLUIS_EVERSION);
	test_state_flipped(w, path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0); /* Cannot be read at all. */
	assert_int_equal(loaded(w)->reached_ms, 0);
	free(again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_even, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_clock, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_round, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_witness, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lost_manifest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_changed_object, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unreadable_object, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_missing_and_short_objects, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_changed_manifest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_changed_receipt, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_suspect, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_former_key, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_replaced_taker, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_forgotten, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_state_on_disk, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
