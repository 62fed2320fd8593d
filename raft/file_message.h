/* What two nodes say on a link's file stream (docs/format-catch-up.md). Pure. */
#ifndef KLUIS_RAFT_FILE_MESSAGE_H
#define KLUIS_RAFT_FILE_MESSAGE_H

#include "raft/manifest.h"

enum file_message_type { FILE_REQUEST = 1, FILE_CHUNK = 2, FILE_GONE = 3 };

/* "len bytes at offset of the file'th file of checkpoint id"; a chunk is the answer to it. */
struct file_request {
	uint8_t id[MANIFEST_ID_BYTES];
	uint32_t file, len; /* len: at most LINK_FILE_CHUNK_BYTES. */
	uint64_t offset;
};

/* 0 when the bytes are no message of this stream; the rest is for the decoders below. */
enum file_message_type file_message_type(struct bytes message);
void file_request_encode(const struct file_request *request, struct buf *to);
/* Exact length. KLUIS_EPROTO. */
KLUIS_MUST_CHECK int file_request_decode(struct bytes message, struct file_request *ret_request);
/* The head; request->len bytes of data follow it. */
void file_chunk_encode(const struct file_request *request, struct buf *to);
/* data points into message. KLUIS_EPROTO. */
KLUIS_MUST_CHECK int file_chunk_decode(
	struct bytes message, struct file_request *ret_request, struct bytes *ret_data);
void file_gone_encode(const uint8_t id[MANIFEST_ID_BYTES], struct buf *to);
KLUIS_MUST_CHECK int file_gone_decode(struct bytes message, uint8_t ret_id[MANIFEST_ID_BYTES]);

#endif
