/* The runners of tests/vectors/kluis-kat.json for what makes a login of a password. */
#ifndef KLUIS_TESTS_UNIT_CRYPTO_LIB_KAT_PASSWORD_H
#define KLUIS_TESTS_UNIT_CRYPTO_LIB_KAT_PASSWORD_H

#include "tests/lib/kat.h"

/* Passwords, the filter of common ones, SRP and what hangs on it (kat_password.c, kat_srp.c). */
kat_fn kat_opaque, kat_kdf, kat_password, kat_kek_prf, kat_bloom, kat_password_check;
kat_fn kat_srp, kat_srp_server, kat_srp_client, kat_srp_unknown, kat_token;

#endif
