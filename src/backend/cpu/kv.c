/* kv.c: sizes that go with the vector functions: rows of KV caches, scratch memory of attention.
 *
 * Compiled once for all levels.  Pure functions; any thread may call them. */
#include "vec.h"

#include "quant/quant.h"

size_t hy__kv_bytes(hy__kv_type type, uint32_t n)
{
    static const hy_type types[] = {
        [HY__KV_F32] = HY_TYPE_F32, [HY__KV_F16] = HY_TYPE_F16, [HY__KV_Q8_0] = HY_TYPE_Q8_0};
    const hy_type_info *t = &hy__type_traits_of((uint32_t)types[type])->info;
    return (size_t)n / t->block_elems * t->block_bytes;
}

uint64_t hy__vec_attention_scratch(uint32_t n_head, uint32_t dim)
{
    /* the block's rows of keys and values as floats, then what a query keeps between blocks */
    const uint64_t rows = 2 * (uint64_t)HY__ATTENTION_BLOCK * dim;
    return rows + (uint64_t)n_head * sizeof(hy__vec_softmax) / sizeof(float);
}
