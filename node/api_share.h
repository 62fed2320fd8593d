/* What handlers of sharing have in common (api_share.c). Private to node/. */
#ifndef KLUIS_NODE_API_SHARE_H
#define KLUIS_NODE_API_SHARE_H

#include "node/api_call.h"
#include "storage/object_store.h"

/* A vault, a group or a conversation, as far as they are alike. */
struct shared {
	uint8_t kind;  /* MEMBER_OBJECT_VAULT .. */
	uint8_t state; /* Of a group or conversation: of the user's own membership, ... */
	unsigned role; /* ... and its role; 0: she sees the group through a vault alone. */
	uint32_t epoch, members_rev;
	uint8_t members_hash[32];
	struct object_row row; /* Unless a vault. */
};
/* That object, for this session's user; kind 0: whatever it is. role_min 0: to look at its members,
 * also for who is only invited or shares a vault with a group; above, as call_vault(). */
KLUIS_MUST_CHECK int call_shared(struct api_call *call, const uint8_t id[16], unsigned kind,
	unsigned role_min, struct shared *ret_shared);
/* What the route's path is of: MEMBER_OBJECT_VAULT .. */
unsigned call_object_kind(const struct api_call *call);
const char *call_role_name(unsigned role);
const char *call_member_state_name(unsigned state);

#endif
