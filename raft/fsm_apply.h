/* One command being applied. Only for raft/fsm*.c: each handler checks everything, then writes;
 * what it wrote is undone when it refuses. */
#ifndef KLUIS_RAFT_FSM_APPLY_H
#define KLUIS_RAFT_FSM_APPLY_H

#include "crypto/keyring.h"
#include "raft/fsm.h"
#include "storage/report_store.h"
#include "storage/session_store.h"
#include "storage/txn.h"

struct apply {
	struct txn *txn;
	const struct kv_view *view; /* Of txn. */
	struct err *e;
	uint64_t index;
	uint64_t now_ms;	    /* Cluster time at this entry. */
	struct cluster_row cluster; /* As before this command. */
	bool read_only;		    /* New writes are refused. */
	struct command_reply reply; /* Zeroed before; sent when 0 is returned. */
	uint64_t report_at;   /* All nodes are to report their state as of this entry; 0: no. */
	struct fsm_mark mark; /* This entry is the S of a snapshot. */
	/* Set when a stored answer is given again. */
	bool replayed;
};

/* Each returns 0, a refusal, or an error that must end the process (apply_is_fatal()). */
#define X(symbol, value, name, member, level) \
	int apply_##member(struct apply *a, const struct command_##member *c);
COMMANDS(X)
#undef X

/* Never a refusal: the store failed, or holds what we cannot have written. */
bool apply_is_fatal(int rc);
/* All nodes know persons: what is stricter since then is held from then on, for a node of an
 * earlier version among the others must come to the same state. */
bool apply_knows_persons(const struct apply *a);
/* A malformed page, head or statement as a refusal: KLUIS_EVERSION is for commands alone. */
int apply_refusal(int rc);
/* The session, of full level, at this entry's time: KLUIS_EMFA while its second factor is
 * outstanding, KLUIS_EFORBIDDEN for a recovery's. */
int apply_session(
	struct apply *a, const struct command_session *session, struct session_row *ret_session);
/* ... and of an enrolled device: what is signed, or destroys, is a device's to ask for. */
int apply_device_session(
	struct apply *a, const struct command_session *session, struct session_row *ret_session);
/* ... of a login of the last FRESH_LOGIN_MS (its second factor was given in the same few minutes),
 * of a device; of none when no device is left. For what shuts others out: a token that was found
 * somewhere is worth nothing here. KLUIS_EFORBIDDEN. */
int apply_fresh_session(
	struct apply *a, const struct command_session *session, struct session_row *ret_session);
/* KLUIS_EREADONLY while new writes are refused. */
int apply_writable(struct apply *a);

/* Idempotency: before the command. 0 with a->replayed: the stored answer is in a->reply and there
 * is nothing more to do. */
int apply_once_begin(
	struct apply *a, struct bytes principal, unsigned route, const struct command_once *once);
/* After it succeeded. secret: the answer to the client carries a token and is not kept. */
void apply_once_end(struct apply *a, struct bytes principal, unsigned route,
	const struct command_once *once, bool secret);

/* What all members reported as of one index. */
struct apply_reports {
	struct report_row row[SITES_MAX]; /* Ascending by node. */
	size_t n;
	struct node_row node[SITES_MAX];
	size_t n_nodes;
};
/* Takes the report of a member of what is applied already; the lowest of more than `kept` indexes
 * go. KLUIS_ENOTFOUND, KLUIS_EINVAL, KLUIS_EGONE. */
int apply_report(struct apply *a, enum key_family family, const struct report_row *row, size_t kept,
	struct apply_reports *ret_all);
/* The taker's own root, as its record says it: held against the others'. */
int apply_root_of_taker(struct apply *a, const struct snapshot_row *row);

/* Claims keep what is left of their time when the cluster's time jumps by ahead_ms. */
int apply_hold_claims(struct apply *a, uint64_t ahead_ms);

int apply_audit(struct apply *a, enum command_type action, struct bytes actor, struct bytes object);
/* As apply_audit(), by a user and not by an operator: bounded each day. */
int apply_audit_user(
	struct apply *a, enum command_type action, const uint8_t user_id[16], struct bytes object);
/* A row of the access log of the session's own user, by it; nothing for a service account. */
int apply_access(struct apply *a, const struct session_row *session, enum access_event event,
	struct bytes object);
/* A row of a person's access log; who and device are set by the caller, time and index here. */
int apply_access_row(struct apply *a, const struct access_row *row);
/* Ends all sessions of a user, but that of `keep` (NULL: none) and, if device is given, only those
 * of that device. */
int apply_end_sessions(
	struct apply *a, const uint8_t user_id[16], const uint8_t *keep, const uint8_t *device);
/* One of them. A recovery that is under way ends with its session, and with it its clock. */
int apply_end_session(struct apply *a, const struct session_row *row);
/* The rows that go with one session. */
void apply_delete_session(struct apply *a, const struct session_row *row);
void apply_put_session(struct apply *a, const struct session_row *row);
/* A new session of this user and device (zero: none), of *wanted's level and expiry, sooner if it
 * waits for a second factor; or the token's row, if it is there already and says the same. Others
 * of the user make room. a->reply is set. KLUIS_EEXIST. */
int apply_open_session(struct apply *a, const struct session_row *wanted);
/* Whether a login of this user needs a second factor. */
int apply_needs_factor(struct apply *a, const uint8_t user_id[16], bool *ret_needed);
/* A name as text. */
void apply_name(struct bytes name, char to[ACCOUNT_NAME_BYTES_MAX + 1]);

/* The first two statements of an identity. */
struct identity_birth {
	struct statement genesis, add; /* Point into the command. */
	struct device_row device;
};
/* Genesis of that name and device-add, of one chain. KLUIS_EINVAL. */
int apply_birth_parse(struct apply *a, const char *name, struct bytes identity, struct bytes device,
	struct identity_birth *ret_birth);
/* Whether the user was born by these statements. KLUIS_ECORRUPT when there is no such user. */
int apply_birth_is(struct apply *a, const uint8_t user_id[16], const struct identity_birth *birth,
	bool *ret_same);
/* User, statements and device. KLUIS_EEXIST: the user id is taken. */
int apply_birth_write(struct apply *a, const char *name, struct identity_birth *birth,
	struct bytes identity, struct bytes device);
/* The device of a device-add statement; false when its body is malformed. */
bool apply_statement_device(
	const struct apply *a, const struct statement *s, struct device_row *ret_row);
/* Statements 8 and 5 of a user's chain: the rows of a revocation that one statement has no room
 * for, and the revocation (raft/fsm_revoke.c). KLUIS_EINVAL; KLUIS_ENOTFOUND: no such device;
 * KLUIS_EPRECONDITION: it is silent on what the device signed. */
int apply_device_vouch(struct apply *a, const struct statement *s);
int apply_device_revoke(struct apply *a, const struct statement *s);
/* A statement of the session's user; *s points into it. KLUIS_EFORBIDDEN of another. */
int apply_own_statement(struct apply *a, const struct session_row *session, struct bytes encoded,
	struct statement *ret_s);

/* Credentials against form and floors, and against the keyring that comes with them: its slots of
 * type 1 and 4 are those of the shares, one of type 1 and one of type 2. KLUIS_EINVAL,
 * KLUIS_ESUITE.
 */
int apply_check_credentials(
	struct apply *a, const struct command_credentials *c, const struct keyring_view *keyring);
/* Into the person's row (put by the caller) and its share rows, the old ones going. */
int apply_put_credentials(
	struct apply *a, const struct command_credentials *c, struct person_row *person);
/* The next keyring of the person (the row is put by the caller); the oldest goes. */
int apply_put_keyring(
	struct apply *a, const struct keyring_view *keyring, struct person_row *person);
/* Ends the person's account (deletion_person()) and sessions. */
int apply_delete_person(struct apply *a, const uint8_t user_id[16]);
/* A number of a factor of the session's user is spent; KLUIS_ERATE (guard; an assertion, which
 * nobody guesses, has none), KLUIS_EUNAUTHENTICATED (spent), KLUIS_ENOTFOUND (none that counts,
 * unless `pending` asks for one that does not yet, and has not expired). */
int apply_spend(struct apply *a, const struct session_row *session, const uint8_t mfa_id[16],
	uint64_t number, bool pending, struct mfa_row *ret_row);
/* Takes these documents (ids of 16 bytes) out of the inbox: all, or KLUIS_ENOTFOUND. */
int apply_claim(struct apply *a, const uint8_t owner[16], struct bytes docs);
/* Whether the user has a device that is not revoked. */
int apply_has_device(struct apply *a, const uint8_t user_id[16], bool *ret_any);

/* Jumps and announcements: the lowest feature level of all nodes. */
int apply_nodes(struct apply *a, struct node_row nodes[SITES_MAX], size_t *ret_n);

#endif
