#include "crypto/secret.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Keys are short, pages of memory are not, and RLIMIT_MEMLOCK counts pages: short secrets share
 * locked slabs of equal slots, long ones have pages of their own. Slabs are never given back: a
 * process needs about as many keys again as it once did. */
enum {
	SECRET_SLOT_BYTES = 128,
	SECRET_SLAB_BYTES = 64 * 1024,
};

struct secret_slot {
	struct secret_slot *next;
};

static pthread_mutex_t secret_lock = PTHREAD_MUTEX_INITIALIZER;
static struct secret_slot *secret_free_slots;
static bool secret_unlocked;

static void *secret_map(size_t bytes)
{
	void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (data == MAP_FAILED) {
		abort();
	}
	if (mlock(data, bytes) != 0) {
		__atomic_store_n(&secret_unlocked, true, __ATOMIC_RELAXED);
	}
	(void)madvise(data, bytes, MADV_DONTDUMP); /* Best effort, as the lock is. */
	return data;
}

static size_t secret_mapped_bytes(size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (len + page - 1) / page * page;
}

static void secret_slab_add(void)
{
	uint8_t *slab = secret_map(SECRET_SLAB_BYTES);

	for (size_t at = 0; at < SECRET_SLAB_BYTES; at += SECRET_SLOT_BYTES) {
		struct secret_slot *slot = (void *)(slab + at);

		slot->next = secret_free_slots;
		secret_free_slots = slot;
	}
}

static void *secret_slot_take(void)
{
	struct secret_slot *slot;

	pthread_mutex_lock(&secret_lock);
	if (secret_free_slots == NULL) {
		secret_slab_add();
	}
	slot = secret_free_slots;
	secret_free_slots = slot->next;
	pthread_mutex_unlock(&secret_lock);
	memset(slot, 0, SECRET_SLOT_BYTES);
	return slot;
}

static void secret_slot_give(void *data)
{
	struct secret_slot *slot = data;

	pthread_mutex_lock(&secret_lock);
	slot->next = secret_free_slots;
	secret_free_slots = slot;
	pthread_mutex_unlock(&secret_lock);
}

void secret_init(struct secret *s, size_t len)
{
	secret_release(s);
	if (len == 0) {
		return;
	}
	s->data = len <= SECRET_SLOT_BYTES ? secret_slot_take()
					   : secret_map(secret_mapped_bytes(len));
	s->len = len;
}

void secret_set(struct secret *s, struct bytes bytes)
{
	struct secret fresh = SECRET_INIT;

	secret_init(&fresh, bytes.len);
	if (bytes.len > 0) {
		memcpy(fresh.data, bytes.data, bytes.len);
	}
	secret_move(s, &fresh);
}

void secret_random(struct secret *s, size_t len, struct random *random)
{
	secret_init(s, len);
	if (len > 0) {
		random_fill(random, s->data, len);
	}
}

void secret_release(struct secret *s)
{
	if (s->data != NULL) {
		secret_clear(s->data, s->len);
		if (s->len <= SECRET_SLOT_BYTES) {
			secret_slot_give(s->data);
		} else {
			(void)munmap(s->data, secret_mapped_bytes(s->len)); /* Our own map. */
		}
	}
	*s = SECRET_INIT;
}

void secret_move(struct secret *to, struct secret *from)
{
	assert(to != from);
	secret_release(to);
	*to = *from;
	*from = SECRET_INIT;
}

struct bytes secret_bytes(const struct secret *s)
{
	return bytes_of(s->data, s->len);
}

bool secret_equal(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.data, b.data, a.len) == 0);
}

void secret_clear(void *data, size_t len)
{
	if (len > 0) {
		OPENSSL_cleanse(data, len);
	}
}

void secret_buf_release(struct buf *b)
{
	secret_clear(b->data, b->cap);
	buf_release(b);
}

bool secret_locked(void)
{
	return !__atomic_load_n(&secret_unlocked, __ATOMIC_RELAXED);
}

void secret_forbid_dumps(void)
{
	const struct rlimit none = {0, 0};

	(void)setrlimit(RLIMIT_CORE, &none);	  /* Lowering cannot fail. */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* Nor can this. */
}
