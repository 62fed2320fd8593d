/* What commands ask a running node. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/ops/ops.h"

enum { TIMEOUT_DEFAULT_S = 10, TIMEOUT_MAX_S = 86400, TARGET_MAX = 256 };

const char *ops_socket(const struct invocation *inv, size_t n)
{
	bool far = invocation_value(inv, "ssh") != NULL;
	const char *path = invocation_value_at(inv, far ? "ssh" : "socket", n);

	return far ? path : path == NULL && n == 0 ? OPS_SOCKET_DEFAULT : path;
}

static int client_to(struct invocation *inv, const char *socket, struct client_config *config,
	struct client **ret_client)
{
	bool far = invocation_value(inv, "ssh") != NULL;

	if (far && invocation_value(inv, "socket") != NULL) {
		return err_set(&inv->err, KLUIS_EINVAL,
			"--socket is of this machine: at the other end of --ssh, 'kluisctl "
			"admin-proxy' knows it");
	}
	if (far) {
		config->dial = ops_ssh_dial;
		config->dial_arg = socket;
		config->give_up_ms = 1; /* Once: each attempt may ask somebody for a passphrase. */
	} else {
		config->socket_path = socket;
	}
	return client_new(config, ret_client, &inv->err);
}

int ops_client(struct invocation *inv, const char *socket, struct client **ret_client)
{
	struct client_config config = {.n_endpoints = 0};
	uint64_t seconds;
	int rc = invocation_number(inv, "timeout", TIMEOUT_DEFAULT_S, TIMEOUT_MAX_S, &seconds);

	if (rc != 0) {
		return rc;
	}
	config.give_up_ms = config.call_ms = seconds * 1000 == 0 ? 1 : seconds * 1000;
	return client_to(inv, socket, &config, ret_client);
}

int ops_client_once(struct invocation *inv, const char *socket, struct client **ret_client)
{
	struct client_config config = {.give_up_ms = 1};

	return client_to(inv, socket, &config, ret_client);
}

bool ops_part_valid(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && len <= 128 &&
	       strspn(text,
		       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@+-") ==
		       len;
}

int ops_needed(struct invocation *inv, const char *option, const char **ret_value)
{
	const char *value = invocation_value(inv, option);

	if (value == NULL || value[0] == 0) {
		return err_set(&inv->err, KLUIS_EINVAL, "--%s is needed", option);
	}
	*ret_value = value;
	return 0;
}

int ops_call(struct invocation *inv, const char *method, const char *target, json_t *body,
	json_t **ret_object)
{
	struct client *client;
	int rc = ops_client(inv, ops_socket(inv, 0), &client);

	if (rc != 0) {
		json_decref(body);
		return rc;
	}
	rc = api_json(client, method, target, body, 0, ret_object, &inv->err);
	client_free(client);
	return rc;
}

int ops_list(struct invocation *inv, const char *target, json_t **ret_items)
{
	struct client *client;
	int rc = ops_client(inv, ops_socket(inv, 0), &client);

	if (rc != 0) {
		return rc;
	}
	rc = api_list(client, target, 0, OPS_LIST_MAX, ret_items, &inv->err);
	client_free(client);
	return rc;
}

static const struct output_column leader_columns[] = {{"node", "Node", OUTPUT_TEXT},
	{"site", "Site", OUTPUT_TEXT}, {"term", "Term", OUTPUT_TEXT}};

int ops_leader_show(struct invocation *inv)
{
	_cleanup_(json_dropp) json_t *leader = NULL;
	int rc = ops_call(inv, "GET", "/v1/sys/leader", NULL, &leader);

	if (rc == 0) {
		output_record(&inv->out, leader_columns, ARRAY_SIZE(leader_columns), leader);
	}
	return rc;
}

/* Of the sockets given, one is the leader's: only it can hand over. */
static int leader_ask_each(struct invocation *inv, json_t *body, json_t **ret_leader)
{
	const char *socket;
	int rc = KLUIS_EINVAL;

	for (size_t n = 0; (socket = ops_socket(inv, n)) != NULL && n < OPS_SOCKETS_MAX; n++) {
		struct client *client;

		rc = ops_client_once(inv, socket, &client);
		if (rc != 0) {
			break;
		}
		rc = api_json(client, "POST", "/v1/sys/leader/transfer", json_incref(body), 0,
			ret_leader, &inv->err);
		client_free(client);
		if (rc != KLUIS_ENOQUORUM && rc != KLUIS_ECONNECT && rc != KLUIS_ENOTLEADER) {
			break;
		}
	}
	json_decref(body);
	return rc;
}

int ops_leader_transfer(struct invocation *inv)
{
	_cleanup_(json_dropp) json_t *leader = NULL;
	json_t *body = json_object();
	uint64_t node;
	int rc = inv->n_args == 0 ? 0 : ops_node_of(inv, inv->args[0], &node);

	if (rc != 0) {
		json_decref(body);
		return rc;
	}
	if (inv->n_args > 0) {
		(void)json_object_set_new(body, "to", json_integer((json_int_t)node));
	}
	rc = leader_ask_each(inv, body, &leader);
	if (rc == 0) {
		output_record(&inv->out, leader_columns, ARRAY_SIZE(leader_columns), leader);
	}
	return rc;
}

static const struct output_column service_columns[] = {{"name", "NAME", OUTPUT_TEXT},
	{"state", "STATE", OUTPUT_TEXT}, {"user_id", "USER", OUTPUT_TEXT},
	{"created", "CREATED", OUTPUT_TIME}};

int ops_service_list(struct invocation *inv)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc = ops_list(inv, "/v1/sys/services", &items);

	if (rc == 0) {
		output_rows(&inv->out, service_columns, ARRAY_SIZE(service_columns), items);
	}
	return rc;
}

/* What would be disabled, as a list of one. */
static int service_show(struct invocation *inv, const char *name)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	_cleanup_(json_dropp) json_t *found = json_array();
	json_t *item;
	size_t i;
	int rc = ops_list(inv, "/v1/sys/services", &items);

	json_array_foreach(items, i, item)
	{
		const char *text = json_string_value(json_object_get(item, "name"));

		if (text != NULL && strcmp(text, name) == 0) {
			(void)json_array_append(found, item);
		}
	}
	if (rc == 0 && json_array_size(found) == 0) {
		rc = err_set(&inv->err, KLUIS_ENOTFOUND, "no account '%s'", name);
	}
	if (rc == 0) {
		output_rows(&inv->out, service_columns, ARRAY_SIZE(service_columns), found);
	}
	return rc;
}

int ops_token_to_file(struct invocation *inv, json_t *answer, const char *path)
{
	_cleanup_(secret_buf_release) struct buf line = BUF_INIT;
	const char *token = json_string_value(json_object_get(answer, "token"));
	int rc;

	buf_reserve(&line, 256);
	buf_printf(&line, "%s\n", token);
	rc = file_create(path, buf_bytes(&line), 0600, &inv->err);
	if (rc == 0) {
		(void)json_object_del(answer, "token"); /* It is there. */
		(void)json_object_set_new(answer, "token_file", json_string(path));
	}
	return rc;
}

int ops_service_create(struct invocation *inv)
{
	static const struct output_column columns[] = {{"name", "Account", OUTPUT_TEXT},
		{"token", "Token", OUTPUT_TEXT}, {"token_file", "Token file", OUTPUT_TEXT},
		{"expires", "Expires", OUTPUT_TIME}};
	const char *path = invocation_value(inv, "token-file");
	_cleanup_(json_dropp) json_t *answer = NULL;
	struct client *client;
	int rc;

	if (path != NULL && file_exists(path)) { /* Before a token is spent on it. */
		return err_set(&inv->err, KLUIS_EEXIST, "'%s' exists", path);
	}
	rc = ops_client(inv, ops_socket(inv, 0), &client);
	if (rc != 0) {
		return rc;
	}
	rc = api_create(client, "/v1/sys/services", json_pack("{s:s}", "name", inv->args[0]), 0,
		&answer, &inv->err);
	client_free(client);
	if (rc == 0 && !json_is_string(json_object_get(answer, "token"))) {
		rc = err_set(&inv->err, KLUIS_EPROTO, "service: 'token' is missing");
	}
	if (rc == 0 && path != NULL) {
		rc = ops_token_to_file(inv, answer, path);
	}
	if (rc == 0) {
		output_record(&inv->out, columns, ARRAY_SIZE(columns), answer);
	}
	return rc;
}

int ops_service_disable(struct invocation *inv)
{
	_cleanup_(x_freep) char *target = x_asprintf("/v1/sys/services/%s/disable", inv->args[0]);

	if (!ops_part_valid(inv->args[0])) {
		return err_set(&inv->err, KLUIS_EINVAL, "'%s' is no account name", inv->args[0]);
	}
	if (invocation_value(inv, "dry-run") != NULL) {
		return service_show(inv, inv->args[0]);
	}
	return ops_call(inv, "POST", target, NULL, NULL);
}

/* What a node is asked for a report; one that fails leaves its reason there. */
static json_t *diagnose_node(struct invocation *inv, const char *socket)
{
	static const char *const targets[] = {"/v1/sys/status", "/v1/sys/health", "/v1/sys/alarms",
		"/v1/sys/members", "/v1/sys/backups", "/v1/sys/snapshots", "/v1/sys/config",
		"/v1/version", "/v1/limits"};
	json_t *report = json_pack("{s:s}", "socket", socket);
	struct client *client;

	if (ops_client(inv, socket, &client) != 0) {
		(void)json_object_set_new(report, "error", json_string(inv->err.text));
		return report;
	}
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		struct err why = {0};
		json_t *answer;

		if (api_json(client, "GET", targets[i], NULL, 0, &answer, &why) != 0) {
			answer = json_pack("{s:s}", "error", why.text);
			(void)json_object_set_new(report, "error", json_string(why.text));
		}
		(void)json_object_set_new(report, targets[i], answer);
		if (why.code == KLUIS_ECONNECT || why.code == KLUIS_ENOTFOUND) {
			break; /* Nobody there: the other questions would only wait. */
		}
	}
	client_free(client);
	return report;
}

int ops_diagnose(struct invocation *inv)
{
	static const struct output_column columns[] = {
		{"socket", "SOCKET", OUTPUT_TEXT}, {"error", "ERROR", OUTPUT_TEXT}};
	_cleanup_(json_dropp) json_t *whole = NULL;
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	const char *out = invocation_value(inv, "out"), *socket;
	json_t *nodes = json_array();
	int rc = 0;

	for (size_t n = 0; (socket = ops_socket(inv, n)) != NULL && n < OPS_SOCKETS_MAX; n++) {
		(void)json_array_append_new(nodes, diagnose_node(inv, socket));
	}
	inv->err = (struct err){0};
	whole = json_pack("{s:s, s:I, s:o}", "kluisctl", KLUIS_VERSION, "time",
		(json_int_t)clock_wall_ms(&clock_system), "nodes", nodes);
	if (out != NULL) {
		json_take_text(json_incref(whole), &text);
		rc = file_create(out, buf_bytes(&text), 0600, &inv->err);
	}
	if (rc == 0 && (out != NULL || inv->out.format == OUTPUT_TABLE)) {
		output_rows(&inv->out, columns, ARRAY_SIZE(columns), nodes);
	} else if (rc == 0) {
		output_record(&inv->out, columns, ARRAY_SIZE(columns), whole);
	}
	return rc;
}
