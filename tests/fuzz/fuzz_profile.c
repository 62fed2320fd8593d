/* Files of a profile: a disk may hand back anything. The first byte picks the parser; behind a
 * frame the payload is parsed as it would be, too. */
#include "base/err.h"
#include "cli/client/person.h"

static void profile_payload(struct bytes payload, unsigned which)
{
	struct profile *profile = x_calloc(1, sizeof *profile);
	int rc;

	profile->dir = x_strdup("");
	profile->lock_fd = -1;
	identity_init(&profile->identity);
	profile->person = which >= 2 ? person_new() : NULL;
	rc = which == 0	  ? profile_parse_settings(profile, payload, NULL)
	     : which == 1 ? profile_parse_keys(profile, payload, NULL)
	     : which == 2 ? person_parse(profile, payload, NULL)
			  : person_parse_chain(profile, payload, NULL);
	if (rc == 0 && profile->n_endpoints > CLIENT_ENDPOINTS_MAX) {
		abort();
	}
	profile_close(profile);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf framed = BUF_INIT;
	struct bytes payload;

	if (size == 0) {
		return 0;
	}
	if (profile_unframe(bytes_of(data + 1, size - 1), PROFILE_KEYS, &payload, NULL) == 0) {
		profile_payload(payload, 1);
	}
	profile_payload(bytes_of(data + 1, size - 1), data[0] & 3);
	/* What is framed comes back. */
	profile_frame(PROFILE_PIN, bytes_of(data, size), &framed);
	if (profile_unframe(buf_bytes(&framed), PROFILE_PIN, &payload, NULL) != 0 ||
		!bytes_equal(payload, bytes_of(data, size))) {
		abort();
	}
	buf_release(&framed);
	return 0;
}
