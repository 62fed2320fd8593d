/* CRC-32C (Castagnoli, RFC 3720 appendix B.4): finds torn and flipped bytes on our own disk, no
 * protection against a person. */
#ifndef KLUIS_BASE_CRC32C_H
#define KLUIS_BASE_CRC32C_H

#include "base/buf.h"

/* Of all bytes given so far: start with crc = 0 and feed each result into the next call. */
uint32_t crc32c(uint32_t crc, struct bytes bytes);

#endif
