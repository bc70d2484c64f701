/* levels.c: which level of instructions to use.
 *
 * Constant tables; any thread may call these functions. */
#include "levels.h"

#include <stdio.h>

enum {
#define HY_CPU_LEVEL(name, base, features, what) LEVEL_##name,
#include "levels.inc"
#undef HY_CPU_LEVEL
    N_LEVELS
};

/* Tables that are not in the build, by the name that the list expects. */
#if HY__CPU_HAS_avx2
#define PACKED_avx2 &hy__packed_avx2
#define VEC_avx2 &hy__vec_avx2
#define COLUMNS_avx2 &hy__columns_avx2
#else
#define PACKED_avx2 NULL
#define VEC_avx2 NULL
#define COLUMNS_avx2 NULL
#endif
#if HY__CPU_HAS_avxvnni
#define PACKED_avxvnni &hy__packed_avxvnni
#else
#define PACKED_avxvnni NULL
#endif
#define VEC_avxvnni NULL
#if HY__CPU_HAS_avx512
#define PACKED_avx512 &hy__packed_avx512
#define VEC_avx512 &hy__vec_avx512
#define COLUMNS_avx512 &hy__columns_avx512
#else
#define PACKED_avx512 NULL
#define VEC_avx512 NULL
#define COLUMNS_avx512 NULL
#endif
#if HY__CPU_HAS_neon
#define PACKED_neon &hy__packed_neon
#define VEC_neon &hy__vec_neon
#else
#define PACKED_neon NULL
#define VEC_neon NULL
#endif
#if HY__CPU_HAS_i8mm
#define PACKED_i8mm &hy__packed_i8mm
#else
#define PACKED_i8mm NULL
#endif
#define VEC_i8mm NULL
#define COLUMNS_plain NULL
#define COLUMNS_avxvnni NULL
#define COLUMNS_neon NULL
#define COLUMNS_i8mm NULL
#define PACKED_plain &hy__packed_plain
#define VEC_plain &hy__vec_plain

static const struct level {
    const char *name, *text;
    size_t base;
    uint32_t features;
    const hy__packed_table *packed;
    const hy__vec *vec;               /* NULL: that of the base */
    const hy__columns_table *columns; /* NULL: likewise; those of plain: none */
} levels[N_LEVELS] = {
#define HY_CPU_LEVEL(name, base, features, what)                                                   \
    {#name, what, LEVEL_##base, features, PACKED_##name, VEC_##name, COLUMNS_##name},
#include "levels.inc"
#undef HY_CPU_LEVEL
};

const char *hy__level_name(size_t level)
{
    return level < N_LEVELS ? levels[level].name : NULL;
}

const char *hy__level_text(size_t level)
{
    return levels[level].text;
}

bool hy__level_built(size_t level)
{
    return levels[level].packed != NULL;
}

bool hy__level_here(size_t level)
{
    return hy__level_built(level) && (levels[level].features & ~hy__cpu_features()) == 0;
}

const hy__packed_table *hy__level_own(size_t level)
{
    return levels[level].packed;
}

const hy__vec *hy__level_vec(size_t level)
{
    while (!levels[level].vec) {
        level = levels[level].base;
    }
    return levels[level].vec;
}

const hy__columns_table *hy__level_columns(size_t level)
{
    while (!levels[level].columns && level != LEVEL_plain) {
        level = levels[level].base;
    }
    return levels[level].columns;
}

#define TAKE(member) out->member = own->member ? own->member : out->member

void hy__level_packed(size_t level, hy__packed_table *out)
{
    if (level == LEVEL_plain) {
        *out = hy__packed_plain;
        return;
    }
    hy__level_packed(levels[level].base, out); /* the list is three deep */
    const hy__packed_table *own = levels[level].packed;
    if (!own) {
        return;
    }
    for (size_t i = 0; i < HY__N_PACKED; i++) {
        TAKE(gemv[i]);
        TAKE(expand[i]);
    }
    for (size_t i = 0; i < HY__N_PACKED_F32; i++) {
        TAKE(gemv_f32[i]);
        TAKE(expand_f32[i]);
    }
    TAKE(gemm16);
    TAKE(gemm32);
    TAKE(gemm_f32);
    TAKE(quantize);
    TAKE(quantize_tile);
}
#undef TAKE

hy_status hy__level_find(const char *name, size_t *level, hy_error *err)
{
    char known[100] = "";
    for (size_t l = N_LEVELS; l-- > 0;) {
        if (!name && hy__level_here(l)) {
            *level = l;
            return HY_OK;
        }
        if (name && strcmp(name, levels[l].name) == 0) {
            *level = l;
            return hy__level_here(l)
                       ? HY_OK
                       : hy__fail(err, HY_E_UNSUPPORTED, "this machine has no CPU level %s", name);
        }
        const size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", n > 0 ? ", " : "", levels[l].name);
    }
    return hy__fail(err, HY_E_NOT_FOUND, "there is no CPU level \"%s\"; these are: %s", name,
                    known);
}
