/* support.c: what the test programs share.
 *
 * The paths returned are static memory of this file; the temporary folder is removed when the
 * process that made it exits.  failing_env belongs to the caller and must not move while the
 * library holds it.  Everything here may be called from any thread, except the assertions: cmocka
 * jumps back to its runner, so only the test's own thread may fail. */
#define _XOPEN_SOURCE 700

#include "support.h"

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

/* ---- paths */

#define PATH_BUFFERS 16
#define PATH_BYTES 4096

static pthread_mutex_t path_lock = PTHREAD_MUTEX_INITIALIZER;

/* "folder/rel" in the next of the rotating buffers. */
static const char *join_path(const char *folder, const char *rel)
{
    static char buffers[PATH_BUFFERS][PATH_BYTES];
    static unsigned next;
    pthread_mutex_lock(&path_lock);
    char *buf = buffers[next++ % PATH_BUFFERS];
    pthread_mutex_unlock(&path_lock);
    const int n = snprintf(buf, PATH_BYTES, "%s/%s", folder, rel);
    if (n < 0 || n >= PATH_BYTES) {
        fprintf(stderr, "%s/%s: the path is too long for the tests\n", folder, rel);
        exit(1);
    }
    return buf;
}

const char *source_path(const char *rel)
{
    return join_path(HY_TEST_SOURCE_DIR, rel);
}

const char *shared_path(const char *rel)
{
    const char *folder = getenv("HALYARD_SHARED");
    const char *path = join_path(folder && *folder ? folder : HY_TEST_SOURCE_DIR "/../shared", rel);
    if (access(path, R_OK) != 0) {
        print_message("skipped: %s is not there\n", path);
        return NULL;
    }
    return path;
}

/* ---- temporary files */

static char temp_folder[PATH_BYTES];
static pid_t temp_owner;
static pthread_once_t temp_once = PTHREAD_ONCE_INIT;

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *place)
{
    (void)st;
    (void)kind;
    (void)place;
    return remove(path);
}

static void remove_temp_folder(void)
{
    if (getpid() == temp_owner) { /* a forked child leaves its parent's files alone */
        (void)nftw(temp_folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    }
}

static void make_temp_folder(void)
{
    const char *parent = getenv("TMPDIR");
    const int n = snprintf(temp_folder, sizeof temp_folder, "%s/halyard-test-XXXXXX",
                           parent && *parent ? parent : "/tmp");
    if (n < 0 || (size_t)n >= sizeof temp_folder || !mkdtemp(temp_folder)) {
        fprintf(stderr, "%s: cannot make a temporary folder: %s\n", temp_folder, strerror(errno));
        exit(1);
    }
    temp_owner = getpid();
    atexit(remove_temp_folder);
}

const char *temp_path(const char *name)
{
    pthread_once(&temp_once, make_temp_folder);
    return join_path(temp_folder, name);
}

unsigned test_stride(void)
{
    const char *const named = getenv("HALYARD_TEST_STRIDE");
    const unsigned long n = named ? strtoul(named, NULL, 10) : 1;
    return n >= 1 && n < 1000 ? (unsigned)n : 1;
}

/* ---- whole files */

char *read_file(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        fail_msg("%s: cannot open: %s", path, strerror(errno));
        return NULL;
    }
    char *data = NULL;
    size_t n = 0, cap = 0;
    for (;;) {
        if (cap - n < 2) {
            cap = cap ? 2 * cap : 65536;
            char *grown = realloc(data, cap);
            if (!grown) {
                free(data);
                fclose(f);
                fail_msg("%s: out of memory", path);
                return NULL;
            }
            data = grown;
        }
        const size_t got = fread(data + n, 1, cap - n - 1, f);
        if (got == 0) {
            break;
        }
        n += got;
    }
    const bool bad = ferror(f) != 0;
    fclose(f);
    if (bad) {
        free(data);
        fail_msg("%s: cannot read", path);
        return NULL;
    }
    data[n] = '\0';
    if (len) {
        *len = n;
    }
    return data;
}

void write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    if (!f) {
        fail_msg("%s: cannot create: %s", path, strerror(errno));
        return;
    }
    const bool written = len == 0 || fwrite(data, 1, len, f) == len;
    const bool closed = fclose(f) == 0;
    if (!written || !closed) {
        fail_msg("%s: cannot write %zu bytes", path, len);
    }
}

/* ---- assertions */

void assert_ok_at(hy_status status, const hy_error *err, const char *file, int line)
{
    if (status != HY_OK) {
        print_error("%s: %s\n", hy_status_name(status),
                    err && err->code == status ? err->text : "(no sentence)");
        _fail(file, line);
    }
}

void assert_fails_at(hy_status status, hy_status code, const hy_error *err, const char *text,
                     const char *file, int line)
{
    if (status != code) {
        print_error("got %s (%s), expected %s\n", hy_status_name(status),
                    status != HY_OK && err ? err->text : "-", hy_status_name(code));
        _fail(file, line);
    }
    if (!err) {
        return;
    }
    if (err->code != code) {
        print_error("the status is %s but the error says %s\n", hy_status_name(status),
                    hy_status_name(err->code));
        _fail(file, line);
    }
    if (!memchr(err->text, '\0', sizeof err->text) || err->text[0] == '\0' ||
        strchr(err->text, '\n')) {
        print_error("the error has no sentence of one line\n");
        _fail(file, line);
    }
    if (text && !strstr(err->text, text)) {
        print_error("the sentence \"%s\" does not contain \"%s\"\n", err->text, text);
        _fail(file, line);
    }
}

/* ---- failing environment */

/* In front of every block, so that its size is known when it is freed; as aligned as malloc's
 * result. */
typedef union block_head {
    size_t bytes;
    max_align_t align;
} block_head;

static pthread_mutex_t count_lock = PTHREAD_MUTEX_INITIALIZER;

/* Counts one call that may fail; true if this is the one that has to. */
static bool must_fail(failing_env *f)
{
    pthread_mutex_lock(&count_lock);
    f->calls++;
    const bool now = f->calls == f->fail_at;
    f->failed += now;
    pthread_mutex_unlock(&count_lock);
    return now;
}

static hy_status injected(failing_env *f, hy_error *err, hy_status code, const char *what)
{
    return hy__fail(err, code, "injected failure of call %llu: %s", (unsigned long long)f->fail_at,
                    what);
}

static void count_block(failing_env *f, size_t freed, size_t added, int blocks)
{
    pthread_mutex_lock(&count_lock);
    f->live_bytes = f->live_bytes - freed + added;
    f->live_blocks += (size_t)blocks; /* -1 wraps around, as intended */
    if (f->live_bytes > f->peak_bytes) {
        f->peak_bytes = f->live_bytes;
    }
    pthread_mutex_unlock(&count_lock);
}

static void *count_realloc(void *user, void *ptr, size_t bytes)
{
    failing_env *f = user;
    if (bytes == 0) {
        fprintf(stderr, "an environment was asked for 0 bytes\n");
        abort();
    }
    if (must_fail(f) || bytes > SIZE_MAX - sizeof(block_head)) {
        return NULL;
    }
    block_head *old = ptr ? (block_head *)ptr - 1 : NULL;
    const size_t old_bytes = old ? old->bytes : 0;
    block_head *head = f->os.mem_realloc(f->os.user, old, sizeof *head + bytes);
    if (!head) {
        return NULL;
    }
    head->bytes = bytes;
    count_block(f, old_bytes, bytes, old ? 0 : 1);
    return head + 1;
}

static void *count_alloc(void *user, size_t bytes)
{
    return count_realloc(user, NULL, bytes);
}

static void count_free(void *user, void *ptr)
{
    failing_env *f = user;
    if (!ptr) {
        return;
    }
    block_head *head = (block_head *)ptr - 1;
    count_block(f, head->bytes, 0, -1);
    f->os.mem_free(f->os.user, head);
}

static hy_status count_open(void *user, const char *path, hy_file_mode mode, void **file,
                            uint64_t *file_bytes, hy_error *err)
{
    failing_env *f = user;
    if (must_fail(f)) {
        *file = NULL;
        *file_bytes = 0;
        return injected(f, err, HY_E_IO, "open");
    }
    return f->os.file_open(f->os.user, path, mode, file, file_bytes, err);
}

static hy_status count_read(void *user, void *file, uint64_t offset, void *buf, size_t bytes,
                            hy_error *err)
{
    failing_env *f = user;
    if (must_fail(f)) {
        return injected(f, err, HY_E_IO, "read");
    }
    return f->os.file_read(f->os.user, file, offset, buf, bytes, err);
}

static hy_status count_write(void *user, void *file, const void *buf, size_t bytes, hy_error *err)
{
    failing_env *f = user;
    if (must_fail(f)) {
        return injected(f, err, HY_E_IO, "write");
    }
    return f->os.file_write(f->os.user, file, buf, bytes, err);
}

static hy_status count_close(void *user, void *file, hy_error *err)
{
    failing_env *f = user;
    /* A close that reports an error has closed the file all the same. */
    const hy_status status = f->os.file_close(f->os.user, file, err);
    if (must_fail(f)) {
        return injected(f, err, HY_E_IO, "close");
    }
    return status;
}

static hy_status count_map(void *user, void *file, uint64_t file_bytes, const void **data,
                           hy_error *err)
{
    failing_env *f = user;
    if (must_fail(f)) {
        *data = NULL;
        return injected(f, err, HY_E_IO, "map");
    }
    return f->os.file_map(f->os.user, file, file_bytes, data, err);
}

static void count_unmap(void *user, const void *data, uint64_t file_bytes)
{
    failing_env *f = user;
    f->os.file_unmap(f->os.user, data, file_bytes);
}

static hy_status count_rename(void *user, const char *from, const char *to, hy_error *err)
{
    failing_env *f = user;
    if (must_fail(f)) {
        return injected(f, err, HY_E_IO, "rename");
    }
    return f->os.file_rename(f->os.user, from, to, err);
}

static void count_remove(void *user, const char *path)
{
    failing_env *f = user;
    f->os.file_remove(f->os.user, path);
}

static uint64_t count_clock(void *user)
{
    failing_env *f = user;
    return f->os.clock_ns(f->os.user);
}

static hy_status count_thread_start(void *user, void (*run)(void *arg), void *arg, void **thread,
                                    hy_error *err)
{
    failing_env *f = user;
    if (must_fail(f)) {
        *thread = NULL;
        return injected(f, err, HY_E_THREAD, "thread start");
    }
    return f->os.thread_start(f->os.user, run, arg, thread, err);
}

static void count_thread_join(void *user, void *thread)
{
    failing_env *f = user;
    f->os.thread_join(f->os.user, thread);
}

void failing_env_init(failing_env *f, uint64_t fail_at)
{
    memset(f, 0, sizeof *f);
    hy__os_env(&f->os);
    f->fail_at = fail_at;
    f->env = (hy_env){
        .size = sizeof f->env,
        .user = f,
        .mem_alloc = count_alloc,
        .mem_realloc = count_realloc,
        .mem_free = count_free,
        .file_open = count_open,
        .file_read = count_read,
        .file_write = count_write,
        .file_close = count_close,
        .file_map = count_map,
        .file_unmap = count_unmap,
        .file_rename = count_rename,
        .file_remove = count_remove,
        .clock_ns = count_clock,
        .thread_start = count_thread_start,
        .thread_join = count_thread_join,
    };
}

void step_all(hy_session *s)
{
    hy_step step;
    hy_error err;
    do {
        assert_ok(hy_session_step(s, &step, &err), &err);
    } while (step.pending > 0);
}
