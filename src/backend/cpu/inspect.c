/* inspect.c: what unstable.h says about levels of instructions and their kernels.
 *
 * Reads constant tables; any thread may call these functions. */
#include "graph/graph.h"
#include "halyard/unstable.h"
#include "levels.h"

const char *hy_cpu_level_at(size_t i)
{
    return hy__level_name(i);
}

const char *hy_cpu_level_summary(size_t i)
{
    return hy__level_text(i);
}

bool hy_cpu_level_built(size_t i)
{
    return hy__level_built(i);
}

bool hy_cpu_level_here(size_t i)
{
    return hy__level_here(i);
}

/* Whether a level's own table has the kernel that `all` runs. */
static bool has_matmul(const hy__packed_table *own, const hy__packed_table *all, hy_type type,
                       bool many)
{
    const int i = hy__packed_index(type);
    if (i < 0) {
        const int f = hy__packed_f32_index(type);
        return many ? own->gemm_f32 == all->gemm_f32 : own->gemv_f32[f] == all->gemv_f32[f];
    }
    if (!many) {
        return own->gemv[i] == all->gemv[i];
    }
    return hy__packed_block(i) == 16 ? own->gemm16 == all->gemm16 : own->gemm32 == all->gemm32;
}

const char *hy_cpu_columns_kernel(size_t level, hy_type type)
{
    const int i = hy__packed_index(type);
    const hy__columns_table *columns = hy__level_columns(level);
    if (i < 0 || !columns || !columns->gemv[i]) {
        return NULL;
    }
    size_t l = 0;
    while (hy__level_columns(l) != columns) {
        l++;
    }
    return hy__level_name(l);
}

const char *hy_cpu_kernel(size_t level, size_t op, hy_type type, bool many)
{
    const bool is_matmul = op == HY__OP_MATMUL;
    if (is_matmul ? hy__packed_index(type) < 0 && hy__packed_f32_index(type) < 0
                  : hy_op_reads_matrix(op)) {
        return NULL;
    }
    hy__packed_table all;
    hy__level_packed(level, &all);
    size_t l = 0;
    while (!hy__level_built(l) || !(is_matmul ? has_matmul(hy__level_own(l), &all, type, many)
                                              : hy__level_vec(l) == hy__level_vec(level))) {
        l++;
    }
    return hy__level_name(l);
}
