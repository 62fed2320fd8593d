/* What one client says to the others of a conversation while they set up a call: opaque, passed on
 * between nodes and never kept (docs/format-link.md). */
#ifndef KLUIS_NODE_CALL_SIGNAL_H
#define KLUIS_NODE_CALL_SIGNAL_H

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"

enum { CALL_SIGNAL_VERSION = 1, CALL_SIGNAL_KIND = 1 };

/* References are counted, on one thread. */
struct call_signal {
	struct call_signal *next; /* Of whoever holds it before it is told. */
	unsigned refs;
	uint8_t conversation_id[16], user_id[16], device_id[16];
	size_t bytes; /* 1 .. CALL_SIGNAL_BYTES_MAX */
	uint8_t data[];
};

/* Copies data; one reference, the caller's. */
struct call_signal *call_signal_new(const uint8_t conversation_id[16], const uint8_t user_id[16],
	const uint8_t device_id[16], struct bytes data);
struct call_signal *call_signal_ref(struct call_signal *signal);
void call_signal_unref(struct call_signal *signal); /* NULL is fine. */
/* The message for the other nodes, appended. */
void call_signal_encode(const struct call_signal *signal, struct buf *to);
/* One reference, the caller's. KLUIS_EPROTO: malformed; KLUIS_EVERSION: of another kind or version,
 * to be ignored. */
KLUIS_MUST_CHECK int call_signal_decode(
	struct bytes message, struct call_signal **ret_signal, struct err *e);

#endif
