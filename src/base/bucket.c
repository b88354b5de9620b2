/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token bucket's arithmetic: integers only. Tokens are counted in whole bytes and a fraction in
 * 1/NS_PER_S of a byte, so that any number of refills adds up to exactly rate * time.
 */
#include <pailfs/bucket.h>

#include <assert.h>

#include <pailfs/cleanup.h>

/* The state after a refill up to now_ns. */
static struct bucket refilled(const struct bucket *b, uint64_t now_ns)
{
	struct bucket r = *b;
	unsigned __int128 gained;

	if (now_ns <= b->updated_ns)
		return r;
	gained = (unsigned __int128)(now_ns - b->updated_ns) * b->rate_bytes_per_s + b->fraction;
	r.updated_ns = now_ns;
	if (gained / NS_PER_S >= b->burst_bytes - b->level_bytes) {
		r.level_bytes = b->burst_bytes;
		r.fraction = 0;
	} else {
		r.level_bytes = b->level_bytes + (uint64_t)(gained / NS_PER_S);
		r.fraction = (uint64_t)(gained % NS_PER_S);
	}
	return r;
}

void bucket_init(struct bucket *b, uint64_t rate_bytes_per_s, uint64_t burst_bytes, uint64_t now_ns)
{
	assert(rate_bytes_per_s > 0 && burst_bytes >= BUCKET_BURST_MIN_BYTES);
	*b = (struct bucket){.rate_bytes_per_s = rate_bytes_per_s,
			     .burst_bytes = burst_bytes,
			     .level_bytes = burst_bytes,
			     .updated_ns = now_ns};
}

void bucket_set_rate(struct bucket *b, uint64_t rate_bytes_per_s, uint64_t burst_bytes,
		     uint64_t now_ns)
{
	assert(rate_bytes_per_s > 0 && burst_bytes >= BUCKET_BURST_MIN_BYTES);
	*b = refilled(b, now_ns);
	b->rate_bytes_per_s = rate_bytes_per_s;
	b->burst_bytes = burst_bytes;
	b->level_bytes = MIN(b->level_bytes, burst_bytes);
}

bool bucket_take_try(struct bucket *b, uint64_t n, uint64_t now_ns, uint64_t *ret_wait_ns)
{
	assert(n <= b->burst_bytes);
	*b = refilled(b, now_ns);
	if (b->level_bytes >= n) {
		b->level_bytes -= n;
		return true;
	}
	*ret_wait_ns = bucket_wait_ns(b, n, now_ns);
	return false;
}

uint64_t bucket_wait_ns(const struct bucket *b, uint64_t n, uint64_t now_ns)
{
	struct bucket r = refilled(b, now_ns);
	unsigned __int128 missing, wait;

	if (r.level_bytes >= n)
		return 0;
	missing = (unsigned __int128)(n - r.level_bytes) * NS_PER_S - r.fraction;
	wait = (missing + r.rate_bytes_per_s - 1) / r.rate_bytes_per_s;
	return wait > UINT64_MAX ? UINT64_MAX : (uint64_t)wait;
}

void bucket_give_back(struct bucket *b, uint64_t n)
{
	b->level_bytes = n > b->burst_bytes - b->level_bytes ? b->burst_bytes : b->level_bytes + n;
}
