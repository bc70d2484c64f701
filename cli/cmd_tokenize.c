/* cmd_tokenize.c: `halyard tokenize` and `halyard detokenize`.  Only the file's vocabulary is read,
 * so both also work for vocabulary files and unknown architectures.  One thread. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

typedef struct vocabulary {
    hy_gguf *file;
    hy_tokenizer *tokenizer;
} vocabulary;

static int open_vocabulary(const options *o, vocabulary *v)
{
    const char *path = NULL;
    const int code = cli_model_path(o, &path);
    if (code != CLI_OK) {
        return code;
    }
    hy_gguf_opts opts;
    memset(&opts, 0, sizeof opts);
    opts.size = sizeof opts;
    opts.no_mmap = !OPT(o, MMAP)->on;
    hy_error err = {HY_OK, ""};
    if (hy_gguf_open(path, &opts, NULL, &v->file, &err) != HY_OK
        || hy_tokenizer_create(v->file, NULL, &v->tokenizer, &err) != HY_OK) {
        return cli_error(o, &err);
    }
    return CLI_OK;
}

static void close_vocabulary(vocabulary *v)
{
    hy_tokenizer_destroy(v->tokenizer);
    hy_gguf_close(v->file);
}

static int print_pieces(const options *o, const hy_tokenizer *t, const hy_token *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        hy_error err = {HY_OK, ""};
        char *piece = NULL;
        size_t len = 0;
        text line = {0};
        if (hy_detokenize(t, &ids[i], 1, HY_DETOKENIZE_SPECIAL, &piece, &len, &err) != HY_OK) {
            return cli_error(o, &err);
        }
        const bool ok = text_add_visible(&line, piece, len);
        hy_tokenizer_free(t, piece);
        if (ok) {
            printf("%6d -> '%s'\n", (int)ids[i], line.data);
        }
        text_free(&line);
        if (!ok) {
            return cli_fail(o, "out of memory");
        }
    }
    return CLI_OK;
}

static int print_tokens(const options *o, const hy_tokenizer *t, const hy_token *ids, size_t n)
{
    if (OPT(o, JSON)->on) {
        json_t *root = json_object();
        if (json_object_set_new(root, "tokens", json_tokens(ids, n)) != 0
            || (OPT(o, SHOW_COUNT)->on
                && json_object_set_new(root, "count", json_integer((json_int_t)n)) != 0)) {
            json_decref(root);
            root = NULL;
        }
        if (!json_print(root)) {
            return cli_fail(o, "out of memory");
        }
    } else if (OPT(o, IDS)->on) {
        for (size_t i = 0; i < n; i++) {
            printf("%s%d", i ? ", " : "[", (int)ids[i]);
        }
        puts(n ? "]" : "[]");
    } else {
        const int code = print_pieces(o, t, ids, n);
        if (code != CLI_OK) {
            return code;
        }
    }
    if (OPT(o, SHOW_COUNT)->on && !OPT(o, JSON)->on) {
        printf("Total number of tokens: %zu\n", n);
    }
    return cli_finish_output();
}

int cmd_tokenize(const options *o)
{
    vocabulary v = {NULL, NULL};
    text t = {0};
    bool given = false;
    if (OPT(o, STDIN)->on && (OPT(o, PROMPT)->s || OPT(o, FILE)->s)) {
        return cli_usage(o, "--stdin excludes --prompt and --file");
    }
    int code = open_vocabulary(o, &v);
    if (code == CLI_OK) {
        code = cli_input_text(o, true, OPT(o, STDIN)->on, &t, &given);
    }
    if (code == CLI_OK && !given) {
        code = cli_usage(o, "a text is needed: standard input, -p TEXT or -f FILE");
    }
    if (code == CLI_OK) {
        hy_error err = {HY_OK, ""};
        hy_token *ids = NULL;
        size_t n = 0;
        const unsigned flags =
            (OPT(o, BOS)->on ? (unsigned)HY_TOKENIZE_ADD_SPECIAL : 0u)
            | (OPT(o, PARSE_SPECIAL)->on ? (unsigned)HY_TOKENIZE_PARSE_SPECIAL : 0u);
        if (hy_tokenize(v.tokenizer, t.data ? t.data : "", t.len, flags, &ids, &n, &err) != HY_OK) {
            code = cli_error(o, &err);
        } else {
            code = print_tokens(o, v.tokenizer, ids, n);
        }
        hy_tokenizer_free(v.tokenizer, ids);
    }
    text_free(&t);
    close_vocabulary(&v);
    return code;
}

/* Ids from a text: JSON (an array, or an object with "tokens") or numbers divided by blanks and
 * commas. */
static int ids_from_text(const options *o, const text *t, int64_t **ids, size_t *n)
{
    const char *s = t->data ? t->data : "";
    if (s[strspn(s, " \t\r\n")] == '{') {
        json_error_t why;
        json_t *root = json_loadb(s, t->len, 0, &why);
        const json_t *array = json_object_get(root, "tokens");
        if (!json_is_array(array)) {
            json_decref(root);
            return cli_fail(o, "the input is no JSON object with an array \"tokens\"%s%s",
                            root ? "" : ": ", root ? "" : why.text);
        }
        const size_t count = json_array_size(array);
        *ids = malloc((count ? count : 1) * sizeof **ids);
        bool ok = *ids != NULL;
        for (size_t i = 0; ok && i < count; i++) {
            const json_t *id = json_array_get(array, i);
            (*ids)[i] = json_integer_value(id);
            ok = json_is_integer(id) && (*ids)[i] >= 0 && (*ids)[i] <= INT32_MAX;
        }
        json_decref(root);
        *n = count;
        return ok ? CLI_OK : cli_fail(o, "\"tokens\" holds something that is no token id");
    }
    char message[160] = "";
    if (!parse_ints(s, 0, INT32_MAX, ids, n, message, sizeof message)) {
        return cli_fail(o, "%s", message);
    }
    return CLI_OK;
}

static int read_ids(const options *o, int64_t **ids, size_t *n)
{
    char message[512] = "";
    for (size_t i = 0; i < o->n_args; i++) {
        if (!parse_ints(o->args[i], 0, INT32_MAX, ids, n, message, sizeof message)) {
            return cli_usage(o, "%s", message);
        }
    }
    if (o->n_args > 0) {
        return CLI_OK;
    }
    text t = {0};
    const char *file = OPT(o, FILE)->s;
    int code = cli_read_file(o, file ? file : "-", &t);
    if (code == CLI_OK) {
        code = ids_from_text(o, &t, ids, n);
    }
    text_free(&t);
    return code;
}

static int print_text(const options *o, const hy_tokenizer *t, const int64_t *values, size_t n)
{
    hy_error err = {HY_OK, ""};
    hy_token *ids = malloc((n ? n : 1) * sizeof *ids);
    if (!ids) {
        return cli_fail(o, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        ids[i] = (hy_token)values[i];
    }
    char *out = NULL;
    size_t len = 0;
    const unsigned flags = OPT(o, SPECIAL)->on ? HY_DETOKENIZE_SPECIAL : 0;
    int code = CLI_OK;
    if (hy_detokenize(t, ids, n, flags, &out, &len, &err) != HY_OK) {
        code = cli_error(o, &err);
    } else {
        fwrite(out, 1, len, stdout);
        code = cli_finish_output();
    }
    hy_tokenizer_free(t, out);
    free(ids);
    return code;
}

int cmd_detokenize(const options *o)
{
    vocabulary v = {NULL, NULL};
    int64_t *read = NULL;
    size_t n = 0;
    const opt_value *tokens = OPT(o, TOKENS);
    if ((tokens->given && (o->n_args > 0 || OPT(o, FILE)->s))
        || (o->n_args > 0 && OPT(o, FILE)->s)) {
        return cli_usage(o, "give the ids once: as arguments, with --tokens or with --file");
    }
    int code = open_vocabulary(o, &v);
    if (code == CLI_OK && !tokens->given) {
        code = read_ids(o, &read, &n);
    }
    if (code == CLI_OK) {
        code = print_text(o, v.tokenizer, tokens->given ? tokens->ints : read,
                          tokens->given ? tokens->n : n);
    }
    free(read);
    close_vocabulary(&v);
    return code;
}
