/* What a call's request says outside its body: path, query, fields. Private to node/. */
#ifndef KLUIS_NODE_CALL_INPUT_H
#define KLUIS_NODE_CALL_INPUT_H

#include "node/api_call.h"
#include "node/cursor.h"

/* Fills the call from req's path, query and fields by what its route takes. KLUIS_EINVAL,
 * KLUIS_ELINEAGE, KLUIS_EUNAUTHENTICATED, KLUIS_EPRECONDITION_REQUIRED (no Idempotency-Key). */
KLUIS_MUST_CHECK int call_input(struct api_call *call);

#endif
