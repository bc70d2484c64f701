/* cpu.c: which instructions this processor has and the operating system lets programs use.
 *
 * x86 is asked itself, of others the system knows.  Any thread may call it. */
#include "os.h"

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)

#include <cpuid.h>
#include <immintrin.h>

enum { EAX, EBX, ECX, EDX };

/* Bit of a register of a leaf that must be 1. */
typedef struct need {
    unsigned leaf, subleaf, reg, bit;
} need;

static bool has(const need *needs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const need *one = &needs[i];
        unsigned r[4];
        if (!__get_cpuid_count(one->leaf, one->subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) ||
            !(r[one->reg] >> one->bit & 1)) {
            return false;
        }
    }
    return true;
}

uint32_t hy__cpu_features(void)
{
    static const need xgetbv[] = {{1, 0, ECX, 27}};
    static const need avx2[] = {{1, 0, ECX, 28}, {1, 0, ECX, 12}, {1, 0, ECX, 29}, {7, 0, EBX, 5}};
    static const need avxvnni[] = {{7, 1, EAX, 4}};
    /* F, DQ, BW, VL, VNNI */
    static const need vnni[] = {
        {7, 0, EBX, 16}, {7, 0, EBX, 17}, {7, 0, EBX, 30}, {7, 0, EBX, 31}, {7, 0, ECX, 11}};
    if (!has(xgetbv, HY_COUNT(xgetbv))) {
        return 0;
    }
    const unsigned long long saved = _xgetbv(0); /* registers that survive a change of threads */
    uint32_t features = 0;
    if ((saved & 0x06) == 0x06 && has(avx2, HY_COUNT(avx2))) {
        features |= HY__CPU_AVX2;
        features |= has(avxvnni, HY_COUNT(avxvnni)) ? HY__CPU_AVXVNNI : 0u;
    }
    if ((saved & 0xe6) == 0xe6 && has(vnni, HY_COUNT(vnni))) {
        features |= HY__CPU_AVX512_VNNI;
    }
    return features;
}

#else

uint32_t hy__cpu_features(void)
{
    return hy__os_cpu_features();
}

#endif
