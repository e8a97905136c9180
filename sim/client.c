/* client.c: client processes: their making, closing and dying. */
#include "client.h"

#include <stdio.h>
#include <string.h>

#include "model.h"

static const char *const origins[SIM_MEMBERS] = {"http://10.0.0.1:2379", "http://10.0.0.2:2379",
                                                 "http://10.0.0.3:2379"};

static void trace(void *context, const char *object, const char *name, const char *from, const char *to,
                  const char *why) {
    const sim_client *client = context;
    sim_note(client->s, "client %u: %s %s: %s -> %s (%s)", client->host->number, object, name, from, to, why);
}

static void on_change(ds_observer *observer, ds_change_kind kind, const char *path, const ds_member *member,
                      bool missed) {
    sim_client *client = DS_CONTAINER_OF(observer, sim_client, observer);
    (void)path;
    (void)missed;
    if (kind == DS_CHANGE_ELECTED) {
        client->leader = member->token;
    } else if (kind == DS_CHANGE_VACANT) {
        client->leader = 0;
    }
    sim_mix(client->s, (uint64_t)client->leader);
}

static void on_end(ds_observer *observer, dsync_code code, const char *message) {
    sim_client *client = DS_CONTAINER_OF(observer, sim_client, observer);
    (void)code;
    (void)message;
    client->observing = false;
}

static ds_engine *make_engine(sim_client *client, const char *id) {
    sim *s = client->s;
    dsync_options options = {.size = sizeof options, .prefix = "dsync", .id = id, .max_value = 65536};
    options.allow_plaintext_credentials = 1;
    options.ttl_ms = client->ttl_ms;
    options.connect_timeout_ms = client->ttl_ms < 8000 ? client->ttl_ms / 8 : 1000; /* as a client has it by default */
    if (s->model->settings != NULL) {
        options.settings = s->model->settings(s, &options.setting_count);
    }
    if (s->plan.auth) {
        options.auth_user = "user";
        options.auth_password = "password";
    }
    /* Each begins with another one. */
    const char *const *places = s->model->origins != NULL ? s->model->origins : origins;
    const char *hosts[SIM_MEMBERS];
    for (size_t i = 0; i < SIM_MEMBERS; i++) {
        hosts[i] = places[(i + client->host->number) % SIM_MEMBERS];
    }
    ds_backend_config config = {.options = &options, .endpoints = hosts, .endpoint_count = SIM_MEMBERS};
    dsync_error error;
    ds_backend *backend = s->model->backend(&client->host->base, &config, &error);
    ds_engine_config setup = {.prefix = "dsync",
                              .id = id,
                              .info = "{\"id\":\"node\"}",
                              .unavailable_ns = 5 * DS_SECOND,
                              .trace = trace,
                              .context = client};
    return backend != NULL ? ds_engine_new(&client->host->base, backend, &setup) : NULL;
}

sim_client *sim_client_new(sim *s) {
    sim_client *client = sim_alloc(NULL, sizeof *client);
    memset(client, 0, sizeof *client);
    char id[16];
    client->s = s;
    client->host = sim_host_new(s);
    client->host->client = client;
    client->host->ppm = sim_hit(s, SIM_CLOCK_RATE) ? sim_between(s, -50000, 50000) : 0;
    const int64_t *ttls = s->model->times.ttls_ms;
    size_t choices = 0;
    while (choices < DS_COUNT(s->model->times.ttls_ms) && ttls[choices] > 0) {
        choices++;
    }
    client->ttl_ms = ttls[sim_random(s) % choices];
    (void)snprintf(id, sizeof id, "c%u", client->host->number);
    client->engine = make_engine(client, id);
    sim_note(s, "client %u begins (ttl %lld ms, clock %+lld ppm)", client->host->number, (long long)client->ttl_ms,
             (long long)client->host->ppm);
    client->actor_count = (size_t)sim_between(s, 1, SIM_ACTORS_MAX);
    for (unsigned i = 0; i < client->actor_count; i++) {
        sim_actor_init(&client->actors[i], client, i);
    }
    if (sim_random(s) % 3 == 0) {
        client->observer.on_change = on_change;
        client->observer.on_end = on_end;
        client->observing = ds_observer_start(client->engine, &client->observer, sim_path_of(SIM_ELECTION), false);
    }
    return client;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void closed(void *context, bool confirmed) {
    sim_client *client = context;
    client->closed = true;
    sim_note(client->s, "client %u is closed%s", client->host->number, confirmed ? "" : " (not confirmed)");
    sim_call_end(client, &client->close_call);
}

void sim_client_close(sim_client *client, int64_t within_ns) {
    client->closing = true;
    sim_note(client->s, "client %u closes", client->host->number);
    client->close_by_ns = sim_local(client->host) + within_ns;
    client->close_call = sim_call_begin(client, client->close_by_ns);
    ds_engine_close(client->engine, client->close_by_ns, closed, client);
    for (size_t i = 0; i < client->actor_count; i++) {
        sim_actor_observe(&client->actors[i]);
        ds_timer_stop(&client->host->base, &client->actors[i].next);
    }
}

/* Of one that was closed everything is given back; one that was killed leaves all as it is. */
void sim_client_free(sim_client *client) {
    if (client->closed) {
        ds_engine_free(client->engine);
    }
    (void)sim_alloc(client, 0);
}

static void kill_client(sim_client *client) {
    sim *s = client->s;
    sim_note(s, "client %u is killed", client->host->number);
    (void)sim_see(s, &(chk_event){.kind = CHK_KILL, .at_ns = s->now_ns, .client = client->host->number});
    sim_host_kill(client->host);
}

void sim_clients_upset(sim *s) {
    size_t count = s->host_count;
    for (size_t i = 0; i < count; i++) {
        sim_host *host = s->hosts[i];
        sim_client *client = host->client;
        if (host->dead || host->paused || client->closing) {
            continue;
        }
        if (sim_hit(s, SIM_CLOCK_JUMP)) {
            sim_host_jump(host, sim_between(s, DS_MS, 4 * DS_SECOND));
            sim_note(s, "client %u: the clock jumps", host->number);
            for (size_t k = 0; k < client->actor_count; k++) {
                sim_actor_moved(&client->actors[k]);
            }
        }
        if (sim_hit(s, SIM_CALENDAR)) {
            host->wall_ms -= sim_between(s, 1, INT64_C(7200000));
            sim_note(s, "client %u: the calendar is set back", host->number);
        }
        if (sim_hit(s, SIM_CUT_OFF)) {
            host->cut_until_ns = s->now_ns + sim_between(s, 100 * DS_MS, 9 * DS_SECOND);
            sim_note(s, "client %u is cut off for %.3f s", host->number,
                     (double)(host->cut_until_ns - s->now_ns) / 1e9);
        }
        if (sim_hit(s, SIM_PAUSE)) {
            sim_host_pause(host, sim_between(s, 10 * DS_MS, 9 * DS_SECOND));
        } else if (s->host_count < SIM_HOSTS_MAX && sim_hit(s, SIM_KILL)) {
            kill_client(client);
            (void)sim_client_new(s);
        } else if (s->host_count < SIM_HOSTS_MAX && sim_random(s) % 1500 == 0) {
            sim_client_close(client, sim_between(s, 0, 2 * DS_SECOND));
            (void)sim_client_new(s);
        }
    }
}
