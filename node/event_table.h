/* Which subscribers are told of which topics. One thread. */
#ifndef KLUIS_NODE_EVENT_TABLE_H
#define KLUIS_NODE_EVENT_TABLE_H

#include "storage/event_store.h"

struct event_subscriber;
struct event_table;
struct event_table_topic;

struct event_link {
	struct event_subscriber *sub;
	struct event_table_topic *topic;
	struct event_link *next, **prev_next; /* Of the topic. */
};

struct event_table *event_table_new(void);
void event_table_free(struct event_table *table); /* Empty, or NULL. */
size_t event_table_links(const struct event_table *table);
/* Links sub to each of n topics, once each; an array of n, to be given to event_table_unlink(). */
struct event_link *event_table_link(struct event_table *table, struct event_subscriber *sub,
	const struct event_topic *topics, size_t n);
/* Frees links; NULL with n 0 is fine. */
void event_table_unlink(struct event_table *table, struct event_link *links, size_t n);
/* The first link of the topic, then ->next; NULL: nobody. */
struct event_link *event_table_find(
	const struct event_table *table, enum event_audience audience, const uint8_t id[16]);

#endif
