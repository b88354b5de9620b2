/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer: a journal of unfinished uploads. What is read has a key and a number, each number
 * once. */
#include <assert.h>
#include <string.h>

#include "journal_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct journal_entry *e = NULL;
	size_t count = 0, i, k;

	if (journal_parse((const char *)data, size, "p", &e, &count) < 0)
		return 0;
	for (i = 0; i < count; i++) {
		assert(e[i].key_length > 0 && e[i].key[e[i].key_length] == '\0');
		assert(e[i].id == NULL || e[i].id[0] != '\0');
		for (k = 0; k < i; k++)
			assert(e[k].entry != e[i].entry);
	}
	journal_entries_free(e, count);
	return 0;
}
