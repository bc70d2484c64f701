/* generate.c: see generate.h.  An engine owns model, session and sampler; a result its arrays.  One
 * thread. */
#include "generate.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "halyard/unstable.h"
#include "stop.h"
#include "term.h"

/* The built-in model: beside this program as installed, where it was to be installed, or in the
 * source tree. The names come from cli/CMakeLists.txt. */
static bool default_model(char *path, size_t cap)
{
    char folder[1024];
    if (term_program_folder(folder, sizeof folder)) {
        const int n =
            snprintf(path, cap, "%s../share/halyard/%s", folder, HALYARD_DEFAULT_MODEL_NAME);
        if (n > 0 && (size_t)n < cap && term_readable(path)) {
            return true;
        }
    }
    const char *const places[] = {HALYARD_DEFAULT_MODEL_INSTALLED, HALYARD_DEFAULT_MODEL_SOURCE};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const int n = snprintf(path, cap, "%s", places[i]);
        if (n > 0 && (size_t)n < cap && term_readable(path)) {
            return true;
        }
    }
    return false;
}

const char *cli_kernel_cache(const options *o, char *buf, size_t cap)
{
    const char *asked = OPT(o, KERNEL_CACHE)->s, *caches = getenv("XDG_CACHE_HOME");
    if (asked) {
        return strcmp(asked, "none") == 0 ? NULL : asked;
    }
    const bool named = caches && caches[0] == '/'; /* others do not count, says the convention */
    caches = named ? caches : getenv("HOME");
    if (!caches || !caches[0]) {
        return NULL;
    }
    const int n = snprintf(buf, cap, "%s%s/halyard/kernels", caches, named ? "" : "/.cache");
    return n > 0 && (size_t)n < cap ? buf : NULL;
}

/* Warnings of the library, on a line of their own. */
static void print_warning(void *user, hy_log_level level, const char *message)
{
    (void)user;
    if (level >= HY_LOG_WARN) {
        fprintf(stderr, "%shalyard: %s\n", term_is_tty(stderr) ? "\r\033[K" : "", message);
    }
}

int engine_load(engine *e, const options *o, bool needs_tokenizer)
{
    e->o = o;
    const char *path = NULL;
    const bool may_default = o->command == CMD_RUN || o->command == CMD_CHAT;
    if (may_default && !OPT(o, MODEL)->s && default_model(e->built_in, sizeof e->built_in)) {
        path = e->built_in;
        fprintf(stderr, "halyard %s: no -m given, using the small built-in model %s\n",
                cli_commands[o->command].name, path);
    } else {
        const int code = cli_model_path(o, &path);
        if (code != CLI_OK) {
            return code;
        }
    }
    e->path = path;
    char folder[1024];
    progress bar;
    progress_start(&bar, "loading");
    bar.shown = bar.shown && !OPT(o, JSON)->on;
    const hy_env env = {.size = sizeof env, .log = print_warning};
    hy_model_opts opts;
    memset(&opts, 0, sizeof opts);
    opts.size = sizeof opts;
    opts.backend = OPT(o, BACKEND)->s;
    if (!opts.backend && (OPT(o, CACHE_K)->s || OPT(o, CACHE_V)->s)) {
        opts.backend = "cpu"; /* the one that has caches of several types */
    }
    opts.cpu_level = OPT(o, CPU_LEVEL)->s ? OPT(o, CPU_LEVEL)->s : getenv("HALYARD_CPU");
    opts.no_fuse = OPT(o, NO_FUSE)->s;
    opts.no_sparse = !OPT(o, SPARSE)->on;
    opts.webgpu_lib = OPT(o, WEBGPU_LIB)->s;
    opts.webgpu_dir = OPT(o, WEBGPU_DIR)->s ? OPT(o, WEBGPU_DIR)->s : getenv("HALYARD_WEBGPU");
    opts.gpu_mask = OPT(o, GPU_MASK)->s;
    opts.kernel_cache = cli_kernel_cache(o, folder, sizeof folder);
    opts.no_mmap = !OPT(o, MMAP)->on;
    opts.progress = progress_update;
    opts.progress_user = &bar;
    hy_error err = {HY_OK, ""};
    const uint64_t start = term_now_ns();
    const hy_status status = hy_model_load(path, &opts, &env, &e->model, &err);
    e->load_ns = term_now_ns() - start;
    progress_end(&bar);
    if (status != HY_OK) {
        return cli_error(o, &err);
    }
    e->info.size = sizeof e->info;
    hy_model_get_info(e->model, &e->info);
    e->tokenizer = hy_model_tokenizer(e->model);
    if (needs_tokenizer && !e->tokenizer) {
        return cli_fail(o, "%s has no vocabulary; only commands that take --tokens can use it",
                        path);
    }
    return CLI_OK;
}

int engine_keep_model(const engine *e, const char *path)
{
    if (!path || !term_same_file(e->path, path)) {
        return CLI_OK;
    }
    return cli_fail(e->o, "%s is the model's own file; it would be lost", path);
}

uint32_t engine_threads(int64_t asked)
{
    return asked > 0 ? (uint32_t)asked : hy_cpu_count();
}

int engine_session(engine *e, uint32_t n_ctx, uint32_t n_threads, bool all_logits)
{
    const uint64_t trained = e->info.n_ctx_train;
    if (trained > 0 && n_ctx > trained) {
        fprintf(stderr,
                "halyard %s: a context of %u tokens is more than the %llu of the model's training\n",
                cli_commands[e->o->command].name, n_ctx, (unsigned long long)trained);
    }
    hy_session_opts opts;
    memset(&opts, 0, sizeof opts);
    opts.size = sizeof opts;
    opts.n_ctx = n_ctx;
    opts.n_batch = (uint32_t)OPT(e->o, BATCH)->i;
    opts.n_threads = n_threads;
    opts.all_logits = all_logits;
    opts.cache_type_k = OPT(e->o, CACHE_K)->s;
    opts.cache_type_v = OPT(e->o, CACHE_V)->s;
    hy_error err = {HY_OK, ""};
    if (hy_session_create(e->model, &opts, &e->session, &err) != HY_OK) {
        return cli_error(e->o, &err);
    }
    return CLI_OK;
}

void engine_seed(engine *e)
{
    const int64_t asked = OPT(e->o, SEED)->i;
    e->seed = asked >= 0 ? (uint64_t)asked : term_random();
}

/* Whether sampling `id` ends the text. */
static bool ends_text(const engine *e, hy_token id, bool free_text)
{
    if (!hy_tokenizer_is_eog(e->tokenizer, id)) {
        return false;
    }
    const bool turn_only = free_text && strcmp(hy_tokenizer_model(e->tokenizer), "rwkv") == 0;
    return !turn_only || id == hy_tokenizer_eos(e->tokenizer);
}

/* "42+1.5", "42-inf". */
static bool read_bias(const char *s, uint32_t n_vocab, hy_logit_bias *bias)
{
    if (*s < '0' || *s > '9') {
        return false;
    }
    char *end = NULL;
    const long id = strtol(s, &end, 10);
    if (id < 0 || (uint64_t)id >= n_vocab || (*end != '+' && *end != '-')) {
        return false;
    }
    const bool minus = *end == '-';
    const char *number = end + 1;
    if (!((*number >= '0' && *number <= '9') || *number == '.')
        && !(minus && strcmp(number, "inf") == 0)) {
        return false;
    }
    const double value = strtod(number, &end);
    if (*end != '\0') {
        return false;
    }
    bias->token = (hy_token)id;
    bias->bias = (float)(minus ? -value : value);
    return minus || isfinite(bias->bias);
}

static int read_biases(const engine *e, bool free_text, hy_logit_bias **out, size_t *n)
{
    const options *o = e->o;
    const opt_value *given = OPT(o, LOGIT_BIAS);
    const uint32_t n_vocab = e->info.n_vocab;
    const bool no_end = OPT(o, IGNORE_EOS)->on;
    hy_logit_bias *list = calloc(given->n + (no_end ? n_vocab : 0) + 1, sizeof *list);
    if (!list) {
        return cli_fail(o, "out of memory");
    }
    *out = list;
    for (size_t i = 0; i < given->n; i++) {
        if (!read_bias(given->list[i], n_vocab, &list[*n])) {
            return cli_usage(o,
                             "--logit-bias needs ID+X or ID-X with an id below %u, not \"%.60s\"",
                             n_vocab, given->list[i]);
        }
        (*n)++;
    }
    const uint32_t known = hy_tokenizer_n_tokens(e->tokenizer);
    for (uint32_t id = 0; no_end && id < n_vocab && id < known; id++) {
        if (ends_text(e, (hy_token)id, free_text)) {
            list[*n].token = (hy_token)id;
            list[*n].bias = -INFINITY;
            (*n)++;
        }
    }
    return CLI_OK;
}

/* The library takes 0 for a default where the options mean a real 0: the smallest number does the
 * same. */
static float not_zero(double x)
{
    return x > FLT_MIN ? (float)x : FLT_MIN;
}

int engine_sampler(engine *e, bool free_text)
{
    const options *o = e->o;
    hy_logit_bias *biases = NULL;
    size_t n_biases = 0;
    int code = read_biases(e, free_text, &biases, &n_biases);
    if (code == CLI_OK) {
        hy_sampler_opts s;
        memset(&s, 0, sizeof s);
        s.size = sizeof s;
        s.greedy = OPT(o, TEMP)->f <= 0;
        s.temperature = s.greedy ? 0 : not_zero(OPT(o, TEMP)->f);
        s.top_k = OPT(o, TOP_K)->i > 0 ? (int32_t)OPT(o, TOP_K)->i : -1;
        s.top_p = not_zero(OPT(o, TOP_P)->f);
        s.min_p = OPT(o, MIN_P)->f > 0 ? (float)OPT(o, MIN_P)->f : -1;
        s.typical_p = not_zero(OPT(o, TYPICAL)->f);
        s.penalty_last_n = (int32_t)OPT(o, REPEAT_LAST_N)->i;
        if (s.penalty_last_n != 0) {
            s.repeat_penalty = (float)OPT(o, REPEAT_PENALTY)->f;
            s.presence_penalty = (float)OPT(o, PRESENCE_PENALTY)->f;
            s.frequency_penalty = (float)OPT(o, FREQUENCY_PENALTY)->f;
        }
        s.mirostat = strcmp(OPT(o, MIROSTAT)->s, "2") == 0 ? 2 : 0;
        s.mirostat_tau = not_zero(OPT(o, MIROSTAT_ENT)->f);
        s.mirostat_eta = not_zero(OPT(o, MIROSTAT_LR)->f);
        s.seed = e->seed;
        s.logit_bias = biases;
        s.n_logit_bias = n_biases;
        hy_error err = {HY_OK, ""};
        hy_sampler_destroy(e->sampler);
        e->sampler = NULL;
        if (hy_sampler_create(&s, e->tokenizer, NULL, &e->sampler, &err) != HY_OK) {
            code = cli_error(o, &err);
        }
    }
    free(biases);
    return code;
}

void engine_close(engine *e)
{
    term_cancel_on_interrupt(NULL);
    hy_sampler_destroy(e->sampler);
    hy_session_destroy(e->session);
    hy_model_destroy(e->model);
    memset(e, 0, sizeof *e);
}

const char *gen_stop_name(gen_stop stop)
{
    static const char *const names[] = {"running", "eos",         "limit",  "text",
                                        "context", "interrupted", "output", "error"};
    return names[stop];
}

/* Notes why the session failed. */
static void failed(gen_result *r, hy_status status)
{
    r->stop = status == HY_E_CANCELLED && term_interrupted() ? GEN_INTERRUPTED : GEN_ERROR;
}

bool gen_prefill(engine *e, gen_result *r, const char *title)
{
    progress bar;
    progress_start(&bar, title);
    const uint64_t start = term_now_ns();
    uint64_t total = 0;
    term_cancel_on_interrupt(e->session);
    hy_step step = {0, 0, 0};
    do {
        if (term_interrupted()) {
            r->stop = GEN_INTERRUPTED;
            break;
        }
        const hy_status status = hy_session_step(e->session, &step, &r->err);
        if (status != HY_OK) {
            failed(r, status);
            break;
        }
        r->prompt_n += step.done;
        total = r->prompt_n + step.pending;
        if (step.pending > 0) {
            progress_update(&bar, r->prompt_n, total);
        }
    } while (step.pending > 0);
    term_cancel_on_interrupt(NULL);
    progress_end(&bar);
    r->prompt_ns += term_now_ns() - start;
    return r->stop == GEN_RUNNING;
}

static bool push_id(gen_result *r, hy_token id)
{
    if (r->n == r->cap) {
        const size_t cap = r->cap ? r->cap * 2 : 256;
        hy_token *ids = realloc(r->ids, cap * sizeof *ids);
        if (!ids) {
            return false;
        }
        r->ids = ids;
        size_t *ends = realloc(r->ends, cap * sizeof *ends);
        if (!ends) {
            return false;
        }
        r->ends = ends;
        r->cap = cap;
    }
    r->ids[r->n] = id;
    r->ends[r->n] = r->out.len;
    r->n++;
    return true;
}

static void out_of_memory(gen_result *r)
{
    r->stop = GEN_ERROR;
    r->err.code = HY_E_NOMEM;
    snprintf(r->err.text, sizeof r->err.text, "out of memory");
}

/* Adds a piece to the text, looks for stop texts from *sent on, hands out what is safe. */
static void add_piece(const gen_params *p, gen_result *r, hy_str piece, size_t *sent)
{
    if (!text_add(&r->out, piece.data, piece.len)) {
        out_of_memory(r);
        return;
    }
    const size_t left = r->out.len - *sent;
    const char *data = r->out.data + *sent;
    const size_t at = stop_find(data, left, p->stops, p->n_stops);
    const bool stopped = at < left;
    const size_t safe = stopped ? at : left - stop_held(data, left, p->stops, p->n_stops);
    if (safe > 0 && p->emit && !p->emit(p->user, data, safe)) {
        r->stop = GEN_OUTPUT;
    }
    *sent += safe;
    if (stopped) {
        r->out.len = *sent;
        r->out.data[*sent] = '\0';
        if (r->stop == GEN_RUNNING) {
            r->stop = GEN_TEXT;
        }
    }
}

/* Samples one token and adds its text. */
static void next_token(engine *e, const gen_params *p, gen_result *r, hy_detok *detok, size_t *sent)
{
    hy_token id = HY_TOKEN_NONE;
    const hy_status status = hy_session_sample(e->session, e->sampler, &id, &r->err);
    if (status != HY_OK) {
        failed(r, status);
        return;
    }
    if (!p->ignore_eos && ends_text(e, id, p->free_text)) {
        r->stop = GEN_EOS;
        return;
    }
    hy_str piece = {NULL, 0};
    if (!push_id(r, id)) {
        out_of_memory(r);
    } else if (hy_detok_push(detok, id, &piece, &r->err) != HY_OK) {
        r->stop = GEN_ERROR;
    } else {
        add_piece(p, r, piece, sent);
        r->ends[r->n - 1] = r->out.len;
    }
}

static void evaluate(engine *e, gen_result *r)
{
    size_t position = 0;
    hy_session_tokens(e->session, &position);
    hy_status status = hy_session_append(e->session, &r->ids[r->n - 1], 1, &r->err);
    if (status == HY_E_CONTEXT) {
        r->stop = GEN_CONTEXT;
        return;
    }
    if (status == HY_OK) {
        r->appended = r->n;
        hy_step step = {0, 0, 0};
        status = hy_session_step(e->session, &step, &r->err);
    }
    if (status != HY_OK) {
        failed(r, status);
        return;
    }
    r->decode_n++;
    r->position_sum += (double)position;
}

void gen_decode(engine *e, const gen_params *p, gen_result *r)
{
    hy_detok *detok = NULL;
    const unsigned flags = HY_DETOKENIZE_CONTINUE | (p->special ? HY_DETOKENIZE_SPECIAL : 0);
    if (hy_detok_create(e->tokenizer, flags, &detok, &r->err) != HY_OK) {
        r->stop = GEN_ERROR;
        return;
    }
    size_t sent = 0; /* bytes of r->out handed out */
    size_t before = 0;
    hy_session_tokens(e->session, &before);
    /* The last token is not evaluated. */
    const uint64_t steps = p->n_predict > 0 ? (uint64_t)p->n_predict - 1 : 0;
    hy_session_expect(e->session, steps > 0 ? before + (size_t)steps : 0);
    const double spared = engine_spared_bytes(e);
    const uint64_t start = term_now_ns();
    term_cancel_on_interrupt(e->session);
    while (r->stop == GEN_RUNNING) {
        if (term_interrupted()) {
            r->stop = GEN_INTERRUPTED;
        } else if (p->n_predict >= 0 && r->n >= (uint64_t)p->n_predict) {
            r->stop = GEN_LIMIT;
        } else {
            next_token(e, p, r, detok, &sent);
            if (r->stop == GEN_RUNNING && p->n_predict >= 0 && r->n >= (uint64_t)p->n_predict) {
                r->stop = GEN_LIMIT; /* nobody needs the logits behind the last token */
            }
            if (r->stop == GEN_RUNNING) {
                evaluate(e, r);
            }
        }
    }
    term_cancel_on_interrupt(NULL);
    r->decode_ns += term_now_ns() - start;
    r->spared_bytes += engine_spared_bytes(e) - spared;
    if (r->stop != GEN_TEXT && r->stop != GEN_OUTPUT) {
        const gen_stop why = r->stop;
        r->stop = GEN_RUNNING;
        add_piece(p, r, hy_detok_flush(detok), &sent);
        if (r->n > 0 && r->stop == GEN_RUNNING) {
            r->ends[r->n - 1] = r->out.len;
        }
        if (r->stop == GEN_RUNNING) {
            r->stop = why;
            if (r->out.len > sent && p->emit
                && !p->emit(p->user, r->out.data + sent, r->out.len - sent)) {
                r->stop = GEN_OUTPUT;
            }
        }
    }
    hy_detok_destroy(detok);
}

hy_status gen_finish_pending(engine *e, hy_error *err)
{
    /* A cancellation that came too late for the last step meets the next one: once more then. */
    for (int tries = 0;;) {
        hy_step step = {0, 0, 0};
        const hy_status status = hy_session_step(e->session, &step, err);
        if (status == HY_E_CANCELLED && tries++ < 3) {
            continue;
        }
        if (status != HY_OK || step.pending == 0) {
            return status;
        }
    }
}

static bool append_ids(engine *e, const hy_token *ids, size_t n, hy_error *err)
{
    return n == 0 || hy_session_append(e->session, ids, n, err) == HY_OK;
}

bool gen_settle(engine *e, gen_result *r, const hy_state *before)
{
    /* Ids wholly before a stop text; the last one completed it. */
    size_t kept = r->stop == GEN_TEXT && r->n > 0 ? r->n - 1 : r->n;
    while (r->stop == GEN_TEXT && kept > 0 && r->ends[kept - 1] > r->out.len) {
        kept--;
    }
    const bool back = r->stop == GEN_TEXT && kept < r->appended && before;
    if (back) {
        if (hy_session_restore(e->session, before, &r->err) != HY_OK) {
            return false;
        }
        r->appended = 0;
    }
    if (kept > r->appended && !append_ids(e, r->ids + r->appended, kept - r->appended, &r->err)) {
        return r->stop == GEN_CONTEXT || r->err.code == HY_E_CONTEXT;
    }
    const size_t done = kept > 0 ? r->ends[kept - 1] : 0;
    if (r->stop == GEN_TEXT && done < r->out.len && (back || r->appended <= kept)) {
        hy_token *ids = NULL;
        size_t n = 0;
        bool ok =
            hy_tokenize(e->tokenizer, r->out.data + done, r->out.len - done, 0, &ids, &n, &r->err)
            == HY_OK;
        ok = ok && append_ids(e, ids, n, &r->err);
        hy_tokenizer_free(e->tokenizer, ids);
        if (!ok) {
            return false;
        }
    }
    return gen_finish_pending(e, &r->err) == HY_OK;
}

void gen_free(gen_result *r)
{
    free(r->ids);
    free(r->ends);
    text_free(&r->out);
    memset(r, 0, sizeof *r);
}

double engine_token_bytes(const engine *e, double position)
{
    const double kv = (double)hy_session_kv_bytes_per_token(e->session);
    const double rest = (double)(e->info.token_bytes - e->info.kv_bytes_per_token);
    return rest + kv * (1 + position); /* one is written */
}

double engine_spared_bytes(const engine *e)
{
    double sum = 0;
    hy_plan_info info = {.size = sizeof info};
    hy_model_plan(e->model, &info);
    for (uint32_t i = 0; i < info.n_phases; i++) {
        sum += (double)hy_session_spared_bytes(e->session, i);
    }
    return sum;
}

double gen_token_bytes(const engine *e, const gen_result *r)
{
    const double n = r->decode_n ? (double)r->decode_n : 1;
    return engine_token_bytes(e, r->position_sum / n) - r->spared_bytes / n;
}

static double per_second(uint64_t n, uint64_t ns)
{
    return ns ? (double)n * 1e9 / (double)ns : 0;
}

void gen_summary(const engine *e, const gen_result *r)
{
    const double bytes = gen_token_bytes(e, r);
    const double speed = per_second(r->decode_n, r->decode_ns);
    fprintf(stderr,
            "halyard: prompt %llu tokens, %.1f tok/s; %zu tokens, %.1f tok/s, %.2f MB per token, "
            "%.2f GB/s; "
            "%s, seed %llu\n",
            (unsigned long long)r->prompt_n, per_second(r->prompt_n, r->prompt_ns), r->n, speed,
            bytes / 1e6, bytes * speed / 1e9, hy_model_backend(e->model),
            (unsigned long long)e->seed);
}

json_t *gen_timings(const engine *e, const gen_result *r)
{
    const double bytes = gen_token_bytes(e, r);
    const double speed = per_second(r->decode_n, r->decode_ns);
    return json_pack("{s:I, s:f, s:f, s:I, s:f, s:f, s:f, s:f, s:f}", "prompt_n",
                     (json_int_t)r->prompt_n, "prompt_ms", (double)r->prompt_ns / 1e6,
                     "prompt_per_second", per_second(r->prompt_n, r->prompt_ns), "predicted_n",
                     (json_int_t)r->n, "predicted_ms", (double)r->decode_ns / 1e6,
                     "predicted_per_second", speed, "load_ms", (double)e->load_ns / 1e6,
                     "bytes_per_token", bytes, "gb_per_second", bytes * speed / 1e9);
}
