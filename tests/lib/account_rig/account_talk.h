/* Three people who talk. */
#ifndef KLUIS_TESTS_LIB_ACCOUNT_TALK_H
#define KLUIS_TESTS_LIB_ACCOUNT_TALK_H

#include "tests/lib/account_rig/account_three.h"

#include "cli/client/conversation_archive.h"

/* A run of the program about one conversation. */
struct run {
	struct people *people;
	struct conversation *c;
};
struct run run_open(struct fixture *f, struct device *d, const uint8_t *id);
void run_close(struct run *r);
/* f->second is there. */
void need_second(struct fixture *f);
void user_id(struct fixture *f, struct device *d, const char *name, uint8_t *ret_id);
/* By alice, with bob in it. */
void begin_with(struct fixture *f, bool history, uint8_t ret_id[ID_BYTES]);
void add_carol(struct fixture *f, const uint8_t *id);
void say(struct fixture *f, struct device *d, const uint8_t *id, const char *text);

/* What one run showed, and whether anything was wrong with it. */
struct seen {
	struct buf lines; /* Number and beginning of each message. */
	unsigned problems;
	uint64_t missing;
	int switched;		       /* As the run ended. */
	struct conversation_file file; /* The last one. */
};
int seen_cb(void *arg, const struct conversation_item *item, struct err *e);
int read_run(struct fixture *f, struct device *d, const uint8_t *id, uint64_t last,
	struct seen *seen, struct err *ret_trouble);
/* One that shows these lines, and that all is well. */
void expect_last(
	struct fixture *f, struct device *d, const uint8_t *id, uint64_t last, const char *lines);
void expect(struct fixture *f, struct device *d, const uint8_t *id, const char *lines);

#endif
