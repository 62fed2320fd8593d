/* Commands of sharing: members of vaults, groups and conversations, and the packets that give them
 * keys (docs/format-commands.md section 6). Feature level 5. Signatures, and which keys are current
 * by users' identity chains, are checked where a request enters; all that can change between sites
 * is checked again in apply. Included by raft/command.h. */
#ifndef KLUIS_RAFT_COMMAND_SHARING_H
#define KLUIS_RAFT_COMMAND_SHARING_H

#include "base/limits.h"
#include "raft/command_person.h"

enum {
	/* Of one members_change. A group's removal brings a section for each of its vaults. */
	MEMBERS_SECTIONS_MAX = GROUP_VAULTS_MAX + 1,
	MEMBERS_STATEMENTS_MAX = 512,
	MEMBERS_STATEMENT_BYTES_MAX = 1024, /* They take some 200. */
	MEMBERS_LISTED_MAX = 1 << 16,	    /* Rows of members that one of them reads. */
	PACKETS_SEND_MAX = 256,		    /* Of one packet_send. */
	GRANTS_SEND_MAX = 256,
};

/* What one members_change does to one object. */
struct members_section {
	uint8_t object_id[16];
	/* Where a group or conversation is created, or a group rotated (empty: it stays). */
	struct bytes label;
	struct bytes group_key; /* Where a group is created or rotated: its new public key. */
	/* Runs of lp16, walked by members_item_next(). */
	uint16_t n_statements; /* At least 1. */
	struct bytes statements;
	uint16_t n_packets;
	struct bytes packets;
};

/* Everything that changes members, all of it or nothing: a group or conversation is created, and
 * members are added, removed, given another role; keys are rotated. Statements follow the object's
 * chain and are signed by the session's device; packets are sealed by its user.
 *
 * A removal from a vault or group ends in a rotate. A rotate brings one packet of the new epoch for
 * every member that remains and did not decline (the session's own user may have one), and a
 * group's rotate comes with a section that rotates each vault that it is a member of. An add brings
 * a packet of the current epoch for whoever is added. Conversations have neither.
 *
 * A user who is added is invited; a group is a member at once. Whoever adds a group to a vault is
 * an admin of both. KLUIS_EPRECONDITION: the chain moved, or the set is not complete (the text
 * names the object and how many lack); KLUIS_EFORBIDDEN: no admin, or no admin who accepted would
 * remain; KLUIS_EEXIST: the id is taken; KLUIS_ETOOLARGE: a limit; KLUIS_EQUOTA: too many packets
 * wait for a recipient; KLUIS_EGONE, KLUIS_ENOTFOUND, KLUIS_EINVAL. The very same again is success.
 * Reply: of the first section id, number members_rev, hash members_hash, and command_reply_epoch().
 */
struct command_members_change {
	struct command_session session;
	struct command_once once;
	struct bytes sections; /* To be walked by members_section_next(). */
	uint32_t n_sections;   /* Set by command_decode(), ignored by command_encode(). */
};
/* Takes the next section off *sections. False at the end and on malformed bytes: then *sections is
 * not empty. */
bool members_section_next(struct bytes *sections, struct members_section *ret_section);
void members_section_append(struct buf *sections, const struct members_section *section);
/* ... the next statement or packet off a section's run, or a packet_send's. */
bool members_item_next(struct bytes *items, struct bytes *ret_item);
void members_item_append(struct buf *items, struct bytes item);
/* Checks forms and limits of all sections; KLUIS_EINVAL, KLUIS_ETOOLARGE. */
KLUIS_MUST_CHECK int members_sections_check(struct bytes sections, uint32_t *ret_n, struct err *e);
/* Whether such sections shut somebody out and let nobody in: what passes while new writes are
 * refused. */
bool members_only_remove(struct bytes sections);

/* One page is opened to a user. */
struct command_grant {
	uint8_t user_id[16], vault_id[16];
	uint64_t page_no, revision;
};
enum { COMMAND_GRANT_BYTES = 16 + 16 + 8 + 8 };
/* Packets beside a change of members. By purpose: 1 and 3, an admin of the vault or group to one
 * that is its member, of an epoch up to the current one; 2, an admin of the vault to any user, with
 * a grant of the page (each grant has a packet of purpose 2 to the same user about the same vault,
 * whose end it shares); 5, a user to devices of her own. KLUIS_EINVAL for other purposes,
 * KLUIS_EFORBIDDEN, KLUIS_ENOTFOUND, KLUIS_EQUOTA. A packet that is there already, byte for byte,
 * is success. Reply: number of packets. */
struct command_packet_send {
	struct command_session session;
	struct bytes packets; /* lp16 each, at most PACKETS_SEND_MAX: members_item_next(). */
	struct bytes grants;  /* COMMAND_GRANT_BYTES each: command_grant_next(). */
	uint32_t n_packets;   /* Set by command_decode(). */
};
bool command_grant_next(struct bytes *grants, struct command_grant *ret_grant);
void command_grant_append(struct buf *grants, const struct command_grant *grant);

/* The end of what packet_send opened, which needs room in nobody's box and no time: each grant of
 * the user goes that the session's user gave, or whoever did when the session's user is an admin of
 * the vault; and each packet of purpose 2 to her about that vault that the session's user sent.
 * What is not there, or another's, is passed by: nobody keeps the rest from ending. Passes while
 * new writes are refused. Reply: number of rows that went. */
struct command_pages_unshare {
	struct command_session session;
	uint8_t user_id[16], vault_id[16];
	struct bytes pages; /* COMMAND_UNSHARED_BYTES each: command_unshared_next(). */
};
struct command_unshared {
	uint64_t page_no, revision;
	uint8_t packet_id[16]; /* That gave its key. */
};
enum { COMMAND_UNSHARED_BYTES = 8 + 8 + 16 };
bool command_unshared_next(struct bytes *pages, struct command_unshared *ret_page);
void command_unshared_append(struct buf *pages, const struct command_unshared *page);

/* The recipient has it: a packet to the session's user or its device goes. KLUIS_ENOTFOUND. */
struct command_packet_ack {
	struct command_session session;
	uint8_t packet_id[16];
};

/* An invitation is accepted or declined; who accepted may decline later, which ends the access.
 * KLUIS_ENOTFOUND: no member, or declined before; KLUIS_EFORBIDDEN: no admin who accepted would
 * remain; KLUIS_EQUOTA: USER_GROUPS_MAX. What is so already is success. */
struct command_member_answer {
	struct command_session session;
	uint8_t object_id[16];
	bool accept;
};

/* By an admin: a group that is a member of nothing, and its id is never free again. KLUIS_ECONFLICT
 * while it is a member of a vault, KLUIS_ENOTFOUND of a vault or conversation. */
struct command_object_delete {
	struct command_session session;
	uint8_t object_id[16];
};

#endif
