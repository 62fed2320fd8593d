/* Bytes as text: lower-case hex, base64url and base32 without padding (RFC 4648 sections 5 and 6),
 * decimal numbers.
 */
#ifndef KLUIS_BASE_TEXT_H
#define KLUIS_BASE_TEXT_H

#include "base/buf.h"
#include "base/err.h"

#define HEX_LEN(bytes)	  (2 * (bytes))
#define BASE64_LEN(bytes) (((bytes)*4 + 2) / 3)
#define BASE32_LEN(bytes) (((bytes)*8 + 4) / 5)

void hex_encode(struct bytes bytes, char *to); /* HEX_LEN + 1 chars, NUL-terminated. */
void hex_append(struct buf *b, struct bytes bytes);
/* Exactly len bytes from exactly 2*len lower- or upper-case digits; else KLUIS_EINVAL and `to`
 * untouched. */
KLUIS_MUST_CHECK int hex_decode(const char *text, void *to, size_t len);
/* Any even length up to max bytes; appends. */
KLUIS_MUST_CHECK int hex_decode_buf(struct bytes text, size_t max, struct buf *to);

void base64_encode(struct bytes bytes, char *to); /* BASE64_LEN + 1 chars, NUL-terminated. */
void base64_append(struct buf *b, struct bytes bytes);
/* base64url, no padding, no white space, unused bits zero; appends at most max bytes; else
 * KLUIS_EINVAL. */
KLUIS_MUST_CHECK int base64_decode(struct bytes text, size_t max, struct buf *to);
KLUIS_MUST_CHECK int base64_decode_exact(struct bytes text, void *to, size_t len);

/* Base64 (RFC 4648 section 4) with padding: what others' protocols ask for. */
void base64_plain_append(struct buf *b, struct bytes bytes);

/* Base32 (RFC 4648 section 6) without padding, in capitals: what authenticator apps take. Appends.
 */
void base32_append(struct buf *b, struct bytes bytes);
/* Either case; no padding, no white space, unused bits zero; appends at most max bytes; else
 * KLUIS_EINVAL. */
KLUIS_MUST_CHECK int base32_decode(struct bytes text, size_t max, struct buf *to);

/* Decimal digits only, no sign, no leading zero but "0", at most max; else KLUIS_EINVAL. */
KLUIS_MUST_CHECK int u64_parse(struct bytes text, uint64_t max, uint64_t *ret_value);

/* Strict UTF-8 (RFC 3629) without NUL. */
bool utf8_valid(struct bytes text);
/* That, and nothing in it that a terminal would act on: no C0 (line ends and tabs included), no
 * DEL, no C1. */
bool text_printable(struct bytes text);

#endif
