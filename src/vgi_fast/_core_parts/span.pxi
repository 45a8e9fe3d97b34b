# Owns: bounded reading of bytes that came from a peer, and the flatbuffer tables inside them.
# May use: libc and ProtocolError. Every part above reads peer bytes through these functions.
# Invariant: no load happens outside [base, end); the caller holds the buffer behind them.

cdef struct Span:
    const uint8_t *base
    const uint8_t *end
    int64_t copies_left        # bytes that may still be copied out, see spend


cdef inline void set_span(Span *s, const uint8_t *base, int64_t size) noexcept nogil:
    s.base = base
    s.end = base + size
    # Writers share equal strings at most; a message that overlaps its strings must not grow in memory.
    s.copies_left = 8 * size + 65536


# A table whose vtable and inline part lie inside the span.
cdef struct Table:
    const uint8_t *at          # start of the inline part
    const uint8_t *vtable
    uint16_t vtable_size
    uint16_t inline_size


cdef struct Vector:
    const uint8_t *at          # first element
    uint32_t count


cdef int malformed(str what) except -1:
    raise ProtocolError(f"malformed Arrow message: {what}")


cdef inline int spend(Span *s, int64_t size) except -1:
    """Charge the message for what is made from it: offsets let it name the same bytes any number of times."""
    s.copies_left -= size
    if s.copies_left < 0:
        malformed("its strings overlap")
    return 0


cdef inline uint16_t load_u16(const uint8_t *p) noexcept nogil:
    cdef uint16_t v
    memcpy(&v, p, 2)
    return v


cdef inline uint32_t load_u32(const uint8_t *p) noexcept nogil:
    cdef uint32_t v
    memcpy(&v, p, 4)
    return v


cdef inline int32_t load_i32(const uint8_t *p) noexcept nogil:
    cdef int32_t v
    memcpy(&v, p, 4)
    return v


cdef inline int64_t load_i64(const uint8_t *p) noexcept nogil:
    cdef int64_t v
    memcpy(&v, p, 8)
    return v


cdef inline bint inside(Span *s, const uint8_t *p, size_t n) noexcept nogil:
    return p >= s.base and p <= s.end and n <= <size_t> (s.end - p)


cdef int open_table(Span *s, const uint8_t *at, Table *out) except -1:
    cdef int64_t back
    if not inside(s, at, 4):
        malformed("a table lies outside of its message")
    back = load_i32(at)
    if back > at - s.base or -back > s.end - at:
        malformed("a vtable lies outside of its message")
    out.at = at
    out.vtable = at - back
    if not inside(s, out.vtable, 4):
        malformed("a vtable lies outside of its message")
    out.vtable_size = load_u16(out.vtable)
    out.inline_size = load_u16(out.vtable + 2)
    if out.vtable_size < 4 or not inside(s, out.vtable, out.vtable_size):
        malformed("a vtable is longer than its message")
    if out.inline_size < 4 or not inside(s, at, out.inline_size):
        malformed("a table is longer than its message")
    return 0


cdef int open_root(Span *s, Table *out) except -1:
    cdef uint32_t offset
    if not inside(s, s.base, 4):
        malformed("no root table")
    offset = load_u32(s.base)
    if offset > s.end - s.base:
        malformed("the root table lies outside of its message")
    return open_table(s, s.base + offset, out)


cdef const uint8_t *slot(Table *t, int index, int width) except? NULL:
    """Address of an inline field, or NULL where the writer left it out."""
    cdef uint32_t entry = 4 + 2 * <uint32_t> index
    cdef uint16_t offset
    if entry + 2 > t.vtable_size:
        return NULL
    offset = load_u16(t.vtable + entry)
    if offset == 0:
        return NULL
    if <uint32_t> offset + width > t.inline_size:
        malformed("a field lies outside of its table")
    return t.at + offset


cdef int64_t slot_i64(Table *t, int index, int64_t default) except? -1:
    cdef const uint8_t *p = slot(t, index, 8)
    return default if p == NULL else load_i64(p)


cdef int32_t slot_i32(Table *t, int index, int32_t default) except? -1:
    cdef const uint8_t *p = slot(t, index, 4)
    return default if p == NULL else load_i32(p)


cdef int slot_i16(Table *t, int index, int default) except? -1:
    cdef const uint8_t *p = slot(t, index, 2)
    return default if p == NULL else <int16_t> load_u16(p)


cdef int slot_u8(Table *t, int index, int default) except? -1:
    cdef const uint8_t *p = slot(t, index, 1)
    return default if p == NULL else p[0]


cdef const uint8_t *follow(Span *s, const uint8_t *p) except NULL:
    cdef uint32_t offset = load_u32(p)
    if offset > s.end - p:
        malformed("an offset points outside of its message")
    return p + offset


cdef bint slot_table(Span *s, Table *t, int index, Table *out) except -1:
    """False where the field is absent."""
    cdef const uint8_t *p = slot(t, index, 4)
    if p == NULL:
        return False
    open_table(s, follow(s, p), out)
    return True


cdef bint slot_vector(Span *s, Table *t, int index, uint32_t element_size, Vector *out) except -1:
    """False where the field is absent; then ``out`` is empty."""
    cdef const uint8_t *p = slot(t, index, 4)
    out.at = NULL
    out.count = 0
    if p == NULL:
        return False
    p = follow(s, p)
    if not inside(s, p, 4):
        malformed("a vector lies outside of its message")
    out.count = load_u32(p)
    out.at = p + 4
    if <uint64_t> out.count * element_size > <uint64_t> (s.end - out.at):
        malformed("a vector is longer than its message")
    return True


cdef bytes slot_bytes(Span *s, Table *t, int index):
    """A string or byte vector; None where the field is absent."""
    cdef Vector v
    if not slot_vector(s, t, index, 1, &v):
        return None
    spend(s, v.count)
    return PyBytes_FromStringAndSize(<const char *> v.at, v.count)


cdef str slot_text(Span *s, Table *t, int index):
    cdef bytes raw = slot_bytes(s, t, index)
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError as e:
        raise ProtocolError(f"malformed Arrow message: text is not UTF-8: {e}") from None


cdef dict key_values(Span *s, Table *t, int index):
    """custom_metadata as a dict, first occurrence of a key wins; None where absent or empty."""
    cdef Vector v
    cdef Table pair
    cdef uint32_t i
    cdef dict result
    cdef bytes key, value
    if not slot_vector(s, t, index, 4, &v) or v.count == 0:
        return None
    result = {}
    spend(s, 8 * <int64_t> v.count)
    for i in range(v.count):
        open_table(s, follow(s, v.at + 4 * i), &pair)
        key = slot_bytes(s, &pair, 0) or b""
        value = slot_bytes(s, &pair, 1) or b""
        if key not in result:
            result[key] = value
    return result
