/* SPDX-License-Identifier: Apache-2.0 */
/* A number whose bits all depend on all bits of another one: the last step of splitmix64. */
#ifndef PAILFS_MIX_H
#define PAILFS_MIX_H

#include <stdint.h>

/* Pure, and a bijection. st_ino is made of it: it must not change. */
static inline uint64_t mix64(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

#endif
