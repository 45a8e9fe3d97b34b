# Owns: NumPy views of arrays and arrays over NumPy memory; what authors return becomes an Array here.
# May use: types, cdata, arrays, values, bitmap.
# Invariant: NumPy's C interface is loaded when it is first needed, never at import.

# Declared by hand: a cimport of numpy would import NumPy when this module is imported.
cdef extern from "numpy/arrayobject.h":
    ctypedef intptr_t npy_intp
    ctypedef struct PyArrayObject
    ctypedef struct PyArray_Descr:
        int type_num
    int import_numpy_c "_import_array"() except -1
    object PyArray_SimpleNewFromData(int nd, npy_intp *dims, int type_num, void *data)
    object PyArray_SimpleNew(int nd, npy_intp *dims, int type_num)
    object PyArray_NewFromDescr(void *type, PyArray_Descr *descr, int nd, npy_intp *dims, npy_intp *strides,
                                void *data, int flags, PyObject *extra)
    int PyArray_SetBaseObject(PyArrayObject *array, PyObject *base) except -1
    void PyArray_CLEARFLAGS(PyArrayObject *array, int flags)
    void *PyArray_DATA(PyArrayObject *array)
    bint PyArray_CheckExact(object o)
    int PyArray_NDIM(PyArrayObject *array)
    npy_intp PyArray_DIM(PyArrayObject *array, int i)
    int PyArray_TYPE(PyArrayObject *array)
    bint PyArray_ISCARRAY_RO(PyArrayObject *array)
    void *ndarray_type "&PyArray_Type"
    enum:
        NPY_BOOL
        NPY_INT8
        NPY_INT16
        NPY_INT32
        NPY_INT64
        NPY_UINT8
        NPY_UINT16
        NPY_UINT32
        NPY_UINT64
        NPY_FLOAT16
        NPY_FLOAT32
        NPY_FLOAT64
        NPY_ARRAY_WRITEABLE


cdef inline PyArrayObject *raw(object array) noexcept:
    return <PyArrayObject *> <PyObject *> array


cdef bint numpy_ready = False
cdef object np = None

cdef int[N_TYPES] NPY_TYPES = [
    -1, NPY_BOOL, NPY_INT8, NPY_INT16, NPY_INT32, NPY_INT64,
    NPY_UINT8, NPY_UINT16, NPY_UINT32, NPY_UINT64,
    NPY_FLOAT16, NPY_FLOAT32, NPY_FLOAT64, -1, -1, -1, -1,
    -1, -1, -1, -1, -1, -1, -1, -1, -1,
    -1, -1, -1, -1, -1, -1, -1,
    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
]


cdef int need_numpy() except -1:
    global numpy_ready, np
    if not numpy_ready:
        import gc
        was_enabled = gc.isenabled()
        gc.disable()        # its hundred modules are no garbage
        try:
            import numpy
        finally:
            if was_enabled:
                gc.enable()
        np = numpy
        import_numpy_c()
        numpy_ready = True
    return 0


def load_numpy():
    """Import NumPy now, which the first array would otherwise wait for."""
    need_numpy()


cdef DataType type_of_dtype(object dtype):
    need_numpy()
    d = np.dtype(dtype)
    name = d.name
    if d.kind in "iufb" and name in SIMPLE:
        return DataType.new(SIMPLE[name])
    if d.kind == "M":
        unit = np.datetime_data(d)[0]
        return parse_type("date32" if unit == "D" else f"timestamp[{unit}]")
    if d.kind == "m":
        return parse_type(f"duration[{np.datetime_data(d)[0]}]")
    if d.kind in "UT":
        return DataType.new(T_UTF8)
    if d.kind == "S":
        return DataType.new(T_BINARY)
    raise TypeMismatchError(f"NumPy dtype {d} has no Arrow type here; name the type")


cdef object dtype_of(DataType t):
    """The dtype that views this type's values in place, or None."""
    if t.numpy_dtype is None:
        need_numpy()
        if t.id <= T_FLOAT64 and t.id > T_BOOL:
            t.numpy_dtype = np.dtype(KINDS[t.id])
        elif t.id == T_DATE32:
            t.numpy_dtype = np.dtype("i4")
        elif t.id == T_DATE64:
            t.numpy_dtype = np.dtype("M8[ms]")
        elif t.id == T_TIMESTAMP:
            t.numpy_dtype = np.dtype(f"M8[{UNITS[t.unit_]}]")
        elif t.id == T_DURATION:
            t.numpy_dtype = np.dtype(f"m8[{UNITS[t.unit_]}]")
        else:
            t.numpy_dtype = False
    return t.numpy_dtype if t.numpy_dtype is not False else None


# ---- out ----

cdef object view_memory(DataType t, const uint8_t *data, int64_t length, object owner):
    """Read-only array over ``data``; ``owner`` keeps the memory."""
    cdef npy_intp n = length
    cdef object array
    cdef object dtype
    if NPY_TYPES[t.id] > 0:
        array = PyArray_SimpleNewFromData(1, &n, NPY_TYPES[t.id], <void *> (data if data != NULL else EMPTY))
    else:
        dtype = dtype_of(t)
        Py_INCREF(dtype)         # stolen by the call
        array = PyArray_NewFromDescr(ndarray_type, <PyArray_Descr *> <PyObject *> dtype, 1, &n, NULL,
                                     <void *> (data if data != NULL else EMPTY), 0, NULL)
    PyArray_CLEARFLAGS(raw(array), NPY_ARRAY_WRITEABLE)
    Py_INCREF(owner)             # stolen by the call
    PyArray_SetBaseObject(raw(array), <PyObject *> owner)
    return array


cdef object numpy_of_node(DataType t, PlanNode *p, Node *n, object owner):
    cdef object flags
    cdef npy_intp length = n.length
    cdef int64_t i
    cdef object out, value
    cdef PyObject **slots
    need_numpy()
    if t.id == T_BOOL:
        flags = PyArray_SimpleNew(1, &length, NPY_BOOL)
        if length:
            expand_bits(<uint8_t *> PyArray_DATA(raw(flags)), n.buf[1], n.offset, length)
        return flags
    if p.layout == L_FIXED and (NPY_TYPES[t.id] > 0 or dtype_of(t) is not None):
        out = view_memory(t, n.buf[1] + n.offset * p.width, length, owner)
        return out.astype("M8[D]") if t.id == T_DATE32 else out
    out = np.empty(length, dtype=object)
    slots = <PyObject **> PyArray_DATA(raw(out))
    for i in range(length):
        value = text_or_none(t, p, n, i) if p.layout in (L_VAR32, L_VAR64, L_VIEW) else value_at(t, p, n, i)
        Py_INCREF(value)
        Py_XDECREF(slots[i])
        slots[i] = <PyObject *> value
    return out


cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, uint32_t largest)
    void *PyUnicode_DATA(object text)


cdef inline object text_or_none(DataType t, PlanNode *p, Node *n, int64_t i):
    """``value_at`` for strings and binaries; ASCII is copied without looking at it twice."""
    cdef const uint8_t *data = NULL
    cdef int64_t size = 0
    cdef object text
    if n.buf[0] != NULL and not get_bit(n.buf[0], n.offset + i):
        return None
    if t.id == T_BINARY or t.id == T_LARGE_BINARY or t.id == T_BINARY_VIEW:
        return text_value(t, p, n, n.offset + i)
    slot_text_bytes(p, n, n.offset + i, &data, &size)
    if size == 0 or not is_ascii(data, size):
        return text_value(t, p, n, n.offset + i)
    text = PyUnicode_New(size, 127)
    memcpy(PyUnicode_DATA(text), data, size)
    return text


cdef inline bint is_ascii(const uint8_t *s, int64_t n) noexcept nogil:
    cdef uint64_t seen = 0
    cdef uint64_t word
    cdef int64_t i = 0
    while n - i >= 8:
        memcpy(&word, s + i, 8)
        seen |= word
        i += 8
    while i < n:
        seen |= s[i]
        i += 1
    return not (seen & <uint64_t> 0x8080808080808080)


cdef object numpy_of_array(Array a):
    return numpy_of_node(a.type, a.type.own_plan(), a.node, a.owner)


cdef object mask_of_node(PlanNode *p, Node *n, bint invert):
    """Boolean array, True where valid (or null, inverted); None when nothing is null."""
    cdef npy_intp length = n.length
    cdef object out
    need_numpy()
    if count_nulls(p, n) == 0:
        return None
    out = PyArray_SimpleNew(1, &length, NPY_BOOL)
    if p.layout == L_NULL:
        memset(PyArray_DATA(raw(out)), 0, length)
    else:
        expand_bits(<uint8_t *> PyArray_DATA(raw(out)), n.buf[0], n.offset, length)
    return np.logical_not(out, out) if invert else out


cdef object valid_mask(Array a):
    return mask_of_node(a.type.own_plan(), a.node, False)


# ---- in ----

cdef Array array_of_numpy(object values, DataType t, object mask):
    cdef Nodes nodes
    need_numpy()
    if not isinstance(values, np.ndarray):
        raise TypeError(f"expected a NumPy array, got {type(values).__name__}")
    if values.ndim != 1:
        raise TypeMismatchError(
            f"a NumPy array of shape {values.shape} was given for {type_text(t)}, expected one dimension")
    if values.dtype.hasobject or values.dtype.kind in "UST" or LAYOUTS[t.id] not in (L_FIXED, L_BITS) or (
            t.id != T_BOOL and NPY_TYPES[t.id] < 0 and dtype_of(t) is None):
        return array_of_objects(values, t, mask)
    if mask is not None and mask is not False and not (values.dtype == dtype_of(t)):
        values = np.where(mask, np.zeros(1, values.dtype), values)      # what is masked need not fit
    values = cast_numpy(values, t)
    nodes = Nodes.new(1, values)
    nodes.at[0].length = len(values)
    if t.id == T_BOOL:
        pack_bools(nodes, values)
    else:
        nodes.at[0].buf[1] = <const uint8_t *> PyArray_DATA(raw(values))
    if mask is not None and mask is not False:
        set_mask(nodes, mask)
    return Array.new(t, nodes, nodes.at)


cdef object cast_numpy(object values, DataType t):
    """C-contiguous, native-endian, of the very dtype; cast like ``same_kind`` where it differs."""
    cdef object want
    cdef object source = values.dtype
    if t.id == T_BOOL:
        want = np.dtype("bool")
    elif t.id == T_DATE32:
        if source.kind == "M":
            values = values.astype("M8[D]").astype("i8")
            source = values.dtype
        want = np.dtype("i4")
        if source.kind == "i":
            if len(values):
                check_range(values, want, t)
            return np.ascontiguousarray(values.astype("i4", copy=False))
    else:
        want = dtype_of(t)
    if source == want:
        return np.ascontiguousarray(values)
    if np.can_cast(source, want, "same_kind") or (source.kind in "iu" and want.kind in "iu") or (
            source.kind in "iu" and t.id >= T_DATE32):
        if source.kind in "iuf" and want.kind in "iu" and len(values):
            check_range(values, want, t)
        return np.ascontiguousarray(values.astype(want))
    raise TypeMismatchError(f"Output type mismatch. A NumPy array of {source} cannot become {type_text(t)}")


def check_range(values, want, DataType t):
    info = np.iinfo(want)
    if values.dtype.kind in "iu" and (int(values.min()) < info.min or int(values.max()) > info.max):
        raise TypeMismatchError(f"Output type mismatch. Values of {values.dtype} lie outside of {type_text(t)}")


cdef Array array_of_objects(object values, DataType t, object mask):
    cdef list items
    if values.dtype.kind == "S" and t.id in (T_UTF8, T_LARGE_UTF8, T_UTF8_VIEW):
        try:
            items = [v.decode() for v in values.tolist()]
        except UnicodeDecodeError as e:
            raise TypeMismatchError(f"Output type mismatch. Bytes that are not UTF-8 for {type_text(t)}: {e}") from None
    elif values.dtype.kind in "Mm":
        items = list(values)
    else:
        items = values.tolist()
    if mask is not None and mask is not False and np.ndim(mask):
        items = [None if m else v for v, m in zip(items, mask.tolist())]
    return array_of_values(items, t)


cdef int pack_bools(Nodes nodes, object values) except -1:
    cdef int64_t n = nodes.at[0].length
    cdef Block bits = new_buffer(nodes, (n + 7) >> 3)
    pack_bytes(bits.data, <const uint8_t *> PyArray_DATA(raw(values)), 1, n, False)
    nodes.at[0].buf[1] = bits.data
    return 0


cdef int set_mask(Nodes nodes, object mask) except -1:
    """``mask`` is True where null."""
    cdef int64_t n = nodes.at[0].length
    cdef Block bits
    mask = np.ascontiguousarray(mask, dtype=bool)
    if mask.shape != (n,):
        raise TypeMismatchError(f"a mask of shape {mask.shape} for {n} values")
    bits = new_buffer(nodes, (n + 7) >> 3)
    pack_bytes(bits.data, <const uint8_t *> PyArray_DATA(raw(mask)), 1, n, True)
    nodes.at[0].null_count = n - count_set(bits.data, 0, n)
    nodes.at[0].buf[0] = bits.data if nodes.at[0].null_count else NULL
    return 0


cdef Array coerce_array(object value, DataType t):
    """What an author returned, as an array of the declared type."""
    if isinstance(value, Array):
        return cast_array(<Array> value, t)
    need_numpy()
    if isinstance(value, np.ndarray):
        mask = getattr(value, "mask", None)
        if mask is None:
            return array_of_numpy(value, t, None)
        return array_of_numpy(value.data, t, mask if np.ndim(mask) else (np.ones(len(value), bool) if mask else None))
    if hasattr(value, "__arrow_c_array__"):
        return cast_array(import_array(value), t)
    if hasattr(value, "combine_chunks"):
        return coerce_array(one_chunk(value), t)
    if hasattr(value, "__arrow_c_stream__"):
        import pyarrow
        return coerce_array(one_chunk(pyarrow.chunked_array(value)), t)
    if isinstance(value, (list, tuple, range)):
        return array_of_values(list(value), t)
    if hasattr(value, "to_numpy"):
        return array_of_numpy(value.to_numpy(), t, None)
    raise TypeMismatchError(
        f"Output type mismatch. Expected an array of {type_text(t)} (NumPy, pyarrow, Array or a list), "
        f"got {type(value).__name__}")


def one_chunk(chunked):
    import pyarrow
    return chunked.chunk(0) if chunked.num_chunks == 1 else pyarrow.concat_arrays(chunked.chunks) \
        if chunked.num_chunks else pyarrow.array([], chunked.type)


cdef Array cast_array(Array a, DataType t):
    if a.type is t:
        return a
    if same_type(a.type, t, False):
        return Array.new(t, a.owner, a.node)
    if a.type.id == T_NULL:
        return array_of_values([None] * a.node.length, t)
    import pyarrow
    try:
        return rename_cast(import_array(arrow_of_array(a).cast(export_as_pyarrow(t))), t)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, pyarrow.ArrowTypeError) as e:
        raise TypeMismatchError(
            f"Output type mismatch. {type_text(a.type)} cannot become {type_text(t)}: {e}") from None


cdef Array rename_cast(Array a, DataType t):
    if not same_type(a.type, t, False):
        raise TypeMismatchError(f"Output type mismatch. {type_text(a.type)} cannot become {type_text(t)}")
    return Array.new(t, a.owner, a.node)


cdef object export_as_pyarrow(DataType t):
    import pyarrow
    return pyarrow.DataType._import_from_c_capsule(t.__arrow_c_schema__())
