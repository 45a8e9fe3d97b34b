# Owns: PartitionPlan, the values of partition columns that travel beside each batch (section 8).
# May use: arrays, select, statistics, stream.
# One pass that ends at the first row that differs. The payload is kept while the values stay what they are, which
# for batches of one partition is always.

@cython.final
cdef class PartitionPlan:
    """One thread at a time: a stream has its own."""
    cdef readonly Schema schema
    cdef bint single
    cdef RecordBatch last           # the two rows of the payload
    cdef bytes payload

    def __init__(self, Schema schema not None, single):
        self.schema = schema
        self.single = single

    def encode(self, columns):
        """The payload for one batch. ``columns``: for each field of the schema an array of the batch, or a pair of
        one-element arrays (least, greatest).

        Returns None and leaves all as it was where a column is not what the kind of partition asks for; see
        ``different``.
        """
        cdef list pairs = []
        cdef Py_ssize_t i
        cdef int64_t first, last
        cdef bint same = self.last is not None
        if len(columns) != len(self.schema.fields):
            raise ValueError(f"{len(columns)} columns for {len(self.schema.fields)} partition columns")
        for i in range(len(columns)):
            column = columns[i]
            if isinstance(column, Array):
                if not self.extremes(<Array> column, &first, &last):
                    return None
                pairs.append((column, first, column, last))
            else:
                low, high = column
                pairs.append((low, 0, high, 0))
            if same:
                low, first, high, last = pairs[i]
                same = self.unchanged(i, low, first, high, last)
        if not same:
            arrays = []
            for i in range(len(pairs)):
                low, first, high, last = pairs[i]
                arrays.append(pair_of((<Field> self.schema.fields[i]).type, low, first, high, last))
            self.last = RecordBatch(self.schema, arrays, 2)
            import base64
            self.payload = base64.b64encode(encode_stream(self.schema, [self.last]))
        return self.payload

    cdef bint extremes(self, Array a, int64_t *first, int64_t *last) except -1:
        """False where a single value is asked for and there are two."""
        cdef PlanNode *p = a.type.own_plan()
        cdef Extremes e
        first[0] = last[0] = 0
        if self.single:
            return all_same(a)
        if p.layout == L_DICTIONARY or p.layout == L_RUNS or not find_extremes(p, a.node, a.node.length, True, &e):
            slow_extremes(a, first, last)
        else:
            first[0], last[0] = e.first, e.last
        if first[0] < 0 and a.node.length:
            # Nothing but nulls (or NaN): row 0 stands for that.
            first[0] = last[0] = 0
            while a.type.id in (T_FLOAT32, T_FLOAT64) and first[0] < a.node.length - 1 and not is_null(
                    p, a.node, first[0]):
                first[0] += 1
            last[0] = first[0]
        return True

    cdef bint unchanged(self, Py_ssize_t i, Array low, int64_t first, Array high, int64_t last) except -1:
        cdef PlanNode *p = self.schema.plan + self.schema.tops[i]
        cdef Node *n = self.last.nodes.at + self.schema.tops[i]
        return same_slot(low.type, low.type.own_plan(), low.node, first, p, n, 0) and same_slot(
            high.type, high.type.own_plan(), high.node, last, p, n, 1)


def different(Array array not None):
    """How many different values a column has, nulls counting as one."""
    return len({repr(value) for value in array.to_pylist()})


cdef Array pair_of(DataType t, Array low, int64_t first, Array high, int64_t last):
    """Two rows, of exactly the type ``t``."""
    cdef Gather g
    cdef uint32_t[2] rows
    if low is high and same_type(low.type, t, False):
        g = Gather.new(node_count(t), 256)
        g.nodes.keep = low.owner
        rows[0] = <uint32_t> first
        rows[1] = <uint32_t> last
        g.chosen = vgi_chosen(NULL, low.node.length, <const uint32_t *> rows, 2)
        g.rows(t.own_plan(), low.node, g.nodes.at, 0)
        return Array.new(t, g.nodes, g.nodes.at)
    return array_of_values([low[first], high[last]], t)


cdef bint all_same(Array a) except -1:
    """Every row is what row 0 is; null is a value."""
    cdef PlanNode *p = a.type.own_plan()
    cdef Node *n = a.node
    cdef int64_t nulls = count_nulls(p, n)
    cdef int64_t count = n.length
    cdef int64_t i, size
    cdef const uint8_t *data
    cdef const int32_t *offsets
    if nulls == count or count < 2:
        return True
    if nulls:
        return False
    if p.layout == L_FIXED or p.layout == L_DICTIONARY:
        # Equal neighbours throughout are one comparison of the column with itself, one row on.
        data = n.buf[1] + n.offset * p.width
        if memcmp(data, data + p.width, (count - 1) * p.width) == 0:
            return True
        if p.layout == L_FIXED and not T_FLOAT16 <= p.type <= T_FLOAT64:
            return False
    elif p.layout == L_VAR32:
        offsets = <const int32_t *> n.buf[1] + n.offset
        size = offsets[1] - offsets[0]
        if offsets[count] - offsets[0] != size * count or not even_offsets(offsets, count, <int32_t> size):
            return False
        data = n.buf[2] + offsets[0]
        return size == 0 or memcmp(data, data + size, (count - 1) * size) == 0
    for i in range(1, count):
        if not same_slot(a.type, p, n, i, p, n, 0):
            return False
    return True


cdef bint even_offsets(const int32_t *offsets, int64_t count, int32_t size) noexcept nogil:
    cdef int64_t i
    cdef int32_t bad = 0
    for i in range(count):
        bad |= (offsets[i + 1] - offsets[i]) ^ size
    return bad == 0


cdef bint same_slot(DataType t, PlanNode *p, Node *n, int64_t i, PlanNode *q, Node *m, int64_t j) except -1:
    """Whether two slots hold the same value; the columns have equal types."""
    cdef const uint8_t *a
    cdef const uint8_t *b
    cdef int64_t size
    cdef bint null = is_null(p, n, i)
    if null or is_null(q, m, j):
        return null and is_null(q, m, j)
    if p.layout == L_FIXED and not T_FLOAT16 <= p.type <= T_FLOAT64:
        return memcmp(n.buf[1] + (n.offset + i) * p.width, m.buf[1] + (m.offset + j) * p.width, p.width) == 0
    if p.layout in (L_VAR32, L_VAR64, L_VIEW) and q.layout == p.layout:
        size = text_at(p, n, n.offset + i, &a)
        return text_at(q, m, m.offset + j, &b) == size and memcmp(a, b, size) == 0
    x = value_at(t, p, n, i)
    y = value_at(t, q, m, j)
    return x == y or (x != x and y != y)


cdef int slow_extremes(Array a, int64_t *first, int64_t *last) except -1:
    """By Python's order, which for the values of dictionaries and runs is the right one."""
    cdef int64_t i
    first[0] = last[0] = -1
    values = a.to_pylist()
    for i in range(len(values)):
        v = values[i]
        if v is None or v != v:
            continue
        if isinstance(v, str):
            v = values[i] = v.encode()
        if first[0] < 0:
            first[0] = last[0] = i
        elif v < values[first[0]]:
            first[0] = i
        elif v > values[last[0]]:
            last[0] = i
    return 0
