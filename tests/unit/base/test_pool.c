/* Threads, random numbers, signals and logging: nothing may depend on who did what first. */
#include "tests/unit/test.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/rng.h"
#include "base/signals.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { ITEMS = 10000 };

struct work {
    atomic_int times[ITEMS];
    atomic_int max_thread;
    size_t fail_from;
    bool low_is_late; /* else the other failures are */
};

static int count(void *ctx, size_t i, int thread, struct err *err) {
    struct work *w = ctx;
    (void)err;
    atomic_fetch_add(&w->times[i], 1);
    int max = atomic_load(&w->max_thread);
    while (thread > max && !atomic_compare_exchange_weak(&w->max_thread, &max, thread)) continue;
    return 0;
}

static void every_item_is_done_once(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 3, 16};
    static struct work w;
    for (size_t t = 0; t < 4; t++) {
        struct pool *p;
        struct err e = {0};
        check_ok(pool_new(&p, threads[t], &e), &e);
        assert_int_equal(pool_threads(p), threads[t]);
        memset(&w, 0, sizeof w);
        for (int round = 1; round <= 20; round++) {
            check_ok(pool_run(p, ITEMS, count, &w, &e), &e);
            for (int i = 0; i < ITEMS; i++) assert_int_equal(w.times[i], round);
        }
        assert_true(w.max_thread < threads[t]);
        check_ok(pool_run(p, 0, count, &w, &e), &e);
        pool_free(p);
    }
    pool_free(NULL);
}

/* Items 3, 8, 13 … fail; whatever the threads do, the lowest of them is reported. */
static int fail_some(void *ctx, size_t i, int thread, struct err *err) {
    struct work *w = ctx;
    (void)thread;
    atomic_fetch_add(&w->times[i], 1);
    if (i < w->fail_from || (i - w->fail_from) % 5) return 0;
    for (int n = 0; i == w->fail_from && !w->times[i + 5] && n < 1000; n++) sched_yield();
    if ((i == w->fail_from) == w->low_is_late) usleep(200);
    return err_set(err, ERR_DATA, "item %zu", i);
}

static void the_lowest_failure_is_reported(void **state) {
    (void)state;
    static struct work w;
    struct pool *p;
    struct err e = {0};
    check_ok(pool_new(&p, 4, &e), &e);
    for (int round = 0; round < 200; round++) {
        memset(&w, 0, sizeof w);
        w.fail_from = 3;
        w.low_is_late = round % 2;
        e = (struct err){0};
        check_fails(pool_run(p, ITEMS, fail_some, &w, &e), ERR_DATA, &e, "item 3");
        assert_string_equal(e.msg, "item 3");
        int done = 0;
        for (int i = 0; i < ITEMS; i++) done += w.times[i];
        assert_true(done < ITEMS); /* the handing out stopped */
    }
    check_ok(pool_run(p, ITEMS, count, &w, &e), &e); /* and the pool is still good */
    pool_free(p);
}

static void cpus_are_counted(void **state) {
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_in_range(pool_cpus(), 1, CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(pool_cpus(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

/* Known answers of Random123 (Salmon et al.), philox4x32-10: all zeros, all ones, digits of pi. */
static void philox_gives_the_published_numbers(void **state) {
    (void)state;
    static const struct {
        uint64_t key, lo, hi;
        uint32_t want[4];
    } known[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x299f31d0a4093822,
         0x85a308d3243f6a88,
         0x0370734413198a2e,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        struct philox_out o = philox(known[i].key, known[i].lo, known[i].hi);
        assert_memory_equal(o.v, known[i].want, sizeof o.v);
    }
}

static void random_numbers_stay_in_range(void **state) {
    (void)state;
    struct rng r = {.key = 7};
    double sum = 0, squares = 0;
    int hits[3] = {0};
    for (int i = 0; i < 30000; i++) {
        hits[rng_below(&r, 3)]++;
        double u = rng_unit(&r), x = rng_normal(&r);
        assert_true(u >= 0 && u < 1);
        sum += x;
        squares += x * x;
    }
    for (int i = 0; i < 3; i++) assert_in_range(hits[i], 9600, 10400);
    assert_true(fabs(sum / 30000) < 0.03 && fabs(squares / 30000 - 1) < 0.05);
    struct rng copy = r; /* a position is all a resume needs */
    assert_int_equal(rng_u64(&copy), rng_u64(&r));
}

/* First signal: a flag; second: out at once with 128 + signal. */
static void second_signal_leaves_at_once(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        signals_install();
        for (int i = 0; i < 1000; i++) raise(SIGUSR1); /* a wish, not a thousand saves */
        if (!signals_take_save() || signals_take_save() || signals_stop()) _exit(1);
        raise(SIGTERM);
        if (signals_stop() != SIGTERM) _exit(2);
        raise(SIGINT);
        _exit(3);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 128 + SIGINT);
}

/* A connection that was lost ended a run with nothing saved. */
static void a_hang_up_ended_the_program(void **state) {
    (void)state;
    for (int nohup = 0; nohup < 2; nohup++) {
        pid_t child = fork();
        if (child == 0) {
            signal(SIGHUP, nohup ? SIG_IGN : SIG_DFL);
            signals_install();
            raise(SIGHUP);
            raise(SIGHUP); /* the system's and the shell's */
            _exit(signals_stop());
        }
        int status = 0;
        waitpid(child, &status, 0);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), nohup ? 0 : SIGHUP);
    }
}

static void keep_line(void *ctx, enum log_level level, const char *text) {
    snprintf(ctx, 64, "%d %s", level, text);
}

static void logs_may_be_silent(void **state) {
    (void)state;
    char got[64] = "";
    struct log log = {.line = keep_line, .ctx = got};
    log_warn(&log, "%d bad", 3);
    assert_string_equal(got, "1 3 bad");
    log_warn(NULL, "nobody");
    log_progress(NULL, NULL);
    log_progress(&log, &(struct progress){.stage = "s"});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_is_done_once),
        cmocka_unit_test(the_lowest_failure_is_reported),
        cmocka_unit_test(cpus_are_counted),
        cmocka_unit_test(philox_gives_the_published_numbers),
        cmocka_unit_test(random_numbers_stay_in_range),
        cmocka_unit_test(second_signal_leaves_at_once),
        cmocka_unit_test(a_hang_up_ended_the_program),
        cmocka_unit_test(logs_may_be_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
