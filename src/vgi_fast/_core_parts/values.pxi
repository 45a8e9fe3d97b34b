# Owns: Python values of single slots, both directions.
# May use: types, cdata, arrays, bitmap. Cold: records, arguments, constants, small lists.
# Invariant: nothing is read from a slot that is null.

cdef object datetime_module = None
cdef object decimal_module = None
cdef object values_module = None
cdef int64_t[4] PER_SECOND = [1, 1000, 1000000, 1000000000]


cdef int load_modules() except -1:
    global datetime_module, decimal_module, values_module
    if datetime_module is None:
        import datetime
        import decimal
        from vgi_fast import values
        datetime_module = datetime
        decimal_module = decimal
        values_module = values
    return 0


cdef inline bint is_null(PlanNode *p, Node *n, int64_t i) noexcept:
    return p.layout == L_NULL or (n.buf[0] != NULL and p.layout not in (L_SPARSE, L_DENSE)
                                  and not get_bit(n.buf[0], n.offset + i))


# ---- reading ----

cdef object value_at(DataType t, PlanNode *p, Node *n, int64_t i):
    cdef int64_t at = n.offset + i
    cdef int layout = p.layout
    if is_null(p, n, i):
        return None
    if layout == L_FIXED:
        return fixed_value(t, n.buf[1] + at * p.width)
    if layout == L_VAR32 or layout == L_VAR64 or layout == L_VIEW:
        return text_value(t, p, n, at)
    if layout == L_BITS:
        return bool(get_bit(n.buf[1], at))
    if layout == L_STRUCT:
        return struct_value(t, p, n, at)
    if layout == L_DICTIONARY:
        return value_at(t.dictionary_values, p.values, n.dictionary, index_at(t.index_type.id, n.buf[1], at))
    if layout == L_SPARSE or layout == L_DENSE:
        return union_value(t, p, n, at)
    if layout == L_RUNS:
        return run_value(t, p, n, at)
    return list_value(t, p, n, at)


cdef int64_t index_at(int id, const uint8_t *data, int64_t i) noexcept nogil:
    if id == T_INT8:
        return (<const int8_t *> data)[i]
    if id == T_UINT8:
        return data[i]
    if id == T_INT16:
        return (<const int16_t *> data)[i]
    if id == T_UINT16:
        return (<const uint16_t *> data)[i]
    if id == T_INT32:
        return (<const int32_t *> data)[i]
    if id == T_UINT32:
        return (<const uint32_t *> data)[i]
    return (<const int64_t *> data)[i]


cdef extern from "_core_parts/half.h":
    double half_value "vgi_half"(uint16_t bits) noexcept nogil


cdef object fixed_value(DataType t, const uint8_t *at):
    cdef int id = t.id
    cdef float f32
    cdef double f64
    cdef uint64_t u64
    if id == T_INT64:
        return load_i64(at)
    if id == T_FLOAT64:
        memcpy(&f64, at, 8)
        return f64
    if id == T_INT32:
        return load_i32(at)
    if id == T_INT8:
        return (<const int8_t *> at)[0]
    if id == T_INT16:
        return <int16_t> load_u16(at)
    if id == T_UINT8:
        return at[0]
    if id == T_UINT16:
        return load_u16(at)
    if id == T_UINT32:
        return load_u32(at)
    if id == T_UINT64:
        memcpy(&u64, at, 8)
        return u64
    if id == T_FLOAT32:
        memcpy(&f32, at, 4)
        return <double> f32
    if id == T_FLOAT16:
        return half_value(load_u16(at))
    if id == T_FIXED_SIZE_BINARY:
        return PyBytes_FromStringAndSize(<const char *> at, t.width_)
    load_modules()
    if T_DECIMAL32 <= id <= T_DECIMAL256:
        number = int.from_bytes(PyBytes_FromStringAndSize(<const char *> at, t.width_), "little", signed=True)
        sign = 1 if number < 0 else 0
        return decimal_module.Decimal((sign, tuple([int(c) for c in str(abs(number))]), -t.scale))
    return temporal_value(t, at)


cdef object temporal_value(DataType t, const uint8_t *at):
    cdef int64_t v
    if t.id == T_DATE32:
        return datetime_module.date.fromordinal(719163 + load_i32(at)) if -719162 <= load_i32(at) <= 2932896 \
            else far_value(load_i32(at), "D")
    if t.id == T_DATE64:
        try:
            return datetime_module.date.fromordinal(719163 + <object> load_i64(at) // 86400000)
        except (ValueError, OverflowError):
            return far_value(load_i64(at), "ms")
    if t.id == T_INTERVAL_MONTHS:
        return values_module.MonthDayNano(load_i32(at), 0, 0)
    if t.id == T_INTERVAL_DAY_TIME:
        return values_module.MonthDayNano(0, load_i32(at), <object> load_i32(at + 4) * 1000000)
    if t.id == T_INTERVAL_MONTH_DAY_NANO:
        return values_module.MonthDayNano(load_i32(at), load_i32(at + 4), load_i64(at + 8))
    v = load_i32(at) if t.width_ == 4 else load_i64(at)
    micros = <object> v * 1000000 // PER_SECOND[t.unit_] if t.unit_ != 3 else v // 1000
    if t.id == T_TIME32 or t.id == T_TIME64:
        if not 0 <= micros < 86400000000 or (t.unit_ == 3 and v % 1000):
            return far_delta(v, UNITS[t.unit_])
        return (datetime_module.datetime.min + datetime_module.timedelta(microseconds=micros)).time()
    if t.unit_ == 3 and v % 1000:
        return far_value(v, "ns") if t.id == T_TIMESTAMP else far_delta(v)
    try:
        delta = datetime_module.timedelta(microseconds=micros)
        if t.id == T_DURATION:
            return delta
        moment = datetime_module.datetime(1970, 1, 1) + delta
    except OverflowError:
        return far_value(v, UNITS[t.unit_]) if t.id == T_TIMESTAMP else far_delta(v, UNITS[t.unit_])
    if t.timezone is None:
        return moment
    moment = moment.replace(tzinfo=datetime_module.timezone.utc)
    try:
        return moment.astimezone(zone_of(t.timezone))
    except (ValueError, OverflowError):
        return moment       # the zone's own time is outside of datetime's range


cdef object zone_of(str name):
    load_modules()
    if name in ("UTC", "Etc/UTC", "Z", "GMT"):
        return datetime_module.timezone.utc
    try:
        if len(name) == 6 and name[0] in "+-" and name[3] == ":":
            minutes = int(name[1:3]) * 60 + int(name[4:6])
            return datetime_module.timezone(datetime_module.timedelta(minutes=-minutes if name[0] == "-" else minutes))
        import zoneinfo
        return zoneinfo.ZoneInfo(name)
    except (ValueError, LookupError, OSError):
        return datetime_module.timezone.utc     # a zone that is not known here does not change the moment


def far_value(number, unit):
    """What the datetime module cannot hold, as numpy.datetime64."""
    import numpy
    return numpy.datetime64(number, unit)


def far_delta(number, unit="ns"):
    import numpy
    return numpy.timedelta64(number, unit)


cdef object text_value(DataType t, PlanNode *p, Node *n, int64_t at):
    cdef const uint8_t *data = NULL
    cdef int64_t size = 0
    slot_text_bytes(p, n, at, &data, &size)
    if t.id == T_BINARY or t.id == T_LARGE_BINARY or t.id == T_BINARY_VIEW:
        return PyBytes_FromStringAndSize(<const char *> data, size)
    try:
        return PyUnicode_DecodeUTF8(<const char *> data, size, NULL)
    except UnicodeDecodeError as e:
        raise ProtocolError(f"a utf8 value is not UTF-8: {e}") from None


cdef void slot_text_bytes(PlanNode *p, Node *n, int64_t at, const uint8_t **data, int64_t *size) noexcept nogil:
    """Where the bytes of one string or binary slot are."""
    cdef const uint8_t *view
    if p.layout == L_VAR32:
        data[0] = n.buf[2] + (<const int32_t *> n.buf[1])[at]
        size[0] = (<const int32_t *> n.buf[1])[at + 1] - (<const int32_t *> n.buf[1])[at]
    elif p.layout == L_VAR64:
        data[0] = n.buf[2] + (<const int64_t *> n.buf[1])[at]
        size[0] = (<const int64_t *> n.buf[1])[at + 1] - (<const int64_t *> n.buf[1])[at]
    else:
        view = n.buf[1] + 16 * at
        size[0] = load_i32(view)
        data[0] = view + 4 if size[0] <= 12 else n.data[load_i32(view + 8)] + load_i32(view + 12)


cdef object struct_value(DataType t, PlanNode *p, Node *n, int64_t at):
    cdef dict out = {}
    cdef int32_t child = 1
    for f in t.children:
        out[(<Field> f).name] = value_at((<Field> f).type, p + child, n + child, at)
        child += p[child].span
    return out


cdef object union_value(DataType t, PlanNode *p, Node *n, int64_t at):
    cdef int code = (<const int8_t *> n.buf[0])[at]
    cdef int32_t child = 1
    cdef int i
    cdef Field f
    load_modules()
    for i in range(p.n_children):
        if p.codes[i] == code:
            f = <Field> t.children[i]
            if p.layout == L_DENSE:
                at = (<const int32_t *> n.buf[1])[at]
            return values_module.UnionValue(f.name, value_at(f.type, p + child, n + child, at))
        child += p[child].span
    raise ProtocolError(f"union type code {code} is not declared")


cdef int64_t run_of(int id, Node *ends, int64_t at) noexcept nogil:
    """Position of the run that covers logical position ``at``."""
    cdef int64_t low = 0
    cdef int64_t high = ends.length - 1
    cdef int64_t middle
    while low < high:
        middle = (low + high) >> 1
        if index_at(id, ends.buf[1], ends.offset + middle) > at:
            high = middle
        else:
            low = middle + 1
    return low


cdef object run_value(DataType t, PlanNode *p, Node *n, int64_t at):
    cdef Field values = <Field> t.children[1]
    return value_at(values.type, p + 2, n + 2, run_of(p[1].type, n + 1, at))


cdef object list_value(DataType t, PlanNode *p, Node *n, int64_t at):
    cdef DataType inner = (<Field> t.children[0]).type
    cdef int64_t start, end, i
    if p.layout == L_LIST32:
        start = (<const int32_t *> n.buf[1])[at]
        end = (<const int32_t *> n.buf[1])[at + 1]
    elif p.layout == L_LIST64:
        start = (<const int64_t *> n.buf[1])[at]
        end = (<const int64_t *> n.buf[1])[at + 1]
    elif p.layout == L_LISTVIEW32:
        start = (<const int32_t *> n.buf[1])[at]
        end = start + (<const int32_t *> n.buf[2])[at]
    elif p.layout == L_LISTVIEW64:
        start = (<const int64_t *> n.buf[1])[at]
        end = start + (<const int64_t *> n.buf[2])[at]
    else:
        start = at * p.list_size
        end = start + p.list_size
    if t.id == T_MAP:
        key, value = inner.children
        return [(value_at((<Field> key).type, p + 2, n + 2, i + n[1].offset),
                 value_at((<Field> value).type, p + 2 + p[2].span, n + 2 + p[2].span, i + n[1].offset))
                for i in range(start, end)]
    return [value_at(inner, p + 1, n + 1, i) for i in range(start, end)]


# ---- building ----

cdef Array array_of_values(list values, DataType t):
    cdef Nodes nodes = Nodes.new(node_count(t), None)
    fill_values(t, t.plan, nodes.at, values, nodes)
    return Array.new(t, nodes, nodes.at)


cdef Block new_buffer(Nodes owner, size_t size):
    cdef Block block = Block.new((size + 7) & ~(<size_t> 7))
    memset(block.data, 0, block.capacity)
    owner.hold(block)
    return block


cdef object no_fit(object value, DataType t, Py_ssize_t i):
    return TypeMismatchError(f"value {i} ({value!r:.80}) does not fit {type_text(t)}")


cdef int fill_validity(Node *n, list values, Nodes owner) except -1:
    cdef Py_ssize_t i
    cdef Block bits = None
    n.length = len(values)
    n.null_count = 0
    for i in range(len(values)):
        if values[i] is None:
            n.null_count += 1
    if n.null_count == 0:
        return 0
    bits = new_buffer(owner, (len(values) + 7) >> 3)
    for i in range(len(values)):
        if values[i] is not None:
            set_bit(bits.data, i)
    n.buf[0] = bits.data
    return 0


cdef int fill_values(DataType t, PlanNode *p, Node *n, list values, Nodes owner) except -1:
    cdef int layout = p.layout
    if layout == L_SPARSE or layout == L_DENSE:
        return fill_union(t, p, n, values, owner)
    if layout == L_NULL:
        n.length = n.null_count = len(values)
        for i, v in enumerate(values):
            if v is not None:
                raise no_fit(v, t, i)
        return 0
    if layout == L_RUNS:
        raise TypeMismatchError("run-end encoded arrays cannot be built from Python values")
    fill_validity(n, values, owner)
    if layout == L_BITS:
        return fill_bools(t, n, values, owner)
    if layout == L_FIXED:
        return fill_fixed(t, n, values, owner)
    if layout == L_VAR32 or layout == L_VAR64 or layout == L_VIEW:
        return fill_texts(t, p, n, values, owner)
    if layout == L_STRUCT:
        return fill_structs(t, p, n, values, owner)
    if layout == L_DICTIONARY:
        return fill_dictionary(t, p, n, values, owner)
    return fill_lists(t, p, n, values, owner)


cdef int fill_bools(DataType t, Node *n, list values, Nodes owner) except -1:
    cdef Block bits = new_buffer(owner, (len(values) + 7) >> 3)
    cdef Py_ssize_t i
    n.buf[1] = bits.data
    for i in range(len(values)):
        v = values[i]
        if v is None:
            continue
        if v is True or (v is not False and type(v).__name__ in ("bool_", "bool") and v):
            set_bit(bits.data, i)
        elif v is not False and type(v).__name__ not in ("bool_", "bool"):
            raise no_fit(v, t, i)
    return 0


cdef int fill_fixed(DataType t, Node *n, list values, Nodes owner) except -1:
    cdef Block block = new_buffer(owner, len(values) * t.width_)
    cdef Py_ssize_t i
    n.buf[1] = block.data
    for i in range(len(values)):
        if values[i] is not None:
            try:
                store_fixed(t, block.data + i * t.width_, values[i])
            except (TypeError, ValueError, OverflowError, ArithmeticError, AttributeError):
                raise no_fit(values[i], t, i) from None
    return 0


cdef int store_int(uint8_t *at, object number, int width, bint signed) except -1:
    cdef bytes raw
    raw = number.__index__().to_bytes(width, "little", signed=signed)
    memcpy(at, PyBytes_AS_STRING(raw), width)
    return 0


cdef int store_fixed(DataType t, uint8_t *at, object v) except -1:
    cdef double f64
    cdef float f32
    cdef bytes raw
    if T_INT8 <= t.id <= T_UINT64:
        if isinstance(v, bool):
            raise TypeError
        return store_int(at, v, t.width_, t.id <= T_INT64)
    if t.id == T_FLOAT64:
        f64 = v
        memcpy(at, &f64, 8)
    elif t.id == T_FLOAT32:
        f32 = v
        memcpy(at, &f32, 4)
    elif t.id == T_FLOAT16:
        import struct
        raw = struct.pack("<e", float(v))
        memcpy(at, PyBytes_AS_STRING(raw), 2)
    elif t.id == T_FIXED_SIZE_BINARY:
        raw = bytes(v) if not isinstance(v, (str, int)) else None
        if raw is None or len(raw) != t.width_:
            raise ValueError
        memcpy(at, PyBytes_AS_STRING(raw), t.width_)
    elif T_DECIMAL32 <= t.id <= T_DECIMAL256:
        store_int(at, scaled_decimal(t, v), t.width_, True)
    else:
        store_temporal(t, at, v)
    return 0


cdef object scaled_decimal(DataType t, object v):
    load_modules()
    if isinstance(v, float):
        v = repr(v)
    number = decimal_module.Decimal(v)
    with decimal_module.localcontext() as context:
        context.prec = 100
        scaled = number.scaleb(t.scale)
        whole = int(scaled)
        if whole != scaled or abs(whole) >= <object> 10 ** <object> t.precision:
            raise ValueError
    return whole


cdef object micros_of(object delta):
    return (delta.days * 86400 + delta.seconds) * 1000000 + delta.microseconds


cdef object in_unit(object micros, int unit):
    if unit == 3:
        return micros * 1000
    whole, rest = divmod(micros * PER_SECOND[unit], 1000000)
    if rest:
        raise ValueError
    return whole


cdef int store_temporal(DataType t, uint8_t *at, object v) except -1:
    load_modules()
    dt = datetime_module
    if t.id == T_INTERVAL_MONTH_DAY_NANO:
        if isinstance(v, dt.timedelta):
            v = (0, v.days, (v.seconds * 1000000 + v.microseconds) * 1000)
        months, days, nanos = v
        store_int(at, months, 4, True)
        store_int(at + 4, days, 4, True)
        return store_int(at + 8, nanos, 8, True)
    if t.id == T_INTERVAL_MONTHS:
        return store_int(at, v[0] if isinstance(v, tuple) else v, 4, True)
    if t.id == T_INTERVAL_DAY_TIME:
        months, days, nanos = v
        store_int(at, days, 4, True)
        return store_int(at + 4, nanos // 1000000, 4, True)
    if type(v).__module__ == "numpy" and type(v).__name__ in ("datetime64", "timedelta64"):
        unit = "D" if t.id == T_DATE32 else "ms" if t.id == T_DATE64 else UNITS[t.unit_]
        number = int(v.astype(f"{type(v).__name__}[{unit}]").astype("int64"))
    elif isinstance(v, int):
        number = v
    elif t.id == T_DATE32 or t.id == T_DATE64:
        number = v.toordinal() - 719163
        if t.id == T_DATE64:
            number *= 86400000
    elif t.id == T_DURATION:
        number = in_unit(micros_of(v), t.unit_)
    elif t.id == T_TIMESTAMP:
        if not isinstance(v, dt.datetime):
            v = dt.datetime(v.year, v.month, v.day)
        if v.tzinfo is not None:
            v = v.astimezone(dt.timezone.utc).replace(tzinfo=None)
        elif t.timezone is not None:
            v = v.replace(tzinfo=zone_of(t.timezone)).astimezone(dt.timezone.utc).replace(tzinfo=None)
        number = in_unit(micros_of(v - dt.datetime(1970, 1, 1)), t.unit_)
    else:
        number = in_unit(((v.hour * 60 + v.minute) * 60 + v.second) * 1000000 + v.microsecond, t.unit_)
    return store_int(at, number, t.width_, True)


cdef int fill_texts(DataType t, PlanNode *p, Node *n, list values, Nodes owner) except -1:
    cdef bint is_text = t.id in (T_UTF8, T_LARGE_UTF8, T_UTF8_VIEW)
    cdef list raw = []
    cdef Py_ssize_t i
    for i in range(len(values)):
        v = values[i]
        if v is None:
            raw.append(b"")
        elif isinstance(v, str) and is_text:
            try:
                raw.append(v.encode())
            except UnicodeEncodeError:
                raise no_fit(v, t, i) from None
        elif isinstance(v, bytes) and not is_text:
            raw.append(v)
        elif isinstance(v, (bytearray, memoryview)) and not is_text:
            raw.append(bytes(v))
        else:
            raise no_fit(v, t, i)
    if p.layout == L_VIEW:
        return fill_views(n, raw, owner)
    return fill_offsets_and_bytes(t, p, n, raw, owner)


cdef int fill_offsets_and_bytes(DataType t, PlanNode *p, Node *n, list raw, Nodes owner) except -1:
    cdef int width = 4 if p.layout == L_VAR32 else 8
    cdef Block offsets = new_buffer(owner, (len(raw) + 1) * width)
    cdef Block data
    cdef int64_t total = 0
    cdef Py_ssize_t i
    cdef bytes piece
    for i in range(len(raw)):
        total += PyBytes_GET_SIZE(<bytes> raw[i])
    if width == 4 and total > INT32_MAX:
        raise TypeMismatchError(f"{total} bytes do not fit one {type_text(t)} array; use the large_ form")
    data = new_buffer(owner, total)
    total = 0
    for i in range(len(raw)):
        piece = raw[i]
        memcpy(data.data + total, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
        total += PyBytes_GET_SIZE(piece)
        if width == 4:
            (<int32_t *> offsets.data)[i + 1] = <int32_t> total
        else:
            (<int64_t *> offsets.data)[i + 1] = total
    n.buf[1] = offsets.data
    n.buf[2] = data.data
    return 0


cdef int fill_views(Node *n, list raw, Nodes owner) except -1:
    cdef Block views = new_buffer(owner, 16 * len(raw))
    cdef Block data
    cdef bytes joined = b"".join([r for r in raw if len(r) > 12])
    cdef int32_t size, zero = 0
    cdef int32_t at = 0
    cdef Py_ssize_t i
    cdef bytes piece
    if len(joined) > INT32_MAX:
        raise TypeMismatchError("more than 2 GiB in one view array")
    data = new_buffer(owner, len(joined))
    memcpy(data.data, PyBytes_AS_STRING(joined), len(joined))
    for i in range(len(raw)):
        piece = raw[i]
        size = <int32_t> len(piece)
        memcpy(views.data + 16 * i, &size, 4)
        if size <= 12:
            memcpy(views.data + 16 * i + 4, PyBytes_AS_STRING(piece), size)
        else:
            memcpy(views.data + 16 * i + 4, PyBytes_AS_STRING(piece), 4)
            memcpy(views.data + 16 * i + 8, &zero, 4)
            memcpy(views.data + 16 * i + 12, &at, 4)
            at += size
    n.buf[1] = views.data
    n.data = <const uint8_t **> checked_alloc(sizeof(void *))
    n.data_size = <int64_t *> checked_alloc(sizeof(int64_t))
    n.data[0] = data.data
    n.data_size[0] = at
    n.n_data = 1
    return 0


cdef int fill_structs(DataType t, PlanNode *p, Node *n, list values, Nodes owner) except -1:
    cdef int32_t child = 1
    cdef Py_ssize_t i
    cdef list inner
    for i in range(len(values)):
        if values[i] is not None and not hasattr(values[i], "get"):
            raise no_fit(values[i], t, i)
    for f in t.children:
        inner = [None if v is None else v.get((<Field> f).name) for v in values]
        fill_values((<Field> f).type, p + child, n + child, inner, owner)
        child += p[child].span
    return 0


cdef int fill_lists(DataType t, PlanNode *p, Node *n, list values, Nodes owner) except -1:
    cdef list flat = []
    cdef list bounds = [0]
    cdef Py_ssize_t i
    cdef bint wide = p.layout == L_LIST64 or p.layout == L_LISTVIEW64
    cdef DataType inner = (<Field> t.children[0]).type
    for i in range(len(values)):
        v = values[i]
        if v is not None:
            if isinstance(v, (str, bytes)) or not hasattr(v, "__iter__"):
                raise no_fit(v, t, i)
            try:
                if t.id == T_MAP:
                    v = [{(<Field> inner.children[0]).name: k, (<Field> inner.children[1]).name: x}
                         for k, x in (v.items() if hasattr(v, "items") else v)]
                else:
                    v = list(v)
            except (TypeError, ValueError):
                raise no_fit(values[i], t, i) from None
            if p.layout == L_FIXED_LIST and len(v) != p.list_size:
                raise no_fit(v, t, i)
            flat.extend(v)
        elif p.layout == L_FIXED_LIST:
            flat.extend([None] * p.list_size)
        bounds.append(len(flat))
    if p.layout != L_FIXED_LIST:
        fill_bounds(n, bounds, wide, p.layout == L_LISTVIEW32 or p.layout == L_LISTVIEW64, owner)
    return fill_values(inner, p + 1, n + 1, flat, owner)


cdef int fill_bounds(Node *n, list bounds, bint wide, bint views, Nodes owner) except -1:
    cdef int width = 8 if wide else 4
    cdef Block offsets = new_buffer(owner, len(bounds) * width)
    cdef Block sizes
    cdef Py_ssize_t i
    if not wide and bounds[-1] > INT32_MAX:
        raise TypeMismatchError("more than 2**31 list elements in one array; use large_list")
    for i in range(len(bounds)):
        store_int(offsets.data + i * width, bounds[i], width, True)
    n.buf[1] = offsets.data
    if views:
        sizes = new_buffer(owner, len(bounds) * width)
        for i in range(len(bounds) - 1):
            store_int(sizes.data + i * width, bounds[i + 1] - bounds[i], width, True)
        n.buf[2] = sizes.data
    return 0


cdef int fill_dictionary(DataType t, PlanNode *p, Node *n, list values, Nodes owner) except -1:
    cdef dict seen = {}
    cdef list unique = []
    cdef Block indices = new_buffer(owner, len(values) * p.width)
    cdef Nodes held = Nodes.new(p.values_span, None)
    cdef Py_ssize_t i, at
    for i in range(len(values)):
        v = values[i]
        if v is None:
            continue
        try:
            at = seen.setdefault((type(v), v), len(unique))     # True is not 1
        except TypeError:
            raise no_fit(v, t, i) from None
        if at == len(unique):
            unique.append(v)
        try:
            store_int(indices.data + i * p.width, at, p.width, t.index_type.id <= T_INT64)
        except OverflowError:
            raise TypeMismatchError(f"{len(unique)} distinct values do not fit {type_text(t)}") from None
    n.buf[1] = indices.data
    fill_values(t.dictionary_values, p.values, held.at, unique, held)
    n.dictionary = held.at
    owner.hold(held)
    return 0


cdef int fill_union(DataType t, PlanNode *p, Node *n, list values, Nodes owner) except -1:
    cdef Block codes = new_buffer(owner, len(values))
    cdef Block offsets = None
    cdef list columns = [[] for _ in t.children]
    cdef list names = [(<Field> f).name for f in t.children]
    cdef Py_ssize_t i, member
    cdef int32_t child = 1
    if p.layout == L_DENSE:
        offsets = new_buffer(owner, 4 * len(values))
        n.buf[1] = offsets.data
    n.length = len(values)
    n.buf[0] = codes.data
    for i in range(len(values)):
        v = values[i]
        if v is None:
            v = (names[0], None)
        try:
            tag, inner = v
            member = names.index(tag) if isinstance(tag, str) else t.type_codes.index(tag)
        except (TypeError, ValueError):
            raise no_fit(v, t, i) from None
        codes.data[i] = <uint8_t> p.codes[member]
        if p.layout == L_DENSE:
            (<int32_t *> offsets.data)[i] = <int32_t> len(columns[member])
            columns[member].append(inner)
        else:
            for m in range(len(columns)):
                columns[m].append(inner if m == member else None)
    for i in range(len(columns)):
        fill_values((<Field> t.children[i]).type, p + child, n + child, columns[i], owner)
        child += p[child].span
    return 0
