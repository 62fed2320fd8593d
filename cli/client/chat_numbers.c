/* Which messages were shown as which numbers, how far a conversation is by them, so that a new
 * epoch is due, and what becomes of that in a restore. */
#include <string.h>

#include "cli/client/chat_state.h"

const struct chat_shown *chat_state_row(const struct chat_state *s, uint64_t seq)
{
	for (size_t i = s->n_log; i > 0 && s->log[i - 1].seq >= seq; i--) {
		if (s->log[i - 1].seq == seq) {
			return &s->log[i - 1];
		}
	}
	return NULL;
}

const struct chat_shown *chat_state_find(const struct chat_state *s, const uint8_t link[HASH_BYTES])
{
	for (size_t i = s->n_log; i > 0; i--) {
		if (memcmp(s->log[i - 1].link, link, HASH_BYTES) == 0) {
			return &s->log[i - 1];
		}
	}
	return NULL;
}

void chat_state_log(struct chat_state *s, const struct chat_shown *row)
{
	size_t at;

	if (s->n_log == CHAT_LOG_MAX) {
		s->n_log--;
		memmove(s->log, s->log + 1, s->n_log * sizeof *s->log);
	}
	s->log = x_realloc(s->log, (s->n_log + 1) * sizeof *s->log);
	at = s->n_log;
	while (at > 0 && s->log[at - 1].seq > row->seq) {
		at--;
	}
	memmove(&s->log[at + 1], &s->log[at], (s->n_log - at) * sizeof *s->log);
	s->log[at] = *row;
	s->n_log++;
}

uint64_t chat_state_newest(const struct chat_state *s)
{
	return s->n_taken > 0 ? s->taken[s->n_taken - 1].seq : s->last_seq;
}

/* How many messages of the newest epoch are known to be: read, or by numbers that the cluster gave
 * to this device's own behind those. */
static uint64_t epoch_messages(const struct chat_state *s, const struct chat_epoch *epoch)
{
	uint64_t n = 0, after = s->last_seq;
	size_t own = 0;

	for (size_t i = 0; i < epoch->n_chains; i++) {
		n += epoch->chains[i].next;
	}
	while (own < s->n_taken && s->taken[own].epoch != epoch->epoch) {
		own++;
	}
	if (own == s->n_taken) {
		return n;
	}
	/* Where none of it was read what comes before the first own one may be of those before. */
	if (n == 0) {
		after = s->taken[own].seq - 1;
	}
	return n + (chat_state_newest(s) - after);
}

bool chat_state_due(
	const struct chat_state *s, const uint8_t members_hash[HASH_BYTES], uint64_t now_ms)
{
	const struct chat_epoch *epoch = chat_state_current(s);

	if (epoch == NULL || epoch->spent || !epoch->has_sender || epoch->closed_ms != 0) {
		return true;
	}
	return memcmp(epoch->members_hash, members_hash, HASH_BYTES) != 0 ||
	       (now_ms > epoch->made_ms && now_ms - epoch->made_ms > CHAT_EPOCH_MS) ||
	       epoch_messages(s, epoch) >= CHAT_EPOCH_MESSAGES_MAX ||
	       epoch->sender.next >= CHAT_EPOCH_MESSAGES_MAX;
}

void chat_state_restored(struct chat_state *s, const uint8_t lineage[ID_BYTES], uint64_t last_seq,
	uint64_t members_rev)
{
	memcpy(s->lineage, lineage, ID_BYTES);
	s->n_taken = 0;
	s->members_rev = members_rev < s->members_rev ? members_rev : s->members_rev;
	if (s->n_epochs > 0) {
		s->epochs[s->n_epochs - 1].spent = true;
	}
	if (last_seq >= s->last_seq) {
		return;
	}
	s->last_seq = last_seq;
	s->delivered = last_seq < s->delivered ? last_seq : s->delivered;
	s->read = last_seq < s->read ? last_seq : s->read;
	s->view_from = last_seq + 1;
	while (s->n_log > 0 && s->log[s->n_log - 1].seq > last_seq) {
		s->n_log--;
	}
	for (size_t i = 0; i < s->n_devices; i++) {
		s->devices[i].link_known = false;
		s->devices[i].seen_seq = 0;
	}
}
