/* generate.c: the whole interface in one page: load a model, feed a prompt, print what it says, go
 * back and say it again.
 *
 *     cc generate.c $(pkg-config --cflags --libs halyard) -o generate
 *     ./generate model.gguf "Once upon a time" */
#include <stdio.h>
#include <string.h>

#include <halyard/halyard.h>

static int report(const hy_error *err)
{
    fprintf(stderr, "generate: %s\n", err->text);
    return 1;
}

/* Feeds what is pending, then draws and prints up to n tokens. */
static hy_status generate(hy_session *s, const hy_sampler *sampler, int n, hy_error *err)
{
    const hy_tokenizer *tokenizer = hy_model_tokenizer(hy_session_model(s));
    hy_detok *text = NULL;
    hy_status status = hy_detok_create(tokenizer, HY_DETOKENIZE_CONTINUE, &text, err);
    while (status == HY_OK && n-- > 0) {
        hy_step step;
        hy_token token;
        hy_str piece;
        do { /* one bounded piece of work at a time */
            status = hy_session_step(s, &step, err);
        } while (status == HY_OK && step.pending > 0);
        if (status == HY_OK) {
            status = hy_session_sample(s, sampler, &token, err);
        }
        if (status != HY_OK || hy_tokenizer_is_eog(tokenizer, token)) {
            break;
        }
        status = hy_detok_push(text, token, &piece, err);
        if (status == HY_OK) {
            fwrite(piece.data, 1, piece.len, stdout);
            fflush(stdout);
            status = hy_session_append(s, &token, 1, err);
        }
    }
    hy_detok_destroy(text);
    puts("");
    return status;
}

int main(int argc, char **argv)
{
    hy_error err;
    hy_model *model = NULL;
    hy_session *session = NULL;
    hy_sampler *sampler = NULL;
    hy_state *start = NULL;
    hy_token *ids = NULL;
    size_t n_ids = 0;
    if (argc != 3) {
        fprintf(stderr, "usage: generate MODEL.gguf PROMPT\n");
        return 2;
    }
    if (hy_model_load(argv[1], NULL, NULL, &model, &err) != HY_OK) {
        return report(&err);
    }
    const hy_tokenizer *tokenizer = hy_model_tokenizer(model);
    const hy_sampler_opts how = {.size = sizeof how, .temperature = 0.7f, .seed = 1};
    const hy_session_opts opts = {.size = sizeof opts, .n_threads = hy_cpu_count()};
    hy_status status = tokenizer ? HY_OK : HY_E_UNSUPPORTED;
    if (status != HY_OK) {
        snprintf(err.text, sizeof err.text, "the model has no vocabulary");
    }
    if (status == HY_OK) {
        status = hy_tokenize(tokenizer, argv[2], strlen(argv[2]), HY_TOKENIZE_ADD_SPECIAL, &ids,
                             &n_ids, &err);
    }
    if (status == HY_OK) {
        status = hy_sampler_create(&how, tokenizer, NULL, &sampler, &err);
    }
    if (status == HY_OK) {
        status = hy_session_create(model, &opts, &session, &err);
    }
    if (status == HY_OK) {
        status =
            hy_session_snapshot(session, &start, &err); /* the empty sequence, to come back to */
    }
    /* Randomness depends on seed and position only: both rounds print the same text. */
    for (int round = 0; status == HY_OK && round < 2; round++) {
        status = hy_session_restore(session, start, &err);
        if (status == HY_OK) {
            status = hy_session_append(session, ids, n_ids, &err);
        }
        if (status == HY_OK) {
            status = generate(session, sampler, 40, &err);
        }
    }
    const int code = status == HY_OK ? 0 : report(&err);
    hy_state_destroy(start);
    hy_session_destroy(session);
    hy_sampler_destroy(sampler);
    hy_tokenizer_free(tokenizer, ids);
    hy_model_destroy(model);
    return code;
}
