/* SPDX-License-Identifier: Apache-2.0 */
/* Content types by a name's ending, from mime.types(5). Private to fs/. Unchanging once read. */
#ifndef PAILFS_FS_MIME_H
#define PAILFS_FS_MIME_H

#include <stddef.h>

struct mime;

/* Reads a file of `type ending ending...` lines; one that is missing gives no types. -ENOMEM. */
int mime_create(const char *path, struct mime **ret);
/* NULL is fine. */
void mime_destroy(struct mime *m);
/* The type of a name; NULL if its ending tells none. m NULL: NULL. Valid as long as m. */
const char *mime_type(const struct mime *m, const char *name, size_t length);

#endif
