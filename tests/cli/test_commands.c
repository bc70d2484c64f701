/* test_commands.c: the commands that do not generate text, run as a user runs them, on the model of
 * the repository. */
#define _XOPEN_SOURCE 700

#include "cli/run_program.h"

#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_no_arguments(void **state)
{
    (void)state;
    ran r = run_program(NULL, (const char *const[]){NULL});
    expect_code(r, 2);
    assert_int_equal(r.out_len, 0);
    expect_has(r.err, "Usage: halyard COMMAND");
    ran_free(&r);
    r = run(NULL, "--version");
    expect_code(r, 0);
    assert_string_equal(r.out, "halyard " HY_VERSION_STRING "\n");
    ran_free(&r);
    r = run(NULL, "--help");
    expect_code(r, 0);
    expect_has(r.out, "perplexity");
    ran_free(&r);
    r = run(NULL, "help", "run");
    expect_code(r, 0);
    expect_has(r.out, "--temp");
    ran other = run(NULL, "run", "-m", "x", "--help");
    expect_code(other, 0);
    assert_string_equal(r.out, other.out);
    ran_free(&r);
    ran_free(&other);
}

static void test_wrong_command_lines(void **state)
{
    (void)state;
    static const struct {
        const char *args[8];
        const char *sentence;
    } cases[] = {
        {{"rnu", NULL}, "did you mean run?"},
        {{"-p", "x", NULL}, "the command comes before the options"},
        {{"run", "--temp", "hot", NULL}, "--temp needs a number from -100 to 100, not \"hot\""},
        {{"run", "-m", EMBEDDED_MODEL, NULL}, "a prompt is needed"},
        {{"run", "-p", "a", "-f", "b", NULL}, "exclude each other"},
        {{"logits", "--tokens", "1", NULL}, "a model file is needed: -m FILE"},
        {{"info", NULL}, "a model file is needed: FILE"},
        {{"info", "--matrix", EMBEDDED_MODEL, NULL}, "takes no file"},
        {{"help", "benhc", NULL}, "did you mean bench?"},
        {{"completion", "tcsh", NULL}, "only for bash, zsh and fish"},
        {{"run", "-p", "a", "--logit-bias", "5", NULL},
         "--logit-bias needs ID+X or ID-X with an id below 4096"},
        {{"run", "-p", "a", "--logit-bias", "4096+1", NULL}, "\"4096+1\""},
        {{"run", "-p", "a", "--logit-bias", "1+inf", NULL}, "\"1+inf\""},
        {{"tokenize", "-m", EMBEDDED_MODEL, "--stdin", "-p", "a", NULL}, "--stdin excludes"},
        {{"detokenize", "-m", EMBEDDED_MODEL, "--tokens", "1", "2", NULL}, "give the ids once"},
        {{"detokenize", "-m", EMBEDDED_MODEL, "one", NULL}, "\"one\" is no whole number"},
        {{"bench", "-m", EMBEDDED_MODEL, "-p", "0", "-n", "0", NULL}, "nothing to measure"},
        {{"quantize", EMBEDDED_MODEL, "out.gguf", "Q9_Z", NULL},
         "unknown TYPE \"Q9_Z\"; there are"},
        {{"quantize", EMBEDDED_MODEL, EMBEDDED_MODEL, "Q8_0", NULL}, "the same file"},
        {{"quantize", EMBEDDED_MODEL, "./models/../" EMBEDDED_MODEL, "Q8_0", NULL},
         "the same file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const bool from_null = strcmp(cases[i].sentence, "a prompt is needed") == 0;
        ran r = run_program(NULL, cases[i].args);
        if (from_null) {
            /* /dev/null is no terminal, so the empty prompt is what is wrong. */
            expect_has(r.err, "the prompt is empty");
        } else {
            expect_has(r.err, cases[i].sentence);
        }
        expect_code(r, 2);
        expect_has(r.err, "halyard");
        assert_int_equal(r.out_len, 0);
        ran_free(&r);
    }
}

static void test_failures(void **state)
{
    (void)state;
    static const char *const commands[][6] = {
        {"run", "-m", "nowhere.gguf", "-p", "x", NULL},
        {"tokenize", "-m", "nowhere.gguf", "-p", "x", NULL},
        {"info", "nowhere.gguf", NULL},
        {"plan", "nowhere.gguf", NULL},
        {"bench", "-m", "nowhere.gguf", NULL},
        {"quantize", "nowhere.gguf", "out.gguf", "Q8_0", NULL},
    };
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        ran r = run_program(NULL, commands[i]);
        expect_code(r, 1);
        expect_has(r.err, "nowhere.gguf");
        assert_int_equal(r.out_len, 0);
        ran_free(&r);
    }
    ran r = run(NULL, "bench", "-m", EMBEDDED_MODEL, "-n", "1", "-ctk", "q9");
    expect_code(r, 1);
    expect_has(r.err, "cache_type_k is 'q9', which is not the name of a type");
    ran_free(&r);
    r = run(NULL, "run", "-m", EMBEDDED_MODEL, "-p", "x", "--backend", "ref", "--cache-type-v",
            "q8_0");
    expect_code(r, 1);
    expect_has(r.err, "cache_type_v is Q8_0; backend ref has caches of F32");
    ran_free(&r);
    r = run(NULL, "run", "-m", EMBEDDED_MODEL, "-f", "nowhere.txt");
    expect_code(r, 1);
    expect_has(r.err, "nowhere.txt");
    ran_free(&r);
    r = run(NULL, "run", "-m", "README-is-no-model", "-p", "x", "--backend", "ref");
    expect_code(r, 1);
    ran_free(&r);
    r = run(NULL, "run", "-m", EMBEDDED_MODEL, "-p", "x", "--backend", "abacus");
    expect_code(r, 1);
    expect_has(r.err, "abacus");
    ran_free(&r);
}

static void test_info(void **state)
{
    (void)state;
    ran r = run(NULL, "info", EMBEDDED_MODEL);
    expect_code(r, 0);
    expect_has(r.out, "Q4_K_M");
    expect_has(r.out, "rwkv7.block_count");
    expect_has(r.out, "rwkv-world");
    expect_has(r.out, "30750720 weights");
    ran_free(&r);
    r = run(NULL, "info", EMBEDDED_MODEL, "--json", "--tensors", "--no-mmap");
    expect_code(r, 0);
    json_t *root = ran_json(&r);
    assert_int_equal(json_integer_value(json_object_get(root, "weight_bytes")), 19505152);
    assert_int_equal(json_integer_value(json_object_get(root, "weights")), 30750720);
    assert_string_equal(json_string_value(json_object_get(root, "chat_format")), "rwkv-world");
    assert_int_equal(json_array_size(json_object_get(root, "tensor_list")), 230);
    const json_t *metadata = json_object_get(root, "metadata");
    assert_int_equal(json_integer_value(json_object_get(metadata, "rwkv7.block_count")), 8);
    assert_int_equal(json_integer_value(json_object_get(
                         json_object_get(metadata, "tokenizer.ggml.tokens"), "count")),
                     4096);
    uint64_t bytes = 0;
    size_t i = 0;
    json_t *type = NULL;
    json_array_foreach(json_object_get(root, "types"), i, type)
    {
        bytes += (uint64_t)json_integer_value(json_object_get(type, "bytes"));
    }
    assert_int_equal(bytes, 19505152);
    json_decref(root);
    ran_free(&r);
}

static void add_key(hy_gguf_writer *w, const char *key, const char *value)
{
    hy_error err = {HY_OK, ""};
    const hy_str s = {value, strlen(value)};
    assert_ok(hy_gguf_writer_set_str(w, key, s, &err), &err);
}

/* A file of an architecture that nobody knows, without tensors and vocabulary, and with text that
 * is no UTF-8. */
static void test_info_of_unknown(void **state)
{
    (void)state;
    hy_error err = {HY_OK, ""};
    hy_gguf_writer *w = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path("unknown.gguf"));
    assert_ok(hy_gguf_writer_create(NULL, &w, &err), &err);
    add_key(w, "general.architecture", "abacus");
    add_key(w, "general.name", "bad \xFF bytes\nand lines");
    add_key(w, "tokenizer.chat_template", "{{ something new }}");
    assert_ok(hy_gguf_writer_set_u32(w, "abacus.beads", 70, &err), &err);
    const uint64_t large[] = {1, UINT64_MAX};
    assert_ok(hy_gguf_writer_set_array(w, "abacus.large", HY_GGUF_UINT64, large, 2, &err), &err);
    assert_ok(hy_gguf_writer_begin(w, path, &err), &err);
    assert_ok(hy_gguf_writer_finish(w, &err), &err);
    hy_gguf_writer_destroy(w);
    ran r = run(NULL, "info", path);
    expect_code(r, 0);
    expect_has(r.out, "abacus.beads");
    expect_has(r.out, "bad \\xFF bytes\\nand lines");
    expect_has(r.out, "not known");
    ran_free(&r);
    r = run(NULL, "info", "--json", path);
    expect_code(r, 0);
    json_t *root = ran_json(&r);
    const json_t *metadata = json_object_get(root, "metadata");
    assert_string_equal(json_string_value(json_object_get(metadata, "general.name")),
                        "bad \xEF\xBF\xBD bytes\nand lines");
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(metadata, "abacus.large"), 1)),
        "18446744073709551615");
    assert_true(json_is_null(json_object_get(root, "chat_format")));
    json_decref(root);
    ran_free(&r);
    r = run("x", "tokenize", "-m", path);
    expect_code(r, 1);
    ran_free(&r);
    r = run(NULL, "logits", "-m", path, "--tokens", "1");
    expect_code(r, 1);
    expect_has(r.err, "abacus");
    ran_free(&r);
}

static void test_matrix(void **state)
{
    (void)state;
    ran r = run(NULL, "info", "--matrix");
    expect_code(r, 0);
#define X(name, id, elems, bytes, codec) expect_has(r.out, #name);
    HY_TYPE_LIST(X)
#undef X
    expect_has(r.out, "matmul");
    expect_has(r.out, "plain    C11, any machine                             available");
    expect_has(r.out, "\n  embed      every    F32 ");
    expect_has(r.out, "\n  matmul     Q4_K     own ");
    expect_has(r.out, "\n  matmul     IQ2_XXS  F32 ");
    expect_has(r.out, "\n  others              own ");
    ran_free(&r);
    r = run(NULL, "info", "--matrix", "--json");
    expect_code(r, 0);
    json_t *root = ran_json(&r);
    size_t i = 0;
    json_t *op = NULL;
    bool found = false;
    json_array_foreach(json_object_get(root, "ops"), i, op)
    {
        const json_t *ref = json_object_get(json_object_get(op, "backends"), "ref");
        if (strcmp(json_string_value(json_object_get(op, "op")), "matmul") == 0) {
            found = true;
            assert_true(json_array_size(ref) >= 20);
        } else if (!json_is_true(json_object_get(op, "reads_matrix"))) {
            assert_true(json_is_true(ref));
        }
    }
    assert_true(found);
    const json_t *level = NULL;
    size_t built = 0;
    json_array_foreach(json_object_get(root, "cpu_levels"), i, level)
    {
        built += json_is_true(json_object_get(level, "built"));
    }
    const json_t *matmul = json_object_get(json_object_get(root, "cpu_kernels"), "matmul");
    const json_t *q4 = json_object_get(matmul, "Q4_K");
    assert_int_equal(json_object_size(q4), built);
    const json_t *plain = json_object_get(q4, "plain");
    assert_string_equal(json_string_value(json_object_get(plain, "one")), "plain");
    assert_string_equal(json_string_value(json_object_get(plain, "many")), "plain");
    plain = json_object_get(json_object_get(matmul, "IQ2_XXS"), "plain");
    assert_true(json_is_null(json_object_get(plain, "one")));
    assert_true(json_is_null(json_object_get(plain, "many")));
    json_decref(root);
    ran_free(&r);
}

static void test_tokenize(void **state)
{
    (void)state;
    ran r = run("hello world\n", "tokenize", "-m", EMBEDDED_MODEL, "--json");
    expect_code(r, 0);
    assert_string_equal(r.out, "{\"tokens\":[926,463,3262,11]}\n");
    ran back = run(r.out, "detokenize", "-m", EMBEDDED_MODEL);
    expect_code(back, 0);
    assert_string_equal(back.out, "hello world\n");
    ran_free(&back);
    ran_free(&r);
    r = run(NULL, "tokenize", "-m", EMBEDDED_MODEL, "-p", "hello\\n", "--show-count");
    expect_code(r, 0);
    assert_string_equal(
        r.out, "   926 -> 'hel'\n   463 -> 'lo'\n    11 -> '\\n'\nTotal number of tokens: 3\n");
    ran_free(&r);
    r = run(NULL, "tokenize", "-m", EMBEDDED_MODEL, "-p", "hello", "--show-count", "--json");
    expect_code(r, 0);
    assert_string_equal(r.out, "{\"tokens\":[926,463],\"count\":2}\n");
    ran_free(&r);
    r = run(NULL, "tokenize", "-m", EMBEDDED_MODEL, "-p", "hello\\n", "--ids", "--no-escape",
            "--no-special", "--no-bos");
    expect_code(r, 0);
    assert_true(strncmp(r.out, "[926, 463, ", 11) == 0 && !strstr(r.out, ", 11]"));
    ran_free(&r);
    r = run(NULL, "tokenize", "-m", EMBEDDED_MODEL, "--json");
    expect_code(r, 0);
    assert_string_equal(r.out, "{\"tokens\":[]}\n");
    ran_free(&r);
    write_file(temp_path("words.txt"), "hello", 5);
    r = run(NULL, "tokenize", "-m", EMBEDDED_MODEL, "-f", temp_path("words.txt"), "--ids");
    expect_code(r, 0);
    assert_string_equal(r.out, "[926, 463]\n");
    ran_free(&r);
}

static void test_detokenize(void **state)
{
    (void)state;
    static const char *const inputs[] = {"926 463", "[926,463]", "926,463\n",
                                         " {\"tokens\": [926, 463]}"};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        ran r = run(inputs[i], "detokenize", "-m", EMBEDDED_MODEL);
        expect_code(r, 0);
        assert_string_equal(r.out, "hello");
        ran_free(&r);
    }
    ran r = run(NULL, "detokenize", "-m", EMBEDDED_MODEL, "926", "463");
    assert_string_equal(r.out, "hello");
    ran_free(&r);
    r = run(NULL, "detokenize", "-m", EMBEDDED_MODEL, "--tokens", "926,463");
    assert_string_equal(r.out, "hello");
    ran_free(&r);
    static const char *const wrong[] = {"{\"tokens\":[1,\"a\"]}", "{\"tokens\":3}", "{", "4096",
                                        "1 two"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        r = run(wrong[i], "detokenize", "-m", EMBEDDED_MODEL);
        expect_code(r, 1);
        assert_int_equal(r.out_len, 0);
        ran_free(&r);
    }
}

/* Standard input that is a terminal: one Ctrl-D ends it, Ctrl-C ends the program with its own code.
 */
static void test_typed_input(void **state)
{
    (void)state;
    on_terminal t =
        terminal_run((const char *const[]){"detokenize", "-m", EMBEDDED_MODEL, "-f", "-", NULL});
    terminal_type(&t, "926 463\n");
    const size_t at = terminal_expect(&t, 0, "926 463");
    terminal_type(&t, "\x04");
    terminal_expect(&t, at, "hello");
    assert_int_equal(terminal_end(&t), 0);
    t = terminal_run((const char *const[]){"run", "-f", "-", NULL});
    terminal_expect(&t, 0, "built-in model"); /* from here on Ctrl-C is caught, also while loading */
    terminal_type(&t, "\x03");
    terminal_expect(&t, 0, "interrupted");
    assert_int_equal(terminal_end(&t), 130);
}

/* Output that cannot be written is a failure with a sentence, for text that is streamed too. */
static void test_full_output(void **state)
{
    (void)state;
    static const char *const commands[] = {"version", "run -m " EMBEDDED_MODEL " -p Once -n 2",
                                           "logits -m " EMBEDDED_MODEL " --tokens 1,2 --top 3000"};
    const bool has_full = access("/dev/full", W_OK) == 0;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        for (int closed = has_full ? 0 : 1; closed < 2; closed++) {
            char line[2048];
            snprintf(line, sizeof line, "%s %s >%s 2>%s", HALYARD_PROGRAM, commands[i],
                     closed ? "&-" : "/dev/full", temp_path("full.err"));
            const int status = system(line);
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 1);
            char *err = read_file(temp_path("full.err"), NULL);
            expect_has(err, "standard output cannot be written: ");
            free(err);
        }
    }
}

/* JSON lines and the raw file say the same, and log-probabilities are of a whole distribution. */
static void test_logits(void **state)
{
    (void)state;
    char raw[512];
    snprintf(raw, sizeof raw, "%s", temp_path("raw.f32"));
    ran r = run(NULL, "logits", "-m", EMBEDDED_MODEL, "--tokens", "926,463,3262", "--json", "--top",
                "4096", "-o", raw, "-b", "2");
    expect_code(r, 0);
    size_t len = 0;
    char *bytes = read_file(raw, &len);
    assert_int_equal(len, 3 * 4096 * 4);
    const char *line = r.out;
    for (int pos = 0; pos < 3; pos++) {
        json_t *root = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
        assert_non_null(root);
        assert_int_equal(json_integer_value(json_object_get(root, "pos")), pos);
        const json_t *top = json_object_get(root, "top");
        assert_int_equal(json_array_size(top), 4096);
        double sum = 0;
        double last = INFINITY;
        for (size_t i = 0; i < 4096; i++) {
            const json_t *entry = json_array_get(top, i);
            const size_t id = (size_t)json_integer_value(json_array_get(entry, 0));
            const double logit = json_number_value(json_array_get(entry, 1));
            float written = 0;
            memcpy(&written, bytes + 4 * (4096 * (size_t)pos + id), 4);
            assert_true(fabs(logit - (double)written) <= 1e-6 * fabs(logit) + 1e-9);
            assert_true(logit <= last);
            last = logit;
            sum += exp(json_number_value(json_array_get(entry, 2)));
        }
        assert_true(fabs(sum - 1) < 1e-6);
        json_decref(root);
        line = strchr(line, '\n') + 1;
    }
    assert_string_equal(line, "");
    free(bytes);
    ran_free(&r);
    r = run(NULL, "logits", "-m", EMBEDDED_MODEL, "-p", "Once upon a", "--top", "1");
    expect_code(r, 0);
    expect_has(r.out, "' time'");
    ran_free(&r);
    r = run(NULL, "logits", "-m", EMBEDDED_MODEL, "--tokens", "4096");
    expect_code(r, 1);
    expect_has(r.err, "4096");
    ran_free(&r);
}

/* The figure from the logits command by the definition. */
static void test_perplexity(void **state)
{
    (void)state;
    static const char words[] =
        "Once upon a time, there was a happy girl named Hana. One day, Hana and her friend "
        "Teddy built a tall tower. They had a lot of fun.";
    char path[512];
    char raw[512];
    snprintf(path, sizeof path, "%s", temp_path("story.txt"));
    snprintf(raw, sizeof raw, "%s", temp_path("story.f32"));
    write_file(path, words, sizeof words - 1);
    ran r = run(words, "tokenize", "-m", EMBEDDED_MODEL, "--json");
    json_t *root = ran_json(&r);
    const json_t *tokens = json_object_get(root, "tokens");
    assert_true(json_array_size(tokens) >= 24);
    double nll = 0;
    int counted = 0;
    for (size_t chunk = 0; chunk < 2; chunk++) {
        char ids[256] = "";
        for (size_t i = 0; i < 12; i++) {
            snprintf(ids + strlen(ids), sizeof ids - strlen(ids), "%lld,",
                     (long long)json_integer_value(json_array_get(tokens, 12 * chunk + i)));
        }
        ran l = run(NULL, "logits", "-m", EMBEDDED_MODEL, "--tokens", ids, "--top", "0", "-o", raw);
        expect_code(l, 0);
        assert_int_equal(l.out_len, 0);
        size_t len = 0;
        char *bytes = read_file(raw, &len);
        assert_int_equal(len, 12 * 4096 * 4);
        for (size_t at = 6; at < 11; at++) { /* 6 of 12 is the first counted position */
            double sum = 0;
            double chosen = 0;
            const size_t next =
                (size_t)json_integer_value(json_array_get(tokens, 12 * chunk + at + 1));
            for (size_t id = 0; id < 4096; id++) {
                float x = 0;
                memcpy(&x, bytes + 4 * (4096 * at + id), 4);
                sum += exp((double)x);
                chosen = id == next ? (double)x : chosen;
            }
            nll += log(sum) - chosen;
            counted++;
        }
        free(bytes);
        ran_free(&l);
    }
    const size_t chunks = json_array_size(tokens) / 12;
    json_decref(root);
    ran_free(&r);
    r = run(NULL, "perplexity", "-m", EMBEDDED_MODEL, "-f", path, "-c", "12", "--json", "-b", "5");
    expect_code(r, 0);
    root = ran_json(&r);
    assert_int_equal(json_integer_value(json_object_get(root, "tokens")), 5 * chunks);
    if (chunks == 2) {
        assert_true(fabs(json_number_value(json_object_get(root, "nll")) - nll / counted) < 1e-4);
    }
    const double total = json_number_value(json_object_get(root, "nll"));
    assert_true(fabs(json_number_value(json_object_get(root, "ppl")) - exp(total)) <
                1e-6 * exp(total));
    json_decref(root);
    ran_free(&r);
    r = run(NULL, "perplexity", "-m", EMBEDDED_MODEL, "-f", path);
    expect_code(r, 1);
    expect_has(r.err, "less than one chunk of 512");
    ran_free(&r);
}

static void test_plan(void **state)
{
    (void)state;
    ran r = run(NULL, "plan", EMBEDDED_MODEL);
    expect_code(r, 0);
    expect_has(r.out, "wkv7");
    expect_has(r.out, "scratch per token");
    ran_free(&r);
    r = run(NULL, "plan", "-m", EMBEDDED_MODEL, "--json");
    expect_code(r, 0);
    json_t *root = ran_json(&r);
    assert_int_equal(json_integer_value(json_object_get(root, "layers")), 8);
    uint64_t by_type = 0;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(json_object_get(root, "weight_bytes_by_type"), key, value)
    {
        by_type += (uint64_t)json_integer_value(value);
    }
    assert_int_equal(by_type, json_integer_value(json_object_get(root, "weight_bytes")));
    assert_int_equal(json_array_size(json_object_get(root, "ops")),
                     json_integer_value(json_object_get(root, "n_ops")));
    assert_int_equal(json_integer_value(json_object_get(root, "phases_per_layer")), 6);
    const json_t *phases = json_object_get(root, "phases");
    assert_int_equal(json_array_size(phases),
                     json_integer_value(json_object_get(root, "n_phases")));
    const json_t *last = json_array_get(phases, json_array_size(phases) - 1);
    const json_t *norm = json_array_get(json_object_get(last, "prologue"), 0);
    assert_string_equal(json_string_value(json_object_get(norm, "tree")),
                        "(layer_norm (select blk.7.x_channel_mix) output_norm.weight "
                        "output_norm.bias)");
    const json_t *weight = json_array_get(json_object_get(last, "weights"), 2);
    assert_string_equal(json_string_value(json_object_get(weight, "name")), "output.weight");
    assert_int_equal(json_integer_value(json_object_get(weight, "m")), 4096);
    assert_string_equal(json_string_value(json_array_get(json_object_get(last, "outputs"), 0)),
                        "output");
    json_decref(root);
    ran_free(&r);
    r = run(NULL, "plan", EMBEDDED_MODEL, "--tree");
    expect_code(r, 0);
    expect_has(r.out, "before    blk.1.kk = (l2_norm:64 k_k)");
    expect_has(r.out, "blk.1.time_mix_lerp_fused.weight+512  F32 [512]");
    ran_free(&r);
    char *kernel_path = strdup(temp_path("001-prologue.wgsl"));
    char *folder = strdup(kernel_path);
    *strrchr(folder, '/') = '\0';
    r = run(NULL, "plan", EMBEDDED_MODEL, "--wgsl", folder);
    expect_code(r, 0);
    expect_has(r.out, "74 kernels of 50 phases");
    ran_free(&r);
    size_t kernel_len;
    char *kernel = read_file(kernel_path, &kernel_len);
    expect_has(kernel, "@compute @workgroup_size(256)");
    free(kernel);
    free(kernel_path);
    r = run(NULL, "plan", EMBEDDED_MODEL, "--wgsl", "/nowhere/at/all");
    expect_code(r, 1);
    expect_has(r.err, "/nowhere/at/all/000-epilogue.wgsl: cannot be written");
    ran_free(&r);
    r = run(NULL, "plan", EMBEDDED_MODEL, "--wgsl", folder, "--adapter", "floor");
    expect_code(r, 0);
    expect_has(r.out, "kernels in ");
    ran_free(&r);
    kernel = read_file(temp_path("floor-decode-001-matmul-1.wgsl"), &kernel_len);
    expect_has(kernel, "@compute @workgroup_size(256)");
    free(kernel);
    r = run(NULL, "plan", EMBEDDED_MODEL, "--wgsl", folder, "--adapter", "all", "--gpu-mask",
            "no-dot");
    expect_code(r, 0);
    ran_free(&r);
    kernel = read_file(temp_path("subgroups-32-decode-001-matmul-1.dawn.wgsl"), &kernel_len);
    expect_has(kernel, "enable subgroups;\n");
    assert_null(strstr(kernel, "dot4I8Packed("));
    free(kernel);
    r = run(NULL, "plan", EMBEDDED_MODEL, "--wgsl", folder, "--adapter", "best");
    expect_code(r, 1);
    expect_has(r.err, "there is no made-up adapter \"best\"; these are: floor, ");
    ran_free(&r);
    r = run(NULL, "plan", EMBEDDED_MODEL, "--wgsl", "/nowhere/at/all", "--adapter", "floor");
    expect_code(r, 1);
    expect_has(r.err, "-embed-1.wgsl: cannot be written");
    ran_free(&r);
    r = run(NULL, "plan", EMBEDDED_MODEL, "--adapter", "floor");
    expect_code(r, 2);
    expect_has(r.err, "--adapter needs --wgsl");
    ran_free(&r);
    free(folder);
    r = run(NULL, "plan", EMBEDDED_MODEL, "--no-fuse", "all");
    expect_code(r, 0);
    expect_has(r.out, "352 operations in 352 phases");
    ran_free(&r);
    r = run(NULL, "plan", EMBEDDED_MODEL, "--no-fuse", "norm,head");
    expect_code(r, 1);
    expect_has(r.err, "there is no fusion \"head\"");
    ran_free(&r);
    r = run(NULL, "plan", EMBEDDED_MODEL, "--why");
    expect_code(r, 0);
    expect_has(r.out, "group: matrices that are ready at the same time are one phase");
    ran_free(&r);
}

static void test_bench(void **state)
{
    (void)state;
    ran r = run(NULL, "bench", "-m", EMBEDDED_MODEL, "-p", "4", "-n", "2", "-r", "2", "-t", "1",
                "-o", "json");
    expect_code(r, 0);
    json_t *root = ran_json(&r);
    assert_int_equal(json_array_size(root), 2);
    const json_t *pp = json_array_get(root, 0);
    const json_t *tg = json_array_get(root, 1);
    assert_int_equal(json_integer_value(json_object_get(pp, "n_prompt")), 4);
    assert_int_equal(json_integer_value(json_object_get(pp, "n_gen")), 0);
    assert_int_equal(json_integer_value(json_object_get(tg, "n_gen")), 2);
    assert_int_equal(json_integer_value(json_object_get(tg, "n_threads")), 1);
    assert_int_equal(json_array_size(json_object_get(tg, "samples_ts")), 2);
    assert_true(json_number_value(json_object_get(tg, "avg_ts")) > 0);
    const json_t *samples = json_object_get(tg, "samples_ts");
    const double median = json_number_value(json_object_get(tg, "median_ts"));
    assert_float_equal(median,
                       (json_number_value(json_array_get(samples, 0)) +
                        json_number_value(json_array_get(samples, 1))) /
                           2,
                       1e-6 * median);
    assert_float_equal(json_number_value(json_object_get(tg, "bandwidth_share")),
                       median * json_number_value(json_object_get(tg, "bytes_per_token")) / 1e9 /
                           json_number_value(json_object_get(tg, "read_gb_per_second")),
                       1e-6);
    assert_true(json_number_value(json_object_get(tg, "bytes_per_token")) > 1e7);
    assert_true(json_number_value(json_object_get(tg, "read_gb_per_second")) > 0);
    assert_true(json_number_value(json_object_get(tg, "bandwidth_share")) > 0);
    assert_true(json_integer_value(json_object_get(tg, "peak_bytes")) > 1000000);
    assert_int_equal(json_integer_value(json_object_get(tg, "model_n_params")), 30750720);
    json_decref(root);
    ran_free(&r);
    r = run(NULL, "bench", "-m", EMBEDDED_MODEL, "-p", "0", "-n", "1", "-r", "1", "-t", "1", "-o",
            "csv", "--no-warmup");
    expect_code(r, 0);
    expect_has(r.out, ",median_ns,median_ts,bytes_per_token,");
    expect_has(r.out, "model_filename,model_type");
    expect_has(r.out, "\"rwkv7 Q4_K_M\"");
    ran_free(&r);
    r = run(NULL, "bench", "-m", EMBEDDED_MODEL, "-p", "1", "-n", "1", "-r", "1", "-t", "1");
    expect_code(r, 0);
    expect_has(r.out, "| model");
    expect_has(r.out, "tg1");
    expect_has(r.out, "peak memory");
    assert_null(strstr(r.out, "phases"));
    ran_free(&r);
    r = run(NULL, "bench", "-m", EMBEDDED_MODEL, "-p", "1", "-n", "1", "-r", "1", "--profile",
            "--backend", "ref");
    expect_code(r, 1);
    expect_has(r.err, "backend ref does not run phases");
    ran_free(&r);
    r = run(NULL, "bench", "-m", EMBEDDED_MODEL, "-n", "1", "--trace", EMBEDDED_MODEL);
    expect_code(r, 1);
    expect_has(r.err, "the model's own file");
    ran_free(&r);
    r = run(NULL, "bench", "-m", EMBEDDED_MODEL, "-n", "1", "--trace", "nowhere/trace.json");
    expect_code(r, 1);
    expect_has(r.err, "nowhere/trace.json cannot be opened");
    ran_free(&r);
}

/* The text is the same with both backends, and each says so of the other. */
static void test_bench_check(void **state)
{
    (void)state;
    static const char *const backends[] = {"cpu", "ref"};
    char hash[2][32];
    for (int i = 0; i < 2; i++) {
        ran r = run(NULL, "bench", "-m", EMBEDDED_MODEL, "-p", "0", "-n", "4", "-r", "1", "-t", "1",
                    "--backend", backends[i], "--check", backends[1 - i], "-o", "json");
        expect_code(r, 0);
        json_t *root = ran_json(&r);
        const json_t *tg = json_array_get(root, 0);
        snprintf(hash[i], sizeof hash[i], "%s",
                 json_string_value(json_object_get(tg, "text_hash")));
        assert_string_equal(json_string_value(json_object_get(tg, "check_backend")),
                            backends[1 - i]);
        assert_int_equal(json_integer_value(json_object_get(tg, "check_tokens")), 3);
        assert_int_equal(json_integer_value(json_object_get(tg, "check_agree")), 3);
        assert_true(json_number_value(json_object_get(tg, "check_lead")) == 0);
        assert_true(json_number_value(json_object_get(tg, "cpu_us_per_token")) > 0);
        assert_true(json_is_null(json_object_get(tg, "gpu_library")));
        assert_true(json_is_null(json_object_get(tg, "dispatches_per_token")));
        json_decref(root);
        ran_free(&r);
    }
    assert_string_equal(hash[0], hash[1]);
    ran r = run(NULL, "bench", "-m", EMBEDDED_MODEL, "-p", "1", "-n", "3", "-r", "1", "-t", "1",
                "--backend", "cpu", "--check", "ref");
    expect_code(r, 0);
    expect_has(r.out, "ref chooses 2 of its 2 tokens");
    ran_free(&r);
    r = run(NULL, "bench", "-m", EMBEDDED_MODEL, "-p", "0", "-n", "2", "-r", "1", "--check",
            "none");
    expect_code(r, 1);
    expect_has(r.err, "none");
    ran_free(&r);
}

/* Phases of the embedded model: what they read is what the plan says, and the rest is small change.
 */
static void test_bench_phases(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path("trace.json"));
    ran r = run(NULL, "bench", "-m", EMBEDDED_MODEL, "-p", "0", "-n", "3", "-r", "2", "-t", "1",
                "--backend", "cpu", "--profile", "--trace", path, "-o", "json");
    expect_code(r, 0);
    json_t *root = ran_json(&r);
    const json_t *tg = json_array_get(root, 0);
    double bytes = 0;
    double ns = json_number_value(json_object_get(tg, "rest_ns"));
    size_t count = 0;
    size_t i = 0;
    const json_t *phase = NULL;
    json_array_foreach(json_object_get(tg, "phases"), i, phase)
    {
        bytes += json_number_value(json_object_get(phase, "bytes_per_token"));
        ns += json_number_value(json_object_get(phase, "ns_per_token"));
        count += (size_t)json_integer_value(json_object_get(phase, "count"));
    }
    const double planned = json_number_value(json_object_get(tg, "bytes_per_token"));
    assert_float_equal(bytes, planned, 1e-3 * planned);
    /* Two runs: their medians are their means. */
    const double measured = json_number_value(json_object_get(tg, "median_ns")) / 3;
    assert_float_equal(ns, measured, 1e-6 * measured + 1);
    json_decref(root);
    ran_free(&r);
    json_error_t why;
    root = json_load_file(path, 0, &why);
    assert_non_null(root);
    /* The title, and each phase of the last repetition's three steps. */
    assert_int_equal(json_array_size(json_object_get(root, "traceEvents")), 1 + 3 * count);
    json_decref(root);
    r = run(NULL, "bench", "-m", EMBEDDED_MODEL, "-p", "2", "-n", "1", "-r", "1", "-t", "1",
            "--backend", "cpu", "--profile");
    expect_code(r, 0);
    expect_has(r.out, "pp2 with 1 thread: phases");
    expect_has(r.out, "tg1 with 1 thread: phases");
    expect_has(r.out, "| wkv7 wkv ");
    expect_has(r.out, "outside of phases");
    ran_free(&r);
}

static void test_quantize(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path("q8.gguf"));
    ran r = run(NULL, "quantize", EMBEDDED_MODEL, path, "q8_0");
    expect_code(r, 1);
    expect_has(r.err, "--allow-requantize");
    ran_free(&r);
    r = run(NULL, "quantize", EMBEDDED_MODEL, path, "q8_0", "--allow-requantize");
    expect_code(r, 0);
    assert_int_equal(r.out_len, 0);
    expect_has(r.err, "Q4_K -> Q8_0");
    ran_free(&r);
    r = run(NULL, "run", "-m", path, "-p", "Once upon a", "-n", "1", "--temp", "0");
    expect_code(r, 0);
    expect_has(r.out, "Once upon a time");
    ran_free(&r);
}

/* A WebGPU library that was found: what must be said about it, or about why it is none. */
/* Of --measure. */
static void check_measured(const json_t *m)
{
    static const char *const facts[] = {"read_bytes_per_second", "dispatch_gpu_ns",
                                        "dispatch_cpu_ns", "round_trip_ns"};
    const json_t *const offers = json_object_get(m, "offers"), *const hatches =
                                                                   json_object_get(m, "hatches");
    const json_t *x;
    size_t i;
    for (i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        assert_true(json_is_number(json_object_get(m, facts[i])));
    }
    assert_true(json_string_length(json_object_get(m, "native")) > 0);
    assert_int_equal(json_array_size(offers), 7);
    assert_int_equal(json_array_size(hatches), 4);
    json_array_foreach(offers, i, x)
    {
        const char *const state = json_string_value(json_object_get(x, "state"));
        const json_t *const beside = json_object_get(x, "beside");
        const bool works = strcmp(state, "works") == 0;
        assert_true(works || strcmp(state, "none") == 0 || strcmp(state, "masked") == 0);
        assert_int_equal(json_is_number(json_object_get(x, "rate")), works);
        assert_true(json_is_null(beside) || json_is_number(json_object_get(beside, "rate")));
        assert_true(json_string_length(json_object_get(x, "native")) > 0);
        assert_true(json_string_length(json_object_get(x, "unit")) > 0);
    }
    json_array_foreach(hatches, i, x)
    {
        assert_true(json_string_length(json_object_get(x, "state")) > 0);
        assert_true(json_string_length(json_object_get(x, "why")) > 20);
        const json_t *const gain = json_object_get(x, "gain"), *const beside =
                                                                   json_object_get(x, "beside");
        assert_true(!gain || (json_number_value(gain) > 0 &&
                              strcmp(json_string_value(json_object_get(x, "state")), "open") == 0));
        assert_int_equal(gain != NULL, json_is_number(json_object_get(beside, "rate")));
    }
}

static void check_library(const json_t *found)
{
    assert_true(json_is_boolean(json_object_get(found, "works")));
    if (!json_is_true(json_object_get(found, "works"))) {
        assert_true(json_string_length(json_object_get(found, "reason")) > 20);
        assert_null(json_object_get(found, "limits"));
        return;
    }
    const json_t *const limits = json_object_get(found, "limits");
    const json_t *const variants = json_object_get(found, "variants"), *v;
    size_t i;
    assert_true(variants ? json_array_size(variants) > 20
                         : json_string_length(json_object_get(found, "selftest")) > 20);
    json_array_foreach(variants, i, v)
    {
        const char *state = json_string_value(json_object_get(v, "state"));
        assert_true(json_string_length(json_object_get(v, "name")) > 0);
        /* At the floor, as the caller asks. */
        assert_string_equal(
            state, strncmp(json_string_value(json_object_get(v, "name")), "format", 6) == 0 ||
                           strcmp(json_string_value(json_object_get(v, "name")), "draws") == 0
                       ? "passed"
                       : "masked");
    }
    assert_true(json_string_length(json_object_get(found, "adapter")) > 0);
    assert_true(json_integer_value(json_object_get(limits, "binding_bytes")) >= 128 << 20);
    assert_true(json_integer_value(json_object_get(limits, "storage_buffers")) >= 8);
    assert_true(json_is_boolean(json_object_get(found, "f16")));
    check_measured(json_object_get(found, "measured"));
    assert_true(json_is_boolean(json_object_get(json_object_get(found, "tuned"), "made")));
}

static void test_doctor(void **state)
{
    (void)state;
    ran r = run(NULL, "doctor");
    expect_code(r, 0);
    expect_has(r.out, "cpu\n  level     ");
    expect_has(r.out, "\n  cores     ");
    expect_has(r.out, "\nwebgpu dawn\n  ");
    expect_has(r.out, "\nwebgpu wgpu\n  ");
    assert_null(strstr(r.out, "\n  measured  ")); /* which takes its time */
    ran_free(&r);
    r = run(NULL, "doctor", "--json", "--measure", "--gpu-mask", "floor");
    expect_code(r, 0);
    json_t *root = ran_json(&r);
    const json_t *const cpu = json_object_get(root, "cpu"), *const webgpu =
                                                                json_object_get(root, "webgpu");
    assert_int_equal(json_integer_value(json_object_get(cpu, "cores")), hy_cpu_count());
    assert_true(json_string_length(json_object_get(cpu, "level")) > 0);
    assert_int_equal(json_array_size(webgpu), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(webgpu, 0), "name")),
                        "dawn");
    check_library(json_array_get(webgpu, 0));
    check_library(json_array_get(webgpu, 1));
    json_decref(root);
    ran_free(&r);
}

static void test_doctor_of_missing_libraries(void **state)
{
    (void)state;
    ran r = run(NULL, "doctor", "--webgpu-lib", "/nowhere/libwebgpu.so");
    expect_code(r, 1);
    assert_int_equal(r.out_len, 0);
    expect_has(r.err, "no WebGPU library: /nowhere/libwebgpu.so (");
    ran_free(&r);
    r = run(NULL, "doctor", "--json", "--webgpu-lib", "dawn", "--webgpu-dir", "/nowhere");
    if (r.code != 0) { /* there is one where the system keeps its libraries, otherwise */
        expect_code(r, 1);
        expect_has(r.err, "/nowhere/");
    }
    ran_free(&r);
    /* A file that is no library. */
    r = run(NULL, "doctor", "--webgpu-lib", "./" EMBEDDED_MODEL);
    expect_code(r, 1);
    expect_has(r.err, EMBEDDED_MODEL " (");
    ran_free(&r);
    r = run(NULL, "doctor", "--gpu-mask", "no-f16,no-such");
    expect_code(r, 2);
    expect_has(r.err, "there is no GPU mask \"no-such\"; these are: no-subgroups, ");
    ran_free(&r);
}

/* What it chooses is a matter of tests/webgpu. */
static void test_tune_without_a_gpu(void **state)
{
    (void)state;
    ran r = run(NULL, "tune", "--webgpu-lib", "/nowhere/libwebgpu.so");
    expect_code(r, 1);
    assert_int_equal(r.out_len, 0);
    expect_has(r.err, "no WebGPU library: /nowhere/libwebgpu.so (");
    ran_free(&r);
    r = run(NULL, "tune", "--gpu-mask", "no-tuned,no-such");
    expect_code(r, 2);
    expect_has(r.err, "there is no GPU mask \"no-such\"; these are: no-subgroups, ");
    ran_free(&r);
    r = run(NULL, "tune", "--measure");
    expect_code(r, 2);
    ran_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_arguments),
        cmocka_unit_test(test_wrong_command_lines),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_info_of_unknown),
        cmocka_unit_test(test_matrix),
        cmocka_unit_test(test_tokenize),
        cmocka_unit_test(test_detokenize),
        cmocka_unit_test(test_typed_input),
        cmocka_unit_test(test_full_output),
        cmocka_unit_test(test_logits),
        cmocka_unit_test(test_perplexity),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_bench),
        cmocka_unit_test(test_bench_check),
        cmocka_unit_test(test_bench_phases),
        cmocka_unit_test(test_quantize),
        cmocka_unit_test(test_doctor),
        cmocka_unit_test(test_doctor_of_missing_libraries),
        cmocka_unit_test(test_tune_without_a_gpu),
    };
    return cmocka_run_group_tests_name("cli_commands", tests, NULL, NULL);
}
