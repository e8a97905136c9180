/* consul_rig.c: starting a Consul agent, and asking it without the backend's code. */
#include "consul_rig.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"

#define START_TRIES 300 /* of 50 ms */

static void sleep_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {
    }
}

/* ---- server ------------------------------------------------------------------------------------------------------ */

/* Distinct ones: all are bound before the first is closed. */
static void free_ports(int *ports, size_t count) {
    int fds[8];
    for (size_t i = 0; i < count; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof(address);
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ports[i] = -1;
        if (fds[i] >= 0 && bind(fds[i], (struct sockaddr *)&address, size) == 0 &&
            getsockname(fds[i], (struct sockaddr *)&address, &size) == 0) {
            ports[i] = ntohs(address.sin_port);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

static void run(const consul_server *server, const int *ports) {
    char text[4][16], log[96];
    const char *program = getenv("DSYNC_CONSUL");
    for (size_t i = 0; i < 4; i++) {
        snprintf(text[i], sizeof(text[i]), "%d", ports[i]);
    }
    snprintf(log, sizeof(log), "%s/log", server->folder);
    const char *const arguments[] = {program != NULL ? program : "consul",
                                     "agent",
                                     "-dev",
                                     "-bind",
                                     "127.0.0.1",
                                     "-client",
                                     "127.0.0.1",
                                     "-dns-port",
                                     "-1",
                                     "-grpc-port",
                                     "-1",
                                     "-http-port",
                                     text[0],
                                     "-server-port",
                                     text[1],
                                     "-serf-lan-port",
                                     text[2],
                                     "-serf-wan-port",
                                     text[3],
                                     NULL};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    setenv("GOMAXPROCS", "2", 1);
    execvp(arguments[0], (char *const *)(uintptr_t)arguments);
    _exit(127);
}

/* It can make sessions: it has a leader, and is a member itself. */
static bool ready(const consul_server *server) {
    char id[72];
    if (!consul_session(server, "{\"Name\":\"ready?\",\"TTL\":\"10s\"}", id, sizeof(id))) {
        return false;
    }
    consul_destroy(server, id);
    return true;
}

bool consul_start(consul_server *server) {
    int ports[4];
    memset(server, 0, sizeof(*server));
    snprintf(server->folder, sizeof(server->folder), "/tmp/dsync-contract-XXXXXX");
    if (mkdtemp(server->folder) == NULL) {
        return false;
    }
    free_ports(ports, 4);
    server->port = ports[0];
    snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%d", server->port);
    server->pid = fork();
    if (server->pid == 0) {
        run(server, ports);
    }
    for (int i = 0; server->pid > 0 && i < START_TRIES; i++) {
        if (ready(server)) {
            return true;
        }
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
            server->pid = 0;
        }
        sleep_ms(50);
    }
    printf("Consul did not start; see %s/log\n", server->folder);
    return false;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *walk) {
    (void)st;
    (void)flag;
    (void)walk;
    return remove(path);
}

void consul_stop(consul_server *server) {
    if (server->pid > 0) {
        kill(server->pid, SIGKILL);
        waitpid(server->pid, NULL, 0);
        server->pid = 0;
    }
    nftw(server->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static size_t collect(char *bytes, size_t one, size_t count, void *argument) {
    ds_buf_add(argument, bytes, one * count);
    return one * count;
}

/* An agent in development mode indents its JSON. */
static void compact(char *text) {
    char *to = text;
    bool quoted = false;
    for (const char *at = text; *at != '\0'; at++) {
        quoted = quoted != (*at == '"' && (at == text || at[-1] != '\\'));
        if (quoted || (*at != ' ' && *at != '\n')) {
            *to++ = *at;
        }
    }
    *to = '\0';
}

char *consul_ask(const consul_server *server, const char *method, const char *path, const char *body, long *status) {
    char url[600];
    long code = 0;
    ds_buf reply = DS_BUF_EMPTY;
    CURL *easy = curl_easy_init();
    snprintf(url, sizeof(url), "%s%s", server->url, path);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    if (body != NULL) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    }
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &reply);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 5000L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    CURLcode result = curl_easy_perform(easy);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_cleanup(easy);
    char *copy = result == CURLE_OK ? strdup(reply.data != NULL ? reply.data : "") : NULL;
    ds_buf_free(&reply);
    if (copy != NULL) {
        compact(copy);
    }
    if (status != NULL) {
        *status = code;
    }
    return copy;
}

static bool done(char *answer, long status) {
    bool well = answer != NULL && status == 200 && strstr(answer, "false") == NULL;
    free(answer);
    return well;
}

char *consul_value(const consul_server *server, const char *key, char *session) {
    char path[500];
    long status;
    snprintf(path, sizeof(path), "/v1/kv/%s?consistent", key);
    char *answer = consul_ask(server, "GET", path, NULL, &status);
    ds_json_limits limits = {32, 10000};
    bool no_memory;
    ds_json *root = status == 200 ? ds_json_parse(answer, strlen(answer), &limits, &no_memory, NULL) : NULL;
    const ds_json *pair = ds_json_first(root);
    char *value = NULL;
    if (pair != NULL) {
        const char *text = ds_json_text(pair, "Value"), *owner = ds_json_text(pair, "Session");
        ds_buf decoded = DS_BUF_EMPTY;
        bool read = text != NULL && ds_base64_decode(text, strlen(text), &decoded) && decoded.data != NULL;
        value = strdup(read ? decoded.data : "");
        ds_buf_free(&decoded);
        if (session != NULL) {
            snprintf(session, 72, "%s", owner != NULL ? owner : "");
        }
    }
    ds_json_free(root);
    free(answer);
    return value;
}

bool consul_has(const consul_server *server, const char *key) {
    char *value = consul_value(server, key, NULL);
    free(value);
    return value != NULL;
}

int consul_count(const consul_server *server, const char *prefix) {
    char path[500];
    int count = 0;
    snprintf(path, sizeof(path), "/v1/kv/%s?keys&consistent", prefix);
    char *answer = consul_ask(server, "GET", path, NULL, NULL);
    for (const char *at = answer; at != NULL && (at = strchr(at, '"')) != NULL; at++) {
        count++;
    }
    free(answer);
    return count / 2;
}

bool consul_put(const consul_server *server, const char *key, const char *query, const char *value) {
    char path[500];
    long status;
    snprintf(path, sizeof(path), "/v1/kv/%s%s", key, query);
    char *answer = consul_ask(server, "PUT", path, value, &status);
    return done(answer, status);
}

bool consul_delete(const consul_server *server, const char *key) {
    char path[500];
    long status;
    snprintf(path, sizeof(path), "/v1/kv/%s", key);
    char *answer = consul_ask(server, "DELETE", path, NULL, &status);
    return done(answer, status);
}

bool consul_session(const consul_server *server, const char *body, char *id, size_t size) {
    long status;
    char *answer = consul_ask(server, "PUT", "/v1/session/create", body, &status);
    const char *at = status == 200 && answer != NULL ? strstr(answer, "\"ID\":\"") : NULL;
    snprintf(id, size, "%.36s", at != NULL ? at + 6 : "");
    free(answer);
    return at != NULL;
}

void consul_destroy(const consul_server *server, const char *id) {
    char path[200];
    snprintf(path, sizeof(path), "/v1/session/destroy/%s", id);
    free(consul_ask(server, "PUT", path, NULL, NULL));
}

/* ---- backend on a loop ------------------------------------------------------------------------------------------- */

bool consul_rig_open_at(rig *r, const char *const *endpoints, size_t count, const dsync_options *given) {
    dsync_error error = {DSYNC_OK, ""};
    dsync_options options = given != NULL ? *given : (dsync_options){.prefix = "dsync", .id = "tester"};
    ds_http_config http = {.connect_timeout_ms = 1000};
    ds_backend_config config = {.options = &options, .endpoints = endpoints, .endpoint_count = count};
    memset(r, 0, sizeof(*r));
    r->loop = ds_loop_new(&http, &error);
    if (r->loop != NULL) {
        r->world = ds_loop_world(r->loop);
        r->backend = ds_consul_backend(r->world, &config, &error);
    }
    if (r->backend == NULL) {
        printf("cannot open: %s\n", error.message);
    }
    return r->backend != NULL;
}

bool consul_rig_open(rig *r, const consul_server *server, const dsync_options *options) {
    const char *endpoint = server->url;
    return consul_rig_open_at(r, &endpoint, 1, options);
}
