/* bench.h: measurements of kernels, printed; `--bench` of the test programs.  One thread. */
#ifndef HY_TESTS_KERNELS_BENCH_H
#define HY_TESTS_KERNELS_BENCH_H

void bench_vec(void);
void bench_packed(void);

#endif
