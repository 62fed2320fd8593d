/* The vault of a conversation: its history, which any member archives who reads, and the files sent
 * in it (docs/format-chat.md, "History"). Persons alone have one. Blocking, one thread. */
#ifndef KLUIS_CLI_CLIENT_CONVERSATION_ARCHIVE_H
#define KLUIS_CLI_CLIENT_CONVERSATION_ARCHIVE_H

#include "cli/client/conversation.h"
#include "cli/client/vault.h"

/* Read the fields. */
struct conversation_archive {
	struct vault *vault; /* Synced. */
	struct chat_index *index;
	/* The segment that was read last. */
	struct chat_segment segment;
	size_t row;
	uint64_t revision; /* Of its page; 0: none was read. */
	/* The one that could not be read last, and why. */
	struct err bad;
	size_t bad_row;
	uint64_t bad_revision;
};

/* Opens c->archive, unless it is open: takes the invitation to it, verifies that who began the
 * conversation made it, and, as an admin of it, lets in and takes out who came and was removed
 * since, or notes in c->archive_trouble what keeps it from that. 0 also when there is none, or it
 * cannot be read: c->archive stays NULL then, c->archive_trouble says why, and it is not looked for
 * again in this run. Errors are those that another try may not meet (no site could be reached, or
 * none has the time), and of the profile. c->history_switched is told once: the state is stored
 * with it. */
KLUIS_MUST_CHECK int conversation_archive_open(struct conversation *c, struct err *e);
/* For conversation_close(). */
void conversation_archive_close(struct conversation_archive *archive); /* NULL is fine. */
/* By an admin of the conversation's vault, or, where there is none, by who began the conversation,
 * who makes it: archives from now on, or no more. KLUIS_EFORBIDDEN. */
KLUIS_MUST_CHECK int conversation_archive_switch(struct conversation *c, bool on, struct err *e);
/* The record of that number, good until the next call; NULL: the archive has none, or it cannot be
 * read, as c->archive_trouble says. */
KLUIS_MUST_CHECK int conversation_archive_find(
	struct conversation *c, uint64_t seq, const struct chat_record **ret_record, struct err *e);
/* Hands out the archived messages from number `from` on that are before `to`, as those that come
 * live. A segment or record that does not hold is passed over: c->archive_trouble has the first,
 * and what follows is shown as behind a gap. */
KLUIS_MUST_CHECK int conversation_archive_show(struct conversation *c,
	const struct conversation_read *reader, uint64_t from, uint64_t to, struct err *e);
/* rc says what is wrong with the archived message of that number: when it is that, it is noted as
 * trouble and 0 returned; else rc. */
KLUIS_MUST_CHECK int conversation_archive_doubt(
	struct conversation *c, int rc, uint64_t seq, struct err *e);
/* What a program ends with for c->archive_trouble: 0, or that the history does not hold
 * (KLUIS_ECORRUPT, KLUIS_EVERIFY, KLUIS_EPIN) or is not for this version (KLUIS_EVERSION,
 * KLUIS_ESUITE). */
int conversation_archive_verdict(const struct conversation *c);
/* A message that was read is to be archived: with the next conversation_save() it is on the disk.
 */
void conversation_archive_note(struct conversation *c, const struct chat_record *record);
/* Who came and left since the conversation's vault was opened comes into it, and leaves it, in the
 * roles of the conversation: by an admin of both. What fails is done by her next run. */
void conversation_archive_members(struct conversation *c);
/* The conversation is left, and its vault. */
void conversation_archive_leave(struct conversation *c);
/* Archives what was noted, on whatever run, unless somebody is in the vault who is no member; lazy:
 * only when it is much. What others archived meanwhile stands: of two that archive the same
 * the second finds it there. */
KLUIS_MUST_CHECK int conversation_archive_flush(struct conversation *c, bool lazy, struct err *e);

struct conversation_archived {
	bool there, history;  /* There is a vault; it is archived to. */
	uint64_t first, last; /* Numbers; 0: nothing was archived. */
	size_t segments;
	/* last is 0, too, where the newest segment cannot be read: see c->archive_trouble. */
};
KLUIS_MUST_CHECK int conversation_archived(
	struct conversation *c, struct conversation_archived *ret, struct err *e);

/* A file of the conversation, by what its message says. */
struct conversation_file {
	char *name; /* As its sender calls it. */
	uint64_t size;
	uint8_t sha256[HASH_BYTES];
};
void conversation_file_release(struct conversation_file *file);
/* KLUIS_EINVAL: the content is of another kind. */
KLUIS_MUST_CHECK int conversation_file_of(
	const struct chat_content *content, struct conversation_file *ret_file, struct err *e);
/* Puts a local file into the vault, and sends the message that names it. KLUIS_ENOTFOUND: the
 * conversation has no vault. */
KLUIS_MUST_CHECK int conversation_attach(
	struct conversation *c, const char *local_path, uint64_t *ret_seq, struct err *e);
/* Into a local file, under that name once it is whole and has the hash that the message names.
 * KLUIS_EVERIFY: the vault has another one; KLUIS_ENOTFOUND: it was removed. */
KLUIS_MUST_CHECK int conversation_fetch(struct conversation *c,
	const struct conversation_file *file, const char *local_path, struct err *e);

#endif
