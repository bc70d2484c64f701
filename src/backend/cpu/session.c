/* session.c: the memory of a session, and its state.  Used by one thread at a time. */
#include "cpu.h"

#include "halyard/types.h"

/* Most bytes of weights in a task, and fewest: enough to be worth handing out, few enough that all
 * threads end together. */
enum { MOST_TASK_BYTES = 1 << 18, LEAST_TASK_BYTES = 1 << 14, TASKS_PER_THREAD = 8 };

void hy__cpu_session_destroy(void *session)
{
    hy__cpu_session *s = session;
    if (!s) {
        return;
    }
    const hy_env env = s->model->env;
    hy__pool_destroy(s->pool);
    for (uint32_t i = 0; s->caches && i < s->model->g->n_states; i++) {
        hy__free_aligned(&env, s->caches[i].data);
    }
    hy__free(&env, s->caches);
    for (uint32_t i = 0; i < s->n_ropes; i++) {
        hy__free(&env, s->ropes[i].cs);
    }
    hy__free(&env, s->ropes);
    hy__free_aligned(&env, s->recurrent[0]);
    hy__free_aligned(&env, s->recurrent[1]);
    hy__free_aligned(&env, s->arena[0]);
    hy__free_aligned(&env, s->arena[1]);
    hy__free_aligned(&env, s->inputs);
    hy__free_aligned(&env, s->scratch);
    hy__free(&env, s->task_memory);
    hy__free(&env, s->decode);
    hy__free(&env, s->times);
    hy__free(&env, s->spared);
    hy__free(&env, (void *)s->next);
    hy__free(&env, s);
}

/* ---- tasks */

/* Cuts the panels of a phase into tasks; counts only if `out` is NULL.  Returns how many there are.
 */
static uint32_t cut_tasks(const hy__cpu_session *s, const hy__cpu_phase *p, uint32_t multiple,
                          hy__cpu_task *out)
{
    uint64_t total = 0;
    uint32_t n = 0;
    for (uint32_t c = 0; c < p->n_clusters; c++) {
        total +=
            p->clusters[c].panel_bytes * ((p->clusters[c].m + HY__PANEL_ROWS - 1) / HY__PANEL_ROWS);
    }
    uint64_t bytes = total / ((uint64_t)s->opts.n_threads * TASKS_PER_THREAD);
    bytes = HY_MAX(HY_MIN(bytes, (uint64_t)MOST_TASK_BYTES), (uint64_t)LEAST_TASK_BYTES);
    for (uint32_t c = 0; c < p->n_clusters; c++) {
        const hy__cpu_cluster *cluster = &p->clusters[c];
        const uint32_t panels = (cluster->m + HY__PANEL_ROWS - 1) / HY__PANEL_ROWS;
        uint32_t each = (uint32_t)HY_MIN(bytes / cluster->panel_bytes, (uint64_t)panels);
        const uint32_t least = HY_MAX(multiple, cluster->least);
        each = HY_MAX((each + least - 1) / least * least, least);
        for (uint32_t first = 0; first < panels; first += each, n++) {
            if (out) {
                out[n] = (hy__cpu_task){c, first, HY_MIN(first + each, panels)};
            }
        }
    }
    return n;
}

/* Tasks of all phases.  With many columns the kernels take panels in fours. */
static hy_status make_tasks(hy__cpu_session *s, hy_error *err)
{
    const hy__cpu_program *program = &s->model->program;
    const uint32_t n = program->n_phases;
    s->decode = hy__calloc(&s->model->env, 2 * (size_t)n, sizeof *s->decode, err);
    if (!s->decode) {
        return HY_E_NOMEM;
    }
    s->prefill = s->decode + n;
    size_t total = 0;
    for (uint32_t i = 0; i < 2 * n; i++) {
        s->decode[i].n = cut_tasks(s, &program->phases[i % n], i < n ? 1 : 4, NULL);
        total += s->decode[i].n;
    }
    s->task_memory = hy__alloc(&s->model->env, total, sizeof *s->task_memory, err);
    if (!s->task_memory) {
        return HY_E_NOMEM;
    }
    hy__cpu_task *at = s->task_memory;
    for (uint32_t i = 0; i < 2 * n; i++) {
        s->decode[i].tasks = at;
        at += cut_tasks(s, &program->phases[i % n], i < n ? 1 : 4, at);
    }
    return HY_OK;
}

/* ---- other memory */

/* Aligned memory, or NULL with an error that names `what`. */
static void *memory(const hy__cpu_session *s, const char *what, uint64_t count, uint64_t elem,
                    hy_error *err)
{
    size_t bytes;
    return hy__size(what, count, elem, &bytes, err) == HY_OK
               ? hy__alloc_aligned(&s->model->env, bytes, 1, err)
               : NULL;
}

/* The inputs of the phase that needs most, and scratch memory for the widest. */
static hy_status make_inputs(hy__cpu_session *s, hy_error *err)
{
    const hy__cpu_program *program = &s->model->program;
    const uint32_t batch = s->opts.n_batch;
    uint32_t widest = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < program->n_phases; i++) {
        const hy__cpu_phase *p = &program->phases[i];
        uint64_t sum = 0;
        for (uint32_t k = 0; k < p->n_inputs; k++) {
            const uint32_t n = s->model->g->values[p->inputs[k].value].n;
            const uint64_t one = hy__cpu_input_bytes(&p->inputs[k], n, 1);
            sum += HY_MAX(one, batch > 1 ? hy__cpu_input_bytes(&p->inputs[k], n, batch) : 0);
            widest = HY_MAX(widest, n);
        }
        bytes = HY_MAX(bytes, sum);
    }
    uint64_t scratch = hy__cpu_matmul_scratch(widest);
    scratch = (HY_MAX(scratch, hy__cpu_heads_scratch(s->model)) + 63) / 64 * 64;
    s->inputs = memory(s, "the inputs of matrices", bytes, 1, err);
    s->scratch = s->inputs
                     ? memory(s, "the threads' scratch memory", s->opts.n_threads, scratch, err)
                     : NULL;
    s->scratch_bytes = (size_t)scratch; /* one thread's share of a size that fits */
    return s->scratch ? HY_OK : HY_E_NOMEM;
}

static hy__kv_type kv_type_of(hy_type type)
{
    return type == HY_TYPE_F32 ? HY__KV_F32 : type == HY_TYPE_F16 ? HY__KV_F16 : HY__KV_Q8_0;
}

/* For what an attention keeps of its input 1 or 2. */
static hy_status make_cache(hy__cpu_session *s, const hy__node *node, uint32_t input, hy_error *err)
{
    const hy__graph *g = s->model->g;
    const uint32_t n_heads = node->params.n_head_kv;
    hy__cpu_cache *cache = &s->caches[g->values[node->in[input + 2]].state];
    cache->form = (hy__kv_form){.type = kv_type_of(input == 2 ? s->opts.cache_v : s->opts.cache_k),
                                .values = input == 2,
                                .dim = g->values[node->in[input]].n / n_heads};
    cache->n_heads = n_heads;
    const uint64_t block = hy__kv_bytes(cache->form);
    const uint64_t blocks =
        ((uint64_t)s->opts.n_ctx + HY__ATTENTION_BLOCK - 1) / HY__ATTENTION_BLOCK;
    size_t bytes;
    HY_TRY(hy__size("a KV cache", block * n_heads, blocks, &bytes, err));
    cache->block_bytes = (size_t)block;
    cache->head_bytes = bytes / n_heads;
    cache->data = hy__alloc_aligned(&s->model->env, bytes, 1, err);
    return cache->data ? HY_OK : HY_E_NOMEM;
}

static hy_status make_caches(hy__cpu_session *s, hy_error *err)
{
    const hy__graph *g = s->model->g;
    s->caches = hy__calloc(&s->model->env, g->n_states, sizeof *s->caches, err);
    if (!s->caches) {
        return HY_E_NOMEM;
    }
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const hy__node *node = &g->nodes[i];
        if (node->op == HY__OP_ATTENTION) {
            HY_TRY(make_cache(s, node, 1, err));
            HY_TRY(make_cache(s, node, 2, err));
        }
    }
    return HY_OK;
}

static hy_status make_rope(hy__cpu_session *s, const hy__node *node, hy_error *err)
{
    for (uint32_t i = 0; i < s->n_ropes; i++) {
        if (s->ropes[i].freqs == node->in[1] && s->ropes[i].scale == node->params.scale) {
            return HY_OK;
        }
    }
    hy__cpu_rope *more = hy__realloc(&s->model->env, s->ropes, s->n_ropes + 1, sizeof *more, err);
    if (!more) {
        return HY_E_NOMEM;
    }
    s->ropes = more;
    hy__cpu_rope *rope = &more[s->n_ropes];
    *rope = (hy__cpu_rope){
        .freqs = node->in[1], .scale = node->params.scale, .n_pairs = node->params.n_rot / 2};
    size_t bytes;
    HY_TRY(hy__size("the angles of a step", s->opts.n_batch,
                    2 * sizeof *rope->cs * (uint64_t)rope->n_pairs, &bytes, err));
    rope->cs = hy__alloc(&s->model->env, bytes, 1, err);
    s->n_ropes += rope->cs != NULL;
    return rope->cs ? HY_OK : HY_E_NOMEM;
}

/* A recurrent block; every token reads and writes all of it. */
static float *zero_state(const hy__cpu_session *s, hy_error *err)
{
    const uint64_t n = s->model->p->recurrent;
    float *state = memory(s, "the recurrent state", n, sizeof *state, err);
    if (state) {
        hy__advise_huge(state, (size_t)n * sizeof *state);
        memset(state, 0, (size_t)n * sizeof *state);
    }
    return state;
}

static hy_status allocate(hy__cpu_session *s, hy_error *err)
{
    const hy__cpu_model *m = s->model;
    const hy_env *env = &m->env;
    const hy__backend_opts *o = &s->opts;
    const uint32_t n_out = o->all_logits ? o->n_batch : 1;
    if (!(s->arena[0] = memory(s, "the activations of tokens", m->p->per_token,
                               sizeof(float) * (uint64_t)o->n_batch, err)) ||
        !(s->arena[1] = memory(s, "the activations of outputs", m->p->per_output,
                               sizeof(float) * (uint64_t)n_out, err)) ||
        !(s->recurrent[0] = zero_state(s, err)) || !(s->recurrent[1] = zero_state(s, err)) ||
        !(s->times = hy__calloc(env, (size_t)m->program.n_phases + 1, sizeof *s->times, err)) ||
        !(s->spared = hy__calloc(env, m->program.n_phases, sizeof *s->spared, err)) ||
        !(s->next = hy__alloc(env, m->program.n_stages, sizeof *s->next, err))) {
        return HY_E_NOMEM;
    }
    for (uint32_t i = 0; i < m->program.n_stages; i++) {
        atomic_init(&s->next[i], 0);
    }
    HY_TRY(make_inputs(s, err));
    HY_TRY(make_tasks(s, err));
    HY_TRY(make_caches(s, err));
    for (uint32_t i = 0; i < m->g->n_nodes; i++) {
        if (m->g->nodes[i].op == HY__OP_ROPE) {
            HY_TRY(make_rope(s, &m->g->nodes[i], err));
        }
    }
    return hy__pool_create(env, o->n_threads, &s->pool, err);
}

hy_status hy__cpu_session_create(void *model, const hy__backend_opts *opts, void **out,
                                 hy_error *err)
{
    const hy__cpu_model *m = model;
    *out = NULL;
    hy__cpu_session *s = hy__calloc(&m->env, 1, sizeof *s, err);
    if (!s) {
        return HY_E_NOMEM;
    }
    s->model = m;
    s->opts = *opts;
    atomic_init(&s->stopped, false);
    const hy_status status = allocate(s, err);
    if (status != HY_OK) {
        hy__cpu_session_destroy(s);
        return status;
    }
    *out = s;
    return HY_OK;
}

/* ---- state */

void hy__cpu_commit(void *session)
{
    hy__cpu_session *s = session;
    s->current = 1 - s->current;
}

/* All KV caches, in the order of their states, position by position and head by head; to `out` or,
 * if that is NULL, from `in`. */
static void move_caches(hy__cpu_session *s, uint64_t n_pos, float *out, const float *in)
{
    const hy__vec *vec = s->model->vec;
    for (uint32_t i = 0; i < s->model->g->n_states; i++) {
        const hy__cpu_cache *cache = &s->caches[i];
        const size_t dim = cache->form.dim;
        for (uint64_t row = 0; cache->data && row < n_pos * cache->n_heads; row++) {
            const uint64_t pos = row / cache->n_heads;
            const uint32_t in_block = (uint32_t)(pos % HY__ATTENTION_BLOCK);
            char *block = cache->data + row % cache->n_heads * cache->head_bytes +
                          pos / HY__ATTENTION_BLOCK * cache->block_bytes;
            if (out) {
                vec->kv_read(cache->form, block, in_block, out);
                out += dim;
            } else {
                vec->kv_write(cache->form, in, block, in_block);
                in += dim;
            }
        }
    }
}

/* The states of WKV-7 heads lie transposed here (vec.h): a recurrent block to the other form. */
static void transpose_heads(const hy__cpu_model *m, float *block)
{
    for (uint32_t k = 0; k < m->g->n_nodes; k++) {
        const hy__node *node = &m->g->nodes[k];
        if (node->op != HY__OP_WKV7) {
            continue;
        }
        const hy__value *v = &m->g->values[node->in[6]];
        const size_t n = node->params.group;
        float *head = block + m->p->state_place[v->state];
        for (const float *end = head + v->n; head < end; head += n * n) {
            for (size_t i = 1; i < n; i++) {
                for (size_t j = 0; j < i; j++) {
                    const float x = head[i * n + j];
                    head[i * n + j] = head[j * n + i];
                    head[j * n + i] = x;
                }
            }
        }
    }
}

hy_status hy__cpu_state_read(void *session, uint64_t n_pos, float *data, hy_error *err)
{
    hy__cpu_session *s = session;
    const size_t n = (size_t)s->model->p->recurrent;
    (void)err; /* nothing here can fail: the memory is ours */
    memcpy(data, s->recurrent[s->current], n * sizeof *data);
    transpose_heads(s->model, data);
    move_caches(s, n_pos, data + n, NULL);
    return HY_OK;
}

hy_status hy__cpu_state_write(void *session, uint64_t n_pos, const float *data, hy_error *err)
{
    hy__cpu_session *s = session;
    const size_t n = (size_t)s->model->p->recurrent;
    (void)err;
    if (!data) {
        memset(s->recurrent[s->current], 0, n * sizeof *data);
        return HY_OK;
    }
    memcpy(s->recurrent[s->current], data, n * sizeof *data);
    transpose_heads(s->model, s->recurrent[s->current]);
    move_caches(s, n_pos, NULL, data + n);
    return HY_OK;
}
