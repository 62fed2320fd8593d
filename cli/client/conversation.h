/* Conversations: flows over the cluster's calls, the members' chains and what this device keeps
 * (chat_state.h). What the cluster says is believed in nothing that a member's device can prove.
 * Blocking, one thread. */
#ifndef KLUIS_CLI_CLIENT_CONVERSATION_H
#define KLUIS_CLI_CLIENT_CONVERSATION_H

#include "cli/client/api_chat.h"
#include "cli/client/chat_archive.h"
#include "cli/client/chat_content.h"
#include "cli/client/chat_state.h"
#include "cli/client/membership.h"
#include "cli/client/people.h"

struct conversation_key; /* Of an epoch that was not entered yet. */
struct conversation_archive;

/* Read the fields. */
struct conversation {
	struct people *people;
	uint8_t id[ID_BYTES];
	struct chat_state state;
	struct membership *members;   /* As this profile verified them last. */
	struct api_conversation info; /* As of the last conversation_refresh(). */
	struct conversation_key *keys;
	size_t n_keys;
	bool keys_fetched;	/* Since the last refresh. */
	struct err key_refused; /* Why the first KeyPacket that does not hold was not taken. */
	/* History, see conversation_archive.h. */
	struct conversation_archive *archive; /* NULL: not opened, or there is none. */
	struct chat_segment backlog;	      /* Read, and not archived yet. */
	bool backlog_dirty;
	bool reviewing;	 /* What was read before is shown again; it counts for nothing. */
	bool half_taken; /* The state has a message that was not handed out. */
	bool doubted;	 /* Something read in this call does not hold: no more of it is archived. */
	size_t n_shown;	 /* Messages handed out. */
	uint64_t start_after;	    /* Where a device begins to read that has read nothing. */
	struct err archive_trouble; /* Of this run; code 0: none. */
	bool archive_missed; /* Looked for in this run: it is not there, or cannot be read. */
	uint64_t hole_from;  /* The history could not give what begins there; 0: it could. */
	/* Since this device saw it last somebody switched it, which any writer can. */
	enum { HISTORY_AS_SEEN, HISTORY_SWITCHED_ON, HISTORY_SWITCHED_OFF } history_switched;
};

/* A new conversation with these users, who are invited; its title is the first message. title: 1 to
 * CHAT_TITLE_BYTES_MAX printable bytes. KLUIS_EINVAL, KLUIS_EFORBIDDEN. After a lost answer it may
 * be there: conversation_list() shows it. */
KLUIS_MUST_CHECK int conversation_create(struct people *people, const char *title,
	const uint8_t (*users)[ID_BYTES], size_t n, struct conversation **ret_conversation,
	struct err *e);
/* people must outlive it. Verifies its members. KLUIS_ENOTFOUND; KLUIS_EFORBIDDEN: not a member any
 * more, by the chain or, as in all of these calls, by the cluster's word; KLUIS_EPIN: its members
 * are not those that were seen. */
KLUIS_MUST_CHECK int conversation_open(struct people *people, const uint8_t id[ID_BYTES],
	struct conversation **ret_conversation, struct err *e);
void conversation_close(struct conversation *c); /* NULL is fine. */
/* By its title, or the beginning of its id in hex (at least 6 digits); one that the cluster does
 * not list by what this profile has of it. KLUIS_ENOTFOUND; KLUIS_ECONFLICT: that could be several.
 */
KLUIS_MUST_CHECK int conversation_find(
	struct people *people, const char *name, uint8_t ret_id[ID_BYTES], struct err *e);
/* All of them, as the cluster says; title: "" while none is known here. */
struct conversation_row {
	struct api_conversation info;
	char title[CHAT_TITLE_BYTES_MAX + 1];
	uint64_t unread;
	bool pending; /* A message is sealed here and not known to be sent. */
};
KLUIS_MUST_CHECK int conversation_list(
	struct people *people, struct conversation_row **ret_rows, size_t *ret_n, struct err *e);
/* What the cluster knows of it now; the members' chain when that moved. KLUIS_EPIN: fewer messages
 * than it has shown or taken here. */
KLUIS_MUST_CHECK int conversation_refresh(struct conversation *c, struct err *e);
KLUIS_MUST_CHECK int conversation_accept(struct conversation *c, struct err *e);
/* Also after it was accepted. What the profile has of it goes. KLUIS_EFORBIDDEN, as when
 * nobody else could manage it: share_leave_refused(). */
KLUIS_MUST_CHECK int conversation_leave(struct conversation *c, struct err *e);
/* By an admin. Each sends in a new epoch from then on. KLUIS_EEXIST, KLUIS_ENOTFOUND;
 * KLUIS_EFORBIDDEN: one is no admin, or nobody could manage it. */
KLUIS_MUST_CHECK int conversation_add(
	struct conversation *c, const uint8_t user_id[ID_BYTES], struct err *e);
KLUIS_MUST_CHECK int conversation_remove(
	struct conversation *c, const uint8_t user_id[ID_BYTES], struct err *e);
/* Likewise. role: MEMBER_READ reads, MEMBER_WRITE writes, MEMBER_ADMIN manages it, too. */
KLUIS_MUST_CHECK int conversation_set_role(
	struct conversation *c, const uint8_t user_id[ID_BYTES], unsigned role, struct err *e);
/* Makes a member who accepted an admin, and oneself `role`, in one step. KLUIS_EPRECONDITION: they
 * have not accepted. */
KLUIS_MUST_CHECK int conversation_transfer(
	struct conversation *c, const uint8_t user_id[ID_BYTES], unsigned role, struct err *e);

/* Seals and sends: stored before it leaves, sent again as it is until the cluster has it, in a new
 * epoch where one is due. What an earlier run could not send goes first. *ret_seq: its number.
 * KLUIS_ECONFLICT: this profile is an older copy of itself; read first. Any other error: it may
 * still go out, with the next call. */
KLUIS_MUST_CHECK int conversation_send(struct conversation *c, unsigned type, struct bytes payload,
	uint64_t *ret_seq, struct err *e);
/* Only what an earlier run could not. */
KLUIS_MUST_CHECK int conversation_flush(struct conversation *c, struct err *e);

/* A message as it is shown. Runs live until the callback returns. */
struct conversation_item {
	uint64_t seq, time_ms;
	const struct identity *user; /* Who wrote it, and on what. */
	const struct identity_device *device;
	bool mine;
	bool opened; /* Else there is no content: it is not for this device, or see problems. */
	struct chat_content content;
	uint64_t of_seq; /* Of an edit or a deletion: number of the message that it is about. */
	bool not_theirs; /* ... which somebody else wrote, or is not known: it counts for nothing.
			  */
	uint8_t link[HASH_BYTES];
	unsigned problems; /* enum chat_problem */
	uint64_t missing;
	uint64_t repeats; /* Of CHAT_REPEATED: as which number it was shown. */
	bool late;
	bool left_epoch;	 /* Of one that came before those that were written in here. */
	const char *key_refused; /* Why the KeyPacket of its epoch was not taken; NULL: it was, or
				  * there is none. */
};
/* Other than 0 ends the reading, which returns it; the item then counts as not read. */
typedef int conversation_item_fn(void *arg, const struct conversation_item *item, struct err *e);
struct conversation_read {
	conversation_item_fn *each;
	void *arg;
	bool quiet; /* No receipt that it was read. */
	bool lazy;  /* More will be read soon: it need not be archived at once. */
	bool keep;  /* The reader goes on by itself after a failure that may pass: what was handed
		     * out before it counts as read. */
	uint64_t last; /* Shows so many up to the newest, archived ones again; 0: what is new. */
};
/* Hands out what came since the last time, oldest first, and counts it as read once all of an
 * answer was handed out (a run that is cut hands it out again; seq tells). *ret_n: how many.
 * Problems of items are told by them alone. KLUIS_EVERIFY: the cluster shows what no member wrote;
 * nothing of it counts. */
KLUIS_MUST_CHECK int conversation_read(struct conversation *c,
	const struct conversation_read *reader, size_t *ret_n, struct err *e);
/* A sentence for people on each problem, "; " between; the caller frees it. NULL: there is none. */
char *conversation_problem_text(const struct conversation_item *item);
/* What a program that met these problems ends with: 0, KLUIS_EVERIFY or KLUIS_EPIN. */
int conversation_problem_code(unsigned problems);

/* For the files of this module. */
/* What the cluster or the archive shows as a message, handed out once it was taken. record: as the
 * archive has it, when it comes from there; one that does not hold is passed over then, and told by
 * c->archive_trouble. */
KLUIS_MUST_CHECK int conversation_read_one(struct conversation *c,
	const struct conversation_read *reader, const struct api_message *shown,
	const struct chat_record *record, struct err *e);
struct conversation_key {
	struct chat_epoch_key key;
	uint64_t made_ms; /* By its maker's clock, but not after it came. */
	uint8_t packet_id[ID_BYTES], sender_user[ID_BYTES];
};
/* Enters this epoch, whose KeyPacket was fetched or is fetched now; 0 also when there is none. */
KLUIS_MUST_CHECK int conversation_take_epoch(struct conversation *c, uint32_t epoch, struct err *e);
/* Which statement of its members that hash is of; 0: none that was seen. */
uint64_t conversation_members_rev(const struct conversation *c, const uint8_t hash[HASH_BYTES]);
/* Whether the profile's owner may write in it, by the members' chain. */
bool conversation_may_write(const struct conversation *c);
/* What chat_state.back is by the members' chain. */
uint32_t conversation_back(const struct conversation *c);
/* Has a current epoch that may be sent in: the cluster's, or a new one. */
KLUIS_MUST_CHECK int conversation_need_epoch(struct conversation *c, struct err *e);
/* What this answer of the cluster means for a conversation that was open to us. Returns rc, or
 * KLUIS_EFORBIDDEN for KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int conversation_answer(int rc, struct err *e);
KLUIS_MUST_CHECK int conversation_save(struct conversation *c, struct err *e);
/* After a failure: the state as it is stored, so that what was half done is done again. Returns rc.
 */
KLUIS_MUST_CHECK int conversation_reload(struct conversation *c, int rc, struct err *e);
/* What an addition says of a user, who may write. */
void conversation_body_add(const uint8_t user_id[ID_BYTES], struct buf *body);
struct profile *conversation_profile(const struct conversation *c);
struct client *conversation_client(const struct conversation *c);

#endif
