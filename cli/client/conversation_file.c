/* Files sent in a conversation: in its vault under the hash of their content, which the message
 * that names them has, too. So whoever may write to the vault can remove one, and not change it. */
#include <string.h>

#include "base/text.h"
#include "cli/client/conversation_archive.h"
#include "cli/client/get.h"
#include "cli/client/json_reader.h"
#include "cli/client/put.h"

enum { FILE_PATH_CHARS = 1 + HEX_LEN(HASH_BYTES), FETCH_TRIES_MAX = 4 };

static void file_path(const uint8_t sha256[HASH_BYTES], char path[FILE_PATH_CHARS + 1])
{
	path[0] = '/';
	hex_encode(bytes_of(sha256, HASH_BYTES), path + 1);
}

void conversation_file_release(struct conversation_file *file)
{
	free(file->name);
	file->name = NULL;
}

int conversation_file_of(
	const struct chat_content *content, struct conversation_file *ret_file, struct err *e)
{
	struct json_reader r = json_reader_of(content->object);
	struct conversation_file file = {.size = json_reader_u64(&r, "size")};
	const char *name = json_reader_string(&r, "name");
	int rc;

	json_reader_hex(&r, "sha256", file.sha256, HASH_BYTES);
	rc = content->kind == CHAT_KIND_FILE ? json_reader_end(&r, "file of a message", e)
					     : err_set(e, KLUIS_EINVAL, "that message is no file");
	if (rc == 0) {
		file.name = item_name_from(name, ITEM_NAME_BYTES_MAX);
		*ret_file = file;
	}
	return rc;
}

static int file_open_vault(struct conversation *c, struct vault **ret_vault, struct err *e)
{
	int rc = conversation_archive_open(c, e);

	if (rc == 0 && c->archive == NULL) {
		rc = c->archive_trouble.code != 0
			     ? err_set(e, c->archive_trouble.code, "%s", c->archive_trouble.text)
			     : err_set(e, KLUIS_ENOTFOUND,
				       "the conversation has no vault for files: who began it "
				       "makes one ('kluis chat history')");
	}
	if (rc == 0) {
		*ret_vault = c->archive->vault;
	}
	return rc;
}

static int attach_put(
	struct vault *vault, struct put_source *source, const char *path, struct err *e)
{
	const struct put_config config = {.force = false};
	struct put_result result;
	struct put *put;
	bool local;
	int rc = put_new(vault, &config, &put, e);

	if (rc != 0) {
		put_source_free(source);
		return rc;
	}
	/* What lies there has that hash already, or is a lie. */
	rc = put_from(put, source, NULL, &local, e);
	rc = rc != 0 ? rc : put_finish(put, &result, e);
	put_free(put);
	return rc == 0 ? 0 : err_wrap(e, rc, "file '%s'", path);
}

static int attach_send(struct conversation *c, const char *local_path, uint64_t size,
	const uint8_t sha256[HASH_BYTES], uint64_t *ret_seq, struct err *e)
{
	const char *slash = strrchr(local_path, '/');
	_cleanup_(x_freep) char *name =
		item_name_from(slash == NULL ? local_path : slash + 1, ITEM_NAME_BYTES_MAX);
	_cleanup_(buf_release) struct buf payload = BUF_INIT;

	chat_content_file(name, size, sha256, &payload);
	return conversation_send(c, CHAT_JSON, buf_bytes(&payload), ret_seq, e);
}

int conversation_attach(
	struct conversation *c, const char *local_path, uint64_t *ret_seq, struct err *e)
{
	char path[FILE_PATH_CHARS + 1];
	uint8_t sha256[HASH_BYTES];
	struct put_source *source = NULL;
	struct vault *vault = NULL;
	uint64_t size;
	int rc = file_open_vault(c, &vault, e);

	rc = rc != 0 ? rc : put_source_open(local_path, "/", &source, e);
	if (rc == 0 && source->pipe) {
		rc = err_set(e, KLUIS_EINVAL, "'%s' is no file that can be attached", local_path);
	}
	rc = rc != 0 ? rc : put_source_sha256(source, sha256, e);
	if (rc != 0) {
		put_source_free(source);
		return rc;
	}
	size = source->size;
	put_source_free(source);
	file_path(sha256, path);
	rc = put_source_open(local_path, path, &source, e);
	if (rc == 0) {
		source->expected = true;
		memcpy(source->expected_sha256, sha256, HASH_BYTES);
		rc = attach_put(vault, source, local_path, e);
	}
	return rc != 0 ? rc : attach_send(c, local_path, size, sha256, ret_seq, e);
}

static int fetch_once(struct vault *vault, const struct conversation_file *file,
	const char *local_path, bool *ret_moved, struct err *e)
{
	const struct get_config config = {.owner_only = true};
	char path[FILE_PATH_CHARS + 1];
	struct tree_file stat;
	struct tree_item *item;
	struct tree *tree;
	bool local;
	int rc = tree_load(vault, &tree, e);

	*ret_moved = false;
	if (rc != 0) {
		return rc;
	}
	file_path(file->sha256, path);
	rc = tree_find(tree, path, &item, e);
	rc = rc == KLUIS_ENOTFOUND
		     ? err_set(e, rc, "file '%s' was removed from the conversation", file->name)
		     : rc;
	if (rc == 0 && item->type != ITEM_FILE) {
		rc = err_set(e, KLUIS_EVERIFY, "'%s' is no file", file->name);
	}
	rc = rc != 0 ? rc : tree_file_stat(item, &stat, e);
	if (rc == 0 &&
		(memcmp(stat.sha256, file->sha256, HASH_BYTES) != 0 || stat.size != file->size)) {
		rc = err_set(e, KLUIS_EVERIFY,
			"file '%s': what lies in the vault is not what its message names",
			file->name);
	}
	rc = rc != 0 ? rc
		     : get_file_to(tree, item, local_path, false, &config, &local, ret_moved, e);
	tree_free(tree);
	return rc;
}

int conversation_fetch(struct conversation *c, const struct conversation_file *file,
	const char *local_path, struct err *e)
{
	struct vault *vault = NULL;
	bool moved = true;
	int rc = file_open_vault(c, &vault, e);

	for (unsigned turn = 0; (rc == 0 || moved) && vault != NULL && turn < FETCH_TRIES_MAX;
		turn++) {
		rc = fetch_once(vault, file, local_path, &moved, e);
		if (rc == 0 || !moved) {
			break;
		}
		*e = (struct err){0};
	}
	return rc;
}
