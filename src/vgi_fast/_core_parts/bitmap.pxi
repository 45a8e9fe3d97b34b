# Owns: validity bitmaps, least significant bit first.
# May use: libc only. All kernels are free of the interpreter.
# Invariant: bits past the length may be anything on input and are zero on output.

cdef extern from *:
    """
    #define vgi_popcount64(x) __builtin_popcountll(x)
    """
    int popcount64 "vgi_popcount64"(uint64_t) noexcept nogil


cdef inline bint get_bit(const uint8_t *bits, int64_t i) noexcept nogil:
    return (bits[i >> 3] >> (i & 7)) & 1


cdef inline void set_bit(uint8_t *bits, int64_t i) noexcept nogil:
    bits[i >> 3] |= <uint8_t> (1 << (i & 7))


cdef inline uint64_t load_bits(const uint8_t *bits, int64_t offset, int64_t n) noexcept nogil:
    """n (1 … 64) bits from ``offset``; reads no byte past the last bit asked for."""
    cdef const uint8_t *p = bits + (offset >> 3)
    cdef int shift = offset & 7
    cdef int64_t n_bytes = (shift + n + 7) >> 3
    cdef uint64_t low = 0
    cdef uint64_t high = 0
    if n_bytes <= 8:
        memcpy(&low, p, n_bytes)
        low >>= shift
    else:
        memcpy(&low, p, 8)
        high = p[8]
        low = (low >> shift) | (high << (64 - shift))
    if n < 64:
        low &= (<uint64_t> 1 << n) - 1
    return low


cdef int64_t count_set(const uint8_t *bits, int64_t offset, int64_t length) noexcept nogil:
    cdef int64_t total = 0
    cdef int64_t i = 0
    while length - i >= 64:
        total += popcount64(load_bits(bits, offset + i, 64))
        i += 64
    if i < length:
        total += popcount64(load_bits(bits, offset + i, length - i))
    return total


cdef void copy_bits(uint8_t *out, const uint8_t *bits, int64_t offset, int64_t length) noexcept nogil:
    """Bits from ``offset`` to the start of ``out``, (length + 7) // 8 bytes."""
    cdef int64_t i = 0
    cdef uint64_t word
    while length - i >= 64:
        word = load_bits(bits, offset + i, 64)
        memcpy(out + (i >> 3), &word, 8)
        i += 64
    if i < length:
        word = load_bits(bits, offset + i, length - i)
        memcpy(out + (i >> 3), &word, (length - i + 7) >> 3)


cdef void and_bits(uint8_t *out, const uint8_t *bits, int64_t offset, int64_t length) noexcept nogil:
    """out &= bits, ``out`` starting at bit 0."""
    cdef int64_t i = 0
    cdef int64_t n
    cdef uint64_t word, mine
    while i < length:
        n = 64 if length - i > 64 else length - i
        word = load_bits(bits, offset + i, n)
        mine = 0
        memcpy(&mine, out + (i >> 3), (n + 7) >> 3)
        mine &= word
        memcpy(out + (i >> 3), &mine, (n + 7) >> 3)
        i += n


cdef void expand_bits(uint8_t *out, const uint8_t *bits, int64_t offset, int64_t length) noexcept nogil:
    """One byte, 0 or 1, per bit."""
    cdef int64_t i
    for i in range(length):
        out[i] = (bits[(offset + i) >> 3] >> ((offset + i) & 7)) & 1


cdef void pack_bytes(uint8_t *out, const uint8_t *values, int64_t stride, int64_t length, bint invert) noexcept nogil:
    """Bit i = byte i is non-zero, or is zero where ``invert``."""
    cdef int64_t i
    cdef int64_t j
    cdef uint8_t byte
    cdef const uint8_t *p
    cdef uint8_t flip = 1 if invert else 0
    for i in range(0, length, 8):
        byte = 0
        for j in range(i, min(i + 8, length)):
            p = values + j * stride
            byte |= <uint8_t> (((p[0] != 0) ^ flip) << (j - i))
        out[i >> 3] = byte
