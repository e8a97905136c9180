/* consul_error.c: Consul's errors, sorted by what may have happened.
 *
 * Consul answers most of them with status 500 and a sentence, so sentences are what is told apart (agent/structs,
 * agent/consul and its Raft library have them). What is not recognised may have been executed.
 */
#include "consul_error.h"

#include <string.h>

static ds_consul_verdict refused(dsync_code code, const char *advice) {
    return (ds_consul_verdict){.outcome = DS_REFUSED, .code = code, .advice = advice};
}

static ds_consul_verdict not_executed(const char *advice) {
    return (ds_consul_verdict){.outcome = DS_NOT_EXECUTED, .server_ailing = true, .advice = advice};
}

static ds_consul_verdict ambiguous(void) {
    return (ds_consul_verdict){.outcome = DS_AMBIGUOUS, .server_ailing = true};
}

static bool says(const char *text, const char *words) {
    return strstr(text, words) != NULL;
}

/* Said before anything was proposed to the other servers. */
static bool is_before_execution(const char *text) {
    static const char *const words[] = {"No cluster leader",
                                        "node is not the leader",
                                        "failed to get conn",
                                        "rate limit",
                                        "Missing node registration",
                                        "raft is already shutdown",
                                        "not ready to serve consistent reads",
                                        "is in critical state",
                                        NULL};
    for (size_t i = 0; words[i] != NULL; i++) {
        if (says(text, words[i])) {
            return true;
        }
    }
    return false;
}

static ds_consul_verdict judge_denied(const char *text) {
    ds_consul_verdict verdict = refused(
        DSYNC_DENIED, says(text, "ACL not found")
                          ? "the server does not know this token"
                          : "the token needs key:write on the prefix and session:write on the agent's node, and, for "
                            "scope = \"global\" without consul.datacenter, agent:read");
    verdict.token_refused = true;
    return verdict;
}

/* A link between datacenters may be down for a while; a name that was never right is somebody's mistake. */
static ds_consul_verdict judge_datacenter(bool known) {
    return known ? not_executed("the agent finds no way to that datacenter")
                 : refused(DSYNC_CONFIG, "check consul.datacenter, and the agent's link to it");
}

static ds_consul_verdict judge_500(const char *text, bool known) {
    if (says(text, "Permission denied") || says(text, "ACL not found")) {
        return judge_denied(text);
    }
    if (says(text, "invalid session")) {
        return (ds_consul_verdict){.outcome = DS_LOST};
    }
    if (says(text, "No path to datacenter")) {
        return judge_datacenter(known);
    }
    if (is_before_execution(text)) {
        return not_executed(NULL);
    }
    if (says(text, "Invalid Session TTL") || says(text, "Missing check ")) {
        return refused(DSYNC_CONFIG, "check ttl and consul.checks");
    }
    return ambiguous();
}

ds_consul_verdict ds_consul_judge(int http, const char *text, bool known) {
    if (http >= 300 && http < 400) {
        return refused(DSYNC_CONFIG, "redirects are not followed: give the agent's own URL");
    }
    switch (http) {
    case 401:
        return not_executed("something before the agent wants credentials");
    case 403:
        return judge_denied(text);
    case 408:
        return ambiguous();
    case 413:
        return refused(DSYNC_CONFIG, "the values together are more than the server takes in one transaction");
    case 429:
        return not_executed("the agent has too many connections or requests from here");
    case 400:
        return refused(DSYNC_CONFIG, "does the agent expect https, or is it no Consul agent?");
    default:
        break;
    }
    if (http >= 400 && http < 500) {
        return refused(DSYNC_CONFIG, "is this a Consul agent (1.7 or later)?");
    }
    return judge_500(text, known);
}
