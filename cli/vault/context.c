#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/client/account.h"
#include "cli/client/agent.h"
#include "cli/client/vault.h"
#include "cli/vault/app.h"

enum { TIMEOUT_SECONDS_MAX = 86400 };

char *app_profile_dir(struct invocation *inv)
{
	const char *dir = invocation_value(inv, "profile");
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

	if (dir == NULL) {
		dir = getenv("KLUIS_PROFILE");
	}
	if (dir != NULL && dir[0] != 0) {
		return x_strdup(dir);
	}
	if (data != NULL && data[0] == '/') {
		return x_asprintf("%s/kluis", data);
	}
	if (home != NULL && home[0] == '/') {
		return x_asprintf("%s/.local/share/kluis", home);
	}
	(void)err_set(&inv->err, KLUIS_EINVAL, "no home directory: give --profile");
	return NULL;
}

bool app_is_remote(const char *text)
{
	const char *colon = strchr(text, ':');

	return colon != NULL && colon != text && (colon[1] == '/' || colon[1] == 0) &&
	       memchr(text, '/', (size_t)(colon - text)) == NULL;
}

int app_split(struct invocation *inv, const char *text, char **ret_vault, char **ret_path)
{
	const char *colon = strchr(text, ':');

	if (!app_is_remote(text)) {
		return err_set(&inv->err, KLUIS_EINVAL,
			"'%s' names no place in a vault: VAULT:/PATH does", text);
	}
	*ret_vault = x_strndup(text, (size_t)(colon - text));
	*ret_path = x_strdup(colon[1] == 0 ? "/" : colon + 1);
	return 0;
}

char *app_join(const char *folder, const char *name)
{
	size_t len = strlen(folder);

	while (len > 0 && folder[len - 1] == '/') {
		len--;
	}
	return x_asprintf("%.*s/%s", (int)len, folder, name);
}

const char *app_base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}

int app_open_vault(struct app *k, const char *name, struct vault **ret_vault)
{
	struct vault *vault;
	int rc = app_online(k);

	if (rc == 0 && invocation_value(k->inv, "copy") != NULL) {
		rc = err_set(&k->inv->err, KLUIS_EINVAL,
			"a copy is only read: 'kluis vault restore' takes it up");
	}
	rc = rc != 0 ? rc : vault_open(k->profile, k->client, name, &vault, &k->inv->err);
	if (rc != 0) {
		return rc;
	}
	rc = vault_sync(vault, &k->inv->err);
	if (rc != 0) {
		vault_close(vault);
		return rc;
	}
	*ret_vault = vault;
	return 0;
}

int app_give_up_ms(struct invocation *inv, uint64_t *ret_ms)
{
	uint64_t seconds;
	int rc = invocation_number(inv, "timeout", 0, TIMEOUT_SECONDS_MAX, &seconds);

	if (rc == 0) {
		*ret_ms = seconds * 1000;
	}
	return rc;
}

/* A service account has its keys at hand. */
static int app_check_service(struct app *k)
{
	return k->profile->enrolled
		       ? 0
		       : err_set(&k->inv->err, KLUIS_EUNAUTHENTICATED,
				 "the enrolment of '%s' was not finished: run 'kluis enrol' again",
				 k->profile->account);
}

/* A person's are the agent's: nobody is asked for a password here. */
static int app_unlock(struct app *k)
{
	client_set_login(k->client, NULL, NULL);
	k->agent = agent_new(k->profile->dir);
	return agent_attach(k->agent, k->profile, k->client, &k->inv->err);
}

static int app_open(struct app *k)
{
	struct invocation *inv = k->inv;
	_cleanup_(x_freep) char *dir = app_profile_dir(inv);
	uint64_t give_up_ms;
	int rc;

	if (dir == NULL) {
		return KLUIS_EINVAL;
	}
	rc = app_give_up_ms(inv, &give_up_ms);
	rc = rc != 0 ? rc : profile_open(dir, &k->profile, &inv->err);
	rc = rc != 0 || k->profile->person != NULL ? rc : app_check_service(k);
	rc = rc != 0 ? rc
		     : session_client(k->profile, invocation_value(inv, "endpoint"), give_up_ms,
			       &k->client, &inv->err);
	return rc != 0 || k->profile->person == NULL ? rc : app_unlock(k);
}

bool app_out_of_reach(int rc)
{
	return rc == KLUIS_ECONNECT || rc == KLUIS_ETIMEOUT || rc == KLUIS_ENOQUORUM ||
	       rc == KLUIS_EBEHIND;
}

int app_fresh(struct app *k)
{
	const struct err *why = &k->unrefreshed;

	if (why->code == 0) {
		return 0;
	}
	return why->code == KLUIS_ECONNECT
		       ? err_set(&k->inv->err, why->code, "%s", why->text)
		       : err_set(&k->inv->err, why->code,
				 "the cluster does not give both your identity and your keyring, "
				 "without "
				 "which nothing that it shows can be judged: %s",
				 why->text);
}

int app_online(struct app *k)
{
	return invocation_value(k->inv, "offline") == NULL
		       ? app_fresh(k)
		       : err_set(&k->inv->err, KLUIS_ECONNECT,
				 "this takes the cluster, which --offline does not ask");
}

int app_refresh(struct app *k)
{
	struct err *e = &k->inv->err;
	int rc;

	if (k->profile->person == NULL || invocation_value(k->inv, "offline") != NULL) {
		return 0;
	}
	k->unrefreshed = (struct err){0};
	rc = account_refresh(k->profile, k->client, e);
	if (app_out_of_reach(rc)) {
		k->unrefreshed = *e;
		*e = (struct err){0};
		return 0;
	}
	return rc == KLUIS_EUNAUTHENTICATED
		       ? err_set(e, rc, "the session of '%s' has ended: 'kluis login'",
				 k->profile->account)
		       : rc;
}

int app_store_pins(struct app *k)
{
	struct err *e = &k->inv->err;
	int rc;

	if (k->profile->person == NULL || k->profile->person->ring == NULL ||
		!k->profile->enrolled || invocation_value(k->inv, "offline") != NULL ||
		k->unrefreshed.code != 0) {
		return 0;
	}
	rc = vault_person_store_pins(k->profile, k->client, e);
	/* It can wait for the next command; a cluster that never takes it wants it forgotten. */
	if (app_out_of_reach(rc) || rc == KLUIS_EUNAUTHENTICATED) {
		output_warning(&k->inv->out,
			"what was seen here did not reach your keyring, so your other devices "
			"cannot hold the cluster to it: %s",
			e->text);
		*e = (struct err){0};
		return 0;
	}
	return rc;
}

/* What the operator signed, for a person to judge. */
static void restore_show(const struct app *k, const struct vault_restore *restore)
{
	for (size_t i = 0; i < restore->n; i++) {
		const struct restore_record *r = &restore->records[i];
		char old_lineage[HEX_LEN(ID_BYTES) + 1], new_lineage[HEX_LEN(ID_BYTES) + 1];
		char manifest[HEX_LEN(HASH_BYTES) + 1], time[21];

		hex_encode(bytes_of(r->old_lineage, ID_BYTES), old_lineage);
		hex_encode(bytes_of(r->new_lineage, ID_BYTES), new_lineage);
		hex_encode(bytes_of(r->manifest_hash, HASH_BYTES), manifest);
		clock_format(r->unix_ms, time);
		(void)fprintf(k->inv->out.notes,
			"The operator restored this cluster from a snapshot, and signed it:\n"
			"  signed          %s\n  snapshot index  %llu\n  manifest        %s\n"
			"  lineage         %s -> %s\n",
			time, (unsigned long long)r->raft_index, manifest, old_lineage,
			new_lineage);
	}
	(void)fprintf(k->inv->out.notes,
		"The signature is by the operator restore key pinned in this profile. What was "
		"stored after that snapshot is gone from the cluster.\n");
}

int app_restored(struct app *k)
{
	struct invocation *inv = k->inv;
	struct err lineage = inv->err;
	struct vault_restore restore;
	int rc = vault_restore_check(k->profile, k->client, &restore, &inv->err);

	if (rc != 0) {
		return rc;
	}
	restore_show(k, &restore);
	/* --yes is given for the command at hand; that the cluster was rolled back is another
	 * question, which a script cannot have foreseen (CRYPTO section 10). */
	if (invocation_value(inv, "accept-restore") == NULL &&
		!invocation_ask(inv, "Go on with the restored cluster?")) {
		inv->err = lineage;
		return err_wrap(&inv->err, KLUIS_ELINEAGE,
			"the restore was not accepted (--accept-restore does)");
	}
	return vault_restore_accept(k->profile, k->client, &restore, &inv->err);
}

int app_run(struct invocation *inv, int (*body)(struct app *k))
{
	return app_run_with(inv, body, NULL);
}

int app_run_with(struct invocation *inv, int (*body)(struct app *k), void *arg)
{
	struct app k = {.inv = inv, .arg = arg};
	int rc = app_open(&k);

	for (unsigned turn = 0; rc == 0 && turn < 2; turn++) {
		rc = app_refresh(&k);
		if (rc == 0 && invocation_value(inv, "offline") == NULL &&
			k.unrefreshed.code == 0) {
			rc = vault_finish_creating(k.profile, k.client, &inv->err);
		}
		rc = rc != 0 ? rc : body(&k);
		rc = rc != 0 ? rc : app_store_pins(&k);
		if (rc != KLUIS_ELINEAGE || turn == 1) {
			break;
		}
		rc = app_restored(&k);
	}
	client_free(k.client);
	profile_close(k.profile);
	agent_free(k.agent);
	return rc;
}
