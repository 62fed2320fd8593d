/* kluis register|login|passwd|recover|device add */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/ui/progress.h"
#include "cli/ui/prompt.h"
#include "cli/vault/secrets.h"
#include "cli/vault/signin.h"

enum { LOGIN_WAIT_SECONDS_DEFAULT = 3600, LOGIN_POLL_MS = 1000, LOGIN_INVITE_BYTES_MAX = 128 };

/* The files that are to be made must not be there: found out before the account is. */
static int register_files(struct invocation *inv, struct outlet *outlet)
{
	const char *sheet = invocation_value(inv, "sheet");

	if (sheet != NULL && file_exists(sheet)) {
		return err_set(&inv->err, KLUIS_EEXIST, "'%s' is there already", sheet);
	}
	return outlet_open(inv, outlet);
}

static int register_invite(struct invocation *inv, struct buf *to)
{
	const char *file = invocation_value(inv, "invite-file");
	const char *fd = invocation_value(inv, "invite-fd");

	buf_reserve(to, LOGIN_INVITE_BYTES_MAX + 2);
	return file == NULL && fd == NULL ? 0
					  : prompt_secret("Invitation: ", file, fd,
						    LOGIN_INVITE_BYTES_MAX, to, &inv->err);
}

/* A code counts as soon as the cluster has it, whatever came after: shown in any case. */
static int login_show_code(
	struct signin *s, struct outlet *outlet, const struct secret *code, int rc)
{
	struct err before = s->inv->err;
	int shown;

	if (code->len == 0) {
		return rc;
	}
	shown = outlet_show(s->inv, outlet, s->profile->account, secret_bytes(code));
	if (rc == KLUIS_EUNKNOWN_OUTCOME) {
		output_warning(&s->inv->out,
			"whether this recovery code counts, or the one before, is not known yet: "
			"keep both. Sign in: if the new password opens, the new code counts.");
	}
	if (rc != 0) {
		s->inv->err = before;
	}
	return rc != 0 ? rc : shown;
}

static int register_run(struct signin *s, struct outlet *outlet)
{
	struct invocation *inv = s->inv;
	_cleanup_(prompt_secret_release) struct buf invite = BUF_INIT;
	_cleanup_(secret_release) struct secret code = SECRET_INIT;
	_cleanup_(x_freep) char *device = trust_device_name(inv);
	struct account_registration registration = {.device_name = device};
	struct progress progress;
	int rc = register_invite(inv, &invite);

	registration.terms.no_account_key = invocation_value(inv, "no-account-key") != NULL;
	registration.terms.rsa_key = invocation_value(inv, "rsa-key") != NULL;
	rc = rc != 0 ? rc : secrets_new_password(inv, "", &s->password);
	if (rc != 0) {
		return rc;
	}
	registration.password = buf_bytes(&s->password);
	registration.invite = invite.len > 0 ? buf_str(&invite) : NULL;
	progress_init_waiting(&progress, &inv->out, "register");
	rc = account_register(s->profile, s->client, &registration, &code, &inv->err);
	progress_release(&progress);
	return login_show_code(s, outlet, &code, rc);
}

/* The account is there now: what fails from here on is said as what it is. */
static int register_finish(struct signin *s)
{
	struct invocation *inv = s->inv;
	const char *sheet = invocation_value(inv, "sheet");
	int rc = sheet == NULL ? 0 : secrets_sheet(inv, s->profile, sheet);

	if (rc != 0) {
		return err_wrap(&inv->err, rc, "registered, but without the emergency sheet");
	}
	if (invocation_value(inv, "rsa-key") != NULL &&
		identity_transfer(&s->profile->identity, KEY_KEM_RSA) == NULL) {
		output_warning(
			&inv->out, "your RSA key does not count yet: the next login tries again.");
	}
	if (sheet == NULL && s->profile->person->account_key.len > 0) {
		output_note(&inv->out,
			"To sign in on another device you will need the account key: 'kluis "
			"account sheet FILE' writes it down.");
	}
	rc = signin_hand_over(s);
	return rc == 0 ? 0 : err_wrap(&inv->err, rc, "registered, but not signed in");
}

int app_register(struct invocation *inv)
{
	struct signin s = {.inv = inv};
	struct outlet outlet = OUTLET_INIT;
	int rc = invocation_value(inv, "name") != NULL
			 ? register_files(inv, &outlet)
			 : err_set(&inv->err, KLUIS_EINVAL,
				   "--name USER is needed: 1 to 64 of a-z 0-9 . _ @ + -");

	rc = rc != 0 ? rc : signin_open(&s);
	rc = rc != 0 ? rc : register_run(&s, &outlet);
	rc = rc != 0 ? rc : register_finish(&s);
	if (rc == 0) {
		signin_print(&s, "active");
	}
	outlet_close(&outlet);
	signin_close(&s);
	return rc;
}

/* Until another device has approved this one. */
static int device_wait(struct signin *s, uint64_t wait_ms)
{
	struct invocation *inv = s->inv;
	const struct timespec nap = {.tv_sec = LOGIN_POLL_MS / 1000};
	uint64_t deadline_ms = clock_monotonic_ms(&clock_system) + wait_ms;
	char id[HEX_LEN(ID_BYTES) + 1], kid[HEX_LEN(KID_BYTES) + 1];
	int rc = KLUIS_EAGAIN;

	hex_encode(bytes_of(s->profile->device_id, ID_BYTES), id);
	hex_encode(bytes_of(key_pub_kid(key_public(s->profile->device)), KID_BYTES), kid);
	output_note(&inv->out,
		"This device waits: approve it on another one of yours by 'kluis "
		"device approve %s', which has to show the key %s.",
		id, kid);
	while (rc == KLUIS_EAGAIN && clock_monotonic_ms(&clock_system) < deadline_ms) {
		inv->err = (struct err){0};
		(void)nanosleep(&nap, NULL);
		rc = account_device_begin(s->profile, s->client, &inv->err);
	}
	return rc;
}

/* The session of a device has to be proven by a second factor, too, where there is one. */
static int login_prove(struct signin *s, int rc)
{
	if (rc != KLUIS_EMFA || s->login.n_methods == 0) {
		return rc;
	}
	s->inv->err = (struct err){0};
	s->login.full = false;
	return signin_factor(s);
}

/* *ret_state: what this device is to the account now. */
static int login_device(struct signin *s, const char **ret_state)
{
	struct invocation *inv = s->inv;
	_cleanup_(x_freep) char *name = trust_device_name(inv);
	enum account_device_state state;
	uint64_t wait_s;
	int rc = invocation_number(inv, "wait", prompt_possible() ? LOGIN_WAIT_SECONDS_DEFAULT : 0,
		LOGIN_WAIT_SECONDS_DEFAULT, &wait_s);

	*ret_state = "active";
	if (rc != 0 || s->profile->enrolled) {
		return rc;
	}
	rc = account_device_add(s->profile, s->client, name, &state, &inv->err);
	if (rc == KLUIS_EEXIST && s->profile->enrolled) { /* Approved meanwhile. */
		inv->err = (struct err){0};
		rc = account_device_begin(s->profile, s->client, &inv->err);
		return login_prove(s, rc);
	}
	if (rc != 0 || state == ACCOUNT_DEVICE_ACTIVE) {
		return login_prove(s, rc);
	}
	rc = login_prove(s, device_wait(s, wait_s * 1000));
	if (rc == KLUIS_EAGAIN) { /* It can read; and it is asked for. */
		inv->err = (struct err){0};
		*ret_state = "pending";
		return 0;
	}
	return rc;
}

static int login_unlock(struct signin *s)
{
	int rc = signin_password(s);

	rc = rc != 0 ? rc : signin_factor(s);
	rc = rc != 0 ? rc : account_unlock(s->profile, s->client, &s->login, &s->inv->err);
	if (rc == 0 && s->login.unfinished.code != 0) {
		output_warning(&s->inv->out,
			"your new signing key does not count yet, the old one does: %s. The next "
			"login tries again.",
			s->login.unfinished.text);
	}
	return s->login.device ? login_prove(s, rc) : rc;
}

int app_login(struct invocation *inv)
{
	struct signin s = {.inv = inv};
	const char *state = NULL;
	int rc = signin_open(&s);

	rc = rc != 0 ? rc : login_unlock(&s);
	rc = rc != 0 ? rc : login_device(&s, &state);
	rc = rc != 0 ? rc : signin_hand_over(&s);
	if (rc == 0) {
		signin_print(&s, state);
	}
	signin_close(&s);
	return rc;
}

static void passwd_note(struct invocation *inv, const struct account_new_keys *made)
{
	if (made->signing) {
		output_note(&inv->out,
			"You sign with a new key from now on, and %zu vaults are written under "
			"new ones. Safety numbers change by it.",
			made->n_vaults);
	}
	if (made->rsa) {
		output_note(&inv->out,
			"Others give you vaults and groups by your RSA key from now on. Safety "
			"numbers change by it.");
	}
	if (made->n_shared > 0) {
		output_note(&inv->out,
			"%zu vaults are shared, and keep their keys: 'kluis vault rekey' gives "
			"one to all who are in it.",
			made->n_shared);
	}
	if (made->n_left > 0) {
		output_warning(&inv->out,
			"%zu vaults keep their key: the keyring has no room for more.",
			made->n_left);
	}
}

static int passwd_run(struct signin *s, struct outlet *outlet)
{
	struct invocation *inv = s->inv;
	struct account_new_keys made = {.signing = false};
	const struct account_terms terms = {.new_keys = invocation_value(inv, "new-keys") != NULL,
		.rsa_key = invocation_value(inv, "rsa-key") != NULL,
		.made = &made};
	_cleanup_(prompt_secret_release) struct buf password = BUF_INIT;
	_cleanup_(secret_release) struct secret code = SECRET_INIT;
	struct progress progress;
	int rc = secrets_new_password(inv, "new-", &password);

	if (rc != 0) {
		return rc;
	}
	progress_init_waiting(&progress, &inv->out, "passwd");
	rc = account_passwd(s->profile, s->client, buf_bytes(&password), &terms, &code, &inv->err);
	progress_release(&progress);
	passwd_note(inv, &made);
	return login_show_code(s, outlet, &code, rc);
}

int app_passwd(struct invocation *inv)
{
	struct signin s = {.inv = inv};
	struct outlet outlet = OUTLET_INIT;
	int rc = outlet_open(inv, &outlet);

	rc = rc != 0 ? rc : signin_open(&s);
	rc = rc != 0 ? rc : login_unlock(&s);
	rc = rc != 0 ? rc : passwd_run(&s, &outlet);
	rc = rc != 0 ? rc : signin_hand_over(&s);
	if (rc == 0) {
		output_note(&inv->out, "The password is changed. All other devices sign in with it "
				       "anew; the old recovery code is worth nothing now.");
	}
	outlet_close(&outlet);
	signin_close(&s);
	return rc;
}

/* What somebody who was robbed has to look at; NULL and why where it could not be had. */
struct recovered {
	json_t *devices, *factors;
	struct err why;
};

/* Before the new password is set, which ends the session. It can be done without. */
static void recover_look(struct signin *s, struct bytes code, struct recovered *r)
{
	struct account_device *devices;
	size_t n;
	int rc = account_recover_devices(s->profile, s->client, code, &devices, &n, &r->why);

	if (rc == 0) {
		r->devices = app_device_rows(devices, n);
		account_devices_free(devices, n);
		rc = app_factors(s->client, &r->factors, &r->why);
	}
	r->why.code = rc;
}

static void recover_show(struct signin *s, const struct recovered *r)
{
	const struct output *out = &s->inv->out;

	if (out->format == OUTPUT_JSON) {
		json_t *record = json_pack("{s:s, s:O?, s:O?}", "account", s->profile->account,
			"devices", r->devices, "factors", r->factors);

		output_record(out, NULL, 0, record);
		json_decref(record);
	} else if (r->devices != NULL) {
		app_show_devices(out, r->devices);
	}
	if (out->format == OUTPUT_TABLE && json_array_size(r->factors) > 0) {
		app_show_factors(out, r->factors);
	}
	if (r->why.code != 0) {
		output_warning(out, "%s", r->why.text);
		output_warning(out, "so not all of the account's devices and second factors could "
				    "be looked at: see 'kluis device list' and 'kluis mfa list'");
	}
	output_note(out, "The new password counts, and all sessions have ended. Now 'kluis login'; "
			 "then take out what is not yours, of these devices and second factors, by "
			 "'kluis device revoke' and 'kluis mfa remove'.");
}

static int recover_run(struct signin *s, struct outlet *outlet, struct recovered *r)
{
	struct invocation *inv = s->inv;
	const struct account_terms terms = {.login_count = 0};
	_cleanup_(prompt_secret_release) struct buf code = BUF_INIT;
	_cleanup_(prompt_secret_release) struct buf password = BUF_INIT;
	_cleanup_(secret_release) struct secret fresh = SECRET_INIT;
	struct progress progress;
	int rc;

	buf_reserve(&code, RECOVERY_TYPED_BYTES_MAX + 2);
	rc = prompt_secret("Recovery code: ", invocation_value(inv, "old-code-file"),
		invocation_value(inv, "old-code-fd"), RECOVERY_TYPED_BYTES_MAX, &code, &inv->err);
	if (rc != 0) {
		return rc;
	}
	rc = account_recover(s->profile, s->client, buf_bytes(&code), &s->login, &inv->err);
	if (signin_restored(s, &rc)) {
		rc = account_recover(s->profile, s->client, buf_bytes(&code), &s->login, &inv->err);
	}
	rc = rc != 0 ? rc : signin_factor(s);
	rc = rc != 0 ? rc : secrets_new_password(inv, "new-", &password);
	if (rc != 0) {
		return rc;
	}
	progress_init_waiting(&progress, &inv->out, "recover");
	recover_look(s, buf_bytes(&code), r);
	rc = account_recover_finish(s->profile, s->client, buf_bytes(&code), buf_bytes(&password),
		&terms, &fresh, &inv->err);
	progress_release(&progress);
	return login_show_code(s, outlet, &fresh, rc);
}

int app_recover(struct invocation *inv)
{
	struct signin s = {.inv = inv};
	struct outlet outlet = OUTLET_INIT;
	struct recovered recovered = {.devices = NULL};
	int rc = outlet_open(inv, &outlet);

	rc = rc != 0 ? rc : signin_open(&s);
	rc = rc != 0 ? rc : recover_run(&s, &outlet, &recovered);
	if (rc == 0) {
		recover_show(&s, &recovered);
	}
	json_decref(recovered.devices);
	json_decref(recovered.factors);
	outlet_close(&outlet);
	signin_close(&s);
	return rc;
}
