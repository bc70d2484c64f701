/* fuzz_gguf.c: any bytes as a GGUF file: open, touch all that was handed out, write it back, open
 * that.
 *
 * Input: a file; or "HYSP", a u32 length, and two files of which the first has that length: a model
 * in two parts. All files live in memory. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

#include "base/base.h"
#include "halyard/gguf.h"

/* ---- a file system of a few files */

typedef struct mem_file {
    char name[64]; /* "" if free */
    uint8_t *data; /* by free() */
    size_t len;
} mem_file;

typedef struct mem_fs {
    mem_file files[4];
} mem_fs;

static mem_file *find(mem_fs *fs, const char *name)
{
    for (size_t i = 0; i < HY_COUNT(fs->files); i++) {
        if (strcmp(fs->files[i].name, name) == 0) {
            return &fs->files[i];
        }
    }
    return NULL;
}

static void fs_remove(void *user, const char *path)
{
    mem_file *f = find(user, path);
    if (f) {
        free(f->data);
        memset(f, 0, sizeof *f);
    }
}

static hy_status fs_open(void *user, const char *path, hy_file_mode mode, void **file,
                         uint64_t *bytes, hy_error *err)
{
    if (mode == HY_FILE_WRITE) {
        fs_remove(user, path);
    }
    mem_file *f = find(user, mode == HY_FILE_WRITE ? "" : path);
    if (!f) {
        return hy__fail(err, HY_E_IO, "there is no %s", path);
    }
    CHECK(strlen(path) < sizeof f->name);
    memmove(f->name, path, strlen(path) + 1);
    *file = f;
    *bytes = f->len;
    return HY_OK;
}

static hy_status fs_read(void *user, void *file, uint64_t offset, void *buf, size_t bytes,
                         hy_error *err)
{
    (void)user;
    const mem_file *f = file;
    if (offset > f->len || bytes > f->len - offset) {
        return hy__fail(err, HY_E_TRUNCATED, "read behind the end of %s", f->name);
    }
    memcpy(buf, f->data + offset, bytes);
    return HY_OK;
}

static hy_status fs_write(void *user, void *file, const void *buf, size_t bytes, hy_error *err)
{
    (void)user;
    mem_file *f = file;
    uint8_t *grown = realloc(f->data, f->len + bytes);
    if (!grown) {
        return hy__fail(err, HY_E_IO, "no room for %s", f->name);
    }
    memcpy(grown + f->len, buf, bytes);
    f->data = grown;
    f->len += bytes;
    return HY_OK;
}

static hy_status fs_close(void *user, void *file, hy_error *err)
{
    (void)user;
    (void)file;
    (void)err;
    return HY_OK;
}

static hy_status fs_map(void *user, void *file, uint64_t file_bytes, const void **data,
                        hy_error *err)
{
    (void)user;
    (void)file;
    (void)file_bytes;
    (void)data;
    return hy__fail(err, HY_E_UNSUPPORTED, "no mapping");
}

static hy_status fs_rename(void *user, const char *from, const char *to, hy_error *err)
{
    fs_remove(user, to);
    mem_file *f = find(user, from);
    if (!f) {
        return hy__fail(err, HY_E_IO, "there is no %s", from);
    }
    CHECK(strlen(to) < sizeof f->name);
    memcpy(f->name, to, strlen(to) + 1);
    return HY_OK;
}

static void fs_env(mem_fs *fs, hy_env *env)
{
    memset(fs, 0, sizeof *fs);
    memset(env, 0, sizeof *env);
    env->size = sizeof *env;
    env->user = fs;
    env->file_open = fs_open;
    env->file_read = fs_read;
    env->file_write = fs_write;
    env->file_close = fs_close;
    env->file_map = fs_map;
    env->file_rename = fs_rename;
    env->file_remove = fs_remove;
}

static void fs_finish(mem_fs *fs)
{
    for (size_t i = 0; i < HY_COUNT(fs->files); i++) {
        free(fs->files[i].data);
    }
}

/* ---- what holds for every file that opens */

static volatile uint64_t sink; /* so that reads are not optimised away */

static void touch_bytes(const void *data, uint64_t n)
{
    const uint8_t *p = data;
    if (n > 0) {
        sink += p[0];
        sink += p[n - 1];
    }
}

static void touch_key(const hy_gguf *g, size_t key)
{
    const hy_str name = hy_gguf_key_name(g, key);
    CHECK(name.len > 0 && name.len <= 65535 && !memchr(name.data, 0, name.len));
    char *copy = malloc(name.len + 1);
    CHECK(copy);
    memcpy(copy, name.data, name.len);
    copy[name.len] = '\0';
    CHECK(hy_gguf_find_key(g, copy) == (ptrdiff_t)key);
    const size_t n = hy_gguf_elem_count(g, key);
    const hy_gguf_type type = hy_gguf_elem_type(g, key);
    for (size_t i = 0; i < n; i++) {
        hy_str s;
        int64_t v;
        uint64_t u;
        double d;
        const bool is_str = hy_gguf_elem_str(g, key, i, &s);
        const bool is_int = hy_gguf_elem_int(g, key, i, &v);
        const bool is_uint = hy_gguf_elem_uint(g, key, i, &u);
        const bool is_float = hy_gguf_elem_float(g, key, i, &d);
        CHECK(is_str == (type == HY_GGUF_STRING));
        CHECK(is_str + (is_int || is_uint || is_float) == 1);
        if (is_str) {
            touch_bytes(s.data, s.len);
        }
    }
    hy_str s;
    CHECK(!hy_gguf_elem_str(g, key, n, &s));
    hy_error err;
    uint32_t u;
    float f;
    bool b;
    sink += (uint64_t)hy_gguf_get_u32(g, copy, 1, 100, &u, &err);
    sink += (uint64_t)hy_gguf_get_f32(g, copy, &f, &err);
    sink += (uint64_t)hy_gguf_get_bool(g, copy, &b, &err);
    sink += (uint64_t)hy_gguf_get_str(g, copy, &s, &err);
    free(copy);
}

static void touch(const hy_gguf *g)
{
    for (size_t i = 0; i < hy_gguf_n_keys(g); i++) {
        touch_key(g, i);
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < hy_gguf_n_tensors(g); i++) {
        const hy_gguf_tensor *t = hy_gguf_tensor_at(g, i);
        CHECK(strlen(t->name) >= 1 && strlen(t->name) <= 63);
        CHECK(hy_gguf_find_tensor(g, t->name) == t);
        CHECK(t->file_index < hy_gguf_n_files(g) && t->bytes > 0 && t->n_dims <= 4);
        CHECK(hy_type_find((uint32_t)t->type) != NULL);
        touch_bytes(t->data, t->bytes);
        sum += t->bytes;
    }
    CHECK(sum <= hy_gguf_file_bytes(g)); /* no two tensors share bytes */
}

static void must(hy_status status, const hy_error *err)
{
    if (status != HY_OK) {
        fprintf(stderr, "%s: %s\n", hy_status_name(status), err->text);
        abort();
    }
}

/* What the reader takes, the writer takes, and it comes back equal. */
static void rewrite(const hy_gguf *g, const hy_env *env)
{
    hy_error err;
    hy_gguf_writer *w = NULL;
    must(hy_gguf_writer_create(env, &w, &err), &err);
    for (size_t i = 0; i < hy_gguf_n_keys(g); i++) {
        must(hy_gguf_writer_copy_key(w, g, i, &err), &err);
    }
    for (size_t i = 0; i < hy_gguf_n_tensors(g); i++) {
        const hy_gguf_tensor *t = hy_gguf_tensor_at(g, i);
        must(hy_gguf_writer_add_tensor(w, t->name, t->type, t->n_dims, t->ne, &err), &err);
    }
    must(hy_gguf_writer_begin(w, "out.gguf", &err), &err);
    for (size_t i = 0; i < hy_gguf_n_tensors(g); i++) {
        const hy_gguf_tensor *t = hy_gguf_tensor_at(g, i);
        must(hy_gguf_writer_data(w, t->data, (size_t)t->bytes, &err), &err);
    }
    must(hy_gguf_writer_finish(w, &err), &err);
    hy_gguf_writer_destroy(w);

    hy_gguf *back = NULL;
    must(hy_gguf_open("out.gguf", NULL, env, &back, &err), &err);
    /* Three keys about the split are left out, general.quantization_version may be added. */
    CHECK(hy_gguf_n_keys(back) <= hy_gguf_n_keys(g) + 1 &&
          hy_gguf_n_keys(back) + 3 >= hy_gguf_n_keys(g));
    CHECK(hy_gguf_n_tensors(back) == hy_gguf_n_tensors(g));
    for (size_t i = 0; i < hy_gguf_n_tensors(g); i++) {
        const hy_gguf_tensor *a = hy_gguf_tensor_at(g, i);
        const hy_gguf_tensor *b = hy_gguf_tensor_at(back, i);
        CHECK(strcmp(a->name, b->name) == 0 && a->type == b->type && a->bytes == b->bytes);
        CHECK(memcmp(a->ne, b->ne, sizeof a->ne) == 0);
        CHECK(memcmp(a->data, b->data, (size_t)a->bytes) == 0);
    }
    touch(back);
    hy_gguf_close(back);
}

static void add_file(mem_fs *fs, const hy_env *env, const char *name, const uint8_t *data,
                     size_t len)
{
    void *file;
    uint64_t bytes;
    hy_error err;
    must(env->file_open(fs, name, HY_FILE_WRITE, &file, &bytes, &err), &err);
    if (len > 0) {
        must(env->file_write(fs, file, data, len, &err), &err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mem_fs fs;
    hy_env env;
    fs_env(&fs, &env);
    hy_error err;
    hy_gguf *g = NULL;
    hy_status status;
    if (size >= 8 && memcmp(data, "HYSP", 4) == 0) {
        const size_t first = HY_MIN((size_t)hy__load_u32(data + 4), size - 8);
        add_file(&fs, &env, "m-00001-of-00002.gguf", data + 8, first);
        add_file(&fs, &env, "m-00002-of-00002.gguf", data + 8 + first, size - 8 - first);
        status = hy_gguf_open("m-00001-of-00002.gguf", NULL, &env, &g, &err);
    } else {
        status = hy_gguf_open_memory(data, size, &env, &g, &err);
    }
    if (status == HY_OK) {
        touch(g);
        rewrite(g, &env);
    } else {
        CHECK(!g && err.text[0] != '\0' && err.code == status);
    }
    hy_gguf_close(g);
    fs_finish(&fs);
    return 0;
}
