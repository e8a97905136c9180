/* zookeeper_parents.c: making the nodes above a node, from the chroot down. The chroot itself is the administrator's: where
 * it is missing, that is said instead.
 *
 * Containers, which the server removes once they are empty, so that a name that was used once leaves nothing behind.
 */
#include "zookeeper.h"

#include "../base/error.h"

#include <string.h>

static void make_next(ds_zk_call *call);

static void on_chroot(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_NO_NODE) {
        const char *chroot = call->zookeeper->chroot;
        ds_error_set(
            &call->error, DSYNC_CONFIG,
            "zookeeper: the chroot \"%s\" does not exist: create it (zkCli.sh create %s) or leave it out of the URL",
            chroot, chroot);
        ds_reply reply = {.outcome = DS_REFUSED, .code = DSYNC_CONFIG, .message = call->error.message};
        ds_zk_finish(call, &reply);
    } else if (answer->code == DS_ZK_OK) {
        call->tries++;
        make_next(call); /* somebody was quicker to remove than we to make */
    } else {
        ds_zk_fail(call, answer);
    }
}

static void ask_for_chroot(ds_zk_call *call) {
    ds_zk_request request = {.kind = DS_ZK_EXISTS, .path = call->zookeeper->chroot};
    (void)ds_zk_send(call, &request, on_chroot);
}

static void on_made(ds_zk_call *call, const ds_zk_answer *answer) {
    static const unsigned TRIES = 10;
    if (ds_zk_over(call)) {
        return;
    }
    switch (answer->code) {
    case DS_ZK_UNKNOWN_REQUEST:
        if (call->zookeeper->plain_parents) {
            ds_zk_fail(call, answer);
            return;
        }
        call->zookeeper->plain_parents = true;
        break;
    case DS_ZK_NO_NODE: /* the level above went away again, or there is no chroot */
        if (call->tries >= TRIES) {
            ds_zk_fail(call, answer);
        } else if (call->at <= strlen(call->zookeeper->chroot) + 1 && call->zookeeper->chroot[0] != '\0') {
            ask_for_chroot(call);
        } else {
            call->tries++;
            call->at = strlen(call->zookeeper->chroot) + 1;
            make_next(call);
        }
        return;
    case DS_ZK_OK:
    case DS_ZK_NODE_EXISTS: {
        const char *slash = strchr(call->text.data + call->at, '/');
        call->at = slash != NULL ? (size_t)(slash - call->text.data) + 1 : call->text.size + 1;
        break;
    }
    default:
        ds_zk_fail(call, answer);
        return;
    }
    make_next(call);
}

/* The level that begins at `at`; the last segment is not ours to make. */
static void make_next(ds_zk_call *call) {
    const char *slash = call->at <= call->text.size ? strchr(call->text.data + call->at, '/') : NULL;
    if (slash == NULL) {
        call->then(call);
        return;
    }
    char *level = ds_strndup(call->text.data, (size_t)(slash - call->text.data));
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
    call->at = strlen(call->zookeeper->chroot) + 1;
    call->then = then;
    make_next(call);
}
