/* The public face of the account as the cluster describes it. */
#include <string.h>

#include "cli/client/account.h"
#include "cli/client/json_reader.h"
#include "cli/client/kluis_ask.h"
#include "cli/client/share.h"

int kluis_account_show(
	struct kluis *k, kluis_account_fn *take, void *arg, struct kluis_failure *error)
{
	_cleanup_(json_dropp) json_t *object = NULL;
	struct kluis_account account;
	struct json_reader r, policy;
	struct err e = {0};
	int rc = account_show(k->client, &object, &e);

	if (rc != 0) {
		return kluis_give(rc, &e, error);
	}
	r = json_reader_of(object);
	policy = json_reader_of(json_reader_object(&r, "policy"));
	account = (struct kluis_account){.user = json_reader_string(&r, "user"),
		.created_ms = json_reader_u64(&r, "created"),
		.devices = json_reader_u64(&r, "devices"),
		.vaults = json_reader_u64(&r, "vaults"),
		.pages = json_reader_u64(&r, "pages"),
		.keyring_revision = json_reader_u64(&r, "keyring_revision"),
		.no_web_login = json_reader_bool(&policy, "no_web_login"),
		.device_only = json_reader_bool(&policy, "device_sig")};
	json_reader_hex(&r, "user_id", account.user_id, ID_BYTES);
	rc = json_reader_end(&r, "account", &e);
	rc = rc != 0 ? rc : json_reader_end(&policy, "account: policy", &e);
	if (rc == 0) {
		take(arg, &account);
	}
	return kluis_give(rc, &e, error);
}

static uint32_t policy_bit(uint32_t flags, int wanted, uint32_t bit)
{
	return wanted < 0 ? flags : wanted > 0 ? flags | bit : flags & ~bit;
}

int kluis_account_policy(
	struct kluis *k, int no_web_login, int device_only, struct kluis_failure *error)
{
	struct err e = {0};
	uint32_t flags;
	int rc = kluis_person_check(k, &e);

	rc = rc != 0 ? rc : kluis_refresh(k, &e);
	rc = rc != 0 ? rc : person_ready(k->profile, &e);
	if (rc == 0) {
		flags = policy_bit(
			k->profile->identity.policy, no_web_login, IDENTITY_POLICY_NO_WEB);
		flags = policy_bit(flags, device_only, IDENTITY_POLICY_DEVICE_SIG);
		rc = flags == k->profile->identity.policy
			     ? 0
			     : account_policy(k->profile, k->client, flags, &e);
	}
	return kluis_give(rc, &e, error);
}

int kluis_account_log(
	struct kluis *k, kluis_access_fn *each, void *arg, struct kluis_failure *error)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	struct err e = {0};
	int rc = api_list(k->client, "/v1/account/access-log", CLIENT_AUTH | CLIENT_READ,
		ACCESS_ROWS_MAX, &items, &e);

	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		struct json_reader r = json_reader_of(json_array_get(items, i));
		struct kluis_access access = {.time_ms = json_reader_u64(&r, "time"),
			.event = json_reader_string(&r, "event"),
			.actor = json_reader_string(&r, "actor"),
			.object = json_reader_string(&r, "object")};

		rc = json_reader_end(&r, "access log", &e);
		if (rc == 0) {
			each(arg, &access);
		}
	}
	return kluis_give(rc, &e, error);
}

static int delete_check(struct kluis *k, struct err *e)
{
	struct people *people = people_new(k->profile, k->client);
	int rc = share_check_not_alone(people, e);

	people_free(people);
	return rc;
}

int kluis_account_delete(struct kluis *k, int leave_unmanaged, struct kluis_failure *error)
{
	struct err e = {0};
	int rc = kluis_person_check(k, &e);

	rc = rc != 0 || leave_unmanaged ? rc : delete_check(k, &e);
	rc = rc != 0 ? rc : account_delete(k->client, &e);
	if (rc == 0) {
		k->unsettled = false;
		client_set_token(k->client, NULL);
		person_lock(k->profile);
	}
	return kluis_give(rc, &e, error);
}

/* null: there is none. */
static uint64_t quota_of(struct json_reader *r, const json_t *object, const char *key)
{
	return json_is_null(json_object_get(object, key)) ? UINT64_MAX : json_reader_u64(r, key);
}

int kluis_account_usage(struct kluis *k, struct kluis_usage *ret_usage, struct kluis_failure *error)
{
	_cleanup_(json_dropp) json_t *object = NULL;
	struct kluis_usage usage;
	struct json_reader r;
	struct err e = {0};
	int rc = api_get(k->client, "/v1/account/usage", &object, &e);

	if (rc != 0) {
		return kluis_give(rc, &e, error);
	}
	r = json_reader_of(object);
	usage = (struct kluis_usage){.vaults = json_reader_u64(&r, "vaults"),
		.vaults_max = quota_of(&r, object, "vaults_max"),
		.pages = json_reader_u64(&r, "pages"),
		.pages_max = quota_of(&r, object, "pages_max"),
		.vault_pages_max = quota_of(&r, object, "vault_pages_max"),
		.bytes = json_reader_u64(&r, "bytes"),
		.bytes_max = quota_of(&r, object, "bytes_max"),
		.staged_bytes = json_reader_u64(&r, "staged_bytes"),
		.keyring_versions = json_reader_u64(&r, "keyring_versions"),
		.keyring_bytes = json_reader_u64(&r, "keyring_bytes")};
	rc = json_reader_end(&r, "usage", &e);
	if (rc == 0) {
		*ret_usage = usage;
	}
	return kluis_give(rc, &e, error);
}

int kluis_account_export(
	struct kluis *k, kluis_document_fn *take, void *arg, struct kluis_failure *error)
{
	_cleanup_(json_dropp) json_t *document = NULL;
	_cleanup_(x_freep) char *text = NULL;
	struct err e = {0};
	int rc = kluis_person_check(k, &e);

	rc = rc != 0 ? rc : account_export(k->client, &document, &e);
	if (rc == 0) {
		text = json_dumps(document, JSON_INDENT(2));
		take(arg, text, strlen(text));
	}
	return kluis_give(rc, &e, error);
}
