/* A libuv loop that a test runs until what it waits for has happened, or fails. */
#ifndef KLUIS_TESTS_LIB_LOOP_H
#define KLUIS_TESTS_LIB_LOOP_H

#include <stdbool.h>
#include <uv.h>

/* Runs the loop until is_true(arg); fails the test after 20 seconds, naming `what`. */
void loop_until(uv_loop_t *loop, bool (*is_true)(void *arg), void *arg, const char *what);
/* Runs the loop for so many milliseconds: to show that something does NOT happen. */
void loop_for(uv_loop_t *loop, uint64_t ms);
/* Runs until nothing is open any more, then closes the loop; fails when that does not happen. */
void loop_end(uv_loop_t *loop);
/* Listens on 127.0.0.1, a port of the kernel's choice, which it returns. */
unsigned loop_listen(uv_loop_t *loop, uv_tcp_t *listener, uv_connection_cb cb);

#endif
