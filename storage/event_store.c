#include "storage/event_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "storage/index_store.h"
#include "storage/member_store.h"
#include "storage/row.h"
#include "storage/upkeep_store.h"

void event_topics_release(struct event_topics *topics)
{
	free(topics->topic);
	*topics = (struct event_topics){0};
}

int event_topic_compare(const void *a, const void *b)
{
	const struct event_topic *left = a, *right = b;

	if (left->audience != right->audience) {
		return left->audience < right->audience ? -1 : 1;
	}
	return memcmp(left->id, right->id, sizeof left->id);
}

static int topics_add(struct event_topics *topics, enum event_audience audience,
	const uint8_t id[16], struct err *e)
{
	if (topics->n == EVENT_TOPICS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more than %u objects to be told of",
			(unsigned)EVENT_TOPICS_MAX);
	}
	if (topics->n == topics->cap) {
		topics->cap = topics->cap == 0 ? 8 : 2 * topics->cap;
		topics->topic = x_realloc(topics->topic, topics->cap * sizeof *topics->topic);
	}
	topics->topic[topics->n].audience = (uint8_t)audience;
	memcpy(topics->topic[topics->n++].id, id, 16);
	return 0;
}

/* Rows of index_of, tombstones among them, whose rows' keys begin { family | id }. */
struct row_walk {
	struct kv_iter *iter;
	int rc;
	struct err err;
};

static struct row_walk row_walk_begin(
	const struct kv_view *view, enum key_family family, const uint8_t id[16])
{
	struct row_key prefix = row_key_begin(family), first, end;

	row_key_put_id(&prefix, id);
	first = index_of_key(row_key_bytes(&prefix));
	end = row_key_after_prefix(&first);
	return (struct row_walk){
		.iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end))};
}

static bool row_walk_next(struct row_walk *walk, struct index_row *ret_row)
{
	if (walk->rc != 0 || !kv_iter_next(walk->iter)) {
		return false;
	}
	walk->rc = index_of_decode(
		kv_iter_key(walk->iter), kv_iter_value(walk->iter), ret_row, &walk->err);
	return walk->rc == 0;
}

static int row_walk_end(struct row_walk *walk, struct err *e)
{
	int rc = walk->rc;

	if (rc == 0) {
		rc = kv_iter_status(walk->iter, e);
	} else {
		(void)err_set(e, rc, "%s", walk->err.text);
	}
	kv_iter_free(walk->iter);
	return rc;
}

/* What this user or group is a member of, of one kind. Who is only invited is told of that alone.
 */
static int topics_of_kind(const struct kv_view *view, unsigned kind, const uint8_t member_id[16],
	struct event_topics *topics, struct err *e)
{
	_cleanup_(x_freep) struct member_of *rows = x_calloc(LIST_LIMIT_MAX, sizeof *rows);
	const uint8_t *after = NULL;
	size_t n = LIST_LIMIT_MAX;
	uint8_t last[16];
	int rc = 0;

	while (rc == 0 && n == LIST_LIMIT_MAX) {
		rc = member_store_objects(
			view, kind, member_id, after, rows, LIST_LIMIT_MAX, &n, e);
		for (size_t i = 0; rc == 0 && i < n; i++) {
			if (rows[i].state == MEMBER_ACCEPTED) {
				rc = topics_add(topics, EVENT_TO_OBJECT, rows[i].object_id, e);
			}
			if (rc == 0 && rows[i].state == MEMBER_ACCEPTED &&
				kind == MEMBER_OBJECT_GROUP) {
				rc = topics_add(topics, EVENT_TO_GROUP, rows[i].object_id, e);
			}
		}
		if (rc == 0 && n > 0) {
			memcpy(last, rows[n - 1].object_id, sizeof last);
			after = last;
		}
	}
	return rc;
}

static int topics_of_user(const struct kv_view *view, const uint8_t user_id[16],
	struct event_topics *topics, struct err *e)
{
	int rc = topics_of_kind(view, MEMBER_OBJECT_VAULT, user_id, topics, e);
	size_t first = topics->n, end;

	rc = rc != 0 ? rc : topics_of_kind(view, MEMBER_OBJECT_GROUP, user_id, topics, e);
	end = topics->n;
	for (size_t i = first; rc == 0 && i < end; i++) {
		uint8_t group_id[16];

		if (topics->topic[i].audience == EVENT_TO_GROUP) {
			memcpy(group_id, topics->topic[i].id, sizeof group_id);
			rc = topics_of_kind(view, MEMBER_OBJECT_VAULT, group_id, topics, e);
		}
	}
	return rc != 0 ? rc : topics_of_kind(view, MEMBER_OBJECT_CONVERSATION, user_id, topics, e);
}

/* A vault can be reached both ways. */
static void topics_sort(struct event_topics *topics)
{
	size_t n = 0;

	qsort(topics->topic, topics->n, sizeof *topics->topic, event_topic_compare);
	for (size_t i = 0; i < topics->n; i++) {
		if (n == 0 || event_topic_compare(&topics->topic[n - 1], &topics->topic[i]) != 0) {
			topics->topic[n++] = topics->topic[i];
		}
	}
	topics->n = n;
}

int event_store_topics(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t device_id[16], struct event_topics *topics, struct err *e)
{
	static const uint8_t none[16];
	int rc;

	assert(topics->n == 0);
	rc = topics_add(topics, EVENT_TO_USER, user_id, e);
	if (rc == 0 && memcmp(device_id, none, sizeof none) != 0) {
		rc = topics_add(topics, EVENT_TO_DEVICE, device_id, e);
	}
	if (rc == 0) {
		rc = topics_of_user(view, user_id, topics, e);
	}
	topics_sort(topics);
	return rc;
}

struct missed {
	const struct kv_view *view;
	uint64_t since;
	struct event_list *list;
	size_t rows;	  /* Looked at. */
	struct buf value; /* Of the row looked at. */
	bool all;
};

/* Of most rows all that counts is whether there is one. */
static int missed_value(struct missed *m, const struct index_row *row, struct err *e)
{
	static const uint8_t some;

	buf_clear(&m->value);
	if (!row->deleted && event_needs_value(row->key.data[0])) {
		return kv_get(m->view, row->key, &m->value, e);
	}
	buf_append(&m->value, &some, row->deleted ? 0 : 1);
	return 0;
}

static int missed_family(
	struct missed *m, const struct event_topic *topic, enum key_family family, struct err *e)
{
	struct row_walk walk = row_walk_begin(m->view, family, topic->id);
	struct index_row row;
	int rc = 0, walked;

	while (rc == 0 && !m->all && row_walk_next(&walk, &row)) {
		struct event event;

		m->all = ++m->rows > EVENT_ROWS_MAX;
		if (row.at.index <= m->since) {
			continue;
		}
		rc = missed_value(m, &row, e);
		if (rc == 0 && event_of_row(row.key, buf_bytes(&m->value), &event)) {
			event.index = row.at.index;
			event_list_put(m->list, &event);
			m->all |= m->list->n > EVENT_QUEUE_MAX;
		}
	}
	walked = row_walk_end(&walk, rc == 0 ? e : NULL);
	return rc == 0 ? walked : rc;
}

static int event_compare(const void *a, const void *b)
{
	const struct event *left = a, *right = b;

	if (left->index != right->index) {
		return left->index < right->index ? -1 : 1;
	}
	if (left->type != right->type) {
		return left->type < right->type ? -1 : 1;
	}
	return memcmp(left->object, right->object, sizeof left->object);
}

/* Tombstones of which the oldest backup still needed has told are dropped. */
static int missed_begin(struct missed *m, struct err *e)
{
	struct expire_state_row state;
	int rc = expire_store_get(m->view, &state, e);

	if (rc == 0) {
		m->all = m->since < state.tombstones_done.index;
	}
	return rc;
}

int event_store_missed(const struct kv_view *view, const struct event_topics *topics,
	uint64_t since, struct event_list *list, bool *ret_all, struct err *e)
{
	struct missed m = {.view = view, .since = since, .list = list};
	int rc;

	assert(list->n == 0);
	rc = missed_begin(&m, e);
	for (size_t i = 0; rc == 0 && !m.all && i < topics->n; i++) {
		enum key_family families[EVENT_FAMILIES_MAX];
		size_t n = event_families(topics->topic[i].audience, families);

		for (size_t k = 0; rc == 0 && !m.all && k < n; k++) {
			rc = missed_family(&m, &topics->topic[i], families[k], e);
		}
	}
	buf_release(&m.value);
	if (rc == 0) {
		if (list->n > 1) {
			qsort(list->event, list->n, sizeof *list->event, event_compare);
		}
		*ret_all = m.all;
	}
	return rc;
}
