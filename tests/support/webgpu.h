/* webgpu.h: the WebGPU libraries that tests use.
 *
 * They are looked for in the folder that HALYARD_WEBGPU names, or build/webgpu, where
 * tools/get-webgpu puts them.  HALYARD_WEBGPU_LIB names the one that must work: then tests use no
 * other and skip nothing.  Without it, what is missing is skipped with the reason.  HALYARD_TEST_CACHE
 * names a folder where results of the self-test and kernels are kept between programs, which takes
 * GPUs made of software most of a minute; without it each program has its own. */
#ifndef HY_TESTS_WEBGPU_H
#define HY_TESTS_WEBGPU_H

#include "backend/webgpu/device.h"
#include "support/support.h"

const char *webgpu_folder(void);
/* Whether tests of a library are to run at all. */
bool webgpu_is_meant(const char *library);
/* A device of the library, with all that the GPU has; prints which one.  False: there is none; why
 * is printed and kept in `why` (600 bytes), and *failed is 1 if there had to be one. */
bool webgpu_open(hy__gpu *gpu, hy_env *env, const char *library, char *why, int *failed);
/* Setup of a group of tests with models; each of them then begins with webgpu_or_skip. */
int webgpu_look(void **state);
void webgpu_or_skip(void);
/* The folder of HALYARD_TEST_CACHE, or one of this program. */
const char *webgpu_kept(void);
/* A model on the backend. */
hy_model *webgpu_model(const char *path, const char *mask, const char *no_fuse);
/* Options with which models come to the backend, with that folder. */
hy_model_opts webgpu_model_opts(void);

#endif
