/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one memory budget: data memory is reserved here before it is used, in blocks, and given back
 * when it is freed. RSS <= memory + 100 MiB + names rests on it.
 *
 * Demand reads wait in order, and a reserve of min(16 MiB, memory/4) is theirs alone. Writers
 * together hold at most 3/4. Read-ahead only tries. When memory is short, the budget calls the
 * reclaimer (the cache: evict what nobody needs, revoke read-ahead that is not on the wire yet).
 * Thread-safe; lock rank LOCK_BUDGET; the reclaimer is called without it.
 */
#ifndef PAILFS_BUDGET_H
#define PAILFS_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include <pailfs/lock.h>

enum budget_class { BUDGET_DEMAND, BUDGET_WRITE, BUDGET_AHEAD, BUDGET_CLASSES };

struct budget;

/*
 * Asked to give back at least `bytes` for somebody of class `for_class`. Gives back what it can
 * through budget_release, at once, and returns how many bytes that was (0: nothing to be had now).
 */
typedef uint64_t budget_reclaim(void *ctx, uint64_t bytes, enum budget_class for_class);

/* A budget of total_bytes. -ENOMEM, -EINVAL under 8 MiB. */
int budget_create(uint64_t total_bytes, struct budget **ret);
/* Ends it; everything was given back (asserted), nobody waits. NULL is fine. */
void budget_destroy(struct budget *b);
/* Sets who is asked for memory. Called once, before the first reservation. */
void budget_set_reclaimer(struct budget *b, budget_reclaim *fn, void *ctx);
/* Reserves now or not at all (reclaiming included): true if reserved. Never waits. */
bool budget_reserve_try(struct budget *b, enum budget_class c, uint64_t bytes);
/*
 * Reserves, waiting in order of arrival within the class. 0, -ETIMEDOUT at deadline_ns, or what
 * cancel answered. No lock of the caller may be held.
 */
int budget_reserve_wait(struct budget *b, enum budget_class c, uint64_t bytes, uint64_t deadline_ns,
			struct cancel *cancel);
/* Gives bytes of that class back and wakes who waits. */
void budget_release(struct budget *b, enum budget_class c, uint64_t bytes);
/* Moves a reservation to another class (read-ahead that somebody now waits for). Never fails. */
void budget_move(struct budget *b, enum budget_class from, enum budget_class to, uint64_t bytes);
/* The total, and what is reserved now. */
uint64_t budget_total_bytes(const struct budget *b);
/* Bytes reserved now, over all classes. */
uint64_t budget_used_bytes(struct budget *b);
/* True while somebody waits for demand memory: read-ahead should hold back. */
bool budget_is_short(struct budget *b);

#endif
