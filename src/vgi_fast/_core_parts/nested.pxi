# Owns: records inside a binary cell, read where they are (section 3.6 of the protocol).
# May use: everything above.
# A request of an aggregate is a batch in a record in a batch: none of the three is copied.

cdef int cell_bytes(RecordBatch batch, Py_ssize_t i, const uint8_t **data, int64_t *size) except -1:
    """Bytes of a binary cell of the only row; NULL where it is null."""
    cdef PlanNode *p
    cdef Node *n
    if batch.length != 1:
        raise ProtocolError(f"expected one row in a nested record, got {batch.length}")
    if not 0 <= i < len(batch.schema.fields):
        raise IndexError(f"column {i} of a record with {len(batch.schema.fields)} fields")
    p = batch.schema.plan + batch.schema.tops[i]
    n = batch.nodes.at + batch.schema.tops[i]
    if p.layout not in (L_VAR32, L_VAR64, L_VIEW):
        raise ProtocolError(f"field '{(<Field> batch.schema.fields[i]).name}' of a record is not binary")
    data[0] = NULL
    size[0] = 0
    if not is_null(p, n, 0):
        slot_text_bytes(p, n, n.offset, data, size)
    return 0


cdef Input input_inside(object owner, const uint8_t *data, int64_t size):
    cdef Input source = Input.__new__(Input)
    source.max_message = DEFAULT_MAX_MESSAGE
    source.fd = -1
    if <uintptr_t> data & 7:
        source.block = Block.new(size)
        memcpy(source.block.data, data, size)
    else:
        source.block = Block.over(View.inside(owner, data, size))
    source.end = size
    source.bytes_read = size
    return source


def nested(RecordBatch batch not None, Py_ssize_t column=0):
    """The only batch of the IPC stream in a binary cell, as a view of it; None where the cell is null or empty."""
    cdef const uint8_t *data = NULL
    cdef int64_t size = 0
    cdef Input source
    cdef RecordBatch found
    cell_bytes(batch, column, &data, &size)
    if size == 0:
        return None
    source = input_inside(batch.nodes, data, size)
    if source.read_schema() is None:
        raise ProtocolError("an empty buffer where an IPC stream is due")
    found = source.take_batch()
    if found is None:
        raise ProtocolError("an IPC stream without a batch in a record")
    return found


def cell(RecordBatch batch not None, Py_ssize_t column):
    """The value of the only row."""
    if batch.length != 1:
        raise ProtocolError(f"expected one row in a nested record, got {batch.length}")
    if not 0 <= column < len(batch.schema.fields):
        raise IndexError(f"column {column} of a record with {len(batch.schema.fields)} fields")
    return value_at((<Field> batch.schema.fields[column]).type, batch.schema.plan + batch.schema.tops[column],
                    batch.nodes.at + batch.schema.tops[column], 0)


def cells(RecordBatch batch not None, tuple columns not None):
    """Values of several columns of the only row."""
    cdef list out = []
    for column in columns:
        out.append(None if column is None else cell(batch, column))
    return tuple(out)


cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t vgi_fold(uint64_t a, uint64_t b) {   /* high half of the product, over its low half */
    #ifdef __SIZEOF_INT128__
        unsigned __int128 product = (unsigned __int128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    #else
        uint64_t low = (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF);
        uint64_t m1 = (a >> 32) * (b & 0xFFFFFFFF) + (low >> 32);
        uint64_t m2 = (a & 0xFFFFFFFF) * (b >> 32) + (m1 & 0xFFFFFFFF);
        return (a * b) ^ ((a >> 32) * (b >> 32) + (m1 >> 32) + (m2 >> 32));
    #endif
    }
    """
    uint64_t fold "vgi_fold"(uint64_t a, uint64_t b) noexcept nogil


cdef void digest(const uint8_t *data, int64_t size, uint64_t *out) noexcept nogil:
    """128 bits that tell messages apart; not against an adversary."""
    cdef uint64_t a = <uint64_t> 0x9E3779B97F4A7C15 ^ <uint64_t> size
    cdef uint64_t b = <uint64_t> 0xC2B2AE3D27D4EB4F
    cdef uint64_t words[4]
    cdef int64_t i = 0
    while size - i >= 32:
        memcpy(words, data + i, 32)
        a = fold(a ^ words[0], words[1] ^ <uint64_t> 0xE7037ED1A0B428DB)
        b = fold(b ^ words[2], words[3] ^ <uint64_t> 0x8EBC6AF09C88C6E3)
        i += 32
    memset(words, 0, 32)
    memcpy(words, data + i, size - i)
    a = fold(a ^ words[0], words[1] ^ <uint64_t> 0xE7037ED1A0B428DB)
    b = fold(b ^ words[2], words[3] ^ <uint64_t> 0x8EBC6AF09C88C6E3)
    out[0] = fold(a ^ b, <uint64_t> 0xA0761D6478BD642F) ^ b
    out[1] = fold(b, a ^ <uint64_t> 0x589965CC75374CC3)


def cell_digest(RecordBatch batch not None, Py_ssize_t column):
    """16 bytes that stand for the bytes of a binary cell."""
    cdef const uint8_t *data = NULL
    cdef int64_t size = 0
    cdef uint64_t found[2]
    cell_bytes(batch, column, &data, &size)
    digest(data, size, found)
    return PyBytes_FromStringAndSize(<const char *> found, 16)
