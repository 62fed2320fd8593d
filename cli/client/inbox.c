#include "cli/client/inbox.h"

#include <string.h>

#include "base/clock.h"
#include "base/random.h"

/* By the owner's key, wherever that is. */
static int read_open(const struct profile *profile, const struct inbox_document *document,
	struct secret *ret_content, struct err *e)
{
	const struct person_keys *person = profile->person;
	_cleanup_(secret_release) struct secret key = SECRET_INIT;
	_cleanup_(buf_release) struct buf stub = BUF_INIT;
	int rc;

	if (memcmp(document->owner_id, profile->user_id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "it is for somebody else");
	}
	if (profile->transfer != NULL) {
		return inbox_open(document, profile->user_id, profile->user_id, profile->transfer,
			ret_content, e);
	}
	if (person == NULL || person->ring == NULL) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "the profile of '%s' is locked",
			profile->account);
	}
	inbox_stub(document, &stub);
	rc = person->ring->inbox(person->ring, buf_bytes(&stub), &key, e);
	return rc != 0 ? rc : inbox_open_with(document, secret_bytes(&key), ret_content, e);
}

int inbox_read(const struct profile *profile, struct client *client, const uint8_t doc_id[ID_BYTES],
	struct inbox_opened *ret_opened, struct err *e)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct inbox_opened opened = {.content = SECRET_INIT};
	struct inbox_document document;
	struct err why = {0};
	int rc = api_inbox_get(client, doc_id, &bytes, e);

	if (rc != 0) {
		return rc;
	}
	rc = inbox_parse(buf_bytes(&bytes), &document, &why);
	if (rc == 0 && memcmp(document.doc_id, doc_id, ID_BYTES) != 0) {
		rc = err_set(&why, KLUIS_EVERIFY, "it is another one");
	}
	rc = rc != 0 ? rc : read_open(profile, &document, &opened.content, &why);
	if (rc != 0) {
		return err_set(e, rc == KLUIS_EUNAUTHENTICATED ? rc : KLUIS_EVERIFY,
			"the document that the cluster shows does not open: %s", why.text);
	}
	opened.sender_class = document.sender_class;
	opened.content_type = document.content_type;
	opened.unix_ms = document.unix_ms;
	*ret_opened = opened;
	return 0;
}

int inbox_make(const struct identity *owner, unsigned sender_class, unsigned content_type,
	const uint8_t doc_id[ID_BYTES], struct bytes content, struct buf *ret_document,
	struct err *e)
{
	struct inbox_document fields = {.sender_class = (uint8_t)sender_class,
		.aead = AEAD_AES_256_GCM,
		.unix_ms = clock_wall_ms(&clock_system),
		.content_type = (uint16_t)content_type};
	const struct key_pub *key;
	int rc = people_transfer_key(owner, &key, e);

	memcpy(fields.inbox_id, owner->user_id, ID_BYTES);
	memcpy(fields.owner_id, owner->user_id, ID_BYTES);
	memcpy(fields.doc_id, doc_id, ID_BYTES);
	return rc != 0 ? rc : inbox_seal(&fields, key, content, &random_system, ret_document, e);
}

int inbox_leave(struct people *people, const struct identity *owner, unsigned content_type,
	struct bytes content, uint8_t ret_doc[ID_BYTES], struct err *e)
{
	_cleanup_(buf_release) struct buf document = BUF_INIT;
	bool service = people_profile(people)->person == NULL;
	uint8_t doc_id[ID_BYTES];
	int rc;

	random_fill(&random_system, doc_id, ID_BYTES);
	rc = inbox_make(owner, service ? INBOX_PROVIDER : INBOX_USER, content_type, doc_id, content,
		&document, e);
	rc = rc != 0 ? rc
		     : api_inbox_put(
			       people_client(people), owner->user_id, buf_bytes(&document), e);
	if (rc == 0) {
		memcpy(ret_doc, doc_id, ID_BYTES);
	}
	return rc;
}
