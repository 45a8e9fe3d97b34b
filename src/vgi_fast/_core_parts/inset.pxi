# Owns: KeySet, the values of an IN list hashed once for a column's type.
# May use: arrays, filter_kernels.
# Invariant: tables are at most half full; keys are held as the column stores its values.

cdef enum:
    DENSE_BITS = 32             # a bitmap may take this many bits per key, and is then never larger than the table
    MAX_KEYS = 0x7FFFFFFE

cdef int[N_TYPES] KEY_FORMS = [
    -1, -1, VGI_KEY_I8, VGI_KEY_I16, VGI_KEY_I32, VGI_KEY_I64,
    VGI_KEY_U8, VGI_KEY_U16, VGI_KEY_U32, VGI_KEY_U64,
    VGI_KEY_F16, VGI_KEY_F32, VGI_KEY_F64, VGI_KEY_I32, VGI_KEY_I64, -1, -1,
    VGI_KEY_I32, VGI_KEY_I64, VGI_KEY_I32, VGI_KEY_I64, VGI_KEY_I64, VGI_KEY_I64,
    VGI_KEY_I32, VGI_KEY_U64, -1,
    -1, -1, -1, -1, -1, -1, -1,
    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
]


@cython.final
cdef class KeySet:
    """Immutable; any thread. Null keys are left out: they are equal to nothing."""
    cdef readonly DataType type
    cdef int64_t count
    cdef int form                   # of numbers, or -1 for bytes
    cdef vgi_numbers numbers
    cdef vgi_byte_set bytes_set
    cdef Block table                # of either
    cdef Block offsets
    cdef Block data

    def __init__(self, Array keys not None):
        cdef PlanNode *p = keys.type.own_plan()
        if keys.node.length > MAX_KEYS:
            raise ValueError(f"{keys.node.length} keys; at most {<int64_t> MAX_KEYS} fit into a set")
        self.type = keys.type
        self.form = KEY_FORMS[keys.type.id]
        if self.form >= 0:
            self.add_numbers(keys.node)
        elif p.layout in (L_VAR32, L_VAR64, L_VIEW, L_FIXED):
            self.add_texts(p, keys.node)
        else:
            raise TypeMismatchError(f"values of {keys.type} cannot be hashed")

    def __len__(self):
        return self.count

    cdef size_t slots_for(self, int64_t count) noexcept:
        cdef size_t slots = 16
        while slots < 2 * <size_t> count:
            slots *= 2
        return slots

    cdef Block zeroed(self, size_t size):
        cdef Block block = Block.new(size)
        memset(block.data, 0, size)
        return block

    cdef int add_numbers(self, Node *n) except -1:
        cdef const uint8_t *data = n.buf[1]
        cdef int64_t i
        cdef size_t slots
        cdef uint64_t key
        cdef bint is_signed = self.form < VGI_KEY_U8
        cdef uint64_t bias = <uint64_t> 1 << 63 if is_signed else 0
        cdef uint64_t least = <uint64_t> -1     # both in biased, that is unsigned, order
        cdef uint64_t most = 0
        cdef int64_t valid = 0
        for i in range(n.length):
            if n.buf[0] == NULL or get_bit(n.buf[0], n.offset + i):
                key = vgi_key(data, n.offset + i, self.form) + bias
                least = min(least, key)
                most = max(most, key)
                valid += 1
        slots = self.slots_for(valid)
        self.numbers.seed = the_seed()
        self.numbers.low = least - bias
        self.numbers.span = most - least if valid else 0
        if valid == 0:
            self.numbers.low = 1        # a table without keys
        if valid and self.form < VGI_KEY_F16 and self.numbers.span // DENSE_BITS < <uint64_t> max(valid, 64):
            self.table = self.zeroed(((self.numbers.span >> 6) + 1) * 8)
            self.numbers.bits = <uint64_t *> self.table.data
        else:
            self.table = self.zeroed(slots * 8)
            self.numbers.table = <uint64_t *> self.table.data
            self.numbers.mask = slots - 1
            self.numbers.shift = 64
            while slots > 1:
                slots >>= 1
                self.numbers.shift -= 1
        for i in range(n.length):
            if n.buf[0] == NULL or get_bit(n.buf[0], n.offset + i):
                self.count += vgi_add_number(&self.numbers, vgi_key(data, n.offset + i, self.form))
        return 0

    cdef int add_texts(self, PlanNode *p, Node *n) except -1:
        cdef int64_t i, size
        cdef int64_t total = 0
        cdef int64_t kept = 0
        cdef const uint8_t *d
        cdef int64_t *ends
        cdef size_t slots = self.slots_for(n.length)
        for i in range(n.length):
            if n.buf[0] == NULL or get_bit(n.buf[0], n.offset + i):
                total += text_at(p, n, n.offset + i, &d)
        self.offsets = Block.new((n.length + 1) * 8)
        self.data = Block.new(total)
        self.table = self.zeroed(slots * 8)
        ends = <int64_t *> self.offsets.data
        ends[0] = 0
        self.bytes_set.table = <uint64_t *> self.table.data
        self.bytes_set.mask = slots - 1
        self.bytes_set.seed = the_seed()
        self.bytes_set.offsets = ends
        self.bytes_set.data = self.data.data
        for i in range(n.length):
            if n.buf[0] == NULL or get_bit(n.buf[0], n.offset + i):
                size = text_at(p, n, n.offset + i, &d)
                memcpy(self.data.data + ends[kept], d, size)
                ends[kept + 1] = ends[kept] + size
                kept += vgi_add_bytes(&self.bytes_set, kept)
        self.count = kept
        return 0

    cdef bint fits(self, PlanNode *p) noexcept:
        if self.form >= 0:
            return p.layout == L_FIXED and KEY_FORMS[p.type] == self.form
        if p.layout == L_FIXED:
            return KEY_FORMS[p.type] < 0 and self.type.width_ == p.width
        return p.layout in (L_VAR32, L_VAR64, L_VIEW) and LAYOUTS[self.type.id] != L_FIXED


cdef int64_t text_at(PlanNode *p, Node *n, int64_t at, const uint8_t **data) noexcept nogil:
    """Size of one text or fixed-width value, whose bytes ``data`` points at."""
    cdef int64_t size = p.width
    if p.layout == L_FIXED:
        data[0] = n.buf[1] + at * p.width
    else:
        slot_text_bytes(p, n, at, data, &size)
    return size


def stored_bytes(Array array not None, Py_ssize_t index):
    """The bytes of one fixed-width slot as they are stored; None for a null."""
    cdef PlanNode *p = array.type.own_plan()
    if not 0 <= index < array.node.length:
        raise IndexError(f"index {index} in an array of {array.node.length}")
    if p.layout != L_FIXED:
        raise TypeMismatchError(f"values of {array.type} have no fixed width")
    if is_null(p, array.node, index):
        return None
    return PyBytes_FromStringAndSize(<const char *> array.node.buf[1] + (array.node.offset + index) * p.width, p.width)
