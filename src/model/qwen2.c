/* qwen2.c: Qwen 2 and 2.5: biases of q, k and v, rotation of half-split pairs. */
#include "transformer.h"

hy_status hy__build_qwen2(hy__builder *b)
{
    const hy__transformer t = {.half_split_rope = true, .qkv_bias = true, .need_qkv_bias = true};
    return hy__build_transformer(b, &t);
}
