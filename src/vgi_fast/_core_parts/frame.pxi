# Owns: RecordBatch and DictionaryBatch messages, both directions (sections 1.1 and 1.5).
# May use: everything above.
# Reading is zero-copy: nodes point into the message body. Writing gathers: a header of known shape is
# copied and patched, buffers leave from where they are.

# ---- reading ----

cdef struct BatchCursor:
    const uint8_t *nodes
    uint32_t n_nodes
    uint32_t next_node
    const uint8_t *buffers
    uint32_t n_buffers
    uint32_t next_buffer
    const uint8_t *variadic
    uint32_t n_variadic
    uint32_t next_variadic
    const uint8_t *body
    int64_t body_size
    bint v4             # metadata version 4: unions and run-end encoded columns have a validity buffer too


cdef int take_buffer(BatchCursor *c, const uint8_t **data, int64_t *size) except -1:
    cdef int64_t offset, length
    if c.next_buffer >= c.n_buffers:
        malformed("fewer buffers than the schema needs")
    offset = load_i64(c.buffers + 16 * c.next_buffer)
    length = load_i64(c.buffers + 16 * c.next_buffer + 8)
    c.next_buffer += 1
    if offset < 0 or length < 0 or offset > c.body_size or length > c.body_size - offset:
        malformed(f"a buffer at {offset} of {length} bytes in a body of {c.body_size}")
    if offset & 7:
        malformed(f"a buffer at {offset}, expected a multiple of 8")
    data[0] = c.body + offset if length else EMPTY
    size[0] = length
    return 0


cdef int take_views(BatchCursor *c, Node *n) except -1:
    cdef int64_t k, count
    if c.next_variadic >= c.n_variadic:
        malformed("fewer variadic buffer counts than view columns")
    count = load_i64(c.variadic + 8 * c.next_variadic)
    c.next_variadic += 1
    if count < 0 or count > c.n_buffers - c.next_buffer:
        malformed(f"a view column with {count} data buffers")
    n.data = <const uint8_t **> checked_alloc(count * sizeof(void *))
    n.data_size = <int64_t *> checked_alloc(count * sizeof(int64_t))
    n.n_data = <int32_t> count
    for k in range(count):
        take_buffer(c, &n.data[k], &n.data_size[k])
    return 0


cdef int take_nodes(PlanNode *p, Node *n, int32_t count, BatchCursor *c) except -1:
    cdef int32_t i
    cdef int k, n_buffers
    for i in range(count):
        if c.next_node >= c.n_nodes:
            malformed("fewer field nodes than the schema needs")
        n[i].length = load_i64(c.nodes + 16 * c.next_node)
        n[i].null_count = load_i64(c.nodes + 16 * c.next_node + 8)
        c.next_node += 1
        if n[i].length < 0 or n[i].null_count < 0 or n[i].null_count > n[i].length:
            malformed(f"a field node of {n[i].length} rows with {n[i].null_count} nulls")
        n_buffers = 2 if p[i].layout == L_VIEW else p[i].n_buffers
        if c.v4 and p[i].layout in (L_SPARSE, L_DENSE, L_RUNS):
            if n[i].null_count:
                malformed("nulls in a union or run-end encoded column of metadata version 4")
            take_buffer(c, &n[i].buf[0], &n[i].size[0])     # dropped: the next buffer takes its place
            n[i].buf[0] = NULL
        for k in range(n_buffers):
            take_buffer(c, &n[i].buf[k], &n[i].size[k])
        if p[i].layout == L_VIEW:
            take_views(c, &n[i])
    return 0


cdef int read_batch_nodes(Span *s, Table *header, bint v4, const uint8_t *body, int64_t body_size, PlanNode *p,
                          Nodes out, int64_t *length) except -1:
    """Fill and check ``out``; ``header`` is a RecordBatch table."""
    cdef BatchCursor c
    cdef Vector v
    cdef Table compression
    memset(&c, 0, sizeof(c))
    length[0] = slot_i64(header, 0, 0)
    if length[0] < 0:
        malformed(f"a batch of {length[0]} rows")
    slot_vector(s, header, 1, 16, &v)
    c.nodes = v.at
    c.n_nodes = v.count
    slot_vector(s, header, 2, 16, &v)
    c.buffers = v.at
    c.n_buffers = v.count
    if slot_vector(s, header, 4, 8, &v):
        c.variadic = v.at
        c.n_variadic = v.count
    c.body = body
    c.body_size = body_size
    c.v4 = v4
    take_nodes(p, out.at, out.count, &c)
    if c.next_node != c.n_nodes or c.next_buffer != c.n_buffers:
        malformed("more field nodes or buffers than the schema has")
    if slot_table(s, header, 3, &compression):
        decompress_nodes(p, out, slot_u8(&compression, 0, 0), slot_u8(&compression, 1, 0))
    return 0


cdef int check_columns(PlanNode *p, Nodes nodes, int64_t length) except -1:
    cdef int32_t i = 0
    while i < nodes.count:
        if nodes.at[i].length != length:
            malformed(f"a column of {nodes.at[i].length} rows in a batch of {length}")
        check_node(p + i, nodes.at + i, validation == VALIDATE_FULL)
        i += p[i].span
    return 0


cdef enum:
    VALIDATE_STANDARD = 1
    VALIDATE_FULL = 2

cdef int validation = VALIDATE_STANDARD


def set_validation(level):
    """``"standard"`` (structure: always on) or ``"full"`` (also UTF-8). Unknown levels: ValueError."""
    global validation
    if level not in ("none", "standard", "full"):
        raise ValueError(f"validation must be none, standard or full, got {level!r}")
    validation = VALIDATE_FULL if level == "full" else VALIDATE_STANDARD


cdef object inflate(const uint8_t *data, int64_t size, int codec, int64_t wanted):
    # Nobody in this ecosystem compresses on pipes; correctness matters here, speed does not.
    import pyarrow
    raw = PyBytes_FromStringAndSize(<const char *> data, size)
    try:
        out = pyarrow.decompress(raw, wanted, "zstd" if codec else "lz4", asbytes=True)
    except (pyarrow.ArrowException, OSError) as e:
        raise ProtocolError(f"malformed Arrow data: a compressed buffer: {e}") from None
    if len(out) != wanted:
        refuse(f"a compressed buffer of {len(out)} bytes, {wanted} were announced")
    return out


cdef int64_t MAX_INFLATED = <int64_t> 1 << 32


cdef int inflate_buffer(const uint8_t **data, int64_t *size, int codec, Nodes out) except -1:
    cdef int64_t wanted
    cdef Block block
    if size[0] == 0:
        return 0
    if size[0] < 8:
        refuse("a compressed buffer without its length")
    wanted = load_i64(data[0])
    if wanted == -1:
        data[0] += 8
        size[0] -= 8
        return 0
    if wanted < 0 or wanted > MAX_INFLATED or wanted // 65536 > size[0]:
        refuse(f"a compressed buffer that announces {wanted} bytes")
    raw = inflate(data[0] + 8, size[0] - 8, codec, wanted)
    block = Block.new(wanted)
    memcpy(block.data, PyBytes_AS_STRING(raw), wanted)
    out.hold(block)
    data[0] = block.data
    size[0] = wanted
    return 0


cdef int decompress_nodes(PlanNode *p, Nodes out, int codec, int method) except -1:
    cdef int32_t i, k
    cdef int n_buffers
    if codec > 1 or method != 0:
        malformed(f"unknown compression {codec}, method {method}")
    for i in range(out.count):
        n_buffers = 2 if p[i].layout == L_VIEW else p[i].n_buffers
        for k in range(n_buffers):
            inflate_buffer(&out.at[i].buf[k], &out.at[i].size[k], codec, out)
        for k in range(out.at[i].n_data):
            inflate_buffer(&out.at[i].data[k], &out.at[i].data_size[k], codec, out)
    return 0


cdef int dictionary_index_id(PlanNode *p) noexcept nogil:
    return p.list_size


cdef int attach_dictionaries(PlanNode *p, Nodes nodes, list dictionaries) except -1:
    """Point each dictionary column at the values received for its slot."""
    cdef int32_t i
    cdef Nodes values
    for i in range(nodes.count):
        if p[i].layout != L_DICTIONARY:
            continue
        values = dictionaries[p[i].dictionary_slot]
        if values is None:
            if nodes.at[i].null_count != nodes.at[i].length:
                malformed("a dictionary column before its dictionary")
            values = Nodes.new(p[i].values_span, None)
            fill_empty(p[i].values, values)
        nodes.hold(values)
        nodes.at[i].dictionary = values.at
    return check_dictionaries(p, nodes.at, nodes.count)


cdef void fill_empty(PlanNode *p, Nodes nodes) noexcept:
    cdef int32_t i
    for i in range(nodes.count):
        nodes.at[i].buf[1] = EMPTY
        nodes.at[i].buf[2] = EMPTY


# ---- writing ----

@cython.final
cdef class BatchTemplate:
    """A RecordBatch message header whose numbers are patched per batch."""
    cdef bytes header           # framed
    cdef int64_t body_length_at
    cdef int64_t length_at
    cdef int64_t nodes_at
    cdef int64_t buffers_at
    cdef int32_t n_nodes
    cdef int32_t n_buffers


cdef BatchTemplate make_template(int32_t n_nodes, int32_t n_buffers, list variadic, object metadata,
                                 int64_t dictionary_id):
    """``dictionary_id`` ≥ 0 makes a DictionaryBatch around it."""
    cdef BatchTemplate t = BatchTemplate.__new__(BatchTemplate)
    cdef Builder b = Builder.new(1024)
    cdef uint32_t nodes, buffers, counts = 0, header, body_length = 0, length
    cdef int64_t total, count
    cdef Py_ssize_t i
    nodes = b.pairs(n_nodes)
    buffers = b.pairs(n_buffers)
    if variadic:
        b.align(8 * len(variadic), 4)
        b.align(8 * len(variadic), 8)
        for i in range(len(variadic) - 1, -1, -1):
            count = variadic[i]
            memcpy(b.grow(8), &count, 8)
        counts = b.put_u32(<uint32_t> len(variadic))
    b.begin()
    b.add_i64(0, 0, 0, True)
    length = <uint32_t> b.used
    b.add_offset(4, counts)
    b.add_offset(2, buffers)
    b.add_offset(1, nodes)
    header = b.end()
    if dictionary_id >= 0:
        b.begin()
        b.add_i64(0, dictionary_id, 0)
        b.add_offset(1, header)
        header = b.end()
    b.finish(b.message(HEADER_DICTIONARY if dictionary_id >= 0 else HEADER_BATCH, header, 0, metadata, True,
                       &body_length))
    total = 8 + <int64_t> b.used
    t.header = b.framed()
    t.body_length_at = total - body_length
    t.length_at = total - length
    t.nodes_at = total - nodes + 4
    t.buffers_at = total - buffers + 4
    t.n_nodes = n_nodes
    t.n_buffers = n_buffers
    return t


cdef struct Piece:
    const void *data
    size_t size


@cython.final
cdef class Encoder:
    """Turns one batch into pieces to gather: header, buffers, padding. Reused; one thread."""
    cdef Piece *pieces
    cdef size_t n_pieces
    cdef size_t max_pieces
    cdef int64_t *numbers           # nodes (length, nulls), then buffers (offset, size), of this message
    cdef size_t max_numbers
    cdef size_t n_node_numbers
    cdef size_t n_buffer_numbers
    cdef int64_t *buffer_numbers
    cdef int64_t body
    cdef list variadic
    cdef list keep
    cdef size_t header_slot         # piece that is the header of the last batch
    cdef int n_buffers              # of the last batch

    @staticmethod
    cdef Encoder new():
        cdef Encoder e = Encoder.__new__(Encoder)
        e.max_pieces = 64
        e.pieces = <Piece *> checked_alloc(e.max_pieces * sizeof(Piece))
        e.keep = []
        return e

    def __init__(self):
        raise TypeError("Encoder is created by the core only")

    def __dealloc__(self):
        free(self.pieces)
        free(self.numbers)

    cdef void clear(self) noexcept:
        self.n_pieces = 0
        if self.keep:
            self.keep = []

    cdef int piece(self, const void *data, size_t size) except -1:
        if size == 0:
            return 0
        if self.n_pieces == self.max_pieces:
            self.pieces = <Piece *> checked_realloc(self.pieces, 2 * self.max_pieces * sizeof(Piece))
            self.max_pieces *= 2
        self.pieces[self.n_pieces].data = data
        self.pieces[self.n_pieces].size = size
        self.n_pieces += 1
        return 0

    cdef bytes joined(self):
        cdef size_t total = 0
        cdef size_t i
        cdef bytes out
        cdef char *at
        for i in range(self.n_pieces):
            total += self.pieces[i].size
        out = PyBytes_FromStringAndSize(NULL, total)
        at = PyBytes_AS_STRING(out)
        for i in range(self.n_pieces):
            memcpy(at, self.pieces[i].data, self.pieces[i].size)
            at += self.pieces[i].size
        return out

    cdef uint8_t *scratch(self, size_t size) except NULL:
        cdef Block block = Block.new(size)
        self.keep.append(block)
        return block.data

    cdef int buffer(self, const void *data, int64_t size) except -1:
        cdef int64_t padding = -size & 7
        self.buffer_numbers[self.n_buffer_numbers] = self.body
        self.buffer_numbers[self.n_buffer_numbers + 1] = size
        self.n_buffer_numbers += 2
        self.piece(data, size)
        self.piece(EMPTY, padding)
        self.body += size + padding
        return 0

    cdef int bits(self, const uint8_t *bitmap, int64_t offset, int64_t length) except -1:
        cdef int64_t size = (length + 7) >> 3
        cdef uint8_t *copy
        if offset & 7:
            copy = self.scratch(size)
            copy_bits(copy, bitmap, offset, length)
            return self.buffer(copy, size)
        return self.buffer(bitmap + (offset >> 3), size)

    cdef int column(self, PlanNode *p, Node *n, int64_t skip, int64_t length) except -1:
        """Rows [skip, skip + length) of n, relative to its own offset."""
        cdef int64_t at = n.offset + skip
        cdef int64_t nulls = 0
        cdef int layout = p.layout
        cdef int32_t i, child
        if layout == L_NULL:
            nulls = length
        elif layout < L_SPARSE or layout == L_DICTIONARY:
            if n.buf[0] != NULL and n.null_count != 0:
                if length == n.length and n.null_count > 0:
                    nulls = n.null_count
                else:
                    nulls = length - count_set(n.buf[0], at, length)
        self.numbers[self.n_node_numbers] = length
        self.numbers[self.n_node_numbers + 1] = nulls
        self.n_node_numbers += 2
        if layout == L_NULL:
            return 0
        if layout == L_RUNS:
            return self.runs(p, n, at, length)
        if layout < L_SPARSE or layout == L_DICTIONARY:
            if nulls:
                self.bits(n.buf[0], at, length)
            else:
                self.buffer(NULL, 0)
        if layout == L_FIXED or layout == L_DICTIONARY:
            return self.buffer(n.buf[1] + at * p.width, length * p.width)
        if layout == L_BITS:
            return self.bits(n.buf[1], at, length)
        if layout == L_VAR32 or layout == L_VAR64:
            return self.texts(p, n, at, length)
        if layout == L_VIEW:
            self.buffer(n.buf[1] + 16 * at, 16 * length)
            for i in range(n.n_data):
                self.buffer(n.data[i], n.data_size[i])
            return 0
        if layout == L_LIST32 or layout == L_LIST64:
            return self.lists(p, n, at, length)
        if layout == L_FIXED_LIST:
            return self.column(p + 1, n + 1, at * p.list_size, length * p.list_size)
        if layout == L_LISTVIEW32 or layout == L_LISTVIEW64:
            child = 4 if layout == L_LISTVIEW32 else 8
            self.buffer(n.buf[1] + at * child, length * child)
            self.buffer(n.buf[2] + at * child, length * child)
            return self.column(p + 1, n + 1, 0, n[1].length)
        if layout == L_SPARSE or layout == L_DENSE:
            self.buffer(n.buf[0] + at, length)
        if layout == L_DENSE:
            self.buffer(n.buf[1] + 4 * at, 4 * length)
        child = 1
        for _ in range(p.n_children):
            if layout == L_DENSE:
                self.column(p + child, n + child, 0, n[child].length)
            else:
                self.column(p + child, n + child, at, length)
            child += p[child].span
        return 0

    cdef int offsets(self, const uint8_t *data, int width, int64_t length, int64_t *first, int64_t *last) except -1:
        """Emit ``length + 1`` offsets that start at 0; reports the range of elements they cover."""
        cdef int64_t i
        cdef uint8_t *copy
        if length == 0 or data == NULL:
            first[0] = last[0] = 0
            return self.buffer(EMPTY, width)
        first[0] = load_i32(data) if width == 4 else load_i64(data)
        last[0] = load_i32(data + length * width) if width == 4 else load_i64(data + length * width)
        if first[0] == 0:
            return self.buffer(data, (length + 1) * width)
        copy = self.scratch((length + 1) * width)
        if width == 4:
            for i in range(length + 1):
                (<int32_t *> copy)[i] = (<const int32_t *> data)[i] - <int32_t> first[0]
        else:
            for i in range(length + 1):
                (<int64_t *> copy)[i] = (<const int64_t *> data)[i] - first[0]
        return self.buffer(copy, (length + 1) * width)

    cdef int texts(self, PlanNode *p, Node *n, int64_t at, int64_t length) except -1:
        cdef int64_t first = 0, last = 0
        cdef int width = 4 if p.layout == L_VAR32 else 8
        self.offsets(n.buf[1] + at * width if n.buf[1] != NULL else NULL, width, length, &first, &last)
        return self.buffer(n.buf[2] + first, last - first)

    cdef int lists(self, PlanNode *p, Node *n, int64_t at, int64_t length) except -1:
        cdef int64_t first = 0, last = 0
        cdef int width = 4 if p.layout == L_LIST32 else 8
        self.offsets(n.buf[1] + at * width if n.buf[1] != NULL else NULL, width, length, &first, &last)
        return self.column(p + 1, n + 1, first, last - first)

    cdef int runs(self, PlanNode *p, Node *n, int64_t at, int64_t length) except -1:
        cdef int id = p[1].type
        cdef int width = p[1].width
        cdef int64_t first, count, i, end
        cdef uint8_t *copy
        if length == 0 or n[1].length == 0:
            self.column(p + 1, n + 1, 0, 0)
            return self.column(p + 2, n + 2, 0, 0)
        first = run_of(id, n + 1, at)
        count = run_of(id, n + 1, at + length - 1) - first + 1
        copy = self.scratch(count * width)
        for i in range(count):
            end = min(index_at(id, n[1].buf[1], n[1].offset + first + i) - at, length)
            memcpy(copy + i * width, &end, width)
        self.numbers[self.n_node_numbers] = count
        self.numbers[self.n_node_numbers + 1] = 0
        self.n_node_numbers += 2
        self.buffer(NULL, 0)
        self.buffer(copy, count * width)
        return self.column(p + 2, n + 2, first, count)

    cdef int reserve(self, PlanNode *p, Node *n, int32_t count) except -1:
        """Room for the numbers of ``count`` plan nodes, counting buffers as they will be emitted."""
        cdef int32_t i
        cdef size_t n_buffers = 0
        cdef size_t wanted
        self.variadic = None
        for i in range(count):
            if p[i].layout == L_VIEW:
                n_buffers += 2 + n[i].n_data
                if self.variadic is None:
                    self.variadic = []
                self.variadic.append(n[i].n_data)
            else:
                n_buffers += p[i].n_buffers
        wanted = 2 * (<size_t> count + n_buffers) + 2
        if wanted > self.max_numbers:
            self.numbers = <int64_t *> checked_realloc(self.numbers, wanted * sizeof(int64_t))
            self.max_numbers = wanted
        self.buffer_numbers = self.numbers + 2 * count
        self.n_node_numbers = 0
        self.n_buffer_numbers = 0
        self.body = 0
        return <int> n_buffers

    cdef int header(self, BatchTemplate t, size_t slot, int64_t length) except -1:
        """Patch a copy of the template; it becomes piece ``slot``, which was left free for it."""
        cdef size_t size = PyBytes_GET_SIZE(t.header)
        cdef uint8_t *p = self.scratch(size)
        memcpy(p, PyBytes_AS_STRING(t.header), size)
        memcpy(p + t.body_length_at, &self.body, 8)
        memcpy(p + t.length_at, &length, 8)
        memcpy(p + t.nodes_at, self.numbers, 16 * t.n_nodes)
        memcpy(p + t.buffers_at, self.buffer_numbers, 16 * t.n_buffers)
        self.pieces[slot].data = p
        self.pieces[slot].size = size
        return 0

    cdef int batch(self, Schema schema, Nodes nodes, int64_t length, object metadata) except -1:
        cdef Py_ssize_t i
        self.n_buffers = self.reserve(schema.plan, nodes.at, schema.n_nodes)
        self.header_slot = self.n_pieces
        self.piece(EMPTY, 1)
        self.keep.append(nodes)
        for i in range(len(schema.fields)):
            self.column(schema.plan + schema.tops[i], nodes.at + schema.tops[i], 0, length)
        return self.head(schema, length, metadata)

    cdef int head(self, Schema schema, int64_t length, object metadata) except -1:
        """Header of the last batch, or another instead."""
        return self.header(self.template(schema, self.n_buffers, metadata), self.header_slot, length)

    cdef BatchTemplate template(self, Schema schema, int n_buffers, object metadata):
        if self.variadic is not None:
            return make_template(schema.n_nodes, n_buffers, self.variadic, metadata, -1)
        if not metadata:
            if schema.plain is None:
                schema.plain = make_template(schema.n_nodes, n_buffers, None, None, -1)
            return schema.plain
        if schema.recent is None or schema.recent_metadata != metadata:
            schema.recent = make_template(schema.n_nodes, n_buffers, None, metadata, -1)
            schema.recent_metadata = dict(metadata)
        return schema.recent

    cdef int dictionary(self, int64_t id, PlanNode *values, Node *n) except -1:
        cdef int n_buffers = self.reserve(values, n, values.span)
        cdef size_t slot = self.n_pieces
        self.piece(EMPTY, 1)
        self.column(values, n, 0, n.length)
        return self.header(make_template(values.span, n_buffers, self.variadic, None, id), slot, n.length)


cdef int64_t node_bytes(PlanNode *p, Node *n, int64_t skip, int64_t length) except -1:
    """Bytes that the rows would take in a message body."""
    cdef Encoder e = Encoder.new()
    e.reserve(p, n, p.span)
    e.column(p, n, skip, length)
    return e.body
