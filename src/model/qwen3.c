/* qwen3.c: Qwen 3, dense: norms of every query and key head, rotation of half-split pairs. */
#include "transformer.h"

hy_status hy__build_qwen3(hy__builder *b)
{
    const hy__transformer t = {.half_split_rope = true, .qk_norm = true};
    return hy__build_transformer(b, &t);
}
