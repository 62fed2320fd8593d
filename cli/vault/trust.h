/* First contact with a cluster: which sites, and the CA that is trusted from then on. */
#ifndef KLUIS_CLI_VAULT_TRUST_H
#define KLUIS_CLI_VAULT_TRUST_H

#include "cli/client/api.h"
#include "cli/ui/command.h"

/* What the command line says of the cluster, and what the cluster says of itself. */
struct trust {
	struct invocation *inv;
	char *endpoints[CLIENT_ENDPOINTS_MAX];
	size_t n_endpoints;
	struct buf ca_pem; /* Trusted. */
	struct api_cluster cluster;
	char pin[BASE64_LEN(HASH_BYTES) + 1]; /* Of the CA: base64url SHA-256 of its public key. */
};

/* The options that trust_cluster() looks at, for the tables of commands. */
#define TRUST_OPTIONS                                                                            \
	{"endpoints", 'E', "URL,...",                                                            \
		"https://host:port of the sites; may be given several times"},                   \
		{"ca", 0, "FILE", "The provider CA (PEM) to trust, got from the operator"},      \
	{                                                                                        \
		"ca-pin", 0, "PIN",                                                              \
			"Instead: the CA's pin (base64url SHA-256 of its public key) that must " \
			"match"                                                                  \
	}

/* Reads --endpoint and --endpoints, --ca or --ca-pin, or shows the pin and asks; then fetches what
 * is to be pinned over a connection that trusts this CA alone. Nothing secret has been sent before.
 * trust is zeroed but for inv. KLUIS_EPIN: another CA than the one given. */
KLUIS_MUST_CHECK int trust_cluster(struct trust *trust);
/* A client of that cluster. ca_pem: that, or of a profile. */
KLUIS_MUST_CHECK int trust_client(
	const struct trust *trust, struct bytes ca_pem, struct client **ret_client);
void trust_release(struct trust *trust);
/* --device, or the host's name, into a new string. */
char *trust_device_name(const struct invocation *inv);

#endif
