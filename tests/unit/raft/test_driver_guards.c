/* Each guard of the driver: what the core does without it, and that the guard keeps it from that. A
 * case drives the driver into the situation twice and says whether the harm was seen. */
#include "tests/lib/test.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/raft/lib/driver_rig.h"

static const struct rig_disk old_disk = {.voters = 5, .term = 5, .last = 10, .applied = 1};
static const struct rig_disk new_disk = {.voters = 5, .term = 1, .last = 1, .applied = 1};

/* A leader of term 3, long gone, offers a snapshot: the answer must not count as a match of term 5.
 */
static bool harm_stale_snapshot(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&old_disk, off, 0);
	struct message_snapshot offer = {.index = 99, .index_term = 3, .configuration_index = 1};
	struct message message = {.type = MESSAGE_SNAPSHOT, .term = 3}, answer;
	bool harm = false;

	offer.configuration = rig->configuration;
	message.snapshot = &offer;
	assert_int_equal(rig_receive(rig, 2, &message), 0);
	if (rig_last(rig, 2, MESSAGE_APPEND_RESULT, &answer)) {
		harm = answer.append_result.rejected == 0 && answer.term == 5;
	}
	rig_free(rig);
	return harm;
}

static bool harm_stale_append(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&old_disk, off, 0);
	struct message answer;
	bool harm;

	rig_append(rig, 2, 3, 0, 0, 0, NULL, 0);
	assert_true(rig_last(rig, 2, MESSAGE_APPEND_RESULT, &answer));
	harm = answer.append_result.rejected == 0 || answer.append_result.last_index != 0;
	rig_free(rig);
	return harm;
}

/* A late rejection at or below the match: the peer never gets an entry again. */
static bool harm_rejection(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&old_disk, off, 0);
	struct message message;
	bool harm = true;

	rig_lead(rig);
	rig_result(rig, 2, rig->log_last + 3, rig->log_last); /* Back to probing. */
	rig_result(rig, 2, rig->log_last, 0);		      /* Late. */
	assert_int_equal(rig_submit(rig, 100), 0);
	rig_forget(rig);
	for (unsigned i = 0; i < 20; i++) {
		for (uint64_t peer = 3; peer <= 5; peer++) {
			rig_result(rig, peer, 0, rig->log_last - 1);
		}
		rig_tick(rig, HEARTBEAT_MS);
	}
	for (unsigned i = 0; i < rig->sent_n; i++) {
		if (rig->sent[i].peer == 2 && rig->sent[i].bytes.data[1] == MESSAGE_APPEND) {
			assert_int_equal(
				message_decode(buf_bytes(&rig->sent[i].bytes), &message, NULL), 0);
			harm = harm && message.append.n == 0;
			message_release(&message);
		}
	}
	assert_true(rig_count(rig, 2, MESSAGE_APPEND) > 0);
	rig_free(rig);
	return harm;
}

/* What an older connection brings after a newer one has spoken is out of order. */
static bool harm_fifo(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&old_disk, off, 0);
	bool harm;

	rig_append(rig, 2, 5, 10, 1, 1, NULL, 0);
	rig_forget(rig);
	rig->connection--;
	rig_append(rig, 2, 5, 40, 4, 1, NULL, 0);
	harm = rig_count(rig, 2, MESSAGE_APPEND_RESULT) > 0;
	rig_free(rig);
	return harm;
}

/* Not a candidate: the core reads the candidate's half of a union and moves its term. */
static bool harm_vote_result(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&old_disk, off, 0);
	struct message message = {.type = MESSAGE_VOTE_RESULT, .term = 9};
	bool harm;

	assert_int_equal(rig_receive(rig, 2, &message), 0);
	harm = rig->votes > 0;
	rig_free(rig);
	return harm;
}

/* A configuration behind another new entry is recorded at the wrong index, and never closed. */
static bool harm_split(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&new_disk, off, 0);
	struct configuration next = rig->configuration;
	struct entry *entries[2];
	bool harm;

	next.member[4].role = MEMBER_STANDBY;
	entries[0] = rig_command(2, 5);
	entries[1] = rig_change(3, 5, &next);
	rig_append(rig, 2, 5, 1, 1, 1, entries, 2);
	harm = driver_status(rig->driver).configuration_open != 3;
	rig_persist(rig);
	rig_append(rig, 2, 5, 3, 5, 3, NULL, 0);
	harm = harm && driver_status(rig->driver).configuration_open != 0;
	entry_unref(entries[0]);
	entry_unref(entries[1]);
	rig_free(rig);
	return harm;
}

/* Two configurations in the log, the second is cut off: the first must hold, not the one before. */
static bool harm_chain(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&new_disk, off, 0);
	struct configuration first = rig->configuration, second, now;
	struct entry *entries[2], *other = rig_command(3, 6);
	bool harm;

	first.member[4].role = MEMBER_STANDBY;
	second = first;
	second.member[3].role = MEMBER_STANDBY;
	entries[0] = rig_change(2, 5, &first);
	entries[1] = rig_change(3, 5, &second);
	rig_append(rig, 2, 5, 1, 1, 1, entries, 2);
	rig_append(rig, 3, 6, 2, 5, 1, &other, 1);
	driver_configuration(rig->driver, &now);
	harm = !configuration_equal(&now, &first);
	entry_unref(entries[0]);
	entry_unref(entries[1]);
	entry_unref(other);
	rig_free(rig);
	return harm;
}

/* Elected with nothing uncommitted in sight, the core appends nothing: it would never know what is
 * committed. */
static bool harm_barrier(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&new_disk, off, 0);
	bool harm;

	rig_lead(rig);
	harm = !driver_status(rig->driver).ready || rig->log_last == 1;
	rig_free(rig);
	return harm;
}

static bool harm_change_term(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&new_disk, off, BIT(GUARD_CHANGE_ONLINE));
	struct configuration next = rig->configuration;
	bool harm;

	rig_elect(rig);
	next.member[4].role = MEMBER_STANDBY;
	harm = driver_change(rig->driver, &next, NULL) == 0;
	rig_free(rig);
	return harm;
}

static bool harm_change_one(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&new_disk, off, 0);
	struct configuration next = rig->configuration;
	bool harm;

	rig_lead(rig);
	next.member[4].role = next.member[3].role = MEMBER_STANDBY;
	harm = driver_change(rig->driver, &next, NULL) == 0;
	rig_free(rig);
	return harm;
}

/* Only nodes 2 and 3 answered lately: demoting one of them would leave no majority of the new. */
static bool harm_change_online(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&new_disk, off, 0);
	struct configuration next = rig->configuration;
	bool harm;

	rig_lead(rig);
	rig->now_ms += 10 * ELECTION_TIMEOUT_MS;
	rig_result(rig, 2, 0, rig->log_last);
	next.member[2].role = MEMBER_STANDBY;
	harm = driver_change(rig->driver, &next, NULL) == 0;
	rig_free(rig);
	return harm;
}

static bool harm_change_voters(enum driver_guard off)
{
	struct rig_disk disk = new_disk;
	struct driver_rig *rig;
	struct configuration next;
	bool harm;

	disk.voters = 3;
	rig = rig_new(&disk, off, 0);
	next = rig->configuration;
	rig_lead(rig);
	next.member[2].role = MEMBER_STANDBY;
	harm = driver_change(rig->driver, &next, NULL) == 0;
	rig_free(rig);
	return harm;
}

/* Its promotion is in the logs of the candidate and of one more, whose leader is gone: with its
 * vote there is a majority, without it never again. */
static bool harm_standby_votes(enum driver_guard off)
{
	struct rig_disk disk = old_disk;
	struct driver_rig *rig;
	struct message message = {.type = MESSAGE_VOTE, .term = 6}, answer;
	struct configuration next;
	struct entry *entry;
	bool harm;

	rig = rig_new(&disk, off, 0);
	next = rig->configuration;
	configuration_find(&next, RIG_ME)->role = MEMBER_STANDBY;
	entry = rig_change(11, 5, &next);
	rig_append(rig, 2, 5, 10, 1, 11, &entry, 1);
	rig_persist(rig);
	entry_unref(entry);
	rig_tick(rig, 3 * ELECTION_TIMEOUT_MS);
	message.vote.last_index = 12;
	message.vote.last_term = 5;
	assert_int_equal(rig_receive(rig, 3, &message), 0);
	assert_true(rig_last(rig, 3, MESSAGE_VOTE_RESULT, &answer));
	harm = !answer.vote_result.granted;
	driver_configuration(rig->driver, &next);
	assert_int_equal(configuration_find(&next, RIG_ME)->role, MEMBER_STANDBY);
	rig_free(rig);
	return harm;
}

/* Elected, nothing of the term committed: the commit index may be behind what clients were told. */
static bool harm_read_term(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&old_disk, off, 0);
	struct message message = {.type = MESSAGE_READ_ROUND_RESULT}, round;
	bool harm = false;

	rig_elect(rig);
	assert_int_equal(driver_read_index(rig->driver, 42), 0);
	if (rig_last(rig, 2, MESSAGE_READ_ROUND, &round)) {
		message.term = rig->term;
		message.read_round_result.round = round.read_round.round;
		message.read_round_result.confirmed = true;
		assert_int_equal(rig_receive(rig, 2, &message), 0);
		assert_int_equal(rig_receive(rig, 3, &message), 0);
		harm = rig->ready == 1 && rig->ready_rc == 0 && rig->ready_index < 10;
	}
	rig_free(rig);
	return harm;
}

/* A deadline in the past, again and again: the loop would do nothing else. */
static bool harm_timer(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&old_disk, off, 0);
	bool harm;

	rig->now_ms += 10 * ELECTION_TIMEOUT_MS;
	rig_append(rig, 2, 3, 0, 0, 0, NULL, 0); /* Stale: moves no timer. */
	harm = driver_deadline_ms(rig->driver) <= rig->now_ms;
	rig_free(rig);
	return harm;
}

/* Voters that report no capacity: the leader could not append its first entry and would be none. */
static bool harm_capacity(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&new_disk, off, 0);
	bool harm;

	rig_elect(rig);
	harm = rig->fatal > 0;
	rig_free(rig);
	return harm;
}

static void offer_snapshot(struct driver_rig *rig, uint64_t peer, uint64_t term, uint64_t index)
{
	struct message_snapshot offer = {.index = index, .index_term = 5, .configuration_index = 1};
	struct message message = {.type = MESSAGE_SNAPSHOT, .term = term};

	offer.configuration = rig->configuration;
	offer.manifest = bytes_str("files");
	message.snapshot = &offer;
	assert_int_equal(rig_receive(rig, peer, &message), 0);
}

/* While it only fetches, the node still takes entries and could still stand for election. */
static bool harm_prefetch(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&old_disk, off, 0);
	struct entry *entry = rig_command(11, 5);
	bool harm;

	rig_append(rig, 2, 5, 10, 1, 1, NULL, 0);
	offer_snapshot(rig, 2, 5, 100);
	assert_int_equal(rig->fetches, 1);
	rig_append(rig, 2, 5, 10, 1, 1, &entry, 1);
	harm = rig->log_last != 11 || driver_status(rig->driver).installing;
	if (!harm) {
		driver_fetched(rig->driver, 0);
		assert_int_equal(rig->installs, 1);
		assert_true(driver_status(rig->driver).installing);
		driver_installed(rig->driver, 0);
		assert_int_equal(driver_status(rig->driver).last, 100);
		assert_int_equal(driver_status(rig->driver).applied, 100);
	}
	entry_unref(entry);
	rig_free(rig);
	return harm;
}

static bool harm_reoffer(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&old_disk, off, 0);
	bool harm;

	offer_snapshot(rig, 2, 5, 100);
	offer_snapshot(rig, 2, 5, 100);
	offer_snapshot(rig, 2, 5, 120);
	harm = rig->fetches > 1;
	rig_free(rig);
	return harm;
}

/* The peer installed what it was offered first; the core waits for a newer one that nobody offers.
 */
static bool harm_installed(enum driver_guard off)
{
	static const struct rig_disk disk = {
		.voters = 5, .term = 5, .snapshot = 20, .last = 20, .applied = 20};
	struct driver_rig *rig = rig_new(&disk, off, 0);
	struct driver_snapshot snapshot;
	struct message message;
	bool harm = true;

	rig_elect(rig);
	rig_persist(rig);
	rig_result(rig, 3, 0, 21);
	rig_result(rig, 4, 0, 21);
	driver_applied(rig->driver, 21, 0);
	rig_result(rig, 2, 20, 5);
	assert_int_equal(rig->manifests, 1);
	assert_int_equal(driver_snapshot_at(rig->driver, 21, &snapshot), 0);
	driver_manifest(rig->driver, 2, 0, &snapshot, bytes_str("files"));
	assert_int_equal(rig_count(rig, 2, MESSAGE_SNAPSHOT), 1);
	for (unsigned i = 0; i < 5; i++) {
		rig_result(rig, 3, 0, rig->log_last);
		rig_result(rig, 4, 0, rig->log_last);
		assert_int_equal(rig_submit(rig, 10), 0);
		rig_persist(rig);
	}
	rig_result(rig, 3, 0, rig->log_last);
	rig_result(rig, 4, 0, rig->log_last);
	driver_applied(rig->driver, rig->applied, 0);
	assert_int_equal(driver_snapshot_taken(rig->driver, rig->applied), 0);
	assert_int_equal(driver_status(rig->driver).first, 21); /* Pinned. */
	rig_result(rig, 2, 20, 5); /* A heartbeat of before: the core names the newer one. */
	rig_forget(rig);
	rig_result(rig, 2, 0, 21);
	if (rig_last(rig, 2, MESSAGE_APPEND, &message)) {
		harm = message.append.n == 0;
		message_release(&message);
	}
	rig_free(rig);
	return harm;
}

/* The answer to the install was lost; the leader still knows an older match and has what follows
 * it. */
static bool harm_covered(enum driver_guard off)
{
	static const struct rig_disk disk = {
		.voters = 5, .term = 5, .snapshot = 20, .last = 20, .applied = 20};
	struct driver_rig *rig = rig_new(&disk, off, 0);
	struct entry *entries[7];
	struct message answer;
	bool harm;

	for (unsigned i = 0; i < 7; i++) {
		entries[i] = rig_command(16 + i, i < 5 ? 1 : 5);
	}
	rig_append(rig, 2, 5, 15, 1, 15, NULL, 0);
	assert_true(rig_last(rig, 2, MESSAGE_APPEND_RESULT, &answer));
	harm = answer.append_result.rejected != 0;
	if (!harm) {
		assert_int_equal(answer.append_result.last_index, 20);
		rig_append(rig, 2, 5, 15, 1, 22, entries, 7);
		assert_int_equal(rig->log_last, 22);
		rig_persist(rig);
		assert_true(rig_last(rig, 2, MESSAGE_APPEND_RESULT, &answer));
		assert_int_equal(answer.append_result.last_index, 22);
		assert_int_equal(rig->applied, 22);
	}
	for (unsigned i = 0; i < 7; i++) {
		entry_unref(entries[i]);
	}
	rig_free(rig);
	return harm;
}

static bool harm_proposal_bytes(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&new_disk, off, 0);
	int rc = 0;
	bool harm;

	rig_lead(rig);
	for (unsigned i = 0; i < 16 && rc == 0; i++) {
		rc = rig_submit(rig, ENTRY_BYTES_MAX);
	}
	assert_true(rc == 0 || rc == KLUIS_EBUSY);
	harm = driver_status(rig->driver).inflight_bytes > PROPOSALS_BYTES_MAX;
	rig_free(rig);
	return harm;
}

/* An open configuration recorded as the snapshot's could be rolled back and still be there. */
static bool harm_snapshot(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&old_disk, off, 0);
	struct configuration next = rig->configuration;
	bool harm;

	rig_lead(rig);
	next.member[4].role = MEMBER_STANDBY;
	assert_int_equal(driver_change(rig->driver, &next, NULL), 0);
	harm = driver_snapshot_taken(rig->driver, rig->applied) == 0 &&
	       configuration_equal(&rig->recorded.configuration, &next);
	rig_free(rig);
	return harm;
}

/* Entries 11 .. 13 are being written, a new leader replaces 12: the old write's end counts for 11.
 */
static bool harm_truncated(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&old_disk, off, 0);
	struct entry *entries[3], *other = rig_command(12, 6);
	bool harm;

	for (unsigned i = 0; i < 3; i++) {
		entries[i] = rig_command(11 + i, 5);
	}
	rig_append(rig, 2, 5, 10, 1, 1, entries, 3);
	rig_append(rig, 3, 6, 11, 5, 1, &other, 1);
	driver_persisted(rig->driver, 1, 0);
	harm = driver_status(rig->driver).stored > 11;
	if (!harm) {
		driver_persisted(rig->driver, 2, 0);
		assert_int_equal(driver_status(rig->driver).stored, 12);
	}
	for (unsigned i = 0; i < 3; i++) {
		entry_unref(entries[i]);
	}
	entry_unref(other);
	rig_free(rig);
	return harm;
}

/* Committed by the others, not yet on our disk. */
static bool harm_apply_stored(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&new_disk, off, 0);
	struct entry *entry = rig_command(2, 5);
	bool harm;

	rig_append(rig, 2, 5, 1, 1, 2, &entry, 1);
	harm = rig->applied == 2;
	rig_persist(rig);
	assert_int_equal(rig->applied, 2);
	entry_unref(entry);
	rig_free(rig);
	return harm;
}

/* Bytes that are no configuration: the process that believes them ends. */
static bool harm_validate(enum driver_guard off)
{
	pid_t child = fork();
	int status = 0;

	assert_true(child >= 0);
	if (child == 0) {
		struct driver_rig *rig = rig_new(&new_disk, off, 0);
		struct entry *entry = entry_copy(2, 5, ENTRY_CONFIGURATION, bytes_str("garbage"));
		struct message message = {.type = MESSAGE_APPEND, .term = 5};

		(void)close(STDERR_FILENO); /* The assert's text is expected. */
		message.append = (struct message_append){
			.prev_index = 1, .prev_term = 1, .commit = 1, .n = 1, .entries = &entry};
		_exit(rig_receive(rig, 2, &message) == KLUIS_EPROTO && rig->appends == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/* The first candidate after a leader's death asks when the other voters' own timers still run.
 * Until all of them stand as candidates, too, nobody would get a vote, and then only in a second
 * round. */
static bool harm_silent_leader(enum driver_guard off)
{
	struct driver_rig *rig = rig_new(&old_disk, off, 0);
	struct message vote = {.type = MESSAGE_VOTE, .term = 6}, answer;
	bool harm;

	vote.vote.last_index = 10;
	vote.vote.last_term = 5;
	rig_append(rig, 2, 5, 10, 1, 10, NULL, 0);
	rig_tick(rig, ELECTION_TIMEOUT_MS - 1);
	assert_int_equal(rig_receive(rig, 3, &vote), 0); /* It may live: thesis 4.2.3. */
	assert_true(rig_last(rig, 3, MESSAGE_VOTE_RESULT, &answer));
	assert_false(answer.vote_result.granted);
	assert_int_equal(driver_status(rig->driver).term, 5);
	rig_tick(rig, 1);
	assert_int_equal(driver_status(rig->driver).role, DRIVER_FOLLOWER); /* Its timer runs. */
	assert_int_equal(rig_receive(rig, 3, &vote), 0);
	assert_true(rig_last(rig, 3, MESSAGE_VOTE_RESULT, &answer));
	harm = !answer.vote_result.granted;
	rig_free(rig);
	return harm;
}

static const struct guard_case {
	enum driver_guard guard;
	bool (*harm)(enum driver_guard off);
} cases[] = {
	{GUARD_STALE_SNAPSHOT, harm_stale_snapshot},
	{GUARD_STALE_APPEND, harm_stale_append},
	{GUARD_REJECTION, harm_rejection},
	{GUARD_FIFO, harm_fifo},
	{GUARD_VOTE_RESULT, harm_vote_result},
	{GUARD_SPLIT, harm_split},
	{GUARD_CHAIN, harm_chain},
	{GUARD_BARRIER, harm_barrier},
	{GUARD_CHANGE_TERM, harm_change_term},
	{GUARD_CHANGE_ONE, harm_change_one},
	{GUARD_CHANGE_ONLINE, harm_change_online},
	{GUARD_CHANGE_VOTERS, harm_change_voters},
	{GUARD_STANDBY_VOTES, harm_standby_votes},
	{GUARD_SILENT_LEADER, harm_silent_leader},
	{GUARD_READ_TERM, harm_read_term},
	{GUARD_TIMER, harm_timer},
	{GUARD_CAPACITY, harm_capacity},
	{GUARD_PREFETCH, harm_prefetch},
	{GUARD_REOFFER, harm_reoffer},
	{GUARD_INSTALLED, harm_installed},
	{GUARD_COVERED, harm_covered},
	{GUARD_PROPOSAL_BYTES, harm_proposal_bytes},
	{GUARD_SNAPSHOT, harm_snapshot},
	{GUARD_TRUNCATED, harm_truncated},
	{GUARD_APPLY_STORED, harm_apply_stored},
	{GUARD_VALIDATE, harm_validate},
};

static void test_every_guard_is_needed(void **state)
{
	(void)state;
	assert_int_equal(ARRAY_SIZE(cases), DRIVER_GUARD_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *name = driver_guard_name(cases[i].guard);

		assert_int_equal(cases[i].guard, i);
		if (cases[i].harm(DRIVER_GUARD_MAX)) {
			fail_msg("guard '%s' does not keep the harm away", name);
		}
		if (!cases[i].harm(cases[i].guard)) {
			fail_msg("without guard '%s' the case sees no harm", name);
		}
	}
}

/* The newest term's only entry is cut while libraft's ring of terms ends at its array's first
 * place: later versions count from 0 down there and forget other terms, too. Nothing guards against
 * it. */
static void test_a_cut_at_the_end_of_the_ring_of_terms(void **state)
{
	struct driver_rig *rig = rig_new(&new_disk, DRIVER_GUARD_MAX, 0);
	struct message answer;

	(void)state;
	for (uint64_t term = 2; term <= 7; term++) {
		uint64_t index = term < 7 ? term : 6; /* Terms 6 and 7 both have an entry 6. */
		struct entry *entry = rig_command(index, term);

		rig_append(rig, 2 + term % 2, term, index - 1, index - 1, term == 5 ? 3 : 0, &entry,
			1);
		rig_persist(rig);
		entry_unref(entry);
		if (term == 5) { /* With two trailing entries: term 1 leaves the ring. */
			driver_applied(rig->driver, 3, 0);
			assert_int_equal(driver_snapshot_taken(rig->driver, 3), 0);
			assert_int_equal(driver_status(rig->driver).first, 2);
		}
	}
	rig_forget(rig);
	rig_append(rig, 3, 7, 6, 7, 3, NULL, 0);
	assert_true(rig_last(rig, 3, MESSAGE_APPEND_RESULT, &answer));
	assert_int_equal(answer.append_result.rejected, 0);
	assert_int_equal(answer.append_result.last_index, 6);
	rig_free(rig);
}

/* A log that was cut behind its own snapshot's tail: of the entry before its first one the term is
 * not known either. */
static void test_an_append_right_before_the_log_is_covered(void **state)
{
	static const struct rig_disk disk = {
		.voters = 5, .term = 5, .snapshot = 20, .last = 20, .applied = 20};
	struct driver_rig *rig = rig_new(&disk, DRIVER_GUARD_MAX, 0);
	struct message answer;

	(void)state;
	for (uint64_t index = 21; index <= 30; index++) {
		struct entry *entry = rig_command(index, 1);

		rig_append(rig, 2, 5, index - 1, 1, 20, &entry, 1);
		entry_unref(entry);
	}
	rig_persist(rig);
	rig_append(rig, 2, 5, 30, 1, 30, NULL, 0);
	assert_int_equal(rig->applied, 30);
	driver_applied(rig->driver, 30, 0);
	assert_int_equal(driver_snapshot_taken(rig->driver, 30), 0);
	assert_int_equal(driver_status(rig->driver).first, 29);
	for (uint64_t prev = 26; prev <= 30; prev++) {
		rig_forget(rig);
		rig_append(rig, 2, 5, prev, 1, 30, NULL, 0);
		assert_true(rig_last(rig, 2, MESSAGE_APPEND_RESULT, &answer));
		assert_int_equal(answer.append_result.rejected, 0);
		assert_int_equal(answer.append_result.last_index, prev < 29 ? 30 : prev);
	}
	rig_free(rig);
}

/* A vote of one that stands by is a vote: durable, one a term, not while the leader is heard, not
 * for a log that is behind. */
static void test_the_vote_of_a_standby(void **state)
{
	struct driver_rig *rig = rig_new(&old_disk, DRIVER_GUARD_MAX, 0);
	struct configuration next = rig->configuration;
	struct message vote = {.type = MESSAGE_VOTE, .term = 6}, answer;
	struct entry *entry;

	(void)state;
	configuration_find(&next, RIG_ME)->role = MEMBER_STANDBY;
	entry = rig_change(11, 5, &next);
	rig_append(rig, 2, 5, 10, 1, 11, &entry, 1);
	rig_persist(rig);
	entry_unref(entry);
	vote.vote.last_index = 12;
	vote.vote.last_term = 5;
	assert_int_equal(rig_receive(rig, 3, &vote), 0); /* Its leader spoke a moment ago. */
	assert_true(rig_last(rig, 3, MESSAGE_VOTE_RESULT, &answer));
	assert_false(answer.vote_result.granted);
	assert_int_equal(driver_status(rig->driver).term, 5);
	rig_tick(rig, 3 * ELECTION_TIMEOUT_MS);
	assert_int_equal(driver_status(rig->driver).role, DRIVER_FOLLOWER);
	vote.vote.last_index = 9;
	assert_int_equal(rig_receive(rig, 3, &vote), 0);
	assert_true(rig_last(rig, 3, MESSAGE_VOTE_RESULT, &answer));
	assert_false(answer.vote_result.granted);
	vote.vote.last_index = 12;
	assert_int_equal(rig_receive(rig, 4, &vote), 0);
	assert_true(rig_last(rig, 4, MESSAGE_VOTE_RESULT, &answer));
	assert_true(answer.vote_result.granted);
	assert_int_equal(rig->term, 6);
	assert_int_equal(rig->vote, 4);
	assert_int_equal(rig_receive(rig, 3, &vote), 0); /* One a term. */
	assert_true(rig_last(rig, 3, MESSAGE_VOTE_RESULT, &answer));
	assert_false(answer.vote_result.granted);
	rig_free(rig);
}

/* What was written for a leader that is none any more is reported to nobody. */
static void test_an_append_of_a_forgotten_leader(void **state)
{
	struct driver_rig *rig = rig_new(&old_disk, DRIVER_GUARD_MAX, 0);
	struct message vote = {.type = MESSAGE_VOTE, .term = 6}, answer;
	struct entry *entry = rig_command(11, 5);

	(void)state;
	rig_append(rig, 2, 5, 10, 1, 10, &entry, 1);
	entry_unref(entry);
	rig_tick(rig, ELECTION_TIMEOUT_MS);
	vote.vote.last_index = 3;
	vote.vote.last_term = 1;
	assert_int_equal(rig_receive(rig, 3, &vote), 0);
	assert_true(rig_last(rig, 3, MESSAGE_VOTE_RESULT, &answer));
	assert_false(answer.vote_result.granted);
	rig_forget(rig);
	rig_persist(rig);
	assert_int_equal(rig_count(rig, 0, MESSAGE_APPEND_RESULT), 0);
	assert_int_equal(driver_status(rig->driver).stored, 11);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_guard_is_needed),
		cmocka_unit_test(test_the_vote_of_a_standby),
		cmocka_unit_test(test_an_append_of_a_forgotten_leader),
		cmocka_unit_test(test_a_cut_at_the_end_of_the_ring_of_terms),
		cmocka_unit_test(test_an_append_right_before_the_log_is_covered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
