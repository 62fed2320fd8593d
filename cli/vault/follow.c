/* kluis follow: what happens to all that is the user's, a JSON object a line. Events say ids alone:
 * names and invitations are looked up, and a line stands for itself. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/client/conversation.h"
#include "cli/client/json_reader.h"
#include "cli/client/share.h"
#include "cli/client/vault.h"
#include "cli/vault/waiter.h"

/* While it waits the program holds nothing, and ends at once. */
static volatile sig_atomic_t follow_waits, follow_ends;

static void follow_signal(int number)
{
	(void)number;
	if (follow_waits) {
		_exit(0);
	}
	follow_ends = 1;
}

/* A second one ends it wherever it is, as a kill does. */
static void follow_signals(void)
{
	struct sigaction action = {
		.sa_handler = follow_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};

	(void)sigemptyset(&action.sa_mask);
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
}

/* A pipe or a terminal whose other end is closed ends it as a signal does. */
static void *follow_reader_thread(void *arg)
{
	struct pollfd out = {.fd = *(const int *)arg};

	while (poll(&out, 1, -1) < 0 && errno == EINTR) {
	}
	if ((out.revents & (POLLERR | POLLHUP)) != 0) {
		(void)kill(getpid(), SIGTERM);
	}
	return NULL;
}

/* Signals are the main thread's. Without the thread the end is found by the next line. */
static void follow_reader(struct invocation *inv)
{
	static int fd;
	sigset_t all, before;
	pthread_t thread;

	fd = fileno(inv->out.data);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, follow_reader_thread, &fd) == 0) {
		(void)pthread_detach(thread);
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct follow {
	struct waiter waiter;
	struct api_event *events; /* Not printed yet. */
	size_t n;
	json_t *names;	     /* Id -> {"kind": ..., "name": ...}. */
	json_t *invitations; /* Those that are open. */
};

static void names_put(
	struct follow *f, const uint8_t id[ID_BYTES], const char *kind, const char *name)
{
	char hex[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(id, ID_BYTES), hex);
	(void)json_object_set_new(f->names, hex,
		json_pack("{s:s, s:s?}", "kind", kind, "name",
			name == NULL || name[0] == 0 ? NULL : name));
}

/* Those that the profile knows: the names that other commands take. */
static int names_of_vaults(struct follow *f, struct app *k)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	struct err ignored = {0};
	size_t n = 0;
	int rc = vault_known_ids(k->profile, &ids, &n, &k->inv->err);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct vault *vault;

		if (vault_open_local(k->profile, k->client, ids[i], &vault, &ignored) == 0) {
			names_put(f, ids[i], "vault", vault->name);
			vault_close(vault);
		}
	}
	return rc;
}

static int names_of_groups(struct follow *f, struct people *people, struct err *e)
{
	struct share_group *groups = NULL;
	size_t n = 0;
	int rc = share_groups(people, &groups, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		names_put(f, groups[i].id, "group", groups[i].name);
	}
	share_groups_free(groups);
	return rc;
}

static int names_of_chats(struct follow *f, struct people *people, struct err *e)
{
	_cleanup_(x_freep) struct conversation_row *rows = NULL;
	size_t n = 0;
	int rc = conversation_list(people, &rows, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		names_put(f, rows[i].info.id, "conversation", rows[i].title);
	}
	return rc;
}

static int look_invitations(struct follow *f, struct people *people, unsigned kind, struct err *e)
{
	_cleanup_(x_freep) struct share_invitation *list = NULL;
	size_t n = 0;
	int rc = share_invitations(people, kind, &list, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		(void)json_array_append_new(f->invitations, app_invitation_json(&list[i]));
	}
	return rc;
}

static int look_body(struct app *k)
{
	struct follow *f = k->arg;
	struct err *e = &k->inv->err;
	struct people *people = people_new(k->profile, k->client);
	int rc = app_online(k);

	json_object_clear(f->names);
	json_array_clear(f->invitations);
	rc = rc != 0 ? rc : names_of_vaults(f, k);
	rc = rc != 0 ? rc : names_of_chats(f, people, e);
	rc = rc != 0 ? rc : look_invitations(f, people, MEMBER_OBJECT_CONVERSATION, e);
	if (rc == 0 && k->profile->person != NULL) {
		rc = names_of_groups(f, people, e);
		rc = rc != 0 ? rc : look_invitations(f, people, MEMBER_OBJECT_VAULT, e);
		rc = rc != 0 ? rc : look_invitations(f, people, MEMBER_OBJECT_GROUP, e);
	}
	people_free(people);
	/* Last: what signing in again changed is in it. */
	return rc != 0 ? rc : waiter_attach(&f->waiter, k);
}

static json_t *event_name(const struct follow *f, const struct api_event *event)
{
	char hex[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(event->object, ID_BYTES), hex);
	return event->has_object ? json_object_get(f->names, hex) : NULL;
}

static bool event_is(const struct api_event *event, const char *type)
{
	return strcmp(event->type, type) == 0;
}

/* Whether it changes what is known here, or names what is not. */
static bool event_needs_look(const struct follow *f, const struct api_event *event)
{
	return event_is(event, "resync") || event_is(event, "members") ||
	       event_is(event, "group") || event_is(event, "conversation") ||
	       ((event_is(event, "vault") || event_is(event, "message") ||
			event_is(event, "receipt") || event_is(event, "call")) &&
		       event_name(f, event) == NULL);
}

/* The types of docs/openapi.yaml. What else a node says is told as that: "invitation" is a line of
 * this device's own. */
static bool event_known(const struct api_event *event)
{
	static const char *const types[] = {"vault", "members", "group", "conversation", "message",
		"receipt", "packet", "inbox", "device", "session", "keyring", "call", "resync"};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (event_is(event, types[i])) {
			return true;
		}
	}
	return false;
}

static json_t *event_json(const struct follow *f, const struct api_event *event)
{
	json_t *row = event_known(event) ? json_pack("{s:s, s:s}", "cursor", event->cursor, "type",
						   event->type)
					 : json_pack("{s:s, s:s, s:s}", "cursor", event->cursor,
						   "type", "other", "told", event->type);
	json_t *name = event_name(f, event);

	if (event->has_object) {
		(void)json_object_set_new(
			row, "object", json_hex(bytes_of(event->object, ID_BYTES)));
	}
	if (name != NULL) {
		(void)json_object_update(row, name);
	}
	if (event->has_seq) {
		(void)json_object_set_new(row, "seq", json_integer((json_int_t)event->seq));
	}
	if (event_is(event, "call")) {
		(void)json_object_set_new(
			row, "user", json_hex(bytes_of(event->user_id, ID_BYTES)));
		(void)json_object_set_new(
			row, "device", json_hex(bytes_of(event->device_id, ID_BYTES)));
		(void)json_object_set_new(row, "data", json_base64(buf_bytes(&event->data)));
	}
	return row;
}

/* Those that it may be about: of a change of members its object's, of everything all. */
static int print_invitations(struct follow *f, const struct api_event *event, struct err *e)
{
	char hex[HEX_LEN(ID_BYTES) + 1];
	int rc = 0;

	hex_encode(bytes_of(event->object, ID_BYTES), hex);
	for (size_t i = 0; rc == 0 && i < json_array_size(f->invitations); i++) {
		const json_t *invitation = json_array_get(f->invitations, i);
		const char *id = json_string_value(json_object_get(invitation, "id"));
		json_t *row;

		if (!event_is(event, "resync") && strcmp(id, hex) != 0) {
			continue;
		}
		row = json_pack("{s:s, s:s, s:s}", "cursor", event->cursor, "type", "invitation",
			"object", id);
		(void)json_object_update(row, (json_t *)invitation);
		(void)json_object_del(row, "id");
		rc = waiter_print(&f->waiter, row, e);
	}
	return rc;
}

static int follow_print(struct follow *f, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < f->n && !follow_ends; i++) {
		const struct api_event *event = &f->events[i];

		rc = waiter_print(&f->waiter, event_json(f, event), e);
		if (rc == 0 && (event_is(event, "resync") || event_is(event, "members"))) {
			rc = print_invitations(f, event, e);
		}
	}
	api_events_free(f->events, f->n);
	f->events = NULL;
	f->n = 0;
	return rc;
}

/* *ret_look: before what came is printed names and invitations are to be looked up, or the session
 * is to be opened anew. */
static int follow_wait(struct follow *f, bool *ret_look, struct err *e)
{
	struct err why = {0};
	int rc;

	follow_waits = 1;
	rc = follow_ends ? KLUIS_EAGAIN : waiter_events(&f->waiter, &f->events, &f->n, &why);
	follow_waits = 0;
	*ret_look = rc == KLUIS_EUNAUTHENTICATED || rc == KLUIS_ELINEAGE || rc == KLUIS_EGONE;
	for (size_t i = 0; rc == 0 && i < f->n; i++) {
		*ret_look = *ret_look || event_needs_look(f, &f->events[i]);
	}
	if (rc == 0 || *ret_look || follow_ends) {
		return 0;
	}
	return f->waiter.no_events
		       ? err_set(e, KLUIS_ENOTFOUND, "this cluster tells nobody of what happens")
		       : err_set(e, rc, "%s", why.text);
}

/* A site that is not reached at first is said and ends it; later another one is. */
static int follow_turn(struct follow *f, bool *look)
{
	struct invocation *inv = f->waiter.inv;
	int rc = 0;

	if (*look) {
		waiter_look(&f->waiter);
		rc = app_run_with(inv, look_body, f);
	}
	if (rc == 0) {
		*look = false;
		rc = follow_print(f, &inv->err);
	}
	rc = rc != 0 ? rc : follow_wait(f, look, &inv->err);
	if (waiter_survives(rc) && (f->waiter.client != NULL || rc == KLUIS_EBUSY)) {
		output_note(&inv->out, "%s, retrying", inv->err.text);
		inv->err = (struct err){0};
		waiter_pause(&f->waiter);
		rc = 0;
	}
	return rc;
}

static int follow_since(struct follow *f)
{
	struct invocation *inv = f->waiter.inv;
	const char *since = invocation_value(inv, "since");

	if (since == NULL) {
		return 0;
	}
	if (!api_cursor_valid(since)) {
		return err_set(&inv->err, KLUIS_EINVAL, "'%s' is no cursor of such a line", since);
	}
	f->waiter.cursor = x_strdup(since);
	return 0;
}

int app_follow(struct invocation *inv)
{
	struct follow f = {.names = json_object(), .invitations = json_array()};
	bool look = true;
	int rc = waiter_init(&f.waiter, inv);

	rc = rc != 0 ? rc : follow_since(&f);
	if (rc == 0) {
		follow_signals();
		follow_reader(inv);
	}
	while (rc == 0 && !follow_ends && !waiter_over(&f.waiter)) {
		rc = follow_turn(&f, &look);
	}
	if (f.waiter.unread) {
		inv->err = (struct err){0};
		rc = 0;
	}
	api_events_free(f.events, f.n);
	json_decref(f.names);
	json_decref(f.invitations);
	waiter_release(&f.waiter);
	return rc;
}
