/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread a mount moves what was sent of streams out of memory, into the spool (or drops it,
 * once the file's spool_limit is used up), while more than held_bytes_max is held. Memory that is
 * used again costs a fraction of memory that is touched for the first time, which was most of the
 * price of a large file; and the disk is written past the page cache, which would be new memory,
 * too. Where that cannot be done (a tmpfs) there is no such thread: parts stay in memory while
 * there is room, as they do where the disk is slower than the link.
 *
 * It closes the spools of published files, too: to free a GiB of a disk takes a third of a second,
 * for which close(2) need not wait.
 *
 * What it leaves alone: see moved_bytes_locked of writer_memory.c. It holds no lock but its own,
 * which ranks last, since the end of a part wakes it.
 */
#include "writer_private.h"

#include <errno.h>

#include <pailfs/clock.h>

/* After an error of the disk (which the spill has told) nothing is moved for so long. */
#define PAUSE_NS (60 * NS_PER_S)

static bool is_over(struct writers *s)
{
	return atomic_load_explicit(&s->held_bytes, memory_order_relaxed) >
	       s->config.held_bytes_max;
}

/* False: it is to end. *ret_closing: what is to be closed first, if anything. */
static bool wait_for_work(struct mover *m, struct spool *ret_closing)
{
	SCOPED_LOCK(&m->lock);
	while (!m->wanted && !m->stopping && m->closing_count == 0)
		cond_wait(&m->wake, &m->lock);
	spool_init(ret_closing);
	if (m->closing_count > 0) {
		*ret_closing = m->closing[--m->closing_count];
		return true;
	}
	m->wanted = false;
	return !m->stopping;
}

static void *mover_main(void *ctx)
{
	struct writers *s = ctx;
	uint64_t paused_until_ns = 0;
	struct spool closing;

	while (wait_for_work(&s->mover, &closing)) {
		int rc = clock_now_ns() >= paused_until_ns;

		spool_finish(&closing);
		while (rc > 0 && is_over(s))
			rc = memory_move_sent(s);
		if (rc < 0)
			paused_until_ns = clock_now_ns() + PAUSE_NS;
	}
	return NULL;
}

int mover_start(struct writers *s)
{
	struct mover *m = &s->mover;
	int err;

	if (s->config.held_bytes_max == 0 || !spool_is_direct(s->config.spool_dir))
		return 0;
	lock_init(&m->lock, LOCK_LEAF);
	cond_init(&m->wake);
	err = pthread_create(&m->thread, NULL, mover_main, s);
	m->runs = err == 0;
	if (err != 0) {
		cond_finish(&m->wake);
		lock_finish(&m->lock);
	}
	return -err;
}

void mover_stop(struct writers *s)
{
	struct mover *m = &s->mover;

	if (!m->runs)
		return;
	lock_acquire(&m->lock);
	m->stopping = true;
	cond_signal(&m->wake);
	lock_release(&m->lock);
	pthread_join(m->thread, NULL);
	cond_finish(&m->wake);
	lock_finish(&m->lock);
}

void mover_part_sent(struct writers *s)
{
	struct mover *m = &s->mover;

	if (!m->runs || !is_over(s))
		return;
	SCOPED_LOCK(&m->lock);
	if (!m->wanted)
		cond_signal(&m->wake);
	m->wanted = true;
}

void mover_close_spool(struct writers *s, struct spool *spool)
{
	struct mover *m = &s->mover;

	if (m->runs && spool->fd >= 0) {
		SCOPED_LOCK(&m->lock);
		if (m->closing_count < MOVER_CLOSING_MAX) {
			m->closing[m->closing_count++] = *spool;
			spool_init(spool);
			cond_signal(&m->wake);
		}
	}
	spool_finish(spool);
}
