/* The names in certificates and addresses: a node URI that parses is the one spelling of what it
 * says. */
#include <assert.h>
#include <string.h>

#include "base/address.h"
#include "crypto/pki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[ADDRESS_TEXT_BYTES_MAX + 2] = {0}, again[PKI_NODE_URI_MAX];
	struct address address;
	uint8_t cluster_id[16];
	uint64_t node_id;

	if (pki_node_uri_parse(bytes_of(data, size), cluster_id, &node_id) == 0) {
		pki_node_uri(cluster_id, node_id, again);
		assert(bytes_equal(bytes_of(data, size), bytes_str(again)));
	}
	memcpy(text, data, size < sizeof text - 1 ? size : sizeof text - 1);
	if (address_parse(text, &address, NULL) == 0) {
		struct address_found found;

		assert(address.port <= 65535 && strlen(address.host) > 0);
		assert((address_numeric(&address, &found) == 0) == address.numeric);
	}
	return 0;
}
