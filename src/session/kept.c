/* kept.c: what a session is made again from when its device was lost: see session.h.
 *
 * A recurrent state is small, so the host takes a copy of it now and then, and little is evaluated
 * again.  KV caches are large: their tokens are evaluated again from the beginning, or from the
 * state that the session was restored from. */
#include "session.h"

static const uint64_t second = 1000000000;

static uint64_t now(const hy_session *s)
{
    const hy_env *env = &s->model->env;
    return env->clock_ns(env->user);
}

static bool keeps(const hy_session *s)
{
    return s->model->backend->revive != NULL;
}

/* ---- steps */

hy_status hy__kept_reserve(hy_session *s, hy_error *err)
{
    hy__kept *k = &s->kept;
    if (keeps(s) && k->n_runs == k->cap) {
        const size_t cap = k->cap * 2 + 16;
        struct hy__kept_run *runs =
            hy__realloc(&s->model->env, k->runs, cap, sizeof *k->runs, err);
        if (!runs) {
            return HY_E_NOMEM;
        }
        k->runs = runs;
        k->cap = cap;
    }
    return HY_OK;
}

void hy__kept_step(hy_session *s, uint32_t n)
{
    hy__kept *k = &s->kept;
    if (!keeps(s)) {
        return;
    }
    struct hy__kept_run *last = k->n_runs > 0 ? &k->runs[k->n_runs - 1] : NULL;
    if (last && last->tokens == n && last->steps < UINT32_MAX) {
        last->steps++;
    } else {
        k->runs[k->n_runs++] = (struct hy__kept_run){.tokens = n, .steps = 1};
    }
}

void hy__kept_undo(hy_session *s, size_t n)
{
    hy__kept *k = &s->kept;
    while (n > 0 && k->n_runs > 0) {
        struct hy__kept_run *last = &k->runs[k->n_runs - 1];
        const size_t part = HY_MIN(n, (size_t)last->steps);
        last->steps -= (uint32_t)part;
        k->n_runs -= last->steps == 0;
        n -= part;
    }
}

/* ---- states */

/* `state`, which is held already, is that of position `at`. */
static void take(hy_session *s, const hy_state *state, size_t at)
{
    hy__kept *k = &s->kept;
    hy__state_drop(k->state);
    k->state = state;
    k->at = at;
    k->n_runs = 0;
    k->since_ns = now(s);
}

void hy__kept_begin(hy_session *s, const hy_state *state)
{
    s->kept.stale = false;
    if (keeps(s)) {
        take(s, state ? hy__state_hold(state) : NULL, s->n_done);
    }
}

bool hy__kept_due(const hy_session *s)
{
    const hy__kept *k = &s->kept;
    return keeps(s) && s->model->plan.per_position == 0 && k->n_runs > 0 &&
           now(s) - k->since_ns >= second;
}

hy_status hy__kept_refresh(hy_session *s, hy_error *err)
{
    hy_state *state;
    if (!hy__kept_due(s)) {
        return HY_OK;
    }
    if (hy__state_create(s->model, 0, false, &state, NULL) != HY_OK) {
        s->kept.since_ns = now(s); /* no memory to spare: the older one is as good */
        return HY_OK;
    }
    const hy_status status = s->model->backend->state_read(s->backend, 0, state->data, err);
    if (status != HY_OK) {
        hy_state_destroy(state);
        return status;
    }
    take(s, state, s->n_done);
    return HY_OK;
}

void hy__kept_finish(hy_session *s)
{
    hy__state_drop(s->kept.state);
    hy__free(&s->model->env, s->kept.runs);
}

/* ---- after a loss */

/* From the state through the steps to where the session is. */
static hy_status replay(hy_session *s, hy_error *err)
{
    const hy__kept *k = &s->kept;
    const hy__backend *b = s->model->backend;
    const bool zero = k->state == NULL;
    hy__step_args args = {.pos = k->at, .cancel = &s->cancel};
    HY_TRY(b->revive(s->backend, err));
    HY_TRY(b->state_write(s->backend, zero ? 0 : k->at, zero ? NULL : k->state->data, err));
    for (size_t i = 0; i < k->n_runs; i++) {
        args.n = k->runs[i].tokens;
        for (uint32_t step = 0; step < k->runs[i].steps; step++) {
            args.tokens = s->tokens + args.pos;
            HY_TRY(b->step(s->backend, &args, err));
            b->commit(s->backend);
            args.pos += args.n;
        }
    }
    return HY_OK;
}

/* Whether a loss more is nothing to worry about; notes it. */
static bool few_losses(hy_session *s)
{
    hy__kept *k = &s->kept;
    const uint64_t t = now(s);
    if (k->losses[0] != 0 && t - k->losses[0] < 60 * second) {
        return false;
    }
    memmove(k->losses, k->losses + 1, sizeof k->losses - sizeof *k->losses);
    k->losses[HY__MOST_LOSSES - 1] = HY_MAX(t, (uint64_t)1);
    return true;
}

bool hy__kept_revive(hy_session *s, hy_status *status, hy_error *err)
{
    hy__kept *k = &s->kept;
    hy_error own = {HY_OK, ""};
    hy_error *e = err ? err : &own;
    if (*status != HY_E_DEVICE_LOST || !keeps(s)) {
        return false;
    }
    hy__ahead_forget(s);
    k->stale = true;
    while (*status == HY_E_DEVICE_LOST) {
        k->given_up = !few_losses(s);
        if (k->given_up) {
            hy__wrap(e, *status, "more than %d losses within a minute", HY__MOST_LOSSES);
            return false;
        }
        hy__message(&s->model->env, HY_LOG_WARN, "%s; going on from token %zu of %zu",
                    e->text[0] ? e->text : "the GPU was lost", k->at, s->n_done);
        *status = replay(s, e);
    }
    if (*status == HY_E_CANCELLED) {
        atomic_store(&s->cancel, false);
    }
    k->stale = *status != HY_OK;
    return *status == HY_OK;
}

hy_status hy__kept_ready(hy_session *s, hy_error *err)
{
    if (!s->kept.stale) {
        return HY_OK;
    }
    /* Given up: the backend says why, and it depends on the time what follows. */
    hy_status status =
        s->kept.given_up ? s->model->backend->state_write(s->backend, 0, NULL, err) : HY_OK;
    if (status == HY_OK) {
        status = replay(s, err);
    }
    if (status == HY_E_CANCELLED) {
        atomic_store(&s->cancel, false);
    }
    s->kept.stale = status != HY_OK;
    (void)hy__kept_revive(s, &status, err);
    return status;
}
