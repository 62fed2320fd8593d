/* kluisctl user and kluisctl invite. */
#include <string.h>

#include "base/file.h"
#include "cli/ops/ops.h"
#include "cli/ui/output.h"

enum { USER_QUOTA_MAX = 1 << 24, INVITE_USES_MAX = 10000, INVITE_HOURS_MAX = 576 };

static const struct output_column user_columns[] = {{"name", "NAME", OUTPUT_TEXT},
	{"state", "STATE", OUTPUT_TEXT}, {"user_id", "USER", OUTPUT_TEXT},
	{"created", "CREATED", OUTPUT_TIME}};

int ops_user_list(struct invocation *inv)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc = ops_list(inv, "/v1/sys/users", &items);

	if (rc == 0) {
		output_rows(&inv->out, user_columns, ARRAY_SIZE(user_columns), items);
	}
	return rc;
}

/* "/v1/sys/users/NAME" and what follows; NULL with the reason in inv->err. */
static char *user_target(struct invocation *inv, const char *behind)
{
	if (!ops_part_valid(inv->args[0])) {
		(void)err_set(&inv->err, KLUIS_EINVAL, "'%s' is no account name", inv->args[0]);
		return NULL;
	}
	return x_asprintf("/v1/sys/users/%s%s", inv->args[0], behind);
}

static int user_call(struct invocation *inv, const char *method, const char *behind, json_t *body,
	json_t **ret_object)
{
	_cleanup_(x_freep) char *target = user_target(inv, behind);

	if (target == NULL) {
		json_decref(body);
		return inv->err.code;
	}
	return ops_call(inv, method, target, body, ret_object);
}

int ops_user_show(struct invocation *inv)
{
	static const struct output_column columns[] = {{"name", "Name", OUTPUT_TEXT},
		{"state", "State", OUTPUT_TEXT}, {"user_id", "User", OUTPUT_TEXT},
		{"created", "Created", OUTPUT_TIME},
		{"password_changed", "Password of", OUTPUT_TIME},
		{"keyring_revision", "Keyring revision", OUTPUT_TEXT},
		{"vaults_max", "Vaults at most", OUTPUT_TEXT},
		{"vault_pages_max", "Pages of a vault at most", OUTPUT_TEXT},
		{"bytes_max", "Bytes of all vaults at most", OUTPUT_TEXT},
		{"pages_max", "Pages of all vaults at most", OUTPUT_TEXT}};
	_cleanup_(json_dropp) json_t *user = NULL;
	int rc = user_call(inv, "GET", "", NULL, &user);

	if (rc == 0) {
		output_record(&inv->out, columns, ARRAY_SIZE(columns), user);
	}
	return rc;
}

int ops_user_disable(struct invocation *inv)
{
	return invocation_value(inv, "dry-run") != NULL
		       ? ops_user_show(inv)
		       : user_call(inv, "POST", "/disable", NULL, NULL);
}

int ops_user_enable(struct invocation *inv)
{
	return user_call(inv, "POST", "/enable", NULL, NULL);
}

int ops_user_delete(struct invocation *inv)
{
	if (invocation_value(inv, "dry-run") != NULL) {
		return ops_user_show(inv);
	}
	if (!invocation_confirm(inv, "Delete the account and all its data, for good?")) {
		return inv->err.code;
	}
	return user_call(inv, "POST", "/delete", NULL, NULL);
}

int ops_user_sessions(struct invocation *inv)
{
	static const struct output_column columns[] = {{"id", "SESSION", OUTPUT_TEXT},
		{"device_id", "DEVICE", OUTPUT_TEXT}, {"level", "LEVEL", OUTPUT_TEXT},
		{"created", "CREATED", OUTPUT_TIME}, {"expires", "EXPIRES", OUTPUT_TIME}};
	_cleanup_(x_freep) char *target = user_target(inv, "/sessions");
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc;

	if (target == NULL) {
		return inv->err.code;
	}
	if (invocation_value(inv, "end") != NULL) {
		return ops_call(inv, "DELETE", target, NULL, NULL);
	}
	rc = ops_list(inv, target, &items);
	if (rc == 0) {
		output_rows(&inv->out, columns, ARRAY_SIZE(columns), items);
	}
	return rc;
}

int ops_user_mfa_reset(struct invocation *inv)
{
	if (invocation_value(inv, "dry-run") != NULL) {
		return ops_user_show(inv);
	}
	if (!invocation_confirm(inv,
		    "Are you sure who asks for this? From then on the password alone signs in.")) {
		return inv->err.code;
	}
	return user_call(inv, "POST", "/mfa-reset", NULL, NULL);
}

int ops_user_quota(struct invocation *inv)
{
	static const struct output_column columns[] = {
		{"vaults_max", "Vaults at most", OUTPUT_TEXT},
		{"vault_pages_max", "Pages of a vault at most", OUTPUT_TEXT},
		{"bytes_max", "Bytes of all vaults at most", OUTPUT_TEXT},
		{"pages_max", "Pages of all vaults at most", OUTPUT_TEXT}};
	_cleanup_(json_dropp) json_t *answer = NULL;
	uint64_t vaults, pages = 0, bytes = 0, all = 0;
	int rc = invocation_number(inv, "vaults", 0, USER_QUOTA_MAX, &vaults);

	rc = rc != 0 ? rc : invocation_number(inv, "pages", 0, USER_QUOTA_MAX, &pages);
	rc = rc != 0 ? rc : invocation_number(inv, "bytes", 0, INT64_MAX, &bytes);
	rc = rc != 0 ? rc : invocation_number(inv, "all-pages", 0, INT64_MAX, &all);
	rc = rc != 0 ? rc
		     : user_call(inv, "POST", "/quota",
			       json_pack("{s:I, s:I, s:I, s:I}", "vaults_max", (json_int_t)vaults,
				       "vault_pages_max", (json_int_t)pages, "bytes_max",
				       (json_int_t)bytes, "pages_max", (json_int_t)all),
			       &answer);
	if (rc == 0) {
		output_record(&inv->out, columns, ARRAY_SIZE(columns), answer);
	}
	return rc;
}

/* Invitations. */

int ops_invite_list(struct invocation *inv)
{
	static const struct output_column columns[] = {{"id", "ID", OUTPUT_TEXT},
		{"uses_left", "USES", OUTPUT_TEXT}, {"created", "CREATED", OUTPUT_TIME},
		{"expires", "EXPIRES", OUTPUT_TIME}, {"note", "NOTE", OUTPUT_TEXT}};
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc = ops_list(inv, "/v1/sys/invites", &items);

	if (rc == 0) {
		output_rows(&inv->out, columns, ARRAY_SIZE(columns), items);
	}
	return rc;
}

static int invite_body(struct invocation *inv, json_t *body)
{
	const char *note = invocation_value(inv, "note");
	uint64_t uses, hours = 0;
	int rc = invocation_number(inv, "uses", 1, INVITE_USES_MAX, &uses);

	rc = rc != 0 ? rc : invocation_number(inv, "hours", 72, INVITE_HOURS_MAX, &hours);
	(void)json_object_set_new(body, "uses", json_integer((json_int_t)uses));
	(void)json_object_set_new(body, "hours", json_integer((json_int_t)hours));
	if (note != NULL && json_object_set_new(body, "note", json_string(note)) != 0) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "'--note' is no UTF-8");
	}
	return rc;
}

int ops_invite_create(struct invocation *inv)
{
	static const struct output_column columns[] = {{"id", "Id", OUTPUT_TEXT},
		{"token", "Token", OUTPUT_TEXT}, {"token_file", "Token file", OUTPUT_TEXT},
		{"expires", "Expires", OUTPUT_TIME}};
	const char *path = invocation_value(inv, "token-file");
	_cleanup_(json_dropp) json_t *answer = NULL;
	json_t *body = json_object();
	int rc = invite_body(inv, body);

	if (rc == 0 && path != NULL && file_exists(path)) { /* Before a token is made for it. */
		rc = err_set(&inv->err, KLUIS_EEXIST, "'%s' exists", path);
	}
	if (rc != 0) {
		json_decref(body);
		return rc;
	}
	rc = ops_call(inv, "POST", "/v1/sys/invites", body, &answer);
	if (rc == 0 && !json_is_string(json_object_get(answer, "token"))) {
		rc = err_set(&inv->err, KLUIS_EPROTO, "invite: 'token' is missing");
	}
	if (rc == 0 && path != NULL) {
		rc = ops_token_to_file(inv, answer, path);
	}
	if (rc == 0) {
		output_record(&inv->out, columns, ARRAY_SIZE(columns), answer);
	}
	return rc;
}

int ops_invite_revoke(struct invocation *inv)
{
	_cleanup_(x_freep) char *target = NULL;

	if (!ops_part_valid(inv->args[0])) {
		return err_set(&inv->err, KLUIS_EINVAL, "'%s' is no id", inv->args[0]);
	}
	target = x_asprintf("/v1/sys/invites/%s", inv->args[0]);
	return ops_call(inv, "DELETE", target, NULL, NULL);
}
