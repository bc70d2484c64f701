/* llama.c: Llama 1 to 3, Mistral 7B, SmolLM2, TinyLlama: everything that converters call "llama"
 * with dense layers. */
#include "transformer.h"

hy_status hy__build_llama(hy__builder *b)
{
    const hy__transformer t = {.qkv_bias = true, .other_bias = true};
    return hy__build_transformer(b, &t);
}
