/* test_vec.c: every vector function of every level of instructions that this machine has.
 *
 * Each runs on random and on extreme data, on lengths that are not those of vectors, in place where
 * that is allowed, with guards around the result.  Oracles are formulas in double precision;
 * besides, every level must give the bits of the plain one.  The list of functions is that of
 * vec.h: one without a test or without a measurement does not compile.  --bench: what each costs
 * instead, in nanoseconds per element. */
#include "support/support.h"

#include <float.h>
#include <math.h>

#include "backend/cpu/levels.h"
#include "base/base.h"
#include "halyard/types.h"

enum { PAD = 17, MOST_INPUTS = 5 };
#define GUARD 0x7fa5a5a5u
#define EPS 1e-5f
#define ULP 0x1p-23 /* of 1 */

static uint64_t random_state = 1;

static uint32_t random_u32(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

/* -1 to 1 */
static float random_float(void)
{
    return (float)((int32_t)random_u32() / 2147483648.0);
}

typedef enum kind { ORDINARY, WIDE, EXTREME, N_KINDS } kind;

static float random_of(kind k)
{
    switch (k) {
    case ORDINARY:
        return 4 * random_float();
    case WIDE:
        return ldexpf(random_float(), (int)(random_u32() % 60) - 30);
    default: /* products of three are finite */
        return ldexpf(random_float(), random_u32() % 2 ? 40 : -40);
    }
}

static void fill(float *x, size_t n, kind k)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = random_of(k);
    }
}

static void *memory_of(size_t bytes)
{
    void *p = malloc(bytes);
    assert_non_null(p);
    return p;
}

/* ---- a function under test: what it is given and what it must give */

typedef struct call {
    const char *what;
    void (*run)(const hy__vec *vec, const struct call *c, float *out);
    const void *args; /* of `run` */
    uint32_t n;       /* floats of the result */
    /* The result and how far from it is allowed; NULL: only the levels are compared. */
    const double *want, *slack;
} call;

static float *guarded(size_t n)
{
    float *memory = memory_of((n + 2 * PAD) * sizeof *memory);
    for (size_t i = 0; i < n + 2 * PAD; i++) {
        memory[i] = hy__f32_from_bits(GUARD);
    }
    return memory + PAD;
}

static void release(const char *what, float *x, size_t n)
{
    float *memory = x - PAD;
    for (size_t i = 0; i < PAD; i++) {
        if (hy__f32_bits(memory[i]) != GUARD || hy__f32_bits(x[n + i]) != GUARD) {
            fail_msg("%s writes outside its result", what);
        }
    }
    free(memory);
}

static bool close_to(float got, double want, double slack)
{
    if (isnan(want)) {
        return isnan(got);
    }
    /* Behind the largest float the neighbour on both sides of the limit is right. */
    return fabs((double)got - want) <= slack || (isinf((float)want) && got == (float)want);
}

/* Runs c on every level. */
static void check(const call *c)
{
    float *first = NULL;
    for (size_t level = 0; hy__level_name(level); level++) {
        if (!hy__level_here(level)) {
            continue;
        }
        float *out = guarded(c->n);
        c->run(hy__level_vec(level), c, out);
        for (uint32_t i = 0; i < c->n; i++) {
            if (c->want && !close_to(out[i], c->want[i], c->slack[i])) {
                fail_msg("%s, level %s: element %u of %u is %.9g instead of %.9g +- %.2g", c->what,
                         hy__level_name(level), i, c->n, (double)out[i], c->want[i], c->slack[i]);
            }
            if (first && hy__f32_bits(first[i]) != hy__f32_bits(out[i]) &&
                !(isnan(first[i]) && isnan(out[i]))) {
                fail_msg("%s: levels %s and %s differ at element %u of %u: %a and %a", c->what,
                         hy__level_name(0), hy__level_name(level), i, c->n, (double)first[i],
                         (double)out[i]);
            }
        }
        if (first) {
            release(c->what, out, c->n);
        } else {
            first = out; /* the plain level */
        }
    }
    assert_non_null(first);
    release(c->what, first, c->n);
}

/* ---- functions of vectors of one length: y may be any of the inputs */

typedef struct vectors {
    float *in[MOST_INPUTS];
    uint32_t n, n_inputs;
    int in_place; /* which input the result replaces; -1: none */
    void (*function)(const hy__vec *vec, float *y, float *const *in, uint32_t n);
} vectors;

static void run_vectors(const hy__vec *vec, const call *c, float *out)
{
    const vectors *v = c->args;
    float *in[MOST_INPUTS] = {0};
    memcpy(in, v->in, sizeof in);
    if (v->in_place >= 0) {
        memcpy(out, in[v->in_place], v->n * sizeof *out);
        in[v->in_place] = out;
    }
    v->function(vec, out, in, v->n);
}

typedef void (*oracle)(float *const *in, uint32_t n, double *want, double *slack);

/* The result from its own memory and in place of every input. */
static void check_vectors(const char *what, vectors v, oracle wanted)
{
    double *want = memory_of(v.n * sizeof *want), *slack = memory_of(v.n * sizeof *slack);
    wanted(v.in, v.n, want, slack);
    for (v.in_place = -1; v.in_place < (int)v.n_inputs; v.in_place++) {
        const call c = {what, run_vectors, &v, v.n, want, slack};
        check(&c);
    }
    free(want);
    free(slack);
}

static const uint32_t lengths[] = {1, 15, 16, 17, 33, 64, 100, 2048};

static void check_random(const char *what, uint32_t n_inputs,
                         void (*function)(const hy__vec *, float *, float *const *, uint32_t),
                         oracle wanted)
{
    for (size_t l = 0; l < HY_COUNT(lengths); l++) {
        for (kind k = 0; k < N_KINDS; k++) {
            vectors v = {.n = lengths[l], .n_inputs = n_inputs, .function = function};
            for (uint32_t i = 0; i < n_inputs; i++) {
                v.in[i] = memory_of(v.n * sizeof(float));
                fill(v.in[i], v.n, k);
            }
            check_vectors(what, v, wanted);
            for (uint32_t i = 0; i < n_inputs; i++) {
                free(v.in[i]);
            }
        }
    }
}

/* Half an ulp is rounding alone; in the subnormal range ulps are absolute. */
static double ulps(double n, double size)
{
    return n * ULP * fmax(fabs(size), (double)FLT_MIN);
}

/* Functions of single elements: the call, the formula in a, b, d, the size that `n_ulp` refers to.
 */
#define ELEMENTWISE(name, n_in, arguments, formula, n_ulp, size)                                   \
    static void run_##name(const hy__vec *vec, float *y, float *const *in, uint32_t n)             \
    {                                                                                              \
        vec->name arguments;                                                                       \
    }                                                                                              \
    static void want_##name(float *const *in, uint32_t n, double *want, double *slack)             \
    {                                                                                              \
        for (uint32_t i = 0; i < n; i++) {                                                         \
            const double a = (double)in[0][i], b = (n_in) > 1 ? (double)in[1][i] : 0,              \
                         d = (n_in) > 2 ? (double)in[2][i] : 0;                                    \
            (void)b;                                                                               \
            (void)d;                                                                               \
            want[i] = (formula);                                                                   \
            slack[i] = ulps((n_ulp), (size));                                                      \
        }                                                                                          \
    }
#define UNARY(name, formula, n_ulp, size) ELEMENTWISE(name, 1, (y, in[0], n), formula, n_ulp, size)

static double sigmoid(double x)
{
    return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}

ELEMENTWISE(add, 2, (y, in[0], in[1], n), a + b, 0.51, want[i])
ELEMENTWISE(mul, 2, (y, in[0], in[1], n), a *b, 0.51, want[i])
ELEMENTWISE(lerp, 3, (y, in[0], in[1], in[2], n), a + (b - a) * d, 1.51,
            fabs(a) + fabs((b - a) * d))
ELEMENTWISE(rwkv7_key, 3, (y, in[0], in[1], in[2], n), a *(1 + (b - 1) * d), 1.51,
            fabs(a) * (1 + fabs(b * d) + fabs(d)))
UNARY(tanh, tanh(a), 3, want[i])
UNARY(sigmoid, sigmoid(a), 3, want[i])
UNARY(silu, a *sigmoid(a), 4, fmax(fabs(want[i]), fabs(a) * (double)FLT_MIN))
UNARY(relu2, a <= 0 ? 0 : a * a, 0.51, want[i])
UNARY(rwkv7_decay, exp(-exp(-0.5) * sigmoid(a)), 2, want[i])

static void test_add(void **state)
{
    (void)state;
    check_random("add", 2, run_add, want_add);
}

static void test_mul(void **state)
{
    (void)state;
    check_random("mul", 2, run_mul, want_mul);
}

static void test_lerp(void **state)
{
    (void)state;
    check_random("lerp", 3, run_lerp, want_lerp);
}

static void test_rwkv7_key(void **state)
{
    (void)state;
    check_random("rwkv7_key", 3, run_rwkv7_key, want_rwkv7_key);
}

/* Random data, then floats of all exponents, and the places where something changes. */
static void check_unary(const char *what,
                        void (*function)(const hy__vec *, float *, float *const *, uint32_t),
                        oracle wanted)
{
    check_random(what, 1, function, wanted);
    static const float edges[] = {
        0.0f,    -0.0f,    0x1p-149f, -0x1p-149f, FLT_MIN, -FLT_MIN,   FLT_MAX,   -FLT_MAX,
        9.01f,   -9.01f,   15.0f,     15.1f,      87.33f,  -87.33f,    88.72f,    -88.72f,
        88.73f,  -88.73f,  89.1f,     103.9f,     -103.9f, -103.98f,   -104.1f,   -745.0f,
        0.3465f, -0.3465f, 0.3466f,   -0.3466f,   0.1733f, -HUGE_VALF, HUGE_VALF, NAN,
    };
    enum { N = 20000 };
    float *x = memory_of(N * sizeof *x);
    for (uint32_t i = 0; i < N; i++) {
        x[i] = i < HY_COUNT(edges) ? edges[i]
               : i % 2             ? hy__f32_from_bits(random_u32())
                                   : 110 * random_float();
    }
    const vectors v = {.in = {x}, .n = N, .n_inputs = 1, .function = function};
    check_vectors(what, v, wanted);
    free(x);
}

#define UNARY_TEST(name)                                                                           \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        check_unary(#name, run_##name, want_##name);                                               \
    }
UNARY_TEST(tanh)
UNARY_TEST(sigmoid)
UNARY_TEST(silu)
UNARY_TEST(relu2)
UNARY_TEST(rwkv7_decay)

/* ---- norms */

static double mean_square(const float *x, double mean, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += ((double)x[i] - mean) * ((double)x[i] - mean);
    }
    return sum / n;
}

static void run_layer_norm(const hy__vec *vec, float *y, float *const *in, uint32_t n)
{
    vec->layer_norm(y, in[0], in[1], in[2], n, EPS);
}

static void want_layer_norm(float *const *in, uint32_t n, double *want, double *slack)
{
    double mean = 0, size = 0;
    for (uint32_t i = 0; i < n; i++) {
        mean += (double)in[0][i] / n;
        size = fmax(size, fabs((double)in[0][i]));
    }
    const double scale = 1 / sqrt(mean_square(in[0], mean, n) + (double)EPS);
    for (uint32_t i = 0; i < n; i++) {
        const double normed = ((double)in[0][i] - mean) * scale * (double)in[1][i];
        want[i] = normed + (double)in[2][i];
        /* A mean in double precision may differ by the order of its sum. */
        slack[i] = ulps(2, fabs(normed) + fabs((double)in[2][i])) +
                   1e-12 * size * scale * fabs((double)in[1][i]);
    }
}

static void test_layer_norm(void **state)
{
    (void)state;
    check_random("layer_norm", 3, run_layer_norm, want_layer_norm);
}

static void run_rms_norm(const hy__vec *vec, float *y, float *const *in, uint32_t n)
{
    vec->rms_norm(y, in[0], in[1], n, EPS);
}

static void want_rms_norm(float *const *in, uint32_t n, double *want, double *slack)
{
    const double scale = 1 / sqrt(mean_square(in[0], 0, n) + (double)EPS);
    for (uint32_t i = 0; i < n; i++) {
        want[i] = (double)in[0][i] * scale * (double)in[1][i];
        slack[i] = ulps(2, want[i]);
    }
}

static void test_rms_norm(void **state)
{
    (void)state;
    check_random("rms_norm", 2, run_rms_norm, want_rms_norm);
}

static void run_l2_norm(const hy__vec *vec, float *y, float *const *in, uint32_t n)
{
    vec->l2_norm(y, in[0], n, EPS);
}

static void want_l2_norm(float *const *in, uint32_t n, double *want, double *slack)
{
    const double length = sqrt(mean_square(in[0], 0, n) * n);
    for (uint32_t i = 0; i < n; i++) {
        want[i] = (double)in[0][i] / fmax(length, (double)EPS);
        slack[i] = ulps(2, want[i]);
    }
}

static void test_l2_norm(void **state)
{
    (void)state;
    check_random("l2_norm", 1, run_l2_norm, want_l2_norm);
    float zeros[100] = {0};
    const vectors v = {.in = {zeros}, .n = 100, .n_inputs = 1, .function = run_l2_norm};
    check_vectors("l2_norm of zeros", v, want_l2_norm);
}

static void run_rwkv7_bonus(const hy__vec *vec, float *y, float *const *in, uint32_t n)
{
    vec->rwkv7_bonus(y, in[0], in[1], in[2], in[3], in[4], n);
}

static void want_rwkv7_bonus(float *const *in, uint32_t n, double *want, double *slack)
{
    double sum = 0, size = 0;
    for (uint32_t i = 0; i < n; i++) {
        const double term = (double)in[1][i] * (double)in[2][i] * (double)in[4][i];
        sum += term;
        size += fabs(term);
    }
    for (uint32_t i = 0; i < n; i++) {
        const double y = (double)in[0][i], v = (double)in[3][i];
        want[i] = y + sum * v;
        slack[i] = ulps(2, fabs(y) + fabs(sum * v)) + 1e-12 * size * fabs(v);
    }
}

static void test_rwkv7_bonus(void **state)
{
    (void)state;
    check_random("rwkv7_bonus", 5, run_rwkv7_bonus, want_rwkv7_bonus);
}

/* ---- rotary positions */

typedef struct rope_args {
    const float *x, *cs;
    uint32_t n, n_rot;
    bool half_split, in_place;
} rope_args;

static void run_rope(const hy__vec *vec, const call *c, float *out)
{
    const rope_args *a = c->args;
    const float *x = a->x;
    if (a->in_place) {
        memcpy(out, x, a->n * sizeof *out);
        x = out;
    }
    vec->rope(out, x, a->cs, a->n, a->n_rot, a->half_split);
}

static void test_rope(void **state)
{
    (void)state;
    static const uint32_t shapes[][2] = {{64, 64}, {128, 128}, {80, 40},
                                         {96, 96}, {34, 34},   {5, 2}};
    float x[128], cs[128];
    for (size_t s = 0; s < HY_COUNT(shapes); s++) {
        for (uint32_t variant = 0; variant < 4; variant++) {
            const rope_args a = {x, cs, shapes[s][0], shapes[s][1], variant % 2, variant / 2};
            fill(x, a.n, ORDINARY);
            fill(cs, a.n_rot, ORDINARY);
            double want[128], slack[128] = {0};
            for (uint32_t i = 0; i < a.n; i++) {
                want[i] = (double)x[i];
            }
            for (uint32_t i = 0; i < a.n_rot / 2; i++) {
                const uint32_t ia = a.half_split ? i : 2 * i;
                const uint32_t ib = a.half_split ? i + a.n_rot / 2 : 2 * i + 1;
                const double xa = (double)x[ia], xb = (double)x[ib];
                const double cosine = (double)cs[2 * i], sine = (double)cs[2 * i + 1];
                want[ia] = xa * cosine - xb * sine;
                want[ib] = xa * sine + xb * cosine;
                slack[ia] = ulps(1.01, fabs(xa * cosine) + fabs(xb * sine));
                slack[ib] = ulps(1.01, fabs(xa * sine) + fabs(xb * cosine));
            }
            const call c = {"rope", run_rope, &a, a.n, want, slack};
            check(&c);
        }
    }
}

/* ---- recurrence */

typedef struct wkv7_args {
    float *in[6], *state; /* r w k v kk a, each [n_tokens][stride] */
    size_t stride;
    uint32_t n, n_tokens;
    uint32_t at_once; /* tokens of a call */
} wkv7_args;

/* The result is the last state, then y. */
static void run_wkv7(const hy__vec *vec, const call *c, float *out)
{
    const wkv7_args *a = c->args;
    const size_t size = (size_t)a->n * a->n;
    float *old = memory_of(size * sizeof *old), *y = memory_of(a->n_tokens * a->stride * sizeof *y);
    memcpy(old, a->state, size * sizeof *old);
    for (uint32_t t = 0; t < a->n_tokens; t += a->at_once) {
        const size_t at = t * a->stride;
        const hy__vec_wkv7 args = {
            a->in[0] + at, a->in[1] + at, a->in[2] + at,  a->in[3] + at, a->in[4] + at,
            a->in[5] + at, y + at,        a->stride,      old,           out,
            a->at_once,    a->n,          a->at_once == 1};
        vec->wkv7(&args);
        memcpy(old, out, size * sizeof *old);
    }
    for (uint32_t t = 0; t < a->n_tokens; t++) {
        memcpy(out + size + (size_t)t * a->n, y + t * a->stride, a->n * sizeof *y);
    }
    free(old);
    free(y);
}

static void want_wkv7(const wkv7_args *a, double *want)
{
    const uint32_t n = a->n;
    double *y = want + (size_t)n * n;
    for (size_t i = 0; i < (size_t)n * n; i++) {
        want[i] = (double)a->state[i];
    }
    for (uint32_t t = 0; t < a->n_tokens; t++) {
        const float *r = a->in[0] + t * a->stride, *w = a->in[1] + t * a->stride,
                    *k = a->in[2] + t * a->stride, *v = a->in[3] + t * a->stride,
                    *kk = a->in[4] + t * a->stride, *alpha = a->in[5] + t * a->stride;
        for (uint32_t i = 0; i < n; i++, y++) {
            double *s = want + (size_t)i * n, removed = 0;
            for (uint32_t j = 0; j < n; j++) {
                removed += s[j] * (double)kk[j];
            }
            *y = 0;
            for (uint32_t j = 0; j < n; j++) {
                s[j] = s[j] * (double)w[j] - removed * (double)kk[j] * (double)alpha[j] +
                       (double)v[i] * (double)k[j];
                *y += s[j] * (double)r[j];
            }
        }
    }
}

static void wkv7_init(wkv7_args *a, uint32_t n, uint32_t n_tokens, size_t stride)
{
    *a = (wkv7_args){.n = n, .n_tokens = n_tokens, .stride = stride};
    a->state = memory_of((size_t)n * n * sizeof(float));
    fill(a->state, (size_t)n * n, ORDINARY);
    for (uint32_t i = 0; i < 6; i++) {
        a->in[i] = memory_of(n_tokens * stride * sizeof(float));
        fill(a->in[i], n_tokens * stride, ORDINARY);
    }
    for (size_t i = 0; i < n_tokens * stride; i++) {
        a->in[1][i] = 0.75f + a->in[1][i] / 16;            /* w: 0.5 to 1 */
        a->in[4][i] = a->in[4][i] / (2 * sqrtf((float)n)); /* kk: length about 1 */
        a->in[5][i] = 0.5f + a->in[5][i] / 8;              /* a: 0 to 1 */
    }
}

static void wkv7_finish(wkv7_args *a)
{
    free(a->state);
    for (uint32_t i = 0; i < 6; i++) {
        free(a->in[i]);
    }
}

static void test_wkv7(void **state)
{
    (void)state;
    static const uint32_t shapes[][2] = {{64, 1}, {64, 18}, {32, 4}, {128, 3},
                                         {1, 5},  {15, 4},  {17, 4}, {100, 6}};
    for (size_t s = 0; s < HY_COUNT(shapes); s++) {
        const uint32_t n = shapes[s][0], tokens = shapes[s][1];
        const uint32_t size = n * n + n * tokens;
        wkv7_args a;
        wkv7_init(&a, n, tokens, n + 7);
        double *want = memory_of(size * sizeof *want), *slack = memory_of(size * sizeof *slack);
        want_wkv7(&a, want);
        for (uint32_t i = 0; i < size; i++) {
            slack[i] = i < n * n ? 1e-4 : 4e-5 * n; /* numbers of the state reach 100 */
        }
        a.at_once = tokens;
        const call c = {"wkv7", run_wkv7, &a, size, want, slack};
        check(&c);

        /* Tokens one by one, written past the caches: the same bits. */
        float *together = memory_of(size * sizeof *together);
        float *apart = memory_of(size * sizeof *apart);
        run_wkv7(hy__level_vec(0), &c, together);
        a.at_once = 1;
        check(&c);
        run_wkv7(hy__level_vec(0), &c, apart);
        assert_memory_equal(together, apart, size * sizeof *apart);
        free(together);
        free(apart);
        free(want);
        free(slack);
        wkv7_finish(&a);
    }
}

/* ---- rows of caches */

static const hy__kv_type kv_types[] = {HY__KV_F32, HY__KV_F16, HY__KV_Q8_0};

typedef struct row_args {
    hy__kv_type type;
    const float *x;
    const void *row;
    uint32_t n;
} row_args;

static void run_kv_write(const hy__vec *vec, const call *c, float *out)
{
    const row_args *a = c->args;
    vec->kv_write(a->type, a->x, out, a->n);
}

static void run_kv_read(const hy__vec *vec, const call *c, float *out)
{
    const row_args *a = c->args;
    vec->kv_read(a->type, a->row, out, a->n);
}

/* The row of each level must have the bytes of the codec. */
static void check_row(hy__kv_type type, const float *x, uint32_t n)
{
    const size_t bytes = hy__kv_bytes(type, n);
    uint8_t *codec = memory_of(bytes);
    for (size_t level = 0; hy__level_name(level); level++) {
        if (!hy__level_here(level)) {
            continue;
        }
        float *row = guarded(bytes / sizeof *row + 1);
        memset(row, 0x5a, (bytes / sizeof *row + 1) * sizeof *row);
        hy__level_vec(level)->kv_write(type, x, row, n);
        if (type == HY__KV_Q8_0) {
            assert_int_equal(hy_quantize(HY_TYPE_Q8_0, x, codec, n, NULL), HY_OK);
        } else {
            for (uint32_t i = 0; i < n; i++) {
                const uint16_t half = hy__f32_to_f16(x[i]);
                const void *one = type == HY__KV_F16 ? (const void *)&half : &x[i];
                memcpy(codec + i * hy__kv_bytes(type, 1), one, hy__kv_bytes(type, 1));
            }
        }
        assert_memory_equal(row, codec, bytes);
        for (size_t i = bytes; i < (bytes / sizeof *row + 1) * sizeof *row; i++) {
            assert_int_equal(((uint8_t *)row)[i], 0x5a);
        }
        release("kv_write", row, bytes / sizeof *row + 1);
    }
    free(codec);
}

static void test_kv_write(void **state)
{
    (void)state;
    float x[2048];
    for (size_t l = 0; l < HY_COUNT(lengths); l++) {
        for (kind k = 0; k < N_KINDS; k++) {
            for (size_t t = 0; t < HY_COUNT(kv_types); t++) {
                const uint32_t n =
                    kv_types[t] == HY__KV_Q8_0 ? (lengths[l] + 31) / 32 * 32 : lengths[l];
                fill(x, n, k);
                if (kv_types[t] != HY__KV_Q8_0 || k == ORDINARY) { /* others: test_kv_not_finite */
                    check_row(kv_types[t], x, n);
                }
            }
        }
    }
    for (uint32_t round = 0; round < 200; round++) { /* all exponents; infinities and NaNs */
        for (uint32_t i = 0; i < 2048; i++) {
            x[i] = hy__f32_from_bits(random_u32());
            x[i] = i % 2 ? ldexpf(random_float(), -(int)(random_u32() % 27)) : x[i];
        }
        x[0] = HUGE_VALF;
        x[1] = -HUGE_VALF;
        x[2] = 65519.996f; /* the largest that is finite */
        x[3] = 65520.0f;
        x[4] = 0x1p-25f; /* half of the least, to even */
        x[5] = 0x1.000002p-25f;
        check_row(HY__KV_F16, x, 2048);
    }
}

/* Blocks that Q8_0 cannot hold read as NaN, their neighbours are as ever. */
static void test_kv_not_finite(void **state)
{
    (void)state;
    const float bad[] = {HUGE_VALF, -HUGE_VALF, NAN, 1e30f};
    for (size_t b = 0; b < HY_COUNT(bad); b++) {
        float x[96], back[96], row[96];
        fill(x, 96, ORDINARY);
        x[40] = bad[b];
        double want[96], slack[96];
        hy__level_vec(0)->kv_write(HY__KV_Q8_0, x, row, 96);
        hy__level_vec(0)->kv_read(HY__KV_Q8_0, row, back, 96);
        for (uint32_t i = 0; i < 96; i++) {
            want[i] = i / 32 == 1 ? (double)NAN : (double)x[i];
            slack[i] = 4 * (0.5 / 127 + 0x1p-11); /* of codes and of their scale */
            assert_true(close_to(back[i], want[i], slack[i]));
        }
        const row_args a = {HY__KV_Q8_0, x, NULL, 96};
        const uint32_t floats = (uint32_t)(hy__kv_bytes(HY__KV_Q8_0, 96) + 3) / sizeof(float);
        const call c = {"kv_write", run_kv_write, &a, floats, NULL, NULL};
        check(&c);
    }
}

static void check_kv_read(hy__kv_type type, const void *row, uint32_t n)
{
    float *back = memory_of(n * sizeof *back);
    double *want = memory_of(n * sizeof *want), *slack = memory_of(n * sizeof *slack);
    static const hy_type types[] = {HY_TYPE_F32, HY_TYPE_F16, HY_TYPE_Q8_0};
    assert_int_equal(hy_dequantize(types[type], row, back, n, NULL), HY_OK);
    for (uint32_t i = 0; i < n; i++) {
        want[i] = (double)back[i];
        slack[i] = 0;
    }
    const row_args a = {type, NULL, row, n};
    const call c = {"kv_read", run_kv_read, &a, n, want, slack};
    check(&c);
    free(back);
    free(want);
    free(slack);
}

static void test_kv_read(void **state)
{
    (void)state;
    uint16_t *halves = memory_of(65536 * sizeof *halves);
    for (uint32_t i = 0; i < 65536; i++) {
        halves[i] = (uint16_t)i;
    }
    check_kv_read(HY__KV_F16, halves, 65536);
    float x[2048], row[2048];
    for (size_t l = 0; l < HY_COUNT(lengths); l++) {
        fill(x, 2048, ORDINARY);
        check_kv_read(HY__KV_F32, x, lengths[l]);
        check_kv_read(HY__KV_F16, halves + 0x3800, lengths[l]);
        const uint32_t n = (lengths[l] + 31) / 32 * 32;
        assert_int_equal(hy_quantize(HY_TYPE_Q8_0, x, row, n, NULL), HY_OK);
        check_kv_read(HY__KV_Q8_0, row, n);
    }
    free(halves);
}

/* ---- attention */

enum { POSITIONS = 130 };

typedef struct cache {
    hy__kv_type type;
    size_t stride;
    uint32_t dim;
    char *rows;
    float *read; /* what the rows hold */
} cache;

static void cache_init(cache *c, hy__kv_type type, uint32_t dim)
{
    *c = (cache){.type = type, .dim = dim, .stride = 2 * hy__kv_bytes(type, dim) + 4};
    c->rows = memory_of(POSITIONS * c->stride);
    c->read = memory_of((size_t)POSITIONS * dim * sizeof *c->read);
    for (uint32_t p = 0; p < POSITIONS; p++) {
        float *x = c->read + (size_t)p * dim;
        fill(x, dim, ORDINARY);
        hy__level_vec(0)->kv_write(type, x, c->rows + p * c->stride, dim);
        hy__level_vec(0)->kv_read(type, c->rows + p * c->stride, x, dim);
    }
}

static void cache_finish(cache *c)
{
    free(c->rows);
    free(c->read);
}

static void run_attention(const hy__vec *vec, const call *c, float *out)
{
    hy__vec_attention a = *(const hy__vec_attention *)c->args;
    const size_t n = hy__vec_attention_scratch(a.n_head, HY_MAX(a.dim, a.dim_v));
    a.scratch = guarded(n);
    a.y = out;
    vec->attention(&a);
    release("the scratch memory of attention", a.scratch, n);
}

static void want_attention(const hy__vec_attention *a, const cache *k, const cache *v, double *want,
                           double *slack)
{
    for (uint32_t h = 0; h < a->n_head; h++) {
        double scores[POSITIONS], most = -HUGE_VAL, size = 0, sum = 0;
        for (uint64_t p = 0; p <= a->pos; p++) {
            double s = 0, terms = 0;
            for (uint32_t i = 0; i < a->dim; i++) {
                const double term =
                    (double)a->q[(size_t)h * a->dim + i] * (double)k->read[p * a->dim + i];
                s += term;
                terms += fabs(term);
            }
            scores[p] = s * (double)a->scale;
            most = fmax(most, scores[p]);
            size = fmax(size, terms * (double)a->scale);
        }
        double *y = want + (size_t)h * a->dim_v;
        memset(y, 0, a->dim_v * sizeof *y);
        for (uint64_t p = 0; p <= a->pos; p++) {
            const double weight = exp(scores[p] - most);
            sum += weight;
            for (uint32_t i = 0; i < a->dim_v; i++) {
                y[i] += weight * (double)v->read[p * a->dim_v + i];
            }
        }
        for (uint32_t i = 0; i < a->dim_v; i++) {
            y[i] /= sum;
            /* Values reach 4; the error of a score is one of its weight. */
            slack[(size_t)h * a->dim_v + i] = 4 * ULP * (8 + 4 * size);
        }
    }
}

static void check_attention(uint32_t n_head, const cache *k, const cache *v, uint64_t pos,
                            float sharpness)
{
    float *q = memory_of((size_t)n_head * k->dim * sizeof *q);
    const size_t n = (size_t)n_head * v->dim;
    double *want = memory_of(n * sizeof *want), *slack = memory_of(n * sizeof *slack);
    fill(q, (size_t)n_head * k->dim, ORDINARY);
    const hy__vec_attention a = {.q = q,
                                 .k = k->rows,
                                 .v = v->rows,
                                 .k_stride = k->stride,
                                 .v_stride = v->stride,
                                 .k_type = k->type,
                                 .v_type = v->type,
                                 .n_head = n_head,
                                 .dim = k->dim,
                                 .dim_v = v->dim,
                                 .pos = pos,
                                 .scale = sharpness / sqrtf((float)k->dim)};
    want_attention(&a, k, v, want, slack);
    const call c = {"attention", run_attention, &a, (uint32_t)n, want, slack};
    check(&c);
    free(q);
    free(want);
    free(slack);
}

static void test_attention(void **state)
{
    (void)state;
    static const uint32_t dims[][2] = {{64, 64},   {80, 80},  {96, 96}, {128, 128},
                                       {256, 256}, {64, 128}, {40, 24}, {7, 5}};
    static const uint64_t positions[] = {0, 1, 14, 31, 32, 63, 100, POSITIONS - 1};
    for (size_t d = 0; d < HY_COUNT(dims); d++) {
        for (size_t t = 0; t < 5; t++) {
            const hy__kv_type k_type = kv_types[t % 3], v_type = kv_types[t < 3 ? t : (t + 1) % 3];
            if ((k_type == HY__KV_Q8_0 && dims[d][0] % 32) ||
                (v_type == HY__KV_Q8_0 && dims[d][1] % 32)) {
                continue;
            }
            cache k, v;
            cache_init(&k, k_type, dims[d][0]);
            cache_init(&v, v_type, dims[d][1]);
            for (size_t p = 0; p < HY_COUNT(positions); p++) {
                check_attention(1 + (uint32_t)(p + d) % 5, &k, &v, positions[p], 1);
                check_attention(2, &k, &v, positions[p], 30); /* one position takes nearly all */
            }
            cache_finish(&k);
            cache_finish(&v);
        }
    }
}

/* A key or value that is no number shows; one behind the position does not. */
static void test_attention_not_finite(void **state)
{
    (void)state;
    enum { DIM = 16 };
    cache k, v;
    cache_init(&k, HY__KV_F32, DIM);
    cache_init(&v, HY__KV_F32, DIM);
    k.read[40 * DIM + 3] = v.read[50 * DIM + 4] = NAN;
    memcpy(k.rows + 40 * k.stride, k.read + (size_t)40 * DIM, DIM * sizeof(float));
    memcpy(v.rows + 50 * v.stride, v.read + (size_t)50 * DIM, DIM * sizeof(float));
    for (uint64_t pos = 38; pos < 42; pos++) {
        check_attention(3, &k, &v, pos, 1);
    }
    fill(k.read, (size_t)POSITIONS * DIM, ORDINARY);
    memcpy(k.rows + 40 * k.stride, k.read + (size_t)40 * DIM, DIM * sizeof(float));
    for (uint32_t p = 0; p < POSITIONS; p++) {
        memcpy(k.rows + p * k.stride, k.read + (size_t)p * DIM, DIM * sizeof(float));
    }
    for (uint64_t pos = 48; pos < 52; pos++) {
        check_attention(3, &k, &v, pos, 1);
    }
    cache_finish(&k);
    cache_finish(&v);
}

/* Blocks of scores one after another: weights, the largest score and the sum of all weights are
 * those of a softmax over everything so far; scores out of sight have no weight. */
static void test_softmax(void **state)
{
    (void)state;
    enum { N = HY__ATTENTION_BLOCK, BLOCKS = 5 };
    static const float sizes[] = {1, 30, 1000};
    for (size_t size = 0; size < HY_COUNT(sizes); size++) {
        float scores[BLOCKS][N];
        for (size_t i = 0; i < (size_t)BLOCKS * N; i++) {
            scores[i / N][i % N] = i % 7 == 3 && i > 0 ? -HUGE_VALF : sizes[size] * random_float();
        }
        hy__vec_softmax plain[BLOCKS];
        for (size_t level = 0; hy__level_name(level); level++) {
            hy__vec_softmax s = {.most = -HUGE_VALF};
            double most = -HUGE_VAL, sum = 0;
            for (size_t b = 0; b < BLOCKS && hy__level_here(level); b++) {
                const double before = most;
                memcpy(s.weights, scores[b], sizeof s.weights);
                hy__level_vec(level)->softmax(&s);
                for (size_t i = 0; i < N; i++) {
                    most = fmax(most, (double)scores[b][i]);
                }
                sum *= b > 0 ? exp(before - most) : 0;
                double got = 0;
                for (size_t i = 0; i < N; i++) {
                    const double weight = exp((double)scores[b][i] - most);
                    assert_true(fabs((double)s.weights[i] - weight) <= 3e-7);
                    sum += weight;
                    got += i < HY_COUNT(s.sum) ? (double)s.sum[i] : 0;
                }
                assert_true((double)s.most == most && fabs(got - sum) <= 1e-6 * sum);
                assert_true(b == 0 || fabs((double)s.rescale - exp(before - most)) <= 3e-7);
                plain[b] = level == 0 ? s : plain[b];
                assert_memory_equal(&s, &plain[b], sizeof s);
            }
        }
    }
}

/* ---- tiles */

enum { TILE = 12 };

typedef struct tile_args {
    const float *x;
    size_t stride;
    uint32_t n, cols;
} tile_args;

static void run_interleave(const hy__vec *vec, const call *c, float *out)
{
    const tile_args *a = c->args;
    vec->interleave(a->x, a->stride, a->n, a->cols, out);
}

static void test_interleave(void **state)
{
    (void)state;
    for (size_t l = 0; l < HY_COUNT(lengths); l++) {
        for (uint32_t cols = 1; cols <= TILE; cols++) {
            const uint32_t n = lengths[l];
            const size_t stride = n + 3;
            float *x = memory_of(cols * stride * sizeof *x);
            double *want = memory_of((size_t)n * TILE * sizeof *want);
            double *slack = memory_of((size_t)n * TILE * sizeof *slack);
            fill(x, cols * stride, WIDE);
            for (uint32_t i = 0; i < n * TILE; i++) {
                want[i] = i % TILE < cols ? (double)x[(i % TILE) * stride + i / TILE] : 0;
                slack[i] = 0;
            }
            const tile_args a = {x, stride, n, cols};
            const call c = {"interleave", run_interleave, &a, n * TILE, want, slack};
            check(&c);
            free(x);
            free(want);
            free(slack);
        }
    }
}

/* ---- tables */

static void test_tables(void **state)
{
    (void)state;
    for (size_t level = 0; hy__level_name(level); level++) {
        if (hy__level_built(level)) {
            const hy__vec *vec = hy__level_vec(level);
            assert_non_null(vec);
#define CHECK_MEMBER(name, args) assert_true(vec->name != NULL);
            HY__VEC_FUNCTIONS(CHECK_MEMBER)
#undef CHECK_MEMBER
        }
    }
    assert_ptr_equal(hy__level_vec(0), &hy__vec_plain);
    assert_int_equal(hy__kv_bytes(HY__KV_F32, 64), 256);
    assert_int_equal(hy__kv_bytes(HY__KV_F16, 64), 128);
    assert_int_equal(hy__kv_bytes(HY__KV_Q8_0, 64), 68);
}

/* ---- measuring */

enum { BENCH_N = 2048, HEAD = 64, BENCH_POSITIONS = 1024, BENCH_HEADS = 3 };

/* Memory for any function, filled with ordinary numbers. */
typedef struct bench {
    float *a, *b, *d, *e, *f, *y, *scratch;
    size_t elements; /* that one call works through; set by it */
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
}

static void bench_attention(const hy__vec *vec, bench *b)
{
    const hy__vec_attention args = {.q = b->a,
                                    .y = b->y,
                                    .k = b->scratch,
                                    .v = b->scratch,
                                    .k_stride = 2 * HEAD,
                                    .v_stride = 2 * HEAD,
                                    .k_type = HY__KV_F16,
                                    .v_type = HY__KV_F16,
                                    .n_head = BENCH_HEADS,
                                    .dim = HEAD,
                                    .dim_v = HEAD,
                                    .pos = BENCH_POSITIONS - 1,
                                    .scale = 0.125f,
                                    .scratch = b->f};
    vec->attention(&args);
    b->elements = BENCH_POSITIONS;
}

#define BENCH(name, arguments)                                                                     \
    static void bench_##name(const hy__vec *vec, bench *b)                                         \
    {                                                                                              \
        vec->name arguments;                                                                       \
        b->elements = BENCH_N;                                                                     \
    }
BENCH(add, (b->y, b->a, b->b, BENCH_N))
BENCH(mul, (b->y, b->a, b->b, BENCH_N))
BENCH(lerp, (b->y, b->a, b->b, b->d, BENCH_N))
BENCH(tanh, (b->y, b->a, BENCH_N))
BENCH(sigmoid, (b->y, b->a, BENCH_N))
BENCH(silu, (b->y, b->a, BENCH_N))
BENCH(relu2, (b->y, b->a, BENCH_N))
BENCH(rwkv7_decay, (b->y, b->a, BENCH_N))
BENCH(rwkv7_key, (b->y, b->a, b->b, b->d, BENCH_N))
BENCH(layer_norm, (b->y, b->a, b->b, b->d, BENCH_N, EPS))
BENCH(rms_norm, (b->y, b->a, b->b, BENCH_N, EPS))
BENCH(l2_norm, (b->y, b->a, BENCH_N, EPS))
BENCH(rwkv7_bonus, (b->y, b->a, b->b, b->d, b->e, b->f, BENCH_N))
BENCH(rope, (b->y, b->a, b->b, BENCH_N, BENCH_N, true))
BENCH(kv_write, (HY__KV_F16, b->a, b->y, BENCH_N))
BENCH(kv_read, (HY__KV_F16, b->scratch, b->y, BENCH_N))
BENCH(softmax, ((hy__vec_softmax *)(void *)b->y))
BENCH(interleave, (b->a, BENCH_N / TILE, BENCH_N / TILE, TILE, b->y))

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
    printf("%-12s %-8s %9.3f\n", name, level, (double)least / CALLS / (double)b->elements);
}

static void bench_all(void)
{
    enum { FLOATS = 3 * 65536 };
    float *memory[7];
    for (size_t i = 0; i < HY_COUNT(memory); i++) {
        memory[i] = memory_of(FLOATS * sizeof **memory);
        for (size_t j = 0; j < FLOATS; j++) {
            memory[i][j] = random_float() / 8;
        }
    }
    bench b = {memory[0], memory[1], memory[2], memory[3], memory[4], memory[5], memory[6], 0};
    hy__level_vec(0)->kv_write(HY__KV_F16, b.a, b.scratch, FLOATS);
    printf("ns per element; wkv7: per token of a head of %d; attention: per position of %d heads "
           "of %d\n",
           HEAD, BENCH_HEADS, HEAD);
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

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench_all();
        return 0;
    }
    const struct CMUnitTest tests[] = {
#define TEST(name, args) cmocka_unit_test(test_##name),
        HY__VEC_FUNCTIONS(TEST) cmocka_unit_test(test_tables), cmocka_unit_test(test_kv_not_finite),
        cmocka_unit_test(test_attention_not_finite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
