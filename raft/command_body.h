/* The body of each command, read and written by one description. Only for raft/command*.c. */
#ifndef KLUIS_RAFT_COMMAND_BODY_H
#define KLUIS_RAFT_COMMAND_BODY_H

#include "raft/command.h"

/* Writes to out, or reads from in when out is NULL; what is read is checked on the way. */
struct codec {
	struct buf *out;
	struct wire in;
};

/* Each writes or reads one field. What is out of bounds fails a read; our own values obey the rule
 * that foreign ones are refused by (asserted). */
void codec_need(struct codec *c, bool held);
void codec_u8(struct codec *c, uint8_t *value, unsigned min, unsigned max);
void codec_bool(struct codec *c, bool *value);
void codec_u32(struct codec *c, uint32_t *value, uint32_t min, uint32_t max);
void codec_u64(struct codec *c, uint64_t *value, uint64_t min);
/* Node ids in a list: from 1, strictly ascending. */
void codec_next_node(struct codec *c, uint64_t *value, uint64_t before);
void codec_fixed(struct codec *c, uint8_t *bytes, size_t len);
void codec_run(struct codec *c, struct bytes *run, size_t min, size_t max);
void codec_text(struct codec *c, struct bytes *text, size_t max); /* UTF-8. */
void codec_name(struct codec *c, struct bytes *name);		  /* Of an account. */
void codec_once(struct codec *c, struct command_once *once);
void codec_session(struct codec *c, struct command_session *session);

#define X(symbol, value, name, member, level) \
	void body_##member(struct codec *codec, struct command_##member *body);
COMMANDS(X)
#undef X

#endif
