/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /proc tells of the processes that use the mount. Private to fs/. Nothing here waits for
 * anything but the kernel; what cannot be read counts as not there.
 */
#ifndef PAILFS_FS_PROCESS_H
#define PAILFS_FS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A process, told apart from a later one of the same number. */
struct process {
	int32_t pid; /* of the thread group; 0: unknown */
	uint64_t started_ticks;
};

struct process_state {
	int32_t parent;
	bool exiting;
	bool has_exit_code; /* else it may not be read */
	int exit_code;	    /* that it is dying with, in wait(2)'s form */
	uint64_t started_ticks;
};

/* A file as descriptors show it. */
struct process_file {
	uint64_t ino;
	int access_mode; /* O_RDONLY, O_WRONLY or O_RDWR */
	uint64_t device; /* of its file system; 0: any */
};

/* True if a fatal signal is pending for that thread. */
bool process_kill_pending(int32_t tid);
/* The state of a thread; 0 or -errno. */
int process_state(int32_t tid, struct process_state *ret);
/* The process of a thread; pid 0 if it cannot be told. */
struct process process_of_thread(int32_t tid);
/* True while it lives. */
bool process_lives(const struct process *p);
/* True if it dies of a signal: exiting, with one in its exit code, which could be read. */
bool process_was_killed(const struct process_state *s);
/*
 * True if process pid, which is not exiting, holds a descriptor of that file; *budget is the number
 * of entries that may still be looked at.
 */
bool process_holds(int32_t pid, const struct process_file *file, unsigned *budget);
/* The same for any child of process pid. */
bool process_children_hold(int32_t pid, const struct process_file *file, unsigned *budget);

#endif
