/* base.h: what every other folder stands on: errors, memory, checked arithmetic, bytes, hashing,
 * files, threads.
 *
 * This folder is the only one that knows the operating system (os_posix.c).  All of it is reached
 * through an hy_env, so that a test can make any single call fail.  Everything here may be called
 * from any thread unless it says more. */
#ifndef HY_BASE_BASE_H
#define HY_BASE_BASE_H

#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "halyard/base.h"

/* ---- errors (error.c) */

/* Writes code and sentence to err (may be NULL) and returns code: `return hy__fail(err,
 * HY_E_FORMAT, "...", ...)`. */
HY_PRINTF(3, 4)
hy_status hy__fail(hy_error *err, hy_status code, const char *fmt, ...);
/* Puts "prefix: " in front of the sentence in err; returns err's code (status if err is NULL). */
HY_PRINTF(3, 4)
hy_status hy__wrap(hy_error *err, hy_status status, const char *fmt, ...);

#define HY_TRY(expr)                                                                               \
    do {                                                                                           \
        hy_status hy_try_status_ = (expr);                                                         \
        if (hy_try_status_ != HY_OK) {                                                             \
            return hy_try_status_;                                                                 \
        }                                                                                          \
    } while (0)

#define HY_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HY_MIN(a, b) ((a) < (b) ? (a) : (b))
#define HY_MAX(a, b) ((a) > (b) ? (a) : (b))

/* For "%.*s" of an hy_str: file strings are of any length and hold any bytes, sentences show a
 * clean beginning. Copies at most cap-1 bytes, bytes outside printable ASCII as '?'; "..." at the
 * end if it was cut. Returns buf. */
char *hy__printable(hy_str s, char *buf, size_t cap);

static inline bool hy__str_is(hy_str s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

/* ---- environment and memory (env.c) */

/* *dst = *src with every NULL callback replaced by the operating system's. src may be NULL or
 * smaller (older). */
void hy__env_resolve(hy_env *dst, const hy_env *src);

/* count*elem bytes, overflow-checked; NULL with HY_E_NOMEM written to err if that fails.  0 bytes
 * give a valid pointer. Free with hy__free of the same env. */
void *hy__alloc(const hy_env *env, size_t count, size_t elem, hy_error *err);
void *hy__calloc(const hy_env *env, size_t count, size_t elem, hy_error *err);
/* On failure NULL and the old block stays valid. */
void *hy__realloc(const hy_env *env, void *ptr, size_t count, size_t elem, hy_error *err);
void hy__free(const hy_env *env, void *ptr);
/* 64-byte aligned; free with hy__free_aligned. */
void *hy__alloc_aligned(const hy_env *env, size_t count, size_t elem, hy_error *err);
void *hy__calloc_aligned(const hy_env *env, size_t count, size_t elem, hy_error *err);
void hy__free_aligned(const hy_env *env, void *ptr);
/* NUL-terminated copy. */
char *hy__strndup(const hy_env *env, const char *s, size_t len, hy_error *err);

/* Growable bytes; zero-initialise, finish with hy__buf_finish.  data is NUL-terminated after an
 * append. */
typedef struct hy__buf {
    char *data;
    size_t len;
    size_t cap;
} hy__buf;
hy_status hy__buf_append(const hy_env *env, hy__buf *b, const void *data, size_t n, hy_error *err);
void hy__buf_finish(const hy_env *env, hy__buf *b);

HY_PRINTF(3, 4)
void hy__message(const hy_env *env, hy_log_level level, const char *fmt, ...);

/* ---- checked arithmetic: false on overflow, *out is then untouched */
static inline bool hy__add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    if (a > UINT64_MAX - b) {
        return false;
    }
    *out = a + b;
    return true;
}
static inline bool hy__mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    if (b != 0 && a > UINT64_MAX / b) {
        return false;
    }
    *out = a * b;
    return true;
}

/* count * elem bytes as a size, *bytes; HY_E_NOMEM, with a sentence that names `what` and its
 * bytes, where no block of memory can have so many.  For sizes that a file or an option decides. */
hy_status hy__size(const char *what, uint64_t count, uint64_t elem, size_t *bytes, hy_error *err);

/* ---- little-endian bytes of any alignment */
static inline uint16_t hy__load_u16(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}
static inline uint32_t hy__load_u32(const void *p)
{
    const uint8_t *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}
static inline uint64_t hy__load_u64(const void *p)
{
    return (uint64_t)hy__load_u32(p) | (uint64_t)hy__load_u32((const uint8_t *)p + 4) << 32;
}
static inline void hy__store_u16(void *p, uint16_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}
static inline void hy__store_u32(void *p, uint32_t v)
{
    hy__store_u16(p, (uint16_t)v);
    hy__store_u16((uint8_t *)p + 2, (uint16_t)(v >> 16));
}
static inline void hy__store_u64(void *p, uint64_t v)
{
    hy__store_u32(p, (uint32_t)v);
    hy__store_u32((uint8_t *)p + 4, (uint32_t)(v >> 32));
}
static inline float hy__f32_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}
static inline uint32_t hy__f32_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* IEEE binary16 and bfloat16. To f32: exact. From f32: round to nearest even. */
static inline float hy__f16_to_f32(uint16_t h)
{
    /* The exponent moves to its place and is then 112 too small; scaling is exact, for subnormals
     * too. */
    const float f = hy__f32_from_bits((uint32_t)(h & 0x7fff) << 13) * 0x1p112f;
    const uint32_t special = (h & 0x7c00) == 0x7c00 ? 0x7f800000u : 0;
    return hy__f32_from_bits(hy__f32_bits(f) | special | (uint32_t)(h & 0x8000) << 16);
}
uint16_t hy__f32_to_f16(float f);
static inline float hy__bf16_to_f32(uint16_t h)
{
    return hy__f32_from_bits((uint32_t)h << 16);
}
uint16_t hy__f32_to_bf16(float f);

/* ---- UTF-8 (utf8.c) */

/* Decodes one code point from the `len` > 0 bytes at s.  Returns its length 1..4, or 0 if the bytes
 * do not begin with a valid one (overlong forms, surrogates and values above U+10FFFF are invalid;
 * so is a cut-off character). */
unsigned hy__utf8_decode(const char *s, size_t len, uint32_t *cp);
/* Writes 1..4 bytes; returns how many. cp <= 0x10FFFF. */
unsigned hy__utf8_encode(uint32_t cp, char out[4]);
/* How many bytes at the end of s are the beginning of a character that more bytes could complete:
 * 0..3. */
unsigned hy__utf8_tail(const char *s, size_t len);

/* ---- hashing (hash.c) */

/* CRC-64/XZ (reflected ECMA-182, init and xorout all ones). Start with 0, feed pieces. */
uint64_t hy__crc64(uint64_t crc, const void *data, size_t n);
/* Keyed hash for tables; not stable across versions. */
uint64_t hy__hash(uint64_t key, const void *data, size_t n);

/* Map from byte strings to u32.  Keys are not copied: they must outlive the map.  Zero-initialise.
 */
typedef struct hy__strmap {
    struct hy__strmap_slot *slots;
    size_t n;
    size_t n_slots; /* power of two */
    uint64_t key;
} hy__strmap;
/* Room for `n` entries; must be called once, before the first put. */
hy_status hy__strmap_init(const hy_env *env, hy__strmap *m, size_t n, hy_error *err);
void hy__strmap_finish(const hy_env *env, hy__strmap *m);
/* False (and nothing changes) if the key is there already or the map is full. */
bool hy__strmap_put(hy__strmap *m, const char *key, size_t len, uint32_t value);
bool hy__strmap_get(const hy__strmap *m, const char *key, size_t len, uint32_t *value);
/* Many keys at once: they wait for memory together, not one after the other, which is several times
 * faster where the map is larger than the processor's caches.  put_all stops at the first key that
 * hy__strmap_put would refuse and returns how many were put. get_all gives `missing` for keys that
 * are not there. */
size_t hy__strmap_put_all(hy__strmap *m, const hy_str *keys, const uint32_t *values, size_t n);
void hy__strmap_get_all(const hy__strmap *m, const hy_str *keys, size_t n, uint32_t missing,
                        uint32_t *values);

/* ---- files (file.c) */

/* A file that appears under its name only when it is complete: written as "PATH.part", then
 * renamed. */
typedef struct hy__out_file {
    hy_env env;
    char *path;
    char *part;
    void *file;
} hy__out_file;
hy_status hy__out_open(hy__out_file *f, const hy_env *env, const char *path, hy_error *err);
hy_status hy__out_write(hy__out_file *f, const void *data, size_t n, hy_error *err);
/* Closes, renames, frees; on error the .part file is removed and an old file of that name is
 * untouched. */
hy_status hy__out_commit(hy__out_file *f, hy_error *err);
/* Throws an unfinished file away; nothing after commit or a failed open. */
void hy__out_abandon(hy__out_file *f);

/* ---- deterministic mathematics (math.c): only IEEE additions, multiplications, divisions and
 * square roots in a fixed order, so that every machine gives the same bits.  Relative error below
 * 2^-50 unless said. */
double hy__exp(double x);
double hy__log(double x);           /* x > 0 */
double hy__pow(double x, double y); /* x > 0 */
double hy__tanh(double x);
double hy__sigmoid(double x);
void hy__sincos(double x, double *s, double *c); /* |x| < 2^31; absolute error below 1e-12 */

/* ---- threads (pool.c) */

/* A fixed set of threads that work together.  Created and used by one thread at a time. */
typedef struct hy__pool hy__pool;
/* n_threads >= 1, the caller's own included.  1 starts none. */
hy_status hy__pool_create(const hy_env *env, uint32_t n_threads, hy__pool **out, hy_error *err);
void hy__pool_destroy(hy__pool *p); /* NULL is fine */
/* Calls run(arg, thread) in every thread of the pool at once, in the caller as thread 0, and returns
 * when all have returned.  p NULL: run(arg, 0). */
typedef void (*hy__team_fn)(void *arg, uint32_t thread);
void hy__pool_team(hy__pool *p, hy__team_fn run, void *arg);
/* Inside a team, called by all of its threads alike: returns when all have come.  What they wrote
 * before is then seen by all. */
void hy__pool_barrier(hy__pool *p);
/* Calls run(arg, begin, end, thread) for disjoint ranges that cover [0, n), of at most `grain`
 * items, from all threads, and returns when all are done.  Which thread takes which range is
 * chance; `thread` < pool size tells which scratch memory to use.  p NULL: everything in the
 * caller. */
typedef void (*hy__pool_fn)(void *arg, size_t begin, size_t end, uint32_t thread);
void hy__pool_run(hy__pool *p, size_t n, size_t grain, hy__pool_fn run, void *arg);

/* ---- machine (os_posix.c, cpu.c) */

/* Sets of instructions that kernels are written for, as bits. */
enum {
    HY__CPU_AVX2 = 1,        /* AVX2, FMA, F16C */
    HY__CPU_AVX512_VNNI = 2, /* AVX-512 F, DQ, BW, VL, VNNI */
    HY__CPU_AVXVNNI = 4,     /* the 256-bit VNNI without AVX-512 */
    HY__CPU_DOTPROD = 8,     /* AArch64: 8-bit dot products; half precision */
    HY__CPU_I8MM = 16        /* AArch64: 8-bit matrix products */
};
uint32_t hy__cpu_features(void);

/* Hints about memory, of any address and length; they change no byte and cannot fail.  Where the
 * system knows none of this they do nothing. */

/* The whole pages inside will be used much: let them be huge.  Before they are first written. */
void hy__advise_huge(void *p, size_t bytes);
/* The whole pages inside will not be read for long: they no longer count as this process's memory.
 * Only for file mappings of hy__os_env's file_map: other memory would lose its contents. */
void hy__advise_drop(const void *p, size_t bytes);

void hy__os_env(hy_env *env); /* all callbacks of the operating system; log NULL */

#endif
