/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine has, and what this process may take of it. */
#ifndef PAILFS_MACHINE_H
#define PAILFS_MACHINE_H

#include <stdint.h>

/* RAM in bytes, or the smallest memory limit of the cgroups that this process is in. */
uint64_t machine_memory_bytes(void);

/* Processors that this process may run on, >= 1. */
unsigned machine_cores(void);

/* As many descriptors as permitted (each connection is one), and a bound on malloc's arenas. */
void machine_raise_limits(void);

/*
 * While secrets are in memory: no core dumps, and no other process of this user looks into this
 * one (ptrace, /proc/PID/mem). false takes the second back.
 */
void machine_hold_secrets(int holding);

#endif
