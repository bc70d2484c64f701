/* bandwidth.h: how fast this machine reads memory: the ceiling of token generation.  One thread
 * calls. */
#ifndef HY_CLI_BANDWIDTH_H
#define HY_CLI_BANDWIDTH_H

#include <stdint.h>

/* Bytes per second that n_threads read together from a buffer over three times the last-level
 * cache: the best of several passes (others only had more disturbance). 0 if memory is out. */
double bandwidth_measure(uint32_t n_threads);

#endif
