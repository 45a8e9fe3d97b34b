# Owns: Schema messages (section 1.1), both directions.
# May use: span, builder, types.
# Invariant: encode_schema gives the bytes Arrow C++ gives, so that the protocol hash holds (section 6.2).

cdef enum:
    FB_NULL = 1
    FB_INT = 2
    FB_FLOAT = 3
    FB_BINARY = 4
    FB_UTF8 = 5
    FB_BOOL = 6
    FB_DECIMAL = 7
    FB_DATE = 8
    FB_TIME = 9
    FB_TIMESTAMP = 10
    FB_INTERVAL = 11
    FB_LIST = 12
    FB_STRUCT = 13
    FB_UNION = 14
    FB_FIXED_BINARY = 15
    FB_FIXED_LIST = 16
    FB_MAP = 17
    FB_DURATION = 18
    FB_LARGE_BINARY = 19
    FB_LARGE_UTF8 = 20
    FB_LARGE_LIST = 21
    FB_RUNS = 22
    FB_BINARY_VIEW = 23
    FB_UTF8_VIEW = 24
    FB_LIST_VIEW = 25
    FB_LARGE_LIST_VIEW = 26

cdef enum:
    HEADER_SCHEMA = 1
    HEADER_DICTIONARY = 2
    HEADER_BATCH = 3

cdef int[N_TYPES] FB_TYPES = [
    FB_NULL, FB_BOOL, FB_INT, FB_INT, FB_INT, FB_INT, FB_INT, FB_INT, FB_INT, FB_INT,
    FB_FLOAT, FB_FLOAT, FB_FLOAT, FB_DECIMAL, FB_DECIMAL, FB_DECIMAL, FB_DECIMAL,
    FB_DATE, FB_DATE, FB_TIME, FB_TIME, FB_TIMESTAMP, FB_DURATION,
    FB_INTERVAL, FB_INTERVAL, FB_INTERVAL,
    FB_UTF8, FB_LARGE_UTF8, FB_UTF8_VIEW, FB_BINARY, FB_LARGE_BINARY, FB_BINARY_VIEW, FB_FIXED_BINARY,
    FB_LIST, FB_LARGE_LIST, FB_LIST_VIEW, FB_LARGE_LIST_VIEW, FB_FIXED_LIST, FB_STRUCT, FB_MAP,
    FB_UNION, FB_UNION, 0, FB_RUNS,
]


# ---- writing ----

cdef bytes encode_schema(Schema schema):
    cdef Builder b = Builder.new(1024)
    cdef list fields = []
    cdef object ids = iter(range(MAX_FIELDS))      # numbered anew, as Output numbers the dictionaries
    cdef uint32_t vector, pairs, header
    for f in schema.fields:
        fields.append(write_field(b, <Field> f, ids))
    vector = b.offsets(fields)
    pairs = b.key_values(schema.metadata_)
    b.begin()
    b.add_offset(2, pairs)
    b.add_offset(1, vector)
    header = b.end()
    b.finish(b.message(HEADER_SCHEMA, header, 0, None))
    return b.framed()


cdef uint32_t write_field(Builder b, Field f, object ids) except? 0:
    cdef DataType stored = f.type
    cdef uint32_t name, table, children, encoding = 0, pairs
    cdef int64_t id = 0
    cdef list offsets = []
    if stored.id == T_DICTIONARY:
        # An outer dictionary takes its id before the ones inside its values.
        id = next(ids)
        stored = stored.dictionary_values
        if stored.id == T_DICTIONARY:
            raise ProtocolError("a dictionary of dictionaries cannot be written")
    for child in stored.children:
        offsets.append(write_field(b, <Field> child, ids))
    table = write_type(b, stored)
    if f.type.id == T_DICTIONARY:
        encoding = write_dictionary_encoding(b, f.type, id)
    pairs = b.key_values(f.metadata_)
    name = b.text(f.name.encode())
    children = b.offsets(offsets)
    b.begin()
    b.add_offset(6, pairs)
    b.add_offset(5, children)
    b.add_offset(4, encoding)
    b.add_offset(3, table)
    b.add_offset(0, name)
    b.add_u8(2, FB_TYPES[stored.id], 0)
    b.add_u8(1, f.nullable, 0)
    return b.end()


cdef uint32_t write_int(Builder b, DataType t) except? 0:
    b.begin()
    b.add_i32(0, 8 * t.width_, 0)
    b.add_u8(1, T_INT8 <= t.id <= T_INT64, 0)
    return b.end()


cdef uint32_t write_dictionary_encoding(Builder b, DataType t, int64_t id) except? 0:
    cdef uint32_t index = write_int(b, t.index_type)
    b.begin()
    b.add_i64(0, id, 0)
    b.add_offset(1, index)
    b.add_u8(2, t.flag, 0)
    return b.end()


cdef uint32_t write_codes(Builder b, tuple codes) except? 0:
    cdef Py_ssize_t i
    b.align(4 * len(codes), 4)
    for i in range(len(codes) - 1, -1, -1):
        b.put_u32(<uint32_t> codes[i])
    return b.put_u32(<uint32_t> len(codes))


cdef uint32_t write_type(Builder b, DataType t) except? 0:
    cdef int fb = FB_TYPES[t.id]
    cdef uint32_t inner = 0
    if fb == FB_INT:
        return write_int(b, t)
    if fb == FB_TIMESTAMP and t.timezone is not None and t.timezone:
        inner = b.text(t.timezone.encode())
    elif fb == FB_UNION:
        inner = write_codes(b, t.type_codes)
    b.begin()
    if fb == FB_FLOAT:
        b.add_i16(0, t.id - T_FLOAT16, 0)
    elif fb == FB_DECIMAL:
        b.add_i32(2, 8 * t.width_, 128)
        b.add_i32(1, t.scale, 0)
        b.add_i32(0, t.precision, 0)
    elif fb == FB_DATE:
        b.add_i16(0, t.id - T_DATE32, 1)
    elif fb == FB_TIME:
        b.add_i32(1, 8 * t.width_, 32)
        b.add_i16(0, t.unit_, 1)
    elif fb == FB_TIMESTAMP:
        b.add_offset(1, inner)
        b.add_i16(0, t.unit_, 0)
    elif fb == FB_DURATION:
        b.add_i16(0, t.unit_, 1)
    elif fb == FB_INTERVAL:
        b.add_i16(0, t.id - T_INTERVAL_MONTHS, 0)
    elif fb == FB_FIXED_BINARY:
        b.add_i32(0, t.width_, 0)
    elif fb == FB_FIXED_LIST:
        b.add_i32(0, t.list_size, 0)
    elif fb == FB_MAP:
        b.add_u8(0, t.flag, 0)
    elif fb == FB_UNION:
        b.add_offset(1, inner)
        b.add_i16(0, t.id == T_DENSE_UNION, 0)
    return b.end()


# ---- reading ----

cdef Schema schema_from_bytes(object data):
    cdef View view = View.of(data)
    cdef const uint8_t *p = view.data
    cdef int64_t n = view.size
    cdef int64_t length
    cdef Span s
    cdef Table message
    if n >= 8 and load_u32(p) == 0xFFFFFFFF:
        length = load_i32(p + 4)
        p += 8
        n -= 8
    elif n >= 4:
        length = load_i32(p)
        p += 4
        n -= 4
    else:
        raise ProtocolError(f"a serialized schema has at least 8 bytes, got {n}")
    if length < 0 or length > n:
        raise ProtocolError(f"a schema message of {length} bytes in a buffer of {n}")
    set_span(&s, p, length)
    open_root(&s, &message)
    if slot_u8(&message, 1, 0) != HEADER_SCHEMA:
        malformed("expected a schema message")
    return read_schema_message(&s, &message)


def unpickle_schema(data):
    return schema_from_bytes(data)


cdef Schema read_schema_message(Span *s, Table *message):
    cdef Table header, field
    cdef Vector v
    cdef uint32_t i
    cdef int32_t budget = MAX_FIELDS
    cdef list fields = []
    if not slot_table(s, message, 2, &header):
        malformed("a schema message without a schema")
    if slot_i16(&header, 0, 0) != 0:
        malformed("big-endian data is not supported")
    slot_vector(s, &header, 1, 4, &v)
    for i in range(v.count):
        open_table(s, follow(s, v.at + 4 * i), &field)
        fields.append(read_field(s, &field, 0, &budget))
    check_shared_ids(fields, {})
    return Schema.new(tuple(fields), key_values(s, &header, 2))


cdef int check_shared_ids(object fields, dict seen) except -1:
    """Columns may share a dictionary; then its values have one layout, because they are decoded once."""
    cdef DataType t, first
    for f in fields:
        t = (<Field> f).type
        if t.id == T_DICTIONARY:
            first = seen.setdefault(t.dictionary_id, t.dictionary_values)
            if not same_type(first, t.dictionary_values, False):
                malformed(f"dictionary {t.dictionary_id} has values of {first} and of {t.dictionary_values}")
            t = t.dictionary_values
        check_shared_ids(t.children, seen)
    return 0


cdef Field read_field(Span *s, Table *field, int depth, int32_t *budget):
    cdef Table child, encoding
    cdef Vector v
    cdef uint32_t i
    cdef list children = []
    cdef DataType t
    budget[0] -= 1
    if depth > MAX_DEPTH or budget[0] < 0:
        malformed(f"fields nest deeper than {MAX_DEPTH} levels or are more than {MAX_FIELDS}")
    slot_vector(s, field, 5, 4, &v)
    for i in range(v.count):
        open_table(s, follow(s, v.at + 4 * i), &child)
        children.append(read_field(s, &child, depth + 1, budget))
    t = read_type(s, field, children)
    if slot_table(s, field, 4, &encoding):
        t = read_dictionary_encoding(s, &encoding, t)
    return Field.new(slot_text(s, field, 0) or "", t, slot_u8(field, 1, 0) != 0, key_values(s, field, 6))


cdef DataType read_dictionary_encoding(Span *s, Table *encoding, DataType values):
    cdef Table index
    cdef DataType index_type, t
    if slot_table(s, encoding, 1, &index):
        index_type = read_int(&index)
    else:
        index_type = DataType.new(T_INT32)
    t = dictionary_type(index_type, values, slot_u8(encoding, 2, 0) != 0)
    t.dictionary_id = slot_i64(encoding, 0, 0)
    if t.dictionary_id < 0:
        malformed("a negative dictionary id")
    return t


cdef DataType read_int(Table *t):
    cdef int bits = slot_i32(t, 0, 0)
    cdef int base = T_INT8 if slot_u8(t, 1, 0) else T_UINT8
    if bits == 8:
        return DataType.new(base)
    if bits == 16:
        return DataType.new(base + 1)
    if bits == 32:
        return DataType.new(base + 2)
    if bits == 64:
        return DataType.new(base + 3)
    malformed(f"an integer of {bits} bits")


cdef int expect_children(list children, Py_ssize_t n, str what) except -1:
    if len(children) != n:
        malformed(f"{what} has {len(children)} children")
    return 0


cdef int checked_unit(int unit) except -1:
    if not 0 <= unit <= 3:
        malformed(f"time unit {unit}")
    return unit


cdef DataType read_type(Span *s, Table *field, list children):
    cdef int fb = slot_u8(field, 2, 0)
    cdef Table detail
    cdef DataType t
    cdef int n
    if not slot_table(s, field, 3, &detail):
        malformed("a field without a type")
    if fb == FB_INT:
        t = read_int(&detail)
    elif fb == FB_FLOAT:
        n = slot_i16(&detail, 0, 0)
        if not 0 <= n <= 2:
            malformed(f"floating point precision {n}")
        t = DataType.new(T_FLOAT16 + n)
    elif fb == FB_DECIMAL:
        t = read_decimal(&detail)
    elif fb == FB_DATE:
        t = DataType.new(T_DATE32 if slot_i16(&detail, 0, 1) == 0 else T_DATE64)
    elif fb == FB_TIME:
        n = checked_unit(slot_i16(&detail, 0, 1))
        if slot_i32(&detail, 1, 32) != (32 if n < 2 else 64):
            malformed("a time whose width does not fit its unit")
        t = DataType.new(T_TIME32 if n < 2 else T_TIME64)
        t.unit_ = n
    elif fb == FB_TIMESTAMP:
        t = DataType.new(T_TIMESTAMP)
        t.unit_ = checked_unit(slot_i16(&detail, 0, 0))
        t.timezone = slot_text(s, &detail, 1) or None
    elif fb == FB_DURATION:
        t = DataType.new(T_DURATION)
        t.unit_ = checked_unit(slot_i16(&detail, 0, 1))
    elif fb == FB_INTERVAL:
        n = slot_i16(&detail, 0, 0)
        if not 0 <= n <= 2:
            malformed(f"interval unit {n}")
        t = DataType.new(T_INTERVAL_MONTHS + n)
    elif fb == FB_FIXED_BINARY:
        t = DataType.new(T_FIXED_SIZE_BINARY)
        t.width_ = slot_i32(&detail, 0, 0)
        if t.width_ < 0:
            malformed("a negative byte width")
    elif FB_LIST <= fb <= FB_MAP or FB_LARGE_LIST <= fb <= FB_RUNS or fb >= FB_LIST_VIEW:
        return read_nested(s, &detail, fb, children)
    else:
        t = read_plain(fb)
    expect_children(children, 0, "a flat type")
    return t


cdef DataType read_plain(int fb):
    if fb == FB_NULL:
        return DataType.new(T_NULL)
    if fb == FB_BOOL:
        return DataType.new(T_BOOL)
    if fb == FB_UTF8:
        return DataType.new(T_UTF8)
    if fb == FB_BINARY:
        return DataType.new(T_BINARY)
    if fb == FB_LARGE_UTF8:
        return DataType.new(T_LARGE_UTF8)
    if fb == FB_LARGE_BINARY:
        return DataType.new(T_LARGE_BINARY)
    if fb == FB_UTF8_VIEW:
        return DataType.new(T_UTF8_VIEW)
    if fb == FB_BINARY_VIEW:
        return DataType.new(T_BINARY_VIEW)
    malformed(f"unknown type number {fb}")


cdef DataType read_decimal(Table *detail):
    cdef int bits = slot_i32(detail, 2, 128)
    cdef int precision = slot_i32(detail, 0, 0)
    cdef DataType t
    if bits == 32:
        t = DataType.new(T_DECIMAL32)
    elif bits == 64:
        t = DataType.new(T_DECIMAL64)
    elif bits == 128:
        t = DataType.new(T_DECIMAL128)
    elif bits == 256:
        t = DataType.new(T_DECIMAL256)
    else:
        malformed(f"a decimal of {bits} bits")
    if not 1 <= precision <= 76:
        malformed(f"decimal precision {precision}")
    t.precision = precision
    t.scale = slot_i32(detail, 1, 0)
    return t


cdef DataType read_nested(Span *s, Table *detail, int fb, list children):
    cdef DataType t
    cdef Field entries
    cdef Vector codes
    cdef uint32_t i
    if fb == FB_STRUCT:
        t = DataType.new(T_STRUCT)
        t.children = tuple(children)
        return t
    if fb == FB_UNION:
        if slot_vector(s, detail, 1, 4, &codes):
            spend(s, 4 * <int64_t> codes.count)
            numbers = [load_i32(codes.at + 4 * i) for i in range(codes.count)]
        else:
            numbers = list(range(len(children)))
        return union_type(T_DENSE_UNION if slot_i16(detail, 0, 0) == 1 else T_SPARSE_UNION, children, numbers)
    if fb == FB_RUNS:
        expect_children(children, 2, "a run-end encoded type")
        if (<Field> children[0]).type.id not in (T_INT16, T_INT32, T_INT64):
            malformed("run ends must be int16, int32 or int64")
        t = DataType.new(T_RUN_END_ENCODED)
        t.children = tuple(children)
        return t
    expect_children(children, 1, "a list or map")
    if fb == FB_MAP:
        entries = children[0]
        if entries.type.id != T_STRUCT or len(entries.type.children) != 2:
            malformed("map entries must be a struct of two fields")
        t = list_type(T_MAP, entries)
        t.flag = slot_u8(detail, 0, 0) != 0
    elif fb == FB_FIXED_LIST:
        t = list_type(T_FIXED_SIZE_LIST, children[0], slot_i32(detail, 0, 0))
        if t.list_size < 0:
            malformed("a negative list size")
    elif fb == FB_LIST:
        t = list_type(T_LIST, children[0])
    elif fb == FB_LARGE_LIST:
        t = list_type(T_LARGE_LIST, children[0])
    elif fb == FB_LIST_VIEW:
        t = list_type(T_LIST_VIEW, children[0])
    elif fb == FB_LARGE_LIST_VIEW:
        t = list_type(T_LARGE_LIST_VIEW, children[0])
    else:
        malformed(f"unknown type number {fb}")
    return t
