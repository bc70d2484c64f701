/* cpu.h: the CPU backend: models, sessions and states of the reference backend, matrices multiplied
 * by the kernels of this machine. */
#ifndef HY_BACKEND_CPU_CPU_H
#define HY_BACKEND_CPU_CPU_H

#include "backend/ref/ref.h"
#include "kernels.h"

typedef struct hy__cpu_model {
    hy__ref_model base;    /* first: sessions know only this part */
    hy__cpu_table kernels; /* without gaps */
} hy__cpu_model;

/* matmul.c */
void hy__cpu_matmul(hy__ref_session *s, const hy__node *node);

#endif
