/* main.c: a user of the installed library, in C: loads the model argv[1], continues argv[2]
 * greedily by 16 tokens and prints the text.  Everything is released on every road, so that a leak
 * checker has nothing to say. */
#include <stdio.h>
#include <string.h>

#include <halyard/halyard.h>

#define N_TOKENS 16

static hy_status print_piece(hy_str piece)
{
    return fwrite(piece.data ? piece.data : "", 1, piece.len, stdout) == piece.len ? HY_OK
                                                                                   : HY_E_IO;
}

/* Evaluates everything that is queued. */
static hy_status evaluate(hy_session *session, hy_error *err)
{
    hy_step step = {0};
    do {
        const hy_status status = hy_session_step(session, &step, err);
        if (status != HY_OK) {
            return status;
        }
    } while (step.pending > 0);
    return HY_OK;
}

static hy_status generate(hy_session *session, const hy_sampler *sampler, hy_detok *detok,
                          hy_error *err)
{
    hy_status status = HY_OK;
    for (int i = 0; i < N_TOKENS && status == HY_OK; i++) {
        hy_token token = HY_TOKEN_NONE;
        hy_str piece = {0};
        status = evaluate(session, err);
        if (status == HY_OK) {
            status = hy_session_sample(session, sampler, &token, err);
        }
        if (status == HY_OK) {
            status = hy_detok_push(detok, token, &piece, err);
        }
        if (status == HY_OK) {
            status = print_piece(piece);
        }
        if (status == HY_OK) {
            status = hy_session_append(session, &token, 1, err);
        }
    }
    return status == HY_OK ? print_piece(hy_detok_flush(detok)) : status;
}

static hy_status run(const hy_model *model, const char *prompt, hy_error *err)
{
    const hy_tokenizer *tokenizer = hy_model_tokenizer(model);
    hy_sampler_opts options = {0};
    options.size = sizeof options;
    options.greedy = true;
    hy_sampler *sampler = NULL;
    hy_session *session = NULL;
    hy_detok *detok = NULL;
    hy_token *ids = NULL;
    size_t n_ids = 0;
    hy_status status = hy_sampler_create(&options, tokenizer, NULL, &sampler, err);
    if (status == HY_OK) {
        status = hy_session_create(model, NULL, &session, err);
    }
    if (status == HY_OK) {
        status = hy_detok_create(tokenizer, 0, &detok, err);
    }
    if (status == HY_OK) {
        status = hy_tokenize(tokenizer, prompt, strlen(prompt), HY_TOKENIZE_ADD_SPECIAL, &ids,
                             &n_ids, err);
    }
    if (status == HY_OK) {
        status = hy_session_append(session, ids, n_ids, err);
    }
    if (status == HY_OK) {
        status = generate(session, sampler, detok, err);
    }
    hy_tokenizer_free(tokenizer, ids);
    hy_detok_destroy(detok);
    hy_session_destroy(session);
    hy_sampler_destroy(sampler);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 3 || strcmp(hy_version(), HY_VERSION_STRING) != 0) {
        fprintf(stderr, "usage: consumer_c MODEL PROMPT, with library %s\n", HY_VERSION_STRING);
        return 2;
    }
    hy_error err = {HY_OK, ""};
    hy_model *model = NULL;
    hy_status status = hy_model_load(argv[1], NULL, NULL, &model, &err);
    if (status == HY_OK) {
        status = run(model, argv[2], &err);
    }
    hy_model_destroy(model);
    putchar('\n');
    if (status != HY_OK) {
        fprintf(stderr, "%s: %s\n", hy_status_name(status), err.text);
        return 1;
    }
    return 0;
}
