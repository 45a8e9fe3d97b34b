# Owns: the Arrow C Data Interface, both directions: schemas here, arrays as nodes.
# May use: types, debug.
# Invariant: an exported array holds one reference to the Nodes behind it until its release callback ran;
#   an imported array is moved into an Imported object, which calls the producer's release once.

cdef extern from *:
    """
    #ifndef ARROW_C_DATA_INTERFACE
    #define ARROW_C_DATA_INTERFACE
    #define ARROW_FLAG_DICTIONARY_ORDERED 1
    #define ARROW_FLAG_NULLABLE 2
    #define ARROW_FLAG_MAP_KEYS_SORTED 4
    struct ArrowSchema {
      const char *format;
      const char *name;
      const char *metadata;
      int64_t flags;
      int64_t n_children;
      struct ArrowSchema **children;
      struct ArrowSchema *dictionary;
      void (*release)(struct ArrowSchema *);
      void *private_data;
    };
    struct ArrowArray {
      int64_t length;
      int64_t null_count;
      int64_t offset;
      int64_t n_buffers;
      int64_t n_children;
      const void **buffers;
      struct ArrowArray **children;
      struct ArrowArray *dictionary;
      void (*release)(struct ArrowArray *);
      void *private_data;
    };
    #endif
    """
    struct ArrowSchema:
        const char *format
        const char *name
        const char *metadata
        int64_t flags
        int64_t n_children
        ArrowSchema **children
        ArrowSchema *dictionary
        void (*release)(ArrowSchema *) noexcept
        void *private_data
    struct ArrowArray:
        int64_t length
        int64_t null_count
        int64_t offset
        int64_t n_buffers
        int64_t n_children
        const void **buffers
        ArrowArray **children
        ArrowArray *dictionary
        void (*release)(ArrowArray *) noexcept
        void *private_data

cdef enum:
    FLAG_ORDERED = 1
    FLAG_NULLABLE = 2
    FLAG_KEYS_SORTED = 4

cdef dict FORMATS = {
    T_NULL: b"n", T_BOOL: b"b", T_INT8: b"c", T_INT16: b"s", T_INT32: b"i", T_INT64: b"l",
    T_UINT8: b"C", T_UINT16: b"S", T_UINT32: b"I", T_UINT64: b"L",
    T_FLOAT16: b"e", T_FLOAT32: b"f", T_FLOAT64: b"g", T_DATE32: b"tdD", T_DATE64: b"tdm",
    T_INTERVAL_MONTHS: b"tiM", T_INTERVAL_DAY_TIME: b"tiD", T_INTERVAL_MONTH_DAY_NANO: b"tin",
    T_UTF8: b"u", T_LARGE_UTF8: b"U", T_UTF8_VIEW: b"vu", T_BINARY: b"z", T_LARGE_BINARY: b"Z", T_BINARY_VIEW: b"vz",
    T_LIST: b"+l", T_LARGE_LIST: b"+L", T_LIST_VIEW: b"+vl", T_LARGE_LIST_VIEW: b"+vL",
    T_STRUCT: b"+s", T_MAP: b"+m", T_RUN_END_ENCODED: b"+r",
}
cdef dict FORMAT_TYPES = {f.decode(): t for t, f in FORMATS.items()}
cdef bytes UNIT_LETTERS = b"smun"


# ---- schemas out ----

cdef bytes format_of(DataType t):
    cdef bytes unit
    if t.id == T_DICTIONARY:
        return format_of(t.index_type)
    found = FORMATS.get(t.id)
    if found is not None:
        return found
    if T_DECIMAL32 <= t.id <= T_DECIMAL256:
        bits = f",{8 * t.width_}" if t.id != T_DECIMAL128 else ""
        return f"d:{t.precision},{t.scale}{bits}".encode()
    if t.unit_ >= 0:
        unit = UNIT_LETTERS[t.unit_:t.unit_ + 1]
        if t.id == T_TIMESTAMP:
            return b"ts" + unit + b":" + (t.timezone or "").encode()
        return (b"tD" if t.id == T_DURATION else b"tt") + unit
    if t.id == T_FIXED_SIZE_BINARY:
        return f"w:{t.width_}".encode()
    if t.id == T_FIXED_SIZE_LIST:
        return f"+w:{t.list_size}".encode()
    return (b"+us:" if t.id == T_SPARSE_UNION else b"+ud:") + ",".join([str(c) for c in t.type_codes]).encode()


cdef bytes packed_metadata(dict metadata):
    cdef bytearray out = bytearray()
    out += len(metadata).to_bytes(4, "little")
    for key, value in metadata.items():
        out += len(key).to_bytes(4, "little") + key + len(value).to_bytes(4, "little") + value
    return bytes(out)


cdef char *copied(bytes text) except NULL:
    cdef char *p = <char *> checked_alloc(PyBytes_GET_SIZE(text) + 1)
    memcpy(p, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text) + 1)
    return p


cdef void release_schema(ArrowSchema *s) noexcept with gil:
    cdef int64_t i
    for i in range(s.n_children):
        if s.children[i] != NULL:
            if s.children[i].release != NULL:
                s.children[i].release(s.children[i])
            free(s.children[i])
    free(s.children)
    if s.dictionary != NULL:
        if s.dictionary.release != NULL:
            s.dictionary.release(s.dictionary)
        free(s.dictionary)
    free(<void *> s.format)
    free(<void *> s.name)
    free(<void *> s.metadata)
    s.release = NULL


cdef int fill_schema(ArrowSchema *s, str name, DataType t, bint nullable, dict metadata) except -1:
    cdef Field child
    cdef int64_t i
    memset(s, 0, sizeof(ArrowSchema))
    s.release = release_schema
    s.format = copied(format_of(t))
    s.name = copied(name.encode())
    if metadata:
        s.metadata = copied(packed_metadata(metadata))
    s.flags = FLAG_NULLABLE if nullable else 0
    if t.flag:
        s.flags |= FLAG_ORDERED if t.id == T_DICTIONARY else FLAG_KEYS_SORTED
    if t.children:
        s.children = <ArrowSchema **> calloc(len(t.children), sizeof(ArrowSchema *))
        if s.children == NULL:
            raise MemoryError()
        s.n_children = len(t.children)
        for i in range(s.n_children):
            child = <Field> t.children[i]
            s.children[i] = <ArrowSchema *> calloc(1, sizeof(ArrowSchema))
            if s.children[i] == NULL:
                raise MemoryError()
            fill_schema(s.children[i], child.name, child.type, child.nullable, child.metadata_)
    if t.id == T_DICTIONARY:
        s.dictionary = <ArrowSchema *> calloc(1, sizeof(ArrowSchema))
        if s.dictionary == NULL:
            raise MemoryError()
        fill_schema(s.dictionary, "", t.dictionary_values, True, None)
    return 0


cdef void drop_schema_capsule(object capsule) noexcept:
    cdef ArrowSchema *s = <ArrowSchema *> PyCapsule_GetPointer(capsule, "arrow_schema")
    if s.release != NULL:
        s.release(s)
    free(s)


cdef object export_field(str name, DataType t, bint nullable, dict metadata):
    cdef ArrowSchema *s = <ArrowSchema *> calloc(1, sizeof(ArrowSchema))
    if s == NULL:
        raise MemoryError()
    capsule = PyCapsule_New(s, "arrow_schema", drop_schema_capsule)
    fill_schema(s, name, t, nullable, metadata)
    return capsule


cdef DataType struct_of(tuple fields):
    cdef DataType t = DataType.new(T_STRUCT)
    t.children = fields
    return t


cdef object export_schema(Schema schema):
    return export_field("", struct_of(schema.fields), False, schema.metadata_)


# ---- schemas in ----

cdef Field import_field(object capsule):
    cdef ArrowSchema *s = <ArrowSchema *> PyCapsule_GetPointer(capsule, "arrow_schema")
    if s.release == NULL:
        raise ProtocolError("an Arrow schema capsule that was already released")
    return read_c_field(s, 0)


cdef Schema import_schema(object capsule):
    cdef Field f = import_field(capsule)
    if f.type.id != T_STRUCT:
        raise TypeError(f"expected a schema, got the type {f.type}")
    return Schema.new(f.type.children, f.metadata_)


cdef dict unpack_metadata(const char *p):
    # A C producer is in this process and trusted; the layout carries no total length to check against.
    cdef const uint8_t *at = <const uint8_t *> p
    cdef int32_t n = load_i32(at)
    cdef int32_t size
    cdef dict out = {}
    at += 4
    for _ in range(n):
        size = load_i32(at)
        key = PyBytes_FromStringAndSize(<const char *> at + 4, size)
        at += 4 + size
        size = load_i32(at)
        out.setdefault(key, PyBytes_FromStringAndSize(<const char *> at + 4, size))
        at += 4 + size
    return out or None


cdef Field read_c_field(ArrowSchema *s, int depth):
    cdef DataType t
    cdef int64_t i
    cdef list children = []
    if depth > MAX_DEPTH:
        raise ProtocolError(f"types nest deeper than {MAX_DEPTH} levels")
    for i in range(s.n_children):
        children.append(read_c_field(s.children[i], depth + 1))
    t = type_of_format(s.format.decode(), children, (s.flags & FLAG_KEYS_SORTED) != 0)
    if s.dictionary != NULL:
        t = dictionary_type(t, read_c_field(s.dictionary, depth + 1).type, (s.flags & FLAG_ORDERED) != 0)
    name = s.name.decode() if s.name != NULL else ""
    return Field.new(name, t, (s.flags & FLAG_NULLABLE) != 0,
                     unpack_metadata(s.metadata) if s.metadata != NULL else None)


cdef DataType type_of_format(str f, list children, bint keys_sorted):
    cdef DataType t
    if f in FORMAT_TYPES:
        t = DataType.new(FORMAT_TYPES[f])
        t.children = tuple(children)
        t.flag = keys_sorted and t.id == T_MAP
    elif f.startswith("d:"):
        parts = [int(x) for x in f[2:].split(",")]
        bits = parts[2] if len(parts) > 2 else 128
        t = DataType.new({32: T_DECIMAL32, 64: T_DECIMAL64, 128: T_DECIMAL128, 256: T_DECIMAL256}[bits])
        t.precision, t.scale = parts[0], parts[1]
    elif f.startswith("ts"):
        t = DataType.new(T_TIMESTAMP)
        t.unit_ = UNIT_LETTERS.index(f[2].encode())
        t.timezone = f[4:] or None
    elif f.startswith("tD"):
        t = DataType.new(T_DURATION)
        t.unit_ = UNIT_LETTERS.index(f[2].encode())
    elif f.startswith("tt"):
        t = DataType.new(T_TIME32 if f[2] in "sm" else T_TIME64)
        t.unit_ = UNIT_LETTERS.index(f[2].encode())
    elif f.startswith("w:"):
        t = DataType.new(T_FIXED_SIZE_BINARY)
        t.width_ = int(f[2:])
    elif f.startswith("+w:"):
        t = list_type(T_FIXED_SIZE_LIST, children[0], int(f[3:]))
    elif f.startswith("+us:") or f.startswith("+ud:"):
        codes = [int(c) for c in f[4:].split(",")] if len(f) > 4 else []
        t = union_type(T_SPARSE_UNION if f[2] == "s" else T_DENSE_UNION, children, codes)
    else:
        raise TypeMismatchError(f"Arrow format {f!r} is not supported")
    return t


# ---- arrays: the one form of columns inside this module ----

ctypedef struct Node:
    int64_t length
    int64_t null_count          # -1 where unknown
    int64_t offset
    const uint8_t *buf[3]       # as in the layout; buf[0] is NULL where nothing is null
    int64_t size[3]             # bytes, 0 where unknown
    const uint8_t **data        # views only: n_data buffers and their sizes
    int64_t *data_size
    int32_t n_data
    Node *dictionary            # dictionary layout only: nodes of the values


@cython.final
cdef class Nodes:
    """Column trees in plan order, and what keeps their buffers alive. Read-only once filled; any thread."""
    cdef Node *at
    cdef int32_t count
    cdef bint borrows_data          # data and data_size belong to another Nodes in ``keep``
    cdef object keep
    cdef object keep_more           # dictionaries, scratch

    @staticmethod
    cdef Nodes new(int32_t count, object keep):
        cdef Nodes n = Nodes.__new__(Nodes)
        n.at = <Node *> calloc(count if count else 1, sizeof(Node))
        if n.at == NULL:
            raise MemoryError()
        n.count = count
        n.keep = keep
        return n

    def __dealloc__(self):
        cdef int32_t i
        if self.at != NULL and not self.borrows_data:
            for i in range(self.count):
                if self.at[i].data != NULL:
                    free(self.at[i].data)
                    free(self.at[i].data_size)
        free(self.at)

    cdef int hold(self, object more) except -1:
        if self.keep_more is None:
            self.keep_more = [more]
        else:
            (<list> self.keep_more).append(more)
        return 0


@cython.final
cdef class Imported:
    """An ArrowArray moved out of its producer; released when the last view of it is gone."""
    cdef ArrowArray array

    def __dealloc__(self):
        if self.array.release != NULL:
            self.array.release(&self.array)


cdef int import_nodes(PlanNode *p, ArrowArray *a, Node *n, int64_t extra_offset, int64_t length, Nodes owner) except -1:
    """Fill n (and its subtree) from ``a``, whose producer is in this process and trusted."""
    cdef int32_t i, child, k
    cdef int64_t count
    n.length = length
    n.offset = a.offset + extra_offset
    n.null_count = a.null_count if length == a.length else -1
    count = a.n_buffers
    if p.layout == L_VIEW:
        import_view_buffers(a, n)
    elif count != p.n_buffers and not (p.layout in (L_SPARSE, L_DENSE) and count == p.n_buffers + 1):
        raise TypeMismatchError(f"an imported array has {count} buffers where its type has {p.n_buffers}")
    else:
        for k in range(p.n_buffers):
            n.buf[k] = <const uint8_t *> a.buffers[k + (count - p.n_buffers)]
    if p.layout == L_NULL:
        n.null_count = length
    elif p.layout in (L_SPARSE, L_DENSE, L_RUNS):
        n.null_count = 0
    elif n.null_count == 0:
        n.buf[0] = NULL
    elif n.buf[0] == NULL:
        n.null_count = 0
    if a.n_children != p.n_children:
        raise TypeMismatchError(f"an imported array has {a.n_children} children where its type has {p.n_children}")
    child = 1
    for i in range(p.n_children):
        import_nodes(p + child, a.children[i], n + child, 0, a.children[i].length, owner)
        child += p[child].span
    if p.layout == L_DICTIONARY:
        import_dictionary(p, a, n, owner)
    return 0


cdef int import_dictionary(PlanNode *p, ArrowArray *a, Node *n, Nodes owner) except -1:
    cdef Nodes values
    if a.dictionary == NULL:
        raise TypeMismatchError("an imported dictionary array has no dictionary")
    values = Nodes.new(p.values_span, owner.keep)
    import_nodes(p.values, a.dictionary, values.at, 0, a.dictionary.length, values)
    n.dictionary = values.at
    owner.hold(values)
    return 0


cdef int import_view_buffers(ArrowArray *a, Node *n) except -1:
    cdef int64_t k
    cdef int64_t n_data = a.n_buffers - 3
    if n_data < 0:
        raise TypeMismatchError(f"an imported view array has {a.n_buffers} buffers, at least 3 are needed")
    n.buf[0] = <const uint8_t *> a.buffers[0]
    n.buf[1] = <const uint8_t *> a.buffers[1]
    n.data = <const uint8_t **> checked_alloc(n_data * sizeof(void *))
    n.data_size = <int64_t *> checked_alloc(n_data * sizeof(int64_t))
    n.n_data = <int32_t> n_data
    for k in range(n_data):
        n.data[k] = <const uint8_t *> a.buffers[2 + k]
        n.data_size[k] = (<const int64_t *> a.buffers[2 + n_data])[k]
    return 0


# ---- arrays out ----

cdef struct Exported:
    PyObject *owner
    void *buffers


cdef void release_array(ArrowArray *a) noexcept with gil:
    cdef int64_t i
    cdef Exported *mine = <Exported *> a.private_data
    if VGI_FAST_DEBUG:
        global live_exports
        live_exports -= 1
    for i in range(a.n_children):
        if a.children[i] != NULL:
            if a.children[i].release != NULL:
                a.children[i].release(a.children[i])
            free(a.children[i])
    free(a.children)
    if a.dictionary != NULL:
        if a.dictionary.release != NULL:
            a.dictionary.release(a.dictionary)
        free(a.dictionary)
    Py_XDECREF(mine.owner)
    free(mine.buffers)
    free(mine)
    a.release = NULL


cdef int export_nodes(PlanNode *p, Node *n, ArrowArray *a, object owner) except -1:
    cdef Exported *mine = <Exported *> calloc(1, sizeof(Exported))
    cdef int32_t i, child
    cdef int32_t n_buffers = p.n_buffers + (n.n_data if p.layout == L_VIEW else 0)
    if mine == NULL:
        raise MemoryError()
    memset(a, 0, sizeof(ArrowArray))
    a.private_data = mine
    a.release = release_array
    if VGI_FAST_DEBUG:
        global live_exports
        live_exports += 1
    Py_INCREF(owner)
    mine.owner = <PyObject *> owner
    a.length = n.length
    a.null_count = n.null_count
    a.offset = n.offset
    if p.layout == L_VIEW:
        n_buffers = 3 + n.n_data
    mine.buffers = calloc(n_buffers + 1, sizeof(void *))
    if mine.buffers == NULL:
        raise MemoryError()
    a.buffers = <const void **> mine.buffers
    a.n_buffers = n_buffers
    if p.layout == L_VIEW:
        a.buffers[0] = n.buf[0]
        a.buffers[1] = n.buf[1]
        for i in range(n.n_data):
            a.buffers[2 + i] = n.data[i]
        a.buffers[2 + n.n_data] = <const void *> n.data_size if n.data_size != NULL else <const void *> EMPTY
    else:
        for i in range(p.n_buffers):
            a.buffers[i] = n.buf[i]
            if n.buf[i] == NULL and (i > 0 or p.layout in (L_SPARSE, L_DENSE)):
                a.buffers[i] = <const void *> EMPTY
    if p.n_children:
        a.children = <ArrowArray **> calloc(p.n_children, sizeof(ArrowArray *))
        if a.children == NULL:
            raise MemoryError()
        a.n_children = p.n_children
        child = 1
        for i in range(p.n_children):
            a.children[i] = <ArrowArray *> calloc(1, sizeof(ArrowArray))
            if a.children[i] == NULL:
                raise MemoryError()
            export_nodes(p + child, n + child, a.children[i], owner)
            child += p[child].span
    if p.layout == L_DICTIONARY:
        a.dictionary = <ArrowArray *> calloc(1, sizeof(ArrowArray))
        if a.dictionary == NULL:
            raise MemoryError()
        export_nodes(p.values, n.dictionary, a.dictionary, owner)
    return 0


# Stands in for absent data buffers; 64 zero bytes are a valid empty offsets buffer too.
cdef uint8_t[64] EMPTY
memset(EMPTY, 0, 64)


cdef void drop_array_capsule(object capsule) noexcept:
    cdef ArrowArray *a = <ArrowArray *> PyCapsule_GetPointer(capsule, "arrow_array")
    if a.release != NULL:
        a.release(a)
    free(a)


cdef object array_capsule(PlanNode *p, Node *n, object owner):
    cdef ArrowArray *a = <ArrowArray *> calloc(1, sizeof(ArrowArray))
    if a == NULL:
        raise MemoryError()
    capsule = PyCapsule_New(a, "arrow_array", drop_array_capsule)
    export_nodes(p, n, a, owner)
    return capsule
