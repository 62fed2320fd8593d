/* What a person types, and what is shown to a person alone: passwords, codes, the account key. From
 * a prompt at the terminal, a file or a descriptor; never from argv or the environment. */
#ifndef KLUIS_CLI_VAULT_SECRETS_H
#define KLUIS_CLI_VAULT_SECRETS_H

#include "base/buf.h"
#include "cli/client/profile.h"
#include "cli/ui/command.h"

/* Options that the functions below look at, for the tables of commands. */
#define SECRETS_OPTIONS_PASSWORD                                                               \
	{"password-file", 0, "FILE", "File whose first line is the password; - for stdin"},    \
	{                                                                                      \
		"password-fd", 0, "N",                                                         \
			"Descriptor to read the password from; without either it is asked for" \
	}
#define SECRETS_OPTIONS_NEW_PASSWORD                                                               \
	{"new-password-file", 0, "FILE", "File whose first line is the new password"},             \
	{                                                                                          \
		"new-password-fd", 0, "N",                                                         \
			"Descriptor to read the new password from; without either it is asked for" \
	}
#define SECRETS_OPTIONS_CODE                                                                      \
	{"code-file", 0, "FILE", "File whose first line is a code of a second factor"},           \
	{                                                                                         \
		"code-fd", 0, "N",                                                                \
			"Descriptor to read that code from; without either it is asked for when " \
			"the account has one"                                                     \
	}
#define SECRETS_OPTIONS_RECOVERY                                                                  \
	{                                                                                         \
		"recovery-file", 0, "FILE",                                                       \
			"Write the recovery code to this new file, instead of showing it at the " \
			"terminal"                                                                \
	}

/* The password: appended, the caller releases it with prompt_secret_release(). */
KLUIS_MUST_CHECK int secrets_password(struct invocation *inv, struct buf *to);
/* A new one, which is refused here when it is too short or common. At the terminal: typed twice,
 * and asked for again after a refusal. prefix: of its options, "" or "new-". */
KLUIS_MUST_CHECK int secrets_new_password(
	struct invocation *inv, const char *prefix, struct buf *to);
/* A code of a second factor of this method. */
KLUIS_MUST_CHECK int secrets_code(struct invocation *inv, const char *method, struct buf *to);

/* Where a recovery code will be shown: found out before it is made, for it is shown once. */
struct outlet {
	const char *path; /* Of --recovery-file; NULL: the terminal. */
	int fd;
};
#define OUTLET_INIT ((struct outlet){NULL, -1})
/* KLUIS_EINVAL: no terminal, and no --recovery-file. KLUIS_EEXIST: that file is there. */
KLUIS_MUST_CHECK int outlet_open(struct invocation *inv, struct outlet *ret_outlet);
/* Shows it, with what a person should do with it. */
KLUIS_MUST_CHECK int outlet_show(
	struct invocation *inv, struct outlet *outlet, const char *account, struct bytes code);
/* A file that was not written to is taken away. */
void outlet_close(struct outlet *outlet);

/* The emergency sheet: the account key and where it belongs, as text in a new file (0600).
 * KLUIS_EEXIST. */
KLUIS_MUST_CHECK int secrets_sheet(
	struct invocation *inv, const struct profile *profile, const char *path);
/* The account key: of a sheet, of a file or descriptor with it alone (--account-key-file,
 * --account-key-fd), or typed. Empty when there is none of these, or nobody to ask, or nothing was
 * typed. */
#define SECRETS_OPTIONS_ACCOUNT_KEY                                                             \
	{"account-key-file", 0, "FILE",                                                         \
		"The emergency sheet, or a file with the account key (first use on a device)"}, \
	{                                                                                       \
		"account-key-fd", 0, "N", "Descriptor to read the account key from"             \
	}
KLUIS_MUST_CHECK int secrets_account_key(struct invocation *inv, struct secret *ret_key);

#endif
