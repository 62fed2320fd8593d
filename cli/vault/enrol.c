#include <string.h>

#include "base/text.h"
#include "cli/client/account.h"
#include "cli/client/agent.h"
#include "cli/client/json_reader.h"
#include "cli/ui/prompt.h"
#include "cli/vault/app.h"
#include "cli/vault/trust.h"

enum { ENROL_TOKEN_BYTES_MAX = 128 };

static int enrol_profile(
	struct trust *trust, const char *dir, const char *account, struct profile **ret_profile)
{
	struct invocation *inv = trust->inv;
	_cleanup_(x_freep) char *device = trust_device_name(inv);
	struct profile *profile;
	int rc;

	if (profile_open(dir, &profile, &inv->err) == 0) {
		if (!profile->enrolled && strcmp(profile->account, account) == 0 &&
			memcmp(profile->cluster_id, trust->cluster.cluster_id, ID_BYTES) == 0) {
			*ret_profile = profile;
			return 0;
		}
		rc = err_set(&inv->err, KLUIS_EEXIST, "there is a profile of '%s' in '%s' already",
			profile->account, dir);
		profile_close(profile);
		return rc;
	}
	inv->err = (struct err){0};
	return profile_make(dir, &trust->cluster, account, device,
		(const char *const *)trust->endpoints, trust->n_endpoints, ret_profile, &inv->err);
}

static void enrol_print(const struct invocation *inv, const struct profile *profile)
{
	static const struct output_column columns[] = {{"account", "Account", OUTPUT_TEXT},
		{"user_id", "User", OUTPUT_TEXT}, {"device_id", "Device", OUTPUT_TEXT},
		{"cluster_id", "Cluster", OUTPUT_TEXT}, {"profile", "Profile", OUTPUT_TEXT}};
	json_t *record = json_pack("{s:s, s:o, s:o, s:o, s:s}", "account", profile->account,
		"user_id", json_hex(bytes_of(profile->user_id, ID_BYTES)), "device_id",
		json_hex(bytes_of(profile->device_id, ID_BYTES)), "cluster_id",
		json_hex(bytes_of(profile->cluster_id, ID_BYTES)), "profile", profile->dir);

	output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
}

static int enrol_send(struct trust *trust, struct profile *profile)
{
	struct invocation *inv = trust->inv;
	_cleanup_(prompt_secret_release) struct buf token = BUF_INIT;
	struct client *client;
	int rc;

	buf_reserve(&token, ENROL_TOKEN_BYTES_MAX + 2);
	rc = prompt_secret("Enrolment token: ", invocation_value(inv, "token-file"),
		invocation_value(inv, "token-fd"), ENROL_TOKEN_BYTES_MAX, &token, &inv->err);
	rc = rc != 0 ? rc : trust_client(trust, buf_bytes(&profile->ca_pem), &client);
	if (rc != 0) {
		return rc;
	}
	rc = session_enrol(profile, client, buf_str(&token), &inv->err);
	client_free(client);
	return rc;
}

int app_enrol(struct invocation *inv)
{
	struct trust trust = {.inv = inv};
	const char *name = invocation_value(inv, "name");
	_cleanup_(x_freep) char *dir = app_profile_dir(inv);
	struct profile *profile = NULL;
	int rc;

	if (dir == NULL) {
		return KLUIS_EINVAL;
	}
	if (name == NULL || !identity_name_valid(bytes_str(name))) {
		return err_set(&inv->err, KLUIS_EINVAL,
			"--name ACCOUNT is needed: 1 to 64 of a-z 0-9 . _ @ + -");
	}
	rc = trust_cluster(&trust);
	rc = rc != 0 ? rc : enrol_profile(&trust, dir, name, &profile);
	rc = rc != 0 ? rc : enrol_send(&trust, profile);
	if (rc == 0) {
		enrol_print(inv, profile);
	}
	profile_close(profile);
	trust_release(&trust);
	return rc;
}

static int logout_body(struct app *k)
{
	return k->profile->person != NULL ? account_logout(k->profile, k->client, &k->inv->err)
					  : session_end(k->profile, k->client, &k->inv->err);
}

/* A person's agent forgets its keys whether the cluster can be reached or not. */
int app_logout(struct invocation *inv)
{
	_cleanup_(x_freep) char *dir = app_profile_dir(inv);
	_cleanup_(agent_freep) struct agent *agent = NULL;
	int rc, stopped;

	if (dir == NULL) {
		return KLUIS_EINVAL;
	}
	rc = app_run(inv, logout_body);
	agent = agent_new(dir);
	stopped = agent_stop(agent, rc == 0 ? &inv->err : NULL);
	return rc != 0 || stopped == KLUIS_ENOTFOUND ? rc : stopped;
}
