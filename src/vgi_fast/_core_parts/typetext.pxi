# Owns: the text form of types and schemas, both directions.
# May use: types. Parsing is cold: record declarations and authors' annotations, once each.

cdef dict SIMPLE = {
    "null": T_NULL, "bool": T_BOOL, "boolean": T_BOOL,
    "int8": T_INT8, "int16": T_INT16, "int32": T_INT32, "int64": T_INT64,
    "uint8": T_UINT8, "uint16": T_UINT16, "uint32": T_UINT32, "uint64": T_UINT64,
    "float16": T_FLOAT16, "halffloat": T_FLOAT16, "float32": T_FLOAT32, "float": T_FLOAT32,
    "float64": T_FLOAT64, "double": T_FLOAT64,
    "date32": T_DATE32, "date64": T_DATE64,
    "month_interval": T_INTERVAL_MONTHS, "day_time_interval": T_INTERVAL_DAY_TIME,
    "month_day_nano_interval": T_INTERVAL_MONTH_DAY_NANO,
    "utf8": T_UTF8, "string": T_UTF8, "large_utf8": T_LARGE_UTF8, "large_string": T_LARGE_UTF8,
    "utf8_view": T_UTF8_VIEW, "string_view": T_UTF8_VIEW,
    "binary": T_BINARY, "large_binary": T_LARGE_BINARY, "binary_view": T_BINARY_VIEW,
}
cdef dict UNIT_TYPES = {"timestamp": T_TIMESTAMP, "duration": T_DURATION, "time32": T_TIME32, "time64": T_TIME64}
cdef dict DECIMALS = {"decimal32": (T_DECIMAL32, 9), "decimal64": (T_DECIMAL64, 18), "decimal128": (T_DECIMAL128, 38),
                      "decimal256": (T_DECIMAL256, 76), "decimal": (T_DECIMAL128, 38)}
cdef dict LISTS = {"list": T_LIST, "large_list": T_LARGE_LIST, "list_view": T_LIST_VIEW,
                   "large_list_view": T_LARGE_LIST_VIEW}


cdef object bad_type(str text, str reason):
    return ValueError(f"cannot read the Arrow type {text!r}: {reason}")


cdef list split_top(str text):
    """Split at commas outside of brackets."""
    cdef list parts = []
    cdef int depth = 0
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t i
    for i in range(len(text)):
        c = text[i]
        if c in "<[(":
            depth += 1
        elif c in ">])":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    last = text[start:].strip()
    if last or parts:
        parts.append(last)
    return parts


cdef tuple split_name(str text):
    """(name, rest) of ``name: rest`` with the colon outside of brackets; (None, text) without one."""
    cdef Py_ssize_t i
    for i in range(len(text)):
        c = text[i]
        if c in "<[(":
            return None, text
        if c == ":":
            return text[:i].strip(), text[i + 1:].strip()
    return None, text


cdef Field parse_field(str text, str default_name):
    cdef bint nullable = True
    name, rest = split_name(text)
    if name is None:
        if default_name is None:
            raise bad_type(text, "a field is written 'name: type'")
        name = default_name
    if rest.endswith("!") or rest.endswith("?"):
        nullable = rest[-1] == "?"
        rest = rest[:-1]
    elif rest.endswith(" not null"):
        nullable = False
        rest = rest[:-9]
    return Field.new(name, parse_type(rest), nullable, None)


cdef Schema parse_schema(str text):
    return Schema.new(tuple([parse_field(part, None) for part in split_top(text)]), None)


cdef DataType list_type(int id, Field child, int size=0):
    cdef DataType t = DataType.new(id)
    t.children = (child,)
    t.list_size = size
    return t


cdef DataType parse_type(str text):
    cdef str name, inner, tail
    cdef DataType t
    cdef Py_ssize_t cut
    cdef str body = text.strip()
    cdef int depth = 0
    if body in SIMPLE:
        return DataType.new(SIMPLE[body])
    for c in body:
        depth += c == "<"
        if depth > MAX_DEPTH:
            deepest = nesting(body)
            if deepest > MAX_DEPTH:
                raise ValueError(f"cannot read the Arrow type: it nests deeper than {MAX_DEPTH} levels")
            break
    for cut in range(len(body)):
        if body[cut] in "<[(":
            break
    else:
        raise bad_type(text, "unknown name")
    name = body[:cut].strip()
    if body[cut] == "<":
        end = body.rindex(">") if ">" in body else -1
        if end < 0:
            raise bad_type(text, "missing '>'")
        inner = body[cut + 1:end]
        tail = body[end + 1:].strip()
        return parse_nested(text, name, inner, tail)
    if body[len(body) - 1] not in ")]":
        raise bad_type(text, "missing closing bracket")
    inner = body[cut + 1:len(body) - 1]
    if name in DECIMALS:
        return parse_decimal(text, name, inner)
    if name in UNIT_TYPES:
        return parse_unit(text, name, inner)
    if name == "fixed_size_binary":
        t = DataType.new(T_FIXED_SIZE_BINARY)
        t.width_ = parse_count(text, inner)
        return t
    raise bad_type(text, "unknown name")


cdef int nesting(str text) except -1:
    cdef int depth = 0
    cdef int deepest = 0
    for c in text:
        if c == "<":
            depth += 1
            deepest = max(deepest, depth)
        elif c == ">":
            depth -= 1
    return deepest


cdef int parse_count(str text, str digits) except -1:
    if not digits.strip().isdigit() or int(digits) > INT32_MAX:
        raise bad_type(text, f"expected a size, got {digits!r}")
    return int(digits)


cdef DataType parse_decimal(str text, str name, str inner):
    cdef DataType t
    id, most = DECIMALS[name]
    parts = split_top(inner)
    try:
        precision = int(parts[0])
        scale = int(parts[1]) if len(parts) > 1 else 0
    except (ValueError, IndexError):
        raise bad_type(text, "expected (precision, scale)") from None
    if not 1 <= precision <= most:
        raise bad_type(text, f"precision must be 1 to {most}")
    t = DataType.new(id)
    t.precision = precision
    t.scale = scale
    return t


cdef DataType parse_unit(str text, str name, str inner):
    cdef DataType t = DataType.new(UNIT_TYPES[name])
    parts = split_top(inner)
    if not parts or parts[0] not in UNITS:
        raise bad_type(text, "expected a unit: s, ms, us or ns")
    t.unit_ = UNITS.index(parts[0])
    if (t.id == T_TIME32 and t.unit_ > 1) or (t.id == T_TIME64 and t.unit_ < 2):
        raise bad_type(text, "time32 has s or ms, time64 has us or ns")
    if len(parts) > 1:
        if t.id != T_TIMESTAMP or not parts[1].startswith("tz="):
            raise bad_type(text, "expected [unit, tz=ZONE]")
        t.timezone = parts[1][3:]
    return t


cdef DataType parse_nested(str text, str name, str inner, str tail):
    cdef DataType t
    cdef Field key
    parts = split_top(inner)
    if name in LISTS and len(parts) == 1 and not tail:
        return list_type(LISTS[name], parse_field(parts[0], "item"))
    if name == "fixed_size_list" and len(parts) == 1 and tail.startswith("[") and tail.endswith("]"):
        return list_type(T_FIXED_SIZE_LIST, parse_field(parts[0], "item"), parse_count(text, tail[1:len(tail) - 1]))
    if tail:
        raise bad_type(text, f"unexpected {tail!r}")
    if name == "struct":
        t = DataType.new(T_STRUCT)
        t.children = tuple([parse_field(part, None) for part in parts])
        return t
    if name == "map" and len(parts) in (2, 3):
        key = parse_field(parts[0], "key")
        return map_type(Field.new(key.name, key.type, False, None), parse_field(parts[1], "value"),
                        len(parts) == 3 and parts[2] == "keys_sorted")
    if name == "dictionary" and len(parts) in (2, 3):
        return dictionary_type(parse_type(parts[0]), parse_type(parts[1]), len(parts) == 3 and parts[2] == "ordered")
    if name == "run_end_encoded" and len(parts) == 2:
        t = DataType.new(T_RUN_END_ENCODED)
        t.children = (Field.new("run_ends", parse_type(parts[0]), False, None), parse_field(parts[1], "values"))
        return t
    if name in ("sparse_union", "dense_union"):
        return parse_union(text, name, parts)
    raise bad_type(text, "unknown name or wrong number of parameters")


cdef DataType parse_union(str text, str name, list parts):
    cdef list fields = []
    cdef list codes = []
    for i, part in enumerate(parts):
        first, rest = split_name(part)
        if first is not None and first.isdigit():
            codes.append(int(first))
            part = rest
        else:
            codes.append(i)
        fields.append(parse_field(part, None))
    return union_type(T_SPARSE_UNION if name == "sparse_union" else T_DENSE_UNION, fields, codes)


cdef DataType union_type(int id, list fields, list codes):
    cdef DataType t = DataType.new(id)
    if len(fields) > 127 or len(codes) != len(fields) or len(set(codes)) != len(codes):
        raise ProtocolError("a union has at most 127 members, each with its own type code")
    for c in codes:
        if not 0 <= c <= 127:
            raise ProtocolError(f"union type code {c} is outside of 0 to 127")
    t.children = tuple(fields)
    t.type_codes = tuple(codes)
    return t


cdef DataType map_type(Field key, Field value, bint keys_sorted):
    cdef DataType entries = DataType.new(T_STRUCT)
    cdef DataType t = DataType.new(T_MAP)
    entries.children = (key, value)
    t.children = (Field.new("entries", entries, False, None),)
    t.flag = keys_sorted
    return t


cdef DataType dictionary_type(DataType index, DataType values, bint ordered):
    cdef DataType t = DataType.new(T_DICTIONARY)
    if not T_INT8 <= index.id <= T_UINT64:
        raise ProtocolError(f"dictionary indices must be integers, got {index}")
    t.index_type = index
    t.dictionary_values = values
    t.flag = ordered
    return t


cdef str field_text(Field f):
    return f"{f.name}: {type_text(f.type)}" + ("" if f.nullable else "!")


cdef str type_text(DataType t):
    cdef str kind = KINDS[t.id]
    cdef Field key, value
    if T_DECIMAL32 <= t.id <= T_DECIMAL256:
        return f"{kind}({t.precision}, {t.scale})"
    if t.unit_ >= 0:
        zone = f", tz={t.timezone}" if t.timezone is not None else ""
        return f"{kind}[{UNITS[t.unit_]}{zone}]"
    if t.id == T_FIXED_SIZE_BINARY:
        return f"{kind}[{t.width_}]"
    if t.id == T_DICTIONARY:
        return f"{kind}<{type_text(t.index_type)}, {type_text(t.dictionary_values)}{', ordered' if t.flag else ''}>"
    if t.id == T_MAP:
        key, value = (<Field> t.children[0]).type.children
        return (f"map<{type_text(key.type)}, {type_text(value.type)}{'' if value.nullable else '!'}"
                f"{', keys_sorted' if t.flag else ''}>")
    if t.id == T_SPARSE_UNION or t.id == T_DENSE_UNION:
        inner = ", ".join([f"{c}: {field_text(<Field> f)}" for c, f in zip(t.type_codes, t.children)])
        return f"{kind}<{inner}>"
    if t.id == T_RUN_END_ENCODED:
        return f"{kind}<{', '.join([type_text((<Field> f).type) for f in t.children])}>"
    if t.children or t.id == T_STRUCT:
        inner = ", ".join([field_text(<Field> f) for f in t.children])
        return f"{kind}<{inner}>" + (f"[{t.list_size}]" if t.id == T_FIXED_SIZE_LIST else "")
    return kind
