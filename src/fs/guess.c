/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guesses. The number is the run of digits (decimal, hexadecimal or alphanumeric, one case) around
 * the first place where the two names differ. A guess that is wrong costs a request, never a name:
 * see listing.c.
 */
#include "guess.h"

#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>

#define SAMPLES 8 /* names of a page that tell the alphabet */
#define PLACES 3  /* of each that are looked at */

/* The value of a digit; -1: none of that radix and case. */
static int digit_of(char c, unsigned radix, bool upper)
{
	int value = -1;

	if (c >= '0' && c <= '9')
		value = c - '0';
	else if (!upper && c >= 'a' && c <= 'z')
		value = c - 'a' + 10;
	else if (upper && c >= 'A' && c <= 'Z')
		value = c - 'A' + 10;
	return value < (int)radix ? value : -1;
}

static bool both_digits(const char *a, const char *b, size_t at, unsigned radix, bool upper)
{
	return digit_of(a[at], radix, upper) >= 0 && digit_of(b[at], radix, upper) >= 0;
}

/* The number in a name. */
static uint64_t value_of(const struct guess *g, const char *name)
{
	uint64_t value = 0;

	for (size_t k = g->from; k < g->to; k++)
		value = value * g->radix + (uint64_t)digit_of(name[k], g->radix, g->upper);
	return value;
}

/* True if a few names of the page have digits of that kind where the names differ. */
static bool fits_samples(const struct guess *g, size_t differ, size_t length,
			 const struct s3_page *page, size_t prefix_length)
{
	for (size_t k = 0; k < SAMPLES; k++) {
		const struct s3_entry *e = &page->entries[k * page->entry_count / SAMPLES];

		if (e->key_length != prefix_length + length)
			continue;
		for (size_t at = differ; at < length && at < differ + PLACES; at++)
			if (digit_of(e->key[prefix_length + at], g->radix, g->upper) < 0)
				return at > differ;
	}
	return true;
}

/* The run of digits around the place where the names differ, as long as a number can be. */
static void find_run(struct guess *g, const struct buf *a, const struct buf *b, size_t differ,
		     unsigned digits_max)
{
	for (g->from = differ; g->from > 0 && differ - g->from < digits_max / 2 &&
			       both_digits(a->data, b->data, g->from - 1, g->radix, g->upper);)
		g->from--;
	for (g->to = differ; g->to < a->length && g->to - g->from < digits_max &&
			     both_digits(a->data, b->data, g->to, g->radix, g->upper);)
		g->to++;
}

void guess_learn(struct guess *g, const struct buf *before, const struct buf *last,
		 const struct s3_page *page, size_t prefix_length)
{
	static const struct {
		unsigned radix, digits_max;
		bool upper;
	} kinds[] = {
	    {10, 18, false}, {16, 15, false}, {16, 15, true}, {36, 11, false}, {36, 11, true}};
	size_t differ = 0;

	g->radix = 0;
	if (before->length != last->length || page->entry_count == 0)
		return;
	while (differ < last->length && before->data[differ] == last->data[differ])
		differ++;
	for (size_t k = 0; k < ARRAY_SIZE(kinds) && differ < last->length; k++) {
		struct guess one = {
		    .radix = kinds[k].radix, .upper = kinds[k].upper, .scale = g->scale};
		uint64_t from, to;

		if (!both_digits(before->data, last->data, differ, one.radix, one.upper) ||
		    !fits_samples(&one, differ, last->length, page, prefix_length))
			continue;
		find_run(&one, before, last, differ, kinds[k].digits_max);
		from = value_of(&one, before->data);
		to = value_of(&one, last->data);
		one.step = to - from;
		if (to > from)
			*g = one;
		return;
	}
}

int guess_next(const struct guess *g, const char *name, size_t length, struct buf *ret)
{
	uint64_t value, step = g->step / GUESS_SCALE * g->scale +
			       g->step % GUESS_SCALE * g->scale / GUESS_SCALE;
	int rc;

	if (g->radix == 0 || step == 0 || length < g->to)
		return -ERANGE;
	for (size_t k = g->from; k < g->to; k++)
		if (digit_of(name[k], g->radix, g->upper) < 0)
			return -ERANGE;
	value = value_of(g, name) + step;
	buf_clear(ret);
	rc = buf_append(ret, name, length);
	for (size_t k = g->to; k > g->from && rc == 0; k--) {
		unsigned digit = (unsigned)(value % g->radix);

		ret->data[k - 1] =
		    (char)(digit < 10 ? '0' + digit : (g->upper ? 'A' : 'a') + digit - 10);
		value /= g->radix;
	}
	return rc == 0 && value > 0 ? -ERANGE : rc;
}
