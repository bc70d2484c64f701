/* types.c: the table of tensor types and the public calls that go through it.
 *
 * Everything is constant; any thread may call it. */
#include "quant/quant.h"

#define CAN_DECODE_SIZE false
#define CAN_DECODE_DECODE true
#define CAN_DECODE_FULL true
#define CAN_ENCODE_SIZE false
#define CAN_ENCODE_DECODE false
#define CAN_ENCODE_FULL true
#define DECODER_SIZE(name) NULL
#define DECODER_DECODE(name) hy__dequantize_##name
#define DECODER_FULL(name) hy__dequantize_##name
#define ENCODER_SIZE(name) NULL
#define ENCODER_DECODE(name) NULL
#define ENCODER_FULL(name) hy__quantize_##name

/* Indexed by type id; ids that do not exist have a NULL name. */
static const hy__type_traits traits_by_id[] = {
#define ROW(name, id, elems, bytes, codec)                                                         \
    [id] = {{#name, HY_TYPE_##name, elems, bytes, CAN_DECODE_##codec, CAN_ENCODE_##codec},         \
            DECODER_##codec(name),                                                                 \
            ENCODER_##codec(name)},
    HY_TYPE_LIST(ROW)
#undef ROW
};

const hy__type_traits *hy__type_traits_of(uint32_t id)
{
    if (id >= HY_COUNT(traits_by_id) || !traits_by_id[id].info.name) {
        return NULL;
    }
    return &traits_by_id[id];
}

const hy_type_info *hy_type_find(uint32_t id)
{
    const hy__type_traits *t = hy__type_traits_of(id);
    return t ? &t->info : NULL;
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

const hy_type_info *hy_type_by_name(const char *name)
{
    if (!name) {
        return NULL;
    }
    for (size_t id = 0; id < HY_COUNT(traits_by_id); id++) {
        const char *a = traits_by_id[id].info.name;
        const char *b = name;
        if (!a) {
            continue;
        }
        while (*a && *a == upper(*b)) {
            a++;
            b++;
        }
        if (!*a && !*b) {
            return &traits_by_id[id].info;
        }
    }
    return NULL;
}

size_t hy__first_not_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((hy__f32_bits(x[i]) & 0x7F800000u) == 0x7F800000u) {
            return i;
        }
    }
    return n;
}

/* What hy_dequantize and hy_quantize check alike. */
static hy_status check_call(hy_type type, const void *src, const void *dst, size_t n,
                            const char *verb, const hy__type_traits **out, hy_error *err)
{
    const hy__type_traits *t = hy__type_traits_of((uint32_t)type);
    if (!t) {
        return hy__fail(err, HY_E_UNSUPPORTED, "there is no tensor type %u", (unsigned)type);
    }
    bool able = verb[0] == 'd' ? t->dequantize_row != NULL : t->quantize_row != NULL;
    if (!able) {
        return hy__fail(err, HY_E_UNSUPPORTED, "tensors of type %s cannot be %s", t->info.name,
                        verb);
    }
    if (n % t->info.block_elems != 0) {
        return hy__fail(err, HY_E_ARG, "%zu elements are no multiple of the %u in a block of %s", n,
                        (unsigned)t->info.block_elems, t->info.name);
    }
    if (n > 0 && (!src || !dst)) {
        return hy__fail(err, HY_E_ARG, "the %s to be %s is NULL", src ? "destination" : "source",
                        verb);
    }
    *out = t;
    return HY_OK;
}

hy_status hy_dequantize(hy_type type, const void *src, float *dst, size_t n, hy_error *err)
{
    const hy__type_traits *t = NULL;
    HY_TRY(check_call(type, src, dst, n, "decoded", &t, err));
    t->dequantize_row(src, dst, n);
    return HY_OK;
}

hy_status hy_quantize(hy_type type, const float *src, void *dst, size_t n, hy_error *err)
{
    const hy__type_traits *t = NULL;
    HY_TRY(check_call(type, src, dst, n, "encoded", &t, err));
    size_t bad = hy__first_not_finite(src, n);
    if (bad < n) {
        return hy__fail(err, HY_E_NUMERIC, "element %zu is not a finite number", bad);
    }
    bad = t->quantize_row(src, dst, n);
    if (bad < n) {
        return hy__fail(err, HY_E_NUMERIC, "the block at element %zu is too large for type %s", bad,
                        t->info.name);
    }
    return HY_OK;
}
