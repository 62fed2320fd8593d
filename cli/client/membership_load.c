/* Membership chains between the cluster and the profile, which pins what it saw. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "cli/client/json_reader.h"
#include "cli/client/membership.h"

static char *chain_file(const uint8_t object_id[ID_BYTES])
{
	char id[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(object_id, ID_BYTES), id);
	return x_asprintf("members/%s", id);
}

/* lineage16 | lp32 of each statement. */
int membership_parse(struct membership *m, struct bytes payload, struct people_source *people,
	uint8_t ret_lineage[ID_BYTES], struct err *e)
{
	struct wire w = wire_of(payload);
	int rc = 0;

	wire_copy(&w, ret_lineage, ID_BYTES);
	while (rc == 0 && w.left.len > 0 && wire_ok(&w)) {
		struct bytes statement = wire_lp32(&w, STATEMENT_BYTES_MAX);

		rc = wire_ok(&w) ? membership_extend(m, statement, people, false, e) : 0;
	}
	if (rc == 0 && (!wire_end(&w) || m->members.seq == 0)) {
		rc = err_set(e, KLUIS_ECORRUPT, "membership: malformed");
	}
	return rc;
}

int membership_store(const struct membership *m, const struct profile *profile, struct err *e)
{
	_cleanup_(x_freep) char *name = chain_file(m->members.object_id);
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	int rc = profile_make_dir(profile, "members", e);

	assert(m->members.seq > 0);
	buf_append(&payload, profile->lineage, ID_BYTES);
	buf_append_bytes(&payload, buf_bytes(&m->chain));
	return rc != 0 ? rc : profile_write(profile, name, PROFILE_MEMBERS, buf_bytes(&payload), e);
}

bool membership_has_changed(const struct profile *profile, const uint8_t object_id[ID_BYTES])
{
	_cleanup_(x_freep) char *name = chain_file(object_id);
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	struct wire w;
	size_t n = 0;

	if (profile_read(profile, name, PROFILE_MEMBERS, MEMBERSHIP_BYTES_MAX, &payload, NULL) !=
		0) {
		return false;
	}
	w = wire_of(buf_bytes(&payload));
	(void)wire_bytes(&w, ID_BYTES);
	while (w.left.len > 0 && wire_ok(&w)) {
		(void)wire_lp32(&w, STATEMENT_BYTES_MAX);
		n++;
	}
	return n > 1;
}

/* As it lies in the profile. */
static int chain_stored(struct people *people, const uint8_t object_id[ID_BYTES],
	struct buf *ret_payload, struct err *e)
{
	_cleanup_(x_freep) char *name = chain_file(object_id);

	return profile_read(people_profile(people), name, PROFILE_MEMBERS, MEMBERSHIP_BYTES_MAX,
		ret_payload, e);
}

static int chain_verify(struct people *people, unsigned kind, const uint8_t object_id[ID_BYTES],
	struct bytes payload, struct membership *m, struct err *e)
{
	uint8_t lineage[ID_BYTES];
	int rc = membership_parse(m, payload, people_source(people), lineage, e);

	if (rc == 0 && (memcmp(m->members.object_id, object_id, ID_BYTES) != 0 ||
			       m->members.kind != kind)) {
		rc = err_set(
			e, KLUIS_ECORRUPT, "a list of members in the profile: of another object");
	}
	return rc;
}

/* The cluster was restored since it was stored, as the user accepted. */
static bool chain_restored(struct people *people, struct bytes payload)
{
	return payload.len >= ID_BYTES &&
	       memcmp(payload.data, people_profile(people)->lineage, ID_BYTES) != 0;
}

int membership_load_known(struct people *people, unsigned kind, const uint8_t object_id[ID_BYTES],
	struct membership **ret_membership, struct err *e)
{
	_cleanup_(membership_freep) struct membership *m = membership_new();
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	int rc = chain_stored(people, object_id, &payload, e);

	rc = rc != 0 ? rc : chain_verify(people, kind, object_id, buf_bytes(&payload), m, e);
	/* Who signed it may be as she was before, too. */
	if (rc == KLUIS_EVERIFY && chain_restored(people, buf_bytes(&payload))) {
		return err_set(e, KLUIS_ENOTFOUND, "its members were restored");
	}
	if (rc == 0) {
		*ret_membership = m;
		m = NULL;
	}
	return rc;
}

/* A statement as the list has it. */
static int item_statement(const json_t *item, struct buf *ret_statement, struct err *e)
{
	const char *text = json_string_value(item);
	json_t *object =
		text == NULL ? json_incref((json_t *)item) : json_pack("{s:s}", "statement", text);
	struct json_reader r = json_reader_of(object);
	int rc;

	json_reader_base64(&r, "statement", STATEMENT_BYTES_MAX, ret_statement);
	rc = json_reader_end(&r, "membership", e);
	json_decref(object);
	return rc;
}

static int chain_fetch(struct people *people, unsigned kind, const uint8_t object_id[ID_BYTES],
	uint64_t since, json_t **ret_items, struct err *e)
{
	char target[API_TARGET_MAX];

	api_target(target, membership_kind_path(kind), object_id, "/members/chain?since=%" PRIu64,
		since);
	return api_list(people_client(people), target, CLIENT_AUTH | CLIENT_READ,
		CHAIN_STATEMENTS_MAX, ret_items, e);
}

int membership_shows_signer(struct people *people, unsigned kind, const uint8_t object_id[ID_BYTES],
	const uint8_t kid[KID_BYTES], bool *ret_any, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc = chain_fetch(people, kind, object_id, 0, &items, e);

	*ret_any = false;
	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		_cleanup_(buf_release) struct buf encoded = BUF_INIT;
		struct statement s;

		rc = item_statement(json_array_get(items, i), &encoded, e);
		rc = rc != 0 ? rc : statement_parse(CHAIN_MEMBERS, buf_bytes(&encoded), &s, e);
		*ret_any = *ret_any || (rc == 0 && memcmp(s.kid, kid, KID_BYTES) == 0);
	}
	return rc;
}

/* The first of what was asked for is the pinned one again. */
static int chain_check_pinned(const struct membership *m, const json_t *items, struct err *e)
{
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	struct statement s;
	int rc;

	if (json_array_size(items) == 0) {
		return err_set(e, KLUIS_EPIN,
			"the cluster shows an older list of members than this device has seen "
			"(change %" PRIu64 "): it was rolled back. Ask the operator what was lost, "
			"and why",
			m->members.seq);
	}
	rc = item_statement(json_array_get(items, 0), &encoded, e);
	rc = rc != 0 ? rc : statement_parse(CHAIN_MEMBERS, buf_bytes(&encoded), &s, e);
	if (rc == 0 && memcmp(s.hash, m->members.hash, HASH_BYTES) != 0) {
		rc = err_set(e, KLUIS_EPIN,
			"the cluster shows another list of members than this device has seen "
			"(fork at change %" PRIu64 "). Do not go on: ask the other members",
			m->members.seq);
	}
	return rc;
}

static int chain_take(struct membership *m, struct people *people, const json_t *items, size_t from,
	struct err *e)
{
	int rc = 0;

	for (size_t i = from; rc == 0 && i < json_array_size(items); i++) {
		_cleanup_(buf_release) struct buf encoded = BUF_INIT;

		rc = item_statement(json_array_get(items, i), &encoded, e);
		rc = rc != 0 ? rc
			     : membership_extend(
				       m, buf_bytes(&encoded), people_source(people), true, e);
	}
	if (rc == 0 && m->members.loose) {
		rc = err_set(e, KLUIS_EVERIFY,
			"the last change of its members is by a device that was revoked, and "
			"nobody vouches for it");
	}
	return rc;
}

static int chain_check_object(
	const struct membership *m, unsigned kind, const uint8_t object_id[ID_BYTES], struct err *e)
{
	return m->members.kind == kind && memcmp(m->members.object_id, object_id, ID_BYTES) == 0
		       ? 0
		       : err_set(e, KLUIS_EVERIFY,
				 "the cluster shows the members of something else");
}

int membership_refresh(struct membership *m, struct people *people, struct err *e)
{
	uint64_t seq = m->members.seq;
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc = chain_fetch(people, m->members.kind, m->members.object_id, seq - 1, &items, e);

	assert(seq > 0);
	rc = rc != 0 ? rc : chain_check_pinned(m, items, e);
	rc = rc != 0 ? rc : chain_take(m, people, items, 1, e);
	return rc != 0 || m->members.seq == seq ? rc
						: membership_store(m, people_profile(people), e);
}

static int chain_load_new(struct people *people, unsigned kind, const uint8_t object_id[ID_BYTES],
	struct membership *m, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc = chain_fetch(people, kind, object_id, 0, &items, e);

	if (rc == 0 && json_array_size(items) == 0) {
		rc = err_set(e, KLUIS_EVERIFY, "the cluster shows no members of it");
	}
	rc = rc != 0 ? rc : chain_take(m, people, items, 0, e);
	return rc != 0 ? rc : chain_check_object(m, kind, object_id, e);
}

/* After an operator's restore that the user accepted: what the cluster has is an earlier part of
 * what was seen, and perhaps other changes behind it, made since in place of those that were lost.
 * Which of the known ones were, nobody can tell, and who signed those may be as she was before,
 * too: it begins as what was seen, and proves itself. */
static int chain_load_restored(struct people *people, unsigned kind,
	const uint8_t object_id[ID_BYTES], struct bytes stored, struct membership *m, struct err *e)
{
	struct wire w = wire_of(stored);
	struct statement create;
	int rc;

	(void)wire_bytes(&w, ID_BYTES);
	rc = statement_parse(CHAIN_MEMBERS, wire_lp32(&w, STATEMENT_BYTES_MAX), &create, e);
	rc = rc != 0 ? rc : chain_load_new(people, kind, object_id, m, e);
	if (rc == 0 && memcmp(m->steps[0].hash, create.hash, HASH_BYTES) != 0) {
		rc = err_set(e, KLUIS_EPIN,
			"the restored cluster shows another list of members than this device saw, "
			"from the beginning");
	}
	return rc;
}

/* refresh: also brings up to date what the profile has of this lineage. */
static int chain_load(struct people *people, unsigned kind, const uint8_t object_id[ID_BYTES],
	bool refresh, struct membership **ret_membership, struct err *e)
{
	_cleanup_(membership_freep) struct membership *m = membership_new();
	_cleanup_(buf_release) struct buf payload = BUF_INIT;
	struct err why = {0};
	int rc = chain_stored(people, object_id, &payload, &why);

	if (rc == KLUIS_ENOTFOUND) {
		rc = chain_load_new(people, kind, object_id, m, e);
		rc = rc != 0 ? rc : membership_store(m, people_profile(people), e);
	} else if (rc != 0) {
		return err_set(e, rc, "%s", why.text);
	} else if (chain_restored(people, buf_bytes(&payload))) {
		rc = chain_load_restored(people, kind, object_id, buf_bytes(&payload), m, e);
		rc = rc != 0 ? rc : membership_store(m, people_profile(people), e);
	} else {
		rc = chain_verify(people, kind, object_id, buf_bytes(&payload), m, e);
		rc = rc != 0 || !refresh ? rc : membership_refresh(m, people, e);
	}
	if (rc == 0) {
		*ret_membership = m;
		m = NULL;
	}
	return rc;
}

int membership_load(struct people *people, unsigned kind, const uint8_t object_id[ID_BYTES],
	struct membership **ret_membership, struct err *e)
{
	return chain_load(people, kind, object_id, true, ret_membership, e);
}

int membership_load_seen(struct people *people, unsigned kind, const uint8_t object_id[ID_BYTES],
	struct membership **ret_membership, struct err *e)
{
	return chain_load(people, kind, object_id, false, ret_membership, e);
}
