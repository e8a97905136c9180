/* bare_etcd.c: the least that libcurl can do for one uncontended cycle on etcd: the two transactions that dsync sends,
 * one after the other, with nothing around them. What is slower than this is dsync's own cost.
 * Usage: bare_etcd http://127.0.0.1:2379 CYCLES */
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
    /* What dsync sends, byte for byte but for numbers and times. */
    static const char *const session =
        "{\"compare\":[],\"success\":[{\"request_put\":{\"key\":\"ZHN5bmMvc2Vzc2lvbi8yZWIyOGU4MjkwYjAzZjMx\","
        "\"value\":"
        "\"eyJlcG9jaCI6MSwiaWQiOiJob3N0OjEwNjQ6NDIxNDQwIiwiaG9zdCI6Imhvc3QiLCJwaWQiOjEwNjQsInNpbmNlIjoiMjAyNi0wMS0wMVQw"
        "MDowMDowMC4wMDBaIn0=\","
        "\"lease\":\"%s\"}}]}";
    static const char *const enter =
        "{\"compare\":[{\"result\":\"EQUAL\",\"key\":"
        "\"ZHN5bmMvbG9jay9iZW5jaC8yZWIyOGU4MjkwYjAzZjMxLWIzNmU5Yzg1MWNhNTA1OGQ=\","
        "\"target\":\"CREATE\",\"create_revision\":\"0\"},{\"result\":\"EQUAL\",\"key\":"
        "\"ZHN5bmMvc2Vzc2lvbi8yZWIyOGU4MjkwYjAzZjMx\","
        "\"target\":\"VALUE\",\"value\":"
        "\"eyJlcG9jaCI6MSwiaWQiOiJob3N0OjEwNjQ6NDIxNDQwIiwiaG9zdCI6Imhvc3QiLCJwaWQiOjEwNjQsInNpbmNlIjoiMjAyNi0wMS0wMVQw"
        "MDowMDowMC4wMDBaIn0=\"}],"
        "\"success\":[{\"request_put\":{\"key\":\"ZHN5bmMvbG9jay9iZW5jaC8yZWIyOGU4MjkwYjAzZjMxLWIzNmU5Yzg1MWNhNTA1OGQ="
        "\","
        "\"value\":\"eyJpZCI6Imhvc3Q6MTA2NDo0MjE0NDAiLCJxdWV1ZWRfYXQiOiIyMDI2LTAxLTAxVDAwOjAwOjAwLjAwMFoifQ==\","
        "\"lease\":\"%s\"}},"
        "{\"request_range\":{\"key\":\"ZHN5bmMvbG9jay9iZW5jaC8=\",\"range_end\":\"ZHN5bmMvbG9jay9iZW5jaDA=\","
        "\"sort_order\":\"DESCEND\",\"sort_target\":\"CREATE\",\"limit\":\"2\",\"keys_only\":true}}],"
        "\"failure\":[{\"request_range\":{\"key\":"
        "\"ZHN5bmMvbG9jay9iZW5jaC8yZWIyOGU4MjkwYjAzZjMxLWIzNmU5Yzg1MWNhNTA1OGQ=\"}},"
        "{\"request_range\":{\"key\":\"ZHN5bmMvc2Vzc2lvbi8yZWIyOGU4MjkwYjAzZjMx\"}}]}";
    static const char *const leave =
        "{\"compare\":[{\"result\":\"GREATER\",\"key\":"
        "\"ZHN5bmMvbG9jay9iZW5jaC8yZWIyOGU4MjkwYjAzZjMxLWIzNmU5Yzg1MWNhNTA1OGQ=\","
        "\"target\":\"CREATE\",\"create_revision\":\"0\"}],"
        "\"success\":[{\"request_delete_range\":{\"key\":"
        "\"ZHN5bmMvbG9jay9iZW5jaC8yZWIyOGU4MjkwYjAzZjMxLWIzNmU5Yzg1MWNhNTA1OGQ=\"}}],\"failure\":[]}";
    char url[512], lease[64], body[2048];
    if (argc < 3) {
        fprintf(stderr, "usage: bare_etcd URL CYCLES\n");
        return 64;
    }
    long cycles = strtol(argv[2], NULL, 10);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURLM *multi = curl_multi_init();
    CURL *easy = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Grpc-Metadata-hasleader: true");
    headers = curl_slist_append(headers, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
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
    snprintf(body, sizeof body, session, lease);
    if (!post(multi, easy, url, body)) {
        fprintf(stderr, "no session key\n");
        return 69;
    }
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
    curl_slist_free_all(headers);
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
    return 0;
}
