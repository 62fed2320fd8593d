/* A node's answer to each call that clients make: { u8 which | the answer's bytes }, through the
 * parser of answers into the call that asked. (client_call() alone is replaced, by the linker:
 * tests/fuzz/CMakeLists.txt.) Whatever a node says, a call gives something within its bounds or one
 * error. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cli/client/api_account.h"
#include "cli/client/problem.h"

enum { ASKED_MAX = 20 }; /* Answers to one call; the same one each time. */

static struct bytes said;
static unsigned asked;

int answer_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e) __asm__("__wrap_client_call");

/* As client_call() once the bytes have come. */
int answer_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e)
{
	size_t max = request->answer_max == 0 ? CLIENT_ANSWER_BYTES_MAX : request->answer_max;
	struct http_parse *parse =
		http_parse_new(answer, max, strcmp(request->method, "HEAD") == 0);
	bool done = false;
	int rc = http_parse_feed(parse, said, &done, e);

	assert(client == NULL && request->target[0] == '/');
	for (const char *c = request->target; *c != '\0'; c++) {
		assert(*c > 0x20 && *c < 0x7f); /* What a node said does not break a request. */
	}
	http_parse_free(parse);
	if (rc == 0 && (!done || ++asked > ASKED_MAX)) {
		return err_set(e, KLUIS_ECLOSED, "cut");
	}
	if (rc == 0) {
		assert(answer->body.len <= max);
	}
	if (rc == 0 && answer->status != 304 && (answer->status < 200 || answer->status > 299)) {
		rc = problem_of(answer, e).code;
		assert(rc < 0);
	}
	return rc;
}

static void try_account(unsigned which)
{
	static const uint8_t id[ID_BYTES] = "account";
	struct api_cluster cluster = {0};
	struct api_challenge challenge = {0};
	struct api_session session = {0};

	switch (which) {
	case 0:
		if (api_well_known(NULL, &cluster, NULL) == 0) {
			assert(cluster.n_records <= RESTORE_RECORDS_MAX &&
				json_is_array(cluster.sites));
		}
		api_cluster_release(&cluster);
		break;
	case 1:
		if (api_login_start(NULL, id, id, &challenge, NULL) == 0) {
			assert(strlen(challenge.handshake) == HEX_LEN(ID_BYTES));
		}
		break;
	default:
		if (api_login_finish(NULL, &challenge, bytes_str("x"), 0, &session, NULL) == 0) {
			assert(memchr(session.token, '\0', sizeof session.token) != NULL);
		}
	}
}

static void try_person(unsigned which)
{
	static const uint8_t m1[SRP_PROOF_BYTES], id[ID_BYTES] = "a user's id";
	char etag[API_ETAG_BYTES_MAX + 1];
	struct api_unlock unlock = {.share = SECRET_INIT};
	struct api_srp srp = {.endpoint = CLIENT_ANY_ENDPOINT};
	struct api_recovery recovery = {.endpoint = CLIENT_ANY_ENDPOINT};
	struct api_grant grant = {.full = false};
	struct buf bytes = BUF_INIT;
	bool active;

	switch (which) {
	case 0:
		if (api_srp_start(NULL, "alice", 3, bytes_str("A"), &srp, NULL) == 0) {
			assert(srp.begun == (srp.group == 3) && srp.b_len <= SRP_PUBLIC_BYTES_MAX);
		}
		break;
	case 1:
		if (api_srp_finish(NULL, &srp, m1, NULL, bytes_str(""), &grant, NULL) == 0) {
			assert(grant.n_methods <= API_MFA_METHODS_MAX);
			assert(api_cursor_valid(grant.token));
		}
		break;
	case 2:
		if (api_unlock(NULL, &unlock, NULL) == 0) {
			assert(unlock.share.len == UNLOCK_SHARE_BYTES);
			secret_release(&unlock.share);
		}
		break;
	case 3:
		if (api_keyring(NULL, &bytes, etag, NULL) == 0) {
			assert(bytes.len <= KEYRING_BYTES_MAX &&
				strlen(etag) <= API_ETAG_BYTES_MAX);
		}
		break;
	case 4:
		(void)(api_identity(NULL, id, &bytes, NULL) == 0);
		break;
	case 5:
		if (api_recovery_start(NULL, "alice", &recovery, NULL) == 0) {
			assert(strlen(recovery.recovery) == HEX_LEN(ID_BYTES));
		}
		break;
	default:
		(void)(api_device_post(NULL, id, bytes_str("x"), &active, NULL) == 0);
	}
	buf_release(&bytes);
}

static void try_vault(unsigned which, const uint8_t id[ID_BYTES])
{
	struct api_vault vault = {0};
	struct buf heads = BUF_INIT;
	uint8_t head[HEAD_BYTES];
	struct api_change *changes = NULL;
	char *next = NULL;
	size_t n = 0;
	bool done;

	switch (which) {
	case 0:
		if (api_vault_get(NULL, id, &vault, NULL) == 0) {
			assert(strlen(vault.etag) <= API_ETAG_BYTES_MAX);
			api_vault_release(&vault);
		}
		break;
	case 1:
		(void)(api_head(NULL, id, head, NULL) == 0);
		break;
	case 2:
		if (api_heads(NULL, id, 0, &heads, &done, NULL) == 0) {
			assert(heads.len % HEAD_BYTES == 0);
		}
		buf_release(&heads);
		break;
	default:
		if (api_changes(NULL, id, "0:1", &changes, &n, &next, &done, NULL) == 0) {
			assert(next == NULL || api_cursor_valid(next));
			free(changes);
			free(next);
		}
	}
}

static void try_pages(unsigned which, const uint8_t id[ID_BYTES])
{
	static struct api_version_row rows[LIST_LIMIT_MAX];
	const uint64_t pages[] = {0, 1, 2};
	struct bytes runs[ARRAY_SIZE(pages)];
	struct buf body = BUF_INIT;
	size_t n = 0;
	bool there;

	switch (which) {
	case 0:
		if (api_page(NULL, id, 0, &body, NULL) == 0) {
			assert(body.len <= PAGE_BYTES_MAX);
		}
		break;
	case 1:
		if (api_pages(NULL, id, pages, ARRAY_SIZE(pages), &body, runs, NULL) == 0) {
			for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
				assert(runs[i].len == 0 || (runs[i].data >= body.data &&
								   runs[i].data + runs[i].len <=
									   body.data + body.len));
			}
		}
		break;
	case 2:
		if (api_versions(NULL, id, 0, rows, &n, NULL) == 0) {
			assert(n <= LIST_LIMIT_MAX);
		}
		break;
	default:
		(void)(api_staged_there(NULL, id, rows[0].sha256, &there, NULL) == 0);
	}
	buf_release(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t id[ID_BYTES] = "a vault's id";
	json_t *items = NULL;
	unsigned which;

	if (size == 0) {
		return 0;
	}
	which = data[0] < 200 ? data[0] % 12U : 12 + (data[0] - 200U) % 7;
	said = bytes_of(data + 1, size - 1);
	asked = 0;
	if (which < 3) {
		try_account(which);
	} else if (which < 7) {
		try_vault(which - 3, id);
	} else if (which < 11) {
		try_pages(which - 7, id);
	} else if (which > 11) {
		try_person(which - 12);
	} else if (api_list(NULL, "/v1/vaults", CLIENT_AUTH, 1000, &items, NULL) == 0) {
		assert(json_array_size(items) <= 1000);
		json_decref(items);
	}
	return 0;
}
