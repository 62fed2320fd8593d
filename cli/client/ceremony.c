#include "cli/client/ceremony.h"

#include <string.h>

#include "base/text.h"
#include "cli/client/json_reader.h"

enum { CEREMONY_CHALLENGE_BYTES = 32 };

void ceremony_release(struct ceremony *c)
{
	json_decref(c->asked);
	buf_release(&c->client_data);
	*c = (struct ceremony){.asked = NULL};
}

/* As a browser would, but for an origin that none has: this cluster's id, which the profile pins.
 * So a cluster that hands on another site's challenge, whatever rp_id it names, gets what that site
 * refuses. */
static void client_data_make(
	const struct profile *profile, bool create, struct bytes challenge, struct buf *to)
{
	char cluster[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(profile->cluster_id, ID_BYTES), cluster);
	buf_printf(to, "{\"type\":\"webauthn.%s\",\"challenge\":\"", create ? "create" : "get");
	base64_append(to, challenge);
	buf_printf(to, "\",\"origin\":\"kluis://%s\",\"crossOrigin\":false}", cluster);
}

int ceremony_begin(struct ceremony *c, const struct profile *profile, struct client *client,
	bool create, struct err *e)
{
	uint8_t challenge[CEREMONY_CHALLENGE_BYTES];
	struct json_reader r;
	int rc = api_json(client, "POST", "/v1/mfa/fido2/challenge", NULL,
		CLIENT_AUTH | CLIENT_ONCE, &c->asked, e);

	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(c->asked);
	c->handshake = json_reader_string(&r, "handshake");
	c->rp_id = json_reader_string(&r, "rp_id");
	c->credentials = json_reader_array(&r, "credentials");
	json_reader_base64_exact(&r, "challenge", challenge, sizeof challenge);
	rc = json_reader_end(&r, "challenge", e);
	if (rc == 0) {
		client_data_make(
			profile, create, bytes_of(challenge, sizeof challenge), &c->client_data);
	}
	return rc;
}

void ceremony_hash(const struct ceremony *c, uint8_t ret_hash[HASH_BYTES])
{
	hash_sha256(buf_bytes(&c->client_data), ret_hash);
}

json_t *ceremony_credentials(const struct ceremony *c, const char *factor)
{
	json_t *list = json_array();
	const json_t *one;
	size_t i;

	json_array_foreach(c->credentials, i, one)
	{
		const char *id = json_string_value(json_object_get(one, "id"));
		json_t *credential = json_object_get(one, "credential_id");

		if (json_is_string(credential) &&
			json_array_size(list) < CEREMONY_CREDENTIALS_MAX &&
			(factor == NULL || (id != NULL && strcmp(id, factor) == 0))) {
			(void)json_array_append(list, credential);
		}
	}
	return list;
}

json_t *ceremony_attestation(const struct ceremony *c, struct bytes auth_data)
{
	return json_pack("{s:s, s:o, s:o}", "handshake", c->handshake, "client_data",
		json_base64(buf_bytes(&c->client_data)), "auth_data", json_base64(auth_data));
}

json_t *ceremony_proof(const struct ceremony *c, struct bytes auth_data, struct bytes signature,
	const char *factor)
{
	json_t *assertion = ceremony_attestation(c, auth_data);

	(void)json_object_set_new(assertion, "signature", json_base64(signature));
	return json_pack(
		"{s:s, s:o, s:s*}", "method", "fido2", "assertion", assertion, "id", factor);
}
