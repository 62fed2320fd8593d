/* Who is at the other end of a TLS connection. */
#ifndef KLUIS_CRYPTO_TLS_PEER_H
#define KLUIS_CRYPTO_TLS_PEER_H

#include <stdbool.h>
#include <stdint.h>

/* What the peer's verified certificate says (zero without one). */
struct tls_peer {
	bool verified; /* It showed a certificate and a CA of the context signed it. */
	bool is_node;  /* Exactly one URI SAN, of the form kluis://<cluster>/node/<id>. */
	uint8_t cluster_id[16];
	uint64_t node_id;
	uint64_t not_after_ms; /* Unix. */
	uint8_t spki_sha256[32];
};

#endif
