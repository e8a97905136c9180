/* host.c: hosts and ports. Resolves nothing: what a name means is the network's business. */
#include "host.h"
#include "../base/error.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define HOST_MAX 253 /* of a DNS name */

typedef struct parts {
    const char *host; /* without brackets */
    size_t host_size;
    const char *port; /* NULL: none given */
    size_t port_size;
    bool bracketed;
} parts;

static bool refuse(dsync_error *error, const char *where, const char *text, size_t length, const char *problem) {
    ds_shown shown;
    ds_error_set(error, DSYNC_CONFIG, "%s: \"%s\" %s", where, ds_show(&shown, text, length), problem);
    return false;
}

/* Splits, or returns what is wrong. */
static const char *split(const char *text, size_t length, parts *out) {
    *out = (parts){text, length, NULL, 0, false};
    const char *rest = text;
    if (length > 0 && text[0] == '[') {
        const char *close = memchr(text, ']', length);
        if (close == NULL) {
            return "has no closing \"]\": write an IPv6 address as [::1]:2379";
        }
        out->bracketed = true;
        out->host = text + 1;
        out->host_size = (size_t)(close - out->host);
        rest = close + 1;
    } else {
        const char *colon = length > 0 ? memchr(text, ':', length) : NULL;
        rest = colon != NULL ? colon : text + length;
        out->host_size = (size_t)(rest - text);
    }
    size_t left = length - (size_t)(rest - text);
    if (left == 0) {
        return NULL;
    }
    if (rest[0] != ':') {
        return "has something other than \":port\" behind the \"]\": write [address]:port";
    }
    if (memchr(rest + 1, ':', left - 1) != NULL) {
        return out->bracketed ? "has more than one port: write [address]:port"
                              : "has more than one \":\": write an IPv6 address in brackets, as [::1]:2379";
    }
    out->port = rest + 1;
    out->port_size = left - 1;
    return NULL;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* 1-65535, or 0. */
static unsigned port_number(const char *text, size_t length) {
    unsigned number = 0;
    for (size_t i = 0; i < length; i++) {
        if (!is_digit(text[i]) || number > 65535) {
            return 0;
        }
        number = number * 10 + (unsigned)(text[i] - '0');
    }
    return number <= 65535 ? number : 0;
}

static bool copy_host(const parts *p, char out[HOST_MAX + 1]) {
    if (p->host_size > HOST_MAX) {
        return false;
    }
    for (size_t i = 0; i < p->host_size; i++) {
        out[i] = lower(p->host[i]);
    }
    out[p->host_size] = '\0';
    return true;
}

/* What is wrong with a name or IPv4 address, or NULL. */
static const char *check_name(const char *host) {
    bool numeric = true;
    char before = '.';
    for (const char *c = host; *c != '\0'; before = *c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || *c == '_';
        if ((unsigned char)*c >= 0x80) {
            return "has a host with characters outside ASCII: write the name in its xn-- form";
        }
        if (!letter && !is_digit(*c) && *c != '-' && *c != '.') {
            return "has a host with a character that is none of letters, digits, \"-\", \"_\" and \".\"";
        }
        if (*c == '.' && before == '.') {
            return "has a host with an empty part: write one \".\" between parts";
        }
        numeric = numeric && !letter && *c != '-';
    }
    struct in_addr address;
    if (numeric && inet_pton(AF_INET, host, &address) != 1) {
        return "has a host of digits that is no IPv4 address: write four numbers from 0 to 255, as 10.0.0.1";
    }
    return NULL;
}

static const char *add_address(ds_buf *out, const char *host, bool bracketed) {
    if (!bracketed) {
        const char *problem = check_name(host);
        ds_buf_add_text(out, problem == NULL ? host : "");
        return problem;
    }
    struct in6_addr address;
    char text[INET6_ADDRSTRLEN];
    if (inet_pton(AF_INET6, host, &address) != 1 || inet_ntop(AF_INET6, &address, text, sizeof(text)) == NULL) {
        return "has no IPv6 address between the brackets: write it as [::1]:2379, without a zone";
    }
    ds_buf_add_char(out, '[');
    ds_buf_add_text(out, text);
    ds_buf_add_char(out, ']');
    return NULL;
}

bool ds_host_add(ds_buf *out, const char *text, size_t length, unsigned default_port, const char *where,
                 dsync_error *error) {
    parts p;
    char host[HOST_MAX + 1];
    if (length == 0) {
        ds_error_set(error, DSYNC_CONFIG, "%s: a host is empty: write host:port, several with one \",\" between them",
                     where);
        return false;
    }
    const char *problem = split(text, length, &p);
    if (problem == NULL && p.host_size == 0) {
        problem = "has no host before the \":\"";
    } else if (problem == NULL && !copy_host(&p, host)) {
        problem = "has a host longer than 253 characters";
    }
    unsigned port = default_port;
    if (problem == NULL && p.port != NULL) {
        port = port_number(p.port, p.port_size);
        problem = port == 0 ? "has a port that is no number from 1 to 65535" : NULL;
    }
    if (problem == NULL) {
        problem = add_address(out, host, p.bracketed);
    }
    if (problem != NULL) {
        return refuse(error, where, text, length, problem);
    }
    ds_buf_add_char(out, ':');
    ds_buf_add_int(out, port);
    return true;
}

bool ds_host_is_loopback(const char *text, size_t length) {
    parts p;
    char host[HOST_MAX + 1];
    if (split(text, length, &p) != NULL || !copy_host(&p, host)) {
        return false;
    }
    if (p.port != NULL && port_number(p.port, p.port_size) == 0) {
        return false;
    }
    if (p.bracketed) {
        struct in6_addr address;
        return inet_pton(AF_INET6, host, &address) == 1 && IN6_IS_ADDR_LOOPBACK(&address);
    }
    struct in_addr address;
    if (inet_pton(AF_INET, host, &address) == 1) {
        return ntohl(address.s_addr) >> 24 == 127;
    }
    return strcmp(host, "localhost") == 0;
}
