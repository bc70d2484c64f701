/* os_posix.c: memory, files, clock, threads and processor count of POSIX systems.  The only file of
 * the library that includes their headers. Callable from any thread. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error                                                                                             \
    "Halyard reads GGUF tensors in place and supports little-endian machines only; this one is big-endian."
#endif

#if defined(__linux__)
#define _GNU_SOURCE /* sched_getaffinity */
#else
#define _POSIX_C_SOURCE 200809L
#define _DARWIN_C_SOURCE /* the number of processors */
#endif
#define _FILE_OFFSET_BITS 64

#include "os.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

/* ---- memory */

static void *os_alloc(void *user, size_t bytes)
{
    (void)user;
    return malloc(bytes);
}

static void *os_realloc(void *user, void *ptr, size_t bytes)
{
    (void)user;
    return realloc(ptr, bytes);
}

static void os_free(void *user, void *ptr)
{
    (void)user;
    free(ptr);
}

/* ---- files: the handle is the descriptor, plus one so that it is never NULL */

static int fd_of(void *file)
{
    return (int)(intptr_t)file - 1;
}

static const char *errno_text(int code, char *buf, size_t cap)
{
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
    return strerror_r(code, buf, cap);
#else
    return strerror_r(code, buf, cap) == 0 ? buf : "unknown error";
#endif
}

static hy_status io_error(hy_error *err, const char *what, const char *path)
{
    const int code = errno;
    char buf[128];
    const hy_status status = code == ENOMEM ? HY_E_NOMEM : HY_E_IO;
    return hy__fail(err, status, "%s%s%s: %s", what, path ? " " : "", path ? path : "",
                    errno_text(code, buf, sizeof buf));
}

static hy_status os_open(void *user, const char *path, hy_file_mode mode, void **file,
                         uint64_t *file_bytes, hy_error *err)
{
    (void)user;
    *file = NULL;
    *file_bytes = 0;
    /* Not blocking: opening a pipe must not hang; it is refused below. */
    const int fd = mode == HY_FILE_READ
                       ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
                       : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return io_error(err, "cannot open", path);
    }
    if (mode == HY_FILE_READ) {
        struct stat st;
        if (fstat(fd, &st) != 0) {
            const hy_status status = io_error(err, "cannot stat", path);
            close(fd);
            return status;
        }
        if (!S_ISREG(st.st_mode)) {
            close(fd);
            return hy__fail(err, HY_E_IO, "%s is not a regular file", path);
        }
        *file_bytes = (uint64_t)st.st_size;
    }
    *file = (void *)((intptr_t)fd + 1);
    return HY_OK;
}

static hy_status os_read(void *user, void *file, uint64_t offset, void *buf, size_t bytes,
                         hy_error *err)
{
    (void)user;
    char *p = buf;
    while (bytes > 0) {
        const size_t piece = HY_MIN(bytes, (size_t)1 << 30);
        const ssize_t got = pread(fd_of(file), p, piece, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return io_error(err, "cannot read", NULL);
        }
        if (got == 0) {
            return hy__fail(err, HY_E_TRUNCATED,
                            "the file ends at offset %llu, %zu bytes too early",
                            (unsigned long long)offset, bytes);
        }
        p += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return HY_OK;
}

static hy_status os_write(void *user, void *file, const void *buf, size_t bytes, hy_error *err)
{
    (void)user;
    const char *p = buf;
    while (bytes > 0) {
        const ssize_t put = write(fd_of(file), p, HY_MIN(bytes, (size_t)1 << 30));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return io_error(err, "cannot write", NULL);
        }
        p += put;
        bytes -= (size_t)put;
    }
    return HY_OK;
}

static hy_status os_close(void *user, void *file, hy_error *err)
{
    (void)user;
    if (close(fd_of(file)) != 0 && errno != EINTR) {
        return io_error(err, "cannot finish writing", NULL);
    }
    return HY_OK;
}

static hy_status os_map(void *user, void *file, uint64_t file_bytes, const void **data,
                        hy_error *err)
{
    (void)user;
    *data = NULL;
    if (file_bytes == 0 || file_bytes > (uint64_t)PTRDIFF_MAX) {
        return hy__fail(err, HY_E_UNSUPPORTED, "%llu bytes cannot be mapped",
                        (unsigned long long)file_bytes);
    }
    void *p = mmap(NULL, (size_t)file_bytes, PROT_READ, MAP_PRIVATE, fd_of(file), 0);
    if (p == MAP_FAILED && errno == ENODEV) {
        return hy__fail(err, HY_E_UNSUPPORTED, "this file system cannot map files");
    }
    if (p == MAP_FAILED) {
        return io_error(err, "cannot map the file", NULL);
    }
    *data = p;
    return HY_OK;
}

static void os_unmap(void *user, const void *data, uint64_t file_bytes)
{
    (void)user;
    munmap((void *)(uintptr_t)data, (size_t)file_bytes);
}

/* ---- hints */

/* The whole pages inside [p, p + bytes). */
static void advise(const void *p, size_t bytes, int advice)
{
    const long asked = sysconf(_SC_PAGESIZE);
    const uintptr_t page = asked > 0 ? (uintptr_t)asked : 4096;
    uintptr_t begin = (uintptr_t)p, end = begin + bytes;
    begin = (begin + page - 1) / page * page;
    end = end / page * page;
    if (begin < end) {
        (void)madvise((void *)begin, end - begin, advice);
    }
}

void hy__advise_huge(void *p, size_t bytes)
{
#if defined(MADV_HUGEPAGE)
    advise(p, bytes, MADV_HUGEPAGE);
#else
    (void)p;
    (void)bytes;
#endif
}

void hy__advise_drop(const void *p, size_t bytes)
{
    advise(p, bytes, MADV_DONTNEED);
}

static hy_status os_rename(void *user, const char *from, const char *to, hy_error *err)
{
    (void)user;
    struct stat old;
    /* A name that leads to a device or a folder is never replaced: /dev/null would become a file.
     */
    if (stat(to, &old) == 0 && !S_ISREG(old.st_mode)) {
        return hy__fail(err, HY_E_IO, "%s is not a regular file and stays as it is", to);
    }
    return rename(from, to) == 0 ? HY_OK : io_error(err, "cannot rename to", to);
}

static void os_remove(void *user, const char *path)
{
    (void)user;
    (void)unlink(path);
}

/* ---- folders */

enum { MOST_PATH = 4096 };

bool hy__folder_make(const char *path)
{
    char part[MOST_PATH];
    struct stat st;
    const size_t len = strlen(path);
    if (len == 0 || len >= sizeof part) {
        return false;
    }
    for (size_t i = 1; i <= len; i++) {
        if (path[i] == '/' || i == len) {
            memcpy(part, path, i);
            part[i] = '\0';
            (void)mkdir(part, 0700); /* whether it is there is asked below */
        }
    }
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

typedef struct old_file {
    char *name;
    uint64_t bytes;
    struct timespec time; /* of its last change */
} old_file;

typedef struct old_files {
    old_file *files;
    size_t n, cap;
    uint64_t bytes;
} old_files;

static int by_age(const void *a, const void *b)
{
    const struct timespec *x = &((const old_file *)a)->time, *y = &((const old_file *)b)->time;
    const bool same = x->tv_sec == y->tv_sec;
    return same ? (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec)
                : (x->tv_sec > y->tv_sec) - (x->tv_sec < y->tv_sec);
}

/* False: no memory. */
static bool add_file(const hy_env *env, old_files *all, const char *name, const struct stat *st)
{
    if (all->n == all->cap) {
        const size_t cap = 2 * all->cap + 64;
        old_file *more = hy__realloc(env, all->files, cap, sizeof *more, NULL);
        if (!more) {
            return false;
        }
        all->files = more;
        all->cap = cap;
    }
    old_file *f = &all->files[all->n];
    f->name = hy__strndup(env, name, strlen(name), NULL);
    f->bytes = (uint64_t)st->st_size;
#if defined(__APPLE__)
    f->time = st->st_mtimespec;
#else
    f->time = st->st_mtim;
#endif
    all->n += f->name != NULL;
    all->bytes += f->bytes;
    return f->name != NULL;
}

void hy__folder_trim(const hy_env *env, const char *path, const char *prefix, uint64_t most)
{
    DIR *folder = opendir(path);
    old_files all = {0};
    const struct dirent *entry;
    bool room = true;
    while (folder && room && (entry = readdir(folder)) != NULL) {
        struct stat st;
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
            fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode)) {
            room = add_file(env, &all, entry->d_name, &st);
        }
    }
    if (all.bytes > most) {
        qsort(all.files, all.n, sizeof *all.files, by_age);
    }
    for (size_t i = 0; i < all.n; i++) {
        if (all.bytes > most && unlinkat(dirfd(folder), all.files[i].name, 0) == 0) {
            all.bytes -= all.files[i].bytes;
        }
        hy__free(env, all.files[i].name);
    }
    hy__free(env, all.files);
    if (folder) {
        closedir(folder);
    }
}

/* ---- clock */

static uint64_t os_clock(void *user)
{
    (void)user;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- threads */

typedef struct os_thread {
    pthread_t id;
    void (*run)(void *arg);
    void *arg;
} os_thread;

static void *thread_main(void *arg)
{
    const os_thread *t = arg;
    t->run(t->arg);
    return NULL;
}

static hy_status os_thread_start(void *user, void (*run)(void *arg), void *arg, void **thread,
                                 hy_error *err)
{
    (void)user;
    *thread = NULL;
    os_thread *t = malloc(sizeof *t);
    if (!t) {
        return hy__fail(err, HY_E_NOMEM, "out of memory: a thread's record");
    }
    t->run = run;
    t->arg = arg;
    const int code = pthread_create(&t->id, NULL, thread_main, t);
    if (code != 0) {
        char buf[128];
        free(t);
        return hy__fail(err, HY_E_THREAD, "cannot start a thread: %s",
                        errno_text(code, buf, sizeof buf));
    }
    *thread = t;
    return HY_OK;
}

static void os_thread_join(void *user, void *thread)
{
    (void)user;
    os_thread *t = thread;
    pthread_join(t->id, NULL);
    free(t);
}

struct hy__gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned posts;
};

hy__gate *hy__gate_create(const hy_env *env, hy_error *err)
{
    hy__gate *g = hy__calloc(env, 1, sizeof *g, err);
    if (g && pthread_mutex_init(&g->mutex, NULL) != 0) {
        hy__fail(err, HY_E_NOMEM, "out of memory: a mutex");
        hy__free(env, g);
        return NULL;
    }
    if (g && pthread_cond_init(&g->changed, NULL) != 0) {
        hy__fail(err, HY_E_NOMEM, "out of memory: a condition variable");
        pthread_mutex_destroy(&g->mutex);
        hy__free(env, g);
        return NULL;
    }
    return g;
}

void hy__gate_destroy(const hy_env *env, hy__gate *g)
{
    if (g) {
        pthread_cond_destroy(&g->changed);
        pthread_mutex_destroy(&g->mutex);
        hy__free(env, g);
    }
}

unsigned hy__gate_ticket(hy__gate *g)
{
    pthread_mutex_lock(&g->mutex);
    const unsigned ticket = g->posts;
    pthread_mutex_unlock(&g->mutex);
    return ticket;
}

void hy__gate_wait(hy__gate *g, unsigned ticket)
{
    pthread_mutex_lock(&g->mutex);
    while (g->posts == ticket) {
        pthread_cond_wait(&g->changed, &g->mutex);
    }
    pthread_mutex_unlock(&g->mutex);
}

void hy__gate_post(hy__gate *g)
{
    pthread_mutex_lock(&g->mutex);
    g->posts++;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->mutex);
}

struct hy__lock {
    pthread_mutex_t mutex;
};

hy__lock *hy__lock_create(const hy_env *env, hy_error *err)
{
    hy__lock *l = hy__calloc(env, 1, sizeof *l, err);
    if (l && pthread_mutex_init(&l->mutex, NULL) != 0) {
        hy__fail(err, HY_E_NOMEM, "out of memory: a mutex");
        hy__free(env, l);
        return NULL;
    }
    return l;
}

void hy__lock_destroy(const hy_env *env, hy__lock *l)
{
    if (l) {
        pthread_mutex_destroy(&l->mutex);
        hy__free(env, l);
    }
}

void hy__lock_take(hy__lock *l)
{
    pthread_mutex_lock(&l->mutex);
}

void hy__lock_leave(hy__lock *l)
{
    pthread_mutex_unlock(&l->mutex);
}

/* ---- machine */

#if defined(__aarch64__) && defined(__linux__)

uint32_t hy__os_cpu_features(void)
{
    /* Bits of HWCAP and HWCAP2: older headers lack some of their names. */
    const unsigned long half = 1ul << 10, dot = 1ul << 20, i8mm = 1ul << 13;
    const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
    uint32_t features = 0;
    features |= (first & half) && (first & dot) ? HY__CPU_DOTPROD : 0;
    features |= second & i8mm ? HY__CPU_I8MM : 0;
    return features;
}

#elif defined(__aarch64__) && defined(__APPLE__)

static bool has(const char *name)
{
    int value = 0;
    size_t bytes = sizeof value;
    return sysctlbyname(name, &value, &bytes, NULL, 0) == 0 && value != 0;
}

uint32_t hy__os_cpu_features(void)
{
    uint32_t features = 0;
    features |= has("hw.optional.arm.FEAT_FP16") && has("hw.optional.arm.FEAT_DotProd")
                    ? HY__CPU_DOTPROD
                    : 0;
    features |= has("hw.optional.arm.FEAT_I8MM") ? HY__CPU_I8MM : 0;
    return features;
}

#else

uint32_t hy__os_cpu_features(void)
{
    return 0;
}

#endif

enum { MOST_CPUS = 8192 };

/* A file below root by its pieces; NULL if there is none. */
static FILE *open_below(const char *root, const char *folder, const char *path, size_t len,
                        const char *file)
{
    char name[2 * MOST_PATH];
    const int n = snprintf(name, sizeof name, "%s%s%.*s/%s", root, folder, (int)len, path, file);
    return n > 0 && (size_t)n < sizeof name ? fopen(name, "r") : NULL;
}

/* No processor of lower number that we may use shares its core.  The list of those that share one
 * looks like "0,64" or "0-1". */
static bool is_first_of_core(const char *root, const bool *allowed, uint32_t cpu)
{
    char folder[80];
    snprintf(folder, sizeof folder, "/sys/devices/system/cpu/cpu%u/topology", (unsigned)cpu);
    FILE *f = open_below(root, folder, "", 0, "core_cpus_list");
    f = f ? f : open_below(root, folder, "", 0, "thread_siblings_list");
    bool first = true;
    unsigned low, high;
    while (f && first && fscanf(f, "%u", &low) == 1) {
        int c = fgetc(f);
        high = low;
        if (c == '-') {
            first = fscanf(f, "%u", &high) == 1;
            c = fgetc(f);
        }
        for (unsigned k = low; first && k <= high && k < cpu; k++) {
            first = !allowed[k];
        }
        if (c != ',') {
            break;
        }
    }
    if (f) {
        fclose(f);
    }
    return first;
}

/* Lowers *most to what one folder of a control group grants: "quota period" in cpu.max (version 2),
 * or each in a file (version 1).  Begun processors count as whole ones.  No quota is "max" or -1.
 */
static void take_quota(const char *root, const char *folder, const char *path, size_t len,
                       uint32_t *most)
{
    long long quota = 0, period = 0;
    FILE *f = open_below(root, folder, path, len, "cpu.max");
    if (f) {
        (void)(fscanf(f, "%lld %lld", &quota, &period) == 2);
        fclose(f);
    } else if ((f = open_below(root, folder, path, len, "cpu.cfs_quota_us")) != NULL) {
        (void)(fscanf(f, "%lld", &quota) == 1);
        fclose(f);
        f = open_below(root, folder, path, len, "cpu.cfs_period_us");
        if (f) {
            (void)(fscanf(f, "%lld", &period) == 1);
            fclose(f);
        }
    }
    if (quota > 0 && period > 0) {
        const long long cpus = quota / period + (quota % period != 0);
        *most = cpus < (long long)*most ? (uint32_t)cpus : *most;
    }
}

/* A group is bound by its own quota and by those of all groups around it. */
static void take_quotas(const char *root, const char *folder, const char *path, uint32_t *most)
{
    size_t len = strlen(path);
    take_quota(root, folder, path, len, most);
    while (len > 0) {
        while (path[--len] != '/' && len > 0) {
        }
        take_quota(root, folder, path, len, most);
    }
}

/* Lines of /proc/self/cgroup are "number:controllers:path"; version 2 has no controllers. */
static void take_group(const char *root, char *line, uint32_t *most)
{
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path) {
        return;
    }
    controllers++;
    *path++ = '\0';
    if (*controllers == '\0') {
        take_quotas(root, "/sys/fs/cgroup", path, most);
        take_quotas(root, "/sys/fs/cgroup/unified", path, most);
    } else if (strcmp(controllers, "cpu") == 0 || strncmp(controllers, "cpu,", 4) == 0 ||
               strstr(controllers, ",cpu,") || strcmp(controllers, "cpuacct,cpu") == 0) {
        take_quotas(root, "/sys/fs/cgroup/cpu", path, most);
    }
}

uint32_t hy__cores(const char *root, const bool *allowed, uint32_t n)
{
    uint32_t count = 0, most = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++) {
        count += allowed[i] && is_first_of_core(root, allowed, i);
    }
    FILE *f = open_below(root, "/proc/self", "", 0, "cgroup");
    char line[MOST_PATH];
    while (f && fgets(line, sizeof line, f)) {
        take_group(root, line, &most);
    }
    if (f) {
        fclose(f);
    }
    return HY_MAX(1, HY_MIN(count, most));
}

uint32_t hy_cpu_count(void)
{
#if defined(__linux__)
    bool allowed[MOST_CPUS] = {false};
    cpu_set_t set[MOST_CPUS / CPU_SETSIZE];
    memset(set, 0, sizeof set);
    if (sched_getaffinity(0, sizeof set, set) == 0) {
        for (uint32_t i = 0; i < MOST_CPUS; i++) {
            allowed[i] = CPU_ISSET_S(i, sizeof set, set);
        }
        return hy__cores("", allowed, MOST_CPUS);
    }
#endif
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (uint32_t)n;
}

/* ---- libraries */

void *hy__library_open(const char *path, char *why, size_t why_cap)
{
    void *const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *const reason = dlerror();
        snprintf(why, why_cap, "%s", reason ? reason : "it cannot be opened");
    }
    return library;
}

void *hy__library_symbol(void *library, const char *name)
{
    return dlsym(library, name);
}

void hy__library_close(void *library)
{
    dlclose(library);
}

void hy__os_env(hy_env *env)
{
    *env = (hy_env){
        .size = sizeof *env,
        .mem_alloc = os_alloc,
        .mem_realloc = os_realloc,
        .mem_free = os_free,
        .file_open = os_open,
        .file_read = os_read,
        .file_write = os_write,
        .file_close = os_close,
        .file_map = os_map,
        .file_unmap = os_unmap,
        .file_rename = os_rename,
        .file_remove = os_remove,
        .clock_ns = os_clock,
        .thread_start = os_thread_start,
        .thread_join = os_thread_join,
    };
}
