/* kluis device list|approve|revoke */
#include <string.h>

#include "base/text.h"
#include "cli/client/account.h"
#include "cli/client/json_reader.h"
#include "cli/client/membership.h"
#include "cli/vault/app.h"

static const char *const device_states[] = {[ACCOUNT_DEVICE_ACTIVE] = "active",
	[ACCOUNT_DEVICE_PENDING] = "pending",
	[ACCOUNT_DEVICE_REVOKED] = "revoked"};

json_t *app_device_rows(const struct account_device *devices, size_t n)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(
			rows, json_pack("{s:o, s:s, s:s, s:b, s:o}", "id",
				      json_hex(bytes_of(devices[i].device_id, ID_BYTES)), "name",
				      devices[i].name, "state", device_states[devices[i].state],
				      "mine", devices[i].mine, "key",
				      json_hex(bytes_of(devices[i].kid, KID_BYTES))));
	}
	return rows;
}

void app_show_devices(const struct output *out, const json_t *rows)
{
	static const struct output_column columns[] = {{"id", "DEVICE", OUTPUT_TEXT},
		{"name", "NAME", OUTPUT_TEXT}, {"state", "STATE", OUTPUT_TEXT},
		{"mine", "THIS ONE", OUTPUT_TEXT}, {"key", "KEY", OUTPUT_TEXT}};

	output_rows(out, columns, ARRAY_SIZE(columns), rows);
}

static int device_list_body(struct app *k)
{
	_cleanup_(json_dropp) json_t *rows = NULL;
	struct account_device *devices;
	size_t n;
	int rc = account_devices(k->profile, k->client, &devices, &n, &k->inv->err);

	if (rc != 0) {
		return rc;
	}
	rows = app_device_rows(devices, n);
	account_devices_free(devices, n);
	app_show_devices(&k->inv->out, rows);
	return 0;
}

int app_device_list(struct invocation *inv)
{
	return app_run(inv, device_list_body);
}

/* By its id, or by its name when only one in that state has it. Names and ids prove nothing: the
 * key is what the other device shows. */
static int device_find(struct app *k, const char *text, enum account_device_state state,
	struct account_device *ret_device)
{
	struct account_device *devices;
	size_t n, found = 0;
	int rc = account_devices(k->profile, k->client, &devices, &n, &k->inv->err);

	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; i < n; i++) {
		char id[HEX_LEN(ID_BYTES) + 1];

		hex_encode(bytes_of(devices[i].device_id, ID_BYTES), id);
		if (devices[i].state == state &&
			(strcmp(text, id) == 0 || strcmp(text, devices[i].name) == 0)) {
			*ret_device = devices[i];
			ret_device->statement = BUF_INIT; /* Stays with the list. */
			found++;
		}
	}
	account_devices_free(devices, n);
	if (found == 1) {
		return 0;
	}
	return found == 0 ? err_set(&k->inv->err, KLUIS_ENOTFOUND, "no %s device '%s'",
				    device_states[state], text)
			  : err_set(&k->inv->err, KLUIS_EINVAL,
				    "%zu %s devices are called '%s': name one by its id", found,
				    device_states[state], text);
}

static bool device_confirm(
	struct invocation *inv, const struct account_device *device, const char *question)
{
	char id[HEX_LEN(ID_BYTES) + 1], kid[HEX_LEN(KID_BYTES) + 1];
	_cleanup_(x_freep) char *text = NULL;

	hex_encode(bytes_of(device->device_id, ID_BYTES), id);
	hex_encode(bytes_of(device->kid, KID_BYTES), kid);
	text = x_asprintf("'%s'\n  %s\n  key %s\n%s", device->name, id, kid, question);
	return invocation_confirm(inv, text);
}

static int device_approve_body(struct app *k)
{
	struct invocation *inv = k->inv;
	struct account_device device;
	int rc = device_find(k, inv->args[0], ACCOUNT_DEVICE_PENDING, &device);

	if (rc != 0) {
		return rc;
	}
	if (!device_confirm(inv, &device,
		    "This device asks to sign as you. Approve it only if it is yours and shows "
		    "this key.")) {
		return inv->err.code;
	}
	return account_device_approve(
		k->profile, k->client, device.device_id, device.kid, &inv->err);
}

int app_device_approve(struct invocation *inv)
{
	return app_run(inv, device_approve_body);
}

static bool leave_out_given(const struct invocation *inv, const struct account_unvouched *vault)
{
	char id[HEX_LEN(ID_BYTES) + 1];
	const char *given;

	hex_encode(bytes_of(vault->id, ID_BYTES), id);
	for (size_t n = 0; (given = invocation_value_at(inv, "leave-out", n)) != NULL; n++) {
		if (strcmp(given, id) == 0 || strcmp(given, vault->name) == 0) {
			return true;
		}
	}
	return false;
}

/* Not answered by --yes: it is given for the device, and this may cost a vault. */
static bool leave_out(void *arg, const struct account_unvouched *vault)
{
	struct invocation *inv = arg;
	_cleanup_(x_freep) char *question = NULL;
	struct err before = inv->err;
	bool yes;

	if (leave_out_given(inv, vault)) {
		return true;
	}
	question = x_asprintf("%s\n%s %s '%s' %s\nRevoke the device all the same?",
		vault->why->text, "The revocation is made once. What it cannot vouch for in",
		membership_kind_name(vault->kind), vault->name,
		vault->seq > 0 ? "is lost: all that the device wrote there after what this one has "
				 "seen, unless another device wrote after it."
			       : "is lost: this device has never seen it. If the other one "
				 "made it, or wrote to it last, nobody can read it any more.");
	yes = invocation_ask(inv, question);
	inv->err = before;
	return yes;
}

static int device_revoke_body(struct app *k)
{
	const struct account_revocation revocation = {.leave_out = leave_out, .arg = k->inv};
	struct invocation *inv = k->inv;
	struct account_device device;
	int rc = device_find(k, inv->args[0], ACCOUNT_DEVICE_ACTIVE, &device);

	if (rc != 0) {
		return rc;
	}
	if (device.mine) {
		return err_set(&inv->err, KLUIS_EINVAL,
			"this is the device you are on: revoke it from another one");
	}
	if (!device_confirm(inv, &device,
		    "Its sessions end, and nothing it signs from now on counts. This cannot be "
		    "taken back.")) {
		return inv->err.code;
	}
	rc = account_device_revoke(k->profile, k->client, device.device_id, &revocation, &inv->err);
	if (rc == 0) {
		output_note(&inv->out,
			"Whoever opened that device has had all your keys. 'kluis passwd' makes "
			"them anew: for what is written from then on.");
	}
	return rc;
}

int app_device_revoke(struct invocation *inv)
{
	return app_run(inv, device_revoke_body);
}
