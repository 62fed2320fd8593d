#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "crypto/hash.h"
#include "crypto/identity.h"
#include "crypto/keypacket.h"
#include "storage/cluster_store.h"
#include "storage/deletion_store.h"
#include "storage/import.h"
#include "storage/key_codec.h"
#include "storage/restore_store.h"
#include "storage/session_store.h"
#include "storage/snapshot_store.h"
#include "storage/object_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/person.h"
#include "tests/lib/fixture/sharing.h"

/* A cluster with two vaults, some of its rows changed after the first increment. */
struct world {
	struct fixture_machine m;
	struct fixture_client c, other;
	struct fixture_person p;
	struct fixture_object conv; /* c's, and other is invited; with an epoch. */
	uint64_t first;		    /* Index of the first increment. */
	uint8_t root[32];
	struct key *operator_key;
};

static void write_members(struct world *w)
{
	struct command announce = {.type = COMMAND_NODE_ANNOUNCE};
	struct command begin = {
		.type = COMMAND_SERVERS_BEGIN, .servers_begin = {.voters = 5, .n_servers = 6}};

	for (unsigned i = 0; i < 6; i++) {
		announce.node_announce.node = begin.servers_begin.server[i].id = i + 1;
		announce.node_announce.feature_level = FEATURE_LEVEL;
		begin.servers_begin.server[i].incarnation[0] = 1;
		assert_int_equal(fixture_machine_do(&w->m, &announce), 0);
	}
	assert_int_equal(fixture_machine_do(&w->m, &begin), 0);
}

/* A person with what a restore drops: failures, a recovery, a device that asks. */
static void write_person(struct world *w)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	uint8_t phone[16] = {0x77};
	struct command fail = {.type = COMMAND_LOGIN_FAILED,
		.login_failed = {.kind = GUARD_PASSWORD, .id = {0xee}}};
	struct command recovery = {.type = COMMAND_RECOVERY_BEGIN,
		.recovery_begin = {.credential = 1, .ttl_ms = 2, .delay_ms = 1}};
	struct command append, pend = {.type = COMMAND_DEVICE_PEND};

	fixture_machine_person(&w->m, &w->p, 1);
	memcpy(recovery.recovery_begin.user_id, w->p.user_id, 16);
	fixture_device_body(phone, &body);
	append = fixture_append(&w->p, 1, IDENTITY_DEVICE_ADD, buf_bytes(&body));
	pend.device_pend.session = append.identity_append.session;
	pend.device_pend.statement = append.identity_append.statement;
	assert_int_equal(fixture_machine_do(&w->m, &fail), 0);
	assert_int_equal(fixture_machine_do(&w->m, &recovery), 0);
	assert_int_equal(fixture_machine_do(&w->m, &pend), 0);
}

static void write_conversation(struct world *w)
{
	_cleanup_(buf_release) struct buf space = BUF_INIT, packet = BUF_INIT, packets = BUF_INIT;
	struct command epoch = {.type = COMMAND_CHAT_EPOCH, .chat_epoch.epoch = 1};
	struct fixture_packet fields = {.purpose = KEYPACKET_CHAT,
		.number = 77,
		.sender = w->c.user_id,
		.rcpt = w->c.device_id,
		.object = w->conv.id,
		.epoch = 1};
	struct fixture_section s, *const sections[] = {&s};
	struct command change;

	fixture_object_init(&w->conv, MEMBER_OBJECT_CONVERSATION, 77);
	fixture_section_begin(&s, &w->conv);
	fixture_create(&s, w->c.user_id);
	fixture_add(&s, w->other.user_id, MEMBER_USER, MEMBER_WRITE);
	change = fixture_change(&w->c, sections, 1, &space);
	assert_int_equal(fixture_machine_do(&w->m, &change), 0);
	fixture_section_release(&s);
	fixture_packet(&fields, &packet);
	members_item_append(&packets, buf_bytes(&packet));
	fields.rcpt = w->other.device_id;
	fields.number++;
	buf_clear(&packet);
	fixture_packet(&fields, &packet);
	members_item_append(&packets, buf_bytes(&packet));
	memcpy(epoch.chat_epoch.session.token_hash, w->c.token_hash, 32);
	memcpy(epoch.chat_epoch.conv_id, w->conv.id, 16);
	memcpy(epoch.chat_epoch.members_hash, w->conv.hash, 32);
	epoch.chat_epoch.packets = buf_bytes(&packets);
	assert_int_equal(fixture_machine_do(&w->m, &epoch), 0);
}

static void commit(struct world *w, uint64_t page_no, uint64_t revision)
{
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;

	fixture_entry(&w->c, page_no, revision, 12, revision, false, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 4, false, &command);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
	fixture_committed(&w->c, buf_bytes(&entries));
}

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);
	struct command end = {.type = COMMAND_SESSION_END, .session_end.which = SESSION_END_ALL};
	struct command claim = {.type = COMMAND_SNAPSHOT_CLAIM,
		.snapshot_claim = {.node = 1, .kind = SNAPSHOT_INCREMENT, .ttl_ms = 1}};
	struct kv_view *view;
	uint64_t rows;

	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &w->operator_key, NULL), 0);
	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->c);
	fixture_machine_join(&w->m, &w->other, 2);
	write_members(w);
	for (uint64_t r = 1; r <= 3; r++) {
		commit(w, 0, r);
	}
	w->first = fsm_position(w->m.fsm)->index;
	commit(w, 1, 1);
	commit(w, 0, 4);
	memcpy(end.session_end.session.token_hash, w->other.token_hash, 32);
	assert_int_equal(fixture_machine_do(&w->m, &end), 0); /* Leaves tombstones. */
	assert_int_equal(fixture_machine_do(&w->m, &claim), 0);
	write_person(w);
	write_conversation(w);
	view = kv_view_new(w->m.kv);
	assert_int_equal(index_store_root(view, w->root, &rows, NULL), 0);
	kv_view_free(view);
	*state = w;
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	fixture_person_release(&w->p);
	fixture_machine_release(&w->m);
	key_free(w->operator_key);
	free(w);
	return 0;
}

/* What a backup would send: rows with after < index <= upto. */
static void copy_rows(struct world *w, struct import *import, uint64_t after, uint64_t upto)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct index_iter *iter = index_iter_new(view, after, upto);
	struct index_row row;

	while (index_iter_next(iter, &row)) {
		_cleanup_(buf_release) struct buf value = BUF_INIT;

		if (!row.deleted) {
			assert_int_equal(kv_get(view, row.key, &value, NULL), 0);
		}
		assert_int_equal(import_put(import, &row, buf_bytes(&value), NULL), 0);
		assert_int_equal(import_put(import, &row, buf_bytes(&value), NULL), 0);
	}
	assert_int_equal(index_iter_status(iter, NULL), 0);
	index_iter_free(iter);
	kv_view_free(view);
}

static void sign_record(
	struct world *w, const struct restore_record *record, uint8_t ret[RESTORE_RECORD_BYTES])
{
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;

	assert_int_equal(restore_record_sign(record, w->operator_key, &encoded, NULL), 0);
	assert_int_equal(encoded.len, RESTORE_RECORD_BYTES);
	memcpy(ret, encoded.data, RESTORE_RECORD_BYTES);
}

static struct restore_record record_of(const struct import_end *end)
{
	struct restore_record record;

	assert_int_equal(
		restore_record_parse(bytes_of(end->record, sizeof end->record), &record, NULL), 0);
	return record;
}

static struct import_end end_of(struct world *w)
{
	const struct position *p = fsm_position(w->m.fsm);
	struct kv_view *view = kv_view_new(w->m.kv);
	struct import_end end = {
		.index = p->index, .term = p->term, .cluster_time_ms = p->cluster_time_ms};
	struct restore_record record = {.raft_index = p->index, .new_lineage = {77}};
	struct cluster_row row;

	assert_int_equal(cluster_store_get(view, &row, NULL), 0);
	memcpy(record.cluster_id, row.cluster_id, ID_BYTES);
	memcpy(record.old_lineage, row.lineage, ID_BYTES);
	record.new_lineage[1] = (uint8_t)(row.lineage[1] + 1);
	sign_record(w, &record, end.record);
	memcpy(end.state_root, w->root, 32);
	kv_view_free(view);
	return end;
}

static struct kv *restore(struct world *w, const struct import_end *end)
{
	struct kv *kv = kv_memory_new();
	struct import *import;

	assert_int_equal(import_new(kv, &import, NULL), 0);
	/* The newer increment first: the newest row of a key wins, in any order. */
	copy_rows(w, import, w->first, UINT64_MAX - 1);
	copy_rows(w, import, 0, w->first);
	assert_int_equal(import_finish(import, end, NULL), 0);
	import_free(import);
	return kv;
}

static void test_restored_cluster_goes_on(void **state)
{
	struct world *w = *state;
	struct import_end end = end_of(w);
	struct fixture_machine m;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	struct kv_view *view;
	struct cluster_row cluster;
	struct session_row session;
	struct snapshot_state_row snapshots;
	struct node_row nodes[2];
	size_t n;

	fixture_machine_init(&m, restore(w, &end));
	assert_true(fsm_position(m.fsm)->index == end.index);
	assert_int_equal(fixture_check_store(m.kv, NULL), 0);
	view = kv_view_new(m.kv);
	assert_int_equal(cluster_store_get(view, &cluster, NULL), 0);
	assert_memory_equal(cluster.lineage, record_of(&end).new_lineage, ID_BYTES);
	assert_int_equal(session_store_get(view, w->c.token_hash, &session, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(snapshot_store_state(view, &snapshots, NULL), 0);
	assert_true(snapshots.claimed_id == 0 && snapshots.last_slot == 0);
	assert_int_equal(node_store_list(view, 0, nodes, 2, &n, NULL), 0);
	assert_int_equal(n, 0);
	/* All ids begin anew: the old ones stood for logs that are gone. */
	assert_int_equal(fsm_servers(w->m.fsm)->n, 6);
	assert_int_equal(fsm_servers(m.fsm)->n, 0);
	assert_true(fsm_servers(m.fsm)->voters == 0 && fsm_servers(m.fsm)->highest_id == 0);
	kv_view_free(view);
	fixture_session_create(&w->c, 100000, &command);
	assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), 0);
	fixture_entry(&w->c, 0, 5, 12, 5, false, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 4, false, &command);
	assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), 0);
	assert_int_equal(fixture_check_store(m.kv, NULL), 0);
	fixture_machine_release(&m);
}

static void test_every_node_gets_the_same(void **state)
{
	struct world *w = *state;
	struct import_end end = end_of(w);
	struct kv *a = restore(w, &end), *b = restore(w, &end);
	struct kv_view *view_a = kv_view_new(a), *view_b = kv_view_new(b);
	struct position pos_a, pos_b;
	uint8_t root_a[32], root_b[32];
	uint64_t rows;

	assert_int_equal(position_get(view_a, &pos_a, NULL), 0);
	assert_int_equal(position_get(view_b, &pos_b, NULL), 0);
	assert_memory_equal(&pos_a, &pos_b, sizeof pos_a);
	assert_int_equal(index_store_root(view_a, root_a, &rows, NULL), 0);
	assert_int_equal(index_store_root(view_b, root_b, &rows, NULL), 0);
	assert_memory_equal(root_a, root_b, 32);
	kv_view_free(view_a);
	kv_view_free(view_b);
	kv_close(a);
	kv_close(b);
}

/* The world becomes its own restored self. */
static void restore_in_place(struct world *w, const struct import_end *end)
{
	struct fixture_machine m;
	struct kv_view *view;
	uint64_t rows;

	fixture_machine_init(&m, restore(w, end));
	fixture_machine_release(&w->m);
	w->m = m;
	assert_int_equal(fixture_check_store(w->m.kv, NULL), 0);
	view = kv_view_new(w->m.kv);
	assert_int_equal(index_store_root(view, w->root, &rows, NULL), 0);
	kv_view_free(view);
}

/* A backup of the restored cluster, taken at once, restores, too, and brings the records of all
 * restores so far, oldest first; only so many of the newest stay. */
static void test_restore_of_a_restore(void **state)
{
	enum { RESTORES = RESTORE_RECORDS_MAX + 2 };
	struct world *w = *state;
	struct import_end ends[RESTORES];
	struct restore_row rows[RESTORE_RECORDS_MAX];

	for (size_t i = 0; i < RESTORES; i++) {
		size_t kept = i < RESTORE_RECORDS_MAX ? i + 1 : RESTORE_RECORDS_MAX, n = 0;
		struct kv_view *view;

		ends[i] = end_of(w);
		restore_in_place(w, &ends[i]);
		view = kv_view_new(w->m.kv);
		assert_int_equal(restore_store_list(view, rows, &n, NULL), 0);
		kv_view_free(view);
		assert_int_equal(n, kept);
		for (size_t k = 0; k < kept; k++) {
			assert_true(rows[k].number == i + 2 - kept + k);
			assert_memory_equal(rows[k].record, ends[i + 1 - kept + k].record,
				RESTORE_RECORD_BYTES);
		}
	}
}

/* The record's row is part of by_index, of the next state root, and of the hash that all nodes
 * begin with: nodes that were given different ones do not go on as one cluster. */
static void test_record_is_a_row(void **state)
{
	struct world *w = *state;
	struct import_end end = end_of(w), other = end;
	struct kv *a = restore(w, &end), *b;
	struct kv_view *views[2];
	struct restore_record record = record_of(&end);
	struct index_row at[2];
	struct position positions[2];
	struct row_key key = row_key_begin(KEY_RESTORE);
	uint8_t roots[2][32];
	uint64_t rows;

	record.unix_ms++;
	sign_record(w, &record, other.record);
	b = restore(w, &other);
	row_key_put_u64(&key, 1);
	for (unsigned i = 0; i < 2; i++) {
		views[i] = kv_view_new(i == 0 ? a : b);
		assert_int_equal(index_store_of(views[i], row_key_bytes(&key), &at[i], NULL), 0);
		assert_true(at[i].at.index == end.index && at[i].at.ordinal >= 1U << 30);
		assert_int_equal(index_store_root(views[i], roots[i], &rows, NULL), 0);
		assert_int_equal(position_get(views[i], &positions[i], NULL), 0);
		kv_view_free(views[i]);
	}
	assert_memory_not_equal(at[0].hash, at[1].hash, 32);
	assert_memory_not_equal(roots[0], roots[1], 32);
	assert_memory_not_equal(positions[0].state_hash, positions[1].state_hash, 32);
	kv_close(a);
	kv_close(b);
}

static void assert_record_refused(
	struct world *w, struct import *import, const struct restore_record *record)
{
	struct import_end end = end_of(w);

	sign_record(w, record, end.record);
	assert_int_equal(import_finish(import, &end, NULL), KLUIS_EVERIFY);
}

static void test_foreign_record(void **state)
{
	struct world *w = *state;
	struct import_end end = end_of(w);
	struct restore_record record;
	struct kv *kv = kv_memory_new();
	struct import *import;

	assert_int_equal(import_new(kv, &import, NULL), 0);
	copy_rows(w, import, 0, UINT64_MAX - 1);
	record = record_of(&end);
	record.cluster_id[0] ^= 1;
	assert_record_refused(w, import, &record);
	record = record_of(&end);
	record.old_lineage[0] ^= 1;
	assert_record_refused(w, import, &record);
	record = record_of(&end);
	record.raft_index++;
	assert_record_refused(w, import, &record);
	end.record[0] ^= 1;
	assert_int_equal(import_finish(import, &end, NULL), KLUIS_EINVAL);
	end.record[0] ^= 1;
	end.record[4]++;
	assert_int_equal(import_finish(import, &end, NULL), KLUIS_EVERSION);
	end.record[4]--;
	assert_int_equal(import_finish(import, &end, NULL), 0);
	import_free(import);
	kv_close(kv);
}

static void test_ledger_is_applied(void **state)
{
	struct world *w = *state;
	struct import_end end = end_of(w);
	uint8_t ledger[2][16] = {{9}};
	struct member_of vaults[2];
	struct kv_view *view;
	struct vault_row vault;
	struct kv *kv;
	size_t n;

	memcpy(ledger[1], w->c.vault_id, 16);
	end.ledger = (const uint8_t(*)[16])ledger;
	end.n_ledger = 2; /* One of them unknown: it was made after the snapshot. */
	kv = restore(w, &end);
	view = kv_view_new(kv);
	assert_int_equal(vault_store_get(view, w->c.vault_id, &vault, NULL), 0);
	assert_int_equal(vault.state, VAULT_DELETING);
	assert_int_equal(member_store_objects(view, MEMBER_OBJECT_VAULT, w->c.user_id, NULL, vaults,
				 2, &n, NULL),
		0);
	assert_int_equal(n, 0);
	kv_view_free(view);
	assert_int_equal(fixture_check_store(kv, NULL), 0);
	kv_close(kv);
}

static unsigned count_rows(const struct kv_view *view, enum key_family family)
{
	struct row_key first = row_key_begin(family), end = row_key_after_prefix(&first);
	struct kv_iter *iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	unsigned n = 0;

	while (kv_iter_next(iter)) {
		n++;
	}
	kv_iter_free(iter);
	return n;
}

/* Persons stay, what was under way does not. */
static void test_persons_are_restored(void **state)
{
	static const enum key_family dropped[] = {
		KEY_GUARD, KEY_GUARD_STRANGERS, KEY_RECOVERY, KEY_PENDING};
	struct world *w = *state;
	struct import_end end = end_of(w);
	struct kv_view *view = kv_view_new(w->m.kv);
	struct person_row person;
	struct kv *kv;

	for (size_t i = 0; i < ARRAY_SIZE(dropped); i++) {
		assert_int_equal(count_rows(view, dropped[i]), 1);
	}
	kv_view_free(view);
	kv = restore(w, &end);
	view = kv_view_new(kv);
	for (size_t i = 0; i < ARRAY_SIZE(dropped); i++) {
		assert_int_equal(count_rows(view, dropped[i]), 0);
	}
	assert_int_equal(person_store_get(view, w->p.user_id, &person, NULL), 0);
	kv_view_free(view);
	assert_int_equal(fixture_check_store(kv, NULL), 0);
	kv_close(kv);
}

static void share(struct world *w)
{
	_cleanup_(buf_release) struct buf space = BUF_INIT;
	struct fixture_object vault, group;
	struct fixture_section s, t, *list[] = {&s, &t};
	struct command command;

	fixture_object_vault(&vault, &w->c);
	fixture_object_init(&group, MEMBER_OBJECT_GROUP, 1);
	fixture_section_begin(&s, &group);
	fixture_create(&s, w->c.user_id);
	fixture_section_begin(&t, &vault);
	fixture_add(&t, w->other.user_id, MEMBER_USER, MEMBER_READ);
	fixture_give(&t, w->c.user_id, w->other.user_id, NULL, 1);
	fixture_add(&t, group.id, MEMBER_GROUP, MEMBER_READ);
	fixture_give(&t, w->c.user_id, group.id, &group, 1);
	command = fixture_change(&w->c, list, 2, &space);
	assert_int_equal(fixture_machine_do(&w->m, &command), 0);
	fixture_section_release(&s);
	fixture_section_release(&t);
}

static void test_what_is_shared_is_restored(void **state)
{
	static const enum key_family families[] = {KEY_MEMBER, KEY_MEMBER_VAULT,
		KEY_MEMBER_STATEMENT, KEY_VAULT_GROUP, KEY_MEMBER_OF, KEY_OBJECT, KEY_PACKET,
		KEY_PACKET_USE};
	struct world *w = *state;
	unsigned rows[ARRAY_SIZE(families)];
	struct import_end end;
	struct kv_view *view;
	uint64_t all;
	struct kv *kv;

	share(w);
	view = kv_view_new(w->m.kv);
	assert_int_equal(index_store_root(view, w->root, &all, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		rows[i] = count_rows(view, families[i]);
		assert_true(rows[i] > 0);
	}
	kv_view_free(view);
	end = end_of(w);
	kv = restore(w, &end);
	view = kv_view_new(kv);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		assert_int_equal(count_rows(view, families[i]), rows[i]);
	}
	kv_view_free(view);
	assert_int_equal(fixture_check_store(kv, NULL), 0);
	kv_close(kv);
}

/* Who was deleted after the snapshot is deleted again. */
static void test_deleted_persons_stay_deleted(void **state)
{
	struct world *w = *state;
	struct import_end end = end_of(w);
	uint8_t users[3][16] = {{9}};
	struct person_name_row name;
	struct kv_view *view;
	uint8_t work[16];
	struct kv *kv;

	memcpy(users[1], w->c.user_id, 16); /* A service account: not touched. */
	memcpy(users[2], w->p.user_id, 16);
	end.users = (const uint8_t(*)[16])users;
	end.n_users = 3;
	kv = restore(w, &end);
	view = kv_view_new(kv);
	assert_int_equal(person_name_store_get(view, w->p.name, &name, NULL), 0);
	assert_true(name.gone);
	assert_int_equal(count_rows(view, KEY_PERSON), 0);
	assert_int_equal(count_rows(view, KEY_USER_LEDGER), 1);
	assert_int_equal(user_work_store_first(view, work, NULL), 0);
	assert_memory_equal(work, w->p.user_id, 16);
	kv_view_free(view);
	assert_int_equal(fixture_check_store(kv, NULL), 0);
	kv_close(kv);
}

static int compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

/* What was revoked after the snapshot is revoked again, and nothing else; and it is in the ledger,
 * so that a later restore of what came before does it once more. */
static void test_revoked_devices_stay_revoked(void **state)
{
	struct world *w = *state;
	struct import_end end = end_of(w);
	uint8_t devices[3][16] = {{0xff}, {0}}; /* Two are nobody's. */
	struct deletion_note note;
	struct device_row device;
	struct object_row conv;
	struct kv_view *view;
	struct kv *kv;
	size_t n = 0;

	deletion_device_id(w->c.user_id, w->c.device_id, devices[2]);
	/* Her device, of another user: it is not hers that is meant. */
	deletion_device_id(w->c.user_id, w->p.device_id, devices[1]);
	qsort(devices, 3, 16, compare_ids);
	end.devices = (const uint8_t(*)[16])devices;
	end.n_devices = 3;
	kv = restore(w, &end);
	view = kv_view_new(kv);
	assert_int_equal(device_store_get(view, w->c.user_id, w->c.device_id, &device, NULL), 0);
	assert_true(device.revoked);
	assert_int_equal(device_store_get(view, w->p.user_id, w->p.device_id, &device, NULL), 0);
	assert_false(device.revoked);
	assert_int_equal(deletion_notes(view, KEY_DEVICE_LEDGER, NULL, &note, 1, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(count_rows(view, KEY_DEVICE_LEDGER), 1);
	assert_true(note.index == end.index && bsearch(note.id, devices, 3, 16, compare_ids));
	/* It has the keys of the conversation as it stands. */
	assert_int_equal(object_store_get(view, w->conv.id, &conv, NULL), 0);
	assert_true(conv.chat_stale && conv.chat_epoch == 1);
	kv_view_free(view);
	assert_int_equal(fixture_check_store(kv, NULL), 0);
	kv_close(kv);
}

/* Restores with these members (object, member) as removed behind the snapshot. */
static struct kv *restore_without(struct world *w, const uint8_t *const (*who)[2], size_t n)
{
	struct import_end end;
	uint8_t ids[4][16];
	struct kv_view *view = kv_view_new(w->m.kv);
	uint64_t all;
	struct kv *kv;

	assert_true(n < 4);
	assert_int_equal(index_store_root(view, w->root, &all, NULL), 0);
	kv_view_free(view);
	for (size_t i = 0; i < n; i++) {
		deletion_member_id(who[i][0], who[i][1], ids[i]);
	}
	memset(ids[n], 0xff, 16); /* Nobody's. */
	qsort(ids, n + 1, 16, compare_ids);
	end = end_of(w);
	end.members = (const uint8_t(*)[16])ids;
	end.n_members = n + 1;
	kv = restore(w, &end);
	view = kv_view_new(kv);
	/* In the ledger of the new lineage whoever was there: who comes later is not meant. */
	assert_int_equal(count_rows(view, KEY_MEMBER_LEDGER), n + 1);
	kv_view_free(view);
	assert_int_equal(fixture_check_store(kv, NULL), 0);
	return kv;
}

/* Who was removed after the snapshot, a user or a group, has no access, and is still a member by
 * the chain. */
static void test_removed_members_stay_out(void **state)
{
	struct world *w = *state;
	struct fixture_object group;
	const uint8_t *who[2][2];
	struct member_row member;
	struct vault_row vault;
	struct kv_view *view;
	unsigned role, lists;
	struct kv *kv;

	share(w);
	fixture_object_init(&group, MEMBER_OBJECT_GROUP, 1);
	view = kv_view_new(w->m.kv);
	lists = count_rows(view, KEY_MEMBER_VAULT);
	kv_view_free(view);
	who[0][0] = who[1][0] = w->c.vault_id;
	who[0][1] = w->other.user_id;
	who[1][1] = group.id;
	kv = restore_without(w, (const uint8_t *const(*)[2])who, 2);
	view = kv_view_new(kv);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(
			member_store_get(view, w->c.vault_id, who[i][1], &member, NULL), 0);
		assert_int_equal(member.state, MEMBER_DECLINED);
	}
	assert_int_equal(count_rows(view, KEY_MEMBER_VAULT), lists - 2);
	assert_int_equal(count_rows(view, KEY_VAULT_GROUP), 0);
	assert_int_equal(vault_store_check(view, w->c.vault_id, w->other.user_id, MEMBER_READ,
				 &vault, &role, NULL),
		KLUIS_ENOTFOUND);
	assert_int_equal(vault_store_check(view, w->c.vault_id, w->c.user_id, MEMBER_ADMIN, &vault,
				 &role, NULL),
		0);
	kv_view_free(view);
	kv_close(kv);
}

/* Nobody else could let anybody in: the admin of then is one again. In a conversation those who
 * are left make new keys. */
static void test_the_last_admin_stays(void **state)
{
	struct world *w = *state;
	const uint8_t *who[2][2] = {{w->c.vault_id, w->c.user_id}, {w->conv.id, w->other.user_id}};
	struct member_row member;
	struct object_row conv;
	struct kv_view *view;
	struct kv *kv;

	kv = restore_without(w, (const uint8_t *const(*)[2])who, 2);
	view = kv_view_new(kv);
	assert_int_equal(
		member_store_accepted(view, w->c.vault_id, w->c.user_id, &member, NULL), 0);
	assert_int_equal(member_store_get(view, w->conv.id, w->other.user_id, &member, NULL), 0);
	assert_int_equal(member.state, MEMBER_DECLINED);
	assert_int_equal(object_store_get(view, w->conv.id, &conv, NULL), 0);
	assert_true(conv.chat_stale);
	kv_view_free(view);
	kv_close(kv);
}

static void test_what_is_missing_is_seen(void **state)
{
	struct world *w = *state;
	struct import_end end = end_of(w);
	struct kv *kv = kv_memory_new();
	struct import *import;

	assert_int_equal(import_new(kv, &import, NULL), 0);
	copy_rows(w, import, 0, w->first); /* Without the newer increment. */
	assert_int_equal(import_finish(import, &end, NULL), KLUIS_EVERIFY);
	copy_rows(w, import, w->first, UINT64_MAX - 1);
	end.index--; /* Rows from behind the snapshot. */
	assert_int_equal(import_finish(import, &end, NULL), KLUIS_EVERIFY);
	end.index = 0;
	assert_int_equal(import_finish(import, &end, NULL), KLUIS_EINVAL);
	import_free(import);
	assert_int_equal(import_new(kv, &import, NULL), KLUIS_EEXIST);
	kv_close(kv);
}

static void test_damaged_rows(void **state)
{
	struct kv *kv = kv_memory_new();
	struct import *import;
	struct index_row row = {.at = {5, 0}, .key = bytes_str("\x20row")};

	(void)state;
	assert_int_equal(import_new(kv, &import, NULL), 0);
	hash_sha256(bytes_str("value"), row.hash);
	assert_int_equal(import_put(import, &row, bytes_str("valve"), NULL), KLUIS_EVERIFY);
	row.key = bytes_str("\xf1row");
	assert_int_equal(import_put(import, &row, bytes_str("value"), NULL), KLUIS_EINVAL);
	row.key = bytes_of(NULL, 0);
	assert_int_equal(import_put(import, &row, bytes_str("value"), NULL), KLUIS_EINVAL);
	row.key = bytes_str("\x20row");
	row.at.index = 0;
	assert_int_equal(import_put(import, &row, bytes_str("value"), NULL), KLUIS_EINVAL);
	import_free(import);
	kv_close(kv);
}

/* A batch takes each row by itself: a new one, one that moved, one that is older than what is
 * there. */
static void test_checked_rows(void **state)
{
	struct kv *kv = kv_memory_new();
	struct import *import;
	struct import_row rows[] = {
		{{.at = {5, 1}, .key = bytes_str("\x20one")}, bytes_str("first")},
		{{.at = {5, 2}, .key = bytes_str("\x20two")}, bytes_str("second")},
		{{.at = {6, 1}, .key = bytes_str("\x20three")}, bytes_str("third")},
	};
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct kv_view *view;
	uint8_t root[HASH_BYTES];
	uint64_t n = 0;

	(void)state;
	assert_int_equal(import_new(kv, &import, NULL), 0);
	assert_int_equal(import_put_checked(import, rows, 0, NULL), 0);
	assert_int_equal(import_put_checked(import, rows, 2, NULL), 0);
	rows[0].value = bytes_str("older");
	rows[0].row.at.index = 4;
	rows[1].value = bytes_str("newer");
	rows[1].row.at = (struct modification){7, 0};
	assert_int_equal(import_put_checked(import, rows, 3, NULL), 0);
	rows[2].row.key = bytes_str("\xf1row");
	assert_int_equal(import_put_checked(import, rows, 3, NULL), KLUIS_EINVAL);
	view = kv_view_new(kv);
	assert_int_equal(kv_get(view, bytes_str("\x20one"), &value, NULL), 0);
	assert_int_equal(kv_get(view, bytes_str("\x20two"), &value, NULL), 0);
	assert_int_equal(kv_get(view, bytes_str("\x20three"), &value, NULL), 0);
	assert_string_equal(buf_str(&value), "firstnewerthird");
	assert_int_equal(index_store_root(view, root, &n, NULL), 0);
	assert_int_equal(n, 3);
	kv_view_free(view);
	import_free(import);
	kv_close(kv);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_restored_cluster_goes_on),
		T(test_every_node_gets_the_same),
		T(test_restore_of_a_restore),
		T(test_record_is_a_row),
		T(test_foreign_record),
		T(test_ledger_is_applied),
		T(test_persons_are_restored),
		T(test_what_is_shared_is_restored),
		T(test_deleted_persons_stay_deleted),
		T(test_revoked_devices_stay_revoked),
		T(test_removed_members_stay_out),
		T(test_the_last_admin_stays),
		T(test_what_is_missing_is_seen),
		cmocka_unit_test(test_damaged_rows),
		cmocka_unit_test(test_checked_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
