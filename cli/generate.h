/* generate.h: a model, a session and a sampler as the options want them, and the loop from logits
 * to text.
 *
 * An engine belongs to one thread; zero-initialise it and close it in every case. */
#ifndef HY_CLI_GENERATE_H
#define HY_CLI_GENERATE_H

#include "cli.h"

typedef struct engine {
    const options *o;
    hy_model *model;
    hy_session *session;
    hy_sampler *sampler;
    const hy_tokenizer *tokenizer; /* of the model; NULL if it has none */
    hy_model_info info;
    uint64_t seed;
    uint64_t load_ns;
    const char *path; /* of the model: an argument, or built_in */
    char built_in[2048];
} engine;

/* All three print a line and return an exit code other than 0 if they fail.
 * Loads the model of -m (run and chat: or the built-in one), with a progress bar on a terminal. */
int engine_load(engine *e, const options *o, bool needs_tokenizer);
/* n_ctx 0: the model's own; threads and batch from the options. */
int engine_session(engine *e, uint32_t n_ctx, uint32_t n_threads, bool all_logits);
/* From the sampling options, with e->seed.  free_text: see gen_params. */
int engine_sampler(engine *e, bool free_text);
void engine_close(engine *e);
/* The seed of the options, chosen now if it is -1. */
void engine_seed(engine *e);
uint32_t engine_threads(int64_t asked);
/* Writing to path (or NULL) must not destroy the model: CLI_OK, or a code with a line printed. */
int engine_keep_model(const engine *e, const char *path);

typedef enum gen_stop {
    GEN_RUNNING,
    GEN_EOS,         /* an end token was sampled; it is not part of the result */
    GEN_LIMIT,       /* n_predict tokens */
    GEN_TEXT,        /* a stop text */
    GEN_CONTEXT,     /* the context is full */
    GEN_INTERRUPTED, /* Ctrl-C */
    GEN_OUTPUT,      /* the text could not be written */
    GEN_ERROR        /* see err */
} gen_stop;
/* "eos", "limit", ... Static storage. */
const char *gen_stop_name(gen_stop stop);

typedef struct gen_params {
    int64_t n_predict;  /* -1: no limit */
    const char **stops; /* not empty ones */
    size_t n_stops;
    bool ignore_eos;
    bool special;   /* control tokens print their text */
    bool free_text; /* no conversation: an RWKV vocabulary's end-of-turn token is ordinary text */
    bool (*emit)(void *user, const char *data,
                 size_t len); /* pieces that surely belong to the text; may be NULL */
    void *user;
} gen_params;

typedef struct gen_result {
    gen_stop stop;
    hy_error err;
    hy_token *ids; /* generated, without the end token */
    size_t *ends;  /* bytes of text up to and with each id */
    size_t n;
    size_t cap;
    size_t appended;   /* of ids, how many the session has (evaluated or pending) */
    text out;          /* the text before a stop text */
    uint64_t prompt_n; /* tokens evaluated by gen_prefill */
    uint64_t prompt_ns;
    uint64_t decode_n; /* evaluations after it */
    uint64_t decode_ns;
    double position_sum; /* of the decode evaluations, for the bytes of a KV cache */
    double spared_bytes; /* weights that they did not read */
} gen_result;

/* Evaluates what is pending in the session. False: see r->stop. */
bool gen_prefill(engine *e, gen_result *r, const char *title);
/* From the session's logits on, until something stops it.  r was zeroed or prefilled. */
void gen_decode(engine *e, const gen_params *p, gen_result *r);
/* Makes the session hold exactly the text of r: evaluates what is pending or missing and, if a stop
 * text began in an evaluated token, goes back to `before` (the state that gen_decode started from;
 * NULL: such tokens stay). */
bool gen_settle(engine *e, gen_result *r, const hy_state *before);
void gen_free(gen_result *r);
/* Evaluates pending tokens although Ctrl-C was pressed. */
hy_status gen_finish_pending(engine *e, hy_error *err);

/* Weights and state that a token at this position of the session must read or write, bytes. */
double engine_token_bytes(const engine *e, double position);
/* Weights that met zeros and were not read, in all steps of the session, bytes. */
double engine_spared_bytes(const engine *e);
/* Weights and state that one token of r had to read, bytes. */
double gen_token_bytes(const engine *e, const gen_result *r);
/* The closing line on standard error. */
void gen_summary(const engine *e, const gen_result *r);
/* The object of "timings", with the keys of llama.cpp's server. */
json_t *gen_timings(const engine *e, const gen_result *r);

#endif
