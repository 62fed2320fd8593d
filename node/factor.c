#include "node/factor.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

enum { FACTOR_VERSION = 1 };

static const char *const factor_names[] = {[MFA_TOTP] = "totp",
	[MFA_HOTP] = "hotp",
	[MFA_FIDO2] = "fido2",
	[MFA_IP] = "ip",
	[MFA_LOCATION] = "location"};

const char *factor_method_name(unsigned method)
{
	assert(method >= MFA_TOTP && method <= MFA_LOCATION);
	return factor_names[method];
}

bool factor_method_parse(struct bytes name, unsigned *ret_method)
{
	for (unsigned method = MFA_TOTP; method <= MFA_LOCATION; method++) {
		if (bytes_equal(name, bytes_str(factor_names[method]))) {
			*ret_method = method;
			return true;
		}
	}
	return false;
}

void factor_encode(const struct factor *factor, struct buf *to)
{
	size_t before = to->len;

	assert(factor->n <= FACTOR_NETWORKS_MAX);
	buf_put_u8(to, FACTOR_VERSION);
	switch (factor->method) {
	case MFA_TOTP:
	case MFA_HOTP:
		buf_put_u8(to, factor->otp.hash);
		buf_put_u8(to, factor->otp.digits);
		break;
	case MFA_FIDO2:
		buf_append(to, factor->fido.key, sizeof factor->fido.key);
		buf_put_lp16(to, bytes_of(factor->fido.id, factor->fido.id_bytes));
		break;
	case MFA_IP:
		buf_put_u8(to, (unsigned)factor->n);
		for (size_t i = 0; i < factor->n; i++) {
			buf_put_u8(to, factor->network[i].bits);
			buf_append(to, factor->network[i].address, 16);
		}
		break;
	default:
		assert(factor->method == MFA_LOCATION);
		buf_put_u8(to, (unsigned)factor->n);
		for (size_t i = 0; i < factor->n; i++) {
			buf_put_lp16(to, bytes_str(factor->place[i]));
		}
	}
	assert(to->len - before <= MFA_PARAMS_BYTES_MAX);
}

static void factor_take_networks(struct wire *w, struct factor *factor)
{
	factor->n = wire_u8(w);
	if (factor->n == 0 || factor->n > FACTOR_NETWORKS_MAX) {
		wire_fail(w);
	}
	for (size_t i = 0; i < factor->n && wire_ok(w); i++) {
		unsigned bits = wire_u8(w);
		uint8_t address[16];

		wire_copy(w, address, sizeof address);
		if (network_decode(bits, address, &factor->network[i]) != 0) {
			wire_fail(w);
		}
	}
}

static void factor_take_places(struct wire *w, struct factor *factor)
{
	factor->n = wire_u8(w);
	if (factor->n == 0 || factor->n > FACTOR_PLACES_MAX) {
		wire_fail(w);
	}
	for (size_t i = 0; i < factor->n && wire_ok(w); i++) {
		struct bytes label = wire_lp16(w, LOCATION_LABEL_CHARS_MAX);

		if (!location_label_valid(label)) {
			wire_fail(w);
			break;
		}
		memcpy(factor->place[i], label.data, label.len);
		factor->place[i][label.len] = '\0';
	}
}

static void factor_take_fido(struct wire *w, struct factor *factor)
{
	struct bytes id;

	wire_copy(w, factor->fido.key, sizeof factor->fido.key);
	id = wire_lp16(w, FIDO_CREDENTIAL_ID_BYTES_MAX);
	if (id.len == 0) {
		wire_fail(w);
		return;
	}
	memcpy(factor->fido.id, id.data, id.len);
	factor->fido.id_bytes = id.len;
}

int factor_decode(unsigned method, struct bytes params, struct factor *ret_factor, struct err *e)
{
	struct wire w = wire_of(params);
	unsigned version = wire_u8(&w);

	memset(ret_factor, 0, sizeof *ret_factor);
	ret_factor->method = method;
	if (wire_ok(&w) && version != FACTOR_VERSION) {
		return err_set(e, KLUIS_EVERSION, "second factor: unknown version %u", version);
	}
	if (method == MFA_TOTP || method == MFA_HOTP) {
		ret_factor->otp.hash = (enum otp_hash)wire_u8(&w);
		ret_factor->otp.digits = wire_u8(&w);
		if (!otp_valid(&ret_factor->otp)) {
			wire_fail(&w);
		}
	} else if (method == MFA_FIDO2) {
		factor_take_fido(&w, ret_factor);
	} else if (method == MFA_IP) {
		factor_take_networks(&w, ret_factor);
	} else {
		assert(method == MFA_LOCATION);
		factor_take_places(&w, ret_factor);
	}
	return wire_end(&w) ? 0 : err_set(e, KLUIS_EINTERNAL, "malformed second factor");
}
