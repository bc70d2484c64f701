/* profile.h: where the time of steps goes, phase by phase.
 *
 * Phases of the same kind with the same matrices are one row, whatever their layer.  A profile
 * belongs to one thread; zero-initialise it and free it in every case. */
#ifndef HY_CLI_PROFILE_H
#define HY_CLI_PROFILE_H

#include <stdio.h>

#include "halyard/unstable.h"
#include "text.h"

/* What a phase moves and computes; sums of phases have the sums. */
typedef struct profile_work {
    double once;         /* bytes that a step reads and writes, however many tokens it has */
    double per_token;    /* further bytes for each token */
    double per_position; /* bytes for each token before, which the whole step reads once */
    double ops;          /* multiplications and additions for each token */
    uint64_t spared;     /* bytes of weights that the session had left out when it was last asked */
    bool for_last;       /* works for the last token of a step alone: only its logits are wanted */
} profile_work;

typedef struct profile_row {
    const char *kind; /* of the plan's phases */
    char name[160];   /* what it computes: "time_mix_{key,value}" */
    uint32_t n_phases;
    double bytes, ops; /* of all runs */
    bool spares;       /* weights that met zeros were left out */
    double *ns;        /* [runs] for each token; of the run in progress: all in all */
} profile_row;

typedef struct profile_event {
    uint32_t phase, n_tokens;
    uint64_t begin_ns, end_ns;
} profile_event;

typedef struct profile {
    const hy_model *model;
    const hy_session *session;
    uint32_t n_phases;
    profile_work *work; /* [n_phases] */
    uint32_t *row_of;   /* [n_phases] */
    profile_row *rows;
    uint32_t n_rows;
    double *rest; /* [runs] time outside of phases */
    size_t runs;  /* finished */
    size_t most_runs;
    uint64_t tokens; /* of all finished runs */
    bool lost;       /* memory was out: events are missing */

    uint64_t pos; /* of the step in progress */
    uint32_t last_phase, last_tokens;

    bool keep;             /* the events of the run in progress or the last one */
    profile_event *events; /* in the order in which they came */
    size_t n_events, cap;
} profile;

/* Rows from the plan of the session's model, room for `runs` runs.  False: memory is out. */
bool profile_init(profile *p, const hy_session *s, size_t runs, bool keep_events);
void profile_free(profile *p);

/* A run begins at position 0 and ends after `tokens` tokens and `ns` nanoseconds.  Its steps report
 * to profile_phase, an hy_profile whose user is the struct. */
void profile_begin(profile *p);
void profile_phase(void *user, uint32_t phase, uint32_t n_tokens, uint64_t begin_ns,
                   uint64_t end_ns);
void profile_end(profile *p, uint64_t tokens, double ns);

/* For each token of a run: the median run's nanoseconds, bytes, operations. */
double profile_ns(const profile *p, const profile_row *row);
double profile_rest_ns(const profile *p);
double profile_bytes(const profile *p, const profile_row *row);
double profile_ops(const profile *p, const profile_row *row);

/* The kept events as elements of a Chrome trace's list of events, each behind a comma but the
 * first of the file (*first, which becomes false); `thread` and `title` tell tests apart. */
void profile_trace(const profile *p, FILE *out, int thread, const char *title, bool *first);

#endif
