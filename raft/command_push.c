#include "raft/command_body.h"

void body_push_put(struct codec *c, struct command_push_put *body)
{
	codec_session(c, &body->session);
	codec_once(c, &body->once);
	codec_fixed(c, body->push_id, sizeof body->push_id);
	codec_u8(c, &body->kind, 1, PUSH_KINDS);
	codec_u8(c, &body->pepper_id, 0, UINT8_MAX);
	codec_run(c, &body->sealed, 1, PUSH_SEALED_BYTES_MAX);
}

void body_push_delete(struct codec *c, struct command_push_delete *body)
{
	codec_bool(c, &body->gone);
	codec_session(c, &body->session);
	codec_fixed(c, body->user_id, sizeof body->user_id);
	codec_fixed(c, body->push_id, sizeof body->push_id);
}
