/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fusenull [--lookup-ms=N] MANIFEST DIR: what FUSE alone costs. A file system of libfuse's low
 * level that has the names of MANIFEST (lines "BYTES PATH", as the bucket of a row), answers reads
 * out of one buffer of zeros, and takes and forgets what is written. No network, no cache, no data:
 * no mount program on this machine can be faster by this interface. It asks the kernel for the same
 * things as pailfs: writes of 1 MiB, parallel look-ups, READDIRPLUS_AUTO, answers that stay valid,
 * read-ahead of 1 MiB (as root, in sysfs). tests/bench runs it as the peer "fuse". In the
 * foreground until unmounted.
 *
 * --lookup-ms=N: a look-up of a name that is not there takes so long, as if a server were asked;
 * nothing else does. Which is what the kernel allows a file system that asks.
 *
 * One mutex guards the tree; nodes are never freed, so pointers into it need none.
 */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <uthash.h>

enum { READ_MAX = 1 << 20, PATH_BYTES = 4096, DIR_BYTES = 1 << 20, READ_AHEAD_KIB = 1024 };
enum { US_PER_MS = 1000 };
#define LOOKUP_MS "--lookup-ms="

struct node {
	UT_hash_handle hh; /* in the parent's children, in the order of the manifest */
	struct node *children, **list;
	size_t list_length;
	fuse_ino_t parent;
	uint64_t size;
	bool directory;
	char name[];
};

static char zeros[READ_MAX];
static struct node *root;
static useconds_t lookup_us; /* set before the loop runs */
static pthread_mutex_t tree_lock = PTHREAD_MUTEX_INITIALIZER;

static struct node *node_of(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? root : (struct node *)(uintptr_t)ino;
}

static fuse_ino_t ino_of(const struct node *n)
{
	return n == root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)n;
}

static struct node *find_locked(struct node *parent, const char *name)
{
	struct node *found;

	HASH_FIND_STR(parent->children, name, found);
	return found;
}

static struct node *add_locked(struct node *parent, const char *name, bool directory, uint64_t size)
{
	struct node *n = calloc(1, sizeof(*n) + strlen(name) + 1);

	if (!n)
		abort();
	strcpy(n->name, name);
	n->directory = directory;
	n->size = size;
	n->parent = parent ? ino_of(parent) : FUSE_ROOT_ID;
	if (parent)
		HASH_ADD_KEYPTR(hh, parent->children, n->name, strlen(n->name), n);
	return n;
}

static void add_path(char *path, uint64_t size)
{
	struct node *at = root;
	char *rest, *name = strtok_r(path, "/", &rest);

	while (name) {
		char *next = strtok_r(NULL, "/", &rest);
		struct node *found = find_locked(at, name);

		at = found ?: add_locked(at, name, next != NULL, next ? 0 : size);
		name = next;
	}
}

static int read_manifest(const char *path)
{
	char name[PATH_BYTES];
	unsigned long long size;
	FILE *in = fopen(path, "r");

	if (!in)
		return -1;
	root = add_locked(NULL, "", true, 0);
	while (fscanf(in, "%llu %4095s", &size, name) == 2)
		add_path(name, size);
	return fclose(in);
}

static struct stat attributes(const struct node *n)
{
	return (struct stat){
	    .st_ino = ino_of(n),
	    .st_mode = n->directory ? S_IFDIR | 0755 : S_IFREG | 0644,
	    .st_nlink = n->directory ? 2 : 1,
	    .st_size = (off_t)n->size,
	    .st_blocks = (blkcnt_t)((n->size + 511) / 512),
	    .st_blksize = 4096,
	};
}

static struct fuse_entry_param entry_of(const struct node *n)
{
	return (struct fuse_entry_param){
	    .ino = ino_of(n), .attr = attributes(n), .attr_timeout = 60, .entry_timeout = 60};
}

static void op_init(void *data, struct fuse_conn_info *conn)
{
	(void)data;
	conn->want |= conn->capable & (FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_PARALLEL_DIROPS |
				       FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC);
	conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ);
	conn->max_background = 128;
	conn->max_write = READ_MAX;
	conn->max_readahead = READ_MAX;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry;
	struct node *found;

	pthread_mutex_lock(&tree_lock);
	found = find_locked(node_of(parent), name);
	pthread_mutex_unlock(&tree_lock);
	if (!found) {
		usleep(lookup_us);
		fuse_reply_err(req, ENOENT);
		return;
	}
	entry = entry_of(found);
	fuse_reply_entry(req, &entry);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	struct stat st = attributes(node_of(ino));

	(void)file;
	fuse_reply_attr(req, &st, 60);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int what,
		       struct fuse_file_info *file)
{
	if (what & FUSE_SET_ATTR_SIZE)
		node_of(ino)->size = (uint64_t)st->st_size;
	op_getattr(req, ino, file);
}

static struct node *make(fuse_ino_t parent, const char *name, bool directory)
{
	struct node *n;

	pthread_mutex_lock(&tree_lock);
	n = find_locked(node_of(parent), name) ?: add_locked(node_of(parent), name, directory, 0);
	pthread_mutex_unlock(&tree_lock);
	return n;
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fuse_entry_param entry = entry_of(make(parent, name, true));

	(void)mode;
	fuse_reply_entry(req, &entry);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *file)
{
	struct fuse_entry_param entry = entry_of(make(parent, name, false));

	(void)mode;
	fuse_reply_create(req, &entry, file);
}

static void op_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node *found;

	pthread_mutex_lock(&tree_lock);
	found = find_locked(node_of(parent), name);
	if (found)
		HASH_DEL(node_of(parent)->children, found); /* others may still point to it */
	pthread_mutex_unlock(&tree_lock);
	fuse_reply_err(req, found ? 0 : ENOENT);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	(void)ino;
	file->noflush = (file->flags & O_ACCMODE) == O_RDONLY;
	fuse_reply_open(req, file);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t at,
		    struct fuse_file_info *file)
{
	uint64_t end = node_of(ino)->size, first = (uint64_t)at;
	struct iovec part = {.iov_base = zeros};

	(void)file;
	if (first < end)
		part.iov_len = end - first < size ? end - first : size;
	if (part.iov_len > READ_MAX)
		part.iov_len = READ_MAX;
	fuse_reply_iov(req, &part, 1);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t at,
		     struct fuse_file_info *file)
{
	struct node *n = node_of(ino);

	(void)data;
	(void)file;
	if ((uint64_t)at + size > n->size)
		n->size = (uint64_t)at + size;
	fuse_reply_write(req, size);
}

static void op_done(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	(void)ino;
	(void)file;
	fuse_reply_err(req, 0);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	struct node *dir = node_of(ino), *child, *next;

	pthread_mutex_lock(&tree_lock);
	free(dir->list);
	dir->list = calloc(HASH_COUNT(dir->children) + 1, sizeof(struct node *));
	dir->list_length = 0;
	HASH_ITER (hh, dir->children, child, next)
		dir->list[dir->list_length++] = child;
	pthread_mutex_unlock(&tree_lock);
	fuse_reply_open(req, file);
}

/* Names from place `at` on, as many as fit. */
static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t at, bool plus)
{
	struct node *dir = node_of(ino);
	size_t used = 0, need;
	char *text = malloc(size);

	for (size_t i = (size_t)at; text && i < dir->list_length; i++) {
		struct fuse_entry_param entry = entry_of(dir->list[i]);
		const char *name = dir->list[i]->name;
		off_t next = (off_t)i + 1;

		need =
		    plus
			? fuse_add_direntry_plus(req, text + used, size - used, name, &entry, next)
			: fuse_add_direntry(req, text + used, size - used, name, &entry.attr, next);
		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, text, text ? used : 0);
	free(text);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t at,
		       struct fuse_file_info *file)
{
	(void)file;
	list(req, ino, size, at, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t at,
			   struct fuse_file_info *file)
{
	(void)file;
	list(req, ino, size, at, true);
}

/* As pailfs does; without root it stays at the kernel's 128 KiB. */
static void raise_read_ahead(const char *mount_point)
{
	char path[128];
	struct stat st;
	FILE *out;

	if (stat(mount_point, &st) < 0)
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(st.st_dev),
		 minor(st.st_dev));
	out = fopen(path, "w");
	if (out) {
		fprintf(out, "%d\n", READ_AHEAD_KIB);
		fclose(out);
	}
}

/* stat(2) of the mount needs the loop to run. */
static void *raise_read_ahead_thread(void *mount_point)
{
	raise_read_ahead(mount_point);
	return NULL;
}

static const struct fuse_lowlevel_ops operations = {
    .init = op_init,
    .lookup = op_lookup,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .mkdir = op_mkdir,
    .create = op_create,
    .unlink = op_remove,
    .rmdir = op_remove,
    .open = op_open,
    .read = op_read,
    .write = op_write,
    .flush = op_done,
    .release = op_done,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .releasedir = op_done,
};

static bool parse_words(int argc, char **argv)
{
	char *end = argv[1];

	if (argc == 4 && strncmp(argv[1], LOOKUP_MS, strlen(LOOKUP_MS)) == 0)
		lookup_us = (useconds_t)strtoul(argv[1] + strlen(LOOKUP_MS), &end, 10) * US_PER_MS;
	return argc == 3 || (argc == 4 && end != argv[1] && *end == '\0');
}

int main(int argc, char **argv)
{
	char flag[] = "-o", options[] = "default_permissions,fsname=fusenull";
	char *words[] = {argv[0], flag, options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, words);
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	struct fuse_session *session;
	char *mount_point = argv[argc - 1];
	pthread_t helper;
	int rc;

	if (!parse_words(argc, argv) || read_manifest(argv[argc - 2]) < 0) {
		fprintf(stderr, "usage: fusenull [" LOOKUP_MS "N] MANIFEST DIR\n");
		return 2;
	}
	session = fuse_session_new(&args, &operations, sizeof(operations), NULL);
	if (!session || fuse_set_signal_handlers(session) < 0 ||
	    fuse_session_mount(session, mount_point) < 0)
		return 1;
	fuse_loop_cfg_set_max_threads(config, 64);
	fuse_loop_cfg_set_idle_threads(config, 16);
	if (pthread_create(&helper, NULL, raise_read_ahead_thread, mount_point) != 0)
		return 1;
	rc = fuse_session_loop_mt(session, config);
	pthread_join(helper, NULL);
	fuse_session_unmount(session);
	fuse_remove_signal_handlers(session);
	fuse_session_destroy(session);
	fuse_loop_cfg_destroy(config);
	return rc == 0 ? 0 : 1;
}
