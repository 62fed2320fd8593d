/* A person's account as a whole: what there is, what is kept of it, what happened to it, its end;
 * and the directory in which others find her keys. */
#include <string.h>

#include "base/text.h"
#include "crypto/identity.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "storage/access_store.h"
#include "storage/keyring_store.h"
#include "storage/mfa_store.h"
#include "storage/object_store.h"
#include "storage/page_store.h"
#include "storage/person_store.h"
#include "storage/use_store.h"

/* Vaults with their pages and bytes, as the user's list has them. */
static int count_vaults(
	struct api_call *call, json_t *ids, uint64_t *ret_vaults, struct use *ret_use)
{
	_cleanup_(x_freep) struct member_of *rows = x_calloc(LIST_LIMIT_MAX, sizeof *rows);
	uint8_t last[16] = {0};
	struct use use = {0, 0};
	uint64_t vaults = 0;
	size_t n = 0;

	do {
		int rc =
			member_store_objects(call->view, MEMBER_OBJECT_VAULT, call->session.user_id,
				vaults == 0 ? NULL : last, rows, LIST_LIMIT_MAX, &n, &call->e);

		for (size_t i = 0; rc == 0 && i < n; i++) {
			struct vault_row vault;

			rc = vault_store_get(call->view, rows[i].object_id, &vault, &call->e);
			use.pages += rc == 0 ? vault.page_count : 0;
			use.bytes += rc == 0 ? vault.bytes : 0;
			memcpy(last, rows[i].object_id, sizeof last);
			if (ids != NULL) {
				(void)json_array_append_new(ids, json_make_id(rows[i].object_id));
			}
		}
		if (rc != 0) {
			return rc;
		}
		vaults += n;
	} while (n == LIST_LIMIT_MAX);
	*ret_vaults = vaults;
	*ret_use = use;
	return 0;
}

/* The account. */

static int account_person(struct api_call *call, json_t *body)
{
	struct person_row person = {0};
	json_t *policy = json_object();
	int rc = person_store_get(call->view, call->session.user_id, &person, &call->e);
	bool service = rc == KLUIS_ENOTFOUND;

	json_put(body, "kind", json_make_text(service ? "service" : "person"));
	json_put(policy, "no_web_login", json_boolean(person.policy & IDENTITY_POLICY_NO_WEB));
	json_put(policy, "device_sig", json_boolean(person.policy & IDENTITY_POLICY_DEVICE_SIG));
	json_put(body, "policy", policy);
	json_put(body, "keyring_revision", json_make_number(person.keyring_revision));
	return service ? 0 : rc;
}

static int account_body(struct api_call *call, json_t *body)
{
	struct user_row user;
	struct use use = {0, 0};
	uint64_t vaults = 0;
	json_t *mfa = json_array(), *devices = json_array();
	int rc = user_store_get(call->view, call->session.user_id, &user, &call->e);

	json_put(body, "mfa", mfa);
	rc = rc != 0 ? rc : call_mfa_names(call, call->session.user_id, false, mfa);
	rc = rc != 0 ? rc : call_devices(call, call->session.user_id, devices);
	rc = rc != 0 ? rc : account_person(call, body);
	rc = rc != 0 ? rc : count_vaults(call, NULL, &vaults, &use);
	if (rc == 0) {
		json_put(body, "user_id", json_make_id(user.user_id));
		json_put(body, "user", json_make_text(user.name));
		json_put(body, "created", json_make_number(user.created_ms));
		json_put(body, "devices", json_make_number(json_array_size(devices)));
		json_put(body, "vaults", json_make_number(vaults));
		json_put(body, "pages", json_make_number(use.pages));
		json_put(body, "bytes", json_make_number(use.bytes));
	}
	json_decref(devices);
	return rc;
}

/* Takes body, whatever it returns. */
static int account_reply(struct api_call *call, int rc, json_t *body)
{
	if (rc != 0) {
		json_decref(body);
		return rc;
	}
	call_json(call, 200, body);
	return 0;
}

int account_get_read(struct api_call *call)
{
	json_t *body = json_object();

	return account_reply(call, account_body(call, body), body);
}

int account_patch_applied(struct api_call *call)
{
	return call->rc != 0 ? call_fail(call, call->rc, "the identity chain has moved")
			     : account_get_read(call);
}

int account_delete_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_ACCOUNT_DELETE};
	struct person_row person;
	int rc = call_own_person(call, &person);

	rc = rc != 0 ? rc : call_need_fresh(call);
	if (rc != 0) {
		return rc;
	}
	command.account_delete.session = call_session(call);
	call_propose(call, &command);
	call_no_content(call);
	return 0;
}

/* Usage. */

static json_t *json_make_limit(uint64_t max)
{
	return max == 0 ? json_null() : json_make_number(max);
}

/* "4096 of 8192 bytes"; without a quota what is taken alone. */
static void quota_text(struct buf *to, uint64_t used, uint64_t max, const char *what)
{
	if (max == 0) {
		buf_printf(to, "%llu %s", (unsigned long long)used, what);
	} else {
		buf_printf(to, "%llu of %llu %s", (unsigned long long)used, (unsigned long long)max,
			what);
	}
}

int call_quota_told(struct api_call *call)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct person_row person;
	struct quota quota;
	struct use use;
	uint64_t vaults = 0;
	int rc = quota_get(call->view, call->session.user_id, &quota, &call->e);

	rc = rc != 0 ? rc : person_store_get(call->view, call->session.user_id, &person, &call->e);
	rc = rc != 0 ? rc : count_vaults(call, NULL, &vaults, &use);
	if (rc == KLUIS_EAGAIN) {
		return rc;
	}
	if (rc != 0) {
		return KLUIS_EQUOTA;
	}
	buf_printf(&text, "it would be more than the account may have; it has ");
	quota_text(&text, quota.used.bytes, quota.max.bytes, "bytes, ");
	quota_text(&text, quota.used.pages, quota.max.pages, "pages and ");
	quota_text(&text, vaults, person.vaults_max, "vaults");
	if (person.pages_max != 0) {
		buf_printf(&text, ", a vault at most %u pages", person.pages_max);
	}
	call->problem_limit = quota.max.bytes != 0 ? quota.max.bytes : quota.max.pages;
	return call_fail(call, KLUIS_EQUOTA, "%s", buf_str(&text));
}

int account_usage_read(struct api_call *call)
{
	struct keyring_row keyrings[KEYRING_VERSIONS_MAX];
	struct person_row person = {0};
	uint64_t vaults = 0, staged = 0, keyring_bytes = 0;
	struct quota quota = {.max = {0, 0}};
	struct use use = {0, 0};
	size_t n = 0;
	json_t *body;
	int rc = person_store_get(call->view, call->session.user_id, &person, &call->e);

	rc = rc == KLUIS_ENOTFOUND ? 0 : rc;
	rc = rc != 0 ? rc : count_vaults(call, NULL, &vaults, &use);
	if (rc == 0) {
		rc = quota_get(call->view, call->session.user_id, &quota, &call->e);
		rc = rc == KLUIS_ENOTFOUND ? 0 : rc; /* A service has none. */
	}
	rc = rc != 0 ? rc
		     : page_store_staged_use(call->view, call->session.user_id, &staged, &call->e);
	rc = rc != 0 ? rc
		     : keyring_store_list(
			       call->view, call->session.user_id, keyrings, &n, &call->e);
	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; i < n; i++) {
		keyring_bytes += keyrings[i].bytes;
	}
	body = json_object();
	json_put(body, "vaults", json_make_number(vaults));
	json_put(body, "vaults_max", json_make_limit(person.vaults_max));
	json_put(body, "pages", json_make_number(use.pages));
	json_put(body, "pages_max", json_make_limit(quota.max.pages));
	json_put(body, "vault_pages_max", json_make_limit(person.pages_max));
	json_put(body, "bytes", json_make_number(use.bytes));
	json_put(body, "bytes_max", json_make_limit(quota.max.bytes));
	json_put(body, "staged_bytes", json_make_number(staged));
	json_put(body, "keyring_versions", json_make_number(n));
	json_put(body, "keyring_bytes", json_make_number(keyring_bytes));
	call_json(call, 200, body);
	return 0;
}

/* Access log. */

static json_t *access_json(const struct access_row *row)
{
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	json_t *item = json_object();

	hex_append(&object, bytes_of(row->object, row->object_bytes));
	json_put(item, "seq", json_make_number(row->seq));
	json_put(item, "time", json_make_number(row->time_ms));
	json_put(item, "index", json_make_number(row->index));
	json_put(item, "event", json_make_text(access_event_name(row->event)));
	json_put(item, "code", json_make_number(row->event));
	json_put(item, "subject", json_make_id(row->user_id));
	json_put(item, "actor", json_make_id(row->who));
	json_put(item, "device_id", json_make_id(row->device_id));
	json_put(item, "behalf", json_make_text(row->behalf));
	json_put(item, "object", json_make_text(buf_str(&object)));
	json_put(item, "prev_hash", json_make_hash(row->prev_hash));
	return item;
}

int access_log_read(struct api_call *call)
{
	_cleanup_(x_freep) struct access_row *rows = x_calloc(call->limit + 1, sizeof *rows);
	const uint8_t *after;
	uint8_t key[8];
	json_t *items;
	size_t n = 0;
	int rc = call_cursor(call, sizeof key, &after);

	rc = rc != 0 ? rc
		     : access_store_list(call->view, call->session.user_id,
			       after == NULL ? 0 : load_u64(after), rows, call->limit + 1, &n,
			       &call->e);
	if (rc != 0) {
		return rc;
	}
	items = json_array();
	for (size_t i = 0; i < n && i < call->limit; i++) {
		(void)json_array_append_new(items, access_json(&rows[i]));
		store_u64(key, rows[i].seq);
	}
	call_list(call, items, bytes_of(key, n > call->limit ? sizeof key : 0));
	return 0;
}

/* Export. */

static int export_statements(struct api_call *call, json_t *to, bool *ret_complete)
{
	struct user_row user;
	size_t bytes = 0;
	int rc = user_store_get(call->view, call->session.user_id, &user, &call->e);

	for (uint64_t seq = 1; rc == 0 && seq <= user.chain_seq; seq++) {
		_cleanup_(buf_release) struct buf statement = BUF_INIT;

		rc = statement_store_get(
			call->view, call->session.user_id, seq, &statement, &call->e);
		bytes += statement.len;
		*ret_complete = bytes <= API_STATEMENTS_BYTES_MAX;
		if (!*ret_complete) {
			break;
		}
		if (rc == 0) {
			(void)json_array_append_new(to, json_make_base64(buf_bytes(&statement)));
		}
	}
	return rc;
}

static int export_body(struct api_call *call, json_t *body)
{
	_cleanup_(buf_release) struct buf keyring = BUF_INIT;
	json_t *account = json_object(), *identity = json_array(), *devices = json_array();
	json_t *vaults = json_array();
	struct person_row person;
	struct use use;
	uint64_t n_vaults;
	bool complete = true;
	int rc = call_own_person(call, &person);

	json_put(body, "account", account);
	json_put(body, "identity", identity);
	json_put(body, "devices", devices);
	json_put(body, "vaults", vaults);
	rc = rc != 0 ? rc : account_body(call, account);
	rc = rc != 0 ? rc : export_statements(call, identity, &complete);
	rc = rc != 0 ? rc : call_devices(call, call->session.user_id, devices);
	rc = rc != 0 ? rc : count_vaults(call, vaults, &n_vaults, &use);
	rc = rc != 0 ? rc : call_keyring(call, &person, &keyring);
	if (rc == 0) {
		json_put(body, "identity_complete", json_boolean(complete));
		json_put(body, "recovery",
			json_make_base64(bytes_of(person.recovery_key, RECOVERY_KEY_BYTES)));
		json_put(body, "keyring", json_make_base64(buf_bytes(&keyring)));
	}
	return rc;
}

/* Once to say in the log that it was asked for; the answer is made of the state that says so. */
int account_export_read(struct api_call *call)
{
	struct command command = {.type = COMMAND_ACCESS_NOTE};
	struct person_row person;
	int rc = call_own_person(call, &person);

	if (rc != 0) {
		return rc;
	}
	command.access_note.session = call_session(call);
	command.access_note.event = ACCESS_EXPORTED;
	call_propose(call, &command);
	return 0;
}

int account_export_applied(struct api_call *call)
{
	json_t *body = json_object();

	return account_reply(call, call->rc != 0 ? call->rc : export_body(call, body), body);
}

/* Directory. */

int user_get_parse(struct api_call *call)
{
	char name[ACCOUNT_NAME_BYTES_MAX + 1];

	return call_name(call, bytes_str(call->param[0]), name);
}

/* By name: persons, and services, whose vaults may be shared with them as well. */
int user_get_read(struct api_call *call)
{
	struct person_name_row person;
	struct account_row account;
	int rc = person_name_store_get(call->view, call->param[0], &person, &call->e);

	if (rc == 0 && !person.gone) {
		memcpy(call->id, person.user_id, 16);
		return 0;
	}
	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	rc = account_store_get(call->view, call->param[0], &account, &call->e);
	if (rc == KLUIS_ENOTFOUND || (rc == 0 && account.state != ACCOUNT_ACTIVE)) {
		return call_fail(call, KLUIS_ENOTFOUND, "there is no such user");
	}
	memcpy(call->id, account.user_id, 16);
	return rc;
}

static json_t *directory_transfer(const struct identity *identity)
{
	json_t *transfer = json_array();

	for (size_t i = 0; i < IDENTITY_TRANSFER_MAX; i++) {
		const struct key_pub *key = identity->transfer[i];
		json_t *item;

		if (key == NULL) {
			continue;
		}
		item = json_object();
		json_put(item, "kem", json_make_number(key_pub_alg(key)));
		json_put(item, "key", json_make_base64(key_pub_bytes(key)));
		(void)json_array_append_new(transfer, item);
	}
	return transfer;
}

static json_t *directory_devices(const struct identity *identity)
{
	json_t *devices = json_array();

	for (size_t i = 0; i < identity->device_count; i++) {
		const struct identity_device *device = &identity->devices[i];
		json_t *item = json_object();

		json_put(item, "id", json_make_id(device->device_id));
		json_put(item, "sign", json_make_base64(key_pub_bytes(device->sign)));
		json_put(item, "hpke", json_make_base64(key_pub_bytes(device->hpke)));
		json_put(item, "revoked", json_boolean(device->revoked));
		(void)json_array_append_new(devices, item);
	}
	return devices;
}

int user_get_check(struct api_call *call)
{
	struct identity identity;
	json_t *body;
	int rc;

	identity_init(&identity);
	rc = call_identity(call, call->id, &identity);
	if (rc == 0) {
		body = json_object();
		json_put(body, "user_id", json_make_id(identity.user_id));
		json_put(body, "user", json_make_text(identity.name));
		json_put(body, "seq", json_make_number(identity.seq));
		json_put(body, "genesis_hash", json_make_hash(identity.genesis_hash));
		json_put(body, "head_hash", json_make_hash(identity.head_hash));
		json_put(body, "signing", json_make_base64(key_pub_bytes(identity.signing)));
		json_put(body, "transfer", directory_transfer(&identity));
		json_put(body, "devices", directory_devices(&identity));
		call_json(call, 200, body);
	}
	identity_release(&identity);
	return rc;
}

int user_identity_parse(struct api_call *call)
{
	return call_param_id(call, 0, call->id);
}

int user_identity_read(struct api_call *call)
{
	struct user_row user;
	const uint8_t *after;
	uint8_t key[8] = {0};
	uint64_t seq;
	size_t bytes = 0;
	json_t *items;
	int rc = call_cursor(call, sizeof key, &after);

	/* A recovery looks at its own account alone. */
	if (rc == 0 && call->session.level == SESSION_RECOVERY &&
		memcmp(call->id, call->session.user_id, sizeof call->id) != 0) {
		return call_fail(call, KLUIS_ENOTFOUND, "no such user");
	}
	rc = rc != 0 ? rc : user_store_get(call->view, call->id, &user, &call->e);
	if (rc != 0) {
		return rc;
	}
	items = json_array();
	for (seq = after == NULL ? 1 : load_u64(after) + 1;
		rc == 0 && seq <= user.chain_seq && json_array_size(items) < call->limit &&
		bytes < API_STATEMENTS_BYTES_MAX;
		seq++) {
		_cleanup_(buf_release) struct buf statement = BUF_INIT;
		json_t *item = json_object();

		rc = statement_store_get(call->view, call->id, seq, &statement, &call->e);
		bytes += statement.len;
		json_put(item, "seq", json_make_number(seq));
		json_put(item, "statement", json_make_base64(buf_bytes(&statement)));
		(void)json_array_append_new(items, item);
		store_u64(key, seq);
	}
	if (rc != 0) {
		json_decref(items);
		return rc;
	}
	call_list(call, items, bytes_of(key, seq <= user.chain_seq ? sizeof key : 0));
	return 0;
}
