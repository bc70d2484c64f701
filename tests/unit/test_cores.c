/* test_cores.c: how many cores a process may use, on machines that are made of files.  One thread.
 *
 * POSIX only: makes folders. */
#define _POSIX_C_SOURCE 200809L

#include <stdarg.h>
#include <sys/stat.h>

#include "base/os.h"
#include "support/support.h"

enum { CPUS = 16 };

/* A folder that stands for "/". */
typedef struct machine {
    char root[512];
    bool allowed[CPUS];
} machine;

static machine make(const char *name)
{
    machine m;
    memset(&m, 0, sizeof m);
    snprintf(m.root, sizeof m.root, "%s", temp_path(name));
    return m;
}

/* A file below the root with the folders that it needs. */
HY_PRINTF(3, 4)
static void put(const machine *m, const char *text, const char *fmt, ...)
{
    char path[1024];
    const size_t n = strlen(m->root);
    memcpy(path, m->root, n);
    va_list args;
    va_start(args, fmt);
    assert_true(vsnprintf(path + n, sizeof path - n, fmt, args) < (int)(sizeof path - n));
    va_end(args);
    for (char *slash = path + n; slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    write_file(path, text, strlen(text));
}

static void put_core(const machine *m, unsigned cpu, const char *file, const char *list)
{
    put(m, list, "/sys/devices/system/cpu/cpu%u/topology/%s", cpu, file);
}

static void allow(machine *m, unsigned from, unsigned to)
{
    memset(m->allowed, 0, sizeof m->allowed);
    for (unsigned i = from; i < to; i++) {
        m->allowed[i] = true;
    }
}

static uint32_t cores(const machine *m)
{
    return hy__cores(m->root, m->allowed, CPUS);
}

static void processors_without_a_description_are_cores(void **state)
{
    (void)state;
    machine m = make("bare");
    assert_int_equal(cores(&m), 1); /* never none */
    allow(&m, 2, 7);
    assert_int_equal(cores(&m), 5);
}

static void siblings_count_once(void **state)
{
    (void)state;
    machine m = make("siblings");
    char list[16];
    for (unsigned i = 0; i < 4; i++) { /* as Intel servers number them: 0 and 4 share a core */
        snprintf(list, sizeof list, "%u,%u\n", i, i + 4);
        put_core(&m, i, "core_cpus_list", list);
        put_core(&m, i + 4, "core_cpus_list", list);
    }
    for (unsigned i = 8; i < 16; i++) { /* neighbours, in the older file */
        snprintf(list, sizeof list, "%u-%u\n", i / 2 * 2, i / 2 * 2 + 1);
        put_core(&m, i, "thread_siblings_list", list);
    }
    allow(&m, 0, 16);
    assert_int_equal(cores(&m), 8);
    allow(&m, 0, 4);
    assert_int_equal(cores(&m), 4);
    allow(&m, 4, 9); /* second halves of four cores, and the first of one */
    assert_int_equal(cores(&m), 5);
    allow(&m, 9, 11);
    assert_int_equal(cores(&m), 2);
    allow(&m, 10, 12);
    assert_int_equal(cores(&m), 1);
}

static void lists_that_make_no_sense_hide_no_core(void **state)
{
    (void)state;
    machine m = make("odd");
    put_core(&m, 0, "core_cpus_list", "");
    put_core(&m, 1, "core_cpus_list", "none\n");
    put_core(&m, 2, "core_cpus_list", "2,99999999-4294967295\n");
    allow(&m, 0, 3);
    assert_int_equal(cores(&m), 3);
}

static void a_quota_of_version_2_is_rounded_up(void **state)
{
    (void)state;
    machine m = make("v2");
    allow(&m, 0, 16);
    put(&m, "0::/\n", "/proc/self/cgroup");
    assert_int_equal(cores(&m), 16);
    put(&m, "max 100000\n", "/sys/fs/cgroup/cpu.max");
    assert_int_equal(cores(&m), 16);
    put(&m, "250000 100000\n", "/sys/fs/cgroup/cpu.max");
    assert_int_equal(cores(&m), 3);
    put(&m, "300000 100000\n", "/sys/fs/cgroup/cpu.max");
    assert_int_equal(cores(&m), 3);
    put(&m, "1000 100000\n", "/sys/fs/cgroup/cpu.max");
    assert_int_equal(cores(&m), 1);
    put(&m, "300000\n", "/sys/fs/cgroup/cpu.max");
    assert_int_equal(cores(&m), 16);
    allow(&m, 3, 5);
    put(&m, "900000 100000\n", "/sys/fs/cgroup/cpu.max");
    assert_int_equal(cores(&m), 2);
}

static void groups_around_a_group_bind_it_too(void **state)
{
    (void)state;
    machine m = make("nested");
    allow(&m, 0, 16);
    put(&m, "0::/outer/inner\n", "/proc/self/cgroup");
    put(&m, "700000 100000\n", "/sys/fs/cgroup/outer/inner/cpu.max");
    assert_int_equal(cores(&m), 7);
    put(&m, "400000 100000\n", "/sys/fs/cgroup/outer/cpu.max");
    assert_int_equal(cores(&m), 4);
    put(&m, "50000 25000\n", "/sys/fs/cgroup/cpu.max");
    assert_int_equal(cores(&m), 2);
    put(&m, "100000 100000\n", "/sys/fs/cgroup/elsewhere/cpu.max");
    assert_int_equal(cores(&m), 2);
}

static void a_quota_of_version_1_counts(void **state)
{
    (void)state;
    machine m = make("v1");
    allow(&m, 0, 16);
    put(&m, "5:memory:/m\n4:cpuset:/s\n3:cpu,cpuacct:/job\n0::/\n", "/proc/self/cgroup");
    put(&m, "-1\n", "/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us");
    put(&m, "100000\n", "/sys/fs/cgroup/cpu/job/cpu.cfs_period_us");
    assert_int_equal(cores(&m), 16);
    put(&m, "550000\n", "/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us");
    assert_int_equal(cores(&m), 6);
    /* A container sees its own group at the top, under the name that it has outside. */
    put(&m, "3:cpuacct,cpu:/far/away\n", "/proc/self/cgroup");
    assert_int_equal(cores(&m), 16);
    put(&m, "200000\n", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    put(&m, "100000\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    assert_int_equal(cores(&m), 2);
    put(&m, "4:cpuset:/job\n7:cpuacct:/job\nnonsense\n\n", "/proc/self/cgroup");
    assert_int_equal(cores(&m), 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processors_without_a_description_are_cores),
        cmocka_unit_test(siblings_count_once),
        cmocka_unit_test(lists_that_make_no_sense_hide_no_core),
        cmocka_unit_test(a_quota_of_version_2_is_rounded_up),
        cmocka_unit_test(groups_around_a_group_bind_it_too),
        cmocka_unit_test(a_quota_of_version_1_counts),
    };
    return cmocka_run_group_tests_name("cores", tests, NULL, NULL);
}
