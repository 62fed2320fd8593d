/* What becomes of copies after they were taken in: damaged, lost, missed; and of senders that
 * disturb.
 */
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/repository.h"
#include "backup/ship.h"
#include "base/file.h"
#include "base/text.h"
#include "node/backup_parts.h"
#include "tests/unit/node/lib/backup_rig.h"

static bool wait_for(
	struct backup_rig *w, bool (*is)(struct backup_rig *w, uint64_t id), uint64_t id)
{
	for (unsigned waited = 0; waited < RIG_WAIT_MS; waited += 20) {
		if (is(w, id)) {
			return true;
		}
		replica_rig_run(&w->rig, 20);
	}
	return false;
}

/* The last word of node 2 on a whole copy of its own. */
static struct check_row check_of_ber(struct backup_rig *w)
{
	struct backup_job *asked = w->job[w->job[0] == NULL ? 2 : 0];
	struct backup_summary summary;
	struct check_row none = {.node = 0};

	for (size_t i = 0; backup_job_summary(asked, &summary) && i < summary.n_checks; i++) {
		if (summary.checks[i].node == 2 && summary.checks[i].level == 2) {
			return summary.checks[i];
		}
	}
	return none;
}

static bool is_known_bad(struct backup_rig *w, uint64_t id)
{
	struct check_row row = check_of_ber(w);

	return row.node == 2 && !row.ok && row.id == id && row.text[0] != 0;
}

static bool is_known_good(struct backup_rig *w, uint64_t id)
{
	struct check_row row = check_of_ber(w);

	return row.node == 2 && row.ok && row.good_id == id;
}

static bool is_taken_back(struct backup_rig *w, uint64_t id)
{
	struct snapshot_row row = backup_rig_row(w, id);

	return row.n_confirmations == BACKUP_RIG_NODES - 2;
}

/* A receiver's copy goes bad: re-reading finds it, the record loses the confirmation and says why,
 * the taker ships it again by itself, and it counts again. */
static void test_damaged_copy_is_replaced(void **state)
{
	struct backup_rig *w = *state;
	struct snapshot_row row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	_cleanup_(x_freep) char *path = backup_rig_object_path(w, 1, &row);
	struct api_copies copies = {.ended_ms = 0};
	struct stat st;

	assert_true(wait_for(w, is_known_good, row.id)); /* A round has passed. */
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size - 1), 0);
	assert_true(wait_for(w, is_taken_back, row.id));
	row = backup_rig_row(w, row.id);
	assert_int_equal(row.state, SNAPSHOT_CONFIRMED);
	assert_int_equal(strncmp(row.error, "node 2: object 'objects/", 24), 0);
	assert_true(wait_for(w, is_known_bad, row.id));
	row = backup_rig_wait_confirmed(w, row.id);
	assert_string_equal(row.error, "");
	assert_true(wait_for(w, is_known_good, row.id));
	backup_rig_assert_at_every_site(w, &row);
	for (unsigned waited = 0; copies.ended_ms == 0; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
		backup_job_copies(w->job[1], &copies);
	}
	assert_int_equal(copies.found, 1);
	assert_int_equal(copies.damaged, 0);
	assert_true(copies.objects > 0);
}

/* What a check by an operator finds is mended at once, not when its turn in the week comes. */
static void test_damage_that_a_check_finds(void **state)
{
	struct backup_rig *w = *state;
	struct snapshot_row row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	_cleanup_(x_freep) char *path = backup_rig_object_path(w, 1, &row);
	struct api_verify verified;
	uint8_t byte;
	int fd;

	backup_rig_close_job(w, 1);
	w->config[1].backup_rehash_s = BACKUP_REHASH_S_DEFAULT;
	backup_rig_start_job(w, 1);
	assert_int_equal(chmod(path, 0600), 0);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, &byte, 1, 100), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, 100), 1);
	(void)close(fd);
	assert_int_equal(backup_job_verify(w->job[1], row.manifest_hash, 2, &verified, NULL), 0);
	assert_false(verified.ok);
	assert_true(wait_for(w, is_taken_back, row.id));
	row = backup_rig_wait_confirmed(w, row.id);
	backup_rig_assert_at_every_site(w, &row);
	backup_rig_close_job(w, 1);
	w->config[1].backup_rehash_s = 2;
	backup_rig_start_job(w, 1);
}

static bool is_complained_of(struct backup_rig *w, uint64_t id)
{
	return strncmp(backup_rig_row(w, id).error, "node 1: ", 8) == 0;
}

static bool is_quiet(struct backup_rig *w, uint64_t id)
{
	return backup_rig_row(w, id).error[0] == 0;
}

/* Any file of the taker's own goes: it says so, and takes it back when the file is there again. */
static void test_damaged_copy_of_the_taker(void **state)
{
	struct backup_rig *w = *state;
	struct snapshot_row row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	_cleanup_(x_freep) char *object = backup_rig_object_path(w, 0, &row);
	_cleanup_(x_freep) char *manifest = backup_rig_manifest_path(w, 0, &row);
	_cleanup_(x_freep) char *away = x_asprintf("%s/away", w->rig.dir);
	const char *const paths[] = {object, manifest};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		assert_int_equal(rename(paths[i], away), 0);
		assert_true(wait_for(w, is_complained_of, row.id));
		assert_int_equal(backup_rig_row(w, row.id).n_confirmations, BACKUP_RIG_NODES - 1);
		assert_int_equal(rename(away, paths[i]), 0);
		assert_true(wait_for(w, is_quiet, row.id));
	}
	backup_rig_assert_at_every_site(w, &row);
}

/* A receiver's manifest is gone, its own receipt is not: that counts for nothing, however long
 * nobody brings the snapshot again. */
static void test_lost_manifest(void **state)
{
	struct backup_rig *w = *state;
	struct snapshot_row row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	struct snapshot_row other = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, true));
	_cleanup_(x_freep) char *manifest = backup_rig_manifest_path(w, 1, &row);
	_cleanup_(x_freep) char *known =
		x_asprintf("%s/rehash", w->config[1].backup_repository_dir);
	struct api_verify verified;
	struct api_copies copies;
	uint64_t ended_ms = 0;

	backup_rig_close_job(w, 0);
	assert_int_equal(unlink(manifest), 0);
	assert_true(wait_for(w, is_taken_back, row.id));
	assert_true(wait_for(w, is_known_bad, row.id));
	assert_int_equal(backup_job_verify(w->job[1], other.manifest_hash, 2, &verified, NULL), 0);
	assert_true(verified.ok); /* Which hides nothing. */
	for (unsigned rounds = 0, waited = 0; rounds < 2; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
		backup_job_copies(w->job[1], &copies);
		assert_int_equal(copies.damaged, 1);
		assert_true(is_taken_back(w, row.id));
		assert_true(is_known_bad(w, row.id));
		rounds += copies.ended_ms != ended_ms;
		ended_ms = copies.ended_ms;
	}
	/* Nor when nothing is known of the damage any more. */
	backup_rig_close_job(w, 1);
	assert_int_equal(unlink(known), 0);
	w->config[1].backup_rehash_s = 0;
	backup_rig_start_job(w, 1);
	for (unsigned ticks = 0; ticks < 10; ticks++) {
		replica_rig_run(&w->rig, BACKUP_JOB_TICK_MS / 10);
		assert_true(is_taken_back(w, row.id));
	}
	backup_rig_close_job(w, 1);
	w->config[1].backup_rehash_s = 2;
	backup_rig_start_job(w, 1);
	backup_rig_start_job(w, 0);
	row = backup_rig_wait_confirmed(w, row.id);
	backup_rig_assert_at_every_site(w, &row);
}

static bool is_not_forgotten(struct backup_rig *w, uint64_t id)
{
	struct api_copies copies;

	(void)id;
	backup_job_copies(w->job[0], &copies);
	return strstr(copies.prune_text, "manifests/*-") != NULL;
}

static bool is_forgotten(struct backup_rig *w, uint64_t id)
{
	struct api_copies copies;

	(void)id;
	backup_job_copies(w->job[0], &copies);
	return copies.prune_text[0] == 0;
}

/* A manifest that is not what it was keeps all of them from being forgotten: that is said until it
 * is mended. */
static void test_nothing_is_forgotten(void **state)
{
	struct backup_rig *w = *state;
	struct snapshot_row row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	_cleanup_(x_freep) char *manifest = backup_rig_manifest_path(w, 0, &row);
	_cleanup_(x_freep) char *away = x_asprintf("%s/away", w->rig.dir);
	uint64_t haste = w->config[0].backup_haste;

	backup_rig_close_job(w, 0);
	w->config[0].backup_haste = 200;
	assert_int_equal(rename(manifest, away), 0);
	assert_int_equal(file_create(manifest, bytes_str("rubbish"), 0400, NULL), 0);
	backup_rig_start_job(w, 0);
	assert_true(wait_for(w, is_not_forgotten, 0));
	assert_int_equal(rename(away, manifest), 0);
	assert_true(wait_for(w, is_forgotten, 0));
	backup_rig_close_job(w, 0);
	w->config[0].backup_haste = haste;
	backup_rig_start_job(w, 0);
}

/* A site's disk is gone, and the log says that it holds everything: all of it comes again. */
static void test_lost_repository(void **state)
{
	struct backup_rig *w = *state;
	struct snapshot_row first = backup_rig_wait_confirmed(w, backup_rig_claim(w, 2, false)),
			    second = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));

	backup_rig_close_job(w, 2);
	assert_int_equal(file_remove_tree(w->config[2].backup_repository_dir, NULL), 0);
	backup_rig_start_job(w, 2);
	assert_true(wait_for(w, is_taken_back, first.id));
	assert_true(wait_for(w, is_taken_back, second.id));
	first = backup_rig_wait_confirmed(w, first.id);
	second = backup_rig_wait_confirmed(w, second.id);
	backup_rig_assert_at_every_site(w, &first);
	backup_rig_assert_at_every_site(w, &second);
}

static bool is_recorded(struct backup_rig *w, uint64_t id)
{
	return backup_rig_row(w, id).state == SNAPSHOT_SHIPPED;
}

/* A cycle whose taker was silent before anybody had it, so that another one took it, too: here
 * twice, and a site that loses both gets both again. A later cycle may be built on either. */
static void test_lost_cycle_taken_twice(void **state)
{
	struct backup_rig *w = *state;
	struct command renew = {.type = COMMAND_SNAPSHOT_RENEW};
	struct snapshot_row first, second;
	uint64_t id, again;

	backup_rig_close_job(w, 1);
	backup_rig_close_job(w, 2);
	id = backup_rig_claim(w, 1, false);
	assert_true(wait_for(w, is_recorded, id));
	backup_rig_close_job(w, 0);
	renew.snapshot_renew.id = id;
	renew.snapshot_renew.node = 1;
	renew.snapshot_renew.ttl_ms = 1;
	backup_rig_propose(w, &renew, &again);
	replica_rig_run(&w->rig, 20); /* It has run out. */
	again = backup_rig_claim(w, 2, false);
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		backup_rig_start_job(w, i);
	}
	first = backup_rig_wait_confirmed(w, id);
	second = backup_rig_wait_confirmed(w, again);
	assert_int_equal(first.cycle, second.cycle);
	backup_rig_close_job(w, 2);
	assert_int_equal(file_remove_tree(w->config[2].backup_repository_dir, NULL), 0);
	backup_rig_start_job(w, 2);
	assert_true(wait_for(w, is_taken_back, second.id));
	assert_true(wait_for(w, is_taken_back, first.id));
	(void)backup_rig_wait_confirmed(w, first.id);
	(void)backup_rig_wait_confirmed(w, second.id);
}

/* One sender's drop is full of rubbish, and cannot even be read after that: the other's snapshots
 * come in, and operators learn whose it is. */
static void test_each_sender_by_itself(void **state)
{
	enum { RUBBISH = 500 };
	struct backup_rig *w = *state;
	_cleanup_(x_freep) char *drop = x_asprintf("%s/ber/incoming", w->config[0].backup_drop_dir);
	_cleanup_(x_freep) char *away = x_asprintf("%s/away", w->config[0].backup_drop_dir);
	struct api_copies copies = {.n_drops = 0};
	struct snapshot_row row;

	backup_rig_close_job(w, 0);
	w->config[0].backup_drop_quota_files = 100;
	for (unsigned i = 0; i < RUBBISH; i++) {
		_cleanup_(x_freep) char *file = x_asprintf("%s/o-%064u.0", drop, i);

		assert_int_equal(file_write(file, bytes_str("rubbish"), 0400, NULL), 0);
	}
	backup_rig_start_job(w, 0);
	row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 3, true));
	backup_rig_assert_at_every_site(w, &row);
	for (unsigned waited = 0; copies.n_drops == 0 || copies.drops[0].refused == 0;
		waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		backup_job_copies(w->job[0], &copies);
		replica_rig_run(&w->rig, 20);
	}
	assert_string_equal(copies.drops[0].site, "ber");
	assert_int_equal(copies.drops[0].refused, RUBBISH - 100);
	assert_int_equal(copies.drops[0].files, 100);
	assert_int_equal(copies.drops[1].refused, 0);
	assert_true(copies.drops[1].accepted > 0);
	assert_int_equal(rename(drop, away), 0);
	row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 3, true));
	for (unsigned waited = 0; copies.drops[0].rc == 0; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		backup_job_copies(w->job[0], &copies);
		replica_rig_run(&w->rig, 20);
	}
	assert_int_equal(copies.drops[0].rc, KLUIS_ENOTFOUND);
	assert_int_equal(copies.drops[1].rc, 0);
	backup_rig_close_job(w, 0);
	assert_int_equal(rename(away, drop), 0);
	w->config[0].backup_drop_quota_files = 0;
	backup_rig_start_job(w, 0);
}

/* Whether the site before it has a new snapshot while this job still waits for a word of the last.
 */
static bool served_meanwhile(struct backup_rig *w, uint64_t *ret_id)
{
	struct snapshot_row row;

	backup_rig_start_job(w, 0);
	*ret_id = backup_rig_claim(w, 1, true);
	row = backup_rig_wait_first(w, *ret_id);
	assert_int_equal(row.confirmation[0].node, 2);
	return backup_rig_shipment(w, 0, backup_rig_names[2]).rc == 0;
}

/* A site that takes the connection and never says a word: the other one is served meanwhile, and
 * what it lacks comes when it answers. */
static void test_silent_site(void **state)
{
	struct backup_rig *w = *state;
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof address;
	struct config_site *site = &w->config[0].sites[2];
	unsigned port = site->ssh.port;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t id;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	assert_int_equal(listen(fd, 8), 0);
	backup_rig_close_job(w, 0);
	site->ssh.port = ntohs(address.sin_port);
	/* Where a machine is so busy that its patience ends before, it was not seen. */
	for (unsigned tries = 0; !served_meanwhile(w, &id); tries++) {
		assert_true(tries < 5);
		backup_rig_close_job(w, 0);
	}
	(void)close(fd);
	backup_rig_close_job(w, 0);
	site->ssh.port = port;
	backup_rig_start_job(w, 0);
	(void)backup_rig_wait_confirmed(w, id);
}

static bool has_failed(struct backup_rig *w, uint64_t id)
{
	(void)id;
	return backup_rig_shipment(w, 0, backup_rig_names[2]).rc != 0;
}

static bool has_not_failed(struct backup_rig *w, uint64_t id)
{
	return !has_failed(w, id);
}

static void confirm_as(struct backup_rig *w, uint64_t node, const struct snapshot_row *row)
{
	struct command command = {.type = COMMAND_SNAPSHOT_CONFIRM};

	command.snapshot_confirm.id = row->id;
	command.snapshot_confirm.node = node;
	command.snapshot_confirm.needed = 1;
	memcpy(command.snapshot_confirm.manifest_hash, row->manifest_hash, HASH_BYTES);
	backup_rig_propose(w, &command, NULL);
}

/* A site that nothing can be brought to, until nothing is owed to it any more: that is told, and no
 * longer than that. */
static void test_owed_no_more(void **state)
{
	struct backup_rig *w = *state;
	struct config_site *site = &w->config[0].sites[2];
	char nowhere[] = "/nowhere", *path = site->ssh_path;
	struct snapshot_row row;

	backup_rig_close_job(w, 0);
	backup_rig_close_job(w, 2);
	site->ssh_path = nowhere;
	backup_rig_start_job(w, 0);
	row = backup_rig_wait_first(w, backup_rig_claim(w, 1, true));
	assert_true(wait_for(w, has_failed, 0));
	confirm_as(w, 3, &row);
	assert_true(wait_for(w, has_not_failed, 0));
	backup_rig_close_job(w, 0);
	site->ssh_path = path;
	backup_rig_start_job(w, 0);
	backup_rig_start_job(w, 2);
}

/* A site that was away for more than a few cycles gets all of them. */
static void test_away_for_long(void **state)
{
	enum { CYCLES = 10 };
	struct backup_rig *w = *state;
	uint64_t id[CYCLES];

	backup_rig_close_job(w, 2);
	w->config[0].backup_copies = w->config[1].backup_copies = 1;
	backup_rig_close_job(w, 0);
	backup_rig_close_job(w, 1);
	backup_rig_start_job(w, 0);
	backup_rig_start_job(w, 1);
	for (unsigned i = 0; i < CYCLES; i++) {
		id[i] = backup_rig_claim(w, 1, false);
		for (unsigned waited = 0; backup_rig_row(w, id[i]).state != SNAPSHOT_CONFIRMED;
			waited += 20) {
			assert_true(waited < RIG_WAIT_MS);
			replica_rig_run(&w->rig, 20);
		}
	}
	backup_rig_start_job(w, 2);
	for (unsigned i = 0; i < CYCLES; i++) {
		struct snapshot_row row = backup_rig_wait_confirmed(w, id[i]);

		assert_int_equal(row.kind, SNAPSHOT_INCREMENT);
	}
}

static void settle_key(struct backup_rig *w, const struct key *was, const struct key *now)
{
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		struct config *c = &w->config[i];

		backup_rig_close_job(w, i);
		c->backup_formers.n = 1;
		c->backup_formers.rows[0].node = 1;
		memcpy(c->backup_formers.rows[0].key, key_pub_bytes(key_public(was)).data, 32);
		memcpy(c->sites[0].backup_key, key_pub_bytes(key_public(now)).data, 32);
		backup_rig_start_job(w, i);
	}
}

/* Node 1 signs with another key: anew what it took itself, and the others read what they hold. */
static void test_node_signs_with_another_key(void **state)
{
	struct backup_rig *w = *state;
	struct snapshot_row row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	_cleanup_(x_freep) char *path = backup_rig_manifest_path(w, 0, &row);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	struct backup_trust trust = {0};
	struct api_verify verified;
	struct key *was = w->signer[0];
	uint8_t hash[HASH_BYTES];

	w->signer[0] = NULL;
	assert_int_equal(key_generate(KEY_ED25519, 0, &w->signer[0], NULL), 0);
	assert_int_equal(unlink(w->config[0].backup_sign_key_file), 0);
	assert_int_equal(backup_key_save(w->signer[0], BACKUP_KEY_NODE,
				 w->config[0].backup_sign_key_file, NULL),
		0);
	settle_key(w, was, w->signer[0]);
	assert_int_equal(backup_trust_add(&trust, 1, backup_rig_names[0],
				 (struct key_pub *)(uintptr_t)key_public(w->signer[0]), NULL),
		0);
	assert_int_equal(file_read(path, BACKUP_MANIFEST_BYTES_MAX, &bytes, NULL), 0);
	assert_int_equal(backup_manifest_open(buf_bytes(&bytes), &trust, &m, hash, NULL), 0);
	assert_memory_equal(hash, row.manifest_hash, HASH_BYTES);
	row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	assert_int_equal(row.kind, SNAPSHOT_INCREMENT);
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		assert_int_equal(
			backup_job_verify(w->job[i], row.manifest_hash, 2, &verified, NULL), 0);
		assert_true(verified.ok);
	}
	backup_trust_release(&trust);
	key_free(was);
}

enum { NEWCOMER = 9 };

/* It never answers. */
static void propose_newcomer(struct backup_rig *w)
{
	struct command add = {.type = COMMAND_SERVER_ADD,
		.server_add = {.id = NEWCOMER,
			.weight = SERVER_WEIGHT_DEFAULT,
			.site = bytes_str("ham"),
			.address = bytes_str("127.0.0.1:1"),
			.incarnation = {9},
			.actor = bytes_str("op")}};
	struct command announce = {.type = COMMAND_NODE_ANNOUNCE,
		.node_announce = {
			.node = NEWCOMER, .feature_level = FEATURE_LEVEL, .backup_key = {9}}};

	backup_rig_propose(w, &add, NULL);
	backup_rig_propose(w, &announce, NULL);
}

static void propose_gone(struct backup_rig *w, uint64_t gone)
{
	struct command wish = {.type = COMMAND_SERVER_WISH,
		.server_wish = {.id = gone, .wish = SERVER_GONE, .actor = bytes_str("op")}};
	struct command forget = {.type = COMMAND_SERVER_FORGET, .server_forget = {.id = gone}};

	backup_rig_propose(w, &wish, NULL);
	backup_rig_propose(w, &forget, NULL);
}

static bool is_held_by_ber(struct backup_rig *w, uint64_t id)
{
	struct snapshot_row row = backup_rig_row(w, id);

	return ship_confirmed_by(&row, 2);
}

static bool is_held_by_ams(struct backup_rig *w, uint64_t id)
{
	struct snapshot_row row = backup_rig_row(w, id);

	return ship_confirmed_by(&row, 1);
}

static bool misses_alone(struct backup_rig *w, uint64_t node)
{
	const struct ship_members *members = &w->job[1]->receiver.members;
	unsigned away = 0;
	bool it = false;

	for (size_t i = 0; i < members->n; i++) {
		away += members->away[i];
		it = it || (members->away[i] && members->nodes[i] == node);
	}
	return it && away == 1;
}

/* Node 3 has taken it; the newcomer was the first to confirm it, and is away; then node 2 did;
 * node 1 was away. Then node 3 is gone for good. */
static void test_taker_is_gone(void **state)
{
	struct backup_rig *w = *state;
	_cleanup_(x_freep) char *drop = x_asprintf("%s/cph", w->config[0].backup_drop_dir);
	_cleanup_(x_freep) char *out = replica_rig_path(&w->rig, 0, "find");
	const char *const empty[] = {"find", drop, "-type", "f", "-delete", NULL};
	struct snapshot_row row;
	uint64_t id;

	propose_newcomer(w);
	backup_rig_close_job(w, 0);
	backup_rig_close_job(w, 1);
	id = backup_rig_claim(w, 3, false);
	assert_true(wait_for(w, is_recorded, id));
	row = backup_rig_row(w, id);
	confirm_as(w, NEWCOMER, &row);
	w->config[1].backup_haste = 200;
	backup_rig_start_job(w, 1);
	assert_true(wait_for(w, is_held_by_ber, id));
	row = backup_rig_row(w, id);
	assert_int_equal(row.confirmation[0].node, NEWCOMER);
	assert_true(wait_for(w, misses_alone, NEWCOMER));
	backup_rig_close_job(w, 2);
	assert_int_equal(test_run(out, empty), 0);
	replica_rig_stop(&w->rig, 2, 1000);
	propose_gone(w, 3);
	backup_rig_start_job(w, 0);
	assert_true(wait_for(w, is_held_by_ams, id));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_damaged_copy_is_replaced),
		cmocka_unit_test(test_damage_that_a_check_finds),
		cmocka_unit_test(test_damaged_copy_of_the_taker),
		cmocka_unit_test(test_lost_manifest),
		cmocka_unit_test(test_lost_repository),
		cmocka_unit_test(test_nothing_is_forgotten),
		cmocka_unit_test(test_lost_cycle_taken_twice),
		cmocka_unit_test(test_each_sender_by_itself),
		cmocka_unit_test(test_silent_site),
		cmocka_unit_test(test_owed_no_more),
		cmocka_unit_test(test_away_for_long),
		cmocka_unit_test(test_node_signs_with_another_key),
		cmocka_unit_test(test_taker_is_gone),
	};

	return cmocka_run_group_tests(tests, backup_rig_set_up, backup_rig_tear_down);
}
