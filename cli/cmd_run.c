/* cmd_run.c: `halyard run`: a prompt and its continuation.  One thread; everything is freed before
 * it returns. */
#include <stdlib.h>
#include <string.h>

#include "generate.h"
#include "term.h"

/* What the prompt was. */
typedef struct prompt {
    text shown; /* the text to print before the continuation */
    hy_token *ids;
    size_t n;
} prompt;

static int tokens_as_prompt(const engine *e, const opt_value *given, prompt *p)
{
    hy_error err = {HY_OK, ""};
    p->ids = malloc((given->n ? given->n : 1) * sizeof *p->ids);
    if (!p->ids) {
        return cli_fail(e->o, "out of memory");
    }
    for (size_t i = 0; i < given->n; i++) {
        p->ids[i] = (hy_token)given->ints[i]; /* in range: the option's bounds */
    }
    p->n = given->n;
    char *shown = NULL;
    size_t len = 0;
    const unsigned flags = OPT(e->o, SPECIAL)->on ? HY_DETOKENIZE_SPECIAL : 0;
    if (hy_detokenize(e->tokenizer, p->ids, p->n, flags, &shown, &len, &err) != HY_OK) {
        return cli_error(e->o, &err);
    }
    const bool ok = text_add(&p->shown, shown, len);
    hy_tokenizer_free(e->tokenizer, shown);
    return ok ? CLI_OK : cli_fail(e->o, "out of memory");
}

static int read_prompt(const engine *e, prompt *p)
{
    const options *o = e->o;
    const opt_value *tokens = OPT(o, TOKENS);
    const bool goes_on = OPT(o, STATE_IN)->s != NULL;
    if (tokens->given) {
        if (OPT(o, PROMPT)->s || OPT(o, FILE)->s) {
            return cli_usage(o, "--tokens stands in place of --prompt and --file");
        }
        return tokens_as_prompt(e, tokens, p);
    }
    bool given = false;
    const int code = cli_input_text(o, !goes_on, false, &p->shown, &given);
    if (code != CLI_OK) {
        return code;
    }
    if (!given && !goes_on) {
        return cli_usage(o,
                         "a prompt is needed: -p TEXT, -f FILE, --tokens ID,... or standard input");
    }
    if (p->shown.len == 0 && goes_on) {
        return CLI_OK;
    }
    hy_error err = {HY_OK, ""};
    const unsigned flags =
        HY_TOKENIZE_PARSE_SPECIAL | (goes_on ? 0u : (unsigned)HY_TOKENIZE_ADD_SPECIAL);
    hy_token *ids = NULL;
    if (hy_tokenize(e->tokenizer, p->shown.len ? p->shown.data : "", p->shown.len, flags, &ids,
                    &p->n, &err)
        != HY_OK) {
        return cli_error(o, &err);
    }
    p->ids = malloc((p->n ? p->n : 1) * sizeof *p->ids);
    if (p->ids) {
        memcpy(p->ids, ids, p->n * sizeof *ids);
    }
    hy_tokenizer_free(e->tokenizer, ids);
    if (!p->ids) {
        return cli_fail(o, "out of memory");
    }
    return p->n > 0 ? CLI_OK : cli_usage(o, "the prompt is empty and the model has no start token");
}

static int load_state(engine *e)
{
    hy_error err = {HY_OK, ""};
    hy_state *state = NULL;
    const char *path = OPT(e->o, STATE_IN)->s;
    if (!path) {
        return CLI_OK;
    }
    hy_status status = hy_state_load(e->model, path, &state, &err);
    if (status == HY_OK) {
        status = hy_session_restore(e->session, state, &err);
    }
    hy_state_destroy(state);
    return status == HY_OK ? CLI_OK : cli_error(e->o, &err);
}

static int save_state(engine *e, gen_result *r, const hy_state *before)
{
    const char *path = OPT(e->o, STATE_OUT)->s;
    if (!path) {
        return CLI_OK;
    }
    hy_error err = {HY_OK, ""};
    hy_state *state = NULL;
    /* A prompt that was interrupted stays where it was; a generated token belongs to the state. */
    if (r->n > 0 && !gen_settle(e, r, before)) {
        return cli_error(e->o, &r->err);
    }
    hy_status status = hy_session_snapshot(e->session, &state, &err);
    if (status == HY_OK) {
        status = hy_state_save(state, path, &err);
    }
    hy_state_destroy(state);
    return status == HY_OK ? CLI_OK : cli_error(e->o, &err);
}

static bool emit(void *user, const char *data, size_t len)
{
    (void)user;
    return cli_write(data, len);
}

static bool print_json(const engine *e, const prompt *p, const gen_result *r)
{
    json_t *root = json_object();
    const bool ok = json_object_set_new(root, "tokens", json_tokens(r->ids, r->n)) == 0
                    && json_object_set_new(root, "text", json_bytes(r->out.data, r->out.len)) == 0
                    && json_object_set_new(root, "prompt_tokens", json_tokens(p->ids, p->n)) == 0
                    && json_object_set_new(root, "stop", json_string(gen_stop_name(r->stop))) == 0
                    && json_object_set_new(root, "seed", json_integer((json_int_t)e->seed)) == 0
                    && json_object_set_new(root, "timings", gen_timings(e, r)) == 0;
    if (!ok) {
        json_decref(root);
        return false;
    }
    return json_print(root);
}

/* The exit code for how the generation ended, with a line where there is something to say. */
static int report(const engine *e, const prompt *p, const gen_result *r)
{
    const options *o = e->o;
    if (r->stop == GEN_OUTPUT) {
        (void)cli_finish_output(); /* says why */
        return CLI_FAILURE;
    }
    if (OPT(o, JSON)->on) {
        if (r->stop != GEN_ERROR && !print_json(e, p, r)) {
            return cli_fail(o, "out of memory");
        }
    } else {
        const char *last = r->out.len     ? r->out.data + r->out.len
                           : p->shown.len ? p->shown.data + p->shown.len
                                          : NULL;
        if (last && last[-1] != '\n') {
            fputc('\n', stdout);
        }
    }
    if (cli_finish_output() != CLI_OK) {
        return CLI_FAILURE;
    }
    if (r->stop == GEN_ERROR) {
        return cli_error(o, &r->err);
    }
    if (r->stop == GEN_CONTEXT) {
        fprintf(stderr,
                "halyard run: stopped because the context of %u tokens is full; -c sets it\n",
                hy_session_n_ctx(e->session));
    }
    gen_summary(e, r);
    return r->stop == GEN_INTERRUPTED ? CLI_INTERRUPTED : CLI_OK;
}

static int generate(engine *e, prompt *p)
{
    const options *o = e->o;
    const bool streams = !OPT(o, JSON)->on;
    gen_result r;
    memset(&r, 0, sizeof r);
    hy_error err = {HY_OK, ""};
    if (p->n > 0 && hy_session_append(e->session, p->ids, p->n, &err) != HY_OK) {
        return cli_error(o, &err);
    }
    if (streams && OPT(o, DISPLAY_PROMPT)->on && p->shown.len > 0
        && !emit(NULL, p->shown.data, p->shown.len)) {
        return cli_finish_output();
    }
    if (!OPT(o, DISPLAY_PROMPT)->on) {
        text_free(&p->shown);
    }
    hy_state *before = NULL;
    bool ok = gen_prefill(e, &r, "reading");
    if (ok && OPT(o, STATE_OUT)->s && OPT(o, STOP)->n > 0
        && hy_session_snapshot(e->session, &before, &r.err) != HY_OK) {
        r.stop = GEN_ERROR;
        ok = false;
    }
    if (ok) {
        const gen_params params = {.n_predict = OPT(o, PREDICT)->i,
                                   .stops = OPT(o, STOP)->list,
                                   .n_stops = OPT(o, STOP)->n,
                                   .ignore_eos = OPT(o, IGNORE_EOS)->on,
                                   .special = OPT(o, SPECIAL)->on,
                                   .free_text = true,
                                   .emit = streams ? emit : NULL};
        gen_decode(e, &params, &r);
    }
    int code = report(e, p, &r);
    if (r.stop != GEN_ERROR) {
        const int saved = save_state(e, &r, before);
        code = saved != CLI_OK ? saved : code;
    }
    hy_state_destroy(before);
    gen_free(&r);
    return code;
}

int cmd_run(const options *o)
{
    engine e;
    prompt p;
    memset(&e, 0, sizeof e);
    memset(&p, 0, sizeof p);
    const char *state_out = OPT(o, STATE_OUT)->s;
    const char *why = state_out ? term_why_no_file(state_out) : NULL;
    if (why) { /* now, not after minutes of generation */
        return cli_fail(o, "the state cannot be saved as \"%s\": %s", state_out, why);
    }
    int code = engine_load(&e, o, true);
    if (code == CLI_OK) {
        code = engine_keep_model(&e, state_out);
    }
    if (code == CLI_OK) {
        code = read_prompt(&e, &p);
    }
    if (code == CLI_OK) {
        code =
            engine_session(&e, (uint32_t)OPT(o, CTX)->i, engine_threads(OPT(o, THREADS)->i), false);
    }
    if (code == CLI_OK) {
        engine_seed(&e);
        code = engine_sampler(&e, true);
    }
    if (code == CLI_OK) {
        code = load_state(&e);
    }
    if (code == CLI_OK) {
        code = generate(&e, &p);
    }
    engine_close(&e);
    text_free(&p.shown);
    free(p.ids);
    return code;
}
