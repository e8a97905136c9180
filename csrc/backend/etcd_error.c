/* etcd_error.c: etcd's errors, in gRPC and through its gateway, sorted by what may have happened.
 *
 * The codes are gRPC's; the texts are those of etcd's api/v3rpc/rpctypes/error.go. A text is used only where one code
 * stands for cases that must be told apart. What is not recognised may have been executed.
 */
#include "etcd_error.h"

#include <string.h>

enum {
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_UNAVAILABLE = 14,
    GRPC_UNAUTHENTICATED = 16,
};

static bool says(const ds_etcd_status *status, const char *words) {
    return strstr(status->message, words) != NULL;
}

bool ds_etcd_lease_missing(const ds_etcd_status *status) {
    return status->code == DS_GRPC_NOT_FOUND && says(status, "lease not found");
}

bool ds_etcd_lease_exists(const ds_etcd_status *status) {
    return status->code == DS_GRPC_FAILED_PRECONDITION && says(status, "lease already exists");
}

bool ds_etcd_auth_is_off(const ds_etcd_status *status) {
    return status->code == DS_GRPC_FAILED_PRECONDITION && says(status, "authentication is not enabled");
}

static ds_etcd_verdict refused(dsync_code code, const char *advice) {
    return (ds_etcd_verdict){.outcome = DS_REFUSED, .code = code, .advice = advice};
}

static ds_etcd_verdict not_executed(const char *advice) {
    return (ds_etcd_verdict){.outcome = DS_NOT_EXECUTED, .server_ailing = true, .advice = advice};
}

static ds_etcd_verdict ambiguous(void) {
    return (ds_etcd_verdict){.outcome = DS_AMBIGUOUS, .server_ailing = true};
}

/* The server could not tell who is asking, and did nothing. */
static bool token_refused(const ds_etcd_status *status) {
    return status->code == GRPC_UNAUTHENTICATED || says(status, "invalid auth token") ||
           says(status, "revision of auth store is old") || says(status, "user name is empty");
}

static ds_etcd_verdict judge_exhausted(const ds_etcd_status *status) {
    if (says(status, "too many requests")) {
        return not_executed(NULL);
    }
    if (says(status, "space exceeded")) {
        return refused(DSYNC_RESOURCE, "compact and defragment the server, then disarm its NOSPACE alarm");
    }
    return ambiguous();
}

static ds_etcd_verdict judge_unavailable(const ds_etcd_status *status) {
    static const char *const before_execution[] = {"no leader", "not capable", "not supported for learner", NULL};
    for (size_t i = 0; before_execution[i] != NULL; i++) {
        if (says(status, before_execution[i])) {
            return not_executed(NULL);
        }
    }
    return ambiguous();
}

static ds_etcd_verdict judge_code(const ds_etcd_status *status) {
    switch (status->code) {
    case GRPC_INVALID_ARGUMENT:
        if (says(status, "authentication failed")) {
            return refused(DSYNC_DENIED, "check the user's name and password");
        }
        return refused(says(status, "too large") ? DSYNC_CONFIG : DSYNC_PROTOCOL, NULL);
    case DS_GRPC_NOT_FOUND:
        if (ds_etcd_lease_missing(status)) {
            return (ds_etcd_verdict){.outcome = DS_LOST};
        }
        return refused(DSYNC_CONFIG, "is this an etcd v3 server (3.4 or later)?");
    case GRPC_PERMISSION_DENIED:
        return refused(DSYNC_DENIED, "grant the user's role readwrite on the prefix");
    case GRPC_RESOURCE_EXHAUSTED:
        return judge_exhausted(status);
    case DS_GRPC_FAILED_PRECONDITION:
        return says(status, "not leader") ? not_executed(NULL) : refused(DSYNC_CONFIG, NULL);
    case GRPC_OUT_OF_RANGE:
        return refused(DSYNC_CONFIG, NULL);
    case GRPC_UNIMPLEMENTED:
        return refused(DSYNC_UNSUPPORTED, "etcd 3.4 or later is needed");
    case GRPC_UNAVAILABLE:
        return judge_unavailable(status);
    default:
        return ambiguous();
    }
}

static ds_etcd_verdict judge_http(int http) {
    if (http >= 300 && http < 400) {
        return refused(DSYNC_CONFIG, "redirects are not followed: give the server's own URL");
    }
    if (http == 400) {
        return refused(DSYNC_CONFIG, "does the server expect https, or is it no etcd v3 server?");
    }
    if (http == 401) {
        return not_executed("something before the server wants credentials");
    }
    if (http == 403) {
        return refused(DSYNC_DENIED, "something before the server refuses access");
    }
    if (http == 429) {
        return not_executed(NULL);
    }
    if (http >= 400 && http < 500 && http != 408) {
        return refused(DSYNC_CONFIG,
                       "is this an etcd v3 server (3.4 or later), its gRPC or its JSON gateway within reach?");
    }
    return ambiguous();
}

ds_etcd_verdict ds_etcd_judge(int http, const ds_etcd_status *status) {
    if (status->code == DS_ETCD_UNREAD) {
        return (ds_etcd_verdict){.outcome = DS_AMBIGUOUS, .advice = "there was no memory to read why"};
    }
    if (token_refused(status)) {
        ds_etcd_verdict verdict = not_executed("the server does not accept who is asking");
        verdict.token_refused = true;
        verdict.server_ailing = false;
        return verdict;
    }
    return status->code > 0 ? judge_code(status) : judge_http(http);
}

ds_etcd_verdict ds_etcd_judge_cancel(const char *reason) {
    ds_etcd_status status = {-1, reason};
    if (token_refused(&status)) {
        return ds_etcd_judge(200, &status);
    }
    if (says(&status, "permission denied")) {
        ds_etcd_verdict verdict = refused(DSYNC_DENIED, "grant the user's role read on the prefix");
        verdict.token_refused = true; /* 3.4 says this of an expired token, too */
        return verdict;
    }
    return not_executed(NULL);
}
