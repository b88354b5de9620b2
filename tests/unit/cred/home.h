/* SPDX-License-Identifier: Apache-2.0 */
/* A home directory of a test, with files in it; the environment has no AWS_* while it lives. */
#ifndef TEST_CRED_HOME_H
#define TEST_CRED_HOME_H

#include <sys/types.h>

#include <pailfs/cred.h>

/* setup and teardown of a cmocka test; *state is the directory's path. */
int home_create(void **state);
int home_remove(void **state);
/* Writes a file under the home directory (directories are made) with that mode. */
void home_write(const char *home, const char *name, const char *text, mode_t mode);

#endif
