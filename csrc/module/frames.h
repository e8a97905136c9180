/* frames.h: what libzookeeper reads from a connection, looked at before the library sees it. */
#ifndef DS_ZOOKEEPER_FRAMES_H
#define DS_ZOOKEEPER_FRAMES_H

#include <stdbool.h>
#include <stddef.h>

/* The stream of one session's present connection. Zeroed: not connected yet. */
typedef struct zk_frames {
    unsigned asked; /* requests without an answer: the session's to count */
    bool ending;    /* being closed: a failure to send is to be told */
    bool greeted;
    size_t greeting; /* its bytes that are still to come; 0: none was asked for yet */
    size_t at;       /* so much of the present frame has come, with its length */
    unsigned char head[8];
} zk_frames;

/* Whose connections this thread makes and reads from now on, or NULL. Returns who it was. */
zk_frames *zk_frames_begin(zk_frames *frames);
void zk_frames_answered(void); /* one of its requests was, or never will be */

#endif
