/* pool.c: a fixed set of threads that run one loop, or one function, at a time.
 *
 * A loop is announced by a generation number.  Idle threads look at it for some microseconds, as
 * the loops of a model come closely one after another, and then sleep.  Ranges are handed out by a
 * counter: which thread takes which range is chance, so a loop's results must not depend on it.
 * Used by one thread at a time. */
#include "os.h"

#include <stdatomic.h>

typedef struct worker {
    hy__pool *pool;
    void *thread;
    uint32_t index;
} worker;

struct hy__pool {
    hy_env env;
    uint32_t n_threads; /* the caller's own included */
    uint32_t n_started; /* workers running, n_threads - 1 after creation */
    worker *workers;    /* [n_threads - 1] */
    hy__gate *gate;     /* where those sleep that have waited for long */

    /* the loop at hand; written before the generation changes */
    hy__pool_fn run;
    hy__team_fn team; /* instead of a loop, if not NULL */
    void *arg;
    size_t n, grain;
    bool quit;
    atomic_size_t next; /* first item nobody has taken */
    atomic_uint busy;   /* workers that have not finished the loop */
    atomic_uint generation;
    atomic_uint arrived; /* threads of a team at the barrier */
    atomic_uint barrier; /* barriers passed */
    atomic_uint sleepers;
};

/* Looks for some microseconds, offers the processor to others between looks for some more, then
 * sleeps: so a loop or the next phase of a model begins without a wake-up, neighbours lose nothing,
 * and a thread that has lost its processor to somebody else gets that of the one that waits for it.
 */
enum { LOOKS = 2000, YIELDS = 20 };

/* Returns once `*now` is `value` (equal), or is not (otherwise). */
static void wait_until(hy__pool *p, atomic_uint *now, unsigned value, bool equal)
{
    for (int i = 0; i < LOOKS + YIELDS; i++) {
        if ((atomic_load_explicit(now, memory_order_acquire) == value) == equal) {
            return;
        }
        if (i < LOOKS) {
            HY_PAUSE();
        } else {
            hy__yield();
        }
    }
    /* Whoever changes *now either sees this count or is seen by the look behind it. */
    atomic_fetch_add(&p->sleepers, 1);
    for (;;) {
        const unsigned ticket = hy__gate_ticket(p->gate);
        if ((atomic_load(now) == value) == equal) {
            break;
        }
        hy__gate_wait(p->gate, ticket);
    }
    atomic_fetch_sub(&p->sleepers, 1);
}

/* To be called behind a change that others may wait for. */
static void wake(hy__pool *p)
{
    if (atomic_load(&p->sleepers) > 0) {
        hy__gate_post(p->gate);
    }
}

static void take_ranges(hy__pool *p, uint32_t thread)
{
    for (;;) {
        const size_t begin = atomic_fetch_add(&p->next, p->grain);
        if (begin >= p->n) {
            return;
        }
        p->run(p->arg, begin, HY_MIN(begin + p->grain, p->n), thread);
    }
}

static void worker_main(void *arg)
{
    worker *w = arg;
    hy__pool *p = w->pool;
    unsigned seen = 0;
    for (;;) {
        wait_until(p, &p->generation, seen, false);
        seen++;
        if (p->quit) {
            return;
        }
        if (p->team) {
            p->team(p->arg, w->index);
        } else {
            take_ranges(p, w->index);
        }
        if (atomic_fetch_sub(&p->busy, 1) == 1) {
            wake(p);
        }
    }
}

static void announce(hy__pool *p)
{
    atomic_fetch_add(&p->generation, 1);
    wake(p);
}

hy_status hy__pool_create(const hy_env *env, uint32_t n_threads, hy__pool **out, hy_error *err)
{
    *out = NULL;
    if (n_threads < 1 || n_threads > 1024) {
        return hy__fail(err, HY_E_ARG, "%u threads asked for, 1 to 1024 are possible", n_threads);
    }
    hy__pool *p = hy__calloc(env, 1, sizeof *p, err);
    if (!p) {
        return HY_E_NOMEM;
    }
    p->env = *env;
    p->n_threads = n_threads;
    atomic_init(&p->next, 0);
    atomic_init(&p->busy, 0);
    atomic_init(&p->generation, 0);
    atomic_init(&p->arrived, 0);
    atomic_init(&p->barrier, 0);
    atomic_init(&p->sleepers, 0);
    hy_status status = HY_OK;
    if (n_threads > 1) {
        p->workers = hy__calloc(env, n_threads - 1, sizeof *p->workers, err);
        p->gate = p->workers ? hy__gate_create(env, err) : NULL;
        status = p->gate ? HY_OK : HY_E_NOMEM;
    }
    while (status == HY_OK && p->n_started + 1 < n_threads) {
        worker *w = &p->workers[p->n_started];
        w->pool = p;
        w->index = p->n_started + 1;
        status = env->thread_start(env->user, worker_main, w, &w->thread, err);
        p->n_started += status == HY_OK;
    }
    if (status != HY_OK) {
        hy__pool_destroy(p);
        return status;
    }
    *out = p;
    return HY_OK;
}

void hy__pool_destroy(hy__pool *p)
{
    if (!p) {
        return;
    }
    const hy_env env = p->env;
    if (p->n_started > 0) {
        p->quit = true;
        announce(p);
        for (uint32_t i = 0; i < p->n_started; i++) {
            env.thread_join(env.user, p->workers[i].thread);
        }
    }
    hy__gate_destroy(&env, p->gate);
    hy__free(&env, p->workers);
    hy__free(&env, p);
}

void hy__pool_run(hy__pool *p, size_t n, size_t grain, hy__pool_fn run, void *arg)
{
    grain = HY_MAX(grain, (size_t)1);
    if (!p || p->n_threads == 1 || n <= grain) {
        for (size_t i = 0; i < n; i += grain) {
            run(arg, i, HY_MIN(i + grain, n), 0);
        }
        return;
    }
    p->team = NULL;
    p->run = run;
    p->arg = arg;
    p->n = n;
    p->grain = grain;
    atomic_store(&p->next, 0);
    atomic_store(&p->busy, p->n_threads - 1);
    announce(p);
    take_ranges(p, 0);
    wait_until(p, &p->busy, 0, true);
}

void hy__pool_team(hy__pool *p, hy__team_fn run, void *arg)
{
    if (!p || p->n_threads == 1) {
        run(arg, 0);
        return;
    }
    p->team = run;
    p->arg = arg;
    atomic_store(&p->busy, p->n_threads - 1);
    announce(p);
    run(arg, 0);
    wait_until(p, &p->busy, 0, true);
}

void hy__pool_barrier(hy__pool *p)
{
    if (!p || p->n_threads == 1) {
        return;
    }
    const unsigned passed = atomic_load_explicit(&p->barrier, memory_order_relaxed);
    if (atomic_fetch_add(&p->arrived, 1) + 1 == p->n_threads) {
        atomic_store(&p->arrived, 0);
        atomic_fetch_add(&p->barrier, 1);
        wake(p);
    } else {
        wait_until(p, &p->barrier, passed, false);
    }
}
