/* Keys of the store: a family byte, then fixed-width big-endian fields, so that memcmp order is the
 * order of the fields. docs/format-storage.md lists every row. */
#ifndef KLUIS_STORAGE_KEY_CODEC_H
#define KLUIS_STORAGE_KEY_CODEC_H

#include "base/buf.h"
#include "storage/kv.h"

/* X(symbol, first byte, name). Families from 0xf0 on are derived and never replicated by name:
 * they are no rows of by_index, of the state hash or of a backup. */
#define KEY_FAMILIES(X)                                   \
	X(KEY_CLUSTER, 0x01, "cluster")                   \
	X(KEY_SNAPSHOT_STATE, 0x02, "snapshot_state")     \
	X(KEY_EXPIRE_STATE, 0x03, "expire_state")         \
	X(KEY_AUDIT_STATE, 0x04, "audit_state")           \
	X(KEY_SERVERS, 0x05, "servers")                   \
	X(KEY_SAMPLES, 0x06, "samples")                   \
	X(KEY_GUARD_STRANGERS, 0x07, "guard_strangers")   \
	X(KEY_POLICY, 0x08, "policy")                     \
	X(KEY_ACCOUNT, 0x10, "account")                   \
	X(KEY_USER, 0x11, "user")                         \
	X(KEY_STATEMENT, 0x12, "statement")               \
	X(KEY_DEVICE, 0x13, "device")                     \
	X(KEY_SESSION, 0x14, "session")                   \
	X(KEY_USER_SESSION, 0x15, "user_session")         \
	X(KEY_PERSON_NAME, 0x16, "person_name")           \
	X(KEY_PERSON, 0x17, "person")                     \
	X(KEY_UNLOCK, 0x18, "unlock")                     \
	X(KEY_KEYRING, 0x19, "keyring")                   \
	X(KEY_MFA, 0x1a, "mfa")                           \
	X(KEY_GUARD, 0x1b, "guard")                       \
	X(KEY_PENDING, 0x1c, "pending")                   \
	X(KEY_RECOVERY, 0x1d, "recovery")                 \
	X(KEY_INVITE, 0x1e, "invite")                     \
	X(KEY_KEYRING_OBJECT, 0x1f, "keyring_object")     \
	X(KEY_VAULT, 0x20, "vault")                       \
	X(KEY_MEMBER, 0x21, "member")                     \
	X(KEY_MEMBER_VAULT, 0x22, "member_vault")         \
	X(KEY_MEMBER_STATEMENT, 0x23, "member_statement") \
	X(KEY_HEAD, 0x24, "head")                         \
	X(KEY_PAGE, 0x25, "page")                         \
	X(KEY_VERSION, 0x26, "version")                   \
	X(KEY_BYTES, 0x27, "bytes")                       \
	X(KEY_REFS, 0x28, "refs")                         \
	X(KEY_STAGED, 0x29, "staged")                     \
	X(KEY_STAGED_USE, 0x2a, "staged_use")             \
	X(KEY_USE, 0x2b, "use")                           \
	X(KEY_VAULT_GROUP, 0x2c, "vault_group")           \
	X(KEY_MEMBER_OF, 0x2d, "member_of")               \
	X(KEY_IDEMPOTENCY, 0x30, "idempotency")           \
	X(KEY_EXPIRY, 0x31, "expiry")                     \
	X(KEY_WORK, 0x32, "work")                         \
	X(KEY_USER_WORK, 0x33, "user_work")               \
	X(KEY_ACCESS_STATE, 0x34, "access_state")         \
	X(KEY_ACCESS, 0x35, "access")                     \
	X(KEY_SNAPSHOT, 0x40, "snapshot")                 \
	X(KEY_CYCLE, 0x41, "cycle")                       \
	X(KEY_NODE, 0x42, "node")                         \
	X(KEY_HASH_REPORT, 0x43, "hash_report")           \
	X(KEY_SERVER, 0x44, "server")                     \
	X(KEY_NODE_POLICY, 0x45, "node_policy")           \
	X(KEY_CHECK, 0x46, "snapshot_check")              \
	X(KEY_NODE_BACKUP, 0x47, "node_backup")           \
	X(KEY_JOURNAL, 0x48, "journal")                   \
	X(KEY_STATE_ROOT, 0x49, "state_root")             \
	X(KEY_LEDGER, 0x50, "ledger")                     \
	X(KEY_AUDIT, 0x51, "audit")                       \
	X(KEY_RESTORE, 0x52, "restore")                   \
	X(KEY_USER_LEDGER, 0x53, "user_ledger")           \
	X(KEY_DEVICE_LEDGER, 0x54, "device_ledger")       \
	X(KEY_MEMBER_LEDGER, 0x55, "member_ledger")       \
	X(KEY_OBJECT, 0x60, "object")                     \
	X(KEY_PACKET, 0x61, "packet")                     \
	X(KEY_CHAT_EPOCH, 0x62, "chat_epoch")             \
	X(KEY_MESSAGE, 0x63, "message")                   \
	X(KEY_CHAT_DEVICE, 0x64, "chat_device")           \
	X(KEY_INBOX, 0x65, "inbox")                       \
	X(KEY_INBOX_BYTES, 0x66, "inbox_bytes")           \
	X(KEY_INBOX_TOKEN, 0x67, "inbox_token")           \
	X(KEY_INBOX_USE, 0x68, "inbox_use")               \
	X(KEY_PUSH, 0x69, "push")                         \
	X(KEY_PAGE_GRANT, 0x6a, "page_grant")             \
	X(KEY_INBOX_TOKEN_OF, 0x6b, "inbox_token_of")     \
	X(KEY_CHAT, 0x6c, "chat")                         \
	X(KEY_PACKET_USE, 0x6e, "packet_use")             \
	X(KEY_POSITION, 0xf0, "position")                 \
	X(KEY_BY_INDEX, 0xf1, "by_index")                 \
	X(KEY_INDEX_OF, 0xf2, "index_of")

enum key_family {
#define X(symbol, value, name) symbol = value,
	KEY_FAMILIES(X)
#undef X
};
enum {
	KEY_DERIVED_FIRST = 0xf0,
	KEY_SLICES = 42,
	KEY_ROW_BYTES_MAX =
		255, /* So that index_of can carry a whole key behind its family byte. */
};

/* A key being put together; no allocation. */
struct row_key {
	uint8_t data[KV_KEY_BYTES_MAX];
	size_t len;
};

struct row_key row_key_begin(enum key_family family);
void row_key_put_u8(struct row_key *key, uint8_t value);
void row_key_put_u32(struct row_key *key, uint32_t value);
void row_key_put_u64(struct row_key *key, uint64_t value);
void row_key_put_id(struct row_key *key, const uint8_t id[16]);
void row_key_put_hash(struct row_key *key, const uint8_t hash[32]);
/* Raw bytes, only as a key's last field (they carry no length). */
void row_key_put_tail(struct row_key *key, struct bytes tail);
struct bytes row_key_bytes(const struct row_key *key);
/* The smallest key that is behind all keys beginning with this one. */
struct row_key row_key_after_prefix(const struct row_key *key);
/* "page", for logs and tools; "?" when unknown. */
const char *row_key_family_name(uint8_t family);
/* Whether a row with this key is replicated data: part of by_index, state hash and backups. */
bool row_key_is_row(struct bytes key);
/* First four bytes of SHA-256(key) mod KEY_SLICES (docs/format-backup.md). */
unsigned row_key_slice(struct bytes key);

#endif
