# Owns: what a debug build counts, and memory that raises instead of returning NULL.
# May use: libc only.
# Invariant: live_blocks and live_exports only move in debug builds; release builds compile them away.

cdef extern from *:
    """
    #ifndef VGI_FAST_DEBUG
    #define VGI_FAST_DEBUG 0
    #endif
    """
    int VGI_FAST_DEBUG

DEBUG = bool(VGI_FAST_DEBUG)

cdef Py_ssize_t live_blocks = 0
cdef Py_ssize_t live_exports = 0


cdef void *checked_alloc(size_t size) except NULL:
    cdef void *p = malloc(size if size else 1)
    if p == NULL:
        raise MemoryError(f"cannot allocate {size} bytes")
    return p


cdef void *checked_realloc(void *old, size_t size) except NULL:
    cdef void *p = realloc(old, size if size else 1)
    if p == NULL:
        raise MemoryError(f"cannot allocate {size} bytes")
    return p


def is_instance_count_zero():
    """Debug builds: no buffer block and no exported array is alive. Always True in release builds."""
    return live_blocks == 0 and live_exports == 0


@cython.final
cdef class View:
    """A held buffer export: ``data`` stays valid while this object lives."""
    cdef Py_buffer buffer
    cdef bint held
    cdef const uint8_t *data
    cdef Py_ssize_t size
    cdef object owner           # of memory that was not exported by the buffer protocol

    @staticmethod
    cdef View inside(object owner, const uint8_t *data, Py_ssize_t size):
        """Part of what ``owner`` keeps alive."""
        cdef View view = View.__new__(View)
        view.owner = owner
        view.data = data
        view.size = size
        return view

    @staticmethod
    cdef View of(object source):
        cdef View view = View.__new__(View)
        if not PyObject_CheckBuffer(source):
            raise TypeError(f"expected bytes, got {type(source).__name__}")
        PyObject_GetBuffer(source, &view.buffer, PyBUF_SIMPLE)
        view.held = True
        view.data = <const uint8_t *> view.buffer.buf
        view.size = view.buffer.len
        return view

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.buffer)


@cython.final
cdef class Block:
    """Malloc'd bytes, 64-byte aligned, shared by everything that views them.

    Any thread may drop a reference; only the owner of the last one may write.
    """
    cdef uint8_t *data
    cdef void *raw
    cdef size_t capacity
    cdef View view              # borrowed, read-only memory instead of its own
    cdef object owner           # of memory that is borrowed otherwise

    @staticmethod
    cdef Block over(View view):
        cdef Block block = Block.__new__(Block)
        block.data = <uint8_t *> view.data
        block.capacity = view.size
        block.view = view
        return block

    @staticmethod
    cdef Block new(size_t capacity):
        cdef Block block = Block.__new__(Block)
        block.raw = checked_alloc(capacity + 64)
        block.data = <uint8_t *> ((<uintptr_t> block.raw + 63) & ~(<uintptr_t> 63))
        block.capacity = capacity
        if VGI_FAST_DEBUG:
            global live_blocks
            live_blocks += 1
        return block

    def __init__(self):
        raise TypeError("Block is created by the core only")

    def __dealloc__(self):
        if self.raw != NULL:
            free(self.raw)
            if VGI_FAST_DEBUG:
                global live_blocks
                live_blocks -= 1


cdef inline bint is_shared(void *owner) noexcept:
    # The caller holds exactly one reference; a second one is a view that somebody kept. A pointer, since an
    # object argument would itself be counted.
    return owner != NULL and (<PyObject *> owner).ob_refcnt > 1
