/* Whether each receiver still shows the key that is pinned, asked where nothing is owed that would
 * tell: after a start, and as long as it did not. What was known before a start would be forgotten
 * with it. */
#include <string.h>

#include "backup/sftp.h"
#include "base/log.h"
#include "node/backup_parts.h"

static int greet_work(struct pool_work *work)
{
	struct backup_shipment *s = CONTAINER_OF(work, struct backup_shipment, work);
	struct sftp *sftp = NULL;
	int rc;

	memset(&s->err, 0, sizeof s->err);
	rc = sftp_open(&s->target, &sftp, &s->err);
	sftp_close(sftp);
	return rc == 0 ? 0 : err_wrap(&s->err, rc, "ship to site '%s'", s->site->name);
}

/* What is away while nothing is owed to it is no shipment that fails. */
static void greet_done_cb(struct pool_work *work, int rc)
{
	struct backup_shipment *s = CONTAINER_OF(work, struct backup_shipment, work);

	s->busy = false;
	s->greet_ms = backup_job_now() + backup_job_pause(s->job, backup_ship_pause_ms(rc));
	if (rc == 0 || rc == KLUIS_EPIN || rc == KLUIS_EUNAUTHENTICATED) {
		backup_ship_tell(s, BACKUP_SHIP_CYCLE, rc, rc == 0, s->err.text);
	}
	if (rc == KLUIS_EPIN) {
		log_err("op=backup_greet site=%s rc=%s error=\"%s\"", s->site->name, err_name(rc),
			s->err.text);
	}
	backup_job_ended(s->job);
}

void backup_ship_greet(struct backup_shipment *s)
{
	struct backup_job *job = s->job;

	if (!s->unseen || s->busy || backup_job_now() < s->greet_ms) {
		return;
	}
	s->kind = BACKUP_SHIP_CYCLE;
	s->busy = pool_submit(job->pool, &s->work, job->home, greet_work, greet_done_cb) == 0;
}
