/* dispatch.c: which level of instructions to use.
 *
 * Constant tables; any thread may call these functions. */
#include "kernels.h"

#include <stdio.h>

/* The build says which levels it has. */
#if defined(HY__CPU_HAS_AVX2)
#define AVX2 &hy__cpu_avx2
#else
#define AVX2 NULL
#endif
#if defined(HY__CPU_HAS_AVX512)
#define AVX512 &hy__cpu_avx512
#else
#define AVX512 NULL
#endif

/* What a level needs from the processor; without a table it is not in this build. */
static const struct level {
    const char *name;
    uint32_t features;
    const hy__cpu_table *table;
} levels[HY__CPU_N_LEVELS] = {
    {"plain", 0, &hy__cpu_plain},
    {"avx2", HY__CPU_AVX2, AVX2},
    {"avx512", HY__CPU_AVX2 | HY__CPU_AVX512_VNNI, AVX512},
};

const char *hy__cpu_level_name(size_t level)
{
    return level < HY__CPU_N_LEVELS ? levels[level].name : NULL;
}

bool hy__cpu_level_here(size_t level)
{
    return levels[level].table && (levels[level].features & ~hy__cpu_features()) == 0;
}

const hy__cpu_table *hy__cpu_level_table(size_t level)
{
    return levels[level].table;
}

void hy__cpu_fill(size_t level, hy__cpu_table *out)
{
    *out = hy__cpu_plain;
    for (size_t l = 1; l <= level; l++) {
        const hy__cpu_table *t = levels[l].table;
        for (size_t i = 0; t && i < HY__CPU_N_DOT; i++) {
            out->dot[i] = t->dot[i] ? t->dot[i] : out->dot[i];
        }
        for (size_t i = 0; t && i < HY__CPU_N_DOT_F32; i++) {
            out->dot_f32[i] = t->dot_f32[i] ? t->dot_f32[i] : out->dot_f32[i];
        }
    }
}

hy_status hy__cpu_level_find(const char *name, size_t *level, hy_error *err)
{
    char known[100] = "";
    for (size_t l = HY__CPU_N_LEVELS; l-- > 0;) {
        if (!name && hy__cpu_level_here(l)) {
            *level = l;
            return HY_OK;
        }
        if (name && strcmp(name, levels[l].name) == 0) {
            *level = l;
            return hy__cpu_level_here(l)
                       ? HY_OK
                       : hy__fail(err, HY_E_UNSUPPORTED, "this machine has no CPU level %s", name);
        }
        const size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", n > 0 ? ", " : "", levels[l].name);
    }
    return hy__fail(err, HY_E_NOT_FOUND, "there is no CPU level \"%s\"; these are: %s", name,
                    known);
}

int hy__cpu_dot_index(hy_type type)
{
    switch (type) {
#define CASE(name)                                                                                 \
    case HY_TYPE_##name:                                                                           \
        return HY__DOT_##name;
        HY__CPU_DOT_TYPES(CASE)
    default:
        return -1;
    }
}

int hy__cpu_dot_f32_index(hy_type type)
{
    switch (type) {
        HY__CPU_F32_TYPES(CASE)
#undef CASE
    default:
        return -1;
    }
}
