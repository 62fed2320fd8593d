#include "storage/object_store.h"

#include <assert.h>
#include <string.h>

#include "storage/row.h"

static struct row_key object_key(const uint8_t object_id[16])
{
	struct row_key key = row_key_begin(KEY_OBJECT);

	row_key_put_id(&key, object_id);
	return key;
}

void object_row_encode(const struct object_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u8(to, row->kind);
	buf_put_u8(to, row->state);
	buf_put_u64(to, row->created_ms);
	buf_append(to, row->founder, sizeof row->founder);
	buf_put_u32(to, row->epoch);
	buf_append(to, row->group_kid, sizeof row->group_kid);
	buf_put_u32(to, row->members_rev);
	buf_append(to, row->members_hash, sizeof row->members_hash);
	buf_put_u32(to, row->chat_epoch);
	buf_put_u8(to, row->chat_stale);
	buf_put_lp16(to, bytes_of(row->group_key, row->group_key_bytes));
	buf_put_lp16(to, bytes_of(row->label, row->label_bytes));
}

/* A run of bounded length into its place. */
static uint16_t object_run(struct wire *w, uint8_t *to, size_t max)
{
	struct bytes run = wire_lp16(w, max);

	if (run.len > 0) {
		memcpy(to, run.data, run.len);
	}
	return (uint16_t)run.len;
}

int object_row_decode(
	struct bytes key, struct bytes value, struct object_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_OBJECT), w = row_wire(value);
	struct object_row row = {0};
	int rc;

	wire_copy(&k, row.object_id, 16);
	row.kind = wire_u8(&w);
	row.state = wire_u8(&w);
	if ((row.kind != MEMBER_OBJECT_GROUP && row.kind != MEMBER_OBJECT_CONVERSATION) ||
		(row.state != OBJECT_ACTIVE && row.state != OBJECT_GONE)) {
		wire_fail(&w);
	}
	row.created_ms = wire_u64(&w);
	wire_copy(&w, row.founder, sizeof row.founder);
	row.epoch = wire_u32(&w);
	wire_copy(&w, row.group_kid, sizeof row.group_kid);
	row.members_rev = wire_u32(&w);
	wire_copy(&w, row.members_hash, sizeof row.members_hash);
	row.chat_epoch = wire_u32(&w);
	row.chat_stale = row_bool(&w);
	row.group_key_bytes = (uint8_t)object_run(&w, row.group_key, GROUP_KEY_BYTES_MAX);
	row.label_bytes = object_run(&w, row.label, OBJECT_LABEL_BYTES_MAX);
	rc = row_end(&k, &w, KEY_OBJECT, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int object_store_get(const struct kv_view *view, const uint8_t object_id[16],
	struct object_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = object_key(object_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? object_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

void object_store_put(struct txn *txn, const struct object_row *row)
{
	struct row_key key = object_key(row->object_id);
	struct buf value = BUF_INIT;

	object_row_encode(row, &value);
	row_put(txn, &key, &value);
}

int object_store_check(const struct kv_view *view, unsigned kind, const uint8_t object_id[16],
	const uint8_t user_id[16], unsigned role_min, bool invited, struct object_row *ret_row,
	struct member_row *ret_member, struct err *e)
{
	struct member_row member;
	struct object_row row;
	int rc = object_store_get(view, object_id, &row, e);

	if (rc == 0 && kind != 0 && row.kind != kind) {
		rc = KLUIS_ENOTFOUND;
	}
	rc = rc != 0 ? rc : member_store_get(view, object_id, user_id, &member, e);
	if (rc == KLUIS_ENOTFOUND ||
		(rc == 0 && (member.kind != MEMBER_USER || member.state == MEMBER_DECLINED))) {
		return err_set(e, KLUIS_ENOTFOUND, "no such group or conversation");
	}
	if (rc != 0) {
		return rc;
	}
	if (row.state != OBJECT_ACTIVE) {
		return err_set(e, KLUIS_EGONE, "it was deleted");
	}
	if (member.state != MEMBER_ACCEPTED && !invited) {
		return err_set(e, KLUIS_EFORBIDDEN, "the invitation was not accepted yet");
	}
	if (member.role < role_min) {
		return err_set(e, KLUIS_EFORBIDDEN, "your role does not allow it");
	}
	*ret_row = row;
	*ret_member = member;
	return 0;
}

int object_id_taken(
	const struct kv_view *view, const uint8_t id[16], bool *ret_taken, struct err *e)
{
	struct object_row object;
	struct vault_row vault;
	int rc = vault_store_get(view, id, &vault, e);

	if (rc == KLUIS_ENOTFOUND) {
		rc = object_store_get(view, id, &object, e);
	}
	if (rc == 0 || rc == KLUIS_ENOTFOUND) {
		*ret_taken = rc == 0;
		return 0;
	}
	return rc;
}

static void access_take(struct vault_access *access, const struct member_of *group)
{
	if (group->role > access->role) {
		access->role = group->role;
		access->state = MEMBER_ACCEPTED;
		access->by_group = true;
		memcpy(access->via, group->object_id, 16);
	}
}

/* No group gives more than MEMBER_WRITE: whoever has that is not looked up further. */
static int access_groups(const struct kv_view *view, const uint8_t user_id[16],
	struct vault_access *access, struct err *e)
{
	struct member_of groups[VAULT_GROUPS_MAX];
	struct member_row member;
	size_t n = 0;
	int rc = member_store_groups(view, access->vault_id, groups, &n, e);

	for (size_t i = 0; rc == 0 && i < n && access->role < MEMBER_WRITE; i++) {
		rc = member_store_accepted(view, groups[i].object_id, user_id, &member, e);
		if (rc == 0) {
			access_take(access, &groups[i]);
		}
		rc = rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	return rc;
}

int vault_access_get(const struct kv_view *view, const uint8_t vault_id[16],
	const uint8_t user_id[16], struct vault_access *ret_access, struct err *e)
{
	struct vault_access access = {.role = 0};
	struct member_row own;
	int rc = member_store_get(view, vault_id, user_id, &own, e);

	memcpy(access.vault_id, vault_id, 16);
	if (rc == 0 && own.kind == MEMBER_USER && own.state != MEMBER_DECLINED) {
		access.state = own.state;
		access.role = own.state == MEMBER_ACCEPTED ? own.role : 0;
		access.invited_role = own.state == MEMBER_INVITED ? own.role : 0;
	}
	rc = rc == KLUIS_ENOTFOUND ? 0 : rc;
	if (rc == 0 && access.role < MEMBER_WRITE) {
		rc = access_groups(view, user_id, &access, e);
	}
	if (rc == 0 && access.state == 0) {
		rc = err_set(e, KLUIS_ENOTFOUND, "no such vault");
	}
	if (rc == 0) {
		*ret_access = access;
	}
	return rc;
}

/* The vaults of a user or of one of her groups, ascending, the next of each known: merged. */
struct access_source {
	struct kv_iter *iter; /* NULL: at its end. */
	struct member_of next;
	bool group;
	uint8_t group_id[16];
};

static int source_advance(struct access_source *source, struct err *e)
{
	int rc;

	if (kv_iter_next(source->iter)) {
		return member_of_decode(
			kv_iter_key(source->iter), kv_iter_value(source->iter), &source->next, e);
	}
	rc = kv_iter_status(source->iter, e);
	kv_iter_free(source->iter);
	source->iter = NULL;
	return rc;
}

static int source_open(struct access_source *source, const struct kv_view *view,
	const uint8_t member_id[16], const uint8_t *after, struct err *e)
{
	struct row_key first = row_key_begin(KEY_MEMBER_VAULT), end;

	row_key_put_id(&first, member_id);
	end = row_key_after_prefix(&first);
	if (after != NULL) {
		row_key_put_id(&first, after);
		row_key_put_u8(&first, 0); /* The smallest key behind it. */
	}
	source->iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	return source_advance(source, e);
}

struct access_merge {
	struct access_source source[1 + USER_GROUPS_MAX];
	size_t n;
};

static int merge_open(struct access_merge *merge, const struct kv_view *view,
	const uint8_t user_id[16], const uint8_t *after, struct err *e)
{
	_cleanup_(x_freep) struct member_of *groups = x_calloc(LIST_LIMIT_MAX, sizeof *groups);
	const uint8_t *last = NULL;
	uint8_t place[16];
	size_t n = 0;
	int rc = source_open(&merge->source[merge->n++], view, user_id, after, e);

	/* Invitations are many, if somebody wants; those accepted are bounded. */
	do {
		rc = rc != 0 ? rc
			     : member_store_objects(view, MEMBER_OBJECT_GROUP, user_id, last,
				       groups, LIST_LIMIT_MAX, &n, e);
		for (size_t i = 0; rc == 0 && i < n && merge->n <= USER_GROUPS_MAX; i++) {
			struct access_source *source = &merge->source[merge->n];

			if (groups[i].state == MEMBER_ACCEPTED) {
				source->group = true;
				memcpy(source->group_id, groups[i].object_id, 16);
				merge->n++;
				rc = source_open(source, view, groups[i].object_id, after, e);
			}
			last = memcpy(place, groups[i].object_id, 16);
		}
	} while (rc == 0 && n == LIST_LIMIT_MAX && merge->n <= USER_GROUPS_MAX);
	return rc;
}

static void merge_close(struct access_merge *merge)
{
	for (size_t i = 0; i < merge->n; i++) {
		kv_iter_free(merge->source[i].iter);
	}
}

/* The lowest vault that any source stands at. */
static const uint8_t *merge_lowest(const struct access_merge *merge)
{
	const uint8_t *lowest = NULL;

	for (size_t i = 0; i < merge->n; i++) {
		const struct access_source *source = &merge->source[i];

		if (source->iter != NULL &&
			(lowest == NULL || memcmp(source->next.object_id, lowest, 16) < 0)) {
			lowest = source->next.object_id;
		}
	}
	return lowest;
}

/* The own row comes first: a group counts where it gives more. */
static int merge_take(struct access_merge *merge, struct vault_access *access, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < merge->n; i++) {
		struct access_source *source = &merge->source[i];
		struct member_of group = source->next;

		if (source->iter == NULL || memcmp(group.object_id, access->vault_id, 16) != 0) {
			continue;
		}
		if (source->group) {
			memcpy(group.object_id, source->group_id, 16);
			access_take(access, &group);
		} else {
			access->state = group.state;
			access->role = group.state == MEMBER_ACCEPTED ? group.role : 0;
			access->invited_role = group.state == MEMBER_INVITED ? group.role : 0;
		}
		rc = source_advance(source, e);
	}
	return rc;
}

int vault_access_list(const struct kv_view *view, const uint8_t user_id[16], const uint8_t *after,
	struct vault_access *ret_vaults, size_t max, size_t *ret_n, struct err *e)
{
	_cleanup_(x_freep) struct access_merge *merge = x_calloc(1, sizeof *merge);
	const uint8_t *lowest;
	size_t n = 0;
	int rc = merge_open(merge, view, user_id, after, e);

	while (rc == 0 && n < max && (lowest = merge_lowest(merge)) != NULL) {
		struct vault_access access = {.role = 0};

		memcpy(access.vault_id, lowest, 16);
		rc = merge_take(merge, &access, e);
		ret_vaults[n++] = access;
	}
	merge_close(merge);
	if (rc == 0) {
		*ret_n = n;
	}
	return rc;
}

int group_visible(const struct kv_view *view, const uint8_t group_id[16], const uint8_t user_id[16],
	bool *ret_visible, struct err *e)
{
	_cleanup_(x_freep) struct member_of *vaults = x_calloc(GROUP_VAULTS_MAX, sizeof *vaults);
	struct vault_access access;
	struct member_row member;
	size_t n = 0;
	int rc = member_store_get(view, group_id, user_id, &member, e);
	bool visible = rc == 0 && member.kind == MEMBER_USER && member.state != MEMBER_DECLINED;

	rc = rc == KLUIS_ENOTFOUND ? 0 : rc;
	if (rc == 0 && !visible) {
		rc = member_store_objects(
			view, MEMBER_OBJECT_VAULT, group_id, NULL, vaults, GROUP_VAULTS_MAX, &n, e);
	}
	for (size_t i = 0; rc == 0 && i < n && !visible; i++) {
		rc = vault_access_get(view, vaults[i].object_id, user_id, &access, e);
		visible = rc == 0;
		rc = rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	if (rc == 0) {
		*ret_visible = visible;
	}
	return rc;
}
