/* A client with real keys: what it signs is what the node's checks want to see. */
#ifndef KLUIS_TESTS_LIB_API_PERSON_H
#define KLUIS_TESTS_LIB_API_PERSON_H

#include "crypto/head.h"
#include "crypto/identity.h"
#include "crypto/member.h"
#include "crypto/page.h"
#include "crypto/proof.h"

enum { PERSON_PAGES_MAX = 16 };

struct person {
	char name[32];
	uint8_t user_id[16], device_id[16], vault_id[16];
	struct key *signing, *transfer, *device;
	struct buf genesis, device_statement, create;
	uint8_t genesis_hash[32], device_hash[32], members_hash[32];
	uint8_t vault_key[32];
	/* The vault as last committed. */
	uint64_t seq, page_count;
	uint8_t head_hash[32];
	uint64_t revision[PERSON_PAGES_MAX];
	uint8_t leaf[PERSON_PAGES_MAX][32];
	/* The head that was last made. */
	struct head next;
	uint8_t next_hash[32];
};

/* Makes keys (RSA-2048), statements and ids. Fails the test on error. */
void person_init(struct person *p, const char *name);
/* ... with this user id; NULL: any. */
void person_init_as(struct person *p, const char *name, const uint8_t *user_id);
void person_release(struct person *p);
/* The proof for an enrolment token, 64 bytes appended. */
void person_prove(
	const struct person *p, const uint8_t cluster_id[16], const char *token, struct buf *to);
void person_login(const struct person *p, const uint8_t cluster_id[16], const uint8_t challenge[32],
	struct buf *to);
/* The first head of the vault (290 bytes appended). */
void person_first_head(struct person *p, struct buf *to);
/* A sealed page with this text. */
void person_page(const struct person *p, uint64_t page_no, uint64_t revision, const char *text,
	struct buf *to);
/* The signed head that follows when `page` becomes page_no's next revision. */
void person_head(struct person *p, uint64_t page_no, struct bytes page, struct buf *to);
/* The commit was taken. */
void person_committed(struct person *p, uint64_t page_no);

#endif
