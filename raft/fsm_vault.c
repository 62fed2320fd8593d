#include <assert.h>
#include <string.h>

#include "crypto/head.h"
#include "crypto/member.h"
#include "raft/fsm_apply.h"
#include "storage/deletion_store.h"
#include "storage/object_store.h"

/* A vault being made: what the client signed. */
struct vault_birth {
	struct session_row session;
	struct statement create;
	struct head head;
};

static int birth_check_create(struct apply *a, const struct vault_birth *b)
{
	const struct statement *s = &b->create;
	static const uint8_t zero[32];
	struct wire body = wire_of(s->body);
	uint8_t kind = wire_u8(&body);
	struct bytes founder = wire_bytes(&body, 16);

	wire_zeros(&body, 16); /* Vaults have no group key. */
	if (!wire_end(&body) || s->type != MEMBER_CREATE || s->seq != 1 ||
		memcmp(s->prev_hash, zero, 32) != 0 || kind != MEMBER_OBJECT_VAULT ||
		s->sig != KEY_ECDSA_P256) {
		return err_set(a->e, KLUIS_EINVAL, "no create statement of a vault");
	}
	if (memcmp(founder.data, b->session.user_id, 16) != 0) {
		return err_set(a->e, KLUIS_EFORBIDDEN, "the vault is founded by another user");
	}
	return 0;
}

static int birth_check_head(struct apply *a, const struct vault_birth *b)
{
	static const struct bytes nothing;
	const struct head *h = &b->head;
	uint8_t empty[HASH_BYTES];

	hash_sha256(nothing, empty);
	if (memcmp(h->vault_id, b->create.object_id, 16) != 0 || h->seq != 1 || h->key_epoch != 1 ||
		h->members_rev != 1 || h->page_count != 0 ||
		memcmp(h->members_hash, b->create.hash, 32) != 0 ||
		memcmp(h->merkle_root, empty, 32) != 0) {
		return err_set(a->e, KLUIS_EINVAL, "no first head of this vault");
	}
	if (memcmp(h->user_id, b->session.user_id, 16) != 0 ||
		memcmp(h->device_id, b->session.device_id, 16) != 0) {
		return err_set(a->e, KLUIS_EFORBIDDEN, "the head is by another device");
	}
	return 0;
}

static int birth_parse(struct apply *a, const struct command_vault_create *c, struct vault_birth *b)
{
	int rc = apply_device_session(a, &c->session, &b->session);

	if (rc != 0) {
		return rc;
	}
	rc = statement_parse(CHAIN_MEMBERS, c->create, &b->create, a->e);
	if (rc == 0) {
		rc = head_parse(c->head, &b->head, a->e);
	}
	if (rc != 0) {
		return apply_refusal(rc);
	}
	rc = birth_check_create(a, b);
	return rc == 0 ? birth_check_head(a, b) : rc;
}

/* 1: this very vault is there already, made by this user. 0: the id is free. */
static int birth_is_retry(struct apply *a, const struct vault_birth *b)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct head_row first;
	struct vault_row vault;
	bool taken = false;
	int rc = vault_store_get(a->view, b->head.vault_id, &vault, a->e);

	if (rc == KLUIS_ENOTFOUND) {
		rc = object_id_taken(a->view, b->head.vault_id, &taken, a->e);
		return rc == 0 && taken ? err_set(a->e, KLUIS_EEXIST, "the id is taken") : rc;
	}
	if (rc == 0 && vault.state == VAULT_ACTIVE) {
		rc = head_store_get(a->view, b->head.vault_id, 1, &value, &first, a->e);
		if (rc == 0 && memcmp(first.hash, b->head.hash, 32) == 0) {
			return 1;
		}
	}
	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? err_set(a->e, KLUIS_ECORRUPT, "a head is missing")
					     : rc;
	}
	return err_set(a->e, KLUIS_EEXIST, "the vault's id is taken");
}

static int birth_write(
	struct apply *a, const struct command_vault_create *c, const struct vault_birth *b)
{
	struct head_row first = {.seq = 1, .committed_ms = a->now_ms, .signed_head = c->head};
	struct member_row founder = {
		.kind = MEMBER_USER, .state = MEMBER_ACCEPTED, .role = MEMBER_ADMIN};
	struct vault_row vault = {.state = VAULT_ACTIVE,
		.created_ms = a->now_ms,
		.revision = 1,
		.seq = 1,
		.key_epoch = 1,
		.chain_epoch = 1,
		.members_rev = 1,
		.counted = apply_knows_persons(a),
		.label_bytes = (uint16_t)c->label.len};
	int rc;

	memcpy(vault.vault_id, b->head.vault_id, 16);
	memcpy(vault.founder, b->session.user_id, 16);
	memcpy(vault.head_hash, b->head.hash, 32);
	memcpy(vault.members_hash, b->create.hash, 32);
	if (c->label.len > 0) {
		memcpy(vault.label, c->label.data, c->label.len);
	}
	memcpy(first.hash, b->head.hash, 32);
	vault_store_put(a->txn, &vault);
	head_store_put(a->txn, vault.vault_id, &first);
	member_statement_put(a->txn, vault.vault_id, 1, c->create);
	memcpy(founder.object_id, vault.vault_id, 16);
	memcpy(founder.member_id, b->session.user_id, 16);
	member_store_put(a->txn, MEMBER_OBJECT_VAULT, &founder);
	rc = apply_access(a, &b->session, ACCESS_VAULT_CREATED, bytes_of(vault.vault_id, 16));
	return rc != 0 ? rc
		       : apply_audit_user(a, COMMAND_VAULT_CREATE, b->session.user_id,
				 bytes_of(vault.vault_id, 16));
}

/* Up to max vaults that she is in by her own will: an invitation takes no room. */
static int birth_vaults(struct apply *a, const uint8_t user_id[16], size_t max, size_t *ret_n)
{
	_cleanup_(x_freep) struct member_of *rows = x_calloc(LIST_LIMIT_MAX, sizeof *rows);
	const uint8_t *last = NULL;
	uint8_t place[16];
	size_t n = 0, found = 0, seen = 0;
	int rc;

	do {
		rc = member_store_objects(a->view, MEMBER_OBJECT_VAULT, user_id, last, rows,
			LIST_LIMIT_MAX, &n, a->e);
		for (size_t i = 0; rc == 0 && i < n; i++) {
			found += rows[i].state == MEMBER_ACCEPTED;
			last = memcpy(place, rows[i].object_id, 16);
		}
		seen += n;
	} while (rc == 0 && n == LIST_LIMIT_MAX && found < max && seen < 2 * PERSON_VAULTS_MAX);
	/* Whoever has so many invitations may decline some first. */
	*ret_n = seen < 2 * PERSON_VAULTS_MAX ? found : max;
	return rc;
}

/* As many vaults as the operator allows a person. */
static int birth_quota(struct apply *a, const struct vault_birth *b)
{
	struct person_row person;
	size_t n = 0;
	int rc = person_store_get(a->view, b->session.user_id, &person, a->e);

	if (rc != 0 || person.vaults_max == 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	rc = birth_vaults(a, b->session.user_id, person.vaults_max, &n);
	return rc == 0 && n >= person.vaults_max
		       ? err_set(a->e, KLUIS_EQUOTA, "as many vaults as are allowed")
		       : rc;
}

static int birth_run(struct apply *a, const struct command_vault_create *c, struct vault_birth *b)
{
	struct bytes principal = bytes_of(b->session.user_id, 16);
	int rc = apply_once_begin(a, principal, COMMAND_VAULT_CREATE, &c->once);

	if (rc != 0 || a->replayed) {
		return rc;
	}
	memcpy(a->reply.id, b->head.vault_id, 16);
	a->reply.number = 1;
	memcpy(a->reply.hash, b->head.hash, 32);
	rc = birth_is_retry(a, b);
	if (rc != 0) {
		return rc > 0 ? 0 : rc;
	}
	rc = apply_writable(a);
	rc = rc != 0 ? rc : birth_quota(a, b);
	if (rc == 0) {
		rc = birth_write(a, c, b);
	}
	if (rc == 0) {
		apply_once_end(a, principal, COMMAND_VAULT_CREATE, &c->once, false);
	}
	return rc;
}

int apply_vault_create(struct apply *a, const struct command_vault_create *c)
{
	struct vault_birth b;
	int rc = birth_parse(a, c, &b);

	return rc == 0 ? birth_run(a, c, &b) : rc;
}

/* The vault for a change of itself: role and the revision that If-Match named. */
static int vault_open(struct apply *a, const struct command_session *s, const uint8_t vault_id[16],
	unsigned role_min, uint64_t revision, struct session_row *session, struct vault_row *vault)
{
	unsigned role;
	int rc = apply_device_session(a, s, session);

	if (rc == 0) {
		rc = vault_store_check(
			a->view, vault_id, session->user_id, role_min, vault, &role, a->e);
	}
	if (rc == 0 && vault->revision != revision) {
		rc = err_set(a->e, KLUIS_EPRECONDITION, "the vault has another revision");
	}
	return rc;
}

int apply_vault_patch(struct apply *a, const struct command_vault_patch *c)
{
	struct session_row session;
	struct vault_row vault;
	int rc = vault_open(
		a, &c->session, c->vault_id, MEMBER_WRITE, c->revision, &session, &vault);

	if (rc == 0) {
		rc = apply_writable(a);
	}
	if (rc != 0) {
		return rc;
	}
	vault.revision++;
	memset(vault.label, 0, sizeof vault.label);
	vault.label_bytes = (uint16_t)c->label.len;
	if (c->label.len > 0) {
		memcpy(vault.label, c->label.data, c->label.len);
	}
	vault_store_put(a->txn, &vault);
	a->reply.number = vault.revision;
	return 0;
}

int apply_vault_delete(struct apply *a, const struct command_vault_delete *c)
{
	struct session_row session;
	struct vault_row vault;
	int rc = vault_open(
		a, &c->session, c->vault_id, MEMBER_ADMIN, c->revision, &session, &vault);

	if (rc == 0) {
		/* Its rows go in bounded steps (apply_expire). */
		rc = deletion_vault(a->txn, &vault, a->index, a->now_ms, a->e);
	}
	if (rc == 0) {
		rc = apply_access(a, &session, ACCESS_VAULT_DELETED, bytes_of(c->vault_id, 16));
	}
	if (rc != 0) {
		return rc;
	}
	return apply_audit_user(
		a, COMMAND_VAULT_DELETE, session.user_id, bytes_of(c->vault_id, 16));
}
