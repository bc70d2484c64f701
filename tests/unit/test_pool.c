/* test_pool.c: src/base/pool.c: threads that share a loop, and teams that meet at barriers. */
#define _XOPEN_SOURCE 700

#include "support/support.h"

#include <stdatomic.h>
#include <time.h>

#include "base/base.h"

enum { MAX_ITEMS = 3000, MAX_THREADS = 8 };

typedef struct loop {
    atomic_int seen[MAX_ITEMS];
    atomic_int inside[MAX_THREADS]; /* calls running with this thread's number */
    atomic_int bad;
    size_t grain;
    uint32_t n_threads;
} loop;

static void mark_range(void *arg, size_t begin, size_t end, uint32_t thread)
{
    loop *l = arg;
    if (thread >= l->n_threads || begin >= end || end - begin > HY_MAX(l->grain, (size_t)1)) {
        atomic_fetch_add(&l->bad, 1);
        return;
    }
    if (atomic_fetch_add(&l->inside[thread], 1) != 0) { /* scratch memory of a thread is its own */
        atomic_fetch_add(&l->bad, 1);
    }
    for (size_t i = begin; i < end; i++) {
        atomic_fetch_add(&l->seen[i], 1);
    }
    atomic_fetch_sub(&l->inside[thread], 1);
}

static void run_loop(hy__pool *p, uint32_t n_threads, size_t n, size_t grain)
{
    static loop l;
    memset(&l, 0, sizeof l);
    l.grain = grain;
    l.n_threads = n_threads;
    hy__pool_run(p, n, grain, mark_range, &l);
    assert_int_equal(atomic_load(&l.bad), 0);
    for (size_t i = 0; i < MAX_ITEMS; i++) {
        assert_int_equal(atomic_load(&l.seen[i]), i < n);
    }
}

static void every_item_runs_exactly_once(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 2, 3, 8};
    static const size_t items[] = {0, 1, 2, 7, 64, 65, 1000, MAX_ITEMS};
    static const size_t grains[] = {0, 1, 3, 64, 5000};
    run_loop(NULL, 1, 100, 7);
    for (size_t t = 0; t < HY_COUNT(sizes); t++) {
        failing_env f;
        failing_env_init(&f, 0);
        hy_error err = {HY_OK, ""};
        hy__pool *p = NULL;
        assert_ok(hy__pool_create(&f.env, sizes[t], &p, &err), &err);
        for (size_t i = 0; i < HY_COUNT(items); i++) {
            for (size_t g = 0; g < HY_COUNT(grains); g++) {
                run_loop(p, sizes[t], items[i], grains[g]);
            }
        }
        for (int i = 0; i < 300; i++) { /* loops closely one after another */
            run_loop(p, sizes[t], 16, 1);
        }
        hy__pool_destroy(p);
        assert_int_equal(f.live_blocks, 0);
    }
    hy__pool_destroy(NULL);
}

/* ---- teams */

enum { ROUNDS = 500, SLOW_ROUNDS = 12 };

typedef struct team {
    hy__pool *pool;
    uint32_t n_threads;
    int rounds;
    bool dawdle;                  /* one thread of each round comes so late that others sleep */
    atomic_int runs[MAX_THREADS]; /* calls with this thread's number */
    uint32_t wrote[MAX_THREADS];  /* not atomic: barriers alone keep the threads apart */
    atomic_int bad;
} team;

static void meet(void *arg, uint32_t thread)
{
    team *t = arg;
    if (thread >= t->n_threads) {
        atomic_fetch_add(&t->bad, 1);
        return;
    }
    atomic_fetch_add(&t->runs[thread], 1);
    for (uint32_t r = 1; r <= (uint32_t)t->rounds; r++) {
        if (t->dawdle && r % t->n_threads == thread) {
            nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        }
        t->wrote[thread] = r * 100 + thread;
        hy__pool_barrier(t->pool);
        for (uint32_t i = 0; i < t->n_threads; i++) {
            if (t->wrote[i] != r * 100 + i) {
                atomic_fetch_add(&t->bad, 1);
            }
        }
        hy__pool_barrier(t->pool);
    }
}

static void run_team(hy__pool *p, uint32_t n_threads, int rounds, bool dawdle)
{
    team t = {.pool = p, .n_threads = n_threads, .rounds = rounds, .dawdle = dawdle};
    hy__pool_team(p, meet, &t);
    assert_int_equal(atomic_load(&t.bad), 0);
    for (uint32_t i = 0; i < MAX_THREADS; i++) {
        assert_int_equal(atomic_load(&t.runs[i]), i < n_threads);
    }
}

static void teams_meet_at_barriers(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 2, 3, 8};
    run_team(NULL, 1, ROUNDS, false);
    for (size_t t = 0; t < HY_COUNT(sizes); t++) {
        failing_env f;
        failing_env_init(&f, 0);
        hy_error err = {HY_OK, ""};
        hy__pool *p = NULL;
        assert_ok(hy__pool_create(&f.env, sizes[t], &p, &err), &err);
        run_team(p, sizes[t], ROUNDS, false);
        run_team(p, sizes[t], SLOW_ROUNDS, true);
        run_loop(p, sizes[t], 1000, 7); /* loops and teams take turns */
        for (int i = 0; i < 300; i++) { /* closely one after another */
            run_team(p, sizes[t], 1 + i % 3, false);
        }
        hy__pool_destroy(p);
        assert_int_equal(f.live_blocks, 0);
    }
}

static void pools_of_no_or_too_many_threads_are_refused(void **state)
{
    (void)state;
    hy_env env;
    hy__env_resolve(&env, NULL);
    hy_error err = {HY_OK, ""};
    hy__pool *p = (hy__pool *)&err;
    assert_fails(hy__pool_create(&env, 0, &p, &err), HY_E_ARG, &err, "0 threads");
    assert_null(p);
    assert_fails(hy__pool_create(&env, 100000, &p, &err), HY_E_ARG, &err, "100000 threads");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_runs_exactly_once),
        cmocka_unit_test(teams_meet_at_barriers),
        cmocka_unit_test(pools_of_no_or_too_many_threads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
