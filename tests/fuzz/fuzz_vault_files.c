/* What a profile keeps of a vault, as a disk may hand it back: { u8 which file | u8 how | bytes }:
 * the file's payload (framed here, so that its own parser is reached), its raw bytes, or changes of
 * what was there, { u16 at | u8 xor } each. The vault opens as it was, or not at all; notes and
 * caches are only ever believed within what the verified head says. (client_call() is replaced by
 * the linker: no cluster answers.) */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/wire.h"
#include "cli/client/put_source.h"
#include "cli/client/vault.h"

enum how { HOW_PAYLOAD, HOW_RAW, HOW_CHANGED, HOW_N };

static const struct {
	const char *name;
	enum profile_kind kind;
} files[] = {
	{"vault", PROFILE_VAULT},
	{"pin", PROFILE_PIN},
	{"leaves", PROFILE_LEAVES},
	{"pending", PROFILE_PENDING},
	{"creating", PROFILE_CREATING},
	{"upload", PROFILE_UPLOAD},
	{"seen", (enum profile_kind)0},
};

static struct profile *profile;
static uint8_t vault_id[ID_BYTES];
static char dir[64], local[80];
static bool answering;

int answer_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e) __asm__("__wrap_client_call");

int answer_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e)
{
	(void)client;
	(void)request;
	answer->status = 204;
	return answering ? 0 : err_set(e, KLUIS_ECONNECT, "no cluster");
}

static void remove_all(void)
{
	(void)(file_remove_tree(dir, NULL) == 0);
	(void)unlink(local);
}

static struct put_source *source_open(void)
{
	struct put_source *source = NULL;
	int rc = put_source_open(local, "/folder/file", &source, NULL);

	assert(rc == 0);
	return source;
}

static void start(void)
{
	static const char *const endpoints[] = {"https://localhost:1"};
	struct api_cluster cluster = {.cluster_id = {1}, .lineage = {2}};
	struct put_source *source;
	struct vault *vault = NULL;
	struct err e = {0};
	int rc;

	(void)snprintf(dir, sizeof dir, "%s/kluis-fuzz-profile-%d",
		access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
	(void)snprintf(local, sizeof local, "%s-file", dir);
	(void)atexit(remove_all);
	rc = file_write(local, bytes_str("local"), 0600, &e);
	rc = rc == 0 ? profile_make(dir, &cluster, "fuzz", "device", endpoints, 1, &profile, &e)
		     : rc;
	rc = rc == 0 ? profile_save(profile, &e) : rc;
	answering = true;
	rc = rc == 0 ? vault_create(profile, NULL, "vault", vault_id, &e) : rc;
	answering = false;
	rc = rc == 0 ? vault_open(profile, NULL, "vault", &vault, &e) : rc;
	if (rc != 0) {
		(void)fprintf(stderr, "%s\n", e.text);
		abort();
	}
	source = source_open();
	put_source_add_page(source, 3);
	rc = put_journal_store(vault, source, &e);
	assert(rc == 0);
	put_source_free(source);
	vault_close(vault);
}

static void change(struct buf *bytes, struct wire *w)
{
	while (w->left.len >= 3 && bytes->len > 0) {
		unsigned at = wire_u16(w), with = wire_u8(w);

		bytes->data[at % bytes->len] ^= (uint8_t)with;
	}
	if (w->left.len > 0 && bytes->len > 0) {
		bytes->len -= wire_u8(w) % bytes->len;
	}
}

static void try_vault(void)
{
	struct put_source *source = source_open();
	struct vault *vault = NULL;
	struct err e = {0};
	char name[HEX_LEN(ID_BYTES) + 1];
	uint8_t hash[HASH_BYTES];
	bool any, sent = false;
	int rc;

	hex_encode(bytes_of(vault_id, ID_BYTES), name);
	rc = vault_open(profile, NULL, name, &vault, &e);
	if (rc != 0) {
		assert(e.text[0] != '\0');
		put_source_free(source);
		return;
	}
	assert(memcmp(vault->id, vault_id, ID_BYTES) == 0 && vault->n_keys > 0 &&
		memcmp(vault->head.vault_id, vault_id, ID_BYTES) == 0);
	rc = put_journal_load(vault, source, &any, &e);
	for (size_t i = 0; rc == 0 && i < source->n_earlier; i++) {
		assert(source->earlier[i] < vault->head.page_count);
	}
	if (vault_load_leaves(vault, &e) == 0) {
		assert(merkle_count(vault->tree) == vault->head.page_count);
	}
	(void)vault_seen_head(vault, 1, hash);
	(void)(vault_settle_pending(vault, &sent, &e) == 0);
	vault_close(vault);
	put_source_free(source);
	(void)(vault_finish_creating(profile, NULL, &e) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(buf_release) struct buf before = BUF_INIT, bytes = BUF_INIT;
	struct wire w = wire_of(bytes_of(data, size));
	struct vault place = {0};
	struct err e;
	bool was;
	size_t i;
	int rc;

	if (size < 2) {
		return 0;
	}
	if (profile == NULL) {
		start();
	}
	i = wire_u8(&w) % ARRAY_SIZE(files);
	memcpy(place.id, vault_id, ID_BYTES);
	_cleanup_(x_freep) char *name = vault_file(&place, files[i].name);
	_cleanup_(x_freep) char *path = profile_path(profile, name);
	was = file_exists(path);
	rc = was ? file_read(path, 1 << 20, &before, &e) : 0;
	assert(rc == 0);
	switch ((enum how)(wire_u8(&w) % HOW_N)) {
	case HOW_PAYLOAD:
		profile_frame(files[i].kind, w.left, &bytes);
		break;
	case HOW_RAW:
		buf_append_bytes(&bytes, w.left);
		break;
	default:
		buf_append_bytes(&bytes, buf_bytes(&before));
		change(&bytes, &w);
	}
	rc = file_write(path, buf_bytes(&bytes), 0600, &e);
	assert(rc == 0);
	try_vault();
	if (was) {
		rc = file_write(path, buf_bytes(&before), 0600, &e);
		assert(rc == 0);
	} else {
		(void)unlink(path);
	}
	return 0;
}
