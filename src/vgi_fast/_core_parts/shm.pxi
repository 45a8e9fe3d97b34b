# Owns: POSIX shared-memory segments: mapping, the table of slots, and views that outlive their slot (section 8).
# May use: span, debug; posix_ipc for the names of objects only, so that no resource tracker hears of them.
#
# Trust: the peer started this process or was let in by a socket of mode 0600, has the same user, and may write
# to the segment at any time. Whatever decides about addresses is therefore copied first, then checked, then used:
# the numbers of the table here, the headers of messages in pointers.pxi. Bodies are checked like those from a pipe,
# but where they are; that they do not change while their message is being answered is the lockstep of section 8.1,
# and a peer that breaks it, or shrinks its object, can end this process but nothing beyond what its user may do.
# Nothing of a segment is touched while the peer is at work: only between reading its message and answering it.

cdef extern from "sys/types.h":
    ctypedef long off_t
cdef extern from "sys/mman.h" nogil:
    void *c_mmap "mmap"(void *at, size_t size, int protection, int flags, int fd, off_t offset)
    int c_munmap "munmap"(void *at, size_t size)
    int c_madvise "madvise"(void *at, size_t size, int advice)
    int PROT_READ
    int PROT_WRITE
    int MAP_SHARED
    int MAP_PRIVATE
    int MAP_FIXED
    void *MAP_FAILED
cdef extern from *:
    """
    #include <fcntl.h>
    #include <unistd.h>
    #ifdef __linux__
    #define VGI_POPULATE_WRITE 23       /* MADV_POPULATE_WRITE, Linux 5.14; headers are often older */
    static int vgi_reserve(int fd, off_t at, off_t size) { return fallocate(fd, 1 /* keep size */, at, size); }
    #else
    #define VGI_POPULATE_WRITE (-1)
    static int vgi_reserve(int fd, off_t at, off_t size) { (void) fd; (void) at; (void) size; return 0; }
    #endif
    """
    int VGI_POPULATE_WRITE
    int c_reserve "vgi_reserve"(int fd, off_t at, off_t size) nogil
    ssize_t c_pwrite "pwrite"(int fd, const void *data, size_t size, off_t at) nogil
    int c_close "close"(int fd)

cdef enum:
    SHM_VERSION = 1
    SHM_DATA = 65536            # the table lies before it
    SHM_ENTRIES = 24            # offset of the first entry
    SHM_ENTRY = 16
    SHM_MAX_SLOTS = 4094
    SHM_MAX_NAME = 250
    POPULATE_STEP = 65536       # a multiple of every page size in use

cdef bytes SHM_MAGIC = b"VGIS"


@cython.final
cdef class Pages:
    """The pages of a segment, for as long as something views them. Any thread may drop it."""
    cdef uint8_t *base
    cdef size_t size

    @staticmethod
    cdef Pages new(int fd, size_t size):
        cdef Pages m = Pages.__new__(Pages)
        cdef void *at = c_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if at == MAP_FAILED:
            raise TransportError(f"cannot map {size} bytes of shared memory: {c_strerror(errno).decode()}")
        m.base = <uint8_t *> at
        m.size = size
        if VGI_FAST_DEBUG:
            global live_blocks
            live_blocks += 1
        return m

    def __dealloc__(self):
        if self.base != NULL:
            c_munmap(self.base, self.size)
            if VGI_FAST_DEBUG:
                global live_blocks
                live_blocks -= 1


@cython.final
cdef class Lease:
    """A slot that a received batch lies in. What views the batch refers to it."""
    cdef Pages pages
    cdef int64_t offset
    cdef int64_t length


@cython.final
cdef class Segment:
    """One thread at a time. The creating side names and unlinks it, both sides place batches."""
    cdef Pages pages
    cdef int fd
    cdef readonly str name
    cdef readonly int64_t size
    cdef int64_t populated          # bytes of the object that are known to have memory and page table entries

    def __init__(self):
        raise TypeError("use Segment.attach or Segment.create")

    @staticmethod
    def attach(str name not None):
        """A segment that another process made. OSError where there is none, ProtocolError where it is not one."""
        cdef Segment segment = Segment.open(name, 0, 0)
        try:
            segment.check()
        except BaseException:
            segment.close()
            raise
        return segment

    @staticmethod
    def create(str name not None, int64_t size):
        """A new segment, of this process alone until it tells the name."""
        cdef Segment segment
        import posix_ipc
        if size <= SHM_DATA:
            raise ValueError(f"a segment of {size} bytes; its table alone takes {SHM_DATA}")
        segment = Segment.open(name, posix_ipc.O_CREX, size)
        memset(segment.pages.base, 0, SHM_ENTRIES)
        memcpy(segment.pages.base, PyBytes_AS_STRING(SHM_MAGIC), 4)
        store_u32(segment.pages.base + 4, SHM_VERSION)
        store_i64(segment.pages.base + 8, segment.size - SHM_DATA)
        return segment

    @staticmethod
    cdef Segment open(str name, int flags, int64_t size):
        cdef Segment segment = Segment.__new__(Segment)
        import os
        import posix_ipc
        segment.fd = -1
        segment.name = plain_name(name)
        try:
            opened = posix_ipc.SharedMemory("/" + segment.name, flags, mode=0o600, size=size)
        except (posix_ipc.Error, OSError, ValueError) as e:
            raise TransportError(f"no shared memory named '{segment.name}' can be had: {e}") from None
        segment.fd = opened.fd
        try:
            segment.size = os.fstat(segment.fd).st_size     # never a number that a peer announced
            if segment.size <= SHM_DATA:
                raise ProtocolError(f"a shared-memory segment of {segment.size} bytes")
            segment.pages = Pages.new(segment.fd, segment.size)
        except BaseException:
            segment.close()
            if flags:
                segment.unlink()
            raise
        return segment

    def __dealloc__(self):
        if self.fd > 0:
            c_close(self.fd)

    def close(self):
        """Let go of the memory, as far as nothing views it. Safe to repeat."""
        self.pages = None
        if self.fd >= 0:
            c_close(self.fd)
            self.fd = -1

    def unlink(self):
        """Take the name away; whoever is attached stays so. Safe to repeat."""
        import posix_ipc
        try:
            posix_ipc.unlink_shared_memory("/" + self.name)
        except posix_ipc.ExistentialError:
            pass

    cdef uint8_t *table(self) except NULL:
        if self.pages is None:
            raise TransportError(f"the shared-memory segment '{self.name}' is closed")
        return self.pages.base

    cdef int check(self) except -1:
        cdef uint8_t *p = self.table()
        if memcmp(p, PyBytes_AS_STRING(SHM_MAGIC), 4) != 0 or load_u32(p + 4) != SHM_VERSION:
            raise ProtocolError(f"the shared memory '{self.name}' is not a segment of version {SHM_VERSION}")
        self.count()
        return 0

    # ---- slots ----

    cdef int64_t count(self) except -1:
        cdef uint32_t n = load_u32(self.table() + 16)
        if n > SHM_MAX_SLOTS:
            raise ProtocolError(f"a shared-memory segment of {n} slots, at most {SHM_MAX_SLOTS} fit")
        return n

    def entries(self):
        """(offset, length) of each slot in use, as the table has them."""
        cdef uint8_t *p = self.table() + SHM_ENTRIES
        return [(load_i64(p + SHM_ENTRY * i), load_i64(p + SHM_ENTRY * i + 8)) for i in range(self.count())]

    def allocate(self, int64_t length):
        """Offset of a new slot; None where there is no room."""
        if length <= 0:
            raise ValueError(f"a slot of {length} bytes")
        return self.take(length) or None

    cdef int64_t take(self, int64_t length) except -1:
        """First fit; 0 where there is no room."""
        cdef int64_t n = self.count()
        cdef uint8_t *p = self.pages.base + SHM_ENTRIES
        cdef int64_t found = 0
        cdef int64_t at = SHM_DATA
        cdef int64_t i, place = n
        cdef int64_t offset, size
        for i in range(n):
            offset = load_i64(p + SHM_ENTRY * i)
            size = load_i64(p + SHM_ENTRY * i + 8)
            if offset < at or offset > self.size or size < 0 or size > self.size - offset:
                raise ProtocolError(f"a slot at {offset} of {size} bytes in a shared-memory segment of {self.size}, "
                                    f"in use up to {at}")
            if not found and length <= offset - at:
                found = at
                place = i
            at = offset + size
        if not found and length <= self.size - at:
            found = at
        if not found or n == SHM_MAX_SLOTS:
            return 0
        p += SHM_ENTRY * place
        memmove(p + SHM_ENTRY, p, SHM_ENTRY * (n - place))
        store_i64(p, found)
        store_i64(p + 8, length)
        store_u32(self.pages.base + 16, <uint32_t> n + 1)
        return found

    def free(self, int64_t offset):
        """Whether a slot began there; a table that was reset knows nothing of earlier ones."""
        return self.give_back(offset)

    cdef bint give_back(self, int64_t offset) except -1:
        # In a table that cannot be there is nothing to free: the next allocation tells the peer.
        cdef uint8_t *p = self.table() + SHM_ENTRIES
        cdef int64_t n = load_u32(p - SHM_ENTRIES + 16)
        cdef int64_t i
        if n > SHM_MAX_SLOTS:
            return False
        for i in range(n):
            if load_i64(p) == offset:
                memmove(p, p + SHM_ENTRY, SHM_ENTRY * (n - i - 1))
                store_u32(self.pages.base + 16, <uint32_t> n - 1)
                return True
            p += SHM_ENTRY
        return False

    def reset(self):
        """No slot is in use: what the owner does before each init."""
        store_u32(self.table() + 16, 0)

    # ---- memory ----

    cdef bint populate(self, int64_t end) except -1:
        """Give everything up to ``end`` memory; False where the system has none left.

        Objects are sparse, and a store to a page that cannot be had is a SIGBUS, for instance in a container with
        its 64 MiB of /dev/shm. One call is also a little cheaper than a fault for each page.
        """
        cdef int64_t start = self.populated
        cdef int64_t stop
        cdef int done
        if end <= start:
            return True
        stop = min((end + POPULATE_STEP - 1) & ~<int64_t> (POPULATE_STEP - 1), self.size)
        with nogil:
            done = c_madvise(self.pages.base + start, stop - start, VGI_POPULATE_WRITE)
            if done != 0 and (errno == EINVAL or errno == ENOSYS):
                done = c_reserve(self.fd, start, stop - start)
        if done == 0:
            self.populated = stop
        return done == 0

    cdef Lease lease(self, int64_t offset, int64_t length):
        """The bytes that a pointer names (section 8.5)."""
        cdef Lease made
        self.table()
        if offset < SHM_DATA or offset > self.size or length < 0 or length > self.size - offset:
            raise ProtocolError(f"a pointer to {length} bytes at {offset} in a shared-memory segment of {self.size}, "
                                f"whose data begins at {SHM_DATA}")
        made = Lease.__new__(Lease)
        made.pages = self.pages
        made.offset = offset
        made.length = length
        return made

    cdef int part_with(self, list leases) except -1:
        """Give these slots memory of their own, where they are; the segment goes on in a new mapping.

        Their pages are copied to a file without a name, which is mapped over them: readers in other threads find
        the same bytes at every moment.
        """
        cdef Pages old = self.pages
        cdef Lease lease
        cdef int64_t start, stop, page
        cdef int fd
        cdef void *at = NULL
        import os
        self.pages = None
        self.populated = 0
        page = os.sysconf("SC_PAGESIZE")
        fd = nameless_file()
        try:
            for item in leases:
                lease = <Lease> item
                start = lease.offset & ~(page - 1)
                stop = (lease.offset + lease.length + page - 1) & ~(page - 1)
                write_at(fd, old.base + start, stop - start, start)
                at = c_mmap(old.base + start, stop - start, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, start)
                if at == MAP_FAILED:
                    raise TransportError(f"cannot keep {lease.length} bytes of a batch: {c_strerror(errno).decode()}")
        finally:
            c_close(fd)
        self.pages = Pages.new(self.fd, self.size)
        return 0

    def __repr__(self):
        return f"<vgi_fast.Segment '{self.name}' of {self.size} bytes>"


cdef str plain_name(str name):
    """Without its slash. posix_ipc crashes on some names, and a slash inside would be another folder."""
    cdef str plain = name[1:] if name.startswith("/") else name
    if not plain or len(plain) > SHM_MAX_NAME or not plain.isascii() or not plain.isprintable() or "/" in plain:
        raise ProtocolError(f"{name!r} cannot be the name of a shared-memory segment")
    return plain


cdef int nameless_file() except -1:
    import os
    if hasattr(os, "memfd_create"):
        return os.memfd_create("vgi_fast")
    import tempfile
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


cdef int write_at(int fd, const uint8_t *data, int64_t size, int64_t at) except -1:
    cdef ssize_t put
    while size > 0:
        with nogil:
            put = c_pwrite(fd, data, min(size, <int64_t> MAX_IO), at)
        if put > 0:
            data += put
            at += put
            size -= put
        elif put == 0 or errno != EINTR:
            raise TransportError(f"cannot keep {size} bytes of a batch: {c_strerror(errno).decode()}")
    return 0


cdef inline void store_u32(uint8_t *p, uint32_t v) noexcept nogil:
    memcpy(p, &v, 4)


cdef inline void store_i64(uint8_t *p, int64_t v) noexcept nogil:
    memcpy(p, &v, 8)
