/* The body of each command, read and written by one description. Only for raft/command.c. */
#ifndef KLUIS_RAFT_COMMAND_BODY_H
#define KLUIS_RAFT_COMMAND_BODY_H

#include "raft/command.h"

/* Writes to out, or reads from in when out is NULL; what is read is checked on the way. */
struct codec {
	struct buf *out;
	struct wire in;
};

#define X(symbol, value, name, member, level) \
	void body_##member(struct codec *codec, struct command_##member *body);
COMMANDS(X)
#undef X

#endif
