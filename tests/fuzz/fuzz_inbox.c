/* An inbox document and a notification as a node, and as the one who may open them sees them:
 * { u8 which | bytes }. */
#include <assert.h>

#include "base/limits.h"
#include "crypto/inbox.h"
#include "crypto/notify.h"

static struct key *owner;

static void fuzz_document(struct bytes encoded)
{
	_cleanup_(secret_release) struct secret content = SECRET_INIT;
	struct inbox_document d;
	int rc;

	if (inbox_parse(encoded, &d, NULL) != 0) {
		return;
	}
	assert(encoded.len <= INBOX_DOCUMENT_BYTES_MAX);
	assert(d.ciphertext.data + d.ciphertext.len == encoded.data + encoded.len);
	assert(d.sender_class <= INBOX_USER && d.ciphertext.len >= AEAD_TAG_BYTES);
	rc = inbox_open(&d, d.inbox_id, d.owner_id, owner, &content, NULL);
	assert(rc == KLUIS_EVERIFY);
	/* Past the check of the key id, any enc must be met with an error. */
	rc = hpke_open(
		owner, d.aead, d.enc, d.header, bytes_of(NULL, 0), d.ciphertext, &content, NULL);
	assert(rc == KLUIS_EVERIFY);
}

static void fuzz_notification(struct bytes encoded)
{
	static const uint8_t device_id[ID_BYTES];
	_cleanup_(secret_release) struct secret content = SECRET_INIT;
	struct notify n;
	int rc;

	if (notify_parse(encoded, &n, NULL) == 0) {
		assert(encoded.len <= NOTIFY_BYTES_MAX);
		assert(n.ciphertext.data + n.ciphertext.len == encoded.data + encoded.len);
		rc = notify_open(&n, device_id, owner, &content, NULL);
		assert(rc == KLUIS_EVERIFY);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t ikm[32] = {1};
	int rc;

	if (owner == NULL) {
		rc = hpke_derive_key(KEY_KEM_P256, bytes_of(ikm, sizeof ikm), &owner, NULL);
		assert(rc == 0);
	}
	if (size > 0 && (data[0] & 1) == 0) {
		fuzz_document(bytes_of(data + 1, size - 1));
	} else if (size > 0) {
		fuzz_notification(bytes_of(data + 1, size - 1));
	}
	return 0;
}
