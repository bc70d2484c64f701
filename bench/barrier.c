/* barrier.c: what it costs that threads of a pool work together: time per barrier, and how much
 * faster short phases run with more threads.  Run it beside a busy process too: threads that wait
 * must not slow down those that work.
 *
 * barrier [THREADS [PHASE_US]] */
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

enum { PIECES = 20, BARRIERS = 2000, PHASES_NS = 40000000 };

static hy_env env;

static double now(void)
{
    return (double)env.clock_ns(env.user);
}

static void barriers(void *arg, uint32_t thread)
{
    (void)thread;
    for (int i = 0; i < BARRIERS; i++) {
        hy__pool_barrier(arg);
    }
}

/* A chain of operations that no compiler shortens; the time of `rounds` of them is the same in
 * every thread. */
static double chain(uint64_t rounds)
{
    double x = 1.0;
    for (uint64_t i = 0; i < rounds; i++) {
        x = x * 0.999999 + 1e-9;
    }
    return x;
}

typedef struct phases {
    hy__pool *pool;
    uint64_t rounds; /* of one thread in one phase */
    uint64_t n;
    double sink[256];
} phases;

static void run_phases(void *arg, uint32_t thread)
{
    phases *f = arg;
    double sum = 0;
    for (uint64_t i = 0; i < f->n; i++) {
        sum += chain(f->rounds);
        hy__pool_barrier(f->pool);
    }
    f->sink[thread % 256] = sum;
}

static int compare(const void *a, const void *b)
{
    const double d = *(const double *)a - *(const double *)b;
    return (d > 0) - (d < 0);
}

/* Runs it PIECES times; fastest, median and slowest time. */
static void measure(hy__pool *p, hy__team_fn run, void *arg, double time[3])
{
    double t[PIECES];
    for (int i = 0; i < PIECES; i++) {
        const double t0 = now();
        hy__pool_team(p, run, arg);
        t[i] = now() - t0;
    }
    qsort(t, PIECES, sizeof *t, compare);
    time[0] = t[0];
    time[1] = t[PIECES / 2];
    time[2] = t[PIECES - 1];
}

int main(int argc, char **argv)
{
    const unsigned most = argc > 1 ? (unsigned)atoi(argv[1]) : hy_cpu_count();
    const double phase = 1000.0 * (argc > 2 ? atof(argv[2]) : 100.0);
    hy__env_resolve(&env, NULL);
    double t0 = now();
    phases f = {.rounds = 1000000};
    f.sink[0] = chain(f.rounds);
    const double round = (now() - t0) / 1e6;
    f.n = (uint64_t)(PHASES_NS / phase) + 1;
    printf("phases of %.0f us, split between the threads; fastest, median, slowest of %d\n",
           phase / 1000, PIECES);
    printf("threads   ns per barrier               speedup of phases\n");
    double alone = 0;
    for (unsigned n = 1; n <= most; n++) {
        hy_error err = {HY_OK, ""};
        hy__pool *p = NULL;
        if (hy__pool_create(&env, n, &p, &err) != HY_OK) {
            fprintf(stderr, "barrier: %s\n", err.text);
            return 1;
        }
        double b[3], w[3];
        measure(p, barriers, p, b);
        f.pool = p;
        f.rounds = (uint64_t)(phase / round / n) + 1;
        measure(p, run_phases, &f, w);
        alone = n == 1 ? w[1] : alone;
        printf("%7u %9.0f %9.0f %9.0f %9.2f %9.2f %9.2f\n", n, b[0] / BARRIERS, b[1] / BARRIERS,
               b[2] / BARRIERS, alone / w[0], alone / w[1], alone / w[2]);
        hy__pool_destroy(p);
    }
    return f.sink[0] == 0;
}
