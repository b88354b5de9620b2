/* SPDX-License-Identifier: Apache-2.0 */
/*
 * While the mount is served, its first thread waits here for signals and for the end of the loop.
 * Signals are blocked in every thread and read from a signalfd.
 *
 * SERVING -> (SIGTERM, SIGINT) -> UNMOUNTED: nobody has anything open, the kernel ends the loop;
 *                              -> DETACHED: it was busy, the loop is told to end.
 * A busy mount's requests that are being worked on get their reply before the loop ends; another
 * SIGTERM or SIGINT does not wait for that. When the kernel has ended the mount, by whatever cause,
 * nobody is there to take a reply, and requests give up: who waits asks every now and then. Nobody
 * polls /dev/fuse for that: the kernel wakes all who do at each request, before the worker.
 */
#include "mount_private.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <pailfs/cleanup.h>
#include <pailfs/log.h>

#define NUDGE_MS 50 /* how often a loop that should end is woken */
#define STATUS_AT_ONCE 1

enum serve_state { SERVING, UNMOUNTED, DETACHED };

static int open_signals(void)
{
	sigset_t set = handled_signals();

	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static enum serve_state stop_serving(struct mount *m, const char *signal_name)
{
	int rc;

	log_info("%s: unmounting %s", signal_name, m->dir);
	rc = mount_unmount(m, false);
	if (rc == 0)
		return UNMOUNTED;
	fs_refuse_writes(m->fs);
	if (rc == -EBUSY)
		log_warn("%s is busy (a file open or a directory entered): detached", m->dir);
	rc = mount_unmount(m, true);
	if (rc == -ESTALE)
		log_warn("%s: it is unmounted, or under another mount, which is left alone",
			 m->dir);
	else if (rc < 0)
		log_warn("%s: cannot be unmounted: %s", m->dir, strerror(-rc));
	return DETACHED;
}

static enum serve_state on_signal(struct mount *m, const struct mount_hooks *hooks,
				  enum serve_state state, int signal)
{
	switch (signal) {
	case SIGHUP:
		if (hooks != NULL && hooks->reload != NULL)
			hooks->reload(hooks->ctx);
		return state;
	case SIGUSR1:
		if (hooks != NULL && hooks->progress != NULL)
			hooks->progress(hooks->ctx);
		return state;
	default:
		break;
	}
	if (state == SERVING)
		return stop_serving(m, signal == SIGINT ? "SIGINT" : "SIGTERM");
	log_warn("a second signal: leaving at once");
	mount_unmount(m, true);
	_exit(STATUS_AT_ONCE);
}

bool mount_is_gone(struct mount *m)
{
	struct pollfd fd = {.fd = fuse_session_fd(m->session)};

	if (__atomic_load_n(&m->gone, __ATOMIC_RELAXED))
		return true;
	if (poll(&fd, 1, 0) <= 0) /* an error of the descriptor is all that is asked for */
		return false;
	__atomic_store_n(&m->gone, true, __ATOMIC_RELAXED);
	return true;
}

int mount_serve(struct mount *m, const struct mount_hooks *hooks)
{
	enum serve_state state = m->stopping ? DETACHED : SERVING;
	CLEANUP(close) int signals = open_signals();
	struct pollfd fds[] = {{.fd = m->ended_fd, .events = POLLIN},
			       {.fd = signals, .events = POLLIN}};

	while (fds[0].revents == 0) {
		struct signalfd_siginfo info;

		if (poll(fds, ARRAY_SIZE(fds), state == DETACHED ? NUDGE_MS : -1) < 0)
			continue;
		if (fds[1].revents != 0 && read(signals, &info, sizeof(info)) == sizeof(info))
			state = on_signal(m, hooks, state, (int)info.ssi_signo);
		if (state == DETACHED)
			mount_stop_loop(m);
	}
	pthread_join(m->loop_thread, NULL);
	channel_drain(m);
	handles_close_all(m);
	if (m->loop_error != 0)
		log_error("%s: the FUSE loop ended: %s", m->dir, strerror(abs(m->loop_error)));
	return m->loop_error > 0 ? -m->loop_error : m->loop_error;
}
