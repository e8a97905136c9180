/* test_url_refused.c: URLs and endpoints that are refused, and how that is said; damaged and oversized ones. */
#include "test.h"

#include "../../csrc/net/url.h"

static void check_bad(const char *text, const char *const *endpoints, size_t count, const char *part,
                      const char *advice) {
    ds_url url;
    dsync_error error = {DSYNC_OK, ""};
    test_case("%s", text != NULL ? text : "NULL");
    CHECK(!ds_url_parse(&url, text, endpoints, count, &error));
    CHECK_EQ_INT(error.code, DSYNC_CONFIG);
    CHECK_CONTAINS(error.message, part);
    CHECK_CONTAINS(error.message, advice);
    CHECK_LACKS(error.message, "secret");
    CHECK_NULL(url.hosts);
    CHECK_NULL(url.path);
    ds_url_free(&url);
    CHECK(!ds_url_parse(&url, text, endpoints, count, NULL));
}

TEST(bad_urls_name_the_part_and_the_remedy) {
    static const char *const rows[][3] = {
        {NULL, "URL is empty", "etcd://host:port"},
        {"", "URL is empty", "memory:"},
        {"ectd://h", "unknown scheme \"ectd\"", "did you mean \"etcd\"?"},
        {"etcdss://h", "unknown scheme \"etcdss\"", "did you mean \"etcds\"?"},
        {"zokeeper://h", "unknown scheme", "did you mean \"zookeeper\"?"},
        {"zk://h", "unknown scheme \"zk\"", "did you mean \"zookeeper\"?"},
        {"locl:", "unknown scheme \"locl\"", "did you mean \"local\"?"},
        {"redis://h", "unknown scheme \"redis\"", "use etcd://, etcds://, consul://"},
        {"http://h:2379", "unknown scheme \"http\"", "etcd://host:port"},
        {"https://h", "unknown scheme \"https\"", "etcds://host:port"},
        {"consul+unx:///run/x", "unknown scheme", "did you mean \"consul+unix\"?"},
        {"h:2379", "\"h:2379\" does not say which store", "write etcd://host:port"},
        {"localhost:2379", "does not say which store", "etcd://host:port"},
        {"10.0.0.1:2379", "does not say which store", "etcd://host:port"},
        {"h1,h2", "does not say which store", "etcd://host:port"},
        {"://h", "does not say which store", "etcd://host:port"},
        {" etcd://h", "contains a space", "(byte 1)"},
        {"etcd", "does not say which store", "etcd://host:port"},
        {"etcd:", "no \"//\" behind \"etcd:\"", "write etcd://127.0.0.1:2379"},
        {"etcd:h:2379", "no \"//\" behind \"etcd:\"", "write etcd://127.0.0.1:2379"},
        {"consul:/h", "no \"//\" behind \"consul:\"", "write consul://127.0.0.1:8500"},
        {"etcd://", "names no host", "write etcd://127.0.0.1:2379, or give endpoints"},
        {"etcd:///", "names no host", "or give endpoints"},
        {"zookeeper:///app", "names no host", "zookeeper://h1,h2:2181/chroot"},
        {"etcd://,", "a host is empty", "host:port"},
        {"etcd://h1,,h2", "a host is empty", "one \",\" between them"},
        {"etcd://h1,", "a host is empty", "host:port"},
        {"etcd://:2379", "no host before the \":\"", ":2379"},
        {"etcd://h:", "\"h:\" has a port that is no number", "1 to 65535"},
        {"etcd://h:0", "has a port that is no number", "1 to 65535"},
        {"etcd://h:65536", "\"h:65536\" has a port", "1 to 65535"},
        {"etcd://h:99999999999999999999", "has a port", "1 to 65535"},
        {"etcd://h:+1", "has a port", "1 to 65535"},
        {"etcd://h:23x", "has a port", "1 to 65535"},
        {"etcd://::1", "more than one \":\"", "in brackets, as [::1]:2379"},
        {"etcd://[::1", "no closing \"]\"", "[::1]:2379"},
        {"etcd://[::1]2379", "other than \":port\"", "[address]:port"},
        {"etcd://[::1]:1:2", "more than one port", "[address]:port"},
        {"etcd://[]", "no host", ""},
        {"etcd://[h]:1", "no IPv6 address between the brackets", "[::1]:2379"},
        {"etcd://[fe80::1%eth0]", "no IPv6 address", "without a zone"},
        {"etcd://[127.0.0.1]", "no IPv6 address", "[::1]:2379"},
        {"etcd://300.1.2.3", "no IPv4 address", "four numbers from 0 to 255"},
        {"etcd://127.1", "no IPv4 address", "10.0.0.1"},
        {"etcd://0177.0.0.1", "no IPv4 address", "10.0.0.1"},
        {"etcd://2130706433", "no IPv4 address", "10.0.0.1"},
        {"etcd://a..b", "empty part", "one \".\""},
        {"etcd://.a", "empty part", "one \".\""},
        {"etcd://m\xc3\xbcnchen", "outside ASCII", "xn--"},
        {"etcd://h*", "none of letters, digits", "\"h*\""},
        {"etcd://h%41", "none of letters, digits", "\"h%41\""},
        {"etcd://h\\x", "none of letters, digits", "h\\x"},
        {"etcd://h/shop", "path \"/shop\", which etcd does not use", "prefix ="},
        {"etcd://h//", "path \"//\"", "prefix ="},
        {"consuls://h/v1", "path \"/v1\", which consuls does not use", "consuls://host:8501"},
        {"etcd://h1/,h2", "path \"/,h2\"", "prefix ="},
        {"etcd://http://h", "path \"//h\"", "write etcd://127.0.0.1:2379"},
        {"etcd://h?ttl=3", "query (\"?\")", "settings are given as options"},
        {"etcd://h#x", "fragment (\"#\")", "leave out"},
        {"local:/x.db?mode=ro", "query", "options"},
        {"memory:a#b", "fragment", "leave out"},
        {"etcd://h h2", "contains a space", "leave it out (byte 4)"},
        {"etcd://h ", "contains a space", "leave it out"},
        {"etcd://h\n", "control character", "leave it out"},
        {"etcd://h\t,b", "control character", "leave it out"},
        {"etcd://\x7f", "control character", "leave it out"},
        {"local:/a\nb", "control character", "leave it out"},
        {"local:/a ", "contains a space", "leave it out"},
        {"memory:a b", "contains a space", "leave it out"},
        {"etcd://\xff", "not valid UTF-8", "byte 3"},
        {"local:\xff", "not valid UTF-8", "byte 1"},
        {"zookeeper://h/a//b", "empty segment", "/app/locks"},
        {"zookeeper://h/a/", "empty segment", "/app/locks"},
        {"zookeeper://h/a/..", "chroot \"/a/..\"", "/app/locks"},
        {"zookeeper://h/.", "chroot \"/.\"", "/app/locks"},
        {"consul+unix://run/x.sock", "full path of a socket", "consul+unix:///run/consul.sock"},
        {"consul+unix:/run/x.sock", "full path of a socket", "consul+unix:///run/consul.sock"},
        {"consul+unix:///", "full path of a socket", "consul+unix:///run/consul.sock"},
        {"local://x.db", "no host to name", "write local:/var/lib/app/locks.db"},
        {"memory://x", "no host to name", "write memory:name"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        check_bad(rows[i][0], NULL, 0, rows[i][1], rows[i][2]);
    }
}

TEST(credentials_are_refused_and_never_repeated) {
    static const char *const rows[] = {"etcd://user:secret@h:2379",
                                       "etcd://secret@h",
                                       "etcds://h1,user:secret@h2",
                                       "consul://:secret@h/",
                                       "zookeeper://u:secret@h/a",
                                       "user:secret@h",
                                       "secret@h:2379",
                                       "ectd://u:secret@h",
                                       "etcd:u:secret@h",
                                       "etcd://u:se/cret@h",
                                       "etcd://u:secret?@h",
                                       "http://u:secret@h",
                                       "secret:1@h"};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        check_bad(rows[i], NULL, 0, "holds credentials", "auth = {user = ..., password = ...}");
    }
    check_bad("consul+unix://u:secret@h/x", NULL, 0, "full path of a socket", "consul+unix:///run/consul.sock");
}

TEST(bad_endpoints) {
    static const char *const rows[][4] = {
        {"etcd://h", "u:secret@h", "endpoint holds credentials", "auth ="},
        {"etcd://h", "http://u:secret@h", "endpoint holds credentials", "auth ="},
        {"etcd://h", "https://h2", "endpoint \"https://h2\" is with TLS", "use etcds://"},
        {"etcds://h", "http://h2", "endpoint \"http://h2\" is without TLS", "use etcd://"},
        {"consul://h", "https://h2", "with TLS", "use consuls://"},
        {"etcd://h", "ftp://h2", "begins with \"ftp://\"", "http:// or https://"},
        {"etcd://h", "etcd://h2", "begins with \"etcd://\"", "host:port"},
        {"zookeeper://h", "http://h2", "begins with \"http://\"", "host:port only"},
        {"etcd://h", "h2/v3", "endpoint \"h2/v3\" has a path", "prefix ="},
        {"etcd://h", "http://h2/v3/", "has a path", "prefix ="},
        {"etcd://h", "/", "has a path", "host:port only"},
        {"etcd://h", "h1,h2", "holds a \",\"", "its own element"},
        {"etcd://h", "", "endpoint: a host is empty", "host:port"},
        {"etcd://h", NULL, "endpoint: a host is empty", "host:port"},
        {"etcd://h", "http://", "endpoint: a host is empty", "host:port"},
        {"etcd://h", "h:0", "endpoint: \"h:0\" has a port", "65535"},
        {"etcd://h", "h?x", "endpoint has a query", "options"},
        {"etcd://h", "h x", "endpoint contains a space", "byte 2"},
        {"memory:", "h", "endpoints are given", "leave them out"},
        {"local:", "h", "endpoints are given", "leave them out"},
        {"consul+unix:///run/x", "h", "endpoints are given", "leave them out"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        check_bad(rows[i][0], &rows[i][1], 1, rows[i][2], rows[i][3]);
    }
}

TEST(sizes_are_bounded) {
    char text[1200] = "etcd://";
    memset(text + 7, 'a', 254);
    text[7 + 253] = '\0';
    ds_url url;
    dsync_error error;
    REQUIRE(ds_url_parse(&url, text, NULL, 0, &error));
    ds_url_free(&url);
    text[7 + 253] = 'a';
    text[7 + 254] = '\0';
    check_bad(text, NULL, 0, "longer than 253 characters", "...");
    for (size_t i = 0; i < 129; i++) {
        memcpy(text + 7 + 2 * i, "h,", 2);
    }
    text[7 + 2 * 129 - 1] = '\0';
    check_bad(text, NULL, 0, "more than 128 hosts", "leave some out");
    text[7 + 2 * 128 - 1] = '\0';
    REQUIRE(ds_url_parse(&url, text, NULL, 0, &error));
    CHECK_EQ_INT(url.host_count, 1);
    ds_url_free(&url);
    static const char *const endpoints[] = {"h2"};
    check_bad(text, endpoints, 1, "more than 128 hosts", "leave some out");
    memcpy(text, "consul+unix:///", 15);
    memset(text + 15, 's', 107);
    text[15 + 107] = '\0';
    check_bad(text, NULL, 0, "longer than 107 bytes", "socket");
    text[15 + 106] = '\0';
    REQUIRE(ds_url_parse(&url, text, NULL, 0, &error));
    ds_url_free(&url);
}

TEST(damaged_urls_never_hurt) {
    static const char text[] = "zookeeper://[::1]:2181,h_1:2/a/b";
    char copy[sizeof(text)];
    for (size_t at = 0; at < sizeof(text) - 1; at++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(copy, text, sizeof(text));
            copy[at] = (char)byte;
            char *exact = ds_strdup(copy); /* NUL makes it shorter: the bytes behind must not be read */
            ds_url url;
            dsync_error error = {DSYNC_OK, ""};
            if (ds_url_parse(&url, exact, NULL, 0, &error)) {
                ds_url_free(&url);
            } else {
                CHECK(error.message[0] != '\0');
            }
            ds_free(exact);
        }
    }
}

#ifdef DS_TEST_ALLOC
TEST(out_of_memory_is_a_resource_error) {
    static const char *const texts[] = {"zookeeper://a,[::1]:2,c:3/app", "consul+unix:///run/x", "local:/x"};
    static const char *const endpoints[] = {"d:4"};
    for (size_t i = 0; i < DS_COUNT(texts); i++) {
        EACH_ALLOCATION_FAILS() {
            ds_url url;
            dsync_error error = {DSYNC_OK, ""};
            bool parsed = ds_url_parse(&url, texts[i], endpoints, i == 0 ? 1 : 0, &error);
            CHECK_EQ_INT(parsed, !ds_test_allocation_failed());
            CHECK_EQ_INT(error.code, parsed ? DSYNC_OK : DSYNC_RESOURCE);
            ds_url_free(&url);
        }
    }
}
#endif
