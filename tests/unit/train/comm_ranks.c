/* Several processes over TCP: what each call gives, and what the others hear of one that ends,
 * falls silent, or is somewhere else. */
#include <signal.h>
#include <sys/wait.h>
#include "run_help.h"
#include "train/comm.h"

enum { SIZE = 3, N = 70001 }; /* more than one piece, and not a whole number of them */

static struct comm_place place(int rank, int size) {
    struct comm_place p = {.rank = rank, .size = size, .address = "127.0.0.1"};
    p.port = 20000 + (int)(getpid() % 20000);
    return p;
}

/* Rank's own values; sums of fp32 depend on their order, which these show. */
static float value(int rank, size_t i) {
    return (float)(rank + 1) * 1e7f / (float)(i % 97 + 3) + (float)(i % 7) * 1e-3f;
}

static bool calls(struct comm *c) {
    struct err err = {0};
    float *x = mem_array(N, sizeof *x), part[N / SIZE + 1];
    size_t each = N / SIZE;
    bool ok = true;
    for (size_t i = 0; i < N; i++) x[i] = value(c->rank, i);
    ok &= c->reduce_scatter(c, part, x, each, &err) == 0;
    ok &= c->all_reduce(c, x, N, &err) == 0;
    for (size_t i = 0; i < N; i++) ok &= x[i] == (value(0, i) + value(1, i)) + value(2, i);
    for (size_t i = 0; i < each; i++) ok &= part[i] == x[each * (size_t)c->rank + i];
    double d[2] = {1e-12 * (c->rank + 1), 5};
    ok &= c->all_reduce_double(c, d, 2, &err) == 0 && fabs(d[0] - 6e-12) < 1e-26 && d[1] == 15;
    int32_t own = 100 + c->rank, all[SIZE] = {0};
    ok &= c->all_gather(c, all, &own, sizeof own, &err) == 0;
    for (int r = 0; r < SIZE; r++) ok &= all[r] == 100 + r;
    for (int root = 0; root < SIZE; root++) {
        char text[40];
        snprintf(text, sizeof text, "rank %d speaks", c->rank == root ? root : -1);
        ok &= c->broadcast(c, text, sizeof text, root, &err) == 0;
        ok &= strlen(text) == 13 && text[5] == '0' + root;
    }
    ok &= c->barrier(c, 30, &err) == 0;
    free(x);
    return ok;
}

/* Ranks 1 … as processes of their own that do `other` and end with 0 if it says so. */
static void start(pid_t pids[SIZE], bool (*other)(struct comm *c)) {
    struct comm_place p = place(0, SIZE);
    for (int r = 1; r < SIZE; r++) {
        if ((pids[r] = fork()) != 0) continue;
        struct comm *c = NULL;
        struct err err = {0};
        p.rank = r;
        bool ok = comm_tcp(&c, &p, 30, &err) == 0 && other(c);
        if (c) c->close(c);
        _exit(ok ? 0 : 1);
    }
}

static void finish(const pid_t pids[SIZE]) {
    for (int r = 1; r < SIZE; r++) {
        int status = 0;
        assert_int_equal(waitpid(pids[r], &status, 0), pids[r]);
        if (status != 0) fail_msg("rank %d ended with %d", r, status);
    }
}

static struct comm *first(void) {
    struct comm_place p = place(0, SIZE);
    struct comm *c = NULL;
    struct err err = {0};
    check_ok(comm_tcp(&c, &p, 30, &err), &err);
    return c;
}

static void every_call_of_three_ranks(void **state) {
    pid_t pids[SIZE];
    (void)state;
    start(pids, calls);
    struct comm *c = first();
    assert_true(calls(c));
    c->close(c);
    finish(pids);
}

static bool ends_early(struct comm *c) {
    struct err err = {0};
    float x[4] = {0};
    if (c->rank == 2) return true;
    return c->all_reduce(c, x, 4, &err) == ERR_PEER; /* rank 0 has given up */
}

static void a_rank_that_ended_is_named(void **state) {
    pid_t pids[SIZE];
    struct err err = {0};
    float x[4] = {0};
    (void)state;
    start(pids, ends_early);
    struct comm *c = first();
    check_fails(c->all_reduce(c, x, 4, &err), ERR_PEER, &err, "rank 2: has ended");
    c->close(c);
    finish(pids);
}

static bool is_silent(struct comm *c) {
    struct err err = {0};
    char byte;
    int rc = c->broadcast(c, &byte, 1, 0, &err); /* until rank 0 closes */
    return rc == ERR_PEER && strstr(err.msg, "rank 0") != NULL;
}

static bool is_stopped(struct comm *c) {
    if (c->rank == 1) raise(SIGSTOP);
    struct err err = {0};
    double d = 0;
    return c->all_reduce_double(c, &d, 1, &err) == ERR_PEER;
}

/* It has not ended, so no connection closes: rank 0 waited for ever. */
static void a_rank_that_is_stopped_is_named(void **state) {
    pid_t pids[SIZE];
    struct comm *c = NULL;
    struct err err = {0};
    struct comm_place p = place(0, SIZE);
    double d = 0;
    int status;
    (void)state;
    start(pids, is_stopped);
    p.silence = 0.3;
    check_ok(comm_tcp(&c, &p, 30, &err), &err);
    check_fails(c->all_reduce_double(c, &d, 1, &err), ERR_PEER, &err, "rank 1: has fallen silent");
    c->close(c);
    kill(pids[1], SIGKILL);
    waitpid(pids[1], &status, 0);
    waitpid(pids[2], &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_barrier_does_not_wait_for_ever(void **state) {
    pid_t pids[SIZE];
    struct err err = {0};
    (void)state;
    start(pids, is_silent);
    struct comm *c = first();
    check_fails(c->barrier(c, 0.2, &err), ERR_PEER, &err, "rank 1: did not come in time");
    c->close(c);
    finish(pids);
}

static bool elsewhere(struct comm *c) {
    struct err err = {0};
    float x[8] = {0};
    return c->all_reduce(c, x, c->rank == 1 ? 8 : 4, &err) == ERR_PEER;
}

static void a_rank_at_another_place_is_named(void **state) {
    pid_t pids[SIZE];
    struct err err = {0};
    float x[4] = {0};
    (void)state;
    start(pids, elsewhere);
    struct comm *c = first();
    check_fails(c->all_reduce(c, x, 4, &err), ERR_PEER, &err, "rank 1: is at another place");
    c->close(c);
    finish(pids);
}

static void nobody_comes(void **state) {
    struct comm_place p = place(0, 2);
    struct comm *c = NULL;
    struct err err = {0};
    (void)state;
    check_fails(comm_tcp(&c, &p, 0.2, &err), ERR_PEER, &err, "rank 1: did not come in time");
    p.rank = 1;
    check_fails(comm_tcp(&c, &p, 0.2, &err), ERR_PEER, &err, "rank 0 is not at 127.0.0.1");
    snprintf(p.address, sizeof p.address, "203.0.113.1"); /* RFC 5737: nobody's */
    p.rank = 0;
    check_fails(comm_tcp(&c, &p, 0.2, &err), ERR_USAGE, &err, "cannot listen at 203.0.113.1");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_call_of_three_ranks),
                                       cmocka_unit_test(a_rank_that_ended_is_named),
                                       cmocka_unit_test(a_rank_that_is_stopped_is_named),
                                       cmocka_unit_test(a_barrier_does_not_wait_for_ever),
                                       cmocka_unit_test(a_rank_at_another_place_is_named),
                                       cmocka_unit_test(nobody_comes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
