# Owns: the checks that every received column passes before anything reads it (sections 1.4 and 5.6).
# May use: types, cdata nodes, bitmap. Each kernel reads only what the buffer sizes allow.
# Invariant: after check_node no offset, size, index, code or view of the column leads outside of its buffers.

cdef int refuse(str what) except -1:
    raise ProtocolError(f"malformed Arrow data: {what}")


cdef bint offsets32_fit(const int32_t *offsets, int64_t length, int64_t limit) noexcept nogil:
    cdef int64_t i
    cdef int32_t bad = 0
    if offsets[0] < 0 or offsets[length] > limit:
        return False
    for i in range(length):
        bad |= offsets[i + 1] < offsets[i]
    return not bad


cdef bint offsets64_fit(const int64_t *offsets, int64_t length, int64_t limit) noexcept nogil:
    cdef int64_t i
    cdef int bad = 0
    if offsets[0] < 0 or offsets[length] > limit:
        return False
    for i in range(length):
        bad |= offsets[i + 1] < offsets[i]
    return not bad


cdef bint views_fit(Node *n) noexcept nogil:
    cdef int64_t i
    cdef int32_t size, buffer, offset
    cdef const uint8_t *view
    for i in range(n.length):
        if n.buf[0] != NULL and not get_bit(n.buf[0], i):
            continue
        view = n.buf[1] + 16 * i
        size = load_i32(view)
        if size < 0:
            return False
        if size > 12:
            buffer = load_i32(view + 8)
            offset = load_i32(view + 12)
            if buffer < 0 or buffer >= n.n_data or offset < 0 or <int64_t> offset + size > n.data_size[buffer]:
                return False
    return True


cdef bint list_views_fit(Node *n, bint wide, int64_t limit) noexcept nogil:
    cdef int64_t i, offset, size
    for i in range(n.length):
        if n.buf[0] != NULL and not get_bit(n.buf[0], i):
            continue
        if wide:
            offset = (<const int64_t *> n.buf[1])[i]
            size = (<const int64_t *> n.buf[2])[i]
        else:
            offset = (<const int32_t *> n.buf[1])[i]
            size = (<const int32_t *> n.buf[2])[i]
        if offset < 0 or size < 0 or offset > limit - size:
            return False
    return True


cdef bint indices_fit(PlanNode *p, Node *n, int index_id, int64_t limit) noexcept nogil:
    cdef int64_t i, index
    for i in range(n.length):
        if n.buf[0] != NULL and not get_bit(n.buf[0], i):
            continue
        index = index_at(index_id, n.buf[1], i)
        if index < 0 or index >= limit:
            return False
    return True


cdef int need_size(Node *n, int k, int64_t count, int64_t width) except -1:
    if width and count > INT64_MAX // width or n.size[k] < count * width:
        refuse(f"a buffer of {n.size[k]} bytes for {count} values of {width} bytes")
    return 0


cdef int need_bits(Node *n, int k) except -1:
    # Divided, not multiplied: a hostile length must not overflow.
    if n.size[k] < n.length // 8 + (n.length % 8 != 0):
        refuse(f"a bitmap of {n.size[k]} bytes for {n.length} values")
    return 0


cdef int check_node(PlanNode *p, Node *n, bint utf8) except -1:
    """Sizes first, then contents; children before what refers to them."""
    cdef int layout = p.layout
    cdef int32_t child
    # What has no validity bitmap cannot announce nulls: readers would look for the bitmap.
    if layout == L_NULL:
        n.null_count = n.length
    elif layout in (L_SPARSE, L_DENSE, L_RUNS):
        n.null_count = 0
    elif n.null_count == 0:
        n.buf[0] = NULL
    else:
        need_bits(n, 0)
    if layout == L_FIXED:
        return need_size(n, 1, n.length, p.width)
    if layout == L_BITS:
        return need_bits(n, 1)
    if layout in (L_VAR32, L_VAR64, L_VIEW):
        check_texts(p, n, layout)
        if utf8 and p.type in (T_UTF8, T_LARGE_UTF8, T_UTF8_VIEW):
            check_utf8(p, n)
        return 0
    child = 1
    for _ in range(p.n_children):
        check_node(p + child, n + child, utf8)
        child += p[child].span
    if layout == L_STRUCT or layout == L_SPARSE:
        child = 1
        for _ in range(p.n_children):
            if n[child].length < n.length:
                refuse(f"a child of {n[child].length} rows in a parent of {n.length}")
            child += p[child].span
    if layout == L_STRUCT or layout == L_NULL:
        return 0
    if layout == L_SPARSE or layout == L_DENSE:
        return check_union(p, n)
    if layout == L_RUNS:
        return check_runs(p, n)
    if layout == L_DICTIONARY:
        return need_size(n, 1, n.length, p.width)
    return check_lists(p, n, layout)


cdef int check_texts(PlanNode *p, Node *n, int layout) except -1:
    if layout == L_VIEW:
        need_size(n, 1, n.length, 16)
        if not views_fit(n):
            refuse("a view outside of its data buffers")
        return 0
    if n.length == 0:
        n.buf[1] = EMPTY        # writers may leave the single offset out
        return 0
    if n.length >= INT64_MAX // 16:
        refuse(f"{n.length} values")
    need_size(n, 1, n.length + 1, 4 if layout == L_VAR32 else 8)
    if not (offsets32_fit(<const int32_t *> n.buf[1], n.length, n.size[2]) if layout == L_VAR32
            else offsets64_fit(<const int64_t *> n.buf[1], n.length, n.size[2])):
        refuse("offsets that decrease or lead outside of their data")
    return 0


cdef int check_utf8(PlanNode *p, Node *n) except -1:
    cdef const uint8_t *data = NULL
    cdef int64_t size = 0
    cdef int64_t i
    for i in range(n.length):
        if n.buf[0] == NULL or get_bit(n.buf[0], i):
            slot_text_bytes(p, n, i, &data, &size)
            if not is_utf8(data, size):
                refuse(f"value {i} of a utf8 column is not UTF-8")
    return 0


cdef bint is_utf8(const uint8_t *s, int64_t n) noexcept nogil:
    cdef int64_t i = 0
    cdef uint64_t word
    cdef uint8_t c
    while i < n:
        if n - i >= 8:
            memcpy(&word, s + i, 8)
            if not (word & <uint64_t> 0x8080808080808080):
                i += 8
                continue
        c = s[i]
        if c < 0x80:
            i += 1
        elif 0xC2 <= c <= 0xDF:
            if n - i < 2 or (s[i + 1] & 0xC0) != 0x80:
                return False
            i += 2
        elif 0xE0 <= c <= 0xEF:
            if n - i < 3 or (s[i + 1] & 0xC0) != 0x80 or (s[i + 2] & 0xC0) != 0x80:
                return False
            if (c == 0xE0 and s[i + 1] < 0xA0) or (c == 0xED and s[i + 1] > 0x9F):
                return False
            i += 3
        elif 0xF0 <= c <= 0xF4:
            if n - i < 4 or (s[i + 1] & 0xC0) != 0x80 or (s[i + 2] & 0xC0) != 0x80 or (s[i + 3] & 0xC0) != 0x80:
                return False
            if (c == 0xF0 and s[i + 1] < 0x90) or (c == 0xF4 and s[i + 1] > 0x8F):
                return False
            i += 4
        else:
            return False
    return True


cdef int check_lists(PlanNode *p, Node *n, int layout) except -1:
    cdef int64_t limit = n[1].length
    cdef bint fits
    if layout == L_FIXED_LIST:
        if p.list_size and n.length > limit // p.list_size:
            refuse(f"{limit} elements for {n.length} lists of {p.list_size}")
        return 0
    if layout == L_LIST32 or layout == L_LIST64:
        if n.length == 0:
            n.buf[1] = EMPTY
            return 0
        if n.length >= INT64_MAX // 16:
            refuse(f"{n.length} values")
        need_size(n, 1, n.length + 1, 4 if layout == L_LIST32 else 8)
        fits = (offsets32_fit(<const int32_t *> n.buf[1], n.length, limit) if layout == L_LIST32
                else offsets64_fit(<const int64_t *> n.buf[1], n.length, limit))
    else:
        need_size(n, 1, n.length, 4 if layout == L_LISTVIEW32 else 8)
        need_size(n, 2, n.length, 4 if layout == L_LISTVIEW32 else 8)
        fits = list_views_fit(n, layout == L_LISTVIEW64, limit)
    if not fits:
        refuse("list offsets that decrease or lead outside of their elements")
    return 0


cdef int check_union(PlanNode *p, Node *n) except -1:
    cdef int64_t i
    cdef int32_t child, k
    cdef int32_t[128] length_of      # rows of the member with that code, -1 where there is none
    cdef int8_t code
    cdef int32_t at
    need_size(n, 0, n.length, 1)
    if p.layout == L_DENSE:
        need_size(n, 1, n.length, 4)
    for k in range(128):
        length_of[k] = -1
    child = 1
    for k in range(p.n_children):
        length_of[p.codes[k]] = <int32_t> min(n[child].length, <int64_t> INT32_MAX)
        child += p[child].span
    for i in range(n.length):
        code = (<const int8_t *> n.buf[0])[i]
        if code < 0 or length_of[code] < 0:
            refuse(f"union type code {code} is not declared")
        if p.layout == L_DENSE:
            at = (<const int32_t *> n.buf[1])[i]
            if at < 0 or at >= length_of[code]:
                refuse("a union offset outside of its member")
    return 0


cdef int check_runs(PlanNode *p, Node *n) except -1:
    cdef int64_t i, end
    cdef int64_t last = 0
    if n[1].buf[0] != NULL:
        refuse("null run ends")
    if n[1].length > n[2].length:
        refuse("fewer values than runs")
    for i in range(n[1].length):
        end = index_at(p[1].type, n[1].buf[1], i)
        if end <= last:
            refuse("run ends that do not increase")
        last = end
    if last < n.length:
        refuse(f"runs end at {last} of {n.length} rows")
    return 0


cdef int check_dictionaries(PlanNode *p, Node *n, int32_t count) except -1:
    """Indices of every dictionary column against the dictionary that was attached."""
    cdef int32_t i
    for i in range(count):
        if p[i].layout == L_DICTIONARY:
            if not indices_fit(&p[i], &n[i], dictionary_index_id(&p[i]), n[i].dictionary.length):
                refuse("a dictionary index outside of its dictionary")
    return 0
