/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of mount/ share. */
#ifndef PAILFS_MOUNT_PRIVATE_H
#define PAILFS_MOUNT_PRIVATE_H

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)

#include <fuse3/fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/queue.h>

#include <pailfs/lock.h>
#include <pailfs/mount.h>

#define REQUEST_DATA_BYTES (1 << 20) /* the largest READ and WRITE */

/* What a descriptor of the kernel stands for: fi->fh points to it. One of file and dir is set. */
struct handle {
	struct fs_file *file;
	struct fs_dir *dir;
	TAILQ_ENTRY(handle) link;
};

TAILQ_HEAD(handle_list, handle);

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define ORDER_SLOTS 4096
#endif

struct mount {
	/* set at creation */
	char *dir;
	struct fuse_session *session;
	int ended_fd; /* eventfd: the loop has ended */
	int life_fd;  /* a socket that is there as long as this process: see unmount.c; -1 */
	/* set by mount_attach, before the loop's thread starts */
	struct fs *fs;
	bool has_channel;
	pthread_key_t intake_key; /* of channel.c's struct intake */
	/* first thread only */
	pthread_t loop_thread;
	unsigned major, minor; /* device of the mounted file system */
	bool stopping;	       /* the loop is to end although the kernel has not ended the mount */
	bool attached;	       /* DIR was mounted; perhaps it is no more */
	bool detached;	       /* we have unmounted DIR */
	/* atomic */
	bool gone;	/* the kernel has ended the mount, nobody waits for an answer any more */
	int init_state; /* channel.c's */
	/* under intake_lock */
	struct lock intake_lock;
	struct cond intake_gone;
	unsigned intakes; /* threads that have one */
	/* under handles_lock */
	struct lock handles_lock;
	struct handle_list handles;
	/* written by the loop's thread before it ends */
	int loop_error;
#if defined(__SANITIZE_THREAD__)
	char ordered[ORDER_SLOTS];
#endif
};

/*
 * A request for a node comes after the replies that the kernel has had for it, so what our threads
 * did to it before those replies happened before. ThreadSanitizer does not see the kernel: these
 * two tell it. They do nothing otherwise.
 */
static inline void order_after_replies(struct mount *m, fuse_ino_t ino)
{
#if defined(__SANITIZE_THREAD__)
	__tsan_acquire(&m->ordered[(ino ^ ino >> 12) % ORDER_SLOTS]);
#endif
}

static inline void order_before_reply(struct mount *m, fuse_ino_t ino)
{
#if defined(__SANITIZE_THREAD__)
	__tsan_release(&m->ordered[(ino ^ ino >> 12) % ORDER_SLOTS]);
#endif
}

/* A request that is being worked on: on the stack of its FUSE thread. */
struct request {
	fuse_req_t req;
	struct mount *mount;
	fuse_ino_t ino;
	struct caller caller;
	int (*caller_poll)(struct cancel *c); /* fs/'s own */
};

/* The table of operations; userdata is the struct mount. Static. */
const struct fuse_lowlevel_ops *mount_ops(void);

/* The mount that a request is for. */
struct mount *request_mount(fuse_req_t req);
/* True if the kernel has ended the mount (unmounted, or aborted in sysfs). Asks it; never waits. */
bool mount_is_gone(struct mount *m);
/* Notes who asks what node, and listens for the kernel's INTERRUPT. Ends with request_end. */
void request_begin(struct request *r, fuse_req_t req, fuse_ino_t ino);
/* No interrupt reaches r from here on: to be called before the reply, which frees r->req. */
void request_end(struct request *r);
/* The only place where an -errno becomes a reply. */
void reply_error(fuse_req_t req, int err);
/* Seconds for the kernel; UINT64_MAX is as good as for ever. */
double reply_seconds(uint64_t ns);
/* An entry in libfuse's form. */
struct fuse_entry_param reply_entry_param(const struct fs_entry *entry);
/* Replies with a name that was made, whose reference the kernel takes, or with the error. */
void reply_new_entry(fuse_req_t req, int rc, const struct fs_entry *entry);

/*
 * Remembers what was opened, so that it can be closed when the kernel ends the mount without a
 * RELEASE. Takes file or dir over: closes it when NULL is returned (out of memory).
 */
struct handle *handle_open(struct mount *m, struct fs_file *file, struct fs_dir *dir);
/* Closes what h stands for, and frees it. publish: what is written and not published is, or else
 * given up. */
void handle_close(struct mount *m, struct handle *h, bool publish);
/* Closes all that is left after the loop has ended. */
void handles_close_all(struct mount *m);
/* The handle that a request names; NULL without fi. */
struct handle *handle_of(const struct fuse_file_info *fi);

/* opendir, readdir, readdirplus, releasedir (dirs.c). */
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* As opendir(3)'s readdir: names and types. */
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		struct fuse_file_info *fi);
/* The same with attributes; each name but . and .. takes a reference. */
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		    struct fuse_file_info *fi);
/* Closes it. */
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* The operations that change something (ops_write.c), as fuse_lowlevel.h has them. */
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi);
/* Regular files only. */
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
/* Makes a directory. */
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
/* Removes a file. */
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
/* Removes a directory. */
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
/* Renames a file; EXDEV for a directory. */
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	       const char *new_name, unsigned flags);
/* EPERM outside posix mode, as others but regular files of op_mknod. */
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
/* The target of a link. */
void op_readlink(fuse_req_t req, fuse_ino_t ino);
/* ENOSYS, once, where there are no extended attributes. */
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
/* The names, without user.s3.*. */
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
/* Into the object's metadata. */
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags);
/* Out of it. */
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
/* EPERM. */
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name);
/* chmod, chown, utimens, truncate. */
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		struct fuse_file_info *fi);
/* Takes all of it or none. */
void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
	      struct fuse_file_info *fi);
/* A descriptor is closed: perhaps publishes. */
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* Publishes. */
void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi);
/* Nothing is left to do. */
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi);

/* The operations on ranges (ops_range.c). Zeros, or a size. */
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
		  struct fuse_file_info *fi);
/* SEEK_DATA and SEEK_HOLE. */
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi);
/* Copies between files of the mount. */
void op_copy_file_range(fuse_req_t req, fuse_ino_t ino, off_t offset, struct fuse_file_info *fi,
			fuse_ino_t to_ino, off_t to_offset, struct fuse_file_info *to_fi,
			size_t length, int flags);

/* The signals that mount_serve reads; blocked in every thread. */
sigset_t handled_signals(void);

/* Logs that a directory has names, which a mount there will hide. */
void note_if_not_empty(const char *path);

/* Makes libfuse tell the kernel what it forgets to (channel.c); after the mount, before the loop.
 */
int channel_install(struct mount *m);

/* The loop has ended: waits until its threads have given their pieces back. */
void channel_drain(struct mount *m);
/* After channel_drain. */
void channel_finish(struct mount *m);
/* Where the bytes of the WRITE lie that this thread has read last, in pieces of fs/; NULL: in the
 * request itself. */
void **channel_pieces(struct mount *m);

/* Raises the read-ahead of device major:minor where sysfs permits it; best effort. */
void readahead_raise(unsigned major, unsigned minor);

/* Opens the socket by which `pailfs --unmount` sees this process end; -1 if it cannot. */
int life_open(unsigned major, unsigned minor);

/* Unmounts DIR unless it is not ours any more: 0, -EBUSY, or another -errno. */
int mount_unmount(struct mount *m, bool lazy);
/* Makes the loop end although the kernel has not ended the mount. May be called again. */
void mount_stop_loop(struct mount *m);

#endif
