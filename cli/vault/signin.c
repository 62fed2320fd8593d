#include "cli/vault/signin.h"

#include <string.h>

#include "cli/agent/start.h"
#include "cli/client/agent.h"
#include "cli/client/json_reader.h"
#include "cli/ui/progress.h"
#include "cli/ui/prompt.h"
#include "cli/vault/fido.h"
#include "cli/vault/secrets.h"

enum { SIGNIN_CODE_TRIES = 3 };

static int signin_fresh(struct signin *s, const char *name)
{
	struct trust trust = {.inv = s->inv};
	int rc = identity_name_valid(bytes_str(name))
			 ? trust_cluster(&trust)
			 : err_set(&s->inv->err, KLUIS_EINVAL,
				   "'%s' is no user name: 1 to 64 of a-z 0-9 . _ @ + -", name);

	rc = rc != 0 ? rc
		     : person_make(s->dir, &trust.cluster, name,
			       (const char *const *)trust.endpoints, trust.n_endpoints, &s->profile,
			       &s->inv->err);
	trust_release(&trust);
	s->fresh = rc == 0;
	return rc;
}

static int signin_profile(struct signin *s)
{
	struct invocation *inv = s->inv;
	const char *name = invocation_value(inv, "name");
	int rc = profile_open(s->dir, &s->profile, &inv->err);

	if (rc == KLUIS_ENOTFOUND && name != NULL) {
		inv->err = (struct err){0};
		return signin_fresh(s, name);
	}
	if (rc == KLUIS_ENOTFOUND) {
		return err_set(&inv->err, rc,
			"no profile in '%s': on a new device say --name and --endpoints", s->dir);
	}
	if (rc == 0 && s->profile->person == NULL) {
		return err_set(&inv->err, KLUIS_EINVAL,
			"'%s' is a service account: it signs in by itself", s->profile->account);
	}
	if (rc == 0 && name != NULL && strcmp(name, s->profile->account) != 0) {
		return err_set(&inv->err, KLUIS_EEXIST, "the profile in '%s' is that of '%s'",
			s->dir, s->profile->account);
	}
	return rc;
}

int signin_open(struct signin *s)
{
	struct invocation *inv = s->inv;
	uint64_t give_up_ms;
	int rc = app_give_up_ms(inv, &give_up_ms);

	s->dir = app_profile_dir(inv);
	if (s->dir == NULL) {
		return KLUIS_EINVAL;
	}
	s->agent = agent_new(s->dir);
	rc = rc != 0 ? rc : signin_profile(s);
	rc = rc != 0 ? rc
		     : session_client(s->profile, invocation_value(inv, "endpoint"), give_up_ms,
			       &s->client, &inv->err);
	if (rc == 0) {
		client_set_login(s->client, NULL, NULL); /* By what was typed alone. */
		client_set_token(s->client, NULL);
	}
	return rc;
}

/* This device's key, before the password is known to be right: an agent that is unlocked has it, or
 * the password before opens it. An account that takes enrolled devices alone asks for it when the
 * password was changed on another one. */
static int signin_device(struct signin *s)
{
	struct invocation *inv = s->inv;
	const char *file = invocation_value(inv, "old-password-file");
	const char *fd = invocation_value(inv, "old-password-fd");
	_cleanup_(prompt_secret_release) struct buf old = BUF_INIT;
	int rc;

	if (file == NULL && fd == NULL) {
		(void)agent_device(s->agent, s->profile); /* Most accounts do not ask for it. */
		return 0;
	}
	buf_reserve(&old, PASSWORD_TYPED_BYTES_MAX + 1);
	rc = prompt_secret("Old password: ", file, fd, PASSWORD_TYPED_BYTES_MAX, &old, &inv->err);
	rc = rc != 0 ? rc : account_unlock_offline(s->profile, buf_bytes(&old), &inv->err);
	return rc == 0 ? 0 : err_wrap(&inv->err, rc, "the old password");
}

/* What a person can do about a refusal that is for want of the device's signature. */
static int signin_refused(struct signin *s, int rc)
{
	return rc == KLUIS_EFORBIDDEN && s->profile->enrolled
		       ? err_wrap(&s->inv->err, rc,
				 "'%s' signs in from enrolled devices alone; if the password was "
				 "changed on another one, give the old one, too "
				 "(--old-password-file)",
				 s->profile->account)
		       : rc;
}

bool signin_restored(struct signin *s, int *rc)
{
	struct app k = {.inv = s->inv, .profile = s->profile, .client = s->client};

	if (*rc != KLUIS_ELINEAGE || s->fresh) {
		return false;
	}
	*rc = app_restored(&k);
	return *rc == 0;
}

static int signin_login(struct signin *s, struct bytes account_key)
{
	struct progress progress;
	int rc;

	progress_init_waiting(&progress, &s->inv->out, "sign in");
	rc = account_login(s->profile, s->client, buf_bytes(&s->password), account_key, &s->login,
		&s->inv->err);
	progress_release(&progress);
	return rc;
}

int signin_password(struct signin *s)
{
	struct invocation *inv = s->inv;
	_cleanup_(secret_release) struct secret account_key = SECRET_INIT;
	int rc = s->profile->person->account_key.len > 0 ? 0
							 : secrets_account_key(inv, &account_key);

	rc = rc != 0 ? rc : signin_device(s);
	rc = rc != 0 ? rc : secrets_password(inv, &s->password);
	if (rc != 0) {
		return rc;
	}
	rc = signin_login(s, secret_bytes(&account_key));
	if (signin_restored(s, &rc)) {
		rc = signin_login(s, secret_bytes(&account_key));
	}
	return signin_refused(s, rc);
}

static bool factor_is_key(const struct account_login *login)
{
	bool keys = false;

	for (size_t i = 0; i < login->n_methods; i++) {
		keys = keys || strcmp(login->methods[i], "fido2") == 0;
	}
	return keys;
}

int signin_factor(struct signin *s)
{
	struct invocation *inv = s->inv;
	bool keys = factor_is_key(&s->login);
	const char *code = account_code_method(&s->login);
	int rc = 0;

	for (unsigned turn = 0; !s->login.full && turn < SIGNIN_CODE_TRIES; turn++) {
		json_t *proof = NULL;

		if (rc != 0) {
			output_error(&inv->out, "kluis", &inv->err);
			inv->err = (struct err){0};
		}
		rc = fido_or_code(inv, s->profile, s->client, keys, code, &proof);
		if (rc != 0) {
			return rc;
		}
		rc = account_verify(s->client, proof, &s->login, &inv->err);
		if (rc != 0 && (rc != KLUIS_EUNAUTHENTICATED || fido_code_given(inv) ||
				       !prompt_possible())) {
			return rc;
		}
	}
	return rc;
}

int signin_hand_over(struct signin *s)
{
	struct invocation *inv = s->inv;
	uint64_t idle_ms;
	int rc = app_idle_ms(inv, 0, &idle_ms);

	rc = rc != 0 ? rc
		     : agent_start(s->dir, NULL, idle_ms == 0 ? AGENT_IDLE_MS_DEFAULT : idle_ms,
			       &inv->err);
	return rc != 0 ? rc : agent_take_over(s->agent, s->profile, s->client, idle_ms, &inv->err);
}

void signin_print(const struct signin *s, const char *device_state)
{
	static const struct output_column columns[] = {{"account", "Account", OUTPUT_TEXT},
		{"user_id", "User", OUTPUT_TEXT}, {"device_id", "Device", OUTPUT_TEXT},
		{"device", "This device", OUTPUT_TEXT}, {"profile", "Profile", OUTPUT_TEXT}};
	const struct profile *profile = s->profile;
	json_t *record = json_pack("{s:s, s:o, s:o, s:s, s:s}", "account", profile->account,
		"user_id", json_hex(bytes_of(profile->user_id, ID_BYTES)), "device_id",
		json_hex(bytes_of(profile->device_id, ID_BYTES)), "device", device_state, "profile",
		s->dir);

	output_record(&s->inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
}

void signin_close(struct signin *s)
{
	account_login_release(&s->login);
	prompt_secret_release(&s->password);
	client_free(s->client);
	profile_close(s->profile);
	agent_free(s->agent);
	free(s->dir);
}
