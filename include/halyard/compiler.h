/* halyard/compiler.h: the only place where the project names compiler extensions.
 *
 * Everything else is plain C11 (public headers: C99 and C++).  With an unknown compiler all of
 * these expand to nothing and the library still builds; only the exported-symbol list is then not
 * enforced. */
#ifndef HALYARD_COMPILER_H
#define HALYARD_COMPILER_H

#if defined(_WIN32) && defined(HY_SHARED)
#if defined(HY_BUILDING)
#define HY_API __declspec(dllexport)
#else
#define HY_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define HY_API __attribute__((visibility("default")))
#else
#define HY_API
#endif

#if defined(__GNUC__)
/* Argument `fmt` (1-based) is a printf format, checked against the arguments from `args` on. */
#define HY_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
/* The result must not be ignored: it is a status or owned memory. */
#define HY_CHECK __attribute__((warn_unused_result))
/* Inlined whatever the compiler's estimate says: the pieces of a kernel, whose constant arguments
 * and structures must vanish. */
#define HY_INLINE inline __attribute__((always_inline))
/* Vector v is computed where this stands.  Compilers put off sums of many products until the
 * products no longer fit the registers. */
#if defined(__x86_64__) || defined(__i386__)
#define HY_KEEP(v) __asm__("" : "+x"(v))
#elif defined(__aarch64__)
#define HY_KEEP(v) __asm__("" : "+w"(v))
#else
#define HY_KEEP(v) ((void)0)
#endif
#else
#define HY_PRINTF(fmt, args)
#define HY_CHECK
#define HY_INLINE inline
#define HY_KEEP(v) ((void)0)
#endif

/* In front of a loop: no iteration reads what another writes, whatever the pointers may suggest, so
 * that it can run in lanes even where the result replaces an input. */
#if defined(__clang__)
#define HY_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define HY_INDEPENDENT _Pragma("GCC ivdep")
#else
#define HY_INDEPENDENT
#endif

/* Between two looks at memory that another processor will change: tells the core that it waits. */
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#define HY_PAUSE() __builtin_ia32_pause()
#elif defined(__GNUC__) && defined(__aarch64__)
#define HY_PAUSE() __asm__ __volatile__("isb" ::: "memory")
#else
#define HY_PAUSE() ((void)0)
#endif

/* The memory at p is read soon. */
#if defined(__GNUC__)
#define HY_PREFETCH(p) __builtin_prefetch(p)
#else
#define HY_PREFETCH(p) ((void)(p))
#endif

#ifdef __cplusplus
#define HY_BEGIN_DECLS extern "C" {
#define HY_END_DECLS }
#else
#define HY_BEGIN_DECLS
#define HY_END_DECLS
#endif

#endif
