#include "tests/lib/account_rig/account_talk.h"

#include <string.h>

struct run run_open(struct fixture *f, struct device *d, const uint8_t *id)
{
	struct run r = {.people = people_new(d->profile, d->client)};

	f->err = (struct err){0};
	MUST(f, account_refresh(d->profile, d->client, &f->err));
	MUST(f, conversation_open(r.people, id, &r.c, &f->err));
	return r;
}

void run_close(struct run *r)
{
	conversation_close(r->c);
	people_free(r->people);
}

void need_second(struct fixture *f)
{
	if (f->second.dir == NULL) {
		add_second(f);
	}
}

void user_id(struct fixture *f, struct device *d, const char *name, uint8_t *ret_id)
{
	struct people *people = people_new(d->profile, d->client);
	const struct identity *identity;

	MUST(f, people_by_name(people, name, &identity, &f->err));
	memcpy(ret_id, identity->user_id, ID_BYTES);
	people_free(people);
}

/* By alice, with bob in it. */
void begin_with(struct fixture *f, bool history, uint8_t ret_id[ID_BYTES])
{
	uint8_t ids[1][ID_BYTES];
	struct run r = {.people = people_new(f->first.profile, f->first.client)};

	user_id(f, &f->first, "bob", ids[0]);
	MUST(f, conversation_create(
			r.people, "plans", (const uint8_t(*)[ID_BYTES])ids, 1, &r.c, &f->err));
	memcpy(ret_id, r.c->id, ID_BYTES);
	MUST(f, conversation_archive_switch(r.c, history, &f->err));
	run_close(&r);
	r = run_open(f, &bob, ret_id);
	MUST(f, conversation_accept(r.c, &f->err));
	run_close(&r);
}

void say(struct fixture *f, struct device *d, const uint8_t *id, const char *text)
{
	struct run r = run_open(f, d, id);
	uint64_t seq;

	MUST(f, conversation_send(r.c, CHAT_TEXT, bytes_str(text), &seq, &f->err));
	run_close(&r);
}

int seen_cb(void *arg, const struct conversation_item *item, struct err *e)
{
	struct seen *seen = arg;

	seen->problems |= item->problems;
	seen->missing += item->missing;
	buf_printf(&seen->lines, "%llu:%.16s ", (unsigned long long)item->seq,
		!item->opened		     ? "-"
		: item->content.text != NULL ? item->content.text
					     : "?");
	if (item->opened && item->content.kind == CHAT_KIND_FILE) {
		conversation_file_release(&seen->file);
		return conversation_file_of(&item->content, &seen->file, e);
	}
	return 0;
}

/* One run that reads: what it showed, and whether anything was wrong with it. */
int read_run(struct fixture *f, struct device *d, const uint8_t *id, uint64_t last,
	struct seen *seen, struct err *ret_trouble)
{
	const struct conversation_read reader = {.each = seen_cb, .arg = seen, .last = last};
	struct run r = run_open(f, d, id);
	size_t n;
	int rc = conversation_read(r.c, &reader, &n, &f->err);

	*ret_trouble = r.c->archive_trouble;
	seen->switched = (int)r.c->history_switched;
	run_close(&r);
	return rc;
}

void expect_last(
	struct fixture *f, struct device *d, const uint8_t *id, uint64_t last, const char *lines)
{
	struct seen seen = {.problems = 0};
	struct err trouble;

	MUST(f, read_run(f, d, id, last, &seen, &trouble));
	if (trouble.code != 0) {
		fail_msg("%s", trouble.text);
	}
	assert_string_equal(seen.lines.len == 0 ? "" : buf_str(&seen.lines), lines);
	assert_int_equal(seen.problems, 0);
	conversation_file_release(&seen.file);
	buf_release(&seen.lines);
}

void expect(struct fixture *f, struct device *d, const uint8_t *id, const char *lines)
{
	expect_last(f, d, id, 0, lines);
}

void add_carol(struct fixture *f, const uint8_t *id)
{
	uint8_t carol_id[ID_BYTES];
	struct run r;

	user_id(f, &f->first, "carol", carol_id);
	r = run_open(f, &f->first, id);
	MUST(f, conversation_add(r.c, carol_id, &f->err));
	assert_int_equal(r.c->archive_trouble.code, 0);
	run_close(&r);
	r = run_open(f, &carol, id);
	MUST(f, conversation_accept(r.c, &f->err));
	run_close(&r);
}
