/* What is written in a conversation: on the disk before it leaves, and once. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "cli/client/conversation.h"

enum { SEND_TRIES_MAX = 5 };

static unsigned send_sym(const struct conversation *c)
{
	return conversation_profile(c)->aes_128 ? SYM_AES_128 : SYM_AES_256;
}

/* The epoch that the pending message was sealed in; NULL: its keys are gone. */
static const struct chat_epoch *pending_epoch(const struct conversation *c)
{
	struct chat_message message;

	if (chat_parse(buf_bytes(&c->state.pending), &message, NULL) != 0) {
		return NULL;
	}
	for (size_t i = 0; i < c->state.n_epochs; i++) {
		if (c->state.epochs[i].epoch == message.place.epoch) {
			return &c->state.epochs[i];
		}
	}
	return NULL;
}

/* What the draft says goes out in another epoch than it was refused in. */
static int send_draft(struct conversation *c, struct err *e)
{
	int rc = conversation_need_epoch(c, e);

	rc = rc != 0 ? rc
		     : chat_state_seal_draft(
			       &c->state, send_sym(c), conversation_profile(c)->device, e);
	return rc != 0 ? rc : conversation_save(c, e);
}

/* The epoch of the pending message is over, or its index was used by a copy of this profile. */
static int send_again(struct conversation *c, struct err *e)
{
	int rc = chat_state_unseal(&c->state, e);

	if (rc == KLUIS_ENOTFOUND) { /* After weeks: said once, for nothing can be done. */
		struct err why = {0};

		chat_state_drop_pending(&c->state);
		return err_wrap(e, conversation_save(c, &why) == 0 ? rc : why.code,
			"a message that was not sent for weeks is lost");
	}
	rc = rc != 0 ? rc : conversation_save(c, e);
	return rc != 0 ? rc : send_draft(c, e);
}

/* Nothing is taken while one device lets so much wait; the cluster says whose. */
static int send_full(struct conversation *c, struct err *e)
{
	_cleanup_(x_freep) struct api_receipt *receipts = NULL;
	const struct identity *user;
	struct err why = {0};
	size_t n = 0, least = 0;
	int rc = api_receipts(conversation_client(c), c->id, &receipts, &n, &why);

	for (size_t i = 1; i < n; i++) {
		least = receipts[i].delivered < receipts[least].delivered ? i : least;
	}
	if (rc == 0 && n > 0 &&
		people_get(c->people, receipts[least].user_id, false, &user, &why) == 0) {
		return err_set(e, KLUIS_EQUOTA,
			"too many messages wait: by the cluster's word a device of '%s' has "
			"fetched none behind message %" PRIu64
			". It has to read or to be revoked, or its owner to be taken out",
			user->name, receipts[least].delivered);
	}
	return KLUIS_EQUOTA; /* As the cluster put it. */
}

/* The same bytes, until it is known what became of them. */
static int send_pending(struct conversation *c, uint64_t *ret_seq, struct err *e)
{
	uint64_t time_ms;
	int rc = KLUIS_ECONFLICT;

	for (unsigned turn = 0; turn < SEND_TRIES_MAX; turn++) {
		const struct chat_epoch *epoch = pending_epoch(c);

		rc = epoch == NULL || epoch->spent
			     ? KLUIS_ECONFLICT
			     : api_message_send(conversation_client(c), c->id,
				       buf_bytes(&c->state.pending), ret_seq, &time_ms, e);
		if (rc == 0) {
			chat_state_sent(&c->state, *ret_seq);
			return conversation_save(c, e);
		}
		if (rc == KLUIS_EPRECONDITION) {
			return err_set(e, KLUIS_ECONFLICT,
				"this device has sent messages that this profile does not know: it "
				"is an older copy of itself; 'kluis chat read' brings it up to "
				"date");
		}
		if (rc != KLUIS_ECONFLICT) {
			return rc == KLUIS_EQUOTA ? send_full(c, e) : conversation_answer(rc, e);
		}
		rc = send_again(c, e);
		if (rc != 0) {
			return rc;
		}
	}
	return err_set(e, KLUIS_EBUSY, "the members of the conversation change all the time");
}

int conversation_flush(struct conversation *c, struct err *e)
{
	uint64_t seq;
	int rc;

	if (!conversation_may_write(c)) {
		return 0; /* It waits until she may again. */
	}
	rc = c->state.has_draft ? send_draft(c, e) : 0;
	return rc != 0 || c->state.pending.len == 0 ? rc : send_pending(c, &seq, e);
}

static int send_seal(struct conversation *c, unsigned type, struct bytes payload, struct err *e)
{
	uint64_t now_ms = clock_wall_ms(&clock_system);
	int rc = chat_state_due(&c->state, c->members->members.hash, now_ms)
			 ? conversation_need_epoch(c, e)
			 : 0;

	rc = rc != 0 ? rc
		     : chat_state_seal(&c->state, send_sym(c), type, payload,
			       conversation_profile(c)->device, e);
	return rc != 0 ? rc : conversation_save(c, e);
}

int conversation_send(struct conversation *c, unsigned type, struct bytes payload,
	uint64_t *ret_seq, struct err *e)
{
	int rc;

	if (payload.len > CHAT_PAYLOAD_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "a message has at most %d bytes",
			CHAT_PAYLOAD_BYTES_MAX);
	}
	if (!conversation_may_write(c)) {
		return err_set(e, KLUIS_EFORBIDDEN, "you may only read in this conversation");
	}
	rc = conversation_flush(c, e);
	rc = rc != 0 ? rc : send_seal(c, type, payload, e);
	return rc != 0 ? rc : send_pending(c, ret_seq, e);
}
