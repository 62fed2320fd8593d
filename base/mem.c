#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void *mem_check(void *ptr)
{
	if (ptr == NULL) {
		(void)fputs("level=err op=memory state=exhausted\n", stderr);
		abort();
	}
	return ptr;
}

void *x_malloc(size_t bytes)
{
	return mem_check(malloc(bytes == 0 ? 1 : bytes));
}

void *x_malloc_aligned(size_t alignment, size_t bytes)
{
	return mem_check(aligned_alloc(alignment, bytes));
}

void *x_calloc(size_t count, size_t bytes)
{
	return mem_check(calloc(count == 0 ? 1 : count, bytes == 0 ? 1 : bytes));
}

void *x_realloc(void *ptr, size_t bytes)
{
	return mem_check(realloc(ptr, bytes == 0 ? 1 : bytes));
}

char *x_strdup(const char *text)
{
	return mem_check(strdup(text));
}

char *x_strndup(const char *text, size_t len)
{
	return mem_check(strndup(text, len));
}

char *x_asprintf(const char *fmt, ...)
{
	char *text = NULL;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&text, fmt, args);
	va_end(args);
	return mem_check(n < 0 ? NULL : text);
}

void *x_memdup(const void *data, size_t bytes)
{
	void *copy = x_malloc(bytes);

	if (bytes > 0) {
		memcpy(copy, data, bytes);
	}
	return copy;
}

void x_freep(void *ptr_to_ptr)
{
	void *ptr;

	memcpy(&ptr, ptr_to_ptr, sizeof ptr);
	free(ptr);
}

void x_closep(const int *fd)
{
	if (*fd >= 0) {
		(void)close(*fd); /* Read-only or already synced: nothing is left to lose. */
	}
}
