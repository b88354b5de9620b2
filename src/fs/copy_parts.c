/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of more than 5 GB: a multipart upload whose parts are copied, `parallel` at a time. It
 * keeps nothing of the source by itself. The journal knows of it until it is over.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <pailfs/cleanup.h>

#include "copy_private.h"
#include "journal.h"

#define COPY_PART_BYTES (512 * MIB)
#define COPY_BATCH_MAX 16

/* The parts of a large copy. */
struct copy_parts {
	uint64_t entry; /* of the journal */
	char *upload_id;
	char *tagging; /* NULL: none */
	uint64_t part_bytes;
	unsigned count;
	struct s3_part *parts;
	char (*etags)[S3_ETAG_MAX];
};

static void parts_finish(struct copy_parts *p)
{
	free(p->upload_id);
	free(p->tagging);
	free(p->parts);
	free(p->etags);
}

static int parts_plan(struct copy_parts *p, uint64_t size)
{
	p->part_bytes = COPY_PART_BYTES;
	while (size / p->part_bytes >= S3_PARTS_MAX)
		p->part_bytes *= 2;
	p->count = (unsigned)((size + p->part_bytes - 1) / p->part_bytes);
	p->parts = calloc(p->count, sizeof(*p->parts));
	p->etags = calloc(p->count, sizeof(*p->etags));
	return p->parts == NULL || p->etags == NULL ? -ENOMEM : 0;
}

static int parts_begin(struct copy *c, struct copy_parts *p)
{
	const struct clock *clock = c->fs->clock;
	struct xfer_op op;
	int rc;

	p->entry = journal_intend(c->fs->journal, c->ask->to->data, c->ask->to->length,
				  (uint64_t)clock->wall_s(clock));
	copy_op(c, &op, S3_CREATE_MULTIPART);
	op.s3.attributes = c->head->s3.found;
	op.s3.attributes.meta = c->meta;
	op.s3.attributes.meta_count = c->meta_count;
	op.s3.attributes.tagging = p->tagging;
	rc = xfer_run(c->fs->xfer, &op, c->cancel);
	if (rc == 0) {
		journal_created(c->fs->journal, p->entry, op.s3.created_id);
		p->upload_id = strdup(op.s3.created_id);
		rc = p->upload_id == NULL ? -ENOMEM : 0;
	} else if (!op.s3.ambiguous) {
		journal_end(c->fs->journal, p->entry);
	}
	xfer_op_finish(&op);
	return rc;
}

/* Copies parts [first, first + n), all at the same time. */
static int parts_copy(struct copy *c, struct copy_parts *p, unsigned first, unsigned n)
{
	struct xfer_op ops[COPY_BATCH_MAX], *all[COPY_BATCH_MAX];
	uint64_t size = c->head->s3.object.size;
	unsigned k;
	int rc;

	for (k = 0; k < n; k++) {
		all[k] = &ops[k];
		copy_op(c, &ops[k], S3_UPLOAD_PART_COPY);
		copy_op_source(c, &ops[k]);
		ops[k].s3.upload_id = p->upload_id;
		ops[k].s3.part_number = first + k + 1;
		ops[k].s3.copy.offset = (first + k) * p->part_bytes;
		ops[k].s3.copy.length = MIN(p->part_bytes, size - ops[k].s3.copy.offset);
	}
	rc = xfer_run_all(c->fs->xfer, all, n, c->cancel);
	for (k = 0; k < n; k++) {
		struct s3_part *part = &p->parts[first + k];

		if (rc == 0)
			rc = ops[k].s3.result.err;
		snprintf(p->etags[first + k], S3_ETAG_MAX, "%s", ops[k].s3.object.etag);
		*part = (struct s3_part){.number = first + k + 1,
					 .etag = p->etags[first + k],
					 .size = ops[k].s3.copy.length};
		xfer_op_finish(&ops[k]);
	}
	return rc;
}

static int parts_end(struct copy *c, struct copy_parts *p)
{
	struct xfer_op op;

	copy_op(c, &op, S3_COMPLETE_MULTIPART);
	op.s3.upload_id = p->upload_id;
	op.s3.parts = p->parts;
	op.s3.part_count = p->count;
	op.s3.if_none_match_any = c->ask->only_new;
	op.s3.object_size = c->head->s3.object.size;
	return copy_run(c, &op);
}

int copy_in_parts(struct copy *c, bool without_tags)
{
	__attribute__((cleanup(parts_finish))) struct copy_parts p = {0};
	unsigned batch = MIN(c->fs->config.parallel, (unsigned)COPY_BATCH_MAX), first;
	int rc = parts_plan(&p, c->head->s3.object.size);

	if (rc == 0 && c->head->s3.tag_count > 0 && !without_tags)
		rc = ask_tags(c->fs, c->ask->from, c->cancel, &p.tagging);
	if (rc == 0)
		rc = parts_begin(c, &p);
	if (rc < 0)
		return rc;
	for (first = 0; first < p.count && rc == 0; first += batch)
		rc = parts_copy(c, &p, first, MIN(batch, p.count - first));
	if (rc == 0)
		rc = parts_end(c, &p);
	if (rc == 0)
		journal_end(c->fs->journal, p.entry);
	else
		clean_up_later(c->fs, c->ask->to, p.upload_id, p.entry);
	return rc;
}
