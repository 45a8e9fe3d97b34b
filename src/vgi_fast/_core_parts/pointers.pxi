# Owns: batches that travel through shared memory: pointers resolved, batches placed, slots given back.
# May use: everything above.
# Invariant: the messages of a region are read from private copies of their headers, so that what was checked is
#   what is used; bodies stay where they are, and their Lease is what a batch keeps alive.

cdef bytes SHM_OFFSET_KEY = b"vgi_rpc.shm_offset"
cdef bytes SHM_LENGTH_KEY = b"vgi_rpc.shm_length"
cdef bytes LOG_LEVEL_KEY = b"vgi_rpc.log_level"


# ---- in ----

cdef int64_t decimal_number(dict metadata, bytes key) except -1:
    cdef bytes text = metadata.get(key)
    if text is None or not text.isdigit() or len(text) > 18:
        raise ProtocolError(f"a pointer into shared memory with {key.decode()} = {text!r}, expected a number")
    return int(text)


cdef RecordBatch resolve_pointer(Input input, RecordBatch pointer):
    cdef dict metadata = dict(pointer.metadata_)
    cdef int64_t offset, length
    cdef Lease lease
    cdef RecordBatch batch
    if input.segment is None:
        raise ProtocolError("The batch is a pointer into shared memory, but no segment is attached")
    offset = decimal_number(metadata, SHM_OFFSET_KEY)
    length = decimal_number(metadata, SHM_LENGTH_KEY)
    lease = input.segment.lease(offset, length)
    input.leases.append(lease)
    batch = read_region(input, lease, pointer.schema)
    del metadata[SHM_OFFSET_KEY]
    del metadata[SHM_LENGTH_KEY]
    batch.metadata_ = metadata or None
    return batch


cdef RecordBatch read_region(Input input, Lease lease, Schema schema):
    """One batch: a complete stream, or without its two ends where a column is a dictionary (section 8.5)."""
    cdef list outside = input.dictionaries
    input.dictionaries = [None] * len(schema.dictionary_ids)     # a region brings its own
    try:
        return read_region_messages(input, lease, schema)
    finally:
        input.dictionaries = outside


cdef RecordBatch read_region_messages(Input input, Lease lease, Schema schema):
    cdef Region region = Region.of(lease)
    cdef RecordBatch batch = None
    cdef Schema found
    cdef bint begun = has_dictionary_column(schema)
    cdef int kind
    while region.at != region.end:
        kind = region.next_frame(input)
        if kind == FRAME_EOS:
            if region.at != region.end:
                raise ProtocolError(f"{region.end - region.at} bytes after the end of a stream in shared memory")
            break
        if kind == FRAME_SCHEMA:
            if begun:
                raise ProtocolError("a schema message where none is due in shared memory")
            begun = True
            found = input.lookup_schema()
            if found is not schema and not (compatible(found, schema) and found.names == schema.names):
                raise ProtocolError(f"a pointer of ({schema}) to a batch of ({found})")
            continue
        if not begun:
            raise ProtocolError("expected a schema message at the start of a stream in shared memory")
        if kind == FRAME_DICTIONARY:
            input.decode_dictionary(region.owner)
        elif batch is not None:
            raise ProtocolError("more than one batch behind a pointer")
        else:
            batch = input.decode_batch(region.owner)
    if batch is None:
        raise ProtocolError("no batch behind a pointer")
    return batch


@cython.final
cdef class Region:
    """The messages of a slot, in turn. What ``next_frame`` finds is read as the current message of an Input."""
    cdef Lease lease
    cdef const uint8_t *at
    cdef const uint8_t *end
    cdef Block header
    cdef object owner           # of the current body

    @staticmethod
    cdef Region of(Lease lease):
        cdef Region region = Region.__new__(Region)
        region.lease = lease
        region.at = lease.pages.base + lease.offset
        region.end = region.at + lease.length
        return region

    cdef int need(self, int64_t size) except -1:
        if size > self.end - self.at:
            raise ProtocolError(f"{size} bytes of a message in shared memory, where {self.end - self.at} are left")
        return 0

    cdef int next_frame(self, Input input) except -1:
        cdef int64_t length
        cdef int64_t prefix = 8
        cdef int kind
        cdef Block copy
        self.need(4)
        length = load_i32(self.at)
        if length == -1:
            self.need(8)
            length = load_i32(self.at + 4)
        else:
            prefix = 4
        self.at += prefix
        if length == 0:
            return FRAME_EOS
        if length < 0:
            malformed(f"a message header of {length} bytes")
        self.need(length)
        self.header = Block.new(length)
        memcpy(self.header.data, self.at, length)
        self.at += length
        kind = input.read_header(self.header.data, length)
        self.need(input.body_size)
        input.body = self.at
        self.owner = self.lease
        if <uintptr_t> self.at & 7 and input.body_size:
            copy = Block.new(input.body_size)
            memcpy(copy.data, self.at, input.body_size)
            input.body = copy.data
            self.owner = copy
        self.at += input.body_size
        return kind


cdef bint has_dictionary_column(Schema schema):
    if schema.dictionary_ids:
        for f in schema.fields:
            if (<Field> f).type.id == T_DICTIONARY:
                return True
    return False


# ---- slots of received batches ----

cdef extern from "Python.h":
    PyObject *list_item "PyList_GET_ITEM"(list values, Py_ssize_t i)


cdef int give_back_unused(Input input) except -1:
    """Slots that somebody still views are held back; the peer finds less room meanwhile."""
    cdef list leases = input.leases
    cdef Py_ssize_t i = 0
    while i < len(leases):
        if is_shared(list_item(leases, i)):
            i += 1
        else:
            input.segment.give_back((<Lease> leases[i]).offset)
            del leases[i]
    return 0


cdef int release_leases(Input input) except -1:
    give_back_unused(input)
    if input.leases:
        kept = input.leases
        input.leases = []
        input.segment.part_with(kept)
        for lease in kept:
            input.segment.give_back((<Lease> lease).offset)
    return 0


# ---- out ----

@cython.final
cdef class PointerTemplate:
    """A pointer batch, complete but for its two numbers."""
    cdef bytes message
    cdef Py_ssize_t offset_at
    cdef Py_ssize_t length_at


cdef int put_shared(Output output, RecordBatch batch, object metadata) except -1:
    """Queue the batch inline, then move it to a slot if it is large enough and there is one: sizing is gathering."""
    cdef Encoder e = output.encoder
    cdef Schema schema = output.schema_
    cdef size_t first = e.n_pieces
    cdef Py_ssize_t kept = len(e.keep)
    cdef bint bare = has_dictionary_column(schema)
    cdef bytes head = None if bare else schema.serialize()
    cdef int64_t total = 0 if bare else len(head) + 8
    cdef int64_t offset = 0
    cdef size_t i
    output.put_inline(batch, None)      # the metadata goes on the pointer
    for i in range(first, e.n_pieces):
        total += e.pieces[i].size
    if total >= output.min_shared:
        try:
            offset = output.segment.take(total)
        except BaseException:
            e.n_pieces = first
            raise
        if offset and not output.segment.populate(offset + total):
            output.segment.give_back(offset)
            offset = 0
    if not offset:
        if metadata:
            e.head(schema, batch.length, metadata)
        return 0
    fill_slot(output.segment.pages.base + offset, head, e.pieces + first, e.n_pieces - first)
    e.n_pieces = first
    del e.keep[kept:]
    output.pointers_written += 1
    return queue_pointer(output, offset, total, metadata)


cdef int fill_slot(uint8_t *at, bytes head, Piece *pieces, size_t count) except -1:
    cdef const char *begin = NULL
    cdef size_t size = 0
    cdef size_t i
    if head is not None:
        begin = PyBytes_AS_STRING(head)
        size = PyBytes_GET_SIZE(head)
    with nogil:
        if size:
            memcpy(at, begin, size)
        at += size
        for i in range(count):
            memcpy(at, pieces[i].data, pieces[i].size)
            at += pieces[i].size
        if size:
            memcpy(at, END_OF_STREAM, 8)
    return 0


cdef int queue_pointer(Output output, int64_t offset, int64_t length, object metadata) except -1:
    cdef bytes offset_text = b"%d" % offset
    cdef bytes length_text = b"%d" % length
    cdef PointerTemplate t
    cdef uint8_t *message
    cdef Py_ssize_t size
    if output.pointer_schema is not output.schema_ or output.pointers is None or output.pointer_metadata != metadata:
        # Metadata of its own for each batch, such as an index, is not worth a template.
        seen = output.pointer_schema is output.schema_ and output.pointer_metadata == metadata
        output.pointers = {} if seen else None
        output.pointer_schema = output.schema_
        output.pointer_metadata = dict(metadata) if metadata else metadata
        if not seen:
            output.raw(pointer_message(output.schema_, offset_text, length_text, metadata))
            return 0
    key = len(offset_text) << 8 | len(length_text)
    t = output.pointers.get(key)
    if t is None:
        t = output.pointers[key] = make_pointer(output.schema_, offset_text, length_text, metadata)
    size = PyBytes_GET_SIZE(t.message)
    message = output.encoder.scratch(size)
    memcpy(message, PyBytes_AS_STRING(t.message), size)
    memcpy(message + t.offset_at, PyBytes_AS_STRING(offset_text), PyBytes_GET_SIZE(offset_text))
    memcpy(message + t.length_at, PyBytes_AS_STRING(length_text), PyBytes_GET_SIZE(length_text))
    return output.encoder.piece(message, size)


cdef bytes pointer_message(Schema schema, bytes offset, bytes length, object metadata):
    cdef Output out = Output()
    out.schema_ = schema
    out.put_inline(RecordBatch.new(schema, empty_nodes(schema.plan, schema.n_nodes), 0, None),
                   {**(metadata or {}), SHM_OFFSET_KEY: offset, SHM_LENGTH_KEY: length})
    return out.encoder.joined()


cdef PointerTemplate make_pointer(Schema schema, bytes offset, bytes length, object metadata):
    cdef PointerTemplate t = PointerTemplate.__new__(PointerTemplate)
    t.message = pointer_message(schema, offset, length, metadata)
    t.offset_at = first_difference(t.message, pointer_message(schema, b"-" * len(offset), length, metadata))
    t.length_at = first_difference(t.message, pointer_message(schema, offset, b"-" * len(length), metadata))
    return t


cdef Py_ssize_t first_difference(bytes a, bytes b) except -1:
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(a)):
        if PyBytes_AS_STRING(a)[i] != PyBytes_AS_STRING(b)[i]:
            return i
    raise InternalError("two pointer batches are equal")
