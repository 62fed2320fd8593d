/* Runners for the known answers of the keyring and of the recovery code. */
#ifndef KLUIS_TESTS_KAT_KEYRING_H
#define KLUIS_TESTS_KAT_KEYRING_H

#include "tests/lib/kat.h"

int kat_slot_seal(struct kat_run *run);
int kat_slot_open(struct kat_run *run);
int kat_entry_seal(struct kat_run *run);
int kat_entry_open(struct kat_run *run);
int kat_keyring_parse(struct kat_run *run);
int kat_keyring_open(struct kat_run *run);
int kat_keyring_next(struct kat_run *run);
int kat_keyring_rotated(struct kat_run *run);
int kat_recovery_code(struct kat_run *run);
int kat_recovery_parse(struct kat_run *run);
int kat_recovery_keys(struct kat_run *run);
int kat_recover(struct kat_run *run);

#endif
