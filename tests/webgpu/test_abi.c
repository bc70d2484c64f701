/* test_abi.c: the declarations of abi.h beside those of webgpu.h and wgpu.h.
 *
 * Every enumerator, structure, member, callback and function of abi.h becomes a line of a program
 * that compiles, and ends well, only where the headers of the fetched package say the same.  The
 * headers are looked for where the libraries are (support/webgpu.h). */
#include "backend/webgpu/abi.h"
#include "support/webgpu.h"

/* ---- the file: each part may have its first line made wrong */

typedef enum wrong { NOTHING, NUMBER, FLAG, OFFSET, CALLBACK, FUNCTION } wrong;

static void write_numbers(FILE *f, bool bad)
{
    unsigned off = bad;
#define TYPE(type, name, value)                                                                    \
    fprintf(f, "_Static_assert(sizeof(WGPU%s) == %zu, \"WGPU%s\");\n", #type, sizeof(WGPU##type),  \
            #type);
#define ENUM(type, name, value)                                                                    \
    TYPE(type, name, value)                                                                        \
    fprintf(f, "_Static_assert(WGPU%s_%s == %lluu, \"WGPU%s_%s\");\n", #type, #name,               \
            (unsigned long long)(value) + off, #type, #name);                                      \
    off = 0;
    HY__WGPU_ENUMS(ENUM)
    HY__WGPU_FLAGS(TYPE)
#undef ENUM
#undef TYPE
    fprintf(f, "_Static_assert(WGPUNativeFeature_Subgroup == %d, \"subgroups\");\n",
            HY__NATIVE_FEATURE_SUBGROUP);
    fprintf(f, "_Static_assert(WGPUNativeFeature_Immediates == %d, \"immediates\");\n",
            HY__NATIVE_FEATURE_IMMEDIATES);
    fprintf(f, "_Static_assert(WGPUNativeFeature_MappablePrimaryBuffers == %d, \"mappable\");\n",
            HY__NATIVE_FEATURE_MAPPABLE);
    fprintf(f, "_Static_assert(WGPUSType_InstanceExtras == %d, \"instance extras\");\n",
            HY__NATIVE_STYPE_INSTANCE);
}

/* In the headers these are variables: only the program itself can look at their values. */
static void write_flags(FILE *f, bool bad)
{
    unsigned off = bad;
#define FLAG(type, name, value)                                                                    \
    fprintf(f, "    if (WGPU%s_%s != %uu) {\n        return 1;\n    }\n", #type, #name,            \
            (unsigned)(value) + off);                                                              \
    off = 0;
    fprintf(f, "int main(void)\n{\n");
    HY__WGPU_FLAGS(FLAG)
    fprintf(f, "    if (WGPUInstanceBackend_Primary != %u) {\n        return 1;\n    }\n",
            HY__NATIVE_BACKENDS_PRIMARY);
#undef FLAG
    fprintf(f, "    return 0;\n}\n");
}

static void write_structs(FILE *f, bool bad)
{
    size_t off = bad;
#define S(name)                                                                                    \
    fprintf(f, "_Static_assert(sizeof(WGPU%s) == %zu, \"WGPU%s\");\n", #name, sizeof(WGPU##name),  \
            #name);
#define M(name, member)                                                                            \
    fprintf(f,                                                                                     \
            "_Static_assert(offsetof(WGPU%s, %s) == %zu && sizeof(((WGPU%s *)0)->%s) == %zu, "     \
            "\"WGPU%s.%s\");\n",                                                                   \
            #name, #member, offsetof(WGPU##name, member) + off, #name, #member,                    \
            sizeof(((WGPU##name *)0)->member), #name, #member);                                    \
    off = 0;
#define E(name)
#include "abi_structs.inc"
#undef S
#undef M
#undef E
    fprintf(f,
            "_Static_assert(offsetof(WGPUInstanceExtras, backends) == %zu && "
            "offsetof(WGPUInstanceExtras, flags) == %zu && sizeof(WGPUInstanceExtras) <= %zu, "
            "\"WGPUInstanceExtras\");\n",
            offsetof(hy__native_instance, backends), offsetof(hy__native_instance, flags),
            sizeof(hy__native_instance));
}

static void write_callbacks(FILE *f, bool bad)
{
    const char *result = bad ? "int" : "void";
#define CALLBACK_TYPE(name, args)                                                                  \
    fprintf(f, "%s (*is_%s)%s;\nWGPU%sCallback *as_%s = &is_%s;\n", result, #name, #args, #name,   \
            #name, #name);                                                                         \
    result = "void";
    HY__WGPU_CALLBACKS(CALLBACK_TYPE)
#undef CALLBACK_TYPE
}

/* In neither header. */
static bool is_of_dawn(const char *name)
{
    return strcmp(name, "DeviceTick") == 0 ||
           strcmp(name, "AdapterPropertiesSubgroupMatrixConfigsFreeMembers") == 0;
}

static void write_functions(FILE *f, bool bad)
{
    const char *star = bad ? " *" : "";
#define FUNCTION_TYPE(result, name, args)                                                          \
    if (!is_of_dawn(#name)) {                                                                      \
        fprintf(f, "%s%s wgpu%s%s;\n", #result, star, #name, #args);                               \
    }                                                                                              \
    star = "";
    HY__WGPU_FUNCTIONS(FUNCTION_TYPE)
    HY__WGPU_EXTRAS(FUNCTION_TYPE)
#undef FUNCTION_TYPE
}

/* Declarations alone: nothing is linked with a library. */
static void write_program(FILE *f, wrong part)
{
    fprintf(f, "#include <stddef.h>\n#include \"webgpu.h\"\n#include \"wgpu.h\"\n");
    write_numbers(f, part == NUMBER);
    write_structs(f, part == OFFSET);
    write_callbacks(f, part == CALLBACK);
    write_functions(f, part == FUNCTION);
    write_flags(f, part == FLAG);
}

/* Whether the program with one part made wrong compiles and ends well. What the compiler says goes
 * to standard error if `speak`. */
static bool agrees(wrong part, bool speak)
{
    char source[600], program[600], command[4000];
    snprintf(source, sizeof source, "%s", temp_path("abi.c"));
    snprintf(program, sizeof program, "%s", temp_path("abi"));
    FILE *f = fopen(source, "w");
    assert_non_null(f);
    write_program(f, part);
    assert_int_equal(fclose(f), 0);
    const int n = snprintf(command, sizeof command,
                           "{ %s -std=c11 -Werror -isystem \"%s\" \"%s\" -o \"%s\" && \"%s\"; } %s",
                           HY_TEST_COMPILER, webgpu_folder(), source, program, program,
                           speak ? "" : ">/dev/null 2>&1");
    assert_true(n > 0 && (size_t)n < sizeof command);
    return system(command) == 0;
}

static bool have_headers(void)
{
    char path[1000];
    snprintf(path, sizeof path, "%s/wgpu.h", webgpu_folder());
    FILE *f = fopen(path, "r");
    if (!f) {
        print_message("skipped: %s is not there; tools/get-webgpu fetches it\n", path);
        return false;
    }
    fclose(f);
    return true;
}

/* ---- tests */

static void declarations_are_those_of_the_headers(void **state)
{
    (void)state;
    if (!have_headers()) {
        skip();
    }
    assert_true(agrees(NOTHING, true));
}

static void each_kind_of_difference_is_seen(void **state)
{
    (void)state;
    if (!have_headers()) {
        skip();
    }
    assert_false(agrees(NUMBER, false));
    assert_false(agrees(FLAG, false));
    assert_false(agrees(OFFSET, false));
    assert_false(agrees(CALLBACK, false));
    assert_false(agrees(FUNCTION, false));
}

static size_t rounded(size_t x, size_t align)
{
    return (x + align - 1) / align * align;
}

/* A member begins where the one before it ended, or at the next multiple of 8 or of what pointers
 * take, which ends a structure. */
static void follows(const char *name, size_t begin, size_t end_before)
{
    if (begin != end_before && begin != rounded(end_before, 8) &&
        begin != rounded(end_before, sizeof(void *))) {
        fail_msg("%s begins at %zu, but the list has nothing from %zu on", name, begin, end_before);
    }
}

static void list_of_members_is_complete(void **state)
{
    (void)state;
    size_t end = 0;
#define S(name) end = 0;
#define M(name, member)                                                                            \
    follows(#name "." #member, offsetof(WGPU##name, member), end);                                 \
    end = offsetof(WGPU##name, member) + sizeof(((WGPU##name *)0)->member);
#define E(name) follows("the end of " #name, sizeof(WGPU##name), end);
#include "abi_structs.inc"
#undef S
#undef M
#undef E
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(declarations_are_those_of_the_headers),
        cmocka_unit_test(each_kind_of_difference_is_seen),
        cmocka_unit_test(list_of_members_is_complete),
    };
    return cmocka_run_group_tests_name("webgpu abi", tests, NULL, NULL);
}
