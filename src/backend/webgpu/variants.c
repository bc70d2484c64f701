/* variants.c: names of variants and masks, and faults: see variants.h. */
#include "variants.h"

#include <stdio.h>

/* ---- masks */

static const struct mask_name {
    const char *name;
    uint32_t bit;
} mask_names[] = {
#define HY_GPU_FAMILY(id, name, above, what) {"no-" name, HY__GPU_NO_##id},
#include "variants.inc"
    {"floor", HY__GPU_FLOOR},
};

static bool add_mask(const char *name, size_t len, uint32_t *mask)
{
    for (size_t i = 0; i < HY_COUNT(mask_names); i++) {
        if (strlen(mask_names[i].name) == len && memcmp(mask_names[i].name, name, len) == 0) {
            *mask |= mask_names[i].bit;
            return true;
        }
    }
    return false;
}

hy_status hy__gpu_mask_parse(const char *names, uint32_t *mask, hy_error *err)
{
    *mask = 0;
    for (const char *at = names; at && *at;) {
        const size_t len = strcspn(at, ",");
        if (!add_mask(at, len, mask)) {
            char known[200] = "";
            for (size_t i = 0; i < HY_COUNT(mask_names); i++) {
                const size_t n = strlen(known);
                snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", mask_names[i].name);
            }
            return hy__fail(err, HY_E_NOT_FOUND, "there is no GPU mask \"%.*s\"; these are: %s",
                            (int)HY_MIN(len, (size_t)60), at, known);
        }
        at += len + (at[len] == ',');
    }
    return HY_OK;
}

hy__gpu_form hy__gpu_form_of(uint32_t *mask)
{
    const uint32_t given = *mask;
    *mask &= ~(uint32_t)(HY__GPU_NO_CODES | HY__GPU_NO_PLANES | HY__GPU_NO_LANES);
    return given & HY__GPU_NO_LANES    ? HY__GPU_FORM_NAIVE
           : given & HY__GPU_NO_PLANES ? HY__GPU_FORM_RAW
           : given & HY__GPU_NO_CODES  ? HY__GPU_FORM_F32
                                       : HY__GPU_FORM_BEST;
}

/* ---- variants */

static const struct plain {
    const char *name, *what, *instead;
    uint32_t family;
} plain[] = {
#define HY_GPU_VARIANT(id, name, family, what, instead, function, from, to)                        \
    {name, what, instead, HY__GPU_FAMILY_##family},
#include "variants.inc"
};

static const bool above_floor[] = {
#define HY_GPU_FAMILY(id, name, above, what) above,
#include "variants.inc"
};

static uint32_t mask_of(uint32_t family)
{
    return 1u << family | (above_floor[family] ? (uint32_t)HY__GPU_FLOOR : 0);
}

/* Number of a format among those with codes, or UINT32_MAX. */
static uint32_t number_of(const hy__gpu_format *f)
{
    uint32_t n = 0;
    for (size_t i = 0; hy__gpu_format_at(i); i++) {
        if (hy__gpu_format_at(i) == f) {
            return f->codes ? n : UINT32_MAX; /* NULL is none of them */
        }
        n += hy__gpu_format_at(i)->codes;
    }
    return UINT32_MAX;
}

hy__gpu_use hy__gpu_use_dot(const hy__gpu_format *f)
{
    const uint32_t n = number_of(f);
    return n == UINT32_MAX ? 0 : (hy__gpu_use)1 << (HY__GPU_N_PLAIN + 2 * n);
}

hy__gpu_use hy__gpu_use_format(const hy__gpu_format *f)
{
    return hy__gpu_use_dot(f) << 1;
}

bool hy__gpu_variant_at(uint32_t i, hy__gpu_variant *v)
{
    if (i < HY__GPU_N_PLAIN) {
        *v = (hy__gpu_variant){.instead = plain[i].instead, .mask = mask_of(plain[i].family)};
        snprintf(v->name, sizeof v->name, "%s", plain[i].name);
        snprintf(v->what, sizeof v->what, "%s", plain[i].what);
        return true;
    }
    const bool whole = (i - HY__GPU_N_PLAIN) % 2;
    for (size_t k = 0; hy__gpu_format_at(k); k++) {
        const hy__gpu_format *f = hy__gpu_format_at(k);
        if (number_of(f) == (i - HY__GPU_N_PLAIN) / 2) {
            *v = (hy__gpu_variant){.instead =
                                       whole ? "they are decoded to F16 when the model is loaded"
                                             : "bytes are multiplied one by one",
                                   .mask = mask_of(HY__GPU_FAMILY_FORMATS) |
                                           (whole ? 0 : mask_of(HY__GPU_FAMILY_DOT))};
            snprintf(v->name, sizeof v->name, "%s-%s", whole ? "format" : "dot", f->name);
            snprintf(v->what, sizeof v->what, "%s %s",
                     whole ? "weights in" : "packed dot products with", f->name);
            return true;
        }
    }
    return false;
}

bool hy__gpu_tunes(const hy__gpu_tuning *t)
{
    bool any = t->without != 0;
    for (size_t i = 0; i < HY__GPU_N_NUMBERS; i++) {
        any = any || t->numbers[i] != 0;
    }
    return any;
}

/* ---- faults */

static hy__gpu_use injected_wrong, injected_broken;

void hy__gpu_inject(hy__gpu_use wrong, hy__gpu_use broken)
{
    injected_wrong = wrong;
    injected_broken = broken;
}

bool hy__gpu_is_injected(void)
{
    return (injected_wrong | injected_broken) != 0;
}

typedef struct fault {
    const char *needs;    /* part of the text of kernels that use the variant */
    const char *function; /* beginning of the function that is spoilt */
    const char *from, *to;
} fault;

static const fault plain_faults[] = {
#define HY_GPU_VARIANT(id, name, family, what, instead, function, from, to)                        \
    {function, function, from, to},
#include "variants.inc"
};

static hy_status replace(const hy_env *env, hy__buf *text, const fault *f, bool broken,
                         hy_error *err)
{
    const char *at = text->data ? strstr(text->data, f->function) : NULL;
    if (!at || !strstr(text->data, f->needs)) {
        return HY_OK;
    }
    for (; at; at = strstr(at + 1, f->function)) {
        const char *end = strstr(at, "\n}"), *found = strstr(at, f->from);
        if (!found || (end && found > end)) {
            continue;
        }
        hy__buf out = {0};
        const char *to = broken ? " no such text " : f->to, *rest = found + strlen(f->from);
        hy_status status = hy__buf_append(env, &out, text->data, (size_t)(found - text->data), err);
        status = status == HY_OK ? hy__buf_append(env, &out, to, strlen(to), err) : status;
        status = status == HY_OK ? hy__buf_append(env, &out, rest, strlen(rest), err) : status;
        if (status != HY_OK) {
            hy__buf_finish(env, &out);
            return status;
        }
        hy__buf_finish(env, text);
        *text = out;
        return HY_OK;
    }
    return HY_OK;
}

hy_status hy__gpu_spoil(const hy_env *env, hy__buf *text, hy_error *err)
{
    const hy__gpu_use wrong = injected_wrong, broken = injected_broken;
    for (uint32_t i = 0; i < HY__GPU_N_PLAIN; i++) {
        if ((wrong | broken) >> i & 1) {
            HY_TRY(replace(env, text, &plain_faults[i], broken >> i & 1, err));
        }
    }
    for (size_t k = 0; (wrong | broken) && hy__gpu_format_at(k); k++) {
        const hy__gpu_format *f = hy__gpu_format_at(k);
        const hy__gpu_use dot = hy__gpu_use_dot(f), whole = hy__gpu_use_format(f);
        char block[48];
        snprintf(block, sizeof block, "fn unpack_%s(", f->name);
        if ((wrong | broken) & dot) {
            const fault of_dot = {block, "fn dot16(", "Packed(w.x, x.x)", "Packed(w.y, x.x)"};
            HY_TRY(replace(env, text, &of_dot, broken & dot, err));
        }
        if ((wrong | broken) & whole) {
            const fault of_format = {block, block, "return Block(", "return Block(~"};
            HY_TRY(replace(env, text, &of_format, broken & whole, err));
        }
    }
    return HY_OK;
}
