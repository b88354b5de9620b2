/* SPDX-License-Identifier: Apache-2.0 */
/* What may be the name of a region. */
#ifndef PAILFS_S3_REGION_H
#define PAILFS_S3_REGION_H

#include <stdbool.h>

/* True for [a-z0-9-]{1,32}: it becomes part of a host name. */
bool region_is_valid(const char *region);

#endif
