/* test_generate.c: `halyard run`: text, stops, states, seeds, Ctrl-C and a reader that has gone. */
#define _XOPEN_SOURCE 700

#include "cli/run_program.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define MODEL "-m", EMBEDDED_MODEL
/* The first words of a greedy story, all of them many times the numeric error ahead of the next
 * choice. */
#define PROMPT "Once upon a time"

static json_t *generated_of(const char *const *args)
{
    ran r = run_program(NULL, args);
    expect_code(r, 0);
    json_t *root = ran_json(&r);
    ran_free(&r);
    return root;
}
#define generated(...) generated_of((const char *const[]){"run", __VA_ARGS__, "--json", NULL})

static const char *text_of(const json_t *root)
{
    return json_string_value(json_object_get(root, "text"));
}

/* The tokens as a list for --tokens. */
static void list_of(const json_t *array, char *buf, size_t cap)
{
    size_t i = 0;
    json_t *id = NULL;
    buf[0] = '\0';
    json_array_foreach(array, i, id)
    {
        snprintf(buf + strlen(buf), cap - strlen(buf), "%s%lld", i ? "," : "",
                 (long long)json_integer_value(id));
    }
}

static void test_text(void **state)
{
    (void)state;
    ran r = run(NULL, "run", MODEL, "-p", PROMPT, "-n", "8", "--temp", "0");
    expect_code(r, 0);
    assert_true(strncmp(r.out, PROMPT ", there was", strlen(PROMPT ", there was")) == 0);
    assert_int_equal(r.out[r.out_len - 1], '\n');
    expect_has(r.err, "8 tokens");
    expect_has(r.err, "tok/s");
    expect_has(r.err, "MB per token");
    expect_has(r.err, "GB/s");
    expect_has(r.err, "seed");
    ran other =
        run(NULL, "run", MODEL, "-p", PROMPT, "-n", "8", "--temp", "0", "--no-display-prompt");
    expect_code(other, 0);
    assert_string_equal(other.out, r.out + strlen(PROMPT));
    ran_free(&other);
    other = run(PROMPT, "run", MODEL, "-n", "8", "--temp", "-1", "--no-mmap", "-t", "1", "-b", "1");
    expect_code(other, 0);
    assert_string_equal(other.out, r.out);
    ran_free(&other);
    ran_free(&r);
    r = run(NULL, "run", "-p", PROMPT, "-n", "0");
    expect_code(r, 0);
    assert_string_equal(r.out, PROMPT "\n");
    expect_has(r.err, "built-in model");
    ran_free(&r);
}

static void test_json(void **state)
{
    (void)state;
    json_t *root = generated(MODEL, "-p", PROMPT, "-n", "8", "--temp", "0");
    assert_int_equal(json_array_size(json_object_get(root, "tokens")), 8);
    assert_int_equal(json_array_size(json_object_get(root, "prompt_tokens")), 4);
    assert_string_equal(json_string_value(json_object_get(root, "stop")), "limit");
    const json_t *timings = json_object_get(root, "timings");
    static const char *const keys[] = {"prompt_n",    "prompt_ms",    "prompt_per_second",
                                       "predicted_n", "predicted_ms", "predicted_per_second"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_true(json_number_value(json_object_get(timings, keys[i])) > 0);
    }
    assert_int_equal(json_integer_value(json_object_get(timings, "predicted_n")), 8);
    char ids[256];
    list_of(json_object_get(root, "prompt_tokens"), ids, sizeof ids);
    json_t *other = generated(MODEL, "--tokens", ids, "-n", "8", "--temp", "0");
    assert_true(json_equal(json_object_get(root, "tokens"), json_object_get(other, "tokens")));
    assert_string_equal(text_of(root), text_of(other));
    json_decref(other);
    list_of(json_object_get(root, "tokens"), ids, sizeof ids);
    ran r = run(ids, "detokenize", MODEL);
    assert_string_equal(r.out, text_of(root));
    ran_free(&r);
    json_decref(root);
}

static void test_seed(void **state)
{
    (void)state;
    json_t *a = generated(MODEL, "-p", PROMPT, "-n", "12", "-s", "7", "--temp", "1.2");
    json_t *b = generated(MODEL, "-p", PROMPT, "-n", "12", "-s", "7", "--temp", "1.2", "-t", "1");
    json_t *c = generated(MODEL, "-p", PROMPT, "-n", "12", "-s", "8", "--temp", "1.2");
    assert_string_equal(text_of(a), text_of(b));
    assert_string_not_equal(text_of(a), text_of(c));
    assert_int_equal(json_integer_value(json_object_get(a, "seed")), 7);
    json_decref(a);
    json_decref(b);
    json_decref(c);
    /* The seed that was chosen gives the same text again. */
    a = generated(MODEL, "-p", PROMPT, "-n", "12", "--temp", "1.2");
    char seed[32];
    snprintf(seed, sizeof seed, "%lld", (long long)json_integer_value(json_object_get(a, "seed")));
    b = generated(MODEL, "-p", PROMPT, "-n", "12", "--temp", "1.2", "-s", seed);
    assert_string_equal(text_of(a), text_of(b));
    json_decref(a);
    json_decref(b);
}

/* Each sampling option reaches the sampler: a strong value changes the text or makes it greedy. */
static void test_sampling_options(void **state)
{
    (void)state;
    json_t *greedy = generated(MODEL, "-p", PROMPT, "-n", "10", "--temp", "0");
    static const char *const same[][2] = {
        {"--top-k", "1"}, {"--top-p", "0"}, {"--min-p", "1"}, {"--temp", "0.00001"}};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        json_t *root = generated(MODEL, "-p", PROMPT, "-n", "10", "--temp", "5", "-s", "1",
                                 same[i][0], same[i][1]);
        assert_string_equal(text_of(root), text_of(greedy));
        json_decref(root);
    }
    json_t *plain = generated(MODEL, "-p", PROMPT, "-n", "10", "--temp", "5", "--top-k", "0",
                              "--top-p", "1", "--min-p", "0", "-s", "1");
    assert_string_not_equal(text_of(plain), text_of(greedy));
    static const char *const other[][4] = {{"--top-k", "3"},
                                           {"--top-p", "0.3"},
                                           {"--min-p", "0.5"},
                                           {"--typical", "0.2"},
                                           {"--mirostat", "2", "--mirostat-ent", "0.5"}};
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        const char *args[24] = {"run",     MODEL, "-p",      PROMPT, "-n",      "10",
                                "--temp",  "5",   "--top-k", "0",    "--top-p", "1",
                                "--min-p", "0",   "-s",      "1",    "--json"};
        size_t n = 18;
        for (size_t k = 0; k < 4 && other[i][k]; k++) {
            args[n++] = other[i][k];
        }
        json_t *root = generated_of(args);
        assert_string_not_equal(text_of(root), text_of(plain));
        json_decref(root);
    }
    json_decref(plain);
    static const char *const penalties[][2] = {
        {"--repeat-penalty", "50"}, {"--presence-penalty", "60"}, {"--frequency-penalty", "60"}};
    for (size_t i = 0; i < sizeof penalties / sizeof penalties[0]; i++) {
        json_t *root = generated(MODEL, "-p", PROMPT, "-n", "10", "--temp", "0", penalties[i][0],
                                 penalties[i][1]);
        assert_string_not_equal(text_of(root), text_of(greedy));
        json_decref(root);
        root = generated(MODEL, "-p", PROMPT, "-n", "10", "--temp", "0", penalties[i][0],
                         penalties[i][1], "--repeat-last-n", "0");
        assert_string_equal(text_of(root), text_of(greedy));
        json_decref(root);
    }
    /* The first greedy token forbidden, another one forced. */
    char bias[64];
    const long long first =
        json_integer_value(json_array_get(json_object_get(greedy, "tokens"), 0));
    snprintf(bias, sizeof bias, "%lld-inf", first);
    json_t *root = generated(MODEL, "-p", PROMPT, "-n", "1", "--temp", "0", "--logit-bias", bias);
    assert_true(json_integer_value(json_array_get(json_object_get(root, "tokens"), 0)) != first);
    json_decref(root);
    root = generated(MODEL, "-p", PROMPT, "-n", "2", "--temp", "0", "-l", "926+1000");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(root, "tokens"), 1)), 926);
    json_decref(root);
    json_decref(greedy);
}

static void test_stop_text(void **state)
{
    (void)state;
    /* "there was": the stop begins and ends inside of tokens, and the streamed text holds nothing
     * of it. */
    ran r = run(NULL, "run", MODEL, "-p", PROMPT, "-n", "20", "--temp", "0", "-r", "xyz", "-r",
                "ere w");
    expect_code(r, 0);
    assert_string_equal(r.out, PROMPT ", th\n");
    ran_free(&r);
    json_t *root = generated(MODEL, "-p", PROMPT, "-n", "20", "--temp", "0", "--stop", "ere w");
    assert_string_equal(text_of(root), ", th");
    assert_string_equal(json_string_value(json_object_get(root, "stop")), "text");
    json_decref(root);
}

/* A state saved after a stop text or a limit goes on as if nothing had been cut. */
static void test_states(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path("story.state"));
    json_t *whole = generated(MODEL, "-p", PROMPT, "-n", "16", "--temp", "0");
    json_t *first = generated(MODEL, "-p", PROMPT, "-n", "6", "--temp", "0", "--state-out", path);
    json_t *rest = generated(MODEL, "-n", "10", "--temp", "0", "--state-in", path);
    char joined[1024];
    snprintf(joined, sizeof joined, "%s%s", text_of(first), text_of(rest));
    assert_string_equal(joined, text_of(whole));
    json_decref(first);
    json_decref(rest);
    /* A prompt behind a state is the text behind that text. */
    first = generated(MODEL, "-p", "Once upon", "-n", "0", "--state-out", path);
    assert_string_equal(text_of(first), "");
    rest = generated(MODEL, "-p", " a time", "-n", "16", "--temp", "0", "--state-in", path);
    assert_string_equal(text_of(rest), text_of(whole));
    json_decref(first);
    json_decref(rest);
    /* After a stop text the state holds exactly the text before it: the prompt, the whole tokens
     * before the stop text, and the beginning of the token in which it began. */
    first = generated(MODEL, "-p", PROMPT, "-n", "16", "--temp", "0", "-r", "ere w", "--state-out",
                      path);
    assert_string_equal(text_of(first), ", th");
    rest = generated(MODEL, "-p", "ere", "-n", "4", "--temp", "0", "--state-in", path);
    char ids[512];
    char more[512];
    list_of(json_object_get(first, "prompt_tokens"), ids, sizeof ids);
    static const char *const parts[] = {",", " th", "ere"};
    for (size_t i = 0; i < 3; i++) {
        ran r = run(parts[i], "tokenize", MODEL, "--json");
        json_t *root = ran_json(&r);
        list_of(json_object_get(root, "tokens"), more, sizeof more);
        const size_t used = strlen(ids);
        assert_true(used + 1 + strlen(more) < sizeof ids);
        ids[used] = ',';
        strcpy(ids + used + 1, more);
        json_decref(root);
        ran_free(&r);
    }
    json_t *plain = generated(MODEL, "--tokens", ids, "-n", "4", "--temp", "0");
    assert_string_equal(text_of(rest), text_of(plain));
    json_decref(plain);
    json_decref(first);
    json_decref(rest);
    json_decref(whole);
    /* What is no state of this model. */
    size_t len = 0;
    char *bytes = read_file(path, &len);
    bytes[len / 2] ^= 1;
    write_file(path, bytes, len);
    ran r = run(NULL, "run", MODEL, "-n", "1", "--state-in", path);
    expect_code(r, 1);
    ran_free(&r);
    free(bytes);
    r = run(NULL, "run", MODEL, "-n", "1", "--state-in", "nowhere.state");
    expect_code(r, 1);
    expect_has(r.err, "nowhere.state");
    ran_free(&r);
    /* Where no state can be saved is said before anything is generated. */
    static const char *const no_files[] = {"nowhere/dir/s.state", "tests", "/dev/null", ""};
    for (size_t i = 0; i < sizeof no_files / sizeof no_files[0]; i++) {
        r = run(NULL, "run", MODEL, "-p", "a", "-n", "1", "--state-out", no_files[i]);
        expect_code(r, 1);
        expect_has(r.err, "the state cannot be saved");
        assert_int_equal(r.out_len, 0);
        ran_free(&r);
    }
}

/* Neither a state nor logits are written over the model that they come from. */
static void test_model_is_kept(void **state)
{
    (void)state;
    static const char small[] = "tests/golden/mini/llama-mini-Q3_K_M.gguf";
    char path[512];
    char link_path[512];
    snprintf(path, sizeof path, "%s", temp_path("kept.gguf"));
    snprintf(link_path, sizeof link_path, "%s", temp_path("link.gguf"));
    size_t n = 0;
    char *bytes = read_file(small, &n);
    write_file(path, bytes, n);
    assert_int_equal(symlink(path, link_path), 0);
    const char *const names[] = {path, link_path};
    for (size_t i = 0; i < 2; i++) {
        ran r = run(NULL, "run", "-m", path, "--tokens", "1", "-n", "1", "--state-out", names[i]);
        expect_code(r, 1);
        expect_has(r.err, "the model's own file");
        ran_free(&r);
        r = run(NULL, "logits", "-m", path, "--tokens", "1", "-o", names[i]);
        expect_code(r, 1);
        expect_has(r.err, "the model's own file");
        ran_free(&r);
    }
    size_t n_after = 0;
    char *after = read_file(path, &n_after);
    assert_int_equal(n_after, n);
    assert_memory_equal(after, bytes, n);
    free(after);
    free(bytes);
}

#define MINI "-m", "tests/golden/mini/llama-mini-Q3_K_M.gguf"

/* A transformer's context: a prompt that does not fit is an error with both numbers, a text that
 * fills it ends. */
static void test_context(void **state)
{
    (void)state;
    ran r = run(NULL, "run", MINI, "--tokens", "1,2,3,4,5,6,7,8,9", "-c", "8");
    expect_code(r, 1);
    expect_has(r.err, "9 tokens");
    expect_has(r.err, "context of 8");
    expect_has(r.err, "-c sets its size");
    assert_int_equal(r.out_len, 0);
    ran_free(&r);
    r = run(NULL, "run", MINI, "--tokens", "1,2,3", "-c", "8", "-s", "1", "--ignore-eos", "--json");
    expect_code(r, 0);
    expect_has(r.err, "the context of 8 tokens is full");
    json_t *root = ran_json(&r);
    /* Five more fit; the sixth was drawn from the last position. */
    assert_int_equal(json_array_size(json_object_get(root, "tokens")), 6);
    assert_string_equal(json_string_value(json_object_get(root, "stop")), "context");
    json_decref(root);
    ran_free(&r);
    r = run("Hello\n", "chat", MINI);
    expect_code(r, 1);
    expect_has(r.err, "--chat-template");
    ran_free(&r);
}

/* Saved after each position, also of a KV cache, and went on from there. */
static void test_transformer_state(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path("kv.state"));
    json_t *whole = generated(MINI, "--tokens", "7,8,9", "-n", "9", "-s", "3", "--ignore-eos");
    json_t *first = generated(MINI, "--tokens", "7,8,9", "-n", "4", "-s", "3", "--ignore-eos",
                              "--state-out", path);
    json_t *rest = generated(MINI, "-n", "5", "-s", "3", "--ignore-eos", "--state-in", path);
    for (size_t i = 0; i < 9; i++) {
        const json_t *part = json_object_get(i < 4 ? first : rest, "tokens");
        assert_int_equal(json_integer_value(json_array_get(json_object_get(whole, "tokens"), i)),
                         json_integer_value(json_array_get(part, i < 4 ? i : i - 4)));
    }
    json_decref(whole);
    json_decref(first);
    json_decref(rest);
    ran r = run(NULL, "run", MODEL, "-n", "1", "--state-in", path);
    expect_code(r, 1);
    ran_free(&r);
}

/* Starts the program with its output in a pipe; the read end is returned. */
static int start_piped(const char *const *args, pid_t *pid)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    *pid = fork();
    assert_true(*pid >= 0);
    if (*pid == 0) {
        if (dup2(ends[1], 1) < 0 || !freopen("/dev/null", "w", stderr)) {
            _exit(126);
        }
        close(ends[0]);
        close(ends[1]);
        execv(HALYARD_PROGRAM, (char *const *)(uintptr_t)args);
        _exit(127);
    }
    close(ends[1]);
    return ends[0];
}

static void test_interrupt(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path("interrupted.state"));
    const char *const args[] = {HALYARD_PROGRAM, "run", MODEL,         "-p", PROMPT, "--ignore-eos",
                                "--temp",        "0",   "--state-out", path, NULL};
    pid_t pid = 0;
    const int fd = start_piped(args, &pid);
    char seen[65536];
    size_t len = 0;
    while (len < strlen(PROMPT) + 20) {
        const ssize_t n = read(fd, seen + len, sizeof seen - 1 - len);
        assert_true(n > 0);
        len += (size_t)n;
    }
    assert_int_equal(kill(pid, SIGINT), 0);
    for (ssize_t n = 1; n > 0; len += (size_t)n) {
        n = read(fd, seen + len, sizeof seen - 1 - len);
        assert_true(n >= 0);
    }
    seen[len] = '\0';
    close(fd);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    assert_true(strncmp(seen, PROMPT ", there was", strlen(PROMPT ", there was")) == 0);
    /* The state holds all that was printed: it goes on where the text broke off. */
    json_t *rest = generated(MODEL, "-n", "6", "--temp", "0", "--state-in", path);
    json_t *tokens = json_object_get(rest, "tokens");
    assert_int_equal(json_array_size(tokens), 6);
    seen[len - 1] = '\0'; /* the newline at the end */
    char limit[32];
    snprintf(limit, sizeof limit, "%zu", len);
    json_t *whole = generated(MODEL, "-p", PROMPT, "-n", limit, "--temp", "0", "--ignore-eos");
    char joined[65536 + 512];
    snprintf(joined, sizeof joined, "%s%s", seen + strlen(PROMPT), text_of(rest));
    assert_true(strncmp(text_of(whole), joined, strlen(joined)) == 0);
    json_decref(whole);
    json_decref(rest);
}

static void test_reader_gone(void **state)
{
    (void)state;
    const char *const args[] = {HALYARD_PROGRAM, "run", MODEL, "-p", PROMPT, "--ignore-eos", NULL};
    pid_t pid = 0;
    const int fd = start_piped(args, &pid);
    char byte = 0;
    assert_int_equal(read(fd, &byte, 1), 1);
    close(fd);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

/* The terminal sees a closing line and 130 after Ctrl-C too. */
static void test_interrupt_on_terminal(void **state)
{
    (void)state;
    on_terminal t = terminal_run(
        (const char *const[]){"run", MODEL, "-p", PROMPT, "--ignore-eos", "--temp", "0", NULL});
    size_t at = terminal_expect(&t, 0, "there was");
    terminal_type(&t, "\x03");
    terminal_expect(&t, at > 4 ? at - 4 : 0, "GB/s");
    assert_int_equal(terminal_end(&t), 130);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_sampling_options),
        cmocka_unit_test(test_stop_text),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_model_is_kept),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_transformer_state),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_reader_gone),
        cmocka_unit_test(test_interrupt_on_terminal),
    };
    return cmocka_run_group_tests_name("cli_generate", tests, NULL, NULL);
}
