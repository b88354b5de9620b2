/* SPDX-License-Identifier: Apache-2.0 */
/* The file system as a whole: made, ended, asked for its progress. */
#include "dirty.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

#include "conditions.h"
#include "journal.h"
#include "mime.h"
#include "neighbours.h"
#include "rename_settle.h"
#include "walk.h"

#define MIME_TYPES "/etc/mime.types"
/* What a stream keeps of its beginning: headers are patched at the end. */
#define HELD_BYTES_MAX (128 * MIB)
#define STREAM_KEEP_BYTES (64 * MIB)
/* A thread of mount/ is kept as long. */
#define PAIR_WAIT_NS (50 * NS_PER_MS)

/* The bucket as the journal names it. -ENOMEM. */
static char *place_of(struct fs *fs)
{
	struct s3_target target;
	char host[S3_HOST_BYTES];

	xfer_target(fs->xfer, &target);
	return text_format("%s://%s/%s", target.https ? "https" : "http",
			   s3_target_host(&target, host), target.bucket);
}

/* Aborts what a daemon that was killed has left. */
static void *settle(void *ctx)
{
	struct fs *fs = ctx;
	int rc = journal_settle(fs->config.journal_dir, fs->place, fs->xfer);

	if (rc < 0)
		log_warn("%s: unfinished uploads could not be looked for: %s",
			 fs->config.journal_dir, strerror(-rc));
	else if (rc > 0)
		log_info("%d unfinished uploads of a daemon that was killed are aborted", rc);
	rename_settle(fs);
	return NULL;
}

/* Makes the directories above path, as far as they are missing and permitted. */
static void make_parents(const char *path)
{
	CLEANUP(free) char *part = strdup(path);

	for (char *slash = part; slash != NULL && (slash = strchr(slash + 1, '/')) != NULL;) {
		*slash = '\0';
		mkdir(part, 0700);
		*slash = '/';
	}
}

/* Without a journal, uploads of a daemon that is killed stay until a rule of the bucket ends them.
 */
static int start_journal(struct fs *fs)
{
	int rc;

	if (fs->config.journal_dir == NULL)
		return 0;
	fs->place = place_of(fs);
	if (fs->place == NULL)
		return -ENOMEM;
	make_parents(fs->config.journal_dir);
	rc = journal_open(fs->config.journal_dir, fs->place, &fs->journal);
	if (rc < 0) {
		log_warn("%s: no journal of unfinished uploads can be kept: %s",
			 fs->config.journal_dir, strerror(-rc));
		return 0;
	}
	return 0;
}

static int start_writers(struct fs *fs, struct budget *budget)
{
	struct writers_config config = {.upload_part_bytes = fs->config.upload_part_bytes,
					.memory_bytes = fs->config.memory_bytes,
					.held_bytes_max =
					    MIN(fs->config.memory_bytes / 4, HELD_BYTES_MAX),
					.stream_keep_bytes = STREAM_KEEP_BYTES,
					.pair_wait_ns = s3_seals_pairs() ? PAIR_WAIT_NS : 0,
					.spool_limit_bytes = fs->config.spool_limit_bytes,
					.spool_dir = fs->config.spool_dir,
					.stored = {.storage_class = fs->config.storage_class,
						   .sse = fs->config.sse,
						   .sse_kms_key_id = fs->config.sse_kms_key_id,
						   .acl = fs->config.acl},
					.clock = fs->clock};
	int rc = mime_create(MIME_TYPES, &fs->mime);

	if (rc == 0)
		rc = conditions_create(&fs->conditions);
	if (rc == 0)
		rc = start_journal(fs);
	if (rc == 0)
		rc =
		    writers_create(&config, budget, fs->xfer, fs->cache, fs->journal, &fs->writers);
	if (rc == 0 && fs->journal != NULL)
		fs->settling = pthread_create(&fs->settler, NULL, settle, fs) == 0;
	return rc;
}

int fs_create(const struct fs_config *config, struct budget *budget, struct xfer *xfer,
	      struct cache *cache, const struct fs_notify *notify, struct fs **ret)
{
	struct fs *fs;
	int rc;

	if (strlen(config->prefix) >= S3_KEY_MAX)
		return -ENAMETOOLONG;
	fs = calloc(1, sizeof(*fs));
	if (fs == NULL)
		return -ENOMEM;
	fs->config = *config;
	fs->xfer = xfer;
	fs->cache = cache;
	if (notify != NULL)
		fs->notify = *notify;
	fs->clock = config->clock != NULL ? config->clock : clock_system();
	clock_gettime(CLOCK_REALTIME, &fs->started);
	lock_init(&fs->lock, LOCK_FS);
	cond_init(&fs->gates_moved);
	fs->prefix = strdup(config->prefix);
	rc = fs->prefix == NULL ? -ENOMEM : inodes_init(fs);
	if (rc == 0)
		rc = fs_streams_create(&fs->streams);
	if (rc == 0)
		rc = walks_create(fs, &fs->walks);
	if (rc == 0)
		rc = neighbours_create(fs, &fs->neighbours);
	if (rc == 0)
		fs->prefix_length = strlen(fs->prefix);
	if (rc == 0 && config->posix)
		rc = attrs_create(xfer, fs->clock, &fs->attrs);
	if (rc == 0 && !config->read_only)
		rc = start_writers(fs, budget);
	if (rc < 0) {
		fs_destroy(fs);
		return rc;
	}
	*ret = fs;
	return 0;
}

/* Renames, and requests that nobody waits for. */
static void wait_for_background(struct fs *fs)
{
	SCOPED_LOCK(&fs->lock);
	while (fs->running > 0)
		cond_wait(&fs->gates_moved, &fs->lock);
}

void fs_destroy(struct fs *fs)
{
	if (fs == NULL)
		return;
	lock_acquire(&fs->lock);
	fs->stopping = true;
	lock_release(&fs->lock);
	if (fs->settling)
		pthread_join(fs->settler, NULL);
	wait_for_background(fs);
	conditions_destroy(fs->conditions); /* its thread tells the writers */
	wait_for_background(fs);
	neighbours_destroy(fs);
	walks_destroy(fs->walks);
	attrs_destroy(fs->attrs);
	inodes_finish(fs);
	writers_destroy(fs->writers);
	journal_close(fs->journal);
	mime_destroy(fs->mime);
	free(fs->place);
	fs_streams_destroy(fs->streams);
	cond_finish(&fs->gates_moved);
	lock_finish(&fs->lock);
	free(fs->prefix);
	free(fs);
}

void fs_refuse_writes(struct fs *fs)
{
	__atomic_store_n(&fs->draining, true, __ATOMIC_RELAXED);
}

void fs_set_device(struct fs *fs, uint64_t device)
{
	__atomic_store_n(&fs->device, device, __ATOMIC_RELAXED);
}

bool fs_first_time(struct fs *fs, enum once what)
{
	bool first;

	SCOPED_LOCK(&fs->lock);
	first = (fs->logged_once & what) == 0;
	fs->logged_once |= what;
	return first;
}

/* Logs one running transfer; called by xfer_each_running. */
static void log_running(void *ctx, const struct xfer_op *op, uint64_t bytes_moved,
			uint64_t started_ns)
{
	const struct clock *clock = ctx;
	double seconds = (double)(clock->now_ns(clock) - started_ns) / (double)NS_PER_S;
	uint64_t length = MAX(op->s3.length, op->s3.body.length);
	char shown[256], moved[32], total[32], rate[32];

	text_printable(op->s3.key != NULL ? op->s3.key : "", op->s3.key_length, shown,
		       sizeof(shown));
	log_info("%s %s: %s of %s, %s", s3_verb_name(op->s3.verb), shown,
		 text_format_size(bytes_moved, moved, sizeof(moved)),
		 text_format_size(length, total, sizeof(total)),
		 text_format_rate(seconds > 0 ? (uint64_t)((double)bytes_moved / seconds) : 0, rate,
				  sizeof(rate)));
}

/* The files under write, referenced; *ret_count of them. NULL: none, or no memory. */
static struct dirty **snapshot_dirties(struct fs *fs, size_t *ret_count)
{
	struct dirty *d, **all;
	size_t n = 0;

	SCOPED_LOCK(&fs->lock);
	TAILQ_FOREACH (d, &fs->dirties, link)
		n++;
	all = n > 0 ? calloc(n, sizeof(struct dirty *)) : NULL;
	*ret_count = 0;
	if (all == NULL)
		return NULL;
	TAILQ_FOREACH (d, &fs->dirties, link) {
		d->refs++;
		all[(*ret_count)++] = d;
	}
	return all;
}

static void log_dirty(struct dirty *d)
{
	char shown[256], sent[32], total[32];
	uint64_t sent_bytes, total_bytes;

	writer_progress(dirty_writer(d), &sent_bytes, &total_bytes);
	log_info("writing %s: %s of %s sent", dirty_shown(d, shown, sizeof(shown)),
		 text_format_size(sent_bytes, sent, sizeof(sent)),
		 text_format_size(total_bytes, total, sizeof(total)));
}

static void log_dirties(struct fs *fs)
{
	size_t n, k;
	CLEANUP(free) struct dirty **all = snapshot_dirties(fs, &n);
	uint64_t lost;

	for (k = 0; k < n; k++) {
		log_dirty(all[k]);
		dirty_unref(all[k]);
	}
	lock_acquire(&fs->lock);
	lost = fs->lost_publications;
	lock_release(&fs->lock);
	if (lost > 0)
		log_warn("%llu files could not be published after they were closed",
			 (unsigned long long)lost);
}

void fs_log_progress(struct fs *fs)
{
	struct xfer_stats stats;

	log_dirties(fs);

	xfer_stats(fs->xfer, &stats);
	log_info("%u transfers running, %u queued, %u waiting for a retry",
		 stats.running + stats.running_meta, stats.queued, stats.waiting_retry);
	xfer_each_running(fs->xfer, log_running, (void *)fs->clock);
}
