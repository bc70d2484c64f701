/* test_attention.c: attention of the CPU backend at every level that this machine has.
 *
 * A text of random queries, keys and values goes through the caches, cut into steps of one token,
 * of some and of all.  The oracle is the formula in double precision on what the caches hold; the
 * bits must not depend on the cut, nor on the level but for the plain one, nor on memory behind the
 * end of the text, which is NaN here.  --bench: nanoseconds per position instead. */
#include "support/support.h"

#include <math.h>

#include "backend/cpu/cpu.h"
#include "base/base.h"

enum { TOKENS = 100, BLOCK = HY__ATTENTION_BLOCK };
#define ULP 0x1p-23 /* of 1 */

static uint64_t random_state = 1;

static float random_float(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)((int32_t)(random_state >> 32) / 2147483648.0);
}

static void *memory_of(size_t bytes)
{
    void *p = malloc(bytes);
    assert_non_null(p);
    return p;
}

/* n numbers of -4 to 4; free() them. */
static float *numbers(size_t n)
{
    float *x = memory_of(n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        x[i] = 4 * random_float();
    }
    return x;
}

/* ---- a text, and a cache that grows along it */

typedef struct text {
    hy__kv_form k, v;
    uint32_t group, n;
    float scale;
    float *q;             /* [n][group][dim] */
    float *keys, *values; /* [n][dim] */
} text;

static text new_text(hy__kv_type k_type, hy__kv_type v_type, uint32_t dim, uint32_t dim_v,
                     uint32_t group, float sharpness, uint32_t n)
{
    return (text){.k = {k_type, false, dim},
                  .v = {v_type, true, dim_v},
                  .group = group,
                  .n = n,
                  .scale = sharpness / sqrtf((float)dim),
                  .q = numbers((size_t)n * group * dim),
                  .keys = numbers((size_t)n * dim),
                  .values = numbers((size_t)n * dim_v)};
}

static void free_text(const text *t)
{
    free(t->q);
    free(t->keys);
    free(t->values);
}

static size_t cache_bytes(hy__kv_form f, uint32_t n)
{
    return (n + BLOCK - 1) / BLOCK * (size_t)hy__kv_bytes(f);
}

static char *block_of(char *cache, hy__kv_form f, uint32_t pos)
{
    return cache + pos / BLOCK * (size_t)hy__kv_bytes(f);
}

/* No number anywhere, whatever the type. */
static char *empty_cache(hy__kv_form f, uint32_t n)
{
    char *cache = memory_of(cache_bytes(f, n));
    memset(cache, 0xff, cache_bytes(f, n));
    return cache;
}

static void write_rows(const hy__vec *vec, hy__kv_form f, char *cache, const float *x,
                       uint32_t first, uint32_t end)
{
    for (uint32_t pos = first; pos < end; pos++) {
        vec->kv_write(f, x + (size_t)pos * f.dim, block_of(cache, f, pos), pos % BLOCK);
    }
}

/* What a cache of this form makes of n rows; free() it. */
static float *rows_read(hy__kv_form f, const float *x, uint32_t n)
{
    const hy__vec *vec = hy__level_vec(0);
    char *cache = empty_cache(f, n);
    float *read = memory_of((size_t)n * f.dim * sizeof *read);
    write_rows(vec, f, cache, x, 0, n);
    for (uint32_t pos = 0; pos < n; pos++) {
        vec->kv_read(f, block_of(cache, f, pos), pos % BLOCK, read + (size_t)pos * f.dim);
    }
    free(cache);
    return read;
}

/* ---- a session as far as attention looks at one */

typedef struct machine {
    hy__cpu_model model;
    hy__cpu_session session;
    atomic_bool cancel;
} machine;

static void set_up(machine *m, size_t level)
{
    memset(m, 0, sizeof *m);
    m->model.vec = hy__level_vec(level);
    hy__level_packed(level, &m->model.kernels);
    m->session.model = &m->model;
    atomic_init(&m->cancel, false);
    atomic_init(&m->session.stopped, false);
    m->session.args.cancel = &m->cancel;
}

/* Tokens first to end of the text as one step, in tasks. */
static void run_step(machine *m, const text *t, const char *k, const char *v, uint32_t first,
                     uint32_t end, float *y, float *scratch)
{
    const hy__cpu_attention a = {.q = t->q + (size_t)first * t->group * t->k.dim,
                                 .y = y + (size_t)first * t->group * t->v.dim,
                                 .q_stride = (size_t)t->group * t->k.dim,
                                 .y_stride = (size_t)t->group * t->v.dim,
                                 .k = k,
                                 .v = v,
                                 .k_form = t->k,
                                 .v_form = t->v,
                                 .group = t->group,
                                 .scale = t->scale};
    const uint32_t most = hy__cpu_attention_tokens(t->group);
    m->session.args.pos = first;
    m->session.args.n = end - first;
    for (uint32_t t0 = 0; t0 < end - first; t0 += most) {
        hy__cpu_attend(&m->session, &a, t0, HY_MIN(t0 + most, end - first), scratch);
    }
}

/* [n][group][dim_v], from steps of `cut` tokens; free() it. */
static float *run_text(size_t level, const text *t, uint32_t cut)
{
    machine m;
    set_up(&m, level);
    char *k = empty_cache(t->k, t->n), *v = empty_cache(t->v, t->n);
    float *y = memory_of((size_t)t->n * t->group * t->v.dim * sizeof *y);
    float *scratch =
        memory_of(hy__cpu_attention_scratch(t->group, t->k.dim, t->v.dim) * sizeof *scratch);
    for (uint32_t first = 0; first < t->n; first += cut) {
        const uint32_t end = HY_MIN(first + cut, t->n);
        write_rows(m.model.vec, t->k, k, t->keys, first, end);
        write_rows(m.model.vec, t->v, v, t->values, first, end);
        run_step(&m, t, k, v, first, end, y, scratch);
    }
    assert_false(atomic_load(&m.session.stopped));
    free(k);
    free(v);
    free(scratch);
    return y;
}

/* ---- the oracle */

/* One head of a token at position pos: y, and how far from it is allowed. */
static double attend(const text *t, const float *q, const float *keys, const float *values,
                     uint32_t pos, double *y)
{
    double scores[TOKENS], most = -HUGE_VAL, size = 0, sum = 0;
    for (uint32_t p = 0; p <= pos; p++) {
        double terms = 0;
        scores[p] = 0;
        for (uint32_t i = 0; i < t->k.dim; i++) {
            const double term = (double)q[i] * (double)keys[(size_t)p * t->k.dim + i];
            scores[p] += term;
            terms += fabs(term);
        }
        scores[p] *= (double)t->scale;
        most = fmax(most, scores[p]);
        size = fmax(size, terms * (double)t->scale);
    }
    memset(y, 0, t->v.dim * sizeof *y);
    for (uint32_t p = 0; p <= pos; p++) {
        const double weight = exp(scores[p] - most);
        sum += weight;
        for (uint32_t i = 0; i < t->v.dim; i++) {
            y[i] += weight * (double)values[(size_t)p * t->v.dim + i];
        }
    }
    for (uint32_t i = 0; i < t->v.dim; i++) {
        y[i] /= sum;
    }
    /* Values reach 4; the error of a score is one of its weight. */
    return 4 * ULP * (8 + 4 * size);
}

static void compare_with_oracle(const text *t, const float *got, const char *level)
{
    float *keys = rows_read(t->k, t->keys, t->n), *values = rows_read(t->v, t->values, t->n);
    double *want = memory_of(t->v.dim * sizeof *want);
    for (uint32_t row = 0; row < t->n * t->group; row++, got += t->v.dim) {
        const double slack =
            attend(t, t->q + (size_t)row * t->k.dim, keys, values, row / t->group, want);
        for (uint32_t i = 0; i < t->v.dim; i++) {
            if (isnan(want[i]) ? !isnan(got[i]) : !(fabs((double)got[i] - want[i]) <= slack)) {
                fail_msg("level %s, token %u, head %u of %u, channel %u of %u: %.9g instead of "
                         "%.9g +- %.2g",
                         level, row / t->group, row % t->group, t->group, i, t->v.dim,
                         (double)got[i], want[i], slack);
            }
        }
    }
    free(keys);
    free(values);
    free(want);
}

/* ---- tests */

static void check_text(const text *t)
{
    static const uint32_t cuts[] = {5, 33, TOKENS};
    const size_t bytes = (size_t)t->n * t->group * t->v.dim * sizeof(float);
    float *fused = NULL; /* of the first level behind the plain one */
    for (size_t level = 0; hy__level_name(level); level++) {
        if (!hy__level_here(level)) {
            continue;
        }
        float *one = run_text(level, t, 1);
        compare_with_oracle(t, one, hy__level_name(level));
        for (size_t i = 0; i < HY_COUNT(cuts); i++) {
            float *many = run_text(level, t, cuts[i]);
            assert_memory_equal(one, many, bytes);
            free(many);
        }
        if (fused) {
            assert_memory_equal(one, fused, bytes);
        }
        if (level == 0 || fused) {
            free(one);
        } else {
            fused = one;
        }
    }
    free(fused);
}

static const hy__kv_type types[] = {HY__KV_F32, HY__KV_F16, HY__KV_Q8_0};

static void test_shapes(void **state)
{
    (void)state;
    static const uint32_t dims[][2] = {{64, 64}, {128, 128}, {96, 32}, {64, 128},
                                       {80, 80}, {40, 24},   {7, 5},   {1, 17}};
    for (uint32_t i = 0; i < 9 * HY_COUNT(dims); i += test_stride()) {
        const uint32_t dim = dims[i / 9][0], dim_v = dims[i / 9][1];
        const hy__kv_type k = types[i % 3], v = types[i / 3 % 3];
        if ((k == HY__KV_Q8_0 && dim % 32 != 0) || (v == HY__KV_Q8_0 && dim_v % 32 != 0)) {
            continue;
        }
        const text t = new_text(k, v, dim, dim_v, 1 + i % 8, 1, TOKENS);
        check_text(&t);
        free_text(&t);
    }
}

/* Also more heads than a tile has columns, and than a task has queries. */
static void test_groups(void **state)
{
    (void)state;
    static const uint32_t groups[] = {1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 100};
    for (size_t g = 0; g < HY_COUNT(groups); g++) {
        for (size_t i = 0; i < HY_COUNT(types); i++) {
            const text t = new_text(types[i], types[i], 32, 32, groups[g], 1, 40);
            check_text(&t);
            free_text(&t);
        }
    }
}

/* One position takes nearly all of the weight. */
static void test_sharp(void **state)
{
    (void)state;
    for (size_t i = 0; i < HY_COUNT(types); i++) {
        const text t = new_text(types[i], types[i], 64, 64, 2, 30, TOKENS);
        check_text(&t);
        free_text(&t);
    }
}

/* A key or value that is no number shows in the tokens that see it, and in no other. */
static void test_not_finite(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * HY_COUNT(types); i++) {
        const text t = new_text(types[i / 2], types[i / 2], 32, 64, 3, 1, TOKENS);
        if (i % 2 == 0) {
            t.keys[40 * 32 + 3] = NAN;
        } else {
            t.values[50 * 64 + 4] = NAN;
        }
        check_text(&t);
        free_text(&t);
    }
}

/* ---- measuring */

static void measure(size_t level, hy__kv_type type, uint32_t dim, uint32_t group, uint32_t tokens)
{
    enum { DEPTH = 1024, ROUNDS = 60 };
    hy_env env;
    machine m;
    hy__os_env(&env);
    set_up(&m, level);
    const text t = new_text(type, type, dim, dim, group, 1, DEPTH);
    char *k = empty_cache(t.k, t.n), *v = empty_cache(t.v, t.n);
    float *y = memory_of((size_t)t.n * group * dim * sizeof *y);
    float *scratch = memory_of(hy__cpu_attention_scratch(group, dim, dim) * sizeof *scratch);
    write_rows(m.model.vec, t.k, k, t.keys, 0, t.n);
    write_rows(m.model.vec, t.v, v, t.values, 0, t.n);
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        const uint64_t begin = env.clock_ns(env.user);
        run_step(&m, &t, k, v, DEPTH - tokens, DEPTH, y, scratch);
        least = HY_MIN(least, env.clock_ns(env.user) - begin);
    }
    printf("%-8s %-5s %4u %2u %4u %9.3f\n", hy__level_name(level),
           hy_type_find((uint32_t)(type == HY__KV_F32   ? HY_TYPE_F32
                                   : type == HY__KV_F16 ? HY_TYPE_F16
                                                        : HY_TYPE_Q8_0))
               ->name,
           dim, group, tokens, (double)least / DEPTH / tokens);
    free_text(&t);
    free(k);
    free(v);
    free(y);
    free(scratch);
}

static void bench_all(void)
{
    static const uint32_t shapes[][2] = {{64, 1}, {64, 3}, {64, 4}, {128, 2}};
    printf("level, type, channels, heads of a KV head, tokens: ns per token and position\n");
    for (size_t level = 0; hy__level_name(level); level++) {
        for (size_t i = 0; i < HY_COUNT(shapes) * HY_COUNT(types) && hy__level_here(level); i++) {
            const uint32_t *shape = shapes[i / HY_COUNT(types)];
            measure(level, types[i % HY_COUNT(types)], shape[0], shape[1], 1);
            measure(level, types[i % HY_COUNT(types)], shape[0], shape[1], 96);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench_all();
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes), cmocka_unit_test(test_groups),
                                       cmocka_unit_test(test_sharp),
                                       cmocka_unit_test(test_not_finite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
