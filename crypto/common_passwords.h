/* The filter of crypto/data, embedded by the build. Read it through crypto/bloom.h. */
#ifndef KLUIS_CRYPTO_COMMON_PASSWORDS_H
#define KLUIS_CRYPTO_COMMON_PASSWORDS_H

#include "base/buf.h"

/* The file's bytes, for as long as the program runs. */
struct bytes common_passwords(void);

#endif
