#include "node/sealed.h"

static void place_context(const struct sealed_place *place, struct buf *to)
{
	buf_append(to, place->user_id, ID_BYTES);
	buf_append_bytes(to, bytes_str(place->field));
	if (place->id != NULL) {
		buf_append(to, place->id, ID_BYTES);
	}
}

void sealed_make(const struct secrets *secrets, const struct sealed_place *place,
	struct bytes value, struct random *random, struct buf *to)
{
	_cleanup_(buf_release) struct buf context = BUF_INIT;

	place_context(place, &context);
	seal_make(secret_bytes(&secrets->pepper), buf_bytes(&context), value, random, to);
}

int sealed_open(const struct secrets *secrets, const struct sealed_place *place, unsigned pepper_id,
	struct bytes sealed, struct secret *ret_value, struct err *e)
{
	_cleanup_(buf_release) struct buf context = BUF_INIT;

	if (pepper_id != secrets->pepper_id) {
		return err_set(e, KLUIS_EINTERNAL,
			"a '%s' is sealed under pepper %u, this node has %u", place->field,
			pepper_id, secrets->pepper_id);
	}
	place_context(place, &context);
	if (seal_open(secret_bytes(&secrets->pepper), buf_bytes(&context), sealed, ret_value, e) !=
		0) {
		return err_set(e, KLUIS_EINTERNAL, "a '%s' is not sealed by this cluster's pepper",
			place->field);
	}
	return 0;
}
