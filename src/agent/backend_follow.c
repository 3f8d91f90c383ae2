// SPDX-License-Identifier: BSD-2-Clause
/*
 * Children that targets fork are attached to as their parents are.
 *
 * A child goes on in its parent's patched text, stubs and programs, whose maps it shares. So what its calls add to arrays is
 * counted from its first instruction on, also if it lives shorter than we look. What needs a participant (elements of hash
 * tables, records of rings) is missed until it has its own agent, some tens of milliseconds later. The thread that brings the
 * agent in stays stopped from the moment the parent's patches are taken out until its own are in.
 */
#include "agent/backend_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define YOUNG_NS  5000000ull   /* most that exec have done so by then */
#define RETRY_NS  100000000ull /* a child that is stopped, or whose thread is not fit */
#define HITS_NS	  200000000ull /* what a child's programs ran since is lost with it */
#define MAX_ROOTS 4096

static u64 next_hits_ns;

void agent_follow(void)
{
	pthread_mutex_lock(&backend.lock);
	backend.follow = true;
	backend.children.young_ns = YOUNG_NS;
	pthread_mutex_unlock(&backend.lock);
}

void follow_begin(pid_t pid)
{
	if (!backend.follow)
		return;
	children_note(&backend.children, pid);
	if (!backend.root)
		backend.root = pid;
}

static void *copy(const void *from, size_t size)
{
	void *to = from ? malloc(size) : NULL;

	if (to)
		memcpy(to, from, size);
	return to;
}

int follow_keep(struct agent_link *link, const struct link_request *request)
{
	struct link_request *kept = &link->request;

	if (!backend.follow)
		return 0;
	*kept = *request;
	kept->path = copy(request->path, strlen(request->path) + 1);
	kept->offsets = copy(request->offsets, request->count * sizeof(u64));
	kept->cookies = copy(request->cookies, request->count * sizeof(u64));
	kept->semaphores = copy(request->semaphores, request->count * sizeof(u64));
	kept->function =
		copy(request->function, request->function ? strlen(request->function) + 1 : 0);
	if (request->signature) {
		link->signature = *request->signature;
		kept->signature = &link->signature;
	}
	if (kept->path && !kept->offsets == !request->offsets &&
	    !kept->cookies == !request->cookies && !kept->semaphores == !request->semaphores &&
	    !kept->function == !request->function)
		return 0;
	follow_forget(link);
	return -ENOMEM;
}

void follow_forget(struct agent_link *link)
{
	free((void *)(uintptr_t)link->request.path);
	free((void *)(uintptr_t)link->request.offsets);
	free((void *)(uintptr_t)link->request.cookies);
	free((void *)(uintptr_t)link->request.semaphores);
	free((void *)(uintptr_t)link->request.function);
	memset(&link->request, 0, sizeof(link->request));
}

/* Every link into the target, or none. */
static int attach_links(struct target *target, const struct problem *problem)
{
	int error = 0;

	for (struct agent_link *link = backend.links; link && !error; link = link->next) {
		struct attachment *attachment = calloc(1, sizeof(*attachment));
		struct attachment **end = &link->attachments;

		if (!attachment)
			return problem_set(problem, -ENOMEM, "out of memory");
		error = backend_attach(target, &link->request, problem, attachment);
		if (error) {
			free(attachment);
			break;
		}
		target->users++;
		while (*end)
			end = &(*end)->next;
		*end = attachment;
	}
	return error;
}

/* Takes a process out of all links. */
static void drop_target(const struct target *target)
{
	for (struct agent_link *link = backend.links; link; link = link->next) {
		struct attachment **at = &link->attachments;

		while (*at) {
			struct attachment *attachment = *at;

			if (attachment->target != target) {
				at = &attachment->next;
				continue;
			}
			*at = attachment->next;
			backend_drop(attachment);
		}
	}
}

static int follow_held(pid_t pid, const struct problem *problem)
{
	struct target *target;
	int error = target_open_kept(pid, problem, &target);

	if (error)
		return error;
	error = backend_add_target(target, problem);
	if (error) {
		target_close(target);
		return error;
	}
	target->users = 1;
	target->followed = true;
	error = attach_links(target, problem);
	target_release(target);
	if (error)
		drop_target(target);
	backend_put_target(target);
	return error;
}

static int follow(pid_t pid, const struct problem *problem)
{
	sigset_t old;
	int error;

	inject_defer_suspension(&old);
	error = follow_held(pid, problem);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return error;
}

/* Those that ended or became other programs. */
static void drop_gone(void)
{
	struct target *target = backend.targets;

	while (target) {
		struct target *next = target->next;

		if (target->followed && target_is_gone(target)) {
			/* It may be freed with its first attachment. */
			target->users++;
			drop_target(target);
			backend_put_target(target);
		}
		target = next;
	}
}

static void scan(void)
{
	pid_t roots[MAX_ROOTS];
	u32 count = 0;

	for (struct target *target = backend.targets; target && count < MAX_ROOTS;
	     target = target->next) {
		if (!target->exited)
			roots[count++] = target->pid;
	}
	/* When all links are closed. */
	if (!count)
		roots[count++] = backend.root;
	children_scan(&backend.children, roots, count);
}

static bool is_passing(int error)
{
	return error == -EBUSY || error == -ETIMEDOUT || error == -EAGAIN;
}

static void follow_ready(struct agent_followed *followed)
{
	const struct problem problem = {followed->problem, sizeof(followed->problem)};

	for (u32 i = 0; i < backend.children.count; i++) {
		struct child *child = &backend.children.rows[i];
		int error;

		if (child->state != CHILD_READY)
			continue;
		error = follow(child->pid, &problem);
		followed->count += !error;
		if (is_passing(error)) {
			child->state = CHILD_YOUNG;
			child->again_ns = stop_now() + RETRY_NS;
			continue;
		}
		child->state = CHILD_SETTLED;
		/* That it ended, or is another program by now, is no failure. */
		if (!error || !inject_has_agent(child->pid))
			followed->problem[0] = 0;
		else
			followed->failed++;
	}
}

static void ask_hits(void)
{
	if (stop_now() < next_hits_ns)
		return;
	next_hits_ns = stop_now() + HITS_NS;
	for (struct target *target = backend.targets; target; target = target->next) {
		if (target->followed && !target_is_gone(target))
			backend_ask_hits(target);
	}
}

void agent_follow_children(struct agent_followed *ret_followed)
{
	*ret_followed = (struct agent_followed){0};
	pthread_mutex_lock(&backend.lock);
	ask_hits();
	drop_gone();
	scan();
	follow_ready(ret_followed);
	pthread_mutex_unlock(&backend.lock);
}

void agent_follow_end(void)
{
	const struct timespec nap = {0, YOUNG_NS};
	struct agent_followed followed;

	pthread_mutex_lock(&backend.lock);
	scan();
	for (u32 i = 0; i < backend.children.count; i++)
		backend.children.rows[i].again_ns = 0;
	pthread_mutex_unlock(&backend.lock);
	nanosleep(&nap, NULL);
	agent_follow_children(&followed);
}
