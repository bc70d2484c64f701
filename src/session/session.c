/* session.c: a sequence of tokens going through a model.  One thread at a time, cancel from any.
 *
 * Whatever a step needs is allocated before it: a step fails only where the backend does, and then
 * nothing has moved. */
#include "session.h"

#include <math.h>
#include <stdio.h>

#define DEFAULT_CTX 4096
#define DEFAULT_BATCH 512
#define DEFAULT_BATCH_ALL_LOGITS 64 /* a row of logits is up to a megabyte */
#define MOST_BATCH 4096
#define MOST_THREADS 1024

static hy_status resolve_opts(const hy_model *m, const hy_session_opts *opts, hy_session_opts *o,
                              hy_error *err)
{
    memset(o, 0, sizeof *o);
    if (opts) {
        memcpy(o, opts, HY_MIN(opts->size, sizeof *o));
    }
    o->size = sizeof *o;
    if (o->n_batch == 0) {
        o->n_batch = o->all_logits ? DEFAULT_BATCH_ALL_LOGITS : DEFAULT_BATCH;
    }
    o->n_threads = o->n_threads ? o->n_threads : 1;
    if (o->n_batch > MOST_BATCH) {
        return hy__fail(err, HY_E_ARG, "n_batch is %u, at most %d tokens are possible in a step",
                        o->n_batch, MOST_BATCH);
    }
    if (o->n_threads > MOST_THREADS) {
        return hy__fail(err, HY_E_ARG, "n_threads is %u, at most %d are possible", o->n_threads,
                        MOST_THREADS);
    }
    if (m->info.recurrent) {
        o->n_ctx = 0;
    } else if (o->n_ctx == 0) {
        o->n_ctx = HY_MIN(m->info.n_ctx_train, (uint32_t)DEFAULT_CTX);
    }
    if (o->n_ctx > INT32_MAX) {
        return hy__fail(err, HY_E_ARG, "n_ctx is %u, at most %d positions are possible", o->n_ctx,
                        INT32_MAX);
    }
    return HY_OK;
}

/* ---- types of KV caches */

static bool has_cache_type(const hy__backend *b, hy_type type)
{
    for (uint32_t i = 0; i < b->n_cache_types; i++) {
        if (b->cache_types[i] == type) {
            return true;
        }
    }
    return false;
}

/* "F16, F32" */
static const char *cache_type_names(const hy__backend *b, char *buf, size_t cap)
{
    size_t n = 0;
    for (uint32_t i = 0; i < b->n_cache_types && n < cap; i++) {
        n += (size_t)snprintf(buf + n, cap - n, "%s%s", i > 0 ? ", " : "",
                              hy_type_find(b->cache_types[i])->name);
    }
    return buf;
}

/* The type of that name, or the backend's own for NULL.  *name becomes a constant, as callers need
 * not keep theirs. */
static hy_status resolve_cache_type(const hy__backend *b, const char *option, const char **name,
                                    hy_type *type, hy_error *err)
{
    char buf[64];
    const hy_type_info *info = *name ? hy_type_by_name(*name) : hy_type_find(b->cache_types[0]);
    if (!info) {
        return hy__fail(err, HY_E_ARG, "%s is '%s', which is not the name of a type", option,
                        hy__printable((hy_str){*name, strlen(*name)}, buf, sizeof buf));
    }
    if (!has_cache_type(b, info->type)) {
        return hy__fail(err, HY_E_UNSUPPORTED, "%s is %s; backend %s has caches of %s", option,
                        info->name, b->name, cache_type_names(b, buf, sizeof buf));
    }
    *name = info->name;
    *type = info->type;
    return HY_OK;
}

/* A block of a cache's type holds numbers of one head. */
static hy_status check_heads(const char *option, hy_type type, uint32_t head, hy_error *err)
{
    const hy_type_info *info = hy_type_find((uint32_t)type);
    if (head % info->block_elems != 0) {
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "%s is %s, whose blocks of %u do not fit into heads of %u numbers", option,
                        info->name, info->block_elems, head);
    }
    return HY_OK;
}

static hy_status resolve_cache_types(hy_session *s, hy_error *err)
{
    const hy__backend *b = s->model->backend;
    const hy__graph *g = &s->model->graph;
    hy_session_opts *o = &s->opts;
    HY_TRY(resolve_cache_type(b, "cache_type_k", &o->cache_type_k, &s->cache_k, err));
    HY_TRY(resolve_cache_type(b, "cache_type_v", &o->cache_type_v, &s->cache_v, err));
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const hy__node *node = &g->nodes[i];
        if (node->op == HY__OP_ATTENTION) {
            const uint32_t heads = node->params.n_head_kv;
            HY_TRY(check_heads("cache_type_k", s->cache_k, g->values[node->in[1]].n / heads, err));
            HY_TRY(check_heads("cache_type_v", s->cache_v, g->values[node->in[2]].n / heads, err));
        }
    }
    return HY_OK;
}

static uint64_t row_bytes(hy_type type, uint32_t n)
{
    const hy_type_info *info = hy_type_find((uint32_t)type);
    return (uint64_t)n / info->block_elems * info->block_bytes;
}

uint64_t hy_session_kv_bytes_per_token(const hy_session *s)
{
    const hy__graph *g = &s->model->graph;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const hy__node *node = &g->nodes[i];
        if (node->op == HY__OP_ATTENTION) {
            sum += row_bytes(s->cache_k, g->values[node->in[1]].n) +
                   row_bytes(s->cache_v, g->values[node->in[2]].n);
        }
    }
    return sum;
}

/* ---- life */

hy_status hy_session_create(const hy_model *m, const hy_session_opts *opts, hy_session **out,
                            hy_error *err)
{
    hy_session_opts o;
    *out = NULL;
    HY_TRY(resolve_opts(m, opts, &o, err));
    hy_session *s = hy__calloc(&m->env, 1, sizeof *s, err);
    if (!s) {
        return HY_E_NOMEM;
    }
    s->model = m;
    s->opts = o;
    s->expected = SIZE_MAX;
    atomic_init(&s->cancel, false);
    hy_status status = resolve_cache_types(s, err);
    if (status == HY_OK) {
        const uint64_t row = sizeof *s->logits * (uint64_t)m->info.n_vocab;
        size_t bytes;
        status = hy__size("the logits of a step", o.all_logits ? o.n_batch : 1, row, &bytes, err);
        s->logits = status == HY_OK ? hy__alloc(&m->env, bytes, 1, err) : NULL;
        status = s->logits ? HY_OK : HY_E_NOMEM;
    }
    if (status == HY_OK) {
        const hy__backend_opts b = {.n_ctx = o.n_ctx,
                                    .n_batch = o.n_batch,
                                    .n_threads = o.n_threads,
                                    .all_logits = o.all_logits,
                                    .cache_k = s->cache_k,
                                    .cache_v = s->cache_v};
        status = m->backend->session_create(m->backend_model, &b, &s->backend, err);
    }
    if (status != HY_OK) {
        hy_session_destroy(s);
        return status;
    }
    hy__kept_begin(s, NULL);
    *out = s;
    return HY_OK;
}

void hy_session_destroy(hy_session *s)
{
    if (!s) {
        return;
    }
    const hy_env *env = &s->model->env;
    s->model->backend->session_destroy(s->backend);
    hy__ahead_finish(s);
    hy__kept_finish(s);
    hy__free(env, s->tokens);
    hy__free(env, s->logits);
    hy__free(env, s);
}

const hy_model *hy_session_model(const hy_session *s)
{
    return s->model;
}

uint32_t hy_session_n_ctx(const hy_session *s)
{
    return s->opts.n_ctx;
}

const hy_token *hy_session_tokens(const hy_session *s, size_t *n)
{
    *n = s->n_done;
    return s->tokens;
}

void hy_session_cancel(hy_session *s)
{
    atomic_store(&s->cancel, true);
}

/* Room for n tokens in all. */
static hy_status reserve(hy_session *s, size_t n, hy_error *err)
{
    if (n <= s->cap) {
        return HY_OK;
    }
    const size_t cap = HY_MAX(n, s->cap + s->cap / 2 + 64);
    hy_token *tokens = hy__realloc(&s->model->env, s->tokens, cap, sizeof *tokens, err);
    if (!tokens) {
        return HY_E_NOMEM;
    }
    s->tokens = tokens;
    s->cap = cap;
    return HY_OK;
}

hy_status hy_session_append(hy_session *s, const hy_token *ids, size_t n, hy_error *err)
{
    const size_t have = s->n_done + s->n_pending;
    const size_t most = s->opts.n_ctx ? s->opts.n_ctx : (size_t)INT32_MAX;
    if (n > most - have) {
        return hy__fail(err, HY_E_CONTEXT,
                        "%zu tokens after %zu do not fit into the context of %zu", n, have, most);
    }
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= s->model->info.n_vocab) {
            return hy__fail(err, HY_E_ARG, "token %zu is %d, the vocabulary has %u", i, (int)ids[i],
                            s->model->info.n_vocab);
        }
    }
    HY_TRY(reserve(s, have + n, err));
    if (n > 0) {
        memcpy(s->tokens + have, ids, n * sizeof *ids);
        s->n_pending += n;
    }
    return HY_OK;
}

static hy_status check_finite(const float *x, size_t n, uint32_t vocab, size_t first_pos,
                              hy_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return hy__fail(err, HY_E_NUMERIC,
                            "the logit of token %zu after position %zu is not a finite number",
                            i % vocab, first_pos + i / vocab);
        }
    }
    return HY_OK;
}

void hy_session_logits_from(hy_session *s, size_t first)
{
    s->logits_from = first;
}

/* Rows of logits that a step of n tokens leaves: of its last tokens. */
static uint32_t rows_of_step(const hy_session *s, uint32_t n)
{
    if (!s->opts.all_logits) {
        return n == s->n_pending;
    }
    const size_t end = s->n_done + n;
    return s->logits_from < end ? (uint32_t)HY_MIN(end - s->logits_from, (size_t)n) : 0;
}

hy_status hy_session_step(hy_session *s, hy_step *step, hy_error *err)
{
    bool done = false;
    *step = (hy_step){.pending = s->n_pending, .n_logits = s->n_logits};
    if (s->n_pending == 0) {
        return HY_OK;
    }
    if (atomic_exchange(&s->cancel, false)) {
        return hy__fail(err, HY_E_CANCELLED, "cancelled before the step");
    }
    HY_TRY(hy__kept_ready(s, err));
    HY_TRY(hy__ahead_step(s, &done, err));
    if (done) {
        s->n_logits = 1;
        *step = (hy_step){.done = 1, .n_logits = 1};
        return HY_OK;
    }
    const hy__backend *b = s->model->backend;
    const size_t most = b->step_tokens ? b->step_tokens(s->backend) : s->opts.n_batch;
    const uint32_t n = (uint32_t)HY_MIN(s->n_pending, most), rows = rows_of_step(s, n);
    *step = (hy_step){.pending = s->n_pending};
    HY_TRY(hy__session_evaluate(
        s, n, n == s->n_pending ? HY_MAX(rows, !s->opts.all_logits) : rows, false, err));
    *step = (hy_step){.done = n, .n_logits = s->n_logits, .pending = s->n_pending};
    return HY_OK;
}

hy_status hy__session_evaluate(hy_session *s, uint32_t n, uint32_t n_out, bool again, hy_error *err)
{
    static const atomic_bool never = false;
    const hy_model *m = s->model;
    const hy__step_args args = {
        .tokens = s->tokens + s->n_done,
        .n = n,
        .n_out = n_out,
        .pos = s->n_done,
        .logits = s->logits,
        .cancel = again ? &never : &s->cancel,
        .trace = again ? NULL : s->trace,
        .trace_user = s->trace_user,
        .profile = again ? NULL : s->profile,
        .profile_user = s->profile_user,
    };
    HY_TRY(hy__kept_reserve(s, err));
    s->n_logits = 0; /* the buffer is being overwritten */
    hy_status status;
    do {
        status = hy__kept_refresh(s, err);
        status = status == HY_OK ? m->backend->step(s->backend, &args, err) : status;
    } while (status != HY_OK && hy__kept_revive(s, &status, err));
    if (status == HY_OK) {
        status = check_finite(s->logits, (size_t)n_out * m->info.n_vocab, m->info.n_vocab,
                              s->n_done + n - n_out, err);
    }
    if (status == HY_E_CANCELLED) {
        atomic_store(&s->cancel, false);
    }
    if (status != HY_OK) {
        return status;
    }
    m->backend->commit(s->backend);
    s->n_done += n;
    s->n_pending -= n;
    s->n_logits = n_out;
    hy__kept_step(s, n);
    return HY_OK;
}

/* What is const to the caller is still ours to bring up to date. */
static hy_status settle(const hy_session *s, bool logits, hy_error *err)
{
    return hy__ahead_settle((hy_session *)(uintptr_t)s, logits, err);
}

const float *hy_session_logits(const hy_session *s, uint32_t row)
{
    if (s->ahead.active) {
        /* Who looks at logits will do it again. */
        ((hy_session *)(uintptr_t)s)->ahead.off = true;
        ((hy_session *)(uintptr_t)s)->ahead.off_id = s->ahead.sampler_id;
        if (settle(s, true, NULL) != HY_OK) {
            return NULL;
        }
    }
    return row < s->n_logits ? s->logits + (size_t)row * s->model->info.n_vocab : NULL;
}

hy_status hy_session_sample(hy_session *s, const hy_sampler *sampler, hy_token *out, hy_error *err)
{
    *out = HY_TOKEN_NONE;
    if (s->n_logits > 0 && hy__ahead_sample(s, sampler, out)) {
        return HY_OK;
    }
    HY_TRY(settle(s, true, err));
    if (s->n_logits == 0) {
        return hy__fail(
            err, HY_E_ARG,
            "there are no logits to sample from: tokens must be appended and stepped first");
    }
    HY_TRY(hy_sampler_pick(sampler, hy_session_logits(s, s->n_logits - 1), s->model->info.n_vocab,
                           s->tokens, s->n_done, s->n_done, &s->mu, out, err));
    hy__ahead_sampled(s, sampler, *out);
    return HY_OK;
}

void hy_session_reset(hy_session *s)
{
    hy__ahead_finish(s);
    /* Zeroing a state that exists cannot fail; one that was lost is made again by the next step. */
    const bool lost = s->model->backend->state_write(s->backend, 0, NULL, NULL) != HY_OK;
    s->n_done = s->n_pending = 0;
    s->n_logits = 0;
    s->mu = 0;
    hy__kept_begin(s, NULL);
    s->kept.stale = lost;
}

hy_status hy_session_set_trace(hy_session *s, hy_trace trace, void *user, hy_error *err)
{
    if (trace && !s->model->backend->traces) {
        return hy__fail(err, HY_E_UNSUPPORTED, "backend %s shows no intermediate values",
                        s->model->backend->name);
    }
    s->trace = trace;
    s->trace_user = user;
    return HY_OK;
}

hy_status hy_session_set_profile(hy_session *s, hy_profile profile, void *user, hy_error *err)
{
    if (profile && !s->model->backend->profiles) {
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "backend %s does not run phases, so it has no times of them",
                        s->model->backend->name);
    }
    s->profile = profile;
    s->profile_user = user;
    return HY_OK;
}

uint64_t hy_session_spared_bytes(const hy_session *s, uint32_t phase)
{
    const hy__backend *backend = s->model->backend;
    return backend->spared_bytes && phase < s->model->fusion.n_phases
               ? backend->spared_bytes(s->backend, phase)
               : 0;
}

/* ---- state */

static hy_status read_state(hy_session *s, hy_state *state, hy_error *err)
{
    hy_status status = hy__kept_ready(s, err);
    while (status == HY_OK) {
        status = s->model->backend->state_read(s->backend, s->n_done, state->data, err);
        if (status == HY_OK || !hy__kept_revive(s, &status, err)) {
            break;
        }
    }
    return status;
}

hy_status hy_session_snapshot(const hy_session *s, hy_state **out, hy_error *err)
{
    hy_state *state;
    *out = NULL;
    HY_TRY(settle(s, true, err));
    HY_TRY(hy__state_create(s->model, s->n_done, s->n_logits > 0, &state, err));
    const hy_status status = read_state((hy_session *)(uintptr_t)s, state, err);
    if (status != HY_OK) {
        hy_state_destroy(state);
        return status;
    }
    state->mu = s->mu;
    if (s->n_done > 0) {
        memcpy(state->tokens, s->tokens, s->n_done * sizeof *s->tokens);
    }
    if (state->n_logits > 0) {
        memcpy(state->logits, hy_session_logits(s, s->n_logits - 1),
               (size_t)state->n_logits * sizeof *s->logits);
    }
    *out = state;
    return HY_OK;
}

hy_status hy_session_restore(hy_session *s, const hy_state *state, hy_error *err)
{
    if (state->fingerprint != s->model->info.fingerprint) {
        return hy__fail(
            err, HY_E_MISMATCH, "the state belongs to another model (%016llx, this one is %016llx)",
            (unsigned long long)state->fingerprint, (unsigned long long)s->model->info.fingerprint);
    }
    /* Two files can be made to have the same fingerprint; what follows relies on sizes. */
    if (state->recurrent != s->model->plan.recurrent ||
        state->per_position != s->model->plan.per_position ||
        (state->n_logits != 0 && state->n_logits != s->model->info.n_vocab)) {
        return hy__fail(err, HY_E_MISMATCH, "the state belongs to a model of another shape");
    }
    if (s->opts.n_ctx && state->n_tokens > s->opts.n_ctx) {
        return hy__fail(err, HY_E_CONTEXT,
                        "the state's %llu tokens do not fit into the context of %u",
                        (unsigned long long)state->n_tokens, s->opts.n_ctx);
    }
    HY_TRY(reserve(s, (size_t)state->n_tokens, err));
    hy_status status;
    do {
        status = s->model->backend->state_write(s->backend, state->n_tokens, state->data, err);
    } while (status != HY_OK && hy__kept_revive(s, &status, err));
    HY_TRY(status);
    hy__ahead_finish(s);
    if (state->n_tokens > 0) {
        memcpy(s->tokens, state->tokens, (size_t)state->n_tokens * sizeof *s->tokens);
    }
    s->n_done = (size_t)state->n_tokens;
    s->n_pending = 0;
    s->mu = state->mu;
    s->n_logits = state->n_logits > 0;
    if (s->n_logits) {
        memcpy(s->logits, state->logits, (size_t)state->n_logits * sizeof *s->logits);
    }
    hy__kept_begin(s, state);
    return HY_OK;
}

hy_status hy_session_fork(const hy_session *s, hy_session **out, hy_error *err)
{
    hy_state *state;
    *out = NULL;
    HY_TRY(hy_session_snapshot(s, &state, err));
    hy_status status = hy_session_create(s->model, &s->opts, out, err);
    if (status == HY_OK) {
        status = hy_session_restore(*out, state, err);
    }
    hy_state_destroy(state);
    if (status != HY_OK) {
        hy_session_destroy(*out);
        *out = NULL;
    }
    return status;
}
