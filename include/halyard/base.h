/* halyard/base.h: status codes, errors, and the environment that the library runs in.
 *
 * Rules that hold for every function of the library:
 *  - A function that can fail returns hy_status: HY_OK (0), or a negative code.  The sentence that
 *    explains the failure, with its place (file offset, tensor, key, field), is written to the
 *    `hy_error *` that comes last; it may be NULL.  On success the error is left alone.  Output
 *    parameters are set to NULL/0 on failure.
 *  - create/open/load give an object that the caller must hand to destroy/close; those take NULL.
 *  - Options structs start with `size` (sizeof the struct); every other field 0 means the default.
 *    A NULL options pointer means all defaults.
 *  - The library never exits, aborts, prints or reads environment variables. */
#ifndef HALYARD_BASE_H
#define HALYARD_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compiler.h"

HY_BEGIN_DECLS

#define HY_VERSION_MAJOR 0
#define HY_VERSION_MINOR 1
#define HY_VERSION_PATCH 0
#define HY_VERSION_STRING "0.1.0"

/* The version of the library linked at run time, e.g. "0.1.0". Static storage. */
HY_API const char *hy_version(void);

/* name, value, what it means.  Values never change. */
#define HY_STATUS_LIST(X)                                                                          \
    X(OK, 0, "success")                                                                            \
    X(E_NOMEM, -1, "out of memory")                                                                \
    X(E_IO, -2, "a file could not be opened, read or written")                                     \
    X(E_FORMAT, -3, "a file breaks the rules of its format")                                       \
    X(E_UNSUPPORTED, -4, "valid, but this version or backend cannot do it")                        \
    X(E_ARG, -5, "an argument is out of its documented range")                                     \
    X(E_NOT_FOUND, -6, "a key, tensor, name or file does not exist")                               \
    X(E_CONTEXT, -7, "the tokens do not fit into the context")                                     \
    X(E_CANCELLED, -8, "cancelled by the caller")                                                  \
    X(E_MISMATCH, -9, "a state belongs to another model or version")                               \
    X(E_CORRUPT, -10, "a state's checksum or structure is wrong")                                  \
    X(E_TRUNCATED, -11, "a file ends too early")                                                   \
    X(E_THREAD, -12, "a thread could not be started")                                              \
    X(E_LIMIT, -13, "a stated limit of this implementation is exceeded")                           \
    X(E_NUMERIC, -14, "a result is not a finite number")                                           \
    X(E_INTERNAL, -15, "a bug in Halyard")                                                         \
    X(E_DEVICE_LOST, -16, "the GPU was lost: it was reset, removed, or its driver failed")

typedef enum hy_status {
#define HY_STATUS_ENUM(name, value, text) HY_##name = value,
    HY_STATUS_LIST(HY_STATUS_ENUM)
#undef HY_STATUS_ENUM
} hy_status;

/* "HY_E_NOMEM" and "out of memory"; for an unknown value "HY_E_?" and "unknown status". Static
 * storage. */
HY_API const char *hy_status_name(hy_status status);
HY_API const char *hy_status_text(hy_status status);

/* Caller memory; needs no initialisation.  `text` is one NUL-terminated sentence in UTF-8 without a
 * newline. */
typedef struct hy_error {
    hy_status code;
    char text[500];
} hy_error;

/* Bytes with a length, not NUL-terminated, owned by the object it came from. data may be NULL if
 * len is 0. */
typedef struct hy_str {
    const char *data;
    size_t len;
} hy_str;

typedef enum hy_log_level { HY_LOG_DEBUG = 0, HY_LOG_INFO = 1, HY_LOG_WARN = 2 } hy_log_level;

typedef enum hy_file_mode {
    HY_FILE_READ = 0,
    HY_FILE_WRITE = 1 /* create or truncate */
} hy_file_mode;

/* The world outside the library.  Every callback may be NULL: the operating system's own is used
 * then. Callbacks must be callable from several threads at once.  `user` is handed to each of them.
 * The struct is copied; what `user` points to must outlive every object made with it. */
typedef struct hy_env {
    size_t size;
    void *user;

    /* Memory as malloc, realloc, free: aligned for any C type, realloc(NULL, n) allocates, bytes >
     * 0. */
    void *(*mem_alloc)(void *user, size_t bytes);
    void *(*mem_realloc)(void *user, void *ptr, size_t bytes);
    void (*mem_free)(void *user, void *ptr);

    /* Files. open gives an opaque handle and, for reading, the size in bytes of a regular file.
     * read fills all of `bytes` from `offset` or fails.  write appends.  close reports late write
     * errors. map gives a read-only view of the whole file that stays valid until unmap, also after
     * close; HY_E_UNSUPPORTED makes the library read the file into memory instead. */
    hy_status (*file_open)(void *user, const char *path, hy_file_mode mode, void **file,
                           uint64_t *file_bytes, hy_error *err);
    hy_status (*file_read)(void *user, void *file, uint64_t offset, void *buf, size_t bytes,
                           hy_error *err);
    hy_status (*file_write)(void *user, void *file, const void *buf, size_t bytes, hy_error *err);
    hy_status (*file_close)(void *user, void *file, hy_error *err);
    hy_status (*file_map)(void *user, void *file, uint64_t file_bytes, const void **data,
                          hy_error *err);
    void (*file_unmap)(void *user, const void *data, uint64_t file_bytes);
    hy_status (*file_rename)(void *user, const char *from, const char *to, hy_error *err);
    void (*file_remove)(void *user, const char *path);

    /* Nanoseconds of a monotonic clock. */
    uint64_t (*clock_ns)(void *user);

    /* Threads. join waits for the end and frees the handle. */
    hy_status (*thread_start)(void *user, void (*run)(void *arg), void *arg, void **thread,
                              hy_error *err);
    void (*thread_join)(void *user, void *thread);

    /* One message, without newline. NULL: messages are dropped. */
    void (*log)(void *user, hy_log_level level, const char *text);
} hy_env;

/* Cores that this process may use, at least 1: the right number of threads.  Affinity and cgroup
 * limits count (a begun processor as a whole one), processors that share a core count once. */
HY_API uint32_t hy_cpu_count(void);

/* Progress of a long call: `done` of `total` units (bytes, tokens).  Return false to cancel the
 * call, which then fails with HY_E_CANCELLED. */
typedef bool (*hy_progress)(void *user, uint64_t done, uint64_t total);

HY_END_DECLS

#endif
