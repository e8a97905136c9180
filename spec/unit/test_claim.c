/* Whether a lock is held is computed from the state, three deadlines and the clock. */
#include "test.h"

#include "../../csrc/core/claim.h"

#define I DS_CLAIM_IDLE
#define E DS_CLAIM_ENTERING
#define W DS_CLAIM_WAITING
#define D DS_CLAIM_DELAYED
#define H DS_CLAIM_HELD
#define R DS_CLAIM_RELEASING
#define L DS_CLAIM_LOST

TEST(only_these_moves_are_legal) {
    static const ds_claim_state moves[][2] = {{I, E}, {E, W}, {E, D}, {E, H}, {E, I}, {W, E}, {W, D},
                                              {W, H}, {W, I}, {D, E}, {D, W}, {D, H}, {D, I}, {H, R},
                                              {H, L}, {R, I}, {R, E}, {L, E}, {L, I}};
    unsigned legal = 0;
    for (int from = 0; from < DS_CLAIM_STATES; from++) {
        for (int to = 0; to < DS_CLAIM_STATES; to++) {
            bool expected = false;
            for (size_t i = 0; i < DS_COUNT(moves); i++) {
                expected = expected || (moves[i][0] == (ds_claim_state)from && moves[i][1] == (ds_claim_state)to);
            }
            test_case("%s to %s", ds_claim_state_name((ds_claim_state)from), ds_claim_state_name((ds_claim_state)to));
            CHECK_EQ_INT(ds_claim_may_move((ds_claim_state)from, (ds_claim_state)to), expected);
            legal += expected;
        }
    }
    CHECK_EQ_UINT(legal, DS_COUNT(moves));
}

TEST(lost_is_final_for_an_acquisition) {
    CHECK(!ds_claim_may_move(L, H));
    CHECK(!ds_claim_may_move(R, H));
    CHECK(!ds_claim_may_move(I, H));
}

TEST(names_its_states) {
    static const char *const names[] = {"idle", "entering", "waiting", "lock-delay", "held", "releasing", "lost"};
    for (int i = 0; i < DS_CLAIM_STATES; i++) {
        CHECK_EQ_TEXT(ds_claim_state_name((ds_claim_state)i), names[i]);
    }
}

TEST(begins_as_nobodys) {
    ds_claim claim;
    ds_claim_init(&claim);
    CHECK_EQ_INT(ds_claim_get(&claim), I);
    CHECK_EQ_INT(ds_claim_left(&claim, 0, 0), 0);
    CHECK_EQ_INT(atomic_load(&claim.reason), DSYNC_NOT_LOST);
    CHECK_EQ_INT(atomic_load(&claim.hold_until_ns), DS_NEVER);
    CHECK(ds_claim_move(&claim, I)); /* staying is no move */
}

TEST(left_is_the_shortest_of_all_limits) {
    static const struct {
        ds_claim_state state;
        int64_t deadline, wall_deadline, hold, now, wall, left;
    } rows[] = {
        {H, 100, 100, DS_NEVER, 40, 50, 60},  {H, 100, 100, DS_NEVER, 99, 99, 1},
        {H, 100, 100, DS_NEVER, 100, 50, 0},                                 /* at the deadline it is over */
        {H, 100, 100, DS_NEVER, 101, 50, 0},  {H, 100, 100, 70, 40, 50, 30}, /* the user's limit */
        {H, 100, 100, 70, 70, 50, 0},         {H, 100, 100, 200, 40, 50, 60},
        {H, 100, 100, DS_NEVER, 40, 100, 0}, /* the calendar only shortens */
        {H, 100, 100, DS_NEVER, 40, 1000, 0}, {H, 100, 100, DS_NEVER, 40, -5, 60},
        {H, 100, 100, DS_NEVER, -1, 50, 0}, /* the clock failed */
        {H, 100, 100, DS_NEVER, 0, 50, 100},  {I, 100, 100, DS_NEVER, 40, 50, 0},
        {E, 100, 100, DS_NEVER, 40, 50, 0},   {W, 100, 100, DS_NEVER, 40, 50, 0},
        {D, 100, 100, DS_NEVER, 40, 50, 0},   {R, 100, 100, DS_NEVER, 40, 50, 0},
        {L, 100, 100, DS_NEVER, 40, 50, 0},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        ds_claim claim;
        ds_claim_init(&claim);
        test_case("row %zu", i);
        atomic_store(&claim.state, (int)rows[i].state);
        atomic_store(&claim.deadline_ns, rows[i].deadline);
        atomic_store(&claim.wall_deadline_ms, rows[i].wall_deadline);
        atomic_store(&claim.hold_until_ns, rows[i].hold);
        CHECK_EQ_INT(ds_claim_left(&claim, rows[i].now, rows[i].wall), rows[i].left);
    }
}

/* Held means: the state says so, the clock works, and neither the lease, nor the user's limit, nor the calendar is
 * over. Every combination of these. */
TEST(held_needs_all_of_its_conditions) {
    enum { CLOCK = 1, LEASE = 2, LIMIT = 4, CALENDAR = 8, ALL = 15 };
    for (int state = 0; state < DS_CLAIM_STATES; state++) {
        for (int fine = 0; fine <= ALL; fine++) {
            ds_claim claim;
            ds_claim_init(&claim);
            atomic_store(&claim.state, state);
            atomic_store(&claim.deadline_ns, (fine & LEASE) != 0 ? 1001 : 1000);
            atomic_store(&claim.hold_until_ns, (fine & LIMIT) != 0 ? 1002 : 999);
            atomic_store(&claim.wall_deadline_ms, (fine & CALENDAR) != 0 ? 51 : 50);
            test_case("%s, conditions %x", ds_claim_state_name((ds_claim_state)state), (unsigned)fine);
            int64_t left = ds_claim_left(&claim, (fine & CLOCK) != 0 ? 1000 : -1, 50);
            CHECK_EQ_INT(left, state == H && fine == ALL ? 1 : 0);
        }
    }
}
