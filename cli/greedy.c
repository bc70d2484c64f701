/* greedy.c: see greedy.h. */
#include "greedy.h"

#include "halyard/unstable.h"
#include "scores.h"
#include "term.h"

hy_token greedy_arbitrary(uint64_t *state, uint32_t n_vocab)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (hy_token)((*state >> 33) % n_vocab);
}

hy_status greedy_evaluate(hy_session *s, const hy_token *ids, size_t n, hy_error *err)
{
    hy_status status = hy_session_append(s, ids, n, err);
    hy_step step = {0, 0, 0};
    do {
        status = status == HY_OK ? hy_session_step(s, &step, err) : status;
    } while (status == HY_OK && step.pending > 0);
    return status;
}

hy_status greedy_generate(hy_session *s, const hy_sampler *greedy, hy_token *ids, size_t n,
                          hy_error *err)
{
    size_t before;
    hy_session_tokens(s, &before);
    hy_session_expect(s, before + n);
    hy_status status = greedy_evaluate(s, &ids[0], 1, err);
    for (size_t i = 1; status == HY_OK && i < n; i++) {
        status = hy_session_sample(s, greedy, &ids[i], err);
        status = status == HY_OK ? greedy_evaluate(s, &ids[i], 1, err) : status;
    }
    hy_session_expect(s, 0);
    return status;
}

/* FNV-1a over the tokens as 32 bits, the lowest byte first. */
uint64_t greedy_hash(const hy_token *ids, size_t n)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < 4 * n; i++) {
        hash ^= (uint32_t)ids[i / 4] >> 8 * (i % 4) & 0xFF;
        hash *= UINT64_C(0x100000001B3);
    }
    return hash;
}

int greedy_compare(engine *e, const hy_token *ids, size_t n, greedy_check *out)
{
    hy_error err = {HY_OK, ""};
    int code = engine_session(e, (uint32_t)n, hy_cpu_count(), false);
    if (code != CLI_OK) {
        return code;
    }
    term_cancel_on_interrupt(e->session);
    hy_status status = HY_OK;
    for (size_t i = 0; status == HY_OK && i + 1 < n; i++) {
        status = greedy_evaluate(e->session, &ids[i], 1, &err);
        if (status == HY_OK) {
            const double lead = scores_lead(hy_session_logits(e->session, 0), e->info.n_vocab,
                                            (uint32_t)ids[i + 1]);
            out->n++;
            out->agree += lead == 0;
            out->lead = lead > out->lead ? lead : out->lead;
        }
    }
    term_cancel_on_interrupt(NULL);
    code = status == HY_OK ? CLI_OK : cli_error(e->o, &err);
    hy_session_destroy(e->session);
    e->session = NULL;
    return code;
}
