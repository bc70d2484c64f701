# Compiler options of everything built here; never part of what is installed.
add_library(halyard_options INTERFACE)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)

if(MSVC)
    target_compile_options(halyard_options INTERFACE /W4 $<$<BOOL:${HALYARD_WERROR}>:/WX>)
else()
    target_compile_options(halyard_options INTERFACE
        -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef
        # Results must not depend on the compiler's choice to fuse a multiplication with an addition.
        -ffp-contract=off
        # Coverage and sanitizers aside, the reference kernels rely on vectorised fixed-order sums.
        $<$<CONFIG:Release>:-O3>
        $<$<BOOL:${HALYARD_WERROR}>:-Werror>)
    # The C library's own names (POSIX) are asked for in src/base/os_posix.c alone.
    target_link_libraries(halyard_options INTERFACE $<$<NOT:$<PLATFORM_ID:Windows>>:m>)
endif()

if(HALYARD_SANITIZE)
    target_compile_options(halyard_options INTERFACE -fsanitize=${HALYARD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(halyard_options INTERFACE -fsanitize=${HALYARD_SANITIZE})
    if(HALYARD_LIBFUZZER)
        target_compile_options(halyard_options INTERFACE -fsanitize=fuzzer-no-link)
    endif()
endif()
if(HALYARD_COVERAGE)
    # Atomic: the counters of threads that run one function would otherwise lose counts, and even become negative.
    target_compile_options(halyard_options INTERFACE --coverage -Og -fprofile-update=atomic)
    target_link_options(halyard_options INTERFACE --coverage)
endif()

# x86 or not is the compiler's business (-m32, cross compilers), so it is asked.
include(CheckCSourceCompiles)
check_c_source_compiles("
#if !(defined(__x86_64__) || defined(__i386__)) || !defined(__GNUC__)
#error
#endif
int main(void) { return 0; }" HALYARD_X86)
check_c_source_compiles("
#if !defined(__aarch64__) || !defined(__GNUC__)
#error
#endif
int main(void) { return 0; }" HALYARD_AARCH64)
