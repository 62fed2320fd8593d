#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/wire.h"
#include "raft/message.h"

enum { SAMPLES = 17 };

static struct configuration sample_configuration(void)
{
	struct configuration configuration = {.n = 0};

	assert_int_equal(configuration_add(&configuration, 3, MEMBER_STANDBY, "fra", "h3:7"), 0);
	assert_int_equal(configuration_add(&configuration, 1, MEMBER_VOTER, "ams", "h1:7"), 0);
	assert_int_equal(configuration_add(&configuration, 2, MEMBER_VOTER, "ber", "h2:7"), 0);
	return configuration;
}

static void sample_bytes(const struct message *message, struct buf *to)
{
	buf_clear(to);
	message_encode(message, to);
	for (unsigned i = 0; message->type == MESSAGE_APPEND && i < message->append.n; i++) {
		buf_append_bytes(to, entry_bytes(message->append.entries[i]));
	}
}

/* One of each type, with the limits of their fields among them. */
static void sample(unsigned n, struct buf *to)
{
	static struct message_proposal proposals[2] = {
		{7, 1, {(const uint8_t *)"ab", 2}}, {7, 2, {NULL, 0}}};
	struct entry *entries[3] = {entry_copy(5, 2, ENTRY_COMMAND, bytes_str("hello")),
		entry_new(6, 3, ENTRY_BARRIER, 0), entry_copy(7, 3, ENTRY_COMMAND, bytes_str("x"))};
	struct message_snapshot snapshot = {.index = 9, .index_term = 3, .configuration_index = 4};
	struct message message = {.type = MESSAGE_APPEND, .term = 3};

	snapshot.configuration = sample_configuration();
	snapshot.manifest = bytes_str("manifest");
	switch (n) {
	case 0:
		message.append = (struct message_append){4, 2, 3, 3, entries, {UINT64_MAX, 5}};
		break;
	case 1:
		message.append = (struct message_append){0};
		break;
	case 2:
		message.type = MESSAGE_APPEND_RESULT;
		message.append_result.rejected = 8;
		message.append_result.last_index = 7;
		message.append_result.marks = (struct message_marks){1, UINT64_MAX};
		break;
	case 3:
		message.type = MESSAGE_VOTE;
		message.vote.last_index = 12;
		message.vote.last_term = 2;
		message.vote.disrupt = true;
		break;
	case 4:
		message.type = MESSAGE_VOTE_RESULT;
		message.vote_result.granted = true;
		break;
	case 5:
		message.type = MESSAGE_SNAPSHOT;
		message.snapshot = &snapshot;
		break;
	case 6:
		message.type = MESSAGE_TIMEOUT_NOW;
		message.timeout_now.last_index = 12;
		message.timeout_now.last_term = 3;
		break;
	case 7:
		message.type = MESSAGE_READ_ROUND;
		message.read_round.round = UINT64_MAX;
		break;
	case 8:
		message.type = MESSAGE_READ_ROUND_RESULT;
		message.read_round_result.round = 1;
		message.read_round_result.confirmed = true;
		break;
	case 9:
		message = (struct message){.type = MESSAGE_READ_INDEX};
		message.read_index.request = 77;
		break;
	case 10:
		message = (struct message){.type = MESSAGE_READ_INDEX_RESULT};
		message.read_index_result.rc = KLUIS_ENOTLEADER;
		break;
	case 11:
		message = (struct message){.type = MESSAGE_PROPOSE, .term = 3};
		message.propose.n = 2;
		message.propose.proposals = proposals;
		break;
	case 12:
		message = (struct message){.type = MESSAGE_PROPOSE_RESULT, .term = 3};
		message.propose_result.first_seq = 3;
		message.propose_result.seq = 9;
		message.propose_result.rc = KLUIS_EBUSY;
		break;
	case 13:
		message.append = (struct message_append){4, 2, 3, 1, entries, {6, 0}};
		break;
	case 14:
		message.type = MESSAGE_SNAPSHOT_WANT;
		message.snapshot_want.min_index = 12;
		break;
	case 15:
		message.type = MESSAGE_SNAPSHOT_GIVE;
		message.snapshot = &snapshot;
		break;
	default:
		message.type = MESSAGE_VOTE;
		message.vote.last_index = message.vote.last_term = 0;
		break;
	}
	sample_bytes(&message, to);
	for (unsigned i = 0; i < 3; i++) {
		entry_unref(entries[i]);
	}
}

static void decode_and_again(struct bytes bytes)
{
	_cleanup_(buf_release) struct buf again = BUF_INIT;
	struct message message;

	assert_int_equal(message_decode(bytes, &message, NULL), 0);
	sample_bytes(&message, &again);
	assert_true(bytes_equal(buf_bytes(&again), bytes));
	message_release(&message);
}

static void test_round_trip(void **state)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;

	(void)state;
	for (unsigned n = 0; n < SAMPLES; n++) {
		sample(n, &b);
		decode_and_again(buf_bytes(&b));
	}
}

static void test_every_truncation_and_any_tail_fails(void **state)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct message message;

	(void)state;
	for (unsigned n = 0; n < SAMPLES; n++) {
		sample(n, &b);
		for (size_t len = 0; len < b.len; len++) {
			uint8_t *exact = x_memdup(b.data, len + 1); /* For the sanitizer. */

			assert_int_equal(
				message_decode(bytes_of(exact, len), &message, NULL), KLUIS_EPROTO);
			free(exact);
		}
		buf_put_u8(&b, 0);
		assert_int_equal(message_decode(buf_bytes(&b), &message, NULL), KLUIS_EPROTO);
	}
}

/* Whatever a flipped bit makes of it: refused, or a message that stands for these very bytes. */
static void test_every_flip(void **state)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct message message;

	(void)state;
	for (unsigned n = 0; n < SAMPLES; n++) {
		sample(n, &b);
		for (size_t bit = 0; bit < 8 * b.len; bit++) {
			b.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
			if (message_decode(buf_bytes(&b), &message, NULL) == 0) {
				message_release(&message);
				decode_and_again(buf_bytes(&b));
			}
			b.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
		}
	}
}

static int decode_patched(unsigned n, size_t at, const void *patch, size_t len)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct message message;
	int rc;

	sample(n, &b);
	assert_true(at + len <= b.len);
	memcpy(b.data + at, patch, len);
	rc = message_decode(buf_bytes(&b), &message, NULL);
	if (rc == 0) {
		message_release(&message);
	}
	return rc;
}

static int decode_u64(unsigned n, size_t at, uint64_t value)
{
	uint8_t bytes[8];

	store_u64(bytes, value);
	return decode_patched(n, at, bytes, sizeof bytes);
}

static void test_refused(void **state)
{
	enum { TERM = 2, PREV = 10, PREV_TERM = 18, COUNT = 50, ENTRY = 52 };

	(void)state;
	assert_int_equal(decode_patched(0, 0, "\1", 1), KLUIS_EVERSION);
	assert_int_equal(decode_patched(0, 1, "\0", 1), KLUIS_EPROTO);
	assert_int_equal(decode_patched(0, 1, "\15", 1), KLUIS_EPROTO);
	assert_int_equal(decode_u64(0, TERM, 0), KLUIS_EPROTO);		 /* No term. */
	assert_int_equal(decode_u64(0, TERM, 2), KLUIS_EPROTO);		 /* An entry is newer. */
	assert_int_equal(decode_u64(0, TERM, UINT64_MAX), KLUIS_EPROTO); /* Would wrap. */
	assert_int_equal(decode_u64(0, PREV, 0), KLUIS_EPROTO); /* A term without an index. */
	assert_int_equal(decode_u64(0, PREV_TERM, 0), KLUIS_EPROTO);
	assert_int_equal(decode_u64(0, PREV_TERM, 3), KLUIS_EPROTO); /* Terms go back. */
	assert_int_equal(decode_patched(0, COUNT, "\4\1", 2), KLUIS_EPROTO);
	assert_int_equal(decode_patched(0, COUNT, "\377\377", 2), KLUIS_EPROTO);
	assert_int_equal(decode_u64(0, ENTRY, 0), KLUIS_EPROTO);
	assert_int_equal(decode_patched(0, ENTRY + 8, "\4", 1), KLUIS_EPROTO); /* Type. */
	assert_int_equal(decode_patched(0, ENTRY + 9, "\0\20\0\1", 4), KLUIS_EPROTO);
	assert_int_equal(decode_patched(4, 10, "\2", 1), KLUIS_EPROTO); /* No boolean. */
	assert_int_equal(decode_u64(9, TERM, 3), KLUIS_EPROTO); /* A term where there is none. */
	assert_int_equal(decode_patched(10, 18, "\372", 1), KLUIS_EPROTO); /* No error code. */
	assert_int_equal(decode_u64(5, 10, 0), KLUIS_EPROTO);	/* Snapshot of nothing. */
	assert_int_equal(decode_u64(5, 26, 10), KLUIS_EPROTO);	/* Configuration behind it. */
	assert_int_equal(decode_u64(12, 18, 10), KLUIS_EPROTO); /* First behind last. */
}

static void test_configuration(void **state)
{
	struct configuration c = sample_configuration(), again;
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	char site[80], address[300];

	(void)state;
	assert_int_equal(c.member[0].id, 1);
	assert_int_equal(configuration_voters(&c), 2);
	assert_false(configuration_votes(&c, 3));
	assert_int_equal(configuration_add(&c, 3, MEMBER_VOTER, "new", "h4:7"), KLUIS_EEXIST);
	assert_int_equal(configuration_clash(&c, "new", "h4:7"), 0);
	assert_int_equal(configuration_clash(&c, "fra", "h4:7"),
		configuration_clash(&c, "new", configuration_member(&c, 3)->address));
	assert_int_equal(configuration_clash(&c, "new", "h1:7"), 1);
	assert_int_equal(configuration_add(&c, 0, MEMBER_VOTER, "new", "h4:7"), KLUIS_EINVAL);
	assert_int_equal(configuration_add(&c, 4, MEMBER_VOTER, "", "h4:7"), KLUIS_EINVAL);
	assert_int_equal(configuration_add(&c, 4, MEMBER_VOTER, "Ams", "h4:7"), KLUIS_EINVAL);
	assert_int_equal(configuration_add(&c, 4, MEMBER_VOTER, "new", "h 4"), KLUIS_EINVAL);
	assert_int_equal(configuration_add(&c, 4, (enum member_role)2, "new", "h4"), KLUIS_EINVAL);
	memset(site, 'a', sizeof site);
	site[64] = 0;
	assert_int_equal(configuration_add(&c, 4, MEMBER_VOTER, site, "h4"), KLUIS_EINVAL);
	memset(address, 'a', sizeof address);
	address[256] = 0;
	assert_int_equal(configuration_add(&c, 4, MEMBER_VOTER, "new", address), KLUIS_EINVAL);
	configuration_encode(&c, &b);
	assert_int_equal(configuration_decode(buf_bytes(&b), &again, NULL), 0);
	assert_true(configuration_equal(&c, &again));
	for (size_t len = 0; len < b.len; len++) {
		assert_int_equal(
			configuration_decode(bytes_of(b.data, len), &again, NULL), KLUIS_ECORRUPT);
	}
	buf_put_u8(&b, 0);
	assert_int_equal(configuration_decode(buf_bytes(&b), &again, NULL), KLUIS_ECORRUPT);
	assert_true(configuration_remove(&c, 2));
	assert_false(configuration_remove(&c, 2));
	assert_int_equal(c.n, 2);
	assert_int_equal(c.member[1].id, 3);
}

static void test_configuration_is_full_at_the_limit(void **state)
{
	struct configuration c = {.n = 0}, again;
	_cleanup_(buf_release) struct buf b = BUF_INIT;

	(void)state;
	for (unsigned i = 1; i <= SITES_MAX + 1; i++) {
		char site[16], address[16];

		(void)snprintf(site, sizeof site, "s%u", i);
		(void)snprintf(address, sizeof address, "h%u:7", i);
		assert_int_equal(configuration_add(&c, i, MEMBER_VOTER, site, address),
			i <= SITES_MAX ? 0 : KLUIS_ETOOLARGE);
	}
	configuration_encode(&c, &b);
	assert_int_equal(configuration_decode(buf_bytes(&b), &again, NULL), 0);
	store_u64(b.data + 3, 9); /* The first id is not below the second any more. */
	assert_int_equal(configuration_decode(buf_bytes(&b), &again, NULL), KLUIS_ECORRUPT);
	b.data[0] = 2;
	assert_int_equal(configuration_decode(buf_bytes(&b), &again, NULL), KLUIS_EVERSION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_every_truncation_and_any_tail_fails),
		cmocka_unit_test(test_every_flip),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_configuration),
		cmocka_unit_test(test_configuration_is_full_at_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
