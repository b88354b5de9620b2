/* SPDX-License-Identifier: Apache-2.0 */
/* Fingerprints in an open hash table, at most three quarters full. */
#include "keyset.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <pailfs/cleanup.h>
#include <pailfs/mix.h>

#define CAPACITY_MIN 1024

void keyset_init(struct keyset *s)
{
	*s = (struct keyset){0};
	if (getrandom(&s->seed, sizeof(s->seed), 0) < 0)
		s->seed = (uint64_t)(uintptr_t)s;
}

void keyset_finish(struct keyset *s)
{
	free(s->slots);
	s->slots = NULL;
	s->count = s->capacity = 0;
}

static uint64_t hash_bytes(uint64_t h, const char *bytes, size_t n)
{
	uint64_t word;

	for (; n >= sizeof(word); bytes += sizeof(word), n -= sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		h = mix64(h ^ word);
	}
	word = n;
	memcpy((char *)&word + 1, bytes, n);
	return mix64(h ^ word);
}

/* Never 0. */
static uint64_t fingerprint(const struct keyset *s, const char *key, size_t length,
			    const char *etag)
{
	size_t etag_length = strlen(etag);
	uint64_t h;

	if (etag_length >= 2 && etag[0] == '"') {
		etag++;
		etag_length -= 2;
	}
	h = hash_bytes(hash_bytes(s->seed, key, length), etag, etag_length);
	return h != 0 ? h : 1;
}

/* The slot that holds the fingerprint, or the free one where it belongs. */
static uint64_t *slot_of(uint64_t *slots, size_t capacity, uint64_t print)
{
	size_t at = print & (capacity - 1);

	while (slots[at] != 0 && slots[at] != print)
		at = (at + 1) & (capacity - 1);
	return &slots[at];
}

static int grow(struct keyset *s)
{
	size_t capacity = MAX(2 * s->capacity, (size_t)CAPACITY_MIN);
	uint64_t *slots = calloc(capacity, sizeof(*slots));

	if (slots == NULL)
		return -ENOMEM;
	for (size_t k = 0; k < s->capacity; k++)
		if (s->slots[k] != 0)
			*slot_of(slots, capacity, s->slots[k]) = s->slots[k];
	free(s->slots);
	s->slots = slots;
	s->capacity = capacity;
	return 0;
}

int keyset_add(struct keyset *s, const char *key, size_t length, const char *etag)
{
	uint64_t print = fingerprint(s, key, length, etag), *slot;
	int rc = s->count >= s->capacity / 4 * 3 ? grow(s) : 0;

	if (rc < 0)
		return rc;
	slot = slot_of(s->slots, s->capacity, print);
	s->count += *slot == 0;
	*slot = print;
	return 0;
}

bool keyset_has(const struct keyset *s, const char *key, size_t length, const char *etag)
{
	if (s->capacity == 0)
		return false;
	return *slot_of(s->slots, s->capacity, fingerprint(s, key, length, etag)) != 0;
}
