/* Who is in the cluster and with which role: one entry of the log, our own bytes. */
#ifndef KLUIS_RAFT_CONFIGURATION_H
#define KLUIS_RAFT_CONFIGURATION_H

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"

/* Values are stored. */
enum member_role {
	MEMBER_STANDBY = 0, /* Holds everything, does not vote. */
	MEMBER_VOTER = 1,
};

struct member {
	uint64_t id; /* From 1; never given to another machine. */
	enum member_role role;
	/* One site and address a member, but for the time in which one takes another's place. */
	char site[NODE_NAME_BYTES_MAX + 1];	    /* "ams": [a-z0-9-]. */
	char address[MEMBER_ADDRESS_BYTES_MAX + 1]; /* "host:port" of its link. */
};

/* Plain value; members stand in ascending order of id. */
struct configuration {
	unsigned n;
	struct member member[SITES_MAX];
};

/* [a-z0-9-], 1 .. NODE_NAME_BYTES_MAX. */
bool member_site_valid(struct bytes site);
/* Printable ASCII without a blank: it stands in log lines and in libraft's address field. */
bool member_address_valid(struct bytes address);
/* Adds a member, keeping the order. KLUIS_EEXIST: the id is taken; KLUIS_ETOOLARGE: SITES_MAX
 * reached; KLUIS_EINVAL: id 0 or text that is not as described above. */
KLUIS_MUST_CHECK int configuration_add(struct configuration *configuration, uint64_t id,
	enum member_role role, const char *site, const char *address);
/* NULL when there is none. */
struct member *configuration_find(struct configuration *configuration, uint64_t id);
const struct member *configuration_member(const struct configuration *configuration, uint64_t id);
/* The first member with that site or address; 0: none. */
uint64_t configuration_clash(
	const struct configuration *configuration, const char *site, const char *address);
/* False when there is no such member. */
bool configuration_remove(struct configuration *configuration, uint64_t id);
unsigned configuration_voters(const struct configuration *configuration);
/* Whether id is a member and votes. */
bool configuration_votes(const struct configuration *configuration, uint64_t id);
bool configuration_equal(const struct configuration *a, const struct configuration *b);

/* docs/format-raft-messages.md, "Configuration". */
void configuration_encode(const struct configuration *configuration, struct buf *to);
/* Exact length, every field checked; KLUIS_EVERSION or KLUIS_ECORRUPT. */
KLUIS_MUST_CHECK int configuration_decode(
	struct bytes bytes, struct configuration *ret_configuration, struct err *e);

#endif
