/* Half-precision numbers; a float holds each of them exactly. */

#ifndef VGI_HALF_H
#define VGI_HALF_H

#include <stdint.h>
#include <string.h>

static inline float vgi_half(uint16_t h) {
    uint32_t sign = (uint32_t) (h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023, bits;
    float f;
    if (exponent == 31) bits = sign | 0x7f800000u | (mantissa << 13);
    else if (exponent) bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
    else {
        f = (float) mantissa * 0x1p-24f;
        return sign ? -f : f;
    }
    memcpy(&f, &bits, 4);
    return f;
}

#endif
