/* session_users.c: who hangs on a session, and how they are told. */
#include "session_parts.h"

/* Tells every user there is now. They may come and go meanwhile, and the session may even be lost: it is only not
 * freed. */
void ds_session_tell(ds_session *session, ds_session_news what) {
    size_t count = 0;
    for (ds_list *link = session->users.next; link != &session->users; link = link->next) {
        count++;
    }
    session->busy++;
    while (count-- > 0 && !ds_list_empty(&session->users) && ds_session_usable(session)) {
        ds_session_user *user = ds_session_user_of(session->users.next);
        ds_list_remove(&user->node);
        ds_list_append(&session->users, &user->node);
        switch (what) {
        case DS_TELL_READY:
            user->ready(user);
            break;
        case DS_TELL_RENEWED:
            user->renewed(user);
            break;
        case DS_TELL_SUSPECT:
        case DS_TELL_RECOVERED:
            user->suspect(user, what == DS_TELL_SUSPECT);
            break;
        }
    }
    session->busy--;
}

void ds_session_leave(ds_session_user *user) {
    ds_session_unhint(user);
    ds_list_remove(&user->node);
    user->session = NULL;
}

void ds_session_detach(ds_session_user *user) {
    ds_session *session = user->session;
    if (session == NULL) {
        return;
    }
    ds_session_leave(user);
    ds_session_sweep(session);
}

/* Nobody believes in it any more, before anybody is told and before anything is sent. */
void ds_session_doom(ds_session *session, dsync_reason reason) {
    for (ds_list *link = session->users.next; link != &session->users; link = link->next) {
        ds_session_user_of(link)->doomed(ds_session_user_of(link), reason);
    }
}

/* Takes every user off and tells it; none can be told twice. */
void ds_session_dismiss(ds_session *session, dsync_reason reason, dsync_code code, const char *message) {
    ds_list round;
    ds_list_init(&round);
    ds_list_splice(&round, &session->users);
    ds_list *link;
    while ((link = ds_list_pop(&round)) != NULL) {
        ds_session_user *user = ds_session_user_of(link);
        ds_session_leave(user);
        if (code != DSYNC_OK) {
            user->failed(user, code, message);
        } else {
            user->lost(user, reason);
        }
    }
}
