/* One sender and one receiver of a chain, what is between them as the input has it: { u8 op | u8
 * argument } each: sent with so many bytes, delivered (again, late, changed), the sender moved on
 * without a message, the receiver's state stored and read. A message opens once, whatever else. */
#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/ratchet.h"

enum { FUZZ_MESSAGES_MAX = 16, FUZZ_OPS_MAX = 48 };

static struct key *device;
static const uint8_t epoch_secret[CHAT_KEY_BYTES] = {1};
static const uint8_t zero[HASH_BYTES];
static const struct chat_place place = {.epoch = 1};

struct fuzz_chain {
	struct ratchet sender, receiver;
	struct buf messages[FUZZ_MESSAGES_MAX];
	size_t bytes[FUZZ_MESSAGES_MAX];
	bool opened[FUZZ_MESSAGES_MAX];
	size_t count;
};

static void fuzz_send(struct fuzz_chain *c, unsigned bytes)
{
	static const uint8_t text[256];
	const struct chat_spec spec = {.sym = (bytes & 1) != 0 ? SYM_AES_128 : SYM_AES_256,
		.type = CHAT_TEXT,
		.payload = bytes_of(text, bytes)};
	int rc;

	if (c->count == FUZZ_MESSAGES_MAX) {
		return;
	}
	rc = ratchet_seal(&c->sender, &spec, device, &c->messages[c->count], NULL);
	assert(rc == 0);
	c->bytes[c->count++] = bytes;
}

static void fuzz_deliver(struct fuzz_chain *c, size_t i)
{
	struct ratchet_opened opened;
	struct chat_message m;
	uint64_t skipped;
	int rc = chat_parse(buf_bytes(&c->messages[i]), &m, NULL);

	assert(rc == 0);
	skipped = ratchet_skipped(&c->receiver) +
		  (m.index >= c->receiver.next ? (uint64_t)m.index - c->receiver.next : 0);
	rc = ratchet_open(&c->receiver, &m, key_public(device), &opened, NULL);
	assert((rc == 0) ==
		(!c->opened[i] && (m.index < c->receiver.next || skipped <= RATCHET_SKIPPED_MAX)));
	if (rc == 0) {
		assert(opened.payload.len == c->bytes[i] && !opened.forked);
		secret_release(&opened.payload);
		c->opened[i] = true;
	}
}

static void fuzz_change(struct fuzz_chain *c, size_t i, unsigned at)
{
	struct ratchet_opened opened;
	struct chat_message m;
	uint8_t *byte = &c->messages[i].data[at % c->messages[i].len];
	int rc;

	*byte ^= 0x55;
	rc = chat_parse(buf_bytes(&c->messages[i]), &m, NULL);
	rc = rc != 0 ? rc : ratchet_open(&c->receiver, &m, key_public(device), &opened, NULL);
	assert(rc != 0);
	*byte ^= 0x55;
}

static void fuzz_pass(struct fuzz_chain *c, unsigned count)
{
	uint8_t key[CHAT_KEY_BYTES];

	/* The next prev_own is then that of a message nobody sees. */
	for (unsigned i = 0; i < count * 8; i++) {
		chat_step(&c->sender.chain, key);
		c->sender.next++;
	}
}

static void fuzz_store(struct fuzz_chain *c)
{
	_cleanup_(secret_release) struct secret state = SECRET_INIT;
	int rc;

	ratchet_encode(&c->receiver, &state);
	ratchet_release(&c->receiver);
	rc = ratchet_decode(secret_bytes(&state), &c->receiver, NULL);
	assert(rc == 0);
}

static void fuzz_op(struct fuzz_chain *c, unsigned op, unsigned argument)
{
	switch (op % 5) {
	case 0:
		fuzz_send(c, argument);
		break;
	case 1:
		if (c->count > 0) {
			fuzz_deliver(c, argument % c->count);
		}
		break;
	case 2:
		if (c->count > 0) {
			fuzz_change(c, op / 5 % c->count, argument);
		}
		break;
	case 3:
		fuzz_pass(c, argument);
		break;
	default:
		fuzz_store(c);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_chain c = {.count = 0};
	struct wire w = wire_of(bytes_of(data, size));
	int rc;

	if (device == NULL) {
		rc = key_generate(KEY_ECDSA_P256, 0, &device, NULL);
		assert(rc == 0);
	}
	ratchet_init(&c.sender, true, &place, bytes_of(epoch_secret, sizeof epoch_secret), zero);
	ratchet_init(&c.receiver, false, &place, bytes_of(epoch_secret, sizeof epoch_secret), zero);
	for (int i = 0; i < FUZZ_OPS_MAX && w.left.len >= 2; i++) {
		unsigned op = wire_u8(&w);

		fuzz_op(&c, op, wire_u8(&w));
	}
	ratchet_release(&c.sender);
	ratchet_release(&c.receiver);
	for (size_t i = 0; i < c.count; i++) {
		buf_release(&c.messages[i]);
	}
	return 0;
}
