/* Groups: lists, names, members, and re-keying with every vault that a group is in. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "base/text.h"
#include "base/wire.h"
#include "cli/client/account.h"
#include "cli/client/api.h"
#include "cli/client/json_reader.h"
#include "cli/client/share_impl.h"
#include "crypto/seal.h"

static const char group_prefix[] = "group:";

void share_groups_free(struct share_group *groups)
{
	free(groups);
}

static bool group_name_valid(const char *name, size_t len)
{
	return len > 0 && len <= SHARE_NAME_BYTES_MAX && strlen(name) == len &&
	       vault_name_valid(name);
}

static void name_ctx(const uint8_t group_id[ID_BYTES], struct buf *ctx)
{
	buf_put_str(ctx, "group");
	buf_append(ctx, group_id, ID_BYTES);
}

/* By the group's key of whatever epoch the name was sealed under; the id when none is here. */
static void group_open_name(struct people *people, struct share_group *group, struct bytes label)
{
	struct ring *ring = people_profile(people)->person->ring;
	_cleanup_(x_freep) struct ring_place *places = NULL;
	_cleanup_(buf_release) struct buf ctx = BUF_INIT;
	size_t n = 0;

	hex_encode(bytes_of(group->id, ID_BYTES), group->name);
	name_ctx(group->id, &ctx);
	if (ring->list(ring, KEYRING_GROUP_KEY, &places, &n, NULL) != 0) {
		return;
	}
	for (size_t i = 0; i < n; i++) {
		_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
		_cleanup_(secret_release) struct secret key = SECRET_INIT, name = SECRET_INIT;
		char text[SHARE_NAME_BYTES_MAX + 1] = "";

		if (memcmp(places[i].object_id, group->id, ID_BYTES) != 0 ||
			ring->group(ring, group->id, places[i].epoch, &pub, &key, NULL) != 0 ||
			seal_open(secret_bytes(&key), buf_bytes(&ctx), label, &name, NULL) != 0 ||
			name.len > SHARE_NAME_BYTES_MAX) {
			continue;
		}
		memcpy(text, name.data, name.len);
		if (group_name_valid(text, name.len)) {
			memcpy(group->name, text, name.len + 1);
		}
	}
}

static int group_parse(
	struct people *people, const json_t *item, struct share_group *group, struct err *e)
{
	_cleanup_(buf_release) struct buf label = BUF_INIT;
	struct json_reader r = json_reader_of(item);
	int rc;

	json_reader_hex(&r, "id", group->id, ID_BYTES);
	(void)snprintf(group->role, sizeof group->role, "%s", json_reader_string(&r, "role"));
	(void)snprintf(group->state, sizeof group->state, "%s", json_reader_string(&r, "state"));
	group->members_rev = json_reader_u64(&r, "members_rev");
	group->epoch = (uint32_t)json_reader_u64(&r, "epoch");
	json_reader_base64(&r, "label", API_LABEL_BYTES_MAX, &label);
	rc = json_reader_end(&r, "group", e);
	if (rc == 0) {
		group_open_name(people, group, buf_bytes(&label));
	}
	return rc;
}

int share_groups(
	struct people *people, struct share_group **ret_groups, size_t *ret_n, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	struct share_group *groups;
	size_t n;
	int rc = person_ready(people_profile(people), e);

	rc = rc != 0 ? rc
		     : api_list(people_client(people), "/v1/groups", CLIENT_AUTH | CLIENT_READ,
			       SHARE_GROUPS_MAX, &items, e);
	if (rc != 0) {
		return rc;
	}
	n = json_array_size(items);
	groups = x_calloc(n + 1, sizeof *groups);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = group_parse(people, json_array_get(items, i), &groups[i], e);
	}
	if (rc != 0) {
		free(groups);
		return rc;
	}
	*ret_groups = groups;
	*ret_n = n;
	return 0;
}

int share_find_group(
	struct people *people, const char *name, struct share_group *ret_group, struct err *e)
{
	struct share_group *groups;
	size_t n, at = 0, found = 0;
	uint8_t id[ID_BYTES];
	bool by_id = hex_decode(name, id, ID_BYTES) == 0;
	int rc = share_groups(people, &groups, &n, e);

	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; i < n; i++) {
		if (by_id ? memcmp(groups[i].id, id, ID_BYTES) == 0
			  : strcmp(groups[i].name, name) == 0) {
			at = i;
			found++;
		}
	}
	if (found == 1) {
		*ret_group = groups[at];
	}
	free(groups);
	return found == 1 ? 0
	       : found == 0
		       ? err_set(e, KLUIS_ENOTFOUND, "no group '%s' of yours", name)
		       : err_set(e, KLUIS_ECONFLICT,
				 "%zu groups are called '%s': name one by its id", found, name);
}

int share_resolve(
	struct people *people, const char *text, struct share_with *ret_with, struct err *e)
{
	struct share_with with = {.kind = MEMBER_USER};
	const size_t prefix = sizeof group_prefix - 1;
	const struct identity *identity;
	struct share_group group;
	int rc;

	if (strncmp(text, group_prefix, prefix) == 0 &&
		hex_decode(text + prefix, with.id, ID_BYTES) == 0) {
		/* Also one that is none of one's own, to take it out. */
		with.kind = MEMBER_GROUP;
		hex_encode(bytes_of(with.id, ID_BYTES), with.name);
		rc = 0;
	} else if (hex_decode(text, with.id, ID_BYTES) == 0) {
		/* Whose account is gone has no name any more. */
		rc = people_get(people, with.id, true, &identity, e);
		if (rc == 0) {
			memcpy(with.name, identity->name, sizeof identity->name);
		}
	} else if (strncmp(text, group_prefix, prefix) == 0) {
		rc = share_find_group(people, text + prefix, &group, e);
		if (rc == 0) {
			with.kind = MEMBER_GROUP;
			memcpy(with.id, group.id, ID_BYTES);
			memcpy(with.name, group.name, sizeof group.name);
		}
	} else {
		rc = people_by_name(people, text, &identity, e);
		if (rc == 0) {
			memcpy(with.id, identity->user_id, ID_BYTES);
			memcpy(with.name, identity->name, sizeof identity->name);
		}
	}
	if (rc == 0) {
		*ret_with = with;
	}
	return rc;
}

int share_check_invited(const struct profile *profile, const struct membership *m, struct err *e)
{
	char id[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(m->members.object_id, ID_BYTES), id);
	return membership_role(m, profile->user_id, m->members.seq) != 0
		       ? 0
		       : err_set(e, KLUIS_EVERIFY,
				 "none of the admins of %s %s invited you: the cluster made that "
				 "up",
				 membership_kind_name(m->members.kind), id);
}

/* Every invitation comes with a key; of one that is answered again it is here. */
static int answer_key_held(struct people *people, unsigned kind, const uint8_t object_id[ID_BYTES],
	const char *id, struct err *e)
{
	struct ring *ring = people_profile(people)->person->ring;
	_cleanup_(x_freep) struct ring_place *places = NULL;
	size_t n = 0;
	int rc = ring->list(ring,
		kind == MEMBER_OBJECT_GROUP ? KEYRING_GROUP_KEY : KEYRING_VAULT_KEY, &places, &n,
		e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (memcmp(places[i].object_id, object_id, ID_BYTES) == 0) {
			return 0;
		}
	}
	return rc != 0 ? rc
		       : err_set(e, KLUIS_EFORBIDDEN,
				 "%s %s: the invitation is accepted, but its key has not reached "
				 "you, or is withheld: one of its admins has to send it",
				 membership_kind_name(kind), id);
}

int share_answer(struct people *people, unsigned kind, const uint8_t object_id[ID_BYTES],
	bool accept, struct err *e)
{
	_cleanup_(membership_freep) struct membership *m = NULL;
	struct packets_taken taken = {.taken = 0};
	char target[API_TARGET_MAX], id[HEX_LEN(ID_BYTES) + 1];
	struct err why = {0};
	int rc = accept ? membership_load(people, kind, object_id, &m, e) : 0;

	hex_encode(bytes_of(object_id, ID_BYTES), id);
	if (rc == 0 && accept) {
		rc = share_check_invited(people_profile(people), m, e);
	}
	if (rc != 0) {
		return rc;
	}
	api_target(target, membership_kind_path(kind), object_id, "/%s",
		accept ? "accept" : "decline");
	rc = api_json(people_client(people), "POST", target, NULL, CLIENT_AUTH, NULL, &why);
	if (rc != 0) {
		return accept ? err_set(e, rc, "%s", why.text)
			      : share_leave_refused(people, kind, object_id, &why, e);
	}
	if (!accept || kind == MEMBER_OBJECT_CONVERSATION) {
		return 0;
	}
	rc = packets_take(people, object_id, &taken, e);
	if (rc != 0 || taken.taken + taken.held > 0) {
		return rc;
	}
	if (taken.refused > 0) {
		return err_set(e, KLUIS_EVERIFY,
			"%s %s: the key that the cluster brings does not hold: %s",
			membership_kind_name(kind), id, taken.why.text);
	}
	return answer_key_held(people, kind, object_id, id, e);
}

static unsigned role_of(const char *text)
{
	static const char *const roles[] = {
		[MEMBER_READ] = "read", [MEMBER_WRITE] = "write", [MEMBER_ADMIN] = "admin"};

	for (unsigned i = MEMBER_READ; i <= MEMBER_ADMIN; i++) {
		if (strcmp(text, roles[i]) == 0) {
			return i;
		}
	}
	return 0;
}

static int member_name(
	struct people *people, const struct member *member, struct share_member *to, struct err *e)
{
	const struct identity *identity;
	struct share_group group;
	struct err ignored = {0};
	int rc;

	to->who.kind = member->kind;
	to->role = member->role;
	memcpy(to->who.id, member->id, ID_BYTES);
	hex_encode(bytes_of(member->id, ID_BYTES), to->who.name);
	if (member->kind == MEMBER_GROUP) {
		if (share_find_group(people, to->who.name, &group, &ignored) == 0) {
			memcpy(to->who.name, group.name, sizeof group.name);
		}
		return 0;
	}
	rc = people_get(people, member->id, true, &identity, e);
	if (rc == 0) {
		memcpy(to->who.name, identity->name, sizeof identity->name);
		rc = people_is_verified(people, member->id, &to->verified, e);
	}
	return rc;
}

/* A row of the cluster's list; the state of the member whom the chain has so. */
static int member_match(const json_t *item, struct share_member *members, size_t n, struct err *e)
{
	struct json_reader r = json_reader_of(item);
	uint8_t id[ID_BYTES];
	const char *role, *state;
	int rc;

	json_reader_hex(&r, "id", id, ID_BYTES);
	role = json_reader_string(&r, "role");
	state = json_reader_string(&r, "state");
	rc = json_reader_end(&r, "member", e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (memcmp(members[i].who.id, id, ID_BYTES) == 0 &&
			members[i].role == role_of(role) && members[i].state[0] == 0) {
			(void)snprintf(members[i].state, sizeof members[i].state, "%s", state);
			return 0;
		}
	}
	if (rc == 0) {
		char hex[HEX_LEN(ID_BYTES) + 1];

		hex_encode(bytes_of(id, ID_BYTES), hex);
		rc = err_set(e, KLUIS_EVERIFY,
			"the cluster lists %s as a member (%s), which no admin signed: it added "
			"somebody, or keeps on who was removed",
			hex, role);
	}
	return rc;
}

int share_members(struct people *people, const struct membership *m,
	struct share_member **ret_members, size_t *ret_n, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	char target[API_TARGET_MAX];
	size_t n = m->members.count;
	struct share_member *members;
	int rc;

	api_target(target, membership_kind_path(m->members.kind), m->members.object_id, "/members");
	rc = api_list(
		people_client(people), target, CLIENT_AUTH | CLIENT_READ, MEMBERS_MAX, &items, e);
	members = x_calloc(n + 1, sizeof *members);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = member_name(people, &m->members.member[i], &members[i], e);
	}
	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		rc = member_match(json_array_get(items, i), members, n, e);
	}
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (members[i].state[0] == 0) { /* An account that was deleted. */
			(void)snprintf(members[i].state, sizeof members[i].state, "gone");
		}
	}
	if (rc != 0) {
		free(members);
		return rc;
	}
	*ret_members = members;
	*ret_n = n;
	return 0;
}

/* u16 kem | private key */
static void group_secret(const struct key *key, struct secret *ret_secret)
{
	_cleanup_(secret_release) struct secret private = SECRET_INIT;

	key_encode(key, &private);
	secret_init(ret_secret, 2 + private.len);
	store_u16(ret_secret->data, key_pub_alg(key_public(key)));
	memcpy(ret_secret->data + 2, private.data, private.len);
}

/* Create statement, first key to oneself, sealed name. */
struct group_create {
	uint8_t id[ID_BYTES];
	struct key *key;
	struct buf statement, packet, label;
};

static void group_create_release(struct group_create *c)
{
	key_free(c->key);
	buf_release(&c->statement);
	buf_release(&c->packet);
	buf_release(&c->label);
}

static int create_make(
	struct people *people, const char *name, struct group_create *c, struct err *e)
{
	const struct profile *profile = people_profile(people);
	_cleanup_(secret_release) struct secret secret = SECRET_INIT, name_key = SECRET_INIT;
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	_cleanup_(buf_release) struct buf ctx = BUF_INIT;
	struct packets_gift gift = {.purpose = KEYPACKET_GROUP,
		.role = MEMBER_ADMIN,
		.object_id = c->id,
		.rcpt_id = profile->user_id,
		.epoch = 1};
	struct share_change change;
	int rc = key_generate(KEY_KEM_P256, 0, &c->key, e);

	share_change_init(&change, people);
	random_fill(&random_system, c->id, ID_BYTES);
	rc = rc != 0 ? rc
		     : members_create(c->id, MEMBER_OBJECT_GROUP, profile->user_id,
			       key_pub_kid(key_public(c->key)), profile->device, change.unix_ms,
			       &c->statement, e);
	rc = rc != 0 ? rc : people_keeping_key(&profile->identity, &gift.rcpt, e);
	if (rc != 0) {
		return rc;
	}
	group_secret(c->key, &secret);
	gift.secret = secret_bytes(&secret);
	rc = packets_seal(profile, &gift, &c->packet, e);
	rc = rc != 0 ? rc : ring_group_key(secret_bytes(&secret), c->id, &pub, &name_key, e);
	if (rc == 0) {
		name_ctx(c->id, &ctx);
		seal_make(secret_bytes(&name_key), buf_bytes(&ctx), bytes_str(name), &random_system,
			&c->label);
	}
	return rc;
}

/* The key is in the keyring before anybody hears of the group. */
static int create_keep_key(struct people *people, const struct group_create *c, struct err *e)
{
	struct ring_packet packet = {.packet = buf_bytes(&c->packet)};

	memcpy(packet.kid, key_pub_kid(key_public(c->key)), KID_BYTES);
	return account_take_packets(people_profile(people), people_client(people), &packet, 1, e);
}

static int create_send(struct people *people, const struct group_create *c, struct err *e)
{
	_cleanup_(membership_freep) struct membership *m = membership_new();
	json_t *body = json_pack("{s:o, s:o, s:o, s:[]}", "create",
		json_base64(buf_bytes(&c->statement)), "label", json_base64(buf_bytes(&c->label)),
		"group_key", json_base64(key_pub_bytes(key_public(c->key))), "packets");
	int rc = api_create(people_client(people), "/v1/groups", body, CLIENT_AUTH, NULL, e);

	rc = rc != 0 ? rc
		     : membership_extend(
			       m, buf_bytes(&c->statement), people_source(people), false, e);
	return rc != 0 ? rc : membership_store(m, people_profile(people), e);
}

int share_group_create(
	struct people *people, const char *name, uint8_t ret_id[ID_BYTES], struct err *e)
{
	_cleanup_(group_create_release) struct group_create c = {.key = NULL};
	int rc = person_ready(people_profile(people), e);

	if (rc == 0 && !group_name_valid(name, strlen(name))) {
		rc = err_set(e, KLUIS_EINVAL,
			"'%s' is no name for a group: 1 to %d bytes of UTF-8 without '/' and ':'",
			name, SHARE_NAME_BYTES_MAX);
	}
	rc = rc != 0 ? rc : create_make(people, name, &c, e);
	rc = rc != 0 ? rc : create_keep_key(people, &c, e);
	rc = rc != 0 ? rc : create_send(people, &c, e);
	if (rc == 0) {
		memcpy(ret_id, c.id, ID_BYTES);
	}
	return rc;
}

/* The group's chain of now, as the first section of a change by one of its admins. */
static int group_begin(struct people *people, const uint8_t group_id[ID_BYTES],
	struct share_change *change, struct err *e)
{
	struct membership *m;
	char id[HEX_LEN(ID_BYTES) + 1];
	int rc = person_ready(people_profile(people), e);

	share_change_init(change, people);
	hex_encode(bytes_of(group_id, ID_BYTES), id);
	rc = rc != 0 ? rc : membership_load(people, MEMBER_OBJECT_GROUP, group_id, &m, e);
	if (rc != 0) {
		return rc;
	}
	(void)share_change_add(change, m);
	return share_check_admin(m, people_profile(people), id, e);
}

static int group_role_check(unsigned role, struct err *e)
{
	return role != MEMBER_WRITE
		       ? 0
		       : err_set(e, KLUIS_EINVAL,
				 "in a group one is a member (read) or an admin; what its members "
				 "may do in a vault is the group's role there");
}

int share_group_add(struct people *people, const uint8_t group_id[ID_BYTES],
	const struct share_with *with, unsigned role, struct err *e)
{
	_cleanup_(share_change_release) struct share_change change = {.n = 0};
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	int rc = group_role_check(role, e);

	rc = rc != 0 ? rc : group_begin(people, group_id, &change, e);
	if (rc == 0 && with->kind != MEMBER_USER) {
		rc = err_set(e, KLUIS_EINVAL, "groups have users, not groups, in them");
	}
	if (rc == 0 && members_find(&change.sections[0].membership->members, with->id) != NULL) {
		rc = err_set(e, KLUIS_EEXIST, "'%s' is in the group already", with->name);
	}
	rc = rc != 0 ? rc : share_check_group_verified(people, group_id, with, e);
	share_body_add(&body, with->id, MEMBER_USER, role);
	rc = rc != 0 ? rc
		     : share_statement(
			       &change, &change.sections[0], MEMBER_ADD, buf_bytes(&body), e);
	rc = rc != 0 ? rc
		     : share_give_all(&change, &change.sections[0], with->id, MEMBER_USER, role, e);
	return rc != 0 ? rc : share_send(&change, e);
}

int share_group_set_role(struct people *people, const uint8_t group_id[ID_BYTES],
	const struct share_with *with, unsigned role, struct err *e)
{
	_cleanup_(share_change_release) struct share_change change = {.n = 0};
	int rc = group_role_check(role, e);

	rc = rc != 0 ? rc : group_begin(people, group_id, &change, e);
	rc = rc != 0 ? rc : share_role(&change, &change.sections[0], with, role, e);
	return rc != 0 ? rc : share_send(&change, e);
}

int share_group_transfer(struct people *people, const uint8_t group_id[ID_BYTES],
	const struct share_with *with, struct err *e)
{
	_cleanup_(share_change_release) struct share_change change = {.n = 0};
	int rc = group_begin(people, group_id, &change, e);

	rc = rc != 0 ? rc : share_hand_over(&change, &change.sections[0], with, MEMBER_READ, e);
	return rc != 0 ? rc : share_send(&change, e);
}

/* Of a vault that the cluster denies, or shows members of that do not hold (rc, why): a refusal
 * when this profile has seen the group in it, and its owner as an admin who could have re-keyed it.
 * Of others who is in it proves nothing: anybody can let another one into such a vault. */
static int rekey_unknown(struct share_change *change, const uint8_t group_id[ID_BYTES],
	const uint8_t vault_id[ID_BYTES], int denied, const struct err *shown, struct err *e)
{
	const struct profile *profile = people_profile(change->people);
	_cleanup_(membership_freep) struct membership *m = NULL;
	char id[HEX_LEN(ID_BYTES) + 1];
	struct err why = {0};
	int rc = membership_load_known(change->people, MEMBER_OBJECT_VAULT, vault_id, &m, &why);

	hex_encode(bytes_of(vault_id, ID_BYTES), id);
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : err_set(e, rc, "%s", why.text);
	}
	if (members_find(&m->members, group_id) == NULL ||
		share_check_admin(m, profile, id, NULL) != 0 || vault_restored(profile, vault_id)) {
		return 0;
	}
	if (denied == KLUIS_EVERIFY) {
		return err_set(e, denied,
			"vault %s has the group in it, and is not re-keyed ('kluis vault decline' "
			"leaves it, then 'kluis vault forget' drops it): %s",
			id, shown->text);
	}
	return err_set(e, KLUIS_EPIN,
		"vault %s has the group in it, and the cluster denies it: it was deleted, you are "
		"out of it, or it is kept from being re-keyed ('kluis vault forget' drops it)",
		id);
}

/* A vault of which the group is a member is re-keyed with it; of others nothing changes. */
static int rekey_vault(struct share_change *change, const uint8_t group_id[ID_BYTES],
	const uint8_t vault_id[ID_BYTES], struct err *e)
{
	_cleanup_(membership_freep) struct membership *m = NULL;
	char id[HEX_LEN(ID_BYTES) + 1];
	struct err why = {0};
	int rc = membership_load(change->people, MEMBER_OBJECT_VAULT, vault_id, &m, &why);

	hex_encode(bytes_of(vault_id, ID_BYTES), id);
	if (vault_denied(rc) || rc == KLUIS_EVERIFY) {
		return rekey_unknown(change, group_id, vault_id, rc, &why, e);
	}
	if (rc != 0) {
		return err_set(e, rc, "vault %s: %s", id, why.text);
	}
	if (members_find(&m->members, group_id) == NULL) {
		return 0;
	}
	rc = share_check_admin(m, people_profile(change->people), id, e);
	if (rc == 0) {
		struct share_section *section = share_change_add(change, m);

		m = NULL;
		rc = share_rotate_vault(change, section, e);
	}
	return rc;
}

static int rekey_vaults(
	struct share_change *change, const uint8_t group_id[ID_BYTES], struct err *e)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	size_t n = 0;
	int rc = vault_all_ids(
		people_profile(change->people), people_client(change->people), &ids, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = rekey_vault(change, group_id, ids[i], e);
	}
	return rc;
}

int share_group_remove(struct people *people, const uint8_t group_id[ID_BYTES],
	const struct share_with *with, size_t *ret_vaults, struct err *e)
{
	_cleanup_(share_change_release) struct share_change change = {.n = 0};
	_cleanup_(secret_release) struct secret secret = SECRET_INIT;
	struct packets_taken taken;
	int rc = group_begin(people, group_id, &change, e);

	/* After all who were taken out before, whatever clock that was by: a key of then is none
	 * that a vault has had since. */
	if (rc == 0) {
		share_change_not_before(
			&change, membership_left_ms(change.sections[0].membership) + 1);
	}
	if (rc == 0 && with != NULL &&
		members_find(&change.sections[0].membership->members, with->id) == NULL) {
		rc = err_set(e, KLUIS_ENOTFOUND, "'%s' is not in the group", with->name);
	}
	rc = rc != 0 || with == NULL ? rc
				     : share_check_not_last(change.sections[0].membership, with, e);
	rc = rc != 0 || with == NULL ? rc
				     : share_statement(&change, &change.sections[0], MEMBER_REMOVE,
					       bytes_of(with->id, ID_BYTES), e);
	rc = rc != 0 ? rc : share_group_key(&change, &change.sections[0], e);
	if (rc != 0) {
		return rc;
	}
	group_secret(change.sections[0].group_key, &secret);
	rc = share_rotate(&change, &change.sections[0], secret_bytes(&secret), e);
	rc = rc != 0 ? rc : rekey_vaults(&change, group_id, e);
	rc = rc != 0 ? rc : share_send(&change, e);
	/* All at once: by itself each would be another version of the keyring. */
	rc = rc != 0 ? rc : packets_take(people, NULL, &taken, e);
	if (rc == 0) {
		*ret_vaults = change.n - 1;
	}
	return rc;
}

int share_group_delete(struct people *people, const uint8_t group_id[ID_BYTES], struct err *e)
{
	char target[API_TARGET_MAX];
	int rc = person_ready(people_profile(people), e);

	api_target(target, "groups", group_id, "%s", "");
	return rc != 0 ? rc
		       : api_json(people_client(people), "DELETE", target, NULL, CLIENT_AUTH, NULL,
				 e);
}
