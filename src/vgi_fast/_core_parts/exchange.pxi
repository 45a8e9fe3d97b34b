# Owns: a scalar call applied to batches, and the loop that answers each input batch (sections 4.5, 4.6, 7.1).
# May use: everything above.
# Invariant: a step that raises leaves nothing of itself in the output queue.

cdef enum ArgumentForm:
    A_NUMPY
    A_MASKED
    A_ARROW
    A_ARRAY
    A_VALUE
    A_ROWS
    A_VARARGS

cdef dict ARGUMENT_FORMS = {"numpy": A_NUMPY, "masked": A_MASKED, "arrow": A_ARROW, "array": A_ARRAY,
                            "value": A_VALUE, "rows": A_ROWS, "varargs": A_VARARGS}

cdef extern from "Python.h":
    PyObject *PyObject_Vectorcall(PyObject *callable, PyObject **args, size_t n, PyObject *names) except NULL

cdef enum:
    MAX_ARGUMENTS = 64


@cython.final
cdef class Argument:
    cdef int form
    cdef int inner          # varargs: form of each
    cdef Py_ssize_t column
    cdef object value
    cdef Block constant     # the value as the inner loop of a ufunc reads it

    @staticmethod
    cdef Argument of(tuple spec, Schema schema):
        cdef Argument a = Argument.__new__(Argument)
        if not spec or spec[0] not in ARGUMENT_FORMS:
            raise ValueError(f"unknown scalar argument {spec!r}")
        a.form = ARGUMENT_FORMS[spec[0]]
        if a.form == A_VALUE:
            a.value = spec[1]
        elif a.form == A_VARARGS:
            a.inner = ARGUMENT_FORMS[spec[1]]
            a.column = spec[2]
        elif a.form != A_ROWS:
            a.column = spec[1]
        if a.column < 0 or (a.form < A_VALUE and a.column >= len(schema.fields)):
            raise ValueError(f"scalar argument {spec!r} names a column outside of ({schema})")
        return a


@cython.final
cdef class ScalarPlan:
    """One thread at a time: a stream has its own."""
    cdef object function
    cdef Kernel kernel
    cdef list arguments
    cdef tuple keyword_names
    cdef Schema input_schema
    cdef Schema output_schema
    cdef DataType result
    cdef PlanNode *result_plan
    cdef bint propagate_nulls
    cdef dict metadata
    cdef bint flat_result           # one fixed-width buffer that NumPy can hold

    def __init__(self, function, arguments, Schema input_schema not None, Schema output_schema not None,
                 propagate_nulls=True, keywords=None, metadata=None):
        if len(output_schema.fields) != 1:
            raise ValueError(f"a scalar has one result column, got ({output_schema})")
        self.function = function
        self.arguments = [Argument.of(tuple(a), input_schema) for a in arguments]
        self.keyword_names = tuple(keywords) if keywords else None
        if keywords:
            self.arguments += [Argument.of(tuple(a), input_schema) for a in keywords.values()]
        self.input_schema = input_schema
        self.output_schema = output_schema
        self.result = (<Field> output_schema.fields[0]).type
        self.result_plan = self.result.own_plan()
        self.propagate_nulls = propagate_nulls
        self.metadata = clean_metadata(metadata)
        self.flat_result = NPY_TYPES[self.result.id] > NPY_BOOL
        if isinstance(function, Kernel):
            self.kernel = function
            self.check_kernel()
        elif not callable(function):
            raise TypeError(f"expected a callable or a Kernel, got {type(function).__name__}")
        else:
            self.kernel = self.inner_loop()

    cdef Kernel inner_loop(self):
        """A ufunc over number columns and constants of the same types runs as its inner loop."""
        cdef list numbers = []
        cdef Argument a
        cdef Field f
        if self.keyword_names or not self.flat_result or not hasattr(self.function, "nin"):
            return None
        if len(self.arguments) + 1 > MAX_ARGUMENTS:
            return None
        for item in self.arguments:
            a = <Argument> item
            if a.form == A_NUMPY:
                f = <Field> self.input_schema.fields[a.column]
                numbers.append(NPY_TYPES[f.type.id])
            elif a.form == A_VALUE and type(a.value) in (int, float):
                numbers.append(NPY_TYPES[self.result.id])
            else:
                return None
        for item in self.arguments:
            a = <Argument> item
            if a.form == A_VALUE:
                try:
                    a.constant = Block.new(16)
                    store_fixed(self.result, a.constant.data, a.value)
                except (TypeError, ValueError, OverflowError):
                    return None
        numbers.append(NPY_TYPES[self.result.id])
        return kernel_of_ufunc(self.function, numbers)

    cdef int check_kernel(self) except -1:
        cdef Field f
        if not self.flat_result:
            raise TypeMismatchError(f"a kernel writes fixed-width numbers, not {self.result}")
        if len(self.arguments) + 1 > MAX_ARGUMENTS:
            raise ValueError(f"a kernel takes at most {MAX_ARGUMENTS - 1} columns")
        if self.kernel.arity and self.kernel.arity != len(self.arguments):
            raise ValueError(f"a kernel of {self.kernel.arity} arguments is called with {len(self.arguments)}")
        for a in self.arguments:
            if (<Argument> a).form != A_NUMPY:
                raise TypeMismatchError("a kernel takes columns only")
            f = <Field> self.input_schema.fields[(<Argument> a).column]
            if LAYOUTS[f.type.id] != L_FIXED or (self.kernel.type is not None and f.type != self.kernel.type):
                raise TypeMismatchError(
                    f"a kernel of {self.kernel.signature} cannot take column '{f.name}' of {f.type}")
        if self.kernel.type is not None and self.result != self.kernel.type:
            raise TypeMismatchError(f"a kernel of {self.kernel.signature} cannot write {self.result}")
        return 0

    def apply(self, RecordBatch batch not None):
        if not compatible(batch.schema, self.input_schema):
            raise TypeMismatchError(f"Input schema mismatch: expected {self.input_schema}, got {batch.schema}")
        return self.run(batch)

    cdef RecordBatch run(self, RecordBatch batch):
        cdef Nodes nodes
        if self.kernel is not None:
            nodes = self.run_kernel(batch)
        else:
            nodes = self.collect(self.call(batch), batch.length)
        if self.propagate_nulls:
            self.unite_nulls(batch, nodes)
        return RecordBatch.new(self.output_schema, nodes, batch.length, self.metadata)

    cdef object call(self, RecordBatch batch):
        cdef list args = []
        cdef PyObject *pointers[MAX_ARGUMENTS]
        cdef Argument a
        cdef Py_ssize_t i
        cdef Py_ssize_t n
        for item in self.arguments:
            a = <Argument> item
            if a.form == A_VARARGS:
                for i in range(a.column, len(batch.schema.fields)):
                    args.append(self.column(batch, a.inner, i))
            else:
                args.append(self.one(batch, a))
        n = len(args)
        if n > MAX_ARGUMENTS:
            if self.keyword_names:
                k = len(self.keyword_names)
                return self.function(*args[:n - k], **dict(zip(self.keyword_names, args[n - k:])))
            return self.function(*args)
        for i in range(n):
            pointers[i] = <PyObject *> args[i]
        if self.keyword_names:
            n -= len(self.keyword_names)
            got = PyObject_Vectorcall(<PyObject *> self.function, pointers, n, <PyObject *> self.keyword_names)
        else:
            got = PyObject_Vectorcall(<PyObject *> self.function, pointers, n, NULL)
        result = <object> got
        Py_DECREF(result)           # the call's own reference
        return result

    cdef inline object one(self, RecordBatch batch, Argument a):
        if a.form == A_VALUE:
            return a.value
        if a.form == A_ROWS:
            return batch.length
        return self.column(batch, a.form, a.column)

    cdef object column(self, RecordBatch batch, int form, Py_ssize_t i):
        cdef Schema schema = batch.schema
        cdef Field f = <Field> schema.fields[i]
        cdef PlanNode *p = schema.plan + schema.tops[i]
        cdef Node *n = batch.nodes.at + schema.tops[i]
        if form == A_NUMPY:
            return numpy_of_node(f.type, p, n, batch.nodes)
        if form == A_MASKED:
            import numpy.ma
            values = numpy_of_node(f.type, p, n, batch.nodes)
            mask = mask_of_node(p, n, True)
            return numpy.ma.MaskedArray(values, mask=numpy.ma.nomask if mask is None else mask)
        if form == A_ARROW:
            return arrow_of_array(batch.take_column(i))
        return batch.take_column(i)

    cdef Nodes collect(self, object value, int64_t length):
        cdef Nodes nodes
        cdef Array a
        if self.flat_result and numpy_ready and PyArray_CheckExact(value) and PyArray_NDIM(raw(value)) == 1 \
                and PyArray_TYPE(raw(value)) == NPY_TYPES[self.result.id] and PyArray_ISCARRAY_RO(raw(value)):
            if PyArray_DIM(raw(value), 0) != length:
                self.wrong_length(PyArray_DIM(raw(value), 0), length)
            nodes = Nodes.new(1, value)
            nodes.at[0].length = length
            nodes.at[0].buf[1] = <const uint8_t *> PyArray_DATA(raw(value))
            return nodes
        a = coerce_array(value, self.result)
        if a.node.length != length:
            self.wrong_length(a.node.length, length)
        return sliced(a, 0, a.node.length).owner    # its own nodes: nulls are united into them

    cdef int wrong_length(self, int64_t got, int64_t expected) except -1:
        from vgi_fast.errors import RowCountMismatchError
        raise RowCountMismatchError(
            f"Scalar function output must have same row count as input. Expected {expected} rows, got {got}.")

    cdef Nodes run_kernel(self, RecordBatch batch):
        cdef Nodes nodes = Nodes.new(1, None)
        cdef char *args[MAX_ARGUMENTS]
        cdef intptr_t strides[MAX_ARGUMENTS]
        cdef Schema schema = batch.schema
        cdef Node *n
        cdef PlanNode *p
        cdef Argument a
        cdef Block out
        cdef int k = 0
        for item in self.arguments:
            a = <Argument> item
            if a.form == A_VALUE:
                args[k] = <char *> a.constant.data
                strides[k] = 0
            else:
                p = schema.plan + schema.tops[a.column]
                n = batch.nodes.at + schema.tops[a.column]
                args[k] = <char *> n.buf[1] + n.offset * p.width
                strides[k] = p.width
            k += 1
        out = Block.new(batch.length * self.result.width_)
        nodes.hold(out)
        args[k] = <char *> out.data
        strides[k] = self.result.width_
        if batch.length >= RELEASE_ROWS:
            with nogil:
                self.kernel.run(args, batch.length, strides)
        else:
            self.kernel.run(args, batch.length, strides)
        nodes.at[0].length = batch.length
        nodes.at[0].buf[1] = out.data
        return nodes

    cdef int unite_nulls(self, RecordBatch batch, Nodes nodes) except -1:
        """A row with a null in any column becomes null in the result."""
        cdef Schema schema = batch.schema
        cdef Node *top = nodes.at
        cdef Node *n
        cdef PlanNode *p
        cdef Block bits = None
        cdef Py_ssize_t i
        cdef int64_t size = (batch.length + 7) >> 3
        if self.result_plan.layout in (L_NULL, L_SPARSE, L_DENSE, L_RUNS):
            return 0
        for i in range(len(schema.fields)):
            p = schema.plan + schema.tops[i]
            n = batch.nodes.at + schema.tops[i]
            if p.layout in (L_SPARSE, L_DENSE, L_RUNS) or (p.layout != L_NULL and n.buf[0] == NULL):
                continue
            if bits is None:
                bits = Block.new(size)
                memset(bits.data, 0xFF, size)
                if top.buf[0] != NULL:
                    copy_bits(bits.data, top.buf[0], top.offset, batch.length)
            if p.layout == L_NULL:
                memset(bits.data, 0, size)
            else:
                and_bits(bits.data, n.buf[0], n.offset, batch.length)
        if bits is None:
            return 0
        return self.replace_validity(nodes, bits, batch.length)

    cdef int replace_validity(self, Nodes nodes, Block bits, int64_t length) except -1:
        cdef Node *top = nodes.at
        cdef Block shifted
        if top.offset:
            # The bitmap is addressed with the array's offset: place bit 0 there.
            shifted = Block.new((top.offset + length + 7) >> 3)
            memset(shifted.data, 0, shifted.capacity)
            for i in range(length):
                if get_bit(bits.data, i):
                    set_bit(shifted.data, top.offset + i)
            bits = shifted
        top.buf[0] = bits.data
        top.null_count = length - count_set(bits.data, top.offset, length)
        nodes.hold(bits)
        return 0


cdef RecordBatch reconcile(RecordBatch batch, Schema wanted):
    """A batch of another schema with the same names: reordered and cast (section 4.6)."""
    cdef list arrays = []
    cdef Field f
    if compatible(batch.schema, wanted) and batch.schema.names == wanted.names:
        return RecordBatch.new(wanted, batch.nodes, batch.length, batch.metadata_)
    if sorted(batch.schema.names) != sorted(wanted.names) or len(set(wanted.names)) != len(wanted.names):
        if len(batch.schema.fields) != len(wanted.fields) or batch.schema.names != wanted.names:
            raise TypeError(f"Input schema mismatch: expected {wanted}, got {batch.schema}")
        columns = batch.columns
    else:
        columns = [batch.take_column(batch.schema.positions[(<Field> f).name]) for f in wanted.fields]
    for f, column in zip(wanted.fields, columns):
        try:
            arrays.append(cast_array(<Array> column, f.type))
        except TypeMismatchError as e:
            raise TypeMismatchError(f"Input type mismatch for parameter '{f.name}'. {e}") from None
    return RecordBatch(wanted, arrays, batch.length, batch.metadata_)


def serve_exchange(Input input not None, Output output not None, Schema input_schema not None,
                   Schema output_schema not None, step):
    """Answer each input batch with exactly one output batch, to the end of the input stream."""
    cdef ScalarPlan plan = step if isinstance(step, ScalarPlan) else None
    cdef RecordBatch batch, answer
    cdef Schema received = input.schema
    cdef bint same
    if not input.open:
        raise ProtocolError("no input stream is open")
    same = compatible(received, input_schema) and received.names == input_schema.names
    while True:
        batch = None
        answer = None
        batch = input.take_batch()
        if batch is None:
            return False
        if batch.metadata_ is not None and CANCEL_KEY in batch.metadata_:
            return True
        if not same:
            batch = reconcile(batch, input_schema)
        if input.trace is not None:
            input.trace.enter(IN_CALL)
        answer = plan.run(batch) if plan is not None else <RecordBatch?> step(batch)
        if input.trace is not None:
            input.trace.enter(IN_OTHER)
        if answer is None:
            raise TypeError("a step returned None, expected a RecordBatch")
        if not output.open:
            output.schema(output_schema)
        if answer.schema is not output_schema and not compatible(answer.schema, output_schema):
            raise TypeMismatchError(f"Output type mismatch. Expected ({output_schema}), got ({answer.schema})")
        output.put(answer, answer.metadata_)
        if input.trace is not None:
            input.trace.step(batch.length, answer.length)
        if input.leases:
            # Earlier than section 8.7 asks: the client places its next input where this one was, in warm memory.
            batch = None
            answer = None
            give_back_unused(input)
        output.send()


def serve_producer(Input input not None, Output output not None, Schema schema not None, produce, note=None):
    """Answer each tick with the batch that ``produce`` gives, until it gives None (section 4.4).

    ``produce()`` returns (RecordBatch of ``schema``, metadata or None). Returns True when the client
    cancelled. What ``produce`` raises leaves this function; the caller ends the output stream. ``note`` gets the
    metadata of ticks that have some, before the batch is asked for.
    """
    cdef RecordBatch tick, batch
    if not input.open:
        raise ProtocolError("no input stream is open")
    while True:
        tick = None
        batch = None
        tick = input.take_batch()
        if tick is None:
            return False
        if tick.metadata_ is not None and CANCEL_KEY in tick.metadata_:
            return True
        if note is not None and tick.metadata_ is not None:
            note(tick.metadata_)
        if input.trace is not None:
            input.trace.enter(IN_CALL)
        item = produce()
        if input.trace is not None:
            input.trace.enter(IN_OTHER)
        if item is None:
            return False
        batch = <RecordBatch?> (<tuple?> item)[0]
        if batch is None:
            raise TypeError("a producer gave None, expected a RecordBatch")
        metadata = (<tuple> item)[1]
        if not output.open:
            output.schema(schema)
        if batch.schema is not schema and not compatible(batch.schema, schema):
            raise TypeMismatchError(f"Output type mismatch. Expected ({schema}), got ({batch.schema})")
        output.put(batch, batch.metadata_ if metadata is None else metadata)
        output.send()
        if input.trace is not None:
            input.trace.step(0, batch.length)


def plain_batch(Schema schema not None, dict columns not None):
    """A batch over NumPy columns that are already as declared; None where any needs a closer look."""
    cdef Nodes nodes
    cdef Field f
    cdef int64_t length = -1
    cdef Py_ssize_t i
    if not numpy_ready:
        return None
    nodes = Nodes.new(schema.n_nodes, None)
    for i in range(len(schema.fields)):
        f = <Field> schema.fields[i]
        value = columns.get(f.name)
        if value is None or NPY_TYPES[f.type.id] <= NPY_BOOL or not PyArray_CheckExact(value) \
                or PyArray_NDIM(raw(value)) != 1 or PyArray_TYPE(raw(value)) != NPY_TYPES[f.type.id] \
                or not PyArray_ISCARRAY_RO(raw(value)):
            return None
        if length < 0:
            length = PyArray_DIM(raw(value), 0)
        elif length != PyArray_DIM(raw(value), 0):
            return None
        nodes.at[schema.tops[i]].length = length
        nodes.at[schema.tops[i]].buf[1] = <const uint8_t *> PyArray_DATA(raw(value))
        nodes.hold(value)       # the author may change the dict before the batch is written
    if length < 0:
        return None
    return RecordBatch.new(schema, nodes, length, None)


cdef bytes CANCEL_KEY = b"vgi_rpc.cancel"
