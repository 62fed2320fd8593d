/* A push service in a thread: real TLS on a loopback port, HTTP/2 or HTTP/1.1, answers as it is
 * told and keeps what it was sent. */
#ifndef KLUIS_TESTS_LIB_API_PUSH_RECEIVER_H
#define KLUIS_TESTS_LIB_API_PUSH_RECEIVER_H

#include <stdbool.h>

#include "base/buf.h"
#include "crypto/pki.h"

struct push_receiver;

struct push_received {
	struct buf path;
	struct buf fields; /* "name: value\n" each, names in lower case. */
	struct buf body;
	bool h2;
};

/* Its certificate is of 127.0.0.1 and localhost. */
struct push_receiver *push_receiver_new(const struct pki_identity *server, bool h2);
void push_receiver_free(struct push_receiver *receiver);
unsigned push_receiver_port(const struct push_receiver *receiver);
/* The next request is answered with this; field ("name: value") and body may be NULL. Without one
 * it is 201. Status 0: the connection is cut. */
void push_receiver_answer(
	struct push_receiver *receiver, int status, const char *field, const char *body);
/* Waits for a request that was not taken yet, and gives it to the caller. Fails the test after 10
 * seconds. */
void push_receiver_take(struct push_receiver *receiver, struct push_received *ret_received);
void push_received_release(struct push_received *received); /* For _cleanup_. */
/* The value of a field on the heap; fails the test when it is not there once. */
char *push_received_field(struct push_received *received, const char *name);
/* How many requests came so far. */
unsigned push_receiver_count(struct push_receiver *receiver);

#endif
