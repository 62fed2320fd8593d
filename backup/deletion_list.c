#include "backup/deletion_list.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"

/* One id, in the order of the list. */
struct collect_item {
	uint8_t kind;
	uint8_t id[ID_BYTES];
	bool known; /* The point has the deletion. */
};

struct collect {
	const struct deletion_point *point;
	struct err *e;
	struct collect_item *items;
	size_t n, cap;
};
enum { COLLECT_CAP_MIN = 1024, LIST_VERSION = 2 };

static int item_compare(const void *a, const void *b)
{
	const struct collect_item *x = a, *y = b;

	return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1) : memcmp(x->id, y->id, ID_BYTES);
}

static void collect_sort(struct collect *c)
{
	size_t n = 0;

	if (c->n == 0) {
		return;
	}
	qsort(c->items, c->n, sizeof *c->items, item_compare);
	for (size_t i = 0; i < c->n; i++) {
		if (n == 0 || item_compare(&c->items[n - 1], &c->items[i]) != 0) {
			c->items[n++] = c->items[i];
		}
	}
	c->n = n;
}

static bool collect_known(const struct collect *c, const struct deletion *d)
{
	return memcmp(d->lineage, c->point->lineage, ID_BYTES) == 0 && d->index <= c->point->index;
}

/* Six sites say the same: sorted out whenever the room is used up. */
static int collect_room(struct collect *c)
{
	if (c->n < c->cap) {
		return 0;
	}
	collect_sort(c);
	if (c->n > BACKUP_DELETIONS_MAX) {
		return err_set(c->e, KLUIS_ETOOLARGE, "more than %d deletions behind the snapshot",
			BACKUP_DELETIONS_MAX);
	}
	if (c->n >= c->cap / 2) {
		c->cap = c->cap == 0 ? COLLECT_CAP_MIN : 2 * c->cap;
		c->items = x_realloc(c->items, c->cap * sizeof *c->items);
	}
	return 0;
}

static int collect_each(void *data, const struct deletion *d)
{
	struct collect *c = data;
	struct collect_item *item;
	int rc;

	if (collect_known(c, d)) {
		return 0;
	}
	rc = collect_room(c);
	if (rc == 0) {
		item = &c->items[c->n++];
		*item = (struct collect_item){.kind = (uint8_t)d->kind};
		memcpy(item->id, d->id, ID_BYTES);
	}
	return rc;
}

/* What another lineage deleted may have been deleted before the point, too. */
static int collect_strike(void *data, const struct deletion *d)
{
	struct collect *c = data;
	struct collect_item key = {.kind = (uint8_t)d->kind}, *found;

	if (collect_known(c, d) && c->n > 0) {
		memcpy(key.id, d->id, ID_BYTES);
		found = bsearch(&key, c->items, c->n, sizeof *c->items, item_compare);
		if (found != NULL) {
			found->known = true;
		}
	}
	return 0;
}

static int collect_read(struct collect *c, struct deletion_source *sources, size_t n,
	const struct backup_trust *trust, int (*each)(void *data, const struct deletion *deletion))
{
	for (size_t i = 0; i < n; i++) {
		int rc = deletion_journal_read(sources[i].dir, trust, c->point->cluster_id, each, c,
			&sources[i].mark, c->e);

		sources[i].found = rc == 0;
		if (rc != 0 && rc != KLUIS_ENOTFOUND) {
			return err_wrap(c->e, rc, "deletions in '%s'", sources[i].dir);
		}
	}
	return 0;
}

static void list_begin(
	const uint8_t nonce[ID_BYTES], const size_t n[DELETION_KINDS], struct buf *to)
{
	buf_put_str(to, "KDL1");
	buf_put_u8(to, LIST_VERSION);
	buf_put_zeros(to, 3);
	buf_append(to, nonce, ID_BYTES);
	for (unsigned kind = 1; kind < DELETION_KINDS; kind++) {
		buf_put_u32(to, n[kind]);
	}
}

static void collect_write(const struct collect *c, const uint8_t nonce[ID_BYTES], struct buf *to)
{
	size_t n[DELETION_KINDS] = {0};

	for (size_t i = 0; i < c->n; i++) {
		n[c->items[i].kind] += !c->items[i].known;
	}
	list_begin(nonce, n, to);
	for (size_t i = 0; i < c->n; i++) {
		if (!c->items[i].known) {
			buf_append(to, c->items[i].id, ID_BYTES);
		}
	}
}

int deletion_list_collect(struct deletion_source *sources, size_t n,
	const struct backup_trust *trust, const struct deletion_point *point,
	const uint8_t nonce[ID_BYTES], struct buf *to, struct err *e)
{
	struct collect c = {.point = point, .e = e};
	int rc = collect_read(&c, sources, n, trust, collect_each);

	collect_sort(&c);
	rc = rc != 0 ? rc : collect_read(&c, sources, n, trust, collect_strike);
	if (rc == 0 && c.n > BACKUP_DELETIONS_MAX) {
		rc = err_set(e, KLUIS_ETOOLARGE, "more than %d deletions behind the snapshot",
			BACKUP_DELETIONS_MAX);
	}
	if (rc == 0) {
		collect_write(&c, nonce, to);
	}
	free(c.items);
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
		if (n[kind] > BACKUP_DELETIONS_MAX) {
			return err_set(e, KLUIS_ECORRUPT, "a list of too many deletions");
		}
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

void deletion_list_lineage(struct bytes bytes, uint8_t ret_lineage[ID_BYTES])
{
	uint8_t th[HASH_BYTES];

	HASH_TH(th, "kluis/v1/restore-lineage", bytes);
	memcpy(ret_lineage, th, ID_BYTES);
}
