#include "base/arena.h"

#include <assert.h>
#include <string.h>

enum {
	ARENA_CHUNK_BYTES = 32 << 10,
	ARENA_CHUNKS_KEPT = 16,
	ARENA_ALIGN = _Alignof(max_align_t),
};

struct arena_chunk {
	struct arena_chunk *next;
	size_t bytes;
	_Alignas(max_align_t) uint8_t data[];
};

static void arena_push(struct arena_chunk **list, struct arena_chunk *chunk)
{
	chunk->next = *list;
	*list = chunk;
}

static struct arena_chunk *arena_pop(struct arena_chunk **list)
{
	struct arena_chunk *chunk = *list;

	if (chunk != NULL) {
		*list = chunk->next;
	}
	return chunk;
}

/* What is large gets a chunk of its own size. */
static void arena_grow(struct arena *arena, size_t bytes)
{
	struct arena_chunk *chunk = bytes <= ARENA_CHUNK_BYTES ? arena_pop(&arena->spare) : NULL;

	if (chunk == NULL) {
		size_t size = bytes <= ARENA_CHUNK_BYTES ? ARENA_CHUNK_BYTES : bytes;

		chunk = x_malloc(sizeof *chunk + size);
		chunk->bytes = size;
	}
	arena_push(&arena->chunks, chunk);
	arena->used = 0;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
	size_t need = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
	uint8_t *data;

	assert(bytes <= SIZE_MAX / 2);
	if (arena->chunks == NULL || need > arena->chunks->bytes - arena->used) {
		arena_grow(arena, need);
	}
	data = arena->chunks->data + arena->used;
	arena->used += need;
	return data;
}

struct bytes arena_copy(struct arena *arena, struct bytes bytes)
{
	uint8_t *copy = arena_alloc(arena, bytes.len);

	if (bytes.len > 0) {
		memcpy(copy, bytes.data, bytes.len);
	}
	return bytes_of(copy, bytes.len);
}

void arena_clear(struct arena *arena)
{
	struct arena_chunk *chunk;
	size_t kept = 0;

	for (chunk = arena->spare; chunk != NULL; chunk = chunk->next) {
		kept++;
	}
	while ((chunk = arena_pop(&arena->chunks)) != NULL) {
		if (chunk->bytes == ARENA_CHUNK_BYTES && kept < ARENA_CHUNKS_KEPT) {
			arena_push(&arena->spare, chunk);
			kept++;
		} else {
			free(chunk);
		}
	}
	arena->used = 0;
}

void arena_release(struct arena *arena)
{
	struct arena_chunk *chunk;

	arena_clear(arena);
	while ((chunk = arena_pop(&arena->spare)) != NULL) {
		free(chunk);
	}
}
