/* pool.c: a fixed set of threads that run one function together, or one loop.
 *
 * Work is announced by a generation number and its end by a counter; inside, threads meet at
 * barriers.  Waiting threads look for some microseconds, as the phases of a model come closely one
 * after another, and then sleep.  Used by one thread at a time. */
#include "os.h"

#include <stdatomic.h>

#include "halyard/compiler.h"

enum { LINE = 64 }; /* bytes of a cache line: what one thread writes others do not wait for */

/* Something that threads wait for: a number, and where they sleep until it changes. */
typedef struct event {
    _Alignas(LINE) atomic_uint value;
    atomic_uint sleepers;
    atomic_uint vain; /* waits in a row that had to sleep */
    hy__gate *gate;
} event;

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

    /* the work at hand; written before the generation changes */
    hy__team_fn run;
    void *arg;
    bool quit;

    event generation;
    event busy;                         /* workers that have not finished the work */
    event round;                        /* barriers passed */
    _Alignas(LINE) atomic_uint arrived; /* threads at the barrier */
};

/* Waiting begins with looking, for longer than threads with equal work differ: some 30 us where a
 * pause takes 30 ns.  When somebody has lost its processor, looking is in vain, or even keeps it
 * from coming back: whoever waits must sleep, so that the system can run the other one here.  After
 * waits that looked in vain, few look that long any more. */
enum { LOOKS = 1000, FEW_LOOKS = 60, PATIENCE = 4, TRY_AGAIN = 16 };

static int looks_of(const event *e)
{
    const unsigned vain = atomic_load_explicit(&e->vain, memory_order_relaxed);
    return vain < PATIENCE || vain % TRY_AGAIN == 0 ? LOOKS : FEW_LOOKS;
}

static void wait_until(event *e, unsigned value, bool equal)
{
    for (int i = looks_of(e); i > 0; i--) {
        if ((atomic_load_explicit(&e->value, memory_order_acquire) == value) == equal) {
            if (atomic_load_explicit(&e->vain, memory_order_relaxed) > 0) {
                atomic_store_explicit(&e->vain, 0, memory_order_relaxed);
            }
            return;
        }
        HY_PAUSE();
    }
    atomic_fetch_add_explicit(&e->vain, 1, memory_order_relaxed);
    atomic_fetch_add(&e->sleepers, 1);
    while ((atomic_load(&e->value) == value) != equal) {
        const unsigned ticket = hy__gate_ticket(e->gate);
        if ((atomic_load(&e->value) == value) != equal) {
            hy__gate_wait(e->gate, ticket);
        }
    }
    atomic_fetch_sub(&e->sleepers, 1);
}

/* After a change of the value.  Whoever counts itself a sleeper looks at the value once more, so
 * either it sees the change or we see it. */
static void wake(event *e)
{
    if (atomic_load(&e->sleepers) > 0) {
        hy__gate_post(e->gate);
    }
}

static void worker_main(void *arg)
{
    worker *w = arg;
    hy__pool *p = w->pool;
    unsigned seen = 0;
    for (;;) {
        wait_until(&p->generation, seen, false);
        seen++;
        if (p->quit) {
            return;
        }
        p->run(p->arg, w->index);
        if (atomic_fetch_sub(&p->busy.value, 1) == 1) {
            wake(&p->busy);
        }
    }
}

static void announce(hy__pool *p)
{
    atomic_fetch_add(&p->generation.value, 1);
    wake(&p->generation);
}

static hy_status event_init(event *e, const hy_env *env, hy_error *err)
{
    atomic_init(&e->value, 0);
    atomic_init(&e->sleepers, 0);
    atomic_init(&e->vain, 0);
    e->gate = hy__gate_create(env, err);
    return e->gate ? HY_OK : HY_E_NOMEM;
}

static hy_status events_init(hy__pool *p, hy_error *err)
{
    HY_TRY(event_init(&p->generation, &p->env, err));
    HY_TRY(event_init(&p->busy, &p->env, err));
    return event_init(&p->round, &p->env, err);
}

hy_status hy__pool_create(const hy_env *env, uint32_t n_threads, hy__pool **out, hy_error *err)
{
    *out = NULL;
    if (n_threads < 1 || n_threads > 1024) {
        return hy__fail(err, HY_E_ARG, "%u threads asked for, 1 to 1024 are possible", n_threads);
    }
    hy__pool *p = hy__calloc_aligned(env, 1, sizeof *p, err);
    if (!p) {
        return HY_E_NOMEM;
    }
    p->env = *env;
    p->n_threads = n_threads;
    atomic_init(&p->arrived, 0);
    hy_status status = HY_OK;
    if (n_threads > 1) {
        p->workers = hy__calloc(env, n_threads - 1, sizeof *p->workers, err);
        status = p->workers ? events_init(p, err) : HY_E_NOMEM;
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
    hy__gate_destroy(&env, p->generation.gate);
    hy__gate_destroy(&env, p->busy.gate);
    hy__gate_destroy(&env, p->round.gate);
    hy__free(&env, p->workers);
    hy__free_aligned(&env, p);
}

void hy__pool_team(hy__pool *p, hy__team_fn run, void *arg)
{
    if (!p || p->n_threads == 1) {
        run(arg, 0);
        return;
    }
    p->run = run;
    p->arg = arg;
    atomic_store(&p->busy.value, p->n_threads - 1);
    announce(p);
    run(arg, 0);
    wait_until(&p->busy, 0, true);
}

void hy__pool_barrier(hy__pool *p)
{
    if (!p || p->n_threads == 1) {
        return;
    }
    /* Read before arriving: afterwards the last one may change it at any time. */
    const unsigned round = atomic_load_explicit(&p->round.value, memory_order_relaxed);
    if (atomic_fetch_add(&p->arrived, 1) + 1 < p->n_threads) {
        wait_until(&p->round, round, false);
        return;
    }
    atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
    atomic_fetch_add(&p->round.value, 1);
    wake(&p->round);
}

/* ---- loops: a team whose threads take ranges until none is left */

typedef struct loop {
    hy__pool_fn run;
    void *arg;
    size_t n, grain;
    atomic_size_t next; /* first item nobody has taken */
} loop;

static void take_ranges(void *arg, uint32_t thread)
{
    loop *l = arg;
    for (;;) {
        const size_t begin = atomic_fetch_add(&l->next, l->grain);
        if (begin >= l->n) {
            return;
        }
        l->run(l->arg, begin, HY_MIN(begin + l->grain, l->n), thread);
    }
}

void hy__pool_run(hy__pool *p, size_t n, size_t grain, hy__pool_fn run, void *arg)
{
    loop l = {.run = run, .arg = arg, .n = n, .grain = HY_MAX(grain, (size_t)1)};
    atomic_init(&l.next, 0);
    if (n <= l.grain) {
        take_ranges(&l, 0);
    } else {
        hy__pool_team(p, take_ranges, &l);
    }
}
