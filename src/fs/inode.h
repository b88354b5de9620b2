/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of inodes. Private to fs/.
 *
 * A node is (path, version): when an object is replaced by another client, its inode is retired
 * (taken out of the table, kept while referenced) and the name gets a new one. So the kernel, which
 * has one page cache an inode, never mixes two versions.
 */
#ifndef PAILFS_FS_INODE_H
#define PAILFS_FS_INODE_H

#include <pailfs/buf.h>
#include <pailfs/fs.h>

#include "attrs.h"
#include "etag.h"
#include "local.h"
#include "names.h"
#include "numbers.h"
#include "object.h"
#include "reader.h"
#include "table.h"
#include "writer.h"

#include <stddef.h>

/* As many lately, and a list page is asked instead of a HEAD each. */
#define LOOKUPS_FOR_A_PAGE 4

/* What only directories have; made when first needed. */
struct dir_state {
	struct names_set names;
	uint64_t last_read_ns;		       /* when readdir's last page came; 0: never */
	uint64_t touched_ns;		       /* a page came */
	uint64_t asked_ns[LOOKUPS_FOR_A_PAGE]; /* the last lookups that needed S3 or the listing */
	unsigned asked_next;
	unsigned
	    unused_pages; /* list pages for lookups since one of them answered another lookup */
	unsigned skipped; /* lookups that would have had a page, but for those */
	bool paging;	  /* a lookup's list page is on its way */
	TAILQ_ENTRY(dir_state) link; /* in fs->listed, by touched_ns */
	bool listed;
	bool hidden_logged;
	bool own_marker;      /* its marker was put by this mount, with nothing else in it */
	int32_t peeker;	      /* the thread that has read its listing's begin, not its end; or 0 */
	bool kept;	      /* known although S3 may hold nothing of it; one reference of ours */
	uint64_t child_ino;   /* the directory in it that was read last, for walk.c */
	uint64_t child_ns;    /* when */
	unsigned dirty_below; /* files below it, at any depth, that are under write */
	struct timespec modified; /* set by utimens(2), or names changed; 0: neither */
	uint64_t walk_page;	  /* of a walk for attributes: its page's asked_ns */
	uint32_t walk_next;	  /* names of it that were asked for */
	unsigned walk_misses;	  /* attributes that had to be waited for */
	struct local_names locals;
};

/* What few inodes have; made when first needed, and then there as long as the inode. */
struct inode_extra {
	struct node_attr *attr; /* posix mode: referenced; NULL: not known */
	char *name;		/* malloc'd: the inode was renamed; else NULL */
	uint64_t number;	/* st_ino, if the inode is `numbered` */
	uint32_t opens;		/* handles; of files */
	uint32_t moves; /* how often `object` became another version before it was delivered:
			 * handles compare it, so it counts from the first one on */
};

/*
 * Kept small: there may be a million. Not stored is what its path tells: st_ino of a file
 * (inode_ino), and where it is in the table.
 */
struct inode {
	/* under fs->lock */
	union {
		struct object object; /* files */
		struct {
			struct dir_state *dir; /* directories; may be NULL */
			uint64_t dir_ino;      /* set at creation: st_ino */
		};
	};
	struct dirty *dirty;	   /* what is written and not published; NULL: nothing */
	uint64_t fresh_until_ns;   /* attributes hold; UINT64_MAX for ever */
	uint64_t entry_until_ns;   /* the kernel's name holds until then */
	uint64_t lookups;	   /* the kernel's references */
	uint32_t refs;		   /* ours: handles, children, and one while lookups > 0 */
	uint32_t generation;	   /* set at creation; the kernel keeps 32 bits of it */
	struct inode_extra *extra; /* NULL: none yet */
	struct inode *hash_next;
	/* set at creation; under fs->lock, since rename moves inodes: see inode_name */
	struct inode *parent; /* referenced; NULL: the root */
	uint8_t name_length;
	/* set at creation */
	bool is_dir;
	/* under fs->lock, in one byte */
	uint8_t shown_type : 4; /* posix mode: st_mode's >> 12, as in d_type; 0: not shown yet */
	bool retired : 1;	/* no name leads here any more */
	bool unlinked : 1;	/* because this mount removed it: open handles go on */
	bool delivered : 1;	/* the kernel may hold pages of this version */
	bool numbered : 1; /* st_ino is not its path's hash, and nobody else's: in fs->numbers */
	char text[];	   /* the name that it was made with */
};
/* With a name of 12 bytes it fills a chunk of 128 bytes, of which malloc has 8; the next has 144.
 */
_Static_assert(offsetof(struct inode, text) + 12 + 1 <= 120, "there is a million of it");

TAILQ_HEAD(dir_states, dir_state);
TAILQ_HEAD(dirty_list, dirty);
TAILQ_HEAD(gate_list, gate);
TAILQ_HEAD(change_list, key_change);
struct number;

struct fs {
	/* set at creation */
	struct fs_config config;
	char *prefix;
	size_t prefix_length;
	struct xfer *xfer;
	struct cache *cache;
	struct fs_notify notify;
	const struct clock *clock;
	struct fs_streams *streams;
	struct walks *walks;
	struct neighbours *neighbours;
	struct timespec started; /* the time that directories without a marker show */
	struct writers *writers;
	struct journal *journal;
	struct mime *mime;
	struct conditions *conditions;
	struct attrs *attrs; /* NULL: not in posix mode */
	char *place;	     /* the bucket as the journal names it */
	bool settling;
	pthread_t settler; /* aborts what a daemon that was killed has left */
	struct lock lock;
	/* under the lock */
	struct inode *root;
	struct inode_table table;
	uint32_t next_generation;
	struct dir_states listed;
	struct dirty_list dirties;
	size_t names_bytes;
	struct number *numbers; /* st_ino that rename has taken along to another path */
	struct gate_list gates; /* renames, and what they must wait for: see gate.h */
	struct change_list changes;
	struct cond gates_moved;
	unsigned running; /* renames and errands in the background; gates_moved when one ends */
	bool stopping;	  /* they should end */
	uint64_t lost_publications; /* failed where nobody could be told */
	unsigned logged_once;	    /* enum once: what is told only once a mount */
	/* atomic */
	bool draining;	     /* the mount is ending: nothing is opened for writing any more */
	bool no_batches;     /* the server does not know DeleteObjects */
	bool folder_markers; /* a NAME_$folder$ was seen */
	uint64_t device;     /* of the mounted file system; 0 until known */
	size_t freed_bytes;  /* of names, since inodes_give_back */
};

/* True once fs_refuse_writes was called. */
static inline bool fs_is_draining(const struct fs *fs)
{
	return __atomic_load_n(&fs->draining, __ATOMIC_RELAXED);
}

/* The name, of name_length bytes. */
static inline const char *inode_name(const struct inode *i)
{
	return i->extra != NULL && i->extra->name != NULL ? i->extra->name : i->text;
}
/* What is known of its metadata, in posix mode; borrowed, NULL: nothing. */
static inline struct node_attr *inode_attr(const struct inode *i)
{
	return i->extra != NULL ? i->extra->attr : NULL;
}
/* How many handles there are. */
static inline uint32_t inode_opens(const struct inode *i)
{
	return i->extra != NULL ? i->extra->opens : 0;
}
/* Handles that were told another count must look again. */
static inline uint32_t inode_moves(const struct inode *i)
{
	return i->extra != NULL ? i->extra->moves : 0;
}
/* The object became another version (or has another key). */
static inline void inode_moved_on_locked(struct inode *i)
{
	if (i->extra != NULL)
		i->extra->moves++;
}
/* Made if need be; NULL when out of memory. */
struct inode_extra *inode_extra_locked(struct inode *i);
/* Takes the reference a over (NULL: nothing is known any more), and drops the one that it had.
 * -ENOMEM, without a. */
int inode_set_attr_locked(struct inode *i, struct node_attr *a);

/* The table. Makes the root. -ENOMEM. */
int inodes_init(struct fs *fs);
/* Frees all inodes, referenced or not. */
void inodes_finish(struct fs *fs);
/* The inode of a FUSE node id that the kernel holds. Never NULL. */
struct inode *inode_from_id(struct fs *fs, uint64_t id);
/* The FUSE node id. */
uint64_t inode_id(const struct fs *fs, const struct inode *i);
/* True if it holds bytes that are not published (or never will be): what S3 says of its name does
 * not count then. A file that is only open for writing does not. */
bool inode_is_written_locked(const struct inode *i);
/* This mount has copied the object in place: the node goes on with *object, whose etag becomes the
 * old one. open: the dirty state in whose name that was done, or NULL. False: somebody has another
 * one, or the node is retired. */
bool inode_take_copy_locked(struct fs *fs, struct inode *i, const struct dirty *open,
			    struct object *object);
/* True if the inode is what an answer says: a directory (object NULL) or that version. */
bool inode_agrees_locked(const struct inode *i, const struct object *object);
/* The living inode of that name; NULL if there is none. No reference taken. */
struct inode *inode_find_locked(struct fs *fs, const struct inode *parent, const char *name,
				size_t length);
/* A new inode under parent, in the table, with one reference. NULL when out of memory. */
struct inode *inode_create_locked(struct fs *fs, struct inode *parent, const char *name,
				  size_t length, bool is_dir);
/* One more reference of ours. */
struct inode *inode_ref_locked(struct inode *i);
/* One less; frees the inode and what it held when nobody needs it. NULL is fine. */
void inode_unref_locked(struct fs *fs, struct inode *i);
/* The same from outside the lock. */
void inode_unref(struct fs *fs, struct inode *i);
/* One more reference of the kernel. */
void inode_lookup_locked(struct inode *i);
/* The directory and those above it have one file under write more, or (-1) less. */
void inode_count_dirty_locked(struct fs *fs, struct inode *parent, int by);
/* Takes the inode out of the table: its name may get another one. */
void inode_retire_locked(struct fs *fs, struct inode *i);
/* Gives an inode another name, in the table too; its st_ino stays. -ENOMEM. */
int inode_move_locked(struct fs *fs, struct inode *i, struct inode *parent, const char *name,
		      size_t length);
/* The directory and those above it stay known although S3 may hold nothing of them any more. */
void inode_keep_locked(struct fs *fs, struct inode *dir);
/* S3 has something of the directory, or it is removed: it need not be kept. */
void inode_unkeep_locked(struct fs *fs, struct inode *dir);
/* S3 has taken something below the directory by then: it and those above it are there, and need not
 * be asked for. Not in posix mode, where their attributes are. */
void inode_proven_locked(struct fs *fs, struct inode *dir, uint64_t now_ns);
/* True if the directory is there whatever S3 says. */
bool inode_is_kept_locked(const struct inode *dir);
/* The same when S3 was asked for the very name: what the listing said of it is wrong, too. */
void inode_contradict_locked(struct fs *fs, struct inode *i);
/* Drops what is known of the directory's listing. */
void inode_drop_names_locked(struct fs *fs, struct inode *dir);
/* Calls fn for each living inode below the directory, at any depth. */
void inode_each_below_locked(struct fs *fs, const struct inode *top,
			     void (*fn)(struct fs *fs, struct inode *i));
/* The directory's state, made if need be; NULL when out of memory. */
struct dir_state *inode_dir_locked(struct fs *fs, struct inode *i);
/* Keeps a page of the directory's listing for lookups. read: readdir is at it. */
void inode_add_names_locked(struct fs *fs, struct inode *i, struct names_page *page, bool read);
/* Drops names of directories that were not read within the TTL, and the oldest when there are too
 * many. */
void inode_trim_names_locked(struct fs *fs, uint64_t now_ns);
/* Gives memory of inodes and names to the system if many were freed. Takes some milliseconds then;
 * without the lock. */
void inodes_give_back(struct fs *fs);

/*
 * The key of a name below a directory ("" for the directory itself): prefix and path; a directory's
 * ends in '/'. -ENAMETOOLONG over S3_KEY_MAX, -ENOMEM. Takes fs->lock.
 */
int inode_key(struct fs *fs, const struct inode *dir, const char *name, size_t length,
	      struct buf *ret_key);
/* The same under fs->lock. */
int inode_key_locked(const struct fs *fs, const struct inode *dir, const char *name, size_t length,
		     struct buf *ret_key);
/* The key of an inode that rename may move meanwhile. */
int inode_own_key(struct fs *fs, const struct inode *i, struct buf *ret_key);

/* True if the name's key is that one: what was asked of S3 about the key tells of the name. False
 * without memory to tell, too. */
bool inode_has_key_locked(const struct fs *fs, const struct inode *dir, const char *name,
			  size_t length, const struct buf *key);

/* User metadata in s3fs's dialect, whose mtime rclone reads, too. */
#define META_MTIME "mtime"
#define META_MODE "mode"
#define META_UID "uid"
#define META_GID "gid"
#define ATTR_TIME_BYTES 48

/* Attributes as stat(2) shows them. */
void attr_of_object(const struct fs *fs, uint64_t ino, const struct object *o, struct stat *ret);
/* Attributes of a directory; d may be NULL. */
void attr_of_dir(const struct fs *fs, uint64_t ino, const struct dir_state *d, struct stat *ret);
/* Attributes of an inode. */
void attr_of_inode_locked(const struct fs *fs, const struct inode *i, struct stat *ret);
/* Now + the TTL, without overflow. */
uint64_t time_after(uint64_t now_ns, uint64_t ttl_ns);
/* What is left of a deadline as a TTL; for ever stays for ever. */
uint64_t time_left(uint64_t until_ns, uint64_t now_ns);

/*
 * The inode of an object or directory that S3 just told of: the same one if the version is the
 * same, else the old one is retired and a new one made; but what is known for longer than until_ns
 * is of a later answer, and stays. One reference of ours; NULL when out of memory. object NULL: a
 * directory.
 */
struct inode *inode_refresh_locked(struct fs *fs, struct inode *parent, const char *name,
				   size_t length, const struct object *object, uint64_t until_ns);
/* Fills an entry for the kernel and takes its reference. */
void inode_fill_entry_locked(struct fs *fs, struct inode *i, uint64_t now_ns, uint64_t until_ns,
			     struct fs_entry *ret);

/*
 * Makes sure that the inode is what its name leads to: 0 while its attributes are fresh, else S3 is
 * asked. -ESTALE (the inode is retired then), or why S3 did not answer.
 */
int inode_validate(struct fs *fs, struct inode *i, struct caller *caller);
/* The same of a file, and S3 is asked in any case. */
int inode_revalidate(struct fs *fs, struct inode *i, struct caller *caller);

/* Things that are said once a mount; true the first time. */
enum once {
	ONCE_CHMOD = 1,
	ONCE_CHOWN = 2,
	ONCE_RENAME_TAGS = 4,
	ONCE_DIR_TIME = 8,
	ONCE_ROOT_ATTR = 16,
	ONCE_TAGS = 64,
};
bool fs_first_time(struct fs *fs, enum once what);

/* What S3 answered about a name. */
enum found { FOUND_NOTHING, FOUND_FILE, FOUND_DIR };

/*
 * Asks S3 for a name: HEAD of the key and a one-key listing of key/ at the same time. An enum
 * found, or -errno. *ret_object is filled for FOUND_FILE (the caller finishes its etag).
 */
int ask_name(struct fs *fs, const struct buf *key, struct caller *caller,
	     struct object *ret_object);
/* Asks S3 for an object: HEAD, or a listing where HEAD says too little. 0 or -errno. */
int ask_object(struct fs *fs, const struct buf *key, struct caller *caller,
	       struct object *ret_object);
/* What an object has besides its bytes: HeadObject into *op, which the caller finishes whatever
 * came of it. 0 or -errno. */
int ask_attributes(struct fs *fs, const struct buf *key, struct cancel *cancel, struct xfer_op *op);
/* An object's tags as `a=b&c=d`, into *ret, which the caller frees; NULL: none. 0 or -errno. */
int ask_tags(struct fs *fs, const struct buf *key, struct cancel *cancel, char **ret);

#endif
