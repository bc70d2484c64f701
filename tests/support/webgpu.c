/* webgpu.c: see webgpu.h.  One thread. */
#include "webgpu.h"

#include "base/os.h"

/* Mesa's drivers do not free all of their memory when they are unloaded, which is a leak to those
 * who look for leaks: the one that VK_DRIVER_FILES names stays. */
static void keep_driver(void)
{
    static bool done;
    char text[2000] = "", path[500], why[500];
    const char *const named = getenv("VK_DRIVER_FILES");
    FILE *const file = named && !done ? fopen(named, "r") : NULL;
    done = true;
    if (file) {
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        (void)fclose(file);
    }
    const char *const at = strstr(text, "\"library_path\"");
    if (at && sscanf(at, "\"library_path\" : \"%499[^\"]", path) == 1 && path[0] == '/') {
        (void)hy__library_open(path, why, sizeof why);
    }
}

const char *webgpu_folder(void)
{
    keep_driver();
    const char *const named = getenv("HALYARD_WEBGPU");
    return named ? named : source_path("build/webgpu");
}

static const char *wanted(void)
{
    return getenv("HALYARD_WEBGPU_LIB");
}

bool webgpu_is_meant(const char *library)
{
    return !wanted() || strcmp(wanted(), library) == 0;
}

bool webgpu_open(hy__gpu *gpu, hy_env *env, const char *library, char *why, int *failed)
{
    hy_error err;
    const hy__gpu_opts opts = {.lib = library, .folder = webgpu_folder()};
    hy__env_resolve(env, NULL);
    if (hy__gpu_open(gpu, &opts, env, &err) != HY_OK) {
        snprintf(why, 600, "%s", err.text);
        *failed = wanted() != NULL;
        print_message("%s is %s: %s\n", library ? library : "WebGPU",
                      *failed ? "missing" : "skipped", why);
        return false;
    }
    print_message("%s: %s\n", gpu->caps.library, gpu->caps.adapter);
    return true;
}

static bool is_there;

int webgpu_look(void **state)
{
    (void)state;
    hy__gpu gpu = {0};
    hy_env env;
    char why[600];
    int failed = 0;
    is_there = webgpu_open(&gpu, &env, wanted(), why, &failed);
    hy__gpu_close(&gpu);
    return failed;
}

void webgpu_or_skip(void)
{
    if (!is_there) {
        skip();
    }
}

const char *webgpu_kept(void)
{
    static char own[600];
    const char *const named = getenv("HALYARD_TEST_CACHE");
    if (!own[0]) {
        snprintf(own, sizeof own, "%s", temp_path("kept"));
    }
    return named ? named : own;
}

hy_model_opts webgpu_model_opts(void)
{
    return (hy_model_opts){.size = sizeof(hy_model_opts),
                           .backend = "webgpu",
                           .webgpu_lib = wanted(),
                           .webgpu_dir = webgpu_folder(),
                           .kernel_cache = webgpu_kept()};
}

hy_model *webgpu_model(const char *path, const char *mask, const char *no_fuse)
{
    hy_model *m = NULL;
    hy_error err;
    hy_model_opts opts = webgpu_model_opts();
    opts.gpu_mask = mask;
    opts.no_fuse = no_fuse;
    assert_ok(hy_model_load(path, &opts, NULL, &m, &err), &err);
    assert_string_equal(hy_model_backend(m), "webgpu");
    return m;
}
