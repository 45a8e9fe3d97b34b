# Owns: writing of flatbuffers, back to front, with vtables shared where equal.
# May use: libc only.
# Invariant: bytes [capacity - used, capacity) are final but for the table that is open. Fields are
#   added in the order in which Arrow C++ adds them (by width descending, then by slot descending), so
#   that a schema has the very bytes Arrow gives it: the protocol hash covers them (section 6.2).

cdef enum:
    MAX_SLOTS = 8


@cython.final
cdef class Builder:
    """One message at a time; belongs to one thread."""
    cdef uint8_t *data
    cdef size_t capacity
    cdef size_t used
    cdef size_t min_align
    cdef size_t table_start
    cdef uint32_t slots[MAX_SLOTS]
    cdef int max_slot
    cdef list vtables

    @staticmethod
    cdef Builder new(size_t capacity=1024):
        cdef Builder b = Builder.__new__(Builder)
        b.data = <uint8_t *> checked_alloc(capacity)
        b.capacity = capacity
        b.clear()
        return b

    def __init__(self):
        raise TypeError("Builder is created by the core only")

    def __dealloc__(self):
        free(self.data)

    cdef void clear(self) noexcept:
        self.used = 0
        self.min_align = 1
        self.vtables = []

    cdef inline uint8_t *top(self) noexcept:
        return self.data + self.capacity - self.used

    cdef uint8_t *grow(self, size_t n) except NULL:
        """Room for n more bytes in front; returns their address."""
        cdef size_t bigger
        cdef uint8_t *fresh
        if n > self.capacity - self.used:
            bigger = self.capacity * 2
            while n > bigger - self.used:
                bigger *= 2
            fresh = <uint8_t *> checked_alloc(bigger)
            memcpy(fresh + bigger - self.used, self.top(), self.used)
            free(self.data)
            self.data = fresh
            self.capacity = bigger
        self.used += n
        return self.top()

    cdef int fill(self, size_t n) except -1:
        if n:
            memset(self.grow(n), 0, n)
        return 0

    cdef int align(self, size_t following, size_t alignment) except -1:
        """Pad so that after ``following`` more bytes the front is aligned."""
        if alignment > self.min_align:
            self.min_align = alignment
        return self.fill((~(self.used + following) + 1) & (alignment - 1))

    cdef uint32_t put_u32(self, uint32_t value) except? 0:
        self.align(0, 4)
        memcpy(self.grow(4), &value, 4)
        return <uint32_t> self.used

    cdef uint32_t text(self, bytes value) except? 0:
        cdef size_t n = PyBytes_GET_SIZE(value)
        self.align(n + 1, 4)
        self.fill(1)
        if n:
            memcpy(self.grow(n), PyBytes_AS_STRING(value), n)
        return self.put_u32(<uint32_t> n)

    cdef uint32_t offsets(self, list values) except? 0:
        """Vector of references to objects written before."""
        cdef Py_ssize_t i
        cdef Py_ssize_t n = len(values)
        self.align(4 * n, 4)
        for i in range(n - 1, -1, -1):
            self.put_u32(<uint32_t> (self.used - <uint32_t> values[i] + 4))
        return self.put_u32(<uint32_t> n)

    cdef uint32_t pairs(self, size_t count) except? 0:
        """Vector of ``count`` zeroed 16-byte structs (field nodes, buffers)."""
        self.align(16 * count, 4)
        self.align(16 * count, 8)
        self.fill(16 * count)
        return self.put_u32(<uint32_t> count)

    cdef int begin(self) except -1:
        memset(self.slots, 0, sizeof(self.slots))
        self.max_slot = -1
        self.table_start = self.used
        return 0

    cdef inline int track(self, int index) except -1:
        self.slots[index] = <uint32_t> self.used
        if index > self.max_slot:
            self.max_slot = index
        return 0

    cdef int add_i64(self, int index, int64_t value, int64_t default, bint force=False) except -1:
        if value == default and not force:
            return 0
        self.align(0, 8)
        memcpy(self.grow(8), &value, 8)
        return self.track(index)

    cdef int add_i32(self, int index, int32_t value, int32_t default) except -1:
        if value == default:
            return 0
        self.align(0, 4)
        memcpy(self.grow(4), &value, 4)
        return self.track(index)

    cdef int add_i16(self, int index, int16_t value, int16_t default) except -1:
        if value == default:
            return 0
        self.align(0, 2)
        memcpy(self.grow(2), &value, 2)
        return self.track(index)

    cdef int add_u8(self, int index, uint8_t value, uint8_t default) except -1:
        if value == default:
            return 0
        self.grow(1)[0] = value
        return self.track(index)

    cdef int add_offset(self, int index, uint32_t target) except -1:
        if target == 0:
            return 0
        self.align(0, 4)
        self.put_u32(<uint32_t> (self.used - target + 4))
        return self.track(index)

    cdef uint32_t end(self) except? 0:
        cdef uint32_t table, size, entry
        cdef uint8_t *vtable
        cdef uint8_t *old
        cdef uint32_t known
        cdef int32_t distance
        cdef int i
        table = self.put_u32(0)
        size = 4 + 2 * <uint32_t> (self.max_slot + 1)
        vtable = self.grow(size)
        memset(vtable, 0, size)
        store_u16(vtable, size)
        store_u16(vtable + 2, <uint32_t> (table - self.table_start))
        for i in range(self.max_slot + 1):
            if self.slots[i]:
                store_u16(vtable + 4 + 2 * i, table - self.slots[i])
        entry = <uint32_t> self.used
        for seen in self.vtables:
            known = seen
            old = self.data + self.capacity - known
            if load_u16(old) == size and memcmp(old, vtable, size) == 0:
                self.used -= size
                entry = known
                break
        else:
            self.vtables.append(entry)
        distance = <int32_t> entry - <int32_t> table
        memcpy(self.data + self.capacity - table, &distance, 4)
        return table

    cdef int finish(self, uint32_t root) except -1:
        self.align(4, self.min_align)
        self.put_u32(<uint32_t> (self.used - root + 4))
        return 0

    cdef uint32_t key_values(self, object metadata) except? 0:
        """custom_metadata from a mapping of bytes; 0 for none."""
        cdef list pairs = []
        cdef uint32_t key, value
        if not metadata:
            return 0
        for k, v in metadata.items():
            key = self.text(k)
            value = self.text(v)
            self.begin()
            self.add_offset(1, value)
            self.add_offset(0, key)
            pairs.append(self.end())
        return self.offsets(pairs)

    cdef uint32_t message(self, int header_type, uint32_t header, int64_t body_length, object metadata,
                          bint force=False, uint32_t *body_length_at=NULL) except? 0:
        cdef uint32_t pairs = self.key_values(metadata)
        self.begin()
        self.add_i64(3, body_length, 0, force)
        if body_length_at != NULL:
            body_length_at[0] = <uint32_t> self.used
        self.add_offset(4, pairs)
        self.add_offset(2, header)
        self.add_i16(0, 4, 0)
        self.add_u8(1, header_type, 0)
        return self.end()

    cdef bytes framed(self):
        """The finished flatbuffer behind its eight-byte prefix, zero-padded to a multiple of eight."""
        cdef size_t padded = (self.used + 7) & ~(<size_t> 7)
        cdef bytes out = PyBytes_FromStringAndSize(NULL, padded + 8)
        cdef uint8_t *p = <uint8_t *> PyBytes_AS_STRING(out)
        cdef int32_t length = <int32_t> padded
        memset(p, 0xFF, 4)
        memcpy(p + 4, &length, 4)
        memcpy(p + 8, self.top(), self.used)
        memset(p + 8 + self.used, 0, padded - self.used)
        return out


cdef inline void store_u16(uint8_t *p, uint32_t value) noexcept:
    cdef uint16_t v = <uint16_t> value
    memcpy(p, &v, 2)
