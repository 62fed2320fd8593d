/* Runners for the known answers of chat, inbox and notifications. */
#ifndef KLUIS_TESTS_UNIT_CRYPTO_LIB_KAT_CHAT_H
#define KLUIS_TESTS_UNIT_CRYPTO_LIB_KAT_CHAT_H

#include "tests/lib/kat.h"

kat_fn kat_chat_chain, kat_chat_pad, kat_chat, kat_inbox, kat_notify;

#endif
