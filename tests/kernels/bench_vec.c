/* bench_vec.c: what the vector functions cost (test_vec --bench).
 *
 * The best of many rounds, with one thread and all data in the nearest caches: in the backend, too,
 * a function finds what another has just written.  One thread. */
#include "backend/cpu/levels.h"
#include "kernels/bench.h"
#include "support/support.h"

enum { BENCH_N = 2048, HEAD = 64 };

/* Memory for any function, filled with ordinary numbers. */
typedef struct bench {
    float *a, *b, *d, *e, *f, *y, *scratch;
    size_t elements, bytes; /* that one call works through, reads and writes; set by it */
} bench;

static void bench_wkv7(const hy__vec *vec, bench *b)
{
    const hy__vec_wkv7 args = {.r = b->a,
                               .w = b->b,
                               .k = b->d,
                               .v = b->e,
                               .kk = b->f,
                               .a = b->f,
                               .y = b->y,
                               .stride = HEAD,
                               .state_old = b->a + BENCH_N,
                               .state_new = b->y + BENCH_N,
                               .n_tokens = 16,
                               .n = HEAD};
    vec->wkv7(&args);
    b->elements = args.n_tokens;
    b->bytes = sizeof(float) * (2 * HEAD * HEAD + 7 * HEAD * (size_t)args.n_tokens);
}

static const hy__kv_form bench_form = {HY__KV_F16, false, HEAD};

static void bench_kv_write(const hy__vec *vec, bench *b)
{
    vec->kv_write(bench_form, b->a, b->y, 5);
    b->elements = HEAD;
    b->bytes = 6 * (size_t)HEAD;
}

static void bench_kv_read(const hy__vec *vec, bench *b)
{
    vec->kv_read(bench_form, b->scratch, 5, b->y);
    b->elements = HEAD;
    b->bytes = 6 * (size_t)HEAD;
}

/* bytes_each: of all inputs and the result, per element. */
#define BENCH(name, n, bytes_each, arguments)                                                      \
    static void bench_##name(const hy__vec *vec, bench *b)                                         \
    {                                                                                              \
        vec->name arguments;                                                                       \
        b->elements = (n);                                                                         \
        b->bytes = (size_t)(n) * (bytes_each);                                                     \
    }
BENCH(add, BENCH_N, 12, (b->y, b->a, b->b, BENCH_N))
BENCH(mul, BENCH_N, 12, (b->y, b->a, b->b, BENCH_N))
BENCH(lerp, BENCH_N, 16, (b->y, b->a, b->b, b->d, BENCH_N))
BENCH(tanh, BENCH_N, 8, (b->y, b->a, BENCH_N))
BENCH(sigmoid, BENCH_N, 8, (b->y, b->a, BENCH_N))
BENCH(silu, BENCH_N, 8, (b->y, b->a, BENCH_N))
BENCH(relu2, BENCH_N, 8, (b->y, b->a, BENCH_N))
BENCH(rwkv7_decay, BENCH_N, 8, (b->y, b->a, BENCH_N))
BENCH(rwkv7_key, BENCH_N, 16, (b->y, b->a, b->b, b->d, BENCH_N))
BENCH(layer_norm, BENCH_N, 16, (b->y, b->a, b->b, b->d, BENCH_N, 1e-5f))
BENCH(rms_norm, BENCH_N, 12, (b->y, b->a, b->b, BENCH_N, 1e-5f))
BENCH(l2_norm, BENCH_N, 8, (b->y, b->a, BENCH_N, 1e-5f))
BENCH(rwkv7_bonus, BENCH_N, 24, (b->y, b->a, b->b, b->d, b->e, b->f, BENCH_N))
BENCH(rope, BENCH_N, 12, (b->y, b->a, b->b, BENCH_N, BENCH_N, true))
BENCH(kv_expand, BENCH_N, 6, (bench_form, b->scratch, b->y)) /* a block of HEAD channels */
BENCH(softmax, HY__ATTENTION_BLOCK, 8, ((hy__vec_softmax *)(void *)b->y))
BENCH(interleave, BENCH_N / HY__TILE_COLS * HY__TILE_COLS, 8,
      (b->a, BENCH_N / HY__TILE_COLS, BENCH_N / HY__TILE_COLS, HY__TILE_COLS, b->y))

static void measure(const char *name, const char *level, const hy__vec *vec,
                    void (*run)(const hy__vec *, bench *), bench *b)
{
    hy_env env;
    hy__os_env(&env);
    uint64_t least = UINT64_MAX;
    enum { ROUNDS = 50, CALLS = 20 };
    for (int i = 0; i < ROUNDS; i++) {
        const uint64_t begin = env.clock_ns(env.user);
        for (int j = 0; j < CALLS; j++) {
            run(vec, b);
        }
        least = HY_MIN(least, env.clock_ns(env.user) - begin);
    }
    const double ns = (double)least / CALLS;
    printf("%-12s %-8s %9.3f %9.1f\n", name, level, ns / (double)b->elements,
           (double)b->bytes / ns);
}

void bench_vec(void)
{
    enum { FLOATS = 3 * 65536 };
    float *memory[7];
    for (size_t i = 0; i < HY_COUNT(memory); i++) {
        memory[i] = malloc(FLOATS * sizeof **memory);
        assert_non_null(memory[i]);
        for (size_t j = 0; j < FLOATS; j++) {
            memory[i][j] = (float)((i * 7919 + j * 104729) % 2001) / 8000 - 0.125f;
        }
    }
    bench b = {memory[0], memory[1], memory[2], memory[3], memory[4], memory[5], memory[6], 0, 0};
    for (uint32_t i = 0; i < HY__ATTENTION_BLOCK; i++) {
        hy__level_vec(0)->kv_write(bench_form, b.a, b.scratch, i);
    }
    printf("ns per element, GB/s; wkv7: per token of a head of %d\n", HEAD);
#define MEASURE(name, args) measure(#name, hy__level_name(level), vec, bench_##name, &b);
    for (size_t level = 0; hy__level_name(level); level++) {
        if (hy__level_here(level)) {
            const hy__vec *vec = hy__level_vec(level);
            HY__VEC_FUNCTIONS(MEASURE)
        }
    }
    for (size_t i = 0; i < HY_COUNT(memory); i++) {
        free(memory[i]);
    }
}
