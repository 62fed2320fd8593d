/* What `kluisctl bench` asks a cluster for: pages put and read as any client does it, each client
 * in a vault of its own, so that its chain of signed heads depends on nobody else's. Whatever a
 * client computes (sealing, tree, signature) is made before the clock runs. */
#ifndef KLUIS_CLI_LOAD_PAGE_LOAD_H
#define KLUIS_CLI_LOAD_PAGE_LOAD_H

#include "cli/client/api.h"
#include "cli/client/profile.h"
#include "cli/load/load_report.h"

/* The label of its vaults, in clear: what a run that was cut off left behind is found by it. */
#define PAGE_LOAD_LABEL "kluisctl bench"

enum {
	PAGE_LOAD_PAGES_MAX = 1 << 20,
};
#define PAGE_LOAD_BYTES_MAX (2ULL << 30) /* Of requests in memory. */

enum page_consistency { PAGE_LINEARIZABLE, PAGE_STALE };

struct page_load_config {
	struct profile *profile; /* Enrolled; outlives this. */
	const char *host;	 /* Of the header; copied. */
	const char *token;	 /* Of the session; copied. */
	unsigned clients;
	unsigned bucket;       /* log2 of a page's plaintext, PAGE_BUCKET_MIN .. PAGE_BUCKET_MAX. */
	unsigned read_percent; /* Of the requests: 0 only puts, 100 only gets. */
	bool staged;	       /* Puts are uploads ahead of a commit that never comes. */
	enum page_consistency consistency;
	uint64_t seed; /* Of which pages are read. */
};

/* What the clients' own work took, in all. */
struct page_load_cost {
	uint64_t requests;
	uint64_t seal_ns; /* Making pages: encryption, MAC, SHA-256. */
	uint64_t sign_ns; /* Making heads: tree, signature. */
};

struct page_load;

/* Makes the requests that create the vaults, one for each client. Any error of crypto/. */
KLUIS_MUST_CHECK int page_load_new(
	const struct page_load_config *config, struct page_load **ret_pages, struct err *e);
void page_load_free(struct page_load *pages); /* NULL is fine. */
/* Bytes of one page on the wire. */
size_t page_load_page_bytes(const struct page_load *pages);

/* Makes n more puts for each client, each of a new page. KLUIS_ETOOLARGE when all requests
 * together would need more than PAGE_LOAD_BYTES_MAX. */
KLUIS_MUST_CHECK int page_load_prepare(struct page_load *pages, unsigned n, struct err *e);
/* How many more puts each client may prepare within that. */
unsigned page_load_room(const struct page_load *pages);
/* How many requests page_load_mix has for each client from now on; UINT64_MAX (as at first): as
 * many as are asked for, while puts are left. */
void page_load_set_budget(struct page_load *pages, uint64_t requests);
/* Of everything prepared so far. */
const struct page_load_cost *page_load_cost(const struct page_load *pages);

/* To be run in this order, arg is the struct page_load: each client's vault; all puts that are
 * prepared; the measured mix (reads ask for pages whose put was answered, and compare every byte).
 */
extern const struct load_workload page_load_create, page_load_fill, page_load_mix;

/* Deletes the account's vaults of that label, whoever made them, one after the other: those of this
 * run, and what an earlier one left. */
KLUIS_MUST_CHECK int page_load_remove(struct client *client, struct err *e);

#endif
