# Toolchain: AArch64 Linux, built with Debian's cross compiler and run with QEMU's emulation of one program.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
# With every instruction that QEMU knows, so that each level of the CPU backend runs.  The loader and the C library are
# those of the arm64 packages that the tests' libraries depend on: the cross compiler's own copy (-L) may be of another
# version, and a program that finds parts of both hangs when it starts a thread.
set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-aarch64;-cpu;max")
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
