/* test_sampler.c: every stage of the sampler against a straightforward one (sort everything, libm),
 * small cases by hand, stored draws, and what happens when memory or the input is bad. */
#include "support/support.h"
#include "unit/vocab_file.h"

#include <math.h>

/* ---- the straightforward sampler */

typedef struct item {
    int id;
    double logit;
    double key;
} item;

static int by_key_falling(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->key != y->key) {
        return x->key > y->key ? -1 : 1;
    }
    return x->id < y->id ? -1 : 1;
}

static int by_id(const void *a, const void *b)
{
    return ((const item *)a)->id < ((const item *)b)->id ? -1 : 1;
}

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static double naive_uniform(uint64_t seed, uint64_t position)
{
    uint64_t state = seed;
    state = splitmix64(&state);
    state += position * UINT64_C(0x9e3779b97f4a7c15);
    return (double)(splitmix64(&state) >> 11) / 9007199254740992.0;
}

/* Probabilities of the logits into `key`. */
static void naive_softmax(item *v, int n)
{
    double max = -INFINITY, z = 0;
    for (int i = 0; i < n; i++) {
        max = fmax(max, v[i].logit);
    }
    for (int i = 0; i < n; i++) {
        z += exp(v[i].logit - max);
    }
    for (int i = 0; i < n; i++) {
        v[i].key = exp(v[i].logit - max) / z;
    }
}

static int naive_draw(item *v, int n, double u, double *p)
{
    naive_softmax(v, n);
    qsort(v, (size_t)n, sizeof *v, by_id);
    double sum = 0;
    for (int i = 0; i < n; i++) {
        sum += v[i].key;
        if (sum > u || i == n - 1) {
            *p = v[i].key;
            return v[i].id;
        }
    }
    return -1;
}

static int naive_typical(item *v, int n, double limit)
{
    naive_softmax(v, n);
    double entropy = 0;
    for (int i = 0; i < n; i++) {
        entropy -= v[i].key * log(v[i].key);
    }
    for (int i = 0; i < n; i++) {
        v[i].key = -fabs(-log(v[i].key) - entropy);
    }
    qsort(v, (size_t)n, sizeof *v, by_key_falling);
    double max = -INFINITY, z = 0, sum = 0;
    for (int i = 0; i < n; i++) {
        max = fmax(max, v[i].logit);
    }
    for (int i = 0; i < n; i++) {
        z += exp(v[i].logit - max);
    }
    int kept = 0;
    while (kept < n && sum < limit) {
        sum += exp(v[kept++].logit - max) / z;
    }
    return kept;
}

static int naive_top_p(item *v, int n, double limit)
{
    naive_softmax(v, n);
    qsort(v, (size_t)n, sizeof *v, by_key_falling);
    double sum = 0;
    int kept = 0;
    while (kept < n && sum < limit) {
        sum += v[kept++].key;
    }
    return kept;
}

static int naive_min_p(item *v, int n, double limit)
{
    naive_softmax(v, n);
    qsort(v, (size_t)n, sizeof *v, by_key_falling);
    int kept = 0;
    while (kept < n && v[kept].key >= limit * v[0].key) {
        kept++;
    }
    return kept;
}

static int naive_mirostat(item *v, int n, double tau, double eta, double u, float *mu)
{
    const double old = *mu == 0 ? 2 * tau : *mu;
    naive_softmax(v, n);
    qsort(v, (size_t)n, sizeof *v, by_key_falling);
    int kept = 1;
    while (kept < n && -log2(v[kept].key) <= old) {
        kept++;
    }
    double p = 0;
    const int id = naive_draw(v, kept, u, &p);
    *mu = (float)(old - eta * (-log2(p) - tau));
    return id;
}

static int naive_pick(const hy_sampler_opts *o, const float *logits, int n_vocab,
                      const hy_token *history, int n_history, uint64_t position, float *mu)
{
    item *v = malloc((size_t)n_vocab * sizeof *v);
    int n = 0;
    const int last_n = o->penalty_last_n == 0 ? 64 : o->penalty_last_n;
    const int from = last_n < 0 || last_n > n_history ? 0 : n_history - last_n;
    for (int i = 0; i < n_vocab; i++) {
        double l = logits[i];
        for (size_t b = 0; b < o->n_logit_bias; b++) {
            l += o->logit_bias[b].token == i ? o->logit_bias[b].bias : 0;
        }
        int times = 0;
        for (int h = from; h < n_history; h++) {
            times += history[h] == i;
        }
        if (times > 0) {
            const double repeat = o->repeat_penalty == 0 ? 1 : o->repeat_penalty;
            l = l <= 0 ? l * repeat : l / repeat;
            l -= times * (double)o->frequency_penalty + o->presence_penalty;
        }
        if (l > -INFINITY) {
            v[n++] = (item){i, l, 0};
        }
    }
    const double u = naive_uniform(o->seed, position);
    const double temperature = o->temperature == 0 ? 0.8f : o->temperature;
    const double top_p = o->top_p == 0 ? 0.95f : o->top_p;
    const double min_p = o->min_p == 0 ? 0.05f : o->min_p;
    const int top_k = o->top_k == 0 ? 40 : o->top_k;
    int id;
    double p;
    if (o->greedy) {
        for (int i = 0; i < n; i++) {
            v[i].key = v[i].logit;
        }
        qsort(v, (size_t)n, sizeof *v, by_key_falling);
        id = v[0].id;
    } else if (o->mirostat == 2) {
        for (int i = 0; i < n; i++) {
            v[i].logit /= temperature;
        }
        id = naive_mirostat(v, n, o->mirostat_tau == 0 ? 5 : o->mirostat_tau,
                            o->mirostat_eta == 0 ? 0.1f : o->mirostat_eta, u, mu);
    } else {
        if (top_k > 0 && top_k < n) {
            for (int i = 0; i < n; i++) {
                v[i].key = v[i].logit;
            }
            qsort(v, (size_t)n, sizeof *v, by_key_falling);
            n = top_k;
        }
        if (o->typical_p > 0 && o->typical_p < 1) {
            n = naive_typical(v, n, o->typical_p);
        }
        if (top_p < 1) {
            n = naive_top_p(v, n, top_p);
        }
        if (min_p > 0) {
            n = naive_min_p(v, n, min_p);
        }
        for (int i = 0; i < n; i++) {
            v[i].logit /= temperature;
        }
        id = naive_draw(v, n, u, &p);
    }
    free(v);
    return id;
}

/* ---- helpers */

static const hy_sampler_opts plain = {
    .size = sizeof(hy_sampler_opts), .top_k = -1, .top_p = 1, .min_p = -1, .temperature = 1};

static hy_sampler *make(const hy_sampler_opts *o)
{
    hy_error err;
    hy_sampler *s;
    assert_ok(hy_sampler_create(o, NULL, NULL, &s, &err), &err);
    return s;
}

static hy_token pick(const hy_sampler_opts *o, const float *logits, uint32_t n,
                     const hy_token *history, size_t n_history, uint64_t position)
{
    hy_error err;
    hy_token id;
    hy_sampler *s = make(o);
    assert_ok(hy_sampler_pick(s, logits, n, history, n_history, position, NULL, &id, &err), &err);
    hy_sampler_destroy(s);
    return id;
}

/* Roughly normal, scaled. */
static void random_logits(float *out, int n, uint64_t *state, double scale)
{
    for (int i = 0; i < n; i++) {
        double sum = -6;
        for (int j = 0; j < 12; j++) {
            sum += (double)(splitmix64(state) >> 11) / 9007199254740992.0;
        }
        out[i] = (float)(sum * scale);
    }
}

/* How often each of n <= 16 tokens is drawn at positions 0..n_draws-1. */
static void histogram(const hy_sampler_opts *o, const float *logits, uint32_t n, int n_draws,
                      int *counts)
{
    hy_error err;
    hy_sampler *s = make(o);
    memset(counts, 0, 16 * sizeof *counts);
    for (int i = 0; i < n_draws; i++) {
        hy_token id;
        assert_ok(hy_sampler_pick(s, logits, n, NULL, 0, (uint64_t)i, NULL, &id, &err), &err);
        assert_in_range(id, 0, n - 1);
        counts[id]++;
    }
    hy_sampler_destroy(s);
}

/* ---- tests */

static void test_random_numbers(void **state)
{
    (void)state;
    /* The generator of this test is SplitMix64: its published sequence for 1234567. */
    uint64_t x = 1234567;
    assert_true(splitmix64(&x) == UINT64_C(6457827717110365317));
    assert_true(splitmix64(&x) == UINT64_C(3203168211198807973));
    assert_true(splitmix64(&x) == UINT64_C(9817491932198370423));

    /* With 4096 equal logits the draw is the first twelve bits of the random number. */
    enum { N = 4096 };
    static float flat[N];
    const uint64_t seeds[] = {0, 1, 42, UINT64_MAX};
    const uint64_t positions[] = {0, 1, 2, 1000, UINT64_C(1) << 40, UINT64_MAX};
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        for (size_t j = 0; j < sizeof positions / sizeof *positions; j++) {
            hy_sampler_opts o = plain;
            o.seed = seeds[i];
            const hy_token want = (hy_token)(naive_uniform(seeds[i], positions[j]) * N);
            assert_int_equal(pick(&o, flat, N, NULL, 0, positions[j]), want);
        }
    }
}

static void test_uniform(void **state)
{
    (void)state;
    /* Chi-squared with 15 degrees of freedom is above 37.7 once in a thousand; over seeds and over
     * positions. */
    static float flat[16];
    int counts[16];
    for (uint64_t seed = 0; seed < 8; seed++) {
        hy_sampler_opts o = plain;
        o.seed = seed;
        histogram(&o, flat, 16, 16000, counts);
        double chi = 0;
        for (int i = 0; i < 16; i++) {
            chi += (counts[i] - 1000.0) * (counts[i] - 1000.0) / 1000.0;
        }
        assert_true(chi < 37.7);
    }
    memset(counts, 0, sizeof counts);
    int pairs[16] = {0};
    for (uint64_t seed = 0; seed < 4000; seed++) {
        hy_sampler_opts o = plain;
        o.seed = seed;
        const hy_token a = pick(&o, flat, 16, NULL, 0, 7);
        const hy_token b = pick(&o, flat, 16, NULL, 0, 8);
        counts[a]++;
        pairs[(a & 3) * 4 + (b & 3)]++;
    }
    double chi = 0, chi_pairs = 0;
    for (int i = 0; i < 16; i++) {
        chi += (counts[i] - 250.0) * (counts[i] - 250.0) / 250.0;
        chi_pairs += (pairs[i] - 250.0) * (pairs[i] - 250.0) / 250.0;
    }
    assert_true(chi < 37.7);
    assert_true(chi_pairs < 37.7);
}

static void test_distribution(void **state)
{
    (void)state;
    /* Probabilities 1/2, 1/4, 1/8, 1/8 at temperature 1; 16 : 4 : 1 : 1 of 22 at 1/2. */
    const float logits[4] = {(float)log(4), (float)log(2), 0, 0};
    int counts[16];
    hy_sampler_opts o = plain;
    o.seed = 5;
    histogram(&o, logits, 4, 16000, counts);
    assert_in_range(counts[0], 7800, 8200);
    assert_in_range(counts[1], 3800, 4200);
    assert_in_range(counts[2], 1850, 2150);
    assert_in_range(counts[3], 1850, 2150);
    o.temperature = 0.5f;
    histogram(&o, logits, 4, 22000, counts);
    assert_in_range(counts[0], 15750, 16250);
    assert_in_range(counts[1], 3800, 4200);
    assert_in_range(counts[2], 880, 1120);
    assert_in_range(counts[3], 880, 1120);
}

/* Which of four tokens with probabilities 0.5, 0.25, 0.15, 0.1 are ever drawn, as bits. */
static int support_of(const hy_sampler_opts *o)
{
    const float logits[4] = {(float)log(0.15), (float)log(0.5), (float)log(0.1), (float)log(0.25)};
    int counts[16], bits = 0;
    histogram(o, logits, 4, 400, counts);
    for (int i = 0; i < 4; i++) {
        bits |= counts[i] > 0 ? 1 << i : 0;
    }
    return bits;
}

static void test_stages_by_hand(void **state)
{
    (void)state;
    hy_sampler_opts o = plain;
    assert_int_equal(support_of(&o), 15);
    o.top_k = 1;
    assert_int_equal(support_of(&o), 2);
    o.top_k = 2;
    assert_int_equal(support_of(&o), 2 + 8);
    o.top_k = 3;
    assert_int_equal(support_of(&o), 1 + 2 + 8);
    o.top_k = 99;
    assert_int_equal(support_of(&o), 15);

    o = plain;
    o.top_p = 0.49f;
    assert_int_equal(support_of(&o), 2);
    o.top_p = 0.51f;
    assert_int_equal(support_of(&o), 2 + 8);
    o.top_p = 0.76f;
    assert_int_equal(support_of(&o), 1 + 2 + 8);
    o.top_p = 0.95f;
    assert_int_equal(support_of(&o), 15);

    o = plain; /* compared with the likeliest: 1, 0.5, 0.3, 0.2 */
    o.min_p = 0.19f;
    assert_int_equal(support_of(&o), 15);
    o.min_p = 0.21f;
    assert_int_equal(support_of(&o), 1 + 2 + 8);
    o.min_p = 0.31f;
    assert_int_equal(support_of(&o), 2 + 8);
    o.min_p = 1;
    assert_int_equal(support_of(&o), 2);

    /* Entropy 1.208; surprises 0.69, 1.39, 1.90, 2.30: 0.25 is nearest, then 0.5, then 0.15. */
    o = plain;
    o.typical_p = 0.2f;
    assert_int_equal(support_of(&o), 8);
    o.typical_p = 0.3f;
    assert_int_equal(support_of(&o), 2 + 8);
    o.typical_p = 0.8f;
    assert_int_equal(support_of(&o), 1 + 2 + 8);
    o.typical_p = 0.95f;
    assert_int_equal(support_of(&o), 15);

    /* Equally good ones: the smaller ids are kept. */
    static const float flat[4];
    int counts[16];
    o.typical_p = 0.4f;
    histogram(&o, flat, 4, 400, counts);
    assert_true(counts[0] > 0 && counts[1] > 0 && counts[2] == 0 && counts[3] == 0);
    o.typical_p = 1;
    o.top_p = 0.4f;
    histogram(&o, flat, 4, 400, counts);
    assert_true(counts[0] > 0 && counts[1] > 0 && counts[2] == 0 && counts[3] == 0);
}

static void test_defaults(void **state)
{
    (void)state;
    /* NULL options are temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, seed 0. */
    float logits[100];
    uint64_t x = 3;
    random_logits(logits, 100, &x, 2);
    hy_sampler_opts o = {.size = sizeof o};
    for (uint64_t i = 0; i < 50; i++) {
        const hy_token id = pick(NULL, logits, 100, NULL, 0, i);
        assert_int_equal(id, pick(&o, logits, 100, NULL, 0, i));
        assert_int_equal(id, naive_pick(&o, logits, 100, NULL, 0, i, NULL));
    }
}

static void test_against_naive(void **state)
{
    (void)state;
    enum { N = 300, HISTORY = 90 };
    float logits[N];
    hy_token history[HISTORY];
    uint64_t x = 11;
    const float temperatures[] = {0, 0.1f, 1, 3};
    const int top_ks[] = {0, 1, 7, 299, 300, 5000, -1};
    const float top_ps[] = {0, 0.3f, 0.9f, 1};
    const float min_ps[] = {0, 0.3f, -1};
    const float typical_ps[] = {0, 0.4f, 0.9f};
    for (int round = 0; round < 4000; round++) {
        const int n = 1 + (int)(splitmix64(&x) % N);
        random_logits(logits, n, &x, 0.5 + (double)(round % 5));
        const int n_history = (int)(splitmix64(&x) % (HISTORY + 1));
        for (int i = 0; i < n_history; i++) {
            history[i] = (hy_token)(splitmix64(&x) % (unsigned)n);
        }
        for (int i = 1; i < n; i++) {
            if (splitmix64(&x) % 20 == 0) {
                logits[i] = -INFINITY;
            }
        }
        hy_logit_bias bias[6];
        for (int i = 0; i < 6; i++) {
            bias[i] =
                (hy_logit_bias){(hy_token)(splitmix64(&x) % (unsigned)n), (float)(i - 2) * 0.75f};
        }
        hy_sampler_opts o = {.size = sizeof o, .seed = splitmix64(&x)};
        o.greedy = round % 16 == 0;
        o.temperature = temperatures[splitmix64(&x) % 4];
        o.top_k = top_ks[splitmix64(&x) % 7];
        o.top_p = top_ps[splitmix64(&x) % 4];
        o.min_p = min_ps[splitmix64(&x) % 3];
        o.typical_p = typical_ps[splitmix64(&x) % 3];
        if (round % 3 == 0) {
            o.repeat_penalty = 1.3f;
            o.penalty_last_n = round % 2 ? -1 : (int)(splitmix64(&x) % 30);
        }
        if (round % 5 == 0) {
            o.presence_penalty = 0.7f;
            o.frequency_penalty = -0.2f;
        }
        if (round % 7 == 0) {
            o.logit_bias = bias;
            o.n_logit_bias = 6;
        }
        const uint64_t position = splitmix64(&x) >> (round % 64);
        assert_int_equal(pick(&o, logits, (uint32_t)n, history, (size_t)n_history, position),
                         naive_pick(&o, logits, n, history, n_history, position, NULL));
    }
}

static void test_mirostat(void **state)
{
    (void)state;
    enum { N = 500 };
    float logits[N];
    uint64_t x = 21;
    for (int round = 0; round < 6; round++) {
        hy_sampler_opts o = {
            .size = sizeof o, .mirostat = 2, .seed = (uint64_t)round, .temperature = 1};
        o.mirostat_tau = round % 2 ? 2.5f : 0;
        o.mirostat_eta = round % 3 ? 0.3f : 0;
        hy_sampler *s = make(&o);
        float mu = 0, naive_mu = 0;
        for (uint64_t i = 0; i < 200; i++) {
            hy_error err;
            hy_token id;
            random_logits(logits, N, &x, 2);
            assert_ok(hy_sampler_pick(s, logits, N, NULL, 0, i, &mu, &id, &err), &err);
            assert_int_equal(id, naive_pick(&o, logits, N, NULL, 0, i, &naive_mu));
            assert_true(fabsf(mu - naive_mu) < 1e-4f);
        }
        hy_sampler_destroy(s);
    }

    /* By hand: probabilities 1/2, 1/4, 1/4, mu 1.5: only the first (one bit) is left, its surprise
     * is then 0. */
    const float small[3] = {(float)log(2), 0, 0};
    hy_sampler_opts o = {
        .size = sizeof o, .mirostat = 2, .temperature = 1, .mirostat_tau = 3, .mirostat_eta = 0.5f};
    hy_sampler *s = make(&o);
    hy_error err;
    hy_token id;
    for (uint64_t i = 0; i < 20; i++) {
        float mu = 1.5f;
        assert_ok(hy_sampler_pick(s, small, 3, NULL, 0, i, &mu, &id, &err), &err);
        assert_int_equal(id, 0);
        assert_true(mu == 3.0f);
        mu = -7; /* never less than the likeliest */
        assert_ok(hy_sampler_pick(s, small, 3, NULL, 0, i, &mu, &id, &err), &err);
        assert_int_equal(id, 0);
    }
    assert_fails(hy_sampler_pick(s, small, 3, NULL, 0, 0, NULL, &id, &err), HY_E_ARG, &err, "mu");
    float mu = NAN;
    assert_fails(hy_sampler_pick(s, small, 3, NULL, 0, 0, &mu, &id, &err), HY_E_ARG, &err, "mu");
    hy_sampler_destroy(s);
}

static void test_greedy_and_penalties(void **state)
{
    (void)state;
    hy_sampler_opts o = {.size = sizeof o, .greedy = true};
    const float logits[5] = {1, 4, -2, 4, 3};
    assert_int_equal(pick(&o, logits, 5, NULL, 0, 0), 1); /* a tie: the smaller id */

    /* 4 / 2 = 2 is below 3; only the last two tokens count. */
    const hy_token history[4] = {4, 4, 1, 3};
    o.repeat_penalty = 2;
    o.penalty_last_n = 2;
    assert_int_equal(pick(&o, logits, 5, history, 4, 0), 4);
    o.penalty_last_n = -1; /* 3 / 2 = 1.5: now 1 and 3 again */
    assert_int_equal(pick(&o, logits, 5, history, 4, 0), 1);

    /* A negative logit is multiplied: -2 becomes -4, below -3. */
    const float negative[2] = {-2, -3};
    const hy_token zero = 0;
    o.penalty_last_n = 0;
    assert_int_equal(pick(&o, negative, 2, &zero, 1, 0), 1);
    const float at_zero[2] = {0, -1}; /* zero stays zero */
    assert_int_equal(pick(&o, at_zero, 2, &zero, 1, 0), 0);

    /* Presence once, frequency per occurrence: 4 - 0.5 - 3*0.3 = 2.6 against 2.75; two
     * occurrences: 2.9 wins. */
    const float two[2] = {4, 2.75f};
    const hy_token seen[4] = {0, 0, 0, -1}; /* ids that do not exist are passed over */
    hy_sampler_opts p = {
        .size = sizeof p, .greedy = true, .presence_penalty = 0.5f, .frequency_penalty = 0.3f};
    assert_int_equal(pick(&p, two, 2, seen, 4, 0), 1);
    assert_int_equal(pick(&p, two, 2, seen + 1, 3, 0), 0);

    /* Bias: added up, unordered, ids beyond the vocabulary do nothing, -inf forbids. */
    const hy_logit_bias bias[] = {{4, 0.75f}, {77, 9}, {1, -INFINITY}, {4, 0.5f}, {0, 1}};
    hy_sampler_opts b = {.size = sizeof b, .greedy = true, .logit_bias = bias, .n_logit_bias = 5};
    assert_int_equal(pick(&b, logits, 5, NULL, 0, 0), 4); /* 3 + 1.25 against 4 */
    b.n_logit_bias = 3;
    assert_int_equal(pick(&b, logits, 5, NULL, 0, 0), 3);
}

/* The draws of a few seeds.  They are part of what a release promises: the same on every machine,
 * for ever. */
static void test_stored_draws(void **state)
{
    (void)state;
    enum { N = 1000, DRAWS = 16 };
    static const struct {
        hy_sampler_opts o;
        hy_token ids[DRAWS];
    } cases[] = {
#include "unit/sampler_draws.inc"
    };
    float logits[N];
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        uint64_t x = 77;
        hy_sampler_opts o = cases[c].o;
        o.size = sizeof o;
        hy_sampler *s = make(&o);
        float mu = 0, naive_mu = 0;
        hy_token history[DRAWS];
        for (int i = 0; i < DRAWS; i++) {
            hy_error err;
            random_logits(logits, N, &x, 2.5);
            assert_ok(hy_sampler_pick(s, logits, N, history, (size_t)i, (uint64_t)i, &mu,
                                      &history[i], &err),
                      &err);
            assert_int_equal(history[i],
                             naive_pick(&o, logits, N, history, i, (uint64_t)i, &naive_mu));
        }
        if (getenv("HALYARD_PRINT_DRAWS")) {
            for (int i = 0; i < DRAWS; i++) {
                print_message("%d, ", (int)history[i]);
            }
            print_message("\n");
        } else {
            assert_memory_equal(history, cases[c].ids, sizeof history);
        }
        hy_sampler_destroy(s);
    }
}

static void test_bad_logits(void **state)
{
    (void)state;
    hy_error err;
    hy_token id = 5;
    for (int greedy = 0; greedy < 2; greedy++) {
        hy_sampler_opts o = {.size = sizeof o, .greedy = greedy != 0};
        hy_sampler *s = make(&o);
        const float nan_last[3] = {1, 2, NAN};
        assert_fails(hy_sampler_pick(s, nan_last, 3, NULL, 0, 0, NULL, &id, &err), HY_E_NUMERIC,
                     &err, "token 2");
        assert_int_equal(id, HY_TOKEN_NONE);
        const float infinite[3] = {1, INFINITY, 0};
        assert_fails(hy_sampler_pick(s, infinite, 3, NULL, 0, 0, NULL, &id, &err), HY_E_NUMERIC,
                     &err, "token 1");
        const float none[2] = {-INFINITY, -INFINITY};
        assert_fails(hy_sampler_pick(s, none, 2, NULL, 0, 0, NULL, &id, &err), HY_E_NUMERIC, &err,
                     "no token");
        assert_fails(hy_sampler_pick(s, none, 0, NULL, 0, 0, NULL, &id, &err), HY_E_NUMERIC, &err,
                     "no token");
        assert_fails(hy_sampler_pick(s, none, UINT32_MAX, NULL, 0, 0, NULL, &id, &err), HY_E_ARG,
                     &err, "n_vocab");
        const float one[3] = {-INFINITY, -INFINITY, -3e38f};
        assert_ok(hy_sampler_pick(s, one, 3, NULL, 0, 0, NULL, &id, &err), &err);
        assert_int_equal(id, 2);
        const float huge[3] = {-3e38f, 3e38f, 2.9e38f};
        assert_ok(hy_sampler_pick(s, huge, 3, NULL, 0, 0, NULL, &id, &err), &err);
        assert_int_equal(id, 1);
        hy_sampler_destroy(s);
    }
    /* The largest finite values of every option. */
    hy_sampler_opts o = {.size = sizeof o,
                         .temperature = 1e-45f,
                         .repeat_penalty = 1e6f,
                         .presence_penalty = -1e6f,
                         .frequency_penalty = 1e6f,
                         .typical_p = 0.5f};
    const float logits[3] = {-3e38f, 3e38f, 1};
    const hy_token history[3] = {0, 1, 2};
    assert_int_equal(pick(&o, logits, 3, history, 3, 0), 1);
    o.repeat_penalty = 1e-45f;
    assert_int_equal(pick(&o, logits, 3, history, 3, 0), 1);
}

static void refuse(hy_sampler_opts o, const char *field)
{
    hy_error err;
    hy_sampler *s = (hy_sampler *)&o;
    assert_fails(hy_sampler_create(&o, NULL, NULL, &s, &err), HY_E_ARG, &err, field);
    assert_null(s);
}

static void test_options(void **state)
{
    (void)state;
#define REFUSE(field, value)                                                                       \
    refuse((hy_sampler_opts){.size = sizeof(hy_sampler_opts), .field = (value)}, #field)
    REFUSE(temperature, -0.1f);
    REFUSE(temperature, NAN);
    REFUSE(temperature, INFINITY);
    REFUSE(top_p, -1.0f);
    REFUSE(min_p, 1.5f);
    REFUSE(typical_p, -0.5f);
    REFUSE(repeat_penalty, -1.0f);
    REFUSE(presence_penalty, NAN);
    REFUSE(frequency_penalty, INFINITY);
    REFUSE(mirostat, 1);
    REFUSE(mirostat_tau, -1.0f);
    REFUSE(mirostat_eta, NAN);
    REFUSE(n_logit_bias, 3);
#undef REFUSE
    refuse((hy_sampler_opts){.size = 0}, "size");
    const hy_logit_bias negative = {-1, 0}, nan = {0, NAN}, infinite = {0, INFINITY};
    refuse((hy_sampler_opts){.size = sizeof(hy_sampler_opts),
                             .logit_bias = &negative,
                             .n_logit_bias = 1},
           "logit_bias[0].token");
    refuse(
        (hy_sampler_opts){.size = sizeof(hy_sampler_opts), .logit_bias = &nan, .n_logit_bias = 1},
        "logit_bias[0].bias");
    refuse((hy_sampler_opts){.size = sizeof(hy_sampler_opts),
                             .logit_bias = &infinite,
                             .n_logit_bias = 1},
           "logit_bias[0].bias");

    /* A caller of an older version: fields behind its size are not read. */
    hy_sampler_opts old = {.size = offsetof(hy_sampler_opts, temperature),
                           .greedy = true,
                           .temperature = -5,
                           .mirostat = 9};
    const float logits[3] = {0, 2, 1};
    assert_int_equal(pick(&old, logits, 3, NULL, 0, 0), 1);
    hy_sampler_destroy(NULL);
}

static void test_memory(void **state)
{
    (void)state;
    enum { N = 150000 };
    float *logits = malloc(N * sizeof *logits);
    uint64_t x = 9;
    random_logits(logits, N, &x, 2);
    const hy_token history[3] = {1, 2, 3};
    const hy_logit_bias bias[2] = {{5, 1}, {3, 2}};
    for (int kind = 0; kind < 3; kind++) {
        hy_sampler_opts o = {
            .size = sizeof o, .repeat_penalty = 1.1f, .logit_bias = bias, .n_logit_bias = 2};
        o.top_k = kind == 0 ? 40 : -1;
        o.mirostat = kind == 2 ? 2 : 0;
        uint64_t calls = 1;
        for (uint64_t fail_at = 0; fail_at <= calls; fail_at++) {
            failing_env f;
            failing_env_init(&f, fail_at);
            hy_error err;
            hy_sampler *s;
            hy_token id;
            float mu = 0;
            hy_status status = hy_sampler_create(&o, NULL, &f.env, &s, &err);
            if (status == HY_OK) {
                status = hy_sampler_pick(s, logits, N, history, 3, 1, &mu, &id, &err);
                assert_int_equal(status == HY_OK, id != HY_TOKEN_NONE);
            }
            hy_sampler_destroy(s);
            assert_int_equal(f.live_blocks, 0);
            assert_int_equal(status, fail_at == 0 ? HY_OK : HY_E_NOMEM);
            if (fail_at == 0) {
                calls = f.calls;
                assert_true(calls >= 4);
                if (kind == 0) {
                    assert_true(f.peak_bytes < 4096);
                } else {
                    assert_true(f.peak_bytes < 16 * N + 4096);
                }
            }
        }
    }
    free(logits);
}

static void test_suppressed(void **state)
{
    (void)state;
    hy_error err;
    failing_env f;
    failing_env_init(&f, 0);
    vocab_file v = VOCAB_FILE_GPT2;
    v.suppressed = "b";
    v.unused = "[PAD]";
    hy_tokenizer *t = vocab_tokenizer(&v, &f.env);
    const uint32_t n = hy_tokenizer_n_tokens(t);
    float logits[1000] = {0};
    const hy_token b = 'b' - '!'; /* the byte alphabet begins with "!" */
    hy_token pad = HY_TOKEN_NONE;
    for (uint32_t i = 0; i < n; i++) {
        const hy_str e = hy_tokenizer_entry(t, (hy_token)i);
        if (e.len == 5 && memcmp(e.data, "[PAD]", 5) == 0) {
            pad = (hy_token)i;
        }
    }
    assert_int_not_equal(pad, HY_TOKEN_NONE);
    logits[b] = 9;
    logits[pad] = 8;
    assert_true(n + 300 <= 1000);
    logits[n] = 7; /* a row of the matrix without an entry in the vocabulary */
    logits['c' - '!'] = 1;
    hy_sampler_opts o = {.size = sizeof o, .greedy = true};
    hy_sampler *s;
    hy_token id;
    assert_ok(hy_sampler_create(&o, t, &f.env, &s, &err), &err);
    assert_ok(hy_sampler_pick(s, logits, n + 300, NULL, 0, 0, NULL, &id, &err), &err);
    assert_int_equal(id, 'c' - '!');
    /* Only tokens that cannot be sampled are left. */
    for (uint32_t i = 0; i < n + 300; i++) {
        logits[i] = i == (uint32_t)b || i == (uint32_t)pad || i >= n ? 1.0f : -INFINITY;
    }
    assert_fails(hy_sampler_pick(s, logits, n + 300, NULL, 0, 0, NULL, &id, &err), HY_E_NUMERIC,
                 &err, "no token");
    logits[b] = NAN; /* checked even so */
    assert_fails(hy_sampler_pick(s, logits, n + 300, NULL, 0, 0, NULL, &id, &err), HY_E_NUMERIC,
                 &err, "token 65");
    hy_sampler_destroy(s);

    const hy_logit_bias bias = {(hy_token)n, 1};
    o.logit_bias = &bias;
    o.n_logit_bias = 1;
    assert_fails(hy_sampler_create(&o, t, &f.env, &s, &err), HY_E_ARG, &err, "logit_bias[0].token");
    o.n_logit_bias = 0;
    f.fail_at = f.calls + 2; /* the table of allowed tokens */
    assert_fails(hy_sampler_create(&o, t, &f.env, &s, &err), HY_E_NOMEM, &err, NULL);
    assert_null(s);
    hy_tokenizer_destroy(t);
    assert_int_equal(f.live_blocks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_numbers), cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_distribution),   cmocka_unit_test(test_stages_by_hand),
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_against_naive),
        cmocka_unit_test(test_mirostat),       cmocka_unit_test(test_greedy_and_penalties),
        cmocka_unit_test(test_stored_draws),   cmocka_unit_test(test_bad_logits),
        cmocka_unit_test(test_options),        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_suppressed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
