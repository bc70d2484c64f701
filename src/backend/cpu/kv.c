/* kv.c: sizes of blocks of KV caches (vec.h has their layout).
 *
 * Compiled once for all levels.  Pure functions; any thread may call them. */
#include "vec.h"

#include "quant/quant.h"

uint64_t hy__kv_numbers(hy__kv_form form)
{
    const uint64_t dim = form.dim;
    return HY__ATTENTION_BLOCK * (form.values ? (dim + 15) / 16 * 16 : dim);
}

uint64_t hy__kv_bytes(hy__kv_form form)
{
    static const hy_type types[] = {
        [HY__KV_F32] = HY_TYPE_F32, [HY__KV_F16] = HY_TYPE_F16, [HY__KV_Q8_0] = HY_TYPE_Q8_0};
    const hy_type_info *t = &hy__type_traits_of((uint32_t)types[form.type])->info;
    return hy__kv_numbers(form) / t->block_elems * t->block_bytes;
}
