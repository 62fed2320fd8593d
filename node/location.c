#include "node/location.h"

#include <assert.h>
#include <maxminddb.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "node/network.h"

struct location_row {
	struct network network;
	char label[LOCATION_LABEL_CHARS_MAX + 1];
};

struct location {
	MMDB_s database[LOCATION_DATABASES_MAX];
	size_t n_databases;
	struct location_row *rows;
	size_t n_rows;
};

bool location_label_valid(struct bytes label)
{
	for (size_t i = 0; i < label.len; i++) {
		uint8_t c = label.data[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    c == '_' || c == '-')) {
			return false;
		}
	}
	return label.len >= 1 && label.len <= LOCATION_LABEL_CHARS_MAX;
}

/* The next word of the line, ended by a NUL; NULL: none. */
static char *table_word(char **line)
{
	static const char blanks[] = " \t\r";
	char *word = *line + strspn(*line, blanks);
	size_t len = strcspn(word, blanks);

	*line = word + len;
	if (word[len] != '\0') {
		word[len] = '\0';
		(*line)++;
	}
	return len == 0 ? NULL : word;
}

/* "NETWORK LABEL" with blanks around; 1 for an empty line or a comment. */
static int table_row(char *line, struct location_row *ret_row)
{
	char *network, *label;

	line[strcspn(line, "#")] = '\0';
	network = table_word(&line);
	if (network == NULL) {
		return 1;
	}
	label = table_word(&line);
	if (label == NULL || table_word(&line) != NULL || !location_label_valid(bytes_str(label)) ||
		network_parse(network, &ret_row->network) != 0) {
		return KLUIS_EINVAL;
	}
	(void)snprintf(
		ret_row->label, sizeof ret_row->label, "%s", label); /* Its length is valid. */
	return 0;
}

static int table_load(struct location *location, const char *path, struct err *e)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	unsigned number = 0;
	char *next, *line;
	int rc = file_read(path, LOCATION_TABLE_BYTES_MAX, &text, e);

	if (rc != 0) {
		return rc;
	}
	(void)buf_str(&text);
	location->rows = x_calloc(LOCATION_TABLE_ROWS_MAX, sizeof *location->rows);
	for (line = (char *)text.data; line != NULL && rc >= 0; line = next) {
		next = strchr(line, '\n');
		if (next != NULL) {
			*next++ = '\0';
		}
		number++;
		if (location->n_rows == LOCATION_TABLE_ROWS_MAX) {
			return err_set(e, KLUIS_ETOOLARGE, "'%s': more than %d rows", path,
				LOCATION_TABLE_ROWS_MAX);
		}
		rc = table_row(line, &location->rows[location->n_rows]);
		location->n_rows += rc == 0;
	}
	return rc >= 0 ? 0 : err_set(e, rc, "'%s' line %u: not 'NETWORK LABEL'", path, number);
}

int location_open(const char *const databases[LOCATION_DATABASES_MAX], const char *table,
	struct location **ret_location, struct err *e)
{
	struct location *location = x_calloc(1, sizeof *location);
	int rc = 0;

	for (size_t i = 0; i < LOCATION_DATABASES_MAX && rc == 0; i++) {
		int status;

		if (databases[i] == NULL) {
			continue;
		}
		status = MMDB_open(
			databases[i], MMDB_MODE_MMAP, &location->database[location->n_databases]);
		if (status == MMDB_SUCCESS) {
			location->n_databases++;
		} else {
			rc = err_set(e, status == MMDB_FILE_OPEN_ERROR ? KLUIS_EIO : KLUIS_ECORRUPT,
				"'%s': %s", databases[i], MMDB_strerror(status));
		}
	}
	if (rc == 0 && table != NULL) {
		rc = table_load(location, table, e);
	}
	if (rc != 0) {
		location_free(location);
		return rc;
	}
	*ret_location = location;
	return 0;
}

void location_free(struct location *location)
{
	if (location != NULL) {
		for (size_t i = 0; i < location->n_databases; i++) {
			MMDB_close(&location->database[i]);
		}
		free(location->rows);
		free(location);
	}
}

static void labels_add(struct location_labels *labels, const char *label, size_t len)
{
	if (labels->n < LOCATION_LABELS_MAX && location_label_valid(bytes_of(label, len))) {
		memcpy(labels->label[labels->n], label, len);
		labels->label[labels->n][len] = '\0';
		labels->n++;
	}
}

/* What an MMDB file says: it is a file of somebody else's, so types and lengths are looked at. */
static void database_find(MMDB_s *database, const uint8_t address[16], struct location_labels *to)
{
	struct sockaddr_in6 where = {.sin6_family = AF_INET6};
	struct sockaddr_in where4 = {.sin_family = AF_INET};
	static const uint8_t v4[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	bool is_v4 = memcmp(address, v4, sizeof v4) == 0;
	MMDB_lookup_result_s found;
	MMDB_entry_data_s data;
	int status = 0;

	memcpy(&where.sin6_addr, address, 16);
	memcpy(&where4.sin_addr, address + 12, 4);
	found = MMDB_lookup_sockaddr(database,
		is_v4 ? (const struct sockaddr *)&where4 : (const struct sockaddr *)&where,
		&status);
	if (status != MMDB_SUCCESS || !found.found_entry) {
		return;
	}
	if (MMDB_get_value(&found.entry, &data, "country", "iso_code", NULL) == MMDB_SUCCESS &&
		data.has_data && data.type == MMDB_DATA_TYPE_UTF8_STRING) {
		labels_add(to, data.utf8_string, data.data_size);
	}
	if (MMDB_get_value(&found.entry, &data, "autonomous_system_number", NULL) == MMDB_SUCCESS &&
		data.has_data && data.type == MMDB_DATA_TYPE_UINT32) {
		char label[16];
		int len = snprintf(label, sizeof label, "AS%u", data.uint32);

		labels_add(to, label, (size_t)len);
	}
}

void location_find(
	const struct location *location, const char *host, struct location_labels *ret_labels)
{
	uint8_t address[16];

	ret_labels->n = 0;
	if (location == NULL || network_host(host, address) != 0) {
		return;
	}
	for (size_t i = 0; i < location->n_rows; i++) {
		const struct location_row *row = &location->rows[i];

		if (network_has_address(&row->network, address)) {
			labels_add(ret_labels, row->label, strlen(row->label));
		}
	}
	for (size_t i = 0; i < location->n_databases; i++) {
		/* The library takes it without const, and only reads. */
		database_find((MMDB_s *)&location->database[i], address, ret_labels);
	}
}

bool location_labels_have(const struct location_labels *labels, const char *label)
{
	for (size_t i = 0; i < labels->n; i++) {
		if (strcmp(labels->label[i], label) == 0) {
			return true;
		}
	}
	return false;
}
