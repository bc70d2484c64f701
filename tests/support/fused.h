/* fused.h: models of every architecture from the repository as fused graphs, without a backend.
 *
 * Functions fail the running test where something goes wrong.  One thread. */
#ifndef HY_TESTS_FUSED_H
#define HY_TESTS_FUSED_H

#include "fuse/expr.h"
#include "support/support.h"

typedef struct fused_file {
    const char *path;
    uint32_t per_layer, outside; /* most phases with all rules */
} fused_file;
#define FUSED_N_FILES 7
extern const fused_file fused_files[FUSED_N_FILES];

typedef struct fused {
    hy_gguf *gguf;
    hy__graph graph; /* in the order of the phases */
    hy__fusion fusion;
    hy__exprs exprs;
} fused;

/* Loads, fuses, applies and verifies. */
void fused_load(fused *l, const char *path, uint32_t rules);
void fused_unload(fused *l);

#endif
