# Owns: Array and RecordBatch, the objects around nodes.
# May use: types, cdata.

@cython.final
cdef class Array:
    """Immutable; any thread. ``node`` points into ``owner``."""
    cdef readonly DataType type
    cdef Nodes owner
    cdef Node *node

    def __init__(self):
        raise TypeError("use Array.from_arrow, Array.from_numpy, Array.from_pylist or Array.coerce")

    @staticmethod
    cdef Array new(DataType type, Nodes owner, Node *node):
        cdef Array a = Array.__new__(Array)
        a.type = type
        a.owner = owner
        a.node = node
        return a

    @staticmethod
    def from_arrow(value):
        return import_array(value)

    @staticmethod
    def from_pylist(values, type):
        return array_of_values(list(values), DataType.of(type))

    @staticmethod
    def from_numpy(values, type, mask=None):
        return array_of_numpy(values, DataType.of(type), mask)

    @staticmethod
    def coerce(value, type):
        return coerce_array(value, DataType.of(type))

    @property
    def null_count(self):
        return count_nulls(self.type.own_plan(), self.node)

    @property
    def nbytes(self):
        return node_bytes(self.type.own_plan(), self.node, 0, self.node.length)

    def valid(self):
        return valid_mask(self)

    def to_numpy(self):
        return numpy_of_array(self)

    def to_pylist(self):
        cdef PlanNode *p = self.type.own_plan()
        cdef int64_t i
        return [value_at(self.type, p, self.node, i) for i in range(self.node.length)]

    def to_arrow(self):
        return arrow_of_array(self)

    def slice(self, Py_ssize_t offset, Py_ssize_t length):
        if offset < 0 or length < 0 or offset > self.node.length - length:
            raise IndexError(f"slice {offset}:{offset}+{length} of an array of {self.node.length}")
        return sliced(self, offset, length)

    def cast(self, type):
        return cast_array(self, DataType.of(type))

    def __len__(self):
        return self.node.length

    def __getitem__(self, Py_ssize_t i):
        if i < 0:
            i += self.node.length
        if not 0 <= i < self.node.length:
            raise IndexError(f"index {i} in an array of {self.node.length}")
        return value_at(self.type, self.type.own_plan(), self.node, i)

    def __iter__(self):
        return iter(self.to_pylist())

    def __arrow_c_schema__(self):
        return export_field("", self.type, True, None)

    def __arrow_c_array__(self, requested_schema=None):
        return export_field("", self.type, True, None), array_capsule(self.type.own_plan(), self.node, self.owner)

    def __repr__(self):
        return f"<vgi_fast.Array {type_text(self.type)}[{self.node.length}]>"


cdef Array import_array(object value):
    cdef Imported held
    cdef Nodes nodes
    cdef DataType t
    if isinstance(value, Array):
        return value
    if not hasattr(value, "__arrow_c_array__"):
        raise TypeError(f"expected an object with __arrow_c_array__, got {type(value).__name__}")
    schema, array = value.__arrow_c_array__()
    t = import_field(schema).type
    held = hold_import(array)
    nodes = Nodes.new(0, held)
    free(nodes.at)
    nodes.at = <Node *> calloc(node_count(t), sizeof(Node))
    if nodes.at == NULL:
        raise MemoryError()
    nodes.count = t.span
    import_nodes(t.plan, &held.array, nodes.at, 0, held.array.length, nodes)
    return Array.new(t, nodes, nodes.at)


cdef int32_t node_count(DataType t) except -1:
    t.own_plan()
    return t.span


cdef Imported hold_import(object capsule):
    """Move the array out of its capsule."""
    cdef ArrowArray *source = <ArrowArray *> PyCapsule_GetPointer(capsule, "arrow_array")
    cdef Imported held = Imported.__new__(Imported)
    if source.release == NULL:
        raise TypeError("an Arrow array capsule that was already consumed")
    held.array = source[0]
    source.release = NULL
    return held


cdef Array sliced(Array a, int64_t offset, int64_t length):
    cdef int32_t span = node_count(a.type)
    cdef Nodes nodes = Nodes.new(span, a.owner)
    nodes.borrows_data = True
    memcpy(nodes.at, a.node, span * sizeof(Node))
    nodes.at[0].offset += offset
    nodes.at[0].length = length
    if length != a.node.length and nodes.at[0].null_count != 0:
        nodes.at[0].null_count = length if a.type.id == T_NULL else -1
    return Array.new(a.type, nodes, nodes.at)


cdef object arrow_of_array(Array a):
    import pyarrow
    schema, array = a.__arrow_c_array__()
    return pyarrow.Array._import_from_c_capsule(schema, array)


cdef int64_t count_nulls(PlanNode *p, Node *n) noexcept:
    if p.layout == L_NULL:
        return n.length
    if n.null_count < 0:
        n.null_count = n.length - count_set(n.buf[0], n.offset, n.length) if n.buf[0] != NULL else 0
    return n.null_count


@cython.final
cdef class RecordBatch:
    """Immutable; any thread."""
    cdef readonly Schema schema
    cdef Nodes nodes
    cdef int64_t length
    cdef dict metadata_

    def __init__(self, Schema schema not None, columns, num_rows=None, metadata=None):
        build_batch(self, schema, list(columns), -1 if num_rows is None else num_rows, clean_metadata(metadata))

    @staticmethod
    cdef RecordBatch new(Schema schema, Nodes nodes, int64_t length, dict metadata):
        cdef RecordBatch b = RecordBatch.__new__(RecordBatch)
        b.schema = schema
        b.nodes = nodes
        b.length = length
        b.metadata_ = metadata
        return b

    @staticmethod
    def from_arrow(value):
        return import_batch(value)

    @staticmethod
    def from_pydict(Schema schema not None, columns):
        arrays = [array_of_values(list(columns[f.name]), f.type) for f in schema.fields]
        return RecordBatch(schema, arrays)

    @staticmethod
    def from_row(Schema schema not None, row):
        return batch_of_row(schema, row)

    @property
    def num_rows(self):
        return self.length

    @property
    def num_columns(self):
        return len(self.schema.fields)

    @property
    def metadata(self):
        return dict(self.metadata_) if self.metadata_ else {}

    cdef Array take_column(self, Py_ssize_t i):
        return Array.new((<Field> self.schema.fields[i]).type, self.nodes, self.nodes.at + self.schema.tops[i])

    def column(self, key):
        cdef Py_ssize_t i = self.schema.positions[key] if isinstance(key, str) else key
        if not 0 <= i < len(self.schema.fields):
            raise IndexError(f"column {i} of a batch with {len(self.schema.fields)} columns")
        return self.take_column(i)

    @property
    def columns(self):
        return [self.take_column(i) for i in range(len(self.schema.fields))]

    def row(self, Py_ssize_t index):
        cdef dict out = {}
        cdef Py_ssize_t i
        cdef Field f
        if not 0 <= index < self.length:
            raise IndexError(f"row {index} of a batch with {self.length} rows")
        for i in range(len(self.schema.fields)):
            f = <Field> self.schema.fields[i]
            if f.name not in out:
                out[f.name] = value_at(f.type, self.schema.plan + self.schema.tops[i],
                                       self.nodes.at + self.schema.tops[i], index)
        return out

    def with_metadata(self, metadata):
        return RecordBatch.new(self.schema, self.nodes, self.length, clean_metadata(metadata))

    def select(self, indices):
        cdef list chosen = list(indices)
        cdef Schema narrowed = self.schema.select(chosen)
        return RecordBatch(narrowed, [self.take_column(i) for i in chosen], self.length, self.metadata_)

    def slice(self, Py_ssize_t offset, Py_ssize_t length):
        if offset < 0 or length < 0 or offset > self.length - length:
            raise IndexError(f"slice {offset}:{offset}+{length} of a batch of {self.length} rows")
        return RecordBatch(self.schema, [sliced(self.take_column(i), offset, length)
                                         for i in range(len(self.schema.fields))], length, self.metadata_)

    def to_pydict(self):
        return {(<Field> f).name: self.column((<Field> f).name).to_pylist() for f in self.schema.fields}

    def to_arrow(self):
        import pyarrow
        schema, array = self.__arrow_c_array__()
        return pyarrow.RecordBatch._import_from_c_capsule(schema, array)

    def __len__(self):
        return self.length

    def __arrow_c_schema__(self):
        return export_schema(self.schema)

    def __arrow_c_array__(self, requested_schema=None):
        return export_schema(self.schema), export_batch(self)

    def __repr__(self):
        return f"<vgi_fast.RecordBatch {self.length} rows: {self.schema}>"


cdef object export_batch(RecordBatch batch):
    cdef DataType t = struct_of(batch.schema.fields)
    cdef Nodes nodes = Nodes.new(node_count(t), batch.nodes)
    nodes.borrows_data = True
    nodes.at[0].length = batch.length
    memcpy(nodes.at + 1, batch.nodes.at, batch.schema.n_nodes * sizeof(Node))
    return array_capsule(t.plan, nodes.at, nodes)


cdef RecordBatch import_batch(object value):
    cdef Imported held
    cdef Nodes nodes
    cdef Schema schema
    cdef Py_ssize_t i
    if isinstance(value, RecordBatch):
        return value
    if not hasattr(value, "__arrow_c_array__"):
        raise TypeError(f"expected a record batch (an object with __arrow_c_array__), got {type(value).__name__}")
    schema_capsule, array = value.__arrow_c_array__()
    schema = import_schema(schema_capsule)
    held = hold_import(array)
    nodes = Nodes.new(schema.n_nodes, held)
    if held.array.n_children != len(schema.fields):
        raise TypeMismatchError("an imported batch has another number of columns than its schema")
    for i in range(len(schema.fields)):
        import_nodes(schema.plan + schema.tops[i], held.array.children[i], nodes.at + schema.tops[i],
                     held.array.offset, held.array.length, nodes)
    return RecordBatch.new(schema, nodes, held.array.length, None)


cdef int build_batch(RecordBatch self, Schema schema, list columns, int64_t length, dict metadata) except -1:
    cdef Nodes nodes
    cdef Array a
    cdef Field f
    cdef Py_ssize_t i
    if len(columns) != len(schema.fields):
        raise ValueError(f"{len(columns)} columns for a schema with {len(schema.fields)} fields")
    nodes = Nodes.new(schema.n_nodes, columns)
    nodes.borrows_data = True
    for i in range(len(columns)):
        if not isinstance(columns[i], Array):
            raise TypeError(f"column {i} is {type(columns[i]).__name__}, expected Array")
        a = <Array> columns[i]
        f = <Field> schema.fields[i]
        if not same_type(a.type, f.type, False):
            raise TypeMismatchError(f"column '{f.name}' is {a.type}, expected {f.type}")
        if length < 0:
            length = a.node.length
        elif a.node.length != length:
            raise ValueError(f"column '{f.name}' has {a.node.length} rows, expected {length}")
        memcpy(nodes.at + schema.tops[i], a.node, node_count(a.type) * sizeof(Node))
    self.schema = schema
    self.nodes = nodes
    self.length = max(length, 0)
    self.metadata_ = metadata
    return 0


cdef RecordBatch batch_of_row(Schema schema, object row):
    cdef list arrays = []
    for f in schema.fields:
        arrays.append(array_of_values([row.get((<Field> f).name)], (<Field> f).type))
    return RecordBatch(schema, arrays, 1)
