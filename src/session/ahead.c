/* ahead.c: a session that is stepped with the tokens that it drew itself lets the backend draw
 * them: see session.h. */
#include "session.h"

#include "sampler.h"

static bool may_begin(const hy_session *s)
{
    const hy__ahead *a = &s->ahead;
    return s->model->backend->ahead_begin && !a->off && !s->opts.all_logits && !s->trace &&
           !s->profile && a->sampler && a->sampled_at == s->n_done && s->n_pending == 1 &&
           s->tokens[s->n_done] == a->sampled;
}

static size_t room(const hy_session *s)
{
    return s->opts.n_ctx ? s->opts.n_ctx : (size_t)INT32_MAX;
}

void hy_session_expect(hy_session *s, size_t n_tokens)
{
    s->expected = n_tokens ? n_tokens : SIZE_MAX;
}

/* One more batch, longer than the last one by half: it is written while that one is computed, even
 * if writing a step takes two thirds of the time.  None where the context ends, and of no more than
 * `least` steps where more tokens are not expected. */
static hy_status submit(hy_session *s, size_t least, hy_error *err)
{
    hy__ahead *a = &s->ahead;
    const size_t left = room(s) - HY_MIN(room(s), a->next);
    const size_t wanted = s->expected - HY_MIN(s->expected, a->next);
    a->in_flight = 0;
    const uint32_t n = (uint32_t)HY_MIN(HY_MIN((size_t)a->size, HY_MAX(wanted, least)), left);
    if (n > 0) {
        HY_TRY(s->model->backend->ahead_submit(s->backend, n, err));
        a->in_flight = n;
        a->next += n;
        a->size = HY_MIN((3 * a->size + 1) / 2, (uint32_t)HY__MOST_AHEAD);
    }
    return HY_OK;
}

static uint64_t now(const hy_session *s)
{
    return s->model->env.clock_ns(s->model->env.user);
}

/* The batch on its way becomes the one at hand.  While its tokens are handed out the next one runs:
 * that is to take no longer than a reader overlooks.  None runs when a state is to be kept: the
 * backend then stands still where the batch at hand ends. */
static hy_status collect(hy_session *s, hy_error *err)
{
    static const uint64_t most_ns = 50000000;
    hy__ahead *a = &s->ahead;
    a->start += a->n;
    a->n = a->in_flight;
    a->in_flight = 0;
    if (!hy__kept_due(s)) {
        HY_TRY(submit(s, 0, err));
    }
    HY_TRY(s->model->backend->ahead_collect(s->backend, a->drawn, err));
    const uint64_t t = now(s), each = (t - a->since_ns) / a->n;
    a->since_ns = t;
    a->size = HY_MIN(a->size, each < most_ns ? (uint32_t)HY_MIN(most_ns / (each + 1),
                                                                (uint64_t)HY__MOST_AHEAD)
                                             : 1);
    return HY_OK;
}

/* size: of the first batch, for which the caller waits. */
static hy_status begin(hy_session *s, uint32_t size, hy_error *err)
{
    hy__ahead *a = &s->ahead;
    HY_TRY(hy__kept_refresh(s, err));
    HY_TRY(s->model->backend->ahead_begin(s->backend, a->sampler, a->sampler_id, s->tokens,
                                          s->n_done + 1, err));
    a->active = true;
    a->start = a->next = s->n_done;
    a->n = 0;
    a->size = size;
    a->since_ns = now(s);
    return submit(s, 1, err);
}

/* A batch is at hand that has the token. */
static hy_status provide(hy_session *s, hy_error *err)
{
    hy__ahead *a = &s->ahead;
    const bool used_up = s->n_done - a->start == a->n;
    if (!a->active || (used_up && a->in_flight == 0)) {
        const uint32_t size = a->active ? a->size : 1; /* of a stream that only stood still */
        a->active = false;
        HY_TRY(begin(s, size, err));
        return collect(s, err);
    }
    return used_up ? collect(s, err) : HY_OK;
}

hy_status hy__ahead_step(hy_session *s, bool *done, hy_error *err)
{
    hy__ahead *a = &s->ahead;
    *done = false;
    if (!may_begin(s)) {
        return hy__ahead_settle(s, false, err);
    }
    HY_TRY(hy__kept_reserve(s, err));
    hy_status status;
    do {
        status = provide(s, err);
    } while (status != HY_OK && hy__kept_revive(s, &status, err));
    if (status == HY_E_UNSUPPORTED && !a->active) {
        a->off = true; /* this sampler works on the host */
        a->off_id = a->sampler_id;
        return HY_OK;
    }
    HY_TRY(status);
    s->n_done++;
    s->n_pending = 0;
    hy__kept_step(s, 1);
    *done = true;
    return HY_OK;
}

bool hy__ahead_sample(hy_session *s, const hy_sampler *sampler, hy_token *out)
{
    hy__ahead *a = &s->ahead;
    const uint64_t id = hy__sampler_look(sampler).id;
    if (!a->active || id != a->sampler_id || s->n_pending != 0) {
        return false;
    }
    *out = a->drawn[s->n_done - 1 - a->start];
    a->sampled = *out;
    a->sampled_at = s->n_done;
    return true;
}

void hy__ahead_sampled(hy_session *s, const hy_sampler *sampler, hy_token token)
{
    hy__ahead *a = &s->ahead;
    if (a->sampler != sampler) {
        hy__sampler_drop(a->sampler);
        a->sampler = hy__sampler_hold(sampler);
    }
    a->sampler_id = hy__sampler_look(sampler).id;
    a->off = a->off && a->off_id == a->sampler_id;
    a->sampled = token;
    a->sampled_at = s->n_done;
}

void hy__ahead_forget(hy_session *s)
{
    hy__ahead *a = &s->ahead;
    if (a->active) {
        s->n_logits = 0; /* they were the backend's */
    }
    a->active = false;
    a->n = a->in_flight = 0;
}

void hy__ahead_finish(hy_session *s)
{
    hy__sampler_drop(s->ahead.sampler);
    s->ahead = (hy__ahead){0};
}

/* The backend back to where the batch at hand began. */
static hy_status rewind_batch(hy_session *s, hy_error *err)
{
    if (s->ahead.n == 0) { /* nothing was collected: nothing is known of what is on its way */
        hy_token unused[HY__MOST_AHEAD];
        HY_TRY(s->model->backend->ahead_collect(s->backend, unused, err));
    }
    return s->model->backend->ahead_rewind(s->backend, err);
}

/* One token a step, as the backend did: the same numbers come out again. */
hy_status hy__ahead_settle(hy_session *s, bool logits, hy_error *err)
{
    hy__ahead *a = &s->ahead;
    if (!a->active) {
        return HY_OK;
    }
    const size_t again = s->n_done - a->start;
    const bool in_place = a->in_flight == 0 && again == a->n && !logits;
    hy__sampler_drop(a->sampler);
    a->sampler = NULL;
    a->active = false;
    s->n_logits = 0;
    if (in_place) {
        return HY_OK;
    }
    s->n_done -= again;
    s->n_pending += again;
    hy__kept_undo(s, again);
    hy_status status = rewind_batch(s, err);
    if (status != HY_OK && !hy__kept_revive(s, &status, err)) {
        return status;
    }
    for (size_t left = again; left > 0; left--) {
        HY_TRY(hy__session_evaluate(s, 1, left == 1, true, err));
    }
    return HY_OK;
}
