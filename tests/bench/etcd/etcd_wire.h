/* gRPC over HTTP/2 on one connection, one call at a time, for cli/load/load. A request's head is
 * the framed message (tests/bench/etcd/etcd_rpc); LOAD_PUT calls Put, LOAD_GET calls Range. */
#ifndef KLUIS_TESTS_BENCH_ETCD_WIRE_H
#define KLUIS_TESTS_BENCH_ETCD_WIRE_H

#include "cli/load/load_report.h"

/* protocol_arg: const char *, the :authority. */
extern const struct load_protocol etcd_wire_protocol;

#endif
