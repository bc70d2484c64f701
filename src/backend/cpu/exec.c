/* exec.c: a step: all threads go through the stages of all phases together.
 *
 * Tasks of a stage are handed out by a counter, so a thread that gets less of its processor does
 * less; a barrier ends the stage.  Only the caller's thread touches what belongs to the step as a
 * whole. */
#include "cpu.h"

/* A stage of the phase at hand. */
typedef struct stage {
    hy__cpu_session *s;
    const hy__cpu_phase *p;
    uint32_t part;              /* of the prologue */
    uint32_t per_task;          /* columns of a task */
    const hy__cpu_tasks *tasks; /* of matrices */
} stage;

typedef void (*task_fn)(const stage *st, uint32_t task, uint32_t thread);

/* Where a thread is. */
typedef struct walker {
    hy__cpu_session *s;
    uint32_t thread;
    uint32_t n_stages; /* behind it */
} walker;

static void run_stage(walker *w, const stage *st, uint32_t n_tasks, task_fn run)
{
    atomic_uint *next = &w->s->next[w->n_stages++];
    if (n_tasks > 1 || w->thread == 0) {
        for (;;) {
            const uint32_t task = atomic_fetch_add_explicit(next, 1, memory_order_relaxed);
            if (task >= n_tasks || hy__cpu_stop(w->s)) {
                break;
            }
            run(st, task, w->thread);
        }
    }
    hy__pool_barrier(w->s->pool);
}

/* ---- tasks of columns */

static uint32_t n_column_tasks(const stage *st, uint32_t cols)
{
    return (cols + st->per_task - 1) / st->per_task;
}

static void run_nodes(const stage *st, uint32_t first, uint32_t end, uint32_t task)
{
    const hy__graph *g = st->s->model->g;
    for (uint32_t i = first; i < end; i++) {
        const hy__id out = g->nodes[i].out;
        const hy__cpu_range r = {.t0 = task * st->per_task,
                                 .t1 = HY_MIN((task + 1) * st->per_task, hy__cpu_cols(st->s, out)),
                                 .c1 = g->values[out].n};
        hy__cpu_op(st->s, &g->nodes[i], r);
    }
}

/* All operations of a phase, column by column. */
static void columns_task(const stage *st, uint32_t task, uint32_t thread)
{
    const hy__phase *p = st->p->p;
    (void)thread;
    run_nodes(st, p->first, p->first + p->n_prologue + p->n_anchor + p->n_epilogue, task);
}

/* A part of a prologue; the last one leaves the inputs as the matrices read them. */
static void prologue_task(const stage *st, uint32_t task, uint32_t thread)
{
    const hy__cpu_phase *p = st->p;
    (void)thread;
    run_nodes(st, p->cuts[st->part], p->cuts[st->part + 1], task);
    for (uint32_t i = 0; i < p->n_inputs && st->part + 1 == p->n_parts; i++) {
        hy__cpu_prepare(st->s, p, i, task * st->per_task, (task + 1) * st->per_task);
    }
}

/* The whole prologue of a single column. */
static void prologue_of_one(const stage *st, uint32_t task, uint32_t thread)
{
    stage part = *st;
    for (part.part = 0; part.part < st->p->n_parts; part.part++) {
        prologue_task(&part, task, thread);
    }
}

/* ---- phases */

static void matmul_task(const stage *st, uint32_t task, uint32_t thread)
{
    hy__cpu_matmul(st->s, st->p, &st->tasks->tasks[task], thread);
}

static void run_matmul(walker *w, stage *st)
{
    hy__cpu_session *s = w->s;
    const uint32_t index = (uint32_t)(st->p - s->model->program.phases);
    if (s->args.n == 1) {
        run_stage(w, st, 1, prologue_of_one);
    } else {
        for (st->part = 0; st->part < st->p->n_parts; st->part++) {
            run_stage(w, st, n_column_tasks(st, s->args.n), prologue_task);
        }
    }
    const uint32_t cols = st->p->p->cols == HY__PER_OUT ? s->args.n_out : s->args.n;
    st->tasks = cols == 1 ? &s->decode[index] : &s->prefill[index];
    run_stage(w, st, st->tasks->n, matmul_task);
}

static void recurrence_task(const stage *st, uint32_t task, uint32_t thread)
{
    (void)thread;
    hy__cpu_recurrence(st->s, st->p, task);
}

static void begin_attention(const stage *st, uint32_t task, uint32_t thread)
{
    (void)thread;
    hy__cpu_attention_begin(st->s, st->p, task);
}

static void end_attention(const stage *st, uint32_t task, uint32_t thread)
{
    hy__cpu_attention_end(st->s, st->p, task, thread);
}

/* One token: a head needs nobody else from beginning to end. */
static void whole_attention(const stage *st, uint32_t task, uint32_t thread)
{
    begin_attention(st, task, thread);
    end_attention(st, task, thread);
}

static void run_phase(walker *w, const hy__cpu_phase *p)
{
    hy__cpu_session *s = w->s;
    stage st = {.s = s, .p = p, .per_task = HY__TILE_COLS};
    switch (p->p->kind) {
    case HY__PHASE_MATMUL:
        run_matmul(w, &st);
        break;
    case HY__PHASE_WKV7:
        run_stage(w, &st, p->n_heads, recurrence_task);
        break;
    case HY__PHASE_ATTENTION:
        if (s->args.n == 1) {
            run_stage(w, &st, p->n_heads, whole_attention);
        } else {
            run_stage(w, &st, p->n_heads, begin_attention);
            run_stage(w, &st, hy__cpu_attention_tasks(s, p), end_attention);
        }
        break;
    default:
        run_stage(w, &st, n_column_tasks(&st, s->args.n), columns_task);
        break;
    }
}

/* Whether a phase has nothing to do in this step. */
static bool is_idle(const hy__cpu_session *s, const hy__cpu_phase *p)
{
    return p->p->cols == HY__PER_OUT && s->args.n_out == 0;
}

/* Shows the results of a phase; they stay where they are until the next phase runs. */
static void show(const hy__cpu_session *s, const hy__phase *p)
{
    const hy__graph *g = s->model->g;
    for (uint32_t i = p->first; i < p->first + p->n_prologue + p->n_anchor + p->n_epilogue; i++) {
        const hy__node *node = &g->nodes[i];
        const hy__value *v = &g->values[node->out];
        s->args.trace(s->args.trace_user, v->name,
                      node->layer == HY__NO_LAYER ? -1 : (int32_t)node->layer, v->n,
                      hy__cpu_cols(s, node->out), hy__cpu_data(s, node->out));
    }
}

static void run_phases(void *arg, uint32_t thread)
{
    walker w = {.s = arg, .thread = thread};
    hy__cpu_session *s = arg;
    const hy__cpu_program *program = &s->model->program;
    const hy_env *env = &s->model->env;
    const bool timed = thread == 0 && s->args.profile;
    if (timed) {
        s->times[0] = env->clock_ns(env->user);
    }
    for (uint32_t i = 0; i < program->n_phases; i++) {
        const hy__cpu_phase *p = &program->phases[i];
        if (!is_idle(s, p)) {
            run_phase(&w, p);
            if (s->args.trace) {
                if (thread == 0) {
                    show(s, p->p);
                }
                hy__pool_barrier(s->pool);
            }
        }
        if (timed) {
            s->times[i + 1] = env->clock_ns(env->user);
        }
    }
}

/* ---- the step */

static void fill_ropes(hy__cpu_session *s)
{
    for (uint32_t i = 0; i < s->n_ropes; i++) {
        const hy__cpu_rope *rope = &s->ropes[i];
        const double *freqs = s->model->g->values[rope->freqs].data;
        for (uint32_t t = 0; t < s->args.n; t++) {
            float *cs = rope->cs + (size_t)t * rope->n_pairs * 2;
            for (uint32_t k = 0; k < rope->n_pairs; k++) {
                double sine, cosine;
                hy__sincos((double)(s->args.pos + t) * freqs[k], &sine, &cosine);
                cs[2 * k] = (float)(cosine * (double)rope->scale);
                cs[2 * k + 1] = (float)(sine * (double)rope->scale);
            }
        }
    }
}

static void report(const hy__cpu_session *s)
{
    const hy__cpu_program *program = &s->model->program;
    for (uint32_t i = 0; i < program->n_phases; i++) {
        if (!is_idle(s, &program->phases[i])) {
            s->args.profile(s->args.profile_user, i, s->args.n, s->times[i], s->times[i + 1]);
        }
    }
}

hy_status hy__cpu_step(void *session, const hy__step_args *args, hy_error *err)
{
    hy__cpu_session *s = session;
    s->args = *args;
    for (uint32_t i = 0; i < s->model->program.n_stages; i++) {
        atomic_store_explicit(&s->next[i], 0, memory_order_relaxed);
    }
    atomic_store_explicit(&s->stopped, false, memory_order_relaxed);
    fill_ropes(s);
    hy__pool_team(s->pool, run_phases, s);
    if (atomic_load_explicit(&s->stopped, memory_order_relaxed)) {
        return hy__fail(err, HY_E_CANCELLED, "cancelled");
    }
    if (args->profile) {
        report(s);
    }
    return HY_OK;
}
