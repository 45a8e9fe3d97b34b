# Owns: records of groups by id, in memory that the processes of one host may share, and how they are published.
# May use: nested. Knows nothing of what a record means, but for its first byte: whether the group has a state.
# Invariant: a change is written to a journal as a whole, published there with one store, and then spread over
#   the records. Whoever finds the journal of a dead process published and not spread does the latter again:
#   journals hold new records, not differences. Concurrent changes concern disjoint groups.
#
# Shared file:  header page, writer table, then records at RECORDS_AT + group * stride.
# Journal file: see the J_ offsets, then group ids, then records.

cdef extern from *:
    """
    #define vgi_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define vgi_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define vgi_fetch_add(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
    #define vgi_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    #include <time.h>
    static inline uint64_t vgi_seconds(void) { return (uint64_t)time(NULL); }
    """
    void fence "vgi_fence"() noexcept nogil
    uint64_t seconds_now "vgi_seconds"() noexcept nogil
    void store_release "vgi_store_release"(uint64_t *p, uint64_t v) noexcept nogil
    uint64_t load_acquire "vgi_load_acquire"(uint64_t *p) noexcept nogil
    uint64_t fetch_add "vgi_fetch_add"(uint64_t *p, uint64_t v) noexcept nogil

cdef enum:
    WRITERS_AT = 4096
    MAX_WRITERS = 448           # what fits between them
    WRITER_BYTES = 64
    RECORDS_AT = 65536 >> 1
    REGION = 65536              # file space is taken in steps of this
    HEADER_WRITERS = 24         # offsets in the header: number of writer entries used,
    HEADER_ARENA = 32           # bytes of the arena given out,
    HEADER_CLOSED = 56          # whether somebody is about to remove the file
    ENTRY_BUSY = 8              # offsets in a writer's entry, behind its name
    ENTRY_TIME = 16
    JOURNAL_BODY = 128
    MAX_SPREAD = 1 << 20        # ids of one batch that lie further apart are looked up by hash

cdef enum:                      # offsets in a journal
    J_STATE = 8                 # idle, published, spread
    J_DIGEST = 16               # of the request
    J_GROUPS = 32
    J_STRIDE = 40
    J_OWNER = 48                # name of the execution, 16 bytes

cdef enum:
    JOURNAL_IDLE = 0
    JOURNAL_PUBLISHED = 1
    JOURNAL_SPREAD = 2          # and not answered

STATE_LAYOUT = {
    "writers_at": WRITERS_AT, "max_writers": MAX_WRITERS, "writer_bytes": WRITER_BYTES, "records_at": RECORDS_AT,
    "region": REGION, "journal_body": JOURNAL_BODY, "state": J_STATE, "digest": J_DIGEST, "groups": J_GROUPS,
    "stride": J_STRIDE, "owner": J_OWNER, "closed": HEADER_CLOSED, "busy": ENTRY_BUSY, "time": ENTRY_TIME,
}
"""Offsets, for the code that opens, repairs and removes the files."""

cdef int64_t MAX_GROUP = <int64_t> 1 << 40


@cython.final
cdef class RecordMemory:
    """Memory of records, which arrays of an author may outlive."""
    cdef uint8_t *data
    cdef Py_ssize_t size

    @staticmethod
    cdef RecordMemory new(Py_ssize_t size):
        cdef RecordMemory memory = RecordMemory.__new__(RecordMemory)
        memory.data = <uint8_t *> checked_alloc(size)
        memory.size = size
        return memory

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, self.size, 0, flags)

    def __dealloc__(self):
        free(self.data)


@cython.final
cdef class Groups:
    """The groups of one request: their ids, the position of each row among them, and their records. One thread."""
    cdef readonly int64_t count         # distinct groups
    cdef readonly int64_t rows
    cdef readonly int64_t stride
    cdef int64_t *ids
    cdef int64_t *local                 # by row; all 0 where there is one group, then not filled
    cdef uint8_t *records
    cdef RecordMemory memory            # of the records; replaced where NumPy arrays may still view it
    cdef uint8_t *dirty                 # by group; only while states are combined
    cdef int64_t max_rows
    cdef int32_t *table                 # positions by id, -1 where there is none
    cdef int64_t table_size

    def __init__(self, int64_t stride):
        if stride < 8 or stride & 7 or stride > 1 << 20:
            raise ValueError(f"records of {stride} bytes")
        self.stride = stride

    def __dealloc__(self):
        free(self.ids)
        free(self.local)
        free(self.dirty)
        free(self.table)

    cdef int room(self, int64_t rows) except -1:
        if rows > self.max_rows:
            self.local = <int64_t *> checked_realloc(self.local, rows * sizeof(int64_t))
            self.ids = <int64_t *> checked_realloc(self.ids, rows * sizeof(int64_t))
            self.dirty = <uint8_t *> checked_realloc(self.dirty, rows)
            self.max_rows = rows
        return 0

    cdef int need_records(self) except -1:
        cdef Py_ssize_t wanted = max(self.count, 1) * self.stride
        if self.memory is None or self.memory.size < wanted or is_shared(<void *> self.memory):
            self.memory = RecordMemory.new(max(wanted, 1024))
        self.records = self.memory.data
        return 0

    cdef int need_table(self, int64_t size) except -1:
        if size > self.table_size:
            self.table = <int32_t *> checked_realloc(self.table, size * sizeof(int32_t))
            memset(self.table, 0xFF, size * sizeof(int32_t))
            self.table_size = size
        return 0

    def assign(self, Array ids not None):
        """Take the group of each row from an int64 column."""
        cdef Node *n = ids.node
        cdef const int64_t *given
        if ids.type.id != T_INT64:
            raise TypeMismatchError(f"group ids are int64, got {type_text(ids.type)}")
        if count_nulls(ids.type.own_plan(), n):
            raise ProtocolError("a group id is null")
        given = <const int64_t *> n.buf[1] + n.offset
        self.room(max(n.length, 1))
        self.rows = n.length
        self.count = 0
        if n.length:
            self.group(given, n.length)
        self.need_records()
        return self.count

    def assign_list(self, list ids not None):
        """As ``assign``, from Python integers."""
        self.assign(array_of_values(ids, DataType.new(T_INT64)))

    def assign_pairs(self, Array sources not None, Array targets not None):
        """Groups of a combine: rows 2i and 2i + 1 are the source and the target of pair i."""
        cdef int64_t i
        cdef int64_t n = sources.node.length
        cdef Array both
        cdef Nodes nodes
        cdef Block block
        if targets.node.length != n or sources.type.id != T_INT64 or targets.type.id != T_INT64 or count_nulls(
                sources.type.own_plan(), sources.node) or count_nulls(targets.type.own_plan(), targets.node):
            raise ProtocolError("pairs of groups are two int64 columns without nulls")
        nodes = Nodes.new(1, None)
        block = new_buffer(nodes, 16 * n)
        for i in range(n):
            (<int64_t *> block.data)[2 * i] = (<const int64_t *> sources.node.buf[1])[sources.node.offset + i]
            (<int64_t *> block.data)[2 * i + 1] = (<const int64_t *> targets.node.buf[1])[targets.node.offset + i]
        nodes.at[0].length = 2 * n
        nodes.at[0].buf[1] = block.data
        both = Array.new(sources.type, nodes, nodes.at)
        self.assign(both)
        memset(self.dirty, 0, self.count)
        if self.count == 1:
            memset(self.local, 0, 16 * n)

    def mark(self, list positions not None):
        """After ``assign_pairs``: these groups were changed."""
        for position in positions:
            if not 0 <= position < self.count:
                raise IndexError(position)
            self.dirty[<int64_t> position] = 1

    def keep_changed(self):
        """Forget the groups that a combine has only read: others may read them at the same time."""
        cdef int64_t i, kept = 0
        for i in range(self.count):
            if self.dirty[i]:
                if kept != i:
                    self.ids[kept] = self.ids[i]
                    memcpy(self.records + kept * self.stride, self.records + i * self.stride, self.stride)
                kept += 1
        self.count = kept
        self.rows = 0

    cdef int group(self, const int64_t *given, int64_t n) except -1:
        cdef int64_t i, least = given[0], most = given[0]
        for i in range(n):
            if given[i] < least:
                least = given[i]
            if given[i] > most:
                most = given[i]
        if least < 0 or most > MAX_GROUP:
            raise ProtocolError(f"group ids from {least} to {most}, expected 0 to {MAX_GROUP}")
        if least == most:
            self.count = 1
            self.ids[0] = least
            return 0
        if most - least < MAX_SPREAD:
            self.need_table(most - least + 1)
            self.group_near(given, n, least)
        else:
            i = 64
            while i < 2 * n:
                i *= 2
            self.need_table(i)
            self.group_far(given, n, <uint64_t> (i - 1))
        return 0

    cdef void group_near(self, const int64_t *given, int64_t n, int64_t least) noexcept nogil:
        cdef int64_t i, count = 0
        cdef int32_t *table = self.table
        cdef int32_t at
        for i in range(n):
            at = table[given[i] - least]
            if at < 0:
                at = <int32_t> count
                table[given[i] - least] = at
                self.ids[count] = given[i]
                count += 1
            self.local[i] = at
        for i in range(count):
            table[self.ids[i] - least] = -1
        self.count = count

    cdef void group_far(self, const int64_t *given, int64_t n, uint64_t mask) noexcept nogil:
        cdef int64_t i, count = 0
        cdef int32_t *table = self.table
        cdef uint64_t slot
        for i in range(n):
            slot = fold(<uint64_t> given[i] ^ <uint64_t> 0x9E3779B97F4A7C15, <uint64_t> 0xA0761D6478BD642F) & mask
            while table[slot] >= 0 and self.ids[table[slot]] != given[i]:
                slot = (slot + 1) & mask
            if table[slot] < 0:
                table[slot] = <int32_t> count
                self.ids[count] = given[i]
                count += 1
            self.local[i] = table[slot]
        memset(table, 0xFF, (mask + 1) * sizeof(int32_t))
        self.count = count

    # ---- what Python code sees ----

    def ids_list(self):
        """Distinct ids, in the order of their first rows."""
        return [self.ids[i] for i in range(self.count)]

    def locals_list(self):
        """Position among the groups, by row."""
        if self.count == 1:
            return [0] * self.rows
        return [self.local[i] for i in range(self.rows)]

    def locals_array(self):
        """As ``locals_list``, as an int64 array of NumPy."""
        cdef npy_intp n = self.rows
        cdef object out
        need_numpy()
        out = PyArray_SimpleNew(1, &n, NPY_INT64)
        if self.count == 1:
            memset(PyArray_DATA(raw(out)), 0, n * 8)
        elif n:
            memcpy(PyArray_DATA(raw(out)), self.local, n * 8)
        return out

    def records_view(self):
        """The records in place, as bytes that may be written until the next ``assign``."""
        return memoryview(self.memory)[:self.count * self.stride]

    def get_records(self):
        """Each record as bytes; None for a group without state."""
        cdef int64_t i
        cdef uint8_t *p
        cdef list out = []
        for i in range(self.count):
            p = self.records + i * self.stride
            out.append(PyBytes_FromStringAndSize(<const char *> p, self.stride) if p[0] else None)
        return out

    def set_records(self, list given not None):
        """Inverse of ``get_records``."""
        cdef int64_t i
        cdef bytes one
        if len(given) != self.count:
            raise ValueError(f"{len(given)} records for {self.count} groups")
        memset(self.records, 0, self.count * self.stride)
        for i in range(self.count):
            if given[i] is None:
                continue
            one = given[i]
            if len(one) != self.stride:
                raise_storage(f"a stored state of {len(one)} bytes where {self.stride} are expected")
            memcpy(self.records + i * self.stride, PyBytes_AS_STRING(one), self.stride)

    def present(self):
        """Whether each group has a state."""
        return [self.records[i * self.stride] != 0 for i in range(self.count)]


cdef int raise_storage(str what) except -1:
    from vgi_fast.errors import StorageError
    raise StorageError(what)


@cython.final
cdef class StateJournal:
    """Where one change is written down before it is made. One thread at a time; one process."""
    cdef View view
    cdef readonly int64_t capacity

    def __init__(self, memory):
        self.attach(memory)

    def attach(self, memory):
        """Continue over a larger mapping of the same file."""
        self.view = View.of(memory)
        self.capacity = self.view.size
        if self.capacity < JOURNAL_BODY:
            raise_storage("a journal is shorter than its header")

    cdef inline uint64_t *word(self, int at) noexcept:
        return <uint64_t *> (self.view.data + at)

    def note(self, bytes owner not None, bytes request not None):
        """A request that changes something outside of the records."""
        if len(owner) != 16 or len(request) != 16:
            raise ValueError("names and digests are 16 bytes")
        memcpy(<uint8_t *> self.view.data + J_DIGEST, PyBytes_AS_STRING(request), 16)
        memcpy(<uint8_t *> self.view.data + J_OWNER, PyBytes_AS_STRING(owner), 16)
        memset(<uint8_t *> self.view.data + J_GROUPS, 0, 16)
        store_release(self.word(J_STATE), JOURNAL_SPREAD)

    def answered(self):
        """The client has what it asked for and will not ask again."""
        store_release(self.word(J_STATE), JOURNAL_IDLE)


@cython.final
cdef class GroupStore:
    """Records by group id over a mapped file, or over memory of this process. Any thread, one at a time."""
    cdef readonly int64_t stride
    cdef View view
    cdef uint8_t *base
    cdef readonly int64_t capacity      # groups that the mapping has room for
    cdef bytearray taken                # by region: this process knows that the file has it
    cdef readonly bytes name            # 16 bytes of the execution
    cdef object more                    # called with a byte offset: gives a larger mapping
    cdef object take                    # called with (start, end): takes file space

    def __init__(self, int64_t stride, bytes name not None, memory, more, take):
        if len(name) != 16:
            raise ValueError("an execution's name is 16 bytes")
        self.stride = stride
        self.name = name
        self.more = more
        self.take = take
        self.attach(memory)

    def attach(self, memory):
        self.view = View.of(memory)
        self.base = <uint8_t *> self.view.data
        if self.view.size < RECORDS_AT:
            raise_storage("a state file is shorter than its header")
        self.capacity = (self.view.size - RECORDS_AT) // self.stride
        if self.taken is None:
            self.taken = bytearray(self.view.size // REGION + 1)
        else:
            self.taken.extend(bytes(self.view.size // REGION + 1 - len(self.taken)))

    cdef int need(self, int64_t group) except -1:
        """Room, and file space, for a record."""
        cdef int64_t start = RECORDS_AT + group * self.stride
        cdef int64_t end = start + self.stride
        cdef int64_t region
        if group >= self.capacity:
            self.attach(self.more(end))
            if group >= self.capacity:
                raise InternalError("a state file did not grow")
        for region in range(start // REGION, (end - 1) // REGION + 1):
            if not self.taken[region]:
                self.take(region * REGION, (region + 1) * REGION)
                self.taken[region] = 1
        return 0

    cdef inline bint known(self, int64_t group) noexcept:
        cdef int64_t start = RECORDS_AT + group * self.stride
        cdef const uint8_t *flags = <const uint8_t *> PyByteArray_AS_STRING(self.taken)
        return group < self.capacity and flags[start // REGION] and flags[(start + self.stride - 1) // REGION]

    def load(self, Groups groups not None):
        """The records of all groups."""
        cdef int64_t i
        if groups.stride != self.stride:
            raise InternalError("records of another size")
        for i in range(groups.count):
            if not self.known(groups.ids[i]):
                self.need(groups.ids[i])
        for i in range(groups.count):
            memcpy(groups.records + i * self.stride, self.base + RECORDS_AT + groups.ids[i] * self.stride,
                   self.stride)

    def store(self, Groups groups not None):
        """Without a journal: memory of one process, which does not outlive it."""
        self.spread(groups.count, groups.ids, groups.records)

    cdef int spread(self, int64_t count, const int64_t *ids, const uint8_t *records) except -1:
        cdef int64_t i
        for i in range(count):
            if not self.known(ids[i]):
                self.need(ids[i])
        for i in range(count):
            memcpy(self.base + RECORDS_AT + ids[i] * self.stride, records + i * self.stride, self.stride)
        return 0

    def publish(self, Groups groups not None, StateJournal journal not None, int64_t writer, bytes request not None):
        """Journal, publish, spread. ``request`` is the digest by which a repetition is known.

        True where the file is about to be removed, so that the change may be lost with it.
        """
        cdef int64_t size = groups.count * (8 + self.stride)
        cdef uint8_t *at = <uint8_t *> journal.view.data
        cdef uint64_t count = groups.count
        cdef uint64_t stride = self.stride
        cdef int64_t i
        if journal.capacity < JOURNAL_BODY + size:
            raise InternalError("a journal is too small")
        if len(request) != 16 or not 0 <= writer < MAX_WRITERS:
            raise ValueError("a digest is 16 bytes, a writer an entry of the table")
        memcpy(at + J_DIGEST, PyBytes_AS_STRING(request), 16)
        memcpy(at + J_OWNER, PyBytes_AS_STRING(self.name), 16)
        memcpy(at + J_GROUPS, &count, 8)
        memcpy(at + J_STRIDE, &stride, 8)
        for i in range(groups.count):
            groups.records[i * self.stride + 1] = 0     # no longer settled
        memcpy(at + JOURNAL_BODY, groups.ids, 8 * groups.count)
        memcpy(at + JOURNAL_BODY + 8 * groups.count, groups.records, groups.count * self.stride)
        store_release(self.entry(writer, ENTRY_TIME), seconds_now())
        # Whoever sees the entry busy asks whether its process lives.
        store_release(self.entry(writer, ENTRY_BUSY), 1)
        store_release(journal.word(J_STATE), JOURNAL_PUBLISHED)
        self.spread(groups.count, groups.ids, groups.records)
        store_release(journal.word(J_STATE), JOURNAL_SPREAD)
        fence()
        return load_acquire(<uint64_t *> (self.base + HEADER_CLOSED)) != 0

    def settled(self, Groups groups not None):
        """Note that these groups have given their result, or gone into others: they need not be kept."""
        cdef int64_t i
        cdef uint8_t *r
        for i in range(groups.count):
            if self.known(groups.ids[i]):
                r = self.base + RECORDS_AT + groups.ids[i] * self.stride
                if r[0]:
                    r[1] = 1

    def replay(self, journal):
        """Make the change that a journal of a process that is no more holds."""
        cdef View view = View.of(journal)
        cdef uint64_t count, stride
        if view.size < JOURNAL_BODY:
            raise_storage("a journal is cut off")
        count = <uint64_t> load_i64(view.data + J_GROUPS)
        stride = <uint64_t> load_i64(view.data + J_STRIDE)
        if stride != <uint64_t> self.stride or count > <uint64_t> (view.size - JOURNAL_BODY) // (8 + stride):
            raise_storage("a journal is damaged: its sizes do not fit")
        self.check_ids(<const int64_t *> (view.data + JOURNAL_BODY), <int64_t> count)
        self.spread(<int64_t> count, <const int64_t *> (view.data + JOURNAL_BODY),
                    view.data + JOURNAL_BODY + 8 * count)

    cdef int check_ids(self, const int64_t *ids, int64_t count) except -1:
        cdef int64_t i
        for i in range(count):
            if ids[i] < 0 or ids[i] > MAX_GROUP:
                raise_storage("a journal is damaged: a group id is out of range")
        return 0

    # ---- the writer table ----

    cdef inline uint64_t *entry(self, int64_t writer, int at) noexcept:
        return <uint64_t *> (self.base + WRITERS_AT + writer * WRITER_BYTES + at)

    def add_writer(self, uint64_t name):
        """A new entry of the table; -1 where it is full."""
        cdef uint64_t index = fetch_add(<uint64_t *> (self.base + HEADER_WRITERS), 1)
        if index >= MAX_WRITERS:
            return -1
        store_release(self.entry(index, ENTRY_BUSY), 0)
        store_release(self.entry(index, ENTRY_TIME), seconds_now())
        store_release(self.entry(index, 0), name)
        return <int64_t> index

    def writers(self):
        """(entry, name, busy) of all writers."""
        cdef uint64_t i
        cdef uint64_t n = min(load_acquire(<uint64_t *> (self.base + HEADER_WRITERS)), <uint64_t> MAX_WRITERS)
        return [(i, load_acquire(self.entry(i, 0)), load_acquire(self.entry(i, ENTRY_BUSY))) for i in range(n)]

    def take_over(self, int64_t writer, uint64_t name):
        """The entry of a writer that is no more."""
        if not 0 <= writer < MAX_WRITERS:
            raise ValueError(f"writer {writer}")
        store_release(self.entry(writer, ENTRY_BUSY), 0)
        store_release(self.entry(writer, 0), name)

    def is_busy(self, int64_t but):
        """Whether any other writer has published something that it has not answered yet."""
        cdef uint64_t i
        cdef uint64_t n = min(load_acquire(<uint64_t *> (self.base + HEADER_WRITERS)), <uint64_t> MAX_WRITERS)
        for i in range(n):
            if <int64_t> i != but and load_acquire(self.entry(i, ENTRY_BUSY)):
                return True
        return False

    def settle(self, int64_t writer):
        """This writer has answered."""
        if not 0 <= writer < MAX_WRITERS:
            raise ValueError(f"writer {writer}")
        store_release(self.entry(writer, ENTRY_BUSY), 0)

    def settle_if(self, int64_t writer, uint64_t name):
        """What a writer that is no more left was seen to, unless its entry has become somebody else's."""
        if not 0 <= writer < MAX_WRITERS:
            raise ValueError(f"writer {writer}")
        if load_acquire(self.entry(writer, 0)) == name:
            store_release(self.entry(writer, ENTRY_BUSY), 0)

    def memory(self):
        """A copy of everything that the mapping holds."""
        return PyBytes_FromStringAndSize(<const char *> self.base, self.view.size)

    def reserve_arena(self, int64_t size):
        """The start of that many bytes of the arena that nobody else was or will be given."""
        return <int64_t> fetch_add(<uint64_t *> (self.base + HEADER_ARENA), <uint64_t> ((size + 7) & ~7))


def holds_unsettled(data, int64_t stride):
    """Whether any of the records has a state that was neither finalized nor combined."""
    cdef View view = View.of(data)
    cdef int64_t i
    if stride < 8:
        raise_storage(f"records of {stride} bytes")
    for i in range(view.size // stride):
        if view.data[i * stride] and not view.data[i * stride + 1]:
            return True
    return False
