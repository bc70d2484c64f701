/* cmd_perplexity.c: `halyard perplexity`: how well a model predicts a text.  One thread.
 *
 * The indices are those of llama-perplexity, so that both programs print comparable numbers: the
 * text is tokenized once, cut into chunks of C tokens (a last, shorter one is dropped), each is
 * evaluated from an empty state with its first token replaced by the start token if the model wants
 * one; the tokens C/2 + 1 .. C - 1 of the chunk are counted, each predicted from the position
 * before it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generate.h"
#include "scores.h"
#include "term.h"

typedef struct total {
    uint64_t n;
    double nll;
} total;

/* One chunk: ids[n]. */
static hy_status add_chunk(engine *e, const hy_token *ids, uint32_t n, hy_token bos, total *sum,
                           hy_error *err)
{
    hy_session_reset(e->session);
    hy_session_logits_from(e->session, n / 2);
    const hy_token first = bos != HY_TOKEN_NONE ? bos : ids[0];
    hy_status status = hy_session_append(e->session, &first, 1, err);
    if (status == HY_OK) {
        status = hy_session_append(e->session, ids + 1, n - 1, err);
    }
    uint32_t position = 0;
    while (status == HY_OK && position < n) {
        hy_step step = {0, 0, 0};
        status = hy_session_step(e->session, &step, err);
        for (uint32_t row = 0; status == HY_OK && row < step.n_logits; row++) {
            const uint32_t at = position + step.done - step.n_logits + row;
            if (at + 1 < n) {
                const float *logits = hy_session_logits(e->session, row);
                sum->nll +=
                    scores_log_sum_exp(logits, e->info.n_vocab) - (double)logits[ids[at + 1]];
                sum->n++;
            }
        }
        position += step.done;
    }
    return status;
}

/* The start token that the model wants before a text, or HY_TOKEN_NONE. */
static hy_token start_token(const hy_tokenizer *t)
{
    hy_token *ids = NULL;
    size_t n = 0;
    hy_token bos = HY_TOKEN_NONE;
    if (hy_tokenize(t, "", 0, HY_TOKENIZE_ADD_SPECIAL, &ids, &n, NULL) == HY_OK && n > 0
        && ids[0] == hy_tokenizer_bos(t)) {
        bos = ids[0];
    }
    hy_tokenizer_free(t, ids);
    return bos;
}

static int print_result(const options *o, const total *sum)
{
    const double nll = sum->nll / (double)sum->n;
    if (OPT(o, JSON)->on) {
        json_t *root = json_pack("{s:I, s:o, s:o}", "tokens", (json_int_t)sum->n, "nll",
                                 json_number(nll), "ppl", json_number(exp(nll)));
        if (!json_print(root)) {
            return cli_fail(o, "out of memory");
        }
    } else {
        printf("tokens %llu, nll %.6f per token, perplexity %.4f\n", (unsigned long long)sum->n,
               nll, exp(nll));
    }
    return cli_finish_output();
}

static int measure(engine *e, const hy_token *ids, size_t n)
{
    const options *o = e->o;
    const uint32_t chunk = (uint32_t)OPT(o, CHUNK)->i;
    const size_t chunks = n / chunk;
    if (chunks == 0) {
        return cli_fail(
            o,
            "the text has %zu tokens, less than one chunk of %u; use a longer text or a smaller -c",
            n, chunk);
    }
    const hy_token bos = start_token(e->tokenizer);
    total sum = {0, 0};
    progress bar;
    progress_start(&bar, "perplexity");
    term_cancel_on_interrupt(e->session);
    hy_error err = {HY_OK, ""};
    hy_status status = HY_OK;
    for (size_t i = 0; status == HY_OK && i < chunks; i++) {
        progress_update(&bar, i, chunks);
        status = add_chunk(e, ids + i * chunk, chunk, bos, &sum, &err);
    }
    term_cancel_on_interrupt(NULL);
    progress_end(&bar);
    return status == HY_OK ? print_result(o, &sum) : cli_error(o, &err);
}

int cmd_perplexity(const options *o)
{
    engine e;
    text t = {0};
    hy_token *ids = NULL;
    size_t n = 0;
    memset(&e, 0, sizeof e);
    const char *file = OPT(o, FILE)->s;
    if (!file && term_is_tty(stdin)) {
        return cli_usage(o, "a text is needed: -f FILE or standard input");
    }
    int code = engine_load(&e, o, true);
    if (code == CLI_OK) {
        code = cli_read_file(o, file ? file : "-", &t);
    }
    if (code == CLI_OK) {
        code = engine_session(&e, (uint32_t)OPT(o, CHUNK)->i, engine_threads(OPT(o, THREADS)->i),
                              true);
    }
    if (code == CLI_OK) {
        hy_error err = {HY_OK, ""};
        code = hy_tokenize(e.tokenizer, t.data ? t.data : "", t.len, HY_TOKENIZE_ADD_SPECIAL, &ids,
                           &n, &err)
                       == HY_OK
                   ? measure(&e, ids, n)
                   : cli_error(o, &err);
    }
    if (e.tokenizer) {
        hy_tokenizer_free(e.tokenizer, ids);
    }
    engine_close(&e);
    text_free(&t);
    return code;
}
