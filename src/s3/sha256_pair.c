/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 of two messages of one length, block by block side by side (FIPS 180-4). One stream of
 * SHA-NI waits for itself: each sha256rnds2 needs the result of the one before. Two streams fill
 * each other's gaps. What is left then is the one port that all SHA instructions share, so the
 * first half of the message schedule is done by AVX-512's rotates, on other ports. OpenSSL hashes
 * one message at a time, and no library of Debian's takes two that come in pieces.
 *
 * Called by whoever seals bodies. No state is kept but what the processor can.
 */
#include "sha256_pair.h"

#include <assert.h>
#include <string.h>

#include <pailfs/cleanup.h>

#ifdef __x86_64__

#include <cpuid.h>
#include <immintrin.h>

#define BLOCK_BYTES 64
#define LENGTH_BYTES 8 /* of the message, at the end of its last block */
#define CPUID_FEATURES 7
#define SHA_BIT (1u << 29)
#define LANES 2
#define ROUND_GROUPS 16 /* of four rounds each */

static const uint32_t constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static const uint32_t start_state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* A message, and how far it is hashed. */
struct lane {
	const struct iovec *iov; /* the next */
	const unsigned char *at;
	size_t run; /* bytes at `at` */
	unsigned char block[BLOCK_BYTES];
	uint32_t state[8]; /* a..h */
};

#define TARGET __attribute__((target("sha,sse4.1,avx512f,avx512vl")))

/* The order in which sha256rnds2 has a..h: ABEF and CDGH. */
TARGET static void load_state(const uint32_t *state, __m128i *ret_abef, __m128i *ret_cdgh)
{
	__m128i abcd = _mm_loadu_si128((const void *)&state[0]);
	__m128i efgh = _mm_loadu_si128((const void *)&state[4]);
	__m128i badc = _mm_shuffle_epi32(abcd, 0xB1), hgfe = _mm_shuffle_epi32(efgh, 0x1B);

	*ret_abef = _mm_alignr_epi8(badc, hgfe, 8);
	*ret_cdgh = _mm_blend_epi16(hgfe, badc, 0xF0);
}

TARGET static void store_state(uint32_t *state, __m128i abef, __m128i cdgh)
{
	__m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);

	_mm_storeu_si128((void *)&state[0], _mm_blend_epi16(feba, dchg, 0xF0));
	_mm_storeu_si128((void *)&state[4], _mm_alignr_epi8(dchg, feba, 8));
}

/* Words 4i..4i+3 of the schedule, for i >= 4, over the sixteen before them: w[i % 4] is the oldest
 * four. */
TARGET static inline __attribute__((always_inline)) __m128i schedule(const __m128i *w, int i)
{
	__m128i oldest = w[i & 3], newest = w[(i + 3) & 3];
	__m128i x = _mm_alignr_epi8(w[(i + 1) & 3], oldest, 4); /* fifteen before */
	__m128i sum = _mm_alignr_epi8(newest, w[(i + 2) & 3], 4);

	x = _mm_ternarylogic_epi32(_mm_ror_epi32(x, 7), _mm_ror_epi32(x, 18), _mm_srli_epi32(x, 3),
				   0x96);
	sum = _mm_add_epi32(sum, _mm_add_epi32(oldest, x));
	return _mm_sha256msg2_epu32(sum, newest);
}

TARGET static void hash_blocks(struct lane *lanes, const unsigned char *const *bytes, size_t count)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	const unsigned char *at[LANES] = {bytes[0], bytes[1]};
	__m128i abef[LANES], cdgh[LANES];

#pragma GCC unroll 2
	for (int l = 0; l < LANES; l++)
		load_state(lanes[l].state, &abef[l], &cdgh[l]);
	for (; count > 0; count--) {
		__m128i w[LANES][4], abef_before[LANES], cdgh_before[LANES];

#pragma GCC unroll 2
		for (int l = 0; l < LANES; l++) {
			abef_before[l] = abef[l];
			cdgh_before[l] = cdgh[l];
		}
#pragma GCC unroll 16
		for (int i = 0; i < ROUND_GROUPS; i++) {
#pragma GCC unroll 2
			for (int l = 0; l < LANES; l++) {
				const void *k = &constants[4 * i];
				__m128i *next = &w[l][i & 3], sum;

				if (i < 4)
					*next = _mm_shuffle_epi8(
					    _mm_loadu_si128((const void *)(at[l] + 16 * i)), swap);
				else
					*next = schedule(w[l], i);
				sum = _mm_add_epi32(*next, _mm_load_si128(k));
				cdgh[l] = _mm_sha256rnds2_epu32(cdgh[l], abef[l], sum);
				abef[l] = _mm_sha256rnds2_epu32(abef[l], cdgh[l],
								_mm_shuffle_epi32(sum, 0x0E));
			}
		}
#pragma GCC unroll 2
		for (int l = 0; l < LANES; l++) {
			abef[l] = _mm_add_epi32(abef[l], abef_before[l]);
			cdgh[l] = _mm_add_epi32(cdgh[l], cdgh_before[l]);
			at[l] += BLOCK_BYTES;
		}
	}
#pragma GCC unroll 2
	for (int l = 0; l < LANES; l++)
		store_state(lanes[l].state, abef[l], cdgh[l]);
}

static bool ask_processor(void)
{
	unsigned a, b, c, d;

	return __builtin_cpu_supports("avx512vl") &&
	       __get_cpuid_count(CPUID_FEATURES, 0, &a, &b, &c, &d) && (b & SHA_BIT) != 0;
}

bool sha256_pair_is_here(void)
{
	static _Atomic enum { UNKNOWN, HERE, ABSENT } answer; /* CPUID is a trap in a VM */

	if (answer == UNKNOWN)
		answer = ask_processor() ? HERE : ABSENT;
	return answer == HERE;
}

static void lane_begin(struct lane *l, const struct iovec *iov)
{
	l->iov = iov;
	l->run = 0;
	memcpy(l->state, start_state, sizeof(l->state));
}

/* Copies the next n bytes of a message, which may lie in several iovecs. */
static void lane_copy(struct lane *l, unsigned char *dst, size_t n)
{
	while (n > 0) {
		size_t step = MIN(n, l->run);

		if (step == 0) {
			l->at = l->iov->iov_base;
			l->run = l->iov->iov_len;
			l->iov++;
			continue;
		}
		memcpy(dst, l->at, step);
		dst += step;
		l->at += step;
		l->run -= step;
		n -= step;
	}
}

/* The next blocks of a message; one is copied if it does not lie in one piece. */
static const unsigned char *lane_take(struct lane *l, size_t count)
{
	size_t n = count * BLOCK_BYTES;

	if (l->run < n) {
		lane_copy(l, l->block, BLOCK_BYTES);
		return l->block;
	}
	l->at += n;
	l->run -= n;
	return l->at - n;
}

/* What is left of both messages, a bit, zeros and the length: one block or two. */
static void hash_end(struct lane *lanes, uint64_t length)
{
	size_t rest = length % BLOCK_BYTES;
	size_t count = rest + 1 + LENGTH_BYTES > BLOCK_BYTES ? 2 : 1;
	unsigned char ends[LANES][2 * BLOCK_BYTES] = {{0}};
	const unsigned char *at[LANES] = {ends[0], ends[1]};
	uint64_t bits = __builtin_bswap64(length * 8);

	for (int l = 0; l < LANES; l++) {
		lane_copy(&lanes[l], ends[l], rest);
		ends[l][rest] = 0x80;
		memcpy(ends[l] + count * BLOCK_BYTES - LENGTH_BYTES, &bits, LENGTH_BYTES);
	}
	hash_blocks(lanes, at, count);
}

void sha256_pair(const struct iovec *first, const struct iovec *second, uint64_t length,
		 unsigned char ret_hashes[2][SHA256_BYTES])
{
	struct lane lanes[LANES];
	uint64_t left = length / BLOCK_BYTES;

	lane_begin(&lanes[0], first);
	lane_begin(&lanes[1], second);
	while (left > 0) {
		size_t whole = MIN(lanes[0].run, lanes[1].run) / BLOCK_BYTES;
		size_t count = MAX(MIN(whole, left), (size_t)1);
		const unsigned char *at[LANES] = {lane_take(&lanes[0], count),
						  lane_take(&lanes[1], count)};

		hash_blocks(lanes, at, count);
		left -= count;
	}
	hash_end(lanes, length);
	for (int l = 0; l < LANES; l++)
		for (size_t i = 0; i < ARRAY_SIZE(lanes[l].state); i++) {
			uint32_t word = __builtin_bswap32(lanes[l].state[i]);

			memcpy(ret_hashes[l] + i * sizeof(word), &word, sizeof(word));
		}
}

#else

bool sha256_pair_is_here(void)
{
	return false;
}

void sha256_pair(const struct iovec *first, const struct iovec *second, uint64_t length,
		 unsigned char ret_hashes[2][SHA256_BYTES])
{
	assert(!"sha256_pair_is_here");
}

#endif
