/* Chat messages, and the chain that opens each of them once: in order, late, lost, replayed. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/ratchet.h"

enum { RUN_MESSAGES = 40 };

static struct key *device, *other;
static const uint8_t epoch_secret[CHAT_KEY_BYTES] = {0xe5, 1, 2, 3};
static const uint8_t no_message[HASH_BYTES];
static const struct chat_place place = {
	.conv_id = {0xc0, 1}, .epoch = 3, .user_id = {0xa0, 1}, .device_id = {0xd0, 1}};

static int make_keys(void **state)
{
	(void)state;
	return key_generate(KEY_ECDSA_P256, 0, &device, NULL) ||
	       key_generate(KEY_ECDSA_P256, 0, &other, NULL);
}

static int free_keys(void **state)
{
	(void)state;
	key_free(device);
	key_free(other);
	return 0;
}

static struct bytes secret_of_epoch(void)
{
	return bytes_of(epoch_secret, sizeof epoch_secret);
}

static void begin(struct ratchet *sender, struct ratchet *receiver)
{
	ratchet_init(sender, true, &place, secret_of_epoch(), no_message);
	ratchet_init(receiver, false, &place, secret_of_epoch(), no_message);
}

static void send_text(struct ratchet *sender, const char *text, struct buf *ret_message)
{
	const struct chat_spec spec = {
		.sym = SYM_AES_256, .type = CHAT_TEXT, .payload = bytes_str(text)};

	assert_int_equal(ratchet_seal(sender, &spec, device, ret_message, NULL), 0);
}

/* Opens; the text must be this one. */
static int receive(struct ratchet *receiver, struct bytes encoded, const char *text)
{
	struct ratchet_opened opened;
	struct chat_message m;
	int rc = chat_parse(encoded, &m, NULL);

	if (rc == 0) {
		rc = ratchet_open(receiver, &m, key_public(device), &opened, NULL);
	}
	if (rc == 0) {
		assert_int_equal(opened.type, CHAT_TEXT);
		assert_true(bytes_equal(secret_bytes(&opened.payload), bytes_str(text)));
		assert_false(opened.forked);
		secret_release(&opened.payload);
	}
	return rc;
}

static bool same_state(const struct ratchet *r, struct bytes encoded)
{
	_cleanup_(secret_release) struct secret now = SECRET_INIT;

	ratchet_encode(r, &now);
	return secret_equal(secret_bytes(&now), encoded);
}

/* As when a client stores the state and a later process reads it. */
static void store_and_load(struct ratchet *r)
{
	_cleanup_(secret_release) struct secret stored = SECRET_INIT;

	ratchet_encode(r, &stored);
	ratchet_release(r);
	assert_int_equal(ratchet_decode(secret_bytes(&stored), r, NULL), 0);
	assert_true(same_state(r, secret_bytes(&stored)));
}

static void send_run(struct ratchet *sender, struct buf *messages, char texts[][24], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(texts[i], 24, "%zu", i);
		send_text(sender, texts[i], &messages[i]);
	}
}

static void free_run(struct buf *messages, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		buf_release(&messages[i]);
	}
}

static void shuffle(size_t *order, size_t count, struct random *random)
{
	for (size_t i = 0; i < count; i++) {
		order[i] = i;
	}
	for (size_t i = count; i > 1; i--) {
		size_t j = (size_t)random_below(random, i), kept = order[i - 1];

		order[i - 1] = order[j];
		order[j] = kept;
	}
}

/* Any order, some never arriving, some twice: what arrives opens once, and the state between is
 * what was stored. */
static void expect_any_order(uint64_t seed)
{
	_cleanup_(ratchet_release) struct ratchet sender, receiver;
	struct buf messages[RUN_MESSAGES] = {BUF_INIT};
	char texts[RUN_MESSAGES][24];
	size_t order[RUN_MESSAGES], opened = 0, highest = 0;
	struct random_seeded random;

	random_seeded_init(&random, seed);
	begin(&sender, &receiver);
	send_run(&sender, messages, texts, RUN_MESSAGES);
	shuffle(order, RUN_MESSAGES, &random.random);
	for (size_t i = 0; i < RUN_MESSAGES; i++) {
		struct bytes encoded = buf_bytes(&messages[order[i]]);

		if (random_below(&random.random, 5) == 0) {
			continue; /* Lost. */
		}
		assert_int_equal(receive(&receiver, encoded, texts[order[i]]), 0);
		assert_int_equal(receive(&receiver, encoded, texts[order[i]]), KLUIS_EVERIFY);
		highest = order[i] + 1 > highest ? order[i] + 1 : highest;
		opened++;
		assert_int_equal(receiver.next, highest);
		assert_int_equal(ratchet_skipped(&receiver), highest - opened);
		if (i % 8 == 0) {
			store_and_load(&receiver);
		}
	}
	free_run(messages, RUN_MESSAGES);
}

static void test_any_order(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		expect_any_order(seed);
	}
}

static void test_sender_goes_on_after_a_restart(void **state)
{
	_cleanup_(ratchet_release) struct ratchet sender, receiver;
	struct buf messages[3] = {BUF_INIT};
	struct chat_message m[3];

	(void)state;
	begin(&sender, &receiver);
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		send_text(&sender, "again", &messages[i]);
		store_and_load(&sender);
		assert_int_equal(chat_parse(buf_bytes(&messages[i]), &m[i], NULL), 0);
		assert_int_equal(m[i].index, i);
		assert_memory_equal(m[i].prev_own, i == 0 ? no_message : m[i - 1].link, HASH_BYTES);
		assert_int_equal(receive(&receiver, buf_bytes(&messages[i]), "again"), 0);
	}
	free_run(messages, ARRAY_SIZE(messages));
}

/* The whole state in an attacker's hands after message i: nothing up to i opens, neither with the
 * state nor with any 32 bytes found in it. */
static void expect_closed(const struct secret *state, const struct buf *messages, size_t opened)
{
	for (size_t i = 0; i < opened; i++) {
		struct chat_message m;
		_cleanup_(ratchet_release) struct ratchet stolen = {.sends = false};

		assert_int_equal(chat_parse(buf_bytes(&messages[i]), &m, NULL), 0);
		assert_int_equal(ratchet_decode(secret_bytes(state), &stolen, NULL), 0);
		assert_int_equal(
			receive(&stolen, buf_bytes(&messages[i]), "opened"), KLUIS_EVERIFY);
		for (size_t at = 0; at + CHAT_KEY_BYTES <= state->len; at++) {
			_cleanup_(secret_release) struct secret plain = SECRET_INIT;
			unsigned type;

			assert_int_equal(chat_open(state->data + at, &m, &type, &plain, NULL),
				KLUIS_EVERIFY);
		}
	}
}

static void test_forward_secrecy(void **state)
{
	_cleanup_(ratchet_release) struct ratchet sender, receiver;
	struct buf messages[6] = {BUF_INIT};
	char texts[6][24];

	(void)state;
	begin(&sender, &receiver);
	send_run(&sender, messages, texts, ARRAY_SIZE(messages));
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		_cleanup_(secret_release) struct secret stolen = SECRET_INIT;

		assert_int_equal(receive(&receiver, buf_bytes(&messages[i]), texts[i]), 0);
		ratchet_encode(&receiver, &stolen);
		expect_closed(&stolen, messages, i + 1);
	}
	{
		_cleanup_(secret_release) struct secret stolen = SECRET_INIT;

		ratchet_encode(&sender, &stolen);
		stolen.data[5] &= 0xfe; /* Used as a receiver's. */
		expect_closed(&stolen, messages, ARRAY_SIZE(messages));
	}
	free_run(messages, ARRAY_SIZE(messages));
}

/* A late one that was opened leaves no key behind among the skipped. */
static void test_forward_secrecy_of_late_ones(void **state)
{
	_cleanup_(ratchet_release) struct ratchet sender, receiver;
	_cleanup_(secret_release) struct secret stolen = SECRET_INIT;
	struct buf messages[4] = {BUF_INIT};
	char texts[4][24];

	(void)state;
	begin(&sender, &receiver);
	send_run(&sender, messages, texts, ARRAY_SIZE(messages));
	assert_int_equal(receive(&receiver, buf_bytes(&messages[3]), texts[3]), 0);
	assert_int_equal(receive(&receiver, buf_bytes(&messages[0]), texts[0]), 0);
	ratchet_encode(&receiver, &stolen);
	expect_closed(&stolen, messages, 1);
	assert_int_equal(receive(&receiver, buf_bytes(&messages[2]), texts[2]), 0);
	ratchet_encode(&receiver, &stolen);
	expect_closed(&stolen, messages, 1);
	expect_closed(&stolen, messages + 2, 2);
	/* The one that is still missing is the one that opens. */
	assert_int_equal(receive(&receiver, buf_bytes(&messages[1]), texts[1]), 0);
	free_run(messages, ARRAY_SIZE(messages));
}

/* Moves a sender on without making the messages. */
static void pass_over(struct ratchet *sender, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint8_t key[CHAT_KEY_BYTES];

		chat_step(&sender->chain, key);
		sender->next++;
	}
}

static void test_skipped_limit(void **state)
{
	_cleanup_(ratchet_release) struct ratchet sender, receiver;
	_cleanup_(secret_release) struct secret before = SECRET_INIT;
	struct buf first = BUF_INIT, far = BUF_INIT, beyond = BUF_INIT, next = BUF_INIT;

	(void)state;
	begin(&sender, &receiver);
	send_text(&sender, "first", &first);
	pass_over(&sender, RATCHET_SKIPPED_MAX - 1);
	send_text(&sender, "far", &far);
	send_text(&sender, "next", &next);
	pass_over(&sender, 1);
	send_text(&sender, "beyond", &beyond);
	/* 2,000 are passed over, one of them the first. */
	assert_int_equal(receive(&receiver, buf_bytes(&far), "far"), 0);
	assert_int_equal(ratchet_skipped(&receiver), RATCHET_SKIPPED_MAX);
	store_and_load(&receiver);
	ratchet_encode(&receiver, &before);
	assert_int_equal(before.len, RATCHET_BYTES_MAX);
	assert_int_equal(receive(&receiver, buf_bytes(&beyond), "beyond"), KLUIS_EVERIFY);
	assert_true(same_state(&receiver, secret_bytes(&before)));
	assert_int_equal(receive(&receiver, buf_bytes(&next), "next"), 0);
	assert_int_equal(receive(&receiver, buf_bytes(&beyond), "beyond"), KLUIS_EVERIFY);
	/* One that comes late makes room. */
	assert_int_equal(receive(&receiver, buf_bytes(&first), "first"), 0);
	assert_int_equal(receive(&receiver, buf_bytes(&beyond), "beyond"), 0);
	buf_release(&first);
	buf_release(&far);
	buf_release(&next);
	buf_release(&beyond);
}

/* A state is as it was after anything that did not open. */
static void test_refused_changes_nothing(void **state)
{
	_cleanup_(ratchet_release) struct ratchet sender, receiver, stranger;
	_cleanup_(secret_release) struct secret before = SECRET_INIT;
	struct buf message = BUF_INIT, forged = BUF_INIT;
	const struct chat_spec spec = {
		.sym = SYM_AES_128, .type = CHAT_TEXT, .payload = bytes_str("mine")};

	(void)state;
	begin(&sender, &receiver);
	ratchet_init(&stranger, true, &place, secret_of_epoch(), no_message);
	pass_over(&stranger, 5);
	ratchet_encode(&receiver, &before);
	/* Another member knows the chain's keys, but has another device's key. */
	assert_int_equal(ratchet_seal(&stranger, &spec, other, &forged, NULL), 0);
	assert_int_equal(receive(&receiver, buf_bytes(&forged), "mine"), KLUIS_EVERIFY);
	send_text(&sender, "whole", &message);
	for (size_t i = 0; i < message.len; i++) {
		message.data[i] ^= 0x10;
		assert_int_not_equal(receive(&receiver, buf_bytes(&message), "whole"), 0);
		message.data[i] ^= 0x10;
		assert_int_not_equal(receive(&receiver, bytes_of(message.data, i), "whole"), 0);
	}
	assert_true(same_state(&receiver, secret_bytes(&before)));
	assert_int_equal(receive(&receiver, buf_bytes(&message), "whole"), 0);
	buf_release(&message);
	buf_release(&forged);
}

static void test_other_chain(void **state)
{
	_cleanup_(ratchet_release) struct ratchet sender, receiver;
	struct buf message = BUF_INIT;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct chat_place another = place;

		begin(&sender, &receiver);
		another.conv_id[3] ^= i == 0;
		another.user_id[3] ^= i == 1;
		another.device_id[3] ^= i == 2;
		another.epoch += i == 3;
		assert_false(chat_place_equal(&another, &place));
		receiver.place = another;
		buf_clear(&message);
		send_text(&sender, "here", &message);
		assert_int_equal(receive(&receiver, buf_bytes(&message), "here"), KLUIS_EVERIFY);
		/* Its keys are other ones, too. */
		ratchet_release(&receiver);
		ratchet_init(&receiver, false, &another, secret_of_epoch(), no_message);
		assert_true(i == 1 || !secret_equal(secret_bytes(&receiver.chain),
					      secret_bytes(&sender.chain)));
		ratchet_release(&receiver);
		ratchet_release(&sender);
	}
	begin(&sender, &receiver);
	buf_release(&message);
}

/* Two messages of one index, both signed by the device: the second reader of the pair is told when
 * the next one does not follow what it has. */
static void test_fork(void **state)
{
	_cleanup_(ratchet_release) struct ratchet sender, copy, receiver;
	struct buf messages[3] = {BUF_INIT};
	struct ratchet_opened opened;
	struct chat_message m;

	(void)state;
	begin(&sender, &receiver);
	ratchet_init(&copy, true, &place, secret_of_epoch(), no_message);
	send_text(&sender, "to you", &messages[0]);
	send_text(&copy, "to them", &messages[1]);
	send_text(&copy, "to all", &messages[2]);
	assert_int_equal(receive(&receiver, buf_bytes(&messages[0]), "to you"), 0);
	assert_int_equal(receive(&receiver, buf_bytes(&messages[1]), "to them"), KLUIS_EVERIFY);
	assert_int_equal(chat_parse(buf_bytes(&messages[2]), &m, NULL), 0);
	assert_int_equal(ratchet_open(&receiver, &m, key_public(device), &opened, NULL), 0);
	assert_true(opened.forked);
	secret_release(&opened.payload);
	free_run(messages, ARRAY_SIZE(messages));
}

/* Over the end of an epoch the same: who knows the last message knows what must come behind it. */
static void test_fork_over_epochs(void **state)
{
	static const uint8_t last[HASH_BYTES] = {7};
	static const uint8_t *const before[] = {last, no_message, NULL};
	_cleanup_(ratchet_release) struct ratchet sender;
	struct buf message = BUF_INIT;
	struct chat_message m;

	(void)state;
	ratchet_init(&sender, true, &place, secret_of_epoch(), last);
	send_text(&sender, "new epoch", &message);
	assert_int_equal(chat_parse(buf_bytes(&message), &m, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
		_cleanup_(ratchet_release) struct ratchet receiver;
		struct ratchet_opened opened;

		ratchet_init(&receiver, false, &place, secret_of_epoch(), before[i]);
		store_and_load(&receiver);
		assert_int_equal(ratchet_open(&receiver, &m, key_public(device), &opened, NULL), 0);
		assert_int_equal(opened.forked, i == 1);
		secret_release(&opened.payload);
	}
	buf_release(&message);
}

static void test_state_forms(void **state)
{
	static const struct {
		size_t at;
		uint8_t flip;
	} bad[] = {{0, 1}, {4, 3}, {5, 1}, {5, 4}, {5, 0x80}, {6, 1}, {7, 1}, {26, 3}, {63, 3},
		{128, 1}, {129, 1}, {133, 7}, {133 + 36, 1}};
	_cleanup_(ratchet_release) struct ratchet sender, receiver, got = {.next = 0};
	_cleanup_(secret_release) struct secret encoded = SECRET_INIT;
	struct buf messages[3] = {BUF_INIT};
	char texts[3][24];

	(void)state;
	begin(&sender, &receiver);
	send_run(&sender, messages, texts, ARRAY_SIZE(messages));
	assert_int_equal(receive(&receiver, buf_bytes(&messages[2]), texts[2]), 0);
	ratchet_encode(&receiver, &encoded);
	assert_int_equal(encoded.len, RATCHET_FIXED_BYTES + 2 * RATCHET_SKIPPED_BYTES);
	encoded.data[27] = 0; /* Epoch 3 is in the byte before: 0x300 as long as that stays. */
	encoded.data[26] = 3;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		encoded.data[bad[i].at] ^= bad[i].flip;
		assert_int_equal(ratchet_decode(secret_bytes(&encoded), &got, NULL),
			bad[i].at == 4 ? KLUIS_EVERSION : KLUIS_EINVAL);
		encoded.data[bad[i].at] ^= bad[i].flip;
	}
	for (size_t len = 0; len < encoded.len; len++) {
		assert_int_equal(
			ratchet_decode(bytes_of(encoded.data, len), &got, NULL), KLUIS_EINVAL);
	}
	assert_int_equal(ratchet_decode(secret_bytes(&encoded), &got, NULL), 0);
	assert_int_equal(got.place.epoch, 0x300);
	free_run(messages, ARRAY_SIZE(messages));
}

static void test_message_forms(void **state)
{
	static const struct {
		size_t at;
		uint8_t flip;
		int rc;
	} bad[] = {{3, 1, KLUIS_EINVAL}, {4, 3, KLUIS_EVERSION}, {5, 1, KLUIS_ESUITE},
		{5, 2, KLUIS_ESUITE}, {6, 1, KLUIS_EINVAL}, {7, 1, KLUIS_EINVAL},
		{27, 3, KLUIS_EINVAL}, /* Epoch 0. */
		{131, 0x40, KLUIS_EINVAL}, {131, 1, KLUIS_EINVAL}, {130, 1, KLUIS_EINVAL}};
	_cleanup_(ratchet_release) struct ratchet sender, receiver;
	struct buf message = BUF_INIT;
	struct chat_message m;

	(void)state;
	begin(&sender, &receiver);
	send_text(&sender, "forms", &message);
	assert_int_equal(message.len, 132 + 64 + 32 + 64);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		message.data[bad[i].at] ^= bad[i].flip;
		assert_int_equal(chat_parse(buf_bytes(&message), &m, NULL), bad[i].rc);
		message.data[bad[i].at] ^= bad[i].flip;
	}
	buf_put_u8(&message, 0);
	assert_int_equal(chat_parse(buf_bytes(&message), &m, NULL), KLUIS_EINVAL);
	buf_release(&message);
}

static void expect_size(size_t payload_bytes, size_t plaintext_bytes)
{
	_cleanup_(ratchet_release) struct ratchet sender, receiver;
	_cleanup_(buf_release) struct buf message = BUF_INIT, payload = BUF_INIT;
	struct chat_spec spec = {.sym = SYM_AES_256, .type = CHAT_APPLICATION};
	struct ratchet_opened opened;
	struct chat_message m;

	begin(&sender, &receiver);
	memset(buf_extend(&payload, payload_bytes), 'k', payload_bytes);
	spec.payload = buf_bytes(&payload);
	assert_int_equal(ratchet_seal(&sender, &spec, device, &message, NULL), 0);
	assert_int_equal(message.len, 132 + plaintext_bytes + 96);
	assert_int_equal(chat_parse(buf_bytes(&message), &m, NULL), 0);
	assert_int_equal(ratchet_open(&receiver, &m, key_public(device), &opened, NULL), 0);
	assert_true(bytes_equal(secret_bytes(&opened.payload), buf_bytes(&payload)));
	secret_release(&opened.payload);
}

static void test_sizes(void **state)
{
	_cleanup_(ratchet_release) struct ratchet sender, receiver;
	_cleanup_(buf_release) struct buf message = BUF_INIT, payload = BUF_INIT;
	struct chat_spec spec = {.sym = SYM_AES_256, .type = CHAT_TEXT};

	(void)state;
	expect_size(0, 64);
	expect_size(58, 64);
	expect_size(59, 256);
	expect_size(250, 256);
	expect_size(251, 512);
	expect_size(CHAT_PAYLOAD_BYTES_MAX, CHAT_PLAINTEXT_BYTES_MAX);
	begin(&sender, &receiver);
	memset(buf_extend(&payload, CHAT_PAYLOAD_BYTES_MAX + 1), 0, CHAT_PAYLOAD_BYTES_MAX + 1);
	spec.payload = buf_bytes(&payload);
	assert_int_equal(ratchet_seal(&sender, &spec, device, &message, NULL), KLUIS_ETOOLARGE);
	spec.payload = bytes_of(NULL, 0);
	spec.sym = 3;
	assert_int_equal(ratchet_seal(&sender, &spec, device, &message, NULL), KLUIS_ESUITE);
	assert_int_equal(message.len, 0);
	assert_int_equal(sender.next, 0);
	spec.sym = SYM_AES_256;
	sender.next = UINT32_MAX;
	assert_int_equal(ratchet_seal(&sender, &spec, device, &message, NULL), KLUIS_EQUOTA);
}

static void test_padding(void **state)
{
	uint8_t plain[256];
	struct bytes payload;
	unsigned type;

	(void)state;
	chat_pad(CHAT_TEXT, bytes_str("hello"), plain);
	assert_int_equal(chat_unpad(bytes_of(plain, 64), &type, &payload, NULL), 0);
	for (size_t len = 0; len < 64; len++) {
		assert_int_equal(
			chat_unpad(bytes_of(plain, len), &type, &payload, NULL), KLUIS_EVERIFY);
	}
	for (size_t at = 6 + 5; at < 64; at++) {
		plain[at] = 1;
		assert_int_equal(
			chat_unpad(bytes_of(plain, 64), &type, &payload, NULL), KLUIS_EVERIFY);
		plain[at] = 0;
	}
	/* More room than is needed, and more used than there is. */
	memset(plain + 64, 0, sizeof plain - 64);
	assert_int_equal(
		chat_unpad(bytes_of(plain, sizeof plain), &type, &payload, NULL), KLUIS_EVERIFY);
	store_u32(plain, 59);
	assert_int_equal(chat_unpad(bytes_of(plain, 64), &type, &payload, NULL), KLUIS_EVERIFY);
	store_u32(plain, UINT32_MAX);
	assert_int_equal(chat_unpad(bytes_of(plain, 64), &type, &payload, NULL), KLUIS_EVERIFY);
}

static void test_epoch_key(void **state)
{
	struct chat_epoch_key key = {.secret = SECRET_INIT, .epoch = 9, .members_hash = {5}}, got;
	_cleanup_(secret_release) struct secret plain = SECRET_INIT;

	(void)state;
	secret_random(&key.secret, CHAT_KEY_BYTES, &random_system);
	chat_epoch_key_encode(&key, &plain);
	assert_int_equal(plain.len, CHAT_EPOCH_KEY_BYTES);
	assert_int_equal(chat_epoch_key_decode(secret_bytes(&plain), 9, &got, NULL), 0);
	assert_true(secret_equal(secret_bytes(&got.secret), secret_bytes(&key.secret)));
	assert_memory_equal(got.members_hash, key.members_hash, HASH_BYTES);
	chat_epoch_key_release(&got);
	assert_int_equal(chat_epoch_key_decode(secret_bytes(&plain), 8, &got, NULL), KLUIS_EVERIFY);
	for (size_t len = 0; len < plain.len; len++) {
		assert_int_equal(chat_epoch_key_decode(bytes_of(plain.data, len), 9, &got, NULL),
			KLUIS_EVERIFY);
	}
	chat_epoch_key_release(&key);
}

static void test_verify(void **state)
{
	_cleanup_(ratchet_release) struct ratchet sender, receiver;
	_cleanup_(key_freep) struct key *transfer = NULL;
	struct buf message = BUF_INIT;
	struct chat_message m;

	(void)state;
	begin(&sender, &receiver);
	send_text(&sender, "signed", &message);
	assert_int_equal(chat_parse(buf_bytes(&message), &m, NULL), 0);
	assert_int_equal(chat_verify(&m, key_public(device), NULL), 0);
	assert_int_equal(chat_verify(&m, key_public(other), NULL), KLUIS_EVERIFY);
	assert_int_equal(key_generate(KEY_KEM_P256, 0, &transfer, NULL), 0);
	assert_int_equal(chat_verify(&m, key_public(transfer), NULL), KLUIS_EVERIFY);
	buf_release(&message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_sender_goes_on_after_a_restart),
		cmocka_unit_test(test_forward_secrecy),
		cmocka_unit_test(test_forward_secrecy_of_late_ones),
		cmocka_unit_test(test_skipped_limit),
		cmocka_unit_test(test_refused_changes_nothing),
		cmocka_unit_test(test_other_chain),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_fork_over_epochs),
		cmocka_unit_test(test_state_forms),
		cmocka_unit_test(test_message_forms),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_padding),
		cmocka_unit_test(test_epoch_key),
		cmocka_unit_test(test_verify),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
