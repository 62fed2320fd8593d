#include "node/event_look.h"

#include "storage/position.h"
#include "storage/session_store.h"

static int look_session(
	struct event_look *look, const struct kv_view *view, struct session_row *ret_session)
{
	struct position position;
	int rc = position_get(view, &position, &look->e);

	if (rc == 0) {
		look->index = position.index;
		if (position.cluster_time_ms > look->now_ms) {
			look->now_ms = position.cluster_time_ms;
		}
		rc = session_store_check(
			view, look->token_hash, look->now_ms, ret_session, &look->e);
	}
	if (rc == 0 && ret_session->level != SESSION_FULL) {
		rc = err_set(&look->e, KLUIS_EUNAUTHENTICATED, "the session is not of full level");
	}
	return rc;
}

static int look_at(struct event_look *look, const struct kv_view *view)
{
	struct session_row session;
	int rc = look_session(look, view, &session);

	if (rc != 0) {
		return rc;
	}
	look->expires_ms = session.expires_ms;
	rc = event_store_topics(view, session.user_id, session.device_id, &look->topics, &look->e);
	if (rc == 0 && look->scan) {
		rc = event_store_missed(
			view, &look->topics, look->since, &look->missed, &look->all, &look->e);
	}
	return rc;
}

int event_look_work(struct pool_work *work)
{
	struct event_look *look = CONTAINER_OF(work, struct event_look, work);
	struct api_backend *backend = look->backend;
	struct kv_view *view;
	struct kv *kv;

	if (backend->quarantined(backend)) {
		look->rc = err_set(
			&look->e, KLUIS_EBEHIND, "this node's state is not that of the others");
		return look->rc;
	}
	look->rc = backend->read_begin(backend, &kv);
	if (look->rc == 0) {
		view = kv_view_new(kv);
		look->rc = look_at(look, view);
		if (look->rc == KLUIS_ECORRUPT || look->rc == KLUIS_EIO) {
			backend->doubt(backend, look->e.text);
			look->rc = KLUIS_EBEHIND;
		}
		kv_view_free(view);
		backend->read_end(backend);
	}
	return look->rc;
}

void event_look_free(struct event_look *look)
{
	event_topics_release(&look->topics);
	event_list_release(&look->missed);
	free(look);
}
