# Owns: what one pass over a column tells: extremes, nulls, lengths, how many different values.
# May use: arrays, filter_kernels.
# Order is DuckDB's: texts by bytes, NaN above every number.

cdef extern from "_core_parts/extreme_kernels.h" nogil:
    int VGI_REGISTERS
    int vgi_extremes(int form, const void *data, const uint8_t *valid, int64_t offset, int64_t n, int skip_nan,
                     int64_t *first, int64_t *last)
    void vgi_extremes_limbs(const uint8_t *data, const uint8_t *valid, int64_t offset, int64_t n, int limbs,
                            int64_t *first, int64_t *last)
    void vgi_extremes_texts(const vgi_slots *s, const uint8_t *valid, int64_t offset, int64_t n, int64_t *first,
                            int64_t *last, int64_t *longest, int *is_ascii)
    void vgi_note_numbers(int form, const void *data, const uint8_t *valid, int64_t offset, int64_t n,
                          uint8_t *registers)
    void vgi_note_texts(const vgi_slots *s, const uint8_t *valid, int64_t offset, int64_t n, uint8_t *registers)


cdef struct Extremes:
    int64_t first           # row of the least value, -1 where there is none
    int64_t last
    int64_t longest         # bytes, texts only
    int is_ascii


cdef bint find_extremes(PlanNode *p, Node *n, int64_t count, bint skip_nan, Extremes *out) noexcept nogil:
    """Over the first ``count`` rows; False for a layout that has no order here."""
    cdef const uint8_t *valid = n.buf[0] if n.null_count != 0 else NULL
    cdef vgi_slots slots
    cdef int64_t i
    cdef bint bit
    out.first = out.last = -1
    out.longest = 0
    out.is_ascii = 1
    if p.layout == L_FIXED and KEY_FORMS[p.type] >= 0 and p.type < T_INTERVAL_MONTHS:
        return vgi_extremes(KEY_FORMS[p.type], n.buf[1] + n.offset * p.width, valid, n.offset, count, skip_nan,
                            &out.first, &out.last)
    if p.type == T_DECIMAL128 or p.type == T_DECIMAL256:
        vgi_extremes_limbs(n.buf[1] + n.offset * p.width, valid, n.offset, count, p.width // 8, &out.first, &out.last)
        return True
    if p.layout == L_BITS:
        for i in range(count):
            if valid == NULL or get_bit(valid, n.offset + i):
                bit = get_bit(n.buf[1], n.offset + i)
                if out.first < 0:
                    out.first = out.last = i
                elif bit and not get_bit(n.buf[1], n.offset + out.last):
                    out.last = i
                elif not bit and get_bit(n.buf[1], n.offset + out.first):
                    out.first = i
        return True
    if p.layout in (L_VAR32, L_VAR64, L_VIEW) or p.type == T_FIXED_SIZE_BINARY:
        text_slots(p, n, n.offset, &slots)
        vgi_extremes_texts(&slots, valid, n.offset, count, &out.first, &out.last, &out.longest, &out.is_ascii)
        return True
    return False


def column_extremes(Array array not None, skip_nan=False):
    """(row of the least value, row of the greatest), -1 where nothing is valid; None for a type without order."""
    cdef Extremes e
    if not find_extremes(array.type.own_plan(), array.node, array.node.length, skip_nan, &e):
        return None
    return e.first, e.last


def column_summary(Array array not None):
    """(least row, greatest row, nulls, longest text in bytes, whether all of it is ASCII, registers).

    ``registers`` count the different values: unite those of several arrays with ``unite_registers``, read them with
    ``count_distinct``. None for a type without order.
    """
    cdef PlanNode *p = array.type.own_plan()
    cdef Node *n = array.node
    cdef Extremes e
    cdef vgi_slots slots
    cdef bytes registers = bytes(VGI_REGISTERS)
    cdef uint8_t *marks = <uint8_t *> PyBytes_AS_STRING(registers)
    cdef const uint8_t *valid = n.buf[0] if count_nulls(p, n) else NULL
    with nogil:
        ordered = find_extremes(p, n, n.length, False, &e)
        if ordered and p.layout == L_FIXED and KEY_FORMS[p.type] >= 0:
            vgi_note_numbers(KEY_FORMS[p.type], n.buf[1] + n.offset * p.width, valid, n.offset, n.length, marks)
        elif ordered and p.layout != L_BITS:
            text_slots(p, n, n.offset, &slots)
            vgi_note_texts(&slots, valid, n.offset, n.length, marks)
    if not ordered:
        return None
    if p.layout == L_BITS:
        marks[0] = 1 if e.first >= 0 else 0
        marks[1] = 1 if e.first >= 0 and get_bit(n.buf[1], n.offset + e.first) != get_bit(
            n.buf[1], n.offset + e.last) else 0
    return e.first, e.last, count_nulls(p, n), e.longest, bool(e.is_ascii), registers


def unite_registers(bytes a not None, bytes b not None):
    cdef bytes out
    cdef Py_ssize_t i
    cdef uint8_t *marks
    cdef const uint8_t *other = <const uint8_t *> PyBytes_AS_STRING(b)
    if len(a) != VGI_REGISTERS or len(b) != VGI_REGISTERS:
        raise ValueError(f"registers of {len(a)} and {len(b)} bytes, expected {VGI_REGISTERS}")
    out = PyBytes_FromStringAndSize(PyBytes_AS_STRING(a), VGI_REGISTERS)
    marks = <uint8_t *> PyBytes_AS_STRING(out)
    for i in range(VGI_REGISTERS):
        marks[i] = max(marks[i], other[i])
    return out


def count_distinct(bytes registers not None):
    """How many different values were noted; near the truth."""
    cdef double total = 0
    cdef int64_t zeros = 0
    cdef Py_ssize_t i
    cdef double m = VGI_REGISTERS
    cdef double found
    import math
    if len(registers) != VGI_REGISTERS:
        raise ValueError(f"registers of {len(registers)} bytes, expected {VGI_REGISTERS}")
    for i in range(VGI_REGISTERS):
        total += 2.0 ** -<double> (<const uint8_t *> PyBytes_AS_STRING(registers))[i]
        zeros += (<const uint8_t *> PyBytes_AS_STRING(registers))[i] == 0
    found = 0.7213 / (1 + 1.079 / m) * m * m / total
    if found <= 2.5 * m and zeros:
        found = m * math.log(m / zeros)
    return int(found + 0.5)
