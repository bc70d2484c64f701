/* run_program.c: see run_program.h.  Standard input and outputs are files, so that no pipe can fill
 * up. */
#define _XOPEN_SOURCE 700

#include "cli/run_program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { MAX_ARGS = 62 };

static void build_argv(const char *const *args, char **argv)
{
    static char program[] = HALYARD_PROGRAM;
    size_t n = 0;
    argv[n++] = program;
    while (args[n - 1]) {
        assert_true(n < MAX_ARGS);
        argv[n] = (char *)(uintptr_t)args[n - 1]; /* execv does not write to them */
        n++;
    }
    argv[n] = NULL;
}

static int exit_code(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* In the child: file descriptor `to` becomes the file at path. */
static void redirect(const char *path, int flags, int to)
{
    const int fd = open(path, flags, 0600);
    if (fd < 0 || dup2(fd, to) < 0) {
        _exit(126);
    }
    if (fd != to) {
        close(fd);
    }
}

ran run_program(const char *input, const char *const *args)
{
    char in[512];
    char out[512];
    char err[512];
    char *argv[MAX_ARGS + 2];
    snprintf(in, sizeof in, "%s", input ? temp_path("stdin") : "/dev/null");
    snprintf(out, sizeof out, "%s", temp_path("stdout"));
    snprintf(err, sizeof err, "%s", temp_path("stderr"));
    if (input) {
        write_file(in, input, strlen(input));
    }
    build_argv(args, argv);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        redirect(in, O_RDONLY, 0);
        redirect(out, O_WRONLY | O_CREAT | O_TRUNC, 1);
        redirect(err, O_WRONLY | O_CREAT | O_TRUNC, 2);
        unsetenv("HALYARD_WEBGPU"); /* the library that a developer uses is not asked for here */
        execv(argv[0], argv);
        _exit(127);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        assert_int_equal(errno, EINTR);
    }
    ran r;
    r.code = exit_code(status);
    r.out = read_file(out, &r.out_len);
    r.err = read_file(err, NULL);
    return r;
}

void ran_free(ran *r)
{
    free(r->out);
    free(r->err);
    memset(r, 0, sizeof *r);
}

void expect_code_at(const ran *r, int code, const char *file, int line)
{
    if (r->code != code) {
        print_error("exit code %d, expected %d\nstdout: %s\nstderr: %s\n", r->code, code, r->out,
                    r->err);
        _fail(file, line);
    }
}

void expect_has_at(const char *text, const char *part, const char *file, int line)
{
    if (!strstr(text, part)) {
        print_error("\"%s\" is not in: %s\n", part, text);
        _fail(file, line);
    }
}

json_t *ran_json(const ran *r)
{
    json_error_t why;
    json_t *root = json_loadb(r->out, r->out_len, 0, &why);
    if (!root) {
        fail_msg("no JSON (%s): %s", why.text, r->out);
    }
    return root;
}

/* ---- pseudo-terminal */

on_terminal terminal_run(const char *const *args)
{
    on_terminal t;
    memset(&t, 0, sizeof t);
    char *argv[MAX_ARGS + 2];
    build_argv(args, argv);
    t.fd = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(t.fd >= 0);
    assert_int_equal(grantpt(t.fd), 0);
    assert_int_equal(unlockpt(t.fd), 0);
    const char *name = ptsname(t.fd);
    assert_non_null(name);
    char slave[256];
    snprintf(slave, sizeof slave, "%s", name);
    t.seen = calloc(1, 1);
    assert_non_null(t.seen);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setsid(); /* the terminal opened next becomes the controlling one: Ctrl-C reaches this
                     process */
        redirect(slave, O_RDWR, 0);
#if defined(TIOCSCTTY)
        ioctl(0, TIOCSCTTY, 0);
#endif
        if (dup2(0, 1) < 0 || dup2(0, 2) < 0) {
            _exit(126);
        }
        close(t.fd);
        setenv("TERM", "xterm", 1);
        unsetenv("HALYARD_WEBGPU"); /* the library that a developer uses is not asked for here */
        execv(argv[0], argv);
        _exit(127);
    }
    t.pid = (long)pid;
    return t;
}

void terminal_type(on_terminal *t, const char *keys)
{
    const size_t n = strlen(keys);
    assert_int_equal(write(t->fd, keys, n), (ssize_t)n);
}

/* Reads what there is within `ms`; false at the end of the program. */
static bool terminal_read(on_terminal *t, int ms)
{
    struct pollfd p = {.fd = t->fd, .events = POLLIN};
    const int ready = poll(&p, 1, ms);
    if (ready <= 0) {
        return true;
    }
    char buf[4096];
    const ssize_t n = read(t->fd, buf, sizeof buf);
    if (n <= 0) {
        return n < 0 && errno == EINTR;
    }
    char *more = realloc(t->seen, t->len + (size_t)n + 1);
    assert_non_null(more);
    t->seen = more;
    for (ssize_t i = 0; i < n; i++) {
        t->seen[t->len++] = buf[i] ? buf[i] : '?';
    }
    t->seen[t->len] = '\0';
    return true;
}

size_t terminal_expect(on_terminal *t, size_t from, const char *text)
{
    const time_t give_up = time(NULL) + 60;
    while (!strstr(t->seen + from, text)) {
        if (!terminal_read(t, 100) || time(NULL) > give_up) {
            kill((pid_t)t->pid, SIGKILL);
            fail_msg("\"%s\" was not printed; seen: %s", text, t->seen);
        }
    }
    return t->len;
}

void terminal_expect_more(on_terminal *t, size_t n)
{
    const size_t enough = t->len + n;
    const time_t give_up = time(NULL) + 60;
    while (t->len < enough) {
        if (!terminal_read(t, 100) || time(NULL) > give_up) {
            kill((pid_t)t->pid, SIGKILL);
            fail_msg("nothing more was printed; seen: %s", t->seen);
        }
    }
}

int terminal_end(on_terminal *t)
{
    const time_t give_up = time(NULL) + 60;
    while (terminal_read(t, 100)) {
        if (time(NULL) > give_up) {
            kill((pid_t)t->pid, SIGKILL);
            fail_msg("the program did not end; seen: %s", t->seen);
        }
    }
    int status = 0;
    while (waitpid((pid_t)t->pid, &status, 0) < 0) {
        assert_int_equal(errno, EINTR);
    }
    close(t->fd);
    free(t->seen);
    t->seen = NULL;
    return exit_code(status);
}
