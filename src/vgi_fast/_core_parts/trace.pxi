# Owns: where the time of a connection goes, by phase.
# May use: clock_gettime.
# A session has one Trace for both directions, or none: then a hook costs one comparison.

cdef extern from "time.h" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec
    int c_clock "clock_gettime"(int clock, timespec *now)
    int CLOCK_MONOTONIC

cdef enum:
    IN_OTHER        # dispatch, handlers, headers
    IN_WAIT         # a read(2) before the first byte of a message
    IN_READ         # the further ones of a message
    IN_DECODE
    IN_CALL         # the author's function
    IN_ENCODE
    IN_WRITE        # writev(2)
    N_PHASES

PHASES = ("other", "wait", "read", "decode", "call", "encode", "write")


cdef inline int64_t clock_ns() noexcept nogil:
    cdef timespec now
    c_clock(CLOCK_MONOTONIC, &now)
    return <int64_t> now.tv_sec * 1000000000 + now.tv_nsec


@cython.final
cdef class Trace:
    """One thread: that of the session."""
    cdef int64_t spent[N_PHASES]
    cdef int64_t since
    cdef int phase
    cdef int64_t batches, rows_in, rows_out, reads, writes, bytes_in, bytes_out

    def __init__(self):
        self.since = clock_ns()

    cdef int enter(self, int phase) noexcept:
        """Account the time since the last call to the phase that was; returns that phase."""
        cdef int64_t now = clock_ns()
        cdef int before = self.phase
        self.spent[before] += now - self.since
        self.since = now
        self.phase = phase
        return before

    cdef void step(self, int64_t rows_in, int64_t rows_out) noexcept:
        """One batch of a stream was answered."""
        self.batches += 1
        self.rows_in += rows_in
        self.rows_out += rows_out

    def take(self):
        """What was counted since the last call, as a dict; starts anew."""
        cdef int i
        self.enter(IN_OTHER)
        taken = {name: self.spent[i] for i, name in enumerate(PHASES)}
        counts = {
            "batches": self.batches, "rows_in": self.rows_in, "rows_out": self.rows_out, "reads": self.reads,
            "writes": self.writes, "bytes_in": self.bytes_in, "bytes_out": self.bytes_out,
        }
        for i in range(N_PHASES):
            self.spent[i] = 0
        self.batches = self.rows_in = self.rows_out = 0
        self.reads = self.writes = self.bytes_in = self.bytes_out = 0
        return {"ns": taken, **counts}
