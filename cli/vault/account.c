/* kluis account show|sheet|sessions|log|export|policy|revoke-rsa|delete */
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/client/access_log.h"
#include "cli/client/agent.h"
#include "cli/client/json_reader.h"
#include "cli/client/share.h"
#include "cli/ui/prompt.h"
#include "cli/vault/secrets.h"
#include "cli/vault/signin.h"

enum { ACCOUNT_LOG_ROWS_MAX = 100000 };

static int account_show_body(struct app *k)
{
	static const struct output_column columns[] = {{"user", "Account", OUTPUT_TEXT},
		{"user_id", "User", OUTPUT_TEXT}, {"created", "Since", OUTPUT_TIME},
		{"mfa", "Second factors", OUTPUT_TEXT}, {"devices", "Devices", OUTPUT_TEXT},
		{"vaults", "Vaults", OUTPUT_TEXT}, {"pages", "Pages", OUTPUT_TEXT},
		{"keyring_revision", "Keyring revision", OUTPUT_TEXT},
		{"no_web_login", "No web login", OUTPUT_TEXT},
		{"device_sig", "Devices alone sign in", OUTPUT_TEXT}};
	json_t *account;
	int rc = account_show(k->client, &account, &k->inv->err);

	if (rc != 0) {
		return rc;
	}
	if (k->inv->out.format == OUTPUT_TABLE) { /* What is nested there, in rows of its own. */
		(void)json_object_update_missing(account, json_object_get(account, "policy"));
	}
	output_record(&k->inv->out, columns, ARRAY_SIZE(columns), account);
	json_decref(account);
	return 0;
}

int app_account_show(struct invocation *inv)
{
	return app_run(inv, account_show_body);
}

/* Asks nobody: the account key lies in the profile, as on the sheet. */
int app_account_sheet(struct invocation *inv)
{
	_cleanup_(x_freep) char *dir = app_profile_dir(inv);
	struct profile *profile;
	int rc;

	if (dir == NULL) {
		return KLUIS_EINVAL;
	}
	rc = profile_open(dir, &profile, &inv->err);
	if (rc != 0) {
		return rc;
	}
	rc = profile->person != NULL ? secrets_sheet(inv, profile, inv->args[0])
				     : err_set(&inv->err, KLUIS_EINVAL, "'%s' is a service account",
					       profile->account);
	profile_close(profile);
	return rc;
}

static int account_sessions_body(struct app *k)
{
	static const struct output_column columns[] = {{"id", "SESSION", OUTPUT_TEXT},
		{"device_id", "DEVICE", OUTPUT_TEXT}, {"level", "LEVEL", OUTPUT_TEXT},
		{"created", "SINCE", OUTPUT_TIME}, {"expires", "UNTIL", OUTPUT_TIME},
		{"current", "THIS ONE", OUTPUT_TEXT}};
	json_t *items;
	int rc = account_sessions(k->client, &items, &k->inv->err);

	if (rc == 0) {
		output_rows(&k->inv->out, columns, ARRAY_SIZE(columns), items);
		json_decref(items);
	}
	return rc;
}

int app_account_sessions(struct invocation *inv)
{
	return app_run(inv, account_sessions_body);
}

static int account_log_body(struct app *k)
{
	static const struct output_column columns[] = {{"time", "TIME", OUTPUT_TIME},
		{"event", "EVENT", OUTPUT_TEXT}, {"actor", "BY", OUTPUT_TEXT},
		{"device_id", "DEVICE", OUTPUT_TEXT}, {"behalf", "OPERATOR", OUTPUT_TEXT},
		{"object", "OBJECT", OUTPUT_TEXT}};
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc = api_list(k->client, "/v1/account/access-log", CLIENT_AUTH | CLIENT_READ,
		ACCOUNT_LOG_ROWS_MAX, &items, &k->inv->err);

	rc = rc != 0 ? rc : access_log_check(k->profile, items, &k->inv->err);
	if (rc == 0) {
		output_rows(&k->inv->out, columns, ARRAY_SIZE(columns), items);
	}
	return rc;
}

int app_account_log(struct invocation *inv)
{
	return app_run(inv, account_log_body);
}

/* As the node gives it: what it keeps of the person, sealed as it is. */
static int account_export_body(struct app *k)
{
	struct invocation *inv = k->inv;
	_cleanup_(json_dropp) json_t *document = NULL;
	_cleanup_(x_freep) char *text = NULL;
	int rc = account_export(k->client, &document, &inv->err);

	if (rc != 0) {
		return rc;
	}
	text = json_dumps(document, JSON_INDENT(2));
	return file_create(inv->args[0], bytes_str(text), 0600, &inv->err);
}

int app_account_export(struct invocation *inv)
{
	return app_run(inv, account_export_body);
}

/* --NAME on|off over what is so far. */
static int policy_flag(struct invocation *inv, const char *name, uint32_t bit, uint32_t *flags)
{
	const char *value = invocation_value(inv, name);

	if (value == NULL) {
		return 0;
	}
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0) {
		return err_set(&inv->err, KLUIS_EINVAL, "--%s takes on or off", name);
	}
	*flags = strcmp(value, "on") == 0 ? *flags | bit : *flags & ~bit;
	return 0;
}

static int account_policy_body(struct app *k)
{
	struct invocation *inv = k->inv;
	struct profile *profile = k->profile;
	uint32_t flags = profile->identity.policy;
	int rc = policy_flag(inv, "no-web-login", IDENTITY_POLICY_NO_WEB, &flags);

	rc = rc != 0 ? rc : policy_flag(inv, "device-only", IDENTITY_POLICY_DEVICE_SIG, &flags);
	if (rc == 0 && flags == profile->identity.policy) {
		return 0;
	}
	rc = rc != 0 ? rc : person_ready(profile, &inv->err);
	return rc != 0 ? rc : account_policy(profile, k->client, flags, &inv->err);
}

int app_account_policy(struct invocation *inv)
{
	return app_run(inv, account_policy_body);
}

/* What others are in and nobody could manage then: it goes on without anybody who could change who
 * is in it. */
static int delete_check(struct signin *s)
{
	struct invocation *inv = s->inv;
	_cleanup_(x_freep) struct share_alone *list = NULL;
	struct people *people;
	size_t n = 0;
	int rc;

	if (invocation_value(inv, "leave-unmanaged") != NULL) {
		return 0;
	}
	if (account_unlock(s->profile, s->client, &s->login, &inv->err) != 0) {
		inv->err = (struct err){0}; /* It is for the names alone. */
	}
	people = people_new(s->profile, s->client);
	rc = share_managed_alone(people, &list, &n, &inv->err);
	people_free(people);
	for (size_t i = 0; i < n; i++) {
		char id[HEX_LEN(ID_BYTES) + 1];

		hex_encode(bytes_of(list[i].id, ID_BYTES), id);
		output_note(&inv->out, "You alone manage the %s '%s' (%s), and others are in it.",
			membership_kind_name(list[i].kind), list[i].name, id);
	}
	return rc != 0 || n == 0
		       ? rc
		       : err_set(&inv->err, KLUIS_EFORBIDDEN,
				 "nobody could manage %zu that others are in: hand over first "
				 "('kluis vault transfer', 'kluis group transfer', 'kluis chat "
				 "transfer'), or say --leave-unmanaged",
				 n);
}

static int account_revoke_rsa_body(struct app *k)
{
	int rc = person_ready(k->profile, &k->inv->err);

	return rc != 0 ? rc : account_revoke_rsa(k->profile, k->client, &k->inv->err);
}

int app_account_revoke_rsa(struct invocation *inv)
{
	return app_run(inv, account_revoke_rsa_body);
}

/* The cluster wants a session that is minutes old: the password is asked for. */
static int delete_run(struct signin *s)
{
	struct invocation *inv = s->inv;
	_cleanup_(x_freep) char *question = x_asprintf(
		"This deletes the account '%s' with all its vaults, on all sites, for good. The "
		"name is never given again.",
		s->profile->account);
	int rc;

	if (!invocation_confirm(inv, question)) {
		return inv->err.code;
	}
	rc = signin_password(s);
	rc = rc != 0 ? rc : signin_factor(s);
	rc = rc != 0 ? rc : delete_check(s);
	rc = rc != 0 ? rc : account_delete(s->client, &inv->err);
	if (rc == 0 && agent_stop(s->agent, &inv->err) != 0) {
		inv->err = (struct err){0}; /* None ran. */
	}
	return rc;
}

int app_account_delete(struct invocation *inv)
{
	struct signin s = {.inv = inv};
	int rc = signin_open(&s);

	rc = rc != 0 ? rc : delete_run(&s);
	signin_close(&s);
	return rc;
}
