#include "node/route.h"

#include <assert.h>
#include <string.h>

bool route_has_token(const struct route *route)
{
	return route->auth != ROUTE_OPEN && route->auth != ROUTE_ADMIN;
}

/* Takes the next segment, behind its "/". */
static bool segment_next(struct bytes *path, struct bytes *ret_segment)
{
	const uint8_t *slash;
	size_t len;

	if (path->len == 0 || path->data[0] != '/') {
		return false;
	}
	slash = path->len == 1 ? NULL : memchr(path->data + 1, '/', path->len - 1);
	len = slash == NULL ? path->len - 1 : (size_t)(slash - path->data) - 1;
	*ret_segment = bytes_of(path->data + 1, len);
	*path = bytes_of(path->data + 1 + len, path->len - 1 - len);
	return true;
}

/* Most routes part from a path in its first letters. */
static bool prefix_matches(const char *pattern, struct bytes path)
{
	for (size_t i = 0; pattern[i] != '\0' && pattern[i] != '{'; i++) {
		if (i == path.len || path.data[i] != (uint8_t)pattern[i]) {
			return false;
		}
	}
	return true;
}

static bool pattern_match(const char *pattern, struct bytes path, struct route_match *match)
{
	struct bytes left = bytes_str(pattern), want, got;

	match->n_params = 0;
	while (segment_next(&left, &want)) {
		if (!segment_next(&path, &got)) {
			return false;
		}
		if (want.len > 0 && want.data[0] == '{') {
			if (got.len == 0) {
				return false;
			}
			assert(match->n_params < ROUTE_PARAMS_MAX);
			match->param[match->n_params++] = got;
		} else if (!bytes_equal(want, got)) {
			return false;
		}
	}
	return path.len == 0;
}

int route_find(const struct route *routes, size_t n, enum http_verb verb, struct bytes path,
	bool admin, struct route_match *ret_match)
{
	struct route_match match = {0}, found = {0};

	for (size_t i = 0; i < n; i++) {
		const struct route *route = &routes[i];

		if ((route->auth == ROUTE_ADMIN && !admin) ||
			!prefix_matches(route->pattern, path) ||
			!pattern_match(route->pattern, path, &match)) {
			continue;
		}
		found.verbs |= BIT(route->verb);
		if (route->verb == verb ||
			(verb == VERB_HEAD && route->verb == VERB_GET && found.route == NULL)) {
			match.verbs = found.verbs;
			found = match;
			found.route = route;
		}
	}
	if ((found.verbs & BIT(VERB_GET)) != 0) {
		found.verbs |= BIT(VERB_HEAD);
	}
	*ret_match = found;
	if (found.route != NULL) {
		return 0;
	}
	return found.verbs == 0 ? KLUIS_ENOTFOUND : KLUIS_EMETHOD;
}
