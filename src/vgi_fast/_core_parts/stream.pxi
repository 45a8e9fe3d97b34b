# Owns: the two directions of a connection: bytes in to messages, batches out to gather writes.
# May use: everything above, read(2) and writev(2).
# Invariant of Input: the unread bytes are [start, end) of ``block``; the current message stays where it is
#   until the next one is asked for. A block that something else refers to is left alone and replaced.

cdef extern from "unistd.h" nogil:
    ssize_t c_read "read"(int fd, void *buffer, size_t count)
cdef extern from "sys/uio.h" nogil:
    cdef struct iovec:
        void *iov_base
        size_t iov_len
    ssize_t c_writev "writev"(int fd, iovec *pieces, int count)
cdef extern from "sched.h" nogil:
    int c_yield "sched_yield"()
cdef extern from "poll.h" nogil:
    cdef struct pollfd:
        int fd
        short events
        short revents
    int c_poll "poll"(pollfd *fds, unsigned long count, int timeout_ms)
    short POLLIN
    short POLLOUT
cdef extern from "string.h":
    char *c_strerror "strerror"(int number)

cdef enum:
    FIRST_BLOCK = 1 << 16
    LARGEST_STEP = 1 << 26      # a message's announced size is only believed this far ahead of its bytes
    MAX_HEADER = 1 << 28        # less than any four bytes of text, which would otherwise pass for a length
    MAX_IO = 1 << 30            # some kernels refuse larger system calls
    MAX_PIECES = 1024           # IOV_MAX

cdef enum:
    FRAME_EOF
    FRAME_EOS
    FRAME_SCHEMA
    FRAME_DICTIONARY
    FRAME_BATCH

cdef int64_t DEFAULT_MAX_MESSAGE = <int64_t> 1 << 40


cdef int wait_for(int fd, short events) except -1:
    """Block until a non-blocking descriptor is ready."""
    cdef pollfd p
    p.fd = fd
    p.events = events
    p.revents = 0
    with nogil:
        c_poll(&p, 1, -1)
    return PyErr_CheckSignals()


# Schemas by the bytes of their message, for all connections: a schema is decoded once. A hostile peer can
# only make it forget.
cdef dict known_schemas = {}
cdef enum:
    MAX_KNOWN_SCHEMAS = 512
    MAX_KNOWN_BYTES = 65536


@cython.final
cdef class Input:
    """One thread at a time."""
    cdef int fd
    cdef Block block
    cdef Block spare
    cdef size_t start
    cdef size_t end
    cdef readonly int64_t bytes_read
    cdef int64_t max_message
    cdef bint at_eof
    cdef public Trace trace
    cdef int64_t spin_ns            # how long a read may be preceded by looking, 0: not at all
    cdef int64_t expected_ns        # how long the peer let this side wait lately
    # the current message
    cdef Span meta
    cdef Table message
    cdef bint v4
    cdef const uint8_t *body
    cdef int64_t body_size
    cdef size_t frame_size
    # the open stream
    cdef readonly bint open
    cdef bint cut
    cdef Schema schema
    cdef list dictionaries
    # shared memory
    cdef Segment segment
    cdef list leases                # slots of batches that were received and not given back

    def __init__(self, source, max_message_bytes=None):
        cdef View view
        self.leases = []
        self.max_message = DEFAULT_MAX_MESSAGE if max_message_bytes is None else max_message_bytes
        if isinstance(source, int):
            self.fd = source
            self.block = Block.new(FIRST_BLOCK)
            return
        self.fd = -1
        view = View.of(source)
        if <uintptr_t> view.data & 7:
            self.block = Block.new(view.size)
            memcpy(self.block.data, view.data, view.size)
        else:
            self.block = Block.over(view)
        self.end = view.size
        self.bytes_read = view.size

    # ---- bytes ----

    def spin(self, double budget_us):
        """Look for so long whether bytes have come before sleeping, as long as they usually come within it."""
        if not 0 <= budget_us <= 1000:
            raise ValueError(f"budget_us must be between 0 and 1000, got {budget_us}")
        self.spin_ns = <int64_t> (1000 * budget_us)

    cdef void look(self) noexcept nogil:
        """Until bytes are there or the budget is used up. A sleep costs the peer a wake-up, a look a system call."""
        cdef int64_t end = clock_ns() + self.spin_ns
        cdef pollfd p
        p.fd = self.fd
        p.events = POLLIN
        p.revents = 0
        while c_poll(&p, 1, 0) == 0 and clock_ns() < end:
            pass

    cdef ssize_t first_read(self, size_t room) noexcept nogil:
        """The read of a message's first bytes, which waits for the peer."""
        cdef int64_t began
        cdef ssize_t got
        if self.spin_ns == 0:
            return c_read(self.fd, self.block.data + self.end, room)
        began = clock_ns()
        if self.expected_ns <= self.spin_ns:
            self.look()
        got = c_read(self.fd, self.block.data + self.end, room)
        self.expected_ns += (clock_ns() - began - self.expected_ns) // 8
        return got

    cdef int make_room(self, size_t n) except -1:
        """Room in ``block`` for n bytes from ``start``; moves to another block where this one is viewed or small."""
        cdef size_t unread = self.end - self.start
        cdef size_t capacity = self.block.capacity
        cdef Block fresh
        if is_shared(<void *> self.block):
            if self.spare is not None and self.spare.capacity >= n and not is_shared(<void *> self.spare):
                fresh = self.spare
            else:
                fresh = Block.new(max(n, <size_t> FIRST_BLOCK))
            memcpy(fresh.data, self.block.data + self.start, unread)
            self.spare = self.block
            self.block = fresh
        elif n > capacity:
            while capacity < n:
                capacity *= 2
            fresh = Block.new(capacity)
            memcpy(fresh.data, self.block.data + self.start, unread)
            self.block = fresh
        else:
            memmove(self.block.data, self.block.data + self.start, unread)
        self.start = 0
        self.end = unread
        return 0

    cdef bint fetch(self, size_t n) except -1:
        """At least n unread bytes; False where the input ends before."""
        cdef ssize_t got
        cdef size_t room
        cdef size_t step
        cdef int phase = 0
        while self.end - self.start < n:
            if self.fd < 0 or self.at_eof:
                return False
            step = n
            if n > self.end - self.start + LARGEST_STEP:
                step = self.end - self.start + LARGEST_STEP
            if self.start + step > self.block.capacity or is_shared(<void *> self.block):
                self.make_room(step)
            room = self.block.capacity - self.end
            if room > MAX_IO:
                room = MAX_IO
            if self.trace is not None:
                phase = self.trace.enter(IN_WAIT if self.end == self.start else IN_READ)
            with nogil:
                # DuckDB writes a message in four pieces, of which the first 4 bytes wake this process, often
                # on the writer's own processor. Letting the writer go on once turns four sleeps into one
                # (benchmarks.e2e.scalar: a third of the worker's time); a pipe with bytes in it wakes nobody.
                if 0 < self.end - self.start < 8:
                    c_yield()
                if self.end == self.start:
                    got = self.first_read(room)
                else:
                    got = c_read(self.fd, self.block.data + self.end, room)
            if self.trace is not None:
                self.trace.enter(phase)
                self.trace.reads += 1
                self.trace.bytes_in += max(got, 0)
            if got > 0:
                self.end += got
                self.bytes_read += got
            elif got == 0:
                self.at_eof = True
            elif errno == EINTR:
                PyErr_CheckSignals()
            elif errno == EAGAIN:
                wait_for(self.fd, POLLIN)
            else:
                raise TransportError(f"reading failed: {c_strerror(errno).decode()}")
        return True

    cdef int cut_short(self) except -1:
        raise ProtocolError("the connection ended inside a message")

    # ---- messages ----

    cdef int next_frame(self) except -1:
        """Position on the next message; returns its kind."""
        cdef const uint8_t *p
        cdef int64_t length, total
        cdef size_t prefix = 8
        cdef int kind
        self.start += self.frame_size
        self.frame_size = 0
        if self.start == self.end and not is_shared(<void *> self.block):
            self.start = self.end = 0
        if not self.fetch(4):
            if self.start != self.end:
                self.cut_short()
            return FRAME_EOF
        p = self.block.data + self.start
        if load_u32(p) == 0xFFFFFFFF:
            if not self.fetch(8):
                self.cut_short()
            length = load_i32(self.block.data + self.start + 4)
        else:
            length = load_i32(p)        # framing from before Arrow 0.15
            prefix = 4
        if length == 0:
            self.frame_size = prefix
            return FRAME_EOS
        if length < 0 or length > MAX_HEADER:
            malformed(f"a message header of {length} bytes")
        if not self.fetch(prefix + length):
            self.cut_short()
        kind = self.read_header(self.block.data + self.start + prefix, length)
        total = prefix + length + self.body_size
        if not self.fetch(total):
            self.cut_short()
        self.frame_size = total
        if (self.start + prefix + length) & 7 and self.body_size:
            self.realign(prefix, length)
        self.read_header(self.block.data + self.start + prefix, length)     # the bytes may have moved
        self.body = self.block.data + self.start + prefix + length
        return kind

    cdef int realign(self, size_t prefix, int64_t length) except -1:
        """Move the unread bytes so that the body starts at a multiple of 8."""
        cdef size_t unread = self.end - self.start
        cdef size_t shift = -(prefix + length) & 7
        cdef Block fresh = Block.new(unread + 64)
        memcpy(fresh.data + shift, self.block.data + self.start, unread)
        self.block = fresh
        self.start = shift
        self.end = shift + unread
        return 0

    cdef int read_header(self, const uint8_t *at, int64_t length) except -1:
        cdef int kind
        set_span(&self.meta, at, length)
        open_root(&self.meta, &self.message)
        if slot_i16(&self.message, 0, 0) < 3:
            malformed("metadata versions before V4 are not supported")
        self.v4 = slot_i16(&self.message, 0, 0) == 3
        self.body_size = slot_i64(&self.message, 3, 0)
        if self.body_size < 0 or self.body_size > self.max_message:
            malformed(f"a body of {self.body_size} bytes; at most {self.max_message} are accepted")
        kind = slot_u8(&self.message, 1, 0)
        if kind == HEADER_SCHEMA:
            return FRAME_SCHEMA
        if kind == HEADER_DICTIONARY:
            return FRAME_DICTIONARY
        if kind == HEADER_BATCH:
            return FRAME_BATCH
        malformed(f"unknown message type {kind}")

    # ---- streams ----

    def read_schema(self):
        """Start the next stream. None at end of file on a stream boundary."""
        cdef int kind
        if self.open:
            raise ProtocolError("the previous stream was not read to its end")
        kind = self.next_frame()
        if kind == FRAME_EOF:
            return None
        if kind != FRAME_SCHEMA:
            raise ProtocolError("expected a schema message at the start of a stream")
        self.schema = self.lookup_schema()
        self.dictionaries = [None] * len(self.schema.dictionary_ids)
        self.open = True
        return self.schema

    cdef Schema lookup_schema(self):
        cdef bytes key = PyBytes_FromStringAndSize(<const char *> self.meta.base, self.meta.end - self.meta.base)
        cdef Schema found = known_schemas.get(key)
        if found is None:
            found = read_schema_message(&self.meta, &self.message)
            if len(key) <= MAX_KNOWN_BYTES:
                if len(known_schemas) >= MAX_KNOWN_SCHEMAS:
                    known_schemas.clear()
                known_schemas[key] = found
        return found

    def read_batch(self, bint resolve=True):
        """Next batch of the open stream; None at its end marker, or at end of file between messages."""
        return self.take_batch() if resolve else self.next_batch()

    cdef RecordBatch take_batch(self):
        """The next batch, where it lies in shared memory from there; the peer waits from its arrival on."""
        cdef RecordBatch batch = self.next_batch()
        if batch is not None and batch.length == 0 and batch.metadata_ is not None:
            if LOG_LEVEL_KEY in batch.metadata_:
                return batch            # more of the same answer follows: the peer is still at work
            if SHM_OFFSET_KEY in batch.metadata_:
                if self.leases:
                    give_back_unused(self)
                if self.trace is not None:
                    self.trace.enter(IN_DECODE)
                batch = resolve_pointer(self, batch)
                if self.trace is not None:
                    self.trace.enter(IN_OTHER)
                return batch
        if self.leases:
            give_back_unused(self)
        return batch

    def resolve(self, RecordBatch batch not None):
        """The batch that a pointer batch stands for; any other comes back as it is."""
        if batch.length == 0 and batch.metadata_ is not None and SHM_OFFSET_KEY in batch.metadata_:
            return resolve_pointer(self, batch)
        return batch

    def attach_segment(self, Segment segment):
        """Where pointers of the peer lead; None leads nowhere."""
        self.release()
        self.segment = segment

    def give_back(self):
        """Free the slots of received batches that nothing refers to any more. The peer has to be waiting."""
        if self.leases:
            give_back_unused(self)

    def release(self):
        """Free all slots of received batches; those that something still refers to get memory of their own first."""
        if self.leases:
            release_leases(self)

    cdef RecordBatch next_batch(self):
        cdef int kind
        cdef RecordBatch batch
        if not self.open:
            raise ProtocolError("no stream is open")
        while True:
            if self.trace is not None:
                self.trace.enter(IN_DECODE)
            kind = self.next_frame()
            if kind == FRAME_BATCH:
                batch = self.decode_batch(self.block)
                if self.trace is not None:
                    self.trace.enter(IN_OTHER)
                return batch
            if kind == FRAME_DICTIONARY:
                self.decode_dictionary(self.block)
                continue
            if kind == FRAME_SCHEMA:
                raise ProtocolError("a second schema message inside a stream")
            self.open = False
            self.cut = kind == FRAME_EOF
            return None

    def wait(self, int timeout_ms):
        """Whether something can be read, end of file included, within that time."""
        cdef pollfd p
        cdef int n
        if self.end != self.start + self.frame_size or self.fd < 0 or self.at_eof:
            return True
        p.fd = self.fd
        p.events = POLLIN
        p.revents = 0
        with nogil:
            n = c_poll(&p, 1, timeout_ms)
        return n != 0

    @property
    def truncated(self):
        """The input ended before the end marker of the last stream."""
        return self.cut

    def drain(self):
        """Discard up to and including the end marker of the open stream, if one is open."""
        cdef int kind
        while self.open:
            kind = self.next_frame()
            if kind == FRAME_EOS or kind == FRAME_EOF:
                self.open = False
                self.cut = kind == FRAME_EOF

    cdef RecordBatch decode_batch(self, object owner):
        """The current message, whose body ``owner`` keeps."""
        cdef Schema schema = self.schema
        cdef Nodes nodes = Nodes.new(schema.n_nodes, owner)
        cdef Table header
        cdef int64_t length = 0
        cdef dict metadata = None
        if not slot_table(&self.meta, &self.message, 2, &header):
            malformed("a batch message without a batch")
        read_batch_nodes(&self.meta, &header, self.v4, self.body, self.body_size, schema.plan, nodes, &length)
        check_columns(schema.plan, nodes, length)
        if schema.dictionary_ids:
            attach_dictionaries(schema.plan, nodes, self.dictionaries)
        if slot(&self.message, 4, 4) != NULL:
            metadata = key_values(&self.meta, &self.message, 4)
        return RecordBatch.new(schema, nodes, length, metadata)

    cdef int decode_dictionary(self, object owner) except -1:
        cdef Table header, data
        cdef int64_t id, length = 0
        cdef int slot_number
        cdef DataType t
        cdef Nodes nodes
        if not slot_table(&self.meta, &self.message, 2, &header):
            malformed("a dictionary message without a dictionary")
        id = slot_i64(&header, 0, 0)
        if id not in self.schema.dictionaries.slots:
            malformed(f"dictionary {id} is not in the schema")
        slot_number = self.schema.dictionaries.slots[id]
        t = dictionary_values_of(self.schema.fields, self.schema, slot_number)
        if not slot_table(&self.meta, &header, 1, &data):
            malformed("a dictionary message without values")
        plan = SlotPlan.find(self.schema, slot_number)
        nodes = Nodes.new((<SlotPlan> plan).span, owner)
        read_batch_nodes(&self.meta, &data, self.v4, self.body, self.body_size, (<SlotPlan> plan).at, nodes,
                         &length)
        check_columns((<SlotPlan> plan).at, nodes, length)
        attach_dictionaries((<SlotPlan> plan).at, nodes, self.dictionaries)
        if slot_u8(&header, 2, 0) and self.dictionaries[slot_number] is not None:
            nodes = joined(t, (<SlotPlan> plan).at, self.dictionaries[slot_number], nodes)
        self.dictionaries[slot_number] = nodes
        return 0


@cython.final
cdef class SlotPlan:
    """Where the plan of one dictionary's values is."""
    cdef PlanNode *at
    cdef int32_t span

    @staticmethod
    cdef SlotPlan find(Schema schema, int number):
        cdef SlotPlan found = SlotPlan.__new__(SlotPlan)
        if not found.search(schema.plan, schema.n_nodes, number):
            raise InternalError(f"dictionary slot {number} is not in the plan")
        return found

    cdef bint search(self, PlanNode *p, int32_t count, int number) noexcept:
        cdef int32_t i
        for i in range(count):
            if p[i].layout == L_DICTIONARY:
                if p[i].dictionary_slot == number:
                    self.at = p[i].values
                    self.span = p[i].values_span
                    return True
                if self.search(p[i].values, p[i].values_span, number):
                    return True
        return False


cdef DataType dictionary_values_of(tuple fields, Schema schema, int number):
    """Value type of the dictionary in that slot; ids are unique per slot."""
    cdef int64_t wanted = schema.dictionary_ids[number]
    cdef DataType t, found
    for f in fields:
        t = (<Field> f).type
        if t.id == T_DICTIONARY:
            if t.dictionary_id == wanted:
                return t.dictionary_values
            found = dictionary_values_of(t.dictionary_values.children, schema, number)
        else:
            found = dictionary_values_of(t.children, schema, number)
        if found is not None:
            return found
    return None


cdef Nodes joined(DataType t, PlanNode *p, Nodes old, Nodes more):
    """A delta: old values, then the new ones. Rare, so by way of pyarrow."""
    cdef Array a
    cdef int32_t i
    for i in range(old.count):
        if old.at[i].length > INT64_MAX - more.at[i].length:
            refuse("a delta dictionary of more than 2**63 values")
    import pyarrow
    try:
        a = import_array(pyarrow.concat_arrays([arrow_of_array(Array.new(t, old, old.at)),
                                                arrow_of_array(Array.new(t, more, more.at))]))
    except (pyarrow.ArrowException, KeyError) as e:     # KeyError: a kind without a Python class in pyarrow
        raise ProtocolError(f"a delta dictionary of {type_text(t)} cannot be joined: {e}") from None
    if not same_type(a.type, t, False):
        refuse(f"a delta dictionary of {type_text(t)} became {type_text(a.type)}")
    return a.owner


@cython.final
cdef class Output:
    """One thread at a time."""
    cdef int fd
    cdef Encoder encoder
    cdef list memory                # of bytes, one entry a flush
    cdef Schema schema_
    cdef readonly int64_t bytes_written
    cdef readonly bint open
    cdef public Trace trace
    cdef iovec *vectors
    # shared memory
    cdef Segment segment
    cdef int64_t min_shared
    cdef dict pointers              # PointerTemplate by numbers of digits, for this schema and metadata:
    cdef Schema pointer_schema
    cdef object pointer_metadata
    cdef readonly int64_t pointers_written

    def __init__(self, sink=None):
        self.encoder = Encoder.new()
        if sink is None:
            self.fd = -1
            self.memory = []
        else:
            self.fd = sink
            self.vectors = <iovec *> checked_alloc(MAX_PIECES * sizeof(iovec))

    def __dealloc__(self):
        free(self.vectors)

    def schema(self, Schema schema not None):
        """Queue a schema message; it opens a stream."""
        cdef bytes message = schema.serialize()
        if self.open:
            raise ProtocolError("a stream is open already")
        self.encoder.keep.append(message)
        self.encoder.piece(PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
        self.schema_ = schema
        self.open = True

    cdef int need_open(self) except -1:
        if not self.open:
            raise ProtocolError("no stream is open")
        return 0

    def batch(self, RecordBatch batch not None, metadata=None):
        """Queue a batch (preceded by its dictionaries). ``metadata`` replaces the batch's own."""
        self.need_open()
        if batch.schema is not self.schema_ and not compatible(batch.schema, self.schema_):
            raise TypeMismatchError(f"a batch of ({batch.schema}) in a stream of ({self.schema_})")
        self.put(batch, batch.metadata_ if metadata is None else metadata)

    def attach_segment(self, Segment segment, int64_t min_batch_bytes=0):
        """Place batches of that size there from now on; None places none."""
        self.segment = segment
        self.min_shared = min_batch_bytes

    cdef int put(self, RecordBatch batch, object metadata) except -1:
        """As ``batch``, all checks done."""
        cdef int phase
        if self.trace is None:
            return self.place(batch, metadata)
        phase = self.trace.enter(IN_ENCODE)
        self.place(batch, metadata)
        self.trace.enter(phase)
        return 0

    cdef int place(self, RecordBatch batch, object metadata) except -1:
        if self.segment is not None and batch.length:
            return put_shared(self, batch, metadata)
        return self.put_inline(batch, metadata)

    cdef int put_inline(self, RecordBatch batch, object metadata) except -1:
        cdef int64_t next_id = 0
        if self.schema_.dictionary_ids:
            self.dictionaries(self.schema_.plan, batch.nodes.at, self.schema_.n_nodes, &next_id)
        return self.encoder.batch(self.schema_, batch.nodes, batch.length, metadata)

    cdef int dictionaries(self, PlanNode *p, Node *n, int32_t count, int64_t *next_id) except -1:
        """Inner dictionaries first. Ids count up as in ``write_field``, whatever ids the schema was read with."""
        cdef int32_t i
        cdef int64_t id
        for i in range(count):
            if p[i].layout == L_DICTIONARY:
                id = next_id[0]
                next_id[0] += 1
                self.dictionaries(p[i].values, n[i].dictionary, p[i].values_span, next_id)
                self.encoder.dictionary(id, p[i].values, n[i].dictionary)
        return 0

    def empty_batch(self, metadata=None):
        """Queue a zero-row batch on the open stream's schema: logs, errors, ticks, void results."""
        cdef Nodes nodes
        self.need_open()
        nodes = empty_nodes(self.schema_.plan, self.schema_.n_nodes)
        self.put(RecordBatch.new(self.schema_, nodes, 0, None), metadata)

    def eos(self):
        self.need_open()
        self.encoder.piece(END_OF_STREAM, 8)
        self.open = False

    def raw(self, bytes data not None):
        """Queue bytes that were encoded before, whole messages only."""
        self.encoder.keep.append(data)
        self.encoder.piece(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    def flush(self):
        """Write what is queued. Raises TransportError when the peer is gone."""
        self.send()

    cdef int send(self) except -1:
        cdef Encoder e = self.encoder
        cdef bytes piece
        if self.fd < 0:
            piece = e.joined()
            self.memory.append(piece)
            self.bytes_written += len(piece)
        else:
            self.gather()
        e.clear()
        return 0

    cdef int gather(self) except -1:
        cdef Encoder e = self.encoder
        cdef size_t done = 0        # pieces written
        cdef size_t skip = 0        # bytes of the next piece written
        cdef size_t i, total
        cdef int n
        cdef int phase = 0
        cdef ssize_t put
        while done < e.n_pieces:
            n = 0
            total = 0
            for i in range(done, e.n_pieces):
                if n == MAX_PIECES or total >= MAX_IO:
                    break
                self.vectors[n].iov_base = <void *> e.pieces[i].data
                self.vectors[n].iov_len = e.pieces[i].size
                if n == 0:
                    self.vectors[0].iov_base = <char *> e.pieces[i].data + skip
                    self.vectors[0].iov_len -= skip
                if self.vectors[n].iov_len > MAX_IO - total:
                    self.vectors[n].iov_len = MAX_IO - total
                total += self.vectors[n].iov_len
                n += 1
            if self.trace is not None:
                phase = self.trace.enter(IN_WRITE)
            with nogil:
                put = c_writev(self.fd, self.vectors, n)
            if self.trace is not None:
                self.trace.enter(phase)
                self.trace.writes += 1
                self.trace.bytes_out += max(put, 0)
            if put < 0:
                self.write_failed()
                continue
            self.bytes_written += put
            while put > 0:
                if <size_t> put < e.pieces[done].size - skip:
                    skip += put
                    put = 0
                else:
                    put -= e.pieces[done].size - skip
                    skip = 0
                    done += 1
        return 0

    cdef int write_failed(self) except -1:
        if errno == EINTR:
            return PyErr_CheckSignals()
        if errno == EAGAIN:
            return wait_for(self.fd, POLLOUT)
        number = errno
        self.encoder.clear()
        raise TransportError(f"writing failed: {c_strerror(number).decode()}")

    def discard(self):
        """Forget what is queued and not flushed."""
        self.encoder.clear()

    def getvalue(self):
        if self.fd >= 0:
            raise ValueError("this Output writes to a descriptor")
        return b"".join(self.memory)


cdef uint8_t[8] END_OF_STREAM = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]


cdef Nodes empty_nodes(PlanNode *p, int32_t count):
    cdef Nodes nodes = Nodes.new(count, None)
    cdef Nodes values
    cdef int32_t i
    fill_empty(p, nodes)
    for i in range(count):
        if p[i].layout == L_DICTIONARY:
            values = empty_nodes(p[i].values, p[i].values_span)
            nodes.hold(values)
            nodes.at[i].dictionary = values.at
        elif p[i].layout == L_SPARSE or p[i].layout == L_DENSE:
            nodes.at[i].buf[0] = EMPTY
    return nodes


cdef bint compatible(Schema a, Schema b) except -1:
    """Same columns in the same order, as far as the buffers are concerned."""
    cdef Py_ssize_t i
    if len(a.fields) != len(b.fields):
        return False
    for i in range(len(a.fields)):
        if not same_type((<Field> a.fields[i]).type, (<Field> b.fields[i]).type, False):
            return False
    return True


def encode_stream(Schema schema not None, batches):
    """A complete IPC stream: schema, batches with their metadata, end marker."""
    cdef Output out = Output()
    out.schema(schema)
    for batch in batches:
        out.batch(batch)
    out.eos()
    out.flush()
    return out.memory[0]


def decode_stream(data):
    """Raises ProtocolError."""
    cdef Input source = Input(data)
    cdef list batches = []
    schema = source.read_schema()
    if schema is None:
        raise ProtocolError("an empty buffer where an IPC stream is due")
    while True:
        batch = source.read_batch()
        if batch is None:
            return schema, batches
        batches.append(batch)


def encode_row(Schema schema not None, row):
    """``encode_stream`` of one row: the form of every nested record (section 3.6)."""
    return encode_stream(schema, [batch_of_row(schema, row)])


def decode_row(data):
    """Inverse of ``encode_row``; no columns give {}; anything but one row is a ProtocolError."""
    schema, batches = decode_stream(data)
    if not len(schema):
        return {}
    if len(batches) != 1 or batches[0].num_rows != 1:
        raise ProtocolError(f"expected one row in a nested record, got {sum([len(b) for b in batches])}")
    return batches[0].row(0)
