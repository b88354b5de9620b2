/* SPDX-License-Identifier: Apache-2.0 */
/* The last operations, for whoever has to find out what went wrong. */
#include "fsx.h"

#include <stdarg.h>
#include <stdio.h>

void trail_note(struct trail *t, uint64_t offset, uint64_t length, const char *format, ...)
{
	struct trail_entry *e = &t->entries[t->count++ % t->capacity];
	va_list args;

	e->offset = offset;
	e->length = length;
	va_start(args, format);
	vsnprintf(e->text, sizeof(e->text), format, args);
	va_end(args);
}

void trail_print(const struct trail *t, uint64_t offset)
{
	uint64_t first = t->count > t->capacity ? t->count - t->capacity : 0;

	fprintf(stderr, "the last %u operations (* touches the place):\n",
		(unsigned)(t->count - first));
	for (uint64_t i = first; i < t->count; i++) {
		const struct trail_entry *e = &t->entries[i % t->capacity];
		bool touches = offset >= e->offset && offset - e->offset < e->length;

		fprintf(stderr, "%c %s\n", touches ? '*' : ' ', e->text);
	}
}
