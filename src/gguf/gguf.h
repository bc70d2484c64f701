/* gguf.h: what the files of this folder share: limits, the metadata table, a cursor over untrusted
 * bytes.
 *
 * Nothing here allocates on a number that a file declares before that many bytes were proven to be
 * in it. */
#ifndef HY_GGUF_GGUF_H
#define HY_GGUF_GGUF_H

#include <inttypes.h>

#include "base/base.h"
#include "halyard/gguf.h"

/* The limits; docs/formats/gguf.md has the same list with the reasons. */
#define HY__GGUF_MAX_KEYS 65536u
#define HY__GGUF_MAX_TENSORS 65536u /* of all files of a model together */
#define HY__GGUF_MAX_KEY_BYTES 65535u
#define HY__GGUF_MAX_NAME_BYTES 63u /* of a tensor name */
#define HY__GGUF_MAX_STRING_BYTES (64u << 20)
#define HY__GGUF_MAX_STRINGS (1u << 24) /* in the arrays of one file together */
#define HY__GGUF_MAX_ELEMS (1u << 28)   /* in an array of scalars */
#define HY__GGUF_MIN_ALIGNMENT 8u
#define HY__GGUF_MAX_ALIGNMENT (1u << 20)
#define HY__GGUF_DEFAULT_ALIGNMENT 32u
#define HY__GGUF_MAX_DIM (UINT64_C(1) << 40)
#define HY__GGUF_MAX_FILES 1000u

#define HY__GGUF_HEADER_BYTES 24u
#define HY__GGUF_MIN_KEY_RECORD 14u    /* length 8, one byte of name, type 4, one byte of value */
#define HY__GGUF_MIN_TENSOR_RECORD 25u /* length 8, one byte, n_dims 4, type 4, offset 8 */

/* Names in error sentences are cut after this. */
#define HY__GGUF_SHOWN 96

/* A position in `end` bytes.  pos <= end always. */
typedef struct hy__gguf_cursor {
    const uint8_t *data;
    uint64_t pos;
    uint64_t end;
} hy__gguf_cursor;

static inline uint64_t hy__gguf_left(const hy__gguf_cursor *c)
{
    return c->end - c->pos;
}

/* The next n bytes, or NULL (and the cursor stays) if the file ends before. */
static inline const uint8_t *hy__gguf_take(hy__gguf_cursor *c, uint64_t n)
{
    if (n > c->end - c->pos) {
        return NULL;
    }
    const uint8_t *p = c->data + (size_t)c->pos;
    c->pos += n;
    return p;
}

/* One key.  Its name and type lie in the file right before the value, so only what is slow to find
 * is kept. */
typedef struct hy__gguf_key {
    uint64_t offset;   /* of the value in the file; of an array: of its element type */
    uint32_t strings;  /* of a string array: its first entry in hy__gguf_kv.strings */
    uint16_t name_len; /* bytes */
    uint8_t type;
    uint8_t elem_type; /* the same as type for a scalar */
} hy__gguf_key;

typedef struct hy__gguf_kv {
    const uint8_t *data; /* of the file; not owned */
    hy__gguf_key *keys;  /* [n] in file order */
    size_t n;
    hy__strmap map; /* name -> index */
    uint32_t *strings; /* [n_strings] where each begins, counted from the first of its array */
    size_t n_strings;
    size_t cap_strings;
} hy__gguf_kv;

/* Reads and checks n_kv records at the cursor, which ends behind them.  The caller has proven that
 * n_kv <= HY__GGUF_MAX_KEYS records of the smallest size fit.  kv must be zeroed; finish it also
 * after failure.
 * Errors: HY_E_TRUNCATED, HY_E_FORMAT, HY_E_LIMIT, HY_E_UNSUPPORTED, HY_E_NOMEM. */
hy_status hy__gguf_kv_parse(const hy_env *env, hy__gguf_cursor *c, size_t n_kv, hy__gguf_kv *kv,
                            hy_error *err);
void hy__gguf_kv_finish(const hy_env *env, hy__gguf_kv *kv);
ptrdiff_t hy__gguf_kv_find(const hy__gguf_kv *kv, const char *name);
hy_str hy__gguf_kv_name(const hy__gguf_kv *kv, size_t key);
size_t hy__gguf_kv_count(const hy__gguf_kv *kv, size_t key);
bool hy__gguf_kv_uint(const hy__gguf_kv *kv, size_t key, size_t i, uint64_t *out);
bool hy__gguf_kv_str(const hy__gguf_kv *kv, size_t key, size_t i, hy_str *out);
/* As hy_gguf_get_u32. */
hy_status hy__gguf_kv_get_u32(const hy__gguf_kv *kv, const char *name, uint32_t min, uint32_t max,
                              uint32_t *out, hy_error *err);
/* general.alignment, checked, or the default. */
hy_status hy__gguf_kv_alignment(const hy__gguf_kv *kv, uint32_t *out, hy_error *err);
/* All bytes of a value as they are in the file, the element type and count of an array included. */
hy_str hy__gguf_kv_value(const hy__gguf_kv *kv, size_t key);
/* Bytes of all strings of an array of strings together, without their lengths. */
uint64_t hy__gguf_string_bytes(const hy_gguf *g, size_t key);
/* The metadata of an open file. */
const hy__gguf_kv *hy__gguf_metadata(const hy_gguf *g);
/* Whether all tensors lie in file mappings of the operating system, so that hy__advise_drop may be
 * used on them. */
bool hy__gguf_is_mapped(const hy_gguf *g);

/* "UINT32" and so on; "?" for an id that does not exist. */
const char *hy__gguf_type_name(unsigned id);
/* Bytes of a scalar; 0 for strings, arrays and unknown ids. */
uint32_t hy__gguf_type_bytes(uint32_t id);

/* Whether `a` may be an alignment: a power of two from 8 to 1 MiB. */
static inline bool hy__gguf_alignment_ok(uint64_t a)
{
    return a >= HY__GGUF_MIN_ALIGNMENT && a <= HY__GGUF_MAX_ALIGNMENT && (a & (a - 1)) == 0;
}

/* The smallest multiple of `alignment` (a power of two) that is >= x; false on overflow. */
static inline bool hy__gguf_align(uint64_t x, uint32_t alignment, uint64_t *out)
{
    uint64_t sum;
    if (!hy__add_u64(x, alignment - 1u, &sum)) {
        return false;
    }
    *out = sum & ~(uint64_t)(alignment - 1u);
    return true;
}

/* Elements and encoded bytes of a tensor from its type id and dimensions (n_dims <= 4), every step
 * checked; sets *type too.  The sentence does not name the tensor: the caller puts that in front.
 * Errors: HY_E_UNSUPPORTED (unknown or removed type), HY_E_FORMAT, HY_E_LIMIT. */
hy_status hy__gguf_tensor_size(uint32_t type_id, uint32_t n_dims, const uint64_t *ne, hy_type *type,
                               uint64_t *n_elems, uint64_t *bytes, hy_error *err);

#endif
