#include "raft/command_body.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "crypto/identity.h"

/* Our own values obey the rule that foreign ones are refused by. */
void codec_need(struct codec *c, bool held)
{
	assert(c->out == NULL || held);
	if (!held) {
		wire_fail(&c->in);
	}
}

void codec_u8(struct codec *c, uint8_t *value, unsigned min, unsigned max)
{
	if (c->out != NULL) {
		buf_put_u8(c->out, *value);
	} else {
		*value = wire_u8(&c->in);
	}
	codec_need(c, *value >= min && *value <= max);
}

void codec_bool(struct codec *c, bool *value)
{
	uint8_t byte = *value;

	codec_u8(c, &byte, 0, 1);
	*value = byte == 1;
}

void codec_u32(struct codec *c, uint32_t *value, uint32_t min, uint32_t max)
{
	if (c->out != NULL) {
		buf_put_u32(c->out, *value);
	} else {
		*value = wire_u32(&c->in);
	}
	codec_need(c, *value >= min && *value <= max);
}

void codec_u64(struct codec *c, uint64_t *value, uint64_t min)
{
	if (c->out != NULL) {
		buf_put_u64(c->out, *value);
	} else {
		*value = wire_u64(&c->in);
	}
	codec_need(c, *value >= min);
}

/* Node ids in a list: from 1, strictly ascending. */
void codec_next_node(struct codec *c, uint64_t *value, uint64_t before)
{
	codec_u64(c, value, 1);
	codec_need(c, *value > before);
}

void codec_fixed(struct codec *c, uint8_t *bytes, size_t len)
{
	if (c->out != NULL) {
		buf_append(c->out, bytes, len);
	} else {
		wire_copy(&c->in, bytes, len);
	}
}

void codec_run(struct codec *c, struct bytes *run, size_t min, size_t max)
{
	if (c->out != NULL) {
		buf_put_lp32(c->out, *run);
	} else {
		*run = wire_lp32(&c->in, max);
	}
	codec_need(c, run->len >= min && run->len <= max);
}

void codec_text(struct codec *c, struct bytes *text, size_t max)
{
	codec_run(c, text, 0, max);
	codec_need(c, utf8_valid(*text));
}

void codec_name(struct codec *c, struct bytes *name)
{
	codec_run(c, name, 1, ACCOUNT_NAME_BYTES_MAX);
	codec_need(c, identity_name_valid(*name));
}

void codec_once(struct codec *c, struct command_once *once)
{
	codec_run(c, &once->key, 0, IDEMPOTENCY_KEY_BYTES_MAX);
	codec_fixed(c, once->body_hash, sizeof once->body_hash);
}

void codec_session(struct codec *c, struct command_session *session)
{
	codec_fixed(c, session->token_hash, sizeof session->token_hash);
}
