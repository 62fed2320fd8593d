/* What the user gives of a note or a login: by options, files and prompts; secrets never by an
 * option's value. */
#ifndef KLUIS_CLI_VAULT_FIELDS_H
#define KLUIS_CLI_VAULT_FIELDS_H

#include "cli/vault/app.h"

/* The options that fields_take() reads, for the table of commands. */
#define FIELDS_OPTIONS_NOTE                                                    \
	{"title", 't', "TITLE", "Its title (default of a new one: its name)"}, \
	{                                                                      \
		"text-file", 0, "FILE", "File with its text; - for stdin"      \
	}
#define FIELDS_OPTIONS_LOGIN                                                                       \
	FIELDS_OPTIONS_NOTE, {"user", 'u', "NAME", "The user name there"},                         \
		{"url", 0, "URL", "Where it is for"},                                              \
		{"password-file", 0, "FILE",                                                       \
			"File whose first line is the password; - for stdin"},                     \
		{"password-fd", 0, "N", "Descriptor to read the password from"},                   \
		{"generate", 'g', NULL,                                                            \
			"Make a password: 24 characters out of 64, from the system's randomness"}, \
	{                                                                                          \
		"ask-password", 0, NULL, "Ask for the password at the terminal"                    \
	}

struct fields {
	struct item_fields values;
	struct buf text, password;
	bool any;	   /* At least one was given. */
	bool has_password; /* And that. */
};

KLUIS_MUST_CHECK int fields_take(struct invocation *inv, unsigned type, struct fields *fields);
/* Asks for the password at the terminal. */
KLUIS_MUST_CHECK int fields_ask_password(struct invocation *inv, struct fields *fields);
/* The text of a new note from the editor. */
KLUIS_MUST_CHECK int app_edit_new(struct invocation *inv, struct fields *fields);
void fields_release(struct fields *fields);

#endif
