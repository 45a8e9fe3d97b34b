/* Loops that turn a column and constants into a bitmap of the rows that pass.
 *
 * Output: (n + 63) / 64 words, bits past n are zero. Every row gets an answer, whatever its validity; callers
 * clear the nulls. A comparison with a constant is a test for a range of stored values: one kernel a width.
 * `flip` is 0 or all ones. Nothing here allocates, and nothing reads outside of what the caller checked. */

#ifndef VGI_FILTER_KERNELS_H
#define VGI_FILTER_KERNELS_H

#include "half.h"
#include "processor.h"

/* Bit j = byte j, which is 0 or 1. */
VGI_INLINE uint64_t vgi_pack64(const uint8_t *bytes) {
    uint64_t word = 0;
#if defined(__SSE2__)
    for (int k = 0; k < 4; k++) {
        __m128i b = _mm_slli_epi16(_mm_loadu_si128((const __m128i *) (bytes + 16 * k)), 7);
        word |= (uint64_t) (uint32_t) _mm_movemask_epi8(b) << (16 * k);
    }
#else
    for (int k = 0; k < 8; k++) {
        uint64_t eight;
        memcpy(&eight, bytes + 8 * k, 8);
        word |= ((eight * 0x0102040810204080ull) >> 56) << (8 * k);
    }
#endif
    return word;
}

/* TEST sees a value `v` of type T. */
#define VGI_LOOP_BODY(T, TEST)                                          \
    const T *x = (const T *) data;                                      \
    uint8_t bytes[64];                                                  \
    int64_t i = 0;                                                      \
    for (; i + 64 <= n; i += 64) {                                      \
        for (int j = 0; j < 64; j++) {                                  \
            T v = x[i + j];                                             \
            bytes[j] = (uint8_t) (TEST);                                \
        }                                                               \
        out[i >> 6] = vgi_pack64(bytes) ^ flip;                         \
    }                                                                   \
    if (i < n) {                                                        \
        memset(bytes, 0, sizeof bytes);                                 \
        for (int j = 0; j < n - i; j++) {                               \
            T v = x[i + j];                                             \
            bytes[j] = (uint8_t) (TEST);                                \
        }                                                               \
        out[i >> 6] = (vgi_pack64(bytes) ^ flip) & (~0ull >> (64 - (n - i)));  \
    }

#define VGI_LOOP_ANY(NAME, T, TEST)                                                                     \
    static void NAME##_any(const void *data, int64_t n, T low, T top, uint64_t flip, uint64_t *out) {   \
        VGI_LOOP_BODY(T, TEST)                                                                          \
    }
#define VGI_LOOP_EITHER(NAME, T)                                                                        \
    static void NAME(const void *data, int64_t n, T low, T top, uint64_t flip, uint64_t *out) {         \
        if (vgi_has_wide()) NAME##_wide(data, n, low, top, flip, out);                                  \
        else NAME##_any(data, n, low, top, flip, out);                                                  \
    }

/* Twice as the compiler makes it: good for one and two bytes. */
#define VGI_LOOP(NAME, T, TEST)                                                                         \
    VGI_LOOP_ANY(NAME, T, TEST)                                                                         \
    VGI_WIDE static void NAME##_wide(const void *data, int64_t n, T low, T top, uint64_t flip, uint64_t *out) {\
        VGI_LOOP_BODY(T, TEST)                                                                          \
    }                                                                                                   \
    VGI_LOOP_EITHER(NAME, T)

#if VGI_TWICE
/* What comparisons of 32 values left, all ones or zeros each, as bits. */
VGI_WIDE VGI_INLINE uint32_t vgi_bits_of_4(const __m256i *m) {
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(m[0], m[1]), _mm256_packs_epi32(m[2], m[3]));
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    return (uint32_t) _mm256_movemask_epi8(bytes);
}

VGI_WIDE VGI_INLINE __m256i vgi_halves(__m256i a, __m256i b) {
    return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88));
}

VGI_WIDE VGI_INLINE uint32_t vgi_bits_of_8(const __m256i *m) {
    const __m256i order = _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15,
                                           0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    __m256i low = _mm256_packs_epi32(vgi_halves(m[0], m[1]), vgi_halves(m[2], m[3]));
    __m256i high = _mm256_packs_epi32(vgi_halves(m[4], m[5]), vgi_halves(m[6], m[7]));
    __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xD8);
    return (uint32_t) _mm256_movemask_epi8(_mm256_shuffle_epi8(bytes, order));
}

/* For four and eight bytes, where the compiler's loop takes more than twice as long. PREPARE makes what VECTOR
 * compares `v` with, 32 bytes at a time; OUTSIDE is all ones where VECTOR tells which values fail. */
#define VGI_LOOP_VECTOR(NAME, T, TEST, PREPARE, VECTOR, OUTSIDE)                                        \
    VGI_LOOP_ANY(NAME, T, TEST)                                                                         \
    VGI_WIDE static void NAME##_wide(const void *data, int64_t n, T low, T top, uint64_t flip, uint64_t *out) {\
        const T *x = (const T *) data;                                                                  \
        int64_t w = 0;                                                                                  \
        PREPARE                                                                                         \
        for (; 64 * w + 64 <= n; w++) {                                                                 \
            uint64_t word = 0;                                                                          \
            for (int k = 0; k < 64; k += 32) {                                                          \
                __m256i m[sizeof(T)];                                                                   \
                for (int j = 0; j < (int) sizeof(T); j++) {                                             \
                    __m256i v = _mm256_loadu_si256((const __m256i *) (x + 64 * w + k) + j);             \
                    m[j] = VECTOR;                                                                      \
                }                                                                                       \
                word |= (uint64_t) (sizeof(T) == 8 ? vgi_bits_of_8(m) : vgi_bits_of_4(m)) << k;         \
            }                                                                                           \
            out[w] = word ^ flip ^ OUTSIDE;                                                             \
        }                                                                                               \
        NAME##_any(x + 64 * w, n - 64 * w, low, top, flip, out + w);                                    \
    }                                                                                                   \
    VGI_LOOP_EITHER(NAME, T)
#else
#define VGI_LOOP_VECTOR(NAME, T, TEST, PREPARE, VECTOR, OUTSIDE)                                        \
    VGI_LOOP(NAME, T, TEST)
#endif

/* Integers: low <= v <= low + top in the order in which low is the least value, which wraps around for either
 * signedness. There is no vector comparison without sign: both sides move by the sign's bit. */
VGI_LOOP(vgi_range8, uint8_t, (uint8_t) (v - low) <= top)
VGI_LOOP(vgi_range16, uint16_t, (uint16_t) (v - low) <= top)
VGI_LOOP_VECTOR(vgi_range32, uint32_t, v - low <= top,
    __m256i start = _mm256_set1_epi32((int) (low ^ 0x80000000u));
    __m256i size = _mm256_set1_epi32((int) (top ^ 0x80000000u));,
    _mm256_cmpgt_epi32(_mm256_sub_epi32(v, start), size), ~0ull)
VGI_LOOP_VECTOR(vgi_range64, uint64_t, v - low <= top,
    __m256i start = _mm256_set1_epi64x((long long) (low ^ 1ull << 63));
    __m256i size = _mm256_set1_epi64x((long long) (top ^ 1ull << 63));,
    _mm256_cmpgt_epi64(_mm256_sub_epi64(v, start), size), ~0ull)
VGI_LOOP_VECTOR(vgi_float32, float, (v >= low) & (v <= top),
    __m256 start = _mm256_set1_ps(low); __m256 end = _mm256_set1_ps(top);,
    _mm256_castps_si256(_mm256_and_ps(_mm256_cmp_ps(_mm256_castsi256_ps(v), start, _CMP_GE_OQ),
                                      _mm256_cmp_ps(_mm256_castsi256_ps(v), end, _CMP_LE_OQ))), 0)
VGI_LOOP_VECTOR(vgi_float64, double, (v >= low) & (v <= top),
    __m256d start = _mm256_set1_pd(low); __m256d end = _mm256_set1_pd(top);,
    _mm256_castpd_si256(_mm256_and_pd(_mm256_cmp_pd(_mm256_castsi256_pd(v), start, _CMP_GE_OQ),
                                      _mm256_cmp_pd(_mm256_castsi256_pd(v), end, _CMP_LE_OQ))), 0)

static void vgi_float16(const void *data, int64_t n, float low, float high, uint64_t flip, uint64_t *out) {
    const uint16_t *x = (const uint16_t *) data;
    for (int64_t w = 0; 64 * w < n; w++) {
        int m = n - 64 * w < 64 ? (int) (n - 64 * w) : 64;
        uint64_t word = 0;
        for (int j = 0; j < m; j++) {
            float v = vgi_half(x[64 * w + j]);
            word |= (uint64_t) ((v >= low) & (v <= high)) << j;
        }
        out[w] = (word ^ flip) & (~0ull >> (64 - m));
    }
}

/* Wide integers as 64-bit limbs, least significant first; `bias` is added to the topmost for signed order. */
static void vgi_range_limbs(const void *data, int64_t n, int limbs, const uint64_t *low, const uint64_t *high,
                            uint64_t bias, uint64_t flip, uint64_t *out) {
    for (int64_t w = 0; 64 * w < n; w++) {
        int m = n - 64 * w < 64 ? (int) (n - 64 * w) : 64;
        uint64_t word = 0;
        for (int j = 0; j < m; j++) {
            uint64_t v[4];
            int below = 0, above = 0;
            memcpy(v, (const uint8_t *) data + (64 * w + j) * 8 * limbs, 8 * limbs);
            v[limbs - 1] += bias;
            for (int k = 0; k < limbs; k++) {       /* the last limb that differs decides */
                below = v[k] < low[k] ? 1 : v[k] > low[k] ? 0 : below;
                above = v[k] > high[k] ? 1 : v[k] < high[k] ? 0 : above;
            }
            word |= (uint64_t) !(below | above) << j;
        }
        out[w] = (word ^ flip) & (~0ull >> (64 - m));
    }
}

/* ---- texts ---- */

enum { VGI_TEXT_EQUAL, VGI_TEXT_RANGE, VGI_TEXT_PREFIX, VGI_TEXT_SUFFIX, VGI_TEXT_CONTAINS, VGI_TEXT_LIKE,
       VGI_TEXT_LENGTH };

typedef struct {
    int test;
    const uint8_t *key;         /* equal, prefix, suffix, contains, like; the lower bound of a range, or NULL */
    int64_t size;
    const uint8_t *high;        /* upper bound of a range, or NULL */
    int64_t high_size;
    int low_open, high_open;    /* the bound itself is outside */
    int64_t least, most;        /* length in characters */
} vgi_text;

VGI_INLINE int vgi_same(const uint8_t *a, const uint8_t *b, int64_t size) {
    uint64_t x, y, p, q;
    uint32_t s, t, u, v;
    if (size > 16) return memcmp(a, b, (size_t) size) == 0;
    if (size >= 8) {            /* two loads that overlap */
        memcpy(&x, a, 8); memcpy(&y, b, 8);
        memcpy(&p, a + size - 8, 8); memcpy(&q, b + size - 8, 8);
        return ((x ^ y) | (p ^ q)) == 0;
    }
    if (size >= 4) {
        memcpy(&s, a, 4); memcpy(&t, b, 4);
        memcpy(&u, a + size - 4, 4); memcpy(&v, b + size - 4, 4);
        return ((s ^ t) | (u ^ v)) == 0;
    }
    for (int64_t i = 0; i < size; i++)
        if (a[i] != b[i]) return 0;
    return 1;
}

VGI_INLINE int vgi_order(const uint8_t *a, int64_t m, const uint8_t *b, int64_t n) {
    int64_t least = m < n ? m : n;
    int c = least ? (a[0] != b[0] ? (a[0] < b[0] ? -1 : 1) : memcmp(a, b, (size_t) least)) : 0;
    return c ? c : (m > n) - (m < n);
}

VGI_INLINE int vgi_contains(const uint8_t *d, int64_t size, const uint8_t *key, int64_t n) {
    const uint8_t *at = d, *last = d + size - n;
    if (n == 0) return 1;
    while (at <= last) {
        at = (const uint8_t *) memchr(at, key[0], (size_t) (last - at + 1));
        if (at == NULL) return 0;
        if (vgi_same(at, key, n)) return 1;
        at++;
    }
    return 0;
}

/* % any bytes, _ one character. */
VGI_INLINE int vgi_like(const uint8_t *d, int64_t size, const uint8_t *p, int64_t n) {
    int64_t i = 0, k = 0, star = -1, back = 0;
    while (i < size) {
        if (k < n && p[k] == '%') {
            star = k++;
            back = i;
        } else if (k < n && p[k] == '_') {
            i++;
            while (i < size && (d[i] & 0xC0) == 0x80) i++;
            k++;
        } else if (k < n && p[k] == d[i]) {
            i++;
            k++;
        } else if (star >= 0) {
            k = star + 1;
            i = ++back;
            while (i < size && (d[i] & 0xC0) == 0x80) i = ++back;    /* a character is not split */
        } else return 0;
    }
    while (k < n && p[k] == '%') k++;
    return k == n;
}

VGI_INLINE int64_t vgi_characters(const uint8_t *d, int64_t size) {
    int64_t count = 0;
    for (int64_t i = 0; i < size; i++) count += (d[i] & 0xC0) != 0x80;
    return count;
}

VGI_INLINE int vgi_text_passes(const vgi_text *t, int test, const uint8_t *d, int64_t size) {
    int64_t m;
    int c;
    switch (test) {
    case VGI_TEXT_EQUAL: return size == t->size && vgi_same(d, t->key, size);
    case VGI_TEXT_RANGE:
        if (t->key != NULL) {
            c = vgi_order(d, size, t->key, t->size);
            if (c < 0 || (c == 0 && t->low_open)) return 0;
        }
        if (t->high == NULL) return 1;
        c = vgi_order(d, size, t->high, t->high_size);
        return c < 0 || (c == 0 && !t->high_open);
    case VGI_TEXT_PREFIX: return size >= t->size && vgi_same(d, t->key, t->size);
    case VGI_TEXT_SUFFIX: return size >= t->size && vgi_same(d + size - t->size, t->key, t->size);
    case VGI_TEXT_CONTAINS: return vgi_contains(d, size, t->key, t->size);
    case VGI_TEXT_LIKE: return vgi_like(d, size, t->key, t->size);
    default:
        m = vgi_characters(d, size);
        return m >= t->least && m <= t->most;
    }
}

/* Where a column's texts are. */
typedef struct {
    int layout;                     /* of VGI_SLOTS_* */
    const uint8_t *slots;           /* of the first row: offsets, views or the values themselves */
    const uint8_t *data;
    const uint8_t *const *buffers;  /* views */
    int64_t width;
} vgi_slots;

enum { VGI_SLOTS_32, VGI_SLOTS_64, VGI_SLOTS_VIEW, VGI_SLOTS_FIXED };

VGI_INLINE const uint8_t *vgi_slot(const vgi_slots *s, int layout, int64_t i, int64_t *size) {
    int32_t a[2], view[4];
    int64_t b[2];
    switch (layout) {
    case VGI_SLOTS_32:
        memcpy(a, s->slots + 4 * i, 8);
        *size = a[1] - a[0];
        return s->data + a[0];
    case VGI_SLOTS_64:
        memcpy(b, s->slots + 8 * i, 16);
        *size = b[1] - b[0];
        return s->data + b[0];
    case VGI_SLOTS_VIEW:
        memcpy(view, s->slots + 16 * i, 16);
        *size = view[0];
        return view[0] <= 12 ? s->slots + 16 * i + 4 : s->buffers[view[2]] + view[3];
    default:
        *size = s->width;
        return s->data + i * s->width;
    }
}

/* Rows whose bit in `within` is clear stay clear, and their slots are not read. */
#define VGI_ROWS(NAME, ARGUMENTS, TEST)                                                     \
    static void NAME(const vgi_slots *s, int64_t n, const uint64_t *within, ARGUMENTS, uint64_t *out) { \
        for (int64_t w = 0; 64 * w < n; w++) {                                              \
            uint64_t todo = n - 64 * w < 64 ? ~0ull >> (64 - (n - 64 * w)) : ~0ull, word = 0; \
            if (within != NULL) todo &= within[w];                                          \
            if (todo == ~0ull) {                                                            \
                for (int j = 0; j < 64; j++) {                                              \
                    int64_t i = 64 * w + j;                                                 \
                    word |= (uint64_t) (TEST) << j;                                         \
                }                                                                           \
            } else while (todo) {                                                           \
                int j = __builtin_ctzll(todo);                                              \
                int64_t i = 64 * w + j;                                                     \
                todo &= todo - 1;                                                           \
                word |= (uint64_t) (TEST) << j;                                             \
            }                                                                               \
            out[w] = word;                                                                  \
        }                                                                                   \
    }

VGI_INLINE int vgi_text_at(const vgi_slots *s, int layout, int64_t i, const vgi_text *t, int test) {
    int64_t size;
    const uint8_t *d = vgi_slot(s, layout, i, &size);
    return vgi_text_passes(t, test, d, size);
}

#define VGI_TEXT_OF(NAME, LAYOUT)                                                                              \
    VGI_ROWS(NAME##_equal, const vgi_text *t, vgi_text_at(s, LAYOUT, i, t, VGI_TEXT_EQUAL))                    \
    VGI_ROWS(NAME##_range, const vgi_text *t, vgi_text_at(s, LAYOUT, i, t, VGI_TEXT_RANGE))                    \
    VGI_ROWS(NAME##_other, const vgi_text *t, vgi_text_at(s, LAYOUT, i, t, t->test))                           \
    static void NAME(const vgi_slots *s, int64_t n, const uint64_t *within, const vgi_text *t, uint64_t *out) { \
        if (t->test == VGI_TEXT_EQUAL) NAME##_equal(s, n, within, t, out);                                     \
        else if (t->test == VGI_TEXT_RANGE) NAME##_range(s, n, within, t, out);                                \
        else NAME##_other(s, n, within, t, out);                                                               \
    }

VGI_TEXT_OF(vgi_text_32, VGI_SLOTS_32)
VGI_TEXT_OF(vgi_text_64, VGI_SLOTS_64)
VGI_TEXT_OF(vgi_text_view, VGI_SLOTS_VIEW)
VGI_TEXT_OF(vgi_text_fixed, VGI_SLOTS_FIXED)

static void vgi_text_rows(const vgi_slots *s, int64_t n, const uint64_t *within, const vgi_text *t, uint64_t *out) {
    switch (s->layout) {
    case VGI_SLOTS_32: vgi_text_32(s, n, within, t, out); break;
    case VGI_SLOTS_64: vgi_text_64(s, n, within, t, out); break;
    case VGI_SLOTS_VIEW: vgi_text_view(s, n, within, t, out); break;
    default: vgi_text_fixed(s, n, within, t, out);
    }
}

/* ---- sets ---- */

/* Numbers of up to 64 bits: a bitmap over [low, low + span], or open addressing with 0 standing for "empty".
 * The seed keeps a peer from choosing keys that collide. */
typedef struct {
    uint64_t low, span;
    uint64_t *bits;             /* dense */
    uint64_t *table;            /* keys, else */
    int shift;                  /* 64 - log2 of the table's size */
    uint64_t mask, seed;
    int has_zero;
} vgi_numbers;

VGI_INLINE uint64_t vgi_home(const vgi_numbers *s, uint64_t key) {
    return (key * s->seed) >> s->shift;
}

VGI_INLINE int vgi_has_number(const vgi_numbers *s, uint64_t key) {
    if (key - s->low > s->span) return 0;
    if (s->bits != NULL) {
        key -= s->low;
        return (int) ((s->bits[key >> 6] >> (key & 63)) & 1);
    }
    if (key == 0) return s->has_zero;
    for (uint64_t at = vgi_home(s, key);; at = (at + 1) & s->mask) {
        if (s->table[at] == key) return 1;
        if (s->table[at] == 0) return 0;
    }
}

static int vgi_add_number(vgi_numbers *s, uint64_t key) {
    if (s->bits != NULL) {
        uint64_t bit = 1ull << ((key - s->low) & 63), *word = &s->bits[(key - s->low) >> 6];
        int fresh = (*word & bit) == 0;
        *word |= bit;
        return fresh;
    }
    if (key == 0) {
        int fresh = !s->has_zero;
        s->has_zero = 1;
        return fresh;
    }
    for (uint64_t at = vgi_home(s, key);; at = (at + 1) & s->mask) {
        if (s->table[at] == key) return 0;
        if (s->table[at] == 0) {
            s->table[at] = key;
            return 1;
        }
    }
}

/* A number as the set holds it: sign-extended, floats with one NaN and one zero. */
enum { VGI_KEY_I8, VGI_KEY_I16, VGI_KEY_I32, VGI_KEY_I64, VGI_KEY_U8, VGI_KEY_U16, VGI_KEY_U32, VGI_KEY_U64,
       VGI_KEY_F16, VGI_KEY_F32, VGI_KEY_F64 };

VGI_INLINE uint64_t vgi_double_key(double d) {
    uint64_t bits;
    if (d != d) return 0x7ff8000000000000ull;
    d += 0.0;
    memcpy(&bits, &d, 8);
    return bits;
}

VGI_INLINE uint64_t vgi_key(const void *data, int64_t i, int form) {
    switch (form) {
    case VGI_KEY_I8: return (uint64_t) (int64_t) ((const int8_t *) data)[i];
    case VGI_KEY_I16: return (uint64_t) (int64_t) ((const int16_t *) data)[i];
    case VGI_KEY_I32: return (uint64_t) (int64_t) ((const int32_t *) data)[i];
    case VGI_KEY_U8: return ((const uint8_t *) data)[i];
    case VGI_KEY_U16: return ((const uint16_t *) data)[i];
    case VGI_KEY_U32: return ((const uint32_t *) data)[i];
    case VGI_KEY_F16: return vgi_double_key((double) vgi_half(((const uint16_t *) data)[i]));
    case VGI_KEY_F32: return vgi_double_key((double) ((const float *) data)[i]);
    case VGI_KEY_F64: return vgi_double_key(((const double *) data)[i]);
    default: return ((const uint64_t *) data)[i];
    }
}

/* Most rows are settled by the slot where their key belongs: it holds the key, or nothing. That much is answered
 * without a branch that could be guessed wrong, for 64 rows at a time; the rest look further. */
#define VGI_TABLE_ROWS(FORM)                                                                                    \
    for (int64_t w = 0; 64 * w < n; w++) {                                                                      \
        int m = n - 64 * w < 64 ? (int) (n - 64 * w) : 64;                                                      \
        uint64_t word = 0, open = 0;                                                                            \
        for (int j = 0; j < m; j++) {                                                                           \
            uint64_t key = vgi_key(data, 64 * w + j, FORM), held = s->table[vgi_home(s, key)];                  \
            word |= (uint64_t) ((held == key) & (key != 0)) << j;                                               \
            open |= (uint64_t) (((held != key) & (held != 0)) | (key == 0)) << j;                               \
        }                                                                                                       \
        for (; open; open &= open - 1) {                                                                        \
            int j = __builtin_ctzll(open);                                                                      \
            word |= (uint64_t) vgi_has_number(s, vgi_key(data, 64 * w + j, FORM)) << j;                         \
        }                                                                                                       \
        out[w] = word;                                                                                          \
    }

#define VGI_SET_ROWS(NAME, FORM)                                                                                \
    static void NAME(const void *data, int64_t n, const vgi_numbers *s, uint64_t *out) {                        \
        if (s->bits == NULL) {                                                                                  \
            VGI_TABLE_ROWS(FORM)                                                                                \
            return;                                                                                             \
        }                                                                                                       \
        for (int64_t w = 0; 64 * w < n; w++) {                                                                  \
            int m = n - 64 * w < 64 ? (int) (n - 64 * w) : 64;                                                  \
            uint64_t word = 0;                                                                                  \
            for (int j = 0; j < m; j++) word |= (uint64_t) vgi_has_number(s, vgi_key(data, 64 * w + j, FORM)) << j; \
            out[w] = word;                                                                                      \
        }                                                                                                       \
    }
VGI_SET_ROWS(vgi_in_i8, VGI_KEY_I8)
VGI_SET_ROWS(vgi_in_i16, VGI_KEY_I16)
VGI_SET_ROWS(vgi_in_i32, VGI_KEY_I32)
VGI_SET_ROWS(vgi_in_u8, VGI_KEY_U8)
VGI_SET_ROWS(vgi_in_u16, VGI_KEY_U16)
VGI_SET_ROWS(vgi_in_u32, VGI_KEY_U32)
VGI_SET_ROWS(vgi_in_64, VGI_KEY_U64)
VGI_SET_ROWS(vgi_in_f16, VGI_KEY_F16)
VGI_SET_ROWS(vgi_in_f32, VGI_KEY_F32)
VGI_SET_ROWS(vgi_in_f64, VGI_KEY_F64)

static void vgi_in_numbers(const void *data, int64_t n, int form, const vgi_numbers *s, uint64_t *out) {
    switch (form) {
    case VGI_KEY_I8: vgi_in_i8(data, n, s, out); break;
    case VGI_KEY_I16: vgi_in_i16(data, n, s, out); break;
    case VGI_KEY_I32: vgi_in_i32(data, n, s, out); break;
    case VGI_KEY_U8: vgi_in_u8(data, n, s, out); break;
    case VGI_KEY_U16: vgi_in_u16(data, n, s, out); break;
    case VGI_KEY_U32: vgi_in_u32(data, n, s, out); break;
    case VGI_KEY_F16: vgi_in_f16(data, n, s, out); break;
    case VGI_KEY_F32: vgi_in_f32(data, n, s, out); break;
    case VGI_KEY_F64: vgi_in_f64(data, n, s, out); break;
    default: vgi_in_64(data, n, s, out);
    }
}

/* Byte strings, 16-byte integers among them. An entry is the hash's upper half and the key's number + 1. */
typedef struct {
    uint64_t *table;
    uint64_t mask, seed;
    const int64_t *offsets;     /* count + 1 */
    const uint8_t *data;
} vgi_byte_set;

VGI_INLINE uint64_t vgi_mix(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128) a * b;
    return (uint64_t) product ^ (uint64_t) (product >> 64);
}

VGI_INLINE uint64_t vgi_hash(const uint8_t *d, int64_t size, uint64_t seed) {
    uint64_t h = seed ^ (uint64_t) size, a, b = 0;
    while (size > 16) {
        memcpy(&a, d, 8);
        memcpy(&b, d + 8, 8);
        h = vgi_mix(h ^ a ^ 0xA0761D6478BD642Full, b ^ 0xE7037ED1A0B428DBull ^ seed);
        d += 16;
        size -= 16;
    }
    if (size >= 8) {
        memcpy(&a, d, 8);
        memcpy(&b, d + size - 8, 8);
    } else if (size >= 4) {
        uint32_t s, t;
        memcpy(&s, d, 4);
        memcpy(&t, d + size - 4, 4);
        a = s;
        b = t;
    } else {
        a = b = 0;
        for (int64_t i = 0; i < size; i++) a = a << 8 | d[i];
    }
    h = vgi_mix(h ^ a ^ 0x8EBC6AF09C88C6E3ull, b ^ 0x589965CC75374CC3ull ^ seed);
    return vgi_mix(h, 0x1D8E4E27C47D124Full);
}

VGI_INLINE int vgi_has_bytes(const vgi_byte_set *s, const uint8_t *d, int64_t size) {
    uint64_t h = vgi_hash(d, size, s->seed), at = h & s->mask, entry;
    while ((entry = s->table[at]) != 0) {
        if ((entry ^ h) >> 32 == 0) {
            int64_t k = (int64_t) (entry & 0xFFFFFFFFu) - 1;
            if (s->offsets[k + 1] - s->offsets[k] == size && vgi_same(s->data + s->offsets[k], d, size)) return 1;
        }
        at = (at + 1) & s->mask;
    }
    return 0;
}

/* Number k, whose bytes are in place already; 0 if an equal one is there. */
static int vgi_add_bytes(vgi_byte_set *s, int64_t k) {
    const uint8_t *d = s->data + s->offsets[k];
    int64_t size = s->offsets[k + 1] - s->offsets[k];
    uint64_t h = vgi_hash(d, size, s->seed), at = h & s->mask;
    if (vgi_has_bytes(s, d, size)) return 0;
    while (s->table[at] != 0) at = (at + 1) & s->mask;
    s->table[at] = (h >> 32) << 32 | (uint64_t) (k + 1);
    return 1;
}

VGI_INLINE int vgi_in_set_at(const vgi_slots *s, int layout, int64_t i, const vgi_byte_set *set) {
    int64_t size;
    const uint8_t *d = vgi_slot(s, layout, i, &size);
    return vgi_has_bytes(set, d, size);
}

VGI_ROWS(vgi_in_bytes_32, const vgi_byte_set *set, vgi_in_set_at(s, VGI_SLOTS_32, i, set))
VGI_ROWS(vgi_in_bytes_any, const vgi_byte_set *set, vgi_in_set_at(s, s->layout, i, set))

static void vgi_in_bytes(const vgi_slots *s, int64_t n, const uint64_t *within, const vgi_byte_set *set,
                         uint64_t *out) {
    if (s->layout == VGI_SLOTS_32) vgi_in_bytes_32(s, n, within, set, out);
    else vgi_in_bytes_any(s, n, within, set, out);
}

/* ---- boxes ---- */

/* Whether the bounding box of one geometry in WKB touches the box; -1 where the bytes are not WKB. */
VGI_INLINE int vgi_wkb_bounds(const uint8_t *d, int64_t size, int depth, double *box, int64_t *used);

static int vgi_wkb_u32(const uint8_t *d, int little, uint32_t *value) {
    memcpy(value, d, 4);
    if (!little) *value = __builtin_bswap32(*value);
    return 0;
}

static int vgi_wkb_points(const uint8_t *d, int64_t size, int little, int dimensions, uint32_t count, double *box) {
    if ((uint64_t) count * 8 * dimensions > (uint64_t) size) return -1;
    for (uint32_t i = 0; i < count; i++) {
        double xy[2];
        for (int k = 0; k < 2; k++) {
            uint64_t bits;
            memcpy(&bits, d + ((int64_t) i * dimensions + k) * 8, 8);
            if (!little) bits = __builtin_bswap64(bits);
            memcpy(&xy[k], &bits, 8);
        }
        if (xy[0] != xy[0] || xy[1] != xy[1]) continue;     /* an empty point */
        if (xy[0] < box[0]) box[0] = xy[0];
        if (xy[1] < box[1]) box[1] = xy[1];
        if (xy[0] > box[2]) box[2] = xy[0];
        if (xy[1] > box[3]) box[3] = xy[1];
    }
    return 0;
}

static int vgi_wkb_walk(const uint8_t *d, int64_t size, int depth, double *box, int64_t *used) {
    uint32_t kind, count, inner;
    int64_t at = 5, part;
    int little, dimensions = 2;
    if (size < 5 || depth > 16 || d[0] > 1) return -1;
    little = d[0];
    vgi_wkb_u32(d + 1, little, &kind);
    if (kind & 0x20000000u) {                               /* EWKB: an SRID follows */
        if (size < 9) return -1;
        at = 9;
    }
    dimensions += (kind & 0x80000000u ? 1 : 0) + (kind & 0x40000000u ? 1 : 0);
    kind &= 0x1FFFFFFFu;
    if (kind >= 3000) dimensions = 4;
    else if (kind >= 1000) dimensions = 3;
    kind %= 1000;
    if (kind == 1) {
        *used = at + 8 * dimensions;
        return size < *used ? -1 : vgi_wkb_points(d + at, size - at, little, dimensions, 1, box);
    }
    if (kind < 1 || kind > 7 || size - at < 4) return -1;
    vgi_wkb_u32(d + at, little, &count);
    at += 4;
    if (kind == 2) {
        if (vgi_wkb_points(d + at, size - at, little, dimensions, count, box) < 0) return -1;
        *used = at + (int64_t) count * 8 * dimensions;
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (kind == 3) {
            if (size - at < 4) return -1;
            vgi_wkb_u32(d + at, little, &inner);
            at += 4;
            if (vgi_wkb_points(d + at, size - at, little, dimensions, inner, box) < 0) return -1;
            at += (int64_t) inner * 8 * dimensions;
        } else {
            if (vgi_wkb_walk(d + at, size - at, depth + 1, box, &part) < 0) return -1;
            at += part;
        }
    }
    *used = at;
    return 0;
}

static int vgi_box_of(const uint8_t *d, int64_t size, double *box) {
    int64_t used;
    box[0] = box[1] = __builtin_inf();
    box[2] = box[3] = -__builtin_inf();
    return vgi_wkb_walk(d, size, 0, box, &used);
}

/* DuckDB keeps the box of a geometry in single precision, rounded outwards. */
VGI_INLINE int vgi_box_at(const vgi_slots *s, int64_t i, const double *box) {
    int64_t size;
    double mine[4];
    const uint8_t *d = vgi_slot(s, s->layout, i, &size);
    if (vgi_box_of(d, size, mine) < 0 || mine[0] > mine[2]) return 0;
    return mine[0] <= box[2] && mine[2] >= box[0] && mine[1] <= box[3] && mine[3] >= box[1];
}
VGI_ROWS(vgi_box_rows, const double *box, vgi_box_at(s, i, box))

/* ---- arithmetic with constants ---- */

enum { VGI_ADD, VGI_SUBTRACT, VGI_SUBTRACT_FROM, VGI_MULTIPLY, VGI_MODULO };

/* Rows of `within` whose value, after the operations, is inside of low .. high (or outside where flip). Returns
 * whether some operation left the range of 64 bits. No operand of a modulo is zero. */
static int vgi_arithmetic(const void *data, int64_t n, const uint64_t *within, const int *ops, const int64_t *constants,
                          int n_ops, int64_t low, int64_t high, uint64_t flip, uint64_t *out) {
    const int64_t *x = (const int64_t *) data;
    int overflow = 0;
    for (int64_t w = 0; 64 * w < n; w++) {
        uint64_t rows = n - 64 * w < 64 ? ~0ull >> (64 - (n - 64 * w)) : ~0ull, word = 0, todo;
        if (within != NULL) rows &= within[w];
        for (todo = rows; todo; todo &= todo - 1) {
            int j = __builtin_ctzll(todo);
            int64_t v = x[64 * w + j];
            for (int k = 0; k < n_ops; k++) {
                int64_t c = constants[k];
                switch (ops[k]) {
                case VGI_ADD: overflow |= __builtin_add_overflow(v, c, &v); break;
                case VGI_SUBTRACT: overflow |= __builtin_sub_overflow(v, c, &v); break;
                case VGI_SUBTRACT_FROM: overflow |= __builtin_sub_overflow(c, v, &v); break;
                case VGI_MULTIPLY: overflow |= __builtin_mul_overflow(v, c, &v); break;
                default: v = c == -1 ? 0 : v % c;
                }
            }
            word |= (uint64_t) (v >= low && v <= high) << j;
        }
        out[w] = (word ^ flip) & rows;
    }
    return overflow;
}

/* ---- bitmaps ---- */

/* out bit i = lut bit at index i, for rows of `within` only. */
#define VGI_LOOKUP(NAME, T)                                                                            \
    static void NAME(const void *data, int64_t n, const uint64_t *within, const uint64_t *lut, uint64_t *out) { \
        const T *x = (const T *) data;                                                                 \
        for (int64_t w = 0; 64 * w < n; w++) {                                                         \
            uint64_t todo = n - 64 * w < 64 ? ~0ull >> (64 - (n - 64 * w)) : ~0ull, word = 0;          \
            if (within != NULL) todo &= within[w];                                                     \
            if (todo == ~0ull) {                                                                       \
                for (int j = 0; j < 64; j++) {                                                         \
                    uint64_t k = (uint64_t) x[64 * w + j];                                             \
                    word |= ((lut[k >> 6] >> (k & 63)) & 1) << j;                                      \
                }                                                                                      \
            } else while (todo) {                                                                      \
                int j = __builtin_ctzll(todo);                                                         \
                uint64_t k = (uint64_t) x[64 * w + j];                                                 \
                todo &= todo - 1;                                                                      \
                word |= ((lut[k >> 6] >> (k & 63)) & 1) << j;                                          \
            }                                                                                          \
            out[w] = word;                                                                             \
        }                                                                                              \
    }
VGI_LOOKUP(vgi_lookup8, uint8_t)
VGI_LOOKUP(vgi_lookup16, uint16_t)
VGI_LOOKUP(vgi_lookup32, uint32_t)
VGI_LOOKUP(vgi_lookup64, uint64_t)

static void vgi_lookup(const void *data, int64_t n, int width, const uint64_t *within, const uint64_t *lut,
                       uint64_t *out) {
    if (width == 1) vgi_lookup8(data, n, within, lut, out);
    else if (width == 2) vgi_lookup16(data, n, within, lut, out);
    else if (width == 4) vgi_lookup32(data, n, within, lut, out);
    else vgi_lookup64(data, n, within, lut, out);
}

#endif
