/* How far a conversation is by its numbers, and what becomes of that in a restore. */
#include <string.h>

#include "cli/client/chat_state.h"

uint64_t chat_state_newest(const struct chat_state *s)
{
	return s->n_taken > 0 ? s->taken[s->n_taken - 1].seq : s->last_seq;
}

void chat_state_restored(struct chat_state *s, const uint8_t lineage[ID_BYTES], uint64_t last_seq)
{
	memcpy(s->lineage, lineage, ID_BYTES);
	s->n_taken = 0;
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
