/* The word list of SLIP-0039. For crypto/slip39.c and its test. */
#ifndef KLUIS_CRYPTO_SLIP39_WORDS_H
#define KLUIS_CRYPTO_SLIP39_WORDS_H

enum { SLIP39_WORDS = 1024, SLIP39_WORD_BYTES = 9 }; /* With its NUL. */

extern const char slip39_words[SLIP39_WORDS][SLIP39_WORD_BYTES];

#endif
