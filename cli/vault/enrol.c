#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/ui/prompt.h"
#include "cli/vault/app.h"
#include "crypto/pki.h"

enum { ENROL_TOKEN_BYTES_MAX = 128, ENROL_HOST_BYTES_MAX = 64 };

/* What the enrolment is told and finds out. */
struct enrol {
	struct invocation *inv;
	char *endpoints[CLIENT_ENDPOINTS_MAX];
	size_t n_endpoints;
	struct buf ca_pem; /* Trusted. */
	struct api_cluster cluster;
};

static int enrol_client(const struct enrol *enrol, struct bytes ca_pem, struct client **ret_client)
{
	struct client_config config = {.endpoints = (const char *const *)enrol->endpoints,
		.n_endpoints = enrol->n_endpoints,
		.ca_pem = ca_pem};
	int rc = app_give_up_ms(enrol->inv, &config.give_up_ms);

	return rc != 0 ? rc : client_new(&config, ret_client, &enrol->inv->err);
}

static int enrol_endpoint(struct enrol *enrol, char *url)
{
	if (enrol->n_endpoints == CLIENT_ENDPOINTS_MAX) {
		free(url);
		return err_set(&enrol->inv->err, KLUIS_EINVAL, "more than %d end points",
			CLIENT_ENDPOINTS_MAX);
	}
	enrol->endpoints[enrol->n_endpoints++] = url;
	return 0;
}

static int enrol_endpoints(struct enrol *enrol)
{
	struct invocation *inv = enrol->inv;
	const char *first = invocation_value(inv, "endpoint"), *list;
	int rc = first == NULL ? 0 : enrol_endpoint(enrol, x_strdup(first));

	for (size_t n = 0; rc == 0 && (list = invocation_value_at(inv, "endpoints", n)); n++) {
		while (rc == 0 && *list != 0) {
			size_t len = strcspn(list, ",");

			rc = len == 0 ? 0 : enrol_endpoint(enrol, x_strndup(list, len));
			list += len + (list[len] == ',');
		}
	}
	if (rc == 0 && enrol->n_endpoints == 0) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "--endpoints https://host:port is needed");
	}
	return rc;
}

/* Asks the cluster for what is to be pinned, over a connection that trusts ca_pem alone; nothing
 * secret has been sent before. */
static int enrol_fetch(struct enrol *enrol, struct bytes ca_pem)
{
	struct client *client;
	int rc = enrol_client(enrol, ca_pem, &client);

	if (rc != 0) {
		return rc;
	}
	api_cluster_release(&enrol->cluster);
	rc = api_well_known(client, &enrol->cluster, &enrol->inv->err);
	client_free(client);
	return rc;
}

/* First use: the CA as the cluster shows it, judged by its pin. */
static int enrol_trust_shown(struct enrol *enrol)
{
	struct invocation *inv = enrol->inv;
	const char *wanted = invocation_value(inv, "ca-pin");
	char pin[BASE64_LEN(HASH_BYTES) + 1];
	_cleanup_(x_freep) char *question = NULL;
	struct pki_info info;
	int rc = enrol_fetch(enrol, bytes_of(NULL, 0));

	rc = rc != 0 ? rc : pki_info(buf_bytes(&enrol->cluster.ca_pem), &info, &inv->err);
	if (rc != 0) {
		return rc;
	}
	base64_encode(bytes_of(info.spki_sha256, HASH_BYTES), pin);
	if (wanted != NULL && strcmp(wanted, pin) != 0) {
		return err_set(&inv->err, KLUIS_EPIN,
			"the cluster's CA has the pin %s, not the one you gave", pin);
	}
	if (wanted == NULL) {
		question = x_asprintf("The cluster shows the CA '%s' with the pin\n  %s\nCompare "
				      "it with what the operator gave you. Trust it?",
			info.subject, pin);
		if (!invocation_confirm(inv, question)) {
			return inv->err.code;
		}
	}
	buf_append_bytes(&enrol->ca_pem, buf_bytes(&enrol->cluster.ca_pem));
	return 0;
}

static int enrol_trust(struct enrol *enrol)
{
	struct invocation *inv = enrol->inv;
	const char *file = invocation_value(inv, "ca");
	struct pki_info info;
	int rc = file != NULL ? file_read(file, API_PEM_BYTES_MAX, &enrol->ca_pem, &inv->err)
			      : enrol_trust_shown(enrol);

	if (rc == 0 && file != NULL) {
		rc = pki_info(buf_bytes(&enrol->ca_pem), &info, &inv->err);
		rc = rc != 0 ? err_wrap(&inv->err, rc, "'%s'", file) : 0;
	}
	/* Once more, now over a connection that proves it: this answer is what gets pinned. */
	return rc != 0 ? rc : enrol_fetch(enrol, buf_bytes(&enrol->ca_pem));
}

static int enrol_profile(
	struct enrol *enrol, const char *dir, const char *account, struct profile **ret_profile)
{
	struct invocation *inv = enrol->inv;
	const char *device = invocation_value(inv, "device");
	char host[ENROL_HOST_BYTES_MAX + 1] = "device";
	struct profile *profile;
	int rc;

	if (profile_open(dir, &profile, &inv->err) == 0) {
		if (!profile->enrolled && strcmp(profile->account, account) == 0 &&
			memcmp(profile->cluster_id, enrol->cluster.cluster_id, ID_BYTES) == 0) {
			*ret_profile = profile;
			return 0;
		}
		rc = err_set(&inv->err, KLUIS_EEXIST, "there is a profile of '%s' in '%s' already",
			profile->account, dir);
		profile_close(profile);
		return rc;
	}
	inv->err = (struct err){0};
	if (device == NULL && gethostname(host, ENROL_HOST_BYTES_MAX) == 0) {
		host[ENROL_HOST_BYTES_MAX] = 0;
	}
	return profile_make(dir, &enrol->cluster, account, device == NULL ? host : device,
		(const char *const *)enrol->endpoints, enrol->n_endpoints, ret_profile, &inv->err);
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

static int enrol_send(struct enrol *enrol, struct profile *profile)
{
	struct invocation *inv = enrol->inv;
	_cleanup_(prompt_secret_release) struct buf token = BUF_INIT;
	struct client *client;
	int rc;

	buf_reserve(&token, ENROL_TOKEN_BYTES_MAX + 2);
	rc = prompt_secret("Enrolment token: ", invocation_value(inv, "token-file"),
		invocation_value(inv, "token-fd"), ENROL_TOKEN_BYTES_MAX, &token, &inv->err);
	rc = rc != 0 ? rc : enrol_client(enrol, buf_bytes(&profile->ca_pem), &client);
	if (rc != 0) {
		return rc;
	}
	rc = session_enrol(profile, client, buf_str(&token), &inv->err);
	client_free(client);
	return rc;
}

int app_enrol(struct invocation *inv)
{
	struct enrol enrol = {.inv = inv};
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
	rc = enrol_endpoints(&enrol);
	rc = rc != 0 ? rc : enrol_trust(&enrol);
	rc = rc != 0 ? rc : enrol_profile(&enrol, dir, name, &profile);
	rc = rc != 0 ? rc : enrol_send(&enrol, profile);
	if (rc == 0) {
		enrol_print(inv, profile);
	}
	profile_close(profile);
	api_cluster_release(&enrol.cluster);
	buf_release(&enrol.ca_pem);
	for (size_t i = 0; i < enrol.n_endpoints; i++) {
		free(enrol.endpoints[i]);
	}
	return rc;
}

static int logout_body(struct app *k)
{
	return session_end(k->profile, k->client, &k->inv->err);
}

int app_logout(struct invocation *inv)
{
	return app_run(inv, logout_body);
}
