/* os.h: what the library asks of the operating system beside hy_env, one implementation per system:
 * the blocking primitive of the thread pool, locks, how many cores there are, and what they can do,
 * folders, and libraries that are opened while running. */
#ifndef HY_BASE_OS_H
#define HY_BASE_OS_H

#include "base.h"

/* An event count.  To wait for a condition without missing its change: take a ticket, look at the
 * condition, wait with the ticket; wait returns at once if anybody posted since the ticket was
 * taken.  Any thread. */
typedef struct hy__gate hy__gate;
hy__gate *hy__gate_create(const hy_env *env, hy_error *err); /* NULL: HY_E_NOMEM */
void hy__gate_destroy(const hy_env *env, hy__gate *g);       /* NULL is fine */
unsigned hy__gate_ticket(hy__gate *g);
void hy__gate_wait(hy__gate *g, unsigned ticket);
void hy__gate_post(hy__gate *g); /* wakes everyone */

/* A lock, for one thread at a time; not to be taken again by the thread that has it. */
typedef struct hy__lock hy__lock;
hy__lock *hy__lock_create(const hy_env *env, hy_error *err); /* NULL: HY_E_NOMEM */
void hy__lock_destroy(const hy_env *env, hy__lock *l);       /* NULL is fine */
void hy__lock_take(hy__lock *l);
void hy__lock_leave(hy__lock *l);

/* Cores to which the processors marked in allowed[n] belong (processors that share a core count
 * once), but not more than the control group of this process grants; at least 1.  `root` stands in
 * front of /sys and /proc: "", or a test's folder. */
uint32_t hy__cores(const char *root, const bool *allowed, uint32_t n);

/* Instructions that only the system can tell of: those of AArch64, as for hy__cpu_features. */
uint32_t hy__os_cpu_features(void);

/* Makes a folder that only this user can enter, and those above it that are missing.  False: it is
 * not there and cannot be made. */
bool hy__folder_make(const char *path);
/* Deletes the oldest of a folder's files whose names begin with `prefix` until the others have at
 * most `most` bytes.  What fails is left as it is. */
void hy__folder_trim(const hy_env *env, const char *path, const char *prefix, uint64_t most);

/* A shared library, by path or by a name that the system looks for.  NULL with the system's reason
 * in `why` if it cannot be opened.  Its symbols stay its own. */
void *hy__library_open(const char *path, char *why, size_t why_cap);
void *hy__library_symbol(void *library, const char *name); /* NULL: it has none of this name */
void hy__library_close(void *library);

#endif
