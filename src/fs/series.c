/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A series watches until `need` files were opened one after the other, each at most NEAR positions
 * beyond the furthest (several readers come a little out of order), then it follows: the files
 * behind are asked for, SERIES_FIRST_FILES at first, one more for each that was opened. So the
 * number doubles with each round trip while the reader is ahead of the network.
 *
 * A file that is asked for and left LATE positions behind is lost, and costs what an opened one has
 * earned. When nothing is left of that, the series watches again, twice as long.
 *
 * The caller serialises (fs->lock).
 */
#include "series.h"

#include <assert.h>

#define NEAR 2	/* positions beyond the furthest that still go on from it */
#define LATE 24 /* positions behind the furthest at which a file is not expected any more */
#define HOLES 64
#define REACH 256 /* positions ahead that are looked at: most may be left out */

void series_init(struct series *s, const struct series_position *p, unsigned need)
{
	*s = (struct series){.need = need};
	for (int o = 0; o < SERIES_ORDERS; o++)
		s->head[o] = (struct series_head){.start = p->at[o], .at = p->at[o]};
}

/* The furthest one is at `at` now. */
static void head_advance(struct series_head *h, uint32_t at)
{
	uint32_t step = at - h->at;

	h->holes = step < HOLES ? h->holes << step | ((UINT64_C(1) << (step - 1)) - 1) : 0;
	h->at = at;
}

/* What an open means to one order: SERIES_USED is not known here. */
static enum series_open head_open(struct series_head *h, uint32_t at, uint32_t reach)
{
	uint32_t behind;

	if (at == SERIES_NOWHERE || h->at == SERIES_NOWHERE || at < h->start)
		return SERIES_ELSEWHERE;
	if (at > h->at) {
		if (at - h->at > reach)
			return SERIES_ELSEWHERE;
		head_advance(h, at);
		return SERIES_IN_ORDER;
	}
	behind = h->at - at;
	if (behind > 0 && behind <= HOLES)
		h->holes &= ~(UINT64_C(1) << (behind - 1));
	return SERIES_BETWEEN;
}

static void series_follow(struct series *s, enum series_order order)
{
	s->following = true;
	s->order = order;
	s->next = s->head[order].at + 1;
	s->credit = SERIES_FIRST_FILES;
	s->credit_bytes = SERIES_FIRST_BYTES;
	s->used = s->lost = 0;
}

/* The same while it watches: what was opened before and comes again is a pattern of its own. */
static enum series_open head_watch(struct series_head *h, uint32_t at)
{
	uint64_t holes = h->holes;
	enum series_open found = head_open(h, at, NEAR);

	if (found == SERIES_IN_ORDER)
		h->run++;
	else if (found == SERIES_BETWEEN && h->holes == holes && h->at != at)
		found = SERIES_ELSEWHERE;
	return found;
}

static enum series_open open_watched(struct series *s, const struct series_position *p)
{
	enum series_open found[SERIES_ORDERS], best = SERIES_ELSEWHERE;
	int o;

	for (o = 0; o < SERIES_ORDERS; o++) {
		found[o] = head_watch(&s->head[o], p->at[o]);
		best = MAX(best, found[o]);
	}
	for (o = 0; o < SERIES_ORDERS && best != SERIES_ELSEWHERE; o++) {
		if (found[o] == SERIES_ELSEWHERE)
			s->head[o] = (struct series_head){.start = p->at[o], .at = p->at[o]};
		if (!s->following && s->head[o].run >= s->need)
			series_follow(s, (enum series_order)o);
	}
	return best;
}

static void ahead_remove(struct series *s, unsigned k)
{
	s->ahead_bytes -= s->ahead[k].bytes;
	s->ahead[k] = s->ahead[--s->ahead_count];
}

/* True if the file was asked for; it is not any more. */
static bool ahead_use(struct series *s, uint32_t at, const struct series_limits *limits)
{
	for (unsigned k = 0; k < s->ahead_count; k++) {
		if (s->ahead[k].at != at)
			continue;
		s->used++;
		s->credit = MIN(s->credit + 1, limits->files_max);
		s->credit_bytes = MIN(s->credit_bytes + s->ahead[k].bytes, limits->bytes_max);
		ahead_remove(s, k);
		return true;
	}
	return false;
}

static void series_give_up(struct series *s)
{
	s->following = false;
	s->need = MIN(2 * s->need, SERIES_NEED_MAX);
	s->ahead_count = 0;
	s->ahead_bytes = 0;
	for (int o = 0; o < SERIES_ORDERS; o++)
		s->head[o].run = 0;
}

/* What the series has left behind is paid for. */
static void ahead_lose(struct series *s)
{
	uint32_t at = s->head[s->order].at;

	for (unsigned k = s->ahead_count; k > 0; k--) {
		const struct series_ahead *a = &s->ahead[k - 1];

		if (a->at >= at || at - a->at <= LATE)
			continue;
		s->lost++;
		s->credit -= MIN(s->credit, 1U);
		s->credit_bytes -= MIN(s->credit_bytes, a->bytes);
		ahead_remove(s, k - 1);
	}
	if (s->credit == 0)
		series_give_up(s);
}

enum series_open series_open(struct series *s, const struct series_position *p,
			     const struct series_limits *limits)
{
	struct series_head *h = &s->head[s->order];
	enum series_open found;
	uint32_t at = p->at[s->order];
	bool used;

	if (!s->following)
		return open_watched(s, p);
	used = ahead_use(s, at, limits);
	found = head_open(h, at, MAX(s->next - h->at, 1U) - 1 + NEAR);
	s->next = MAX(s->next, h->at + 1);
	ahead_lose(s);
	return used ? SERIES_USED : found;
}

void series_disturb(struct series *s)
{
	for (int o = 0; o < SERIES_ORDERS && !s->following; o++)
		s->head[o].run = 0;
}

bool series_next(const struct series *s, const struct series_limits *limits, uint32_t *ret)
{
	unsigned most = MIN(MIN(s->credit, limits->files_max), SERIES_AHEAD_MAX);

	if (!s->following || s->ahead_count >= most || s->next > s->head[s->order].at + REACH)
		return false;
	*ret = s->next;
	return true;
}

bool series_ask(struct series *s, const struct series_limits *limits, uint64_t bytes)
{
	uint64_t most = MIN(s->credit_bytes, limits->bytes_max);

	assert(s->following && s->ahead_count < SERIES_AHEAD_MAX);
	if (s->ahead_count > 0 && s->ahead_bytes + bytes > most)
		return false;
	s->ahead[s->ahead_count++] = (struct series_ahead){.at = s->next++, .bytes = bytes};
	s->ahead_bytes += bytes;
	return true;
}

void series_skip(struct series *s)
{
	s->next++;
}

bool series_failed(const struct series *s)
{
	return s->ahead_count + s->lost > 0 && s->used == 0;
}
