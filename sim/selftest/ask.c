/* ask.c: asks a model directly what a test asks a real server, so that the answers can be compared. Reads lines
 * "METHOD TARGET BODY" and answers each with a line "STATUS BODY", one line for each header, and a line "--".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../model.h"

static void answer(sim *s, sim_host *host, char *line) {
    char *target = strchr(line, ' '), *body = target != NULL ? strchr(target + 1, ' ') : NULL;
    if (body == NULL) {
        fputs("ask: not a request\n", stderr);
        exit(1);
    }
    *target++ = '\0';
    *body++ = '\0';
    sim_extra extra = {DS_BUF_EMPTY, 0};
    ds_buf out = DS_BUF_EMPTY;
    sim_question question = {
        .host = host, .method = line, .target = target, .body = body, .body_size = strlen(body), .extra = &extra};
    int status = s->model->ask(s->servers, &question, &out);
    printf("%d %s\n%s--\n", status, out.size > 0 ? out.data : "", extra.headers.size > 0 ? extra.headers.data : "");
    (void)fflush(stdout);
    ds_buf_free(&out);
    ds_buf_free(&extra.headers);
}

int main(void) {
    static sim_counts counts;
    sim *s = sim_new(1, &sim_model_consul, &counts, false);
    sim_host *host = sim_host_new(s);
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    s->calm = true;
    while ((size = getline(&line, &room, stdin)) > 0) {
        line[size - 1] = '\0';
        answer(s, host, line);
    }
    free(line);
    return 0;
}
