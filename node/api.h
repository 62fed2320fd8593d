/* The node's API: HTTPS for clients, the Unix socket for operators, on one loop thread of its own
 * ("api"). docs/openapi.yaml is the contract. */
#ifndef KLUIS_NODE_API_H
#define KLUIS_NODE_API_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "backup/retention.h"
#include "backup/schedule.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/pool.h"
#include "base/random.h"
#include "node/api_backend.h"
#include "node/fido.h"
#include "node/location.h"
#include "node/config.h"
#include "node/secrets.h"

struct api;
struct backup_summary;
struct push_service;

/* What a check of a snapshot's copy on this node found. */
struct api_verify {
	bool ok;
	uint64_t objects, bytes;
	char text[256]; /* What is wrong. */
};

/* How the last shipment to a site ended. */
struct api_shipment {
	char site[NODE_NAME_BYTES_MAX + 1];
	int rc; /* 0, or the failure that stopped it; KLUIS_EPIN: its SSH host key changed. */
	char text[256]; /* What failed. */
};

/* One sender's drop here. */
struct api_drop {
	char site[NODE_NAME_BYTES_MAX + 1];
	int rc;					/* Of the last look into it. */
	uint64_t bytes, files, quota_bytes;	/* After it; 0: no quota. */
	uint64_t accepted, refused, refused_ms; /* Since the start: snapshots; files removed; the
						 * wall clock of the last. */
	bool over_quota;			/* Before the last look. */
	char text[256];				/* What failed, or why it was refused. */
};

/* The copies that this node holds, and what comes in. */
struct api_copies {
	bool kept;			/* False: this node takes part in no backups. */
	char stopped[256];		/* What keeps it from that altogether; "": nothing. */
	uint64_t period_ms;		/* Of reading all again. */
	uint64_t began_ms, ended_ms;	/* The round under way; the last whole one, 0: none yet. */
	uint64_t objects, bytes, found; /* Read in all rounds; files found damaged. */
	unsigned damaged;		/* Snapshots that are damaged now. */
	int rc;				/* Of the last step. */
	char text[256];			/* What is damaged, the last that was found. */
	uint8_t last[32];		/* The manifest hash of that. */
	char prune_text[256];		/* Why what is too old was not forgotten; "": it was. */
	uint64_t prune_age_ms;		/* Since it last was, or since the start. */
	char drill_text[256];		/* Why no drill can be made here; "": one can. */
	size_t n_drops;
	struct api_drop drops[SITES_MAX];
};

/* What other parts of the node do for operators; any may be NULL (then the call is refused with a
 * sentence). data is passed to each. */
struct api_hooks {
	void *data;
	/* A manual snapshot was claimed by this node: begin it. On the api thread; must not block.
	 */
	void (*snapshot_claimed)(void *data, uint64_t snapshot_id);
	/* Blocking, on pool_ship. level 1 or 2. KLUIS_ENOTFOUND: no copy here. */
	int (*snapshot_verify)(void *data, const uint8_t manifest_hash[32], unsigned level,
		struct api_verify *ret_verify, struct err *e);
	/* What keeps the deletion journal from being written; "": nothing does. Any thread, does
	 * not block. */
	void (*deletions)(void *data, char ret_text[256]);
	/* One row for each site that is shipped to; returns how many. Any thread, does not block.
	 */
	size_t (*shipments)(void *data, struct api_shipment ret_rows[SITES_MAX]);
	/* What metrics and alarms are made of; false: not known yet. Any thread, does not block. */
	bool (*summary)(void *data, struct backup_summary *ret_summary);
	/* Part of api_reload(): reads the public backup key again. Blocking; any thread. */
	int (*reload)(void *data, struct err *e);
	/* Any thread, does not block. */
	void (*copies)(void *data, struct api_copies *ret_copies);
};

/* One name and value of the settings in force, for `kluisctl` to show. */
struct api_setting {
	const char *name, *value;
};

struct api_config {
	struct api_backend *backend; /* Outlives the api. */
	struct pool *pool_db;	     /* Reads that may block, signature checks. */
	struct pool *pool_ship;	     /* snapshot_verify; may be NULL. */
	const struct clock *clock;   /* NULL: clock_system. */
	struct random *random;	     /* NULL: random_system. */

	uint64_t node_id;
	const char *site;
	uint8_t cluster_id[16], lineage[16];
	const char *url; /* "https://host:port" of this node, until it has announced itself. */

	const char *listen_host;		    /* NULL: no client port. */
	unsigned listen_port;			    /* 0: any. */
	const char *cert_path, *key_path, *ca_path; /* PEM; ca: what clients pin. */
	const char *metrics_host; /* Loopback, plain HTTP, /metrics alone; NULL: none. */
	unsigned metrics_port;	  /* 0: any. */
	const char *admin_path;	  /* Unix socket; NULL: none. */
	gid_t admin_group;	  /* (gid_t)-1: as created. */

	struct bytes restore_key;	  /* SEC1 point, or empty. */
	unsigned backup_copies;		  /* k: sites that must confirm a snapshot. */
	uint64_t backup_journal_ms;	  /* Between journal increments; 0: none. */
	struct schedule_rules schedule;	  /* Of cycles. */
	struct retention_rules retention; /* What sites forget; all zero: nothing. */
	const struct api_setting *settings;
	size_t n_settings;

	/* What seals verifiers, and whence unknown users have stable answers. Outlives the api. */
	const struct secrets *secrets;
	enum config_registration registration;
	uint64_t recovery_delay_ms;
	unsigned srp_group, aes, rsa_bits, curve; /* As struct config; 0: the default. */
	const struct fido_site *fido;	 /* Who we are to authenticators; NULL: no FIDO2. */
	const struct location *location; /* NULL: nothing is known. Both outlive the api. */
	struct push_service *push;	 /* NULL: nobody is notified. It outlives the api. */

	const char *turn_uris;	  /* With blanks between; NULL: no TURN servers. */
	struct bytes turn_secret; /* Shared with them. */
	uint64_t turn_ttl_ms;	  /* 0: TURN_TTL_S_DEFAULT. */

	uint64_t session_ms;			   /* How long a session lives; 0: a day. */
	uint64_t stale_ms;			   /* Bound of stale reads; 0: 10 s. */
	unsigned login_rate, request_rate;	   /* Per second and address; 0: the defaults. */
	unsigned connections_max, per_address_max; /* 0: limits.h. */
	size_t answer_bytes_max;		   /* The same. */
	struct api_hooks hooks;
};

/* Starts the thread and listens. Everything in config is copied but backend, pools, clock, random
 * and the hooks' data. On failure nothing is left running; e names what to do. Blocking. */
KLUIS_MUST_CHECK int api_start(
	const struct api_config *config, struct api **ret_api, struct err *e);
/* No new connections; running requests get at most drain_ms; then everything is closed, the thread
 * joined, the api freed. Blocking, from any other thread, before the backend and the pools are
 * stopped. NULL is fine. */
void api_stop(struct api *api, unsigned drain_ms);
/* Which port the clients' listener got. Any thread. */
unsigned api_port(const struct api *api);
unsigned api_metrics_port(const struct api *api); /* 0: none. */
/* Reads certificate, key and CA files again, the API's and the links', each for connections from
 * now on, and the public backup key; a bad file keeps what is there, and e names it. Blocking; any
 * thread but the api's own.
 */
KLUIS_MUST_CHECK int api_reload(struct api *api, struct err *e);
/* The alarms there are now, as /v1/sys/alarms lists them: an array of {name, severity, text,
 * about}, the caller's. KLUIS_EBEHIND: the store is being replaced. Blocking; any thread but the
 * api's own. */
KLUIS_MUST_CHECK int api_alarms(struct api *api, json_t **ret_items, struct err *e);
/* When the certificate that clients are shown ends, Unix; 0: there is no client port. Any thread.
 */
uint64_t api_certificate_not_after_ms(struct api *api);

#endif
