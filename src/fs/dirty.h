/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An inode under write: its writer, how it is to be published, and by whom. Private to fs/.
 *
 * It lives from the first open for writing until the last such handle is closed, and is published
 * in between as often as publish.c decides. Whatever changes where it is published (publication,
 * rename, unlink) enters it first, one at a time. Its lock is held for its fields only, never over
 * a call of the writer.
 */
#ifndef PAILFS_FS_DIRTY_H
#define PAILFS_FS_DIRTY_H

#include "inode.h"
#include "kept.h"
#include "xattr.h"

struct dirty {
	/* set at creation */
	struct fs *fs;
	char *content_type; /* NULL: none */
	bool exclusive;	    /* O_EXCL: a name that appears meanwhile is EEXIST, else ESTALE */
	/* under fs->lock */
	struct inode *inode; /* alive as long as a handle; NULL once detached */
	uint32_t refs;	     /* handles, reads in flight */
	uint32_t handles;    /* open for writing */
	TAILQ_ENTRY(dirty) link;
	struct lock lock; /* LOCK_INODE */
	struct cond cond;
	/* under the lock */
	bool entered;  /* somebody is at it */
	bool settling; /* published perhaps, and the inode does not know of it yet */
	struct writer *writer;
	struct kept *kept; /* referenced: what the object had besides its bytes; NULL: nothing */
	bool unlearnt;	   /* that is not asked yet */
	enum publish_condition condition;
	uint64_t size;
	struct timespec modified;
	bool times_given, mode_given, owner_given; /* metadata that was asked for */
	uint32_t mode, uid, gid;
	/* posix mode: what is stored with it; xattr is owned; mtime is `modified` */
	struct file_meta meta;
	bool written;		/* any byte, ever */
	bool on_server;		/* the key has an object: an older one, or what we published */
	bool shadows;		/* renamed onto a key that may have an object of its own */
	bool readable;		/* opened with O_RDWR, once */
	bool published;		/* there is an object of it that is changed in place */
	bool appended;		/* some handle has O_APPEND */
	bool unlinked;		/* nothing is published any more */
	bool killed;		/* its writer was, and nobody wrote since */
	int failed;		/* -errno: nothing is published any more */
	bool gone_unsaid;	/* the kernel still believes in its name */
	uint64_t epoch;		/* counts publications, from 1 */
	unsigned wrote_handles; /* that wrote in this epoch */
};

#define DIRTY_META_OWN META_FIELDS_MAX

/* What is stored with an object, made of a dirty's fields; its strings live as long as it. */
struct dirty_meta {
	char texts[DIRTY_META_OWN][48];
	unsigned own;
	struct s3_meta *meta;
	struct meta_text text; /* posix mode */
	char *xattr;	       /* likewise; owned */
	struct kept *kept;
	struct publish_attr attr;
};

struct dirty_config {
	const struct buf *key;
	const char *name; /* for the content type */
	size_t name_length;
	enum publish_condition condition;
	bool exclusive, on_server;
	bool readable;		      /* O_RDWR */
	const struct file_base *base; /* the object that is changed in place; NULL: starts empty */
	const struct file_meta *meta; /* posix mode */
};

/* A file under write, one reference, of no inode yet. -ENOMEM. */
int dirty_create(struct fs *fs, const struct dirty_config *config, struct dirty **ret);
/* Makes it the inode's, which has none. */
void dirty_attach_locked(struct dirty *d, struct inode *i);
/* The inode is no longer under write. */
void dirty_detach_locked(struct dirty *d);
/* A reference to the inode's; NULL if it is not under write. */
struct dirty *dirty_of(struct fs *fs, struct inode *i);
/* Gives it back; the last one drops what is not published. NULL is fine. */
void dirty_unref(struct dirty *d);
/* 0, or why nothing of it is published any more. */
int dirty_failed(struct dirty *d);
/* The writer to call, without the lock. */
struct writer *dirty_writer(struct dirty *d);
/* Waits until nobody else is at it: 0, or what cancel answered. */
int dirty_enter(struct dirty *d, struct cancel *cancel);
/* Lets the next one in. */
void dirty_leave(struct dirty *d);
/* A new one was made under the key that its inode had before: its writer gets that of now. */
int dirty_follow(struct dirty *d);
/* What is to be stored with the object now; dirty_meta_finish gives it back. -ENOMEM. */
int dirty_meta_fill(struct dirty *d, struct dirty_meta *ret);
/* Frees it. */
void dirty_meta_finish(struct dirty_meta *m);
/* Posix mode: what is stored with it, now; xattr is borrowed. */
void dirty_posix_meta_locked(const struct dirty *d, struct file_meta *ret);
/* Posix mode: its extended attributes, as they show. -ENOMEM. */
int xattrs_of_dirty_locked(struct dirty *d, struct xattrs *ret);
/* Posix mode: that is what is to be stored from now on; it is copied. -ENOMEM. */
int dirty_posix_set_locked(struct dirty *d, const struct file_meta *meta);
/* Posix mode: appends it to m->meta. -ENOMEM. */
int dirty_posix_fill_locked(const struct dirty *d, struct dirty_meta *m);
/* Tells the writer of metadata that has changed. */
int dirty_meta_changed(struct dirty *d);
/* Asks what the object has besides its bytes, unless that is known: before the first change of an
 * object in place. Waits. -EACCES, -EIO, -EINTR, -ENOMEM. */
int dirty_learn(struct dirty *d, struct cancel *cancel);
/* True if a change of its attributes waits for its next publication, or for none: there are bytes
 * that are not published, or never will be. */
bool dirty_keeps_changes(struct dirty *d);
/* Appends the key under which it is published: 1; 0: its name is gone for good. -ENOMEM. */
int dirty_key(struct dirty *d, struct buf *ret);
/* The object was copied onto itself: the same bytes, and *object from now on, whose etag goes
 * along. By who has entered it. -ENOMEM. */
int dirty_rebase(struct dirty *d, const struct object *object);
/* Attributes of the inode, on top of what its object says. */
void attr_of_dirty_locked(struct dirty *d, struct stat *ret);
/* What is shown in the log as its name: the key. Returns dst. */
const char *dirty_shown(struct dirty *d, char *dst, size_t size);

/*
 * Publishes what is not published: blocks until it is there. 0 (also if there was nothing to do, or
 * its name is gone), or why it is not. caller NULL: nobody waits.
 */
int dirty_publish(struct dirty *d, struct caller *caller);
/* The same for who has entered it. */
int dirty_publish_entered(struct dirty *d, struct caller *caller);
/* The name is gone, here and at the server. */
void name_gone_locked(struct fs *fs, struct inode *parent, const char *name, size_t length);
/* Deletes an object, if_match (NULL: any): 0 also if there was none. Waits. */
int object_delete(struct fs *fs, const struct buf *key, const char *if_match,
		  struct cancel *cancel);
/* Gives up what is not published: the node is retired, the object stays as it was. */
void dirty_abort(struct dirty *d, int err);

#endif
