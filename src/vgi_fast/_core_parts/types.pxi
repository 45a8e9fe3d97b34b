# Owns: DataType, Field and Schema, and the flat plan that every walk over buffers follows.
# May use: the parts above. Knows nothing of messages, NumPy or Python values.
# Invariant: a plan is the type tree in pre-order, one PlanNode each; span counts a node's subtree with
#   itself, so that the next sibling is at +span. Field nodes of an IPC message come in this order.

cdef enum TypeId:
    T_NULL
    T_BOOL
    T_INT8
    T_INT16
    T_INT32
    T_INT64
    T_UINT8
    T_UINT16
    T_UINT32
    T_UINT64
    T_FLOAT16
    T_FLOAT32
    T_FLOAT64
    T_DECIMAL32
    T_DECIMAL64
    T_DECIMAL128
    T_DECIMAL256
    T_DATE32
    T_DATE64
    T_TIME32
    T_TIME64
    T_TIMESTAMP
    T_DURATION
    T_INTERVAL_MONTHS
    T_INTERVAL_DAY_TIME
    T_INTERVAL_MONTH_DAY_NANO
    T_UTF8
    T_LARGE_UTF8
    T_UTF8_VIEW
    T_BINARY
    T_LARGE_BINARY
    T_BINARY_VIEW
    T_FIXED_SIZE_BINARY
    T_LIST
    T_LARGE_LIST
    T_LIST_VIEW
    T_LARGE_LIST_VIEW
    T_FIXED_SIZE_LIST
    T_STRUCT
    T_MAP
    T_SPARSE_UNION
    T_DENSE_UNION
    T_DICTIONARY
    T_RUN_END_ENCODED
    N_TYPES


cdef enum Layout:
    L_NULL           # no buffers
    L_BITS           # validity, bits
    L_FIXED          # validity, values of ``width`` bytes
    L_VAR32          # validity, int32 offsets, bytes
    L_VAR64
    L_VIEW           # validity, 16-byte views, any number of data buffers
    L_LIST32         # validity, int32 offsets; one child
    L_LIST64
    L_LISTVIEW32     # validity, int32 offsets, int32 sizes; one child
    L_LISTVIEW64
    L_FIXED_LIST     # validity; one child
    L_STRUCT         # validity; children
    L_SPARSE         # type codes; children
    L_DENSE          # type codes, int32 offsets; children
    L_DICTIONARY     # validity, indices of ``width`` bytes; values elsewhere
    L_RUNS           # no buffers; two children


KINDS = (
    "null", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "decimal32", "decimal64", "decimal128", "decimal256",
    "date32", "date64", "time32", "time64", "timestamp", "duration",
    "month_interval", "day_time_interval", "month_day_nano_interval",
    "utf8", "large_utf8", "utf8_view", "binary", "large_binary", "binary_view", "fixed_size_binary",
    "list", "large_list", "list_view", "large_list_view", "fixed_size_list", "struct", "map",
    "sparse_union", "dense_union", "dictionary", "run_end_encoded",
)
UNITS = ("s", "ms", "us", "ns")

cdef int[N_TYPES] LAYOUTS = [
    L_NULL, L_BITS, L_FIXED, L_FIXED, L_FIXED, L_FIXED, L_FIXED, L_FIXED, L_FIXED, L_FIXED,
    L_FIXED, L_FIXED, L_FIXED, L_FIXED, L_FIXED, L_FIXED, L_FIXED,
    L_FIXED, L_FIXED, L_FIXED, L_FIXED, L_FIXED, L_FIXED,
    L_FIXED, L_FIXED, L_FIXED,
    L_VAR32, L_VAR64, L_VIEW, L_VAR32, L_VAR64, L_VIEW, L_FIXED,
    L_LIST32, L_LIST64, L_LISTVIEW32, L_LISTVIEW64, L_FIXED_LIST, L_STRUCT, L_LIST32,
    L_SPARSE, L_DENSE, L_DICTIONARY, L_RUNS,
]
# Bytes per value; 0 where the layout has none or the type carries its own.
cdef int[N_TYPES] WIDTHS = [
    0, 0, 1, 2, 4, 8, 1, 2, 4, 8,
    2, 4, 8, 4, 8, 16, 32,
    4, 8, 4, 8, 8, 8,
    4, 8, 16,
    0, 0, 16, 0, 0, 16, 0,
    0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0,
]
# Buffers in an IPC message, views' data buffers not counted.
cdef int[16] N_BUFFERS = [0, 2, 2, 3, 3, 2, 2, 2, 3, 3, 1, 1, 1, 2, 2, 0]

cdef enum:
    MAX_DEPTH = 64          # nesting of types
    MAX_FIELDS = 65536      # nodes of one schema; a hostile message may repeat one child many times


ctypedef struct PlanNode:
    uint8_t type
    uint8_t layout
    uint8_t n_buffers
    int32_t width
    int32_t n_children
    int32_t span
    int32_t list_size           # fixed-size lists; dictionaries: type id of the indices
    int32_t dictionary_slot     # position in the schema's list of dictionary ids, or -1
    int8_t *codes               # unions: n_children codes
    PlanNode *values            # dictionaries: plan of the values
    int32_t values_span


cdef void release_plan(PlanNode *plan, int32_t n) noexcept:
    cdef int32_t i
    if plan == NULL:
        return
    for i in range(n):
        free(plan[i].codes)
        release_plan(plan[i].values, plan[i].values_span)
    free(plan)


@cython.final
cdef class DataType:
    """Immutable after construction; any thread."""
    cdef readonly int id
    cdef int width_
    cdef int unit_
    cdef readonly int precision
    cdef readonly int scale
    cdef readonly int list_size
    cdef bint flag                  # map: keys sorted; dictionary: ordered
    cdef readonly str timezone
    cdef readonly tuple children
    cdef readonly tuple type_codes
    cdef readonly DataType index_type
    cdef DataType dictionary_values
    cdef int64_t dictionary_id      # as received; only schemas that were read have one
    cdef PlanNode *plan
    cdef int32_t span
    cdef object numpy_dtype
    cdef Py_hash_t hash_

    def __cinit__(self):
        self.unit_ = -1
        self.children = ()
        self.type_codes = ()
        self.hash_ = -1
        self.dictionary_id = -1

    def __init__(self, str text):
        cdef DataType parsed = parse_type(text)
        copy_type(self, parsed)

    def __dealloc__(self):
        release_plan(self.plan, self.span)

    @staticmethod
    cdef DataType new(int id):
        cdef DataType t = DataType.__new__(DataType)
        t.id = id
        t.width_ = WIDTHS[id]
        return t

    @staticmethod
    def of(value):
        if isinstance(value, DataType):
            return value
        if isinstance(value, str):
            return parse_type(value)
        if isinstance(value, Field):
            return (<Field> value).type
        if hasattr(value, "__arrow_c_schema__"):
            return import_field(value.__arrow_c_schema__()).type
        raise TypeError(f"expected an Arrow type (text, DataType or an object with __arrow_c_schema__), got {value!r}")

    @staticmethod
    def from_numpy(dtype):
        return type_of_dtype(dtype)

    @property
    def kind(self):
        return KINDS[self.id]

    @property
    def unit(self):
        return UNITS[self.unit_] if self.unit_ >= 0 else None

    @property
    def byte_width(self):
        return self.width_ if LAYOUTS[self.id] == L_FIXED else 0

    @property
    def ordered(self):
        return self.flag

    @property
    def value_type(self):
        if self.id == T_DICTIONARY:
            return self.dictionary_values
        if T_LIST <= self.id <= T_FIXED_SIZE_LIST:
            return (<Field> self.children[0]).type
        return None

    def __arrow_c_schema__(self):
        return export_field("", self, True, None)

    def __str__(self):
        return type_text(self)

    def __repr__(self):
        return f"DataType({type_text(self)!r})"

    def __eq__(self, other):
        return isinstance(other, DataType) and same_type(self, <DataType> other, True)

    def __hash__(self):
        if self.hash_ == -1:
            self.hash_ = hash((self.id, self.width_, self.unit_, self.precision, self.scale, self.list_size,
                               self.flag, self.timezone, self.children, self.type_codes, self.index_type,
                               self.dictionary_values))
        return self.hash_

    def __reduce__(self):
        return DataType, (type_text(self),)

    cdef PlanNode *own_plan(self) except NULL:
        if self.plan == NULL:
            self.plan = build_plan([self], None, &self.span)
        return self.plan


cdef void copy_type(DataType to, DataType source):
    to.id = source.id
    to.width_ = source.width_
    to.unit_ = source.unit_
    to.precision = source.precision
    to.scale = source.scale
    to.list_size = source.list_size
    to.flag = source.flag
    to.timezone = source.timezone
    to.children = source.children
    to.type_codes = source.type_codes
    to.index_type = source.index_type
    to.dictionary_values = source.dictionary_values


cdef bint same_type(DataType a, DataType b, bint strict) except -1:
    """Structural equality. Not ``strict``: child names of lists and maps, nullability, time zones and the
    order flags do not count; the buffers of two such types mean the same."""
    cdef Field x, y
    cdef Py_ssize_t i
    if a is b:
        return True
    if (a.id != b.id or a.width_ != b.width_ or a.unit_ != b.unit_ or a.precision != b.precision
            or a.scale != b.scale or a.list_size != b.list_size or len(a.children) != len(b.children)
            or a.type_codes != b.type_codes):
        return False
    if strict and (a.flag != b.flag or a.timezone != b.timezone):
        return False
    if not strict and (a.timezone is None) != (b.timezone is None):
        return False
    if a.id == T_DICTIONARY:
        if not same_type(a.index_type, b.index_type, strict):
            return False
        if not same_type(a.dictionary_values, b.dictionary_values, strict):
            return False
    for i in range(len(a.children)):
        x = <Field> a.children[i]
        y = <Field> b.children[i]
        if strict and (x.name != y.name or x.nullable != y.nullable):
            return False
        if not strict and LAYOUTS[a.id] == L_STRUCT and x.name != y.name:
            return False
        if not same_type(x.type, y.type, strict):
            return False
    return True


@cython.final
cdef class Field:
    """Immutable; any thread. Extension types are a storage type with ``ARROW:extension:*`` metadata."""
    cdef readonly str name
    cdef readonly DataType type
    cdef readonly bint nullable
    cdef dict metadata_

    def __init__(self, str name, type, nullable=True, metadata=None):
        self.name = name
        self.type = DataType.of(type)
        self.nullable = nullable
        self.metadata_ = clean_metadata(metadata)

    @staticmethod
    cdef Field new(str name, DataType type, bint nullable, dict metadata):
        cdef Field f = Field.__new__(Field)
        f.name = name
        f.type = type
        f.nullable = nullable
        f.metadata_ = metadata
        return f

    @property
    def metadata(self):
        return dict(self.metadata_) if self.metadata_ else {}

    def equals(self, Field other not None, check_metadata=False):
        return (self.name == other.name and self.nullable == other.nullable and self.type == other.type
                and (not check_metadata or (self.metadata_ or {}) == (other.metadata_ or {})))

    def __eq__(self, other):
        return isinstance(other, Field) and self.equals(other)

    def __hash__(self):
        return hash((self.name, self.nullable, self.type))

    def __arrow_c_schema__(self):
        return export_field(self.name, self.type, self.nullable, self.metadata_)

    def __repr__(self):
        return f"Field({self.name!r}, {type_text(self.type)!r}, nullable={bool(self.nullable)})"

    def __reduce__(self):
        return Field, (self.name, self.type, self.nullable, self.metadata)


cdef dict clean_metadata(object metadata):
    cdef dict out
    if not metadata:
        return None
    out = {}
    for key, value in metadata.items():
        out[key.encode() if isinstance(key, str) else bytes(key)] = (
            value.encode() if isinstance(value, str) else bytes(value))
    return out


cdef int32_t count_nodes(list types, int depth) except -1:
    cdef int64_t total = 0
    if depth > MAX_DEPTH:
        raise ProtocolError(f"types nest deeper than {MAX_DEPTH} levels")
    for t in types:
        total += 1 + count_nodes([(<Field> f).type for f in (<DataType> t).children], depth + 1)
        if total > MAX_FIELDS:
            raise ProtocolError(f"a schema has more than {MAX_FIELDS} fields")
    return <int32_t> total


@cython.final
cdef class DictionaryIds:
    """The dictionaries of a schema: a slot for each id; columns that came with one id share it."""
    cdef dict slots         # id → slot
    cdef list ids           # by slot

    @staticmethod
    cdef DictionaryIds new():
        cdef DictionaryIds d = DictionaryIds.__new__(DictionaryIds)
        d.slots = {}
        d.ids = []
        return d

    cdef int32_t slot(self, int64_t id) except -1:
        """``id`` as received, or negative for a dictionary that has none yet."""
        if id < 0:
            id = len(self.ids)
            while id in self.slots:
                id += 1
        if id not in self.slots:
            self.slots[id] = len(self.ids)
            self.ids.append(id)
        return self.slots[id]


cdef PlanNode *build_plan(list types, DictionaryIds dictionary_ids, int32_t *n_nodes) except NULL:
    """Plan of the types side by side. ``dictionary_ids`` collects the dictionaries met."""
    cdef int32_t n = count_nodes(types, 0)
    cdef PlanNode *plan = <PlanNode *> calloc(n if n else 1, sizeof(PlanNode))
    cdef int32_t at = 0
    if plan == NULL:
        raise MemoryError()
    try:
        for t in types:
            at += fill_plan(plan + at, <DataType> t, dictionary_ids)
    except BaseException:
        release_plan(plan, n)
        raise
    n_nodes[0] = n
    return plan


cdef int32_t fill_plan(PlanNode *node, DataType t, DictionaryIds dictionary_ids) except -1:
    cdef int32_t at = 1
    cdef int i
    node.type = <uint8_t> t.id
    node.layout = <uint8_t> LAYOUTS[t.id]
    node.n_buffers = <uint8_t> N_BUFFERS[node.layout]
    node.width = t.width_
    node.n_children = <int32_t> len(t.children)
    node.list_size = t.list_size
    node.dictionary_slot = -1
    if t.id == T_DICTIONARY:
        node.width = t.index_type.width_
        node.list_size = t.index_type.id
        if dictionary_ids is not None:
            node.dictionary_slot = dictionary_ids.slot(t.dictionary_id)
        node.values = build_plan([t.dictionary_values], dictionary_ids, &node.values_span)
    if t.type_codes:
        node.codes = <int8_t *> checked_alloc(len(t.type_codes))
        for i in range(len(t.type_codes)):
            node.codes[i] = t.type_codes[i]
    for f in t.children:
        at += fill_plan(node + at, (<Field> f).type, dictionary_ids)
    node.span = at
    return at


@cython.final
cdef class Schema:
    """Immutable; any thread. Carries what is derived from it once: plan, bytes, message templates."""
    cdef readonly tuple fields
    cdef dict metadata_
    cdef bytes message              # encapsulated Schema message
    cdef PlanNode *plan
    cdef int32_t n_nodes
    cdef int32_t *tops              # plan position of each field
    cdef DictionaryIds dictionaries
    cdef list dictionary_ids        # by slot
    cdef dict positions             # name → first position
    cdef BatchTemplate plain        # header template without custom_metadata
    cdef BatchTemplate recent       # … with the metadata seen last
    cdef object recent_metadata

    def __init__(self, fields, metadata=None):
        cdef tuple checked = tuple(fields)
        for f in checked:
            if not isinstance(f, Field):
                raise TypeError(f"expected fields, got {f!r}")
        self.setup(checked, clean_metadata(metadata))

    def __dealloc__(self):
        release_plan(self.plan, self.n_nodes)
        free(self.tops)

    @staticmethod
    cdef Schema new(tuple fields, dict metadata):
        cdef Schema s = Schema.__new__(Schema)
        s.setup(fields, metadata)
        return s

    cdef int setup(self, tuple fields, dict metadata) except -1:
        cdef int32_t at = 0
        cdef Py_ssize_t i
        self.fields = fields
        self.metadata_ = metadata
        self.dictionaries = DictionaryIds.new()
        self.plan = build_plan([(<Field> f).type for f in fields], self.dictionaries, &self.n_nodes)
        self.dictionary_ids = self.dictionaries.ids
        self.tops = <int32_t *> checked_alloc(len(fields) * sizeof(int32_t))
        self.positions = {}
        for i in range(len(fields)):
            self.tops[i] = at
            at += self.plan[at].span
            self.positions.setdefault((<Field> fields[i]).name, i)
        return 0

    @staticmethod
    def parse(str text):
        return parse_schema(text)

    @staticmethod
    def of(value):
        if isinstance(value, Schema):
            return value
        if isinstance(value, str):
            return parse_schema(value)
        if isinstance(value, dict):
            return Schema([Field(str(k), v) for k, v in value.items()])
        if hasattr(value, "__arrow_c_schema__"):
            return import_schema(value.__arrow_c_schema__())
        raise TypeError(
            f"expected a schema (text, mapping, Schema or an object with __arrow_c_schema__), got {value!r}")

    @staticmethod
    def from_bytes(data):
        return schema_from_bytes(data)

    @property
    def names(self):
        return [(<Field> f).name for f in self.fields]

    @property
    def types(self):
        return [(<Field> f).type for f in self.fields]

    @property
    def metadata(self):
        return dict(self.metadata_) if self.metadata_ else {}

    def serialize(self):
        if self.message is None:
            self.message = encode_schema(self)
        return self.message

    def index(self, str name):
        return self.positions[name]

    def select(self, indices):
        cdef list chosen = []
        for i in indices:
            if not 0 <= i < len(self.fields):
                raise IndexError(f"field {i} is outside of a schema with {len(self.fields)} fields")
            chosen.append(self.fields[i])
        return Schema.new(tuple(chosen), self.metadata_)

    def equals(self, Schema other not None, check_metadata=False):
        cdef Py_ssize_t i
        if self is other:
            return True
        if len(self.fields) != len(other.fields):
            return False
        for i in range(len(self.fields)):
            if not (<Field> self.fields[i]).equals(<Field> other.fields[i], check_metadata):
                return False
        return not check_metadata or (self.metadata_ or {}) == (other.metadata_ or {})

    def __len__(self):
        return len(self.fields)

    def __iter__(self):
        return iter(self.fields)

    def __getitem__(self, key):
        return self.fields[self.positions[key]] if isinstance(key, str) else self.fields[key]

    def __eq__(self, other):
        return isinstance(other, Schema) and self.equals(other)

    def __hash__(self):
        return hash(self.fields)

    def __str__(self):
        return ", ".join([field_text(<Field> f) for f in self.fields])

    def __repr__(self):
        return f"Schema({str(self)!r})"

    def __arrow_c_schema__(self):
        return export_schema(self)

    def __reduce__(self):
        return unpickle_schema, (self.serialize(),)
