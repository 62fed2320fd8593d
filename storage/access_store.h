/* What happened to a person's account, for its owner to read: the fields of NEN 7513 (event, time,
 * whose data, who, on whose behalf), each row holding the hash of the one before. */
#ifndef KLUIS_STORAGE_ACCESS_STORE_H
#define KLUIS_STORAGE_ACCESS_STORE_H

#include "storage/kv.h"
#include "storage/txn.h"

/* X(symbol, value, name): values are in rows, append only. */
#define ACCESS_EVENTS(X)                                          \
	X(ACCESS_REGISTERED, 1, "registered")                     \
	X(ACCESS_LOGIN, 2, "login")                               \
	X(ACCESS_LOGIN_FAILED, 3, "login-failed")                 \
	X(ACCESS_SECOND_FACTOR, 4, "second-factor")               \
	X(ACCESS_SECOND_FACTOR_FAILED, 5, "second-factor-failed") \
	X(ACCESS_UNLOCKED, 6, "unlocked")                         \
	X(ACCESS_KEYRING_CHANGED, 7, "keyring-changed")           \
	X(ACCESS_PASSWORD_CHANGED, 8, "password-changed")         \
	X(ACCESS_RECOVERY_STARTED, 9, "recovery-started")         \
	X(ACCESS_RECOVERY_CANCELLED, 10, "recovery-cancelled")    \
	X(ACCESS_RECOVERED, 11, "recovered")                      \
	X(ACCESS_MFA_ADDED, 12, "mfa-added")                      \
	X(ACCESS_MFA_REMOVED, 13, "mfa-removed")                  \
	X(ACCESS_DEVICE_ASKED, 14, "device-asked")                \
	X(ACCESS_DEVICE_ADDED, 15, "device-added")                \
	X(ACCESS_DEVICE_REVOKED, 16, "device-revoked")            \
	X(ACCESS_DEVICE_REFUSED, 17, "device-refused")            \
	X(ACCESS_IDENTITY_CHANGED, 18, "identity-changed")        \
	X(ACCESS_POLICY_CHANGED, 19, "policy-changed")            \
	X(ACCESS_SESSIONS_ENDED, 20, "sessions-ended")            \
	X(ACCESS_VAULT_CREATED, 21, "vault-created")              \
	X(ACCESS_VAULT_DELETED, 22, "vault-deleted")              \
	X(ACCESS_EXPORTED, 23, "exported")                        \
	X(ACCESS_DISABLED, 24, "disabled")                        \
	X(ACCESS_ENABLED, 25, "enabled")                          \
	X(ACCESS_QUOTA_CHANGED, 26, "quota-changed")              \
	X(ACCESS_LOGIN_REFUSED, 27, "login-refused")              \
	X(ACCESS_MFA_RESET, 28, "mfa-reset")                      \
	X(ACCESS_LOG_FULL, 29, "log-full")                        \
	X(ACCESS_INBOX_TOKEN_CREATED, 40, "inbox-token-created")  \
	X(ACCESS_INBOX_TOKEN_ENDED, 41, "inbox-token-ended")      \
	X(ACCESS_MEMBERS_CHANGED, 42, "members-changed")          \
	X(ACCESS_INVITATION_ACCEPTED, 43, "invitation-accepted")  \
	X(ACCESS_INVITATION_DECLINED, 44, "invitation-declined")  \
	X(ACCESS_PAGES_SHARED, 45, "pages-shared")                \
	X(ACCESS_PAGES_UNSHARED, 46, "pages-unshared")
enum access_event {
#define X(symbol, value, name) symbol = value,
	ACCESS_EVENTS(X)
#undef X
};
enum { ACCESS_OBJECT_BYTES_MAX = 32, ACCESS_BEHALF_BYTES_MAX = 64 };

struct access_row {
	uint8_t user_id[16];   /* Whose data. */
	uint64_t seq;	       /* From 1, dense. */
	uint64_t time_ms;      /* Cluster time. */
	uint64_t index;	       /* Raft index. */
	uint8_t event;	       /* enum access_event */
	uint8_t who[16];       /* User id; zero: an operator, or somebody who proved nothing. */
	uint8_t device_id[16]; /* Zero: none. */
	char behalf[ACCESS_BEHALF_BYTES_MAX + 1]; /* On whose behalf, where not the owner's: the
						     operator as the admin API names him. */
	uint8_t object[ACCESS_OBJECT_BYTES_MAX];  /* What it was done to: an id or a hash. */
	uint8_t object_bytes;
	uint8_t prev_hash[32]; /* SHA-256 of the value of the row before; zero for the first. */
};
void access_row_encode(const struct access_row *row, struct buf *to);
KLUIS_MUST_CHECK int access_row_decode(
	struct bytes key, struct bytes value, struct access_row *ret_row, struct err *e);
/* The name of an event, as the API gives it; "?" when unknown. */
const char *access_event_name(unsigned event);
/* Up to max rows with a seq above `after`, ascending. */
KLUIS_MUST_CHECK int access_store_list(const struct kv_view *view, const uint8_t user_id[16],
	uint64_t after, struct access_row *ret_rows, size_t max, size_t *ret_n, struct err *e);
/* Where a user's log stands. */
struct access_state_row {
	uint64_t first,
		last;	     /* Seq of the oldest row kept and of the newest; none: last < first. */
	uint64_t expires_ms; /* Its place in the expiry queue; 0: none. */
	uint64_t day;	     /* Of the newest row, since 1970 in cluster time. */
	uint32_t day_rows;   /* That day's. */
	uint8_t hash[32];    /* Of the newest row's value. */
};
void access_state_row_encode(const struct access_state_row *row, struct buf *to);
KLUIS_MUST_CHECK int access_state_row_decode(
	struct bytes key, struct bytes value, struct access_state_row *ret_row, struct err *e);
KLUIS_MUST_CHECK int access_store_state(const struct kv_view *view, const uint8_t user_id[16],
	struct access_state_row *ret_state, struct err *e);
/* Adds a row behind the last one (seq and prev_hash are set here); beyond ACCESS_ROWS_MAX of the
 * user the oldest goes. So that nobody can push out what he did by doing it again and again, a day
 * has room for ACCESS_DAY_ROWS: what may come often is not kept beyond ACCESS_DAY_ROWS_OFTEN, which
 * a row ACCESS_LOG_FULL says. The user zero is nobody: what failed against names that do not exist,
 * so that it costs the same; his log has the bound of rows alone. */
KLUIS_MUST_CHECK int access_store_add(struct txn *txn, const struct access_row *row, struct err *e);
/* The user's place in the queue is due: deletes the oldest rows that are ACCESS_KEPT_MS old, at
 * most ACCESS_STEP, and puts the place where the next one is due. While purges are on hold (until
 * hold_until_ms) only the place moves. */
enum { ACCESS_STEP = 16 };
KLUIS_MUST_CHECK int access_store_expire(struct txn *txn, const uint8_t user_id[16],
	uint64_t now_ms, uint64_t hold_until_ms, struct err *e);
/* The state and the place in the queue, of a user that is being deleted: nobody adds a row any
 * more; those there are, are the caller's. */
KLUIS_MUST_CHECK int access_store_forget(struct txn *txn, const uint8_t user_id[16], struct err *e);

#endif
