/* What the driver promises beyond its guards: order of effects, log reads, splits, refusals, reads.
 */
#include "tests/lib/test.h"

#include <string.h>

#include "tests/unit/raft/lib/driver_rig.h"

static const struct rig_disk old_disk = {.voters = 5, .term = 5, .last = 10, .applied = 1};
static const struct rig_disk new_disk = {.voters = 5, .term = 1, .last = 1, .applied = 1};

static struct driver_rig *rig_clean(const struct rig_disk *disk)
{
	return rig_new(disk, DRIVER_GUARD_MAX, 0);
}

static void test_election_and_commit(void **state)
{
	struct driver_rig *rig = rig_clean(&new_disk);
	struct driver_status status;

	(void)state;
	rig_elect(rig);
	assert_int_equal(rig->vote, RIG_ME);
	assert_int_equal(driver_status(rig->driver).role, DRIVER_LEADER);
	assert_int_equal(rig_submit(rig, 10), KLUIS_EAGAIN); /* Nothing of the term committed. */
	rig_result(rig, 2, 0, 2);
	rig_result(rig, 3, 0, 2);
	assert_int_equal(driver_status(rig->driver).commit, 1); /* Our own disk does not have it. */
	rig_result(rig, 4, 0, 2);
	assert_int_equal(driver_status(rig->driver).commit, 2); /* Three others' disks have. */
	assert_int_equal(rig->applied, 1);			/* But nothing is applied. */
	rig_persist(rig);
	assert_int_equal(rig->applied, 2);
	assert_int_equal(rig_submit(rig, 10), 0);
	status = driver_status(rig->driver);
	assert_true(status.ready && status.last == 3 && status.commit == 2);
	assert_true(status.inflight_bytes > 0);
	rig_persist(rig);
	rig_result(rig, 2, 0, 3);
	assert_int_equal(driver_status(rig->driver).commit, 2);
	rig_result(rig, 3, 0, 3);
	assert_int_equal(driver_status(rig->driver).commit, 3);
	assert_int_equal(driver_status(rig->driver).inflight_bytes, 0);
	rig_free(rig);
}

/* Nothing may be said that the disk does not know yet. */
static void test_no_message_after_a_failed_vote(void **state)
{
	struct driver_rig *rig = rig_clean(&old_disk);

	(void)state;
	rig->fail_vote = KLUIS_EIO;
	rig_tick(rig, 2 * ELECTION_TIMEOUT_MS);
	assert_int_equal(rig->votes, 1);
	assert_int_equal(rig->fatal, 1);
	assert_int_equal(rig->sent_n, 0);
	rig_tick(rig, 2 * ELECTION_TIMEOUT_MS);
	assert_int_equal(rig->votes, 1); /* Dead: no event is taken any more. */
	assert_int_equal(rig_submit(rig, 10), KLUIS_ECLOSED);
	rig_free(rig);
}

static void test_io_errors_are_fatal(void **state)
{
	struct entry *entry = rig_command(11, 5);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct driver_rig *rig = rig_clean(&old_disk);

		rig->fail_append = i == 0 ? KLUIS_ENOSPACE : 0;
		rig_append(rig, 2, 5, 10, 1, 11, &entry, 1);
		if (i == 1) {
			driver_persisted(rig->driver, rig->write_seq, KLUIS_EIO);
		} else if (i == 2) {
			driver_applied(rig->driver, 1, KLUIS_EVERSION);
		}
		assert_int_equal(rig->fatal, 1);
		assert_int_equal(rig_count(rig, 2, MESSAGE_APPEND_RESULT), 0);
		rig_free(rig);
	}
	entry_unref(entry);
}

static void test_result_only_when_durable(void **state)
{
	struct driver_rig *rig = rig_clean(&old_disk);
	struct entry *entry = rig_command(11, 5);
	struct message answer;

	(void)state;
	rig_append(rig, 2, 5, 10, 1, 1, &entry, 1);
	assert_int_equal(rig_count(rig, 2, MESSAGE_APPEND_RESULT), 0);
	rig_append(rig, 2, 5, 10, 1, 1, &entry, 1); /* Again, before it is on disk. */
	assert_true(rig_last(rig, 2, MESSAGE_APPEND_RESULT, &answer));
	assert_int_equal(answer.append_result.last_index, 10);
	assert_int_equal(rig->appends, 1);
	rig_persist(rig);
	assert_true(rig_last(rig, 2, MESSAGE_APPEND_RESULT, &answer));
	assert_int_equal(answer.append_result.rejected, 0);
	assert_int_equal(answer.append_result.last_index, 11);
	entry_unref(entry);
	rig_free(rig);
}

static void give_read(struct driver_rig *rig, unsigned n)
{
	struct entry *entries[LOG_READ_ENTRIES_MAX];

	for (unsigned i = 0; i < n; i++) {
		entries[i] = entry_ref(rig->log[rig->read_first + i]);
	}
	driver_read_done(rig->driver, rig->read_token, 0, entries, n);
}

/* Entries that are not in memory come from the log; what is behind them waits its turn. */
static void test_cold_peer(void **state)
{
	struct driver_rig *rig = rig_clean(&old_disk);
	struct message message;
	uint64_t next = 4;

	(void)state;
	rig_elect(rig);
	rig_persist(rig);
	rig_forget(rig);
	rig_result(rig, 2, 10, 3); /* It has 3: from 4 on. */
	assert_int_equal(rig->reads, 1);
	assert_int_equal(rig->read_first, 4);
	assert_int_equal(rig->read_n, 8);
	rig_tick(rig, HEARTBEAT_MS + 10); /* A heartbeat, held behind. */
	assert_int_equal(rig_count(rig, 2, MESSAGE_APPEND), 0);
	give_read(rig, 3); /* Fewer than asked. */
	assert_int_equal(rig->reads, 2);
	assert_int_equal(rig->read_first, 7);
	give_read(rig, 4);
	for (unsigned i = 0; i < rig->sent_n; i++) {
		if (rig->sent[i].peer != 2) {
			continue;
		}
		assert_int_equal(message_decode(buf_bytes(&rig->sent[i].bytes), &message, NULL), 0);
		assert_int_equal(message.append.prev_index + 1, next);
		next += message.append.n;
		message_release(&message);
		if (next == 12) {
			break; /* The heartbeat comes behind. */
		}
	}
	assert_int_equal(next, 12);
	rig_free(rig);
}

static void test_cold_read_of_other_entries(void **state)
{
	struct driver_rig *rig = rig_clean(&old_disk);
	struct entry *wrong;

	(void)state;
	rig_elect(rig);
	rig_persist(rig);
	rig_result(rig, 2, 10, 3);
	rig_forget(rig);
	wrong = rig_command(4, 4); /* Ours is of term 1. */
	driver_read_done(rig->driver, rig->read_token, 0, &wrong, 1);
	assert_int_equal(rig_count(rig, 2, MESSAGE_APPEND), 0);
	assert_int_equal(rig->fatal, 0);
	driver_read_done(rig->driver, rig->read_token, KLUIS_ECORRUPT, NULL, 0);
	assert_int_equal(rig->fatal, 1);
	rig_free(rig);
}

/* libraft bounds an append by count: its bytes must be bounded here, and nothing may be left out.
 */
static void test_split_by_bytes(void **state)
{
	struct driver_rig *rig = rig_clean(&new_disk);
	uint64_t next = 3;
	unsigned messages = 0;

	(void)state;
	rig_lead(rig);
	rig_result(rig, 2, 2 + 1, 2); /* Node 2 probes: nothing is sent to it. */
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(rig_submit(rig, ENTRY_BYTES_MAX - 100), 0);
		}
		rig_persist(rig);
		for (uint64_t peer = 3; peer <= 4; peer++) {
			rig_result(rig, peer, 0, rig->log_last);
		}
		driver_applied(rig->driver, rig->applied, 0);
	}
	rig_forget(rig);
	rig_result(rig, 2, 0, 2);
	rig_tick(rig, HEARTBEAT_MS + 10);
	for (unsigned i = 0; i < rig->sent_n; i++) {
		const struct buf *bytes = &rig->sent[i].bytes;
		struct message message;

		if (rig->sent[i].peer != 2 || bytes->data[1] != MESSAGE_APPEND) {
			continue;
		}
		assert_true(bytes->len <= LINK_MESSAGE_BYTES_MAX);
		assert_int_equal(message_decode(buf_bytes(bytes), &message, NULL), 0);
		if (message.append.n > 0 && message.append.prev_index + 1 == next) {
			next += message.append.n;
			messages++;
		}
		message_release(&message);
	}
	assert_int_equal(next, 12);
	assert_true(messages >= 3);
	rig_free(rig);
}

static void confirm_round(struct driver_rig *rig, uint64_t peer, uint64_t round, bool confirmed)
{
	struct message message = {.type = MESSAGE_READ_ROUND_RESULT, .term = rig->term};

	message.read_round_result.round = round;
	message.read_round_result.confirmed = confirmed;
	assert_int_equal(rig_receive(rig, peer, &message), 0);
}

static void test_read_rounds(void **state)
{
	struct driver_rig *rig = rig_clean(&new_disk);
	struct message round, next;

	(void)state;
	rig_lead(rig);
	assert_int_equal(driver_read_index(rig->driver, 1), 0);
	assert_int_equal(driver_read_index(rig->driver, 2), 0); /* Comes too late for the round. */
	assert_true(rig_last(rig, 2, MESSAGE_READ_ROUND, &round));
	confirm_round(rig, 2, round.read_round.round, true);
	confirm_round(rig, 2, round.read_round.round, true); /* The same voter counts once. */
	confirm_round(rig, 6, round.read_round.round, true); /* A standby does not. */
	confirm_round(rig, 3, round.read_round.round, false);
	confirm_round(rig, 4, round.read_round.round + 1, true);
	assert_int_equal(rig->ready, 0);
	confirm_round(rig, 4, round.read_round.round, true);
	assert_int_equal(rig->ready, 1);
	assert_int_equal(rig->ready_token, 1);
	assert_int_equal(rig->ready_index, 2);
	assert_true(rig_last(rig, 2, MESSAGE_READ_ROUND, &next));
	assert_true(next.read_round.round != round.read_round.round);
	confirm_round(rig, 2, next.read_round.round, true);
	confirm_round(rig, 3, next.read_round.round, true);
	assert_int_equal(rig->ready_token, 2);
	/* Leadership lost: whoever waits hears it. */
	assert_int_equal(driver_read_index(rig->driver, 3), 0);
	rig_append(rig, 2, rig->term + 1, 2, 2, 2, NULL, 0);
	assert_int_equal(rig->ready, 3);
	assert_int_equal(rig->ready_rc, KLUIS_ENOTLEADER);
	rig_free(rig);
}

static void test_forwarded_read(void **state)
{
	struct driver_rig *rig = rig_clean(&old_disk);
	struct message ask, again, answer = {.type = MESSAGE_READ_INDEX_RESULT};

	(void)state;
	assert_int_equal(driver_read_index(rig->driver, 1), KLUIS_ENOQUORUM); /* No leader known. */
	rig_append(rig, 2, 5, 10, 1, 1, NULL, 0);
	assert_int_equal(driver_read_index(rig->driver, 1), 0);
	assert_true(rig_last(rig, 2, MESSAGE_READ_INDEX, &ask));
	rig_tick(rig, READ_ROUND_RESEND_MS); /* Lost: asked again, under the same number. */
	assert_int_equal(rig_count(rig, 2, MESSAGE_READ_INDEX), 2);
	assert_true(rig_last(rig, 2, MESSAGE_READ_INDEX, &again));
	assert_int_equal(ask.read_index.request, again.read_index.request);
	answer.read_index_result.request = ask.read_index.request;
	answer.read_index_result.index = 9;
	assert_int_equal(rig_receive(rig, 3, &answer), 0); /* Not the leader. */
	assert_int_equal(rig->ready, 0);
	assert_int_equal(rig_receive(rig, 2, &answer), 0);
	assert_int_equal(rig->ready, 1);
	assert_int_equal(rig->ready_index, 9);
	assert_int_equal(driver_read_index(rig->driver, 2), 0);
	rig_tick(rig, READ_INDEX_MS);
	assert_int_equal(rig->ready, 2);
	assert_true(rig->ready_rc == KLUIS_ETIMEOUT || rig->ready_rc == KLUIS_ENOTLEADER);
	rig_free(rig);
}

/* Another process of this node asked under numbers that this one does not use. */
static void test_request_numbers_are_drawn(void **state)
{
	struct driver_rig *rig = rig_clean(&old_disk);
	struct message ask;

	(void)state;
	rig_append(rig, 2, 5, 10, 1, 1, NULL, 0);
	assert_int_equal(driver_read_index(rig->driver, 1), 0);
	assert_true(rig_last(rig, 2, MESSAGE_READ_INDEX, &ask));
	assert_int_equal(ask.read_index.request >> 32, RIG_SEED);
	rig_free(rig);
}

static void test_transfer(void **state)
{
	struct driver_rig *rig = rig_clean(&new_disk);
	struct message message;

	(void)state;
	assert_int_equal(driver_transfer(rig->driver, 2), KLUIS_ENOTLEADER);
	rig_lead(rig);
	assert_int_equal(driver_transfer(rig->driver, 6), KLUIS_EINVAL); /* A standby. */
	assert_int_equal(driver_transfer(rig->driver, 9), KLUIS_EINVAL);
	assert_int_equal(driver_transfer(rig->driver, 3), 0);
	assert_true(rig_last(rig, 3, MESSAGE_TIMEOUT_NOW, &message));
	assert_int_equal(driver_transfer(rig->driver, 2), KLUIS_EBUSY);
	assert_int_equal(rig_submit(rig, 10), KLUIS_EAGAIN);
	rig_free(rig);
}

/* A node that waits to be let in has no term: asked all the same, it has nothing to say. */
static void test_a_node_without_a_term_answers_nobody(void **state)
{
	static const struct rig_disk empty = {.voters = 0};
	struct driver_rig *rig = rig_clean(&empty);
	struct message answer = {.type = MESSAGE_PROPOSE_RESULT,
		.propose_result = {.boot = 1, .first_seq = 1, .seq = 1, .rc = KLUIS_ENOTLEADER}};

	(void)state;
	assert_int_equal(driver_send(rig->driver, 2, &answer), KLUIS_EAGAIN);
	assert_int_equal(rig->sent_n, 0);
	rig_free(rig);
}

/* However short the log is: one without the configuration votes for nobody. */
static void test_promotion_of_one_that_has_nothing(void **state)
{
	struct driver_rig *rig = rig_clean(&new_disk);
	struct configuration next = rig->configuration;

	(void)state;
	rig_elect(rig);
	rig_persist(rig);
	for (uint64_t peer = 2; peer <= 5; peer++) {
		rig_result(rig, peer, 0, rig->log_last);
	}
	rig_result(rig, 6, rig->log_last, 0);
	next.member[5].role = MEMBER_VOTER;
	assert_int_equal(driver_change(rig->driver, &next, NULL), KLUIS_EAGAIN);
	rig_result(rig, 6, 0, rig->log_last);
	assert_int_equal(driver_change(rig->driver, &next, NULL), 0);
	rig_free(rig);
}

static void test_promotion_of_one_that_is_behind(void **state)
{
	struct driver_rig *rig = rig_clean(&new_disk);
	struct configuration next = rig->configuration, now;
	struct err e = {0};

	(void)state;
	rig_lead(rig);
	next.member[5].role = MEMBER_VOTER;
	for (unsigned i = 0; i <= CHANGE_LAG_ENTRIES_MAX; i++) {
		assert_int_equal(rig_submit(rig, 10), 0);
	}
	rig_persist(rig);
	for (uint64_t peer = 2; peer <= 5; peer++) {
		rig_result(rig, peer, 0, rig->log_last);
	}
	driver_applied(rig->driver, rig->applied, 0);
	rig_result(rig, 6, 0, rig->log_last - CHANGE_LAG_ENTRIES_MAX - 1); /* Online, but behind. */
	assert_int_equal(driver_change(rig->driver, &next, &e), KLUIS_EAGAIN);
	rig_result(rig, 6, 0, rig->log_last - CHANGE_LAG_ENTRIES_MAX);
	assert_int_equal(driver_change(rig->driver, &next, &e), 0);
	assert_int_equal(driver_status(rig->driver).configuration_open, rig->log_last);
	assert_int_equal(driver_change(rig->driver, &rig->configuration, &e), KLUIS_EAGAIN);
	rig_persist(rig);
	for (uint64_t peer = 2; peer <= 6; peer++) {
		rig_result(rig, peer, 0, rig->log_last);
	}
	assert_int_equal(driver_status(rig->driver).configuration_open, 0);
	driver_configuration(rig->driver, &now);
	assert_true(configuration_equal(&now, &next));
	next.member[0].role = MEMBER_STANDBY; /* The leader itself. */
	assert_int_equal(driver_change(rig->driver, &next, &e), KLUIS_EINVAL);
	rig_free(rig);
}

static int start_with(const struct driver_start *start)
{
	struct driver_options options = driver_options_default(RIG_ME, 1);
	static const struct driver_io none;
	struct driver *driver = driver_new(&options, &none, NULL);
	int rc = driver_start(driver, start, NULL);

	driver_free(driver);
	return rc;
}

static void test_start_refuses_what_no_disk_held(void **state)
{
	struct driver_log_entry entries[3] = {
		{1, ENTRY_BARRIER, NULL}, {2, ENTRY_BARRIER, NULL}, {2, ENTRY_BARRIER, NULL}};
	struct driver_snapshot snapshot = {.index = 5, .term = 1, .configuration_index = 1};
	struct driver_start start = {
		.term = 2, .first_index = 1, .n = 3, .entries = entries, .applied = 0};

	(void)state;
	assert_int_equal(configuration_add(&snapshot.configuration, 1, MEMBER_VOTER, "a", "b"), 0);
	assert_int_equal(start_with(&start), KLUIS_ECORRUPT); /* Begins without members. */
	start.snapshot = &snapshot;
	start.applied = 5;
	assert_int_equal(start_with(&start), KLUIS_ECORRUPT); /* Ends before the snapshot. */
	start.first_index = 7;
	assert_int_equal(start_with(&start), KLUIS_ECORRUPT); /* A gap behind the snapshot. */
	start.first_index = 5;
	start.applied = 8;
	assert_int_equal(start_with(&start), KLUIS_ECORRUPT); /* Applied what the log lacks. */
	start.applied = 4;
	assert_int_equal(start_with(&start), KLUIS_ECORRUPT); /* Less than the snapshot. */
	start.applied = 7;
	start.term = 1;
	assert_int_equal(start_with(&start), KLUIS_ECORRUPT); /* An entry of a later term. */
	start.term = 2;
	entries[2].term = 1;
	assert_int_equal(start_with(&start), KLUIS_ECORRUPT); /* Terms go back. */
}

static void test_foreign_bytes_are_counted(void **state)
{
	struct driver_rig *rig = rig_clean(&old_disk);
	struct message message = {.type = MESSAGE_READ_INDEX};

	(void)state;
	assert_int_equal(driver_receive(rig->driver, 2, rig->connection, bytes_str("nonsense")),
		KLUIS_EPROTO);
	assert_int_equal(driver_counters(rig->driver)->malformed, 1);
	assert_int_equal(rig_receive(rig, RIG_ME, &message), KLUIS_EPROTO); /* From itself. */
	assert_int_equal(rig_receive(rig, 0, &message), KLUIS_EPROTO);
	for (uint64_t peer = 100; peer < 200; peer++) { /* More strangers than the table holds. */
		assert_int_equal(rig_receive(rig, peer, &message), 0);
	}
	assert_int_equal(rig_count(rig, 199, MESSAGE_READ_INDEX_RESULT), 1);
	rig_free(rig);
}

/* The others commit what this leader's own state machine has not got to: it must not pile up. */
static void test_proposals_wait_for_the_state_machine(void **state)
{
	enum { PIECE = ENTRY_BYTES_MAX - 64 };
	struct driver_rig *rig = rig_clean(&new_disk);
	unsigned taken = 0;

	(void)state;
	rig_lead(rig);
	while (taken < 4 * APPLY_BYTES_MAX / PIECE && rig_submit(rig, PIECE) == 0) {
		taken++;
		rig_persist(rig);
		rig_result(rig, 2, 0, rig->log_last);
		rig_result(rig, 3, 0, rig->log_last);
	}
	assert_in_range(taken, APPLY_BYTES_MAX / PIECE, APPLY_BYTES_MAX / PIECE + 2);
	assert_int_equal(rig_submit(rig, PIECE), KLUIS_EBUSY);
	driver_applied(rig->driver, rig->applied, 0);
	assert_int_equal(rig_submit(rig, PIECE), 0);
	assert_int_equal(rig->fatal, 0);
	rig_free(rig);
}

/* One entry that all have at once. */
static void commit_one(struct driver_rig *rig)
{
	assert_int_equal(rig_submit(rig, 100), 0);
	rig_persist(rig);
	for (uint64_t peer = 2; peer <= 6; peer++) {
		rig_result(rig, peer, 0, rig->log_last);
	}
}

/* Messages for a commit alone: while more comes they go seldom, but they go. */
static void test_commits_are_told_by_what_follows(void **state)
{
	struct driver_rig *rig = rig_clean(&new_disk);
	const struct driver_counters *counters = driver_counters(rig->driver);
	uint64_t told;

	(void)state;
	rig_lead(rig);
	for (unsigned more = 0; more < 2; more++) {
		rig_tick(rig, 20);
		driver_expect_more(rig->driver, more != 0);
		commit_one(rig);
		told = counters->commits_told;
		rig_tick(rig, 3);
		commit_one(rig);
		rig_tick(rig, 3);
		assert_int_equal(counters->commits_told > told, more == 0);
		rig_tick(rig, 10);
		assert_true(counters->commits_told >= told + 5);
		assert_int_equal(rig->fatal, 0);
	}
	rig_free(rig);
}

/* libraft, built without its asserts, would write over the leader's own state. */
static void test_another_leader_of_our_term(void **state)
{
	struct driver_rig *rig = rig_clean(&new_disk);
	struct message_snapshot snapshot = {.index = 9, .index_term = 1, .configuration_index = 1};
	struct message append = {.type = MESSAGE_APPEND}, offer = {.type = MESSAGE_SNAPSHOT};
	uint64_t malformed;

	(void)state;
	rig_lead(rig);
	malformed = driver_counters(rig->driver)->malformed;
	append.term = offer.term = rig->term;
	append.append = (struct message_append){.prev_index = 1, .prev_term = 1};
	snapshot.configuration = rig->configuration;
	snapshot.manifest = bytes_str("m");
	offer.snapshot = &snapshot;
	assert_int_equal(rig_receive(rig, 2, &append), KLUIS_EPROTO);
	assert_int_equal(rig_receive(rig, 2, &offer), KLUIS_EPROTO);
	assert_int_equal(driver_counters(rig->driver)->malformed, malformed + 2);
	assert_int_equal(driver_status(rig->driver).role, DRIVER_LEADER);
	assert_int_equal(rig_submit(rig, 10), 0);
	rig_persist(rig);
	rig_result(rig, 2, 0, rig->log_last);
	rig_result(rig, 3, 0, rig->log_last);
	assert_int_equal(driver_status(rig->driver).commit, rig->log_last);
	assert_int_equal(rig->fatal, 0);
	rig_free(rig);
}

static void test_a_proposal_is_refused_at_once(void **state)
{
	struct driver_rig *rig = rig_clean(&old_disk);
	struct message_proposal proposal = {.boot = 1, .seq = 9, .command = bytes_str("x")};
	struct message message = {.type = MESSAGE_PROPOSE, .term = 5};
	struct message sent;

	(void)state;
	message.propose.n = 1;
	message.propose.proposals = &proposal;
	assert_int_equal(rig_receive(rig, 2, &message), 0);
	assert_int_equal(rig->sent_n, 1);
	assert_int_equal(rig->sent[0].peer, 2);
	assert_int_equal(message_decode(buf_bytes(&rig->sent[0].bytes), &sent, NULL), 0);
	assert_int_equal(sent.type, MESSAGE_PROPOSE_RESULT);
	assert_int_equal(sent.propose_result.seq, 9);
	assert_int_equal(sent.propose_result.rc, KLUIS_ENOTLEADER);
	message_release(&sent);
	rig_free(rig);
}

static void expect_contact(struct driver_rig *rig, uint64_t ms, uint64_t commit)
{
	struct driver_contact contact = driver_contact(rig->driver);

	assert_int_equal(contact.ms, ms);
	assert_int_equal(contact.commit, commit);
}

/* What counts is when we sent what the leader has answered, not that its name is still known, nor
 * when its message came. */
static void test_contact_of_a_follower(void **state)
{
	struct driver_rig *rig = rig_clean(&old_disk);
	uint64_t sent;

	(void)state;
	expect_contact(rig, 0, 0);
	rig_append(rig, 2, 5, 10, 1, 7, NULL, 0); /* It has heard nothing of us yet. */
	expect_contact(rig, 0, 0);
	sent = rig->now_ms;
	rig_tick(rig, 100);
	rig_append(rig, 2, 5, 10, 1, 7, NULL, 0);
	expect_contact(rig, sent, 7);
	rig_tick(rig, 100);
	assert_int_equal(driver_leader(rig->driver), 2);
	expect_contact(rig, sent, 7);
	rig_append(rig, 2, 5, 10, 1, 6, NULL, 0); /* Of our own log alone. */
	rig_append(rig, 3, 4, 10, 1, 9, NULL, 0); /* Of a leader that is none any more. */
	expect_contact(rig, sent, 7);
	rig_tick(rig, 100);
	rig_append(rig, 2, 5, 10, 1, 7, NULL, 0);
	expect_contact(rig, sent + 200, 7);
	rig_append(rig, 2, 5, 100, 5, 99, NULL, 0); /* Far ahead: we know that we lack them. */
	expect_contact(rig, sent + 300, 99);
	rig_free(rig);
}

/* As when our process was stopped: an old message is no news, and neither is one that echoes what
 * an earlier process of ours said, or nobody. */
static void test_contact_by_old_messages(void **state)
{
	struct driver_rig *rig = rig_clean(&old_disk);
	uint64_t sent, mark;

	(void)state;
	rig_append(rig, 2, 5, 10, 1, 7, NULL, 0);
	sent = rig->now_ms;
	mark = rig->mark[2];
	rig_tick(rig, 500);
	rig_append(rig, 2, 5, 10, 1, 8, NULL, 0);
	expect_contact(rig, sent, 8);
	rig_tick(rig, 500);
	rig->mark[2] = mark;
	rig_append(rig, 2, 5, 10, 1, 9, NULL, 0);
	expect_contact(rig, sent, 8);
	rig->mark[2] = mark + 2000; /* Of no moment that there was. */
	rig_append(rig, 2, 5, 10, 1, 9, NULL, 0);
	rig->mark[2] = mark ^ (1ULL << 40);
	rig_append(rig, 2, 5, 10, 1, 9, NULL, 0);
	rig->mark[2] = 0;
	rig_append(rig, 2, 5, 10, 1, 9, NULL, 0);
	expect_contact(rig, sent, 8);
	rig_free(rig);
}

/* A leader's own belief counts for nothing: more than half of the voters have to have answered what
 * it sent. */
static void test_contact_of_a_leader(void **state)
{
	struct driver_rig *rig = rig_clean(&old_disk);
	uint64_t first, second, mark;

	(void)state;
	rig_elect(rig);
	expect_contact(rig, 0, 0);
	rig_persist(rig);
	rig_tick(rig, 20);
	first = rig->mark_ms[2];
	mark = rig->mark[4];
	for (uint64_t peer = 2; peer <= 3; peer++) {
		rig_result(rig, peer, 0, rig->log_last);
	}
	expect_contact(rig, first, 11);
	rig_tick(rig, HEARTBEAT_MS); /* Which sends again. */
	second = rig->mark_ms[2];
	assert_true(second > first);
	rig_result(rig, 2, 0, rig->log_last);
	rig_result(rig, 6, 0, rig->log_last); /* Of five voters two: the standby is none. */
	expect_contact(rig, first, 11);
	rig->mark[4] = mark;
	rig_result(rig, 4, 0, rig->log_last); /* Under way since the first time. */
	expect_contact(rig, first, 11);
	rig_result(rig, 3, 0, rig->log_last);
	expect_contact(rig, second, 11);
	rig_free(rig);
}

static uint64_t echo_to(struct driver_rig *rig, uint64_t peer)
{
	struct message message;
	uint64_t echo;

	assert_true(rig_last(rig, peer, MESSAGE_APPEND, &message));
	echo = message.append.marks.echo;
	message_release(&message);
	return echo;
}

static void beat(struct driver_rig *rig, unsigned from, unsigned to)
{
	for (uint64_t peer = from; peer <= to; peer++) {
		rig_result(rig, peer, 0, rig->log_last);
	}
	rig_tick(rig, HEARTBEAT_MS);
}

/* A leader that has lost the others may not tell the one follower that is left that all is new: the
 * mark counts once a quorum has answered what was sent after it came. */
static void test_echo_waits_for_a_quorum(void **state)
{
	struct driver_rig *rig = rig_clean(&old_disk);
	uint64_t mark;

	(void)state;
	rig_elect(rig);
	rig_tick(rig, HEARTBEAT_MS);
	assert_int_equal(echo_to(rig, 2), 0);
	rig_persist(rig);
	beat(rig, 2, 5);
	beat(rig, 2, 5);
	mark = rig->now_ms + 1;
	beat(rig, 2, 5); /* Brings the mark. */
	assert_true(echo_to(rig, 2) < mark);
	beat(rig, 2, 2);
	beat(rig, 2, 2); /* Two of five. */
	assert_true(echo_to(rig, 2) < mark);
	beat(rig, 2, 3); /* Three. */
	assert_true(echo_to(rig, 2) >= mark);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_election_and_commit),
		cmocka_unit_test(test_no_message_after_a_failed_vote),
		cmocka_unit_test(test_io_errors_are_fatal),
		cmocka_unit_test(test_result_only_when_durable),
		cmocka_unit_test(test_cold_peer),
		cmocka_unit_test(test_cold_read_of_other_entries),
		cmocka_unit_test(test_split_by_bytes),
		cmocka_unit_test(test_read_rounds),
		cmocka_unit_test(test_forwarded_read),
		cmocka_unit_test(test_request_numbers_are_drawn),
		cmocka_unit_test(test_transfer),
		cmocka_unit_test(test_a_node_without_a_term_answers_nobody),
		cmocka_unit_test(test_promotion_of_one_that_has_nothing),
		cmocka_unit_test(test_promotion_of_one_that_is_behind),
		cmocka_unit_test(test_start_refuses_what_no_disk_held),
		cmocka_unit_test(test_foreign_bytes_are_counted),
		cmocka_unit_test(test_proposals_wait_for_the_state_machine),
		cmocka_unit_test(test_commits_are_told_by_what_follows),
		cmocka_unit_test(test_another_leader_of_our_term),
		cmocka_unit_test(test_a_proposal_is_refused_at_once),
		cmocka_unit_test(test_contact_of_a_follower),
		cmocka_unit_test(test_contact_by_old_messages),
		cmocka_unit_test(test_contact_of_a_leader),
		cmocka_unit_test(test_echo_waits_for_a_quorum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
