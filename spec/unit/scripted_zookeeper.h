/* scripted_zookeeper.h: a ZooKeeper client library without a server: what the backend hands over is kept, and the test
 * says what is answered, what is heard, and when sessions connect.
 *
 * Sessions are 1, 2, ... in the order in which they were opened, and their ids are these numbers. Requests of a session
 * are answered in their order, as by a server. One library per program at a time: sz_begin forgets the one before.
 *
 * Ends the program when the backend breaks a rule of zookeeper_seam.h: a request over a connection that is not there, a
 * session closed twice.
 */
#ifndef SCRIPTED_ZOOKEEPER_H
#define SCRIPTED_ZOOKEEPER_H

#include "backend/zookeeper_seam.h"

extern const ds_zk_driver sz_driver;

void sz_begin(void);
void sz_connect(size_t session); /* for the first time or again; the requests without an answer were ended before */
void sz_lose(size_t session);    /* the connection: the state is told, then all requests end with DS_ZK_LOSS */
/* The oldest request without an answer: "create /a/b", with " (watch)" where it sets one; "" when there is none. */
const char *sz_oldest(size_t session);
/* Answers it. */
void sz_answer(size_t session, const ds_zk_answer *answer);
void sz_code(size_t session, ds_zk_code code);
void sz_change(size_t session, ds_zk_change change, const char *path); /* of a watched node */
size_t sz_opened(void);                                                /* so many sessions */

#endif
