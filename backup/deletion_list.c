#include "backup/deletion_list.h"

#include <string.h>

#include "backup/sorter.h"
#include "base/wire.h"

enum { LIST_VERSION = 2 };

/* What is sorted: the list's order, and of one id what says that the point has it last. */
enum { ITEM_KIND, ITEM_ID, ITEM_KNOWN = ITEM_ID + ID_BYTES, ITEM_BYTES };

struct collect {
	const struct deletion_point *point;
	struct sorter *sorter;
	struct err *e;
};

/* Six sites say the same, of as many as there are: sorted on disk. */
static int collect_each(void *data, const struct deletion *d)
{
	struct collect *c = data;
	uint8_t item[ITEM_BYTES];

	item[ITEM_KIND] = (uint8_t)d->kind;
	memcpy(item + ITEM_ID, d->id, ID_BYTES);
	item[ITEM_KNOWN] =
		memcmp(d->lineage, c->point->lineage, ID_BYTES) == 0 && d->index <= c->point->index;
	return sorter_add(c->sorter, item, c->e);
}

static int collect_read(struct collect *c, struct deletion_source *sources, size_t n,
	const struct backup_trust *trust)
{
	for (size_t i = 0; i < n; i++) {
		int rc = deletion_journal_read(sources[i].dir, trust, c->point->cluster_id,
			collect_each, c, &sources[i].mark, c->e);

		sources[i].found = rc == 0;
		if (rc != 0 && rc != KLUIS_ENOTFOUND) {
			return err_wrap(c->e, rc, "deletions in '%s'", sources[i].dir);
		}
	}
	return sorter_finish(c->sorter, c->e);
}

static size_t list_begin(const uint8_t nonce[ID_BYTES], struct buf *to)
{
	size_t counts;

	buf_put_str(to, "KDL1");
	buf_put_u8(to, LIST_VERSION);
	buf_put_zeros(to, 3);
	buf_append(to, nonce, ID_BYTES);
	counts = to->len;
	buf_put_zeros(to, (DELETION_KINDS - 1) * sizeof(uint32_t));
	return counts;
}

/* An id of which the last record says that the point does not have it. What another lineage deleted
 * may have been deleted before the point, too. */
static void collect_put(const uint8_t item[ITEM_BYTES], uint64_t n[DELETION_KINDS], struct buf *to)
{
	if (item[ITEM_KIND] != 0 && !item[ITEM_KNOWN]) {
		buf_append(to, item + ITEM_ID, ID_BYTES);
		n[item[ITEM_KIND]]++;
	}
}

static int collect_write(struct collect *c, uint64_t n[DELETION_KINDS], struct buf *to)
{
	uint8_t last[ITEM_BYTES] = {0};
	const uint8_t *item;
	int rc;

	for (;;) {
		rc = sorter_next(c->sorter, &item, c->e);
		if (rc != 0 || item == NULL) {
			break;
		}
		if (memcmp(last, item, ITEM_KNOWN) != 0) {
			collect_put(last, n, to);
		}
		memcpy(last, item, ITEM_BYTES);
	}
	collect_put(last, n, to);
	return rc;
}

/* Into the places that list_begin() left. */
static int list_count(struct buf *to, size_t at, const uint64_t n[DELETION_KINDS], struct err *e)
{
	for (unsigned kind = 1; kind < DELETION_KINDS; kind++, at += sizeof(uint32_t)) {
		if (n[kind] > BACKUP_DELETIONS_MAX) {
			return err_set(e, KLUIS_ETOOLARGE, "more deletions than a list can have");
		}
		store_u32(to->data + at, (uint32_t)n[kind]);
	}
	return 0;
}

int deletion_list_collect(struct deletion_source *sources, size_t n,
	const struct backup_trust *trust, const struct deletion_point *point, const char *scratch,
	const uint8_t nonce[ID_BYTES], struct buf *to, struct err *e)
{
	struct collect c = {.point = point,
		.sorter = sorter_new(ITEM_BYTES, BACKUP_SORT_BYTES, scratch),
		.e = e};
	uint64_t count[DELETION_KINDS] = {0};
	size_t counts = list_begin(nonce, to);
	uint64_t records = 0;
	int rc;

	for (size_t i = 0; i < n; i++) {
		records += deletion_journal_count(sources[i].dir);
	}
	sorter_expect(c.sorter, records);
	rc = collect_read(&c, sources, n, trust);
	rc = rc != 0 ? rc : collect_write(&c, count, to);
	rc = rc != 0 ? rc : list_count(to, counts, count, e);
	sorter_free(c.sorter);
	return rc;
}

static bool list_ascends(const uint8_t (*ids)[ID_BYTES], size_t n)
{
	for (size_t i = 1; i < n; i++) {
		if (memcmp(ids[i - 1], ids[i], ID_BYTES) >= 0) {
			return false;
		}
	}
	return true;
}

static const uint8_t (*list_ids(struct wire *w, size_t n))[ID_BYTES]
{
	return (const uint8_t(*)[ID_BYTES])wire_bytes(w, n * ID_BYTES).data;
}

int deletion_list_parse(struct bytes bytes, struct deletion_list *ret_list, struct err *e)
{
	struct wire w = wire_of(bytes);
	const uint8_t(*ids[DELETION_KINDS])[ID_BYTES] = {NULL};
	size_t n[DELETION_KINDS] = {0};
	bool named = wire_match(&w, "KDL1"), good = true;
	unsigned version = wire_u8(&w);

	if (named && wire_ok(&w) && version != LIST_VERSION) {
		return err_set(e, KLUIS_EVERSION, "a list of deletions of version %u", version);
	}
	wire_zeros(&w, 3);
	(void)wire_bytes(&w, ID_BYTES);
	for (unsigned kind = 1; kind < DELETION_KINDS; kind++) {
		n[kind] = wire_u32(&w);
	}
	for (unsigned kind = 1; kind < DELETION_KINDS; kind++) {
		ids[kind] = list_ids(&w, n[kind]);
	}
	good = wire_end(&w);
	for (unsigned kind = 1; good && kind < DELETION_KINDS; kind++) {
		good = list_ascends(ids[kind], n[kind]);
	}
	if (!good) {
		return err_set(e, KLUIS_ECORRUPT, "not a list of deletions");
	}
	*ret_list = (struct deletion_list){.vaults = ids[DELETION_VAULT],
		.persons = ids[DELETION_PERSON],
		.devices = ids[DELETION_DEVICE],
		.members = ids[DELETION_MEMBER],
		.n_vaults = n[DELETION_VAULT],
		.n_persons = n[DELETION_PERSON],
		.n_devices = n[DELETION_DEVICE],
		.n_members = n[DELETION_MEMBER]};
	return 0;
}

static size_t list_lacks(
	const uint8_t (*ids)[ID_BYTES], size_t n, const uint8_t (*other)[ID_BYTES], size_t n_other)
{
	size_t at = 0, lacks = 0;

	for (size_t i = 0; i < n_other; i++) {
		while (at < n && memcmp(ids[at], other[i], ID_BYTES) < 0) {
			at++;
		}
		lacks += at == n || memcmp(ids[at], other[i], ID_BYTES) != 0;
	}
	return lacks;
}

size_t deletion_list_lacks(const struct deletion_list *list, const struct deletion_list *other)
{
	return list_lacks(list->vaults, list->n_vaults, other->vaults, other->n_vaults) +
	       list_lacks(list->persons, list->n_persons, other->persons, other->n_persons) +
	       list_lacks(list->devices, list->n_devices, other->devices, other->n_devices) +
	       list_lacks(list->members, list->n_members, other->members, other->n_members);
}

void deletion_list_lineage(struct bytes bytes, uint8_t ret_lineage[ID_BYTES])
{
	uint8_t th[HASH_BYTES];

	HASH_TH(th, "kluis/v1/restore-lineage", bytes);
	memcpy(ret_lineage, th, ID_BYTES);
}
