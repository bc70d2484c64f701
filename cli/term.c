/* term.c: see term.h.  The interrupt state is process-wide and written by the signal handler; all
 * else has no state. */
#if defined(__APPLE__)
#define _DARWIN_C_SOURCE
#else
#define _POSIX_C_SOURCE 200809L
#endif

#include "term.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "options.h"
#include "text.h"

/* Lock-free atomics are what a signal handler may touch. */
static _Atomic(hy_session *) cancelled_session;
static atomic_int interrupts;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    if (atomic_fetch_add(&interrupts, 1) >= 2) {
        _exit(CLI_INTERRUPTED); /* asked three times: something takes too long */
    }
    hy_session *s = atomic_load(&cancelled_session);
    if (s) {
        hy_session_cancel(s);
    }
}

void term_start(void)
{
    /* Otherwise the next file that is opened would be a standard stream, and get its lines. */
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) {
            _exit(CLI_FAILURE);
        }
    }
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL); /* beyond ulimit -f: an error like a full disk */
    action.sa_handler = on_interrupt;
    sigaction(SIGINT, &action, NULL); /* without SA_RESTART: a blocked read returns */
}

void term_cancel_on_interrupt(hy_session *s)
{
    atomic_store(&cancelled_session, s);
}

bool term_interrupted(void)
{
    return atomic_load(&interrupts) > 0;
}

void term_clear_interrupt(void)
{
    atomic_store(&interrupts, 0);
}

long term_read_input(void *buf, size_t cap)
{
    /* An interrupt between looking and waiting would be lost, so it may come only while waiting. */
    sigset_t interrupt, before;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_BLOCK, &interrupt, &before);
    long n = -1;
    int code = EINTR;
    if (!term_interrupted()) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(STDIN_FILENO, &set);
        if (pselect(STDIN_FILENO + 1, &set, NULL, NULL, NULL, &before) == 1) {
            n = (long)read(STDIN_FILENO, buf, cap);
        }
        code = errno;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = code;
    return n;
}

bool term_is_tty(FILE *f)
{
    const int fd = fileno(f);
    return fd >= 0 && isatty(fd) == 1;
}

uint64_t term_now_ns(void)
{
    struct timespec t = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t term_cpu_ns(void)
{
    struct timespec t = {0, 0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void term_utc(char *buf, size_t cap)
{
    const time_t now = time(NULL);
    struct tm parts;
    if (!gmtime_r(&now, &parts) || strftime(buf, cap, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) {
        snprintf(buf, cap, "%s", "");
    }
}

uint32_t term_random(void)
{
    uint32_t value = 0;
    FILE *f = fopen("/dev/urandom", "rb");
    const bool ok = f && fread(&value, sizeof value, 1, f) == 1;
    if (f) {
        fclose(f);
    }
    if (!ok) {
        const uint64_t mixed = (term_now_ns() ^ (uint64_t)getpid() << 32 ^ (uint64_t)time(NULL))
                               * UINT64_C(0x9E3779B97F4A7C15);
        value = (uint32_t)(mixed >> 32);
    }
    return value;
}

void term_cpu_name(char *buf, size_t cap)
{
    snprintf(buf, cap, "%s", "");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f) {
        return;
    }
    char line[256];
    while (fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon) {
            colon += 1 + strspn(colon + 1, " \t");
            snprintf(buf, cap, "%.*s", (int)strcspn(colon, "\n"), colon);
            break;
        }
    }
    fclose(f);
}

uint64_t term_peak_bytes(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return 0;
    }
#if defined(__APPLE__)
    return (uint64_t)usage.ru_maxrss;
#else
    return (uint64_t)usage.ru_maxrss * 1024;
#endif
}

uint64_t term_cache_bytes(void)
{
    long best = 0;
#if defined(_SC_LEVEL3_CACHE_SIZE)
    const int names[] = {_SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL4_CACHE_SIZE};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const long n = sysconf(names[i]);
        best = n > best ? n : best;
    }
#endif
    return (uint64_t)best;
}

uint64_t term_memory_bytes(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

bool term_same_file(const char *a, const char *b)
{
    struct stat sa;
    struct stat sb;
    return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev
           && sa.st_ino == sb.st_ino;
}

bool term_readable(const char *path)
{
    return access(path, R_OK) == 0;
}

const char *term_why_no_file(const char *path)
{
    char folder[4096];
    struct stat old;
    const char *slash = strrchr(path, '/');
    const size_t len = slash ? (size_t)(slash - path) + 1 : 0;
    if (!*path || len >= sizeof folder) {
        return strerror(*path ? ENAMETOOLONG : ENOENT);
    }
    if (stat(path, &old) == 0 && !S_ISREG(old.st_mode)) {
        return "there is something of this name that is not a regular file";
    }
    memcpy(folder, path, len);
    folder[len] = '\0';
    return access(len ? folder : ".", W_OK | X_OK) == 0 ? NULL : strerror(errno);
}

bool term_program_folder(char *buf, size_t cap)
{
    const ssize_t n = cap > 1 ? readlink("/proc/self/exe", buf, cap - 1) : -1;
    if (n <= 0 || (size_t)n >= cap - 1) {
        return false;
    }
    buf[n] = '\0';
    char *slash = strrchr(buf, '/');
    if (!slash) {
        return false;
    }
    slash[1] = '\0';
    return true;
}

typedef struct worker {
    pthread_t thread;
    void (*work)(void *arg, uint32_t i);
    void *arg;
    uint32_t i;
} worker;

static void *worker_main(void *arg)
{
    const worker *w = arg;
    w->work(w->arg, w->i);
    return NULL;
}

bool term_parallel(uint32_t n, void (*work)(void *arg, uint32_t i), void *arg)
{
    worker *workers = calloc(n ? n : 1, sizeof *workers);
    if (!workers) {
        return false;
    }
    uint32_t started = 1;
    for (; started < n; started++) {
        worker *w = &workers[started];
        w->work = work;
        w->arg = arg;
        w->i = started;
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
            break;
        }
    }
    work(arg, 0);
    for (uint32_t i = 1; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    free(workers);
    return started >= n;
}

void progress_start(progress *p, const char *title)
{
    const char *terminal = getenv("TERM");
    *p = (progress){.title = title, .start_ns = term_now_ns()};
    p->shown = term_is_tty(stderr) && terminal && strcmp(terminal, "dumb") != 0;
}

bool progress_update(void *user, uint64_t done, uint64_t total)
{
    enum { PATIENCE = 500 * 1000 * 1000, PAUSE = 100 * 1000 * 1000 };
    progress *p = user;
    const uint64_t now = term_now_ns();
    if (p->shown && now - p->start_ns >= PATIENCE && now - p->drawn_ns >= PAUSE) {
        char bar[160];
        text_progress(bar, sizeof bar, p->title, done, total, now - p->start_ns);
        fprintf(stderr, "\r%s\033[K", bar);
        fflush(stderr);
        p->drawn = true;
        p->drawn_ns = now;
    }
    return !term_interrupted();
}

void progress_end(progress *p)
{
    if (p->drawn) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
    }
    p->shown = p->drawn = false;
}
