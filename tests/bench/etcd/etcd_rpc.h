/* The few bytes of etcd's v3 API that a load needs (etcd 3.4, etcdserverpb/rpc.proto,
 * mvccpb/kv.proto): PutRequest {key 1, value 2}, RangeRequest {key 1, serializable 7},
 * RangeResponse {kvs 2} with KeyValue {value 5}, each in one gRPC frame (u8 compressed 0 | u32
 * length). */
#ifndef KLUIS_TESTS_BENCH_ETCD_RPC_H
#define KLUIS_TESTS_BENCH_ETCD_RPC_H

#include "base/buf.h"
#include "base/err.h"

#define ETCD_PATH_PUT	"/etcdserverpb.KV/Put"
#define ETCD_PATH_RANGE "/etcdserverpb.KV/Range"

/* Append one framed request. */
void etcd_put(struct bytes key, struct bytes value, struct buf *to);
void etcd_range(struct bytes key, bool serializable, struct buf *to);
/* The value in a framed RangeResponse, inside `frame`. KLUIS_EPROTO malformed, KLUIS_ENOTFOUND no
 * such key. */
KLUIS_MUST_CHECK int etcd_range_value(struct bytes frame, struct bytes *ret_value, struct err *e);

#endif
