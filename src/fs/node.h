/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of nodes in posix mode: known, asked for, shown, changed. Private to fs/. */
#ifndef PAILFS_FS_NODE_H
#define PAILFS_FS_NODE_H

#include "attrs.h"
#include "inode.h"

/*
 * Makes sure that the attributes of the inode are known: from memory, from the cache, or asked for
 * with the names that a walk through the directory will want next. since_ns: what was asked for
 * before that and has expired does not count. 0 (also without posix mode); -ESTALE: the name leads
 * to something else now, the inode is retired; -EACCES, -EIO, -EINTR, -ENOMEM.
 */
int inode_know(struct fs *fs, struct inode *i, uint64_t since_ns, struct caller *caller);
/* The same for who has just looked the name up; -EAGAIN (the reference of *ret is given back): to
 * be looked up again. */
int inode_know_entry(struct fs *fs, uint64_t since_ns, struct caller *caller, struct fs_entry *ret);
/* True if the attributes of a name are known, and *ret has them: from the cache or from memory,
 * nothing is asked. */
bool inode_known_entry(struct fs *fs, struct fs_entry *ret);
/* A server's answer showed the version that the inode has: attributes that were stored at another
 * time do not hold any more. */
void inode_seen_locked(struct fs *fs, struct inode *i, const struct object *object);
/* The object is one that this mount has made, with that metadata; the cache forgets the key later:
 * attrs_forget. -ENOMEM: they are asked for when they are needed. */
int inode_own_attr_locked(struct fs *fs, struct inode *i, const struct file_meta *meta);
/* What of *m shows, over what *st shows without it. */
void attr_of_meta(const struct fs *fs, const struct file_meta *m, struct stat *st);
/* All attributes of the inode that can be stored, as they show; xattr and target are borrowed from
 * i->attr. */
void inode_meta_locked(const struct fs *fs, const struct inode *i, struct file_meta *ret);
/* The names of the directory have changed: its times move, in memory. */
void inode_names_changed_locked(struct fs *fs, struct inode *dir);
/* The type of a name of a listing: (mode & S_IFMT), 0 if it is not known without asking. */
uint32_t node_type_locked(struct fs *fs, const struct inode *dir, const struct name *n,
			  const char *text, bool as_dir);
/* What is stored with a new name of that directory in posix mode; the caller makes it. */
void new_meta_locked(const struct fs *fs, const struct inode *parent, mode_t mode,
		     const struct caller *caller, struct file_meta *ret);
/* The dialect that is written. */
enum meta_dialect fs_dialect(const struct fs *fs);
/* Bits of a mode that this mount shows and stores. */
uint32_t mode_bits(const struct fs *fs, uint32_t mode);
/* True if what a listing shows as an empty object is known to be a directory by its type. */
bool node_is_old_marker_locked(struct fs *fs, const struct inode *dir, const struct name *n,
			       const char *text);

#endif
