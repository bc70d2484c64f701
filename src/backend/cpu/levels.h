/* levels.h: the levels of instructions and their kernels (levels.inc is the list). */
#ifndef HY_BACKEND_CPU_LEVELS_H
#define HY_BACKEND_CPU_LEVELS_H

#include "columns.h"
#include "packed.h"
#include "vec.h"

/* Names by number, NULL behind the last. */
const char *hy__level_name(size_t level);
/* What it is, in words. */
const char *hy__level_text(size_t level);
/* Whether this build has a level, and whether this machine can run it too. */
bool hy__level_built(size_t level);
bool hy__level_here(size_t level);
/* The kernels that a level has itself (NULL: not in this build, or none of its own) and all that it runs, those of its
 * base included.  Only for levels that are built. */
const hy__packed_table *hy__level_own(size_t level);
void hy__level_packed(size_t level, hy__packed_table *out);
const hy__vec *hy__level_vec(size_t level);
/* The kernels for panels of columns, or NULL: the level has none. */
const hy__columns_table *hy__level_columns(size_t level);
/* By name; NULL: the best one here.  HY_E_UNSUPPORTED if this machine lacks it, HY_E_NOT_FOUND lists the names. */
hy_status hy__level_find(const char *name, size_t *level, hy_error *err);

#endif
