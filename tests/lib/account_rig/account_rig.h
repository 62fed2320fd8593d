/* A person's account from the client's side, against the API of a real node and against one that
 * lies: what the node answers is changed on its way into the client. The program is linked with
 * --wrap=client_call and --wrap=password_derive. */
#ifndef KLUIS_TESTS_LIB_ACCOUNT_RIG_H
#define KLUIS_TESTS_LIB_ACCOUNT_RIG_H

#include "tests/lib/api/node.h"
#include "tests/lib/test.h"

#include "base/text.h"
#include "cli/client/session.h"
#include "cli/client/vault.h"
/* The test clients of the API have a struct of this name. */
#include "cli/client/account.h"

extern const char old_password[], new_password[]; /* Of alice, and her next one. */

/* What is done to answers whose target begins with `target`: in body or, when it is JSON, in one
 * member. LIE_LOSE: it is done, and the caller gets `rc`; LIE_REFUSE: it is not even asked. */
struct lie {
	const char *target, *member;
	enum {
		LIE_NONE,
		LIE_FLIP,
		LIE_REPLACE,
		LIE_TEXT,
		LIE_NUMBER,
		LIE_LOSE,
		LIE_REFUSE,
		LIE_INVENT,    /* `instead`, without asking. */
		LIE_MEANWHILE, /* meanwhile(of) first; the answer is as it comes. */
	} kind;
	size_t at; /* Of the byte to flip, in the member's value. */
	struct bytes instead;
	const char *text;
	json_int_t number;
	int rc;
	void (*meanwhile)(void *of);
	void *of;
	unsigned times; /* At most so often; 0: always. */
	unsigned struck;
};
extern struct lie lie;
/* Others beside it, which are asked first. */
enum { LIES_MORE = 2 };
extern struct lie more_lies[LIES_MORE];
/* All have struck, and end. */
void lie_end(void);

/* Passwords stretched so far, and the last one's counts; `derived_stop`: none is, from now on. */
extern unsigned derived;
extern struct kdf derived_kdf;
extern bool derived_stop;

/* One device of alice: its profile and its client. */
struct device {
	char *dir;
	struct profile *profile;
	struct client *client;
};

struct fixture {
	struct api_node node;
	struct api_cluster cluster;
	char *dir, url[64];
	struct secrets secrets;
	struct device first, second;
	struct secret code;
	struct err err;
};

#define MUST(f, call)                                               \
	do {                                                        \
		int must_rc = (call);                               \
		if (must_rc != 0) {                                 \
			fail_msg("%d: %s", must_rc, (f)->err.text); \
		}                                                   \
	} while (0)

/* cmocka's: a node, and alice registered from the first device. */
int setup(void **state);
/* The same at a node that asks for other suites than the defaults: the least or the largest. */
int setup_suites(void **state, unsigned curve);
int teardown(void **state);

/* The cheapest that a node takes. */
struct account_terms cheap(void);
/* A KDF block of those counts, as text. */
void kdf_text(unsigned flags, char text[BASE64_LEN(KDF_BYTES) + 1]);
void device_open_as(struct fixture *f, struct device *d, const char *name, const char *user);
void device_open(struct fixture *f, struct device *d, const char *name);
void device_close(struct device *d);
/* As another run of the program. */
void device_reopen(struct fixture *f, struct device *d);
int registration(struct fixture *f, struct device *d, const char *password);
int login(struct fixture *f, struct device *d, const char *password, struct bytes key,
	struct account_login *login);
/* Signs in and unlocks. */
int enter(struct fixture *f, struct device *d, const char *password, struct bytes key);
int passwd(struct fixture *f, struct device *d, const char *password);
struct bytes account_key(const struct fixture *f);
/* A new vault of this name. */
void put_note(struct fixture *f, struct device *d, const char *name);
/* Commits a file "text" in it. */
int try_text(struct fixture *f, struct device *d, const char *name, const char *text);
void put_text(struct fixture *f, struct device *d, const char *name, const char *text);
/* Opens and syncs it, as reading it would. */
int sync_named(struct fixture *f, struct device *d, const char *name);
/* f->second, approved by the first. */
void add_second(struct fixture *f);
void add_second_by(struct fixture *f, const char *password, const char *name);
/* Whether the node's answers to what it does are lost. */
void lose_outcome(struct fixture *f, bool lose);

#endif
