/* json.c: parsing through the strict scan and cJSON, and getters that never coerce. Writing is json_print.c's. */
#include "json_scan.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define PAIRWISE_MAX 8 /* up to so many keys are compared each with each, more are sorted */

#ifdef DS_TEST_ALLOC
#include <pthread.h>

/* cJSON's hooks belong to the whole process and may be the host's; ds_malloc is malloc, so only a build that makes
 * allocations fail has a reason to set them. */
static void set_hooks(void) {
    cJSON_Hooks hooks = {ds_malloc, ds_free};
    cJSON_InitHooks(&hooks);
}

static void prepare_cjson(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, set_hooks);
}
#else
static inline void prepare_cjson(void) {
}
#endif

/* ---- duplicate keys ---------------------------------------------------------------------------------------------- */

typedef enum verdict { FINE, DUPLICATE, NO_MEMORY } verdict;

static int compare_keys(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static verdict sorted_keys(const cJSON *object, size_t count) {
    const char **keys = ds_calloc(count, sizeof(*keys));
    if (keys == NULL) {
        return NO_MEMORY;
    }
    size_t at = 0;
    for (const cJSON *item = object->child; item != NULL; item = item->next) {
        keys[at++] = item->string;
    }
    qsort(keys, count, sizeof(*keys), compare_keys);
    verdict result = FINE;
    for (size_t i = 1; i < count && result == FINE; i++) {
        result = strcmp(keys[i - 1], keys[i]) == 0 ? DUPLICATE : FINE;
    }
    ds_free(keys);
    return result;
}

static verdict own_keys(const cJSON *object) {
    size_t count = 0;
    for (const cJSON *item = object->child; item != NULL; item = item->next) {
        count++;
    }
    if (count > PAIRWISE_MAX) {
        return sorted_keys(object, count);
    }
    for (const cJSON *item = object->child; item != NULL; item = item->next) {
        for (const cJSON *other = item->next; other != NULL; other = other->next) {
            if (strcmp(item->string, other->string) == 0) {
                return DUPLICATE;
            }
        }
    }
    return FINE;
}

/* Recursion is as deep as the scan allowed. */
static verdict all_keys(const cJSON *json) {
    verdict result = cJSON_IsObject(json) ? own_keys(json) : FINE;
    for (const cJSON *item = json->child; item != NULL && result == FINE; item = item->next) {
        result = all_keys(item);
    }
    return result;
}

/* ---- parsing ----------------------------------------------------------------------------------------------------- */

static ds_json *fail(ds_json *json, bool *no_memory, bool memory, const char **why, const char *reason) {
    cJSON_Delete(json);
    if (no_memory != NULL) {
        *no_memory = memory;
    }
    if (why != NULL) {
        *why = memory ? "out of memory" : reason;
    }
    return NULL;
}

ds_json *ds_json_parse(const char *text, size_t size, const ds_json_limits *limits, bool *no_memory, const char **why) {
    prepare_cjson();
    ds_buf copy = DS_BUF_EMPTY;
    const char *reason = ds_json_scan(&copy, text, size, limits);
    if (reason != NULL || copy.failed) {
        bool memory = reason == NULL;
        ds_buf_free(&copy);
        return fail(NULL, no_memory, memory, why, reason);
    }
    cJSON *json = cJSON_Parse(copy.data);
    ds_buf_free(&copy);
    if (json == NULL) {
        return fail(NULL, no_memory, true, why, NULL); /* the scan has vouched for everything else */
    }
    verdict keys = all_keys(json);
    if (keys != FINE) {
        return fail(json, no_memory, keys == NO_MEMORY, why, "duplicate key");
    }
    if (no_memory != NULL) {
        *no_memory = false;
    }
    if (why != NULL) {
        *why = NULL;
    }
    return json;
}

void ds_json_free(ds_json *json) {
    cJSON_Delete(json);
}

/* ---- getters ----------------------------------------------------------------------------------------------------- */

const ds_json *ds_json_member(const ds_json *object, const char *name) {
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
}

const ds_json *ds_json_object(const ds_json *object, const char *name) {
    const ds_json *member = ds_json_member(object, name);
    return cJSON_IsObject(member) ? member : NULL;
}

const ds_json *ds_json_array(const ds_json *object, const char *name) {
    const ds_json *member = ds_json_member(object, name);
    return cJSON_IsArray(member) ? member : NULL;
}

bool ds_json_is_object(const ds_json *json) {
    return cJSON_IsObject(json);
}

bool ds_json_is_text(const ds_json *json) {
    return ds_json_value_text(json) != NULL;
}

const char *ds_json_value_text(const ds_json *json) {
    if (!cJSON_IsString(json) || json->valuestring[0] == DS_JSON_NUMBER_MARK) {
        return NULL;
    }
    return json->valuestring + (json->valuestring[0] == DS_JSON_STRING_MARK ? 1 : 0);
}

const char *ds_json_value_number(const ds_json *json) {
    bool is_number = cJSON_IsString(json) && json->valuestring[0] == DS_JSON_NUMBER_MARK;
    return is_number ? json->valuestring + 1 : NULL;
}

const char *ds_json_text(const ds_json *object, const char *name) {
    return ds_json_value_text(ds_json_member(object, name));
}

bool ds_json_bool(const ds_json *object, const char *name, bool absent) {
    const ds_json *member = ds_json_member(object, name);
    return cJSON_IsBool(member) ? (bool)cJSON_IsTrue(member) : absent;
}

const ds_json *ds_json_first(const ds_json *array) {
    return array != NULL ? array->child : NULL;
}

const ds_json *ds_json_next(const ds_json *item) {
    return item != NULL ? item->next : NULL;
}

const char *ds_json_name(const ds_json *member) {
    return member != NULL ? member->string : NULL;
}

/* ---- integers ---------------------------------------------------------------------------------------------------- */

bool ds_parse_uint64(const char *text, size_t length, uint64_t *out) {
    if (length == 0 || (length > 1 && text[0] == '0')) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool ds_parse_int64(const char *text, size_t length, int64_t *out) {
    uint64_t size = 0;
    if (length == 0 || text[0] != '-') {
        if (!ds_parse_uint64(text, length, &size) || size > INT64_MAX) {
            return false;
        }
        *out = (int64_t)size;
        return true;
    }
    if (!ds_parse_uint64(text + 1, length - 1, &size) || size == 0 || size > (uint64_t)INT64_MAX + 1) {
        return false;
    }
    *out = -(int64_t)(size - 1) - 1;
    return true;
}

/* The digits of a member that is a number or a string. */
static const char *digits_of(const ds_json *object, const char *name) {
    const ds_json *member = ds_json_member(object, name);
    const char *number = ds_json_value_number(member);
    return number != NULL ? number : ds_json_value_text(member);
}

bool ds_json_int64(const ds_json *object, const char *name, int64_t *out) {
    const char *text = digits_of(object, name);
    return text != NULL && ds_parse_int64(text, strlen(text), out);
}

bool ds_json_uint64(const ds_json *object, const char *name, uint64_t *out) {
    const char *text = digits_of(object, name);
    return text != NULL && ds_parse_uint64(text, strlen(text), out);
}
