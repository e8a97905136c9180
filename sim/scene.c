/* scene.c: one run: some seconds in which anything may go wrong, then calm, in which what was left must go away, a
 * drill in which every lock must be had again, and the end, after which nothing may be left.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "model.h"

#define TICK_NS (250 * DS_MS)
#define DRILL_SLACK_NS (2 * DS_SECOND)

static const char *const paths[SIM_LOCKS] = {"dsync/lock/L0", "dsync/lock/L1", "dsync/leader/default/E2"};

const char *sim_path_of(unsigned lock) {
    return paths[lock];
}

int sim_lock_of_key(const char *key, size_t size) {
    for (int i = 0; i < SIM_LOCKS; i++) {
        size_t length = strlen(paths[i]);
        if (size > length && memcmp(key, paths[i], length) == 0 && key[length] == '/') {
            return i;
        }
    }
    return -1;
}

int sim_lock_of_data(const char *key, size_t size, const char *value, int64_t *token) {
    if (size != strlen("dsync/data/K0") || memcmp(key, "dsync/data/K", size - 1) != 0) {
        return -1;
    }
    *token = strtoll(value, NULL, 10);
    return key[size - 1] - '0';
}

/* ---- after every step -------------------------------------------------------------------------------------------- */

static void step(sim *s, sim_host *host) {
    (void)s;
    if (host == NULL || host->dead || host->client->closed) {
        return;
    }
    for (size_t i = 0; i < host->client->actor_count; i++) {
        sim_actor_observe(&host->client->actors[i]);
    }
}

static void tick(sim *s, void *argument) {
    (void)argument;
    (void)sim_see(s, &(chk_event){.kind = CHK_TICK, .at_ns = s->now_ns});
    sim_at(s, s->now_ns + TICK_NS, NULL, tick, NULL, NULL);
}

typedef void act_fn(sim_client *client);

static void each_client(sim *s, act_fn *act) {
    for (size_t i = 0; i < s->host_count; i++) {
        if (!s->hosts[i]->dead && !s->hosts[i]->client->closing) {
            act(s->hosts[i]->client);
        }
    }
}

static void rest(sim_client *client) {
    for (size_t i = 0; i < client->actor_count; i++) {
        sim_actor_rest(&client->actors[i]);
    }
}

static void drill(sim_client *client) {
    for (size_t i = 0; i < client->actor_count; i++) {
        sim_actor_drill(&client->actors[i]);
    }
}

static void close_it(sim_client *client) {
    sim_client_close(client, 2 * DS_SECOND);
}

static bool wait_for_resumption(sim *s) {
    for (size_t i = 0; i < s->host_count; i++) {
        while (s->hosts[i]->paused) {
            if (!sim_run(s, s->now_ns + DS_SECOND, step)) {
                return false;
            }
        }
    }
    return true;
}

static bool fail(sim *s, chk_rule rule, const char *why, unsigned client, int64_t number) {
    if (s->check.broken == 0) {
        s->check.broken = rule;
        (void)snprintf(s->check.why, sizeof s->check.why, "client %u %s (%lld)", client, why, (long long)number);
    }
    return false;
}

/* Who had nobody before it for that long must have been served, and observers must know the truth. */
static bool check_drill(sim *s) {
    for (size_t i = 0; i < s->host_count; i++) {
        const sim_client *client = s->hosts[i]->client;
        if (s->hosts[i]->dead || client->closing) {
            continue;
        }
        for (size_t k = 0; k < client->actor_count; k++) {
            const sim_actor *actor = &client->actors[k];
            if (actor->code != DSYNC_OK && !chk_head_revived(&s->check, actor->lock)) {
                return fail(s, CHK_UNSERVED, "could not have a free lock", s->hosts[i]->number, actor->lock);
            }
        }
        if (client->observing && client->leader != chk_head(&s->check, SIM_ELECTION)) {
            return fail(s, CHK_BLIND, "has an observer that believes in another leader", s->hosts[i]->number,
                        client->leader);
        }
    }
    return true;
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static bool play_on(sim *s) {
    sim_upset_sometimes(s);
    tick(s, NULL);
    if (!sim_run(s, s->now_ns + sim_between(s, 3 * DS_SECOND, 14 * DS_SECOND), step) || !wait_for_resumption(s)) {
        return false;
    }
    sim_note(s, "== calm");
    s->calm = true;
    s->model->heal(s->servers);
    each_client(s, rest);
    (void)sim_see(s, &(chk_event){.kind = CHK_CALM, .at_ns = s->now_ns});
    if (!sim_run(s, s->now_ns + s->check.orphan_ns + DS_SECOND, step)) {
        return false;
    }
    sim_note(s, "== drill");
    each_client(s, drill);
    if (!sim_run(s, s->now_ns + s->model->times.drill_ns + s->model->times.blind_ns + DRILL_SLACK_NS, step) ||
        !check_drill(s)) {
        return false;
    }
    sim_note(s, "== the end");
    each_client(s, close_it);
    if (!sim_run(s, s->now_ns + 3 * DS_SECOND, step)) {
        return false;
    }
    return sim_see(s, &(chk_event){.kind = CHK_END, .at_ns = s->now_ns});
}

bool sim_play(sim *s) {
    int64_t count = sim_between(s, 2, 4);
    for (int64_t i = 0; i < count; i++) {
        (void)sim_client_new(s);
    }
    bool fine = play_on(s);
    for (size_t i = 0; i < s->host_count; i++) {
        s->killed = s->killed || s->hosts[i]->dead;
        fine = fine && (s->hosts[i]->dead || s->hosts[i]->client->closed);
        sim_client_free(s->hosts[i]->client);
    }
    return fine;
}
