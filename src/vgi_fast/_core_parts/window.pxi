# Owns: reductions over frames of a partition from an index built once, and running results of streamed partitions.
# May use: groups.
# Index: prefix sums where a difference is exact (integers, counts), else a tree of records that ``merge`` joins in
#   the order of the rows, node i over nodes 2i and 2i + 1, leaves at rows + i.

cdef int list_cell(RecordBatch batch, Py_ssize_t column, const int64_t **values, int64_t *count) except -1:
    """The int64 values in the list of the only row."""
    cdef DataType t
    cdef Node *n
    if batch.length != 1 or not 0 <= column < len(batch.schema.fields):
        raise ProtocolError("a record without the list that was asked for")
    t = (<Field> batch.schema.fields[column]).type
    n = batch.nodes.at + batch.schema.tops[column]
    if t.id != T_LIST or (<Field> t.children[0]).type.id != T_INT64:
        raise ProtocolError(f"frames are list<int64>, got {type_text(t)}")
    if is_null(batch.schema.plan + batch.schema.tops[column], n, 0):
        raise ProtocolError("frames are null")
    if count_nulls(batch.schema.plan + batch.schema.tops[column] + 1, n + 1):
        raise ProtocolError("a frame is null")
    values[0] = <const int64_t *> n[1].buf[1] + n[1].offset + (<const int32_t *> n.buf[1])[n.offset]
    count[0] = (<const int32_t *> n.buf[1])[n.offset + 1] - (<const int32_t *> n.buf[1])[n.offset]
    return 0


@cython.final
cdef class WindowIndex:
    """What answers frames of one column of a partition. Immutable; any thread."""
    cdef Reduction reduction
    cdef readonly int64_t rows
    cdef bint prefix                # sums and counts by difference
    cdef Block counts               # rows + 1: how many rows before take part
    cdef Block sums                 # rows + 1
    cdef Block tree                 # 2 * rows records
    cdef RecordBatch batch          # approximate distinct: counted over the rows of the frame

    def __init__(self, Reduction reduction not None, RecordBatch batch not None, Py_ssize_t column, mask=None):
        cdef View bits = None
        self.reduction = reduction
        self.rows = batch.length
        if mask is not None and len(mask):
            bits = View.of(mask)
            if bits.size < (self.rows + 7) // 8:
                raise ProtocolError(f"a filter mask of {bits.size} bytes for {self.rows} rows")
        if reduction.op == R_DISTINCT:
            raise TypeMismatchError("approx_distinct has no index for windows")
        self.build(batch, column, bits.data if bits is not None else NULL)

    cdef int build(self, RecordBatch batch, Py_ssize_t column, const uint8_t *mask) except -1:
        cdef Reduction reduction = self.reduction
        cdef PlanNode *p = NULL
        cdef Node *n = NULL
        cdef DataType t
        cdef int64_t i, rows = self.rows
        cdef int64_t *counts
        cdef int op = reduction.op
        self.counts = Block.new(8 * (rows + 1))
        counts = <int64_t *> self.counts.data
        if op != R_COUNT_ROWS:
            if not 0 <= column < len(batch.schema.fields):
                raise ProtocolError(f"a partition has {len(batch.schema.fields)} columns, column {column} is missing")
            t = (<Field> batch.schema.fields[column]).type
            if not same_type(t, reduction.type, False):
                raise TypeMismatchError(
                    f"{reduction.name}: expected a column of {type_text(reduction.type)}, got {type_text(t)}")
            p = batch.schema.plan + batch.schema.tops[column]
            n = batch.nodes.at + batch.schema.tops[column]
        counts[0] = 0
        for i in range(rows):
            counts[i + 1] = counts[i] + ((mask == NULL or get_bit(mask, i)) and (n == NULL or not is_null(p, n, i)))
        if op == R_COUNT_ROWS or op == R_COUNT:
            self.prefix = True
        elif op == R_SUM and reduction.family != F_DOUBLE and not reduction.as_double:
            self.prefix = True
            self.prefix_sums(p, n)
        else:
            self.grow_tree(p, n)
        return 0

    cdef int prefix_sums(self, PlanNode *p, Node *n) except -1:
        cdef int64_t i
        cdef uint64_t *sums
        cdef const int64_t *counts = <const int64_t *> self.counts.data
        self.sums = Block.new(8 * (self.rows + 1))
        sums = <uint64_t *> self.sums.data
        sums[0] = 0
        for i in range(self.rows):
            sums[i + 1] = sums[i]
            if counts[i + 1] != counts[i]:
                sums[i + 1] += <uint64_t> int_at(p.type, n.buf[1], n.offset + i)
        return 0

    cdef int grow_tree(self, PlanNode *p, Node *n) except -1:
        cdef Reduction reduction = self.reduction
        cdef int64_t i, stride = reduction.stride
        cdef int64_t v
        cdef double d
        cdef bint doubles = reduction.family == F_DOUBLE or reduction.as_double
        cdef const int64_t *counts = <const int64_t *> self.counts.data
        cdef uint8_t *tree
        if self.rows == 0:
            return 0
        self.tree = Block.new(2 * self.rows * stride)
        tree = self.tree.data
        memset(tree, 0, 2 * self.rows * stride)
        for i in range(self.rows):
            if counts[i + 1] == counts[i]:
                continue
            if doubles:
                d = double_at(p.type, n.buf[1], n.offset + i)
                update_doubles(reduction.op, tree + (self.rows + i) * stride, stride, NULL, &d, NULL, 1)
            else:
                v = int_at(p.type, n.buf[1], n.offset + i)
                update_ints(reduction.op, tree + (self.rows + i) * stride, stride, NULL, &v, NULL, 1,
                            reduction.family == F_UINT64)
        for i in range(self.rows - 1, 0, -1):
            memcpy(tree + i * stride, tree + 2 * i * stride, stride)
            self.join(tree + i * stride, tree + (2 * i + 1) * stride)
        return 0

    cdef void join(self, uint8_t *target, const uint8_t *source) noexcept nogil:
        if not source[0]:
            return
        if not target[0]:
            memcpy(target, source, self.reduction.stride)
            return
        merge(self.reduction.op, target, source, self.reduction.stride,
              self.reduction.family == F_DOUBLE or self.reduction.as_double, self.reduction.family == F_UINT64)

    cdef void add_range(self, uint8_t *record, int64_t start, int64_t end) noexcept nogil:
        """Rows [start, end) into a record, after what it has."""
        cdef const int64_t *counts = <const int64_t *> self.counts.data
        cdef uint8_t right[128]
        cdef uint8_t joined[128]
        cdef int64_t stride = self.reduction.stride
        cdef int64_t low, high
        if start < 0:
            start = 0
        if end > self.rows:
            end = self.rows
        if start >= end or counts[end] == counts[start]:
            return
        if self.prefix:
            record[0] = 1
            if self.sums is None:
                (<int64_t *> (record + 8))[0] += counts[end] - counts[start]
            else:
                (<uint64_t *> (record + 8))[0] += ((<const uint64_t *> self.sums.data)[end]
                                                   - (<const uint64_t *> self.sums.data)[start])
            return
        memset(right, 0, stride)
        low = start + self.rows
        high = end + self.rows
        while low < high:
            if low & 1:
                self.join(record, self.tree.data + low * stride)
                low += 1
            if high & 1:
                high -= 1
                memcpy(joined, self.tree.data + high * stride, stride)
                self.join(joined, right)
                memcpy(right, joined, stride)
            low >>= 1
            high >>= 1
        self.join(record, right)

    def one(self, RecordBatch request not None, Py_ssize_t starts, Py_ssize_t ends):
        """The result for the frames in two lists of a request, as its bytes; None for NULL."""
        cdef const int64_t *begin = NULL
        cdef const int64_t *end = NULL
        cdef int64_t n = 0, m = 0, i
        cdef uint8_t record[128]
        cdef uint8_t out[16]
        list_cell(request, starts, &begin, &n)
        list_cell(request, ends, &end, &m)
        if n != m:
            raise ProtocolError(f"{n} frame starts and {m} frame ends")
        memset(record, 0, self.reduction.stride)
        for i in range(n):
            self.add_range(record, begin[i], end[i])
        if not self.reduction.result_of(record, out):
            return None
        return PyBytes_FromStringAndSize(<const char *> out, max(self.reduction.result.width_, 1))

    def many(self, RecordBatch request not None, Py_ssize_t per_row, Py_ssize_t starts, Py_ssize_t ends):
        """Results for several rows, each with its number of frames."""
        cdef const int64_t *count = NULL
        cdef const int64_t *begin = NULL
        cdef const int64_t *end = NULL
        cdef int64_t rows = 0, n = 0, m = 0, i, k, at = 0
        cdef Groups groups = Groups(self.reduction.stride)
        list_cell(request, per_row, &count, &rows)
        list_cell(request, starts, &begin, &n)
        list_cell(request, ends, &end, &m)
        if n != m:
            raise ProtocolError(f"{n} frame starts and {m} frame ends")
        groups.room(max(rows, 1))
        groups.rows = rows
        groups.count = rows
        groups.need_records()
        memset(groups.records, 0, rows * self.reduction.stride)
        for i in range(rows):
            groups.local[i] = i
            if count[i] < 0 or count[i] > n - at:
                raise ProtocolError("frames_per_row counts more frames than there are")
            for k in range(count[i]):
                self.add_range(groups.records + i * self.reduction.stride, begin[at + k], end[at + k])
            at += count[i]
        if at != n:
            raise ProtocolError(f"frames_per_row counts {at} frames, there are {n}")
        return self.reduction.finish(groups)


# ---- streamed partitions ----

cdef int key_part(RecordBatch batch, Py_ssize_t column, int64_t row, list out) except -1:
    """What a value of a partition key is compared by."""
    cdef PlanNode *p = batch.schema.plan + batch.schema.tops[column]
    cdef Node *n = batch.nodes.at + batch.schema.tops[column]
    cdef const uint8_t *data = NULL
    cdef int64_t size = 0
    cdef uint32_t length
    cdef double d
    cdef DataType t = (<Field> batch.schema.fields[column]).type
    if is_null(p, n, row):
        out.append(b"\0")
        return 0
    if T_FLOAT16 <= t.id <= T_FLOAT64:
        d = double_at(t.id, n.buf[1], n.offset + row)
        d = 0.0 if d == 0.0 else d
        out.append(b"\1nan" if d != d else b"\1" + PyBytes_FromStringAndSize(<const char *> &d, 8))
    elif p.layout == L_FIXED:
        out.append(b"\1" + PyBytes_FromStringAndSize(<const char *> n.buf[1] + (n.offset + row) * p.width, p.width))
    elif p.layout in (L_VAR32, L_VAR64, L_VIEW):
        slot_text_bytes(p, n, n.offset + row, &data, &size)
        length = <uint32_t> size
        out.append(b"\1" + PyBytes_FromStringAndSize(<const char *> &length, 4)
                   + PyBytes_FromStringAndSize(<const char *> data, size))
    else:
        out.append(b"\1" + repr(value_at(t, p, n, row)).encode("utf-8", "surrogatepass") + b"\0")
    return 0


def partition_key(RecordBatch batch not None, Py_ssize_t columns, int64_t row):
    """The first ``columns`` of a row as bytes that are equal exactly where the keys are."""
    cdef list parts = []
    cdef Py_ssize_t i
    if not 0 <= row < batch.length or columns > len(batch.schema.fields):
        raise IndexError(f"row {row} of a batch of {batch.length}")
    for i in range(columns):
        key_part(batch, i, row, parts)
    return b"".join(parts)


cdef bint same_value_at(PlanNode *p, Node *n, int64_t a, int64_t b) noexcept nogil:
    """Of one column of texts or values of fixed width, floats not among them."""
    cdef const uint8_t *x = NULL
    cdef const uint8_t *y = NULL
    cdef int64_t size = 0, other = 0
    if p.layout == L_FIXED:
        return memcmp(n.buf[1] + a * p.width, n.buf[1] + b * p.width, p.width) == 0
    if p.layout == L_BITS:
        return get_bit(n.buf[1], a) == get_bit(n.buf[1], b)
    slot_text_bytes(p, n, a, &x, &size)
    slot_text_bytes(p, n, b, &y, &other)
    return size == other and memcmp(x, y, size) == 0


def partition_starts(RecordBatch batch not None, Py_ssize_t columns):
    """One byte a row: 1 where the first ``columns`` differ from those of the row before; 0 for the first row."""
    cdef bytes flags = bytes(batch.length)
    cdef uint8_t *out = <uint8_t *> PyBytes_AS_STRING(flags)
    cdef PlanNode *p
    cdef Node *n
    cdef int64_t i
    cdef Py_ssize_t c
    cdef bint a, b
    if columns > len(batch.schema.fields):
        raise ProtocolError(f"a chunk has {len(batch.schema.fields)} columns, {columns} of them are to be keys")
    for c in range(columns):
        p = batch.schema.plan + batch.schema.tops[c]
        n = batch.nodes.at + batch.schema.tops[c]
        if p.layout not in (L_FIXED, L_BITS, L_VAR32, L_VAR64, L_VIEW) or T_FLOAT16 <= p.type <= T_FLOAT64:
            slow_starts(batch, c, out)
            continue
        if count_nulls(p, n) == 0 and p.layout == L_FIXED and p.width == 8:
            int64_starts(<const int64_t *> n.buf[1] + n.offset, batch.length, out)
            continue
        for i in range(1, batch.length):
            a = is_null(p, n, i - 1)
            b = is_null(p, n, i)
            if a != b or (not a and not same_value_at(p, n, n.offset + i - 1, n.offset + i)):
                out[i] = 1
    return flags


cdef void int64_starts(const int64_t *values, int64_t rows, uint8_t *out) noexcept nogil:
    cdef int64_t i
    for i in range(1, rows):
        out[i] |= values[i] != values[i - 1]


cdef int slow_starts(RecordBatch batch, Py_ssize_t column, uint8_t *out) except -1:
    cdef list before = []
    cdef list now
    cdef int64_t i
    for i in range(batch.length):
        now = []
        key_part(batch, column, i, now)
        if i and now != before:
            out[i] = 1
        before = now
    return 0


def running(Reduction reduction not None, RecordBatch batch not None, Py_ssize_t column, bytes starts not None,
            bytes record):
    """The result after each row, and the record after the last.

    The record starts anew where ``starts`` has a 1; ``record`` is that of the rows before, or None.
    """
    cdef Nodes nodes = Nodes.new(1, None)
    cdef int64_t i, rows = batch.length, nulls = 0
    cdef int width = reduction.result.width_
    cdef bint bits = reduction.result.id == T_BOOL
    cdef bytes after = PyBytes_FromStringAndSize(NULL, reduction.stride)
    cdef uint8_t *r = <uint8_t *> PyBytes_AS_STRING(after)
    cdef const uint8_t *flags = <const uint8_t *> PyBytes_AS_STRING(starts)
    cdef uint8_t slot_bytes[16]
    cdef PlanNode *p = NULL
    cdef Node *n = NULL
    cdef int64_t v = 0
    cdef double d = 0
    cdef bint doubles = reduction.family == F_DOUBLE or reduction.as_double
    cdef Block out, valid
    cdef DataType t
    if len(starts) != rows or (record is not None and len(record) != reduction.stride):
        raise ValueError("running results of other rows or records")
    if reduction.op == R_DISTINCT:
        raise TypeMismatchError("approx_distinct has no running result")
    if reduction.op != R_COUNT_ROWS:
        if not 0 <= column < len(batch.schema.fields):
            raise ProtocolError(f"a chunk has {len(batch.schema.fields)} columns, column {column} is missing")
        t = (<Field> batch.schema.fields[column]).type
        if not same_type(t, reduction.type, False):
            raise TypeMismatchError(
                f"{reduction.name}: expected a column of {type_text(reduction.type)}, got {type_text(t)}")
        p = batch.schema.plan + batch.schema.tops[column]
        n = batch.nodes.at + batch.schema.tops[column]
        count_nulls(p, n)
    out = new_buffer(nodes, (rows + 7) >> 3 if bits else rows * width)
    valid = new_buffer(nodes, (rows + 7) >> 3)
    if record is None:
        memset(r, 0, reduction.stride)
    else:
        memcpy(r, PyBytes_AS_STRING(record), reduction.stride)
    if reduction.op == R_SUM and not doubles and p.width == 8 and n.null_count == 0 and width == 8:
        running_sums(r, flags, <const int64_t *> n.buf[1] + n.offset, <int64_t *> out.data, rows)
        valid = None
    else:
        for i in range(rows):
            if flags[i]:
                memset(r, 0, reduction.stride)
            if n == NULL or not is_null(p, n, i):
                if reduction.op == R_COUNT_ROWS or reduction.op == R_COUNT:
                    r[0] = 1
                    (<int64_t *> (r + 8))[0] += 1
                elif doubles:
                    d = double_at(p.type, n.buf[1], n.offset + i)
                    update_doubles(reduction.op, r, reduction.stride, NULL, &d, NULL, 1)
                else:
                    v = int_at(p.type, n.buf[1], n.offset + i)
                    update_ints(reduction.op, r, reduction.stride, NULL, &v, NULL, 1, reduction.family == F_UINT64)
            if not reduction.result_of(r, slot_bytes):
                nulls += 1
                continue
            set_bit(valid.data, i)
            if not bits:
                memcpy(out.data + i * width, slot_bytes, width)
            elif slot_bytes[0]:
                set_bit(out.data, i)
    nodes.at[0].length = rows
    nodes.at[0].null_count = nulls
    nodes.at[0].buf[0] = valid.data if nulls else NULL
    nodes.at[0].buf[1] = out.data
    return Array.new(reduction.result, nodes, nodes.at), after


cdef void running_sums(uint8_t *record, const uint8_t *flags, const int64_t *v, int64_t *out,
                       int64_t rows) noexcept nogil:
    cdef int64_t i
    cdef uint64_t total = (<uint64_t *> (record + 8))[0]
    for i in range(rows):
        if flags[i]:
            total = 0
        total += <uint64_t> v[i]
        out[i] = <int64_t> total
    if rows:
        record[0] = 1
        (<uint64_t *> (record + 8))[0] = total
