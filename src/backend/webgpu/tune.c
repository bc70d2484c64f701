/* tune.c: the choice among ways of computing by time: see tune.h. */
#include "tune.h"

#include <stdio.h>

#include "layers.h"
#include "trial.h"

hy__gpu_tune_test hy__gpu_tune_tested;

/* ---- what can be changed */

static const struct number {
    const char *name, *what;
    uint32_t quarters[3];
} numbers[] = {
#define HY_GPU_NUMBER(id, name, field, what, a, b, c) {name, what, {a, b, c}},
#include "variants.inc"
};

const char *const hy__gpu_number_names[] = {
#define HY_GPU_NUMBER(id, name, field, what, a, b, c) name,
#include "variants.inc"
};

const char *const hy__gpu_place_names[] = {
#define HY__GPU_PLACE(id, name, what) name,
    HY__GPU_PLACES(HY__GPU_PLACE)
#undef HY__GPU_PLACE
};

const char *const hy__gpu_outcome_names[] = {
#define HY__GPU_OUTCOME(id, name) name,
    HY__GPU_OUTCOMES(HY__GPU_OUTCOME)
#undef HY__GPU_OUTCOME
};

/* What a format that is read as it lies and large bindings are worth is memory, not time; what
 * tokens that are drawn on the GPU are worth depends on the sampler and on the text. */
static bool is_timed(uint32_t variant)
{
    return variant < HY__GPU_N_PLAIN
               ? variant != HY__GPU_VARIANT_BINDINGS && variant != HY__GPU_VARIANT_DRAWS
               : (variant - HY__GPU_N_PLAIN) % 2 == 0;
}

static bool number_option(uint32_t i, hy__gpu_option *o)
{
    const uint32_t k = i / 3, quarters = k < HY__GPU_N_NUMBERS ? numbers[k].quarters[i % 3] : 0;
    if (quarters == 0) {
        return false;
    }
    *o = (hy__gpu_option){.number = k, .quarters = quarters};
    const bool less = quarters < 4;
    const uint32_t factor = less ? 4 / quarters : quarters / 4;
    snprintf(o->name, sizeof o->name, "%s%c%u", numbers[k].name, less ? '/' : '*', factor);
    snprintf(o->what, sizeof o->what, "%s: %s%u of them", numbers[k].what, less ? "1/" : "", factor);
    if (!less) {
        snprintf(o->what, sizeof o->what, "%s: %u times as many", numbers[k].what, factor);
    }
    return true;
}

bool hy__gpu_option_at(uint32_t i, hy__gpu_option *o)
{
    hy__gpu_variant v;
    for (uint32_t k = 0; hy__gpu_variant_at(k, &v); k++) {
        if (is_timed(k) && i-- == 0) {
            *o = (hy__gpu_option){.without = (hy__gpu_use)1 << k};
            snprintf(o->name, sizeof o->name, "%s", v.name);
            snprintf(o->what, sizeof o->what, "%s", v.what);
            return true;
        }
    }
    for (uint32_t k = 0; k < 3 * HY__GPU_N_NUMBERS; k++) {
        if (number_option(k, o) && i-- == 0) {
            return true;
        }
    }
    return false;
}

/* ---- the tuner */

/* Of all gains of an option: shares of the time. */
typedef struct score {
    uint32_t n;
    double sum, best, worst;
    bool wrong, skipped;
} score;

/* Options, and behind them all that was chosen, together. */
enum { TOGETHER = HY__GPU_MOST_OPTIONS, N_SCORES };

typedef struct tuner {
    const hy__gpu_opts *opts;
    hy_env env;
    hy__gpu_use passed;
    uint64_t begin, deadline, compile_deadline;
    bool software;
    uint32_t numbers[HY__GPU_N_NUMBERS]; /* of hy__gpu_choose */
    hy__gpu_choice *c;
    score scores[N_SCORES];
} tuner;

#define MS(n) ((uint64_t)(n)*1000000)
/* Shares by which an option must be faster somewhere, and may be slower nowhere. */
static const double clear = 0.03, slower = 0.01;

static bool is_late(const tuner *t)
{
    return t->env.clock_ns(t->env.user) >= t->deadline;
}

static uint32_t value_of(const tuner *t, const hy__gpu_option *o)
{
    return HY_MAX(t->numbers[o->number] * o->quarters / 4, 1u);
}

static void add_gain(tuner *t, uint32_t option, uint32_t place, uint32_t outcome, double ns,
                     double other_ns)
{
    hy__gpu_choice *c = t->c;
    score *s = &t->scores[option];
    const double gain = ns > 0 ? 1 - other_ns / ns : 0;
    s->wrong = s->wrong || outcome == HY__GPU_WRONG;
    if (outcome == HY__GPU_KEPT) {
        s->best = s->n == 0 ? gain : HY_MAX(s->best, gain);
        s->worst = s->n == 0 ? gain : HY_MIN(s->worst, gain);
        s->sum += gain;
        s->n++;
    }
    if (option < HY__GPU_MOST_OPTIONS && c->n_gains < HY__GPU_MOST_GAINS) {
        c->gains[c->n_gains++] = (hy__gpu_gain){option, place, outcome, ns, other_ns};
    }
}

/* ---- a stage: a model on a device of its own, computed in several ways */

typedef struct way {
    uint32_t option;
    hy__gpu_tuning tuning;
    hy__gpu_program decode, prefill;
    uint32_t q8_vecs, code_vecs;
    uint64_t scratch_vecs;
    bool differs[2]; /* from the first way, in steps of one token and of many */
    bool failed;     /* its kernels cannot be made */
    void *session;
} way;

typedef struct stage {
    tuner *t;
    hy__gpu_layer_sizes sizes;
    const hy__gpu_format *format; /* or NULL: all options */
    uint32_t places[2];           /* of steps of one token and of many */
    uint32_t many;                /* tokens of those; 0: they are not timed */
    hy__gpu_layers layers;
    hy__gpu_model m;
    hy__gpu_caps caps; /* with all that passed */
    double one_ns;     /* of a token, where that was timed */
    way ways[HY__GPU_MOST_OPTIONS + 1]; /* the first one: all that passed */
    uint32_t n_ways;
    float *logits;   /* [2][PLAYED][n_vocab]: of the first way, and of another */
    uint32_t played; /* tokens of the first way's steps that those are of; 0: none */
} stage;

enum { PLAYED = 2, CONTEXT = 512, POS = 256 /* of the tokens that are timed */ };

static void keep_program(const hy__gpu_model *m, way *w)
{
    w->decode = m->decode;
    w->prefill = m->prefill;
    w->q8_vecs = m->q8_vecs;
    w->code_vecs = m->code_vecs;
    w->scratch_vecs = m->scratch_vecs;
}

static void select_way(hy__gpu_model *m, const way *w)
{
    m->decode = w->decode;
    m->prefill = w->prefill;
    m->q8_vecs = w->q8_vecs;
    m->code_vecs = w->code_vecs;
    m->scratch_vecs = w->scratch_vecs;
}

static hy__gpu_program *program_of(way *w, bool many)
{
    return many ? &w->prefill : &w->decode;
}

/* The texts of its steps of one token or of many, and their modules; those that other ways have too
 * are shared. */
static hy_status write_way(stage *s, way *w, bool many, hy_error *err)
{
    hy__gpu_model *m = &s->m;
    if (hy__gpu_tune_tested.writes) {
        hy__gpu_tune_tested.writes(&w->tuning);
    }
    select_way(m, w);
    m->tuning = w->tuning;
    m->use = s->t->passed & ~w->tuning.without;
    m->gpu.caps = s->caps;
    hy__gpu_choose(m);
    hy_status status = hy__gpu_program_make_half(m, !many, err);
    keep_program(m, w);
    select_way(m, &(way){0});
    m->gpu.caps = s->caps;
    m->use = s->t->passed & ~(hy__gpu_use)HY__GPU_USE_DRAWS;
    if (status == HY_OK && !hy__gpu_tune_tested.idle) {
        status = hy__gpu_program_modules(m, err);
    }
    return status;
}

/* Forgets a half of a way that is not to be used, and the kernels and entries that came with it. */
static void take_back(stage *s, way *w, bool many, uint32_t n_kernels, uint32_t n_entries)
{
    hy__gpu_model *m = &s->m;
    const hy__gpu_lib *lib = &m->gpu.lib;
    hy__gpu_program_free(m, program_of(w, many));
    m->n_entries = n_entries;
    while (m->n_kernels > n_kernels) {
        hy__gpu_kernel *k = &m->kernels[--m->n_kernels];
        if (k->layout) {
            lib->PipelineLayoutRelease(k->layout);
        }
        if (k->bindings) {
            lib->BindGroupLayoutRelease(k->bindings);
        }
        if (k->module) {
            lib->ShaderModuleRelease(k->module);
        }
        hy__buf_finish(&m->env, &k->text);
    }
}

/* Whether an error is of a way alone, so that others can be tried. */
static bool is_of_way(stage *s, hy_status status)
{
    return status != HY_OK && status != HY_E_NOMEM && status != HY_E_CANCELLED &&
           hy__gpu_check(&s->m.gpu, NULL) == HY_OK;
}

static void give_up(stage *s, way *w, const hy_error *why)
{
    hy__gpu_option o;
    const bool is_one = hy__gpu_option_at(w->option, &o);
    hy__message(&s->t->env, HY_LOG_WARN, "tuning, %s: %s", is_one ? o.name : "all that was chosen",
                why->text);
    s->t->scores[w->option].skipped = true;
    w->failed = true;
    w->differs[0] = w->differs[1] = false;
}

static bool same_program(const hy__gpu_program *a, const hy__gpu_program *b)
{
    bool same = a->n == b->n;
    for (uint32_t i = 0; same && i < a->n; i++) {
        const hy__gpu_dispatch *x = &a->dispatches[i], *y = &b->dispatches[i];
        same = x->entry == y->entry && x->groups == y->groups && x->cols_each == y->cols_each &&
               x->least_cols == y->least_cols && x->most_cols == y->most_cols &&
               x->least_pos == y->least_pos && x->most_pos == y->most_pos;
    }
    return same;
}

/* Whether the stage is the place for an option. */
static bool concerns(const stage *s, const hy__gpu_option *o)
{
    const hy__gpu_use plain = ((hy__gpu_use)1 << HY__GPU_N_PLAIN) - 1;
    const hy__gpu_use dots = hy__gpu_use_dot(hy__gpu_format_of(s->sizes.type)) |
                             hy__gpu_use_dot(hy__gpu_format_of(s->sizes.better));
    if (o->without & ~s->t->passed) {
        return false;
    }
    return s->format ? (o->without & dots) != 0 : !(o->without & ~plain & ~dots);
}

static void add_way(stage *s, uint32_t option, const hy__gpu_tuning *tuning)
{
    s->ways[s->n_ways++] = (way){.option = option, .tuning = *tuning};
}

/* tuning: the only one beside the first, or NULL: all options. */
static void list_ways(stage *s, const hy__gpu_tuning *tuning)
{
    const hy__gpu_tuning none = {0};
    hy__gpu_option o;
    add_way(s, TOGETHER, &none);
    if (tuning) {
        add_way(s, TOGETHER, tuning);
    }
    for (uint32_t i = 0; !tuning && hy__gpu_option_at(i, &o); i++) {
        hy__gpu_tuning one = {.without = o.without};
        if (!o.without) {
            one.numbers[o.number] = value_of(s->t, &o);
        }
        if (concerns(s, &o)) {
            add_way(s, i, &one);
        }
    }
}

static bool still_time(void *user, uint64_t done, uint64_t all)
{
    (void)done;
    (void)all;
    const tuner *t = user;
    return t->env.clock_ns(t->env.user) < t->compile_deadline;
}

/* The model, and what hy__gpu_choose makes of its device. */
static hy_status prepare(stage *s, const hy__gpu_tuning *tuning, hy_error *err)
{
    hy__gpu_model *m = &s->m;
    HY_TRY(hy__gpu_layers_make(&s->layers, &s->sizes, &s->t->env, err));
    m->g = &s->layers.graph;
    m->f = &s->layers.fusion;
    m->x = &s->layers.exprs;
    m->p = &s->layers.plan;
    m->use = s->t->passed;
    hy__gpu_choose(m);
#define HY_GPU_NUMBER(id, name, field, what, a, b, c)                                              \
    s->t->numbers[HY__GPU_NUMBER_##id] = m->field;
#include "variants.inc"
    s->caps = m->gpu.caps;
    list_ways(s, tuning);
    HY_TRY(hy__gpu_weights_place(m, err));
    return hy__gpu_weights_make(m, err);
}

static hy_status write_ways(stage *s, bool many, hy_error *err)
{
    for (uint32_t i = 0; i < s->n_ways; i++) {
        way *w = &s->ways[i];
        const uint32_t n_kernels = s->m.n_kernels, n_entries = s->m.n_entries;
        if (w->failed) {
            continue;
        }
        const hy_status status = write_way(s, w, many, err);
        if (i > 0 && is_of_way(s, status)) {
            take_back(s, w, many, n_kernels, n_entries);
            give_up(s, w, err);
            continue;
        }
        HY_TRY(status);
        w->differs[many] = !same_program(program_of(w, many), program_of(&s->ways[0], many));
    }
    return HY_OK;
}

/* What is compiled is what the model's programs have, so that they have the dispatches of ways first
 * to end - 1 meanwhile.  The default's come first. */
static hy_status begin_compiling(stage *s, bool many, uint32_t first, uint32_t end, hy_error *err)
{
    hy__gpu_model *m = &s->m;
    size_t n = 1;
    for (uint32_t i = first; i < end; i++) {
        n += program_of(&s->ways[i], many)->n;
    }
    hy__gpu_program *all = many ? &m->prefill : &m->decode;
    all->dispatches = hy__alloc(&m->env, n, sizeof *all->dispatches, err);
    if (!all->dispatches) {
        return HY_E_NOMEM;
    }
    for (uint32_t i = first; i < end; i++) {
        const hy__gpu_program *p = program_of(&s->ways[i], many);
        if (p->n > 0) { /* their places stay the ways' */
            memcpy(all->dispatches + all->n, p->dispatches, p->n * sizeof *p->dispatches);
            all->n += p->n;
        }
    }
    const hy_status status = hy__gpu_program_compile(m, err);
    hy__free(&m->env, all->dispatches);
    select_way(m, &(way){0});
    return status;
}

/* What is not compiled in time never is.  After an error, nothing of it is. */
static hy_status end_compiling(stage *s, hy_error *err)
{
    hy__gpu_model *m = &s->m;
    const hy__backend_model_opts wait = {.progress = still_time, .progress_user = s->t};
    const hy_status status = hy__gpu_program_wait(m, &wait, err);
    if (status == HY_E_CANCELLED) {
        return hy__gpu_check(&m->gpu, err);
    }
    for (uint32_t i = 0; status != HY_OK && i < m->compiling.n_jobs; i++) {
        WGPUComputePipeline *out = m->compiling.jobs[i].out;
        if (*out) {
            m->gpu.lib.ComputePipelineRelease(*out);
            *out = NULL;
        }
    }
    return status;
}

/* One by one, to see which cannot be compiled. */
static hy_status compile_each(stage *s, bool many, hy_error *err)
{
    for (uint32_t i = 0; i < s->n_ways; i++) {
        way *w = &s->ways[i];
        if (i > 0 && !w->differs[many]) {
            continue;
        }
        HY_TRY(begin_compiling(s, many, i, i + 1, err));
        const hy_status status = end_compiling(s, err);
        if (i > 0 && is_of_way(s, status)) {
            give_up(s, w, err);
        } else {
            HY_TRY(status);
        }
    }
    return HY_OK;
}

/* Writes the ways' texts and compiles as many as there is time for. */
static hy_status compile(stage *s, bool many, hy_error *err)
{
    tuner *t = s->t;
    const hy__backend_model_opts load = {0};
    const uint64_t now = t->env.clock_ns(t->env.user);
    t->compile_deadline = now + (t->deadline - HY_MIN(now, t->deadline)) / 5 * 3;
    HY_TRY(write_ways(s, many, err));
    if (hy__gpu_tune_tested.idle) {
        return HY_OK;
    }
    HY_TRY(begin_compiling(s, many, 0, s->n_ways, err));
    if (!many) {
        HY_TRY(hy__gpu_weights_load(&s->m, &load, err));
    }
    const hy_status status = end_compiling(s, err);
    return is_of_way(s, status) ? compile_each(s, many, err) : status;
}

static bool is_compiled(const stage *s, const hy__gpu_program *p)
{
    bool all = true;
    for (uint32_t i = 0; i < p->n && !hy__gpu_tune_tested.idle; i++) {
        all = all && s->m.entries[p->dispatches[i].entry].pipeline;
    }
    return all;
}

static bool is_ready(const stage *s, const way *w, bool many)
{
    return !is_late(s->t) && is_compiled(s, many ? &w->prefill : &w->decode);
}

static hy_status open_session(stage *s, way *w, hy_error *err)
{
    const hy__backend *b = &hy__backend_webgpu;
    const hy__backend_opts opts = {.n_ctx = CONTEXT,
                                   .n_batch = HY_MAX(s->many, 1u),
                                   .n_threads = 1,
                                   .cache_k = b->cache_types[0],
                                   .cache_v = b->cache_types[0]};
    select_way(&s->m, w);
    return hy__gpu_tune_tested.idle ? HY_OK
                                    : hy__gpu_session_create(&s->m, &opts, &w->session, err);
}

static void close_session(way *w)
{
    hy__gpu_session_destroy(w->session);
    w->session = NULL;
}

/* ---- whether results are the same */

/* Two tokens, one after the other, or n at once, in a session that begins. */
static hy_status play(stage *s, way *w, uint32_t n, float *logits, hy_error *err)
{
    const atomic_bool never = false;
    hy_token *tokens = hy__calloc(&s->t->env, n, sizeof *tokens, err);
    hy_status status = tokens ? HY_OK : HY_E_NOMEM;
    select_way(&s->m, w);
    for (uint32_t k = 0; k < (n > 1 ? 1 : PLAYED) && w->session && status == HY_OK; k++) {
        const hy__step_args args = {.tokens = tokens,
                                    .n = n,
                                    .n_out = 1,
                                    .pos = k,
                                    .logits = logits + (size_t)k * s->sizes.n_vocab,
                                    .cancel = &never};
        for (uint32_t i = 0; i < args.n; i++) {
            tokens[i] = (hy_token)((k + i) * 37 % s->sizes.n_vocab);
        }
        status = hy__gpu_step(w->session, &args, err);
        hy__gpu_commit(w->session);
    }
    hy__free(&s->t->env, tokens);
    return status;
}

/* Ways round differently, but a wrong one computes something else. */
static bool are_alike(const float *a, const float *b, size_t n)
{
    double size = 0, error = 0;
    for (size_t i = 0; i < n; i++) {
        size += (double)a[i] * (double)a[i];
        error += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    }
    return error <= size * 0.01;
}

/* The first way's logits of n tokens, in a session of its own. */
static hy_status play_first(stage *s, uint32_t n, hy_error *err)
{
    way first = s->ways[0];
    first.session = NULL;
    if (s->played == n) {
        return HY_OK;
    }
    s->played = 0;
    HY_TRY(open_session(s, &first, err));
    const hy_status status = play(s, &first, n, s->logits, err);
    close_session(&first);
    s->played = status == HY_OK ? n : 0;
    return status;
}

static hy_status check_way(stage *s, way *w, uint32_t n, bool *right, hy_error *err)
{
    const size_t n_vocab = s->sizes.n_vocab;
    float *own = s->logits + PLAYED * n_vocab;
    HY_TRY(play(s, w, n, own, err));
    *right = true;
    for (size_t k = 0; k < (n > 1 ? 1 : PLAYED); k++) {
        *right = *right && are_alike(s->logits + k * n_vocab, own + k * n_vocab, n_vocab);
    }
    return HY_OK;
}

/* ---- time */

typedef struct steps {
    stage *s;
    hy__gpu_session *session;
    uint32_t n; /* tokens */
} steps;

static hy_status record_steps(void *user, WGPUComputePassEncoder pass, uint32_t times,
                              hy_error *err)
{
    const steps *r = user;
    hy__gpu_model *m = &r->s->m;
    const hy__step_args args = {.n = r->n, .n_out = 1, .pos = r->n == 1 ? POS : 0};
    const uint32_t words[4] = {r->n, 1, (uint32_t)args.pos, 0};
    (void)err;
    m->gpu.lib.QueueWriteBuffer(m->gpu.queue, r->session->step, 0, words, sizeof words);
    for (uint32_t i = 0; i < times; i++) {
        hy__gpu_encode(r->session, &args, 0, r->n == 1 ? m->decode.n : m->prefill.n, pass);
        hy__gpu_commit(r->session);
    }
    return HY_OK;
}

/* Nanoseconds of a step of n tokens, from `times` in one submission. */
static hy_status time_steps(stage *s, way *w, uint32_t n, uint32_t times, double *ns, hy_error *err)
{
    steps r = {s, w->session, n};
    hy__gpu_times took = {0};
    select_way(&s->m, w);
    if (!hy__gpu_tune_tested.idle) {
        HY_TRY(hy__gpu_work_run(&s->m.gpu, record_steps, &r, times, &took, err));
    }
    *ns = hy__gpu_tune_tested.ns ? hy__gpu_tune_tested.ns(&w->tuning, n) : took.rest / times;
    return HY_OK;
}

/* The medians of a step as it is and in another way, in turns; ratio: median and upper quartile of
 * those of the pairs, which changes of the GPU's clock do not move. */
static hy_status time_pairs(stage *s, way *w, uint32_t n, uint32_t pairs, double ns[2],
                            double ratio[2], hy_error *err)
{
    enum { MOST = 16 };
    const double wanted = 5e6, enough = 5e8; /* ns of a submission, of all */
    double times[2][MOST], ratios[MOST];
    way *const both[2] = {&s->ways[0], w};
    double once = 0, spent = 0;
    HY_TRY(time_steps(s, w, n, 1, &once, err));
    HY_TRY(time_steps(s, &s->ways[0], n, 1, &once, err));
    const double fit = wanted / HY_MAX(once, 1.0);
    const uint32_t count = fit < 1 ? 1 : fit > 32 ? 32 : (uint32_t)fit;
    uint32_t done = 0;
    for (; done < pairs && !(done > 2 && (spent > enough || is_late(s->t))); done++) {
        for (uint32_t k = 0; k < 2; k++) {
            const uint32_t which = (k + done) % 2; /* neither is always behind the other */
            HY_TRY(time_steps(s, both[which], n, count, &times[which][done], err));
        }
        ratios[done] = times[1][done] / HY_MAX(times[0][done], 1.0);
        spent += count * (times[0][done] + times[1][done]);
    }
    ns[0] = hy__gpu_median(times[0], done);
    ns[1] = hy__gpu_median(times[1], done);
    ratio[0] = hy__gpu_median(ratios, done);
    ratio[1] = ratios[done * 3 / 4];
    return HY_OK;
}

/* What is faster must be so twice, the second time in three of four pairs: the smaller gain counts. */
static hy_status time_way(stage *s, way *w, uint32_t n, hy_error *err)
{
    enum { FIRST = 5, AGAIN = 11 };
    const bool together = w->option == TOGETHER;
    double ns[2], first[2], again[2];
    HY_TRY(time_pairs(s, w, n, FIRST, ns, first, err));
    double ratio = first[0];
    if (ratio < 1 - clear / 2 || together) {
        HY_TRY(time_pairs(s, w, n, AGAIN, ns, again, err));
        ratio = HY_MAX(ratio, again[together ? 0 : 1]);
    }
    add_gain(s->t, w->option, s->places[n > 1], HY__GPU_KEPT, ns[0], ratio * ns[0]);
    return HY_OK;
}

/* The tokens of steps that are compared and timed; returns how many such steps there are.  Where the
 * way has another number of columns, steps between the two numbers differ, and if it has nothing
 * else, only those. */
static uint32_t tokens_of(const stage *s, const way *w, bool many, uint32_t tokens[2])
{
    const uint32_t other = w->tuning.numbers[HY__GPU_NUMBER_COLUMNS];
    const uint32_t own = s->t->numbers[HY__GPU_NUMBER_COLUMNS];
    uint32_t n = 0;
    if (!many || other == 0 || w->option == TOGETHER) {
        tokens[n++] = many ? s->many : 1;
    }
    if (many && other != 0) {
        const uint32_t between = HY_MIN((own + other + 1) / 2, s->many);
        if (between > HY_MIN(own, other) && !(n > 0 && tokens[0] == between)) {
            tokens[n++] = between;
        }
    }
    return n;
}

static hy_status try_tokens(stage *s, way *w, uint32_t n, bool *right, hy_error *err)
{
    HY_TRY(play_first(s, n, err));
    HY_TRY(open_session(s, w, err));
    HY_TRY(check_way(s, w, n, right, err));
    if (*right) {
        HY_TRY(time_way(s, w, n, err));
    } else {
        add_gain(s->t, w->option, s->places[n > 1], HY__GPU_WRONG, 0, 0);
    }
    close_session(w);
    return HY_OK;
}

/* ---- all of a stage */

/* The first step is slower: kernels may be compiled for the GPU then. */
static hy_status time_token(stage *s, hy_error *err)
{
    HY_TRY(time_steps(s, &s->ways[0], 1, 1, &s->one_ns, err));
    return time_steps(s, &s->ways[0], 1, 1, &s->one_ns, err);
}

static hy_status try_ways(stage *s, bool many, hy_error *err)
{
    const bool ready = is_ready(s, &s->ways[0], many);
    if (ready) {
        HY_TRY(open_session(s, &s->ways[0], err));
        HY_TRY(many ? HY_OK : time_token(s, err));
    }
    s->played = 0;
    for (uint32_t i = 1; i < s->n_ways; i++) {
        way *w = &s->ways[i];
        uint32_t tokens[2];
        const uint32_t n = w->differs[many] ? tokens_of(s, w, many, tokens) : 0;
        bool right = true;
        if (w->differs[many] && !(n > 0 && ready && is_ready(s, w, many))) {
            s->t->scores[w->option].skipped = true;
            continue;
        }
        for (uint32_t k = 0; k < n && right; k++) {
            HY_TRY(try_tokens(s, w, tokens[k], &right, err));
        }
    }
    close_session(&s->ways[0]);
    return HY_OK;
}

/* ends: nanoseconds from the beginning until steps of one token and of many must be done. */
static hy_status try_all(stage *s, const uint64_t ends[2], hy_error *err)
{
    tuner *t = s->t;
    const size_t n = 2 * PLAYED * (size_t)s->sizes.n_vocab;
    s->logits = hy__calloc(&t->env, n, sizeof *s->logits, err);
    if (!s->logits) {
        return HY_E_NOMEM;
    }
    const double slow = 20e6; /* ns of a token: systems reset a GPU that is busy for long */
    for (int many = 0; many < (s->many > 0 ? 2 : 1); many++) {
        if (many && (s->one_ns == 0 || s->one_ns > slow)) { /* 0: it was not timed */
            s->many = HY_MIN(s->many, 64u);
        }
        t->deadline = t->begin + ends[s->many > 0 ? many : 1];
        HY_TRY(compile(s, many, err));
        HY_TRY(try_ways(s, many, err));
    }
    return HY_OK;
}

static void close_stage(stage *s)
{
    hy__gpu_model *m = &s->m;
    for (uint32_t i = 0; i < HY_COUNT(s->ways); i++) {
        close_session(&s->ways[i]);
        hy__gpu_program_free(m, &s->ways[i].decode);
        hy__gpu_program_free(m, &s->ways[i].prefill);
    }
    select_way(m, &(way){0});
    hy__gpu_program_finish(m);
    if (m->g) {
        hy__gpu_weights_finish(m);
    }
    hy__gpu_close(&m->gpu);
    hy__gpu_layers_finish(&s->layers);
    hy__free(&s->t->env, s->logits);
}

/* ---- stages */

/* What is timed, and until when: steps of one token, and of many. */
#define FORMATS_NS MS(15000)
#define TOGETHER_NS MS(18000)
typedef struct place {
    bool rwkv;
    const hy__gpu_format *format; /* or NULL: a mixture */
    uint64_t ends[2];
} place;
static const place plain_places[] = {{true, NULL, {MS(4000), MS(7000)}},
                                     {false, NULL, {MS(10500), MS(13000)}}};

/* Bytes that no cache of a GPU holds a third of. */
static const uint64_t cold_bytes = UINT64_C(3) * 128 << 20;

static hy__gpu_layer_sizes sizes_of(const tuner *t, bool rwkv, const hy__gpu_format *format)
{
    hy__gpu_layer_sizes s = {.arch = rwkv ? "rwkv7" : "llama",
                             .n_embd = rwkv || format ? 2048 : 4096,
                             .n_ff = rwkv || format ? 8192 : 14336,
                             .n_vocab = rwkv ? 65536 : 4096,
                             .head = rwkv || format ? 64 : 128,
                             .n_head_kv = 8,
                             .type = format ? format->type : HY_TYPE_Q4_K,
                             .better = format ? format->type : HY_TYPE_Q6_K};
    if (t->software) {
        s.n_embd = 256;
        s.n_ff = 768;
        s.n_vocab = 512;
        s.head = 64;
        s.n_head_kv = 2;
    }
    s.n_layer = 2;
    if (!t->software) {
        const uint64_t layer = hy__gpu_layer_bytes(&s, &t->env);
        s.n_layer = (uint32_t)HY_MAX((cold_bytes + layer - 1) / layer, (uint64_t)2);
    }
    return s;
}

/* tuning: as for list_ways. */
static hy_status run_once(tuner *t, const place *p, uint32_t less, const hy__gpu_tuning *tuning,
                          hy_error *err)
{
    stage *s = hy__calloc(&t->env, 1, sizeof *s, err);
    if (!s) {
        return HY_E_NOMEM;
    }
    s->t = t;
    s->m.env = t->env;
    s->format = p->format;
    s->sizes = sizes_of(t, p->rwkv, p->format);
    s->sizes.n_layer = HY_MAX(s->sizes.n_layer >> less, 2u);
    s->many = t->software ? hy__gpu_tune_tested.many : 256;
    s->places[0] = p->rwkv     ? HY__GPU_AT_RWKV_ONE
                   : p->format ? HY__GPU_AT_FORMAT_ONE
                               : HY__GPU_AT_LLAMA_ONE;
    s->places[1] = s->places[0] + 1;
    hy_status status = hy__gpu_open(&s->m.gpu, t->opts, &t->env, err);
    if (status == HY_OK && hy__gpu_tune_tested.caps) {
        hy__gpu_tune_tested.caps(&s->m.gpu.caps);
    }
    if (status == HY_OK) {
        status = prepare(s, tuning, err);
    }
    status = status == HY_OK ? try_all(s, p->ends, err) : status;
    close_stage(s);
    hy__free(&t->env, s);
    return status;
}

/* With fewer layers where memory is short, as if it had not begun.  False: it was not timed to its
 * end. */
static bool run_stage(tuner *t, const place *p, const hy__gpu_tuning *tuning)
{
    const uint32_t n_gains = t->c->n_gains;
    score scores[N_SCORES];
    hy_error why;
    hy_status status = HY_E_CANCELLED; /* there is no time for it */
    memcpy(scores, t->scores, sizeof scores);
    t->deadline = t->begin + p->ends[0];
    for (uint32_t less = 0; less < 3 && !is_late(t); less++) {
        status = run_once(t, p, less, tuning, &why);
        if (status != HY_E_NOMEM) {
            break;
        }
        t->c->n_gains = n_gains;
        memcpy(t->scores, scores, sizeof scores);
    }
    if (status != HY_OK && status != HY_E_CANCELLED) {
        hy__message(&t->env, HY_LOG_WARN, "tuning, %s%s%s: %s", p->rwkv ? "RWKV-7" : "Llama",
                    p->format ? " in " : "", p->format ? p->format->name : "", why.text);
    }
    return status == HY_OK;
}

/* Marks what a stage did not come to. */
static void skip_options(tuner *t, hy__gpu_use dots)
{
    hy__gpu_option o;
    for (uint32_t i = 0; hy__gpu_option_at(i, &o); i++) {
        t->scores[i].skipped = t->scores[i].skipped || !dots || (o.without & dots);
    }
}

static void run_stages(tuner *t)
{
    for (size_t i = 0; i < HY_COUNT(plain_places); i++) {
        if (!run_stage(t, &plain_places[i], NULL)) {
            skip_options(t, 0);
        }
    }
    /* The last ones in the list are those that models have most. */
    size_t n = 0;
    while (hy__gpu_format_at(n)) {
        n++;
    }
    while (n-- > 0) {
        const hy__gpu_format *f = hy__gpu_format_at(n);
        const hy__gpu_use dot = hy__gpu_use_dot(f);
        const place p = {false, f, {FORMATS_NS, FORMATS_NS}};
        if (f->type != HY_TYPE_Q4_K && f->type != HY_TYPE_Q6_K && dot & t->passed &&
            !run_stage(t, &p, NULL)) {
            skip_options(t, dot);
        }
    }
}

/* ---- the choice */

/* What was not timed everywhere may be slower there. */
static bool is_better(const score *s)
{
    return s->n > 0 && !s->wrong && !s->skipped && s->best >= clear && s->worst > -slower;
}

static void change(const tuner *t, const hy__gpu_option *o, hy__gpu_tuning *tuning)
{
    tuning->without |= o->without;
    if (!o->without) {
        tuning->numbers[o->number] = value_of(t, o);
    }
}

/* All options that are clearly better, of each number the best one; or the best one alone. */
static void choose(const tuner *t, bool alone, hy__gpu_tuning *tuning)
{
    double best = 0, of_number[HY__GPU_N_NUMBERS] = {0};
    hy__gpu_option o;
    *tuning = (hy__gpu_tuning){0};
    for (uint32_t i = 0; hy__gpu_option_at(i, &o); i++) {
        const score *s = &t->scores[i];
        double *least = alone ? &best : o.without ? NULL : &of_number[o.number];
        if (!is_better(s) || (least && s->sum / s->n <= *least)) {
            continue;
        }
        if (least) {
            *least = s->sum / s->n;
        }
        if (alone) {
            *tuning = (hy__gpu_tuning){0};
        }
        change(t, &o, tuning);
    }
}

/* Whether it is right, and nowhere slower than what is done without it. */
static bool holds(tuner *t, const hy__gpu_tuning *tuning)
{
    bool done = true;
    score *s = &t->scores[TOGETHER];
    *s = (score){0};
    for (size_t i = 0; i < HY_COUNT(plain_places); i++) {
        const place p = {plain_places[i].rwkv, NULL, {TOGETHER_NS, TOGETHER_NS}};
        done = done && run_stage(t, &p, tuning);
    }
    /* None: no kernel of these models has changed, only those of a format. */
    return done && !s->wrong && !s->skipped && (s->n == 0 || (s->sum > 0 && s->worst > -slower));
}

static void decide(tuner *t)
{
    hy__gpu_tuning all, one, *const tries[] = {&all, &one};
    choose(t, false, &all);
    choose(t, true, &one);
    const bool same = all.without == one.without &&
                      memcmp(all.numbers, one.numbers, sizeof all.numbers) == 0;
    const size_t n = same ? 1 : HY_COUNT(tries);
    for (size_t i = 0; i < n && hy__gpu_tunes(tries[i]); i++) {
        if (holds(t, tries[i])) {
            t->c->tuning = *tries[i];
            return;
        }
    }
}

/* What was not timed is told too, and what was changed. */
static void finish_gains(tuner *t)
{
    hy__gpu_choice *c = t->c;
    hy__gpu_option o;
    for (uint32_t i = 0; hy__gpu_option_at(i, &o); i++) {
        const bool changed = o.without ? (o.without & c->tuning.without) != 0
                                       : c->tuning.numbers[o.number] == value_of(t, &o);
        const uint32_t before = c->n_gains;
        bool told = false;
        for (uint32_t k = 0; k < before; k++) {
            hy__gpu_gain *gain = &c->gains[k];
            told = told || gain->option == i;
            if (gain->option == i && changed && gain->outcome == HY__GPU_KEPT) {
                gain->outcome = HY__GPU_CHANGED;
            }
        }
        const bool skipped = t->scores[i].skipped;
        if ((!told || skipped) && !(o.without & ~t->passed)) {
            add_gain(t, i, HY__GPU_AT_NOWHERE, skipped ? HY__GPU_UNTIMED : HY__GPU_UNUSED, 0, 0);
        }
    }
}

bool hy__gpu_choice_is_timed(const hy__gpu_choice *c)
{
    bool timed = false;
    for (uint32_t i = 0; i < c->n_gains; i++) {
        timed = timed || c->gains[i].ns > 0;
    }
    return timed;
}

hy_status hy__gpu_tune(const hy__gpu *gpu, const hy__gpu_opts *opts, hy__gpu_use passed,
                       hy__gpu_choice *c, hy_error *err)
{
    hy__gpu_opts own = *opts;
    own.hardware = false; /* the adapter has been taken */
    tuner *t = hy__calloc(&gpu->env, 1, sizeof *t, err);
    if (!t) {
        return HY_E_NOMEM;
    }
    *t = (tuner){.opts = &own,
                 .env = gpu->env,
                 .begin = gpu->env.clock_ns(gpu->env.user),
                 .passed = passed,
                 .software = gpu->caps.type == WGPUAdapterType_CPU,
                 .c = c};
    c->made = true;
    c->tuning = (hy__gpu_tuning){0};
    c->n_gains = 0;
    run_stages(t);
    decide(t);
    finish_gains(t);
    if (!hy__gpu_choice_is_timed(c)) {
        hy__message(&t->env, HY_LOG_WARN, "tuning: nothing could be timed");
    }
    c->seconds = (double)(t->env.clock_ns(t->env.user) - t->begin) * 1e-9;
    hy__free(&gpu->env, t);
    return HY_OK;
}
