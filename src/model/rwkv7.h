/* rwkv7.h: the time mix that RWKV-7 and its relatives share; each architecture says what its files
 * may lack. */
#ifndef HY_MODEL_RWKV7_H
#define HY_MODEL_RWKV7_H

#include "builder.h"

typedef struct hy__rwkv7 {
    bool optional_gate; /* time_mix_g1 and g2 may be absent, and then plane g of time_mix_lerp_fused
                           is */
    bool optional_group_norm; /* time_mix_ln may be absent: the output of the recurrence goes on as
                                 it is */
    uint32_t c, n;            /* channels, channels of a head; set by hy__rwkv7_sizes */
} hy__rwkv7;

/* Reads c, n and the number of layers, and says that the model is recurrent. */
void hy__rwkv7_sizes(hy__builder *b, hy__rwkv7 *t);

/* The time mix of one layer, to be added to the residual stream.  h: [c, T], the normalised input.
 * *v_first is set by layer 0 and used by the others.  States of the layer: time_shift [c] and wkv
 * [c * n]. */
hy__id hy__rwkv7_time_mix(hy__builder *b, const hy__rwkv7 *t, hy__id h, hy__id *v_first);

#endif
