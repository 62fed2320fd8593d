#include "tests/lib/test.h"

#include <string.h>

#include "crypto/identity.h"
#include "crypto/page.h"
#include "raft/command.h"
#include "storage/policy_store.h"
#include "storage/session_store.h"
#include "tests/lib/fixture/client.h"

#define CREDENTIALS                                                                        \
	{                                                                                  \
		.group = 3, .salt = {1}, .kdf = {2}, .pepper_id = 3,                       \
		.verifier = {(const uint8_t *)"v", 1}, .recovery_key = {4}, .n_shares = 2, \
		.share = {                                                                 \
			{.slot_id = {1}, .share = {2}},                                    \
			{.slot_id = {2}, .share = {3}}                                     \
		}                                                                          \
	}

/* A label, no key, one statement, one packet. */
static const uint8_t section_sample[] = {
	[0] = 1, [19] = 1, 'l', [26] = 1, 0, 1, 's', 0, 1, 0, 1, 'p'};
static const uint8_t grant_sample[COMMAND_GRANT_BYTES] = {1};
static const uint8_t unshared_sample[COMMAND_UNSHARED_BYTES] = {1};

/* One command of each type, every field set. */
static const struct command samples[] = {
	{.type = COMMAND_CLUSTER_INIT,
		.cluster_init = {.cluster_id = {1}, .lineage = {2}, .n_nodes = 2, .node = {1, 9}}},
	{.type = COMMAND_NODE_ANNOUNCE,
		.node_announce = {.node = 3,
			.feature_level = 1,
			.site = {(const uint8_t *)"ams", 3},
			.version = {(const uint8_t *)"0.1", 3},
			.api = {(const uint8_t *)"https://a", 9},
			.link = {(const uint8_t *)"a:1", 3},
			.ssh = {(const uint8_t *)"a:2", 3},
			.ssh_host_key = {(const uint8_t *)"k", 1},
			.backup_key = {4}}},
	{.type = COMMAND_READONLY,
		.readonly = {.node = 1, .on = true, .actor = {(const uint8_t *)"op", 2}}},
	{.type = COMMAND_TIME_JUMP,
		.time_jump = {.n_readings = 2, .reading = {{1, 100}, {2, 200}}}},
	{.type = COMMAND_HASH_REPORT, .hash_report = {.node = 1, .index = 5, .hash = {6}}},
	{.type = COMMAND_HASH_ASK, .hash_ask = {.node = 3}},
	{.type = COMMAND_BACKUP_ANNOUNCE,
		.backup_announce = {.node = 1,
			.copies = 2,
			.interval_s = 3,
			.offset_s = 4,
			.keep_s = 5,
			.drills = true}},
	{.type = COMMAND_EXPIRE, .expire = {.max_rows = EXPIRE_ROWS_MAX}},
	{.type = COMMAND_SERVERS_BEGIN,
		.servers_begin = {.voters = 3, .n_servers = 2, .server = {{1, {1}}, {9, {2}}}}},
	{.type = COMMAND_SERVER_ADD,
		.server_add = {.id = 7,
			.incarnation = {1},
			.weight = 100,
			.replaces = 3,
			.site = {(const uint8_t *)"ams", 3},
			.address = {(const uint8_t *)"a:1", 3},
			.actor = {(const uint8_t *)"op", 2}}},
	{.type = COMMAND_SERVER_WISH,
		.server_wish = {.id = 7,
			.wish = SERVER_DRAINED,
			.actor = {(const uint8_t *)"op", 2}}},
	{.type = COMMAND_SERVER_WEIGHT,
		.server_weight = {.id = 7, .weight = 5, .actor = {(const uint8_t *)"op", 2}}},
	{.type = COMMAND_SERVER_FORGET, .server_forget = {.id = 7}},
	{.type = COMMAND_VOTERS_SET,
		.voters_set = {.voters = 5, .actor = {(const uint8_t *)"op", 2}}},
	{.type = COMMAND_SERVICE_CREATE,
		.service_create = {.actor = {(const uint8_t *)"op", 2},
			.name = {(const uint8_t *)"robot", 5},
			.enrol_hash = {7},
			.once = {{(const uint8_t *)"key", 3}, {8}}}},
	{.type = COMMAND_SERVICE_ENROL,
		.service_enrol = {.name = {(const uint8_t *)"robot", 5},
			.enrol_hash = {7},
			.identity = {(const uint8_t *)"i", 1},
			.device = {(const uint8_t *)"d", 1}}},
	{.type = COMMAND_SERVICE_DISABLE,
		.service_disable = {.actor = {(const uint8_t *)"op", 2},
			.name = {(const uint8_t *)"robot", 5}}},
	{.type = COMMAND_SESSION_CREATE,
		.session_create = {.user_id = {1},
			.device_id = {2},
			.token_hash = {3},
			.level = SESSION_FULL,
			.ttl_ms = 4}},
	{.type = COMMAND_SESSION_END,
		.session_end = {.session = {{1}}, .which = SESSION_END_ONE, .session_id = {2}}},
	{.type = COMMAND_IDENTITY_APPEND,
		.identity_append = {.session = {{1}}, .statement = {(const uint8_t *)"s", 1}}},
	{.type = COMMAND_VAULT_CREATE,
		.vault_create = {.session = {{1}},
			.once = {{(const uint8_t *)"key", 3}, {8}},
			.create = {(const uint8_t *)"c", 1},
			.head = {(const uint8_t *)"h", 1},
			.label = {(const uint8_t *)"l", 1}}},
	{.type = COMMAND_VAULT_PATCH,
		.vault_patch = {.session = {{1}},
			.vault_id = {2},
			.revision = 3,
			.label = {(const uint8_t *)"l", 1}}},
	{.type = COMMAND_VAULT_DELETE,
		.vault_delete = {.session = {{1}}, .vault_id = {2}, .revision = 3}},
	{.type = COMMAND_STAGE_PAGE,
		.stage_page = {.session = {{1}},
			.vault_id = {2},
			.hash = {3},
			.page = {(const uint8_t *)"page", 4}}},
	{.type = COMMAND_COMMIT,
		.commit = {.session = {{1}},
			.vault_id = {2},
			.purge = true,
			.head = {(const uint8_t *)"h", 1},
			.entries = {(const uint8_t *)"\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\1x",
				22},
			.n_entries = 1}},
	{.type = COMMAND_COMMIT_CLAIM,
		.commit_claim =
			{.commit = {.session = {{1}},
				 .vault_id = {2},
				 .head = {(const uint8_t *)"h", 1},
				 .entries = {(const uint8_t *)"\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0"
							      "\2\0\0\0\0\1x",
					 22},
				 .n_entries = 1},
				.docs = {(const uint8_t *)"0123456789abcdef0123456789abcdeg", 32}}},
	{.type = COMMAND_CHAT_EPOCH,
		.chat_epoch = {.session = {{1}},
			.conv_id = {2},
			.epoch = 3,
			.members_hash = {4},
			.packets = {(const uint8_t *)"\0\1p\0\1q", 6}}},
	{.type = COMMAND_MESSAGE_SEND,
		.message_send = {.session = {{1}},
			.conv_id = {2},
			.message = {(const uint8_t *)"m", 1}}},
	{.type = COMMAND_RECEIPT,
		.receipt = {.session = {{1}}, .conv_id = {2}, .delivered = 4, .read = 3}},
	{.type = COMMAND_INBOX_PUT,
		.inbox_put = {.by = INBOX_BY_TOKEN,
			.secret = {1},
			.owner = {2},
			.document = {(const uint8_t *)"d", 1}}},
	{.type = COMMAND_INBOX_DELETE,
		.inbox_delete = {.session = {{1}},
			.docs = {(const uint8_t *)"0123456789abcdef", 16}}},
	{.type = COMMAND_INBOX_TOKEN_CREATE,
		.inbox_token_create = {.session = {{1}},
			.once = {{(const uint8_t *)"key", 3}, {8}},
			.token_hash = {2},
			.expires_ms = 3,
			.docs = 4,
			.label = {(const uint8_t *)"gateway", 7}}},
	{.type = COMMAND_INBOX_TOKEN_END, .inbox_token_end = {.session = {{1}}, .token_id = {2}}},
	{.type = COMMAND_SNAPSHOT_CLAIM,
		.snapshot_claim = {.node = 1,
			.kind = SNAPSHOT_MANUAL,
			.slot = 2,
			.ttl_ms = 3,
			.actor = {(const uint8_t *)"op", 2},
			.once = {{(const uint8_t *)"key", 3}, {8}}}},
	{.type = COMMAND_SNAPSHOT_RENEW,
		.snapshot_renew = {.id = 1, .node = 2, .ttl_ms = 3, .index = 4}},
	{.type = COMMAND_SNAPSHOT_RECORD,
		.snapshot_record = {.id = 1,
			.node = 2,
			.index = 3,
			.term = 4,
			.objects = 5,
			.bytes = 6,
			.manifest_hash = {7},
			.state_root = {8}}},
	{.type = COMMAND_SNAPSHOT_CONFIRM,
		.snapshot_confirm = {.id = 1, .node = 2, .manifest_hash = {3}, .needed = 3}},
	{.type = COMMAND_SNAPSHOT_FAIL,
		.snapshot_fail = {.id = 1, .node = 2, .error = {(const uint8_t *)"full", 4}}},
	{.type = COMMAND_SNAPSHOT_DAMAGE,
		.snapshot_damage = {.id = 1,
			.node = 2,
			.manifest_hash = {3},
			.error = {(const uint8_t *)"bad", 3}}},
	{.type = COMMAND_SNAPSHOT_PIN,
		.snapshot_pin = {.id = 1, .on = true, .actor = {(const uint8_t *)"op", 2}}},
	{.type = COMMAND_SNAPSHOT_CHECK,
		.snapshot_check = {.id = 1,
			.node = 2,
			.level = 4,
			.ok = true,
			.text = {(const uint8_t *)"why", 3}}},
	{.type = COMMAND_JOURNAL_RECORD,
		.journal_record = {.base_id = 1,
			.number = 2,
			.node = 3,
			.index = 4,
			.term = 5,
			.time_ms = 6,
			.manifest_hash = {7}}},
	{.type = COMMAND_JOURNAL_CONFIRM,
		.journal_confirm =
			{.base_id = 1, .number = 2, .node = 3, .manifest_hash = {4}, .needed = 5}},
	{.type = COMMAND_SNAPSHOT_MARK, .snapshot_mark = {.id = 1, .node = 2, .after = 3}},
	{.type = COMMAND_STATE_ROOT, .state_root = {.id = 1, .node = 2, .index = 3, .root = {4}}},
	{.type = COMMAND_PERSON_REGISTER,
		.person_register = {.name = {(const uint8_t *)"alice", 5},
			.invite = {(const uint8_t *)"0123456789abcdef0123456789abcdef", 32},
			.credentials = CREDENTIALS,
			.identity = {(const uint8_t *)"i", 1},
			.device = {(const uint8_t *)"d", 1},
			.keyring = {(const uint8_t *)"k", 1}}},
	{.type = COMMAND_PERSON_LOGIN,
		.person_login = {.user_id = {1},
			.device_id = {2},
			.credential = 3,
			.token_hash = {4},
			.ttl_ms = 5,
			.elsewhere = true}},
	{.type = COMMAND_LOGIN_FAILED,
		.login_failed = {.kind = GUARD_DEVICE, .id = {1}, .user_id = {2}}},
	{.type = COMMAND_SESSION_UPGRADE,
		.session_upgrade =
			{.session = {{1}}, .mfa_id = {2}, .number = 3, .ttl_ms = 5, .delay_ms = 4}},
	{.type = COMMAND_CODE_FAILED, .code_failed = {.session = {{1}}}},
	{.type = COMMAND_KEYRING_PUT,
		.keyring_put = {.session = {{1}}, .keyring = {(const uint8_t *)"k", 1}}},
	{.type = COMMAND_PASSWORD_CHANGE,
		.password_change = {.session = {{1}},
			.credentials = CREDENTIALS,
			.keyring = {(const uint8_t *)"k", 1}}},
	{.type = COMMAND_RECOVERY_BEGIN,
		.recovery_begin = {.user_id = {1},
			.credential = 2,
			.token_hash = {3},
			.ttl_ms = 5,
			.delay_ms = 4,
			.elsewhere = true}},
	{.type = COMMAND_RECOVERY_CANCEL, .recovery_cancel = {.session = {{1}}}},
	{.type = COMMAND_MFA_ADD,
		.mfa_add = {.session = {{1}},
			.mfa_id = {2},
			.method = MFA_TOTP,
			.pepper_id = 3,
			.secret = {(const uint8_t *)"s", 1},
			.params = {(const uint8_t *)"p", 1},
			.label = {(const uint8_t *)"l", 1},
			.next = 4,
			.proof = {.given = true, .mfa_id = {5}, .number = 6}}},
	{.type = COMMAND_MFA_CONFIRM,
		.mfa_confirm = {.session = {{1}}, .mfa_id = {2}, .number = 3}},
	{.type = COMMAND_MFA_REMOVE, .mfa_remove = {.session = {{1}}, .mfa_id = {2}}},
	{.type = COMMAND_PUSH_PUT,
		.push_put = {.session = {{1}},
			.once = {.body_hash = {5}},
			.push_id = {2},
			.kind = 3,
			.pepper_id = 4,
			.sealed = {(const uint8_t *)"sealed", 6}}},
	{.type = COMMAND_PUSH_DELETE,
		.push_delete = {.gone = true, .user_id = {1}, .push_id = {2}}},
	{.type = COMMAND_DEVICE_PEND,
		.device_pend = {.session = {{1}}, .statement = {(const uint8_t *)"s", 1}}},
	{.type = COMMAND_DEVICE_REFUSE, .device_refuse = {.session = {{1}}, .device_id = {2}}},
	{.type = COMMAND_ACCOUNT_DELETE, .account_delete = {.session = {{1}}}},
	{.type = COMMAND_ACCESS_NOTE,
		.access_note = {.session = {{1}}, .event = ACCESS_EXPORTED, .object = {2}}},
	{.type = COMMAND_INVITE_CREATE,
		.invite_create = {.actor = {(const uint8_t *)"op", 2},
			.token_hash = {1},
			.uses = 2,
			.ttl_ms = 3,
			.note = {(const uint8_t *)"bob", 3}}},
	{.type = COMMAND_INVITE_DELETE,
		.invite_delete = {.actor = {(const uint8_t *)"op", 2}, .token_hash = {1}}},
	{.type = COMMAND_PERSON_RULE,
		.person_rule = {.actor = {(const uint8_t *)"op", 2},
			.name = {(const uint8_t *)"alice", 5},
			.what = PERSON_DISABLE}},
	{.type = COMMAND_PERSON_QUOTA,
		.person_quota = {.actor = {(const uint8_t *)"op", 2},
			.name = {(const uint8_t *)"alice", 5},
			.vaults_max = 1,
			.pages_max = 2,
			.bytes_max = 3,
			.all_pages_max = 4}},
	{.type = COMMAND_POLICY_ANNOUNCE,
		.policy_announce = {.node = 1,
			.registration = POLICY_OPEN,
			.recovery_delay_ms = 2,
			.bytes_max = 3,
			.pages_max = 4}},
	{.type = COMMAND_SESSION_DEVICE,
		.session_device = {.session = {{1}}, .device_id = {2}, .token_hash = {3}}},
	{.type = COMMAND_MEMBERS_CHANGE,
		.members_change = {.session = {{1}},
			.once = {.body_hash = {2}},
			.sections = {section_sample, sizeof section_sample}}},
	{.type = COMMAND_PACKET_SEND,
		.packet_send = {.session = {{1}},
			.packets = {(const uint8_t *)"\0\1p", 3},
			.grants = {grant_sample, sizeof grant_sample}}},
	{.type = COMMAND_PACKET_ACK, .packet_ack = {.session = {{1}}, .packet_id = {2}}},
	{.type = COMMAND_MEMBER_ANSWER,
		.member_answer = {.session = {{1}}, .object_id = {2}, .accept = true}},
	{.type = COMMAND_PAGES_UNSHARE,
		.pages_unshare = {.session = {{1}},
			.user_id = {2},
			.vault_id = {3},
			.pages = {unshared_sample, sizeof unshared_sample}}},
	{.type = COMMAND_OBJECT_DELETE, .object_delete = {.session = {{1}}, .object_id = {2}}},
};

static size_t count_types(void)
{
	size_t n = 0;

#define X(symbol, value, name, member, level) n++;
	COMMANDS(X)
#undef X
	return n;
}

static void test_round_trips(void **state)
{
	(void)state;
	assert_int_equal(ARRAY_SIZE(samples), count_types());
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		_cleanup_(buf_release) struct buf once = BUF_INIT, twice = BUF_INIT;
		struct command c;

		command_encode(&samples[i], &once);
		assert_int_equal(command_decode(buf_bytes(&once), &c, NULL), 0);
		assert_int_equal(c.type, samples[i].type);
		command_encode(&c, &twice);
		assert_true(bytes_equal(buf_bytes(&once), buf_bytes(&twice)));
		assert_string_not_equal(command_name((unsigned)c.type), "?");
	}
}

/* Every truncation and every byte too many is refused, and only the first two bytes can make a
 * command one of a later version. */
static void test_exact_lengths(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		_cleanup_(buf_release) struct buf b = BUF_INIT;
		struct command c = {.type = COMMAND_EXPIRE};

		command_encode(&samples[i], &b);
		for (size_t n = 0; n < b.len; n++) {
			assert_int_equal(
				command_decode(bytes_of(b.data, n), &c, NULL), KLUIS_EINVAL);
		}
		buf_put_u8(&b, 0);
		assert_int_equal(command_decode(buf_bytes(&b), &c, NULL), KLUIS_EINVAL);
		assert_int_equal(c.type, COMMAND_EXPIRE); /* Untouched. */
	}
}

static void test_versions(void **state)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct command c;

	(void)state;
	command_encode(&samples[0], &b);
	b.data[0] = 2;
	assert_int_equal(command_decode(buf_bytes(&b), &c, NULL), KLUIS_EVERSION);
	b.data[0] = 1;
	b.data[1] = 250;
	assert_int_equal(command_decode(buf_bytes(&b), &c, NULL), KLUIS_EVERSION);
	assert_string_equal(command_name(250), "?");
}

/* One field out of range: at `at` of the encoded sample, `to` instead of what is there. */
static void test_ranges(void **state)
{
	static const struct {
		unsigned type;
		size_t at;
		uint8_t to;
	} rows[] = {
		{COMMAND_CLUSTER_INIT, 34, 0},		   /* no nodes */
		{COMMAND_CLUSTER_INIT, 34, SITES_MAX + 1}, /* too many */
		{COMMAND_CLUSTER_INIT, 50, 1},		   /* the same node twice */
		{COMMAND_CLUSTER_INIT, 42, 0},		   /* node 0 */
		{COMMAND_NODE_ANNOUNCE, 13, 0},		   /* feature level 0 */
		{COMMAND_NODE_ANNOUNCE, 18, 0},		   /* NUL in a text */
		{COMMAND_NODE_ANNOUNCE, 18, 0xff},	   /* no UTF-8 */
		{COMMAND_READONLY, 10, 2},		   /* a boolean of 2 */
		{COMMAND_TIME_JUMP, 2, 0},		   /* no readings */
		{COMMAND_TIME_JUMP, 26, 1},		   /* a node twice */
		{COMMAND_HASH_REPORT, 17, 0},		   /* index 0 */
		{COMMAND_EXPIRE, 4, 3},			   /* more than EXPIRE_ROWS_MAX */
		{COMMAND_MEMBERS_CHANGE, 98, 1},	   /* a group's key of one byte */
		{COMMAND_MEMBERS_CHANGE, 100, 0},	   /* no statement */
		{COMMAND_MEMBERS_CHANGE, 102, 0},	   /* an empty one */
		{COMMAND_MEMBERS_CHANGE, 107, 0},	   /* an empty packet */
		{COMMAND_PACKET_SEND, 39, 0},		   /* an empty packet */
		{COMMAND_PACKET_SEND, 44, 47},		   /* half a grant */
		{COMMAND_MEMBER_ANSWER, 50, 2},		   /* a boolean of 2 */
		{COMMAND_SERVICE_CREATE, 12, 'R'},	   /* upper case in a name */
		{COMMAND_SESSION_CREATE, 66, 3},	   /* unknown level */
		{COMMAND_SESSION_CREATE, 70, 0},	   /* no life */
		{COMMAND_SESSION_CREATE, 67, 0x80},	   /* too long a life */
		{COMMAND_SESSION_END, 34, 3},		   /* unknown choice */
		{COMMAND_VAULT_PATCH, 57, 0},		   /* revision 0 */
		{COMMAND_COMMIT, 50, 2},		   /* a boolean of 2 */
		{COMMAND_COMMIT, 76, 2},		   /* unknown how */
		{COMMAND_COMMIT, 76, 1},		   /* a hash of one byte */
		{COMMAND_SNAPSHOT_CLAIM, 10, 1},	   /* nobody claims a full one */
		{COMMAND_SNAPSHOT_CLAIM, 10, 4},	   /* unknown kind */
		{COMMAND_SNAPSHOT_CONFIRM, 50, 0},	   /* no site needed */
		{COMMAND_PERSON_REGISTER, 6, 'A'},	   /* upper case in a name */
		{COMMAND_PERSON_REGISTER, 47, 1},	   /* unknown group */
		{COMMAND_PERSON_REGISTER, 47, 6},	   /* unknown group */
		{COMMAND_PERSON_REGISTER, 167, 0},	   /* no shares */
		{COMMAND_PERSON_REGISTER, 167, 9},	   /* too many */
		{COMMAND_PERSON_REGISTER, 168, 2},	   /* a slot twice */
		{COMMAND_PERSON_LOGIN, 41, 0},		   /* credential 0 */
		{COMMAND_PERSON_LOGIN, 77, 0},		   /* no life */
		{COMMAND_LOGIN_FAILED, 2, 0},		   /* unknown kind */
		{COMMAND_LOGIN_FAILED, 2, GUARD_CODE},	   /* that of a session */
		{COMMAND_LOGIN_FAILED, 2, 4},		   /* unknown kind */
		{COMMAND_PERSON_LOGIN, 78, 2},		   /* a boolean of 2 */
		{COMMAND_SESSION_UPGRADE, 61, 0},	   /* no life */
		{COMMAND_SESSION_UPGRADE, 65, 5},	   /* longer a wait than a life */
		{COMMAND_RECOVERY_BEGIN, 65, 5},	   /* longer a wait than a life */
		{COMMAND_MFA_ADD, 50, 0},		   /* unknown method */
		{COMMAND_MFA_ADD, 50, 6},		   /* unknown method */
		{COMMAND_MFA_ADD, 75, 2},		   /* a boolean of 2 */
		{COMMAND_ACCESS_NOTE, 34, ACCESS_LOGIN},   /* nobody notes that */
		{COMMAND_PUSH_PUT, 86, 0},		   /* unknown kind */
		{COMMAND_PUSH_PUT, 86, 4},		   /* unknown kind */
		{COMMAND_PUSH_DELETE, 2, 2},		   /* a boolean of 2 */
		{COMMAND_INVITE_CREATE, 43, 0},		   /* of no use */
		{COMMAND_PERSON_RULE, 17, 0},		   /* unknown choice */
		{COMMAND_PERSON_RULE, 17, 6},		   /* unknown choice */
		{COMMAND_CHAT_EPOCH, 53, 0},		   /* epoch 0 */
		{COMMAND_CHAT_EPOCH, 91, 0},		   /* a packet of no bytes */
		{COMMAND_CHAT_EPOCH, 94, 2},		   /* longer than there is */
		{COMMAND_RECEIPT, 65, 5},		   /* seen before it came */
		{COMMAND_INBOX_PUT, 2, 0},		   /* by nobody */
		{COMMAND_INBOX_PUT, 2, 3},		   /* unknown choice */
		{COMMAND_COMMIT_CLAIM, 117, 'f'},	   /* a document twice */
		{COMMAND_INBOX_TOKEN_CREATE, 112, 0},	   /* expired at no time */
		{COMMAND_INBOX_TOKEN_CREATE, 116, 0},	   /* for no documents */
		{COMMAND_INBOX_TOKEN_CREATE, 113, 1},	   /* for too many */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_release) struct buf b = BUF_INIT;
		struct command c;
		size_t j = 0;

		while (samples[j].type != rows[i].type) {
			j++;
		}
		command_encode(&samples[j], &b);
		assert_int_equal(command_decode(buf_bytes(&b), &c, NULL), 0);
		assert_true(rows[i].at < b.len && b.data[rows[i].at] != rows[i].to);
		b.data[rows[i].at] = rows[i].to;
		if (command_decode(buf_bytes(&b), &c, NULL) != KLUIS_EINVAL) {
			fail_msg("row %zu was taken", i);
		}
	}
}

static void test_commit_limits(void **state)
{
	static uint8_t page[PAGE_BYTES_MAX + 1];
	_cleanup_(buf_release) struct buf entries = BUF_INIT;
	struct commit_entry entry = {.revision = 1};
	struct bytes walk;
	uint32_t n;

	(void)state;
	for (entry.page_no = 0; entry.page_no < COMMIT_ENTRIES_MAX; entry.page_no++) {
		commit_entry_append(&entries, &entry);
	}
	assert_int_equal(commit_entries_check(buf_bytes(&entries), &n, NULL), 0);
	assert_int_equal(n, COMMIT_ENTRIES_MAX);
	commit_entry_append(&entries, &entry);
	assert_int_equal(commit_entries_check(buf_bytes(&entries), &n, NULL), KLUIS_ETOOLARGE);
	buf_clear(&entries);
	entry.bytes = bytes_of(page, COMMIT_INLINE_BYTES_MAX / 3);
	for (entry.page_no = 0; entry.page_no < 3; entry.page_no++) {
		commit_entry_append(&entries, &entry);
	}
	assert_int_equal(commit_entries_check(buf_bytes(&entries), &n, NULL), 0);
	entry.bytes.len = 1;
	commit_entry_append(&entries, &entry);
	assert_int_equal(commit_entries_check(buf_bytes(&entries), &n, NULL), KLUIS_ETOOLARGE);
	buf_clear(&entries);
	entry.bytes = bytes_of(page, PAGE_BYTES_MAX + 1);
	commit_entry_append(&entries, &entry);
	assert_int_equal(commit_entries_check(buf_bytes(&entries), &n, NULL), KLUIS_EINVAL);
	walk = bytes_of(NULL, 0);
	assert_false(commit_entry_next(&walk, &entry));
	assert_int_equal(commit_entries_check(bytes_of(NULL, 0), &n, NULL), 0);
	assert_int_equal(n, 0);
}

static void sections_of(struct buf *to, unsigned n, unsigned statements)
{
	_cleanup_(buf_release) struct buf items = BUF_INIT;
	struct members_section section = {.n_statements = (uint16_t)statements};

	for (unsigned i = 0; i < statements; i++) {
		members_item_append(&items, bytes_str("s"));
	}
	section.statements = buf_bytes(&items);
	buf_clear(to);
	for (unsigned i = 0; i < n; i++) {
		members_section_append(to, &section);
	}
}

static void test_members_limits(void **state)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct members_section section;
	struct bytes walk, item;
	uint32_t n = 0;

	(void)state;
	sections_of(&b, MEMBERS_SECTIONS_MAX, 2);
	assert_int_equal(members_sections_check(buf_bytes(&b), &n, NULL), 0);
	assert_int_equal(n, MEMBERS_SECTIONS_MAX);
	sections_of(&b, MEMBERS_SECTIONS_MAX + 1, 1);
	assert_int_equal(members_sections_check(buf_bytes(&b), &n, NULL), KLUIS_ETOOLARGE);
	sections_of(&b, 1, MEMBERS_STATEMENTS_MAX + 1);
	assert_int_equal(members_sections_check(buf_bytes(&b), &n, NULL), KLUIS_ETOOLARGE);
	assert_int_equal(members_sections_check(bytes_of(NULL, 0), &n, NULL), KLUIS_EINVAL);
	sections_of(&b, 2, 3);
	walk = buf_bytes(&b);
	assert_true(members_section_next(&walk, &section));
	assert_int_equal(section.n_statements, 3);
	assert_int_equal(section.packets.len, 0);
	for (n = 0; members_item_next(&section.statements, &item); n++) {
		assert_true(bytes_equal(item, bytes_str("s")));
	}
	assert_int_equal(n, 3);
	assert_true(members_section_next(&walk, &section));
	assert_false(members_section_next(&walk, &section));
	assert_int_equal(walk.len, 0);
}

static void test_payload(void **state)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct payload_item item = {.origin = 1, .nonce = 2, .seq = 3, .command = bytes_str("a")};
	struct payload payload;

	(void)state;
	payload_begin(&b, 77);
	assert_int_equal(b.len, PAYLOAD_HEAD_BYTES);
	payload_add(&b, &item);
	item.command = bytes_str("bc");
	payload_add(&b, &item);
	assert_int_equal(b.len, PAYLOAD_HEAD_BYTES + 2 * PAYLOAD_ITEM_BYTES + 3);
	for (size_t n = 0; n < b.len; n++) {
		assert_int_equal(payload_decode(bytes_of(b.data, n), &payload), KLUIS_EINVAL);
	}
	assert_int_equal(payload_decode(buf_bytes(&b), &payload), 0);
	assert_true(payload.cluster_time_ms == 77);
	assert_true(payload_next(&payload, &item));
	assert_true(bytes_equal(item.command, bytes_str("a")));
	assert_true(payload_next(&payload, &item));
	assert_true(item.origin == 1 && item.nonce == 2 && item.seq == 3);
	assert_true(bytes_equal(item.command, bytes_str("bc")));
	assert_false(payload_next(&payload, &item));
	buf_put_u8(&b, 0);
	assert_int_equal(payload_decode(buf_bytes(&b), &payload), KLUIS_EINVAL);
	b.data[0] = 2;
	assert_int_equal(payload_decode(buf_bytes(&b), &payload), KLUIS_EVERSION);
}

static void test_reply(void **state)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct command_reply reply = {{1}, {2}, 3, {4}}, back;

	(void)state;
	command_reply_encode(&reply, &b);
	assert_int_equal(b.len, COMMAND_REPLY_BYTES);
	assert_int_equal(command_reply_decode(buf_bytes(&b), &back), 0);
	assert_memory_equal(&reply, &back, sizeof reply);
	for (size_t n = 0; n < b.len; n++) {
		assert_int_equal(command_reply_decode(bytes_of(b.data, n), &back), KLUIS_EINVAL);
	}
	b.data[0] = 9;
	assert_int_equal(command_reply_decode(buf_bytes(&b), &back), KLUIS_EINVAL);
}

static void entry_put(struct buf *to, uint64_t page_no, uint8_t how, size_t bytes)
{
	static const uint8_t zeros[8192];
	struct commit_entry entry = {
		.page_no = page_no, .revision = 1, .how = how, .bytes = bytes_of(zeros, bytes)};

	commit_entry_append(to, &entry);
}

static void test_what_a_deletion_is(void **state)
{
	_cleanup_(buf_release) struct buf entries = BUF_INIT;

	(void)state;
	assert_false(commit_is_deletion(buf_bytes(&entries), 8480));
	entry_put(&entries, 1, COMMIT_INLINE, PAGE_TOMBSTONE_BYTES);
	assert_true(commit_is_deletion(buf_bytes(&entries), 0));
	entry_put(&entries, 2, COMMIT_INLINE, 4240);
	entry_put(&entries, 3, COMMIT_INLINE, 4240);
	assert_true(commit_is_deletion(buf_bytes(&entries), 8480));
	assert_false(commit_is_deletion(buf_bytes(&entries), 8479));
	entry_put(&entries, 4, COMMIT_STAGED, 32);
	assert_false(commit_is_deletion(buf_bytes(&entries), 8480));
	buf_clear(&entries);
	entry_put(&entries, 2, COMMIT_INLINE, 4240);
	assert_false(commit_is_deletion(buf_bytes(&entries), 8480)); /* Makes no room. */
}

/* What is refused while the disk is low is what brings data. */
static void test_what_passes_the_floor(void **state)
{
	static const enum command_type refused[] = {COMMAND_SERVICE_CREATE, COMMAND_SERVICE_ENROL,
		COMMAND_IDENTITY_APPEND, COMMAND_VAULT_CREATE, COMMAND_VAULT_PATCH,
		COMMAND_STAGE_PAGE, COMMAND_COMMIT, COMMAND_PERSON_REGISTER, COMMAND_KEYRING_PUT,
		COMMAND_PASSWORD_CHANGE, COMMAND_MFA_ADD, COMMAND_DEVICE_PEND,
		COMMAND_INVITE_CREATE, COMMAND_CHAT_EPOCH, COMMAND_MESSAGE_SEND, COMMAND_INBOX_PUT,
		COMMAND_INBOX_TOKEN_CREATE, COMMAND_COMMIT_CLAIM, COMMAND_PUSH_PUT,
		COMMAND_MEMBERS_CHANGE, COMMAND_PACKET_SEND};
	static const uint8_t zero[32], user[16] = {1}, body[18] = {2};
	_cleanup_(buf_release) struct buf statement = BUF_INIT;
	struct command append = {.type = COMMAND_IDENTITY_APPEND};
	uint8_t hash[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		bool found = false;

		for (size_t j = 0; j < ARRAY_SIZE(refused); j++) {
			found |= refused[j] == samples[i].type;
		}
		if (command_passes_floor(&samples[i]) == found) {
			fail_msg("%s", command_name(samples[i].type));
		}
	}
	/* A lost device is shut out however full the disks are. */
	for (unsigned type = IDENTITY_GENESIS; type <= IDENTITY_DEVICE_VOUCH; type++) {
		buf_clear(&statement);
		fixture_statement(
			"KID1", type, user, 3, zero, bytes_of(body, sizeof body), &statement, hash);
		append.identity_append.statement = buf_bytes(&statement);
		assert_int_equal(command_passes_floor(&append),
			type == IDENTITY_DEVICE_REVOKE || type == IDENTITY_DEVICE_VOUCH);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_exact_lengths),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_commit_limits),
		cmocka_unit_test(test_members_limits),
		cmocka_unit_test(test_payload),
		cmocka_unit_test(test_what_a_deletion_is),
		cmocka_unit_test(test_what_passes_the_floor),
		cmocka_unit_test(test_reply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
