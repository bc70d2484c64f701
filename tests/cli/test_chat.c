/* test_chat.c: `halyard chat` with lines from a file and on a pseudo-terminal. */
#include "cli/run_program.h"

#define MODEL "-m", EMBEDDED_MODEL

static void test_conversation(void **state)
{
    (void)state;
    ran r = run("My name is Anna.\nWhat is my name?\n/stats\n", "chat", MODEL, "--temp", "0");
    expect_code(r, 0);
    char *second = strchr(r.out, '\n');
    assert_non_null(second);
    expect_has(second, "Your name is Anna.");
    assert_null(strstr(r.out, "User:"));
    expect_has(r.err, "2 answers");
    expect_has(r.err, "format rwkv-world");
    expect_has(r.err, "GB/s");
    ran_free(&r);
}

/* The state of the conversation is what the model was trained on, token for token. */
static void test_same_as_run(void **state)
{
    (void)state;
    ran r =
        run("Why is the sky blue?\nWhat is the capital of Japan?\n", "chat", MODEL, "--temp", "0");
    expect_code(r, 0);
    const size_t first = strcspn(r.out, "\n");
    char prompt[1024];
    snprintf(prompt, sizeof prompt,
             "User: Why is the sky blue?\n\nAssistant: %.*s\n\nUser: What is the capital of "
             "Japan?\n\nAssistant:",
             (int)first, r.out);
    ran whole = run(prompt, "run", MODEL, "--temp", "0", "--no-display-prompt", "-r", "\n");
    expect_code(whole, 0);
    assert_string_equal(r.out + first + 1, whole.out + 1); /* run prints the blank in front */
    ran_free(&whole);
    ran_free(&r);
}

static void test_commands(void **state)
{
    (void)state;
    char path[512];
    char input[2048];
    snprintf(path, sizeof path, "%s", temp_path("chat.state"));
    snprintf(input, sizeof input,
             "/regen\n/help\n/nonsense\n/save\nMy name is Anna.\n/save %s\n/clear\nWhat is my "
             "name?\n/load %s\n"
             "What is my name?\n/regen\n/load nowhere\n  /quit\nnever read\n",
             path, path);
    ran r = run(input, "chat", MODEL, "--temp", "0", "-s", "5");
    expect_code(r, 0);
    expect_has(r.err, "there is no answer to replace yet");
    expect_has(r.err, "/regen");
    expect_has(r.err, "there is no command /nonsense");
    expect_has(r.err, "/save needs a FILE");
    expect_has(r.err, "saved ");
    expect_has(r.err, "the conversation is forgotten");
    expect_has(r.err, "going on after");
    expect_has(r.err, "nowhere");
    /* Four lines of answers: the name given, forgotten, known again, and again by /regen (greedy:
     * the same). */
    char *line[5];
    line[0] = r.out;
    for (int i = 1; i < 5; i++) {
        line[i] = strchr(line[i - 1], '\n');
        assert_non_null(line[i]);
        *line[i]++ = '\0';
    }
    assert_string_equal(line[4], "");
    assert_null(strstr(line[1], "Anna"));
    assert_string_equal(line[2], "Your name is Anna.");
    assert_string_equal(line[3], line[2]);
    ran_free(&r);
}

static void test_regen_is_another(void **state)
{
    (void)state;
    ran r = run("Tell me a story about a frog named Pip.\n/regen\n/stats\n", "chat", MODEL,
                "--temp", "1", "-n", "30", "-s", "5");
    expect_code(r, 0);
    char *second = strchr(r.out, '\n');
    assert_non_null(second);
    *second++ = '\0';
    second[strcspn(second, "\n")] = '\0';
    assert_string_not_equal(r.out, second);
    expect_has(r.err, "seed 6");
    ran_free(&r);
}

static void test_templates(void **state)
{
    (void)state;
    ran r = run("What is the capital of Japan?\n", "chat", MODEL, "--temp", "0", "--chat-template",
                "rwkv-world");
    expect_code(r, 0);
    expect_has(r.out, "Tokyo");
    ran_free(&r);
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path("template.txt"));
    write_file(path, "rwkv-world", 10);
    r = run("What is the capital of Japan?\n", "chat", MODEL, "--temp", "0", "--chat-template",
            path);
    expect_code(r, 0);
    expect_has(r.out, "Tokyo");
    ran_free(&r);
    write_file(path, "something new", 13);
    r = run("Hello\n", "chat", MODEL, "--chat-template", path);
    expect_code(r, 1);
    expect_has(r.err, "not of a known form");
    ran_free(&r);
    r = run("Hello\n", "chat", MODEL, "--chat-template", "no-such-format");
    expect_code(r, 2);
    expect_has(r.err, "chatml");
    ran_free(&r);
}

/* A system message and a limit; an answer that was cut short does not break the next one. */
static void test_limit(void **state)
{
    (void)state;
    ran r = run("Why is the sky blue?\nWhat is the capital of Japan?\n", "chat", MODEL, "--temp",
                "0", "-n", "12", "-sys", "Be short.");
    expect_code(r, 0);
    expect_has(r.out, "Tokyo");
    ran_free(&r);
    r = run("", "chat", MODEL);
    expect_code(r, 0);
    assert_string_equal(r.out, "");
    ran_free(&r);
}

static void test_terminal(void **state)
{
    (void)state;
    on_terminal t = terminal_run((const char *const[]){"chat", MODEL, "--temp", "0", NULL});
    size_t at = terminal_expect(&t, 0, "> ");
    /* Ctrl-C empties the line that is being typed, and the program goes on. */
    terminal_type(&t, "/quit");
    at = terminal_expect(&t, at, "/quit");
    terminal_type(&t, "\x03");
    /* Editing: a wrong letter is taken back. */
    terminal_type(&t, "What is the capital of Japanx\x7f?\r");
    at = terminal_expect(&t, at, "Tokyo");
    at = terminal_expect(&t, at, "> ");
    /* History: arrow up brings the question again. */
    terminal_type(&t, "\x1b[A\r");
    at = terminal_expect(&t, at, "Tokyo");
    at = terminal_expect(&t, at, "> ");
    terminal_type(&t, "\x04");
    assert_int_equal(terminal_end(&t), 0);
}

/* Ctrl-C ends the answer only. */
static void test_terminal_interrupt(void **state)
{
    (void)state;
    on_terminal t = terminal_run((const char *const[]){"chat", MODEL, "--temp", "0", "--ignore-eos",
                                                       "--chat-template", "chatml", NULL});
    size_t at = terminal_expect(&t, 0, "> ");
    terminal_type(&t, "Tell me a story.\r");
    /* Some words of the answer, behind the echo of the question. */
    at = terminal_expect(&t, at, "story.");
    terminal_expect_more(&t, 60);
    terminal_type(&t, "\x03");
    at = terminal_expect(&t, at, "(stopped)");
    at = terminal_expect(&t, at - 1, "> ");
    terminal_type(&t, "/stats\r");
    at = terminal_expect(&t, at, "1 answers");
    terminal_type(&t, "/quit\r");
    assert_int_equal(terminal_end(&t), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversation), cmocka_unit_test(test_same_as_run),
        cmocka_unit_test(test_commands),     cmocka_unit_test(test_regen_is_another),
        cmocka_unit_test(test_templates),    cmocka_unit_test(test_limit),
        cmocka_unit_test(test_terminal),     cmocka_unit_test(test_terminal_interrupt),
    };
    return cmocka_run_group_tests_name("cli_chat", tests, NULL, NULL);
}
