/* consul_session.c: the model's sessions, and the time in which nobody may have what a session left behind. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consul_model.h"

/* ---- times as text ----------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    double ns;
} units[] = {{"ms", 1e6}, {"us", 1e3}, {"ns", 1}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};

bool cm_duration(const char *text, int64_t *ns) {
    double sum = 0;
    if (strcmp(text, "0") == 0) {
        *ns = 0;
        return true;
    }
    const char *at = text;
    while (*at != '\0') {
        char *end;
        double number = strtod(at, &end);
        size_t unit = 0;
        while (unit < DS_COUNT(units) && strncmp(end, units[unit].name, strlen(units[unit].name)) != 0) {
            unit++;
        }
        if (end == at || unit == DS_COUNT(units)) {
            return false;
        }
        sum += number * units[unit].ns;
        at = end + strlen(units[unit].name);
    }
    *ns = (int64_t)sum;
    return at != text;
}

/* ---- lock-delay -------------------------------------------------------------------------------------------------- */

bool cm_delayed(cm *e, const char *key) {
    for (size_t i = 0; i < e->delay_count; i++) {
        if (e->delays[i].until_ns > e->s->now_ns && strcmp(e->delays[i].key, key) == 0) {
            return true;
        }
    }
    return false;
}

static void forget_old_delays(cm *e) {
    size_t kept = 0;
    for (size_t i = 0; i < e->delay_count; i++) {
        if (e->delays[i].until_ns > e->s->now_ns) {
            e->delays[kept++] = e->delays[i];
        } else {
            (void)sim_alloc(e->delays[i].key, 0);
        }
    }
    e->delay_count = kept;
}

static void delay(cm *e, const char *key, int64_t ns) {
    if (ns <= 0) {
        return;
    }
    forget_old_delays(e);
    if (e->delay_count == e->delay_capacity) {
        e->delay_capacity = e->delay_capacity == 0 ? 16 : e->delay_capacity * 2;
        e->delays = sim_alloc(e->delays, e->delay_capacity * sizeof *e->delays);
    }
    char *copy = sim_alloc(NULL, strlen(key) + 1);
    memcpy(copy, key, strlen(key) + 1);
    e->delays[e->delay_count++] = (cm_delay){copy, e->s->now_ns + ns};
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

cm_session *cm_session_find(const cm *e, const char *id) {
    for (size_t i = 0; i < e->session_count; i++) {
        if (e->sessions[i].ended_ns == DS_NEVER && strcmp(e->sessions[i].id, id) == 0) {
            return &e->sessions[i];
        }
    }
    return NULL;
}

typedef struct expiry {
    cm *e;
    size_t index;
} expiry;

static void drop_expiry(void *argument) {
    (void)sim_alloc(argument, 0);
}

static void schedule(cm *e, cm_session *session);

static void maybe_expire(sim *s, void *argument) {
    expiry *x = argument;
    cm *e = x->e;
    cm_session *session = &e->sessions[x->index];
    drop_expiry(x);
    session->scheduled = false;
    if (session->ended_ns != DS_NEVER) {
        return;
    }
    if (session->expires_ns > s->now_ns) {
        schedule(e, session);
        return;
    }
    sim_note(s, "server: session %s expired", session->id);
    cm_session_end(e, session, CHK_EXPIRED, CM_NOBODY);
}

static void schedule(cm *e, cm_session *session) {
    if (session->scheduled) {
        return;
    }
    expiry *x = sim_alloc(NULL, sizeof *x);
    *x = (expiry){e, (size_t)(session - e->sessions)};
    session->scheduled = true;
    sim_at(e->s, session->expires_ns, NULL, maybe_expire, x, drop_expiry);
}

/* Consul promises not to end it before its ttl, and does so after twice that; it may take any time between. */
void cm_session_extend(cm *e, cm_session *session) {
    double seconds = (double)session->ttl_ns / 1e9 / (1.0 + (double)e->ppm / 1e6);
    double times = sim_random(e->s) % 4 == 0 ? 1.0 + (double)sim_between(e->s, 0, 100) / 100.0 : 2.0;
    session->expires_ns = e->s->now_ns + (int64_t)(seconds * times * 1e9);
    session->expires_ns += sim_random(e->s) % 2 ? sim_between(e->s, 0, 500 * DS_MS) : 0;
    schedule(e, session);
}

static char *copy_text(const char *text) {
    char *copy = sim_alloc(NULL, strlen(text) + 1);
    memcpy(copy, text, strlen(text) + 1);
    return copy;
}

static int64_t duration_of(const ds_json *request, const char *name, int64_t absent) {
    const char *text = ds_json_text(request, name);
    int64_t ns = absent;
    if (text != NULL && !cm_duration(text, &ns)) {
        ns = absent;
    }
    return ns;
}

cm_session *cm_session_make(cm *e, const ds_json *request, unsigned client) {
    const char *name = ds_json_text(request, "Name"), *ttl = ds_json_text(request, "TTL");
    const char *behavior = ds_json_text(request, "Behavior");
    if (e->session_count == e->session_capacity) {
        e->session_capacity = e->session_capacity == 0 ? 16 : e->session_capacity * 2;
        e->sessions = sim_alloc(e->sessions, e->session_capacity * sizeof *e->sessions);
    }
    cm_session *session = &e->sessions[e->session_count++];
    *session = (cm_session){.made_ns = e->s->now_ns, .ended_ns = DS_NEVER, .client = client};
    uint64_t high = sim_random(e->s), low = sim_random(e->s);
    (void)snprintf(session->id, sizeof session->id, "%08llx-%04llx-%04llx-%04llx-%012llx",
                   (unsigned long long)(high >> 32), (unsigned long long)(high >> 16 & 0xffff),
                   (unsigned long long)(high & 0xffff), (unsigned long long)(low >> 48),
                   (unsigned long long)(low & 0xffffffffffff));
    session->name = copy_text(name != NULL ? name : "");
    session->ttl = copy_text(ttl != NULL ? ttl : "");
    session->ttl_ns = duration_of(request, "TTL", 0);
    session->lock_delay_ns = duration_of(request, "LockDelay", 15 * DS_SECOND);
    session->release = behavior == NULL || strcmp(behavior, "delete") != 0;
    e->now.index++;
    session->create = e->now.index;
    if (session->ttl_ns > 0) {
        cm_session_extend(e, session);
    }
    return session;
}

/* What it holds goes, or is unlocked, at one index; nobody may lock it for a while. */
void cm_session_end(cm *e, cm_session *session, chk_cause cause, unsigned by) {
    cm_view fresh;
    bool any = false;
    session->ended_ns = e->s->now_ns;
    e->limit_ns = cause == CHK_TAKEN ? e->s->now_ns + session->ttl_ns : 0;
    cm_view_copy(&e->now, &fresh);
    for (size_t i = 0; i < e->now.count; i++) {
        const cm_row *row = e->now.rows[i];
        if (strcmp(row->session, session->id) != 0) {
            continue;
        }
        cm_row *left = session->release ? cm_make(e, row->key, row) : NULL;
        if (left != NULL) {
            left->session[0] = '\0';
            left->modify = cm_next_index(e);
        }
        delay(e, row->key, session->lock_delay_ns);
        cm_view_set(&fresh, row, left);
        any = true;
    }
    if (any) {
        cm_commit(e, &fresh, by, cause);
    }
    cm_view_free(&fresh);
    e->limit_ns = 0;
}

void cm_session_print(ds_buf *out, const cm_session *session) {
    ds_buf_add_format(out, "{\"ID\":\"%s\",\"Name\":", session->id);
    ds_json_add_text(out, session->name, strlen(session->name));
    ds_buf_add_format(out,
                      ",\"Node\":\"n1\",\"LockDelay\":%lld,\"Behavior\":\"%s\",\"TTL\":\"%s\",\"NodeChecks\":[],"
                      "\"ServiceChecks\":null,\"CreateIndex\":%lld,\"ModifyIndex\":%lld}",
                      (long long)session->lock_delay_ns, session->release ? "release" : "delete", session->ttl,
                      (long long)session->create, (long long)session->create);
}
