/* What is read of a conversation: checked, in order, each message once. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "cli/client/conversation_archive.h"

/* Who wrote it, by the chain of that user: asked for again when the device is new. */
static int item_writer(struct conversation *c, const struct chat_message *message,
	struct conversation_item *item, struct err *e)
{
	int rc = 0;

	for (unsigned fresh = 0; rc == 0 && item->device == NULL && fresh < 2; fresh++) {
		rc = people_get(c->people, message->place.user_id, fresh > 0, &item->user, e);
		if (rc == 0) {
			item->device = identity_device(item->user, message->place.device_id);
		}
	}
	if (rc == 0 && item->device == NULL) {
		rc = err_set(e, KLUIS_EVERIFY,
			"the cluster shows a message by a device that '%s' does not have",
			item->user->name);
	}
	return rc;
}

/* The statement that the members of an epoch are of; 0: it is not here. */
static uint64_t epoch_rev(const struct conversation *c, uint32_t epoch)
{
	for (size_t i = 0; i < c->state.n_epochs; i++) {
		if (c->state.epochs[i].epoch == epoch) {
			return conversation_members_rev(c, c->state.epochs[i].members_hash);
		}
	}
	return 0;
}

/* The best that a user ever had; 0: no member, as far as is known here. */
static unsigned role_ever(const struct membership *m, const uint8_t user_id[ID_BYTES])
{
	unsigned best = 0;

	for (uint64_t i = 0; i < m->members.seq; i++) {
		const struct membership_step *step = &m->steps[i];

		if (step->type != MEMBER_ROTATE && step->role > best &&
			memcmp(step->member_id, user_id, ID_BYTES) == 0) {
			best = step->role;
		}
	}
	return best;
}

/* By the members of the message's epoch, which ends with every change of them; of one that was
 * never here by all that were. */
static unsigned read_role(
	const struct conversation *c, const struct conversation_item *item, uint32_t epoch)
{
	uint64_t rev = epoch_rev(c, epoch);

	return rev != 0 ? membership_role(c->members, item->user->user_id, rev)
			: role_ever(c->members, item->user->user_id);
}

/* Also of who is no member: what no chain opens the history has a key for. */
static int read_check_role(const struct conversation *c, const struct conversation_item *item,
	uint32_t epoch, struct err *e)
{
	unsigned role = read_role(c, item, epoch);

	return role >= MEMBER_WRITE
		       ? 0
		       : err_set(e, KLUIS_EVERIFY,
				 "the cluster shows message %" PRIu64
				 " by '%s', whom the conversation's admins let %s",
				 item->seq, item->user->name, role == 0 ? "not in" : "only read");
}

/* An edit or a deletion counts when its writer wrote what it is about. */
static void item_target(const struct conversation *c, struct conversation_item *item)
{
	const struct chat_shown *row;

	if (item->content.kind != CHAT_KIND_EDIT && item->content.kind != CHAT_KIND_DELETE) {
		return;
	}
	row = chat_state_find(&c->state, item->content.of);
	item->of_seq = row == NULL ? 0 : row->seq;
	item->not_theirs = row == NULL || memcmp(row->user_id, item->user->user_id, ID_BYTES) != 0;
}

static void item_title(struct conversation *c, const struct conversation_item *item)
{
	if (item->content.kind == CHAT_KIND_TITLE) {
		size_t len = strlen(item->content.text);

		assert(len < sizeof c->state.title); /* chat_title_valid() */
		memcpy(c->state.title, item->content.text, len + 1);
	}
}

/* What is said of a message as it was received. */
static void item_received(const struct conversation *c, const struct chat_received *received,
	struct conversation_item *item)
{
	uint64_t now_ms = clock_wall_ms(&clock_system);

	item->problems = received->problems;
	item->repeats = received->repeats;
	item->missing = received->missing;
	item->late = received->late;
	item->opened = received->opened;
	if (!item->opened && c->key_refused.code != 0) {
		item->key_refused = c->key_refused.text;
	}
	if (item->opened && received->passed > 0 && (item->missing == 0 || c->state.history) &&
		now_ms < received->passed_ms + CHAT_TRANSIT_MS) {
		item->problems |= CHAT_GAP;
		item->missing = item->missing > received->passed ? item->missing : received->passed;
	}
}

/* The key that the archive has of a message, asked for where its epoch was never given to this
 * device; NULL: none. */
static int read_key(struct conversation *c, const struct chat_message *message, uint64_t seq,
	const struct chat_record **record, const uint8_t **ret_key, struct err *e)
{
	int rc = 0;

	*ret_key = NULL;
	if (*record == NULL && chat_state_holds(&c->state, message->place.epoch)) {
		return 0;
	}
	if (*record == NULL && conversation_profile(c)->person != NULL) {
		rc = conversation_archive_open(c, e);
		rc = rc != 0 ? rc : conversation_archive_find(c, seq, record, e);
	}
	if (rc == 0 && *record != NULL && (*record)->opened &&
		memcmp((*record)->link, message->link, HASH_BYTES) == 0) {
		*ret_key = (*record)->key;
	}
	return rc;
}

/* What was read, for those who come later; also what did not open here: another may have the key.
 */
static void read_note(struct conversation *c, const struct api_message *shown,
	const struct chat_message *message, const struct chat_received *received,
	const struct chat_record *record)
{
	static const uint8_t none[ID_BYTES];
	struct chat_record note = {.seq = shown->seq,
		.time_ms = shown->time_ms,
		.opened = received->opened,
		.message = shown->message};

	if (c->reviewing || c->doubted || !c->state.archive || !conversation_may_write(c) ||
		memcmp(c->state.vault_id, none, ID_BYTES) == 0 ||
		(record != NULL && (record->opened || !received->opened))) {
		return;
	}
	memcpy(note.link, message->link, HASH_BYTES);
	memcpy(note.key, received->key, CHAT_KEY_BYTES);
	conversation_archive_note(c, &note);
	secret_clear(note.key, sizeof note.key);
}

/* All that can be wrong with it; then the state has it. *record: also where only the key comes from
 * there. */
static int read_take(struct conversation *c, const struct api_message *shown,
	struct chat_message *message, struct conversation_item *item,
	const struct chat_record **record, struct chat_received *ret, struct err *e)
{
	const uint8_t *key = NULL;
	struct err why = {0};
	int rc = chat_parse(buf_bytes(&shown->message), message, &why);

	if (rc != 0) { /* A node takes none that does not parse. */
		return err_set(e, KLUIS_EVERIFY, "message %" PRIu64 ": %s", shown->seq, why.text);
	}
	if (!c->reviewing && chat_state_awaits(&c->state, message->place.epoch)) {
		/* That is stored, and with it what was handed out so far. */
		rc = conversation_take_epoch(c, message->place.epoch, e);
	}
	c->state.from_history = *record != NULL;
	c->state.back = conversation_back(c);
	c->state.history = c->archive != NULL && c->archive->index->n > 0;
	item->left_epoch = message->place.epoch <= c->state.closed;
	rc = rc != 0 ? rc : read_key(c, message, shown->seq, record, &key, e);
	/* Behind those, which ask for the members anew: their devices then lie elsewhere. */
	rc = rc != 0 ? rc : item_writer(c, message, item, e);
	rc = rc != 0 ? rc : read_check_role(c, item, message->place.epoch, e);
	return rc != 0 ? rc
		       : chat_state_receive(&c->state, shown->seq, shown->time_ms, message,
				 item->device->sign, key, ret, e);
}

/* What the history could not give is missing before the next message, whatever that is. */
static void item_hole(struct conversation *c, struct conversation_item *item)
{
	if (c->hole_from != 0 && item->missing == 0 && item->seq > c->hole_from) {
		item->missing = item->seq - c->hole_from;
	}
	c->hole_from = item->late ? c->hole_from : 0;
}

int conversation_read_one(struct conversation *c, const struct conversation_read *reader,
	const struct api_message *shown, const struct chat_record *record, struct err *e)
{
	struct conversation_item item = {.seq = shown->seq, .time_ms = shown->time_ms};
	struct chat_received received;
	struct chat_message message;
	bool archived = record != NULL;
	int rc = read_take(c, shown, &message, &item, &record, &received, e);

	if (rc != 0) {
		return archived ? conversation_archive_doubt(c, rc, shown->seq, e) : rc;
	}
	memcpy(item.link, message.link, HASH_BYTES);
	item.mine = memcmp(item.user->user_id, c->state.own.user_id, ID_BYTES) == 0;
	if (c->reviewing || c->start_after > 0) {
		received.passed = 0; /* Nobody asked for those before it. */
	}
	item_received(c, &received, &item);
	item_hole(c, &item);
	/* A lie is not handed on to those who read the history. */
	c->doubted = c->doubted || (item.problems & ~(unsigned)CHAT_CLOSED) != 0;
	if (item.opened) {
		chat_content_parse(received.type, secret_bytes(&received.payload), &item.content);
		item_target(c, &item);
		item_title(c, &item);
	}
	c->half_taken = true;
	rc = reader->each(reader->arg, &item, e);
	if (rc == 0) {
		c->half_taken = false;
		read_note(c, shown, &message, &received, record);
		c->n_shown++;
	}
	chat_content_release(&item.content);
	secret_release(&received.payload);
	secret_clear(received.key, sizeof received.key);
	return rc;
}

/* That it was read is told; that it could not be costs the node some room. */
static void read_receipt(struct conversation *c, bool quiet)
{
	uint64_t read = quiet ? c->state.read : c->state.last_seq;
	struct err ignored = {0};

	if ((c->state.delivered < c->state.last_seq || c->state.read < read) &&
		api_receipt(conversation_client(c), c->id, c->state.last_seq, read, &ignored) ==
			0) {
		c->state.delivered = c->state.last_seq;
		c->state.read = read;
	}
}

static uint64_t read_after(const struct conversation *c)
{
	return c->state.last_seq == 0 ? c->start_after : c->state.last_seq;
}

/* What the cluster has no more, up to number `to`, as far as it was archived. */
static int read_missing(
	struct conversation *c, const struct conversation_read *reader, uint64_t to, struct err *e)
{
	uint64_t from = read_after(c) + 1;
	int rc = from < to ? conversation_archive_open(c, e) : 0;

	if (rc != 0 || from >= to) {
		return rc;
	}
	if (c->archive == NULL && conversation_archive_verdict(c) != 0) {
		c->hole_from = from;
	}
	return conversation_archive_show(c, reader, from, to, e);
}

/* In the middle of what is read only what has to be. */
static int read_make_room(struct conversation *c, struct err *e)
{
	return c->backlog.bytes < CHAT_BACKLOG_BYTES_MAX - CHAT_MESSAGE_BYTES_MAX
		       ? 0
		       : conversation_archive_flush(c, false, e);
}

/* In the middle of an answer. Returns rc. */
static int read_cut(
	struct conversation *c, const struct conversation_read *reader, int rc, struct err *e)
{
	struct err why = {0};

	if (!reader->keep || c->half_taken || !err_retryable(rc)) {
		return conversation_reload(c, rc, e);
	}
	return conversation_save(c, &why) == 0 ? rc : err_wrap(e, rc, "%s", why.text);
}

static int read_batch(struct conversation *c, const struct conversation_read *reader,
	bool *ret_more, struct err *e)
{
	struct api_message *messages;
	bool last;
	size_t n, i = 0;
	int rc = conversation_answer(
		api_messages(conversation_client(c), c->id, read_after(c), &messages, &n, &last, e),
		e);

	if (rc != 0) {
		return rc;
	}
	c->half_taken = false;
	while (rc == 0 && i < n) {
		rc = read_make_room(c, e);
		rc = rc != 0 ? rc : read_missing(c, reader, messages[i].seq, e);
		rc = rc != 0 ? rc : conversation_read_one(c, reader, &messages[i], NULL, e);
		i += rc == 0;
	}
	api_messages_free(messages, n);
	if (rc == 0 && last && read_after(c) < c->info.last_seq) {
		rc = read_missing(c, reader, c->info.last_seq + 1, e);
	}
	if (rc != 0) {
		return read_cut(c, reader, rc, e);
	}
	if (n > 0) {
		rc = conversation_save(c, e);
	}
	*ret_more = !last;
	return rc;
}

/* Those of the last so many that were read before, from the archive: shown, and nothing else. */
static int read_again(struct conversation *c, const struct conversation_read *reader, uint64_t from,
	struct err *e)
{
	struct chat_state real = c->state;
	uint64_t hole_from = c->hole_from;
	int rc = conversation_archive_open(c, e);

	real = c->state; /* Opening notes which vault it is. */
	chat_state_init(&c->state, c->id, real.own.user_id, real.own.device_id);
	c->reviewing = true;
	c->hole_from = 0;
	rc = rc != 0 ? rc : conversation_archive_show(c, reader, from, real.last_seq + 1, e);
	c->reviewing = false;
	c->hole_from = hole_from;
	chat_state_release(&c->state);
	c->state = real;
	return rc;
}

static int read_last(struct conversation *c, const struct conversation_read *reader, struct err *e)
{
	uint64_t newest = c->info.last_seq;
	uint64_t from = newest > reader->last ? newest - reader->last + 1 : 1;

	if (reader->last == 0) {
		return 0;
	}
	if (c->state.last_seq == 0) {
		c->start_after = from - 1;
		return 0;
	}
	return from <= c->state.last_seq ? read_again(c, reader, from, e) : 0;
}

/* A device that does not know yet of a history looks for one, before keys of what it reads go. */
static int read_look(struct conversation *c, struct err *e)
{
	static const uint8_t none[ID_BYTES];
	bool known = memcmp(c->state.vault_id, none, ID_BYTES) != 0;

	return known && c->state.last_seq > 0 ? 0 : conversation_archive_open(c, e);
}

int conversation_read(struct conversation *c, const struct conversation_read *reader, size_t *ret_n,
	struct err *e)
{
	uint64_t delivered = c->state.delivered, read = c->state.read;
	uint8_t vault_id[ID_BYTES];
	size_t before = c->n_shown;
	bool more = true;
	int rc;

	memcpy(vault_id, c->state.vault_id, ID_BYTES);
	c->doubted = false;
	rc = read_look(c, e);
	rc = rc != 0 ? rc : read_last(c, reader, e);
	while (rc == 0 && more) {
		rc = read_batch(c, reader, &more, e);
	}
	rc = rc != 0 ? rc : conversation_archive_flush(c, reader->lazy, e);
	if (rc == 0) {
		read_receipt(c, reader->quiet);
	}
	if (rc == 0 && (delivered != c->state.delivered || read != c->state.read ||
			       memcmp(vault_id, c->state.vault_id, ID_BYTES) != 0)) {
		rc = conversation_save(c, e);
	}
	if (rc == 0) {
		*ret_n = c->n_shown - before;
	}
	return rc;
}

int conversation_problem_code(unsigned problems)
{
	if ((problems & (CHAT_ORDER | CHAT_FORK | CHAT_REPLACED)) != 0) {
		return KLUIS_EPIN;
	}
	return (problems & (CHAT_GAP | CHAT_CLOSED | CHAT_COPY | CHAT_REPEATED)) != 0
		       ? KLUIS_EVERIFY
		       : 0;
}

static void problem_put(struct buf *to, const char *text)
{
	if (to->len > 0) {
		buf_printf(to, "; ");
	}
	buf_printf(to, "%s", text);
}

static void problem_closed(struct buf *to, const struct conversation_item *item)
{
	const char *who = item->user->name;

	if (item->left_epoch) {
		buf_printf(to,
			"it does not open: '%s' wrote it under keys from before those that are "
			"used now. The cluster kept the newer ones, and who the members are, from "
			"them",
			who);
	} else if (item->key_refused != NULL) {
		buf_printf(to,
			"it does not open: the KeyPacket that the cluster brings does not hold: %s",
			item->key_refused);
	} else {
		buf_printf(to,
			"it does not open: '%s' did not seal it for this device, or the cluster "
			"withholds the KeyPacket",
			who);
	}
}

char *conversation_problem_text(const struct conversation_item *item)
{
	_cleanup_(buf_release) struct buf to = BUF_INIT;
	const char *who = item->user->name;

	if ((item->problems & CHAT_GAP) != 0) {
		buf_printf(&to,
			"the cluster withholds %" PRIu64
			" message%s before it, which it should still have",
			item->missing, item->missing == 1 ? "" : "s");
	}
	if ((item->problems & CHAT_ORDER) != 0) {
		problem_put(&to, "");
		buf_printf(&to,
			"the message that '%s' wrote before it is not the one that was shown here: "
			"the cluster dropped, moved or replaced one",
			who);
	}
	if ((item->problems & CHAT_FORK) != 0) {
		problem_put(&to, "");
		buf_printf(&to,
			"'%s' saw a message that was not shown here: the cluster shows you "
			"different histories; ask them by another way",
			who);
	}
	if ((item->problems & CHAT_REPLACED) != 0) {
		problem_put(&to,
			"the cluster had given that number to a message of this device, which it "
			"does not show: it dropped, moved or replaced that one");
	}
	if ((item->problems & CHAT_CLOSED) != 0) {
		problem_put(&to, "");
		problem_closed(&to, item);
	}
	if ((item->problems & CHAT_REPEATED) != 0) {
		problem_put(&to, "");
		buf_printf(&to,
			"it was shown as number %" PRIu64
			" before, where the history has it: a member who archives put it there, or "
			"the cluster shows it for a second time",
			item->repeats);
	}
	if ((item->problems & CHAT_COPY) != 0) {
		problem_put(&to,
			"this device sent it, but this profile does not know it: it is an older "
			"copy of itself, and writes under new keys from now on");
	}
	return to.len == 0 ? NULL : x_strdup(buf_str(&to));
}
