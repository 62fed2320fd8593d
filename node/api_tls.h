/* The API's certificate, read at start and again on demand. Private to node/. */
#ifndef KLUIS_NODE_API_TLS_H
#define KLUIS_NODE_API_TLS_H

#include "node/api_core.h"

/* Before the api's thread runs. Blocking. */
KLUIS_MUST_CHECK int api_tls_load(struct api *api, struct err *e);

#endif
