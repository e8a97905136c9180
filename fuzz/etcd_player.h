/* etcd_player.h: bytes that play an etcd server: each request is answered well, badly, by half, late or never, and so
 * is what comes on a watch stream.
 */
#ifndef FUZZ_ETCD_PLAYER_H
#define FUZZ_ETCD_PLAYER_H

#include "fuzz.h"

#include "../spec/unit/fake_world.h"

/* Serves `u` as `in` chooses; the nonces are those of entries that it may speak of. All must live as long as `u`
 * does. */
void etcd_player_begin(fz *in, fw *u, const char *first_nonce, const char *second_nonce);
/* Says something on a stream that is open: a line, noise, or a line in two pieces. */
void etcd_player_stream(fw_request *request);

#endif
