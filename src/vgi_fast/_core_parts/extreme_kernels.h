/* One pass over a column: where its least and greatest values are, how many different ones there are. */

#ifndef VGI_EXTREME_KERNELS_H
#define VGI_EXTREME_KERNELS_H

#include "filter_kernels.h"

#define VGI_VALID(i) (valid == NULL || (valid[(offset + (i)) >> 3] >> ((offset + (i)) & 7) & 1))

/* `first` and `last` are -1 before anything valid was seen. Of equal values the first counts. */
#define VGI_EXTREMES(NAME, T, SKIP, LESS)                                                              \
    static void NAME(const void *data, const uint8_t *valid, int64_t offset, int64_t n, int skip_nan,  \
                     int64_t *first, int64_t *last) {                                                  \
        const T *x = (const T *) data;                                                                 \
        T a = 0, b = 0;                                                                                \
        int64_t low = -1, high = -1;                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                              \
            T v = x[i];                                                                                \
            if (!VGI_VALID(i) || (SKIP)) continue;                                                     \
            if (low < 0) {                                                                             \
                a = b = v;                                                                             \
                low = high = i;                                                                        \
            } else if (LESS(v, a)) {                                                                   \
                a = v;                                                                                 \
                low = i;                                                                               \
            } else if (LESS(b, v)) {                                                                   \
                b = v;                                                                                 \
                high = i;                                                                              \
            }                                                                                          \
        }                                                                                              \
        *first = low;                                                                                  \
        *last = high;                                                                                  \
    }
/* Without nulls: the extremes first, in a loop that vectorizes, then where they are. */
#define VGI_ENDS_BODY(T)                                                                               \
    const T *x = (const T *) data;                                                                     \
    T a = x[0], b = x[0];                                                                              \
    int64_t i;                                                                                         \
    for (i = 1; i < n; i++) {                                                                          \
        a = x[i] < a ? x[i] : a;                                                                       \
        b = x[i] > b ? x[i] : b;                                                                       \
    }                                                                                                  \
    for (i = 0; x[i] != a; i++) {}                                                                     \
    *first = i;                                                                                        \
    for (i = 0; x[i] != b; i++) {}                                                                     \
    *last = i;
#define VGI_ENDS(NAME, T)                                                                              \
    static void NAME##_any(const void *data, int64_t n, int64_t *first, int64_t *last) { VGI_ENDS_BODY(T) } \
    VGI_WIDE static void NAME##_wide(const void *data, int64_t n, int64_t *first, int64_t *last) {     \
        VGI_ENDS_BODY(T)                                                                               \
    }                                                                                                  \
    static void NAME(const void *data, int64_t n, int64_t *first, int64_t *last) {                     \
        if (vgi_has_wide()) NAME##_wide(data, n, first, last);                                         \
        else NAME##_any(data, n, first, last);                                                         \
    }
VGI_ENDS(vgi_ends_i8, int8_t)
VGI_ENDS(vgi_ends_i16, int16_t)
VGI_ENDS(vgi_ends_i32, int32_t)
VGI_ENDS(vgi_ends_i64, int64_t)
VGI_ENDS(vgi_ends_u8, uint8_t)
VGI_ENDS(vgi_ends_u16, uint16_t)
VGI_ENDS(vgi_ends_u32, uint32_t)
VGI_ENDS(vgi_ends_u64, uint64_t)

#define VGI_LESS(x, y) ((x) < (y))
#define VGI_FLOAT_LESS(x, y) ((x) < (y) || ((x) == (x) && (y) != (y)))      /* NaN is the greatest */
VGI_EXTREMES(vgi_extremes_i8, int8_t, 0, VGI_LESS)
VGI_EXTREMES(vgi_extremes_i16, int16_t, 0, VGI_LESS)
VGI_EXTREMES(vgi_extremes_i32, int32_t, 0, VGI_LESS)
VGI_EXTREMES(vgi_extremes_i64, int64_t, 0, VGI_LESS)
VGI_EXTREMES(vgi_extremes_u8, uint8_t, 0, VGI_LESS)
VGI_EXTREMES(vgi_extremes_u16, uint16_t, 0, VGI_LESS)
VGI_EXTREMES(vgi_extremes_u32, uint32_t, 0, VGI_LESS)
VGI_EXTREMES(vgi_extremes_u64, uint64_t, 0, VGI_LESS)
VGI_EXTREMES(vgi_extremes_f32, float, skip_nan && v != v, VGI_FLOAT_LESS)
VGI_EXTREMES(vgi_extremes_f64, double, skip_nan && v != v, VGI_FLOAT_LESS)

static int vgi_extremes(int form, const void *data, const uint8_t *valid, int64_t offset, int64_t n, int skip_nan,
                        int64_t *first, int64_t *last) {
    if (valid == NULL && n > 0) {
        switch (form) {
        case VGI_KEY_I8: vgi_ends_i8(data, n, first, last); return 1;
        case VGI_KEY_I16: vgi_ends_i16(data, n, first, last); return 1;
        case VGI_KEY_I32: vgi_ends_i32(data, n, first, last); return 1;
        case VGI_KEY_I64: vgi_ends_i64(data, n, first, last); return 1;
        case VGI_KEY_U8: vgi_ends_u8(data, n, first, last); return 1;
        case VGI_KEY_U16: vgi_ends_u16(data, n, first, last); return 1;
        case VGI_KEY_U32: vgi_ends_u32(data, n, first, last); return 1;
        case VGI_KEY_U64: vgi_ends_u64(data, n, first, last); return 1;
        }
    }
    switch (form) {
    case VGI_KEY_I8: vgi_extremes_i8(data, valid, offset, n, skip_nan, first, last); return 1;
    case VGI_KEY_I16: vgi_extremes_i16(data, valid, offset, n, skip_nan, first, last); return 1;
    case VGI_KEY_I32: vgi_extremes_i32(data, valid, offset, n, skip_nan, first, last); return 1;
    case VGI_KEY_I64: vgi_extremes_i64(data, valid, offset, n, skip_nan, first, last); return 1;
    case VGI_KEY_U8: vgi_extremes_u8(data, valid, offset, n, skip_nan, first, last); return 1;
    case VGI_KEY_U16: vgi_extremes_u16(data, valid, offset, n, skip_nan, first, last); return 1;
    case VGI_KEY_U32: vgi_extremes_u32(data, valid, offset, n, skip_nan, first, last); return 1;
    case VGI_KEY_U64: vgi_extremes_u64(data, valid, offset, n, skip_nan, first, last); return 1;
    case VGI_KEY_F32: vgi_extremes_f32(data, valid, offset, n, skip_nan, first, last); return 1;
    case VGI_KEY_F64: vgi_extremes_f64(data, valid, offset, n, skip_nan, first, last); return 1;
    }
    return 0;
}

/* Little-endian integers of more than 64 bits. */
VGI_INLINE int vgi_limbs_less(const uint8_t *a, const uint8_t *b, int limbs) {
    for (int k = limbs - 1; k >= 0; k--) {
        uint64_t x, y;
        memcpy(&x, a + 8 * k, 8);
        memcpy(&y, b + 8 * k, 8);
        if (x != y) return k == limbs - 1 ? (int64_t) x < (int64_t) y : x < y;
    }
    return 0;
}

static void vgi_extremes_limbs(const uint8_t *data, const uint8_t *valid, int64_t offset, int64_t n, int limbs,
                               int64_t *first, int64_t *last) {
    int64_t low = -1, high = -1, width = 8 * limbs;
    for (int64_t i = 0; i < n; i++) {
        if (!VGI_VALID(i)) continue;
        if (low < 0) low = high = i;
        else if (vgi_limbs_less(data + i * width, data + low * width, limbs)) low = i;
        else if (vgi_limbs_less(data + high * width, data + i * width, limbs)) high = i;
    }
    *first = low;
    *last = high;
}

static void vgi_extremes_texts(const vgi_slots *s, const uint8_t *valid, int64_t offset, int64_t n, int64_t *first,
                               int64_t *last, int64_t *longest, int *is_ascii) {
    const uint8_t *a = NULL, *b = NULL;
    int64_t low = -1, high = -1, a_size = 0, b_size = 0, most = 0;
    uint8_t seen = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t size;
        const uint8_t *d;
        if (!VGI_VALID(i)) continue;
        d = vgi_slot(s, s->layout, i, &size);
        if (size > most) most = size;
        for (int64_t k = 0; k < size; k++) seen |= d[k];
        if (low < 0) {
            low = high = i;
            a = b = d;
            a_size = b_size = size;
        } else if (vgi_order(d, size, a, a_size) < 0) {
            low = i;
            a = d;
            a_size = size;
        } else if (vgi_order(b, b_size, d, size) < 0) {
            high = i;
            b = d;
            b_size = size;
        }
    }
    *first = low;
    *last = high;
    *longest = most;
    *is_ascii = seen < 128;
}

/* HyperLogLog of 4,096 registers: 1.6 % off, in general. */
#define VGI_REGISTERS 4096
VGI_INLINE void vgi_note(uint8_t *registers, uint64_t h) {
    uint64_t rest = h >> 12;
    uint8_t rank = (uint8_t) (rest ? __builtin_ctzll(rest) + 1 : 53);
    uint8_t *at = &registers[h & (VGI_REGISTERS - 1)];
    if (rank > *at) *at = rank;
}

static void vgi_note_numbers(int form, const void *data, const uint8_t *valid, int64_t offset, int64_t n,
                             uint8_t *registers) {
    for (int64_t i = 0; i < n; i++) {
        if (VGI_VALID(i)) {
            uint64_t key = vgi_key(data, i, form);
            vgi_note(registers, vgi_mix(vgi_mix(key ^ 0xA0761D6478BD642Full, 0xE7037ED1A0B428DBull), 0x1D8E4E27C47D124Full));
        }
    }
}

static void vgi_note_texts(const vgi_slots *s, const uint8_t *valid, int64_t offset, int64_t n, uint8_t *registers) {
    for (int64_t i = 0; i < n; i++) {
        if (VGI_VALID(i)) {
            int64_t size;
            const uint8_t *d = vgi_slot(s, s->layout, i, &size);
            vgi_note(registers, vgi_hash(d, size, 0x9E3779B97F4A7C15ull));
        }
    }
}

#endif
