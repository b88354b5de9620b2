/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop: one thread, one curl multi handle, one epoll. Other threads put requests into its inbox
 * (under the lock) and wake it through an eventfd; everything else is the thread's alone, so that
 * no lock is held when curl or a callback runs.
 *
 * A round: take the inbox and the cancellations; start what is new; resume what has waited for its
 * tokens; end what has been quiet for too long; let curl send what was started; end what curl has
 * finished; sleep until a socket, the inbox, curl's timer or one of ours. curl_multi_socket_action
 * with epoll costs one system call for each socket that is ready; curl_multi_poll costs one for
 * each transfer, ready or not.
 *
 * A request is in `inbox` or in `active` from submit until just before its done(). A cancellation
 * is a flag in the request, not its address in a list: one that comes too late meets nobody.
 */
#include "http_private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <pailfs/clock.h>

#define EVENTS_A_ROUND 64

/* A request that is running is looked at as often as this, so its timers are that exact. */
#define LOOK_NS (100 * NS_PER_MS)

/* After an address failed, names are resolved anew for this long, which shuffles the addresses. */
#define DISTRUST_DNS_NS (5 * NS_PER_S)

/* ---- other threads ---- */

/*
 * Lets the lock go and wakes the thread, in this order: the thread may take the caller's core at
 * once, and wants the lock first.
 */
static void release_and_wake(struct http_loop *l)
{
	bool woken = l->woken;

	lock_assert_held(&l->lock);
	l->woken = true;
	lock_release(&l->lock);
	if (!woken)
		eventfd_write(l->wake_fd, 1);
}

void http_loop_submit(struct http_loop *l, struct http_request *r)
{
	http_answer_finish(&r->answer);
	r->loop = l;
	r->transfer = NULL;
	__atomic_store_n(&r->sent_bytes, 0, __ATOMIC_RELAXED);
	__atomic_add_fetch(&l->running, 1, __ATOMIC_RELAXED);

	lock_acquire(&l->lock);
	r->cancelled = false;
	TAILQ_INSERT_TAIL(&l->inbox, r, link);
	release_and_wake(l); /* r may have ended by then */
}

void http_loop_cancel(struct http_loop *l, struct http_request *r)
{
	lock_acquire(&l->lock);
	r->cancelled = true; /* too late, if it has ended: the next submission resets it */
	l->cancel_pending = true;
	release_and_wake(l);
}

void http_loop_stop(struct http_loop *l)
{
	lock_acquire(&l->lock);
	l->stopping = true;
	release_and_wake(l);
}

/* ---- what curl tells us about its sockets and its timer ---- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *loop, void *known)
{
	struct http_loop *l = loop;
	struct http_transfer *t = NULL;
	struct epoll_event event = {.data.fd = fd};

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t);
	if (what == CURL_POLL_REMOVE) {
		if (t != NULL && t->socket == fd)
			t->socket = -1;
		if (known != NULL) /* else it was closed, and the number may be another's by now */
			epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (t != NULL)
		t->socket = fd;
	/* curl may have closed the descriptor and got its number again without a word to us. */
	if (epoll_ctl(l->epoll_fd, known != NULL ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0 &&
	    epoll_ctl(l->epoll_fd, errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) <
		0) {
		if (t != NULL)
			t->verdict = HTTP_NO_RESOURCES; /* ended at the next look */
		l->look_ns = 0;
		return 0;
	}
	curl_multi_assign(l->multi, fd, l);
	return 0;
}

int http_loop_close_socket(void *loop, curl_socket_t fd)
{
	struct http_loop *l = loop;

	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	curl_multi_assign(l->multi, fd, NULL);
	return close(fd);
}

static int on_timer(CURLM *multi, long timeout_ms, void *loop)
{
	struct http_loop *l = loop;

	(void)multi;
	if (timeout_ms > 0)
		l->curl_timer_ns = clock_now_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	else
		l->curl_timer_ns = timeout_ms < 0 ? UINT64_MAX : 0; /* at once */
	return 0;
}

/* ---- the life of a request, on the loop's thread ---- */

static struct http_transfer *transfer_take(struct http_loop *l)
{
	struct http_transfer *t = TAILQ_FIRST(&l->spare);

	if (t == NULL)
		return http_transfer_create(l);
	TAILQ_REMOVE(&l->spare, t, link);
	l->spare_count--;
	return t;
}

/*
 * Keeps the handle for another request. Not after an error: curl may have left buffers in it whose
 * size cannot be set again.
 */
static void transfer_give_back(struct http_loop *l, struct http_transfer *t, enum http_error error)
{
	http_transfer_reset(t);
	if (error != HTTP_OK || l->spare_count >= (unsigned)l->settings->connections_a_loop) {
		http_transfer_destroy(t);
		return;
	}
	TAILQ_INSERT_HEAD(&l->spare, t, link);
	l->spare_count++;
}

/* The request is in no list any more. Tells its owner, who may free it or submit others. */
static void report_end(struct http_loop *l, struct http_request *r)
{
	__atomic_sub_fetch(&l->running, 1, __ATOMIC_RELAXED);
	r->answer.ended_ns = clock_now_ns();
	if (r->pacer != NULL)
		r->pacer->gone(r->pacer, r);
	r->events->done(r);
}

/* Ends a request that never got a transfer. */
static void end_unstarted(struct http_loop *l, struct http_request *r, enum http_error error,
			  const char *detail)
{
	r->answer.error = error;
	r->answer.content_length = -1;
	snprintf(r->answer.detail, sizeof(r->answer.detail), "%s", detail);
	report_end(l, r);
}

/* Ends an active request: with its transfer's verdict, else with what curl's code means. */
static void end_active(struct http_loop *l, struct http_request *r, CURLcode code)
{
	struct http_transfer *t = r->transfer;
	enum http_error error;

	TAILQ_REMOVE(&l->active, r, link);
	http_transfer_end(t, code);
	curl_multi_remove_handle(l->multi, t->easy);
	error = r->answer.error;
	transfer_give_back(l, t, error);
	r->transfer = NULL;
	if (error == HTTP_CONNECT_FAILED || error == HTTP_CONNECT_TIMEOUT ||
	    error == HTTP_FIRST_BYTE_TIMEOUT || error == HTTP_STALLED)
		l->distrust_dns_until_ns = clock_now_ns() + DISTRUST_DNS_NS;
	report_end(l, r);
}

static void end_with(struct http_loop *l, struct http_request *r, enum http_error verdict)
{
	struct http_transfer *t = r->transfer;

	t->verdict = verdict;
	if (!http_drain_is_worth(t)) {
		end_active(l, r, CURLE_OK);
		return;
	}
	TAILQ_REMOVE(&l->active, r, link);
	http_transfer_end(t, CURLE_OK);
	r->transfer = NULL;
	http_drain_begin(t);
	report_end(l, r);
}

static void start(struct http_loop *l, struct http_request *r)
{
	struct http_transfer *t = transfer_take(l);
	enum http_error error;

	if (t == NULL) {
		end_unstarted(l, r, HTTP_NO_RESOURCES, "out of memory");
		return;
	}
	error = http_transfer_begin(t, r);
	if (error == HTTP_OK && curl_multi_add_handle(l->multi, t->easy) != CURLM_OK)
		error = HTTP_NO_RESOURCES;
	r->transfer = t;
	TAILQ_INSERT_TAIL(&l->active, r, link);
	if (error != HTTP_OK) {
		end_with(l, r, error);
		return;
	}
	l->look_ns = MIN(l->look_ns, l->now_ns + LOOK_NS);
}

/* ---- one round ---- */

/* Moves the requests of from that were cancelled to ret_cancelled. */
static void pick_cancelled_locked(struct http_loop *l, struct http_request_list *from,
				  struct http_request_list *ret_cancelled)
{
	struct http_request *r, *next;

	lock_assert_held(&l->lock);
	for (r = TAILQ_FIRST(from); r != NULL; r = next) {
		next = TAILQ_NEXT(r, link);
		if (r->cancelled || l->stopping) {
			TAILQ_REMOVE(from, r, link);
			TAILQ_INSERT_TAIL(ret_cancelled, r, link);
		}
	}
}

/*
 * Starts and cancels what other threads asked for. A cancelled active request is put back into
 * `active` for a moment, so that there is one way to end it. False: it is time to stop.
 */
static bool serve_inbox(struct http_loop *l)
{
	struct http_request_list fresh = TAILQ_HEAD_INITIALIZER(fresh);
	struct http_request_list cancelled = TAILQ_HEAD_INITIALIZER(cancelled);
	struct http_request *r;
	bool stopping;

	lock_acquire(&l->lock);
	l->woken = false;
	stopping = l->stopping;
	if (l->cancel_pending || stopping) {
		pick_cancelled_locked(l, &l->inbox, &cancelled);
		pick_cancelled_locked(l, &l->active, &cancelled);
		l->cancel_pending = false;
	}
	TAILQ_CONCAT(&fresh, &l->inbox, link);
	lock_release(&l->lock);

	while ((r = TAILQ_FIRST(&cancelled)) != NULL) {
		TAILQ_REMOVE(&cancelled, r, link);
		if (r->transfer == NULL) {
			end_unstarted(l, r, HTTP_CANCELLED, "cancelled before it began");
			continue;
		}
		TAILQ_INSERT_TAIL(&l->active, r, link);
		end_with(l, r, HTTP_CANCELLED);
	}
	while ((r = TAILQ_FIRST(&fresh)) != NULL) {
		TAILQ_REMOVE(&fresh, r, link);
		start(l, r);
	}
	return !stopping;
}

/* Resumes the paused ones whose time has come, in the order in which they were started. */
static void resume_due(struct http_loop *l)
{
	struct http_request *r, *next;
	uint64_t earliest = UINT64_MAX;

	for (r = TAILQ_FIRST(&l->active); r != NULL; r = next) {
		struct http_transfer *t = r->transfer;
		CURLcode code;

		next = TAILQ_NEXT(r, link);
		if (t->resume_ns == 0)
			continue;
		if (t->resume_ns <= l->now_ns && http_transfer_resume(t, &code) < 0) {
			end_active(l, r, code);
			continue;
		}
		if (t->resume_ns != 0)
			earliest = MIN(earliest, t->resume_ns);
	}
	l->resume_ns = earliest;
}

/* Looks at the timers of all active requests. */
static void end_overdue(struct http_loop *l)
{
	struct http_request *r, *next;
	uint64_t look_ns = UINT64_MAX;

	for (r = TAILQ_FIRST(&l->active); r != NULL; r = next) {
		uint64_t again_ns = l->now_ns + LOOK_NS;
		enum http_error error = http_transfer_overdue(r->transfer, &again_ns);

		next = TAILQ_NEXT(r, link);
		if (error != HTTP_OK)
			end_with(l, r, error);
		else
			look_ns = MIN(look_ns, again_ns);
	}
	l->look_ns = MIN(look_ns, http_drain_overdue(l));
}

/* Ends what curl has finished. */
static void end_finished(struct http_loop *l)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(l->multi, &left)) != NULL) {
		CURLcode code = message->data.result; /* message dies with the handle's removal */
		struct http_transfer *t = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		if (t->request != NULL) {
			end_active(l, t->request, code);
			continue;
		}
		http_drain_end(t);
		transfer_give_back(l, t, code == CURLE_OK ? HTTP_OK : HTTP_CUT);
	}
}

static int wait_events(int epoll_fd, struct epoll_event *events, uint64_t wait_ns)
{
	struct timespec ts = {.tv_sec = (time_t)(wait_ns / NS_PER_S),
			      .tv_nsec = (long)(wait_ns % NS_PER_S)};
	int n = epoll_pwait2(epoll_fd, events, EVENTS_A_ROUND, wait_ns == UINT64_MAX ? NULL : &ts,
			     NULL);

	if (n < 0 && errno == ENOSYS) /* before Linux 5.11, and in some sandboxes */
		n = epoll_wait(epoll_fd, events, EVENTS_A_ROUND,
			       wait_ns == UINT64_MAX ? -1
						     : (int)MIN(wait_ns / NS_PER_MS + 1, 60000u));
	return n;
}

/* Sleeps until something is to be done, and lets curl do its part of it. */
static void wait_and_work(struct http_loop *l)
{
	struct epoll_event events[EVENTS_A_ROUND];
	uint64_t wake_ns = MIN(MIN(l->curl_timer_ns, l->look_ns), l->resume_ns);
	uint64_t now_ns = clock_now_ns();
	int running, n;

	if (wake_ns != UINT64_MAX)
		wake_ns = wake_ns > now_ns ? wake_ns - now_ns : 0;
	n = wait_events(l->epoll_fd, events, wake_ns);
	l->now_ns = clock_now_ns();
	for (int i = 0; i < n; i++) {
		int action = 0;

		if (events[i].data.fd == l->wake_fd)
			continue;
		if (events[i].events & EPOLLIN)
			action |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			action |= CURL_CSELECT_OUT;
		if (events[i].events & (EPOLLERR | EPOLLHUP))
			action |= CURL_CSELECT_ERR;
		curl_multi_socket_action(l->multi, events[i].data.fd, action, &running);
	}
}

/* A request that was added is sent by curl's timer: not only after another look at the sockets. */
static void serve_curl_timer(struct http_loop *l)
{
	int running;

	if (l->curl_timer_ns > l->now_ns)
		return;
	l->curl_timer_ns = UINT64_MAX;
	curl_multi_socket_action(l->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

static void *run(void *loop)
{
	struct http_loop *l = loop;

	http_turn_shorten();
	l->now_ns = clock_now_ns();
	while (serve_inbox(l)) {
		if (l->resume_ns <= l->now_ns)
			resume_due(l);
		if (l->look_ns <= l->now_ns)
			end_overdue(l);
		serve_curl_timer(l);
		end_finished(l);
		wait_and_work(l);
	}
	return NULL;
}

/* ---- beginning and end ---- */

int http_loop_init(struct http_loop *l, const struct http_settings *settings)
{
	/* Each write to the eventfd is an edge, so nobody need read it. */
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};

	l->settings = settings;
	l->curl_timer_ns = l->look_ns = l->resume_ns = UINT64_MAX;
	TAILQ_INIT(&l->inbox);
	TAILQ_INIT(&l->active);
	TAILQ_INIT(&l->spare);
	TAILQ_INIT(&l->drains);
	lock_init(&l->lock, LOCK_LOOP);
	l->wake_fd = -1;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0)
		return -errno;
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake_fd < 0)
		return -errno;
	event.data.fd = l->wake_fd;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->wake_fd, &event) < 0)
		return -errno;
	l->multi = curl_multi_init();
	if (l->multi == NULL)
		return -ENOMEM;
	curl_multi_setopt(l->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(l->multi, CURLMOPT_SOCKETDATA, l);
	curl_multi_setopt(l->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(l->multi, CURLMOPT_TIMERDATA, l);
	curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, settings->connections_a_loop);
	curl_multi_setopt(l->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	return 0;
}

int http_loop_start(struct http_loop *l, unsigned number)
{
	sigset_t all, before;
	char name[16];
	int err;

	sigfillset(&all); /* signals are for the daemon's own thread */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&l->thread, NULL, run, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err != 0)
		return -err;
	snprintf(name, sizeof(name), "http-%u", number);
	pthread_setname_np(l->thread, name);
	return 0;
}

void http_loop_join(struct http_loop *l)
{
	pthread_join(l->thread, NULL);
}

unsigned http_loop_drain(struct http_loop *l)
{
	unsigned ended = __atomic_load_n(&l->running, __ATOMIC_RELAXED);

	serve_inbox(l);
	return ended;
}

void http_loop_finish(struct http_loop *l)
{
	struct http_transfer *t;

	while ((t = TAILQ_FIRST(&l->drains)) != NULL) {
		http_drain_end(t);
		http_transfer_destroy(t);
	}
	while ((t = TAILQ_FIRST(&l->spare)) != NULL) {
		TAILQ_REMOVE(&l->spare, t, link);
		http_transfer_destroy(t);
	}
	if (l->multi != NULL)
		curl_multi_cleanup(l->multi);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	lock_finish(&l->lock);
}
