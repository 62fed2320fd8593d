/* What a chat message says (docs/format-chat.md): text, or of the application type a JSON object
 * that changes, deletes or names something. Pure. */
#ifndef KLUIS_CLI_CLIENT_CHAT_CONTENT_H
#define KLUIS_CLI_CLIENT_CHAT_CONTENT_H

#include <jansson.h>

#include "crypto/chat.h"

enum { CHAT_JSON = 16 }; /* Type of a payload that is such an object. */

enum chat_kind {
	CHAT_KIND_TEXT,
	CHAT_KIND_EDIT,	  /* text takes the place of what `of` said. */
	CHAT_KIND_DELETE, /* `of` is not to be shown any more. */
	CHAT_KIND_TITLE,  /* text: of the conversation. */
	CHAT_KIND_FILE,	  /* A file in a vault that the members can read. */
	CHAT_KIND_CALL,
	CHAT_KIND_OTHER, /* Of another program: raw. */
};

struct chat_content {
	enum chat_kind kind;
	unsigned type;
	struct bytes raw; /* The payload, the caller's. */
	json_t *object;	  /* Of CHAT_JSON; NULL else. */
	const char *text; /* With NUL; NULL where there is none. */
	uint8_t of[HASH_BYTES];
	char *owned; /* What text points to, of CHAT_KIND_TEXT. */
};
/* "text", "edit" ... */
const char *chat_kind_name(enum chat_kind kind);
/* What is malformed is CHAT_KIND_OTHER. payload outlives it. Release it. */
void chat_content_parse(unsigned type, struct bytes payload, struct chat_content *ret_content);
void chat_content_release(struct chat_content *content); /* Clears. */

/* Payloads of type CHAT_JSON, appended. */
void chat_content_edit(const uint8_t of[HASH_BYTES], const char *text, struct buf *to);
void chat_content_delete(const uint8_t of[HASH_BYTES], struct buf *to);
void chat_content_title(const char *title, struct buf *to);
void chat_content_file(
	const char *name, uint64_t size, const uint8_t sha256[HASH_BYTES], struct buf *to);
/* 1 to 255 bytes that can be shown in one line. */
bool chat_title_valid(const char *title);

#endif
