/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers (splitmix64), and how large and where an operation is. */
#include "fsx.h"

uint64_t chance_next(struct chance *c)
{
	uint64_t z = c->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t chance_below(struct chance *c, uint64_t below)
{
	return chance_next(c) % below;
}

bool chance_percent(struct chance *c, unsigned percent)
{
	return chance_below(c, 100) < percent;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Near a multiple of a page, a block or a part; perhaps beyond the limit. */
static uint64_t near_edge(struct fsx *f, uint64_t limit)
{
	const uint64_t units[] = {PAGE, f->set.block, f->set.part, f->set.part};
	uint64_t unit = units[chance_below(&f->chance, ARRAY_SIZE(units))];
	uint64_t edge = unit * chance_below(&f->chance, limit / unit + 2);

	switch (chance_below(&f->chance, 5)) {
	case 0:
		return edge;
	case 1:
		return edge + 1;
	case 2:
		return edge > 0 ? edge - 1 : 0;
	case 3:
		return edge + chance_below(&f->chance, 3000);
	default:
		return edge - least(edge, chance_below(&f->chance, 3000));
	}
}

uint64_t pick_offset(struct fsx *f, uint64_t limit)
{
	uint64_t kind = chance_below(&f->chance, 10);

	if (limit == 0 || kind == 0)
		return 0;
	if (kind == 1)
		return limit;
	if (kind < 6)
		return least(near_edge(f, limit), limit);
	return chance_below(&f->chance, limit + 1);
}

uint64_t pick_length(struct fsx *f, uint64_t limit)
{
	static const struct {
		unsigned percent;
		uint64_t most;
	} classes[] = {{45, 4 << 10}, {80, 64 << 10}, {95, 512 << 10}, {99, 2 << 20}};
	uint64_t kind = chance_below(&f->chance, 100), most = f->set.part + (1 << 20);

	if (limit == 0)
		return 0;
	if (chance_percent(&f->chance, 15)) {
		const uint64_t exact[] = {1, 8, PAGE, 2ul * PAGE, f->set.block, f->set.block + 1};

		return least(exact[chance_below(&f->chance, ARRAY_SIZE(exact))], limit);
	}
	for (unsigned i = ARRAY_SIZE(classes); i-- > 0;)
		if (kind < classes[i].percent)
			most = classes[i].most;
	return least(1 + chance_below(&f->chance, most), limit);
}

void pick_cap(struct fsx *f)
{
	uint64_t kind = chance_below(&f->chance, 100), part = f->set.part, cap;

	if (kind < 15)
		cap = (64 << 10) + chance_below(&f->chance, part);
	else if (kind < 80)
		cap = part + PAGE + chance_below(&f->chance, part + part / 2);
	else if (kind < 96)
		cap = 2 * part + chance_below(&f->chance, 3 * part);
	else
		cap = f->set.max_size;
	f->cap = least(cap, f->set.max_size);
}
