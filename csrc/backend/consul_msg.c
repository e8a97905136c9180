/* consul_msg.c: transactions as JSON, and what comes back. No number passes through a double: a lock's flags would not
 * survive it.
 */
#include "consul_msg.h"

#include <inttypes.h>
#include <string.h>

#define DEPTH_MAX 16
#define KEPT_VALUES ((size_t)16 * 1024) /* a larger buffer is given back */

/* ---- questions --------------------------------------------------------------------------------------------------- */

void ds_consul_txn_begin(ds_consul_txn *txn) {
    ds_buf_clear(&txn->body);
    ds_buf_add_char(&txn->body, '[');
    txn->count = txn->results = 0;
}

void ds_consul_txn_end(ds_consul_txn *txn) {
    ds_buf_add_char(&txn->body, ']');
}

static void begin_op(ds_consul_txn *txn, const char *verb, const char *key, unsigned results) {
    ds_buf *body = &txn->body;
    ds_buf_add_text(body, txn->count > 0 ? ",{\"KV\":{\"Verb\":\"" : "{\"KV\":{\"Verb\":\"");
    ds_buf_add_text(body, verb);
    ds_buf_add_text(body, "\",\"Key\":");
    ds_json_add_text(body, key, strlen(key));
    txn->count++;
    txn->results += results;
}

static void end_op(ds_consul_txn *txn) {
    ds_buf_add_text(&txn->body, "}}");
}

static void add_value(ds_buf *body, const char *value, size_t size) {
    ds_buf_add_text(body, ",\"Value\":\"");
    ds_buf_add_base64(body, value, size);
    ds_buf_add_char(body, '"');
}

static void add_session(ds_buf *body, const char *session) {
    ds_buf_add_text(body, ",\"Session\":");
    ds_json_add_text(body, session, strlen(session));
}

void ds_consul_if_index(ds_consul_txn *txn, const char *key, int64_t modified) {
    begin_op(txn, "check-index", key, 1);
    ds_buf_add_format(&txn->body, ",\"Index\":%" PRId64, modified);
    end_op(txn);
}

void ds_consul_if_session(ds_consul_txn *txn, const char *key, const char *session) {
    begin_op(txn, "check-session", key, 1);
    add_session(&txn->body, session);
    end_op(txn);
}

void ds_consul_if_absent(ds_consul_txn *txn, const char *key) {
    begin_op(txn, "check-not-exists", key, 0);
    end_op(txn);
}

void ds_consul_set(ds_consul_txn *txn, const char *key, const char *value, size_t size) {
    begin_op(txn, "set", key, 1);
    add_value(&txn->body, value, size);
    end_op(txn);
}

void ds_consul_lock(ds_consul_txn *txn, const char *key, const char *value, size_t size, uint64_t flags,
                    const char *session) {
    begin_op(txn, "lock", key, 1);
    add_value(&txn->body, value, size);
    ds_buf_add_format(&txn->body, ",\"Flags\":%" PRIu64, flags);
    add_session(&txn->body, session);
    end_op(txn);
}

void ds_consul_delete(ds_consul_txn *txn, const char *key) {
    begin_op(txn, "delete", key, 0);
    end_op(txn);
}

void ds_consul_delete_if(ds_consul_txn *txn, const char *key, int64_t modified) {
    begin_op(txn, "delete-cas", key, 0);
    ds_buf_add_format(&txn->body, ",\"Index\":%" PRId64, modified);
    end_op(txn);
}

void ds_consul_get(ds_consul_txn *txn, const char *key) {
    begin_op(txn, "get", key, 1);
    end_op(txn);
}

void ds_consul_tree(ds_consul_txn *txn, const char *begin) {
    begin_op(txn, "get-tree", begin, 0);
    end_op(txn);
}

/* Times are strings: as numbers, other clients of a session would read them otherwise. Both spellings of "no checks"
 * are needed, because servers before 1.7 know only the older one, and a check that is left out means the node's own. */
void ds_consul_session_body(ds_buf *out, const char *name, int64_t ttl_ms, int64_t lock_delay_ms, const char *checks) {
    ds_buf_add_text(out, "{\"Name\":");
    ds_json_add_text(out, name, strlen(name));
    ds_buf_add_format(out, ",\"TTL\":\"%" PRId64 "ms\",\"LockDelay\":\"%" PRId64 "ms\",\"Behavior\":\"delete\"", ttl_ms,
                      lock_delay_ms);
    ds_buf_add_format(out, ",\"Checks\":%s,\"NodeChecks\":%s}", checks, checks);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

void ds_consul_answer_clear(ds_consul_answer *answer) {
    ds_json_free(answer->json);
    answer->json = NULL;
    if (answer->values.capacity > KEPT_VALUES) {
        ds_buf_free(&answer->values);
    } else {
        ds_buf_clear(&answer->values);
    }
    answer->count = 0;
    answer->failed = answer->delayed = 0;
    answer->session_invalid = false;
    answer->denied = answer->why = NULL;
}

void ds_consul_answer_free(ds_consul_answer *answer) {
    ds_consul_answer_clear(answer);
    ds_buf_free(&answer->values);
    ds_free(answer->pairs);
    answer->pairs = NULL;
    answer->capacity = 0;
}

ds_consul_decoded ds_consul_decode(ds_consul_answer *answer, const char *text, size_t size) {
    ds_json_limits limits = {DEPTH_MAX, size / 2 + 16};
    bool no_memory = false;
    ds_consul_answer_clear(answer);
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r')) {
        size--;
    }
    answer->json = size > 0 ? ds_json_parse(text, size, &limits, &no_memory, NULL) : NULL;
    if (answer->json != NULL) {
        return DS_CONSUL_DECODED;
    }
    return no_memory ? DS_CONSUL_NO_MEMORY : DS_CONSUL_MALFORMED;
}

static ds_consul_pair *add_pair(ds_consul_answer *answer) {
    if (answer->count == answer->capacity) {
        size_t capacity = answer->capacity == 0 ? 8 : answer->capacity * 2;
        ds_consul_pair *grown = ds_realloc(answer->pairs, capacity * sizeof(*grown));
        if (grown == NULL) {
            return NULL;
        }
        answer->pairs = grown;
        answer->capacity = capacity;
    }
    ds_consul_pair *pair = &answer->pairs[answer->count++];
    memset(pair, 0, sizeof(*pair));
    return pair;
}

/* The decoded value goes to the end of `values`; where that begins is kept as a size until all of it is there. */
static ds_consul_decoded read_value(ds_consul_answer *answer, const ds_json *object, ds_consul_pair *pair,
                                    ds_buf *scratch) {
    const char *text = ds_json_text(object, "Value");
    if (text != NULL && !ds_base64_decode(text, strlen(text), scratch)) {
        return scratch->failed ? DS_CONSUL_NO_MEMORY : DS_CONSUL_MALFORMED;
    }
    if (text != NULL) {
        ds_buf_add(&answer->values, scratch->data, scratch->size);
        pair->value_size = scratch->size;
    }
    ds_buf_add_char(&answer->values, '\0');
    return answer->values.failed ? DS_CONSUL_NO_MEMORY : DS_CONSUL_DECODED;
}

static ds_consul_decoded read_pair(ds_consul_answer *answer, const ds_json *object, ds_buf *scratch) {
    ds_consul_pair *pair = add_pair(answer);
    if (pair == NULL) {
        return DS_CONSUL_NO_MEMORY;
    }
    pair->key = ds_json_text(object, "Key");
    pair->session = ds_json_text(object, "Session");
    if (pair->session == NULL) {
        pair->session = "";
    }
    bool whole = pair->key != NULL && ds_json_int64(object, "CreateIndex", &pair->created) &&
                 ds_json_int64(object, "ModifyIndex", &pair->modified) && ds_json_uint64(object, "Flags", &pair->flags);
    return whole ? read_value(answer, object, pair, scratch) : DS_CONSUL_MALFORMED;
}

/* `wrapped`: each in an object of its own, as a transaction answers. */
static ds_consul_decoded read_pairs(ds_consul_answer *answer, const ds_json *array, bool wrapped) {
    ds_buf scratch = DS_BUF_EMPTY;
    ds_consul_decoded result = DS_CONSUL_DECODED;
    for (const ds_json *item = ds_json_first(array); item != NULL && result == DS_CONSUL_DECODED;
         item = ds_json_next(item)) {
        const ds_json *object = wrapped ? ds_json_object(item, "KV") : item;
        result =
            object != NULL && ds_json_is_object(object) ? read_pair(answer, object, &scratch) : DS_CONSUL_MALFORMED;
    }
    ds_buf_free(&scratch);
    const char *at = answer->values.data;
    for (size_t i = 0; i < answer->count && result == DS_CONSUL_DECODED; i++) {
        answer->pairs[i].value = at;
        at += answer->pairs[i].value_size + 1;
    }
    return result;
}

static bool begins(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static bool is_denial(const char *text) {
    return strstr(text, "Permission denied") != NULL || strstr(text, "ACL not found") != NULL;
}

static ds_consul_decoded read_errors(ds_consul_answer *answer, const ds_json *array) {
    for (const ds_json *item = ds_json_first(array); item != NULL; item = ds_json_next(item)) {
        const char *what = ds_json_text(item, "What");
        uint64_t index;
        if (what == NULL || !ds_json_uint64(item, "OpIndex", &index) || index >= DS_CONSUL_OPS_MAX) {
            return DS_CONSUL_MALFORMED;
        }
        uint64_t bit = UINT64_C(1) << index;
        answer->failed |= bit;
        answer->delayed |= strstr(what, "due to lock delay") != NULL ? bit : 0;
        answer->session_invalid = answer->session_invalid || begins(what, "invalid session");
        answer->denied = answer->denied == NULL && is_denial(what) ? what : answer->denied;
        answer->why = answer->why == NULL ? what : answer->why;
    }
    return DS_CONSUL_DECODED;
}

ds_consul_decoded ds_consul_decode_txn(ds_consul_answer *answer, const char *text, size_t size) {
    ds_consul_decoded result = ds_consul_decode(answer, text, size);
    if (result != DS_CONSUL_DECODED) {
        return result;
    }
    const ds_json *results = ds_json_array(answer->json, "Results");
    const ds_json *errors = ds_json_array(answer->json, "Errors");
    if ((results == NULL) == (errors == NULL)) {
        return DS_CONSUL_MALFORMED; /* one or the other is an array, and never both */
    }
    return results != NULL ? read_pairs(answer, results, true) : read_errors(answer, errors);
}

ds_consul_decoded ds_consul_decode_pairs(ds_consul_answer *answer, const char *text, size_t size) {
    ds_consul_decoded result = ds_consul_decode(answer, text, size);
    return result == DS_CONSUL_DECODED ? read_pairs(answer, answer->json, false) : result;
}

const ds_consul_pair *ds_consul_find(const ds_consul_answer *answer, const char *key) {
    for (size_t i = answer->count; i > 0; i--) {
        if (strcmp(answer->pairs[i - 1].key, key) == 0) {
            return &answer->pairs[i - 1];
        }
    }
    return NULL;
}
