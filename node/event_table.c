#include "node/event_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"

enum { BUCKETS = 1 << 14 };

struct event_table_topic {
	struct event_table_topic *next;
	struct event_topic topic;
	struct event_link *links;
};

struct event_table {
	struct event_table_topic *bucket[BUCKETS];
	size_t links;
	uint64_t key; /* Ids are chosen by those who make them: nobody knows where one lies. */
};

struct event_table *event_table_new(void)
{
	struct event_table *table = x_calloc(1, sizeof *table);

	random_fill(&random_system, &table->key, sizeof table->key);
	return table;
}

void event_table_free(struct event_table *table)
{
	assert(table == NULL || table->links == 0);
	free(table);
}

size_t event_table_links(const struct event_table *table)
{
	return table->links;
}

static size_t table_bucket(const struct event_table *table, const struct event_topic *topic)
{
	uint64_t half[2], h = table->key ^ topic->audience;

	memcpy(half, topic->id, sizeof half);
	h = (h ^ half[0]) * 0x9e3779b97f4a7c15ULL;
	h = ((h ^ h >> 29) ^ half[1]) * 0xd6e8feb86659fd93ULL;
	h = ((h ^ h >> 32) + table->key) * 0x9e3779b97f4a7c15ULL;
	return (size_t)(h >> 40) % BUCKETS;
}

static struct event_table_topic **table_place(
	struct event_table *table, const struct event_topic *topic)
{
	struct event_table_topic **at = &table->bucket[table_bucket(table, topic)];

	while (*at != NULL && event_topic_compare(&(*at)->topic, topic) != 0) {
		at = &(*at)->next;
	}
	return at;
}

struct event_link *event_table_link(struct event_table *table, struct event_subscriber *sub,
	const struct event_topic *topics, size_t n)
{
	struct event_link *links = x_calloc(n == 0 ? 1 : n, sizeof *links);

	for (size_t i = 0; i < n; i++) {
		struct event_table_topic **at = table_place(table, &topics[i]);

		if (*at == NULL) {
			*at = x_calloc(1, sizeof **at);
			(*at)->topic = topics[i];
		}
		links[i].sub = sub;
		links[i].topic = *at;
		links[i].next = (*at)->links;
		links[i].prev_next = &(*at)->links;
		if (links[i].next != NULL) {
			links[i].next->prev_next = &links[i].next;
		}
		(*at)->links = &links[i];
	}
	table->links += n;
	return links;
}

void event_table_unlink(struct event_table *table, struct event_link *links, size_t n)
{
	assert(table->links >= n);
	for (size_t i = 0; i < n; i++) {
		struct event_table_topic *topic = links[i].topic, **at;

		*links[i].prev_next = links[i].next;
		if (links[i].next != NULL) {
			links[i].next->prev_next = links[i].prev_next;
		}
		if (topic->links == NULL) {
			at = table_place(table, &topic->topic);
			assert(*at == topic);
			*at = topic->next;
			free(topic);
		}
	}
	table->links -= n;
	free(links);
}

struct event_link *event_table_find(
	const struct event_table *table, enum event_audience audience, const uint8_t id[16])
{
	struct event_topic topic = {.audience = (uint8_t)audience};
	const struct event_table_topic *at;

	memcpy(topic.id, id, sizeof topic.id);
	at = table->bucket[table_bucket(table, &topic)];
	while (at != NULL && event_topic_compare(&at->topic, &topic) != 0) {
		at = at->next;
	}
	return at == NULL ? NULL : at->links;
}
