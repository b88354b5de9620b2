/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test may include: cmocka and the headers that it forgets. */
#ifndef PAILFS_UNIT_TEST_H
#define PAILFS_UNIT_TEST_H

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
