#include "cli/client/suites.h"

#include <string.h>

#include "crypto/key.h"
#include "crypto/seal.h"
#include "crypto/srp.h"

static const struct {
	const char *name;
	unsigned kem;
} curves[] = {{"p256", KEY_KEM_P256}, {"p384", KEY_KEM_P384}, {"x25519", KEY_KEM_X25519}};

/* 0: another kind of value, or one that is out of all ranges. */
static json_int_t policy_number(const json_t *policy, const char *name, json_int_t otherwise)
{
	const json_t *value = json_object_get(policy, name);

	return value == NULL ? otherwise : json_integer_value(value);
}

static unsigned policy_kem(const json_t *policy)
{
	const json_t *value = json_object_get(policy, "curve");
	const char *name = value == NULL ? curves[0].name : json_string_value(value);

	for (size_t i = 0; name != NULL && i < ARRAY_SIZE(curves); i++) {
		if (strcmp(name, curves[i].name) == 0) {
			return curves[i].kem;
		}
	}
	return 0;
}

int suites_read(const json_t *policy, struct suites *ret_suites, struct err *e)
{
	json_int_t group = policy_number(policy, "srp_group", SRP_GROUP_DEFAULT);
	json_int_t aes = policy_number(policy, "aes_bits", 256);
	json_int_t rsa = policy_number(policy, "rsa_bits", KEY_RSA_BITS);
	unsigned kem = policy_kem(policy);

	if (group < SRP_GROUP_2048 || group > SRP_GROUP_6144 || (aes != 128 && aes != 256) ||
		(rsa != 2048 && rsa != 3072 && rsa != 4096) || kem == 0) {
		return err_set(e, KLUIS_EVERIFY,
			"the cluster asks for keys of a kind that is not allowed");
	}
	*ret_suites = (struct suites){.group = (unsigned)group,
		.sym = aes == 128 ? SYM_AES_128 : SYM_AES_256,
		.rsa_bits = (unsigned)rsa,
		.kem = kem};
	return 0;
}
