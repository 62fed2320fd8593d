#include "cli/vault/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/client/person.h"
#include "cli/ui/prompt.h"
#include "crypto/password.h"
#include "crypto/pki.h"
#include "crypto/recovery.h"

enum {
	SECRETS_CODE_BYTES_MAX = 16,
	SECRETS_TRIES = 3,
	SECRETS_SHEET_BYTES_MAX = 16 * 1024,
};
static const char sheet_label[] = "Account key:";

int secrets_password(struct invocation *inv, struct buf *to)
{
	buf_reserve(to, PASSWORD_TYPED_BYTES_MAX + 1);
	return prompt_secret("Password: ", invocation_value(inv, "password-file"),
		invocation_value(inv, "password-fd"), PASSWORD_TYPED_BYTES_MAX, to, &inv->err);
}

static int password_allowed(struct bytes typed, struct err *e)
{
	_cleanup_(secret_release) struct secret prepared = SECRET_INIT;
	int rc = password_prepare(typed, &prepared, e);

	return rc != 0 ? rc : password_check(secret_bytes(&prepared), e);
}

/* Typed twice. *ret_again: a reason to ask once more, which was told. */
static int new_password_typed(struct invocation *inv, struct buf *to, bool *ret_again)
{
	_cleanup_(prompt_secret_release) struct buf repeated = BUF_INIT;
	int rc =
		prompt_secret("New password (at least 12 characters; a few words are fine): ", NULL,
			NULL, PASSWORD_TYPED_BYTES_MAX, to, &inv->err);

	*ret_again = false;
	if (rc != 0) {
		return rc;
	}
	rc = password_allowed(buf_bytes(to), &inv->err);
	if (rc == 0) {
		rc = prompt_secret("The same again: ", NULL, NULL, PASSWORD_TYPED_BYTES_MAX,
			&repeated, &inv->err);
		if (rc != 0) {
			return rc;
		}
		if (secret_equal(buf_bytes(to), buf_bytes(&repeated))) {
			return 0;
		}
		rc = err_set(&inv->err, KLUIS_EINVAL, "these were two different passwords");
	}
	*ret_again = true;
	return rc;
}

int secrets_new_password(struct invocation *inv, const char *prefix, struct buf *to)
{
	_cleanup_(x_freep) char *file = x_asprintf("%spassword-file", prefix);
	_cleanup_(x_freep) char *fd = x_asprintf("%spassword-fd", prefix);
	bool again = true;
	int rc = 0;

	buf_reserve(to, PASSWORD_TYPED_BYTES_MAX + 1);
	if (invocation_value(inv, file) != NULL || invocation_value(inv, fd) != NULL) {
		rc = prompt_secret("New password: ", invocation_value(inv, file),
			invocation_value(inv, fd), PASSWORD_TYPED_BYTES_MAX, to, &inv->err);
		return rc != 0 ? rc : password_allowed(buf_bytes(to), &inv->err);
	}
	for (unsigned turn = 0; again && turn < SECRETS_TRIES; turn++) {
		if (turn > 0) {
			output_error(&inv->out, "kluis", &inv->err);
			inv->err = (struct err){0};
			secret_clear(to->data, to->len);
			buf_clear(to);
		}
		rc = new_password_typed(inv, to, &again);
	}
	return rc;
}

int secrets_code(struct invocation *inv, const char *method, struct buf *to)
{
	_cleanup_(x_freep) char *question = x_asprintf("Code of the second factor (%s): ", method);

	buf_reserve(to, SECRETS_CODE_BYTES_MAX + 1);
	return prompt_text(question, invocation_value(inv, "code-file"),
		invocation_value(inv, "code-fd"), SECRETS_CODE_BYTES_MAX, to, &inv->err);
}

int outlet_open(struct invocation *inv, struct outlet *ret_outlet)
{
	struct outlet outlet = {.path = invocation_value(inv, "recovery-file"), .fd = -1};

	if (outlet.path == NULL && !prompt_possible()) {
		return err_set(&inv->err, KLUIS_EINVAL,
			"no terminal to show the recovery code: give --recovery-file");
	}
	if (outlet.path != NULL) {
		outlet.fd = open(
			outlet.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (outlet.fd < 0) {
			return errno == EEXIST ? err_set(&inv->err, KLUIS_EEXIST,
							 "'%s' is there already", outlet.path)
					       : err_set_errno(&inv->err, errno, "create '%s'",
							 outlet.path);
		}
	}
	*ret_outlet = outlet;
	return 0;
}

int outlet_show(
	struct invocation *inv, struct outlet *outlet, const char *account, struct bytes code)
{
	char text[RECOVERY_TEXT_CHARS + 1];
	char *whole;
	int rc;

	recovery_text(code, text);
	whole = outlet->path != NULL
			? x_asprintf("%s\n", text)
			: x_asprintf("\nThe recovery code of '%s':\n\n    %s\n\nIt is shown this "
				     "once. Write it down on paper and keep it where nobody else "
				     "finds it: with it you set a\nnew password when you have "
				     "forgotten yours, and so could whoever finds it. Without "
				     "password and code nobody\ncan help you.\n\n",
				  account, text);
	if (outlet->path == NULL) {
		rc = prompt_show(whole, &inv->err);
	} else {
		rc = file_write_all(outlet->fd, bytes_str(whole)) != 0 || fsync(outlet->fd) != 0
			     ? err_set_errno(&inv->err, errno, "write '%s'", outlet->path)
			     : 0;
		outlet->path = NULL; /* It stays. */
	}
	secret_clear(whole, strlen(whole));
	free(whole);
	secret_clear(text, sizeof text);
	return rc;
}

void outlet_close(struct outlet *outlet)
{
	if (outlet->fd >= 0 && outlet->path != NULL) {
		(void)unlink(outlet->path); /* Empty; at worst it stays so. */
	}
	x_closep(&outlet->fd);
	*outlet = OUTLET_INIT;
}

static void sheet_text(const struct profile *profile, const char *pin, struct buf *to)
{
	char key[RECOVERY_TEXT_CHARS + 1];

	recovery_text(secret_bytes(&profile->person->account_key), key);
	buf_printf(to,
		"Emergency sheet of '%s'\n\nPrint it, delete the file, and keep the paper where "
		"nobody else finds it. To sign in on a new device you need the\naccount key and "
		"your password; neither alone is enough. 'kluis login --account-key-file' reads "
		"this file.\n\nAccount:       %s\n%s   %s\nSites:         ",
		profile->account, profile->account, sheet_label, key);
	for (size_t i = 0; i < profile->n_endpoints; i++) {
		buf_printf(to, "%s%s", i == 0 ? "" : "\n               ", profile->endpoints[i]);
	}
	buf_printf(to,
		"\nPin of the CA: %s\n\nRecovery code (it was shown once; write it here by "
		"hand):\n\n    ____-____-____-____-____-____-____-____-____-____-____-____-____-"
		"__\n",
		pin);
	secret_clear(key, sizeof key);
}

int secrets_sheet(struct invocation *inv, const struct profile *profile, const char *path)
{
	_cleanup_(prompt_secret_release) struct buf text = BUF_INIT;
	char pin[BASE64_LEN(HASH_BYTES) + 1];
	struct pki_info info;
	int rc = pki_info(buf_bytes(&profile->ca_pem), &info, &inv->err);

	if (rc == 0 && profile->person->account_key.len == 0) {
		rc = err_set(&inv->err, KLUIS_ENOTFOUND,
			"there is no account key of '%s' on this device", profile->account);
	}
	if (rc != 0) {
		return rc;
	}
	base64_encode(bytes_of(info.spki_sha256, HASH_BYTES), pin);
	buf_reserve(&text, SECRETS_SHEET_BYTES_MAX);
	sheet_text(profile, pin, &text);
	return file_create(path, buf_bytes(&text), 0600, &inv->err);
}

/* Behind the label of a sheet, or the whole text. */
static int account_key_find(struct buf *text, struct secret *ret_key, struct err *e)
{
	const char *at = strstr(buf_str(text), sheet_label);
	struct bytes code;
	int rc;

	at = at == NULL ? buf_str(text) : at + strlen(sheet_label);
	code = bytes_of(at, strcspn(at, "\r\n"));
	rc = recovery_parse(code, ret_key, e);
	return rc == 0 ? 0 : err_wrap(e, rc, "the account key");
}

int secrets_account_key(struct invocation *inv, struct secret *ret_key)
{
	_cleanup_(prompt_secret_release) struct buf text = BUF_INIT;
	const char *file = invocation_value(inv, "account-key-file");
	const char *fd = invocation_value(inv, "account-key-fd");
	struct err ignored = {0};
	int rc;

	buf_reserve(&text, SECRETS_SHEET_BYTES_MAX + 1);
	if (file != NULL && strcmp(file, "-") != 0) {
		rc = file_read(file, SECRETS_SHEET_BYTES_MAX, &text, &inv->err);
		return rc != 0 ? rc : account_key_find(&text, ret_key, &inv->err);
	}
	if (file != NULL || fd != NULL) {
		rc = prompt_secret(
			"Account key: ", file, fd, RECOVERY_TYPED_BYTES_MAX, &text, &inv->err);
		return rc != 0 ? rc : account_key_find(&text, ret_key, &inv->err);
	}
	if (!prompt_possible() ||
		prompt_secret("Account key, from the emergency sheet (nothing if there is none): ",
			NULL, NULL, RECOVERY_TYPED_BYTES_MAX, &text, &ignored) != 0) {
		return 0;
	}
	return account_key_find(&text, ret_key, &inv->err);
}
