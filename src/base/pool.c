/* pool.c: a fixed set of threads that run one loop at a time.
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
    hy__gate *start, *done;

    /* the loop at hand; written before the generation changes */
    hy__pool_fn run;
    void *arg;
    size_t n, grain;
    bool quit;
    atomic_size_t next; /* first item nobody has taken */
    atomic_uint busy;   /* workers that have not finished the loop */
    atomic_uint generation;
};

/* Returns once `*now` is `value` (equal), or is not (otherwise).  Looks for about a microsecond,
 * offers the processor to others between looks, for longer than the small operations between two
 * loops of a model take; then sleeps.  So neighbours lose nothing, and a loop begins without a
 * wake-up. */
enum { LOOKS = 400, YIELDS = 400 };

static void wait_until(atomic_uint *now, unsigned value, bool equal, hy__gate *gate)
{
    for (int i = 0; i < LOOKS + YIELDS; i++) {
        if ((atomic_load_explicit(now, memory_order_acquire) == value) == equal) {
            return;
        }
        if (i >= LOOKS) {
            hy__yield();
        }
    }
    while ((atomic_load(now) == value) != equal) {
        const unsigned ticket = hy__gate_ticket(gate);
        if ((atomic_load(now) == value) != equal) {
            hy__gate_wait(gate, ticket);
        }
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
        wait_until(&p->generation, seen, false, p->start);
        seen++;
        if (p->quit) {
            return;
        }
        take_ranges(p, w->index);
        if (atomic_fetch_sub(&p->busy, 1) == 1) {
            hy__gate_post(p->done);
        }
    }
}

static void announce(hy__pool *p)
{
    atomic_fetch_add(&p->generation, 1);
    hy__gate_post(p->start);
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
    hy_status status = HY_OK;
    if (n_threads > 1) {
        p->workers = hy__calloc(env, n_threads - 1, sizeof *p->workers, err);
        p->start = p->workers ? hy__gate_create(env, err) : NULL;
        p->done = p->start ? hy__gate_create(env, err) : NULL;
        status = p->done ? HY_OK : HY_E_NOMEM;
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
    hy__gate_destroy(&env, p->start);
    hy__gate_destroy(&env, p->done);
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
    p->run = run;
    p->arg = arg;
    p->n = n;
    p->grain = grain;
    atomic_store(&p->next, 0);
    atomic_store(&p->busy, p->n_threads - 1);
    announce(p);
    take_ranges(p, 0);
    wait_until(&p->busy, 0, true, p->done);
}
