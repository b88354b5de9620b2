/* SPDX-License-Identifier: Apache-2.0 */
/* The file system as a whole: made, ended, asked for its progress. */
#include "inode.h"

#include <errno.h>
#include <string.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>
#include <pailfs/text.h>

int fs_create(const struct fs_config *config, struct xfer *xfer, struct cache *cache,
	      const struct fs_notify *notify, struct fs **ret)
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
	fs->prefix = strdup(config->prefix);
	rc = fs->prefix == NULL ? -ENOMEM : inodes_init(fs);
	if (rc == 0)
		rc = fs_streams_create(&fs->streams);
	if (rc < 0) {
		fs_destroy(fs);
		return rc;
	}
	fs->prefix_length = strlen(fs->prefix);
	*ret = fs;
	return 0;
}

void fs_destroy(struct fs *fs)
{
	if (fs == NULL)
		return;
	inodes_finish(fs);
	fs_streams_destroy(fs->streams);
	lock_finish(&fs->lock);
	free(fs->prefix);
	free(fs);
}

/* Logs one running transfer; called by xfer_each_running. */
static void log_running(void *ctx, const struct xfer_op *op, uint64_t bytes_moved,
			uint64_t started_ns)
{
	const struct clock *clock = ctx;
	double seconds = (double)(clock->now_ns(clock) - started_ns) / (double)NS_PER_S;
	char shown[256], moved[32], total[32], rate[32];

	text_printable(op->s3.key != NULL ? op->s3.key : "", op->s3.key_length, shown,
		       sizeof(shown));
	log_info("%s %s: %s of %s, %s", s3_verb_name(op->s3.verb), shown,
		 text_format_size(bytes_moved, moved, sizeof(moved)),
		 text_format_size(op->s3.length, total, sizeof(total)),
		 text_format_rate(seconds > 0 ? (uint64_t)((double)bytes_moved / seconds) : 0, rate,
				  sizeof(rate)));
}

void fs_log_progress(struct fs *fs)
{
	struct xfer_stats stats;

	xfer_stats(fs->xfer, &stats);
	log_info("%u transfers running, %u queued, %u waiting for a retry",
		 stats.running + stats.running_meta, stats.queued, stats.waiting_retry);
	xfer_each_running(fs->xfer, log_running, (void *)fs->clock);
}
