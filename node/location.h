/* Where an address is, as far as an operator's table and MaxMind's databases know: labels such as
 * "NL", "AS64496" or a name out of the table (docs/operations.md). */
#ifndef KLUIS_NODE_LOCATION_H
#define KLUIS_NODE_LOCATION_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

enum {
	LOCATION_LABEL_CHARS_MAX = 32,
	LOCATION_LABELS_MAX = 8, /* Of one address. */
	LOCATION_TABLE_BYTES_MAX = 4 << 20,
	LOCATION_TABLE_ROWS_MAX = 65536,
	LOCATION_DATABASES_MAX = 2, /* Countries and ASNs are two files of MaxMind's. */
};

/* [A-Za-z0-9_-]{1,32} */
bool location_label_valid(struct bytes label);

/* Immutable once open: any number of threads may ask. */
struct location;

/* databases: paths of MMDB files, by libmaxminddb; NULL entries are left out. table: path of a text
 * file with a row "NETWORK LABEL" a line, '#' begins a comment; NULL: none. KLUIS_EIO,
 * KLUIS_ENOTFOUND, KLUIS_EINVAL with the line, KLUIS_ECORRUPT (no MMDB file). Blocking. */
KLUIS_MUST_CHECK int location_open(const char *const databases[LOCATION_DATABASES_MAX],
	const char *table, struct location **ret_location, struct err *e);
void location_free(struct location *location); /* NULL is fine. */

struct location_labels {
	size_t n;
	char label[LOCATION_LABELS_MAX][LOCATION_LABEL_CHARS_MAX + 1];
};
/* All labels of a numeric host: those of every row of the table that has it, its country's ISO
 * 3166-1 code and "AS" with its number; none for what nobody knows. location NULL: none. */
void location_find(
	const struct location *location, const char *host, struct location_labels *ret_labels);
bool location_labels_have(const struct location_labels *labels, const char *label);

#endif
