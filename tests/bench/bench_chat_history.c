/* A conversation with a long history: archived, and its newest messages opened by a device that
 * reads it for the first time, and by one that knows it, through the API of a real node.
 *
 *	bench_chat_history MESSAGES [MESSAGES_A_COMMIT [LAST]]
 *
 * LAST: fewer than there are. The messages were never sent: they are sealed and signed here, and
 * archived as if they had been read. */
#include "tests/lib/account_rig/account_rig.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "base/random.h"
#include "cli/client/chat_store.h"
#include "cli/client/conversation_archive.h"

enum { TEXT_BYTES = 60, ROUNDS = 5 };

static struct device bob;

static double now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

struct opened {
	struct people *people;
	struct conversation *c;
};

static struct opened opened_of(struct fixture *f, struct device *d, const uint8_t *id)
{
	struct opened o;

	MUST(f, account_refresh(d->profile, d->client, &f->err));
	o.people = people_new(d->profile, d->client);
	MUST(f, conversation_open(o.people, id, &o.c, &f->err));
	return o;
}

static void opened_close(struct opened *o)
{
	conversation_close(o->c);
	people_free(o->people);
}

static void begin_with_bob(struct fixture *f, uint8_t ret_id[ID_BYTES])
{
	struct opened o = {.people = people_new(f->first.profile, f->first.client)};
	const struct identity *identity;
	uint8_t ids[1][ID_BYTES];

	MUST(f, people_by_name(o.people, "bob", &identity, &f->err));
	memcpy(ids[0], identity->user_id, ID_BYTES);
	MUST(f, conversation_create(
			o.people, "long", (const uint8_t(*)[ID_BYTES])ids, 1, &o.c, &f->err));
	memcpy(ret_id, o.c->id, ID_BYTES);
	MUST(f, conversation_archive_switch(o.c, true, &f->err));
	opened_close(&o);
	o = opened_of(f, &bob, ret_id);
	MUST(f, conversation_accept(o.c, &f->err));
	opened_close(&o);
}

/* Message seq of alice's device, behind the one whose link is given. */
static void seal(struct fixture *f, const struct conversation *c, uint64_t seq,
	uint8_t link[HASH_BYTES], struct chat_record *ret)
{
	const struct profile *profile = f->first.profile;
	char text[TEXT_BYTES + 1];
	struct chat_spec spec = {.sym = SYM_AES_256, .index = (uint32_t)seq, .type = CHAT_TEXT};
	struct chat_message parsed;

	(void)snprintf(text, sizeof text, "%-60llu", (unsigned long long)seq);
	spec.payload = bytes_str(text);
	spec.place.epoch = 7; /* Of which no device here has keys. */
	memcpy(spec.place.conv_id, c->id, ID_BYTES);
	memcpy(spec.place.user_id, profile->user_id, ID_BYTES);
	memcpy(spec.place.device_id, profile->device_id, ID_BYTES);
	memcpy(spec.prev_own, link, HASH_BYTES);
	*ret = (struct chat_record){.seq = seq, .time_ms = seq, .opened = true};
	random_fill(&random_system, ret->key, CHAT_KEY_BYTES);
	MUST(f, chat_seal(ret->key, &spec, profile->device, &ret->message, &f->err));
	MUST(f, chat_parse(buf_bytes(&ret->message), &parsed, &f->err));
	memcpy(ret->link, parsed.link, HASH_BYTES);
	memcpy(link, parsed.link, HASH_BYTES);
}

static void fill(struct fixture *f, const uint8_t *id, uint64_t count, uint64_t each)
{
	struct opened o = opened_of(f, &f->first, id);
	uint8_t link[HASH_BYTES] = {0};
	struct conversation_archived archived;

	for (uint64_t seq = 1; seq <= count; seq++) {
		struct chat_record record;

		seal(f, o.c, seq, link, &record);
		(void)chat_segment_take(&o.c->backlog, &record, SIZE_MAX);
		buf_release(&record.message);
		if (seq % each == 0 || seq == count) {
			MUST(f, conversation_archive_flush(o.c, false, &f->err));
			if (o.c->archive_trouble.code != 0) {
				fail_msg("%s", o.c->archive_trouble.text);
			}
		}
	}
	MUST(f, conversation_archived(o.c, &archived, &f->err));
	assert_int_equal(archived.last, count);
	(void)printf("archived %llu messages, %zu segments, %llu heads\n",
		(unsigned long long)count, archived.segments,
		(unsigned long long)o.c->archive->vault->head.seq);
	opened_close(&o);
}

static int count_cb(void *arg, const struct conversation_item *item, struct err *e)
{
	size_t *n = arg;

	(void)e;
	assert_true(item->opened);
	assert_int_equal(item->problems, 0);
	++*n;
	return 0;
}

/* Opens it and shows its newest messages; ms. known: all of it was read on this device before. */
static double open_last(struct fixture *f, struct device *d, const uint8_t *id, uint64_t count,
	uint64_t last, bool known)
{
	size_t shown = 0, n;
	const struct conversation_read reader = {.each = count_cb, .arg = &shown, .last = last};
	double from = now_ms(), ms;
	struct opened o = opened_of(f, d, id);

	o.c->info.last_seq = count; /* As it would be, had they been sent. */
	o.c->state.last_seq = known ? count : 0;
	MUST(f, conversation_read(o.c, &reader, &n, &f->err));
	ms = now_ms() - from;
	assert_int_equal(shown, last < count ? last : count);
	/* The node has less than that was read: to the next one it would look rolled back. */
	MUST(f, chat_store_forget(d->profile, id, &f->err));
	opened_close(&o);
	return ms;
}

int main(int argc, char **argv)
{
	uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
	uint64_t each = argc > 2 ? strtoull(argv[2], NULL, 10) : 200;
	uint64_t last = argc > 3 ? strtoull(argv[3], NULL, 10) : count > 50 ? 50 : count / 2;
	uint8_t id[ID_BYTES];
	struct fixture *f;
	struct rusage usage;
	double from;
	void *state;

	if (count == 0 || each == 0) {
		(void)fprintf(
			stderr, "usage: bench_chat_history MESSAGES [MESSAGES_A_COMMIT [LAST]]\n");
		return 2;
	}
	(void)setup(&state);
	f = state;
	device_open_as(f, &bob, "bob", "bob");
	MUST(f, registration(f, &bob, old_password));
	begin_with_bob(f, id);
	from = now_ms();
	fill(f, id, count, each);
	(void)printf("fill    %.0f ms\n", now_ms() - from);
	(void)printf("first   %.0f ms: a device that never saw it\n",
		open_last(f, &bob, id, count, last, false));
	for (unsigned i = 0; i < ROUNDS; i++) {
		(void)printf("again   %.0f ms\n", open_last(f, &bob, id, count, last, true));
	}
	from = open_last(f, &bob, id, count, count, true);
	(void)printf("all     %.0f ms\n", from);
	(void)getrusage(RUSAGE_SELF, &usage);
	(void)printf("memory  %.0f MiB at most, with the node\n", (double)usage.ru_maxrss / 1024);
	device_close(&bob);
	return teardown(&state);
}
