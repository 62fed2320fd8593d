/* Every call of kluis_api.h against a node, built as any program is: against the installed headers.
 *   calls PROFILE_DIR       of an enrolled account with the vault "notes" that holds /letters/first
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kluis_api.h>

#include "tests/interop/library.d/check.h"

struct seen {
	struct kluis_vault vault;
	struct kluis_session session;
	unsigned char create[4096];
	size_t vaults, sessions, pages, page_len;
};

static void see_vault(void *arg, const struct kluis_vault *vault)
{
	struct seen *seen = arg;

	seen->vault = *vault;
	seen->vaults++;
	CHECK(vault->create_len <= sizeof seen->create);
	if (vault->create_len > 0) {
		memcpy(seen->create, vault->create, vault->create_len);
	}
}

static void see_session(void *arg, const struct kluis_session *session)
{
	struct seen *seen = arg;

	seen->sessions++;
	if (session->current) {
		seen->session = *session;
	}
}

static void see_page(void *arg, uint64_t page_no, const void *page, size_t len)
{
	struct seen *seen = arg;

	CHECK(page_no == (seen->pages == 0 ? 0 : 12345));
	CHECK(page != NULL || len == 0);
	seen->page_len += len;
	seen->pages++;
}

static void cluster_calls(struct kluis *k)
{
	struct kluis_node_version version;
	struct kluis_cluster *cluster;
	struct kluis_limits limits;
	struct kluis_ready ready;

	MUST(kluis_api_cluster(k, &cluster, &failure));
	CHECK(strncmp(cluster->ca_pem, "-----BEGIN", 10) == 0);
	for (size_t i = 0; i < cluster->n_sites; i++) {
		CHECK(cluster->sites[i].node > 0 && cluster->sites[i].name != NULL);
		CHECK(cluster->sites[i].n_endpoints == 0 ||
			strncmp(cluster->sites[i].endpoints[0], "https://", 8) == 0);
	}
	kluis_cluster_free(cluster);
	MUST(kluis_api_limits(k, &limits, &failure));
	CHECK(limits.page_bytes == KLUIS_PAGE_BYTES_MAX && limits.pages_get == KLUIS_PAGES_GET_MAX);
	CHECK(limits.commit_entries == KLUIS_COMMIT_ENTRIES_MAX);
	CHECK(limits.idempotency_key_bytes > 0 && limits.header_bytes > 0);
	MUST(kluis_api_version(k, &version, &failure));
	CHECK(strcmp(version.version, kluis_version()) == 0);
	MUST(kluis_api_ready(k, &ready, &failure));
	CHECK(ready.role[0] != 0 && ready.applied_index > 0);
}

static void session_calls(struct kluis *k, struct seen *seen)
{
	static const unsigned char nobody[KLUIS_ID_BYTES] = {1};
	struct kluis_session session;

	MUST(kluis_api_sessions(k, see_session, seen, &failure));
	CHECK(seen->sessions >= 1 && seen->session.current);
	MUST(kluis_api_session(k, seen->session.id, &session, &failure));
	CHECK(strcmp(session.level, "full") == 0 && session.expires_ms > session.created_ms);
	CHECK(kluis_api_session(k, nobody, &session, &failure) == KLUIS_NOT_FOUND);
	MUST(kluis_api_sessions_end_others(k, &failure));
	MUST(kluis_api_session_end(k, seen->session.id, &failure));
	MUST(kluis_api_vaults(k, see_vault, seen, &failure)); /* Signs in again. */
	seen->vaults = 0;
	MUST(kluis_api_logout(k, &failure));
}

static void vault_calls(struct kluis *k, struct seen *seen)
{
	static const unsigned char label[] = "a label";
	struct kluis_vault before;
	unsigned char head[KLUIS_HEAD_BYTES];

	MUST(kluis_api_vaults(k, see_vault, seen, &failure));
	CHECK(seen->vaults == 1 && strcmp(seen->vault.role, "admin") == 0);
	CHECK(seen->vault.create_len == 0 && seen->vault.seq >= 2);
	MUST(kluis_api_vault(k, seen->vault.id, see_vault, seen, &failure));
	CHECK(seen->vault.create_len > 0);
	before = seen->vault;
	MUST(kluis_api_vault_set_label(k, before.id, before.etag, label, sizeof label, &failure));
	CHECK(kluis_api_vault_set_label(k, before.id, before.etag, label, sizeof label, &failure) ==
		KLUIS_PRECONDITION);
	CHECK(kluis_api_vault_delete(k, before.id, "\"1-0\"\r\nX: y", &failure) == KLUIS_BAD_INPUT);
	CHECK(kluis_api_vault_delete(k, before.id, before.etag, &failure) == KLUIS_PRECONDITION);
	/* Its id is taken, and this is no head of seq 1. */
	MUST(kluis_api_head(k, before.id, head, &failure));
	CHECK(kluis_api_vault_create(
		      k, seen->create, before.create_len, head, NULL, 0, "key", &failure) != 0);
}

/* Nothing here can sign a head: that a node takes what is sent again, and refuses what nobody
 * signed, is enough to see that it was sent as it should be. */
static void page_calls(struct kluis *k, struct seen *seen)
{
	const uint64_t wanted[] = {0, 12345};
	const unsigned char *id = seen->vault.id;
	unsigned char head[KLUIS_HEAD_BYTES], *heads, sha256[KLUIS_HASH_BYTES];
	struct kluis_commit_entry entry = {.page_no = 0};
	struct kluis_page_version *versions;
	struct kluis_change *changes;
	void *page, *again;
	size_t n, len, again_len;
	char *next, *later;
	int done, there;

	MUST(kluis_api_head(k, id, head, &failure));
	MUST(kluis_api_heads(k, id, 0, &heads, &n, &done, &failure));
	CHECK(done && n == seen->vault.seq);
	CHECK(memcmp(heads + (n - 1) * KLUIS_HEAD_BYTES, head, KLUIS_HEAD_BYTES) == 0);
	kluis_free(heads);
	MUST(kluis_api_changes(k, id, NULL, &changes, &n, &next, &done, &failure));
	CHECK(done && n >= 2 && changes[0].seq == 2 && changes[0].revision == 1);
	kluis_free(changes);
	CHECK(kluis_api_changes(k, id, "0 1", &changes, &n, &later, &done, &failure) ==
		KLUIS_BAD_INPUT);
	MUST(kluis_api_changes(k, id, next, &changes, &n, &later, &done, &failure));
	CHECK(done && n == 0);
	kluis_free(changes);
	kluis_free(next);
	kluis_free(later);
	MUST(kluis_api_page(k, id, 0, &page, &len, &failure));
	CHECK(len > 144 && memcmp(page, "KPG1", 4) == 0);
	CHECK(kluis_api_page(k, id, 12345, &again, &again_len, &failure) == KLUIS_NOT_FOUND);
	MUST(kluis_api_pages(k, id, wanted, 2, see_page, seen, &failure));
	CHECK(seen->pages == 2 && seen->page_len == len);
	CHECK(kluis_api_pages(k, id, wanted, 65, see_page, seen, &failure) == KLUIS_BAD_INPUT);
	MUST(kluis_api_versions(k, id, 0, &versions, &n, &failure));
	CHECK(n == 1 && versions[0].revision == 1 && versions[0].bytes == len);
	memcpy(sha256, versions[0].sha256, sizeof sha256);
	kluis_free(versions);
	MUST(kluis_api_version_page(k, id, 0, 1, &again, &again_len, &failure));
	CHECK(again_len == len && memcmp(page, again, len) == 0);
	kluis_free(again);
	MUST(kluis_api_staged_put(k, id, sha256, page, len, &failure));
	MUST(kluis_api_staged_there(k, id, sha256, &there, &failure));
	CHECK(there);
	sha256[0] ^= 1;
	MUST(kluis_api_staged_there(k, id, sha256, &there, &failure));
	CHECK(!there);
	CHECK(kluis_api_staged_put(k, id, sha256, page, len, &failure) == KLUIS_BAD_INPUT);
	MUST(kluis_api_page_put(k, id, 0, page, len, head, NULL, &failure)); /* A retry. */
	entry.revision = 1;
	entry.page = page;
	entry.page_len = len;
	head[40] ^= 1; /* Within what is signed. */
	CHECK(kluis_api_page_put(k, id, 0, page, len, head, NULL, &failure) != 0);
	CHECK(kluis_api_commit(k, id, head, &entry, 1, 0, &failure) != 0);
	CHECK(kluis_api_commit(k, id, head, &entry, 0, 0, &failure) == KLUIS_BAD_INPUT);
	kluis_free(page);
}

/* All levels give what was written, for there is one node or it is fast. */
static void level_calls(struct kluis *k, struct seen *seen)
{
	unsigned char head[KLUIS_HEAD_BYTES], fresh[KLUIS_HEAD_BYTES];

	MUST(kluis_api_head(k, seen->vault.id, fresh, &failure));
	kluis_api_set_level(k, KLUIS_SESSION, 2000);
	MUST(kluis_api_head(k, seen->vault.id, head, &failure));
	CHECK(memcmp(head, fresh, sizeof head) == 0);
	kluis_api_set_level(k, KLUIS_STALE, 0);
	MUST(kluis_api_head(k, seen->vault.id, head, &failure));
	CHECK(kluis_api_staleness_ms(k) < 60000);
	kluis_api_set_level(k, KLUIS_LINEARIZABLE, 0);
	MUST(kluis_api_head(k, seen->vault.id, head, &failure));
}

int main(int argc, char **argv)
{
	static struct seen seen;
	struct kluis *k;

	CHECK(argc == 2);
	MUST(kluis_open(argv[1], NULL, 5000, &k, &failure));
	cluster_calls(k);
	session_calls(k, &seen);
	vault_calls(k, &seen);
	page_calls(k, &seen);
	level_calls(k, &seen);
	kluis_close(k);
	puts("every call answered");
	return 0;
}
