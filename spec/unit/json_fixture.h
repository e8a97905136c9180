/* json_fixture.h: JSON to be read in tests. */
#ifndef DS_TEST_JSON_FIXTURE_H
#define DS_TEST_JSON_FIXTURE_H

#include "test.h"

#include "../../csrc/base/json.h"

#include <stdlib.h>

static const ds_json_limits limits = {.depth = 8, .tokens = 1000};

/* A heap copy of exactly the bytes, so that reading past them is seen. */
TEST_UNUSED static ds_json *parse_sized(const char *text, size_t size, bool *no_memory, const char **why) {
    char *exact = malloc(size > 0 ? size : 1);
    if (exact == NULL) {
        return NULL;
    }
    memcpy(exact, text, size);
    ds_json *json = ds_json_parse(exact, size, &limits, no_memory, why);
    free(exact);
    return json;
}

TEST_UNUSED static ds_json *parse(const char *text) {
    return parse_sized(text, strlen(text), NULL, NULL);
}

#endif
