/* A run's result as JSON, for every user of cli/load/load alike: kind 0 is "get", 1 is "put". */
#ifndef KLUIS_CLI_LOAD_LOAD_REPORT_H
#define KLUIS_CLI_LOAD_LOAD_REPORT_H

#include <jansson.h>

#include "cli/load/load.h"

enum { LOAD_GET = 0, LOAD_PUT = 1 };

/* A new object: seconds, requests_per_second, items (a row with requests, rates and percentiles in
 * microseconds for each kind that `read_percent` allows), errors by name, gap_us, generator_cpu (1:
 * a whole core). */
json_t *load_report(const struct load_result *result, unsigned read_percent);

#endif
