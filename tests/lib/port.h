#ifndef KLUIS_TESTS_LIB_PORT_H
#define KLUIS_TESTS_LIB_PORT_H

/* A free port of 127.0.0.1 that stays free for whoever binds it with SO_REUSEADDR (libuv and sshd
 * do) for as long as the returned descriptor is open, also between his restarts: a socket that is
 * bound and does not listen keeps the kernel from giving the port to others who ask for any, or as
 * the near end of a connection (ip(7), ip_local_port_range). Fails the test on errors. */
int port_reserve(unsigned *ret_port);

#endif
