#include "backup/ssh_host_key.h"

#include <string.h>

#include "base/text.h"
#include "crypto/hash.h"

/* Between the two alphabets of RFC 4648, sections 4 and 5. */
static char ssh_base64_swap(char c, const char *from, const char *to)
{
	for (unsigned i = 0; i < 2; i++) {
		if (c == from[i]) {
			return to[i];
		}
	}
	return c;
}

int ssh_host_key_parse(const char *line, struct buf *to)
{
	static const char type[] = "ssh-ed25519 ";
	char text[SSH_HOST_KEY_BYTES_MAX];
	size_t len;

	if (strncmp(line, type, sizeof type - 1) != 0) {
		return KLUIS_EINVAL;
	}
	line += sizeof type - 1;
	len = strcspn(line, " =\n");
	if (len >= sizeof text) {
		return KLUIS_EINVAL;
	}
	for (size_t i = 0; i < len; i++) {
		text[i] = ssh_base64_swap(line[i], "+/", "-_");
	}
	return base64_decode(bytes_of(text, len), SSH_HOST_KEY_BYTES_MAX, to);
}

void ssh_host_key_fingerprint(struct bytes wire, char ret[SSH_FINGERPRINT_BYTES])
{
	static const char prefix[] = "SHA256:";
	uint8_t hash[HASH_BYTES];

	hash_sha256(wire, hash);
	memcpy(ret, prefix, sizeof prefix - 1);
	ret += sizeof prefix - 1;
	base64_encode(bytes_of(hash, sizeof hash), ret);
	for (; *ret != '\0'; ret++) {
		*ret = ssh_base64_swap(*ret, "-_", "+/");
	}
}
