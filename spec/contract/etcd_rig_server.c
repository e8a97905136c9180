/* etcd_rig_server.c: starting an etcd, and asking it without the backend's code. */
#include "etcd_rig.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"

#define START_TRIES 200 /* of 50 ms */

static void sleep_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {
    }
}

static int free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int port = -1;
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &size) == 0) {
        port = ntohs(address.sin_port);
    }
    if (fd >= 0) {
        close(fd);
    }
    return port;
}

static void run_etcd(const etcd_server *server, const char *const *extra) {
    char peer[64], cluster[96], log[96];
    char *arguments[40];
    size_t count = 0;
    const char *program = getenv("DSYNC_ETCD");
    snprintf(peer, sizeof(peer), "http://127.0.0.1:%d", server->peer_port);
    snprintf(cluster, sizeof(cluster), "default=%s", peer);
    snprintf(log, sizeof(log), "%s/log", server->folder);
    const char *const fixed[] = {program != NULL ? program : "etcd",
                                 "--data-dir",
                                 server->folder,
                                 "--listen-client-urls",
                                 server->url,
                                 "--advertise-client-urls",
                                 server->url,
                                 "--listen-peer-urls",
                                 peer,
                                 "--initial-advertise-peer-urls",
                                 peer,
                                 "--initial-cluster",
                                 cluster};
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        arguments[count++] = (char *)(uintptr_t)fixed[i];
    }
    for (; extra != NULL && *extra != NULL && count < 38; extra++) {
        arguments[count++] = (char *)(uintptr_t)*extra;
    }
    arguments[count] = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    setenv("GOMAXPROCS", "2", 1);
    execvp(arguments[0], arguments);
    _exit(127);
}

static bool ready(const etcd_server *server) {
    char *answer = etcd_post(server, "/v3/kv/range", "{\"key\":\"AA==\"}");
    bool good = answer != NULL && (strstr(answer, "cluster_id") != NULL || strstr(answer, "user name") != NULL);
    free(answer);
    return good;
}

bool etcd_start_again(etcd_server *server, const char *const *extra) {
    (void)mkdir(server->folder, 0700); /* again, if it was forgotten */
    server->pid = fork();
    if (server->pid == 0) {
        run_etcd(server, extra);
    }
    for (int i = 0; server->pid > 0 && i < START_TRIES; i++) {
        if (ready(server)) {
            return true;
        }
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
            server->pid = 0;
            break;
        }
        sleep_ms(50);
    }
    printf("etcd did not start; see %s/log\n", server->folder);
    etcd_stop(server);
    return false;
}

/* Whoever asks for a version must not be served another one. */
static bool is_wanted_version(const etcd_server *server) {
    const char *wanted = getenv("DSYNC_TEST_ETCD");
    char text[64];
    char *status = etcd_post(server, "/v3/maintenance/status", "{}");
    snprintf(text, sizeof(text), "\"version\":\"%s", wanted != NULL ? wanted : "");
    bool right = status != NULL && strstr(status, text) != NULL;
    free(status);
    if (!right) {
        printf("this etcd is not version %s; set DSYNC_ETCD to the program\n", wanted != NULL ? wanted : "3");
    }
    return right;
}

bool etcd_start(etcd_server *server, const char *const *extra) {
    memset(server, 0, sizeof(*server));
    snprintf(server->folder, sizeof(server->folder), "/tmp/dsync-contract-XXXXXX");
    if (mkdtemp(server->folder) == NULL) {
        return false;
    }
    server->client_port = free_port();
    server->peer_port = free_port();
    snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%d", server->client_port);
    if (etcd_start_again(server, extra) && is_wanted_version(server)) {
        return true;
    }
    etcd_stop(server);
    return false;
}

void etcd_stop(etcd_server *server) {
    if (server->pid > 0) {
        kill(server->pid, SIGKILL);
        waitpid(server->pid, NULL, 0);
        server->pid = 0;
    }
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *walk) {
    (void)st;
    (void)flag;
    (void)walk;
    return remove(path);
}

void etcd_stop_and_forget(etcd_server *server) {
    etcd_stop(server);
    nftw(server->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static size_t collect(char *bytes, size_t one, size_t count, void *argument) {
    ds_buf_add(argument, bytes, one * count);
    return one * count;
}

static const char *authorization;

void etcd_authorize(const char *token) {
    authorization = token;
}

char *etcd_post(const etcd_server *server, const char *path, const char *json) {
    char url[200], header[300];
    struct curl_slist *headers = NULL;
    ds_buf body = DS_BUF_EMPTY;
    CURL *easy = curl_easy_init();
    snprintf(url, sizeof(url), "%s%s", server->url, path);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, json);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 5000L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    if (authorization != NULL) {
        snprintf(header, sizeof(header), "Authorization: %s", authorization);
        headers = curl_slist_append(NULL, header);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    }
    CURLcode result = curl_easy_perform(easy);
    curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
    char *copy = result == CURLE_OK && body.data != NULL ? strdup(body.data) : NULL;
    ds_buf_free(&body);
    return copy;
}

static char *post_with(const etcd_server *server, const char *path, ds_buf *json) {
    char *answer = etcd_post(server, path, json->data);
    ds_buf_free(json);
    return answer;
}

char *etcd_value(const etcd_server *server, const char *key, int64_t *lease, int64_t *create) {
    ds_buf json = DS_BUF_EMPTY;
    ds_buf_add_text(&json, "{\"key\":\"");
    ds_buf_add_base64(&json, key, strlen(key));
    ds_buf_add_text(&json, "\"}");
    char *answer = post_with(server, "/v3/kv/range", &json);
    ds_json_limits limits = {32, 10000};
    bool no_memory;
    ds_json *root = answer != NULL ? ds_json_parse(answer, strlen(answer), &limits, &no_memory, NULL) : NULL;
    const ds_json *kv = ds_json_first(ds_json_array(root, "kvs"));
    char *value = NULL;
    if (kv != NULL) {
        const char *text = ds_json_text(kv, "value");
        ds_buf decoded = DS_BUF_EMPTY;
        if (text != NULL && ds_base64_decode(text, strlen(text), &decoded)) {
            value = strdup(decoded.data);
        } else {
            value = strdup("");
        }
        ds_buf_free(&decoded);
        if (lease != NULL && !ds_json_int64(kv, "lease", lease)) {
            *lease = 0;
        }
        if (create != NULL && !ds_json_int64(kv, "create_revision", create)) {
            *create = 0;
        }
    }
    ds_json_free(root);
    free(answer);
    return value;
}

bool etcd_put(const etcd_server *server, const char *key, const char *value, int64_t lease) {
    ds_buf json = DS_BUF_EMPTY;
    ds_buf_add_text(&json, "{\"key\":\"");
    ds_buf_add_base64(&json, key, strlen(key));
    ds_buf_add_text(&json, "\",\"value\":\"");
    ds_buf_add_base64(&json, value, strlen(value));
    ds_buf_add_format(&json, "\",\"lease\":\"%" PRId64 "\"}", lease);
    char *answer = post_with(server, "/v3/kv/put", &json);
    bool done = answer != NULL && strstr(answer, "error") == NULL;
    free(answer);
    return done;
}

bool etcd_delete(const etcd_server *server, const char *key) {
    ds_buf json = DS_BUF_EMPTY;
    ds_buf_add_text(&json, "{\"key\":\"");
    ds_buf_add_base64(&json, key, strlen(key));
    ds_buf_add_text(&json, "\"}");
    char *answer = post_with(server, "/v3/kv/deleterange", &json);
    bool done = answer != NULL && strstr(answer, "\"deleted\":\"1\"") != NULL;
    free(answer);
    return done;
}

int etcd_count(const etcd_server *server, const char *prefix) {
    ds_buf json = DS_BUF_EMPTY;
    char end[300];
    snprintf(end, sizeof(end), "%s", prefix);
    end[strlen(end) - 1]++;
    ds_buf_add_text(&json, "{\"count_only\":true,\"key\":\"");
    ds_buf_add_base64(&json, prefix, strlen(prefix));
    ds_buf_add_text(&json, "\",\"range_end\":\"");
    ds_buf_add_base64(&json, end, strlen(end));
    ds_buf_add_text(&json, "\"}");
    char *answer = post_with(server, "/v3/kv/range", &json);
    const char *at = answer != NULL ? strstr(answer, "\"count\":\"") : NULL;
    int count = at != NULL ? (int)strtol(at + 9, NULL, 10) : answer != NULL ? 0 : -1;
    free(answer);
    return count;
}
