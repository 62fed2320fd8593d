#include "cli/client/chat_store.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/random.h"
#include "base/text.h"
#include "base/wire.h"
#include "crypto/seal.h"

enum { STORE_NAME_BYTES = 64 };

static void store_name(char to[STORE_NAME_BYTES], const uint8_t conv_id[ID_BYTES], const char *file)
{
	char id[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(conv_id, ID_BYTES), id);
	(void)snprintf(to, STORE_NAME_BYTES, "chats/%s%s", id, file);
}

/* By the key that only this device has, in the agent as out of it; so a copy of the file opens
 * nothing elsewhere. */
static int store_key(const struct profile *profile, struct secret *ret_key, struct err *e)
{
	const struct bytes info[] = {bytes_str("kluis/v1/local-chat"),
		bytes_of(profile->user_id, ID_BYTES), bytes_of(profile->device_id, ID_BYTES)};

	if (profile->salt_key.len == 0 || profile->device == NULL || !profile->enrolled) {
		return err_set(e, KLUIS_EUNAUTHENTICATED,
			"this device cannot chat for '%s': it is locked, or not approved yet",
			profile->account);
	}
	secret_init(ret_key, SEAL_KEY_BYTES);
	hkdf(bytes_of(NULL, 0), secret_bytes(&profile->salt_key), info, ARRAY_SIZE(info),
		ret_key->data, ret_key->len);
	return 0;
}

static void store_context(const char *what, const uint8_t conv_id[ID_BYTES], struct buf *ctx)
{
	buf_put_str(ctx, what);
	buf_append(ctx, conv_id, ID_BYTES);
}

static int store_open(const struct profile *profile, const uint8_t conv_id[ID_BYTES],
	struct bytes sealed, struct chat_state *ret_state, struct err *e)
{
	_cleanup_(secret_release) struct secret key = SECRET_INIT, plain = SECRET_INIT;
	_cleanup_(buf_release) struct buf ctx = BUF_INIT;
	struct chat_state state;
	int rc = store_key(profile, &key, e);

	store_context("chat", conv_id, &ctx);
	rc = rc != 0 ? rc : seal_open(secret_bytes(&key), buf_bytes(&ctx), sealed, &plain, e);
	rc = rc != 0 ? rc : chat_state_decode(secret_bytes(&plain), &state, e);
	if (rc != 0) {
		return err_wrap(e, rc, "what this profile has of a conversation");
	}
	if (memcmp(state.conv_id, conv_id, ID_BYTES) != 0 ||
		memcmp(state.own.user_id, profile->user_id, ID_BYTES) != 0 ||
		memcmp(state.own.device_id, profile->device_id, ID_BYTES) != 0) {
		chat_state_release(&state);
		return err_set(e, KLUIS_ECORRUPT, "the state of another conversation or device");
	}
	*ret_state = state;
	return 0;
}

int chat_store_load(const struct profile *profile, const uint8_t conv_id[ID_BYTES],
	struct chat_state *ret_state, struct err *e)
{
	_cleanup_(secret_release) struct secret key = SECRET_INIT;
	_cleanup_(buf_release) struct buf sealed = BUF_INIT;
	char name[STORE_NAME_BYTES];
	struct err why = {0};
	int rc = store_key(profile, &key, e);

	if (rc != 0) {
		return rc;
	}
	store_name(name, conv_id, "/state");
	rc = profile_read(profile, name, PROFILE_CHAT, PROFILE_FILE_BYTES_MAX, &sealed, &why);
	if (rc == KLUIS_ENOTFOUND) {
		chat_state_init(ret_state, conv_id, profile->user_id, profile->device_id);
		return 0;
	}
	return rc != 0 ? err_set(e, rc, "%s", why.text)
		       : store_open(profile, conv_id, buf_bytes(&sealed), ret_state, e);
}

int chat_store_save(const struct profile *profile, const struct chat_state *state, struct err *e)
{
	_cleanup_(secret_release) struct secret key = SECRET_INIT, plain = SECRET_INIT;
	_cleanup_(buf_release) struct buf ctx = BUF_INIT, sealed = BUF_INIT;
	char dir[STORE_NAME_BYTES], name[STORE_NAME_BYTES];
	int rc = store_key(profile, &key, e);

	rc = rc != 0 ? rc : chat_state_encode(state, &plain, e);
	if (rc != 0) {
		return rc;
	}
	store_context("chat", state->conv_id, &ctx);
	seal_make(
		secret_bytes(&key), buf_bytes(&ctx), secret_bytes(&plain), &random_system, &sealed);
	store_name(dir, state->conv_id, "");
	store_name(name, state->conv_id, "/state");
	rc = profile_make_dir(profile, dir, e);
	return rc != 0 ? rc : profile_write(profile, name, PROFILE_CHAT, buf_bytes(&sealed), e);
}

int chat_store_load_backlog(const struct profile *profile, const uint8_t conv_id[ID_BYTES],
	struct chat_segment *ret_backlog, struct err *e)
{
	_cleanup_(secret_release) struct secret key = SECRET_INIT, plain = SECRET_INIT;
	_cleanup_(buf_release) struct buf sealed = BUF_INIT, ctx = BUF_INIT;
	char name[STORE_NAME_BYTES];
	struct err why = {0};
	int rc = store_key(profile, &key, e);

	if (rc != 0) {
		return rc;
	}
	store_name(name, conv_id, "/backlog");
	rc = profile_read(profile, name, PROFILE_BACKLOG, PROFILE_FILE_BYTES_MAX, &sealed, &why);
	if (rc == KLUIS_ENOTFOUND) {
		*ret_backlog = (struct chat_segment){.n = 0};
		return 0;
	}
	store_context("backlog", conv_id, &ctx);
	rc = rc != 0 ? rc
		     : seal_open(secret_bytes(&key), buf_bytes(&ctx), buf_bytes(&sealed), &plain,
			       &why);
	rc = rc != 0 ? rc : chat_segment_decode(secret_bytes(&plain), conv_id, ret_backlog, &why);
	return rc == 0 ? 0
		       : err_set(e, rc, "what this profile is to archive of a conversation: %s",
				 why.text);
}

int chat_store_save_backlog(const struct profile *profile, const uint8_t conv_id[ID_BYTES],
	const struct chat_segment *backlog, struct err *e)
{
	_cleanup_(secret_release) struct secret key = SECRET_INIT;
	_cleanup_(secret_buf_release) struct buf plain = BUF_INIT;
	_cleanup_(buf_release) struct buf sealed = BUF_INIT, ctx = BUF_INIT;
	char dir[STORE_NAME_BYTES], name[STORE_NAME_BYTES];
	int rc;

	store_name(name, conv_id, "/backlog");
	if (backlog->n == 0) {
		return profile_remove(profile, name, e);
	}
	rc = store_key(profile, &key, e);
	if (rc != 0) {
		return rc;
	}
	buf_reserve(&plain, backlog->bytes);
	chat_segment_encode(backlog, conv_id, &plain);
	store_context("backlog", conv_id, &ctx);
	seal_make(secret_bytes(&key), buf_bytes(&ctx), buf_bytes(&plain), &random_system, &sealed);
	store_name(dir, conv_id, "");
	rc = profile_make_dir(profile, dir, e);
	return rc != 0 ? rc : profile_write(profile, name, PROFILE_BACKLOG, buf_bytes(&sealed), e);
}

int chat_store_forget(const struct profile *profile, const uint8_t conv_id[ID_BYTES], struct err *e)
{
	_cleanup_(x_freep) char *path = NULL;
	char name[STORE_NAME_BYTES];

	store_name(name, conv_id, "");
	path = profile_path(profile, name);
	return file_remove_tree(path, e);
}

int chat_store_ids(
	const struct profile *profile, uint8_t (**ret_ids)[ID_BYTES], size_t *ret_n, struct err *e)
{
	return profile_ids(profile, "chats", ret_ids, ret_n, e);
}
