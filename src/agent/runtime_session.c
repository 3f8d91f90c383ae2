/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What one loader asked for: its maps, programs and links, and how they go away again.
 *
 * Everything here belongs to the control thread. A link whose detachment could not be waited for keeps its program and
 * that program's maps for good (`kept`): a thread of the target may still be running them.
 */
#include "agent/session.h"
#include "agent/stop.h"

#include "base/arena.h"
#include "base/mem.h"
#include "base/self_mem.h"
#include "base/sys.h"
#include "exec/exec.h"
#include "exec/fault.h"
#include "helpers/helpers.h"
#include "hook/shadow.h"
#include "maps/map.h"
#include "sync/participant.h"
#include "sync/reader.h"
#include "unwind/debugger.h"
#include "unwind/modules.h"
#include "unwind/perf_map.h"
#include "unwind/register.h"

/* Sessions now open: the first one sets up what they share. */
static u32 sessions_open;
static bool fault_ready;
/* Sessions with a printk ring, the latest first: that one hears what programs print. */
static struct session *printk_sessions;

void session_reply(struct session *session, int error, u64 value, const char *text)
{
	struct wire_reply answer = {.error = error, .value = value};

	for (u32 i = 0; text && text[i] && i < sizeof(answer.text) - 1; i++)
		answer.text[i] = text[i];
	wire_send(session->fd, WIRE_REPLY, &answer, sizeof(answer), NULL, 0);
}

bool session_handle(const struct session *session, u32 limit, u64 *ret_handle)
{
	const struct wire_handle *request = (const void *)session->message.payload;

	if (session->message.size != sizeof(*request) || request->handle >= limit)
		return false;
	*ret_handle = request->handle;
	return true;
}

static int take_fd(struct wire_message *message, u32 index)
{
	int fd = index < message->fd_count ? message->fds[index] : -EBADF;

	if (fd >= 0)
		message->fds[index] = -1;
	return fd;
}

struct session *session_open(int fd)
{
	struct session *session = arena_alloc(sizeof(*session));

	if (!session)
		return NULL;
	session->fd = fd;
	runtime_stopper_init(&session->stopper, fd);
	sessions_open++;
	return session;
}

int session_fd(const struct session *session)
{
	return session->fd;
}

static void serve_hello(struct session *session)
{
	const struct wire_hello *hello = (const void *)session->message.payload;
	struct wire_hello answer = {.version = WIRE_VERSION};
	bool same = session->message.size == sizeof(*hello) && hello->version == WIRE_VERSION;

	if (same && hello->stack)
		sys_munmap(ptr_from_u64(hello->stack), hello->stack_size);
	answer.error = same ? reader_init() : -EPROTO;
	if (!answer.error && !fault_ready) {
		answer.error = fault_init();
		fault_ready = !answer.error;
	}
	answer.wants_self = self_wants_file();
	runtime_tids(answer.agent_tids);
	wire_send(session->fd, WIRE_HELLO, &answer, sizeof(answer), NULL, 0);
}

static void serve_mem(struct session *session)
{
	int fd = take_fd(&session->message, 0);

	if (fd >= 0)
		self_mem_set_fd(fd);
	session_reply(session, MIN(fd, 0), 0, NULL);
}

static void serve_registry(struct session *session)
{
	int fd = take_fd(&session->message, 0), index = fd;

	if (fd >= 0 && participant_self() != PARTICIPANT_NONE)
		sys_close(fd); /* an earlier session has joined */
	else if (fd >= 0)
		index = participant_join(fd);
	session_reply(session, MIN(index, 0), 0,
		      index < 0 ? "cannot join the registry of shared objects" : NULL);
}

static int open_map(struct session *session, struct map **ret_map)
{
	const struct wire_map *request = (const void *)session->message.payload;
	int fd = take_fd(&session->message, 0), event_fd = -1, error;

	if (fd < 0 || session->message.size != sizeof(*request))
		return -EPROTO;
	if (request->has_event_fd)
		event_fd = take_fd(&session->message, 1);
	error = map_open(fd, event_fd, ret_map);
	if (error) {
		sys_close(fd);
		if (event_fd >= 0)
			sys_close(event_fd);
	}
	return error;
}

static void serve_printk(struct session *session)
{
	struct map *ring;
	int error = session->printk ? -EBUSY : open_map(session, &ring);

	if (!error) {
		session->printk = ring;
		session->next_printk = printk_sessions;
		printk_sessions = session;
		helpers_set_printk_ring(ring);
	}
	session_reply(session, error, 0, NULL);
}

/* Another loader, if there is one, hears them from now on. */
static void stop_printk(const struct session *session)
{
	struct session **at = &printk_sessions;

	while (*at && *at != session)
		at = &(*at)->next_printk;
	if (*at)
		*at = session->next_printk;
	helpers_set_printk_ring(printk_sessions ? printk_sessions->printk : NULL);
}

static void serve_map(struct session *session)
{
	u32 i = 0;
	int error;

	while (i < SESSION_MAX_MAPS && session->maps[i].map)
		i++;
	error = i < SESSION_MAX_MAPS ? open_map(session, &session->maps[i].map) : -ENOSPC;
	session_reply(session, error, i, error ? "cannot map a map of the program" : NULL);
}

static void serve_sites(struct session *session)
{
	const struct wire_site *sites = (const void *)session->message.payload;
	u32 count = session->message.size / sizeof(*sites), room = session->site_room;
	struct hook_attach *grown;

	while (room < session->site_count + count)
		room = room ? room * 2 : 64;
	if (room != session->site_room) {
		grown = arena_resize(session->sites, room * sizeof(*grown));
		if (!grown) {
			session_reply(session, -ENOMEM, 0, NULL);
			return;
		}
		session->sites = grown;
		session->site_room = room;
	}
	for (u32 i = 0; i < count; i++) {
		struct hook_attach *to = &session->sites[session->site_count++];

		mem_copy(&to->site, &sites[i].site, sizeof(to->site));
		to->cookie = sites[i].cookie;
	}
	session_reply(session, 0, 0, NULL);
}

static int attach(struct session *session, u32 *ret_link, u32 *ret_failed)
{
	const struct wire_attach *request = (const void *)session->message.payload;
	struct session_prog *program;
	struct session_link *link;
	u32 i = 0;
	int error;

	if (session->message.size != sizeof(*request) || request->count != session->site_count ||
	    request->program >= READER_SLOTS || !session->programs[request->program].image)
		return -EPROTO;
	while (i < SESSION_MAX_LINKS && session->links[i].link)
		i++;
	if (i == SESSION_MAX_LINKS)
		return -ENOSPC;
	program = &session->programs[request->program];
	link = &session->links[i];
	for (u32 s = 0; s < session->site_count; s++) {
		session->sites[s].side = (enum hook_side)request->side;
		session->sites[s].signature = request->signature;
		session->sites[s].program = (struct hook_program){
			.entry = (u64)(uintptr_t)program->code->entry,
			.slot = program->slot,
			.clobbers = program->code->clobbers,
			.ctx_words = program->image->ctx_words,
			.facts = program->image->facts,
		};
	}
	link->program = request->program;
	error = hook_attach_batch(session->sites, session->site_count, &session->stopper.stopper,
				  &link->link, ret_failed);
	*ret_link = i;
	return error;
}

static void serve_attach(struct session *session)
{
	struct wire_reply answer = {0};
	u32 link = 0, failed = 0;

	answer.error = attach(session, &link, &failed);
	answer.index = failed;
	answer.value = link;
	if (answer.error == -EBUSY && failed < session->site_count)
		answer.value = hook_owner(&session->sites[failed].site);
	arena_free(session->sites);
	session->sites = NULL;
	session->site_count = session->site_room = 0;
	wire_send(session->fd, WIRE_REPLY, &answer, sizeof(answer), NULL, 0);
}

static int detach(struct session *session, u32 handle)
{
	struct session_link *link = &session->links[handle];
	int error = hook_detach(link->link, &session->stopper.stopper);

	/* Without memory for the change nothing was changed: it stays attached, and is tried again at the session's end. */
	if (error == -ENOMEM || error == -ETIMEDOUT)
		program_keep(session, &session->programs[link->program]);
	if (error != -ENOMEM)
		link->link = NULL;
	return error;
}

static void serve_detach(struct session *session)
{
	u64 handle;
	int error = -EPROTO;

	if (session_handle(session, SESSION_MAX_LINKS, &handle) && session->links[handle].link)
		error = detach(session, (u32)handle);
	session_reply(session, error, 0, NULL);
}

static void serve_stats(struct session *session)
{
	struct wire_stats answer = {.error = -EPROTO};
	u64 handle;

	if (session_handle(session, READER_SLOTS, &handle) && session->programs[handle].image) {
		answer.error = 0;
		answer.hits = reader_hits(session->programs[handle].slot);
		answer.missed = reader_missed();
	}
	wire_send(session->fd, WIRE_STATS, &answer, sizeof(answer), NULL, 0);
}

/* A table is mapped once, whoever sent it first. */
static void serve_unwind(struct session *session)
{
	const struct wire_unwind *request = (const void *)session->message.payload;
	int fd = session->message.fd_count ? session->message.fds[0] : -1, error = -EPROTO;
	long size = fd < 0 ? -1 : sys_lseek(fd, 0, SEEK_END);
	struct unwind_module module;
	void *table;

	if (size > 0 && session->message.size == sizeof(*request)) {
		table = sys_mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
		error = sys_is_error(table) ? (int)(long)table : 0;
	}
	if (!error) {
		module = (struct unwind_module){request->start, request->end, request->bias, table,
						(size_t)size};
		error = unwind_modules_add(&module);
		if (error < 0)
			sys_munmap(table, (size_t)size);
	}
	session_reply(session, MIN(error, 0), 0, error < 0 ? "cannot use an unwind table" : NULL);
}

static struct unwind_hooked hooked_returns(void)
{
	struct shadow_layout layout;

	shadow_layout(&layout);
	return (struct unwind_hooked){layout.list, layout.top,	  layout.entries, layout.entry_size,
				      layout.slot, layout.target, layout.landing};
}

static void serve_self(struct session *session)
{
	const struct unwind_hooked hooked = hooked_returns();
	int fd = take_fd(&session->message, 0);

	if (fd >= 0 && self_wants_file())
		self_set_file(fd);
	else if (fd >= 0)
		sys_close(fd);
	debugger_init(&hooked);
	session_reply(session, MIN(fd, 0), 0, NULL);
}

static void serve_perf_map(struct session *session)
{
	int error = session->perf_map ? -EBUSY : perf_map_begin();

	session->perf_map = session->perf_map || !error;
	session_reply(session, error, 0, NULL);
}

static void serve_runtime(struct session *session)
{
	const struct wire_runtime *request = (const void *)session->message.payload;
	const struct unwind_hooked hooked = hooked_returns();

	if (session->message.size != sizeof(*request)) {
		session_reply(session, -EPROTO, 0, NULL);
		return;
	}
	unwind_register_init(&hooked);
	unwind_register_runtime(
		&(struct unwind_runtime){request->register_info, request->deregister_info});
	session_reply(session, 0, 0, NULL);
}

static void serve_refresh(struct session *session)
{
	session_reply(session, fault_refresh(), 0, NULL);
}

static void serve_unknown(struct session *session)
{
	session_reply(session, -EPROTO, 0, NULL);
}

int session_serve(struct session *session)
{
	static void (*const table[])(struct session *) = {
		[WIRE_HELLO] = serve_hello,	  [WIRE_MEM] = serve_mem,
		[WIRE_REGISTRY] = serve_registry, [WIRE_PRINTK] = serve_printk,
		[WIRE_SELF] = serve_self,	  [WIRE_PERF_MAP] = serve_perf_map,
		[WIRE_MAP] = serve_map,		  [WIRE_PROG] = program_serve,
		[WIRE_SITES] = serve_sites,	  [WIRE_ATTACH] = serve_attach,
		[WIRE_DETACH] = serve_detach,	  [WIRE_DROP_PROG] = program_serve_drop,
		[WIRE_STATS] = serve_stats,	  [WIRE_REFRESH] = serve_refresh,
		[WIRE_UNWIND] = serve_unwind,	  [WIRE_RUNTIME] = serve_runtime,
		[WIRE_SLOTS] = tail_serve_slots,
	};
	u32 kind;
	int error = wire_receive(session->fd, -1, 0, &session->message);

	if (error == -ETIMEDOUT)
		return 0;
	if (error)
		return -EPIPE;
	kind = session->message.kind;
	if (kind < ARRAY_SIZE(table) && table[kind])
		table[kind](session);
	else
		serve_unknown(session);
	wire_close_fds(&session->message);
	return 0;
}

void session_close(struct session *session)
{
	/* The loader is gone, or leaving: it is not asked to stop threads any more. */
	session->stopper.fd = -1;
	stop_hurry_no_more();
	/* Every site is restored before anybody is waited for long. */
	hook_set_timeout(SESSION_CLOSE_GRACE_MS);
	if (session->printk)
		stop_printk(session);
	for (u32 i = 0; i < SESSION_MAX_LINKS; i++) {
		if (session->links[i].link)
			detach(session, i);
	}
	program_drop_all(session);
	if (session->perf_map)
		perf_map_end();
	if (session->printk && !sync_grace(100))
		map_close(session->printk);
	for (u32 i = 0; i < SESSION_MAX_MAPS; i++) {
		if (session->maps[i].map && !session->maps[i].kept)
			map_close(session->maps[i].map);
	}
	sys_close(session->fd);
	arena_free(session->sites);
	arena_free(session);
	hook_set_timeout(SESSION_GRACE_MS);
	hook_reap();
	if (--sessions_open)
		return;
	unwind_modules_clear();
	if (!sync_grace(SESSION_GRACE_MS))
		unwind_modules_reap();
	/* The descriptor table ends with the control thread: a number of it must not outlive it. */
	self_mem_set_fd(-1);
	if (fault_ready)
		fault_done();
	fault_ready = false;
	if (participant_self() != PARTICIPANT_NONE)
		participant_leave();
}
