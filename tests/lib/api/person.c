#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "crypto/merkle.h"
#include "tests/lib/api/person.h"

static void must(int rc, const struct err *e)
{
	if (rc != 0) {
		fail_msg("%s: %s", err_name(rc), e->text);
	}
}

static void person_statements(struct person *p)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct identity identity;
	struct err e = {0};

	identity_init(&identity);
	must(identity_genesis(p->user_id, p->name, p->signing, key_public(p->transfer), 1000,
		     &p->genesis, &e),
		&e);
	must(identity_append(&identity, buf_bytes(&p->genesis), &e), &e);
	memcpy(p->genesis_hash, identity.genesis_hash, 32);
	identity_body_device(
		&body, p->device_id, key_public(p->device), key_public(p->transfer), "laptop");
	must(identity_make(&identity, IDENTITY_DEVICE_ADD, buf_bytes(&body), p->signing, 1001,
		     &p->device_statement, &e),
		&e);
	must(identity_append(&identity, buf_bytes(&p->device_statement), &e), &e);
	memcpy(p->device_hash, identity.head_hash, 32);
	identity_release(&identity);
}

void person_init(struct person *p, const char *name)
{
	person_init_as(p, name, NULL);
}

void person_init_as(struct person *p, const char *name, const uint8_t *user_id)
{
	struct statement create;
	struct err e = {0};

	memset(p, 0, sizeof *p);
	(void)snprintf(p->name, sizeof p->name, "%s", name);
	random_fill(&random_system, p->user_id, 16);
	if (user_id != NULL) {
		memcpy(p->user_id, user_id, 16);
	}
	random_fill(&random_system, p->device_id, 16);
	random_fill(&random_system, p->vault_id, 16);
	random_fill(&random_system, p->vault_key, 32);
	must(key_generate(KEY_RSA_PSS, 2048, &p->signing, &e), &e);
	must(key_generate(KEY_KEM_P256, 0, &p->transfer, &e), &e);
	must(key_generate(KEY_ECDSA_P256, 0, &p->device, &e), &e);
	person_statements(p);
	must(members_create(p->vault_id, MEMBER_OBJECT_VAULT, p->user_id, NULL, p->device, 1002,
		     &p->create, &e),
		&e);
	must(statement_parse(CHAIN_MEMBERS, buf_bytes(&p->create), &create, &e), &e);
	memcpy(p->members_hash, create.hash, 32);
}

void person_release(struct person *p)
{
	key_free(p->signing);
	key_free(p->transfer);
	key_free(p->device);
	buf_release(&p->genesis);
	buf_release(&p->device_statement);
	buf_release(&p->create);
}

void person_prove(
	const struct person *p, const uint8_t cluster_id[16], const char *token, struct buf *to)
{
	struct proof_enrol proof = {.token = bytes_str(token), .account = bytes_str(p->name)};
	struct err e = {0};

	memcpy(proof.cluster_id, cluster_id, 16);
	memcpy(proof.genesis_hash, p->genesis_hash, 32);
	memcpy(proof.device_hash, p->device_hash, 32);
	must(proof_enrol_sign(&proof, p->device, to, &e), &e);
}

void person_login(const struct person *p, const uint8_t cluster_id[16], const uint8_t challenge[32],
	struct buf *to)
{
	struct proof_login proof;
	struct err e = {0};

	memcpy(proof.cluster_id, cluster_id, 16);
	memcpy(proof.challenge, challenge, 32);
	memcpy(proof.user_id, p->user_id, 16);
	memcpy(proof.device_id, p->device_id, 16);
	must(proof_login_sign(&proof, p->device, to, &e), &e);
}

static void person_sign_head(struct person *p, struct buf *to)
{
	struct head parsed;
	struct err e = {0};
	size_t at = to->len;

	memcpy(p->next.vault_id, p->vault_id, 16);
	memcpy(p->next.user_id, p->user_id, 16);
	memcpy(p->next.device_id, p->device_id, 16);
	memcpy(p->next.members_hash, p->members_hash, 32);
	p->next.key_epoch = p->next.members_rev = 1;
	p->next.unix_ms = 2000 + p->next.seq;
	must(head_sign(&p->next, p->device, to, &e), &e);
	must(head_parse(bytes_of(to->data + at, to->len - at), &parsed, &e), &e);
	memcpy(p->next_hash, parsed.hash, 32);
}

void person_first_head(struct person *p, struct buf *to)
{
	p->next = (struct head){.seq = 1};
	hash_sha256(bytes_of(NULL, 0), p->next.merkle_root);
	person_sign_head(p, to);
}

void person_page(const struct person *p, uint64_t page_no, uint64_t revision, const char *text,
	struct buf *to)
{
	struct page_spec spec = {
		.place = {.page_no = page_no, .revision = revision, .key_epoch = 1},
		.sym = SYM_AES_256,
		.kind = PAGE_CHUNK,
	};
	struct err e = {0};

	memcpy(spec.place.vault_id, p->vault_id, 16);
	memcpy(spec.device_id, p->device_id, 16);
	must(page_seal(bytes_of(p->vault_key, 32), &spec, bytes_str(text), &random_system, to, &e),
		&e);
}

void person_head(struct person *p, uint64_t page_no, struct bytes page, struct buf *to)
{
	struct page_header header;
	struct merkle *tree;
	uint8_t hash[32];
	struct err e = {0};

	must(page_parse(page, &header, &e), &e);
	hash_sha256(page, hash);
	page_leaf(&header.place, hash, p->leaf[page_no]);
	p->next = (struct head){.seq = p->seq + 1};
	memcpy(p->next.prev_hash, p->head_hash, 32);
	p->next.page_count = page_no >= p->page_count ? page_no + 1 : p->page_count;
	for (uint64_t i = p->page_count; i < p->next.page_count; i++) {
		if (i != page_no) {
			page_leaf_unwritten(p->vault_id, i, p->leaf[i]);
		}
	}
	tree = merkle_new();
	merkle_load(tree, bytes_of(p->leaf, 32 * p->next.page_count));
	merkle_root(tree, p->next.merkle_root);
	merkle_free(tree);
	person_sign_head(p, to);
}

void person_committed(struct person *p, uint64_t page_no)
{
	if (p->next.seq > 1) {
		p->revision[page_no]++;
	}
	p->seq = p->next.seq;
	p->page_count = p->next.page_count;
	memcpy(p->head_hash, p->next_hash, 32);
}
