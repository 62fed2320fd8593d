/* Which changes of rows are news, of what and for whom: events carry ids alone. They are kept
 * nowhere: what happens is told as it is applied, and what was missed is found from the rows'
 * modifications. One row of a table for each family (event.c). Pure. */
#ifndef KLUIS_STORAGE_EVENT_H
#define KLUIS_STORAGE_EVENT_H

#include "storage/key_codec.h"

enum event_type {
	EVENT_OF_NONE, /* Told to nobody; may change what a subscriber is told. */
	EVENT_OF_VAULT,
	EVENT_OF_MEMBERS,
	EVENT_OF_GROUP,
	EVENT_OF_CONVERSATION,
	EVENT_OF_MESSAGE,
	EVENT_OF_RECEIPT,
	EVENT_OF_PACKET,
	EVENT_OF_INBOX,
	EVENT_OF_DEVICE,
	EVENT_OF_SESSION,
	EVENT_OF_KEYRING,
	EVENT_OF_RESYNC, /* Of everything: no row's. */
	EVENT_TYPES,
};
/* "vault", as in the API. */
const char *event_type_name(enum event_type type);

/* Whom a topic's id names. Ids are chosen by those who make them, so that one alone says nothing:
 * who is a member of an object of some user's id must not be told what is that user's. */
enum event_audience {
	EVENT_TO_USER = 1,
	EVENT_TO_DEVICE = 2,
	EVENT_TO_OBJECT = 4, /* Its members who have accepted, by themselves or by a group. */
	EVENT_TO_GROUP = 8,  /* The same, of what is a group's as it would be a user's. */
	EVENT_TO_LAST = EVENT_TO_GROUP,
};

struct event {
	uint64_t index;	  /* Raft, of the change. */
	uint8_t type;	  /* enum event_type */
	uint8_t audience; /* enum event_audience, one or more */
	bool reaches;	  /* Changes who is told what, or who may ask. */
	bool has_seq;
	uint64_t seq;
	uint8_t topic[16];  /* Whom the audience is of. */
	uint8_t object[16]; /* What changed. */
};

/* What the change of this row is; false: no news. value: as it is now; of a row that is gone,
 * empty. index is left 0. */
bool event_of_row(struct bytes key, struct bytes value, struct event *ret_event);
/* Whether event_of_row() looks at the value. */
bool event_needs_value(enum key_family family);

/* The families that have news for topics of this audience; returns how many. */
enum { EVENT_FAMILIES_MAX = 16 };
size_t event_families(
	enum event_audience audience, enum key_family ret_families[EVENT_FAMILIES_MAX]);

/* Zero it before use. */
struct event_list {
	struct event *event;
	size_t n, cap;
};
void event_list_add(struct event_list *list, const struct event *event);
/* ... unless the last one is of the same type, topic and object: then it takes its place, if it is
 * the newer one. Rows of one object stand together. */
void event_list_put(struct event_list *list, const struct event *event);
void event_list_clear(struct event_list *list); /* Keeps the memory. */
void event_list_release(struct event_list *list);

#endif
