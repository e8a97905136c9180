/* scheme.c: which store a URL means, and the checks that hold for every part of it. A text that may hold a password is
 * never quoted: credentials are looked for first. */
#include "scheme.h"
#include "../base/error.h"
#include "../base/nearest.h"
#include "../base/utf8.h"

#include <string.h>

static const ds_scheme_info schemes[] = {
    {"etcd", DS_SCHEME_ETCD, DS_URL_HOSTS, false, 2379, "http://", "etcd://127.0.0.1:2379"},
    {"etcds", DS_SCHEME_ETCD, DS_URL_HOSTS, true, 2379, "https://", "etcds://host:2379"},
    {"consul", DS_SCHEME_CONSUL, DS_URL_HOSTS, false, 8500, "http://", "consul://127.0.0.1:8500"},
    {"consuls", DS_SCHEME_CONSUL, DS_URL_HOSTS, true, 8501, "https://", "consuls://host:8501"},
    {"consul+unix", DS_SCHEME_CONSUL, DS_URL_SOCKET, false, 0, "", "consul+unix:///run/consul.sock"},
    {"zookeeper", DS_SCHEME_ZOOKEEPER, DS_URL_HOSTS, false, 2181, "", "zookeeper://h1,h2:2181/chroot"},
    {"local", DS_SCHEME_LOCAL, DS_URL_PLACE, false, 0, "", "local:/var/lib/app/locks.db"},
    {"memory", DS_SCHEME_MEMORY, DS_URL_PLACE, false, 0, "", "memory:name"},
};

/* Words that are no misspelling of ours but clearly mean something. */
static const struct {
    const char *word;
    const char *hint;
} habits[] = {
    {"http", "name the store instead: etcd://host:port or consul://host:port"},
    {"https", "name the store instead: etcds://host:port or consuls://host:port"},
    {"zk", "did you mean \"zookeeper\"?"},
    {"file", "did you mean \"local\"?"},
    {"sqlite", "did you mean \"local\"?"},
    {"unix", "did you mean \"consul+unix\"?"},
};

bool ds_span_has(ds_span s, char c) {
    return s.size > 0 && memchr(s.at, c, s.size) != NULL;
}

bool ds_span_begins(ds_span s, const char *with) {
    size_t length = strlen(with);
    return s.size >= length && memcmp(s.at, with, length) == 0;
}

ds_span ds_span_behind(ds_span s, size_t count) {
    return (ds_span){s.at + count, s.size - count};
}

bool ds_span_same_word(ds_span s, const char *word) {
    if (s.size != strlen(word)) {
        return false;
    }
    for (size_t i = 0; i < s.size; i++) {
        char c = s.at[i];
        if ((c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c) != word[i]) {
            return false;
        }
    }
    return true;
}

/* ---- what holds for every text ----------------------------------------------------------------------------------- */

/* Characters no part may hold. Spaces are for paths only, and only inside. */
bool ds_span_check_characters(ds_span s, const char *where, bool spaces, dsync_error *error) {
    for (size_t at = 0; at < s.size;) {
        uint32_t code_point = 0;
        size_t step = ds_utf8_sequence(s.at + at, s.size - at, &code_point);
        const char *problem = NULL;
        if (step == 0) {
            problem = "is not valid UTF-8";
        } else if (code_point == ' ' && (!spaces || at + 1 == s.size)) {
            problem = "contains a space: leave it out";
        } else if (code_point != ' ' && ds_is_control(code_point)) {
            problem = "contains a control character (a tab or line break, perhaps): leave it out";
        }
        if (problem != NULL) {
            ds_error_set(error, DSYNC_CONFIG, "%s %s (byte %zu)", where, problem, at + 1);
            return false;
        }
        at += step;
    }
    return true;
}

bool ds_span_check_credentials(ds_span s, const char *where, dsync_error *error) {
    if (!ds_span_has(s, '@')) {
        return true;
    }
    ds_error_set(
        error, DSYNC_CONFIG,
        "%s holds credentials (something before \"@\"), which end up in logs and process lists: leave them out and "
        "give them as auth = {user = ..., password = ...} or auth = {token = ...}",
        where);
    return false;
}

bool ds_span_check_query(ds_span s, const char *where, dsync_error *error) {
    bool query = ds_span_has(s, '?');
    if (!query && !ds_span_has(s, '#')) {
        return true;
    }
    ds_error_set(error, DSYNC_CONFIG, "%s has a %s: leave out everything from there on; settings are given as options",
                 where, query ? "query (\"?\")" : "fragment (\"#\")");
    return false;
}

/* ---- scheme ------------------------------------------------------------------------------------------------------ */

static const ds_scheme_info *find_scheme(ds_span word) {
    for (size_t i = 0; i < DS_COUNT(schemes); i++) {
        if (ds_span_same_word(word, schemes[i].name)) {
            return &schemes[i];
        }
    }
    return NULL;
}

static bool is_scheme_word(ds_span s) {
    for (size_t i = 0; i < s.size; i++) {
        char c = s.at[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (i == 0 || ((c < '0' || c > '9') && c != '+' && c != '-' && c != '.'))) {
            return false;
        }
    }
    return s.size > 0;
}

static bool refuse_without_scheme(ds_span text, dsync_error *error) {
    ds_shown shown;
    ds_error_set(error, DSYNC_CONFIG,
                 "URL \"%s\" does not say which store: write etcd://host:port, or another of " DS_SCHEME_LIST,
                 ds_show(&shown, text.at, text.size));
    return false;
}

static bool refuse_scheme(ds_span word, dsync_error *error) {
    const char *names[DS_COUNT(schemes) + 1];
    for (size_t i = 0; i < DS_COUNT(schemes); i++) {
        names[i] = schemes[i].name;
    }
    names[DS_COUNT(schemes)] = NULL;
    ds_shown shown;
    const char *text = ds_show(&shown, word.at, word.size);
    const char *nearest = ds_nearest(text, names);
    for (size_t i = 0; i < DS_COUNT(habits); i++) {
        if (ds_span_same_word(word, habits[i].word)) {
            ds_error_set(error, DSYNC_CONFIG, "URL has the unknown scheme \"%s\" (%s): use " DS_SCHEME_LIST, text,
                         habits[i].hint);
            return false;
        }
    }
    if (nearest != NULL) {
        ds_error_set(error, DSYNC_CONFIG,
                     "URL has the unknown scheme \"%s\" (did you mean \"%s\"?): use " DS_SCHEME_LIST, text, nearest);
    } else {
        ds_error_set(error, DSYNC_CONFIG, "URL has the unknown scheme \"%s\": use " DS_SCHEME_LIST, text);
    }
    return false;
}

const ds_scheme_info *ds_scheme_take(ds_span *text, dsync_error *error) {
    const char *colon = text->size > 0 ? memchr(text->at, ':', text->size) : NULL;
    ds_span word = {text->at, colon != NULL ? (size_t)(colon - text->at) : 0};
    ds_span rest = colon != NULL ? ds_span_behind(*text, word.size + 1) : *text;
    const ds_scheme_info *info = find_scheme(word);
    if (info != NULL) {
        *text = rest;
        return info;
    }
    if (!ds_span_check_characters(*text, "URL", false, error) || !ds_span_check_credentials(*text, "URL", error)) {
        return NULL;
    }
    bool is_scheme =
        is_scheme_word(word) && (ds_span_begins(rest, "//") || rest.size == 0 || rest.at[0] < '0' || rest.at[0] > '9');
    if (is_scheme) {
        refuse_scheme(word, error);
    } else {
        refuse_without_scheme(*text, error);
    }
    return NULL;
}
