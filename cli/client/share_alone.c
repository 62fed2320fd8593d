/* What nobody else could manage: by the cluster's word, as who has accepted is no statement. */
#include <stdio.h>
#include <string.h>

#include "cli/client/api.h"
#include "cli/client/json_reader.h"
#include "cli/client/share.h"

/* The first word of its commands. */
static const char *command_of(unsigned kind)
{
	return kind == MEMBER_OBJECT_CONVERSATION ? "chat" : membership_kind_name(kind);
}

int share_count_others(struct people *people, unsigned kind, const uint8_t object_id[ID_BYTES],
	struct share_others *ret_others, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	struct share_others others = {.members = 0};
	char target[API_TARGET_MAX];
	int rc;

	api_target(target, membership_kind_path(kind), object_id, "/members");
	rc = api_list(
		people_client(people), target, CLIENT_AUTH | CLIENT_READ, MEMBERS_MAX, &items, e);
	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		struct json_reader r = json_reader_of(json_array_get(items, i));
		uint8_t id[ID_BYTES];
		const char *role, *state;

		json_reader_hex(&r, "id", id, ID_BYTES);
		role = json_reader_string(&r, "role");
		state = json_reader_string(&r, "state");
		rc = json_reader_end(&r, "member", e);
		if (rc != 0 || memcmp(id, people_profile(people)->user_id, ID_BYTES) == 0 ||
			strcmp(state, "declined") == 0) {
			continue;
		}
		others.members++;
		others.admins += strcmp(role, "admin") == 0 && strcmp(state, "accepted") == 0;
	}
	if (rc == 0) {
		*ret_others = others;
	}
	return rc;
}

/* What the profile calls it, if anything. */
static void alone_name(struct people *people, struct share_alone *alone)
{
	struct err ignored = {0};
	struct share_group group;
	struct vault *vault;

	hex_encode(bytes_of(alone->id, ID_BYTES), alone->name);
	if (alone->kind == MEMBER_OBJECT_VAULT &&
		vault_open_local(people_profile(people), people_client(people), alone->id, &vault,
			&ignored) == 0) {
		(void)snprintf(alone->name, sizeof alone->name, "%s", vault->name);
		vault_close(vault);
	}
	if (alone->kind == MEMBER_OBJECT_GROUP &&
		share_find_group(people, alone->name, &group, &ignored) == 0) {
		(void)snprintf(alone->name, sizeof alone->name, "%s", group.name);
	}
}

/* One row of a list of vaults, groups or conversations. */
static int alone_row(struct people *people, const json_t *item, unsigned kind,
	struct share_alone *alone, bool *ret_is, struct err *e)
{
	const char *role = json_string_value(json_object_get(item, "role"));
	const char *state = json_string_value(json_object_get(item, "state"));
	struct json_reader r = json_reader_of(item);
	struct share_others others;
	int rc;

	json_reader_hex(&r, "id", alone->id, ID_BYTES);
	rc = json_reader_end(&r, membership_kind_name(kind), e);
	*ret_is = false;
	if (rc != 0 || role == NULL || strcmp(role, "admin") != 0 || state == NULL ||
		strcmp(state, "accepted") != 0) {
		return rc;
	}
	rc = share_count_others(people, kind, alone->id, &others, e);
	if (rc == 0 && others.members > 0 && others.admins == 0) {
		*ret_is = true;
		alone->kind = kind;
		alone_name(people, alone);
	}
	return rc;
}

static int alone_kind(
	struct people *people, unsigned kind, struct share_alone **list, size_t *n, struct err *e)
{
	_cleanup_(x_freep) char *target = x_asprintf("/v1/%s", membership_kind_path(kind));
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc = api_list(people_client(people), target, CLIENT_AUTH | CLIENT_READ, SHARE_ALONE_MAX,
		&items, e);

	*list = x_realloc(*list, (*n + json_array_size(items) + 1) * sizeof **list);
	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		bool is;

		rc = alone_row(people, json_array_get(items, i), kind, &(*list)[*n], &is, e);
		*n += rc == 0 && is;
	}
	return rc;
}

int share_managed_alone(
	struct people *people, struct share_alone **ret_list, size_t *ret_n, struct err *e)
{
	struct share_alone *list = NULL;
	size_t n = 0;
	int rc = 0;

	for (unsigned kind = MEMBER_OBJECT_VAULT; rc == 0 && kind <= MEMBER_OBJECT_CONVERSATION;
		kind++) {
		rc = alone_kind(people, kind, &list, &n, e);
	}
	if (rc != 0) {
		free(list);
		return rc;
	}
	*ret_list = list;
	*ret_n = n;
	return 0;
}

int share_check_not_alone(struct people *people, struct err *e)
{
	_cleanup_(x_freep) struct share_alone *list = NULL;
	size_t n = 0;
	int rc = share_managed_alone(people, &list, &n, e);

	return rc != 0 || n == 0
		       ? rc
		       : err_set(e, KLUIS_EFORBIDDEN,
				 "nobody could manage %zu that others are in, such as %s '%s': "
				 "hand over first ('kluis %s transfer')",
				 n, membership_kind_name(list[0].kind), list[0].name,
				 command_of(list[0].kind));
}

int share_leave_refused(struct people *people, unsigned kind, const uint8_t object_id[ID_BYTES],
	const struct err *why, struct err *e)
{
	const char *name = membership_kind_name(kind);
	struct share_others others;
	char id[HEX_LEN(ID_BYTES) + 1];
	struct err ignored = {0};

	hex_encode(bytes_of(object_id, ID_BYTES), id);
	if (why->code != KLUIS_EFORBIDDEN ||
		share_count_others(people, kind, object_id, &others, &ignored) != 0 ||
		others.admins > 0) {
		return err_set(e, why->code, "%s %s: %s", name, id, why->text);
	}
	if (others.members > 0) {
		return err_set(e, why->code, "%s %s: %s: hand it over first ('kluis %s transfer')",
			name, id, why->text, command_of(kind));
	}
	return kind == MEMBER_OBJECT_CONVERSATION
		       ? err_set(e, why->code,
				 "%s %s: %s: you are the only one left in it: there is nobody to "
				 "leave it to, and it ends with your account",
				 name, id, why->text)
		       : err_set(e, why->code,
				 "%s %s: %s: you are the only one in it: 'kluis %s delete' ends it",
				 name, id, why->text, command_of(kind));
}
