/* Whether this node's pepper is the one that accounts are sealed under. A secrets file of another
 * making opens no verifier, and what it seals no other site opens: such a node neither judges nor
 * makes what lies under it, answers 503 so that clients ask another site, and says so (alarm
 * `pepper`). */
#ifndef KLUIS_NODE_PEPPER_H
#define KLUIS_NODE_PEPPER_H

#include "node/sealed.h"
#include "storage/kv.h"

enum { PEPPER_LOOK_MAX = 16 };

struct api;
struct api_call;

enum pepper_state {
	PEPPER_UNKNOWN, /* There is nobody yet. */
	PEPPER_SAME,
	PEPPER_DIFFERS, /* Nothing opens: it is this node's that differs. */
};
/* Verifiers of the first persons by name, at most PEPPER_LOOK_MAX. */
struct pepper_look {
	unsigned opened, failed;
};
enum pepper_state pepper_state(const struct pepper_look *look);
/* May block: not on a loop that must not. Errors: as the store's. */
KLUIS_MUST_CHECK int pepper_look(const struct kv_view *view, const struct secrets *secrets,
	struct pepper_look *ret_look, struct err *e);
/* What was found counts from now on; a change is logged. Any thread. */
void api_set_pepper(struct api *api, const struct pepper_look *look);
/* For people; "" when all is well. critical: as above. Any thread. */
void api_pepper_text(struct api *api, bool *ret_critical, char *to, size_t size);

/* sealed_open() for a call. KLUIS_EBEHIND: what this node cannot open another one may; it is
 * counted. */
KLUIS_MUST_CHECK int call_unseal(struct api_call *call, const struct sealed_place *place,
	unsigned pepper_id, struct bytes sealed, struct secret *ret_value);
/* KLUIS_EBEHIND when this node's pepper differs, the same for all names: before anything is sealed
 * or opened. */
KLUIS_MUST_CHECK int call_pepper(struct api_call *call);

#endif
