/* test_advise.c: hints about memory: they change no byte, and the system follows them.  One thread.
 *
 * POSIX only: looks at what the kernel says about this process. */
#define _POSIX_C_SOURCE 200809L

#include <unistd.h>

#include "base/base.h"
#include "support/support.h"

enum { MIB = 1 << 20, FILE_BYTES = 12 * MIB + 100 };

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 7 + i / 4096);
}

/* A file in memory, and the environment that maps it. */
typedef struct mapping {
    hy_env env;
    const uint8_t *data;
} mapping;

static mapping map_file(void)
{
    mapping m;
    hy_error err;
    void *file;
    const void *data;
    uint64_t bytes;
    static uint8_t contents[FILE_BYTES];
    for (size_t i = 0; i < FILE_BYTES; i++) {
        contents[i] = byte_at(i);
    }
    write_file(temp_path("advise.bin"), contents, FILE_BYTES);
    hy__env_resolve(&m.env, NULL);
    assert_ok(
        m.env.file_open(m.env.user, temp_path("advise.bin"), HY_FILE_READ, &file, &bytes, &err),
        &err);
    assert_ok(m.env.file_map(m.env.user, file, bytes, &data, &err), &err);
    assert_ok(m.env.file_close(m.env.user, file, &err), &err);
    m.data = data;
    return m;
}

static void check_bytes(const mapping *m)
{
    for (size_t i = 0; i < FILE_BYTES; i++) {
        if (m->data[i] != byte_at(i)) {
            fail_msg("byte %zu is %u", i, m->data[i]);
        }
    }
}

/* Bytes of files in this process's memory; 0 where nobody says. */
static size_t file_bytes_in_memory(void)
{
    unsigned long size, resident, shared = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f) {
        assert_int_equal(fscanf(f, "%lu %lu %lu", &size, &resident, &shared), 3);
        fclose(f);
    }
    return (size_t)shared * (size_t)sysconf(_SC_PAGESIZE);
}

static void dropped_pages_leave_memory_and_come_back(void **state)
{
    (void)state;
    mapping m = map_file();
    check_bytes(&m);
    const size_t before = file_bytes_in_memory();
    if (before > 0) {
        hy__advise_drop(m.data + 1, 4 * MIB);
        const size_t half = file_bytes_in_memory();
        assert_true(half + 3 * MIB < before && half + 6 * MIB > before);
        hy__advise_drop(m.data, FILE_BYTES);
        assert_true(file_bytes_in_memory() + 11 * MIB < before);
    }
    check_bytes(&m);
    m.env.file_unmap(m.env.user, m.data, FILE_BYTES);
}

static void hints_take_any_range(void **state)
{
    (void)state;
    mapping m = map_file();
    static const size_t lengths[] = {0, 1, 4095, 4096, 4097, 8191, 8192, 70000};
    for (size_t at = 0; at < 3 * 4096; at += 1365) {
        for (size_t i = 0; i < HY_COUNT(lengths); i++) {
            hy__advise_drop(m.data + at, lengths[i]);
        }
    }
    check_bytes(&m);
    m.env.file_unmap(m.env.user, m.data, FILE_BYTES);
}

/* Whether the kernel marks the memory at p as one for huge pages; -1 if nobody says. */
static int marked_huge(const void *p)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512];
    bool inside = false;
    int marked = -1;
    while (f && fgets(line, sizeof line, f)) {
        unsigned long long begin, end;
        if (sscanf(line, "%llx-%llx ", &begin, &end) == 2) {
            inside = begin <= (uintptr_t)p && (uintptr_t)p < end;
        } else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            marked = strstr(line, " hg") != NULL;
        }
    }
    if (f) {
        fclose(f);
    }
    return access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) == 0 ? marked : -1;
}

static void memory_can_be_huge_and_keeps_its_bytes(void **state)
{
    (void)state;
    hy_env env;
    hy_error err;
    hy__env_resolve(&env, NULL);
    uint8_t *p = hy__calloc_aligned(&env, 8 * MIB, 1, &err);
    assert_non_null(p);
    for (size_t i = 0; i < 8 * MIB; i += 1000) {
        p[i] = byte_at(i);
    }
    hy__advise_huge(p, 8 * MIB);
    hy__advise_huge(p, 100);
    assert_int_not_equal(marked_huge(p + 4 * MIB), 0);
    for (size_t i = 0; i < 8 * MIB; i++) {
        assert_int_equal(p[i], i % 1000 ? 0 : byte_at(i));
    }
    hy__free_aligned(&env, p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropped_pages_leave_memory_and_come_back),
        cmocka_unit_test(hints_take_any_range),
        cmocka_unit_test(memory_can_be_huge_and_keeps_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
