/* process.h: what the command `dsync` needs of the system and Lua does not offer: signals to read, a child in a process
 * group of its own that cannot outlive its guardian, the terminal, a look at what listens on a port.
 *
 * A Lua module of its own, dsync.process: it changes the process's signal mask and forks, which nothing that is loaded
 * into somebody else's program may do. It knows nothing of locks and uses nothing of the library.
 */
#ifndef DSYNC_PROCESS_H
#define DSYNC_PROCESS_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- signals.c --------------------------------------------------------------------------------------------------- */

/* The number of the signal with this name ("TERM"), 0 when there is none; and the reverse, NULL when it has none
 * here. */
int process_signal_number(const char *name);
const char *process_signal_name(int number);
/* Puts signals back as they were before take(): for a child that is about to run another program. Async-signal-safe. */
void process_signals_restore(void);

int process_take(lua_State *L);        /* process.take */
int process_next_signal(lua_State *L); /* process.next_signal */

/* ---- warden.c ---------------------------------------------------------------------------------------------------- */

/* Starts the warden: a small process that kills `target` (see process_warden_tell) when this process dies, or when the
 * time that it was told has passed. Harmless when there is one. Returns false, with errno set, when none could be
 * started. */
bool process_warden_start(void);
/* Whom it guards (as for kill(): a process, or a group as a negative number) and until when that may live, in
 * nanoseconds of CLOCK_BOOTTIME; 0: without a limit. */
void process_warden_tell(pid_t target, int64_t until_ns);
/* Ends the warden without any killing. Harmless when there is none. */
void process_warden_dismiss(void);

/* ---- child.c ----------------------------------------------------------------------------------------------------- */

int process_spawn(lua_State *L);   /* process.spawn */
int process_prepare(lua_State *L); /* process.prepare */
int process_limit(lua_State *L);   /* process.limit */
int process_reap(lua_State *L);    /* process.reap */
int process_dismiss(lua_State *L); /* process.dismiss */

/* ---- probe.c ----------------------------------------------------------------------------------------------------- */

int process_exchange(lua_State *L); /* process.exchange */

/* ---- module.c ---------------------------------------------------------------------------------------------------- */

/* (nil, "what: the error's text", "missing" or "refused") on the stack; returns 3. */
int process_fail(lua_State *L, const char *what, int number);
int64_t process_now_ns(void); /* CLOCK_BOOTTIME */

#endif
