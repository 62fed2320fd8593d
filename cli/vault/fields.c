#include "cli/vault/fields.h"

#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/random.h"
#include "base/text.h"
#include "cli/ui/prompt.h"

enum { GENERATED_BYTES = 18 };

static int fields_text(struct invocation *inv, const char *file, struct fields *fields)
{
	int rc;

	buf_reserve(&fields->text, ITEM_TEXT_BYTES_MAX + 128 * 1024); /* No growth: no copies. */
	rc = file_read(strcmp(file, "-") == 0 ? NULL : file, ITEM_TEXT_BYTES_MAX, &fields->text,
		&inv->err);
	if (rc == 0 && memchr(fields->text.data, 0, fields->text.len) != NULL) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "'%s' is no text", file);
	}
	fields->values.value[ITEM_TEXT] = buf_str(&fields->text);
	return rc;
}

/* base64url of 144 random bits: letters, digits, '-' and '_'. */
static void fields_generate(struct fields *fields)
{
	uint8_t raw[GENERATED_BYTES];

	random_fill(&random_system, raw, sizeof raw);
	base64_append(&fields->password, bytes_of(raw, sizeof raw));
	secret_clear(raw, sizeof raw);
}

int fields_ask_password(struct invocation *inv, struct fields *fields)
{
	int rc = prompt_secret("Password to keep: ", invocation_value(inv, "password-file"),
		invocation_value(inv, "password-fd"), ITEM_LINE_BYTES_MAX, &fields->password,
		&inv->err);

	fields->has_password = rc == 0;
	fields->values.value[ITEM_PASSWORD] = rc == 0 ? buf_str(&fields->password) : NULL;
	return rc;
}

static int fields_password(struct invocation *inv, struct fields *fields)
{
	if (invocation_value(inv, "generate") != NULL) {
		fields_generate(fields);
		fields->has_password = true;
		fields->values.value[ITEM_PASSWORD] = buf_str(&fields->password);
		return 0;
	}
	return invocation_value(inv, "password-file") != NULL ||
			       invocation_value(inv, "password-fd") != NULL ||
			       invocation_value(inv, "ask-password") != NULL
		       ? fields_ask_password(inv, fields)
		       : 0;
}

int fields_take(struct invocation *inv, unsigned type, struct fields *fields)
{
	static const enum item_field lines[] = {ITEM_TITLE, ITEM_USER, ITEM_URL};
	const char *file = invocation_value(inv, "text-file");
	int rc = 0;

	buf_reserve(&fields->password, ITEM_LINE_BYTES_MAX + 2);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		fields->values.value[lines[i]] = invocation_value(inv, item_field_name(lines[i]));
	}
	rc = file == NULL ? 0 : fields_text(inv, file, fields);
	rc = rc != 0 ? rc : fields_password(inv, fields);
	for (size_t i = 0; i < ITEM_FIELDS; i++) {
		fields->any = fields->any || fields->values.value[i] != NULL;
	}
	return rc != 0 ? rc : item_fields_check(type, &fields->values, &inv->err);
}

void fields_release(struct fields *fields)
{
	secret_buf_release(&fields->text);
	prompt_secret_release(&fields->password);
}
