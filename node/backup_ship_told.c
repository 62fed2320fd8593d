/* What operators are told of shipments: the last word on each kind of thing that is brought to each
 * site. */
#include <stdio.h>
#include <string.h>

#include "node/backup_parts.h"

/* Whoever was let in was so by the host that is pinned; that one refuses a key, too. */
static bool told_is_over(int last, int rc, bool let_in)
{
	return (last == KLUIS_EPIN && (let_in || rc == KLUIS_EUNAUTHENTICATED)) ||
	       (last == KLUIS_EUNAUTHENTICATED && let_in);
}

static void told_put(struct api_shipment *last, int rc, const char *text)
{
	last->rc = rc;
	(void)snprintf(last->text, sizeof last->text, "%s", rc == 0 ? "" : text);
}

void backup_ship_tell(struct backup_shipment *s, enum backup_ship_kind kind, int rc, bool let_in,
	const char *text)
{
	s->unseen = rc == KLUIS_EPIN || (s->unseen && !let_in && rc != KLUIS_EUNAUTHENTICATED);
	(void)pthread_mutex_lock(&s->job->lock);
	for (unsigned i = 0; i < BACKUP_SHIP_KINDS; i++) {
		struct api_shipment *last = &s->last[i];

		if (told_is_over(last->rc, rc, let_in)) {
			told_put(last, 0, "");
		}
		if (i == kind && (last->rc != KLUIS_EPIN || rc == KLUIS_EPIN)) {
			told_put(last, rc, text);
		}
	}
	(void)pthread_mutex_unlock(&s->job->lock);
}

void backup_ship_settled(struct backup_shipment *s, enum backup_ship_kind kind)
{
	struct api_shipment *last = &s->last[kind];

	(void)pthread_mutex_lock(&s->job->lock);
	if (last->rc != KLUIS_EPIN) { /* Somebody has to look at that, whatever is owed. */
		last->rc = 0;
		last->text[0] = 0;
	}
	(void)pthread_mutex_unlock(&s->job->lock);
}

static const struct api_shipment *told_worst(const struct backup_shipment *s)
{
	const struct api_shipment *cycle = &s->last[BACKUP_SHIP_CYCLE],
				  *journal = &s->last[BACKUP_SHIP_JOURNAL];

	return cycle->rc == 0 || journal->rc == KLUIS_EPIN ? journal : cycle;
}

size_t backup_job_shipments(void *data, struct api_shipment ret_rows[SITES_MAX])
{
	struct backup_job *job = data;

	(void)pthread_mutex_lock(&job->lock);
	for (size_t i = 0; i < job->n_shipments; i++) {
		ret_rows[i] = *told_worst(&job->shipment[i]);
	}
	(void)pthread_mutex_unlock(&job->lock);
	return job->n_shipments;
}
