/* reader.c: opening GGUF files: bytes, header, tensor table, the files of a split model.
 *
 * An hy_gguf owns its mappings (or copies) and tables; hy_gguf_open_memory's bytes stay the
 * caller's.  It is immutable once opened, so any thread may read it; only one may close it.
 *
 * A mapping shows the file as it is now: if somebody cuts the file short while it is mapped,
 * touching the lost pages ends the process (SIGBUS).  hy_gguf_opts.no_mmap reads a private copy for
 * files that others may change. */
#include "gguf.h"

#include <stdio.h>

/* Longest "-00001-of-01000.gguf" with its NUL. */
#define SUFFIX_BYTES 32

typedef struct gguf_file {
    const uint8_t *data;
    uint64_t bytes;
    void *copy; /* the bytes if they were read into memory, by hy__free */
    bool mapped;
    char *path; /* of a split model, for sentences; else NULL */
    uint32_t version;
    uint32_t alignment;
    uint32_t n_tensors;
    uint64_t tensors_at; /* where the tensor records begin */
} gguf_file;

struct hy_gguf {
    hy_env env;
    gguf_file *files; /* [n_files] */
    uint32_t n_files;
    hy__gguf_kv kv;          /* of the first file */
    hy_gguf_tensor *tensors; /* [n_tensors] in file order, files one after the other */
    size_t n_tensors;
    char *names;           /* of all tensors, NUL-terminated */
    hy__strmap tensor_map; /* name -> index */
};

const hy__gguf_kv *hy__gguf_metadata(const hy_gguf *g)
{
    return &g->kv;
}

uint64_t hy__gguf_string_bytes(const hy_gguf *g, size_t key)
{
    const uint64_t n = hy__gguf_kv_count(&g->kv, key);
    return hy__gguf_kv_value(&g->kv, key).len - 12 - 8 * n; /* type, count; a length each */
}

/* ---- bytes */

static void close_bytes(const hy_env *env, gguf_file *f)
{
    if (f->mapped) {
        env->file_unmap(env->user, f->data, f->bytes);
    }
    hy__free(env, f->copy);
    hy__free(env, f->path);
    memset(f, 0, sizeof *f);
}

static hy_status check_size(uint64_t bytes, hy_error *err)
{
    if (bytes < HY__GGUF_HEADER_BYTES) {
        return hy__fail(err, HY_E_TRUNCATED,
                        "the file has %" PRIu64 " bytes, the header of a GGUF file alone has %u",
                        bytes, HY__GGUF_HEADER_BYTES);
    }
    if (bytes > SIZE_MAX) {
        return hy__fail(err, HY_E_LIMIT,
                        "the file has %" PRIu64 " bytes, this machine can address %zu", bytes,
                        (size_t)SIZE_MAX);
    }
    return HY_OK;
}

/* Maps or reads the open file `handle` of f->bytes bytes. */
static hy_status load_bytes(const hy_env *env, void *handle, bool no_mmap, gguf_file *f,
                            hy_error *err)
{
    HY_TRY(check_size(f->bytes, err));
    if (!no_mmap) {
        const void *data = NULL;
        const hy_status status = env->file_map(env->user, handle, f->bytes, &data, err);
        if (status == HY_OK) {
            f->data = data;
            f->mapped = true;
            return HY_OK;
        }
        if (status != HY_E_UNSUPPORTED) {
            return status;
        }
    }
    f->copy = hy__alloc(env, (size_t)f->bytes, 1, err);
    if (!f->copy) {
        return HY_E_NOMEM;
    }
    f->data = f->copy;
    return env->file_read(env->user, handle, 0, f->copy, (size_t)f->bytes, err);
}

static hy_status open_bytes(const hy_env *env, const char *path, bool no_mmap, gguf_file *f,
                            hy_error *err)
{
    void *handle = NULL;
    HY_TRY(env->file_open(env->user, path, HY_FILE_READ, &handle, &f->bytes, err));
    hy_status status = load_bytes(env, handle, no_mmap, f, err);
    if (status == HY_E_IO) { /* the system knows the handle only; what opening says has the path */
        status = hy__wrap(err, status, "%s", path);
    }
    (void)env->file_close(env->user, handle, NULL); /* opened for reading: nothing can be lost */
    return status;
}

/* ---- header and metadata of one file */

static hy_status check_version(uint32_t version, hy_error *err)
{
    if (version == 2 || version == 3) {
        return HY_OK;
    }
    if ((version & 0xFFFF) == 0 && version != 0) {
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "wrong endianness: the version at offset 4 reads 0x%08" PRIx32
                        ", so this is a big-endian file; Halyard reads little-endian ones",
                        version);
    }
    if (version == 1) {
        return hy__fail(
            err, HY_E_UNSUPPORTED,
            "GGUF version 1 at offset 4 is obsolete and not read; convert the file to version 3");
    }
    return hy__fail(err, version == 0 ? HY_E_FORMAT : HY_E_UNSUPPORTED,
                    "GGUF version %" PRIu32 " at offset 4 is unknown; versions 2 and 3 are read",
                    version);
}

/* Reads header and metadata of f into kv (zeroed by the caller, finished by the caller also after
 * failure). */
static hy_status parse_head(const hy_env *env, gguf_file *f, hy__gguf_kv *kv, hy_error *err)
{
    hy__gguf_cursor c = {f->data, 0, f->bytes};
    const uint8_t *b = hy__gguf_take(&c, HY__GGUF_HEADER_BYTES);
    if (memcmp(b, "GGUF", 4) != 0) {
        return hy__fail(
            err, HY_E_FORMAT,
            "not a GGUF file: it begins with the bytes %02x %02x %02x %02x instead of \"GGUF\"",
            b[0], b[1], b[2], b[3]);
    }
    f->version = hy__load_u32(b + 4);
    HY_TRY(check_version(f->version, err));
    const uint64_t n_tensors = hy__load_u64(b + 8);
    const uint64_t n_kv = hy__load_u64(b + 16);
    const uint64_t left = hy__gguf_left(&c);
    if (n_kv > left / HY__GGUF_MIN_KEY_RECORD) {
        return hy__fail(err, HY_E_TRUNCATED,
                        "the header counts %" PRIu64 " keys (offset 16), too many for the %" PRIu64
                        " bytes behind it",
                        n_kv, left);
    }
    if (n_kv > HY__GGUF_MAX_KEYS) {
        return hy__fail(err, HY_E_LIMIT,
                        "the header counts %" PRIu64 " keys (offset 16), the limit is %u", n_kv,
                        HY__GGUF_MAX_KEYS);
    }
    const uint64_t left_for_tensors = left - n_kv * HY__GGUF_MIN_KEY_RECORD;
    if (n_tensors > left_for_tensors / HY__GGUF_MIN_TENSOR_RECORD) {
        return hy__fail(err, HY_E_TRUNCATED,
                        "the header counts %" PRIu64
                        " tensors (offset 8), too many for the %" PRIu64 " bytes behind it",
                        n_tensors, left);
    }
    if (n_tensors > HY__GGUF_MAX_TENSORS) {
        return hy__fail(err, HY_E_LIMIT,
                        "the header counts %" PRIu64 " tensors (offset 8), the limit is %u",
                        n_tensors, HY__GGUF_MAX_TENSORS);
    }
    f->n_tensors = (uint32_t)n_tensors;
    HY_TRY(hy__gguf_kv_parse(env, &c, (size_t)n_kv, kv, err));
    f->tensors_at = c.pos;
    HY_TRY(hy__gguf_kv_alignment(kv, &f->alignment, err));
    /* Each tensor takes its record and, all but the last, one unit of alignment: checked before any
     * table is made. */
    if (n_tensors > 0 &&
        n_tensors * HY__GGUF_MIN_TENSOR_RECORD + (n_tensors - 1) * f->alignment + 1 >
            hy__gguf_left(&c)) {
        return hy__fail(err, HY_E_TRUNCATED,
                        "%" PRIu64 " tensors do not fit into the %" PRIu64
                        " bytes that the file has left after its keys, at offset %" PRIu64,
                        n_tensors, hy__gguf_left(&c), c.pos);
    }
    return HY_OK;
}

/* ---- tensors */

hy_status hy__gguf_tensor_size(uint32_t type_id, uint32_t n_dims, const uint64_t *ne, hy_type *type,
                               uint64_t *n_elems, uint64_t *bytes, hy_error *err)
{
    const hy_type_info *info = hy_type_find(type_id);
    if (!info) {
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "tensor type %" PRIu32 " is unknown or was removed from the format",
                        type_id);
    }
    uint64_t elems = 1;
    for (uint32_t i = 0; i < n_dims; i++) {
        if (ne[i] == 0) {
            return hy__fail(err, HY_E_FORMAT, "dimension %" PRIu32 " is 0", i);
        }
        if (ne[i] > HY__GGUF_MAX_DIM) {
            return hy__fail(err, HY_E_LIMIT,
                            "dimension %" PRIu32 " is %" PRIu64 ", the limit is %" PRIu64, i, ne[i],
                            HY__GGUF_MAX_DIM);
        }
        if (!hy__mul_u64(elems, ne[i], &elems) || elems > INT64_MAX) {
            return hy__fail(err, HY_E_FORMAT, "the product of the dimensions is over 2^63");
        }
    }
    const uint64_t row = n_dims > 0 ? ne[0] : 1;
    if (row % info->block_elems != 0) {
        return hy__fail(err, HY_E_FORMAT,
                        "rows of %" PRIu64 " elements are no multiple of the %" PRIu32
                        " in a block of %s",
                        row, info->block_elems, info->name);
    }
    uint64_t size;
    if (!hy__mul_u64(elems / info->block_elems, info->block_bytes, &size) || size > SIZE_MAX) {
        return hy__fail(err, HY_E_FORMAT,
                        "the size in bytes of %" PRIu64 " elements of %s does not fit into %u bits",
                        elems, info->name, (unsigned)(sizeof(size_t) * 8));
    }
    *type = info->type;
    *n_elems = elems;
    *bytes = size;
    return HY_OK;
}

/* The state of reading one file's tensor records. */
typedef struct tensor_reader {
    hy_gguf *g;
    const gguf_file *f;
    uint32_t file_index;
    hy__gguf_cursor c;
    size_t names_used; /* bytes of g->names */
    uint64_t next;     /* offset in the data part where the next tensor must begin */
} tensor_reader;

static hy_status cut_short(const char *what, const char *name, uint64_t at, hy_error *err)
{
    return hy__fail(err, HY_E_TRUNCATED,
                    "tensor '%s' at offset %" PRIu64 ": the file ends inside %s", name, at, what);
}

/* Reads the name into g->names. */
static hy_status read_name(tensor_reader *r, hy_gguf_tensor *t, hy_error *err)
{
    const uint64_t at = r->c.pos;
    const size_t number = r->g->n_tensors;
    const uint8_t *b = hy__gguf_take(&r->c, 8);
    if (!b) {
        return hy__fail(err, HY_E_TRUNCATED,
                        "tensor number %zu at offset %" PRIu64
                        ": the file ends inside its name's length",
                        number, at);
    }
    const uint64_t len = hy__load_u64(b);
    if (len > hy__gguf_left(&r->c)) {
        return hy__fail(err, HY_E_TRUNCATED,
                        "tensor number %zu at offset %" PRIu64 ": its name is said to have %" PRIu64
                        " bytes, the file has %" PRIu64 " left",
                        number, at, len, hy__gguf_left(&r->c));
    }
    if (len > HY__GGUF_MAX_NAME_BYTES) {
        return hy__fail(err, HY_E_LIMIT,
                        "tensor number %zu at offset %" PRIu64 ": its name has %" PRIu64
                        " bytes, the limit is %u",
                        number, at, len, HY__GGUF_MAX_NAME_BYTES);
    }
    if (len == 0) {
        return hy__fail(err, HY_E_FORMAT,
                        "tensor number %zu at offset %" PRIu64 " has an empty name", number, at);
    }
    const char *name = (const char *)hy__gguf_take(&r->c, len);
    if (memchr(name, 0, (size_t)len)) {
        return hy__fail(err, HY_E_FORMAT,
                        "tensor number %zu at offset %" PRIu64 ": a NUL byte in its name", number,
                        at);
    }
    char *copy = r->g->names + r->names_used;
    memcpy(copy, name, (size_t)len);
    copy[len] = '\0';
    r->names_used += (size_t)len + 1;
    t->name = copy;
    uint32_t first = 0;
    if (!hy__strmap_put(&r->g->tensor_map, copy, (size_t)len, (uint32_t)number)) {
        (void)hy__strmap_get(&r->g->tensor_map, copy, (size_t)len, &first);
        char shown[HY__GGUF_SHOWN];
        return hy__fail(err, HY_E_FORMAT,
                        "tensor '%s' at offset %" PRIu64 ": the same name as tensor number %" PRIu32
                        " in file number %" PRIu32,
                        hy__printable((hy_str){copy, (size_t)len}, shown, sizeof shown), at, first,
                        r->g->tensors[first].file_index);
    }
    return HY_OK;
}

/* Shape, type and offset, up to the next record. */
static hy_status read_shape(tensor_reader *r, hy_gguf_tensor *t, const char *shown, uint64_t at,
                            hy_error *err)
{
    const uint8_t *b = hy__gguf_take(&r->c, 4);
    if (!b) {
        return cut_short("the number of dimensions", shown, at, err);
    }
    t->n_dims = hy__load_u32(b);
    if (t->n_dims > HY_COUNT(t->ne)) {
        return hy__fail(err, HY_E_FORMAT,
                        "tensor '%s' at offset %" PRIu64 ": %" PRIu32 " dimensions, the limit is 4",
                        shown, at, t->n_dims);
    }
    b = hy__gguf_take(&r->c, (uint64_t)t->n_dims * 8);
    if (!b) {
        return cut_short("the dimensions", shown, at, err);
    }
    for (uint32_t i = 0; i < HY_COUNT(t->ne); i++) {
        t->ne[i] = i < t->n_dims ? hy__load_u64(b + 8 * i) : 1;
    }
    b = hy__gguf_take(&r->c, 12);
    if (!b) {
        return cut_short("the type and offset", shown, at, err);
    }
    const hy_status status = hy__gguf_tensor_size(hy__load_u32(b), t->n_dims, t->ne, &t->type,
                                                  &t->n_elems, &t->bytes, err);
    if (status != HY_OK) {
        return hy__wrap(err, status, "tensor '%s' at offset %" PRIu64, shown, at);
    }
    const uint64_t offset = hy__load_u64(b + 4);
    if (offset % r->f->alignment != 0) {
        return hy__fail(err, HY_E_FORMAT,
                        "tensor '%s' at offset %" PRIu64 ": its data offset %" PRIu64
                        " is no multiple of the alignment %" PRIu32,
                        shown, at, offset, r->f->alignment);
    }
    if (offset != r->next) {
        return hy__fail(err, HY_E_FORMAT,
                        "tensor '%s' at offset %" PRIu64 ": its data offset is %" PRIu64
                        ", right behind the tensor before it would be %" PRIu64,
                        shown, at, offset, r->next);
    }
    uint64_t end;
    if (!hy__add_u64(offset, t->bytes, &end) || !hy__gguf_align(end, r->f->alignment, &r->next)) {
        return hy__fail(err, HY_E_FORMAT,
                        "tensor '%s' at offset %" PRIu64
                        ": the sizes of the tensors up to here add up to over 2^64",
                        shown, at);
    }
    t->file_offset = offset; /* from the data part's start, until that is known */
    return HY_OK;
}

/* Turns offsets into places in the file, now that the end of the records is known. */
static hy_status place_tensors(tensor_reader *r, size_t first, hy_error *err)
{
    uint64_t start = UINT64_MAX; /* stays if it overflows: then there is no room behind it */
    (void)hy__gguf_align(r->c.pos, r->f->alignment, &start);
    for (size_t i = first; i < r->g->n_tensors; i++) {
        hy_gguf_tensor *t = &r->g->tensors[i];
        const uint64_t room = start > r->f->bytes ? 0 : r->f->bytes - start;
        if (t->file_offset > room || t->bytes > room - t->file_offset) {
            char shown[HY__GGUF_SHOWN];
            return hy__fail(err, HY_E_TRUNCATED,
                            "tensor '%s': %" PRIu64 " bytes of data at %" PRIu64
                            " behind offset %" PRIu64 ", but the file ends at offset %" PRIu64
                            "; it is incomplete",
                            hy__printable((hy_str){t->name, strlen(t->name)}, shown, sizeof shown),
                            t->bytes, t->file_offset, start, r->f->bytes);
        }
        t->file_offset += start;
        t->file_index = r->file_index;
        t->data = r->f->data + (size_t)t->file_offset;
    }
    return HY_OK;
}

static hy_status parse_tensors(tensor_reader *r, hy_error *err)
{
    const size_t first = r->g->n_tensors;
    for (uint32_t i = 0; i < r->f->n_tensors; i++) {
        hy_gguf_tensor *t = &r->g->tensors[r->g->n_tensors];
        const uint64_t at = r->c.pos;
        t->file_index = r->file_index;
        HY_TRY(read_name(r, t, err));
        char shown[HY__GGUF_SHOWN];
        hy__printable((hy_str){t->name, strlen(t->name)}, shown, sizeof shown);
        HY_TRY(read_shape(r, t, shown, at, err));
        r->g->n_tensors++;
    }
    return place_tensors(r, first, err);
}

/* "model-00002-of-00003.gguf: " in front of a sentence about a part of a split model. */
static hy_status in_file(const gguf_file *f, hy_status status, hy_error *err)
{
    if (status == HY_OK || !f->path) {
        return status;
    }
    const char *slash = strrchr(f->path, '/');
    return hy__wrap(err, status, "%s", slash ? slash + 1 : f->path);
}

/* The tables of all tensors of all files, whose heads were parsed and whose number of tensors is
 * within the limit. */
static hy_status read_tensors(hy_gguf *g, hy_error *err)
{
    uint64_t n = 0;
    uint64_t names = 0;
    for (uint32_t i = 0; i < g->n_files; i++) {
        const gguf_file *f = &g->files[i];
        n += f->n_tensors;
        /* A name with its NUL takes less than it does in the file, with its length. */
        names += HY_MIN(f->bytes - f->tensors_at,
                        (uint64_t)f->n_tensors * (HY__GGUF_MAX_NAME_BYTES + 1));
    }
    g->tensors = hy__calloc(&g->env, (size_t)n, sizeof *g->tensors, err);
    g->names = g->tensors ? hy__alloc(&g->env, (size_t)names, 1, err) : NULL;
    if (!g->names) {
        return HY_E_NOMEM;
    }
    HY_TRY(hy__strmap_init(&g->env, &g->tensor_map, (size_t)n, err));
    size_t names_used = 0;
    for (uint32_t i = 0; i < g->n_files; i++) {
        const gguf_file *f = &g->files[i];
        tensor_reader r = {g, f, i, {f->data, f->tensors_at, f->bytes}, names_used, 0};
        HY_TRY(in_file(f, parse_tensors(&r, err), err));
        names_used = r.names_used;
    }
    return HY_OK;
}

/* ---- split models */

/* How many files the first one says there are; 1 if it says nothing. */
static hy_status split_count(const hy_gguf *g, uint32_t *count, hy_error *err)
{
    hy_status status =
        hy__gguf_kv_get_u32(&g->kv, "split.count", 0, HY__GGUF_MAX_FILES, count, err);
    if (status == HY_E_NOT_FOUND || (status == HY_OK && *count <= 1)) {
        *count = 1;
        return HY_OK;
    }
    return status;
}

/* split.* of a part must be there and equal `want`. */
static hy_status expect(const hy__gguf_kv *kv, const char *key, uint32_t want, hy_error *err)
{
    uint32_t is;
    const hy_status status = hy__gguf_kv_get_u32(kv, key, 0, UINT32_MAX, &is, err);
    if (status == HY_E_NOT_FOUND) {
        return hy__fail(err, HY_E_FORMAT, "part of a split model without the key '%s'", key);
    }
    if (status == HY_OK && is != want) {
        return hy__fail(err, HY_E_FORMAT, "key '%s' is %" PRIu32 ", expected is %" PRIu32, key, is,
                        want);
    }
    return status;
}

/* Opens part i and checks that it belongs to the model.  Its keys are of no further use. */
static hy_status open_part(hy_gguf *g, gguf_file *f, uint32_t i, uint32_t count, bool no_mmap,
                           hy_error *err)
{
    hy__gguf_kv kv = {0};
    hy_status status = open_bytes(&g->env, f->path, no_mmap, f, err);
    if (status == HY_OK) {
        status = parse_head(&g->env, f, &kv, err);
    }
    if (status == HY_OK) {
        status = expect(&kv, "split.no", i, err);
    }
    if (status == HY_OK) {
        status = expect(&kv, "split.count", count, err);
    }
    hy__gguf_kv_finish(&g->env, &kv);
    return in_file(f, status, err);
}

/* Checks what the first file says about the split and opens the others, whose names come from
 * `path` alone. */
static hy_status open_parts(hy_gguf *g, const char *path, uint32_t count, bool no_mmap,
                            hy_error *err)
{
    uint32_t no = 0;
    hy_status status = hy__gguf_kv_get_u32(&g->kv, "split.no", 0, UINT32_MAX, &no, err);
    if (status == HY_E_NOT_FOUND) {
        return expect(&g->kv, "split.no", 0, err);
    }
    HY_TRY(status);
    if (no != 0) {
        return hy__fail(
            err, HY_E_UNSUPPORTED,
            "this is part %" PRIu64 " of %" PRIu32
            " (key 'split.no'): open the first one, whose name ends in -00001-of-%05" PRIu32
            ".gguf",
            (uint64_t)no + 1, count, count);
    }
    char suffix[SUFFIX_BYTES];
    snprintf(suffix, sizeof suffix, "-00001-of-%05" PRIu32 ".gguf", count);
    const size_t suffix_len = strlen(suffix);
    const size_t path_len = strlen(path);
    if (path_len < suffix_len || strcmp(path + path_len - suffix_len, suffix) != 0) {
        return hy__fail(err, HY_E_FORMAT,
                        "key 'split.count' says %" PRIu32
                        " files, but this file's name does not end in %s: the "
                        "others cannot be found",
                        count, suffix);
    }
    gguf_file *files = hy__realloc(&g->env, g->files, count, sizeof *files, err);
    if (!files) {
        return HY_E_NOMEM;
    }
    memset(files + 1, 0, (count - 1) * sizeof *files);
    g->files = files;
    g->n_files = count;
    uint64_t n_tensors = 0;
    for (uint32_t i = 0; i < count; i++) {
        gguf_file *f = &g->files[i];
        f->path = hy__strndup(&g->env, path, path_len, err);
        if (!f->path) {
            return HY_E_NOMEM;
        }
        snprintf(suffix, sizeof suffix, "-%05" PRIu32 "-of-%05" PRIu32 ".gguf", i + 1, count);
        memcpy(f->path + path_len - suffix_len, suffix, suffix_len);
        if (i > 0) {
            HY_TRY(open_part(g, f, i, count, no_mmap, err));
        }
        n_tensors += f->n_tensors;
    }
    if (n_tensors > HY__GGUF_MAX_TENSORS) {
        return hy__fail(err, HY_E_LIMIT,
                        "the %" PRIu32 " files have %" PRIu64 " tensors together, the limit is %u",
                        count, n_tensors, HY__GGUF_MAX_TENSORS);
    }
    return in_file(&g->files[0], expect(&g->kv, "split.tensors.count", (uint32_t)n_tensors, err),
                   err);
}

/* ---- opening and closing */

/* A reader with one file, whose bytes are not there yet. */
static hy_gguf *new_reader(const hy_env *env, hy_error *err)
{
    hy_env resolved;
    hy__env_resolve(&resolved, env);
    hy_gguf *g = hy__calloc(&resolved, 1, sizeof *g, err);
    if (!g) {
        return NULL;
    }
    g->env = resolved;
    g->files = hy__calloc(&g->env, 1, sizeof *g->files, err);
    if (!g->files) {
        hy_gguf_close(g);
        return NULL;
    }
    g->n_files = 1;
    return g;
}

hy_status hy_gguf_open(const char *path, const hy_gguf_opts *opts, const hy_env *env, hy_gguf **out,
                       hy_error *err)
{
    *out = NULL;
    const bool no_mmap = opts &&
                         opts->size >= offsetof(hy_gguf_opts, no_mmap) + sizeof opts->no_mmap &&
                         opts->no_mmap;
    hy_gguf *g = new_reader(env, err);
    if (!g) {
        return HY_E_NOMEM;
    }
    uint32_t count = 1;
    hy_status status = open_bytes(&g->env, path, no_mmap, &g->files[0], err);
    if (status == HY_OK) {
        status = parse_head(&g->env, &g->files[0], &g->kv, err);
    }
    if (status == HY_OK) {
        status = split_count(g, &count, err);
    }
    if (status == HY_OK && count > 1) {
        status = open_parts(g, path, count, no_mmap, err);
    }
    if (status == HY_OK) {
        status = read_tensors(g, err);
    }
    if (status != HY_OK) {
        hy_gguf_close(g);
        /* Errors of the system and of the parts of a split model name their file already. */
        const bool named = status == HY_E_IO || status == HY_E_NOMEM || count > 1;
        return named ? status : hy__wrap(err, status, "%s", path);
    }
    *out = g;
    return HY_OK;
}

hy_status hy_gguf_open_memory(const void *data, size_t bytes, const hy_env *env, hy_gguf **out,
                              hy_error *err)
{
    *out = NULL;
    HY_TRY(check_size(bytes, err));
    hy_gguf *g = new_reader(env, err);
    if (!g) {
        return HY_E_NOMEM;
    }
    g->files[0].data = data;
    g->files[0].bytes = bytes;
    uint32_t count = 1;
    hy_status status = parse_head(&g->env, &g->files[0], &g->kv, err);
    if (status == HY_OK) {
        status = split_count(g, &count, err);
    }
    if (status == HY_OK && count > 1) {
        status = hy__fail(err, HY_E_UNSUPPORTED,
                          "key 'split.count' says %" PRIu32
                          " files: a split model cannot be opened from memory",
                          count);
    }
    if (status == HY_OK) {
        status = read_tensors(g, err);
    }
    if (status != HY_OK) {
        hy_gguf_close(g);
        return status;
    }
    *out = g;
    return HY_OK;
}

void hy_gguf_close(hy_gguf *g)
{
    if (!g) {
        return;
    }
    const hy_env env = g->env;
    for (uint32_t i = 0; i < g->n_files; i++) {
        close_bytes(&env, &g->files[i]);
    }
    hy__free(&env, g->files);
    hy__gguf_kv_finish(&env, &g->kv);
    hy__free(&env, g->tensors);
    hy__free(&env, g->names);
    hy__strmap_finish(&env, &g->tensor_map);
    hy__free(&env, g);
}

uint32_t hy_gguf_version(const hy_gguf *g)
{
    return g->files[0].version;
}

uint32_t hy_gguf_alignment(const hy_gguf *g)
{
    return g->files[0].alignment;
}

uint32_t hy_gguf_n_files(const hy_gguf *g)
{
    return g->n_files;
}

bool hy__gguf_is_mapped(const hy_gguf *g)
{
    hy_env os;
    hy__os_env(&os);
    /* An environment's own file_map may return any memory. */
    bool all = g->env.file_map == os.file_map;
    for (uint32_t i = 0; i < g->n_files; i++) {
        all = all && g->files[i].mapped;
    }
    return all;
}

uint64_t hy_gguf_file_bytes(const hy_gguf *g)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < g->n_files; i++) {
        sum += g->files[i].bytes;
    }
    return sum;
}

size_t hy_gguf_n_tensors(const hy_gguf *g)
{
    return g->n_tensors;
}

const hy_gguf_tensor *hy_gguf_tensor_at(const hy_gguf *g, size_t i)
{
    return i < g->n_tensors ? &g->tensors[i] : NULL;
}

const hy_gguf_tensor *hy_gguf_find_tensor(const hy_gguf *g, const char *name)
{
    uint32_t i;
    return hy__strmap_get(&g->tensor_map, name, strlen(name), &i) ? &g->tensors[i] : NULL;
}
