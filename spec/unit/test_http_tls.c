/* test_http_tls.c: what TLS lets through and what it refuses, against `openssl s_server`. Passes with a note where
 * there is no openssl program.
 */
#include "test.h"

#include "../../csrc/net/loop.h"
#include "http_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/dsync-tls-XXXXXX";
static bool made;

static bool run(const char *command) {
    return system(command) == 0; /* NOLINT(cert-env33-c): fixed commands */
}

/* Two authorities, a server's certificate for server.example, a client's, and keys. */
static bool make_certificates(void) {
    static const char script[] =
        "set -e; exec >log 2>&1\n"
        "for ca in good bad; do\n"
        "  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=$ca"
        " -keyout $ca.key -out $ca.pem\n"
        "done\n"
        "for who in server client; do\n"
        "  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=$who.example"
        " -keyout $who.key -out $who.csr\n"
        "  printf 'subjectAltName=DNS:%s.example' $who >$who.ext\n"
        "  openssl x509 -req -in $who.csr -CA good.pem -CAkey good.key -CAcreateserial -days 2"
        " -extfile $who.ext -out $who.pem\n"
        "done\n"
        "openssl ec -aes128 -passout pass:secret -in client.key -out locked.key\n"
        "echo nonsense >broken.pem\n";
    char command[4096];
    if (!made && mkdtemp(folder) != NULL) {
        (void)snprintf(command, sizeof(command), "cd %s && (%s)", folder, script);
        made = run(command);
    }
    return made;
}

__attribute__((destructor)) static void remove_certificates(void) {
    char command[100];
    if (made) {
        (void)snprintf(command, sizeof(command), "rm -r %s", folder);
        (void)run(command);
    }
}

static int free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int port =
        bind(fd, (struct sockaddr *)&address, size) == 0 && getsockname(fd, (struct sockaddr *)&address, &size) == 0
            ? ntohs(address.sin_port)
            : 0;
    (void)close(fd);
    return port;
}

static bool listens(int port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool ok = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    (void)close(fd);
    return ok;
}

/* Answers every GET; with `verify` only to clients with a certificate of the good authority. */
static pid_t start_server(int port, bool verify) {
    char port_text[16];
    char *arguments[] = {"openssl",
                         "s_server",
                         "-accept",
                         port_text,
                         "-cert",
                         "server.pem",
                         "-key",
                         "server.key",
                         "-CAfile",
                         "good.pem",
                         "-www",
                         "-quiet",
                         "-naccept",
                         "40",
                         verify ? "-Verify" : NULL,
                         "1",
                         "-verify_return_error",
                         NULL};
    pid_t pid = -1;
    posix_spawn_file_actions_t actions;
    (void)snprintf(port_text, sizeof(port_text), "%d", port);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addchdir_np(&actions, folder);
    (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    if (posix_spawnp(&pid, "openssl", &actions, NULL, arguments, environ) != 0) {
        pid = -1;
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    for (int i = 0; i < 200 && pid > 0 && !listens(port); i++) {
        (void)usleep(10000);
    }
    return pid;
}

/* Starts one, and says where it is. 0: there is no openssl here, which is told; -1: it failed. */
static pid_t serve(bool verify, char *origin, size_t size) {
    if (!run("command -v openssl >/dev/null")) {
        printf("skipped: %s: no openssl program here\n", test_running);
        return 0;
    }
    (void)alarm(60);
    int port = free_port();
    (void)snprintf(origin, size, "https://127.0.0.1:%d", port);
    return make_certificates() ? start_server(port, verify) : -1;
}

static void stop_server(pid_t pid) {
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

/* ---- one request ------------------------------------------------------------------------------------------------- */

typedef struct outcome {
    ds_http_sink sink;
    bool done, resumed; /* resumed: the server says that it took an earlier session for granted */
    ds_http_fate fate;
    int code, status;
    char message[480];
} outcome;

static void on_done(ds_http_sink *sink, const ds_http_result *result) {
    outcome *self = DS_CONTAINER_OF(sink, outcome, sink);
    self->fate = result->fate;
    self->code = result->code;
    self->status = result->status;
    (void)snprintf(self->message, sizeof(self->message), "%s", result->message);
    self->resumed = result->body != NULL && strstr(result->body, "Reused, TLS") != NULL;
    self->done = true;
}

typedef struct files {
    const char *ca, *cert, *key, *server_name;
    bool insecure;
} files;

static const char *in_folder(const char *name, char *out, size_t size) {
    if (name == NULL) {
        return NULL;
    }
    (void)snprintf(out, size, "%s/%s", folder, name);
    return out;
}

static ds_loop *start_loop(const files *with) {
    char ca[64];
    char cert[64];
    char key[64];
    ds_http_config config = {.connect_timeout_ms = 30000,
                             .tls_ca = in_folder(with->ca, ca, sizeof(ca)),
                             .tls_cert = in_folder(with->cert, cert, sizeof(cert)),
                             .tls_key = in_folder(with->key, key, sizeof(key)),
                             .tls_server_name = with->server_name,
                             .tls_insecure_skip_verify = with->insecure};
    dsync_error error;
    ds_loop *loop = ds_loop_new(&config, &error);
    if (loop == NULL) {
        abort();
    }
    return loop;
}

static outcome get(ds_loop *loop, const char *origin) {
    outcome self = {.sink = {NULL, on_done}};
    char copy[64];
    (void)snprintf(copy, sizeof(copy), "%s", origin);
    ds_endpoint endpoint = {.origin = copy};
    ds_http_request request = {
        .endpoint = &endpoint, .method = "GET", .target = "/", .reply_max = 100000, .timeout_ns = 45 * DS_SECOND};
    ds_loop_lock(loop);
    if (ds_loop_world(loop)->ops->http_start(ds_loop_world(loop), &request, &self.sink) == NULL ||
        !ds_loop_wait(loop, &self.done, ds_clock_ns() + 60 * DS_SECOND)) {
        abort();
    }
    ds_loop_unlock(loop);
    return self;
}

static outcome fetch(const char *origin, const files *with) {
    ds_loop *loop = start_loop(with);
    outcome self = get(loop, origin);
    ds_loop_free(loop);
    return self;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

typedef struct row {
    const char *what;
    files with;
    ds_http_fate fate;
    int code;
    const char *message;
} row;

static void check_rows(const row *rows, size_t count, const char *origin) {
    for (size_t i = 0; i < count; i++) {
        test_case("%s", rows[i].what);
        outcome got = fetch(origin, &rows[i].with);
        CHECK_EQ_INT(got.fate, rows[i].fate);
        CHECK_EQ_INT(got.code, rows[i].code);
        CHECK_CONTAINS(got.message, rows[i].message);
        if (rows[i].fate == DS_HTTP_ANSWERED) {
            CHECK_EQ_INT(got.status, 200);
        }
    }
}

TEST(the_server_is_believed_only_with_the_right_certificate) {
    char origin[64];
    pid_t pid = serve(false, origin, sizeof(origin));
    if (pid == 0) {
        return;
    }
    REQUIRE(pid > 0);
    const char *name = "server.example";
    const row rows[] = {
        {"right", {.ca = "good.pem", .server_name = name}, DS_HTTP_ANSWERED, 0, ""},
        {"no name for the address", {.ca = "good.pem"}, DS_HTTP_REFUSED, DSYNC_DENIED, "server_name"},
        {"wrong name",
         {.ca = "good.pem", .server_name = "other.example"},
         DS_HTTP_REFUSED,
         DSYNC_DENIED,
         "not to be trusted"},
        {"wrong authority", {.ca = "bad.pem", .server_name = name}, DS_HTTP_REFUSED, DSYNC_DENIED, "not to be trusted"},
        {"the system's authorities", {.server_name = name}, DS_HTTP_REFUSED, DSYNC_DENIED, "not to be trusted"},
        {"no such file", {.ca = "nowhere.pem", .server_name = name}, DS_HTTP_REFUSED, DSYNC_CONFIG, "check tls ca"},
        {"broken file", {.ca = "broken.pem", .server_name = name}, DS_HTTP_REFUSED, DSYNC_CONFIG, "check tls ca"},
        {"not asked", {.insecure = true}, DS_HTTP_ANSWERED, 0, ""},
    };
    check_rows(rows, DS_COUNT(rows), origin);
    stop_server(pid);
}

TEST(a_server_that_asks_for_a_certificate_gets_one) {
    char origin[64];
    pid_t pid = serve(true, origin, sizeof(origin));
    if (pid == 0) {
        return;
    }
    REQUIRE(pid > 0);
#define AUTHORITY .ca = "good.pem", .server_name = "server.example"
    const row rows[] = {
        {"right", {AUTHORITY, .cert = "client.pem", .key = "client.key"}, DS_HTTP_ANSWERED, 0, ""},
        {"none", {AUTHORITY}, DS_HTTP_REFUSED, DSYNC_DENIED, "check tls cert and key"},
        {"of another authority",
         {AUTHORITY, .cert = "bad.pem", .key = "bad.key"},
         DS_HTTP_REFUSED,
         DSYNC_DENIED,
         "check tls cert and key"},
        {"no such certificate",
         {AUTHORITY, .cert = "nowhere.pem", .key = "client.key"},
         DS_HTTP_REFUSED,
         DSYNC_CONFIG,
         "check tls ca, cert and key"},
        {"no such key",
         {AUTHORITY, .cert = "client.pem", .key = "nowhere.key"},
         DS_HTTP_REFUSED,
         DSYNC_CONFIG,
         "check tls ca, cert and key"},
        {"another's key",
         {AUTHORITY, .cert = "client.pem", .key = "bad.key"},
         DS_HTTP_REFUSED,
         DSYNC_CONFIG,
         "check tls ca, cert and key"},
        {"a key with a password",
         {AUTHORITY, .cert = "client.pem", .key = "locked.key"},
         DS_HTTP_REFUSED,
         DSYNC_CONFIG,
         "check tls ca, cert and key"},
    };
#undef AUTHORITY
    check_rows(rows, DS_COUNT(rows), origin);
    stop_server(pid);
}

/* Whoever resumes a session checks no certificate. */
TEST(each_connection_is_verified_anew) {
    char origin[64];
    pid_t pid = serve(false, origin, sizeof(origin));
    if (pid == 0) {
        return;
    }
    REQUIRE(pid > 0);
    files with = {.ca = "good.pem", .server_name = "server.example"};
    ds_loop *loop = start_loop(&with);
    for (int i = 0; i < 3; i++) { /* the server ends each connection with its answer */
        outcome got = get(loop, origin);
        CHECK_EQ_INT(got.status, 200);
        CHECK(!got.resumed);
    }
    ds_loop_free(loop);
    stop_server(pid);
}

static bool say_no_tls(server_request *request) {
    return server_reply(request->fd, 200, "", "plain");
}

TEST(tls_and_plain_http_do_not_mix) {
    server plain;
    (void)alarm(60);
    REQUIRE(server_start(&plain, NULL, say_no_tls, NULL));
    char origin[64];
    (void)snprintf(origin, sizeof(origin), "https://127.0.0.1:%d", plain.port);
    files none = {.insecure = true};
    /* The plain server waits for the rest of what it takes for a request: this costs the connect timeout. */
    outcome got = fetch(origin, &none);
    CHECK_EQ_INT(got.fate, DS_HTTP_NOT_SENT);
    server_stop(&plain);

    if (!make_certificates()) {
        return;
    }
    int port = free_port();
    pid_t pid = start_server(port, false);
    REQUIRE(pid > 0);
    (void)snprintf(origin, sizeof(origin), "http://127.0.0.1:%d", port);
    got = fetch(origin, &none);
    CHECK(got.fate != DS_HTTP_ANSWERED || got.status >= 400);
    stop_server(pid);
}
