/* test_measure.c: what is measured of a GPU: that every line of the table is right where the GPU
 * has what it needs, that what is masked is said to be, and that a kernel that computes something
 * else, or does not compile, is seen; and that ways around WebGPU are open where they work.
 *
 * Runs on each library of support/webgpu.h.  One thread. */
#include "backend/webgpu/measure.h"
#include "support/webgpu.h"

enum { MOST = 16 };

typedef struct fixture {
    const char *library;
    hy_env env;
    hy__gpu gpu;
    char why[600]; /* there is no GPU; "" if there is */
} fixture;

/* What hy_webgpu_measure tells. */
typedef struct heard {
    hy_webgpu_facts facts;
    hy_webgpu_offer offers[MOST];
    hy_webgpu_hatch hatches[MOST];
    size_t n_offers, n_hatches;
} heard;

static fixture *fixture_of(void **state)
{
    fixture *const f = *state;
    if (f->why[0]) {
        skip();
    }
    return f;
}

static void hear_offer(void *user, const hy_webgpu_offer *offer)
{
    heard *const h = user;
    assert_true(h->n_offers < MOST && offer->size == sizeof *offer);
    h->offers[h->n_offers++] = *offer;
    print_message("%s: %s, %.3g %s of %s, %.3g %s; %s; %s\n", offer->what, offer->state, offer->rate,
                  offer->unit, offer->of, offer->beside_rate, offer->beside ? offer->beside : "",
                  offer->native, offer->why);
}

static void hear_hatch(void *user, const hy_webgpu_hatch *hatch)
{
    heard *const h = user;
    assert_true(h->n_hatches < MOST && hatch->size == sizeof *hatch);
    h->hatches[h->n_hatches++] = *hatch;
    print_message("%s: %s: %s\n", hatch->what, hatch->state, hatch->why);
}

static hy_status measure(const fixture *f, const char *mask, heard *h, hy_error *err)
{
    *h = (heard){.facts = {.size = sizeof h->facts}};
    const hy_webgpu_told told = {.user = h, .offer = hear_offer, .hatch = hear_hatch};
    const uint64_t begin = f->env.clock_ns(f->env.user);
    const hy_status status =
        hy_webgpu_measure(f->library, webgpu_folder(), mask, NULL, &h->facts, &told, err);
    print_message("%.2f s\n", (double)(f->env.clock_ns(f->env.user) - begin) * 1e-9);
    return status;
}

static const hy_webgpu_offer *offer_of(const heard *h, const char *name)
{
    for (size_t i = 0; i < h->n_offers; i++) {
        if (strcmp(h->offers[i].name, name) == 0) {
            return &h->offers[i];
        }
    }
    fail_msg("nothing was told of %s", name);
    return NULL;
}

static const hy_webgpu_hatch *hatch_of(const heard *h, const char *name)
{
    for (size_t i = 0; i < h->n_hatches; i++) {
        if (strcmp(h->hatches[i].name, name) == 0) {
            return &h->hatches[i];
        }
    }
    fail_msg("nothing was told of %s", name);
    return NULL;
}

/* A line that ran has a rate, one that did not has none and says why.  The plain way always runs. */
static void check_offer(const heard *h, const char *name, const char *state)
{
    const hy_webgpu_offer *const o = offer_of(h, name);
    assert_string_equal(o->state, state);
    assert_int_equal(o->rate > 0, strcmp(state, "works") == 0);
    assert_int_equal(o->beside_rate > 0, o->beside != NULL);
    assert_int_equal(o->why[0] == '\0', strcmp(state, "works") == 0);
    assert_true(strlen(o->native) > 3 && strlen(o->unit) > 2 && strlen(o->of) > 3);
}

/* ---- tests */

static void all_is_right(void **state)
{
    fixture *const f = fixture_of(state);
    const hy__gpu_caps *const caps = &f->gpu.caps;
    heard h;
    hy_error err;
    assert_ok(measure(f, NULL, &h, &err), &err);
    assert_int_equal(h.n_offers, 7);
    check_offer(&h, "matrix-units", caps->matrix_k > 0 ? "works" : "missing");
    check_offer(&h, "subgroups", caps->subgroups ? "works" : "missing");
    check_offer(&h, "async-copy", "none");
    check_offer(&h, "textures", "works");
    check_offer(&h, "atomics", "works");
    check_offer(&h, "fp16", caps->f16 ? "works" : "missing");
    check_offer(&h, "int8-dot", "works");
    assert_true(h.facts.read_bytes_per_second > 1e6 && h.facts.read_bytes_per_second < 1e15);
    assert_true(h.facts.dispatch_gpu_ns >= 0 && h.facts.dispatch_gpu_ns < 1e9);
    assert_true(h.facts.dispatch_cpu_ns >= 0 && h.facts.dispatch_cpu_ns < 1e9);
    assert_true(h.facts.round_trip_ns > 100 && h.facts.round_trip_ns < 1e10);
    assert_true(strlen(h.facts.native) > 2);
}

/* A way that is open has rates, if it has any, and no other has. */
static void check_hatch(const heard *h, const char *name, const char *state)
{
    const hy_webgpu_hatch *const x = hatch_of(h, name);
    const bool open = strcmp(state, "open") == 0;
    assert_string_equal(x->state, state);
    assert_true(strlen(x->why) > 20);
    assert_int_equal(x->rate > 0, open && x->unit);
    assert_int_equal(x->beside_rate > 0, open && x->unit);
}

/* The libraries that are fetched list such memory for every GPU. */
static void ways_around_are_told(void **state)
{
    fixture *const f = fixture_of(state);
    const bool wgpu = f->gpu.lib.flavour == HY__GPU_WGPU;
    heard h;
    hy_error err;
    assert_ok(measure(f, NULL, &h, &err), &err);
    assert_int_equal(h.n_hatches, 4);
    check_hatch(&h, "matrices", f->gpu.caps.matrix_k > 0 ? "open" : "closed");
    check_hatch(&h, "mapped", "open");
    assert_non_null(strstr(hatch_of(&h, "mapped")->why, wgpu ? "MappablePrimaryBuffers: "
                                                            : "HostMappedPointer: "));
    const char *const spirv = hatch_of(&h, "spirv")->state; /* depends on how Dawn was built */
    check_hatch(&h, "spirv", wgpu ? "open" : spirv);
    assert_true(strcmp(spirv, "open") == 0 ||
                strstr(hatch_of(&h, "spirv")->why, "refuses them: ") != NULL);
    if (f->gpu.caps.backend == WGPUBackendType_Vulkan) {
        check_hatch(&h, "native", wgpu ? "closed" : "open");
        assert_non_null(strstr(hatch_of(&h, "native")->why,
                               wgpu ? "has no function that gives handles of Vulkan" : "VkDevice"));
    }
    assert_ok(measure(f, "floor", &h, &err), &err);
    check_hatch(&h, "matrices", "closed");
    check_hatch(&h, "mapped", "closed");
}

/* What is given to the kernels is not what results are compared with. */
static void wrong_ways_are_not_open(void **state)
{
    fixture *const f = fixture_of(state);
    heard h = {.n_hatches = 0};
    const hy__gpu_opts opts = {.lib = f->library, .folder = webgpu_folder()};
    const hy_webgpu_told told = {.user = &h, .hatch = hear_hatch};
    const hy_webgpu_offer missing = {.state = "missing"};
    hy__gpu_hatch_fault = true;
    hy__gpu_tell_hatches(&f->gpu, &opts, &missing, &missing, &told);
    hy__gpu_hatch_fault = false;
    assert_int_equal(h.n_hatches, 4);
    check_hatch(&h, "mapped", "offered");
    assert_non_null(strstr(hatch_of(&h, "mapped")->why, " is right, sum 0 of "));
    check_hatch(&h, "spirv", f->gpu.lib.flavour == HY__GPU_WGPU ? "offered" : "closed");
    if (f->gpu.lib.flavour == HY__GPU_WGPU) {
        assert_non_null(strstr(hatch_of(&h, "spirv")->why, " of row 0 where "));
    }
}

static void masks_are_kept(void **state)
{
    fixture *const f = fixture_of(state);
    heard h;
    hy_error err;
    assert_ok(measure(f, "no-subgroups,no-f16", &h, &err), &err);
    check_offer(&h, "matrix-units", "masked");
    check_offer(&h, "subgroups", "masked");
    check_offer(&h, "fp16", "masked");
    check_offer(&h, "int8-dot", "works");
    assert_ok(measure(f, "floor", &h, &err), &err);
    check_offer(&h, "int8-dot", "masked");
    check_offer(&h, "fp16", "masked");
    check_offer(&h, "textures", "works");
    check_offer(&h, "atomics", "works");
    assert_fails(measure(f, "no-such", &h, &err), HY_E_NOT_FOUND, &err, "no GPU mask");
}

/* Each line alone: the others stay right. */
static void faults_are_seen(void **state)
{
    fixture *const f = fixture_of(state);
    hy_webgpu_offer o;
    hy_error err;
    const char *name;
    for (uint32_t i = 0; hy__gpu_offer_at(i, &name); i++) {
        hy__gpu_offer_faults.wrong = 1u << i;
        assert_ok(hy__gpu_try_offer(&f->gpu, i, &o, &err), &err);
        const bool here = strcmp(o.state, "missing") != 0;
        if (here) {
            print_message("%s: %s\n", name, o.why);
            assert_string_equal(o.state, "wrong");
            assert_non_null(strstr(o.why, " is right, number 0 of "));
            assert_true(o.rate == 0);
        }
        hy__gpu_offer_faults = (hy__gpu_measure_faults){.broken = 1u << i};
        assert_ok(hy__gpu_try_offer(&f->gpu, i, &o, &err), &err);
        if (here) {
            assert_string_equal(o.state, "failed");
            assert_true(strlen(o.why) > 20 && o.rate == 0);
        }
        hy__gpu_offer_faults = (hy__gpu_measure_faults){0};
        assert_ok(hy__gpu_try_offer(&f->gpu, i, &o, &err), &err);
        assert_string_equal(o.state, !here                             ? "missing"
                                     : strcmp(name, "async-copy") == 0 ? "none"
                                                                       : "works");
    }
}

/* A device that is lost in a line costs that line alone; earlier, everything. */
static void losses_cost_a_line(void **state)
{
    fixture *const f = fixture_of(state);
    heard h;
    hy_error err;
    size_t failed = 0;
    hy__gpu_faults_at_opening.lost_before = 90; /* submits: more than there are before the table */
    assert_ok(measure(f, NULL, &h, &err), &err);
    for (size_t i = 0; i < h.n_offers; i++) {
        failed += strcmp(h.offers[i].state, "failed") == 0;
    }
    assert_int_equal(h.n_offers, 7);
    assert_int_equal(failed, 1);
    hy__gpu_faults_at_opening.lost_before = 10;
    assert_fails(measure(f, NULL, &h, &err), HY_E_DEVICE_LOST, &err, "lost");
    assert_int_equal(h.n_offers + h.n_hatches, 0);
}

static int group(const char *library)
{
    static fixture f;
    static char title[60];
    int failed = 0;
    f = (fixture){.library = library};
    if (!webgpu_is_meant(library)) {
        return 0;
    }
    snprintf(title, sizeof title, "webgpu measure, %s", library);
    webgpu_open(&f.gpu, &f.env, library, f.why, &failed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(all_is_right, &f),
        cmocka_unit_test_prestate(ways_around_are_told, &f),
        cmocka_unit_test_prestate(wrong_ways_are_not_open, &f),
        cmocka_unit_test_prestate(masks_are_kept, &f),
        cmocka_unit_test_prestate(faults_are_seen, &f),
        cmocka_unit_test_prestate(losses_cost_a_line, &f),
    };
    failed += cmocka_run_group_tests_name(title, tests, NULL, NULL);
    hy__gpu_close(&f.gpu);
    return failed;
}

int main(void)
{
    int failed = 0;
    for (size_t i = 0; i < HY__GPU_N_NAMES; i++) {
        failed += group(hy__gpu_names[i]);
    }
    return failed;
}
