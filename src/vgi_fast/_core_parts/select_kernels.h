/* Loops that gather the chosen rows of a column. Rows are in order and inside of what the caller checked. */

#ifndef VGI_SELECT_KERNELS_H
#define VGI_SELECT_KERNELS_H

#include <stdint.h>
#include <string.h>

typedef struct { uint64_t half[2]; } vgi_16;

#define VGI_TAKE(NAME, T)                                                                      \
    static void NAME(const void *data, const uint32_t *rows, int64_t n, void *out) {           \
        const T *x = (const T *) data;                                                         \
        T *o = (T *) out;                                                                      \
        for (int64_t i = 0; i < n; i++) o[i] = x[rows[i]];                                     \
    }
VGI_TAKE(vgi_take8, uint8_t)
VGI_TAKE(vgi_take16, uint16_t)
VGI_TAKE(vgi_take32, uint32_t)
VGI_TAKE(vgi_take64, uint64_t)
VGI_TAKE(vgi_take128, vgi_16)

static void vgi_take(const void *data, int64_t width, const uint32_t *rows, int64_t n, void *out) {
    switch (width) {
    case 1: vgi_take8(data, rows, n, out); break;
    case 2: vgi_take16(data, rows, n, out); break;
    case 4: vgi_take32(data, rows, n, out); break;
    case 8: vgi_take64(data, rows, n, out); break;
    case 16: vgi_take128(data, rows, n, out); break;
    default:
        for (int64_t i = 0; i < n; i++)
            memcpy((uint8_t *) out + i * width, (const uint8_t *) data + rows[i] * width, (size_t) width);
    }
}

/* Gathered bits, the last byte filled up with zeros; returns how many are set. */
static int64_t vgi_take_bits(const uint8_t *bits, int64_t offset, const uint32_t *rows, int64_t n, uint8_t *out) {
    int64_t set = 0;
    for (int64_t i = 0; i < n; i += 8) {
        int m = n - i < 8 ? (int) (n - i) : 8;
        unsigned byte = 0;
        for (int j = 0; j < m; j++) {
            int64_t at = offset + rows[i + j];
            byte |= ((bits[at >> 3] >> (at & 7)) & 1u) << j;
        }
        out[i >> 3] = (uint8_t) byte;
        set += __builtin_popcount(byte);
    }
    return set;
}

/* New offsets from 0; returns the bytes that the texts take. */
#define VGI_OFFSETS(NAME, T)                                                                   \
    static int64_t NAME(const T *offsets, const uint32_t *rows, int64_t n, T *out) {           \
        T total = 0;                                                                           \
        out[0] = 0;                                                                            \
        for (int64_t i = 0; i < n; i++) {                                                      \
            total += offsets[rows[i] + 1] - offsets[rows[i]];                                  \
            out[i + 1] = total;                                                                \
        }                                                                                      \
        return (int64_t) total;                                                                \
    }
VGI_OFFSETS(vgi_offsets32, int32_t)
VGI_OFFSETS(vgi_offsets64, int64_t)

/* `end` is where the column's data ends. `out` has 16 bytes to spare: short texts are moved as 16 bytes. */
#define VGI_COPY(NAME, T)                                                                      \
    static void NAME(const T *offsets, const uint8_t *data, int64_t end, const uint32_t *rows, int64_t n, \
                     const T *made, uint8_t *out) {                                            \
        for (int64_t i = 0; i < n; i++) {                                                      \
            int64_t from = offsets[rows[i]], size = offsets[rows[i] + 1] - from;               \
            uint8_t *to = out + made[i];                                                       \
            if (size <= 16 && from + 16 <= end) memcpy(to, data + from, 16);                   \
            else memcpy(to, data + from, (size_t) size);                                       \
        }                                                                                      \
    }
VGI_COPY(vgi_copy32, int32_t)
VGI_COPY(vgi_copy64, int64_t)

#endif
