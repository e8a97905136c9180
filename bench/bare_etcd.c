/* bare_etcd.c: the least that libcurl can do for one uncontended cycle on etcd: one transaction that puts an entry under a
 * lease, one that deletes it. What dsync adds to this is its own cost. Usage: bare_etcd http://127.0.0.1:2379 CYCLES
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char reply[65536];
static size_t reply_size;

static size_t take(char *bytes, size_t size, size_t count, void *context) {
    (void)context;
    size_t room = sizeof reply - 1 - reply_size;
    size_t part = size * count < room ? size * count : room;
    memcpy(reply + reply_size, bytes, part);
    reply_size += part;
    reply[reply_size] = '\0';
    return size * count;
}

static int post(CURLM *multi, CURL *easy, const char *url, const char *body) {
    int running = 1;
    reply_size = 0;
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    curl_multi_add_handle(multi, easy);
    while (running > 0) {
        curl_multi_perform(multi, &running);
        if (running > 0) {
            curl_multi_poll(multi, NULL, 0, 1000, NULL);
        }
    }
    int left;
    CURLMsg *message = curl_multi_info_read(multi, &left);
    int ok = message != NULL && message->data.result == CURLE_OK;
    curl_multi_remove_handle(multi, easy);
    return ok;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    /* "bench/k" and "bench/" to "bench0" in base64. */
    static const char *const enter =
        "{\"compare\":[{\"key\":\"YmVuY2gvaw==\",\"result\":\"EQUAL\",\"target\":\"CREATE\",\"create_revision\":\"0\"}]"
        ","
        "\"success\":[{\"request_put\":{\"key\":\"YmVuY2gvaw==\",\"value\":\"eyJpZCI6ImJlbmNoIn0=\",\"lease\":\"%s\"}},"
        "{\"request_range\":{\"key\":\"YmVuY2gv\",\"range_end\":\"YmVuY2gw\",\"limit\":\"1\","
        "\"sort_order\":\"ASCEND\",\"sort_target\":\"CREATE\"}}]}";
    static const char *const leave = "{\"compare\":[{\"key\":\"YmVuY2gvaw==\",\"result\":\"GREATER\",\"target\":"
                                     "\"CREATE\",\"create_revision\":\"0\"}],"
                                     "\"success\":[{\"request_delete_range\":{\"key\":\"YmVuY2gvaw==\"}}]}";
    char url[512], lease[64], body[1024];
    if (argc < 3) {
        fprintf(stderr, "usage: bare_etcd URL CYCLES\n");
        return 64;
    }
    long cycles = strtol(argv[2], NULL, 10);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURLM *multi = curl_multi_init();
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take);
    snprintf(url, sizeof url, "%s/v3/lease/grant", argv[1]);
    if (!post(multi, easy, url, "{\"TTL\":\"60\"}")) {
        fprintf(stderr, "no answer from %s\n", argv[1]);
        return 69;
    }
    const char *id = strstr(reply, "\"ID\":\"");
    if (id == NULL || sscanf(id, "\"ID\":\"%63[0-9]", lease) != 1) {
        fprintf(stderr, "no lease: %s\n", reply);
        return 69;
    }
    snprintf(url, sizeof url, "%s/v3/kv/txn", argv[1]);
    snprintf(body, sizeof body, enter, lease);
    double begin = now();
    for (long i = 0; i < cycles; i++) {
        if (!post(multi, easy, url, body) || strstr(reply, "\"succeeded\":true") == NULL ||
            !post(multi, easy, url, leave) || strstr(reply, "\"succeeded\":true") == NULL) {
            fprintf(stderr, "cycle %ld failed: %s\n", i, reply);
            return 1;
        }
    }
    printf("%.0f cycles/s\n", (double)cycles / (now() - begin));
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
    return 0;
}
