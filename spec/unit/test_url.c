/* test_url.c: what URLs and endpoints say. Those that are refused are test_url_refused.c's. */
#include "test.h"

#include "../../csrc/net/url.h"

typedef struct good_row {
    const char *text;
    ds_scheme scheme;
    bool tls;
    const char *hosts; /* separated by spaces */
    const char *path;
} good_row;

static void join_hosts(const ds_url *url, char *out, size_t size) {
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < url->host_count && at < size; i++) {
        at += (size_t)snprintf(out + at, size - at, "%s%s", i > 0 ? " " : "", url->hosts[i]);
    }
}

static void check_good(const good_row *row, const char *const *endpoints, size_t count) {
    char hosts[1000];
    ds_url url;
    dsync_error error = {DSYNC_OK, ""};
    test_case("%s", row->text);
    if (!CHECK(ds_url_parse(&url, row->text, endpoints, count, &error))) {
        test_fail(__FILE__, __LINE__, "%s", error.message);
        return;
    }
    join_hosts(&url, hosts, sizeof(hosts));
    CHECK_EQ_INT(url.scheme, row->scheme);
    CHECK_EQ_INT(url.tls, row->tls);
    CHECK_EQ_TEXT(hosts, row->hosts);
    CHECK_EQ_TEXT(url.path, row->path);
    ds_url_free(&url);
    ds_url_free(&url);
}

TEST(every_scheme) {
    static const good_row rows[] = {
        {"etcd://127.0.0.1:2379", DS_SCHEME_ETCD, false, "http://127.0.0.1:2379", ""},
        {"etcd://h", DS_SCHEME_ETCD, false, "http://h:2379", ""},
        {"etcd://h/", DS_SCHEME_ETCD, false, "http://h:2379", ""},
        {"ETCD://H1.Example,h_2:1", DS_SCHEME_ETCD, false, "http://h1.example:2379 http://h_2:1", ""},
        {"etcds://h1,h2:2379,h1:2379", DS_SCHEME_ETCD, true, "https://h1:2379 https://h2:2379", ""},
        {"etcd://[::1]:99,[FE80:0::1]", DS_SCHEME_ETCD, false, "http://[::1]:99 http://[fe80::1]:2379", ""},
        {"etcd://[::1],[0:0:0:0:0:0:0:1]:2379", DS_SCHEME_ETCD, false, "http://[::1]:2379", ""},
        {"etcd://h:65535,h:1,h:00080", DS_SCHEME_ETCD, false, "http://h:65535 http://h:1 http://h:80", ""},
        {"consul://h", DS_SCHEME_CONSUL, false, "http://h:8500", ""},
        {"consuls://h", DS_SCHEME_CONSUL, true, "https://h:8501", ""},
        {"consul+unix:///run/consul.sock", DS_SCHEME_CONSUL, false, "unix:/run/consul.sock", ""},
        {"zookeeper://h1,h2:2182", DS_SCHEME_ZOOKEEPER, false, "h1:2181 h2:2182", ""},
        {"zookeeper://h1/", DS_SCHEME_ZOOKEEPER, false, "h1:2181", ""},
        {"zookeeper://h1/app/locks", DS_SCHEME_ZOOKEEPER, false, "h1:2181", "/app/locks"},
        {"local:", DS_SCHEME_LOCAL, false, "", ""},
        {"local:/var/lib/x.db", DS_SCHEME_LOCAL, false, "", "/var/lib/x.db"},
        {"local:///var/lib/x.db", DS_SCHEME_LOCAL, false, "", "/var/lib/x.db"},
        {"local:x.db", DS_SCHEME_LOCAL, false, "", "x.db"},
        {"local:/home/J Doe/a@b:c,d.db", DS_SCHEME_LOCAL, false, "", "/home/J Doe/a@b:c,d.db"},
        {"memory:", DS_SCHEME_MEMORY, false, "", ""},
        {"memory:test-1", DS_SCHEME_MEMORY, false, "", "test-1"},
        {"memory:user@host", DS_SCHEME_MEMORY, false, "", "user@host"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        check_good(&rows[i], NULL, 0);
    }
}

TEST(endpoints_are_added) {
    static const char *const plain[] = {"h2:1", "http://h3/", "H1", "h2:1"};
    static const char *const secure[] = {"https://h2", "h3"};
    static const char *const keepers[] = {"h2"};
    static const good_row rows[] = {
        {"etcd://h1", DS_SCHEME_ETCD, false, "http://h1:2379 http://h2:1 http://h3:2379", ""},
        {"etcd://", DS_SCHEME_ETCD, false, "http://h2:1 http://h3:2379 http://h1:2379", ""},
        {"etcds://", DS_SCHEME_ETCD, true, "https://h2:2379 https://h3:2379", ""},
        {"zookeeper:///app", DS_SCHEME_ZOOKEEPER, false, "h2:2181", "/app"},
    };
    check_good(&rows[0], plain, 4);
    check_good(&rows[1], plain, 4);
    check_good(&rows[2], secure, 2);
    check_good(&rows[3], keepers, 1);
}

TEST(loopback) {
    static const char *const local[] = {"http://127.0.0.1:2379", "https://127.255.0.9", "http://localhost:1",
                                        "http://LOCALHOST",      "http://[::1]:2379",   "[::1]",
                                        "127.0.0.1:2181",        "unix:/run/x",         "localhost:2181",
                                        "http://[0:0::1]:5"};
    static const char *const remote[] = {"http://128.0.0.1:2379",
                                         "http://10.0.0.1",
                                         "http://localhost.example.com",
                                         "http://127.0.0.1.example.com",
                                         "http://127.evil.com:2379",
                                         "http://localhost@evil.com",
                                         "http://127.0.0.1:80@evil.com",
                                         "http://127.0.0.1/",
                                         "http://127.1",
                                         "http://[::2]",
                                         "http://[::1",
                                         "http://[::1]x",
                                         "http://::1",
                                         "http://",
                                         "",
                                         ":",
                                         "ftp://localhost",
                                         "http://localhost:0",
                                         "http://0x7f.0.0.1"};
    for (size_t i = 0; i < DS_COUNT(local); i++) {
        test_case("%s", local[i]);
        CHECK(ds_url_is_loopback(local[i]));
    }
    for (size_t i = 0; i < DS_COUNT(remote); i++) {
        test_case("%s", remote[i]);
        CHECK(!ds_url_is_loopback(remote[i]));
    }
}
