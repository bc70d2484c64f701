/* cmd_logits.c: `halyard logits`: the scores after each position.  One thread. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generate.h"
#include "scores.h"
#include "term.h"

typedef struct printer {
    const engine *e;
    FILE *raw;     /* or NULL */
    uint32_t *top; /* [k] */
    uint32_t k;
    uint8_t *bytes; /* one row as it is written */
    uint64_t pos;
} printer;

static bool write_raw(printer *p, const float *row)
{
    const uint32_t n = p->e->info.n_vocab;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits = 0;
        memcpy(&bits, &row[i], sizeof bits);
        for (int b = 0; b < 4; b++) {
            p->bytes[4 * (size_t)i + (size_t)b] = (uint8_t)(bits >> 8 * b);
        }
    }
    return fwrite(p->bytes, 4, n, p->raw) == n;
}

static bool print_json_row(const printer *p, const float *row, uint32_t n, double log_sum)
{
    json_t *top = json_array();
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t id = p->top[i];
        json_t *entry = json_array();
        /* 9 digits name a float exactly; more would only show its binary tail. */
        json_array_append_new(entry, json_integer((json_int_t)id));
        json_array_append_new(entry, json_number(row[id]));
        json_array_append_new(entry, json_number((double)row[id] - log_sum));
        json_array_append_new(top, entry);
    }
    return json_print(json_pack("{s:I, s:o}", "pos", (json_int_t)p->pos, "top", top));
}

static bool print_table_row(const printer *p, const float *row, uint32_t n, double log_sum)
{
    printf("pos %llu\n", (unsigned long long)p->pos);
    const hy_tokenizer *t = p->e->tokenizer;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t id = p->top[i];
        text piece = {0};
        char *raw = NULL;
        size_t len = 0;
        const hy_token token = (hy_token)id;
        bool ok = true;
        if (t && id < hy_tokenizer_n_tokens(t)
            && hy_detokenize(t, &token, 1, HY_DETOKENIZE_SPECIAL, &raw, &len, NULL) == HY_OK) {
            ok = text_add_visible(&piece, raw, len);
            hy_tokenizer_free(t, raw);
        }
        printf("  %7u  %12.5f  %10.5f  '%s'\n", id, (double)row[id], (double)row[id] - log_sum,
               piece.data ? piece.data : "");
        text_free(&piece);
        if (!ok) {
            return false;
        }
    }
    return true;
}

static int print_row(printer *p, const float *row)
{
    const options *o = p->e->o;
    if (p->raw && !write_raw(p, row)) {
        return cli_fail(o, "%s could not be written", OPT(o, RAW)->s);
    }
    if (p->k > 0) {
        const uint32_t n = scores_top(row, p->e->info.n_vocab, p->k, p->top);
        const double log_sum = scores_log_sum_exp(row, p->e->info.n_vocab);
        const bool ok = OPT(o, JSON)->on ? print_json_row(p, row, n, log_sum)
                                         : print_table_row(p, row, n, log_sum);
        if (!ok) {
            return cli_fail(o, "out of memory");
        }
    }
    p->pos++;
    return ferror(stdout) ? cli_finish_output() : CLI_OK;
}

static int queue_input(engine *e)
{
    const options *o = e->o;
    const opt_value *tokens = OPT(o, TOKENS);
    hy_error err = {HY_OK, ""};
    hy_status status = HY_OK;
    if (tokens->given) {
        if (OPT(o, PROMPT)->s || OPT(o, FILE)->s) {
            return cli_usage(o, "--tokens stands in place of --prompt and --file");
        }
        hy_token *ids = malloc(tokens->n * sizeof *ids);
        if (!ids) {
            return cli_fail(o, "out of memory");
        }
        for (size_t i = 0; i < tokens->n; i++) {
            ids[i] = (hy_token)tokens->ints[i];
        }
        status = hy_session_append(e->session, ids, tokens->n, &err);
        free(ids);
        return status == HY_OK ? CLI_OK : cli_error(o, &err);
    }
    text t = {0};
    bool given = false;
    int code = cli_input_text(o, true, false, &t, &given);
    if (code == CLI_OK && !given) {
        code =
            cli_usage(o, "a text is needed: -p TEXT, -f FILE, --tokens ID,... or standard input");
    }
    if (code == CLI_OK && !e->tokenizer) {
        code = cli_fail(o, "the model has no vocabulary; give --tokens");
    }
    if (code == CLI_OK) {
        hy_token *ids = NULL;
        size_t n = 0;
        status = hy_tokenize(e->tokenizer, t.data ? t.data : "", t.len,
                             HY_TOKENIZE_ADD_SPECIAL | HY_TOKENIZE_PARSE_SPECIAL, &ids, &n, &err);
        if (status == HY_OK && n > 0) {
            status = hy_session_append(e->session, ids, n, &err);
        }
        hy_tokenizer_free(e->tokenizer, ids);
        code = status != HY_OK ? cli_error(o, &err)
               : n == 0        ? cli_usage(o, "the text is empty")
                               : CLI_OK;
    }
    text_free(&t);
    return code;
}

static int evaluate(engine *e, printer *p)
{
    hy_step step = {0, 0, 0};
    int code = CLI_OK;
    term_cancel_on_interrupt(e->session);
    do {
        hy_error err = {HY_OK, ""};
        if (hy_session_step(e->session, &step, &err) != HY_OK) {
            code = cli_error(e->o, &err);
        }
        for (uint32_t row = 0; code == CLI_OK && row < step.n_logits; row++) {
            code = print_row(p, hy_session_logits(e->session, row));
        }
    } while (code == CLI_OK && step.pending > 0);
    term_cancel_on_interrupt(NULL);
    return code;
}

static int with_session(engine *e)
{
    const options *o = e->o;
    const char *path = OPT(o, RAW)->s;
    printer p;
    memset(&p, 0, sizeof p);
    p.e = e;
    const uint64_t k = (uint64_t)OPT(o, TOP)->i;
    p.k = k < e->info.n_vocab ? (uint32_t)k : e->info.n_vocab;
    p.top = malloc(((size_t)p.k + 1) * sizeof *p.top);
    p.bytes = malloc((size_t)e->info.n_vocab * 4);
    int code = p.top && p.bytes ? engine_keep_model(e, path) : cli_fail(o, "out of memory");
    if (code == CLI_OK) {
        code = queue_input(e);
    }
    if (code == CLI_OK && path) {
        p.raw = fopen(path, "wb");
        if (!p.raw) {
            code = cli_fail(o, "%s cannot be opened for writing: %s", path, strerror(errno));
        }
    }
    if (code == CLI_OK) {
        code = evaluate(e, &p);
    }
    if (p.raw && fclose(p.raw) != 0 && code == CLI_OK) {
        code = cli_fail(o, "%s could not be written", path);
    }
    free(p.top);
    free(p.bytes);
    return code == CLI_OK ? cli_finish_output() : code;
}

int cmd_logits(const options *o)
{
    engine e;
    memset(&e, 0, sizeof e);
    int code = engine_load(&e, o, false);
    if (code == CLI_OK) {
        code =
            engine_session(&e, (uint32_t)OPT(o, CTX)->i, engine_threads(OPT(o, THREADS)->i), true);
    }
    if (code == CLI_OK) {
        code = with_session(&e);
    }
    engine_close(&e);
    return code;
}
