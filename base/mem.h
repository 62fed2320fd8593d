/* Allocation that cannot fail, scoped clean-up, and the three macros everybody needs. */
#ifndef KLUIS_BASE_MEM_H
#define KLUIS_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define BIT(n)				(1U << (n))
#define ARRAY_SIZE(a)			(sizeof(a) / sizeof((a)[0]))
#define KLUIS_MUST_CHECK		__attribute__((warn_unused_result))
#define KLUIS_PRINTF(fmt, args)		__attribute__((format(printf, fmt, args)))
#define _cleanup_(fn)			__attribute__((cleanup(fn)))

/* As malloc, calloc, realloc, strdup, strndup; abort when memory is short (a supervisor restarts
 * the node, Raft covers it). A size that came from a peer, a client or a disk is checked against a
 * named limit before it gets here. */
void *x_malloc(size_t bytes) __attribute__((returns_nonnull, malloc));
void *x_malloc_aligned(size_t alignment, size_t bytes)
	__attribute__((returns_nonnull, malloc)); /* bytes: a multiple of it. */
void *x_calloc(size_t count, size_t bytes) __attribute__((returns_nonnull, malloc));
void *x_realloc(void *ptr, size_t bytes) __attribute__((returns_nonnull));
char *x_strdup(const char *text) __attribute__((returns_nonnull, malloc));
char *x_strndup(const char *text, size_t len) __attribute__((returns_nonnull, malloc));
char *x_asprintf(const char *fmt, ...) KLUIS_PRINTF(1, 2) __attribute__((returns_nonnull));
void *x_memdup(const void *data, size_t bytes) __attribute__((returns_nonnull, malloc));

/* For _cleanup_ on a local pointer or descriptor. */
void x_freep(void *ptr_to_ptr);
void x_closep(const int *fd);

#endif
