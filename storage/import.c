#include "storage/import.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/member.h"
#include "storage/chat_store.h"
#include "storage/cluster_store.h"
#include "storage/deletion_store.h"
#include "storage/member_store.h"
#include "storage/object_store.h"
#include "storage/restore_store.h"
#include "storage/row.h"
#include "storage/upkeep_store.h"
#include "storage/vault_store.h"

enum {
	IMPORT_CHUNK_ROWS = 4096, /* Of one batch of the last step. */
	IMPORT_ORDINAL = 1 << 30, /* Above all ordinals that an entry gives. */
	IMPORT_ROW_CHANGES = 4,
	IMPORT_ROW_BYTES = 192, /* Beside its key twice: keys and values of its index rows. */
};

struct import {
	struct kv *kv;
	struct import_deleted deleted;
	/* Of one write. */
	struct kv_change *changes;
	size_t n, room;
	struct buf kept; /* Keys and values of index rows: reserved, so that they stay in place. */
};

static int import_check_empty(struct kv *kv, struct err *e)
{
	struct kv_view *view = kv_view_new(kv);
	struct kv_iter *iter = kv_iter_new(view, bytes_of(NULL, 0), bytes_of(NULL, 0));
	bool any = kv_iter_next(iter);
	int rc = any ? 0 : kv_iter_status(iter, e);

	kv_iter_free(iter);
	kv_view_free(view);
	return any ? err_set(e, KLUIS_EEXIST, "restore: the store is not empty") : rc;
}

int import_new(struct kv *kv, struct import **ret_import, struct err *e)
{
	struct import *import;
	int rc = import_check_empty(kv, e);

	if (rc == 0) {
		import = x_calloc(1, sizeof *import);
		import->kv = kv;
		*ret_import = import;
	}
	return rc;
}

void import_free(struct import *import)
{
	if (import != NULL) {
		free(import->changes);
		buf_release(&import->kept);
		free(import);
	}
}

static int import_check(const struct import_row *row, struct err *e)
{
	if (!row_key_is_row(row->row.key) || row->row.at.index == 0) {
		return err_set(e, KLUIS_EINVAL, "restore: no key of a row");
	}
	if (!row->row.deleted && row->value.len > KV_VALUE_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "restore: a row of %zu bytes", row->value.len);
	}
	return 0;
}

/* What is there of this key; an index of 0 when nothing is. */
static int import_old(
	const struct kv_view *view, struct bytes key, struct modification *ret_at, struct err *e)
{
	struct index_row old;
	int rc = index_store_of(view, key, &old, e);

	*ret_at = rc == 0 ? old.at : (struct modification){0};
	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

/* Rows that are made here live until the write: from `at` on. */
static struct bytes import_kept(const struct import *import, size_t at)
{
	assert(import->kept.len <= import->kept.cap);
	return bytes_of(import->kept.data + at, import->kept.len - at);
}

static struct bytes import_keep(struct import *import, const struct row_key *key)
{
	size_t at = import->kept.len;

	buf_append_bytes(&import->kept, row_key_bytes(key));
	return import_kept(import, at);
}

static void import_add(struct import *import, const struct import_row *row, struct modification old)
{
	struct kv_change *to = &import->changes[import->n];
	struct row_key by = index_by_key(&row->row.at), of = index_of_key(row->row.key), old_by;
	size_t at;

	if (old.index != 0) {
		old_by = index_by_key(&old);
		*to++ = (struct kv_change){.key = import_keep(import, &old_by), .deleted = true};
	}
	*to++ = (struct kv_change){row->row.key, row->value, row->row.deleted};
	to->key = import_keep(import, &by);
	at = import->kept.len;
	index_row_encode(&row->row, &import->kept);
	to->value = import_kept(import, at);
	to++->deleted = false;
	to->key = import_keep(import, &of);
	at = import->kept.len;
	index_of_encode(&row->row, &import->kept);
	to->value = import_kept(import, at);
	to++->deleted = false;
	import->n = (size_t)(to - import->changes);
}

/* Room for what import_add() makes of all of them. */
static void import_begin(struct import *import, const struct import_row *rows, size_t n)
{
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++) {
		bytes += 2 * rows[i].row.key.len + IMPORT_ROW_BYTES;
	}
	buf_clear(&import->kept);
	buf_reserve(&import->kept, bytes);
	import->n = 0;
	if (import->room < IMPORT_ROW_CHANGES * n) {
		import->room = IMPORT_ROW_CHANGES * n;
		import->changes =
			x_realloc(import->changes, import->room * sizeof *import->changes);
	}
}

int import_put_checked(
	struct import *import, const struct import_row *rows, size_t n, struct err *e)
{
	struct kv_view *view = kv_view_new(import->kv);
	int rc = 0;

	import_begin(import, rows, n);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct modification old;

		rc = import_check(&rows[i], e);
		rc = rc != 0 ? rc : import_old(view, rows[i].row.key, &old, e);
		if (rc == 0 && modification_compare(&old, &rows[i].row.at) < 0) {
			import_add(import, &rows[i], old);
		}
	}
	kv_view_free(view);
	if (rc != 0 || import->n == 0) {
		return rc;
	}
	return kv_write(import->kv, import->changes, import->n, e);
}

int import_put(
	struct import *import, const struct index_row *row, struct bytes value, struct err *e)
{
	const struct import_row one = {*row, value};
	uint8_t hash[HASH_BYTES];

	if (!row->deleted && row_key_is_row(row->key)) {
		hash_sha256(value, hash);
		if (memcmp(hash, row->hash, sizeof hash) != 0) {
			return err_set(e, KLUIS_EVERIFY, "restore: a row of family '%s' is damaged",
				row_key_family_name(row->key.data[0]));
		}
	}
	return import_put_checked(import, &one, 1, e);
}

/* The rows are those of the manifest, and the record is for them. */
static int import_check_end(struct import *import, const struct import_end *end,
	const struct restore_record *record, struct err *e)
{
	struct kv_view *view = kv_view_new(import->kv);
	struct cluster_row cluster;
	uint8_t root[HASH_BYTES];
	uint64_t rows;
	int rc = index_store_root(view, root, &rows, e);

	if (rc == 0 && memcmp(root, end->state_root, sizeof root) != 0) {
		rc = err_set(e, KLUIS_EVERIFY,
			"restore: %llu rows do not make the manifest's state root",
			(unsigned long long)rows);
	}
	if (rc == 0) {
		rc = cluster_store_get(view, &cluster, e);
	}
	if (rc == KLUIS_ENOTFOUND ||
		(rc == 0 && (memcmp(cluster.cluster_id, record->cluster_id, ID_BYTES) != 0 ||
				    memcmp(cluster.lineage, record->old_lineage, ID_BYTES) != 0))) {
		rc = err_set(e, KLUIS_EVERIFY,
			"restore: the rows are another cluster's than the record's");
	}
	if (rc == 0 && record->raft_index != end->index) {
		rc = err_set(e, KLUIS_EVERIFY, "restore: the record is for another index");
	}
	kv_view_free(view);
	return rc;
}

struct import_deleted import_deleted(const struct import *import)
{
	return import->deleted;
}

/* The last step's working copy: commands and batches of bounded size. */
struct import_tail {
	struct txn *txn;
	struct import_deleted deleted;
	size_t pending;
	uint32_t ordinal;
};

static int tail_store(struct import_tail *tail, struct err *e)
{
	int rc = txn_command_commit(tail->txn, e);

	if (rc == 0) {
		rc = txn_store(tail->txn, e);
	}
	tail->ordinal += (uint32_t)tail->pending;
	tail->pending = 0;
	return rc;
}

static void tail_resume(struct import_tail *tail)
{
	txn_entry_resume(tail->txn, tail->ordinal);
	txn_command_begin(tail->txn);
}

static bool tail_queue_is_dropped(uint8_t kind)
{
	return kind == EXPIRY_SESSION || kind == EXPIRY_IDEMPOTENCY || kind == EXPIRY_GUARD ||
	       kind == EXPIRY_PENDING || kind == EXPIRY_RECOVERY;
}

/* Sessions and what else was promised by the old cluster; the records of its own backups, for a new
 * lineage begins with a full one. */
bool import_drops(struct bytes key)
{
	switch (key.data[0]) {
	case KEY_SESSION:
	case KEY_USER_SESSION:
	case KEY_IDEMPOTENCY:
	case KEY_HASH_REPORT:
	case KEY_NODE:
	case KEY_POLICY:
	case KEY_NODE_POLICY:
	case KEY_SERVER:
	case KEY_SERVERS:
	case KEY_SNAPSHOT:
	case KEY_SNAPSHOT_STATE:
	case KEY_CYCLE:
	case KEY_CHECK:
	case KEY_NODE_BACKUP:
	case KEY_JOURNAL:
	case KEY_STATE_ROOT:
	case KEY_GUARD:
	case KEY_GUARD_STRANGERS:
	case KEY_PENDING:
	case KEY_RECOVERY:
		return true;
	case KEY_EXPIRY:
		return key.len > 9 && tail_queue_is_dropped(key.data[9]);
	default:
		return false;
	}
}

bool import_touches(struct bytes key)
{
	switch (key.data[0]) {
	case KEY_CLUSTER:
	case KEY_AUDIT_STATE:
	case KEY_AUDIT:
	case KEY_RESTORE:
		return true;
	default:
		return import_drops(key);
	}
}

/* One chunk of a family; *ret_more says that it filled up. */
static int tail_drop_some(struct import_tail *tail, struct kv *kv, enum key_family family,
	bool *ret_more, struct err *e)
{
	struct row_key first = row_key_begin(family), end = row_key_after_prefix(&first);
	struct kv_view *view = kv_view_new(kv);
	struct kv_iter *iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	int rc;

	tail_resume(tail);
	while (tail->pending < IMPORT_CHUNK_ROWS && kv_iter_next(iter)) {
		if (import_drops(kv_iter_key(iter))) {
			txn_delete(tail->txn, kv_iter_key(iter));
			tail->pending++;
		}
	}
	rc = kv_iter_status(iter, e);
	*ret_more = tail->pending == IMPORT_CHUNK_ROWS;
	kv_iter_free(iter);
	kv_view_free(view);
	if (rc != 0) {
		txn_command_abort(tail->txn);
		return rc;
	}
	return tail_store(tail, e);
}

static int tail_drop(struct import_tail *tail, struct kv *kv, struct err *e)
{
	static const enum key_family families[] = {KEY_SESSION, KEY_USER_SESSION, KEY_IDEMPOTENCY,
		KEY_EXPIRY, KEY_HASH_REPORT, KEY_NODE, KEY_POLICY, KEY_NODE_POLICY, KEY_SERVER,
		KEY_SERVERS, KEY_SNAPSHOT, KEY_SNAPSHOT_STATE, KEY_CYCLE, KEY_CHECK,
		KEY_NODE_BACKUP, KEY_JOURNAL, KEY_STATE_ROOT, KEY_GUARD, KEY_GUARD_STRANGERS,
		KEY_PENDING, KEY_RECOVERY};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(families); i++) {
		bool more = true;

		while (rc == 0 && more) {
			rc = tail_drop_some(tail, kv, families[i], &more, e);
		}
	}
	return rc;
}

/* What was deleted after the snapshot stays deleted. */
static int tail_delete_vault(struct import_tail *tail, const struct import_end *end,
	const uint8_t vault_id[16], struct err *e)
{
	struct vault_row vault;
	int rc;

	tail_resume(tail);
	rc = vault_store_get(txn_view(tail->txn), vault_id, &vault, e);
	if (rc == 0 && vault.state == VAULT_ACTIVE) {
		rc = deletion_vault(tail->txn, &vault, end->index, end->cluster_time_ms, e);
		tail->pending = MEMBERS_MAX + 3;
		tail->deleted.vaults++;
	}
	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		txn_command_abort(tail->txn);
		return rc;
	}
	return tail_store(tail, e);
}

static int tail_delete_person(struct import_tail *tail, const struct import_end *end,
	const uint8_t user_id[16], struct err *e)
{
	int rc;

	tail_resume(tail);
	rc = deletion_person(tail->txn, user_id, end->index, end->cluster_time_ms, e);
	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		txn_command_abort(tail->txn);
		return rc;
	}
	tail->deleted.persons += rc == 0;
	tail->pending = DELETION_PERSON_ROWS_MAX;
	return tail_store(tail, e);
}

static int end_id_compare(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

static bool end_has(const uint8_t (*ids)[16], size_t n, const uint8_t id[16])
{
	return n > 0 && bsearch(id, ids, n, 16, end_id_compare) != NULL;
}

static bool end_revokes(const struct import_end *end, const struct device_row *device)
{
	uint8_t id[16];

	deletion_device_id(device->user_id, device->device_id, id);
	return !device->revoked && end_has(end->devices, end->n_devices, id);
}

/* One chunk of the devices that iter comes to next; *ret_more says that it filled up. */
static int tail_revoke_some(struct import_tail *tail, const struct import_end *end,
	struct kv_iter *iter, bool *ret_more, struct err *e)
{
	struct device_row device;
	int rc = 0;

	tail_resume(tail);
	while (rc == 0 && tail->pending < IMPORT_CHUNK_ROWS && kv_iter_next(iter)) {
		rc = device_row_decode(kv_iter_key(iter), kv_iter_value(iter), &device, e);
		if (rc == 0 && end_revokes(end, &device)) {
			deletion_device(tail->txn, &device, end->index, end->cluster_time_ms);
			rc = chat_store_stale(tail->txn, device.user_id, e);
			tail->deleted.devices++;
			tail->pending += 2 + USER_CONVERSATIONS_MAX;
		}
	}
	rc = rc != 0 ? rc : kv_iter_status(iter, e);
	*ret_more = tail->pending >= IMPORT_CHUNK_ROWS;
	if (rc != 0) {
		txn_command_abort(tail->txn);
		return rc;
	}
	return tail_store(tail, e);
}

/* What was revoked is not to sign in again; the statement that says so to others is lost, and is
 * the owner's to make anew. */
static int tail_revoke(
	struct import_tail *tail, const struct import_end *end, struct kv *kv, struct err *e)
{
	struct row_key first = row_key_begin(KEY_DEVICE), last = row_key_after_prefix(&first);
	struct kv_view *view = kv_view_new(kv);
	struct kv_iter *iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&last));
	bool more = end->n_devices > 0;
	int rc = 0;

	while (rc == 0 && more) {
		rc = tail_revoke_some(tail, end, iter, &more, e);
	}
	kv_iter_free(iter);
	kv_view_free(view);
	return rc;
}

/* In the new lineage's ledger, whoever was there: who is let in later must not be taken for one who
 * was removed by a further restore. */
static int tail_note_members(struct import_tail *tail, const struct import_end *end, struct err *e)
{
	struct deletion_note note = {.index = end->index, .time_ms = end->cluster_time_ms};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < end->n_members;) {
		tail_resume(tail);
		for (; tail->pending < IMPORT_CHUNK_ROWS && i < end->n_members; i++) {
			memcpy(note.id, end->members[i], sizeof note.id);
			deletion_member(tail->txn, &note);
			tail->pending++;
		}
		rc = tail_store(tail, e);
	}
	return rc;
}

static bool tail_is_admin(const struct member_row *member)
{
	return member->kind == MEMBER_USER && member->role == MEMBER_ADMIN &&
	       member->state == MEMBER_ACCEPTED;
}

/* Whether nobody but this one could remove and let in. */
static int tail_last_admin(
	struct import_tail *tail, const struct member_row *member, bool *ret_last, struct err *e)
{
	_cleanup_(x_freep) struct member_row *rows = NULL;
	size_t n = 0, admins = 0;
	int rc;

	*ret_last = false;
	if (!tail_is_admin(member)) {
		return 0;
	}
	rows = x_calloc(MEMBERS_MAX, sizeof *rows);
	rc = member_store_list(
		txn_view(tail->txn), member->object_id, NULL, rows, MEMBERS_MAX, &n, e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		admins += tail_is_admin(&rows[i]);
	}
	*ret_last = admins == 1;
	return rc;
}

/* As one who declined: no access, and a member by the chain until an admin removes her. A
 * conversation is written under new keys from then on. */
static int tail_shut_out(struct import_tail *tail, struct member_row *member, struct err *e)
{
	unsigned kind = MEMBER_OBJECT_VAULT;
	struct object_row object;
	struct vault_row vault;
	int rc = vault_store_get(txn_view(tail->txn), member->object_id, &vault, e);

	if (rc == KLUIS_ENOTFOUND) {
		rc = object_store_get(txn_view(tail->txn), member->object_id, &object, e);
		kind = rc == 0 ? object.kind : 0;
	}
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc; /* Nothing to have access to. */
	}
	member->state = MEMBER_DECLINED;
	member_store_put(tail->txn, kind, member);
	if (kind == MEMBER_OBJECT_CONVERSATION) {
		object.chat_stale = true;
		object_store_put(tail->txn, &object);
	}
	return 0;
}

static int tail_remove(
	struct import_tail *tail, const struct import_end *end, struct bytes key, struct err *e)
{
	struct member_row member;
	uint8_t id[16];
	bool last = false;
	int rc;

	deletion_member_id(key.data + 1, key.data + 17, id);
	if (!end_has(end->members, end->n_members, id)) {
		return 0;
	}
	/* As it is by now, not as it was when the walk began. */
	rc = member_store_get(txn_view(tail->txn), key.data + 1, key.data + 17, &member, e);
	if (rc != 0 || member.state == MEMBER_DECLINED) {
		return rc;
	}
	rc = tail_last_admin(tail, &member, &last, e);
	if (rc == 0 && last) {
		tail->deleted.admins_kept++;
		return 0;
	}
	rc = rc != 0 ? rc : tail_shut_out(tail, &member, e);
	tail->deleted.members += rc == 0;
	tail->pending += 4; /* The member's rows and the object's. */
	return rc;
}

static int tail_remove_some(struct import_tail *tail, const struct import_end *end,
	struct kv_iter *iter, bool *ret_more, struct err *e)
{
	int rc = 0;

	tail_resume(tail);
	while (rc == 0 && tail->pending < IMPORT_CHUNK_ROWS && kv_iter_next(iter)) {
		rc = kv_iter_key(iter).len == 33
			     ? tail_remove(tail, end, kv_iter_key(iter), e)
			     : err_set(e, KLUIS_ECORRUPT, "restore: no key of a member");
	}
	rc = rc != 0 ? rc : kv_iter_status(iter, e);
	*ret_more = tail->pending >= IMPORT_CHUNK_ROWS;
	if (rc != 0) {
		txn_command_abort(tail->txn);
		return rc;
	}
	return tail_store(tail, e);
}

static int tail_members(
	struct import_tail *tail, const struct import_end *end, struct kv *kv, struct err *e)
{
	struct row_key first = row_key_begin(KEY_MEMBER), last = row_key_after_prefix(&first);
	struct kv_view *view = kv_view_new(kv);
	struct kv_iter *iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&last));
	bool more = end->n_members > 0;
	int rc = 0;

	while (rc == 0 && more) {
		rc = tail_remove_some(tail, end, iter, &more, e);
	}
	kv_iter_free(iter);
	kv_view_free(view);
	return rc != 0 ? rc : tail_note_members(tail, end, e);
}

static int tail_cluster(struct import_tail *tail, const struct import_end *end,
	const struct restore_record *record, struct err *e)
{
	struct audit_row audit = {.time_ms = end->cluster_time_ms,
		.index = end->index,
		.actor = bytes_str("restore"),
		.object = bytes_of(record->new_lineage, ID_BYTES)};
	struct cluster_row row;
	int rc;

	tail_resume(tail);
	rc = cluster_store_get(txn_view(tail->txn), &row, e);
	if (rc == 0) {
		memcpy(row.lineage, record->new_lineage, ID_BYTES);
		row.read_only = false;
		cluster_store_put(tail->txn, &row);
		rc = audit_store_add(tail->txn, &audit, e);
		rc = rc != 0 ? rc : restore_store_add(tail->txn, end->record, e);
		tail->pending = 5;
	}
	if (rc != 0) {
		txn_command_abort(tail->txn);
		return rc;
	}
	return tail_store(tail, e);
}

/* Everything moved the state hash; all nodes of the new cluster begin with this one. */
static int tail_position(struct import_tail *tail, const struct import_end *end, struct err *e)
{
	struct position *p = txn_position(tail->txn);

	p->commands = 0;
	p->report_index = end->index;
	HASH_TH(p->state_hash, "kluis/v1/state-restored", bytes_of(end->record, sizeof end->record),
		bytes_of(end->state_root, 32));
	memcpy(p->report_hash, p->state_hash, sizeof p->report_hash);
	tail_resume(tail);
	return tail_store(tail, e);
}

/* The changes of the last step belong to entry S, behind all that is known of it: a cluster that
 * was restored before may have such changes there already. */
static int tail_first_ordinal(
	struct import *import, const struct import_end *end, uint32_t *ret_ordinal, struct err *e)
{
	struct kv_view *view = kv_view_new(import->kv);
	struct index_iter *iter = index_iter_new(view, end->index - 1, UINT64_MAX);
	struct index_row row;
	bool later = false;
	int rc;

	*ret_ordinal = IMPORT_ORDINAL;
	while (index_iter_next(iter, &row)) {
		later |= row.at.index > end->index;
		if (row.at.ordinal >= *ret_ordinal) {
			*ret_ordinal = row.at.ordinal + 1;
		}
	}
	rc = index_iter_status(iter, e);
	index_iter_free(iter);
	kv_view_free(view);
	return later ? err_set(e, KLUIS_EVERIFY, "restore: rows from behind the snapshot") : rc;
}

int import_finish(struct import *import, const struct import_end *end, struct err *e)
{
	struct position start = {
		.index = end->index, .term = end->term, .cluster_time_ms = end->cluster_time_ms};
	struct import_tail tail = {0};
	struct restore_record record;
	int rc;

	if (end->index == 0) {
		return err_set(e, KLUIS_EINVAL, "restore: no snapshot is taken at index 0");
	}
	rc = restore_record_parse(bytes_of(end->record, sizeof end->record), &record, e);
	rc = rc != 0 ? rc : import_check_end(import, end, &record, e);
	if (rc == 0) {
		rc = tail_first_ordinal(import, end, &tail.ordinal, e);
	}
	if (rc != 0) {
		return rc;
	}
	tail.txn = txn_new(import->kv, &start);
	rc = tail_drop(&tail, import->kv, e);
	for (size_t i = 0; rc == 0 && i < end->n_ledger; i++) {
		rc = tail_delete_vault(&tail, end, end->ledger[i], e);
	}
	for (size_t i = 0; rc == 0 && i < end->n_users; i++) {
		rc = tail_delete_person(&tail, end, end->users[i], e);
	}
	rc = rc != 0 ? rc : tail_revoke(&tail, end, import->kv, e);
	rc = rc != 0 ? rc : tail_members(&tail, end, import->kv, e);
	if (rc == 0) {
		rc = tail_cluster(&tail, end, &record, e);
	}
	if (rc == 0) {
		rc = tail_position(&tail, end, e);
	}
	txn_free(tail.txn);
	import->deleted = tail.deleted;
	return rc == 0 ? kv_flush(import->kv, e) : rc;
}
