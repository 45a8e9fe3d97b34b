/* Which processor this is. Loops over many values exist twice where the compiler can do it: for any processor, and
 * for those with AVX2. An ifunc would do the same, but not with every C library. */

#ifndef VGI_PROCESSOR_H
#define VGI_PROCESSOR_H

#include <stdint.h>
#include <string.h>

#define VGI_INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define VGI_TWICE 1
#define VGI_WIDE __attribute__((target("avx2,bmi,bmi2,popcnt")))

static int vgi_wide = -1;

VGI_INLINE int vgi_has_wide(void) {
    if (vgi_wide < 0) {
        __builtin_cpu_init();
        vgi_wide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")
                   && __builtin_cpu_supports("popcnt");
    }
    return vgi_wide;
}

VGI_INLINE int vgi_allow_wide(int allowed) {
    vgi_wide = allowed ? -1 : 0;
    return vgi_has_wide();
}
#else
#define VGI_TWICE 0
#define VGI_WIDE
VGI_INLINE int vgi_has_wide(void) { return 0; }
VGI_INLINE int vgi_allow_wide(int allowed) { return 0; }
#endif

#endif
