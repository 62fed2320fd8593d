/* Commands of the state machine as they stand in the log: versioned, exact to the byte
 * (docs/format-commands.md). Pure: no clock, no I/O. */
#ifndef KLUIS_RAFT_COMMAND_H
#define KLUIS_RAFT_COMMAND_H

#include "base/limits.h"
#include "base/wire.h"
#include "raft/command_chat.h"
#include "raft/command_person.h"
#include "raft/command_push.h"
#include "raft/command_sharing.h"
#include "storage/account_store.h"
#include "storage/check_store.h"
#include "storage/cluster_store.h"
#include "storage/server_store.h"
#include "storage/snapshot_store.h"

/* X(symbol, value, name, member of struct command, lowest feature level). Values are in logs:
 * append only. */
#define COMMANDS(X)                                                                     \
	X(COMMAND_CLUSTER_INIT, 1, "cluster_init", cluster_init, 1)                     \
	X(COMMAND_NODE_ANNOUNCE, 2, "node_announce", node_announce, 1)                  \
	X(COMMAND_READONLY, 3, "readonly", readonly, 1)                                 \
	X(COMMAND_TIME_JUMP, 4, "time_jump", time_jump, 1)                              \
	X(COMMAND_HASH_REPORT, 5, "hash_report", hash_report, 1)                        \
	X(COMMAND_EXPIRE, 6, "expire", expire, 1)                                       \
	X(COMMAND_SERVERS_BEGIN, 7, "servers_begin", servers_begin, 2)                  \
	X(COMMAND_SERVER_ADD, 8, "server_add", server_add, 2)                           \
	X(COMMAND_SERVER_WISH, 9, "server_wish", server_wish, 2)                        \
	X(COMMAND_SERVER_WEIGHT, 10, "server_weight", server_weight, 2)                 \
	X(COMMAND_SERVER_FORGET, 11, "server_forget", server_forget, 2)                 \
	X(COMMAND_VOTERS_SET, 12, "voters_set", voters_set, 2)                          \
	X(COMMAND_HASH_ASK, 13, "hash_ask", hash_ask, 2)                                \
	X(COMMAND_BACKUP_ANNOUNCE, 14, "backup_announce", backup_announce, 4)           \
	X(COMMAND_SERVICE_CREATE, 16, "service_create", service_create, 1)              \
	X(COMMAND_SERVICE_ENROL, 17, "service_enrol", service_enrol, 1)                 \
	X(COMMAND_SERVICE_DISABLE, 18, "service_disable", service_disable, 1)           \
	X(COMMAND_SESSION_CREATE, 19, "session_create", session_create, 1)              \
	X(COMMAND_SESSION_END, 20, "session_end", session_end, 1)                       \
	X(COMMAND_IDENTITY_APPEND, 21, "identity_append", identity_append, 1)           \
	X(COMMAND_VAULT_CREATE, 32, "vault_create", vault_create, 1)                    \
	X(COMMAND_VAULT_PATCH, 33, "vault_patch", vault_patch, 1)                       \
	X(COMMAND_VAULT_DELETE, 34, "vault_delete", vault_delete, 1)                    \
	X(COMMAND_STAGE_PAGE, 35, "stage_page", stage_page, 1)                          \
	X(COMMAND_COMMIT, 36, "commit", commit, 1)                                      \
	X(COMMAND_SNAPSHOT_CLAIM, 48, "snapshot_claim", snapshot_claim, 1)              \
	X(COMMAND_SNAPSHOT_RECORD, 49, "snapshot_record", snapshot_record, 1)           \
	X(COMMAND_SNAPSHOT_CONFIRM, 50, "snapshot_confirm", snapshot_confirm, 1)        \
	X(COMMAND_SNAPSHOT_FAIL, 51, "snapshot_fail", snapshot_fail, 1)                 \
	X(COMMAND_SNAPSHOT_PIN, 52, "snapshot_pin", snapshot_pin, 1)                    \
	X(COMMAND_SNAPSHOT_DAMAGE, 53, "snapshot_damage", snapshot_damage, 4)           \
	X(COMMAND_SNAPSHOT_RENEW, 54, "snapshot_renew", snapshot_renew, 4)              \
	X(COMMAND_SNAPSHOT_CHECK, 55, "snapshot_check", snapshot_check, 4)              \
	X(COMMAND_JOURNAL_RECORD, 56, "journal_record", journal_record, 4)              \
	X(COMMAND_JOURNAL_CONFIRM, 57, "journal_confirm", journal_confirm, 4)           \
	X(COMMAND_SNAPSHOT_MARK, 58, "snapshot_mark", snapshot_mark, 4)                 \
	X(COMMAND_STATE_ROOT, 59, "state_root", state_root, 4)                          \
	X(COMMAND_PERSON_REGISTER, 64, "person_register", person_register, 3)           \
	X(COMMAND_PERSON_LOGIN, 65, "person_login", person_login, 3)                    \
	X(COMMAND_LOGIN_FAILED, 66, "login_failed", login_failed, 3)                    \
	X(COMMAND_SESSION_UPGRADE, 67, "session_upgrade", session_upgrade, 3)           \
	X(COMMAND_CODE_FAILED, 68, "code_failed", code_failed, 3)                       \
	X(COMMAND_KEYRING_PUT, 69, "keyring_put", keyring_put, 3)                       \
	X(COMMAND_PASSWORD_CHANGE, 70, "password_change", password_change, 3)           \
	X(COMMAND_RECOVERY_BEGIN, 71, "recovery_begin", recovery_begin, 3)              \
	X(COMMAND_RECOVERY_CANCEL, 72, "recovery_cancel", recovery_cancel, 3)           \
	X(COMMAND_MFA_ADD, 73, "mfa_add", mfa_add, 3)                                   \
	X(COMMAND_MFA_CONFIRM, 74, "mfa_confirm", mfa_confirm, 3)                       \
	X(COMMAND_MFA_REMOVE, 75, "mfa_remove", mfa_remove, 3)                          \
	X(COMMAND_DEVICE_PEND, 76, "device_pend", device_pend, 3)                       \
	X(COMMAND_DEVICE_REFUSE, 77, "device_refuse", device_refuse, 3)                 \
	X(COMMAND_ACCOUNT_DELETE, 78, "account_delete", account_delete, 3)              \
	X(COMMAND_ACCESS_NOTE, 79, "access_note", access_note, 3)                       \
	X(COMMAND_INVITE_CREATE, 80, "invite_create", invite_create, 3)                 \
	X(COMMAND_INVITE_DELETE, 81, "invite_delete", invite_delete, 3)                 \
	X(COMMAND_PERSON_RULE, 82, "person_rule", person_rule, 3)                       \
	X(COMMAND_PERSON_QUOTA, 83, "person_quota", person_quota, 3)                    \
	X(COMMAND_SESSION_DEVICE, 84, "session_device", session_device, 3)              \
	X(COMMAND_POLICY_ANNOUNCE, 85, "policy_announce", policy_announce, 3)           \
	X(COMMAND_MEMBERS_CHANGE, 96, "members_change", members_change, 5)              \
	X(COMMAND_PACKET_SEND, 97, "packet_send", packet_send, 5)                       \
	X(COMMAND_PACKET_ACK, 98, "packet_ack", packet_ack, 5)                          \
	X(COMMAND_MEMBER_ANSWER, 99, "member_answer", member_answer, 5)                 \
	X(COMMAND_CHAT_EPOCH, 100, "chat_epoch", chat_epoch, 5)                         \
	X(COMMAND_MESSAGE_SEND, 101, "message_send", message_send, 5)                   \
	X(COMMAND_RECEIPT, 102, "receipt", receipt, 5)                                  \
	X(COMMAND_INBOX_PUT, 103, "inbox_put", inbox_put, 5)                            \
	X(COMMAND_INBOX_DELETE, 104, "inbox_delete", inbox_delete, 5)                   \
	X(COMMAND_INBOX_TOKEN_CREATE, 105, "inbox_token_create", inbox_token_create, 5) \
	X(COMMAND_INBOX_TOKEN_END, 106, "inbox_token_end", inbox_token_end, 5)          \
	X(COMMAND_COMMIT_CLAIM, 107, "commit_claim", commit_claim, 5)                   \
	X(COMMAND_PUSH_PUT, 108, "push_put", push_put, 5)                               \
	X(COMMAND_PUSH_DELETE, 109, "push_delete", push_delete, 5)                      \
	X(COMMAND_OBJECT_DELETE, 110, "object_delete", object_delete, 5)                \
	X(COMMAND_PAGES_UNSHARE, 111, "pages_unshare", pages_unshare, 5)

enum command_type {
#define X(symbol, value, name, member, level) symbol = value,
	COMMANDS(X)
#undef X
};

enum {
	COMMAND_VERSION = 1,
	FEATURE_LEVEL = 6,	     /* The newest that this binary can apply. */
	FEATURE_LEVEL_MEMBERS = 2,   /* From which on members change. */
	FEATURE_LEVEL_DELETIONS = 3, /* ... deletions pass while new writes are refused. */
	FEATURE_LEVEL_PERSONS = 3,   /* ... persons may register. */
	FEATURE_LEVEL_SCHEDULE = 4,  /* ... cycles are taken by themselves. */
	FEATURE_LEVEL_CHECKS = 4,    /* ... checks of snapshots are written down, and nodes tell
					their [backup] settings. */
	FEATURE_LEVEL_DAMAGE = 4,    /* ... snapshots are said to be damaged. */
	FEATURE_LEVEL_REVOKED = 4,   /* ... revocations of devices are kept in a ledger. */
	FEATURE_LEVEL_JOURNAL = 4,   /* ... journal increments are taken. */
	FEATURE_LEVEL_RELAY = 5,     /* ... nodes pass on what clients say to each other. */
	FEATURE_LEVEL_ROOTS = 4,     /* ... all nodes make the state root of a snapshot. */
	FEATURE_LEVEL_SHARING = 5,   /* ... vaults, groups and conversations have members. */
	FEATURE_LEVEL_VOUCHED = 5,   /* ... a revocation answers for the device's last heads, */
	FEATURE_LEVEL_CHANGED = 6,   /* ... and for its last changes of members. */
	FEATURE_LEVEL_PARTS = 6,     /* ... and its rows may take more than one statement. */
	FEATURE_LEVEL_PINS = 6,	     /* ... only so many snapshots are pinned. */
	FEATURE_LEVEL_CHAT_KEYS = 6, /* ... an epoch's KeyPackets wait as long as its messages. */
	FEATURE_LEVEL_DISOWNED = 6,  /* ... no taker says that the log disowned its snapshot. */
	COMMAND_BYTES_MAX = ENTRY_BYTES_MAX - 64,
	COMMAND_ACTOR_BYTES_MAX = 64,
	IDEMPOTENCY_KEY_BYTES_MAX = 128,
	EXPIRE_ROWS_MAX = 512, /* Of one expire command. */
	TIME_READINGS_MAX = SITES_MAX,
	TIME_AGREE_MS = 30000,
	ENROL_TOKEN_MS = 3600 * 1000,
	SESSION_MS_MAX = 24 * 86400 * 1000, /* 24 days: below 2^31 ms. */
	FRESH_LOGIN_MS = 5 * 60 * 1000,	    /* What destroys an account needs so young a session. */
	RECOVERED_MS = 24 * 3600 * 1000,    /* After a recovery: to enrol a device without one. */
};

struct command_cluster_init {
	uint8_t cluster_id[16], lineage[16];
	uint8_t n_nodes; /* 1 .. SITES_MAX, ids strictly ascending. */
	uint64_t node[SITES_MAX];
};
/* A node speaks of itself, whenever one of these changed and at every start. */
struct command_node_announce {
	uint64_t node;
	uint32_t feature_level; /* At least 1. */
	struct bytes site, version, api, link, ssh;
	struct bytes ssh_host_key; /* At most NODE_KEY_BYTES_MAX, may be empty. */
	uint8_t backup_key[32];
};
struct command_readonly {
	uint64_t node; /* 0: the whole cluster, by an operator. */
	bool on;
	struct bytes actor;
};
/* Wall clocks as the proposing leader last heard them. */
struct command_time_jump {
	uint8_t n_readings;
	struct time_reading {
		uint64_t node, wall_ms;
	} reading[TIME_READINGS_MAX]; /* Nodes strictly ascending. */
};
struct command_hash_report {
	uint64_t node, index;
	uint8_t hash[32];
};
/* A node in quarantine, which was rebuilt since, asks everybody to report as of this entry. */
struct command_hash_ask {
	uint64_t node;
};
/* What a node's settings say of backups, whenever that changed. */
struct command_backup_announce {
	uint64_t node;
	uint8_t copies; /* 0: it takes part in none, and the rest counts for nothing. */
	uint64_t interval_s, offset_s, keep_s;
	bool drills; /* It was given the private backup key. */
};
struct command_expire {
	uint32_t max_rows; /* 1 .. EXPIRE_ROWS_MAX */
};

/* The first members, as the leader has pinned them: once, before any change. */
struct command_servers_begin {
	uint8_t voters;	   /* VOTERS_MIN .. VOTERS_MAX: how many are wanted. */
	uint8_t n_servers; /* 1 .. SITES_MAX */
	struct server_first {
		uint64_t id;
		uint8_t incarnation[SERVER_INCARNATION_BYTES];
	} server[SITES_MAX]; /* Ids strictly ascending. */
};
struct command_server_add {
	uint64_t id;
	uint8_t incarnation[SERVER_INCARNATION_BYTES];
	uint32_t weight;
	uint64_t replaces; /* That one is to go once this one has all data; 0: none. */
	struct bytes site, address, actor;
};
struct command_server_wish {
	uint64_t id;
	uint8_t wish; /* enum server_wish */
	struct bytes actor;
};
struct command_server_weight {
	uint64_t id;
	uint32_t weight;
	struct bytes actor;
};
/* By the leader: one that was to go is in no configuration any more. */
struct command_server_forget {
	uint64_t id;
};
struct command_voters_set {
	uint8_t voters;
	struct bytes actor;
};

struct command_service_create {
	struct bytes actor, name;
	uint8_t enrol_hash[32]; /* SHA-256 of the token. */
	struct command_once once;
};
struct command_service_enrol {
	struct bytes name;
	uint8_t enrol_hash[32];
	struct bytes identity, device; /* Statements; signatures and proof were checked on entry. */
};
struct command_service_disable {
	struct bytes actor, name;
};
/* Of a service account: KLUIS_EUNAUTHENTICATED for a person. */
struct command_session_create {
	uint8_t user_id[16], device_id[16], token_hash[32];
	uint8_t level;
	uint32_t ttl_ms; /* 1 .. SESSION_MS_MAX */
};
enum { SESSION_END_ONE = 0, SESSION_END_OTHERS = 1, SESSION_END_ALL = 2 };
struct command_session_end {
	struct command_session session;
	uint8_t which;
	uint8_t session_id[16]; /* For SESSION_END_ONE; else zero. */
};
struct command_identity_append {
	struct command_session session;
	struct bytes statement; /* Its signature was checked on entry. */
};

struct command_vault_create {
	struct command_session session;
	struct command_once once;
	struct bytes create, head, label;
};
struct command_vault_patch {
	struct command_session session;
	uint8_t vault_id[16];
	uint64_t revision; /* The one that If-Match named. */
	struct bytes label;
};
struct command_vault_delete {
	struct command_session session;
	uint8_t vault_id[16];
	uint64_t revision;
};
struct command_stage_page {
	struct command_session session;
	uint8_t vault_id[16], hash[32];
	struct bytes page;
};
enum { COMMIT_INLINE = 0, COMMIT_STAGED = 1 };
/* An entry as in the body of POST .../commits: u64 page_no | u64 revision | u8 how | lp32 bytes. */
struct commit_entry {
	uint64_t page_no, revision;
	uint8_t how;
	struct bytes bytes; /* The page, or the 32 bytes of its SHA-256. */
};
struct command_commit {
	struct command_session session;
	uint8_t vault_id[16];
	bool purge;
	struct bytes head;    /* With signature. */
	struct bytes entries; /* To be walked by commit_entry_next(). */
	uint32_t n_entries;   /* Set by command_decode(), ignored by command_encode(). */
};
/* A commit by which documents of the session user's own inbox became pages: they go with it, all of
 * them or nothing happens (KLUIS_ENOTFOUND). The identical head again claims nothing anew. */
struct command_commit_claim {
	struct command_commit commit;
	struct bytes docs; /* As in inbox_delete. */
};

struct command_snapshot_claim {
	uint64_t node;
	uint8_t kind;	    /* SNAPSHOT_INCREMENT (made a full one where it must be) or _MANUAL. */
	uint64_t slot;	    /* Unix ms of the cycle; 0 for a manual one. */
	uint32_t ttl_ms;    /* Others may take over after that. */
	struct bytes actor; /* Empty, or the operator. */
	struct command_once once; /* Manual ones. */
};
/* The taker of a cycle is alive: its claim lasts for ttl_ms from now on. */
struct command_snapshot_renew {
	uint64_t id, node;
	uint32_t ttl_ms;
	uint64_t index; /* S, once its checkpoint is made; else 0. */
};
struct command_snapshot_record {
	uint64_t id, node, index, term, objects, bytes;
	uint8_t manifest_hash[32], state_root[32];
};
struct command_snapshot_confirm {
	uint64_t id, node; /* node: the receiving site's. */
	uint8_t manifest_hash[32];
	uint8_t needed; /* k: from the setting, 1 .. SITES_MAX. */
};
struct command_snapshot_fail {
	uint64_t id, node;
	struct bytes error;
};
/* A site found its copy damaged, and it does not count until the site confirms it anew; or, with no
 * text, that the taker's own is whole again. */
struct command_snapshot_damage {
	uint64_t id, node;
	uint8_t manifest_hash[32];
	struct bytes error;
};
struct command_snapshot_pin {
	uint64_t id;
	bool on;
	struct bytes actor;
};

/* A site has checked a snapshot: backup/verify.h, or a drill. */
struct command_snapshot_check {
	uint64_t id, node;
	uint8_t level; /* 1 .. CHECK_LEVEL_DRILL. */
	bool ok;
	struct bytes text; /* What is wrong. */
};

/* The next journal increment of the newest confirmed cycle: backup/journal.h. */
struct command_journal_record {
	uint64_t base_id;     /* Of that cycle's snapshot. */
	uint32_t number;      /* One more than the last one's. */
	uint64_t node;	      /* Who took it. */
	uint64_t index, term; /* S */
	uint64_t time_ms;     /* Cluster time of S. */
	uint8_t manifest_hash[32];
};
/* A site holds it, and what it is built on. */
struct command_journal_confirm {
	uint64_t base_id;
	uint32_t number;
	uint64_t node; /* The receiving site's. */
	uint8_t manifest_hash[32];
	uint8_t needed; /* As in snapshot_confirm. */
};

/* This entry's index is the S of the snapshot: its taker takes the checkpoint there, and every
 * node makes the state root there. */
struct command_snapshot_mark {
	uint64_t id, node;
	uint64_t after; /* The S that it had until now, so that a retry marks once; 0: none. */
};
/* What a node made of it. */
struct command_state_root {
	uint64_t id, node, index; /* The snapshot, and its S. */
	uint8_t root[32];
};

/* One command; runs of bytes point into what was decoded (or is to be encoded). */
struct command {
	enum command_type type;
	union {
#define X(symbol, value, name, member, level) struct command_##member member;
		COMMANDS(X)
#undef X
	};
};

/* Appends `u8 version | u8 type | body`. Asserts on lengths beyond the limits: the caller checked
 * them when it read the request. Any thread. */
void command_encode(const struct command *command, struct buf *to);
/* KLUIS_EVERSION: a version or type this binary does not know (a node must stop); KLUIS_EINVAL: of
 * a known one, but malformed, too long or with bytes left (refused, the same on all nodes). */
KLUIS_MUST_CHECK int command_decode(struct bytes bytes, struct command *ret_command, struct err *e);
const char *command_name(unsigned type); /* "commit"; "?" when unknown. */
/* Takes the next entry off *entries. False at the end and on malformed bytes: then *entries is not
 * empty. */
bool commit_entry_next(struct bytes *entries, struct commit_entry *ret_entry);
void commit_entry_append(struct buf *entries, const struct commit_entry *entry);
/* Checks order, forms and limits of all entries; KLUIS_EINVAL, KLUIS_ETOOLARGE. */
KLUIS_MUST_CHECK int commit_entries_check(struct bytes entries, uint32_t *ret_n, struct err *e);
/* Whether such entries, which are some and not more than valid, only remove pages: what passes
 * while new writes are refused, for that is how room is made. */
bool commit_only_tombstones(struct bytes entries);
/* Whether a command passes while the disk is low: what makes room, keeps the cluster going, lets
 * people in, or shuts somebody out. None of them leaves more than small rows. */
bool command_passes_floor(const struct command *command);
/* A deletion with the pages that list what is left: at least one tombstone, and at most max bytes
 * of pages inline. */
bool commit_is_deletion(struct bytes entries, size_t max);

/* What a command answers when it succeeds, in one form for all (unused fields zero):
 * service_create: number = expires_ms of the token. service_enrol: id user, second_id device.
 * session_create: id session, number expires_ms. vault_create: id vault, number seq, hash
 * head_hash. vault_patch: number new revision. commit: number seq, hash head_hash.
 * snapshot_claim: number = snapshot id. identity_append: number = chain seq, hash statement hash.
 * expire: number = rows dropped. members_change: id of the first object, number members_rev, hash
 * members_hash, command_reply_epoch(). Persons: raft/command_person.h; a session's level stands in
 * hash[0], session_create's, too. */
struct command_reply {
	uint8_t id[16], second_id[16];
	uint64_t number;
	uint8_t hash[32];
};
/* Of a commit of one page, kept in both ids: the page's SHA-256. Zero when the head was stored
 * before, whatever came with it. */
void command_reply_set_page_hash(struct command_reply *reply, const uint8_t hash[32]);
void command_reply_page_hash(const struct command_reply *reply, uint8_t ret_hash[32]);
/* Of a members_change, kept in second_id: the epoch of the first object. */
void command_reply_set_epoch(struct command_reply *reply, uint32_t epoch);
uint32_t command_reply_epoch(const struct command_reply *reply);
/* Of message_send, kept in second_id: when the message was taken, cluster time. */
void command_reply_set_message_ms(struct command_reply *reply, uint64_t time_ms);
uint64_t command_reply_message_ms(const struct command_reply *reply);
enum { COMMAND_REPLY_BYTES = 1 + 16 + 16 + 8 + 32 };
void command_reply_encode(const struct command_reply *reply, struct buf *to);
KLUIS_MUST_CHECK int command_reply_decode(struct bytes bytes, struct command_reply *ret_reply);

/* The data of a raft entry of type ENTRY_COMMAND:
 * u8 1 | u64 cluster_time_ms | u16 n | n x { u64 origin | u64 boot nonce | u64 seq | lp32 command
 * }.
 */
struct payload_item {
	uint64_t origin, nonce, seq; /* Whose waiter it completes. */
	struct bytes command;
};
enum { PAYLOAD_HEAD_BYTES = 1 + 8 + 2, PAYLOAD_ITEM_BYTES = 3 * 8 + 4, PAYLOAD_ITEMS_MAX = 65535 };
/* An empty payload; then payload_add() at most PAYLOAD_ITEMS_MAX times. The whole stays within
 * ENTRY_BYTES_MAX: the caller's bound. */
void payload_begin(struct buf *payload, uint64_t cluster_time_ms);
void payload_add(struct buf *payload, const struct payload_item *item);
struct payload {
	uint64_t cluster_time_ms;
	uint16_t n;
	struct wire rest;
};
/* KLUIS_EVERSION, KLUIS_EINVAL. Checks the whole, so that payload_next() cannot fail. */
KLUIS_MUST_CHECK int payload_decode(struct bytes bytes, struct payload *ret_payload);
bool payload_next(struct payload *payload, struct payload_item *ret_item);

#endif
