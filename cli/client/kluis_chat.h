/* libkluis, conversations and the inbox, for whom kluis.h and kluis_account.h have a handle:
 * messages that only the members' devices open, each once, with what a cluster dropped, moved or
 * showed to others alone said beside the message that gives it away; and documents that others
 * leave sealed.
 *
 * Ownership, threads and errors: as kluis.h. A conversation is named by its title or the beginning
 * of its id (hex, at least 6 digits), as kluis_chat_list() shows them; a person's profile is
 * unlocked (kluis_account.h). Times are Unix milliseconds of the cluster's clock. */
#ifndef KLUIS_CHAT_H
#define KLUIS_CHAT_H

#include "kluis.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A conversation with users by their names, who are invited. What is read of it is archived for the
 * devices that come later (kluis_chat_history()). id: 32 hex digits and NUL.
 * KLUIS_PIN_BROKEN: a name is not who it was. */
KLUIS_API int kluis_chat_new(struct kluis *kluis, const char *title, const char *const *users,
	size_t n_users, char ret_id[33], struct kluis_failure *error);

struct kluis_chat {
	const char *id, *title;	  /* title: "" while none was read here. */
	const char *state, *role; /* invited, accepted; read, write, admin */
	uint64_t unread, last, created_ms;
	int unsent; /* A message waits here to be sent. */
};
typedef void kluis_chat_fn(void *arg, const struct kluis_chat *chat);
KLUIS_API int kluis_chat_list(
	struct kluis *kluis, kluis_chat_fn *each, void *arg, struct kluis_failure *error);
KLUIS_API int kluis_chat_accept(struct kluis *kluis, const char *chat, struct kluis_failure *error);
/* Or decline. What this device has of it goes. */
KLUIS_API int kluis_chat_leave(struct kluis *kluis, const char *chat, struct kluis_failure *error);
/* By an admin of it. What is sent from then on is sealed under other keys. */
KLUIS_API int kluis_chat_add(
	struct kluis *kluis, const char *chat, const char *user, struct kluis_failure *error);
KLUIS_API int kluis_chat_remove(
	struct kluis *kluis, const char *chat, const char *user, struct kluis_failure *error);

/* By an admin of it: whether a member reads, writes or manages it, too. Who may only read is not
 * believed to have written, whatever the cluster shows. KLUIS_FORBIDDEN: nobody could manage it. */
KLUIS_API int kluis_chat_set_role(struct kluis *kluis, const char *chat, const char *user,
	enum kluis_role role, struct kluis_failure *error);
/* Makes a member who has accepted it its admin, and this one `keep`: KLUIS_ROLE_READ or
 * KLUIS_ROLE_WRITE; in one step. KLUIS_PRECONDITION: they have not accepted it. */
KLUIS_API int kluis_chat_transfer(struct kluis *kluis, const char *chat, const char *user,
	enum kluis_role keep, struct kluis_failure *error);

struct kluis_chat_member {
	const char *user, *role;
	unsigned char user_id[16];
	int verified; /* Their safety number was compared. */
};
typedef void kluis_chat_member_fn(void *arg, const struct kluis_chat_member *member);
/* By the verified chain of the conversation. */
KLUIS_API int kluis_chat_members(struct kluis *kluis, const char *chat, kluis_chat_member_fn *each,
	void *arg, struct kluis_failure *error);

/* How far a member's device has come, in numbers of messages: as the cluster says. */
struct kluis_chat_receipt {
	const char *user;
	unsigned char user_id[16], device_id[16];
	uint64_t delivered, read;
};
typedef void kluis_chat_receipt_fn(void *arg, const struct kluis_chat_receipt *receipt);
/* Of each device that said so. */
KLUIS_API int kluis_chat_receipts(struct kluis *kluis, const char *chat,
	kluis_chat_receipt_fn *each, void *arg, struct kluis_failure *error);

enum {
	KLUIS_CHAT_TEXT = 1, /* UTF-8. */
	KLUIS_CHAT_CALL = 2,
	KLUIS_CHAT_BYTES_MAX = 65530,
};
/* Text with NUL. It is on the disk before it leaves; what fails with KLUIS_UNREACHABLE,
 * KLUIS_NO_QUORUM, KLUIS_TIMED_OUT or KLUIS_OUTCOME_UNKNOWN goes out with the next call that sends
 * or reads, once: do not send it again. KLUIS_CONFLICT: this profile is an older copy of itself,
 * read first. *ret_seq: its number. */
KLUIS_API int kluis_chat_send(struct kluis *kluis, const char *chat, const char *text,
	uint64_t *ret_seq, struct kluis_failure *error);
/* Any payload; types from 17 on are the program's own. */
KLUIS_API int kluis_chat_send_data(struct kluis *kluis, const char *chat, unsigned type,
	const void *data, size_t len, uint64_t *ret_seq, struct kluis_failure *error);
/* Of an own message that was read here. */
KLUIS_API int kluis_chat_edit(struct kluis *kluis, const char *chat, uint64_t seq, const char *text,
	struct kluis_failure *error);
KLUIS_API int kluis_chat_delete(
	struct kluis *kluis, const char *chat, uint64_t seq, struct kluis_failure *error);
KLUIS_API int kluis_chat_set_title(
	struct kluis *kluis, const char *chat, const char *title, struct kluis_failure *error);

struct kluis_chat_message {
	uint64_t seq, time_ms;
	const char *user, *device;
	const char *kind;    /* text, edit, delete, title, file, call, other; closed: not opened. */
	const char *text;    /* NULL: it has none. */
	const void *payload; /* As it was sent. */
	size_t payload_len;
	unsigned type;
	uint64_t of_seq; /* Of an edit or deletion: number of the message it is about; 0: not known.
			  */
	int mine;
	int not_theirs;	     /* ... which somebody else wrote: it counts for nothing. */
	int device_revoked;  /* By now: that it is from before cannot be proven. */
	uint64_t missing;    /* Numbers before it that are not there any more. */
	int problem_code;    /* 0, or what a program should end with: kluis_exit_code(). */
	const char *problem; /* A sentence for a person; NULL: none. */
};
/* Other than 0 ends the reading: the message counts as not read, and KLUIS_FAILED is returned. */
typedef int kluis_chat_message_fn(void *arg, const struct kluis_chat_message *message);
/* What came since the last time, oldest first. A message counts as read once all that came with it
 * was handed out: after a crash some come again, and seq tells. With `quiet` the others are told
 * that it arrived, not that it was read. KLUIS_NOT_VERIFIED: the cluster shows what no member
 * wrote; nothing of it counts. Also at the end of a reading whose messages count, when what the
 * history has of those that the cluster has no more does not hold: the message behind has how many
 * are missing. */
KLUIS_API int kluis_chat_read(struct kluis *kluis, const char *chat, int quiet,
	kluis_chat_message_fn *each, void *arg, struct kluis_failure *error);
/* The newest `last` messages: those that this device has read before from the history, which
 * counts for nothing, then what is new, as kluis_chat_read() does; a device that has read nothing
 * begins with them. KLUIS_PIN_BROKEN, also of that: the history has another message than was read
 * here. */
KLUIS_API int kluis_chat_read_last(struct kluis *kluis, const char *chat, uint64_t last,
	kluis_chat_message_fn *each, void *arg, struct kluis_failure *error);
/* Whether what is read is archived in a vault of the members, from now on: by an admin of it, or,
 * where there is none yet, by the person who began the conversation, who makes it. What is archived
 * is not forward secret. KLUIS_FORBIDDEN. */
KLUIS_API int kluis_chat_history(
	struct kluis *kluis, const char *chat, int on, struct kluis_failure *error);
/* Puts a local file into the conversation's vault, and sends the message that names it.
 * KLUIS_NOT_FOUND: it has no vault. */
KLUIS_API int kluis_chat_attach(struct kluis *kluis, const char *chat, const char *local_path,
	uint64_t *ret_seq, struct kluis_failure *error);
/* Saves the file that a message of kind "file" names by its payload; it is at local_path once it is
 * whole and has the hash that the message names. KLUIS_NOT_VERIFIED, KLUIS_NOT_FOUND. */
KLUIS_API int kluis_chat_save(struct kluis *kluis, const char *chat, const void *payload,
	size_t payload_len, const char *local_path, struct kluis_failure *error);
/* Waits until something may have come, at most wait_ms. *ret_news: 1, or 0 for the time over. A
 * handle waits for one conversation at a time. */
KLUIS_API int kluis_chat_wait(struct kluis *kluis, const char *chat, unsigned wait_ms,
	int *ret_news, struct kluis_failure *error);

/* Has the devices of the conversation's members notified that message `seq` is there: who is not
 * subscribed is not, and any notification may be lost. */
KLUIS_API int kluis_chat_notify(
	struct kluis *kluis, const char *chat, uint64_t seq, struct kluis_failure *error);

/* What happened to all that is the user's, in order, at least once each: what is named has changed,
 * and how, one asks for it. Strings live until the callback returns. */
struct kluis_event {
	const char *cursor; /* What comes behind it: for `since`, at any site, in any process. */
	const char *type;   /* vault, members, group, conversation, message, receipt, packet, inbox,
			       device, session, keyring, call, others of later versions; resync: look
			       at everything. */
	const char *object; /* 32 hex digits, of the vault, the conversation ...; "" with resync. */
	uint64_t seq;	    /* Of a message its number, of a keyring its revision; else 0. */
	/* Of a call: who says what to the other devices, by the cluster's word. */
	unsigned char user_id[16], device_id[16];
	const void *data;
	size_t data_len;
};
typedef void kluis_event_fn(void *arg, const struct kluis_event *event);
/* Waits at most wait_ms (up to 25 s) for something to happen behind `since`. NULL: `each` is told
 * "resync" at once, whose cursor is where one begins. 0 events are no failure. KLUIS_RESTORED: the
 * cursor is of the cluster before that. */
KLUIS_API int kluis_events(struct kluis *kluis, const char *since, unsigned wait_ms,
	kluis_event_fn *each, void *arg, struct kluis_failure *error);

/* Says something to the other devices of a conversation while a call is set up: 1 to 16,384 bytes,
 * which the program has encrypted (a message of type KLUIS_CHAT_CALL carries a key). It is passed
 * on and kept nowhere; nobody learns whether it came. KLUIS_RATE_LIMITED: 20 a second. */
KLUIS_API int kluis_call_signal(struct kluis *kluis, const char *chat, const void *data, size_t len,
	struct kluis_failure *error);
/* The operator's TURN servers and a credential for them, as RTCIceServer takes them. n_uris 0:
 * there are none. */
struct kluis_call_ice {
	const char *const *uris; /* "turn:turn.example.org:3478?transport=udp" */
	size_t n_uris;
	const char *username, *credential;
	uint64_t ttl_s; /* So long they are good. */
};
typedef void kluis_call_ice_fn(void *arg, const struct kluis_call_ice *ice);
/* take: called once. */
KLUIS_API int kluis_call_ice(
	struct kluis *kluis, kluis_call_ice_fn *take, void *arg, struct kluis_failure *error);

/* What this cluster can notify a device by. vapid: what browsers take as applicationServerKey, 65
 * bytes, or 0: not spoken. */
struct kluis_push_services {
	unsigned char vapid[65];
	size_t vapid_len;
	int fcm, apns;
};
KLUIS_API int kluis_push_services(
	struct kluis *kluis, struct kluis_push_services *ret_services, struct kluis_failure *error);
/* Subscribes this device: a browser's subscription, or a token of Firebase ("fcm") or Apple
 * ("apns"). id: 32 hex digits and NUL. KLUIS_FORBIDDEN: the cluster does not send to that host. */
KLUIS_API int kluis_push_add_web(struct kluis *kluis, const char *endpoint,
	const unsigned char p256dh[65], const unsigned char auth[16], char ret_id[33],
	struct kluis_failure *error);
KLUIS_API int kluis_push_add_token(struct kluis *kluis, const char *kind, const char *token,
	char ret_id[33], struct kluis_failure *error);
struct kluis_push {
	const char *id, *kind; /* web, fcm, apns */
	unsigned char device_id[16];
	uint64_t created_ms;
};
typedef void kluis_push_fn(void *arg, const struct kluis_push *push);
/* Of all the account's devices. */
KLUIS_API int kluis_push_list(
	struct kluis *kluis, kluis_push_fn *each, void *arg, struct kluis_failure *error);
KLUIS_API int kluis_push_remove(struct kluis *kluis, const char *id, struct kluis_failure *error);
/* Opens what a push service brought, without that service's own wrapping. Nothing proves what it
 * says: read the conversation. KLUIS_NOT_VERIFIED: it is not for this device. */
struct kluis_notification {
	char conversation[33];
	uint64_t seq, unix_ms;
};
KLUIS_API int kluis_push_open(struct kluis *kluis, const void *payload, size_t len,
	struct kluis_notification *ret_notification, struct kluis_failure *error);

/* Documents left for the profile's owner. */
struct kluis_document {
	const char *id;		  /* 32 hex digits. */
	const char *sender_class; /* anonymous, provider, user */
	const char *content;	  /* text, mime, other */
	uint64_t time_ms, bytes;
};
typedef void kluis_inbox_fn(void *arg, const struct kluis_document *document);
KLUIS_API int kluis_inbox_list(
	struct kluis *kluis, kluis_inbox_fn *each, void *arg, struct kluis_failure *error);
/* Opens one: its bytes are handed out at once. Who left it is not authenticated. */
KLUIS_API int kluis_inbox_read(struct kluis *kluis, const char *id, kluis_write_fn *write,
	void *arg, struct kluis_failure *error);
KLUIS_API int kluis_inbox_delete(struct kluis *kluis, const char *id, struct kluis_failure *error);
/* Moves one into a vault, as a file at path ("/a/b"): it leaves the inbox with the commit that
 * stores it, so that it is in one of the two at any time. After a failure call it again. */
KLUIS_API int kluis_inbox_take(struct kluis *kluis, const char *id, const char *vault,
	const char *path, struct kluis_failure *error);
/* Leaves something for another user. */
KLUIS_API int kluis_inbox_leave(struct kluis *kluis, const char *user, const void *data, size_t len,
	struct kluis_failure *error);
/* Lets an app or a gateway leave documents: writes its delivery file (0600), which must not be
 * there. label: the cluster can read it. */
KLUIS_API int kluis_inbox_token(struct kluis *kluis, const char *label, uint64_t expires_ms,
	uint64_t documents, const char *delivery_file, struct kluis_failure *error);
/* Who may leave documents that way. */
struct kluis_inbox_token {
	char id[33]; /* 32 hex digits. */
	const char *label;
	uint64_t created_ms, expires_ms, documents; /* So many more. */
};
typedef void kluis_inbox_token_fn(void *arg, const struct kluis_inbox_token *token);
KLUIS_API int kluis_inbox_tokens(
	struct kluis *kluis, kluis_inbox_token_fn *each, void *arg, struct kluis_failure *error);
/* From now on nothing can be left with it. KLUIS_NOT_FOUND. */
KLUIS_API int kluis_inbox_token_end(
	struct kluis *kluis, const char *id, struct kluis_failure *error);
/* By such a file, without any profile. is_mail: what came as it came (MIME); else it is text. The
 * same content again is the same document. */
KLUIS_API int kluis_deliver(const char *delivery_file, int is_mail, const void *data, size_t len,
	struct kluis_failure *error);

#ifdef __cplusplus
}
#endif

#endif
