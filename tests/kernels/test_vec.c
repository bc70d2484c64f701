/* test_vec.c: every vector function of every level of instructions that this machine has.
 *
 * Each runs on random and on extreme data, on lengths that are not those of vectors, in place where
 * that is allowed, in buffers with guards around them.  Oracles are formulas in double precision;
 * besides, every level must give the bits of the plain one.  The list of functions is that of
 * vec.h: one without a test or without a measurement does not compile, one that was not checked at
 * a level of this machine fails.  --bench: what each costs instead, in nanoseconds per element and
 * GB/s of what it reads and writes, with all of it in the nearest caches. */
#include "support/guarded.h"
#include "support/support.h"

#include <float.h>
#include <math.h>

#include "backend/cpu/levels.h"
#include "base/base.h"
#include "halyard/types.h"
#include "kernels/bench.h"

enum { MOST_INPUTS = 5 };
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

/* ---- a function under test: what it is given and what it must give */

typedef struct call {
    const char *what;
    void (*run)(const hy__vec *vec, const struct call *c, float *out);
    const void *args; /* of `run` */
    uint32_t n;       /* floats of the result */
    /* The result and how far from it is allowed; NULL: only the levels are compared. */
    const double *want, *slack;
} call;

/* ---- cells: function by level */

enum {
#define FUNCTION(name, args) FUNCTION_##name,
    HY__VEC_FUNCTIONS(FUNCTION) N_FUNCTIONS
#undef FUNCTION
};
enum { MOST_LEVELS = 16 };

static size_t tested = N_FUNCTIONS; /* under test; N_FUNCTIONS: none */
static bool checked[N_FUNCTIONS + 1][MOST_LEVELS];

/* A result of the function at this level has been compared. */
static void mark(size_t level)
{
    assert_true(level < MOST_LEVELS);
    checked[tested][level] = true;
}

static void test_every_cell(void **state)
{
    (void)state;
    static const char *const names[] = {
#define NAME(name, args) #name,
        HY__VEC_FUNCTIONS(NAME)
#undef NAME
    };
    for (size_t level = 0; hy__level_name(level); level++) {
        for (size_t i = 0; i < N_FUNCTIONS && hy__level_here(level); i++) {
            if (!checked[i][level]) {
                fail_msg("%s of level %s was not checked", names[i], hy__level_name(level));
            }
        }
    }
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
        float *out = guarded(c->n * sizeof *out);
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
        mark(level);
        if (first) {
            guarded_free(c->what, out);
        } else {
            first = out; /* the plain level */
        }
    }
    assert_non_null(first);
    guarded_free(c->what, first);
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
    double *want = guarded(v.n * sizeof *want), *slack = guarded(v.n * sizeof *slack);
    wanted(v.in, v.n, want, slack);
    for (v.in_place = -1; v.in_place < (int)v.n_inputs; v.in_place++) {
        const call c = {what, run_vectors, &v, v.n, want, slack};
        check(&c);
    }
    guarded_free("an input", want);
    guarded_free("an input", slack);
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
                v.in[i] = guarded(v.n * sizeof(float));
                fill(v.in[i], v.n, k);
            }
            check_vectors(what, v, wanted);
            for (uint32_t i = 0; i < n_inputs; i++) {
                guarded_free("an input", v.in[i]);
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
    float *x = guarded(N * sizeof *x);
    for (uint32_t i = 0; i < N; i++) {
        x[i] = i < HY_COUNT(edges) ? edges[i]
               : i % 2             ? hy__f32_from_bits(random_u32())
                                   : 110 * random_float();
    }
    const vectors v = {.in = {x}, .n = N, .n_inputs = 1, .function = function};
    check_vectors(what, v, wanted);
    guarded_free("an input", x);
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
    for (size_t s = 0; s < HY_COUNT(shapes); s++) {
        for (uint32_t variant = 0; variant < 4; variant++) {
            float *x = guarded(shapes[s][0] * sizeof *x), *cs = guarded(shapes[s][1] * sizeof *cs);
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
            guarded_free("rope", x);
            guarded_free("rope", cs);
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

static void transpose(float *m, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j < i; j++) {
            const float x = m[(size_t)i * n + j];
            m[(size_t)i * n + j] = m[(size_t)j * n + i];
            m[(size_t)j * n + i] = x;
        }
    }
}

/* The result is the last state, a row per value channel, then y. */
static void run_wkv7(const hy__vec *vec, const call *c, float *out)
{
    const wkv7_args *a = c->args;
    const size_t size = (size_t)a->n * a->n;
    float *old = guarded(size * sizeof *old), *y = guarded(a->n_tokens * a->stride * sizeof *y);
    memcpy(old, a->state, size * sizeof *old);
    transpose(old, a->n);
    for (uint32_t t = 0; t < a->n_tokens; t += a->at_once) {
        const size_t at = t * a->stride;
        const hy__vec_wkv7 args = {
            a->in[0] + at, a->in[1] + at, a->in[2] + at,  a->in[3] + at, a->in[4] + at,
            a->in[5] + at, y + at,        a->stride,      old,           out,
            a->at_once,    a->n,          a->at_once == 1};
        vec->wkv7(&args);
        memcpy(old, out, size * sizeof *old);
    }
    transpose(out, a->n);
    for (uint32_t t = 0; t < a->n_tokens; t++) {
        memcpy(out + size + (size_t)t * a->n, y + t * a->stride, a->n * sizeof *y);
    }
    guarded_free("the state before", old);
    guarded_free("wkv7", y);
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
    a->state = guarded((size_t)n * n * sizeof(float));
    fill(a->state, (size_t)n * n, ORDINARY);
    for (uint32_t i = 0; i < 6; i++) {
        a->in[i] = guarded(n_tokens * stride * sizeof(float));
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
    guarded_free("an input", a->state);
    for (uint32_t i = 0; i < 6; i++) {
        guarded_free("an input", a->in[i]);
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
        double *want = guarded(size * sizeof *want), *slack = guarded(size * sizeof *slack);
        want_wkv7(&a, want);
        for (uint32_t i = 0; i < size; i++) {
            slack[i] = i < n * n ? 1e-4 : 4e-5 * n; /* numbers of the state reach 100 */
        }
        a.at_once = tokens;
        const call c = {"wkv7", run_wkv7, &a, size, want, slack};
        check(&c);

        /* Tokens one by one, written past the caches: the same bits. */
        float *together = guarded(size * sizeof *together);
        float *apart = guarded(size * sizeof *apart);
        run_wkv7(hy__level_vec(0), &c, together);
        a.at_once = 1;
        check(&c);
        run_wkv7(hy__level_vec(0), &c, apart);
        assert_memory_equal(together, apart, size * sizeof *apart);
        guarded_free("an input", together);
        guarded_free("an input", apart);
        guarded_free("an input", want);
        guarded_free("an input", slack);
        wkv7_finish(&a);
    }
}

/* ---- blocks of caches */

static const hy__kv_type kv_types[] = {HY__KV_F32, HY__KV_F16, HY__KV_Q8_0};
static const hy_type codecs[] = {HY_TYPE_F32, HY_TYPE_F16, HY_TYPE_Q8_0};

enum { POSITIONS = HY__ATTENTION_BLOCK };

/* What comes next in a block: a number, or the scale of 32 channels from this one on. */
typedef struct cell {
    uint32_t pos, channel;
    bool scale;
} cell;

static cell *list_run(hy__kv_form f, uint32_t panel, uint32_t run, cell *out)
{
    const uint32_t n = f.values ? POSITIONS : 16, first = f.values ? 0 : 16 * panel;
    for (uint32_t l = 0; l < n; l++) {
        *out++ = (cell){first + l, 32 * run, true};
    }
    for (uint32_t e = 0; e < 32 * n; e++) {
        *out++ = f.values ? (cell){e / 16 % 32, 32 * run + e / 512 * 16 + e % 16, false}
                          : (cell){first + e % 16, 32 * run + e / 16, false};
    }
    return out;
}

/* All of a block in its order, as vec.h tells it; returns how many, guarded_free *cells. */
static size_t list_cells(hy__kv_form f, cell **cells)
{
    cell *out = *cells = guarded((size_t)(2 * hy__kv_numbers(f)) * sizeof **cells);
    if (f.type == HY__KV_Q8_0) {
        for (uint32_t panel = 0; panel < (f.values ? 1 : 2); panel++) {
            for (uint32_t run = 0; run < f.dim / 32; run++) {
                out = list_run(f, panel, run, out);
            }
        }
    } else if (f.values) {
        for (uint32_t e = 0; e < (f.dim + 15) / 16 * 512; e++) {
            *out++ = (cell){e / 16 % 32, e / 512 * 16 + e % 16, false};
        }
    } else {
        for (uint32_t e = 0; e < 32 * f.dim; e++) {
            *out++ = (cell){e / (16 * f.dim) * 16 + e % 16, e / 16 % f.dim, false};
        }
    }
    return (size_t)(out - *cells);
}

/* A block with POSITIONS rows of dim numbers. */
typedef struct block_args {
    hy__kv_form form;
    const float *x;
    const void *block;
} block_args;

static void run_kv_write(const hy__vec *vec, const call *c, float *out)
{
    const block_args *a = c->args;
    for (uint32_t i = 0; i < POSITIONS; i++) {
        vec->kv_write(a->form, a->x + (size_t)i * a->form.dim, out, i);
    }
}

static void run_kv_read(const hy__vec *vec, const call *c, float *out)
{
    const block_args *a = c->args;
    for (uint32_t i = 0; i < POSITIONS; i++) {
        vec->kv_read(a->form, a->block, i, out + (size_t)i * a->form.dim);
    }
}

static void run_kv_expand(const hy__vec *vec, const call *c, float *out)
{
    const block_args *a = c->args;
    vec->kv_expand(a->form, a->block, out);
}

/* As numbers that must be met exactly: in the order of rows, then in that of the block, where what
 * is behind the last channel is taken as the plain level has it. */
static void check_read(hy__kv_form f, const void *block, const float *rows)
{
    const size_t n = (size_t)POSITIONS * f.dim, all = (size_t)hy__kv_numbers(f);
    double *want = guarded(all * sizeof *want), *slack = guarded(all * sizeof *slack);
    float *plain = guarded(all * sizeof *plain);
    const block_args a = {f, NULL, block};
    for (size_t i = 0; i < all; i++) {
        want[i] = i < n ? (double)rows[i] : 0;
        slack[i] = 0;
    }
    const call read = {"kv_read", run_kv_read, &a, (uint32_t)n, want, slack};
    check(&read);

    cell *cells;
    const size_t n_cells = list_cells(f, &cells);
    hy__level_vec(0)->kv_expand(f, block, plain);
    for (size_t i = 0, k = 0; i < n_cells; i++) {
        if (!cells[i].scale) {
            want[k] = cells[i].channel < f.dim
                          ? (double)rows[(size_t)cells[i].pos * f.dim + cells[i].channel]
                          : (double)plain[k];
            k++;
        }
    }
    const call expand = {"kv_expand", run_kv_expand, &a, (uint32_t)all, want, slack};
    check(&expand);
    guarded_free("an input", cells);
    guarded_free("an input", plain);
    guarded_free("an input", want);
    guarded_free("an input", slack);
}

/* A row as the codec has it, and its bytes of one cell of the block. */
static void encode(hy__kv_type type, const float *x, uint8_t *row, uint32_t n)
{
    if (type == HY__KV_Q8_0) {
        assert_int_equal(hy_quantize(HY_TYPE_Q8_0, x, row, n, NULL), HY_OK);
    }
    for (uint32_t i = 0; i < n && type != HY__KV_Q8_0; i++) {
        const uint16_t half = hy__f32_to_f16(x[i]);
        const size_t bytes = type == HY__KV_F16 ? sizeof half : sizeof *x;
        memcpy(row + i * bytes, type == HY__KV_F16 ? (const void *)&half : &x[i], bytes);
    }
}

static size_t cell_bytes(hy__kv_form f, cell c, const uint8_t *rows, size_t row_bytes,
                         const uint8_t **at)
{
    const uint8_t *row = rows + c.pos * row_bytes;
    if (f.type == HY__KV_Q8_0) {
        *at = row + (size_t)c.channel / 32 * 34 + (c.scale ? 0 : 2 + c.channel % 32);
        return c.scale ? 2 : 1;
    }
    const size_t bytes = f.type == HY__KV_F16 ? 2 : 4;
    *at = row + c.channel * bytes;
    return bytes;
}

/* Blocks of each level must have the bytes of the codec, and read as it reads them. */
static void check_block(hy__kv_form f, const float *x)
{
    const size_t bytes = (size_t)hy__kv_bytes(f), row_bytes = (size_t)4 * f.dim;
    const block_args a = {f, x, NULL};
    const call c = {"kv_write", run_kv_write, &a, (uint32_t)(bytes / sizeof *x), NULL, NULL};
    check(&c);
    float *block = guarded(bytes);
    uint8_t *rows = guarded(POSITIONS * row_bytes);
    float *decoded = guarded((size_t)POSITIONS * f.dim * sizeof *decoded);
    run_kv_write(hy__level_vec(0), &c, block);
    for (uint32_t i = 0; i < POSITIONS; i++) {
        encode(f.type, x + (size_t)i * f.dim, rows + i * row_bytes, f.dim);
        assert_int_equal(hy_dequantize(codecs[f.type], rows + i * row_bytes,
                                       decoded + (size_t)i * f.dim, f.dim, NULL),
                         HY_OK);
    }
    cell *cells;
    const size_t n_cells = list_cells(f, &cells);
    const uint8_t *got = (const uint8_t *)block, *want;
    for (size_t i = 0; i < n_cells; i++) {
        const size_t n = cell_bytes(f, cells[i], rows, row_bytes, &want);
        if (cells[i].channel < f.dim) {
            assert_memory_equal(got, want, n);
        }
        got += n;
    }
    assert_ptr_equal(got, (const uint8_t *)block + bytes);
    check_read(f, block, decoded);
    guarded_free("kv_write", block);
    guarded_free("an input", cells);
    guarded_free("an input", rows);
    guarded_free("an input", decoded);
}

/* Also what levels read and expand. */
static void test_kv_write(void **state)
{
    (void)state;
    enum { MOST = 2048 };
    float *x = guarded((size_t)POSITIONS * MOST * sizeof *x);
    for (size_t l = 0; l < HY_COUNT(lengths) * HY_COUNT(kv_types) * 2; l++) {
        hy__kv_form f = {kv_types[l / 2 % 3], l % 2 != 0, lengths[l / 6]};
        f.dim = f.type == HY__KV_Q8_0 ? (f.dim + 31) / 32 * 32 : f.dim;
        for (kind k = 0; k < N_KINDS; k++) {
            fill(x, (size_t)POSITIONS * f.dim, k);
            if (f.type != HY__KV_Q8_0 || k == ORDINARY) { /* others: test_kv_not_finite */
                check_block(f, x);
            }
        }
    }
    for (uint32_t round = 0; round < 6; round++) { /* all exponents; infinities and NaNs */
        for (uint32_t i = 0; i < POSITIONS * MOST; i++) {
            x[i] = hy__f32_from_bits(random_u32());
            x[i] = i % 2 ? ldexpf(random_float(), -(int)(random_u32() % 27)) : x[i];
        }
        x[0] = HUGE_VALF;
        x[1] = -HUGE_VALF;
        x[2] = 65519.996f; /* the largest that is finite */
        x[3] = 65520.0f;
        x[4] = 0x1p-25f; /* half of the least, to even */
        x[5] = 0x1.000002p-25f;
        check_block((hy__kv_form){HY__KV_F16, round % 2 != 0, MOST}, x);
    }
    guarded_free("an input", x);
}

/* Every f16 there is. */
static void check_halves(bool values)
{
    const hy__kv_form f = {HY__KV_F16, values, 2048};
    uint16_t *halves = guarded(65536 * sizeof *halves);
    float *rows = guarded(65536 * sizeof *rows);
    cell *cells;
    assert_int_equal(list_cells(f, &cells), 65536);
    for (uint32_t i = 0; i < 65536; i++) {
        halves[i] = (uint16_t)i;
        rows[(size_t)cells[i].pos * f.dim + cells[i].channel] = hy__f16_to_f32(halves[i]);
    }
    check_read(f, halves, rows);
    guarded_free("an input", cells);
    guarded_free("an input", rows);
    guarded_free("an input", halves);
}

static void test_kv_read(void **state)
{
    (void)state;
    check_halves(false);
}

static void test_kv_expand(void **state)
{
    (void)state;
    check_halves(true);
}

/* Blocks that Q8_0 cannot hold read as NaN, their neighbours are as ever. */
static void test_kv_not_finite(void **state)
{
    (void)state;
    const float bad[] = {HUGE_VALF, -HUGE_VALF, NAN, 1e30f};
    enum { DIM = 96, N = POSITIONS * DIM, BAD = 7 * DIM + 40 };
    for (size_t b = 0; b < 2 * HY_COUNT(bad); b++) {
        const hy__kv_form f = {HY__KV_Q8_0, b % 2 != 0, DIM};
        static float x[N], block[N];
        static double want[N], slack[N];
        fill(x, N, ORDINARY);
        x[BAD] = bad[b / 2];
        const block_args a = {f, x, block};
        const call write = {"kv_write", run_kv_write, &a, DIM * 34 / 4, NULL, NULL};
        check(&write);
        run_kv_write(hy__level_vec(0), &write, block);
        for (uint32_t i = 0; i < N; i++) {
            want[i] = i / 32 == BAD / 32 ? (double)NAN : (double)x[i];
            slack[i] = 4 * (0.5 / 127 + 0x1p-11); /* of codes and of their scale */
        }
        const call read = {"kv_read", run_kv_read, &a, N, want, slack};
        check(&read);
    }
}

/* ---- softmax */

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
                hy__vec_softmax *alone = guarded(sizeof s);
                *alone = s;
                hy__level_vec(level)->softmax(alone);
                s = *alone;
                guarded_free("softmax", alone);
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
                mark(level);
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
            float *x = guarded(cols * stride * sizeof *x);
            double *want = guarded((size_t)n * TILE * sizeof *want);
            double *slack = guarded((size_t)n * TILE * sizeof *slack);
            fill(x, cols * stride, WIDE);
            for (uint32_t i = 0; i < n * TILE; i++) {
                want[i] = i % TILE < cols ? (double)x[(i % TILE) * stride + i / TILE] : 0;
                slack[i] = 0;
            }
            const tile_args a = {x, stride, n, cols};
            const call c = {"interleave", run_interleave, &a, n * TILE, want, slack};
            check(&c);
            guarded_free("an input", x);
            guarded_free("an input", want);
            guarded_free("an input", slack);
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
    for (unsigned values = 0; values < 2; values++) {
        assert_int_equal(hy__kv_bytes((hy__kv_form){HY__KV_F32, values != 0, 64}), 32 * 256);
        assert_int_equal(hy__kv_bytes((hy__kv_form){HY__KV_F16, values != 0, 64}), 32 * 128);
        assert_int_equal(hy__kv_bytes((hy__kv_form){HY__KV_Q8_0, values != 0, 64}), 32 * 68);
        assert_int_equal(hy__kv_numbers((hy__kv_form){HY__KV_F16, values != 0, 7}),
                         32 * (values ? 16 : 7));
    }
}

/* The tests of functions say which they check. */
#define TEST(name, args)                                                                           \
    static void cell_##name(void **state)                                                          \
    {                                                                                              \
        tested = FUNCTION_##name;                                                                  \
        test_##name(state);                                                                        \
        tested = N_FUNCTIONS;                                                                      \
    }
HY__VEC_FUNCTIONS(TEST)
#undef TEST

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench_vec();
        return 0;
    }
    const struct CMUnitTest tests[] = {
#define TEST(name, args) cmocka_unit_test(cell_##name),
        HY__VEC_FUNCTIONS(TEST) cmocka_unit_test(test_tables), cmocka_unit_test(test_kv_not_finite),
        cmocka_unit_test(test_every_cell)};
#undef TEST
    int failed = 0;
    for (int at_end = 0; at_end < 2; at_end++) {
        guarded_place(at_end == 1);
        memset(checked, 0, sizeof checked);
        failed += cmocka_run_group_tests_name(
            at_end ? "vec, to the end" : "vec, from the beginning", tests, NULL, NULL);
    }
    return failed;
}
