/* zookeeper_parents.c: making the nodes above a node. Most often only the lowest level is missing, so it is tried
 * first, and those above it only as they turn out to be missing too. The chroot itself is the administrator's: where it
 * is missing, that is said instead.
 *
 * Containers, which the server removes once they are empty, so that a name that was used once leaves nothing behind.
 */
#include "zookeeper.h"

#include "../base/error.h"

#include <string.h>

#define TRIES 20 /* others remove what we make, at worst as often */

static void make_level(ds_zk_call *call);

static void refuse_chroot(ds_zk_call *call) {
    const char *chroot = call->zookeeper->chroot;
    ds_error_set(
        &call->error, DSYNC_CONFIG,
        "zookeeper: the chroot \"%s\" does not exist: create it (zkCli.sh create %s) or leave it out of the URL",
        chroot, chroot);
    ds_reply reply = {.outcome = DS_REFUSED, .code = DSYNC_CONFIG, .message = call->error.message};
    ds_zk_finish(call, &reply);
}

void ds_zk_check_chroot(ds_zk_call *call, const ds_zk_answer *answer) {
    if (answer->code == DS_ZK_NO_NODE) {
        refuse_chroot(call);
    } else {
        ds_zk_fail(call, answer);
    }
}

/* `at` is where the level's name ends: one level down, or up. False: there is none. */
static bool go_down(ds_zk_call *call) {
    const char *slash = strchr(call->text.data + call->at + 1, '/');
    if (slash != NULL) {
        call->at = (size_t)(slash - call->text.data);
    }
    return slash != NULL;
}

static bool go_up(ds_zk_call *call) {
    size_t at = call->at;
    while (at > 0 && call->text.data[at - 1] != '/') {
        at--;
    }
    if (at == 0 || at - 1 <= strlen(call->zookeeper->chroot)) {
        return false;
    }
    call->at = at - 1;
    return true;
}

static void on_made(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    bool plain = call->zookeeper->plain_parents;
    if (answer->code == DS_ZK_OK || answer->code == DS_ZK_NODE_EXISTS) {
        if (go_down(call)) {
            make_level(call);
        } else {
            call->then(call);
        }
    } else if (answer->code == DS_ZK_NO_NODE && call->tries++ < TRIES && go_up(call)) {
        make_level(call);
    } else if (answer->code == DS_ZK_UNKNOWN_REQUEST && !plain) {
        call->zookeeper->plain_parents = true;
        make_level(call);
    } else {
        ds_zk_check_chroot(call, answer); /* what is missing above the first level is the chroot */
    }
}

static void make_level(ds_zk_call *call) {
    char *level = ds_strndup(call->text.data, call->at);
    if (level == NULL) {
        ds_zk_finish_later(call, DS_REFUSED, DSYNC_RESOURCE, "out of memory");
        return;
    }
    ds_zk_request request = {.kind = DS_ZK_CREATE, .path = level, .data = "", .size = 0};
    request.flags = call->zookeeper->plain_parents ? 0 : DS_ZK_CONTAINER;
    (void)ds_zk_send(call, &request, on_made);
    ds_free(level);
}

void ds_zk_make_parents(ds_zk_call *call, const char *full, void (*then)(ds_zk_call *call)) {
    ds_buf_clear(&call->text);
    ds_buf_add_text(&call->text, full);
    if (ds_zk_no_memory(call)) {
        return;
    }
    const char *last = strrchr(call->text.data, '/');
    call->at = (size_t)(last - call->text.data);
    call->then = then;
    if (call->at <= strlen(call->zookeeper->chroot)) {
        ds_zk_answer missing = {.code = DS_ZK_NO_NODE};
        ds_zk_check_chroot(call, &missing); /* nothing between the chroot and the node */
        return;
    }
    make_level(call);
}
