# Owns: rows of several batches put together as one.
# May use: arrays, bitmap.
# What is appended is copied at once: the author of a batch may use its memory again for the next one.

cdef enum:
    MOST_BYTES = 1 << 22        # of one buffer
    FIRST_BYTES = 1 << 12

ctypedef struct Grown:
    int64_t rows
    int64_t nulls
    int64_t used[3]             # bytes; bits are counted by rows
    Node *dictionary


@cython.final
cdef class BatchBuilder:
    """Belongs to one thread. The buffers of node i are blocks[3 * i : 3 * i + 3]; the first is missing while nothing
    is null."""
    cdef readonly Schema schema
    cdef Grown *at
    cdef list blocks
    cdef list held              # owners of dictionaries
    cdef int64_t rows
    cdef int64_t batches

    def __init__(self, Schema schema not None):
        if not can_assemble(schema.plan, schema.n_nodes):
            raise TypeMismatchError(f"rows of ({schema}) cannot be put together")
        self.schema = schema
        self.at = <Grown *> calloc(max(schema.n_nodes, 1), sizeof(Grown))
        if self.at == NULL:
            raise MemoryError()
        self.clear()

    def __dealloc__(self):
        free(self.at)

    @staticmethod
    def supports(Schema schema not None):
        return can_assemble(schema.plan, schema.n_nodes)

    @property
    def num_rows(self):
        return self.rows

    def append(self, RecordBatch batch not None):
        cdef Schema schema = self.schema
        cdef Py_ssize_t i
        cdef Node *n
        cdef int32_t at
        if batch.schema is not schema and not compatible(batch.schema, schema):
            raise TypeMismatchError(f"expected rows of ({schema}), got ({batch.schema})")
        for i in range(len(schema.fields)):
            at = schema.tops[i]
            n = batch.nodes.at + at
            if not self.fits(schema.plan + at, n, at, n.offset, batch.length):
                return False
        for i in range(len(schema.fields)):
            at = schema.tops[i]
            n = batch.nodes.at + at
            self.add(schema.plan + at, n, at, n.offset, batch.length, batch.nodes)
        self.rows += batch.length
        self.batches += 1
        return True

    def finish(self):
        cdef Schema schema = self.schema
        cdef Nodes nodes = Nodes.new(schema.n_nodes, self.blocks)
        cdef RecordBatch made
        cdef Grown *g
        cdef Node *n
        cdef Block block
        cdef int32_t i, k
        if self.batches == 0:
            raise ValueError("no batch was appended")
        nodes.keep_more = self.held
        for i in range(schema.n_nodes):
            g = self.at + i
            n = nodes.at + i
            n.length = g.rows
            n.null_count = g.rows if schema.plan[i].layout == L_NULL else g.nulls
            n.dictionary = g.dictionary
            for k in range(3):
                block = self.blocks[3 * i + k]
                if block is not None and (k or g.nulls):
                    n.buf[k] = block.data
                    n.size[k] = g.used[k]
                elif k:
                    n.buf[k] = EMPTY
            if schema.plan[i].layout == L_VIEW:
                n.n_data = 1 if g.used[2] else 0
                n.data = <const uint8_t **> checked_alloc(sizeof(void *))
                n.data_size = <int64_t *> checked_alloc(sizeof(int64_t))
                n.data[0] = n.buf[2]
                n.data_size[0] = g.used[2]
                n.buf[2] = NULL
                n.size[2] = 0
        made = RecordBatch.new(schema, nodes, self.rows, None)
        self.clear()
        return made

    cdef int clear(self) except -1:
        memset(self.at, 0, self.schema.n_nodes * sizeof(Grown))
        self.blocks = [None] * (3 * self.schema.n_nodes)
        self.held = None
        self.rows = 0
        self.batches = 0
        return 0

    cdef uint8_t *room(self, int32_t at, int k, int64_t size) except NULL:
        """Behind what the buffer holds. What is used changes when the caller says so."""
        cdef Block block = self.blocks[3 * at + k]
        cdef Block grown
        cdef int64_t used = self.at[at].used[k]
        if block is None or block.capacity < <size_t> (used + size):
            grown = Block.new(max(2 * (used + size), <int64_t> FIRST_BYTES))
            if used:
                memcpy(grown.data, block.data, used)
            self.blocks[3 * at + k] = block = grown
        return block.data + used

    cdef bint fits(self, PlanNode *p, Node *n, int32_t at, int64_t start, int64_t count) noexcept:
        """Whether ``add`` may copy rows ``start`` … of the node."""
        cdef Grown *g = self.at + at
        cdef int layout = p.layout
        cdef bint wide = layout == L_VAR64 or layout == L_LIST64
        cdef int64_t bytes = 16 * count
        cdef int64_t first = 0
        cdef int64_t i
        cdef int32_t child = 1
        if layout == L_FIXED or layout == L_DICTIONARY:
            bytes = count * p.width
        if layout == L_DICTIONARY and g.dictionary != NULL and not same_values(p, g.dictionary, n.dictionary):
            return False
        if count and (layout == L_VAR32 or layout == L_VAR64 or layout == L_LIST32 or layout == L_LIST64):
            first = offset_at(n.buf[1], start, wide)
            if layout == L_LIST32 or layout == L_LIST64:
                if not self.fits(p + 1, n + 1, at + 1, n[1].offset + first,
                                 offset_at(n.buf[1], start + count, wide) - first):
                    return False
            else:
                bytes += offset_at(n.buf[1], start + count, wide) - first + g.used[2]
        elif layout == L_VIEW:
            bytes += g.used[2]
            for i in range(start, start + count):
                bytes += max(load_i32(n.buf[1] + 16 * i), 0)
        elif layout == L_FIXED_LIST:
            return self.fits(p + 1, n + 1, at + 1, n[1].offset + start * p.list_size, count * p.list_size)
        elif layout == L_STRUCT:
            for _ in range(p.n_children):
                if not self.fits(p + child, n + child, at + child, n[child].offset + start, count):
                    return False
                child += p[child].span
        return g.used[1] + bytes <= MOST_BYTES

    cdef int add(self, PlanNode *p, Node *n, int32_t at, int64_t start, int64_t count, Nodes owner) except -1:
        cdef Grown *g = self.at + at
        cdef int layout = p.layout
        cdef bint wide = layout == L_LIST64
        cdef int64_t first
        cdef int32_t child = 1
        cdef uint8_t *out
        if layout == L_NULL:
            g.rows += count
            return 0
        self.validity(n, at, start, count)
        if layout == L_FIXED or layout == L_DICTIONARY:
            out = self.room(at, 1, count * p.width)
            memcpy(out, n.buf[1] + start * p.width, count * p.width)
            g.used[1] += count * p.width
            if layout == L_DICTIONARY and g.dictionary == NULL:
                g.dictionary = n.dictionary
                if self.held is None:
                    self.held = []
                self.held.append(owner)
        elif layout == L_BITS:
            self.bits(at, 1, n.buf[1], start, count)
        elif layout == L_VAR32 or layout == L_VAR64:
            self.texts(n, at, start, count, layout == L_VAR64)
        elif layout == L_VIEW:
            self.views(n, at, start, count)
        elif layout == L_LIST32 or layout == L_LIST64:
            first = offset_at(n.buf[1], start, wide) if count else 0
            self.offsets(n, at, start, count, first, self.at[at + 1].rows, wide)
            # Without rows too, for the sake of dictionaries below.
            self.add(p + 1, n + 1, at + 1, n[1].offset + first,
                     offset_at(n.buf[1], start + count, wide) - first if count else 0, owner)
        elif layout == L_FIXED_LIST:
            self.add(p + 1, n + 1, at + 1, n[1].offset + start * p.list_size, count * p.list_size, owner)
        else:
            for _ in range(p.n_children):
                self.add(p + child, n + child, at + child, n[child].offset + start, count, owner)
                child += p[child].span
        g.rows += count
        return 0

    cdef int validity(self, Node *n, int32_t at, int64_t start, int64_t count) except -1:
        cdef Grown *g = self.at + at
        cdef bint any_null = n.buf[0] != NULL and n.null_count != 0
        cdef int64_t nulls = 0
        if any_null:
            nulls = count - count_set(n.buf[0], start, count)
        if g.nulls == 0 and nulls == 0:
            return 0
        if g.nulls == 0 and g.rows:
            self.bits(at, 0, NULL, 0, g.rows, 0)
        g.nulls += nulls
        return self.bits(at, 0, n.buf[0] if any_null else NULL, start, count)

    cdef int bits(self, int32_t at, int k, const uint8_t *bits, int64_t start, int64_t count,
                  int64_t row=-1) except -1:
        """Ones where ``bits`` is missing."""
        cdef Grown *g = self.at + at
        cdef int64_t i = 0
        cdef int64_t size
        cdef uint64_t word
        cdef uint8_t *out
        if row < 0:
            row = g.rows
        size = (row + count + 7) >> 3
        # Words are written whole, so nine bytes more than there are bits.
        self.room(at, k, size - g.used[k] + 9)
        out = (<Block> self.blocks[3 * at + k]).data
        while i < count:
            size = min(64, count - i)
            word = load_bits(bits, start + i, size) if bits != NULL else <uint64_t> -1 >> (64 - size)
            or_word(out, row + i, word)
            i += size
        g.used[k] = (row + count + 7) >> 3
        return 0

    cdef int offsets(self, Node *n, int32_t at, int64_t start, int64_t count, int64_t first, int64_t base,
                     bint wide) except -1:
        """Moved from ``first`` to ``base``; the very first one is 0."""
        cdef Grown *g = self.at + at
        cdef int width = 8 if wide else 4
        cdef int64_t i
        cdef uint8_t *out = self.room(at, 1, (count + 1) * width)
        if g.used[1] == 0:
            memset(out, 0, width)
            out += width
            g.used[1] = width
        if wide:
            for i in range(count):
                (<int64_t *> out)[i] = (<const int64_t *> n.buf[1])[start + i + 1] - first + base
        else:
            for i in range(count):
                (<int32_t *> out)[i] = <int32_t> ((<const int32_t *> n.buf[1])[start + i + 1] - first + base)
        g.used[1] += count * width
        return 0

    cdef int texts(self, Node *n, int32_t at, int64_t start, int64_t count, bint wide) except -1:
        cdef Grown *g = self.at + at
        cdef int64_t first = offset_at(n.buf[1], start, wide) if count else 0
        cdef int64_t size = offset_at(n.buf[1], start + count, wide) - first if count else 0
        cdef uint8_t *out
        self.offsets(n, at, start, count, first, g.used[2], wide)
        if size:
            out = self.room(at, 2, size)
            memcpy(out, n.buf[2] + first, size)
            g.used[2] += size
        return 0

    cdef int views(self, Node *n, int32_t at, int64_t start, int64_t count) except -1:
        """Long texts are moved to one buffer."""
        cdef Grown *g = self.at + at
        cdef uint8_t *out = self.room(at, 1, 16 * count)
        cdef uint8_t *data
        cdef int32_t size, filled
        cdef int32_t zero = 0
        cdef int64_t i
        memcpy(out, n.buf[1] + 16 * start, 16 * count)
        g.used[1] += 16 * count
        for i in range(count):
            if n.buf[0] != NULL and not get_bit(n.buf[0], start + i):
                memset(out + 16 * i, 0, 16)         # nothing is promised about the slots of nulls
                continue
            size = load_i32(out + 16 * i)
            if size > 12:
                data = self.room(at, 2, size)
                memcpy(data, n.data[load_i32(out + 16 * i + 8)] + load_i32(out + 16 * i + 12), size)
                filled = <int32_t> g.used[2]
                memcpy(out + 16 * i + 8, &zero, 4)
                memcpy(out + 16 * i + 12, &filled, 4)
                g.used[2] += size
        return 0


cdef bint can_assemble(PlanNode *p, int32_t nodes) noexcept:
    cdef int32_t i
    for i in range(nodes):
        if p[i].layout in (L_LISTVIEW32, L_LISTVIEW64, L_SPARSE, L_DENSE, L_RUNS):
            return False
    return True


cdef bint same_values(PlanNode *p, Node *a, Node *b) noexcept:
    """Whether two dictionaries are the same memory: those of batches that were imported one by one often are."""
    cdef int k
    if a == b:
        return True
    if p.values_span != 1 or a.length != b.length or a.offset != b.offset or a.n_data or b.n_data:
        return False
    for k in range(3):
        if a.buf[k] != b.buf[k]:
            return False
    return True


cdef inline void or_word(uint8_t *out, int64_t at, uint64_t word) noexcept nogil:
    """Bits from ``at`` on; those up to the end of the word that were not written yet become zero."""
    cdef uint8_t *p = out + (at >> 3)
    cdef int shift = at & 7
    cdef uint64_t low = word << shift
    cdef uint8_t kept = p[0] & <uint8_t> ((1 << shift) - 1)
    memcpy(p, &low, 8)
    p[0] |= kept
    p[8] = <uint8_t> (word >> (64 - shift)) if shift else 0
