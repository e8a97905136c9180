/* oom.c: every n-th allocation fails: the library's and cJSON's, libcurl's, SQLite's, Lua's; each counted for
 * itself. */
#include "failing.h"

#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../csrc/base/base.h"
#include "lua_host.h"

typedef struct gate {
    _Atomic uint64_t asked, at;
    atomic_bool all_after, failed;
} gate;

static gate curl_gate, sqlite_gate, cjson_gate, lua_gate;

static bool may_have(gate *g) {
    uint64_t number = atomic_fetch_add(&g->asked, 1) + 1, at = atomic_load(&g->at);
    if (at == 0 || number < at || (number > at && !atomic_load(&g->all_after))) {
        return true;
    }
    atomic_store(&g->failed, true);
    return false;
}

static void gate_set(gate *g, uint64_t nth, bool all_after) {
    atomic_store(&g->at, 0);
    atomic_store(&g->asked, 0);
    atomic_store(&g->failed, false);
    atomic_store(&g->all_after, all_after);
    atomic_store(&g->at, nth);
}

static uint64_t gate_end(gate *g, bool *failed) {
    *failed = atomic_load(&g->failed);
    atomic_store(&g->at, 0);
    return atomic_load(&g->asked);
}

/* ---- libcurl: whoever initialises it first says whose memory it takes -------------------------------------------- */

static void *curl_get(size_t size) {
    return may_have(&curl_gate) ? malloc(size) : NULL;
}

static void *curl_grow(void *old, size_t size) {
    return may_have(&curl_gate) ? realloc(old, size) : NULL;
}

static char *curl_copy(const char *text) {
    return may_have(&curl_gate) ? strdup(text) : NULL;
}

static void *curl_zeroed(size_t count, size_t size) {
    return may_have(&curl_gate) ? calloc(count, size) : NULL;
}

/* ---- SQLite ------------------------------------------------------------------------------------------------------ */

static sqlite3_mem_methods sqlite_own;

static void *sqlite_get(int size) {
    return may_have(&sqlite_gate) ? sqlite_own.xMalloc(size) : NULL;
}

static void *sqlite_grow(void *old, int size) {
    return may_have(&sqlite_gate) ? sqlite_own.xRealloc(old, size) : NULL;
}

/* ---- cJSON: the library gives it ds_malloc; here it gets its own counter ----------------------------------------- */

void __real_cJSON_InitHooks(cJSON_Hooks *hooks);
void __wrap_cJSON_InitHooks(cJSON_Hooks *hooks);

static void *cjson_get(size_t size) {
    return may_have(&cjson_gate) ? malloc(size) : NULL;
}

void __wrap_cJSON_InitHooks(cJSON_Hooks *hooks) {
    cJSON_Hooks own = {cjson_get, free};
    (void)hooks;
    __real_cJSON_InitHooks(&own);
}

/* ---- Lua --------------------------------------------------------------------------------------------------------- */

static bool lua_paused;

void *lh_memory(void *context, void *old, size_t old_size, size_t size) {
    (void)context;
    (void)old_size;
    if (size == 0) {
        free(old);
        return NULL;
    }
    /* Lua relies on blocks that shrink. */
    bool shrinks = old != NULL && size <= old_size;
    return shrinks || lua_paused || may_have(&lua_gate) ? realloc(old, size) : NULL;
}

/* Making a Lua and loading a program into it is no scenario of ours: what fails there is Lua's. */
void lh_pause(bool pause) {
    lua_paused = pause;
}

/* ---- kinds ------------------------------------------------------------------------------------------------------- */

static bool everywhere(const fl_scenario *scenario, fl_place place) {
    (void)scenario;
    (void)place;
    return true;
}

static bool with_http(const fl_scenario *scenario, fl_place place) {
    return place >= FL_ETCD && scenario->run != NULL && strncmp(scenario->name, "bad", 3) != 0;
}

static bool with_json(const fl_scenario *scenario, fl_place place) {
    return with_http(scenario, place) && strstr(scenario->name, "nobody") == NULL &&
           strstr(scenario->name, "options") == NULL && strcmp(scenario->name, "open and close") != 0;
}

static bool with_sqlite(const fl_scenario *scenario, fl_place place) {
    return place == FL_LOCAL && strncmp(scenario->name, "bad", 3) != 0;
}

static bool with_lua(const fl_scenario *scenario, fl_place place) {
    (void)place;
    return scenario->lua;
}

static void arm_library(int variant, uint64_t nth, bool all_after) {
    (void)variant;
    ds_test_fail_allocation(nth, all_after);
}

static uint64_t disarm_library(bool *failed) {
    *failed = ds_test_allocation_failed();
    uint64_t asked = ds_test_allocations();
    ds_test_fail_allocation(0, false);
    return asked;
}

#define GATE(name)                                                                                                     \
    static void arm_##name(int variant, uint64_t nth, bool all_after) {                                                \
        (void)variant;                                                                                                 \
        gate_set(&name##_gate, nth, all_after);                                                                        \
    }                                                                                                                  \
    static uint64_t disarm_##name(bool *failed) {                                                                      \
        return gate_end(&name##_gate, failed);                                                                         \
    }
GATE(curl)
GATE(sqlite)
GATE(cjson)
GATE(lua)

static const fl_kind kinds[] = {{"the library's", everywhere, arm_library, disarm_library, 1, false},
                                {"cJSON's", with_json, arm_cjson, disarm_cjson, 1, false},
                                {"libcurl's", with_http, arm_curl, disarm_curl, 1, false},
                                {"SQLite's", with_sqlite, arm_sqlite, disarm_sqlite, 1, false},
                                {"Lua's", with_lua, arm_lua, disarm_lua, 1, false}};

static void prepare(void) {
    (void)curl_global_init_mem(CURL_GLOBAL_DEFAULT, curl_get, free, curl_grow, curl_copy, curl_zeroed);
    (void)sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_own);
    sqlite3_mem_methods methods = sqlite_own;
    methods.xMalloc = sqlite_get;
    methods.xRealloc = sqlite_grow;
    (void)sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

#define CODE(code) (1U << (code))

int main(int count, char **arguments) {
    static const fl_campaign campaign = {.title = "oom",
                                         .kinds = kinds,
                                         .kind_count = sizeof kinds / sizeof kinds[0],
                                         .codes = CODE(DSYNC_OK) | CODE(DSYNC_RESOURCE) | CODE(DSYNC_TIMEOUT) |
                                                  CODE(DSYNC_LOST) | CODE(DSYNC_NOT_HELD) | CODE(DSYNC_UNKNOWN) |
                                                  CODE(DSYNC_CANCELLED) | CODE(DSYNC_CLOSED) | CODE(DSYNC_CONTENDED) |
                                                  CODE(DSYNC_VACANT),
                                         .prepare = prepare};
    return fl_main(&campaign, count, arguments);
}
