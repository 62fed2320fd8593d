/* The public face of a person's account: signing in, the password, recovery, devices. */
#include "cli/client/kluis_account.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "cli/client/account.h"
#include "cli/client/kluis_ask.h"

enum { LOGIN_CODE_TRIES = 3 };

#define SAME(public, own) static_assert((int)(public) == (int)(own), #public)
SAME(KLUIS_CODE_TEXT_BYTES, RECOVERY_TEXT_CHARS + 1);
SAME(KLUIS_DEVICE_NAME_BYTES, IDENTITY_DEVICE_NAME_BYTES_MAX + 1);
SAME(KLUIS_DEVICE_ACTIVE, ACCOUNT_DEVICE_ACTIVE);
SAME(KLUIS_DEVICE_PENDING, ACCOUNT_DEVICE_PENDING);
SAME(KLUIS_DEVICE_REVOKED, ACCOUNT_DEVICE_REVOKED);

int kluis_ask(struct kluis *k, enum kluis_secret which, const char *method, size_t max,
	struct secret *ret_secret, struct err *e)
{
	_cleanup_(secret_release) struct secret typed = SECRET_INIT;
	int n;

	if (k->ask == NULL) {
		return err_set(
			e, KLUIS_EUNAUTHENTICATED, "nobody to ask for a secret (kluis_set_asking)");
	}
	secret_init(&typed, max);
	n = k->ask(k->ask_arg, which, method, (char *)typed.data, max);
	if (n < 0) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "a secret was not given");
	}
	if ((size_t)n > max) {
		return err_set(e, KLUIS_ETOOLARGE, "a secret is longer than %zu bytes", max);
	}
	secret_set(ret_secret, bytes_of(typed.data, (size_t)n));
	return 0;
}

static void show_code(struct kluis *k, enum kluis_secret which, struct bytes code)
{
	char text[KLUIS_CODE_TEXT_BYTES];

	if (code.len > 0 && k->show != NULL) {
		recovery_text(code, text);
		k->show(k->ask_arg, which, text);
		secret_clear(text, sizeof text);
	}
}

int kluis_person_check(const struct kluis *k, struct err *e)
{
	return k->profile->person != NULL
		       ? 0
		       : err_set(e, KLUIS_EINVAL,
				 "'%s' is a service account: it signs in by itself",
				 k->profile->account);
}

void kluis_set_asking(struct kluis *k, kluis_ask_fn *ask, kluis_show_fn *show, void *arg)
{
	k->ask = ask;
	k->show = show;
	k->ask_arg = arg;
}

int kluis_is_unlocked(const struct kluis *k)
{
	return k->profile->person == NULL || k->profile->person->ring != NULL;
}

/* One that an earlier registration has begun may be gone on with. */
static int profile_check(const struct profile *profile, const struct kluis_person *p,
	const struct api_cluster *cluster, bool again, struct err *e)
{
	return again && profile->person != NULL && !profile->enrolled &&
			       strcmp(profile->account, p->user) == 0 &&
			       memcmp(profile->cluster_id, cluster->cluster_id, ID_BYTES) == 0
		       ? 0
		       : err_set(e, KLUIS_EEXIST, "there is a profile in '%s' already",
				 p->profile_dir);
}

static int profile_begin(const struct kluis_person *p, const struct api_cluster *cluster,
	bool again, struct kluis *k, struct err *e)
{
	int rc = profile_open(p->profile_dir, &k->profile, e);

	if (rc == KLUIS_ENOTFOUND) {
		*e = (struct err){0};
		return person_make(p->profile_dir, cluster, p->user, p->endpoints, p->n_endpoints,
			&k->profile, e);
	}
	return rc != 0 ? rc : profile_check(k->profile, p, cluster, again, e);
}

/* A profile that is there, or a new one in memory, and its client: the caller releases both, also
 * after a failure. */
static int person_profile(const struct kluis_person *p, bool again, struct kluis *k, struct err *e)
{
	struct api_cluster cluster = {.n_records = 0};
	struct client *client = NULL;
	int rc = identity_name_valid(bytes_str(p->user))
			 ? kluis_fetch(p->endpoints, p->n_endpoints,
				   bytes_of(p->ca_pem, p->ca_pem_len), &client, &cluster, e)
			 : err_set(e, KLUIS_EINVAL, "'%s' is no user name", p->user);

	rc = rc != 0 ? rc : profile_begin(p, &cluster, again, k, e);
	rc = rc != 0 ? rc : session_client(k->profile, NULL, 0, &k->client, e);
	client_free(client);
	api_cluster_release(&cluster);
	return rc;
}

static int person_new_handle(
	const struct kluis_person *p, bool again, struct kluis **ret_kluis, struct err *e)
{
	struct kluis *k = x_calloc(1, sizeof *k);
	int rc;

	kluis_set_asking(k, p->ask, p->show, p->arg);
	rc = person_profile(p, again, k, e);
	if (rc != 0) {
		kluis_close(k);
		return rc;
	}
	*ret_kluis = k;
	return 0;
}

static int register_run(struct kluis *k, const struct kluis_person *p, struct err *e)
{
	_cleanup_(secret_release) struct secret password = SECRET_INIT, code = SECRET_INIT;
	struct account_registration registration = {
		.device_name = p->device_name == NULL ? "device" : p->device_name,
		.invite = p->invite,
		.terms = {.no_account_key = p->no_account_key != 0}};
	int rc = kluis_ask(
		k, KLUIS_SECRET_NEW_PASSWORD, NULL, PASSWORD_TYPED_BYTES_MAX, &password, e);

	if (rc != 0) {
		return rc;
	}
	registration.password = secret_bytes(&password);
	rc = account_register(k->profile, k->client, &registration, &code, e);
	if (code.len > 0) {
		show_code(k, KLUIS_SECRET_RECOVERY_CODE, secret_bytes(&code));
		show_code(k, KLUIS_SECRET_ACCOUNT_KEY,
			secret_bytes(&k->profile->person->account_key));
	}
	return rc;
}

int kluis_register(
	const struct kluis_person *p, struct kluis **ret_kluis, struct kluis_failure *error)
{
	struct kluis *k = NULL;
	struct err e = {0};
	int rc = person_new_handle(p, true, &k, &e);

	rc = rc != 0 ? rc : register_run(k, p, &e);
	if (rc == 0) {
		*ret_kluis = k;
	} else {
		kluis_close(k);
	}
	return kluis_give(rc, &e, error);
}

int kluis_join(const struct kluis_person *p, struct kluis **ret_kluis, struct kluis_failure *error)
{
	struct err e = {0};
	int rc = person_new_handle(p, false, ret_kluis, &e);

	return kluis_give(rc, &e, error);
}

/* On the first login of a device: empty where the account has none. */
static int login_account_key(struct kluis *k, struct secret *ret_key, struct err *e)
{
	_cleanup_(secret_release) struct secret text = SECRET_INIT;
	const struct person_keys *p = k->profile->person;
	int rc;

	if (p->has_kdf || p->account_key.len > 0) {
		return 0;
	}
	rc = kluis_ask(k, KLUIS_SECRET_ACCOUNT_KEY, NULL, RECOVERY_TYPED_BYTES_MAX, &text, e);
	return rc != 0 || text.len == 0 ? rc : recovery_parse(secret_bytes(&text), ret_key, e);
}

/* Until one proof is right. */
static int login_prove(struct kluis *k, const struct kluis_proving *proving,
	struct account_login *login, struct err *e)
{
	int rc = 0;

	for (unsigned turn = 0; !login->full && turn < LOGIN_CODE_TRIES; turn++) {
		json_t *proof;

		rc = kluis_prove(k, proving, NULL, &proof, e);
		if (rc != 0) {
			return rc;
		}
		rc = account_verify(k->client, proof, login, e);
		if (rc != 0 && rc != KLUIS_EUNAUTHENTICATED) {
			return rc;
		}
	}
	return rc;
}

static int login_factor(struct kluis *k, struct account_login *login, struct err *e)
{
	const char *code = account_code_method(login);
	struct kluis_proving proving = {.any = !login->full};

	for (size_t i = 0; i < login->n_methods; i++) {
		proving.key =
			proving.key || (k->key != NULL && strcmp(login->methods[i], "fido2") == 0);
	}
	if (code != NULL) {
		memcpy(proving.code, code, strlen(code) + 1);
	}
	return login_prove(k, &proving, login, e);
}

static int login_run(struct kluis *k, struct account_login *login, struct err *e)
{
	_cleanup_(secret_release) struct secret password = SECRET_INIT, account_key = SECRET_INIT;
	int rc = login_account_key(k, &account_key, e);

	rc = rc != 0 ? rc
		     : kluis_ask(k, KLUIS_SECRET_PASSWORD, NULL, PASSWORD_TYPED_BYTES_MAX,
			       &password, e);
	rc = rc != 0 ? rc
		     : account_login(k->profile, k->client, secret_bytes(&password),
			       secret_bytes(&account_key), login, e);
	rc = rc != 0 ? rc : login_factor(k, login, e);
	rc = rc != 0 ? rc : account_unlock(k->profile, k->client, login, e);
	/* By the device's own session, which asks for a code, too. */
	return rc == KLUIS_EMFA && login->device ? login_factor(k, login, e) : rc;
}

int kluis_login(struct kluis *k, struct kluis_failure *error)
{
	struct account_login login = {.root = SECRET_INIT};
	struct err e = {0};
	int rc = kluis_person_check(k, &e);

	rc = rc != 0 ? rc : login_run(k, &login, &e);
	account_login_release(&login);
	return kluis_give(rc, &e, error);
}

int kluis_unlock_by_agent(struct kluis *k, struct kluis_failure *error)
{
	struct err e = {0};
	int rc = kluis_person_check(k, &e);

	if (rc == 0 && k->agent == NULL) {
		k->agent = agent_new(k->profile->dir);
	}
	rc = rc != 0 ? rc : agent_attach(k->agent, k->profile, k->client, &e);
	return kluis_give(rc, &e, error);
}

int kluis_unlock_offline(struct kluis *k, struct kluis_failure *error)
{
	_cleanup_(secret_release) struct secret password = SECRET_INIT;
	struct err e = {0};
	int rc = kluis_person_check(k, &e);

	rc = rc != 0 ? rc
		     : kluis_ask(k, KLUIS_SECRET_PASSWORD, NULL, PASSWORD_TYPED_BYTES_MAX,
			       &password, &e);
	rc = rc != 0 ? rc : account_unlock_offline(k->profile, secret_bytes(&password), &e);
	return kluis_give(rc, &e, error);
}

int kluis_settle(struct kluis *k, struct kluis_failure *error)
{
	struct err e = {0};
	int rc = 0;

	if (k->unsettled) {
		rc = kluis_refresh(k, &e);
		rc = rc != 0 ? rc : vault_person_store_pins(k->profile, k->client, &e);
		k->unsettled = rc != 0;
	}
	return kluis_give(rc, &e, error);
}

int kluis_logout(struct kluis *k, struct kluis_failure *error)
{
	struct err e = {0};
	int rc;

	if (k->profile->person == NULL) {
		return kluis_give(session_end(k->profile, k->client, &e), &e, error);
	}
	rc = kluis_settle(k, error);
	kluis_forget_search(k);
	if (account_logout(k->profile, k->client, &e) != 0 && rc == 0) { /* Locked it is. */
		rc = kluis_give(e.code, &e, error);
	}
	k->unsettled = false;
	return rc;
}

/* Asks for the new password and shows the code, for a change and for a recovery. */
static int renew(struct kluis *k,
	int (*run)(struct kluis *k, struct bytes password, struct secret *ret_code, struct err *e),
	struct err *e)
{
	_cleanup_(secret_release) struct secret password = SECRET_INIT, code = SECRET_INIT;
	int rc = kluis_ask(
		k, KLUIS_SECRET_NEW_PASSWORD, NULL, PASSWORD_TYPED_BYTES_MAX, &password, e);

	rc = rc != 0 ? rc : run(k, secret_bytes(&password), &code, e);
	show_code(k, KLUIS_SECRET_RECOVERY_CODE, secret_bytes(&code));
	return rc;
}

static int passwd_run(
	struct kluis *k, struct bytes password, struct secret *ret_code, struct err *e)
{
	const struct account_terms terms = {.login_count = 0};

	return account_passwd(k->profile, k->client, password, &terms, ret_code, e);
}

int kluis_passwd(struct kluis *k, struct kluis_failure *error)
{
	struct err e = {0};
	int rc = kluis_person_check(k, &e);

	rc = rc != 0 ? rc : kluis_refresh(k, &e);
	rc = rc != 0 ? rc : renew(k, passwd_run, &e);
	return kluis_give(rc, &e, error);
}

static int recover_run(
	struct kluis *k, struct bytes password, struct secret *ret_code, struct err *e)
{
	const struct account_terms terms = {.login_count = 0};

	return account_recover_finish(
		k->profile, k->client, secret_bytes(&k->recovering), password, &terms, ret_code, e);
}

int kluis_recover(struct kluis *k, struct kluis_failure *error)
{
	struct account_login login = {.root = SECRET_INIT};
	struct err e = {0};
	int rc = kluis_person_check(k, &e);

	rc = rc != 0 ? rc
		     : kluis_ask(k, KLUIS_SECRET_RECOVERY_CODE, NULL, RECOVERY_TYPED_BYTES_MAX,
			       &k->recovering, &e);
	rc = rc != 0 ? rc
		     : account_recover(
			       k->profile, k->client, secret_bytes(&k->recovering), &login, &e);
	rc = rc != 0 ? rc : login_factor(k, &login, &e);
	rc = rc != 0 ? rc : renew(k, recover_run, &e);
	secret_release(&k->recovering);
	account_login_release(&login);
	return kluis_give(rc, &e, error);
}

int kluis_devices(struct kluis *k, kluis_device_fn *each, void *arg, struct kluis_failure *error)
{
	struct account_device *devices = NULL;
	struct err e = {0};
	size_t n = 0;
	int rc = kluis_person_check(k, &e);

	rc = rc != 0 ? rc : kluis_refresh(k, &e);
	rc = rc != 0 ? rc : account_devices(k->profile, k->client, &devices, &n, &e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct kluis_device device = {.state = (enum kluis_device_state)devices[i].state,
			.mine = devices[i].mine};

		memcpy(device.id, devices[i].device_id, ID_BYTES);
		memcpy(device.key, devices[i].kid, KID_BYTES);
		memcpy(device.name, devices[i].name, sizeof device.name);
		each(arg, &device);
	}
	account_devices_free(devices, n);
	return kluis_give(rc, &e, error);
}

/* After a session of this device was begun: it asks for a proof of its own. */
static int device_prove(struct kluis *k, int rc, struct err *e)
{
	struct account_login login = {.root = SECRET_INIT};
	struct kluis_proving proving;

	if (rc != KLUIS_EMFA) {
		return rc;
	}
	rc = kluis_proving(k, &proving, e);
	return rc != 0 ? rc : login_prove(k, &proving, &login, e);
}

int kluis_device_add(struct kluis *k, const char *name, enum kluis_device_state *ret_state,
	struct kluis_failure *error)
{
	enum account_device_state state = ACCOUNT_DEVICE_ACTIVE;
	struct err e = {0};
	int rc = kluis_person_check(k, &e);

	rc = rc != 0 ? rc : kluis_refresh(k, &e);
	rc = rc != 0 ? rc : account_device_add(k->profile, k->client, name, &state, &e);
	rc = device_prove(k, rc, &e);
	if (rc == 0) {
		*ret_state = (enum kluis_device_state)state;
	}
	return kluis_give(rc, &e, error);
}

int kluis_device_begin(
	struct kluis *k, enum kluis_device_state *ret_state, struct kluis_failure *error)
{
	struct err e = {0};
	int rc = kluis_person_check(k, &e);

	rc = rc != 0 ? rc : kluis_refresh(k, &e);
	rc = rc != 0 ? rc : account_device_begin(k->profile, k->client, &e);
	rc = device_prove(k, rc, &e);
	if (rc == 0 || rc == KLUIS_EAGAIN) {
		*ret_state = rc == 0 ? KLUIS_DEVICE_ACTIVE : KLUIS_DEVICE_PENDING;
		rc = 0;
	}
	return kluis_give(rc, &e, error);
}

int kluis_device_approve(struct kluis *k, const unsigned char id[16], const unsigned char key[16],
	struct kluis_failure *error)
{
	struct err e = {0};
	int rc = kluis_person_check(k, &e);

	rc = rc != 0 ? rc : kluis_refresh(k, &e);
	rc = rc != 0 ? rc : account_device_approve(k->profile, k->client, id, key, &e);
	return kluis_give(rc, &e, error);
}

struct revoking {
	kluis_leave_out_fn *leave_out;
	void *arg;
};

static bool revoke_leave_out(void *arg, const struct account_unvouched *vault)
{
	const struct revoking *r = arg;

	return r->leave_out(r->arg, vault->name, vault->why->text) != 0;
}

int kluis_device_revoke(struct kluis *k, const unsigned char id[16], kluis_leave_out_fn *leave_out,
	void *arg, struct kluis_failure *error)
{
	struct revoking revoking = {leave_out, arg};
	const struct account_revocation revocation = {revoke_leave_out, &revoking};
	struct err e = {0};
	int rc = kluis_person_check(k, &e);

	rc = rc != 0 ? rc : kluis_refresh(k, &e);
	rc = rc != 0 ? rc
		     : account_device_revoke(k->profile, k->client, id,
			       leave_out == NULL ? NULL : &revocation, &e);
	return kluis_give(rc, &e, error);
}
