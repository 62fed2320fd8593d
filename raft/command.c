#include "raft/command.h"

#include <assert.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/identity.h"
#include "crypto/page.h"
#include "raft/command_body.h"

const char *command_name(unsigned type)
{
	switch (type) {
#define X(symbol, value, name, member, level) \
	case symbol:                          \
		return name;
		COMMANDS(X)
#undef X
	default:
		return "?";
	}
}

/* Reads or writes the body, by what codec is. False: no command of this type is known. */
static bool command_body(struct codec *codec, struct command *command)
{
	switch (command->type) {
#define X(symbol, value, name, member, level)           \
	case symbol:                                    \
		body_##member(codec, &command->member); \
		return true;
		COMMANDS(X)
#undef X
	default:
		return false;
	}
}

void command_encode(const struct command *command, struct buf *to)
{
	struct command copy = *command;
	struct codec codec = {.out = to};
	size_t before = to->len;
	bool known;

	buf_put_u8(to, COMMAND_VERSION);
	buf_put_u8(to, (unsigned)command->type);
	known = command_body(&codec, &copy);
	assert(known && to->len - before <= COMMAND_BYTES_MAX);
	(void)known;
	(void)before;
}

int command_decode(struct bytes bytes, struct command *ret_command, struct err *e)
{
	struct codec codec = {.in = wire_of(bytes)};
	struct command command;
	unsigned version = wire_u8(&codec.in);

	if (bytes.len < 2 || bytes.len > COMMAND_BYTES_MAX) {
		return err_set(e, KLUIS_EINVAL, "command of %zu bytes", bytes.len);
	}
	if (version != COMMAND_VERSION) {
		return err_set(e, KLUIS_EVERSION, "command of version %u", version);
	}
	memset(&command, 0, sizeof command);
	command.type = (enum command_type)wire_u8(&codec.in);
	if (!command_body(&codec, &command)) {
		return err_set(
			e, KLUIS_EVERSION, "command of unknown type %u", (unsigned)command.type);
	}
	if (!wire_end(&codec.in)) {
		return err_set(e, KLUIS_EINVAL, "malformed command '%s'",
			command_name((unsigned)command.type));
	}
	*ret_command = command;
	return 0;
}

bool commit_entry_next(struct bytes *entries, struct commit_entry *ret_entry)
{
	struct wire w = wire_of(*entries);
	struct commit_entry entry;

	entry.page_no = wire_u64(&w);
	entry.revision = wire_u64(&w);
	entry.how = wire_u8(&w);
	entry.bytes = wire_lp32(&w, PAGE_BYTES_MAX);
	if (!wire_ok(&w) || entry.how > COMMIT_STAGED ||
		(entry.how == COMMIT_STAGED && entry.bytes.len != HASH_BYTES)) {
		return false;
	}
	*entries = wire_rest(&w);
	*ret_entry = entry;
	return true;
}

void commit_entry_append(struct buf *entries, const struct commit_entry *entry)
{
	buf_put_u64(entries, entry->page_no);
	buf_put_u64(entries, entry->revision);
	buf_put_u8(entries, entry->how);
	buf_put_lp32(entries, entry->bytes);
}

int commit_entries_check(struct bytes entries, uint32_t *ret_n, struct err *e)
{
	struct commit_entry entry;
	uint64_t last = 0;
	size_t inline_bytes = 0;
	uint32_t n = 0;

	for (; commit_entry_next(&entries, &entry); last = entry.page_no) {
		if (n > 0 && entry.page_no <= last) {
			return err_set(e, KLUIS_EINVAL, "pages of a commit must ascend");
		}
		inline_bytes += entry.how == COMMIT_INLINE ? entry.bytes.len : 0;
		if (++n > COMMIT_ENTRIES_MAX || inline_bytes > COMMIT_INLINE_BYTES_MAX) {
			return err_set(e, KLUIS_ETOOLARGE, "commit of too many pages or bytes");
		}
	}
	if (entries.len > 0) {
		return err_set(e, KLUIS_EINVAL, "malformed entry %u of a commit", n);
	}
	*ret_n = n;
	return 0;
}

bool commit_only_tombstones(struct bytes entries)
{
	struct commit_entry entry;
	bool only = entries.len > 0;

	while (commit_entry_next(&entries, &entry)) {
		only &= entry.how == COMMIT_INLINE && entry.bytes.len == PAGE_TOMBSTONE_BYTES;
	}
	return only;
}

static bool command_revokes(struct bytes statement)
{
	struct statement s;

	return statement_parse(CHAIN_IDENTITY, statement, &s, NULL) == 0 &&
	       (s.type == IDENTITY_DEVICE_REVOKE || s.type == IDENTITY_DEVICE_VOUCH);
}

bool command_passes_floor(const struct command *command)
{
	switch (command->type) {
	case COMMAND_COMMIT:
		return commit_only_tombstones(command->commit.entries);
	case COMMAND_COMMIT_CLAIM:
		return commit_only_tombstones(command->commit_claim.commit.entries);
	case COMMAND_IDENTITY_APPEND:
		return command_revokes(command->identity_append.statement);
	case COMMAND_MEMBERS_CHANGE:
		return members_only_remove(command->members_change.sections);
	case COMMAND_PACKET_SEND:
	case COMMAND_SERVICE_CREATE:
	case COMMAND_SERVICE_ENROL:
	case COMMAND_VAULT_CREATE:
	case COMMAND_VAULT_PATCH:
	case COMMAND_STAGE_PAGE:
	case COMMAND_PERSON_REGISTER:
	case COMMAND_KEYRING_PUT:
	case COMMAND_PASSWORD_CHANGE:
	case COMMAND_MFA_ADD:
	case COMMAND_DEVICE_PEND:
	case COMMAND_INVITE_CREATE:
	case COMMAND_CHAT_EPOCH:
	case COMMAND_MESSAGE_SEND:
	case COMMAND_INBOX_PUT:
	case COMMAND_INBOX_TOKEN_CREATE:
	case COMMAND_PUSH_PUT:
		return false;
	case COMMAND_CLUSTER_INIT:
	case COMMAND_NODE_ANNOUNCE:
	case COMMAND_READONLY:
	case COMMAND_TIME_JUMP:
	case COMMAND_HASH_REPORT:
	case COMMAND_HASH_ASK:
	case COMMAND_BACKUP_ANNOUNCE:
	case COMMAND_EXPIRE:
	case COMMAND_SERVERS_BEGIN:
	case COMMAND_SERVER_ADD:
	case COMMAND_SERVER_WISH:
	case COMMAND_SERVER_WEIGHT:
	case COMMAND_SERVER_FORGET:
	case COMMAND_VOTERS_SET:
	case COMMAND_SERVICE_DISABLE:
	case COMMAND_SESSION_CREATE:
	case COMMAND_SESSION_END:
	case COMMAND_VAULT_DELETE:
	case COMMAND_SNAPSHOT_CLAIM:
	case COMMAND_SNAPSHOT_RECORD:
	case COMMAND_SNAPSHOT_CONFIRM:
	case COMMAND_SNAPSHOT_FAIL:
	case COMMAND_SNAPSHOT_DAMAGE:
	case COMMAND_SNAPSHOT_PIN:
	case COMMAND_SNAPSHOT_RENEW:
	case COMMAND_SNAPSHOT_CHECK:
	case COMMAND_JOURNAL_RECORD:
	case COMMAND_JOURNAL_CONFIRM:
	case COMMAND_SNAPSHOT_MARK:
	case COMMAND_STATE_ROOT:
	case COMMAND_PERSON_LOGIN:
	case COMMAND_LOGIN_FAILED:
	case COMMAND_SESSION_UPGRADE:
	case COMMAND_CODE_FAILED:
	case COMMAND_RECOVERY_BEGIN:
	case COMMAND_RECOVERY_CANCEL:
	case COMMAND_MFA_CONFIRM:
	case COMMAND_MFA_REMOVE:
	case COMMAND_DEVICE_REFUSE:
	case COMMAND_ACCOUNT_DELETE:
	case COMMAND_ACCESS_NOTE:
	case COMMAND_INVITE_DELETE:
	case COMMAND_PERSON_RULE:
	case COMMAND_PERSON_QUOTA:
	case COMMAND_POLICY_ANNOUNCE:
	case COMMAND_SESSION_DEVICE:
	case COMMAND_INBOX_DELETE:
	case COMMAND_INBOX_TOKEN_END:
	case COMMAND_PUSH_DELETE:
	case COMMAND_PACKET_ACK:
	case COMMAND_MEMBER_ANSWER:
	case COMMAND_OBJECT_DELETE:
	case COMMAND_RECEIPT:
	case COMMAND_PAGES_UNSHARE:
		return true;
	}
	return false;
}

bool commit_is_deletion(struct bytes entries, size_t max)
{
	struct commit_entry entry;
	unsigned tombstones = 0;
	size_t bytes = 0;

	while (commit_entry_next(&entries, &entry)) {
		if (entry.how != COMMIT_INLINE) {
			return false;
		}
		if (entry.bytes.len == PAGE_TOMBSTONE_BYTES) {
			tombstones++;
		} else {
			bytes += entry.bytes.len;
		}
	}
	return tombstones > 0 && bytes <= max;
}

void command_reply_set_page_hash(struct command_reply *reply, const uint8_t hash[32])
{
	memcpy(reply->id, hash, sizeof reply->id);
	memcpy(reply->second_id, hash + sizeof reply->id, sizeof reply->second_id);
}

void command_reply_page_hash(const struct command_reply *reply, uint8_t ret_hash[32])
{
	memcpy(ret_hash, reply->id, sizeof reply->id);
	memcpy(ret_hash + sizeof reply->id, reply->second_id, sizeof reply->second_id);
}

void command_reply_set_epoch(struct command_reply *reply, uint32_t epoch)
{
	store_u32(reply->second_id, epoch);
}

uint32_t command_reply_epoch(const struct command_reply *reply)
{
	return load_u32(reply->second_id);
}

void command_reply_set_message_ms(struct command_reply *reply, uint64_t time_ms)
{
	store_u64(reply->second_id, time_ms);
}

uint64_t command_reply_message_ms(const struct command_reply *reply)
{
	return load_u64(reply->second_id);
}

void command_reply_encode(const struct command_reply *reply, struct buf *to)
{
	buf_put_u8(to, COMMAND_VERSION);
	buf_append(to, reply->id, sizeof reply->id);
	buf_append(to, reply->second_id, sizeof reply->second_id);
	buf_put_u64(to, reply->number);
	buf_append(to, reply->hash, sizeof reply->hash);
}

int command_reply_decode(struct bytes bytes, struct command_reply *ret_reply)
{
	struct wire w = wire_of(bytes);
	struct command_reply reply;

	if (wire_u8(&w) != COMMAND_VERSION) {
		return KLUIS_EINVAL;
	}
	wire_copy(&w, reply.id, sizeof reply.id);
	wire_copy(&w, reply.second_id, sizeof reply.second_id);
	reply.number = wire_u64(&w);
	wire_copy(&w, reply.hash, sizeof reply.hash);
	if (!wire_end(&w)) {
		return KLUIS_EINVAL;
	}
	*ret_reply = reply;
	return 0;
}
