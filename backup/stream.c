#include "backup/stream.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

struct stream {
	struct repository *repository;
	const struct backup_manifest *manifest;
	const struct key *key;
	struct index_rules rules;
	uint32_t next_index; /* Index objects opened so far. */
	struct index_reader *index;
	uint32_t pack_number;
	struct object_reader *pack;
};

struct stream *stream_new(struct repository *repository, const struct backup_manifest *manifest,
	const struct key *key)
{
	struct stream *s = x_calloc(1, sizeof *s);

	s->repository = repository;
	s->manifest = manifest;
	s->key = key;
	index_rules_init(&s->rules, manifest);
	return s;
}

void stream_free(struct stream *s)
{
	if (s != NULL) {
		index_reader_free(s->index);
		object_reader_free(s->pack);
		free(s);
	}
}

static const struct manifest_object *stream_object(
	const struct stream *s, enum object_kind kind, uint32_t number)
{
	const struct backup_manifest *m = s->manifest;

	return &m->objects[kind == OBJECT_INDEX ? number : m->n_index + number];
}

static int stream_fault(
	const struct stream *s, enum object_kind kind, uint32_t number, int rc, struct err *e)
{
	const uint8_t *kid = key_pub_kid(key_public(s->key));

	if (rc == KLUIS_EFORBIDDEN && memcmp(kid, s->manifest->kid, KID_BYTES) == 0) {
		rc = err_set(e, KLUIS_ECORRUPT,
			"bytes 6 to 71 name another backup key than the manifest");
	}
	if (rc != 0) {
		rc = err_wrap(e, rc, "%s %u of index %llu", kind == OBJECT_INDEX ? "index" : "pack",
			number, (unsigned long long)s->manifest->index);
	}
	return repository_object_fault(stream_object(s, kind, number)->hash, rc, e);
}

static int stream_open(struct stream *s, enum object_kind kind, uint32_t number,
	struct object_reader **ret_object, struct err *e)
{
	const struct backup_manifest *m = s->manifest;
	const struct manifest_object *object = stream_object(s, kind, number);
	struct object_place place = {.kind = kind, .index = m->index, .number = number};
	uint64_t bytes = 0;
	int fd = -1, rc;

	memcpy(place.cluster_id, m->cluster_id, ID_BYTES);
	memcpy(place.lineage, m->lineage, ID_BYTES);
	rc = repository_open_object(s->repository, object->hash, &fd, &bytes, e);
	if (rc == 0 && bytes != object->bytes) {
		(void)close(fd); /* Only read. */
		rc = err_set(e, KLUIS_ECORRUPT, "%llu bytes, the manifest says %llu",
			(unsigned long long)bytes, (unsigned long long)object->bytes);
	} else if (rc == 0) {
		rc = object_reader_new(fd, &place, s->key, ret_object, e);
	}
	return rc;
}

static int stream_open_index(struct stream *s, struct err *e)
{
	struct object_reader *object = NULL;
	int rc;

	index_reader_free(s->index);
	s->index = NULL;
	rc = stream_open(s, OBJECT_INDEX, s->next_index, &object, e);
	if (rc == 0) {
		rc = index_reader_new(object, &s->index, e);
	}
	return stream_fault(s, OBJECT_INDEX, s->next_index++, rc, e);
}

int stream_next(struct stream *s, struct index_entry *ret_entry, bool *ret_more, struct err *e)
{
	bool more = false;
	int rc = 0;

	while (rc == 0 && !more) {
		if (s->index != NULL) {
			rc = index_reader_next(s->index, ret_entry, &more, e);
			rc = stream_fault(s, OBJECT_INDEX, s->next_index - 1, rc, e);
		}
		if (rc == 0 && !more) {
			if (s->next_index == s->manifest->n_index) {
				*ret_more = false;
				return index_rules_end(&s->rules, e);
			}
			rc = stream_open_index(s, e);
		}
	}
	if (rc == 0) {
		rc = index_rules_add(&s->rules, ret_entry, e);
	}
	*ret_more = true;
	return rc;
}

int stream_value(struct stream *s, const struct index_entry *entry, struct buf *to, struct err *e)
{
	uint8_t hash[HASH_BYTES];
	size_t before = to->len;
	int rc = 0;

	assert(!entry->tombstone && entry->pack < s->manifest->n_packs);
	if (s->pack == NULL || s->pack_number != entry->pack) {
		object_reader_free(s->pack);
		s->pack = NULL;
		s->pack_number = entry->pack;
		rc = stream_open(s, OBJECT_PACK, entry->pack, &s->pack, e);
	}
	if (rc == 0) {
		rc = object_reader_read(
			s->pack, entry->offset, entry->length, buf_extend(to, entry->length), e);
	}
	if (rc == 0) {
		hash_sha256(bytes_of(to->data + before, entry->length), hash);
		if (memcmp(hash, entry->value_hash, HASH_BYTES) != 0) {
			rc = err_set(e, KLUIS_EVERIFY, "value of row %llu.%u: not the one indexed",
				(unsigned long long)entry->index, entry->ordinal);
		}
	}
	if (rc != 0) {
		to->len = before;
	}
	return stream_fault(s, OBJECT_PACK, entry->pack, rc, e);
}
