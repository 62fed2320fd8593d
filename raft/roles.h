/* Who votes, who leads, who comes and goes: what the leader does so that the configuration in the
 * log becomes what the members' rows want (raft/servers.h) and stays so when members fail. A voter
 * that is gone gives its place to one that stands by, promoted first, and is demoted after; without
 * one to take its place it is demoted alone, so that losses one after the other leave two live of
 * three configured voters. One step at a time; each is safe by the driver's guards, and a leader
 * that comes next goes on from what the log says.
 *
 * One thread, the driver's. No clock of its own. */
#ifndef KLUIS_RAFT_ROLES_H
#define KLUIS_RAFT_ROLES_H

#include "raft/command.h"
#include "raft/driver.h"
#include "raft/servers.h"

struct roles_options {
	unsigned gone_ms;   /* MEMBER_GONE_MS: silent for so long, a member is gone. */
	unsigned steady_ms; /* MEMBER_STEADY_MS: heard for so long, one may be promoted. */
	unsigned lead_ms;   /* LEADER_STEADY_MS: ... may be handed the leadership by its weight. */
};
struct roles_options roles_options_default(void);

struct roles {
	struct roles_options options;
	uint64_t id;
	uint64_t term, led_ms; /* Of the leadership that is looked at; 0: none. */
	uint64_t moved_ms;     /* When leadership was last offered for its weight's sake. */
	unsigned n;
	struct roles_heard {
		uint64_t id, since_ms; /* Heard without a break since; 0: it is silent. */
	} heard[SITES_MAX];
	char waiting[320]; /* Why the next step is not done yet; empty: nothing waits. */
};
void roles_init(struct roles *roles, const struct roles_options *options, uint64_t id);

/* One member as the leader sees it. */
struct roles_seen {
	uint64_t id;
	bool member;	  /* Of the configuration; else only a row wants it. */
	bool votes, self; /* self: it is the leader, which sees. */
	bool gone;	  /* Silent for gone_ms. */
	/* Heard for steady_ms, for lead_ms. Itself: has led for twice steady_ms; has not offered
	 * leadership for as long. */
	bool steady, settled;
	bool current, trouble; /* Its log is nearly ours; it is short of space or in doubt. */
	bool succeeds;	       /* Another one is to go once this one has all data. */
	enum server_wish wish; /* SERVER_GONE: now, its successor has all data. */
	uint32_t weight;
};
enum roles_move_kind {
	ROLES_NOTHING,
	ROLES_ADD,
	ROLES_PROMOTE,
	ROLES_DEMOTE,
	ROLES_REMOVE,
	ROLES_FORGET,	 /* The row of one that is in no configuration any more. */
	ROLES_HAND_OVER, /* Leadership, for this node is not to lead. */
	ROLES_PREFER,	 /* Leadership, to one of more weight. */
};
struct roles_move {
	enum roles_move_kind kind;
	uint64_t id;
};
/* The next step. Pure. */
struct roles_move roles_decide(const struct roles_seen *seen, unsigned n, unsigned voters_wanted);

/* Does the next step if this node leads, or waits for what it began. True: *ret_command (its runs
 * are empty) is to be proposed. Call a few times a second. */
KLUIS_MUST_CHECK bool roles_step(struct roles *roles, struct driver *driver,
	const struct servers *servers, uint64_t now_ms, struct command *ret_command);

#endif
