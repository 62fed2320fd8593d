/* The program that speaks with FIDO2 keys, run for one request (docs/format-fido-helper.md). */
#ifndef KLUIS_CLI_VAULT_FIDO_HELPER_H
#define KLUIS_CLI_VAULT_FIDO_HELPER_H

#include <jansson.h>

#include "cli/ui/command.h"

enum { FIDO_HELPER_LINE_BYTES_MAX = 16 * 1024, FIDO_HELPER_WAIT_MS = 120 * 1000 };

/* Runs it on this request. *ret_answer: its last line, an object; the caller's. A note asks for the
 * touch when the helper does. KLUIS_EIO: it cannot be run, or says nothing or something else;
 * KLUIS_ETIMEOUT. */
KLUIS_MUST_CHECK int fido_helper_run(
	struct invocation *inv, const json_t *request, json_t **ret_answer);

#endif
