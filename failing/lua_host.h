/* lua_host.h: a Lua whose memory a campaign may withhold. */
#ifndef LUA_HOST_H
#define LUA_HOST_H

#include <stdbool.h>
#include <stddef.h>

/* The allocator of every Lua that the scenarios make; a campaign defines it. */
void *lh_memory(void *context, void *old, size_t old_size, size_t size);
/* Between lh_pause(true) and lh_pause(false) nothing fails and nothing is counted; a campaign defines it. */
void lh_pause(bool pause);

#endif
