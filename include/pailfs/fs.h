/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POSIX over keys: inodes, names, directories, open files. Knows neither FUSE nor curl nor XML. All
 * functions may block unless they say otherwise; they are called from many threads. A FUSE node is
 * (path, version): see semantics in pailfs-semantics(7).
 */
#ifndef PAILFS_FS_H
#define PAILFS_FS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <pailfs/cache.h>
#include <pailfs/lock.h>
#include <pailfs/view.h>
#include <pailfs/xfer.h>

#define FS_ROOT_ID UINT64_C(1)

struct fs;
struct fs_dir;
struct fs_file;

/* Who asks: the process behind a FUSE request. cancel.poll looks at /proc when the request was
 * interrupted. */
struct caller {
	struct cancel cancel; /* first: a struct cancel * of a caller is the caller */
	uint32_t uid, gid;
	int32_t tid;	  /* a thread id; 0 outside our pid namespace */
	bool interrupted; /* atomic: set by the interrupt callback of mount/ */
};

/* Prepares a caller (poll: fs/caller's /proc rules: killed -> -EINTR; a handled signal never). */
void caller_init(struct caller *c, uint32_t uid, uint32_t gid, int32_t tid);
/* The kernel sent an INTERRUPT for its request. Any thread; does not block. */
void caller_interrupt(struct caller *c);

/* Callbacks into the mount, never called under a lock. Members may be NULL. */
struct fs_notify {
	void *ctx;
	/* The kernel may drop the name. */
	void (*entry_gone)(void *ctx, uint64_t parent_id, const char *name, size_t name_length);
	/* The kernel's attributes of the node (its size) are out of date; its pages are not. */
	void (*attr_gone)(void *ctx, uint64_t id);
};

struct fs_config {
	const char *prefix; /* "" or "a/b/": what DIR shows of the bucket */
	uint32_t uid, gid;
	uint32_t file_mode, dir_mode; /* permission bits */
	uint64_t metadata_ttl_ns;     /* UINT64_MAX: for ever */
	uint64_t negative_ttl_ns;     /* 0: never from memory */
	uint64_t quota_bytes;	      /* statfs's total; 0: a large constant */
	uint64_t part_bytes;	      /* ceiling of a read part: part_size */
	unsigned parallel;
	uint64_t memory_bytes;
	bool read_only;
	const struct clock *clock; /* NULL: the system's */
};

/* Attributes with how long they hold. */
struct fs_attr {
	struct stat st;
	uint64_t ttl_ns;
};

struct fs_entry {
	uint64_t id; /* 0: no such name, and that may be remembered for entry_ttl_ns (negative) */
	uint64_t generation;
	struct fs_attr attr;
	uint64_t entry_ttl_ns;
};

/* The file system over those. notify may be NULL. -ENOMEM, -EINVAL. */
int fs_create(const struct fs_config *config, struct xfer *xfer, struct cache *cache,
	      const struct fs_notify *notify, struct fs **ret);
/* Ends it; every file and directory was released; inodes may still be referenced. NULL is fine. */
void fs_destroy(struct fs *fs);

/*
 * lookup: the child of a directory; takes a reference that fs_forget gives back. -ENOENT (or 0 with
 * id 0 when negative answers may be kept), -ENOTDIR, -ENAMETOOLONG, -EACCES, -EIO, -EINTR.
 */
int fs_lookup(struct fs *fs, uint64_t parent_id, const char *name, struct caller *caller,
	      struct fs_entry *ret);
/* Gives n references back. Never blocks. */
void fs_forget(struct fs *fs, uint64_t id, uint64_t n);
/* Attributes; asks S3 again when they are older than the TTL. -ESTALE: the node's version is
 * replaced. With a file (not NULL) those of the version it reads, for no request. */
int fs_getattr(struct fs *fs, uint64_t id, struct fs_file *file, struct caller *caller,
	       struct fs_attr *ret);
/* access(2) for mounts without default_permissions: -EACCES, -EROFS, 0. */
int fs_access(struct fs *fs, uint64_t id, int mask, struct caller *caller);
/* statfs(2): constants, asks nothing. */
int fs_statfs(struct fs *fs, struct statvfs *ret);

/* Opens a directory for reading. *ret is released by fs_releasedir. -ENOTDIR, -ESTALE. */
int fs_opendir(struct fs *fs, uint64_t id, struct caller *caller, struct fs_dir **ret);

struct fs_dirent {
	const char *name;     /* valid until the next call on this directory */
	uint64_t next_offset; /* cookie of the entry after this one */
	struct stat st;	      /* st_ino and the type always */
};
/*
 * The entry at a cookie (0: the first; "." and ".." come first) without consuming it: asking for
 * the same cookie again answers the same entry. 1 with *ret, 0 at the end, or -errno (a failed
 * page: -EIO, never a short directory). Streams pages; calls on one directory are serialised by it.
 */
int fs_readdir(struct fs_dir *dir, uint64_t offset, struct caller *caller, struct fs_dirent *ret);
/* Looks the entry that fs_readdir just answered up (READDIRPLUS): from the listing, no request.
 * Takes a reference as fs_lookup; id 0, and none, when the listing is too old for that. */
int fs_readdir_entry(struct fs_dir *dir, const struct fs_dirent *entry, struct fs_entry *ret);
/* Closes it. NULL is fine. */
void fs_releasedir(struct fs_dir *dir);

/*
 * Opens a file for reading (writing: -EROFS until the writing half). *ret_keep_cache: the kernel's
 * pages of this node are of this version. -ESTALE when the node's version was replaced (the kernel
 * looks up again), -EACCES for archived objects, -EISDIR.
 */
int fs_open(struct fs *fs, uint64_t id, int flags, struct caller *caller, struct fs_file **ret,
	    bool *ret_keep_cache);
/*
 * Reads; short only at the end of the file. *ret must be released (view_release). -ESTALE, -EIO,
 * -EINTR, -EACCES.
 */
int fs_read(struct fs_file *file, uint64_t offset, size_t length, struct caller *caller,
	    struct view *ret);
/* Closes the file. Never fails. NULL is fine. */
void fs_release(struct fs_file *file);

/* Logs one line a running transfer (SIGUSR1). */
void fs_log_progress(struct fs *fs);

#endif
