#include "tests/lib/cli_fixture/chat_people.h"

#include <string.h>

#include "base/wire.h"

const uint8_t chat_people_conv[ID_BYTES] = {0xc0, 1};
const uint64_t chat_people_day_ms = 24 * 3600 * 1000ULL;
struct key *chat_people_key[CHAT_PEOPLE];

int chat_people_keys(void **state)
{
	(void)state;
	for (size_t i = 0; i < CHAT_PEOPLE; i++) {
		if (key_generate(KEY_ECDSA_P256, 0, &chat_people_key[i], NULL) != 0) {
			return -1;
		}
	}
	return 0;
}

int chat_people_keys_free(void **state)
{
	(void)state;
	for (size_t i = 0; i < CHAT_PEOPLE; i++) {
		key_free(chat_people_key[i]);
	}
	return 0;
}

void chat_people_secret(uint32_t epoch, struct secret *ret_secret)
{
	uint8_t number[4];

	store_u32(number, epoch);
	secret_init(ret_secret, CHAT_KEY_BYTES);
	hash_sha256(bytes_of(number, sizeof number), ret_secret->data);
}

int chat_people_enter(
	struct chat_people *f, size_t i, uint32_t epoch, uint8_t members, uint64_t rev)
{
	struct chat_epoch_key key = {.epoch = epoch, .members_hash = {members}};
	struct chat_writer writers[CHAT_PEOPLE];
	struct chat_entry entry = {.key = &key,
		.members_rev = rev,
		.made_ms = f->now_ms,
		.writers = writers,
		.n = CHAT_PEOPLE};
	int rc;

	chat_people_secret(epoch, &key.secret);
	for (size_t j = 0; j < CHAT_PEOPLE; j++) {
		writers[j] = f->people[j].who;
	}
	rc = chat_state_enter(&f->people[i].state, &entry, &f->err);
	chat_epoch_key_release(&key);
	return rc;
}

void chat_people_enter_all(struct chat_people *f, uint32_t epoch)
{
	for (size_t i = 0; i < CHAT_PEOPLE; i++) {
		assert_int_equal(chat_people_enter(f, i, epoch, 1, 1), 0);
	}
}

int chat_people_setup(void **state)
{
	struct chat_people *f = x_calloc(1, sizeof *f);

	f->now_ms = 1000 * chat_people_day_ms;
	for (size_t i = 0; i < CHAT_PEOPLE; i++) {
		struct chat_person *p = &f->people[i];

		p->who.user_id[0] = (uint8_t)(i + 1);
		p->who.device_id[0] = (uint8_t)(0x10 + i);
		p->key = chat_people_key[i];
		chat_state_init(&p->state, chat_people_conv, p->who.user_id, p->who.device_id);
	}
	chat_people_enter_all(f, 1);
	*state = f;
	return 0;
}

int chat_people_teardown(void **state)
{
	struct chat_people *f = *state;

	for (size_t i = 0; i < CHAT_PEOPLE; i++) {
		chat_state_release(&f->people[i].state);
	}
	for (size_t i = 0; i < f->n; i++) {
		buf_release(&f->sent[i].bytes);
	}
	free(f);
	return 0;
}

int chat_people_seal(struct chat_people *f, size_t i, const char *text)
{
	return chat_state_seal(&f->people[i].state, SYM_AES_256, CHAT_TEXT, bytes_str(text),
		f->people[i].key, &f->err);
}

/* The cluster takes what is pending as the next number. */
uint64_t chat_people_post(struct chat_people *f, size_t i)
{
	struct chat_sent *to = &f->sent[f->n++];

	assert_true(f->n < CHAT_SENT_MAX);
	buf_append_bytes(&to->bytes, buf_bytes(&f->people[i].state.pending));
	assert_int_equal(chat_parse(buf_bytes(&to->bytes), &to->message, &f->err), 0);
	return f->n;
}

uint64_t chat_people_send(struct chat_people *f, size_t i, const char *text)
{
	uint64_t seq;

	assert_int_equal(chat_people_seal(f, i, text), 0);
	seq = chat_people_post(f, i);
	chat_state_sent(&f->people[i].state, seq);
	return seq;
}

static const struct key_pub *writer_key(const struct chat_people *f, const struct chat_message *m)
{
	for (size_t i = 0; i < CHAT_PEOPLE; i++) {
		if (memcmp(m->place.device_id, f->people[i].who.device_id, ID_BYTES) == 0) {
			return key_public(f->people[i].key);
		}
	}
	fail();
	return NULL;
}

int chat_people_receive(struct chat_people *f, struct chat_state *s, uint64_t at, uint64_t seq,
	struct chat_received *ret)
{
	const struct chat_message *m = &f->sent[at - 1].message;

	return chat_state_receive(s, seq, f->now_ms, m, writer_key(f, m), NULL, ret, &f->err);
}

/* Number seq, which has to open to this text and leave nothing to be said. */
void chat_people_expect(struct chat_people *f, size_t i, uint64_t seq, const char *text)
{
	struct chat_received r;

	assert_int_equal(chat_people_receive(f, &f->people[i].state, seq, seq, &r), 0);
	assert_int_equal(r.problems, 0);
	assert_true(r.opened);
	assert_int_equal(r.type, CHAT_TEXT);
	assert_true(bytes_equal(secret_bytes(&r.payload), bytes_str(text)));
	secret_release(&r.payload);
}

unsigned chat_people_problems(struct chat_people *f, size_t i, uint64_t at, uint64_t seq)
{
	struct chat_received r;

	assert_int_equal(chat_people_receive(f, &f->people[i].state, at, seq, &r), 0);
	secret_release(&r.payload);
	return r.problems;
}

/* As after a run that ended here: what is on the disk is all there is. */
void chat_people_restart(struct chat_people *f, size_t i)
{
	struct chat_state *s = &f->people[i].state, back;
	struct secret encoded = SECRET_INIT;

	assert_int_equal(chat_state_encode(s, &encoded, &f->err), 0);
	assert_int_equal(chat_state_decode(secret_bytes(&encoded), &back, &f->err), 0);
	chat_state_release(s);
	*s = back;
	secret_release(&encoded);
}

void chat_people_copy(struct chat_people *f, size_t i, struct chat_state *ret)
{
	struct secret encoded = SECRET_INIT;

	assert_int_equal(chat_state_encode(&f->people[i].state, &encoded, &f->err), 0);
	assert_int_equal(chat_state_decode(secret_bytes(&encoded), ret, &f->err), 0);
	secret_release(&encoded);
}
