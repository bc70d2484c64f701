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

/* One more batch, twice as long as the last one; none where the context ends. */
static hy_status submit(hy_session *s, hy_error *err)
{
    hy__ahead *a = &s->ahead;
    const size_t left = room(s) - HY_MIN(room(s), a->next);
    a->in_flight = 0;
    const uint32_t n = (uint32_t)HY_MIN((size_t)a->size, left);
    if (n > 0) {
        HY_TRY(s->model->backend->ahead_submit(s->backend, n, err));
        a->in_flight = n;
        a->next += n;
        a->size = HY_MIN(2 * a->size, (uint32_t)HY__MOST_AHEAD);
    }
    return HY_OK;
}

/* The batch on its way becomes the one at hand. */
static hy_status collect(hy_session *s, hy_error *err)
{
    hy__ahead *a = &s->ahead;
    a->start += a->n;
    a->n = a->in_flight;
    HY_TRY(submit(s, err));
    return s->model->backend->ahead_collect(s->backend, a->drawn, err);
}

static hy_status begin(hy_session *s, hy_error *err)
{
    hy__ahead *a = &s->ahead;
    const hy_status status = s->model->backend->ahead_begin(s->backend, a->sampler, a->sampler_id,
                                                            s->tokens, s->n_done + 1, err);
    if (status != HY_OK) {
        return status;
    }
    a->active = true;
    a->start = a->next = s->n_done;
    a->n = 0;
    a->size = 1;
    return submit(s, err);
}

hy_status hy__ahead_step(hy_session *s, bool *done, hy_error *err)
{
    hy__ahead *a = &s->ahead;
    *done = false;
    if (!may_begin(s)) {
        return hy__ahead_settle(s, false, err);
    }
    if (!a->active) {
        const hy_status status = begin(s, err);
        if (status == HY_E_UNSUPPORTED) {
            a->off = true; /* this sampler works on the host */
            a->off_id = a->sampler_id;
            return HY_OK;
        }
        HY_TRY(status);
    }
    if (s->n_done - a->start == a->n) {
        HY_TRY(collect(s, err));
    }
    s->n_done++;
    s->n_pending = 0;
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
    a->sampler = sampler;
    a->sampler_id = hy__sampler_look(sampler).id;
    a->off = a->off && a->off_id == a->sampler_id;
    a->sampled = token;
    a->sampled_at = s->n_done;
}

hy_status hy__ahead_settle(hy_session *s, bool logits, hy_error *err)
{
    hy__ahead *a = &s->ahead;
    if (!a->active) {
        return HY_OK;
    }
    a->active = false;
    a->sampler = NULL;
    s->n_logits = 0;
    if (a->in_flight == 0 && s->n_done - a->start == a->n && !logits) {
        return HY_OK;
    }
    if (a->n == 0) { /* nothing was collected: nothing is known of what is on its way */
        hy_token unused[HY__MOST_AHEAD];
        HY_TRY(s->model->backend->ahead_collect(s->backend, unused, err));
    }
    HY_TRY(s->model->backend->ahead_rewind(s->backend, err));
    const size_t again = s->n_done - a->start;
    s->n_done -= again;
    s->n_pending += again;
    for (size_t left = again; left > 0;) {
        hy_step step;
        HY_TRY(hy__session_step(s, left, &step, err));
        left -= step.done;
    }
    return HY_OK;
}
