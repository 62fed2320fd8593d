#include "raft/configuration.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

enum { CONFIGURATION_VERSION = 1 };

bool member_site_valid(struct bytes site)
{
	if (site.len == 0 || site.len > NODE_NAME_BYTES_MAX) {
		return false;
	}
	for (size_t i = 0; i < site.len; i++) {
		uint8_t c = site.data[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-') {
			return false;
		}
	}
	return true;
}

bool member_address_valid(struct bytes address)
{
	if (address.len == 0 || address.len > MEMBER_ADDRESS_BYTES_MAX) {
		return false;
	}
	for (size_t i = 0; i < address.len; i++) {
		if (address.data[i] <= ' ' || address.data[i] > '~') {
			return false;
		}
	}
	return true;
}

static int configuration_insert(struct configuration *configuration, uint64_t id, unsigned role,
	struct bytes site, struct bytes address)
{
	unsigned at = 0;
	struct member *member;

	if (id == 0 || role > MEMBER_VOTER || !member_site_valid(site) ||
		!member_address_valid(address)) {
		return KLUIS_EINVAL;
	}
	for (unsigned i = 0; i < configuration->n; i++) {
		const struct member *other = &configuration->member[i];

		if (other->id == id) {
			return KLUIS_EEXIST;
		}
		at += other->id < id;
	}
	if (configuration->n == SITES_MAX) {
		return KLUIS_ETOOLARGE;
	}
	member = &configuration->member[at];
	memmove(member + 1, member, (configuration->n - at) * sizeof *member);
	*member = (struct member){.id = id, .role = (enum member_role)role};
	memcpy(member->site, site.data, site.len);
	memcpy(member->address, address.data, address.len);
	configuration->n++;
	return 0;
}

int configuration_add(struct configuration *configuration, uint64_t id, enum member_role role,
	const char *site, const char *address)
{
	return configuration_insert(
		configuration, id, (unsigned)role, bytes_str(site), bytes_str(address));
}

struct member *configuration_find(struct configuration *configuration, uint64_t id)
{
	for (unsigned i = 0; i < configuration->n; i++) {
		if (configuration->member[i].id == id) {
			return &configuration->member[i];
		}
	}
	return NULL;
}

const struct member *configuration_member(const struct configuration *configuration, uint64_t id)
{
	for (unsigned i = 0; i < configuration->n; i++) {
		if (configuration->member[i].id == id) {
			return &configuration->member[i];
		}
	}
	return NULL;
}

uint64_t configuration_clash(
	const struct configuration *configuration, const char *site, const char *address)
{
	for (unsigned i = 0; i < configuration->n; i++) {
		const struct member *member = &configuration->member[i];

		if (strcmp(member->site, site) == 0 || strcmp(member->address, address) == 0) {
			return member->id;
		}
	}
	return 0;
}

bool configuration_remove(struct configuration *configuration, uint64_t id)
{
	struct member *member = configuration_find(configuration, id);
	size_t after;

	if (member == NULL) {
		return false;
	}
	after = (size_t)(configuration->member + configuration->n - member) - 1;
	memmove(member, member + 1, after * sizeof *member);
	configuration->n--;
	return true;
}

unsigned configuration_voters(const struct configuration *configuration)
{
	unsigned voters = 0;

	for (unsigned i = 0; i < configuration->n; i++) {
		voters += configuration->member[i].role == MEMBER_VOTER;
	}
	return voters;
}

bool configuration_votes(const struct configuration *configuration, uint64_t id)
{
	const struct member *member = configuration_member(configuration, id);

	return member != NULL && member->role == MEMBER_VOTER;
}

bool configuration_equal(const struct configuration *a, const struct configuration *b)
{
	if (a->n != b->n) {
		return false;
	}
	for (unsigned i = 0; i < a->n; i++) {
		const struct member *x = &a->member[i], *y = &b->member[i];

		if (x->id != y->id || x->role != y->role || strcmp(x->site, y->site) != 0 ||
			strcmp(x->address, y->address) != 0) {
			return false;
		}
	}
	return true;
}

void configuration_encode(const struct configuration *configuration, struct buf *to)
{
	assert(configuration->n > 0 && configuration->n <= SITES_MAX);
	buf_put_u8(to, CONFIGURATION_VERSION);
	buf_put_u16(to, configuration->n);
	for (unsigned i = 0; i < configuration->n; i++) {
		const struct member *member = &configuration->member[i];

		buf_put_u64(to, member->id);
		buf_put_u8(to, (unsigned)member->role);
		buf_put_lp16(to, bytes_str(member->site));
		buf_put_lp16(to, bytes_str(member->address));
	}
}

int configuration_decode(struct bytes bytes, struct configuration *ret_configuration, struct err *e)
{
	struct wire w = wire_of(bytes);
	struct configuration configuration = {.n = 0};
	unsigned version = wire_u8(&w), n = wire_u16(&w);
	uint64_t last = 0;

	if (wire_ok(&w) && version != CONFIGURATION_VERSION) {
		return err_set(e, KLUIS_EVERSION, "configuration: version %u", version);
	}
	if (!wire_ok(&w) || n == 0 || n > SITES_MAX) {
		return err_set(e, KLUIS_ECORRUPT, "configuration: %u members", n);
	}
	for (unsigned i = 0; i < n; i++) {
		uint64_t id = wire_u64(&w);
		unsigned role = wire_u8(&w);
		struct bytes site = wire_lp16(&w, NODE_NAME_BYTES_MAX);
		struct bytes address = wire_lp16(&w, MEMBER_ADDRESS_BYTES_MAX);

		if (!wire_ok(&w) || id <= last ||
			configuration_insert(&configuration, id, role, site, address) != 0) {
			return err_set(e, KLUIS_ECORRUPT, "configuration: member %u of %u", i, n);
		}
		last = id;
	}
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_ECORRUPT, "configuration: %zu bytes too many", w.left.len);
	}
	*ret_configuration = configuration;
	return 0;
}
