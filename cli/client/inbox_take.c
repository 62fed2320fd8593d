/* From the inbox into a page. */
#include "base/text.h"
#include "cli/client/inbox.h"
#include "cli/client/vault.h"

/* With the same content it is there already, and only leaves. */
static int take_put(struct vault *vault, struct put *put, const struct inbox_opened *opened,
	const char *path, const char *claims, struct err *e)
{
	struct put_result result;
	bool local = false;
	int rc = put_from(
		put, put_source_of(secret_bytes(&opened->content), path, 0600), NULL, &local, e);

	vault->claims = claims;
	rc = rc != 0 ? rc : put_finish(put, &result, e);
	vault->claims = NULL;
	return rc;
}

static int take_gone(struct client *client, const uint8_t doc_id[ID_BYTES], struct err *e)
{
	struct err why = {0};
	int rc = api_inbox_delete(client, doc_id, &why);

	return rc == 0 || rc == KLUIS_ENOTFOUND || rc == KLUIS_EGONE
		       ? 0
		       : err_set(e, rc, "%s", why.text);
}

int inbox_take(struct vault *vault, struct put *put, const uint8_t doc_id[ID_BYTES],
	const char *path, struct err *e)
{
	struct inbox_opened opened = {.content = SECRET_INIT};
	char claims[HEX_LEN(ID_BYTES) + 1];
	int rc = inbox_read(vault->profile, vault->client, doc_id, &opened, e);

	hex_encode(bytes_of(doc_id, ID_BYTES), claims);
	rc = rc != 0 ? rc : take_put(vault, put, &opened, path, claims, e);
	secret_release(&opened.content);
	return rc != 0 ? rc : take_gone(vault->client, doc_id, e);
}
