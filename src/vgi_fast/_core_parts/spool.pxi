# Owns: files of received batches: written as they came in, read from a memory map, replayed as they are.
# May use: everything above, writev(2).
# A record is a header of 32 bytes and a payload padded to 8. The payload is the frame of one batch, or, where that
# would not do on its own (dictionaries, metadata, compression), the whole stream that was received.
# Invariant of the writer: one process appends; what is incomplete at the end is told to whoever reads.

cdef enum:
    SPOOL_HEADER = 32
    SPOOL_STREAM = 1            # the payload is a stream, not a frame

cdef uint64_t SPOOL_MAGIC = 0x316C6F6F70536756      # "VgSpool1"

cdef struct SpoolRecord:
    uint64_t magic
    uint64_t size               # of the payload, without padding
    int64_t batch_index         # -1 for none
    uint32_t flags
    uint32_t rows               # saturated


@cython.final
cdef class SpoolWriter:
    """Appends to a descriptor, which stays the caller's. One thread at a time."""
    cdef int fd
    cdef readonly int64_t size

    def __init__(self, int fd, int64_t size=0):
        self.fd = fd
        self.size = size

    def append(self, data, Schema schema not None, batch_index=None):
        """Add the batch of a received stream. False, with nothing added, where it is not of ``schema``."""
        cdef View received = View.of(data)
        return self.add(Input(data), received.data, received.size, schema, -1 if batch_index is None else batch_index)

    cdef bint add(self, Input source, const uint8_t *data, size_t size, Schema schema, int64_t index) except -1:
        """``source`` reads the stream that ``data`` holds."""
        cdef Schema given = source.read_schema()
        cdef Table header, compression
        cdef size_t at, frame
        cdef int64_t rows
        cdef bint plain
        cdef RecordBatch batch
        if given is None:
            raise ProtocolError("an empty buffer where an IPC stream is due")
        if given is not schema and not compatible(given, schema):
            return False
        plain = not given.dictionary_ids
        if not plain:
            batch = source.take_batch()
            if batch is None:
                malformed("a stream without a batch")
            if source.take_batch() is not None:
                malformed("more than one batch where one is due")
            self.put(data, size, SPOOL_STREAM, batch.length, index)
            return True
        if source.next_frame() != FRAME_BATCH:
            malformed("a stream without a batch")
        if not slot_table(&source.meta, &source.message, 2, &header):
            malformed("a batch message without a batch")
        rows = slot_i64(&header, 0, 0)
        at, frame = source.start, source.frame_size
        if slot(&source.message, 4, 4) != NULL or source.v4 or slot_table(&source.meta, &header, 3, &compression):
            plain = False
        if source.next_frame() == FRAME_BATCH:
            malformed("more than one batch where one is due")
        if plain:
            self.put(source.block.data + at, frame, 0, rows, index)
        else:
            self.put(data, size, SPOOL_STREAM, rows, index)
        return True

    cdef int put(self, const uint8_t *data, size_t size, uint32_t flags, int64_t rows, int64_t index) except -1:
        cdef SpoolRecord record
        cdef iovec[3] pieces
        cdef uint8_t[8] padding = [0, 0, 0, 0, 0, 0, 0, 0]
        cdef ssize_t done
        cdef size_t left
        cdef int first = 0
        record.magic = SPOOL_MAGIC
        record.size = size
        record.batch_index = index
        record.flags = flags
        record.rows = <uint32_t> min(max(rows, 0), 0xFFFFFFFF)
        pieces[0].iov_base = &record
        pieces[0].iov_len = SPOOL_HEADER
        pieces[1].iov_base = <void *> data
        pieces[1].iov_len = size
        pieces[2].iov_base = padding
        pieces[2].iov_len = -size & 7
        left = SPOOL_HEADER + size + (-size & 7)
        while left:
            with nogil:
                done = c_writev(self.fd, pieces + first, 3 - first)
            if done < 0:
                if errno == EINTR:
                    PyErr_CheckSignals()
                    continue
                raise OSError(errno, c_strerror(errno).decode())
            left -= done
            self.size += done
            while done > 0:
                if <size_t> done < pieces[first].iov_len:
                    pieces[first].iov_base = <char *> pieces[first].iov_base + done
                    pieces[first].iov_len -= done
                    done = 0
                else:
                    done -= pieces[first].iov_len
                    first += 1
        return 0


@cython.final
cdef class SpoolReader:
    """The batches of one spool, out of memory that stays as it is while anything refers to it."""
    cdef View view
    cdef Block block
    cdef Input source
    cdef Schema schema
    cdef size_t next_at
    # the current record
    cdef SpoolRecord record
    cdef size_t at              # of the payload

    def __init__(self, data, Schema schema not None):
        self.view = View.of(data)
        self.block = Block.over(self.view)
        self.source = Input(b"")
        self.schema = schema
        if <uintptr_t> self.view.data & 7:
            raise ValueError("the memory of a spool starts at a multiple of 8")

    cdef bint advance(self) except -1:
        cdef size_t left = self.view.size - self.next_at
        if left == 0:
            return False
        if left < SPOOL_HEADER:
            self.damaged()
        memcpy(&self.record, self.view.data + self.next_at, SPOOL_HEADER)
        self.at = self.next_at + SPOOL_HEADER
        left -= SPOOL_HEADER
        if self.record.magic != SPOOL_MAGIC or self.record.size > left \
                or (-self.record.size & 7) > left - self.record.size:
            self.damaged()
        self.next_at = self.at + self.record.size + (-self.record.size & 7)
        return True

    cdef int damaged(self) except -1:
        from vgi_fast.errors import StorageError
        raise StorageError(f"the spool is damaged: a record at {self.next_at} is cut off")

    cdef RecordBatch decode(self):
        cdef Input source = self.source
        cdef RecordBatch batch
        source.block = self.block
        source.start = self.at
        source.end = self.at + self.record.size
        source.frame_size = 0
        if self.record.flags & SPOOL_STREAM:
            source.open = False
            source.read_schema()
        else:
            source.open = True
            source.schema = self.schema
        batch = source.take_batch()
        source.open = False
        if batch is None:
            self.damaged()
        return <RecordBatch> reshape(batch, self.schema)

    def order(self):
        """(batch index, place, rows) of each record, in their order."""
        cdef list found = []
        self.next_at = 0
        while True:
            at = self.next_at
            if not self.advance():
                self.next_at = 0
                return found
            found.append((self.record.batch_index, at, self.record.rows))

    def __iter__(self):
        return self

    def __next__(self):
        if not self.advance():
            raise StopIteration
        return self.decode()

    def at_place(self, size_t place):
        """The batch of the record at a place that ``order`` has given."""
        if place > <size_t> self.view.size:
            raise ValueError("a place outside of the spool")
        self.next_at = place
        return self.__next__()


cdef enum:
    JOINED_BYTES = 240 << 10    # of batches that leave as one; what a pipe of 256 KiB takes at once


cdef bint joinable(Schema schema) noexcept:
    """All columns are flat, of fixed width or of text with 32-bit offsets."""
    cdef int32_t i
    for i in range(schema.n_nodes):
        if schema.plan[i].layout != L_FIXED and schema.plan[i].layout != L_VAR32:
            return False
    return schema.n_nodes > 0


cdef int put_joined(Output output, Schema schema, list batches, int64_t rows) except -1:
    """Queue batches as one; all but the last have a multiple of 8 rows."""
    cdef Encoder e = output.encoder
    cdef RecordBatch batch = <RecordBatch> batches[0]
    cdef int n_buffers = e.reserve(schema.plan, batch.nodes.at, schema.n_nodes)
    cdef size_t slot = e.n_pieces
    cdef Node *n
    cdef PlanNode *p
    cdef int64_t nulls, body, base
    cdef int64_t j
    cdef uint8_t *bits
    cdef int32_t *offsets
    cdef const int32_t *given
    cdef int32_t i
    e.piece(EMPTY, 1)
    e.keep.append(batches)
    for i in range(schema.n_nodes):
        p = schema.plan + i
        nulls = 0
        for item in batches:
            n = (<RecordBatch> item).nodes.at + i
            if n.buf[0] != NULL:
                nulls += n.null_count
        e.numbers[e.n_node_numbers] = rows
        e.numbers[e.n_node_numbers + 1] = nulls
        e.n_node_numbers += 2
        if nulls:
            bits = e.scratch((rows + 7) >> 3)
            e.buffer(bits, (rows + 7) >> 3)
            for item in batches:
                n = (<RecordBatch> item).nodes.at + i
                if n.buf[0] == NULL or n.null_count == 0:
                    memset(bits, 0xFF, (n.length + 7) >> 3)
                else:
                    memcpy(bits, n.buf[0], (n.length + 7) >> 3)
                bits += n.length >> 3
        else:
            e.buffer(NULL, 0)
        if p.layout == L_VAR32:
            offsets = <int32_t *> e.scratch(4 * (rows + 1))
            e.buffer(offsets, 4 * (rows + 1))
            base = 0
            offsets[0] = 0
            for item in batches:
                n = (<RecordBatch> item).nodes.at + i
                given = <const int32_t *> n.buf[1]
                for j in range(n.length):
                    offsets[j + 1] = <int32_t> (given[j + 1] - given[0] + base)
                if n.length:
                    base += given[n.length] - given[0]
                offsets += n.length
        body = 0
        e.buffer_numbers[e.n_buffer_numbers] = e.body
        for item in batches:
            n = (<RecordBatch> item).nodes.at + i
            if p.layout == L_FIXED:
                e.piece(n.buf[1], n.length * p.width)
                body += n.length * p.width
            elif n.length:
                given = <const int32_t *> n.buf[1]
                e.piece(n.buf[2] + given[0], given[n.length] - given[0])
                body += given[n.length] - given[0]
        e.buffer_numbers[e.n_buffer_numbers + 1] = body
        e.n_buffer_numbers += 2
        e.piece(EMPTY, -body & 7)
        e.body += body + (-body & 7)
    return e.header(e.template(schema, n_buffers, None), slot, rows)


@cython.final
cdef class Replay:
    """What is left to give of several readers."""
    cdef list waiting
    cdef SpoolReader reader
    cdef Schema schema
    cdef object positions
    cdef bint whole             # records of the reader leave as they are
    cdef bint joins

    cdef bint advance(self) except -1:
        """To the next record with rows; False at the end."""
        while True:
            if self.reader is None:
                if not self.waiting:
                    return False
                self.reader = <SpoolReader?> self.waiting.pop()
                self.whole = self.positions is None and compatible(self.reader.schema, self.schema)
            if not self.reader.advance():
                self.reader = None
            elif self.reader.record.rows:
                return True

    cdef RecordBatch shaped(self):
        cdef RecordBatch batch = <RecordBatch> reshape(self.reader.decode(), self.schema, self.positions)
        if batch is None:
            raise TypeMismatchError(f"Output type mismatch. Expected ({self.schema}), got ({self.reader.schema})")
        return batch

    cdef bint put(self, Output output) except -1:
        """Queue the next batch, or several small ones as one; False at the end."""
        cdef list batches = None
        cdef RecordBatch batch
        cdef SpoolReader reader
        cdef int64_t rows
        cdef size_t size, back
        if not self.advance():
            return False
        if not output.open:
            output.schema(self.schema)
        reader = self.reader
        size = reader.record.size
        if not self.joins or size >= JOINED_BYTES // 2:
            if self.whole and not reader.record.flags & SPOOL_STREAM:
                output.encoder.keep.append(reader)
                output.encoder.piece(reader.view.data + reader.at, reader.record.size)
            else:
                output.put(self.shaped(), None)
            return True
        batch = self.shaped()
        batches = [batch]
        rows = batch.length
        while not rows & 7:
            back = reader.next_at
            if not reader.advance():
                self.reader = None
                break
            size += reader.record.size
            if size > JOINED_BYTES:
                reader.next_at = back
                break
            batch = self.shaped()
            rows += batch.length
            batches.append(batch)
        if len(batches) == 1:
            output.put(<RecordBatch> batches[0], None)
        else:
            put_joined(output, self.schema, batches, rows)
        return True


def serve_replay(Input input not None, Output output not None, Schema schema not None, readers, positions=None):
    """Answer each tick with the next batch of the readers, in turn; True when the client cancelled.

    ``positions`` are the columns to give. Large batches leave as they were received, small ones as one.
    """
    cdef Replay replay = Replay.__new__(Replay)
    cdef RecordBatch tick
    if not input.open:
        raise ProtocolError("no input stream is open")
    replay.waiting = list(readers)
    replay.waiting.reverse()
    replay.schema = schema
    replay.positions = positions
    replay.joins = joinable(schema)
    while True:
        tick = None
        tick = input.take_batch()
        if tick is None:
            return False
        if tick.metadata_ is not None and CANCEL_KEY in tick.metadata_:
            return True
        if not replay.put(output):
            return False
        output.send()


cdef class AlikeCalls:
    """Unary calls that bring a batch each, answered without Python code around them, as long as one follows the other.

    Made of the first of them, which was understood in full: the next ones have to be equal but for the batch.
    """
    cdef Schema outer           # of the requests
    cdef dict metadata          # of the first, without what may differ
    cdef dict fixed             # values of the record inside that stay the same
    cdef Input record           # reads the record inside a request
    cdef Input stream           # reads the batch inside the record

    cdef int expect(self, Schema outer, dict metadata, fixed) except -1:
        if len(outer.fields) != 1 or outer.plan[0].layout != L_VAR32:
            raise ProtocolError("expected one binary column")
        self.outer = outer
        self.metadata = stable_metadata(metadata)
        self.fixed = dict(fixed)
        self.record = Input(b"")
        self.stream = Input(b"")
        return 0

    cdef bytes reply_to(self, const uint8_t *data, size_t size):
        """The answer to the batch in ``stream``; None, with nothing done, where it has to be understood first."""
        raise NotImplementedError

    cdef int answered(self) except -1:
        return 0

    cdef int unanswered(self) except -1:
        return 0

    def serve(self, Input input not None, Output output not None, int idle_ms):
        """(request, idle): the first request that is another one, None at the end, when none came for so long."""
        cdef RecordBatch request
        cdef bytes reply
        while True:
            if not input.wait(idle_ms):
                return None, True
            if input.read_schema() is None:
                return None, False
            request = None
            request = input.take_batch()
            input.drain()
            if request is None:
                return None, False
            try:
                reply = self.take(request)
            except Exception:
                reply = None        # whoever takes it next says what is wrong
            if reply is None:
                return request, False
            if input.leases:
                request = None
                give_back_unused(input)
            try:
                output.raw(reply)
                output.send()
            except BaseException:
                self.unanswered()
                raise
            self.answered()

    cdef bytes take(self, RecordBatch request):
        """None, with nothing done, for any other request."""
        cdef Node *n
        cdef const int32_t *offsets
        cdef RecordBatch row
        cdef Schema inner
        cdef Py_ssize_t i
        cdef Py_ssize_t place = -1
        cdef Field f
        if request.schema is not self.outer or request.length != 1 \
                or not same_metadata(request.metadata_, self.metadata):
            return None
        n = request.nodes.at
        if n.null_count:
            return None
        offsets = <const int32_t *> n.buf[1] + n.offset
        position(self.record, request.nodes, n.buf[2] + offsets[0], offsets[1] - offsets[0])
        inner = self.record.read_schema()
        if inner is None:
            return None
        row = self.record.take_batch()
        if row is None or row.length != 1 or self.record.take_batch() is not None:
            return None
        for i in range(len(inner.fields)):
            f = <Field> inner.fields[i]
            if f.name == "input_batch":
                place = i
            elif f.name == "batch_index":
                if row.nodes.at[inner.tops[i]].null_count != 1:
                    return None
            elif f.name in self.fixed:
                if value_at(f.type, inner.plan + inner.tops[i], row.nodes.at + inner.tops[i], 0) != self.fixed[f.name]:
                    return None
        if place < 0 or inner.plan[inner.tops[place]].layout != L_VAR32:
            return None
        n = row.nodes.at + inner.tops[place]
        if n.null_count:
            return None
        offsets = <const int32_t *> n.buf[1] + n.offset
        position(self.stream, request.nodes, n.buf[2] + offsets[0], offsets[1] - offsets[0])
        return self.reply_to(n.buf[2] + offsets[0], offsets[1] - offsets[0])


@cython.final
cdef class SpoolCalls(AlikeCalls):
    """Each adds its batch to a spool."""
    cdef SpoolWriter writer
    cdef Schema schema
    cdef bytes reply

    def __init__(self, Schema outer not None, dict metadata not None, fixed, SpoolWriter writer not None,
                 Schema schema not None, bytes reply not None):
        self.expect(outer, metadata, fixed)
        self.writer = writer
        self.schema = schema
        self.reply = reply

    cdef bytes reply_to(self, const uint8_t *data, size_t size):
        return self.reply if self.writer.add(self.stream, data, size, self.schema, -1) else None


@cython.final
cdef class HandledCalls(AlikeCalls):
    """Each is answered by ``handler(digest, batch)`` with a complete stream; it is told whether that has left."""
    cdef object handler

    def __init__(self, Schema outer not None, dict metadata not None, fixed, handler):
        self.expect(outer, metadata, fixed)
        self.handler = handler

    cdef bytes reply_to(self, const uint8_t *data, size_t size):
        cdef uint64_t found[2]
        cdef RecordBatch batch
        if self.stream.read_schema() is None:
            return None
        batch = self.stream.take_batch()
        if batch is None:
            return None
        digest(data, size, found)
        return self.handler(PyBytes_FromStringAndSize(<const char *> found, 16), batch)

    cdef int answered(self) except -1:
        self.handler.answered()
        return 0

    cdef int unanswered(self) except -1:
        self.handler.unanswered()
        return 0


cdef int position(Input source, Nodes owner, const uint8_t *data, size_t size) except -1:
    """Make ``source`` read memory that ``owner`` keeps alive."""
    cdef Block block
    if <uintptr_t> data & 7:
        block = Block.new(size)
        memcpy(block.data, data, size)
    else:
        block = Block.__new__(Block)
        block.data = <uint8_t *> data
        block.capacity = size
        block.owner = owner
    source.block = block
    source.start = 0
    source.end = size
    source.frame_size = 0
    source.open = False
    return 0


cdef dict stable_metadata(dict metadata):
    """Without what differs from request to request and says nothing about it."""
    return {key: value for key, value in (metadata or {}).items() if key not in VOLATILE_KEYS}


cdef bint same_metadata(dict metadata, dict expected) except -1:
    cdef Py_ssize_t matched = 0
    if metadata is None:
        return not expected
    for key, value in metadata.items():
        if key in expected:
            if expected[key] != value:
                return False
            matched += 1
        elif key not in VOLATILE_KEYS:
            return False
    return matched == len(expected)


cdef frozenset VOLATILE_KEYS = frozenset([b"vgi_rpc.request_id", b"traceparent", b"tracestate"])
