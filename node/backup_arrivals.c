/* Manifests that come into a drop are looked at when they have come, not at the next look: inotify
 * says so. Where the kernel refuses it, looks alone find them. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "backup/drop.h"
#include "base/log.h"
#include "node/backup_parts.h"

enum { ARRIVALS_READS_MAX = 16 }; /* Of one wake-up; what is left wakes again. */

void backup_arrivals_open(struct backup_arrivals *arrivals)
{
	arrivals->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (arrivals->fd < 0) {
		log_warn("op=backup_arrivals error=\"%s\", ignoring", strerrordesc_np(errno));
	}
}

int backup_arrivals_add(const struct backup_arrivals *arrivals, const char *drop)
{
	/* A file counts when its writer has closed it; who keeps it open is found by the next look.
	 */
	int watch = arrivals->fd < 0
			    ? -1
			    : inotify_add_watch(arrivals->fd, drop, IN_CLOSE_WRITE | IN_ONLYDIR);

	if (arrivals->fd >= 0 && watch < 0) {
		log_warn("op=backup_arrivals drop=%s error=\"%s\", ignoring", drop,
			strerrordesc_np(errno));
	}
	return watch;
}

static bool arrivals_tell(struct backup_job *job, const struct inotify_event *event)
{
	struct drop_name name;

	if (event->len == 0 || !drop_name_parse(event->name, &name) || !name.manifest) {
		return false;
	}
	for (size_t i = 0; i < job->n_intakes; i++) {
		if (job->intake[i].watch == event->wd) {
			backup_receive_hurry(&job->intake[i]);
			return true;
		}
	}
	return false;
}

static bool arrivals_read(struct backup_job *job, bool *told)
{
	_Alignas(struct inotify_event) char
		buffer[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)];
	ssize_t n = read(job->arrivals.fd, buffer, sizeof buffer);
	size_t at = 0;

	while (n > 0 && at < (size_t)n) {
		const struct inotify_event *event =
			(const struct inotify_event *)(const void *)(buffer + at);

		*told = arrivals_tell(job, event) || *told;
		at += sizeof *event + event->len;
	}
	return n > 0;
}

bool backup_arrivals_look(struct backup_job *job)
{
	bool told = false;

	for (unsigned i = 0; i < ARRIVALS_READS_MAX && arrivals_read(job, &told); i++) {
	}
	return told;
}

void backup_arrivals_release(struct backup_arrivals *arrivals)
{
	if (arrivals->fd >= 0) {
		(void)close(arrivals->fd); /* Its watches go with it. */
	}
}
