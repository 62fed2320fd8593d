#include "cli/client/chat_content.h"

#include <string.h>

#include "base/text.h"
#include "cli/client/chat_state.h"
#include "cli/client/json_reader.h"

static const char *const kind_names[] = {
	[CHAT_KIND_TEXT] = "text",
	[CHAT_KIND_EDIT] = "edit",
	[CHAT_KIND_DELETE] = "delete",
	[CHAT_KIND_TITLE] = "title",
	[CHAT_KIND_FILE] = "file",
	[CHAT_KIND_CALL] = "call",
	[CHAT_KIND_OTHER] = "other",
};

const char *chat_kind_name(enum chat_kind kind)
{
	return kind_names[kind];
}

bool chat_title_valid(const char *title)
{
	size_t len = strlen(title);

	return len > 0 && len <= CHAT_TITLE_BYTES_MAX && text_printable(bytes_str(title));
}

/* Whether the members that this kind needs are there. */
static bool content_fits(struct chat_content *content, const char *kind)
{
	struct json_reader r = json_reader_of(content->object);

	if (strcmp(kind, "edit") == 0) {
		content->kind = CHAT_KIND_EDIT;
		content->text = json_reader_string(&r, "text");
		json_reader_hex(&r, "of", content->of, HASH_BYTES);
	} else if (strcmp(kind, "delete") == 0) {
		content->kind = CHAT_KIND_DELETE;
		json_reader_hex(&r, "of", content->of, HASH_BYTES);
	} else if (strcmp(kind, "title") == 0) {
		content->kind = CHAT_KIND_TITLE;
		content->text = json_reader_string(&r, "title");
		return r.failed == NULL && chat_title_valid(content->text);
	} else if (strcmp(kind, "file") == 0) {
		content->kind = CHAT_KIND_FILE;
		content->text = json_reader_string(&r, "name");
	} else {
		return false;
	}
	return r.failed == NULL;
}

static void content_json(struct chat_content *content)
{
	const char *kind;

	if (json_object_parse(content->raw, &content->object, NULL) != 0) {
		content->object = NULL;
		return;
	}
	kind = json_string_value(json_object_get(content->object, "kind"));
	if (kind == NULL || !content_fits(content, kind)) {
		content->kind = CHAT_KIND_OTHER;
		content->text = NULL;
	}
}

void chat_content_parse(unsigned type, struct bytes payload, struct chat_content *ret_content)
{
	struct chat_content content = {.kind = CHAT_KIND_OTHER, .type = type, .raw = payload};

	if (type == CHAT_TEXT && utf8_valid(payload)) {
		content.kind = CHAT_KIND_TEXT;
		content.owned = x_strndup((const char *)payload.data, payload.len);
		content.text = content.owned;
	} else if (type == CHAT_CALL) {
		content.kind = CHAT_KIND_CALL;
	} else if (type == CHAT_JSON) {
		content_json(&content);
	}
	*ret_content = content;
}

void chat_content_release(struct chat_content *content)
{
	if (content->owned != NULL) {
		secret_clear(content->owned, strlen(content->owned));
	}
	free(content->owned);
	json_decref(content->object);
	*content = (struct chat_content){.kind = CHAT_KIND_OTHER};
}

void chat_content_edit(const uint8_t of[HASH_BYTES], const char *text, struct buf *to)
{
	json_take_text(json_pack("{s:s, s:o, s:s}", "kind", "edit", "of",
			       json_hex(bytes_of(of, HASH_BYTES)), "text", text),
		to);
}

void chat_content_delete(const uint8_t of[HASH_BYTES], struct buf *to)
{
	json_take_text(
		json_pack("{s:s, s:o}", "kind", "delete", "of", json_hex(bytes_of(of, HASH_BYTES))),
		to);
}

void chat_content_title(const char *title, struct buf *to)
{
	json_take_text(json_pack("{s:s, s:s}", "kind", "title", "title", title), to);
}

void chat_content_file(
	const char *name, uint64_t size, const uint8_t sha256[HASH_BYTES], struct buf *to)
{
	json_take_text(json_pack("{s:s, s:s, s:I, s:o}", "kind", "file", "name", name, "size",
			       (json_int_t)size, "sha256", json_hex(bytes_of(sha256, HASH_BYTES))),
		to);
}
