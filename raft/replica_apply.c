#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "raft/fail_stop.h"
#include "raft/replica_impl.h"

void applier_init(struct applier *applier)
{
	applier->tail = &applier->head;
	(void)pthread_mutex_init(&applier->lock, NULL);
	(void)pthread_mutex_init(&applier->watch_lock, NULL);
	(void)pthread_cond_init(&applier->more, NULL);
	(void)pthread_cond_init(&applier->readers_gone, NULL);
}

struct apply_job *apply_job_new(struct replica *r, enum apply_kind kind, unsigned n)
{
	struct apply_job *job = x_calloc(1, sizeof *job + n * sizeof job->entries[0]);

	job->replica = r;
	job->kind = kind;
	job->n = n;
	return job;
}

static void apply_job_free(struct apply_job *job)
{
	for (unsigned i = 0; i < job->n; i++) {
		entry_unref(job->entries[i]);
	}
	fsm_results_release(&job->results);
	free(job->servers);
	free(job);
}

/* --- on the apply thread --- */

/* The next job; jobs of entries that wait behind it are merged into it: one batch of the store. */
static struct apply_job *applier_next(struct applier *a)
{
	struct apply_job *job, *last;
	unsigned n;

	(void)pthread_mutex_lock(&a->lock);
	while (a->head == NULL) {
		(void)pthread_cond_wait(&a->more, &a->lock);
	}
	job = last = a->head;
	n = job->n;
	while (job->kind == APPLY_ENTRIES && last->next != NULL &&
		last->next->kind == APPLY_ENTRIES && n + last->next->n <= APPLY_ENTRIES_MAX) {
		last = last->next;
		n += last->n;
	}
	a->head = last->next;
	if (a->head == NULL) {
		a->tail = &a->head;
	}
	last->next = NULL;
	(void)pthread_mutex_unlock(&a->lock);
	return job;
}

static void applier_merge(struct apply_job **job)
{
	struct apply_job *first = *job, *all;
	unsigned n = 0, at = 0;

	if (first->next == NULL) {
		return;
	}
	for (struct apply_job *j = first; j != NULL; j = j->next) {
		n += j->n;
	}
	all = apply_job_new(first->replica, APPLY_ENTRIES, n);
	while (first != NULL) {
		struct apply_job *next = first->next;

		memcpy(all->entries + at, first->entries, first->n * sizeof first->entries[0]);
		at += first->n;
		all->bytes += first->bytes;
		first->n = 0; /* Their references moved. */
		apply_job_free(first);
		first = next;
	}
	*job = all;
}

/* Of the store nothing can be used any more but what was applied; the log, which says what is to be
 * in it, is not in doubt. So the process lives on, and a peer's store takes its place. Any other
 * failure is one of writing, or a command that this binary does not know. */
static void applier_failed(
	struct replica *r, struct apply_job *job, const char *what, const struct err *e)
{
	if (e->code != KLUIS_ECORRUPT) {
		fail_stop("%s: %s ('kluisd rebuild' replaces a store that cannot be read by a "
			  "peer's)",
			what, e->text);
	}
	job->rc = e->code;
	job->results.servers_changed = false;
	r->applier.broken = true;
	replica_doubt(r, e->text);
}

static void applier_tell(struct replica *r, const struct event_list *events, bool all)
{
	struct applier *a = &r->applier;

	(void)pthread_mutex_lock(&a->watch_lock);
	if (a->watch != NULL) {
		a->watch->cb(a->watch, events->event, events->n, fsm_position(a->fsm)->index, all);
	}
	(void)pthread_mutex_unlock(&a->watch_lock);
}

static void applier_entries(struct replica *r, struct apply_job *job)
{
	struct err e = {0};

	if (r->applier.broken) {
		job->rc = KLUIS_ECORRUPT;
	} else if (fsm_apply(r->applier.fsm, job->entries, job->n, &job->results, &e) != 0) {
		_cleanup_(x_freep) char *what = x_asprintf("apply entries %llu to %llu",
			(unsigned long long)job->entries[0]->index,
			(unsigned long long)job->entries[job->n - 1]->index);

		applier_failed(r, job, what, &e);
	} else {
		applier_tell(r, &job->results.events, false);
	}
}

static void applier_flush(struct replica *r, struct apply_job *job)
{
	struct err e = {0};

	if (r->applier.broken) {
		job->rc = KLUIS_ECORRUPT;
		return;
	}
	if (fsm_flush(r->applier.fsm, &job->index, &e) != 0) {
		applier_failed(r, job, "flush the store", &e);
		return;
	}
	if (fsm_reclaim(r->applier.fsm, atomic_load(&r->read_only), &e) != 0) {
		log_warn("op=reclaim msg=\"%s\", retrying", e.text); /* At the next flush. */
	}
}

static void applier_work(struct replica *r, struct replica_work *work)
{
	const struct position *position = fsm_position(r->applier.fsm);

	work->index = position->index;
	work->term = position->term;
	work->rc = r->applier.broken ? KLUIS_ECORRUPT : work->fn(work, r->applier.fsm);
}

void applier_marked_cb(void *data, struct fsm *fsm, const struct fsm_mark *mark)
{
	struct replica *r = data;

	(void)pthread_mutex_lock(&r->mark_lock);
	if (r->mark_cb != NULL) {
		r->mark_cb(r->mark_data, fsm, mark);
	}
	(void)pthread_mutex_unlock(&r->mark_lock);
}

/* Nobody may read the store while it is another one: waits for those that do. */
static void applier_close_gate(struct applier *a)
{
	(void)pthread_mutex_lock(&a->lock);
	a->swapping = true;
	while (a->readers > 0) {
		(void)pthread_cond_wait(&a->readers_gone, &a->lock);
	}
	(void)pthread_mutex_unlock(&a->lock);
}

static void applier_open_gate(struct applier *a)
{
	(void)pthread_mutex_lock(&a->lock);
	a->swapping = false;
	(void)pthread_mutex_unlock(&a->lock);
}

/* The store is another one. */
static void applier_changed(struct replica *r)
{
	static const struct event_list none;

	r->applier.broken = false;
	applier_open_gate(&r->applier);
	applier_tell(r, &none, true);
}

static void applier_install(struct replica *r)
{
	struct err e = {0};

	applier_close_gate(&r->applier);
	if (catch_up_swap(r, &e) != 0) {
		fail_stop("install the fetched store: %s", e.text);
	}
	applier_changed(r);
}

/* As applier_install(), but the log stays. */
static void applier_replace(struct replica *r)
{
	struct err e = {0};

	applier_close_gate(&r->applier);
	if (rebuild_swap(r, &e) != 0) {
		fail_stop("replace the store by the fetched one: %s", e.text);
	}
	applier_changed(r);
}

static void applier_done_cb(struct mail *mail);

static void applier_do(struct replica *r, struct apply_job *job)
{
	switch (job->kind) {
	case APPLY_ENTRIES:
		applier_entries(r, job);
		break;
	case APPLY_FLUSH:
		applier_flush(r, job);
		break;
	case APPLY_WORK:
		applier_work(r, job->work);
		break;
	case APPLY_INSTALL:
		applier_install(r);
		break;
	case APPLY_REPLACE:
		applier_replace(r);
		break;
	case APPLY_STOP:
		break;
	}
	job->position = *fsm_position(r->applier.fsm);
	if (job->results.servers_changed || job->kind == APPLY_INSTALL ||
		job->kind == APPLY_REPLACE) {
		job->servers = x_memdup(fsm_servers(r->applier.fsm), sizeof *job->servers);
	}
	atomic_store(&r->applied, job->position.index);
	job->mail.deliver_cb = applier_done_cb;
	mailbox_send(&r->mailbox, &job->mail);
}

static void *applier_thread(void *arg)
{
	struct replica *r = arg;
	bool running = true;

	(void)pthread_setname_np(pthread_self(), "apply"); /* Only for people. */
	while (running) {
		struct apply_job *job = applier_next(&r->applier);

		if (job->kind == APPLY_ENTRIES) {
			applier_merge(&job);
		}
		running = job->kind != APPLY_STOP;
		applier_do(r, job);
	}
	return NULL;
}

/* --- on the core thread --- */

static void applier_entries_done(struct replica *r, struct apply_job *job)
{
	if (job->rc != 0) {
		rebuild_broke(r);
		return;
	}
	r->bytes_to_flush += job->bytes;
	cluster_clock_applied(r);
	proposer_applied(r, &job->results, job->position.term);
	reader_applied(r);
	rebuild_judged(r, job->results.quarantined);
	if (job->results.report_due) {
		replica_report(r, &job->results.report);
	}
	if (job->results.past_due) {
		replica_report(r, &job->results.past);
	}
	driver_applied(r->driver, job->position.index, 0);
}

static void applier_done_cb(struct mail *mail)
{
	struct apply_job *job = CONTAINER_OF(mail, struct apply_job, mail);
	struct replica *r = job->replica;

	r->position = job->position;
	if (job->servers != NULL && !r->stopping) { /* Before the driver hears of it. */
		replica_members_set(r, job->servers);
	}
	if (job->kind == APPLY_WORK) {
		struct replica_work *work = job->work;

		mailbox_send(work->home, &work->mail);
	} else if (r->stopping) {
		/* The driver takes nothing any more. */
	} else if (job->kind == APPLY_ENTRIES) {
		applier_entries_done(r, job);
	} else if (job->kind == APPLY_FLUSH) {
		r->flushing = false;
		if (job->rc == 0) {
			replica_flushed(r, job->index);
		} else {
			rebuild_broke(r);
		}
	} else if (job->kind == APPLY_INSTALL) {
		catch_up_swapped(r);
	} else if (job->kind == APPLY_REPLACE) {
		rebuild_swapped(r);
	}
	apply_job_free(job);
}

void applier_push(struct replica *r, struct apply_job *job)
{
	struct applier *a = &r->applier;

	(void)pthread_mutex_lock(&a->lock);
	*a->tail = job;
	a->tail = &job->next;
	(void)pthread_cond_signal(&a->more);
	(void)pthread_mutex_unlock(&a->lock);
}

void applier_start(struct replica *r)
{
	int rv = pthread_create(&r->applier.thread, NULL, applier_thread, r);

	assert(rv == 0);
	r->applier.started = true;
}

void applier_stop(struct replica *r)
{
	if (r->applier.started) {
		applier_push(r, apply_job_new(r, APPLY_STOP, 0));
		(void)pthread_join(r->applier.thread, NULL);
		r->applier.started = false;
	}
}

/* --- any thread --- */

int replica_read_begin(struct replica *r, struct kv **ret_kv)
{
	struct applier *a = &r->applier;
	int rc = KLUIS_EBEHIND;

	(void)pthread_mutex_lock(&a->lock);
	if (!a->swapping) {
		a->readers++;
		*ret_kv = a->kv;
		rc = 0;
	}
	(void)pthread_mutex_unlock(&a->lock);
	return rc;
}

uint64_t replica_store_number(const struct replica *r)
{
	return atomic_load(&r->stores);
}

bool replica_read_unwanted(struct replica *r)
{
	bool swapping;

	(void)pthread_mutex_lock(&r->applier.lock);
	swapping = r->applier.swapping;
	(void)pthread_mutex_unlock(&r->applier.lock);
	return swapping;
}

void replica_on_mark(struct replica *r,
	void (*mark_cb)(void *data, struct fsm *fsm, const struct fsm_mark *mark), void *data)
{
	(void)pthread_mutex_lock(&r->mark_lock);
	r->mark_cb = mark_cb;
	r->mark_data = data;
	(void)pthread_mutex_unlock(&r->mark_lock);
}

void replica_watch_set(struct replica *r, struct replica_watch *watch)
{
	(void)pthread_mutex_lock(&r->applier.watch_lock);
	r->applier.watch = watch;
	(void)pthread_mutex_unlock(&r->applier.watch_lock);
}

bool replica_quarantined(const struct replica *r)
{
	return atomic_load(&r->quarantined);
}

void replica_read_end(struct replica *r)
{
	struct applier *a = &r->applier;

	(void)pthread_mutex_lock(&a->lock);
	assert(a->readers > 0);
	a->readers--;
	if (a->readers == 0) {
		(void)pthread_cond_signal(&a->readers_gone);
	}
	(void)pthread_mutex_unlock(&a->lock);
}

static void replica_work_deliver_cb(struct mail *mail)
{
	struct replica_work *work = CONTAINER_OF(mail, struct replica_work, mail);

	work->cb(work, work->rc);
}

void replica_work_start(struct replica_work *work, struct replica *r, struct mailbox *home,
	int (*fn)(struct replica_work *work, struct fsm *fsm),
	void (*cb)(struct replica_work *work, int rc))
{
	struct apply_job *job = apply_job_new(r, APPLY_WORK, 0);
	bool closing;

	*work = (struct replica_work){.replica = r, .home = home, .fn = fn, .cb = cb};
	work->mail.deliver_cb = replica_work_deliver_cb;
	work->rc = KLUIS_ECLOSED;
	job->work = work;
	(void)pthread_mutex_lock(&r->gate);
	closing = r->closing;
	if (!closing) {
		applier_push(r, job);
	}
	(void)pthread_mutex_unlock(&r->gate);
	if (closing) {
		apply_job_free(job);
		mailbox_send(home, &work->mail);
	}
}
