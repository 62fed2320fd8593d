#include "cli/client/item.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

static const char *const field_names[ITEM_FIELDS] = {
	[ITEM_TITLE] = "title",
	[ITEM_USER] = "user",
	[ITEM_PASSWORD] = "password",
	[ITEM_URL] = "url",
	[ITEM_TEXT] = "text",
};

const char *item_type_name(unsigned type)
{
	switch (type) {
	case ITEM_NOTE:
		return "note";
	case ITEM_LOGIN:
		return "login";
	case ITEM_FILE:
		return "file";
	case ITEM_FOLDER:
		return "folder";
	default:
		return NULL;
	}
}

bool item_type_has_fields(unsigned type)
{
	return type == ITEM_NOTE || type == ITEM_LOGIN;
}

const char *item_field_name(enum item_field field)
{
	assert(field < ITEM_FIELDS);
	return field_names[field];
}

bool item_type_has(unsigned type, enum item_field field)
{
	return type == ITEM_LOGIN ||
	       (type == ITEM_NOTE && (field == ITEM_TITLE || field == ITEM_TEXT));
}

int item_fields_check(unsigned type, const struct item_fields *fields, struct err *e)
{
	for (enum item_field i = 0; i < ITEM_FIELDS; i++) {
		const char *value = fields->value[i];
		size_t max = i == ITEM_TEXT ? ITEM_TEXT_BYTES_MAX : ITEM_LINE_BYTES_MAX;

		if (value == NULL) {
			continue;
		}
		if (!item_type_has(type, i)) {
			return err_set(e, KLUIS_EINVAL, "a %s has no %s", item_type_name(type),
				field_names[i]);
		}
		if (strlen(value) > max) {
			return err_set(e, KLUIS_ETOOLARGE, "the %s is longer than %zu bytes",
				field_names[i], max);
		}
		if (!utf8_valid(bytes_str(value)) ||
			(i != ITEM_TEXT && strpbrk(value, "\r\n") != NULL)) {
			return err_set(e, KLUIS_EINVAL, "the %s is not UTF-8%s", field_names[i],
				i == ITEM_TEXT ? "" : " of one line");
		}
	}
	return 0;
}

static const char *body_string(const json_t *body, enum item_field field)
{
	const char *value = json_string_value(json_object_get(body, field_names[field]));

	return value == NULL ? "" : value;
}

struct item_fields item_fields_of(unsigned type, const json_t *body)
{
	struct item_fields fields = {.value = {NULL}};

	for (enum item_field i = 0; i < ITEM_FIELDS; i++) {
		if (item_type_has(type, i)) {
			fields.value[i] = body_string(body, i);
		}
	}
	return fields;
}

void item_fields_set(json_t *body, const struct item_fields *fields)
{
	for (enum item_field i = 0; i < ITEM_FIELDS; i++) {
		if (fields->value[i] != NULL) {
			json_t *text = json_string(fields->value[i]);

			assert(text != NULL); /* The fields were checked to be UTF-8. */
			(void)json_object_set_new(body, field_names[i], text);
		}
	}
}

bool item_fields_same(unsigned type, const json_t *body, const struct item_fields *fields)
{
	for (enum item_field i = 0; i < ITEM_FIELDS; i++) {
		if (fields->value[i] != NULL &&
			(!item_type_has(type, i) ||
				strcmp(body_string(body, i), fields->value[i]) != 0)) {
			return false;
		}
	}
	return true;
}

/* Other writers may have put line ends in, which would begin another field. */
static void form_one_line(const char *value, struct buf *to)
{
	for (; value != NULL && *value != 0; value++) {
		buf_append(to, *value == '\n' || *value == '\r' ? " " : value, 1);
	}
}

void item_form_print(unsigned type, const struct item_fields *fields, struct buf *to)
{
	for (enum item_field i = 0; i < ITEM_TEXT; i++) {
		if (item_type_has(type, i)) {
			buf_printf(to, "%s: ", field_names[i]);
			form_one_line(fields->value[i], to);
			buf_append(to, "\n", 1);
		}
	}
	buf_printf(to, "\n%s", fields->value[ITEM_TEXT] == NULL ? "" : fields->value[ITEM_TEXT]);
}

/* "name: value" of one line, without its end. */
static int form_line(unsigned type, char *line, struct item_fields *fields, struct err *e)
{
	char *colon = strchr(line, ':');

	for (enum item_field i = 0; colon != NULL && i < ITEM_TEXT; i++) {
		size_t len = strlen(field_names[i]);

		if (!item_type_has(type, i) || (size_t)(colon - line) != len ||
			strncmp(line, field_names[i], len) != 0) {
			continue;
		}
		fields->value[i] = colon + 1 + (colon[1] == ' ');
		return 0;
	}
	return err_set(e, KLUIS_EINVAL,
		"'%.40s' is no field of a %s: lines 'name: value', an empty line, then the text",
		line, item_type_name(type));
}

int item_form_parse(unsigned type, char *form, struct item_fields *ret_fields, struct err *e)
{
	struct item_fields fields = {.value = {NULL}};
	char *at = form;

	for (enum item_field i = 0; i < ITEM_FIELDS; i++) {
		fields.value[i] = item_type_has(type, i) ? "" : NULL;
	}
	while (*at != 0 && *at != '\n' && strncmp(at, "\r\n", 2) != 0) {
		size_t len = strcspn(at, "\n");
		char *next = at + len + (at[len] == '\n');
		int rc;

		at[len] = 0;
		if (len > 0 && at[len - 1] == '\r') {
			at[len - 1] = 0;
		}
		rc = form_line(type, at, &fields, e);
		if (rc != 0) {
			return rc;
		}
		at = next;
	}
	if (*at != 0) {
		fields.value[ITEM_TEXT] = at + (*at == '\r') + 1;
	}
	*ret_fields = fields;
	return item_fields_check(type, ret_fields, e);
}

bool item_name_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > ITEM_NAME_BYTES_MAX || !utf8_valid(bytes_str(name)) ||
		strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '/' || (unsigned char)name[i] < 0x20 || name[i] == 0x7f) {
			return false;
		}
	}
	return true;
}

char *item_name_from(const char *text, size_t max)
{
	char *name = x_strndup(text, max);
	size_t len = strlen(name);

	if (text[len] != 0) { /* Not in the middle of a character. */
		while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) {
			len--;
		}
		name[len] = 0;
	}
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '/' || (unsigned char)name[i] < 0x20 || name[i] == 0x7f) {
			name[i] = '-';
		}
	}
	if (!item_name_valid(name)) {
		free(name);
		name = x_strdup("untitled");
	}
	return name;
}
