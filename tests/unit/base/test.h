/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test of this layer includes: cmocka and the headers that it forgets. */
#ifndef PAILFS_TEST_BASE_H
#define PAILFS_TEST_BASE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pailfs/cleanup.h>

#endif
