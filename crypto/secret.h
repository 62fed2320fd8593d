/* Memory for keys: locked against swapping where the limit allows, left out of core dumps, cleared
 * when freed, compared in constant time. Any thread. */
#ifndef KLUIS_CRYPTO_SECRET_H
#define KLUIS_CRYPTO_SECRET_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/random.h"

/* Zero it or SECRET_INIT before use. Never copied by assignment: one owner, one release. */
struct secret {
	uint8_t *data;
	size_t len;
};
#define SECRET_INIT ((struct secret){NULL, 0})

/* len zero bytes of secret memory; what `s` held before is released. len 0 gives an empty secret.
 * Aborts when memory is short; a len that a peer chose is checked before. When RLIMIT_MEMLOCK is
 * used up the memory is not locked, but all else holds (secret_locked() tells). */
void secret_init(struct secret *s, size_t len);
/* As secret_init(), then a copy of bytes: the caller clears the origin. */
void secret_set(struct secret *s, struct bytes bytes);
/* As secret_init(), then filled with random bytes. */
void secret_random(struct secret *s, size_t len, struct random *random);
/* Clears and frees; s is empty and usable again. For _cleanup_. */
void secret_release(struct secret *s);
/* Takes what `from` holds; what `to` held is released, `from` is empty after it. */
void secret_move(struct secret *to, struct secret *from);
/* Valid until the next change of s. */
struct bytes secret_bytes(const struct secret *s);
/* Equal length and equal bytes; the time depends on the lengths alone. */
bool secret_equal(struct bytes a, struct bytes b);
/* Clears bytes that lay elsewhere (stack, buf); not optimised away. */
void secret_clear(void *data, size_t len);
/* Clears the whole capacity of b and frees it: buf_release() for what was secret. For _cleanup_. */
void secret_buf_release(struct buf *b);
/* No core dumps of this process, and no debugger or /proc/PID/mem of the same user: what the
 * libraries derive from secrets lies in their own memory. First thing in main(). */
void secret_forbid_dumps(void);
/* Whether every secret so far lies in locked memory: false deserves one warning at start. */
bool secret_locked(void);

#endif
