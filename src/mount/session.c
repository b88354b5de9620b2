/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mount's life: created, attached (mounted, its loop started, found to answer), served, stopped.
 *
 * The FUSE loop runs on a thread of its own, which starts and reaps libfuse's workers; the first
 * thread keeps the signals (serve.c), because a worker may block for as long as S3 does. Workers
 * block by design, so there may be many; idle ones beyond a few are let go.
 */
#include "mount_private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <pailfs/buf.h>
#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#include "mountinfo.h"

#define WORKERS_MAX 1024
#define WORKERS_IDLE 16
#define WORKER_STACK_BYTES "262144"

/* What libfuse calls errors is told by our own line or by the reply; it adds detail. */
static void forward_log(enum fuse_log_level level, const char *fmt, va_list args)
{
	char text[256];
	size_t length;

	vsnprintf(text, sizeof(text), fmt, args);
	length = strcspn(text, "\n");
	text[length] = '\0';
	log_at(level < FUSE_LOG_ERR ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "libfuse: %s", text);
}

/* Only there to end a sem_wait of the loop's thread with EINTR. */
static void wake_handler(int signal)
{
}

sigset_t handled_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	return set;
}

void mount_process_init(void)
{
	struct sigaction wake = {.sa_handler = wake_handler}; /* no SA_RESTART */
	sigset_t set = handled_signals();

	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGRTMIN, &wake, NULL);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	setenv("FUSE_THREAD_STACK", WORKER_STACK_BYTES, 1); /* read by libfuse */
	fuse_set_log_func(forward_log);
}

void mount_signals_deadly(bool deadly)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(deadly ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}

/* The text of libfuse's -o; commas of the source are escaped. */
static char *session_options(const struct mount_config *config)
{
	__attribute__((cleanup(buf_finishp))) struct buf b = BUF_INIT;
	int rc = buf_append_str(&b, "subtype=pailfs,default_permissions,fsname=");

	for (const char *c = config->source; *c != '\0' && rc == 0; c++)
		rc = buf_printf(&b, "%s%c", *c == ',' || *c == '\\' ? "\\" : "", *c);
	if (rc == 0 && config->allow_other)
		rc = buf_append_str(&b, ",allow_other");
	if (rc == 0 && config->read_only)
		rc = buf_append_str(&b, ",ro");
	if (rc == 0 && config->no_exec)
		rc = buf_append_str(&b, ",noexec");
	return rc == 0 ? buf_take(&b) : NULL;
}

DEFINE_CLEANUP(struct mount, mount_destroy);

int mount_create(const struct mount_config *config, struct mount **ret)
{
	CLEANUP(free) char *options = session_options(config);
	CLEANUP(mount_destroy) struct mount *m = calloc(1, sizeof(*m));
	char *argv[] = {(char *)"pailfs", (char *)"-o", options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);

	if (m == NULL)
		return -ENOMEM;
	lock_init(&m->handles_lock, LOCK_LEAF);
	TAILQ_INIT(&m->handles);
	m->ended_fd = eventfd(0, EFD_CLOEXEC);
	m->life_fd = -1;
	m->dir = strdup(config->dir);
	if (m->ended_fd < 0 || m->dir == NULL || options == NULL)
		return -ENOMEM;
	m->session = fuse_session_new(&args, mount_ops(), sizeof(struct fuse_lowlevel_ops), m);
	fuse_opt_free_args(&args);
	if (m->session == NULL)
		return -EINVAL;
	*ret = TAKE(m);
	return 0;
}

static void entry_gone(void *ctx, uint64_t parent_id, const char *name, size_t name_length)
{
	struct mount *m = ctx;

	fuse_lowlevel_notify_inval_entry(m->session, parent_id, name, name_length);
}

static void attr_gone(void *ctx, uint64_t id)
{
	struct mount *m = ctx;

	fuse_lowlevel_notify_inval_inode(m->session, id, -1, 0); /* -1: no pages */
}

struct fs_notify mount_notify(struct mount *m)
{
	return (struct fs_notify){.ctx = m, .entry_gone = entry_gone, .attr_gone = attr_gone};
}

static void *loop_main(void *ctx)
{
	struct mount *m = ctx;
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	uint64_t one = 1;

	m->loop_error = -ENOMEM;
	if (config != NULL) {
		fuse_loop_cfg_set_max_threads(config, WORKERS_MAX);
		fuse_loop_cfg_set_idle_threads(config, WORKERS_IDLE);
		fuse_loop_cfg_set_clone_fd(config, 0);
		m->loop_error = fuse_session_loop_mt(m->session, config);
		fuse_loop_cfg_destroy(config);
	}
	if (write(m->ended_fd, &one, sizeof(one)) < 0)
		log_error("eventfd: %s", strerror(errno)); /* cannot happen: it counts to 2^64 */
	return NULL;
}

static int mount_failed(const struct mount *m, char *error, size_t size)
{
	int err = errno != 0 ? errno : EIO;

	snprintf(error, size, "%s: cannot mount there: %s%s", m->dir, strerror(err),
		 err == EPERM ? "; in a container try --cap-add SYS_ADMIN --device /dev/fuse" : "");
	return -err;
}

/* DIR must answer before anybody is told that it is mounted. */
static int confirm(struct mount *m, char *error, size_t size)
{
	struct mountinfo info;
	struct statvfs st;

	if (statvfs(m->dir, &st) < 0) {
		int err = errno;

		snprintf(error, size, "%s: mounted, but does not answer: %s", m->dir,
			 strerror(err));
		return -err;
	}
	if (mountinfo_find(m->dir, &info) == 1) {
		m->major = info.major;
		m->minor = info.minor;
		m->life_fd = life_open(info.major, info.minor);
		fs_set_device(m->fs, makedev(info.major, info.minor));
		readahead_raise(info.major, info.minor);
	}
	return 0;
}

int mount_attach(struct mount *m, struct fs *fs, char *ret_error, size_t error_size)
{
	int rc;

	m->fs = fs;
	note_if_not_empty(m->dir);
	errno = 0;
	if (fuse_session_mount(m->session, m->dir) != 0)
		return mount_failed(m, ret_error, error_size);
	m->attached = true;
	rc = channel_install(m);
	if (rc < 0)
		log_warn(
		    "libfuse takes no channel of ours: lookups in a directory follow each other");
	rc = -pthread_create(&m->loop_thread, NULL, loop_main, m);
	if (rc < 0) {
		snprintf(ret_error, error_size, "cannot start a thread: %s", strerror(-rc));
		return rc;
	}
	rc = confirm(m, ret_error, error_size);
	if (rc < 0) {
		mount_unmount(m, true);
		m->stopping = true;
		mount_serve(m, NULL);
	}
	return rc;
}

int mount_unmount(struct mount *m, bool lazy)
{
	struct mountinfo info;
	int rc;

	if (m->detached)
		return 0;
	if (mountinfo_find(m->dir, &info) != 1 || strcmp(info.fstype, "fuse.pailfs") != 0 ||
	    (m->minor != 0 && (info.major != m->major || info.minor != m->minor)))
		return -ESTALE; /* gone, or under a mount of somebody else */
	rc = mountinfo_unmount(m->dir, lazy);
	m->detached = rc == 0;
	return rc;
}

void mount_stop_loop(struct mount *m)
{
	fuse_session_exit(m->session);
	pthread_kill(m->loop_thread, SIGRTMIN);
}

/*
 * libfuse unmounts whatever is at DIR by now, ours or not, unless its descriptor polls as an error,
 * which it takes for a mount that the kernel has ended. The writing end of a pipe that nobody reads
 * does so.
 */
static void hide_unmount_from_libfuse(struct fuse_session *session)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return;
	close(fds[0]);
	dup2(fds[1], fuse_session_fd(session));
	close(fds[1]);
}

void mount_destroy(struct mount *m)
{
	if (m == NULL)
		return;
	if (m->session != NULL) {
		if (m->attached) {
			mount_unmount(m, true);
			hide_unmount_from_libfuse(m->session);
		}
		fuse_session_unmount(m->session);
		fuse_session_destroy(m->session);
	}
	channel_finish(m);
	if (m->ended_fd > 0)
		close(m->ended_fd);
	lock_finish(&m->handles_lock);
	free(m->dir);
	free(m);
}
