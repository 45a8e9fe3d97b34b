# Owns: the values of a column taken apart by group, and put together again as lists or joined text.
# May use: state.
# A part is what one batch gives to one group: int64 count, int64 bytes of values, then the values: fixed-width
#   ones side by side, others behind a uint32 length each. With nulls kept, a byte of 0 or 1 precedes each value.

cdef enum:
    PART_HEAD = 16


cdef int collected_width(DataType t) except -2:
    """Bytes of a value, 0 for a boolean, -1 for texts and binaries."""
    cdef int layout = LAYOUTS[t.id]
    if layout == L_BITS:
        return 0
    if layout == L_FIXED:
        return t.width_
    if layout in (L_VAR32, L_VAR64, L_VIEW):
        return -1
    raise TypeMismatchError(f"values of {type_text(t)} cannot be collected")


def collect_parts(Groups groups not None, Array values not None, keep_nulls=False):
    """One part for each group, None for a group that nothing is added to."""
    cdef int width = collected_width(values.type)
    cdef PlanNode *p = values.type.own_plan()
    cdef Node *n = values.node
    cdef bint keep = keep_nulls
    cdef int64_t i, g, size = 0
    cdef const uint8_t *data = NULL
    cdef uint32_t length
    cdef uint8_t flag
    cdef int64_t *sizes
    cdef int64_t *counts
    cdef uint8_t **ends
    cdef list parts = []
    if n.length != groups.rows:
        raise InternalError("values of other rows than those of the groups")
    sizes = <int64_t *> calloc(3 * (groups.count + 1), sizeof(int64_t))
    if sizes == NULL:
        raise MemoryError()
    try:
        counts = sizes + groups.count + 1
        ends = <uint8_t **> (counts + groups.count + 1)
        for i in range(n.length):
            g = 0 if groups.count == 1 else groups.local[i]
            if is_null(p, n, i):
                if keep:
                    counts[g] += 1
                    sizes[g] += 1
                continue
            counts[g] += 1
            if width < 0:
                slot_text_bytes(p, n, n.offset + i, &data, &size)
                if size > 0xFFFFFFFF:
                    raise TypeMismatchError("a value of more than 4 GiB")
                size += 4
            else:
                size = width if width else 1
            sizes[g] += size + keep
        for g in range(groups.count):
            if counts[g] == 0:
                parts.append(None)
                continue
            part = PyBytes_FromStringAndSize(NULL, PART_HEAD + sizes[g])
            ends[g] = <uint8_t *> PyBytes_AS_STRING(part)
            memcpy(ends[g], &counts[g], 8)
            memcpy(ends[g] + 8, &sizes[g], 8)
            ends[g] += PART_HEAD
            parts.append(part)
        for i in range(n.length):
            g = 0 if groups.count == 1 else groups.local[i]
            if is_null(p, n, i):
                if keep:
                    ends[g][0] = 0
                    ends[g] += 1
                continue
            if keep:
                ends[g][0] = 1
                ends[g] += 1
            if width < 0:
                slot_text_bytes(p, n, n.offset + i, &data, &size)
                length = <uint32_t> size
                memcpy(ends[g], &length, 4)
                memcpy(ends[g] + 4, data, size)
                ends[g] += 4 + size
            elif width == 0:
                flag = get_bit(n.buf[1], n.offset + i)
                ends[g][0] = flag
                ends[g] += 1
            else:
                memcpy(ends[g], n.buf[1] + (n.offset + i) * width, width)
                ends[g] += width
    finally:
        free(sizes)
    return parts


cdef int torn_part() except -1:
    raise_storage("collected values are damaged: a part is cut off")


cdef int part_value(const uint8_t **at, const uint8_t *end, int width, bint keep, const uint8_t **data,
                    int64_t *size) except -1:
    """The next value of a part; NULL where it is null."""
    cdef uint32_t length
    data[0] = NULL
    size[0] = 0
    if keep:
        if at[0] >= end:
            torn_part()
        at[0] += 1
        if not (at[0] - 1)[0]:
            return 0
    if width < 0:
        if end - at[0] < 4:
            torn_part()
        memcpy(&length, at[0], 4)
        at[0] += 4
        size[0] = length
    else:
        size[0] = width if width else 1
    if size[0] > end - at[0]:
        torn_part()
    data[0] = at[0]
    at[0] += size[0]
    return 0


cdef int64_t check_part(bytes part) except -1:
    """Number of values; the head agrees with the size."""
    cdef const uint8_t *p = <const uint8_t *> PyBytes_AS_STRING(part)
    cdef int64_t count
    if len(part) < PART_HEAD:
        torn_part()
    count = load_i64(p)
    if load_i64(p + 8) != len(part) - PART_HEAD or count < 0 or count > len(part) - PART_HEAD:
        torn_part()
    return count


def parts_to_array(list parts not None, type, keep_nulls=False):
    """The values of all parts, one after the other."""
    cdef DataType t = DataType.of(type)
    cdef int width = collected_width(t)
    cdef int64_t total = 0
    cdef int64_t text = 0
    cdef int64_t i = 0
    cdef int64_t nulls = 0
    cdef int64_t size = 0
    cdef int64_t count
    cdef const uint8_t *at
    cdef const uint8_t *end
    cdef const uint8_t *data = NULL
    cdef Nodes nodes = Nodes.new(1, None)
    cdef Block out, offsets, valid
    cdef bint keep = keep_nulls
    cdef DataType wide = t
    for part in parts:
        total += check_part(part)
        text += len(<bytes> part) - PART_HEAD
    valid = new_buffer(nodes, (total + 7) >> 3)
    if width < 0:
        # Offsets of 64 bits are narrowed by a cast where the type has 32 and the text fits.
        wide = DataType.new(T_LARGE_UTF8 if t.id in (T_UTF8, T_LARGE_UTF8, T_UTF8_VIEW) else T_LARGE_BINARY)
        offsets = new_buffer(nodes, 8 * (total + 1))
        out = new_buffer(nodes, text)
        text = 0
    else:
        offsets = None
        out = new_buffer(nodes, total * width if width else (total + 7) >> 3)
    for part in parts:
        at = <const uint8_t *> PyBytes_AS_STRING(<bytes> part) + PART_HEAD
        end = at + len(<bytes> part) - PART_HEAD
        count = load_i64(at - PART_HEAD)
        while count:
            part_value(&at, end, width, keep, &data, &size)
            if data == NULL:
                nulls += 1
            else:
                set_bit(valid.data, i)
                if width < 0:
                    memcpy(out.data + text, data, size)
                    text += size
                elif width:
                    memcpy(out.data + i * width, data, width)
                elif data[0]:
                    set_bit(out.data, i)
            i += 1
            count -= 1
            if width < 0:
                (<int64_t *> offsets.data)[i] = text
        if at != end:
            torn_part()
    nodes.at[0].length = total
    nodes.at[0].null_count = nulls
    nodes.at[0].buf[0] = valid.data if nulls else NULL
    nodes.at[0].buf[1] = offsets.data if width < 0 else out.data
    nodes.at[0].size[1] = 8 * (total + 1)
    if width < 0:
        nodes.at[0].buf[2] = out.data
        nodes.at[0].size[2] = text
        if t.id == T_UTF8 or t.id == T_BINARY:
            return narrowed(t, nodes, total, text)
    return cast_array(Array.new(wide, nodes, nodes.at), t)


cdef Array narrowed(DataType t, Nodes nodes, int64_t count, int64_t text):
    cdef Block offsets
    cdef int64_t i
    if text > INT32_MAX:
        raise TypeMismatchError(f"{text} bytes of values do not fit into one array of {type_text(t)}")
    offsets = new_buffer(nodes, 4 * (count + 1))
    for i in range(count + 1):
        (<int32_t *> offsets.data)[i] = <int32_t> (<int64_t *> nodes.at[0].buf[1])[i]
    nodes.at[0].buf[1] = offsets.data
    nodes.at[0].size[1] = 4 * (count + 1)
    return Array.new(t, nodes, nodes.at)


def join_parts(list parts not None, bytes separator not None):
    """Texts of all parts with the separator between them; nulls are not among them."""
    cdef list texts = []
    cdef const uint8_t *at
    cdef const uint8_t *end
    cdef const uint8_t *data = NULL
    cdef int64_t size = 0
    cdef int64_t count
    for part in parts:
        count = check_part(part)
        at = <const uint8_t *> PyBytes_AS_STRING(<bytes> part) + PART_HEAD
        end = at + len(<bytes> part) - PART_HEAD
        while count:
            part_value(&at, end, -1, False, &data, &size)
            texts.append(PyBytes_FromStringAndSize(<const char *> data, size))
            count -= 1
        if at != end:
            torn_part()
    return separator.join(texts)


def list_array(Array values not None, list counts not None):
    """``list<…>`` of consecutive values; a count of None is a null list."""
    cdef DataType t = parse_type(f"list<{type_text(values.type)}>")
    cdef Nodes nodes = Nodes.new(node_count(t), values.owner)
    cdef Block offsets = new_buffer(nodes, 4 * (len(counts) + 1))
    cdef Block valid = new_buffer(nodes, (len(counts) + 7) >> 3)
    cdef int64_t at = 0
    cdef int64_t nulls = 0
    cdef Py_ssize_t i
    nodes.borrows_data = True
    for i in range(len(counts)):
        if counts[i] is None:
            nulls += 1
        else:
            if counts[i] < 0 or counts[i] > values.node.length - at:
                raise ValueError("more values are counted than there are")
            set_bit(valid.data, i)
            at += counts[i]
        if at > INT32_MAX:
            raise TypeMismatchError("more than 2**31 values do not fit into one list array")
        (<int32_t *> offsets.data)[i + 1] = <int32_t> at
    nodes.at[0].length = len(counts)
    nodes.at[0].null_count = nulls
    nodes.at[0].buf[0] = valid.data if nulls else NULL
    nodes.at[0].buf[1] = offsets.data
    memcpy(nodes.at + 1, values.node, node_count(values.type) * sizeof(Node))
    return Array.new(t, nodes, nodes.at)
