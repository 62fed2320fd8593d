#include "raft/link_files.h"

#include <inttypes.h>
#include <string.h>

int link_files_load(const struct pki_files *files, const uint8_t cluster_id[16], uint64_t node_id,
	uint64_t wall_ms, struct tls_ctx **ret_ctx, struct err *e)
{
	_cleanup_(pki_loaded_release) struct pki_loaded loaded = {0};
	int rc = pki_load(files, PKI_NODE, wall_ms, &loaded, e);

	if (rc != 0) {
		return rc;
	}
	if (!loaded.cert.is_node || loaded.cert.node_id != node_id ||
		memcmp(loaded.cert.cluster_id, cluster_id, sizeof loaded.cert.cluster_id) != 0) {
		return err_set(e, KLUIS_EINVAL,
			"certificate '%s' is not that of node %" PRIu64 " of this cluster",
			files->cert_path, node_id);
	}
	rc = tls_ctx_new_link(buf_bytes(&loaded.identity.cert_pem),
		buf_bytes(&loaded.identity.key_pem), buf_bytes(&loaded.ca_pem), ret_ctx, e);
	return rc == 0 ? 0 : err_wrap(e, rc, "certificate '%s'", files->cert_path);
}
