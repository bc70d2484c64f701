/* sampler.c: from logits to the next token.
 *
 * The chain works on candidates: tokens that may be sampled, with their logit in double precision.
 * Between stages they stand in ascending order of id, so that every sum has one fixed order and the
 * result is the same on every machine: there is nothing but IEEE arithmetic, hy__exp and hy__log in
 * here.  It also makes a draw robust: tokens with nearly equal logits do not change places when a
 * backend rounds differently.
 *
 * With top_k on, memory is 16 bytes for each of the k candidates; otherwise for each token of the
 * vocabulary. No stage sorts more than it keeps.
 *
 * A sampler owns a copy of its options and is immutable: any thread may call hy_sampler_pick. */
#include "sampler.h"

#include <stdatomic.h>

typedef hy__candidate candidate;

struct hy_sampler {
    hy_env env;
    atomic_uint holders;
    uint64_t id;
    hy_sampler_opts opts; /* defaults filled in; logit_bias is not used */
    double log_min_p;     /* natural logarithm */
    candidate *bias;      /* ascending id; logit is what is added; NULL: none */
    size_t n_bias;
    uint32_t *allowed;  /* bit i: token i may be sampled; NULL: every token */
    uint32_t n_allowed; /* tokens that `allowed` speaks of; those beyond may not be sampled */
};

static const double LN2 = 0.693147180559945309417;

/* ---- random numbers */

static const uint64_t GOLDEN = UINT64_C(0x9e3779b97f4a7c15);

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The random number of a position, uniform in [0, 1) in steps of 2^-53.  In arithmetic modulo 2^64,
 * with G = GOLDEN and mix as above (the generator SplitMix64): key = mix(seed + G),
 * bits = mix(key + (position + 1) G), result = (bits >> 11) 2^-53.  So a seed picks the place where
 * a SplitMix64 sequence starts, and the position the number in it; this is part of the interface
 * and does not change. */
static uint64_t random_key(uint64_t seed)
{
    return mix(seed + GOLDEN);
}

static double uniform(uint64_t seed, uint64_t position)
{
    return (double)(mix(random_key(seed) + (position + 1) * GOLDEN) >> 11) * 0x1p-53;
}

/* ---- heaps: the element that is `before` every other is at the top */

typedef bool (*before_fn)(const candidate *a, const candidate *b, double x);

static bool by_id_falling(const candidate *a, const candidate *b, double x)
{
    (void)x;
    return a->id > b->id;
}

static bool by_logit_falling(const candidate *a, const candidate *b, double x)
{
    (void)x;
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static bool by_logit_rising(const candidate *a, const candidate *b, double x)
{
    return by_logit_falling(b, a, x);
}

static bool by_distance_to(const candidate *a, const candidate *b, double x)
{
    const double da = a->logit < x ? x - a->logit : a->logit - x;
    const double db = b->logit < x ? x - b->logit : b->logit - x;
    return da < db || (da == db && a->id < b->id);
}

static void sift_down(candidate *c, size_t n, size_t i, before_fn before, double x)
{
    const candidate moved = c[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) {
            break;
        }
        if (child + 1 < n && before(&c[child + 1], &c[child], x)) {
            child++;
        }
        if (!before(&c[child], &moved, x)) {
            break;
        }
        c[i] = c[child];
        i = child;
    }
    c[i] = moved;
}

static void make_heap(candidate *c, size_t n, before_fn before, double x)
{
    for (size_t i = n / 2; i-- > 0;) {
        sift_down(c, n, i, before, x);
    }
}

/* Moves the top of a heap of n to c[n - 1]; the rest is a heap of n - 1. */
static void pop_heap(candidate *c, size_t n, before_fn before, double x)
{
    const candidate top = c[0];
    c[0] = c[n - 1];
    c[n - 1] = top;
    sift_down(c, n - 1, 0, before, x);
}

static void sort_by_id(candidate *c, size_t n)
{
    make_heap(c, n, by_id_falling, 0.0);
    for (size_t i = n; i > 1; i--) {
        pop_heap(c, i, by_id_falling, 0.0);
    }
}

/* ---- options */

/* Sentence for a field out of its range. */
static hy_status bad_field(hy_error *err, const char *field, double value, const char *range)
{
    return hy__fail(err, HY_E_ARG, "hy_sampler_opts.%s is %g; it must be %s", field, value, range);
}

static bool is_between(double x, double low, double high)
{
    return x >= low && x <= high; /* false for NaN */
}

static hy_status check_options(const hy_sampler_opts *o, hy_error *err)
{
    const struct {
        const char *name;
        double value, low, high;
        const char *range;
    } fields[] = {
        {"temperature", o->temperature, 0, 1e6, "from 0 to 1e6 (0: the default)"},
        {"top_p", o->top_p, 0, 1e6, "0 or more (0: the default, 1: off)"},
        {"min_p", o->min_p, -1e6, 1, "at most 1 (0: the default, negative: off)"},
        {"typical_p", o->typical_p, 0, 1e6, "0 or more (0 or 1: off)"},
        {"repeat_penalty", o->repeat_penalty, 0, 1e6, "from 0 to 1e6 (0 or 1: off)"},
        {"presence_penalty", o->presence_penalty, -1e6, 1e6, "from -1e6 to 1e6 (0: off)"},
        {"frequency_penalty", o->frequency_penalty, -1e6, 1e6, "from -1e6 to 1e6 (0: off)"},
        {"mirostat_tau", o->mirostat_tau, 0, 1e6, "from 0 to 1e6 (0: the default)"},
        {"mirostat_eta", o->mirostat_eta, 0, 1e6, "from 0 to 1e6 (0: the default)"},
    };
    for (size_t i = 0; i < HY_COUNT(fields); i++) {
        if (!is_between(fields[i].value, fields[i].low, fields[i].high)) {
            return bad_field(err, fields[i].name, fields[i].value, fields[i].range);
        }
    }
    if (o->mirostat != 0 && o->mirostat != 2) {
        return bad_field(err, "mirostat", o->mirostat, "0 (off) or 2");
    }
    if (o->n_logit_bias > 0 && !o->logit_bias) {
        return hy__fail(err, HY_E_ARG, "hy_sampler_opts.logit_bias is NULL; n_logit_bias says %zu",
                        o->n_logit_bias);
    }
    return HY_OK;
}

static void fill_defaults(hy_sampler_opts *o)
{
    o->temperature = o->temperature != 0 ? o->temperature : 0.8f;
    o->top_k = o->top_k != 0 ? o->top_k : 40;
    o->top_p = o->top_p != 0 ? o->top_p : 0.95f;
    o->min_p = o->min_p != 0 ? o->min_p : 0.05f;
    o->typical_p = o->typical_p != 0 ? o->typical_p : 1.0f;
    o->penalty_last_n = o->penalty_last_n != 0 ? o->penalty_last_n : 64;
    o->repeat_penalty = o->repeat_penalty != 0 ? o->repeat_penalty : 1.0f;
    o->mirostat_tau = o->mirostat_tau != 0 ? o->mirostat_tau : 5.0f;
    o->mirostat_eta = o->mirostat_eta != 0 ? o->mirostat_eta : 0.1f;
}

static hy_status copy_bias(hy_sampler *s, const hy_tokenizer *t, hy_error *err)
{
    const hy_sampler_opts *o = &s->opts;
    if (o->n_logit_bias == 0) {
        return HY_OK;
    }
    s->bias = hy__alloc(&s->env, o->n_logit_bias, sizeof *s->bias, err);
    if (!s->bias) {
        return HY_E_NOMEM;
    }
    const int64_t end = t ? (int64_t)hy_tokenizer_n_tokens(t) : (int64_t)INT32_MAX + 1;
    for (size_t i = 0; i < o->n_logit_bias; i++) {
        const hy_logit_bias b = o->logit_bias[i];
        if (b.token < 0 || b.token >= end) {
            return hy__fail(
                err, HY_E_ARG,
                "hy_sampler_opts.logit_bias[%zu].token is %d; it must be from 0 to %lld", i,
                (int)b.token, (long long)(end - 1));
        }
        if (!(b.bias <= 3.5e38)) {
            return hy__fail(
                err, HY_E_ARG,
                "hy_sampler_opts.logit_bias[%zu].bias is %g; it must be finite or -INFINITY", i,
                (double)b.bias);
        }
        s->bias[i] = (candidate){.logit = b.bias, .id = b.token};
    }
    s->n_bias = o->n_logit_bias;
    sort_by_id(s->bias, s->n_bias);
    return HY_OK;
}

static hy_status find_allowed(hy_sampler *s, const hy_tokenizer *t, hy_error *err)
{
    if (!t) {
        return HY_OK;
    }
    s->n_allowed = hy_tokenizer_n_tokens(t);
    s->allowed = hy__calloc(&s->env, (size_t)s->n_allowed / 32 + 1, sizeof *s->allowed, err);
    if (!s->allowed) {
        return HY_E_NOMEM;
    }
    for (uint32_t i = 0; i < s->n_allowed; i++) {
        if (hy_tokenizer_can_sample(t, (hy_token)i)) {
            s->allowed[i / 32] |= UINT32_C(1) << (i % 32);
        }
    }
    return HY_OK;
}

hy_status hy_sampler_create(const hy_sampler_opts *opts, const hy_tokenizer *t, const hy_env *env,
                            hy_sampler **out, hy_error *err)
{
    *out = NULL;
    hy_sampler_opts o = {0};
    if (opts) {
        if (opts->size < sizeof opts->size) {
            return hy__fail(err, HY_E_ARG,
                            "hy_sampler_opts.size is %zu; it must be sizeof(hy_sampler_opts)",
                            opts->size);
        }
        memcpy(&o, opts, HY_MIN(opts->size, sizeof o));
    }
    HY_TRY(check_options(&o, err));
    fill_defaults(&o);

    hy_env resolved;
    hy__env_resolve(&resolved, env);
    hy_sampler *s = hy__calloc(&resolved, 1, sizeof *s, err);
    if (!s) {
        return HY_E_NOMEM;
    }
    static atomic_uint_least64_t last_id;
    s->env = resolved;
    atomic_init(&s->holders, 1);
    s->id = (uint64_t)atomic_fetch_add(&last_id, 1) + 1;
    s->opts = o;
    s->log_min_p = o.min_p > 0 ? hy__log(o.min_p) : 0.0;
    hy_status status = copy_bias(s, t, err);
    if (status == HY_OK) {
        status = find_allowed(s, t, err);
    }
    s->opts.logit_bias = NULL; /* the caller's */
    if (status != HY_OK) {
        hy_sampler_destroy(s);
        return status;
    }
    *out = s;
    return HY_OK;
}

const hy_sampler *hy__sampler_hold(const hy_sampler *s)
{
    /* What is const to the caller is still ours to count. */
    atomic_fetch_add(&((hy_sampler *)(uintptr_t)s)->holders, 1);
    return s;
}

void hy__sampler_drop(const hy_sampler *s)
{
    hy_sampler_destroy((hy_sampler *)(uintptr_t)s);
}

void hy_sampler_destroy(hy_sampler *s)
{
    if (s && atomic_fetch_sub(&s->holders, 1) == 1) {
        const hy_env env = s->env;
        hy__free(&env, s->bias);
        hy__free(&env, s->allowed);
        hy__free(&env, s);
    }
}

/* ---- reading the logits */

/* Walks the vocabulary in order of id. */
typedef struct reader {
    const hy_sampler *s;
    const float *logits;
    uint32_t n;
    uint32_t next;
    double floor;       /* candidates up to here are passed over: forbidden, or no use any more */
    uint32_t adjust_at; /* the next token with a bias or a penalty, >= next */
    size_t bias;        /* of s->bias, the next one */
    const candidate *seen; /* the window of the history, ascending id */
    size_t n_seen;
    size_t seen_at;
} reader;

static uint32_t next_adjusted(const reader *r)
{
    uint32_t at = UINT32_MAX;
    if (r->bias < r->s->n_bias) {
        at = (uint32_t)r->s->bias[r->bias].id;
    }
    if (r->seen_at < r->n_seen) {
        at = HY_MIN(at, (uint32_t)r->seen[r->seen_at].id);
    }
    return at;
}

/* The logit of token adjust_at after bias and penalties; finds the next such token. */
static double adjusted(reader *r, double logit)
{
    const hy_sampler *s = r->s;
    const hy_token id = (hy_token)r->adjust_at;
    for (; r->bias < s->n_bias && s->bias[r->bias].id == id; r->bias++) {
        logit += s->bias[r->bias].logit;
    }
    size_t times = 0;
    for (; r->seen_at < r->n_seen && r->seen[r->seen_at].id == id; r->seen_at++) {
        times++;
    }
    if (times > 0) {
        /* Dividing a negative logit would make the token likelier. */
        logit = logit > 0 ? logit / s->opts.repeat_penalty : logit * s->opts.repeat_penalty;
        logit -= (double)times * s->opts.frequency_penalty + s->opts.presence_penalty;
    }
    r->adjust_at = next_adjusted(r);
    return logit;
}

static bool is_allowed(const hy_sampler *s, uint32_t i)
{
    return !s->allowed || (i < s->n_allowed && (s->allowed[i / 32] >> (i % 32) & 1) != 0);
}

/* The next token above the floor that may be sampled; *done at the end of the vocabulary.  Every
 * logit is checked on the way: those that are not numbers, or infinite, are not below any floor. */
static hy_status read_next(reader *r, candidate *c, bool *done, hy_error *err)
{
    for (; r->next < r->n; r->next++) {
        const uint32_t i = r->next;
        const float raw = r->logits[i];
        if (raw <= r->floor && i < r->adjust_at) {
            continue; /* nearly all of them */
        }
        if (!(raw <= 3.5e38)) {
            return hy__fail(err, HY_E_NUMERIC, "the logit of token %lu is %s", (unsigned long)i,
                            raw != raw ? "not a number" : "infinite");
        }
        const double logit = i == r->adjust_at ? adjusted(r, raw) : raw;
        if (logit > r->floor && is_allowed(r->s, i)) {
            *c = (candidate){.logit = logit, .id = (hy_token)i};
            *done = false;
            r->next++;
            return HY_OK;
        }
    }
    *done = true;
    return HY_OK;
}

static hy_status none_left(hy_error *err)
{
    return hy__fail(err, HY_E_NUMERIC,
                    "no token can be sampled: every logit is -inf, suppressed or forbidden");
}

static hy_status pick_greedy(reader *r, hy_token *out, hy_error *err)
{
    candidate best = {.id = HY_TOKEN_NONE}, c;
    bool done;
    for (;;) {
        HY_TRY(read_next(r, &c, &done, err));
        if (done) {
            break;
        }
        best = c;
        r->floor = c.logit; /* an equal one has the larger id */
    }
    if (best.id == HY_TOKEN_NONE) {
        return none_left(err);
    }
    *out = best.id;
    return HY_OK;
}

/* Fills c with the k likeliest candidates, ascending id; *n <= k of them. */
static hy_status read_best(reader *r, candidate *c, size_t k, size_t *n, hy_error *err)
{
    *n = 0;
    size_t have = 0;
    bool heap = false; /* once c is full: the worst on top */
    for (;;) {
        candidate next;
        bool done;
        HY_TRY(read_next(r, &next, &done, err));
        if (done) {
            break;
        }
        if (have < k) {
            c[have++] = next;
            continue;
        }
        if (!heap) {
            make_heap(c, k, by_logit_rising, 0.0);
            heap = true;
        }
        if (next.logit > c[0].logit) { /* an equal one has the larger id */
            c[0] = next;
            sift_down(c, k, 0, by_logit_rising, 0.0);
        }
        r->floor = c[0].logit;
    }
    if (heap) {
        sort_by_id(c, k);
    }
    if (have == 0) {
        return none_left(err);
    }
    *n = have;
    return HY_OK;
}

/* ---- stages: candidates in, the n that are kept out, ascending id in both */

static double largest_logit(const candidate *c, size_t n)
{
    double max = c[0].logit;
    for (size_t i = 1; i < n; i++) {
        max = c[i].logit > max ? c[i].logit : max;
    }
    return max;
}

/* Sum of exp(logit - max): what probabilities are divided by. */
static double total_weight(const candidate *c, size_t n, double max)
{
    double z = 0.0;
    for (size_t i = 0; i < n; i++) {
        z += hy__exp(c[i].logit - max);
    }
    return z;
}

/* Keeps candidates in the order `before` until their probabilities reach p. */
static size_t keep_mass(candidate *c, size_t n, double p, double max, double z, before_fn before,
                        double x)
{
    make_heap(c, n, before, x);
    size_t kept = 0;
    double sum = 0.0;
    while (kept < n && sum < p * z) {
        pop_heap(c, n - kept, before, x);
        kept++;
        sum += hy__exp(c[n - kept].logit - max);
    }
    memmove(c, c + (n - kept), kept * sizeof *c);
    sort_by_id(c, kept);
    return kept;
}

static size_t keep_top_p(candidate *c, size_t n, double p)
{
    const double max = largest_logit(c, n);
    return keep_mass(c, n, p, max, total_weight(c, n, max), by_logit_falling, 0.0);
}

/* The candidates whose surprise is nearest to the expected surprise (the entropy) first.  Surprise
 * is log z - (logit - max), so this is the distance of the logit to one value. */
static size_t keep_typical(candidate *c, size_t n, double p)
{
    const double max = largest_logit(c, n);
    const double z = total_weight(c, n, max);
    const double log_z = hy__log(z);
    double entropy = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double d = c[i].logit - max;
        entropy += hy__exp(d) / z * (log_z - d);
    }
    return keep_mass(c, n, p, max, z, by_distance_to, max + log_z - entropy);
}

static size_t keep_above(candidate *c, size_t n, double lowest)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (c[i].logit >= lowest) {
            c[kept++] = c[i];
        }
    }
    return kept;
}

/* Draws one of n > 0 candidates: walks them in order of id until the running sum of the weights
 * exp(logit - max) is larger than u times their total.  *surprise: of the one drawn, in bits. */
static hy_token draw(const candidate *c, size_t n, double u, double *surprise)
{
    const double max = largest_logit(c, n);
    const double z = total_weight(c, n, max);
    const double target = u * z;
    double sum = 0.0;
    size_t drawn = 0;
    for (size_t i = 0; i < n; i++) {
        const double w = hy__exp(c[i].logit - max);
        if (w > 0) {
            drawn =
                i; /* if rounding keeps the sum from passing the target: the last possible one */
        }
        sum += w;
        if (sum > target) {
            break;
        }
    }
    *surprise = (hy__log(z) - (c[drawn].logit - max)) / LN2;
    return c[drawn].id;
}

/* Divided by the temperature.  The largest becomes 0, so that nothing overflows. */
static void apply_temperature(candidate *c, size_t n, double temperature)
{
    const double max = largest_logit(c, n);
    for (size_t i = 0; i < n; i++) {
        c[i].logit = (c[i].logit - max) / temperature;
    }
}

/* Mirostat v2: drops the candidates whose surprise is above mu bits (but never the likeliest),
 * draws, and moves mu towards the wished surprise tau. */
static hy_token pick_mirostat(const hy_sampler *s, candidate *c, size_t n, double u, float *mu)
{
    const double tau = s->opts.mirostat_tau, eta = s->opts.mirostat_eta;
    const double old = *mu != 0 ? *mu : 2.0 * tau;
    const double max = largest_logit(c, n);
    const double lowest = max + hy__log(total_weight(c, n, max)) - old * LN2;
    n = keep_above(c, n, HY_MIN(lowest, max));
    double surprise;
    const hy_token id = draw(c, n, u, &surprise);
    *mu = (float)(old - eta * (surprise - tau));
    return id;
}

static hy_token pick_random(const hy_sampler *s, candidate *c, size_t n, double u, float *mu)
{
    const hy_sampler_opts *o = &s->opts;
    if (o->mirostat == 2) {
        apply_temperature(c, n, o->temperature);
        return pick_mirostat(s, c, n, u, mu);
    }
    if (o->typical_p < 1) {
        n = keep_typical(c, n, o->typical_p);
    }
    if (o->top_p < 1) {
        n = keep_top_p(c, n, o->top_p);
    }
    if (o->min_p > 0) {
        n = keep_above(c, n, largest_logit(c, n) + s->log_min_p);
    }
    apply_temperature(c, n, o->temperature);
    double surprise;
    return draw(c, n, u, &surprise);
}

/* ---- one draw */

static bool has_penalties(const hy_sampler_opts *o)
{
    return o->repeat_penalty != 1 || o->presence_penalty != 0 || o->frequency_penalty != 0;
}

/* The part of the history that penalties look at, ascending id; *seen NULL if there are none.
 * hy__free it. */
static hy_status read_history(const hy_sampler *s, const hy_token *history, size_t n,
                              candidate **seen, size_t *n_seen, hy_error *err)
{
    const hy_sampler_opts *o = &s->opts;
    *seen = NULL;
    *n_seen = 0;
    if (o->penalty_last_n >= 0 && n > (size_t)o->penalty_last_n) {
        history += n - (size_t)o->penalty_last_n;
        n = (size_t)o->penalty_last_n;
    }
    if (n == 0 || !has_penalties(o)) {
        return HY_OK;
    }
    candidate *c = hy__alloc(&s->env, n, sizeof *c, err);
    if (!c) {
        return HY_E_NOMEM;
    }
    size_t have = 0;
    for (size_t i = 0; i < n; i++) {
        if (history[i] >= 0) {
            c[have++] = (candidate){.id = history[i]};
        }
    }
    sort_by_id(c, have);
    *seen = c;
    *n_seen = have;
    return HY_OK;
}

uint32_t hy__sampler_top_k(const hy_sampler_opts *opts, uint32_t n_vocab)
{
    return opts->top_k > 0 ? HY_MIN((uint32_t)opts->top_k, n_vocab) : n_vocab;
}

static hy_status pick(const hy_sampler *s, reader *r, uint64_t position, float *mu, hy_token *out,
                      hy_error *err)
{
    if (s->opts.greedy) {
        return pick_greedy(r, out, err);
    }
    const size_t k = s->opts.mirostat == 0 ? hy__sampler_top_k(&s->opts, r->n) : r->n;
    candidate *c = hy__alloc(&s->env, k, sizeof *c, err);
    if (!c) {
        return HY_E_NOMEM;
    }
    size_t n;
    const hy_status status = read_best(r, c, k, &n, err);
    if (status == HY_OK) {
        *out = pick_random(s, c, n, uniform(s->opts.seed, position), mu);
    }
    hy__free(&s->env, c);
    return status;
}

hy_status hy_sampler_pick(const hy_sampler *s, const float *logits, uint32_t n_vocab,
                          const hy_token *history, size_t n_history, uint64_t position, float *mu,
                          hy_token *out, hy_error *err)
{
    *out = HY_TOKEN_NONE;
    if (n_vocab > (uint32_t)INT32_MAX) {
        return hy__fail(err, HY_E_ARG, "n_vocab is %lu; token ids end at 2^31 - 1",
                        (unsigned long)n_vocab);
    }
    if (s->opts.mirostat == 2 && !s->opts.greedy && (!mu || !is_between(*mu, -1e30, 1e30))) {
        return hy__fail(err, HY_E_ARG, "mirostat needs mu, a finite number that starts at 0");
    }
    candidate *seen;
    size_t n_seen;
    HY_TRY(read_history(s, history, n_history, &seen, &n_seen, err));
    /* A logit of -inf forbids a token; finite ones stay far above this, whatever the options. */
    reader r = {
        .s = s, .logits = logits, .n = n_vocab, .floor = -1e300, .seen = seen, .n_seen = n_seen};
    r.adjust_at = next_adjusted(&r);
    const hy_status status = pick(s, &r, position, mu, out, err);
    hy__free(&s->env, seen);
    return status;
}

/* ---- for backends that sample where the logits are */

hy__sampler_view hy__sampler_look(const hy_sampler *s)
{
    return (hy__sampler_view){.id = s->id,
                              .opts = s->opts,
                              .penalties = has_penalties(&s->opts),
                              .log_min_p = s->log_min_p,
                              .random_key = random_key(s->opts.seed),
                              .bias = s->bias,
                              .n_bias = s->n_bias,
                              .allowed = s->allowed,
                              .n_allowed = s->n_allowed};
}
