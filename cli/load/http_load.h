/* HTTP/1.1 on a kept-alive connection, for cli/load/load. A request's head is its whole header
 * block with the empty line, made beforehand. */
#ifndef KLUIS_CLI_LOAD_HTTP_LOAD_H
#define KLUIS_CLI_LOAD_HTTP_LOAD_H

#include "cli/client/http_conn.h"
#include "cli/load/load.h"

/* protocol_arg: const size_t *, the bytes of body that an answer may have. */
extern const struct load_protocol http_load_protocol;

#endif
