#include <string.h>

#include "crypto/keypacket.h"
#include "raft/command_body.h"

/* Ids of 16 bytes, strictly ascending: none twice, and one form only. */
static void codec_ids(struct codec *c, struct bytes *ids, size_t max)
{
	codec_run(c, ids, 16, max * 16);
	codec_need(c, ids->len % 16 == 0);
	for (size_t at = 16; at + 16 <= ids->len; at += 16) {
		codec_need(c, memcmp(ids->data + at - 16, ids->data + at, 16) < 0);
	}
}

static void codec_packets(struct codec *c, struct bytes *packets)
{
	struct bytes rest, packet;
	unsigned n = 0;

	codec_run(c, packets, 1, COMMAND_BYTES_MAX);
	for (rest = *packets; members_item_next(&rest, &packet);) {
		codec_need(c, packet.len > 0 && packet.len <= KEYPACKET_BYTES_MAX);
		n++;
	}
	codec_need(c, rest.len == 0 && n <= CHAT_DEVICES_MAX);
}

void body_chat_epoch(struct codec *c, struct command_chat_epoch *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->conv_id, sizeof body->conv_id);
	codec_u32(c, &body->epoch, 1, UINT32_MAX);
	codec_fixed(c, body->members_hash, sizeof body->members_hash);
	codec_packets(c, &body->packets);
}

void body_message_send(struct codec *c, struct command_message_send *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->conv_id, sizeof body->conv_id);
	codec_run(c, &body->message, 1, CHAT_MESSAGE_BYTES_MAX);
}

void body_receipt(struct codec *c, struct command_receipt *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->conv_id, sizeof body->conv_id);
	codec_u64(c, &body->delivered, 0);
	codec_u64(c, &body->read, 0);
	codec_need(c, body->read <= body->delivered);
}

void body_inbox_put(struct codec *c, struct command_inbox_put *body)
{
	codec_u8(c, &body->by, INBOX_BY_SESSION, INBOX_BY_TOKEN);
	codec_fixed(c, body->secret, sizeof body->secret);
	codec_fixed(c, body->owner, sizeof body->owner);
	codec_run(c, &body->document, 1, INBOX_DOCUMENT_BYTES_MAX);
}

void body_inbox_delete(struct codec *c, struct command_inbox_delete *body)
{
	codec_session(c, &body->session);
	codec_ids(c, &body->docs, INBOX_DOCS_PER_COMMAND_MAX);
}

void body_inbox_token_create(struct codec *c, struct command_inbox_token_create *body)
{
	codec_session(c, &body->session);
	codec_once(c, &body->once);
	codec_fixed(c, body->token_hash, sizeof body->token_hash);
	codec_u64(c, &body->expires_ms, 1);
	codec_u32(c, &body->docs, 1, INBOX_TOKEN_DOCS_MAX);
	codec_text(c, &body->label, INBOX_LABEL_BYTES_MAX);
}

void body_inbox_token_end(struct codec *c, struct command_inbox_token_end *body)
{
	codec_session(c, &body->session);
	codec_fixed(c, body->token_id, sizeof body->token_id);
}

void body_commit_claim(struct codec *c, struct command_commit_claim *body)
{
	body_commit(c, &body->commit);
	codec_ids(c, &body->docs, INBOX_DOCS_PER_COMMAND_MAX);
}
