/* session_parts.h: what the files of a session share (internal to session*.c): session.c its beginning and end,
 * session_renew.c its tries and deadlines, session_users.c who is told, session_watch.c what is begun a moment late.
 */
#ifndef DS_SESSION_PARTS_H
#define DS_SESSION_PARTS_H

#include "session.h"

typedef enum ds_session_news { DS_TELL_READY, DS_TELL_RENEWED, DS_TELL_SUSPECT, DS_TELL_RECOVERED } ds_session_news;

static inline ds_session_user *ds_session_user_of(ds_list *node) {
    return DS_LIST_ENTRY(node, ds_session_user, node);
}

/* session.c */
void ds_session_move(ds_session *session, ds_session_state to, const char *why); /* the traced setter */
void ds_session_stop(ds_session *session);                                       /* no call, watch or timer remains */
void ds_session_begin_close(ds_session *session, const char *why);
void ds_session_closed(ds_call *call, const ds_reply *reply);
void ds_session_finish(ds_session *session, const char *why); /* CLOSED; may free it */

/* session_renew.c */
void ds_session_begin_try(ds_session *session); /* the call that the state asks for */
void ds_session_try_again(ds_timer *timer);
void ds_session_deadline_fired(ds_timer *timer);
void ds_session_doubt(ds_session *session, const char *why); /* suspect before its time, and renewed at once */

/* session_users.c */
void ds_session_tell(ds_session *session, ds_session_news news);
void ds_session_doom(ds_session *session, dsync_reason reason);
void ds_session_dismiss(ds_session *session, dsync_reason reason, dsync_code code, const char *message);
void ds_session_leave(ds_session_user *user); /* detached, and the session is not swept */

/* session_watch.c */
void ds_session_watch_key(ds_session *session);
void ds_session_fire_hints(ds_timer *timer);

#endif
