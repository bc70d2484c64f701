/* halyard/gguf.h: reading and writing GGUF files.
 *
 * A reader is immutable after it was opened and may be used from several threads.  Whatever it
 * hands out (strings, tensor data) belongs to it and lives until hy_gguf_close.  Everything it
 * hands out was checked: lengths, offsets, types, overflow, duplicates. */
#ifndef HALYARD_GGUF_H
#define HALYARD_GGUF_H

#include "types.h"

HY_BEGIN_DECLS

/* name, id, bytes of a scalar (0: variable) */
#define HY_GGUF_TYPE_LIST(X)                                                                       \
    X(UINT8, 0, 1)                                                                                 \
    X(INT8, 1, 1)                                                                                  \
    X(UINT16, 2, 2)                                                                                \
    X(INT16, 3, 2)                                                                                 \
    X(UINT32, 4, 4)                                                                                \
    X(INT32, 5, 4)                                                                                 \
    X(FLOAT32, 6, 4)                                                                               \
    X(BOOL, 7, 1)                                                                                  \
    X(STRING, 8, 0)                                                                                \
    X(ARRAY, 9, 0)                                                                                 \
    X(UINT64, 10, 8)                                                                               \
    X(INT64, 11, 8)                                                                                \
    X(FLOAT64, 12, 8)

typedef enum hy_gguf_type {
#define HY_GGUF_TYPE_ENUM(name, id, bytes) HY_GGUF_##name = id,
    HY_GGUF_TYPE_LIST(HY_GGUF_TYPE_ENUM)
#undef HY_GGUF_TYPE_ENUM
} hy_gguf_type;

typedef struct hy_gguf hy_gguf;

typedef struct hy_gguf_opts {
    size_t size;
    bool no_mmap; /* read the file into memory instead of mapping it */
} hy_gguf_opts;

typedef struct hy_gguf_tensor {
    const char *name; /* NUL-terminated, at most 63 bytes */
    hy_type type;
    uint32_t n_dims; /* as written in the file, 0..4 */
    uint64_t ne[4];  /* ne[0] is contiguous; 1 where absent */
    uint64_t n_elems;
    uint64_t bytes;       /* of the encoded data */
    const void *data;     /* in the mapping */
    uint64_t file_offset; /* absolute, in the file it is in */
    uint32_t file_index;  /* which part of a split model, 0-based */
} hy_gguf_tensor;

/* Opens a model file; for a split model the path of its first part ("-00001-of-0000N.gguf"), the
 * others are found beside it.  env NULL: the operating system. Errors: HY_E_IO, HY_E_TRUNCATED,
 * HY_E_FORMAT, HY_E_LIMIT, HY_E_UNSUPPORTED (GGUF version 1, big-endian), HY_E_NOMEM. */
HY_API HY_CHECK hy_status hy_gguf_open(const char *path, const hy_gguf_opts *opts,
                                       const hy_env *env, hy_gguf **out, hy_error *err);
/* The same from bytes that the caller keeps alive and unchanged until close. Split models are
 * refused. */
HY_API HY_CHECK hy_status hy_gguf_open_memory(const void *data, size_t bytes, const hy_env *env,
                                              hy_gguf **out, hy_error *err);
HY_API void hy_gguf_close(hy_gguf *g);

HY_API uint32_t hy_gguf_version(const hy_gguf *g);
HY_API uint32_t hy_gguf_alignment(const hy_gguf *g); /* of the first file */
HY_API uint32_t hy_gguf_n_files(const hy_gguf *g);
HY_API uint64_t hy_gguf_file_bytes(const hy_gguf *g); /* of all files together */

/* Metadata by index, 0 <= key < hy_gguf_n_keys, in file order. For an array, `type` is
 * HY_GGUF_ARRAY. */
HY_API size_t hy_gguf_n_keys(const hy_gguf *g);
HY_API hy_str hy_gguf_key_name(const hy_gguf *g, size_t key);
HY_API hy_gguf_type hy_gguf_key_type(const hy_gguf *g, size_t key);
/* Absolute file offset of the value, for error sentences. */
HY_API uint64_t hy_gguf_key_offset(const hy_gguf *g, size_t key);
/* Element type and count of an array; count 1 and the key's own type for a scalar. */
HY_API hy_gguf_type hy_gguf_elem_type(const hy_gguf *g, size_t key);
HY_API size_t hy_gguf_elem_count(const hy_gguf *g, size_t key);
/* Index of a key, or -1. */
HY_API ptrdiff_t hy_gguf_find_key(const hy_gguf *g, const char *name);

/* Element i of a value (i = 0 for a scalar).  Integers of every width and bools for *_int, floats
 * and integers for *_float, strings for *_str.  False if the element type is another or i is out of
 * range. */
HY_API bool hy_gguf_elem_int(const hy_gguf *g, size_t key, size_t i, int64_t *out);
HY_API bool hy_gguf_elem_uint(const hy_gguf *g, size_t key, size_t i, uint64_t *out);
HY_API bool hy_gguf_elem_float(const hy_gguf *g, size_t key, size_t i, double *out);
HY_API bool hy_gguf_elem_str(const hy_gguf *g, size_t key, size_t i, hy_str *out);

/* Scalars by name.  HY_E_NOT_FOUND if there is no such key (err is not written, so that an optional
 * key costs nothing); HY_E_FORMAT, with the key's name and both types or the range, if it is
 * something else. */
HY_API hy_status hy_gguf_get_u32(const hy_gguf *g, const char *name, uint32_t min, uint32_t max,
                                 uint32_t *out, hy_error *err);
HY_API hy_status hy_gguf_get_f32(const hy_gguf *g, const char *name, float *out, hy_error *err);
HY_API hy_status hy_gguf_get_bool(const hy_gguf *g, const char *name, bool *out, hy_error *err);
HY_API hy_status hy_gguf_get_str(const hy_gguf *g, const char *name, hy_str *out, hy_error *err);

HY_API size_t hy_gguf_n_tensors(const hy_gguf *g);
HY_API const hy_gguf_tensor *hy_gguf_tensor_at(const hy_gguf *g, size_t i);
HY_API const hy_gguf_tensor *hy_gguf_find_tensor(const hy_gguf *g, const char *name); /* or NULL */

/* ---- writing: declare all metadata and tensors, begin, then write each tensor's data in order,
 * finish. The file appears under its name only when finish succeeds; until then it is "PATH.part".
 */
typedef struct hy_gguf_writer hy_gguf_writer;

HY_API HY_CHECK hy_status hy_gguf_writer_create(const hy_env *env, hy_gguf_writer **out,
                                                hy_error *err);
/* Also removes an unfinished ".part" file. */
HY_API void hy_gguf_writer_destroy(hy_gguf_writer *w);
/* Setting a key again replaces its value. */
HY_API HY_CHECK hy_status hy_gguf_writer_set_u32(hy_gguf_writer *w, const char *key, uint32_t value,
                                                 hy_error *err);
HY_API HY_CHECK hy_status hy_gguf_writer_set_f32(hy_gguf_writer *w, const char *key, float value,
                                                 hy_error *err);
HY_API HY_CHECK hy_status hy_gguf_writer_set_bool(hy_gguf_writer *w, const char *key, bool value,
                                                  hy_error *err);
HY_API HY_CHECK hy_status hy_gguf_writer_set_str(hy_gguf_writer *w, const char *key, hy_str value,
                                                 hy_error *err);
/* A whole array; `values` holds n elements of the scalar type `elem`, or n hy_str for
 * HY_GGUF_STRING. */
HY_API HY_CHECK hy_status hy_gguf_writer_set_array(hy_gguf_writer *w, const char *key,
                                                   hy_gguf_type elem, const void *values, size_t n,
                                                   hy_error *err);
/* Key number `key` of a reader, whatever its type. split.no, split.count and split.tensors.count,
 * which tell how the source is cut into files, are left out: that is success. */
HY_API HY_CHECK hy_status hy_gguf_writer_copy_key(hy_gguf_writer *w, const hy_gguf *from,
                                                  size_t key, hy_error *err);
HY_API HY_CHECK hy_status hy_gguf_writer_add_tensor(hy_gguf_writer *w, const char *name,
                                                    hy_type type, uint32_t n_dims,
                                                    const uint64_t *ne, hy_error *err);
HY_API HY_CHECK hy_status hy_gguf_writer_begin(hy_gguf_writer *w, const char *path, hy_error *err);
/* The next bytes of tensor data, in any pieces; padding between tensors is put in by itself. */
HY_API HY_CHECK hy_status hy_gguf_writer_data(hy_gguf_writer *w, const void *data, size_t bytes,
                                              hy_error *err);
HY_API HY_CHECK hy_status hy_gguf_writer_finish(hy_gguf_writer *w, hy_error *err);

HY_END_DECLS

#endif
