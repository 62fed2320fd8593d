/* The calls of kluis_share.h and kluis_chat.h that no example makes, by two people whose agents
 * hold their keys: roles, handing over, new keys, tokens, events, and what two devices say to each
 * other while a call is set up. sharing PROFILE_ONE PROFILE_TWO USER_ONE USER_TWO SCRATCH_FILE */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <string.h>
#include <time.h>

#include <kluis_account.h>
#include <kluis_chat.h>
#include <kluis_share.h>

#include "tests/interop/library.d/check.h"

static struct kluis *one, *two;
static const char *name_one, *name_two;

static struct kluis *open_desk(const char *dir)
{
	struct kluis *k = NULL;

	MUST(kluis_open(dir, NULL, 0, &k, &failure));
	MUST(kluis_unlock_by_agent(k, &failure));
	return k;
}

static void answer_note(void *arg, const struct kluis_invitation *invitation)
{
	struct kluis_invitation *last = arg;

	CHECK(invitation->problem == NULL && invitation->problem_code == 0);
	CHECK(strcmp(invitation->by, name_one) == 0);
	*last = *invitation;
}

static void accept_one(int is_group)
{
	struct kluis_invitation last = {.by = NULL};

	MUST(kluis_invitations(two, answer_note, &last, &failure));
	CHECK(last.by != NULL && last.is_group == is_group);
	MUST(kluis_invitation_answer(two, is_group, last.id, 1, &failure));
}

/* The first user's, and the second one's. */
static void member_note(void *arg, const struct kluis_member *member)
{
	enum kluis_role *roles = arg;

	CHECK(!member->is_group);
	roles[strcmp(member->name, name_two) == 0] = member->role;
}

static void expect_group(struct kluis *k, enum kluis_role first, enum kluis_role second)
{
	enum kluis_role roles[2] = {KLUIS_ROLE_READ, KLUIS_ROLE_READ};

	MUST(kluis_group_members(k, "crew", member_note, roles, &failure));
	CHECK(roles[0] == first && roles[1] == second);
}

static void group_count(void *arg, const struct kluis_group *group)
{
	size_t *n = arg;

	*n += strcmp(group->name, "crew") == 0;
}

/* The second user's safety number nobody compared. */
static void verified_only(void)
{
	int on = 1;

	MUST(kluis_vault_verified_only(one, "deck", &on, &failure));
	CHECK(!on);
	MUST(kluis_vault_set_verified_only(one, "deck", 1, &failure));
	MUST(kluis_vault_verified_only(one, "deck", &on, &failure));
	CHECK(on);
	CHECK(kluis_vault_share(one, "deck", name_two, KLUIS_ROLE_READ, &failure) ==
		KLUIS_FORBIDDEN);
	MUST(kluis_vault_set_verified_only(one, "deck", 0, &failure));
	MUST(kluis_vault_verified_only(one, "deck", &on, &failure));
	CHECK(!on);
	MUST(kluis_vault_share(one, "deck", name_two, KLUIS_ROLE_READ, &failure));
	accept_one(0);
	MUST(kluis_vault_unshare(one, "deck", name_two, &failure));
}

static void groups(void)
{
	unsigned char id[16];
	char vault[33];
	size_t n = 0;

	MUST(kluis_group_create(one, "crew", id, &failure));
	MUST(kluis_group_add(one, "crew", name_two, KLUIS_ROLE_READ, &failure));
	CHECK(kluis_group_transfer(one, "crew", name_two, &failure) == KLUIS_PRECONDITION);
	accept_one(1);
	expect_group(two, KLUIS_ROLE_ADMIN, KLUIS_ROLE_READ);
	CHECK(kluis_group_set_role(one, "crew", name_one, KLUIS_ROLE_READ, &failure) ==
		KLUIS_FORBIDDEN);
	CHECK(kluis_group_set_role(two, "crew", name_two, KLUIS_ROLE_ADMIN, &failure) ==
		KLUIS_FORBIDDEN);
	CHECK(kluis_group_set_role(one, "crew", name_two, KLUIS_ROLE_WRITE, &failure) ==
		KLUIS_BAD_INPUT);
	MUST(kluis_group_set_role(one, "crew", name_two, KLUIS_ROLE_ADMIN, &failure));
	expect_group(two, KLUIS_ROLE_ADMIN, KLUIS_ROLE_ADMIN);

	MUST(kluis_vault_create(one, "deck", vault, &failure));
	MUST(kluis_vault_share(one, "deck", "group:crew", KLUIS_ROLE_WRITE, &failure));
	MUST(kluis_put(two, "deck", "oars", 4, "/list", &failure));
	MUST(kluis_group_rekey(one, "crew", &n, &failure));
	CHECK(n == 1);
	CHECK(kluis_group_rekey(two, "crew", NULL, &failure) ==
		KLUIS_FORBIDDEN); /* Not his vault. */
	verified_only();
	MUST(kluis_vault_rekey(one, "deck", &failure));
	CHECK(kluis_vault_rekey(two, "deck", &failure) == KLUIS_FORBIDDEN);
	MUST(kluis_put(two, "deck", "oars, sails", 11, "/list", &failure));
	CHECK(kluis_group_remove(two, "crew", name_one, NULL, &failure) == KLUIS_FORBIDDEN);
	n = 0;
	MUST(kluis_group_remove(one, "crew", name_two, &n, &failure));
	CHECK(n == 1);
	CHECK(kluis_put(two, "deck", "a hole", 6, "/list", &failure) == KLUIS_FORBIDDEN);
	CHECK(kluis_group_remove(one, "crew", name_two, NULL, &failure) == KLUIS_NOT_FOUND);
	MUST(kluis_group_add(one, "crew", name_two, KLUIS_ROLE_READ, &failure));
	accept_one(1);
	CHECK(kluis_vault_transfer(one, "deck", "group:crew", KLUIS_ROLE_READ, &failure) ==
		KLUIS_BAD_INPUT);
	CHECK(kluis_vault_transfer(one, "deck", name_two, KLUIS_ROLE_ADMIN, &failure) ==
		KLUIS_BAD_INPUT);
	CHECK(kluis_group_delete(one, "crew", &failure) == KLUIS_CONFLICT);
	MUST(kluis_vault_unshare(one, "deck", "group:crew", &failure));
	MUST(kluis_group_transfer(one, "crew", name_two, &failure));
	expect_group(one, KLUIS_ROLE_READ, KLUIS_ROLE_ADMIN);
	MUST(kluis_group_delete(two, "crew", &failure));
	n = 0;
	MUST(kluis_groups(two, group_count, &n, &failure));
	CHECK(n == 0);
}

static void chat_roles(const char *chat)
{
	uint64_t seq;

	MUST(kluis_chat_set_role(one, chat, name_two, KLUIS_ROLE_READ, &failure));
	CHECK(kluis_chat_send(two, chat, "may I?", &seq, &failure) == KLUIS_FORBIDDEN);
	MUST(kluis_chat_set_role(one, chat, name_two, KLUIS_ROLE_WRITE, &failure));
	MUST(kluis_chat_send(two, chat, "thank you", &seq, &failure));
	CHECK(kluis_chat_set_role(one, chat, name_one, KLUIS_ROLE_READ, &failure) ==
		KLUIS_FORBIDDEN);
	CHECK(kluis_chat_transfer(one, chat, name_two, KLUIS_ROLE_ADMIN, &failure) ==
		KLUIS_BAD_INPUT);
	MUST(kluis_chat_transfer(one, chat, name_two, KLUIS_ROLE_READ, &failure));
	CHECK(kluis_chat_send(one, chat, "may I?", &seq, &failure) == KLUIS_FORBIDDEN);
	MUST(kluis_chat_set_role(two, chat, name_one, KLUIS_ROLE_WRITE, &failure));
}

struct told {
	char cursor[256];
	int resync, call;
};

static void event_note(void *arg, const struct kluis_event *event)
{
	struct told *told = arg;

	snprintf(told->cursor, sizeof told->cursor, "%s", event->cursor);
	told->resync |= strcmp(event->type, "resync") == 0;
	if (strcmp(event->type, "call") == 0) {
		CHECK(event->data_len == 5 && memcmp(event->data, "offer", 5) == 0);
		CHECK(strlen(event->object) == 32);
		told->call = 1;
	}
}

struct caller {
	const char *chat;
	volatile int heard;
};

/* None is kept: it is said until somebody who waits has heard it. */
static void *call_thread(void *arg)
{
	struct caller *caller = arg;
	struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};
	struct kluis_failure why;

	for (int i = 0; i < 600 && !caller->heard; i++) {
		CHECK(kluis_call_signal(two, caller->chat, "offer", 5, &why) == 0);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static void calls(const char *chat)
{
	struct caller caller = {.chat = chat};
	struct told told = {.cursor = ""};
	pthread_t thread;

	CHECK(kluis_call_signal(two, chat, "", 0, &failure) == KLUIS_BAD_INPUT);
	CHECK(kluis_events(one, "no/cursor", 0, event_note, &told, &failure) == KLUIS_BAD_INPUT);
	MUST(kluis_events(one, NULL, 0, event_note, &told, &failure));
	CHECK(told.resync && told.cursor[0] != 0);
	told.resync = 0;
	CHECK(pthread_create(&thread, NULL, call_thread, &caller) == 0);
	for (int i = 0; i < 100 && !told.call; i++) {
		MUST(kluis_events(one, told.cursor, 10000, event_note, &told, &failure));
	}
	caller.heard = 1;
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(told.call && !told.resync);
}

static void ice_note(void *arg, const struct kluis_call_ice *ice)
{
	int *times = arg;

	CHECK(ice->n_uris == 0 && ice->username[0] == 0 && ice->credential[0] == 0);
	(*times)++;
}

static void token_note(void *arg, const struct kluis_inbox_token *token)
{
	char *id = arg;

	if (strcmp(token->label, "gate") == 0) {
		CHECK(token->documents == 7 && token->expires_ms > token->created_ms);
		memcpy(id, token->id, sizeof token->id);
	}
}

static void tokens(const char *file)
{
	char id[33] = "";

	MUST(kluis_inbox_token(
		one, "gate", ((uint64_t)time(NULL) + 86400) * 1000, 7, file, &failure));
	MUST(kluis_inbox_tokens(one, token_note, id, &failure));
	CHECK(strlen(id) == 32);
	MUST(kluis_inbox_token_end(one, id, &failure));
	CHECK(kluis_deliver(file, 0, "too late", 8, &failure) != 0);
	CHECK(kluis_inbox_token_end(one, id, &failure) == KLUIS_NOT_FOUND);
	CHECK(kluis_inbox_token_end(one, "x", &failure) == KLUIS_BAD_INPUT);
	CHECK(kluis_inbox_take(one, "x", "deck", "/x", &failure) == KLUIS_BAD_INPUT);
	CHECK(kluis_inbox_take(one, "00000000000000000000000000000000", "deck", "/x", &failure) ==
		KLUIS_NOT_FOUND);
}

int main(int argc, char **argv)
{
	char chat[33];
	int times = 0;

	CHECK(argc == 6);
	one = open_desk(argv[1]);
	two = open_desk(argv[2]);
	name_one = argv[3];
	name_two = argv[4];
	groups();
	MUST(kluis_chat_new(one, "pier", &name_two, 1, chat, &failure));
	MUST(kluis_chat_accept(two, chat, &failure));
	chat_roles(chat);
	calls(chat);
	MUST(kluis_call_ice(one, ice_note, &times, &failure));
	CHECK(times == 1);
	tokens(argv[5]);
	kluis_close(one);
	kluis_close(two);
	puts("every call of kluis_share.h and kluis_chat.h did what it says");
	return 0;
}
