/* Loops that list the chosen rows and gather them from a column. Rows are inside of what the caller checked. Results
 * have VGI_SPARE bytes to spare behind them, which some loops write to. */

#ifndef VGI_SELECT_KERNELS_H
#define VGI_SELECT_KERNELS_H

#include "processor.h"

enum { VGI_SPARE = 64 };

/* The chosen rows of `length`, `count` of them: as numbers and, unless `words` is NULL, as bits. Without bits the
 * rows may come in any order. */
typedef struct {
    const uint64_t *words;
    int64_t length;
    const uint32_t *rows;
    int64_t count;
} vgi_chosen;

/* By bits a loop passes over every row, but quickly: worth it where one row in `share` is chosen. */
VGI_INLINE int vgi_by_bits(const vgi_chosen *c, int share) {
    return VGI_TWICE && c->words != NULL && c->count >= c->length / share && vgi_has_wide();
}

/* ---- bits to rows ---- */

#define VGI_COUNT_WORDS_BODY                                                                   \
    int64_t total = 0;                                                                         \
    for (int64_t w = 0; 64 * w < n; w++) total += __builtin_popcountll(words[w]);              \
    return total;

/* How many runs of set bits there are. */
#define VGI_COUNT_RUNS_BODY                                                                    \
    int64_t total = 0;                                                                         \
    uint64_t carry = 0;                                                                        \
    for (int64_t w = 0; 64 * w < n; w++) {                                                     \
        total += __builtin_popcountll(words[w] & ~(words[w] << 1 | carry));                    \
        carry = words[w] >> 63;                                                                \
    }                                                                                          \
    return total;

#define VGI_COUNT(NAME, BODY)                                                                  \
    static int64_t NAME##_any(const uint64_t *words, int64_t n) { BODY }                       \
    VGI_WIDE static int64_t NAME##_wide(const uint64_t *words, int64_t n) { BODY }             \
    static int64_t NAME(const uint64_t *words, int64_t n) {                                    \
        return vgi_has_wide() ? NAME##_wide(words, n) : NAME##_any(words, n);                  \
    }
VGI_COUNT(vgi_count_words, VGI_COUNT_WORDS_BODY)
VGI_COUNT(vgi_count_runs, VGI_COUNT_RUNS_BODY)

static int64_t vgi_rows_of_any(const uint64_t *words, int64_t n, uint32_t *rows) {
    int64_t count = 0;
    for (int64_t w = 0; 64 * w < n; w++) {
        uint64_t todo = words[w];
        if (todo == ~0ull) {
            for (int j = 0; j < 64; j++) rows[count + j] = (uint32_t) (64 * w + j);
            count += 64;
        } else while (todo) {
            rows[count++] = (uint32_t) (64 * w + __builtin_ctzll(todo));
            todo &= todo - 1;
        }
    }
    return count;
}

#if VGI_TWICE
/* Byte k of entry m: the place of the set bit number k of m. */
#define VGI_PLACES(m)                                                                                               \
    (VGI_PLACE(m, 0) | VGI_PLACE(m, 1) | VGI_PLACE(m, 2) | VGI_PLACE(m, 3) | VGI_PLACE(m, 4) | VGI_PLACE(m, 5)       \
     | VGI_PLACE(m, 6) | VGI_PLACE(m, 7))
#define VGI_BELOW(m, j) ((((m) & 1) * ((j) > 0)) + (((m) >> 1 & 1) * ((j) > 1)) + (((m) >> 2 & 1) * ((j) > 2))       \
                         + (((m) >> 3 & 1) * ((j) > 3)) + (((m) >> 4 & 1) * ((j) > 4)) + (((m) >> 5 & 1) * ((j) > 5)) \
                         + (((m) >> 6 & 1) * ((j) > 6)))
#define VGI_PLACE(m, j) ((uint64_t) ((m) >> (j) & 1) * (j) << (8 * VGI_BELOW(m, j)))
#define VGI_PLACES_4(m) VGI_PLACES((m)), VGI_PLACES((m) + 1), VGI_PLACES((m) + 2), VGI_PLACES((m) + 3)
#define VGI_PLACES_16(m) VGI_PLACES_4(m), VGI_PLACES_4((m) + 4), VGI_PLACES_4((m) + 8), VGI_PLACES_4((m) + 12)
#define VGI_PLACES_64(m) VGI_PLACES_16(m), VGI_PLACES_16((m) + 16), VGI_PLACES_16((m) + 32), VGI_PLACES_16((m) + 48)
static const uint64_t vgi_places[256] = {VGI_PLACES_64(0), VGI_PLACES_64(64), VGI_PLACES_64(128), VGI_PLACES_64(192)};

VGI_WIDE VGI_INLINE __m256i vgi_places_of(unsigned byte) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) &vgi_places[byte]));
}

/* No branch depends on single bits: four rows are written for a word of few, eight for a byte of others. */
VGI_WIDE static int64_t vgi_rows_of_wide(const uint64_t *words, int64_t n, uint32_t *rows) {
    int64_t count = 0;
    for (int64_t w = 0; 64 * w < n; w++) {
        uint64_t todo = words[w];
        uint32_t base = (uint32_t) (64 * w);
        int m = __builtin_popcountll(todo);
        if (m <= 4) {
            for (int k = 0; k < 4; k++) {
                rows[count + k] = base + (uint32_t) _tzcnt_u64(todo);
                todo = _blsr_u64(todo);
            }
            count += m;
        } else {
            __m256i at = _mm256_set1_epi32((int) base);
            for (int k = 0; k < 8; k++) {
                unsigned byte = (unsigned) (todo >> (8 * k)) & 255;
                _mm256_storeu_si256((__m256i *) (rows + count), _mm256_add_epi32(vgi_places_of(byte), at));
                at = _mm256_add_epi32(at, _mm256_set1_epi32(8));
                count += __builtin_popcount(byte);
            }
        }
    }
    return count;
}
#endif

/* Rows whose bit is set, in order. */
static int64_t vgi_rows_of(const uint64_t *words, int64_t n, uint32_t *rows) {
#if VGI_TWICE
    if (vgi_has_wide()) return vgi_rows_of_wide(words, n, rows);
#endif
    return vgi_rows_of_any(words, n, rows);
}

/* ---- values of one width ---- */

typedef struct { uint64_t half[2]; } vgi_16;

#define VGI_TAKE(NAME, T)                                                                      \
    static void NAME(const void *data, const uint32_t *rows, int64_t n, void *out) {           \
        const T *x = (const T *) data;                                                         \
        T *o = (T *) out;                                                                      \
        int64_t i = 0;                                                                         \
        for (; i + 4 <= n; i += 4) {                                                           \
            o[i] = x[rows[i]];                                                                 \
            o[i + 1] = x[rows[i + 1]];                                                         \
            o[i + 2] = x[rows[i + 2]];                                                         \
            o[i + 3] = x[rows[i + 3]];                                                         \
        }                                                                                      \
        for (; i < n; i++) o[i] = x[rows[i]];                                                  \
    }
VGI_TAKE(vgi_take8, uint8_t)
VGI_TAKE(vgi_take16, uint16_t)
VGI_TAKE(vgi_take32, uint32_t)
VGI_TAKE(vgi_take64, uint64_t)
VGI_TAKE(vgi_take128, vgi_16)

#if VGI_TWICE
/* Fewer stores, of four values each: a fifth faster where the column is not in the first cache. */
VGI_WIDE static void vgi_take64_wide(const void *data, const uint32_t *rows, int64_t n, void *out) {
    const long long *x = (const long long *) data;
    long long *o = (long long *) out;
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        __m256i four = _mm256_set_epi64x(x[rows[i + 3]], x[rows[i + 2]], x[rows[i + 1]], x[rows[i]]);
        _mm256_storeu_si256((__m256i *) (o + i), four);
    }
    for (; i < n; i++) o[i] = x[rows[i]];
}

VGI_WIDE static void vgi_press32(const void *data, const uint64_t *words, int64_t n, void *out) {
    const uint32_t *x = (const uint32_t *) data;
    uint32_t *o = (uint32_t *) out;
    int64_t w = 0;
    uint64_t todo;
    for (; 64 * w + 64 <= n; w++) {
        todo = words[w];
        for (int k = 0; k < 64; k += 8, todo >>= 8) {
            __m256i v = _mm256_loadu_si256((const __m256i *) (x + 64 * w + k));
            _mm256_storeu_si256((__m256i *) o, _mm256_permutevar8x32_epi32(v, vgi_places_of(todo & 255)));
            o += __builtin_popcountll(todo & 255);
        }
    }
    if (64 * w < n)
        for (todo = words[w]; todo; todo = _blsr_u64(todo)) *o++ = x[64 * w + (int64_t) _tzcnt_u64(todo)];
}
#endif

static void vgi_take(const vgi_chosen *c, const void *data, int64_t width, void *out) {
    const uint32_t *rows = c->rows;
    int64_t n = c->count;
#if VGI_TWICE
    if (width == 8 && vgi_has_wide()) {
        vgi_take64_wide(data, rows, n, out);
        return;
    }
    if (width == 4 && vgi_by_bits(c, 4)) {
        vgi_press32(data, c->words, c->length, out);
        return;
    }
#endif
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

/* ---- bits ---- */

static int64_t vgi_take_bits_rows(const uint8_t *bits, int64_t offset, const uint32_t *rows, int64_t n, uint8_t *out) {
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

#if VGI_TWICE
VGI_WIDE static int64_t vgi_press_bits(const uint8_t *bits, int64_t offset, const uint64_t *words, int64_t n,
                                       uint8_t *out) {
    uint64_t filling = 0;
    int64_t set = 0;
    int filled = 0;
    for (int64_t w = 0; 64 * w < n; w++) {
        int64_t at = offset + 64 * w, left = n - 64 * w < 64 ? n - 64 * w : 64;
        int shift = (int) (at & 7), m = __builtin_popcountll(words[w]);
        int64_t size = (shift + left + 7) >> 3;         /* no byte past the last bit is read */
        uint64_t word = 0, more = 0;
        memcpy(&word, bits + (at >> 3), size < 8 ? (size_t) size : 8);
        if (size > 8) more = (uint64_t) bits[(at >> 3) + 8] << (64 - shift);
        word = _pext_u64(word >> shift | more, words[w]);
        set += __builtin_popcountll(word);
        filling |= word << filled;
        if (filled + m >= 64) {
            memcpy(out, &filling, 8);
            out += 8;
            filling = filled ? word >> (64 - filled) : 0;
            filled += m - 64;
        } else filled += m;
    }
    memcpy(out, &filling, (size_t) ((filled + 7) >> 3));
    return set;
}
#endif

/* Gathered bits, the last byte filled up with zeros; returns how many are set. */
static int64_t vgi_take_bits(const vgi_chosen *c, const uint8_t *bits, int64_t offset, uint8_t *out) {
#if VGI_TWICE
    if (vgi_by_bits(c, 16)) return vgi_press_bits(bits, offset, c->words, c->length, out);
#endif
    return vgi_take_bits_rows(bits, offset, c->rows, c->count, out);
}

/* ---- texts ---- */

#define VGI_SPANS(NAME, T)                                                                     \
    static void NAME(const T *offsets, const uint32_t *rows, int64_t n, T *starts, T *made) {  \
        for (int64_t i = 0; i < n; i++) {                                                      \
            T start = offsets[rows[i]], end = offsets[rows[i] + 1];                            \
            starts[i] = start;                                                                 \
            made[i + 1] = end - start;                                                         \
        }                                                                                      \
    }
VGI_SPANS(vgi_spans32_rows, int32_t)
VGI_SPANS(vgi_spans64_rows, int64_t)

/* Sizes to offsets from 0; returns the greatest size. */
#define VGI_SUMS(NAME, T)                                                                      \
    static int64_t NAME(T *made, int64_t n) {                                                  \
        T total = 0, most = 0;                                                                 \
        made[0] = 0;                                                                           \
        for (int64_t i = 1; i <= n; i++) {                                                     \
            most = made[i] > most ? made[i] : most;                                            \
            made[i] = total += made[i];                                                        \
        }                                                                                      \
        return (int64_t) most;                                                                 \
    }
VGI_SUMS(vgi_sums32_any, int32_t)
VGI_SUMS(vgi_sums64, int64_t)

#if VGI_TWICE
VGI_WIDE static void vgi_press_spans(const int32_t *offsets, const uint64_t *words, int64_t n, int32_t *starts,
                                     int32_t *made) {
    int64_t w = 0, count = 0;
    uint64_t todo;
    for (; 64 * w + 64 <= n; w++) {
        todo = words[w];
        for (int k = 0; k < 64; k += 8, todo >>= 8) {
            __m256i places = vgi_places_of(todo & 255);
            __m256i start = _mm256_loadu_si256((const __m256i *) (offsets + 64 * w + k));
            __m256i end = _mm256_loadu_si256((const __m256i *) (offsets + 64 * w + k + 1));
            __m256i size = _mm256_sub_epi32(end, start);
            _mm256_storeu_si256((__m256i *) (starts + count), _mm256_permutevar8x32_epi32(start, places));
            _mm256_storeu_si256((__m256i *) (made + 1 + count), _mm256_permutevar8x32_epi32(size, places));
            count += __builtin_popcountll(todo & 255);
        }
    }
    if (64 * w < n)
        for (todo = words[w]; todo; todo = _blsr_u64(todo), count++) {
            int64_t row = 64 * w + (int64_t) _tzcnt_u64(todo);
            starts[count] = offsets[row];
            made[count + 1] = offsets[row + 1] - offsets[row];
        }
}

VGI_WIDE static int64_t vgi_sums32_wide(int32_t *made, int64_t n) {
    const __m256i last = _mm256_set1_epi32(7);
    __m256i before = _mm256_setzero_si256(), top = before;
    int32_t tops[8], total, most = 0;
    int64_t i = 1;
    made[0] = 0;
    for (; i + 7 <= n; i += 8) {
        __m256i v = _mm256_loadu_si256((const __m256i *) (made + i)), low;
        top = _mm256_max_epi32(top, v);
        v = _mm256_add_epi32(v, _mm256_slli_si256(v, 4));       /* within each half */
        v = _mm256_add_epi32(v, _mm256_slli_si256(v, 8));
        low = _mm256_permute2x128_si256(v, v, 0x08);            /* the lower half's sum for the upper one */
        v = _mm256_add_epi32(v, _mm256_shuffle_epi32(low, 0xFF));
        _mm256_storeu_si256((__m256i *) (made + i), _mm256_add_epi32(v, before));
        before = _mm256_add_epi32(before, _mm256_permutevar8x32_epi32(v, last));
    }
    _mm256_storeu_si256((__m256i *) tops, top);
    for (int k = 0; k < 8; k++) most = tops[k] > most ? tops[k] : most;
    for (total = made[i - 1]; i <= n; i++) {
        most = made[i] > most ? made[i] : most;
        made[i] = total += made[i];
    }
    return most;
}
#endif

/* Where the chosen texts begin, and their offsets once they are moved together; returns the greatest size. */
static int64_t vgi_spans32(const vgi_chosen *c, const int32_t *offsets, int32_t *starts, int32_t *made) {
#if VGI_TWICE
    if (vgi_by_bits(c, 4)) vgi_press_spans(offsets, c->words, c->length, starts, made);
    else
#endif
    vgi_spans32_rows(offsets, c->rows, c->count, starts, made);
#if VGI_TWICE
    if (vgi_has_wide()) return vgi_sums32_wide(made, c->count);
#endif
    return vgi_sums32_any(made, c->count);
}

static int64_t vgi_spans64(const vgi_chosen *c, const int64_t *offsets, int64_t *starts, int64_t *made) {
    vgi_spans64_rows(offsets, c->rows, c->count, starts, made);
    return vgi_sums64(made, c->count);
}

/* Texts of at most `most` bytes. Short ones are moved as 16 or 32 bytes each, whatever their size, and the next one
 * overwrites what was too much; but nothing past `end` of the column's data is read. Starts in another order than
 * ascending take an end of 0. */
#define VGI_COPY(NAME, T)                                                                      \
    static void NAME(const T *starts, const uint8_t *data, int64_t end, const T *made, int64_t n, int64_t most, \
                     uint8_t *out) {                                                           \
        int64_t reach = most <= 16 ? 16 : 32, m = n, i = 0;                                    \
        while (m > 0 && starts[m - 1] + reach > end) m--;                                      \
        if (most <= 16) for (; i < m; i++) memcpy(out + made[i], data + starts[i], 16);        \
        else if (most <= 32) for (; i < m; i++) memcpy(out + made[i], data + starts[i], 32);   \
        else for (; i < m; i++) {                                                              \
            int64_t size = made[i + 1] - made[i];                                              \
            if (size <= 32) memcpy(out + made[i], data + starts[i], 32);                       \
            else memcpy(out + made[i], data + starts[i], (size_t) size);                       \
        }                                                                                      \
        for (; i < n; i++) memcpy(out + made[i], data + starts[i], (size_t) (made[i + 1] - made[i])); \
    }
VGI_COPY(vgi_copy32, int32_t)
VGI_COPY(vgi_copy64, int64_t)

#endif
