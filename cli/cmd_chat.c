/* cmd_chat.c: `halyard chat`: messages in, answers out.  One thread; a struct chat owns all it
 * points to.
 *
 * The conversation is the session's state, not a text that is evaluated again: each message is
 * appended behind the last answer, whose turn end is put in first, so that the model sees what it
 * was trained on, token for token. */
#include <stdlib.h>
#include <string.h>

#include "generate.h"
#include "help.h"
#include "line.h"
#include "term.h"

typedef struct chat {
    engine e;
    const hy_chat_format *format;
    line_reader *lines;
    hy_state *before;   /* where the last answer began, for /regen; NULL if there is none */
    const char **stops; /* of the format and the options */
    size_t n_stops;
    bool first;    /* the next message begins the conversation */
    bool answered; /* there were tokens, for /stats */
    bool in_text;  /* the answer's leading blanks have been passed */
    uint64_t n_answers;
    uint64_t n_generated;
    gen_result last; /* figures of the last answer; its arrays are freed */
} chat;

typedef enum after { GO_ON, LEAVE } after;

/* ---- set-up */

static int find_format(chat *c)
{
    const options *o = c->e.o;
    const char *wanted = OPT(o, TEMPLATE)->s;
    hy_error err = {HY_OK, ""};
    if (!wanted) {
        const hy_status status =
            hy_chat_format_of(hy_model_gguf(c->e.model), c->e.tokenizer, &c->format, &err);
        if (status == HY_E_NOT_FOUND) {
            return cli_fail(
                o, "the model has no chat template; name a format with --chat-template NAME|FILE");
        }
        return status == HY_OK ? CLI_OK : cli_error(o, &err);
    }
    c->format = hy_chat_format_by_name(wanted);
    if (c->format) {
        return CLI_OK;
    }
    text t = {0};
    char message[512] = "";
    int code = CLI_OK;
    if (!text_read_file(&t, wanted, message, sizeof message)) {
        text names = {0};
        bool ok = true;
        for (size_t i = 0; hy_chat_format_at(i); i++) {
            ok = ok
                 && text_printf(&names, "%s%s", i ? ", " : "",
                                hy_chat_format_name(hy_chat_format_at(i)));
        }
        code = cli_usage(
            o, "--chat-template: no format and no file is called \"%.60s\"; formats are %s", wanted,
            ok && names.data ? names.data : "none");
        text_free(&names);
    } else {
        c->format = hy_chat_format_detect(t.data, t.len, hy_tokenizer_model(c->e.tokenizer));
        if (!c->format) {
            code = cli_fail(
                o, "the template in %s is not of a known form; give a name with --chat-template",
                wanted);
        }
    }
    text_free(&t);
    return code;
}

static int collect_stops(chat *c)
{
    const opt_value *given = OPT(c->e.o, STOP);
    size_t n = 0;
    while (hy_chat_stop_text(c->format, n)) {
        n++;
    }
    c->stops = calloc(n + given->n + 1, sizeof *c->stops);
    if (!c->stops) {
        return cli_fail(c->e.o, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        c->stops[c->n_stops++] = hy_chat_stop_text(c->format, i);
    }
    for (size_t i = 0; i < given->n; i++) {
        c->stops[c->n_stops++] = given->list[i];
    }
    return CLI_OK;
}

/* ---- an answer */

static bool emit(void *user, const char *data, size_t len)
{
    chat *c = user;
    while (!c->in_text && len > 0 && (*data == ' ' || *data == '\n')) {
        data++; /* the blank between "Assistant:" and the answer is the model's own */
        len--;
    }
    c->in_text = c->in_text || len > 0;
    return cli_write(data, len);
}

static void say(const chat *c, const hy_error *err)
{
    (void)c;
    fprintf(stderr, "halyard chat: %s\n", err->text);
}

/* Puts the end of the assistant's turn behind the answer. */
static bool end_turn(chat *c, gen_result *r)
{
    const char *end = hy_chat_turn_end(c->format);
    hy_token *ids = NULL;
    size_t n = 0;
    if (!end || !*end) {
        return true;
    }
    bool ok =
        hy_tokenize(c->e.tokenizer, end, strlen(end), HY_TOKENIZE_PARSE_SPECIAL, &ids, &n, &r->err)
        == HY_OK;
    ok = ok && (n == 0 || hy_session_append(c->e.session, ids, n, &r->err) == HY_OK);
    hy_tokenizer_free(c->e.tokenizer, ids);
    return ok && gen_finish_pending(&c->e, &r->err) == HY_OK;
}

/* From the logits behind "Assistant:" to the end of the turn. */
static after answer(chat *c, gen_result *r)
{
    const options *o = c->e.o;
    const gen_params params = {.n_predict = OPT(o, PREDICT)->i,
                               .stops = c->stops,
                               .n_stops = c->n_stops,
                               .ignore_eos = OPT(o, IGNORE_EOS)->on,
                               .special = OPT(o, SPECIAL)->on,
                               .free_text = false,
                               .emit = emit,
                               .user = c};
    c->in_text = false;
    gen_decode(&c->e, &params, r);
    if (r->stop == GEN_OUTPUT) {
        return LEAVE;
    }
    if (!cli_write("\n", 1)) {
        return LEAVE;
    }
    if (r->stop == GEN_ERROR) {
        say(c, &r->err);
    } else if (r->stop == GEN_INTERRUPTED) {
        fprintf(stderr, "(stopped)\n");
    } else if (r->stop == GEN_CONTEXT) {
        fprintf(stderr, "halyard chat: the context of %u tokens is full; /clear starts again\n",
                hy_session_n_ctx(c->e.session));
    }
    if (!gen_settle(&c->e, r, c->before) || !end_turn(c, r)) {
        if (r->stop != GEN_CONTEXT) {
            say(c, &r->err);
        }
    }
    c->n_answers++;
    c->n_generated += r->n;
    c->answered = true;
    return GO_ON;
}

/* Keeps the figures of an answer, frees the rest. */
static void keep_figures(chat *c, gen_result *r)
{
    gen_result figures = *r;
    gen_free(r);
    figures.ids = NULL;
    figures.ends = NULL;
    memset(&figures.out, 0, sizeof figures.out);
    c->last = figures;
}

/* Appends a message and evaluates it up to the answer's beginning. On failure the session is as it
 * was. */
static bool hear(chat *c, const char *message, gen_result *r)
{
    const char *system = OPT(c->e.o, SYSTEM)->s;
    hy_chat_message messages[2];
    size_t n = 0;
    if (c->first && system) {
        messages[n].role = "system";
        messages[n++].content = system;
    }
    messages[n].role = "user";
    messages[n++].content = message;
    hy_state *start = NULL;
    hy_token *ids = NULL;
    size_t n_ids = 0;
    bool ok = hy_session_snapshot(c->e.session, &start, &r->err) == HY_OK
              && hy_chat_encode(c->format, c->e.tokenizer, messages, n, c->first, true, &ids,
                                &n_ids, &r->err)
                     == HY_OK
              && hy_session_append(c->e.session, ids, n_ids, &r->err) == HY_OK;
    hy_tokenizer_free(c->e.tokenizer, ids);
    if (!ok) {
        if (r->err.code == HY_E_CONTEXT) {
            fprintf(stderr, "halyard chat: %s; /clear starts again\n", r->err.text);
        } else {
            say(c, &r->err);
        }
        hy_state_destroy(start);
        return false;
    }
    ok = gen_prefill(&c->e, r, "reading");
    hy_state *before = NULL;
    if (ok && hy_session_snapshot(c->e.session, &before, &r->err) != HY_OK) {
        r->stop = GEN_ERROR;
        ok = false;
    }
    if (ok) {
        hy_state_destroy(c->before);
        c->before = before;
        c->first = false;
    } else {
        if (r->stop == GEN_ERROR) {
            say(c, &r->err);
        }
        hy_error err = {HY_OK, ""};
        if (hy_session_restore(c->e.session, start, &err) != HY_OK) {
            say(c, &err);
        }
    }
    hy_state_destroy(start);
    return ok;
}

static after turn(chat *c, const char *message)
{
    gen_result r;
    memset(&r, 0, sizeof r);
    after next = GO_ON;
    if (hear(c, message, &r)) {
        next = answer(c, &r);
        keep_figures(c, &r);
    } else {
        gen_free(&r);
    }
    return next;
}

/* ---- commands */

static after do_help(chat *c, const char *arg)
{
    (void)c;
    (void)arg;
    help_chat_commands(stderr);
    return GO_ON;
}

static after do_clear(chat *c, const char *arg)
{
    (void)arg;
    hy_session_reset(c->e.session);
    hy_state_destroy(c->before);
    c->before = NULL;
    c->first = true;
    fprintf(stderr, "the conversation is forgotten\n");
    return GO_ON;
}

static after do_regen(chat *c, const char *arg)
{
    (void)arg;
    if (!c->before) {
        fprintf(stderr, "halyard chat: there is no answer to replace yet\n");
        return GO_ON;
    }
    gen_result r;
    memset(&r, 0, sizeof r);
    c->e.seed = (uint32_t)(c->e.seed + 1); /* one that --seed takes */
    if (engine_sampler(&c->e, false) != CLI_OK) {
        return LEAVE;
    }
    if (hy_session_restore(c->e.session, c->before, &r.err) != HY_OK) {
        say(c, &r.err);
        return GO_ON;
    }
    const after next = answer(c, &r);
    keep_figures(c, &r);
    return next;
}

static after do_save(chat *c, const char *arg)
{
    hy_error err = {HY_OK, ""};
    hy_state *state = NULL;
    if (engine_keep_model(&c->e, arg) != CLI_OK) {
        return GO_ON;
    }
    if (hy_session_snapshot(c->e.session, &state, &err) != HY_OK
        || hy_state_save(state, arg, &err) != HY_OK) {
        say(c, &err);
    } else {
        fprintf(stderr, "saved %zu tokens to %s\n", hy_state_n_tokens(state), arg);
    }
    hy_state_destroy(state);
    return GO_ON;
}

static after do_load(chat *c, const char *arg)
{
    hy_error err = {HY_OK, ""};
    hy_state *state = NULL;
    if (hy_state_load(c->e.model, arg, &state, &err) != HY_OK
        || hy_session_restore(c->e.session, state, &err) != HY_OK) {
        say(c, &err);
    } else {
        c->first = hy_state_n_tokens(state) == 0;
        hy_state_destroy(c->before);
        c->before = NULL;
        fprintf(stderr, "going on after %zu tokens of %s\n", hy_state_n_tokens(state), arg);
    }
    hy_state_destroy(state);
    return GO_ON;
}

static after do_stats(chat *c, const char *arg)
{
    (void)arg;
    size_t n = 0;
    hy_session_tokens(c->e.session, &n);
    const uint32_t n_ctx = hy_session_n_ctx(c->e.session);
    fprintf(stderr, "%zu tokens in the conversation", n);
    if (n_ctx) {
        fprintf(stderr, " of at most %u", n_ctx);
    }
    fprintf(stderr, ", %llu answers with %llu tokens, format %s\n",
            (unsigned long long)c->n_answers, (unsigned long long)c->n_generated,
            hy_chat_format_name(c->format));
    if (c->answered) {
        gen_summary(&c->e, &c->last);
    }
    return GO_ON;
}

static after do_quit(chat *c, const char *arg)
{
    (void)c;
    (void)arg;
    return LEAVE;
}

static after command(chat *c, const char *line)
{
    static const struct {
        const char *name;
        const char *arg;
        after (*run)(chat *c, const char *arg);
    } commands[] = {
#define X(name, arg, text) {#name, arg, do_##name},
#include "chat_commands.inc"
#undef X
    };
    const char *word = line + 1;
    const size_t len = strcspn(word, " \t");
    const char *arg = word + len + strspn(word + len, " \t");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strlen(commands[i].name) != len || memcmp(commands[i].name, word, len) != 0) {
            continue;
        }
        if (!*arg && *commands[i].arg) {
            fprintf(stderr, "halyard chat: /%s needs a %s\n", commands[i].name, commands[i].arg);
            return GO_ON;
        }
        return commands[i].run(c, arg);
    }
    fprintf(stderr, "halyard chat: there is no command /%.*s; /help shows all\n",
            (int)(len < 40 ? len : 40), word);
    return GO_ON;
}

static int converse(chat *c)
{
    const bool edited = line_is_edited(c->lines);
    if (edited) {
        fprintf(stderr, "halyard chat: format %s; /help shows the commands, Ctrl-D leaves\n",
                hy_chat_format_name(c->format));
    }
    after next = GO_ON;
    while (next == GO_ON) {
        const char *line = line_read(c->lines);
        if (!line) {
            break;
        }
        const char *start = line + strspn(line, " \t");
        if (*start == '/') {
            next = command(c, start);
        } else if (*start) {
            next = turn(c, line);
        }
        if (edited) {
            term_clear_interrupt(); /* it was meant for the answer */
        } else if (term_interrupted()) {
            break;
        }
    }
    if (edited && next == GO_ON) {
        printf("\n"); /* Ctrl-D leaves the cursor behind the prompt */
    }
    if (cli_finish_output() != CLI_OK) {
        return CLI_FAILURE;
    }
    return term_interrupted() ? CLI_INTERRUPTED : CLI_OK;
}

int cmd_chat(const options *o)
{
    chat c;
    memset(&c, 0, sizeof c);
    c.first = true;
    int code = engine_load(&c.e, o, true);
    if (code == CLI_OK) {
        code = find_format(&c);
    }
    if (code == CLI_OK) {
        code = collect_stops(&c);
    }
    if (code == CLI_OK) {
        code = engine_session(&c.e, (uint32_t)OPT(o, CTX)->i, engine_threads(OPT(o, THREADS)->i),
                              false);
    }
    if (code == CLI_OK) {
        engine_seed(&c.e);
        code = engine_sampler(&c.e, false);
    }
    if (code == CLI_OK) {
        c.lines = line_open();
        code = c.lines ? converse(&c) : cli_fail(o, "out of memory");
    }
    line_close(c.lines);
    hy_state_destroy(c.before);
    free((void *)c.stops);
    engine_close(&c.e);
    return code;
}
