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
        cdef Input source = Input(data)
        cdef Schema given = source.read_schema()
        cdef Table header, compression
        cdef size_t at, size
        cdef int64_t rows
        cdef bint plain
        if given is None:
            raise ProtocolError("an empty buffer where an IPC stream is due")
        if given is not schema and not compatible(given, schema):
            return False
        plain = not given.dictionary_ids
        if source.next_frame() != FRAME_BATCH:
            if plain or source.take_batch() is None:
                malformed("a stream without a batch")
        if not slot_table(&source.meta, &source.message, 2, &header):
            malformed("a batch message without a batch")
        rows = slot_i64(&header, 0, 0)
        at, size = source.start, source.frame_size
        if plain and (slot(&source.message, 4, 4) != NULL or source.v4
                      or slot_table(&source.meta, &header, 3, &compression)):
            plain = False
        if source.next_frame() == FRAME_BATCH:
            malformed("more than one batch where one is due")
        if plain:
            self.put(source.block.data + at, size, 0, rows, -1 if batch_index is None else batch_index)
        else:
            self.put(received.data, received.size, SPOOL_STREAM, rows, -1 if batch_index is None else batch_index)
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
        if self.record.magic != SPOOL_MAGIC or self.record.size > left or (-self.record.size & 7) > left - self.record.size:
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


def serve_replay(Input input not None, Output output not None, Schema schema not None, readers, positions=None):
    """Answer each tick with the next batch of the readers, in turn; True when the client cancelled.

    ``positions`` are the columns to give; all of them leave as they were received.
    """
    cdef SpoolReader reader = None
    cdef RecordBatch tick, batch
    cdef list waiting = list(readers)
    cdef bint whole = positions is None
    if not input.open:
        raise ProtocolError("no input stream is open")
    waiting.reverse()
    while True:
        tick = None
        tick = input.take_batch()
        if tick is None:
            return False
        if tick.metadata_ is not None and CANCEL_KEY in tick.metadata_:
            return True
        while True:
            if reader is None:
                if not waiting:
                    return False
                reader = <SpoolReader?> waiting.pop()
                whole = positions is None and compatible(reader.schema, schema)
            if not reader.advance():
                reader = None
            elif reader.record.rows:
                break
        if not output.open:
            output.schema(schema)
        if whole and not reader.record.flags & SPOOL_STREAM:
            output.encoder.piece(reader.view.data + reader.at, reader.record.size)
        else:
            batch = reader.decode()
            batch = reshape(batch, schema, positions)
            if batch is None:
                raise TypeMismatchError(f"Output type mismatch. Expected ({schema}), got ({reader.schema})")
            output.put(batch, None)
        output.send()
