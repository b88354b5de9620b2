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

#include <pailfs/budget.h>
#include <pailfs/buf.h>
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
	bool killed;	  /* cancel.poll has found that it was killed */
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
	/* writing; strings are borrowed and outlive the file system */
	uint64_t upload_part_bytes; /* 0: parts that grow with the stream */
	uint64_t spool_limit_bytes; /* of one file's sent parts */
	uint64_t unlink_keep_bytes; /* of an open file whose name is removed */
	const char *spool_dir;
	const char *journal_dir;  /* for unfinished uploads; NULL: none is kept */
	bool excl_claim;	  /* O_EXCL takes the name at open, by an empty object */
	bool publish_killed;	  /* what a killed writer left is published, as on a disk */
	bool safe_delete;	  /* no unlink, no rmdir */
	bool safe_overwrite;	  /* no O_TRUNC of an object, no rename onto one */
	bool nosilent;		  /* chmod and chown without effect are refused */
	bool posix;		  /* attributes live in metadata */
	bool posix_aws;		  /* written as AWS does; else as s3fs does */
	bool allow_suid;	  /* set-id bits are shown and stored */
	bool xattr;		  /* extended attributes are answered */
	const char *content_type; /* of names whose ending tells none; NULL: the server's */
	const char *storage_class, *sse, *sse_kms_key_id, *acl; /* NULL: the bucket's */
	const struct clock *clock;				/* NULL: the system's */
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

/*
 * The file system over those. notify may be NULL. Uploads that a daemon which was killed left
 * behind are aborted in the background. -ENOMEM, -EINVAL, or why spool_dir cannot be used.
 */
int fs_create(const struct fs_config *config, struct budget *budget, struct xfer *xfer,
	      struct cache *cache, const struct fs_notify *notify, struct fs **ret);
/* Ends it; every file and directory was released; inodes may still be referenced. NULL is fine. */
void fs_destroy(struct fs *fs);
/* The mount is ending: from now on nothing is opened for writing (-EROFS); what is, goes on. */
void fs_refuse_writes(struct fs *fs);
/* The device number (as makedev) of the mounted file system, once it is known. */
void fs_set_device(struct fs *fs, uint64_t device);

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
 * Takes a reference as fs_lookup; id 0, and none, when the listing is too old for that, or in posix
 * mode the attributes are not known. */
int fs_readdir_entry(struct fs_dir *dir, const struct fs_dirent *entry, struct fs_entry *ret);
/* Closes it. NULL is fine. */
void fs_releasedir(struct fs_dir *dir);

/*
 * Opens a file. *ret_keep_cache: the kernel's pages of this node are of this version. -ESTALE when
 * the node's version was replaced (the kernel looks up again), -EACCES for archived objects,
 * -EISDIR, -EROFS, -EPERM (safe).
 */
int fs_open(struct fs *fs, uint64_t id, int flags, struct caller *caller, struct fs_file **ret,
	    bool *ret_keep_cache);
/*
 * Reads; short only at the end of the file. *ret must be released (view_release). -ESTALE, -EIO,
 * -EINTR, -EACCES.
 */
int fs_read(struct fs_file *file, uint64_t offset, size_t length, struct caller *caller,
	    struct view *ret);
/* A name to be made; mode, owner (the caller) and the rest count in posix mode only. */
struct fs_new {
	uint64_t parent_id;
	const char *name;
	mode_t mode; /* less the caller's umask; type 0: a regular file */
	dev_t rdev;  /* of devices */
};
/*
 * Makes a file and opens it, or opens the one that is there (not with O_EXCL: -EEXIST). The entry
 * has a reference as of fs_lookup. Errors of fs_lookup and fs_open.
 */
int fs_create_file(struct fs *fs, const struct fs_new *ask, int flags, struct caller *caller,
		   struct fs_entry *ret_entry, struct fs_file **ret);

#define FS_PIECE_BYTES ((size_t)128 * 1024)

/*
 * Memory of FS_PIECE_BYTES for bytes that are to be written: a write takes over what it need not
 * copy. Page-aligned. NULL: none. To be given back before fs_destroy.
 */
void *fs_piece_get(struct fs *fs);
/* Gives one back that no write has taken over. NULL is fine. */
void fs_piece_put(struct fs *fs, void *piece);

/* Bytes that are written. */
struct fs_bytes {
	const void *data; /* one after the other */
	/* If not NULL, they lie in such pieces instead, each but the last one full. A piece that is
	 * taken over becomes NULL, or one that is given for it. */
	void **pieces;
	size_t length;
};

/* What a write leaves to be done after its reply: parts of the file that are full. */
struct fs_rest {
	struct writer *writer; /* NULL: nothing */
	uint64_t start, end;
};

/*
 * Writes all of it. -ENOSPC (spool_dir is full), -EFBIG, -EOPNOTSUPP (a range that is needed was
 * let go of), -EIO: nothing of the file is published any more then; -EINTR. ret_rest, which is
 * written in any case, must be given to fs_write_rest by the same thread, soon: closing the file
 * waits for that. NULL: all is done at once.
 */
int fs_write(struct fs_file *file, uint64_t offset, const struct fs_bytes *bytes,
	     struct caller *caller, struct fs_rest *ret_rest);
/* Hashes and sends parts that are full; may first wait 50 ms for the next part, to hash both at
 * once. An error is that of the next write or close. */
void fs_write_rest(struct fs_rest *rest);
/* fallocate(2): mode 0, PUNCH_HOLE and ZERO_RANGE, each with KEEP_SIZE where it may be; else
 * -EOPNOTSUPP. Takes no room. Errors of fs_write. */
int fs_fallocate(struct fs_file *file, int mode, uint64_t offset, uint64_t length,
		 struct caller *caller);
/* lseek(2)'s SEEK_HOLE (hole) or SEEK_DATA. -ENXIO. */
int fs_seek(struct fs_file *file, uint64_t offset, bool hole, uint64_t *ret);

struct fs_copy {
	struct fs_file *from, *to;
	uint64_t from_offset, to_offset;
	uint64_t length;
};
/*
 * copy_file_range(2): *ret_bytes were copied, perhaps fewer than asked for; 0 at the end of the
 * source. Where it can be, S3 copies them when the file is published. Errors of fs_read and
 * fs_write.
 */
int fs_copy_range(const struct fs_copy *ask, struct caller *caller, uint64_t *ret_bytes);
/*
 * A descriptor of the file is being closed: publishes what is unpublished unless somebody who
 * matters holds another one, and waits for it. -EEXIST (O_EXCL, and somebody was faster), -ESTALE
 * (the object was changed by somebody else), -EIO, -EACCES, -ENOSPC, -EINTR (killed).
 */
int fs_flush(struct fs_file *file, struct caller *caller);
/* Publishes what is unpublished, and waits for it. As fs_flush. */
int fs_fsync(struct fs_file *file, struct caller *caller);
/* Closes the file; what is still unpublished is published, and a failure of that logged. NULL is
 * fine. */
void fs_release(struct fs_file *file);
/* Closes the file, giving up what is unpublished. NULL is fine. */
void fs_discard(struct fs_file *file);

/* An empty file, published at once. -EPERM for other than regular files outside posix mode. As
 * fs_create_file. */
int fs_mknod(struct fs *fs, const struct fs_new *ask, struct caller *caller, struct fs_entry *ret);
/* A symbolic link, published at once. -EPERM outside posix mode. As fs_create_file. */
int fs_symlink(struct fs *fs, const struct fs_new *ask, const char *target, struct caller *caller,
	       struct fs_entry *ret);
/* The target of a symbolic link; *ret is the caller's to free. -EINVAL (it is none), -EIO. */
int fs_readlink(struct fs *fs, uint64_t id, struct caller *caller, char **ret);
/* A directory, with its marker. -EEXIST, also if another client was faster. As fs_create_file. */
int fs_mkdir(struct fs *fs, const struct fs_new *ask, struct caller *caller, struct fs_entry *ret);
/* Removes a file; open handles go on. -EPERM (safe), -EISDIR, -EACCES, -EIO. */
int fs_unlink(struct fs *fs, uint64_t parent_id, const char *name, struct caller *caller);
/* Removes an empty directory and all forms of its marker. -ENOTEMPTY, -EPERM (safe), -ENOTDIR. */
int fs_rmdir(struct fs *fs, uint64_t parent_id, const char *name, struct caller *caller);

struct fs_rename {
	uint64_t parent_id, new_parent_id;
	const char *name, *new_name;
	unsigned flags; /* of renameat2(2): RENAME_NOREPLACE or 0, else -EINVAL */
};
/*
 * Renames a file or a directory, replacing the target. -EEXIST (RENAME_NOREPLACE), -ENOTEMPTY,
 * -EINVAL (below itself), -EPERM (safe), -ENOENT, -ESTALE (the source changes all the time),
 * -EBUSY (so does what is below it), -EACCES, -EIO (of a directory: some stayed at the source);
 * -EINTR: it is taken back, or finished, in the background.
 */
int fs_rename(struct fs *fs, const struct fs_rename *ask, struct caller *caller);

enum fs_set {
	FS_SET_MODE = 1,
	FS_SET_UID = 2,
	FS_SET_GID = 4,
	FS_SET_SIZE = 8,
	FS_SET_MTIME = 16,
	FS_SET_MTIME_NOW = 32, /* with FS_SET_MTIME */
	FS_SET_ATIME = 64,     /* posix mode alone keeps it */
	FS_SET_ATIME_NOW = 128,
};

struct fs_change {
	unsigned set; /* enum fs_set */
	uint32_t mode, uid, gid;
	uint64_t size;
	struct timespec modified, accessed;
};
/*
 * Changes attributes; file may be NULL. *ret: what they are now. -EPERM (nosilent, safe), -ESTALE,
 * -EACCES, -EIO.
 */
int fs_setattr(struct fs *fs, uint64_t id, struct fs_file *file, const struct fs_change *ask,
	       struct caller *caller, struct fs_attr *ret);

/*
 * Extended attributes: user.* in posix mode, and user.s3.* (etag, storage_class, version_id, tags,
 * and the headers that are stored), which are asked for and never listed. -EOPNOTSUPP (another
 * namespace, or user.* outside posix mode), -ENODATA, -EIO; *ret is the caller's to finish.
 */
int fs_getxattr(struct fs *fs, uint64_t id, const char *name, struct caller *caller,
		struct buf *ret);
/* The names, each with its NUL. */
int fs_listxattr(struct fs *fs, uint64_t id, struct caller *caller, struct buf *ret);

struct fs_setxattr {
	const char *name;
	const void *value; /* NULL: removed */
	size_t length;
	int flags; /* XATTR_CREATE, XATTR_REPLACE */
};
/* Sets or removes one: -EEXIST, -ENODATA, -ENOSPC (S3 has 2 KB for all metadata), -EPERM (user.s3.*
 * are told, not set). */
int fs_setxattr(struct fs *fs, uint64_t id, const struct fs_setxattr *ask, struct caller *caller);

/* Logs one line a file under write and one a running transfer (SIGUSR1). */
void fs_log_progress(struct fs *fs);

#endif
